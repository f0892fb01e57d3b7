package wim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"husk/winfile"
)

// RawBlob returns the content of a blob of one of r's trees as its bytes are in the file: the chunk table and the chunks, compressed with r's
// codec and chunk size ([Reader.Codec], [Reader.ChunkSize]). It is a blob in its own right, of the stored size and without a SHA-1,
// that needs no decompression to be copied. Pipable WIMs have another form. What is in a solid resource, or stored uncompressed, has no such form, nor what is in a
// reference of r of another codec or chunk size.
func (r *Reader) RawBlob(b *winfile.Blob) (*winfile.Blob, bool) {
	o := r.holder(b)
	res, err := o.resourceOf(b)
	if err != nil || res.solid != nil || !res.compressed || o.readable(res) != nil {
		return nil, false
	}
	if o.pipable || o.codec != r.codec || o.hdr.ChunkSize != r.hdr.ChunkSize {
		return nil, false
	}
	return &winfile.Blob{Size: res.stored, Order: res.off, Content: (*rawContent)(o), Ref: res}, true
}

// readable tells why res cannot be decoded, before anything is read.
func (r *Reader) readable(res *resource) error {
	d := r.decoders.Get().(*decoder)
	defer r.decoders.Put(d)
	return d.readable(res)
}

// StoredSize returns how many bytes a blob of one of r's trees takes in the file, and whether it is compressed by itself: not raw, not in a
// solid resource.
func (r *Reader) StoredSize(b *winfile.Blob) (stored int64, compressed bool) {
	res, err := r.holder(b).resourceOf(b)
	if err != nil {
		return 0, false
	}
	return res.stored, res.compressed && res.solid == nil
}

// rawContent reads resources as they are.
type rawContent Reader

func (c *rawContent) resourceOf(b *winfile.Blob) (*resource, error) {
	if res, ok := b.Ref.(*resource); ok && res.stored == b.Size {
		return res, nil
	}
	return nil, fmt.Errorf("wim: stored blob of %d bytes is not of this file", b.Size)
}

// OpenBlob implements [winfile.Content].
func (c *rawContent) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	res, err := c.resourceOf(b)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(c.r, res.off, res.stored)), nil
}

// BlobReaderAt opens a blob for reading anywhere.
func (c *rawContent) BlobReaderAt(b *winfile.Blob) (io.ReaderAt, error) {
	res, err := c.resourceOf(b)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(c.r, res.off, res.stored), nil
}

// ReadBlobs implements [winfile.BulkContent]: neighbours are read with one read.
func (c *rawContent) ReadBlobs(ctx context.Context, blobs []*winfile.Blob, workers int, deliver winfile.Deliver) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	take := func() []*winfile.Blob {
		mu.Lock()
		defer mu.Unlock()
		n := rawBatchLen(blobs)
		batch := blobs[:n]
		blobs = blobs[n:]
		return batch
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			buf := make([]byte, batchStored)
			for ctx.Err() == nil {
				batch := take()
				if len(batch) == 0 {
					return
				}
				if err := c.readBatch(ctx, batch, buf, deliver); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// rawBatchLen counts the blobs that are read together: as many as lie within batchStored bytes, or one that is longer.
func rawBatchLen(blobs []*winfile.Blob) int {
	var start, end int64
	for i, b := range blobs {
		res, ok := b.Ref.(*resource)
		if !ok || res.stored != b.Size {
			return max(i, 1)
		}
		if i == 0 {
			start, end = res.off, res.off
		}
		if i > 0 && (res.off < end || res.off-end > batchGap || res.off+res.stored-start > batchStored) {
			return i
		}
		end = res.off + res.stored
	}
	return len(blobs)
}

func (c *rawContent) readBatch(ctx context.Context, batch []*winfile.Blob, buf []byte, deliver winfile.Deliver) error {
	first, err := c.resourceOf(batch[0])
	if err != nil {
		return err
	}
	if first.stored > batchStored {
		for off := int64(0); off < first.stored; {
			p := buf[:min(int64(len(buf)), first.stored-off)]
			if err := c.readFull(first, p, first.off+off); err != nil {
				return err
			}
			if err := deliver(batch[0], off, p); err != nil {
				return err
			}
			off += int64(len(p))
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
		}
		return nil
	}
	last, err := c.resourceOf(batch[len(batch)-1])
	if err != nil {
		return err
	}
	span := buf[:last.off+last.stored-first.off]
	if err := c.readFull(first, span, first.off); err != nil {
		return err
	}
	for _, b := range batch {
		res, err := c.resourceOf(b)
		if err != nil {
			return err
		}
		if err := deliver(b, 0, span[res.off-first.off:][:res.stored]); err != nil {
			return err
		}
	}
	return nil
}

func (c *rawContent) readFull(res *resource, p []byte, off int64) error {
	n, err := c.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &FormatError{"blob " + res.hash.String(), off + int64(n), err}
}
