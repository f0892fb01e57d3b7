package wim

import (
	"cmp"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"husk/compress/lzms"
	"husk/winfile"
)

const (
	defaultSolidChunk = 64 << 20 // of LZMS, as DISM and wimlib have it
	maxSolidMemory    = 2 << 30  // bytes for all chunks that are compressed at once, unless one alone takes more
)

// A writtenSolid is a solid resource of the file that is being written.
type writtenSolid struct {
	off, stored, size int64
}

// solidForm decides on codec and chunk size of solid resources.
func (w *Writer) solidForm() (Codec, int64, error) {
	codec, chunk := w.opts.SolidCodec, int64(w.opts.SolidChunkSize)
	if codec == Auto {
		codec = LZMS
	}
	if chunk == 0 {
		chunk = map[Codec]int64{None: 1 << 20, XPRESS: 1 << 16, LZX: 1 << 21, LZMS: defaultSolidChunk}[codec]
	}
	if err := checkChunkSize(codec, chunk); err != nil {
		return 0, 0, fmt.Errorf("wim: solid resources: %w", err)
	}
	if w.opts.SolidLevel < Default || w.opts.SolidLevel > Best {
		return 0, 0, fmt.Errorf("wim: solid resources: level %d, want %d to %d", w.opts.SolidLevel, Default, Best)
	}
	return codec, chunk, nil
}

// writeBlobs writes the blobs of an image. name tells a blob's file; it may be nil if the items have owners.
func (w *Writer) writeBlobs(ctx context.Context, items []*blobItem, name func(*blobItem) string) error {
	if !w.opts.Solid || w.pipable {
		return w.run(ctx, items)
	}
	codec, chunk, err := w.solidForm()
	if err != nil {
		return err
	}
	if items, err = w.distinct(ctx, items); err != nil || len(items) == 0 {
		return err
	}
	if !w.opts.SolidUnsorted {
		sortSolid(items, name)
	}
	s := &solidWriter{w: w, codec: codec, chunk: chunk, res: &writtenSolid{off: w.out.pos()}}
	return s.write(ctx, items)
}

// distinct finds out the SHA-1 of all items, and returns one of each blob that is not known.
func (w *Writer) distinct(ctx context.Context, items []*blobItem) ([]*blobItem, error) {
	list := make([]wantedBlob, len(items))
	for i, it := range items {
		list[i] = wantedBlob{b: it.b, owner: it.owner}
	}
	if err := w.hashAll(ctx, list); err != nil {
		return nil, err
	}
	seen := make(map[winfile.SHA1]struct{})
	return slices.DeleteFunc(items, func(it *blobItem) bool {
		_, dup := seen[it.b.SHA1]
		seen[it.b.SHA1] = struct{}{}
		if dup || w.known(it.b.SHA1) {
			w.stats.Duplicates++
			return true
		}
		return false
	}), nil
}

// sortSolid puts together what is alike: by the extension of the name, then the name, whatever the case. What comes out of other solid
// resources goes first, in their order, so that each is expanded once.
func sortSolid(items []*blobItem, name func(*blobItem) string) {
	type key struct {
		it        *blobItem
		solid     bool
		ext, base string
	}
	keys := make([]key, len(items))
	for i, it := range items {
		k := key{it: it}
		if res, ok := it.b.Ref.(*resource); ok && res.solid != nil {
			k.solid = true
		} else {
			k.base = strings.ToLower(solidName(it, name))
			k.ext = path.Ext(k.base)
		}
		keys[i] = k
	}
	slices.SortStableFunc(keys, func(a, b key) int {
		if a.solid != b.solid {
			if a.solid {
				return -1
			}
			return 1
		}
		if a.solid {
			return 0 // blobItems has sorted them
		}
		return cmp.Or(strings.Compare(a.ext, b.ext), strings.Compare(a.base, b.base))
	})
	for i, k := range keys {
		items[i] = k.it
	}
}

func solidName(it *blobItem, name func(*blobItem) string) string {
	if it.owner != nil {
		return it.owner.entry.Name
	}
	if name != nil {
		return name(it)
	}
	return ""
}

// nameBlobs returns a function that tells the name of a file with the blob in an image.
func nameBlobs(img *Image) (func(*blobItem) string, error) {
	t, err := img.Tree()
	if err != nil {
		return nil, err
	}
	names := make(map[winfile.SHA1]string)
	for _, e := range t.All() {
		for b := range e.Info.Blobs() {
			if _, ok := names[b.SHA1]; !ok {
				names[b.SHA1] = e.Name
			}
		}
	}
	return func(it *blobItem) string { return names[it.b.SHA1] }, nil
}

// A solidWriter writes one solid resource. It reads the blobs one after the other while the chunks before are compressed, several at a
// time, and written in order.
type solidWriter struct {
	w      *Writer
	codec  Codec
	chunk  int64
	res    *writtenSolid
	sizes  []byte      // the chunk table
	jobs   []*solidJob // being compressed, in order
	free   []*solidJob
	filled *solidJob // its plain bytes are being read
	at     int64     // plain bytes so far
}

// A solidJob is a chunk.
type solidJob struct {
	codec         compressor
	plain, packed []byte
	stored        []byte // plain or packed
	done          chan struct{}
}

// workers is how many chunks are compressed at once.
func (s *solidWriter) workers() int {
	each := 3 * s.chunk
	if s.codec == LZMS {
		each += lzms.Memory(int(s.chunk), lzmsLevel(s.w.opts.SolidLevel))
	}
	return int(max(min(int64(s.w.opts.Workers), maxSolidMemory/each), 1))
}

func (s *solidWriter) write(ctx context.Context, items []*blobItem) (err error) {
	defer func() {
		for _, j := range s.jobs {
			<-j.done
		}
	}()
	w := s.w
	for _, it := range items {
		if it.b.Size > maxPlain-s.res.size {
			return fmt.Errorf("wim: more than %d bytes in a solid resource", maxPlain)
		}
		s.res.size += it.b.Size
	}
	chunks := (s.res.size + s.chunk - 1) / s.chunk
	if err := w.out.write(s.header()); err != nil {
		return err
	}
	table := w.out.pos()
	if err := w.out.skip(4 * chunks); err != nil {
		return err
	}
	var errs []error
	for _, it := range items {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := s.add(it); err != nil {
			if errs = append(errs, err); len(errs) == maxErrors {
				break
			}
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := s.flush(); err != nil {
		return err
	}
	for len(s.jobs) > 0 {
		if err := s.finishOldest(); err != nil {
			return err
		}
	}
	if _, err := w.f.WriteAt(s.sizes, table); err != nil {
		return err
	}
	s.res.stored = w.out.pos() - s.res.off
	w.stats.BytesStored += s.res.stored
	s.enter(items)
	return nil
}

func (s *solidWriter) header() []byte {
	b := le.AppendUint64(nil, uint64(s.res.size))
	b = le.AppendUint32(b, uint32(s.chunk))
	return le.AppendUint32(b, uint32(s.codec-None))
}

// enter makes the blobs known.
func (s *solidWriter) enter(items []*blobItem) {
	w, off := s.w, int64(0)
	w.hdr.Version = versionSolid
	for _, it := range items {
		w.enterSolid(it.b.SHA1, off, it.b.Size, 0, s.res)
		off += it.b.Size
		w.stats.NewBlobs++
		w.stats.BytesNew += it.b.Size
	}
}

// enterSolid enters a blob at an offset in the plain bytes of a solid resource.
func (w *Writer) enterSolid(h winfile.SHA1, off, size int64, refs uint32, res *writtenSolid) {
	e := &tableEntry{blobEntry: blobEntry{newResourceHeader(off, size, 0, resSolid), w.hdr.Part, refs, h}, solid: res}
	w.table[h] = e
	w.order = append(w.order, e)
	if size > wholeBlob {
		w.sizes[size] = struct{}{}
	}
}

// add reads a blob into chunks.
func (s *solidWriter) add(it *blobItem) (err error) {
	fail := func(err error) error { return fmt.Errorf("wim: %s: %w", it.path(), err) }
	r, err := it.b.Content.OpenBlob(it.b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	h := sha1.New()
	for left := it.b.Size; left > 0; {
		j := s.job()
		have := len(j.plain)
		n := min(left, s.chunk-int64(have), pieceSize)
		if int64(cap(j.plain)) < int64(have)+n {
			j.plain = slices.Grow(j.plain, int(min(s.chunk, s.res.size-s.at))-have)
		}
		p := j.plain[have : have+int(n)]
		if k, err := io.ReadFull(r, p); err != nil {
			return fail(fmt.Errorf("content ended after %d of %d bytes: %w", it.b.Size-left+int64(k), it.b.Size, err))
		}
		h.Write(p)
		j.plain = j.plain[:have+int(n)]
		left -= n
		s.w.stats.BytesRead += n
		s.w.progress(n)
		if int64(len(j.plain)) == s.chunk {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	if err := readEnd(r, it.b); err != nil {
		return fail(err)
	}
	if winfile.SHA1(h.Sum(nil)) != it.b.SHA1 {
		return fail(fmt.Errorf("%w: it changed while it was being read", ErrChecksum))
	}
	return nil
}

// job returns the chunk that is being filled.
func (s *solidWriter) job() *solidJob {
	if s.filled == nil {
		if n := len(s.free); n > 0 {
			s.filled, s.free = s.free[n-1], s.free[:n-1]
		} else {
			s.filled = &solidJob{}
		}
		s.filled.plain = s.filled.plain[:0]
	}
	return s.filled
}

// flush begins to compress the chunk that is being filled. If enough are at work, the oldest is finished first.
func (s *solidWriter) flush() error {
	j := s.filled
	if j == nil || len(j.plain) == 0 {
		return nil
	}
	s.filled = nil
	s.at += int64(len(j.plain))
	if j.codec == nil && s.codec != None {
		chunk := min(s.chunk, max(s.res.size, 1))
		if s.codec != LZMS {
			chunk = s.chunk
		}
		c, err := newCompressor(s.codec, s.w.opts.SolidLevel, chunk)
		if err != nil {
			return err
		}
		j.codec = c
	}
	j.done = make(chan struct{})
	s.jobs = append(s.jobs, j)
	go j.compress()
	if len(s.jobs) < s.workers() {
		return nil
	}
	return s.finishOldest()
}

func (j *solidJob) compress() {
	defer close(j.done)
	j.stored = j.plain
	if j.codec == nil {
		return
	}
	if cap(j.packed) < len(j.plain) {
		j.packed = make([]byte, len(j.plain))
	}
	if n := j.codec.Compress(j.packed[:len(j.plain)], j.plain); n > 0 && n < len(j.plain) {
		j.stored = j.packed[:n]
	}
}

// finishOldest writes the oldest chunk, once it is compressed.
func (s *solidWriter) finishOldest() error {
	j := s.jobs[0]
	s.jobs = s.jobs[1:]
	<-j.done
	s.free = append(s.free, j)
	s.sizes = le.AppendUint32(s.sizes, uint32(len(j.stored)))
	return s.w.out.write(j.stored)
}

// appendSolid adds the entries of solid resources and what is in them to the blob table: one run, where offsets count through all of
// them.
func appendSolid(b []byte, entries []*tableEntry, part uint16) []byte {
	slices.SortStableFunc(entries, func(x, y *tableEntry) int {
		return cmp.Or(cmp.Compare(x.solid.off, y.solid.off), cmp.Compare(x.Resource.Offset, y.Resource.Offset))
	})
	var last *writtenSolid
	base := int64(0)
	for _, e := range entries {
		if e.solid != last {
			if last != nil {
				base += last.size
			}
			last = e.solid
			b = appendBlobEntry(b, &blobEntry{newResourceHeader(last.off, last.stored, int64(solidOriginal), resSolid), part, 1, winfile.SHA1{}})
		}
		line := e.blobEntry
		line.Resource.Offset += uint64(base)
		b = appendBlobEntry(b, &line)
	}
	return b
}
