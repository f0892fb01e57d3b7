package wof

import (
	"errors"
	"fmt"

	"husk/winfile"
)

// Codec is how the resources of a WIM are compressed.
type Codec uint8

const (
	CodecNone Codec = iota
	CodecXPRESS
	CodecLZX
	CodecLZMS
)

func (c Codec) String() string {
	names := [...]string{"no compression", "XPRESS", "LZX", "LZMS"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// WIMFormat is what decides whether a WIM can back files.
type WIMFormat struct {
	Codec     Codec
	ChunkSize uint32 // plain bytes
	Version   uint32 // of the header: 0x10d00, 0xe00 if there are solid resources
	Parts     int    // files it is split into; 0 is taken as 1
	Pipable   bool   // wimlib's format for pipes, which has a magic of its own
}

const solidVersion = 0xe00

// CheckWIM reports why WOF cannot take contents from a WIM of this format, or nil if it can. The error wraps
// [errors.ErrUnsupported]. Single resources may still be unfit, see [Resource].
func CheckWIM(f WIMFormat) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("wof: WIM cannot back files: "+format+": %w", append(args, errors.ErrUnsupported)...)
	}
	switch {
	case f.Pipable:
		return bad("it is pipable")
	case f.Version == solidVersion:
		return bad("its version %#x is that of WIMs with solid resources (ESD)", f.Version)
	case f.Parts > 1:
		return bad("it is split into %d parts", f.Parts)
	}
	switch f.Codec {
	case CodecNone:
		return bad("it is uncompressed, which stops Windows with a blue screen")
	case CodecXPRESS:
		switch f.ChunkSize {
		case 4 << 10, 8 << 10, 16 << 10, 32 << 10:
			return nil
		}
		return bad("XPRESS with chunks of %d bytes, want 4096, 8192, 16384 or 32768", f.ChunkSize)
	case CodecLZX:
		if f.ChunkSize == 32<<10 {
			return nil
		}
		return bad("LZX with chunks of %d bytes, want 32768", f.ChunkSize)
	}
	return bad("%v, want XPRESS or LZX", f.Codec)
}

// Resource is where a WIM has one content.
type Resource struct {
	DataSourceID uint64       // of the WIM in WimOverlay.dat
	BlobTable    winfile.SHA1 // of the WIM's blob table as stored
	Offset       int64        // in the WIM
	StoredSize   int64        // in the WIM
	Size         int64        // of the content
	Compressed   bool
	Solid        bool
	Unusable     bool // its WIM does not pass CheckWIM
}

// Source finds contents in the WIMs that may back a volume's files. It is safe for concurrent use.
type Source interface {
	Lookup(winfile.SHA1) (Resource, bool)
}

// MaxBacked is the size in bytes above which a file is never a pointer file: reads that end at 4 GiB or later fail. It is wimlib's
// limit.
const MaxBacked = 4_200_000_000

// verdict tells whether the resource can back a file.
func (r *Resource) verdict() Reason {
	switch {
	case r.Unusable:
		return Unusable
	case r.Solid:
		return Solid
	case r.Compressed == (r.StoredSize == r.Size):
		return SizesMislead
	}
	return Backed
}

func (r *Resource) pointer(h winfile.SHA1) *Pointer {
	return &Pointer{
		DataSourceID: r.DataSourceID,
		SHA1:         h,
		BlobTable:    r.BlobTable,
		Size:         r.Size,
		StoredSize:   r.StoredSize,
		Offset:       r.Offset,
	}
}
