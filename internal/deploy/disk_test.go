package deploy

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"husk/internal/atomicfile"
	"husk/winfile"
	"husk/wof"
)

// TestRawDiskIsSparse writes zeros and bytes in pieces of all lengths: the file reads as written, and zeros were not.
func TestRawDiskIsSparse(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.img")
	f, err := atomicfile.Create(name, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	const size = 8 << 20
	d, err := newRawDisk(f, size)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	want := make([]byte, size)
	for off := 0; off < size; {
		n := min(size-off, 1+r.IntN(400_000))
		if r.IntN(2) == 0 {
			at := off + r.IntN(n)
			for i := at; i < off+n; i++ {
				want[i] = byte(r.Uint32()) | 1
			}
		}
		if got, err := d.WriteAt(want[off:off+n], int64(off)); got != n || err != nil {
			t.Fatalf("%d of %d bytes written, %v", got, n, err)
		}
		off += n
	}
	if n := d.FileSize(); n <= 0 || n > size*3/4 {
		t.Errorf("%d bytes written of %d", n, size)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, which differ, %v", len(got), err)
	}
}

// TestSpool compresses contents of one piece and of many, several at once, and reads their streams back.
func TestSpool(t *testing.T) {
	target := filepath.Join(t.TempDir(), "disk.vhd")
	s, err := newSpool(target)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	jobs := make(map[*compactJob][]byte)
	for i, n := range []int{1, 5000, 1 << 20, 1<<20 + 1, 2_500_000} {
		plain := []byte(strings.Repeat(fmt.Sprintf("content %d. ", i), n/10+1))[:n]
		for a := range wof.XPRESS16K + 1 {
			j := &compactJob{compactKey: compactKey{&winfile.Blob{Size: int64(n), Order: int64(i)}, a}}
			jobs[j] = plain
		}
	}
	for j, plain := range jobs {
		wg.Go(func() {
			w := s.start(j, 2)
			for off := 0; off < len(plain); off += 1 << 20 {
				p := plain[off:min(off+1<<20, len(plain))]
				if err := w.add(p, off+len(p) == len(plain)); err != nil {
					t.Error(err)
				}
			}
			if err := w.finish(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var blobs []*winfile.Blob
	for j, plain := range jobs {
		want := wof.EncodeCompact(j.algorithm, plain, 1)
		got, err := j.stream.ReadAll(1 << 24)
		if err != nil || !bytes.Equal(got, want) || j.stream.Order != j.blob.Order {
			t.Errorf("%v of %d bytes: %d bytes, want %d, %v", j.algorithm, len(plain), len(got), len(want), err)
		}
		blobs = append(blobs, j.stream)
	}
	if err := winfile.ReadBlobs(context.Background(), blobs, 2, func(*winfile.Blob, int64, []byte) error { return nil }); err != nil {
		t.Error(err)
	}
	s.close()
	if left, err := os.ReadDir(filepath.Dir(target)); err != nil || len(left) != 0 {
		t.Errorf("%d files left, %v", len(left), err)
	}
	if _, err := newSpool(filepath.Join(t.TempDir(), "no", "folder")); err == nil {
		t.Error("a spool in a folder that does not exist")
	}
}

// TestIdentity derives what tells disks apart from what they hold.
func TestIdentity(t *testing.T) {
	tree := func(name string) *winfile.Tree {
		i := &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte("content"))}
		root := &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1, Written: 0x01d9f6d3e5b3a1c7}
		return &winfile.Tree{Root: &winfile.Entry{Info: root, Children: []*winfile.Entry{{Name: name, Info: i}}}}
	}
	id := func(name string, o Options) identity {
		t.Helper()
		got, err := newIdentity(tree(name), &o, tree(name).Root.Info.Written.Time())
		if err != nil || got.signature == 0 || got.serial == 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		return *got
	}
	base := id("a", Options{Reproducible: true})
	if id("a", Options{Reproducible: true}) != base {
		t.Error("the same tree gives another identity")
	}
	seen := map[uint32]string{base.signature: "base"}
	for what, got := range map[string]identity{
		"another name":    id("b", Options{Reproducible: true}),
		"another size":    id("a", Options{Reproducible: true, Size: 1}),
		"compact":         id("a", Options{Reproducible: true, Compact: &Compact{}}),
		"other algorithm": id("a", Options{Reproducible: true, Compact: &Compact{Algorithm: wof.LZX}}),
		"wimboot":         id("a", Options{Reproducible: true, Wimboot: &Wimboot{}}),
		"random":          id("a", Options{}),
		"random again":    id("a", Options{}),
	} {
		if was, ok := seen[got.signature]; ok {
			t.Errorf("%s has the signature of %s", what, was)
		}
		seen[got.signature] = what
	}
	if got := id("a", Options{Reproducible: true, Signature: 5, Serial: 6}); got.signature != 5 || got.serial != 6 {
		t.Errorf("%+v, want what was given", got)
	}
	old := tree("a")
	old.Root.Info.Written = 0
	if at := reproducibleTime(old); at.Year() != 2000 {
		t.Errorf("time %v", at)
	}
}
