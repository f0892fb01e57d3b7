package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"husk/internal/sample"
	"husk/internal/store"
	"husk/internal/tree"
)

// process is husk as a program of its own, in a folder.
type process struct {
	t        *testing.T
	dir, exe string
}

// newProcess copies the test program under the name by which it is husk and not the tests, see TestMain.
func newProcess(t *testing.T, dir string) *process {
	t.Helper()
	exe := program(t, t.TempDir())
	return &process{t, dir, exe}
}

// run runs husk and returns how long it took. It is killed after a time that is not 0, unless it has ended by then; otherwise it must succeed.
func (p *process) run(after time.Duration, args ...string) (took time.Duration, killed bool) {
	p.t.Helper()
	c := exec.Command(p.exe, args...)
	c.Dir = p.dir
	out, err := os.CreateTemp(p.t.TempDir(), "out")
	if err != nil {
		p.t.Fatal(err)
	}
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	start := time.Now()
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	if after != 0 {
		timer := time.AfterFunc(after, func() { c.Process.Kill() }) // which fails if it has ended
		defer timer.Stop()
	}
	err = c.Wait()
	if err != nil && (after == 0 || c.ProcessState.Exited() && runtime.GOOS != "windows") {
		if _, seekErr := out.Seek(0, io.SeekStart); seekErr != nil {
			p.t.Fatal(seekErr)
		}
		said, _ := io.ReadAll(out)
		p.t.Fatalf("%q: %v\n%s", args, err, said)
	}
	return time.Since(start), err != nil
}

// TestKilledStore kills commands that change a store, three times as often as -kills has it, each time at another moment. After each kill the
// store checks clean, and the disk of pointers into it reads; the command is run again, and in the end all points are those of their folders.
func TestKilledStore(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	dir := t.TempDir()
	p := newProcess(t, dir)
	for _, arch := range []string{"x64", "x86"} {
		system, err := sample.Tree(sample.Options{Arch: arch, Programs: 12})
		if err == nil {
			_, err = tree.ApplyFolder(context.Background(), system, filepath.Join(dir, arch), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p.run(0, "store", "init", "st")
	p.run(0, "point", "add", "st", "x86", "x86", "--name=only")
	p.run(0, "point", "add", "st", "x64", "x64", "--name=first")
	if err := os.Mkdir(filepath.Join(dir, "st", "x64"), 0o777); err != nil {
		t.Fatal(err)
	}
	p.run(0, "apply", "st:x64", "st/x64/d.vhd", "--wimboot", "--size=200M", `--wim-path=\st\layer-0002.wim`, "--wim-disk=mbr:1a2b3c4d:1048576")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	round := 0
	patch := func() {
		name := filepath.Join(dir, "x64", "Windows", "patched.txt")
		if err := os.WriteFile(name, []byte(fmt.Sprintf("round %d", round)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	commands := []func() []string{
		func() []string { patch(); return []string{"point", "add", "st", "x64", "x64"} },
		func() []string { return []string{"point", "rename", "st", "x64", fmt.Sprint("round-", round)} },
		func() []string { return []string{"prune", "st", "--keep-last=2", "--yes"} },
		func() []string { return []string{"store", "merge", "st"} },
		func() []string { return []string{"point", "add", "st", "x64", "st/x64/d.vhd"} },
		func() []string { return []string{"store", "merge", "st", "--repoint"} },
	}
	usual := make([]time.Duration, len(commands))
	n := 0
	for ; n < 3**kills; round++ {
		i := round % len(commands)
		args := commands[i]()
		if usual[i] == 0 {
			usual[i] = 150 * time.Millisecond
		}
		for range 3 {
			_, killed := p.run(max(time.Millisecond, time.Duration(rnd.Int64N(int64(usual[i])*11/10))), args...)
			if !killed {
				break
			}
			n++
			p.soundStore()
			if i == 1 {
				break // what was renamed perhaps cannot be again
			}
		}
		if i != 1 {
			usual[i], _ = p.run(0, args...)
		}
		p.soundStore()
	}
	patch()
	p.run(0, "point", "add", "st", "x64", "x64", "--name=last")
	p.run(0, "verify", "st:x64", "--against=x64")
	p.run(0, "verify", "st:x86@only", "--against=x86")
	t.Logf("%d kills in %d rounds", n, round)
}

// soundStore checks the store, and reads the disk through its pointers.
func (p *process) soundStore() {
	p.t.Helper()
	for _, args := range [][]string{{"store", "check", filepath.Join(p.dir, "st")}, {"verify", filepath.Join(p.dir, "st", "x64", "d.vhd")}} {
		if status, out := husk(p.t, args...); status != 0 {
			p.t.Fatalf("%q: status %d\n%s", args, status, out)
		}
	}
}

// TestLockedStore: who finds the store locked says by whom, or waits.
func TestLockedStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "st")
	if status, out := husk(t, "store", "init", dir); status != 0 {
		t.Fatal(out)
	}
	s, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Lock(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	status, out := husk(t, "store", "rebuild", dir, "--no-wait")
	if want := fmt.Sprintf("process %d on ", os.Getpid()); status != exitFailed || !strings.Contains(out, want) {
		t.Errorf("status %d, want %d and %q:\n%s", status, exitFailed, want, out)
	}
	time.AfterFunc(200*time.Millisecond, func() { s.Close() })
	status, out = husk(t, "store", "rebuild", dir)
	if status != 0 || !strings.Contains(out, "waiting for it") {
		t.Errorf("status %d:\n%s", status, out)
	}
}
