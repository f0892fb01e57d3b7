package store

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/internal/tree"
)

// problems are what Check finds.
func problems(t *testing.T, dir string) string {
	t.Helper()
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Check(context.Background(), &CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(r.Problems, "\n")
}

// TestDamage takes layers away and damages them: Check tells what is lost, nothing is removed in such a state, and a later command does not
// make it forgotten.
func TestDamage(t *testing.T) {
	ctx := context.Background()
	start, src := faultStore(t)
	layer := func(dir string) string { return filepath.Join(dir, "layer-0002.wim") }
	for _, c := range []struct {
		name  string
		do    func(dir string) error
		wants []string
	}{
		{"layer gone", func(dir string) error { return os.Remove(layer(dir)) }, []string{"x64@v1 was in layer layer-0002.wim"}},
		{"header damaged", func(dir string) error { return os.WriteFile(layer(dir), []byte("nothing"), 0o666) },
			[]string{"layer-0002.wim: wim: header", "x64@v1 was in layer"}},
		{"blob damaged", func(dir string) error {
			b, err := os.ReadFile(layer(dir))
			if err == nil {
				b[240] ^= 0x40
				err = os.WriteFile(layer(dir), b, 0o666)
			}
			return err
		}, []string{"layer-0002.wim: wim: blob"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyStore(t, start)
			if err := c.do(dir); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				found := problems(t, dir)
				for _, want := range c.wants {
					if !strings.Contains(found, want) {
						t.Errorf("problems are\n%s\nwant %q", found, want)
					}
				}
				err := change(t, dir, hostFiles{}, func(s *Store) error { // a later command
					_, err := s.AddPoint(ctx, src, &AddOptions{System: "x86"})
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestOthersStores takes what wimlib makes as a store: a WIM file, a folder with one, and a folder with a delta WIM.
func TestOthersStores(t *testing.T) {
	reftool.Look(t, "wimlib-imagex")
	ctx := context.Background()
	dir, src := t.TempDir(), filepath.Join(t.TempDir(), "src")
	base, delta := filepath.Join(dir, "install.wim"), filepath.Join(dir, "more.wim")
	tinySystem(t, src, 0)
	reftool.Run(t, "wimlib-imagex", "capture", src, base, "Windows 7 Ultimate", "--compress=LZX")
	tinySystem(t, src, 2)
	reftool.Run(t, "wimlib-imagex", "capture", src, delta, "Later", "--delta-from="+base, "--compress=LZX")

	file, err := Open(base, nil)
	if err != nil {
		t.Fatal(err)
	}
	if points := file.Points(); len(points) != 1 || points[0].System != "Windows-7-Ultimate" {
		t.Errorf("points of a file: %v", points)
	}
	if err := file.Lock(ctx, nil); err == nil {
		t.Error("a single file was locked for changes")
	}
	file.Close()

	s, err := Open(dir, &OpenOptions{UI: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustCheck(t, s)
	if err := s.Lock(ctx, nil); err != nil {
		t.Fatal(err)
	}
	later, err := s.Point("Later")
	if err != nil {
		t.Fatal(err)
	}
	id := later.ID
	if err := s.Rename(later, "x64", "patched", nil); err != nil {
		t.Fatal(err)
	}
	if later, err = s.Point("x64@patched"); err != nil || later.ID != id {
		t.Fatalf("renamed: %v, %v, the id was %s", later, err, id)
	}
	samePointBut(t, s, "x64@patched", src, tree.DiffCreated|tree.DiffAttributes) // wimlib has its own idea of these on Linux
	tinySystem(t, src, 3)
	r := add(t, s, src, AddOptions{System: "x64", Name: "third"})
	if r.NewBlobs != 3 || r.Point.Layer.WIM.Codec() != s.Layers()[0].WIM.Codec() {
		t.Errorf("the third point has %d new contents in %v, want 3 in the codec of the first layer", r.NewBlobs, r.Point.Layer.WIM.Codec())
	}
	samePoint(t, s, "x64", src)
	mustCheck(t, s)
	reftool.Run(t, "wimlib-imagex", "verify", delta, "--ref="+base)
	reftool.Run(t, "wimlib-imagex", "verify", r.Point.Layer.Path, "--ref="+base, "--ref="+delta)
	out := filepath.Join(t.TempDir(), "all.wim")
	if _, _, err := s.Export(ctx, s.Points(), out, &ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "wimlib-imagex", "verify", out)
	if listing := reftool.Run(t, "wimlib-imagex", "dir", out, "x64@third"); !strings.Contains(listing, "file0.txt") {
		t.Errorf("the exported point has\n%s", listing)
	}
	if _, err := s.Merge(ctx, &MergeOptions{}); err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, p := range s.Points() {
		names = append(names, p.System)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"Windows-7-Ultimate", "x64", "x64"}) || len(s.Layers()) != 1 {
		t.Errorf("merged: %q in %d layers", names, len(s.Layers()))
	}
	mustCheck(t, s)
	samePoint(t, s, "x64", src)
}

// TestMergeDamaged: copies of stored contents are read back before anything else goes.
func TestMergeDamaged(t *testing.T) {
	ctx := context.Background()
	dir, _ := faultStore(t)
	name := filepath.Join(dir, "wimboot.wim")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[240] ^= 0x40
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
	err = change(t, dir, hostFiles{}, func(s *Store) error {
		_, err := s.Merge(ctx, &MergeOptions{})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "does not verify") {
		t.Errorf("merged with a damaged content: %v", err)
	}
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.Layers()) != 3 || len(s.Points()) != 3 {
		t.Errorf("%d layers and %d points are left, want 3 and 3", len(s.Layers()), len(s.Points()))
	}
	leftovers(t, dir, "merge")
}

// TestMergeSome folds the later layers only; a disk that needs what a dropped point had keeps its layer.
func TestMergeSome(t *testing.T) {
	ctx := context.Background()
	dir, _ := faultStore(t)
	s, err := Open(dir, &OpenOptions{UI: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Lock(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(s.find("x64@v1")); err != nil { // the disk is made of it
		t.Fatal(err)
	}
	r, err := s.Merge(ctx, &MergeOptions{From: s.Layers()[1], Repoint: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Points != 1 || len(r.Layers) != 2 || len(r.Repoint) != 1 || r.Repoint[0].Err == nil || len(r.Swept.Kept) != 1 {
		t.Errorf("merged %+v, swept %+v", r, r.Swept)
	}
	var files []string
	for _, l := range s.Layers() {
		files = append(files, l.File)
	}
	if want := []string{"wimboot.wim", "layer-0002.wim", "layer-0004.wim"}; !slices.Equal(files, want) {
		t.Errorf("layers are %q, want %q", files, want)
	}
	mustCheck(t, s)
	readDisk(t, dir, "merged")
	if _, err := s.Merge(ctx, &MergeOptions{From: s.Layers()[1]}); err == nil {
		t.Error("a layer that no point needs was folded")
	}
	if err := os.Remove(filepath.Join(dir, "x64", "tiny.vhd")); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Sweep(ctx); err != nil || !slices.Equal(r.Removed, []string{"layer-0002.wim"}) {
		t.Errorf("swept %+v, %v", r, err)
	}
	mustCheck(t, s)
}
