package ntfs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"husk/winfile"
)

// compactStream is the named stream that holds the compressed data of a file of WOF's file provider.
const compactStream = "WofCompressedData"

// Providers in the data of a WOF reparse point.
const (
	wofWIM  = 1
	wofFile = 2
)

// wofProvider is the provider that a REPARSE_DATA_BUFFER names, 0 if it is not one of WOF.
func wofProvider(b []byte) uint32 {
	if len(b) < 16 || le.Uint32(b) != winfile.TagWOF {
		return 0
	}
	return le.Uint32(b[12:])
}

// SetPointer makes a file with data a pointer into a WIM: it gets this REPARSE_DATA_BUFFER, and its data becomes a hole of the
// same size. Named streams, names and times stay. A file that is a pointer or compact already gets the new buffer.
func (e *Editor) SetPointer(path string, reparse []byte) error {
	return e.do("pointer", path, func() error {
		if wofProvider(reparse) != wofWIM {
			return fmt.Errorf("the reparse data is not that of a pointer into a WIM")
		}
		return e.setWOF(path, reparse, nil)
	})
}

// SetCompact makes a file with data a compact one of WOF's file provider: it gets this REPARSE_DATA_BUFFER and the stream
// WofCompressedData, and its data becomes a hole of the same size.
func (e *Editor) SetCompact(path string, reparse []byte, stream *winfile.Blob) error {
	return e.do("compact", path, func() error {
		if wofProvider(reparse) != wofFile {
			return fmt.Errorf("the reparse data is not that of a compact file")
		}
		if stream == nil {
			return fmt.Errorf("no compressed data")
		}
		return e.setWOF(path, reparse, stream)
	})
}

// SetPlain gives a pointer or compact file its data back. It is [Editor.Replace] that refuses other files and leaves the time of
// the last write.
func (e *Editor) SetPlain(path string, content *winfile.Blob) error {
	return e.do("plain", path, func() error {
		f, err := e.target(path)
		if err != nil {
			return err
		}
		b, err := e.reparseOf(f)
		if err != nil {
			return err
		}
		if wofProvider(b) == 0 {
			return fmt.Errorf("neither a pointer nor compact")
		}
		return e.setContent(f, content)
	})
}

// Replace gives a file new data, nil for none. Its names, security and named streams stay; if it was a pointer or compact it is
// not any more.
func (e *Editor) Replace(path string, content *winfile.Blob) error {
	return e.do("replace", path, func() error {
		f, err := e.target(path)
		if err != nil {
			return err
		}
		if s := e.standard(f); s != nil {
			le.PutUint64(s[0x08:], uint64(e.now()))
		}
		return e.setContent(f, content)
	})
}

// find looks a path up and returns the record.
func (e *Editor) find(path string) (int64, error) {
	n := int64(recRoot)
	for _, part := range splitPath(path) {
		f, err := e.load(n)
		if err != nil {
			return 0, err
		}
		if e.attr(f, typeIndexRoot, "$I30") == nil {
			return 0, fs.ErrNotExist
		}
		entry, err := e.lookup(f, part)
		if err != nil {
			return 0, err
		}
		n = int64(entry.ref().record())
	}
	return n, nil
}

// findDir is find that remembers directories.
func (e *Editor) findDir(path string) (int64, error) {
	if n, ok := e.dirs[path]; ok {
		return n, nil
	}
	n, err := e.find(path)
	if err == nil {
		e.dirs[path] = n
	}
	return n, err
}

// lookup finds a name in a directory: exactly, else ignoring case.
func (e *Editor) lookup(dir *editFile, name string) (nodeEntry, error) {
	x, err := e.openEditIndex(dir, "$I30")
	if err != nil {
		return nil, err
	}
	path, found, err := x.search(nameKey(winfile.AppendUTF16LE(nil, name)))
	if err != nil {
		return nil, err
	}
	if found {
		node := path[len(path)-1]
		return node.entries[node.pos], nil
	}
	// Names that differ in case only are next to each other: what is just before or behind the place of this one is on the way to it.
	want := winfile.AppendUTF16LE(nil, name)
	for _, node := range path {
		for _, i := range []int{node.pos - 1, node.pos} {
			if i >= 0 && i < len(node.entries)-1 && e.v.sameName(fileName(node.entries[i].key()).name(), want) {
				return node.entries[i], nil
			}
		}
	}
	return nil, fs.ErrNotExist
}

// nameKey is a key of $I30 to search for, of a UTF-16LE name.
func nameKey(name []byte) fileName {
	k := make([]byte, fileNameSize, fileNameSize+len(name))
	k[0x40] = byte(len(name) / 2)
	return append(k, name...)
}

// splitDir splits a path into directory and name.
func splitDir(path string) (dir, name string, err error) {
	parts := splitPath(path)
	if len(parts) == 0 {
		return "", "", errors.New("the path names the root directory")
	}
	if strings.EqualFold(parts[0], "$Extend") {
		return "", "", errors.New("what is in $Extend is the system's")
	}
	return strings.Join(parts[:len(parts)-1], "/"), parts[len(parts)-1], nil
}

// target loads the file of a path whose data is to change.
func (e *Editor) target(path string) (*editFile, error) {
	dir, name, err := splitDir(path)
	if err != nil {
		return nil, err
	}
	d, err := e.loadDir(dir)
	if err != nil {
		return nil, err
	}
	entry, err := e.lookup(d, name)
	if err != nil {
		return nil, err
	}
	f, err := e.loadEntry(entry)
	if err != nil {
		return nil, err
	}
	a := e.attr(f, typeData, "")
	switch {
	case e.attr(f, typeIndexRoot, "$I30") != nil:
		return nil, errors.New("a directory")
	case a == nil:
		return nil, errors.New("the file has no data")
	case a.flags()&attrFlagEncrypted != 0:
		return nil, fmt.Errorf("encrypted file: %w", errors.ErrUnsupported)
	}
	return f, nil
}

// loadEntry loads the file that an index entry names.
func (e *Editor) loadEntry(entry nodeEntry) (*editFile, error) {
	f, err := e.load(int64(entry.ref().record()))
	if err != nil {
		return nil, err
	}
	switch {
	case f.ref() != entry.ref():
		return nil, fmt.Errorf("the index has record %v, which is %v: the volume is damaged", entry.ref(), f.ref())
	case f.n < firstUserFile || f.header.flags()&(recordExtend|recordView) != 0:
		return nil, errors.New("a system file")
	case e.standard(f) == nil:
		return nil, fmt.Errorf("record %d has no $STANDARD_INFORMATION: the volume is damaged", f.n)
	}
	return f, nil
}

// loadDir loads a directory that may have children.
func (e *Editor) loadDir(path string) (*editFile, error) {
	n, err := e.findDir(path)
	if err != nil {
		return nil, err
	}
	d, err := e.load(n)
	if err != nil {
		return nil, err
	}
	if e.attr(d, typeIndexRoot, "$I30") == nil || e.attr(d, typeReparsePoint, "") != nil {
		return nil, fmt.Errorf("%q is not a directory that can have entries", path)
	}
	return d, nil
}

// standard is the value of $STANDARD_INFORMATION, nil if there is none.
func (e *Editor) standard(f *editFile) []byte {
	a := e.attr(f, typeStandardInformation, "")
	if a == nil || a.nonResident() || a.valueLength() < stdInfoSizeV1 {
		return nil
	}
	a.changed = true
	return a.value()
}

// reparseOf returns the REPARSE_DATA_BUFFER of a file, nil if it has none.
func (e *Editor) reparseOf(f *editFile) ([]byte, error) {
	a := e.attr(f, typeReparsePoint, "")
	if a == nil {
		return nil, nil
	}
	if !a.nonResident() {
		return slices.Clone(a.value()), nil
	}
	runs, err := e.streamRuns(f, typeReparsePoint, "")
	if err != nil {
		return nil, err
	}
	s := &stream{v: e.v, name: "$REPARSE_POINT", extents: extentsOf(runs), size: a.dataSize(), initialized: a.initializedSize()}
	return s.readAll(winfile.MaxReparse)
}

// setWOF makes a file one of WOF.
func (e *Editor) setWOF(path string, reparse []byte, compact *winfile.Blob) error {
	if _, err := winfile.ParseReparse(reparse); err != nil {
		return err
	}
	f, err := e.target(path)
	if err != nil {
		return err
	}
	if err := e.dropReparse(f); err != nil {
		return err
	}
	size := e.attr(f, typeData, "").size()
	if size == 0 {
		return errors.New("the file is empty")
	}
	if size > maxHole {
		return fmt.Errorf("the file has %d bytes: the volume is damaged", size)
	}
	if err := e.freeRuns(f, typeData, ""); err != nil {
		return err
	}
	e.replace(f, typeData, "", e.holeAttr(size)...)
	if compact != nil {
		if err := e.remove(f, typeData, compactStream); err != nil {
			return err
		}
		if err := e.setStream(f, compactStream, compact); err != nil {
			return err
		}
	}
	e.replace(f, typeReparsePoint, "", residentAttr(typeReparsePoint, "", 0, reparse[:pointerSize(reparse)]))
	if err := e.indexReparse(f, le.Uint32(reparse), true); err != nil {
		return err
	}
	return e.finish(f)
}

// dropReparse takes away what makes a file one of WOF. It refuses other reparse points.
func (e *Editor) dropReparse(f *editFile) error {
	b, err := e.reparseOf(f)
	if err != nil || b == nil {
		return err
	}
	if wofProvider(b) == 0 {
		return fmt.Errorf("the file has a reparse point with tag %#x", le.Uint32(append(b, 0, 0, 0, 0)))
	}
	if err := e.remove(f, typeReparsePoint, ""); err != nil {
		return err
	}
	if err := e.remove(f, typeData, compactStream); err != nil {
		return err
	}
	return e.indexReparse(f, winfile.TagWOF, false)
}

// freeRuns frees the clusters of an attribute that is about to be replaced.
func (e *Editor) freeRuns(f *editFile, typ attrType, name string) error {
	runs, err := e.streamRuns(f, typ, name)
	if err != nil {
		return err
	}
	return e.release(runs)
}

// maxHole is far beyond the largest file of Windows, and leaves room for rounding.
const maxHole = 1 << 60

// holeAttr is unnamed data that is one hole.
func (e *Editor) holeAttr(size int64) []attribute {
	cs := int64(e.v.ClusterSize)
	s := sizes{data: size, initialized: size}
	whole := max(cs, 64<<10)
	if cs <= 4096 {
		s.unit, whole = 4, 16*cs
	}
	return e.outsideAttr(typeData, "", attrFlagSparse, []run{{hole, align(size, whole) / cs}}, s)
}

// setContent gives a file plain data.
func (e *Editor) setContent(f *editFile, content *winfile.Blob) error {
	if err := e.dropReparse(f); err != nil {
		return err
	}
	if err := e.freeRuns(f, typeData, ""); err != nil {
		return err
	}
	e.replace(f, typeData, "", residentAttr(typeData, "", 0, nil)) // makes room for what follows
	if err := e.setStream(f, "", content); err != nil {
		return err
	}
	return e.finish(f)
}

// setStream gives a file the $DATA of this name, in clusters that are free on the disk or in the record if it has room.
func (e *Editor) setStream(f *editFile, name string, content *winfile.Blob) error {
	if content == nil {
		e.replace(f, typeData, name, residentAttr(typeData, name, 0, nil))
		return nil
	}
	if err := checkBlob(content); err != nil {
		return err
	}
	used := 0
	for _, a := range f.attrs {
		used += len(a.attribute)
	}
	if left := int64(e.room() - used - residentHeader - 2*maxName); content.Size <= left || content.Size <= 32 {
		b, err := content.ReadAll(content.Size)
		if err != nil {
			return err
		}
		e.replace(f, typeData, name, residentAttr(typeData, name, 0, b))
		return nil
	}
	cs := int64(e.v.ClusterSize)
	runs, err := e.allocate((content.Size-1)/cs+1, 0)
	if err != nil {
		return err
	}
	if err := e.writeContent(content, runs); err != nil {
		return err
	}
	e.replace(f, typeData, name, e.outsideAttr(typeData, name, 0, runs, sizes{data: content.Size, initialized: content.Size})...)
	return nil
}

// writeContent writes a content to its clusters, and zeros behind it to the end of the last one.
func (e *Editor) writeContent(b *winfile.Blob, runs []run) (err error) {
	if b.Content == nil {
		return fmt.Errorf("no content to read its %d bytes from", b.Size)
	}
	r, err := b.Content.OpenBlob(b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	cs := int64(e.v.ClusterSize)
	buf := make([]byte, min(max(1<<20, cs), align(b.Size, cs)))
	left := b.Size
	for _, run := range runs {
		for at, end := int64(run.lcn)*cs, (int64(run.lcn)+run.clusters)*cs; at < end; {
			p := buf[:min(int64(len(buf)), end-at)]
			n := min(left, int64(len(p)))
			if got, err := io.ReadFull(r, p[:n]); err != nil {
				return fmt.Errorf("content ended after %d of %d bytes: %w", b.Size-left+int64(got), b.Size, err)
			}
			clear(p[n:])
			if err := e.writeData(p, at); err != nil {
				return err
			}
			left -= n
			at += int64(len(p))
		}
	}
	if left > 0 {
		panic("ntfs: internal error: fewer clusters than content")
	}
	if n, err := r.Read(buf[:1]); n > 0 || err != nil && err != io.EOF {
		return cmp.Or(err, fmt.Errorf("content is longer than its %d bytes", b.Size))
	}
	return nil
}
