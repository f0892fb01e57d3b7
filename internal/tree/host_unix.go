//go:build unix

package tree

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hostDir is an open directory of the host. The name "." means itself.
type hostDir struct {
	f    *os.File
	fd   int
	base string // what names are appended to for calls that take no descriptor
}

// descriptors is the folder where open files can be named, or "".
var descriptors = sync.OnceValue(func() string {
	const dir = "/proc/self/fd/"
	if _, err := os.Stat(dir + "0/."); err == nil || errors.Is(err, syscall.ENOTDIR) {
		return dir
	}
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	return ""
})

func openHostDir(root *os.Root, dir, path string) (*hostDir, error) {
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	d := &hostDir{f: f, fd: int(f.Fd())}
	if fds := descriptors(); fds != "" {
		d.base = fds + strconv.Itoa(d.fd) + "/"
	} else {
		d.base = dir + "/" + path + "/"
	}
	return d, nil
}

func (d *hostDir) close() { d.f.Close() }

func (d *hostDir) names() ([]string, error) { return d.f.Readdirnames(-1) }

// xattrs lists the extended attributes of a name, in buf. A file system that has none is no error.
func (d *hostDir) xattrs(name string, buf []byte) ([]string, error) {
	n, err := unix.Llistxattr(d.base+name, buf)
	if n == 0 || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("listxattr", err)
	}
	return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
}

// xattr reads an attribute into buf; the result is a part of it.
func (d *hostDir) xattr(name, attr string, buf []byte) ([]byte, error) {
	n, err := unix.Lgetxattr(d.base+name, attr, buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

func (d *hostDir) setXattr(name, attr string, v []byte) error {
	return unix.Lsetxattr(d.base+name, attr, v, 0)
}

func (d *hostDir) readLink(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", os.NewSyscallError("readlink", err)
	}
	return string(buf[:n]), nil
}

// leadsToDir tells whether a symbolic link, followed wherever it leads, is a directory.
func (d *hostDir) leadsToDir(name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(d.fd, name, &st, 0) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

func kindOf(mode uint32) fileKind {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return kindFile
	case unix.S_IFDIR:
		return kindDir
	case unix.S_IFLNK:
		return kindLink
	}
	return kindSpecial
}

// inode is the file number that hostStat has as key.ino.
func inode(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino)
	}
	return 0
}

// openForRead opens a file without waiting for the other end of a FIFO.
func openForRead(root *os.Root, path string) (*os.File, error) {
	return root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
