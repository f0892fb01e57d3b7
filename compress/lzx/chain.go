package lzx

import "math/bits"

// A chainFinder finds earlier occurrences of the bytes at a position by chains of the positions whose four bytes have the
// same hash, in a window of 32 KiB. It is faster than a treeFinder, but sees less in the same depth. Positions are 1-based so that 0 can mean
// none.
type chainFinder struct {
	head2  [1 << hash2Bits]uint16 // by hash of two bytes: their latest position
	head3  [1 << hash3Bits]uint16 // by hash of three bytes: their latest position
	head4  []uint16               // by hash of four bytes: their latest position
	prev   []uint16               // by position: the one before with the same hash of four bytes
	prev2  []uint16               // by position from the segment's first: the one before with the same hash of two bytes
	prev3  []uint16               // the same for three
	skipTo int                    // positions before are inside a match of nice bytes
	shift4 uint
}

func newChainFinder(window int) *chainFinder {
	hashBits := min(bits.Len(uint(window))-1, 18)
	return &chainFinder{
		head4:  make([]uint16, 1<<hashBits),
		prev:   make([]uint16, window+1),
		prev2:  make([]uint16, min(window, segment)),
		prev3:  make([]uint16, min(window, segment)),
		shift4: uint(32 - hashBits),
	}
}

func (f *chainFinder) reset() {
	clear(f.head2[:])
	clear(f.head3[:])
	clear(f.head4)
	f.skipTo = 0
}

// chain sets prev, prev2 and prev3 for positions. Doing it in one go, free of branches, is faster than step by step.
func (f *chainFinder) chain(buf []byte, from, to int) {
	for p := from; p < to; p++ {
		x := le.Uint32(buf[p:])
		h2 := x << 16 * 0x9e3779b1 >> (32 - hash2Bits)
		h3 := x << 8 * 0x9e3779b1 >> (32 - hash3Bits)
		h4 := x * 0x9e3779b1 >> (f.shift4 & 31)
		f.prev2[p-from] = f.head2[h2]
		f.head2[h2] = uint16(p)
		f.prev3[p-from] = f.head3[h3]
		f.head3[h3] = uint16(p)
		f.prev[p] = f.head4[h4]
		f.head4[h4] = uint16(p)
	}
}

// find is like that of a treeFinder.
func (f *chainFinder) find(m *matches, buf []byte, from, to, end, maxOffset, depth, nice int) {
	f.chain(buf, from, min(to, end-noMatchTail))
	n := 0
	for p := from; p < to; p++ {
		i := p - from
		m.first[i] = uint32(n)
		if p < f.skipTo || p >= end-noMatchTail || n+depth+2 > len(m.items) {
			continue
		}
		x := le.Uint32(buf[p:])
		candidate2, candidate3, candidate := int(f.prev2[i]), int(f.prev3[i]), f.prev[p]
		if candidate2 > candidate3 && p-candidate2 < maxOffset2 && uint16(le.Uint32(buf[candidate2:])) == uint16(x) {
			m.items[n] = match(uint32(p-candidate2+repeatOffset), 2)
			n++
		}
		if candidate3 != 0 && (le.Uint32(buf[candidate3:])^x)<<8 == 0 && p-candidate3 <= maxOffset {
			m.items[n] = match(uint32(p-candidate3+repeatOffset), 3)
			n++
		}

		limit := min(maxMatch, end-p)
		best := 3
		tail := x
		for left := depth; candidate != 0 && left > 0; left-- {
			c := int(candidate)
			candidate = f.prev[c]
			if le.Uint32(buf[c+best-3:]) != tail {
				continue
			}
			length := matchLength(buf, c, p, limit)
			if length > best && p-c <= maxOffset {
				best = length
				m.items[n] = match(uint32(p-c+repeatOffset), length)
				n++
				if length >= min(nice, limit) {
					if length >= nice {
						f.skipTo = p + length
					}
					break
				}
				tail = le.Uint32(buf[p+best-3:])
			}
		}
	}
	m.first[to-from] = uint32(n)
}
