// Package ondisk reads structures whose sizes are claims of the file they stand in.
package ondisk

import (
	"fmt"
	"io"
)

// step is how much memory is trusted to a size before bytes have arrived for it.
const step = 1 << 20

// ReadAt reads n bytes at off. It refuses n over limit, and memory grows only as bytes arrive, so a huge claim about a small
// file costs little. A short file is io.ErrUnexpectedEOF.
func ReadAt(r io.ReaderAt, off, n, limit int64) ([]byte, error) {
	if n < 0 || off < 0 {
		return nil, fmt.Errorf("%d bytes at %d, want no negative numbers", n, off)
	}
	if n > limit {
		return nil, fmt.Errorf("%d bytes, want at most %d", n, limit)
	}
	var b []byte
	for int64(len(b)) < n {
		have := len(b)
		want := int(min(n-int64(have), max(step, int64(have))))
		b = append(b, make([]byte, want)...)
		m, err := r.ReadAt(b[have:], off+int64(have))
		if m < want {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("%d of %d bytes at %#x: %w", have+m, n, off, err)
		}
	}
	return b, nil
}

// Range reports whether n bytes at off lie inside size, without wrapping.
func Range(off, n, size int64) bool {
	return off >= 0 && n >= 0 && n <= size && off <= size-n
}
