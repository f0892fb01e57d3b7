package lzhuff

import "encoding/binary"

var le = binary.LittleEndian

// SwapUnits reverses the order of the four 16-bit units in x, so that a little-endian load of four units gives the bits
// of the first unit at the top.
func SwapUnits(x uint64) uint64 {
	const low = 0x0000ffff0000ffff
	x = x>>16&low | x&low<<16
	return x>>32 | x<<32
}

// CopyMatch copies length bytes from offset bytes back to dst[out:]. Both ranges are inside dst, and offset is at least 1.
// Up to 8 bytes after may be overwritten.
func CopyMatch(dst []byte, out, offset, length int) {
	from, end := out-offset, out+length
	if offset >= 8 && end+8 <= len(dst) {
		for ; out < end; out, from = out+8, from+8 {
			le.PutUint64(dst[out:], le.Uint64(dst[from:]))
		}
		return
	}
	// What is copied grows by what was copied, so long runs take few steps.
	for length > offset {
		copy(dst[out:out+offset], dst[from:])
		out += offset
		length -= offset
		offset *= 2
	}
	copy(dst[out:out+length], dst[from:])
}
