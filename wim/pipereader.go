package wim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"husk/guid"
	"husk/winfile"
)

// A PipeReader reads a pipable WIM front to back, as it comes out of a pipe: first [PipeReader.Tree] of the images that are
// wanted, in rising order, then the contents with [PipeReader.ReadBlobs] or [PipeReader.Next]. [Spool] gives a Reader instead, for
// what needs to go back.
type PipeReader struct {
	r     *bufio.Reader
	off   int64
	hdr   header
	codec decompressor
	xml   []*element // by image

	images int        // metadata resources that have passed
	next   *pipeBlob  // read up to its header
	trees  []pipeTree // that were decoded
	ended  bool       // the blob table was reached
	stored []byte
	plain  []byte
}

// pipeTree is what has to be filled in when contents arrive.
type pipeTree struct {
	blobs   map[winfile.SHA1]*winfile.Blob
	reparse map[*winfile.Blob][]*winfile.Reparse
}

// pipeBlob is a resource in the pipe.
type pipeBlob struct {
	size  int64
	hash  winfile.SHA1
	flags resourceFlags
}

// NewPipeReader reads the header and the XML data.
func NewPipeReader(r io.Reader) (*PipeReader, error) {
	p := &PipeReader{r: bufio.NewReaderSize(r, 1<<18)}
	b, err := p.take(headerSize)
	if err != nil {
		return nil, p.fail("header", err)
	}
	if p.hdr, err = parseHeader(b, 0); err != nil {
		return nil, err
	}
	switch {
	case p.hdr.Magic != magicPipable:
		return nil, &FormatError{"header", 0, errors.New("not a pipable WIM: it cannot be read from a pipe")}
	case p.hdr.Of > 1:
		return nil, &FormatError{"header", 0x2a, fmt.Errorf("part %d of %d of a split WIM in a pipe: %w", p.hdr.Part, p.hdr.Of, errors.ErrUnsupported)}
	case p.hdr.ChunkSize > maxDecodedChunk:
		return nil, &FormatError{"header", 0x14, fmt.Errorf("chunks of %d bytes, want at most %d: %w", p.hdr.ChunkSize, maxDecodedChunk, errors.ErrUnsupported)}
	}
	if c := p.hdr.codec(); c != None {
		if p.codec, err = newDecompressor(c, int64(p.hdr.ChunkSize)); err != nil {
			return nil, err
		}
	}
	return p, p.readXML()
}

func (p *PipeReader) readXML() error {
	start := p.off
	text, _, err := p.resource(maxXML)
	if err != nil {
		return err
	}
	root, err := parseXML(text)
	if err == nil {
		p.xml, err = root.images(int(p.hdr.ImageCount))
	}
	if err != nil {
		return &FormatError{"XML data", start, err}
	}
	return nil
}

// GUID identifies the file.
func (p *PipeReader) GUID() guid.GUID { return p.hdr.GUID }

// BootIndex is the number of the image that boots, 0 if none does.
func (p *PipeReader) BootIndex() int { return int(p.hdr.BootIndex) }

// ReparseFix reports whether absolute links were made relative to the root of the image (RP_FIX).
func (p *PipeReader) ReparseFix() bool { return p.hdr.Flags&flagReparseFix != 0 }

// Images is what the XML data tells about each image.
func (p *PipeReader) Images() []ImageInfo {
	list := make([]ImageInfo, len(p.xml))
	for i, e := range p.xml {
		list[i] = imageInfo(e)
	}
	return list
}

// Tree reads on to the metadata of image n, 1 being the first, and decodes it. The pipe holds sizes and contents behind all
// metadata, so the blobs of the tree have size 0, and reparse points no data, until ReadBlobs has reached them.
func (p *PipeReader) Tree(n int) (*winfile.Tree, error) {
	if n < 1 || n > len(p.xml) || n <= p.images || p.ended {
		return nil, fmt.Errorf("wim: image %d cannot be read from the pipe any more, or does not exist", n)
	}
	var raw []byte
	for p.images < n {
		start := p.off
		h, err := p.peek()
		if err != nil {
			return nil, err
		}
		if h.flags&resMetadata == 0 {
			return nil, &FormatError{imageWhat(p.images+1, "metadata"), start, errors.New("contents, want metadata")}
		}
		if p.images++; p.images < n {
			if err := p.skip(); err != nil {
				return nil, err
			}
			continue
		}
		if raw, _, err = p.resource(maxMetadata); err != nil {
			return nil, err
		}
	}
	t := pipeTree{blobs: make(map[winfile.SHA1]*winfile.Blob)}
	d := &treeDecoder{image: &Image{Index: n}, raw: raw, blobs: func(h winfile.SHA1) *winfile.Blob {
		b := t.blobs[h]
		if b == nil {
			b = &winfile.Blob{SHA1: h, Content: p}
			t.blobs[h] = b
		}
		return b
	}}
	tree, err := d.tree()
	if err != nil {
		return nil, err
	}
	t.reparse = d.reparse
	p.trees = append(p.trees, t)
	return tree, nil
}

// OpenBlob implements [winfile.Content]; it always fails, because a pipe can only be read by [PipeReader.ReadBlobs].
func (p *PipeReader) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	return nil, fmt.Errorf("wim: blob %s is in a pipe, and cannot be read out of turn: %w", b.SHA1, errors.ErrUnsupported)
}

// ReadBlobs reads all that is left of the pipe, and delivers those of blobs that come along, in the order of the pipe. It sets
// their sizes before the first piece, and the data of the reparse points of all trees. The last piece comes only if the SHA-1 is
// right. Blobs that did not come are an error that wraps [ErrMissing]. It can be called once.
func (p *PipeReader) ReadBlobs(ctx context.Context, blobs []*winfile.Blob, _ int, deliver winfile.Deliver) error {
	wanted := make(map[winfile.SHA1][]*winfile.Blob, len(blobs))
	for _, b := range blobs {
		wanted[b.SHA1] = append(wanted[b.SHA1], b)
	}
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		h, size, err := p.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		list := wanted[h]
		delete(wanted, h)
		points := p.arrive(h, size)
		if len(list) == 0 && len(points) == 0 {
			continue
		}
		if len(points) > 0 && size > maxReparse {
			return &FormatError{"reparse data " + h.String(), p.off, fmt.Errorf("%d bytes, want at most %d", size, maxReparse)}
		}
		err = p.Read(func(off int64, piece []byte) error {
			for _, r := range points {
				r.Data = append(r.Data, piece...)
			}
			for _, b := range list {
				b.Size = size
				if err := deliver(b, off, piece); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(wanted) > 0 {
		first := slices.MinFunc(slices.Collect(maps.Keys(wanted)), func(a, b winfile.SHA1) int { return bytes.Compare(a[:], b[:]) })
		return fmt.Errorf("wim: %w: %s, one of %d", ErrMissing, first, len(wanted))
	}
	return nil
}

// compare holds all contents against the blob table of r, without decompressing them.
func (p *PipeReader) compare(ctx context.Context, r *Reader) error {
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, size, err := p.Next()
		if err == io.EOF && n != len(r.resources) {
			return fmt.Errorf("%d contents, want the %d of the blob table", n, len(r.resources))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if res, ok := r.Lookup(h); !ok || res.Offset != p.off || res.Size != size {
			return &FormatError{"resource header", p.off - pipeHeaderSize, fmt.Errorf("content %s of %d bytes is not what the blob table has", h, size)}
		}
	}
}

// arrive gives the blobs with a hash their size, and returns the reparse points whose data they are.
func (p *PipeReader) arrive(h winfile.SHA1, size int64) (points []*winfile.Reparse) {
	for _, t := range p.trees {
		if b := t.blobs[h]; b != nil {
			b.Size = size
			for _, r := range t.reparse[b] {
				r.Data = nil
				points = append(points, r)
			}
		}
	}
	return points
}

// Next goes on to the next content, and tells its SHA-1 and size. At the end of the contents it is io.EOF, if all that follows in
// the pipe is right, too.
func (p *PipeReader) Next() (winfile.SHA1, int64, error) {
	if p.ended {
		return winfile.SHA1{}, 0, io.EOF
	}
	if p.next != nil {
		if err := p.skip(); err != nil {
			return winfile.SHA1{}, 0, err
		}
	}
	for {
		h, err := p.peek()
		if err != nil {
			return winfile.SHA1{}, 0, err
		}
		if h.flags&resMetadata == 0 {
			return h.hash, h.size, nil
		}
		if p.images == len(p.xml) {
			if err := p.end(); err != nil {
				return winfile.SHA1{}, 0, err
			}
			p.ended = true
			return winfile.SHA1{}, 0, io.EOF
		}
		p.images++
		if err := p.skip(); err != nil {
			return winfile.SHA1{}, 0, err
		}
	}
}

// end reads what is behind the contents: the blob table, the XML data and the last header.
func (p *PipeReader) end() error {
	for range 2 {
		if err := p.skip(); err != nil {
			return err
		}
	}
	start := p.off
	b, err := p.take(headerSize)
	if err != nil {
		return p.fail("last header", err)
	}
	h, err := parseHeader(b, start)
	if err != nil {
		return err
	}
	if h.GUID != p.hdr.GUID || h.Magic != magicPipable {
		return &FormatError{"last header", start, errors.New("it is of another file than the first")}
	}
	return nil
}

// Read hands out the content that [PipeReader.Next] went on to, in pieces of at most 1 MiB; the last one only if the SHA-1 is right.
func (p *PipeReader) Read(piece func(off int64, b []byte) error) error {
	h, err := p.peek()
	if err != nil {
		return err
	}
	p.next = nil
	sum := sha1.New()
	start := p.off
	if h.flags&resCompressed == 0 {
		for off := int64(0); off < h.size; {
			n := min(h.size-off, pieceSize)
			if p.plain, err = p.takeInto(p.plain, n); err != nil {
				return p.fail("blob "+h.hash.String(), err)
			}
			if err := h.hand(sum, off, p.plain, start, piece); err != nil {
				return err
			}
			off += n
		}
		return nil
	}
	if p.codec == nil {
		return &FormatError{"blob " + h.hash.String(), start, errors.New("compressed resource in an uncompressed WIM")}
	}
	l := newLayout(h.size, int64(p.hdr.ChunkSize))
	for i := range l.chunks {
		if err := p.chunk(h, min(l.chunk, h.size-i*l.chunk)); err != nil {
			return err
		}
		if err := h.hand(sum, i*l.chunk, p.plain, start, piece); err != nil {
			return err
		}
	}
	return p.discard(l.table)
}

// chunk reads a chunk that has n plain bytes into p.plain.
func (p *PipeReader) chunk(h *pipeBlob, n int64) error {
	what := "blob " + h.hash.String()
	b, err := p.take(pipeChunkSize)
	if err != nil {
		return p.fail(what, err)
	}
	stored := int64(le.Uint32(b))
	if stored == 0 || stored > n {
		return &FormatError{what, p.off - pipeChunkSize, fmt.Errorf("chunk of %d bytes, want 1 to %d", stored, n)}
	}
	if stored == n {
		p.plain, err = p.takeInto(p.plain, n)
		if err != nil {
			return p.fail(what, err)
		}
		return nil
	}
	start := p.off
	if p.stored, err = p.takeInto(p.stored, stored); err != nil {
		return p.fail(what, err)
	}
	p.plain = grow(p.plain, n)
	if err := p.codec.Decompress(p.plain, p.stored); err != nil {
		return &FormatError{what, start, err}
	}
	return nil
}

// hand hashes bytes of a resource and hands them on, in small pieces.
func (h *pipeBlob) hand(sum hash.Hash, off int64, b []byte, start int64, piece func(off int64, b []byte) error) error {
	sum.Write(b)
	if off+int64(len(b)) == h.size {
		if got := winfile.SHA1(sum.Sum(nil)); got != h.hash {
			return &FormatError{"blob " + h.hash.String(), start, fmt.Errorf("%w: content has %s", ErrChecksum, got)}
		}
	}
	for len(b) > 0 {
		n := min(len(b), pieceSize)
		if err := piece(off, b[:n]); err != nil {
			return err
		}
		off += int64(n)
		b = b[n:]
	}
	return nil
}

// resource reads a whole resource of at most limit bytes.
func (p *PipeReader) resource(limit int64) ([]byte, *pipeBlob, error) {
	h, err := p.peek()
	if err != nil {
		return nil, nil, err
	}
	if h.size > limit {
		return nil, nil, &FormatError{"resource " + h.hash.String(), p.off, fmt.Errorf("%d bytes, want at most %d", h.size, limit)}
	}
	var all bytes.Buffer
	err = p.Read(func(_ int64, b []byte) error { all.Write(b); return nil })
	return all.Bytes(), h, err
}

// skip reads over a resource, whose stored size is not known before.
func (p *PipeReader) skip() error {
	h, err := p.peek()
	if err != nil {
		return err
	}
	p.next = nil
	if h.flags&resCompressed == 0 {
		return p.discard(h.size)
	}
	if p.codec == nil {
		return &FormatError{"resource " + h.hash.String(), p.off, errors.New("compressed resource in an uncompressed WIM")}
	}
	l := newLayout(h.size, int64(p.hdr.ChunkSize))
	for i := range l.chunks {
		b, err := p.take(pipeChunkSize)
		if err != nil {
			return p.fail("resource "+h.hash.String(), err)
		}
		n, plain := int64(le.Uint32(b)), min(l.chunk, h.size-i*l.chunk)
		if n == 0 || n > plain {
			return &FormatError{"resource " + h.hash.String(), p.off - pipeChunkSize, fmt.Errorf("chunk of %d bytes, want 1 to %d", n, plain)}
		}
		if err := p.discard(n); err != nil {
			return err
		}
	}
	return p.discard(l.table)
}

// peek reads what stands before the next resource, if that has not happened yet.
func (p *PipeReader) peek() (*pipeBlob, error) {
	if p.next != nil {
		return p.next, nil
	}
	start := p.off
	b, err := p.take(pipeHeaderSize)
	if err != nil {
		return nil, p.fail("resource header", err)
	}
	h := &pipeBlob{size: int64(le.Uint64(b[8:])), hash: winfile.SHA1(b[16:36]), flags: resourceFlags(le.Uint32(b[36:]))}
	switch {
	case le.Uint64(b) != pipeMagic:
		return nil, &FormatError{"resource header", start, fmt.Errorf("magic %#x, want %#x", le.Uint64(b), uint64(pipeMagic))}
	case le.Uint32(b[36:])&^uint32(resMetadata|resCompressed) != 0:
		return nil, &FormatError{"resource header", start + 36, fmt.Errorf("flags %#x", le.Uint32(b[36:]))}
	case h.size <= 0 && h.flags != resMetadata || h.size < 0 || h.size > maxPlain:
		return nil, &FormatError{"resource header", start + 8, fmt.Errorf("plain size %d", uint64(h.size))}
	}
	p.next = h
	return h, nil
}

// take reads n bytes, few, into memory of their own.
func (p *PipeReader) take(n int64) ([]byte, error) { return p.takeInto(nil, n) }

// takeInto reads n bytes into b, if it is large enough. Memory grows as they arrive.
func (p *PipeReader) takeInto(b []byte, n int64) ([]byte, error) {
	if int64(cap(b)) >= n {
		b = b[:n]
		m, err := io.ReadFull(p.r, b)
		p.off += int64(m)
		return b, noEOF(err)
	}
	b = b[:0]
	for int64(len(b)) < n {
		have := len(b)
		b = append(b, make([]byte, min(n-int64(have), max(pieceSize, int64(have))))...)
		m, err := io.ReadFull(p.r, b[have:])
		p.off += int64(m)
		if err != nil {
			return b[:have+m], noEOF(err)
		}
	}
	return b, nil
}

func (p *PipeReader) discard(n int64) error {
	m, err := io.CopyN(io.Discard, p.r, n)
	p.off += m
	if err != nil {
		return p.fail("resource", noEOF(err))
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (p *PipeReader) fail(what string, err error) error { return &FormatError{what, p.off, err} }

// Spool copies a pipable WIM out of a pipe into f, for what a [PipeReader] cannot do, and opens it there.
func Spool(r io.Reader, f WriteTarget) (*Reader, error) {
	br := bufio.NewReaderSize(r, 1<<20)
	b, err := br.Peek(headerSize)
	if err != nil {
		return nil, &FormatError{"header", 0, noEOF(err)}
	}
	h, err := parseHeader(b, 0)
	if err != nil {
		return nil, err
	}
	if h.Magic != magicPipable {
		return nil, &FormatError{"header", 0, errors.New("not a pipable WIM: it cannot be read from a pipe")}
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	n, err := io.Copy(io.NewOffsetWriter(f, 0), br)
	if err != nil {
		return nil, err
	}
	return NewReader(f, n)
}
