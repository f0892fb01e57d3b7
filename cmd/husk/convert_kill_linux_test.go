package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/internal/archive"
	"husk/internal/check"
	"husk/internal/source"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/winfile"
)

// killable runs husk in a folder, killed after a time that is not 0, and returns how long it took and whether it was killed.
func killable(t *testing.T, husk, dir string, after time.Duration, args ...string) (took time.Duration, killed bool) {
	t.Helper()
	c := exec.Command(husk, args...)
	c.Dir = dir
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	start := time.Now()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if after != 0 {
		timer := time.AfterFunc(after, func() { c.Process.Kill() }) // which fails if it has ended
		defer timer.Stop()
	}
	err := c.Wait()
	if err != nil && c.ProcessState.ExitCode() >= 0 {
		// It may have been killed when all was done but its own end.
		if s := out.String(); c.ProcessState.ExitCode() == exitRefused && (strings.Contains(s, "is a husk already") || strings.Contains(s, "exists")) {
			return time.Since(start), false
		}
		t.Fatalf("%q: %v\n%s", args, err, out.String())
	}
	return time.Since(start), err != nil
}

// TestConvertKilled kills conversions, each time at another moment, and runs them again until they get to their end. At every moment the
// system has all its files: each plain, or behind a pointer that leads to the same content.
func TestConvertKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	husk, dir := huskProgram(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	where := []string{`--wim-path=\store\wimboot.wim`, "--wim-disk=mbr:1a2b3c4d:1048576"}
	before, err := os.ReadFile(filepath.Join(dir, "pc.vhd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []struct {
		name string
		args []string
		made string // the disk with the system at the end
		lost bool   // what is beside the disk is lost with each kill, as in the memory of Windows PE
	}{
		{"in place, the WIM on the volume", []string{"convert", "work.vhd", "--yes"}, "work.vhd", false},
		{"in place, the notes lost", []string{"convert", "work.vhd", "--yes"}, "work.vhd", true},
		{"in place, the WIM elsewhere", append([]string{"convert", "work.vhd", "--store=store", "--yes"}, where...), "work.vhd", false},
		{"a VHD", append([]string{"convert", "work.vhd", "store/win.vhd"}, where...), "store/win.vhd", false},
		{"a disk", []string{"convert", "work.vhd", "store/new.vhdx", "--firmware=bios"}, "", false},
	} {
		t.Run(form.name, func(t *testing.T) {
			fresh := func() {
				for _, name := range []string{"store", "work.vhd.husk-convert", "work.vhd.husk.wim", "work.vhd.husk-journal"} {
					if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.WriteFile(filepath.Join(dir, "work.vhd"), before, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			fresh()
			usual, _ := killable(t, husk, dir, 0, form.args...)
			fresh()
			for n := 0; n < (*kills+1)/2; { // of five forms; each kill is half a second of work, which is why this test takes some
				_, killed := killable(t, husk, dir, 1+time.Duration(rnd.Int64N(int64(usual))), form.args...)
				if killed {
					n++
					allThere(t, dir, "work.vhd")
					for _, name := range []string{"work.vhd.husk-convert", "work.vhd.husk.wim"} {
						if !form.lost {
							break
						}
						if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
							t.Fatal(err)
						}
					}
				} else {
					settled(t, dir, form.made)
					fresh()
				}
				if t.Failed() {
					t.Fatalf("after %d kills", n)
				}
			}
			killable(t, husk, dir, 0, form.args...)
			settled(t, dir, form.made)
		})
	}
}

// settled checks what a conversion leaves behind: sound disks, and no notes of its own.
func settled(t *testing.T, dir, made string) {
	t.Helper()
	allThere(t, dir, "work.vhd")
	if made != "" {
		allThere(t, dir, made)
	}
	for _, pattern := range []string{"*.husk-convert", "store/*.husk-convert", "*.husk.wim*", "*.husk-journal", "store/*.tmp-*", "*.tmp-*"} {
		left, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// allThere compares the files of a disk with those of the system before. A change that was cut off within its transaction counts as finished.
func allThere(t *testing.T, dir, name string) {
	t.Helper()
	disk := filepath.Join(dir, name)
	u := ui.New(nil, io.Discard, io.Discard, "en")
	ctx := context.Background()
	c, err := check.Run(ctx, disk, &check.Options{UI: u})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Findings {
		if f.Severity > check.Notice {
			t.Errorf("%s: %s: %s", name, f.Where, f.Message())
		}
	}
	open := func(path string) *source.Source {
		s, err := source.Open(ctx, path, &source.Options{WIMs: existing(dir)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	was, is := open(filepath.Join(dir, "pc.vhd")), open(disk)
	exclude, err := archive.Exclusions(disk, was.Tree, "", u)
	if err != nil {
		t.Fatal(err)
	}
	left := func(path string, dir bool) bool {
		return path != "." && (exclude(path, dir) || winfile.EqualFold(path, "wimboot") || winfile.EqualFold(path, "System Volume Information") ||
			len(path) >= 30 && winfile.EqualFold(path[:30], "Windows/System32/config/SYSTEM"))
	}
	a, _ := tree.Filter(is.Tree, left)
	b, _ := tree.Filter(was.Tree, left)
	diff, err := tree.Compare(ctx, a, b, &tree.CompareOptions{
		ReadBoth: true, IgnoreAttributes: winfile.AttrCompressed | winfile.AttrNormal | winfile.AttrSparse, DefaultSecurity: true,
		Ignore: tree.DiffChanged | tree.DiffAccessed,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diff.List {
		if d.Path != "." {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// existing lists the WIMs that there are outside the disk.
func existing(dir string) []string {
	if _, err := os.Stat(filepath.Join(dir, "store/wimboot.wim")); err != nil {
		return nil
	}
	return []string{filepath.Join(dir, "store/wimboot.wim")}
}
