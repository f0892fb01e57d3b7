package lzx

import "math/bits"

// A lazyFinder looks for the best match of a position when it is asked, so that what lies inside matches costs nothing but its place in
// the chains. It finds by chains of the positions whose four bytes have the same hash, and by the latest position with the same
// three. Positions are 1-based so that 0 can mean none.
type lazyFinder[T uint16 | uint32] struct {
	head3  []T // by hash of three bytes: their latest position
	head4  []T // by hash of four bytes: their latest position
	prev3  []T // by position from the segment's first: the one before with the same hash of three bytes
	prev4  []T // by position: the one before with the same hash of four bytes
	shift3 uint
	shift4 uint
}

func newLazyFinder[T uint16 | uint32](window int) *lazyFinder[T] {
	hashBits := min(bits.Len(uint(window))-1, 17)
	return &lazyFinder[T]{
		head3:  make([]T, 1<<hash3Bits),
		head4:  make([]T, 1<<hashBits),
		prev3:  make([]T, min(window, segment)),
		prev4:  make([]T, window+1),
		shift3: 32 - hash3Bits,
		shift4: uint(32 - hashBits),
	}
}

func (f *lazyFinder[T]) reset() {
	clear(f.head3)
	clear(f.head4)
}

// chain sets prev3 and prev4 for positions. Doing it in one go, free of branches, is faster than step by step.
func (f *lazyFinder[T]) chain(buf []byte, from, to int) {
	prev3, prev4 := f.prev3[:max(to-from, 0)], f.prev4[from:]
	for i := range prev3 {
		p := from + i
		x := le.Uint32(buf[p:])
		h3 := &f.head3[x<<8*0x9e3779b1>>(f.shift3&31)]
		h4 := &f.head4[x*0x9e3779b1>>(f.shift4&31)]
		prev3[i], *h3 = *h3, T(p)
		prev4[i], *h4 = *h4, T(p)
	}
}

// A found match, with what it is worth: its length less what its offset costs, in the unit of gainByte.
type found struct {
	item item
	gain int
}

const (
	// gainByte is what one more byte in a match is worth, where 1 is a bit of the offset.
	gainByte = 4

	// A match must be better by so much than one that starts before it, for the literal that it leaves.
	gainLater = 4
)

// parse sets the items of c to what becomes of the bytes at from to to-1: at each place the match of the most gain, unless the next place or
// the one after it has a better one.
func (f *lazyFinder[T]) parse(c *Compressor, from, to int) {
	buf := c.buf
	f.chain(buf, from, min(to, c.end-noMatchTail))
	items := c.items[:0]
	r := c.recent
	depth, nice := c.effort.depth, c.effort.nice
	for p := from; p < to; {
		best := f.best(c, p, from, to, r, depth, 0)
		if best.item == 0 {
			items = append(items, literal(buf[p]))
			p++
			continue
		}
		for best.item.length() < nice && p+1 < to {
			next := f.best(c, p+1, from, to, r, depth, best.gain+gainLater)
			if next.item == 0 {
				break
			}
			items = append(items, literal(buf[p]))
			p++
			best = next
		}
		items = append(items, best.item)
		p += best.item.length()
		r = r.after(best.item.code())
	}
	c.items = items
}

// best returns the match at p with the most gain, if that exceeds least. It ends at to at the latest.
func (f *lazyFinder[T]) best(c *Compressor, p, from, to int, r recent, depth, least int) (best found) {
	buf := c.buf
	limit := min(maxMatch, to-p)
	if limit < minMatch {
		return best
	}
	best.gain = least
	x := le.Uint32(buf[p:])
	length := 3
	for i := range repeatSlots {
		q := p - r.offset(i)
		if q < 1 || uint16(le.Uint32(buf[q:])) != uint16(x) {
			continue
		}
		if n := matchLength(buf, q, p, limit); n*gainByte-1 > best.gain {
			best = found{match(uint32(i), n), n*gainByte - 1}
			length = max(length, n)
		}
	}
	if p >= c.end-noMatchTail || limit < 3 {
		return best
	}
	if q := int(f.prev3[p-from]); q != 0 && length == 3 && p-q <= 1<<12 && (le.Uint32(buf[q:])^x)<<8 == 0 {
		if gain := 3*gainByte - bits.Len(uint(p-q)); gain > best.gain {
			best = found{match(uint32(p-q+repeatOffset), 3), gain}
		}
	}
	if length >= limit {
		return best
	}
	tail := le.Uint32(buf[p+length-3:])
	for q := int(f.prev4[p]); q != 0 && depth > 0; depth-- {
		if le.Uint32(buf[q+length-3:]) == tail {
			if n := matchLength(buf, q, p, limit); n > length && p-q <= c.window-3 {
				length = n
				if gain := n*gainByte - bits.Len(uint(p-q)); gain > best.gain {
					best = found{match(uint32(p-q+repeatOffset), n), gain}
				}
				if n >= limit || n >= c.effort.nice {
					break
				}
				tail = le.Uint32(buf[p+n-3:])
			}
		}
		q = int(f.prev4[q])
	}
	return best
}
