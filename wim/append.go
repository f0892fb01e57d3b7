package wim

import (
	"errors"
	"fmt"

	"husk/internal/ondisk"
)

// Append begins to add images to a WIM of size bytes. The old images stay valid until Close has finished: everything is
// written behind them, synced, and then made valid by one write of the header. What an interrupted writer left behind the
// end is overwritten. Nobody else may write to f meanwhile.
//
// The file's codec and chunk size stay; options that ask for others are an error. A file that is marked read-only is
// refused.
func Append(f WriteTarget, size int64, opts *WriterOptions) (*Writer, error) {
	w, err := newWriter(f, opts)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(f, size)
	if err != nil {
		return nil, err
	}
	if err := w.adopt(r); err != nil {
		return nil, err
	}
	if w.oldHeader, err = ondisk.ReadAt(f, 0, headerSize, headerSize); err != nil {
		return nil, err
	}
	le.PutUint32(w.oldHeader[flagsOffset:], uint32(r.hdr.Flags&^flagInProgress)) // of whoever was interrupted
	w.out = &appender{f: f, at: w.start}
	mark := le.AppendUint32(nil, uint32(r.hdr.Flags|flagInProgress))
	if _, err := f.WriteAt(mark, flagsOffset); err != nil {
		return nil, errors.Join(err, w.restore())
	}
	return w, nil
}

// adopt takes over what is in the file.
func (w *Writer) adopt(r *Reader) error {
	switch {
	case r.ReadOnly() && !w.opts.Unlock:
		return errors.New("wim: the file is marked read-only")
	case r.pipable:
		return errors.New("wim: a pipable WIM cannot be changed in place; write it anew")
	case r.hdr.Of > 1:
		return fmt.Errorf("wim: part %d of %d of a split WIM cannot be changed; join the parts first", r.hdr.Part, r.hdr.Of)
	case w.opts.Codec != Auto && w.opts.Codec != r.codec:
		return fmt.Errorf("wim: the file is compressed with %s, and cannot be appended to with %s", r.codec, w.opts.Codec)
	case w.opts.ChunkSize != 0 && r.codec != None && w.opts.ChunkSize != r.ChunkSize():
		return fmt.Errorf("wim: the file has chunks of %d bytes, and cannot be appended to with %d", r.ChunkSize(), w.opts.ChunkSize)
	}
	w.codec = r.codec
	if w.codec != None {
		w.chunk = int64(r.hdr.ChunkSize)
	}
	c, err := newCompressor(w.codec, w.opts.Level, w.chunk)
	if err != nil {
		return err
	}
	w.release(c)
	w.hdr, w.xml = r.hdr, r.xml.without("IMAGE")
	w.hdr.Flags |= flagInProgress
	if w.opts.GUID != [16]byte{} {
		w.hdr.GUID = w.opts.GUID
	}
	if w.boot = w.opts.BootIndex; w.boot == 0 {
		w.boot = r.BootIndex()
	}
	w.start = max(headerSize, r.hdr.BlobTable.end(), r.hdr.XML.end(), r.hdr.Integrity.end())
	for _, i := range r.images {
		if i.err != nil {
			return &FormatError{i.what("metadata"), 0, i.err}
		}
		w.images = append(w.images, &writerImage{meta: blobEntry{i.metadata.header(resMetadata), 1, 1, i.metadata.hash}, xml: i.xml, old: i})
		w.start = max(w.start, i.metadata.off+i.metadata.stored)
	}
	solids := make(map[*solidResource]*writtenSolid)
	for i := range r.resources {
		res := &r.resources[i]
		if s := res.solid; s != nil {
			if solids[s] == nil {
				solids[s] = &writtenSolid{s.off, s.stored, s.size}
				w.start = max(w.start, s.off+s.stored)
			}
			w.enterSolid(res.hash, res.off, res.size, res.refs, solids[s])
			continue
		}
		w.enter(&tableEntry{blobEntry: blobEntry{res.header(0), 1, res.refs, res.hash}})
		w.start = max(w.start, res.off+res.stored)
	}
	if r.HasIntegrity() {
		if w.oldHashes, err = r.readIntegrity(); err != nil {
			return err
		}
		w.oldEnd = r.hdr.BlobTable.end()
	}
	return nil
}

// header is the inverse of newResource.
func (res *resource) header(flags resourceFlags) resourceHeader {
	if res.compressed {
		flags |= resCompressed
	}
	return newResourceHeader(res.off, res.stored, res.size, flags)
}

// restore brings the old file back: first its header, and when that is safe, its size. A new file is emptied. If the header
// cannot be written, nothing is cut off, because the header on the disk may be the new one.
func (w *Writer) restore() error {
	if w.oldHeader == nil {
		return w.f.Truncate(0)
	}
	if _, err := w.f.WriteAt(w.oldHeader, 0); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	return w.f.Truncate(w.start)
}
