package ntfs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"husk/winfile"
)

// editIndex is one index of a file, to be changed. It works on the attributes of the file, which the caller saves.
type editIndex struct {
	*indexTree
	e *Editor
	f *editFile
	n string // name
}

// indexNode is a node on the way from the root to a key.
type indexNode struct {
	vcn     int64 // atRoot for the root
	entries []nodeEntry
	pos     int // entry with the key, or whose child leads to it
	depth   int
}

const atRoot = -1

// openEditIndex opens an index of f.
func (e *Editor) openEditIndex(f *editFile, name string) (*editIndex, error) {
	list := make([]fileAttr, len(f.attrs))
	for i, a := range f.attrs {
		list[i] = fileAttr{attribute: a.attribute, holder: a.holder}
	}
	t, err := e.v.openIndex(f.n, list, name)
	if err != nil {
		return nil, err
	}
	x := &editIndex{indexTree: t, e: e, f: f, n: name}
	if t.blockSize != indexBlockSize {
		return nil, x.bad("blocks of %d bytes, want %d", t.blockSize, indexBlockSize)
	}
	switch t.collation {
	case collateFileName, collateULong, collateSecurityHash, collateULongs:
	default:
		return nil, x.bad("collation %#x: %w", uint32(t.collation), errors.ErrUnsupported)
	}
	return x, nil
}

func (x *editIndex) bad(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{x.what}, args...)...)
}

// unit is the number of VCNs of a block.
func (x *editIndex) unit() int64 {
	return int64(indexBlockSize / vcnUnit(x.e.v.ClusterSize, indexBlockSize))
}

// extents are those of $INDEX_ALLOCATION.
func (x *editIndex) extents() []Extent {
	if x.blocks == nil {
		return nil
	}
	return x.blocks.extents
}

// block is the unit of a block.
func (x *editIndex) block(vcn int64) (*unit, error) {
	n, err := x.blockNumber(vcn)
	if err != nil {
		return nil, x.bad("%w", err)
	}
	return x.e.unitAt(x.extents(), n*indexBlockSize, indexBlockSize)
}

// readNode returns the entries of a block, which the caller may change.
func (x *editIndex) readNode(vcn int64) ([]nodeEntry, error) {
	n, err := x.blockNumber(vcn)
	if err != nil {
		return nil, x.bad("%w", err)
	}
	b := make([]byte, indexBlockSize)
	if _, err := x.blocks.ReadAt(b, n*indexBlockSize); err != nil {
		return nil, err
	}
	if err := unprotect(b, "INDX"); err != nil {
		return nil, x.bad("block at VCN %d: %w", vcn, err)
	}
	if own := int64(le.Uint64(b[0x10:])); own != vcn {
		return nil, x.bad("block at VCN %d: says that it is at %d", vcn, own)
	}
	return x.checked(nodeEntries(b[0x18:]))
}

// checked makes sure that compare can look at the keys.
func (x *editIndex) checked(list []nodeEntry, err error) ([]nodeEntry, error) {
	if err != nil {
		return nil, x.bad("%w", err)
	}
	for i, e := range list {
		if e.hasSubNode() != list[0].hasSubNode() {
			return nil, x.bad("entry %d: sub-node %t beside %t", i, e.hasSubNode(), !e.hasSubNode())
		}
		if e.last() || x.collation != collateFileName {
			continue
		}
		if err := fileName(e.key()).check(); err != nil {
			return nil, x.bad("%w", err)
		}
	}
	return list, nil
}

// search goes from the root to a key: the last node has it if found, else it is a leaf and pos where the key belongs.
func (x *editIndex) search(key []byte) (path []indexNode, found bool, err error) {
	entries, err := x.checked(nodeEntries(x.root[16:]))
	if err != nil {
		return nil, false, err
	}
	vcn := int64(atRoot)
	for {
		pos, found := slices.BinarySearchFunc(entries[:len(entries)-1], key, func(e nodeEntry, key []byte) int { return x.compare(e.key(), key) })
		path = append(path, indexNode{vcn, entries, pos, len(path)})
		if found || !entries[pos].hasSubNode() {
			return path, found, nil
		}
		if len(path) > maxIndexDepth {
			return nil, false, x.bad("deeper than any index")
		}
		vcn = entries[pos].subNode()
		if slices.ContainsFunc(path, func(n indexNode) bool { return n.vcn == vcn }) {
			return nil, false, x.bad("block at VCN %d is its own descendant", vcn)
		}
		if entries, err = x.readNode(vcn); err != nil {
			return nil, false, err
		}
	}
}

var (
	errKeyExists = errors.New("the key is there already")
	errNoKey     = errors.New("there is no such key")
)

// insert adds an entry without a child.
func (x *editIndex) insert(entry nodeEntry) error {
	path, found, err := x.search(entry.key())
	if err != nil {
		return err
	}
	if found {
		return x.bad("%w: %s", errKeyExists, x.printKey(entry.key()))
	}
	leaf := &path[len(path)-1]
	leaf.entries = slices.Insert(leaf.entries, leaf.pos, entry)
	return x.store(path)
}

// store writes the last node of path, whose entries were changed, and splits it if it is too full.
func (x *editIndex) store(path []indexNode) error {
	node := &path[len(path)-1]
	if node.vcn == atRoot {
		return x.storeRoot(path)
	}
	if entriesSize(node.entries) <= blockCapacity+lastEntrySize {
		return x.writeNode(node.vcn, node.entries, rankIndex+rank(node.depth))
	}
	up, left, right, err := x.split(node)
	if err != nil {
		return err
	}
	vcn, err := x.newBlock()
	if err != nil {
		return err
	}
	if err := x.writeNode(vcn, right, rankFresh); err != nil {
		return err
	}
	if err := x.writeNode(node.vcn, left, rankIndex+rank(node.depth)); err != nil {
		return err
	}
	parent := &path[len(path)-2]
	parent.entries[parent.pos] = withChild(parent.entries[parent.pos], vcn)
	parent.entries = slices.Insert(parent.entries, parent.pos, withChild(up, node.vcn))
	return x.store(path[:len(path)-1])
}

// writeNode writes a block.
func (x *editIndex) writeNode(vcn int64, entries []nodeEntry, r rank) error {
	u, err := x.block(vcn)
	if err != nil {
		return err
	}
	b := make([]byte, indexFirstEntry, indexBlockSize)
	for _, e := range entries {
		b = append(b, e...)
	}
	putBlockHeader(b, vcn, entries[0].hasSubNode())
	b = b[:indexBlockSize]
	protect(b, 1)
	reprotect(b, u.data)
	u.put(b, r)
	return nil
}

// rootValue is the value of an $INDEX_ROOT with these entries.
func (x *editIndex) rootValue(entries []nodeEntry) []byte {
	b := slices.Clone(x.root[:indexRootHeader])
	for _, e := range entries {
		b = append(b, e...)
	}
	node := b[16:]
	le.PutUint32(node, indexRootHeader-16)
	le.PutUint32(node[4:], uint32(len(node)))
	le.PutUint32(node[8:], uint32(len(node)))
	node[12] = 0
	if entries[0].hasSubNode() {
		node[12] = nodeInner
	}
	return b
}

// storeRoot puts the entries of path[0] into the root or, where the record has no room for them, into a new block below it.
func (x *editIndex) storeRoot(path []indexNode) error {
	entries := path[0].entries
	value := x.rootValue(entries)
	if x.rootFits(len(value)) {
		x.setRoot(value)
		return nil
	}
	vcn, err := x.newBlock()
	if err != nil {
		return err
	}
	root := indexNode{vcn: atRoot, entries: []nodeEntry{withChild(endEntry(), vcn)}}
	if entriesSize(entries) <= blockCapacity+lastEntrySize {
		x.setRoot(x.rootValue(root.entries))
		return x.writeNode(vcn, entries, rankFresh)
	}
	below := indexNode{vcn: vcn, entries: entries, pos: path[0].pos, depth: 1}
	return x.store([]indexNode{root, below})
}

// rootFits reports whether the record has room for a root of n bytes. A root with nothing but a child goes anywhere.
func (x *editIndex) rootFits(n int) bool {
	if n <= indexRootHeader+lastEntrySize+8 {
		return true
	}
	used := 0
	for _, a := range x.f.attrs {
		switch {
		case a.typ() == typeIndexRoot && winfile.NameFromUTF16LE(a.name()) == x.n:
			used += residentHeader + align(len(a.name()), 8) + align(n, 8)
		case !x.f.hasList || a.holder == x.f.n:
			used += len(a.attribute)
		}
	}
	if x.f.hasList {
		used += nonResidentHeader + 40 + 256 // for the list and what may have to move
	}
	if x.blocks == nil {
		return used <= x.e.room()
	}
	return used+64 <= x.e.room() // the runs and the bitmap grow
}

func (x *editIndex) setRoot(value []byte) {
	a := x.e.attr(x.f, typeIndexRoot, x.n)
	x.e.replace(x.f, typeIndexRoot, x.n, residentAttr(typeIndexRoot, x.n, a.flags(), value))
	x.root = value
}

// newBlock takes a free block and returns its VCN.
func (x *editIndex) newBlock() (int64, error) {
	count := int64(0)
	if x.blocks != nil {
		count = x.blocks.size / indexBlockSize
	}
	n := int64(0)
	for n < count && n/8 < int64(len(x.bitmap)) && x.bitmap[n/8]>>(n%8)&1 != 0 {
		n++
	}
	if n >= count {
		if err := x.grow(count); err != nil {
			return 0, err
		}
	}
	if err := x.setBit(n); err != nil {
		return 0, err
	}
	return n * x.unit(), nil
}

// grow adds blocks to an index of count blocks.
func (x *editIndex) grow(count int64) error {
	e, cs := x.e, int64(x.e.v.ClusterSize)
	runs, err := e.streamRuns(x.f, typeIndexAllocation, x.n)
	if err != nil {
		return err
	}
	var clusters int64
	for _, r := range runs {
		clusters += r.clusters
	}
	size := (count + 1) * indexBlockSize
	if count >= 8 {
		size += min(count/8, 16) * indexBlockSize
	}
	if need := (size+cs-1)/cs - clusters; need > 0 {
		hint := LCN(0)
		if k := len(runs); k > 0 {
			hint = runs[k-1].lcn + LCN(runs[k-1].clusters)
		}
		more, err := e.allocate(need, hint)
		if err != nil {
			return err
		}
		if err := e.zero(more); err != nil {
			return err
		}
		runs = joinRuns(runs, more)
	}
	e.replace(x.f, typeIndexAllocation, x.n, e.outsideAttr(typeIndexAllocation, x.n, 0, runs, sizes{data: size, initialized: size})...)
	if x.blocks == nil {
		x.blocks = &stream{v: e.v, name: x.what}
	}
	x.blocks.size, x.blocks.initialized, x.blocks.extents = size, size, extentsOf(runs)
	return nil
}

// setBit marks a block as used.
func (x *editIndex) setBit(n int64) error {
	e := x.e
	a := e.attr(x.f, typeBitmap, x.n)
	if need := bitmapSize(n + 1); int64(len(x.bitmap)) < need {
		x.bitmap = append(x.bitmap, make([]byte, need-int64(len(x.bitmap)))...)
	}
	x.bitmap[n/8] |= 1 << (n % 8)
	if a != nil && a.nonResident() {
		return x.setOutside(a, n)
	}
	return x.setBitmap()
}

// setBitmap stores the bitmap where there was none outside the record.
func (x *editIndex) setBitmap() error {
	if len(x.bitmap) <= mostInline {
		x.e.replace(x.f, typeBitmap, x.n, residentAttr(typeBitmap, x.n, 0, x.bitmap))
		return nil
	}
	size := int64(len(x.bitmap))
	runs, err := x.e.newClusters(x.bitmap)
	if err == nil {
		x.e.replace(x.f, typeBitmap, x.n, x.e.outsideAttr(typeBitmap, x.n, 0, runs, sizes{data: size, initialized: size})...)
	}
	return err
}

// mostInline is the length in bytes up to which the bitmap of an index is kept in its record, where the root needs the room more.
const mostInline = 64

// setOutside marks a block in a bitmap that is outside the record.
func (x *editIndex) setOutside(a *editAttr, n int64) error {
	e := x.e
	runs, err := e.streamRuns(x.f, typeBitmap, x.n)
	if err != nil {
		return err
	}
	if size := int64(len(x.bitmap)); size > a.dataSize() || a.initializedSize() < a.dataSize() {
		runs, err = e.growBits(runs, a.initializedSize(), size)
		if err != nil {
			return err
		}
		e.replace(x.f, typeBitmap, x.n, e.outsideAttr(typeBitmap, x.n, 0, runs, sizes{data: size, initialized: size})...)
	}
	return e.mark(extentsOf(runs), n, 1, true)
}

// growBits makes a bitmap outside the records size bytes long, of which those from valid on are cleared, and returns its runs.
func (e *Editor) growBits(runs []run, valid, size int64) ([]run, error) {
	cs := int64(e.v.ClusterSize)
	var clusters int64
	for _, r := range runs {
		clusters += r.clusters
	}
	if need := (size+cs-1)/cs - clusters; need > 0 {
		hint := LCN(0)
		if k := len(runs); k > 0 {
			hint = runs[k-1].lcn + LCN(runs[k-1].clusters)
		}
		more, err := e.allocate(need, hint)
		if err != nil {
			return nil, err
		}
		if err := e.zero(more); err != nil {
			return nil, err
		}
		runs = joinRuns(runs, more)
		clusters += need
	}
	// What the clusters had behind the valid bytes may be anything.
	for off := valid &^ (e.chunk() - 1); off < min(clusters*cs, align(size, e.chunk())); off += e.chunk() {
		u, err := e.unitAt(extentsOf(runs), off, e.chunk())
		if err != nil {
			return nil, err
		}
		u.bits = true
		clear(u.data[max(0, min(valid-off, e.chunk())):])
	}
	return runs, nil
}

// remove takes an entry out.
func (x *editIndex) remove(key []byte) error {
	path, found, err := x.search(key)
	if err != nil {
		return err
	}
	if !found {
		return x.bad("%w: %s", errNoKey, x.printKey(key))
	}
	node := &path[len(path)-1]
	if e := node.entries[node.pos]; e.hasSubNode() {
		return x.removeInner(path)
	}
	if len(node.entries) <= 2 && node.vcn != atRoot {
		return x.rebuild(key)
	}
	node.entries = slices.Delete(node.entries, node.pos, node.pos+1)
	return x.store(path)
}

// removeInner replaces the entry that path ends with by the one before it, which is the last of a leaf.
func (x *editIndex) removeInner(path []indexNode) error {
	node := &path[len(path)-1]
	gone := node.entries[node.pos]
	leaf := indexNode{vcn: gone.subNode(), depth: len(path)}
	for {
		if leaf.depth > maxIndexDepth {
			return x.bad("deeper than any index")
		}
		var err error
		if leaf.entries, err = x.readNode(leaf.vcn); err != nil {
			return err
		}
		last := leaf.entries[len(leaf.entries)-1]
		if !last.hasSubNode() {
			break
		}
		leaf.vcn, leaf.depth = last.subNode(), leaf.depth+1
	}
	k := len(leaf.entries) - 2
	if k < 1 {
		return x.rebuild(gone.key())
	}
	up := withChild(leaf.entries[k], gone.subNode())
	if node.vcn != atRoot && entriesSize(node.entries)+len(up)-len(gone) > blockCapacity+lastEntrySize {
		return x.rebuild(gone.key())
	}
	node.entries[node.pos] = up
	if err := x.store(path); err != nil {
		return err
	}
	// Storing the root may have moved it one node down, which only makes the leaf deeper.
	return x.writeNode(leaf.vcn, slices.Delete(leaf.entries, k, k+1), rankIndex+rank(leaf.depth)+1)
}

// change calls fn with the entry that has the key, to change it in place but for the key's order and its length.
func (x *editIndex) change(key []byte, fn func(nodeEntry) error) error {
	path, found, err := x.search(key)
	if err != nil {
		return err
	}
	if !found {
		return x.bad("%w: %s", errNoKey, x.printKey(key))
	}
	node := &path[len(path)-1]
	node.entries[node.pos] = slices.Clone(node.entries[node.pos])
	if err := fn(node.entries[node.pos]); err != nil {
		return err
	}
	if node.vcn == atRoot {
		x.setRoot(x.rootValue(node.entries))
		return nil
	}
	return x.writeNode(node.vcn, node.entries, rankIndex+rank(node.depth))
}

// all gathers the entries in their order, without children.
func (x *editIndex) all() ([]nodeEntry, error) {
	var list []nodeEntry
	seen := make(map[int64]bool)
	var walk func(entries []nodeEntry, depth int) error
	walk = func(entries []nodeEntry, depth int) error {
		if depth > maxIndexDepth {
			return x.bad("deeper than any index")
		}
		for _, e := range entries {
			if e.hasSubNode() {
				if seen[e.subNode()] {
					return x.bad("block at VCN %d is linked twice", e.subNode())
				}
				seen[e.subNode()] = true
				below, err := x.readNode(e.subNode())
				if err != nil {
					return err
				}
				if err := walk(below, depth+1); err != nil {
					return err
				}
			}
			if !e.last() {
				list = append(list, withoutChild(e))
			}
		}
		return nil
	}
	entries, err := x.checked(nodeEntries(x.root[16:]))
	if err == nil {
		err = walk(entries, 0)
	}
	return list, err
}

// rebuild makes the index anew without one key, in clusters that are free on the disk: the record switches it.
func (x *editIndex) rebuild(without []byte) error {
	e := x.e
	list, err := x.all()
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(list, func(n nodeEntry) bool { return bytes.Equal(n.key(), without) }); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if !slices.IsSortedFunc(list, func(a, b nodeEntry) int { return cmp.Or(x.compare(a.key(), b.key()), 1) }) {
		return x.bad("keys are out of order")
	}
	flags := e.attr(x.f, typeIndexRoot, x.n).flags()
	if err := e.remove(x.f, typeIndexAllocation, x.n); err != nil {
		return err
	}
	if err := e.remove(x.f, typeBitmap, x.n); err != nil {
		return err
	}
	shape := &indexShape{}
	b := index{
		name: x.n, entries: len(list), shape: shape,
		length: func(i int) int { return len(list[i]) },
		append: func(b []byte, i int) []byte { return append(b, list[i]...) },
	}
	shape.plan(b.entries, b.length, e.room()/4)
	root := b.appendRoot(nil, e.v.ClusterSize)
	copy(root[:16], x.root[:16]) // type, collation and block size are what they were
	x.root, x.blocks, x.bitmap = root, nil, nil
	e.replace(x.f, typeIndexRoot, x.n, residentAttr(typeIndexRoot, x.n, flags, root))
	if shape.splits == nil {
		return nil
	}
	var blocks []byte
	if err := b.write(e.v.ClusterSize, func(p []byte) error { blocks = append(blocks, p...); return nil }); err != nil {
		return err
	}
	runs, err := e.newClusters(blocks)
	if err != nil {
		return err
	}
	size := int64(len(blocks))
	x.bitmap = appendBits(nil, shape.count(), bitmapSize(shape.count()))
	x.blocks = &stream{v: e.v, name: x.what, size: size, initialized: size, extents: extentsOf(runs)}
	e.replace(x.f, typeIndexAllocation, x.n, e.outsideAttr(typeIndexAllocation, x.n, 0, runs, sizes{data: size, initialized: size})...)
	return x.setBitmap()
}
