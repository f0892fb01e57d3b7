package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"husk/internal/disk"
	"husk/internal/mounted"
	"husk/internal/ui"
	"husk/ntfs"
)

// Device is a disk that is to be overwritten.
type Device struct {
	Model   string   `json:"model,omitempty"`
	Content []string `json:"content"` // what is on it, in words; none if it is empty
}

// blockFile is what a device needs of its file.
type blockFile interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Close() error
}

// device is a Device that is open. What is written is remembered with its sum, so that it can be read back, and so that what was never
// written, but must read as zeros, is known.
type device struct {
	Device
	path   string
	disk   string // the system's name of it: "sdb"
	size   int64
	sector int

	f       blockFile
	mu      sync.Mutex
	written []extent
}

// extent is a range that was written.
type extent struct {
	off, size int64
	sum       uint32
}

// span is a range of bytes.
type span struct{ start, end int64 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openDevice opens a whole disk that nothing uses.
func openDevice(path string) (*device, error) {
	info, err := mounted.Look(path)
	if err != nil {
		return nil, err
	}
	fail := func(hint string, format string, args ...any) error {
		return ui.Hint(fmt.Errorf("%s "+format, append([]any{path}, args...)...), hint)
	}
	switch {
	case info.Partition != 0:
		return nil, fail("name the whole disk: all of it is overwritten", "is partition %d of %s, want a whole disk", info.Partition, info.Disk)
	case info.Optical:
		return nil, fail("", "is an optical drive, want a disk")
	case info.ReadOnly:
		return nil, fail("look for a switch on the disk, or try: blockdev --setrw", "is read-only")
	}
	users, err := mounted.Users(path)
	if err != nil {
		return nil, fmt.Errorf("%s: whether it is in use is not known: %w", path, err)
	}
	if len(users) > 0 {
		return nil, fail("unmount it first; the disk of the running system cannot be changed", "is in use: %s", strings.Join(users, ", "))
	}
	f, err := os.OpenFile(path, os.O_RDWR|exclusive, 0)
	if err != nil {
		return nil, ui.Hint(err, "if it is busy, something of the system uses the disk: a volume group, a RAID, a file system")
	}
	d := &device{Device: Device{Model: info.Model}, path: path, disk: info.Disk, f: f, sector: sectorOf(f)}
	if d.sector != sector512 && d.sector != sector4K {
		return nil, errors.Join(fail("", "has sectors of %d bytes, want 512 or 4096", d.sector), f.Close())
	}
	if d.size, err = f.Seek(0, io.SeekEnd); err == nil && d.size < 4*mib {
		err = fmt.Errorf("%s: a disk of %d bytes, want at least 4 MiB", path, d.size)
	}
	if err == nil {
		d.Content, err = contentOf(f, d.size, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d, nil
}

func (d *device) close() error { return d.f.Close() }

func (d *device) name() string {
	if d.Model == "" {
		return d.path
	}
	return d.path + ", " + d.Model
}

// contentOf says what is on a disk; nothing if both of its ends are zeros.
func contentOf(r io.ReaderAt, size int64, path string) ([]string, error) {
	var list []string
	if d, err := disk.Open(path); err == nil {
		defer d.Close()
		if d.Scheme != disk.Bare {
			for i := range d.Partitions {
				p := &d.Partitions[i]
				what := fileSystem(d.Section(p), p.Size)
				if what == "" {
					what = p.Type
				}
				if p.Name != "" {
					what += ", " + p.Name
				}
				list = append(list, fmt.Sprintf("partition %d: %s, %s", p.Number, ui.Size(p.Size), what))
			}
		}
	}
	if len(list) > 0 {
		return list, nil
	}
	if fs := fileSystem(r, size); fs != "" {
		return []string{fs + ", without partitions"}, nil
	}
	for _, off := range []int64{0, size - mib} {
		b := make([]byte, mib)
		if _, err := r.ReadAt(b, off); err != nil && err != io.EOF {
			return nil, err
		}
		if len(bytes.Trim(b, "\x00")) > 0 {
			return []string{"data of an unknown kind"}, nil
		}
	}
	return nil, nil
}

// signatures are the marks by which file systems and the like are known.
var signatures = []struct {
	off  int64
	mark string
	name string
}{
	{3, "NTFS    ", "NTFS"}, {3, "EXFAT   ", "exFAT"}, {3, "ReFS\x00", "ReFS"}, {3, "-FVE-FS-", "BitLocker"}, {0x52, "FAT32   ", "FAT32"},
	{0x36, "FAT1", "FAT"}, {0x438, "\x53\xef", "ext2, ext3 or ext4"}, {0, "XFSB", "XFS"}, {0x10040, "_BHRfS_M", "Btrfs"}, {0x20, "NXSB", "APFS"},
	{0x400, "H+", "HFS+"}, {0, "LUKS\xba\xbe", "LUKS"}, {0x218, "LVM2 001", "LVM"}, {0xff6, "SWAPSPACE2", "swap space"},
	{0x1000, "\xfc\x4e\x2b\xa9", "Linux RAID"}, {0x8001, "CD001", "ISO 9660"}, {0x400, "\x10\x20\xf5\xf2", "F2FS"},
}

// fileSystem names the file system of a volume; "" if it is not known.
func fileSystem(r io.ReaderAt, size int64) string {
	for _, s := range signatures {
		b := make([]byte, len(s.mark))
		if s.off+int64(len(b)) > size {
			continue
		}
		if n, _ := r.ReadAt(b, s.off); n == len(b) && string(b) == s.mark {
			return s.name
		}
	}
	return ""
}

// begin takes the old partition tables away, at both ends.
func (d *device) begin() error {
	zeros := make([]byte, mib)
	for _, off := range []int64{0, d.size - mib} {
		if _, err := d.f.WriteAt(zeros, off); err != nil {
			return err
		}
	}
	return d.f.Sync()
}

// WriteAt writes to the device and remembers the sum.
func (d *device) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > d.size || int64(len(p)) > d.size-off {
		return 0, fmt.Errorf("%s: %d bytes at %#x: the disk has %#x", d.path, len(p), off, d.size)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := d.f.WriteAt(p, off)
	if err != nil {
		return n, err
	}
	x := extent{off, int64(len(p)), crc32.Checksum(p, castagnoli)}
	d.mu.Lock()
	d.written = append(d.written, x)
	d.mu.Unlock()
	return n, nil
}

func (d *device) total() (n int64) {
	for _, x := range d.written {
		n += x.size
	}
	return n
}

// settle puts what was written in order. Ranges that were written twice are joined; their sum is that of what reads there now.
func (d *device) settle() error {
	slices.SortFunc(d.written, func(a, b extent) int { return int(min(max(a.off-b.off, -1), 1)) })
	list := d.written[:0]
	again := make(map[int64]bool) // starts of joined ranges
	for _, x := range d.written {
		if n := len(list); n > 0 && x.off < list[n-1].off+list[n-1].size {
			last := &list[n-1]
			last.size = max(last.size, x.off+x.size-last.off)
			again[last.off] = true
			continue
		}
		list = append(list, x)
	}
	d.written = list
	for i := range list {
		if !again[list[i].off] {
			continue
		}
		sum, err := d.sum(list[i])
		if err != nil {
			return err
		}
		list[i].sum = sum
	}
	return nil
}

// sum reads a range.
func (d *device) sum(x extent) (sum uint32, err error) {
	buf := make([]byte, min(x.size, mib))
	for off := x.off; off < x.off+x.size; {
		b := buf[:min(int64(len(buf)), x.off+x.size-off)]
		if _, err := io.ReadFull(io.NewSectionReader(d.f, off, int64(len(b))), b); err != nil {
			return 0, fmt.Errorf("%s at %#x: %w", d.path, off, err)
		}
		sum = crc32.Update(sum, castagnoli, b)
		off += int64(len(b))
	}
	return sum, nil
}

// clear writes zeros to what of the spans was not written, and has the disk keep everything.
func (d *device) clear(ctx context.Context, spans []span) error {
	if err := d.settle(); err != nil {
		return err
	}
	for _, g := range gaps(spans, d.written) {
		for at := g.start; at < g.end; at += mib {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := d.WriteAt(make([]byte, min(mib, g.end-at)), at); err != nil {
				return err
			}
		}
	}
	if err := d.settle(); err != nil {
		return err
	}
	return d.f.Sync()
}

// gaps are the parts of spans that no extent, which are in order and apart, covers.
func gaps(spans []span, written []extent) []span {
	slices.SortFunc(spans, func(a, b span) int { return int(min(max(a.start-b.start, -1), 1)) })
	var list []span
	i, done := 0, int64(0)
	for _, s := range spans {
		at := max(s.start, done)
		for at < s.end {
			for i < len(written) && written[i].off+written[i].size <= at {
				i++
			}
			end := s.end
			if i < len(written) {
				if w := written[i]; w.off <= at {
					at = min(w.off+w.size, s.end)
					continue
				}
				end = min(end, written[i].off)
			}
			list = append(list, span{at, end})
			at = end
		}
		done = max(done, s.end)
	}
	return list
}

// verify reads everything back that was written, from the disk itself.
func (d *device) verify(ctx context.Context, progress func(int64)) error {
	if f, ok := d.f.(*os.File); ok {
		if err := forget(f); err != nil {
			return fmt.Errorf("%s: cached contents do not go away, so it cannot be read back: %w", d.path, err)
		}
	}
	for _, x := range d.written {
		if err := ctx.Err(); err != nil {
			return err
		}
		sum, err := d.sum(x)
		if err != nil {
			return err
		}
		if sum != x.sum {
			return ui.Hint(fmt.Errorf("%s: %d bytes at %#x do not read back as they were written", d.path, x.size, x.off), "the disk is bad, or not as large as it says")
		}
		progress(x.size)
	}
	return nil
}

// reread has the system look at the new partitions.
func (d *device) reread() error {
	if f, ok := d.f.(*os.File); ok {
		return rereadTable(f)
	}
	return nil
}

// zeros are the ranges of a disk that was just written that must read as zeros where nothing was written: both ends of the disk and of
// all partitions, where others look for marks of what they were, and everything that volumes have in use.
func (p *plan) zeros(d *device) ([]span, error) {
	list := []span{{0, mib}, {d.size - mib, d.size}}
	for i, part := range p.parts {
		switch {
		case part.Kind == kindMSR, i == p.bootPart && p.boot != nil:
			list = append(list, span{part.Offset, part.end()})
			continue
		}
		list = append(list, span{part.Offset, part.Offset + mib}, span{part.end() - mib, part.end()})
		used, err := usedSpans(d.f, part)
		if err != nil {
			return nil, fmt.Errorf("%s: partition %d, just written: %w", d.path, i+1, err)
		}
		list = append(list, used...)
	}
	return list, nil
}

// usedSpans are the clusters of an NTFS volume that are in use.
func usedSpans(r io.ReaderAt, part Partition) ([]span, error) {
	v, err := ntfs.NewReader(io.NewSectionReader(r, part.Offset, part.Size), part.Size)
	if err != nil {
		return nil, err
	}
	var list []span
	at := part.Offset
	for x, err := range v.FreeRuns() {
		if err != nil {
			return nil, err
		}
		start := part.Offset + int64(x.LCN)*int64(v.ClusterSize)
		if start > at {
			list = append(list, span{at, start})
		}
		at = start + x.Clusters*int64(v.ClusterSize)
	}
	return append(list, span{at, part.end()}), nil
}
