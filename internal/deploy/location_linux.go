package deploy

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountedAt finds the partition that a file lies on, and its path on that partition, from /proc and /sys.
func mountedAt(file string) (mounted, error) { return mountedIn(file, "/proc/self/mountinfo", "/sys") }

func mountedIn(file, mountinfo, sys string) (mounted, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return mounted{}, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return mounted{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat(abs, &st); err != nil {
		return mounted{}, err
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	info, err := os.Open(mountinfo)
	if err != nil {
		return mounted{}, err
	}
	defer info.Close()
	lines := bufio.NewScanner(info)
	var at mounted
	best := -1
	for lines.Scan() {
		// id parent major:minor root mount-point options … - type source super-options
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[2] != dev {
			continue
		}
		root, point := unescapeMount(f[3]), unescapeMount(f[4])
		rel, err := filepath.Rel(point, abs)
		if err != nil || !filepath.IsLocal(rel) || len(point) <= best {
			continue
		}
		best = len(point)
		at.path = filepath.Join("/", root, rel)
	}
	if err := lines.Err(); err != nil {
		return mounted{}, err
	}
	if best < 0 {
		return mounted{}, fmt.Errorf("no mount of device %s has it", dev)
	}
	at.disk, err = partitionOf(dev, sys)
	return at, err
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

// unescapeMount undoes the octal escapes of mountinfo: \040 is a space.
func unescapeMount(s string) string {
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
