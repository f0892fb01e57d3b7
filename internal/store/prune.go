package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"husk/internal/ui"
)

// Drop takes points out of the list. Their images stay in the layers until Sweep or Merge; a disk made of one keeps working. The store must
// be locked.
func (s *Store) Drop(points ...*Point) error {
	if err := s.locked(); err != nil {
		return err
	}
	changes := make(map[*Point]map[string]string)
	now := time.Now().UTC().Format(time.RFC3339)
	for _, p := range points {
		for _, l := range s.layers {
			for _, same := range l.images { // in layers that were merged, too, or it would be back when the new layer goes
				if same.ID == p.ID {
					changes[same] = map[string]string{propDropped: now}
				}
			}
		}
	}
	return s.setTexts(changes)
}

// Undrop brings a dropped point back, as long as its image is in a layer. The store must be locked.
func (s *Store) Undrop(p *Point) error {
	if err := s.locked(); err != nil {
		return err
	}
	for _, o := range s.points {
		if o.String() == p.String() {
			return ui.Hint(fmt.Errorf("there is a point %s already", o), "rename that one first")
		}
	}
	found := &CheckResult{}
	if s.checkPoint(p, found); len(found.Problems) > 0 {
		return fmt.Errorf("%s cannot come back: %s", p, found.Problems[0])
	}
	return s.setTexts(map[*Point]map[string]string{p: {propDropped: ""}})
}

// Keep says which points of each system stay: a point stays if one of the rules keeps it.
type Keep struct {
	Last                                   int           // the newest so many
	Hourly, Daily, Weekly, Monthly, Yearly int           // the newest of each of so many hours, days … that have points
	Within                                 time.Duration // all that are not older than so long before the newest
}

// Empty reports whether no rule keeps anything.
func (k *Keep) Empty() bool { return *k == Keep{} }

// Split parts the points of one system, given by date, into those that stay and those that go.
func (k *Keep) Split(points []*Point) (stay, drop []*Point) {
	kept := make(map[*Point]bool)
	newest := slices.Clone(points)
	slices.Reverse(newest)
	for i, p := range newest {
		if i < k.Last || k.Within > 0 && newest[0].Date.Sub(p.Date) <= k.Within {
			kept[p] = true
		}
	}
	for _, rule := range []struct {
		n      int
		period func(time.Time) string
	}{
		{k.Hourly, func(t time.Time) string { return t.Format("2006-01-02 15") }},
		{k.Daily, func(t time.Time) string { return t.Format("2006-01-02") }},
		{k.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprint(y, "-", w) }},
		{k.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
		{k.Yearly, func(t time.Time) string { return t.Format("2006") }},
	} {
		last, n := "", 0
		for _, p := range newest {
			if n == rule.n {
				break
			}
			if period := rule.period(p.Date.Local()); period != last {
				kept[p], last = true, period
				n++
			}
		}
	}
	for _, p := range points {
		if kept[p] {
			stay = append(stay, p)
		} else {
			drop = append(drop, p)
		}
	}
	return stay, drop
}

// Impact is what dropping points would do to layers and disks.
type Impact struct {
	Stay, Go []*Point
	Free     []LayerImpact // layers that no point needs then
	Shrink   Size          // contents in other layers that no point needs then: Merge leaves them out
	Uses     []*DiskUse
}

// LayerImpact is a layer that no point needs.
type LayerImpact struct {
	Layer *Layer
	Bytes int64      // of the file
	Disks []*DiskUse // that point into it, or may: it stays as long as they do
}

// Removable reports whether the layer can go.
func (i *LayerImpact) Removable() bool { return len(i.Disks) == 0 }

// Impact tells what would happen if points were dropped; with none, what can be removed now.
func (s *Store) Impact(ctx context.Context, drop []*Point) (*Impact, error) {
	if len(s.bad) > 0 {
		return nil, fmt.Errorf("%s cannot be read, so that it is not known what needs what: %w", s.bad[0].File, s.bad[0].Err)
	}
	im := &Impact{Go: drop}
	for _, p := range s.points {
		if !slices.Contains(drop, p) {
			im.Stay = append(im.Stay, p)
		}
	}
	after := *s
	after.points = im.Stay
	uses, _, err := after.usage(ctx)
	if err != nil {
		return nil, err
	}
	needed := make(map[*Layer]bool)
	for _, p := range im.Stay {
		needed[p.Layer] = true
	}
	for _, u := range uses {
		needed[u.layer] = true
	}
	if im.Uses, err = s.Uses(ctx); err != nil {
		return nil, err
	}
	for _, l := range s.layers {
		if !needed[l] {
			im.Free = append(im.Free, LayerImpact{l, l.WIM.Size(), blockers(l, im.Uses)})
			continue
		}
		for _, b := range l.WIM.Blobs() {
			if u := uses[b.SHA1]; u == nil || u.layer != l {
				stored, _ := l.WIM.StoredSize(b)
				im.Shrink.add(b.Size, stored)
			}
		}
	}
	return im, nil
}

// blockers are the disks that point into a layer, or of which that is not known.
func blockers(l *Layer, uses []*DiskUse) []*DiskUse {
	return slices.DeleteFunc(slices.Clone(uses), func(u *DiskUse) bool {
		_, points := u.Layers[l]
		unknown := u.Err != nil && len(u.last) == 0
		return !points && !unknown
	})
}

// Swept is what Sweep did.
type Swept struct {
	Removed []string // files
	Bytes   int64
	Kept    []LayerImpact // not needed by points, but by disks
}

// Sweep removes the layers that neither points nor disks need. The store must be locked.
func (s *Store) Sweep(ctx context.Context) (*Swept, error) {
	if err := s.locked(); err != nil {
		return nil, err
	}
	im, err := s.Impact(ctx, nil)
	if err != nil {
		return nil, err
	}
	s.noteUses(im.Uses)
	r := &Swept{}
	var errs []error
	for _, f := range im.Free {
		if !f.Removable() {
			r.Kept = append(r.Kept, f)
			continue
		}
		errs = append(errs, f.Layer.WIM.Close()) // some systems remove no open file
		if err := s.files.Remove(f.Layer.Path); err != nil {
			errs = append(errs, err)
			break
		}
		r.Removed = append(r.Removed, f.Layer.File)
		r.Bytes += f.Bytes
	}
	disks := s.cat.Disks
	if err := s.reload(&errs); err != nil {
		return r, err
	}
	s.cat.Disks = disks
	errs = append(errs, s.save())
	return r, errors.Join(errs...)
}

// reload is load when layers may be closed already.
func (s *Store) reload(errs *[]error) error {
	for _, l := range s.layers {
		_ = l.WIM.Close() // those that were removed are closed
	}
	s.layers = nil
	if err := s.load(); err != nil {
		return errors.Join(append(*errs, err)...)
	}
	return nil
}
