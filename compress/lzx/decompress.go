package lzx

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"husk/compress/internal/lzhuff"
)

// ErrCorrupt is wrapped by every error of Decompress.
var ErrCorrupt = errors.New("lzx: corrupt chunk")

// decompressors by the window's power of two above minWindow.
var decompressors [7]sync.Pool

// Decompress expands one chunk, for a window that is a power of two from 32768 to 2097152: the chunk size of the WIM,
// even if this chunk is its blob's last and shorter. dst is filled exactly and is at most a window; src is the
// compressed chunk, and what follows the last item in it is ignored. The error wraps ErrCorrupt if the window is none of
// these, src ends early, a code is neither complete nor empty or used though empty, a block has an unknown type or
// exceeds dst, or a match starts before dst[0] or ends after its block. dst then holds an unspecified part of the data.
func Decompress(dst, src []byte, window int) error {
	if err := checkWindow(window); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	pool := &decompressors[bits.Len(uint(window/minWindow))-1]
	d, ok := pool.Get().(*Decompressor)
	if !ok {
		d = NewDecompressor(window)
	}
	err := d.Decompress(dst, src)
	pool.Put(d)
	return err
}

// A Decompressor holds the tables of Decompress between chunks. It is not for concurrent use.
type Decompressor struct {
	window      int
	mainSymbols int

	// Code lengths, kept from block to block.
	mainLengths   [maxMainSymbols]uint8
	lengthLengths [lengthSymbols]uint8

	main, length, aligned, pre lzhuff.DecodeTable
}

// NewDecompressor returns a Decompressor for a window that is a power of two from 32768 to 2097152.
func NewDecompressor(window int) *Decompressor {
	if err := checkWindow(window); err != nil {
		panic("lzx: " + err.Error())
	}
	return &Decompressor{window: window, mainSymbols: firstMatch + slotSymbols*numSlots(window)}
}

// Decompress is like the function Decompress, with d's window and tables.
func (d *Decompressor) Decompress(dst, src []byte) error {
	if len(dst) > d.window {
		return fmt.Errorf("%w: %d plain bytes, want at most the window of %d", ErrCorrupt, len(dst), d.window)
	}
	clear(d.mainLengths[:])
	clear(d.lengthLengths[:])
	r := bitReader{src: src}
	recent := [repeatSlots]uint32{1, 1, 1}
	for out := 0; out < len(dst); {
		n, err := d.block(&r, dst, out, &recent)
		if err != nil {
			return fmt.Errorf("%w: block for output byte %d: %w", ErrCorrupt, out, err)
		}
		out += n
	}
	callFilter(dst, relative)
	return nil
}

// block decodes one block into dst[out:] and returns the number of plain bytes.
func (d *Decompressor) block(r *bitReader, dst []byte, out int, recent *[repeatSlots]uint32) (int, error) {
	r.refill()
	kind := r.take(3)
	size := defaultBlock
	if r.take(1) == 0 {
		size = r.take(blockSizeBits(d.window))
	}
	if r.n < 0 {
		return 0, r.endsEarly()
	}
	if size == 0 || size > len(dst)-out {
		return 0, fmt.Errorf("size %d, want 1 to %d", size, len(dst)-out)
	}
	end := out + size
	switch kind {
	case verbatimBlock, alignedBlock:
		if err := d.readCodes(r, kind); err != nil {
			return 0, err
		}
		return size, d.expand(r, dst, out, end, kind, recent)
	case uncompressedBlock:
		return size, r.raw(dst[out:end], recent)
	}
	return 0, fmt.Errorf("type %d, want 1, 2 or 3", kind)
}

// readCodes reads the codes of a verbatim or aligned block and makes their tables.
func (d *Decompressor) readCodes(r *bitReader, kind int) error {
	if kind == alignedBlock {
		var lengths [alignedSymbols]uint8
		r.refill()
		for i := range lengths {
			lengths[i] = uint8(r.take(3))
		}
		if err := d.aligned.Build(lengths[:], lzhuff.PlainEntries[:]); err != nil {
			return fmt.Errorf("aligned code: %w", err)
		}
	}
	main := d.mainLengths[:d.mainSymbols]
	for _, lengths := range [][]uint8{main[:firstMatch], main[firstMatch:], d.lengthLengths[:]} {
		if err := d.readLengths(r, lengths); err != nil {
			return err
		}
	}
	if r.n < 0 {
		return r.endsEarly()
	}
	if err := d.main.Build(main, mainEntries[:]); err != nil {
		return fmt.Errorf("main code: %w", err)
	}
	if d.main.Empty() {
		return errors.New("main code is empty")
	}
	if err := d.length.Build(d.lengthLengths[:], lzhuff.PlainEntries[:]); err != nil {
		return fmt.Errorf("length code: %w", err)
	}
	return nil
}

// readLengths reads a precode and with it the new value of lengths.
func (d *Decompressor) readLengths(r *bitReader, lengths []uint8) error {
	var pre [preSymbols]uint8
	for i := range pre {
		r.refill()
		pre[i] = uint8(r.take(4))
	}
	if r.n < 0 {
		return r.endsEarly()
	}
	if err := d.pre.Build(pre[:], lzhuff.PlainEntries[:]); err != nil {
		return fmt.Errorf("precode: %w", err)
	}
	if pre == [preSymbols]uint8{} {
		return errors.New("precode is empty")
	}
	for i := 0; i < len(lengths); {
		r.refill()
		sym := r.symbol(&d.pre)
		run, length := 1, uint8(0)
		switch sym {
		case shortZeros:
			run = shortZerosMin + r.take(shortZerosBits)
		case longZeros:
			run = longZerosMin + r.take(longZerosBits)
		default:
			if sym == sameRun {
				run = sameMin + r.take(sameBits)
				sym = r.symbol(&d.pre)
				if sym > maxCodeLen {
					return fmt.Errorf("presymbol %d in a run of equal lengths, want at most %d", sym, maxCodeLen)
				}
			}
			length = lengths[i] + maxCodeLen + 1 - uint8(sym)
			if length > maxCodeLen {
				length -= maxCodeLen + 1
			}
		}
		if r.n < 0 {
			return r.endsEarly()
		}
		if run > len(lengths)-i {
			return fmt.Errorf("run of %d code lengths at %d of %d", run, i, len(lengths))
		}
		for range run {
			lengths[i] = length
			i++
		}
	}
	return nil
}

// expand decodes the items of a block into dst[out:end].
func (d *Decompressor) expand(r *bitReader, dst []byte, out, end, kind int, recent *[repeatSlots]uint32) error {
	src, acc, n, pos := r.src, r.acc, r.n, r.pos
	r0, r1, r2 := recent[0], recent[1], recent[2]
	alignedFrom := uint32(maxSlots)
	if kind == alignedBlock {
		alignedFrom = alignedSlot
	}
	for out < end {
		if len(src)-pos >= 8 {
			acc |= lzhuff.SwapUnits(le.Uint64(src[pos:])) >> (n & 63)
			units := (63 - n) >> 4
			pos += 2 * units
			n += 16 * units
		} else {
			acc, n, pos = refillSlowly(src, acc, n, pos)
		}
		e := d.main.LookUp(acc)
		acc <<= e & 31
		n -= int(e & 31)
		if e < matchEntry && out+1 < end && n >= maxCodeLen {
			dst[out] = byte(e >> 8)
			out++
			e = d.main.LookUp(acc)
			acc <<= e & 31
			n -= int(e & 31)
		}
		if n < 0 {
			r.n = n
			return r.endsEarly()
		}
		if e < matchEntry {
			dst[out] = byte(e >> 8)
			out++
			continue
		}

		if n < 48 {
			if len(src)-pos >= 8 {
				acc |= lzhuff.SwapUnits(le.Uint64(src[pos:])) >> (n & 63)
				units := (63 - n) >> 4
				pos += 2 * units
				n += 16 * units
			} else {
				acc, n, pos = refillSlowly(src, acc, n, pos)
			}
		}
		length := int(e >> 8 & 0xff)
		if length == longMatch {
			e := d.length.LookUp(acc)
			acc <<= e & 31
			n -= int(e & 31)
			length += int(e >> 8)
		}
		var offset uint32
		switch s := e>>16 - 1; s {
		case 0:
			offset = r0
		case 1:
			offset = r1
			r1 = r0
		case 2:
			offset = r2
			r2 = r0
		default:
			s := slots[s]
			offset = s.base
			if s.extra >= alignedBits && e>>16-1 >= alignedFrom {
				k := s.extra - alignedBits
				offset += uint32(acc>>1>>((63-k)&63)) << alignedBits
				acc <<= k
				a := d.aligned.LookUp(acc)
				offset += a >> 8
				acc <<= a & 31
				n -= int(k) + int(a&31)
			} else {
				offset += uint32(acc >> 1 >> ((63 - s.extra) & 63))
				acc <<= s.extra
				n -= int(s.extra)
			}
			r2, r1 = r1, r0
		}
		r0 = offset
		if n < 0 {
			r.n = n
			return r.endsEarly()
		}
		if offset > uint32(out) {
			if offset >= lzhuff.EmptySymbol && offset < 2*lzhuff.EmptySymbol {
				return fmt.Errorf("symbol of the empty aligned code for output byte %d", out)
			}
			return fmt.Errorf("match offset %d at output byte %d", offset, out)
		}
		if length > end-out {
			if length >= lzhuff.EmptySymbol {
				return fmt.Errorf("symbol of the empty length code for output byte %d", out)
			}
			return fmt.Errorf("match of %d bytes at output byte %d, block ends at %d", length, out, end)
		}
		if from := out - int(offset); offset >= 8 && length <= 16 && len(dst)-out >= 16 {
			le.PutUint64(dst[out:], le.Uint64(dst[from:]))
			le.PutUint64(dst[out+8:], le.Uint64(dst[from+8:]))
		} else {
			lzhuff.CopyMatch(dst, out, int(offset), length)
		}
		out += length
	}
	r.acc, r.n, r.pos = acc, n, pos
	*recent = [repeatSlots]uint32{r0, r1, r2}
	return nil
}
