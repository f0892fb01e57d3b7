package xpress

import "husk/compress/internal/lzhuff"

// A code is a canonical Huffman code for one chunk, made from symbol counts. Its arrays are scratch space that lives as
// long as the Compressor.
type code struct {
	count  [numSymbols]uint32 // how often each symbol occurs: the input
	length [numSymbols]uint8  // of each codeword in bits, 0 if the symbol does not occur
	word   [numSymbols]uint16 // codewords, right-aligned

	builder lzhuff.Builder
}

// build chooses length and word for count, which must have at least two symbols. A chunk always has: it starts with a
// literal, as there is nothing yet to match, and ends with endOfData.
func (c *code) build() { c.builder.Build(c.length[:], c.word[:], c.count[:], maxCodeLen) }
