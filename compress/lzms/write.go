package lzms

// A rangeEncoder writes the forward half of a chunk: the inverse of rangeDecoder.
type rangeEncoder struct {
	dst     []byte
	pos     int // bytes written; past len(dst) once it did not fit
	size    uint32
	low     uint64 // 33 bits: the topmost is a carry
	unit    uint16 // the latest unit, which a carry may still change
	pending int    // units of 0xffff after it, which a carry would run through
	started bool   // unit is one: the first that falls out is not, as low starts as a number of two units
}

func (e *rangeEncoder) start(dst []byte) { *e = rangeEncoder{dst: dst, size: 1<<32 - 1} }

// bit encodes a decision. state and p are as for rangeDecoder.bit.
func (e *rangeEncoder) bit(bit uint32, state *uint32, p []probability) {
	if e.size <= 0xffff {
		e.size <<= 16
		e.shift()
	}
	mask := uint32(len(p) - 1)
	q := &p[*state&mask]
	bound := e.size >> 6 * q.of()
	if bit == 0 {
		e.size = bound
	} else {
		e.low += uint64(bound)
		e.size -= bound
	}
	q.update(bit)
	*state = *state<<1 | bit
}

// shift moves the upper unit of low out.
func (e *rangeEncoder) shift() {
	if uint32(e.low) >= 0xffff0000 && e.low>>32 == 0 {
		e.pending++
	} else {
		carry := uint16(e.low >> 32)
		if e.started {
			e.put(e.unit + carry)
		}
		for ; e.pending > 0; e.pending-- {
			e.put(0xffff + carry)
		}
		e.started = true
		e.unit = uint16(e.low >> 16)
	}
	e.low = e.low & 0xffff << 16
}

func (e *rangeEncoder) put(unit uint16) {
	if e.pos+2 <= len(e.dst) {
		le.PutUint16(e.dst[e.pos:], unit)
	}
	e.pos += 2
}

// finish writes the rest of low, two units, and a unit of 0: 7-Zip 26.02 wants nothing to be left over even if it takes in one unit more
// after the last decision.
func (e *rangeEncoder) finish() {
	for range 4 {
		e.shift()
	}
}

// repeat encodes which of the latest sources is used: 0 to 2.
func (e *rangeEncoder) repeat(k int, state *[repeatSlots - 1]uint32, p *[repeatSlots - 1][repeatContexts]probability) {
	for i := range state {
		if i == k {
			e.bit(0, &state[i], p[i][:])
			return
		}
		e.bit(1, &state[i], p[i][:])
	}
}

// A backwardWriter collects the other half of a chunk, first unit first.
type backwardWriter struct {
	buf []byte
	acc uint64 // pending bits, right-aligned
	n   int    // how many, under 16
}

func (w *backwardWriter) start() { w.buf, w.acc, w.n = w.buf[:0], 0, 0 }

// put appends the low k bits of v, at most 30. The others are 0.
func (w *backwardWriter) put(v uint32, k int) {
	w.acc = w.acc<<k | uint64(v)
	w.n += k
	for w.n >= 16 {
		w.n -= 16
		w.buf = le.AppendUint16(w.buf, uint16(w.acc>>w.n))
	}
}

func (w *backwardWriter) finish() {
	if w.n > 0 {
		w.put(0, 16-w.n)
	}
}

// copyTo puts the units into dst, whose length is theirs, last unit first.
func (w *backwardWriter) copyTo(dst []byte) {
	for i := 0; i < len(dst); i += 2 {
		copy(dst[len(dst)-2-i:], w.buf[i:i+2])
	}
}
