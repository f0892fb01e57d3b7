package ntfs

import (
	"io"
	"iter"
	"math/bits"
)

// FreeBytes counts the clusters that $Bitmap has as free, and returns them in bytes.
func (v *Volume) FreeBytes() (int64, error) {
	free := int64(0)
	for x, err := range v.FreeRuns() {
		if err != nil {
			return 0, err
		}
		free += x.Clusters
	}
	return free * int64(v.ClusterSize), nil
}

// FreeRuns yields the runs of clusters that $Bitmap has as free, in the order of the volume. VCN of the extents is 0. On a dirty
// volume, or one whose log is not clean, the bitmap may not tell the truth.
func (v *Volume) FreeRuns() iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		s, err := v.openNamed(recBitmap, typeData, "")
		if err == nil && s.size < (v.Clusters+7)/8 {
			err = formatError(recordName(recBitmap), 0, "%d bytes, want %d bits", s.size, v.Clusters)
		}
		if err != nil {
			yield(Extent{}, err)
			return
		}
		r := freeRuns{end: LCN(v.Clusters), start: -1, yield: yield}
		buf := make([]byte, 64<<10)
		for off := int64(0); off*8 < v.Clusters; off += int64(len(buf)) {
			b := buf[:min(int64(len(buf)), (v.Clusters+7)/8-off)]
			if n, err := s.ReadAt(b, off); n < len(b) {
				if err == nil || err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				yield(Extent{}, &FormatError{recordName(recBitmap), off, err})
				return
			}
			if !r.bytes(b, LCN(off*8)) {
				return
			}
		}
		r.used(r.end)
	}
}

// freeRuns joins clear bits into runs.
type freeRuns struct {
	start, end LCN // of the run, -1 outside one; of the volume
	yield      func(Extent, error) bool
}

// used ends a run before lcn. It is false if nobody wants more.
func (r *freeRuns) used(lcn LCN) bool {
	if r.start < 0 {
		return true
	}
	x := Extent{LCN: r.start, Clusters: int64(min(lcn, r.end) - r.start)}
	r.start = -1
	return r.yield(x, nil)
}

func (r *freeRuns) free(lcn LCN) {
	if r.start < 0 && lcn < r.end {
		r.start = lcn
	}
}

// bytes takes the bits of the clusters from lcn on.
func (r *freeRuns) bytes(p []byte, lcn LCN) bool {
	for _, b := range p {
		if b == 0 {
			r.free(lcn)
		}
		for n := 0; b != 0 && n < 8; {
			if b>>n&1 == 0 {
				r.free(lcn + LCN(n))
				n += min(bits.TrailingZeros8(b>>n), 8-n)
				continue
			}
			if !r.used(lcn + LCN(n)) {
				return false
			}
			n += bits.TrailingZeros8(^(b >> n))
		}
		lcn += 8
	}
	return true
}
