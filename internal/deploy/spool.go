package deploy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"husk/internal/atomicfile"
	"husk/winfile"
	"husk/wof"
)

// spool is a temporary file of compressed contents.
type spool struct {
	f  *os.File
	mu sync.Mutex
	n  int64 // bytes given out
}

func newSpool(target string) (*spool, error) {
	f, err := atomicfile.Scratch(target)
	if err != nil {
		return nil, err
	}
	return &spool{f: f}, nil
}

// close removes the file.
func (s *spool) close() {
	s.f.Close()
	_ = os.Remove(s.f.Name()) // where open files cannot lose their name it still has one
}

// put appends bytes and tells where they are.
func (s *spool) put(p []byte) (extent, error) {
	s.mu.Lock()
	e := extent{s.n, int64(len(p))}
	s.n += e.n
	s.mu.Unlock()
	if _, err := s.f.WriteAt(p, e.off); err != nil {
		return e, fmt.Errorf("temporary file beside the disk: %w", err)
	}
	return e, nil
}

// extent is a range of the spool.
type extent struct{ off, n int64 }

// spooled is the Ref of a blob in the spool: its table and chunks, in some pieces.
type spooled []extent

// OpenBlob implements [winfile.Content].
func (s *spool) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	list, ok := b.Ref.(spooled)
	if !ok {
		return nil, errors.New("deploy: internal error: a blob of another file")
	}
	if len(list) == 1 {
		return io.NopCloser(io.NewSectionReader(s.f, list[0].off, list[0].n)), nil
	}
	parts := make([]io.Reader, len(list))
	for i, e := range list {
		parts[i] = io.NewSectionReader(s.f, e.off, e.n)
	}
	return io.NopCloser(io.MultiReader(parts...)), nil
}

// spooling is a content on its way into the spool. A content of one piece is written at once, with its table before it; of a longer one,
// piece after piece as it comes, and the table at the end.
type spooling struct {
	s     *spool
	job   *compactJob
	enc   *wof.CompactEncoder
	small []byte // table and chunks of a content of one piece
	parts spooled
	n     int64 // bytes of the chunks
}

func (s *spool) start(j *compactJob, workers int) *spooling {
	return &spooling{s: s, job: j, enc: wof.NewCompactEncoder(j.algorithm, j.blob.Size, workers)}
}

// add takes the next piece of the content.
func (w *spooling) add(p []byte, last bool) error {
	if last && len(w.parts) == 0 {
		w.small = make([]byte, w.enc.TableSize(), w.enc.TableSize()+int64(len(p)))
	}
	return w.enc.Add(p, func(stored []byte) error {
		w.n += int64(len(stored))
		if w.small != nil {
			w.small = append(w.small, stored...)
			return nil
		}
		e, err := w.s.put(stored)
		w.parts = append(w.parts, e)
		return err
	})
}

// size is that of the stream, once all was added.
func (w *spooling) size() int64 { return w.enc.TableSize() + w.n }

// finish writes what is missing, and makes the stream a blob.
func (w *spooling) finish() error {
	table, err := w.enc.Table()
	if err != nil {
		return err
	}
	b := table
	if w.small != nil {
		copy(w.small, table)
		b = w.small
	}
	e, err := w.s.put(b)
	if err != nil {
		return err
	}
	w.job.stream = &winfile.Blob{Size: w.size(), Order: w.job.blob.Order, Content: w.s, Ref: append(spooled{e}, w.parts...)}
	return nil
}
