package wim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"husk/guid"
	"husk/winfile"
)

// WriteTarget is a file being written. *os.File is one.
type WriteTarget interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
}

// WriterOptions tunes a Writer. The zero value writes XPRESS chunks of 32 KiB, which every Windows since Vista reads.
type WriterOptions struct {
	Codec      Codec // None, XPRESS or LZX; Auto as it says
	ChunkSize  int   // plain bytes, a power of two; 0 means 32768, or the file's own when appending
	Level      Level
	Workers    int       // 0 means GOMAXPROCS
	Integrity  bool      // write an integrity table; always when appending to a file that has one
	ReparseFix bool      // RP_FIX: absolute links of the images were made relative to their root
	BootIndex  int       // image that boots from a RAM disk; 0 means none, or the file's own when appending
	GUID       guid.GUID // zero means a random one, or the file's own when appending
	Time       time.Time // of images whose info gives none; zero means now

	// Have, if not nil, tells which blobs some other WIM holds. They are not stored: what is written is a delta WIM, to be
	// read with [Reader.Reference]. A [Reader.Has] is one. One call comes at a time.
	Have func(winfile.SHA1) bool

	Progress func(bytes int64) // plain bytes read so far, over all images; one call at a time
}

// Stats counts what a Writer did.
type Stats struct {
	NewBlobs    int64 // written
	Duplicates  int64 // streams' contents that were in the file already or in another one (Have), or came twice
	BytesRead   int64 // plain bytes read from the sources, or skipped as known when they had been hashed
	BytesNew    int64 // plain bytes of the new blobs
	BytesStored int64 // what the new blobs take
}

// A Writer adds images to a WIM. It is not for concurrent use. Nothing counts before Close: until then, a file that is
// appended to shows its old images, and a new one is not valid.
type Writer struct {
	f      WriteTarget
	opts   WriterOptions
	codec  Codec
	chunk  int64 // 0 if codec is None
	hdr    header
	xml    *element
	table  map[winfile.SHA1]*tableEntry
	order  []*tableEntry      // in the order of the file
	sizes  map[int64]struct{} // of large blobs in the table
	images []blobEntry        // metadata

	out       *appender
	start     int64 // end of the old file, 0 for a new one
	oldHeader []byte
	oldHashes *integrityTable
	oldEnd    int64 // of what oldHashes covers

	stats       Stats
	done        int64
	closed      bool
	err         error // why the file cannot be finished
	mu          sync.Mutex
	compressors []compressor
}

// tableEntry is a blob of the file.
type tableEntry struct {
	blobEntry
}

// Create begins a new WIM in f, which it empties.
func Create(f WriteTarget, opts *WriterOptions) (*Writer, error) {
	w, err := newWriter(f, opts)
	if err != nil {
		return nil, err
	}
	if w.opts.Codec == Auto {
		w.opts.Codec = XPRESS
	}
	if w.codec = w.opts.Codec; w.codec != None {
		w.chunk = int64(w.opts.ChunkSize)
		if w.chunk == 0 {
			w.chunk = 32768
		}
		if err := checkChunkSize(w.codec, w.chunk); err != nil {
			return nil, fmt.Errorf("wim: %w", err)
		}
	}
	c, err := newCompressor(w.codec, w.opts.Level, w.chunk)
	if err != nil {
		return nil, err
	}
	w.release(c)
	if w.opts.GUID == (guid.GUID{}) {
		w.opts.GUID = guid.New()
	}
	w.hdr = header{Magic: magic, Size: headerSize, Version: versionPlain, Flags: codecFlags(w.codec) | flagInProgress,
		ChunkSize: uint32(w.chunk), GUID: w.opts.GUID, Part: 1, Of: 1}
	w.xml = &element{name: "WIM"}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	if err := w.writeHeader(); err != nil {
		return nil, err
	}
	w.out = &appender{f: f, at: headerSize}
	return w, nil
}

func newWriter(f WriteTarget, opts *WriterOptions) (*Writer, error) {
	w := &Writer{f: f, table: make(map[winfile.SHA1]*tableEntry), sizes: make(map[int64]struct{})}
	if opts != nil {
		w.opts = *opts
	}
	if w.opts.Workers <= 0 {
		w.opts.Workers = runtime.GOMAXPROCS(0)
	}
	if w.opts.Time.IsZero() {
		w.opts.Time = time.Now()
	}
	if w.opts.BootIndex < 0 {
		return nil, fmt.Errorf("wim: boot index %d", w.opts.BootIndex)
	}
	return w, nil
}

func codecFlags(c Codec) headerFlags {
	switch c {
	case XPRESS:
		return flagCompressed | flagXPRESS
	case LZX:
		return flagCompressed | flagLZX
	}
	return 0
}

// Stats counts what was done so far.
func (w *Writer) Stats() Stats { return w.stats }

// GUID is what the file is known by.
func (w *Writer) GUID() guid.GUID { return w.hdr.GUID }

// groupSize is how many plain bytes of a large blob make a task.
func (w *Writer) groupSize() int64 { return max(pieceSize, w.chunk) }

// compressor returns one that is free, nil if nothing is compressed.
func (w *Writer) compressor() compressor {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.compressors); n > 0 {
		c := w.compressors[n-1]
		w.compressors = w.compressors[:n-1]
		return c
	}
	c, err := newCompressor(w.codec, w.opts.Level, w.chunk)
	if err != nil {
		panic("wim: internal error: " + err.Error()) // Create and Append made one
	}
	return c
}

func (w *Writer) release(c compressor) {
	if c != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.compressors = append(w.compressors, c)
	}
}

// progress is called under pipeline.mu.
func (w *Writer) progress(n int64) {
	w.done += n
	if w.opts.Progress != nil {
		w.opts.Progress(w.done)
	}
}

// AddImage writes an image. The blobs of t that are not in the file are read through their contents, in the order of
// [winfile.ReadBlobs], and their SHA-1 is set. If any cannot be read, the error joins those of all blobs (the first 100),
// and the file is as if AddImage had not been called; Close then finishes it without the image.
func (w *Writer) AddImage(ctx context.Context, t *winfile.Tree, info ImageInfo) error {
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return errors.New("wim: the writer is closed")
	}
	if err := w.checkInfo(&info); err != nil {
		return err
	}
	p, err := newPlan(t)
	if err != nil {
		return err
	}
	mark, n, stats := w.out.pos(), len(w.order), w.stats
	if err := w.addImage(ctx, p, &info); err != nil {
		for _, e := range w.order[n:] {
			delete(w.table, e.Hash)
		}
		w.order, w.stats = w.order[:n], stats
		w.out.rewind(mark)
		return err
	}
	return nil
}

func (w *Writer) checkInfo(info *ImageInfo) error {
	if len(w.images) == maxImages {
		return fmt.Errorf("wim: %d images are in the file, and that is all it can have", maxImages)
	}
	for _, c := range w.xml.children {
		if c.name == "IMAGE" && info.Name != "" && c.text("NAME") == info.Name {
			return fmt.Errorf("wim: there is an image %q already", info.Name)
		}
	}
	for path, text := range info.Properties {
		if err := checkProperty(path, text); err != nil {
			return err
		}
	}
	if info.Created.IsZero() {
		info.Created = w.opts.Time
	}
	if info.Modified.IsZero() {
		info.Modified = info.Created
	}
	return nil
}

func (w *Writer) addImage(ctx context.Context, p *plan, info *ImageInfo) error {
	items, err := w.blobItems(p)
	if err != nil {
		return err
	}
	if err := w.run(ctx, items); err != nil {
		return err
	}
	raw, refs, err := p.metadata()
	if err != nil {
		return err
	}
	meta := winfile.NewBlob(raw)
	read, done := w.stats.BytesRead, w.done
	progress := w.opts.Progress
	w.opts.Progress = nil
	err = w.run(ctx, []*blobItem{{b: meta, metadata: true}})
	w.opts.Progress, w.stats.BytesRead, w.done = progress, read, done
	if err != nil {
		return err
	}
	for h, n := range refs {
		e := w.table[h]
		if e == nil {
			if w.known(h) {
				continue // elsewhere
			}
			panic("wim: internal error: blob " + h.String() + " was not written")
		}
		e.RefCount += n
	}
	info.Dirs, info.Files = p.info.Dirs, p.info.Files
	info.TotalBytes, info.HardLinkBytes = p.info.TotalBytes, p.info.HardLinkBytes
	w.xml.children = append(w.xml.children, info.element(len(w.images)))
	return nil
}

// known reports whether the blob with hash h need not be written.
func (w *Writer) known(h winfile.SHA1) bool {
	return w.table[h] != nil || w.opts.Have != nil && w.opts.Have(h)
}

// blobItems lists the blobs that must be read, in the order of reading.
func (w *Writer) blobItems(p *plan) ([]*blobItem, error) {
	groups := make(map[winfile.Content][]*blobItem)
	var order []winfile.Content
	seen := make(map[*winfile.Blob]struct{})
	hashes := make(map[winfile.SHA1]struct{})
	for _, f := range p.order {
		for b := range f.blobs() {
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
			if b.Content == nil || b.Size <= 0 {
				return nil, fmt.Errorf("wim: %s: content of %d bytes with SHA-1 %s is not at hand", f.first.path(), b.Size, b.SHA1)
			}
			c := b.Content
			if f.reparse == b {
				c = reparseData
			}
			if groups[c] == nil {
				order = append(order, c)
			}
			groups[c] = append(groups[c], &blobItem{b: b, owner: f.first})
		}
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

// reparseData stands for the contents of all reparse points, which are in memory, so that they are one group.
var reparseData winfile.Content = missing{}

// write appends what a task made. It runs in order, one at a time.
func (p *pipeline) write(res *result) error {
	w := p.w
	if res.group {
		return p.writeGroup(res)
	}
	p.mu.Lock() // claim reads the table
	known := w.table[res.hash] != nil
	p.mu.Unlock()
	if res.dup || known && !res.item.metadata {
		w.stats.Duplicates++
		return nil
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
	if it.metadata {
		w.images = append(w.images, blobEntry{newResourceHeader(off, stored, it.b.Size, flags|resMetadata), 1, 1, h})
		return
	}
	e := &tableEntry{blobEntry{newResourceHeader(off, stored, it.b.Size, flags), 1, 0, h}}
	p.mu.Lock()
	w.enter(e)
	p.mu.Unlock()
	w.stats.NewBlobs++
	w.stats.BytesNew += it.b.Size
	w.stats.BytesStored += stored
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
	off     int64 // in the file
	chunkAt int64 // from the end of the table
	chunkNo int64
	part    []byte // of the table, not yet written
	partAt  int64
}

const tablePart = 1 << 16

func (p *pipeline) writeGroup(res *result) error {
	w := p.w
	g := p.writing
	if g == nil {
		g = &largeWrite{off: w.out.pos()}
		if res.packed {
			g.layout = newLayout(res.item.b.Size, w.chunk)
			g.partAt = g.off
			if err := w.out.skip(g.table); err != nil {
				return err
			}
		}
		p.writing = g
	}
	for _, n := range res.sizes {
		if g.chunkNo > 0 {
			if g.width == 4 {
				g.part = le.AppendUint32(g.part, uint32(g.chunkAt))
			} else {
				g.part = le.AppendUint64(g.part, uint64(g.chunkAt))
			}
		}
		g.chunkNo++
		g.chunkAt += int64(n)
	}
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
	if !res.packed {
		p.addResource(it, res.hash, g.off, it.b.Size, false)
		return nil
	}
	stored := g.table + g.chunkAt
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

// Close writes the tables and then, with one write, the header that makes them valid. The data is synced before the header
// is written, and the header before Close returns. If it fails, an old file is as it was.
func (w *Writer) Close() error {
	if w.closed {
		return errors.New("wim: the writer is closed")
	}
	w.closed = true
	err := w.err
	if err == nil {
		err = w.finish()
	}
	if err != nil {
		return errors.Join(err, w.restore())
	}
	return nil
}

// Abort gives up: a file that was appended to is as it was, a new one is empty.
func (w *Writer) Abort() error {
	if w.closed {
		return nil
	}
	w.closed = true
	return w.restore()
}

func (w *Writer) finish() error {
	if w.opts.BootIndex > len(w.images) {
		return fmt.Errorf("wim: boot index %d of %d images", w.opts.BootIndex, len(w.images))
	}
	h := w.hdr
	h.Flags &^= flagInProgress
	if w.opts.ReparseFix {
		h.Flags |= flagReparseFix
	}
	h.ImageCount = uint32(len(w.images))
	h.BootIndex, h.BootMeta = 0, resourceHeader{}
	if n := w.opts.BootIndex; n > 0 {
		h.BootIndex, h.BootMeta = uint32(n), w.images[n-1].Resource
	}
	var err error
	if h.BlobTable, err = w.writePlain(w.blobTable(), resMetadata); err != nil {
		return err
	}
	w.setTotalBytes(w.out.pos())
	if h.XML, err = w.writePlain(encodeXML(w.xml), resMetadata); err != nil {
		return err
	}
	h.Integrity = resourceHeader{}
	if w.opts.Integrity || w.oldHashes != nil {
		if h.Integrity, err = w.writeIntegrity(h.BlobTable.end()); err != nil {
			return err
		}
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

func (w *Writer) writePlain(b []byte, flags resourceFlags) (resourceHeader, error) {
	off, n := w.out.pos(), int64(len(b))
	return newResourceHeader(off, n, n, flags), w.out.write(b)
}

// blobTable lists the metadata in the order of images, then the blobs in the order of the file.
func (w *Writer) blobTable() []byte {
	slices.SortStableFunc(w.order, func(a, b *tableEntry) int { return cmp.Compare(a.Resource.Offset, b.Resource.Offset) })
	b := make([]byte, 0, (len(w.images)+len(w.order))*blobEntrySize)
	for i := range w.images {
		b = appendBlobEntry(b, &w.images[i])
	}
	for _, e := range w.order {
		b = appendBlobEntry(b, &e.blobEntry)
	}
	return b
}

// setTotalBytes gives WIM/TOTALBYTES, the first child, the offset of the XML data.
func (w *Writer) setTotalBytes(n int64) {
	if w.xml.find("TOTALBYTES") == nil {
		w.xml.children = slices.Insert(w.xml.children, 0, &element{name: "TOTALBYTES"})
	}
	w.xml.set("TOTALBYTES", strconv.FormatInt(n, 10))
}

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
	var b bytes.Buffer
	if err := binary.Write(&b, le, &w.hdr); err != nil {
		panic("wim: internal error: " + err.Error())
	}
	_, err := w.f.WriteAt(b.Bytes(), 0)
	return err
}

// appender collects what is written behind the end of the file.
type appender struct {
	f   WriteTarget
	at  int64 // where buf begins
	buf []byte
}

const appendSize = 1 << 20

// pos is where the next byte goes.
func (a *appender) pos() int64 { return a.at + int64(len(a.buf)) }

func (a *appender) write(p []byte) error {
	if len(a.buf)+len(p) > appendSize {
		if err := a.flush(); err != nil {
			return err
		}
		if len(p) >= appendSize/2 {
			if _, err := a.f.WriteAt(p, a.at); err != nil {
				return err
			}
			a.at += int64(len(p))
			return nil
		}
	}
	if a.buf == nil {
		a.buf = make([]byte, 0, appendSize)
	}
	a.buf = append(a.buf, p...)
	return nil
}

func (a *appender) flush() error {
	if len(a.buf) == 0 {
		return nil
	}
	if _, err := a.f.WriteAt(a.buf, a.at); err != nil {
		return err
	}
	a.at += int64(len(a.buf))
	a.buf = a.buf[:0]
	return nil
}

// skip leaves n bytes to be written later.
func (a *appender) skip(n int64) error {
	err := a.flush()
	a.at += n
	return err
}

// rewind makes off the end.
func (a *appender) rewind(off int64) {
	if off >= a.at {
		a.buf = a.buf[:off-a.at]
		return
	}
	a.at, a.buf = off, a.buf[:0]
}
