package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"husk/fat"
	"husk/internal/disk"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
)

// find opens what spec names and finds a hive in it.
func (h *Hive) find(ctx context.Context, spec, hive string, warn func(format string, args ...any)) error {
	path, selector := source.Split(spec)
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	o := &source.Options{Warn: warn, Exclude: onlyHives(hive)}
	if !st.IsDir() && !source.IsWIM(path) && !source.IsDisc(path) {
		return h.findOnDisk(ctx, path, selector, hive, o)
	}
	return h.try(hive, o, func() (*source.Source, error) { return source.Open(ctx, spec, o) })
}

// try opens a source and looks for a hive in it. Pointer files are resolved only if the hive is one.
func (h *Hive) try(hive string, o *source.Options, open func() (*source.Source, error)) error {
	for _, raw := range []bool{true, false} {
		o.Raw = raw
		s, err := open()
		if err != nil {
			return err
		}
		path, err := winsys.HivePath(s.Tree, hive)
		if err != nil {
			return errors.Join(noHive(s.Path, hive), s.Close())
		}
		if r := s.Tree.Lookup(path).Info.Reparse; r == nil || !raw {
			h.source, h.path = s, path
			return nil
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	panic("registry: internal error: unreachable")
}

// errNoHive is what a volume without the hive is skipped for.
var errNoHive = errors.New("no hive")

func noHive(where, hive string) error {
	return ui.Hint(fmt.Errorf("%s: %w %s", where, errNoHive, hive), "name a hive of Windows, such as SYSTEM, SOFTWARE or BCD, or its path")
}

// findOnDisk looks for the hive on a partition, or on every one with a file system that is known: only one may have it.
func (h *Hive) findOnDisk(ctx context.Context, path, selector, hive string, o *source.Options) (err error) {
	if h.disk, err = disk.Open(path); err != nil {
		return err
	}
	d, parts := h.disk, []*disk.Partition(nil)
	if selector != "" {
		n, convErr := strconv.Atoi(selector)
		if convErr != nil {
			return fmt.Errorf("%s:%s: want a partition number after the colon", path, selector)
		}
		p, err := d.Partition(n)
		if err != nil {
			return err
		}
		parts = append(parts, p)
	} else {
		for i := range d.Partitions {
			if p := &d.Partitions[i]; p.NTFS || p.FAT {
				parts = append(parts, p)
			}
		}
	}
	var found []Hive
	var failed []error
	for _, p := range parts {
		v := Hive{}
		switch err := v.try(hive, o, func() (*source.Source, error) { return volume(ctx, d, p, hive, o) }); {
		case err == nil:
			found = append(found, v)
		case !errors.Is(err, errNoHive):
			failed = append(failed, err)
		}
	}
	switch {
	case len(found) == 1:
		for _, err := range failed {
			o.Warn("%s", err)
		}
		h.source, h.path = found[0].source, found[0].path
		return nil
	case len(found) == 0 && len(failed) > 0:
		return errors.Join(failed...)
	case len(found) == 0 && len(parts) == 0:
		_, err := d.NTFS() // says what there is
		return err
	case len(found) == 0:
		return noHive(path, hive)
	}
	var places []string
	for _, v := range found {
		places = append(places, fmt.Sprintf("%s:%d", path, v.source.Part.Number))
		err = errors.Join(err, v.source.Close())
	}
	return errors.Join(ui.Hint(fmt.Errorf("%s: %d partitions have a hive %s", path, len(found), hive), "name one: %s", strings.Join(places, ", ")), err)
}

// volume opens a partition as far as the hive needs it.
func volume(ctx context.Context, d *disk.Disk, p *disk.Partition, hive string, o *source.Options) (*source.Source, error) {
	if p.FAT {
		v, err := fat.NewVolume(d.Section(p), p.Size)
		if err != nil {
			return nil, fmt.Errorf("%s: partition %d: %w", d.Path, p.Number, err)
		}
		t, err := v.Tree()
		if err != nil {
			return nil, fmt.Errorf("%s: partition %d: %w", d.Path, p.Number, err)
		}
		return &source.Source{Kind: source.Volume, Path: d.Path, Disk: d, Part: p, Tree: t}, nil
	}
	own := *o
	own.Paths = winsys.HiveFolders(hive)
	return source.FromDisk(ctx, d, p, &own)
}
