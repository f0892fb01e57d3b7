// Package xpress compresses and expands XPRESS Huffman chunks, the codec of "fast" WIM files and of the WOF formats
// XPRESS4K, XPRESS8K and XPRESS16K.
//
// A chunk is 1 to 65536 plain bytes and stands alone: it shares no state with its neighbours and does not record its
// own size. Compressed it is:
//
//	0x000  256 bytes   lengths of 512 codewords, four bits each: symbol 2k in the low nibble of byte k, 2k+1 in the high;
//	                   0 means unused. The codewords are canonical, ordered by length, then symbol, and complete.
//	0x100  bit stream  16-bit little-endian units, each read from its most significant bit down, mixed with length bytes
//
// Symbols 0 to 255 are literal bytes. Symbol 256 + 16*L + H is a match: it copies H+3 bytes from 1<<L plus the value of
// the next L bits back, so 1 to 65535 bytes. H = 15 means that the length continues in whole bytes: one byte b with
// length 18+b, or 0xff and a 16-bit number w with length 3+w. Matches may overlap what they produce.
//
// The length bytes are not in the units. They lie where the reader of the units stands, and that place is part of the
// format: a reader that has consumed n > 0 bits has fetched ceil(n/16)+1 units, so it is always one to two units ahead.
//
// Symbol 256 follows the last item as the end of data, although the size is known from outside: wimlib ignores it,
// Windows demands it.
//
// A chunk that would not shrink is not compressed at all: WIM and WOF store it raw, which they recognise by its size.
//
// Source: Microsoft, [MS-XCA] "Xpress Compression Algorithm", 2.1 and 2.2.
package xpress
