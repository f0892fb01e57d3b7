package deploy

import (
	"bytes"
	"sync/atomic"

	"husk/internal/atomicfile"
)

// rawDisk is a file that is nothing but the sectors of a disk. Zeros are not written, so that the file is sparse.
type rawDisk struct {
	f       *atomicfile.File
	written atomic.Int64
}

func newRawDisk(f *atomicfile.File, size int64) (*rawDisk, error) {
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	return &rawDisk{f: f}, nil
}

// sparseStep is the length of zeros that is worth a hole, and where holes start and end.
const sparseStep = 64 << 10

var zeros [sparseStep]byte

// WriteAt writes the parts of p that are not zero.
func (d *rawDisk) WriteAt(p []byte, off int64) (int, error) {
	from, at := 0, 0 // p[from:at] is to be written
	flush := func() error {
		if from == at {
			return nil
		}
		n, err := d.f.WriteAt(p[from:at], off+int64(from))
		d.written.Add(int64(n))
		return err
	}
	for at < len(p) {
		n := min(len(p)-at, sparseStep-int((off+int64(at))%sparseStep))
		if bytes.Equal(p[at:at+n], zeros[:n]) {
			if err := flush(); err != nil {
				return from, err
			}
			at += n
			from = at
			continue
		}
		at += n
	}
	return len(p), flush()
}

func (d *rawDisk) Reserve(int64, int64) error { return nil }

func (d *rawDisk) Close() error { return nil }

// FileSize is the number of bytes that were written.
func (d *rawDisk) FileSize() int64 { return d.written.Load() }
