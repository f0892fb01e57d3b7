package mount

import (
	"errors"
	"fmt"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Supported tells whether views can be mounted here: macOS needs macFUSE.
const Supported = true

func readOnly(o *fuse.MountOptions) { o.Options = append(o.Options, "rdonly") }

func writable(*fuse.MountOptions) {}

// Unmount ends the mount at dir. With lazy set it goes away even if programs use it. Errors wrap ErrBusy if programs use it.
func Unmount(dir string, lazy bool) error {
	flags := 0
	if lazy {
		flags = unix.MNT_FORCE
	}
	err := unix.Unmount(dir, flags)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is %w", dir, ErrBusy)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// Dead reports whether the mount at dir has lost its server.
func Dead(dir string) bool {
	var st unix.Statfs_t // which is never answered from what the kernel remembers
	return errors.Is(unix.Statfs(dir, &st), unix.ENXIO)
}
