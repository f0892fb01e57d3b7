package lzx

import (
	"fmt"

	"husk/compress/internal/lzhuff"
)

// A Level trades speed for size.
type Level int

const (
	Fast    Level = iota + 1 // hash chains, asked on the way, and lazy matching: wimlib's level 20
	Default                  // near-optimal choice among the matches of binary trees: wimlib's size
	Best                     // the same, with more of everything
)

const (
	minChunk = 64 // plain bytes from which a chunk is worth a try

	// segment is how many plain bytes are parsed and cut into blocks at once.
	segment = 1 << 17
)

// A Compressor compresses chunks, reusing its tables. It is not for concurrent use.
type Compressor struct {
	window int
	slots  int
	effort effort

	buf     []byte     // plain bytes, starting at 1 so that position 0 can mean none, and padding
	end     int        // position after the last byte
	lazy    lazyParser // of level Fast; the others have
	finder  finder
	matches matches // of a segment, if there is a finder
	items   []item  // what the segment becomes
	recent  recent  // after the items written

	splitter splitter
	optimal  *optimal

	main, length, aligned, pre *code
	oldMain, oldLength         []uint8 // code lengths of the block before
	header                     []preItem
	writer                     bitWriter
}

// An effort is what a level does.
type effort struct {
	tree    bool // treeFinder, not chainFinder
	depth   int  // candidates looked at for each position
	nice    int  // a match this long is taken without a look inside it
	passes  int  // of the search for the cheapest items; not for a lazyParser
	pieces  int  // items that the splitter starts with in a block
	neutral bool // the first pass takes over nothing but the blocks and literals of parseLazy, so that it is not misled
}

func newEffort(window int, level Level) effort {
	switch {
	case level == Fast:
		return effort{depth: 8, nice: 64, pieces: 2048}
	case level == Best:
		return effort{tree: true, depth: 64, nice: 128, passes: 3, pieces: 768, neutral: true}
	case window == minWindow:
		return effort{depth: 24, nice: 32, passes: 1, pieces: 768}
	}
	return effort{tree: true, depth: 16, nice: 48, passes: 1, pieces: 768}
}

// A lazyParser is a lazyFinder of some width.
type lazyParser interface {
	reset()
	parse(c *Compressor, from, to int)
}

// A finder finds matches.
type finder interface {
	reset()
	find(m *matches, buf []byte, from, to, end, maxOffset, depth, nice int)
}

// NewCompressor returns a Compressor for a window that is a power of two from 32768 to 2097152, and a level from Fast to
// Best.
func NewCompressor(window int, level Level) *Compressor {
	if err := checkWindow(window); err != nil {
		panic("lzx: " + err.Error())
	}
	if level < Fast || level > Best {
		panic(fmt.Sprintf("lzx: level %d, want %d to %d", level, Fast, Best))
	}
	slots := numSlots(window)
	mainSymbols := firstMatch + slotSymbols*slots
	size := min(window, segment)
	builder := new(lzhuff.Builder)
	c := &Compressor{
		window:    window,
		slots:     slots,
		effort:    newEffort(window, level),
		buf:       make([]byte, 1+window+padding),
		items:     make([]item, 0, size),
		main:      newCode(builder, mainSymbols, maxCodeLen),
		length:    newCode(builder, lengthSymbols, maxCodeLen),
		aligned:   newCode(builder, alignedSymbols, maxAlignedLen),
		pre:       newCode(builder, preSymbols, maxPreLen),
		oldMain:   make([]uint8, mainSymbols),
		oldLength: make([]uint8, lengthSymbols),
		header:    make([]preItem, 0, mainSymbols+lengthSymbols),
		writer:    bitWriter{buf: make([]byte, window+headerRoom)},
	}
	switch {
	case level == Fast && window < 1<<16:
		c.lazy = newLazyFinder[uint16](window)
	case level == Fast:
		c.lazy = newLazyFinder[uint32](window)
	case c.effort.tree && window < 1<<16:
		c.finder = newTreeFinder[uint16](window)
	case c.effort.tree:
		c.finder = newTreeFinder[uint32](window)
	default:
		c.finder = newChainFinder(window)
	}
	if c.finder != nil {
		c.matches = matches{make([]item, 8*size), make([]uint32, size+1)}
		c.optimal = newOptimal(size)
	}
	return c
}

// Compress compresses src, a chunk of at most the window's bytes, into dst, which may not overlap it, and returns the
// number of bytes written. It returns 0 if that would exceed len(dst) or len(src)-1: the caller then stores the chunk
// raw. The result depends on src, the window and the level only.
func (c *Compressor) Compress(dst, src []byte) int {
	if len(src) > c.window {
		panic(fmt.Sprintf("lzx: chunk of %d bytes, want at most the window of %d", len(src), c.window))
	}
	limit := min(len(dst), len(src)-1)
	if len(src) < minChunk {
		return 0
	}
	c.load(src)
	for from := 1; from < c.end; {
		to := min(from+segment, c.end)
		if !c.segment(from, to, limit) {
			return 0
		}
		from = to
	}
	size := c.writer.finish()
	if size > limit {
		return 0
	}
	return copy(dst, c.writer.buf[:size])
}

// load takes in the plain bytes and forgets the last chunk.
func (c *Compressor) load(src []byte) {
	c.end = 1 + copy(c.buf[1:], src)
	callFilter(c.buf[1:c.end], absolute)
	clear(c.buf[c.end:][:padding])
	if c.lazy != nil {
		c.lazy.reset()
	} else {
		c.finder.reset()
	}
	c.recent = noRecent
	clear(c.oldMain)
	clear(c.oldLength)
	c.writer.reset()
}

// segment compresses the bytes at from to to-1. It returns false once limit bytes are exceeded.
func (c *Compressor) segment(from, to, limit int) bool {
	if c.lazy != nil {
		c.lazy.parse(c, from, to)
	} else {
		c.finder.find(&c.matches, c.buf, from, to, c.end, c.window-3, c.effort.depth, c.effort.nice)
		c.parseLazy(from, to)
	}
	items, start := c.items, from
	for i := range c.splitter.split(c.items, c.effort.pieces) {
		b := &c.splitter.blocks[i]
		best := items[:b.items]
		items = items[b.items:]
		for pass := range c.effort.passes {
			if pass == 0 && c.effort.neutral {
				b.counts.flatten(c.slots)
			}
			c.optimal.weigh(&b.counts, c.slots)
			best = c.optimal.choose(c.buf, &c.matches, from, start, start+b.size, c.effort.nice, c.recent)
			b.counts = counts{}
			b.counts.add(best)
		}
		for _, it := range best {
			if !it.isLiteral() {
				c.recent = c.recent.after(it.code())
			}
		}
		if !c.writeBlock(best, b, limit) {
			return false
		}
		start += b.size
	}
	return true
}
