package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"husk/internal/reftool"
	"husk/internal/sample"
	"husk/internal/tree"
)

// smallDisk mounts a disk of a few MiB. That needs root, which CI has.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("husk-test", dir, "tmpfs", 0, "size="+size); err != nil {
		reftool.Skip(t, "mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// TestFullDisk fills the disk at every step: the command fails and says so, and what was there before is all that is there.
func TestFullDisk(t *testing.T) {
	tr, err := sample.Tree(sample.Options{Programs: 40})
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(t.TempDir(), "x64")
	if _, err := tree.ApplyFolder(context.Background(), tr, src, nil); err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(t.TempDir(), "whole.wim")
	if status, out := husk(t, "capture", src, whole); status != 0 {
		t.Fatalf("capture: %d\n%s", status, out)
	}
	disk := smallDisk(t, "2m")
	first := filepath.Join(disk, "a.wim")
	small := filepath.Join(src, "Windows", "Fonts")
	if status, out := husk(t, "capture", small, first); status != 0 {
		t.Fatalf("capture: %d\n%s", status, out)
	}
	before, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"capture", src, filepath.Join(disk, "b.wim")},
		{"capture", src, first, "--yes"},
		{"append", src, first},
		{"apply", whole, filepath.Join(disk, "d.vhd")},
		{"apply", whole, filepath.Join(disk, "e.vhd"), "--fixed", "--size=200M"},
	} {
		status, out := husk(t, args...)
		if status != exitFailed || !strings.Contains(out, "no space left on device") {
			t.Errorf("%s: status %d, want %d and a full disk:\n%s", args, status, exitFailed, out)
		}
		names, err := os.ReadDir(disk)
		if err != nil || len(names) != 1 {
			t.Errorf("%s left %v, %v", args, names, err)
		}
		if after, err := os.ReadFile(first); err != nil || !bytes.Equal(after, before) {
			t.Errorf("%s changed the WIM that was there: %d bytes, want %d, %v", args, len(after), len(before), err)
		}
	}
	if status, out := husk(t, "verify", first); status != 0 {
		t.Errorf("verify: %d\n%s", status, out)
	}
}

// TestFullOutput: what could not be printed is not silently missing.
func TestFullOutput(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"ls", dir}, {"ls", dir, "--json"}, {"dir", dir, "--detailed"}, {"verify", dir}, {"cat", dir, "/file"}, {"--help"}} {
		if status := run(append(args, "--lang=en"), nil, full, io.Discard); status != exitFailed {
			t.Errorf("%s: status %d, want %d", args, status, exitFailed)
		}
	}
}
