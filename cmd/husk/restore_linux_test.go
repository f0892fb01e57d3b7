package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/internal/sample"
	"husk/internal/tree"
)

// smallStore is a folder with a store of a system, one point, and a pointer disk of it.
func smallStore(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	system, err := sample.Tree(sample.Options{Arch: "x64", Programs: 12})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.ApplyFolder(context.Background(), system, filepath.Join(dir, "x64"), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "st", "x64"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"store", "init", filepath.Join(dir, "st")},
		{"point", "add", filepath.Join(dir, "st"), "x64", filepath.Join(dir, "x64"), "--name=before"},
		{"apply", filepath.Join(dir, "st") + ":x64@before", filepath.Join(dir, "st", "x64", "win.vhd"), "--wimboot", "--size=200M", `--wim-path=\st\wimboot.wim`,
			"--wim-disk=mbr:1a2b3c4d:1048576"},
	} {
		if status, out := husk(t, args...); status != 0 {
			t.Fatalf("%q: %d\n%s", args, status, out)
		}
	}
	return dir
}

// TestRestoreDevice restores a block device: not without being asked, with what is kept of it, and again after it was cut off.
func TestRestoreDevice(t *testing.T) {
	reftool.Look(t, "losetup")
	dir := smallStore(t)
	point, image := filepath.Join(dir, "st")+":x64@before", filepath.Join(dir, "volume.img")
	for _, args := range [][]string{
		{"apply", point, filepath.Join(dir, "whole.img"), "--format=raw", "--size=101M"},
		{"fs", "put", filepath.Join(dir, "whole.img"), filepath.Join(dir, "x64", "bootmgr"), "/Users"},
	} {
		if status, out := husk(t, args...); status != 0 {
			t.Fatalf("%q: %d\n%s", args, status, out)
		}
	}
	whole, err := os.ReadFile(filepath.Join(dir, "whole.img"))
	if err == nil {
		err = os.WriteFile(image, whole[1<<20:101<<20], 0o600) // loop devices have no partitions here: the volume alone
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := reftool.Try(t, "losetup", "--find", "--show", image)
	if err != nil {
		reftool.Skip(t, "no loop device: %v %s", err, out)
	}
	device := strings.TrimSpace(out)
	defer reftool.Run(t, "losetup", "--detach", device)
	if status, out := husk(t, "restore", point, device, "--mode=plain", "--keep=/Users/bootmgr"); status != exitRefused {
		t.Fatalf("without a yes: %d, want %d\n%s", status, exitRefused, out)
	}
	if status, out := husk(t, "verify", device, "--against="+filepath.Join(dir, "whole.img")); status != 0 {
		t.Fatalf("a refused restore changed the device: %d\n%s", status, out)
	}
	if status, out := husk(t, "restore", point, device, "--mode=plain", "--keep=/Users/bootmgr", "--yes"); status != 0 {
		t.Fatalf("restore: %d\n%s", status, out)
	}
	for _, args := range [][]string{{"check", device}, {"diff", filepath.Join(dir, "whole.img"), device, "--content", "--exit-code"}} {
		if status, out := husk(t, args...); status != 0 {
			t.Fatalf("%q: %d\n%s", args, status, out)
		}
	}
	if status, out := husk(t, "restore", point, device, "--continue", "--yes"); status != exitFailed || !strings.Contains(out, "no restore of it was cut off") {
		t.Errorf("--continue with nothing to continue: %d\n%s", status, out)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "st", "husk-restore-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestRestoreFullDisk restores where there is no room for the new disk: the old one is as it was.
func TestRestoreFullDisk(t *testing.T) {
	dir := smallStore(t)
	small := smallDisk(t, "9m")
	disk := filepath.Join(small, "win.vhd")
	b, err := os.ReadFile(filepath.Join(dir, "st", "x64", "win.vhd"))
	if err == nil {
		err = os.WriteFile(disk, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"restore", filepath.Join(dir, "st") + ":x64@before", disk}, {"restore", filepath.Join(dir, "st") + ":x64@before", disk, "--mode=plain"},
		{"restore", filepath.Join(dir, "st") + ":x64@before", disk, "--mode=compact"}} {
		status, out := husk(t, append(args, "--discard", "--wim="+filepath.Join(dir, "st", "wimboot.wim"))...)
		if status != exitFailed || !strings.Contains(out, "the system is as it was") {
			t.Errorf("%q: %d, want %d and a full disk\n%s", args, status, exitFailed, out)
		}
		if now, err := os.ReadFile(disk); err != nil || !bytes.Equal(now, b) {
			t.Errorf("%q changed the disk: %v", args, err)
		}
		if names, err := os.ReadDir(small); err != nil || len(names) != 1 {
			t.Errorf("%q left %v, %v", args, names, err)
		}
	}
}
