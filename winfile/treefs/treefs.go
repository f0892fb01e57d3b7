// Package treefs shows a [winfile.Tree] as an [fs.FS].
//
// Paths are slash-separated names, as stored: in WTF-8, so a name with an unpaired surrogate is a path that is not valid
// UTF-8, and is found all the same. A name that differs in case, or is a short name, is found if there is no exact match.
// Symbolic links and junctions are [fs.ModeSymlink]. Open and Stat follow them inside the tree, the drive of an absolute
// target being taken for the root; Lstat and ReadLink do not. Other reparse points that are directories are
// [fs.ModeIrregular], without content; those that are files show their unnamed data.
package treefs

import (
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"husk/winfile"
)

// FS is a tree as a file system. It is safe for concurrent use as long as nobody changes the tree.
type FS struct {
	tree *winfile.Tree

	mu    sync.Mutex
	index map[*winfile.Entry]*names // of directories with many children
}

// names finds children by name.
type names struct{ exact, folded, short map[string]*winfile.Entry }

// New shows t.
func New(t *winfile.Tree) *FS { return &FS{tree: t, index: make(map[*winfile.Entry]*names)} }

// Tree returns the tree that f shows.
func (f *FS) Tree() *winfile.Tree { return f.tree }

// manyChildren is from where on an index is cheaper than a walk.
const manyChildren = 32

// child finds a name in a directory.
func (f *FS) child(dir *winfile.Entry, name string) *winfile.Entry {
	if len(dir.Children) < manyChildren {
		return dir.Child(name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.index[dir]
	if n == nil {
		n = &names{exact: make(map[string]*winfile.Entry, len(dir.Children))}
		for _, c := range dir.Children {
			if _, ok := n.exact[c.Name]; !ok {
				n.exact[c.Name] = c
			}
		}
		f.index[dir] = n
	}
	if c := n.exact[name]; c != nil {
		return c
	}
	if n.folded == nil {
		n.folded = make(map[string]*winfile.Entry, len(dir.Children))
		n.short = make(map[string]*winfile.Entry)
		for _, c := range dir.Children {
			if key := winfile.Fold(c.Name); n.folded[key] == nil {
				n.folded[key] = c
			}
			if key := winfile.Fold(c.ShortName); key != "" && n.short[key] == nil {
				n.short[key] = c
			}
		}
	}
	key := winfile.Fold(name)
	if c := n.folded[key]; c != nil {
		return c
	}
	return n.short[key]
}

// valid is [fs.ValidPath] without its rule that paths are UTF-8.
func valid(path string) bool {
	if path == "." {
		return true
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "\x00\\") {
			return false
		}
	}
	return true
}

// maxLinks is how many links one path may lead through.
const maxLinks = 40

// find resolves a path. The last part is followed if it is a link and follow is set.
func (f *FS) find(op, path string, follow bool) (*winfile.Entry, error) {
	fail := func(err error) (*winfile.Entry, error) { return nil, &fs.PathError{Op: op, Path: path, Err: err} }
	if !valid(path) {
		return fail(fs.ErrInvalid)
	}
	var stack []*winfile.Entry // directories above e
	e := f.tree.Root
	rest := strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case ".", "":
			continue
		case "..":
			if len(stack) > 0 {
				e, stack = stack[len(stack)-1], stack[:len(stack)-1]
			}
			continue
		}
		next := f.child(e, part)
		if next == nil {
			return fail(fs.ErrNotExist)
		}
		target, ok := LinkTarget(next.Info)
		if !ok || len(rest) == 0 && !follow {
			stack, e = append(stack, e), next
			continue
		}
		if links++; links > maxLinks {
			return fail(fs.ErrInvalid)
		}
		if target.Absolute {
			e, stack = f.tree.Root, nil
		}
		rest = append(strings.Split(target.Path, "/"), rest...)
	}
	return e, nil
}

// Open implements [fs.FS]. A file with content that its source can read in any order is an [io.ReaderAt] and [io.Seeker] too.
func (f *FS) Open(path string) (fs.File, error) {
	e, err := f.find("open", path, true)
	if err != nil {
		return nil, err
	}
	info := f.info(e, base(path))
	if info.IsDir() {
		return &dir{fileInfo: info, list: f.list(e)}, nil
	}
	return open(path, info)
}

// base is the name that Stat shows for a path: what was asked for, also where a link led elsewhere.
func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Stat implements [fs.StatFS].
func (f *FS) Stat(path string) (fs.FileInfo, error) {
	e, err := f.find("stat", path, true)
	if err != nil {
		return nil, err
	}
	return f.info(e, base(path)), nil
}

// Lstat implements [fs.ReadLinkFS].
func (f *FS) Lstat(path string) (fs.FileInfo, error) {
	e, err := f.find("lstat", path, false)
	if err != nil {
		return nil, err
	}
	return f.info(e, base(path)), nil
}

// ReadLink implements [fs.ReadLinkFS]: the target with forward slashes, "../a", "C:/Users" or "//?/Volume{…}/".
func (f *FS) ReadLink(path string) (string, error) {
	e, err := f.find("readlink", path, false)
	if err != nil {
		return "", err
	}
	target, ok := LinkTarget(e.Info)
	if !ok {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: fs.ErrInvalid}
	}
	return target.Text, nil
}

// ReadDir implements [fs.ReadDirFS].
func (f *FS) ReadDir(path string) ([]fs.DirEntry, error) {
	e, err := f.find("readdir", path, true)
	if err != nil {
		return nil, err
	}
	if !e.Info.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: path, Err: errNotDir}
	}
	return f.list(e), nil
}

// list returns the children of e by name.
func (f *FS) list(e *winfile.Entry) []fs.DirEntry {
	infos := make([]fileInfo, len(e.Children))
	list := make([]fs.DirEntry, len(e.Children))
	for i, c := range e.Children {
		infos[i] = f.info(c, c.Name)
		list[i] = &infos[i]
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list
}

func (f *FS) info(e *winfile.Entry, name string) fileInfo { return fileInfo{name, e.Info} }

// fileInfo is an fs.FileInfo and an fs.DirEntry.
type fileInfo struct {
	name string
	info *winfile.Info
}

func (i fileInfo) Name() string               { return i.name }
func (i fileInfo) Size() int64                { return i.info.Size() }
func (i fileInfo) ModTime() time.Time         { return i.info.Written.Time() }
func (i fileInfo) IsDir() bool                { return i.info.IsDir() }
func (i fileInfo) Sys() any                   { return i.info }
func (i fileInfo) Type() fs.FileMode          { return i.Mode().Type() }
func (i fileInfo) Info() (fs.FileInfo, error) { return i, nil }
func (i fileInfo) String() string             { return fs.FormatFileInfo(i) }

// Mode gives every file to everyone; who may do what is in the security descriptor.
func (i fileInfo) Mode() fs.FileMode {
	_, link := LinkTarget(i.info)
	switch {
	case link:
		return fs.ModeSymlink | 0o777
	case i.IsDir():
		return fs.ModeDir | 0o755
	case i.info.Attributes&winfile.AttrDirectory != 0:
		return fs.ModeIrregular | 0o444
	case i.info.Attributes&winfile.AttrReadOnly != 0:
		return 0o444
	}
	return 0o644
}

// dir is an open directory.
type dir struct {
	fileInfo
	list   []fs.DirEntry
	closed bool
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.fileInfo, nil }

func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errIsDir}
}

func (d *dir) Close() error {
	d.closed = true
	return nil
}

// ReadDir implements [fs.ReadDirFile].
func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.closed {
		return nil, &fs.PathError{Op: "readdir", Path: d.name, Err: fs.ErrClosed}
	}
	if n > 0 && len(d.list) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.list) {
		n = len(d.list)
	}
	list := d.list[:n:n]
	d.list = d.list[n:]
	return list, nil
}
