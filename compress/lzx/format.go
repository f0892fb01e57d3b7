package lzx

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

const (
	minWindow = 1 << 15
	maxWindow = 1 << 21

	minMatch = 2
	maxMatch = 257

	firstMatch  = 256 // symbols of the main code below are literals
	slotSymbols = 8   // symbols per offset slot
	longHeader  = 7   // H of a match whose length continues with the length code
	longMatch   = minMatch + longHeader
	repeatSlots = 3  // slots that mean one of the latest offsets
	maxSlots    = 50 // of the 2 MiB window

	alignedSlot = 8 // the first slot with at least alignedBits extra bits
	alignedBits = 3

	maxMainSymbols = firstMatch + slotSymbols*maxSlots
	lengthSymbols  = maxMatch - longMatch + 1
	alignedSymbols = 1 << alignedBits
	preSymbols     = 20

	maxCodeLen    = 16 // of the main and length codes
	maxPreLen     = 15
	maxAlignedLen = 7

	defaultBlock = 32768 // plain bytes of a block that does not tell its size
)

// Types of blocks.
const (
	verbatimBlock     = 1
	alignedBlock      = 2
	uncompressedBlock = 3
)

// Presymbols above those that tell one length.
const (
	shortZeros = 17
	longZeros  = 18
	sameRun    = 19

	shortZerosMin, shortZerosBits = 4, 4
	longZerosMin, longZerosBits   = 20, 5
	sameMin, sameBits             = 4, 1
)

var le = binary.LittleEndian

// A slot is a range of match offsets, those of base to base + 1<<extra - 1.
type slot struct {
	base  uint32
	extra uint8 // bits
}

// slots by number. The first three have no range.
var slots = func() (slots [maxSlots]slot) {
	base := uint32(1)
	for i := repeatSlots; i < maxSlots; i++ {
		extra := min(max(i/2-1, 0), 17)
		slots[i] = slot{base, uint8(extra)}
		base += 1 << extra
	}
	return slots
}()

// numSlots returns how many slots there are for a window: enough for offsets up to window-3.
func numSlots(window int) int {
	n := maxSlots
	for n > 0 && int(slots[n-1].base) >= window-2 {
		n--
	}
	return n
}

// checkWindow returns an error unless the size of a window is one the format knows.
func checkWindow(window int) error {
	if window < minWindow || window > maxWindow || bits.OnesCount(uint(window)) != 1 {
		return fmt.Errorf("window of %d bytes, want a power of two from %d to %d", window, minWindow, maxWindow)
	}
	return nil
}

// blockSizeBits returns how many bits tell the size of a block.
func blockSizeBits(window int) int {
	if window > minWindow {
		return 24
	}
	return 16
}
