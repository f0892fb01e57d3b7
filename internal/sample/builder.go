package sample

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"husk/winfile"
)

// epoch is 2011-04-12 00:00 UTC, the time of the newest file; nothing is older than 400 days before it.
const epoch = winfile.Filetime(129470400000000000)

// builder makes a tree from paths with slashes. A path that is given twice, or whose parent is a file, is a mistake in this
// package and panics.
type builder struct {
	root  *winfile.Entry
	byKey map[string]*winfile.Entry // by upper-cased path
	sds   map[string][]byte         // equal descriptors share memory
	blobs map[winfile.SHA1]*winfile.Blob
}

func newBuilder() *builder {
	b := &builder{byKey: make(map[string]*winfile.Entry), sds: make(map[string][]byte), blobs: make(map[winfile.SHA1]*winfile.Blob)}
	b.root = &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory | winfile.AttrHidden | winfile.AttrSystem}}
	b.byKey[""] = b.root
	b.secure(b.root.Info, sdRoot)
	return b
}

func (b *builder) secure(i *winfile.Info, sd []byte) {
	shared, ok := b.sds[string(sd)]
	if !ok {
		shared = sd
		b.sds[string(sd)] = sd
	}
	i.Security = shared
}

// dir returns the directory at path, made with its parents where there is none yet. A new one inherits the descriptor of its
// parent.
func (b *builder) dir(path string) *winfile.Entry {
	if e := b.byKey[winfile.Fold(path)]; e != nil {
		if !e.Info.IsDir() {
			panic("sample: internal error: " + path + " is not a directory")
		}
		return e
	}
	parent, _ := b.parent(path)
	return b.add(path, &winfile.Info{Attributes: winfile.AttrDirectory, Security: parent.Info.Security})
}

func (b *builder) parent(path string) (dir *winfile.Entry, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return b.root, path
	}
	return b.dir(path[:i]), path[i+1:]
}

func (b *builder) add(path string, info *winfile.Info) *winfile.Entry {
	key := winfile.Fold(path)
	if b.byKey[key] != nil {
		panic("sample: internal error: " + path + " is there already")
	}
	parent, name := b.parent(path)
	e := &winfile.Entry{Name: name, Info: info}
	info.Links++
	parent.Children = append(parent.Children, e)
	b.byKey[key] = e
	return e
}

// file adds a file with the descriptor of its directory.
func (b *builder) file(path string, data *winfile.Blob) *winfile.Info {
	parent, _ := b.parent(path)
	info := &winfile.Info{Attributes: winfile.AttrArchive, Data: data, Security: parent.Info.Security}
	b.add(path, info)
	return info
}

// bytes adds a file of known content. Equal contents share a blob.
func (b *builder) bytes(path string, data []byte) *winfile.Info { return b.file(path, b.blob(data)) }

func (b *builder) text(path, s string) *winfile.Info { return b.bytes(path, []byte(s)) }

// utf16 adds a text file as Windows' own tools write it: UTF-16LE with a byte order mark.
func (b *builder) utf16(path, s string) *winfile.Info {
	return b.bytes(path, winfile.AppendUTF16LE([]byte{0xff, 0xfe}, s))
}

func (b *builder) blob(data []byte) *winfile.Blob {
	blob := winfile.NewBlob(data)
	if blob == nil {
		return nil
	}
	if old := b.blobs[blob.SHA1]; old != nil {
		return old
	}
	b.blobs[blob.SHA1] = blob
	return blob
}

// link gives an existing file another name.
func (b *builder) link(existing, path string) {
	e := b.byKey[winfile.Fold(existing)]
	if e == nil || e.Info.Attributes&winfile.AttrDirectory != 0 {
		panic("sample: internal error: no file " + existing)
	}
	b.add(path, e.Info)
}

const linkAttributes = winfile.AttrReparse | winfile.AttrHidden | winfile.AttrSystem | winfile.AttrNotIndexed

// junction adds a directory junction to an absolute path with a drive letter.
func (b *builder) junction(path, target string) {
	info := &winfile.Info{
		Attributes: winfile.AttrDirectory | linkAttributes,
		Reparse:    &winfile.Reparse{Tag: winfile.TagMountPoint, Data: linkTarget(nil, `\??\`+target, target)},
	}
	b.secure(info, sdJunction)
	b.add(path, info)
}

// symlink adds a symbolic link to a directory (absolute, with a drive letter) or to a file (relative).
func (b *builder) symlink(path, target string, dir bool) {
	parent, _ := b.parent(path)
	info := &winfile.Info{Attributes: winfile.AttrReparse | winfile.AttrArchive, Security: parent.Info.Security}
	flags, substitute := uint32(1), target // SYMLINK_FLAG_RELATIVE
	if dir {
		info.Attributes = winfile.AttrDirectory | linkAttributes
		flags, substitute = 0, `\??\`+target
	}
	extra := binary.LittleEndian.AppendUint32(nil, flags)
	info.Reparse = &winfile.Reparse{Tag: winfile.TagSymlink, Data: linkTarget(extra, substitute, target)}
	b.add(path, info)
}

// linkTarget returns the data of a mount point (extra is empty) or symbolic link (extra holds its flags): offset and length in
// bytes of the substitute and print name, extra, the names with terminators. [MS-FSCC] 2.1.2.4, 2.1.2.5.
func linkTarget(extra []byte, substitute, printed string) []byte {
	s, p := winfile.AppendUTF16LE(nil, substitute), winfile.AppendUTF16LE(nil, printed)
	var d []byte
	for _, n := range []int{0, len(s), len(s) + 2, len(p)} {
		d = binary.LittleEndian.AppendUint16(d, uint16(n))
	}
	d = append(append(d, extra...), s...)
	d = append(append(d, 0, 0), p...)
	return append(d, 0, 0)
}

// finish gives times, numbers and short names, and sorts each directory as NTFS does.
func (b *builder) finish() *winfile.Tree {
	t := &winfile.Tree{Root: b.root}
	id := uint64(0)
	b.root.Info.Links = 1
	shortened := make(map[*winfile.Info]bool)
	for path, e := range t.All() {
		slices.SortFunc(e.Children, func(x, y *winfile.Entry) int {
			return winfile.CompareFold(winfile.UTF16FromName(x.Name), winfile.UTF16FromName(y.Name))
		})
		shorten(e.Children, shortened)
		if e.Info.ID != 0 {
			continue
		}
		id++
		e.Info.ID = id
		stamp(e.Info, path)
	}
	return t
}

// stamp sets times that a file has not: created, then written, then read, at 100 ns steps.
func stamp(i *winfile.Info, path string) {
	if i.Written != 0 {
		return
	}
	const day = 24 * 3600 * 10_000_000
	h := seed("times", path)
	back := winfile.Filetime(binary.LittleEndian.Uint64(h[:]) % (200 * day))
	i.Written = epoch - back
	i.Created = i.Written - winfile.Filetime(binary.LittleEndian.Uint64(h[8:])%(200*day))
	i.Accessed = i.Written + winfile.Filetime(binary.LittleEndian.Uint64(h[16:]))%(back+1)
	i.Changed = i.Written
}

// shorten gives 8.3 names as NTFS does to names that need one: ABCDEF~1.EXT, from the fifth on ABxxxx~1.EXT. A hard-linked file
// keeps its one short name with its first name; names outside ASCII get none, as on a volume that learned them from Linux.
func shorten(children []*winfile.Entry, done map[*winfile.Info]bool) {
	used := make(map[string]bool, len(children))
	for _, e := range children {
		used[winfile.Fold(e.Name)] = true
	}
	for _, e := range children {
		if is83(e.Name) || !isASCII(e.Name) || done[e.Info] || e.Info.Attributes&winfile.AttrReparse != 0 {
			continue
		}
		base, ext := shortParts(e.Name)
		for n := 1; ; n++ {
			head, tail := base, n
			if n > 4 {
				h := seed("short", e.Name)
				head, tail = fmt.Sprintf("%.2s%02X%02X", base, h[0], h[1]), n-4
			}
			short := fmt.Sprintf("%.*s~%d%s", 8-1-len(fmt.Sprint(tail)), head, tail, ext)
			if !used[short] {
				used[short], done[e.Info] = true, true
				e.ShortName = short
				break
			}
		}
	}
}

func isASCII(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) }

// is83 reports whether a name is a valid DOS name itself, in any case.
func is83(name string) bool {
	base, ext, dotted := strings.Cut(name, ".")
	return base != "" && len(base) <= 8 && len(ext) <= 3 && !(dotted && ext == "") && isASCII(name) && !strings.ContainsAny(name, " +,;=[]") &&
		strings.Count(name, ".") <= 1
}

// shortParts returns up to six characters of the base and up to three of the extension with its dot, in upper case.
func shortParts(name string) (base, ext string) {
	clean := func(s string, n int) string {
		var b strings.Builder
		for _, r := range strings.ToUpper(s) {
			switch {
			case r == ' ' || r == '.':
			case strings.ContainsRune("+,;=[]", r):
				b.WriteByte('_')
			default:
				b.WriteRune(r)
			}
			if b.Len() == n {
				break
			}
		}
		return b.String()
	}
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		if ext = clean(name[i+1:], 3); ext != "" {
			ext = "." + ext
		}
		name = name[:i]
	}
	return clean(name, 6), ext
}
