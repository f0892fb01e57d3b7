package lzms

import (
	"bytes"
	"fmt"
	"testing"

	"husk/compress/internal/codectest"
)

func codecs() (list []codectest.Codec) {
	for level, name := range map[Level]string{Fast: "fast", Default: "default", Best: "best"} {
		if underRace && level != Default {
			continue
		}
		list = append(list, codectest.Codec{
			Level:           name,
			NewCompressor:   func() codectest.Compressor { return NewCompressor(1<<22, level) },
			NewDecompressor: func() codectest.Decompressor { return new(Decompressor) },
		})
	}
	return list
}

func expand(size int, chunk []byte) ([]byte, error) {
	plain := make([]byte, size)
	return plain, Decompress(plain, chunk)
}

func TestRoundTrip(t *testing.T) {
	for _, codec := range codecs() {
		c := codec.NewCompressor()
		for name, data := range samples(t) {
			for _, n := range []int{1, 63, 64, 65, 1000, 1 << 15, len(data)} {
				n = min(n, len(data))
				t.Run(fmt.Sprint(codec.Level, "/", name, "/", n), func(t *testing.T) {
					size := codectest.RoundTrip(t, c, data[:n], expand)
					codectest.TooShort(t, c, data[:n], size)
					if n >= 1<<15 && (size == 0 || size > n*19/20) && name != "calls" {
						t.Errorf("%d bytes become %d", n, size)
					}
				})
			}
		}
	}
}

func TestNoise(t *testing.T) { codectest.TestNoise(t, codecs(), 1<<17) }

func TestDeterministic(t *testing.T) {
	codectest.TestDeterministic(t, codecs(), samples(t), 1, 1000, 1<<16, 1<<18)
}

func TestSlotLookups(t *testing.T) {
	fillLookups()
	for i, s := range offsetSlots {
		for _, offset := range []uint32{s.base, s.base + 1<<s.extra - 1} {
			if got := offsetSlot(offset); int(got) != i {
				t.Errorf("slot of offset %d is %d, want %d", offset, got, i)
			}
		}
	}
	for i, s := range matchLengthSlots {
		for _, n := range []uint32{s.base, s.base + 1<<s.extra - 1} {
			if got := lengthSlotOf(n); int(got) != i {
				t.Errorf("slot of length %d is %d, want %d", n, got, i)
			}
		}
	}
}

func FuzzCompress(f *testing.F) {
	f.Add([]byte("abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc"), 1)
	f.Add(bytes.Repeat([]byte{0xe8, 1, 2, 0, 0, 0x48, 0x8d, 5, 0xff, 0x15}, 50), 2)
	f.Add(append(codectest.Text(3000), make([]byte, 500)...), 3)
	var byLevel [3]*Compressor
	for i := range byLevel {
		byLevel[i] = NewCompressor(1<<20, Level(i+1))
	}
	f.Fuzz(func(t *testing.T, plain []byte, level int) {
		c := byLevel[uint(level)%3]
		plain = plain[:min(len(plain), 1<<20)]
		codectest.TooShort(t, c, plain, codectest.RoundTrip(t, c, plain, expand))
	})
}

func BenchmarkCompress(b *testing.B) { codectest.BenchmarkCompress(b, codecs(), 1<<20) }
