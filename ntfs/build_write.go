package ntfs

import (
	"context"
	"fmt"
	"io"

	"husk/winfile"
)

// Write writes the volume to w, whose offset 0 is the start of the volume and which reads as zeros wherever it was never written. What
// is zero anyway is not written. It may be called again. Contents are read with [winfile.ReadBlobs] and each is checked to have its size; w.WriteAt is
// called from several goroutines at once. After an error the volume has no $MFT and is not to be used.
func (l *Layout) Write(ctx context.Context, w io.WriterAt) error {
	b := &volumeWriter{Layout: l, ctx: ctx, w: w, out: &spool{w: w}}
	for _, step := range []func() error{b.writeSystem, b.writeIndexes, b.writeSpills, b.out.flush, b.writeContents, b.writeRecords, b.writeBoot} {
		if err := step(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// volumeWriter is the state of one Write.
type volumeWriter struct {
	*Layout
	ctx      context.Context
	w        io.WriterAt
	out      *spool
	resident []byte // contents that go into records
	attrs    []attr // scratch
}

func (b *volumeWriter) offset(lcn LCN) int64 { return int64(lcn) * int64(b.geometry.clusterSize) }

// writeSystem writes the contents of the system files but $Boot, $MFT and $MFTMirr.
func (b *volumeWriter) writeSystem() error {
	r := &b.region
	if err := b.out.put(b.offset(r.upcase.lcn), upcaseTable()); err != nil {
		return err
	}
	if err := b.out.put(b.offset(r.attrDef.lcn), attrDefTable()); err != nil {
		return err
	}
	if err := b.writeRecordBitmap(); err != nil {
		return err
	}
	at := b.offset(r.sds.lcn)
	if err := b.security.write(func(off int64, p []byte) error { return b.out.put(at+off, p) }); err != nil {
		return err
	}
	if err := b.writeBitmap(); err != nil {
		return err
	}
	return b.writeLog()
}

// writeRecordBitmap writes $MFT:$BITMAP: the system records, and all from firstUserRecord to the last file's.
func (b *volumeWriter) writeRecordBitmap() error {
	bits := appendBits(nil, b.lastRecord, b.region.mftBitmap.size)
	clear(bits[:firstUserRecord/8])
	for record, f := range b.systems {
		if f != none {
			bits[record/8] |= 1 << (record % 8)
		}
	}
	return b.out.put(b.offset(b.region.mftBitmap.lcn), bits)
}

// writeBitmap writes $Bitmap: the clusters in use are the first ones, and the last ones if the log is there. The bits behind the last
// cluster are set. What lies between is zero and not written.
func (b *volumeWriter) writeBitmap() error {
	size, clusters := b.region.bitmap.size, b.geometry.clusters
	high := clusters // from here on all bits are set
	if b.opt.LogAtEnd {
		high = int64(b.region.log.lcn)
	}
	tail := high / 8 // byte that the last part starts with
	if first := (b.used + 7) / 8; first <= tail {
		if err := b.out.put(b.offset(b.region.bitmap.lcn), appendBits(nil, b.used, first)); err != nil {
			return err
		}
	} else {
		tail = 0 // the parts share a byte
	}
	bits := make([]byte, size-tail)
	if tail == 0 {
		setBits(bits, b.used)
	}
	for i := high; i < 8*size; i++ {
		bits[i/8-tail] |= 1 << (i % 8)
	}
	return b.out.put(b.offset(b.region.bitmap.lcn)+tail, bits)
}

// writeLog fills $LogFile with 0xff: drivers take that for an empty log of a volume that is clean.
func (b *volumeWriter) writeLog() error {
	p := make([]byte, 64<<10)
	for i := range p {
		p[i] = 0xff
	}
	at := b.offset(b.region.log.lcn)
	for off := int64(0); off < b.region.log.size; off += int64(len(p)) {
		p = p[:min(int64(len(p)), b.region.log.size-off)]
		if err := b.out.put(at+off, p); err != nil {
			return err
		}
	}
	return nil
}

// writeIndexes writes the blocks of all indexes.
func (b *volumeWriter) writeIndexes() error {
	for v := range viewCount {
		x := b.view(v)
		if err := b.writeIndex(&x); err != nil {
			return err
		}
	}
	for i := range b.dirs {
		if b.dirs[i].shape.splits == nil {
			continue
		}
		x := b.dirIndex(int32(i))
		if err := b.writeIndex(&x); err != nil {
			return err
		}
		if err := b.ctx.Err(); err != nil {
			return context.Cause(b.ctx)
		}
	}
	return nil
}

func (b *volumeWriter) writeIndex(x *index) error {
	s := x.shape
	at := b.offset(s.blocks.lcn)
	err := x.write(b.geometry.clusterSize, func(block []byte) error {
		at += indexBlockSize
		return b.out.put(at-indexBlockSize, block)
	})
	if err != nil || s.bitmap.size == 0 {
		return err
	}
	return b.out.put(b.offset(s.bitmap.lcn), appendBits(nil, s.count(), s.bitmap.size))
}

// writeSpills writes attribute lists, extended attributes and reparse points that are outside their records.
func (b *volumeWriter) writeSpills() error {
	var buf []byte
	for i := range b.spills {
		s := &b.spills[i]
		b.attrs = b.attributes(b.attrs[:0], s.file)
		buf = b.appendValue(buf[:0], s.file, b.attrs, &b.attrs[s.attr])
		if int64(len(buf)) != s.size {
			panic(fmt.Sprintf("ntfs: internal error: %v of %d bytes, planned with %d", b.attrs[s.attr].typ, len(buf), s.size))
		}
		if err := b.out.put(b.offset(LCN(b.places[s.place].at)), buf); err != nil {
			return err
		}
	}
	return nil
}

// writeContents reads the contents and writes each to all its places.
func (b *volumeWriter) writeContents() error {
	b.resident = make([]byte, b.Layout.resident)
	blobs := make([]*winfile.Blob, len(b.contents))
	for i := range b.contents {
		blobs[i] = b.contents[i].blob
	}
	got := make([]int64, len(blobs))
	g := newGather(b.w, b.offset(b.region.data.lcn), b.region.data.size)
	deliver := func(blob *winfile.Blob, off int64, p []byte) error {
		i, ok := b.byBlob[blob]
		if !ok || off != got[i] || int64(len(p)) > blob.Size-off {
			return fmt.Errorf("ntfs: content of %d bytes: got %d at %d, want them at %d", blob.Size, len(p), off, got[i])
		}
		got[i] += int64(len(p))
		if err := b.deliver(g, &b.contents[i], off, p); err != nil {
			return err
		}
		if b.opt.Progress != nil {
			b.opt.Progress(int64(len(p)))
		}
		return nil
	}
	if err := winfile.ReadBlobs(b.ctx, blobs, b.opt.Workers, deliver); err != nil {
		return err
	}
	for i, n := range got {
		if n != blobs[i].Size {
			return fmt.Errorf("ntfs: content of %d bytes ended after %d", blobs[i].Size, n)
		}
	}
	return g.flush()
}

// deliver writes a piece of a content to its places.
func (b *volumeWriter) deliver(g *gather, c *content, off int64, p []byte) error {
	cs := int64(b.geometry.clusterSize)
	for n := c.copy; n != none; n = b.copies[n].next {
		pl := &b.places[b.copies[n].place]
		if pl.resident {
			copy(b.resident[pl.at+off:], p)
			continue
		}
		slack := int64(0)
		if off+int64(len(p)) == c.blob.Size {
			slack = align(c.blob.Size, cs) - c.blob.Size
		}
		if err := g.put(pl.at*cs+off, p, slack); err != nil {
			return err
		}
	}
	return nil
}

// writeRecords writes the $MFT and, from its start, $MFTMirr.
func (b *volumeWriter) writeRecords() error {
	m := &recordWriter{spool: b.out, start: b.offset(b.region.mft.lcn), size: b.geometry.recordSize}
	m.mirror = make([]byte, 0, b.region.mirror.size)
	put := func(f int32, slot uint16) error {
		b.attrs = b.attributes(b.attrs[:0], f)
		p := m.next()
		b.putRecord(p, f, slot, b.attrs, b.resident)
		return m.put(p)
	}
	for record, f := range b.systems {
		if f == none {
			p := m.next()
			putFree(p, uint32(record))
			if err := m.put(p); err != nil {
				return err
			}
			continue
		}
		if err := put(f, 0); err != nil {
			return err
		}
	}
	for slot := range b.files[b.systems[recRoot]].exts {
		if err := put(b.systems[recRoot], slot+1); err != nil {
			return err
		}
	}
	for f := int32(len(systemFiles)); f < int32(len(b.files)); f++ {
		for slot := range int(b.files[f].exts) + 1 {
			if err := put(f, uint16(slot)); err != nil {
				return err
			}
		}
		if f%4096 == 0 && b.ctx.Err() != nil {
			return context.Cause(b.ctx)
		}
	}
	for m.count < b.records {
		p := m.next()
		putFree(p, uint32(m.count))
		if err := m.put(p); err != nil {
			return err
		}
	}
	return b.out.put(b.offset(b.region.mirror.lcn), m.mirror)
}

// writeBoot writes $Boot and the copy of its first sector at the end: the last thing, for without it this is no volume.
func (b *volumeWriter) writeBoot() error {
	image := b.bootImage()
	if err := b.out.put(b.geometry.sectors*int64(b.geometry.sectorSize), image[:b.geometry.sectorSize]); err != nil {
		return err
	}
	if err := b.out.put(0, image); err != nil {
		return err
	}
	return b.out.flush()
}

// recordWriter writes records in order.
type recordWriter struct {
	*spool
	start  int64
	size   int
	count  int64
	buf    []byte
	mirror []byte // the first records
}

// next returns a zero record.
func (m *recordWriter) next() []byte {
	if m.buf == nil {
		m.buf = make([]byte, m.size)
	}
	clear(m.buf)
	return m.buf
}

func (m *recordWriter) put(p []byte) error {
	if len(m.mirror)+len(p) <= cap(m.mirror) {
		m.mirror = append(m.mirror, p...)
	}
	at := m.start + m.count*int64(m.size)
	m.count++
	return m.spool.put(at, p)
}

// spool gathers pieces that follow one another into large writes.
type spool struct {
	w   io.WriterAt
	at  int64 // of buf
	buf []byte
}

const spoolSize = 1 << 20

func (s *spool) put(off int64, p []byte) error {
	if off != s.at+int64(len(s.buf)) || len(s.buf)+len(p) > spoolSize {
		if err := s.flush(); err != nil {
			return err
		}
		s.at = off
	}
	if len(p) >= spoolSize {
		_, err := s.w.WriteAt(p, off)
		s.at = off + int64(len(p))
		return err
	}
	s.buf = append(s.buf, p...)
	return nil
}

func (s *spool) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.w.WriteAt(s.buf, s.at)
	s.at += int64(len(s.buf))
	s.buf = s.buf[:0]
	return err
}
