package ntfs

import (
	"math"
	"math/bits"

	"husk/winfile"
)

// attrDefs are the rows of $AttrDef.
var attrDefs = []struct {
	typ      attrType
	flags    uint32 // 0x02 may be indexed, 0x40 always resident, 0x80 may be outside the record
	min, max int64
}{
	{typeStandardInformation, 0x40, stdInfoSizeV1, stdInfoSize},
	{typeAttributeList, 0x80, 0, -1},
	{typeFileName, 0x42, fileNameSize + 2, fileNameSize + 2*256},
	{typeObjectID, 0x40, 0, 256},
	{typeSecurityDescriptor, 0x80, 0, -1},
	{typeVolumeName, 0x40, 2, 256},
	{typeVolumeInformation, 0x40, volumeInfoSize, volumeInfoSize},
	{typeData, 0, 0, -1},
	{typeIndexRoot, 0x40, 0, -1},
	{typeIndexAllocation, 0x80, 0, -1},
	{typeBitmap, 0x80, 0, -1},
	{typeReparsePoint, 0x80, 0, winfile.MaxReparse},
	{typeEAInformation, 0x40, 8, 8},
	{typeEA, 0, 0, maxEASize},
	{typeLoggedUtilityStream, 0x80, 0, 65536},
}

const (
	attrDefRow  = 160
	attrDefSize = 16 * attrDefRow // and a row of zeros
)

// attrDefTable is the content of $AttrDef.
func attrDefTable() []byte {
	b := make([]byte, attrDefSize)
	for i, d := range attrDefs {
		row := b[i*attrDefRow:]
		winfile.AppendUTF16LE(row[:0], d.typ.String())
		le.PutUint32(row[0x80:], uint32(d.typ))
		le.PutUint32(row[0x8c:], d.flags)
		le.PutUint64(row[0x90:], uint64(d.min))
		le.PutUint64(row[0x98:], uint64(d.max))
	}
	return b
}

// systemFlags are the record flags of system files that are not ordinary.
var systemFlags = map[uint32]uint16{
	recSecure:  recordView,
	recExtend:  recordDirectory,
	recQuota:   recordExtend | recordView,
	recObjID:   recordExtend | recordView,
	recReparse: recordExtend | recordView,
}

const systemFileAttributes = winfile.AttrHidden | winfile.AttrSystem

// ownDescriptor reports whether a system file has its descriptor itself and no security id, as Windows has it.
func ownDescriptor(record uint32) bool {
	return record == recBoot || record >= recReserved && record < firstUserRecord && record < recQuota
}

// systemAttributes lists the attributes of a system file other than the root directory.
func (l *Layout) systemAttributes(dst []attr, f int32) []attr {
	record := l.files[f].record
	own := ownDescriptor(record)
	info := attr{typ: typeStandardInformation, size: stdInfoSize}
	if own {
		info.size = stdInfoSizeV1
	}
	dst = append(dst, info)
	dst = l.nameAttributes(dst, f)
	if own {
		dst = append(dst, literal(typeSecurityDescriptor, "", systemDescriptor(accessRead)))
	}
	r := &l.region
	data := func(at *region) { dst = append(dst, attr{typ: typeData, size: at.size, region: at}) }
	switch record {
	case recMFT:
		data(&r.mft)
		dst = append(dst, attr{typ: typeBitmap, size: r.mftBitmap.size, region: &r.mftBitmap})
	case recMFTMirr:
		data(&r.mirror)
	case recLogFile:
		data(&r.log)
	case recAttrDef:
		data(&r.attrDef)
	case recBitmap:
		data(&r.bitmap)
	case recBoot:
		data(&r.boot)
	case recVolume:
		if len(l.label) > 0 {
			dst = append(dst, literal(typeVolumeName, "", appendUint16s(nil, l.label)))
		}
		dst = append(dst, literal(typeVolumeInformation, "", []byte{0, 0, 0, 0, 0, 0, 0, 0, volumeMajor, volumeMinor, 0, 0}))
		dst = append(dst, attr{typ: typeData})
	case recBadClus:
		dst = append(dst, attr{typ: typeData})
		dst = append(dst, attr{typ: typeData, name: "$Bad", size: l.geometry.clusters * int64(l.geometry.clusterSize), isHole: true})
	case recUpCase:
		data(&r.upcase)
		dst = append(dst, literal(typeData, "$Info", upcaseInfo()))
	case recSecure:
		dst = append(dst, attr{typ: typeData, name: "$SDS", size: r.sds.size, region: &r.sds})
		roots := l.viewAttributes(nil, viewSDH)
		roots = l.viewAttributes(roots, viewSII)
		for _, t := range []attrType{typeIndexRoot, typeIndexAllocation, typeBitmap} {
			for i := range roots {
				if roots[i].typ == t {
					dst = append(dst, roots[i])
				}
			}
		}
	case recExtend:
		dst = l.indexAttributes(dst, l.dirIndex(extendDir), 0)
	case recQuota:
		dst = l.viewAttributes(dst, viewQuotaO)
		dst = l.viewAttributes(dst, viewQuotaQ)
	case recObjID:
		dst = l.viewAttributes(dst, viewObjects)
	case recReparse:
		dst = l.viewAttributes(dst, viewReparse)
	default:
		dst = append(dst, attr{typ: typeData})
	}
	return dst
}

// literal is a resident attribute with this value.
func literal(t attrType, name string, value []byte) attr {
	return attr{typ: t, name: name, size: int64(len(value)), value: value}
}

// upcaseInfo is the content of $UpCase:$Info. The version of Windows in it is left zero.
func upcaseInfo() []byte {
	b := le.AppendUint64(nil, 32)
	b = le.AppendUint64(b, upcaseCRC(upcaseTable()))
	return append(b, make([]byte, 16)...)
}

func upcaseTable() []byte { return appendUint16s(make([]byte, 0, upcaseSize), winfile.UpCase()[:]) }

// planViews shapes the indexes of system files. Records have room for three entries of each in $Secure; the others have theirs alone.
func (l *Layout) planViews() {
	for v := range viewCount {
		x := l.view(v)
		room := 88 + 112 // header and root of the index, two entries of $SDH
		switch v {
		case viewQuotaO, viewQuotaQ:
			room = 300
		case viewObjects, viewReparse:
			room = l.recordRoom() - 256
		}
		l.planIndex(&x, room)
	}
}

func (l *Layout) viewAttributes(dst []attr, v int) []attr {
	return l.indexAttributes(dst, l.view(v), 0)
}

// view is an index of a system file.
func (l *Layout) view(v int) index {
	x := index{order: collateULongs, shape: &l.views[v]}
	fixed := func(name string, entries, key, data int, entry func(b []byte, i int) []byte) {
		x.name, x.entries, x.append = name, entries, entry
		x.length = func(int) int { return viewEntrySize(key, data) }
	}
	switch v {
	case viewSII:
		x.order = collateULong
		fixed("$SII", len(l.security.sds), 4, sdsHeaderSize, func(b []byte, i int) []byte {
			var data [sdsHeaderSize]byte
			return appendViewEntry(b, le.AppendUint32(nil, firstSecurityID+uint32(i)), l.security.header(data[:0], i))
		})
	case viewSDH:
		x.order = collateSecurityHash
		order := l.security.byHash()
		fixed("$SDH", len(order), 8, sdsHeaderSize, func(b []byte, i int) []byte {
			n := int(order[i])
			var data [sdsHeaderSize]byte
			b = appendViewEntry(b, l.security.header(data[:0], n)[:8:8], l.security.header(nil, n))
			copy(b[len(b)-4:], "I\x00I\x00") // Windows fills the padding so
			return b
		})
	case viewQuotaO:
		x.order = collateSID
		fixed("$O", 1, len(sidAdministrators), 4, func(b []byte, _ int) []byte {
			return appendViewEntry(b, sidAdministrators, le.AppendUint32(nil, firstQuotaOwner))
		})
	case viewQuotaQ:
		x.order = collateULong
		x.name, x.entries = "$Q", 2
		owners := [2]struct {
			id  uint32
			sid []byte
		}{{1, nil}, {firstQuotaOwner, sidAdministrators}} // 1 has the defaults
		x.length = func(i int) int { return viewEntrySize(4, quotaSize+len(owners[i].sid)) }
		x.append = func(b []byte, i int) []byte {
			return appendViewEntry(b, le.AppendUint32(nil, owners[i].id), l.quota(owners[i].sid))
		}
	case viewObjects:
		fixed("$O", len(l.objects), 16, 56, func(b []byte, i int) []byte {
			f := l.objects[i]
			id := l.files[f].info.Extra.ObjectID
			data := le.AppendUint64(nil, uint64(l.ref(f)))
			data = append(data, id[16:]...)
			return appendViewEntry(b, id[:16], append(data, make([]byte, 56-len(data))...))
		})
	case viewReparse:
		fixed("$R", len(l.reparse), 12, 0, func(b []byte, i int) []byte {
			f := l.reparse[i]
			var key [12]byte
			le.PutUint32(key[:], l.reparseTag(f))
			le.PutUint64(key[4:], uint64(l.ref(f)))
			return appendViewEntry(b, key[:], nil)
		})
	}
	return x
}

const (
	firstQuotaOwner = 0x100
	quotaSize       = 48 // without a SID
)

// quota is an entry of $Quota:$Q that limits nothing.
func (l *Layout) quota(sid []byte) []byte {
	b := le.AppendUint32(nil, 2) // version
	b = le.AppendUint32(b, 1)    // default limits
	b = le.AppendUint64(b, 0)    // bytes used
	b = le.AppendUint64(b, uint64(l.opt.Time))
	b = le.AppendUint64(b, math.MaxUint64) // threshold
	b = le.AppendUint64(b, math.MaxUint64) // limit
	b = le.AppendUint64(b, 0)              // time over the limit
	return append(b, sid...)
}

// bootCode says that the volume does not boot and stops the processor. It is position-independent but for the address of the text, which
// is that of a boot sector at 0x7c00.
var bootCode = []byte("\x31\xc0" + // xor ax, ax
	"\x8e\xd8" + // mov ds, ax
	"\xfc" + // cld
	"\xbe\x6d\x7c" + // mov si, text
	"\xac" + // next: lodsb
	"\x84\xc0" + // test al, al
	"\x74\x09" + // jz stop
	"\xb4\x0e" + // mov ah, 0x0e
	"\xbb\x07\x00" + // mov bx, 7
	"\xcd\x10" + // int 0x10
	"\xeb\xf2" + // jmp next
	"\xf4" + // stop: hlt
	"\xeb\xfd" + // jmp stop
	"This volume has no boot code.\r\n\x00")

// encodeCluster is the code of so many sectors per cluster: their number, or above 128 the power of two below 256.
func encodeCluster(sectors int) uint8 {
	if sectors <= 0x80 {
		return uint8(sectors)
	}
	return uint8(256 - bits.TrailingZeros(uint(sectors)))
}

// bootImage is the content of $Boot.
func (l *Layout) bootImage() []byte {
	g := &l.geometry
	b := bootSector{
		Jump: [3]byte{0xeb, 0x52, 0x90}, OEM: bootOEM, SectorSize: uint16(g.sectorSize), Media: 0xf8,
		SectorsPerTrack: 63, Heads: 255, HiddenSectors: l.opt.HiddenSectors, Drive: [4]byte{0x80, 0, 0x80, 0},
		Sectors: uint64(g.sectors), MFT: uint64(g.mft), MFTMirr: uint64(g.mirror),
		RecordSize: encodeUnit(g.recordSize, g.clusterSize), IndexSize: encodeUnit(g.indexSize, g.clusterSize),
		Serial: l.opt.Serial, Signature: [2]byte{0x55, 0xaa},
		SectorsPerCluster: encodeCluster(g.clusterSize / g.sectorSize),
	}
	copy(b.Code[:], bootCode)
	image := make([]byte, bootSize)
	if _, err := encodeBoot(image, &b); err != nil {
		panic("ntfs: internal error: " + err.Error())
	}
	if l.opt.BootSector != nil {
		const first, last = 3, 0x54
		fields := [last - first]byte(image[first:last])
		clear(image)
		copy(image, l.opt.BootSector)
		copy(image[first:], fields[:])
		copy(image[0x1fe:], b.Signature[:])
	}
	return image
}
