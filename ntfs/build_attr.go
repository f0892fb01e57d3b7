package ntfs

import (
	"cmp"
	"fmt"
	"slices"

	"husk/winfile"
)

// attr is one attribute to be made. The attributes of a file are listed anew each time they are needed, in the order of the disk; only
// their places are kept.
type attr struct {
	typ    attrType
	name   string
	size   int64         // of the value
	link   int32         // of a $FILE_NAME
	blob   *winfile.Blob // of $DATA that comes from the tree
	value  []byte        // of a resident attribute of a system file
	region *region       // of an attribute that is outside the record whatever its size
	index  *indexShape   // of the three attributes of an index
	flags  uint16
	isHole bool // no clusters at all
}

// place is where the value of an attribute is.
type place struct {
	at       int64  // first cluster; of resident $DATA, offset in the memory that Write keeps resident contents in
	slot     uint16 // record: 0 base, then extension records
	resident bool
}

// spill is the value of an attribute, other than $DATA and those of an index, that is outside the record.
type spill struct {
	file  int32
	attr  int32 // number in the file
	place int32
	size  int64
}

// listInline is the length up to which an attribute stays resident in a file that has several records.
const listInline = 200

// attributes lists the attributes of a file. Those of its $I30 depend on its shape.
func (l *Layout) attributes(dst []attr, f int32) []attr {
	fl := &l.files[f]
	list := fl.flags&fileHasList != 0
	if fl.info == nil {
		return l.systemAttributes(dst, f)
	}
	info := fl.info
	dst = append(dst, attr{typ: typeStandardInformation, size: stdInfoSize})
	if list {
		dst = append(dst, attr{typ: typeAttributeList})
	}
	dst = l.nameAttributes(dst, f)
	if fl.flags&fileHasObjectID != 0 {
		dst = append(dst, attr{typ: typeObjectID, size: 16}) // where it was born stands in $O only
	}
	if fl.dir == none {
		a := attr{typ: typeData, blob: info.Data, size: info.Size()}
		if fl.pointer >= 0 {
			a.blob, a.isHole, a.flags = nil, true, attrFlagSparse
		}
		dst = append(dst, a)
	}
	dst = l.streamAttributes(dst, f)
	if fl.dir != none {
		var flags uint16
		if info.Attributes&winfile.AttrCompressed != 0 {
			flags = attrFlagCompressed // new files inherit it
		}
		dst = l.indexAttributes(dst, l.dirIndex(fl.dir), flags)
	}
	switch {
	case fl.pointer >= 0:
		dst = append(dst, attr{typ: typeReparsePoint, size: int64(pointerSize(l.pointers[fl.pointer:]))})
	case info.Reparse != nil:
		dst = append(dst, attr{typ: typeReparsePoint, size: int64(8 + len(info.Reparse.Data))})
	}
	if info.Extra != nil && len(info.Extra.EAs) > 0 {
		size := 0
		for i := range info.Extra.EAs {
			size += eaSize(&info.Extra.EAs[i])
		}
		dst = append(dst, attr{typ: typeEAInformation, size: 8}, attr{typ: typeEA, size: int64(size)})
	}
	if list {
		dst[1].size = listSize(dst)
	}
	return dst
}

// pointerSize is the length of the REPARSE_DATA_BUFFER that b starts with.
func pointerSize(b []byte) int {
	n := 8 + int(le.Uint16(b[4:]))
	if le.Uint32(b)&0x80000000 == 0 {
		n += 16 // a vendor's GUID is not counted
	}
	return n
}

func (l *Layout) nameAttributes(dst []attr, f int32) []attr {
	for n := l.files[f].link; n != none; n = l.links[n].next {
		dst = append(dst, attr{typ: typeFileName, size: fileNameSize + 2*int64(l.links[n].units), link: n})
	}
	return dst
}

// streamAttributes adds the named streams in the order of their names.
func (l *Layout) streamAttributes(dst []attr, f int32) []attr {
	at := len(dst)
	add := func(s *winfile.Stream) {
		a := attr{typ: typeData, name: s.Name, blob: s.Data}
		if s.Data != nil {
			a.size = s.Data.Size
		}
		dst = append(dst, a)
	}
	fl := &l.files[f]
	for i := range fl.info.Streams {
		add(&fl.info.Streams[i])
	}
	if fl.stream >= 0 {
		add(&l.streams[fl.stream])
	}
	if len(dst)-at > 1 {
		slices.SortFunc(dst[at:], func(a, b attr) int {
			return winfile.CompareFold(winfile.UTF16FromName(a.name), winfile.UTF16FromName(b.name))
		})
	}
	return dst
}

// indexAttributes adds those of an index: the root, and blocks and their bitmap if there are any.
func (l *Layout) indexAttributes(dst []attr, x index, flags uint16) []attr {
	s := x.shape
	dst = append(dst, attr{typ: typeIndexRoot, name: x.name, size: int64(x.rootSize()), index: s, flags: flags})
	if s.splits == nil {
		return dst
	}
	dst = append(dst, attr{typ: typeIndexAllocation, name: x.name, size: s.blocks.size, region: &s.blocks})
	b := attr{typ: typeBitmap, name: x.name, size: bitmapSize(s.count()), index: s}
	if s.bitmap.size != 0 {
		b.region = &s.bitmap
	}
	return append(dst, b)
}

// dirIndex is the $I30 of a directory.
func (l *Layout) dirIndex(dir int32) index {
	d := &l.dirs[dir]
	return index{
		name: "$I30", typ: typeFileName, order: collateFileName, entries: int(d.count), shape: &d.shape,
		length: func(i int) int {
			return align(indexEntryHeader+fileNameSize+2*int(l.links[int(d.first)+i].units), 8)
		},
		append: func(b []byte, i int) []byte {
			n := d.first + int32(i)
			at := len(b)
			b = le.AppendUint64(b, uint64(l.ref(l.links[n].file)))
			b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
			b = l.appendFileName(b, n)
			le.PutUint16(b[at+10:], uint16(len(b)-at-indexEntryHeader))
			for (len(b)-at)%8 != 0 {
				b = append(b, 0)
			}
			le.PutUint16(b[at+8:], uint16(len(b)-at))
			return b
		},
	}
}

// ref is the file reference of a base record.
func (l *Layout) ref(f int32) fileRef {
	record := l.files[f].record
	return makeRef(uint64(record), recordSequence(record))
}

// recordSequence is the sequence number of a record: that of the first system files is fixed.
func recordSequence(record uint32) uint16 {
	if record == 0 || record > recReserved+3 {
		return 1
	}
	return uint16(record)
}

// extRecord is the number of an extension record.
func (l *Layout) extRecord(f int32, slot uint16) uint32 {
	switch {
	case slot == 0:
		return l.files[f].record
	case l.files[f].record == recRoot:
		return l.rootExt + uint32(slot) - 1
	}
	return l.files[f].record + uint32(slot)
}

// headerSize is the length of an attribute without its value or mapping pairs.
func headerSize(a *attr, resident bool) int {
	n := nonResidentHeader
	switch {
	case resident:
		n = residentHeader
	case a.flags&(attrFlagSparse|attrFlagCompressed) != 0:
		n = sparseHeader
	}
	if a.name != "" {
		n += align(2*utf16Length(a.name), 8)
	}
	return n
}

// attrSize is the length that an attribute may take in a record.
func (l *Layout) attrSize(a *attr, resident bool) int {
	n := headerSize(a, resident)
	if resident {
		return n + int(align(a.size, 8))
	}
	pairs := 2 + signedBytes(l.allocated(a)/int64(l.geometry.clusterSize))
	if !a.isHole {
		pairs += l.lcnBytes
	}
	return n + align(pairs, 8)
}

// allocated is the allocated size of a non-resident attribute. That of a sparse one is a multiple of 16 clusters, or of 64 KiB where
// clusters are larger than 4 KiB.
func (l *Layout) allocated(a *attr) int64 {
	cs := int64(l.geometry.clusterSize)
	switch {
	case a.flags&attrFlagSparse == 0:
		return align(a.size, cs)
	case cs <= 4096:
		return align(a.size, 16*cs)
	}
	return align(a.size, max(cs, 64<<10))
}

// recordRoom is the number of bytes for attributes in a record.
func (l *Layout) recordRoom() int {
	return l.geometry.recordSize - firstAttrOffset(l.geometry.recordSize) - 8
}

// firstAttrOffset is the place of the first attribute in a record.
func firstAttrOffset(recordSize int) int {
	return align(recordUSA+2*(recordSize/sectorStride+1), 8)
}

// mustBeResident reports whether an attribute cannot leave the records. Reparse points could, but drivers never put short ones elsewhere,
// and what reads pointers before Windows has started may count on it.
func (a *attr) mustBeResident() bool {
	switch a.typ {
	case typeData, typeEA, typeAttributeList:
		return false
	case typeReparsePoint:
		return a.size <= listInline
	}
	return true
}

// placeAttributes decides for each file what is resident, shapes its index and numbers its records.
func (l *Layout) placeAttributes() error {
	l.boundLCN()
	l.planViews()
	l.places = make([]place, 0, 5*len(l.files))
	next := uint32(firstUserRecord)
	for f := range int32(len(l.files)) {
		fl := &l.files[f]
		user := fl.record == 0 && f != l.systems[recMFT]
		if user {
			fl.record = next
		}
		if err := l.placeFile(f); err != nil {
			return fmt.Errorf("%q: %w", l.filePath(f), err)
		}
		switch {
		case user:
			next += 1 + uint32(fl.exts)
		case fl.exts > 0: // only the root can have any
			l.rootExt = next
			next += uint32(fl.exts)
		}
		if next > 1<<31 || len(l.places) > maxFiles {
			return fmt.Errorf("more than %d attributes", maxFiles)
		}
	}
	l.records, l.lastRecord = int64(next), int64(next)
	return nil
}

// boundLCN finds how many bytes a cluster number can take, from above: every stream outside the records, two index blocks for
// each name.
func (l *Layout) boundLCN() {
	cs := int64(l.geometry.clusterSize)
	clusters := int64(64<<20)/cs + 1<<16 + l.clustersFor(l.opt.LogSize) + l.clustersFor(int64(l.opt.FreeRecords)*int64(l.geometry.recordSize))
	for i := range l.files {
		clusters += 4
		if info := l.files[i].info; info != nil {
			for b := range info.Blobs() {
				clusters += l.clustersFor(b.Size)
			}
			if info.Extra != nil && len(info.Extra.EAs) > 0 {
				clusters += maxEASize/cs + 1
			}
			if info.Reparse != nil {
				clusters += winfile.MaxReparse/cs + 1
			}
			streams := len(info.Streams)
			if l.files[i].stream >= 0 {
				streams++
			}
			clusters += maxListSize / cs * int64(min(streams/2, 1)) // attribute lists
		}
	}
	for i := range l.streams {
		if b := l.streams[i].Data; b != nil {
			clusters += l.clustersFor(b.Size)
		}
	}
	clusters += int64(len(l.links)) * (1 + 2*indexBlockSize/cs)
	clusters += l.clustersFor(2*l.security.size) + (clusters+l.opt.Size/cs)/(8*cs) + 1
	l.lcnBytes = signedBytes(clusters)
}

// placeFile appends the places of a file's attributes.
func (l *Layout) placeFile(f int32) error {
	fl := &l.files[f]
	room := l.recordRoom()
	if fl.dir != none {
		others := l.attributes(l.attrs[:0], f)
		l.attrs = others
		used := 0
		for i := range others {
			if others[i].index == nil {
				used += l.attrSize(&others[i], !l.startsOutside(&others[i]))
			}
		}
		l.planDirectory(fl.dir, room-used)
	}
	attrs := l.attributes(l.attrs[:0], f)
	l.attrs = attrs
	fl.place = int32(len(l.places))
	places := l.startPlaces(attrs)
	if !l.fit(attrs, places, room) {
		l.places = l.places[:fl.place]
		if fl.dir != none {
			l.planDirectory(fl.dir, 0)
		}
		fl.flags |= fileHasList
		attrs = l.attributes(l.attrs[:0], f)
		l.attrs = attrs
		if attrs[1].size > maxListSize {
			return fmt.Errorf("attribute list of %d bytes, want at most %d: too many names or streams", attrs[1].size, maxListSize)
		}
		places = l.startPlaces(attrs)
		l.spread(fl, attrs, places)
	}
	return l.takePlaces(f, attrs)
}

// startsOutside reports whether an attribute is outside the record in any case.
func (l *Layout) startsOutside(a *attr) bool {
	return a.isHole || a.region != nil || !a.mustBeResident() && a.size > int64(l.recordRoom()-residentHeader)
}

func (l *Layout) startPlaces(attrs []attr) []place {
	at := len(l.places)
	for i := range attrs {
		l.places = append(l.places, place{resident: !l.startsOutside(&attrs[i])})
	}
	return l.places[at:]
}

// fit moves values out of the record until the rest fits: contents first, largest first, then extended attributes and reparse
// points. It reports whether it does.
func (l *Layout) fit(attrs []attr, places []place, room int) bool {
	used, least := 0, 0
	for i := range attrs {
		n := l.attrSize(&attrs[i], places[i].resident)
		used += n
		if places[i].resident && !attrs[i].mustBeResident() {
			n = min(n, l.attrSize(&attrs[i], false))
		}
		least += n
	}
	if least > room {
		return false
	}
	for used > room {
		best, gain := none, 0
		for i := range attrs {
			a := &attrs[i]
			if !places[i].resident || a.mustBeResident() {
				continue
			}
			g := l.attrSize(a, true) - l.attrSize(a, false)
			if g <= 0 || best != none && moveClass(a.typ) > moveClass(attrs[best].typ) {
				continue
			}
			if best == none || moveClass(a.typ) < moveClass(attrs[best].typ) || g > gain {
				best, gain = i, g
			}
		}
		places[best].resident = false
		used -= gain
	}
	return true
}

// moveClass is less for what is moved out sooner.
func moveClass(t attrType) int {
	switch t {
	case typeData:
		return 0
	case typeEA:
		return 1
	}
	return 2
}

// spread places attributes that one record does not hold. The base has the list, the unnamed data and the root of the index; the
// others follow in their order, in the base while it has room, then in extension records.
func (l *Layout) spread(fl *file, attrs []attr, places []place) {
	room := l.recordRoom()
	inBase := func(a *attr) bool {
		return a.typ <= typeAttributeList || a.typ == typeData && a.name == "" || a.typ == typeIndexRoot
	}
	free := room
	for i := range attrs {
		a, p := &attrs[i], &places[i]
		if p.resident && !a.mustBeResident() && l.attrSize(a, true) > listInline && a.typ != typeReparsePoint {
			p.resident = l.attrSize(a, true) <= l.attrSize(a, false)
		}
		if inBase(a) {
			free -= l.attrSize(a, p.resident)
		}
	}
	slot, left := uint16(0), free
	for i := range attrs {
		a, p := &attrs[i], &places[i]
		if inBase(a) {
			continue
		}
		n := l.attrSize(a, p.resident)
		if n > left {
			slot++
			left = room
		}
		p.slot = slot
		left -= n
	}
	fl.exts = slot
}

// listSize is the size of the $ATTRIBUTE_LIST over attributes.
func listSize(attrs []attr) int64 {
	var n int64
	for i := range attrs {
		if attrs[i].typ != typeAttributeList {
			n += int64(listEntrySize(&attrs[i]))
		}
	}
	return n
}

func listEntrySize(a *attr) int {
	if a.name == "" {
		return 32
	}
	return align(0x1a+2*utf16Length(a.name), 8)
}

// takePlaces notes where contents go, and what else is outside the record.
func (l *Layout) takePlaces(f int32, attrs []attr) error {
	fl := &l.files[f]
	for i := range attrs {
		a, n := &attrs[i], fl.place+int32(i)
		p := &l.places[n]
		if a.typ == typeData && a.name == "" && p.resident {
			fl.flags |= fileDataResident
		}
		switch {
		case a.blob != nil:
			if err := l.takeContent(a.blob, n); err != nil {
				return err
			}
		case !p.resident && a.region == nil && !a.isHole:
			l.spills = append(l.spills, spill{f, int32(i), n, a.size})
		}
	}
	return nil
}

// planDirectory shapes an $I30, whose attributes may take room bytes of the record. If that is too little its root has no keys.
func (l *Layout) planDirectory(dir int32, room int) {
	x := l.dirIndex(dir)
	s := x.shape
	*s = indexShape{}
	l.planIndex(&x, room)
}

// planIndex shapes an index and sizes its blocks and bitmap.
func (l *Layout) planIndex(x *index, room int) {
	root := attr{typ: typeIndexRoot, name: x.name, size: indexRootHeader}
	room -= l.attrSize(&root, true)
	x.shape.plan(x.entries, x.length, max(room, lastEntrySize+8))
	if x.shape.splits == nil {
		return
	}
	// There are blocks, so there are two more attributes. Shape it again for what these leave.
	blocks := attr{typ: typeIndexAllocation, name: x.name, size: int64(x.entries+1) * indexBlockSize, region: &region{}}
	bitmap := attr{typ: typeBitmap, name: x.name}
	leaves := int64(len(x.shape.splits[0])) + 1
	bitmap.size = bitmapSize(leaves + leaves/4 + 4)
	resident := bitmap.size <= 64
	room -= l.attrSize(&blocks, false) + l.attrSize(&bitmap, resident)
	x.shape.plan(x.entries, x.length, max(room, lastEntrySize+8))
	x.shape.blocks.size = x.shape.count() * indexBlockSize
	if !resident {
		x.shape.bitmap.size = bitmapSize(x.shape.count())
	}
}

// content is one blob and where it goes.
type content struct {
	blob *winfile.Blob
	copy int32 // the first in Layout.copies
	from int32 // which Content reads it
}

// copyOf is one place of a blob. Equal blobs of several files are read once and written to each.
type copyOf struct {
	place int32
	next  int32 // or none
}

func (l *Layout) takeContent(b *winfile.Blob, place int32) error {
	if b.Content == nil {
		return fmt.Errorf("no content to read its %d bytes from", b.Size)
	}
	i, ok := l.byBlob[b]
	if !ok {
		i = int32(len(l.contents))
		l.byBlob[b] = i
		l.contents = append(l.contents, content{blob: b, copy: none})
		l.dataBytes += b.Size
	}
	l.copies = append(l.copies, copyOf{place, l.contents[i].copy})
	l.contents[i].copy = int32(len(l.copies) - 1)
	return nil
}

// sortContents puts contents into the order in which they will be read, and returns the clusters they take.
func (l *Layout) sortContents() (int64, error) {
	from := make(map[winfile.Content]int32)
	for i := range l.contents {
		c := &l.contents[i]
		if i > 0 && c.blob.Content == l.contents[i-1].blob.Content {
			c.from = l.contents[i-1].from
			continue
		}
		n, ok := from[c.blob.Content]
		if !ok {
			n = int32(len(from))
			from[c.blob.Content] = n
		}
		c.from = n
	}
	slices.SortStableFunc(l.contents, func(a, b content) int {
		if c := cmp.Compare(a.from, b.from); c != 0 {
			return c
		}
		return cmp.Compare(a.blob.Order, b.blob.Order)
	})
	var clusters int64
	for i := range l.contents {
		c := &l.contents[i]
		l.byBlob[c.blob] = int32(i)
		for n := c.copy; n != none; n = l.copies[n].next {
			if l.places[l.copies[n].place].resident {
				continue
			}
			if clusters += l.clustersFor(c.blob.Size); clusters > maxClusters {
				return 0, fmt.Errorf("contents need more than %d clusters of %d bytes: take larger clusters", int64(maxClusters), l.geometry.clusterSize)
			}
		}
	}
	return clusters, nil
}

// placeContents gives contents their clusters from next on, and those in records their memory.
func (l *Layout) placeContents(next LCN) {
	for i := range l.contents {
		c := &l.contents[i]
		for n := c.copy; n != none; n = l.copies[n].next {
			p := &l.places[l.copies[n].place]
			if p.resident {
				p.at = l.resident
				l.resident += c.blob.Size
				continue
			}
			p.at = int64(next)
			next += LCN(l.clustersFor(c.blob.Size))
		}
	}
}
