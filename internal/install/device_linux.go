package install

import (
	"os"

	"golang.org/x/sys/unix"
)

// exclusive makes opening a block device fail while the kernel uses it.
const exclusive = unix.O_EXCL

// sectorOf is the logical sector size of a block device.
func sectorOf(f *os.File) int {
	if n, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err == nil {
		return n
	}
	return sector512
}

// forget drops what is cached of a device, so that it is read from the disk.
func forget(f *os.File) error { return unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0) }

// rereadTable has the kernel read the partition table, unless it takes the device as one without.
func rereadTable(f *os.File) error {
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0); err != unix.EINVAL {
		return err
	}
	return nil
}
