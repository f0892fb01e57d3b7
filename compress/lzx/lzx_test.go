package lzx

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"husk/compress/internal/codectest"
)

// calls returns noise full of what the call filter takes for calls, at the edges of its ranges too.
func calls(n int) []byte {
	rnd := rand.New(rand.NewPCG(9, 10))
	edges := []int32{0, -1, callSize - 1, callSize, -callSize, 1 << 30, 5}
	var p []byte
	for len(p) < n {
		p = append(p, bytes.Repeat([]byte{callOpcode}, 1+rnd.IntN(3)/2)...)
		operand := edges[rnd.IntN(len(edges))] + int32(rnd.IntN(3)) - 1
		if rnd.IntN(2) == 0 {
			operand -= int32(len(p)%minWindow) + int32(rnd.IntN(3)) - 1
		}
		p = le.AppendUint32(p, uint32(operand))
		p = append(p, "abcdefghijklmnop"[:rnd.IntN(12)]...)
	}
	return p[:n]
}

// structured returns records of mixed small fields with repeats at a few distances.
func structured(n int) []byte {
	rnd := rand.New(rand.NewPCG(11, 12))
	var p []byte
	for i := 0; len(p) < n; i++ {
		p = le.AppendUint32(p, uint32(i*16+rnd.IntN(4)))
		p = le.AppendUint32(p, uint32(rnd.IntN(3))<<16)
		p = le.AppendUint64(p, 0x7f0000400000+uint64(rnd.IntN(64))*8)
	}
	return p[:n]
}

func samples(tb testing.TB) map[string][]byte {
	return map[string][]byte{
		"zero":       make([]byte, 3<<14),
		"text":       codectest.Text(1 << 16),
		"executable": codectest.Executable(tb, 2<<20)[1<<20:][:5<<15],
		"noise":      codectest.Noise(40000),
		"skewed":     codectest.Skewed(),
		"periodic":   bytes.Repeat(codectest.Noise(300), 220),
		"far":        bytes.Repeat(append(codectest.Noise(30000), make([]byte, 2700)...), 4),
		"run, noise": append(make([]byte, 30000), codectest.Noise(20000)...),
		"calls":      calls(1 << 16),
		"structured": structured(1 << 16),
	}
}

var levels = map[string]Level{"fast": Fast, "default": Default, "best": Best}

// codecs are the levels, with the smallest window.
func codecs() (all []codectest.Codec) {
	for _, name := range []string{"fast", "default", "best"} {
		all = append(all, codectest.Codec{
			Level:           name,
			NewCompressor:   func() codectest.Compressor { return NewCompressor(minWindow, levels[name]) },
			NewDecompressor: func() codectest.Decompressor { return NewDecompressor(minWindow) },
		})
	}
	return all
}

// roundTrip compresses one chunk, expands it with both decoders and returns the compressed size.
func roundTrip(t *testing.T, c *Compressor, plain []byte) int {
	t.Helper()
	n := codectest.RoundTrip(t, c, plain, func(size int, chunk []byte) ([]byte, error) {
		return sameAsReference(size, chunk, c.window)
	})
	if len(plain) <= 4096 {
		codectest.TooShort(t, c, plain, n)
	}
	return n
}

func TestRoundTrip(t *testing.T) {
	for levelName, level := range levels {
		c := NewCompressor(minWindow, level)
		for name, data := range samples(t) {
			t.Run(levelName+"/"+name, func(t *testing.T) {
				roundTrip(t, c, data[:4097])
				if !underRace || level == Fast {
					roundTrip(t, c, data[:minWindow-1])
					roundTrip(t, c, data[len(data)-minWindow:])
				}
			})
		}
	}
}

// TestWindows compresses chunks bigger than 32 KiB, of several segments and with offsets near the greatest.
func TestWindows(t *testing.T) {
	for _, window := range []int{1 << 16, 1 << 18, 1 << 21} {
		for levelName, level := range levels {
			if underRace && (level == Best || window > 1<<16) {
				continue
			}
			t.Run(fmt.Sprint(window, "/", levelName), func(t *testing.T) {
				c := NewCompressor(window, level)
				far := append(codectest.Noise(2000), make([]byte, window-2000)...)
				for gap := range 5 { // offsets to window-1; those above window-3 do not exist
					copy(far[window-500*(gap+1):], far[500*gap-gap+4:][:500])
				}
				roundTrip(t, c, far)
				data := samples(t)["executable"]
				roundTrip(t, c, data[:min(window, len(data))-window/minWindow%3])
			})
		}
	}
}

func TestSmall(t *testing.T) {
	for levelName, level := range levels {
		c := NewCompressor(minWindow, level)
		for name, data := range samples(t) {
			t.Run(levelName+"/"+name, func(t *testing.T) {
				for n := 0; n < 500; n += 1 + n/8 {
					size := roundTrip(t, c, data[:n])
					if name == "zero" && n > 64 && size == 0 {
						t.Fatalf("%d zero bytes were not compressed", n)
					}
				}
			})
		}
	}
}

// TestCallFilter puts call instructions at all places of a chunk's end, where the last ones are left alone.
func TestCallFilter(t *testing.T) {
	for tail := range 16 {
		plain := codectest.Text(1000)
		copy(plain[len(plain)-5-tail:], "\xe8\x10\x20\x00\x00")
		chunk := bytes.Clone(plain)
		callFilter(chunk, absolute)
		if changed := !bytes.Equal(chunk, plain); changed != (5+tail > callTail) {
			t.Errorf("call at %d bytes before the end: changed %t", 5+tail, changed)
		}
		callFilter(chunk, relative)
		if !bytes.Equal(chunk, plain) {
			t.Errorf("call at %d bytes before the end: not restored", 5+tail)
		}
	}
	for _, tt := range []struct{ i, relative, absolute int32 }{
		{100, 0, 100}, {100, -100, 0}, {100, -101, -101}, {100, callSize - 101, callSize - 1}, {100, callSize - 100, -100},
		{100, callSize - 1, -1}, {100, callSize, callSize}, {0, callSize - 1, callSize - 1}, {0, -1, -1},
	} {
		if got := absolute(tt.relative, tt.i); got != tt.absolute {
			t.Errorf("absolute(%d, %d) = %d, want %d", tt.relative, tt.i, got, tt.absolute)
		}
		if got := relative(tt.absolute, tt.i); got != tt.relative {
			t.Errorf("relative(%d, %d) = %d, want %d", tt.absolute, tt.i, got, tt.relative)
		}
	}
}

func TestSlots(t *testing.T) {
	for window, want := range map[int]int{1 << 15: 30, 1 << 16: 32, 1 << 17: 34, 1 << 18: 36, 1 << 19: 38, 1 << 20: 42, 1 << 21: 50} {
		if got := numSlots(window); got != want {
			t.Errorf("numSlots(%d) = %d, want %d", window, got, want)
		}
	}
	for s := repeatSlots; s < maxSlots; s++ {
		first := slots[s].base
		last := first + 1<<slots[s].extra - 1
		if slotOf(first+repeatOffset) != uint32(s) || slotOf(last+repeatOffset) != uint32(s) {
			t.Errorf("slot %d has the offsets %d to %d, but slotOf says %d and %d", s, first, last,
				slotOf(first+repeatOffset), slotOf(last+repeatOffset))
		}
	}
}

func TestNoise(t *testing.T) { codectest.TestNoise(t, codecs(), minWindow) }

func TestDeterministic(t *testing.T) {
	samples := map[string][]byte{"text": codectest.Text(5000), "structured": structured(3000)}
	codectest.TestDeterministic(t, codecs(), samples, 5000, 2000)
}

func TestNoAllocation(t *testing.T) {
	codectest.TestNoAllocation(t, codecs(), codectest.Executable(t, 1<<20)[1<<20-minWindow:])
}

// TestDamaged expands truncated and bit-flipped chunks.
func TestDamaged(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	c := NewCompressor(minWindow, Default)
	for name, data := range samples(t) {
		plain := data[:2048]
		buf := make([]byte, len(plain))
		chunk := buf[:c.Compress(buf, plain)]
		if len(chunk) == 0 {
			continue
		}
		for n := 0; n < len(chunk); n += 1 + rnd.IntN(80) {
			if got, err := sameAsReference(len(plain), chunk[:n], minWindow); err != nil || got != nil && n < len(chunk)-1 {
				t.Fatalf("%s: cut at %d of %d bytes: accepted %t, %v", name, n, len(chunk), got != nil, err)
			}
		}
		for range 30 {
			bad := bytes.Clone(chunk)
			for range 1 + rnd.IntN(3) {
				bad[rnd.IntN(len(bad))] ^= 1 << rnd.IntN(8)
			}
			for _, size := range []int{len(plain), 1 + rnd.IntN(2*len(plain))} {
				if _, err := sameAsReference(size, bad, minWindow); err != nil {
					t.Fatalf("%s: bits flipped, %d bytes: %v", name, size, err)
				}
			}
		}
	}
}

// bitString turns bits into a chunk: 0 and 1, or v:n for the number v in n bits. Bytes after a | are as they are, in hex,
// from the next unit on.
func bitString(tb testing.TB, s string) []byte {
	tb.Helper()
	w := bitWriter{buf: make([]byte, 4096)}
	s, raw, isRaw := strings.Cut(s, "|")
	for _, field := range strings.Fields(s) {
		v, n := uint64(0), len(field)
		if _, err := fmt.Sscanf(field, "%d:%d", &v, &n); err != nil {
			if _, err := fmt.Sscanf(field, "%b", &v); err != nil {
				tb.Fatalf("field %q: %v", field, err)
			}
		}
		for ; n > 32; n -= 32 {
			w.put(0, 32)
		}
		w.put(v, n)
	}
	chunk := w.buf[:w.finish()]
	if isRaw {
		if w.n == 0 {
			chunk = append(chunk, 0, 0)
		}
		tail, err := hex.DecodeString(strings.ReplaceAll(raw, " ", ""))
		if err != nil {
			tb.Fatal(err)
		}
		chunk = append(chunk, tail...)
	}
	return chunk
}

// Parts of chunks for bitString.
const (
	verbatim4 = "001 0 4:16 "

	// A precode of two codewords: 0 is presymbol 0, 1 is presymbol 18. Below it 0 is presymbol 16, for length 1.
	pre0and18 = "1:4 0:68 1:4 0:4 "
	pre16and1 = "0:64 1:4 0:4 1:4 0:4 "

	zeros51 = "1 31:5 " // with either

	// Literals of one bit each, NUL and 0xff: 1, 254 zeros, 1.
	twoLiterals = pre16and1 + "0 " + zeros51 + zeros51 + zeros51 + zeros51 + "1 30:5 " + "0 "
	noLiterals  = pre0and18 + zeros51 + zeros51 + zeros51 + zeros51 + zeros51 + "0 "
	noMatches   = pre0and18 + zeros51 + zeros51 + zeros51 + zeros51 + "1 16:5 "
	noLengths   = pre0and18 + zeros51 + zeros51 + zeros51 + zeros51 + zeros45
	zeros45     = "1 25:5 "
)

func TestHandMade(t *testing.T) {
	for _, tt := range []struct {
		name, bits string
		want       string // plain bytes
		err        string // or part of the error
	}{
		{"literals", verbatim4 + twoLiterals + noMatches + noLengths + "0 1 1 0", "\x00\xff\xff\x00", ""},
		{"two blocks, lengths kept", "001 0 2:16 " + twoLiterals + noMatches + noLengths + "0 1 001 0 2:16 " +
			// All is the same: 256 times presymbol 0.
			pre0and18 + "0:256 " + noMatches + noLengths + "1 0", "\x00\xff\xff\x00", ""},
		{"uncompressed", "011 0 4:16|01000000 02000000 03000000 61626364", "abcd", ""},
		{"uncompressed, odd, then literals", "011 0 1:16|01000000 01000000 01000000 61 00" + hexOf(t, "001 0 3:16 "+twoLiterals+
			noMatches+noLengths+"0 1 1"), "a\x00\xff\xff", ""},
		{"uncompressed, odd, no padding", "011 0 3:16|01000000 02000000 03000000 616263", "abc", ""},
		{"uncompressed, latest offset 0", "011 0 4:16|01000000 00000000 03000000 61626364", "", "latest offset 1 is 0"},
		{"uncompressed, short", "011 0 4:16|01000000 01000000 03000000 616263", "", "19 bytes end"},
		{"no bits", "", "", "0 bytes end"},
		{"type 0", "000 0 4:16", "", "type 0"},
		{"type 4", "100 0 4:16", "", "type 4"},
		{"size 0", "001 0 0:16", "", "size 0"},
		{"too big", "001 1 0:16", "", "size 32768, want 1 to 4"},
		{"empty precode", verbatim4 + "0:80", "", "precode is empty"},
		{"lone precode", verbatim4 + "1:4 0:76", "", "precode: lengths fill 32768/65536"},
		{"crowded precode", verbatim4 + "1:4 1:4 1:4 0:68", "", "precode: lengths fill 98304/65536"},
		{"run too long", verbatim4 + pre0and18 + strings.Repeat(zeros51, 6), "", "run of 51 code lengths at 255 of 256"},
		{"empty main code", verbatim4 + noLiterals + noMatches + noLengths + "0", "", "main code is empty"},
		{"crowded aligned code", "010 0 4:16 1:3 1:3 1:3 0:15", "", "aligned code: lengths fill 98304/65536"},
		{"codes end", verbatim4 + twoLiterals, "", "bytes end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chunk := bitString(t, tt.bits)
			size := 4
			if tt.want != "" {
				size = len(tt.want)
			}
			got := make([]byte, size)
			err := Decompress(got, chunk, minWindow)
			if tt.err != "" {
				if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("Decompress = %v, want an ErrCorrupt with %q", err, tt.err)
				}
			} else if err != nil || string(got) != tt.want {
				t.Errorf("Decompress = %q, %v, want %q", got, err, tt.want)
			}
			if _, err := sameAsReference(size, chunk, minWindow); err != nil {
				t.Error(err)
			}
		})
	}
}

func hexOf(tb testing.TB, bits string) string { return hex.EncodeToString(bitString(tb, bits)) }

func TestBadWindow(t *testing.T) {
	for _, window := range []int{0, -1, 1 << 14, 1<<15 + 1, 1 << 22} {
		if err := Decompress(make([]byte, 1), nil, window); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "window") {
			t.Errorf("window %d: %v, want an ErrCorrupt", window, err)
		}
	}
	if err := Decompress(make([]byte, 1<<15+1), nil, 1<<15); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a chunk greater than the window: %v, want an ErrCorrupt", err)
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(uint16(4), bitString(f, verbatim4+twoLiterals+noMatches+noLengths+"0 1 1 0"))
	f.Add(uint16(4), bitString(f, "011 0 4:16|01000000 02000000 03000000 61626364"))
	c := NewCompressor(minWindow, Default)
	for _, data := range [][]byte{make([]byte, 4096), codectest.Text(4096), calls(3000), codectest.Executable(f, 1<<20)[1<<20-9000:]} {
		buf := make([]byte, len(data))
		f.Add(uint16(len(data)), buf[:c.Compress(buf, data)])
	}
	c = NewCompressor(minWindow, Fast)
	f.Fuzz(func(t *testing.T, size uint16, chunk []byte) {
		for _, window := range []int{minWindow, 4 * minWindow} {
			got, err := sameAsReference(min(int(size), window), chunk, window)
			if err != nil {
				t.Fatal(err)
			}
			if got != nil && window == minWindow {
				roundTrip(t, c, got)
			}
		}
	})
}

func FuzzCompress(f *testing.F) {
	f.Add([]byte{}, uint16(0), byte(1))
	f.Add(codectest.Text(600), uint16(3), byte(2))
	f.Add(codectest.Skewed()[:2000], uint16(1), byte(3))
	f.Add(calls(500), uint16(40), byte(2))
	var compressors [Best + 1]*Compressor
	for _, level := range levels {
		compressors[level] = NewCompressor(2*minWindow, level)
	}
	f.Fuzz(func(t *testing.T, data []byte, repeat uint16, level byte) {
		plain := bytes.Repeat(data, 1+int(repeat)%(1+4096/max(1, len(data))))
		roundTrip(t, compressors[Fast+Level(level)%3], plain[:min(len(plain), 4096)])
	})
}

func BenchmarkCompress(b *testing.B) { codectest.BenchmarkCompress(b, codecs(), minWindow) }

func BenchmarkDecompress(b *testing.B) { codectest.BenchmarkDecompress(b, codecs()[1], minWindow) }
