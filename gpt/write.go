package gpt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unicode/utf16"
)

// Types of partitions, in their order on the disk. Microsoft's names are in the comments.
var (
	TypeESP       = [16]byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b} // PARTITION_SYSTEM_GUID
	TypeMSR       = [16]byte{0x16, 0xe3, 0xc9, 0xe3, 0x5c, 0x0b, 0xb8, 0x4d, 0x81, 0x7d, 0xf9, 0x2d, 0xf0, 0x02, 0x15, 0xae} // PARTITION_MSFT_RESERVED_GUID
	TypeBasicData = [16]byte{0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7} // PARTITION_BASIC_DATA_GUID
	TypeRecovery  = [16]byte{0xa4, 0xbb, 0x94, 0xde, 0xd1, 0x06, 0x40, 0x4d, 0xa1, 0x6a, 0xbf, 0xd5, 0x01, 0x79, 0xd6, 0xac} // PARTITION_MSFT_RECOVERY_GUID
)

// Attributes of partitions. The last three are those of basic data partitions.
const (
	AttrRequired      = 1 << 0  // GPT_ATTRIBUTE_PLATFORM_REQUIRED: on recovery partitions, which tools shall not remove
	AttrReadOnly      = 1 << 60 // GPT_BASIC_DATA_ATTRIBUTE_READ_ONLY
	AttrHidden        = 1 << 62 // GPT_BASIC_DATA_ATTRIBUTE_HIDDEN
	AttrNoDriveLetter = 1 << 63 // GPT_BASIC_DATA_ATTRIBUTE_NO_DRIVE_LETTER
)

const (
	// alignment is where partitions start and end, as Windows has placed them since Vista.
	alignment = 1 << 20

	writtenEntries = 128
	entriesSize    = writtenEntries * entrySize
	maxName        = 36 // UTF-16 units
)

// New makes an empty table for a disk of diskSize bytes, a multiple of sectorSize, which is 512 or 4096.
func New(diskGUID [16]byte, diskSize int64, sectorSize int) (*Table, error) {
	if sectorSize != 512 && sectorSize != 4096 {
		return nil, fmt.Errorf("gpt: sectors of %d bytes, want 512 or 4096", sectorSize)
	}
	first, last, err := usable(diskSize, int64(sectorSize))
	if err != nil {
		return nil, err
	}
	return &Table{DiskGUID: diskGUID, SectorSize: sectorSize, FirstUsable: first, LastUsable: last}, nil
}

// usable returns the sectors between the two copies of a table of 128 entries.
func usable(diskSize, sector int64) (first, last uint64, err error) {
	if diskSize < 2*alignment || diskSize%sector != 0 {
		return 0, 0, fmt.Errorf("gpt: disk of %d bytes, want a multiple of %d and at least %d", diskSize, sector, 2*alignment)
	}
	return uint64(2 + entriesSize/sector), uint64(diskSize/sector - 2 - entriesSize/sector), nil
}

// room returns the sectors from the first whole MiB after all partitions to the last whole MiB, end excluded.
func (t *Table) room() (start, end uint64) {
	unit := uint64(alignment / t.SectorSize)
	start = t.FirstUsable
	for _, p := range t.Partitions {
		start = max(start, p.Last+1)
	}
	start = (start + unit - 1) / unit * unit
	return start, max(start, (t.LastUsable+1)/unit*unit)
}

// Free returns the bytes that Add can still give, a multiple of 1 MiB.
func (t *Table) Free() int64 {
	start, end := t.room()
	return int64(end-start) * int64(t.SectorSize)
}

// Add places a partition of size bytes, rounded up to whole MiB, after all others; 0 means all the room that is left. It sets p's First,
// Last and Number, and returns p as it is in the table then.
func (t *Table) Add(p Partition, size int64) (*Partition, error) {
	free := t.Free()
	if size == 0 {
		size = free
	}
	if size <= 0 || size > free {
		return nil, fmt.Errorf("gpt: partition %q of %d bytes, want at most the %d that are left", p.Name, size, free)
	}
	start, _ := t.room()
	p.First = start
	p.Last = start + uint64((size+alignment-1)/alignment*(alignment/int64(t.SectorSize))) - 1
	p.Number = 1
	for _, q := range t.Partitions {
		p.Number = max(p.Number, q.Number+1)
	}
	added := append(t.Partitions, p)
	if err := checkWritable(added, t.FirstUsable, t.LastUsable); err != nil {
		return nil, err
	}
	t.Partitions = added
	return &added[len(added)-1], nil
}

// checkWritable reports what cannot be written: partitions without a number, type or GUID of their own, or that overlap.
func checkWritable(list []Partition, first, last uint64) error {
	for i, p := range list {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("gpt: partition %d: %w", p.Number, fmt.Errorf(format, args...))
		}
		switch {
		case p.Number < 1 || p.Number > writtenEntries:
			return fail("number %d, want 1 to %d", p.Number, writtenEntries)
		case p.Type == [16]byte{}:
			return fail("no type")
		case p.GUID == [16]byte{}:
			return fail("no GUID")
		case strings.ContainsRune(p.Name, 0):
			return fail("name %q, which would end at its zero", p.Name)
		case p.First > p.Last || p.First < first || p.Last > last:
			return fail("sectors %d to %d, want them among the usable %d to %d", p.First, p.Last, first, last)
		}
		if n := len(utf16.Encode([]rune(p.Name))); n > maxName {
			return fail("name of %d UTF-16 units, want at most %d", n, maxName)
		}
		for _, q := range list[:i] {
			switch {
			case p.Number == q.Number:
				return fail("the number is taken twice")
			case p.GUID == q.GUID:
				return fail("partition %d has the same GUID", q.Number)
			case p.First <= q.Last && q.First <= p.Last:
				return fail("sectors %d to %d overlap partition %d, which has %d to %d", p.First, p.Last, q.Number, q.First, q.Last)
			}
		}
	}
	return nil
}

// Marshal returns what is before and what is behind the partitions of a disk of diskSize bytes: the protective MBR, the header and
// 128 entries; and, up to the end of the disk, the entries and the header again. Usable sectors are those that diskSize gives.
func (t *Table) Marshal(diskSize int64) (head, tail []byte, err error) {
	sector := int64(t.SectorSize)
	if sector != 512 && sector != 4096 {
		return nil, nil, fmt.Errorf("gpt: sectors of %d bytes, want 512 or 4096", sector)
	}
	first, last, err := usable(diskSize, sector)
	if err != nil {
		return nil, nil, err
	}
	if err := checkWritable(t.Partitions, first, last); err != nil {
		return nil, nil, err
	}
	entries := make([]byte, entriesSize)
	for _, p := range t.Partitions {
		e := entry{Type: p.Type, GUID: p.GUID, First: p.First, Last: p.Last, Attributes: p.Attributes}
		copy(e.Name[:], utf16.Encode([]rune(p.Name)))
		encode(entries[(p.Number-1)*entrySize:], &e)
	}
	sectors := uint64(diskSize / sector)
	h := header{
		Magic: [8]byte([]byte(magic)), Version: version1, Size: headerSize, This: 1, Other: sectors - 1, First: first, Last: last,
		DiskGUID: t.DiskGUID, Entries: 2, Count: writtenEntries, EntrySize: entrySize, EntriesCRC: crc32.ChecksumIEEE(entries),
	}
	head = make([]byte, 2*sector, 2*sector+entriesSize)
	protect(head, sectors)
	putHeader(head[sector:], &h)
	head = append(head, entries...)

	h.This, h.Other, h.Entries = h.Other, h.This, last+1
	tail = append(entries, make([]byte, sector)...)
	putHeader(tail[entriesSize:], &h)
	return head, tail, nil
}

// putHeader encodes h with its checksum.
func putHeader(b []byte, h *header) {
	encode(b, h)
	le.PutUint32(b[crcAt:], crc32.ChecksumIEEE(b[:headerSize]))
}

func encode(b []byte, v any) {
	if _, err := binary.Encode(b, le, v); err != nil {
		panic("gpt: internal error: " + err.Error())
	}
}

// protect makes b the protective MBR of a disk: one partition of type 0xee, from sector 1 to the end, or as far as 32 bits count.
func protect(b []byte, sectors uint64) {
	const partition, signature = 0x1be, 0x1fe
	copy(b[partition:], []byte{0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff})
	le.PutUint32(b[partition+8:], 1)
	le.PutUint32(b[partition+12:], uint32(min(sectors-1, 1<<32-1)))
	le.PutUint16(b[signature:], 0xaa55)
}

// Write writes both copies of the table to a disk of diskSize bytes, the one at the end first: a table that is replaced can be read at any
// moment.
func (t *Table) Write(w io.WriterAt, diskSize int64) error {
	head, tail, err := t.Marshal(diskSize)
	if err != nil {
		return err
	}
	if _, err := w.WriteAt(tail, diskSize-int64(len(tail))); err != nil {
		return fmt.Errorf("gpt: backup table: %w", err)
	}
	if _, err := w.WriteAt(head, 0); err != nil {
		return fmt.Errorf("gpt: table: %w", err)
	}
	return nil
}
