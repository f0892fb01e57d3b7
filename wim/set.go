package wim

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"husk/guid"
	"husk/winfile"
)

// PartName is the name of a part of a split WIM by that of the first: x.swm, x2.swm, x3.swm …
func PartName(first string, part int) string {
	if part == 1 {
		return first
	}
	ext := filepath.Ext(first)
	return strings.TrimSuffix(first, ext) + strconv.Itoa(part) + ext
}

// OpenSet opens the parts of a split WIM, given in any order, as one Reader: that of the first part, with the others as its
// references. Files that are given twice count once; a WIM that is not split is opened as it is. A set with a part missing, or
// with parts of another set, is an error.
func OpenSet(names ...string) (_ *Reader, err error) {
	if len(names) == 0 {
		return nil, errors.New("wim: no part of a split WIM is given")
	}
	s := &set{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, name := range names {
		r, err := Open(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := s.add(r, name); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return s.reader()
}

// OpenParts opens the split WIM whose first part is called first, and whose others are called as [PartName] says. A WIM that is
// not split is opened as it is.
func OpenParts(first string) (*Reader, error) {
	r, err := Open(first)
	if err != nil {
		return nil, err
	}
	part, of := r.Part()
	if of == 1 {
		return r, nil
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	if part != 1 {
		return nil, fmt.Errorf("%s: wim: part %d of %d; the first part is needed to find the others", first, part, of)
	}
	var names []string
	for n := range of {
		names = append(names, PartName(first, n+1))
	}
	return OpenSet(names...)
}

// set are the parts of a split WIM that is being opened.
type set struct {
	parts []*Reader // by part number, nil if it has not come yet
	name  string    // of the first one that came
}

// add takes a part. One that is there already is closed.
func (s *set) add(r *Reader, name string) error {
	part, of := r.Part()
	if s.parts == nil {
		s.parts, s.name = make([]*Reader, of), name
	}
	for _, o := range s.parts {
		if o == nil {
			continue
		}
		if err := o.samePartSet(r); err != nil {
			return fmt.Errorf("%s and %s: %w", s.name, name, err)
		}
		break
	}
	if s.parts[part-1] != nil {
		return r.Close()
	}
	s.parts[part-1] = r
	return nil
}

// samePartSet reports why r and o cannot be parts of one set.
func (r *Reader) samePartSet(o *Reader) error {
	switch {
	case r.GUID() != o.GUID():
		return fmt.Errorf("wim: parts of two sets: GUID %s and %s", r.GUID(), o.GUID())
	case r.hdr.Of != o.hdr.Of:
		return fmt.Errorf("wim: parts of two sets: of %d parts and of %d", r.hdr.Of, o.hdr.Of)
	case r.codec != o.codec || r.hdr.ChunkSize != o.hdr.ChunkSize || r.hdr.ImageCount != o.hdr.ImageCount:
		return errors.New("wim: parts of two sets: codec, chunk size or number of images differ")
	}
	return nil
}

// reader joins the parts.
func (s *set) reader() (*Reader, error) {
	var missing []string
	for i, r := range s.parts {
		if r == nil {
			missing = append(missing, strconv.Itoa(i+1))
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s: %w: of %d parts these are missing: %s", s.name, ErrMissing, len(s.parts), strings.Join(missing, ", "))
	}
	first := s.parts[0]
	first.Reference(s.parts[1:]...)
	first.closer = s
	first.parts = append(first.parts, s.parts[1:]...)
	return first, nil
}

// Close closes the files of all parts.
func (s *set) Close() error {
	var errs []error
	for _, r := range s.parts {
		if r != nil && r.file != nil {
			errs = append(errs, r.file.Close())
		}
	}
	return errors.Join(errs...)
}

// CheckSet reports what is missing for r to be read: other parts of its set among its references. It is nil for a WIM that is
// not split.
func (r *Reader) CheckSet() error {
	if r.hdr.Of == 1 {
		return nil
	}
	have := map[uint16]bool{r.hdr.Part: true}
	for _, o := range r.others {
		if r.samePartSet(o) == nil {
			have[o.hdr.Part] = true
		}
	}
	for n := uint16(1); n <= r.hdr.Of; n++ {
		if !have[n] {
			return fmt.Errorf("wim: %w: part %d of %d of the split WIM is not given", ErrMissing, n, r.hdr.Of)
		}
	}
	return nil
}

// SplitOptions tunes Split.
type SplitOptions struct {
	Workers   int
	Integrity bool
	GUID      guid.GUID         // of the set; zero means a random one
	Progress  func(bytes int64) // plain bytes copied so far, over all parts
}

// A SplitPart is what a part of a split WIM will hold.
type SplitPart struct {
	Blobs  []*winfile.Blob
	Stored int64 // bytes of the resources
}

// PlanSplit shares out the blobs of r among parts of at most size bytes, in the order of the file. Blobs are never cut: one
// that is larger has a part for itself, which is larger too. Solid resources are compressed anew for each part, so that its size is
// only foreseen. The metadata of all images is in the first part.
func PlanSplit(r *Reader, size int64) ([]SplitPart, error) {
	if size <= 0 {
		return nil, fmt.Errorf("wim: parts of %d bytes", size)
	}
	parts := []SplitPart{{}}
	for _, i := range r.images {
		if i.err != nil {
			return nil, &FormatError{i.what("metadata"), 0, i.err}
		}
		parts[0].Stored += i.metadata.stored
	}
	blobs := r.allBlobs()
	slices.SortStableFunc(blobs, func(a, b *winfile.Blob) int {
		switch x, y := r.holderNumber(a), r.holderNumber(b); {
		case x != y:
			return x - y
		case a.Order < b.Order:
			return -1
		case a.Order > b.Order:
			return 1
		}
		return 0
	})
	fixed := headerSize + r.hdr.XML.stored() + 64 + int64(len(r.images))*blobEntrySize // what does not grow with blobs
	for _, b := range blobs {
		stored, _ := r.StoredSize(b)
		if res, err := r.holder(b).resourceOf(b); err == nil && res.solid != nil {
			stored = res.solid.share(b.Size)
		}
		p := &parts[len(parts)-1]
		if used := fixed + p.Stored + int64(len(p.Blobs)+1)*blobEntrySize; p.Stored > 0 && used+stored > size {
			parts = append(parts, SplitPart{})
			p = &parts[len(parts)-1]
		}
		p.Blobs = append(p.Blobs, b)
		p.Stored += stored
	}
	return parts, nil
}

// share is about how many stored bytes n plain ones take.
func (s *solidResource) share(n int64) int64 {
	return int64(float64(n)*float64(s.stored)/float64(s.size)) + 1
}

// allBlobs are the blobs of r and its references, each once.
func (r *Reader) allBlobs() []*winfile.Blob {
	list := r.Blobs()
	for n, o := range r.others {
		for _, b := range o.Blobs() {
			if r.own(b.SHA1) == nil && !slices.ContainsFunc(r.others[:n], func(x *Reader) bool { return x.own(b.SHA1) != nil }) {
				list = append(list, b)
			}
		}
	}
	return list
}

func (r *Reader) holderNumber(b *winfile.Blob) int { return slices.Index(r.others, r.holder(b)) }

// Split writes r as a split WIM of the parts that [PlanSplit] gave. create opens the file of a part, from 1; done finishes it
// when it is complete. Resources are copied as they are stored, but for solid ones. Parts of a split WIM cannot be changed; [Rebuild] of a Reader
// that [OpenSet] gave joins them.
func Split(ctx context.Context, r *Reader, parts []SplitPart, create func(part int) (WriteTarget, error), done func(part int) error, opts *SplitOptions) error {
	if opts == nil {
		opts = &SplitOptions{}
	}
	if len(parts) > 1<<16-1 {
		return fmt.Errorf("wim: %d parts, want at most 65535; make them larger", len(parts))
	}
	id := opts.GUID
	if id == (guid.GUID{}) {
		id = guid.New()
	}
	var read int64
	for n := range parts {
		f, err := create(n + 1)
		if err != nil {
			return err
		}
		o := WriterOptions{Codec: r.codec, ChunkSize: r.ChunkSize(), GUID: id, Workers: opts.Workers, Integrity: opts.Integrity}
		o.keepSolid(r)
		if opts.Progress != nil {
			o.Progress = func(n int64) { opts.Progress(read + n) }
		}
		w, err := Create(f, &o)
		if err != nil {
			return err
		}
		if err := w.splitPart(ctx, r, parts[n].Blobs, n+1, len(parts)); err != nil {
			return errors.Join(err, w.Abort())
		}
		if err := w.Close(); err != nil {
			return err
		}
		read += w.done
		if err := done(n + 1); err != nil {
			return err
		}
	}
	return nil
}

// splitPart writes the resources of a part.
func (w *Writer) splitPart(ctx context.Context, r *Reader, blobs []*winfile.Blob, part, of int) error {
	w.hdr.Part, w.hdr.Of = uint16(part), uint16(of)
	w.hdr.Flags |= r.hdr.Flags & flagReparseFix
	if of > 1 {
		w.hdr.Flags |= flagSpanned
	}
	items, err := w.blobItems(func(yield func(wantedBlob) bool) {
		for _, b := range blobs {
			if !yield(wantedBlob{b: b}) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if err := w.writeBlobs(ctx, items, nil); err != nil {
		return err
	}
	for h, e := range w.table {
		e.RefCount = r.refCount(h)
	}
	w.xml = r.xml.without("IMAGE")
	for _, i := range r.images {
		added := &writerImage{xml: i.xml.clone()}
		if part == 1 {
			if err := w.copyMetadata(ctx, i, added); err != nil {
				return err
			}
		}
		w.images = append(w.images, added)
	}
	return nil
}

// refCount is the reference count of a blob as its file has it.
func (r *Reader) refCount(h winfile.SHA1) uint32 {
	for _, o := range append([]*Reader{r}, r.others...) {
		if i, ok := o.index[h]; ok {
			return o.resources[i].refs
		}
	}
	return 0
}
