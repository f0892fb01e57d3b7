package regf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"husk/winfile"
)

// Problem is one thing that is wrong with a hive.
type Problem struct {
	Off  int64  // byte offset in the file
	What string // "key cell"
	Text string // found and expected, with the path of the key where there is one
	Note bool   // nothing that Windows minds: space that nobody uses, a bound that is wider than need be
}

func (p Problem) String() string { return fmt.Sprintf("%s at %#x: %s", p.What, p.Off, p.Text) }

// maxProblems is how many problems Check tells: a damaged bin gives thousands.
const maxProblems = 1000

// maxShown is how many bytes of a path a problem tells: all of them together could be larger than the hive.
const maxShown = 500

// Check looks at every byte that has a meaning: bins and cells without gaps, every allocated cell in use once, subkeys in order and
// with the right hashes, counts, bounds of lengths, security cells in one ring with exact reference counts. It checks the hive as
// it was read (logs replayed), not changes made since. Problems come by place; after 1000 it stops.
func (h *Hive) Check() []Problem {
	if h.base == nil {
		return nil
	}
	c := &checker{h: h, used: make([]uint64, len(h.claimed)), refs: make(map[uint32]uint32)}
	c.checkBase()
	c.checkBins()
	c.checkKey(h.base.root(), nil, nilCell, 0)
	c.checkRing()
	c.checkUnused()
	slices.SortStableFunc(c.problems, func(a, b Problem) int { return cmp.Compare(a.Off, b.Off) })
	return c.problems
}

type checker struct {
	h        *Hive
	used     []uint64          // cells that something points to
	refs     map[uint32]uint32 // security cells and how many keys have them
	problems []Problem
}

func (c *checker) full() bool { return len(c.problems) >= maxProblems }

func (c *checker) add(note bool, what string, off uint32, format string, args ...any) {
	if !c.full() {
		c.problems = append(c.problems, Problem{pageSize + int64(off), what, fmt.Sprintf(format, args...), note})
	}
}

func (c *checker) bad(what string, off uint32, format string, args ...any) {
	c.add(false, what, off, format, args...)
}

// err adds the error of reading a cell.
func (c *checker) err(path pathOf, err error) {
	f, ok := err.(*FormatError)
	if !ok || c.full() {
		return
	}
	c.problems = append(c.problems, Problem{f.Off, f.What, f.Err.Error() + path.suffix(), false})
}

// pathOf is the path of a key that is being checked.
type pathOf []string

func (p pathOf) suffix() string {
	if len(p) == 0 {
		return ""
	}
	s := ""
	for i := len(p) - 1; i >= 0 && len(s) < maxShown; i-- {
		if s = join(p[i], s); i > 0 && len(s) >= maxShown {
			s = `…\` + s
		}
	}
	return fmt.Sprintf(" (key %q)", strings.TrimSuffix(s, `\`))
}

func (c *checker) checkBase() {
	b := c.h.base
	base := func(off int, format string, args ...any) {
		c.problems = append(c.problems, Problem{int64(off), "base block", fmt.Sprintf(format, args...), false})
	}
	if r := c.h.Recovery; r.Dirty && !r.Complete {
		base(4, "%s: the hive was not closed cleanly, and its logs are missing or do not help", r.Reason)
	}
	if !b.valid() {
		base(baseSum, "checksum %#x, want %#x", le.Uint32(b[baseSum:]), b.sum())
	}
	if n := le.Uint32(b[0x2c:]); n != 1 && n != 8 {
		base(0x2c, "clustering factor %d, want 1", n)
	}
}

// checkBins checks that bins follow each other and cells fill them.
func (c *checker) checkBins() {
	bins := c.h.bins
	for off := 0; off < len(bins) && !c.full(); {
		b := bins[off:]
		if string(b[:4]) != "hbin" {
			c.bad("bin", uint32(off), "starts with %q, want hbin", b[:4])
			return
		}
		if own := le.Uint32(b[4:]); own != uint32(off) {
			c.bad("bin", uint32(off), "own offset %#x, want %#x", own, off)
		}
		size := le.Uint32(b[8:])
		if size == 0 || size%pageSize != 0 || uint64(size) > uint64(len(b)) {
			c.bad("bin", uint32(off), "size %#x, want pages and at most %#x", size, len(b))
			return
		}
		c.checkCells(uint32(off), uint32(off)+size)
		off += int(size)
	}
}

func (c *checker) checkCells(bin, end uint32) {
	free := false
	for off := bin + binHeader; off < end; {
		n, err := cellSize(c.h.bins[:end], off)
		if err != nil {
			c.bad("cell", off, "%v", err)
			return
		}
		if n > 0 {
			if free {
				c.add(true, "cell", off, "free cell behind a free cell, want them joined")
			}
			free = true
			off += uint32(n)
		} else {
			free = false
			off += uint32(-n)
		}
	}
}

// take is Hive.take with the marks of this check.
func (c *checker) take(what string, off uint32) ([]byte, error) {
	b, err := c.h.cell(what, off)
	if err != nil {
		return nil, err
	}
	if !claim(c.used, off, uint32(len(b))+4) {
		return nil, cellError(what, off, "the cell or a part of it belongs to something else too")
	}
	return b, nil
}

// checkKey checks a key and all below it. It returns the node, or nil if it cannot be read.
func (c *checker) checkKey(off uint32, path pathOf, parent uint32, depth int) keyNode {
	if c.full() {
		return nil
	}
	b, err := c.take("key cell", off)
	if err != nil {
		c.err(path, err)
		return nil
	}
	n, err := nodeOf(b, off)
	if err != nil {
		c.err(path, err)
		return nil
	}
	if depth > 0 {
		path = append(path[:depth-1:depth-1], n.name())
	}
	if depth > maxDepth {
		c.bad("key cell", off, "more than %d levels of keys", maxDepth)
		return n
	}
	if got := n.parent(); depth > 0 && got != parent {
		c.bad("key cell", off, "parent %#x, want %#x%s", got, parent, path.suffix())
	}
	if root := n.flags()&KeyRoot != 0; root != (depth == 0) {
		c.bad("key cell", off, "flags %#x%s, of which %#x is for the root alone", uint16(n.flags()), path.suffix(), uint16(KeyRoot))
	}
	if units := nameUnits(n.name()); n.nameSize() == 0 || n.flags()&latinName == 0 && n.nameSize()%2 != 0 {
		c.bad("key cell", off, "name of %d characters in %d bytes%s, want 1 to %d", units, n.nameSize(), path.suffix(), maxName)
	}
	c.checkSecurity(n, path)
	if n.classSize() > 0 && n.class() != nilCell {
		if b, err := c.take("class name", n.class()); err != nil {
			c.err(path, err)
		} else if n.classSize() > len(b) {
			c.bad("class name", n.class(), "%d bytes, the cell has room for %d%s", n.classSize(), len(b), path.suffix())
		}
	}
	c.checkValues(n, off, path)
	c.checkSubkeys(n, off, path, depth)
	return n
}

func (c *checker) checkSecurity(n keyNode, path pathOf) {
	off := n.security()
	if _, ok := c.refs[off]; !ok {
		b, err := c.take("security cell", off)
		if err != nil {
			c.err(path, err)
			return
		}
		sd, err := descriptorOf(b, off)
		if err != nil {
			c.err(path, err)
			return
		}
		if err := checkDescriptor(sd); err != nil {
			c.bad("security cell", off, "%v%s", err, path.suffix())
		}
	}
	c.refs[off]++
}

func (c *checker) checkValues(n keyNode, off uint32, path pathOf) {
	count := n.values()
	if count == 0 {
		return
	}
	list, err := c.take("value list", n.valueList())
	if err != nil {
		c.err(path, err)
		return
	}
	if uint64(count)*4 > uint64(len(list)) {
		c.bad("value list", n.valueList(), "%d values, the cell has room for %d%s", count, len(list)/4, path.suffix())
		return
	}
	names := make(map[string]bool, min(count, 1<<10))
	longestName, longest := uint32(0), uint32(0)
	for list = list[:4*count]; len(list) > 0 && !c.full(); list = list[4:] {
		v := c.checkValue(le.Uint32(list), names, path)
		if v != nil {
			longestName, longest = max(longestName, uint32(2*nameUnits(v.name()))), max(longest, v.dataSize())
		}
	}
	if got := n.longestValueName(); got < longestName {
		c.bad("key cell", off, "longest value name %d bytes, want %d or more%s", got, longestName, path.suffix())
	}
	if got := n.longestValue(); got < longest {
		c.bad("key cell", off, "longest value %d bytes, want %d or more%s", got, longest, path.suffix())
	}
}

func (c *checker) checkValue(off uint32, names map[string]bool, path pathOf) valueNode {
	b, err := c.take("value cell", off)
	if err != nil {
		c.err(path, err)
		return nil
	}
	v, err := valueNodeOf(b, off)
	if err != nil {
		c.err(path, err)
		return nil
	}
	name := winfile.Fold(v.name())
	if names[name] {
		c.bad("value cell", off, "a second value %.100q%s", v.name(), path.suffix())
	}
	names[name] = true
	if v.flags()&latinValueName == 0 && v.nameSize()%2 != 0 {
		c.bad("value cell", off, "name of %d bytes, want UTF-16%s", v.nameSize(), path.suffix())
	}
	if n := v.dataSize(); !v.isInline() && n > 0 && n <= maxInline {
		c.bad("value cell", off, "%d bytes of data in a cell, want them in the value%s", n, path.suffix())
	}
	if _, err := valueData(c.take, v, c.h.Minor); err != nil {
		c.err(path, err)
	}
	return v
}

func (c *checker) checkSubkeys(n keyNode, off uint32, path pathOf, depth int) {
	if n.subkeys() == 0 {
		return
	}
	w := &subkeyCheck{checker: c, parent: off, path: path, depth: depth}
	w.list(n.subkeyList(), true)
	if w.count != n.subkeys() {
		c.bad("key cell", off, "%d subkeys, the lists have %d%s", n.subkeys(), w.count, path.suffix())
	}
	if got := n.longestSubkey(); got < w.longest && !c.full() {
		c.bad("key cell", off, "longest subkey name %d bytes, want %d or more%s", got, w.longest, path.suffix())
	}
	if got := n.longestClass(); got < w.longestClass && !c.full() {
		c.bad("key cell", off, "longest class of a subkey %d bytes, want %d or more%s", got, w.longestClass, path.suffix())
	}
}

// subkeyCheck goes over the lists of one key.
type subkeyCheck struct {
	*checker
	parent                uint32
	path                  pathOf
	depth                 int
	count                 uint32
	longest, longestClass uint32
	last                  string
}

func (w *subkeyCheck) list(off uint32, top bool) {
	b, err := w.take("subkey list", off)
	if err != nil {
		w.err(w.path, err)
		return
	}
	entry, entries, err := listEntries(b, "subkey list", off)
	if err != nil {
		w.err(w.path, err)
		return
	}
	if len(entries) == 0 {
		w.bad("subkey list", off, "no entries, want at least one%s", w.path.suffix())
	}
	if kind := string(b[:2]); kind == "lh" && w.h.Minor < 5 {
		w.add(true, "subkey list", off, "lh in version 1.%d, want lf%s", w.h.Minor, w.path.suffix())
	}
	for i := 0; i < len(entries) && !w.full(); i += entry {
		switch at := le.Uint32(entries[i:]); {
		case b[0] == 'r' && top:
			w.list(at, false)
		case b[0] == 'r':
			w.bad("subkey list", off, "ri below ri, want lf, lh or li%s", w.path.suffix())
			return
		default:
			w.entry(off, at, string(b[:2]), entries[i:i+entry])
		}
	}
}

// entry checks the key at an offset and what its list says of it.
func (w *subkeyCheck) entry(list, at uint32, kind string, entry []byte) {
	n := w.checkKey(at, append(w.path[:w.depth:w.depth], "?"), w.parent, w.depth+1)
	first := w.count == 0
	w.count++
	if n == nil {
		return
	}
	name := n.name()
	if c := compareNames(w.last, name); !first && c >= 0 {
		how := "after"
		if c == 0 {
			how = "the same as"
		}
		w.bad("subkey list", list, "%q is %s %q, want ascending names%s", w.last, how, name, w.path.suffix())
	}
	w.last = name
	w.longest = max(w.longest, uint32(2*nameUnits(name)))
	if n.class() != nilCell {
		w.longestClass = max(w.longestClass, uint32(n.classSize()))
	}
	switch kind {
	case "lh":
		if got, want := le.Uint32(entry[4:]), nameHash(name); got != want {
			w.bad("subkey list", list, "hash of %q %#x, want %#x%s", name, got, want, w.path.suffix())
		}
	case "lf":
		want := nameHint(name)
		if got := [4]byte(entry[4:]); got != want && !(got[0] == 0 && !isLatin(name)) {
			w.bad("subkey list", list, "hint of %q %q, want %q%s", name, got, want, w.path.suffix())
		}
	}
}

func isLatin(name string) bool {
	_, latin := encodeName(name)
	return latin
}

// checkRing checks that the security cells that keys have form one ring, and the counts in them.
func (c *checker) checkRing() {
	if c.full() {
		return
	}
	offs := make([]uint32, 0, len(c.refs))
	for off := range c.refs {
		offs = append(offs, off)
	}
	slices.Sort(offs)
	for _, off := range offs {
		b, err := c.h.cell("security cell", off)
		if err != nil || len(b) < secSize {
			continue // told already
		}
		if got := le.Uint32(b[12:]); got != c.refs[off] {
			c.bad("security cell", off, "%d references, want %d, the keys that have it", got, c.refs[off])
		}
		next := le.Uint32(b[4:])
		n, err := c.h.cell("security cell", next)
		switch {
		case err != nil:
			c.bad("security cell", off, "next: %v", err)
		case len(n) < secSize || string(n[:2]) != "sk":
			c.bad("security cell", off, "next %#x is no security cell", next)
		case le.Uint32(n[8:]) != off:
			c.bad("security cell", off, "next %#x points back to %#x", next, le.Uint32(n[8:]))
		}
		if _, ok := c.refs[next]; !ok && err == nil && len(n) >= secSize && string(n[:2]) == "sk" {
			claim(c.used, next, uint32(len(n))+4)
			c.add(true, "security cell", next, "no key has it")
		}
	}
	if len(offs) == 0 {
		return
	}
	seen := make(map[uint32]bool, len(offs))
	for off := offs[0]; !seen[off]; {
		seen[off] = true
		b, err := c.h.cell("security cell", off)
		if err != nil || len(b) < secSize || string(b[:2]) != "sk" {
			break
		}
		off = le.Uint32(b[4:])
	}
	for _, off := range offs {
		if !seen[off] {
			c.bad("security cell", off, "not in the ring of the one at %#x", pageSize+int64(offs[0]))
		}
	}
}

// checkUnused finds allocated cells that nothing points to. Where something is damaged, they are what is lost of it.
func (c *checker) checkUnused() {
	bins := c.h.bins
	for off := uint32(0); off < uint32(len(bins)) && !c.full(); {
		size := le.Uint32(bins[off+8:])
		if string(bins[off:off+4]) != "hbin" || size == 0 || size%pageSize != 0 || uint64(size) > uint64(len(bins))-uint64(off) {
			return // told already
		}
		for at := off + binHeader; at < off+size; {
			n, err := cellSize(bins[:off+size], at)
			if err != nil {
				break // told already
			}
			if n < 0 && c.used[at/8/64]>>(at/8%64)&1 == 0 {
				c.add(true, "cell", at, "allocated cell of %d bytes, starting with %q, that nothing points to", -n, bins[at+4:at+6])
			}
			at += uint32(max(n, -n))
		}
		off += size
	}
}
