package lzx

import (
	"testing"

	"husk/compress/internal/codectest"
)

func TestWimlib(t *testing.T) {
	var wims []codectest.Wimlib
	for _, tt := range []struct {
		wimlibLevel string
		chunkSize   int
		level       Level
	}{
		{"LZX:50", 1 << 15, Default}, {"LZX:20", 1 << 15, Fast}, {"LZX:100", 1 << 15, Best},
		{"LZX:50", 1 << 16, Default}, {"LZX:20", 1 << 20, Fast}, {"LZX:50", 1 << 21, Default},
	} {
		if underRace && tt.level != Fast {
			continue
		}
		wims = append(wims, codectest.Wimlib{
			Compress:     tt.wimlibLevel,
			ChunkSize:    tt.chunkSize,
			Compressor:   NewCompressor(tt.chunkSize, tt.level),
			Decompressor: NewDecompressor(tt.chunkSize),
			AsSmall:      tt.level != Fast,
		})
	}
	codectest.TestWimlib(t, samples(t), wims)
}
