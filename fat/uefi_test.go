package fat

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"husk/bootcode"
	"husk/gpt"
	"husk/internal/reftool"
	"husk/mbr"
	"husk/winfile"
)

// disk makes an empty disk.
func disk(t *testing.T, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

func writeVolume(t *testing.T, f *os.File, tr *winfile.Tree, o Options) {
	t.Helper()
	l, err := NewLayout(tr, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Write(context.Background(), io.NewOffsetWriter(f, int64(o.HiddenSectors)*max(int64(o.SectorSize), 512))); err != nil {
		t.Fatal(err)
	}
}

func application(t *testing.T) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "app.efi")
	reftool.Run(t, "nasm", "-Wall", "-f", "bin", "-o", name, "testdata/app.asm")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// UEFI firmware finds our partitions and starts an application from our volume: on a GPT disk among others as Windows has them, and on
// an MBR disk.
func TestUEFI(t *testing.T) {
	const size = 1 << 30
	tr := esp()
	tr.Lookup("EFI/Boot/bootx64.efi").Info.Data = winfile.NewBlob(application(t))

	onGPT := func(t *testing.T, sector int, esp int64, m reftool.Machine) {
		t.Parallel()
		table, err := gpt.New([16]byte{1}, size, sector)
		if err != nil {
			t.Fatal(err)
		}
		id := [16]byte{0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
		for _, p := range []struct {
			gpt.Partition
			size int64
		}{
			{gpt.Partition{Type: gpt.TypeMSR, GUID: [16]byte{2}, Attributes: gpt.AttrNoDriveLetter}, 16 << 20},
			{gpt.Partition{Type: gpt.TypeESP, GUID: id, Attributes: gpt.AttrNoDriveLetter}, esp},
			{gpt.Partition{Type: gpt.TypeBasicData, GUID: [16]byte{3}}, 0},
		} {
			if _, err := table.Add(p.Partition, p.size); err != nil {
				t.Fatal(err)
			}
		}
		f := disk(t, size)
		if err := table.Write(f, size); err != nil {
			t.Fatal(err)
		}
		p := table.Partitions[1]
		writeVolume(t, f, tr, Options{Size: int64(p.Last-p.First+1) * int64(sector), SectorSize: sector, HiddenSectors: uint32(p.First), Label: "SYSTEM"})
		if m.UEFI = true; m.Args == nil {
			m.Disk = f.Name()
		} else {
			m.Disk = disk(t, 1<<20).Name()
			m.Args = append(m.Args, "-drive", "if=none,id=d,snapshot=on,format=raw,file="+f.Name())
		}
		m.Boot(t, fmt.Sprintf("uefi: partition=%016x start=%016x size=%016x id=%x %x end", p.Number, p.First, p.Last-p.First+1, id[:8], id[8:]))
	}
	t.Run("GPT", func(t *testing.T) { onGPT(t, 512, 100<<20, reftool.Machine{}) })
	t.Run("4Kn", func(t *testing.T) {
		onGPT(t, 4096, 260<<20, reftool.Machine{Args: []string{"-device", "virtio-blk,drive=d,logical_block_size=4096,physical_block_size=4096"}})
	})

	t.Run("MBR", func(t *testing.T) {
		t.Parallel()
		table := mbr.Table{Signature: 0x11223344, BootCode: bootcode.MBR()}
		table.Parts[0] = mbr.Partition{Active: true, Type: mbr.TypeFAT32, Start: 2048, Sectors: 400 << 11}
		b, err := table.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		f := disk(t, size)
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		writeVolume(t, f, tr, Options{Size: 400 << 20, HiddenSectors: 2048, BootSector: bootcode.FAT32()})
		m := reftool.Machine{Disk: f.Name(), UEFI: true}
		m.Boot(t, "uefi: partition=0000000000000001 start=0000000000000800 size=00000000000c8000 id=4433221100000000 0000000000000000 end")
	})
}

// A BIOS starts bootmgr from our volume through our boot code.
func TestBIOS(t *testing.T) {
	const size = 64 << 20
	name := filepath.Join(t.TempDir(), "bootmgr")
	source := name + ".asm"
	code := "bits 16\nmov dx, 3F8h\nmov si, text\nnext: cs lodsb\nout dx, al\ntest al, al\njnz next\nmov al, 31h\nout 0F4h, al\ntext: db 'bootmgr on FAT', 0\n"
	if err := os.WriteFile(source, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "nasm", "-f", "bin", "-o", name, source)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	table := mbr.Table{BootCode: bootcode.MBR()}
	table.Parts[0] = mbr.Partition{Active: true, Type: mbr.TypeFAT32, Start: 63, Sectors: size / 512}
	record, err := table.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	f := disk(t, size+63*512)
	if _, err := f.WriteAt(record, 0); err != nil {
		t.Fatal(err)
	}
	writeVolume(t, f, tree(file("some long name", nil), file("bootmgr", b)), Options{Size: size, HiddenSectors: 63, Label: "BOOTMGR", BootSector: bootcode.FAT32()})
	m := reftool.Machine{Disk: f.Name()}
	m.Boot(t, "bootmgr on FAT")
}
