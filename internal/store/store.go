package store

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"husk/guid"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/wim"
	"husk/winfile"
)

// Store is an open store. It is not for concurrent use; several processes may read one while at most one, which has called Lock, changes it.
type Store struct {
	Dir      string
	File     string   // base name of the WIM, if one file and not a folder was opened: such a store is read only
	Warnings []string // what is odd about it

	layers  []*Layer
	points  []*Point // by system, then by date
	dropped []*Point
	bad     []BadLayer
	cat     *catalogue
	found   bool  // there is a husk.toml
	unread  error // why it cannot be read
	files   files
	ui      *ui.UI
	lock    *lock
}

// Layer is a WIM of a store.
type Layer struct {
	File    string // its base name
	Path    string
	Number  int // the place in the order of layers; 0 for WIMs that others made
	WIM     *wim.Reader
	Retired bool // no point needs it

	stat    fs.FileInfo
	created time.Time
	folds   []string // GUIDs of the layers that it was merged from
	images  []*Point
}

// GUID identifies the layer.
func (l *Layer) GUID() guid.GUID { return l.WIM.GUID() }

// BadLayer is a WIM of the folder that cannot be read.
type BadLayer struct {
	File string
	Err  error
}

// Point is one system at one time.
type Point struct {
	ID      string // stays the same when the point is renamed or merged into another layer
	System  string
	Name    string // of its system
	Date    time.Time
	Note    string
	Dropped time.Time // zero: it is not
	Layer   *Layer
	Image   *wim.Image
}

// String is SYSTEM@NAME.
func (p *Point) String() string { return p.System + "@" + p.Name }

func init() {
	source.OpenPoint = openPoint
}

// openPoint opens STORE:POINT as a source of its own.
func openPoint(ctx context.Context, dir, spec string) (*source.Source, error) {
	s, err := Open(dir, nil)
	if err != nil {
		return nil, err
	}
	p, err := s.Point(spec)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	in, err := s.Source(ctx, p)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	in.CloseWith(s)
	return in, nil
}

// OpenOptions tunes Open; nil is right.
type OpenOptions struct {
	UI *ui.UI // for progress and notes; may be nil
}

// Is reports whether path is a store that husk made: a folder with a husk.toml.
func Is(path string) bool {
	st, err := os.Stat(filepath.Join(path, CatalogueName))
	return err == nil && st.Mode().IsRegular()
}

// Open opens a store: a folder with a husk.toml or with WIMs, or a single WIM file. Layers that cannot be read are in Bad.
func Open(path string, o *OpenOptions) (*Store, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	s := &Store{Dir: path, files: hostFiles{}}
	if o != nil {
		s.ui = o.UI
	}
	if !st.IsDir() {
		if !source.IsWIM(path) {
			return nil, fmt.Errorf("%s is no store: want a folder with %s or WIMs, or a WIM", path, CatalogueName)
		}
		s.Dir, s.File = filepath.Split(path)
		s.Dir = filepath.Clean(s.Dir)
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if len(s.layers) == 0 && len(s.bad) == 0 && !s.found {
		return nil, ui.Hint(errors.Join(fmt.Errorf("%s is no store: it has neither %s nor a WIM", path, CatalogueName), s.Close()), "make one with 'husk store init %s'", path)
	}
	return s, nil
}

// CreateOptions tells how the layers of a new store are made.
type CreateOptions struct {
	Compress  string // as archive.Options has it; "" means XPRESS
	ChunkSize int    // bytes; 0 means what Windows has for pointer files
	Boot      *BootPlace
	UI        *ui.UI
}

// Create makes the folder a store. WIMs that are in it become its layers. A folder that is one already is an fs.ErrExist error.
func Create(dir string, o *CreateOptions) (*Store, error) {
	if Is(dir) {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, CatalogueName), fs.ErrExist)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	s := &Store{Dir: dir, files: hostFiles{}, ui: o.UI}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.cat.Compress, s.cat.Chunk, s.cat.Boot = o.Compress, o.ChunkSize, o.Boot
	if _, err := s.layerOptions(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.save(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes the layers and gives the lock back.
func (s *Store) Close() error {
	err := s.closeLayers()
	return errors.Join(err, s.Unlock())
}

func (s *Store) closeLayers() error {
	var errs []error
	for _, l := range s.layers {
		errs = append(errs, l.WIM.Close())
	}
	s.layers, s.points, s.dropped, s.bad = nil, nil, nil, nil
	return errors.Join(errs...)
}

// load reads the folder. Layers that are open are not opened again, unless one of them has changed.
func (s *Store) load() error {
	open := make(map[string]*Layer)
	for _, l := range s.layers {
		open[l.File] = l
	}
	if !s.unchanged() {
		open = nil
		if err := s.closeLayers(); err != nil {
			return err
		}
	}
	s.layers, s.points, s.dropped, s.bad = nil, nil, nil, nil
	s.Warnings = nil
	cat, err := readCatalogue(s.Dir)
	if err != nil {
		s.warn("%v", err) // the layers tell nearly all of it
	}
	s.unread = err
	s.found = cat != nil || err != nil
	if cat == nil {
		cat = &catalogue{Version: catalogueVersion}
	}
	s.cat = cat
	names, err := s.wimNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		s.loadLayer(name, open[name])
	}
	s.order()
	s.findPoints()
	return nil
}

func (s *Store) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// wimNames are the files that may be layers.
func (s *Store) wimNames() ([]string, error) {
	if s.File != "" {
		return []string{s.File}, nil
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.EqualFold(filepath.Ext(e.Name()), ".wim") && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// unchanged reports whether the layers that are open are what the folder has under their names.
func (s *Store) unchanged() bool {
	for _, l := range s.layers {
		st, err := os.Stat(l.Path)
		if err != nil || !os.SameFile(st, l.stat) || st.Size() != l.stat.Size() || !st.ModTime().Equal(l.stat.ModTime()) {
			return false
		}
	}
	return true
}

// loadLayer reads a layer, which may be open.
func (s *Store) loadLayer(name string, open *Layer) {
	path := filepath.Join(s.Dir, name)
	var r *wim.Reader
	var st fs.FileInfo
	var err error
	if open != nil {
		r, st = open.WIM, open.stat
	} else if st, err = os.Stat(path); err == nil {
		r, err = wim.Open(path)
	}
	if err != nil {
		s.bad = append(s.bad, BadLayer{name, err})
		return
	}
	l := &Layer{File: name, Path: path, WIM: r, stat: st}
	for _, i := range r.Images() {
		info := i.Info()
		if n, err := strconv.Atoi(info.Properties[propLayer]); err == nil && n > l.Number {
			l.Number = n
		}
		l.folds = append(l.folds, strings.Fields(info.Properties[propFolds])...)
		if l.created.IsZero() || info.Created.Before(l.created) {
			l.created = info.Created
		}
		l.images = append(l.images, newPoint(l, i, &info))
	}
	s.layers = append(s.layers, l)
}

// newPoint reads what an image tells of itself.
func newPoint(l *Layer, i *wim.Image, info *wim.ImageInfo) *Point {
	p := &Point{
		ID: info.Properties[propPoint], System: Slug(info.Properties[propSystem]), Name: Slug(info.Properties[propName]), Date: info.Created,
		Note: info.Description, Layer: l, Image: i,
	}
	if p.System == "" {
		if p.System = Slug(info.Name); p.System == "" {
			p.System = "image" + strconv.Itoa(i.Index)
		}
	}
	if p.ID == "" { // of an image that others made
		h := i.MetadataSHA1()
		sum := sha1.Sum(append([]byte(l.WIM.GUID().String()+strconv.Itoa(i.Index)), h[:]...))
		p.ID = hex.EncodeToString(sum[:8])
	}
	if p.Name == "" {
		p.Name = info.Created.UTC().Format(nameLayout)
	}
	if t, err := time.Parse(time.RFC3339, info.Properties[propDropped]); err == nil {
		p.Dropped = t
	} else if info.Properties[propDropped] != "" {
		p.Dropped = info.Created
	}
	return p
}

// nameLayout is what points are called that are given no name.
const nameLayout = "2006-01-02T1504"

// Slug is a name that can be part of SYSTEM@POINT: what has a meaning there becomes a dash.
func Slug(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("@~/\\: ", r) || unicode.IsSpace(r) || unicode.IsControl(r) {
			return '-'
		}
		return r
	}, name)
	return strings.Trim(name, "-")
}

// order sorts the layers: those by others first, then by number.
func (s *Store) order() {
	slices.SortStableFunc(s.layers, func(a, b *Layer) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), a.created.Compare(b.created), cmp.Compare(a.File, b.File))
	})
}

// findPoints lists the points: of those that are one, in a layer and in another that was merged from it, the last.
func (s *Store) findPoints() {
	last := make(map[string]*Point)
	for _, l := range s.layers {
		for _, p := range l.images {
			if was := last[p.ID]; was != nil && !p.replaces(was) {
				s.warn("%s: image %d has the id of another point and is not that one", l.File, p.Image.Index)
				h := p.Image.MetadataSHA1()
				p.ID = hex.EncodeToString(h[:8])
			}
			last[p.ID] = p
		}
	}
	names := make(map[string]bool)
	for _, l := range s.layers {
		for _, p := range l.images {
			switch {
			case last[p.ID] != p:
			case !p.Dropped.IsZero():
				s.dropped = append(s.dropped, p)
			default:
				if names[winfile.Fold(p.String())] {
					p.Name += "-" + p.ID[:min(4, len(p.ID))]
				}
				names[winfile.Fold(p.String())] = true
				s.points = append(s.points, p)
			}
		}
	}
	slices.SortStableFunc(s.points, func(a, b *Point) int {
		return cmp.Or(cmp.Compare(a.System, b.System), a.Date.Compare(b.Date), cmp.Compare(a.Layer.Number, b.Layer.Number), cmp.Compare(a.Image.Index, b.Image.Index))
	})
	s.retire()
}

// replaces reports whether p is the same image as another of its id: its layer was merged from that one's, or it is a copy.
func (p *Point) replaces(o *Point) bool {
	return slices.Contains(p.Layer.folds, o.Layer.GUID().String()) || p.Image.MetadataSHA1() == o.Image.MetadataSHA1()
}

// retire finds the layers that no point needs, as another was merged from them, and lets the others read through each other.
func (s *Store) retire() {
	folded := make(map[string]bool)
	for _, l := range s.layers {
		for _, g := range l.folds {
			folded[g] = true
		}
	}
	for _, l := range s.layers {
		l.Retired = folded[l.GUID().String()] && !slices.ContainsFunc(s.points, func(p *Point) bool { return p.Layer == l })
	}
	for _, l := range s.layers {
		for _, o := range s.layers {
			if o != l && (!o.Retired || l.Retired) {
				l.WIM.Reference(o.WIM)
			}
		}
	}
}

// Layers are the layers in order.
func (s *Store) Layers() []*Layer { return s.layers }

// Bad are the WIMs of the folder that cannot be read.
func (s *Store) Bad() []BadLayer { return s.bad }

// Points are the points that were not dropped, by system and date.
func (s *Store) Points() []*Point { return s.points }

// Dropped are points that were dropped and whose images are still in a layer.
func (s *Store) Dropped() []*Point { return s.dropped }

// active are the layers that new ones build on.
func (s *Store) active() []*Layer {
	return slices.DeleteFunc(slices.Clone(s.layers), func(l *Layer) bool { return l.Retired })
}

// Blob finds a content in the layers, nil if none has it.
func (s *Store) Blob(h winfile.SHA1) *winfile.Blob {
	for _, l := range s.layers {
		if _, ok := l.WIM.Lookup(h); ok {
			return l.WIM.Blob(h)
		}
	}
	return nil
}

// Source is the point as a source of files, which belongs to the store and need not be closed.
func (s *Store) Source(_ context.Context, p *Point) (*source.Source, error) {
	paths := make(map[*wim.Reader]string)
	for _, l := range s.layers {
		paths[l.WIM] = l.Path
	}
	return source.FromImage(p.Image, p.Layer.WIM, paths)
}
