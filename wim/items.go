package wim

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"husk/winfile"
)

// blobItem is a blob to be written.
type blobItem struct {
	b         *winfile.Blob
	stored    *winfile.Blob // its stored bytes in another WIM, which are written as they are; nil if it is compressed here
	packed    bool          // stored is compressed
	owner     *planEntry    // for messages; nil if nobody knows
	seq       int64         // place of its first task in the order of writing
	tasks     int64
	hashFirst bool         // its size is not the only one of its kind: find out whether it is known before compressing it
	metadata  *writerImage // that it is the metadata of, or nil. Metadata is never shared
}

// source is what is read.
func (it *blobItem) source() *winfile.Blob {
	if it.stored != nil {
		return it.stored
	}
	return it.b
}

func (it *blobItem) path() string {
	switch {
	case it.owner != nil:
		return it.owner.path()
	case it.metadata != nil:
		return "metadata"
	}
	return "blob " + it.b.SHA1.String()
}

// found notes the hash of a blob, which may be known already.
func (it *blobItem) found(h winfile.SHA1) error {
	if it.b.SHA1 != (winfile.SHA1{}) && it.b.SHA1 != h {
		return fmt.Errorf("wim: %s: %w: content has %s, want %s", it.path(), ErrChecksum, h, it.b.SHA1)
	}
	it.b.SHA1 = h
	return nil
}

// wantedBlob is a blob that an image has.
type wantedBlob struct {
	b        *winfile.Blob
	owner    *planEntry
	inMemory bool
}

// wanted yields the blobs of p.
func (p *plan) wanted() iter.Seq[wantedBlob] {
	return func(yield func(wantedBlob) bool) {
		for _, f := range p.order {
			for b := range f.blobs() {
				if !yield(wantedBlob{b, f.first, f.reparse == b}) {
					return
				}
			}
		}
	}
}

// reparseData stands for the contents of all reparse points, which are in memory, so that they are one group.
var reparseData winfile.Content = missing{}

// blobItems lists the blobs that must be read, in the order of reading.
func (w *Writer) blobItems(list iter.Seq[wantedBlob]) ([]*blobItem, error) {
	groups := make(map[winfile.Content][]*blobItem)
	var order []winfile.Content
	seen := make(map[*winfile.Blob]struct{})
	hashes := make(map[winfile.SHA1]struct{})
	for want := range list {
		b := want.b
		if _, ok := seen[b]; ok {
			continue
		}
		seen[b] = struct{}{}
		if b.SHA1 != (winfile.SHA1{}) {
			_, known := hashes[b.SHA1]
			if known || w.known(b.SHA1) {
				w.stats.Duplicates++
				continue
			}
			hashes[b.SHA1] = struct{}{}
		}
		it := &blobItem{b: b, owner: want.owner}
		if b.Content == nil || b.Size <= 0 {
			return nil, fmt.Errorf("wim: %s: content of %d bytes with SHA-1 %s is not at hand", it.path(), b.Size, b.SHA1)
		}
		it.stored, it.packed = w.storedForm(b)
		c := b.Content
		if want.inMemory {
			c = reparseData
		}
		if groups[c] == nil {
			order = append(order, c)
		}
		groups[c] = append(groups[c], it)
	}
	var items []*blobItem
	sizes := make(map[int64]struct{})
	for _, c := range order {
		group := groups[c]
		slices.SortStableFunc(group, func(a, b *blobItem) int { return cmp.Compare(a.b.Order, b.b.Order) })
		for _, it := range group {
			if it.b.Size > wholeBlob {
				_, before := sizes[it.b.Size]
				_, old := w.sizes[it.b.Size]
				it.hashFirst = before || old || w.opts.Have != nil
				sizes[it.b.Size] = struct{}{}
			}
		}
		items = append(items, group...)
	}
	return items, nil
}

// storedForm returns the stored bytes of a blob of another WIM, if they can be copied, and whether they are compressed.
func (w *Writer) storedForm(b *winfile.Blob) (stored *winfile.Blob, packed bool) {
	r, ok := b.Content.(*Reader)
	if !ok || w.opts.Recompress || !w.sameForm(r) {
		return nil, false
	}
	if b.SHA1 == (winfile.SHA1{}) {
		return nil, false // to be hashed: what the file says of it is not to be trusted
	}
	res, err := r.resourceOf(b)
	if err != nil || res.solid != nil || r.readable(res) != nil {
		return nil, false
	}
	return &winfile.Blob{Size: res.stored, Order: res.off, Content: (*rawContent)(r), Ref: res}, res.compressed
}

// sameForm reports whether resources of r can be resources of w as they are.
func (w *Writer) sameForm(r *Reader) bool {
	return r.codec == w.codec && r.pipable == w.pipable && (w.codec == None || int64(r.hdr.ChunkSize) == w.chunk)
}

// checkCopies compares the SHA-1 of the blobs that are going to be copied as they are stored.
func (w *Writer) checkCopies(ctx context.Context, items []*blobItem) error {
	if !w.opts.CheckCopies {
		return nil
	}
	var blobs []*winfile.Blob
	for _, it := range items {
		if it.stored != nil && it.metadata == nil {
			blobs = append(blobs, it.b)
		}
	}
	return winfile.ReadBlobs(ctx, blobs, w.opts.Workers, func(*winfile.Blob, int64, []byte) error { return nil })
}
