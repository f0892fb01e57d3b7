package store

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestKeep(t *testing.T) {
	var points []*Point
	start := time.Date(2026, 1, 31, 12, 0, 0, 0, time.Local)
	for _, hours := range []int{0, 1, 25, 26, 24 * 8, 24 * 9, 24 * 40, 24 * 41, 24 * 400} {
		points = append(points, &Point{Name: start.Add(time.Duration(hours) * time.Hour).Format("06-01-02T15"), Date: start.Add(time.Duration(hours) * time.Hour)})
	}
	for _, tt := range []struct {
		keep Keep
		want string
	}{
		{Keep{Last: 1}, "27-03-07T12"},
		{Keep{Last: 20}, "26-01-31T12 26-01-31T13 26-02-01T13 26-02-01T14 26-02-08T12 26-02-09T12 26-03-12T12 26-03-13T12 27-03-07T12"},
		{Keep{Daily: 2}, "26-03-13T12 27-03-07T12"},
		{Keep{Daily: 7}, "26-01-31T13 26-02-01T14 26-02-08T12 26-02-09T12 26-03-12T12 26-03-13T12 27-03-07T12"},
		{Keep{Hourly: 3}, "26-03-12T12 26-03-13T12 27-03-07T12"},
		{Keep{Weekly: 4}, "26-02-08T12 26-02-09T12 26-03-13T12 27-03-07T12"},
		{Keep{Monthly: 12}, "26-01-31T13 26-02-09T12 26-03-13T12 27-03-07T12"},
		{Keep{Yearly: 2}, "26-03-13T12 27-03-07T12"},
		{Keep{Last: 2, Yearly: 9}, "26-03-13T12 27-03-07T12"},
		{Keep{Within: 24 * time.Hour * 365, Monthly: 1}, "26-03-12T12 26-03-13T12 27-03-07T12"},
		{Keep{}, ""},
	} {
		stay, gone := tt.keep.Split(points)
		var names []string
		for _, p := range stay {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%+v keeps %q, want %q", tt.keep, got, tt.want)
		}
		if len(stay)+len(gone) != len(points) {
			t.Errorf("%+v: %d stay and %d go of %d", tt.keep, len(stay), len(gone), len(points))
		}
	}
}

// TestNeededByDisks: what a disk points into stays, even if the disk cannot be read or is not there.
func TestNeededByDisks(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	src := filepath.Join(t.TempDir(), "src")
	for v := range 2 {
		tinySystem(t, src, 6*v)
		add(t, s, src, AddOptions{System: "x64"})
	}
	inside := makeDisk(t, s, "x64~1", "x64/d.vhd")
	outside := filepath.Join(t.TempDir(), "d.vhd")
	if err := os.Rename(inside, outside); err != nil {
		t.Fatal(err)
	}
	if err := s.AddDisk(ctx, outside, "x64", s.Points()[0]); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(s.Points()[0]); err != nil {
		t.Fatal(err)
	}
	sweep := func(what string, removed int, kept int) {
		t.Helper()
		r, err := s.Sweep(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Removed) != removed || len(r.Kept) != kept {
			t.Errorf("%s: removed %q and kept %d, want %d and %d", what, r.Removed, len(r.Kept), removed, kept)
		}
	}
	sweep("with a disk", 0, 1)
	gone := outside + ".gone"
	if err := os.Rename(outside, gone); err != nil {
		t.Fatal(err)
	}
	sweep("with a disk that is not there", 0, 1)
	if err := os.WriteFile(outside, []byte("damaged"), 0o666); err != nil {
		t.Fatal(err)
	}
	sweep("with a damaged disk", 0, 1)
	if err := s.ForgetDisk(outside); err != nil {
		t.Fatal(err)
	}
	unknown := filepath.Join(s.Dir, "x64", "unknown.vhd")
	if err := os.WriteFile(unknown, []byte("what is this"), 0o666); err != nil {
		t.Fatal(err)
	}
	sweep("with an unknown disk below", 0, 1)
	if err := os.Remove(unknown); err != nil {
		t.Fatal(err)
	}
	sweep("with none", 1, 0)
	if err := s.ForgetDisk(outside); err == nil {
		t.Error("a disk was forgotten twice")
	}
	mustCheck(t, s)
	samePoint(t, s, "x64", src)
}
