package ntfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"husk/winfile"
)

// Tree reads the whole volume: all names and metadata, contents as blobs to be read through v. It is one sequential scan of the
// MFT, not a walk through folders, and leaves out the system files: the records below 24 and what lies in $Extend. Children are
// in the order of their directory's index. What cannot be read or has no folder is left out, see [Volume.Warnings]. Each call
// reads anew and the tree is the caller's; it takes about 400 bytes of memory per file.
func (v *Volume) Tree(ctx context.Context) (*winfile.Tree, error) {
	sds, err := v.security()
	if err != nil {
		v.warn("$Secure: %v", err)
	}
	b := &treeBuilder{v: v, security: sds, inline: make(map[string][]byte)}
	if err := v.scan(ctx, b.record); err != nil {
		return nil, err
	}
	for _, n := range b.later {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		_, list, err := v.baseAttrs(n)
		if err != nil {
			v.lack(err)
		}
		b.file(n, list)
	}
	b.birthIDs()
	return b.build()
}

// scanSize is how much of the MFT is read at once: large against a disk's seek, small against memory.
const scanSize = 1 << 20

// scan calls fn with each record of the MFT in order, fixups undone: in use or not, base or extension. err tells why a record
// cannot be read; all-zero ones are skipped. The record is valid during the call. Reading runs ahead of fn.
func (v *Volume) scan(ctx context.Context, fn func(n int64, r fileRecord, err error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type piece struct {
		first int64 // record
		b     []byte
		err   error
	}
	each := min(scanSize/int64(v.RecordSize), v.records)
	full, free := make(chan piece), make(chan []byte, 3)
	for range cap(free) {
		free <- make([]byte, each*int64(v.RecordSize))
	}
	go func() {
		defer close(full)
		for first := int64(0); first < v.records; first += each {
			b := <-free
			b = b[:min(each, v.records-first)*int64(v.RecordSize)]
			_, err := v.mft.ReadAt(b, first*int64(v.RecordSize))
			if err == io.EOF {
				err = nil
			}
			select {
			case full <- piece{first, b, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range full {
		if p.err != nil {
			return p.err
		}
		for off := 0; off < len(p.b); off += v.RecordSize {
			n := p.first + int64(off/v.RecordSize)
			r, err := openRecord(p.b[off:off+v.RecordSize], n)
			if err == errUnusedRecord {
				continue
			}
			if err := fn(n, r, err); err != nil {
				return err
			}
		}
		free <- p.b[:cap(p.b)]
	}
	return ctx.Err()
}

// slab hands out pointers to T from large pieces: a hundred thousand files are some hundred allocations.
type slab[T any] struct{ free []T }

func (s *slab[T]) next() *T {
	if len(s.free) == 0 {
		s.free = make([]T, 512)
	}
	p := &s.free[0]
	s.free = s.free[1:]
	return p
}

// text packs short strings into large ones.
type text struct{ b strings.Builder }

func (t *text) add(s []byte) string {
	const piece = 32 << 10
	if t.b.Cap()-t.b.Len() < len(s) {
		t.b = strings.Builder{}
		t.b.Grow(piece)
	}
	at := t.b.Len()
	t.b.Write(s)
	return t.b.String()[at:]
}

// treeFile is what is known of a base record. It exists only for records in use, so that a sparse MFT costs nothing.
type treeFile struct {
	info     *winfile.Info
	entry    *winfile.Entry // first name, for directories
	sequence uint16
	reached  bool
}

// filePage holds the files of filesPerPage consecutive records.
type filePage [filesPerPage]treeFile

const filesPerPage = 256

// treeName is an entry and where it belongs.
type treeName struct {
	entry  *winfile.Entry
	parent fileRef
	child  uint32
}

// treeBuilder makes the tree from records in any order.
type treeBuilder struct {
	v        *Volume
	security map[uint32][]byte
	inline   map[string][]byte // descriptors that stand in records, each once
	pages    []*filePage
	names    []treeName
	later    []int64         // records that need more than their own bytes
	withID   []*winfile.Info // files with an object id

	attrs     []fileAttr // scratch
	utf8      []byte     // scratch
	entries   slab[winfile.Entry]
	infos     slab[winfile.Info]
	blobs     slab[winfile.Blob]
	locations slab[location]
	text      text
}

// fileAt is the file of record n, nil if there is none.
func (b *treeBuilder) fileAt(n uint64) *treeFile {
	p := n / filesPerPage
	if p >= uint64(len(b.pages)) || b.pages[p] == nil {
		return nil
	}
	if f := &b.pages[p][n%filesPerPage]; f.info != nil {
		return f
	}
	return nil
}

func (b *treeBuilder) addFile(n int64) *treeFile {
	p := int(n / filesPerPage)
	if p >= len(b.pages) {
		b.pages = append(b.pages, make([]*filePage, p+1-len(b.pages))...)
	}
	if b.pages[p] == nil {
		b.pages[p] = new(filePage)
	}
	return &b.pages[p][n%filesPerPage]
}

// record takes one record of the scan.
func (b *treeBuilder) record(n int64, r fileRecord, err error) error {
	if err != nil {
		b.v.lack(err)
		return nil
	}
	if !r.inUse() || r.base() != 0 || n > maxRecord {
		return nil
	}
	f := b.addFile(n)
	f.sequence = r.sequence()
	f.info = b.infos.next()
	f.info.ID = uint64(n)
	if r.flags()&recordDirectory != 0 {
		f.info.Attributes = winfile.AttrDirectory
	}
	if b.attrs, err = r.appendAttrs(b.attrs[:0], n); err != nil {
		b.v.lack(err)
	}
	if slices.ContainsFunc(b.attrs, needsMore) {
		b.later = append(b.later, n)
		return nil
	}
	b.file(n, b.attrs)
	return nil
}

// maxRecord is the last record number that Windows uses.
const maxRecord = 1<<32 - 1

// needsMore reports whether a file with attribute a cannot be described from its base record alone.
func needsMore(a fileAttr) bool {
	switch a.typ() {
	case typeAttributeList:
		return true
	case typeSecurityDescriptor, typeReparsePoint, typeEA:
		return a.nonResident()
	}
	return false
}

// file fills the info of record n and adds its names.
func (b *treeBuilder) file(n int64, list []fileAttr) {
	f := b.fileAt(uint64(n))
	info := f.info
	if err := b.describe(info, list); err != nil {
		b.v.lack(err)
	}
	first := len(b.names)
	for _, a := range list {
		if a.typ() != typeFileName {
			continue
		}
		if err := b.name(n, f, a); err != nil {
			b.v.warn("%v", err)
		}
	}
	for _, a := range b.shortNames(list, b.names[first:]) {
		if err := b.addName(n, f, a, fileName(a.value())); err != nil {
			b.v.warn("%v", err)
		}
	}
	info.Links = int32(len(b.names) - first)
	if n == recRoot {
		b.names = b.names[:first]
		f.entry = &winfile.Entry{Info: info}
		info.Links = 1
	}
}

// describe fills info with all but the names. It goes on after an error.
func (b *treeBuilder) describe(info *winfile.Info, list []fileAttr) error {
	var errs []error
	var id uint32
	encrypted := info.Attributes&winfile.AttrDirectory == 0 && isEFS(list)
	for i, a := range list {
		if a.continues() || encrypted && a.typ() == typeData {
			continue
		}
		var err error
		switch a.typ() {
		case typeStandardInformation:
			id, err = b.standard(info, a)
		case typeSecurityDescriptor:
			err = b.inlineSecurity(info, list, i)
		case typeObjectID:
			if !a.nonResident() && (a.size() == 16 || a.size() == 64) {
				extra(info).ObjectID = slices.Clone(a.value())
				b.withID = append(b.withID, info)
			}
		case typeData:
			b.data(info, list, i)
		case typeReparsePoint:
			err = b.reparse(info, list, i)
		case typeEA:
			err = b.eas(info, list, i)
		case typeLoggedUtilityStream:
			if encrypted && winfile.NameFromUTF16LE(a.name()) == efsName {
				err = b.efs(info, list, a)
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if sd, ok := b.security[id]; ok && id != 0 {
		info.Security = sd
	} else if id != 0 {
		errs = append(errs, fmt.Errorf("ntfs: record %d: security id %d is not in $Secure", info.ID, id))
	}
	if encrypted {
		info.Attributes |= winfile.AttrEncrypted
	}
	if (info.Reparse != nil) != (info.Attributes&winfile.AttrReparse != 0) {
		info.Attributes ^= winfile.AttrReparse
	}
	return errors.Join(errs...)
}

func extra(info *winfile.Info) *winfile.Extra {
	if info.Extra == nil {
		info.Extra = new(winfile.Extra)
	}
	return info.Extra
}

// standard reads $STANDARD_INFORMATION and returns the security id, 0 if there is none.
func (b *treeBuilder) standard(info *winfile.Info, a fileAttr) (uint32, error) {
	if a.nonResident() || a.size() < stdInfoSizeV1 {
		return 0, a.fail(0x10, "%d bytes, want at least %d, resident", a.size(), stdInfoSizeV1)
	}
	s := a.value()
	info.Created = winfile.Filetime(le.Uint64(s))
	info.Written = winfile.Filetime(le.Uint64(s[0x08:]))
	info.Changed = winfile.Filetime(le.Uint64(s[0x10:]))
	info.Accessed = winfile.Filetime(le.Uint64(s[0x18:]))
	info.Attributes |= winfile.Attributes(le.Uint32(s[0x20:])) &^ (fileNameDirectory | fileNameView)
	if len(s) < stdInfoSize {
		return 0, nil
	}
	return le.Uint32(s[0x34:]), nil
}

// small returns the whole content of list[i], for the builder to keep.
func (b *treeBuilder) small(list []fileAttr, i int, limit int64) ([]byte, error) {
	s, err := b.v.openStream(list, i)
	if err != nil {
		return nil, err
	}
	return s.readAll(limit)
}

func (b *treeBuilder) inlineSecurity(info *winfile.Info, list []fileAttr, i int) error {
	var sd []byte
	if a := list[i]; a.nonResident() {
		var err error
		if sd, err = b.small(list, i, sdsBlock); err != nil {
			return err
		}
	} else {
		sd = a.value()
	}
	have, ok := b.inline[string(sd)]
	if !ok {
		have = slices.Clone(sd)
		b.inline[string(have)] = have
	}
	info.Security = have
	return nil
}

func (b *treeBuilder) reparse(info *winfile.Info, list []fileAttr, i int) error {
	p, err := b.small(list, i, winfile.MaxReparse)
	if err != nil {
		return err
	}
	r, err := winfile.ParseReparse(p)
	if err != nil {
		return list[i].fail(0, "%w", err)
	}
	info.Reparse = r
	return nil
}

func (b *treeBuilder) eas(info *winfile.Info, list []fileAttr, i int) error {
	p, err := b.small(list, i, maxEASize)
	if err != nil {
		return err
	}
	eas, err := parseEAs(p)
	if err != nil {
		err = list[i].fail(0, "%w", err)
	}
	if len(eas) > 0 {
		extra(info).EAs = eas
	}
	return err
}

// efs gives the file with key data in a its raw export.
func (b *treeBuilder) efs(info *winfile.Info, list []fileAttr, a fileAttr) error {
	x, err := b.v.openEFS(list)
	if err != nil {
		return err
	}
	blob, loc := b.blobs.next(), b.locations.next()
	*loc = location{record: b.v.baseOf(list), holder: uint32(a.holder), instance: a.instance(), efs: true}
	blob.Size, blob.Content, blob.Ref = x.size, b.v, loc
	blob.Order = int64(b.v.recordLCN(a.holder))
	if i := findAttr(list, typeData, ""); i >= 0 {
		var data location
		blob.Order = int64(b.v.locate(&data, list, i))
	}
	extra(info).EFS = blob
	return nil
}

// parseEAs splits the value of $EA: offset to next u32, flags u8, name length u8, value length u16, name, NUL, value.
func parseEAs(b []byte) ([]winfile.EA, error) {
	var eas []winfile.EA
	for off := 0; off < len(b); {
		e := b[off:]
		if len(e) < 8 {
			return eas, fmt.Errorf("extended attribute at %#x: %d bytes, want at least 8", off, len(e))
		}
		next, nameLen, valueLen := le.Uint32(e), int(e[5]), int(le.Uint16(e[6:]))
		if 8+nameLen+1+valueLen > len(e) {
			return eas, fmt.Errorf("extended attribute at %#x: %d bytes of name and %d of value in %d", off, nameLen, valueLen, len(e))
		}
		value := e[8+nameLen+1:][:valueLen]
		eas = append(eas, winfile.EA{Flags: e[4], Name: string(e[8 : 8+nameLen]), Value: slices.Clone(value)})
		if next == 0 {
			break
		}
		if next < 8 || next > uint32(len(e)) {
			return eas, fmt.Errorf("extended attribute at %#x: next one %d bytes further, want 8 to %d", off, next, len(e))
		}
		off += int(next)
	}
	return eas, nil
}

// data adds the stream list[i].
func (b *treeBuilder) data(info *winfile.Info, list []fileAttr, i int) {
	a := list[i]
	var blob *winfile.Blob
	if size := a.size(); size > 0 {
		blob = b.blobs.next()
		loc := b.locations.next()
		blob.Size, blob.Content, blob.Ref = size, b.v, loc
		blob.Order = int64(b.v.locate(loc, list, i))
	}
	if a.nameLength() == 0 {
		info.Data = blob
		return
	}
	info.Streams = append(info.Streams, winfile.Stream{Name: winfile.NameFromUTF16LE(a.name()), Data: blob})
}

// name adds the $FILE_NAME a of record n. DOS names come later, see shortNames.
func (b *treeBuilder) name(n int64, f *treeFile, a fileAttr) error {
	key := fileName(nil)
	if !a.nonResident() {
		key = fileName(a.value())
	}
	if err := key.check(); err != nil {
		return a.fail(0, "%w", err)
	}
	if key.namespace() == nameDOS {
		return nil
	}
	return b.addName(n, f, a, key)
}

// addName adds the name in the $FILE_NAME a of record n.
func (b *treeBuilder) addName(n int64, f *treeFile, a fileAttr, key fileName) error {
	e := b.entries.next()
	e.Info, e.Name = f.info, b.intern(key.name())
	if !legalName(e.Name) && n != recRoot {
		return a.fail(fileNameSize, "name %q cannot stand in a path", e.Name)
	}
	if f.info.Attributes&winfile.AttrDirectory != 0 {
		if f.entry != nil {
			return a.fail(0, "directory has a second name %q", e.Name)
		}
		f.entry = e
	}
	b.names = append(b.names, treeName{e, key.parent(), uint32(n)})
	return nil
}

// legalName refuses what no NTFS driver makes and what no path can hold.
func legalName(s string) bool {
	return s != "" && s != "." && s != ".." && strings.IndexByte(s, '/') < 0 && strings.IndexByte(s, 0) < 0
}

// intern converts UTF-16LE to a packed string.
func (b *treeBuilder) intern(u []byte) string {
	b.utf8 = b.utf8[:0]
	for i := 0; i < len(u); i += 2 {
		if u[i+1] != 0 || u[i] >= 0x80 {
			return winfile.NameFromUTF16LE(u)
		}
		b.utf8 = append(b.utf8, u[i])
	}
	return b.text.add(b.utf8)
}

// shortNames gives each DOS name of a file to the long name in the same directory. It returns those that have none: they become names
// of their own.
func (b *treeBuilder) shortNames(list []fileAttr, names []treeName) (alone []fileAttr) {
	for _, a := range list {
		if a.typ() != typeFileName || a.nonResident() {
			continue
		}
		key := fileName(a.value())
		if key.check() != nil || key.namespace() != nameDOS {
			continue
		}
		i := slices.IndexFunc(names, func(t treeName) bool { return t.parent == key.parent() && t.entry.ShortName == "" })
		if j := b.win32Partner(list, names, key.parent()); j >= 0 {
			i = j
		}
		if i < 0 {
			b.v.warn("%v: DOS name %q has no long name", a, b.intern(key.name()))
			alone = append(alone, a)
			continue
		}
		names[i].entry.ShortName = b.intern(key.name())
	}
	return alone
}

// win32Partner is the index among names of the name in namespace 1 under parent, -1 if there is none.
func (b *treeBuilder) win32Partner(list []fileAttr, names []treeName, parent fileRef) int {
	for _, a := range list {
		if a.typ() != typeFileName || a.nonResident() {
			continue
		}
		key := fileName(a.value())
		if key.check() != nil || key.namespace() != nameWin32 || key.parent() != parent {
			continue
		}
		name := winfile.NameFromUTF16LE(key.name())
		return slices.IndexFunc(names, func(t treeName) bool { return t.parent == parent && t.entry.Name == name })
	}
	return -1
}

// birthIDs completes object ids with the birth ids, which only the index of $Extend\$ObjId has.
func (b *treeBuilder) birthIDs() {
	if len(b.withID) == 0 {
		return
	}
	births, err := b.v.readBirthIDs()
	if err != nil {
		b.v.warn("$ObjId: %v", err)
	}
	for _, info := range b.withID {
		x := info.Extra
		if birth, ok := births[[16]byte(x.ObjectID)]; ok && len(x.ObjectID) == 16 && birth != [48]byte{} {
			x.ObjectID = append(x.ObjectID, birth[:]...)
		}
	}
}

// readBirthIDs maps object ids to birth volume, birth object and domain ids.
func (v *Volume) readBirthIDs() (map[[16]byte][48]byte, error) {
	n, ok, err := v.Lookup("$Extend/$ObjId")
	if err != nil || !ok {
		return nil, err
	}
	_, list, err := v.baseAttrs(n)
	if err != nil {
		return nil, err
	}
	x, err := v.openIndex(n, list, "$O")
	if err != nil {
		return nil, err
	}
	births := make(map[[16]byte][48]byte)
	x.walk(func(e nodeEntry) {
		if data, err := e.data(); err == nil && len(e.key()) == 16 && len(data) == 56 {
			births[[16]byte(e.key())] = [48]byte(data[8:])
		}
	}, func(e error) { err = errors.Join(err, e) })
	return births, err
}
