package lzx

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestHeaderPastTheLimit compresses chunks whose items alone would fit and whose code lengths go past the chunk's size: noise of slightly fewer
// than 256 values.
func TestHeaderPastTheLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, window := range []int{minWindow, 1 << 16, 1 << 17} {
		for _, level := range []Level{Fast, Default, Best} {
			c := NewCompressor(window, level)
			raw, compressed := 0, 0
			for values := 232; values <= 256; values++ {
				src := make([]byte, min(window, minWindow))
				for i := range src {
					src[i] = byte(r.IntN(values))
				}
				dst := make([]byte, len(src))
				n := c.Compress(dst, src)
				if n == 0 {
					raw++
					continue
				}
				compressed++
				got := make([]byte, len(src))
				if err := Decompress(got, dst[:n], window); err != nil || !bytes.Equal(got, src) {
					t.Fatalf("%d values: %v", values, err)
				}
			}
			if raw == 0 || compressed == 0 {
				t.Errorf("window %d, level %d: %d chunks raw, %d compressed: want both", window, level, raw, compressed)
			}
		}
	}
}
