package ntfs

import (
	"bytes"
	"context"
	"path"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/internal/sample"
	"husk/winfile"
)

// What Paths reads is what the whole tree has: for every directory its entries, and for every file all its names.
func TestPathsAreThoseOfTheTree(t *testing.T) {
	src, err := sample.Tree(sample.Options{Extremes: true, Programs: 8})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLayout(src, &BuildOptions{Serial: 1})
	if err != nil {
		t.Fatal(err)
	}
	img := &memoryVolume{b: make([]byte, l.Size())}
	if err := l.Write(context.Background(), img); err != nil {
		t.Fatal(err)
	}
	v, err := NewReader(bytes.NewReader(img.b), l.Size())
	if err != nil {
		t.Fatal(err)
	}
	whole, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b *winfile.Blob) bool {
		return a == nil && b == nil || a != nil && b != nil && a.Size == b.Size && a.Order == b.Order && *a.Ref.(*location) == *b.Ref.(*location)
	})
	names, dirs, links := make(map[*winfile.Info][]string), 0, 0
	for p, e := range whole.All() {
		names[e.Info] = append(names[e.Info], p)
	}
	for p, e := range whole.All() {
		if !e.Info.IsDir() && (e.Info.Links == 1 || e.Info.Links > 20 || names[e.Info][0] != p) {
			continue // one name of linked files is enough, and directories show the rest
		}
		part, err := v.Paths(context.Background(), "/"+p)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		got := part.Lookup(p)
		if got == nil {
			t.Fatalf("%s is not found", p)
		}
		if d := cmp.Diff(e.Info, got.Info, same); d != "" || e.Name != got.Name || e.ShortName != got.ShortName {
			t.Fatalf("%s: %q %q, want %q %q\n%s", p, got.Name, got.ShortName, e.Name, e.ShortName, d)
		}
		if e.Info.IsDir() {
			dirs++
			if len(got.Children) != len(e.Children) {
				t.Fatalf("%s has %d entries, want %d", p, len(got.Children), len(e.Children))
			}
			for i, c := range e.Children {
				g := got.Children[i]
				if d := cmp.Diff(c.Info, g.Info, same); d != "" || c.Name != g.Name || c.ShortName != g.ShortName || len(g.Children) > 0 {
					t.Fatalf("%s: %q %q with %d children, want %q %q\n%s", path.Join(p, c.Name), g.Name, g.ShortName, len(g.Children), c.Name, c.ShortName, d)
				}
			}
			continue
		}
		links++
		for _, n := range names[e.Info] {
			if o := part.Lookup(n); o == nil || o.Info != got.Info {
				t.Errorf("%s: the name %s is missing or another file", p, n)
			}
		}
	}
	if dirs < 100 || links < 10 {
		t.Errorf("only %d directories and %d linked files", dirs, links)
	}
	if part, err := v.Paths(context.Background(), "/no/such", "/$MFT"); err != nil || part.Lookup("no") != nil || part.Lookup("$MFT") != nil || !part.Root.Info.IsDir() {
		t.Errorf("paths that do not exist: %v", err)
	}
}
