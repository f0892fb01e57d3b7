package lzx

import "fmt"

// tableBits is the longest codeword that is found by one look-up.
const tableBits = 11

// A decodeTable maps the codewords of one code to entries. An entry is what a symbol means, from bit 8 up, and the
// length of its codeword in the low 5 bits.
type decodeTable struct {
	table   [1 << tableBits]uint32 // by the next tableBits bits; 0 for a longer codeword
	entries [maxMainSymbols]uint32 // in codeword order, without lengths
	limit   [maxCodeLen + 1]uint32 // by length: the first 16-bit value above its codewords
	first   [maxCodeLen + 1]uint32 // by length: the 16-bit value of its first codeword
	index   [maxCodeLen + 1]uint32 // by length: where its symbols start in entries
}

// matchEntry is the least entry of a match in the main code: slot+1<<16 | H+2<<8. A literal is b<<8.
const matchEntry = 1 << 16

// Entries by symbol, without lengths.
var mainEntries, plainEntries = func() (main, plain [maxMainSymbols]uint32) {
	for sym := range main {
		plain[sym] = uint32(sym) << 8
		main[sym] = plain[sym]
		if sym >= firstMatch {
			slot, header := (sym-firstMatch)/slotSymbols, (sym-firstMatch)%slotSymbols
			main[sym] = uint32(slot+1)<<16 | uint32(header+minMatch)<<8
		}
	}
	return main, plain
}()

// emptyEntry is what all look-ups in the table of an empty code give: a symbol that no chunk has room for.
const emptyEntry = emptySymbol << 8

const emptySymbol = 1 << 23

// build makes the table of the code whose codewords have the given lengths. entries are by symbol.
func (t *decodeTable) build(lengths []uint8, entries []uint32) error {
	var count [maxCodeLen + 1]uint32
	for _, l := range lengths {
		count[l]++
	}
	var next [maxCodeLen + 1]uint32 // by length: index in entries of the next one
	code, index := uint32(0), uint32(0)
	for l := 1; l <= maxCodeLen; l++ {
		next[l], t.index[l], t.first[l] = index, index, code
		index += count[l]
		code += count[l] << (maxCodeLen - l)
		t.limit[l] = code
	}
	next[0] = index // unused symbols are sorted too, last: a branch on them would be mispredicted all the time
	for sym, l := range lengths {
		t.entries[next[l]] = entries[sym]
		next[l]++
	}
	switch code {
	case 0:
		for i := range t.table {
			t.table[i] = emptyEntry
		}
		return nil
	case 1 << maxCodeLen:
		t.fill()
		return nil
	}
	return fmt.Errorf("lengths fill %d/%d of the code space, want all or nothing", code, 1<<maxCodeLen)
}

// fill gives each codeword of at most tableBits bits all the table entries it is a prefix of, and the rest 0.
func (t *decodeTable) fill() {
	rest := t.table[:]
	for l := 1; l <= tableBits; l++ {
		n := (t.limit[l] - t.first[l]) >> (maxCodeLen - l)
		span := 1 << (tableBits - l)
		for _, e := range t.entries[t.index[l]:][:n] {
			e |= uint32(l)
			for i := range rest[:span] {
				rest[i] = e
			}
			rest = rest[span:]
		}
	}
	clear(rest)
}

// lookUp decodes the codeword at the top of acc.
func (t *decodeTable) lookUp(acc uint64) uint32 {
	if e := t.table[acc>>(64-tableBits)]; e != 0 {
		return e
	}
	return t.lookUpLong(uint32(acc >> (64 - maxCodeLen)))
}

// lookUpLong is lookUp for codewords longer than tableBits. code is the next 16 bits.
func (t *decodeTable) lookUpLong(code uint32) uint32 {
	l := tableBits + 1
	for l < maxCodeLen && code >= t.limit[l] {
		l++
	}
	return t.entries[t.index[l]+(code-t.first[l])>>(maxCodeLen-l)] | uint32(l)
}
