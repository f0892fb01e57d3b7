package wim

import (
	"cmp"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/bits"
	"slices"
	"sync"

	"husk/winfile"
)

// The pipeline reads, hashes, compresses and writes blobs. Each worker takes a small blob, or a group of chunks of a large
// one, through all of that but the writing; whoever finishes the next one in order writes it and those that waited for it.
// So the file depends on the order of the blobs only, and not on how fast the workers are.

const (
	wholeBlob    = 2 << 20  // larger blobs are read in groups
	maxInFlight  = 32 << 20 // plain bytes that are read and not yet written
	taskOverhead = 4 << 10  // what a task counts besides its bytes
	maxErrors    = 100      // of AddImage
)

// result is what a task gives to the writing.
type result struct {
	item   *blobItem
	hash   winfile.SHA1
	out    *buffer // nil if there is nothing to write
	stored []byte  // in out
	packed bool    // stored is a chunk table and chunks
	dup    bool    // known already
	group  bool    // of a large blob; stored is chunks without table
	last   bool    // group: the last one, and hash is that of the whole
	sizes  []int32 // group: stored sizes of the chunks
	span   int64   // tasks it stands for
	weight int64
}

// A pipeline writes the blobs of one image.
type pipeline struct {
	w     *Writer
	ctx   context.Context
	items []*blobItem

	mu         sync.Mutex
	cond       sync.Cond
	next       int        // item
	large      *largeItem // being read
	claims     map[winfile.SHA1]int64
	inFlight   int64
	commit     int64 // next task to be written
	committing bool
	ready      map[int64]*result
	read       int64
	errs       []taskError
	fatal      error

	writing *largeWrite // under committing
}

type taskError struct {
	seq int64
	err error
}

// largeItem is a large blob that is being read.
type largeItem struct {
	*blobItem
	groupSize int64
	hashing   bool  // nothing is handed out yet
	taken     int64 // groups

	mu   sync.Mutex // held while reading, so that groups are read in order
	r    io.ReadCloser
	hash hash.Hash
	done int64 // groups
	err  error
}

// run writes items.
func (w *Writer) run(ctx context.Context, items []*blobItem) error {
	if err := w.checkCopies(ctx, items); err != nil {
		return err
	}
	p := &pipeline{w: w, ctx: ctx, items: items, claims: make(map[winfile.SHA1]int64), ready: make(map[int64]*result)}
	p.cond.L = &p.mu
	var seq int64
	for _, it := range items {
		it.seq, it.tasks = seq, 1
		if n := it.source().Size; n > wholeBlob {
			size := w.groupSize()
			it.tasks = (n + size - 1) / size
		}
		seq += it.tasks
	}
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cond.Broadcast()
	})
	defer stop()
	var wg sync.WaitGroup
	for range min(int64(w.opts.Workers), max(seq, 1)) {
		wg.Go(p.work)
	}
	wg.Wait()
	if l := p.large; l != nil && l.r != nil {
		l.r.Close() // reading it was given up
	}
	w.stats.BytesRead += p.read
	if p.fatal != nil {
		return p.fatal
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return p.joinErrors()
}

func (p *pipeline) joinErrors() error {
	slices.SortFunc(p.errs, func(a, b taskError) int { return cmp.Compare(a.seq, b.seq) })
	var list []error
	for _, e := range p.errs {
		list = append(list, e.err)
	}
	if len(list) >= maxErrors {
		list = append(list, fmt.Errorf("stopped after %d errors", len(list)))
	}
	return errors.Join(list...)
}

// fail notes what is wrong with a blob. Reading goes on, to find all such errors; writing does not.
func (p *pipeline) fail(it *blobItem, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, taskError{it.seq, err})
}

func (p *pipeline) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.errs) > 0
}

// admit tells whether a task may begin: it may if few bytes are in flight, or if all others wait for it.
func (p *pipeline) admit(seq, size int64) bool {
	if p.inFlight+size > maxInFlight && seq != p.commit && p.inFlight > 0 {
		return false
	}
	p.inFlight += size
	return true
}

// take waits for a task: a small blob, or a large one to take the next group of or to hash.
func (p *pipeline) take() (small *blobItem, large *largeItem, hashing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; ; p.cond.Wait() {
		if p.fatal != nil || p.ctx.Err() != nil || len(p.errs) >= maxErrors {
			return nil, nil, false
		}
		if l := p.large; l != nil && !l.hashing && l.taken < l.tasks {
			if p.admit(l.seq+l.taken, l.groupSize+taskOverhead) {
				l.taken++
				return nil, l, false
			}
			continue
		}
		if p.next == len(p.items) {
			if p.large == nil {
				return nil, nil, false
			}
			continue // its groups may be still to come
		}
		it := p.items[p.next]
		if n := it.source().Size; n <= wholeBlob {
			if p.admit(it.seq, n+taskOverhead) {
				p.next++
				return it, nil, false
			}
			continue
		}
		if p.large != nil {
			continue
		}
		p.next++
		p.large = &largeItem{blobItem: it, groupSize: p.w.groupSize(), hashing: it.hashFirst, hash: sha1.New()}
		if it.hashFirst {
			return nil, p.large, true
		}
		if p.admit(it.seq, p.large.groupSize+taskOverhead) {
			p.large.taken++
			return nil, p.large, false
		}
	}
}

// worker is what a goroutine keeps between tasks.
type worker struct {
	*pipeline
	codec compressor
}

func (p *pipeline) work() {
	w := &worker{pipeline: p, codec: p.w.compressor()}
	defer p.w.release(w.codec)
	for {
		small, large, hashing := p.take()
		switch {
		case small != nil:
			w.small(small)
		case hashing:
			w.hashLarge(large)
		case large != nil:
			w.group(large)
		default:
			return
		}
	}
}

// claim reports whether the task seq is to write the blob with hash h: nobody before it does.
func (p *pipeline) claim(h winfile.SHA1, seq int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w.known(h) {
		return false
	}
	if first, ok := p.claims[h]; ok && first < seq {
		return false
	}
	p.claims[h] = seq
	return true
}

// small takes a blob of at most wholeBlob bytes through the pipeline.
func (w *worker) small(it *blobItem) {
	res := &result{item: it, span: 1, weight: it.source().Size + taskOverhead}
	defer func() { w.finish(it.seq, res) }()
	if it.stored != nil {
		w.copySmall(it, res)
		return
	}
	plain := newBuffer(it.b.Size)
	if err := readWhole(it.b, plain.p); err != nil {
		plain.release()
		w.fail(it, err)
		return
	}
	w.count(it.b.Size)
	res.hash = sha1.Sum(plain.p)
	if err := it.found(res.hash); err != nil {
		plain.release()
		w.fail(it, err)
		return
	}
	if w.failed() || it.metadata == nil && !w.claim(res.hash, it.seq) {
		plain.release()
		res.dup = true
		return
	}
	out := w.compress(plain.p)
	if out == nil {
		res.out, res.stored = plain, plain.p
		return
	}
	plain.release()
	res.out, res.stored, res.packed = out, out.p, true
}

// copySmall takes the stored bytes of a blob through the pipeline.
func (w *worker) copySmall(it *blobItem, res *result) {
	res.hash = it.b.SHA1
	if w.failed() || it.metadata == nil && !w.claim(res.hash, it.seq) {
		res.dup = true
		return
	}
	stored := newBuffer(it.stored.Size)
	if err := readWhole(it.stored, stored.p); err != nil {
		stored.release()
		w.fail(it, err)
		return
	}
	w.count(it.b.Size)
	res.out, res.stored, res.packed = stored, stored.p, it.packed
}

// count adds to the plain bytes read.
func (p *pipeline) count(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read += n
	p.w.progress(n)
}

// readWhole fills p, and makes sure that the content ends there.
func readWhole(b *winfile.Blob, p []byte) (err error) {
	r, err := b.Content.OpenBlob(b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if n, err := io.ReadFull(r, p); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return fmt.Errorf("content ended after %d of %d bytes: %w", n, b.Size, io.ErrUnexpectedEOF)
		}
		return err
	}
	return readEnd(r, b)
}

func readEnd(r io.Reader, b *winfile.Blob) error {
	var one [1]byte
	switch n, err := r.Read(one[:]); {
	case n > 0:
		return fmt.Errorf("content has more than its %d bytes", b.Size)
	case err != nil && err != io.EOF:
		return err
	}
	return nil
}

// compress returns the chunk table and the chunks of a whole blob, or nil if that is no smaller.
func (w *worker) compress(plain []byte) *buffer {
	if w.codec == nil || len(plain) < 2 {
		return nil
	}
	l := newLayout(int64(len(plain)), w.w.chunk)
	out := newBuffer(l.table + int64(len(plain)))
	at := int(l.table)
	for i := int64(0); i < l.chunks; i++ {
		if i > 0 {
			le.PutUint32(out.p[(i-1)*4:], uint32(int64(at)-l.table))
		}
		chunk := plain[i*l.chunk : min((i+1)*l.chunk, int64(len(plain)))]
		at += w.compressChunk(out.p[at:at+len(chunk)], chunk)
		if at >= len(plain) {
			out.release()
			return nil
		}
	}
	out.p = out.p[:at]
	return out
}

// compressChunk fills dst with the chunk, raw if it gets no smaller, and returns the number of bytes used.
func (w *worker) compressChunk(dst, chunk []byte) int {
	if n := w.codec.Compress(dst, chunk); n > 0 && n < len(chunk) {
		return n
	}
	return copy(dst, chunk)
}

// hashLarge finds out whether a large blob is known, and if so skips it.
func (w *worker) hashLarge(l *largeItem) {
	h, err := l.b.SHA1, error(nil)
	if h == (winfile.SHA1{}) {
		h, err = hashBlob(w.ctx, l.b)
	}
	if err == nil {
		err = l.found(h)
	}
	if err != nil {
		w.fail(l.blobItem, err)
	}
	if err == nil && w.claim(h, l.seq) {
		w.mu.Lock()
		l.hashing = false
		w.cond.Broadcast()
		w.mu.Unlock()
		return
	}
	w.mu.Lock()
	w.large = nil
	w.cond.Broadcast()
	w.mu.Unlock()
	if err == nil {
		w.count(l.b.Size)
	}
	w.finish(l.seq, &result{item: l.blobItem, hash: h, dup: true, span: l.tasks})
}

func hashBlob(ctx context.Context, b *winfile.Blob) (_ winfile.SHA1, err error) {
	r, err := b.Content.OpenBlob(b)
	if err != nil {
		return winfile.SHA1{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	buf := newBuffer(pieceSize)
	defer buf.release()
	h := sha1.New()
	for off := int64(0); off < b.Size; {
		if err := ctx.Err(); err != nil {
			return winfile.SHA1{}, err
		}
		p := buf.p[:min(int64(len(buf.p)), b.Size-off)]
		if n, err := io.ReadFull(r, p); err != nil {
			return winfile.SHA1{}, fmt.Errorf("content ended after %d of %d bytes: %w", off+int64(n), b.Size, err)
		}
		h.Write(p)
		off += int64(len(p))
	}
	if err := readEnd(r, b); err != nil {
		return winfile.SHA1{}, err
	}
	return winfile.SHA1(h.Sum(nil)), nil
}

// group takes the next group of a large blob through the pipeline.
func (w *worker) group(l *largeItem) {
	res := &result{item: l.blobItem, group: true, span: 1, weight: l.groupSize + taskOverhead}
	plain, seq, err := w.readGroup(l, res)
	if err != nil {
		w.fail(l.blobItem, err)
	}
	switch {
	case plain == nil:
	case w.failed():
		plain.release()
	case w.codec == nil || l.stored != nil:
		res.out, res.stored = plain, plain.p
	default:
		out := newBuffer(int64(len(plain.p)))
		at := 0
		for p := plain.p; len(p) > 0; {
			chunk := p[:min(w.w.chunk, int64(len(p)))]
			p = p[len(chunk):]
			n := w.compressChunk(out.p[at:at+len(chunk)], chunk)
			res.sizes = append(res.sizes, int32(n))
			at += n
		}
		plain.release()
		res.out, res.stored, res.packed = out, out.p[:at], true
	}
	w.finish(seq, res)
}

// readGroup reads the next group of l. It returns no buffer if an earlier one failed.
func (w *worker) readGroup(l *largeItem, res *result) (plain *buffer, seq int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq = l.seq + l.done
	off := l.done * l.groupSize
	l.done++
	res.last = l.done == l.tasks
	if res.last {
		defer func() { // under l.mu, so that it is after all reading
			w.mu.Lock()
			w.large = nil
			w.cond.Broadcast()
			w.mu.Unlock()
		}()
	}
	if l.err != nil {
		return nil, seq, nil
	}
	size := l.source().Size
	plain = newBuffer(min(l.groupSize, size-off))
	if l.err = l.readInto(plain.p, off); l.err == nil && res.last {
		l.err = l.end(res)
		if l.err == nil && !l.hashFirst {
			w.claim(res.hash, l.seq)
		}
	}
	if l.err != nil {
		plain.release()
		return nil, seq, l.err
	}
	w.count(l.plainShare(off+int64(len(plain.p)), size) - l.plainShare(off, size))
	return plain, seq, nil
}

// plainShare is how many plain bytes the first n of size bytes stand for.
func (l *largeItem) plainShare(n, size int64) int64 {
	if n == size {
		return l.b.Size
	}
	return int64(float64(l.b.Size) * (float64(n) / float64(size)))
}

func (l *largeItem) readInto(p []byte, off int64) (err error) {
	if l.r == nil {
		b := l.source()
		if l.r, err = b.Content.OpenBlob(b); err != nil {
			return err
		}
	}
	n, err := io.ReadFull(l.r, p)
	if err != nil {
		err = errors.Join(err, l.r.Close())
		return fmt.Errorf("content ended after %d of %d bytes: %w", off+int64(n), l.source().Size, err)
	}
	if l.stored == nil {
		l.hash.Write(p)
	}
	return nil
}

// end makes sure that the content ended, and compares or notes its hash.
func (l *largeItem) end(res *result) error {
	if err := errors.Join(readEnd(l.r, l.source()), l.r.Close()); err != nil {
		return err
	}
	if l.stored != nil {
		res.hash = l.b.SHA1
		return nil
	}
	res.hash = winfile.SHA1(l.hash.Sum(nil))
	if l.hashFirst && res.hash != l.b.SHA1 {
		return fmt.Errorf("wim: %s: changed while it was being read", l.path())
	}
	return l.found(res.hash)
}

// finish hands a result to the writing, and writes what is next.
func (p *pipeline) finish(seq int64, res *result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready[seq] = res
	if p.committing {
		return
	}
	p.committing = true
	for {
		res := p.ready[p.commit]
		if res == nil {
			break
		}
		delete(p.ready, p.commit)
		p.commit += res.span
		ok := p.fatal == nil && len(p.errs) == 0
		p.mu.Unlock()
		var err error
		if ok {
			err = p.write(res)
		}
		if res.out != nil {
			res.out.release()
		}
		p.mu.Lock()
		if err != nil && p.fatal == nil {
			p.fatal = err
		}
		p.inFlight -= res.weight
		p.cond.Broadcast()
	}
	p.committing = false
}

// buffer is recycled memory.
type buffer struct {
	p     []byte
	class int
}

// buffers has a pool for each power of two.
var buffers [64]sync.Pool

func newBuffer(n int64) *buffer {
	class := max(bits.Len64(uint64(max(n, 1)-1)), 12)
	b, _ := buffers[class].Get().(*buffer)
	if b == nil {
		b = &buffer{make([]byte, 1<<class), class}
	}
	b.p = b.p[:n]
	return b
}

func (b *buffer) release() { buffers[b.class].Put(b) }
