package ntfs

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"husk/winfile"
)

// record checks one record of the scan.
func (c *checkState) record(n int64, r fileRecord, err error) error {
	if n > maxRecord {
		return nil
	}
	if err != nil {
		c.report(SeverityError, ProblemRecord, n, "%v", err)
		return nil
	}
	if !r.inUse() {
		return nil
	}
	k := c.add(n)
	*k = checkedRecord{inUse: true, flags: r.flags(), sequence: r.sequence(), links: r.links(), base: r.base()}
	c.header(n, r)
	if c.attrs, err = r.appendAttrs(c.attrs[:0], n); err != nil {
		c.report(SeverityError, ProblemAttribute, n, "%v", err)
	}
	end := int(r.firstAttr())
	for _, a := range c.attrs {
		end += len(a.attribute)
	}
	if err == nil && int(r.used()) != end+8 {
		c.report(SeverityWarning, ProblemRecord, n, "%#x bytes in use, the end marker is at %#x", r.used(), end)
	}
	c.layout(n, r, c.attrs)
	for _, a := range c.attrs {
		c.form(n, a)
	}
	switch {
	case r.base() != 0:
		if r.links() != 0 {
			c.report(SeverityWarning, ProblemLinks, n, "extension record with a link count of %d", r.links())
		}
	case slices.ContainsFunc(c.attrs, func(a fileAttr) bool { return a.typ() == typeAttributeList }):
		c.lists = append(c.lists, n)
	default:
		c.file(n, k, c.attrs)
	}
	return nil
}

// header checks the fixed part of a record in use.
func (c *checkState) header(n int64, r fileRecord) {
	bad := func(format string, args ...any) { c.report(SeverityWarning, ProblemRecord, n, format, args...) }
	if r.allocated() != uint32(len(r)) {
		bad("%d bytes allocated, want %d", r.allocated(), len(r))
	}
	if r.used()%8 != 0 {
		bad("%d bytes in use, want a multiple of 8", r.used())
	}
	if r.sequence() == 0 {
		bad("sequence number 0")
	}
	usa := int(le.Uint16(r[4:]))
	if want := align(usa+2*(len(r)/sectorStride+1), 8); int(r.firstAttr()) != want {
		bad("first attribute at %#x, want %#x", r.firstAttr(), want)
	}
	if usa == recordUSA && int64(r.number()) != n {
		bad("says that it is record %d", r.number())
	}
	if f := r.flags() &^ (recordInUse | recordDirectory | recordExtend | recordView); f != 0 {
		bad("unknown flags %#x", f)
	}
}

// layout checks the order of the attributes in one record and their instances.
func (c *checkState) layout(n int64, r fileRecord, list []fileAttr) {
	for i, a := range list {
		if a.instance() >= r.nextInstance() {
			c.report(SeverityWarning, ProblemRecord, n, "%v has instance %d, the next one is to be %d", a.typ(), a.instance(), r.nextInstance())
		}
		if slices.ContainsFunc(list[:i], func(b fileAttr) bool { return b.instance() == a.instance() }) {
			c.report(SeverityError, ProblemAttribute, n, "%v has instance %d of another attribute", a.typ(), a.instance())
		}
		if i > 0 {
			if d := c.compareAttrs(list[i-1], a); d > 0 || d == 0 && a.typ() != typeFileName {
				c.report(SeverityError, ProblemAttribute, n, "%v at %#x is out of order or there twice", a.typ(), a.off)
			}
		}
	}
}

// compareAttrs orders attributes as records and attribute lists have them: type, name, lowest VCN.
func (c *checkState) compareAttrs(a, b fileAttr) int {
	return cmp.Or(cmp.Compare(a.typ(), b.typ()), compareNames(c.v.upcase, a.name(), b.name()), cmp.Compare(lowestOf(a), lowestOf(b)))
}

func lowestOf(a fileAttr) VCN {
	if a.nonResident() {
		return a.lowestVCN()
	}
	return 0
}

// attrForm is what $AttrDef says of a type.
type attrForm struct {
	resident, nonResident bool // forms that it may have
	unnamed, named        bool
	least, most           int64
}

var attrForms = map[attrType]attrForm{
	typeStandardInformation: {true, false, true, false, stdInfoSizeV1, stdInfoSize},
	typeAttributeList:       {true, true, true, false, 0, maxListSize},
	typeFileName:            {true, false, true, false, fileNameSize + 2, fileNameSize + 2*maxName},
	typeObjectID:            {true, false, true, false, 16, 256},
	typeSecurityDescriptor:  {true, true, true, false, 20, sdsBlock},
	typeVolumeName:          {true, false, true, false, 0, 256},
	typeVolumeInformation:   {true, false, true, false, volumeInfoSize, volumeInfoSize},
	typeData:                {true, true, true, true, 0, 1<<63 - 1},
	typeIndexRoot:           {true, false, false, true, indexRootHeader + indexEntryHeader, 65536},
	typeIndexAllocation:     {false, true, false, true, 0, 1<<63 - 1},
	typeBitmap:              {true, true, true, true, 0, 1 << 32},
	typeReparsePoint:        {true, true, true, false, 8, winfile.MaxReparse},
	typeEAInformation:       {true, false, true, false, 8, 8},
	typeEA:                  {true, true, true, false, 0, maxEASize},
	typeLoggedUtilityStream: {true, true, false, true, 0, 65536},
}

// headerLength is where the name may start.
func (a attribute) headerLength() int {
	switch {
	case !a.nonResident():
		return residentHeader
	case a.flags()&(attrFlagMask|attrFlagSparse) != 0 && a.lowestVCN() == 0:
		return sparseHeader
	}
	return nonResidentHeader
}

// contentOffset is where the value or the mapping pairs start.
func (a attribute) contentOffset() int {
	if a.nonResident() {
		return int(a.runsOffset())
	}
	return int(a.valueOffset())
}

// form checks one attribute record against its type.
func (c *checkState) form(n int64, a fileAttr) {
	bad := func(format string, args ...any) {
		c.report(SeverityError, ProblemAttribute, n, "%v at %#x: "+format, append([]any{a.typ(), a.off}, args...)...)
	}
	f, ok := attrForms[a.typ()]
	if !ok {
		bad("unknown type")
		return
	}
	switch named := a.nameLength() > 0; {
	case named && !f.named:
		bad("has the name %q, want none", winfile.NameFromUTF16LE(a.name()))
	case !named && f.named && !f.unnamed:
		bad("has no name")
	case named && (int(a.nameOffset()) < a.headerLength() || int(a.nameOffset())+len(a.name()) > a.contentOffset()):
		bad("name at %#x, want it between the header and %#x", a.nameOffset(), a.contentOffset())
	}
	if a.nonResident() && !f.nonResident || !a.nonResident() && !f.resident {
		bad("non-resident %t is not allowed", a.nonResident())
	}
	if a.attribute[8] > 1 {
		bad("form %d, want 0 or 1", a.attribute[8])
	}
	if s := a.size(); !a.continues() && (s < f.least || s > f.most) {
		bad("%d bytes, want %d to %d", s, f.least, f.most)
	}
	if a.nonResident() {
		if a.runsOffset()%8 != 0 {
			bad("mapping pairs at %#x, want a multiple of 8", a.runsOffset())
		}
		return
	}
	if a.valueOffset()%8 != 0 || a.valueOffset() < residentHeader {
		bad("value at %#x, want a multiple of 8 from %#x", a.valueOffset(), residentHeader)
	}
	indexed := byte(0)
	if a.typ() == typeFileName {
		indexed = 1
	}
	if a.attribute[0x16] != indexed {
		bad("indexed flag %d, want %d", a.attribute[0x16], indexed)
	}
}

// listedFiles checks the files whose attributes are in several records.
func (c *checkState) listedFiles() error {
	for _, n := range c.lists {
		r, err := c.v.readRecord(n)
		if err != nil {
			return err
		}
		list, err := c.v.fileAttrs(r, n)
		if err != nil {
			c.report(SeverityError, ProblemList, n, "%v", err)
			continue
		}
		c.attributeList(n, list)
		c.file(n, c.at(uint64(n)), list)
	}
	return nil
}

// attributeList checks that the list is in order and names all there is in its records. The last one of list is the
// $ATTRIBUTE_LIST itself.
func (c *checkState) attributeList(n int64, list []fileAttr) {
	listed := list[:len(list)-1]
	held := make(map[int64]int)
	for i, a := range listed {
		held[a.holder]++
		if i == 0 {
			continue
		}
		if d := c.compareAttrs(listed[i-1], a); d > 0 || d == 0 && a.typ() != typeFileName {
			c.report(SeverityError, ProblemList, n, "entry %d: %v is out of order or there twice", i, a)
		}
	}
	held[n]++ // the list
	for holder, count := range held {
		r, err := c.v.readRecord(holder)
		if err != nil {
			continue // reported by the scan
		}
		own, _ := r.appendAttrs(nil, holder)
		if len(own) != count {
			c.report(SeverityError, ProblemList, n, "the list names %d of the %d attributes in record %d", count, len(own), holder)
		}
		if k := c.at(uint64(holder)); k != nil {
			k.listed = true
		}
	}
}

// extensionRecords checks that each belongs to a file.
func (c *checkState) extensionRecords() error {
	for n, k := range c.inUse {
		if k.base != 0 && !k.listed {
			c.report(SeverityError, ProblemList, n, "extension record of %v, which does not list it", k.base)
		}
	}
	return nil
}

// file checks all attributes of one file together.
func (c *checkState) file(n int64, k *checkedRecord, list []fileAttr) {
	var id uint32
	std, inline := 0, false
	present := make(map[attrType]bool, 8)
	for i, a := range list {
		present[a.typ()] = true
		switch a.typ() {
		case typeStandardInformation:
			std++
			if a.nonResident() || a.size() < stdInfoSizeV1 {
				break // reported by form
			}
			if s := a.value(); len(s) >= stdInfoSize {
				id = le.Uint32(s[0x34:])
			}
			k.attributes = le.Uint32(a.value()[0x20:])
			if len(a.value()) != stdInfoSizeV1 && len(a.value()) != stdInfoSize {
				c.report(SeverityWarning, ProblemAttribute, n, "$STANDARD_INFORMATION of %d bytes, want %d or %d", a.size(), stdInfoSizeV1, stdInfoSize)
			}
		case typeFileName:
			c.fileName(n, k, a)
		case typeSecurityDescriptor:
			inline = true
		case typeObjectID:
			if !a.nonResident() && a.size() >= 16 {
				c.objects = append(c.objects, objectKey{[16]byte(a.value()), makeRef(uint64(n), k.sequence)})
			}
		case typeReparsePoint:
			c.reparsePoint(n, k, list, i)
		case typeEA:
			c.eas(n, k, list, i)
		}
		c.stream(n, k, list, i)
	}
	if std != 1 {
		c.report(SeverityError, ProblemAttribute, n, "%d $STANDARD_INFORMATION, want 1", std)
	}
	if present[typeEA] != present[typeEAInformation] {
		c.report(SeverityError, ProblemAttribute, n, "$EA %t, $EA_INFORMATION %t", present[typeEA], present[typeEAInformation])
	}
	switch _, seen := c.usedIDs[id]; {
	case id != 0 && !seen:
		c.usedIDs[id] = n
	case id == 0 && !inline && !strings.HasPrefix(c.v.Version, "1."):
		severity := SeverityWarning
		if n < firstUserFile {
			severity = SeverityNote // ntfs-3g cuts the $MFT's $STANDARD_INFORMATION when it makes an attribute list
		}
		c.report(severity, ProblemSecurity, n, "no security id and no descriptor")
	}
	c.kind(n, k, list)
	c.namePairs(n, k)
}

// kind checks that flags, indexes and data fit each other.
func (c *checkState) kind(n int64, k *checkedRecord, list []fileAttr) {
	bad := func(format string, args ...any) { c.report(SeverityError, ProblemFlags, n, format, args...) }
	i30, views, sparse := 0, 0, false
	for _, a := range list {
		sparse = sparse || a.typ() == typeData && a.flags()&attrFlagSparse != 0
		if a.typ() == typeIndexRoot {
			if winfile.NameFromUTF16LE(a.name()) == "$I30" {
				i30++
			} else {
				views++
			}
		}
	}
	if dir := k.flags&recordDirectory != 0; dir != (i30 == 1) {
		bad("directory flag %t with %d $I30", dir, i30)
	}
	if view := k.flags&recordView != 0; view != (views > 0) {
		bad("view index flag %t with %d such indexes", view, views)
	}
	i := findAttr(list, typeData, "")
	if i < 0 && i30+views == 0 {
		bad("neither $DATA nor an index")
	}
	if i >= 0 && i30 > 0 {
		bad("directory with unnamed $DATA")
	}
	attributes := winfile.Attributes(k.attributes)
	check := func(bit winfile.Attributes, has bool) {
		if attributes&bit != 0 != has {
			bad("attribute bit %#x is %t, the record says %t", uint32(bit), !has, has)
		}
	}
	check(winfile.AttrReparse, k.tag != 0)
	if i >= 0 && list[i].nonResident() {
		if list[i].flags()&attrFlagSparse != 0 {
			check(winfile.AttrSparse, true)
		}
		check(winfile.AttrCompressed, list[i].flags()&attrFlagMask != 0)
		check(winfile.AttrEncrypted, list[i].flags()&attrFlagEncrypted != 0)
	}
	if attributes&winfile.AttrSparse != 0 && !sparse {
		c.report(SeverityWarning, ProblemFlags, n, "attribute bit %#x without a sparse stream", uint32(winfile.AttrSparse))
	}
	c.storedBits(n, "$STANDARD_INFORMATION", attributes, views > 0)
}

// storedBits checks the attribute bits in $STANDARD_INFORMATION or $FILE_NAME that say what the file is.
func (c *checkState) storedBits(n int64, where string, a winfile.Attributes, view bool) {
	if b := a & neverStored; b != 0 {
		c.report(SeverityWarning, ProblemFlags, n, "%s has attribute bits %#x, which are not for disks", where, uint32(b))
	}
	if has := a&fileNameView != 0; has != view {
		c.report(SeverityWarning, ProblemFlags, n, "%s has the bit of view indexes %t, the record %t", where, has, view)
	}
}

// reparsePoint notes the tag of the $REPARSE_POINT list[i].
func (c *checkState) reparsePoint(n int64, k *checkedRecord, list []fileAttr, i int) {
	if list[i].continues() {
		return
	}
	s, err := c.v.openStream(list, i)
	var b []byte
	if err == nil {
		b, err = s.readAll(winfile.MaxReparse)
	}
	var r *winfile.Reparse
	if err == nil {
		r, err = winfile.ParseReparse(b)
	}
	if err != nil {
		c.report(SeverityError, ProblemReparse, n, "%v", err)
		return
	}
	if 8+len(r.Data) != len(b) {
		c.report(SeverityWarning, ProblemReparse, n, "%d bytes behind the reparse data", len(b)-8-len(r.Data))
	}
	k.tag = r.Tag
	c.reparse = append(c.reparse, reparseKey{r.Tag, makeRef(uint64(n), k.sequence)})
}

// eas checks $EA against $EA_INFORMATION.
func (c *checkState) eas(n int64, k *checkedRecord, list []fileAttr, i int) {
	if list[i].continues() {
		return
	}
	bad := func(format string, args ...any) { c.report(SeverityError, ProblemAttribute, n, format, args...) }
	s, err := c.v.openStream(list, i)
	var b []byte
	if err == nil {
		b, err = s.readAll(maxEASize)
	}
	if err != nil {
		bad("%v", err)
		return
	}
	eas, err := parseEAs(b)
	if err != nil {
		bad("$EA: %v", err)
		return
	}
	packed, needed := 0, 0
	for _, e := range eas {
		packed += 5 + len(e.Name) + len(e.Value)
		if e.Flags&0x80 != 0 {
			needed++
		}
	}
	j := findAttr(list, typeEAInformation, "")
	if j < 0 || list[j].nonResident() || list[j].size() != 8 {
		return // reported elsewhere
	}
	info := list[j].value()
	k.eaSize = le.Uint16(info)
	if int(k.eaSize) != packed || int(le.Uint16(info[2:])) != needed || le.Uint32(info[4:]) != uint32(len(b)) {
		bad("$EA_INFORMATION says %d bytes packed, %d needed, %d in all; $EA has %d, %d, %d",
			k.eaSize, le.Uint16(info[2:]), le.Uint32(info[4:]), packed, needed, len(b))
	}
}

// stream checks the run list and sizes of list[i] and notes its clusters.
func (c *checkState) stream(n int64, k *checkedRecord, list []fileAttr, i int) {
	a := list[i]
	if a.continues() {
		same := func(b fileAttr) bool { return b.typ() == a.typ() && !b.continues() && bytes.Equal(b.name(), a.name()) }
		if !slices.ContainsFunc(list[:i], same) {
			c.report(SeverityError, ProblemRuns, n, "%v: extent at cluster %d without a first one", a, a.lowestVCN())
		}
		return
	}
	unnamed := a.typ() == typeData && a.nameLength() == 0
	if !a.nonResident() {
		if unnamed {
			k.size, k.allocated = a.size(), align(a.size(), 8)
		}
		return
	}
	bad := func(kind ProblemKind, s Severity, format string, args ...any) {
		c.report(s, kind, n, "%v %q: "+format, append([]any{a.typ(), winfile.NameFromUTF16LE(a.name())}, args...)...)
	}
	s, err := c.v.openStream(list, i)
	if err != nil {
		bad(ProblemRuns, SeverityError, "%v", err)
		return
	}
	var clusters, holes int64
	for _, e := range s.extents {
		clusters += e.Clusters
		if e.LCN == hole {
			holes += e.Clusters
			continue
		}
		c.runs = append(c.runs, ownedRun{e.LCN, e.Clusters, uint32(n), uint16(a.typ())})
	}
	cs := int64(c.v.ClusterSize)
	squeezed := a.flags()&(attrFlagMask|attrFlagSparse) != 0
	if clusters > (1<<63-1)/cs || a.allocatedSize() != clusters*cs {
		bad(ProblemRuns, SeverityError, "allocated size %d, the runs have %d clusters of %d", a.allocatedSize(), clusters, cs)
	}
	badClusters := n == recBadClus && a.nameLength() > 0
	if a.initializedSize() > a.dataSize() || a.dataSize() > a.allocatedSize() {
		bad(ProblemRuns, SeverityError, "valid size %d, size %d, allocated %d: want them ascending", a.initializedSize(), a.dataSize(), a.allocatedSize())
	}
	if holes > 0 && !squeezed && !badClusters {
		bad(ProblemRuns, SeverityError, "%d clusters are holes in a stream that is not sparse", holes)
	}
	allocated := a.allocatedSize()
	if squeezed {
		allocated = c.squeezed(a, clusters, holes, bad)
	} else if a.compressionUnit() != 0 {
		bad(ProblemRuns, SeverityError, "compression unit %d in a plain stream", a.compressionUnit())
	}
	if unnamed {
		k.size, k.allocated = a.dataSize(), allocated
	}
	c.extentRecords(n, a, list[i+1:], bad)
}

// squeezed checks what only sparse and compressed streams have, and returns the bytes that they occupy.
func (c *checkState) squeezed(a fileAttr, clusters, holes int64, bad func(ProblemKind, Severity, string, ...any)) int64 {
	if a.runsOffset() < sparseHeader {
		bad(ProblemAttribute, SeverityError, "mapping pairs at %#x of a sparse or compressed stream, want at least %#x", a.runsOffset(), sparseHeader)
		return 0
	}
	if want := (clusters - holes) * int64(c.v.ClusterSize); a.totalAllocated() != want {
		bad(ProblemRuns, SeverityError, "total allocated size %d, the runs have %d", a.totalAllocated(), want)
	}
	unit := a.compressionUnit()
	if a.flags()&attrFlagMask != 0 && (unit == 0 || unit > 16) {
		bad(ProblemRuns, SeverityError, "compression unit %d", unit)
	}
	const defaultUnit = 4
	if unit == 0 {
		unit = defaultUnit
	}
	if c.v.ClusterSize <= 4096 && unit <= 16 && clusters%(1<<unit) != 0 {
		bad(ProblemSparseUnit, SeverityWarning, "%d clusters, want a multiple of %d", clusters, 1<<unit)
	}
	return a.totalAllocated()
}

// extentRecords checks the headers of the later extents of a.
func (c *checkState) extentRecords(n int64, a fileAttr, rest []fileAttr, bad func(ProblemKind, Severity, string, ...any)) {
	for _, e := range rest {
		if e.typ() != a.typ() || !e.continues() || !bytes.Equal(e.name(), a.name()) {
			continue
		}
		if e.allocatedSize() != 0 || e.dataSize() != 0 || e.initializedSize() != 0 || e.compressionUnit() != 0 {
			bad(ProblemAttribute, SeverityWarning, "extent at cluster %d in record %d has sizes or a compression unit, want zeros", e.lowestVCN(), e.holder)
		}
	}
}
