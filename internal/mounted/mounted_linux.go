package mounted

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// At finds the partition that a file lies on, and its path on that partition, from /proc and /sys.
func At(file string) (Place, error) { return in(file, "/proc/self/mountinfo", "/sys") }

func in(file, mountinfo, sys string) (Place, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return Place{}, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return Place{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat(abs, &st); err != nil {
		return Place{}, err
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	list, err := mounts(mountinfo)
	if err != nil {
		return Place{}, err
	}
	var at Place
	best := -1
	for _, m := range list {
		rel, err := filepath.Rel(m.point, abs)
		if m.dev != dev || err != nil || !filepath.IsLocal(rel) || len(m.point) <= best {
			continue
		}
		best = len(m.point)
		at.Path = filepath.Join("/", m.root, rel)
	}
	if best < 0 {
		return Place{}, fmt.Errorf("no mount of device %s has it", dev)
	}
	at.Disk, err = partitionOf(dev, sys)
	return at, err
}

// mount is one line of mountinfo.
type mount struct {
	dev         string // major:minor
	root, point string // what of the volume is where
	source      string // "/dev/sda1"
}

func mounts(mountinfo string) ([]mount, error) {
	info, err := os.Open(mountinfo)
	if err != nil {
		return nil, err
	}
	defer info.Close()
	var list []mount
	lines := bufio.NewScanner(info)
	for lines.Scan() {
		// id parent major:minor root mount-point options … - type source super-options
		f := strings.Fields(lines.Text())
		if len(f) < 6 {
			continue
		}
		m := mount{dev: f[2], root: Unescape(f[3]), point: Unescape(f[4])}
		if i := slices.Index(f, "-"); i >= 0 && i+2 < len(f) {
			m.source = Unescape(f[i+2])
		}
		list = append(list, m)
	}
	return list, lines.Err()
}

// Users tells what of this system uses a block device or one of its partitions: "mounted on /boot", "swap". It is empty if
// nothing does.
func Users(device string) ([]string, error) { return users(device, "/proc", "/sys") }

func users(device, proc, sys string) ([]string, error) {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return nil, err
	}
	return usersOf(fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))), proc, sys)
}

func usersOf(dev, proc, sys string) ([]string, error) {
	node, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", dev))
	if err != nil {
		return nil, err
	}
	nodes := []string{node}
	parts, err := filepath.Glob(filepath.Join(node, "*", "partition"))
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		nodes = append(nodes, filepath.Dir(p))
	}
	list, err := mounts(filepath.Join(proc, "self/mountinfo"))
	if err != nil {
		return nil, err
	}
	swaps, err := os.ReadFile(filepath.Join(proc, "swaps"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var found []string
	for _, n := range nodes {
		name := filepath.Base(n)
		b, err := os.ReadFile(filepath.Join(n, "dev"))
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			// FUSE volumes such as those of ntfs-3g and husk have a device number of their own.
			if number := strings.TrimSpace(string(b)); m.dev == number || m.source == "/dev/"+name || isDevice(m.source, number) {
				found = append(found, fmt.Sprintf("%s is mounted on %s", name, m.point))
			}
		}
		for line := range strings.Lines(string(swaps)) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == "/dev/"+name {
				found = append(found, name+" is swap space")
			}
		}
		behind, err := loops("/dev/"+name, sys)
		if err != nil {
			return nil, err
		}
		for _, l := range behind {
			found = append(found, fmt.Sprintf("%s is the disk of %s", name, l))
		}
		holders, err := os.ReadDir(filepath.Join(n, "holders"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, h := range holders {
			found = append(found, fmt.Sprintf("%s is part of %s", name, h.Name()))
		}
	}
	return found, nil
}

// isDevice reports whether what a volume was mounted from is the block device with this number, under any name of it: that in
// /dev/disk/by-id, say, or DISK:PARTITION, as husk calls what it mounts.
func isDevice(source, number string) bool {
	names := []string{source}
	if i := strings.LastIndexByte(source, ':'); i > 0 {
		names = append(names, source[:i])
	}
	for _, n := range names {
		var st unix.Stat_t
		if !filepath.IsAbs(n) || unix.Stat(n, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
			continue
		}
		if number == fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))) {
			return true
		}
	}
	return false
}

// Loops names the loop devices that have a file as their disk, whether mounted or not.
func Loops(file string) ([]string, error) { return loops(file, "/sys") }

func loops(file, sys string) ([]string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	list, err := filepath.Glob(filepath.Join(sys, "block/loop*/loop/backing_file"))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, l := range list {
		b, err := os.ReadFile(l)
		if err == nil && strings.TrimSuffix(string(b), "\n") == abs {
			found = append(found, "/dev/"+filepath.Base(filepath.Dir(filepath.Dir(l))))
		}
	}
	return found, nil
}

// Look tells what a block device is.
func Look(device string) (Device, error) { return look(device, "/sys") }

func look(device, sys string) (Device, error) {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return Device{}, &os.PathError{Op: "stat", Path: device, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return Device{}, fmt.Errorf("%s is no block device", device)
	}
	return lookAt(fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))), sys)
}

func lookAt(dev, sys string) (Device, error) {
	node, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", dev))
	if err != nil {
		return Device{}, err
	}
	text := func(name string) string {
		b, err := os.ReadFile(filepath.Join(node, name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	d := Device{Name: filepath.Base(node), ReadOnly: text("ro") == "1", Backing: text("loop/backing_file")}
	d.Disk = d.Name
	if n := text("partition"); n != "" {
		if d.Partition, err = strconv.Atoi(n); err != nil {
			return Device{}, err
		}
		d.Disk = filepath.Base(filepath.Dir(node))
		node = filepath.Dir(node)
		d.ReadOnly = d.ReadOnly || text("ro") == "1"
	}
	d.Model = strings.Join(strings.Fields(text("device/vendor")+" "+text("device/model")), " ")
	d.Optical = strings.HasPrefix(d.Disk, "sr")
	return d, nil
}

// partitionOf names a device as DISK:NUMBER.
func partitionOf(dev, sys string) (string, error) {
	node, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", dev))
	if err != nil {
		return "", fmt.Errorf("it lies on no partition of a disk (device %s)", dev)
	}
	b, err := os.ReadFile(filepath.Join(node, "partition"))
	if err != nil {
		return "", fmt.Errorf("%s is no partition of a disk", filepath.Base(node))
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/dev/%s:%d", filepath.Base(filepath.Dir(node)), n), nil
}

// Unescape undoes the octal escapes of mountinfo: \040 is a space.
func Unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
