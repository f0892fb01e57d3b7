package main

import (
	"strings"
	"testing"
)

func TestCompareTakesMediansAndRatios(t *testing.T) {
	b := &bench{dir: t.TempDir(), runs: 3, stderr: new(strings.Builder)}
	calls := 0
	exe := func(args ...string) command {
		return command{args: args, ready: func() error { calls++; return nil }}
	}
	peer := exe("go", "env", "GOOS")
	r, err := b.compare("version", exe("go", "version"), "go env", &peer)
	if err != nil {
		t.Fatal(err)
	}
	if calls != 8 { // a first run and three that count, of each
		t.Errorf("%d runs, want 8", calls)
	}
	if r.Husk.Wall <= 0 || r.PeerUse.Wall <= 0 || r.Ratio != r.PeerUse.Wall/r.Husk.Wall {
		t.Errorf("row %+v", r)
	}
	if _, err := b.compare("bad", exe("go", "no-such-command"), "", nil); err == nil || !strings.Contains(err.Error(), "no-such-command") {
		t.Errorf("error %v, want the command line and what it printed", err)
	}
	var out strings.Builder
	if err := b.table(&out); err != nil || !strings.Contains(out.String(), "go env") {
		t.Errorf("table %v:\n%s", err, out.String())
	}
}

func TestMedian(t *testing.T) {
	got := median([]usage{{9, 1, 5}, {1, 9, 7}, {5, 5, 1}})
	if want := (usage{5, 5, 5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
