//go:build (linux && !386 && !arm && !mips && !mipsle) || darwin

package mount

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// shown is what the nodes of one mount share.
type shown struct {
	view     *View
	blobs    *blobs
	uid, gid uint32
	warn     func(path string, err error)
}

// node is one inode. Further names of a file lead to the node of the first.
type node struct {
	gofs.Inode
	*shown
	n Node
}

var (
	_ gofs.NodeLookuper    = (*node)(nil)
	_ gofs.NodeReaddirer   = (*node)(nil)
	_ gofs.NodeGetattrer   = (*node)(nil)
	_ gofs.NodeReadlinker  = (*node)(nil)
	_ gofs.NodeOpener      = (*node)(nil)
	_ gofs.NodeFlusher     = (*node)(nil)
	_ gofs.NodeReader      = (*node)(nil)
	_ gofs.NodeGetxattrer  = (*node)(nil)
	_ gofs.NodeListxattrer = (*node)(nil)
	_ gofs.NodeStatfser    = (*node)(nil)
)

// typeBits are the S_IF… bits of a kind.
func typeBits(k Kind) uint32 {
	switch k {
	case Dir:
		return syscall.S_IFDIR
	case Link:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

// Lookup implements [gofs.NodeLookuper].
func (d *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	n, ok := d.view.Lookup(d.n, name)
	if !ok {
		return nil, syscall.ENOENT
	}
	c := &node{shown: d.shown, n: n}
	c.attr(&out.Attr)
	return d.NewInode(ctx, c, gofs.StableAttr{Mode: typeBits(d.view.Kind(n)), Ino: d.view.Number(n)}), 0
}

// Readdir implements [gofs.NodeReaddirer].
func (d *node) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	list := make([]fuse.DirEntry, 0, len(d.n.Entry.Children))
	for c := range d.view.Children(d.n) {
		list = append(list, fuse.DirEntry{Name: c.Entry.Name, Mode: typeBits(d.view.Kind(c)), Ino: d.view.Number(c)})
	}
	return gofs.NewListDirStream(list), 0
}

// attr fills in what stat tells.
func (d *node) attr(a *fuse.Attr) {
	k := d.view.Kind(d.n)
	a.Ino = d.view.Number(d.n)
	a.Size = uint64(d.view.Size(d.n))
	a.Blocks = (a.Size + 511) / 512
	a.Blksize = blockSize
	a.Nlink = max(uint32(d.n.Entry.Info.Links), 1)
	a.Uid, a.Gid = d.uid, d.gid
	switch k {
	case Dir:
		a.Mode, a.Nlink = 0o555, 1
	case Link:
		a.Mode = 0o777
	default:
		a.Mode = 0o444
	}
	if u := d.view.Unix(d.n); u != nil {
		a.Uid, a.Gid, a.Mode = u.UID, u.GID, u.Mode&0o7777
	}
	a.Mode |= typeBits(k)
	t := d.view.Times(d.n)
	a.SetTimes(&t.Accessed, &t.Written, &t.Changed)
}

// Getattr implements [gofs.NodeGetattrer].
func (d *node) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.attr(&out.Attr)
	return 0
}

// Readlink implements [gofs.NodeReadlinker].
func (d *node) Readlink(context.Context) ([]byte, syscall.Errno) {
	return []byte(d.view.Target(d.n)), 0
}

// Open implements [gofs.NodeOpener]. There is nothing to hold open. Linux learns from ENOSYS that it need not ask again, and keeps what
// it has cached: a small file is then one request, not four.
func (d *node) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	if runtime.GOOS == "linux" {
		return nil, 0, syscall.ENOSYS
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Flush implements [gofs.NodeFlusher]: there is nothing to do when a file is closed, and no need to ask again.
func (d *node) Flush(context.Context, gofs.FileHandle) syscall.Errno { return syscall.ENOSYS }

// Read implements [gofs.NodeReader].
func (d *node) Read(_ context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := d.blobs.readAt(d.view.Blob(d.n), dest, off)
	if err != nil {
		d.warn(d.n.Path, err)
		return nil, errnoOf(err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func errnoOf(err error) syscall.Errno {
	var no syscall.Errno
	switch {
	case errors.As(err, &no):
		return no
	case errors.Is(err, errNoXattr):
		return gofs.ENOATTR
	case errors.Is(err, errTooLarge):
		return syscall.E2BIG
	case errors.Is(err, errors.ErrUnsupported):
		return syscall.EOPNOTSUPP
	case errors.Is(err, fs.ErrNotExist):
		return syscall.ENOENT
	}
	return syscall.EIO
}

// Getxattr implements [gofs.NodeGetxattrer].
func (d *node) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	b, err := d.view.Xattr(d.n, name)
	if err != nil {
		return 0, errnoOf(err)
	}
	return fill(dest, b)
}

// Listxattr implements [gofs.NodeListxattrer].
func (d *node) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	var b []byte
	for _, name := range d.view.XattrNames(d.n) {
		if len(b)+len(name)+1 > maxXattrValue {
			break // XATTR_LIST_MAX
		}
		b = append(append(b, name...), 0)
	}
	return fill(dest, b)
}

func fill(dest, b []byte) (uint32, syscall.Errno) {
	if len(b) > len(dest) {
		return uint32(len(b)), syscall.ERANGE
	}
	return uint32(copy(dest, b)), 0
}

const blockSize = 4096

// Statfs implements [gofs.NodeStatfser]: a full file system.
func (d *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	t := d.view.Totals()
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, 255
	out.Blocks = uint64(t.Bytes+blockSize-1) / blockSize
	out.Files = uint64(t.Files) + uint64(t.Dirs)
	return 0
}

func owner() (uid, gid uint32) { return uint32(os.Getuid()), uint32(os.Getgid()) }
