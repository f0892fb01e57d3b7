package lzms

import (
	"fmt"
	"math/bits"

	"husk/compress/internal/lzhuff"
)

// A Level trades speed for size.
type Level int

const (
	Fast    Level = iota + 1 // few rungs, no delta matches
	Default                  // a full ladder: wimlib's size
	Best                     // the same, with more of everything
)

const minChunk = 64 // plain bytes from which a chunk is worth a try

// An effort is what a level does.
type effort struct {
	rungs       []rungSize
	deltaPowers int // how many of the powers, from 0, are tried
	nice        int // a match this long is taken without a look inside it
}

// rungSize is the shape of a rung in the largest chunks.
type rungSize struct{ length, hashBits int }

func newEffort(level Level) *effort {
	switch level {
	case Fast:
		return &effort{rungs: []rungSize{{3, 14}, {4, 16}, {6, 20}, {9, 22}, {20, 22}}, nice: 32}
	case Best:
		return &effort{rungs: []rungSize{{2, 16}, {3, 16}, {4, 18}, {5, 20}, {6, 22}, {7, 23}, {8, 24}, {10, 24}, {12, 24}, {16, 24}, {20, 24}, {28, 24}, {40, 24}},
			deltaPowers: 5, nice: 192}
	}
	return &effort{rungs: []rungSize{{3, 16}, {4, 18}, {5, 20}, {6, 22}, {8, 23}, {12, 23}, {20, 23}}, deltaPowers: 3, nice: 64}
}

// A Compressor compresses chunks, reusing its tables. It is not for concurrent use.
type Compressor struct {
	chunk  int
	effort *effort

	buf    []byte // plain bytes, starting at 1 so that position 0 can mean none, and padding
	end    int    // position after the last byte
	filter x86Filter
	finder *finder
	parser *parser
	models models

	forward  rangeEncoder
	backward backwardWriter
	outcomes outcomes
	state    state // after the items written
}

// models are the probabilities and codes of a chunk, as both sides have them.
type models struct {
	main    [mainContexts]probability
	match   [matchContexts]probability
	lz      [lzContexts]probability
	lzRep   [repeatSlots - 1][repeatContexts]probability
	delta   [deltaContexts]probability
	deltaRe [repeatSlots - 1][repeatContexts]probability

	builder                                     lzhuff.Builder
	literal, offset, length, deltaOffset, power adaptiveCode
}

// outcomes are the latest of each decision.
type outcomes struct {
	main, match, lz, delta uint32
	lzRep, deltaRep        [repeatSlots - 1]uint32
}

// NewCompressor returns a Compressor for chunks of at most so many plain bytes, up to MaxChunk, and a level from Fast to Best. It takes
// [Memory] bytes, and as many as the chunk becomes.
func NewCompressor(chunk int, level Level) *Compressor {
	if chunk < 1 || chunk > MaxChunk {
		panic(fmt.Sprintf("lzms: chunks of %d bytes, want 1 to %d", chunk, MaxChunk))
	}
	if level < Fast || level > Best {
		panic(fmt.Sprintf("lzms: level %d, want %d to %d", level, Fast, Best))
	}
	fillLookups()
	c := &Compressor{chunk: chunk, effort: newEffort(level)}
	c.buf = make([]byte, 1+chunk+padding)
	c.finder = newFinder(chunk, c.effort)
	c.parser = newParser(c.effort)
	return c
}

// Memory returns how many bytes a Compressor takes, without what it collects of its output.
func Memory(chunk int, level Level) int64 {
	e := newEffort(level)
	log := bits.Len(uint(max(chunk, 2) - 1))
	n := int64(chunk) + 2<<20
	for _, r := range e.rungs {
		n += 4 << max(min(r.hashBits, log), minHashBits)
	}
	return n + int64(e.deltaPowers)*4<<deltaHashBits
}

// Compress compresses src, a chunk of at most the bytes that NewCompressor was told, into dst, which may not overlap it, and returns the
// number of bytes written. It returns 0 if that would exceed len(dst) or len(src)-1: the caller then stores the chunk raw. The
// result depends on src and the level only.
func (c *Compressor) Compress(dst, src []byte) int {
	if len(src) > c.chunk {
		panic(fmt.Sprintf("lzms: chunk of %d bytes, want at most %d", len(src), c.chunk))
	}
	limit := min(len(dst), len(src)-1) &^ 1
	if len(src) < minChunk || limit < minStored {
		return 0
	}
	c.load(src)
	c.forward.start(dst[:limit])
	c.backward.start()
	for p := 1; p < c.end; {
		items := c.parse(p)
		for _, it := range items {
			c.write(p, it)
			p += int(it.length)
		}
		if c.forward.pos+len(c.backward.buf) > limit {
			return 0
		}
	}
	c.forward.finish()
	c.backward.finish()
	size := c.forward.pos + len(c.backward.buf)
	if size > limit {
		return 0
	}
	c.backward.copyTo(dst[c.forward.pos:size])
	return size
}

// load takes in the plain bytes and forgets the last chunk.
func (c *Compressor) load(src []byte) {
	c.end = 1 + copy(c.buf[1:], src)
	c.filter.apply(c.buf[1:c.end], true)
	clear(c.buf[c.end:][:padding])
	c.finder.reset(len(src))
	c.parser.reset()
	c.models.reset(len(src))
	c.outcomes = outcomes{}
	c.state = startState
}

// reset puts everything to how a chunk of size plain bytes starts.
func (m *models) reset(size int) {
	for _, list := range [][]probability{m.main[:], m.match[:], m.lz[:], m.lzRep[0][:], m.lzRep[1][:], m.delta[:], m.deltaRe[0][:], m.deltaRe[1][:]} {
		for i := range list {
			list[i] = startProbability
		}
	}
	if m.literal.rebuild == 0 {
		m.literal = newAdaptiveCode(literalCount, literalRebuild)
		m.offset = newAdaptiveCode(maxSlots, offsetRebuild)
		m.length = newAdaptiveCode(lengthSlots, lengthRebuild)
		m.deltaOffset = newAdaptiveCode(maxSlots, offsetRebuild)
		m.power = newAdaptiveCode(deltaPowers, powerRebuild)
	}
	offsets := max(numOffsetSlots(size), 2)
	m.literal.reset(&m.builder, literalCount)
	m.offset.reset(&m.builder, offsets)
	m.length.reset(&m.builder, lengthSlots)
	m.deltaOffset.reset(&m.builder, offsets)
	m.power.reset(&m.builder, deltaPowers)
}

// symbol writes a symbol of a code.
func (c *Compressor) symbol(code *adaptiveCode, sym uint32) {
	c.backward.put(uint32(code.word[sym]), int(code.length[sym]))
	code.count[sym]++
	code.left--
	if code.left == 0 {
		code.build(&c.models.builder)
		c.parser.costs.upToDate = false
	}
}

// value writes a slot and its extra bits.
func (c *Compressor) value(code *adaptiveCode, s slot, sym, v uint32) {
	c.symbol(code, sym)
	if s.extra > 0 {
		c.backward.put(v-s.base, int(s.extra))
	}
}

func (c *Compressor) offset(code *adaptiveCode, v uint32) {
	sym := offsetSlot(v)
	c.value(code, offsetSlots[sym], sym, v)
}

// write writes the item at position p: the inverse of what Decompressor.expand does with one.
func (c *Compressor) write(p int, it item) {
	m, e, o := &c.models, &c.forward, &c.outcomes
	kind := it.source.kind()
	if kind == literal {
		e.bit(0, &o.main, m.main[:])
		c.symbol(&m.literal, uint32(c.buf[p]))
		return
	}
	e.bit(1, &o.main, m.main[:])
	v := it.source.value()
	switch {
	case kind == lzExplicit:
		e.bit(0, &o.match, m.match[:])
		e.bit(0, &o.lz, m.lz[:])
		c.offset(&m.offset, v)
	case kind == deltaExplicit:
		e.bit(1, &o.match, m.match[:])
		e.bit(0, &o.delta, m.delta[:])
		c.symbol(&m.power, v>>deltaRawBits)
		c.offset(&m.deltaOffset, v&maxDeltaRaw)
	case v < uint32(deltaRepeat):
		e.bit(0, &o.match, m.match[:])
		e.bit(1, &o.lz, m.lz[:])
		e.repeat(int(v), &o.lzRep, &m.lzRep)
	default:
		e.bit(1, &o.match, m.match[:])
		e.bit(1, &o.delta, m.delta[:])
		e.repeat(int(v-uint32(deltaRepeat)), &o.deltaRep, &m.deltaRe)
	}
	sym := lengthSlotOf(it.length)
	c.value(&m.length, matchLengthSlots[sym], sym, it.length)
}
