package system

import (
	"errors"
	"fmt"
	"io"

	"husk/gpt"
	"husk/internal/disk"
	"husk/internal/ui"
	"husk/mbr"
)

// geometry is where the volume of a system is on its new disk.
type geometry struct {
	size   int64 // of the disk
	offset int64 // of the partition
	length int64
	table  func(io.WriterAt) error // writes the changed partition table; nil if it stays
}

// geometryOf is that of the new disk: as the old one, or with the last partition, which must be the system's, taking the rest of a disk of
// another size.
func geometryOf(d *disk.Disk, p *disk.Partition, form string, size int64) (*geometry, error) {
	g := &geometry{size: d.Size(), offset: p.Offset, length: p.Size}
	if form == "vhd" && size == 0 { // of another form: a VHD has not every size
		n, err := roundSize(form, d.Size())
		if err != nil {
			return nil, err
		}
		if n != d.Size() && d.Scheme != disk.Bare {
			g.size = n
		}
	}
	if size != 0 {
		n, err := roundSize(form, size)
		if err != nil {
			return nil, err
		}
		g.size = n
	}
	if g.size == d.Size() {
		return g, nil
	}
	for _, q := range d.Partitions {
		if q.Number != p.Number && q.Offset > p.Offset && size != 0 {
			return nil, ui.Hint(fmt.Errorf("%s: partition %d lies behind the system's", d.Path, q.Number), "only the last partition can have another size; leave --size out")
		}
	}
	switch d.Scheme {
	case disk.Bare:
		g.length = g.size
		return g, nil
	case disk.GPT:
		return g, g.resizeGPT(d, p, size != 0)
	}
	if size == 0 {
		return g, nil // the room behind the last partition stays unused
	}
	return g, g.resizeMBR(d, p)
}

const mebi = 1 << 20

func (g *geometry) resizeMBR(d *disk.Disk, p *disk.Partition) error {
	sector := make([]byte, mbr.Size)
	if _, err := d.ReadAt(sector, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	t, err := mbr.Parse(sector)
	if err != nil {
		return fmt.Errorf("%s: %w", d.Path, err)
	}
	unit := int64(d.SectorSize)
	g.length = g.size/mebi*mebi - p.Offset
	if g.length < mebi {
		return fmt.Errorf("a disk of %d bytes has no room for the system at %d", g.size, p.Offset)
	}
	if (p.Offset+g.length)/unit > 1<<32-1 {
		g.length = (1<<32-1)*unit - p.Offset
	}
	for i := range t.Parts {
		q := &t.Parts[i]
		if !q.Used() || int64(q.Start)*unit != p.Offset || q.Extended() {
			continue
		}
		q.Sectors, q.First, q.Last = uint32(g.length/unit), mbr.CHS{}, mbr.CHS{}
		b, err := t.Marshal()
		if err != nil {
			return err
		}
		g.table = func(w io.WriterAt) error {
			_, err := w.WriteAt(b, 0)
			return err
		}
		return nil
	}
	return fmt.Errorf("%s: partition %d is a logical one, whose size cannot be changed", d.Path, p.Number)
}

func (g *geometry) resizeGPT(d *disk.Disk, p *disk.Partition, grow bool) error {
	t, err := gpt.Read(d, d.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", d.Path, err)
	}
	unit := int64(t.SectorSize)
	fresh, err := gpt.New(t.DiskGUID, g.size, t.SectorSize)
	if err != nil {
		return err
	}
	fresh.Partitions = t.Partitions
	for i := range fresh.Partitions {
		q := &fresh.Partitions[i]
		if int64(q.First)*unit != p.Offset || !grow {
			continue
		}
		end := (int64(fresh.LastUsable) + 1) * unit / mebi * mebi
		if g.length = end - p.Offset; g.length < mebi {
			return fmt.Errorf("a disk of %d bytes has no room for the system at %d", g.size, p.Offset)
		}
		q.Last = uint64(end/unit) - 1
	}
	g.table = func(w io.WriterAt) error { return fresh.Write(w, g.size) }
	return nil
}
