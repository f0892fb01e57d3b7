package wof

import (
	"fmt"
	"sync"

	"husk/compress/lzx"
	"husk/compress/xpress"
)

// A CompactCompressor compresses chunks of one algorithm, reusing its tables. It is not for concurrent use.
type CompactCompressor struct {
	algorithm Algorithm
	xpress    *xpress.Compressor
	lzx       *lzx.Compressor
}

// NewCompactCompressor returns one. It takes up to some MiB of memory.
func NewCompactCompressor(a Algorithm) *CompactCompressor {
	c := &CompactCompressor{algorithm: a}
	if a == LZX {
		c.lzx = lzx.NewCompressor(LZX.ChunkSize(), lzx.Default)
	} else {
		c.xpress = xpress.NewCompressor(xpress.Default)
	}
	return c
}

// Compress puts the stored form of a chunk at the start of dst, which has at least the length of plain, and returns its length: that of
// plain if the chunk would not become smaller and so is raw. The result depends on plain and the algorithm only.
func (c *CompactCompressor) Compress(dst, plain []byte) int {
	n := 0
	if c.lzx != nil {
		n = c.lzx.Compress(dst[:len(plain)], plain)
	} else {
		n = c.xpress.Compress(dst[:len(plain)], plain)
	}
	if n == 0 {
		n = copy(dst, plain)
	}
	return n
}

// compressors that are not in use, by algorithm.
var compressors [XPRESS16K + 1]sync.Pool

// A CompactEncoder makes the WofCompressedData of one content: the stored chunks as the content comes, and at the end the table, which
// on disk stands before them. It is not for concurrent use.
type CompactEncoder struct {
	compactShape
	workers int
	taken   int64    // plain bytes
	lengths []uint32 // of the stored chunks
	carry   []byte   // plain bytes of a chunk that is not complete
	buf     []byte
}

// NewCompactEncoder returns an encoder for a content of size bytes, at least 1, that compresses up to workers chunks at once.
func NewCompactEncoder(a Algorithm, size int64, workers int) *CompactEncoder {
	return &CompactEncoder{compactShape: shapeOf(a, size), workers: workers}
}

// TableSize is the length of the table in bytes.
func (e *CompactEncoder) TableSize() int64 { return e.table }

// Add takes the next bytes of the content and gives the chunks that they complete to emit, whose argument is valid during the call.
// Pieces that are a multiple of the chunk size, such as 1 MiB, are not copied.
func (e *CompactEncoder) Add(p []byte, emit func(stored []byte) error) error {
	if int64(len(p)) > e.size-e.taken {
		return fmt.Errorf("wof: content of %d bytes goes on after them", e.size)
	}
	e.taken += int64(len(p))
	if len(e.carry) > 0 {
		n := min(len(p), int(e.chunk)-len(e.carry))
		e.carry = append(e.carry, p[:n]...)
		p = p[n:]
		if len(e.carry) == int(e.chunk) || e.taken == e.size && len(p) == 0 {
			if err := e.group(e.carry, emit); err != nil {
				return err
			}
			e.carry = e.carry[:0]
		}
	}
	whole := len(p)
	if e.taken < e.size {
		whole -= len(p) % int(e.chunk)
	}
	for whole > 0 {
		n := min(whole, compactPiece)
		if err := e.group(p[:n], emit); err != nil {
			return err
		}
		p, whole = p[n:], whole-n
	}
	e.carry = append(e.carry, p...)
	return nil
}

// group encodes whole chunks.
func (e *CompactEncoder) group(p []byte, emit func([]byte) error) error {
	if len(e.buf) < len(p) {
		e.buf = make([]byte, len(p))
	}
	n := (len(p) + int(e.chunk) - 1) / int(e.chunk)
	first := len(e.lengths)
	e.lengths = append(e.lengths, make([]uint32, n)...)
	lengths := e.lengths[first:]
	chunkAt := func(i int) (from, to int) { return i * int(e.chunk), min((i+1)*int(e.chunk), len(p)) }
	err := inParallel(n, e.workers, len(p), func(i int) error {
		c, ok := compressors[e.algorithm].Get().(*CompactCompressor)
		if !ok {
			c = NewCompactCompressor(e.algorithm)
		}
		from, to := chunkAt(i)
		lengths[i] = uint32(c.Compress(e.buf[from:to], p[from:to]))
		compressors[e.algorithm].Put(c)
		return nil
	})
	if err != nil {
		return err
	}
	end := 0
	for i, length := range lengths {
		from, _ := chunkAt(i)
		end += copy(e.buf[end:], e.buf[from:from+int(length)])
	}
	return emit(e.buf[:end])
}

// Table returns the table once the whole content was added.
func (e *CompactEncoder) Table() ([]byte, error) {
	if e.taken != e.size {
		return nil, fmt.Errorf("wof: content ended after %d of %d bytes", e.taken, e.size)
	}
	b := make([]byte, 0, e.table)
	end := int64(0)
	for _, n := range e.lengths[:e.chunks-1] {
		end += int64(n)
		if e.width == 4 {
			b = le.AppendUint32(b, uint32(end))
		} else {
			b = le.AppendUint64(b, uint64(end))
		}
	}
	return b, nil
}

// EncodeCompact returns the WofCompressedData of a content that is in memory and not empty. Where it is not smaller than the content,
// the file is better left as it is.
func EncodeCompact(a Algorithm, plain []byte, workers int) []byte {
	e := NewCompactEncoder(a, int64(len(plain)), workers)
	b := make([]byte, e.table, e.table+int64(len(plain)))
	add := func(stored []byte) error {
		b = append(b, stored...)
		return nil
	}
	if err := e.Add(plain, add); err != nil {
		panic("wof: internal error: " + err.Error())
	}
	table, err := e.Table()
	if err != nil {
		panic("wof: internal error: " + err.Error())
	}
	copy(b, table)
	return b
}
