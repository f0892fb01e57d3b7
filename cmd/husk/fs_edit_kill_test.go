package main

import (
	"context"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"husk/internal/check"
	"husk/internal/ui"
	"husk/internal/verify"
)

var kills = flag.Int("kills", 8, "how often TestKilled kills a command")

// TestKilled kills commands that change a volume in place, each time at another moment, and runs them again until one gets to its end: then
// the volume is sound and every file has its content.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	dir := t.TempDir()
	husk := program(t, dir)
	sampleSystem(t, filepath.Join(dir, "x64"))
	if err := os.Remove(filepath.Join(dir, "x64", "hiberfil.sys")); err != nil {
		t.Fatal(err)
	}
	// command runs husk and returns how long it took. It is killed after a time that is not 0, unless it has ended by then.
	command := func(after time.Duration, args ...string) (took time.Duration, killed bool) {
		c := exec.Command(husk, args...)
		c.Dir = dir
		out, err := os.CreateTemp(dir, "out")
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		c.Stdout, c.Stderr = out, out
		start := time.Now()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if after != 0 {
			timer := time.AfterFunc(after, func() { c.Process.Kill() }) // which fails if it has ended
			defer timer.Stop()
		}
		err = c.Wait()
		if err != nil && after == 0 {
			if _, seekErr := out.Seek(0, io.SeekStart); seekErr != nil {
				t.Fatal(seekErr)
			}
			said, _ := io.ReadAll(out)
			t.Fatalf("%q: %v\n%s", args, err, said)
		}
		return time.Since(start), err != nil
	}
	command(0, "capture", "x64", "w.wim", "--wimboot")
	command(0, "apply", "x64", "d.vhd", "--size=200M")
	disk, before := filepath.Join(dir, "d.vhd"), filepath.Join(dir, "before.vhd")
	b, err := os.ReadFile(disk)
	if err == nil {
		err = os.WriteFile(before, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	rounds := [][]string{
		{"fs", "compact", "d.vhd", "--algorithm=xpress4k", "--uefi"},
		{"fs", "pointer", "d.vhd", "w.wim:1", `--wim-path=\w.wim`, "--wim-disk=mbr:1a2b3c4d:1048576", "--uefi"},
		{"fs", "plain", "d.vhd"},
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	usual := make([]time.Duration, len(rounds))
	for i, args := range rounds {
		usual[i], _ = command(0, args...)
	}
	n, journals := 0, 0
	for i := 0; n < *kills; i++ {
		args, most := rounds[i%len(rounds)], usual[i%len(rounds)]
		for range 4 {
			_, killed := command(max(1, time.Duration(rnd.Int64N(int64(most)*11/10))), args...)
			if !killed {
				break
			}
			n++
			if st, err := os.Stat(disk + ".husk-journal"); err == nil && st.Size() > 0 {
				journals++
			}
		}
		usual[i%len(rounds)], _ = command(0, args...)
		sound(t, disk, before)
		if t.Failed() {
			t.Fatalf("after %q and %d kills", args, n)
		}
	}
	t.Logf("%d kills, %d of them while a transaction was being made", n, journals)
}

// sound checks the structure of a disk, and its files against those of another one.
func sound(t *testing.T, disk, against string) {
	t.Helper()
	u := ui.New(nil, io.Discard, io.Discard, "en")
	c, err := check.Run(context.Background(), disk, &check.Options{UI: u})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Findings {
		if f.Severity > check.Notice {
			t.Errorf("%s: %s", f.Where, f.Message())
		}
	}
	v, err := verify.Run(context.Background(), disk, &verify.Options{Against: against, UI: u})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Problems {
		t.Error(p)
	}
	if v.Totals.Files == 0 {
		t.Error("no files")
	}
	if _, err := os.Stat(disk + ".husk-journal"); err == nil {
		t.Error("the journal is still there")
	}
}
