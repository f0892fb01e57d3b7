package ntfs

import (
	"errors"
	"fmt"

	"husk/winfile"
)

func formatError(what string, off int, format string, args ...any) error {
	return &FormatError{what, int64(off), fmt.Errorf(format, args...)}
}

func (r fileRecord) number() uint32 { return le.Uint32(r[0x2c:]) } // NTFS 3.1 only
func (r fileRecord) inUse() bool    { return r.flags()&recordInUse != 0 }

// String returns "record-sequence".
func (r fileRef) String() string { return fmt.Sprintf("%d-%d", r.record(), r.sequence()) }

// errUnusedRecord marks a record of zeros, which Windows leaves in free parts of the MFT.
var errUnusedRecord = errors.New("record is all zeros")

// openRecord undoes the fixups of record n in place and checks its header.
func openRecord(b []byte, n int64) (fileRecord, error) {
	if le.Uint32(b) == 0 {
		return nil, errUnusedRecord
	}
	if err := unprotect(b, "FILE"); err != nil {
		return nil, &FormatError{recordName(n), 0, err}
	}
	return fileRecord(b), fileRecord(b).check(n)
}

// check makes sure that the header's offsets lie inside record n.
func (r fileRecord) check(n int64) error {
	if u := r.used(); u > uint32(len(r)) || u < recordUSA {
		return formatError(recordName(n), 0x18, "%d bytes in use, want %d to %d", u, recordUSA, len(r))
	}
	if f := r.firstAttr(); f < recordUSA-6 || uint32(f) > r.used() { // NTFS 1.2 has 6 bytes less
		return formatError(recordName(n), 0x14, "first attribute at %#x, want %#x to %#x", f, recordUSA-6, r.used())
	}
	return nil
}

func recordName(n int64) string { return fmt.Sprintf("record %d", n) }

// fileAttr is an attribute, cut to its length, and where it was found. attrAt checked that what the methods read lies inside.
type fileAttr struct {
	attribute
	off    int   // in its MFT record
	holder int64 // number of that record
}

// name returns the UTF-16LE bytes of the attribute's name, empty if it has none.
func (a attribute) name() []byte {
	n := 2 * a.nameLength()
	if n == 0 {
		return nil
	}
	off := int(a.nameOffset())
	return a[off : off+n]
}

// value returns the content of a resident attribute.
func (a attribute) value() []byte {
	off := int(a.valueOffset())
	return a[off : off+int(a.valueLength())]
}

// size is the length of the content in bytes; in continuation extents it is 0.
func (a attribute) size() int64 {
	if a.nonResident() {
		return a.dataSize()
	}
	return int64(a.valueLength())
}

// mappingPairs returns the run list and the padding behind it.
func (a attribute) mappingPairs() []byte { return a[a.runsOffset():] }

// continues reports whether a is a later extent of an attribute that starts elsewhere.
func (a attribute) continues() bool { return a.nonResident() && a.lowestVCN() != 0 }

func (a fileAttr) String() string {
	s := a.typ().String()
	if n := a.name(); len(n) > 0 {
		s += fmt.Sprintf(" %q", winfile.NameFromUTF16LE(n))
	}
	return recordName(a.holder) + ": " + s
}

// fail reports what is wrong at off of the attribute record.
func (a fileAttr) fail(off int, format string, args ...any) error {
	return formatError(a.String(), a.off+off, format, args...)
}

// attrAt returns the attribute at off of record n, or ok false at the end marker.
func (r fileRecord) attrAt(off int, n int64) (a fileAttr, ok bool, err error) {
	used := int(r.used())
	if off > used-4 {
		return a, false, formatError(recordName(n), off, "no end marker within the %d bytes in use", used)
	}
	typ := attrType(le.Uint32(r[off:]))
	if typ == typeEnd {
		return a, false, nil
	}
	if off > used-residentHeader {
		return a, false, formatError(recordName(n), off, "header of %v leaves the %d bytes in use", typ, used)
	}
	length := le.Uint32(r[off+4:])
	if length < residentHeader || length > uint32(used-off) || length%8 != 0 {
		return a, false, formatError(recordName(n), off+4, "%v is %d bytes long, want a multiple of 8 up to %d", typ, length, used-off)
	}
	a = fileAttr{attribute(r[off : off+int(length)]), off, n}
	return a, true, a.check()
}

// check makes sure that the header, name, value and mapping pairs lie inside the attribute record.
func (a fileAttr) check() error {
	size := len(a.attribute)
	fail := func(off int, format string, args ...any) error {
		return formatError(recordName(a.holder)+": "+a.typ().String(), a.off+off, format, args...)
	}
	if n, off := 2*a.nameLength(), int(a.nameOffset()); n > 0 && (n > size || off > size-n) {
		return fail(9, "%d bytes of name at %#x of its %d", n, off, size)
	}
	if !a.nonResident() {
		if n, off := a.valueLength(), int(a.valueOffset()); n > uint32(size) || off > size-int(n) {
			return fail(0x10, "%d bytes of value at %#x of its %d", n, off, size)
		}
		return nil
	}
	if size < nonResidentHeader {
		return fail(4, "non-resident and %d bytes long, want at least %d", size, nonResidentHeader)
	}
	if off := int(a.runsOffset()); off < nonResidentHeader || off > size {
		return fail(0x20, "mapping pairs at %#x, want %#x to %#x", off, nonResidentHeader, size)
	}
	if a.lowestVCN() < 0 || a.highestVCN() < a.lowestVCN()-1 {
		return fail(0x10, "maps clusters %d to %d", a.lowestVCN(), a.highestVCN())
	}
	if a.lowestVCN() == 0 && (a.dataSize() < 0 || a.initializedSize() < 0 || a.allocatedSize() < 0) {
		return fail(0x28, "negative sizes")
	}
	return nil
}

// appendAttrs adds the attributes of record n to list.
func (r fileRecord) appendAttrs(list []fileAttr, n int64) ([]fileAttr, error) {
	for off := int(r.firstAttr()); ; {
		a, ok, err := r.attrAt(off, n)
		if err != nil || !ok {
			return list, err
		}
		list = append(list, a)
		off += len(a.attribute)
	}
}
