package lzms

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"husk/compress/internal/codectest"
)

func samples(t testing.TB) map[string][]byte {
	size := 1 << 20
	if underRace {
		size >>= 3
	}
	pcm := make([]byte, size/4) // what delta matches are for
	v := int16(0)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i+2 <= len(pcm); i += 2 {
		v += int16(i / 2 % 7)
		if r.IntN(200) == 0 {
			v += int16(r.IntN(100))
		}
		le.PutUint16(pcm[i:], uint16(v))
	}
	calls := codectest.Noise(size / 4)
	for i := range calls {
		if i%3 == 0 {
			calls[i] = []byte{0xe8, 0x48, 0x8d, 0x05, 0xff, 0x15, 0xf0, 0x83, 0xe9, 0x4c, 0x8b, 0}[i/3%12]
		}
	}
	calls = append(calls, calls[:size/8]...)
	return map[string][]byte{
		"text": codectest.Text(size / 2), "dll": codectest.Executable(t, size), "zeros": make([]byte, size), "pcm": pcm, "calls": calls,
		"tiny": []byte("aaaaaaaaaaaaaaaaaaaaaaaa"), "small": codectest.Text(1000),
	}
}

func TestWimlib(t *testing.T) {
	var wims []codectest.Wimlib
	for i, size := range []int{1 << 15, 1 << 17, 1 << 20, 1 << 26} {
		if underRace && i != 1 {
			continue
		}
		c := NewCompressor(size, []Level{Fast, Default, Best, Default}[i])
		wims = append(wims, codectest.Wimlib{Compress: "LZMS:50", ChunkSize: size, Compressor: c, Decompressor: new(Decompressor)})
	}
	codectest.TestWimlib(t, samples(t), wims)
}

// The numbers of slots are known from chunk sizes (wimlib, lzms_common.c).
func TestSlots(t *testing.T) {
	if n := len(offsetSlots); n != maxSlots {
		t.Fatalf("%d offset slots, want %d", n, maxSlots)
	}
	if s := offsetSlots[maxSlots-1]; s != (slot{0x065be4a5, 30}) {
		t.Errorf("last slot %#x, %d bits", s.base, s.extra)
	}
	if s := matchLengthSlots[lengthSlots-1]; len(matchLengthSlots) != lengthSlots || s != (slot{0x108ab, 30}) {
		t.Errorf("last of %d length slots %#x, %d bits", len(matchLengthSlots), s.base, s.extra)
	}
	for size, want := range map[int]int{
		0: 0, 1: 0, 2: 1, 32 << 10: 142, 64 << 10: 171, 128 << 10: 203, 256 << 10: 237, 1 << 20: 317, 4 << 20: 430, 16 << 20: 565,
		32 << 20: 643, 64 << 20: 729, 128 << 20: 799, 1 << 30: 799,
	} {
		if got := numOffsetSlots(size); got != want {
			t.Errorf("%d offset slots for %d bytes, want %d", got, size, want)
		}
	}
}

func TestFilterRoundTrip(t *testing.T) {
	var f x86Filter
	for name, p := range samples(t) {
		for _, n := range []int{0, 1, 17, 18, 19, 40, 1000, 1 << 17, len(p)} {
			n = min(n, len(p))
			q := bytes.Clone(p[:n])
			f.apply(q, true)
			if n >= 1<<17 && (name == "dll" || name == "calls") && bytes.Equal(q, p[:n]) {
				t.Errorf("%s, %d bytes: nothing was changed", name, n)
			}
			f.apply(q, false)
			if !bytes.Equal(q, p[:n]) {
				t.Errorf("%s: %d bytes do not come back", name, n)
			}
		}
	}
}

func TestDecompressRefuses(t *testing.T) {
	dst := make([]byte, 100)
	for _, src := range [][]byte{nil, {1, 2}, {1, 2, 3}, {1, 2, 3, 4, 5}, bytes.Repeat([]byte{0xff}, 4), bytes.Repeat([]byte{0}, 4)} {
		if err := Decompress(dst, src); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%x: %v, want ErrCorrupt", src, err)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(100, []byte("1234567890123456"))
	f.Add(0, []byte{0, 0, 0, 0})
	f.Add(70000, bytes.Repeat([]byte{0xff, 0x80, 0x12}, 40))
	var d Decompressor
	f.Fuzz(func(t *testing.T, size int, src []byte) {
		dst := make([]byte, uint(size)%(1<<18))
		if err := d.Decompress(dst, src); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again := make([]byte, len(dst))
		if err := Decompress(again, src); err != nil || !bytes.Equal(dst, again) {
			t.Fatalf("the result depends on earlier chunks: %v", err)
		}
	})
}
