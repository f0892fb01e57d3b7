package disk

import "golang.org/x/sys/unix"

// exclusive makes opening a block device fail while the kernel uses it.
const exclusive = unix.O_EXCL
