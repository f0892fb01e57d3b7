//go:build !386 && !arm && !mips && !mipsle

package faultfs

import (
	"context"
	"os"
	"sync"
	"syscall"
	"testing"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"husk/internal/reftool"
)

// Op is a set of kinds of operations.
type Op uint16

// What a disk is asked for.
const (
	Read     Op = 1 << iota // of a file
	Write                   // to a file
	Sync                    // of a file or folder
	Truncate                // to a size, longer or shorter; room that is reserved or given back
	Create                  // of files, folders and links
	Rename                  // of files and folders
	Remove                  // of files and folders

	look // at names: no fault of its own, but of a device that is gone

	Changes = Write | Sync | Truncate | Create | Rename | Remove
	Grows   = Write | Truncate | Create // what a full disk refuses
)

// Fault says what fails. The zero Fault is none.
type Fault struct {
	Ops   Op            // those that are counted
	At    int           // the number of the one that fails, from 1; 0 for none
	Stays bool          // those after it fail too; with EIO all do, of every kind, as of a device that is gone
	Torn  bool          // a write that fails has written the first half of its sectors
	Errno syscall.Errno // 0 means EIO
}

// Disk is a folder whose operations can fail.
type Disk struct {
	Dir string // where it is mounted

	mu     sync.Mutex
	fault  Fault
	counts map[Op]int // of one kind each, since Set
	count  int        // of those that the fault is about
	failed int
}

// Mount mounts a folder once more, elsewhere, until the end of the test. Without FUSE the test is skipped, or fails where
// HUSK_REFTOOLS=required.
func Mount(t testing.TB, folder string) *Disk {
	t.Helper()
	d := &Disk{Dir: t.TempDir(), counts: make(map[Op]int)}
	var st syscall.Stat_t
	if err := syscall.Stat(folder, &st); err != nil {
		t.Fatal(err)
	}
	root := &node{&gofs.LoopbackNode{RootData: &gofs.LoopbackRoot{Path: folder, Dev: uint64(st.Dev)}}, d}
	const largest = 1 << 19 // bytes of a request; with 1 << 20 go-fuse complains of the size of pipes
	o := &gofs.Options{MountOptions: fuse.MountOptions{FsName: "husk-faults", Name: "husk-faults", MaxWrite: largest, DisableReadDirPlus: true}}
	if os.Geteuid() == 0 {
		o.DirectMount, o.DirectMountFlags = true, unix.MS_NOSUID|unix.MS_NODEV
	}
	server, err := gofs.Mount(d.Dir, root, o)
	if err != nil {
		reftool.Skip(t, "mounting through FUSE: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Errorf("unmounting %s: %v", d.Dir, err)
		}
	})
	return d
}

// Set begins to count anew, towards a fault.
func (d *Disk) Set(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.counts, d.count, d.failed = f, make(map[Op]int), 0, 0
}

// Count is how many operations of these kinds there were since Set.
func (d *Disk) Count(ops Op) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := 0
	for op, n := range d.counts {
		if ops&op != 0 {
			sum += n
		}
	}
	return sum
}

// Failed is how many operations of any kind failed since Set.
func (d *Disk) Failed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// step counts an operation and says how it ends.
func (d *Disk) step(op Op) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &d.fault
	d.counts[op]++
	counts := f.Ops&op != 0
	if counts {
		d.count++
	}
	if f.At == 0 || d.count < f.At {
		return 0
	}
	errno := f.Errno
	if errno == 0 {
		errno = syscall.EIO
	}
	if counts && d.count == f.At || f.Stays && d.failed > 0 && (counts || errno == syscall.EIO) {
		d.failed++
		return errno
	}
	return 0
}

func (d *Disk) torn() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fault.Torn && d.failed == 1
}

// node is a file or folder.
type node struct {
	*gofs.LoopbackNode
	d *Disk
}

func (n *node) WrapChild(_ context.Context, ops gofs.InodeEmbedder) gofs.InodeEmbedder {
	return &node{ops.(*gofs.LoopbackNode), n.d}
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if errno := n.d.step(look); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Lookup(ctx, name, out)
}

// opened wraps a file that was opened. What it is asked for goes past the cache of the kernel.
func (n *node) opened(f gofs.FileHandle, errno syscall.Errno) (gofs.FileHandle, uint32, syscall.Errno) {
	if errno != 0 {
		return nil, 0, errno
	}
	return &file{f.(*gofs.LoopbackFile), n.d}, fuse.FOPEN_DIRECT_IO, 0
}

// The kernel's buffers are not aligned as the file below may want it.
func aligned(flags uint32) uint32 { return flags &^ syscall.O_DIRECT }

func (n *node) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	op := look
	if flags&syscall.O_TRUNC != 0 {
		op = Truncate
	}
	if errno := n.d.step(op); errno != 0 {
		return nil, 0, errno
	}
	f, _, errno := n.LoopbackNode.Open(ctx, aligned(flags))
	return n.opened(f, errno)
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	if errno := n.d.step(Create); errno != 0 {
		return nil, nil, 0, errno
	}
	made, f, _, errno := n.LoopbackNode.Create(ctx, name, aligned(flags), mode, out)
	h, how, errno := n.opened(f, errno)
	return made, h, how, errno
}

// Tmpfile is not there, so that names are what is made.
func (n *node) Tmpfile(context.Context, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EOPNOTSUPP
}

// CopyFileRange is not there: what is copied is read and written.
func (n *node) CopyFileRange(context.Context, gofs.FileHandle, uint64, *gofs.Inode, gofs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if errno := n.d.step(Create); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

func (n *node) Link(ctx context.Context, target gofs.InodeEmbedder, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if errno := n.d.step(Create); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Link(ctx, target, name, out)
}

func (n *node) Rename(ctx context.Context, name string, to gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if errno := n.d.step(Rename); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, to, newName, flags)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.d.step(Remove); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if errno := n.d.step(Remove); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}

func (n *node) Setattr(ctx context.Context, f gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if _, sized := in.GetSize(); sized {
		if errno := n.d.step(Truncate); errno != 0 {
			return errno
		}
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if errno := n.d.step(look); errno != 0 {
		return nil, 0, errno
	}
	f, how, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &folder{f.(openFolder), n.d}, how, 0
}

// folder is an open folder.
type folder struct {
	openFolder
	d *Disk
}

type openFolder interface {
	gofs.FileReaddirenter
	gofs.FileFsyncdirer
	gofs.FileSeekdirer
	gofs.FileReleasedirer
}

func (f *folder) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	if errno := f.d.step(Sync); errno != 0 {
		return errno
	}
	return f.openFolder.Fsyncdir(ctx, flags)
}

const sector = 512 // bytes, which a disk writes all or none of

// file is an open file. It has only what passes by the fault: no descriptor that the kernel could use by itself.
type file struct {
	under *gofs.LoopbackFile
	d     *Disk
}

func (f *file) Read(ctx context.Context, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := f.d.step(Read); errno != 0 {
		return nil, errno
	}
	r, errno := f.under.Read(ctx, p, off)
	if errno != 0 {
		return nil, errno
	}
	b, status := r.Bytes(p) // now, and not by a splice, which complains about large reads
	return fuse.ReadResultData(b), syscall.Errno(status)
}

func (f *file) Write(ctx context.Context, p []byte, off int64) (uint32, syscall.Errno) {
	if errno := f.d.step(Write); errno != 0 {
		if f.d.torn() {
			f.under.Write(ctx, p[:len(p)/2/sector*sector], off) // whether that works does not matter: it has failed
		}
		return 0, errno
	}
	return f.under.Write(ctx, p, off)
}

// Fsync is not passed on: that the folder below lasts is not what the tests are about.
func (f *file) Fsync(context.Context, uint32) syscall.Errno { return f.d.step(Sync) }

func (f *file) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if errno := f.d.step(Truncate); errno != 0 {
		return errno
	}
	return f.under.Allocate(ctx, off, size, mode)
}

func (f *file) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	return f.under.Lseek(ctx, off, whence)
}

func (f *file) Getattr(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	return f.under.Getattr(ctx, out)
}

func (f *file) Setattr(ctx context.Context, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return f.under.Setattr(ctx, in, out)
}

func (f *file) Flush(ctx context.Context) syscall.Errno   { return f.under.Flush(ctx) }
func (f *file) Release(ctx context.Context) syscall.Errno { return f.under.Release(ctx) }
