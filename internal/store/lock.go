package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"husk/internal/filelock"
	"husk/internal/ui"
)

// lock is the right to change a store.
type lock struct {
	f      *os.File
	unlock func()
}

// Holder is who changes a store.
type Holder struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// LockedError says that somebody else changes the store.
type LockedError struct {
	Dir    string
	Holder *Holder // nil if it is not known
}

func (e *LockedError) Error() string {
	if e.Holder == nil {
		return fmt.Sprintf("%s: another program is changing the store", e.Dir)
	}
	return fmt.Sprintf("%s: process %d on %s is changing the store since %s: %s", e.Dir, e.Holder.PID, e.Holder.Host,
		e.Holder.Since.Local().Format(time.DateTime), e.Holder.Command)
}

func (e *LockedError) Unwrap() error { return filelock.ErrLocked }

// LockOptions tunes Lock; nil is right.
type LockOptions struct {
	Rebuild bool                       // a husk.toml that cannot be read is no error, as Rebuild writes it anew
	NoWait  bool                       // fail with a *LockedError instead of waiting for whoever has the lock
	Waiting func(waiting *LockedError) // called once if it has to wait; may be nil
}

const lockPoll = 100 * time.Millisecond

// Lock gets the right to change the store, which others may have changed meanwhile: it is read anew, and all layers and points that were
// got before are void. The lock ends with the process, however that ends.
func (s *Store) Lock(ctx context.Context, o *LockOptions) error {
	if s.lock != nil {
		return nil
	}
	if s.File != "" {
		return ui.Hint(fmt.Errorf("%s is a single WIM, which is read only as a store", filepath.Join(s.Dir, s.File)), "name its folder, %s: later layers go beside it", s.Dir)
	}
	if o == nil {
		o = &LockOptions{}
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, lockName), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	unlock, err := filelock.Lock(f)
	for told := false; errors.Is(err, filelock.ErrLocked); unlock, err = filelock.Lock(f) {
		locked := &LockedError{Dir: s.Dir, Holder: readHolder(f)}
		if o.NoWait {
			return errors.Join(ui.Hint(locked, "try again when it is done"), f.Close())
		}
		if !told && o.Waiting != nil {
			o.Waiting(locked)
		}
		told = true
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), f.Close())
		case <-time.After(lockPoll):
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", f.Name(), err), f.Close())
	}
	s.lock = &lock{f, unlock}
	host, _ := os.Hostname() // it only tells people whom to ask
	b, err := json.Marshal(&Holder{os.Getpid(), host, strings.Join(os.Args, " "), time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt(b, 0)
		}
	}
	if err != nil {
		return errors.Join(err, s.Unlock())
	}
	if err := s.load(); err != nil {
		return errors.Join(err, s.Unlock())
	}
	if s.unread != nil && !o.Rebuild { // it may name disks that need layers: nothing may go, and nothing of it be written over
		return errors.Join(ui.Hint(s.unread, "put it right; or else 'husk store rebuild %s' writes it anew, and 'husk store record' is for each disk outside the store", s.Dir), s.Unlock())
	}
	if s.found && s.unread == nil && s.stale() {
		if err := s.save(); err != nil {
			return errors.Join(err, s.Unlock())
		}
	}
	return nil
}

// stale reports whether husk.toml lists other layers or points than there are: whoever changed the store last was cut off.
func (s *Store) stale() bool {
	layers, points := s.lists()
	return !slices.Equal(layers, s.cat.Layers) || !slices.EqualFunc(points, s.cat.Points, func(a, b pointEntry) bool {
		same := a.Date.Equal(b.Date)
		a.Date = b.Date
		return same && a == b
	})
}

// lists are what husk.toml says of layers and points. Points that are lost stay listed, with their layers, so that nobody forgets them before
// Rebuild is asked for.
func (s *Store) lists() (layers []layerEntry, points []pointEntry) {
	for _, l := range s.layers {
		layers = append(layers, layerEntry{l.File, l.GUID().String()})
	}
	for _, p := range s.points {
		points = append(points, pointEntry{p.System, p.Name, p.Date.UTC().Truncate(time.Second), p.Note, p.Layer.File, p.Image.Index})
	}
	lost := s.lost()
	for _, e := range s.cat.Layers {
		if slices.ContainsFunc(lost, func(p pointEntry) bool { return p.Layer == e.File }) {
			layers = append(layers, e)
		}
	}
	return layers, append(points, lost...)
}

// lost are the points that husk.toml lists in layers that are gone, or cannot be read, and that no other layer has.
func (s *Store) lost() []pointEntry {
	var list []pointEntry
	for _, e := range s.cat.Points {
		gone := !slices.ContainsFunc(s.layers, func(l *Layer) bool { return l.File == e.Layer })
		elsewhere := slices.ContainsFunc(s.points, func(p *Point) bool { return p.System == e.System && p.Name == e.Name })
		if gone && !elsewhere {
			list = append(list, e)
		}
	}
	return list
}

// readHolder reads who has the lock; nil if that cannot be told.
func readHolder(f *os.File) *Holder {
	b := make([]byte, 4096)
	n, _ := f.ReadAt(b, 0) // short as it is, it ends in io.EOF
	h := &Holder{}
	if json.Unmarshal(b[:n], h) != nil {
		return nil
	}
	return h
}

// Unlock gives the lock back.
func (s *Store) Unlock() error {
	if s.lock == nil {
		return nil
	}
	l := s.lock
	s.lock = nil
	_ = l.f.Truncate(0) // only words
	l.unlock()
	return l.f.Close()
}

// locked refuses changes by who has no lock.
func (s *Store) locked() error {
	if s.lock == nil {
		return errors.New("store: internal error: the store is changed without its lock")
	}
	return nil
}

// save writes husk.toml anew.
func (s *Store) save() error {
	c := *s.cat
	c.Version = catalogueVersion
	c.Layers, c.Points = s.lists()
	b, err := c.marshal()
	if err != nil {
		return err
	}
	f, err := s.files.Create(filepath.Join(s.Dir, CatalogueName), true)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	s.cat, s.found, s.unread = &c, true, nil
	return nil
}
