package vhd

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// benchSize is a disk of which every other block has data.
const benchSize = 64 << 20

func noise(n int) []byte {
	rng := rand.New(rand.NewPCG(5, 6))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

func fillHalf(b *testing.B, w *Writer, p []byte) {
	empty := make([]byte, len(p))
	for off := int64(0); off < benchSize; off += int64(len(p)) {
		part := p
		if off>>21%2 == 1 {
			part = empty
		}
		if _, err := w.WriteAt(part, off); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWriter(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "x.vhd"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for name, chunk := range map[string]int{"4K": 4 << 10, "1M": 1 << 20} {
		p := noise(chunk)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				fillHalf(b, create(b, f, &Options{Size: benchSize}), p)
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	name := filepath.Join(b.TempDir(), "x.vhd")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	fillHalf(b, create(b, f, &Options{Size: benchSize}), noise(1<<20))
	f.Close()
	d, err := Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	for name, chunk := range map[string]int{"4K": 4 << 10, "1M": 1 << 20} {
		p := make([]byte, chunk)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				for off := int64(0); off < benchSize; off += int64(chunk) {
					if _, err := d.ReadAt(p, off); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
