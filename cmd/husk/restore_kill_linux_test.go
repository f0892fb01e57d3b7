package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// killedAfter runs husk in a folder and kills it after a time that is not 0. It tells how long it took, and whether it got to its end.
func killedAfter(t *testing.T, program, dir string, after time.Duration, args ...string) (took time.Duration, ended bool) {
	t.Helper()
	c := exec.Command(program, append([]string{"--lang=en"}, args...)...)
	c.Dir = dir
	said, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	c.Stdout, c.Stderr = said, said
	start := time.Now()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if after != 0 {
		timer := time.AfterFunc(after, func() { c.Process.Kill() }) // which fails if it has ended
		defer timer.Stop()
	}
	if err := c.Wait(); err != nil {
		if after == 0 || c.ProcessState.ExitCode() >= 0 { // it was not killed: it failed
			out, _ := os.ReadFile(said.Name())
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return time.Since(start), false
	}
	return time.Since(start), true
}

// TestRestoreKilled kills restores and slimmings at random moments. After each the disk is either as it was or as it is to be, verified file
// by file, the store is sound, and the command can be run again.
func TestRestoreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	dir := t.TempDir()
	program := program(t, dir)
	sampleSystem(t, filepath.Join(dir, "x64"))
	noise := make([]byte, 3<<20)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	for name, content := range map[string][]byte{"patch.dll": noise, "notepad.exe": []byte("a patched notepad")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do := func(args ...string) time.Duration {
		t.Helper()
		took, _ := killedAfter(t, program, dir, 0, args...)
		return took
	}
	if err := os.MkdirAll(filepath.Join(dir, "st", "x64"), 0o700); err != nil {
		t.Fatal(err)
	}
	const disk = "st/x64/win.vhd"
	do("store", "init", "st")
	do("point", "add", "st", "x64", "x64", "--name=before")
	do("apply", "st:x64@before", disk, "--wimboot", "--size=200M", `--wim-path=\st\wimboot.wim`, "--wim-disk=mbr:1a2b3c4d:1048576")
	do("fs", "put", "--yes", disk, "patch.dll", "notepad.exe", "/Windows/System32")
	do("point", "add", "st", "x64", disk, "--name=after")
	same := func(point string) bool { // silently: it is a question
		status, _ := husk(t, "diff", filepath.Join(dir, "st")+":x64@"+point, filepath.Join(dir, disk), "--exit-code", "--all-times")
		return status == 0
	}
	usual := do("restore", "st:x64@before", disk)
	killed, swapped := 0, 0
	was, to := "before", "after"
	for range *kills * 2 {
		_, ended := killedAfter(t, program, dir, 1+time.Duration(rnd.Int64N(int64(usual)*11/10)), "restore", "st:x64@"+to, disk)
		is := same(to)
		switch {
		case ended && !is:
			t.Fatalf("a restore to %s that ended has not restored", to)
		case !ended && is:
			swapped++
			fallthrough
		case !ended:
			killed++
			if !is && !same(was) {
				t.Fatalf("after a restore from %s to %s that was killed the disk is neither", was, to)
			}
		}
		if status, out := husk(t, "check", filepath.Join(dir, disk)); status != 0 {
			t.Fatalf("check: %d\n%s", status, out)
		}
		if is {
			was, to = to, was
		}
	}
	if status, out := husk(t, "store", "check", filepath.Join(dir, "st")); status != 0 {
		t.Fatalf("store check: %d\n%s", status, out)
	}
	do("restore", "st:x64@"+to, disk)
	if !same(to) {
		t.Fatal("the restore at the end has not restored")
	}
	t.Logf("%d restores killed, %d of them after the swap", killed, swapped)
	slimKilled(t, dir, rnd, func(after time.Duration, args ...string) (time.Duration, bool) {
		return killedAfter(t, program, dir, after, args...)
	})
}

// slimKilled is the part of TestRestoreKilled about slim: what is on the disk is always the same.
func slimKilled(t *testing.T, dir string, rnd *rand.Rand, run func(time.Duration, ...string) (time.Duration, bool)) {
	t.Helper()
	const disk = "st/x64/win.vhd"
	usual, killed := time.Duration(0), 0
	for i := range *kills {
		name := filepath.Join(dir, "more.dll")
		if err := os.WriteFile(name, append(make([]byte, 1<<20), []byte(time.Now().String())...), 0o600); err != nil {
			t.Fatal(err)
		}
		run(0, "fs", "put", "--yes", disk, "more.dll", "/Windows/System32")
		b, err := os.ReadFile(filepath.Join(dir, disk))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "before.vhd"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if usual == 0 {
			usual, _ = run(0, "slim", disk)
		} else {
			for range 3 {
				if _, ended := run(1+time.Duration(rnd.Int64N(int64(usual)*11/10)), "slim", disk); ended {
					break
				}
				killed++
			}
			run(0, "slim", disk)
		}
		status, out := husk(t, "diff", filepath.Join(dir, "before.vhd"), filepath.Join(dir, disk), "--exit-code", "--wim="+filepath.Join(dir, "st", "wimboot.wim"))
		if status != 0 {
			t.Fatalf("round %d: diff: %d\n%s", i, status, out)
		}
		if status, out := husk(t, "check", filepath.Join(dir, disk)); status != 0 {
			t.Fatalf("check: %d\n%s", status, out)
		}
		if status, out := husk(t, "verify", filepath.Join(dir, disk)); status != 0 {
			t.Fatalf("verify: %d\n%s", status, out)
		}
		if status, out := husk(t, "store", "check", filepath.Join(dir, "st")); status != 0 {
			t.Fatalf("store check: %d\n%s", status, out)
		}
	}
	t.Logf("%d slimmings killed", killed)
}
