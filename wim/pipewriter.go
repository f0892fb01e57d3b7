package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

	"husk/guid"
	"husk/winfile"
)

// A PipeImage is an image for [WritePipe]: a tree, or the image of another WIM.
type PipeImage struct {
	Tree *winfile.Tree
	Info ImageInfo // of Tree

	Image  *Image         // if Tree is nil
	Export *ExportOptions // of Image; may be nil
}

// WritePipe writes a pipable WIM to out, front to back, without ever going back: out may be a pipe. Microsoft's programs do not
// know this form; husk and wimlib do. The metadata precedes the contents, so all contents whose SHA-1 is not known are read
// twice. There is no integrity table.
func WritePipe(ctx context.Context, out io.Writer, images []PipeImage, opts *WriterOptions) (*Stats, error) {
	w, err := newWriter(&pipeTarget{w: out}, opts)
	if err != nil {
		return nil, err
	}
	if w.opts.Integrity {
		return nil, errors.New("wim: a pipable WIM has no integrity table")
	}
	if w.opts.Solid {
		return nil, errors.New("wim: a pipable WIM has no solid resources")
	}
	if err := w.setForm(); err != nil {
		return nil, err
	}
	w.pipable = true
	w.hdr.Magic = magicPipable
	w.hdr.Flags &^= flagInProgress
	w.hdr.ImageCount = uint32(len(images))
	if w.opts.ReparseFix {
		w.hdr.Flags |= flagReparseFix
	}
	w.out = &appender{f: w.f}
	err = w.writePipe(ctx, images)
	return &w.stats, err
}

// pipedImage is an image that is being written to a pipe.
type pipedImage struct {
	*writerImage
	wanted []wantedBlob
	raw    []byte // metadata
	source *Image // that has it, or nil
}

func (w *Writer) writePipe(ctx context.Context, images []PipeImage) error {
	var list []*pipedImage
	for n := range images {
		p, err := w.prepare(ctx, &images[n])
		if err != nil {
			return err
		}
		w.images = append(w.images, p.writerImage)
		list = append(list, p)
	}
	if w.opts.BootIndex > len(list) {
		return fmt.Errorf("wim: boot index %d of %d images", w.opts.BootIndex, len(list))
	}
	w.hdr.BootIndex = uint32(w.opts.BootIndex)
	if err := w.out.write(encodeHeader(&w.hdr)); err != nil {
		return err
	}
	if _, err := w.writeImagesXML(); err != nil {
		return err
	}
	for _, p := range list {
		if err := w.pipeMetadata(ctx, p); err != nil {
			return err
		}
	}
	for _, p := range list {
		items, err := w.blobItems(slices.Values(p.wanted))
		if err != nil {
			return err
		}
		if err := w.run(ctx, items); err != nil {
			return err
		}
		w.addRefs(p.refs)
	}
	return w.finishPipe()
}

func (w *Writer) pipeMetadata(ctx context.Context, p *pipedImage) error {
	if p.source != nil {
		return w.writeMetadataOf(ctx, p.source, p.raw, p.writerImage)
	}
	return w.addMetadata(ctx, &blobItem{b: winfile.NewBlob(p.raw), metadata: p.writerImage})
}

// prepare makes everything of an image that stands before its contents.
func (w *Writer) prepare(ctx context.Context, i *PipeImage) (*pipedImage, error) {
	p := &pipedImage{writerImage: &writerImage{}, source: i.Image}
	var err error
	if i.Tree == nil {
		opts := i.Export
		if opts == nil {
			opts = &ExportOptions{}
		}
		return p, w.prepareExport(i.Image, opts, p)
	}
	p.source = nil
	info := i.Info
	if err := w.checkInfo(&info); err != nil {
		return nil, err
	}
	plan, err := newPlan(i.Tree)
	if err != nil {
		return nil, err
	}
	p.wanted = slices.Collect(plan.wanted())
	if err := w.hashAll(ctx, p.wanted); err != nil {
		return nil, err
	}
	plan.count(&info)
	p.xml = info.element(len(w.images) + 1)
	p.raw, p.refs, err = plan.metadata()
	return p, err
}

func (w *Writer) prepareExport(img *Image, opts *ExportOptions, p *pipedImage) (err error) {
	if p.xml, err = exportElement(img, opts); err != nil {
		return err
	}
	if err := w.checkName(p.xml.text("NAME")); err != nil {
		return err
	}
	if p.raw, err = img.rawMetadata(); err != nil {
		return err
	}
	if p.refs, err = img.references(p.raw); err != nil {
		return err
	}
	var missing error
	p.wanted = slices.Collect(w.referenced(img, p.refs, &missing))
	return missing
}

// hashAll finds out the SHA-1 of all blobs that do not have one.
func (w *Writer) hashAll(ctx context.Context, list []wantedBlob) error {
	var mu sync.Mutex
	sums := make(map[*winfile.Blob]hash.Hash)
	var blobs []*winfile.Blob
	for _, want := range list {
		b := want.b
		if _, ok := sums[b]; ok || b.SHA1 != (winfile.SHA1{}) {
			continue
		}
		if b.Content == nil {
			return fmt.Errorf("wim: %s: content of %d bytes is not at hand", want.owner.path(), b.Size)
		}
		sums[b] = nil
		blobs = append(blobs, b)
	}
	return winfile.ReadBlobs(ctx, blobs, w.opts.Workers, func(b *winfile.Blob, off int64, p []byte) error {
		mu.Lock()
		h := sums[b]
		if h == nil {
			h = sha1.New()
			sums[b] = h
		}
		mu.Unlock()
		h.Write(p)
		if off+int64(len(p)) == b.Size {
			b.SHA1 = winfile.SHA1(h.Sum(nil))
			mu.Lock()
			delete(sums, b)
			mu.Unlock()
		}
		return nil
	})
}

// finishPipe writes the blob table, the XML data and the header that tells where they are.
func (w *Writer) finishPipe() (err error) {
	if w.hdr.BlobTable, err = w.writePlain(w.blobTable(), resMetadata); err != nil {
		return err
	}
	if w.hdr.XML, err = w.writeXML(); err != nil {
		return err
	}
	if n := w.hdr.BootIndex; n > 0 {
		w.hdr.BootMeta = w.images[n-1].meta.Resource
	}
	if err := w.out.write(encodeHeader(&w.hdr)); err != nil {
		return err
	}
	return w.out.flush()
}

func encodeHeader(h *header) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, le, h); err != nil {
		panic("wim: internal error: " + err.Error())
	}
	return b.Bytes()
}

// pipeHeader writes what stands before each resource of a pipable WIM.
func (w *Writer) pipeHeader(h winfile.SHA1, size int64, flags resourceFlags) error {
	b := le.AppendUint64(nil, pipeMagic)
	b = le.AppendUint64(b, uint64(size))
	b = append(b, h[:]...)
	return w.out.write(le.AppendUint32(b, uint32(flags)))
}

func (it *blobItem) pipeFlags(packed bool) (flags resourceFlags) {
	if it.metadata != nil {
		flags = resMetadata
	}
	if packed {
		flags |= resCompressed
	}
	return flags
}

// pipeSmall writes a resource that is all there. Its chunk table goes behind the chunks.
func (p *pipeline) pipeSmall(res *result) error {
	w, it := p.w, res.item
	if err := w.pipeHeader(res.hash, it.b.Size, it.pipeFlags(res.packed)); err != nil {
		return err
	}
	off := w.out.pos()
	if !res.packed || it.stored != nil {
		if err := w.out.write(res.stored); err != nil {
			return err
		}
		p.addResource(it, res.hash, off, int64(len(res.stored)), res.packed)
		return nil
	}
	l := newLayout(it.b.Size, w.chunk)
	table, chunks := res.stored[:l.table], res.stored[l.table:]
	var sizes []int32
	at := uint32(0)
	for t := table; len(t) > 0; t = t[4:] {
		next := le.Uint32(t)
		sizes = append(sizes, int32(next-at))
		at = next
	}
	sizes = append(sizes, int32(uint32(len(chunks))-at))
	if err := w.pipeChunks(chunks, sizes); err != nil {
		return err
	}
	if err := w.out.write(table); err != nil {
		return err
	}
	p.addResource(it, res.hash, off, w.out.pos()-off, true)
	return nil
}

// pipeChunks writes chunks with their sizes before them.
func (w *Writer) pipeChunks(chunks []byte, sizes []int32) error {
	for _, n := range sizes {
		if err := w.out.write(le.AppendUint32(nil, uint32(n))); err != nil {
			return err
		}
		if err := w.out.write(chunks[:n]); err != nil {
			return err
		}
		chunks = chunks[n:]
	}
	return nil
}

// pipeGroup writes a part of a large resource, and its chunk table behind the last one.
func (p *pipeline) pipeGroup(res *result) error {
	w, it := p.w, res.item
	packed := res.packed || it.stored != nil && it.packed
	g := p.writing
	if g == nil {
		if err := w.pipeHeader(it.b.SHA1, it.b.Size, it.pipeFlags(packed)); err != nil {
			return err
		}
		g = &largeWrite{off: w.out.pos()}
		if res.packed {
			g.layout = newLayout(it.b.Size, w.chunk)
		}
		p.writing = g
	}
	if res.sizes == nil {
		if err := w.out.write(res.stored); err != nil {
			return err
		}
	} else if err := w.pipeChunks(res.stored, res.sizes); err != nil {
		return err
	}
	g.addChunks(res.sizes)
	if !res.last {
		return nil
	}
	p.writing = nil
	if err := w.out.write(g.part); err != nil {
		return err
	}
	p.addResource(it, res.hash, g.off, w.out.pos()-g.off, packed)
	return nil
}

// pipeTarget is an io.Writer as the file of a Writer that never goes back.
type pipeTarget struct {
	w  io.Writer
	at int64
}

var errNoSeek = errors.New("wim: internal error: a pipe can only be written front to back")

func (p *pipeTarget) WriteAt(b []byte, off int64) (int, error) {
	if off != p.at {
		return 0, errNoSeek
	}
	n, err := p.w.Write(b)
	p.at += int64(n)
	return n, err
}

func (p *pipeTarget) ReadAt([]byte, int64) (int, error) { return 0, errNoSeek }
func (p *pipeTarget) Truncate(int64) error              { return nil }
func (p *pipeTarget) Sync() error                       { return nil }

// RebuildPipe is [Rebuild] as a pipable WIM.
func RebuildPipe(ctx context.Context, out io.Writer, r *Reader, opts *WriterOptions) (*Stats, error) {
	o := rebuildOptions(r, opts)
	o.Integrity, o.Solid = opts != nil && opts.Integrity, opts != nil && opts.Solid
	o.ReparseFix = o.ReparseFix || r.ReparseFix()
	var images []PipeImage
	for _, i := range r.images {
		images = append(images, PipeImage{Image: i})
	}
	if o.GUID == (guid.GUID{}) {
		o.GUID = guid.New()
	}
	return WritePipe(ctx, out, images, o)
}
