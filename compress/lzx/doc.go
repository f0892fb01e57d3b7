// Package lzx compresses and expands LZX chunks as WIM files and the WOF format LZX hold them. It is the LZX of cabinet
// files with a few differences.
//
// A chunk is 1 to 2 MiB plain bytes, at most the window, and stands alone: it shares no state with its neighbours and
// does not record its own size. Compressed it is a stream of 16-bit little-endian units, each read from its most
// significant bit down, and consists of blocks, each for so many plain bytes:
//
//	3 bits       block type: 1 verbatim, 2 aligned, 3 uncompressed
//	1 bit        1 if the block is for 32768 plain bytes; else the size follows in
//	16/24 bits   plain bytes, 16 bits if the window is 32 KiB
//	8 * 3 bits   aligned only: lengths of the aligned code's codewords
//	             lengths of the main code for the literals, of the rest of the main code, and of the length code: each
//	             time 20 four-bit lengths of a precode, then presymbols until all lengths are told
//	             items until the block's plain bytes are reached
//
// Codes are canonical, ordered by length, then symbol, and complete or empty. Lengths are told as differences from those
// of the same symbol in the block before, the first block's being from 0: presymbol 0 to 16 is (old - new) mod 17 of one
// length; 17 and 18 start runs of 4+x (4 bits) and 20+x (5 bits) zeros; 19 starts a run of 4+x (1 bit) lengths that are
// all what the presymbol after it says about the first.
//
// Symbols 0 to 255 of the main code are literal bytes. Symbol 256 + 8*S + H is a match, which copies H+2 bytes or, if
// H is 7, 9 plus the symbol of the length code that follows. S is the offset slot: 0, 1 and 2 repeat one of the three
// latest offsets, which are all 1 at first, and swap it to the front of the three; others stand for a range of
// 1<<extra offsets, told apart by so many bits. In an aligned block the low three of them are a symbol of the aligned
// code if there are at least three. Matches may overlap what they produce, but not the end of their block.
//
// An uncompressed block starts at the next unit, one unit later if it is at one, with the three latest offsets as
// 32-bit numbers, then come the bytes, and one more for an odd size.
//
// The addresses of x86 calls are made absolute before compression, always: see callFilter. A chunk that would not shrink
// is not compressed at all: WIM and WOF store it raw, which they recognise by its size.
//
// Sources: Microsoft, [MS-PATCH] "LZX DELTA Compression and Decompression" 2 for what cabinets and WIM share; for the
// differences, wimlib 1.14.5 include/wimlib/lzx_constants.h and src/lzx_decompress.c.
package lzx
