package xpress

import "math/bits"

// A finder finds earlier occurrences of the bytes at a position of the chunk.
type finder struct {
	// Plain bytes, starting at 1 so that position 0 can mean none; a position where a match can start fits uint16. The
	// padding allows to compare eight bytes at a time.
	buf [1 + maxChunk + 16]byte
	end int // position after the last byte

	hashShift int
	head      [1 << 15]uint16  // by hash of the next bytes: latest position
	next      [maxChunk]uint16 // by position: the one before with the same hash
}

// load takes in the plain bytes and forgets the last chunk.
func (f *finder) load(src []byte) {
	f.end = 1 + copy(f.buf[1:], src)
	clear(f.buf[f.end:][:16])
	hashBits := min(max(bits.Len(uint(len(src)-1)), 10), 15)
	f.hashShift = 32 - hashBits
	clear(f.head[:1<<hashBits])
}

func (f *finder) load32(p uint16) uint32 { return le.Uint32(f.buf[p : int(p)+4]) }
func (f *finder) load64(p uint16) uint64 { return le.Uint64(f.buf[p : int(p)+8]) }

// insert enters position p and returns the latest one with the same hash.
func (f *finder) insert(p uint16) uint16 {
	h := (f.load32(p) << 8 * 0x9e3779b1) >> f.hashShift & (1<<15 - 1)
	cand := f.head[h]
	f.next[p] = cand
	f.head[h] = p
	return cand
}

// find walks the chain and returns the best.
func (f *finder) find(p, cand uint16, best, depth, nice int) (length, offset int) {
	limit := f.end - int(p)
	if best >= limit {
		return best, 0
	}
	tail := f.load32(p + uint16(best-3))
	for ; cand != 0 && depth > 0; depth-- {
		if f.load32(cand+uint16(best-3)) == tail {
			n := f.matchLen(cand, p, limit)
			if n > best {
				best = n
				offset = int(p - cand)
				if n >= nice || n >= limit {
					break
				}
				tail = f.load32(p + uint16(best-3))
			}
		}
		cand = f.next[cand]
	}
	return best, offset
}

func (f *finder) matchLen(a, b uint16, limit int) int {
	n := 0
	for n < limit {
		x := le.Uint64(f.buf[int(a)+n:]) ^ le.Uint64(f.buf[int(b)+n:])
		if x != 0 {
			n += bits.TrailingZeros64(x) >> 3
			break
		}
		n += 8
	}
	return min(n, limit)
}

func (c *Compressor) parseLazy() {
	const depth, nice = 46, 93
	maxOff3 := 4096
	if c.end <= 8193 {
		maxOff3 = 2048
	}
	p := 1
	for p < c.end {
		if c.end-p < 4 {
			c.item(uint32(c.buf[p]))
			p++
			continue
		}
		cand := c.insert(uint16(p))
		length, offset := c.find3(uint16(p), cand, depth, nice, maxOff3)
		if length < minMatch {
			c.item(uint32(c.buf[p]))
			p++
			continue
		}
		inserted := p
		for length < nice && c.end-p > 4 {
			cand = c.insert(uint16(p + 1))
			inserted = p + 1
			l2, o2 := c.find(uint16(p+1), cand, max(length, 3), depth/2, nice)
			if o2 == 0 || l2 <= length {
				break
			}
			c.item(uint32(c.buf[p]))
			p++
			length, offset = l2, o2
		}
		c.match(length, offset)
		p += length
		for q := inserted + 1; q < p && q < c.end-4; q++ {
			c.insert(uint16(q))
		}
	}
}

func (f *finder) find3(p, cand uint16, depth, nice, maxOff3 int) (int, int) {
	w := f.load32(p) << 8
	for c2, d := cand, depth; c2 != 0 && d > 0; d-- {
		if f.load32(c2)<<8 == w {
			length, offset := f.find(p, c2, 3, d, nice)
			if offset == 0 {
				if int(p-c2) >= maxOff3 {
					return 0, 0
				}
				return 3, int(p - c2)
			}
			return length, offset
		}
		c2 = f.next[c2]
	}
	return 0, 0
}
