package ntfs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"math"
	"math/bits"
	"strings"
	"sync"

	"husk/winfile"
)

var le = binary.LittleEndian

// A FormatError reports bytes that break the NTFS format.
type FormatError struct {
	What string // structure being read: "boot sector", "record 64: $FILE_NAME"
	Off  int64  // byte offset in the volume, or in the structure where that has no one place
	Err  error  // found and expected, or the read error
}

func (e *FormatError) Error() string { return fmt.Sprintf("ntfs: %s at %#x: %v", e.What, e.Off, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }

// LCN is a cluster of the volume, VCN one inside a stream.
type (
	LCN int64
	VCN int64
)

// Fixed sizes in bytes.
const (
	sectorStride    = 512     // distance of fixups, whatever the sector size
	bootSize        = 8192    // $Boot
	indexBlockSize  = 4096    // as every formatter chooses it; readers take the boot sector's
	upcaseSize      = 131072  // $UpCase
	sdsBlock        = 0x40000 // $SDS: primary and mirror blocks alternate
	sdsHeaderSize   = 20
	logPageSize     = 4096
	minLogSize      = 256 << 10
	maxListSize     = 256 << 10 // $ATTRIBUTE_LIST
	maxEASize       = 65536     // $EA
	maxName         = 255       // UTF-16 units of file and stream names
	maxLabel        = 32        // UTF-16 units
	maxClusters     = math.MaxUint32 - 1
	firstUserRecord = 64 // lower ones are left to Windows
)

// Records of the system files.
const (
	recMFT = iota
	recMFTMirr
	recLogFile
	recVolume
	recAttrDef
	recRoot
	recBitmap
	recBoot
	recBadClus
	recSecure
	recUpCase
	recExtend
	recReserved        // 12 to 15: in use, without a name
	recQuota    = 0x18 // children of $Extend, by number as mkntfs has them; readers look them up by name
	recObjID    = 0x19 //
	recReparse  = 0x1a //
)

// attrType is an attribute type code.
type attrType uint32

const (
	typeStandardInformation attrType = 0x10
	typeAttributeList       attrType = 0x20
	typeFileName            attrType = 0x30
	typeObjectID            attrType = 0x40
	typeSecurityDescriptor  attrType = 0x50
	typeVolumeName          attrType = 0x60
	typeVolumeInformation   attrType = 0x70
	typeData                attrType = 0x80
	typeIndexRoot           attrType = 0x90
	typeIndexAllocation     attrType = 0xa0
	typeBitmap              attrType = 0xb0
	typeReparsePoint        attrType = 0xc0
	typeEAInformation       attrType = 0xd0
	typeEA                  attrType = 0xe0
	typeLoggedUtilityStream attrType = 0x100
	typeEnd                 attrType = 0xffffffff
)

var attrTypeNames = map[attrType]string{
	typeStandardInformation: "$STANDARD_INFORMATION", typeAttributeList: "$ATTRIBUTE_LIST", typeFileName: "$FILE_NAME",
	typeObjectID: "$OBJECT_ID", typeSecurityDescriptor: "$SECURITY_DESCRIPTOR", typeVolumeName: "$VOLUME_NAME",
	typeVolumeInformation: "$VOLUME_INFORMATION", typeData: "$DATA", typeIndexRoot: "$INDEX_ROOT",
	typeIndexAllocation: "$INDEX_ALLOCATION", typeBitmap: "$BITMAP", typeReparsePoint: "$REPARSE_POINT",
	typeEAInformation: "$EA_INFORMATION", typeEA: "$EA", typeLoggedUtilityStream: "$LOGGED_UTILITY_STREAM",
}

// String returns the name that $AttrDef gives the type, or its number.
func (t attrType) String() string {
	if s, ok := attrTypeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("attribute %#x", uint32(t))
}

// Attribute header flags.
const (
	attrFlagCompressed uint16 = 0x0001
	attrFlagMask       uint16 = 0x00ff // compression method
	attrFlagEncrypted  uint16 = 0x4000
	attrFlagSparse     uint16 = 0x8000
)

// Record header flags.
const (
	recordInUse     uint16 = 1
	recordDirectory uint16 = 2 // has $I30
	recordExtend    uint16 = 4 // child of $Extend
	recordView      uint16 = 8 // has an index other than $I30
)

// Bits of the attributes in $FILE_NAME (and, the second, in $STANDARD_INFORMATION) beyond the Win32 ones.
const (
	fileNameDirectory winfile.Attributes = 0x10000000 // has $I30
	fileNameView      winfile.Attributes = 0x20000000 // has a view index
)

// neverStored are bits of the Win32 attributes that are not on the disk.
const neverStored = winfile.AttrDirectory | winfile.AttrNormal

// Namespaces of $FILE_NAME.
const (
	namePOSIX    = 0 // any unit but NUL and slash
	nameWin32    = 1 // long name; a namespace 2 name goes with it
	nameDOS      = 2
	nameWin32DOS = 3 // one 8.3 name that is both
)

// Volume flags of $VOLUME_INFORMATION.
const (
	volumeDirty       uint16 = 0x0001
	volumeChkdsk      uint16 = 0x4000 // chkdsk underway
	volumeMajor              = 3
	volumeMinor              = 1
	volumeInfoSize           = 12
	stdInfoSize              = 72
	stdInfoSizeV1            = 48 // without security id
	fileNameSize             = 66 // without the name
	recordUSA                = 0x30
	residentHeader           = 24
	nonResidentHeader        = 64
	sparseHeader             = 72 // non-resident, sparse or compressed, first extent
	indexRootHeader          = 32 // value up to the first entry
	indexEntryHeader         = 16
	indexBlockUSA            = 0x28
)

// Index entry and node flags.
const (
	entrySubNode uint16 = 1 // the entry ends with the VCN of a child
	entryLast    uint16 = 2 // has no key
	nodeInner    byte   = 1 // of a block; in the root: there is an $INDEX_ALLOCATION
)

// collation is the order of an index.
type collation uint32

const (
	collateFileName     collation = 0x01
	collateULong        collation = 0x10
	collateSID          collation = 0x11
	collateSecurityHash collation = 0x12
	collateULongs       collation = 0x13
)

// compareViewKeys orders keys of indexes other than $I30: as sequences of u32, or as bytes for SIDs. A key that ends first
// is less.
func compareViewKeys(c collation, a, b []byte) int {
	if c != collateSID {
		for len(a) >= 4 && len(b) >= 4 {
			if d := cmp.Compare(le.Uint32(a), le.Uint32(b)); d != 0 {
				return d
			}
			a, b = a[4:], b[4:]
		}
	}
	return bytes.Compare(a, b)
}

// bootSector is sector 0 and the last sector of a volume. Comments give on-disk offsets.
type bootSector struct {
	Jump              [3]byte   // 0x00 eb 52 90
	OEM               [8]byte   // 0x03 "NTFS    "
	SectorSize        uint16    // 0x0b
	SectorsPerCluster uint8     // 0x0d above 0x80: 2^(256-n)
	Reserved          uint16    // 0x0e 0
	FATs              uint8     // 0x10 0
	RootEntries       uint16    // 0x11 0
	Sectors16         uint16    // 0x13 0
	Media             uint8     // 0x15 f8
	SectorsPerFAT     uint16    // 0x16 0
	SectorsPerTrack   uint16    // 0x18
	Heads             uint16    // 0x1a
	HiddenSectors     uint32    // 0x1c LBA of the partition; boot code relies on it
	Sectors32         uint32    // 0x20 0
	Drive             [4]byte   // 0x24 80 00 80 00
	Sectors           uint64    // 0x28 without the last one, which holds the copy
	MFT               uint64    // 0x30 LCN
	MFTMirr           uint64    // 0x38 LCN
	RecordSize        int8      // 0x40 clusters, or -log2 of the bytes
	_                 [3]byte   // 0x41
	IndexSize         int8      // 0x44 coded like RecordSize
	_                 [3]byte   // 0x45
	Serial            uint64    // 0x48
	Checksum          uint32    // 0x50 0
	Code              [426]byte // 0x54
	Signature         [2]byte   // 0x1fe 55 aa
}

const bootSectorSize = 512

// bootOEM marks NTFS; readers test nothing else.
var bootOEM = [8]byte{'N', 'T', 'F', 'S', ' ', ' ', ' ', ' '}

// geometry is what the boot sector says, in bytes and clusters.
type geometry struct {
	sectorSize  int // 256 to 4096
	clusterSize int // sectorSize to 2 MiB
	recordSize  int // 512 to 64 KiB
	indexSize   int // 512 to 64 KiB
	sectors     int64
	clusters    int64
	mft, mirror LCN
}

// geometry decodes the fields that locate everything else and refuses what no reader accepts.
func (b *bootSector) geometry() (geometry, error) {
	var g geometry
	fail := func(off int64, format string, args ...any) (geometry, error) {
		return geometry{}, &FormatError{"boot sector", off, fmt.Errorf(format, args...)}
	}
	if b.OEM != bootOEM {
		return fail(3, "OEM id %q, want %q", b.OEM[:], bootOEM[:])
	}
	g.sectorSize = int(b.SectorSize)
	if g.sectorSize < 256 || g.sectorSize > 4096 || bits.OnesCount16(b.SectorSize) != 1 {
		return fail(0x0b, "sector size %d, want a power of two from 256 to 4096", b.SectorSize)
	}
	spc := int64(b.SectorsPerCluster)
	if b.SectorsPerCluster > 0x80 {
		spc = 1 << min(62-12, 256-int(b.SectorsPerCluster))
	}
	if spc == 0 || spc&(spc-1) != 0 || spc*int64(g.sectorSize) > 2<<20 {
		return fail(0x0d, "sectors per cluster %#x of %d bytes, want a power of two and at most 2 MiB", b.SectorsPerCluster, g.sectorSize)
	}
	g.clusterSize = int(spc) * g.sectorSize
	if b.Reserved != 0 || b.FATs != 0 || b.RootEntries != 0 || b.Sectors16 != 0 || b.SectorsPerFAT != 0 || b.Sectors32 != 0 {
		return fail(0x0e, "FAT fields are set, want zeros")
	}
	var ok bool
	if g.recordSize, ok = decodeUnit(b.RecordSize, g.clusterSize); !ok {
		return fail(0x40, "record size code %d with clusters of %d bytes, want 512 bytes to 64 KiB", b.RecordSize, g.clusterSize)
	}
	if g.indexSize, ok = decodeUnit(b.IndexSize, g.clusterSize); !ok {
		return fail(0x44, "index block size code %d with clusters of %d bytes, want 512 bytes to 64 KiB", b.IndexSize, g.clusterSize)
	}
	if b.Sectors == 0 || b.Sectors > math.MaxInt64/uint64(g.sectorSize) {
		return fail(0x28, "%d sectors of %d bytes, want 1 to %d", b.Sectors, g.sectorSize, math.MaxInt64/int64(g.sectorSize))
	}
	g.sectors = int64(b.Sectors)
	g.clusters = g.sectors / spc
	if b.MFT == 0 || b.MFT >= uint64(g.clusters) {
		return fail(0x30, "$MFT at cluster %d, want 1 to %d", b.MFT, g.clusters-1)
	}
	if b.MFTMirr == 0 || b.MFTMirr >= uint64(g.clusters) || b.MFTMirr == b.MFT {
		return fail(0x38, "$MFTMirr at cluster %d, want 1 to %d and not $MFT's", b.MFTMirr, g.clusters-1)
	}
	g.mft, g.mirror = LCN(b.MFT), LCN(b.MFTMirr)
	return g, nil
}

// decodeUnit turns a record or block size code into bytes.
func decodeUnit(code int8, clusterSize int) (int, bool) {
	var n int64
	switch {
	case code > 0:
		n = int64(code) * int64(clusterSize)
	case code <= -9 && code >= -16:
		n = 1 << -int(code)
	}
	return int(n), n >= 512 && n <= 65536 && n&(n-1) == 0
}

// encodeUnit is the inverse of decodeUnit: clusters if the size is a whole number of them.
func encodeUnit(n, clusterSize int) int8 {
	if n >= clusterSize {
		return int8(n / clusterSize)
	}
	return -int8(bits.TrailingZeros(uint(n)))
}

// fileRef is a record number (48 bits) and its sequence number.
type fileRef uint64

func makeRef(record uint64, sequence uint16) fileRef { return fileRef(record | uint64(sequence)<<48) }

func (r fileRef) record() uint64   { return uint64(r) & (1<<48 - 1) }
func (r fileRef) sequence() uint16 { return uint16(r >> 48) }

// protect puts fixups into a record or block whose header tells where its array is (offset at 4, count at 6).
func protect(b []byte, usn uint16) {
	usa := b[le.Uint16(b[4:]):]
	le.PutUint16(usa, usn)
	for i := sectorStride - 2; i < len(b); i += sectorStride {
		usa = usa[2:]
		copy(usa[:2], b[i:])
		le.PutUint16(b[i:], usn)
	}
}

var (
	errNotFixable = errors.New("update sequence array does not fit its block")
	errTorn       = errors.New("torn write: the ends of its sectors differ from the update sequence number")
)

// unprotect checks the four magic bytes and the fixups of b, and restores b in place. Errors name no place: the caller knows it.
func unprotect(b []byte, magic string) error {
	if len(b) < sectorStride || len(b)%sectorStride != 0 {
		return fmt.Errorf("block of %d bytes, want a multiple of %d", len(b), sectorStride)
	}
	if string(b[:4]) != magic {
		return fmt.Errorf("magic %q, want %q", b[:4], magic)
	}
	off, n := int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	if off%2 != 0 || off < 8 || n != len(b)/sectorStride+1 || off+2*n > sectorStride-2 {
		return fmt.Errorf("%w: %d words at %#x, want %d", errNotFixable, n, off, len(b)/sectorStride+1)
	}
	usa := b[off : off+2*n]
	for i := 1; i < n; i++ {
		if end := b[i*sectorStride-2:]; end[0] != usa[0] || end[1] != usa[1] {
			return fmt.Errorf("%w: %#x at %#x, want %#x", errTorn, le.Uint16(end), i*sectorStride-2, le.Uint16(usa))
		}
	}
	for i := 1; i < n; i++ {
		copy(b[i*sectorStride-2:i*sectorStride], usa[2*i:])
	}
	return nil
}

// fileRecord is one MFT record with fixups applied, at least 512 bytes long, so these cannot fail.
type fileRecord []byte

func (r fileRecord) sequence() uint16     { return le.Uint16(r[0x10:]) }
func (r fileRecord) links() uint16        { return le.Uint16(r[0x12:]) }
func (r fileRecord) firstAttr() uint16    { return le.Uint16(r[0x14:]) } // byte offset in the record
func (r fileRecord) flags() uint16        { return le.Uint16(r[0x16:]) }
func (r fileRecord) used() uint32         { return le.Uint32(r[0x18:]) } // bytes, end marker included
func (r fileRecord) allocated() uint32    { return le.Uint32(r[0x1c:]) }
func (r fileRecord) base() fileRef        { return fileRef(le.Uint64(r[0x20:])) } // 0 in base records
func (r fileRecord) nextInstance() uint16 { return le.Uint16(r[0x28:]) }

// attribute is one attribute of a record: its header, and all its bytes if the record was checked.
type attribute []byte

func (a attribute) typ() attrType      { return attrType(le.Uint32(a)) }
func (a attribute) length() uint32     { return le.Uint32(a[4:]) }
func (a attribute) nonResident() bool  { return a[8] != 0 }
func (a attribute) nameLength() int    { return int(a[9]) } // UTF-16 units
func (a attribute) nameOffset() uint16 { return le.Uint16(a[0xa:]) }
func (a attribute) flags() uint16      { return le.Uint16(a[0xc:]) }
func (a attribute) instance() uint16   { return le.Uint16(a[0xe:]) }

// Resident attributes only.
func (a attribute) valueLength() uint32 { return le.Uint32(a[0x10:]) }
func (a attribute) valueOffset() uint16 { return le.Uint16(a[0x14:]) }

// Non-resident attributes only. The sizes are set in the extent with lowest VCN 0.
func (a attribute) lowestVCN() VCN         { return VCN(le.Uint64(a[0x10:])) }
func (a attribute) highestVCN() VCN        { return VCN(le.Uint64(a[0x18:])) }
func (a attribute) runsOffset() uint16     { return le.Uint16(a[0x20:]) }
func (a attribute) compressionUnit() byte  { return a[0x22] } // log2 of clusters
func (a attribute) allocatedSize() int64   { return int64(le.Uint64(a[0x28:])) }
func (a attribute) dataSize() int64        { return int64(le.Uint64(a[0x30:])) }
func (a attribute) initializedSize() int64 { return int64(le.Uint64(a[0x38:])) }
func (a attribute) totalAllocated() int64  { return int64(le.Uint64(a[0x40:])) } // sparse or compressed, 72-byte header

// hole is the LCN of a run without clusters.
const hole LCN = -1

// run is a number of consecutive clusters.
type run struct {
	lcn      LCN // hole if there are none
	clusters int64
}

// signedBytes is the number of bytes that hold v as a signed integer.
func signedBytes(v int64) int { return (bits.Len64(uint64(v^v>>63)) + 8) / 8 }

// appendRuns appends the mapping pairs of runs and the zero byte that ends them.
func appendRuns(b []byte, runs ...run) []byte {
	var from LCN
	for _, r := range runs {
		n := signedBytes(r.clusters)
		at := len(b)
		b = append(b, byte(n))
		b = appendInt(b, r.clusters, n)
		if r.lcn == hole {
			continue
		}
		delta := int64(r.lcn - from)
		n = signedBytes(delta)
		b[at] |= byte(n << 4)
		b = appendInt(b, delta, n)
		from = r.lcn
	}
	return append(b, 0)
}

func appendInt(b []byte, v int64, n int) []byte {
	for range n {
		b = append(b, byte(v))
		v >>= 8
	}
	return b
}

// decodeRuns appends to runs those of mapping pairs, which must end with a zero byte inside b, add up to want clusters and stay
// below limit, the clusters of the volume.
func decodeRuns(runs []run, b []byte, want, limit int64) ([]run, error) {
	var from LCN
	first := true
	off := 0
	for ; ; first = false {
		if off >= len(b) {
			return runs, fmt.Errorf("mapping pairs at %#x: end after %d bytes without a terminator", off, len(b))
		}
		h := b[off]
		if h == 0 {
			break
		}
		nl, no := int(h&15), int(h>>4)
		if nl == 0 || nl > 8 || no > 8 || nl+no > len(b)-off-1 {
			return runs, fmt.Errorf("mapping pairs at %#x: header %#x with %d bytes left", off, h, len(b)-off-1)
		}
		r := run{hole, readInt(b[off+1 : off+1+nl])}
		if r.clusters <= 0 || r.clusters > want {
			return runs, fmt.Errorf("mapping pairs at %#x: run of %d clusters, want 1 to %d", off, r.clusters, want)
		}
		if no > 0 {
			delta := readInt(b[off+1+nl : off+1+nl+no])
			if delta == 0 && !first || delta < -int64(from) || delta > limit-int64(from) {
				return runs, fmt.Errorf("mapping pairs at %#x: delta %d from cluster %d of %d", off, delta, from, limit)
			}
			from += LCN(delta)
			r.lcn = from
			if r.clusters > limit-int64(from) {
				return runs, fmt.Errorf("mapping pairs at %#x: %d clusters at %d, want at most %d", off, r.clusters, from, limit)
			}
		}
		want -= r.clusters
		runs = append(runs, r)
		off += 1 + nl + no
	}
	if want != 0 {
		return runs, fmt.Errorf("mapping pairs at %#x: end %d clusters early", off, want)
	}
	return runs, nil
}

func readInt(b []byte) int64 {
	v := int64(int8(b[len(b)-1]))
	for i := len(b) - 2; i >= 0; i-- {
		v = v<<8 | int64(b[i])
	}
	return v
}

// vcnUnit is the number of bytes that one VCN of an index counts: a cluster, or 512 where clusters are larger than blocks.
func vcnUnit(clusterSize, blockSize int) int {
	if clusterSize <= blockSize {
		return clusterSize
	}
	return sectorStride
}

// securityHash is the key of $SDH.
func securityHash(sd []byte) uint32 {
	var h uint32
	for ; len(sd) >= 4; sd = sd[4:] {
		h = bits.RotateLeft32(h, 3) + le.Uint32(sd)
	}
	return h
}

var upcaseCRCTable = sync.OnceValue(func() *crc64.Table { return crc64.MakeTable(0x9a6c9329ac4bc9b5) })

// upcaseCRC is the checksum in $UpCase:$Info.
func upcaseCRC(table []byte) uint64 { return crc64.Checksum(table, upcaseCRCTable()) }

// appendUint16s appends units as little-endian bytes.
func appendUint16s(b []byte, u []uint16) []byte {
	for _, c := range u {
		b = le.AppendUint16(b, c)
	}
	return b
}

// align rounds n up to a multiple of to, a power of two.
func align[T ~int | ~int64 | ~uint32](n, to T) T { return (n + to - 1) &^ (to - 1) }

// legal83 reports whether a name has the form of the DOS namespace: a base of 1 to 8 characters and an extension of up to 3. Case does
// not matter, and characters beyond ASCII pass: which of them there are is the OEM code page's choice.
func legal83(name string) bool {
	if !winfile.ValidName(name) || strings.ContainsAny(name, " \"*+,/:;<=>?[\\]|\x7f") {
		return false
	}
	for i := range len(name) {
		if name[i] < ' ' {
			return false
		}
	}
	base, ext, dot := strings.Cut(name, ".")
	if b := utf16Length(base); b < 1 || b > 8 {
		return false
	}
	e := utf16Length(ext)
	return e <= 3 && (!dot || e > 0) && !strings.Contains(ext, ".")
}

// utf16Length is the number of UTF-16 units of a WTF-8 string.
func utf16Length(s string) int {
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0xf0:
			n += 2
		case c < 0x80 || c >= 0xc0:
			n++
		}
	}
	return n
}
