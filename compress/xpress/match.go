package xpress

import "math/bits"

const (
	minHashBits = 10
	maxHashBits = 15
	padding     = 16 // bytes after the chunk that may be compared, in vain

	// noMatchTail is how many positions at the end of a chunk are not looked up, so that four bytes can be hashed.
	noMatchTail = 3
)

// A finder finds earlier occurrences of the bytes at a position of the chunk.
type finder struct {
	// Plain bytes, starting at 1 so that position 0 can mean none. A position where a match can start fits uint16.
	buf [1 + maxChunk + padding]byte
	end int // position after the last byte

	hashShift uint
	head3     [1 << maxHashBits]uint16 // by hash of three bytes: their latest position
	head4     [1 << maxHashBits]uint16 // by hash of four bytes: their latest position

	prev3 [maxChunk + 1]uint16 // by position: the latest before with the same hash of three bytes
	prev4 [maxChunk + 1]uint16 // the same for four, which makes a chain
}

// load takes in the plain bytes and forgets the last chunk.
func (f *finder) load(src []byte) {
	f.end = 1 + copy(f.buf[1:], src)
	clear(f.buf[f.end:][:padding])
	hashBits := min(max(bits.Len(uint(len(src)-1))+1, minHashBits), maxHashBits)
	f.hashShift = uint(32 - hashBits)
	clear(f.head4[:1<<hashBits])
}

func (f *finder) load32(p uint16) uint32 { return le.Uint32(f.buf[p : int(p)+4]) }
func (f *finder) load64(p uint16) uint64 { return le.Uint64(f.buf[p : int(p)+8]) }

// hash maps four bytes to an index of head3 and head4.
func (f *finder) hash(x uint32) uint32 {
	return x * 0x9e3779b1 >> (f.hashShift & 31) % (1 << maxHashBits)
}

// chain sets prev3 and prev4 for the whole chunk. Doing it in one go, free of branches, is faster than step by step.
func (f *finder) chain() {
	clear(f.head3[:1<<(32-f.hashShift)])
	last := uint16(max(f.end-1-noMatchTail, 0))
	for p := uint16(1); p <= last; p++ {
		x := f.load32(p)
		h := f.hash(x)
		f.prev4[p] = f.head4[h]
		f.head4[h] = p
		h = f.hash(x << 8)
		f.prev3[p] = f.head3[h]
		f.head3[h] = p
	}
	clear(f.prev3[last+1:][:noMatchTail])
	clear(f.prev4[last+1:][:noMatchTail])
}

// find looks for a match at p longer than best, which is at least 3, in the chain that starts with candidate. It looks
// at depth candidates and is content with a match of nice bytes. offset is 0 if there is none.
func (f *finder) find(p, candidate uint16, best, depth, nice int) (length, offset int) {
	limit := f.end - int(p)
	if best >= limit {
		return best, 0
	}
	nice = min(nice, limit)
	back := uint16(best - 3)
	tail := f.load32(p + back) // a longer match has these bytes too, the fourth being the first new one
	for {
		if f.load32(candidate+back) == tail {
			n := 0
			if x := f.load64(candidate) ^ f.load64(p); x != 0 {
				n = bits.TrailingZeros64(x) >> 3
			} else {
				n = f.extend(candidate, p)
			}
			if n > best {
				best, offset = n, int(p-candidate)
				if best >= nice {
					return min(best, limit), offset
				}
				back = uint16(best - 3)
				tail = f.load32(p + back)
			}
		}
		candidate = f.prev4[candidate]
		depth--
		if candidate == 0 || depth == 0 {
			return best, offset
		}
	}
}

// extend returns how many bytes at a and at b > a are equal, with a few of the padding. The first 8 are.
func (f *finder) extend(a, b uint16) int {
	n := 8
	for x, y := f.buf[int(a)+n:], f.buf[int(b)+n:f.end+7]; len(y) >= 8; x, y = x[8:], y[8:] {
		if diff := le.Uint64(x) ^ le.Uint64(y); diff != 0 {
			return n + bits.TrailingZeros64(diff)>>3
		}
		n += 8
	}
	return n
}

// find3 returns the offset of the latest match of three bytes at p, or 0.
func (f *finder) find3(p uint16) int {
	candidate := f.prev3[p]
	if candidate == 0 || (f.load32(p)^f.load32(candidate))<<8 != 0 {
		return 0
	}
	return int(p - candidate)
}
