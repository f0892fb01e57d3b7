package wim

import (
	"encoding/binary"
	"errors"
	"fmt"

	"husk/guid"
	"husk/winfile"
)

var le = binary.LittleEndian

const (
	headerSize         = 208
	resourceHeaderSize = 24
	blobEntrySize      = 50
	dentrySize         = 0x66 // fixed part
	streamSize         = 0x26 // fixed part of an extra stream entry
	integritySize      = 12   // fixed part of the integrity table

	versionPlain = 0x10d00
	versionSolid = 0xe00 // solid resources may be present

	flagsOffset = 0x10 // of header.Flags

	pipeMagic      = 0x2b9b9ba2443db9d8 // starts what stands before a resource of a pipable WIM
	pipeHeaderSize = 40                 // pipeMagic, plain size u64, SHA-1, resourceFlags u32
	pipeChunkSize  = 4                  // stored size u32, before each chunk of a pipable WIM

	resourceSizeLog = 56 // bits of the stored size in resourceHeader.StoredFlags
)

var (
	magic         = [8]byte{'M', 'S', 'W', 'I', 'M'}
	magicPipable  = [8]byte{'W', 'L', 'P', 'W', 'M'}
	solidOriginal = uint64(1) << 32 // "original size" of the entry of a solid resource
)

// Limits on what a file may claim. Each is far above anything seen.
const (
	maxXML      = 256 << 20      // bytes; 65535 images of 4 KiB
	maxMetadata = 1<<31 - 1<<16  // bytes; over ten million names
	maxRatio    = 512            // plain bytes of metadata per byte of WIM
	maxDepth    = 16384          // directories below each other, as in wimlib
	maxImages   = 65535          // as in wimlib
	maxName     = 0xfffe / 2     // UTF-16 units
	noSecurity  = 0xffffffff     // security id of a file without descriptor
	maxStored   = 1<<56 - 1      // bytes of one resource
	maxIntChunk = int64(1) << 30 // bytes per SHA-1 of the integrity table
	intChunk    = 10 << 20       // the same, as written
	maxReparse  = 1<<14 - 8      // bytes of reparse data without header
	maxChunkLog = 30             // 1 GiB, LZMS
	minChunkLog = 12             // 4 KiB
	maxTable    = 1<<31 - 1<<16  // bytes of blob table; over forty million blobs
)

// headerFlags are the bits at 0x10.
type headerFlags uint32

const (
	flagCompressed headerFlags = 0x2
	flagReadOnly   headerFlags = 0x4
	flagSpanned    headerFlags = 0x8
	flagInProgress headerFlags = 0x40 // set while a writer is at work
	flagReparseFix headerFlags = 0x80
	flagXPRESS     headerFlags = 0x20000
	flagLZX        headerFlags = 0x40000
	flagLZMS       headerFlags = 0x80000
	flagXPRESS2    headerFlags = 0x200000
	flagAnyCodec               = flagXPRESS | flagLZX | flagLZMS | flagXPRESS2
)

// Codec is a compression algorithm.
type Codec uint8

const (
	Auto   Codec = iota // XPRESS in a new file, and the file's own when appending
	None                // nothing is compressed
	XPRESS              // XPRESS Huffman: DISM's "fast" and WIMBoot
	LZX                 // DISM's "max"
	LZMS                // DISM's "recovery"
)

func (c Codec) String() string {
	switch c {
	case Auto:
		return "auto"
	case None:
		return "none"
	case XPRESS:
		return "XPRESS"
	case LZX:
		return "LZX"
	case LZMS:
		return "LZMS"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// header starts every WIM. Comments give on-disk offsets.
type header struct {
	Magic      [8]byte        // 0x00 "MSWIM\0\0\0"
	Size       uint32         // 0x08 headerSize
	Version    uint32         // 0x0c
	Flags      headerFlags    // 0x10
	ChunkSize  uint32         // 0x14 plain bytes per chunk; 0 if nothing is compressed
	GUID       guid.GUID      // 0x18
	Part, Of   uint16         // 0x28, 0x2a part number, 1-based, and number of parts
	ImageCount uint32         // 0x2c
	BlobTable  resourceHeader // 0x30
	XML        resourceHeader // 0x48
	BootMeta   resourceHeader // 0x60 copy of the metadata resource of the image that boots; zero if none does
	BootIndex  uint32         // 0x78 1-based; 0 if no image boots
	Integrity  resourceHeader // 0x7c zero if absent; not 8-aligned on disk
	_          [60]byte       // 0x94
}

// codec returns the codec of the resources that are not solid. Where several bits are set, wimlib's order decides.
func (h *header) codec() Codec {
	switch {
	case h.Flags&flagCompressed == 0:
		return None
	case h.Flags&flagLZX != 0:
		return LZX
	case h.Flags&(flagXPRESS|flagXPRESS2) != 0:
		return XPRESS
	case h.Flags&flagLZMS != 0:
		return LZMS
	}
	return None
}

// check reports the first field that a reader cannot work with, and its offset.
func (h *header) check() (off int64, err error) {
	switch {
	case h.Magic != magic && h.Magic != magicPipable:
		return 0, fmt.Errorf("magic %q, want %q", h.Magic[:], magic[:])
	case h.Size != headerSize:
		return 8, fmt.Errorf("header size %d, want %d", h.Size, headerSize)
	case h.Version != versionPlain && h.Version != versionSolid:
		return 0xc, fmt.Errorf("version %#x, want %#x or %#x", h.Version, versionPlain, versionSolid)
	case h.Flags&flagCompressed != 0 && h.Flags&flagAnyCodec == 0:
		return flagsOffset, fmt.Errorf("flags %#x: compressed, but no codec", uint32(h.Flags))
	case h.Of == 0 || h.Part == 0 || h.Part > h.Of:
		return 0x28, fmt.Errorf("part %d of %d", h.Part, h.Of)
	case h.ImageCount > maxImages:
		return 0x2c, fmt.Errorf("%d images, want at most %d", h.ImageCount, maxImages)
	}
	if codec := h.codec(); codec != None {
		if err := checkChunkSize(codec, int64(h.ChunkSize)); err != nil {
			return 0x14, err
		}
	}
	if h.BlobTable.zero() && h.XML.zero() && h.Magic != magicPipable {
		return 0x30, errors.New("no blob table and no XML data: writing was never finished")
	}
	return 0, nil
}

// checkChunkSize holds a chunk size against the limits of its codec.
func checkChunkSize(codec Codec, n int64) error {
	lo, hi := minChunkLog, maxChunkLog
	switch codec {
	case XPRESS:
		hi = 16
	case LZX:
		lo, hi = 15, 21
	case LZMS:
		lo = 15
	}
	if n <= 0 || n&(n-1) != 0 || n < 1<<lo || n > 1<<hi {
		return fmt.Errorf("chunk size %d, want a power of two from %d to %d for %s", n, 1<<lo, 1<<hi, codec)
	}
	return nil
}

// resourceFlags are the top byte of a resource header's first field.
type resourceFlags uint8

const (
	resMetadata   resourceFlags = 0x02
	resCompressed resourceFlags = 0x04
	resSolid      resourceFlags = 0x10
)

// resourceHeader locates a resource.
type resourceHeader struct {
	StoredFlags uint64 // 0x00 stored size in bytes, 56 bits, and resourceFlags
	Offset      uint64 // 0x08 in the file
	Original    uint64 // 0x10 plain size
}

func newResourceHeader(off, stored, original int64, flags resourceFlags) resourceHeader {
	return resourceHeader{uint64(stored) | uint64(flags)<<resourceSizeLog, uint64(off), uint64(original)}
}

func (h resourceHeader) stored() int64        { return int64(h.StoredFlags & maxStored) }
func (h resourceHeader) flags() resourceFlags { return resourceFlags(h.StoredFlags >> resourceSizeLog) }
func (h resourceHeader) zero() bool           { return h == resourceHeader{} }

// end is the offset behind the resource; it cannot wrap after resource() accepted the header.
func (h resourceHeader) end() int64 { return int64(h.Offset) + h.stored() }

// check holds the resource against the size of the file.
func (h resourceHeader) check(fileSize int64) error {
	off, n := h.Offset, uint64(h.stored())
	switch {
	case n > uint64(fileSize) || off > uint64(fileSize)-n:
		return fmt.Errorf("%d bytes at %#x, want them inside the file's %d", n, off, fileSize)
	case h.Original > 1<<62:
		return fmt.Errorf("plain size %d, want at most %d", h.Original, uint64(1)<<62)
	case h.flags()&(resCompressed|resSolid) == 0 && h.Original != n:
		return fmt.Errorf("stored size %d of an uncompressed resource of %d bytes", n, h.Original)
	}
	return nil
}

func getResourceHeader(b []byte) resourceHeader {
	return resourceHeader{le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:])}
}

func appendResourceHeader(b []byte, h resourceHeader) []byte {
	b = le.AppendUint64(b, h.StoredFlags)
	b = le.AppendUint64(b, h.Offset)
	return le.AppendUint64(b, h.Original)
}

// blobEntry is one line of the blob table.
type blobEntry struct {
	Resource resourceHeader // 0x00
	Part     uint16         // 0x18
	RefCount uint32         // 0x1a names that refer to it, over all images; metadata: 1
	Hash     winfile.SHA1   // 0x1e of the plain bytes
}

func getBlobEntry(b []byte) (e blobEntry) {
	e.Resource = getResourceHeader(b)
	e.Part, e.RefCount = le.Uint16(b[0x18:]), le.Uint32(b[0x1a:])
	copy(e.Hash[:], b[0x1e:])
	return e
}

func appendBlobEntry(b []byte, e *blobEntry) []byte {
	b = appendResourceHeader(b, e.Resource)
	b = le.AppendUint16(b, e.Part)
	b = le.AppendUint32(b, e.RefCount)
	return append(b, e.Hash[:]...)
}

// dentry is a directory entry's fixed part and names, or more. Its reader checked that dentrySize bytes are there.
type dentry []byte

func (d dentry) length() uint64             { return le.Uint64(d) } // names and items included, extra streams not
func (d dentry) attributes() uint32         { return le.Uint32(d[0x08:]) }
func (d dentry) security() uint32           { return le.Uint32(d[0x0c:]) }
func (d dentry) subdir() uint64             { return le.Uint64(d[0x10:]) } // offset of the children's list; 0 if none
func (d dentry) created() winfile.Filetime  { return winfile.Filetime(le.Uint64(d[0x28:])) }
func (d dentry) accessed() winfile.Filetime { return winfile.Filetime(le.Uint64(d[0x30:])) }
func (d dentry) written() winfile.Filetime  { return winfile.Filetime(le.Uint64(d[0x38:])) }
func (d dentry) hash() winfile.SHA1         { return winfile.SHA1(d[0x40:0x54]) }
func (d dentry) unknown() uint32            { return le.Uint32(d[0x54:]) }
func (d dentry) reparseTag() uint32         { return le.Uint32(d[0x58:]) } // of reparse points only
func (d dentry) reparseReserved() uint16    { return le.Uint16(d[0x5c:]) } // of reparse points only
func (d dentry) reparseFlags() uint16       { return le.Uint16(d[0x5e:]) } // of reparse points only
func (d dentry) linkGroup() uint64          { return le.Uint64(d[0x58:]) } // of all others; 0 if there is one name
func (d dentry) streams() int               { return int(le.Uint16(d[0x60:])) }
func (d dentry) shortSize() int             { return int(le.Uint16(d[0x62:])) } // bytes, without NUL
func (d dentry) nameSize() int              { return int(le.Uint16(d[0x64:])) } // bytes, without NUL

const reparseNotFixed = 1 // in reparseFlags

// Kinds of tagged items.
const (
	tagObjectID = 1
	tagEAs      = 2
	tagUnix     = 0x337dd873 // wimlib's
)

// align8 rounds up to a multiple of 8.
func align8[T int | int64 | uint64](n T) T { return (n + 7) &^ 7 }

// ErrChecksum is wrapped by errors about bytes that do not have the SHA-1 that the file gives for them.
var ErrChecksum = errors.New("SHA-1 does not match")

// ErrMissing is wrapped by errors about blobs that an image needs and the file does not have.
var ErrMissing = errors.New("blob is not in the file")

// A FormatError reports bytes that break the WIM format.
type FormatError struct {
	What string // structure being read: "header", "image 1: directory entry"
	Off  int64  // byte offset: in the file, or in the plain bytes of the metadata resource for what is inside it
	Err  error  // found and expected, or the read error
}

func (e *FormatError) Error() string { return fmt.Sprintf("wim: %s at %#x: %v", e.What, e.Off, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }
