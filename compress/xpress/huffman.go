package xpress

import "slices"

// A code is a canonical Huffman code for one chunk, made from symbol counts. Its arrays are scratch space that lives as
// long as the Compressor.
type code struct {
	count  [numSymbols]uint32 // how often each symbol occurs: the input
	length [numSymbols]uint8  // of each codeword in bits, 0 if the symbol does not occur
	word   [numSymbols]uint16 // codewords, right-aligned

	sorted [numSymbols]uint32 // count<<9 | symbol, ascending
	node   [numSymbols]uint32
}

// build chooses length and word for count, which must have at least two symbols. A chunk always has: it starts with a
// literal, as there is nothing yet to match, and ends with endOfData. So the code is always complete.
func (c *code) build() {
	used := c.sort()
	perLength := c.lengths(used)
	clear(c.length[:])
	i := 0
	for l := maxCodeLen; l > 0; l-- {
		for range perLength[l] {
			c.length[c.sorted[i]&(numSymbols-1)] = uint8(l)
			i++
		}
	}
	var next [maxCodeLen + 1]uint16
	for l := 1; l < maxCodeLen; l++ {
		next[l+1] = (next[l] + perLength[l]) << 1
	}
	for sym, l := range c.length {
		l &= maxCodeLen
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
		c.sorted[*p&(numSymbols-1)] = n<<9 | uint32(sym)
		*p++
	}
	slices.Sort(c.sorted[bigs:used])
	return int(used)
}

// lengths returns how many codewords of each length an optimal code of at most maxCodeLen bits has for the first used
// elements of sorted. It is Huffman's construction with the two queues, leaves and inner nodes, in one array (Moffat
// and Katajainen 1995): node[i] is first the weight of the i-th inner node, then its parent's index, then its depth.
func (c *code) lengths(used int) (perLength [maxCodeLen + 1]uint16) {
	leaf, inner := 0, 0
	for i := range used - 1 {
		weight := uint32(0)
		for range 2 {
			if leaf < used && (inner == i || c.sorted[leaf]>>9 <= c.node[inner]) {
				weight += c.sorted[leaf] >> 9
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
		depth = min(depth, maxCodeLen-1)
		for perLength[depth] == 0 {
			depth-- // too deep: split the deepest codeword that may be split instead
		}
		perLength[depth]--
		perLength[depth+1] += 2
	}
	return perLength
}
