package ntfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"husk/winfile"
)

const (
	bulkWindow = 1 << 20   // bytes read at once
	bulkGap    = 64 << 10  // bytes between two blobs that are rather read than skipped
	bulkSmall  = 256 << 10 // blobs up to this size are read with their neighbours
)

// batch is some blobs that lie close together, or one of any kind.
type batch struct {
	off, n int64 // range of the volume that holds them; n is 0 for one that is to be opened
	blobs  []*winfile.Blob
}

// ReadBlobs implements [winfile.BulkContent]: small files that lie close together on the volume, and those inside MFT records, are read
// together. blobs are best in the order of their Order.
func (v *Volume) ReadBlobs(ctx context.Context, blobs []*winfile.Blob, workers int, deliver winfile.Deliver) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan batch)
	var wg sync.WaitGroup
	for range max(1, workers) {
		wg.Go(func() {
			buf := make([]byte, bulkWindow)
			for b := range next {
				if err := v.readBatch(ctx, b, buf, deliver); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	v.batches(blobs, func(b batch) bool {
		select {
		case next <- b:
			return true
		case <-ctx.Done():
			return false
		}
	})
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// batches cuts blobs into batches.
func (v *Volume) batches(blobs []*winfile.Blob, yield func(batch) bool) {
	var b batch
	for i, blob := range blobs {
		off, n := v.extentOf(blob)
		near := n > 0 && b.n > 0 && off >= b.off && off <= b.off+b.n+bulkGap && off+n-b.off <= bulkWindow
		if i > 0 && !near {
			if !yield(b) {
				return
			}
			b = batch{}
		}
		if len(b.blobs) == 0 {
			b = batch{off, n, blobs[i:i]}
		}
		b.n = max(b.n, off+n-b.off)
		b.blobs = b.blobs[:len(b.blobs)+1] // blobs[i], as batches are consecutive
	}
	if len(b.blobs) > 0 {
		yield(b)
	}
}

// extentOf is the range of the volume to read for a small blob. n is 0 if it is large, or in more than one place.
func (v *Volume) extentOf(b *winfile.Blob) (off, n int64) {
	loc, ok := b.Ref.(*location)
	cs := int64(v.ClusterSize)
	switch {
	case !ok || b.Content != winfile.Content(v) || b.Size > bulkSmall:
	case loc.resident && v.ClusterSize >= v.RecordSize && loc.lcn > 0:
		return int64(loc.lcn)*cs + int64(loc.holder)*int64(v.RecordSize)%cs, int64(v.RecordSize)
	case loc.oneRun && loc.lcn != hole && loc.initialized >= b.Size:
		return int64(loc.lcn) * cs, b.Size
	}
	return 0, 0
}

// readBatch reads a batch and delivers its blobs.
func (v *Volume) readBatch(ctx context.Context, b batch, buf []byte, deliver winfile.Deliver) error {
	if b.n == 0 {
		return v.readOpened(ctx, b.blobs[0], buf, deliver)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	window := buf[:b.n]
	if n, err := v.r.ReadAt(window, b.off); n < len(window) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("ntfs: clusters at %#x: %w", b.off, err)
	}
	record := make([]byte, v.RecordSize)
	for _, blob := range b.blobs {
		off, n := v.extentOf(blob)
		p := window[off-b.off:][:n]
		if loc := blob.Ref.(*location); loc.resident {
			copy(record, p)
			var err error
			if p, err = loc.residentValue(record, blob); err != nil {
				return err
			}
		}
		if err := deliver(blob, 0, p); err != nil {
			return err
		}
	}
	return nil
}

// residentValue finds the value of a blob in the record that holds it, whose fixups it undoes.
func (l *location) residentValue(record []byte, b *winfile.Blob) ([]byte, error) {
	n := int64(l.holder)
	r, err := openRecord(record, n)
	if err != nil {
		return nil, err
	}
	for off := int(r.firstAttr()); ; {
		a, ok, err := r.attrAt(off, n)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, formatError(recordName(n), off, "no $DATA of instance %d", l.instance)
		}
		if a.typ() == typeData && a.instance() == l.instance {
			if a.nonResident() || a.size() != b.Size {
				return nil, a.fail(0x10, "%d bytes, non-resident %t; want %d, resident", a.size(), a.nonResident(), b.Size)
			}
			if a.flags()&attrFlagEncrypted != 0 {
				return nil, fmt.Errorf("ntfs: %v: encrypted content: %w", a, errors.ErrUnsupported)
			}
			return a.value(), nil
		}
		off += len(a.attribute)
	}
}

// readOpened reads one blob in pieces.
func (v *Volume) readOpened(ctx context.Context, b *winfile.Blob, buf []byte, deliver winfile.Deliver) error {
	s, err := v.open(b)
	if err != nil {
		return err
	}
	for off := int64(0); off < b.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(b.Size-off, int64(len(buf)))]
		if _, err := s.ReadAt(p, off); err != nil && err != io.EOF {
			return err
		}
		if err := deliver(b, off, p); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}
