package wim

import (
	"io/fs"
	"sync"

	"husk/winfile"
	"husk/winfile/treefs"
)

// An Image is one directory tree of a WIM. As an [fs.FS] it shows the unnamed data of its files; see [treefs.FS].
type Image struct {
	Index int // 1 is the first

	r        *Reader
	metadata resource
	err      error // why there is no metadata
	xml      *element

	mu       sync.Mutex
	fsys     *treefs.FS
	fsErr    error
	warnings []string
}

// Name is the image's name, often unique, perhaps empty.
func (i *Image) Name() string { return i.xml.text("NAME") }

// Description is free text.
func (i *Image) Description() string { return i.xml.text("DESCRIPTION") }

// Info is what the XML data tells about the image.
func (i *Image) Info() ImageInfo { return imageInfo(i.xml) }

// MetadataSHA1 is the SHA-1 of the plain metadata resource: equal for equal trees.
func (i *Image) MetadataSHA1() winfile.SHA1 { return i.metadata.hash }

// Metadata tells where the metadata resource is.
func (i *Image) Metadata() BlobInfo { return i.metadata.info() }

// Tree decodes the metadata: a new tree that the caller may change, whose blobs are shared with other trees of the file.
// If blobs are not in the file (a delta WIM), it returns the tree and an error that wraps [ErrMissing]; those blobs have
// size 0, and opening them fails.
func (i *Image) Tree() (*winfile.Tree, error) {
	raw, err := i.rawMetadata()
	if err != nil {
		return nil, err
	}
	d := &treeDecoder{image: i, raw: raw, blobs: i.r.Blob}
	t, err := d.tree()
	i.mu.Lock()
	i.warnings = d.warnings
	i.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := d.readReparse(); err != nil {
		return nil, err
	}
	return t, d.missingError()
}

// rawMetadata reads the metadata resource.
func (i *Image) rawMetadata() ([]byte, error) {
	if i.err != nil {
		return nil, &FormatError{i.what("metadata"), 0, i.err}
	}
	raw, err := i.r.readMetadata(&i.metadata)
	if err != nil {
		return nil, &FormatError{i.what("metadata"), i.metadata.off, err}
	}
	return raw, nil
}

// references counts the names that refer to each blob. raw is the metadata.
func (i *Image) references(raw []byte) (map[winfile.SHA1]uint32, error) {
	d := &treeDecoder{image: i, raw: raw, blobs: i.r.Blob, refs: make(map[winfile.SHA1]uint32)}
	if _, err := d.tree(); err != nil {
		return nil, err
	}
	return d.refs, nil
}

func (i *Image) what(part string) string { return imageWhat(i.Index, part) }

// Warnings are the oddities that the last decoding of the tree met: names that were dropped, and the like.
func (i *Image) Warnings() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.warnings
}

// FS is the image as a file system. The tree is decoded once, and kept.
func (i *Image) FS() (*treefs.FS, error) {
	i.mu.Lock()
	fsys, err := i.fsys, i.fsErr
	i.mu.Unlock()
	if fsys != nil || err != nil {
		return fsys, err
	}
	t, err := i.Tree()
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.fsys != nil:
	case t != nil: // what is missing fails when it is opened
		i.fsys = treefs.New(t)
	default:
		i.fsErr = err
	}
	return i.fsys, i.fsErr
}

// with calls f with the file system.
func with[T any](i *Image, f func(*treefs.FS) (T, error)) (T, error) {
	fsys, err := i.FS()
	if err != nil {
		var zero T
		return zero, err
	}
	return f(fsys)
}

// Open implements [fs.FS].
func (i *Image) Open(name string) (fs.File, error) {
	return with(i, func(f *treefs.FS) (fs.File, error) { return f.Open(name) })
}

// ReadDir implements [fs.ReadDirFS].
func (i *Image) ReadDir(name string) ([]fs.DirEntry, error) {
	return with(i, func(f *treefs.FS) ([]fs.DirEntry, error) { return f.ReadDir(name) })
}

// Stat implements [fs.StatFS].
func (i *Image) Stat(name string) (fs.FileInfo, error) {
	return with(i, func(f *treefs.FS) (fs.FileInfo, error) { return f.Stat(name) })
}

// Lstat implements [fs.ReadLinkFS].
func (i *Image) Lstat(name string) (fs.FileInfo, error) {
	return with(i, func(f *treefs.FS) (fs.FileInfo, error) { return f.Lstat(name) })
}

// ReadLink implements [fs.ReadLinkFS].
func (i *Image) ReadLink(name string) (string, error) {
	return with(i, func(f *treefs.FS) (string, error) { return f.ReadLink(name) })
}
