package host

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
)

// Firmware is what started the machine.
type Firmware string

const (
	Unknown Firmware = ""
	BIOS    Firmware = "bios"
	UEFI    Firmware = "uefi"
)

// Machine is what the host has. Lists are sorted by path.
type Machine struct {
	Firmware Firmware `json:"firmware,omitempty"`
	Disks    []Disk   `json:"disks"`
	Mounts   []Mount  `json:"mounts"`
}

// Disk is a physical disk.
type Disk struct {
	Path       string      `json:"path"` // "/dev/sda", `\\.\PhysicalDrive0`
	Model      string      `json:"model,omitempty"`
	Size       int64       `json:"size"`           // bytes; 0 of a drive without a medium
	Sector     int         `json:"sector"`         // logical, bytes
	Physical   int         `json:"physicalSector"` // bytes
	Rotational bool        `json:"rotational"`     // a hard disk; false if it is not or does not tell
	Removable  bool        `json:"removable"`
	ReadOnly   bool        `json:"readOnly,omitempty"`
	System     bool        `json:"system"` // the running system is on it
	Partitions []Partition `json:"partitions,omitempty"`
}

// Partition is a partition as the system has it, whatever the table on the disk says.
type Partition struct {
	Path   string `json:"path"` // "/dev/sda1"; empty on Windows
	Number int    `json:"number"`
	Offset int64  `json:"offset"` // bytes
	Size   int64  `json:"size"`   // bytes
}

// Mount is a file system of the machine's own disks that files can be put on.
type Mount struct {
	Path     string `json:"path"`           // where it is mounted: "/", `C:\`
	Device   string `json:"device"`         // "/dev/sda1"
	Disk     string `json:"disk,omitempty"` // the disk that it is on, as in Disks; empty if not known or several
	Number   int    `json:"partition,omitempty"`
	Type     string `json:"type"` // "ext4", "ntfs3", "NTFS"
	Size     int64  `json:"size"`
	Free     int64  `json:"free"` // to this user, bytes
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// NTFS reports whether Windows finds files on the volume by their path: where a WIM or VHD may lie that it starts from.
func (m *Mount) NTFS() bool {
	switch strings.ToLower(m.Type) {
	case "ntfs", "ntfs3", "fuseblk": // fuseblk is ntfs-3g, or exfat
		return true
	}
	return false
}

// Disk finds a disk by its path.
func (m *Machine) Disk(path string) *Disk {
	for i := range m.Disks {
		if m.Disks[i].Path == path {
			return &m.Disks[i]
		}
	}
	return nil
}

// MountOf finds the mount that a file lies on, or would. Nil if none of the list has it.
func (m *Machine) MountOf(file string) *Mount {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil
	}
	for dir := abs; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) { // the file need not exist, nor all folders above it
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			abs = filepath.Join(real, abs[len(dir):])
			break
		}
	}
	var best *Mount
	for i := range m.Mounts {
		rel, err := filepath.Rel(m.Mounts[i].Path, abs)
		if err == nil && filepath.IsLocal(rel) && (best == nil || len(m.Mounts[i].Path) > len(best.Path)) {
			best = &m.Mounts[i]
		}
	}
	return best
}

// Roomiest lists the mounts with that many bytes free that can be written, the best for a large file first: fixed before removable, solid
// state before hard disks, then those with more room.
func (m *Machine) Roomiest(need int64) []Mount {
	var list []Mount
	for _, mount := range m.Mounts {
		if !mount.ReadOnly && mount.Free >= need {
			list = append(list, mount)
		}
	}
	slices.SortStableFunc(list, func(a, b Mount) int {
		if c := cmp.Compare(m.slowness(&a), m.slowness(&b)); c != 0 {
			return c
		}
		return cmp.Compare(b.Free, a.Free)
	})
	return list
}

func (m *Machine) slowness(mount *Mount) int {
	d := m.Disk(mount.Disk)
	switch {
	case d == nil, d.Removable:
		return 2
	case d.Rotational:
		return 1
	}
	return 0
}
