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
