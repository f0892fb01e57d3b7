package lzms

const (
	filterTail     = 16   // bytes at the end of a chunk in which no operand starts
	filterNear     = 1023 // bytes since the latest x86 code at which an operand is changed
	filterNearCall = 511  // the same for calls, which is also what other data looks like most
	filterWindow   = 65535
)

// A x86Filter makes relative addresses in x86 code absolute, and back. It finds them by opcodes, and knows code from other data
// by targets that occur twice within 64 KiB.
type x86Filter struct {
	target [1 << 16]int32 // by the low 16 bits of a target: where it last occurred
}

// opcodes that an operand may follow.
var opcodes = func() (t [256]bool) {
	for _, b := range []byte{0x48, 0x4c, 0xe8, 0xe9, 0xf0, 0xff} {
		t[b] = true
	}
	return t
}()

// operand returns the offset of the address that belongs to the opcode at p[0], and the distance to known code at which it is to be
// changed. It is 0 if there is none; then skip tells how far to go.
func operand(p []byte) (at, near, skip int) {
	switch p[0] {
	case 0x48:
		if p[2]&7 == 5 && (p[1] == 0x8d || p[1] == 0x8b && p[2]&0xf0 == 0) {
			return 3, filterNear, 0 // REX.W LEA or MOV, relative to RIP
		}
	case 0x4c:
		if p[2]&7 == 5 && p[1] == 0x8d {
			return 3, filterNear, 0 // REX.WR LEA
		}
	case 0xe8:
		return 1, filterNearCall, 0 // CALL
	case 0xe9:
		return 0, 0, 5 // JMP
	case 0xf0:
		if p[1] == 0x83 && p[2] == 0x05 {
			return 3, filterNear, 0 // LOCK ADD
		}
	case 0xff:
		if p[1] == 0x15 {
			return 2, filterNear, 0 // CALL through memory
		}
	}
	return 0, 0, 1
}

// apply changes a chunk in place: to absolute addresses if absolute, else back.
func (f *x86Filter) apply(p []byte, absolute bool) {
	if len(p) <= filterTail+1 {
		return
	}
	for i := range f.target {
		f.target[i] = -filterWindow - 1
	}
	latest := -filterNear - 1
	end := len(p) - filterTail
	for i := 1; i < end; {
		if !opcodes[p[i]] {
			i++
			continue
		}
		n, near, skip := operand(p[i:])
		if n == 0 {
			i += skip
			continue
		}
		o := p[i+n : i+n+4]
		v := le.Uint32(o)
		relative := v
		if i-latest <= near {
			if absolute {
				le.PutUint32(o, v+uint32(i))
			} else {
				relative = v - uint32(i)
				le.PutUint32(o, relative)
			}
		}
		target := &f.target[uint16(uint32(i)+relative)]
		last := i + n + 3
		if last-int(*target) <= filterWindow {
			latest = last
		}
		*target = int32(last)
		i = last + 1
	}
}
