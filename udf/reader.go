package udf

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"husk/internal/extents"
	"husk/internal/ondisk"
)

// A FormatError reports bytes that break the UDF format.
type FormatError struct {
	What string // structure being read: "anchor", "file entry of sources/install.wim"
	Off  int64  // byte offset in the image
	Err  error  // found and expected, or the read error
}

func (e *FormatError) Error() string { return fmt.Sprintf("udf: %s at %#x: %v", e.What, e.Off, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }

func formatError(what string, off int64, format string, args ...any) error {
	return &FormatError{what, off, fmt.Errorf(format, args...)}
}

// Volume is a UDF volume.
type Volume struct {
	Label     string // of the logical volume; empty if there is none
	Revision  uint16 // of UDF in BCD, 0x0102 is 1.02; 0 if the volume does not say
	BlockSize int    // bytes

	content    extents.Content
	r          io.ReaderAt
	size       int64
	sector     int64
	partitions []partition // by index of their map
	root       extent
	warnings   []string
}

// partition is where the blocks of a partition map are.
type partition struct{ off, size int64 } // bytes

// Is reports whether an image of size bytes has the recognition sequence of UDF. An ISO 9660 image can be one too.
func Is(r io.ReaderAt, size int64) bool {
	for step := int64(2048); step <= 4096; step *= 2 {
		for i := range int64(recognitionMost) {
			var b [7]byte
			if n, _ := r.ReadAt(b[:], recognitionAt+i*step); n < len(b) || recognitionAt+i*step > size {
				break
			}
			switch string(b[1:6]) {
			case "NSR02", "NSR03":
				return true
			case "BEA01", "BOOT2", "CD001", "CDW02":
				continue
			}
			break
		}
	}
	return false
}

// NewReader reads the volume descriptors of an image of size bytes. What breaks the format is a *[FormatError]; what husk cannot read
// wraps errors.ErrUnsupported. r is used for as long as the volume and its tree are.
func NewReader(r io.ReaderAt, size int64) (*Volume, error) {
	v := &Volume{r: r, size: size, content: extents.Content{R: r}}
	anchor, err := v.findAnchor()
	if err != nil {
		return nil, err
	}
	d, err := v.readSequence("volume descriptor sequence", anchor[16:])
	if err != nil {
		var second error
		if d, second = v.readSequence("reserve volume descriptor sequence", anchor[24:]); second != nil {
			return nil, err
		}
		v.warn("%v; its copy is whole", err)
	}
	if err := v.readLogical(d); err != nil {
		return nil, err
	}
	return v, v.readFileSet(getLong(d.logical[248:]))
}

// Warnings tells of what is odd and was read all the same.
func (v *Volume) Warnings() []string { return v.warnings }

const mostWarnings = 20

func (v *Volume) warn(format string, args ...any) {
	if len(v.warnings) < mostWarnings {
		v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
	}
}

// findAnchor finds an anchor and with it the size of sectors, which nothing says before.
func (v *Volume) findAnchor() ([]byte, error) {
	first := formatError("anchor", anchorSector*2048, "image of %d bytes, want more", v.size)
	for i, sector := range []int64{2048, 512, 4096, 1024} {
		last := v.size/sector - 1
		for j, at := range []int64{anchorSector, last, last - anchorSector, 512} {
			if at < anchorSector || at > last {
				continue
			}
			v.sector = sector
			b, err := v.readSector("anchor", at, tagAnchor)
			if err == nil {
				return b, nil
			}
			if i == 0 && j == 0 {
				first = err
			}
		}
	}
	return nil, first
}

// readSector reads the descriptor that fills a sector and checks its tag and location; without want, of any kind.
func (v *Volume) readSector(what string, at int64, want ...uint16) ([]byte, error) {
	off := at * v.sector
	b, err := ondisk.ReadAt(v.r, off, v.sector, v.sector)
	if err != nil {
		return nil, &FormatError{what, off, err}
	}
	t, where, err := checkTag(b, want...)
	if err == nil && int64(t.Location) != at {
		where, err = 12, fmt.Errorf("tag location %d, want %d", t.Location, at)
	}
	if err != nil {
		return nil, &FormatError{what, off + where, err}
	}
	return b, nil
}

// descriptors are those of a volume descriptor sequence that prevail: the last of each kind by their own numbers.
type descriptors struct {
	primary, logical []byte
	partitions       map[uint16][]byte // by partition number
}

// maxPartitions is how many partition descriptors and maps are taken; UDF has at most two.
const maxPartitions = 16

// readSequence reads the sequence that an extent_ad names, and those that continue it.
func (v *Volume) readSequence(what string, ad []byte) (*descriptors, error) {
	d := &descriptors{partitions: make(map[uint16][]byte)}
	sectors := func(ad []byte) (at, n int64) { return int64(le.Uint32(ad[4:])), int64(le.Uint32(ad)) / v.sector }
	at, n := sectors(ad)
	start := at * v.sector
	if n == 0 {
		return nil, formatError(what, start, "%d bytes, want at least a sector", le.Uint32(ad))
	}
	for count := 0; n > 0; count++ {
		if count == sequenceMost {
			return nil, formatError(what, at*v.sector, "%d descriptors and no end, want fewer", count)
		}
		zero, err := v.blank(at)
		if err != nil {
			return nil, &FormatError{what, at * v.sector, err}
		}
		if zero { // never written: what was before is the sequence
			break
		}
		b, err := v.readSector(what, at)
		if err != nil {
			return nil, err
		}
		at, n = at+1, n-1
		switch le.Uint16(b) {
		case tagPrimaryVolume:
			d.primary = later(d.primary, b)
		case tagLogicalVolume:
			d.logical = later(d.logical, b)
		case tagPartition:
			number := le.Uint16(b[22:])
			d.partitions[number] = later(d.partitions[number], b)
			if len(d.partitions) > maxPartitions {
				return nil, formatError(what, (at-1)*v.sector, "more than %d partitions", maxPartitions)
			}
		case tagVolumePointer:
			at, n = sectors(b[20:])
		case tagTerminating:
			n = 0
		}
	}
	switch {
	case d.logical == nil:
		return nil, formatError(what, start, "no logical volume descriptor, want one")
	case len(d.partitions) == 0:
		return nil, formatError(what, start, "no partition descriptor, want one")
	}
	return d, nil
}

// blank reports whether a sector is zeros.
func (v *Volume) blank(at int64) (bool, error) {
	b, err := ondisk.ReadAt(v.r, at*v.sector, v.sector, v.sector)
	return len(bytes.Trim(b, "\x00")) == 0, err
}

// later returns the descriptor with the higher volume descriptor sequence number; of equals, b.
func later(a, b []byte) []byte {
	if a != nil && le.Uint32(a[16:]) > le.Uint32(b[16:]) {
		return a
	}
	return b
}

// readLogical takes the block size and the partition maps of the logical volume.
func (v *Volume) readLogical(d *descriptors) error {
	b := d.logical
	off := int64(le.Uint32(b[12:])) * v.sector
	fail := func(at int64, format string, args ...any) error {
		return formatError("logical volume descriptor", off+at, format, args...)
	}
	v.Label = dstring(b[84:212])
	if size := le.Uint32(b[212:]); int64(size) != v.sector { // UDF 2.2.4.2
		return fail(212, "block size %d, want that of the sectors, %d", size, v.sector)
	}
	v.BlockSize = int(v.sector)
	if string(bytes.TrimRight(b[217:240], "\x00")) == "*OSTA UDF Compliant" {
		v.Revision = le.Uint16(b[240:])
	}
	const mapsAt = 440
	length, count := int64(le.Uint32(b[264:])), int(le.Uint32(b[268:]))
	if length > int64(len(b))-mapsAt {
		return fail(264, "partition maps of %d bytes, want at most %d", length, len(b)-mapsAt)
	}
	if count < 1 || count > maxPartitions {
		return fail(268, "%d partition maps, want 1 to %d", count, maxPartitions)
	}
	maps := b[mapsAt : mapsAt+length]
	for i := range count {
		at := int64(mapsAt + length - int64(len(maps)))
		if len(maps) < 6 || int(maps[1]) < 6 || int(maps[1]) > len(maps) {
			return fail(at, "partition map %d does not fit in the table of %d bytes", i, length)
		}
		if maps[0] != 1 {
			name := ""
			if len(maps) >= 28 {
				name = string(bytes.TrimRight(maps[5:28], "\x00"))
			}
			return fail(at, "partition map of type %d %q: %w", maps[0], name, errors.ErrUnsupported)
		}
		number := le.Uint16(maps[4:])
		p, ok := d.partitions[number]
		if !ok {
			return fail(at, "partition map %d names partition %d, which has no descriptor", i, number)
		}
		part := partition{int64(le.Uint32(p[188:])) * v.sector, int64(le.Uint32(p[192:])) * v.sector}
		if part.off >= v.size {
			return fail(at, "partition %d begins at byte %d, want it in the %d bytes of the image", number, part.off, v.size)
		}
		v.partitions = append(v.partitions, part)
		maps = maps[maps[1]:]
	}
	return nil
}

// readFileSet reads the file set descriptor, which names the root directory.
func (v *Volume) readFileSet(at extent) error {
	const what = "file set descriptor"
	b, off, err := v.readBlock(what, at.at, tagFileSet)
	if err != nil {
		return err
	}
	if name := dstring(b[304:336]); v.Label == "" {
		v.Label = name
	}
	if v.root = getLong(b[400:]); v.root.kind != extentRecorded || v.root.len == 0 {
		return formatError(what, off+400, "no root directory, want one")
	}
	return nil
}

// place returns the byte offset of n bytes from a block on, which lie in the partition and the image.
func (v *Volume) place(at address, n int64) (int64, error) {
	if int(at.partition) >= len(v.partitions) {
		return 0, fmt.Errorf("partition %d, want one of %d", at.partition, len(v.partitions))
	}
	p := v.partitions[at.partition]
	rel := int64(at.block) * v.sector
	if !ondisk.Range(rel, n, p.size) {
		return 0, fmt.Errorf("%d bytes from block %d on, want them in the %d blocks of the partition", n, at.block, p.size/v.sector)
	}
	if !ondisk.Range(p.off+rel, n, v.size) {
		return 0, fmt.Errorf("%d bytes at %#x, want them in the %d bytes of the image: it may be cut short", n, p.off+rel, v.size)
	}
	return p.off + rel, nil
}

// readBlock reads the descriptor in a block and checks its tag and location.
func (v *Volume) readBlock(what string, at address, want ...uint16) (b []byte, off int64, err error) {
	if off, err = v.place(at, v.sector); err != nil {
		return nil, 0, &FormatError{what, off, err}
	}
	if b, err = ondisk.ReadAt(v.r, off, v.sector, v.sector); err != nil {
		return nil, off, &FormatError{what, off, err}
	}
	t, where, err := checkTag(b, want...)
	if err == nil && t.Location != at.block {
		where, err = 12, fmt.Errorf("tag location %d, want %d", t.Location, at.block)
	}
	if err != nil {
		return nil, off, &FormatError{what, off + where, err}
	}
	return b, off, nil
}
