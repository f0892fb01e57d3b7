package ntfs

import (
	"encoding/binary"
	"fmt"

	"husk/winfile"
)

func encodeBoot(p []byte, b *bootSector) (int, error) { return binary.Encode(p, le, b) }

// computed are the attribute bits that follow from how the file is stored.
const computed = neverStored | winfile.AttrSparse | winfile.AttrReparse | winfile.AttrEncrypted | fileNameDirectory | fileNameView

// stored is what the attribute bits of a file are on this volume, for $STANDARD_INFORMATION.
func (l *Layout) stored(f int32) winfile.Attributes {
	fl := &l.files[f]
	if fl.info == nil {
		a := systemFileAttributes
		if systemFlags[fl.record]&recordView != 0 {
			a |= fileNameView
		}
		return a
	}
	a := fl.info.Attributes &^ computed
	if fl.dir == none {
		a &^= winfile.AttrCompressed
	}
	switch {
	case fl.pointer >= 0:
		a |= winfile.AttrSparse | winfile.AttrReparse
	case fl.info.Reparse != nil:
		a |= winfile.AttrReparse
	}
	return a
}

// appendTimes appends the four times in the order of the disk.
func (l *Layout) appendTimes(b []byte, f int32) []byte {
	created, written, changed, accessed := l.opt.Time, l.opt.Time, l.opt.Time, l.opt.Time
	if info := l.files[f].info; info != nil {
		created, written, changed, accessed = info.Created, info.Written, info.Changed, info.Accessed
		if changed == 0 {
			changed = written
		}
	}
	b = le.AppendUint64(b, uint64(created))
	b = le.AppendUint64(b, uint64(written))
	b = le.AppendUint64(b, uint64(changed))
	return le.AppendUint64(b, uint64(accessed))
}

// appendStandardInformation appends the value of $STANDARD_INFORMATION.
func (l *Layout) appendStandardInformation(b []byte, f int32, size int64) []byte {
	at := len(b)
	b = l.appendTimes(b, f)
	b = le.AppendUint32(b, uint32(l.stored(f)))
	b = append(b, make([]byte, int(size)-(len(b)-at))...)
	if size == stdInfoSize {
		le.PutUint32(b[at+0x34:], l.files[f].security)
	}
	return b
}

// dataSizes returns the allocated and the data size of the unnamed data.
func (l *Layout) dataSizes(f int32) (allocated, size int64) {
	fl := &l.files[f]
	if fl.info == nil {
		if r := l.systemRegion(fl.record); r != nil {
			return align(r.size, int64(l.geometry.clusterSize)), r.size
		}
		return 0, 0
	}
	size = fl.info.Size()
	switch {
	case fl.pointer >= 0:
		return 0, size
	case fl.flags&fileDataResident != 0:
		return align(size, 8), size
	}
	return align(size, int64(l.geometry.clusterSize)), size
}

// systemRegion holds the unnamed data of a system file.
func (l *Layout) systemRegion(record uint32) *region {
	r := &l.region
	return map[uint32]*region{recMFT: &r.mft, recMFTMirr: &r.mirror, recLogFile: &r.log, recAttrDef: &r.attrDef,
		recBitmap: &r.bitmap, recBoot: &r.boot, recUpCase: &r.upcase}[record]
}

// appendFileName appends a $FILE_NAME, which is the same in the record and in the index.
func (l *Layout) appendFileName(b []byte, n int32) []byte {
	nm := &l.links[n]
	f := nm.file
	fl := &l.files[f]
	b = le.AppendUint64(b, uint64(l.ref(l.dirs[nm.dir].file)))
	b = l.appendTimes(b, f)
	attributes := l.stored(f)
	var allocated, size int64
	if fl.dir != none {
		attributes |= fileNameDirectory
	} else {
		allocated, size = l.dataSizes(f)
	}
	b = le.AppendUint64(b, uint64(allocated))
	b = le.AppendUint64(b, uint64(size))
	b = le.AppendUint32(b, uint32(attributes))
	var union uint32
	switch {
	case attributes&winfile.AttrReparse != 0:
		union = l.reparseTag(f)
	case fl.info != nil && fl.info.Extra != nil:
		union = uint32(packedEASize(fl.info.Extra.EAs))
	}
	b = le.AppendUint32(b, union)
	b = append(b, nm.units, nm.space)
	return winfile.AppendUTF16LE(b, nm.name)
}

// eaSize is the size of an entry of $EA.
func eaSize(ea *winfile.EA) int { return align(8+len(ea.Name)+1+len(ea.Value), 4) }

// packedEASize is the size of extended attributes in $EA_INFORMATION and $FILE_NAME.
func packedEASize(eas []winfile.EA) uint16 {
	n := 0
	for i := range eas {
		n += 5 + len(eas[i].Name) + len(eas[i].Value)
	}
	return uint16(n)
}

func appendEAInformation(b []byte, eas []winfile.EA) []byte {
	need, size := 0, 0
	for i := range eas {
		if eas[i].Flags&0x80 != 0 {
			need++
		}
		size += eaSize(&eas[i])
	}
	b = le.AppendUint16(b, packedEASize(eas))
	b = le.AppendUint16(b, uint16(need))
	return le.AppendUint32(b, uint32(size))
}

func appendEAs(b []byte, eas []winfile.EA) []byte {
	for i := range eas {
		ea := &eas[i]
		at, n := len(b), eaSize(ea)
		b = le.AppendUint32(b, uint32(n))
		b = append(b, ea.Flags, byte(len(ea.Name)))
		b = le.AppendUint16(b, uint16(len(ea.Value)))
		b = append(append(b, ea.Name...), 0)
		b = append(b, ea.Value...)
		b = append(b, make([]byte, at+n-len(b))...)
	}
	return b
}

// appendBits appends a bitmap value of n set bits.
func appendBits(b []byte, n, size int64) []byte {
	at := len(b)
	b = append(b, make([]byte, size)...)
	setBits(b[at:], n)
	return b
}

// setBits sets the first n bits of b.
func setBits(b []byte, n int64) {
	for i := range n / 8 {
		b[i] = 0xff
	}
	if n%8 != 0 {
		b[n/8] |= 1<<(n%8) - 1
	}
}

// appendListed appends the value of the $ATTRIBUTE_LIST of a file with these attributes.
func (l *Layout) appendListed(b []byte, f int32, attrs []attr) []byte {
	fl := &l.files[f]
	instances := make([]uint16, int(fl.exts)+1)
	for i := range attrs {
		a := &attrs[i]
		slot := l.places[int(fl.place)+i].slot
		instance := instances[slot]
		instances[slot]++
		if a.typ == typeAttributeList {
			continue
		}
		at := len(b)
		b = le.AppendUint32(b, uint32(a.typ))
		b = le.AppendUint16(b, uint16(listEntrySize(a)))
		b = append(b, byte(utf16Length(a.name)), 0x1a)
		b = le.AppendUint64(b, 0) // lowest VCN
		record := l.extRecord(f, slot)
		b = le.AppendUint64(b, uint64(makeRef(uint64(record), recordSequence(record))))
		b = le.AppendUint16(b, instance)
		b = winfile.AppendUTF16LE(b, a.name)
		b = append(b, make([]byte, at+listEntrySize(a)-len(b))...)
	}
	return b
}

// appendValue appends the value of an attribute, except contents from the tree.
func (l *Layout) appendValue(b []byte, f int32, attrs []attr, a *attr) []byte {
	fl := &l.files[f]
	switch {
	case a.value != nil:
		return append(b, a.value...)
	case a.typ == typeStandardInformation:
		return l.appendStandardInformation(b, f, a.size)
	case a.typ == typeAttributeList:
		return l.appendListed(b, f, attrs)
	case a.typ == typeFileName:
		return l.appendFileName(b, a.link)
	case a.typ == typeObjectID:
		return append(b, fl.info.Extra.ObjectID[:16]...)
	case a.typ == typeIndexRoot && fl.dir != none:
		x := l.dirIndex(fl.dir)
		return x.appendRoot(b, l.geometry.clusterSize)
	case a.typ == typeIndexRoot:
		for v := range viewCount {
			if a.index == &l.views[v] {
				x := l.view(v)
				return x.appendRoot(b, l.geometry.clusterSize)
			}
		}
	case a.typ == typeBitmap:
		return appendBits(b, a.index.count(), a.size)
	case a.typ == typeReparsePoint && fl.pointer >= 0:
		return append(b, l.pointers[fl.pointer:int(fl.pointer)+int(a.size)]...)
	case a.typ == typeReparsePoint:
		return append(b, fl.info.Reparse.Buffer()...)
	case a.typ == typeEAInformation:
		return appendEAInformation(b, fl.info.Extra.EAs)
	case a.typ == typeEA:
		return appendEAs(b, fl.info.Extra.EAs)
	case a.typ == typeData && a.size == 0:
		return b
	}
	panic(fmt.Sprintf("ntfs: internal error: record %d has a %v without a value", fl.record, a.typ))
}

// recordFlags are those of a file's base record.
func (l *Layout) recordFlags(f int32) uint16 {
	fl := &l.files[f]
	flags := recordInUse
	if fl.dir != none {
		flags |= recordDirectory
	}
	if fl.info == nil {
		flags |= systemFlags[fl.record]
	}
	return flags
}

// putHeader starts a record. Its attributes follow from firstAttrOffset on.
func putHeader(b []byte, record uint32, sequence, links, flags uint16, base fileRef) {
	copy(b, "FILE")
	le.PutUint16(b[4:], recordUSA)
	le.PutUint16(b[6:], uint16(len(b)/sectorStride+1))
	le.PutUint16(b[0x10:], sequence)
	le.PutUint16(b[0x12:], links)
	le.PutUint16(b[0x14:], uint16(firstAttrOffset(len(b))))
	le.PutUint16(b[0x16:], flags)
	le.PutUint32(b[0x1c:], uint32(len(b)))
	le.PutUint64(b[0x20:], uint64(base))
	le.PutUint32(b[0x2c:], record)
}

// finishRecord ends the attributes at used and protects the record.
func finishRecord(b []byte, used int, instances uint16) {
	le.PutUint32(b[used:], uint32(typeEnd))
	le.PutUint32(b[0x18:], uint32(used+8))
	le.PutUint16(b[0x28:], instances)
	protect(b, 1)
}

// putFree makes a record that is not in use.
func putFree(b []byte, record uint32) {
	putHeader(b, record, recordSequence(record), 0, 0, 0)
	finishRecord(b, firstAttrOffset(len(b)), 0)
}

// putRecord makes the base record of a file (slot 0) or an extension record in b, which is zero. Contents that are resident come from
// resident.
func (l *Layout) putRecord(b []byte, f int32, slot uint16, attrs []attr, resident []byte) {
	fl := &l.files[f]
	record := l.extRecord(f, slot)
	if slot == 0 {
		putHeader(b, record, recordSequence(record), fl.names, l.recordFlags(f), 0)
	} else {
		putHeader(b, record, recordSequence(record), 0, recordInUse, l.ref(f))
	}
	at := firstAttrOffset(len(b))
	limit := len(b) - 8
	var instance uint16
	for i := range attrs {
		p := &l.places[int(fl.place)+i]
		if p.slot != slot {
			continue
		}
		v := l.appendAttr(b[at:at:limit], f, attrs, &attrs[i], p, instance, resident)
		if len(v) > limit-at {
			panic(fmt.Sprintf("ntfs: internal error: record %d overflows by %d bytes", record, len(v)-(limit-at)))
		}
		at += len(v)
		instance++
	}
	finishRecord(b, at, instance)
}

// appendAttr appends an attribute.
func (l *Layout) appendAttr(b []byte, f int32, attrs []attr, a *attr, p *place, instance uint16, resident []byte) []byte {
	header := headerSize(a, p.resident)
	nameLen := utf16Length(a.name)
	nameAt := 0
	if nameLen > 0 {
		nameAt = header - align(2*nameLen, 8)
	}
	b = le.AppendUint32(b, uint32(a.typ))
	b = le.AppendUint32(b, 0)
	b = append(b, 0, byte(nameLen))
	b = le.AppendUint16(b, uint16(nameAt))
	b = le.AppendUint16(b, a.flags)
	b = le.AppendUint16(b, instance)
	if p.resident {
		b = le.AppendUint32(b, uint32(a.size))
		b = le.AppendUint16(b, uint16(header))
		indexed := byte(0)
		if a.typ == typeFileName {
			indexed = 1
		}
		b = append(b, indexed, 0)
	} else {
		b[8] = 1
		b = l.appendNonResident(b, a, header)
	}
	b = winfile.AppendUTF16LE(b, a.name)
	b = append(b, make([]byte, header-len(b))...)
	switch {
	case !p.resident:
		b = l.appendMappingPairs(b, a, p)
	case a.blob != nil:
		b = append(b, resident[p.at:p.at+a.size]...)
	default:
		b = l.appendValue(b, f, attrs, a)
		if int64(len(b)-header) != a.size {
			panic(fmt.Sprintf("ntfs: internal error: %v of %d bytes, planned with %d", a.typ, len(b)-header, a.size))
		}
	}
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	le.PutUint32(b[4:], uint32(len(b)))
	return b
}

// appendNonResident appends the part of a non-resident header that follows the common one.
func (l *Layout) appendNonResident(b []byte, a *attr, header int) []byte {
	allocated := l.allocated(a)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint64(b, uint64(allocated/int64(l.geometry.clusterSize)-1))
	b = le.AppendUint16(b, uint16(header))
	var unit uint16
	if a.flags&attrFlagSparse != 0 && l.geometry.clusterSize <= 4096 {
		unit = 4
	}
	b = le.AppendUint16(b, unit)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(allocated))
	b = le.AppendUint64(b, uint64(a.size))
	initialized := a.size
	if a.isHole && a.flags == 0 { // $BadClus:$Bad
		initialized = 0
	}
	b = le.AppendUint64(b, uint64(initialized))
	if a.flags&attrFlagSparse != 0 {
		b = le.AppendUint64(b, 0) // really allocated
	}
	return b
}

func (l *Layout) appendMappingPairs(b []byte, a *attr, p *place) []byte {
	clusters := l.allocated(a) / int64(l.geometry.clusterSize)
	switch {
	case clusters == 0:
		return append(b, 0)
	case a.isHole:
		return appendRuns(b, run{hole, clusters})
	case a.region != nil:
		return appendRuns(b, run{a.region.lcn, clusters})
	}
	return appendRuns(b, run{LCN(p.at), clusters})
}
