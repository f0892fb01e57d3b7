package mount

import (
	"iter"
	"path"
	"strings"
	"sync"
	"time"

	"husk/winfile"
	"husk/winfile/treefs"
)

// Streams is how named streams are shown.
type Streams string

const (
	StreamsXattr   Streams = "xattr"   // as extended attributes user.NAME
	StreamsWindows Streams = "windows" // as files file:NAME, which listings do not show
	StreamsNone    Streams = "none"
)

// Kind is what a node is to the host.
type Kind int

const (
	File Kind = iota
	Dir
	Link
)

// View shows a tree as a POSIX file system. It is safe for concurrent use.
type View struct {
	streams Streams
	tree    *winfile.Tree
	numbers map[*winfile.Info]uint64 // inode numbers, where the source has none
	shorts  map[*winfile.Info][]byte // ntfs_dos_name of files with several names
	totals  winfile.Totals
	live    bool // the tree changes: nothing of it is remembered

	mu   sync.Mutex
	dirs map[*winfile.Entry]map[string]*winfile.Entry // children by name, of large directories that were looked into
}

// NewView prepares a tree, which must not change while it is shown. With own set, the IDs of files are their inode numbers: they
// must be unique and not 0. Without, files are numbered in the order of the tree, the root is 1.
func NewView(t *winfile.Tree, streams Streams, own bool) *View {
	v := &View{streams: streams, tree: t, shorts: make(map[*winfile.Info][]byte), dirs: make(map[*winfile.Entry]map[string]*winfile.Entry)}
	if !own {
		v.numbers = make(map[*winfile.Info]uint64)
	}
	seen := make(map[*winfile.Info]struct{})
	for p, e := range t.All() {
		i := e.Info
		if !own {
			if _, ok := v.numbers[i]; !ok {
				v.numbers[i] = uint64(len(v.numbers)) + 1
			}
		}
		if i.IsDir() {
			v.totals.Dirs++
			continue
		}
		v.totals.Names++
		if i.Links > 1 {
			if e.ShortName != "" {
				v.shorts[i] = append(append(append(append(v.shorts[i], e.ShortName...), 0), p...), 0)
			}
			if _, ok := seen[i]; ok {
				continue
			}
			seen[i] = struct{}{}
		}
		v.totals.Files++
		for b := range i.Blobs() {
			v.totals.Bytes += b.Size
		}
	}
	return v
}

// Node is one file, directory, link or named stream of a view.
type Node struct {
	Path   string // of the name that it was found by, "." for the root
	Entry  *winfile.Entry
	Stream *winfile.Stream // a named stream of the file, or nil
	number uint64          // of the stream, from 1
}

// Root is the node of the root directory.
func (v *View) Root() Node { return Node{Path: ".", Entry: v.tree.Root} }

// Totals counts what is shown: directories, names, files and bytes.
func (v *View) Totals() winfile.Totals { return v.totals }

// indexed is the number of entries from which on a directory gets a map.
const indexed = 16

// Lookup finds a name in a directory: exactly, and then a named stream of one of its files if the view shows them so.
func (v *View) Lookup(dir Node, name string) (Node, bool) {
	if e := v.child(dir.Entry, name); e != nil {
		return Node{Path: joinPath(dir.Path, name), Entry: e}, true
	}
	at := strings.LastIndexByte(name, ':')
	if v.streams != StreamsWindows || at <= 0 {
		return Node{}, false
	}
	e := v.child(dir.Entry, name[:at])
	if e == nil {
		return Node{}, false
	}
	for k := range e.Info.Streams {
		if s := &e.Info.Streams[k]; winfile.EqualFold(s.Name, name[at+1:]) {
			return Node{Path: joinPath(dir.Path, name), Entry: e, Stream: s, number: uint64(k) + 1}, true
		}
	}
	return Node{}, false
}

// maxName is the longest name in bytes that Linux takes from FUSE. Windows has at most 255 units, which are 765 bytes.
const maxName = 1024

// showable refuses names that no host has: a listing with one of them would fail as a whole.
func showable(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxName && !strings.ContainsAny(name, "/\x00")
}

// Children are the entries of a directory that can be shown.
func (v *View) Children(dir Node) iter.Seq[Node] {
	return func(yield func(Node) bool) {
		for _, e := range dir.Entry.Children {
			if showable(e.Name) && !yield(Node{Path: joinPath(dir.Path, e.Name), Entry: e}) {
				return
			}
		}
	}
}

func (v *View) child(dir *winfile.Entry, name string) *winfile.Entry {
	if len(dir.Children) < indexed || v.live {
		for _, c := range dir.Children {
			if c.Name == name {
				return c
			}
		}
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	m := v.dirs[dir]
	if m == nil {
		m = make(map[string]*winfile.Entry, len(dir.Children))
		for _, c := range dir.Children {
			m[c.Name] = c
		}
		v.dirs[dir] = m
	}
	return m[name]
}

func joinPath(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// streamShift keeps the numbers of named streams apart from those of files.
const streamShift = 48

// Number is the inode number: that of all names of a file.
func (v *View) Number(n Node) uint64 {
	ino := n.Entry.Info.ID
	if v.numbers != nil {
		ino = v.numbers[n.Entry.Info]
	}
	return ino | n.number<<streamShift
}

// Kind tells what a node is.
func (v *View) Kind(n Node) Kind {
	i := n.Entry.Info
	switch {
	case n.Stream != nil:
		return File
	case i.Reparse != nil:
		return Link
	case i.Attributes&winfile.AttrDirectory != 0:
		return Dir
	}
	return File
}

// Blob is the content of a file or stream; nil if it is empty.
func (v *View) Blob(n Node) *winfile.Blob {
	if n.Stream != nil {
		return n.Stream.Data
	}
	return n.Entry.Info.Data
}

// Size is the length in bytes: of a link that of its target.
func (v *View) Size(n Node) int64 {
	switch v.Kind(n) {
	case Link:
		return int64(len(v.Target(n)))
	case Dir:
		return 0
	}
	if b := v.Blob(n); b != nil {
		return b.Size
	}
	return 0
}

// Times of a file; those that the source does not have are the time of writing, or the epoch.
type Times struct{ Created, Written, Accessed, Changed time.Time }

// Times returns the times of a file.
func (v *View) Times(n Node) Times {
	i := n.Entry.Info
	or := func(f winfile.Filetime, other time.Time) time.Time {
		if f == 0 {
			return other
		}
		return f.Time()
	}
	w := or(i.Written, time.Unix(0, 0))
	return Times{Created: or(i.Created, w), Written: w, Accessed: or(i.Accessed, w), Changed: or(i.Changed, w)}
}

// Unix is the owner and mode that the source has for a file, nil if none.
func (v *View) Unix(n Node) *winfile.Unix {
	if x := n.Entry.Info.Extra; x != nil {
		return x.Unix
	}
	return nil
}

// Target is where a link leads, relative to its directory.
func (v *View) Target(n Node) string {
	t, ok := treefs.LinkTarget(n.Entry.Info)
	if !ok || t.Absolute && !strings.HasPrefix(t.Path, "/") || strings.ContainsRune(t.Path, 0) { // \\?\Volume{…}: another volume
		return unsupportedLink(n.Entry.Info)
	}
	from := path.Dir("/" + n.Path)
	to := path.Join("/", t.Path)
	if !t.Absolute {
		to = path.Join("/", from, t.Path)
	}
	return relative(from, v.realCase(to))
}

// unsupportedLink is the text of a link that leads nowhere; the form is that of ntfs-3g.
func unsupportedLink(i *winfile.Info) string {
	const digits = "0123456789abcdef"
	b := []byte("unsupported reparse tag 0x00000000")
	for k, tag := len(b)-1, i.Reparse.Tag; tag != 0; k, tag = k-1, tag>>4 {
		b[k] = digits[tag&15]
	}
	return string(b)
}

// realCase spells a path as the tree has it, as far as it goes: Windows ignores case and takes short names, the host does not.
func (v *View) realCase(p string) string {
	e, out := v.tree.Root, ""
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if e != nil {
			if c := v.child(e, part); c != nil {
				e = c
			} else {
				e = e.Child(part)
			}
		}
		if e != nil && part != "" {
			part = e.Name
		}
		out += "/" + part
	}
	return path.Clean(out)
}

// relative is the way from one absolute path to another.
func relative(from, to string) string {
	a, b := parts(from), parts(to)
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	way := strings.Repeat("../", len(a)) + strings.Join(b, "/")
	if way = strings.TrimSuffix(way, "/"); way == "" {
		return "."
	}
	return way
}

func parts(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}
