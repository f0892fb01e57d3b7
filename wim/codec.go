package wim

import (
	"errors"
	"fmt"

	"husk/compress/xpress"
)

// A decompressor expands one chunk: dst is filled exactly.
type decompressor interface {
	Decompress(dst, src []byte) error
}

// newDecompressor is for the chunks of resources that are not solid.
func newDecompressor(codec Codec) (decompressor, error) {
	if codec == XPRESS {
		return new(xpress.Decompressor), nil
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

// newCompressor returns nil for None.
func newCompressor(codec Codec, level Level) (compressor, error) {
	switch codec {
	case None:
		return nil, nil
	case XPRESS:
		switch level {
		case Default:
			return xpress.NewCompressor(xpress.Default), nil
		case Fast:
			return xpress.NewCompressor(xpress.Fast), nil
		case Best:
			return xpress.NewCompressor(xpress.Best), nil
		}
		return nil, fmt.Errorf("wim: level %d, want %d to %d", level, Default, Best)
	}
	return nil, fmt.Errorf("wim: writing %s chunks: %w", codec, errors.ErrUnsupported)
}
