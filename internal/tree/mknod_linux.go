package tree

import "golang.org/x/sys/unix"

// mknodat makes a device, FIFO or socket.
func mknodat(dir int, name string, mode, dev uint32) error {
	return unix.Mknodat(dir, name, mode, int(dev))
}
