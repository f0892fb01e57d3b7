package install

import (
	"path/filepath"
	"unicode/utf16"

	"golang.org/x/sys/windows"
)

// ntfsHost tells about a file, if it is on an NTFS volume.
func ntfsHost(name string) (h hostFacts, ok bool) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return h, false
	}
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(abs) + `\`)
	if err != nil {
		return h, false
	}
	var system [32]uint16
	if err := windows.GetVolumeInformation(root, nil, 0, nil, nil, nil, &system[0], uint32(len(system))); err != nil || windows.UTF16ToString(system[:]) != "NTFS" {
		return h, false
	}
	path, err := windows.UTF16PtrFromString(abs)
	if err != nil {
		return h, false
	}
	if h.attributes, err = windows.GetFileAttributes(path); err != nil {
		return h, false
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(root, &free, nil, nil); err == nil {
		h.free = int64(min(free, 1<<62))
	}
	h.path = len(utf16.Encode([]rune(abs))) - len(filepath.VolumeName(abs))
	return h, true
}
