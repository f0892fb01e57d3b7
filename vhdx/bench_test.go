package vhdx

import (
	"os"
	"path/filepath"
	"testing"
)

// benchSize is a disk of which every other MiB has data.
const benchSize = 64 << 20

func benchFile(b *testing.B) *os.File {
	f, err := os.Create(filepath.Join(b.TempDir(), "x.vhdx"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return f
}

func fillHalf(b *testing.B, f *os.File, chunk int) {
	w, err := Create(f, &Options{Size: benchSize, BlockSize: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	data, empty := sparseModel(chunk), make([]byte, chunk)
	for i := range data {
		data[i] = byte(i*i>>3) | 1
	}
	for off := int64(0); off < benchSize; off += int64(chunk) {
		p := data
		if off>>20%2 == 1 {
			p = empty
		}
		if _, err := w.WriteAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

var chunks = map[string]int{"4K": 4 << 10, "1M": 1 << 20}

func BenchmarkWriter(b *testing.B) {
	f := benchFile(b)
	for name, chunk := range chunks {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				fillHalf(b, f, chunk)
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	f := benchFile(b)
	fillHalf(b, f, 1<<20)
	d, err := Open(f.Name(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	for name, chunk := range chunks {
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

// BenchmarkDisk changes 4 KiB here and there in blocks that are in the file.
func BenchmarkDisk(b *testing.B) {
	f := benchFile(b)
	fillHalf(b, f, 1<<20)
	st, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	d, err := OpenDisk(f, st.Size(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	p := make([]byte, 4096)
	b.SetBytes(4096)
	for i := 0; b.Loop(); i++ {
		if _, err := d.WriteAt(p, int64(i%16*2<<20+i%256*4096)); err != nil {
			b.Fatal(err)
		}
	}
}
