package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConvertFullDisk converts onto disks that are too small, from one that holds nothing to one that holds nearly all: the command says so,
// the old system is not touched, and with more room the same command gets to its end.
func TestConvertFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	_, dir := huskProgram(t)
	t.Chdir(dir)
	before, err := os.ReadFile("pc.vhd")
	if err != nil {
		t.Fatal(err)
	}
	full, refused, done := 0, 0, 0
	for _, kib := range []int{256, 1024, 2304, 3072, 5000, 9000, 10300, 40000} {
		disk := smallDisk(t, fmt.Sprintf("%dk", kib))
		args := []string{"convert", "pc.vhd", filepath.Join(disk, "win.vhd"), `--wim-path=\husk\wimboot.wim`, "--wim-disk=mbr:1a2b3c4d:1048576"}
		status, out := husk(t, args...)
		switch {
		case status == 0:
			done++
		case strings.Contains(out, "no space left on device"):
			full++
		case strings.Contains(out, "are needed and"):
			refused++
		default:
			t.Errorf("%d KiB: status %d\n%s", kib, status, out)
		}
		if now, err := os.ReadFile("pc.vhd"); err != nil || !bytes.Equal(now, before) {
			t.Fatalf("%d KiB: the old system was changed: %v", kib, err)
		}
		if status == 0 {
			if status, out := husk(t, "verify", filepath.Join(disk, "win.vhd"), "--wim="+filepath.Join(disk, "wimboot.wim")); status != 0 {
				t.Errorf("%d KiB: %s", kib, out)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(disk, "win.vhd")); err == nil {
			t.Errorf("%d KiB: half a disk was left", kib)
		}
	}
	t.Logf("%d done, %d refused before, %d out of space", done, refused, full)
	if done == 0 || full == 0 {
		t.Errorf("%d done, %d out of space, want some of each", done, full)
	}

	// The room is there when the plan is made, and gone when it is carried out.
	disk := smallDisk(t, "40m")
	filler := filepath.Join(disk, "filler")
	target := filepath.Join(disk, "else.vhd")
	if err := os.WriteFile(target, before, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filler, make([]byte, 40<<20-len(before)-5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"convert", target, "--yes"}
	status, out := husk(t, args...)
	t.Logf("with 5 MiB of room: status %d", status)
	if status != 0 && !strings.Contains(out, "no space left on device") && !strings.Contains(out, "are needed and") {
		t.Errorf("status %d\n%s", status, out)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if status != 0 {
		if status, out := husk(t, args...); status != 0 {
			t.Errorf("with more room: %d\n%s", status, out)
		}
	}
	if status, out := husk(t, "verify", target); status != 0 {
		t.Errorf("verify: %d\n%s", status, out)
	}
}
