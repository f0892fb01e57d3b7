package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/internal/archive"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/wim"
	"husk/winfile"
)

// AddOptions tunes AddPoint.
type AddOptions struct {
	System      string    // "" means the one that the source's disk belongs to, or else the architecture: x64, x86
	Name        string    // "" means the date
	Note        string    // free text
	Date        time.Time // zero means now
	Config      string    // capture configuration file, as archive.Options has it
	WIMs        []string  // where the data of pointer files is that point out of the store
	Dereference bool      // read and hash the contents of pointer files instead of trusting the pointers
	DryRun      bool
	Threads     int
}

// AddResult tells what a new point took.
type AddResult struct {
	System, Name string
	DryRun       bool
	Point        *Point // nil of a dry run
	Totals       winfile.Totals
	Excluded     int
	Pointers     int   // files that cost nothing: their contents were known without a look at them
	NewBlobs     int64 // contents that no layer had
	NewBytes     int64 // of them, plain
	StoredBytes  int64 // of them, as stored
	ReadBytes    int64 // of the source
	LayerBytes   int64 // the new file
	Elapsed      time.Duration
}

// AddPoint adds the state of a disk, partition, folder or image as a point: a new layer with what no other has. The layer is written under a
// temporary name, read back, synced and renamed; until then nothing of the store changes. The store must be locked.
func (s *Store) AddPoint(ctx context.Context, src string, o *AddOptions) (*AddResult, error) {
	ao, err := s.archiveOptions(o)
	if err != nil {
		return nil, err
	}
	for _, l := range s.layers {
		ao.Layers = append(ao.Layers, source.Layer{Path: l.Path, WIM: l.WIM})
	}
	src, err = s.sourceOf(src, o)
	if err != nil {
		return nil, err
	}
	in, excluded, err := archive.OpenSource(ctx, src, s.Dir, s.Blob, ao)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if o.System == "" {
		o.System = s.systemOf(in)
	}
	r, err := s.AddSource(ctx, in, o)
	if r != nil {
		r.Excluded = excluded
	}
	return r, err
}

// sourceOf is what is to be read: the only disk of the system if nothing is named, or a point of a store for STORE:POINT.
func (s *Store) sourceOf(src string, o *AddOptions) (string, error) {
	if src != "" {
		return src, nil
	}
	var found []string
	for _, d := range s.Disks() {
		if d.System == o.System && o.System != "" {
			found = append(found, d.Path)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return "", ui.Hint(ui.Usage(fmt.Errorf("%d disks of system %q are known, and none is named", len(found), o.System)), "name the disk, partition or folder")
}

// systemOf guesses what system a source is.
func (s *Store) systemOf(in *source.Source) string {
	for _, d := range s.Disks() {
		if a, err := os.Stat(d.Path); err == nil {
			if b, err := os.Stat(in.Path); err == nil && os.SameFile(a, b) && d.System != "" {
				return d.System
			}
		}
	}
	var info wim.ImageInfo
	if err := winsys.Describe(&info, in.Tree); err == nil && info.Windows != nil {
		if name := map[int]string{0: "x86", 9: "x64", 12: "arm64"}[info.Windows.Arch]; name != "" {
			return name
		}
	}
	return Slug(in.Name())
}

// archiveOptions are those of a capture that fits the layers.
func (s *Store) archiveOptions(o *AddOptions) (*archive.Options, error) {
	if err := s.locked(); err != nil {
		return nil, err
	}
	return &archive.Options{
		Wimboot: true, Config: o.Config, WIMs: slices.Clone(o.WIMs), Dereference: o.Dereference, Threads: o.Threads, UI: s.ui,
		Compress: s.cat.Compress, ChunkSize: s.cat.Chunk,
	}, nil
}

// layerOptions are those of new layers: what husk.toml says, or else what the first layer has if Windows can back files by it.
func (s *Store) layerOptions() (*wim.WriterOptions, error) {
	o := &archive.Options{Wimboot: true, Compress: s.cat.Compress, ChunkSize: s.cat.Chunk}
	if o.Compress == "" && o.ChunkSize == 0 {
		if list := s.active(); len(list) > 0 {
			first := list[0].WIM
			switch {
			case first.Codec() == wim.XPRESS && first.ChunkSize() >= 4<<10 && first.ChunkSize() <= 32<<10:
				o.ChunkSize = first.ChunkSize()
			case first.Codec() == wim.LZX && first.ChunkSize() == 32<<10:
				o.Compress = "lzx"
			}
		}
	}
	return archive.WriterOptions(o)
}

// AddSource is AddPoint of an open source, whose tree it takes as it is.
func (s *Store) AddSource(ctx context.Context, in *source.Source, o *AddOptions) (*AddResult, error) {
	start := time.Now()
	if err := s.locked(); err != nil {
		return nil, err
	}
	date := o.Date
	if date.IsZero() {
		date = start
	}
	r := &AddResult{System: Slug(o.System), Name: Slug(o.Name), DryRun: o.DryRun, Totals: in.Tree.Totals()}
	if err := s.nameNew(r, date, o); err != nil {
		return nil, err
	}
	if in.Links != nil {
		r.Pointers = in.Links.Files
	}
	if o.DryRun {
		s.estimate(in.Tree, r)
		r.Elapsed = time.Since(start)
		return r, nil
	}
	var id [8]byte
	rand.Read(id[:]) // never fails, see crypto/rand
	info := wim.ImageInfo{Name: r.System + "@" + r.Name, Description: o.Note, Created: date, WIMBoot: true}
	if err := winsys.Describe(&info, in.Tree); err != nil && s.ui != nil {
		s.ui.Warn("%s: the image does not tell all of its Windows: %s", in.Path, err)
	}
	info.Properties = s.properties(hex.EncodeToString(id[:]), r.System, r.Name, s.nextNumber())
	w, err := s.layerOptions()
	if err != nil {
		return nil, err
	}
	w.Workers = o.Threads
	active := s.active()
	w.Have = func(h winfile.SHA1) bool { return heldBy(active, h) }
	if err := s.writeLayer(ctx, w, r, func(wr *wim.Writer) error { return wr.AddImage(ctx, in.Tree, info) }); err != nil {
		return nil, err
	}
	for _, p := range s.points {
		if p.ID == hex.EncodeToString(id[:]) {
			r.Point = p
		}
	}
	if r.Point == nil {
		return nil, fmt.Errorf("store: internal error: %s@%s was written and is not there", r.System, r.Name)
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

// heldBy tells whether one of the layers has a content that can be read.
func heldBy(layers []*Layer, h winfile.SHA1) bool {
	for _, l := range layers {
		if _, ok := l.WIM.Lookup(h); ok {
			return true
		}
	}
	return false
}

// nameNew gives the point its name.
func (s *Store) nameNew(r *AddResult, date time.Time, o *AddOptions) error {
	if r.System == "" {
		return ui.Usage(fmt.Errorf("system %q, want a name such as x64", o.System))
	}
	if o.Name != "" && r.Name == "" {
		return ui.Usage(fmt.Errorf("name %q, want one with letters or digits", o.Name))
	}
	for _, known := range s.SystemNames() {
		if strings.EqualFold(known, r.System) {
			r.System = known // and not a second one in other letters
		}
	}
	free := func(name string) bool {
		return !slices.ContainsFunc(s.points, func(p *Point) bool { return winfile.EqualFold(p.String(), r.System+"@"+name) })
	}
	if r.Name == "" {
		r.Name = date.Local().Format(nameLayout)
		for n := 2; !free(r.Name); n++ {
			r.Name = date.Local().Format(nameLayout) + "." + strconv.Itoa(n)
		}
		return nil
	}
	if winfile.EqualFold(r.Name, Latest) {
		return ui.Usage(fmt.Errorf("%q stands for the newest point and cannot be the name of one", r.Name))
	}
	if !free(r.Name) {
		return ui.Hint(fmt.Errorf("there is a point %s@%s already", r.System, r.Name), "give another name")
	}
	return nil
}

func (s *Store) properties(id, system, name string, layer int) map[string]string {
	return map[string]string{propPoint: id, propSystem: system, propName: name, propLayer: strconv.Itoa(layer)}
}

// nextNumber is the number of the next layer.
func (s *Store) nextNumber() int {
	n := len(s.layers) + 1
	for _, l := range s.layers {
		n = max(n, l.Number+1)
	}
	return n
}

// estimate counts what would be new, as far as that is known without reading it.
func (s *Store) estimate(t *winfile.Tree, r *AddResult) {
	active := s.active()
	seen := make(map[*winfile.Blob]struct{})
	for _, e := range t.All() {
		for b := range e.Info.Blobs() {
			if _, ok := seen[b]; ok || b.SHA1 != (winfile.SHA1{}) && heldBy(active, b.SHA1) {
				continue
			}
			seen[b] = struct{}{}
			r.NewBlobs++
			r.NewBytes += b.Size
		}
	}
	r.ReadBytes = r.NewBytes
}

// newLayerPath is a free name: the first layer has that of the original method.
func (s *Store) newLayerPath() string {
	if len(s.layers) == 0 && len(s.bad) == 0 {
		return filepath.Join(s.Dir, "wimboot.wim")
	}
	for n := s.nextNumber(); ; n++ {
		path := filepath.Join(s.Dir, fmt.Sprintf("layer-%04d.wim", n))
		if _, err := os.Lstat(path); err != nil {
			return path
		}
	}
}

// writeLayer makes a layer: written under a temporary name, read back, synced, renamed, and then noted in husk.toml.
func (s *Store) writeLayer(ctx context.Context, w *wim.WriterOptions, r *AddResult, fill func(*wim.Writer) error) error {
	target := s.newLayerPath()
	f, err := s.files.Create(target, false)
	if err != nil {
		return err
	}
	defer f.Abort()
	if s.ui != nil {
		p := s.ui.Start("point", r.Totals.Bytes)
		defer p.Done()
		w.Progress = func(done int64) { p.Set(done, r.Totals.Bytes) }
	}
	wr, err := wim.Create(f, w)
	if err != nil {
		return err
	}
	if err := fill(wr); err != nil {
		return errors.Join(err, wr.Abort())
	}
	if err := wr.Close(); err != nil {
		return err
	}
	st := wr.Stats()
	r.NewBlobs, r.NewBytes, r.StoredBytes, r.ReadBytes = st.NewBlobs, st.BytesNew, st.BytesStored, st.BytesRead
	if r.LayerBytes, err = s.proveLayer(ctx, f, w.Workers); err != nil {
		return fmt.Errorf("%s: the layer just written does not verify: %w", target, err)
	}
	if err := f.Commit(); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	return s.save()
}

// proveLayer reads a new layer back: every blob of its own, and its images with the blobs of the other layers. It returns its size.
func (s *Store) proveLayer(ctx context.Context, f io.ReaderAt, workers int) (int64, error) {
	size, err := sizeOf(f)
	if err != nil {
		return 0, err
	}
	r, err := wim.NewReader(f, size)
	if err != nil {
		return 0, err
	}
	for _, l := range s.active() {
		r.Reference(l.WIM)
	}
	result, err := r.Verify(ctx, &wim.VerifyOptions{Workers: workers})
	if err != nil {
		return 0, err
	}
	return size, result.Err()
}

// sizeOf is the size of an open file.
func sizeOf(f any) (int64, error) {
	switch f := f.(type) {
	case io.Seeker:
		return f.Seek(0, io.SeekEnd)
	case interface{ Size() int64 }:
		return f.Size(), nil
	}
	return 0, errors.New("store: internal error: a file that does not tell its size")
}

// Rename gives a point another name, or another system if system is not "", and a note if note is not nil. Only the names in its layer
// change. The store must be locked.
func (s *Store) Rename(p *Point, system, name string, note *string) error {
	if err := s.locked(); err != nil {
		return err
	}
	r := &AddResult{System: p.System, Name: Slug(name)}
	if system != "" {
		r.System = Slug(system)
	}
	if name == "" {
		r.Name = p.Name
	}
	texts := map[string]string{}
	if r.System != p.System || r.Name != p.Name {
		if err := s.nameNew(r, p.Date, &AddOptions{System: system, Name: r.Name}); err != nil {
			return err
		}
		maps.Copy(texts, map[string]string{propTitle: r.System + "@" + r.Name, propSystem: r.System, propName: r.Name})
	}
	if note != nil {
		texts[propNote] = *note
	}
	return s.setTexts(map[*Point]map[string]string{p: texts})
}

// setTexts changes texts of images in their layers, and husk.toml after them.
func (s *Store) setTexts(changes map[*Point]map[string]string) error {
	byLayer := make(map[*Layer]map[int]map[string]string)
	for p, texts := range changes {
		if len(texts) == 0 {
			continue
		}
		texts[propPoint] = p.ID // that of an image of others follows from what may change
		if byLayer[p.Layer] == nil {
			byLayer[p.Layer] = make(map[int]map[string]string)
		}
		byLayer[p.Layer][p.Image.Index] = texts
	}
	for _, l := range s.layers {
		if byLayer[l] == nil {
			continue
		}
		if err := s.changeLayer(l, byLayer[l]); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", l.Path, err), s.load())
		}
	}
	if err := s.load(); err != nil {
		return err
	}
	return s.save()
}

func (s *Store) changeLayer(l *Layer, images map[int]map[string]string) (err error) {
	f, err := s.files.Change(l.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := sizeOf(f)
	if err != nil {
		return err
	}
	return wim.SetProperties(f, size, images)
}
