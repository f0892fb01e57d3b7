// Package cutfile is, for tests, a file in memory on a disk whose power may be cut at any moment: what was written since
// the last Sync is then there or not, each sector of 512 bytes for itself.
package cutfile

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"sync"
)

const (
	pageSize   = 4096
	sectorSize = 512
)

// File is a sparse file. It has the methods of *os.File that writers of disk images need. The zero value is empty.
type File struct {
	// Hook is called after each WriteAt, Truncate and Sync; it may call Cut. It may be nil.
	Hook func()

	mu     sync.Mutex
	now    state
	synced state
	since  []op // what happened to synced
}

// state is the content of a file. Its pages are never changed, only replaced.
type state struct {
	pages map[int64]*[pageSize]byte
	size  int64
}

// op is a write of at most one sector, or a truncation where b is nil.
type op struct {
	b  []byte
	at int64
}

func (s *state) clone() state { return state{maps.Clone(s.pages), s.size} }

func (s *state) do(o op) {
	if s.pages == nil {
		s.pages = map[int64]*[pageSize]byte{}
	}
	if o.b == nil {
		s.truncate(o.at)
		return
	}
	s.size = max(s.size, o.at+int64(len(o.b)))
	for b, at := o.b, o.at; len(b) > 0; {
		p := new([pageSize]byte)
		if old := s.pages[at/pageSize]; old != nil {
			*p = *old
		}
		n := copy(p[at%pageSize:], b)
		s.pages[at/pageSize] = p
		b, at = b[n:], at+int64(n)
	}
}

func (s *state) truncate(size int64) {
	if size < s.size {
		maps.DeleteFunc(s.pages, func(i int64, _ *[pageSize]byte) bool { return i*pageSize >= size })
		if old := s.pages[size/pageSize]; old != nil {
			p := *old
			clear(p[size%pageSize:])
			s.pages[size/pageSize] = &p
		}
	}
	s.size = size
}

// New is a file with the content of b, all of it synced.
func New(b []byte) *File {
	f := &File{}
	f.now.do(op{b, 0})
	f.synced = f.now.clone()
	return f
}

// ReadAt is as in io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := int(max(min(int64(len(p)), f.now.size-off), 0))
	for done := 0; done < n; {
		i, in := (off+int64(done))/pageSize, (off+int64(done))%pageSize
		part := p[done:n]
		part = part[:min(int64(len(part)), pageSize-in)]
		if page := f.now.pages[i]; page != nil {
			copy(part, page[in:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt is as in io.WriterAt.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("cutfile: write at %d", off)
	}
	f.mu.Lock()
	b := append([]byte{}, p...)
	if len(b) > 0 {
		f.now.do(op{b, off})
	}
	for at := off; len(b) > 0; {
		n := min(int64(len(b)), sectorSize-at%sectorSize)
		f.since = append(f.since, op{b[:n:n], at})
		b, at = b[n:], at+n
	}
	f.mu.Unlock()
	f.hook()
	return len(p), nil
}

// Truncate is as in os.File.
func (f *File) Truncate(size int64) error {
	f.mu.Lock()
	f.now.do(op{nil, size})
	f.since = append(f.since, op{nil, size})
	f.mu.Unlock()
	f.hook()
	return nil
}

// Sync makes sure that a cut leaves what there is now.
func (f *File) Sync() error {
	f.mu.Lock()
	f.synced, f.since = f.now.clone(), nil
	f.mu.Unlock()
	f.hook()
	return nil
}

func (f *File) hook() {
	if f.Hook != nil {
		f.Hook()
	}
}

// Size is the size in bytes.
func (f *File) Size() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now.size
}

// Bytes is the whole content.
func (f *File) Bytes() []byte {
	b := make([]byte, f.Size())
	f.ReadAt(b, 0)
	return b
}

// Clone is a file with the content of f, without its Hook.
func (f *File) Clone() *File {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &File{now: f.now.clone(), synced: f.now.clone()}
}

// Cut is the file as a cut now may leave it: what was synced, with a random choice of what happened since, sectors of one
// write apart from each other. With a nil rng all of it is there.
func (f *File) Cut(rng *rand.Rand) *File {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.synced.clone()
	odds := 0
	if rng != nil {
		odds = rng.IntN(5) // from nearly all to nearly nothing
	}
	for _, o := range f.since {
		if rng == nil || rng.IntN(5) >= odds {
			s.do(o)
		}
	}
	return &File{now: s, synced: s.clone()}
}
