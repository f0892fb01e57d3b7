package codectest

import (
	"bytes"
	"fmt"
	"testing"
)

// A Compressor compresses a chunk into dst and returns the number of bytes, or 0 if it cannot make the chunk smaller or
// dst is too short.
type Compressor interface {
	Compress(dst, src []byte) int
}

// A Decompressor expands a chunk that becomes all of dst.
type Decompressor interface {
	Decompress(dst, src []byte) error
}

// A Codec is a codec at one of its levels.
type Codec struct {
	Level           string
	NewCompressor   func() Compressor
	NewDecompressor func() Decompressor
}

// RoundTrip compresses a chunk, checks that nothing is written after it and that expand, which is given the plain size,
// restores it. It returns the compressed size, or 0.
func RoundTrip(t *testing.T, c Compressor, plain []byte, expand func(size int, chunk []byte) ([]byte, error)) int {
	t.Helper()
	buf := bytes.Repeat([]byte{0xee}, len(plain)+8)
	n := c.Compress(buf, plain)
	if n == 0 {
		return 0
	}
	if n >= len(plain) {
		t.Fatalf("Compress of %d bytes = %d, want less", len(plain), n)
	}
	for i, b := range buf[n:] {
		if b != 0xee {
			t.Fatalf("Compress = %d wrote byte %d", n, n+i)
		}
	}
	got, err := expand(len(plain), buf[:n])
	if err != nil {
		t.Fatalf("our %d bytes: %v", n, err)
	}
	if !bytes.Equal(got, plain) {
		t.Fatalf("our %d bytes do not become the plain %d", n, len(plain))
	}
	return n
}

// TooShort checks that a chunk that RoundTrip made n bytes of is not compressed into one less.
func TooShort(t *testing.T, c Compressor, plain []byte, n int) {
	t.Helper()
	if n == 0 {
		return
	}
	if m := c.Compress(make([]byte, n-1), plain); m != 0 {
		t.Fatalf("Compress into %d bytes = %d, want 0", n-1, m)
	}
}

// TestNoise checks that a chunk of noise is not compressed.
func TestNoise(t *testing.T, codecs []Codec, size int) {
	for _, codec := range codecs {
		buf := make([]byte, size)
		if n := codec.NewCompressor().Compress(buf, Noise(size)); n != 0 {
			t.Errorf("%s: noise compressed to %d bytes, want 0", codec.Level, n)
		}
	}
}

// TestDeterministic compresses the first bytes of samples, sizes of them, with a fresh Compressor and one that has seen
// other chunks.
func TestDeterministic(t *testing.T, codecs []Codec, samples map[string][]byte, sizes ...int) {
	for _, codec := range codecs {
		used := codec.NewCompressor()
		for sample, data := range samples {
			for _, n := range sizes {
				n = min(n, len(data))
				plain := data[:n]
				a, b := make([]byte, n), make([]byte, n)
				a, b = a[:codec.NewCompressor().Compress(a, plain)], b[:used.Compress(b, plain)]
				if !bytes.Equal(a, b) {
					t.Errorf("%s, %s, %d bytes: the result depends on earlier chunks", codec.Level, sample, n)
				}
			}
		}
	}
}

// TestNoAllocation compresses and expands a chunk.
func TestNoAllocation(t *testing.T, codecs []Codec, plain []byte) {
	for _, codec := range codecs {
		c, d := codec.NewCompressor(), codec.NewDecompressor()
		buf, got := make([]byte, len(plain)), make([]byte, len(plain))
		if n := testing.AllocsPerRun(1, func() {
			if err := d.Decompress(got, buf[:c.Compress(buf, plain)]); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations per chunk, want 0", codec.Level, n)
		}
	}
}

func benchmarkData(b *testing.B) map[string][]byte {
	return map[string][]byte{"text": Text(1 << 20), "dll": Executable(b, 2<<20)[1<<20:], "noise": Noise(1 << 20)}
}

// BenchmarkCompress compresses 1 MiB in chunks of each size and reports the compressed size too.
func BenchmarkCompress(b *testing.B, codecs []Codec, sizes ...int) {
	for _, codec := range codecs {
		for name, data := range benchmarkData(b) {
			for _, size := range sizes {
				b.Run(fmt.Sprint(codec.Level, "/", name, "/", size), func(b *testing.B) {
					c := codec.NewCompressor()
					buf := make([]byte, size)
					b.SetBytes(int64(len(data)))
					total := 0
					for b.Loop() {
						total = 0
						for i := 0; i < len(data); i += size {
							n := c.Compress(buf, data[i:i+size])
							if n == 0 {
								n = size
							}
							total += n
						}
					}
					b.ReportMetric(100*float64(total)/float64(len(data)), "%size")
				})
			}
		}
	}
}

// BenchmarkDecompress expands what the codec made of 1 MiB in chunks of each size.
func BenchmarkDecompress(b *testing.B, codec Codec, sizes ...int) {
	for name, data := range benchmarkData(b) {
		for _, size := range sizes {
			c := codec.NewCompressor()
			var chunks [][]byte
			for i := 0; i < len(data); i += size {
				buf := make([]byte, size)
				if n := c.Compress(buf, data[i:i+size]); n != 0 {
					chunks = append(chunks, buf[:n])
				}
			}
			if len(chunks) == 0 {
				continue
			}
			b.Run(fmt.Sprint(name, "/", size), func(b *testing.B) {
				d := codec.NewDecompressor()
				out := make([]byte, size)
				b.SetBytes(int64(len(chunks) * size))
				for b.Loop() {
					for _, chunk := range chunks {
						if err := d.Decompress(out, chunk); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
