package lzx

import "bytes"

const (
	callOpcode = 0xe8
	callSize   = 12_000_000 // taken for the size of the program; cabinets tell theirs
	callTail   = 10         // bytes at the end of a chunk where no call starts
)

// callFilter makes the operands of x86 calls absolute, or relative again, so that calls of one function look alike. The
// operand is a 32-bit number after the byte 0xe8; what starts in an operand is no call. A relative operand that leads
// from its place i in the chunk to a place from 0 to callSize-1 becomes that place; for a one-to-one map, one that leads
// from callSize to callSize+i-1 takes the place of those that led below 0.
func callFilter(chunk []byte, convert func(operand, i int32) int32) {
	for i := 0; i < len(chunk)-callTail; i += 5 {
		next := bytes.IndexByte(chunk[i:len(chunk)-callTail], callOpcode)
		if next < 0 {
			return
		}
		i += next
		operand := chunk[i+1 : i+5]
		le.PutUint32(operand, uint32(convert(int32(le.Uint32(operand)), int32(i))))
	}
}

// absolute is the operand's change before compression.
func absolute(relative, i int32) int32 {
	switch {
	case relative < -i || relative >= callSize:
		return relative
	case relative < callSize-i:
		return relative + i
	}
	return relative - callSize
}

// relative is the operand's change after expanding.
func relative(absolute, i int32) int32 {
	switch {
	case absolute < -i || absolute >= callSize:
		return absolute
	case absolute >= 0:
		return absolute - i
	}
	return absolute + callSize
}
