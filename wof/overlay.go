package wof

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"husk/guid"
	"husk/winfile"
)

const (
	overlayMagic   = 0x66436f57 // "WoCf"
	overlayVersion = 1
	overlayHeader  = 24
	overlayEntry   = 0x28
	locationFixed  = 0x68
	maxPath        = 32767 // UTF-16 units, terminator included

	// MaxOverlay is the largest WimOverlay.dat that is read or written, in bytes: some thousand WIMs.
	MaxOverlay = 1 << 20
)

// locationFields are the 32-bit fields of a location that are always the same. From 0x20 to 0x68 it is the partition device of a
// boot store (type 6, 0x48 bytes), and before that the file device that holds it.
var locationFields = []field{
	{0x00, "field", 0}, {0x04, "field", 0}, {0x0c, "field", 0}, {0x10, "device type", 5}, {0x14, "file version", 1},
	{0x1c, "parent type", 5}, {0x20, "partition device type", 6}, {0x24, "field", 0}, {0x28, "partition device size", 0x48},
	{0x2c, "field", 0}, {0x40, "field", 0}, {0x58, "field", 0}, {0x5c, "field", 0}, {0x60, "field", 0}, {0x64, "field", 0},
}

// WIMType tells whether a WIM has an operating system; it is not known to matter. wimlib writes 0, DISM 1 for such a WIM.
type WIMType uint32

const (
	WIMOther WIMType = 0 // WIM_BOOT_NOT_OS_WIM
	WIMOS    WIMType = 1 // WIM_BOOT_OS_WIM
)

// Table is a kind of partition table.
type Table uint32

const (
	TableGPT Table = 0
	TableMBR Table = 1
)

func (t Table) String() string {
	switch t {
	case TableGPT:
		return "GPT"
	case TableMBR:
		return "MBR"
	}
	return fmt.Sprintf("table type %d", uint32(t))
}

// Location is where a WIM lies: a file on a partition, as that will be when Windows starts.
type Location struct {
	Table     Table
	Partition [16]byte // GPT: unique partition GUID; MBR: u64 offset in bytes on the disk, then zeros
	Disk      [16]byte // GPT: disk GUID; MBR: u32 signature, then zeros
	Path      string   // from the root of the partition: `\wimboot\wimboot.wim`
}

// NewGPTLocation returns the place of a file on a GPT disk.
func NewGPTLocation(disk, partition guid.GUID, path string) Location {
	return Location{Table: TableGPT, Partition: partition, Disk: disk, Path: path}
}

// NewMBRLocation returns the place of a file on an MBR disk, of which partitionOffset is in bytes.
func NewMBRLocation(signature uint32, partitionOffset uint64, path string) Location {
	l := Location{Table: TableMBR, Path: path}
	le.PutUint64(l.Partition[:], partitionOffset)
	le.PutUint32(l.Disk[:], signature)
	return l
}

// GPT returns the GUIDs of a GPT location.
func (l Location) GPT() (disk, partition guid.GUID) { return l.Disk, l.Partition }

// MBR returns the disk signature and the partition offset in bytes of an MBR location.
func (l Location) MBR() (signature uint32, partitionOffset uint64) {
	return le.Uint32(l.Disk[:]), le.Uint64(l.Partition[:])
}

// String shows all of it on one line.
func (l Location) String() string {
	if l.Table == TableMBR {
		signature, offset := l.MBR()
		return fmt.Sprintf("%s on MBR disk %08x, partition at byte %d", l.Path, signature, offset)
	}
	disk, partition := l.GPT()
	return fmt.Sprintf("%s on %v disk %v, partition %v", l.Path, l.Table, disk, partition)
}

// same compares as Windows would: the path in any case.
func (l Location) same(o Location) bool {
	return l.Table == o.Table && l.Partition == o.Partition && l.Disk == o.Disk && winfile.EqualFold(l.Path, o.Path)
}

func (l Location) check() error {
	if l.Table > TableMBR {
		return fmt.Errorf("partition table type %d, want 0 (GPT) or 1 (MBR)", uint32(l.Table))
	}
	n := len(winfile.UTF16FromName(l.Path))
	switch {
	case n < 2 || l.Path[0] != '\\':
		return fmt.Errorf(`path %q, want one that starts with \`, l.Path)
	case n >= maxPath:
		return fmt.Errorf("path of %d characters, want less than %d", n, maxPath)
	case strings.ContainsAny(l.Path, "/\x00"):
		return fmt.Errorf("path %q, want neither slash nor NUL", l.Path)
	case !winfile.ValidName(l.Path):
		return fmt.Errorf("path %q is not UTF-8", l.Path)
	}
	return nil
}

// Entry is one WIM of a WimOverlay.dat.
type Entry struct {
	DataSourceID uint64 // what pointer files give
	Type         WIMType
	ImageIndex   uint32 // does not restrict anything; 1 if in doubt
	GUID         guid.GUID
	Location     Location
}

// Overlay is a WimOverlay.dat: the WIMs that the pointer files of its volume refer to. The zero value lists none.
type Overlay struct {
	next    uint64
	records []record
	lead    []byte // bytes between the entries and the first location: normally none
	tail    []byte // bytes after the last location: normally none
}

// record is an entry with the bytes that followed its location and belong to nothing known: normally none.
type record struct {
	Entry
	pad []byte
}

// ErrNoEntry is returned where a data source id is not in the overlay.
var ErrNoEntry = errors.New("no such data source")

// Entries returns the entries in the order of the file.
func (o *Overlay) Entries() []Entry {
	list := make([]Entry, len(o.records))
	for i, r := range o.records {
		list[i] = r.Entry
	}
	return list
}

// Entry finds an entry by its data source id.
func (o *Overlay) Entry(id uint64) (Entry, bool) {
	if i := o.index(id); i >= 0 {
		return o.records[i].Entry, true
	}
	return Entry{}, false
}

// NextID is the data source id that the next new entry gets. It never goes down, so ids are not used again.
func (o *Overlay) NextID() uint64 { return o.next }

// Add returns the data source id of a WIM: that of an entry with the same GUID and location if there is one, else that of a
// new entry.
func (o *Overlay) Add(typ WIMType, imageIndex uint32, g guid.GUID, l Location) (uint64, error) {
	if err := l.check(); err != nil {
		return 0, fmt.Errorf("wof: %w", err)
	}
	for _, r := range o.records {
		if r.GUID == g && r.Location.same(l) {
			return r.DataSourceID, nil
		}
	}
	if o.next == math.MaxUint64 {
		return 0, errors.New("wof: WimOverlay.dat has no data source id left")
	}
	id := o.next
	o.records = append(o.records, record{Entry: Entry{id, typ, imageIndex, g, l}})
	o.next++
	return id, nil
}

// Repoint changes GUID and location of an entry; pointer files stay valid if the WIM has their contents. It returns
// [ErrNoEntry] if there is no such entry.
func (o *Overlay) Repoint(id uint64, g guid.GUID, l Location) error {
	if err := l.check(); err != nil {
		return fmt.Errorf("wof: %w", err)
	}
	i := o.index(id)
	if i < 0 {
		return fmt.Errorf("wof: data source %d: %w", id, ErrNoEntry)
	}
	o.records[i].GUID, o.records[i].Location = g, l
	return nil
}

// Remove takes an entry out; pointer files that refer to it can be read no more. It returns [ErrNoEntry] if there is none.
func (o *Overlay) Remove(id uint64) error {
	i := o.index(id)
	if i < 0 {
		return fmt.Errorf("wof: data source %d: %w", id, ErrNoEntry)
	}
	o.records = slices.Delete(o.records, i, i+1)
	return nil
}

func (o *Overlay) index(id uint64) int {
	return slices.IndexFunc(o.records, func(r record) bool { return r.DataSourceID == id })
}

// Marshal returns the file. What [ParseOverlay] read and nobody changed comes back byte by byte.
func (o *Overlay) Marshal() ([]byte, error) {
	b := make([]byte, overlayHeader+overlayEntry*len(o.records), overlayHeader+(overlayEntry+2*locationFixed)*len(o.records))
	le.PutUint32(b, overlayMagic)
	le.PutUint32(b[0x04:], overlayVersion)
	le.PutUint32(b[0x08:], overlayEntry)
	le.PutUint32(b[0x0c:], uint32(len(o.records)))
	le.PutUint64(b[0x10:], o.next)
	b = append(b, o.lead...)
	for i, r := range o.records {
		start := len(b)
		b = append(appendLocation(b, r.Location), r.pad...)
		e := b[overlayHeader+overlayEntry*i:]
		le.PutUint64(e, r.DataSourceID)
		le.PutUint32(e[0x08:], uint32(start))
		le.PutUint32(e[0x0c:], uint32(len(b)-len(r.pad)-start))
		le.PutUint32(e[0x10:], uint32(r.Type))
		le.PutUint32(e[0x14:], r.ImageIndex)
		copy(e[0x18:0x28], r.GUID[:])
		if len(b) > MaxOverlay {
			break
		}
	}
	if b = append(b, o.tail...); len(b) > MaxOverlay {
		return nil, fmt.Errorf("wof: WimOverlay.dat of %d WIMs is larger than %d bytes", len(o.records), MaxOverlay)
	}
	return b, nil
}

func appendLocation(b []byte, l Location) []byte {
	start := len(b)
	b = append(b, make([]byte, locationFixed)...)
	b = winfile.AppendUTF16LE(b, l.Path)
	b = append(b, 0, 0)
	p := b[start:]
	putFields(p, locationFields)
	le.PutUint32(p[0x08:], uint32(len(p)))
	le.PutUint32(p[0x18:], uint32(len(p)-0x14))
	copy(p[0x30:], l.Partition[:])
	le.PutUint32(p[0x44:], uint32(l.Table))
	copy(p[0x48:], l.Disk[:])
	return b
}

// ParseOverlay reads a WimOverlay.dat. It refuses what is not known to be right, because who changes such a file would damage
// it. Errors are *FormatError.
func ParseOverlay(b []byte) (*Overlay, error) {
	const what = "WimOverlay.dat header"
	if len(b) < overlayHeader || len(b) > MaxOverlay {
		return nil, &FormatError{what, 0, fmt.Errorf("file of %d bytes, want %d to %d", len(b), overlayHeader, MaxOverlay)}
	}
	if err := checkFields(what, b, 0, []field{
		{0x00, "magic", overlayMagic}, {0x04, "version", overlayVersion}, {0x08, "entry size", overlayEntry},
	}); err != nil {
		return nil, err
	}
	count := int64(le.Uint32(b[0x0c:]))
	if room := int64(len(b)-overlayHeader) / overlayEntry; count > room {
		return nil, &FormatError{what, 0x0c, fmt.Errorf("%d entries, want at most %d in %d bytes", count, room, len(b))}
	}
	o := &Overlay{next: le.Uint64(b[0x10:])}
	seen := make(map[uint64]bool)
	end := overlayHeader + overlayEntry*int(count) // of what was read so far
	gap := &o.lead
	for i := range int(count) {
		r, start, err := parseEntry(b, i, end)
		if err != nil {
			return nil, err
		}
		if id := r.DataSourceID; id >= o.next || seen[id] {
			return nil, &FormatError{entryName(i), int64(overlayHeader + overlayEntry*i),
				fmt.Errorf("data source id %d, want one below %d that no other entry has", id, o.next)}
		}
		seen[r.DataSourceID] = true
		*gap = bytes.Clone(b[end:start])
		end = start + int(le.Uint32(b[overlayHeader+overlayEntry*i+0x0c:]))
		o.records = append(o.records, r)
		gap = &o.records[i].pad
	}
	o.tail = bytes.Clone(b[end:])
	return o, nil
}

func entryName(i int) string { return fmt.Sprintf("WimOverlay.dat entry %d", i) }

// parseEntry reads the i-th entry and its location, which must not start before free; start is where it does.
func parseEntry(b []byte, i, free int) (r record, start int, err error) {
	base := overlayHeader + overlayEntry*i
	e := b[base : base+overlayEntry]
	off, n := int64(le.Uint32(e[0x08:])), int64(le.Uint32(e[0x0c:]))
	bad := func(at int, format string, args ...any) error {
		return &FormatError{entryName(i), int64(base + at), fmt.Errorf(format, args...)}
	}
	if off%2 != 0 || off < int64(free) || off > int64(len(b)) {
		return r, 0, bad(0x08, "location offset %#x, want an even one from %#x to %#x", off, free, len(b))
	}
	if room := int64(len(b)) - off; n > room || n%2 != 0 || n < locationFixed+6 {
		return r, 0, bad(0x0c, "location length %d, want an even one from %d to %d", n, locationFixed+6, room)
	}
	l, err := parseLocation(i, b[off:off+n], off)
	if err != nil {
		return r, 0, err
	}
	r.Entry = Entry{
		DataSourceID: le.Uint64(e),
		Type:         WIMType(le.Uint32(e[0x10:])),
		ImageIndex:   le.Uint32(e[0x14:]),
		GUID:         guid.GUID(e[0x18:0x28]),
		Location:     l,
	}
	return r, int(off), nil
}

// parseLocation reads a location of at least the fixed size and three UTF-16 units, which starts at base.
func parseLocation(i int, b []byte, base int64) (Location, error) {
	what := fmt.Sprintf("WimOverlay.dat location %d", i)
	n := uint32(len(b))
	if err := checkFields(what, b, base, append([]field{{0x08, "length", n}, {0x18, "file length", n - 0x14}}, locationFields...)); err != nil {
		return Location{}, err
	}
	path := b[locationFixed:]
	if end := path[len(path)-2:]; end[0] != 0 || end[1] != 0 {
		return Location{}, &FormatError{what, base + int64(n) - 2, errors.New("path without NUL at its end")}
	}
	l := Location{
		Table:     Table(le.Uint32(b[0x44:])),
		Partition: [16]byte(b[0x30:0x40]),
		Disk:      [16]byte(b[0x48:0x58]),
		Path:      pathFromUTF16(path[:len(path)-2]),
	}
	if err := l.check(); err != nil {
		at := int64(locationFixed)
		if l.Table > TableMBR {
			at = 0x44
		}
		return Location{}, &FormatError{what, base + at, err}
	}
	return l, nil
}

func pathFromUTF16(b []byte) string {
	if len(b) > 2*maxPath {
		b = b[:2*maxPath] // long enough to be refused
	}
	return winfile.NameFromUTF16LE(b)
}
