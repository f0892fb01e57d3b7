package winfile

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
)

// SHA1 keys a blob. The zero value means not known yet (no content hashes to zero; an empty stream has no blob).
type SHA1 [sha1.Size]byte

// String returns 40 lower-case hex digits.
func (h SHA1) String() string { return hex.EncodeToString(h[:]) }

// Blob is the content of one stream, never empty. Two blobs of one tree may have equal content; a source that knows so shares
// one.
type Blob struct {
	Size    int64   // bytes, at least 1
	SHA1    SHA1    // zero if the source does not know it yet
	Order   int64   // place in the content's cheapest reading order (cluster, offset in a WIM); ties are fine
	Content Content // reads it; nil if there is nothing to read (a pointer file whose WIM is not at hand)
	Ref     any     // whatever Content needs to find it
}

// Content reads blobs. It is safe for concurrent use.
type Content interface {
	// OpenBlob opens the content from its first byte. The reader fails, rather than ends early or late, if there are not
	// exactly b.Size bytes.
	OpenBlob(b *Blob) (io.ReadCloser, error)
}

// BulkContent is a Content that delivers many blobs faster than one by one.
type BulkContent interface {
	Content
	// ReadBlobs calls deliver under the rules of [ReadBlobs], with at most workers calls at once.
	ReadBlobs(ctx context.Context, blobs []*Blob, workers int, deliver Deliver) error
}

// Deliver takes the next piece of a blob. p is valid during the call only. off+len(p) == b.Size marks the last piece.
type Deliver func(b *Blob, off int64, p []byte) error

// ReadBlobs reads each of blobs once, in the order that suits their contents, and hands their bytes to deliver in pieces of at
// most 1 MiB. Pieces of one blob come in order and one at a time; pieces of different blobs may come at once, from up to
// workers goroutines (0 means GOMAXPROCS). The first error of a content or of deliver ends it; contents name their file in
// theirs.
func ReadBlobs(ctx context.Context, blobs []*Blob, workers int, deliver Deliver) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	groups := make(map[BulkContent][]*Blob) // those that are read one by one under nil: many may have a content of their own
	var order []BulkContent
	for _, b := range blobs {
		if b.Content == nil {
			return errors.New("a blob has no content to read it from")
		}
		bulk, _ := b.Content.(BulkContent)
		if _, ok := groups[bulk]; !ok {
			order = append(order, bulk)
		}
		groups[bulk] = append(groups[bulk], b)
	}
	for _, bulk := range order {
		group := groups[bulk]
		slices.SortStableFunc(group, func(a, b *Blob) int {
			switch {
			case a.Order < b.Order:
				return -1
			case a.Order > b.Order:
				return 1
			}
			return 0
		})
		var err error
		if bulk != nil {
			err = bulk.ReadBlobs(ctx, group, workers, deliver)
		} else {
			err = readOneByOne(ctx, group, workers, deliver)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const pieceSize = 1 << 20

// readOneByOne shares blobs out to workers; each reads whole blobs.
func readOneByOne(ctx context.Context, blobs []*Blob, workers int, deliver Deliver) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan *Blob)
	var wg sync.WaitGroup
	for range min(workers, len(blobs)) {
		wg.Go(func() {
			buf := make([]byte, pieceSize)
			for b := range next {
				if err := readBlob(ctx, b, buf, deliver); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
feed:
	for _, b := range blobs {
		select {
		case next <- b:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

func readBlob(ctx context.Context, b *Blob, buf []byte, deliver Deliver) (err error) {
	r, err := b.Content.OpenBlob(b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for off := int64(0); off < b.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(b.Size-off, int64(len(buf)))]
		if _, err := io.ReadFull(r, p); err != nil {
			return fmt.Errorf("content ended after %d of %d bytes: %w", off, b.Size, err)
		}
		if err := deliver(b, off, p); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// NewBlob returns a blob of b, or nil if b is empty.
func NewBlob(b []byte) *Blob {
	if len(b) == 0 {
		return nil
	}
	return &Blob{Size: int64(len(b)), SHA1: sha1.Sum(b), Content: &memory{b}}
}

type memory struct{ b []byte }

func (m *memory) OpenBlob(*Blob) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m.b)), nil
}

// ReadAll returns the whole content of a small blob; nil gives no bytes. It refuses one of more than limit bytes.
func (b *Blob) ReadAll(limit int64) (_ []byte, err error) {
	if b == nil {
		return nil, nil
	}
	if b.Size > limit {
		return nil, fmt.Errorf("content of %d bytes, want at most %d", b.Size, limit)
	}
	if b.Content == nil {
		return nil, errors.New("a blob has no content to read it from")
	}
	r, err := b.Content.OpenBlob(b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	p := make([]byte, b.Size)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, err
	}
	return p, nil
}
