package mount

import (
	"container/list"
	"errors"
	"io"
	"sync"

	"husk/winfile"
)

// maxOpen is how many blobs are held open, with what each has decoded ahead: some 200 KiB of a compressed one.
const maxOpen = 128

// blobs opens contents for reading anywhere and keeps those that were read last. It is safe for concurrent use.
type blobs struct {
	mu    sync.Mutex
	open  map[*winfile.Blob]*list.Element
	order list.List // of *openBlob, the last used first
}

type openBlob struct {
	blob *winfile.Blob
	once sync.Once
	r    io.ReaderAt
	err  error
}

// anyPlace is a content that reads its blobs in any order.
type anyPlace interface {
	BlobReaderAt(b *winfile.Blob) (io.ReaderAt, error)
}

func newBlobs() *blobs { return &blobs{open: make(map[*winfile.Blob]*list.Element)} }

// readAt fills p from off, less at the end of the blob.
func (s *blobs) readAt(b *winfile.Blob, p []byte, off int64) (int, error) {
	if b == nil || off >= b.Size || off < 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), b.Size-off)]
	o := s.get(b)
	o.once.Do(func() { o.r, o.err = openAnywhere(b) })
	if o.err != nil {
		s.drop(o)
		return 0, o.err
	}
	n, err := o.r.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (s *blobs) get(b *winfile.Blob) *openBlob {
	var evicted *openBlob
	defer func() {
		if evicted == nil {
			return
		}
		evicted.once.Do(func() { evicted.err = errors.New("closed") }) // wait for who opens it now
		if c, ok := evicted.r.(*replay); ok {
			c.Close()
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.open[b]; e != nil {
		s.order.MoveToFront(e)
		return e.Value.(*openBlob)
	}
	if s.order.Len() >= maxOpen {
		last := s.order.Back()
		delete(s.open, last.Value.(*openBlob).blob)
		s.order.Remove(last) // whoever reads it still does
		evicted = last.Value.(*openBlob)
	}
	o := &openBlob{blob: b}
	s.open[b] = s.order.PushFront(o)
	return o
}

// drop forgets a blob that cannot be opened: the next read tries again.
func (s *blobs) drop(o *openBlob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.open[o.blob]; e != nil && e.Value == any(o) {
		delete(s.open, o.blob)
		s.order.Remove(e)
	}
}

func openAnywhere(b *winfile.Blob) (io.ReaderAt, error) {
	switch c := b.Content.(type) {
	case nil:
		return nil, errors.New("the content is not at hand")
	case anyPlace:
		return c.BlobReaderAt(b)
	}
	return &replay{blob: b}, nil
}

// replay reads a content that only knows the way from start to end: going back begins anew.
type replay struct {
	blob *winfile.Blob

	mu  sync.Mutex
	r   io.ReadCloser // nil if none is open
	pos int64
}

func (r *replay) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.r == nil || off < r.pos {
		r.close()
		f, err := r.blob.Content.OpenBlob(r.blob)
		if err != nil {
			return 0, err
		}
		r.r, r.pos = f, 0
	}
	skipped, err := io.CopyN(io.Discard, r.r, off-r.pos)
	r.pos += skipped
	n := 0
	if err == nil {
		n, err = io.ReadFull(r.r, p)
		r.pos += int64(n)
	}
	if err != nil || r.pos == r.blob.Size {
		r.close()
	}
	return n, err
}

func (r *replay) close() {
	if r.r != nil {
		r.r.Close()
		r.r = nil
	}
}

// Close gives up what is open; a read after it opens anew.
func (r *replay) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close()
	return nil
}
