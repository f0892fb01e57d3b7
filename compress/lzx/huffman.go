package lzx

import "husk/compress/internal/lzhuff"

// A code is a canonical Huffman code, made from symbol counts.
type code struct {
	limit  int      // bits of the longest codeword allowed
	count  []uint32 // by symbol: how often it occurs, less than 1<<22: the input
	length []uint8  // by symbol: bits of its codeword, 0 if it does not occur
	word   []uint16 // by symbol: its codeword, right-aligned

	builder *lzhuff.Builder
}

func newCode(builder *lzhuff.Builder, symbols, limit int) *code {
	return &code{
		limit:   limit,
		count:   make([]uint32, symbols),
		length:  make([]uint8, symbols),
		word:    make([]uint16, symbols),
		builder: builder,
	}
}

// build chooses length and word for count.
func (c *code) build() { c.builder.Build(c.length, c.word, c.count, c.limit) }

// bits returns how many bits all codewords of the counted symbols take.
func (c *code) bits() int {
	n := 0
	for sym, count := range c.count {
		n += int(count) * int(c.length[sym])
	}
	return n
}
