package ntfs

import (
	"fmt"
	"io"
	"sync"
)

const (
	lznt1Chunk   = 4096 // plain bytes of a chunk
	lznt1MaxUnit = 4    // log2 of the clusters of a compression unit; drivers make no others
)

// unitCache holds the compression unit that was expanded last.
type unitCache struct {
	mu    sync.Mutex
	valid bool
	index int64
	plain []byte
	raw   []byte // scratch
}

// readUnit reads at least one byte of a compressed stream at off, which is below the initialized size.
func (s *stream) readUnit(p []byte, off int64) (int, error) {
	size := int64(s.v.ClusterSize) << s.unit
	index := off / size
	c := &s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.valid || c.index != index {
		c.valid = false
		if err := s.expandUnit(index, size); err != nil {
			return 0, fmt.Errorf("ntfs: %s: compression unit %d: %w", s.name, index, err)
		}
		c.valid, c.index = true, index
	}
	return copy(p, c.plain[off%size:]), nil
}

// expandUnit fills the cache with one compression unit: stored as it is if all its clusters are there, zeros if none is, and LZNT1
// otherwise.
func (s *stream) expandUnit(index, size int64) error {
	c := &s.cache
	if c.plain == nil {
		c.plain, c.raw = make([]byte, size), make([]byte, size)
	}
	cs := int64(s.v.ClusterSize)
	first := VCN(index << s.unit)
	end := first + 1<<s.unit
	n := int64(0)
	for i := s.extentAt(first); i < len(s.extents) && s.extents[i].VCN < end; i++ {
		e := s.extents[i]
		if e.LCN == hole {
			continue
		}
		from := max(first, e.VCN)
		count := min(int64(end-from), e.Clusters-int64(from-e.VCN))
		b := c.raw[n : n+count*cs]
		if m, err := s.v.r.ReadAt(b, (int64(e.LCN)+int64(from-e.VCN))*cs); m < len(b) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		n += count * cs
	}
	switch n {
	case 0:
		clear(c.plain)
	case size:
		copy(c.plain, c.raw)
	default:
		return expandLZNT1(c.plain, c.raw[:n])
	}
	return nil
}

// expandLZNT1 expands chunks until src ends, a chunk header is 0 or dst is full. What is missing of a chunk or of dst is zeros.
// Source: [MS-XCA] 2.5.
func expandLZNT1(dst, src []byte) error {
	for off := 0; len(dst) > 0 && off+2 <= len(src); {
		h := le.Uint16(src[off:])
		if h == 0 {
			break
		}
		n := int(h&0xfff) + 1
		if n > len(src)-off-2 {
			return fmt.Errorf("chunk at %#x: %d bytes, want at most %d", off, n, len(src)-off-2)
		}
		chunk, out := src[off+2:off+2+n], dst[:min(lznt1Chunk, len(dst))]
		done := 0
		if h&0x8000 == 0 {
			done = copy(out, chunk)
		} else {
			var err error
			if done, err = expandLZNT1Chunk(out, chunk); err != nil {
				return fmt.Errorf("chunk at %#x: %w", off, err)
			}
		}
		clear(out[done:])
		dst = dst[len(out):]
		off += 2 + n
	}
	clear(dst)
	return nil
}

// expandLZNT1Chunk returns how many bytes of dst it filled. A flag byte tells of each of the next eight tokens whether it is a literal
// byte or a phrase of 16 bits: distance and length, the share of each depending on the place in dst.
func expandLZNT1Chunk(dst, src []byte) (int, error) {
	at := 0
	for i := 0; i < len(src); {
		flags := src[i]
		i++
		for bit := 0; bit < 8 && i < len(src); bit++ {
			if flags>>bit&1 == 0 {
				if at == len(dst) {
					return at, fmt.Errorf("literal beyond %d bytes", len(dst))
				}
				dst[at] = src[i]
				at++
				i++
				continue
			}
			if i+2 > len(src) {
				return at, fmt.Errorf("half a phrase at the end")
			}
			v := int(le.Uint16(src[i:]))
			i += 2
			split := 12
			for at-1 >= 1<<(16-split) {
				split--
			}
			distance, length := v>>split+1, v&(1<<split-1)+3
			if distance > at || length > len(dst)-at {
				return at, fmt.Errorf("phrase of %d bytes, %d back, at %d of %d", length, distance, at, len(dst))
			}
			for range length {
				dst[at] = dst[at-distance]
				at++
			}
		}
	}
	return at, nil
}
