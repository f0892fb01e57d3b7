package ntfs

import (
	"context"
	"io"
	"io/fs"

	"husk/winfile"
	"husk/winfile/treefs"
)

var (
	_ fs.ReadDirFS        = (*Volume)(nil)
	_ fs.StatFS           = (*Volume)(nil)
	_ fs.ReadLinkFS       = (*Volume)(nil)
	_ winfile.BulkContent = (*Volume)(nil)
)

// readFS reads the tree that the fs.FS methods show.
func (v *Volume) readFS() (*treefs.FS, error) {
	t, err := v.Tree(context.Background())
	if err != nil {
		return nil, err
	}
	return treefs.New(t), nil
}

// withFS runs an operation on the tree, which the first one reads.
func withFS[T any](v *Volume, op, path string, do func(*treefs.FS) (T, error)) (T, error) {
	f, err := v.files()
	if err != nil {
		var none T
		return none, &fs.PathError{Op: op, Path: path, Err: err}
	}
	return do(f)
}

// Open opens a file or directory of the volume, see [treefs.FS].
func (v *Volume) Open(path string) (fs.File, error) {
	return withFS(v, "open", path, func(f *treefs.FS) (fs.File, error) { return f.Open(path) })
}

// ReadDir lists a directory in the order of names.
func (v *Volume) ReadDir(path string) ([]fs.DirEntry, error) {
	return withFS(v, "readdir", path, func(f *treefs.FS) ([]fs.DirEntry, error) { return f.ReadDir(path) })
}

// Stat describes a file; its Sys is the [*winfile.Info].
func (v *Volume) Stat(path string) (fs.FileInfo, error) {
	return withFS(v, "stat", path, func(f *treefs.FS) (fs.FileInfo, error) { return f.Stat(path) })
}

// Lstat is Stat that does not follow a symbolic link.
func (v *Volume) Lstat(path string) (fs.FileInfo, error) {
	return withFS(v, "lstat", path, func(f *treefs.FS) (fs.FileInfo, error) { return f.Lstat(path) })
}

// ReadLink returns the target of a symbolic link or junction.
func (v *Volume) ReadLink(path string) (string, error) {
	return withFS(v, "readlink", path, func(f *treefs.FS) (string, error) { return f.ReadLink(path) })
}

// BlobReaderAt opens a blob of the volume's trees for reading anywhere.
func (v *Volume) BlobReaderAt(b *winfile.Blob) (io.ReaderAt, error) {
	return v.open(b)
}
