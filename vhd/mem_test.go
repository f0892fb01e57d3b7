package vhd

import (
	"io"
	"sync"
)

// memFile is a sparse File in memory that can be read back.
type memFile struct {
	mu    sync.Mutex
	pages map[int64]*[4096]byte
	size  int64
}

func (m *memFile) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pages == nil {
		m.pages = map[int64]*[4096]byte{}
	}
	m.size = max(m.size, off+int64(len(p)))
	for done := 0; done < len(p); {
		i, in := (off+int64(done))/4096, (off+int64(done))%4096
		if m.pages[i] == nil {
			m.pages[i] = new([4096]byte)
		}
		done += copy(m.pages[i][in:], p[done:])
	}
	return len(p), nil
}

func (m *memFile) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := int(max(min(int64(len(p)), m.size-off), 0))
	for done := 0; done < n; {
		i, in := (off+int64(done))/4096, (off+int64(done))%4096
		part := p[done:n]
		part = part[:min(int64(len(part)), 4096-in)]
		if page := m.pages[i]; page != nil {
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

// Truncate can only empty the file: more is not asked of it.
func (m *memFile) Truncate(size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pages, m.size = nil, size
	return nil
}

func (m *memFile) bytes() []byte {
	b := make([]byte, m.size)
	m.ReadAt(b, 0)
	return b
}
