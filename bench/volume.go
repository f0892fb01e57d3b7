package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"

	"husk/ntfs"
	"husk/winfile"
)

// volume measures NTFS volumes: read, built, checked.
func (b *bench) volume() error {
	if err := b.makeImage(); err != nil {
		return err
	}
	for _, step := range []func() error{b.captureVolume, b.check, b.compact, b.manyFiles, b.list} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// image is a volume with the first tree, written by wimlib-imagex.
func (b *bench) image() string { return b.path("image.ntfs") }

func (b *bench) makeImage() error {
	n, err := treeSize(b.trees[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(b.stderr, "making an NTFS image")
	stored := b.path("stored.wim")
	defer os.Remove(stored)
	if err := newVolume(b.image(), (2*n+1<<30)&^(1<<20-1)); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"capture", b.trees[0], stored, "--compress=none"},
		{"apply", stored, "1", b.image()},
	} {
		if out, err := exec.Command("wimlib-imagex", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("wimlib-imagex %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// captureVolume captures the volume as wimlib-imagex does in its NTFS mode, and the folder that it was made from.
func (b *bench) captureVolume() error {
	for _, kind := range []struct{ name, husk, peer string }{
		{"", "--wimboot", "--wimboot"},
		{", uncompressed", "--compress=none", "--compress=none"},
	} {
		ours, theirs := b.path("volume.wim"), b.path("volume-wimlib.wim")
		r, err := b.compare("capture an NTFS image"+kind.name,
			command{args: []string{"husk", "capture", b.image(), ours, kind.husk, "--yes", "--quiet"}},
			"wimlib-imagex capture, NTFS mode"+kind.name, &command{
				args:  []string{"wimlib-imagex", "capture", b.image(), theirs, kind.peer},
				ready: func() error { return remove(theirs) },
			})
		if err != nil {
			return err
		}
		if err := b.sizes(r, ours, theirs); err != nil {
			return err
		}
	}
	_, err := b.compare("the same tree: image, folder",
		command{args: []string{"husk", "capture", b.image(), b.path("volume.wim"), "--wimboot", "--yes", "--quiet"}},
		"husk capture of the folder", &command{args: []string{"husk", "capture", b.trees[0], b.path("folder.wim"), "--wimboot", "--yes", "--quiet"}})
	return errors.Join(err, remove(b.path("volume.wim")), remove(b.path("volume-wimlib.wim")))
}

// mounted mounts the image through ntfs-3g for the time of one measurement.
func (b *bench) mounted(image string) (dir string, ready, end func() error) {
	dir = b.path("mnt")
	up := false
	end = func() error {
		if !up {
			return nil
		}
		up = false
		return exec.Command("fusermount", "-u", dir).Run()
	}
	ready = func() error {
		if err := errors.Join(end(), os.MkdirAll(dir, 0o755)); err != nil {
			return err
		}
		out, err := exec.Command("ntfs-3g", "-o", "ro", image, dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ntfs-3g: %w\n%s", err, out)
		}
		up = true
		return nil
	}
	return dir, ready, end
}

func (b *bench) check() error {
	dir, ready, end := b.mounted(b.image())
	_, err := b.compare("check the volume", command{args: []string{"husk", "check", b.image(), "--quiet"}},
		"reading every file through ntfs-3g (CPU of the reading process only)", &command{
			args:  []string{"sh", "-c", `find "$1" -type f -exec cat {} + >/dev/null`, "sh", dir},
			ready: ready,
		})
	return errors.Join(err, end())
}

// compact measures what re-using the WIM's chunks is worth.
func (b *bench) compact() error {
	xpress, lzx := []string{"--wimboot"}, []string{"--compress=lzx:fast"}
	for _, k := range []struct {
		algorithm   string
		same, other []string // how to capture a WIM whose chunks fit, and one whose do not
	}{
		{"xpress4k", xpress, lzx},
		{"lzx", lzx, xpress},
	} {
		same, other := b.path("same.wim"), b.path("other.wim")
		for path, how := range map[string][]string{same: k.same, other: k.other} {
			args := append([]string{"capture", b.trees[0], path, "--yes", "--quiet"}, how...)
			if out, err := exec.Command("husk", args...).CombinedOutput(); err != nil {
				return fmt.Errorf("husk capture: %w\n%s", err, out)
			}
		}
		apply := func(wim string) command {
			return command{args: []string{"husk", "apply", wim, "1", b.path("compact.vhd"), "--compact=" + k.algorithm, "--yes", "--quiet"}}
		}
		again := apply(other)
		if _, err := b.compare("compact "+k.algorithm+", chunks of the WIM", apply(same), "husk recompressing what another codec had", &again); err != nil {
			return err
		}
		if err := errors.Join(remove(same), remove(other), remove(b.path("compact.vhd"))); err != nil {
			return err
		}
	}
	return nil
}

// manyFiles builds volumes of small files, through the package as no command makes a volume from nothing.
func (b *bench) manyFiles() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	build := func(n int) command {
		return command{args: []string{self, "-volume=" + strconv.Itoa(n), b.path("many.ntfs")}}
	}
	if _, err := b.compare(fmt.Sprintf("build %d small files", b.many), build(b.many), "", nil); err != nil {
		return err
	}
	_, err = build(b.many / 2).measure()
	return err
}

func (b *bench) list() error {
	image := b.path("many.ntfs")
	dir, ready, end := b.mounted(image)
	_, err := b.compare(fmt.Sprintf("list %d files", b.many/2),
		command{args: []string{"husk", "fs", "find", image, "/"}},
		"find on a mount of ntfs-3g (CPU of find only)", &command{args: []string{"find", dir}, ready: ready})
	return errors.Join(err, end(), remove(image))
}

// buildVolume writes a volume of n small files, a hundred to a folder.
func buildVolume(path string, n int) (err error) {
	debug.SetGCPercent(25) // as husk runs
	const (
		perDir = 100
		now    = winfile.Filetime(133_000_000_000_000_000)
	)
	entry := func(name string, attributes winfile.Attributes) *winfile.Entry {
		return &winfile.Entry{Name: name, Info: &winfile.Info{
			Attributes: attributes, Created: now, Written: now, Accessed: now, Changed: now, Links: 1,
		}}
	}
	root := entry("", winfile.AttrDirectory)
	var dir *winfile.Entry
	for i := range n {
		if i%perDir == 0 {
			dir = entry(fmt.Sprintf("folder%06d", i/perDir), winfile.AttrDirectory)
			root.Children = append(root.Children, dir)
		}
		e := entry(fmt.Sprintf("file-of-many-%06d.bin", i), winfile.AttrArchive)
		e.Info.Data = winfile.NewBlob(fmt.Appendf(nil, "content %d %s", i, strings.Repeat("x", i%600)))
		dir.Children = append(dir.Children, e)
	}
	layout, err := ntfs.NewLayout(&winfile.Tree{Root: root}, nil)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(layout.Size()); err != nil {
		return err
	}
	return layout.Write(context.Background(), f)
}
