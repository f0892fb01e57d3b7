package wim

import (
	"errors"
	"fmt"

	"husk/compress/lzms"
	"husk/compress/lzx"
	"husk/compress/xpress"
)

// A decompressor expands one chunk: dst is filled exactly.
type decompressor interface {
	Decompress(dst, src []byte) error
}

// newDecompressor is for chunks of a size that checkChunkSize has seen.
func newDecompressor(codec Codec, chunk int64) (decompressor, error) {
	switch codec {
	case XPRESS:
		return new(xpress.Decompressor), nil
	case LZX:
		return lzx.NewDecompressor(int(chunk)), nil
	case LZMS:
		return new(lzms.Decompressor), nil
	}
	return nil, fmt.Errorf("reading %s chunks: %w", codec, errors.ErrUnsupported)
}

// A compressor compresses one chunk. It returns 0 if the result is not smaller than src or does not fit dst: such a chunk
// is stored raw.
type compressor interface {
	Compress(dst, src []byte) int
}

// Level trades speed for size.
type Level int

const (
	Default Level = iota // wimlib's size
	Fast                 // quicker and larger
	Best                 // slower and smaller
)

// newCompressor returns nil for None. The chunk size is one that checkChunkSize allows.
func newCompressor(codec Codec, level Level, chunk int64) (compressor, error) {
	if level < Default || level > Best {
		return nil, fmt.Errorf("wim: level %d, want %d to %d", level, Default, Best)
	}
	switch codec {
	case None:
		return nil, nil
	case XPRESS:
		return xpress.NewCompressor([...]xpress.Level{xpress.Default, xpress.Fast, xpress.Best}[level]), nil
	case LZX:
		return lzx.NewCompressor(int(chunk), [...]lzx.Level{lzx.Default, lzx.Fast, lzx.Best}[level]), nil
	case LZMS:
		return lzms.NewCompressor(int(chunk), lzmsLevel(level)), nil
	}
	return nil, fmt.Errorf("wim: writing %s chunks: %w", codec, errors.ErrUnsupported)
}

func lzmsLevel(level Level) lzms.Level {
	return [...]lzms.Level{lzms.Default, lzms.Fast, lzms.Best}[level]
}
