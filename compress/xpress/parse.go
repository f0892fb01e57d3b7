package xpress

import "math/bits"

// lazyEffort returns how hard the default level tries: depth is the number of candidates looked at, and a match of nice bytes is
// taken without a look for a longer one. In a small chunk the latest candidates are nearly always good enough: 8 instead of 46
// in chunks of 4 KiB cost 0.6 % of size and save a fifth of the time.
func lazyEffort(chunk int) (depth, nice int) {
	if chunk <= 8192 {
		return 8, 32
	}
	return 32, 64
}

// maxOffset3 returns the offset from which a match of three bytes costs more than three literals.
func maxOffset3(chunk int) int {
	if chunk <= 8192 {
		return 2048
	}
	return 4096
}

// parseFast takes the first match it sees, among one candidate for each position. It leaves c.code built.
func (c *Compressor) parseFast() {
	p, last := 1, c.end-1-noMatchTail
	for p <= last {
		x := c.load32(uint16(p))
		h := c.hash(x)
		candidate := c.head4[h]
		c.head4[h] = uint16(p)
		if candidate == 0 || c.load32(candidate) != x {
			c.item(x & 0xff)
			p++
			continue
		}
		length := 0
		if x := c.load64(candidate) ^ c.load64(uint16(p)); x != 0 {
			length = bits.TrailingZeros64(x) >> 3
		} else {
			length = c.extend(candidate, uint16(p))
		}
		length = min(length, c.end-p)
		c.match(length, p-int(candidate))
		for q := p + 1; q < min(p+4, last); q++ {
			c.head4[c.hash(c.load32(uint16(q)))] = uint16(q)
		}
		p += length
	}
	for ; p < c.end; p++ {
		c.item(uint32(c.buf[p]))
	}
	c.item(endOfData)
	c.code.build()
}

// parseLazy takes a match only if the next position has no longer one. It leaves c.code built.
func (c *Compressor) parseLazy(depth, nice int) {
	c.chain()
	maxOffset3 := maxOffset3(c.end - 1)
	p, last := 1, c.end-1-noMatchTail
	for p <= last {
		length, offset := 3, 0
		if candidate := c.prev4[p]; candidate != 0 {
			length, offset = c.find(uint16(p), candidate, length, depth, nice)
		}
		if offset == 0 {
			offset = c.find3(uint16(p))
			if offset == 0 || offset >= maxOffset3 {
				c.item(uint32(c.buf[p]))
				p++
				continue
			}
		}
		for length < nice {
			candidate := c.prev4[p+1]
			if candidate == 0 {
				break
			}
			nextLength, nextOffset := c.find(uint16(p+1), candidate, length, depth/2, nice)
			if nextOffset == 0 {
				break
			}
			c.item(uint32(c.buf[p]))
			p++
			length, offset = nextLength, nextOffset
		}
		c.match(length, offset)
		p += length
	}
	for ; p < c.end; p++ {
		c.item(uint32(c.buf[p]))
	}
	c.item(endOfData)
	c.code.build()
}
