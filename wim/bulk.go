package wim

import (
	"cmp"
	"context"
	"crypto/sha1"
	"runtime"
	"slices"
	"sync"

	"husk/winfile"
)

const (
	batchStored = 1 << 20   // stored bytes that are read at once
	batchPlain  = 8 << 20   // plain bytes of one batch, so that the last ones end together
	batchGap    = 64 << 10  // unwanted bytes read along rather than asked around
	smallBlob   = pieceSize // larger ones are shared out in groups of chunks
)

// ReadBlobs reads blobs of r's trees as [winfile.ReadBlobs] says, in the order of the file: runs of small blobs with one
// read each, and large ones by several workers at once. The last piece of a blob comes only if its SHA-1 is right.
func (r *Reader) ReadBlobs(ctx context.Context, blobs []*winfile.Blob, workers int, deliver winfile.Deliver) error {
	for _, group := range r.byHolder(blobs) {
		err := group.r.readBlobs(ctx, group.blobs, workers, deliver, func(_ *winfile.Blob, err error) error { return err })
		if err != nil {
			return err
		}
	}
	return nil
}

// readBlobs asks onError what to do about a bad blob: nil goes on with the others.
func (r *Reader) readBlobs(ctx context.Context, blobs []*winfile.Blob, workers int, deliver winfile.Deliver,
	onError func(*winfile.Blob, error) error) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	byOrder := func(a, b *winfile.Blob) int { return cmp.Compare(a.Order, b.Order) }
	if !slices.IsSortedFunc(blobs, byOrder) {
		blobs = slices.Clone(blobs)
		slices.SortStableFunc(blobs, byOrder)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q := &bulk{r: r, ctx: ctx, cancel: cancel, workers: workers, blobs: blobs, deliver: deliver, onError: onError}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(q.work)
	}
	wg.Wait()
	return context.Cause(ctx)
}

// bulk is one call of readBlobs.
type bulk struct {
	r       *Reader
	ctx     context.Context
	cancel  context.CancelCauseFunc
	workers int
	deliver winfile.Deliver
	onError func(*winfile.Blob, error) error

	mu    sync.Mutex
	blobs []*winfile.Blob // not yet taken
	large *sequence       // whose groups are being taken; may be nil
}

// fail gives a blob's error to onError, and ends everything if that says so.
func (q *bulk) fail(b *winfile.Blob, err error) {
	if err := q.onError(b, err); err != nil {
		q.cancel(err)
	}
}

// take returns the next group of a sequence, or a batch of small blobs, or nothing at the end.
func (q *bulk) take() (large *sequence, group int64, batch []*winfile.Blob) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if l := q.large; l != nil && l.taken < l.groups && !l.over.Load() {
			l.taken++
			return l, l.taken - 1, nil
		}
		if len(q.blobs) == 0 || q.ctx.Err() != nil {
			return nil, 0, nil
		}
		b := q.blobs[0]
		res, err := q.r.resourceOf(b)
		switch {
		case err != nil:
			q.blobs = q.blobs[1:]
			q.fail(b, err)
		case res.solid != nil:
			n := solidLen(q.blobs)
			q.large = q.newSolid(res.solid, q.blobs[:n])
			q.blobs = q.blobs[n:]
		case b.Size <= smallBlob:
			n := batchLen(q.blobs)
			batch, q.blobs = q.blobs[:n], q.blobs[n:]
			return nil, 0, batch
		default:
			q.large = q.newLarge(b, res)
			q.blobs = q.blobs[1:]
		}
	}
}

// batchLen counts the blobs that are read together, at least 1.
func batchLen(blobs []*winfile.Blob) int {
	var start, end, plain int64
	for i, b := range blobs {
		res, ok := b.Ref.(*resource)
		if !ok || b.Size > smallBlob || res.solid != nil {
			return max(i, 1)
		}
		if i == 0 {
			start, end = res.off, res.off
		}
		next := max(end, res.off+res.stored)
		if plain += b.Size; i > 0 && (res.off-end > batchGap || next-start > batchStored || plain > batchPlain) {
			return i
		}
		end = next
	}
	return len(blobs)
}

func (q *bulk) work() {
	d := q.r.decoders.Get().(*decoder)
	defer q.r.decoders.Put(d)
	var span, buf []byte
	for q.ctx.Err() == nil {
		large, group, batch := q.take()
		switch {
		case large != nil:
			buf = q.readGroup(d, large, group, buf)
		case len(batch) > 0:
			span = q.readBatch(d, batch, span)
		default:
			return
		}
	}
}

// readBatch reads neighbouring small blobs with one read into span, and delivers them.
func (q *bulk) readBatch(d *decoder, batch []*winfile.Blob, span []byte) []byte {
	start, end := int64(-1), int64(-1)
	for _, b := range batch {
		res, err := q.r.resourceOf(b)
		if err != nil || d.readable(res) != nil {
			continue
		}
		if start < 0 {
			start, end = res.off, res.off
		}
		end = max(end, res.off+min(res.stored, 2*batchStored))
	}
	span = grow(span, end-start)
	var have []byte
	if len(span) > 0 {
		n, _ := q.r.r.ReadAt(span, start) // what is missing is read again, and then reported
		have = span[:n]
	}
	for _, b := range batch {
		if q.ctx.Err() != nil {
			break
		}
		res, rerr := q.r.resourceOf(b)
		if rerr != nil {
			q.fail(b, rerr)
			continue
		}
		p, perr := d.expandFrom(res, have, res.off-start)
		if perr == nil {
			perr = res.checkHash(sha1.Sum(p))
		}
		if perr != nil {
			q.fail(b, perr)
			continue
		}
		if err := q.deliver(b, 0, p); err != nil {
			q.cancel(err)
		}
	}
	return span
}

// expandFrom decodes a small blob whose stored bytes are at off in span. A blob that is not all there is read by itself,
// which gives the error its offset.
func (d *decoder) expandFrom(res *resource, span []byte, off int64) ([]byte, error) {
	if err := d.readable(res); err != nil {
		return nil, d.errorAt(res, res.off, err)
	}
	if off < 0 || off > int64(len(span)) || res.stored > int64(len(span))-off {
		p := d.buffer(res.size)
		return p, d.read(res, 0, p)
	}
	stored := span[off : off+res.stored]
	if !res.compressed {
		return stored, nil
	}
	p := d.buffer(res.size)
	return p, d.expand(res, d.r.layout(res.size), p, stored)
}
