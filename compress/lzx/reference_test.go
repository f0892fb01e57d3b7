package lzx

import (
	"bytes"
	"encoding/binary"
	"errors"
)

var errReference = errors.New("reference decoder: bad chunk")

// A reference expands a chunk as the text of doc.go and of [MS-PATCH] says, bit by bit, with nothing shared with the
// package.
type reference struct {
	src   []byte
	bit   int
	out   []byte
	size  int
	slots int
}

// referenceCode is a code by codeword, the leading 1 bit of which marks its length.
type referenceCode map[int]int

func expandReference(size int, src []byte, window int) (out []byte, err error) {
	defer func() {
		if e := recover(); e == errReference {
			err = errReference
		} else if e != nil {
			panic(e)
		}
	}()
	slots := map[int]int{1 << 15: 30, 1 << 16: 32, 1 << 17: 34, 1 << 18: 36, 1 << 19: 38, 1 << 20: 42, 1 << 21: 50}[window]
	r := &reference{src: src, size: size, slots: slots}
	mainLengths, lengthLengths := make([]int, 256+8*slots), make([]int, 249)
	recent := []int{1, 1, 1}
	for len(r.out) < size {
		kind := r.bits(3)
		n := 32768
		if r.bits(1) == 0 {
			n = r.bits(16)
			if window > 32768 {
				n = n<<8 | r.bits(8)
			}
		}
		r.check(n > 0 && n <= size-len(r.out))
		end := len(r.out) + n
		if kind == 3 {
			r.uncompressed(n, recent)
			continue
		}
		r.check(kind == 1 || kind == 2)
		var aligned referenceCode
		if kind == 2 {
			lengths := make([]int, 8)
			for i := range lengths {
				lengths[i] = r.bits(3)
			}
			aligned = r.code(lengths)
		}
		r.lengths(mainLengths[:256])
		r.lengths(mainLengths[256:])
		r.lengths(lengthLengths)
		main, length := r.code(mainLengths), r.code(lengthLengths)
		for len(r.out) < end {
			sym := r.symbol(main)
			if sym < 256 {
				r.out = append(r.out, byte(sym))
				continue
			}
			slot, n := (sym-256)/8, (sym-256)%8+2
			if n == 9 {
				n += r.symbol(length)
			}
			if slot < 3 {
				recent[0], recent[slot] = recent[slot], recent[0]
			} else {
				recent = []int{r.offset(slot, aligned), recent[0], recent[1]}
			}
			r.check(n <= end-len(r.out) && recent[0] <= len(r.out))
			for range n {
				r.out = append(r.out, r.out[len(r.out)-recent[0]])
			}
		}
	}
	r.uncall()
	return r.out, nil
}

func (r *reference) check(ok bool) {
	if !ok {
		panic(errReference)
	}
}

func (r *reference) bits(n int) (v int) {
	for range n {
		at := r.bit / 16 * 2
		r.check(at+2 <= len(r.src))
		v = v<<1 | int(binary.LittleEndian.Uint16(r.src[at:]))>>(15-r.bit%16)&1
		r.bit++
	}
	return v
}

// offset reads the offset bits of a slot. Slots from 4 to 37 come in pairs whose offsets double.
func (r *reference) offset(slot int, aligned referenceCode) int {
	base, extra := 1, 0
	for s := 3; ; s++ {
		extra = s/2 - 1
		if s < 4 {
			extra = 0
		} else if s > 36 {
			extra = 17
		}
		if s == slot {
			break
		}
		base += 1 << extra
	}
	if aligned != nil && extra >= 3 {
		return base + r.bits(extra-3)<<3 + r.symbol(aligned)
	}
	return base + r.bits(extra)
}

func (r *reference) code(lengths []int) referenceCode {
	c := referenceCode{}
	word, space := 0, 0
	for l := 1; l <= 16; l++ {
		for sym := range lengths {
			if lengths[sym] == l {
				c[1<<l|word] = sym
				word++
				space += 1 << (16 - l)
			}
		}
		r.check(space <= 1<<16)
		word <<= 1
	}
	r.check(space == 0 || space == 1<<16)
	return c
}

func (r *reference) symbol(c referenceCode) int {
	r.check(len(c) > 0)
	word := 1
	for {
		word = word<<1 | r.bits(1)
		if sym, ok := c[word]; ok {
			return sym
		}
	}
}

func (r *reference) lengths(lengths []int) {
	pre := make([]int, 20)
	for i := range pre {
		pre[i] = r.bits(4)
	}
	c := r.code(pre)
	for i := 0; i < len(lengths); {
		sym, n, l := r.symbol(c), 1, 0
		switch sym {
		case 17:
			n = 4 + r.bits(4)
		case 18:
			n = 20 + r.bits(5)
		case 19:
			n = 4 + r.bits(1)
			sym = r.symbol(c)
			r.check(sym <= 16)
			fallthrough
		default:
			l = (lengths[i] - sym + 17) % 17
		}
		r.check(n <= len(lengths)-i)
		for range n {
			lengths[i] = l
			i++
		}
	}
}

func (r *reference) uncompressed(n int, recent []int) {
	r.bit++
	for r.bit%16 != 0 {
		r.bit++
	}
	at := r.bit / 8
	r.check(at+12+n <= len(r.src))
	for i := range recent {
		recent[i] = int(binary.LittleEndian.Uint32(r.src[at:]))
		r.check(recent[i] != 0)
		at += 4
	}
	r.out = append(r.out, r.src[at:at+n]...)
	r.bit += (12 + n + n%2) * 8
}

// uncall undoes the call filter.
func (r *reference) uncall() {
	for i := 0; i < len(r.out)-10; i++ {
		if r.out[i] != 0xe8 {
			continue
		}
		const size = 12000000
		v := int(int32(binary.LittleEndian.Uint32(r.out[i+1:])))
		if v >= 0 && v < size {
			v -= i
		} else if v < 0 && v >= -i {
			v += size
		}
		binary.LittleEndian.PutUint32(r.out[i+1:], uint32(v))
		i += 4
	}
}

// sameAsReference expands a chunk, which both decoders must accept or both refuse.
func sameAsReference(size int, src []byte, window int) ([]byte, error) {
	got := make([]byte, size)
	err := Decompress(got, src, window)
	want, refErr := expandReference(size, src, window)
	switch {
	case err != nil && !errors.Is(err, ErrCorrupt):
		return nil, errors.New("not an ErrCorrupt: " + err.Error())
	case err == nil && refErr != nil:
		return nil, errors.New("accepted, but not by the reference decoder")
	case err != nil && refErr == nil:
		return nil, errors.New("the reference decoder accepts it, but: " + err.Error())
	case err == nil && !bytes.Equal(got, want):
		return nil, errors.New("not what the reference decoder says")
	case err != nil:
		return nil, nil
	}
	return got, nil
}
