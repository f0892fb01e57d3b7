package store

import (
	"context"
	"crypto/sha1"
	"fmt"

	"husk/winfile"
)

// Size is an amount of contents: what they are, and what they take in the layers.
type Size struct {
	Blobs  int64 `json:"blobs"`
	Bytes  int64 `json:"bytes"`
	Stored int64 `json:"stored"`
}

func (z *Size) add(plain, stored int64) {
	z.Blobs++
	z.Bytes += plain
	z.Stored += stored
}

// PointSize is what a point takes.
type PointSize struct {
	Point   *Point
	Files   int
	Bytes   int64 // of all files, hard links once
	All     Size  // its contents, each once
	Private Size  // of them, those that no other point has: what dropping the point can free
}

// SystemSize is what the points of a system take together.
type SystemSize struct {
	Name    string
	Points  int
	All     Size
	Private Size // of it, what no other system has
	Shared  Size
}

// Sizes is what everything takes.
type Sizes struct {
	Points  []PointSize
	Systems []SystemSize
	All     Size  // what the points need
	Unused  Size  // contents in layers that no point needs
	Files   int64 // of all layers
	Layers  map[*Layer]LayerSize
}

// LayerSize tells of a layer what points need of it.
type LayerSize struct {
	File   int64
	All    Size
	Needed Size // by points
}

// blobUse is who has a content.
type blobUse struct {
	layer  *Layer
	plain  int64
	stored int64
	point  int // the first point that has it
	system int
	shared bool // by several points
	across bool // by several systems
	seen   int  // the last point that was counted, plus one
	by     int  // the last system, plus one
}

// usage finds which points have which contents.
func (s *Store) usage(ctx context.Context) (map[winfile.SHA1]*blobUse, *Sizes, error) {
	z := &Sizes{Layers: make(map[*Layer]LayerSize)}
	uses := make(map[winfile.SHA1]*blobUse)
	systems := make(map[string]int)
	for n, p := range s.points {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		t, err := p.Image.Tree()
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %s: %w", p.Layer.Path, p, err)
		}
		if _, ok := systems[p.System]; !ok {
			systems[p.System] = len(z.Systems)
			z.Systems = append(z.Systems, SystemSize{Name: p.System})
		}
		y := systems[p.System]
		z.Systems[y].Points++
		totals := t.Totals()
		z.Points = append(z.Points, PointSize{Point: p, Files: totals.Files, Bytes: totals.Bytes})
		for h := range contents(t) {
			u := uses[h]
			if u == nil {
				l, stored, plain := s.locate(h)
				if l == nil {
					continue // of no bytes: a reparse point without data
				}
				u = &blobUse{layer: l, plain: plain, stored: stored, point: n, system: y}
				uses[h] = u
			}
			if u.seen != n+1 {
				z.Points[n].All.add(u.plain, u.stored)
				u.shared = u.shared || u.seen != 0
				u.seen = n + 1
			}
			if u.by != y+1 { // points come by system
				z.Systems[y].All.add(u.plain, u.stored)
				u.across = u.across || u.by != 0
				u.by = y + 1
			}
		}
	}
	return uses, z, nil
}

// contents yields the SHA-1s of a tree, those of reparse points too, some more than once.
func contents(t *winfile.Tree) func(func(winfile.SHA1) bool) {
	return func(yield func(winfile.SHA1) bool) {
		seen := make(map[*winfile.Blob]struct{})
		for _, e := range t.All() {
			if p := e.Info.Reparse; p != nil && !yield(sha1.Sum(p.Data)) {
				return
			}
			for b := range e.Info.Blobs() {
				if _, ok := seen[b]; ok {
					continue
				}
				seen[b] = struct{}{}
				if !yield(b.SHA1) {
					return
				}
			}
		}
	}
}

// locate finds the layer that has a content: where several do, an active one.
func (s *Store) locate(h winfile.SHA1) (l *Layer, stored, plain int64) {
	for _, retired := range []bool{false, true} {
		for _, l := range s.layers {
			if i, ok := l.WIM.Lookup(h); ok && l.Retired == retired {
				return l, i.StoredSize, i.Size
			}
		}
	}
	return nil, 0, 0
}

// Sizes counts what points and systems take, and what they share.
func (s *Store) Sizes(ctx context.Context) (*Sizes, error) {
	uses, z, err := s.usage(ctx)
	if err != nil {
		return nil, err
	}
	needed := make(map[*Layer]Size)
	for _, u := range uses {
		z.All.add(u.plain, u.stored)
		n := needed[u.layer]
		n.add(u.plain, u.stored)
		needed[u.layer] = n
		if !u.shared {
			z.Points[u.point].Private.add(u.plain, u.stored)
		}
		if !u.across {
			z.Systems[u.system].Private.add(u.plain, u.stored)
		}
	}
	for i := range z.Systems {
		y := &z.Systems[i]
		y.Shared = Size{y.All.Blobs - y.Private.Blobs, y.All.Bytes - y.Private.Bytes, y.All.Stored - y.Private.Stored}
	}
	for _, l := range s.layers {
		size := LayerSize{File: l.WIM.Size(), Needed: needed[l]}
		for _, b := range l.WIM.Blobs() {
			stored, _ := l.WIM.StoredSize(b)
			size.All.add(b.Size, stored)
		}
		z.Layers[l] = size
		z.Files += size.File
		z.Unused = Size{z.Unused.Blobs + size.All.Blobs - size.Needed.Blobs, z.Unused.Bytes + size.All.Bytes - size.Needed.Bytes,
			z.Unused.Stored + size.All.Stored - size.Needed.Stored}
	}
	return z, nil
}

// LayersOf tells what of the contents of a point each layer has.
func (s *Store) LayersOf(p *Point) (map[*Layer]Size, error) {
	t, err := p.Image.Tree()
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", p.Layer.Path, p, err)
	}
	list := make(map[*Layer]Size)
	seen := make(map[winfile.SHA1]struct{})
	for h := range contents(t) {
		if _, ok := seen[h]; ok {
			continue
		}
		seen[h] = struct{}{}
		if l, stored, plain := s.locate(h); l != nil {
			z := list[l]
			z.add(plain, stored)
			list[l] = z
		}
	}
	return list, nil
}
