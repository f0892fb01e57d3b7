package lzx

import "husk/compress/internal/lzhuff"

// A bitWriter appends bits to units.
type bitWriter struct {
	buf []byte // 8 bytes longer than what will be written
	acc uint64 // pending bits, from the top
	n   int    // how many, under 16
	pos int    // bytes of units before them
}

func (w *bitWriter) reset() { w.acc, w.n, w.pos = 0, 0, 0 }

// put appends the low k bits of v, at most 48. The others are 0.
func (w *bitWriter) put(v uint64, k int) {
	n := w.n + k
	acc := w.acc | v<<((64-n)&63) // n is 0 only if v is
	le.PutUint64(w.buf[w.pos:], lzhuff.SwapUnits(acc))
	w.acc = acc << (n &^ 15 & 63)
	w.pos += n >> 4 << 1
	w.n = n & 15
}

// bits returns the number of bits so far.
func (w *bitWriter) bits() int { return 8*w.pos + w.n }

// finish completes the last unit, which put has written already, and returns the number of bytes.
func (w *bitWriter) finish() int { return (w.bits() + 15) / 16 * 2 }
