package host

import (
	"bufio"
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"husk/internal/mounted"
)

// Look reads what the machine has. What could not be read is an error beside the rest.
func Look() (*Machine, error) { return look("/", statfs) }

// space is the size of a mounted file system and what is free of it, in bytes.
type space func(path string) (size, free int64, err error)

func statfs(path string) (size, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	unit := int64(st.Bsize) //nolint:unconvert // int32 on 32-bit machines
	return int64(st.Blocks) * unit, int64(st.Bavail) * unit, nil
}

// look reads /proc and /sys below root.
func look(root string, space space) (*Machine, error) {
	m := &Machine{Firmware: BIOS}
	sys := filepath.Join(root, "sys")
	if _, err := os.Stat(filepath.Join(sys, "firmware/efi")); err == nil {
		m.Firmware = UEFI
	}
	devices, diskErr := m.readDisks(sys)
	mountErr := m.readMounts(filepath.Join(root, "proc/self/mountinfo"), devices, space)
	return m, errors.Join(diskErr, mountErr)
}

// at is where a block device lies.
type at struct {
	disk   string
	number int
}

// notDisks are the devices of /sys/block that are no disks of their own: made of files, of memory, of other devices, or discs.
var notDisks = []string{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"}

const sysSector = 512 // bytes: the unit of sizes in /sys, whatever the disk has

// readDisks lists the disks, and returns which device number is which partition.
func (m *Machine) readDisks(sys string) (map[string]at, error) {
	devices := make(map[string]at)
	list, err := os.ReadDir(filepath.Join(sys, "block"))
	if errors.Is(err, fs.ErrNotExist) {
		return devices, nil // a container may have none
	}
	if err != nil {
		return devices, err
	}
	for _, e := range list {
		name := e.Name()
		if slices.ContainsFunc(notDisks, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		dir := filepath.Join(sys, "block", name)
		sectors, ok := number(filepath.Join(dir, "size"))
		if !ok {
			continue // it has been taken out meanwhile
		}
		d := Disk{Path: "/dev/" + strings.ReplaceAll(name, "!", "/"), Size: sectors * sysSector, Sector: sysSector, Physical: sysSector}
		if n, ok := number(filepath.Join(dir, "queue/logical_block_size")); ok && n > 0 && n <= 1<<20 {
			d.Sector = int(n)
		}
		if n, ok := number(filepath.Join(dir, "queue/physical_block_size")); ok && n > 0 && n <= 1<<20 {
			d.Physical = int(n)
		}
		d.Rotational, d.Removable, d.ReadOnly = flag(dir, "queue/rotational"), flag(dir, "removable"), flag(dir, "ro")
		d.Model = strings.TrimSpace(text(filepath.Join(dir, "device/vendor")) + " " + text(filepath.Join(dir, "device/model")))
		devices[text(filepath.Join(dir, "dev"))] = at{d.Path, 0}
		m.readPartitions(&d, dir, devices)
		m.Disks = append(m.Disks, d)
	}
	slices.SortFunc(m.Disks, func(a, b Disk) int { return cmp.Compare(a.Path, b.Path) })
	return devices, nil
}

func (m *Machine) readPartitions(d *Disk, dir string, devices map[string]at) {
	list, err := filepath.Glob(filepath.Join(dir, "*", "partition"))
	if err != nil {
		return
	}
	for _, file := range list {
		part := filepath.Dir(file)
		n, ok := number(file)
		start, ok2 := number(filepath.Join(part, "start"))
		size, ok3 := number(filepath.Join(part, "size"))
		if !ok || !ok2 || !ok3 {
			continue
		}
		d.Partitions = append(d.Partitions, Partition{
			Path: "/dev/" + filepath.Base(part), Number: int(n), Offset: start * sysSector, Size: size * sysSector,
		})
		devices[text(filepath.Join(part, "dev"))] = at{d.Path, int(n)}
	}
	slices.SortFunc(d.Partitions, func(a, b Partition) int { return cmp.Compare(a.Number, b.Number) })
}

// stores are the file systems that keep what is put on them, on a disk of this machine. Others are made of memory, of other folders, or far.
var stores = map[string]bool{
	"ext2": true, "ext3": true, "ext4": true, "xfs": true, "btrfs": true, "f2fs": true, "jfs": true, "zfs": true, "bcachefs": true,
	"ntfs": true, "ntfs3": true, "fuseblk": true, "vfat": true, "exfat": true, "overlay": true,
}

func (m *Machine) readMounts(mountinfo string, devices map[string]at, space space) error {
	f, err := os.Open(mountinfo)
	if err != nil {
		return err
	}
	defer f.Close()
	seen := make(map[string]bool)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// id parent major:minor root mount-point options … - type source super-options
		w := strings.Fields(lines.Text())
		i := slices.Index(w, "-")
		if i < 6 || i+2 >= len(w) || !stores[w[i+1]] {
			continue
		}
		mount := Mount{Path: mounted.Unescape(w[4]), Device: mounted.Unescape(w[i+2]), Type: w[i+1], ReadOnly: slices.Contains(strings.Split(w[5], ","), "ro")}
		where := devices[w[2]]
		if where.disk == "" { // FUSE volumes have a device number of their own
			where = m.byPath(mount.Device)
		}
		mount.Disk, mount.Number = where.disk, where.number
		if mount.Path == "/" || mount.Path == "/boot" || mount.Path == "/usr" {
			if d := m.Disk(where.disk); d != nil {
				d.System = true
			}
		}
		if st, err := os.Stat(mount.Path); err == nil && !st.IsDir() || seen[mount.Path] {
			continue // files that containers have mounted over others
		}
		if mount.Size, mount.Free, err = space(mount.Path); err != nil {
			continue // not this user's to look at
		}
		seen[mount.Path] = true
		m.Mounts = append(m.Mounts, mount)
	}
	slices.SortFunc(m.Mounts, func(a, b Mount) int { return cmp.Compare(a.Path, b.Path) })
	return lines.Err()
}

// byPath finds a partition or a disk by the name of its device.
func (m *Machine) byPath(device string) at {
	for _, d := range m.Disks {
		if d.Path == device {
			return at{d.Path, 0}
		}
		for _, p := range d.Partitions {
			if p.Path == device {
				return at{d.Path, p.Number}
			}
		}
	}
	return at{}
}

func text(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func number(file string) (int64, bool) {
	n, err := strconv.ParseInt(text(file), 10, 54) // times 512 it still fits
	return n, err == nil && n >= 0
}

func flag(dir, name string) bool { return text(filepath.Join(dir, name)) == "1" }
