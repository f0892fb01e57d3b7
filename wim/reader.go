package wim

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"husk/guid"
	"husk/internal/ondisk"
	"husk/winfile"
)

// A Reader reads a WIM. It is the [winfile.Content] of the blobs in its trees. It is safe for concurrent use.
type Reader struct {
	r      io.ReaderAt
	size   int64
	closer io.Closer // of Close; may close other files too
	file   io.Closer // that Open opened
	hdr    header
	codec  Codec

	pipable bool

	blobs     []winfile.Blob // Ref is the element of resources with the same index
	resources []resource
	index     map[winfile.SHA1]int32
	tableHash winfile.SHA1
	xml       *element
	images    []*Image
	others    []*Reader // that may have what r lacks
	parts     []*Reader // of others: the parts that belong to r, if it is a set

	problems []error // what was left out of the blob table
	decoders sync.Pool
	solid    solidCache
}

// resource is where a blob or the metadata of an image is.
type resource struct {
	off, stored, size int64
	hash              winfile.SHA1
	refs              uint32
	compressed        bool
	solid             *solidResource // that has the blob; off is inside its plain bytes, and stored is 0
}

// newResource takes an entry of the blob table that check accepted.
func newResource(e *blobEntry) resource {
	h := e.Resource
	return resource{
		off: int64(h.Offset), stored: h.stored(), size: int64(h.Original), hash: e.Hash, refs: e.RefCount,
		compressed: h.flags()&resCompressed != 0,
	}
}

// Open opens the WIM file name. Close the Reader after use.
func Open(name string) (*Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r, err := NewReader(f, info.Size())
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.closer, r.file = f, f
	return r, nil
}

// Close closes the file of a Reader that [Open] made.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// NewReader reads the header, the blob table and the XML data of a WIM of size bytes. What breaks the format is a
// *[FormatError]; what husk cannot read yet wraps errors.ErrUnsupported.
func NewReader(r io.ReaderAt, size int64) (*Reader, error) {
	w := &Reader{r: r, size: size}
	if err := w.readHeader(); err != nil {
		return nil, err
	}
	w.codec = w.hdr.codec()
	w.decoders.New = func() any { return w.newDecoder() }
	if err := w.readBlobTable(); err != nil {
		return nil, err
	}
	if err := w.readXML(); err != nil {
		return nil, err
	}
	return w, nil
}

func (r *Reader) readHeader() error {
	b, err := ondisk.ReadAt(r.r, 0, headerSize, headerSize)
	if err != nil {
		return &FormatError{"header", 0, err}
	}
	if r.hdr, err = parseHeader(b, 0); err != nil {
		return err
	}
	if r.hdr.Magic == magicPipable {
		if err := r.readLastHeader(); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		what string
		at   int64
		h    resourceHeader
	}{{"blob table", 0x30, r.hdr.BlobTable}, {"XML data", 0x48, r.hdr.XML}, {"integrity table", 0x7c, r.hdr.Integrity}} {
		if err := part.h.check(r.size); err != nil {
			return &FormatError{"header: " + part.what, part.at, err}
		}
		if part.h.flags()&(resCompressed|resSolid) != 0 {
			return &FormatError{"header: " + part.what, part.at, fmt.Errorf("flags %#x, want an uncompressed resource", part.h.flags())}
		}
	}
	return nil
}

// parseHeader checks the header at off.
func parseHeader(b []byte, off int64) (h header, err error) {
	if _, err := binary.Decode(b, le, &h); err != nil {
		panic("wim: internal error: " + err.Error())
	}
	if at, err := h.check(); err != nil {
		return h, &FormatError{"header", off + at, err}
	}
	return h, nil
}

// readLastHeader reads the header of a pipable WIM that is complete: the one at its end, as the first one cannot know the places.
func (r *Reader) readLastHeader() error {
	r.pipable = true
	off := r.size - headerSize
	if off < headerSize {
		return &FormatError{"header", 0, fmt.Errorf("pipable WIM of %d bytes", r.size)}
	}
	b, err := ondisk.ReadAt(r.r, off, headerSize, headerSize)
	if err != nil {
		return &FormatError{"last header", off, err}
	}
	h, err := parseHeader(b, off)
	switch {
	case err != nil:
		return err
	case h.Magic != magicPipable || h.GUID != r.hdr.GUID || h.BlobTable.zero() || h.XML.zero():
		return &FormatError{"last header", off, errors.New("no header of this pipable WIM: it is not complete")}
	}
	r.hdr = h
	return nil
}

// readBlobTable fills blobs, resources, index and the metadata resources of images.
func (r *Reader) readBlobTable() error {
	h := r.hdr.BlobTable
	table, err := ondisk.ReadAt(r.r, int64(h.Offset), h.stored(), maxTable)
	if err != nil {
		return &FormatError{"blob table", int64(h.Offset), err}
	}
	r.tableHash = sha1.Sum(table)
	n := len(table) / blobEntrySize
	r.resources = make([]resource, 0, n)
	r.index = make(map[winfile.SHA1]int32, n)
	run := solidRun{r: r, order: r.size}
	for i := range n {
		e := getBlobEntry(table[i*blobEntrySize:])
		if err := r.addEntry(&e, i, &run); err != nil {
			r.entryProblem(i, err)
		}
	}
	run.end()
	if len(r.images) < int(r.hdr.ImageCount) && r.hdr.Part == 1 {
		return &FormatError{"blob table", int64(h.Offset),
			fmt.Errorf("metadata of %d images, want %d", len(r.images), r.hdr.ImageCount)}
	}
	r.blobs = make([]winfile.Blob, len(r.resources))
	for i := range r.resources {
		res := &r.resources[i]
		r.blobs[i] = winfile.Blob{Size: res.size, SHA1: res.hash, Order: res.order(), Content: r, Ref: res}
	}
	return nil
}

// entryProblem remembers that entry i of the blob table is left out.
func (r *Reader) entryProblem(i int, err error) {
	off := int64(r.hdr.BlobTable.Offset) + int64(i)*blobEntrySize
	r.problems = append(r.problems, &FormatError{fmt.Sprintf("blob table entry %d", i), off, err})
}

// addEntry takes entry i, or tells why it is left out. Those of a solid run wait in run for its end.
func (r *Reader) addEntry(e *blobEntry, i int, run *solidRun) error {
	if e.Resource.flags()&resSolid != 0 && r.hdr.Version == versionSolid {
		return run.add(e, i)
	}
	run.end()
	if e.Resource.flags()&resMetadata != 0 {
		if e.RefCount != 0 && len(r.images) < int(r.hdr.ImageCount) && r.hdr.Part == 1 {
			img := &Image{r: r, Index: len(r.images) + 1}
			if img.err = e.Resource.check(r.size); img.err == nil {
				img.metadata = newResource(e)
			}
			r.images = append(r.images, img)
		}
		return nil
	}
	h := e.Resource
	h.StoredFlags &^= uint64(resSolid) << resourceSizeLog
	if err := h.check(r.size); err != nil {
		return err
	}
	return r.addResource(e, newResource(e))
}

// addResource takes a blob, or tells why it is left out.
func (r *Reader) addResource(e *blobEntry, res resource) error {
	switch _, known := r.index[e.Hash]; {
	case e.Part != r.hdr.Part:
		return fmt.Errorf("part %d, want %d", e.Part, r.hdr.Part)
	case e.Hash == winfile.SHA1{}:
		return errors.New("SHA-1 of zeros")
	case res.size == 0:
		return errors.New("blob of no bytes")
	case known:
		return fmt.Errorf("second entry for blob %s", e.Hash)
	}
	r.index[e.Hash] = int32(len(r.resources))
	r.resources = append(r.resources, res)
	return nil
}

func (r *Reader) readXML() error {
	h := r.hdr.XML
	b, err := ondisk.ReadAt(r.r, int64(h.Offset), h.stored(), maxXML)
	if err != nil {
		return &FormatError{"XML data", int64(h.Offset), err}
	}
	if r.xml, err = parseXML(b); err != nil {
		return &FormatError{"XML data", int64(h.Offset), err}
	}
	if r.xml.find("ESD", "ENCRYPTED") != nil {
		return &FormatError{"XML data", int64(h.Offset), fmt.Errorf("encrypted ESD: %w", errors.ErrUnsupported)}
	}
	elements, err := r.xml.images(int(r.hdr.ImageCount))
	if err != nil {
		return &FormatError{"XML data", int64(h.Offset), err}
	}
	for i := range r.images {
		r.images[i].xml = elements[i]
	}
	return nil
}

// Pipable reports whether the file is of the form that can be written to and read from a pipe, which wimlib and husk know.
func (r *Reader) Pipable() bool { return r.pipable }

// Solid tells the codec and the chunk size of the solid resources, of the first one if they differ; ok is false if there is none.
func (r *Reader) Solid() (codec Codec, chunkSize int, ok bool) {
	for i := range r.resources {
		if s := r.resources[i].solid; s != nil {
			return s.codec, int(s.layout.chunk), true
		}
	}
	return None, 0, false
}

// GUID identifies the file; pointer files refer to it.
func (r *Reader) GUID() guid.GUID { return r.hdr.GUID }

// Codec is what the resources that are not solid are compressed with.
func (r *Reader) Codec() Codec { return r.codec }

// ChunkSize is the plain size of the chunks of compressed resources, 0 if there are none.
func (r *Reader) ChunkSize() int { return int(r.hdr.ChunkSize) }

// Size is the size of the file in bytes.
func (r *Reader) Size() int64 { return r.size }

// BootIndex is the number of the image that boots from a RAM disk, 0 if none does.
func (r *Reader) BootIndex() int {
	if r.hdr.BootIndex > r.hdr.ImageCount {
		return 0
	}
	return int(r.hdr.BootIndex)
}

// Part returns which part of a split set this is, and of how many: 1 and 1 unless split.
func (r *Reader) Part() (part, of int) { return int(r.hdr.Part), int(r.hdr.Of) }

// ReadOnly reports whether the file asks not to be modified.
func (r *Reader) ReadOnly() bool { return r.hdr.Flags&flagReadOnly != 0 }

// InProgress reports whether a writer is at work, or was interrupted. The images are readable all the same.
func (r *Reader) InProgress() bool { return r.hdr.Flags&flagInProgress != 0 }

// ReparseFix reports whether absolute links were made relative to the root of the image (RP_FIX).
func (r *Reader) ReparseFix() bool { return r.hdr.Flags&flagReparseFix != 0 }

// HasIntegrity reports whether there is an integrity table.
func (r *Reader) HasIntegrity() bool { return r.hdr.Integrity.stored() != 0 }

// Flags are the header's flags as stored.
func (r *Reader) Flags() uint32 { return uint32(r.hdr.Flags) }

// Version is that of the header: 0x10d00, or 0xe00 if there may be solid resources.
func (r *Reader) Version() uint32 { return r.hdr.Version }

// BlobTableSHA1 is the SHA-1 of the blob table as stored, which pointer files hold.
func (r *Reader) BlobTableSHA1() winfile.SHA1 { return r.tableHash }

// Images are the images in order. Do not modify the slice. Parts of a split WIM behind the first have none.
func (r *Reader) Images() []*Image { return r.images }

// Image finds an image by its number ("1" is the first) or its name.
func (r *Reader) Image(name string) (*Image, error) {
	for _, i := range r.images {
		if i.Name() == name && name != "" {
			return i, nil
		}
	}
	for _, i := range r.images {
		if fmt.Sprint(i.Index) == name {
			return i, nil
		}
	}
	return nil, fmt.Errorf("wim: no image %q among %d", name, len(r.images))
}

// Problems are the entries of the blob table that were left out because they cannot be right.
func (r *Reader) Problems() []error { return r.problems }

// BlobInfo tells where a blob is.
type BlobInfo struct {
	Hash       winfile.SHA1
	Offset     int64 // in the file; in the plain bytes of its solid resource if Solid
	StoredSize int64 // bytes in the file; 0 if Solid
	Size       int64 // plain bytes
	RefCount   uint32
	Compressed bool
	Solid      bool
}

func (res *resource) info() BlobInfo {
	return BlobInfo{res.hash, res.off, res.stored, res.size, res.refs, res.compressed, res.solid != nil}
}

// Lookup finds a blob of the file itself by its SHA-1.
func (r *Reader) Lookup(h winfile.SHA1) (BlobInfo, bool) {
	i, ok := r.index[h]
	if !ok {
		return BlobInfo{}, false
	}
	return r.resources[i].info(), true
}

// Blobs returns all blobs of the file itself in the order of the blob table, shared with all trees of r.
func (r *Reader) Blobs() []*winfile.Blob {
	list := make([]*winfile.Blob, len(r.blobs))
	for i := range r.blobs {
		list[i] = &r.blobs[i]
	}
	return list
}

// readMetadata reads and checks the metadata resource of an image.
func (r *Reader) readMetadata(res *resource) ([]byte, error) {
	if limit := min(maxMetadata, r.size*maxRatio); res.size > limit {
		return nil, fmt.Errorf("%d bytes, want at most %d", res.size, limit)
	}
	d := r.decoders.Get().(*decoder)
	defer r.decoders.Put(d)
	var all bytes.Buffer
	group := d.groupSize()
	for off := int64(0); off < res.size; off += group {
		p := d.buffer(min(group, res.size-off))
		if err := d.read(res, off, p); err != nil {
			return nil, err
		}
		all.Write(p)
	}
	if got := winfile.SHA1(sha1.Sum(all.Bytes())); got != res.hash {
		return nil, fmt.Errorf("%w: %s, want %s", ErrChecksum, got, res.hash)
	}
	return all.Bytes(), nil
}
