//go:build (linux && !386 && !arm && !mips && !mipsle) || darwin

package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"husk/internal/tree"
	"husk/winfile"
)

// changing is what the nodes of one mount that can be written to share.
type changing struct {
	*Overlay
	uid, gid uint32
	roots    []string // paths that the mount is known by, for links into it
	warn     func(path string, err error)
	commit   func(*winfile.Tree, *CommitOptions) error

	commitMu sync.Mutex
	result   string // of the last commit that failed
}

// rwNode is one inode: a file with all its names, a directory, a link or a named stream.
type rwNode struct {
	gofs.Inode
	*changing
	c     content
	entry *winfile.Entry // of a directory that directory; of another file the name that it was found by first
}

var (
	_ gofs.NodeLookuper      = (*rwNode)(nil)
	_ gofs.NodeReaddirer     = (*rwNode)(nil)
	_ gofs.NodeGetattrer     = (*rwNode)(nil)
	_ gofs.NodeSetattrer     = (*rwNode)(nil)
	_ gofs.NodeReadlinker    = (*rwNode)(nil)
	_ gofs.NodeOpener        = (*rwNode)(nil)
	_ gofs.NodeCreater       = (*rwNode)(nil)
	_ gofs.NodeMkdirer       = (*rwNode)(nil)
	_ gofs.NodeMknoder       = (*rwNode)(nil)
	_ gofs.NodeLinker        = (*rwNode)(nil)
	_ gofs.NodeSymlinker     = (*rwNode)(nil)
	_ gofs.NodeUnlinker      = (*rwNode)(nil)
	_ gofs.NodeRmdirer       = (*rwNode)(nil)
	_ gofs.NodeRenamer       = (*rwNode)(nil)
	_ gofs.NodeReader        = (*rwNode)(nil)
	_ gofs.NodeWriter        = (*rwNode)(nil)
	_ gofs.NodeFlusher       = (*rwNode)(nil)
	_ gofs.NodeFsyncer       = (*rwNode)(nil)
	_ gofs.NodeReleaser      = (*rwNode)(nil)
	_ gofs.NodeGetxattrer    = (*rwNode)(nil)
	_ gofs.NodeSetxattrer    = (*rwNode)(nil)
	_ gofs.NodeListxattrer   = (*rwNode)(nil)
	_ gofs.NodeRemovexattrer = (*rwNode)(nil)
	_ gofs.NodeStatfser      = (*rwNode)(nil)
)

func (d *rwNode) kind() Kind { return d.view.Kind(d.node()) }

// node is what the view knows it by.
func (d *rwNode) node() Node {
	n := Node{Path: ".", Entry: d.entry}
	if d.c.named {
		n.Stream = &winfile.Stream{Name: d.c.stream}
	}
	return n
}

// path is where the node is now.
func (d *rwNode) path() string {
	if p := d.Path(nil); p != "" {
		return p
	}
	return "."
}

func (d *rwNode) modeBits() uint32 {
	k := typeBits(d.kind())
	if d.unix && d.c.info.Extra != nil && d.c.info.Extra.Unix != nil && !d.c.named {
		if m := d.c.info.Extra.Unix.Mode & syscall.S_IFMT; m != 0 && k == syscall.S_IFREG {
			return m
		}
	}
	return k
}

// adopt makes, or finds, the inode of an entry. The overlay is locked.
func (d *rwNode) adopt(ctx context.Context, e *winfile.Entry, c content, out *fuse.EntryOut) *gofs.Inode {
	n := &rwNode{changing: d.changing, c: c, entry: e}
	n.attr(&out.Attr, joinPath(d.path(), e.Name))
	return d.NewInode(ctx, n, gofs.StableAttr{Mode: n.modeBits(), Ino: d.number(c)})
}

// attr fills in what stat tells of a node at path. The overlay is locked.
func (d *rwNode) attr(a *fuse.Attr, path string) {
	i := d.c.info
	a.Ino = d.number(d.c)
	a.Blksize = blockSize
	a.Nlink = max(uint32(i.Links), 0)
	a.Uid, a.Gid, a.Mode = d.uid, d.gid, 0o777
	switch d.kind() {
	case Dir:
		a.Nlink = 1
	case Link:
		a.Size = uint64(len(d.target(path)))
	default:
		a.Size = uint64(d.size(d.c))
	}
	a.Blocks = (a.Size + 511) / 512
	if x := i.Extra; d.unix && x != nil && x.Unix != nil {
		a.Uid, a.Gid, a.Mode, a.Rdev = x.Unix.UID, x.Unix.GID, x.Unix.Mode&0o7777, x.Unix.Rdev
	}
	a.Mode |= d.modeBits()
	t := d.view.Times(d.node())
	a.SetTimes(&t.Accessed, &t.Written, &t.Changed)
}

func (d *rwNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.child(d.entry, name); e != nil {
		return d.adopt(ctx, e, content{info: e.Info}, out), 0
	}
	if e, c, ok := d.stream(d.entry, name); ok {
		return d.adopt(ctx, e, c, out), 0
	}
	return nil, syscall.ENOENT
}

func (d *rwNode) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]fuse.DirEntry, 0, len(d.entry.Children))
	for _, e := range d.entry.Children {
		if showable(e.Name) {
			list = append(list, fuse.DirEntry{Name: e.Name, Mode: typeBits(d.view.Kind(Node{Entry: e})), Ino: d.number(content{info: e.Info})})
		}
	}
	return gofs.NewListDirStream(list), 0
}

func (d *rwNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attr(&out.Attr, d.path())
	return 0
}

func (d *rwNode) Setattr(_ context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.setattr(in); err != nil {
		return errnoOf(err)
	}
	d.attr(&out.Attr, d.path())
	return 0
}

func (d *rwNode) setattr(in *fuse.SetAttrIn) error {
	if err := d.writable(); err != nil {
		return err
	}
	var was fuse.Attr
	d.attr(&was, d.path())
	mode, hasMode := in.GetMode()
	uid, hasUID := in.GetUID()
	gid, hasGID := in.GetGID()
	if hasMode && mode&0o7777 != was.Mode&0o7777 || hasUID && uid != was.Uid || hasGID && gid != was.Gid {
		if !d.unix {
			return syscall.EPERM
		}
		d.own(was, mode, hasMode, uid, hasUID, gid, hasGID)
	}
	if size, ok := in.GetSize(); ok {
		if d.kind() != File {
			return syscall.EISDIR
		}
		if err := d.truncate(d.c, int64(size)); err != nil {
			return err
		}
	}
	if t, ok := in.GetATime(); ok {
		d.c.info.Accessed, d.changed = winfile.FiletimeOf(t), true
	}
	if t, ok := in.GetMTime(); ok {
		d.c.info.Written, d.changed = winfile.FiletimeOf(t), true
	}
	return nil
}

// own changes owner and mode.
func (d *rwNode) own(was fuse.Attr, mode uint32, hasMode bool, uid uint32, hasUID bool, gid uint32, hasGID bool) {
	i := d.c.info
	if i.Extra == nil {
		i.Extra = new(winfile.Extra)
	}
	u := winfile.Unix{UID: was.Uid, GID: was.Gid, Mode: was.Mode, Rdev: was.Rdev}
	if hasMode {
		u.Mode = u.Mode&^0o7777 | mode&0o7777
	}
	if hasUID {
		u.UID = uid
	}
	if hasGID {
		u.GID = gid
	}
	i.Extra.Unix, d.changed = &u, true
}

func (d *rwNode) Readlink(context.Context) ([]byte, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return []byte(d.target(d.path())), 0
}

// target is where the link at path leads: a relative one is shown as it was made, others as the view does.
func (d *rwNode) target(path string) string {
	if to, ok := tree.RelativeLink(d.c.info.Reparse); ok {
		return to
	}
	n := d.node()
	n.Path = path
	return d.view.Target(n)
}

// handle is an open file.
type handle struct{ writes bool }

func (d *rwNode) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &handle{writes: flags&syscall.O_ACCMODE != syscall.O_RDONLY}
	if !h.writes {
		return h, 0, 0
	}
	if err := d.writable(); err != nil {
		return nil, 0, errnoOf(err)
	}
	if flags&syscall.O_TRUNC != 0 {
		if err := d.truncate(d.c, 0); err != nil {
			return nil, 0, errnoOf(err)
		}
	}
	d.opened(d.c)
	return h, 0, 0
}

func (d *rwNode) Release(_ context.Context, f gofs.FileHandle) syscall.Errno {
	if h, ok := f.(*handle); ok && h.writes {
		d.mu.Lock()
		d.released(d.c)
		d.mu.Unlock()
	}
	return 0
}

func (d *rwNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, c, err := d.addStream(d.entry, name)
	if errors.Is(err, syscall.ENOENT) {
		if e, err = d.makeOwned(ctx, name, syscall.S_IFREG|mode&0o7777, 0); err == nil {
			c = content{info: e.Info}
		}
	}
	if err != nil {
		return nil, nil, 0, errnoOf(err)
	}
	n := d.adopt(ctx, e, c, out)
	h := &handle{writes: flags&syscall.O_ACCMODE != syscall.O_RDONLY}
	if h.writes {
		d.opened(c)
	}
	return n, h, 0, 0
}

// makeOwned makes a file that belongs to who asks for it.
func (d *rwNode) makeOwned(ctx context.Context, name string, mode, rdev uint32) (*winfile.Entry, error) {
	uid, gid := d.caller(ctx)
	return d.make(d.entry, name, mode, uid, gid, rdev)
}

func (d *rwNode) caller(ctx context.Context) (uid, gid uint32) {
	if c, ok := fuse.FromContext(ctx); ok {
		return c.Uid, c.Gid
	}
	return d.uid, d.gid
}

func (d *rwNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return d.Mknod(ctx, name, syscall.S_IFDIR|mode&0o7777, 0, out)
}

func (d *rwNode) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.makeOwned(ctx, name, mode, dev)
	if err != nil {
		return nil, errnoOf(err)
	}
	return d.adopt(ctx, e, content{info: e.Info}, out), 0
}

func (d *rwNode) Link(ctx context.Context, target gofs.InodeEmbedder, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	t, ok := target.(*rwNode)
	if !ok || t.c.named {
		return nil, syscall.EPERM
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.link(t.c.info, d.entry, name)
	if err != nil {
		return nil, errnoOf(err)
	}
	return d.adopt(ctx, e, t.c, out), 0
}

func (d *rwNode) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	uid, gid := d.caller(ctx)
	e, err := d.symlink(target, d.entry, name, uid, gid, d.roots)
	if err != nil {
		return nil, errnoOf(err)
	}
	return d.adopt(ctx, e, content{info: e.Info}, out), 0
}

func (d *rwNode) Unlink(_ context.Context, name string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errnoOrNone(d.remove(d.entry, name, false))
}

func (d *rwNode) Rmdir(_ context.Context, name string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errnoOrNone(d.remove(d.entry, name, true))
}

func errnoOrNone(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return errnoOf(err)
}

func (d *rwNode) Rename(_ context.Context, name string, to gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	t, ok := to.(*rwNode)
	if !ok {
		return syscall.EXDEV
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return errnoOrNone(d.rename(d.entry, name, t.entry, newName, flags))
}

func (d *rwNode) Read(_ context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := d.read(d.c, dest, off)
	if err != nil {
		d.warn(d.path(), err)
		return nil, errnoOf(err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (d *rwNode) Write(_ context.Context, _ gofs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	n, err := d.write(d.c, data, off)
	if err != nil {
		d.warn(d.path(), err)
		return 0, errnoOf(err)
	}
	return uint32(n), 0
}

// Flush and Fsync have nothing to do: what is written is kept by commit alone.
func (d *rwNode) Flush(context.Context, gofs.FileHandle) syscall.Errno         { return 0 }
func (d *rwNode) Fsync(context.Context, gofs.FileHandle, uint32) syscall.Errno { return 0 }

// Attributes of the root through which another process asks for a commit, and reads why it failed.
const (
	commitXattr = "user.husk.commit"
	resultXattr = "user.husk.result"
	stateXattr  = "user.husk.state" // "changed" or "unchanged"; only a mount that can be written to has it
)

func (d *rwNode) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if d.IsRoot() && name == resultXattr {
		d.commitMu.Lock()
		defer d.commitMu.Unlock()
		return fill(dest, []byte(d.result))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.IsRoot() && name == stateXattr {
		if d.changed && !d.frozen {
			return fill(dest, []byte("changed"))
		}
		return fill(dest, []byte("unchanged"))
	}
	b, err := d.view.Xattr(d.node(), name)
	if err != nil {
		return 0, errnoOf(err)
	}
	return fill(dest, b)
}

func (d *rwNode) Setxattr(_ context.Context, name string, v []byte, flags uint32) syscall.Errno {
	if d.IsRoot() && name == commitXattr {
		return d.commitNow(v)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c.named {
		return syscall.EOPNOTSUPP
	}
	return errnoOrNone(d.setXattr(d.entry, d.c.info, name, v, flags))
}

// commitNow carries out a commit that another process asked for.
func (d *rwNode) commitNow(v []byte) syscall.Errno {
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	var o CommitOptions
	if err := json.Unmarshal(v, &o); err != nil {
		return syscall.EINVAL
	}
	err := d.Commit(o.Force, func(t *winfile.Tree) error { return d.commit(t, &o) })
	d.result = ""
	if err == nil {
		return 0
	}
	d.result = err.Error()
	if len(d.result) > maxXattrValue {
		d.result = d.result[:maxXattrValue]
	}
	if errors.Is(err, syscall.EBUSY) {
		return syscall.EBUSY
	}
	return syscall.EIO
}

func (d *rwNode) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b []byte
	for _, name := range d.view.XattrNames(d.node()) {
		if len(b)+len(name)+1 > maxXattrValue {
			break
		}
		b = append(append(b, name...), 0)
	}
	return fill(dest, b)
}

func (d *rwNode) Removexattr(_ context.Context, name string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errnoOrNone(d.removeXattr(d.c.info, name))
}

// Statfs implements [gofs.NodeStatfser]: the room is that of the staging directory.
func (d *rwNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &st); err != nil {
		return errnoOf(err)
	}
	out.Bsize, out.Frsize, out.NameLen = uint32(st.Bsize), uint32(st.Bsize), 255
	out.Blocks, out.Bfree, out.Bavail = uint64(st.Blocks), uint64(st.Bfree), uint64(st.Bavail)
	out.Files, out.Ffree = uint64(st.Files), uint64(st.Ffree)
	return 0
}

// rwTime is how long the kernel may trust what it was told: all changes come through it.
const rwTime = time.Second

// MountOverlay shows a tree at dir so that it can be changed. commit is called when another process asks for that ([RequestCommit]).
func MountOverlay(dir string, v *Overlay, commit func(*winfile.Tree, *CommitOptions) error, o *Options) (*Server, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(abs); err != nil {
		return nil, err
	} else if !st.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	s := &changing{Overlay: v, warn: o.Warn, commit: commit, roots: []string{abs}}
	if real, err := filepath.EvalSymlinks(abs); err == nil && real != abs {
		s.roots = append(s.roots, real)
	}
	if s.warn == nil {
		s.warn = func(string, error) {}
	}
	s.uid, s.gid = owner()
	root := content{info: v.tree.Root.Info}
	timeout := rwTime
	opts := &gofs.Options{
		EntryTimeout: &timeout, AttrTimeout: &timeout, RootStableAttr: &gofs.StableAttr{Ino: v.number(root)},
		MountOptions: fuse.MountOptions{
			Name: "husk", FsName: mountSource(o.Source), AllowOther: o.AllowOther || os.Geteuid() == 0,
			MaxWrite: maxRequest, MaxReadAhead: maxRequest, MaxBackground: 32, IgnoreSecurityLabels: true,
			Options: []string{"default_permissions"},
		},
	}
	if o.Debug != nil {
		opts.Debug, opts.MountOptions.Logger = true, log.New(o.Debug, "", 0)
	}
	writable(&opts.MountOptions)
	f, err := gofs.Mount(abs, &rwNode{changing: s, c: root, entry: v.tree.Root}, opts)
	if err != nil {
		return nil, fmt.Errorf("mount at %s: %w", dir, err)
	}
	return &Server{abs, f}, nil
}
