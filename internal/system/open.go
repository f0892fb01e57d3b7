package system

import (
	"context"
	"errors"
	"fmt"
	"os"

	"husk/internal/source"
	"husk/internal/store"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/winfile"
	"husk/wof"
)

// OpenOptions tunes Open.
type OpenOptions struct {
	WIMs []string // where the data of pointer files may be
	UI   *ui.UI
}

// Source is a state of a system.
type Source struct {
	*source.Source
	Store *store.Store // of a point
	Point *store.Point
	Lost  error // pointer files whose WIM cannot be had: they have a size and a SHA-1, and no content

	close func() error
}

// Close closes all files.
func (s *Source) Close() error { return s.close() }

// Open opens what spec names: a point of a store (STORE:POINT), or what [source.Open] takes. Pointer files whose WIM is not at hand are
// no error: they have what their pointers say.
func Open(ctx context.Context, spec string, o *OpenOptions) (*Source, error) {
	if dir, point := source.Split(spec); point != "" {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return openPoint(ctx, dir, point, false, o.UI)
		}
	}
	s, err := source.Open(ctx, spec, &source.Options{WIMs: o.WIMs, Warn: o.UI.Warn, Raw: true, Scan: func(so *tree.ScanOptions) {
		so.RPFix = true // as the capture of a folder does
	}})
	if err != nil {
		return nil, err
	}
	if s.Kind != source.Volume {
		return &Source{Source: s, close: s.Close}, nil
	}
	lost := s.Resolve(s.Tree, &source.Options{WIMs: o.WIMs, Warn: o.UI.Warn})
	if lost != nil {
		o.UI.Warn("%s", lost)
	}
	claim(s.Tree)
	return &Source{Source: s, Lost: lost, close: s.Close}, nil
}

// claim gives pointer files that were not resolved the size and SHA-1 that their pointers have.
func claim(t *winfile.Tree) int {
	n := 0
	for _, e := range t.All() {
		i := e.Info
		if i.Reparse == nil || i.Reparse.Tag != winfile.TagWOF {
			continue
		}
		p, err := wof.PointerOf(i.Reparse)
		if err != nil {
			continue
		}
		n++
		i.Reparse = nil
		i.Attributes &^= winfile.AttrReparse | winfile.AttrSparse
		i.Data = nil
		if p.Size > 0 {
			i.Data = &winfile.Blob{Size: p.Size, SHA1: p.SHA1}
		}
	}
	return n
}

// openPoint opens a point of a store.
func openPoint(ctx context.Context, dir, name string, lock bool, u *ui.UI) (_ *Source, err error) {
	s, err := store.Open(dir, &store.OpenOptions{UI: u})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.File != "" {
		return openImage(ctx, s, dir, name, u)
	}
	if lock {
		if err := lockStore(ctx, s, u); err != nil {
			return nil, err
		}
	}
	p, err := s.Point(name)
	if err != nil {
		return nil, err
	}
	src, err := s.Source(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%s:%s: %w", dir, name, err)
	}
	return &Source{Source: src, Store: s, Point: p, close: func() error { return errors.Join(src.Close(), s.Close()) }}, nil
}

// openImage opens an image of a single WIM as a point. What a delta WIM lacks is looked for as [source.Open] does.
func openImage(ctx context.Context, s *store.Store, file, name string, u *ui.UI) (*Source, error) {
	spec := file
	if name != "" {
		spec += ":" + name
	}
	src, err := source.Open(ctx, spec, &source.Options{Warn: u.Warn})
	if err != nil {
		p, notThere := s.Point(name)
		if notThere != nil {
			return nil, err
		}
		if src, err = source.Open(ctx, fmt.Sprintf("%s:%d", file, p.Image.Index), &source.Options{Warn: u.Warn}); err != nil {
			return nil, err
		}
	}
	if err := src.Pointable(); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	found := &Source{Source: src, Store: s, close: func() error { return errors.Join(src.Close(), s.Close()) }}
	for _, p := range s.Points() {
		if p.Image.Index == src.Image.Index {
			found.Point = p
		}
	}
	return found, nil
}
