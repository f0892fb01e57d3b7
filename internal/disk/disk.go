// Package disk opens what holds volumes, whatever form it has: VHD and VHDX with their parents, qcow2, a raw image, a block
// device, or a bare NTFS or FAT volume. It finds the partitions and their identities, as boot managers and WimOverlay.dat name them.
// Open reads; OpenEdit also writes, with what guards a disk that is in use.
package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"husk/fat"
	"husk/gpt"
	"husk/guid"
	"husk/mbr"
	"husk/ntfs"
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
	Format     string // "raw", "VHD fixed", "VHD differencing", "VHDX dynamic", "qcow2"
	Scheme     Scheme
	Signature  uint32    // of an MBR disk
	GUID       guid.GUID // of a GPT disk
	Partitions []Partition
	SectorSize int // logical: 512 or 4096 bytes

	r         io.ReaderAt
	size      int64
	chain     *chain
	container *Container
	journal   []byte       // of a change that was cut off
	unread    error        // why it is not known of a partition what it holds
	unused    []span       // that Compact leaves out
	close     func() error // closes the file
	parents   func() error // closes what the disk is based on
}

// Container tells of the file around a disk.
type Container struct {
	FileSize  int64    // bytes
	Creator   string   // as the format has it
	BlockSize int64    // bytes; 0 if the disk is not in blocks
	Parent    string   // the path of the parent as a differencing disk has it; "" without one
	Notes     []string // what is odd about the file
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
	FAT    bool      // starts with a boot sector of FAT12, FAT16 or FAT32 that describes it
}

// Open opens a disk read-only. A file without partitions that is neither an NTFS nor a FAT volume is an error.
func Open(path string) (*Disk, error) { return openFile(path, true) }

// OpenAny is Open for disks with anything on them, or nothing: it does not look for partitions.
func OpenAny(path string) (*Disk, error) { return openFile(path, false) }

func openFile(path string, table bool) (*Disk, error) {
	if st, err := os.Stat(path); err == nil {
		switch {
		case st.IsDir():
			return nil, fmt.Errorf("%s is a folder, want a disk image or device", path)
		case st.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0:
			return nil, fmt.Errorf("%s is a pipe, want a disk image or device", path)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	// The disk first: a change that ends meanwhile is on the disk when its journal goes.
	journal, err := ntfs.FileJournal(path + JournalMark).Load()
	if err != nil && !errors.Is(err, syscall.ENAMETOOLONG) { // then there is none
		return nil, errors.Join(err, f.Close())
	}
	d, err := open(f, path, table)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	d.journal = journal
	return d, nil
}

// JournalMark is appended to the name of a disk for the journal of a change of its NTFS volume that is under way.
const JournalMark = ".husk-journal"

func open(f *os.File, path string, table bool) (*Disk, error) {
	size, err := f.Seek(0, io.SeekEnd) // also right for block devices, which Stat gives no size for
	if err != nil {
		return nil, err
	}
	d := &Disk{Path: path, Format: "raw", SectorSize: sectorSize(f), r: f, size: size, close: f.Close, parents: func() error { return nil }}
	c, err := startChain(path)
	if err != nil {
		return nil, err
	}
	d.chain = c
	switch formOf(f, size, path) {
	case formVHDX:
		v, err := vhdx.NewReader(f, size, c.vhdxOptions())
		if err != nil {
			return nil, err
		}
		d.setVHDX(v, v.Info())
		d.parents = v.Close
	case formVHD:
		v, err := vhd.NewChainReader(f, size, c.vhdOptions())
		if err != nil {
			return nil, err
		}
		d.setVHD(v, v.Info())
		d.parents = v.Close
	case formQcow2:
		q, err := openQcow2(f, size, c)
		if err != nil {
			return nil, err
		}
		d.Format, d.SectorSize, d.r, d.size, d.parents = "qcow2", 512, q, q.size, q.closeBacking
		d.container = &Container{FileSize: size}
	}
	if table {
		if err := d.readTable(); err != nil {
			return nil, errors.Join(err, d.parents())
		}
	}
	return d, nil
}

// form is the form of a file that holds a disk.
type form int

const (
	formRaw form = iota
	formVHD
	formVHDX
	formQcow2
)

// formOf looks at the beginning and the end of a file, and at its name where a damaged one would pass for raw. A fixed VHD
// is told from a raw image by its footer alone.
func formOf(r io.ReaderAt, size int64, path string) form {
	ext := strings.ToLower(filepath.Ext(path))
	switch {
	case vhdx.IsVHDX(r):
		return formVHDX
	case isQcow2(r):
		return formQcow2
	case vhd.IsVHD(r, size):
		return formVHD
	case ext == ".vhdx" || ext == ".avhdx":
		return formVHDX
	case ext == ".vhd" || ext == ".avhd":
		return formVHD
	}
	return formRaw
}

func (d *Disk) setVHD(r io.ReaderAt, i vhd.Info) {
	d.r, d.size, d.Format, d.SectorSize = r, i.Size, "VHD "+i.Type.String(), 512
	d.container = &Container{FileSize: i.FileSize, Creator: i.Creator, BlockSize: i.BlockSize, Notes: i.Notes}
	if p := i.Parent; p != nil {
		d.container.Parent = cmp.Or(p.RelativePath, p.AbsolutePath, p.Name)
	}
}

func (d *Disk) setVHDX(r io.ReaderAt, i vhdx.Info) {
	d.r, d.size, d.Format, d.SectorSize = r, i.Size, "VHDX "+i.Type.String(), i.LogicalSector
	d.container = &Container{FileSize: i.FileSize, Creator: i.Creator, BlockSize: i.BlockSize, Notes: i.Notes}
	if p := i.Parent; p != nil {
		d.container.Parent = cmp.Or(p.RelativePath, p.AbsolutePath, p.VolumePath)
	}
}

// readTable finds the partitions.
func (d *Disk) readTable() error {
	sector := int64(d.SectorSize)
	if d.isNTFS(0) {
		d.Partitions = []Partition{{Number: 1, Size: d.size, Type: "NTFS", NTFS: true}}
		return nil
	}
	var first [mbr.Size]byte
	if _, err := d.r.ReadAt(first[:], 0); err != nil {
		return fmt.Errorf("partition table: %w", noEOF(err))
	}
	t, err := mbr.Parse(first[:])
	if err != nil || t.Check(d.size/sector) != nil || !slices.ContainsFunc(t.Parts[:], mbr.Partition.Used) {
		if whole := (Partition{Number: 1, Size: d.size, Type: "FAT", FAT: true}); d.isFAT(&whole) {
			d.Partitions = []Partition{whole}
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("neither an NTFS nor a FAT volume nor a partitioned disk: %w", err)
	}
	if t.Protective() {
		return d.readGPT()
	}
	d.Scheme, d.Signature = MBR, t.Signature
	if err := t.Check(d.size / sector); err != nil {
		return err
	}
	add := func(number int, p mbr.Partition) {
		d.addPartition(Partition{Number: number, Offset: int64(p.Start) * sector, Size: int64(p.Sectors) * sector, Type: fmt.Sprintf("%02x", p.Type), Active: p.Active})
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
	logical, err := t.Logical(d.r, d.SectorSize)
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
	if f, ok := d.r.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			d.SectorSize = t.SectorSize // nothing but the table tells what sectors the disk has that a raw image is of
		}
	}
	for _, p := range t.Partitions {
		d.addPartition(Partition{
			Number: p.Number, Offset: int64(p.First) * int64(t.SectorSize), Size: int64(p.Last-p.First+1) * int64(t.SectorSize),
			Type: guid.GUID(p.Type).String(), GUID: p.GUID, Name: p.Name,
		})
	}
	return nil
}

func (d *Disk) addPartition(p Partition) {
	p.NTFS, p.FAT = d.isNTFS(p.Offset), d.isFAT(&p)
	d.Partitions = append(d.Partitions, p)
}

// isNTFS looks for the OEM id of an NTFS boot sector.
func (d *Disk) isNTFS(off int64) bool {
	var b [8]byte
	_, err := d.r.ReadAt(b[:], off+3)
	if err != nil && err != io.EOF {
		d.unread = cmp.Or(d.unread, fmt.Errorf("%s: boot sector at %#x: %w", d.Path, off, err))
	}
	return err == nil && string(b[:]) == "NTFS    "
}

// isFAT looks for the boot sector of a FAT volume that fits into the partition.
func (d *Disk) isFAT(p *Partition) bool {
	_, err := fat.NewVolume(d.Section(p), p.Size)
	return err == nil
}

// Size is the size of the disk in bytes.
func (d *Disk) Size() int64 { return d.size }

// Container tells of the file around the disk, or is nil if there is none but the bytes of the disk.
func (d *Disk) Container() *Container { return d.container }

// ReadAt reads from the disk as io.ReaderAt says.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) { return d.r.ReadAt(p, off) }

// NextAllocated returns the first range of the disk at or after off that has bytes in a file: what lies between ranges reads
// as zeros. When nothing more is allocated, start and end are both Size.
func (d *Disk) NextAllocated(off int64) (start, end int64) {
	switch r := d.r.(type) {
	case interface{ NextAllocated(int64) (int64, int64) }:
		return r.NextAllocated(off)
	case *os.File:
		return nextData(r, min(max(off, 0), d.size), d.size)
	}
	return min(max(off, 0), d.size), d.size
}

// Section reads one partition. Of an NTFS volume with a change that was cut off and waits to be finished it reads what that will make: what
// is on the disk until then is half of it. A disk that is open for changes is read as it is.
func (d *Disk) Section(p *Partition) *io.SectionReader {
	r := io.NewSectionReader(d.r, p.Offset, p.Size)
	if len(d.journal) == 0 {
		return r
	}
	settled, err := ntfs.Settled(r, p.Size, d.journal)
	if err != nil {
		return r // it is of another volume, or of an earlier state of this one: who changes the disk is told
	}
	return io.NewSectionReader(settled, 0, p.Size)
}

// Close closes the file, and those that it is based on.
func (d *Disk) Close() error { return errors.Join(d.parents(), d.close()) }

// Unread tells why it is not known of a partition whether it is an NTFS volume: its boot sector could not be read. Else it is nil.
func (d *Disk) Unread() error { return d.unread }

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
		if d.unread != nil {
			return nil, d.unread
		}
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
