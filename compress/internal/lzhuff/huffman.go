// Package lzhuff holds what the codecs share that write LZ77 matches and literals with Huffman codes into 16-bit units: the
// choice of a code, and the copying of matches and units.
package lzhuff

import "slices"

// Limits of a code.
const (
	MaxSymbols = 1 << symbolBits
	MaxCodeLen = 16
	MaxCount   = 1<<(32-symbolBits) - 1 // of all symbols together

	symbolBits = 10
)

// A Builder is scratch space for making canonical Huffman codes. The zero value is ready. It is not for concurrent use.
type Builder struct {
	sorted [MaxSymbols]uint32 // count<<symbolBits | symbol, ascending
	node   [MaxSymbols]uint32
}

// Build chooses length, the bits of each symbol's codeword, and word, the codewords, right-aligned, for count, which tells
// how often each symbol occurs. No codeword gets longer than limit bits; there must be at most 1<<limit symbols. A
// symbol that does not occur gets the length 0, and a word of no meaning. The code is complete, or empty if no symbol
// occurs: a lone symbol gets a codeword of one bit, and some other symbol the other one.
func (b *Builder) Build(length []uint8, word []uint16, count []uint32, limit int) {
	clear(length)
	var perLength [MaxCodeLen + 1]uint16
	switch used := b.sort(count); used {
	case 0:
		return
	case 1:
		sym := b.sorted[0] % MaxSymbols
		length[0], length[1] = 1, 1
		if sym > 1 {
			length[1], length[sym] = 0, 1
		}
		perLength[1] = 2
	default:
		perLength = b.lengths(used, limit)
		i := 0
		for l := limit; l > 0; l-- {
			for _, s := range b.sorted[i:][:perLength[l]] {
				length[s%MaxSymbols] = uint8(l)
			}
			i += int(perLength[l])
		}
	}
	var next [32]uint16 // as many as l&31 has values
	for l := 1; l < MaxCodeLen; l++ {
		next[l+1] = (next[l] + perLength[l]) << 1
	}
	word = word[:len(length)]
	for sym, l := range length {
		l &= 31
		word[sym] = next[l]
		next[l]++
	}
}

// smallCount splits counts for sorting: smaller ones, which are nearly all, take one pass.
const smallCount = 128

// sort fills sorted with the symbols that occur and returns how many do.
func (b *Builder) sort(count []uint32) int {
	var place [smallCount + 1]uint16
	for _, n := range count {
		place[min(n, smallCount)]++
	}
	used := uint16(0)
	for n := 1; n <= smallCount; n++ {
		used, place[n] = used+place[n], used
	}
	bigs := place[smallCount]
	place[0] = used // the unused follow, as leaving them out would cost a branch
	for sym, n := range count {
		p := &place[min(n, smallCount)]
		b.sorted[*p%MaxSymbols] = n<<symbolBits | uint32(sym)
		*p++
	}
	slices.Sort(b.sorted[bigs:used])
	return int(used)
}

// lengths returns how many codewords of each length an optimal code of at most limit bits has for the first used
// elements of sorted. It is Huffman's construction with the two queues, leaves and inner nodes, in one array (Moffat
// and Katajainen 1995): node[i] is first the weight of the i-th inner node, then its parent's index, then its depth.
func (b *Builder) lengths(used, limit int) (perLength [MaxCodeLen + 1]uint16) {
	leaf, inner := 0, 0
	for i := range used - 1 {
		weight := uint32(0)
		for range 2 {
			if leaf < used && (inner == i || b.sorted[leaf]>>symbolBits <= b.node[inner]) {
				weight += b.sorted[leaf] >> symbolBits
				leaf++
			} else {
				weight += b.node[inner]
				b.node[inner] = uint32(i)
				inner++
			}
		}
		b.node[i] = weight
	}

	// Each inner node turns one codeword of its depth into two that are longer by one. From the root down:
	root := used - 2
	perLength[1] = 2
	b.node[root] = 0
	for i := root - 1; i >= 0; i-- {
		depth := b.node[b.node[i]] + 1
		b.node[i] = depth
		depth = min(depth, uint32(limit-1))
		for perLength[depth] == 0 {
			depth-- // too deep: split the deepest codeword that may be split instead
		}
		perLength[depth]--
		perLength[depth+1] += 2
	}
	return perLength
}
