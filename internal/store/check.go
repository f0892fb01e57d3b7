package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"husk/internal/ui"
	"husk/wim"
	"husk/winfile"
)

// CheckResult is what Check found.
type CheckResult struct {
	Problems []string // damage
	Notes    []string // what is odd and loses nothing
	Layers   int
	Points   int
	Disks    int
	Blobs    int   // read and compared with their SHA-1
	Bytes    int64 // of them
	Elapsed  time.Duration
}

func (r *CheckResult) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *CheckResult) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// CheckOptions tunes Check.
type CheckOptions struct {
	Quick   bool // do not read contents: only that all are there
	Threads int
}

// Check reads all layers, and sees that every point has all its contents, that disks find what they point to, and that husk.toml tells the
// truth.
func (s *Store) Check(ctx context.Context, o *CheckOptions) (*CheckResult, error) {
	start := time.Now()
	r := &CheckResult{Layers: len(s.layers), Points: len(s.points)}
	for _, b := range s.bad {
		r.problem("%s: %v", filepath.Join(s.Dir, b.File), b.Err)
	}
	for _, w := range s.Warnings {
		r.note("%s", w)
	}
	s.checkCatalogue(r)
	for _, l := range s.layers {
		if err := s.checkLayer(ctx, l, r, o); err != nil {
			return nil, err
		}
	}
	for _, p := range s.points {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.checkPoint(p, r)
	}
	if err := s.checkDisks(ctx, r); err != nil {
		return nil, err
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

// checkCatalogue compares husk.toml with the layers. What it lacks is no damage: a command was cut off before its last step.
func (s *Store) checkCatalogue(r *CheckResult) {
	if !s.found {
		return
	}
	listed := make(map[string]string)
	for _, e := range s.cat.Layers {
		listed[e.GUID] = e.File
	}
	for _, l := range s.layers {
		if _, ok := listed[l.GUID().String()]; !ok {
			r.note("%s does not list layer %s: 'husk store rebuild %s' writes it anew", CatalogueName, l.File, s.Dir)
		}
		delete(listed, l.GUID().String())
	}
	for _, e := range s.cat.Layers {
		if _, ok := listed[e.GUID]; ok {
			r.note("%s lists layer %s, which is not there", CatalogueName, e.File)
		}
	}
	for _, e := range s.lost() {
		r.problem("%s@%s was in layer %s, which is not there or cannot be read", e.System, e.Name, e.Layer)
	}
}

func (s *Store) checkLayer(ctx context.Context, l *Layer, r *CheckResult, o *CheckOptions) error {
	for _, err := range l.WIM.Problems() {
		r.problem("%s: %v", l.Path, err)
	}
	if o.Quick {
		return nil
	}
	var p *ui.Progress
	v := &wim.VerifyOptions{Workers: o.Threads}
	if s.ui != nil {
		p = s.ui.Start("verify", 0)
		v.Progress = p.Set
		defer p.Done()
	}
	result, err := l.WIM.Verify(ctx, v)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Path, err)
	}
	for _, err := range result.Problems {
		r.problem("%s: %v", l.Path, err)
	}
	r.Blobs += result.Blobs
	r.Bytes += result.Bytes
	return nil
}

// checkPoint sees that all contents of a point are at hand.
func (s *Store) checkPoint(p *Point, r *CheckResult) {
	t, err := p.Image.Tree()
	if err != nil {
		r.problem("%s: %s: %v", p.Layer.Path, p, err)
		return
	}
	for path, e := range t.All() {
		for b := range e.Info.Blobs() {
			if b.Content == nil || b.Size == 0 || s.Blob(b.SHA1) == nil {
				r.problem("%s: %s: content %s is in no layer", p, path, b.SHA1)
			}
		}
	}
}

// checkDisks sees that disks find what they point to.
func (s *Store) checkDisks(ctx context.Context, r *CheckResult) error {
	uses, err := s.Uses(ctx)
	if err != nil {
		return err
	}
	r.Disks = len(uses)
	for _, u := range uses {
		if u.Err != nil {
			r.note("%v", u.Err)
			continue
		}
		for _, e := range u.Foreign {
			r.note("%s points into %s with GUID %s, which is no layer of this store", u.Path, e.Location.Path, e.GUID)
		}
		missing, first := 0, winfile.SHA1{}
		for h, l := range u.Holder {
			if _, ok := l.WIM.Lookup(h); !ok {
				missing, first = missing+1, h
			}
		}
		if missing > 0 {
			r.problem("%s: %d of the contents that it points to are not in their layers, such as %s", u.Path, missing, first)
		}
	}
	return nil
}

// Rebuild writes husk.toml anew from the layers and from the disks below the store. One that cannot be read is kept as husk.toml.bad. The
// store must be locked.
func (s *Store) Rebuild(ctx context.Context) error {
	if err := s.locked(); err != nil {
		return err
	}
	uses, err := s.Uses(ctx)
	if err != nil {
		return err
	}
	s.noteUses(uses)
	if s.unread != nil {
		name := filepath.Join(s.Dir, CatalogueName)
		if err := os.Rename(name, name+".bad"); err != nil {
			return err
		}
	}
	s.cat.Layers, s.cat.Points = nil, nil // what is lost is forgotten
	return s.save()
}
