package ramdisk

import (
	"bytes"
	"compress/flate"
	"context"
	"hash/crc32"
	"io"
	"runtime"
)

// piece is how much of an image is compressed at once.
const piece = 1 << 20

const window = 32 << 10 // bytes that deflate looks back

// gzipHeader is that of a file without name and time: magic, deflate, no flags, time 0, no extra flags, unknown system.
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// job is one piece under way.
type job struct {
	plain []byte
	dict  []byte // the end of the piece before
	last  bool
	out   bytes.Buffer
	err   error
	done  chan struct{}
}

// compress writes r as one gzip member, which is what grub4dos takes the size from the end of. The pieces are compressed on several
// processors, each knowing the end of the one before, and end on byte boundaries. Source: RFC 1951, 1952.
func compress(ctx context.Context, w io.Writer, r io.Reader, workers int) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	if _, err := w.Write(gzipHeader); err != nil {
		return err
	}
	sum, size := crc32.NewIEEE(), int64(0)
	var queue []*job
	flush := func(keep int) error {
		for len(queue) > keep {
			j := queue[0]
			queue = queue[1:]
			<-j.done
			if j.err != nil {
				return j.err
			}
			if _, err := w.Write(j.out.Bytes()); err != nil {
				return err
			}
		}
		return nil
	}
	next, err := readPiece(r)
	if err != nil {
		return err
	}
	var dict []byte
	for last := false; !last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		plain := next
		if next, err = readPiece(r); err != nil {
			return err
		}
		last = len(next) == 0
		sum.Write(plain)
		size += int64(len(plain))
		j := &job{plain: plain, dict: dict, last: last, done: make(chan struct{})}
		queue = append(queue, j)
		go j.run()
		dict = plain[max(0, len(plain)-window):]
		if err := flush(workers); err != nil {
			return err
		}
	}
	if err := flush(0); err != nil {
		return err
	}
	trailer := le.AppendUint32(le.AppendUint32(nil, sum.Sum32()), uint32(size))
	_, err = w.Write(trailer)
	return err
}

// readPiece reads up to a piece; none at the end.
func readPiece(r io.Reader) ([]byte, error) {
	b := make([]byte, piece)
	n, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return b[:n], err
}

func (j *job) run() {
	defer close(j.done)
	w, err := flate.NewWriterDict(&j.out, flate.DefaultCompression, j.dict)
	if err == nil {
		_, err = w.Write(j.plain)
	}
	if err == nil && j.last {
		err = w.Close()
	} else if err == nil {
		err = w.Flush()
	}
	j.err = err
}
