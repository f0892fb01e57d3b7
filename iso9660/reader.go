package iso9660

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"husk/internal/extents"
	"husk/internal/ondisk"
	"husk/winfile"
)

// A FormatError reports bytes that break the ISO 9660 format.
type FormatError struct {
	What string // structure being read: "volume descriptor", "directory /SOURCES"
	Off  int64  // byte offset in the image
	Err  error  // found and expected, or the read error
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("iso9660: %s at %#x: %v", e.What, e.Off, e.Err)
}
func (e *FormatError) Unwrap() error { return e.Err }

func formatError(what string, off int64, format string, args ...any) error {
	return &FormatError{what, off, fmt.Errorf(format, args...)}
}

// Volume is an ISO 9660 volume.
type Volume struct {
	Label     string
	Joliet    bool // the tree has the names of Joliet
	BlockSize int  // bytes

	content  extents.Content
	r        io.ReaderAt
	size     int64
	root     record
	rootOff  int64 // byte offset of its record
	warnings []string
}

// Is reports whether an image begins as one of ISO 9660.
func Is(r io.ReaderAt) bool {
	var b [6]byte
	n, _ := r.ReadAt(b[:], firstDescriptor*sectorSize)
	return n == len(b) && string(b[1:]) == "CD001"
}

// NewReader reads the volume descriptors of an image of size bytes. What breaks the format is a *[FormatError]; what husk cannot read
// wraps errors.ErrUnsupported. r is used for as long as the volume and its tree are.
func NewReader(r io.ReaderAt, size int64) (*Volume, error) {
	v := &Volume{r: r, size: size, content: extents.Content{R: r}}
	var chosen []byte
	for i := range int64(mostDescriptors) {
		off := (firstDescriptor + i) * sectorSize
		d, err := ondisk.ReadAt(r, off, sectorSize, sectorSize)
		if err != nil {
			return nil, &FormatError{"volume descriptor", off, err}
		}
		if string(d[1:6]) != "CD001" {
			if chosen != nil { // images without an end are known
				break
			}
			return nil, formatError("volume descriptor", off+1, "identifier %q, want \"CD001\"", d[1:6])
		}
		if d[0] == typePrimary && chosen == nil || d[0] == typeSupplementary && !v.Joliet && isJoliet(d) {
			chosen, v.Joliet, v.rootOff = d, d[0] == typeSupplementary, off+rootAt
		}
		if d[0] == typeEnd {
			break
		}
	}
	if chosen == nil {
		return nil, formatError("volume descriptor", firstDescriptor*sectorSize, "no primary one among %d, want one", mostDescriptors)
	}
	v.Label = strings.TrimRight(text(chosen[labelAt:labelAt+32], v.Joliet), " \x00")
	v.BlockSize = int(le.Uint16(chosen[blockSizeAt:]))
	if n := v.BlockSize; n < 512 || n > sectorSize || n&(n-1) != 0 {
		return nil, formatError("volume descriptor", v.rootOff-rootAt+blockSizeAt, "block size %d, want 512, 1024 or 2048", n)
	}
	v.root = record(chosen[rootAt : rootAt+recordSize+1])
	if v.root.flags()&flagDirectory == 0 {
		return nil, formatError("root directory record", v.rootOff+25, "flags %#x, want those of a directory", v.root.flags())
	}
	return v, nil
}

// Warnings tells of what is odd and was read all the same.
func (v *Volume) Warnings() []string { return v.warnings }

const mostWarnings = 20

func (v *Volume) warn(format string, args ...any) {
	if len(v.warnings) < mostWarnings {
		v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
	}
}

// extent is where the content of a record is.
func (v *Volume) extent(what string, r record, off int64) (extents.Extent, error) {
	x := extents.Extent{Off: r.start() * int64(v.BlockSize), Len: r.size()}
	if x.Len > 0 && !ondisk.Range(x.Off, x.Len, v.size) {
		return x, formatError(what, off+2, "%d bytes from block %d on, want them in the %d bytes of the image: it may be cut short", x.Len, r.start(), v.size)
	}
	if r.unit() != 0 || r.gap() != 0 {
		return x, formatError(what, off+26, "interleaved file: %w", errors.ErrUnsupported)
	}
	return x, nil
}

// walk makes the tree of a volume.
type walk struct {
	*Volume
	seen   map[int64]bool // blocks of directories
	queue  []pending
	budget int64 // bytes of directories that may still be read
}

// pending is a directory whose records are to be read.
type pending struct {
	entry *winfile.Entry
	rec   record
	off   int64 // byte offset of rec
	path  string
	depth int
}

// file is one whose records are being read.
type file struct {
	name    string
	extents []extents.Extent
	size    int64
}

// Tree reads all directories. A second call reads anew. Errors are as those of [NewReader].
func (v *Volume) Tree() (*winfile.Tree, error) {
	// No two directories of a true volume share a block, so together they are smaller than the image.
	w := &walk{Volume: v, seen: make(map[int64]bool), budget: v.size}
	t := &winfile.Tree{Root: &winfile.Entry{Info: v.info(v.root)}}
	w.queue = []pending{{t.Root, v.root, v.rootOff, "", 0}}
	for len(w.queue) > 0 {
		p := w.queue[0]
		w.queue = w.queue[1:]
		if err := w.directory(p); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (v *Volume) info(r record) *winfile.Info {
	i := &winfile.Info{Created: r.time(), Written: r.time(), Links: 1, ID: uint64(r.start())}
	if r.flags()&flagDirectory != 0 {
		i.Attributes |= winfile.AttrDirectory
	}
	if r.flags()&flagHidden != 0 {
		i.Attributes |= winfile.AttrHidden
	}
	return i
}

// directory reads the records of a directory.
func (w *walk) directory(p pending) error {
	what := "directory /" + p.path
	x, err := w.extent(what, p.rec, p.off)
	if err != nil {
		return err
	}
	if w.seen[x.Off] {
		return formatError(what, p.off+2, "block %d is of another directory, want one of its own", p.rec.start())
	}
	w.seen[x.Off] = true
	if w.budget -= x.Len; w.budget < 0 {
		return formatError(what, p.off+10, "directories that overlap: together they are larger than the image of %d bytes", w.size)
	}
	data, err := ondisk.ReadAt(w.r, x.Off, x.Len, maxDirectory)
	if err != nil {
		return &FormatError{what, x.Off, err}
	}
	var f *file // one with more records to come
	for at := 0; at < len(data); {
		off := x.Off + int64(at)
		n := int(data[at])
		if n == 0 { // the rest of the sector has no records
			at = (at/sectorSize + 1) * sectorSize
			continue
		}
		if n < recordSize+1 || n > len(data)-at || recordSize+int(data[at+32]) > n {
			return formatError(what, off, "record of %d bytes, want at least %d and its name, and no more than the %d that are left", n, recordSize+1, len(data)-at)
		}
		if f, err = w.record(p, f, record(data[at:at+n]), off); err != nil {
			return err
		}
		at += n
	}
	if f != nil {
		return formatError(what, x.Off, "%s has no last record", f.name)
	}
	return nil
}

// record takes one record of a directory. more is the file that the record before it began; it returns that which this one leaves open.
func (w *walk) record(p pending, more *file, r record, off int64) (*file, error) {
	raw := r.name()
	if len(raw) == 0 || len(raw) == 1 && raw[0] <= 1 || r.flags()&flagAssociated != 0 { // the directory and its parent
		return more, nil
	}
	name := fileName(text(raw, w.Joliet), w.Joliet)
	path := strings.TrimPrefix(p.path+"/"+name, "/")
	what := "record of " + path
	if more != nil && (more.name != name || r.flags()&flagDirectory != 0) {
		return nil, formatError(what, off, "another file or directory, want more of %s", more.name)
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
		w.warn("/%s: a file with the name %q is left out", p.path, name)
		return nil, nil
	}
	if r.flags()&flagDirectory != 0 {
		if p.depth >= maxDepth {
			return nil, formatError(what, off, "more than %d directories above it", maxDepth)
		}
		e := &winfile.Entry{Name: name, Info: w.info(r)}
		p.entry.Children = append(p.entry.Children, e)
		w.queue = append(w.queue, pending{e, r, off, path, p.depth + 1})
		return nil, nil
	}
	x, err := w.extent(what, r, off)
	if err != nil {
		return nil, err
	}
	if more == nil {
		more = &file{name: name}
	}
	if x.Len > 0 {
		more.extents, more.size = append(more.extents, x), more.size+x.Len
	}
	if r.flags()&flagMore != 0 {
		return more, nil
	}
	e := &winfile.Entry{Name: name, Info: w.info(r)}
	e.Info.Data = w.content.NewBlob(more.extents, more.size)
	p.entry.Children = append(p.entry.Children, e)
	return nil, nil
}
