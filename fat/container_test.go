package fat

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"husk/internal/cutfile"
	"husk/vhd"
	"husk/vhdx"
)

// TestReplaceCutInContainers cuts the power after every write to the file of a virtual disk while a file on its volume is replaced. The disk
// opens afterwards, and its volume has the old file or the new one.
func TestReplaceCutInContainers(t *testing.T) {
	before, after := text(20000, 3), text(90000, 7)
	volume := otherVolume(t, 16, 16384, before)
	type container interface {
		Disk
		io.Closer
	}
	fill := func(w interface {
		io.WriterAt
		io.Closer
	}) {
		t.Helper()
		for off := 0; off < len(volume); off += 1 << 16 {
			if p := volume[off:min(off+1<<16, len(volume))]; len(bytes.Trim(p, "\x00")) > 0 {
				if _, err := w.WriteAt(p, int64(off)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		create func(f *cutfile.File)
		open   func(f *cutfile.File) (container, error)
	}{
		"VHD": {
			func(f *cutfile.File) {
				w, err := vhd.Create(f, &vhd.Options{Size: int64(len(volume))})
				if err != nil {
					t.Fatal(err)
				}
				fill(w)
			},
			func(f *cutfile.File) (container, error) { return vhd.OpenDisk(f, f.Size(), nil) },
		},
		"VHDX": {
			func(f *cutfile.File) {
				w, err := vhdx.Create(f, &vhdx.Options{Size: int64(len(volume)), BlockSize: 1 << 20})
				if err != nil {
					t.Fatal(err)
				}
				fill(w)
			},
			func(f *cutfile.File) (container, error) { return vhdx.OpenDisk(f, f.Size(), nil) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &cutfile.File{}
			tt.create(f)
			f.Sync()
			rng := rand.New(rand.NewPCG(2, 1))
			var left []*cutfile.File
			f.Hook = func() { left = append(left, f.Cut(rng), f.Cut(nil)) }
			d, err := tt.open(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := Replace(d, int64(len(volume)), storePath, after, when); err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			var seen [2]int
			for i, c := range left {
				d, err := tt.open(c)
				if err != nil {
					t.Fatalf("cut %d of %d: %v", i, len(left), err)
				}
				b := make([]byte, len(volume))
				if _, err := d.ReadAt(b, 0); err != nil {
					t.Fatalf("cut %d: %v", i, err)
				}
				switch contents(t, cutfile.New(b))[storePath] {
				case string(before):
					seen[0]++
				case string(after):
					seen[1]++
				default:
					t.Fatalf("cut %d of %d: neither the old nor the new file", i, len(left))
				}
			}
			if seen[0] == 0 || seen[1] == 0 {
				t.Errorf("%d cuts left the old file and %d the new one, want both", seen[0], seen[1])
			}
		})
	}
}
