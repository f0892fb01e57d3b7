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
