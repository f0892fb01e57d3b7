package mbr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"husk/internal/ondisk"
)

// Size is the size of a master boot record in bytes, whatever the sectors of the disk are.
const Size = 512

const (
	codeSize      = 440
	signatureAt   = 0x1b8
	reservedAt    = 0x1bc
	partitionsAt  = 0x1be
	partitionSize = 16
	magicAt       = 0x1fe
	magic         = 0xaa55

	active = 0x80

	// alignment is where partitions start and end, as Windows has placed them since Vista.
	alignment = 1 << 20

	// maxLogical bounds the walk of an extended partition. Windows and Linux stop earlier.
	maxLogical = 256
)

// Partition types. Microsoft's names are in the comments.
const (
	TypeEmpty       = 0x00
	TypeExtended    = 0x05 // PARTITION_EXTENDED
	TypeNTFS        = 0x07 // PARTITION_IFS, also exFAT
	TypeFAT32       = 0x0c // PARTITION_FAT32_XINT13
	TypeExtendedLBA = 0x0f // PARTITION_XINT13_EXTENDED
	TypeRecovery    = 0x27 // hidden NTFS
	TypeProtective  = 0xee // PARTITION_GPT
	TypeESP         = 0xef
)

var le = binary.LittleEndian

// CHS is the old form of a sector's place: head, the sector with the two high bits of the cylinder, and the low eight.
type CHS [3]byte

// chsBeyond is a place that cylinders up to 1023 do not reach.
var chsBeyond = CHS{0xfe, 0xff, 0xff}

// chs is sector lba in the geometry of 255 heads and 63 sectors that Windows uses.
func chs(lba uint64) CHS {
	const heads, sectors = 255, 63
	cylinder := lba / (heads * sectors)
	if cylinder > 1023 {
		return chsBeyond
	}
	return CHS{byte(lba / sectors % heads), byte(cylinder>>8<<6 | lba%sectors + 1), byte(cylinder)}
}

// A Partition is one of the four entries of a table, or a logical partition. The zero value is an unused entry.
type Partition struct {
	Active  bool
	Type    byte
	Start   uint32 // first sector of the disk
	Sectors uint32

	// First and Last are as read. Where both are zero in a used entry, Marshal computes them as Windows does.
	First, Last CHS
}

// Used reports whether the entry describes a partition.
func (p Partition) Used() bool { return p.Type != TypeEmpty && p.Sectors > 0 }

// Extended reports whether p holds logical partitions.
func (p Partition) Extended() bool {
	return p.Used() && (p.Type == TypeExtended || p.Type == TypeExtendedLBA || p.Type == 0x85)
}

func (p Partition) end() uint64 { return uint64(p.Start) + uint64(p.Sectors) }

// A Table is a master boot record.
type Table struct {
	Signature uint32
	Reserved  uint16 // 0, or 0x5a5a if the disk is write-protected
	Parts     [4]Partition
	BootCode  []byte // up to 440 bytes; Parse returns all of them
}

// A FormatError reports bytes that are no partition table.
type FormatError struct {
	What string // structure being read: "partition 2", "logical partition 5"
	Off  int64  // byte offset in the disk
	Err  error  // found and expected, or the read error
}

func (e *FormatError) Error() string { return fmt.Sprintf("mbr: %s at %#x: %v", e.What, e.Off, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }

// New makes the table of a disk of diskSize bytes in sectors of sectorSize bytes (512 or 4096) with one active NTFS
// partition, from 1 MiB to the last whole MiB of the disk, or of the 2^32 sectors that the table can address.
func New(signature uint32, diskSize int64, sectorSize int) (*Table, error) {
	if sectorSize != 512 && sectorSize != 4096 {
		return nil, fmt.Errorf("mbr: sectors of %d bytes, want 512 or 4096", sectorSize)
	}
	unit := int64(alignment / sectorSize)
	end := min(diskSize/alignment*unit, (1<<32-1)/unit*unit)
	if end <= unit {
		return nil, fmt.Errorf("mbr: disk of %d bytes, want at least %d for a partition at %d", diskSize, 2*alignment, alignment)
	}
	t := &Table{Signature: signature}
	t.Parts[0] = Partition{Active: true, Type: TypeNTFS, Start: uint32(unit), Sectors: uint32(end - unit)}
	return t, nil
}

// Parse decodes the first 512 bytes of a disk. It checks the form only; see Check. Boot sectors of file systems end
// in the same two bytes and mostly fail here, because their code is no partition table.
func Parse(sector []byte) (*Table, error) { return parse(sector, 0) }

// parse is Parse for a record at off.
func parse(sector []byte, off int64) (*Table, error) {
	if len(sector) < Size {
		return nil, &FormatError{"boot record", off, fmt.Errorf("%d bytes, want %d", len(sector), Size)}
	}
	if m := le.Uint16(sector[magicAt:]); m != magic {
		return nil, &FormatError{"boot record", off + magicAt, fmt.Errorf("magic %#04x, want %#04x", m, magic)}
	}
	t := &Table{
		Signature: le.Uint32(sector[signatureAt:]),
		Reserved:  le.Uint16(sector[reservedAt:]),
		BootCode:  append([]byte(nil), sector[:codeSize]...),
	}
	for i := range t.Parts {
		at := partitionsAt + i*partitionSize
		b := sector[at : at+partitionSize]
		if b[0] != 0 && b[0] != active {
			return nil, &FormatError{fmt.Sprintf("partition %d", i+1), off + int64(at), fmt.Errorf("status %#02x, want 0x00 or 0x80", b[0])}
		}
		t.Parts[i] = Partition{
			Active:  b[0] == active,
			First:   CHS(b[1:4]),
			Type:    b[4],
			Last:    CHS(b[5:8]),
			Start:   le.Uint32(b[8:]),
			Sectors: le.Uint32(b[12:]),
		}
	}
	return t, nil
}

// Marshal returns the 512 bytes of t. Only boot code of more than 440 bytes is an error.
func (t *Table) Marshal() ([]byte, error) {
	if len(t.BootCode) > codeSize {
		return nil, fmt.Errorf("mbr: boot code of %d bytes, want at most %d", len(t.BootCode), codeSize)
	}
	b := make([]byte, Size)
	copy(b, t.BootCode)
	le.PutUint32(b[signatureAt:], t.Signature)
	le.PutUint16(b[reservedAt:], t.Reserved)
	for i, p := range t.Parts {
		if p.Used() && p.First == (CHS{}) && p.Last == (CHS{}) {
			p.First, p.Last = chs(uint64(p.Start)), chs(p.end()-1)
		}
		e := b[partitionsAt+i*partitionSize:]
		if p.Active {
			e[0] = active
		}
		copy(e[1:], p.First[:])
		e[4] = p.Type
		copy(e[5:], p.Last[:])
		le.PutUint32(e[8:], p.Start)
		le.PutUint32(e[12:], p.Sectors)
	}
	le.PutUint16(b[magicAt:], magic)
	return b, nil
}

// Protective reports whether the table only guards a GPT: a partition has type 0xee. A hybrid table, with other
// partitions beside it, counts too: what Windows follows there is the GPT.
func (t *Table) Protective() bool {
	for _, p := range t.Parts {
		if p.Type == TypeProtective {
			return true
		}
	}
	return false
}

// Check reports partitions that start in the table itself, end after the disk, which has diskSectors sectors, or
// overlap, and more than one active partition. On a disk with GPT that is none of this table's business, so a
// protective one passes.
func (t *Table) Check(diskSectors int64) error {
	if t.Protective() {
		return nil
	}
	actives := 0
	for i, p := range t.Parts {
		if p.Active {
			actives++
		}
		if !p.Used() {
			continue
		}
		fail := func(format string, args ...any) error {
			return &FormatError{fmt.Sprintf("partition %d", i+1), int64(partitionsAt + i*partitionSize), fmt.Errorf(format, args...)}
		}
		if p.Start == 0 {
			return fail("first sector 0, want one after the table")
		}
		if diskSectors < 0 || p.end() > uint64(diskSectors) {
			return fail("sectors %d to %d, want them in the disk of %d", p.Start, p.end()-1, diskSectors)
		}
		for j, q := range t.Parts[:i] {
			if q.Used() && overlap(p, q) {
				return fail("sectors %d to %d overlap partition %d, which has %d to %d", p.Start, p.end()-1, j+1, q.Start, q.end()-1)
			}
		}
	}
	if actives > 1 {
		return &FormatError{"partitions", partitionsAt, fmt.Errorf("%d are active, want at most one", actives)}
	}
	return nil
}

func overlap(p, q Partition) bool { return uint64(p.Start) < q.end() && uint64(q.Start) < p.end() }

var errLoop = errors.New("the chain of logical partitions comes back to it")

// Logical returns the logical partitions of the disk r, whose table t is, in the order of their chain. Their Start
// counts from the start of the disk. sectorSize is that of the disk. A chain that leaves its extended partition,
// or comes back to where it was, is an error.
func (t *Table) Logical(r io.ReaderAt, sectorSize int) ([]Partition, error) {
	var list []Partition
	for _, ext := range t.Parts {
		if !ext.Extended() {
			continue
		}
		more, err := logical(r, int64(sectorSize), ext, 5+len(list))
		list = append(list, more...)
		if err != nil {
			return list, err
		}
	}
	return list, nil
}

// logical walks the chain of one extended partition. number is that of the first logical partition.
func logical(r io.ReaderAt, sectorSize int64, ext Partition, number int) ([]Partition, error) {
	var list []Partition
	seen := map[uint64]bool{}
	limit := min(ext.end(), 1<<32) // addresses have 32 bits
	for at := uint64(ext.Start); ; {
		off := int64(at) * sectorSize
		fail := func(err error) error {
			return &FormatError{fmt.Sprintf("logical partition %d", number+len(list)), off, err}
		}
		if seen[at] {
			return list, fail(errLoop)
		}
		seen[at] = true
		if len(seen) > maxLogical {
			return list, fail(fmt.Errorf("more than %d logical partitions", maxLogical))
		}
		b, err := ondisk.ReadAt(r, off, Size, Size)
		if err != nil {
			return list, fail(err)
		}
		record, err := parse(b, off)
		if err != nil {
			return list, err
		}
		next := Partition{}
		for _, p := range record.Parts {
			switch {
			case !p.Used():
			case p.Extended():
				if next.Used() {
					return list, fail(errors.New("two links to a next logical partition, want one"))
				}
				next = p
			default:
				start := at + uint64(p.Start)
				if p.Start == 0 || start+uint64(p.Sectors) > limit {
					return list, fail(fmt.Errorf("sectors %d to %d, want them in the extended partition's %d to %d",
						start, start+uint64(p.Sectors)-1, ext.Start, limit-1))
				}
				p.Start = uint32(start)
				list = append(list, p)
			}
		}
		if !next.Used() {
			return list, nil
		}
		at = uint64(ext.Start) + uint64(next.Start)
		if at >= limit {
			return list, fail(fmt.Errorf("next record at sector %d, want it before %d", at, limit))
		}
	}
}
