package udf

import (
	"errors"
	"fmt"
	"strings"

	"husk/internal/extents"
	"husk/internal/ondisk"
	"husk/winfile"
)

// walk makes the tree of a volume.
type walk struct {
	*Volume
	infos  map[address]*winfile.Info // files and directories that were read
	queue  []pending
	budget int64 // bytes of directories and descriptors of extents that may still be read
}

// pending is a directory whose entries are to be read.
type pending struct {
	entry *winfile.Entry
	at    *node
	path  string
	depth int
}

// node is a file entry that was read.
type node struct {
	fileEntry
	what string // as errors call it
	off  int64  // byte offset in the image
	at   address
}

// Tree reads all directories. A second call reads anew. Errors are as those of [NewReader].
func (v *Volume) Tree() (*winfile.Tree, error) {
	// No two directories of a true volume share a block, so together they are smaller than the image.
	w := &walk{Volume: v, infos: make(map[address]*winfile.Info), budget: v.size}
	n, err := w.readEntry("", v.root.at)
	if err != nil {
		return nil, err
	}
	if n.fileType() != typeDirectory {
		return nil, formatError(n.what, n.off+27, "file type %d, want a directory, %d", n.fileType(), typeDirectory)
	}
	info, err := w.info(n)
	if err != nil {
		return nil, err
	}
	t := &winfile.Tree{Root: &winfile.Entry{Info: info}}
	w.queue = []pending{{t.Root, n, "", 0}}
	for len(w.queue) > 0 {
		p := w.queue[0]
		w.queue = w.queue[1:]
		if err := w.directory(p); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// take counts bytes that were read for the tree.
func (w *walk) take(n int64) error {
	if w.budget -= n; w.budget < 0 {
		return fmt.Errorf("directories and descriptors of extents that overlap: together they are larger than the image of %d bytes", w.size)
	}
	return nil
}

// readEntry reads the file entry of a path.
func (w *walk) readEntry(path string, at address) (*node, error) {
	if path == "" {
		path = "the root directory"
	}
	n := &node{what: "file entry of " + path, at: at}
	b, off, err := w.readBlock(n.what, at, tagFileEntry, tagExtFileEntry)
	if err != nil {
		return nil, err
	}
	n.raw, n.off, n.extended = b, off, le.Uint16(b) == tagExtFileEntry
	room := int64(len(b) - n.fixed())
	switch {
	case n.strategy() != strategyDirect:
		return nil, formatError(n.what, off+20, "strategy %d: %w", n.strategy(), errors.ErrUnsupported)
	case n.attributeLen() > room:
		return nil, formatError(n.what, off+int64(n.fixed())-8, "extended attributes of %d bytes, want at most %d", n.attributeLen(), room)
	case n.allocLen() > room-n.attributeLen():
		return nil, formatError(n.what, off+int64(n.fixed())-4, "allocation descriptors of %d bytes, want at most %d", n.allocLen(), room-n.attributeLen())
	case n.size() >= 1<<62:
		return nil, formatError(n.what, off+56, "file of %d bytes, want less", n.size())
	}
	return n, nil
}

// info makes the info of a file entry, and for files finds their content.
func (w *walk) info(n *node) (*winfile.Info, error) {
	i := &winfile.Info{
		Created: filetime(n.created()), Written: filetime(n.written()), Accessed: filetime(n.accessed()), Changed: filetime(n.changed()),
		Links: 1, ID: n.uniqueID(),
	}
	if i.Created == 0 {
		i.Created = i.Written
	}
	if n.hasStreams() {
		w.warn("%s: its named streams are not read", n.what)
	}
	if n.fileType() == typeDirectory {
		i.Attributes = winfile.AttrDirectory
	} else {
		list, err := w.extents(n)
		if err != nil {
			return nil, err
		}
		i.Data = w.content.NewBlob(list, int64(n.size()))
	}
	w.infos[n.at] = i
	return i, nil
}

// extents lists where the content of a file is: at least as many bytes as it has.
func (w *walk) extents(n *node) ([]extents.Extent, error) {
	size := int64(n.size())
	if size == 0 {
		return nil, nil
	}
	if n.form() == formEmbedded {
		if size > n.allocLen() {
			return nil, formatError(n.what, n.off+56, "file of %d bytes, want at most the %d that are in its entry", size, n.allocLen())
		}
		return []extents.Extent{{Off: n.off + int64(n.fixed()) + n.attributeLen(), Len: size}}, nil
	}
	if n.form() != formShort && n.form() != formLong {
		return nil, formatError(n.what, n.off+34, "allocation descriptors of form %d: %w", n.form(), errors.ErrUnsupported)
	}
	var list []extents.Extent
	table, where := n.allocation(), n.off+int64(n.fixed())+n.attributeLen()
	for at := int64(0); size > 0; {
		e, ok := nextExtent(table, at, n)
		if !ok {
			return nil, formatError(n.what, n.off+56, "file of %d bytes, want at most the %d of its extents", n.size(), int64(n.size())-size)
		}
		if e.kind == extentDescriptors {
			var err error
			if table, where, err = w.moreExtents(n, e, where+at); err != nil {
				return nil, err
			}
			at = 0
			continue
		}
		x := extents.Extent{Off: extents.Hole, Len: min(int64(e.len), size)}
		if e.kind == extentRecorded {
			var err error
			if x.Off, err = w.place(e.at, x.Len); err != nil {
				return nil, &FormatError{"extent of " + strings.TrimPrefix(n.what, "file entry of "), where + at, err}
			}
		}
		if size -= x.Len; size > 0 && x.Len%w.sector != 0 { // ECMA-167 4/12.1
			return nil, formatError(n.what, where+at, "extent of %d bytes before others, want whole blocks of %d", x.Len, w.sector)
		}
		list = append(list, x)
		at += n.extentSize()
	}
	return list, nil
}

func (e *fileEntry) extentSize() int64 {
	if e.form() == formShort {
		return shortSize
	}
	return longSize
}

// nextExtent decodes the descriptor at an offset of a table; none is left at its end or at an extent of no length.
func nextExtent(table []byte, at int64, n *node) (extent, bool) {
	if int64(len(table))-at < n.extentSize() {
		return extent{}, false
	}
	e := getLong
	if n.form() == formShort {
		e = func(b []byte) extent { return getShort(b, n.at.partition) }
	}
	x := e(table[at:])
	return x, x.len > 0
}

// moreExtents reads an allocation extent descriptor, ECMA-167 4/14.5: 24 bytes, then descriptors. where is that of the one that names it.
func (w *walk) moreExtents(n *node, e extent, where int64) (table []byte, off int64, err error) {
	const size = 24
	what := "allocation extent of " + strings.TrimPrefix(n.what, "file entry of ")
	if err := w.take(w.sector); err != nil {
		return nil, 0, &FormatError{what, where, err}
	}
	b, off, err := w.readBlock(what, e.at, tagAllocation)
	if err != nil {
		return nil, 0, err
	}
	if length := int64(le.Uint32(b[20:])); length <= int64(len(b))-size {
		return b[size : size+length], off + size, nil
	}
	return nil, 0, formatError(what, off+20, "allocation descriptors of %d bytes, want at most %d", le.Uint32(b[20:]), len(b)-size)
}

// directory reads the entries of a directory.
func (w *walk) directory(p pending) error {
	what := "directory /" + p.path
	if err := w.take(int64(p.at.size())); err != nil {
		return &FormatError{what, p.at.off + 56, err}
	}
	list, err := w.extents(p.at)
	if err != nil {
		return err
	}
	var data []byte
	var marks []mark
	for _, x := range list {
		if x.Off == extents.Hole {
			return formatError(what, p.at.off, "an extent that is not recorded, want all of it")
		}
		part, err := ondisk.ReadAt(w.r, x.Off, x.Len, maxDirectory-int64(len(data)))
		if err != nil {
			return &FormatError{what, x.Off, err}
		}
		marks = append(marks, mark{len(data), x.Off})
		data = append(data, part...)
	}
	for at := 0; at < len(data); {
		off := offsetOf(marks, at)
		n, err := w.entry(p, data[at:], off)
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}

// mark says from where in the image a part of a directory is.
type mark struct {
	at  int
	off int64
}

func offsetOf(marks []mark, at int) int64 {
	i := len(marks) - 1
	for i > 0 && marks[i].at > at {
		i--
	}
	return marks[i].off + int64(at-marks[i].at)
}

// entry takes the file identifier at the start of b and returns its size. Directories have them read later.
func (w *walk) entry(p pending, b []byte, off int64) (int, error) {
	what := fmt.Sprintf("file identifier in /%s", p.path)
	if len(b) < fileIDSize {
		return 0, formatError(what, off, "%d bytes are left, want at least %d", len(b), fileIDSize)
	}
	nameLen, useLen := int(b[19]), int(le.Uint16(b[36:]))
	size := (fileIDSize + useLen + nameLen + 3) &^ 3
	if size > len(b) {
		return 0, formatError(what, off+19, "%d bytes, want at most the %d that are left", size, len(b))
	}
	// The location is not compared: writers disagree on which block it names if the identifier crosses two.
	if _, where, err := checkTag(b[:size], tagFileID); err != nil {
		return 0, &FormatError{what, off + where, err}
	}
	chars := b[18]
	if chars&(charDeleted|charParent|charMetadata) != 0 {
		return size, nil
	}
	name, err := unicode(b[fileIDSize+useLen : fileIDSize+useLen+nameLen])
	if err != nil {
		return 0, &FormatError{what, off + int64(fileIDSize+useLen), err}
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
		w.warn("/%s: a file with the name %q is left out", p.path, name)
		return size, nil
	}
	path := strings.TrimPrefix(p.path+"/"+name, "/")
	e := &winfile.Entry{Name: name}
	if err := w.link(e, p, path, getLong(b[20:]), chars, off); err != nil {
		return 0, err
	}
	if e.Info != nil {
		p.entry.Children = append(p.entry.Children, e)
	}
	return size, nil
}

// link finds the file of an entry: one that has another name already, or a new one. Of what is neither file nor directory it has none.
func (w *walk) link(e *winfile.Entry, p pending, path string, icb extent, chars byte, off int64) error {
	what := "file identifier of " + path
	if icb.kind != extentRecorded || icb.len == 0 {
		return formatError(what, off+20, "no file entry, want one")
	}
	if known := w.infos[icb.at]; known != nil {
		if known.IsDir() {
			return formatError(what, off+20, "block %d is of a directory with another name, want one of its own", icb.at.block)
		}
		known.Links++
		e.Info = known
		return nil
	}
	n, err := w.readEntry(path, icb.at)
	if err != nil {
		return err
	}
	isDir := n.fileType() == typeDirectory
	switch {
	case isDir != (chars&charDirectory != 0):
		return formatError(n.what, n.off+27, "file type %d, want that of the name: directory bit %t", n.fileType(), !isDir)
	case isDir && p.depth >= maxDepth:
		return formatError(n.what, n.off, "more than %d directories above it", maxDepth)
	case !isDir && n.fileType() != typeRegular && n.fileType() != 0 && n.fileType() != typeRealTime:
		w.warn("/%s: a file of type %d is left out", path, n.fileType())
		return nil
	}
	if e.Info, err = w.info(n); err != nil {
		return err
	}
	if chars&charHidden != 0 {
		e.Info.Attributes |= winfile.AttrHidden
	}
	if isDir {
		w.queue = append(w.queue, pending{e, n, path, p.depth + 1})
	}
	return nil
}
