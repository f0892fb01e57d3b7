package lzx

import (
	"fmt"

	"husk/compress/internal/lzhuff"
)

// A bitReader reads the units of a chunk. The next bits stand at the top of acc; n of them count, whatever is below was
// ORed in early and is the same when ORed in again. n is below 0 once more was taken than src has: it stays so, as then
// nothing is left to refill from, and is checked now and then.
type bitReader struct {
	src []byte
	pos int // of the next unit
	acc uint64
	n   int
}

// refill makes n at least 48, unless src ends.
func (r *bitReader) refill() {
	if len(r.src)-r.pos >= 8 {
		r.acc |= lzhuff.SwapUnits(le.Uint64(r.src[r.pos:])) >> (r.n & 63)
		units := (63 - r.n) >> 4
		r.pos += 2 * units
		r.n += 16 * units
		return
	}
	r.acc, r.n, r.pos = refillSlowly(r.src, r.acc, r.n, r.pos)
}

func refillSlowly(src []byte, acc uint64, n, pos int) (uint64, int, int) {
	for n <= 48 && len(src)-pos >= 2 {
		acc |= uint64(le.Uint16(src[pos:])) << (48 - n)
		pos += 2
		n += 16
	}
	return acc, n, pos
}

// take returns the next k bits, 1 to 24.
func (r *bitReader) take(k int) int {
	v := int(r.acc >> (64 - k))
	r.acc <<= k
	r.n -= k
	return v
}

// symbol returns the next symbol of a code made of lzhuff.PlainEntries.
func (r *bitReader) symbol(t *lzhuff.DecodeTable) int {
	e := t.LookUp(r.acc)
	r.acc <<= e & 31
	r.n -= int(e & 31)
	return int(e >> 8)
}

// raw reads the rest of an uncompressed block.
func (r *bitReader) raw(dst []byte, recent *[repeatSlots]uint32) error {
	drop := r.n & 15
	if drop == 0 {
		drop = 16
	}
	r.refill()
	if r.n < drop {
		return r.endsEarly()
	}
	r.pos -= (r.n - drop) / 8
	r.acc, r.n = 0, 0
	if len(r.src)-r.pos < 4*repeatSlots+len(dst) {
		return r.endsEarly()
	}
	for i := range recent {
		recent[i] = le.Uint32(r.src[r.pos:])
		if recent[i] == 0 {
			return fmt.Errorf("latest offset %d is 0", i)
		}
		r.pos += 4
	}
	r.pos += copy(dst, r.src[r.pos:])
	if len(dst)%2 != 0 && r.pos < len(r.src) {
		r.pos++
	}
	return nil
}

func (r *bitReader) endsEarly() error {
	return fmt.Errorf("the chunk's %d bytes end", len(r.src))
}
