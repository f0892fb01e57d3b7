package xpress

import (
	"testing"

	"husk/compress/internal/codectest"
)

func TestWimlib(t *testing.T) {
	var wims []codectest.Wimlib
	for _, tt := range []struct {
		wimlibLevel string
		chunkSize   int
	}{
		{"XPRESS:50", 4096}, {"XPRESS:50", 8192}, {"XPRESS:50", 16384},
		{"XPRESS:50", 32768}, {"XPRESS:50", 65536}, {"XPRESS:20", 4096}, {"XPRESS:80", 65536},
	} {
		wims = append(wims, codectest.Wimlib{
			Compress:     tt.wimlibLevel,
			ChunkSize:    tt.chunkSize,
			Compressor:   NewCompressor(Default),
			Decompressor: new(Decompressor),
			AsSmall:      tt.wimlibLevel == "XPRESS:50",
		})
	}
	codectest.TestWimlib(t, samples(t), wims)
}
