package bcd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"husk/guid"
	"husk/winfile"
)

var le = binary.LittleEndian

// A Device is the value of a device element: where something is.
type Device struct {
	Options guid.GUID // of the object with a RAM disk's options; zero for all others
	Where   Descriptor
}

// A Descriptor is one of [Boot], [Partition], [Locate], [File], [RAMDisk], [VirtualDisk], [Disk] and [Raw].
type Descriptor interface {
	// append adds the bytes after the descriptor's header, and tells its type and flags.
	append(b []byte) (_ []byte, kind, flags uint32)
	// String is as bcdedit shows it, partitions by their identities.
	String() string
}

// Types of descriptors.
const (
	kindDisk      = 0
	kindBoot      = 5
	kindPartition = 6
	kindLocate    = 8
)

// Kinds of disks.
const (
	diskHard    = 0
	diskRAM     = 3
	diskFile    = 5
	diskVirtual = 6
)

const (
	descriptorHeader = 16
	recordVersion    = 1
	recordPath       = 5 // kind of path: that of Windows' boot environment
	maxNesting       = 16
	locateByElement  = 0
	locateByPath     = 1
)

// Style is how a disk is divided, in the numbers of descriptors.
type Style uint32

const (
	GPT Style = 0
	MBR Style = 1
)

// Boot is the volume that the boot manager came from.
type Boot struct{}

// Partition is a partition of a hard disk, or of a virtual disk in a file.
type Partition struct {
	Style Style
	ID    [16]byte   // GPT: the partition's GUID; MBR: its offset in bytes, u64, and zeros
	Disk  [16]byte   // GPT: the disk's GUID; MBR: its signature, u32, and zeros
	In    Descriptor // a File, if the disk is a VHD or VHDX; nil for a hard disk
}

// MBRPartition is the partition at an offset in bytes of a disk with a signature.
func MBRPartition(signature uint32, offset int64) Partition {
	p := Partition{Style: MBR}
	le.PutUint64(p.ID[:], uint64(offset))
	le.PutUint32(p.Disk[:], signature)
	return p
}

// GPTPartition is the partition with a GUID on the disk with another.
func GPTPartition(disk, partition guid.GUID) Partition {
	return Partition{Style: GPT, ID: partition, Disk: disk}
}

// Disk is a whole hard disk.
type Disk struct {
	Style Style
	ID    [16]byte
}

// Locate is the first volume that has a file.
type Locate struct {
	Element ElementID  // whose string is the path, if Path is empty
	Path    string     // the path
	In      Descriptor // the disk to search: a VirtualDisk; nil for all
}

// File is a file that is used as a disk.
type File struct {
	On   Descriptor // the volume
	Path string     // starts with a backslash
}

// RAMDisk is the content of a file, loaded into memory.
type RAMDisk struct {
	On   Descriptor
	Path string
}

// VirtualDisk is the disk in a VHD or VHDX.
type VirtualDisk struct{ File Descriptor }

// Raw is a descriptor of a form that this package does not know.
type Raw struct {
	Type, Flags, Reserved uint32
	Data                  []byte
}

// VHD is what bcdedit makes of vhd=[on]path: the volume in a virtual disk that has the file named by element. On may be nil:
// the volume is searched for ([locate]).
func VHD(on Descriptor, path string, element ElementID) Device {
	if on == nil {
		on = Locate{Path: path}
	}
	return Device{Where: Locate{Element: element, In: VirtualDisk{File{on, path}}}}
}

// Marshal returns the value of the element.
func (d Device) Marshal() []byte { return appendDescriptor(bytes.Clone(d.Options[:]), d.Where) }

// ParseDevice reads the value of a device element. What it does not know it keeps as [Raw]; Marshal of the result gives the bytes
// again.
func ParseDevice(b []byte) (Device, error) {
	var d Device
	if len(b) < len(d.Options)+descriptorHeader {
		return d, fmt.Errorf("bcd: device of %d bytes, want at least %d", len(b), len(d.Options)+descriptorHeader)
	}
	copy(d.Options[:], b)
	where, n, err := parseDescriptor(b[len(d.Options):], 0)
	if err != nil {
		return d, fmt.Errorf("bcd: device: %w", err)
	}
	if rest := b[len(d.Options)+n:]; len(rest) > 0 {
		return d, fmt.Errorf("bcd: device: %d bytes after the descriptor of %d", len(rest), n)
	}
	d.Where = where
	return d, nil
}

func appendDescriptor(b []byte, d Descriptor) []byte {
	start := len(b)
	b = append(b, make([]byte, descriptorHeader)...)
	b, kind, flags := d.append(b)
	h := b[start:]
	le.PutUint32(h, kind)
	le.PutUint32(h[4:], flags)
	le.PutUint32(h[8:], uint32(len(h)))
	if r, ok := d.(Raw); ok {
		le.PutUint32(h[12:], r.Reserved)
	}
	return b
}

func (Boot) append(b []byte) ([]byte, uint32, uint32) {
	return append(b, make([]byte, 56)...), kindBoot, 0
}

func (p Partition) append(b []byte) ([]byte, uint32, uint32) {
	b = append(b, p.ID[:]...)
	kind := uint32(diskHard)
	if p.In != nil {
		kind = diskVirtual
	}
	b = le.AppendUint32(b, kind)
	b = le.AppendUint32(b, uint32(p.Style))
	b = append(b, p.Disk[:]...)
	if p.In != nil {
		return appendDescriptor(b, p.In), kindPartition, 0
	}
	return append(b, make([]byte, descriptorHeader)...), kindPartition, 0
}

func (d Disk) append(b []byte) ([]byte, uint32, uint32) {
	b = le.AppendUint32(b, diskHard)
	b = le.AppendUint32(b, uint32(d.Style))
	return append(b, d.ID[:]...), kindDisk, 0
}

func (l Locate) append(b []byte) ([]byte, uint32, uint32) {
	start := len(b) - descriptorHeader
	how, parent := uint32(locateByElement), uint32(0)
	if l.Path != "" {
		how = locateByPath
	}
	b = le.AppendUint32(b, how)
	b = le.AppendUint32(b, uint32(l.Element))
	b = le.AppendUint32(b, 0)
	b = appendText(b, l.Path)
	if l.In != nil {
		parent = uint32(len(b) - start)
		le.PutUint32(b[start+24:], parent)
		b = appendDescriptor(b, l.In)
	}
	return b, kindLocate, 0
}

func (f File) append(b []byte) ([]byte, uint32, uint32) {
	return appendRecord(le.AppendUint32(b, diskFile), f.On, f.Path), kindDisk, 0
}

func (r RAMDisk) append(b []byte) ([]byte, uint32, uint32) {
	b = append(le.AppendUint32(b, diskRAM), make([]byte, 20)...)
	return appendRecord(b, r.On, r.Path), kindDisk, 1
}

func (v VirtualDisk) append(b []byte) ([]byte, uint32, uint32) {
	b = append(le.AppendUint32(b, diskVirtual), make([]byte, 20)...)
	return appendDescriptor(b, v.File), kindDisk, 0
}

func (r Raw) append(b []byte) ([]byte, uint32, uint32) { return append(b, r.Data...), r.Type, r.Flags }

// appendRecord adds the path of a file.
func appendRecord(b []byte, on Descriptor, path string) []byte {
	start := len(b)
	b = le.AppendUint32(b, recordVersion)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, recordPath)
	b = appendDescriptor(b, on)
	b = appendText(b, path)
	le.PutUint32(b[start+4:], uint32(len(b)-start))
	return b
}

func appendText(b []byte, s string) []byte { return append(winfile.AppendUTF16LE(b, s), 0, 0) }

// parseDescriptor reads the descriptor at the start of b and returns its length. One whose bytes it could not give again is Raw.
func parseDescriptor(b []byte, depth int) (Descriptor, int, error) {
	if depth > maxNesting {
		return nil, 0, fmt.Errorf("descriptors more than %d deep", maxNesting)
	}
	if len(b) < descriptorHeader {
		return nil, 0, fmt.Errorf("descriptor in %d bytes, want at least %d", len(b), descriptorHeader)
	}
	n := le.Uint32(b[8:])
	if n < descriptorHeader || uint64(n) > uint64(len(b)) {
		return nil, 0, fmt.Errorf("descriptor of %d bytes, want %d to %d", n, descriptorHeader, len(b))
	}
	b = b[:n]
	if d, err := parseKnown(b, depth); err == nil && bytes.Equal(appendDescriptor(nil, d), b) {
		return d, len(b), nil
	}
	return Raw{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[12:]), bytes.Clone(b[descriptorHeader:])}, len(b), nil
}

var errUnknown = errors.New("a form that is not known")

// parseKnown reads a descriptor that fills b.
func parseKnown(b []byte, depth int) (Descriptor, error) {
	data := b[descriptorHeader:]
	switch le.Uint32(b) {
	case kindBoot:
		return Boot{}, nil
	case kindPartition:
		return parsePartition(data, depth)
	case kindLocate:
		return parseLocate(b, depth)
	case kindDisk:
		return parseDisk(data, depth)
	}
	return nil, errUnknown
}

func parsePartition(p []byte, depth int) (Descriptor, error) {
	if len(p) < 40 {
		return nil, errUnknown
	}
	d := Partition{Style: Style(le.Uint32(p[20:])), ID: [16]byte(p), Disk: [16]byte(p[24:])}
	switch le.Uint32(p[16:]) {
	case diskHard:
		return d, nil
	case diskVirtual:
		in, _, err := parseDescriptor(p[40:], depth+1)
		d.In = in
		return d, err
	}
	return nil, errUnknown
}

func parseLocate(b []byte, depth int) (Descriptor, error) {
	const fixed = descriptorHeader + 12
	if len(b) < fixed+2 {
		return nil, errUnknown
	}
	d := Locate{Element: ElementID(le.Uint32(b[20:]))}
	text, parent := b[fixed:], le.Uint32(b[24:])
	if parent != 0 {
		if parent < fixed || uint64(parent) > uint64(len(b)) {
			return nil, errUnknown
		}
		text = b[fixed:parent]
		in, _, err := parseDescriptor(b[parent:], depth+1)
		if err != nil {
			return nil, err
		}
		d.In = in
	}
	d.Path = textOf(text)
	return d, nil
}

func parseDisk(p []byte, depth int) (Descriptor, error) {
	if len(p) < 4 {
		return nil, errUnknown
	}
	kind, p := le.Uint32(p), p[4:]
	switch kind {
	case diskHard:
		if len(p) < 20 {
			return nil, errUnknown
		}
		return Disk{Style(le.Uint32(p)), [16]byte(p[4:])}, nil
	case diskFile:
		on, path, err := parseRecord(p, depth)
		return File{on, path}, err
	case diskRAM, diskVirtual:
		if len(p) < 20 {
			return nil, errUnknown
		}
		if kind == diskRAM {
			on, path, err := parseRecord(p[20:], depth)
			return RAMDisk{on, path}, err
		}
		file, _, err := parseDescriptor(p[20:], depth+1)
		return VirtualDisk{file}, err
	}
	return nil, errUnknown
}

func parseRecord(p []byte, depth int) (Descriptor, string, error) {
	if len(p) < 12 {
		return nil, "", errUnknown
	}
	on, n, err := parseDescriptor(p[12:], depth+1)
	if err != nil {
		return nil, "", err
	}
	return on, textOf(p[12+n:]), nil
}

// textOf is UTF-16LE text without the NULs at its end. What is behind a NUL, and what is not text, does not survive: then the
// descriptor is Raw.
func textOf(b []byte) string {
	for i := 0; i+1 < len(b); i += 2 {
		if b[i] == 0 && b[i+1] == 0 {
			b = b[:i]
			break
		}
	}
	return winfile.NameFromUTF16LE(b)
}
