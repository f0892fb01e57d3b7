package disk

import (
	"errors"
	"io"
	"strings"
	"testing"

	"husk/mbr"
)

var errBadSector = errors.New("bad sector")

// badSector is a disk that cannot be read at one place.
type badSector struct {
	io.ReaderAt
	off, size int64
}

func (b badSector) ReadAt(p []byte, off int64) (int, error) {
	if off < b.off+b.size && off+int64(len(p)) > b.off {
		return 0, errBadSector
	}
	return b.ReaderAt.ReadAt(p, off)
}

// TestUnreadPartition: a partition whose boot sector cannot be read is not said to hold no NTFS.
func TestUnreadPartition(t *testing.T) {
	const start, sectors = 64, 128
	image := make([]byte, (start+sectors)*512)
	table := &mbr.Table{Signature: 1}
	table.Parts[0] = mbr.Partition{Type: 7, Start: start, Sectors: sectors}
	b, err := table.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	copy(image, b)
	for _, bad := range []bool{false, true} {
		r := badSector{strings.NewReader(string(image)), start * 512, 512}
		if !bad {
			r.size = 0
		}
		d := &Disk{Path: "d", SectorSize: 512, r: r, size: int64(len(image))}
		if err := d.readTable(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.NTFS(); errors.Is(err, errBadSector) != bad || err == nil || errors.Is(d.Unread(), errBadSector) != bad {
			t.Errorf("bad %t: %v, %v", bad, err, d.Unread())
		}
	}
}
