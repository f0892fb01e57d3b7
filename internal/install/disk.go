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
	"husk/internal/ui"
	"husk/mbr"
	"husk/ntfs"
	"husk/vhd"
	"husk/vhdx"
)

const (
	mib       = 1 << 20
	sector512 = 512
	sector4K  = 4096
	msrSize   = 16 * mib
	firstPart = 1 * mib
	mostMBR   = (1<<32 - 1) * sector512 // bytes that the entries of an MBR reach

	// The EFI system partition is as Windows Setup makes it, if the boot files do not need more. With sectors of 4096 bytes, FAT32 needs
	// 65525 clusters of that size.
	espSize   = 100 * mib
	espSize4K = 260 * mib
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

// Kinds of partitions.
const (
	kindESP      = "EFI system"
	kindMSR      = "Microsoft reserved"
	kindBoot     = "boot"
	kindWindows  = "Windows"
	kindRecovery = "recovery"
)

// Partition is one partition of the plan.
type Partition struct {
	Kind       string `json:"kind"`
	Offset     int64  `json:"offset"`
	Size       int64  `json:"size"`
	FileSystem string `json:"fileSystem,omitempty"` // "NTFS", "FAT32"
	Used       int64  `json:"used,omitempty"`       // bytes
}

func (p Partition) end() int64 { return p.Offset + p.Size }

// plan is a disk of which every byte but the contents of files is decided.
type plan struct {
	size      int64
	sector    int // logical, in bytes
	format    Format
	firmware  Firmware
	signature uint32
	disk      guid.GUID // GPT
	system    guid.GUID // GPT: of the partition with Windows
	tools     guid.GUID // GPT: of the recovery partition
	bootSize  int64     // of the partition with the boot files in bytes; 0 for BIOS, which needs none
	toolsSize int64     // of the recovery partition; 0 if there is none
	parts     []Partition
	bootPart  int // index in parts of what the firmware reads; that of Windows if there is no other
	mainPart  int // index of the partition with Windows or with the WIM and the VHDs
	toolsPart int // index of the recovery partition; 0 if there is none, as it is never the first

	table    *gpt.Table
	boot     *fat.Layout
	main     *ntfs.Layout
	build    *ntfs.BuildOptions // of main
	recovery *ntfs.Layout
}

// divide decides the partitions of a disk. It may be called again with another size.
func (p *plan) divide() error {
	p.parts, p.mainPart, p.toolsPart = nil, 0, 0
	if p.firmware == UEFI {
		return p.divideGPT()
	}
	end := p.size/mib*mib - p.toolsSize
	at := int64(firstPart)
	if p.firmware == Both {
		p.parts = append(p.parts, Partition{Kind: kindBoot, Offset: at, Size: p.bootSize})
		at += p.bootSize
		p.mainPart = 1
	}
	p.parts = append(p.parts, Partition{Kind: kindWindows, Offset: at, Size: end - at})
	if end-at < mib {
		return fmt.Errorf("a disk of %d bytes has no room for Windows", p.size)
	}
	if p.toolsSize > 0 {
		p.toolsPart = len(p.parts)
		p.parts = append(p.parts, Partition{Kind: kindRecovery, Offset: end, Size: p.toolsSize})
	}
	if last := p.parts[len(p.parts)-1]; last.end() > mostMBR {
		return ui.Hint(fmt.Errorf("a disk of %d bytes, want at most 2 TiB for BIOS", p.size), "use --firmware=uefi")
	}
	return nil
}

func (p *plan) divideGPT() error {
	t, err := gpt.New(p.disk, p.size, p.sector)
	if err != nil {
		return err
	}
	add := func(kind string, typ [16]byte, id guid.GUID, size int64, attributes uint64) error {
		q, err := t.Add(gpt.Partition{Type: typ, GUID: id, Name: kind + " partition", Attributes: attributes}, size)
		if err != nil {
			return err
		}
		p.parts = append(p.parts, Partition{Kind: kind, Offset: int64(q.First) * int64(p.sector), Size: int64(q.Last-q.First+1) * int64(p.sector)})
		return nil
	}
	if err := add(kindESP, gpt.TypeESP, guid.New(), p.bootSize, 0); err != nil {
		return err
	}
	if err := add(kindMSR, gpt.TypeMSR, guid.New(), msrSize, 0); err != nil {
		return err
	}
	size := t.Free() - p.toolsSize
	if size < mib {
		return fmt.Errorf("a disk of %d bytes has no room for Windows", p.size)
	}
	p.mainPart = len(p.parts)
	if err := add(kindWindows, gpt.TypeBasicData, p.system, size, 0); err != nil {
		return err
	}
	if p.toolsSize > 0 {
		p.toolsPart = len(p.parts)
		if err := add(kindRecovery, gpt.TypeRecovery, p.tools, p.toolsSize, gpt.AttrRequired|gpt.AttrNoDriveLetter); err != nil {
			return err
		}
	}
	p.table = t
	return nil
}

// hidden is the number of the first sector of a partition, as its boot sector has it.
func (p *plan) hidden(part int) uint32 { return uint32(p.parts[part].Offset / int64(p.sector)) }

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
		return vhdx.Create(f, &vhdx.Options{Type: vhdx.Dynamic, Size: p.size, LogicalSector: p.sector, ID: guid.New(), FileWriteGUID: guid.New(),
			DataWriteGUID: guid.New()})
	}
	return rawFile{f.File}, f.Truncate(p.size)
}

// write writes the disk into a file: partition table, boot partition, Windows.
func (p *plan) write(ctx context.Context, f *atomicfile.File) error {
	w, err := p.create(f)
	if err != nil {
		return err
	}
	if err := p.writeTable(w); err != nil {
		return err
	}
	if err := p.writeVolumes(ctx, w); err != nil {
		return err
	}
	return w.Close()
}

func (p *plan) writeVolumes(ctx context.Context, w io.WriterAt) error {
	if p.boot != nil {
		if err := p.boot.Write(ctx, io.NewOffsetWriter(w, p.parts[p.bootPart].Offset)); err != nil {
			return err
		}
	}
	if err := p.main.Write(ctx, io.NewOffsetWriter(w, p.parts[p.mainPart].Offset)); err != nil {
		return err
	}
	if p.recovery != nil {
		return p.recovery.Write(ctx, io.NewOffsetWriter(w, p.parts[p.toolsPart].Offset))
	}
	return nil
}

func (p *plan) writeTable(w io.WriterAt) error {
	if p.table != nil {
		return p.table.Write(w, p.size)
	}
	t := &mbr.Table{Signature: p.signature, BootCode: bootcode.MBR()}
	for i, part := range p.parts {
		typ := byte(mbr.TypeNTFS)
		switch part.Kind {
		case kindBoot:
			typ = mbr.TypeFAT32
		case kindRecovery:
			typ = mbr.TypeRecovery
		}
		t.Parts[i] = mbr.Partition{Active: i == p.bootPart, Type: typ, Start: p.hidden(i), Sectors: uint32(part.Size / int64(p.sector))}
	}
	b, err := t.Marshal()
	if err != nil {
		return err
	}
	_, err = w.WriteAt(b, 0)
	return err
}
