// Package extents reads files whose content lies in runs of bytes of an image, as those of optical discs do.
package extents

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"husk/winfile"
)

// Hole is the offset of an extent that is recorded nowhere and reads as zeros.
const Hole = -1

// Extent is a run of bytes of the image.
type Extent struct {
	Off int64 // byte offset in the image, or Hole
	Len int64 // bytes, at least 1
}

// file is where one content lies: the extents, and at which byte of the content each begins.
type file struct {
	r       io.ReaderAt
	extents []Extent
	starts  []int64
	size    int64
}

// Content reads the blobs that NewBlob made.
type Content struct{ R io.ReaderAt }

// NewBlob returns the blob of size bytes that lies in extents, which hold at least as many; nil if there are none. Whoever calls has
// checked that the extents lie in the image.
func (c *Content) NewBlob(extents []Extent, size int64) *winfile.Blob {
	if size == 0 {
		return nil
	}
	f := &file{r: c.R, size: size}
	var at int64
	for _, e := range extents {
		if at >= size {
			break
		}
		if n := len(f.extents); n > 0 && follows(f.extents[n-1], e) {
			f.extents[n-1].Len += e.Len
		} else {
			f.extents, f.starts = append(f.extents, e), append(f.starts, at)
		}
		at += e.Len
	}
	if at < size {
		panic(fmt.Sprintf("extents: internal error: extents of %d bytes for %d", at, size))
	}
	return &winfile.Blob{Size: size, Order: max(f.extents[0].Off, 0), Content: c, Ref: f}
}

func follows(a, b Extent) bool {
	return a.Off == Hole && b.Off == Hole || a.Off != Hole && a.Off+a.Len == b.Off
}

// OpenBlob implements [winfile.Content].
func (c *Content) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	at, err := c.BlobReaderAt(b)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(at, 0, b.Size)), nil
}

// BlobReaderAt opens a blob for reading anywhere.
func (c *Content) BlobReaderAt(b *winfile.Blob) (io.ReaderAt, error) {
	if f, ok := b.Ref.(*file); ok && f.size == b.Size {
		return f, nil
	}
	return nil, fmt.Errorf("blob of %d bytes is not of this image", b.Size)
}

// Of returns the extents of a blob that NewBlob made, adjacent ones joined.
func Of(b *winfile.Blob) []Extent {
	if f, ok := b.Ref.(*file); ok {
		return f.extents
	}
	return nil
}

// ReadAt implements [io.ReaderAt].
func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("offset %d, want no negative one", off)
	}
	if off >= f.size {
		return 0, io.EOF
	}
	if int64(len(p)) > f.size-off {
		p, err = p[:f.size-off], io.EOF
	}
	i, found := slices.BinarySearchFunc(f.starts, off, cmp.Compare[int64])
	if !found {
		i--
	}
	for n < len(p) {
		e, skip := f.extents[i], off+int64(n)-f.starts[i]
		part := p[n : n+int(min(int64(len(p)-n), e.Len-skip))]
		if e.Off == Hole {
			clear(part)
		} else if m, err := f.r.ReadAt(part, e.Off+skip); m < len(part) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n + m, fmt.Errorf("content at byte %#x of the image: %w", e.Off+skip+int64(m), err)
		}
		n += len(part)
		i++
	}
	return n, err
}
