package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/internal/deploy"
	"husk/internal/inplace"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// MergeOptions tunes Merge. The zero value folds all layers.
type MergeOptions struct {
	From    *Layer // the first layer to fold; nil means the first
	Repoint bool   // let disks point into the new layer, so that the old ones can go
	DryRun  bool
	Threads int
}

// MergeResult tells what was folded.
type MergeResult struct {
	DryRun   bool
	Layers   []string // files that were folded
	Points   int
	Bytes    int64 // of those files
	New      string
	NewBytes int64 // of the new layer; not known of a dry run
	Repoint  []RepointResult
	Swept    *Swept
	Elapsed  time.Duration
}

// RepointResult is a disk whose pointers were changed, or why they were not.
type RepointResult struct {
	Disk  string
	Files int
	Err   error
}

// Merge folds layers into one with the images of their points, copying contents as they are stored. The old layers go as soon as no disk
// points into them. The store must be locked.
func (s *Store) Merge(ctx context.Context, o *MergeOptions) (*MergeResult, error) {
	start := time.Now()
	if err := s.locked(); err != nil {
		return nil, err
	}
	if len(s.bad) > 0 {
		return nil, fmt.Errorf("%s cannot be read: %w", s.bad[0].File, s.bad[0].Err)
	}
	outside, folded := s.active(), []*Layer(nil)
	if o.From == nil {
		outside, folded = nil, outside
	} else {
		i := slices.Index(outside, o.From)
		if i < 0 {
			return nil, fmt.Errorf("%s is no layer that points need", o.From.File)
		}
		outside, folded = outside[:i], outside[i:]
	}
	r := &MergeResult{DryRun: o.DryRun}
	var points []*Point
	for _, l := range folded {
		r.Layers = append(r.Layers, l.File)
		r.Bytes += l.WIM.Size()
	}
	for _, p := range s.points {
		if slices.Contains(folded, p.Layer) {
			points = append(points, p)
		}
	}
	slices.SortStableFunc(points, func(a, b *Point) int { return a.Date.Compare(b.Date) })
	r.Points = len(points)
	if o.DryRun {
		return r, nil
	}
	if len(folded) > 1 || s.hasDropped(folded) {
		if err := s.fold(ctx, r, points, outside, o); err != nil {
			return nil, err
		}
	}
	if o.Repoint {
		if err := s.repointAll(ctx, r); err != nil {
			return r, err
		}
	}
	var err error
	r.Swept, err = s.Sweep(ctx)
	r.Elapsed = time.Since(start)
	return r, err
}

// hasDropped reports whether a merge would leave something out.
func (s *Store) hasDropped(layers []*Layer) bool {
	return slices.ContainsFunc(s.dropped, func(p *Point) bool { return slices.Contains(layers, p.Layer) })
}

// fold writes the layer that stands for others.
func (s *Store) fold(ctx context.Context, r *MergeResult, points []*Point, outside []*Layer, o *MergeOptions) error {
	if len(points) == 0 {
		return ui.Hint(errors.New("there are no points to fold"), "'husk prune' removes layers that nothing needs")
	}
	w, err := s.layerOptions()
	if err != nil {
		return err
	}
	w.Workers = o.Threads
	w.Have = func(h winfile.SHA1) bool { return heldBy(outside, h) }
	number := s.nextNumber()
	added := &AddResult{}
	var folds []string
	for _, l := range s.layers {
		folded := slices.Contains(r.Layers, l.File)
		if folded {
			added.Totals.Bytes += l.WIM.Size()
		}
		if folded || l.Retired {
			folds = append(folds, l.GUID().String())
		}
	}
	err = s.writeLayer(ctx, w, added, func(wr *wim.Writer) error {
		for _, p := range points {
			name := p.String()
			eo := &wim.ExportOptions{Name: &name}
			texts := s.properties(p.ID, p.System, p.Name, number)
			texts[propFolds] = strings.Join(folds, " ")
			for _, path := range slices.Sorted(maps.Keys(texts)) {
				eo.Properties = append(eo.Properties, [2]string{path, texts[path]})
			}
			if err := wr.ExportImage(ctx, p.Image, eo); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.NewBytes = added.LayerBytes
	for _, l := range s.layers {
		if l.Number == number {
			r.New = l.File
		}
	}
	return nil
}

// repointAll lets the disks that point into layers that no point needs point into those that points need.
func (s *Store) repointAll(ctx context.Context, r *MergeResult) error {
	uses, err := s.Uses(ctx)
	if err != nil {
		return err
	}
	for _, u := range uses {
		retired := slices.ContainsFunc(slices.Collect(maps.Keys(u.Layers)), func(l *Layer) bool { return l.Retired })
		pending := errors.Is(u.Err, inplace.ErrPending) // which is finished first
		if !pending && (!retired || u.Err != nil) {
			continue
		}
		n, err := s.Repoint(ctx, &u.Disk)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.Repoint = append(r.Repoint, RepointResult{u.Path, n, err})
	}
	return nil
}

// Repoint changes the pointer files of a disk that point into layers that no point needs: they point into the layers that points need, if
// those have all of their contents. It is one transaction of the volume: cut anywhere, all pointers are old or all are new. It returns how
// many files were changed. The store must be locked.
func (s *Store) Repoint(_ context.Context, d *Disk) (int, error) {
	if err := s.locked(); err != nil {
		return 0, err
	}
	path, selector := source.Split(d.Path)
	number := 0
	if selector != "" {
		var err error
		if number, err = strconv.Atoi(selector); err != nil {
			return 0, fmt.Errorf("%s: want a partition number after the colon", d.Path)
		}
	}
	v, err := inplace.Open(path, number)
	if err != nil {
		return 0, err
	}
	n, err := s.repoint(v, d.Path)
	return n, errors.Join(err, v.Close())
}

func (s *Store) repoint(v *inplace.Volume, path string) (int, error) {
	in, err := source.FromDisk(context.Background(), &v.Disk.Disk, v.Part, &source.Options{Raw: true})
	if err != nil {
		return 0, err
	}
	defer in.Close()
	overlay, err := wof.ReadOverlay(in.Tree)
	if err != nil {
		return 0, err
	}
	re := &repointing{store: s, overlay: overlay, ids: make(map[*Layer]uint64), keep: make(map[uint64]bool)}
	changed, err := re.plan(in.Tree)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if len(changed) == 0 {
		return 0, nil
	}
	for _, e := range overlay.Entries() {
		if !re.keep[e.DataSourceID] {
			if err := overlay.Remove(e.DataSourceID); err != nil {
				return 0, err
			}
		}
	}
	b, err := overlay.Marshal()
	if err != nil {
		return 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		if err := v.Editor.SetPointer(name, changed[name]); err != nil {
			return 0, fmt.Errorf("%s: %s: %w", path, name, err)
		}
	}
	for _, name := range []string{wof.OverlayPath, wof.OverlayBackupPath} {
		if err := v.Editor.Replace(name, winfile.NewBlob(b)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("%s: %s: %w", path, name, err)
		}
	}
	return len(changed), v.Editor.Commit()
}

// repointing finds the new pointers of a volume.
type repointing struct {
	store   *Store
	overlay *wof.Overlay
	ids     map[*Layer]uint64
	keep    map[uint64]bool // data sources that stay in use
}

// plan returns the reparse buffers that change, by path.
func (re *repointing) plan(t *winfile.Tree) (map[string][]byte, error) {
	changed := make(map[string][]byte)
	layers := make(map[uint64]*Layer)
	for _, e := range re.overlay.Entries() {
		layers[e.DataSourceID] = re.store.layerByGUID(e.GUID.String())
	}
	seen := make(map[*winfile.Info]struct{})
	for path, e := range t.All() {
		if _, again := seen[e.Info]; again || e.Info.Reparse == nil || e.Info.Reparse.Tag != winfile.TagWOF {
			continue
		}
		seen[e.Info] = struct{}{}
		if provider, err := wof.ProviderOf(e.Info.Reparse); err != nil || provider != wof.ProviderWIM {
			continue
		}
		p, err := wof.PointerOf(e.Info.Reparse)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		l := layers[p.DataSourceID]
		if l == nil || !l.Retired {
			re.keep[p.DataSourceID] = true
			continue
		}
		to, err := re.target(p.SHA1)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		id, err := re.id(l, to, p.DataSourceID)
		if err != nil {
			return nil, err
		}
		re.keep[id] = true
		res, _ := deploy.NewBacking(to.WIM, id).Lookup(p.SHA1)
		q := &wof.Pointer{Flags: p.Flags, DataSourceID: id, SHA1: p.SHA1, BlobTable: res.BlobTable, Size: res.Size, StoredSize: res.StoredSize, Offset: res.Offset}
		if res.Size != p.Size || res.Solid || res.Compressed == (res.StoredSize == res.Size) {
			return nil, fmt.Errorf("%s: content %s of %s cannot back the file", path, p.SHA1, to.File)
		}
		changed[path] = q.Marshal()
	}
	return changed, nil
}

// target is the layer that points need which has a content.
func (re *repointing) target(h winfile.SHA1) (*Layer, error) {
	for _, l := range re.store.active() {
		if _, ok := l.WIM.Lookup(h); ok {
			return l, deploy.CheckFormat(l.WIM, l.Path)
		}
	}
	return nil, fmt.Errorf("content %s is of a point that was dropped: the old layer stays", h)
}

// id is the data source id of a layer, whose place is that of the old one but for the name of the file.
func (re *repointing) id(old, to *Layer, oldID uint64) (uint64, error) {
	if id, ok := re.ids[to]; ok {
		return id, nil
	}
	e, ok := re.overlay.Entry(oldID)
	if !ok {
		return 0, fmt.Errorf("WimOverlay.dat has no data source %s", strconv.FormatUint(oldID, 10))
	}
	at, err := deploy.Beside(e.Location, old.Path, to.Path)
	if err != nil {
		return 0, err
	}
	id, err := re.overlay.Add(e.Type, 1, to.GUID(), at)
	re.ids[to] = id
	return id, err
}
