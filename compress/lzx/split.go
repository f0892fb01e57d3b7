package lzx

const (
	// What a block costs beside its items, by rule of thumb.
	blockCost  = 500 * costBit
	symbolCost = 5 * costBit
)

// A block is a run of items that get codes of their own.
type block struct {
	size   int // plain bytes
	items  int
	counts counts
}

// A splitter cuts items into blocks.
type splitter struct {
	blocks []block
	costs  []cost // by block
	joined []cost // by block: of it and the next as one
	sum    counts
}

func (c *counts) cost() cost {
	main, mainUsed := entropy(c.main[:])
	length, lengthUsed := entropy(c.length[:])
	return blockCost + main + length + cost(mainUsed+lengthUsed)*symbolCost
}

func (s *splitter) joinedCost(i int) cost {
	a, b := &s.blocks[i].counts, &s.blocks[i+1].counts
	for sym := range s.sum.main {
		s.sum.main[sym] = a.main[sym] + b.main[sym]
	}
	for sym := range s.sum.length {
		s.sum.length[sym] = a.length[sym] + b.length[sym]
	}
	return s.sum.cost()
}

// split starts with pieces of so many items and joins the two neighbours that it saves most on, as long as it does.
func (s *splitter) split(items []item, pieceItems int) []block {
	s.blocks, s.costs, s.joined = s.blocks[:0], s.costs[:0], s.joined[:0]
	for len(items) > 0 {
		n := pieceItems
		if len(items) < 2*pieceItems {
			n = len(items)
		}
		b := block{items: n}
		for _, it := range items[:n] {
			b.size += it.length()
		}
		b.counts.add(items[:n])
		items = items[n:]
		s.blocks = append(s.blocks, b)
		s.costs = append(s.costs, b.counts.cost())
	}
	for i := range len(s.blocks) - 1 {
		s.joined = append(s.joined, s.joinedCost(i))
	}
	for len(s.blocks) > 1 {
		best, saved := -1, 0
		for i, joined := range s.joined {
			if n := int(s.costs[i]) + int(s.costs[i+1]) - int(joined); n > saved {
				best, saved = i, n
			}
		}
		if best < 0 {
			break
		}
		s.join(best)
	}
	return s.blocks
}

func (s *splitter) join(i int) {
	a, b := &s.blocks[i], &s.blocks[i+1]
	a.size += b.size
	a.items += b.items
	for sym, n := range b.counts.main {
		a.counts.main[sym] += n
	}
	for sym, n := range b.counts.length {
		a.counts.length[sym] += n
	}
	for sym, n := range b.counts.aligned {
		a.counts.aligned[sym] += n
	}
	s.costs[i] = s.joined[i]
	s.blocks = append(s.blocks[:i+1], s.blocks[i+2:]...)
	s.costs = append(s.costs[:i+1], s.costs[i+2:]...)
	s.joined = append(s.joined[:i], s.joined[i+1:]...)
	if i > 0 {
		s.joined[i-1] = s.joinedCost(i - 1)
	}
	if i < len(s.joined) {
		s.joined[i] = s.joinedCost(i)
	}
}
