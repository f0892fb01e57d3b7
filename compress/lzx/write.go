package lzx

// A preItem is a presymbol and, above its low 8 bits, the value of the bits that follow it.
type preItem uint16

// preBits returns how many bits follow a presymbol.
func preBits(sym uint8) int {
	switch sym {
	case shortZeros:
		return shortZerosBits
	case longZeros:
		return longZerosBits
	case sameRun:
		return sameBits
	}
	return 0
}

// writeBlock writes a block that becomes items. It returns false if the chunk then exceeds limit bytes.
func (c *Compressor) writeBlock(items []item, b *block, limit int) bool {
	copy(c.main.count, b.counts.main[:])
	copy(c.length.count, b.counts.length[:])
	copy(c.aligned.count, b.counts.aligned[:])
	c.main.build()
	c.length.build()
	c.aligned.build()

	kind, extra := verbatimBlock, 0
	matches := 0
	for _, n := range b.counts.aligned {
		matches += int(n)
	}
	alignedSize := c.aligned.bits() - alignedBits*matches
	if 3*alignedSymbols+alignedSize < 0 {
		kind, extra = alignedBlock, alignedSize
	}
	for s, slot := range slots[:c.slots] {
		for _, n := range c.main.count[firstMatch+slotSymbols*s:][:slotSymbols] {
			extra += int(n) * int(slot.extra)
		}
	}
	// The header has yet to be added, so this is too low, by less than what the buffer has room for.
	if (c.writer.bits()+c.main.bits()+c.length.bits()+extra)/8 > limit {
		return false
	}
	c.writeHeader(kind, b.size)
	c.writeItems(kind, items)
	copy(c.oldMain, c.main.length)
	copy(c.oldLength, c.length.length)
	return true
}

// headerRoom is more than the header of a block takes, in bytes, and the 8 that a bitWriter writes ahead: two for each code length, which a
// presymbol of at most 15 bits tells, and what comes before.
const headerRoom = 2*(maxMainSymbols+lengthSymbols) + 64

func (c *Compressor) writeHeader(kind, size int) {
	w := &c.writer
	w.put(uint64(kind), 3)
	if size == defaultBlock {
		w.put(1, 1)
	} else {
		w.put(uint64(size), 1+blockSizeBits(c.window))
	}
	if kind == alignedBlock {
		for _, l := range c.aligned.length {
			w.put(uint64(l), 3)
		}
	}
	c.writeLengths(c.main.length[:firstMatch], c.oldMain[:firstMatch])
	c.writeLengths(c.main.length[firstMatch:], c.oldMain[firstMatch:])
	c.writeLengths(c.length.length, c.oldLength)
}

// writeLengths writes code lengths and the precode that tells them.
func (c *Compressor) writeLengths(lengths, old []uint8) {
	c.header = c.header[:0]
	clear(c.pre.count)
	for i := 0; i < len(lengths); {
		run := 1
		for i+run < len(lengths) && lengths[i+run] == lengths[i] {
			run++
		}
		i += c.run(lengths[i], old[i:i+run])
	}
	c.pre.build()
	w := &c.writer
	for _, l := range c.pre.length {
		w.put(uint64(l), 4)
	}
	for _, it := range c.header {
		sym := uint8(it)
		w.put(uint64(c.pre.word[sym]), int(c.pre.length[sym]))
		if n := preBits(sym); n > 0 {
			w.put(uint64(it>>8), n)
		}
	}
}

// run adds to header how the lengths that were old all become length, or some of them, and returns how many.
func (c *Compressor) run(length uint8, old []uint8) int {
	n := len(old)
	switch {
	case length == 0 && n >= longZerosMin:
		n = min(n, longZerosMin+1<<longZerosBits-1)
		c.preItem(longZeros, n-longZerosMin)
	case length == 0 && n >= shortZerosMin:
		c.preItem(shortZeros, n-shortZerosMin)
	case length != 0 && n >= sameMin:
		n = min(n, sameMin+1<<sameBits-1)
		c.preItem(sameRun, n-sameMin)
		c.preItem(delta(length, old[0]), 0)
	default:
		for _, old := range old {
			c.preItem(delta(length, old), 0)
		}
	}
	return n
}

func (c *Compressor) preItem(sym uint8, value int) {
	c.header = append(c.header, preItem(value<<8)|preItem(sym))
	c.pre.count[sym]++
}

// delta returns the presymbol for a length that was old.
func delta(length, old uint8) uint8 {
	if length <= old {
		return old - length
	}
	return old + maxCodeLen + 1 - length
}

func (c *Compressor) writeItems(kind int, items []item) {
	w := c.writer
	for _, it := range items {
		if it.isLiteral() {
			b := it.code() & 0xff
			w.put(uint64(c.main.word[b]), int(c.main.length[b]))
			continue
		}
		code := it.code()
		slot := slotOf(code)
		header := it.length() - minMatch
		if header < longHeader {
			sym := firstMatch + slotSymbols*int(slot) + header
			w.put(uint64(c.main.word[sym]), int(c.main.length[sym]))
		} else {
			sym := firstMatch + slotSymbols*slot + longHeader
			k := int(c.length.length[header-longHeader])
			word := uint64(c.main.word[sym])<<k | uint64(c.length.word[header-longHeader])
			w.put(word, k+int(c.main.length[sym]))
		}
		if slot < repeatSlots {
			continue
		}
		extra := int(slots[slot].extra)
		value := uint64(code - repeatOffset - slots[slot].base)
		if kind == alignedBlock && slot >= alignedSlot {
			k := int(c.aligned.length[code%alignedSymbols])
			value = value>>alignedBits<<k | uint64(c.aligned.word[code%alignedSymbols])
			extra += k - alignedBits
		}
		w.put(value, extra)
	}
	c.writer = w
}
