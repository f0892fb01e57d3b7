package lzms

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
)

// MaxChunk is the largest chunk that the format allows, in plain bytes.
const MaxChunk = 1 << 30

const (
	minStored = 4 // bytes: what the range decoder starts with

	queueSlots   = 4 // latest sources that are kept
	repeatSlots  = 3 // of them that can be named at a time
	deltaPowers  = 8
	maxCodeLen   = 15
	maxSlots     = 799
	lengthSlots  = 54
	literalCount = 256
)

// Symbols after which an adaptive code is built anew.
const (
	literalRebuild = 1024
	offsetRebuild  = 1024
	lengthRebuild  = 512
	powerRebuild   = 512
)

// Contexts of the decisions: how many outcomes back each looks is the logarithm.
const (
	mainContexts   = 16
	matchContexts  = 32
	lzContexts     = 64
	repeatContexts = 64
	deltaContexts  = 64
)

var le = binary.LittleEndian

// A slot is a range of values, those of base to base + 1<<extra - 1.
type slot struct {
	base  uint32
	extra uint8 // bits
}

// run is n slots of so many extra bits.
type run struct{ n, extra int }

var offsetSlots = makeSlots(
	run{8, 0}, run{9, 2}, run{7, 3}, run{10, 4}, run{15, 5}, run{15, 6}, run{20, 7}, run{20, 8}, run{30, 9}, run{33, 10}, run{40, 11},
	run{42, 12}, run{45, 13}, run{60, 14}, run{73, 15}, run{80, 16}, run{85, 17}, run{95, 18}, run{105, 19}, run{6, 20}, run{1, 30})

var matchLengthSlots = makeSlots(
	run{26, 0}, run{4, 1}, run{6, 2}, run{4, 3}, run{5, 4}, run{2, 5}, run{1, 6}, run{1, 7}, run{1, 8}, run{1, 9}, run{1, 10}, run{1, 16}, run{1, 30})

func makeSlots(runs ...run) (slots []slot) {
	base := uint32(1)
	for _, r := range runs {
		for range r.n {
			slots = append(slots, slot{base, uint8(r.extra)})
			base += 1 << r.extra
		}
	}
	return slots
}

// slotOf returns the slot of a value of at least 1.
func slotOf(slots []slot, value uint32) int {
	n, exact := slices.BinarySearchFunc(slots, value, func(s slot, v uint32) int {
		switch {
		case s.base < v:
			return -1
		case s.base > v:
			return 1
		}
		return 0
	})
	if exact {
		return n
	}
	return n - 1
}

const (
	nearOffsets  = 1 << 13 // of which the slot is looked up directly
	farOffsets   = 1 << 20
	farShift     = 8  // no slot from nearOffsets on is smaller than 1<<farShift
	distantShift = 13 // nor one from farOffsets on than 1<<distantShift
	shortLengths = 1 << 9
)

// Slots of offsets below nearOffsets, of those beyond by their upper bits, where the next slot may be the right one, and of short
// lengths.
var (
	nearSlots    [nearOffsets]uint16
	farSlots     [farOffsets >> farShift]uint16
	distantSlots []uint16
	lengthSlot   [shortLengths]uint8
	fillLookups  = sync.OnceFunc(func() {
		for i := 1; i < nearOffsets; i++ {
			nearSlots[i] = uint16(slotOf(offsetSlots, uint32(i)))
		}
		for i := range farSlots {
			farSlots[i] = uint16(slotOf(offsetSlots, max(uint32(i)<<farShift, 1)))
		}
		distantSlots = make([]uint16, offsetSlots[maxSlots-1].base>>distantShift+1)
		for i := range distantSlots {
			distantSlots[i] = uint16(slotOf(offsetSlots, max(uint32(i)<<distantShift, 1)))
		}
		for i := 1; i < shortLengths; i++ {
			lengthSlot[i] = uint8(slotOf(matchLengthSlots, uint32(i)))
		}
	})
)

// offsetSlot is slotOf for offsets, by the tables that fillLookups makes.
func offsetSlot(offset uint32) uint32 {
	s := uint32(maxSlots - 1)
	switch {
	case offset < nearOffsets:
		return uint32(nearSlots[offset])
	case offset < farOffsets:
		s = uint32(farSlots[offset>>farShift])
	case offset>>distantShift < uint32(len(distantSlots)):
		s = uint32(distantSlots[offset>>distantShift])
	}
	if s+1 < maxSlots && offsetSlots[s+1].base <= offset {
		s++
	}
	return s
}

// lengthSlotOf is slotOf for lengths.
func lengthSlotOf(length uint32) uint32 {
	if length < shortLengths {
		return uint32(lengthSlot[length])
	}
	return uint32(slotOf(matchLengthSlots, length))
}

// numOffsetSlots returns how many offset slots a chunk of size plain bytes uses: enough for offsets below size.
func numOffsetSlots(size int) int {
	if size < 2 {
		return 0
	}
	return 1 + slotOf(offsetSlots, uint32(min(size-1, MaxChunk)))
}

// A probability counts the zeros among the latest 64 outcomes of a decision.
type probability struct {
	outcomes uint64 // newest in bit 0
	zeros    uint32
}

var startProbability = probability{0x55555555, 64 - uint32(bits.OnesCount64(0x55555555))}

// of is the number of zeros in 64 outcomes that is coded with: never certain.
func (p *probability) of() uint32 {
	z := p.zeros
	if z == 0 {
		return 1
	}
	if z == 64 {
		return 63
	}
	return z
}

func (p *probability) update(bit uint32) {
	p.zeros += uint32(p.outcomes>>63) - bit
	p.outcomes = p.outcomes<<1 | uint64(bit)
}
