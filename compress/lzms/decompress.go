package lzms

import (
	"errors"
	"fmt"
	"sync"

	"husk/compress/internal/lzhuff"
)

// ErrCorrupt is wrapped by every error of Decompress.
var ErrCorrupt = errors.New("lzms: corrupt chunk")

var decompressors = sync.Pool{New: func() any { return new(Decompressor) }}

// Decompress expands one chunk. dst is filled exactly; its length is the plain size of the chunk. The error wraps ErrCorrupt if
// src has an odd number of bytes or fewer than four, ends early, or if a match starts before dst[0] or ends after dst. dst then
// holds an unspecified part of the data.
func Decompress(dst, src []byte) error {
	d := decompressors.Get().(*Decompressor)
	defer decompressors.Put(d)
	return d.Decompress(dst, src)
}

// A Decompressor holds the tables of Decompress between chunks, about half a MiB. The zero value is ready. It is not for
// concurrent use.
type Decompressor struct {
	bits rangeDecoder
	back backwardReader

	main    [mainContexts]probability
	match   [matchContexts]probability
	lz      [lzContexts]probability
	lzRep   [repeatSlots - 1][repeatContexts]probability
	delta   [deltaContexts]probability
	deltaRe [repeatSlots - 1][repeatContexts]probability

	builder                                     lzhuff.Builder
	literal, offset, length, deltaOffset, power decodedCode

	filter x86Filter
}

// decodedCode is an adaptive code with its table.
type decodedCode struct {
	adaptiveCode
	table lzhuff.DecodeTable
}

// deltaSource is where a delta match copies from.
type deltaSource struct{ power, raw uint32 }

// Decompress is like the function Decompress, with d's tables.
func (d *Decompressor) Decompress(dst, src []byte) error {
	if len(src) < minStored || len(src)%2 != 0 {
		return fmt.Errorf("%w: %d stored bytes, want an even number of at least %d", ErrCorrupt, len(src), minStored)
	}
	if len(dst) > MaxChunk {
		return fmt.Errorf("%w: %d plain bytes, want at most %d", ErrCorrupt, len(dst), MaxChunk)
	}
	d.reset(len(dst))
	d.bits.start(src)
	d.back = backwardReader{src: src, pos: len(src)}
	if err := d.expand(dst); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if d.back.n < 0 || d.bits.pos > len(src)+slack {
		return fmt.Errorf("%w: the chunk's %d bytes end", ErrCorrupt, len(src))
	}
	d.filter.apply(dst, false)
	return nil
}

// reset puts everything to how a chunk of size plain bytes starts.
func (d *Decompressor) reset(size int) {
	for _, list := range [][]probability{d.main[:], d.match[:], d.lz[:], d.lzRep[0][:], d.lzRep[1][:], d.delta[:], d.deltaRe[0][:], d.deltaRe[1][:]} {
		for i := range list {
			list[i] = startProbability
		}
	}
	if d.literal.rebuild == 0 {
		d.literal.adaptiveCode = newAdaptiveCode(literalCount, literalRebuild)
		d.offset.adaptiveCode = newAdaptiveCode(maxSlots, offsetRebuild)
		d.length.adaptiveCode = newAdaptiveCode(lengthSlots, lengthRebuild)
		d.deltaOffset.adaptiveCode = newAdaptiveCode(maxSlots, offsetRebuild)
		d.power.adaptiveCode = newAdaptiveCode(deltaPowers, powerRebuild)
	}
	offsets := max(numOffsetSlots(size), 2) // so that there is a code; a match that uses it fails
	d.start(&d.literal, literalCount)
	d.start(&d.offset, offsets)
	d.start(&d.length, lengthSlots)
	d.start(&d.deltaOffset, offsets)
	d.start(&d.power, deltaPowers)
}

func (d *Decompressor) start(c *decodedCode, symbols int) {
	c.reset(&d.builder, symbols)
	c.makeTable()
}

// makeTable follows each construction of the code. A code of the construction is complete.
func (c *decodedCode) makeTable() {
	if err := c.table.Build(c.length, lzhuff.PlainEntries[:]); err != nil {
		panic("lzms: internal error: " + err.Error())
	}
}

// symbol decodes the next symbol of a code.
func (d *Decompressor) symbol(c *decodedCode) uint32 {
	r := &d.back
	if r.n < maxCodeLen {
		r.refill()
	}
	e := c.table.LookUp(r.acc)
	r.acc <<= e & 31
	r.n -= int(e & 31)
	s := e >> 8
	c.count[s]++
	c.left--
	if c.left == 0 {
		c.build(&d.builder)
		c.makeTable()
	}
	return s
}

// value decodes a slot and its extra bits.
func (d *Decompressor) value(c *decodedCode, slots []slot) uint32 {
	s := slots[d.symbol(c)]
	if s.extra == 0 {
		return s.base
	}
	return s.base + d.back.take(int(s.extra))
}

// expand decodes the items of a chunk.
func (d *Decompressor) expand(dst []byte) error {
	var mainState, matchState, lzState, deltaState uint32
	var lzRepState, deltaRepState [repeatSlots - 1]uint32
	lzQueue := [queueSlots]uint32{1, 2, 3, 4}
	deltaQueue := [queueSlots]deltaSource{{0, 1}, {0, 2}, {0, 3}, {0, 4}}
	afterLZ, afterDelta := 0, 0 // 1 if the item before was a match of the kind
	r := &d.bits
	for out := 0; out < len(dst); {
		if r.bit(&mainState, d.main[:]) == 0 {
			dst[out] = byte(d.symbol(&d.literal))
			out++
			afterLZ, afterDelta = 0, 0
			continue
		}
		if d.back.n < 0 || r.pos > len(r.src)+slack {
			return fmt.Errorf("the chunk's %d bytes end at output byte %d", len(r.src), out)
		}
		if r.bit(&matchState, d.match[:]) == 0 {
			var offset uint32
			if r.bit(&lzState, d.lz[:]) == 0 {
				offset = d.value(&d.offset, offsetSlots)
				copy(lzQueue[1:], lzQueue[:])
			} else {
				k := r.repeat(&lzRepState, &d.lzRep) + afterLZ
				offset = lzQueue[k]
				copy(lzQueue[1:k+1], lzQueue[:])
			}
			lzQueue[0] = offset
			length := d.value(&d.length, matchLengthSlots)
			if uint64(offset) > uint64(out) {
				return fmt.Errorf("match offset %d at output byte %d", offset, out)
			}
			if uint64(length) > uint64(len(dst)-out) {
				return fmt.Errorf("match of %d bytes at output byte %d of %d", length, out, len(dst))
			}
			copyMatch(dst, out, int(offset), int(length))
			out += int(length)
			afterLZ, afterDelta = 1, 0
			continue
		}
		var source deltaSource
		if r.bit(&deltaState, d.delta[:]) == 0 {
			source.power = d.symbol(&d.power)
			source.raw = d.value(&d.deltaOffset, offsetSlots)
			copy(deltaQueue[1:], deltaQueue[:])
		} else {
			k := r.repeat(&deltaRepState, &d.deltaRe) + afterDelta
			source = deltaQueue[k]
			copy(deltaQueue[1:k+1], deltaQueue[:])
		}
		deltaQueue[0] = source
		length := d.value(&d.length, matchLengthSlots)
		if err := copyDelta(dst, out, length, source); err != nil {
			return err
		}
		out += int(length)
		afterLZ, afterDelta = 0, 1
	}
	return nil
}

func copyMatch(dst []byte, out, offset, length int) {
	if from := out - offset; offset >= 8 && length <= 16 && len(dst)-out >= 16 {
		le.PutUint64(dst[out:], le.Uint64(dst[from:]))
		le.PutUint64(dst[out+8:], le.Uint64(dst[from+8:]))
		return
	}
	lzhuff.CopyMatch(dst, out, offset, length)
}

// copyDelta repeats the differences that are raw<<power bytes back.
func copyDelta(dst []byte, out int, length uint32, s deltaSource) error {
	span, offset := uint64(1)<<s.power, uint64(s.raw)<<s.power
	if span+offset > uint64(out) {
		return fmt.Errorf("delta match of span %d and offset %d at output byte %d", span, offset, out)
	}
	if uint64(length) > uint64(len(dst)-out) {
		return fmt.Errorf("delta match of %d bytes at output byte %d of %d", length, out, len(dst))
	}
	a, b, c := out-int(offset), out-int(span), out-int(offset)-int(span)
	to := dst[out : out+int(length)]
	for i := range to {
		to[i] = dst[a+i] + dst[b+i] - dst[c+i]
	}
	return nil
}
