package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"husk/internal/mount"
)

// condition is what scripts may ask for in brackets: [fuse] is for machines that may mount. Where oracles are required, every machine
// must.
func condition(name string) (bool, error) {
	if name != "fuse" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	if !mount.Supported || runtime.GOOS != "linux" {
		return false, nil
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		err = f.Close()
	}
	if err == nil && os.Geteuid() != 0 {
		_, err = exec.LookPath("fusermount3")
	}
	if err != nil && os.Getenv("HUSK_REFTOOLS") == "required" {
		return false, fmt.Errorf("no FUSE here: %w", err)
	}
	return err == nil, nil
}

// killServer is "killserver DIR": the process that serves a mount gets SIGKILL.
func killServer(ts *testscript.TestScript, _ bool, args []string) {
	dir := args[0]
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	ts.Check(err)
	for _, name := range lines {
		b, err := os.ReadFile(name)
		words := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
		if err != nil || len(words) < 4 || words[1] != "mount" || words[2] != "--server" || words[len(words)-1] != dir {
			continue
		}
		if env, err := os.ReadFile(filepath.Join(filepath.Dir(name), "environ")); err != nil || !strings.Contains(string(env), "WORK="+ts.Getenv("WORK")+"\x00") {
			continue // of another test
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		ts.Check(err)
		p, err := os.FindProcess(pid)
		ts.Check(err)
		ts.Check(p.Kill())
		return
	}
	ts.Fatalf("no server of %s", dir)
}

// waitFor is "waitfor FILE", waitGone is "waitgone FILE": wait until a file is there, or is not.
func waitFor(ts *testscript.TestScript, _ bool, args []string)  { waitUntil(ts, args[0], true) }
func waitGone(ts *testscript.TestScript, _ bool, args []string) { waitUntil(ts, args[0], false) }

func waitUntil(ts *testscript.TestScript, name string, there bool) {
	for range 500 {
		if _, err := os.Stat(ts.MkAbs(name)); there && err == nil || !there && errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s: there is not %t", name, there)
}
