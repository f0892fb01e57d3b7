package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"husk/internal/inplace"
	"husk/internal/source"
	"husk/winfile"
)

const changedShare = 50 // one file in so many is changed: 2 %

// store measures what a point of a system costs of which little has changed: of a disk of pointer files by husk, of the same files in a
// folder by wimlib, for which a pointer is a reparse point and no file.
func (b *bench) store() error {
	dir, disk, folder, base := b.path("store"), b.path("store/x64/d.vhd"), b.path("changed"), b.path("base.wim")
	defer os.RemoveAll(dir)
	defer os.RemoveAll(folder)
	defer os.Remove(base)
	if err := os.MkdirAll(filepath.Dir(disk), 0o777); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"husk", "store", "init", dir},
		{"husk", "point", "add", dir, "x64", b.trees[0], "--quiet"},
		{"husk", "apply", dir + ":x64", disk, "--wimboot", `--wim-path=\store\wimboot.wim`, "--wim-disk=mbr:1a2b3c4d:1048576", "--quiet"},
		{"wimlib-imagex", "capture", b.trees[0], base, "first", "--wimboot"},
		{"cp", "-a", "--reflink=auto", b.trees[0], folder},
	} {
		if _, err := (&command{args: args}).measure(); err != nil {
			return err
		}
	}
	files, bytes, err := changeFiles(disk, folder)
	if err != nil {
		return err
	}
	toml, err := os.ReadFile(filepath.Join(dir, "husk.toml"))
	if err != nil {
		return err
	}
	layer := filepath.Join(dir, "layer-0002.wim")
	husk := command{args: []string{"husk", "point", "add", dir, "x64", disk, "--quiet"}, ready: func() error {
		return errors.Join(remove(layer), os.WriteFile(filepath.Join(dir, "husk.toml"), toml, 0o666))
	}}
	wim, volume := b.path("added.wim"), b.path("changed.ntfs")
	defer os.Remove(wim)
	defer os.Remove(volume)
	for _, how := range []struct {
		what, source string
		options      []string
	}{
		{"add a point of a husk, 2 % of its files changed", folder, nil},
		{"the same, wimlib trusting sizes and times", folder, []string{"--update-of=1"}},
		{"the same, wimlib reading a plain NTFS volume", volume, nil},
	} {
		if how.source == volume {
			if err := plainVolume(volume, wim); err != nil {
				return err
			}
		}
		peer := command{args: append([]string{"wimlib-imagex", "append", how.source, wim, "second", "--wimboot"}, how.options...),
			ready: func() error { return copyFile(wim, base) }}
		r, err := b.compare(how.what, husk, strings.Join(append([]string{"wimlib-imagex append"}, how.options...), " "), &peer)
		if err != nil {
			return err
		}
		n, err := size(layer)
		if err != nil {
			return err
		}
		r.Notes = append(r.Notes, fmt.Sprintf("%d files of %.1f MB changed; the new layer has %.1f MB", files, float64(bytes)/1e6, float64(n)/1e6))
	}
	return nil
}

// plainVolume makes an NTFS volume of the second image of a WIM.
func plainVolume(volume, wim string) error {
	n, err := size(wim)
	if err != nil {
		return err
	}
	if err := newVolume(volume, (8*n+1<<30)&^(1<<20-1)); err != nil {
		return err
	}
	_, err = (&command{args: []string{"wimlib-imagex", "apply", wim, "2", volume}}).measure()
	return err
}

// changeFiles changes the same files of a disk and of a folder: pointer files become plain ones with other bytes.
func changeFiles(disk, folder string) (files int, bytes int64, err error) {
	in, err := source.Open(context.Background(), disk, &source.Options{Raw: true})
	if err != nil {
		return 0, 0, err
	}
	var paths []string
	n := 0
	for path, e := range in.Tree.All() {
		if e.Info.Reparse != nil && e.Info.Reparse.Tag == winfile.TagWOF && e.Info.Links == 1 {
			if n++; n%changedShare == 0 {
				paths = append(paths, path)
			}
		}
	}
	if err := in.Close(); err != nil {
		return 0, 0, err
	}
	v, err := inplace.Open(disk, 0)
	if err != nil {
		return 0, 0, err
	}
	for _, path := range paths {
		content, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(path)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a name that the folder could not hold
		}
		if err != nil {
			return 0, 0, errors.Join(err, v.Close())
		}
		for i := range content {
			content[i] ^= 0x55
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.FromSlash(path)), content, 0o666); err != nil {
			return 0, 0, errors.Join(err, v.Close())
		}
		if err := v.Editor.SetPlain(path, winfile.NewBlob(content)); err != nil {
			return 0, 0, errors.Join(fmt.Errorf("%s: %w", path, err), v.Close())
		}
		files++
		bytes += int64(len(content))
	}
	return files, bytes, errors.Join(v.Editor.Commit(), v.Close())
}
