package install

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"husk/bootcode"
	"husk/fat"
	"husk/gpt"
	"husk/guid"
	"husk/internal/atomicfile"
	"husk/internal/directio"
	"husk/mbr"
	"husk/ntfs"
	"husk/vhd"
	"husk/vhdx"
)

const (
	mib        = 1 << 20
	sectorSize = 512
	espSize    = 100 * mib // as Windows Setup makes it on disks of 512-byte sectors, if the boot files do not need more
	msrSize    = 16 * mib
	firstPart  = 1 * mib
)

// Format is the form of the file that holds a disk.
type Format string

const (
	FormatVHD  Format = "vhd"
	FormatVHDX Format = "vhdx"
	FormatRaw  Format = "raw"
)

// FormatOf is the format that the name of a file promises.
func FormatOf(name string) Format {
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".vhd", ".vhdx":
		return Format(ext[1:])
	}
	return FormatRaw
}

// Partition is one partition of the plan.
type Partition struct {
	Kind   string `json:"kind"` // "EFI system", "Microsoft reserved", "boot", "Windows"
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
}

// plan is a disk of which every byte but the contents of files is decided.
type plan struct {
	size      int64
	format    Format
	firmware  Firmware
	signature uint32
	disk      guid.GUID // GPT
	system    guid.GUID // GPT: of the partition with Windows
	bootSize  int64     // of the partition with the boot files in bytes; 0 for BIOS, which needs none
	parts     []Partition
	bootPart  int // index in parts of what the firmware reads; that of Windows if there is no other
	mainPart  int // index of the partition with Windows or with the WIM and the VHDs

	table *gpt.Table
	boot  *fat.Layout
	main  *ntfs.Layout
	build *ntfs.BuildOptions // of main
}

// divide decides the partitions of a disk.
func (p *plan) divide() error {
	end := p.size / mib * mib
	add := func(kind string, size int64) {
		at := int64(firstPart)
		if n := len(p.parts); n > 0 {
			at = p.parts[n-1].Offset + p.parts[n-1].Size
		}
		p.parts = append(p.parts, Partition{kind, at, size})
	}
	rest := func() int64 {
		at := int64(firstPart)
		if n := len(p.parts); n > 0 {
			at = p.parts[n-1].Offset + p.parts[n-1].Size
		}
		return end - at
	}
	switch p.firmware {
	case BIOS:
		add("Windows", rest())
	case Both:
		add("boot", p.bootSize)
		add("Windows", rest())
	case UEFI:
		return p.divideGPT()
	}
	p.mainPart = len(p.parts) - 1
	if p.parts[p.mainPart].Size < mib {
		return fmt.Errorf("a disk of %d bytes has no room for Windows", p.size)
	}
	if last := p.parts[p.mainPart]; (last.Offset+last.Size)/sectorSize > 1<<32-1 {
		return fmt.Errorf("a disk of %d bytes, want at most 2 TiB for BIOS", p.size)
	}
	return nil
}

func (p *plan) divideGPT() error {
	t, err := gpt.New(p.disk, p.size, sectorSize)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		kind  string
		typ   [16]byte
		guid  guid.GUID
		size  int64
		attrs uint64
	}{
		{"EFI system", gpt.TypeESP, guid.New(), p.bootSize, 0},
		{"Microsoft reserved", gpt.TypeMSR, guid.New(), msrSize, 0},
		{"Windows", gpt.TypeBasicData, p.system, 0, 0},
	} {
		q, err := t.Add(gpt.Partition{Type: part.typ, GUID: part.guid, Name: part.kind + " partition", Attributes: part.attrs}, part.size)
		if err != nil {
			return err
		}
		p.parts = append(p.parts, Partition{part.kind, int64(q.First) * sectorSize, int64(q.Last-q.First+1) * sectorSize})
	}
	p.table, p.mainPart = t, len(p.parts)-1
	return nil
}

// identity is how Windows will know its volume.
func (p *plan) identity() identity {
	return identity{gpt: p.firmware == UEFI, signature: p.signature, offset: p.parts[p.mainPart].Offset, partition: p.system}
}

// container is a file that holds a disk, while it is written.
type container interface {
	io.WriterAt
	Close() error
}

type rawFile struct{ *directio.File }

func (rawFile) Close() error { return nil } // the file is the caller's

func (p *plan) create(f *atomicfile.File) (container, error) {
	switch p.format {
	case FormatVHD:
		return vhd.Create(f, &vhd.Options{Type: vhd.Dynamic, Size: p.size, ID: guid.New(), Time: time.Now()})
	case FormatVHDX:
		return vhdx.Create(f, &vhdx.Options{Type: vhdx.Dynamic, Size: p.size, ID: guid.New(), FileWriteGUID: guid.New(), DataWriteGUID: guid.New()})
	}
	return rawFile{f.File}, f.Truncate(p.size)
}

// write writes the disk: partition table, boot partition, Windows.
func (p *plan) write(ctx context.Context, f *atomicfile.File) error {
	w, err := p.create(f)
	if err != nil {
		return err
	}
	if p.table != nil {
		if err := p.table.Write(w, p.size); err != nil {
			return err
		}
	} else if err := p.writeMBR(w); err != nil {
		return err
	}
	if p.boot != nil {
		if err := p.boot.Write(ctx, io.NewOffsetWriter(w, p.parts[p.bootPart].Offset)); err != nil {
			return err
		}
	}
	if err := p.main.Write(ctx, io.NewOffsetWriter(w, p.parts[p.mainPart].Offset)); err != nil {
		return err
	}
	return w.Close()
}

func (p *plan) writeMBR(w io.WriterAt) error {
	t := &mbr.Table{Signature: p.signature, BootCode: bootcode.MBR()}
	for i, part := range p.parts {
		typ := byte(mbr.TypeNTFS)
		if part.Kind == "boot" {
			typ = mbr.TypeFAT32
		}
		t.Parts[i] = mbr.Partition{Active: i == p.bootPart, Type: typ, Start: uint32(part.Offset / sectorSize), Sectors: uint32(part.Size / sectorSize)}
	}
	b, err := t.Marshal()
	if err != nil {
		return err
	}
	_, err = w.WriteAt(b, 0)
	return err
}
