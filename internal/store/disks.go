package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"husk/guid"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/winfile"
	"husk/wof"
)

// Disk is a disk whose pointer files point into layers.
type Disk struct {
	Path     string
	System   string // "" if it is not known
	Point    string // id of the point that it was made from, if known
	Recorded bool   // husk.toml has it; otherwise it was found below the store

	last []string // GUIDs of the layers when it was last read, from husk.toml
}

// DiskUse tells what a disk needs of the store.
type DiskUse struct {
	Disk
	Layers  map[*Layer]int          // pointer files into each layer
	Foreign []wof.Entry             // data sources with pointer files that are no layer of this store
	Hashes  map[winfile.SHA1]int64  // the contents that its pointer files name, and their sizes
	Holder  map[winfile.SHA1]*Layer // the layer that they are pointed into
	Err     error                   // why it cannot be read; Layers are then those of the last time, with 0 files
}

const diskDepth = 3 // folders below the store in which disks are looked for

// isDiskName tells disks by their names, those that are kept or made beside another one too: win7.vhd.old.
func isDiskName(name string) bool {
	name = strings.ToLower(name)
	for _, mark := range []string{".old", ".new"} {
		name = strings.TrimSuffix(name, mark)
	}
	return slices.Contains([]string{".vhd", ".vhdx", ".img", ".raw", ".qcow2"}, filepath.Ext(name))
}

// Disks are the disks that husk.toml names, and those that lie below the store.
func (s *Store) Disks() []*Disk {
	var list []*Disk
	known := make(map[string]bool)
	for _, e := range s.cat.Disks {
		path := filepath.FromSlash(e.Path)
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Dir, path)
		}
		known[path] = true
		list = append(list, &Disk{Path: path, System: e.System, Point: e.Point, Recorded: true, last: e.Layers})
	}
	if s.File == "" {
		for _, path := range diskFiles(s.Dir, diskDepth) {
			if !known[path] {
				list = append(list, &Disk{Path: path, System: s.systemAbove(path)})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b *Disk) int { return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Path, b.Path)) })
	return list
}

// diskFiles lists what is called like a disk below a folder.
func diskFiles(dir string, depth int) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // what cannot be looked into is as if it were elsewhere
	}
	var list []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir() && depth > 0:
			list = append(list, diskFiles(path, depth-1)...)
		case e.Type().IsRegular() && isDiskName(e.Name()):
			list = append(list, path)
		}
	}
	return list
}

// systemAbove is the system of a disk below the store: a folder on the way to it is called as a system, x64/win7.vhd.
func (s *Store) systemAbove(path string) string {
	rel, err := filepath.Rel(s.Dir, path)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	for _, name := range s.SystemNames() {
		if strings.EqualFold(Slug(first), name) {
			return name
		}
	}
	return ""
}

// Use reads what a disk needs. A disk that cannot be read is taken to need what it needed when it was last read.
func (s *Store) Use(ctx context.Context, d *Disk) *DiskUse {
	u := &DiskUse{Disk: *d, Layers: make(map[*Layer]int), Hashes: make(map[winfile.SHA1]int64), Holder: make(map[winfile.SHA1]*Layer)}
	if u.Err = s.readUse(ctx, u); u.Err != nil {
		u.Err = fmt.Errorf("%s: %w", d.Path, u.Err)
		for _, g := range d.last {
			if l := s.layerByGUID(g); l != nil {
				u.Layers[l] += 0
			}
		}
	}
	return u
}

func (s *Store) readUse(ctx context.Context, u *DiskUse) error {
	in, err := source.Open(ctx, u.Path, &source.Options{Raw: true})
	if err != nil {
		return err
	}
	defer in.Close()
	overlay, err := wof.ReadOverlay(in.Tree)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	layers := make(map[uint64]*Layer)
	foreign := make(map[uint64]int)
	for _, e := range overlay.Entries() {
		layers[e.DataSourceID] = s.layerByGUID(guid.GUID(e.GUID).String())
	}
	seen := make(map[*winfile.Info]struct{})
	for path, e := range in.Tree.All() {
		p := e.Info.Reparse
		if _, again := seen[e.Info]; again || p == nil || p.Tag != winfile.TagWOF {
			continue
		}
		seen[e.Info] = struct{}{}
		if provider, err := wof.ProviderOf(p); err == nil && provider == wof.ProviderFile {
			continue
		}
		ptr, err := wof.PointerOf(p)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		u.Hashes[ptr.SHA1] = ptr.Size
		if l := layers[ptr.DataSourceID]; l != nil {
			u.Layers[l]++
			u.Holder[ptr.SHA1] = l
		} else {
			foreign[ptr.DataSourceID]++
		}
	}
	for _, e := range overlay.Entries() {
		if foreign[e.DataSourceID] > 0 {
			u.Foreign = append(u.Foreign, e)
		}
	}
	return nil
}

func (s *Store) layerByGUID(g string) *Layer {
	for _, l := range s.layers {
		if l.GUID().String() == g {
			return l
		}
	}
	return nil
}

// Uses reads all disks.
func (s *Store) Uses(ctx context.Context) ([]*DiskUse, error) {
	var list []*DiskUse
	for _, d := range s.Disks() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list = append(list, s.Use(ctx, d))
	}
	return list, nil
}

// AddDisk notes that a disk points into the store, of a system and perhaps made from a point. The store must be locked.
func (s *Store) AddDisk(ctx context.Context, path, system string, made *Point) error {
	if err := s.locked(); err != nil {
		return err
	}
	path, err := s.diskPath(path)
	if err != nil {
		return err
	}
	d := &Disk{Path: path, System: Slug(system), Recorded: true}
	if !filepath.IsAbs(path) {
		d.Path = filepath.Join(s.Dir, path)
	}
	u := s.Use(ctx, d)
	if u.Err != nil {
		return u.Err
	}
	e := diskEntry{Path: filepath.ToSlash(path), System: d.System}
	if made != nil {
		e.Point = made.ID
	}
	e.Layers = u.guids()
	s.cat.Disks = slices.DeleteFunc(s.cat.Disks, func(o diskEntry) bool { return o.Path == e.Path })
	s.cat.Disks = append(s.cat.Disks, e)
	return s.save()
}

// guids are the layers that the disk points into.
func (u *DiskUse) guids() []string {
	var list []string
	for l := range u.Layers {
		list = append(list, l.GUID().String())
	}
	slices.Sort(list)
	return list
}

// ForgetDisk takes a disk out of husk.toml: it is gone, or will never start again. The store must be locked.
func (s *Store) ForgetDisk(path string) error {
	if err := s.locked(); err != nil {
		return err
	}
	rel, err := s.diskPath(path)
	if err != nil {
		return err
	}
	n := len(s.cat.Disks)
	s.cat.Disks = slices.DeleteFunc(s.cat.Disks, func(o diskEntry) bool { return o.Path == filepath.ToSlash(rel) })
	if len(s.cat.Disks) == n {
		return ui.Hint(fmt.Errorf("%s has no disk %s on record", s.Dir, path), "'husk store info %s' lists them; those that lie below the store are found by themselves", s.Dir)
	}
	return s.save()
}

// diskPath is how husk.toml names a disk: relative if it is below the store.
func (s *Store) diskPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(dir, abs); err == nil && filepath.IsLocal(rel) {
		return rel, nil
	}
	return abs, nil
}

// noteUses refreshes what husk.toml says of the disks that could be read.
func (s *Store) noteUses(uses []*DiskUse) {
	for i := range s.cat.Disks {
		e := &s.cat.Disks[i]
		for _, u := range uses {
			if rel, err := s.diskPath(u.Path); err == nil && filepath.ToSlash(rel) == e.Path && u.Err == nil {
				e.Layers = u.guids()
			}
		}
	}
}

// System is what a store knows of one system.
type System struct {
	Name   string
	Points []*Point
	Disks  []*Disk
}

// Systems are the systems that have points or disks.
func (s *Store) Systems() []*System {
	var list []*System
	of := make(map[string]*System)
	get := func(name string) *System {
		if of[name] == nil {
			of[name] = &System{Name: name}
			list = append(list, of[name])
		}
		return of[name]
	}
	for _, p := range s.points {
		y := get(p.System)
		y.Points = append(y.Points, p)
	}
	for _, d := range s.Disks() {
		if d.System != "" || d.Recorded {
			y := get(d.System)
			y.Disks = append(y.Disks, d)
		}
	}
	slices.SortStableFunc(list, func(a, b *System) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
