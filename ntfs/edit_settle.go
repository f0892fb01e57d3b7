package ntfs

import (
	"errors"
	"fmt"
	"slices"

	"husk/winfile"
)

// finish puts a changed file back: the facts that follow from others, its record, and what the indexes of its directories repeat.
func (e *Editor) finish(f *editFile) error {
	if s := e.standard(f); s != nil {
		le.PutUint64(s[0x10:], uint64(e.now()))
	}
	if err := e.settle(f); err != nil {
		return err
	}
	if err := e.save(f, rankFile); err != nil {
		return err
	}
	return e.updateNames(f)
}

// settle computes what follows from the attributes: bits of $STANDARD_INFORMATION, and what each $FILE_NAME repeats.
func (e *Editor) settle(f *editFile) error {
	s := e.standard(f)
	if s == nil {
		return fmt.Errorf("record %d has no $STANDARD_INFORMATION: the volume is damaged", f.n)
	}
	bits := winfile.Attributes(le.Uint32(s[0x20:])) &^ (winfile.AttrSparse | winfile.AttrReparse)
	for _, a := range f.attrs {
		switch {
		case a.typ() == typeReparsePoint:
			bits |= winfile.AttrReparse
		case a.typ() == typeData && a.flags()&attrFlagSparse != 0:
			bits |= winfile.AttrSparse
		}
		if a.typ() == typeData && a.nameLength() == 0 && !a.continues() {
			bits &^= winfile.AttrCompressed
			if a.flags()&attrFlagMask != 0 {
				bits |= winfile.AttrCompressed
			}
		}
	}
	le.PutUint32(s[0x20:], uint32(bits))
	if _, err := e.shrink(f); err != nil { // sizes depend on what is in the record
		return err
	}
	facts, err := e.facts(f)
	if err != nil {
		return err
	}
	for i := range f.attrs {
		a := &f.attrs[i]
		if a.typ() != typeFileName {
			continue
		}
		if a.nonResident() || fileName(a.value()).check() != nil {
			return fmt.Errorf("record %d has a damaged $FILE_NAME", f.n)
		}
		if v := a.value(); string(v[8:0x40]) != string(facts[:]) {
			copy(v[8:], facts[:])
			a.changed = true
		}
	}
	return nil
}

// facts is what a $FILE_NAME repeats of its file: bytes 0x08 to 0x3f.
func (e *Editor) facts(f *editFile) (facts [0x38]byte, err error) {
	s := e.standard(f)
	copy(facts[:], s[:0x20])
	attributes := winfile.Attributes(le.Uint32(s[0x20:]))
	if e.attr(f, typeIndexRoot, "$I30") != nil {
		attributes |= fileNameDirectory
	} else if a := e.attr(f, typeData, ""); a != nil {
		allocated := align(a.size(), 8)
		if a.nonResident() {
			allocated = a.allocatedSize()
			if a.flags()&(attrFlagSparse|attrFlagMask) != 0 {
				if len(a.attribute) < sparseHeader {
					return facts, fmt.Errorf("record %d: $DATA has a short header", f.n)
				}
				allocated = a.totalAllocated()
			}
		}
		le.PutUint64(facts[0x20:], uint64(allocated))
		le.PutUint64(facts[0x28:], uint64(a.size()))
	}
	le.PutUint32(facts[0x30:], uint32(attributes))
	b, err := e.reparseOf(f)
	switch a := e.attr(f, typeEAInformation, ""); {
	case err != nil:
		return facts, err
	case len(b) >= 4:
		copy(facts[0x34:], b[:4])
	case a != nil && !a.nonResident() && a.valueLength() >= 2:
		copy(facts[0x34:], a.value()[:2])
	}
	return facts, nil
}

// updateNames brings the index entries of a file up to date.
func (e *Editor) updateNames(f *editFile) error {
	for _, a := range f.attrs {
		if a.typ() != typeFileName {
			continue
		}
		key := fileName(a.value())
		d, err := e.load(int64(key.parent().record()))
		if err != nil {
			return err
		}
		if d.ref() != key.parent() {
			return fmt.Errorf("the directory of record %d is %v, there is %v: the volume is damaged", f.n, key.parent(), d.ref())
		}
		x, err := e.openEditIndex(d, "$I30")
		if err != nil {
			return err
		}
		err = x.change(key, func(entry nodeEntry) error {
			if entry.ref() != f.ref() {
				return fmt.Errorf("the index of record %d has %v for a name of %v: the volume is damaged", d.n, entry.ref(), f.ref())
			}
			copy(entry[indexEntryHeader+8:], key[8:0x40])
			return nil
		})
		if err != nil {
			return err
		}
		if err := e.saveIndex(d); err != nil {
			return err
		}
	}
	return nil
}

// indexReparse adds the file to $Extend\$Reparse:$R, or takes it out. What is there, or is not, already is left.
func (e *Editor) indexReparse(f *editFile, tag uint32, add bool) error {
	if e.reparseRecord == 0 {
		if !add {
			return nil
		}
		return fmt.Errorf("the volume has no $Extend\\$Reparse: %w", errors.ErrUnsupported)
	}
	key := le.AppendUint64(le.AppendUint32(nil, tag), uint64(f.ref()))
	return e.changeView(e.reparseRecord, "$R", key, nil, add, true)
}

// changeView adds an entry to an index of a system file, or takes it out. lax lets it be there, or not, before.
func (e *Editor) changeView(n int64, name string, key, data []byte, add, lax bool) error {
	s, err := e.load(n)
	if err != nil {
		return err
	}
	x, err := e.openEditIndex(s, name)
	if err != nil {
		return err
	}
	if add {
		err = x.insert(appendViewEntry(nil, key, data))
	} else {
		err = x.remove(key)
	}
	switch {
	case lax && (errors.Is(err, errKeyExists) || errors.Is(err, errNoKey)):
		return nil
	case err != nil:
		return err
	}
	return e.saveIndex(s)
}

// saveIndex puts back a file whose index has changed, unless only blocks of it have.
func (e *Editor) saveIndex(f *editFile) error {
	if f.resize || slices.ContainsFunc(f.attrs, func(a editAttr) bool { return a.changed }) {
		return e.save(f, rankIndex)
	}
	return nil
}
