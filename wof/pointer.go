package wof

import (
	"fmt"
	"math"

	"husk/winfile"
)

// Provider tells where WOF takes the content of a file from: WOF_EXTERNAL_INFO.Provider.
type Provider uint32

const (
	ProviderWIM  Provider = 1 // WOF_PROVIDER_WIM: a [Pointer]
	ProviderFile Provider = 2 // WOF_PROVIDER_FILE: the named stream WofCompressedData, described by [CompactInfo]
)

// Algorithm is how WofCompressedData is compressed: FILE_PROVIDER_COMPRESSION_*.
type Algorithm uint32

const (
	XPRESS4K  Algorithm = 0
	LZX       Algorithm = 1
	XPRESS8K  Algorithm = 2
	XPRESS16K Algorithm = 3 // the boot manager of Windows 10 cannot read it
)

// String returns Microsoft's name.
func (a Algorithm) String() string {
	names := [...]string{"XPRESS4K", "LZX", "XPRESS8K", "XPRESS16K"}
	if int64(a) < int64(len(names)) {
		return names[a]
	}
	return fmt.Sprintf("algorithm %d", uint32(a))
}

const (
	reparseHeader = 8  // of a REPARSE_DATA_BUFFER
	wofHeader     = 8  // WOF_EXTERNAL_INFO
	pointerData   = 88 // data after the reparse header
	compactData   = 16
	wofVersion    = 1
	pointerV      = 2 // of the reparse point; the ioctl structure has 1
	compactV      = 1
)

// PointerSize is the length of the reparse buffer of a pointer file.
const PointerSize = reparseHeader + pointerData

// Pointer is the reparse point of a pointer file.
type Pointer struct {
	Flags        uint32       // normally 0
	DataSourceID uint64       // of the WIM in WimOverlay.dat
	SHA1         winfile.SHA1 // of the content
	BlobTable    winfile.SHA1 // of the WIM's blob table, as its bytes are in the WIM
	Size         int64        // of the content
	StoredSize   int64        // in the WIM; not equal to Size if and only if the resource is compressed
	Offset       int64        // of the resource in the WIM
}

// Marshal returns the 96-byte REPARSE_DATA_BUFFER.
func (p *Pointer) Marshal() []byte { return p.Reparse().Buffer() }

// Reparse returns the reparse point.
func (p *Pointer) Reparse() *winfile.Reparse {
	b := make([]byte, pointerData)
	putFields(b, wofFields(ProviderWIM, pointerV))
	le.PutUint32(b[0x0c:], p.Flags)
	le.PutUint64(b[0x10:], p.DataSourceID)
	copy(b[0x18:], p.SHA1[:])
	copy(b[0x2c:], p.BlobTable[:])
	le.PutUint64(b[0x40:], uint64(p.Size))
	le.PutUint64(b[0x48:], uint64(p.StoredSize))
	le.PutUint64(b[0x50:], uint64(p.Offset))
	return &winfile.Reparse{Tag: winfile.TagWOF, Data: b}
}

// ParsePointer reads a REPARSE_DATA_BUFFER. Errors are *FormatError.
func ParsePointer(b []byte) (*Pointer, error) {
	r, err := winfile.ParseReparse(b)
	if err != nil {
		return nil, &FormatError{"pointer", 0, err}
	}
	return PointerOf(r)
}

// PointerOf reads the reparse point of a pointer file. Errors are *FormatError, with offsets in the whole buffer.
func PointerOf(r *winfile.Reparse) (*Pointer, error) {
	b, err := wofData("pointer", r, ProviderWIM, pointerV, pointerData)
	if err != nil {
		return nil, err
	}
	p := &Pointer{
		Flags:        le.Uint32(b[0x0c:]),
		DataSourceID: le.Uint64(b[0x10:]),
		SHA1:         winfile.SHA1(b[0x18:0x2c]),
		BlobTable:    winfile.SHA1(b[0x2c:0x40]),
	}
	for _, f := range []struct {
		off  int
		name string
		to   *int64
	}{{0x40, "size", &p.Size}, {0x48, "stored size", &p.StoredSize}, {0x50, "offset in the WIM", &p.Offset}} {
		n := le.Uint64(b[f.off:])
		if n > math.MaxInt64 {
			return nil, &FormatError{"pointer", int64(reparseHeader + f.off), fmt.Errorf("%s %d, want less than 2^63", f.name, n)}
		}
		*f.to = int64(n)
	}
	return p, nil
}

// CompactInfo is the reparse point of a compact file.
type CompactInfo struct {
	Algorithm Algorithm
}

// Marshal returns the 24-byte REPARSE_DATA_BUFFER.
func (c *CompactInfo) Marshal() []byte { return c.Reparse().Buffer() }

// Reparse returns the reparse point.
func (c *CompactInfo) Reparse() *winfile.Reparse {
	b := make([]byte, compactData)
	putFields(b, wofFields(ProviderFile, compactV))
	le.PutUint32(b[0x0c:], uint32(c.Algorithm))
	return &winfile.Reparse{Tag: winfile.TagWOF, Data: b}
}

// ParseCompact reads a REPARSE_DATA_BUFFER. Errors are *FormatError.
func ParseCompact(b []byte) (*CompactInfo, error) {
	r, err := winfile.ParseReparse(b)
	if err != nil {
		return nil, &FormatError{"compact file", 0, err}
	}
	return CompactOf(r)
}

// CompactOf reads the reparse point of a compact file. Errors are *FormatError, with offsets in the whole buffer.
func CompactOf(r *winfile.Reparse) (*CompactInfo, error) {
	b, err := wofData("compact file", r, ProviderFile, compactV, compactData)
	if err != nil {
		return nil, err
	}
	c := &CompactInfo{Algorithm(le.Uint32(b[0x0c:]))}
	if c.Algorithm > XPRESS16K {
		return nil, &FormatError{"compact file", 0x14, fmt.Errorf("algorithm %d, want at most %d", uint32(c.Algorithm), XPRESS16K)}
	}
	return c, nil
}

// ProviderOf tells the provider of a reparse point with tag WOF.
func ProviderOf(r *winfile.Reparse) (Provider, error) {
	if r.Tag != winfile.TagWOF {
		return 0, &FormatError{"reparse point", 0, fmt.Errorf("tag %#x, want %#x", r.Tag, uint32(winfile.TagWOF))}
	}
	if len(r.Data) < wofHeader {
		return 0, &FormatError{"reparse point", 4, fmt.Errorf("data length %d, want at least %d", len(r.Data), wofHeader)}
	}
	if v := le.Uint32(r.Data); v != wofVersion {
		return 0, &FormatError{"reparse point", 8, fmt.Errorf("WOF version %d, want %d", v, wofVersion)}
	}
	return Provider(le.Uint32(r.Data[4:])), nil
}

// wofFields are the first three fields after the reparse header.
func wofFields(p Provider, version uint32) []field {
	return []field{{0, "WOF version", wofVersion}, {4, "provider", uint32(p)}, {8, "version", version}}
}

// wofData checks everything up to the provider's own fields.
func wofData(what string, r *winfile.Reparse, p Provider, version uint32, size int) ([]byte, error) {
	if r.Tag != winfile.TagWOF {
		return nil, &FormatError{what, 0, fmt.Errorf("tag %#x, want %#x", r.Tag, uint32(winfile.TagWOF))}
	}
	if len(r.Data) != size {
		return nil, &FormatError{what, 4, fmt.Errorf("data length %d, want %d", len(r.Data), size)}
	}
	return r.Data, checkFields(what, r.Data, reparseHeader, wofFields(p, version))
}
