package wim

import (
	"cmp"
	"context"
	"crypto/sha1"
	"fmt"
	"slices"
	"strconv"

	"husk/winfile"
)

// finish writes what has changed behind the data, and then the header.
func (w *Writer) finish() error {
	if w.boot > len(w.images) {
		return fmt.Errorf("wim: boot index %d of %d images", w.boot, len(w.images))
	}
	if err := w.countAgain(); err != nil {
		return err
	}
	h := w.hdr
	h.Flags &^= flagInProgress
	if w.opts.ReparseFix {
		h.Flags |= flagReparseFix
	}
	h.ImageCount = uint32(len(w.images))
	h.BootIndex, h.BootMeta = 0, resourceHeader{}
	if w.boot > 0 {
		h.BootIndex, h.BootMeta = uint32(w.boot), w.images[w.boot-1].meta.Resource
	}
	if err := w.writeTables(&h); err != nil {
		return err
	}
	if err := w.out.flush(); err != nil {
		return err
	}
	if err := w.f.Truncate(w.out.pos()); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	w.hdr = h
	if err := w.writeHeader(); err != nil {
		return err
	}
	return w.f.Sync()
}

// writeTables writes the blob table, the XML data and the integrity table, as far as they are not in the file already. What is
// written anew keeps this order, which others rely on when they append.
func (w *Writer) writeTables(h *header) (err error) {
	if w.newTable {
		if h.BlobTable, err = w.writePlain(w.blobTable(), resMetadata); err != nil {
			return err
		}
	}
	if w.newTable || w.newXML {
		if h.XML, err = w.writeXML(); err != nil {
			return err
		}
	}
	switch {
	case w.opts.NoIntegrity || !w.opts.Integrity && w.oldHashes == nil:
		h.Integrity = resourceHeader{}
	case w.newTable || w.newXML || w.oldHashes == nil:
		h.Integrity, err = w.writeIntegrity(h.BlobTable.end())
	}
	return err
}

// writeXML writes the XML data of all images.
func (w *Writer) writeXML() (resourceHeader, error) {
	w.setTotalBytes(w.out.pos())
	return w.writeImagesXML()
}

func (w *Writer) writeImagesXML() (resourceHeader, error) {
	root := *w.xml
	root.children = slices.Clone(root.children)
	for n, i := range w.images {
		i.xml.setAttr("INDEX", strconv.Itoa(n+1))
		root.children = append(root.children, i.xml)
	}
	text := encodeXML(&root)
	if len(text) > maxXML {
		return resourceHeader{}, fmt.Errorf("wim: XML data of %d bytes, want at most %d", len(text), maxXML)
	}
	return w.writePlain(text, resMetadata)
}

func (w *Writer) writePlain(b []byte, flags resourceFlags) (resourceHeader, error) {
	n := int64(len(b))
	if w.pipable {
		if err := w.pipeHeader(sha1.Sum(b), n, flags); err != nil {
			return resourceHeader{}, err
		}
	}
	off := w.out.pos()
	return newResourceHeader(off, n, n, flags), w.out.write(b)
}

// blobTable lists the metadata in the order of images, then the blobs in the order of the file.
func (w *Writer) blobTable() []byte {
	slices.SortStableFunc(w.order, func(a, b *tableEntry) int { return cmp.Compare(a.Resource.Offset, b.Resource.Offset) })
	b := make([]byte, 0, (len(w.images)+len(w.order))*blobEntrySize)
	for _, i := range w.images {
		if w.hdr.Part == 1 {
			b = appendBlobEntry(b, &i.meta)
		}
	}
	var solids []*tableEntry
	for _, e := range w.order {
		if e.solid != nil {
			solids = append(solids, e)
			continue
		}
		b = appendBlobEntry(b, &e.blobEntry)
	}
	return appendSolid(b, solids, w.hdr.Part)
}

// setTotalBytes gives WIM/TOTALBYTES, the first child, the offset of the XML data.
func (w *Writer) setTotalBytes(n int64) { w.xml.setFirst("TOTALBYTES", strconv.FormatInt(n, 10)) }

func (w *Writer) writeIntegrity(end int64) (resourceHeader, error) {
	chunk := int64(intChunk)
	if w.oldHashes != nil && w.oldHashes.chunk >= 4096 && w.oldHashes.chunk <= 128<<20 {
		chunk = w.oldHashes.chunk
	}
	if err := w.out.flush(); err != nil {
		return resourceHeader{}, err
	}
	hashes := make([]winfile.SHA1, (end-headerSize+chunk-1)/chunk)
	known := 0
	if w.oldHashes != nil && w.oldHashes.chunk == chunk {
		known = int((w.oldEnd - headerSize) / chunk)
		if end == w.oldEnd {
			known = len(hashes)
		}
		copy(hashes[:known], w.oldHashes.hashes)
	}
	start := headerSize + int64(known)*chunk
	err := hashPieces(context.Background(), w.f, start, end, chunk, w.opts.Workers,
		func(i int, h winfile.SHA1, _ int64, err error) error {
			hashes[known+i] = h
			return err
		})
	if err != nil {
		return resourceHeader{}, err
	}
	var b []byte
	b = le.AppendUint32(b, uint32(integritySize+len(hashes)*len(winfile.SHA1{})))
	b = le.AppendUint32(b, uint32(len(hashes)))
	b = le.AppendUint32(b, uint32(chunk))
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return w.writePlain(b, 0)
}

func (w *Writer) writeHeader() error {
	_, err := w.f.WriteAt(encodeHeader(&w.hdr), 0)
	return err
}
