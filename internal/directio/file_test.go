package directio

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestWritesOfAllShapes writes ranges of every alignment at once, beside and over each other's pages, and reads them back.
func TestWritesOfAllShapes(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	d := New(f)
	if d.direct == nil {
		t.Log("this file system has no O_DIRECT: only ordinary writes are tested")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 24<<20)
	var wg sync.WaitGroup
	for off := 0; off < len(want); {
		n := min(len(want)-off, 1+rng.IntN(3<<20))
		if rng.IntN(3) == 0 {
			n = min(len(want)-off, 1+rng.IntN(2*pageSize))
		}
		p := want[off : off+n]
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		at := int64(off)
		wg.Go(func() {
			if m, err := d.WriteAt(p, at); m != len(p) || err != nil {
				t.Errorf("write of %d at %d: %d, %v", len(p), at, m, err)
			}
		})
		off += n
	}
	wg.Wait()
	got := make([]byte, len(want))
	if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read back differently, %v", err)
	}
	if err := d.Release(); err != nil {
		t.Error(err)
	}
	if _, err := d.WriteAt(want[:1<<20], 5); err != nil {
		t.Errorf("after Release: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(f.Name())
	copy(want[5:], append([]byte(nil), want[:1<<20]...))
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("the file differs, %v", err)
	}
}

func TestClosedFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	d := New(f)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := d.WriteAt(make([]byte, 1<<20), 0); err == nil {
		t.Errorf("wrote %d bytes to a closed file", n)
	}
}
