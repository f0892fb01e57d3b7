package wof

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"husk/compress/lzx"
	"husk/compress/xpress"
)

// CompactStream is the name of the stream that holds the content of a compact file.
const CompactStream = "WofCompressedData"

// ChunkSize is the number of plain bytes that are compressed together.
func (a Algorithm) ChunkSize() int {
	switch a {
	case XPRESS4K:
		return 4 << 10
	case XPRESS8K:
		return 8 << 10
	case XPRESS16K:
		return 16 << 10
	}
	return 32 << 10
}

// Codec is the one that [Algorithm.ChunkSize] bytes are compressed with: a resource of a WIM of this codec and chunk size is, byte for
// byte, the WofCompressedData of the same content.
func (a Algorithm) Codec() Codec {
	if a == LZX {
		return CodecLZX
	}
	return CodecXPRESS
}

// AlgorithmOf is the algorithm that the resources of a WIM are compressed with, if it is one.
func AlgorithmOf(c Codec, chunkSize int64) (Algorithm, bool) {
	for a := range XPRESS16K + 1 {
		if a.Codec() == c && int64(a.ChunkSize()) == chunkSize {
			return a, true
		}
	}
	return 0, false
}

// decompress expands one chunk; dst is filled exactly.
func (a Algorithm) decompress(dst, src []byte) error {
	switch {
	case len(src) == len(dst):
		copy(dst, src)
		return nil
	case a == LZX:
		return lzx.Decompress(dst, src, LZX.ChunkSize())
	}
	return xpress.Decompress(dst, src)
}

// maxCompact is the largest content in bytes: no volume holds more, and the sizes that follow from it do not overflow.
const maxCompact = 1 << 60

// compactShape is the geometry of a WofCompressedData.
type compactShape struct {
	algorithm Algorithm
	size      int64 // plain bytes
	stored    int64 // bytes of the stream
	chunk     int64 // plain bytes of each chunk but the last
	chunks    int64
	width     int64 // bytes of a table entry
	table     int64 // bytes of the table
}

func shapeOf(a Algorithm, size int64) compactShape {
	s := compactShape{algorithm: a, size: size, chunk: int64(a.ChunkSize()), width: 4}
	s.chunks = (size-1)/s.chunk + 1
	if size > math.MaxUint32 {
		s.width = 8
	}
	s.table = (s.chunks - 1) * s.width
	return s
}

// newCompactShape checks the two sizes against one another: each chunk has at least one byte, and at most its plain bytes.
func newCompactShape(a Algorithm, size, stored int64) (compactShape, error) {
	if a > XPRESS16K {
		return compactShape{}, compactError(0, "algorithm %d, want at most %d", uint32(a), uint32(XPRESS16K))
	}
	if size < 1 || size > maxCompact {
		return compactShape{}, compactError(0, "content of %d bytes, want 1 to %d", size, int64(maxCompact))
	}
	s := shapeOf(a, size)
	s.stored = stored
	if stored < s.table+s.chunks || stored-s.table > size {
		return s, compactError(0, "%d bytes for a content of %d, want %d to %d with %v", stored, size, s.table+s.chunks, s.table+size, a)
	}
	return s, nil
}

func compactError(off int64, format string, args ...any) error {
	return &FormatError{CompactStream, off, fmt.Errorf(format, args...)}
}

// plain is the number of plain bytes of chunk i.
func (s *compactShape) plain(i int64) int64 { return min(s.chunk, s.size-i*s.chunk) }

// end is where chunk i ends, counted from the end of the table; entry is its entry, of which the last chunk has none.
func (s *compactShape) end(i int64, entry []byte) int64 {
	switch {
	case i == s.chunks-1:
		return s.stored - s.table
	case s.width == 4:
		return int64(le.Uint32(entry))
	}
	return int64(le.Uint64(entry)) // what is too large is negative, and fails checkChunk
}

// checkChunk checks the place of chunk i.
func (s *compactShape) checkChunk(i, start, end int64) error {
	if n := s.plain(i); start < 0 || start > s.stored-s.table || end <= start || end-start > n || end > s.stored-s.table {
		return compactError(i*s.width, "chunk %d from %d to %d, want 1 to %d bytes that end by %d", i, start, end, n, s.stored-s.table)
	}
	return nil
}

// compactPiece is how many plain bytes are decoded or encoded at once, and the longest piece that is delivered.
const compactPiece = 1 << 20

// expander decodes a WofCompressedData whose bytes come in order. Its memory grows with the table as that arrives, each entry of which
// is checked, and not with what the sizes claim.
type expander struct {
	compactShape
	workers int
	entries []byte // what has arrived of the table
	checked int64  // chunks whose end is known to be good
	last    int64  // the last of these ends
	next    int64  // chunk to be decoded
	at      int64  // its start, from the end of the table
	carry   []byte // the first bytes of it that came without the rest
	buf     []byte
	jobs    []expandJob
}

type expandJob struct {
	src, dst []byte
	chunk    int64
	at       int64
}

// maxCompactTable bounds the table of a stream that is read from start to end, in bytes: contents of 64 GiB in chunks of 4 KiB.
const maxCompactTable = 128 << 20

// reset makes x ready for another stream.
func (x *expander) reset(s compactShape, workers int) error {
	if s.table > maxCompactTable {
		return compactError(0, "chunk table of %d bytes, want at most %d: %w", s.table, maxCompactTable, errors.ErrUnsupported)
	}
	*x = expander{compactShape: s, workers: workers, entries: x.entries[:0], carry: x.carry[:0], buf: x.buf, jobs: x.jobs}
	return nil
}

// feed takes the next bytes of the stream. What they complete goes to emit, in order, in pieces of at most compactPiece that are valid
// during the call.
func (x *expander) feed(p []byte, emit func(off int64, plain []byte) error) error {
	if n := min(x.table-int64(len(x.entries)), int64(len(p))); n > 0 {
		x.entries = append(x.entries, p[:n]...)
		p = p[n:]
	}
	if err := x.checkTable(); err != nil {
		return err
	}
	for len(p) > 0 {
		if x.next == x.chunks {
			return compactError(x.stored, "%d bytes behind the last chunk", len(p))
		}
		if len(x.carry) == 0 {
			used, err := x.group(p, emit)
			if err != nil {
				return err
			}
			if used == 0 {
				x.carry = append(x.carry, p...)
			}
			p = p[max(used, len(x.carry)):]
			continue
		}
		want := int(x.endOf(x.next)-x.at) - len(x.carry)
		n := min(want, len(p))
		x.carry = append(x.carry, p[:n]...)
		p = p[n:]
		if n == want {
			if _, err := x.group(x.carry, emit); err != nil {
				return err
			}
			x.carry = x.carry[:0]
		}
	}
	return nil
}

// checkTable checks the entries that have arrived and have not been.
func (x *expander) checkTable() error {
	known := int64(len(x.entries)) / x.width
	if known == x.chunks-1 {
		known++ // the last chunk ends with the stream
	}
	for ; x.checked < known; x.checked++ {
		end := x.endOf(x.checked)
		if err := x.checkChunk(x.checked, x.last, end); err != nil {
			return err
		}
		x.last = end
	}
	return nil
}

func (x *expander) endOf(i int64) int64 {
	if i == x.chunks-1 {
		return x.end(i, nil)
	}
	return x.end(i, x.entries[i*x.width:])
}

// group decodes the whole chunks that p starts with, and returns how many bytes these are.
func (x *expander) group(p []byte, emit func(int64, []byte) error) (int, error) {
	x.jobs = x.jobs[:0]
	at, used, plain := x.at, 0, 0
	if n := min(compactPiece, x.size); int64(len(x.buf)) < n {
		x.buf = make([]byte, n)
	}
	i := x.next
	for ; i < x.chunks && plain+int(x.plain(i)) <= len(x.buf); i++ {
		n := int(x.endOf(i) - at)
		if n > len(p)-used {
			break
		}
		m := int(x.plain(i))
		x.jobs = append(x.jobs, expandJob{src: p[used : used+n], dst: x.buf[plain : plain+m], chunk: i, at: at})
		used, plain, at = used+n, plain+m, at+int64(n)
	}
	if used == 0 {
		return 0, nil
	}
	err := inParallel(len(x.jobs), x.workers, plain, func(k int) error {
		j := &x.jobs[k]
		if err := x.algorithm.decompress(j.dst, j.src); err != nil {
			return compactError(x.table+j.at, "chunk %d: %w", j.chunk, err)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	off := x.next * x.chunk
	x.next, x.at = i, at
	return used, emit(off, x.buf[:plain])
}

// done reports an end that is too early.
func (x *expander) done() error {
	if x.next != x.chunks {
		return compactError(0, "ended before chunk %d of %d", x.next, x.chunks)
	}
	return nil
}

// parallelFrom is the least number of plain bytes that are worth a second goroutine.
const parallelFrom = 256 << 10

// inParallel calls do for 0 to n-1, from up to workers goroutines if there is work for them, and returns the error of the least.
func inParallel(n, workers, plain int, do func(i int) error) error {
	workers = min(workers, n, plain/parallelFrom+1)
	if workers <= 1 {
		for i := range n {
			if err := do(i); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers && errs[w] == nil; i++ {
				errs[w] = do(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
