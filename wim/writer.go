package wim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
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
	Codec      Codec // Auto as it says
	ChunkSize  int   // plain bytes, a power of two; 0 means 32768, for LZMS 131072, or the file's own when appending
	Level      Level
	Workers    int       // 0 means GOMAXPROCS
	Integrity  bool      // write an integrity table; always when appending to a file that has one, but for NoIntegrity
	ReparseFix bool      // RP_FIX: absolute links of the images were made relative to their root
	BootIndex  int       // image that boots from a RAM disk; 0 means none, or the file's own when appending
	GUID       guid.GUID // zero means a random one, or the file's own when appending
	Time       time.Time // of images whose info gives none; zero means now

	// Have, if not nil, tells which blobs some other WIM holds. They are not stored: what is written is a delta WIM, to be
	// read with [Reader.Reference]. A [Reader.Has] is one. One call comes at a time.
	Have func(winfile.SHA1) bool

	// Solid puts the contents of each image that is added into a solid resource, which is smaller, and slow to read a single file from.
	// The metadata stays with Codec. No Windows before 8 reads such a file.
	Solid          bool
	SolidCodec     Codec // Auto means LZMS
	SolidChunkSize int   // plain bytes, a power of two; 0 means 64 MiB for LZMS, 2 MiB for LZX, 64 KiB for XPRESS
	SolidLevel     Level
	SolidUnsorted  bool // leave the contents in the order of reading, not by extension and name

	NoIntegrity bool // write no integrity table, and drop that of a file that is appended to
	Unlock      bool // append to a file that is marked read-only, too
	Recompress  bool // compress anew what other WIMs have in the right form, rather than copy their stored bytes
	CheckCopies bool // compare the SHA-1 of what is copied as stored bytes, which decompresses it

	Progress func(bytes int64) // plain bytes read so far, over all images; one call at a time
}

// Stats counts what a Writer did.
type Stats struct {
	NewBlobs    int64 // written
	Duplicates  int64 // streams' contents that were in the file already or in another one (Have), or came twice
	BytesRead   int64 // plain bytes read from the sources, or skipped as known when they had been hashed
	BytesNew    int64 // plain bytes of the new blobs
	BytesStored int64 // what the new blobs take
	Copied      int64 // of the new blobs: those whose stored bytes were copied from another WIM, not compressed
}

// A Writer makes a WIM, or changes one: it adds, replaces and deletes images and sets what is known about them. It is not for
// concurrent use. Nothing counts before Close: until then, a file that is appended to shows its old images, and a new one is
// not valid.
type Writer struct {
	f     WriteTarget
	opts  WriterOptions
	codec Codec
	chunk int64 // 0 if codec is None

	pipable bool
	hdr     header
	xml     *element // WIM, without its IMAGE elements
	table   map[winfile.SHA1]*tableEntry
	order   []*tableEntry      // in the order of the file
	sizes   map[int64]struct{} // of large blobs in the table
	images  []*writerImage
	boot    int // number of the image that boots; 0 if none does

	out       *appender
	start     int64 // end of the old file, 0 for a new one
	oldHeader []byte
	oldHashes *integrityTable
	oldEnd    int64 // of what oldHashes covers

	newTable, newXML bool // they must be written
	recount          bool // the reference counts are no longer right

	stats       Stats
	done        int64
	closed      bool
	err         error // why the file cannot be finished
	mu          sync.Mutex
	compressors []compressor
}

// writerImage is an image of the file.
type writerImage struct {
	meta blobEntry
	xml  *element
	refs map[winfile.SHA1]uint32 // names that refer to each blob; nil if it has not been counted
	old  *Image                  // of the file that is appended to, or nil
}

// tableEntry is a blob of the file.
type tableEntry struct {
	blobEntry
	solid *writtenSolid // where it is, or nil; Resource.Offset then counts from its first plain byte
}

// Create begins a new WIM in f, which it empties.
func Create(f WriteTarget, opts *WriterOptions) (*Writer, error) {
	w, err := newWriter(f, opts)
	if err != nil {
		return nil, err
	}
	if err := w.setForm(); err != nil {
		return nil, err
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	if err := w.writeHeader(); err != nil {
		return nil, err
	}
	w.out = &appender{f: f, at: headerSize}
	return w, nil
}

// setForm decides on the codec and the header of a new file.
func (w *Writer) setForm() error {
	if w.opts.Codec == Auto {
		w.opts.Codec = XPRESS
	}
	if w.codec = w.opts.Codec; w.codec != None {
		w.chunk = int64(w.opts.ChunkSize)
		if w.chunk == 0 {
			w.chunk = 32768
			if w.codec == LZMS {
				w.chunk = 1 << 17
			}
		}
		if err := checkChunkSize(w.codec, w.chunk); err != nil {
			return fmt.Errorf("wim: %w", err)
		}
	}
	c, err := newCompressor(w.codec, w.opts.Level, w.chunk)
	if err != nil {
		return err
	}
	w.release(c)
	if w.opts.GUID == (guid.GUID{}) {
		w.opts.GUID = guid.New()
	}
	w.newTable, w.newXML, w.boot = true, true, w.opts.BootIndex
	w.hdr = header{Magic: magic, Size: headerSize, Version: versionPlain, Flags: codecFlags(w.codec) | flagInProgress,
		ChunkSize: uint32(w.chunk), GUID: w.opts.GUID, Part: 1, Of: 1}
	if w.codec == LZMS {
		w.hdr.Version = versionSolid
	}
	w.xml = &element{name: "WIM"}
	return nil
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
	case LZMS:
		return flagCompressed | flagLZMS
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
// [winfile.ReadBlobs], and their SHA-1 is set; what another WIM has in the right form is copied as it is stored there. If any
// cannot be read, the error joins those of all blobs (the first 100), and the file is as if AddImage had not been called;
// Close then finishes it without the image.
func (w *Writer) AddImage(ctx context.Context, t *winfile.Tree, info ImageInfo) error {
	if err := w.ready(); err != nil {
		return err
	}
	if err := w.checkInfo(&info); err != nil {
		return err
	}
	p, err := newPlan(t)
	if err != nil {
		return err
	}
	img, err := w.attempt(func() (*writerImage, error) { return w.addPlan(ctx, p) })
	if err != nil {
		return err
	}
	p.count(&info)
	img.xml = info.element(len(w.images) + 1)
	w.addImage(img)
	return nil
}

// ready reports why nothing can be added.
func (w *Writer) ready() error {
	if w.err == nil && w.closed {
		return errors.New("wim: the writer is closed")
	}
	return w.err
}

// attempt calls f. If it fails, what it has written is taken back.
func (w *Writer) attempt(f func() (*writerImage, error)) (*writerImage, error) {
	mark, n, stats := w.out.pos(), len(w.order), w.stats
	img, err := f()
	if err != nil {
		for _, e := range w.order[n:] {
			delete(w.table, e.Hash)
		}
		w.order, w.stats = w.order[:n], stats
		w.out.rewind(mark)
	}
	return img, err
}

// addImage makes img the last one. Its blobs are in the file.
func (w *Writer) addImage(img *writerImage) {
	w.addRefs(img.refs)
	w.images = append(w.images, img)
	w.newTable, w.newXML = true, true
}

// addRefs counts references to the blobs of the file.
func (w *Writer) addRefs(refs map[winfile.SHA1]uint32) {
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
}

func (w *Writer) checkInfo(info *ImageInfo) error {
	if err := w.checkName(info.Name); err != nil {
		return err
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

// checkName reports why there cannot be one more image with this name.
func (w *Writer) checkName(name string) error {
	if len(w.images) == maxImages {
		return fmt.Errorf("wim: %d images are in the file, and that is all it can have", maxImages)
	}
	for _, i := range w.images {
		if name != "" && i.xml.text("NAME") == name {
			return fmt.Errorf("wim: there is an image %q already", name)
		}
	}
	return nil
}

// addPlan writes the blobs and the metadata of an image.
func (w *Writer) addPlan(ctx context.Context, p *plan) (*writerImage, error) {
	items, err := w.blobItems(p.wanted())
	if err != nil {
		return nil, err
	}
	if err := w.writeBlobs(ctx, items, nil); err != nil {
		return nil, err
	}
	raw, refs, err := p.metadata()
	if err != nil {
		return nil, err
	}
	img := &writerImage{refs: refs}
	return img, w.addMetadata(ctx, &blobItem{b: winfile.NewBlob(raw), metadata: img})
}

// addMetadata writes the metadata resource that it is.
func (w *Writer) addMetadata(ctx context.Context, it *blobItem) error {
	read, done, progress := w.stats.BytesRead, w.done, w.opts.Progress
	w.opts.Progress = nil
	err := w.run(ctx, []*blobItem{it})
	w.opts.Progress, w.stats.BytesRead, w.done = progress, read, done
	return err
}

// known reports whether the blob with hash h need not be written.
func (w *Writer) known(h winfile.SHA1) bool {
	return w.table[h] != nil || w.opts.Have != nil && w.opts.Have(h)
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
