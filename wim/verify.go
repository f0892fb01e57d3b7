package wim

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"

	"husk/internal/ondisk"
	"husk/winfile"
)

// VerifyOptions tunes Verify. The zero value is right.
type VerifyOptions struct {
	Workers  int                     // 0 means GOMAXPROCS
	Progress func(done, total int64) // plain bytes, and the file's own for the integrity table; one call at a time
}

// VerifyResult is what Verify found.
type VerifyResult struct {
	Problems []error  // in the order of the file, as far as they have one
	Warnings []string // oddities that lose nothing that Windows could read
	Blobs    int      // read and compared with their SHA-1
	Bytes    int64    // of these, plain
}

// Verify reads everything: the integrity table if there is one, the SHA-1 of every blob and of every image's metadata, the
// directory entries, and whether each blob they need is there. Of a set that [OpenSet] opened, it reads all parts; other references are not read. It goes on after a problem. The error is not about the WIM:
// ctx was cancelled.
func (r *Reader) Verify(ctx context.Context, opts *VerifyOptions) (*VerifyResult, error) {
	if opts == nil {
		opts = &VerifyOptions{}
	}
	v := &verifier{r: r, opts: *opts, res: &VerifyResult{}}
	if v.opts.Workers <= 0 {
		v.opts.Workers = runtime.GOMAXPROCS(0)
	}
	v.res.Problems = append(v.res.Problems, r.problems...)
	for i := range r.resources {
		v.total += r.resources[i].size
	}
	for _, p := range r.parts {
		v.res.Problems = append(v.res.Problems, p.problems...)
		for i := range p.resources {
			v.total += p.resources[i].size
		}
	}
	for _, i := range r.images {
		v.image(i)
	}
	v.boot()
	for _, p := range append([]*Reader{r}, r.parts...) {
		v.r = p
		if err := v.piped(ctx); err != nil {
			return nil, err
		}
		if err := v.integrity(ctx); err != nil {
			return nil, err
		}
		if err := v.blobs(ctx); err != nil {
			return nil, err
		}
	}
	return v.res, nil
}

type verifier struct {
	r    *Reader
	opts VerifyOptions

	mu          sync.Mutex
	res         *VerifyResult
	done, total int64
}

func (v *verifier) problem(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.res.Problems = append(v.res.Problems, err)
}

func (v *verifier) progress(n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done += n
	if v.opts.Progress != nil {
		v.opts.Progress(v.done, v.total)
	}
}

// image checks an image's metadata and that what it refers to is there.
func (v *verifier) image(i *Image) {
	_, err := i.Tree()
	if err != nil {
		v.problem(err)
	}
	for _, w := range i.Warnings() {
		v.res.Warnings = append(v.res.Warnings, imageWhat(i.Index, w))
	}
}

// boot checks that the header and the blob table say the same of the image that boots: its loader only reads the header.
func (v *verifier) boot() {
	n := v.r.BootIndex()
	if n == 0 || n > len(v.r.images) || v.r.images[n-1].err != nil {
		return
	}
	got, want := v.r.hdr.BootMeta, v.r.images[n-1].metadata
	if int64(got.Offset) != want.off || got.stored() != want.stored || int64(got.Original) != want.size {
		v.problem(&FormatError{"header: boot metadata", 0x60, fmt.Errorf("%d bytes at %#x, want %d at %#x, the metadata of image %d",
			got.stored(), got.Offset, want.stored, want.off, n)})
	}
}

// piped reads a pipable WIM front to back: what only such readers need, the places of everything included.
func (v *verifier) piped(ctx context.Context) error {
	if !v.r.pipable || v.r.hdr.Of > 1 {
		return nil
	}
	p, err := NewPipeReader(io.NewSectionReader(v.r.r, 0, v.r.size))
	if err == nil {
		err = p.compare(ctx, v.r)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		v.problem(fmt.Errorf("wim: as a pipe gives it: %w", err))
	}
	return nil
}

func (v *verifier) blobs(ctx context.Context) error {
	deliver := func(b *winfile.Blob, off int64, p []byte) error {
		v.progress(int64(len(p)))
		if off+int64(len(p)) == b.Size {
			v.mu.Lock()
			v.res.Blobs++
			v.res.Bytes += b.Size
			v.mu.Unlock()
		}
		return nil
	}
	return v.r.readBlobs(ctx, v.r.Blobs(), v.opts.Workers, deliver, func(_ *winfile.Blob, err error) error {
		v.problem(err)
		return nil
	})
}

// integrityTable is the parsed integrity table: SHA-1 values of pieces of the file from headerSize to the end of the blob
// table.
type integrityTable struct {
	chunk  int64
	hashes []winfile.SHA1
}

func (r *Reader) readIntegrity() (*integrityTable, error) {
	h := r.hdr.Integrity
	fail := func(off int64, format string, args ...any) (*integrityTable, error) {
		return nil, &FormatError{"integrity table", int64(h.Offset) + off, fmt.Errorf(format, args...)}
	}
	covered := r.hdr.BlobTable.end() - headerSize
	b, err := ondisk.ReadAt(r.r, int64(h.Offset), h.stored(), maxTable)
	if err != nil {
		return fail(0, "%w", err)
	}
	if len(b) < integritySize {
		return fail(0, "%d bytes, want at least %d", len(b), integritySize)
	}
	size, n, chunk := int64(le.Uint32(b)), int64(le.Uint32(b[4:])), int64(le.Uint32(b[8:]))
	switch {
	case size != integritySize+n*sha1.Size || size > int64(len(b)):
		return fail(0, "size %d with %d entries in %d bytes, want %d", size, n, len(b), integritySize+n*sha1.Size)
	case chunk == 0 || chunk > maxIntChunk:
		return fail(8, "chunk size %d, want 1 to %d", chunk, maxIntChunk)
	case covered < 0 || n != (covered+chunk-1)/chunk:
		return fail(4, "%d entries of %d bytes for %d bytes", n, chunk, covered)
	}
	t := &integrityTable{chunk: chunk, hashes: make([]winfile.SHA1, n)}
	for i := range t.hashes {
		copy(t.hashes[i][:], b[integritySize+i*sha1.Size:])
	}
	return t, nil
}

// integrity compares the integrity table, pieces in parallel.
func (v *verifier) integrity(ctx context.Context) error {
	if !v.r.HasIntegrity() {
		return nil
	}
	t, err := v.r.readIntegrity()
	if err != nil {
		v.problem(err)
		return nil
	}
	end := v.r.hdr.BlobTable.end()
	v.total += end - headerSize
	err = hashPieces(ctx, v.r.r, headerSize, end, t.chunk, v.opts.Workers, func(i int, got winfile.SHA1, n int64, err error) error {
		if err == nil && got != t.hashes[i] {
			err = fmt.Errorf("%w: %s, want %s", ErrChecksum, got, t.hashes[i])
		}
		if err != nil {
			v.problem(&FormatError{fmt.Sprintf("integrity table entry %d: %d bytes", i, n), headerSize + int64(i)*t.chunk, err})
		}
		v.progress(n)
		return nil
	})
	return err
}

// hashPieces gives done the SHA-1 of each chunk bytes of r from start to end, from several goroutines and in any order. An
// error of done ends it.
func hashPieces(ctx context.Context, r io.ReaderAt, start, end, chunk int64, workers int,
	done func(i int, h winfile.SHA1, n int64, err error) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	next := 0
	take := func() (int, int64, bool) {
		mu.Lock()
		defer mu.Unlock()
		i := next
		off := start + int64(i)*chunk
		next++
		return i, off, off < end
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			buf := make([]byte, min(chunk, 1<<18))
			for {
				i, off, ok := take()
				if !ok || ctx.Err() != nil {
					return
				}
				n := min(chunk, end-off)
				sum, err := hashRange(r, off, n, buf)
				if err := done(i, sum, n, err); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func hashRange(r io.ReaderAt, off, n int64, buf []byte) (winfile.SHA1, error) {
	var h hash.Hash = sha1.New()
	m, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{io.NewSectionReader(r, off, n)}, buf)
	if err == nil && m != n {
		err = io.ErrUnexpectedEOF
	}
	return winfile.SHA1(h.Sum(nil)), err
}

// Err joins the problems, nil if there are none.
func (v *VerifyResult) Err() error { return errors.Join(v.Problems...) }
