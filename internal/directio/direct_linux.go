package directio

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// direct is a second handle of a file, with O_DIRECT, and aligned memory for it.
type direct struct {
	f       *os.File
	plain   *os.File    // takes over if the file system refuses after all
	refused atomic.Bool // it did
	free    chan []byte // nil: not allocated yet
}

// openDirect returns nil if the file system does not know O_DIRECT.
func openDirect(f *os.File) *direct {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	// With the name of the file: errors say it.
	d := &direct{f: os.NewFile(uintptr(fd), f.Name()), plain: f, free: make(chan []byte, buffers)}
	for range buffers {
		d.free <- nil
	}
	return d
}

// WriteAt writes whole pages.
func (d *direct) WriteAt(p []byte, off int64) (n int, err error) {
	buf := <-d.free
	defer func() { d.free <- buf }()
	if buf == nil {
		// Memory from mmap is aligned to pages.
		if buf, err = unix.Mmap(-1, 0, most, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err != nil {
			buf = nil
			return d.plain.WriteAt(p, off)
		}
	}
	for n < len(p) && !d.refused.Load() {
		k := copy(buf, p[n:])
		m, err := d.f.WriteAt(buf[:k], off+int64(n))
		n += m
		if errors.Is(err, unix.EINVAL) {
			d.refused.Store(true) // larger alignment wanted, or none supported: the rest goes the ordinary way
			break
		}
		if err != nil {
			return n, err
		}
	}
	if n == len(p) {
		return n, nil
	}
	m, err := d.plain.WriteAt(p[n:], off+int64(n))
	return n + m, err
}

// close gives everything back. No write may be under way.
func (d *direct) close() error {
	for range buffers {
		if buf := <-d.free; buf != nil {
			if err := unix.Munmap(buf); err != nil {
				return errors.Join(err, d.f.Close())
			}
		}
	}
	return d.f.Close()
}
