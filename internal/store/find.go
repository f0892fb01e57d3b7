package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/internal/deploy"
	"husk/internal/ui"
	"husk/wof"
)

// Latest is the word for the newest point of a system.
const Latest = "latest"

// SystemNames are the systems that have points.
func (s *Store) SystemNames() []string {
	var names []string
	for _, p := range s.points {
		if !slices.Contains(names, p.System) {
			names = append(names, p.System)
		}
	}
	return names
}

// OfSystem are the points of a system by date.
func (s *Store) OfSystem(system string) []*Point {
	return slices.DeleteFunc(slices.Clone(s.points), func(p *Point) bool { return !strings.EqualFold(p.System, system) })
}

// Point finds a point:
//
//	SYSTEM            its latest
//	SYSTEM@latest     the same
//	SYSTEM~N          N before the latest
//	SYSTEM@NAME       by name
//	SYSTEM@DATE       2006-01-02, perhaps with T15:04 or a space and 15:04: the latest that is not later than that
//	NAME              where only one system has a point of this name
//	ID                or at least four digits of its beginning
//
// SYSTEM may be left out where the store has only one.
func (s *Store) Point(spec string) (*Point, error) {
	if p := s.find(spec); p != nil {
		return p, nil
	}
	if len(s.points) == 0 {
		return nil, ui.Hint(fmt.Errorf("%s has no points", s.Dir), "add one with 'husk point add %s SYSTEM SOURCE'", s.Dir)
	}
	return nil, ui.Hint(fmt.Errorf("%s has no point %q", s.Dir, spec), "'husk point list %s' lists them", s.Dir)
}

func (s *Store) find(spec string) *Point {
	if system, name, ok := strings.Cut(spec, "@"); ok {
		if list := s.ofSpec(system); list != nil {
			return named(list, name)
		}
		return nil
	}
	if system, back, ok := strings.Cut(spec, "~"); ok {
		list := s.ofSpec(system)
		if back == "" {
			back = "1"
		}
		if n, err := strconv.Atoi(back); err == nil && n >= 0 && n < len(list) {
			return list[len(list)-1-n]
		}
		return nil
	}
	if list := s.OfSystem(spec); len(list) > 0 {
		return list[len(list)-1]
	}
	if systems := s.SystemNames(); len(systems) == 1 {
		if p := named(s.points, spec); p != nil {
			return p
		}
	}
	var found []*Point
	for _, p := range s.points {
		if strings.EqualFold(p.Name, spec) {
			found = append(found, p)
		}
	}
	if len(found) == 0 && len(spec) >= 4 {
		for _, p := range s.points {
			if strings.HasPrefix(p.ID, strings.ToLower(spec)) {
				found = append(found, p)
			}
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return nil
}

// ofSpec are the points of a system, or of the only one.
func (s *Store) ofSpec(system string) []*Point {
	if system == "" && len(s.SystemNames()) == 1 {
		return s.points
	}
	return s.OfSystem(system)
}

// named finds a point of one system.
func named(list []*Point, name string) *Point {
	if strings.EqualFold(name, Latest) && len(list) > 0 {
		return list[len(list)-1]
	}
	for _, p := range list {
		if strings.EqualFold(p.Name, name) {
			return p
		}
	}
	end, ok := dateEnd(name)
	if !ok {
		return nil
	}
	for _, p := range slices.Backward(list) {
		if p.Date.Before(end) {
			return p
		}
	}
	return nil
}

// dateEnd is the first instant after a date that a user names.
func dateEnd(s string) (time.Time, bool) {
	for _, l := range []struct {
		layout string
		span   func(time.Time) time.Time
	}{
		{"2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
		{"2006-01-02T15:04", func(t time.Time) time.Time { return t.Add(time.Minute) }},
		{"2006-01-02 15:04", func(t time.Time) time.Time { return t.Add(time.Minute) }},
		{"2006-01-02T15:04:05", func(t time.Time) time.Time { return t.Add(time.Second) }},
		{"2006-01-02 15:04:05", func(t time.Time) time.Time { return t.Add(time.Second) }},
	} {
		if t, err := time.ParseInLocation(l.layout, s, time.Local); err == nil {
			return l.span(t), true
		}
	}
	return time.Time{}, false
}

// LocationOf is where a WIM will be when the system that points into it starts: as the user's words have it (see deploy.Location), or else,
// of a layer in the folder of a store, as the store has it.
func LocationOf(wimFile, disk, path string) (wof.Location, error) {
	dir := filepath.Dir(wimFile)
	if disk != "" && path != "" || !Is(dir) {
		return deploy.Location(disk, path, wimFile)
	}
	s, err := Open(dir, nil)
	if err != nil {
		return wof.Location{}, err
	}
	defer s.Close()
	return s.location(filepath.Base(wimFile), wimFile, disk, path)
}

// Location is where the WIM of a point will be when the system starts: as the user's words have it (see deploy.Location), or else as
// husk.toml has it for the folder, or else where it lies now.
func (s *Store) Location(p *Point, disk, path string) (wof.Location, error) {
	return s.location(p.Layer.File, p.Layer.Path, disk, path)
}

func (s *Store) location(file, wimFile, disk, path string) (wof.Location, error) {
	if b := s.cat.Boot; b != nil {
		if disk == "" {
			disk = b.Disk
		}
		if path == "" && b.Path != "" {
			path = strings.TrimRight(b.Path, `\/`) + `\` + file
		}
	}
	return deploy.Location(disk, path, wimFile)
}

// Boot is where the folder is when its systems start, nil if husk.toml does not tell.
func (s *Store) Boot() *BootPlace { return s.cat.Boot }
