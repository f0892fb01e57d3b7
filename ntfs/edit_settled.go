package ntfs

import (
	"errors"
	"fmt"
	"io"

	"husk/internal/ondisk"
)

// Settled reads a volume as it will be once the transaction is finished that its journal holds, see [Journal]: what is on the disk until then
// is neither as before nor as after. Without such a transaction it is r itself. Errors that wrap [ErrJournal] say that the journal is of
// another volume, or that this one was changed since.
func Settled(r io.ReaderAt, size int64, journal []byte) (io.ReaderAt, error) {
	if len(journal) == 0 {
		return r, nil
	}
	boot, err := ondisk.ReadAt(r, 0, bootSectorSize, bootSectorSize)
	if err != nil {
		return nil, &FormatError{"boot sector", 0, err}
	}
	entries, err := parseJournal(journal, volumeID(boot, size), size)
	if err != nil {
		return nil, fmt.Errorf("ntfs: journal: %w", err)
	}
	if len(entries) == 0 {
		return r, nil
	}
	if err := matches(r, entries); err != nil {
		return nil, fmt.Errorf("ntfs: journal: %w", err)
	}
	s := &settled{under: r, sectors: make(map[int64]settledSector)}
	for n, c := range entries {
		switch {
		case c.kept:
		case c.data == nil:
			s.fills = append(s.fills, settledFill{n, c.off, c.size})
		default:
			for i := int64(0); i < c.size; i += sectorStride {
				s.sectors[(c.off+i)/sectorStride] = settledSector{n, c.data[i : i+sectorStride]}
			}
		}
	}
	const most = 1 << 10 // a transaction fills the runs of $LogFile, each read looks at all of them
	if len(s.fills) > most {
		return nil, fmt.Errorf("ntfs: journal: %d changes that fill, want at most %d: %w", len(s.fills), most, errors.ErrUnsupported)
	}
	return s, nil
}

// settled lays the changes of a transaction over a volume.
type settled struct {
	under   io.ReaderAt
	sectors map[int64]settledSector // by number: the last change of each
	fills   []settledFill
}

type settledSector struct {
	n    int // of the change
	data []byte
}

type settledFill struct {
	n         int
	off, size int64
}

// ReadAt implements [io.ReaderAt].
func (s *settled) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.under.ReadAt(p, off)
	p = p[:n]
	for at := off / sectorStride; at*sectorStride < off+int64(n); at++ {
		last, data := -1, []byte(nil)
		if c, ok := s.sectors[at]; ok {
			last, data = c.n, c.data
		}
		filled := false
		for _, f := range s.fills {
			if f.n > last && at*sectorStride >= f.off && at*sectorStride < f.off+f.size {
				last, filled = f.n, true
			}
		}
		from, to := max(at*sectorStride, off), min((at+1)*sectorStride, off+int64(n))
		switch {
		case filled:
			for i := from; i < to; i++ {
				p[i-off] = 0xff
			}
		case data != nil:
			copy(p[from-off:to-off], data[from-at*sectorStride:])
		}
	}
	return n, err
}
