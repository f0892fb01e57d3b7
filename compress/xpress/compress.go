package xpress

import (
	"fmt"
	"math/bits"

	"husk/compress/internal/lzhuff"
)

// A Level trades speed for size.
type Level int

const (
	Fast    Level = iota + 1 // looks at few earlier places for a match
	Default                  // hash chains and lazy matching: wimlib's size
	Best                     // near-optimal choice among all matches
)

// A Compressor compresses chunks, reusing its tables. It is not for concurrent use.
type Compressor struct {
	level Level
	finder

	items  [maxChunk + 1]uint32 // what the chunk becomes: offset bits<<9 | symbol
	nItems int
	longs  [maxChunk/longMatch + 1]long // the matches among items that need length bytes
	nLongs int

	optimal *optimal // nil below Best

	code  code
	emit  [numSymbols]uint64 // by symbol: (codeword << number of offset bits)<<8 | bits of both
	units [maxChunk + 8]byte // the bit stream without length bytes
}

// A long is a match whose symbol does not tell its length.
type long struct {
	item   uint16 // index in items
	length uint16 // minus minMatch
	at     int32  // bytes of units that come before its length bytes
}

// bytes returns how many length bytes l needs.
func (l *long) bytes() int {
	if l.length < longHeader+0xff {
		return 1
	}
	return 3
}

// NewCompressor returns a Compressor for a level from Fast to Best. It takes 0.8 MiB, or 3.8 MiB for Best.
func NewCompressor(level Level) *Compressor {
	if level < Fast || level > Best {
		panic(fmt.Sprintf("xpress: level %d, want %d to %d", level, Fast, Best))
	}
	c := &Compressor{level: level}
	if level == Best {
		c.optimal = new(optimal)
	}
	return c
}

// Compress compresses src, a chunk of at most 65536 bytes, into dst, which may not overlap it, and returns the number of
// bytes written. It returns 0 if that would exceed len(dst) or len(src)-1: the caller then stores the chunk raw. The
// result depends on src and the level only.
func (c *Compressor) Compress(dst, src []byte) int {
	if len(src) > maxChunk {
		panic(fmt.Sprintf("xpress: chunk of %d bytes, want at most %d", len(src), maxChunk))
	}
	limit := min(len(dst), len(src)-1)
	if limit <= lengthsSize {
		return 0
	}
	c.load(src)
	c.reset()
	switch c.level {
	case Fast:
		c.parseFast()
	case Default:
		c.parseLazy(lazyEffort(len(src)))
	case Best:
		c.parseOptimal()
	}
	size := c.size()
	if size > limit {
		return 0
	}
	c.write(dst[:size])
	return size
}

// reset forgets all items.
func (c *Compressor) reset() {
	c.nItems, c.nLongs = 0, 0
	clear(c.code.count[:])
}

// item appends an item: offset bits<<9 | symbol.
func (c *Compressor) item(it uint32) {
	c.items[c.nItems] = it
	c.nItems++
	c.code.count[it%numSymbols]++
}

// match appends a match. Both numbers are of the format's range.
func (c *Compressor) match(length, offset int) {
	log := bits.Len32(uint32(offset)) - 1
	header := length - minMatch
	if header >= longHeader {
		c.longs[c.nLongs] = long{item: uint16(c.nItems), length: uint16(header)}
		c.nLongs++
		header = longHeader
	}
	c.item(uint32(offset-1<<log)<<9 | uint32(firstMatch+log<<4+header))
}

// offsetBits returns how many offset bits follow sym.
func offsetBits(sym int) int {
	return max(sym-firstMatch, 0) >> 4
}

// size returns the compressed size of the items.
func (c *Compressor) size() int {
	n := 0
	for sym, count := range c.code.count {
		n += int(count) * (int(c.code.length[sym]) + offsetBits(sym))
	}
	size := lengthsSize + unitBytes(n)
	for i := range c.longs[:c.nLongs] {
		size += c.longs[i].bytes()
	}
	return size
}

// unitBytes returns how many bytes of units a reader has fetched that has consumed n > 0 bits.
func unitBytes(n int) int {
	return (n+15)/16*2 + 2
}

// write writes the compressed chunk, whose size is len(dst).
func (c *Compressor) write(dst []byte) {
	for k := range lengthsSize {
		dst[k] = c.code.length[2*k] | c.code.length[2*k+1]<<4
	}
	for sym, word := range c.code.word {
		shift := offsetBits(sym)
		c.emit[sym] = uint64(word)<<shift<<8 | uint64(int(c.code.length[sym])+shift)
	}

	// Only the place of the length bytes ties them to the units, so first all units, then the two merged.
	var w unitWriter
	item := 0
	for i := range c.longs[:c.nLongs] {
		l := &c.longs[i]
		w.write(c, c.items[item:l.item])
		item = int(l.item)
		l.at = int32(unitBytes(w.pos*8 + w.n + int(c.code.length[c.items[item]%numSymbols])))
	}
	w.write(c, c.items[item:c.nItems])

	dst = dst[lengthsSize:]
	from := 0
	for i := range c.longs[:c.nLongs] {
		l := &c.longs[i]
		n := copy(dst, c.units[from:l.at])
		from = int(l.at)
		if l.bytes() == 1 {
			dst[n] = byte(l.length - longHeader)
		} else {
			dst[n] = 0xff
			le.PutUint16(dst[n+1:], l.length)
		}
		dst = dst[n+l.bytes():]
	}
	copy(dst, c.units[from:])
}

// A unitWriter appends bits to Compressor.units.
type unitWriter struct {
	acc uint64 // pending bits, from the top
	n   int    // how many, under 16
	pos int    // bytes of units before them
}

// write appends items. What follows their last bit is zero for at least one unit.
func (w *unitWriter) write(c *Compressor, items []uint32) {
	acc, n, pos := w.acc, w.n, w.pos
	for _, it := range items {
		e := c.emit[it%numSymbols]
		n += int(e & 0xff)
		acc |= (e>>8 | uint64(it>>9)) << ((64 - n) & 63)
		le.PutUint64(c.units[pos:], lzhuff.SwapUnits(acc))
		full := n &^ 15
		acc <<= full & 63
		pos += full >> 3
		n &= 15
	}
	w.acc, w.n, w.pos = acc, n, pos
}
