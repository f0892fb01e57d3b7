package vhd

import "testing"

func TestGeometry(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		size int64
		want CHS
	}{
		{4 * mib, CHS{120, 4, 17}},
		{64 * mib, CHS{963, 8, 17}},
		{127 * mib, CHS{1019, 15, 17}},
		{512 * mib, CHS{1040, 16, 63}},
		{3 << 30, CHS{6241, 16, 63}}, // a file that Windows 7 made
		{30 << 30, CHS{62415, 16, 63}},
		{32255 * mib, CHS{65533, 16, 63}},
		{32256 * mib, CHS{16191, 16, 255}},
		{127 << 30, CHS{65278, 16, 255}},
		{128 << 30, maxCHS},
		{MaxSize, maxCHS},
		{0, CHS{0, 4, 17}},
		{-1, CHS{0, 4, 17}},
	} {
		if got := Geometry(tt.size); got != tt.want {
			t.Errorf("%d bytes: %v, want %v", tt.size, got, tt.want)
		}
	}
}

func TestRound(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		size, mib, chs int64
	}{
		{1, mib, 4 * 17 * 512},
		{64 * mib, 64 * mib, 67125248},              // what qemu-img makes of 64M
		{3 << 30, 3 << 30, 3221471232},              // of 3G
		{10 << 30, 10 << 30, 10737893376},           // of 10G
		{128<<30 + 1, 128<<30 + mib, 128<<30 + 512}, // the geometry says nothing there
		{MaxSize, MaxSize, MaxSize},
		{0, 0, 0},
		{MaxSize + 1, 0, 0},
	} {
		if got, err := RoundSize(tt.size); got != tt.mib || (err == nil) != (tt.mib > 0) {
			t.Errorf("RoundSize(%d) = %d, %v, want %d", tt.size, got, err, tt.mib)
		}
		if got, err := RoundCHS(tt.size); got != tt.chs || (err == nil) != (tt.chs > 0) {
			t.Errorf("RoundCHS(%d) = %d, %v, want %d", tt.size, got, err, tt.chs)
		}
	}
	// Never far, never smaller than the product.
	for size := int64(512); size < 140<<30; size = size*21/20/512*512 + 512 {
		got, err := RoundCHS(size)
		if err != nil || got < size || got-size > 2*16*255*512 || !unambiguous(got, Geometry(got)) || Geometry(size).Size() > size {
			t.Errorf("RoundCHS(%d) = %d, %v", size, got, err)
		}
	}
}
