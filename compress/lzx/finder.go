package lzx

import "math/bits"

const (
	padding = 16 // bytes after the chunk that may be compared, in vain

	hash2Bits = 12
	hash3Bits = 14

	// A match of two bytes costs more than two literals from this offset.
	maxOffset2 = 1 << 8

	// noMatchTail is how many positions at the end of a chunk are not looked up.
	noMatchTail = 8
)

// matches are those of consecutive positions.
type matches struct {
	items []item   // one position's have ascending lengths, each with the least offset found
	first []uint32 // by position from the first: index in items; a position's end where the next one's start
}

// at returns the matches of the i-th position.
func (m *matches) at(i int) []item { return m.items[m.first[i]:m.first[i+1]] }

// A treeFinder finds earlier occurrences of the bytes at a position by binary trees: there is one per hash of four bytes,
// ordered by the bytes from a position on, where descendants are older. Positions are 1-based so that 0 can mean none.
// They are T: the narrower, the more of the tables stays in the cache.
type treeFinder[T uint16 | uint32] struct {
	head2    [1 << hash2Bits]T // by hash of two bytes: their latest position
	head3    [1 << hash3Bits]T // by hash of three bytes: their latest position
	head4    []T               // by hash of four bytes: the root
	children [][2]T            // by position: roots of the subtrees with smaller and greater bytes
	skipTo   int               // positions before are inside a match of nice bytes
	shift4   uint
}

func newTreeFinder[T uint16 | uint32](window int) *treeFinder[T] {
	hashBits := min(bits.Len(uint(window))-1, 16)
	return &treeFinder[T]{
		head4:    make([]T, 1<<hashBits),
		children: make([][2]T, window+1),
		shift4:   uint(32 - hashBits),
	}
}

func (f *treeFinder[T]) reset() {
	clear(f.head2[:])
	clear(f.head3[:])
	clear(f.head4)
	f.skipTo = 0
}

// find sets m to the matches of the positions from to to-1 in buf, whose data end at end and are followed by padding. It
// looks at depth candidates and is content with a match of nice bytes, inside which it looks for none.
func (f *treeFinder[T]) find(m *matches, buf []byte, from, to, end, maxOffset, depth, nice int) {
	n := 0
	for p := from; p < to; p++ {
		m.first[p-from] = uint32(n)
		if p > end-noMatchTail {
			continue
		}
		limit := min(maxMatch, end-p)
		x := le.Uint32(buf[p:])
		h2 := x << 16 * 0x9e3779b1 >> (32 - hash2Bits)
		h3 := x << 8 * 0x9e3779b1 >> (32 - hash3Bits)
		candidate2, candidate3 := int(f.head2[h2]), int(f.head3[h3])
		f.head2[h2], f.head3[h3] = T(p), T(p)
		best := maxMatch
		skip := p < f.skipTo || n+depth+2 > len(m.items)
		if !skip {
			best = minMatch - 1
			if candidate2 != 0 && uint16(le.Uint32(buf[candidate2:])) == uint16(x) && p-candidate2 < maxOffset2 {
				best = 2
				m.items[n] = match(uint32(p-candidate2+repeatOffset), 2)
				n++
			}
			if candidate3 != 0 && (le.Uint32(buf[candidate3:])^x)<<8 == 0 && p-candidate3 <= maxOffset {
				if best == 2 && candidate2 == candidate3 {
					n--
				}
				best = 3
				m.items[n] = match(uint32(p-candidate3+repeatOffset), 3)
				n++
			}
		}

		h4 := x * 0x9e3779b1 >> (f.shift4 & 31)
		candidate := f.head4[h4]
		f.head4[h4] = T(p)
		less, greater := &f.children[p][0], &f.children[p][1]
		lessLength, greaterLength := 0, 0
		enough := min(nice, limit)
		for left := depth; ; left-- {
			if candidate == 0 || left == 0 {
				*less, *greater = 0, 0
				break
			}
			length := min(lessLength, greaterLength)
			c := int(candidate)
			length += matchLength(buf, c+length, p+length, limit-length)
			if length > best && p-c <= maxOffset {
				best = length
				m.items[n] = match(uint32(p-c+repeatOffset), length)
				n++
			}
			children := &f.children[candidate]
			if length >= enough {
				*less, *greater = children[0], children[1]
				if !skip && length >= nice {
					f.skipTo = p + length
				}
				break
			}
			if buf[c+length] < buf[p+length] {
				*less = candidate
				less = &children[1]
				candidate = *less
				lessLength = length
			} else {
				*greater = candidate
				greater = &children[0]
				candidate = *greater
				greaterLength = length
			}
		}
	}
	m.first[to-from] = uint32(n)
}

// matchLength returns how many bytes at a and b, at most limit, are equal.
func matchLength(buf []byte, a, b, limit int) int {
	n := 0
	for n < limit {
		if diff := le.Uint64(buf[a+n:]) ^ le.Uint64(buf[b+n:]); diff != 0 {
			return min(n+bits.TrailingZeros64(diff)>>3, limit)
		}
		n += 8
	}
	return limit
}
