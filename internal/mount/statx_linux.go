//go:build !386 && !arm && !mips && !mipsle

package mount

import (
	"context"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

var _ gofs.NodeStatxer = (*node)(nil)

// Statx implements [gofs.NodeStatxer]: stat with the time of creation.
func (d *node) Statx(_ context.Context, _ gofs.FileHandle, _, _ uint32, out *fuse.StatxOut) syscall.Errno {
	var a fuse.Attr
	d.attr(&a)
	t := d.view.Times(d.n)
	out.Mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	out.Blksize, out.Nlink, out.Uid, out.Gid = a.Blksize, a.Nlink, a.Uid, a.Gid
	out.Mode, out.Ino, out.Size, out.Blocks = uint16(a.Mode), a.Ino, a.Size, a.Blocks
	out.Atime, out.Mtime, out.Ctime, out.Btime = statxTime(t.Accessed), statxTime(t.Written), statxTime(t.Changed), statxTime(t.Created)
	out.SetTimeout(longTime)
	return 0
}

func statxTime(t time.Time) fuse.SxTime {
	return fuse.SxTime{Sec: uint64(t.Unix()), Nsec: uint32(t.Nanosecond())}
}
