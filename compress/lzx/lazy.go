package lzx

// parseLazy sets items to what becomes of the bytes at from to to-1: at each place the match of the best score, unless
// the next place has a better one.
func (c *Compressor) parseLazy(from, to int) {
	c.items = c.items[:0]
	r := c.recent
	for p := from; p < to; {
		it, score := c.best(p, from, to, r)
		for it.length() < 64 && !it.isLiteral() && p+1 < to {
			next, nextScore := c.best(p+1, from, to, r)
			if nextScore <= score {
				break
			}
			c.items = append(c.items, literal(c.buf[p]))
			p++
			it, score = next, nextScore
		}
		c.items = append(c.items, it)
		p += it.length()
		if !it.isLiteral() {
			r = r.after(it.code())
		}
	}
}

// best returns the item at p with the best score. It ends at to at the latest.
func (c *Compressor) best(p, from, to int, r recent) (best item, score int) {
	best = literal(c.buf[p])
	limit := min(maxMatch, to-p)
	if limit < minMatch {
		return best, 0
	}
	x := le.Uint32(c.buf[p:])
	for i := range repeatSlots {
		q := p - r.offset(i)
		if q < 1 || uint16(le.Uint32(c.buf[q:])) != uint16(x) {
			continue
		}
		if n := matchLength(c.buf, q, p, limit); n+3 > score {
			best, score = match(uint32(i), n), n+3
		}
	}
	if found := c.matches.at(p - from); len(found) > 0 {
		m := found[len(found)-1]
		n := min(m.length(), limit)
		s := n
		if m.code() < 4096 {
			s++
		}
		if m.code() < 256 {
			s++
		}
		if s > score && (n > 3 || n == 3 && m.code() < 8192 || m.code() < 128) {
			best, score = match(m.code(), n), s
		}
	}
	return best, score
}
