package system

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"husk/internal/cutfile"
	"husk/internal/sample"
	"husk/internal/ui"
	"husk/ntfs"
)

// volume makes an NTFS volume of a sample system in a file.
func volume(t *testing.T, size int64) (name string) {
	t.Helper()
	tree, err := sample.Tree(sample.Options{Arch: "x86", Programs: 12})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ntfs.NewLayout(tree, &ntfs.BuildOptions{Size: size, Serial: 7, LogSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(t.TempDir(), "volume.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestCopyVolume cuts the copying of a volume over a device that has another one at every step. Until the last of them there is no volume, and
// copying it again makes it whole.
func TestCopyVolume(t *testing.T) {
	const size = 12 << 20
	name := volume(t, size)
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	u := ui.New(nil, io.Discard, io.Discard, "en")
	u.Quiet = true
	rng := rand.New(rand.NewPCG(1, 2))
	before := make([]byte, size) // the other volume: what is not written stays
	for i := range before {
		before[i] = byte(rng.Uint32())
	}
	copy(before, want[:512])
	copy(before[size-512:], want[:512])
	f := cutfile.New(before)
	var cuts []*cutfile.File
	f.Hook = func() { cuts = append(cuts, f.Cut(rng)) }
	if err := copyVolume(context.Background(), name, f, size, true, u); err != nil {
		t.Fatal(err)
	}
	f.Hook = nil
	if err := same(name, f, size); err != nil {
		t.Fatal(err)
	}
	voids := 0
	for i, c := range cuts {
		v, err := ntfs.NewReader(c, size) // which takes the copy of the boot sector if it must
		if err != nil {
			voids++
		} else if i > 3 && (i%3 == 0 || i > len(cuts)-6) { // the first are those that void the old one
			if err := sameFiles(name, v, size); err != nil {
				t.Fatalf("cut %d: a volume that is not whole: %v", i, err)
			}
		}
		if i%5 != 0 {
			continue
		}
		if err := copyVolume(context.Background(), name, c, size, true, u); err != nil {
			t.Fatal(err)
		}
		if err := same(name, c, size); err != nil {
			t.Fatalf("cut %d, copied again: %v", i, err)
		}
	}
	if voids < len(cuts)/2 {
		t.Errorf("%d of %d cuts left no volume, want most", voids, len(cuts))
	}
}

// same compares the files of a volume in a file with a copy, which must be sound.
func same(name string, c io.ReaderAt, size int64) error {
	v, err := ntfs.NewReader(c, size)
	if err != nil {
		return err
	}
	problems, err := v.Check(context.Background())
	if err != nil {
		return err
	}
	for _, p := range problems {
		if p.Severity > ntfs.SeverityNote {
			return errors.New(p.String())
		}
	}
	return sameFiles(name, v, size)
}

func sameFiles(name string, v *ntfs.Volume, size int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := ntfs.NewReader(f, size)
	if err != nil {
		return err
	}
	a, err := w.Tree(context.Background())
	if err != nil {
		return err
	}
	b, err := v.Tree(context.Background())
	if err != nil {
		return err
	}
	for p, e := range a.All() {
		o := b.Lookup(p)
		if o == nil {
			return &os.PathError{Op: "copy", Path: p, Err: os.ErrNotExist}
		}
		x, err := e.Info.Data.ReadAll(size)
		if err != nil {
			return err
		}
		y, err := o.Info.Data.ReadAll(size)
		if err != nil {
			return err
		}
		if !bytes.Equal(x, y) {
			return &os.PathError{Op: "copy", Path: p, Err: os.ErrInvalid}
		}
	}
	return nil
}
