package tree

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"husk/winfile"
)

func (d *hostDir) stat(name string) (*hostStat, error) {
	var x unix.Statx_t
	const mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	if err := unix.Statx(d.fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, mask, &x); err != nil {
		return nil, os.NewSyscallError("statx", err)
	}
	st := &hostStat{
		kind:    kindOf(uint32(x.Mode)),
		key:     fileKey{uint64(x.Dev_major)<<32 | uint64(x.Dev_minor), x.Ino},
		links:   uint64(x.Nlink),
		size:    int64(x.Size),
		written: statxTime(x.Mtime),
		access:  statxTime(x.Atime),
		changed: statxTime(x.Ctime),
		unix:    winfile.Unix{UID: x.Uid, GID: x.Gid, Mode: uint32(x.Mode), Rdev: uint32(unix.Mkdev(x.Rdev_major, x.Rdev_minor))},
		holes:   x.Mask&unix.STATX_BLOCKS != 0 && x.Blocks*512 < x.Size,
	}
	st.created = st.written
	if x.Mask&unix.STATX_BTIME != 0 {
		st.created = statxTime(x.Btime)
	}
	return st, nil
}

func statxTime(t unix.StatxTimestamp) winfile.Filetime {
	return winfile.FiletimeOf(time.Unix(t.Sec, int64(t.Nsec)))
}

// hostNameProblem says why the host cannot hold a name, or "".
func hostNameProblem(name string) string {
	if len(name) > unix.NAME_MAX {
		return "the name is longer than the 255 bytes that Linux allows"
	}
	return ""
}
