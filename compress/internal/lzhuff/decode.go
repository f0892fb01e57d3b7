package lzhuff

import "fmt"

// tableBits is the longest codeword that is found by one look-up.
const tableBits = 11

// A DecodeTable maps the codewords of one code to entries. An entry is what a symbol means, from bit 8 up, and the
// length of its codeword in the low 5 bits.
type DecodeTable struct {
	table   [1 << tableBits]uint32 // by the next tableBits bits; 0 for a longer codeword
	entries [MaxSymbols]uint32     // in codeword order, without lengths
	limit   [MaxCodeLen + 1]uint32 // by length: the first 16-bit value above its codewords
	first   [MaxCodeLen + 1]uint32 // by length: the 16-bit value of its first codeword
	index   [MaxCodeLen + 1]uint32 // by length: where its symbols start in entries
}

// PlainEntries are entries that mean the symbol itself.
var PlainEntries = func() (plain [MaxSymbols]uint32) {
	for sym := range plain {
		plain[sym] = uint32(sym) << 8
	}
	return plain
}()

// EmptySymbol is what all look-ups in the table of an empty code mean: a symbol that no chunk has room for.
const EmptySymbol = 1 << 23

const emptyEntry = EmptySymbol << 8

// Build makes the table of the code whose codewords have the given lengths, which are at most MaxCodeLen. entries, what the
// symbols mean, are by symbol, at most MaxSymbols.
func (t *DecodeTable) Build(lengths []uint8, entries []uint32) error {
	var count [MaxCodeLen + 1]uint32
	for _, l := range lengths {
		count[l]++
	}
	var next [MaxCodeLen + 1]uint32 // by length: index in entries of the next one
	code, index := uint32(0), uint32(0)
	for l := 1; l <= MaxCodeLen; l++ {
		next[l], t.index[l], t.first[l] = index, index, code
		index += count[l]
		code += count[l] << (MaxCodeLen - l)
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
	case 1 << MaxCodeLen:
		t.fill()
		return nil
	}
	return fmt.Errorf("lengths fill %d/%d of the code space, want all or nothing", code, 1<<MaxCodeLen)
}

// Empty reports whether the code has no codewords.
func (t *DecodeTable) Empty() bool { return t.table[0] == emptyEntry }

// fill gives each codeword of at most tableBits bits all the table entries it is a prefix of, and the rest 0.
func (t *DecodeTable) fill() {
	rest := t.table[:]
	for l := 1; l <= tableBits; l++ {
		n := (t.limit[l] - t.first[l]) >> (MaxCodeLen - l)
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

// LookUp decodes the codeword at the top of acc.
func (t *DecodeTable) LookUp(acc uint64) uint32 {
	if e := t.table[acc>>(64-tableBits)]; e != 0 {
		return e
	}
	return t.lookUpLong(uint32(acc >> (64 - MaxCodeLen)))
}

// lookUpLong is LookUp for codewords longer than tableBits. code is the next 16 bits.
func (t *DecodeTable) lookUpLong(code uint32) uint32 {
	l := tableBits + 1
	for l < MaxCodeLen && code >= t.limit[l] {
		l++
	}
	return t.entries[t.index[l]+(code-t.first[l])>>(MaxCodeLen-l)] | uint32(l)
}
