package winfile

import (
	"iter"
	"strings"
)

// Tree is one directory tree with all the metadata that NTFS and WIM keep.
type Tree struct {
	Root *Entry // its name is empty and its info a directory
}

// Entry is one name in a directory.
type Entry struct {
	Name      string   // WTF-8; empty for the root only
	ShortName string   // 8.3 name that goes with Name; usually empty
	Info      *Info    // shared by all hard links of the file
	Children  []*Entry // of a directory, in the source's order; nil for files, junctions and links to directories
}

// Info is one file or directory, whatever the number of its names.
type Info struct {
	Attributes Attributes // as stored; AttrDirectory is always set for directories
	Created    Filetime
	Written    Filetime
	Accessed   Filetime
	Changed    Filetime // NTFS record change time; 0 where the source has none (WIM)
	Links      int32    // names in the tree that share this info, 1 if not hard linked; kept by whoever makes the tree
	ID         uint64   // the source's own number for the file (MFT record, inode); only for messages and ordering
	Security   []byte   // self-relative SECURITY_DESCRIPTOR; nil if there is none. Equal ones share memory: read only
	Reparse    *Reparse // set if and only if AttrReparse is
	Data       *Blob    // unnamed data stream; nil if empty, for directories and for encrypted files
	Streams    []Stream // named data streams in the source's order
	Extra      *Extra   // what few files have; may be nil
}

// Stream is a named data stream. A nil blob is an empty stream.
type Stream struct {
	Name string // bare, without ":" and ":$DATA"
	Data *Blob
}

// Extra is metadata that few files have.
type Extra struct {
	ObjectID []byte       // 16 bytes object GUID, or 64 with birth volume, birth object and domain
	EAs      []EA         // extended attributes
	EFS      *Blob        // raw export of an encrypted file; then Info.Data and Info.Streams are empty
	Unix     *Unix        // owner and mode of files captured with --unix-data
	Items    []TaggedItem // WIM tagged items of other kinds, verbatim
	Unknown  uint32       // WIM directory entry field at 0x54, kept when copying
}

// EA is one extended attribute as [MS-FSCC] 2.4.15 has it.
type EA struct {
	Flags byte // 0x80 FILE_NEED_EA
	Name  string
	Value []byte
}

// Unix is the UNIX data of a file in a WIM.
type Unix struct{ UID, GID, Mode, Rdev uint32 }

// TaggedItem is a WIM directory entry item that husk does not interpret.
type TaggedItem struct {
	Tag  uint32
	Data []byte
}

// IsDir reports whether the file is a directory that can have children: not a junction or another one that stands for something else.
func (i *Info) IsDir() bool {
	return i.Attributes&AttrDirectory != 0 && (i.Attributes&AttrReparse == 0 || i.Reparse != nil && !i.Reparse.Surrogate())
}

// Size is the length of the unnamed data in bytes.
func (i *Info) Size() int64 {
	if i.Data == nil {
		return 0
	}
	return i.Data.Size
}

// Blobs yields the contents of the file: unnamed data, named streams, EFS export.
func (i *Info) Blobs() iter.Seq[*Blob] {
	return func(yield func(*Blob) bool) {
		if i.Data != nil && !yield(i.Data) {
			return
		}
		for _, s := range i.Streams {
			if s.Data != nil && !yield(s.Data) {
				return
			}
		}
		if i.Extra != nil && i.Extra.EFS != nil {
			yield(i.Extra.EFS)
		}
	}
}

// All yields every entry with its slash-separated path, parents before children, in the order of Children. The root comes
// first, with path ".". Depth is bounded by memory, not by the stack.
func (t *Tree) All() iter.Seq2[string, *Entry] {
	return func(yield func(string, *Entry) bool) {
		type level struct {
			path string
			rest []*Entry
		}
		if !yield(".", t.Root) {
			return
		}
		stack := []level{{"", t.Root.Children}}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.rest) == 0 {
				stack = stack[:len(stack)-1]
				continue
			}
			e := top.rest[0]
			top.rest = top.rest[1:]
			path := top.path + e.Name
			if !yield(path, e) {
				return
			}
			if len(e.Children) > 0 {
				stack = append(stack, level{path + "/", e.Children})
			}
		}
	}
}

// Lookup finds a path in the tree. Either slash separates; a leading one, and "." or "", mean the root. Each component
// matches exactly if it can, else ignoring case, else as a short name.
func (t *Tree) Lookup(path string) *Entry {
	e := t.Root
	for part := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == "." {
			continue
		}
		if e = e.Child(part); e == nil {
			return nil
		}
	}
	return e
}

// Child finds a name among the children: exactly, else ignoring case, else as a short name.
func (e *Entry) Child(name string) *Entry {
	var folded, short *Entry
	for _, c := range e.Children {
		switch {
		case c.Name == name:
			return c
		case folded == nil && EqualFold(c.Name, name):
			folded = c
		case short == nil && c.ShortName != "" && EqualFold(c.ShortName, name):
			short = c
		}
	}
	if folded != nil {
		return folded
	}
	return short
}

// Totals counts a tree.
type Totals struct {
	Dirs    int   // directories, the root included
	Names   int   // names that are not directories, every hard link counted
	Files   int   // files behind them
	Bytes   int64 // of all streams, each file once
	Streams int   // named streams
}

// Totals walks the tree once.
func (t *Tree) Totals() Totals {
	var n Totals
	seen := make(map[*Info]struct{})
	for _, e := range t.All() {
		if e.Info.IsDir() {
			n.Dirs++
		} else {
			n.Names++
			if e.Info.Links > 1 {
				if _, ok := seen[e.Info]; ok {
					continue
				}
				seen[e.Info] = struct{}{}
			}
			n.Files++
		}
		n.Streams += len(e.Info.Streams)
		for b := range e.Info.Blobs() {
			n.Bytes += b.Size
		}
	}
	return n
}
