package ntfs

import (
	"fmt"
	"strings"

	"husk/winfile"
)

// fileName checks one $FILE_NAME of record n and notes it.
func (c *checkState) fileName(n int64, k *checkedRecord, a fileAttr) {
	if a.nonResident() {
		return // reported by form
	}
	key := fileName(a.value())
	if err := key.check(); err != nil {
		c.report(SeverityError, ProblemName, n, "%v", err)
		return
	}
	if want := fileNameSize + len(key.name()); len(key) != want {
		c.report(SeverityError, ProblemName, n, "$FILE_NAME of %d bytes, want %d", len(key), want)
	}
	if dir := key.attributes()&fileNameDirectory != 0; dir != (k.flags&recordDirectory != 0) {
		c.report(SeverityError, ProblemFlags, n, "directory bit of $FILE_NAME is %t, that of the record %t", dir, !dir)
	}
	c.storedBits(n, "$FILE_NAME", key.attributes(), k.flags&recordView != 0)
	if len(c.names) == 0 {
		c.names = append(c.names, checkedName{})
	}
	name := winfile.NameFromUTF16LE(key.name())
	c.legal(n, name, key.namespace())
	c.names = append(c.names, checkedName{parent: key.parent(), next: k.firstName, namespace: key.namespace(), name: c.text.add([]byte(name))})
	k.firstName = uint32(len(c.names) - 1)
}

// legal checks a name against its namespace.
func (c *checkState) legal(n int64, name string, namespace byte) {
	switch {
	case namespace > nameWin32DOS:
		c.report(SeverityError, ProblemName, n, "%q is in namespace %d, want 0 to 3", name, namespace)
	case name == "." && n == recRoot:
	case !legalName(name):
		c.report(SeverityError, ProblemName, n, "%q cannot stand in a path", name)
	case namespace&nameDOS != 0 && n >= firstUserFile && !legal83(name): // 2 and 3
		c.report(SeverityWarning, ProblemName, n, "%q is in namespace %d but not an 8.3 name", name, namespace)
	case namespace != namePOSIX && (strings.ContainsAny(name, "\"*/:<>?\\|") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' })):
		c.report(SeverityWarning, ProblemName, n, "%q in namespace %d has characters that Windows refuses", name, namespace)
	}
}

// namesOf yields the names of a record.
func (c *checkState) namesOf(k *checkedRecord) func(func(*checkedName) bool) {
	return func(yield func(*checkedName) bool) {
		for i := k.firstName; i != 0; i = c.names[i].next {
			if !yield(&c.names[i]) {
				return
			}
		}
	}
}

// namePairs checks the link count, and that a DOS name and a Win32 name come together.
func (c *checkState) namePairs(n int64, k *checkedRecord) {
	count, dos := 0, 0
	for t := range c.namesOf(k) {
		count++
		if t.namespace == nameDOS {
			dos++
		}
		if t.namespace != nameDOS && t.namespace != nameWin32 {
			continue
		}
		partner := 0
		for u := range c.namesOf(k) {
			if u.parent == t.parent && u.namespace == nameDOS+nameWin32-t.namespace {
				partner++
			}
		}
		if partner != 1 {
			c.report(SeverityWarning, ProblemName, n, "%q in namespace %d has %d partners in the other, want 1", t.name, t.namespace, partner)
		}
	}
	if int(k.links) != count {
		c.report(SeverityWarning, ProblemLinks, n, "link count %d, the file has %d names", k.links, count)
	}
	if dos > 1 {
		c.report(SeverityWarning, ProblemName, n, "%d DOS names, want at most 1", dos)
	}
	if count-dos > 1 && k.flags&recordDirectory != 0 {
		c.report(SeverityError, ProblemName, n, "directory with %d names", count-dos)
	}
	if reserved := n >= recReserved && n < firstUserFile; count == 0 && !reserved {
		c.report(SeverityError, ProblemName, n, "file without a name")
	}
}

// directories walks the $I30 of each directory and matches its entries with the names of the records.
func (c *checkState) directories() error {
	for n, k := range c.inUse {
		if k.base != 0 || k.flags&recordDirectory == 0 {
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		self := makeRef(uint64(n), k.sequence)
		c.index(n, "$I30", collateFileName, func(e nodeEntry) error {
			key := fileName(e.key())
			if err := key.check(); err != nil {
				return err
			}
			if want := fileNameSize + len(key.name()); len(key) != want {
				return fmt.Errorf("key of %d bytes, want %d", len(key), want)
			}
			c.directoryEntry(n, self, e.ref(), key)
			return nil
		})
	}
	return nil
}

// directoryEntry matches one entry of directory n with the record that it points to.
func (c *checkState) directoryEntry(n int64, self, child fileRef, key fileName) {
	name := winfile.NameFromUTF16LE(key.name())
	k := c.at(child.record())
	switch {
	case k == nil || k.base != 0:
		c.report(SeverityError, ProblemDanglingEntry, n, "entry %q points to record %v, which is no file", name, child)
		return
	case k.sequence != child.sequence():
		c.report(SeverityError, ProblemDanglingEntry, n, "entry %q points to %v, the record has sequence number %d", name, child, k.sequence)
		return
	case key.parent() != self:
		c.report(SeverityError, ProblemDanglingEntry, n, "entry %q has parent %v, want %v", name, key.parent(), self)
	}
	for t := range c.namesOf(k) {
		if t.matched || t.parent != self || t.namespace != key.namespace() || t.name != name {
			continue
		}
		t.matched = true
		c.copiedFacts(n, name, k, key)
		return
	}
	c.report(SeverityError, ProblemDanglingEntry, n, "entry %q in namespace %d: record %v has no such name here", name, key.namespace(), child)
}

// copiedFacts compares what an index entry repeats of its file. Sizes and attributes of system files are often never filled in.
func (c *checkState) copiedFacts(n int64, name string, k *checkedRecord, key fileName) {
	if dir := key.attributes()&fileNameDirectory != 0; dir != (k.flags&recordDirectory != 0) && n != recRoot {
		c.report(SeverityError, ProblemFlags, n, "entry %q: directory bit is %t, that of its record %t", name, dir, !dir)
	}
	if key.attributes()&winfile.AttrReparse != 0 && key.reparseTag() != k.tag || k.tag != 0 && key.attributes()&winfile.AttrReparse == 0 {
		c.report(SeverityWarning, ProblemReparse, n, "entry %q: reparse tag %#x, its record has %#x", name, key.reparseTag(), k.tag)
	}
	if k.tag == 0 && key.attributes()&winfile.AttrReparse == 0 && key.reparseTag()&0xffff != uint32(k.eaSize) {
		c.report(SeverityNote, ProblemStaleEntry, n, "entry %q: %d bytes of extended attributes, its record has %d", name, key.reparseTag()&0xffff, k.eaSize)
	}
	if name == "." {
		return // nobody keeps the root's
	}
	const kept = fileNameDirectory | fileNameView
	if a := key.attributes() &^ kept; a != winfile.Attributes(k.attributes)&^kept {
		c.report(SeverityNote, ProblemStaleEntry, n, "entry %q: attributes %#x, its record has %#x", name, uint32(a), k.attributes)
	}
	if k.flags&recordDirectory == 0 && (key.size() != k.size || key.allocated() != k.allocated) {
		c.report(SeverityNote, ProblemStaleEntry, n, "entry %q: %d bytes, %d allocated, its record has %d, %d", name, key.size(), key.allocated(), k.size, k.allocated)
	}
}

// index checks the structure and order of an index and calls fn with its entries.
func (c *checkState) index(n int64, name string, order collation, fn func(nodeEntry) error) {
	broken := func(err error) { c.report(SeverityError, ProblemIndex, n, "index %q: %v", name, err) }
	if c.crossed[n] {
		c.report(SeverityNote, ProblemIndex, n, "index %q is not checked: its clusters are not its own", name)
		return
	}
	_, list, err := c.v.baseAttrs(n)
	var x *indexTree
	if err == nil {
		x, err = c.v.openIndex(n, list, name)
	}
	if err != nil {
		broken(err)
		return
	}
	c.indexRoot(n, name, x, order)
	x.collation = order // keys were checked for this one
	var last []byte
	x.walk(func(e nodeEntry) {
		if err := fn(e); err != nil {
			broken(err)
			return
		}
		if last != nil && x.compare(last, e.key()) >= 0 {
			c.report(SeverityError, ProblemIndexOrder, n, "index %q: key %s is not greater than the one before", name, x.printKey(e.key()))
		}
		last = append(last[:0], e.key()...)
	}, broken)
	c.indexBitmap(n, name, x)
}

// printKey shows a key in a message.
func (x *indexTree) printKey(key []byte) string {
	if x.collation == collateFileName {
		return "\"" + winfile.NameFromUTF16LE(fileName(key).name()) + "\""
	}
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range key {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// indexRoot checks the fields of $INDEX_ROOT.
func (c *checkState) indexRoot(n int64, name string, x *indexTree, order collation) {
	bad := func(format string, args ...any) {
		c.report(SeverityError, ProblemIndex, n, "index %q: "+format, append([]any{name}, args...)...)
	}
	indexed := attrType(0)
	if name == "$I30" {
		indexed = typeFileName
	}
	if x.indexed != indexed || x.collation != order {
		bad("root of attribute type %#x, collation %#x, want %#x, %#x", uint32(x.indexed), uint32(x.collation), uint32(indexed), uint32(order))
	}
	if x.blockSize != c.v.boot.indexSize {
		bad("blocks of %d bytes, the boot sector says %d", x.blockSize, c.v.boot.indexSize)
	}
	if want := x.blockSize / vcnUnit(c.v.ClusterSize, x.blockSize); int(x.unitCode) != want {
		bad("blocks of %d clusters or sectors, want %d", x.unitCode, want)
	}
	node := x.root[16:]
	if used, allocated := le.Uint32(node[4:]), le.Uint32(node[8:]); used != allocated || int(used) != len(node) {
		bad("root with %d bytes used, %d allocated, %d there: want them equal", used, allocated, len(node))
	}
	if large := node[12]&nodeInner != 0; large && x.blocks == nil {
		bad("root has sub-nodes but there is no $INDEX_ALLOCATION")
	}
}

// indexBitmap compares the bitmap of an index with the blocks that the walk reached.
func (c *checkState) indexBitmap(n int64, name string, x *indexTree) {
	if x.blocks == nil {
		return
	}
	bad := func(format string, args ...any) {
		c.report(SeverityError, ProblemIndexBitmap, n, "index %q: "+format, append([]any{name}, args...)...)
	}
	for b := range x.seen {
		if b/8 >= int64(len(x.bitmap)) || x.bitmap[b/8]>>(b%8)&1 == 0 {
			bad("block %d is in the tree and free in the bitmap", b)
		}
	}
	for i, bits := range x.bitmap {
		for j := 0; bits != 0; bits, j = bits>>1, j+1 {
			block := int64(i)*8 + int64(j)
			if _, ok := x.seen[block]; bits&1 != 0 && !ok {
				bad("block %d is used in the bitmap and not in the tree", block)
			}
		}
	}
	if len(x.bitmap)%8 != 0 {
		bad("bitmap of %d bytes, want a multiple of 8", len(x.bitmap))
	}
}

// unmatchedNames reports the names that no index has.
func (c *checkState) unmatchedNames() error {
	for n, k := range c.inUse {
		for t := range c.namesOf(k) {
			if !t.matched {
				c.report(SeverityError, ProblemMissingEntry, n, "name %q in namespace %d is not in the index of its directory %v", t.name, t.namespace, t.parent)
			}
		}
	}
	return nil
}

// States of reachability.
const (
	unknown byte = iota
	underway
	reached
	lost
)

// reachability follows the parents of each directory to the root.
func (c *checkState) reachability() error {
	if root := c.at(recRoot); root != nil {
		root.state = reached
	}
	var chain []*checkedRecord
	for n, k := range c.inUse {
		if k.base != 0 || k.flags&recordDirectory == 0 {
			continue
		}
		chain = chain[:0]
		r := k
		for r != nil && r.state == unknown && r.firstName != 0 {
			r.state = underway
			chain = append(chain, r)
			r = c.at(c.names[r.firstName].parent.record())
		}
		end := lost
		if r != nil && r.state == reached {
			end = reached
		}
		for _, r := range chain {
			r.state = end
		}
		if k.state != reached {
			c.report(SeverityError, ProblemUnreachable, n, "directory %q is not reached from the root", c.nameOf(n))
		}
	}
	return nil
}
