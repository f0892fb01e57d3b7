package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"husk/internal/archive"
	"husk/internal/disk"
	"husk/internal/place"
	"husk/internal/source"
	"husk/internal/store"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// StatusOptions tunes Survey.
type StatusOptions struct {
	Point   string   // to compare with: STORE:POINT; "" means the one that the system was made from
	WIMs    []string // where the layers may be
	Depth   int      // of the folders that Grown sums up; 0 means 2
	Threads int
	UI      *ui.UI
}

// Share is a part of the files of a system.
type Share struct {
	Files  int   `json:"files"`
	Bytes  int64 `json:"bytes"`  // as programs see them
	OnDisk int64 `json:"onDisk"` // bytes of clusters
}

// LayerState is how a layer stands that pointer files of a system need.
type LayerState string

const (
	LayerOK      LayerState = "ok"
	LayerMoved   LayerState = "moved"      // it has another name than the system expects
	LayerOther   LayerState = "replaced"   // the file of that name is another WIM
	LayerMissing LayerState = "missing"    // there is none
	LayerLacks   LayerState = "incomplete" // contents are not in it, or not where the pointers say
)

// LayerStatus is one WIM that the WimOverlay.dat of a system names.
type LayerStatus struct {
	ID       uint64     `json:"dataSource"`
	GUID     string     `json:"guid"`
	Location string     `json:"location"` // where the system will look for it
	Path     string     `json:"path"`     // where it is; "" if it was not found
	State    LayerState `json:"state"`
	Files    int        `json:"files"` // that point into it
	Bytes    int64      `json:"bytes"`
	Lost     int        `json:"lost"`  // contents that it does not have
	Stale    int        `json:"stale"` // pointers with another place than the content has now
}

// Grown is what became local of the files in a folder.
type Grown struct {
	Path    string `json:"path"`
	Changed Group  `json:"changed"` // the point has other files of these names
	New     Group  `json:"new"`
}

// Status is how a system stands to its store.
type Status struct {
	System    string `json:"system"`
	Partition int    `json:"partition"`
	Product   string `json:"product,omitempty"`
	Version   string `json:"version,omitempty"` // "10.0.19045"
	Arch      string `json:"arch,omitempty"`
	Language  string `json:"language,omitempty"`

	Store string `json:"store,omitempty"`
	Point string `json:"point,omitempty"` // that it is compared with

	Files    int   `json:"files"`
	Dirs     int   `json:"dirs"`
	Pointers Share `json:"pointers"`
	Compact  Share `json:"compact"`
	Local    Share `json:"local"`
	Passing  Share `json:"passing"` // of the local files, those that no point ever has: page files and the like

	Volume    int64 `json:"volume"`    // bytes of the volume
	Used      int64 `json:"used"`      // of it, in use
	Metadata  int64 `json:"metadata"`  // of that, what is of no file: the file table, indexes, the log
	DiskFile  int64 `json:"diskFile"`  // the file that holds the disk; 0 of a device
	Normal    int64 `json:"normal"`    // what the files would take if all were plain
	Saved     int64 `json:"saved"`     // Normal without what is in use
	Unordered bool  `json:"unordered"` // the volume was not closed cleanly: free space may not be right

	Layers  []LayerStatus `json:"layers"`
	Grown   []Grown       `json:"grown"` // by folder, the largest first
	Changed Group         `json:"changed"`
	New     Group         `json:"new"`
}

// Broken reports whether pointer files cannot be read.
func (s *Status) Broken() bool {
	return slices.ContainsFunc(s.Layers, func(l LayerStatus) bool { return l.Files > 0 && l.State != LayerOK && l.State != LayerMoved })
}

// survey is a Survey at work.
type survey struct {
	o       *StatusOptions
	st      *Status
	src     *source.Source
	m       *place.Map
	kinds   map[*winfile.Info]place.Kind
	wims    map[uint64]*wim.Reader
	closers []func() error
}

// Survey tells how a system stands to its store.
func Survey(ctx context.Context, spec string, o *StatusOptions) (_ *Status, err error) {
	y := &survey{o: o, st: &Status{System: spec}, kinds: make(map[*winfile.Info]place.Kind), wims: make(map[uint64]*wim.Reader)}
	defer func() {
		for _, c := range slices.Backward(y.closers) {
			err = errors.Join(err, c())
		}
	}()
	if y.src, err = source.Open(ctx, spec, &source.Options{Raw: true, WIMs: o.WIMs, Warn: o.UI.Warn}); err != nil {
		return nil, err
	}
	y.closers = append(y.closers, y.src.Close)
	if y.src.Kind != source.Volume {
		return nil, ui.Usage(fmt.Errorf("%s is no disk with a system", spec))
	}
	if y.m, err = place.New(y.src); err != nil {
		return nil, err
	}
	if err := y.volume(); err != nil {
		return nil, err
	}
	if err := y.files(); err != nil {
		return nil, err
	}
	if err := y.layers(); err != nil {
		return nil, err
	}
	if err := y.src.Resolve(y.src.Tree, &source.Options{WIMs: o.WIMs}); err != nil && !y.st.Broken() { // of layers Layers tells
		o.UI.Warn("%s", err)
	}
	claim(y.src.Tree)
	y.facts()
	return y.st, y.grown(ctx)
}

func (y *survey) volume() error {
	v, st := y.src.NTFS, y.st
	st.Partition = y.src.Part.Number
	st.Volume = v.Clusters * int64(v.ClusterSize)
	free, err := v.FreeBytes()
	if err != nil {
		return err
	}
	st.Used = st.Volume - free
	st.Unordered = v.Dirty
	if f, err := os.Stat(y.src.Path); err == nil && f.Mode().IsRegular() {
		st.DiskFile = f.Size()
	}
	return nil
}

// configuration returns a tree of nothing but the system's capture configuration, readable even where that is a pointer or a compact file,
// which those of the system's own tree are yet to be told apart from.
func (y *survey) configuration() (*winfile.Tree, error) {
	t := &winfile.Tree{Root: &winfile.Entry{Info: y.src.Tree.Root.Info}}
	path := strings.ReplaceAll(strings.Trim(wof.ConfigPath, `\`), `\`, "/")
	config := y.src.Tree.Lookup(path)
	if config == nil || config.Info.IsDir() {
		return t, nil
	}
	dir := t.Root
	for at, rest, more := "", path, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		at = strings.TrimPrefix(at+"/"+name, "/")
		e := y.src.Tree.Lookup(at)
		info := *e.Info
		info.Streams = slices.Clone(info.Streams)
		child := &winfile.Entry{Name: e.Name, Info: &info}
		dir.Children = append(dir.Children, child)
		dir = child
	}
	if err := y.src.Resolve(t, &source.Options{WIMs: y.o.WIMs, Warn: y.o.UI.Warn}); err != nil {
		y.o.UI.Warn("%s: %s", path, err)
		t.Root.Children = nil
	}
	return t, nil
}

// files counts every file once, whatever the number of its names.
func (y *survey) files() error {
	config, err := y.configuration()
	if err != nil {
		return err
	}
	conf, err := archive.Exclusions(y.src.Path, config, "", y.o.UI)
	if err != nil {
		return err
	}
	st, cluster := y.st, int64(y.src.NTFS.ClusterSize)
	round := func(n int64) int64 {
		const resident = 700 // bytes: what fits into a record beside the rest
		if n <= resident {
			return 0
		}
		return (n + cluster - 1) / cluster * cluster
	}
	owned, passing := int64(0), ""
	for p, e := range y.src.Tree.All() {
		if !strings.HasPrefix(p, passing) {
			passing = ""
		}
		if passing == "" && p != "." && conf(p, e.Info.IsDir()) {
			passing = p
		}
		i := e.Info
		if i.Attributes&winfile.AttrDirectory != 0 {
			st.Dirs++
			continue
		}
		if _, seen := y.kinds[i]; seen {
			continue
		}
		k := y.m.KindOf(i)
		y.kinds[i] = k
		f, err := y.m.File(i)
		if err != nil {
			y.o.UI.Warn("%s: %s", p, err)
		}
		st.Files++
		streams := int64(0)
		for _, s := range i.Streams {
			if s.Data == nil || k == place.Compact && s.Name == place.CompactStream {
				continue
			}
			_, n, err := y.m.Stream(s.Data)
			if err == nil {
				streams += n
			}
		}
		share := &st.Local
		switch k {
		case place.WIM:
			share = &st.Pointers
		case place.Compact:
			share = &st.Compact
		}
		share.Files++
		share.Bytes += f.Size
		share.OnDisk += f.OnDisk + streams
		owned += f.OnDisk + streams
		st.Normal += round(f.Size) + streams
		if passing != "" && share == &st.Local {
			st.Passing.Files++
			st.Passing.Bytes += f.Size
			st.Passing.OnDisk += f.OnDisk + streams
		}
	}
	st.Metadata = max(0, st.Used-owned)
	st.Normal += st.Metadata
	st.Saved = st.Normal - st.Used
	return nil
}

func (y *survey) facts() {
	f, err := winsys.Read(y.src.Tree)
	if f == nil {
		return
	}
	if err != nil {
		y.o.UI.Warn("%s: %s", y.src.Path, err)
	}
	st := y.st
	st.Product, st.Language = f.ProductName, f.DefaultLanguage
	const windows11 = 22000 // its registry still says 10
	if f.Build >= windows11 {
		st.Product = strings.Replace(st.Product, "Windows 10", "Windows 11", 1)
	}
	if f.Build > 0 {
		st.Version = fmt.Sprintf("%d.%d.%d", f.Major, f.Minor, f.Build)
		if f.UBR > 0 {
			st.Version += fmt.Sprintf(".%d", f.UBR)
		}
	}
	st.Arch = map[int]string{0: "x86", 5: "ARM", 9: "x64", 12: "ARM64"}[f.Arch]
}

// layers looks at the WIMs that the pointers need.
func (y *survey) layers() error {
	overlay, err := wof.ReadOverlay(y.src.Tree)
	if errors.Is(err, os.ErrNotExist) {
		overlay, err = &wof.Overlay{}, nil
	}
	if err != nil {
		return err
	}
	at := make(map[uint64]int)
	for _, e := range overlay.Entries() {
		l := LayerStatus{ID: e.DataSourceID, GUID: e.GUID.String(), Location: e.Location.String()}
		r, file, state := findLayer(y.src.Path, e, y.o.WIMs)
		l.Path, l.State = file, state
		if r != nil {
			y.wims[e.DataSourceID] = r
			y.closers = append(y.closers, r.Close)
		}
		at[e.DataSourceID] = len(y.st.Layers)
		y.st.Layers = append(y.st.Layers, l)
	}
	tables := make(map[uint64]winfile.SHA1)
	for i, k := range y.kinds {
		if k != place.WIM {
			continue
		}
		p, err := wof.PointerOf(i.Reparse)
		if err != nil {
			continue
		}
		n, ok := at[p.DataSourceID]
		if !ok {
			n = len(y.st.Layers)
			at[p.DataSourceID] = n
			y.st.Layers = append(y.st.Layers, LayerStatus{ID: p.DataSourceID, State: LayerMissing})
		}
		l := &y.st.Layers[n]
		l.Files++
		l.Bytes += p.Size
		r := y.wims[p.DataSourceID]
		if r == nil {
			continue
		}
		if _, ok := tables[p.DataSourceID]; !ok {
			tables[p.DataSourceID] = r.BlobTableSHA1()
		}
		switch b, ok := r.Lookup(p.SHA1); {
		case !ok:
			l.Lost++
		case b.Offset != p.Offset || b.Size != p.Size || tables[p.DataSourceID] != p.BlobTable:
			l.Stale++
		}
		if l.Lost > 0 {
			l.State = LayerLacks
		}
	}
	return nil
}

// findLayer finds a WIM by where it is recorded, in the folders above the disk, by its name beside the disk and in the folder above, and by
// its GUID in all of those.
func findLayer(disk string, e wof.Entry, named []string) (_ *wim.Reader, file string, _ LayerState) {
	open := func(name string) *wim.Reader {
		if !source.IsWIM(name) {
			return nil
		}
		r, err := wim.Open(name)
		if err != nil {
			return nil
		}
		if r.GUID() != e.GUID {
			r.Close()
			return nil
		}
		return r
	}
	rel := filepath.FromSlash(strings.TrimLeft(strings.ReplaceAll(e.Location.Path, `\`, "/"), "/"))
	dir, err := filepath.Abs(filepath.Dir(disk))
	if err != nil || !filepath.IsLocal(rel) {
		return nil, "", LayerMissing
	}
	var places []string
	for d := dir; ; d = filepath.Dir(d) {
		places = append(places, filepath.Join(d, rel))
		if filepath.Dir(d) == d {
			break
		}
	}
	// The folder of a store may have another name here than at boot.
	places = append(places, filepath.Join(dir, filepath.Base(rel)), filepath.Join(filepath.Dir(dir), filepath.Base(rel)))
	state := LayerMissing
	for _, p := range places {
		if r := open(p); r != nil {
			return r, p, LayerOK
		}
		if source.IsWIM(p) {
			state = LayerOther
		}
	}
	for _, p := range named {
		if r := open(p); r != nil {
			return r, p, LayerMoved
		}
	}
	for _, p := range places {
		names, err := filepath.Glob(filepath.Join(globQuote(filepath.Dir(p)), "*.[wW][iI][mM]"))
		if err != nil {
			continue
		}
		for _, n := range names {
			if r := open(n); r != nil {
				return r, n, LayerMoved
			}
		}
	}
	return nil, "", state
}

// globQuote makes a folder stand for itself in a pattern. Windows knows no quoting; there such folders are not looked into.
func globQuote(dir string) string {
	if os.PathSeparator == '\\' {
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// point opens the point that the system is compared with; nil if none is known.
func (y *survey) point(ctx context.Context) (*Source, error) {
	if y.o.Point != "" {
		return OpenPoint(ctx, y.o.Point, y.o.UI)
	}
	if len(y.st.Layers) == 0 {
		return nil, nil
	}
	s, p := y.recorded()
	if p == nil {
		return nil, nil
	}
	src, err := s.Source(ctx, p)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Source{Source: src, Store: s, Point: p, close: s.Close}, nil
}

// recorded finds the point that the system was made from: as its store says, or else the image that WimOverlay.dat names of the newest
// layer.
func (y *survey) recorded() (*store.Store, *store.Point) {
	var dirs []string
	for _, l := range y.st.Layers {
		if l.Path != "" && !slices.Contains(dirs, filepath.Dir(l.Path)) {
			dirs = append(dirs, filepath.Dir(l.Path))
		}
	}
	for _, dir := range dirs {
		s, err := store.Open(dir, nil)
		if err != nil {
			continue
		}
		for _, d := range s.Disks() {
			if d.Point == "" || !sameFile(d.Path, y.src.Path) {
				continue
			}
			for _, p := range s.Points() {
				if p.ID == d.Point {
					return s, p
				}
			}
		}
		var best *store.Point
		overlay, err := wof.ReadOverlay(y.src.Tree)
		for _, p := range s.Points() {
			if err != nil {
				break
			}
			for _, e := range overlay.Entries() {
				if e.GUID == p.Layer.GUID() && int(e.ImageIndex) == p.Image.Index && (best == nil || p.Layer.Number > best.Layer.Number) {
					best = p
				}
			}
		}
		if best != nil {
			return s, best
		}
		_ = s.Close()
	}
	return nil, nil
}

func sameFile(a, b string) bool {
	s, err := os.Stat(a)
	if err != nil {
		return false
	}
	t, err := os.Stat(b)
	return err == nil && os.SameFile(s, t)
}

// grown finds what became local since the point.
func (y *survey) grown(ctx context.Context) (err error) {
	p, err := y.point(ctx)
	if err != nil && y.o.Point == "" && errors.Is(err, wim.ErrMissing) { // of a layer that is gone Layers tells
		y.o.UI.Warn("%s", err)
		return nil
	}
	if err != nil || p == nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if p.Store != nil {
		y.st.Store = p.Store.Dir
		if p.Store.File != "" {
			y.st.Store = filepath.Join(p.Store.Dir, p.Store.File)
		}
		y.st.Point = y.o.Point
		if p.Point != nil {
			y.st.Point = p.Point.String()
		}
	}
	excluded, err := archive.Exclusions(y.src.Path, p.Tree, "", y.o.UI)
	if err != nil {
		return err
	}
	there := foldTree(p.Tree)
	files, err := differing(ctx, y.src.Tree, there, excluded, y.o.Threads)
	if err != nil {
		return err
	}
	depth := cmp.Or(y.o.Depth, 2)
	folders := make(map[string]*Grown)
	seen := make(map[*winfile.Info]bool)
	for _, f := range files {
		i := f.entry.Info
		if k := y.kinds[i]; k != place.Local && k != place.Compact || seen[i] {
			continue
		}
		seen[i] = true
		parts := strings.Split(path.Dir(f.Path), "/")
		dir := strings.Join(parts[:min(len(parts), depth)], "/")
		g := folders[dir]
		if g == nil {
			g = &Grown{Path: dir}
			folders[dir] = g
		}
		if there[winfile.Fold(f.Path)] != nil {
			g.Changed.add(f)
			y.st.Changed.add(f)
		} else {
			g.New.add(f)
			y.st.New.add(f)
		}
	}
	for _, g := range folders {
		y.st.Grown = append(y.st.Grown, *g)
	}
	slices.SortFunc(y.st.Grown, func(a, b Grown) int {
		return cmp.Or(cmp.Compare(b.Changed.Bytes+b.New.Bytes, a.Changed.Bytes+a.New.Bytes), cmp.Compare(a.Path, b.Path))
	})
	return nil
}

// Systems are what 'husk status' is about if no system is named: of a store the disks that it knows, of a disk its NTFS partitions with a
// Windows.
func Systems(spec string) ([]string, error) {
	p, selector := source.Split(spec)
	st, err := os.Stat(p)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		s, err := store.Open(p, nil)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		var list []string
		for _, d := range s.Disks() {
			if !strings.HasSuffix(d.Path, oldMark) && !strings.HasSuffix(d.Path, newMark) {
				list = append(list, d.Path)
			}
		}
		return list, nil
	}
	if selector != "" || source.IsWIM(p) {
		return []string{spec}, nil
	}
	d, err := disk.Open(p)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var list []string
	for _, q := range d.Partitions {
		if q.NTFS {
			list = append(list, fmt.Sprintf("%s:%d", p, q.Number))
		}
	}
	if len(list) < 2 {
		return []string{spec}, nil
	}
	return list, nil
}
