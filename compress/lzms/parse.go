package lzms

import "slices"

const (
	window = 1024 // places among which the cheapest items are searched, unless all ways meet before
	minCut = 128  // places before which the search goes on even so, as the items of few places are not worth the start
	minRep = 2    // bytes of a match with a repeated source that are worth a try
)

// A node is a place between items.
type node struct {
	cost   cost   // of the cheapest items found from the first place
	source source // of the last of them
	length uint32
	gap    uint32 // if it is not 0, a literal and a match so long with the same source follow
}

const unreached = 1<<32 - 1

// A parser searches the cheapest items.
type parser struct {
	costs  costs
	nice   int
	nodes  []node
	states []state // by place: as the items to there leave it
	items  []item

	from, to int // positions that the finder has looked up
}

func newParser(e *effort) *parser {
	size := window + 2*e.nice + 2
	return &parser{nice: e.nice, nodes: make([]node, size), states: make([]state, size), items: make([]item, 0, size)}
}

func (s *parser) reset() {
	s.from, s.to = 1, 1
	s.costs.upToDate = false
}

// A search is one run of the parser.
type search struct {
	*parser
	nodes []node
	buf   []byte
	p     int // position of the first place
	far   int // the last place that was reached
}

// relax notes a way to place i, which may be the first to go so far.
func (s *search) relax(i int, n node) {
	s.reach(i)
	if nd := &s.nodes[i]; n.cost < nd.cost {
		*nd = n
	}
}

func (s *search) reach(i int) {
	for s.far < i {
		s.far++
		s.nodes[s.far].cost = unreached
	}
}

// relaxMatch notes matches of all lengths from least to most at place i.
func (s *search) relaxMatch(i int, base cost, src source, least, most int) {
	s.reach(i + most)
	nodes := s.nodes[i : i+most+1]
	lengths := s.costs.length[:most+1]
	for n := least; n < len(nodes); n++ {
		if c := base + lengths[n]; c < nodes[n].cost {
			nodes[n] = node{c, src, uint32(n), 0}
		}
	}
}

// relaxGap looks whether the match of n bytes at place i, of the bytes offset back, would go on but for one byte. c is the cost to its end.
func (s *search) relaxGap(i int, c cost, src source, n int, offset uint32, limit int, st *state) {
	p := s.p + i + n + 1
	limit = min(limit-n-1, s.nice)
	if limit < minRep {
		return
	}
	q := p - int(offset)
	x := le.Uint32(s.buf[q:]) ^ le.Uint32(s.buf[p:])
	if uint16(x) != 0 {
		return
	}
	gap := matchLength(s.buf, q, p, limit)
	k := &s.costs
	main := (st.main<<1 | 1) % mainContexts
	match := st.match << 1 % matchContexts
	lz, rep := st.lzKind<<1%lzContexts, st.lzRepeat
	if src.kind() == repeated {
		lz |= 1
		repeatOutcomes(&rep, src.value())
	}
	c += k.main[main][0] + k.literal[s.buf[p-1]]
	main = main << 1 % mainContexts
	c += k.main[main][1] + k.match[match][0] + k.lz[lz][1] + k.lzRepeat[0][rep[0]][0] + k.lengthOf(gap)
	s.relax(i+n+1+gap, node{c, src, uint32(n), uint32(gap)})
}

// parse returns the items for some bytes from position p on.
func (c *Compressor) parse(p int) []item {
	s := search{parser: c.parser, buf: c.buf, p: p}
	s.nodes = s.parser.nodes
	k := &s.costs
	k.weigh(&c.models)
	s.nodes[0].cost = 0
	s.states[0] = c.state
	i := 0
	for ; ; i++ {
		if i > 0 {
			s.enter(i)
		}
		pos := p + i
		if pos == c.end || i >= window || i == s.far && i >= minCut {
			break
		}
		for pos >= s.to {
			s.from, s.to = s.to, min(s.to+batchSize, c.end)
			c.finder.find(c.buf, s.from, s.to, c.end)
		}
		if it := c.visit(&s, i); it.length > 0 {
			return c.commit(&s, i, it)
		}
	}
	return c.commit(&s, s.choose(i), item{})
}

// enter works out the state at place i.
func (s *search) enter(i int) {
	nd := &s.nodes[i]
	st := &s.states[i]
	*st = s.states[s.previous(i)]
	st.take(nd.source)
	if nd.gap > 0 {
		st.takeLiteral()
		st.take(repeated)
	}
}

func (s *search) previous(i int) int {
	nd := &s.nodes[i]
	i -= int(nd.length)
	if nd.gap > 0 {
		i -= 1 + int(nd.gap)
	}
	return i
}

// choose returns the place from i on, which has been left over, that is reached at the least cost for its distance.
func (s *search) choose(i int) int {
	best := i
	rate := uint64(s.nodes[i].cost) / uint64(i)
	least := int64(1) << 62
	for j := i; j <= s.far; j++ {
		if c := int64(s.nodes[j].cost) - int64(rate)*int64(j); c < least {
			least, best = c, j
		}
	}
	return best
}

// visit notes all ways on from place i. It returns a match that is to be taken without looking on, if there is one.
func (c *Compressor) visit(s *search, i int) (taken item) {
	k := &s.costs
	st := &s.states[i]
	so := s.nodes[i].cost
	pos := s.p + i
	buf := s.buf
	main := &k.main[st.main%mainContexts]
	limit := c.end - pos

	s.relax(i+1, node{so + main[0] + k.literal[buf[pos]], literal, 1, 0})
	if limit < minRep {
		return item{}
	}
	lz := so + main[1] + k.match[st.match%matchContexts][0]
	delta := so + main[1] + k.match[st.match%matchContexts][1]
	x := le.Uint32(buf[pos:])

	done := minRep - 1
	queue := st.lz[:repeatSlots]
	if st.after == afterLZ {
		queue = st.lz[1:]
	}
	for r, offset := range queue {
		q := pos - int(offset)
		if q < 1 || uint16(le.Uint32(buf[q:])^x) != 0 {
			continue
		}
		n := matchLength(buf, q, pos, limit)
		src := repeated | source(r)
		if n >= s.nice {
			return item{src, uint32(n)}
		}
		base := lz + k.lz[st.lzKind%lzContexts][1] + repeatCost(&k.lzRepeat, &st.lzRepeat, r)
		s.relaxMatch(i, base, src, minRep, n)
		s.relaxGap(i, base+k.length[n], src, n, offset, limit, st)
		done = max(done, n)
	}

	f := c.finder
	at := pos - s.from
	if matches := f.matches[f.first[at]:f.first[at+1]]; len(matches) > 0 {
		lz += k.lz[st.lzKind%lzContexts][0]
		for _, m := range matches {
			n := int(m.length)
			if n <= done {
				continue
			}
			src := lzExplicit | source(m.offset)
			if n >= s.nice {
				return item{src, m.length}
			}
			base := lz + k.offset[offsetSlot(m.offset)]
			s.relaxMatch(i, base, src, done+1, n)
			s.relaxGap(i, base+k.length[n], src, n, m.offset, limit, st)
			done = n
		}
	}
	if len(f.deltas) > 0 {
		return c.visitDeltas(s, i, delta, f.deltaFound[f.firstDelta[at]:f.firstDelta[at+1]])
	}
	return item{}
}

// visitDeltas is visit for delta matches.
func (c *Compressor) visitDeltas(s *search, i int, delta cost, deltas []foundDelta) (taken item) {
	k := &s.costs
	st := &s.states[i]
	pos := s.p + i
	limit := c.end - pos
	queue := st.delta[:repeatSlots]
	if st.after == afterDelta {
		queue = st.delta[1:]
	}
	for r, pair := range queue {
		span := 1 << (pair >> deltaRawBits)
		q := pos - int(uint64(pair&maxDeltaRaw)<<(pair>>deltaRawBits))
		if q-span < 1 || s.buf[pos]-s.buf[pos-span] != s.buf[q]-s.buf[q-span] {
			continue
		}
		n := deltaLength(s.buf, q, pos, span, limit)
		if n < minRep {
			continue
		}
		src := repeated | deltaRepeat | source(r)
		if n >= s.nice {
			return item{src, uint32(n)}
		}
		s.relaxMatch(i, delta+k.delta[st.deltaKind%deltaContexts][1]+repeatCost(&k.deltaRep, &st.deltaRep, r), src, minRep, n)
	}
	for _, d := range deltas {
		src := deltaExplicit | source(d.pair)
		if int(d.length) >= s.nice {
			return item{src, d.length}
		}
		base := delta + k.delta[st.deltaKind%deltaContexts][0] + k.power[d.pair>>deltaRawBits] + k.deltaOff[offsetSlot(d.pair&maxDeltaRaw)]
		s.relaxMatch(i, base, src, minRep, int(d.length))
	}
	return item{}
}

// commit returns the items to place i, and one more that may be none, and makes the state after them the compressor's.
func (c *Compressor) commit(s *search, i int, more item) []item {
	if i > 0 {
		s.enter(i)
	}
	c.state = s.states[i]
	items := s.items[:0]
	if more.length > 0 {
		c.state.take(more.source)
		items = append(items, more)
	}
	for i > 0 {
		nd := &s.nodes[i]
		if nd.gap > 0 {
			items = append(items, item{repeated, nd.gap}, item{literal, 1})
		}
		items = append(items, item{nd.source, nd.length})
		i = s.previous(i)
	}
	slices.Reverse(items)
	s.parser.items = items
	return items
}
