package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"husk/internal/ondisk"
	"husk/winfile"
)

// maxDepth bounds the directories above a file. Windows' paths end long before.
const maxDepth = 128

// A FormatError reports bytes that break the FAT format.
type FormatError struct {
	What string // structure being read: "boot sector", "directory /EFI", "chain of /EFI/a"
	Off  int64  // byte offset in the volume
	Err  error  // found and expected, or the read error
}

func (e *FormatError) Error() string { return fmt.Sprintf("fat: %s at %#x: %v", e.What, e.Off, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }

// A Volume is a FAT12, FAT16 or FAT32 volume.
type Volume struct {
	Bits          int // 12, 16 or 32
	SectorSize    int
	ClusterSize   int
	Clusters      int64
	HiddenSectors uint32
	Serial        uint32
	Label         string // of the boot sector; empty if there is none

	r         io.ReaderAt
	size      int64
	table     int64   // byte offset of the FAT that is in use
	fatSize   int64   // bytes of one FAT
	copies    []int64 // byte offsets of the FATs that are kept equal; the one in use is first
	info      int64   // byte offset of FSInfo; 0 if there is none
	rootAt    int64   // byte offset of the root directory of FAT12 and FAT16
	rootSize  int64
	root      uint32 // its first cluster, of FAT32
	clusterAt int64  // byte offset of cluster 2
}

// NewVolume reads the boot sector of a volume of size bytes. r is used for as long as the volume and its tree are.
func NewVolume(r io.ReaderAt, size int64) (*Volume, error) {
	fail := func(off int64, format string, args ...any) (*Volume, error) {
		return nil, &FormatError{"boot sector", off, fmt.Errorf(format, args...)}
	}
	raw, err := ondisk.ReadAt(r, 0, bootSize, bootSize)
	if err != nil {
		return fail(0, "%w", err)
	}
	var b bootSector
	if _, err := binary.Decode(raw, le, &b); err != nil {
		return fail(0, "%w", err)
	}
	powerOf2 := func(n int) bool { return n > 0 && n&(n-1) == 0 }
	switch sector := int(b.SectorSize); {
	case b.Signature != [2]byte{0x55, 0xaa}:
		return fail(0x1fe, "signature %x, want 55aa", b.Signature)
	case !powerOf2(sector) || sector < 512 || sector > 4096:
		return fail(0x0b, "sector size %d, want a power of two from 512 to 4096", sector)
	case !powerOf2(int(b.ClusterSectors)):
		return fail(0x0d, "%d sectors per cluster, want a power of two", b.ClusterSectors)
	case b.Reserved == 0:
		return fail(0x0e, "no reserved sectors, want at least the boot sector")
	case b.FATs == 0:
		return fail(0x10, "no FAT, want one or two")
	}
	v := &Volume{
		SectorSize: int(b.SectorSize), ClusterSize: int(b.SectorSize) * int(b.ClusterSectors), HiddenSectors: b.HiddenSectors,
		r: r, size: size,
	}
	sector, sectors := int64(b.SectorSize), int64(b.Sectors16)
	if sectors == 0 {
		sectors = int64(b.Sectors)
	}
	if sectors > size/sector {
		return fail(0x13, "%d sectors of %d bytes, want them in the %d bytes of the volume", sectors, sector, size)
	}
	fatSectors, used, mirrored := int64(b.FATSectors16), int64(0), true
	if fatSectors == 0 {
		fatSectors = int64(b.FATSectors)
		if b.ExtFlags&0x80 != 0 {
			used, mirrored = int64(b.ExtFlags&0x0f), false
		}
		if used >= int64(b.FATs) {
			return fail(0x28, "FAT %d is the active one of %d", used, b.FATs)
		}
		if b.FSInfo > 0 && b.FSInfo < b.Reserved {
			v.info = int64(b.FSInfo) * sector
		}
	}
	v.fatSize = fatSectors * sector
	v.rootSize = int64(b.RootEntries) * entrySize
	v.table = (int64(b.Reserved) + used*fatSectors) * sector
	v.copies = []int64{v.table}
	for i := int64(1); mirrored && i < int64(b.FATs); i++ {
		v.copies = append(v.copies, v.table+i*v.fatSize)
	}
	v.rootAt = (int64(b.Reserved) + int64(b.FATs)*fatSectors) * sector
	v.clusterAt = v.rootAt + (v.rootSize+sector-1)/sector*sector
	v.Clusters = (sectors*sector - v.clusterAt) / int64(v.ClusterSize)
	if v.Clusters < 1 || v.Clusters >= mostClusters {
		return fail(0x20, "%d clusters, want 1 to %d", v.Clusters, mostClusters-1)
	}
	tail := raw[0x26:] // BootSignature, Serial, Label
	switch {
	case b.FATSectors16 == 0:
		v.Bits, v.root, tail = 32, b.Root, raw[0x42:]
	case v.Clusters < 4085:
		v.Bits = 12
	case v.Clusters < leastCluster:
		v.Bits = 16
	default:
		return fail(0x20, "%d clusters, want fewer than %d without the fields of FAT32", v.Clusters, leastCluster)
	}
	if have := fatSectors * sector * 8 / int64(v.Bits); have < v.Clusters+rootCluster {
		return fail(0x24, "a FAT of %d entries, want %d", have, v.Clusters+rootCluster)
	}
	if tail[0] == 0x29 {
		v.Serial = le.Uint32(tail[1:])
		if v.Label = strings.TrimRight(string(tail[5:16]), " "); v.Label == "NO NAME" {
			v.Label = ""
		}
	}
	return v, nil
}

// --- chains

// chain walks the clusters of a file. It keeps the page of the FAT that it read last.
type chain struct {
	*Volume
	what  string
	next  uint32
	steps int64 // so far
	page  [4096]byte
	at    int64 // byte offset of page in the volume, or -1
}

func (v *Volume) chain(what string, first uint32) *chain {
	return &chain{Volume: v, what: "chain of " + what, next: first, at: -1}
}

// mask has the bits of an entry that count.
func (v *Volume) mask() uint32 { return 1<<min(v.Bits, 28) - 1 }

// end is the least value of an entry that ends a chain.
func (v *Volume) end() uint32 { return (endOfChain - 7) & v.mask() }

// advance returns the byte offset of the next cluster, or io.EOF after the last one.
func (c *chain) advance() (int64, error) {
	if c.next >= c.end() && c.steps > 0 {
		return 0, io.EOF
	}
	at := c.entryAt(c.next)
	if c.next < rootCluster || int64(c.next)-rootCluster >= c.Clusters {
		return 0, &FormatError{c.what, at, fmt.Errorf("cluster %d, want 2 to %d", c.next, c.Clusters+rootCluster-1)}
	}
	if c.steps++; c.steps > c.Clusters {
		return 0, &FormatError{c.what, at, errors.New("it comes back to where it was")}
	}
	data := c.clusterAt + (int64(c.next)-rootCluster)*int64(c.ClusterSize)
	var raw [4]byte
	for i := range raw {
		b, err := c.tableByte(at + int64(i))
		if err != nil {
			return 0, &FormatError{c.what, at, err}
		}
		raw[i] = b
	}
	n := le.Uint32(raw[:])
	if c.Bits == 12 && c.next&1 != 0 {
		n >>= 4
	}
	c.next = n & c.mask()
	return data, nil
}

// entryAt is the byte offset of a cluster's entry in the volume.
func (v *Volume) entryAt(cluster uint32) int64 { return v.table + int64(cluster)*int64(v.Bits)/8 }

// tableByte returns the byte of the volume at off, which is in the FAT or just behind it.
func (c *chain) tableByte(off int64) (byte, error) {
	size := int64(len(c.page))
	if at := off &^ (size - 1); at != c.at {
		n, err := c.r.ReadAt(c.page[:min(size, max(c.size-at, 0))], at)
		if int64(n) <= off-at {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		clear(c.page[n:])
		c.at = at
	}
	return c.page[off&(size-1)], nil
}

// fileReader reads the content of a file of left more bytes.
type fileReader struct {
	c    *chain
	at   int64 // byte offset in the volume
	here int   // bytes left in the cluster
	left int64
}

func (f *fileReader) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	if f.here == 0 {
		at, err := f.c.advance()
		if err == io.EOF {
			err = &FormatError{f.c.what, f.c.entryAt(f.c.next), fmt.Errorf("it ends %d bytes before the file does", f.left)}
		}
		if err != nil {
			return 0, err
		}
		f.at, f.here = at, f.c.ClusterSize
	}
	p = p[:min(int64(len(p)), int64(f.here), f.left)]
	n, err := f.c.r.ReadAt(p, f.at)
	if n < len(p) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return n, &FormatError{f.c.what, f.at, err}
	}
	f.at += int64(n)
	f.here -= n
	f.left -= int64(n)
	return n, nil
}

func (f *fileReader) Close() error { return nil }

// place is the Ref of a blob.
type place struct {
	path  string
	first uint32
}

// OpenBlob makes a volume the Content of its files.
func (v *Volume) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	p := b.Ref.(place)
	return &fileReader{c: v.chain(p.path, p.first), left: b.Size}, nil
}

// --- directories

// Tree reads all directories. Contents are read when they are asked for.
func (v *Volume) Tree() (*winfile.Tree, error) {
	t := treeReader{Volume: v, seen: make(map[uint32]bool)}
	return t.tree()
}

type treeReader struct {
	*Volume
	seen map[uint32]bool // first clusters of directories

	// found hears of each file and directory, and of the root, whose path is empty: its first cluster, the byte offset of its entry in
	// the volume. It may be nil.
	found func(path string, e *dirEntry, first uint32, at int64) error
}

func (t *treeReader) tree() (*winfile.Tree, error) {
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	var d directoryData
	var err error
	if t.Bits == 32 {
		if t.found != nil {
			err = t.found("", &dirEntry{Attributes: uint8(winfile.AttrDirectory)}, t.root, 0)
		}
		if err == nil {
			d, err = t.readDirectory("/", t.root)
		}
	} else {
		d.unit, d.places = int(t.rootSize), []int64{t.rootAt}
		if d.b, err = ondisk.ReadAt(t.r, t.rootAt, t.rootSize, 65536*entrySize); err != nil {
			err = &FormatError{"root directory", t.rootAt, err}
		}
	}
	if err == nil {
		err = t.entries(root, "", d, 0)
	}
	if err != nil {
		return nil, err
	}
	return &winfile.Tree{Root: root}, nil
}

// directoryData is the content of a directory, in pieces of unit bytes, and where they are in the volume.
type directoryData struct {
	b      []byte
	unit   int
	places []int64
}

// at is the byte offset in the volume of what is at off.
func (d *directoryData) at(off int) int64 { return d.places[off/d.unit] + int64(off%d.unit) }

// readDirectory reads the entries of a directory up to the end of its chain.
func (t *treeReader) readDirectory(path string, first uint32) (directoryData, error) {
	c, d := t.chain(path, first), directoryData{unit: t.ClusterSize}
	if t.seen[first] {
		return d, &FormatError{c.what, c.entryAt(first), errors.New("another directory begins there, too")}
	}
	t.seen[first] = true
	for {
		at, err := c.advance()
		if err == io.EOF {
			return d, nil
		}
		if err != nil {
			return d, err
		}
		if len(d.b) >= maxDirectory {
			return d, &FormatError{c.what, at, fmt.Errorf("directory of more than %d entries", maxDirectory/entrySize)}
		}
		p, err := ondisk.ReadAt(t.r, at, int64(t.ClusterSize), int64(t.ClusterSize))
		if err != nil {
			return d, &FormatError{c.what, at, err}
		}
		d.b, d.places = append(d.b, p...), append(d.places, at)
		for off := 0; off < len(p); off += entrySize {
			if p[off] == 0 {
				return d, nil
			}
		}
	}
}

// entries adds what the entries of data say to the directory d.
func (t *treeReader) entries(d *winfile.Entry, path string, data directoryData, depth int) error {
	var long longName
	for off := 0; off+entrySize <= len(data.b) && data.b[off] != 0; off += entrySize {
		raw := data.b[off : off+entrySize]
		var e dirEntry
		if _, err := binary.Decode(raw, le, &e); err != nil {
			return err
		}
		switch {
		case e.Name[0] == 0xe5: // deleted
			long = longName{}
		case e.Attributes&0x3f == attrLong:
			long.add(raw)
		case e.Attributes&attrLabel != 0 || e.Name[0] == '.':
			long = longName{}
		default:
			c, err := t.entry(path, &e, &long, data.at(off), depth)
			if err != nil {
				return err
			}
			d.Children = append(d.Children, c)
			long = longName{}
		}
	}
	return nil
}

// entry makes one child, whose entry is at a byte offset of the volume, with all that is below it.
func (t *treeReader) entry(parent string, e *dirEntry, long *longName, at int64, depth int) (*winfile.Entry, error) {
	name, ok := long.name(e.Name)
	if !ok {
		name = shortText(e)
	}
	path := parent + "/" + name
	first := uint32(e.ClusterLow)
	if t.Bits == 32 {
		first |= uint32(e.ClusterHigh) << 16
	}
	if name == "" || name == "." || name == ".." || !winfile.ValidName(name) || strings.ContainsAny(name, "/\\\x00") {
		return nil, &FormatError{"directory " + parent + "/", at, fmt.Errorf("name %q, which no file can have", name)}
	}
	if t.found != nil {
		if err := t.found(path, e, first, at); err != nil {
			return nil, err
		}
	}
	c := &winfile.Entry{Name: name, Info: &winfile.Info{
		Attributes: winfile.Attributes(e.Attributes) & attrStored, Links: 1,
		Created: fileTime(e.Created, e.CreatedTens), Written: fileTime(e.Written, 0), Accessed: fileTime(uint32(e.Accessed)<<16, 0),
	}}
	if !c.Info.IsDir() {
		if e.Size > 0 {
			c.Info.Data = &winfile.Blob{Size: int64(e.Size), Order: int64(first), Content: t.Volume, Ref: place{path, first}}
		}
		return c, nil
	}
	if depth == maxDepth {
		return nil, &FormatError{"directory " + path, at, fmt.Errorf("%d directories deep, want fewer", depth)}
	}
	d, err := t.readDirectory(path, first)
	if err == nil {
		err = t.entries(c, path, d, depth+1)
	}
	return c, err
}

// longName is what the entries so far say of a long name.
type longName struct {
	parts [20][longUnits]uint16
	count int // parts of the name; 0 if there is none
	next  int // the part that must come, counted down to 0
	sum   uint8
}

// add takes the next entry. One that does not belong there voids the name.
func (l *longName) add(raw []byte) {
	var e longEntry
	if _, err := binary.Decode(raw, le, &e); err != nil {
		panic("fat: internal error: " + err.Error())
	}
	n := int(e.Order &^ lastPart)
	if e.Order&lastPart != 0 {
		*l = longName{count: n, next: n, sum: e.Checksum}
	}
	if n < 1 || n > len(l.parts) || n != l.next || e.Checksum != l.sum {
		*l = longName{}
		return
	}
	p := l.parts[n-1][:]
	copy(p, e.First[:])
	copy(p[5:], e.Middle[:])
	copy(p[11:], e.Last[:])
	l.next--
}

// name returns the whole name, if it belongs to the short one.
func (l *longName) name(short [11]byte) (string, bool) {
	if l.count == 0 || l.next != 0 || l.sum != checksum(short) {
		return "", false
	}
	var u []uint16
	for i := range l.count {
		u = append(u, l.parts[i][:]...)
	}
	for i, c := range u {
		if c == 0 {
			u = u[:i]
			break
		}
	}
	return winfile.NameFromUTF16(u), true
}

// shortText is the name of an entry without a long one. Which letters bytes above 0x7f are is known to the system that wrote them only; they
// become those of Latin-1.
func shortText(e *dirEntry) string {
	if e.Name[0] == 0x05 {
		e.Name[0] = 0xe5
	}
	text := func(b []byte, lower bool) string {
		var s strings.Builder
		for _, c := range b {
			if lower && c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			s.WriteRune(rune(c))
		}
		return strings.TrimRight(s.String(), " ")
	}
	name, ext := text(e.Name[:8], e.Case&caseBase != 0), text(e.Name[8:], e.Case&caseExt != 0)
	if ext != "" {
		name += "." + ext
	}
	return name
}

// fileTime is the time of an entry, or 0 if it has none.
func fileTime(stamp uint32, tens uint8) winfile.Filetime {
	date := stamp >> 16
	if date == 0 {
		return 0
	}
	return winfile.FiletimeOf(time.Date(1980+int(date>>9), time.Month(date>>5&15), int(date&31), int(stamp>>11&31), int(stamp>>5&63), int(stamp&31*2),
		int(tens)*1e7, time.UTC))
}
