package vhdx

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unicode/utf16"

	"husk/guid"
)

const (
	fileMagic     = "vhdxfile"
	headerMagic   = "head"
	regionMagic   = "regi"
	metadataMagic = "metadata"

	mib           = 1 << 20
	headerAt      = 64 << 10 // of the first; the second follows 64 KiB behind it
	headerStep    = 64 << 10
	headerSize    = 4096
	regionAt      = 192 << 10 // of the first table; the copy follows 64 KiB behind it
	regionStep    = 64 << 10
	regionSize    = 64 << 10
	maxRegions    = 2047
	metaTableSize = 64 << 10
	maxMetaItems  = 2047
	maxItemSize   = 1 << 20

	// MaxSize is the largest disk, 64 TiB.
	MaxSize = 64 << 40

	minBlockSize = 1 << 20
	maxBlockSize = 256 << 20
	bitmapBlock  = 1 << 20 // bytes of a sector bitmap block
	chunkSectors = 1 << 23 // sectors of a chunk: the bits of a sector bitmap block

	// maxBATEntries bounds the memory of a Reader: 64 TiB in blocks of 4 MiB, or 16 TiB in the smallest ones.
	maxBATEntries = 1<<24 + 1<<16
)

// header is one of the two headers, as far as it is not zero. Comments give on-disk offsets.
type header struct {
	Magic         [4]byte   // 0x00 "head"
	Checksum      uint32    // 0x04 CRC-32C of the 4096 bytes with this field zero
	Sequence      uint64    // 0x08
	FileWriteGUID guid.GUID // 0x10 changes when anything in the file does
	DataWriteGUID guid.GUID // 0x20 changes when the content of the disk does; children know their parent by it
	LogGUID       guid.GUID // 0x30 zero: the log is empty
	LogVersion    uint16    // 0x40 0
	Version       uint16    // 0x42 1
	LogLength     uint32    // 0x44 bytes, a multiple of 1 MiB
	LogOffset     uint64    // 0x48 a multiple of 1 MiB
}

// regionHeader starts a region table.
type regionHeader struct {
	Magic    [4]byte // 0x00 "regi"
	Checksum uint32  // 0x04 CRC-32C of the 64 KiB with this field zero
	Count    uint32  // 0x08 entries that follow
	_        uint32  // 0x0c
}

// regionEntry places one region.
type regionEntry struct {
	GUID     guid.GUID // 0x00
	Offset   uint64    // 0x10 a multiple of 1 MiB
	Length   uint32    // 0x18 a multiple of 1 MiB
	Required uint32    // 0x1c 1: who does not know the region must not open the file
}

// metaHeader starts the metadata table.
type metaHeader struct {
	Magic [8]byte  // 0x00 "metadata"
	_     uint16   // 0x08
	Count uint16   // 0x0a entries that follow
	_     [20]byte // 0x0c
}

// metaEntry places one item of metadata.
type metaEntry struct {
	GUID   guid.GUID // 0x00
	Offset uint32    // 0x10 bytes from the start of the region, at least 64 KiB
	Length uint32    // 0x14 bytes
	Flags  uint32    // 0x18
	_      uint32    // 0x1c
}

// Flags of a metaEntry.
const (
	metaUser     = 1 // not of the system; has a name space of its own
	metaVirtual  = 2 // of the virtual disk, not of the file
	metaRequired = 4 // who does not know the item must not open the file
)

// Bits of the file parameters.
const (
	paramFixed  = 1 // LeaveBlocksAllocated
	paramParent = 2 // HasParent
)

// States of a BAT entry.
const (
	stateNotPresent = 0 // zeros; with a parent, the parent's
	stateUndefined  = 1
	stateZero       = 2
	stateUnmapped   = 3
	statePresent    = 6 // also of sector bitmaps
	statePartial    = 7 // the sector bitmap says which sectors are here
)

// batEntry is one entry of the block allocation table.
type batEntry uint64

func (e batEntry) state() int         { return int(e & 7) }
func (e batEntry) mibs() uint64       { return uint64(e >> 20) }      // place in the file
func (e batEntry) offset() int64      { return int64(e >> 20 << 20) } // place in the file; negative if over 8 EiB
func (e batEntry) reserved() bool     { return e&0xffff8 != 0 }       // bits that have no meaning
func (e batEntry) inFile() bool       { return e.state() >= statePresent }
func place(off int64, s int) batEntry { return batEntry(uint64(off) | uint64(s)) }

func mustGUID(s string) guid.GUID {
	g, err := guid.Parse(s)
	if err != nil {
		panic("vhdx: internal error: " + err.Error())
	}
	return g
}

var (
	regionBAT  = mustGUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
	regionMeta = mustGUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")

	itemParameters = mustGUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
	itemSize       = mustGUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
	itemPage83     = mustGUID("beca12ab-b2e6-4523-93ef-c309e000c746")
	itemLogical    = mustGUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
	itemPhysical   = mustGUID("cda348c7-445d-4471-9cc9-e9885251c556")
	itemParent     = mustGUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")

	locatorVHDX = mustGUID("b04aefb7-d19e-4a81-b789-25b8e9445913")
)

// A FormatError reports bytes that break the VHDX format.
type FormatError struct {
	What string // structure being read: "header 1", "BAT entry 12"
	Off  int64  // byte offset in the file
	Err  error  // found and expected, or the read error
}

func (e *FormatError) Error() string { return fmt.Sprintf("vhdx: %s at %#x: %v", e.What, e.Off, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC-32C of b, taking its bytes 4 to 8 as zero.
func checksum(b []byte) uint32 {
	sum := crc32.Update(0, castagnoli, b[:4])
	sum = crc32.Update(sum, castagnoli, make([]byte, 4))
	return crc32.Update(sum, castagnoli, b[8:])
}

// seal writes the checksum of b into it.
func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[4:], checksum(b))
	return b
}

// encode returns v in size bytes, zero padded.
func encode(size int, list ...any) []byte {
	b := make([]byte, 0, size)
	for _, v := range list {
		var err error
		if b, err = binary.Append(b, binary.LittleEndian, v); err != nil {
			panic("vhdx: internal error: " + err.Error())
		}
	}
	return append(b, make([]byte, size-len(b))...)
}

// decode reads v from the beginning of b, which is long enough.
func decode(b []byte, v any) {
	if _, err := binary.Decode(b, binary.LittleEndian, v); err != nil {
		panic("vhdx: internal error: " + err.Error())
	}
}

// checkSum holds the magic and the checksum of a structure.
func checkSum(b []byte, magic string) error {
	if string(b[:len(magic)]) != magic {
		return fmt.Errorf("magic %q, want %q", b[:len(magic)], magic)
	}
	if got, want := binary.LittleEndian.Uint32(b[4:]), checksum(b); got != want {
		return fmt.Errorf("checksum %#08x, want %#08x", got, want)
	}
	return nil
}

func (h *header) marshal() []byte { return seal(encode(headerSize, h)) }

// parseHeader decodes the 4096 bytes of a header and checks what does not depend on the file.
func parseHeader(b []byte) (*header, error) {
	if err := checkSum(b, headerMagic); err != nil {
		return nil, err
	}
	h := new(header)
	decode(b, h)
	if h.Version != 1 {
		return nil, fmt.Errorf("version %d, want 1", h.Version)
	}
	return h, nil
}

func parseRegions(b []byte) ([]regionEntry, error) {
	if err := checkSum(b, regionMagic); err != nil {
		return nil, err
	}
	var h regionHeader
	decode(b, &h)
	if h.Count > maxRegions {
		return nil, fmt.Errorf("%d regions, want at most %d", h.Count, maxRegions)
	}
	list := make([]regionEntry, h.Count)
	for i := range list {
		decode(b[16+32*i:], &list[i])
	}
	return list, nil
}

func marshalRegions(list []regionEntry) []byte {
	return seal(encode(regionSize, regionHeader{Magic: [4]byte([]byte(regionMagic)), Count: uint32(len(list))}, list))
}

// geometry is what block and sector sizes make of the BAT.
type geometry struct {
	size      int64 // of the disk, bytes
	blockSize int64
	sector    int64 // logical
	ratio     int64 // payload blocks of a chunk
}

func newGeometry(size, blockSize, sector int64) geometry {
	return geometry{size, blockSize, sector, chunkSectors * sector / blockSize}
}

// blocks is how many payload blocks the disk has.
func (g geometry) blocks() int64 { return (g.size + g.blockSize - 1) / g.blockSize }

// entries is how many entries the BAT has.
func (g geometry) entries(parent bool) int64 {
	n := g.blocks()
	if parent {
		return (n + g.ratio - 1) / g.ratio * (g.ratio + 1)
	}
	return n + (n-1)/g.ratio
}

// payload is the entry of block i; bitmap that of the sector bitmap of its chunk.
func (g geometry) payload(i int64) int64 { return i + i/g.ratio }
func (g geometry) bitmap(i int64) int64  { return i/g.ratio*(g.ratio+1) + g.ratio }

// block is which block the payload entry n is of.
func (g geometry) block(n int64) int64 { return n - n/(g.ratio+1) }

// isBitmap reports whether entry n of the BAT is a sector bitmap's.
func (g geometry) isBitmap(n int64) bool { return n%(g.ratio+1) == g.ratio }

// bitmapRange is where in its sector bitmap block the bits of block i are, in bytes.
func (g geometry) bitmapRange(i int64) (off, n int64) {
	n = g.blockSize / g.sector / 8
	return i % g.ratio * n, n
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// utf16Bytes is s in UTF-16LE without an end mark.
func utf16Bytes(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// utf16String reads UTF-16LE.
func utf16String(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}
