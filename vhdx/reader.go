package vhdx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"husk/guid"
	"husk/internal/ondisk"
)

// Type is the kind of a disk.
type Type int

const (
	Dynamic Type = iota // blocks come into being when they are written
	Fixed               // all blocks are in the file
	Differencing
)

func (t Type) String() string { return [...]string{"dynamic", "fixed", "differencing"}[t] }

// ErrNoParent says that a sector is in the parent of a differencing disk, and that the parent was not opened.
var ErrNoParent = errors.New("the parent disk is not open")

// ErrWrongParent says that a file is not the parent as it was when the differencing disk was made.
var ErrWrongParent = errors.New("not the parent that the differencing disk was made on, or the parent was changed since")

// ReaderOptions tunes a Reader. It may be nil.
type ReaderOptions struct {
	// Parent opens the parent of a differencing disk. The Reader checks that it is the right one, and closes it. Without
	// Parent, or if it returns nil, reading what is not in the file fails with ErrNoParent.
	Parent func(*ParentLocator) (*Reader, error)
}

// ParentLocator says where the parent of a differencing disk is, and how to know it. Empty strings are not in the file.
type ParentLocator struct {
	Linkage      guid.GUID // the parent's data write GUID
	Linkage2     guid.GUID // another one that it may have; zero if there is none
	RelativePath string    // from the folder of the child: `..\base\parent.vhdx`
	VolumePath   string    // `\\?\Volume{…}\parent.vhdx`
	AbsolutePath string    // `C:\parent.vhdx`
}

// Info describes a VHDX file.
type Info struct {
	Type           Type
	Size           int64 // of the disk, bytes
	FileSize       int64 // bytes
	BlockSize      int64 // bytes
	LogicalSector  int   // bytes: 512 or 4096
	PhysicalSector int   // bytes
	Creator        string
	ID             guid.GUID // page 83 data: the identity of the virtual disk
	DataWriteGUID  guid.GUID // changes with the content of the disk
	Blocks         int64     // of the disk
	Allocated      int64     // blocks that are in the file, at least in part
	LogReplayed    bool      // the log was not empty: what is read is the file with the log's changes
	Parent         *ParentLocator
	Notes          []string // what is odd about the file but does not keep it from being read
}

// A Reader is the disk in a VHDX file. It is safe for concurrent use.
type Reader struct {
	image
	file io.Closer // nil unless Open made the Reader
}

// image is what a VHDX file says, with its log replayed.
type image struct {
	r     io.ReaderAt
	size  int64 // of the file
	log   *overlay
	head  header
	which int // the current header: 0 or 1

	regions  []regionEntry
	bat      []batEntry
	batAt    int64
	batRoom  int64 // bytes of the BAT's region
	metaAt   int64
	metaRoom int64
	sizeAt   int64 // place of the disk's size in the file

	geometry
	params   uint32
	physical uint32
	page83   guid.GUID
	locator  *ParentLocator
	parent   *Reader
	creator  string
	notes    []string
}

// IsVHDX reports whether r starts as a VHDX file does.
func IsVHDX(r io.ReaderAt) bool {
	var b [len(fileMagic)]byte
	n, _ := r.ReadAt(b[:], 0)
	return n == len(b) && string(b[:]) == fileMagic
}

// Open opens the VHDX file name. The caller must call Close.
func Open(name string, o *ReaderOptions) (*Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		var r *Reader
		if r, err = NewReader(f, size, o); err == nil {
			r.file = f
			return r, nil
		}
	}
	f.Close()
	return nil, err
}

// NewReader reads the VHDX in r, which has size bytes. A log that is not empty is replayed in memory; r is only read.
// It checks headers, regions, metadata and the whole BAT. Bytes that break the format are a *FormatError; what the
// format allows and husk does not know wraps errors.ErrUnsupported.
func NewReader(r io.ReaderAt, size int64, o *ReaderOptions) (*Reader, error) {
	d := &Reader{}
	if err := d.read(r, size); err != nil {
		return nil, err
	}
	if err := d.checkBAT(); err != nil {
		return nil, err
	}
	if d.locator != nil && o != nil && o.Parent != nil {
		p, err := o.Parent(d.locator)
		if err != nil {
			return nil, err
		}
		if p != nil {
			if err := d.adopt(p); err != nil {
				return nil, errors.Join(err, p.Close())
			}
		}
	}
	return d, nil
}

// adopt takes p as parent if it is the right one.
func (m *image) adopt(p *Reader) error {
	l := m.locator
	if id := p.head.DataWriteGUID; id != l.Linkage && (l.Linkage2 == guid.GUID{} || id != l.Linkage2) {
		return fmt.Errorf("vhdx: parent with data write GUID %v, want %v: %w", id, l.Linkage, ErrWrongParent)
	}
	if p.sector != m.sector {
		return fmt.Errorf("vhdx: parent with sectors of %d bytes, want %d", p.sector, m.sector)
	}
	m.parent = p
	return nil
}

// read reads all that is not a block.
func (m *image) read(r io.ReaderAt, size int64) error {
	m.r, m.size = r, size
	if !IsVHDX(r) {
		b, err := ondisk.ReadAt(r, 0, int64(len(fileMagic)), int64(len(fileMagic)))
		if err == nil {
			err = fmt.Errorf("magic %q, want %q", b, fileMagic)
		}
		return &FormatError{"file identifier", 0, err}
	}
	if b, err := ondisk.ReadAt(r, 8, 512, 512); err == nil {
		m.creator, _, _ = strings.Cut(utf16String(b), "\x00")
	}
	if err := m.readHeaders(); err != nil {
		return err
	}
	if (m.head.LogGUID != guid.GUID{}) {
		o, err := replay(r, size, &m.head)
		if err != nil {
			return err
		}
		m.log, m.r, m.size = o, o, o.size
		m.notes = append(m.notes, "the file was not closed: changes in its log are taken into account")
	}
	if err := m.readRegions(); err != nil {
		return err
	}
	if err := m.readMetadata(); err != nil {
		return err
	}
	return m.readBAT()
}

// readHeaders takes the valid header with the greater sequence number.
func (m *image) readHeaders() error {
	var found [2]*header
	var errs []error
	for i := range found {
		at := int64(headerAt + i*headerStep)
		b, err := ondisk.ReadAt(m.r, at, headerSize, headerSize)
		if err == nil {
			found[i], err = parseHeader(b)
		}
		if err != nil {
			errs = append(errs, &FormatError{fmt.Sprintf("header %d", i+1), at, err})
		}
	}
	a, b := found[0], found[1]
	switch {
	case a == nil && b == nil:
		return errors.Join(errs...)
	case a == nil || b != nil && b.Sequence > a.Sequence:
		m.which = 1
	case b != nil && a.Sequence == b.Sequence && *a != *b:
		return &FormatError{"header 2", headerAt + headerStep, fmt.Errorf("sequence number %d is that of header 1, but the rest differs", b.Sequence)}
	}
	for _, err := range errs {
		m.notes = append(m.notes, "the other header was used: "+err.Error())
	}
	m.head = *found[m.which]
	return m.checkLog()
}

// checkLog makes sure that the log the header tells of can be.
func (m *image) checkLog() error {
	h, at := &m.head, int64(headerAt+m.which*headerStep)
	bad := func(format string, args ...any) error {
		return &FormatError{fmt.Sprintf("header %d", m.which+1), at, fmt.Errorf(format, args...)}
	}
	switch {
	case h.LogOffset%mib != 0 || h.LogLength%mib != 0:
		return bad("log of %d bytes at %#x, want multiples of 1 MiB", h.LogLength, h.LogOffset)
	case h.LogLength != 0 && (h.LogOffset < mib || h.LogOffset > uint64(m.size) || int64(h.LogLength) > m.size-int64(h.LogOffset)):
		return bad("log of %d bytes at %#x, want it between %#x and the end of the file of %d", h.LogLength, h.LogOffset, mib, m.size)
	case h.LogGUID == guid.GUID{}:
		return nil
	case h.LogLength == 0:
		return bad("log %v of 0 bytes, want a log", h.LogGUID)
	case h.LogVersion != 0:
		return fmt.Errorf("vhdx: log version %d, want 0: %w", h.LogVersion, errors.ErrUnsupported)
	}
	return nil
}

// readRegions reads the region table, or its copy.
func (m *image) readRegions() error {
	var errs []error
	var at int64
	for i := range 2 {
		at = int64(regionAt + i*regionStep)
		b, err := ondisk.ReadAt(m.r, at, regionSize, regionSize)
		if err == nil {
			if m.regions, err = parseRegions(b); err == nil {
				break
			}
		}
		err = &FormatError{fmt.Sprintf("region table %d", i+1), at, err}
		m.notes = append(m.notes, "the copy of the region table was used: "+err.Error())
		errs = append(errs, err)
	}
	if len(errs) == 2 {
		return errors.Join(errs...)
	}
	what := func(i int) string { return fmt.Sprintf("region table entry %d", i) }
	known := map[guid.GUID]int64{}
	for i, e := range m.regions {
		entryAt := at + 16 + 32*int64(i)
		if e.Offset%mib != 0 || e.Length%mib != 0 || e.Offset < mib || e.Length == 0 || e.Offset > uint64(m.size) || int64(e.Length) > m.size-int64(e.Offset) {
			return &FormatError{what(i), entryAt, fmt.Errorf("region of %d bytes at %#x, want multiples of 1 MiB, behind the first one, in the file of %d", e.Length, e.Offset, m.size)}
		}
		if _, twice := known[e.GUID]; twice {
			return &FormatError{what(i), entryAt, fmt.Errorf("a second region %v, want one", e.GUID)}
		}
		known[e.GUID] = int64(e.Offset)
		switch {
		case e.GUID == regionBAT:
			m.batAt, m.batRoom = int64(e.Offset), int64(e.Length)
		case e.GUID == regionMeta:
			m.metaAt, m.metaRoom = int64(e.Offset), int64(e.Length)
		case e.Required&1 != 0:
			return fmt.Errorf("vhdx: region %v, which has to be understood: %w", e.GUID, errors.ErrUnsupported)
		}
	}
	if m.batAt == 0 || m.metaAt == 0 {
		return &FormatError{"region table", at, errors.New("want a BAT and metadata among the regions")}
	}
	return nil
}

// readMetadata reads the metadata table and the items that are known.
func (m *image) readMetadata() error {
	b, err := ondisk.ReadAt(m.r, m.metaAt, metaTableSize, metaTableSize)
	if err != nil {
		return &FormatError{"metadata table", m.metaAt, err}
	}
	var h metaHeader
	decode(b, &h)
	if string(h.Magic[:]) != metadataMagic {
		return &FormatError{"metadata table", m.metaAt, fmt.Errorf("magic %q, want %q", h.Magic[:], metadataMagic)}
	}
	if h.Count > maxMetaItems {
		return &FormatError{"metadata table", m.metaAt, fmt.Errorf("%d items, want at most %d", h.Count, maxMetaItems)}
	}
	known := map[guid.GUID]int64{itemParameters: 8, itemSize: 8, itemPage83: 16, itemLogical: 4, itemPhysical: 4, itemParent: 0}
	items := map[guid.GUID]metaEntry{}
	for i := range int(h.Count) {
		var e metaEntry
		decode(b[32+32*i:], &e)
		at := m.metaAt + 32 + 32*int64(i)
		want, ok := known[e.GUID]
		ok = ok && e.Flags&metaUser == 0
		switch {
		case !ok && e.Flags&metaRequired != 0:
			return fmt.Errorf("vhdx: metadata item %v, which has to be understood: %w", e.GUID, errors.ErrUnsupported)
		case !ok:
			continue
		case e.Length > maxItemSize || int64(e.Offset) < metaTableSize || int64(e.Offset)+int64(e.Length) > m.metaRoom || want > 0 && int64(e.Length) != want:
			return &FormatError{fmt.Sprintf("metadata table entry %d", i), at, fmt.Errorf("item %v of %d bytes at %#x of the region, want it behind the table, in the region of %d bytes, and as long as it has to be", e.GUID, e.Length, e.Offset, m.metaRoom)}
		}
		if _, twice := items[e.GUID]; twice {
			return &FormatError{fmt.Sprintf("metadata table entry %d", i), at, fmt.Errorf("a second item %v, want one", e.GUID)}
		}
		items[e.GUID] = e
	}
	return m.readItems(items)
}

// readItems reads the items of the metadata and holds them against each other.
func (m *image) readItems(items map[guid.GUID]metaEntry) error {
	var err error
	at := func(id guid.GUID) int64 { return m.metaAt + int64(items[id].Offset) }
	item := func(id guid.GUID, name string) []byte {
		e, ok := items[id]
		if !ok {
			err = errors.Join(err, &FormatError{"metadata table", m.metaAt, fmt.Errorf("want an item %v (%s)", id, name)})
			return make([]byte, 16)
		}
		b, e2 := ondisk.ReadAt(m.r, at(id), int64(e.Length), maxItemSize)
		if e2 != nil {
			err = errors.Join(err, &FormatError{name, at(id), e2})
			return make([]byte, 16)
		}
		return b
	}
	le := binary.LittleEndian
	params, size := item(itemParameters, "file parameters"), item(itemSize, "disk size")
	logical, physical := item(itemLogical, "logical sector size"), item(itemPhysical, "physical sector size")
	if _, ok := items[itemPage83]; ok {
		m.page83 = guid.GUID(item(itemPage83, "page 83 data"))
	}
	if err != nil {
		return err
	}
	bad := func(id guid.GUID, what, format string, args ...any) error {
		return &FormatError{what, at(id), fmt.Errorf(format, args...)}
	}
	block, sector, total := int64(le.Uint32(params)), int64(le.Uint32(logical)), le.Uint64(size)
	m.params, m.physical, m.sizeAt = le.Uint32(params[4:]), le.Uint32(physical), at(itemSize)
	switch {
	case block < minBlockSize || block > maxBlockSize || block&(block-1) != 0:
		return bad(itemParameters, "file parameters", "block size %d, want a power of two from 1 to 256 MiB", block)
	case sector != 512 && sector != 4096:
		return bad(itemLogical, "logical sector size", "%d, want 512 or 4096", sector)
	case total == 0 || total > MaxSize || total%uint64(sector) != 0:
		return bad(itemSize, "disk size", "%d, want a multiple of %d up to %d", total, sector, int64(MaxSize))
	case m.physical != 512 && m.physical != 4096:
		m.notes = append(m.notes, fmt.Sprintf("physical sector size %d, want 512 or 4096", m.physical))
	}
	m.geometry = newGeometry(int64(total), block, sector)
	if m.params&paramParent == 0 {
		return nil
	}
	b := item(itemParent, "parent locator")
	if err != nil {
		return err
	}
	if m.locator, err = parseLocator(b); err != nil {
		return &FormatError{"parent locator", at(itemParent), err}
	}
	return nil
}

// parseLocator reads a parent locator of the kind that VHDX files have.
func parseLocator(b []byte) (*ParentLocator, error) {
	le := binary.LittleEndian
	if len(b) < 20 {
		return nil, fmt.Errorf("%d bytes, want at least 20", len(b))
	}
	if id := guid.GUID(b[:16]); id != locatorVHDX {
		return nil, fmt.Errorf("parent locator type %v, want %v: %w", id, locatorVHDX, errors.ErrUnsupported)
	}
	n := int(le.Uint16(b[18:]))
	if 20+12*n > len(b) {
		return nil, fmt.Errorf("%d entries in %d bytes, want at most %d", n, len(b), (len(b)-20)/12)
	}
	l := &ParentLocator{}
	for i := range n {
		e := b[20+12*i:]
		text := func(off uint32, n uint16) (string, error) {
			if !ondisk.Range(int64(off), int64(n), int64(len(b))) {
				return "", fmt.Errorf("entry %d: %d bytes at %d, want them in the item of %d", i, n, off, len(b))
			}
			return utf16String(b[off : int(off)+int(n)]), nil
		}
		key, err := text(le.Uint32(e), le.Uint16(e[8:]))
		if err != nil {
			return nil, err
		}
		value, err := text(le.Uint32(e[4:]), le.Uint16(e[10:]))
		if err != nil {
			return nil, err
		}
		switch key {
		case "parent_linkage":
			l.Linkage, err = guid.Parse(value)
		case "parent_linkage2":
			l.Linkage2, err = guid.Parse(value)
		case "relative_path":
			l.RelativePath = value
		case "volume_path":
			l.VolumePath = value
		case "absolute_win32_path":
			l.AbsolutePath = value
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	if (l.Linkage == guid.GUID{}) {
		return nil, errors.New("no parent_linkage, want the parent's data write GUID")
	}
	return l, nil
}

// readBAT reads as many entries as the disk needs.
func (m *image) readBAT() error {
	n := m.entries(m.locator != nil)
	if 8*n > m.batRoom {
		return &FormatError{"region table", regionAt, fmt.Errorf("BAT region of %d bytes, want %d for a disk of %d in blocks of %d", m.batRoom, 8*n, m.geometry.size, m.blockSize)}
	}
	if n > maxBATEntries {
		return fmt.Errorf("vhdx: BAT of %d entries, want at most %d: %w", n, maxBATEntries, errors.ErrUnsupported)
	}
	b, err := ondisk.ReadAt(m.r, m.batAt, 8*n, 8*maxBATEntries)
	if err != nil {
		return &FormatError{"BAT", m.batAt, err}
	}
	m.bat = make([]batEntry, n)
	for i := range m.bat {
		m.bat[i] = batEntry(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return nil
}

// extent is a range of the file with an owner.
type extent struct {
	start, end int64
	entry      int // of the BAT; negative: one of the names of fixedExtents
}

// fixedExtents are the parts of the file that are not blocks. Their entries are -1, -2 and so on into names.
func (m *image) fixedExtents() (list []extent, names []string) {
	add := func(start, end int64, name string) {
		names = append(names, name)
		list = append(list, extent{start, end, -len(names)})
	}
	add(0, mib, "the headers")
	if m.head.LogLength > 0 {
		add(int64(m.head.LogOffset), int64(m.head.LogOffset)+int64(m.head.LogLength), "the log")
	}
	for _, e := range m.regions {
		name := fmt.Sprintf("region %v", e.GUID)
		switch e.GUID {
		case regionBAT:
			name = "the BAT"
		case regionMeta:
			name = "the metadata"
		}
		add(int64(e.Offset), int64(e.Offset)+int64(e.Length), name)
	}
	return list, names
}

// checkBAT makes sure that states are known and blocks are in the file, apart from each other and all else.
func (m *image) checkBAT() error {
	var bad error
	m.walkBAT(func(entry int, err error) bool {
		bad = &FormatError{fmt.Sprintf("BAT entry %d", entry), m.batAt + 8*int64(entry), err}
		return false
	})
	return bad
}

// walkBAT calls report for each thing that is wrong with the BAT or with the places of the regions, until it returns
// false.
func (m *image) walkBAT(report func(entry int, err error) bool) {
	list, names := m.fixedExtents()
	for i, e := range m.bat {
		n := m.entryLength(int64(i))
		if err := m.checkEntry(e, m.isBitmap(int64(i))); err != nil && n > 0 {
			if !report(i, err) {
				return
			}
			continue
		}
		if !e.inFile() || n == 0 { // nobody reads blocks behind the end of the disk
			continue
		}
		if e.mibs() > uint64(m.size/mib) || e.offset() < mib || n > m.size-e.offset() {
			if !report(i, fmt.Errorf("block of %d bytes at %d MiB, want it behind the headers, in the file of %d bytes", n, e.mibs(), m.size)) {
				return
			}
			continue
		}
		list = append(list, extent{e.offset(), e.offset() + n, i})
	}
	slices.SortFunc(list, func(a, b extent) int {
		switch {
		case a.start < b.start:
			return -1
		case a.start > b.start:
			return 1
		}
		return a.entry - b.entry
	})
	name := func(e extent) string {
		if e.entry < 0 {
			return names[-e.entry-1]
		}
		return fmt.Sprintf("the block of entry %d", e.entry)
	}
	last := 0 // of those before i, the one that reaches furthest
	for i := 1; i < len(list); i++ {
		if a, b := list[last], list[i]; a.end > b.start {
			if !report(max(a.entry, b.entry, 0), fmt.Errorf("%s at %#x overlaps %s, which goes from %#x to %#x", name(b), b.start, name(a), a.start, a.end)) {
				return
			}
		}
		if list[i].end > list[last].end {
			last = i
		}
	}
}

// entryLength is how many bytes of the file the block of an entry takes. QEMU cuts the last one where the disk ends.
func (m *image) entryLength(n int64) int64 {
	if m.isBitmap(n) {
		return bitmapBlock
	}
	return min(m.blockSize, max(m.geometry.size-m.block(n)*m.blockSize, 0))
}

// checkEntry holds the state of an entry against the kind of disk.
func (m *image) checkEntry(e batEntry, bitmap bool) error {
	s := e.state()
	switch {
	case bitmap && m.locator == nil && s != stateNotPresent:
		return fmt.Errorf("sector bitmap in state %d, want 0 in a disk without parent", s)
	case bitmap && s != stateNotPresent && s != statePresent:
		return fmt.Errorf("sector bitmap in state %d, want 0 or 6", s)
	case !bitmap && s == statePartial && m.locator == nil:
		return errors.New("block in state 7 (partially present), want none in a disk without parent")
	case !bitmap && (s == 4 || s == 5):
		return fmt.Errorf("block in state %d, want 0 to 3, 6 or 7", s)
	}
	return nil
}

// Close closes the file, if Open opened it, and the parent.
func (d *Reader) Close() error {
	var errs []error
	if d.file != nil {
		errs = append(errs, d.file.Close())
	}
	if d.parent != nil {
		errs = append(errs, d.parent.Close())
	}
	return errors.Join(errs...)
}

// Size is the size of the disk in bytes, a multiple of the logical sector size.
func (d *Reader) Size() int64 { return d.geometry.size }

// SectorSize is the logical sector size: 512 or 4096 bytes.
func (d *Reader) SectorSize() int { return int(d.sector) }

// Type is Fixed, Dynamic or Differencing.
func (d *Reader) Type() Type { return d.kind() }

func (m *image) kind() Type {
	switch {
	case m.locator != nil:
		return Differencing
	case m.params&paramFixed != 0:
		return Fixed
	}
	return Dynamic
}

// Parent is the parent of a differencing disk, or nil if there is none or it was not opened.
func (d *Reader) Parent() *Reader { return d.parent }

// Info describes the file.
func (d *Reader) Info() Info { return d.info() }

func (m *image) info() Info {
	i := Info{
		Type: m.kind(), Size: m.geometry.size, FileSize: m.size, BlockSize: m.blockSize,
		LogicalSector: int(m.sector), PhysicalSector: int(m.physical), Creator: m.creator,
		ID: m.page83, DataWriteGUID: m.head.DataWriteGUID, Blocks: m.blocks(),
		LogReplayed: m.log != nil, Notes: slices.Clone(m.notes),
	}
	if m.log != nil {
		i.FileSize = m.log.file
	}
	if m.locator != nil {
		l := *m.locator
		i.Parent = &l
	}
	for b := range m.blocks() {
		if m.bat[m.payload(b)].inFile() {
			i.Allocated++
		}
	}
	return i
}

// NextAllocated returns the first range of the disk at or after off that has bytes in the file, or in a parent: start
// is off itself if that lies in such a range. What lies between ranges reads as zeros. When nothing more is allocated,
// start and end are both Size. Ranges may hold zeros.
func (d *Reader) NextAllocated(off int64) (start, end int64) { return d.nextAllocated(off) }

func (m *image) nextAllocated(off int64) (start, end int64) {
	return ondisk.NextRange(off, m.geometry.size, m.blockSize, func(i, from, to int64) (int64, int64) {
		switch s := m.bat[m.payload(i)].state(); {
		case s >= statePresent:
			return from, to
		case s == stateNotPresent && m.locator != nil:
			if m.parent == nil {
				return from, to // reading it is an error that must not be passed over
			}
			a, b := m.parent.NextAllocated(from)
			return min(a, to), min(b, to)
		}
		return to, to
	})
}

// NextOwn is NextAllocated for what this file itself says of the disk, whatever a parent has: ranges that are stored in
// it, and in a differencing disk also those that it makes zero. The parent's content with these ranges replaced is the
// disk's.
func (d *Reader) NextOwn(off int64) (start, end int64, err error) {
	start, end = ondisk.NextRange(off, d.geometry.size, d.blockSize, func(i, from, to int64) (int64, int64) {
		e := d.bat[d.payload(i)]
		switch {
		case e.state() == statePartial:
			a, b, e2 := d.nextPartial(i, from, to)
			err = errors.Join(err, e2)
			return a, b
		case e.inFile() || d.locator != nil && e.state() != stateNotPresent:
			return from, to
		}
		return to, to
	})
	return start, end, err
}

// nextPartial is the first range of the partially present block i between two places of the disk that is in the file.
func (m *image) nextPartial(i, from, to int64) (start, end int64, err error) {
	base := i * m.blockSize
	for from < to {
		here, n, err := m.run(i, from-base, to-base)
		if err != nil || here {
			return from, from + n, err
		}
		from += n
	}
	return to, to, nil
}

// ReadAt reads from the disk as io.ReaderAt says. What is in no file reads as zeros.
func (d *Reader) ReadAt(p []byte, off int64) (int, error) { return d.readAt(p, off) }

func (m *image) readAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("vhdx: read at negative offset %d", off)
	}
	size := m.geometry.size
	if off >= size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	var atEnd error
	if int64(len(p)) > size-off {
		p, atEnd = p[:size-off], io.EOF
	}
	done := 0
	for done < len(p) {
		pos := off + int64(done)
		in := pos % m.blockSize
		part := p[done:]
		if left := m.blockSize - in; int64(len(part)) > left {
			part = part[:left]
		}
		if err := m.readBlock(part, pos/m.blockSize, in); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, atEnd
}

// readBlock fills p from offset in of block i.
func (m *image) readBlock(p []byte, i, in int64) error {
	e := m.bat[m.payload(i)]
	switch e.state() {
	case statePresent:
		return m.readData(p, i, e.offset()+in)
	case statePartial:
		for len(p) > 0 {
			here, n, err := m.run(i, in, in+int64(len(p)))
			if err != nil {
				return err
			}
			n = min(n, int64(len(p)))
			if here {
				err = m.readData(p[:n], i, e.offset()+in)
			} else {
				err = m.readParent(p[:n], i*m.blockSize+in)
			}
			if err != nil {
				return err
			}
			p, in = p[n:], in+n
		}
		return nil
	case stateNotPresent:
		if m.locator != nil {
			return m.readParent(p, i*m.blockSize+in)
		}
	}
	clear(p)
	return nil
}

// run tells whether the sector at offset in of the partially present block i is in the file, and how many bytes from in
// on are alike. It looks no further than end.
func (m *image) run(i, in, end int64) (here bool, n int64, err error) {
	e := m.bat[m.bitmap(i)]
	what := fmt.Sprintf("sector bitmap of block %d", i)
	if e.state() != statePresent {
		return false, 0, &FormatError{what, m.batAt + 8*m.bitmap(i), fmt.Errorf("state %d, want 6: block %d is partially present", e.state(), i)}
	}
	off, _ := m.bitmapRange(i)
	first, last := in/m.sector, (end-1)/m.sector
	at := e.offset() + off + first/8
	bits, err := ondisk.ReadAt(m.r, at, last/8-first/8+1, maxBlockSize/512/8)
	if err != nil {
		return false, 0, &FormatError{what, at, err}
	}
	bit := func(s int64) bool { return bits[s/8-first/8]&(1<<(s%8)) != 0 }
	here = bit(first)
	s := first + 1
	for s <= last && bit(s) == here {
		s++
	}
	return here, min(s*m.sector, end) - in, nil
}

func (m *image) readData(p []byte, i, at int64) error {
	n, err := m.r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &FormatError{fmt.Sprintf("block %d", i), at, err}
}

// readParent fills p with what the parent has; behind its end there are zeros.
func (m *image) readParent(p []byte, off int64) error {
	if m.parent == nil {
		return fmt.Errorf("vhdx: %d bytes at %d of the disk: %w", len(p), off, ErrNoParent)
	}
	n, err := m.parent.ReadAt(p, off)
	if n < len(p) && err != nil && err != io.EOF {
		return err
	}
	clear(p[n:])
	return nil
}
