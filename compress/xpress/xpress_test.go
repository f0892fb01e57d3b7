package xpress

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"husk/compress/internal/codectest"
)

var levels = map[string]Level{"fast": Fast, "default": Default, "best": Best}

// The two examples of [MS-XCA] 3.2.
var vectors = []struct {
	name   string
	plain  string
	lens   map[int]byte // byte of the code lengths: value
	stream string
}{
	{
		name:  "alphabet",
		plain: "abcdefghijklmnopqrstuvwxyz",
		lens: map[int]byte{48: 0x50, 49: 0x55, 50: 0x55, 51: 0x55, 52: 0x55, 53: 0x55, 54: 0x55, 55: 0x55, 56: 0x55,
			57: 0x55, 58: 0x55, 59: 0x45, 60: 0x44, 61: 0x04, 128: 0x04},
		stream: "\xd8\x52\x3e\xd7\x94\x11\x5b\xe9\x19\x5f\xf9\xd6\x7c\xdf\x8d\x04\x00\x00\x00\x00",
	},
	{
		name:   "run of abc",
		plain:  strings.Repeat("abc", 100),
		lens:   map[int]byte{48: 0x30, 49: 0x23, 128: 0x02, 143: 0x20},
		stream: "\xa8\xdc\x00\x00\xff\x26\x01",
	},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			chunk := make([]byte, 256)
			for i, b := range v.lens {
				chunk[i] = b
			}
			chunk = append(chunk, v.stream...)
			got := make([]byte, len(v.plain))
			if err := Decompress(got, chunk); err != nil || string(got) != v.plain {
				t.Errorf("Decompress = %q, %v, want %q", got, err, v.plain)
			}
			if got, err := reference(len(v.plain), chunk); err != nil || string(got) != v.plain {
				t.Errorf("reference = %q, %v, want %q", got, err, v.plain)
			}
		})
	}
}

func samples(tb testing.TB) map[string][]byte {
	return map[string][]byte{
		"zero":       make([]byte, maxChunk+maxChunk/2),
		"text":       codectest.Text(2 * maxChunk),
		"executable": codectest.Executable(tb, 200000),
		"noise":      codectest.Noise(2 * maxChunk),
		"skewed":     codectest.Skewed(),
		"periodic":   bytes.Repeat(codectest.Noise(300), 440),
		"far":        bytes.Repeat(append(codectest.Noise(30000), make([]byte, 2700)...), 4),
		"run, noise": append(make([]byte, 40000), codectest.Noise(90000)...),
	}
}

func codecs() (all []codectest.Codec) {
	for _, name := range []string{"fast", "default", "best"} {
		all = append(all, codectest.Codec{
			Level:           name,
			NewCompressor:   func() codectest.Compressor { return NewCompressor(levels[name]) },
			NewDecompressor: func() codectest.Decompressor { return new(Decompressor) },
		})
	}
	return all
}

// roundTrip compresses one chunk, expands it with both decoders and returns the compressed size.
func roundTrip(t *testing.T, c *Compressor, plain []byte) int {
	t.Helper()
	n := codectest.RoundTrip(t, c, plain, func(size int, chunk []byte) ([]byte, error) {
		got := make([]byte, size)
		if err := Decompress(got, chunk); err != nil {
			return nil, err
		}
		if want, err := reference(size, chunk); err != nil || !bytes.Equal(got, want) {
			return nil, fmt.Errorf("reference decoder: %v, equal %t", err, bytes.Equal(got, want))
		}
		return got, nil
	})
	codectest.TooShort(t, c, plain, n)
	return n
}

func TestRoundTrip(t *testing.T) {
	for levelName, level := range levels {
		c := NewCompressor(level)
		for name, data := range samples(t) {
			for size := 4096; size <= maxChunk; size *= 2 {
				t.Run(fmt.Sprint(levelName, "/", name, "/", size), func(t *testing.T) {
					for _, n := range []int{size - 1, size, size + 1} {
						if level == Best && n > 8192 && n != size {
							continue // slow under the race detector
						}
						if n <= min(len(data), maxChunk) {
							roundTrip(t, c, data[:n])
						}
					}
					for i := size; i < len(data); i += 9 * size {
						roundTrip(t, c, data[i:min(i+size, len(data))])
					}
				})
			}
		}
	}
}

func TestSmall(t *testing.T) {
	for levelName, level := range levels {
		c := NewCompressor(level)
		for name, data := range samples(t) {
			t.Run(levelName+"/"+name, func(t *testing.T) {
				for n := 0; n < 700; n += 1 + n/40 {
					size := roundTrip(t, c, data[:n])
					if name == "zero" && n > 264+1 && size == 0 {
						t.Fatalf("%d zero bytes were not compressed", n)
					}
				}
			})
		}
	}
}

func TestNoise(t *testing.T) { codectest.TestNoise(t, codecs(), maxChunk) }

func TestDeterministic(t *testing.T) {
	codectest.TestDeterministic(t, codecs(), samples(t), 32768, 4096, 5000)
}

func TestNoAllocation(t *testing.T) {
	codectest.TestNoAllocation(t, codecs(), codectest.Executable(t, maxChunk))
}

// TestDamaged expands truncated and bit-flipped chunks. The reference decoder is stricter, so what it accepts must be
// accepted and equal; all else must only not panic, and must wrap ErrCorrupt.
func TestDamaged(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	c := NewCompressor(Default)
	for name, data := range samples(t) {
		plain := data[:4096]
		buf := make([]byte, len(plain))
		chunk := buf[:c.Compress(buf, plain)]
		if len(chunk) == 0 {
			continue
		}
		check := func(what string, size int, chunk []byte) {
			got := make([]byte, size)
			err := Decompress(got, chunk)
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s, %s: error %v, want ErrCorrupt", name, what, err)
			}
			if want, refErr := reference(size, chunk); refErr == nil && (err != nil || !bytes.Equal(got, want)) {
				t.Fatalf("%s, %s: error %v, but the reference decoder accepts it", name, what, err)
			}
		}
		for n := 0; n < len(chunk); n += 1 + rnd.IntN(20) {
			check(fmt.Sprint("cut at ", n), len(plain), chunk[:n])
			if err := Decompress(make([]byte, len(plain)), chunk[:n]); err == nil && n < len(chunk)-6 {
				t.Fatalf("%s: accepted %d of %d bytes", name, n, len(chunk))
			}
		}
		for range 100 {
			bad := bytes.Clone(chunk)
			for range 1 + rnd.IntN(3) {
				bad[rnd.IntN(len(bad))] ^= 1 << rnd.IntN(8)
			}
			check("bits flipped", len(plain), bad)
			check("bits flipped, other size", 1+rnd.IntN(2*len(plain)), bad)
		}
	}
}

func TestErrors(t *testing.T) {
	valid := func() []byte { // codewords: 'a' 1 bit, 288 (offset 4, length 3) 2 bits, 256 (offset 1, length 3) 2 bits
		chunk := make([]byte, 256+16)
		chunk['a'/2] = 1 << 4
		chunk[256/2], chunk[288/2] = 2, 2
		return chunk
	}
	tests := []struct {
		name  string
		size  int
		chunk func() []byte
		want  string
	}{
		{"too big", maxChunk + 1, valid, "65537 plain bytes"},
		{"no table", 1, func() []byte { return make([]byte, 255) }, "255 bytes"},
		{"empty code", 1, func() []byte { return make([]byte, 300) }, "fill 0/32768"},
		{"lone codeword", 1, func() []byte { c := valid(); c[128], c[144] = 0, 0; return c }, "fill 16384/32768"},
		{"too many codewords", 1, func() []byte { c := valid(); c[0] = 1; return c }, "fill 49152/32768"},
		{"match before the start", 8, func() []byte { c := valid(); c[257] = 0x60; return c }, "match offset 4 at output byte 1"},
		{"match past the end", 3, func() []byte { c := valid(); c[257] = 0x40; return c }, "match of 3 bytes at output byte 1 of 3"},
		{"no bits", 1, func() []byte { return valid()[:256] }, "end at output byte 0"},
		{"one odd byte", 1, func() []byte { return valid()[:257] }, "end at output byte 0"},
		{"bits end", 17, func() []byte { return valid()[:258] }, "end at output byte 16"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Decompress(make([]byte, tt.size), tt.chunk())
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Decompress = %v, want an ErrCorrupt with %q", err, tt.want)
			}
		})
	}
}

func FuzzDecompress(f *testing.F) {
	for _, v := range vectors {
		chunk := make([]byte, 256)
		for i, b := range v.lens {
			chunk[i] = b
		}
		f.Add(uint16(len(v.plain)), append(chunk, v.stream...))
	}
	c := NewCompressor(Default)
	for _, data := range [][]byte{make([]byte, 4096), codectest.Text(4096), codectest.Skewed()[:4096]} {
		buf := make([]byte, len(data))
		f.Add(uint16(len(data)), buf[:c.Compress(buf, data)])
	}
	var compressors []*Compressor
	for _, level := range levels {
		compressors = append(compressors, NewCompressor(level))
	}
	f.Fuzz(func(t *testing.T, size uint16, chunk []byte) {
		got := make([]byte, size)
		err := Decompress(got, chunk)
		want, refErr := reference(int(size), chunk)
		if refErr == nil && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("Decompress: %v, but the reference decoder accepts it", err)
		}
		if err == nil {
			for _, c := range compressors {
				roundTrip(t, c, got)
			}
		}
	})
}

func FuzzCompress(f *testing.F) {
	f.Add([]byte{}, uint16(0), byte(1))
	f.Add(codectest.Text(600), uint16(3), byte(2))
	f.Add(codectest.Skewed()[:2000], uint16(1), byte(3))
	f.Add(codectest.Noise(100), uint16(40), byte(2))
	var compressors [Best + 1]*Compressor
	for _, level := range levels {
		compressors[level] = NewCompressor(level)
	}
	f.Fuzz(func(t *testing.T, data []byte, repeat uint16, level byte) {
		plain := bytes.Repeat(data, 1+int(repeat)%(1+8192/max(1, len(data))))
		roundTrip(t, compressors[Fast+Level(level)%3], plain[:min(len(plain), maxChunk)])
	})
}

func BenchmarkCompress(b *testing.B) { codectest.BenchmarkCompress(b, codecs(), 4096, 32768) }

func BenchmarkDecompress(b *testing.B) { codectest.BenchmarkDecompress(b, codecs()[1], 4096, 32768) }
