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
	"strconv"
	"strings"

	"husk/guid"
	"husk/internal/disk"
	"husk/internal/inplace"
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

	last    []string // GUIDs of the layers when it was last read, from husk.toml
	volumes []string // of a device: the serial numbers that it had
}

// DiskUse tells what a disk needs of the store.
type DiskUse struct {
	Disk
	Layers  map[*Layer]int          // pointer files into each layer
	Foreign []wof.Entry             // data sources with pointer files that are no layer of this store
	Hashes  map[winfile.SHA1]int64  // the contents that its pointer files name, and their sizes
	Holder  map[winfile.SHA1]*Layer // the layer that they are pointed into
	Err     error                   // why it cannot be read; Layers are then those of the last time, with 0 files

	serials []string // of its NTFS volumes
}

const diskDepth = 3 // folders below the store in which disks are looked for

// besideMarks are what the names of disks have more that are kept or made beside another one: win7.vhd.old.
var besideMarks = []string{".old", ".new"}

// isDiskName tells disks by their names, those beside another one too.
func isDiskName(name string) bool {
	name = strings.ToLower(name)
	for _, mark := range besideMarks {
		name = strings.TrimSuffix(name, mark)
	}
	return slices.Contains([]string{".vhd", ".vhdx", ".img", ".raw", ".qcow2"}, filepath.Ext(name))
}

// Disks are the disks that husk.toml names, with what restoring one keeps beside it, and those that lie below the store.
func (s *Store) Disks() []*Disk {
	var list []*Disk
	known := make(map[string]bool)
	for _, e := range s.cat.Disks {
		path := filepath.FromSlash(e.Path)
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Dir, path)
		}
		known[path] = true
		list = append(list, &Disk{Path: path, System: e.System, Point: e.Point, Recorded: true, last: e.Layers, volumes: e.Volumes})
	}
	for _, d := range slices.Clone(list) {
		for _, mark := range besideMarks {
			if st, err := os.Stat(d.Path + mark); err == nil && st.Mode().IsRegular() && !known[d.Path+mark] {
				known[d.Path+mark] = true
				list = append(list, &Disk{Path: d.Path + mark, System: d.System})
			}
		}
	}
	if s.File == "" {
		for _, path := range diskFiles(s.Dir, diskDepth) {
			if !known[path] && !slices.ContainsFunc(list, func(d *Disk) bool { return sameFile(d.Path, path) }) {
				list = append(list, &Disk{Path: path, System: s.systemAbove(path)})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b *Disk) int { return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Path, b.Path)) })
	return list
}

// Finds reports whether a disk need not be recorded, as it lies below the store.
func (s *Store) Finds(path string) bool {
	return slices.ContainsFunc(diskFiles(s.Dir, diskDepth), func(f string) bool { return sameFile(f, path) })
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
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 { // the folder of a system, or its disk, may lie elsewhere
			st, err := os.Stat(path)
			if err != nil {
				continue // it leads nowhere
			}
			mode = st.Mode()
		}
		switch {
		case mode.IsDir() && depth > 0:
			list = append(list, diskFiles(path, depth-1)...)
		case mode.IsRegular() && isDiskName(e.Name()):
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
	u.Err = s.readUse(ctx, u)
	for _, serial := range d.volumes {
		if u.Err == nil && !slices.Contains(u.serials, serial) {
			u.Err = fmt.Errorf("another disk has this name now: volume %s is not on it", serial)
		}
	}
	if u.Err != nil {
		u.Err = fmt.Errorf("%s: %w", d.Path, u.Err)
		for _, g := range d.last {
			for _, l := range s.layersByGUID(g) {
				u.Layers[l] += 0
			}
		}
	}
	return u
}

// readUse reads all NTFS volumes of a disk, or the one that DISK:NUMBER names.
func (s *Store) readUse(ctx context.Context, u *DiskUse) error {
	path, selector := source.Split(u.Path)
	d, err := disk.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	number := 0
	if selector != "" {
		if number, err = strconv.Atoi(selector); err != nil {
			return fmt.Errorf("want a partition number after the colon, found %q", selector)
		}
	}
	found := false
	for i := range d.Partitions {
		part := &d.Partitions[i]
		if number != 0 && part.Number != number || number == 0 && !part.NTFS {
			continue
		}
		found = true
		if err := s.readVolume(ctx, d, part, u); err != nil {
			return err
		}
	}
	if !found {
		_, err := d.NTFS()
		return cmp.Or(err, fmt.Errorf("there is no partition %d", number))
	}
	if number == 0 && d.Unread() != nil {
		return d.Unread()
	}
	if inplace.Pending(path) { // without its journal the disk still needs what it needed before
		return inplace.ErrPending
	}
	return nil
}

func (s *Store) readVolume(ctx context.Context, d *disk.Disk, part *disk.Partition, u *DiskUse) error {
	in, err := source.FromDisk(ctx, d, part, &source.Options{Raw: true})
	if err != nil {
		return err
	}
	defer in.Close()
	u.serials = append(u.serials, fmt.Sprintf("%016x", in.NTFS.Serial))
	overlay, err := wof.ReadOverlay(in.Tree)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	layers := make(map[uint64][]*Layer)
	foreign := make(map[uint64]int)
	for _, e := range overlay.Entries() {
		layers[e.DataSourceID] = s.layersByGUID(guid.GUID(e.GUID).String())
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
		list := layers[ptr.DataSourceID]
		for _, l := range list { // of copies of a WIM it is not known which one will be at the place
			u.Layers[l]++
			u.Holder[ptr.SHA1] = l
		}
		if len(list) == 0 {
			foreign[ptr.DataSourceID]++
		}
	}
	for _, e := range overlay.Entries() {
		if foreign[e.DataSourceID] == 0 {
			continue
		}
		u.Foreign = append(u.Foreign, e)
		name := e.Location.Path[strings.LastIndexByte(e.Location.Path, '\\')+1:]
		for _, l := range s.layers { // Windows finds the WIM by its path, whatever its GUID is
			if winfile.EqualFold(l.File, name) {
				u.Layers[l] += foreign[e.DataSourceID]
			}
		}
	}
	return in.NTFS.Unread() // what cannot be read may be pointers too
}

// layersByGUID are the layer of a GUID and its copies.
func (s *Store) layersByGUID(g string) []*Layer {
	return slices.DeleteFunc(slices.Clone(s.layers), func(l *Layer) bool { return l.GUID().String() != g })
}

func (s *Store) layerByGUID(g string) *Layer {
	if list := s.layersByGUID(g); len(list) > 0 {
		return list[0]
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
	return append(list, s.unfinished(list)...), nil
}

// conversionMark is what the names of journals end in, of conversions that were begun and are not done: see package convert.
const conversionMark = ".husk-convert"

// unfinished stands for conversions that were cut off: what they need is not known.
func (s *Store) unfinished(disks []*DiskUse) []*DiskUse {
	var names []string
	if entries, err := os.ReadDir(s.Dir); err == nil && s.File == "" {
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), conversionMark) {
				names = append(names, filepath.Join(s.Dir, e.Name()))
			}
		}
	}
	for _, d := range disks {
		path, _ := source.Split(d.Path)
		if name := path + conversionMark; !slices.Contains(names, name) {
			if _, err := os.Stat(name); err == nil {
				names = append(names, name)
			}
		}
	}
	var list []*DiskUse
	for _, name := range names {
		list = append(list, &DiskUse{Disk: Disk{Path: name}, Err: fmt.Errorf("%s: a conversion was begun and is not finished: run 'husk convert' again as before", name)})
	}
	return list
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
	name, _ := source.Split(d.Path)
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		e.Volumes = u.serials
	}
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
