package ntfs

import (
	"io"
	"math/bits"
)

// FreeBytes counts the clusters that $Bitmap has as free, and returns them in bytes.
func (v *Volume) FreeBytes() (int64, error) {
	s, err := v.openNamed(recBitmap, typeData, "")
	if err != nil {
		return 0, err
	}
	if s.size < (v.Clusters+7)/8 {
		return 0, formatError(recordName(recBitmap), 0, "%d bytes, want %d bits", s.size, v.Clusters)
	}
	free := int64(0)
	buf := make([]byte, 64<<10)
	for off := int64(0); off*8 < v.Clusters; off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), (v.Clusters+7)/8-off)]
		if n, err := s.ReadAt(b, off); n < len(b) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, &FormatError{recordName(recBitmap), off, err}
		}
		if last := v.Clusters - off*8; last < int64(len(b))*8 && last%8 != 0 {
			b[len(b)-1] |= 0xff << (last % 8) // what is behind the last cluster
		}
		for _, c := range b {
			free += int64(8 - bits.OnesCount8(c))
		}
	}
	return free * int64(v.ClusterSize), nil
}
