package lzx

import "math/bits"

// An item is a literal, byte<<9 | 1, or a match, offset code<<9 | length. Items of one offset code are ordered by
// length, and matches that a finder tells for one place have ascending lengths.
type item uint32

const (
	lengthBits = 9
	lengthMask = 1<<lengthBits - 1
)

// An offset code is 0, 1 or 2 for one of the latest offsets, or else the offset plus repeatOffset. So the numbers of the
// slots follow from its leading bits.
const repeatOffset = 2

func literal(b byte) item                      { return item(b)<<lengthBits | 1 }
func match(offsetCode uint32, length int) item { return item(offsetCode)<<lengthBits | item(length) }

func (it item) length() int     { return int(it & lengthMask) }
func (it item) code() uint32    { return uint32(it>>lengthBits) & recentMask }
func (it item) isLiteral() bool { return it&lengthMask == 1 }

// slotOf returns the slot of an offset code.
func slotOf(code uint32) uint32 {
	if code < 4 {
		return code
	}
	log := uint32(bits.Len32(code)) - 1
	if log < 18 {
		return 2*log + code>>(log-1)&1
	}
	return 36 + (code-1<<18)>>17
}

// recent is the three latest offsets, 21 bits each, the first lowest.
type recent uint64

const (
	recentBits = 21
	recentMask = 1<<recentBits - 1
	noRecent   = recent(1 | 1<<recentBits | 1<<(2*recentBits)) // as a chunk starts
)

func (r recent) offset(i int) int { return int(r >> (i * recentBits & 63) & recentMask) }

// after returns the latest offsets after a match.
func (r recent) after(code uint32) recent {
	switch code {
	case 0:
		return r
	case 1:
		return r>>(2*recentBits)<<(2*recentBits) | r&recentMask<<recentBits | r>>recentBits&recentMask
	case 2:
		return r>>(2*recentBits) | r&(recentMask<<recentBits) | r&recentMask<<(2*recentBits)
	}
	return r<<recentBits&(1<<(3*recentBits)-1) | recent(code-repeatOffset)
}

// counts is how often each symbol occurs in some items.
type counts struct {
	main    [maxMainSymbols]uint32
	length  [lengthSymbols]uint32
	aligned [alignedSymbols]uint32
}

func (c *counts) add(items []item) {
	for _, it := range items {
		if it.isLiteral() {
			c.main[it.code()]++
			continue
		}
		slot := slotOf(it.code())
		header := it.length() - minMatch
		if header >= longHeader {
			c.length[header-longHeader]++
			header = longHeader
		}
		c.main[firstMatch+slotSymbols*slot+uint32(header)]++
		if slot >= alignedSlot {
			c.aligned[it.code()%alignedSymbols]++
		}
	}
}

// flatten makes all matches equally likely.
func (c *counts) flatten(slots int) {
	matches := c.main[firstMatch:][:slotSymbols*slots]
	n := uint32(0)
	for _, count := range matches {
		n += count
	}
	for i := range matches {
		matches[i] = n/uint32(len(matches)) + 1
	}
}
