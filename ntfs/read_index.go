package ntfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"husk/winfile"
)

// maxIndexDepth is far beyond what an index of 2^32 entries needs.
const maxIndexDepth = 32

// indexTree is one B-tree: the attributes of one name in one record.
type indexTree struct {
	v         *Volume
	what      string // "record 5: index \"$I30\""
	indexed   attrType
	collation collation
	blockSize int
	unitCode  byte    // as stored in the root
	root      []byte  // value of $INDEX_ROOT
	blocks    *stream // $INDEX_ALLOCATION, nil if there is none
	bitmap    []byte  // of the blocks
	seen      map[int64]struct{}
}

// nodeEntry is one entry, cut to its length and checked by nextEntry.
type nodeEntry []byte

func (e nodeEntry) ref() fileRef     { return fileRef(le.Uint64(e)) } // $I30 only
func (e nodeEntry) flags() uint16    { return le.Uint16(e[0xc:]) }
func (e nodeEntry) key() []byte      { return e[0x10:][:le.Uint16(e[0xa:])] }
func (e nodeEntry) subNode() int64   { return int64(le.Uint64(e[len(e)-8:])) }
func (e nodeEntry) last() bool       { return e.flags()&entryLast != 0 }
func (e nodeEntry) hasSubNode() bool { return e.flags()&entrySubNode != 0 }

// data returns what a view index stores with a key.
func (e nodeEntry) data() ([]byte, error) {
	off, n := int(le.Uint16(e)), int(le.Uint16(e[2:]))
	if n == 0 {
		return nil, nil
	}
	if off < indexEntryHeader || off > len(e)-n {
		return nil, fmt.Errorf("%d bytes of data at %#x of an entry of %d", n, off, len(e))
	}
	return e[off:][:n], nil
}

// openIndex finds the parts of the index name among the attributes of record n.
func (v *Volume) openIndex(n int64, list []fileAttr, name string) (*indexTree, error) {
	x := &indexTree{v: v, what: fmt.Sprintf("record %d: index %q", n, name), seen: make(map[int64]struct{})}
	i := findAttr(list, typeIndexRoot, name)
	if i < 0 || list[i].nonResident() {
		return nil, formatError(x.what, 0, "no resident $INDEX_ROOT")
	}
	x.root = list[i].value()
	if len(x.root) < indexRootHeader+indexEntryHeader {
		return nil, list[i].fail(0x10, "%d bytes, want at least %d", len(x.root), indexRootHeader+indexEntryHeader)
	}
	x.indexed = attrType(le.Uint32(x.root))
	x.collation = collation(le.Uint32(x.root[4:]))
	x.unitCode = x.root[12]
	size := le.Uint32(x.root[8:])
	if size < sectorStride || size > 65536 || bits.OnesCount32(size) != 1 {
		return nil, list[i].fail(8, "index blocks of %d bytes, want a power of two from %d to 65536", size, sectorStride)
	}
	x.blockSize = int(size)
	if i = findAttr(list, typeIndexAllocation, name); i < 0 {
		return x, nil
	}
	var err error
	if x.blocks, err = v.openStream(list, i); err != nil {
		return nil, err
	}
	if i = findAttr(list, typeBitmap, name); i < 0 {
		return nil, formatError(x.what, 0, "$INDEX_ALLOCATION without $BITMAP")
	}
	s, err := v.openStream(list, i)
	if err != nil {
		return nil, err
	}
	// A bit per block, were the whole volume index blocks.
	x.bitmap, err = s.readAll(v.size/int64(x.blockSize)/8 + int64(v.ClusterSize))
	return x, err
}

// blockNumber converts a VCN in the index to a block number.
func (x *indexTree) blockNumber(vcn int64) (int64, error) {
	perBlock := int64(x.blockSize / vcnUnit(x.v.ClusterSize, x.blockSize))
	if x.blocks == nil || vcn < 0 || vcn%perBlock != 0 || vcn/perBlock >= x.blocks.size/int64(x.blockSize) {
		return 0, fmt.Errorf("block at VCN %d does not exist", vcn)
	}
	return vcn / perBlock, nil
}

// node returns the node header, with all that follows, of the block at vcn.
func (x *indexTree) node(vcn int64) ([]byte, error) {
	n, err := x.blockNumber(vcn)
	if err != nil {
		return nil, err
	}
	if _, ok := x.seen[n]; ok {
		return nil, fmt.Errorf("block at VCN %d is linked twice", vcn)
	}
	x.seen[n] = struct{}{}
	b := make([]byte, x.blockSize)
	if _, err := x.blocks.ReadAt(b, n*int64(x.blockSize)); err != nil && err != io.EOF {
		return nil, err
	}
	if err := unprotect(b, "INDX"); err != nil {
		return nil, fmt.Errorf("block at VCN %d: %w", vcn, err)
	}
	if own := int64(le.Uint64(b[0x10:])); own != vcn {
		return nil, fmt.Errorf("block at VCN %d: says that it is at %d", vcn, own)
	}
	return b[0x18:], nil
}

// nodeEntries checks a node header and cuts its entries. The last one has no key.
func nodeEntries(b []byte) ([]nodeEntry, error) {
	first, used, allocated := le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
	if allocated > uint32(len(b)) || used > allocated || first < 0x10 || first > used || first%8 != 0 {
		return nil, fmt.Errorf("node header: first entry %#x, used %#x, allocated %#x of %#x bytes", first, used, allocated, len(b))
	}
	var list []nodeEntry
	for off := int(first); ; {
		if off > int(used)-indexEntryHeader {
			return list, fmt.Errorf("entry at %#x leaves the %#x bytes used", off, used)
		}
		e := nodeEntry(b[off:used])
		length, keyLen := int(le.Uint16(e[8:])), int(le.Uint16(e[0xa:]))
		tail := 0
		if e.hasSubNode() {
			tail = 8
		}
		if length < indexEntryHeader+tail || length > len(e) || length%8 != 0 || keyLen > length-indexEntryHeader-tail {
			return list, fmt.Errorf("entry at %#x: %d bytes with a key of %d, %d left", off, length, keyLen, len(e))
		}
		e = e[:length:length]
		list = append(list, e)
		off += length
		if e.last() {
			if off != int(used) {
				return list, fmt.Errorf("last entry ends at %#x, want %#x", off, used)
			}
			return list, nil
		}
	}
}

// walk calls fn with each entry that has a key, in the order of the tree, and report with what breaks it: the walk goes on beside
// it.
func (x *indexTree) walk(fn func(nodeEntry), report func(error)) {
	x.walkNode(x.root[16:], 0, "root", fn, report)
}

func (x *indexTree) walkNode(b []byte, depth int, where string, fn func(nodeEntry), report func(error)) {
	list, err := nodeEntries(b)
	if err != nil {
		report(fmt.Errorf("%s: %w", where, err))
	}
	inner := b[12]&nodeInner != 0
	for i, e := range list {
		if e.hasSubNode() != inner {
			report(fmt.Errorf("%s: entry %d: sub-node %t in a node whose flags say %t", where, i, e.hasSubNode(), inner))
		}
		if e.hasSubNode() {
			x.descend(e.subNode(), depth+1, fn, report)
		}
		if !e.last() {
			fn(e)
		}
	}
}

func (x *indexTree) descend(vcn int64, depth int, fn func(nodeEntry), report func(error)) {
	if depth > maxIndexDepth {
		report(errors.New("deeper than any index"))
		return
	}
	b, err := x.node(vcn)
	if err != nil {
		report(err)
		return
	}
	x.walkNode(b, depth, fmt.Sprintf("block at VCN %d", vcn), fn, report)
}

// compare orders two keys.
func (x *indexTree) compare(a, b []byte) int {
	if x.collation == collateFileName {
		return compareNames(x.v.upcase, fileName(a).name(), fileName(b).name())
	}
	return compareViewKeys(x.collation, a, b)
}

// Lookup finds a path through the directory indexes, as drivers do, and returns the MFT record number. Either slash separates. A name
// that is the same in every letter goes before one that differs in case, which case-sensitive folders may have beside it. ok is
// false if there is no such name.
func (v *Volume) Lookup(path string) (record int64, ok bool, err error) {
	n := int64(recRoot)
	for _, part := range splitPath(path) {
		ref, ok, err := v.lookupIn(n, part)
		if err != nil || !ok {
			return 0, false, err
		}
		n = int64(ref.record())
	}
	return n, true, nil
}

func splitPath(path string) []string {
	var parts []string
	for _, p := range bytes.FieldsFunc([]byte(path), func(r rune) bool { return r == '/' || r == '\\' }) {
		if string(p) != "." {
			parts = append(parts, string(p))
		}
	}
	return parts
}

// lookupIn goes down the $I30 of directory n.
func (v *Volume) lookupIn(n int64, name string) (fileRef, bool, error) {
	_, list, err := v.baseAttrs(n)
	if err != nil {
		return 0, false, err
	}
	if findAttr(list, typeIndexRoot, "$I30") < 0 {
		return 0, false, nil // not a directory
	}
	x, err := v.openIndex(n, list, "$I30")
	if err != nil {
		return 0, false, err
	}
	want := winfile.AppendUTF16LE(nil, name)
	var folded nodeEntry // differs in case: the neighbours of a place in the order are on the way to it
	for node := x.root[16:]; ; {
		entries, err := nodeEntries(node)
		if err != nil {
			return 0, false, formatError(x.what, 0, "%w", err)
		}
		var next nodeEntry
		for _, e := range entries {
			if e.last() {
				next = e
				break
			}
			key := fileName(e.key())
			if err := key.check(); err != nil {
				return 0, false, formatError(x.what, 0, "%w", err)
			}
			c := compareNames(v.upcase, key.name(), want)
			if c == 0 {
				return e.ref(), true, nil
			}
			if folded == nil && v.sameName(key.name(), want) {
				folded = e
			}
			if c > 0 {
				next = e
				break
			}
		}
		if !next.hasSubNode() {
			if folded != nil {
				return folded.ref(), true, nil
			}
			return 0, false, nil
		}
		if node, err = x.node(next.subNode()); err != nil {
			return 0, false, formatError(x.what, 0, "%w", err)
		}
	}
}

// sameName reports whether two UTF-16LE names differ at most in case.
func (v *Volume) sameName(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i+1 < len(a); i += 2 {
		if v.upcase[le.Uint16(a[i:])] != v.upcase[le.Uint16(b[i:])] {
			return false
		}
	}
	return true
}
