package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"husk/internal/source"
	"husk/internal/store"
	"husk/internal/ui"
)

// pointName is what the first point of a system is called.
const pointName = "converted"

// openStore opens the store, or makes it, and locks it.
func (r *run) openStore(ctx context.Context) (*store.Store, error) {
	var s *store.Store
	var err error
	if store.Is(r.Store) {
		s, err = store.Open(r.Store, &store.OpenOptions{UI: r.o.UI})
	} else {
		s, err = store.Create(r.Store, &store.CreateOptions{Compress: r.o.Compress, UI: r.o.UI})
	}
	if err != nil {
		return nil, err
	}
	if err := s.Lock(ctx, &store.LockOptions{Waiting: func(e *store.LockedError) { r.o.UI.Warn("%v; waiting for it", e) }}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// addPoint adds the system to the store, which reads the new layer back before it gets its name.
func (r *run) addPoint(ctx context.Context) (err error) {
	if err := r.n.forget(r.job()); err != nil {
		return err
	}
	s, err := r.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	system := r.systemName(s)
	if err := r.n.add(note{Step: stepCapture, Name: system + "@" + pointName, Fingerprint: r.fingerprint}); err != nil {
		return err
	}
	if _, err := s.AddPoint(ctx, r.System, &store.AddOptions{System: system, Name: pointName, Note: r.Image, Threads: r.o.Threads}); err != nil {
		return err
	}
	p, err := s.Point(system + "@" + pointName)
	if err != nil {
		return err
	}
	return r.take(p, true)
}

// systemName is what the system is called in the store: as it was named, or by its architecture. Another system of that name makes it get a
// number.
func (r *run) systemName(s *store.Store) string {
	name := store.Slug(r.o.Name)
	if r.o.Name == "" {
		if name = strings.ToLower(r.Windows.Arch); name == "" {
			name = "windows"
		}
	}
	taken := func(n string) bool {
		return slices.ContainsFunc(s.Points(), func(p *store.Point) bool { return strings.EqualFold(p.System, n) }) ||
			slices.ContainsFunc(s.Dropped(), func(p *store.Point) bool { return strings.EqualFold(p.System, n) })
	}
	base := name
	for n := 2; taken(name); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// pointAdded reports whether the point that was begun is in the store.
func (r *run) pointAdded(begin *note) (bool, error) {
	s, err := store.Open(r.Store, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		if wims, globErr := filepath.Glob(filepath.Join(r.Store, "*.wim")); globErr == nil && len(wims) == 0 && !store.Is(r.Store) {
			return false, nil // nothing is there yet
		}
		return false, err
	}
	defer s.Close()
	for _, p := range s.Points() {
		if p.String() == begin.Name {
			return true, r.take(p, r.n.last(stepCaptured) == nil)
		}
	}
	return false, nil
}

// take takes a point as the image of the system.
func (r *run) take(p *store.Point, isNew bool) error {
	r.wim, r.image, r.guid = p.Layer.Path, p.Image.Index, p.Layer.GUID()
	if !isNew {
		return nil
	}
	for _, step := range []step{stepCaptured, stepVerified} { // the store has read it back
		if err := r.n.add(note{Step: step, GUID: r.guid.String(), Image: r.image, Layer: p.Layer.File}); err != nil {
			return err
		}
	}
	return nil
}

// hold locks the store, so that nobody removes a layer while pointers into it are made.
func (r *run) hold(ctx context.Context) (err error) {
	if r.Store == "" || r.Form == WholeDisk { // which has layers of its own
		return nil
	}
	if r.held, err = r.openStore(ctx); err != nil || r.Form != InPlace {
		return err
	}
	return r.record(ctx) // cut off from now on, it is known whose journal is to be looked for
}

// record tells the store of the disk that points into it.
func (r *run) record(ctx context.Context) error {
	s := r.held
	if s == nil {
		return nil
	}
	begin := r.n.last(stepCapture)
	if begin == nil {
		return nil
	}
	p, err := s.Point(begin.Name)
	if err != nil {
		return err
	}
	disk := r.Target
	if r.Form == InPlace {
		disk, _ = source.Split(r.System)
	}
	if err := s.AddDisk(ctx, disk, p.System, p); err != nil && !errors.Is(err, fs.ErrExist) {
		return ui.Hint(err, "the conversion is done; tell the store with 'husk store record'")
	}
	return nil
}
