package xpress

import "math/bits"

const (
	optimalDepth  = 64
	optimalNice   = 64 // a match this long is taken without a look inside it
	optimalPasses = 2
	unusedCost    = 12 // bits assumed for a codeword that the last pass has not needed
)

// optimal is the memory of a search for the cheapest items.
type optimal struct {
	// The matches of all positions: those of one have different lengths, ascending, each the nearest of its length. A
	// position inside a match of optimalNice bytes has none, nor one for which no room is left.
	matches [8 * maxChunk]found
	first   [maxChunk + 2]uint32 // by position: index in matches; those of a position end where the next one's start

	cost   [numSymbols]uint32   // by symbol: bits of it and of what belongs to it, except long lengths
	toEnd  [maxChunk + 2]uint32 // by position: bits of the cheapest items from there to the end
	choice [maxChunk + 2]found  // by position: the first of these items; length 1 is a literal

	items  [maxChunk + 1]uint32 // of the cheapest pass so far
	nItems int
	longs  [maxChunk/longMatch + 1]long
	nLongs int
}

// A found is a match that may be taken.
type found struct {
	length uint16 // longer ones are cut
	offset uint16
}

// parseOptimal starts with the items of parseLazy and then, as long as it helps, takes those that are the cheapest
// under the code made for the last ones. It leaves c.code built.
func (c *Compressor) parseOptimal() {
	o := c.optimal
	c.parseLazy(optimalDepth, optimalNice)
	smallest := c.size()
	o.find(&c.finder)
	for range optimalPasses {
		o.nItems = copy(o.items[:], c.items[:c.nItems])
		o.nLongs = copy(o.longs[:], c.longs[:c.nLongs])
		o.weigh(&c.code)
		o.choose(&c.finder)

		c.reset()
		for p := 1; p < c.end; {
			m := o.choice[p]
			if m.length == 1 {
				c.item(uint32(c.buf[p]))
			} else {
				c.match(int(m.length), int(m.offset))
			}
			p += int(m.length)
		}
		c.item(endOfData)
		c.code.build()
		size := c.size()
		if size >= smallest {
			c.restore(o)
			break
		}
		smallest = size
	}
}

// restore goes back to the items that o keeps.
func (c *Compressor) restore(o *optimal) {
	c.reset()
	c.nItems = copy(c.items[:], o.items[:o.nItems])
	c.nLongs = copy(c.longs[:], o.longs[:o.nLongs])
	for _, it := range c.items[:c.nItems] {
		c.code.count[it%numSymbols]++
	}
	c.code.build()
}

// find collects the matches of all positions. f has its chains.
func (o *optimal) find(f *finder) {
	n := 0
	skipTo := 0
	last := f.end - 1 - noMatchTail
	for p := 1; p <= f.end; p++ {
		o.first[p] = uint32(n)
		if p < skipTo || p > last || n > len(o.matches)-optimalDepth-1 {
			continue
		}
		length := minMatch - 1
		if offset := f.find3(uint16(p)); offset != 0 {
			length = minMatch
			o.matches[n] = found{minMatch, uint16(offset)}
			n++
		}
		n, length = f.findLonger(uint16(p), max(length, minMatch), &o.matches, n)
		if length >= optimalNice {
			skipTo = p + length
		}
	}
}

// findLonger appends to matches[:n] each match at p that is longer than best and the ones before, and returns the new n
// and the longest length.
func (f *finder) findLonger(p uint16, best int, matches *[8 * maxChunk]found, n int) (int, int) {
	limit := f.end - int(p)
	candidate := f.prev4[p]
	for depth := optimalDepth; candidate != 0 && depth > 0 && best < min(optimalNice, limit); depth-- {
		back := uint16(best - 3)
		if f.load32(candidate+back) == f.load32(p+back) {
			length, offset := f.find(p, candidate, best, 1, optimalNice)
			if offset != 0 {
				best = length
				matches[n] = found{uint16(min(length, 1<<16-1)), uint16(offset)}
				n++
			}
		}
		candidate = f.prev4[candidate]
	}
	return n, best
}

// weigh sets the costs of symbols under a code.
func (o *optimal) weigh(c *code) {
	for sym, l := range c.length {
		if l == 0 {
			l = unusedCost
		}
		o.cost[sym] = uint32(int(l) + offsetBits(sym))
	}
}

// choose finds the cheapest items of the chunk, from its end to its start.
func (o *optimal) choose(f *finder) {
	o.toEnd[f.end] = 0
	for p := f.end - 1; p > 0; p-- {
		best := o.cost[f.buf[p]] + o.toEnd[p+1]
		choice := found{length: 1}
		length := minMatch
		for _, m := range o.matches[o.first[p]:o.first[p+1]] {
			sym := firstMatch + (bits.Len16(m.offset)-1)<<4
			costs := o.cost[sym:][:16]
			if m.length >= optimalNice {
				length = int(m.length)
			}
			for ; length <= int(m.length); length++ {
				cost := costs[min(length-minMatch, longHeader)] + o.toEnd[p+length]
				if length >= longMatch {
					cost += 8
					if length >= longMatch+0xff {
						cost += 16
					}
				}
				if cost < best {
					best = cost
					choice = found{uint16(length), m.offset}
				}
			}
		}
		o.toEnd[p] = best
		o.choice[p] = choice
	}
}
