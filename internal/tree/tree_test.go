//go:build unix

package tree

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestFolderRoundTrip(t *testing.T) {
	ctx := context.Background()
	src := sampleTree(t)
	dir := filepath.Join(t.TempDir(), "out")
	rep, err := ApplyFolder(ctx, src, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range rep.Lost {
		t.Logf("lost %d %s: %v", l.Count, l.Kind, l.List)
	}
	got, scan := mustScan(t, dir, &ScanOptions{RPFix: true})
	if scan.Warnings.Total > 0 {
		t.Error(&scan.Warnings)
	}
	d := mustCompare(t, src, got, nil)
	if len(rep.Lost) == 0 {
		report(t, d)
	}
	for path, e := range src.All() {
		if r := got.Lookup(path).Info.Reparse; e.Info.Reparse != nil && e.Info.Reparse.NotFixed != r.NotFixed {
			t.Errorf("%s: not fixed %v, want %v", path, r.NotFixed, e.Info.Reparse.NotFixed)
		}
	}
	_ = os.Remove
}
