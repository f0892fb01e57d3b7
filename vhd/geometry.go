package vhd

import "fmt"

// CHS is a disk geometry. It is the footer's field.
type CHS struct {
	Cylinders uint16
	Heads     uint8
	Sectors   uint8 // per track
}

// maxCHS is the geometry of every disk from 127.5 GiB up. It says no more than "large".
var maxCHS = CHS{65535, 16, 255}

// Size is the product of the geometry in bytes.
func (g CHS) Size() int64 {
	return int64(g.Cylinders) * int64(g.Heads) * int64(g.Sectors) * sectorSize
}

func (g CHS) String() string { return fmt.Sprintf("%d/%d/%d", g.Cylinders, g.Heads, g.Sectors) }

// Geometry is the geometry that the specification computes for a disk of size bytes. Its product is mostly a little
// smaller than size, and never greater. Source: VHD specification 1.0, appendix "CHS Calculation".
func Geometry(size int64) CHS {
	total := min(max(size, 0)/sectorSize, maxCHS.Size()/sectorSize)
	var perTrack, heads, tracks int64
	if total >= 65535*16*63 {
		perTrack, heads, tracks = 255, 16, total/255
	} else {
		perTrack, tracks = 17, total/17
		heads = max(4, (tracks+1023)/1024)
		if tracks >= heads*1024 || heads > 16 {
			perTrack, heads, tracks = 31, 16, total/31
		}
		if tracks >= heads*1024 {
			perTrack, heads, tracks = 63, 16, total/63
		}
	}
	return CHS{uint16(tracks / heads), uint8(heads), uint8(perTrack)}
}

// RoundSize rounds a wanted size up to the next multiple of 1 MiB. Windows, Hyper-V, Azure and QEMU all read a disk
// of that size alike if its creator is the default one. It reports an error for sizes over MaxSize and below 1.
func RoundSize(size int64) (int64, error) {
	if err := checkSize(size); err != nil {
		return 0, err
	}
	return roundUp(size, 1<<20), nil
}

// RoundCHS rounds a wanted size up to the next one that equals the product of its geometry. Such a disk has the same
// size in every program, also in those that look at the geometry alone and whatever its creator is. From 127.5 GiB
// up the geometry is at its end, which all programs know: there the size stays, in whole sectors.
func RoundCHS(size int64) (int64, error) {
	if err := checkSize(size); err != nil {
		return 0, err
	}
	for size = roundUp(size, sectorSize); !unambiguous(size, Geometry(size)); size += sectorSize {
		// A few thousand steps at most: no geometry has more than 16*255 sectors in a cylinder.
	}
	return size, nil
}

// unambiguous reports whether a reader that uses the geometry finds the same size as one that does not.
func unambiguous(size int64, g CHS) bool { return g == maxCHS || g.Size() == size }

func checkSize(size int64) error {
	if size <= 0 || size > MaxSize {
		return fmt.Errorf("vhd: disk size %d, want 1 to %d", size, int64(MaxSize))
	}
	return nil
}

// sizeCreators are the creators whose current size QEMU believes. Source: QEMU 7.2 block/vpc.c.
var sizeCreators = map[string]bool{"win ": true, "qem2": true, "d2v ": true, "CTXS": true, "tap\x00": true}
