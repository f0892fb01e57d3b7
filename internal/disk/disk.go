// Package disk opens what holds volumes, whatever form it has: a VHD, a raw image, a block device, or a bare NTFS volume. It
// finds the partitions and their identities, as boot managers and WimOverlay.dat name them.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"husk/gpt"
	"husk/guid"
	"husk/mbr"
	"husk/vhd"
	"husk/vhdx"
)

// Scheme is how a disk is divided.
type Scheme int

const (
	Bare Scheme = iota // no partition table: the whole file is one volume
	MBR
	GPT
)

func (s Scheme) String() string { return [...]string{"none", "MBR", "GPT"}[s] }

// Disk is an open disk. Reading it is safe for concurrent use.
type Disk struct {
	Path       string
	Format     string // "raw", "VHD fixed", "VHD dynamic", "VHDX dynamic"
	Scheme     Scheme
	Signature  uint32    // of an MBR disk
	GUID       guid.GUID // of a GPT disk
	Partitions []Partition

	r     io.ReaderAt
	size  int64
	vhd   *vhd.Reader
	vhdx  *vhdx.Reader
	close func() error
}

// Partition is one partition, or the whole of a bare volume.
type Partition struct {
	Number int   // 1-based, as Linux and Windows count
	Offset int64 // bytes from the start of the disk
	Size   int64 // bytes
	Type   string
	GUID   guid.GUID // unique GUID; GPT only
	Name   string    // GPT only
	Active bool      // MBR only
	NTFS   bool      // starts with an NTFS boot sector
}

// Open opens a disk read-only. A file without partitions that is not an NTFS volume is an error.
func Open(path string) (*Disk, error) {
	if st, err := os.Stat(path); err == nil && st.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0 {
		return nil, fmt.Errorf("%s is a pipe, want a disk image or device", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	d, err := open(f, path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return d, nil
}

func open(f *os.File, path string) (*Disk, error) {
	size, err := f.Seek(0, io.SeekEnd) // also right for block devices, which Stat gives no size for
	if err != nil {
		return nil, err
	}
	d := &Disk{Path: path, Format: "raw", r: f, size: size, close: f.Close}
	if vhdx.IsVHDX(f) || strings.EqualFold(filepath.Ext(path), ".vhdx") {
		v, err := vhdx.NewReader(f, size, nil)
		if err != nil {
			return nil, err
		}
		d.vhdx, d.r, d.size, d.Format = v, v, v.Size(), "VHDX "+v.Type().String()
		return d, d.readTable()
	}
	// A fixed VHD is told from a raw image by its footer, a dynamic one by its first bytes.
	if vhd.IsVHD(f, size) || strings.EqualFold(filepath.Ext(path), ".vhd") {
		v, err := vhd.NewReader(f, size)
		if err != nil {
			return nil, err
		}
		d.vhd, d.r, d.size, d.Format = v, v, v.Size(), "VHD "+v.Type().String()
	}
	return d, d.readTable()
}

// readTable finds the partitions.
func (d *Disk) readTable() error {
	if d.isNTFS(0) {
		d.Partitions = []Partition{{Number: 1, Size: d.size, Type: "NTFS", NTFS: true}}
		return nil
	}
	var sector [mbr.Size]byte
	if _, err := d.r.ReadAt(sector[:], 0); err != nil {
		return fmt.Errorf("partition table: %w", noEOF(err))
	}
	t, err := mbr.Parse(sector[:])
	if err != nil {
		return fmt.Errorf("neither an NTFS volume nor a partitioned disk: %w", err)
	}
	if t.Protective() {
		return d.readGPT()
	}
	d.Scheme, d.Signature = MBR, t.Signature
	if err := t.Check(d.size / 512); err != nil {
		return err
	}
	add := func(number int, p mbr.Partition) {
		d.addPartition(Partition{Number: number, Offset: int64(p.Start) * 512, Size: int64(p.Sectors) * 512, Type: fmt.Sprintf("%02x", p.Type), Active: p.Active})
	}
	extended := false
	for i, p := range t.Parts {
		switch {
		case p.Extended():
			extended = true
		case p.Used():
			add(i+1, p)
		}
	}
	if !extended {
		return nil
	}
	logical, err := t.Logical(d.r, 512)
	for i, p := range logical {
		add(5+i, p)
	}
	return err
}

func (d *Disk) readGPT() error {
	t, err := gpt.Read(d.r, d.size)
	if err != nil {
		return err
	}
	d.Scheme, d.GUID = GPT, t.DiskGUID
	for _, p := range t.Partitions {
		d.addPartition(Partition{
			Number: p.Number, Offset: int64(p.First) * int64(t.SectorSize), Size: int64(p.Last-p.First+1) * int64(t.SectorSize),
			Type: guid.GUID(p.Type).String(), GUID: p.GUID, Name: p.Name,
		})
	}
	return nil
}

func (d *Disk) addPartition(p Partition) {
	p.NTFS = d.isNTFS(p.Offset)
	d.Partitions = append(d.Partitions, p)
}

// isNTFS looks for the OEM id of an NTFS boot sector.
func (d *Disk) isNTFS(off int64) bool {
	var b [8]byte
	_, err := d.r.ReadAt(b[:], off+3)
	return err == nil && string(b[:]) == "NTFS    "
}

// Size is the size of the disk in bytes.
func (d *Disk) Size() int64 { return d.size }

// VHD returns the container's description, or nil if the disk is none.
func (d *Disk) VHD() *vhd.Info {
	if d.vhd == nil {
		return nil
	}
	info := d.vhd.Info()
	return &info
}

// Section reads one partition.
func (d *Disk) Section(p *Partition) *io.SectionReader {
	return io.NewSectionReader(d.r, p.Offset, p.Size)
}

// Close closes the file.
func (d *Disk) Close() error { return d.close() }

// Partition returns the partition with a number.
func (d *Disk) Partition(number int) (*Partition, error) {
	for i := range d.Partitions {
		if d.Partitions[i].Number == number {
			return &d.Partitions[i], nil
		}
	}
	return nil, fmt.Errorf("%s: no partition %d; it has %s", d.Path, number, d.numbers())
}

// NTFS returns the only NTFS partition. Several are an error that lists them.
func (d *Disk) NTFS() (*Partition, error) {
	var found []*Partition
	for i := range d.Partitions {
		if d.Partitions[i].NTFS {
			found = append(found, &d.Partitions[i])
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("%s: no NTFS partition; it has %s", d.Path, d.numbers())
	}
	return nil, fmt.Errorf("%s: several NTFS partitions, name one as %s:NUMBER; it has %s", d.Path, d.Path, d.numbers())
}

func (d *Disk) numbers() string {
	if len(d.Partitions) == 0 {
		return "no partitions"
	}
	var b strings.Builder
	for i, p := range d.Partitions {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d (type %s, %d MiB)", p.Number, p.Type, p.Size>>20)
	}
	return "partitions " + b.String()
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
