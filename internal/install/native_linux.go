package install

import (
	"encoding/binary"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"husk/internal/mounted"
)

// ntfsHost tells about a file, if it is on an NTFS volume: its drivers, both in the kernel and in user space, show the attributes.
func ntfsHost(name string) (h hostFacts, ok bool) {
	var b [4]byte
	if n, err := unix.Getxattr(name, "system.ntfs_attrib", b[:]); err != nil || n != len(b) {
		return h, false
	}
	h.attributes = binary.NativeEndian.Uint32(b[:])
	var st unix.Statfs_t
	if err := unix.Statfs(name, &st); err == nil {
		h.free = int64(st.Bavail) * int64(st.Bsize)
	}
	if at, err := mounted.At(name); err == nil {
		h.path = len(utf16.Encode([]rune(at.Path)))
	}
	return h, true
}
