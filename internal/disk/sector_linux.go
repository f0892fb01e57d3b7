package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// sectorSize is the logical sector size of a block device; of a file it is 512.
func sectorSize(f *os.File) int {
	if n, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err == nil && n == 4096 {
		return n
	}
	return 512
}

// nextData returns the first range of a file at or after off that is no hole.
func nextData(f *os.File, off, size int64) (start, end int64) {
	start, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if err == unix.ENXIO {
		return size, size
	}
	if err != nil || start >= size {
		return off, size
	}
	if end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE); err != nil {
		end = size
	}
	return start, min(end, size)
}
