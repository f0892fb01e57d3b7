package xpress

import (
	"encoding/binary"
	"errors"
)

var errReference = errors.New("reference decoder: bad chunk")

// reference expands a chunk as the text of [MS-XCA] 2.2.4 says, one bit at a time where the text does, with nothing
// shared with the package. Unlike Decompress it demands the end-of-data symbol, and all of src.
func reference(size int, src []byte) ([]byte, error) {
	if len(src) < 256 {
		return nil, errReference
	}
	table := make([]uint16, 0, 65536) // 32768 of them, as in the text
	for length := 1; length <= 15; length++ {
		for sym := range 512 {
			if int(src[sym/2]>>(4*(sym%2)))&15 == length {
				for range 1 << (15 - length) {
					table = append(table, uint16(sym))
				}
			}
		}
	}
	if len(table) != 32768 {
		return nil, errReference
	}
	lengthOf := func(sym uint16) int { return int(src[sym/2]>>(4*(sym%2))) & 15 }

	pos := 256
	short := false
	read16 := func() uint32 {
		if pos+2 > len(src) {
			short = true
			return 0
		}
		pos += 2
		return uint32(binary.LittleEndian.Uint16(src[pos-2:]))
	}
	nextBits := read16() << 16
	nextBits |= read16()
	extraBits := 16
	consume := func(n int) {
		nextBits <<= n
		extraBits -= n
		if extraBits < 0 {
			nextBits |= read16() << -extraBits
			extraBits += 16
		}
	}

	var out []byte
	for !short {
		sym := table[nextBits>>17]
		consume(lengthOf(sym))
		if len(out) == size {
			if sym != 256 || pos != len(src) {
				return nil, errReference
			}
			return out, nil
		}
		if sym < 256 {
			out = append(out, byte(sym))
			continue
		}
		length := int(sym-256) % 16
		log := int(sym-256) / 16
		if length == 15 {
			if pos >= len(src) {
				return nil, errReference
			}
			length = int(src[pos])
			pos++
			if length == 255 {
				length = int(read16())
				if length < 15 {
					return nil, errReference
				}
				length -= 15
			}
			length += 15
		}
		length += 3
		offset := int(nextBits >> 1 >> (31 - log))
		offset += 1 << log
		consume(log)
		if offset > len(out) || length > size-len(out) {
			return nil, errReference
		}
		for range length {
			out = append(out, out[len(out)-offset])
		}
	}
	return nil, errReference
}
