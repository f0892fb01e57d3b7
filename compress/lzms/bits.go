package lzms

// A rangeDecoder reads the forward half of a chunk: decisions of two outcomes.
type rangeDecoder struct {
	src         []byte
	pos         int // of the next unit; may be past the end, from where zeros are read
	size, value uint32
}

// slack is how many bytes past its end a chunk may be read: an encoder may leave out what decides nothing.
const slack = 4

func (r *rangeDecoder) start(src []byte) {
	r.src, r.pos = src, 4
	r.size = 1<<32 - 1
	r.value = uint32(le.Uint16(src))<<16 | uint32(le.Uint16(src[2:]))
}

// bit decodes a decision. state has its latest outcomes, which choose among the probabilities, a power of two of them.
func (r *rangeDecoder) bit(state *uint32, p []probability) uint32 {
	if r.size <= 0xffff {
		r.size <<= 16
		r.value <<= 16
		if r.pos < len(r.src) {
			r.value |= uint32(le.Uint16(r.src[r.pos:]))
		}
		r.pos += 2
	}
	mask := uint32(len(p) - 1)
	e := &p[*state&mask]
	bound := r.size >> 6 * e.of()
	bit := uint32(0)
	if r.value < bound {
		r.size = bound
	} else {
		r.size -= bound
		r.value -= bound
		bit = 1
	}
	e.update(bit)
	*state = *state<<1 | bit
	return bit
}

// repeat decodes which of the latest sources is used: 0 to 2.
func (r *rangeDecoder) repeat(state *[repeatSlots - 1]uint32, p *[repeatSlots - 1][repeatContexts]probability) int {
	for k := range state {
		if r.bit(&state[k], p[k][:]) == 0 {
			return k
		}
	}
	return repeatSlots - 1
}

// A backwardReader reads the other half of a chunk. The next bits stand at the top of acc; n of them count, whatever is below was
// ORed in early and is the same when ORed in again. n is below 0 once more was taken than there is, and stays so.
type backwardReader struct {
	src []byte
	pos int // end of the next unit
	acc uint64
	n   int
}

// refill makes n at least 48, unless the chunk ends.
func (r *backwardReader) refill() {
	if r.pos >= 8 && r.n >= 0 {
		r.acc |= le.Uint64(r.src[r.pos-8:]) >> (r.n & 63)
		units := (63 - r.n) >> 4
		r.pos -= 2 * units
		r.n += 16 * units
		return
	}
	for r.n <= 48 && r.n >= 0 && r.pos >= 2 {
		r.pos -= 2
		r.acc |= uint64(le.Uint16(r.src[r.pos:])) << (48 - r.n)
		r.n += 16
	}
}

// take returns the next k bits, 1 to 30.
func (r *backwardReader) take(k int) uint32 {
	if r.n < k {
		r.refill()
	}
	v := uint32(r.acc >> (64 - k))
	r.acc <<= k
	r.n -= k
	return v
}
