package tree

import (
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"husk/winfile"
)

func (d *hostDir) stat(name string) (*hostStat, error) {
	var x unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &x, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, os.NewSyscallError("fstatat", err)
	}
	return &hostStat{
		kind:    kindOf(uint32(x.Mode)),
		key:     fileKey{uint64(uint32(x.Dev)), x.Ino},
		links:   uint64(x.Nlink),
		size:    x.Size,
		created: timespec(x.Btim),
		written: timespec(x.Mtim),
		access:  timespec(x.Atim),
		changed: timespec(x.Ctim),
		unix:    winfile.Unix{UID: x.Uid, GID: x.Gid, Mode: uint32(x.Mode), Rdev: uint32(x.Rdev)},
		holes:   x.Blocks*512 < x.Size,
	}, nil
}

func timespec(t unix.Timespec) winfile.Filetime {
	return winfile.FiletimeOf(time.Unix(t.Unix()))
}

// hostNameProblem says why the host cannot hold a name, or "".
func hostNameProblem(name string) string {
	if !utf8.ValidString(name) {
		return "the name is not UTF-8, which macOS wants"
	}
	if len(winfile.UTF16FromName(name)) > maxNameUnits {
		return "the name is longer than the 255 UTF-16 units that macOS allows"
	}
	return ""
}
