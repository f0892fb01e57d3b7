//go:build !386 && !arm && !mips && !mipsle

package mount

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Supported tells whether views can be mounted here.
const Supported = true

// readOnly makes the kernel refuse writing. root mounts by itself; others through fusermount, which takes options as words.
func readOnly(o *fuse.MountOptions) {
	if os.Geteuid() == 0 {
		o.DirectMount, o.DirectMountFlags = true, unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV
		return
	}
	o.Options = append(o.Options, "ro")
}

// writable is readOnly for a mount that can be changed.
func writable(o *fuse.MountOptions) {
	if os.Geteuid() == 0 {
		o.DirectMount, o.DirectMountFlags = true, unix.MS_NOSUID|unix.MS_NODEV
	}
}

// fusermount are the names of the program that mounts for users, the newer first.
var fusermount = []string{"fusermount3", "fusermount"}

// Unmount ends the mount of husk at dir, whoever serves it. With lazy set it goes away even if programs use it: what they have open
// stays until the server ends. Errors wrap ErrBusy if programs use it.
func Unmount(dir string, lazy bool) error {
	abs, err := realPath(dir)
	if err != nil {
		return err
	}
	mounted, err := isOurs(abs)
	if err != nil {
		return err
	}
	if !mounted {
		return fmt.Errorf("%s is not a mount of husk", dir)
	}
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	err = unix.Unmount(abs, flags)
	if errors.Is(err, unix.EPERM) {
		err = userUnmount(abs, lazy)
	}
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is %w", dir, ErrBusy)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// realPath resolves links above a mount point; the mount itself may be dead and answer nothing.
func realPath(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if whole, err := filepath.EvalSymlinks(abs); err == nil {
		return whole, nil
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}

func userUnmount(dir string, lazy bool) error {
	args := []string{"-u", "--", dir}
	if lazy {
		args = []string{"-u", "-z", "--", dir}
	}
	for _, name := range fusermount {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.Command(path, args...).CombinedOutput()
		if err != nil && strings.Contains(string(out), "busy") {
			return unix.EBUSY
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	return unix.EPERM
}

// isOurs looks the mount point up in the list of mounts: field 5 is the place with \ooo for blanks, the type follows the dash.
func isOurs(dir string) (bool, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	defer f.Close()
	ours := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 || unescape(fields[4]) != dir {
			continue
		}
		ours = false // the last one is on top
		for i, w := range fields {
			if w == "-" && i+1 < len(fields) {
				ours = fields[i+1] == "fuse.husk"
			}
		}
	}
	return ours, nil
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			var c byte
			for _, d := range s[i+1 : i+4] {
				c = c<<3 | byte(d-'0')
			}
			b.WriteByte(c)
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Dead reports whether the mount at dir has lost its server.
func Dead(dir string) bool {
	var st unix.Statfs_t // which is never answered from what the kernel remembers
	return errors.Is(unix.Statfs(dir, &st), unix.ENOTCONN)
}
