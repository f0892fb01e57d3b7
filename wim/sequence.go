package wim

import (
	"crypto/sha1"
	"hash"
	"sync"
	"sync/atomic"

	"husk/winfile"
)

// A sequence is decoded group by group, by whoever takes the next group, and delivered in order.
type sequence struct {
	content grouped
	groups  int64
	taken   int64       // under bulk.mu
	spare   chan []byte // buffers for groups that wait for their turn
	over    atomic.Bool // no more groups are wanted

	mu         sync.Mutex
	waiting    map[int64]decodedGroup
	delivered  int64 // groups
	delivering bool
}

// grouped is what a sequence is made of.
type grouped interface {
	// decode returns the plain bytes of a group, in buf if it is large enough.
	decode(d *decoder, group int64, buf []byte) ([]byte, error)
	// deliver takes the next group, and tells whether more are wanted.
	deliver(q *bulk, p []byte, err error) bool
}

type decodedGroup struct {
	p   []byte
	err error
}

// newSequence makes a sequence of which so many groups may wait, and others be worked on, at a time.
func (q *bulk) newSequence(content grouped, groups int64, waiting int) *sequence {
	s := &sequence{content: content, groups: groups, waiting: make(map[int64]decodedGroup), spare: make(chan []byte, waiting+q.workers)}
	for range waiting {
		s.spare <- nil
	}
	return s
}

// readGroup decodes a group into buf and delivers it if it is its turn, and all that waited for it. It returns the buffer
// to use next.
func (q *bulk) readGroup(d *decoder, s *sequence, group int64, buf []byte) []byte {
	p, err := s.content.decode(d, group, buf)
	s.mu.Lock()
	if s.delivering || s.delivered != group {
		s.waiting[group] = decodedGroup{p, err}
		s.mu.Unlock()
		select {
		case buf = <-s.spare:
			return buf
		case <-q.ctx.Done():
			return nil
		}
	}
	s.delivering = true
	for next := (decodedGroup{p, err}); ; {
		s.mu.Unlock()
		if q.ctx.Err() == nil && !s.content.deliver(q, next.p, next.err) {
			s.over.Store(true)
		}
		if s.delivered != group {
			s.spare <- next.p // never blocks: there is room for one of every worker that has not taken one out yet
		}
		s.mu.Lock()
		s.delivered++
		var ok bool
		if next, ok = s.waiting[s.delivered]; !ok {
			s.delivering = false
			s.mu.Unlock()
			return p
		}
		delete(s.waiting, s.delivered)
	}
}

// largeBlob is a blob that is not solid, in groups of chunks.
type largeBlob struct {
	b      *winfile.Blob
	res    *resource
	size   int64 // of a group
	off    int64 // of the next group to deliver
	hash   hash.Hash
	failed bool
}

func (q *bulk) newLarge(b *winfile.Blob, res *resource) *sequence {
	size := max(pieceSize, int64(q.r.hdr.ChunkSize))
	return q.newSequence(&largeBlob{b: b, res: res, size: size, hash: sha1.New()}, (b.Size+size-1)/size, 2*q.workers)
}

func (l *largeBlob) decode(d *decoder, group int64, buf []byte) ([]byte, error) {
	off := group * l.size
	buf = grow(buf, min(l.size, l.res.size-off))
	return buf, d.read(l.res, off, buf)
}

// deliver wants no more after a failure: a damaged blob may claim any size.
func (l *largeBlob) deliver(q *bulk, p []byte, err error) bool {
	if l.failed {
		return false
	}
	if err == nil {
		err = q.deliverPart(l.b, l.res, l.hash, l.off, p)
	}
	l.off += int64(len(p))
	if err != nil {
		l.failed = true
		q.fail(l.b, err)
	}
	return !l.failed
}

// deliverPart hands out bytes of a blob from off, in pieces. The error is about the blob: a wrong SHA-1, known at its end.
func (q *bulk) deliverPart(b *winfile.Blob, res *resource, h hash.Hash, off int64, p []byte) error {
	h.Write(p)
	if off+int64(len(p)) == res.size {
		if err := res.checkHash(winfile.SHA1(h.Sum(nil))); err != nil {
			return err
		}
	}
	for len(p) > 0 {
		piece := p[:min(len(p), pieceSize)]
		if err := q.deliver(b, off, piece); err != nil {
			q.cancel(err)
			return nil
		}
		off += int64(len(piece))
		p = p[len(piece):]
	}
	return nil
}

// solidBlobs are blobs of one solid resource, in groups that are its chunks. Each chunk is decoded once, and only those that
// are needed.
type solidBlobs struct {
	s      *solidResource
	chunks []int64
	next   int             // of chunks, to deliver
	blobs  []*winfile.Blob // not yet delivered to their end, in order
	hash   hash.Hash       // of the first one of blobs, if it has begun in an earlier chunk
	failed bool            // so has the first one of blobs
}

// waitingSolid is how many chunks of solid resources, which are large, may wait for their turn.
const waitingSolid = 1

func (q *bulk) newSolid(s *solidResource, blobs []*winfile.Blob) *sequence {
	l := &solidBlobs{s: s, blobs: blobs, hash: sha1.New()}
	for _, b := range blobs {
		res := b.Ref.(*resource)
		for i := res.off / s.layout.chunk; i*s.layout.chunk < res.off+res.size; i++ {
			if n := len(l.chunks); n == 0 || l.chunks[n-1] < i {
				l.chunks = append(l.chunks, i)
			}
		}
	}
	return q.newSequence(l, int64(len(l.chunks)), waitingSolid)
}

// solidLen counts the blobs at the start of the list that are in one solid resource.
func solidLen(list []*winfile.Blob) int {
	first := list[0].Ref.(*resource).solid
	for i, b := range list {
		if res, ok := b.Ref.(*resource); !ok || res.solid != first {
			return i
		}
	}
	return len(list)
}

func (l *solidBlobs) decode(d *decoder, group int64, buf []byte) ([]byte, error) {
	return d.solidChunk(l.s, l.chunks[group], buf)
}

func (l *solidBlobs) deliver(q *bulk, p []byte, err error) bool {
	chunk := l.chunks[l.next]
	l.next++
	start := chunk * l.s.layout.chunk
	end := start + l.s.plain(chunk)
	for len(l.blobs) > 0 && q.ctx.Err() == nil {
		b := l.blobs[0]
		res := b.Ref.(*resource)
		if res.off >= end {
			return true
		}
		from, to := max(res.off, start), min(res.off+res.size, end)
		if res.off >= start {
			l.hash.Reset()
			l.failed = false
		}
		if !l.failed {
			e := err
			if e == nil {
				e = q.deliverPart(b, res, l.hash, from-res.off, p[from-start:to-start])
			}
			if e != nil {
				l.failed = true
				q.fail(b, e)
			}
		}
		if to < res.off+res.size {
			return true
		}
		l.blobs = l.blobs[1:]
	}
	return true
}
