package xpress

import "encoding/binary"

const (
	maxChunk    = 65536 // plain bytes; [MS-XCA] 2.1.4 starts a new table after as many
	numSymbols  = 512
	maxCodeLen  = 15
	lengthsSize = numSymbols / 2 // bytes of code lengths that start a chunk
	minMatch    = 3
	firstMatch  = 256 // symbols below are literals
	endOfData   = 256 // as a match it would be offset 1, length 3

	longHeader = 15                    // H of a match whose length continues in bytes
	longMatch  = minMatch + longHeader // shortest such match
)

var le = binary.LittleEndian

// swapUnits reverses the order of the four 16-bit units in x, so that a little-endian load of four units gives the bits
// of the first unit at the top.
func swapUnits(x uint64) uint64 {
	const low = 0x0000ffff0000ffff
	x = x>>16&low | x&low<<16
	return x>>32 | x<<32
}
