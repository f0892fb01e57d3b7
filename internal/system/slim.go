package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"husk/internal/disk"
	"husk/internal/reshape"
	"husk/internal/source"
	"husk/internal/store"
	"husk/internal/ui"
)

// SlimOptions tunes Slim.
type SlimOptions struct {
	Store   string // "" means the one that the layers of the system are in
	Name    string // of the new point; "" means the date
	Note    string
	Rebuild bool // make the disk anew as Restore does, and keep the old one
	UEFI    bool
	Config  string
	WIMs    []string
	DryRun  bool
	Threads int
	UI      *ui.UI
}

// SlimResult tells what was done, or on a dry run would be.
type SlimResult struct {
	DryRun     bool
	Store      string
	Point      string          // that was added; "" if the layers had everything already
	Added      store.AddResult // of it; on a dry run its estimate
	Local      Group           // files that became local since the last point
	Pointed    Group           // files that are pointers again
	FreedBytes int64           // of clusters
	Before     int64           // bytes of the file of the disk; 0 of a device
	After      int64
	Old        string // where the old disk is, with Rebuild
	Elapsed    time.Duration
}

// Slim makes a system that has grown small again: what is local and in no layer becomes a new point of its store, and then pointers to it.
// Cut off at any moment, the disk has every file as it was; run again, it goes on.
func Slim(ctx context.Context, spec string, o *SlimOptions) (_ *SlimResult, err error) {
	start := time.Now()
	r := &SlimResult{DryRun: o.DryRun}
	path, _, err := parseSystem(spec)
	if err != nil {
		return nil, err
	}
	st, err := Survey(ctx, spec, &StatusOptions{WIMs: o.WIMs, Threads: o.Threads, UI: o.UI})
	if err != nil {
		return nil, err
	}
	r.Local = Group{st.Changed.Files + st.New.Files, st.Changed.Bytes + st.New.Bytes}
	r.Before, r.After = st.DiskFile, st.DiskFile
	dir, err := storeOf(st, o)
	if err != nil {
		return nil, err
	}
	r.Store = dir
	s, err := store.Open(dir, &store.OpenOptions{UI: o.UI})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Lock(ctx, &store.LockOptions{Waiting: func(e *store.LockedError) { o.UI.Warn("%v; waiting for it", e) }}); err != nil {
		return nil, err
	}
	if err := addPoint(ctx, s, spec, st, o, r); err != nil {
		return nil, tooFull(err)
	}
	if o.DryRun {
		r.Elapsed = time.Since(start)
		return r, nil
	}
	if o.Rebuild {
		err = rebuild(ctx, s, spec, o, r)
	} else {
		err = slimInPlace(ctx, s, spec, path, o, r)
	}
	if err != nil {
		return nil, tooFull(err)
	}
	if f, err := os.Stat(path); err == nil && f.Mode().IsRegular() {
		r.After = f.Size()
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

// storeOf is the folder of the system's store.
func storeOf(st *Status, o *SlimOptions) (string, error) {
	dir := o.Store
	if dir == "" {
		dir = st.Store
	}
	if dir == "" {
		for _, l := range st.Layers {
			if l.Path != "" {
				dir = filepath.Dir(l.Path)
				break
			}
		}
	}
	if dir == "" {
		return "", ui.Hint(fmt.Errorf("%s: the store of its layers is not known", st.System), "name it with --store=FOLDER")
	}
	if f, err := os.Stat(dir); err == nil && !f.IsDir() {
		dir = filepath.Dir(dir) // a single WIM: later layers go beside it
	}
	return dir, nil
}

// addPoint adds the system as a point, if it has contents that no layer has.
func addPoint(ctx context.Context, s *store.Store, spec string, st *Status, o *SlimOptions, r *SlimResult) error {
	ao := &store.AddOptions{Name: o.Name, Note: o.Note, WIMs: o.WIMs, Threads: o.Threads, DryRun: true}
	if p := st.Point; p != "" {
		ao.System, _, _ = strings.Cut(p, "@")
		r.Added.System = ao.System
		if r.Local.Files == 0 && o.Name == "" {
			return nil
		}
	}
	estimate, err := s.AddPoint(ctx, spec, ao)
	if err != nil {
		return err
	}
	r.Added = *estimate
	if o.DryRun || estimate.NewBlobs == 0 && o.Name == "" && !o.Rebuild { // a disk is rebuilt as a point has it
		return nil
	}
	ao.DryRun = false
	added, err := s.AddPoint(ctx, spec, ao)
	if err != nil {
		return err
	}
	r.Added, r.Point = *added, added.System+"@"+added.Name
	return nil
}

// rebuild restores the system to its newest point.
func rebuild(ctx context.Context, s *store.Store, spec string, o *SlimOptions, r *SlimResult) error {
	point := r.Point
	if point == "" {
		return nil // nothing has grown
	}
	if err := s.Unlock(); err != nil { // Restore takes it again
		return err
	}
	done, err := Restore(ctx, s.Dir+":"+point, spec, &Options{Form: Pointers, UEFI: o.UEFI, Config: o.Config, WIMs: o.WIMs, Discard: true, Threads: o.Threads, UI: o.UI})
	if err != nil {
		return err
	}
	r.Old, r.Pointed = done.Old, done.Pointers
	return nil
}

// slimInPlace turns what the layers have into pointers and drops the clusters that become free.
func slimInPlace(ctx context.Context, s *store.Store, spec, path string, o *SlimOptions, r *SlimResult) error {
	t, err := openTarget(ctx, spec, o.WIMs, o.UI)
	if err != nil {
		return err
	}
	if t.damage != nil {
		return errors.Join(t.damage, t.close())
	}
	p := &placer{overlay: t.overlay, boot: s.Boot()}
	uefi := o.UEFI || t.uefi
	if err := t.close(); err != nil {
		return err
	}
	var list []reshape.Layer
	for _, l := range s.Layers() {
		if !l.Retired {
			p.known = append(p.known, source.Layer{Path: l.Path, WIM: l.WIM})
		}
	}
	needed, err := neededLayers(ctx, s, r.Added.Point, p.known)
	if err != nil {
		return err
	}
	for _, l := range needed {
		at, err := p.location(l)
		if err != nil {
			return err
		}
		list = append(list, reshape.Layer{WIM: l.WIM, Path: l.Path, Image: 1, Location: at})
	}
	done, err := reshape.ToLayers(ctx, spec, list, &reshape.Pointer{Config: o.Config, UEFI: uefi}, &reshape.Options{WIMs: o.WIMs, Threads: o.Threads, UI: o.UI})
	if err != nil {
		return err
	}
	for _, e := range done.Failed {
		o.UI.Warn("%s", e)
	}
	r.Pointed, r.FreedBytes = Group(done.Changed), done.Freed
	if isDynamic(path) {
		bar := o.UI.Start("compact the disk", 0)
		_, _, err := disk.Compact(ctx, path, bar.Add, o.UI.Warn)
		bar.Done()
		if err != nil {
			return err
		}
	}
	if !store.Is(s.Dir) {
		return nil
	}
	return s.AddDisk(ctx, path, r.Added.System, r.Added.Point)
}

// neededLayers are those of the layers that are the first to have some content of a point: WimOverlay.dat need not name the others. Without a
// point all may be.
func neededLayers(ctx context.Context, s *store.Store, p *store.Point, all []source.Layer) ([]source.Layer, error) {
	if p == nil {
		return all, nil
	}
	src, err := s.Source(ctx, p)
	if err != nil {
		return nil, err
	}
	used := make([]bool, len(all))
	for _, e := range src.Tree.All() {
		if e.Info.Data == nil {
			continue
		}
		for i, l := range all {
			if _, ok := l.WIM.Lookup(e.Info.Data.SHA1); ok {
				used[i] = true
				break
			}
		}
	}
	var list []source.Layer
	for i, l := range all {
		if used[i] {
			list = append(list, l)
		}
	}
	return list, nil
}

// isDynamic reports whether a disk is a file whose size follows its content.
func isDynamic(path string) bool {
	d, err := disk.OpenAny(path)
	if err != nil {
		return false
	}
	defer d.Close()
	return strings.HasSuffix(d.Format, " dynamic")
}
