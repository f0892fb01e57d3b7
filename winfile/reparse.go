package winfile

import (
	"encoding/binary"
	"fmt"
)

// Reparse tags, [MS-FSCC] 2.1.2.1.
const (
	TagMountPoint   = 0xA0000003 // IO_REPARSE_TAG_MOUNT_POINT: junction or mounted volume
	TagSymlink      = 0xA000000C // IO_REPARSE_TAG_SYMLINK
	TagWIM          = 0x80000008 // IO_REPARSE_TAG_WIM
	TagDedup        = 0x80000013 // IO_REPARSE_TAG_DEDUP
	TagWOF          = 0x80000017 // IO_REPARSE_TAG_WOF
	TagAppExecLink  = 0x8000001B // IO_REPARSE_TAG_APPEXECLINK
	TagLXSymlink    = 0xA000001D // IO_REPARSE_TAG_LX_SYMLINK
	tagMicrosoftBit = 0x80000000 // without it a GUID follows the header
	tagSurrogateBit = 0x20000000 // the file stands for another one
)

// MaxReparse is the largest REPARSE_DATA_BUFFER in bytes, header included: MAXIMUM_REPARSE_DATA_BUFFER_SIZE.
const MaxReparse = 16384

// Reparse is a reparse point without its 8-byte header.
type Reparse struct {
	Tag      uint32
	Reserved uint16 // third header field, normally 0
	NotFixed bool   // WIM only: an absolute target that was not made relative to the image root
	Data     []byte // what follows the header; for tags that are not Microsoft's it starts with the 16-byte GUID
}

// Surrogate reports whether the point stands for another file, as links and junctions do: IsReparseTagNameSurrogate. A directory with
// a point of another kind, such as those of cloud files, has children of its own.
func (r *Reparse) Surrogate() bool { return r.Tag&tagSurrogateBit != 0 }

// Buffer returns the REPARSE_DATA_BUFFER: tag u32, data length u16, reserved u16, data. For tags that are not Microsoft's the
// data length does not count the GUID ([MS-FSCC] 2.1.2.3).
func (r *Reparse) Buffer() []byte {
	n := len(r.Data)
	if r.Tag&tagMicrosoftBit == 0 {
		n = max(n-16, 0)
	}
	b := make([]byte, 8, 8+len(r.Data))
	binary.LittleEndian.PutUint32(b, r.Tag)
	binary.LittleEndian.PutUint16(b[4:], uint16(n))
	binary.LittleEndian.PutUint16(b[6:], r.Reserved)
	return append(b, r.Data...)
}

// ParseReparse splits a REPARSE_DATA_BUFFER. The result keeps b.
func ParseReparse(b []byte) (*Reparse, error) {
	if len(b) < 8 || len(b) > MaxReparse {
		return nil, fmt.Errorf("reparse buffer of %d bytes, want 8 to %d", len(b), MaxReparse)
	}
	r := &Reparse{Tag: binary.LittleEndian.Uint32(b), Reserved: binary.LittleEndian.Uint16(b[6:])}
	n := int(binary.LittleEndian.Uint16(b[4:]))
	if r.Tag&tagMicrosoftBit == 0 {
		n += 16
	}
	if n > len(b)-8 {
		return nil, fmt.Errorf("reparse data at 0x8: length %d, want at most %d", n, len(b)-8)
	}
	r.Data = b[8 : 8+n : 8+n]
	return r, nil
}
