// Package lzms compresses and expands LZMS chunks as WIM files hold them, above all in the solid resources of ESD files.
//
// A chunk is 1 byte to 1 GiB plain, usually 64 MiB, and stands alone: it shares no state with its neighbours and does not
// record its own size. Compressed it is an even number of bytes, at least 4, read from both ends in 16-bit little-endian
// units:
//
//	forward ->                                              <- backward
//	[ range-coded bits: what comes next ... | ... Huffman symbols and raw bits ]
//
// The range coder tells what an item is, with 64 adaptive probabilities per decision chosen by that decision's own latest
// outcomes. Symbols and raw bits of the items come from the other end, most significant bit of each unit first.
//
// An item is a literal byte, an LZ match or a delta match. An LZ match copies from an offset back, given by a slot and extra
// bits, or one of the latest. A delta match, of a power p and a raw offset r, copies differences: with span 1<<p and offset
// r<<p, out[i] = out[i-offset] + out[i-span] - out[i-offset-span]. Its pair (p, r) is explicit, or one of the latest. A
// queue of latest sources holds four, of which three can be named: the source of the item just before cannot, as the queue
// learns of it one item late.
//
// The five Huffman codes are adaptive: each symbol counts, and after so many symbols the code is built anew from the counts,
// which are then halved. The code's construction, ties included, is part of the format.
//
// Relative addresses of x86 code are made absolute before compression, always: see x86Filter. A chunk that would not shrink is
// not compressed at all: WIM stores it raw, which it recognises by its size.
//
// The encoder finds matches with a ladder of hash tables (see finder), and takes the cheapest items under the costs that the adaptive
// codes give just there (see parser).
//
// Sources: wimlib 1.14.5 include/wimlib/lzms_constants.h and src/lzms_decompress.c, for facts.
package lzms
