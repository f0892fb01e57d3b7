package lzms

import "husk/compress/internal/lzhuff"

// A adaptiveCode is a Huffman code that follows the frequencies of its symbols.
type adaptiveCode struct {
	count   []uint32 // by symbol
	length  []uint8  // by symbol
	word    []uint16 // by symbol
	rebuild int      // symbols between two constructions
	left    int      // symbols until the next
}

func newAdaptiveCode(symbols, rebuild int) adaptiveCode {
	return adaptiveCode{make([]uint32, symbols), make([]uint8, symbols), make([]uint16, symbols), rebuild, 0}
}

// reset makes the code for n symbols that occur equally often. n is at least 2.
func (c *adaptiveCode) reset(b *lzhuff.Builder, n int) {
	c.count, c.length, c.word = c.count[:n], c.length[:n], c.word[:n]
	for i := range c.count {
		c.count[i] = 1
	}
	c.build(b)
}

// build constructs the code, and halves the counts.
func (c *adaptiveCode) build(b *lzhuff.Builder) {
	b.Build(c.length, c.word, c.count, maxCodeLen)
	for i, n := range c.count {
		c.count[i] = n>>1 + 1
	}
	c.left = c.rebuild
}
