package vhd

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf16"

	"husk/internal/ondisk"
)

// A Reader is the disk in a VHD file. It is safe for concurrent use.
type Reader struct {
	r      io.ReaderAt
	file   io.Closer // nil unless Open made the Reader
	footer *footer
	size   int64 // of the disk
	info   Info

	// The rest is of dynamic disks.
	blockSize  int64
	bitmapSize int64
	bat        []uint32        // one sector address for each block of the disk
	full       []atomic.Uint32 // bit i set: block i is known to hold all of its sectors
	header     *header
	used       []extent // what of the file is in use, without blocks

	locator *ParentLocator // of a differencing disk
	parent  *Reader        // nil if it was not opened
}

// ErrNoParent says that a sector is in the parent of a differencing disk, and that the parent was not opened.
var ErrNoParent = errors.New("the parent disk is not open")

// ErrWrongParent says that a file is not the parent that a differencing disk was made on.
var ErrWrongParent = errors.New("not the parent that the differencing disk was made on")

// ReaderOptions tunes a Reader. It may be nil.
type ReaderOptions struct {
	// Parent opens the parent of a differencing disk. The Reader checks its unique id, and closes it. Without Parent, or
	// if it returns nil, reading what is not in the file fails with ErrNoParent. Nothing in a VHD tells whether the
	// parent was changed since the child was made: who changes it destroys the child.
	Parent func(*ParentLocator) (*Reader, error)
}

// ParentLocator says where the parent of a differencing disk is, and how to know it. Empty strings are not in the file.
type ParentLocator struct {
	ID           [16]byte  // the parent's unique id, in the order in which it is spelled
	Time         time.Time // when the parent was modified; Windows 10 writes 2000-01-01 00:00 UTC, the zero of the field
	Name         string    // for people
	RelativePath string    // from the folder of the child: `.\parent.vhd`; boot managers need it
	AbsolutePath string    // `C:\parent.vhd`
}

// Info describes a VHD file.
type Info struct {
	Type           Type
	Size           int64     // of the disk, bytes
	OriginalSize   int64     // when the disk was made, bytes
	FileSize       int64     // bytes
	Geometry       CHS       // as in the footer
	Creator        string    // 4 characters: "win ", "qemu"
	CreatorVersion uint32    // 0x000a0000: 10.0
	HostOS         string    // 4 characters: "Wi2k"
	Time           time.Time // of creation, UTC
	ID             [16]byte  // in the order in which it is spelled
	SavedState     bool      // a virtual machine is suspended on the disk
	BlockSize      int64     // bytes; 0 in a fixed disk
	Blocks         int64     // of the disk; 0 in a fixed disk
	Allocated      int64     // blocks that are in the file
	Parent         *ParentLocator
	Notes          []string // what is odd about the file but does not keep it from being read
}

// IsVHD reports whether r, of size bytes, ends or starts with a valid VHD footer.
func IsVHD(r io.ReaderAt, size int64) bool {
	_, _, err := findFooter(r, size)
	return err == nil
}

// Open is OpenChain without options.
func Open(name string) (*Reader, error) { return OpenChain(name, nil) }

// OpenChain opens the VHD file name, and what it is based on. The caller must call Close.
func OpenChain(name string, o *ReaderOptions) (*Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd) // a block device has no size in its Stat
	if err == nil {
		var r *Reader
		if r, err = NewChainReader(f, size, o); err == nil {
			r.file = f
			return r, nil
		}
	}
	f.Close()
	return nil, err
}

// NewReader is NewChainReader without options.
func NewReader(r io.ReaderAt, size int64) (*Reader, error) { return NewChainReader(r, size, nil) }

// NewChainReader reads the VHD in r, which has size bytes, and those that it is based on. It checks the footer, the
// header and the whole block table. Bytes that break the format are a *FormatError.
func NewChainReader(r io.ReaderAt, size int64, o *ReaderOptions) (*Reader, error) {
	f, place, err := findFooter(r, size)
	if err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, &FormatError{"footer", place.off, err}
	}
	d := &Reader{r: r, footer: f, size: int64(f.CurrentSize), info: f.info(size)}
	if place.note != "" {
		d.info.Notes = append(d.info.Notes, place.note)
	}
	if d.info.SavedState {
		d.info.Notes = append(d.info.Notes, "a virtual machine is suspended on this disk: its files may not be complete")
	}
	if g := f.Geometry; !sizeCreators[d.info.Creator] && !unambiguous(d.size, g) {
		d.info.Notes = append(d.info.Notes, fmt.Sprintf("Windows reads %d bytes, QEMU %d: creator %q, geometry %v", d.size, g.Size(), d.info.Creator, g))
	}
	if f.Type == Fixed {
		if place.off < d.size {
			return nil, &FormatError{"footer", place.off, fmt.Errorf("disk size %d, want at most the %d bytes before the footer", d.size, place.off)}
		}
		return d, nil
	}
	if err := d.readDynamic(place, size); err != nil {
		return nil, err
	}
	if d.locator == nil || o == nil || o.Parent == nil {
		return d, nil
	}
	p, err := o.Parent(d.locator)
	if err != nil || p == nil {
		return d, err
	}
	if p.footer.ID != d.locator.ID {
		return nil, errors.Join(fmt.Errorf("vhd: parent with unique id %x, want %x: %w", p.footer.ID, d.locator.ID, ErrWrongParent), p.Close())
	}
	d.parent = p
	return d, nil
}

// footerPlace says where a footer was found.
type footerPlace struct {
	off  int64 // 0 for the copy at the start
	note string
}

// findFooter tries the last 512 bytes, the last 511 and the copy at the start of the file.
func findFooter(r io.ReaderAt, size int64) (*footer, footerPlace, error) {
	if size < oldFooterSize {
		return nil, footerPlace{}, &FormatError{"footer", 0, fmt.Errorf("file size %d, want at least %d", size, oldFooterSize)}
	}
	var errs []error
	for _, n := range []int64{footerSize, oldFooterSize} {
		if n > size {
			continue
		}
		f, err := footerAt(r, size-n, n)
		if err == nil {
			return f, footerPlace{off: size - n}, nil
		}
		if n == footerSize || size == oldFooterSize {
			errs = append(errs, &FormatError{"footer", size - n, err})
		}
	}
	if size >= footerSize {
		// Only disks with a header have the copy; a fixed disk may hold anything in its first sector.
		f, err := footerAt(r, 0, footerSize)
		if err == nil && f.Type == Fixed {
			err = errors.New("the footer of a fixed disk, which belongs at the end")
		}
		if err == nil {
			return f, footerPlace{note: fmt.Sprintf("the footer at %#x is damaged; its copy at 0x0 was used", size-footerSize)}, nil
		}
		errs = append(errs, &FormatError{"footer copy", 0, err})
	}
	return nil, footerPlace{}, errors.Join(errs...)
}

func footerAt(r io.ReaderAt, off, n int64) (*footer, error) {
	b, err := ondisk.ReadAt(r, off, n, footerSize)
	if err != nil {
		return nil, err
	}
	return parseFooter(b)
}

// readFull fills b. A file that ends before is io.ErrUnexpectedEOF.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == io.EOF || err == nil:
		return io.ErrUnexpectedEOF
	}
	return err
}

func (f *footer) info(fileSize int64) Info {
	return Info{
		Type:           f.Type,
		Size:           int64(f.CurrentSize),
		OriginalSize:   int64(f.OriginalSize),
		FileSize:       fileSize,
		Geometry:       f.Geometry,
		Creator:        string(f.Creator[:]),
		CreatorVersion: f.CreatorVersion,
		HostOS:         string(f.HostOS[:]),
		Time:           epoch.Add(time.Duration(f.Timestamp) * time.Second),
		ID:             f.ID,
		SavedState:     f.SavedState != 0,
	}
}

// readDynamic reads the header and the block table.
func (d *Reader) readDynamic(place footerPlace, fileSize int64) error {
	off := d.footer.DataOffset
	if fileSize < headerSize || off > uint64(fileSize-headerSize) || off%sectorSize != 0 {
		return &FormatError{"footer", place.off, fmt.Errorf("header at %#x, want a multiple of %d that leaves %d bytes in a file of %d", off, sectorSize, headerSize, fileSize)}
	}
	at := int64(off)
	b, err := ondisk.ReadAt(d.r, at, headerSize, headerSize)
	if err != nil {
		return &FormatError{"header", at, err}
	}
	h, err := parseHeader(b)
	if err != nil {
		return &FormatError{"header", at, err}
	}
	d.header = h
	d.used = []extent{{0, footerSize, isFooter}, {at, at + headerSize, isHeader}}
	if d.footer.Type == Differencing {
		if err := d.readLocators(h, at, fileSize); err != nil {
			return err
		}
	}
	d.blockSize = int64(h.BlockSize)
	d.bitmapSize = bitmapSize(d.blockSize)
	if err := d.readTable(h, at, fileSize); err != nil {
		return err
	}
	end := cmp.Or(place.off, fileSize) // without a footer at the end, blocks may go up to it
	if err := d.checkBlocks(h, at, end); err != nil {
		return err
	}
	if _, err := footerAt(d.r, 0, footerSize); err != nil {
		d.info.Notes = append(d.info.Notes, fmt.Sprintf("the copy of the footer at 0x0 is damaged: %v", err))
	}
	d.full = make([]atomic.Uint32, (len(d.bat)+31)/32)
	return nil
}

// parentName is the name that a differencing disk shows to people. It is not the one by which Windows finds the parent.
func (h *header) parentName() string {
	n := slices.Index(h.ParentName[:], 0)
	if n < 0 {
		n = len(h.ParentName)
	}
	return string(utf16.Decode(h.ParentName[:n]))
}

// readLocators reads how the parent is known and where it is. at is the header's place.
func (d *Reader) readLocators(h *header, at, fileSize int64) error {
	l := &ParentLocator{ID: h.ParentID, Time: epoch.Add(time.Duration(h.ParentTimestamp) * time.Second), Name: h.parentName()}
	for i, e := range h.Locators {
		var to *string
		switch string(e.Code[:]) {
		case relativeCode:
			to = &l.RelativePath
		case absoluteCode:
			to = &l.AbsolutePath
		default:
			continue // an older form, or none
		}
		what, off := fmt.Sprintf("parent locator %d", i), at+int64(locatorsAt+24*i)
		if e.Offset > uint64(fileSize) || !ondisk.Range(int64(e.Offset), int64(e.Length), fileSize) || e.Length > maxPath {
			return &FormatError{what, off, fmt.Errorf("%d bytes at %#x, want at most %d in the file of %d", e.Length, e.Offset, maxPath, fileSize)}
		}
		b, err := ondisk.ReadAt(d.r, int64(e.Offset), int64(e.Length), maxPath)
		if err != nil {
			return &FormatError{what, int64(e.Offset), err}
		}
		u := make([]uint16, len(b)/2)
		for i := range u {
			u[i] = binary.LittleEndian.Uint16(b[2*i:])
		}
		*to = strings.TrimRight(string(utf16.Decode(u)), "\x00")
		d.used = append(d.used, extent{int64(e.Offset), int64(e.Offset) + int64(e.Length), isLocator})
	}
	d.locator = l
	return nil
}

// readTable reads as many entries of the block table as the disk has blocks. at is the header's place.
func (d *Reader) readTable(h *header, at, fileSize int64) error {
	n := blockCount(d.size, d.blockSize)
	if n > int64(h.MaxTableEntries) {
		return &FormatError{"header", at, fmt.Errorf("block table of %d entries, want %d for a disk of %d bytes", h.MaxTableEntries, n, d.size)}
	}
	if n > maxBATEntries {
		return &FormatError{"header", at, fmt.Errorf("block size %d makes %d blocks, want at most %d", d.blockSize, n, maxBATEntries)}
	}
	if h.TableOffset > uint64(fileSize) || 4*n > fileSize-int64(h.TableOffset) {
		return &FormatError{"header", at, fmt.Errorf("block table of %d bytes at %#x, want it in the file of %d", 4*n, h.TableOffset, fileSize)}
	}
	b, err := ondisk.ReadAt(d.r, int64(h.TableOffset), 4*n, 4*maxBATEntries)
	if err != nil {
		return &FormatError{"block table", int64(h.TableOffset), err}
	}
	d.bat = make([]uint32, n)
	for i := range d.bat {
		d.bat[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	d.info.BlockSize, d.info.Blocks = d.blockSize, n
	return nil
}

// extent is a range of the file with an owner.
type extent struct {
	start, end int64
	block      int // negative: not a block
}

// Owners of extents that are not blocks.
const (
	isFooter  = -1
	isHeader  = -2
	isTable   = -3
	isLocator = -4
)

// checkBlocks makes sure that no block ends after end or shares bytes with another one, the header or the table.
func (d *Reader) checkBlocks(h *header, headerAt, end int64) error {
	d.used = append(d.used, extent{int64(h.TableOffset), int64(h.TableOffset) + 4*int64(len(d.bat)), isTable})
	list := slices.Clone(d.used)
	name := func(e extent) string {
		switch e.block {
		case isFooter:
			return "the footer copy"
		case isHeader:
			return "the header"
		case isTable:
			return "the block table"
		case isLocator:
			return "a parent locator"
		}
		return fmt.Sprintf("block %d", e.block)
	}
	for i, sector := range d.bat {
		if sector == absent {
			continue
		}
		d.info.Allocated++
		start := int64(sector) * sectorSize
		// Some writers cut the last block where the disk ends.
		stop := start + d.bitmapSize + min(d.blockSize, d.size-int64(i)*d.blockSize)
		if stop > end {
			return &FormatError{fmt.Sprintf("block table entry %d", i), int64(h.TableOffset) + 4*int64(i),
				fmt.Errorf("block from %#x to %#x, want it to end by %#x", start, stop, end)}
		}
		list = append(list, extent{start, stop, i})
	}
	slices.SortFunc(list, func(a, b extent) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end), a.block-b.block)
	})
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; a.end > b.start {
			return &FormatError{name(b), b.start, fmt.Errorf("overlaps %s, which goes from %#x to %#x", name(a), a.start, a.end)}
		}
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

// Parent is the parent of a differencing disk, or nil if there is none or it was not opened.
func (d *Reader) Parent() *Reader { return d.parent }

// Size is the size of the disk in bytes, a multiple of 512. It is the footer's current size, as Windows has it, also
// where QEMU would take the geometry's; Info has a note then.
func (d *Reader) Size() int64 { return d.size }

// Type is Fixed, Dynamic or Differencing.
func (d *Reader) Type() Type { return d.footer.Type }

// UUID is the footer's unique id, in the order in which it is spelled.
func (d *Reader) UUID() [16]byte { return d.footer.ID }

// Info describes the file.
func (d *Reader) Info() Info {
	i := d.info
	i.Notes = slices.Clone(i.Notes)
	if d.locator != nil {
		l := *d.locator
		i.Parent = &l
	}
	return i
}

// NextAllocated returns the first range of the disk at or after off that has bytes in the file, or in a parent: start is
// off itself if that lies in such a range. What lies between ranges reads as zeros. When nothing more is allocated, start
// and end are both Size. Ranges may hold zeros; a fixed disk is one range.
func (d *Reader) NextAllocated(off int64) (start, end int64) {
	return d.nextRange(off, func(i int, from, to int64) (int64, int64) {
		switch {
		case d.bat[i] != absent:
			return from, to
		case d.locator == nil:
			return to, to
		case d.parent == nil:
			return from, to // reading it is an error that must not be passed over
		}
		a, b := d.parent.NextAllocated(from)
		return min(a, to), min(b, to)
	})
}

// NextOwn is NextAllocated for what this file itself has, whatever a parent does: the parent's content with these ranges
// replaced is the disk's.
func (d *Reader) NextOwn(off int64) (start, end int64, err error) {
	start, end = d.nextRange(off, func(i int, from, to int64) (int64, int64) {
		if d.bat[i] == absent {
			return to, to
		}
		bitmap, e2 := d.bitmap(i)
		if e2 != nil {
			err = e2
			return to, to
		}
		if bitmap == nil {
			return from, to
		}
		base := int64(i) * d.blockSize
		s, n := (from-base)/sectorSize, (to-base)/sectorSize
		for s < n && !bit(bitmap, s) {
			s++
		}
		a := s
		for s < n && bit(bitmap, s) {
			s++
		}
		return max(from, base+a*sectorSize), base + s*sectorSize
	})
	return start, end, err
}

// nextRange is ondisk.NextRange over the blocks of the disk. A fixed disk has all of itself.
func (d *Reader) nextRange(off int64, in func(i int, from, to int64) (int64, int64)) (start, end int64) {
	if d.footer.Type == Fixed {
		return min(max(off, 0), d.size), d.size
	}
	return ondisk.NextRange(off, d.size, d.blockSize, func(i, from, to int64) (int64, int64) { return in(int(i), from, to) })
}

// ReadAt reads from the disk as io.ReaderAt says. Sectors that are not in the file read as zeros.
func (d *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("vhd: read at negative offset %d", off)
	}
	if off >= d.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	var atEnd error
	if int64(len(p)) > d.size-off {
		p, atEnd = p[:d.size-off], io.EOF
	}
	if d.footer.Type == Fixed {
		if err := readFull(d.r, p, off); err != nil {
			return 0, &FormatError{"data", off, err}
		}
		return len(p), atEnd
	}
	done := 0
	for done < len(p) {
		pos := off + int64(done)
		in := pos % d.blockSize
		part := p[done:]
		if left := d.blockSize - in; int64(len(part)) > left {
			part = part[:left]
		}
		if err := d.readBlock(part, int(pos/d.blockSize), in); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, atEnd
}

// readBlock fills p from offset in of block i.
func (d *Reader) readBlock(p []byte, i int, in int64) error {
	if d.bat[i] == absent {
		return d.readBelow(p, int64(i)*d.blockSize+in)
	}
	bitmap, err := d.bitmap(i)
	if err != nil {
		return err
	}
	if bitmap != nil {
		return d.readPartial(p, i, in, bitmap)
	}
	start := int64(d.bat[i])*sectorSize + d.bitmapSize + in
	if err := readFull(d.r, p, start); err != nil {
		return &FormatError{fmt.Sprintf("block %d", i), start, err}
	}
	return nil
}

// bitmap reads the sector bitmap of a block that is in the file. It is nil if the block has all of its sectors.
func (d *Reader) bitmap(i int) ([]byte, error) {
	if d.full[i/32].Load()&(1<<(i%32)) != 0 {
		return nil, nil
	}
	start := int64(d.bat[i]) * sectorSize
	bitmap, err := ondisk.ReadAt(d.r, start, d.bitmapSize, maxBlockSize/sectorSize/8)
	if err != nil {
		return nil, &FormatError{fmt.Sprintf("bitmap of block %d", i), start, err}
	}
	if sectors := min(d.blockSize, d.size-int64(i)*d.blockSize) / sectorSize; !allSet(bitmap, sectors) {
		return bitmap, nil
	}
	d.full[i/32].Or(1 << (i % 32))
	return nil, nil
}

// readPartial is readBlock for a block with sectors that are not in the file: neighbours of one kind at a time.
func (d *Reader) readPartial(p []byte, i int, in int64, bitmap []byte) error {
	base := int64(d.bat[i])*sectorSize + d.bitmapSize
	for len(p) > 0 {
		s := in / sectorSize
		set := bit(bitmap, s)
		end := s + 1
		for end*sectorSize < in+int64(len(p)) && bit(bitmap, end) == set {
			end++
		}
		n := min(end*sectorSize-in, int64(len(p)))
		if !set {
			if err := d.readBelow(p[:n], int64(i)*d.blockSize+in); err != nil {
				return err
			}
		} else if err := readFull(d.r, p[:n], base+in); err != nil {
			return &FormatError{fmt.Sprintf("block %d", i), base + in, err}
		}
		p, in = p[n:], in+n
	}
	return nil
}

// readBelow fills p with what is not in the file: the parent's, or zeros without one and behind its end.
func (d *Reader) readBelow(p []byte, off int64) error {
	n := 0
	if d.locator != nil {
		if d.parent == nil {
			return fmt.Errorf("vhd: %d bytes at %d of the disk: %w", len(p), off, ErrNoParent)
		}
		var err error
		if n, err = d.parent.ReadAt(p, off); n < len(p) && err != nil && err != io.EOF {
			return err
		}
	}
	clear(p[n:])
	return nil
}

// bit is the state of sector s.
func bit(bitmap []byte, s int64) bool { return bitmap[s/8]&(0x80>>(s%8)) != 0 }

// allSet reports whether the first n bits are all 1.
func allSet(bitmap []byte, n int64) bool {
	for _, c := range bitmap[:n/8] {
		if c != 0xff {
			return false
		}
	}
	for s := n / 8 * 8; s < n; s++ {
		if !bit(bitmap, s) {
			return false
		}
	}
	return true
}
