package ntfs

import (
	"bytes"
	"slices"
)

// listEntry is one entry of an $ATTRIBUTE_LIST, cut to its length.
type listEntry []byte

const listEntryHeader = 0x1a

func (e listEntry) typ() attrType      { return attrType(le.Uint32(e)) }
func (e listEntry) lowest() VCN        { return VCN(le.Uint64(e[8:])) }
func (e listEntry) reference() fileRef { return fileRef(le.Uint64(e[0x10:])) }
func (e listEntry) instance() uint16   { return le.Uint16(e[0x18:]) }
func (e listEntry) name() []byte {
	off := int(e[7])
	return e[off : off+2*int(e[6])]
}

// parseAttributeList splits the value of the $ATTRIBUTE_LIST of record n.
func parseAttributeList(b []byte, n int64) ([]listEntry, error) {
	var list []listEntry
	what := "attribute list of " + recordName(n)
	for off := 0; off < len(b); {
		rest := b[off:]
		if len(rest) < listEntryHeader {
			return list, formatError(what, off, "entry of %d bytes, want at least %d", len(rest), listEntryHeader)
		}
		length := int(le.Uint16(rest[4:]))
		if length < listEntryHeader || length > len(rest) {
			return list, formatError(what, off+4, "entry of %d bytes, want %d to %d", length, listEntryHeader, len(rest))
		}
		if nameOff, nameLen := int(rest[7]), 2*int(rest[6]); nameLen > 0 && nameOff > length-nameLen || nameOff > length {
			return list, formatError(what, off+6, "%d bytes of name at %#x of %d", nameLen, nameOff, length)
		}
		list = append(list, listEntry(rest[:length]))
		off += length
	}
	return list, nil
}

// fileAttrs returns every attribute of the file whose base record is r: its own, or those its attribute list names, in the
// order of the list. On an error it returns those that it found.
func (v *Volume) fileAttrs(r fileRecord, n int64) ([]fileAttr, error) {
	own, err := r.appendAttrs(nil, n)
	if err != nil {
		return own, err
	}
	i := slices.IndexFunc(own, func(a fileAttr) bool { return a.typ() == typeAttributeList })
	if i < 0 {
		return own, nil
	}
	list, err := v.attributeList(own, i)
	if err != nil {
		return own, err
	}
	all, err := v.resolveList(r, n, own, list)
	return append(all, own[i]), err
}

// attributeList reads the $ATTRIBUTE_LIST own[i].
func (v *Volume) attributeList(own []fileAttr, i int) ([]listEntry, error) {
	s, err := v.openStream(own[:i+1], i)
	if err != nil {
		return nil, err
	}
	b, err := s.readAll(maxListSize)
	if err != nil {
		return nil, err
	}
	return parseAttributeList(b, own[i].holder)
}

// resolveList finds the attributes that list names. own are those of the base record r, number n.
func (v *Volume) resolveList(r fileRecord, n int64, own []fileAttr, list []listEntry) ([]fileAttr, error) {
	all := make([]fileAttr, 0, len(list)+1)
	held := map[int64][]fileAttr{n: slices.Clone(own)}
	self := makeRef(uint64(n), r.sequence())
	for i, e := range list {
		ref := e.reference()
		num := int64(ref.record())
		attrs, ok := held[num]
		if !ok {
			x, err := v.readRecord(num)
			if err != nil {
				return all, err
			}
			if !x.inUse() || x.base() != self || x.sequence() != ref.sequence() {
				return all, formatError(recordName(num), 0x20, "record in use %t, base %v, sequence %d; entry %d of the attribute list of record %d wants base %v, sequence %d",
					x.inUse(), x.base(), x.sequence(), i, n, self, ref.sequence())
			}
			if attrs, err = x.appendAttrs(nil, num); err != nil {
				return all, err
			}
		} else if num == n && ref != self {
			return all, formatError(recordName(n), 0x10, "sequence %d, entry %d of its attribute list wants %d", r.sequence(), i, ref.sequence())
		}
		j := slices.IndexFunc(attrs, func(a fileAttr) bool { return e.names(a) })
		if j < 0 {
			return all, formatError("attribute list of "+recordName(n), 0, "entry %d: no %v, instance %d, in record %d", i, e.typ(), e.instance(), num)
		}
		all = append(all, attrs[j])
		held[num] = slices.Delete(attrs, j, j+1) // each attribute once
	}
	return all, nil
}

// names reports whether e stands for a.
func (e listEntry) names(a fileAttr) bool {
	var lowest VCN
	if a.nonResident() {
		lowest = a.lowestVCN()
	}
	return e.typ() == a.typ() && e.instance() == a.instance() && e.lowest() == lowest && bytes.Equal(e.name(), a.name())
}
