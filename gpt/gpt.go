package gpt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"

	"husk/internal/ondisk"
)

const (
	magic        = "EFI PART"
	version1     = 0x00010000
	headerSize   = 92
	entrySize    = 128
	maxEntrySize = 4096
	maxEntries   = 1024 // Windows makes and reads 128
	crcAt        = 16
)

// sectorSizes are those that disks have, in the order in which they are tried.
var sectorSizes = []int64{512, 4096}

var le = binary.LittleEndian

// ErrNone is the error for a disk without any table. A damaged table is a *FormatError.
var ErrNone = errors.New("gpt: no table: neither sector 1 nor the last sector starts with \"EFI PART\"")

// A FormatError reports bytes that break the GPT format.
type FormatError struct {
	What string // structure being read: "header", "backup entries"
	Off  int64  // byte offset in the disk
	Err  error  // found and expected, or the read error
}

func (e *FormatError) Error() string { return fmt.Sprintf("gpt: %s at %#x: %v", e.What, e.Off, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }

// header is one of the two headers. Comments give on-disk offsets.
type header struct {
	Magic       [8]byte  // 0x00 "EFI PART"
	Version     uint32   // 0x08 0x00010000
	Size        uint32   // 0x0c 92
	CRC         uint32   // 0x10 of Size bytes, this field zero
	_           uint32   // 0x14
	This, Other uint64   // 0x18, 0x20 sectors of this header and the other one
	First, Last uint64   // 0x28, 0x30 sectors that partitions may use
	DiskGUID    [16]byte // 0x38
	Entries     uint64   // 0x48 sector of the entries
	Count       uint32   // 0x50
	EntrySize   uint32   // 0x54 128 times a power of two
	EntriesCRC  uint32   // 0x58
}

// entry is the part of a partition's entry that the format defines.
type entry struct {
	Type, GUID  [16]byte   // 0x00, 0x10
	First, Last uint64     // 0x20, 0x28 inclusive
	Attributes  uint64     // 0x30
	Name        [36]uint16 // 0x38 UTF-16, zero padded
}

// A Table is the partition table of a disk. GUIDs are in their order on the disk.
type Table struct {
	DiskGUID    [16]byte
	SectorSize  int
	FirstUsable uint64 // sectors that partitions may use
	LastUsable  uint64 // inclusive
	Partitions  []Partition
	Backup      error // why the table at the end of the disk was used; nil if the first one is good
}

// A Partition is a used entry of a table.
type Partition struct {
	Number     int // 1-based
	Type       [16]byte
	GUID       [16]byte
	First      uint64 // sector
	Last       uint64 // sector, inclusive
	Attributes uint64
	Name       string // an unpaired surrogate is U+FFFD
}

// Read reads the table of a disk of size bytes. It tries sectors of 512 and then of 4096 bytes. Where the first table
// is damaged it reads the one at the end of the disk. Both damaged are an error with both reasons; a disk that has
// no table is ErrNone.
func Read(r io.ReaderAt, size int64) (*Table, error) {
	var first error
	for _, sector := range sectorSizes {
		t, err := readTable(r, size, sector, 1, "")
		if err == nil {
			return t, nil
		}
		if err != ErrNone && first == nil {
			first = err
		}
	}
	var backup error
	for _, sector := range sectorSizes {
		t, err := readTable(r, size, sector, size/sector-1, "backup ")
		if err == nil {
			t.Backup = first
			if first == nil {
				t.Backup = errors.New("gpt: sector 1 holds no header")
			}
			return t, nil
		}
		if err != ErrNone && backup == nil {
			backup = err
		}
	}
	if first == nil && backup == nil {
		return nil, ErrNone
	}
	return nil, errors.Join(first, backup)
}

// readTable reads the header at sector lba and its entries. It returns ErrNone where no header starts.
func readTable(r io.ReaderAt, size, sector, lba int64, which string) (*Table, error) {
	off := lba * sector
	if lba < 1 || !ondisk.Range(off, sector, size) {
		return nil, ErrNone
	}
	fail := func(what string, at int64, err error) error { return &FormatError{which + what, at, err} }
	b, err := ondisk.ReadAt(r, off, sector, sector)
	if err != nil {
		return nil, fail("header", off, err)
	}
	if string(b[:8]) != magic {
		return nil, ErrNone
	}
	h, err := parseHeader(b)
	if err == nil {
		err = h.check(size/sector, lba)
	}
	if err != nil {
		return nil, fail("header", off, err)
	}
	at, n := int64(h.Entries)*sector, int64(h.Count)*int64(h.EntrySize)
	if !ondisk.Range(at, n, size) {
		return nil, fail("header", off, fmt.Errorf("entries from %#x, %d bytes, want them in the disk of %d", at, n, size))
	}
	b, err = ondisk.ReadAt(r, at, n, maxEntries*maxEntrySize)
	if err != nil {
		return nil, fail("entries", at, err)
	}
	if crc := crc32.ChecksumIEEE(b); crc != h.EntriesCRC {
		return nil, fail("entries", at, fmt.Errorf("CRC-32 %#08x, want %#08x", crc, h.EntriesCRC))
	}
	t := &Table{DiskGUID: h.DiskGUID, SectorSize: int(sector), FirstUsable: h.First, LastUsable: h.Last}
	for i := range int(h.Count) {
		p, err := parseEntry(b[i*int(h.EntrySize):], h)
		if err != nil {
			return nil, fail(fmt.Sprintf("entry %d", i+1), at+int64(i)*int64(h.EntrySize), err)
		}
		if p.Type != [16]byte{} {
			p.Number = i + 1
			t.Partitions = append(t.Partitions, p)
		}
	}
	return t, nil
}

// parseHeader decodes one sector and checks what the header says of itself.
func parseHeader(b []byte) (*header, error) {
	h := new(header)
	if _, err := binary.Decode(b, le, h); err != nil {
		return nil, err
	}
	if h.Version>>16 != version1>>16 {
		return nil, fmt.Errorf("version %#08x, want %#08x", h.Version, version1)
	}
	if h.Size < headerSize || int64(h.Size) > int64(len(b)) {
		return nil, fmt.Errorf("header size %d, want %d to %d", h.Size, headerSize, len(b))
	}
	sum := append([]byte(nil), b[:h.Size]...)
	le.PutUint32(sum[crcAt:], 0)
	if crc := crc32.ChecksumIEEE(sum); crc != h.CRC {
		return nil, fmt.Errorf("CRC-32 %#08x, want %#08x", crc, h.CRC)
	}
	if s := h.EntrySize; s < entrySize || s > maxEntrySize || s&(s-1) != 0 {
		return nil, fmt.Errorf("entry size %d, want a power of two from %d to %d", s, entrySize, maxEntrySize)
	}
	if h.Count > maxEntries {
		return nil, fmt.Errorf("%d entries, want at most %d", h.Count, maxEntries)
	}
	return h, nil
}

// check holds the header at sector lba against the disk.
func (h *header) check(sectors, lba int64) error {
	switch {
	case h.This != uint64(lba):
		return fmt.Errorf("the header says it is at sector %d, want %d", h.This, lba)
	case h.First > h.Last || h.Last >= uint64(sectors):
		return fmt.Errorf("usable sectors %d to %d, want them in the disk of %d", h.First, h.Last, sectors)
	case h.Entries < 1 || h.Entries >= uint64(sectors):
		return fmt.Errorf("entries at sector %d, want 1 to %d", h.Entries, sectors-1)
	}
	return nil
}

// parseEntry decodes an entry; one without a type is unused.
func parseEntry(b []byte, h *header) (Partition, error) {
	var e entry
	if _, err := binary.Decode(b, le, &e); err != nil {
		return Partition{}, err
	}
	if e.Type == [16]byte{} {
		return Partition{}, nil
	}
	if e.First > e.Last || e.First < h.First || e.Last > h.Last {
		return Partition{}, fmt.Errorf("sectors %d to %d, want them among the usable %d to %d", e.First, e.Last, h.First, h.Last)
	}
	name := e.Name[:]
	for i, c := range name {
		if c == 0 {
			name = name[:i]
			break
		}
	}
	return Partition{Type: e.Type, GUID: e.GUID, First: e.First, Last: e.Last, Attributes: e.Attributes, Name: string(utf16.Decode(name))}, nil
}
