package wim

import "husk/winfile"

// write appends what a task made. It runs in order, one at a time.
func (p *pipeline) write(res *result) error {
	w := p.w
	if res.group && w.pipable {
		return p.pipeGroup(res)
	}
	if res.group {
		return p.writeGroup(res)
	}
	p.mu.Lock() // claim reads the table
	known := w.table[res.hash] != nil
	p.mu.Unlock()
	if res.dup || known && res.item.metadata == nil {
		w.stats.Duplicates++
		return nil
	}
	if w.pipable {
		return p.pipeSmall(res)
	}
	off := w.out.pos()
	if err := w.out.write(res.stored); err != nil {
		return err
	}
	p.addResource(res.item, res.hash, off, int64(len(res.stored)), res.packed)
	return nil
}

// addResource enters a resource that was written.
func (p *pipeline) addResource(it *blobItem, h winfile.SHA1, off, stored int64, packed bool) {
	w := p.w
	var flags resourceFlags
	if packed {
		flags = resCompressed
	}
	if it.metadata != nil {
		it.metadata.meta = blobEntry{newResourceHeader(off, stored, it.b.Size, flags|resMetadata), w.hdr.Part, 1, h}
		return
	}
	e := &tableEntry{blobEntry: blobEntry{newResourceHeader(off, stored, it.b.Size, flags), w.hdr.Part, 0, h}}
	p.mu.Lock()
	w.enter(e)
	p.mu.Unlock()
	w.stats.NewBlobs++
	w.stats.BytesNew += it.b.Size
	w.stats.BytesStored += stored
	if it.stored != nil {
		w.stats.Copied++
	}
}

func (w *Writer) enter(e *tableEntry) {
	w.table[e.Hash] = e
	w.order = append(w.order, e)
	if size := int64(e.Resource.Original); size > wholeBlob {
		w.sizes[size] = struct{}{}
	}
}

// largeWrite is a large blob that is being written. Its chunk table is written in parts, so that memory does not grow with
// the blob.
type largeWrite struct {
	layout
	off       int64 // in the file
	chunkNext int64 // from the end of the table
	chunkNo   int64
	part      []byte // of the table, not yet written
	partAt    int64
}

const tablePart = 1 << 16

// addChunks adds chunks of these sizes to the table.
func (g *largeWrite) addChunks(sizes []int32) {
	for _, n := range sizes {
		if g.chunkNo > 0 {
			if g.width == 4 {
				g.part = le.AppendUint32(g.part, uint32(g.chunkNext))
			} else {
				g.part = le.AppendUint64(g.part, uint64(g.chunkNext))
			}
		}
		g.chunkNo++
		g.chunkNext += int64(n)
	}
}

func (p *pipeline) writeGroup(res *result) error {
	w := p.w
	g := p.writing
	if g == nil {
		g = &largeWrite{off: w.out.pos()}
		if res.packed && res.item.stored == nil {
			g.layout = newLayout(res.item.b.Size, w.chunk)
			g.partAt = g.off
			if err := w.out.skip(g.table); err != nil {
				return err
			}
		}
		p.writing = g
	}
	g.addChunks(res.sizes)
	if err := w.out.write(res.stored); err != nil {
		return err
	}
	if len(g.part) >= tablePart || res.last && len(g.part) > 0 {
		if _, err := w.f.WriteAt(g.part, g.partAt); err != nil {
			return err
		}
		g.partAt += int64(len(g.part))
		g.part = g.part[:0]
	}
	if !res.last {
		return nil
	}
	p.writing = nil
	it := res.item
	if it.stored != nil {
		p.addResource(it, res.hash, g.off, it.stored.Size, it.packed)
		return nil
	}
	if !res.packed {
		p.addResource(it, res.hash, g.off, it.b.Size, false)
		return nil
	}
	stored := g.table + g.chunkNext
	if stored < it.b.Size {
		p.addResource(it, res.hash, g.off, stored, true)
		return nil
	}
	if err := w.unpack(&resource{off: g.off, stored: stored, size: it.b.Size, hash: res.hash, compressed: true}); err != nil {
		return err
	}
	p.addResource(it, res.hash, g.off, it.b.Size, false)
	return nil
}

// unpack replaces a resource at the end of the file, which did not get smaller, by its plain bytes. They never run over
// chunks that are still to be read: what is left of the stored bytes is at most what is left of the plain ones. The chunk
// table is in the way, and is copied behind the end first.
func (w *Writer) unpack(res *resource) error {
	if err := w.out.flush(); err != nil {
		return err
	}
	r := &Reader{r: w.f, codec: w.codec}
	r.hdr.ChunkSize = uint32(w.chunk)
	d := r.newDecoder()
	l := newLayout(res.size, w.chunk)
	end := res.off + res.stored
	buf := d.buffer(d.groupSize())
	for off := int64(0); off < l.table; off += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), l.table-off)]
		if err := d.readFull(res, part, res.off+off); err != nil {
			return err
		}
		if _, err := w.f.WriteAt(part, end+off); err != nil {
			return err
		}
	}
	d.tableShift = end - res.off
	for off := int64(0); off < res.size; off += d.groupSize() {
		p := d.buffer(min(d.groupSize(), res.size-off))
		if err := d.read(res, off, p); err != nil {
			return err
		}
		if _, err := w.f.WriteAt(p, res.off+off); err != nil {
			return err
		}
	}
	w.out.rewind(res.off + res.size)
	return nil
}
