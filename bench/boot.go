package main

import (
	"fmt"
	"os/exec"
	"strconv"
)

// boot measures disks that start Windows, where the first tree has boot files and, for pointers, a driver for them.
func (b *bench) boot() error {
	wim := b.path("boot.wim")
	capture := exec.Command("husk", "capture", b.trees[0], wim, "--wimboot", "--yes", "--quiet")
	if out, err := capture.CombinedOutput(); err != nil {
		return fmt.Errorf("husk capture: %w\n%s", err, out)
	}
	defer remove(wim)
	if err := b.installPlain(wim); err != nil {
		return err
	}
	return b.installPointers(wim)
}

// can reports whether the images can be installed so.
func (b *bench) can(args ...string) bool {
	cmd := append([]string{"install"}, args...)
	out, err := exec.Command("husk", append(cmd, "--dry-run", "--quiet")...).CombinedOutput()
	if err != nil {
		fmt.Fprintf(b.stderr, "not measured: husk install: %s", out)
	}
	return err == nil
}

// installPlain compares with writing as many zeros: the most that the disk can do.
func (b *bench) installPlain(wim string) error {
	disk, zeros := b.path("installed.vhd"), b.path("zeros")
	if !b.can(wim, disk) {
		return nil
	}
	install := command{args: []string{"husk", "install", wim, disk, "--yes", "--quiet"}}
	if _, err := install.measure(); err != nil {
		return err
	}
	n, err := size(disk)
	if err != nil {
		return err
	}
	blocks := strconv.FormatInt((n+1<<20-1)>>20, 10)
	r, err := b.compare("install, plain", install, "dd of the same number of zeros, synced", &command{
		args: []string{"dd", "if=/dev/zero", "of=" + zeros, "bs=1M", "count=" + blocks, "conv=fsync", "status=none"},
	})
	if err != nil {
		return err
	}
	r.Notes = append(r.Notes, fmt.Sprintf("VHD of %.1f MB, %.0f MB/s", float64(n)/1e6, float64(n)/1e6/r.Husk.Wall))
	return removeAll(disk, zeros)
}

// installPointers makes the disk with the WIM, the VHD of pointer files, boot files and store; the WIM is copied onto it.
func (b *bench) installPointers(wim string) error {
	disk, copied := b.path("pointers.img"), b.path("copy.wim")
	args := []string{wim, disk, "--mode=wimboot"}
	if !b.can(args...) {
		return nil
	}
	n, err := size(wim)
	if err != nil {
		return err
	}
	r, err := b.compare("install, pointers and their WIM",
		command{args: append([]string{"husk", "install", "--yes", "--quiet"}, args...)},
		"cp of the WIM alone, synced", &command{args: []string{"dd", "if=" + wim, "of=" + copied, "bs=1M", "conv=fsync", "status=none"}})
	if err != nil {
		return err
	}
	r.Notes = append(r.Notes, fmt.Sprintf("of it, the WIM of %.1f MB", float64(n)/1e6))
	return removeAll(disk, copied)
}
