package ntfs

import (
	"fmt"

	"husk/winfile"
)

// startAttr starts an attribute: the common header, room for the rest of it, and the name.
func startAttr(typ attrType, name string, flags uint16, nonResident bool) attribute {
	a := attr{name: name, flags: flags}
	header := headerSize(&a, !nonResident)
	b := make([]byte, header)
	le.PutUint32(b, uint32(typ))
	if nonResident {
		b[8] = 1
	}
	if n := utf16Length(name); n > 0 {
		at := header - align(2*n, 8)
		b[9] = byte(n)
		le.PutUint16(b[0xa:], uint16(at))
		winfile.AppendUTF16LE(b[:at], name)
	}
	le.PutUint16(b[0xc:], flags)
	return b
}

// finishAttr pads an attribute and notes its length.
func finishAttr(b attribute) attribute {
	b = append(b, make([]byte, align(len(b), 8)-len(b))...)
	le.PutUint32(b[4:], uint32(len(b)))
	return b
}

// residentAttr makes a resident attribute.
func residentAttr(typ attrType, name string, flags uint16, value []byte) attribute {
	b := startAttr(typ, name, flags, false)
	le.PutUint32(b[0x10:], uint32(len(value)))
	le.PutUint16(b[0x14:], uint16(len(b)))
	if typ == typeFileName {
		b[0x16] = 1
	}
	return finishAttr(append(b, value...))
}

// sizes of a non-resident attribute in bytes.
type sizes struct {
	data, initialized int64
	unit              byte // log2 of the clusters of a compression unit
}

// outsideAttr makes a non-resident attribute: one extent, or several if its runs are many.
func (e *Editor) outsideAttr(typ attrType, name string, flags uint16, runs []run, s sizes) []attribute {
	cs := int64(e.v.ClusterSize)
	var clusters, real int64
	for _, r := range runs {
		clusters += r.clusters
		if r.lcn != hole {
			real += r.clusters
		}
	}
	most := e.room() / 2 // bytes of mapping pairs in an extent
	var list []attribute
	vcn := int64(0)
	for first := true; first || len(runs) > 0; first = false {
		n, used, covered := 0, 1, int64(0)
		for from := LCN(0); n < len(runs); n++ {
			r := runs[n]
			used += 1 + signedBytes(r.clusters)
			if r.lcn != hole {
				used += signedBytes(int64(r.lcn - from))
				from = r.lcn
			}
			if used > most {
				break
			}
			covered += r.clusters
		}
		headerFlags := flags
		if !first {
			headerFlags &^= attrFlagSparse | attrFlagMask // its header is the short one
		}
		b := startAttr(typ, name, headerFlags, true)
		le.PutUint16(b[0xc:], flags)
		le.PutUint64(b[0x10:], uint64(vcn))
		le.PutUint64(b[0x18:], uint64(vcn+covered-1))
		le.PutUint16(b[0x20:], uint16(len(b)))
		if first {
			b[0x22] = s.unit
			le.PutUint64(b[0x28:], uint64(clusters*cs))
			le.PutUint64(b[0x30:], uint64(s.data))
			le.PutUint64(b[0x38:], uint64(s.initialized))
			if flags&(attrFlagSparse|attrFlagMask) != 0 {
				le.PutUint64(b[0x40:], uint64(real*cs))
			}
		}
		list = append(list, finishAttr(appendRuns(b, runs[:n]...)))
		runs, vcn = runs[n:], vcn+covered
	}
	return list
}

// movable is how many bytes a record has more when the value of a is outside it: at least.
func movable(a attribute) int {
	if a.nonResident() {
		return 0
	}
	switch a.typ() {
	case typeData, typeEA, typeSecurityDescriptor, typeBitmap:
	case typeReparsePoint:
		if a.valueLength() <= listInline {
			return 0
		}
	default:
		return 0
	}
	const pairs = 24 // one run takes at most 18 bytes; space for two
	name := 0
	if n := len(a.name()); n > 0 {
		name = align(n, 8)
	}
	return max(0, len(a)-(nonResidentHeader+name+pairs))
}

// moveOut moves the value of the resident attribute f.attrs[i] to clusters, and returns how many bytes the record has more.
func (e *Editor) moveOut(f *editFile, i int) (int, error) {
	a := f.attrs[i].attribute
	runs, err := e.newClusters(a.value())
	if err != nil {
		return 0, err
	}
	n := int64(a.valueLength())
	name := winfile.NameFromUTF16LE(a.name())
	out := e.outsideAttr(a.typ(), name, 0, runs, sizes{data: n, initialized: n})
	e.replace(f, a.typ(), name, out...)
	size := 0
	for _, o := range out {
		size += len(o)
	}
	if size >= len(a) {
		return 0, fmt.Errorf("%v of %d bytes needs %d runs: the volume is too fragmented", a.typ(), n, len(runs))
	}
	return len(a) - size, nil
}

// newClusters writes a value to clusters that are free on the disk.
func (e *Editor) newClusters(value []byte) ([]run, error) {
	cs := int64(e.v.ClusterSize)
	runs, err := e.allocate((int64(len(value))+cs-1)/cs, 0)
	if err != nil {
		return nil, err
	}
	padded := make([]byte, align(int64(len(value)), cs))
	copy(padded, value)
	for _, r := range runs {
		n := r.clusters * cs
		if err := e.writeData(padded[:n], int64(r.lcn)*cs); err != nil {
			return nil, err
		}
		padded = padded[n:]
	}
	return runs, nil
}
