package wim

import (
	"fmt"
	"slices"

	"husk/winfile"
)

// Reference lets r find blobs that it lacks in other WIMs: those that a delta WIM was made against, or the other parts of a
// split set. Trees decoded from then on have them, and every method of r that takes a blob of its trees reads them. Where
// several have a blob, r comes first and then the others in the order they were given. References of the others do not count.
// The others must stay open as long as r is used, and Reference must not be called while r is used otherwise.
func (r *Reader) Reference(others ...*Reader) {
	for _, o := range others {
		if o != r && !slices.Contains(r.others, o) {
			r.others = append(r.others, o)
		}
	}
}

// References are the WIMs that [Reader.Reference] was given. Do not modify the slice.
func (r *Reader) References() []*Reader { return r.others }

// Blob returns the blob with a SHA-1, readable through r, or nil if neither r nor its references have it. All trees of r
// share it.
func (r *Reader) Blob(h winfile.SHA1) *winfile.Blob {
	if b := r.own(h); b != nil {
		return b
	}
	for _, o := range r.others {
		if b := o.own(h); b != nil {
			return b
		}
	}
	return nil
}

// own returns the blob of the file itself with a SHA-1, or nil.
func (r *Reader) own(h winfile.SHA1) *winfile.Blob {
	if i, ok := r.index[h]; ok {
		return &r.blobs[i]
	}
	return nil
}

// Has reports whether r or a reference has the blob with a SHA-1. It is what [WriterOptions.Have] wants.
func (r *Reader) Has(h winfile.SHA1) bool { return r.Blob(h) != nil }

// holder returns the reference that has b, or r if none does.
func (r *Reader) holder(b *winfile.Blob) *Reader {
	if o, ok := b.Content.(*Reader); ok && o != r && slices.Contains(r.others, o) {
		return o
	}
	return r
}

// heldBlobs are blobs of one file.
type heldBlobs struct {
	r     *Reader
	blobs []*winfile.Blob
}

// byHolder groups blobs by the file that has them, r's first.
func (r *Reader) byHolder(blobs []*winfile.Blob) []heldBlobs {
	if len(r.others) == 0 {
		return []heldBlobs{{r, blobs}}
	}
	groups := make([]heldBlobs, 1, len(r.others)+1)
	groups[0].r = r
	for _, o := range r.others {
		groups = append(groups, heldBlobs{r: o})
	}
	for _, b := range blobs {
		n := slices.Index(r.others, r.holder(b)) + 1 // 0 for r
		groups[n].blobs = append(groups[n].blobs, b)
	}
	return groups
}

// errMissing is the error about a blob that neither r nor its references have.
func (r *Reader) errMissing() error {
	if r.hdr.Of > 1 {
		return fmt.Errorf("%w: this is part %d of %d of a split WIM", ErrMissing, r.hdr.Part, r.hdr.Of)
	}
	return ErrMissing
}
