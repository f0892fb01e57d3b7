package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/internal/sample"
	"husk/internal/tree"
)

// TestFullStore fills the disk of a store: what was asked for fails and says so, the store is as before, and with room again it works.
func TestFullStore(t *testing.T) {
	tr, err := sample.Tree(sample.Options{Programs: 40})
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(t.TempDir(), "x64")
	if _, err := tree.ApplyFolder(context.Background(), tr, src, nil); err != nil {
		t.Fatal(err)
	}
	disk := smallDisk(t, "2m")
	dir := filepath.Join(disk, "st")
	must := func(args ...string) {
		t.Helper()
		if status, out := husk(t, args...); status != 0 {
			t.Fatalf("%q: %d\n%s", args, status, out)
		}
	}
	small := filepath.Join(src, "Windows", "Fonts")
	must("store", "init", dir)
	must("point", "add", dir, "x64", small, "--name=fonts")
	must("point", "add", dir, "x64", filepath.Join(src, "Windows", "inf"), "--name=inf")
	filler := filepath.Join(disk, "filler")
	fill := func() {
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, err := f.Write(make([]byte, 4096)); err == nil; _, err = f.Write(make([]byte, 4096)) {
		}
	}
	before := listing(t, dir)
	for _, args := range [][]string{
		{"point", "add", dir, "x64", src},
		{"point", "rename", dir, "x64@fonts", "other"},
		{"point", "drop", dir, "x64@fonts"},
		{"store", "merge", dir},
	} {
		fill()
		status, out := husk(t, args...)
		if status != exitFailed || !strings.Contains(out, "no space left on device") {
			t.Errorf("%s: status %d, want %d and a full disk:\n%s", args, status, exitFailed, out)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if after := listing(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s left %q, was %q", args, after, before)
		}
		must("store", "check", dir)
		must("verify", dir+":x64@fonts", "--against="+small)
	}
	must("store", "merge", dir)
	must("store", "check", dir)
}

// listing are the files of a folder.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
