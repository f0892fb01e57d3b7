package vhd

import (
	"encoding/binary"
	"fmt"
	"time"
)

const (
	sectorSize    = 512
	footerSize    = 512
	oldFooterSize = 511 // Virtual PC before 2004 left the last, reserved byte out
	headerSize    = 1024
	headerOffset  = footerSize // where Writer puts the header; a reader follows footer.DataOffset
	absent        = 0xffffffff // BAT entry of a block that is not in the file
	noOffset      = 1<<64 - 1

	footerMagic = "conectix"
	headerMagic = "cxsparse"
	version1    = 0x00010000

	// MaxSize is the largest disk, 2040 GiB: sector addresses in the BAT have 32 bits, so the file ends below 2 TiB.
	MaxSize = 2040 << 30

	// minBlockSize and maxBlockSize bound what a Reader takes. Windows writes 512 KiB and 2 MiB.
	minBlockSize = 512
	maxBlockSize = 256 << 20

	// maxBATEntries bounds the memory of a Reader: 2040 GiB in blocks of 256 KiB.
	maxBATEntries = MaxSize / (256 << 10)

	relativeCode = "W2ru" // parent locators with paths in UTF-16LE
	absoluteCode = "W2ku"
	locatorsAt   = 0x240     // in the header
	maxPath      = 2 * 32768 // bytes of a path
)

// Type is the kind of a disk, as in the footer.
type Type uint32

// The types a footer may hold. Others are reserved or obsolete.
const (
	Fixed        Type = 2
	Dynamic      Type = 3
	Differencing Type = 4
)

func (t Type) String() string {
	switch t {
	case Fixed:
		return "fixed"
	case Dynamic:
		return "dynamic"
	case Differencing:
		return "differencing"
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// footer ends every VHD. Comments give on-disk offsets.
type footer struct {
	Magic          [8]byte  // 0x00 "conectix"
	Features       uint32   // 0x08 2, always set; 1 for a temporary disk
	Version        uint32   // 0x0c 0x00010000
	DataOffset     uint64   // 0x10 the dynamic header; all ones in a fixed disk
	Timestamp      uint32   // 0x18 seconds since 2000-01-01 00:00 UTC
	Creator        [4]byte  // 0x1c "win ", "qemu", "vpc "
	CreatorVersion uint32   // 0x20 major and minor: Windows 10 is 0x000a0000
	HostOS         [4]byte  // 0x24 "Wi2k" or "Mac "
	OriginalSize   uint64   // 0x28 bytes, when the disk was made
	CurrentSize    uint64   // 0x30 bytes
	Geometry       CHS      // 0x38
	Type           Type     // 0x3c
	Checksum       uint32   // 0x40 of the footer with this field zero
	ID             [16]byte // 0x44 what a differencing child names its parent by
	SavedState     uint8    // 0x54 1 if a virtual machine is suspended on the disk
	_              [427]byte
}

// header describes a dynamic or differencing disk.
type header struct {
	Magic           [8]byte     // 0x00 "cxsparse"
	DataOffset      uint64      // 0x08 all ones
	TableOffset     uint64      // 0x10 the BAT
	Version         uint32      // 0x18 0x00010000
	MaxTableEntries uint32      // 0x1c blocks of the disk
	BlockSize       uint32      // 0x20 bytes of data in a block, a power of two
	Checksum        uint32      // 0x24 of the header with this field zero
	ParentID        [16]byte    // 0x28
	ParentTimestamp uint32      // 0x38
	_               uint32      // 0x3c
	ParentName      [256]uint16 // 0x40 UTF-16BE, zero padded
	Locators        [8]locator  // 0x240
	_               [256]byte
}

// locator says where a differencing disk holds one spelling of its parent's name.
type locator struct {
	Code   [4]byte // 0x00 "W2ru" relative, "W2ku" absolute
	Space  uint32  // 0x04
	Length uint32  // 0x08 bytes
	_      uint32  // 0x0c
	Offset uint64  // 0x10
}

// A FormatError reports bytes that break the VHD format.
type FormatError struct {
	What string // structure being read: "footer", "block table entry 12"
	Off  int64  // byte offset in the file
	Err  error  // found and expected, or the read error
}

func (e *FormatError) Error() string { return fmt.Sprintf("vhd: %s at %#x: %v", e.What, e.Off, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }

// checksum is the one's complement of the sum of all bytes of b, taking the four at field as zero.
func checksum(b []byte, field int) uint32 {
	var sum uint32
	for i, c := range b {
		if i < field || i >= field+4 {
			sum += uint32(c)
		}
	}
	return ^sum
}

const (
	footerChecksumAt = 0x40
	headerChecksumAt = 0x24
)

// marshal returns the 512 bytes of f with the checksum filled in.
func (f *footer) marshal() []byte { return encode(f, footerChecksumAt) }

// marshal returns the 1024 bytes of h with the checksum filled in.
func (h *header) marshal() []byte { return encode(h, headerChecksumAt) }

func encode(v any, checksumAt int) []byte {
	b, err := binary.Append(nil, binary.BigEndian, v)
	if err != nil {
		panic("vhd: internal error: " + err.Error())
	}
	binary.BigEndian.PutUint32(b[checksumAt:], checksum(b, checksumAt))
	return b
}

// parseFooter decodes 511 or 512 bytes. What it returns without an error has a magic, a version and a checksum that
// are right; the other fields are claims still.
func parseFooter(b []byte) (*footer, error) {
	if string(b[:8]) != footerMagic {
		return nil, fmt.Errorf("magic %q, want %q", b[:8], footerMagic)
	}
	var full [footerSize]byte
	copy(full[:], b)
	f := new(footer)
	if _, err := binary.Decode(full[:], binary.BigEndian, f); err != nil {
		return nil, err
	}
	if want := checksum(full[:], footerChecksumAt); f.Checksum != want {
		return nil, fmt.Errorf("checksum %#08x, want %#08x", f.Checksum, want)
	}
	if f.Version>>16 != version1>>16 {
		return nil, fmt.Errorf("version %#08x, want %#08x", f.Version, version1)
	}
	return f, nil
}

// check holds the fields of a footer against each other.
func (f *footer) check() error {
	switch {
	case f.Type != Fixed && f.Type != Dynamic && f.Type != Differencing:
		return fmt.Errorf("disk %v, want 2 (fixed), 3 (dynamic) or 4 (differencing)", f.Type)
	case f.CurrentSize == 0 || f.CurrentSize%sectorSize != 0:
		return fmt.Errorf("disk size %d, want a multiple of %d", f.CurrentSize, sectorSize)
	case f.CurrentSize > MaxSize:
		return fmt.Errorf("disk size %d, want at most %d", f.CurrentSize, int64(MaxSize))
	}
	return nil
}

// parseHeader decodes the 1024 bytes of a dynamic header and checks all that does not depend on the footer.
func parseHeader(b []byte) (*header, error) {
	if string(b[:8]) != headerMagic {
		return nil, fmt.Errorf("magic %q, want %q", b[:8], headerMagic)
	}
	h := new(header)
	if _, err := binary.Decode(b, binary.BigEndian, h); err != nil {
		return nil, err
	}
	if want := checksum(b[:headerSize], headerChecksumAt); h.Checksum != want {
		return nil, fmt.Errorf("checksum %#08x, want %#08x", h.Checksum, want)
	}
	if h.Version>>16 != version1>>16 {
		return nil, fmt.Errorf("version %#08x, want %#08x", h.Version, version1)
	}
	if s := h.BlockSize; s < minBlockSize || s > maxBlockSize || s&(s-1) != 0 {
		return nil, fmt.Errorf("block size %d, want a power of two from %d to %d", s, minBlockSize, maxBlockSize)
	}
	return h, nil
}

// bitmapSize is how many bytes the sector bitmap of a block takes.
func bitmapSize(blockSize int64) int64 {
	return roundUp((blockSize/sectorSize+7)/8, sectorSize)
}

// blockCount is how many blocks a disk of size bytes has.
func blockCount(size, blockSize int64) int64 { return (size + blockSize - 1) / blockSize }

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// timestamp is t as a footer holds it; the zero time is 0.
func timestamp(t time.Time) (uint32, error) {
	if t.IsZero() {
		return 0, nil
	}
	s := t.Unix() - epoch.Unix()
	if s < 0 || s > 1<<32-1 {
		return 0, fmt.Errorf("vhd: time %v, want one from 2000 to 2136", t)
	}
	return uint32(s), nil
}
