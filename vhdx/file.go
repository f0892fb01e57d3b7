package vhdx

import "io"

// A File is what a Writer writes to; *os.File is one. Bytes that were never written must read as zeros, also when
// writes go past the end.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// An EditFile is what a Disk reads and changes; *os.File is one.
type EditFile interface {
	File
	io.ReaderAt
	Sync() error
}

func writeFull(f io.WriterAt, p []byte, at int64) error {
	n, err := f.WriteAt(p, at)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}
