package lzx

import "slices"

// optimal is the memory of a search for the cheapest items of a block.
type optimal struct {
	main    [maxMainSymbols]cost // of codewords and of the plain bits of offsets
	length  [lengthSymbols]cost
	aligned [alignedSymbols]cost

	// By position from the block's first:
	nodes   []node
	recents []recent // as the items to there leave them
	gaps    []uint8  // see gapped

	items []item
}

// A node is a place between items.
type node struct {
	cost cost // of the cheapest items found from the block's start
	last item // the last of them
}

// gapped in a node's last item tells that a literal and a match with the latest offset, its length in gaps, follow.
const gapped = item(1 << 31)

func newOptimal(size int) *optimal {
	return &optimal{
		nodes:   make([]node, size+1),
		recents: make([]recent, size+1),
		gaps:    make([]uint8, size+1),
		items:   make([]item, size),
	}
}

// weigh sets the costs to those of the codes for the counts.
func (o *optimal) weigh(c *counts, slotCount int) {
	main := firstMatch + slotSymbols*slotCount
	weigh(o.main[:main], c.main[:main], maxCodeLen)
	weigh(o.length[:], c.length[:], maxCodeLen)
	isAligned := c.isAligned()
	if isAligned {
		weigh(o.aligned[:], c.aligned[:], maxAlignedLen)
	} else {
		clear(o.aligned[:])
	}
	for s := repeatSlots; s < slotCount; s++ {
		plain := cost(slots[s].extra)
		if isAligned && s >= alignedSlot {
			plain -= alignedBits
		}
		for i := range o.main[firstMatch+slotSymbols*s:][:slotSymbols] {
			o.main[firstMatch+slotSymbols*s+i] += plain * costBit
		}
	}
}

// isAligned tells whether an aligned block is the better one.
func (c *counts) isAligned() bool {
	n := uint32(0)
	for _, count := range c.aligned {
		n += count
	}
	bits, _ := entropy(c.aligned[:])
	return bits+3*alignedSymbols*costBit+n < n*alignedBits*costBit
}

// choose returns the cheapest items for the bytes at from to to-1. m holds the matches from position first on. A match of
// nice bytes is taken as a whole.
func (o *optimal) choose(buf []byte, m *matches, first, from, to, nice int, start recent) []item {
	nodes := o.nodes[:to-from+1]
	for i := range nodes {
		nodes[i].cost = 1<<32 - 1
	}
	nodes[0].cost = 0
	skipTo := 0
	for i := range nodes[:len(nodes)-1] {
		if i < skipTo {
			continue
		}
		latest := start
		if i > 0 {
			it := nodes[i].last
			latest = o.recents[o.previous(i)]
			if !it.isLiteral() {
				latest = latest.after(it.code())
			}
		}
		o.recents[i] = latest
		p := from + i
		so := nodes[i].cost
		relax(&nodes[i+1], so+o.main[buf[p]], literal(buf[p]))

		limit := min(maxMatch, to-p)
		if limit < minMatch {
			continue
		}
		x := le.Uint32(buf[p:])
		done := minMatch - 1
		for k := range repeatSlots {
			q := p - int(latest&recentMask)
			latest >>= recentBits
			if q < 1 || uint16(le.Uint32(buf[q:])) != uint16(x) {
				continue
			}
			n := matchLength(buf, q, p, limit)
			if n >= nice {
				relax(&nodes[i+n], so+o.matchCost(uint32(k), n), match(uint32(k), n))
				skipTo = i + n
				done = n
				break
			}
			c := o.relaxMatch(nodes[i:], so, uint32(k), minMatch, n)
			o.relaxGap(i, c, buf, q, p, match(uint32(k), n), limit)
			done = max(done, n)
		}
		if skipTo > i {
			continue
		}
		for _, it := range m.at(p - first) {
			n := min(it.length(), limit)
			if n > done {
				if n >= nice {
					relax(&nodes[i+n], so+o.matchCost(it.code(), n), match(it.code(), n))
					skipTo = i + n
					break
				}
				c := o.relaxMatch(nodes[i:], so, it.code(), done+1, n)
				o.relaxGap(i, c, buf, p+repeatOffset-int(it.code()), p, match(it.code(), n), limit)
				done = n
			}
		}
	}

	n := len(o.items)
	for i := len(nodes) - 1; i > 0; {
		last := nodes[i].last
		if last&gapped != 0 {
			n -= 2
			gap := int(o.gaps[i])
			o.items[n] = literal(buf[from+i-gap-1])
			o.items[n+1] = match(0, gap)
		}
		n--
		o.items[n] = last &^ gapped
		i = o.previous(i)
	}
	return slices.Clip(o.items[n:])
}

func relax(nd *node, c cost, last item) {
	if c < nd.cost {
		nd.cost = c
		nd.last = last
	}
}

// previous returns the place of the node from which the one at i was relaxed.
func (o *optimal) previous(i int) int {
	last := o.nodes[i].last
	if last&gapped != 0 {
		i -= int(o.gaps[i]) + 1
	}
	return i - last.length()
}

// relaxGap looks whether the match m at p, of the bytes at q, would go on but for one byte. It starts at the i-th node and
// the items up to its end cost c.
// The bytes up to limit from p are the block's.
func (o *optimal) relaxGap(i int, c cost, buf []byte, q, p int, m item, limit int) {
	n := m.length() + 1
	if n+minMatch > limit || uint16(le.Uint32(buf[q+n:])) != uint16(le.Uint32(buf[p+n:])) {
		return
	}
	gap := matchLength(buf, q+n, p+n, limit-n)
	c += o.main[buf[p+n-1]] + o.matchCost(0, gap)
	i += n + gap
	if nd := &o.nodes[i]; c < nd.cost {
		nd.cost = c
		nd.last = m | gapped
		o.gaps[i] = uint8(gap)
	}
}

// relaxMatch relaxes the nodes that matches of lengths least to most lead to from nodes[0], and returns the cost of the
// last.
func (o *optimal) relaxMatch(nodes []node, so cost, code uint32, least, most int) cost {
	slot := slotOf(code)
	if slot >= alignedSlot {
		so += o.aligned[code%alignedSymbols]
	}
	costs := (*[slotSymbols]cost)(o.main[firstMatch+slotSymbols*slot:])
	nodes = nodes[:most+1]
	it := match(code, 0)
	n := least
	for ; n < min(len(nodes), longMatch); n++ {
		relax(&nodes[n], so+costs[(n-minMatch)&(slotSymbols-1)], it|item(n))
	}
	so += costs[longHeader]
	for ; n < len(nodes); n++ {
		relax(&nodes[n], so+o.length[n-longMatch], it|item(n))
	}
	if most < longMatch {
		return so - costs[longHeader] + costs[most-minMatch]
	}
	return so + o.length[most-longMatch]
}

func (o *optimal) matchCost(code uint32, n int) cost {
	slot := slotOf(code)
	c := cost(0)
	if slot >= alignedSlot {
		c = o.aligned[code%alignedSymbols]
	}
	if n >= longMatch {
		return c + o.main[firstMatch+slotSymbols*slot+longHeader] + o.length[n-longMatch]
	}
	return c + o.main[int(firstMatch+slotSymbols*slot)+n-minMatch]
}
