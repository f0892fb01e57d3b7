package ntfs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"husk/winfile"
)

// record checks one record of the scan.
func (c *checkState) record(n int64, r fileRecord, err error) error {
	if n > maxRecord {
		return nil
	}
	c.progress(0, n)
	if err != nil {
		c.add(n).facts |= factBroken
		if len(c.broken) < maxProblems {
			c.broken = append(c.broken, brokenRecord{n, err})
		}
		return nil
	}
	if !r.inUse() {
		return nil
	}
	k := c.add(n)
	*k = checkedRecord{facts: factInUse, flags: r.flags(), sequence: r.sequence(), links: r.links(), base: r.base()}
	c.header(n, r)
	if c.attrs, err = r.appendAttrs(c.attrs[:0], n); err != nil {
		k.facts |= factPartial
		c.damaged = true
		c.reportErr("attribute-chain", ofRecord(n), err)
	}
	end := int(r.firstAttr())
	for _, a := range c.attrs {
		end += len(a.attribute)
	}
	if err == nil && int(r.used()) != end+8 {
		c.report("record-used", inRecord(n, 0x18), fmt.Sprintf("%#x bytes in use", r.used()), fmt.Sprintf("%#x: 8 more than the end marker's place", end+8))
	}
	c.layout(n, r, c.attrs)
	for _, a := range c.attrs {
		c.form(n, a)
	}
	switch {
	case r.base() != 0:
		if r.links() != 0 {
			c.report("extension-links", inRecord(n, 0x12), fmt.Sprintf("extension record with a link count of %d", r.links()), "0")
		}
	case slices.ContainsFunc(c.attrs, func(a fileAttr) bool { return a.typ() == typeAttributeList }):
		c.lists = append(c.lists, n)
	default:
		c.file(n, k, c.attrs)
	}
	return nil
}

// brokenRecords reports the records that cannot be read. What is not in use may be anything.
func (c *checkState) brokenRecords() error {
	bitmap, err := c.v.openNamed(recMFT, typeBitmap, "")
	for _, b := range c.broken {
		code, bits := Code("record-unreadable"), []byte{0xff}
		if fe := (*FormatError)(nil); errors.As(b.err, &fe) && fe.Off != 0 {
			code = "record-header"
		}
		if err == nil && readExactly(bitmap, bits, b.n/8) == nil && bits[0]>>(b.n%8)&1 == 0 {
			code = "record-free"
		}
		c.reportErr(code, ofRecord(b.n), b.err)
	}
	return nil
}

// header checks the fixed part of a record in use.
func (c *checkState) header(n int64, r fileRecord) {
	bad := func(code Code, off int, expected, format string, args ...any) {
		c.report(code, inRecord(n, off), fmt.Sprintf(format, args...), expected)
	}
	if r.allocated() != uint32(len(r)) {
		bad("record-size", 0x1c, fmt.Sprint(len(r)), "%d bytes allocated", r.allocated())
	}
	if r.used()%8 != 0 {
		bad("record-used", 0x18, "a multiple of 8", "%#x bytes in use", r.used())
	}
	if r.sequence() == 0 {
		bad("record-sequence", 0x10, "1 or more", "sequence number 0")
	}
	usa := int(le.Uint16(r[4:]))
	if want := align(usa+2*(len(r)/sectorStride+1), 8); int(r.firstAttr()) != want {
		bad("record-first", 0x14, fmt.Sprintf("%#x", want), "first attribute at %#x", r.firstAttr())
	}
	if usa == recordUSA && int64(r.number()) != n {
		bad("record-number", 0x2c, fmt.Sprint(n), "record number %d", r.number())
	}
	if f := r.flags() &^ (recordInUse | recordDirectory | recordExtend | recordView); f != 0 {
		bad("record-flags", 0x16, "", "unknown flags %#x", f)
	}
}

// layout checks the order of the attributes in one record and their instances.
func (c *checkState) layout(n int64, r fileRecord, list []fileAttr) {
	for i, a := range list {
		if a.instance() >= r.nextInstance() {
			c.report("record-instance", inRecord(n, 0x28), fmt.Sprintf("next instance %d", r.nextInstance()), fmt.Sprintf("more than %v's, %d", a.typ(), a.instance()))
		}
		for _, b := range list[:i] {
			if b.instance() == a.instance() {
				c.report("attribute-instance", inAttr(n, a, 0xe), fmt.Sprintf("instance %d, as %v has", a.instance(), b.typ()), "")
				break
			}
		}
		if i > 0 {
			if d := c.compareAttrs(list[i-1], a); d > 0 || d == 0 && a.typ() != typeFileName {
				c.report("attribute-order", inAttr(n, a, 0), fmt.Sprintf("stands behind %v", attrLabel(list[i-1].typ(), nameOf(list[i-1]))), "")
			}
		}
	}
}

// compareAttrs orders attributes as records and attribute lists have them: type, name, lowest VCN.
func (c *checkState) compareAttrs(a, b fileAttr) int {
	if d := cmp.Compare(a.typ(), b.typ()); d != 0 {
		return d
	}
	return cmp.Or(compareNames(c.v.upcase, a.name(), b.name()), cmp.Compare(lowestOf(a), lowestOf(b)))
}

func lowestOf(a fileAttr) VCN {
	if a.nonResident() {
		return a.lowestVCN()
	}
	return 0
}

// nameOf is the name of an attribute, for messages.
func nameOf(a fileAttr) string { return winfile.NameFromUTF16LE(a.name()) }

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

// attrFormOf is attrForms by type / 16: it is asked for every attribute of a volume.
var attrFormOf = func() (list [0x11]*attrForm) {
	for t, f := range attrForms {
		list[t>>4] = &f
	}
	return list
}()

func formOf(t attrType) *attrForm {
	if t&15 != 0 || int64(t>>4) >= int64(len(attrFormOf)) {
		return nil
	}
	return attrFormOf[t>>4]
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
	bad := func(code Code, off int, expected, format string, args ...any) {
		c.report(code, inAttr(n, a, off), fmt.Sprintf(format, args...), expected)
	}
	f := formOf(a.typ())
	if f == nil {
		bad("attribute-type", 0, "a multiple of 0x10 up to 0x100", "type %#x", uint32(a.typ()))
		return
	}
	switch named := a.nameLength() > 0; {
	case named && !f.named:
		bad("attribute-name", 9, "none", "name %q", nameOf(a))
	case !named && f.named && !f.unnamed:
		bad("attribute-name", 9, "one", "no name")
	case named && (int(a.nameOffset()) < a.headerLength() || int(a.nameOffset())+len(a.name()) > a.contentOffset()):
		bad("attribute-name", 0xa, fmt.Sprintf("it between the header and %#x", a.contentOffset()), "name at %#x", a.nameOffset())
	}
	if form := a.attribute[8]; form > 1 || form == 1 && !f.nonResident || form == 0 && !f.resident {
		bad("attribute-form", 8, map[bool]string{true: "0: resident", false: "1: non-resident"}[form != 0], "form %d", form)
	}
	if s := a.size(); !a.continues() && (s < f.least || s > f.most) {
		bad("attribute-size", 0x10, fmt.Sprintf("%d to %d", f.least, f.most), "%d bytes", s)
	}
	if a.nonResident() {
		if a.runsOffset()%8 != 0 || int(a.runsOffset()) < a.headerLength() {
			bad("attribute-layout", 0x20, fmt.Sprintf("a multiple of 8 from %#x", a.headerLength()), "mapping pairs at %#x", a.runsOffset())
		}
		return
	}
	if a.valueOffset()%8 != 0 || a.valueOffset() < residentHeader {
		bad("attribute-layout", 0x14, fmt.Sprintf("a multiple of 8 from %#x", residentHeader), "value at %#x", a.valueOffset())
	}
	indexed := byte(0)
	if a.typ() == typeFileName {
		indexed = 1
	}
	if a.attribute[0x16] != indexed {
		bad("attribute-indexed", 0x16, fmt.Sprint(indexed), "indexed flag %d", a.attribute[0x16])
	}
}

// listedFiles checks the files whose attributes are in several records.
func (c *checkState) listedFiles() error {
	for _, n := range c.lists {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		r, err := c.v.readRecord(n)
		if err != nil {
			return err
		}
		k := c.at(uint64(n))
		list, err := c.v.fileAttrs(r, n)
		if err != nil {
			k.facts |= factPartial
			c.damaged = true
			c.reportErr("list-damaged", spot{n, typeAttributeList.String(), -1}, err)
		}
		if err == nil {
			c.attributeList(n, list)
		}
		c.file(n, k, list)
	}
	return nil
}

// attributeList checks that the list is in order and names all there is in its records. The last one of list is the
// $ATTRIBUTE_LIST itself.
func (c *checkState) attributeList(n int64, list []fileAttr) {
	at := spot{n, typeAttributeList.String(), -1}
	listed := list[:len(list)-1]
	held := make(map[int64]int)
	for i, a := range listed {
		held[a.holder]++
		if i == 0 {
			continue
		}
		if d := c.compareAttrs(listed[i-1], a); d > 0 || d == 0 && a.typ() != typeFileName {
			c.report("list-order", at, fmt.Sprintf("entry %d, %s, stands behind %s", i, attrLabel(a.typ(), nameOf(a)), attrLabel(listed[i-1].typ(), nameOf(listed[i-1]))), "")
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
			c.report("list-incomplete", at, fmt.Sprintf("%d attributes of record %d are named", count, holder), fmt.Sprintf("all %d", len(own)))
		}
		if k := c.at(uint64(holder)); k != nil {
			k.facts |= factListed
		}
	}
}

// extensionRecords checks that each belongs to a file.
func (c *checkState) extensionRecords() error {
	for n, k := range c.inUse {
		if k.base == 0 || k.has(factListed) {
			continue
		}
		base := c.at(k.base.record())
		if base != nil && base.has(factPartial) || c.isBroken(k.base.record()) {
			continue // it may belong there
		}
		c.damaged = true
		c.report("extension-orphan", inRecord(n, 0x20), fmt.Sprintf("extension record of %v, which does not list it", k.base), "")
	}
	return nil
}

// file checks all attributes of one file together.
func (c *checkState) file(n int64, k *checkedRecord, list []fileAttr) {
	if c.result.Files++; k.flags&recordDirectory != 0 {
		c.result.Directories++
	}
	var id uint32
	var present uint32 // bit t>>4 for each type t
	std := 0
	for i, a := range list {
		present |= 1 << min(a.typ()>>4, 31)
		switch a.typ() {
		case typeStandardInformation:
			std++
			id = c.standardInformation(n, k, a)
		case typeFileName:
			c.fileName(n, k, a)
		case typeSecurityDescriptor:
			c.inlineDescriptor(n, list, i)
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
	has := func(t attrType) bool { return present>>(t>>4)&1 != 0 }
	if k.has(factPartial) {
		if k.flags&recordDirectory != 0 {
			k.facts |= factDirectory
		}
		return
	}
	if std != 1 {
		c.report("standard-information", ofRecord(n), fmt.Sprintf("%d $STANDARD_INFORMATION", std), "1")
	}
	if has(typeEA) != has(typeEAInformation) {
		c.report("ea-sizes", ofRecord(n), fmt.Sprintf("$EA is there: %t, $EA_INFORMATION: %t", has(typeEA), has(typeEAInformation)), "both or none")
	}
	c.securityOf(n, id, has(typeSecurityDescriptor))
	c.kind(n, k, list)
	c.namePairs(n, k)
}

// standardInformation notes the attributes, and returns the security id or 0.
func (c *checkState) standardInformation(n int64, k *checkedRecord, a fileAttr) (id uint32) {
	if a.nonResident() || a.size() < stdInfoSizeV1 {
		return 0 // reported by form
	}
	s := a.value()
	k.attributes = le.Uint32(s[0x20:])
	if le.Uint32(s[0x24:])|le.Uint32(s[0x28:]) != 0 {
		k.facts |= factCaseful // which bit it is, nobody documents
	}
	if len(s) >= stdInfoSize {
		id = le.Uint32(s[0x34:])
	}
	if len(s) != stdInfoSizeV1 && len(s) != stdInfoSize {
		c.report("standard-information", inAttr(n, a, 0x10), fmt.Sprintf("%d bytes", len(s)), fmt.Sprintf("%d or %d", stdInfoSizeV1, stdInfoSize))
	}
	return id
}

// dollarI30 is the name of a folder's index, as on the disk.
var dollarI30 = []byte{'$', 0, 'I', 0, '3', 0, '0', 0}

// kind checks that flags, indexes and data fit each other.
func (c *checkState) kind(n int64, k *checkedRecord, list []fileAttr) {
	bad := func(code Code, format string, args ...any) {
		c.report(code, ofRecord(n), fmt.Sprintf(format, args...), "")
	}
	i30, views, sparse, unnamed := 0, 0, false, -1
	for i, a := range list {
		switch a.typ() {
		case typeData:
			sparse = sparse || a.flags()&attrFlagSparse != 0
			if a.nameLength() == 0 && !a.continues() && unnamed < 0 {
				unnamed = i
			}
		case typeIndexRoot:
			if bytes.Equal(a.name(), dollarI30) {
				i30++
			} else {
				views++
			}
		}
	}
	if i30 > 0 {
		k.facts |= factDirectory
	}
	if dir := k.flags&recordDirectory != 0; dir != (i30 == 1) {
		bad("flag-directory", "directory flag %t with %d $I30", dir, i30)
	} else if unnamed < 0 && i30+views == 0 {
		bad("flag-directory", "neither $DATA nor an index")
	} else if unnamed >= 0 && i30 > 0 {
		bad("flag-directory", "folder with unnamed $DATA")
	}
	if view := k.flags&recordView != 0; view != (views > 0) {
		bad("flag-view", "view index flag %t with %d such indexes", view, views)
	}
	attributes := winfile.Attributes(k.attributes)
	check := func(bit winfile.Attributes, has bool) {
		if attributes&bit != 0 != has {
			bad("bits-contents", "attribute bit %#x is %t, the record says %t", uint32(bit), !has, has)
		}
	}
	check(winfile.AttrReparse, k.tag != 0)
	if unnamed >= 0 && list[unnamed].nonResident() {
		f := list[unnamed].flags()
		if f&attrFlagSparse != 0 {
			check(winfile.AttrSparse, true)
		}
		check(winfile.AttrCompressed, f&attrFlagMask != 0)
		check(winfile.AttrEncrypted, f&attrFlagEncrypted != 0)
	}
	if attributes&winfile.AttrSparse != 0 && !sparse {
		bad("bits-sparse", "attribute bit %#x without a sparse stream", uint32(winfile.AttrSparse))
	}
	c.storedBits(n, "$STANDARD_INFORMATION", attributes, views > 0)
}

// storedBits checks the attribute bits in $STANDARD_INFORMATION or $FILE_NAME that say what the file is.
func (c *checkState) storedBits(n int64, where string, a winfile.Attributes, view bool) {
	if b := a & neverStored; b != 0 {
		c.report("bits-stored", inStream(n, where, -1), fmt.Sprintf("attribute bits %#x, which are not for disks", uint32(b)), "")
	}
	if has := a&fileNameView != 0; has != view {
		c.report("bits-stored", inStream(n, where, -1), fmt.Sprintf("bit of view indexes %t", has), fmt.Sprintf("%t, as the record has it", view))
	}
}

// eas checks $EA against $EA_INFORMATION.
func (c *checkState) eas(n int64, k *checkedRecord, list []fileAttr, i int) {
	if list[i].continues() {
		return
	}
	s, err := c.v.openStream(list, i)
	var b []byte
	if err == nil {
		b, err = s.readAll(maxEASize)
	}
	var eas []winfile.EA
	if err == nil {
		eas, err = parseEAs(b)
	}
	if err != nil {
		c.reportErr("ea-sizes", ofAttr(n, list[i]), err)
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
		c.report("ea-sizes", ofAttr(n, list[j]), fmt.Sprintf("%d bytes packed, %d needed, %d in all", k.eaSize, le.Uint16(info[2:]), le.Uint32(info[4:])),
			fmt.Sprintf("%d, %d, %d, as $EA has", packed, needed, len(b)))
	}
}
