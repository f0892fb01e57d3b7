package ntfs

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"husk/winfile"
)

// editFile is a file with all its attributes, taken apart to be changed and put together again.
type editFile struct {
	n       int64
	header  fileRecord // base record: only its header is used
	attrs   []editAttr // in the order of the disk, without the $ATTRIBUTE_LIST
	exts    []int64    // extension records
	list    []run      // clusters of the $ATTRIBUTE_LIST
	hasList bool
	fresh   bool // not on the volume yet
	resize  bool // attributes were added or removed, or moved to other records
}

// editAttr is one extent of an attribute.
type editAttr struct {
	attribute
	holder  int64 // record that has it
	changed bool
}

// load takes the file of base record n apart.
func (e *Editor) load(n int64) (*editFile, error) {
	r, list, err := e.v.baseAttrs(n)
	if err != nil {
		return nil, err
	}
	f := &editFile{n: n, header: r}
	for _, a := range list {
		if a.typ() == typeAttributeList {
			f.hasList = true
			if a.nonResident() {
				if f.list, err = e.runsOf(a.attribute); err != nil {
					return nil, err
				}
			}
			continue
		}
		f.attrs = append(f.attrs, editAttr{attribute: slices.Clone(a.attribute), holder: a.holder})
		if a.holder != n && !slices.Contains(f.exts, a.holder) {
			f.exts = append(f.exts, a.holder)
		}
	}
	return f, e.inOrder(f)
}

// inOrder makes sure that attributes can be found by their place: in the order of type and name, each once, the extents of each together
// and without gaps.
func (e *Editor) inOrder(f *editFile) error {
	for i := range f.attrs {
		a := f.attrs[i]
		next := VCN(0)
		if i > 0 {
			b := f.attrs[i-1]
			d := cmp.Or(cmp.Compare(b.typ(), a.typ()), compareNames(e.v.upcase, b.name(), a.name()))
			if d > 0 {
				return fmt.Errorf("record %d: %v is out of order: the volume is damaged", f.n, a.typ())
			}
			if d == 0 && a.typ() != typeFileName {
				if !a.nonResident() || !b.nonResident() {
					return fmt.Errorf("record %d has %v twice: the volume is damaged", f.n, a.typ())
				}
				next = b.highestVCN() + 1
			}
		}
		if at := lowestVCN(a.attribute); at != next {
			return fmt.Errorf("record %d: %v starts at cluster %d, want %d: the volume is damaged", f.n, a.typ(), at, next)
		}
		if form := a.headerLength(); next == 0 && a.contentOffset() < form {
			return fmt.Errorf("record %d: %v has its content at %#x, want at least %#x: the volume is damaged", f.n, a.typ(), a.contentOffset(), form)
		}
	}
	return nil
}

// newFile makes a file without attributes in a free record.
func (e *Editor) newFile(flags uint16) (*editFile, error) {
	ref, err := e.newRecord()
	if err != nil {
		return nil, err
	}
	b := make([]byte, e.v.RecordSize)
	putHeader(b, uint32(ref.record()), ref.sequence(), 0, recordInUse|flags, 0)
	return &editFile{n: int64(ref.record()), header: b, fresh: true, resize: true}, nil
}

func (f *editFile) ref() fileRef { return makeRef(uint64(f.n), f.header.sequence()) }

// runsOf decodes the runs of one extent.
func (e *Editor) runsOf(a attribute) ([]run, error) {
	if !a.nonResident() {
		return nil, nil
	}
	runs, err := decodeRuns(nil, a.mappingPairs(), int64(a.highestVCN()-a.lowestVCN())+1, e.v.Clusters)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", a.typ(), err)
	}
	return runs, nil
}

// group is the range of f.attrs with the extents of an attribute; empty, at its place, if there is none.
func (e *Editor) group(f *editFile, typ attrType, name string) (lo, hi int) {
	want := winfile.AppendUTF16LE(nil, name)
	order := func(a editAttr) int {
		return cmp.Or(cmp.Compare(a.typ(), typ), compareNames(e.v.upcase, a.name(), want))
	}
	for lo < len(f.attrs) && order(f.attrs[lo]) < 0 {
		lo++
	}
	for hi = lo; hi < len(f.attrs) && f.attrs[hi].typ() == typ && bytes.Equal(f.attrs[hi].name(), want); {
		hi++
	}
	return lo, hi
}

// attr is the first extent of an attribute, nil if there is none.
func (e *Editor) attr(f *editFile, typ attrType, name string) *editAttr {
	lo, hi := e.group(f, typ, name)
	if lo == hi {
		return nil
	}
	return &f.attrs[lo]
}

// streamRuns decodes all runs of an attribute.
func (e *Editor) streamRuns(f *editFile, typ attrType, name string) ([]run, error) {
	lo, hi := e.group(f, typ, name)
	var all []run
	next := VCN(0)
	for _, a := range f.attrs[lo:hi] {
		if !a.nonResident() {
			continue
		}
		if a.lowestVCN() != next {
			return nil, fmt.Errorf("%v: extent starts at cluster %d, want %d", a.typ(), a.lowestVCN(), next)
		}
		runs, err := e.runsOf(a.attribute)
		if err != nil {
			return nil, err
		}
		all = append(all, runs...)
		next = a.highestVCN() + 1
	}
	return all, nil
}

// replace puts extents in the place of those that the attribute has.
func (e *Editor) replace(f *editFile, typ attrType, name string, extents ...attribute) {
	lo, hi := e.group(f, typ, name)
	if hi-lo == 1 && len(extents) == 1 {
		f.attrs[lo].attribute, f.attrs[lo].changed = extents[0], true
		return
	}
	var list []editAttr
	for _, a := range extents {
		list = append(list, editAttr{attribute: a, holder: f.n, changed: true})
	}
	f.attrs = slices.Replace(f.attrs, lo, hi, list...)
	f.resize = true
}

// remove drops an attribute and frees its clusters.
func (e *Editor) remove(f *editFile, typ attrType, name string) error {
	runs, err := e.streamRuns(f, typ, name)
	if err != nil {
		return err
	}
	if err := e.release(runs); err != nil {
		return err
	}
	if lo, hi := e.group(f, typ, name); lo < hi {
		f.attrs = slices.Delete(f.attrs, lo, hi)
		f.resize = true
	}
	return nil
}

// room is the number of bytes for attributes in a record.
func (e *Editor) room() int { return e.v.RecordSize - firstAttrOffset(e.v.RecordSize) - 8 }

// save puts a file back. Records that hold it now are changed only one at a time; if more than one would have to, all but the base record
// are new ones, so that the base record switches the file as a whole.
func (e *Editor) save(f *editFile, r rank) error {
	if f.fresh {
		r = rankNew
	}
	if !f.resize && f.hasList {
		if done, err := e.saveOne(f, r); done || err != nil {
			return err
		}
	}
	return e.pack(f, r)
}

// saveOne changes the one record of several that needs it. done is false if it is not just one, or too full.
func (e *Editor) saveOne(f *editFile, r rank) (done bool, err error) {
	holder := int64(-1)
	for _, a := range f.attrs {
		if a.changed && holder >= 0 && holder != a.holder {
			return false, nil
		}
		if a.changed {
			holder = a.holder
		}
	}
	if holder < 0 {
		holder = f.n // the header may have changed
	}
	old, err := e.v.readRecord(holder)
	if err != nil {
		return false, err
	}
	own, err := old.appendAttrs(nil, holder)
	if err != nil {
		return false, err
	}
	// The list, which is not in f.attrs, stays as it is; so do the instances, which it names.
	at := firstAttrOffset(e.v.RecordSize)
	b := make([]byte, at, e.v.RecordSize)
	header := old
	if holder == f.n {
		header = f.header
	}
	i := 0
	for _, o := range own {
		a := o.attribute
		if o.typ() != typeAttributeList {
			for i < len(f.attrs) && f.attrs[i].holder != holder {
				i++
			}
			if i == len(f.attrs) {
				return false, nil
			}
			a = f.attrs[i].attribute
			if a.typ() != o.typ() || !bytes.Equal(a.name(), o.name()) {
				return false, nil
			}
			i++
		}
		if len(b)+len(a) > e.v.RecordSize-8 {
			return false, nil
		}
		b = append(b, a...)
		le.PutUint16(b[len(b)-len(a)+0xe:], o.instance())
	}
	used := len(b)
	b = b[:e.v.RecordSize]
	copyHeader(b, header, holder)
	finishRecord(b, used, header.nextInstance())
	return true, e.putRecord(holder, b, r)
}

// copyHeader starts a record with the facts of another header.
func copyHeader(b []byte, r fileRecord, n int64) {
	putHeader(b, uint32(n), r.sequence(), r.links(), r.flags(), r.base())
}

// pack lays the file out anew: all of it in the base record if possible, else with extension records that are new.
func (e *Editor) pack(f *editFile, r rank) error {
	fits, err := e.shrink(f)
	if err != nil {
		return err
	}
	oldExts, oldList := f.exts, f.list
	f.exts, f.list, f.hasList = nil, nil, !fits
	slots, refs := [][]attribute{nil}, []fileRef{f.ref()}
	if fits {
		for i := range f.attrs {
			slots[0] = append(slots[0], f.attrs[i].attribute)
			f.attrs[i].holder = f.n
		}
	} else if slots, refs, err = e.spread(f); err != nil {
		return err
	}
	for i, attrs := range slots {
		header, rk := f.header, r
		if i > 0 {
			header, rk = make([]byte, e.v.RecordSize), rankFresh
			putHeader(header, uint32(refs[i].record()), refs[i].sequence(), 0, recordInUse, f.ref())
		}
		if err := e.layRecord(int64(refs[i].record()), header, attrs, rk); err != nil {
			return err
		}
	}
	for i := range f.attrs {
		f.attrs[i].changed = false
	}
	f.resize = false
	for _, n := range oldExts {
		if err := e.freeRecord(n, rankFreeExt); err != nil {
			return err
		}
	}
	return e.release(oldList)
}

// layRecord writes a record with this header and these attributes.
func (e *Editor) layRecord(n int64, header fileRecord, attrs []attribute, r rank) error {
	b := make([]byte, e.v.RecordSize)
	copyHeader(b, header, n)
	at := firstAttrOffset(len(b))
	for i, a := range attrs {
		if at+len(a) > len(b)-8 {
			return fmt.Errorf("record %d overflows by %d bytes", n, at+len(a)-(len(b)-8))
		}
		copy(b[at:], a)
		le.PutUint16(b[at+0xe:], uint16(i))
		at += len(a)
	}
	finishRecord(b, at, uint16(len(attrs)))
	return e.putRecord(n, b, r)
}

// shrink moves values out of the record until the rest fits, largest first, contents before others. It reports whether it does.
func (e *Editor) shrink(f *editFile) (bool, error) {
	used, least := 0, 0
	for _, a := range f.attrs {
		used += len(a.attribute)
		least += len(a.attribute) - movable(a.attribute)
	}
	split := slices.ContainsFunc(f.attrs, func(a editAttr) bool { return lowestVCN(a.attribute) > 0 })
	switch {
	case split || least > e.room(): // extents of one attribute are in records of their own
		return false, e.moveLarge(f)
	case used <= e.room():
		return true, nil
	}
	for used > e.room() {
		best := 0
		for i := range f.attrs {
			if movable(f.attrs[i].attribute) > movable(f.attrs[best].attribute) {
				best = i
			}
		}
		gain, err := e.moveOut(f, best)
		if err != nil {
			return false, err
		}
		used -= gain
	}
	return true, nil
}

// moveLarge moves values out that a record could hardly hold.
func (e *Editor) moveLarge(f *editFile) error {
	for i := 0; i < len(f.attrs); i++ {
		if a := f.attrs[i].attribute; movable(a) > 0 && len(a) > e.room()/2 {
			if _, err := e.moveOut(f, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// spread divides the attributes among the base record and new extension records, and returns those of each and the
// records. The base has the list, the
// first extent of the unnamed data and the roots of indexes; the others follow in their order.
func (e *Editor) spread(f *editFile) ([][]attribute, []fileRef, error) {
	inBase := func(a attribute) bool {
		return a.typ() < typeAttributeList || a.typ() == typeIndexRoot || a.typ() == typeData && a.nameLength() == 0 && !a.continues()
	}
	slices.SortStableFunc(f.attrs, func(a, b editAttr) int {
		return cmp.Or(cmp.Compare(a.typ(), b.typ()), compareNames(e.v.upcase, a.name(), b.name()), cmp.Compare(lowestVCN(a.attribute), lowestVCN(b.attribute)))
	})
	size, used := 0, 0
	for _, a := range f.attrs {
		size += align(listEntryHeader+len(a.name()), 8)
		if inBase(a.attribute) {
			used += len(a.attribute)
		}
	}
	if size > maxListSize {
		return nil, nil, fmt.Errorf("attribute list of %d bytes, want at most %d: too many names or streams", size, maxListSize)
	}
	list := nonResidentHeader + 40 // a few runs
	if size+residentHeader <= list {
		list = align(residentHeader+size, 8)
	}
	resident := list < nonResidentHeader+40
	left := e.room() - used - list
	if left < 0 {
		return nil, nil, fmt.Errorf("%d bytes of attributes must be in the base record, which has room for %d", used+list, e.room())
	}
	slot := 0
	slotOf := make([]int, len(f.attrs))
	for i, a := range f.attrs {
		if inBase(a.attribute) {
			continue
		}
		if len(a.attribute) > left || lowestVCN(a.attribute) > 0 && slotOf[i-1] == slot {
			slot++
			left = e.room()
		}
		if slotOf[i], left = slot, left-len(a.attribute); left < 0 {
			return nil, nil, fmt.Errorf("%v of %d bytes does not fit any record", a.typ(), len(a.attribute))
		}
	}
	refs := []fileRef{f.ref()}
	for range slot {
		ref, err := e.newExtension(f)
		if err != nil {
			return nil, nil, err
		}
		refs = append(refs, ref)
		f.exts = append(f.exts, int64(ref.record()))
	}
	slots, err := e.placeList(f, slotOf, refs, resident)
	return slots, refs, err
}

func lowestVCN(a attribute) VCN {
	if a.nonResident() {
		return a.lowestVCN()
	}
	return 0
}

// newExtension takes a record for attributes of f. Those of the $MFT are low ones, which its first extent maps.
func (e *Editor) newExtension(f *editFile) (fileRef, error) {
	if f.n != recMFT {
		return e.newRecord()
	}
	a := e.attr(f, typeData, "")
	mapped := (int64(a.highestVCN()) + 1) * int64(e.v.ClusterSize) / int64(e.v.RecordSize)
	ref, ok, err := e.takeRecord(recReserved+4, mapped)
	if err == nil && !ok {
		err = fmt.Errorf("%w: no record for an extension of the $MFT is free", ErrFull)
	}
	return ref, err
}

// placeList makes the $ATTRIBUTE_LIST and returns the attributes of each record.
func (e *Editor) placeList(f *editFile, slotOf []int, refs []fileRef, resident bool) ([][]attribute, error) {
	slots := make([][]attribute, len(refs))
	instances := make([]uint16, len(refs))
	var value []byte
	for i := range f.attrs {
		a := &f.attrs[i]
		slot := slotOf[i]
		if slot == 0 && a.typ() > typeAttributeList && !slices.ContainsFunc(slots[0], isList) {
			slots[0] = append(slots[0], nil) // the list, which is made below
			instances[0]++
		}
		at := len(value)
		n := align(listEntryHeader+len(a.name()), 8)
		value = append(value, make([]byte, n)...)
		b := value[at:]
		le.PutUint32(b, uint32(a.typ()))
		le.PutUint16(b[4:], uint16(n))
		b[6], b[7] = byte(a.nameLength()), listEntryHeader
		le.PutUint64(b[8:], uint64(lowestVCN(a.attribute)))
		le.PutUint64(b[0x10:], uint64(refs[slot]))
		le.PutUint16(b[0x18:], instances[slot])
		copy(b[listEntryHeader:], a.name())
		instances[slot]++
		slots[slot] = append(slots[slot], a.attribute)
		a.holder = int64(refs[slot].record())
	}
	list := residentAttr(typeAttributeList, "", 0, value)
	if !resident {
		runs, err := e.newClusters(value)
		if err != nil {
			return nil, err
		}
		f.list = runs
		out := e.outsideAttr(typeAttributeList, "", 0, runs, sizes{data: int64(len(value)), initialized: int64(len(value))})
		if len(out) != 1 || len(out[0]) > nonResidentHeader+40 {
			return nil, fmt.Errorf("attribute list of %d bytes needs %d runs: the volume is too fragmented", len(value), len(runs))
		}
		list = out[0]
	}
	if i := slices.IndexFunc(slots[0], isList); i >= 0 {
		slots[0][i] = list
	} else {
		slots[0] = append(slots[0], list) // all else is in other records
	}
	return slots, nil
}

// isList finds the place of the list among the attributes of a base record.
func isList(a attribute) bool { return a == nil || a.typ() == typeAttributeList }
