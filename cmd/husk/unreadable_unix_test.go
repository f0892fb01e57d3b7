//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asNobody runs husk without the rights of root, to whom no file is unreadable.
func asNobody(t *testing.T, dir string, args ...string) (status int, out string) {
	t.Helper()
	program := filepath.Join(dir, "husk")
	if _, err := os.Stat(program); err != nil {
		self, err := os.Open(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		defer self.Close()
		f, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(f, self); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, append([]string{"--lang=en"}, args...)...)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

// TestUnreadableFiles: all of them are reported at once, and nothing half-written is left.
func TestUnreadableFiles(t *testing.T) {
	dir, err := os.MkdirTemp("", "husk-unreadable-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	src, out := filepath.Join(dir, "src"), filepath.Join(dir, "out")
	for _, d := range []string{src, out} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []struct {
		path string
		mode os.FileMode
	}{{dir, 0o755}, {out, 0o777}} {
		if err := os.Chmod(f.path, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, mode os.FileMode) {
		p := filepath.Join(src, name)
		if err := os.WriteFile(p, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("readable", 0o644)
	wim := filepath.Join(out, "a.wim")
	if status, text := asNobody(t, dir, "capture", src, wim); status != 0 {
		t.Fatalf("capture: %d\n%s", status, text)
	}
	before, err := os.ReadFile(wim)
	if err != nil {
		t.Fatal(err)
	}
	write("secret-1", 0)
	write("secret-2", 0)
	for _, args := range [][]string{{"capture", src, filepath.Join(out, "b.wim")}, {"append", src, wim}} {
		status, text := asNobody(t, dir, args...)
		if status != exitFailed || !strings.Contains(text, "secret-1") || !strings.Contains(text, "secret-2") {
			t.Errorf("%s: status %d, want %d and both files named:\n%s", args, status, exitFailed, text)
		}
	}
	names, err := os.ReadDir(out)
	if err != nil || len(names) != 1 {
		t.Errorf("left %v, %v, want a.wim alone", names, err)
	}
	if after, err := os.ReadFile(wim); err != nil || string(after) != string(before) {
		t.Errorf("the WIM that was there changed, %v", err)
	}
}
