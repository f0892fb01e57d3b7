package wim

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"sync"

	"husk/internal/ondisk"
)

const (
	solidHeaderSize = 16
	maxPlain        = int64(1) << 62 // bytes of all blobs together
)

// A solidResource holds many blobs one after the other, cut into chunks without regard to them.
type solidResource struct {
	off, stored int64 // in the file
	size        int64 // plain bytes
	codec       Codec
	layout      layout // width and table are not used
	chunks      []int64
	order       int64 // of its first byte, in the order of reading
}

// order is the place of a blob in the cheapest order of reading: that of the file, solid resources last.
func (res *resource) order() int64 {
	if res.solid != nil {
		return res.solid.order + res.off
	}
	return res.off
}

// A solidRun is a row of blob table entries with the solid flag: solid resources and the blobs in them, whose offsets count through
// the plain bytes of all of them.
type solidRun struct {
	r         *Reader
	resources []*solidResource
	starts    []int64 // by resource: its first byte in the run
	size      int64   // plain bytes of the run
	blobs     []solidEntry
	order     int64 // of the first byte of the run
}

// solidEntry is entry number index of the blob table.
type solidEntry struct {
	blobEntry
	index int
}

// add takes entry i of the blob table.
func (run *solidRun) add(e *blobEntry, i int) error {
	if e.Resource.Original != solidOriginal {
		run.blobs = append(run.blobs, solidEntry{*e, i})
		return nil
	}
	s, err := run.r.readSolid(e.Resource)
	if err != nil {
		return err
	}
	if s.size > maxPlain-run.order-run.size {
		return fmt.Errorf("solid resource of %d plain bytes", s.size)
	}
	s.order = run.order + run.size
	run.resources, run.starts = append(run.resources, s), append(run.starts, run.size)
	run.size += s.size
	return nil
}

// end gives the blobs of the run to the reader, and makes ready for the next run.
func (run *solidRun) end() {
	slices.SortFunc(run.blobs, func(a, b solidEntry) int { return cmp.Compare(a.Resource.Offset, b.Resource.Offset) })
	end := uint64(0) // of the blob before: they may not overlap, or a small file could ask for endless work
	for _, e := range run.blobs {
		res, err := run.place(&e.blobEntry)
		if err == nil && e.Resource.Offset < end {
			err = fmt.Errorf("offset %#x in the solid resources, inside the blob before", e.Resource.Offset)
		}
		if err == nil {
			end = e.Resource.Offset + uint64(e.Resource.stored())
			err = run.r.addResource(&e.blobEntry, res)
		}
		if err != nil {
			run.r.entryProblem(e.index, err)
		}
	}
	*run = solidRun{r: run.r, order: run.order + run.size}
}

// place finds the resource that has a blob.
func (run *solidRun) place(e *blobEntry) (resource, error) {
	off, size := e.Resource.Offset, e.Resource.stored()
	if off >= uint64(run.size) {
		return resource{}, fmt.Errorf("offset %#x in solid resources of %d bytes", off, run.size)
	}
	n := sort.Search(len(run.starts), func(i int) bool { return run.starts[i] > int64(off) }) - 1
	s := run.resources[n]
	in := int64(off) - run.starts[n]
	if size > s.size-in {
		return resource{}, fmt.Errorf("%d bytes at %#x in a solid resource of %d", size, in, s.size)
	}
	return resource{off: in, size: size, hash: e.Hash, refs: e.RefCount, solid: s}, nil
}

// readSolid reads the header and the chunk table of a solid resource.
func (r *Reader) readSolid(h resourceHeader) (*solidResource, error) {
	if err := h.check(r.size); err != nil {
		return nil, err
	}
	s := &solidResource{off: int64(h.Offset), stored: h.stored()}
	if s.stored < solidHeaderSize {
		return nil, fmt.Errorf("solid resource of %d bytes, want at least %d", s.stored, solidHeaderSize)
	}
	b, err := ondisk.ReadAt(r.r, s.off, solidHeaderSize, solidHeaderSize)
	if err != nil {
		return nil, fmt.Errorf("header of the solid resource at %#x: %w", s.off, err)
	}
	size, chunk, codec := le.Uint64(b), le.Uint32(b[8:]), le.Uint32(b[12:])
	if codec > uint32(LZMS-None) {
		return nil, fmt.Errorf("solid resource at %#x: codec %d, want 0 to 3", s.off, codec)
	}
	s.codec = None + Codec(codec)
	if err := checkChunkSize(s.codec, int64(chunk)); err != nil {
		return nil, fmt.Errorf("solid resource at %#x: %w", s.off, err)
	}
	if n := size>>bits.TrailingZeros32(chunk) + 1; size == 0 || size > uint64(maxPlain) || n-1 > uint64(s.stored-solidHeaderSize)/4 {
		return nil, fmt.Errorf("solid resource at %#x: %d plain bytes in chunks of %d, and %d stored", s.off, size, chunk, s.stored)
	}
	s.size = int64(size)
	s.layout = newLayout(s.size, int64(chunk))
	return s, s.readChunks(r)
}

// readChunks reads the chunk table: a stored size for each chunk, which together fill the resource.
func (s *solidResource) readChunks(r *Reader) error {
	at := s.off + solidHeaderSize
	b, err := ondisk.ReadAt(r.r, at, 4*s.layout.chunks, s.stored)
	if err != nil {
		return fmt.Errorf("chunk table of the solid resource at %#x: %w", s.off, err)
	}
	s.chunks = make([]int64, 0, s.layout.chunks+1)
	next := at + int64(len(b))
	for i := range s.layout.chunks {
		n := int64(le.Uint32(b[4*i:]))
		if plain := s.plain(i); n == 0 || n > plain {
			return fmt.Errorf("solid resource at %#x: chunk %d has %d bytes, want 1 to %d", s.off, i, n, plain)
		}
		s.chunks = append(s.chunks, next)
		next += n
	}
	s.chunks = append(s.chunks, next)
	if end := s.off + s.stored; next != end {
		return fmt.Errorf("solid resource at %#x: chunks end at %#x, want %#x", s.off, next, end)
	}
	return nil
}

// plain is the number of plain bytes of chunk i.
func (s *solidResource) plain(i int64) int64 { return min(s.layout.chunk, s.size-i*s.layout.chunk) }

// readable tells why the chunks cannot be decoded.
func (s *solidResource) readable() error {
	if s.layout.chunk > maxDecodedChunk {
		return fmt.Errorf("solid chunks of %d bytes, want at most %d: %w", s.layout.chunk, maxDecodedChunk, errors.ErrUnsupported)
	}
	return nil
}

// solidChunk decodes chunk i of s into dst, which it returns with the length of the chunk.
func (d *decoder) solidChunk(s *solidResource, i int64, dst []byte) ([]byte, error) {
	if err := s.readable(); err != nil {
		return nil, &FormatError{"solid resource", s.off, err}
	}
	dst = grow(dst, s.plain(i))
	off, n := s.chunks[i], s.chunks[i+1]-s.chunks[i]
	fail := func(err error) ([]byte, error) {
		return nil, &FormatError{"solid resource", off, fmt.Errorf("chunk %d: %w", i, err)}
	}
	if n == int64(len(dst)) {
		if _, err := d.r.readInto(dst, off); err != nil {
			return fail(err)
		}
		return dst, nil
	}
	if d.solid == nil || d.solidCodec != s.codec || d.solidChunkSize != s.layout.chunk {
		codec, err := newDecompressor(s.codec, s.layout.chunk)
		if err != nil {
			return fail(err)
		}
		d.solid, d.solidCodec, d.solidChunkSize = codec, s.codec, s.layout.chunk
	}
	d.stored = grow(d.stored, n)
	if _, err := d.r.readInto(d.stored, off); err != nil {
		return fail(err)
	}
	if err := d.solid.Decompress(dst, d.stored); err != nil {
		return fail(err)
	}
	return dst, nil
}

// A solidCache keeps the chunk that was decoded last, so that files that are read one by one do not decode it anew.
type solidCache struct {
	mu    sync.Mutex
	s     *solidResource
	chunk int64
	plain []byte
}

// readSolidBlob fills dst with the plain bytes of res from off.
func (d *decoder) readSolidBlob(res *resource, off int64, dst []byte) error {
	c, s := &d.r.solid, res.solid
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := res.off + off; len(dst) > 0; {
		i := at / s.layout.chunk
		if c.s != s || c.chunk != i {
			c.s = nil
			p, err := d.solidChunk(s, i, c.plain)
			if err != nil {
				return err
			}
			c.s, c.chunk, c.plain = s, i, p
		}
		n := copy(dst, c.plain[at-i*s.layout.chunk:])
		dst, at = dst[n:], at+int64(n)
	}
	return nil
}
