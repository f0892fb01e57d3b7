package ntfs

import (
	"fmt"
	"hash/maphash"

	"husk/winfile"
)

// fileName checks one $FILE_NAME of record n and notes it.
func (c *checkState) fileName(n int64, k *checkedRecord, a fileAttr) {
	if a.nonResident() {
		return // reported by form
	}
	key := fileName(a.value())
	if err := key.check(); err != nil {
		k.facts |= factPartial // a name is not known
		c.reportErr("name-damaged", inAttr(n, a, 0), err)
		return
	}
	if want := fileNameSize + len(key.name()); len(key) != want {
		c.report("name-damaged", inAttr(n, a, 0x10), fmt.Sprintf("%d bytes", len(key)), fmt.Sprint(want))
	}
	if dir := key.attributes()&fileNameDirectory != 0; dir != (k.flags&recordDirectory != 0) {
		c.report("name-directory-bit", inAttr(n, a, 0x38), fmt.Sprintf("directory bit %t", dir), fmt.Sprintf("%t, that of the record", !dir))
	}
	c.storedBits(n, "$FILE_NAME", key.attributes(), k.flags&recordView != 0)
	c.legal(n, inAttr(n, a, fileNameSize), key)
	c.names = append(c.names, checkedName{parent: key.parent(), hash: c.hashName(key.name()), next: k.firstName, namespace: key.namespace()})
	k.firstName = uint32(len(c.names) - 1)
}

// hashName stands for a name.
func (c *checkState) hashName(name []byte) uint64 { return maphash.Bytes(c.seed, name) }

// legal checks the name of record n against its namespace.
func (c *checkState) legal(n int64, at spot, key fileName) {
	u, namespace := key.name(), key.namespace()
	cannot, refused := false, false // stand in a path; be used in Windows
	for i := 0; i < len(u); i += 2 {
		if u[i+1] != 0 {
			continue
		}
		switch b := u[i]; {
		case b == 0 || b == '/':
			cannot = true
		case b < ' ' || b == '"' || b == '*' || b == ':' || b == '<' || b == '>' || b == '?' || b == '\\' || b == '|':
			refused = true
		}
	}
	name := winfile.NameFromUTF16LE
	if dots := len(u) <= 4 && u[0] == '.' && u[1] == 0 && (len(u) == 2 || u[2] == '.' && u[3] == 0); dots && n != recRoot {
		cannot = true
	}
	switch {
	case namespace > nameWin32DOS:
		c.report("name-namespace", at, fmt.Sprintf("%q is in namespace %d", name(u), namespace), "0 to 3")
	case cannot:
		c.report("name-illegal", at, fmt.Sprintf("%q cannot stand in a path", name(u)), "")
	case namespace&nameDOS != 0 && n >= firstUserFile && !legal83(name(u)): // 2 and 3
		c.report("name-characters", at, fmt.Sprintf("%q is in namespace %d and no 8.3 name", name(u), namespace), "")
	case namespace != namePOSIX && refused:
		c.report("name-characters", at, fmt.Sprintf("%q in namespace %d has characters that Windows refuses", name(u), namespace), "")
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

// namePairs checks the link count, and that a DOS name has a Win32 name in the same folder. The reverse is what is left where short names
// were stripped, or switched off when a link was made: chkdsk may tidy it up, nobody misses anything.
func (c *checkState) namePairs(n int64, k *checkedRecord) {
	count, dos, win32 := 0, 0, 0
	var short *checkedName
	for t := range c.namesOf(k) {
		count++
		switch t.namespace {
		case nameDOS:
			dos, short = dos+1, t
		case nameWin32:
			win32++
		}
	}
	pair := func(s Severity, format string, args ...any) {
		c.reportAs(s, "name-pair", inStream(n, "$FILE_NAME", -1), fmt.Sprintf(format, args...), "a Win32 name and its DOS name in the same folder, or none")
	}
	partner := false
	for t := range c.namesOf(k) {
		partner = partner || short != nil && t.namespace == nameWin32 && t.parent == short.parent
	}
	switch {
	case dos > 1 || dos > win32:
		pair(severityOf("name-pair"), "%d names in the Win32 namespace, %d in the DOS namespace", win32, dos)
	case short != nil && !partner:
		pair(severityOf("name-pair"), "DOS name in folder %v, which has no Win32 name", short.parent)
	case win32 > dos:
		pair(SeverityNote, "%d names in the Win32 namespace, %d in the DOS namespace", win32, dos)
	}
	if int(k.links) != count {
		c.report("link-count", inRecord(n, 0x12), fmt.Sprintf("link count %d", k.links), fmt.Sprintf("%d, the number of names", count))
	}
	if count-dos > 1 && k.flags&recordDirectory != 0 {
		c.report("name-second", ofRecord(n), fmt.Sprintf("folder with %d names", count-dos), "1")
	}
	if reserved := n >= recReserved && n < firstUserFile; count == 0 && !reserved {
		c.report("name-missing", ofRecord(n), "no $FILE_NAME", "")
	}
}

// directories walks the $I30 of each directory and matches its entries with the names of the records.
func (c *checkState) directories() error {
	for n, k := range c.inUse {
		c.progress(1, n)
		if k.base != 0 || !k.has(factDirectory) {
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		self := makeRef(uint64(n), k.sequence)
		whole := c.index(n, "$I30", collateFileName, func(e nodeEntry) error {
			key := fileName(e.key())
			if err := key.check(); err != nil {
				return err
			}
			if want := fileNameSize + len(key.name()); len(key) != want {
				return fmt.Errorf("key of %d bytes, want %d", len(key), want)
			}
			c.directoryEntry(n, k, self, e.ref(), key)
			return nil
		})
		if !whole {
			k.facts |= factLostIndex
		}
	}
	return nil
}

// directoryEntry matches one entry of directory n with the record that it points to.
func (c *checkState) directoryEntry(n int64, dir *checkedRecord, self, child fileRef, key fileName) {
	bad := func(code Code, expected, format string, args ...any) {
		name := winfile.NameFromUTF16LE(key.name())
		c.report(code, inStream(n, `$INDEX_ROOT "$I30"`, -1), fmt.Sprintf("entry %q ", name)+fmt.Sprintf(format, args...), expected)
	}
	k := c.at(child.record())
	switch {
	case c.isBroken(child.record()):
		return // reported as such
	case k == nil:
		bad("entry-dangling", "", "points to record %v, which is not in use", child)
		return
	case k.base != 0:
		bad("entry-dangling", "", "points to record %v, which is a part of record %v", child, k.base)
		return
	}
	// One report for each entry: what differs in the reference or parent makes the name differ too.
	hash := c.hashName(key.name())
	var found *checkedName
	for t := range c.namesOf(k) {
		if !t.matched && t.parent.record() == self.record() && t.namespace == key.namespace() && t.hash == hash {
			found = t
			break
		}
	}
	switch {
	case k.sequence != child.sequence():
		bad("entry-sequence", fmt.Sprintf("%d, the record's", k.sequence), "points to record %d with sequence number %d", child.record(), child.sequence())
	case key.parent() != self:
		bad("entry-parent", self.String(), "has parent %v", key.parent())
	case found != nil && found.parent == self:
		c.copiedFacts(dir, k, key, bad)
	case found != nil: // reported as an orphan
		return
	case !k.has(factPartial):
		bad("entry-name", "", "in namespace %d: record %v has no such name here", key.namespace(), child)
	}
	if found != nil {
		found.matched = true
	}
}

// copiedFacts compares what an index entry repeats of its file. Sizes and attributes of system files are often never filled in.
func (c *checkState) copiedFacts(dir, k *checkedRecord, key fileName, bad func(code Code, expected, format string, args ...any)) {
	root := key.parent().record() == recRoot
	if d := key.attributes()&fileNameDirectory != 0; d != (k.flags&recordDirectory != 0) && !root {
		bad("entry-directory-bit", fmt.Sprintf("%t, that of its record", !d), "has directory bit %t", d)
	}
	reparse := key.attributes()&winfile.AttrReparse != 0
	switch {
	case reparse && k.tag != 0 && key.reparseTag() == uint32(typeReparsePoint):
		// ntfs-3g copies the wrong field of a reparse point that is not in its record. Windows takes the tag from the record.
		bad("entry-stale", fmt.Sprintf("%#x, that of its record", k.tag), "has reparse tag %#x", key.reparseTag())
	case reparse && key.reparseTag() != k.tag || k.tag != 0 && !reparse:
		bad("entry-tag", fmt.Sprintf("%#x, that of its record", k.tag), "has reparse tag %#x", key.reparseTag())
	case k.tag == 0 && key.reparseTag()&0xffff != uint32(k.eaSize):
		bad("entry-stale", fmt.Sprintf("%d, those of its record", k.eaSize), "has %d bytes of extended attributes", key.reparseTag()&0xffff)
	}
	if k == dir {
		return // nobody keeps the root's own entry
	}
	const kept = fileNameDirectory | fileNameView
	if a := key.attributes() &^ kept; a != winfile.Attributes(k.attributes)&^kept {
		bad("entry-stale", fmt.Sprintf("%#x, those of its record", k.attributes), "has attributes %#x", uint32(a))
	}
	if !k.has(factDirectory|factPartial) && (key.size() != k.size || key.allocated() != k.allocated) {
		bad("entry-stale", fmt.Sprintf("%d and %d, those of its record", k.size, k.allocated), "has %d bytes, %d allocated", key.size(), key.allocated())
	}
}

// unmatchedNames reports the names that no index has.
func (c *checkState) unmatchedNames() error {
	for n, k := range c.inUse {
		for t := range c.namesOf(k) {
			if t.matched || k.base != 0 || c.isBroken(t.parent.record()) {
				continue
			}
			at := inStream(n, "$FILE_NAME", -1)
			dir := c.at(t.parent.record())
			switch {
			case dir == nil || dir.base != 0 || dir.sequence != t.parent.sequence() || !dir.has(factDirectory):
				c.report("entry-orphan", at, fmt.Sprintf("name %q in folder %v, which does not exist", c.nameOf(n, t), t.parent), "")
			case dir.has(factLostIndex | factPartial): // reported at the folder
			default:
				c.report("entry-missing", at, fmt.Sprintf("name %q in namespace %d is not in the index of its folder %v", c.nameOf(n, t), t.namespace, t.parent), "")
			}
		}
	}
	return nil
}

// nameOf reads a name of record n; nil means the first. It is "" if that is not possible any more.
func (c *checkState) nameOf(n int64, t *checkedName) string {
	r, list, err := c.v.baseAttrs(n)
	if r == nil || err != nil {
		return ""
	}
	for _, a := range list {
		if a.typ() != typeFileName || a.nonResident() {
			continue
		}
		key := fileName(a.value())
		if key.check() == nil && (t == nil || t.parent == key.parent() && t.namespace == key.namespace() && t.hash == c.hashName(key.name())) {
			return winfile.NameFromUTF16LE(key.name())
		}
	}
	return ""
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
		if k.base != 0 || !k.has(factDirectory) {
			continue
		}
		chain = chain[:0]
		r := k
		for r != nil && r.state == unknown && r.firstName != 0 {
			r.state = underway
			chain = append(chain, r)
			r = c.at(c.names[r.firstName].parent.record())
		}
		// Only a loop is reported here: a parent that is none makes an orphan, reported already.
		loop := r != nil && (r.state == underway || r.state == lost)
		end := reached
		if loop {
			end = lost
		}
		for _, r := range chain {
			r.state = end
		}
		if k.state == lost {
			c.report("directory-unreachable", ofRecord(n), fmt.Sprintf("folder %q is below itself, or below one that is", c.nameOf(n, nil)), "")
		}
	}
	return nil
}
