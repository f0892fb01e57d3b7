package wof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"husk/winfile"
)

// CompactReader reads a compact file anywhere, decoding only the chunks that are asked for. It is safe for concurrent use.
type CompactReader struct {
	compactShape
	r io.ReaderAt // the WofCompressedData

	mu      sync.Mutex
	windows [2]compactWindow // most recently used first
	stored  []byte
}

type compactWindow struct {
	off int64
	p   []byte // empty if unused
}

// compactWindowSize is how many plain bytes a CompactReader decodes at least: a multiple of every chunk size, so that small reads in a row cost
// one decoding.
const compactWindowSize = 64 << 10

// NewCompactReader reads the size plain bytes behind the stored bytes of a WofCompressedData. Errors of the stream itself are
// *FormatError.
func NewCompactReader(r io.ReaderAt, stored int64, a Algorithm, size int64) (*CompactReader, error) {
	s, err := newCompactShape(a, size, stored)
	if err != nil {
		return nil, err
	}
	return &CompactReader{compactShape: s, r: r}, nil
}

// Size is the number of plain bytes.
func (c *CompactReader) Size() int64 { return c.size }

// ReadAt implements [io.ReaderAt].
func (c *CompactReader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("wof: read at %d", off)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for n < len(p) {
		if off >= c.size {
			return n, io.EOF
		}
		w, err := c.window(off)
		if err != nil {
			return n, err
		}
		m := copy(p[n:], w)
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

// window returns plain bytes that start at off.
func (c *CompactReader) window(off int64) ([]byte, error) {
	start := off &^ (compactWindowSize - 1)
	if w := &c.windows[1]; len(w.p) > 0 && w.off == start {
		c.windows[0], c.windows[1] = c.windows[1], c.windows[0]
	}
	if w := &c.windows[0]; len(w.p) > 0 && w.off == start {
		return w.p[off-start:], nil
	}
	buf := c.windows[1].p
	c.windows[1] = c.windows[0]
	w := &c.windows[0]
	w.off, w.p = start, nil
	n := min(compactWindowSize, c.size-start)
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if err := c.decode(buf, start); err != nil {
		return nil, err
	}
	w.p = buf
	return w.p[off-start:], nil
}

// decode fills dst, which starts and ends at ends of chunks.
func (c *CompactReader) decode(dst []byte, off int64) error {
	first := off / c.chunk
	ends, err := c.ends(first, (int64(len(dst))-1)/c.chunk+1)
	if err != nil {
		return err
	}
	base := ends[0]
	if n := ends[len(ends)-1] - base; int64(cap(c.stored)) < n {
		c.stored = make([]byte, n)
	}
	stored := c.stored[:ends[len(ends)-1]-base]
	if err := c.readFull(stored, c.table+base); err != nil {
		return err
	}
	for i := range ends[1:] {
		n := c.plain(first + int64(i))
		if err := c.algorithm.decompress(dst[:n], stored[ends[i]-base:ends[i+1]-base]); err != nil {
			return compactError(c.table+ends[i], "chunk %d: %w", first+int64(i), err)
		}
		dst = dst[n:]
	}
	return nil
}

// ends returns the start of the first chunk and the ends of n chunks, from the end of the table.
func (c *CompactReader) ends(first, n int64) ([]int64, error) {
	before := min(first, 1) // entries before that of the first chunk
	b := make([]byte, (min(first+n, c.chunks-1)-first+before)*c.width)
	if err := c.readFull(b, (first-before)*c.width); err != nil {
		return nil, err
	}
	ends := make([]int64, 1, n+1)
	if before > 0 {
		ends[0], b = c.end(first-1, b), b[c.width:]
	}
	for i := range n {
		end := int64(0)
		if first+i == c.chunks-1 {
			end = c.end(first+i, nil)
		} else {
			end, b = c.end(first+i, b), b[c.width:]
		}
		if err := c.checkChunk(first+i, ends[i], end); err != nil {
			return nil, err
		}
		ends = append(ends, end)
	}
	return ends, nil
}

func (c *CompactReader) readFull(p []byte, off int64) error {
	n, err := c.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &FormatError{CompactStream, off + int64(n), err}
}

// compactFiles is the content of the compact files of one volume.
type compactFiles struct{ _ byte } // so that two have two addresses

// compactBlob is the Ref of a blob of compactFiles.
type compactBlob struct {
	stream    *winfile.Blob // the WofCompressedData
	algorithm Algorithm
	id        uint64 // of the file
}

// newCompactBlob returns the blob of a compact file of size bytes.
func newCompactBlob(c *compactFiles, stream *winfile.Blob, a Algorithm, size int64, id uint64) (*winfile.Blob, error) {
	s, err := newCompactShape(a, size, stream.Size)
	if err == nil {
		err = new(expander).reset(s, 1)
	}
	if err != nil {
		return nil, err
	}
	return &winfile.Blob{Size: size, Order: stream.Order, Content: c, Ref: &compactBlob{stream, a, id}}, nil
}

// Stored returns the WofCompressedData of a blob that [Resolve] made for a compact file: it can become that of another file.
func Stored(b *winfile.Blob) (*winfile.Blob, Algorithm, bool) {
	if ref, ok := b.Ref.(*compactBlob); ok {
		return ref.stream, ref.algorithm, true
	}
	return nil, 0, false
}

// expanderOf starts the decoding of a blob.
func (c *compactFiles) expanderOf(b *winfile.Blob, x *expander, workers int) (*compactBlob, error) {
	ref, ok := b.Ref.(*compactBlob)
	if !ok || b.Content != winfile.Content(c) {
		return nil, fmt.Errorf("wof: blob of %d bytes is no compact file of this volume", b.Size)
	}
	s, err := newCompactShape(ref.algorithm, b.Size, ref.stream.Size)
	if err == nil {
		err = x.reset(s, workers)
	}
	if err != nil {
		return nil, ref.fail(err)
	}
	return ref, nil
}

func (r *compactBlob) fail(err error) error {
	var format *FormatError
	if errors.As(err, &format) {
		return fmt.Errorf("wof: compact file %d: %w", r.id, err)
	}
	return err
}

// expanders that are not in use.
var expanders = sync.Pool{New: func() any { return new(expander) }}

// OpenBlob implements [winfile.Content].
func (c *compactFiles) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	x := new(expander)
	ref, err := c.expanderOf(b, x, 1)
	if err != nil {
		return nil, err
	}
	if ref.stream.Content == nil {
		return nil, errors.New("a blob has no content to read it from")
	}
	r, err := ref.stream.Content.OpenBlob(ref.stream)
	if err != nil {
		return nil, err
	}
	return &compactStream{ref: ref, x: x, r: r, left: ref.stream.Size}, nil
}

// BlobReaderAt opens a blob for reading anywhere.
func (c *compactFiles) BlobReaderAt(b *winfile.Blob) (io.ReaderAt, error) {
	ref, err := c.expanderOf(b, new(expander), 1)
	if err != nil {
		return nil, err
	}
	var at io.ReaderAt
	if content, ok := ref.stream.Content.(interface {
		BlobReaderAt(*winfile.Blob) (io.ReaderAt, error)
	}); ok {
		at, err = content.BlobReaderAt(ref.stream)
	} else {
		var p []byte
		p, err = ref.stream.ReadAll(maxCompactTable)
		at = bytes.NewReader(p)
	}
	if err != nil {
		return nil, err
	}
	r, err := NewCompactReader(at, ref.stream.Size, ref.algorithm, b.Size)
	if err != nil {
		return nil, ref.fail(err)
	}
	return r, nil
}

// compactStream reads a compact file from start to end.
type compactStream struct {
	ref  *compactBlob
	x    *expander
	r    io.ReadCloser
	left int64 // stored bytes
	buf  []byte
	rest []byte // plain bytes to be read
	out  []byte // memory of rest
	err  error
}

func (s *compactStream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.err == nil {
			s.err = s.fill()
		}
		if s.err != nil {
			return 0, s.err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

const compactReadSize = 64 << 10

func (s *compactStream) fill() error {
	if s.left == 0 {
		if err := s.x.done(); err != nil {
			return s.ref.fail(err)
		}
		return io.EOF
	}
	if s.buf == nil {
		s.buf = make([]byte, min(compactReadSize, s.left))
	}
	p := s.buf[:min(int64(len(s.buf)), s.left)]
	if _, err := io.ReadFull(s.r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return s.ref.fail(&FormatError{CompactStream, s.ref.stream.Size - s.left, err})
	}
	s.left -= int64(len(p))
	s.out = s.out[:0]
	err := s.x.feed(p, func(_ int64, plain []byte) error {
		s.out = append(s.out, plain...)
		return nil
	})
	s.rest = s.out
	if err != nil {
		return s.ref.fail(err)
	}
	return nil
}

func (s *compactStream) Close() error {
	s.rest, s.err = nil, errors.New("wof: read of a closed blob")
	return s.r.Close()
}

// ReadBlobs implements [winfile.BulkContent]: the streams are read in the order of the volume, and decoded by whoever has read a piece;
// several share the work on a long piece.
func (c *compactFiles) ReadBlobs(ctx context.Context, blobs []*winfile.Blob, workers int, deliver winfile.Deliver) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	streams := make([]*winfile.Blob, len(blobs))
	owner := make(map[*winfile.Blob]*winfile.Blob, len(blobs))
	for i, b := range blobs {
		ref, ok := b.Ref.(*compactBlob)
		if !ok || b.Content != winfile.Content(c) {
			return fmt.Errorf("wof: blob of %d bytes is no compact file of this volume", b.Size)
		}
		streams[i] = ref.stream
		owner[ref.stream] = b
	}
	var mu sync.Mutex
	open := make(map[*winfile.Blob]*expander) // those of which some has come
	return winfile.ReadBlobs(ctx, streams, workers, func(stream *winfile.Blob, off int64, p []byte) error {
		b := owner[stream]
		last := off+int64(len(p)) == stream.Size
		var x *expander
		if off == 0 {
			x = expanders.Get().(*expander)
			if _, err := c.expanderOf(b, x, workers); err != nil {
				return err
			}
		}
		if x == nil || !last {
			mu.Lock()
			if x == nil {
				x = open[stream]
			}
			if last {
				delete(open, stream)
			} else {
				open[stream] = x
			}
			mu.Unlock()
		}
		ref := b.Ref.(*compactBlob)
		err := x.feed(p, func(off int64, plain []byte) error {
			if err := deliver(b, off, plain); err != nil {
				return deliverError{err}
			}
			return nil
		})
		if err == nil && last {
			err = x.done()
			expanders.Put(x)
		}
		var theirs deliverError
		if errors.As(err, &theirs) {
			return theirs.error
		}
		if err != nil {
			return ref.fail(err)
		}
		return nil
	})
}

// deliverError is an error that is not about the stream.
type deliverError struct{ error }
