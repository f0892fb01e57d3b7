package ntfs

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"husk/winfile"
)

// indexWalk checks one index. Its memory is used again for the next.
type indexWalk struct {
	c      *checkState
	n      int64
	name   string
	x      *indexTree
	fn     func(nodeEntry) error
	seen   []uint64 // bit for each block
	blocks int64
	whole  bool // nothing was left out
	last   []byte
	any    bool
	nodes  [maxIndexDepth + 1][]byte
	lists  [maxIndexDepth + 1][]nodeEntry
}

// index checks the structure and order of an index and calls fn with its entries. It reports whether it saw all of them.
func (c *checkState) index(n int64, name string, order collation, fn func(nodeEntry) error) (whole bool) {
	if c.unsafe[n] {
		c.report("index-skipped", inStream(n, attrLabel(typeIndexAllocation, name), -1), "its clusters are not its own, or none", "")
		return false
	}
	list, err := c.readAttrs(n)
	var x *indexTree
	if err == nil {
		x, err = c.v.openIndex(n, list, name)
	}
	if err != nil {
		c.reportErr("index-missing", inStream(n, attrLabel(typeIndexRoot, name), -1), err)
		return false
	}
	w := &c.walker
	*w = indexWalk{c: c, n: n, name: name, x: x, fn: fn, seen: w.seen, last: w.last[:0], nodes: w.nodes, lists: w.lists, whole: true}
	if x.blocks != nil {
		w.blocks = x.blocks.size / int64(x.blockSize)
		w.seen = append(w.seen[:0], make([]uint64, (w.blocks+63)/64)...)
	}
	w.root(order)
	x.collation = order // keys were checked for this one
	w.node(x.root[16:], 0, spot{n, attrLabel(typeIndexRoot, name), -1})
	w.bitmap()
	return w.whole
}

// block is the place of an index block.
func (w *indexWalk) block(off int64) spot {
	return inStream(w.n, attrLabel(typeIndexAllocation, w.name), off)
}

// root checks the fields of $INDEX_ROOT.
func (w *indexWalk) root(order collation) {
	x := w.x
	bad := func(off int64, expected, format string, args ...any) {
		w.c.report("index-root", inStream(w.n, attrLabel(typeIndexRoot, w.name), off), fmt.Sprintf(format, args...), expected)
	}
	indexed := attrType(0)
	if w.name == "$I30" {
		indexed = typeFileName
	}
	if x.indexed != indexed {
		bad(0, fmt.Sprintf("%#x", uint32(indexed)), "attribute type %#x", uint32(x.indexed))
	}
	if x.collation != order {
		bad(4, fmt.Sprintf("%#x", uint32(order)), "collation %#x", uint32(x.collation))
	}
	if x.blockSize != w.c.v.boot.indexSize {
		bad(8, fmt.Sprintf("%d, as the boot sector says", w.c.v.boot.indexSize), "blocks of %d bytes", x.blockSize)
	}
	if want := x.blockSize / vcnUnit(w.c.v.ClusterSize, x.blockSize); int(x.unitCode) != want {
		bad(12, fmt.Sprint(want), "blocks of %d clusters or sectors", x.unitCode)
	}
	node := x.root[16:]
	if used, allocated := le.Uint32(node[4:]), le.Uint32(node[8:]); used != allocated || int64(used) != int64(len(node)) {
		bad(0x14, "them equal", "%d bytes used, %d allocated, %d there", used, allocated, len(node))
	}
	if node[12]&nodeInner != 0 && x.blocks == nil {
		bad(0x1c, "", "sub-nodes and no $INDEX_ALLOCATION")
	}
}

// node checks one node and what is below it.
func (w *indexWalk) node(b []byte, depth int, at spot) {
	list, err := appendNodeEntries(w.lists[depth][:0], b)
	w.lists[depth] = list
	if err != nil {
		w.whole = false
		w.c.reportErr("index-node", at, err)
	}
	inner := b[12]&nodeInner != 0
	for i, e := range list {
		if e.hasSubNode() != inner {
			w.c.report("index-node", at, fmt.Sprintf("entry %d has a sub-node: %t", i, e.hasSubNode()), fmt.Sprintf("%t, as the node's flags say", inner))
		}
		if e.hasSubNode() {
			w.descend(e.subNode(), depth+1, at)
		}
		if !e.last() {
			w.entry(e, at)
		}
	}
}

// entry checks one key against the one before it.
func (w *indexWalk) entry(e nodeEntry, at spot) {
	if err := w.fn(e); err != nil {
		w.whole = false
		w.c.reportErr("index-entry", at, err)
		return
	}
	if w.any {
		if w.x.compare(w.last, e.key()) >= 0 {
			w.c.report("index-order", at, fmt.Sprintf("key %s stands behind %s", w.x.printKey(e.key()), w.x.printKey(w.last)), "")
		} else if w.x.collation == collateFileName && !w.c.at(uint64(w.n)).has(factCaseful) && w.c.v.sameName(fileName(w.last).name(), fileName(e.key()).name()) {
			w.c.report("name-case", at, fmt.Sprintf("%s and %s", w.x.printKey(w.last), w.x.printKey(e.key())), "")
		}
	}
	w.any, w.last = true, append(w.last[:0], e.key()...)
}

// descend reads the block at vcn and checks it. from is the node that names it.
func (w *indexWalk) descend(vcn int64, depth int, from spot) {
	fail := func(code Code, at spot, err error) {
		w.whole = false
		w.c.damaged = true
		w.c.reportErr(code, at, err)
	}
	if depth > maxIndexDepth {
		fail("index-depth", from, fmt.Errorf("node %d levels below the root", depth))
		return
	}
	n, err := w.x.blockNumber(vcn)
	if err != nil {
		fail("index-node", from, err)
		return
	}
	size := w.x.blockSize
	at := w.block(n * int64(size))
	if w.seen[n/64]>>(n%64)&1 != 0 {
		fail("index-loop", at, errors.New("the block is linked twice"))
		return
	}
	w.seen[n/64] |= 1 << (n % 64)
	b := w.nodes[depth]
	if len(b) < size {
		b = make([]byte, size)
		w.nodes[depth] = b
	}
	b = b[:size]
	if err := readExactly(w.x.blocks, b, n*int64(size)); err != nil {
		fail("index-block", at, err)
		return
	}
	if err := unprotect(b, "INDX"); err != nil {
		fail("index-block", at, err)
		return
	}
	if own := int64(le.Uint64(b[0x10:])); own != vcn {
		fail("index-block", at, fmt.Errorf("the block says that it is at VCN %d, want %d", own, vcn))
		return
	}
	usa := int(le.Uint16(b[4:])) + 2*int(le.Uint16(b[6:]))
	if first, allocated := le.Uint32(b[0x18:]), le.Uint32(b[0x20:]); int64(allocated) != int64(size-0x18) || int64(first) < int64(usa-0x18) {
		w.c.report("index-block-header", at, fmt.Sprintf("first entry at %#x, %#x bytes allocated", first, allocated), fmt.Sprintf("%#x or more, %#x", align(usa-0x18, 8), size-0x18))
	}
	w.node(b[0x18:], depth, at)
}

// bitmap compares the bitmap of an index with the blocks that the walk reached.
func (w *indexWalk) bitmap() {
	if w.x.blocks == nil {
		return
	}
	at := func(off int64) spot { return inStream(w.n, attrLabel(typeBitmap, w.name), off) }
	b := w.x.bitmap
	for i, word := range w.seen {
		for ; word != 0; word &= word - 1 {
			block := int64(i)*64 + int64(bits.TrailingZeros64(word))
			if block/8 >= int64(len(b)) || b[block/8]>>(block%8)&1 == 0 {
				w.c.report("index-bitmap-free", at(block/8), fmt.Sprintf("block %d is in the tree and marked free", block), "")
			}
		}
	}
	for i, set := range b {
		for ; set != 0 && w.whole; set &= set - 1 { // blocks of a tree that was not seen whole may be in the rest of it
			block := int64(i)*8 + int64(bits.TrailingZeros8(set))
			if block >= w.blocks || w.seen[block/64]>>(block%64)&1 == 0 {
				w.c.report("index-bitmap-leaked", at(int64(i)), fmt.Sprintf("block %d is marked used and not in the tree", block), "")
			}
		}
	}
	if len(b)%8 != 0 {
		w.c.report("index-bitmap-size", at(-1), fmt.Sprintf("%d bytes", len(b)), "a multiple of 8")
	}
}

// appendNodeEntries is nodeEntries with memory of the caller.
func appendNodeEntries(list []nodeEntry, b []byte) ([]nodeEntry, error) {
	more, err := nodeEntries(b)
	return append(list, more...), err
}

// printKey shows a key in a message.
func (x *indexTree) printKey(key []byte) string {
	if x.collation == collateFileName {
		return fmt.Sprintf("%q", winfile.NameFromUTF16LE(fileName(key).name()))
	}
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range key {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}
