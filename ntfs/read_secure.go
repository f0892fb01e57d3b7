package ntfs

import (
	"fmt"
	"io"
)

// sdsMaxBytes bounds $SDS, half of which is copies. 100,000 descriptors take about 20 MiB.
const sdsMaxBytes = 1 << 30

// sdsEntry is one entry of $SDS with its header, cut to its length.
type sdsEntry []byte

func (e sdsEntry) hash() uint32       { return le.Uint32(e) }
func (e sdsEntry) id() uint32         { return le.Uint32(e[4:]) }
func (e sdsEntry) offset() int64      { return int64(le.Uint64(e[8:])) }
func (e sdsEntry) descriptor() []byte { return e[sdsHeaderSize:] }

// walkSDS calls fn with each entry of the primary blocks of $SDS, its offset, and the block. Memory is not used again, so that fn
// may keep the entry.
func (s *stream) walkSDS(fn func(off int64, e sdsEntry)) error {
	if s.size > sdsMaxBytes {
		return fmt.Errorf("ntfs: $SDS is %d bytes long, want at most %d", s.size, sdsMaxBytes)
	}
	for start := int64(0); start < s.size; start += 2 * sdsBlock {
		b := make([]byte, min(sdsBlock, s.size-start))
		if _, err := s.ReadAt(b, start); err != nil && err != io.EOF {
			return err
		}
		if err := splitSDS(b, start, fn); err != nil {
			return err
		}
	}
	return nil
}

// splitSDS cuts one primary block. An entry without a length ends it.
func splitSDS(b []byte, start int64, fn func(int64, sdsEntry)) error {
	for off := 0; off <= len(b)-sdsHeaderSize; {
		length := le.Uint32(b[off+0x10:])
		if length == 0 {
			return nil
		}
		if length < sdsHeaderSize || length > uint32(len(b)-off) {
			return &FormatError{"$SDS", start + int64(off) + 0x10, fmt.Errorf("entry of %d bytes, want %d to %d", length, sdsHeaderSize, len(b)-off)}
		}
		fn(start+int64(off), sdsEntry(b[off:off+int(length):off+int(length)]))
		off += (int(length) + 15) &^ 15
	}
	return nil
}

// readSecurity maps security ids to descriptors.
func (v *Volume) readSecurity() (map[uint32][]byte, error) {
	if v.Version < "3" {
		return nil, nil // descriptors are in the records
	}
	s, err := v.openNamed(recSecure, typeData, "$SDS")
	if err != nil {
		return nil, err
	}
	byID := make(map[uint32][]byte)
	err = s.walkSDS(func(off int64, e sdsEntry) {
		if e.offset() == off && len(e) > sdsHeaderSize {
			byID[e.id()] = e.descriptor()
		}
	})
	return byID, err
}
