package lzx

import "slices"

// A code is a canonical Huffman code, made from symbol counts.
type code struct {
	limit  int      // bits of the longest codeword allowed
	count  []uint32 // by symbol: how often it occurs, less than 1<<22: the input
	length []uint8  // by symbol: bits of its codeword, 0 if it does not occur
	word   []uint16 // by symbol: its codeword, right-aligned

	sorted []uint32 // scratch: count<<10 | symbol, ascending
	node   []uint32 // scratch
}

func newCode(symbols, limit int) *code {
	return &code{
		limit:  limit,
		count:  make([]uint32, symbols),
		length: make([]uint8, symbols),
		word:   make([]uint16, symbols),
		sorted: make([]uint32, symbols),
		node:   make([]uint32, symbols),
	}
}

// build chooses length and word for count: complete, or all zero if no symbol occurs. A lone symbol gets a codeword of
// one bit, and some other symbol the other one, as a code of one codeword is incomplete.
func (c *code) build() {
	clear(c.length)
	used := c.sort()
	switch used {
	case 0:
		return
	case 1:
		sym := c.sorted[0] & 1023
		c.length[0], c.length[1] = 1, 1
		if sym > 1 {
			c.length[1], c.length[sym] = 0, 1
		}
	default:
		perLength := c.lengths(used)
		i := 0
		for l := c.limit; l > 0; l-- {
			for range perLength[l] {
				c.length[c.sorted[i]&1023] = uint8(l)
				i++
			}
		}
	}
	var perLength, next [maxCodeLen + 2]uint16
	for _, l := range c.length {
		perLength[l]++
	}
	perLength[0] = 0
	for l := 1; l <= maxCodeLen; l++ {
		next[l] = (next[l-1] + perLength[l-1]) << 1
	}
	for sym, l := range c.length {
		c.word[sym] = next[l] // of no meaning if l is 0
		next[l]++
	}
}

// smallCount splits counts for sorting: smaller ones, which are nearly all, take one pass.
const smallCount = 128

// sort fills sorted with the symbols that occur and returns how many do.
func (c *code) sort() int {
	var place [smallCount + 1]uint16
	for _, n := range c.count {
		place[min(n, smallCount)]++
	}
	used := uint16(0)
	for n := 1; n <= smallCount; n++ {
		used, place[n] = used+place[n], used
	}
	bigs := place[smallCount]
	place[0] = used // the unused follow, as leaving them out would cost a branch
	for sym, n := range c.count {
		p := &place[min(n, smallCount)]
		c.sorted[*p] = n<<10 | uint32(sym)
		*p++
	}
	slices.Sort(c.sorted[bigs:used])
	return int(used)
}

// lengths returns how many codewords of each length an optimal code of at most limit bits has for the first used
// elements of sorted. It is Huffman's construction with the two queues, leaves and inner nodes, in one array (Moffat
// and Katajainen 1995): node[i] is first the weight of the i-th inner node, then its parent's index, then its depth.
func (c *code) lengths(used int) (perLength [maxCodeLen + 1]uint16) {
	leaf, inner := 0, 0
	for i := range used - 1 {
		weight := uint32(0)
		for range 2 {
			if leaf < used && (inner == i || c.sorted[leaf]>>10 <= c.node[inner]) {
				weight += c.sorted[leaf] >> 10
				leaf++
			} else {
				weight += c.node[inner]
				c.node[inner] = uint32(i)
				inner++
			}
		}
		c.node[i] = weight
	}

	// Each inner node turns one codeword of its depth into two that are longer by one. From the root down:
	root := used - 2
	perLength[1] = 2
	c.node[root] = 0
	for i := root - 1; i >= 0; i-- {
		depth := c.node[c.node[i]] + 1
		c.node[i] = depth
		depth = min(depth, uint32(c.limit-1))
		for perLength[depth] == 0 {
			depth-- // too deep: split the deepest codeword that may be split instead
		}
		perLength[depth]--
		perLength[depth+1] += 2
	}
	return perLength
}

// bits returns how many bits all codewords of the counted symbols take.
func (c *code) bits() int {
	n := 0
	for sym, count := range c.count {
		n += int(count) * int(c.length[sym])
	}
	return n
}
