//go:build (linux && !386 && !arm && !mips && !mipsle) || darwin

package mount

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"husk/internal/tree"
	"husk/winfile"
)

// An Overlay lets a tree be changed. Names and metadata change in the tree itself; what is written to files goes to files of a staging
// directory, one for each content that changed, which the first write copies. It is safe for concurrent use. Its errors are those of
// the host's calls.
type Overlay struct {
	mu      sync.RWMutex
	view    *View
	tree    *winfile.Tree
	streams Streams
	unix    bool // owners and modes are kept, and can be changed
	dir     string
	blobs   *blobs

	numbers map[content]uint64
	staged  map[content]*stage
	names   map[*winfile.Entry]map[string]*winfile.Entry // children of large directories
	open    map[content]int                              // handles that may write
	writers int                                          // of them in all
	changed bool
	frozen  bool // committed: nothing changes any more
}

// content is the data of a file, or a named stream of it.
type content struct {
	info   *winfile.Info
	stream string
	named  bool
}

// stage is a content that was written to.
type stage struct {
	name string
	size int64
	f    *os.File // while handles are open
}

// NewOverlay makes a tree changeable. dir is an empty directory for what is written; whoever made it removes it. With unix set, the
// tree's owners and modes are shown and new files have them; without, everything is the user's who mounts it.
func NewOverlay(t *winfile.Tree, streams Streams, unix bool, dir string) *Overlay {
	v := NewView(t, streams, false)
	v.live = true
	return &Overlay{
		view: v, tree: t, streams: streams, unix: unix, dir: dir, blobs: newBlobs(),
		numbers: make(map[content]uint64), staged: make(map[content]*stage), names: make(map[*winfile.Entry]map[string]*winfile.Entry),
		open: make(map[content]int),
	}
}

// Changed reports whether anything is not as it was.
func (o *Overlay) Changed() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.changed
}

// Commit hands the changed tree to save, whose blobs read what was written, while nothing else happens. Afterwards nothing can be
// changed any more. It is EBUSY while programs have files open for writing, unless force is set.
func (o *Overlay) Commit(force bool, save func(*winfile.Tree) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writers > 0 && !force {
		return fmt.Errorf("%d files are open for writing: %w", o.writers, syscall.EBUSY)
	}
	for c, s := range o.staged {
		b := s.blob()
		if !c.named {
			c.info.Data = b
			continue
		}
		for k := range c.info.Streams {
			if c.info.Streams[k].Name == c.stream {
				c.info.Streams[k].Data = b
			}
		}
	}
	if err := save(o.tree); err != nil {
		return err
	}
	o.frozen = true
	return nil
}

// stagingFile is the content of staged files: Ref is the name.
type stagingFile struct{}

func (s *stage) blob() *winfile.Blob {
	if s.size == 0 {
		return nil
	}
	return &winfile.Blob{Size: s.size, Content: stagingFile{}, Ref: s.name}
}

// OpenBlob implements [winfile.Content].
func (stagingFile) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) { return os.Open(b.Ref.(string)) }

// number is the inode number of a content.
func (o *Overlay) number(c content) uint64 {
	n, ok := o.numbers[c]
	if !ok {
		n = uint64(len(o.numbers)) + 1
		o.numbers[c] = n
	}
	return n
}

// blob is what a content was before it was written to.
func (c content) blob() *winfile.Blob {
	if !c.named {
		return c.info.Data
	}
	for k := range c.info.Streams {
		if c.info.Streams[k].Name == c.stream {
			return c.info.Streams[k].Data
		}
	}
	return nil
}

func (o *Overlay) size(c content) int64 {
	if s := o.staged[c]; s != nil {
		return s.size
	}
	if b := c.blob(); b != nil {
		return b.Size
	}
	return 0
}

// child finds a name in a directory.
func (o *Overlay) child(dir *winfile.Entry, name string) *winfile.Entry {
	if len(dir.Children) < indexed && o.names[dir] == nil {
		for _, c := range dir.Children {
			if c.Name == name {
				return c
			}
		}
		return nil
	}
	m := o.names[dir]
	if m == nil {
		m = make(map[string]*winfile.Entry, len(dir.Children))
		for _, c := range dir.Children {
			m[c.Name] = c
		}
		o.names[dir] = m
	}
	return m[name]
}

// add and drop change the entries of a directory.
func (o *Overlay) add(dir, e *winfile.Entry) {
	dir.Children = append(dir.Children, e)
	if m := o.names[dir]; m != nil {
		m[e.Name] = e
	}
	o.touch(dir.Info)
}

func (o *Overlay) drop(dir, e *winfile.Entry) {
	dir.Children = slices.DeleteFunc(dir.Children, func(c *winfile.Entry) bool { return c == e })
	delete(o.names[dir], e.Name)
	o.touch(dir.Info)
}

func now() winfile.Filetime { return winfile.FiletimeOf(time.Now()) }

// touch notes that a file, or the names in a directory, changed.
func (o *Overlay) touch(i *winfile.Info) {
	i.Written = now()
	o.changed = true
}

// writable says whether things can change.
func (o *Overlay) writable() error {
	if o.frozen {
		return syscall.EROFS
	}
	return nil
}

// newName checks a name that something is to get.
func (o *Overlay) newName(dir *winfile.Entry, name string) error {
	switch {
	case o.frozen:
		return syscall.EROFS
	case !winfile.ValidName(name) || strings.Contains(name, `\`):
		return syscall.EINVAL
	case len(winfile.UTF16FromName(name)) > 255:
		return syscall.ENAMETOOLONG
	case o.child(dir, name) != nil:
		return syscall.EEXIST
	}
	return nil
}

// newInfo is a new file. mode has its type too.
func (o *Overlay) newInfo(mode, uid, gid, rdev uint32) *winfile.Info {
	t := now()
	i := &winfile.Info{Attributes: winfile.AttrNormal, Created: t, Written: t, Accessed: t, Links: 1}
	switch mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		i.Attributes = winfile.AttrDirectory
	case syscall.S_IFREG, 0:
	default:
		i.Attributes = 0
	}
	if o.unix {
		i.Extra = &winfile.Extra{Unix: &winfile.Unix{UID: uid, GID: gid, Mode: mode, Rdev: rdev}}
	}
	return i
}

// make adds a new file, directory or device.
func (o *Overlay) make(dir *winfile.Entry, name string, mode, uid, gid, rdev uint32) (*winfile.Entry, error) {
	if err := o.newName(dir, name); err != nil {
		return nil, err
	}
	switch mode & syscall.S_IFMT {
	case syscall.S_IFREG, syscall.S_IFDIR, 0:
	default:
		if !o.unix {
			return nil, syscall.EPERM
		}
	}
	e := &winfile.Entry{Name: name, Info: o.newInfo(mode, uid, gid, rdev)}
	o.add(dir, e)
	return e, nil
}

// addStream makes an empty named stream of a file: name is FILE:STREAM.
func (o *Overlay) addStream(dir *winfile.Entry, name string) (*winfile.Entry, content, error) {
	at := strings.LastIndexByte(name, ':')
	if o.streams != StreamsWindows || at <= 0 || at == len(name)-1 {
		return nil, content{}, syscall.ENOENT
	}
	e := o.child(dir, name[:at])
	if e == nil || e.Info.Reparse != nil {
		return nil, content{}, syscall.ENOENT
	}
	if err := o.writable(); err != nil {
		return nil, content{}, err
	}
	c := content{e.Info, name[at+1:], true}
	e.Info.Streams = append(e.Info.Streams, winfile.Stream{Name: c.stream})
	o.changed = true
	return e, c, nil
}

// stream finds a named stream: name is FILE:STREAM.
func (o *Overlay) stream(dir *winfile.Entry, name string) (*winfile.Entry, content, bool) {
	at := strings.LastIndexByte(name, ':')
	if o.streams != StreamsWindows || at <= 0 {
		return nil, content{}, false
	}
	e := o.child(dir, name[:at])
	if e == nil {
		return nil, content{}, false
	}
	for _, s := range e.Info.Streams {
		if winfile.EqualFold(s.Name, name[at+1:]) {
			return e, content{e.Info, s.Name, true}, true
		}
	}
	return nil, content{}, false
}

// dropStream removes a named stream.
func (o *Overlay) dropStream(c content) {
	c.info.Streams = slices.DeleteFunc(c.info.Streams, func(s winfile.Stream) bool { return s.Name == c.stream })
	delete(o.staged, c)
	o.changed = true
}

// remove takes a name out of a directory.
func (o *Overlay) remove(dir *winfile.Entry, name string, wantDir bool) error {
	if err := o.writable(); err != nil {
		return err
	}
	e := o.child(dir, name)
	if e == nil {
		if _, c, ok := o.stream(dir, name); ok && !wantDir {
			o.dropStream(c)
			return nil
		}
		return syscall.ENOENT
	}
	isDir := e.Info.IsDir()
	switch {
	case isDir && !wantDir:
		return syscall.EISDIR
	case !isDir && wantDir:
		return syscall.ENOTDIR
	case len(e.Children) > 0:
		return syscall.ENOTEMPTY
	}
	o.drop(dir, e)
	e.Info.Links--
	return nil
}

// noReplace is RENAME_NOREPLACE of rename(2).
const noReplace = 1

// rename moves an entry.
func (o *Overlay) rename(from *winfile.Entry, name string, to *winfile.Entry, newName string, flags uint32) error {
	if err := o.writable(); err != nil {
		return err
	}
	e := o.child(from, name)
	if e == nil {
		return syscall.ENOENT
	}
	if flags&^noReplace != 0 {
		return syscall.EINVAL
	}
	old := o.child(to, newName)
	if old != nil && flags&noReplace != 0 {
		return syscall.EEXIST
	}
	if old == nil {
		if err := o.newName(to, newName); err != nil {
			return err
		}
	} else if old != e {
		switch {
		case e.Info.IsDir() && !old.Info.IsDir():
			return syscall.ENOTDIR
		case !e.Info.IsDir() && old.Info.IsDir():
			return syscall.EISDIR
		case len(old.Children) > 0:
			return syscall.ENOTEMPTY
		case old.Info == e.Info:
			return nil // two names of one file: rename(2) does nothing
		}
		o.drop(to, old)
		old.Info.Links--
	}
	o.drop(from, e)
	if e.Name != newName {
		e.Name, e.ShortName = newName, ""
	}
	o.add(to, e)
	return nil
}

// link gives a file one more name.
func (o *Overlay) link(i *winfile.Info, dir *winfile.Entry, name string) (*winfile.Entry, error) {
	if err := o.newName(dir, name); err != nil {
		return nil, err
	}
	if i.IsDir() {
		return nil, syscall.EPERM
	}
	i.Links++
	e := &winfile.Entry{Name: name, Info: i}
	o.add(dir, e)
	return e, nil
}

// symlink makes a symbolic link. An absolute target below one of roots becomes one below the root of the image.
func (o *Overlay) symlink(target string, dir *winfile.Entry, name string, uid, gid uint32, roots []string) (*winfile.Entry, error) {
	if err := o.newName(dir, name); err != nil {
		return nil, err
	}
	point, err := tree.LinkPoint(target, roots)
	if err != nil {
		return nil, syscall.EINVAL
	}
	e := &winfile.Entry{Name: name, Info: o.newInfo(syscall.S_IFLNK|0o777, uid, gid, 0)}
	e.Info.Attributes, e.Info.Reparse = winfile.AttrReparse, point
	o.add(dir, e)
	return e, nil
}

// read fills p from a content.
func (o *Overlay) read(c content, p []byte, off int64) (int, error) {
	o.mu.RLock()
	s := o.staged[c]
	if s == nil {
		b := c.blob()
		o.mu.RUnlock()
		return o.blobs.readAt(b, p, off)
	}
	defer o.mu.RUnlock()
	if off >= s.size {
		return 0, nil
	}
	f := s.f
	if f == nil {
		var err error
		if f, err = os.Open(s.name); err != nil {
			return 0, err
		}
		defer f.Close()
	}
	n, err := f.ReadAt(p[:min(int64(len(p)), s.size-off)], off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// stageOf is the staged form of a content, made from at most keep bytes of it. Its file is open while the caller has the lock.
func (o *Overlay) stageOf(c content, keep int64) (s *stage, done func(), err error) {
	if err := o.writable(); err != nil {
		return nil, nil, err
	}
	if s = o.staged[c]; s == nil {
		if s, err = o.copyUp(c, keep); err != nil {
			return nil, nil, err
		}
		o.staged[c] = s
	}
	if s.f != nil {
		return s, func() {}, nil
	}
	if s.f, err = os.OpenFile(s.name, os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	return s, func() {
		if o.open[c] == 0 {
			s.f.Close()
			s.f = nil
		}
	}, nil
}

// copyUp copies a content, or the first keep bytes of it, to a new file.
func (o *Overlay) copyUp(c content, keep int64) (_ *stage, err error) {
	if c.info.Attributes&winfile.AttrEncrypted != 0 {
		return nil, syscall.EACCES
	}
	f, err := os.CreateTemp(o.dir, "content-")
	if err != nil {
		return nil, err
	}
	s := &stage{name: f.Name()}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(s.name)
		}
	}()
	b := c.blob()
	if b == nil || keep == 0 {
		return s, nil
	}
	n := min(keep, b.Size)
	buf := make([]byte, min(n, 1<<20))
	for s.size < n {
		got, err := o.blobs.readAt(b, buf[:min(int64(len(buf)), n-s.size)], s.size)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(buf[:got]); err != nil {
			return nil, err
		}
		s.size += int64(got)
	}
	return s, nil
}

// wholeContent keeps all of a content.
const wholeContent = 1<<63 - 1

// write writes to a content.
func (o *Overlay) write(c content, p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, done, err := o.stageOf(c, wholeContent)
	if err != nil {
		return 0, err
	}
	defer done()
	n, err := s.f.WriteAt(p, off)
	s.size = max(s.size, off+int64(n))
	o.touch(c.info)
	return n, err
}

// truncate sets the size of a content.
func (o *Overlay) truncate(c content, size int64) error {
	s, done, err := o.stageOf(c, size)
	if err != nil {
		return err
	}
	defer done()
	if err := s.f.Truncate(size); err != nil {
		return err
	}
	s.size = size
	o.touch(c.info)
	return nil
}

// opened and released count the handles that may write.
func (o *Overlay) opened(c content) {
	o.open[c]++
	o.writers++
}

func (o *Overlay) released(c content) {
	o.writers--
	if o.open[c]--; o.open[c] > 0 {
		return
	}
	delete(o.open, c)
	if s := o.staged[c]; s != nil && s.f != nil {
		s.f.Close()
		s.f = nil
	}
}

// Flags of setxattr(2).
const (
	xattrCreate  = 1
	xattrReplace = 2
)

// setXattr sets an extended attribute: a named stream, or metadata that ntfs-3g lets be set.
func (o *Overlay) setXattr(e *winfile.Entry, i *winfile.Info, name string, v []byte, flags uint32) error {
	if err := o.writable(); err != nil {
		return err
	}
	if stream, ok := strings.CutPrefix(name, spaceUser); ok && o.streams == StreamsXattr {
		k := slices.IndexFunc(i.Streams, func(s winfile.Stream) bool { return s.Name == stream })
		switch {
		case k >= 0 && flags&xattrCreate != 0:
			return syscall.EEXIST
		case k < 0 && flags&xattrReplace != 0:
			return errNoXattr
		case stream == "" || !winfile.ValidName(stream) || strings.ContainsAny(stream, `:/\`):
			return syscall.EINVAL
		case k < 0:
			k = len(i.Streams)
			i.Streams = append(i.Streams, winfile.Stream{Name: stream})
		}
		i.Streams[k].Data = winfile.NewBlob(slices.Clone(v))
		o.changed = true
		return nil
	}
	switch {
	case name == "system.ntfs_attrib" && len(v) == 4:
		const fixed = winfile.AttrDirectory | winfile.AttrReparse | winfile.AttrEncrypted
		i.Attributes = i.Attributes&fixed | winfile.Attributes(binary.NativeEndian.Uint32(v))&^fixed
	case name == "system.ntfs_times" && len(v) >= 16 && len(v)%8 == 0:
		for k, f := range []*winfile.Filetime{&i.Created, &i.Written, &i.Accessed, &i.Changed} {
			if len(v) >= 8*(k+1) {
				*f = winfile.Filetime(binary.NativeEndian.Uint64(v[8*k:]))
			}
		}
	case name == "system.ntfs_crtime" && len(v) == 8:
		i.Created = winfile.Filetime(binary.NativeEndian.Uint64(v))
	case name == "system.ntfs_acl" && len(v) >= 20:
		i.Security = slices.Clone(v)
	case name == "system.ntfs_dos_name" && e != nil && len(v) > 0 && len(v) <= 12 && i.Links == 1:
		e.ShortName = string(v)
	case strings.HasPrefix(name, "system.ntfs_"):
		return syscall.EINVAL
	default:
		return syscall.EOPNOTSUPP
	}
	o.changed = true
	return nil
}

// removeXattr removes a named stream.
func (o *Overlay) removeXattr(i *winfile.Info, name string) error {
	if err := o.writable(); err != nil {
		return err
	}
	stream, ok := strings.CutPrefix(name, spaceUser)
	if !ok || o.streams != StreamsXattr {
		return syscall.EOPNOTSUPP
	}
	if !slices.ContainsFunc(i.Streams, func(s winfile.Stream) bool { return s.Name == stream }) {
		return errNoXattr
	}
	o.dropStream(content{i, stream, true})
	return nil
}
