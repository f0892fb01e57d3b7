package wim

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"husk/winfile"
)

// pieceSize is how many plain bytes are decoded at a time: a multiple of every usual chunk size.
const pieceSize = 1 << 20

// maxDecodedChunk bounds the memory that one chunk takes.
const maxDecodedChunk = 1 << 26

// A decoder expands parts of resources. It is not for concurrent use.
type decoder struct {
	r       *Reader
	codec   decompressor
	err     error // why there is no codec
	plain   []byte
	stored  []byte
	offsets []int64 // of chunks from the end of the chunk table

	solid          decompressor // of the solid resource read last
	solidCodec     Codec
	solidChunkSize int64

	tableShift int64 // how far the chunk table is from its place; 0 but for a Writer
}

func (r *Reader) newDecoder() *decoder {
	d := &decoder{r: r}
	if r.codec != None {
		d.codec, d.err = newDecompressor(r.codec, int64(r.hdr.ChunkSize))
	}
	return d
}

// groupSize is the number of plain bytes that read is best called for.
func (d *decoder) groupSize() int64 { return max(pieceSize, int64(d.r.hdr.ChunkSize)) }

// buffer returns n bytes for plain data, valid until the next call.
func (d *decoder) buffer(n int64) []byte {
	d.plain = grow(d.plain, n)
	return d.plain
}

// grow returns n bytes, b's if they suffice.
func grow(b []byte, n int64) []byte {
	if int64(cap(b)) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// layout is the geometry of a compressed resource.
type layout struct {
	chunk  int64 // plain bytes per chunk
	chunks int64
	width  int64 // bytes per table entry
	table  int64 // bytes
	prefix int64 // bytes before each chunk: 4 in a pipable WIM, whose tables are behind the chunks, else 0
}

// layout is the geometry of a compressed resource of r.
func (r *Reader) layout(size int64) layout {
	l := newLayout(size, int64(r.hdr.ChunkSize))
	if r.pipable {
		l.prefix = pipeChunkSize
	}
	return l
}

// end is where the chunks of a resource of so many stored bytes end, as the chunk table counts.
func (l *layout) end(stored int64) int64 { return stored - l.table - l.prefix*l.chunks }

// tableAt is the offset of the chunk table in a resource of so many stored bytes.
func (l *layout) tableAt(stored int64) int64 {
	if l.prefix > 0 {
		return stored - l.table
	}
	return 0
}

// chunkAt is the offset in its resource of chunk i, which the chunk table has at off.
func (l *layout) chunkAt(i, off int64) int64 {
	if l.prefix > 0 {
		return off + (i+1)*l.prefix
	}
	return l.table + off
}

func newLayout(size, chunk int64) layout {
	l := layout{chunk: chunk, chunks: (size + chunk - 1) / chunk, width: 4}
	if size > 1<<32-1 {
		l.width = 8
	}
	l.table = (l.chunks - 1) * l.width
	return l
}

// readable tells why res cannot be decoded, before anything is read.
func (d *decoder) readable(res *resource) error {
	switch {
	case res.solid != nil:
		return res.solid.readable()
	case !res.compressed:
		return nil
	case d.r.codec == None:
		return errors.New("compressed resource in an uncompressed WIM")
	case d.err != nil:
		return d.err
	case d.r.hdr.ChunkSize > maxDecodedChunk:
		return fmt.Errorf("chunks of %d bytes, want at most %d: %w", d.r.hdr.ChunkSize, maxDecodedChunk, errors.ErrUnsupported)
	}
	l := d.r.layout(res.size)
	if l.chunks > 1<<50 || l.end(res.stored) <= 0 {
		return fmt.Errorf("%d stored bytes, want more than the %d of the chunk table", res.stored, l.table+l.prefix*l.chunks)
	}
	return nil
}

// read fills dst with the plain bytes of res from off, a multiple of the chunk size. dst ends at another one or at the
// end. Memory is bounded by len(dst), plus its stored form.
func (d *decoder) read(res *resource, off int64, dst []byte) error {
	if err := d.readable(res); err != nil {
		return d.errorAt(res, res.off, err)
	}
	if res.solid != nil {
		return d.readSolidBlob(res, off, dst)
	}
	if !res.compressed {
		return d.readFull(res, dst, res.off+off)
	}
	l := d.r.layout(res.size)
	first := off / l.chunk
	last := first + (int64(len(dst))+l.chunk-1)/l.chunk
	if first == 0 && last == l.chunks && d.tableShift == 0 { // all of it: one read
		if most := l.table + l.prefix*l.chunks + res.size; res.stored > most {
			return d.errorAt(res, res.off, fmt.Errorf("%d stored bytes, want at most %d", res.stored, most))
		}
		d.stored = grow(d.stored, res.stored)
		if err := d.readFull(res, d.stored, res.off); err != nil {
			return err
		}
		return d.expand(res, l, dst, d.stored)
	}
	from, to := max(first, 1), min(last+1, l.chunks)
	d.stored = grow(d.stored, (to-from)*l.width)
	if err := d.readFull(res, d.stored, res.off+d.tableShift+l.tableAt(res.stored)+(from-1)*l.width); err != nil {
		return err
	}
	if err := d.parseTable(res, l, first, last, d.stored); err != nil {
		return err
	}
	start, end := d.offsets[0], d.offsets[len(d.offsets)-1]
	d.stored = grow(d.stored, end-start+l.prefix*(last-first-1))
	if err := d.readFull(res, d.stored, res.off+l.chunkAt(first, start)); err != nil {
		return err
	}
	return d.chunks(res, l, first, dst, d.stored)
}

// expand decodes all of res, whose stored bytes are at hand.
func (d *decoder) expand(res *resource, l layout, dst, stored []byte) error {
	at := l.tableAt(int64(len(stored)))
	if err := d.parseTable(res, l, 0, l.chunks, stored[at:at+l.table]); err != nil {
		return err
	}
	return d.chunks(res, l, 0, dst, stored[l.chunkAt(0, 0):])
}

// parseTable sets offsets to the starts of chunks first to last-1 and the end of the last. table has the entries of
// chunks max(first, 1) to min(last, chunks-1). Each chunk has from 1 to its plain size of bytes.
func (d *decoder) parseTable(res *resource, l layout, first, last int64, table []byte) error {
	d.offsets = d.offsets[:0]
	if first == 0 {
		d.offsets = append(d.offsets, 0)
	}
	for ; len(table) > 0; table = table[l.width:] {
		if l.width == 4 {
			d.offsets = append(d.offsets, int64(le.Uint32(table)))
		} else {
			d.offsets = append(d.offsets, int64(le.Uint64(table)))
		}
	}
	if last == l.chunks {
		d.offsets = append(d.offsets, l.end(res.stored))
	}
	if end := d.offsets[len(d.offsets)-1]; end < 0 || end > l.end(res.stored) {
		return d.errorAt(res, res.off, fmt.Errorf("chunk table: chunk %d at %d, want at most %d", last, end, l.end(res.stored)))
	}
	for i := range d.offsets[1:] {
		start, end := d.offsets[i], d.offsets[i+1]
		plain := min(l.chunk, res.size-(first+int64(i))*l.chunk)
		if start < 0 || end <= start || end-start > plain {
			return d.errorAt(res, res.off, fmt.Errorf("chunk table: chunk %d from %d to %d, want 1 to %d bytes",
				first+int64(i), start, end, plain))
		}
	}
	return nil
}

// chunks decodes the chunks of offsets. stored starts with the first of them.
func (d *decoder) chunks(res *resource, l layout, first int64, dst, stored []byte) error {
	base := d.offsets[0]
	for i := range d.offsets[1:] {
		out := dst[:min(l.chunk, int64(len(dst)))]
		dst = dst[len(out):]
		skip := l.prefix*int64(i) - base
		in := stored[d.offsets[i]+skip : d.offsets[i+1]+skip]
		if len(in) == len(out) {
			copy(out, in)
			continue
		}
		if err := d.codec.Decompress(out, in); err != nil {
			return d.errorAt(res, res.off+l.chunkAt(first+int64(i), d.offsets[i]), fmt.Errorf("chunk %d: %w", first+int64(i), err))
		}
	}
	return nil
}

func (d *decoder) readFull(res *resource, p []byte, off int64) error {
	if n, err := d.r.readInto(p, off); err != nil {
		return d.errorAt(res, off+n, err)
	}
	return nil
}

// readInto fills p, or tells how much it could.
func (r *Reader) readInto(p []byte, off int64) (int64, error) {
	n, err := r.r.ReadAt(p, off)
	if n == len(p) {
		return int64(n), nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return int64(n), err
}

func (d *decoder) errorAt(res *resource, off int64, err error) error {
	return &FormatError{"blob " + res.hash.String(), off, err}
}

// checkHash compares the SHA-1 of all plain bytes of res.
func (res *resource) checkHash(got winfile.SHA1) error {
	if got != res.hash {
		return &FormatError{"blob " + res.hash.String(), res.off, fmt.Errorf("%w: content has %s", ErrChecksum, got)}
	}
	return nil
}

// resourceOf returns where r itself has b.
func (r *Reader) resourceOf(b *winfile.Blob) (*resource, error) {
	if res, ok := b.Ref.(*resource); ok && res.size == b.Size && b.Content == winfile.Content(r) {
		return res, nil
	}
	return nil, fmt.Errorf("wim: blob %s is not of this file", b.SHA1)
}

// OpenBlob opens a blob of one of r's trees. The reader gives its last bytes only after it has checked the SHA-1 of all.
func (r *Reader) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	r = r.holder(b)
	res, err := r.resourceOf(b)
	if err != nil {
		return nil, err
	}
	return &blobStream{res: res, d: r.decoders.Get().(*decoder)}, nil
}

// blobStream reads a blob from start to end.
type blobStream struct {
	res  *resource
	d    *decoder
	off  int64  // of the next group
	rest []byte // of the current one
	hash hash.Hash
	err  error
}

func (s *blobStream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.err == nil {
			s.err = s.next()
		}
		if s.err != nil {
			return 0, s.err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// next decodes a group. The last one is shown only if the hash of all is right.
func (s *blobStream) next() error {
	if s.off == s.res.size {
		return io.EOF
	}
	if s.d == nil {
		return errors.New("wim: read of a closed blob")
	}
	p := s.d.buffer(min(s.d.groupSize(), s.res.size-s.off))
	if err := s.d.read(s.res, s.off, p); err != nil {
		return err
	}
	s.off += int64(len(p))
	if s.off == int64(len(p)) && s.off == s.res.size {
		s.rest = p
		return s.res.checkHash(sha1.Sum(p))
	}
	if s.hash == nil {
		s.hash = sha1.New()
	}
	s.hash.Write(p)
	s.rest = p
	if s.off == s.res.size {
		return s.res.checkHash(winfile.SHA1(s.hash.Sum(nil)))
	}
	return nil
}

func (s *blobStream) Close() error {
	if s.d != nil {
		s.d.r.decoders.Put(s.d)
		s.d, s.rest, s.err = nil, nil, errors.New("wim: read of a closed blob")
	}
	return nil
}

// BlobReaderAt reads parts of a blob of one of r's trees, decoding only the chunks that are asked for. It does not check
// the SHA-1. It is safe for concurrent use.
func (r *Reader) BlobReaderAt(b *winfile.Blob) (io.ReaderAt, error) {
	r = r.holder(b)
	res, err := r.resourceOf(b)
	if err != nil {
		return nil, err
	}
	d := r.decoders.Get().(*decoder)
	defer r.decoders.Put(d)
	if err := d.readable(res); err != nil {
		return nil, d.errorAt(res, res.off, err)
	}
	if !res.compressed && res.solid == nil {
		return io.NewSectionReader(r.r, res.off, res.size), nil
	}
	return &blobReaderAt{r: r, res: res}, nil
}

// windowSize is how many plain bytes blobReaderAt decodes at least, so that small reads in a row cost one decoding.
const windowSize = 1 << 16

type blobReaderAt struct {
	r   *Reader
	res *resource

	mu      sync.Mutex
	windows [2]struct { // most recently used first
		off int64
		p   []byte // empty if unused
	}
}

func (b *blobReaderAt) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("wim: read at %d", off)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for n < len(p) {
		if off >= b.res.size {
			return n, io.EOF
		}
		w, err := b.window(off)
		if err != nil {
			return n, err
		}
		m := copy(p[n:], w)
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

// window returns decoded bytes that start at off.
func (b *blobReaderAt) window(off int64) ([]byte, error) {
	size := max(windowSize, int64(b.r.hdr.ChunkSize))
	start := off &^ (size - 1)
	if w := &b.windows[1]; len(w.p) > 0 && w.off == start {
		b.windows[0], b.windows[1] = b.windows[1], b.windows[0]
	}
	if w := &b.windows[0]; len(w.p) > 0 && w.off == start {
		return w.p[off-start:], nil
	}
	old := b.windows[1].p
	b.windows[1] = b.windows[0]
	w := &b.windows[0]
	w.off, w.p = start, nil
	p := grow(old, min(size, b.res.size-start))
	d := b.r.decoders.Get().(*decoder)
	defer b.r.decoders.Put(d)
	if err := d.read(b.res, start, p); err != nil {
		return nil, err
	}
	w.p = p
	return p[off-start:], nil
}
