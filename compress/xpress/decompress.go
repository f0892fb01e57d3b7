package xpress

import (
	"errors"
	"fmt"
	"sync"

	"husk/compress/internal/lzhuff"
)

// ErrCorrupt is wrapped by every error of Decompress.
var ErrCorrupt = errors.New("xpress: corrupt chunk")

var decompressors = sync.Pool{New: func() any { return new(Decompressor) }}

// Decompress expands one chunk: 512 four-bit code lengths, then the bit stream. dst is filled exactly and is at most
// 65536 bytes; src is the compressed chunk, and what follows the last item in it is ignored. The error wraps ErrCorrupt
// if src ends early, the lengths are not a complete code, or a match starts before dst[0] or ends after dst. dst then
// holds an unspecified part of the data. Source: [MS-XCA] 2.2.
func Decompress(dst, src []byte) error {
	d := decompressors.Get().(*Decompressor)
	err := d.Decompress(dst, src)
	decompressors.Put(d)
	return err
}

// tableBits is the longest codeword that is found by one look-up. The table is built for every chunk, so bigger is not
// better: longer codewords are under 1 in 1000 of what is read.
const tableBits = 10

// A Decompressor holds the tables of Decompress between chunks. It is not for concurrent use. The zero value is ready.
type Decompressor struct {
	// By the next tableBits bits, two bytes each: symbol<<4 | length, or 0 for a longer codeword. As bytes, so that four
	// entries can be stored at once; the last ones may spill.
	table [2<<tableBits + 8]byte

	// Codewords of all lengths, for those longer than tableBits.
	symbols [numSymbols]uint16     // in codeword order
	limit   [maxCodeLen + 1]uint32 // by length: the first 15-bit value above its codewords
	first   [maxCodeLen + 1]uint32 // by length: the 15-bit value of its first codeword
	index   [maxCodeLen + 1]uint32 // by length: where its symbols start in symbols
}

// Decompress is like the function Decompress, with d's tables.
func (d *Decompressor) Decompress(dst, src []byte) error {
	if len(dst) > maxChunk {
		return fmt.Errorf("%w: %d plain bytes, want at most %d", ErrCorrupt, len(dst), maxChunk)
	}
	if len(src) < lengthsSize {
		return fmt.Errorf("%w: %d bytes, want at least the %d of the code lengths", ErrCorrupt, len(src), lengthsSize)
	}
	if err := d.readCode((*[lengthsSize]byte)(src)); err != nil {
		return err
	}
	return d.expand(dst, src)
}

// readCode builds the tables from the code lengths of a chunk.
func (d *Decompressor) readCode(lengths *[lengthsSize]byte) error {
	var even, odd [16]uint32 // two counts, so that an equal neighbour need not wait for the last store
	for _, b := range lengths {
		even[b&15]++
		odd[b>>4]++
	}
	var next [16]uint32 // by length: index in symbols of the next one
	code, index := uint32(0), uint32(0)
	for l := 1; l <= maxCodeLen; l++ {
		n := even[l] + odd[l]
		next[l], d.index[l], d.first[l] = index, index, code
		index += n
		code += n << (maxCodeLen - l)
		d.limit[l] = code
	}
	if code != 1<<maxCodeLen {
		return fmt.Errorf("%w: code lengths fill %d/%d of the code space, want all", ErrCorrupt, code, 1<<maxCodeLen)
	}
	next[0] = index // unused symbols are sorted too, last: a branch on them would be mispredicted all the time
	for k, b := range lengths {
		l := b & 15
		d.symbols[next[l]&(numSymbols-1)] = uint16(2 * k)
		next[l]++
		l = b >> 4
		d.symbols[next[l]&(numSymbols-1)] = uint16(2*k + 1)
		next[l]++
	}
	d.fillTable()
	return nil
}

// fillTable gives each codeword of at most tableBits bits all the table entries it is a prefix of, and the rest 0.
func (d *Decompressor) fillTable() {
	at := 0
	for l := 1; l <= tableBits; l++ {
		n := (d.limit[l] - d.first[l]) >> (maxCodeLen - l)
		span := 2 << (tableBits - l) // in bytes
		for _, sym := range d.symbols[d.index[l]:][:n] {
			fours := uint64(sym<<4|uint16(l)) * 0x0001000100010001
			entries := d.table[at : at+max(span, 8)]
			for len(entries) >= 8 {
				le.PutUint64(entries, fours)
				entries = entries[8:]
			}
			at += span // what a span under 8 has spilled is overwritten by the next
		}
	}
	clear(d.table[at:])
}

// expand decodes the bit stream, src[lengthsSize:], into all of dst.
//
// The next bits stand at the top of acc; n of them count, whatever is below was ORed in early and is the same when
// ORed in again. pos is where the next unit to fetch stands in src. The loop keeps more units in acc than the format's
// reader does, and gives the surplus back before it reads a length byte.
func (d *Decompressor) expand(dst, src []byte) error {
	var acc uint64
	n, pos, out := 0, lengthsSize, 0
	for out < len(dst) {
		if len(src)-pos >= 8 {
			acc |= lzhuff.SwapUnits(le.Uint64(src[pos:])) >> (n & 63)
			units := (63 - n) >> 4
			pos += 2 * units
			n += 16 * units
		} else {
			for n <= 48 && len(src)-pos >= 2 {
				acc |= uint64(le.Uint16(src[pos:])) << (48 - n)
				pos += 2
				n += 16
			}
		}

		e := d.lookUp(acc)
		acc <<= e & 15
		n -= int(e & 15)
		if e < firstMatch<<4 && out+1 < len(dst) && n > maxCodeLen {
			dst[out] = byte(e >> 4)
			out++
			e = d.lookUp(acc)
			acc <<= e & 15
			n -= int(e & 15)
		}
		if n < 0 {
			return endsEarly(src, out)
		}
		if e < firstMatch<<4 {
			dst[out] = byte(e >> 4)
			out++
			continue
		}

		length := int(e >> 4 & 15)
		if length == longHeader {
			surplus := (n - 16) >> 4 // -1 if the unit after the current one is missing
			pos -= 2 * surplus
			n -= 16 * surplus
			if pos >= len(src) {
				return endsEarly(src, out)
			}
			acc &= ^uint64(0) << (64 - n)
			length = longHeader + int(src[pos])
			pos++
			if length == longHeader+0xff {
				if len(src)-pos < 2 {
					return endsEarly(src, out)
				}
				length = int(le.Uint16(src[pos:]))
				pos += 2
			}
		}
		length += minMatch

		offsetBits := int(e >> 8 & 15)
		offset := 1<<offsetBits + int(acc>>1>>((63-offsetBits)&63))
		acc <<= offsetBits
		n -= offsetBits
		if n < 0 {
			return endsEarly(src, out)
		}
		if offset > out {
			return fmt.Errorf("%w: match offset %d at output byte %d", ErrCorrupt, offset, out)
		}
		if length > len(dst)-out {
			return fmt.Errorf("%w: match of %d bytes at output byte %d of %d", ErrCorrupt, length, out, len(dst))
		}
		if from := out - offset; offset >= 8 && length <= 16 && len(dst)-out >= 16 {
			le.PutUint64(dst[out:], le.Uint64(dst[from:]))
			le.PutUint64(dst[out+8:], le.Uint64(dst[from+8:]))
		} else {
			lzhuff.CopyMatch(dst, out, offset, length)
		}
		out += length
	}
	return nil
}

// lookUp decodes the codeword at the top of acc: symbol<<4 | length.
func (d *Decompressor) lookUp(acc uint64) uint16 {
	i := acc >> (64 - tableBits) * 2
	if e := le.Uint16(d.table[i : i+2]); e != 0 {
		return e
	}
	return d.lookUpLong(uint32(acc >> (64 - maxCodeLen)))
}

// lookUpLong is lookUp for codewords longer than tableBits. code is the next 15 bits.
func (d *Decompressor) lookUpLong(code uint32) uint16 {
	l := tableBits + 1
	for l < maxCodeLen && code >= d.limit[l] {
		l++
	}
	i := d.index[l] + (code-d.first[l])>>(maxCodeLen-l)
	return d.symbols[i]<<4 | uint16(l)
}

func endsEarly(src []byte, out int) error {
	return fmt.Errorf("%w: its %d bytes end at output byte %d", ErrCorrupt, len(src), out)
}
