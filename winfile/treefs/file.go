package treefs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"husk/winfile"
)

var (
	errNotDir = errors.New("not a directory")
	errIsDir  = errors.New("is a directory")
)

// readerAtContent is a content that can read its blobs in any order.
type readerAtContent interface {
	BlobReaderAt(b *winfile.Blob) (io.ReaderAt, error)
}

// open opens a file. It shows the unnamed data; of an encrypted file that cannot be had.
func open(path string, info fileInfo) (fs.File, error) {
	f := &file{fileInfo: info, path: path, blob: info.info.Data}
	if x := info.info.Extra; x != nil && x.EFS != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("encrypted content: %w", errors.ErrUnsupported)}
	}
	if f.blob == nil {
		return &seekFile{file: f, at: strings.NewReader("")}, nil
	}
	if f.blob.Content == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("the content is not at hand")}
	}
	if c, ok := f.blob.Content.(readerAtContent); ok {
		at, err := c.BlobReaderAt(f.blob)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return &seekFile{file: f, at: at}, nil
	}
	if err := f.start(); err != nil {
		return nil, err
	}
	return f, nil
}

// file reads its blob from start to end, so that the content can check what it gives.
type file struct {
	fileInfo
	path   string
	blob   *winfile.Blob // nil if empty
	r      io.ReadCloser // nil until it is read from
	off    int64         // of r
	closed bool
}

func (f *file) Stat() (fs.FileInfo, error) { return f.fileInfo, nil }

func (f *file) fail(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: op, Path: f.path, Err: err}
}

func (f *file) start() error {
	r, err := f.blob.Content.OpenBlob(f.blob)
	if err != nil {
		return f.fail("open", err)
	}
	f.r = r
	return nil
}

func (f *file) Read(p []byte) (int, error) {
	if f.closed {
		return 0, f.fail("read", fs.ErrClosed)
	}
	if f.blob == nil {
		return 0, io.EOF
	}
	if f.r == nil {
		if err := f.start(); err != nil {
			return 0, err
		}
	}
	n, err := f.r.Read(p)
	f.off += int64(n)
	return n, f.fail("read", err)
}

func (f *file) Close() error {
	if f.closed {
		return f.fail("close", fs.ErrClosed)
	}
	f.closed = true
	if f.r == nil {
		return nil
	}
	return f.fail("close", f.r.Close())
}

// seekFile reads from any place too. As long as nobody seeks, Read is that of file, with its checks.
type seekFile struct {
	*file
	at  io.ReaderAt
	pos int64
}

func (f *seekFile) Read(p []byte) (int, error) {
	if f.pos == f.off {
		n, err := f.file.Read(p)
		f.pos = f.off
		return n, err
	}
	n, err := f.ReadAt(p, f.pos)
	if n > 0 {
		err = nil
	}
	f.pos += int64(n)
	return n, err
}

// ReadAt implements [io.ReaderAt].
func (f *seekFile) ReadAt(p []byte, off int64) (int, error) {
	if f.closed {
		return 0, f.fail("read", fs.ErrClosed)
	}
	if off < 0 {
		return 0, f.fail("read", fs.ErrInvalid)
	}
	n, err := f.at.ReadAt(p, off)
	return n, f.fail("read", err)
}

// Seek implements [io.Seeker].
func (f *seekFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += f.Size()
	default:
		return 0, f.fail("seek", fs.ErrInvalid)
	}
	if offset < 0 || f.closed {
		return 0, f.fail("seek", fs.ErrInvalid)
	}
	f.pos = offset
	return offset, nil
}
