package bootcode

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/mbr"
	"husk/ntfs"
	"husk/vhd"
	"husk/winfile"
)

// The committed code is what nasm makes of the sources.
func TestAssembled(t *testing.T) {
	for name, want := range map[string]string{"mbr": mbrCode, "ntfs": ntfsCode, "fat32": fat32Code} {
		if got := assemble(t, name+".asm"); string(got) != want {
			t.Errorf("%s.bin is not what %s.asm gives: run go generate", name, name)
		}
	}
	if n := [3]int{len(MBR()), len(NTFS()), len(FAT32())}; n != [3]int{440, 8192, 512} {
		t.Errorf("%d bytes, want 440, 8192, 512", n)
	}
}

func assemble(t *testing.T, source string, args ...string) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "code")
	reftool.Run(t, "nasm", append(args, "-Wall", "-f", "bin", "-o", name, source)...)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const wantRegisters = "registers=00000000"

// stub makes a bootmgr of so many bytes, and what it says when it is started well from a partition at sector start.
func stub(t *testing.T, size int, start uint32, oem string) (file []byte, want string) {
	t.Helper()
	if size < 800 {
		file = assemble(t, "testdata/stub.asm", "-DSTART=16")
	} else {
		file = assemble(t, "testdata/stub.asm")
	}
	r := rand.New(rand.NewPCG(uint64(size), 1))
	for len(file) < size {
		file = append(file, byte(r.Uint32()))
	}
	le.PutUint32(file[8:], uint32(len(file)))
	sum := uint32(0)
	for _, b := range file[16:] {
		sum = bits.RotateLeft32(sum, 1) + uint32(b)
	}
	return file, fmt.Sprintf(wantRegisters+" cs=00002000 edx=00000080 segments=00000000 sp=00007c00 hidden=%08x sector=00000200 oem=%08x sum=%08x end",
		start, le.Uint32([]byte(oem)), sum)
}

// disk makes the image of a disk with one volume in its active partition at sector start.
func disk(t *testing.T, start uint32, volume []byte) string {
	t.Helper()
	sectors := uint32(len(volume) / 512)
	table := mbr.Table{Signature: 0x6b737568, BootCode: MBR()}
	table.Parts[0] = mbr.Partition{Type: mbr.TypeRecovery, Start: 1, Sectors: 1} // one that is not active comes first
	table.Parts[1] = mbr.Partition{Active: true, Type: mbr.TypeNTFS, Start: start, Sectors: sectors}
	b, err := table.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return writeDisk(t, b, start, volume)
}

func writeDisk(t *testing.T, record []byte, start uint32, volume []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, err := range []error{
		f.Truncate(int64(start)*512 + int64(len(volume)) + 1<<20),
		at(f, 0, record),
		at(f, int64(start)*512, volume),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return name
}

func at(f *os.File, off int64, b []byte) error {
	_, err := f.WriteAt(b, off)
	return err
}

// memory is a volume in memory.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	return copy(m.b[off:], p), nil
}

// build makes a volume with our builder.
func build(t *testing.T, o ntfs.BuildOptions, files ...*winfile.Entry) []byte {
	t.Helper()
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory}, Children: files}
	o.BootSector, o.LogSize = NTFS(), 256<<10
	l, err := ntfs.NewLayout(&winfile.Tree{Root: root}, &o)
	if err != nil {
		t.Fatal(err)
	}
	m := memory{make([]byte, l.Size())}
	if err := l.Write(context.Background(), &m); err != nil {
		t.Fatal(err)
	}
	return m.b
}

func file(name string, data []byte) *winfile.Entry {
	return &winfile.Entry{Name: name, Info: &winfile.Info{Data: winfile.NewBlob(data), Links: 1}}
}

func crowd(n int) (list []*winfile.Entry) {
	for i := range n {
		list = append(list, file(fmt.Sprintf("%c a name that takes its room in the index %d", 'A'+i%26, i), nil))
	}
	return list
}

// Volumes of our builder start: all cluster sizes, contents in the record and outside, small and large root directories.
func TestOurVolumes(t *testing.T) {
	for _, tt := range []struct {
		cluster, size, crowd int
		start                uint32
		name                 string
	}{
		{512, 300_000, 0, 2048, "bootmgr"},
		{1024, 8192, 60, 63, "BOOTMGR"},
		{2048, 383_562, 0, 2048, "bootmgr"},
		{4096, 413_786, 5000, 2048, "BootMgr"},
		{4096, 500, 40, 1 << 22, "bootmgr"}, // resident
		{8192, 65536, 300, 2048, "bootmgr"},
		{65536, 523_264, 3000, 2048, "bootmgr"},    // all the memory there is
		{4096, 400_000, 0, 1<<32 - 600, "bootmgr"}, // across sector 2^32
	} {
		t.Run(fmt.Sprintf("clusters of %d, %d bytes among %d", tt.cluster, tt.size, tt.crowd), func(t *testing.T) {
			t.Parallel()
			b, want := stub(t, tt.size, tt.start, "NTFS")
			files := append(crowd(tt.crowd), file(tt.name, b), file("bootmgra", nil), file("bootmg", nil), file("bootmgr.efi", nil))
			m := reftool.Machine{Disk: disk(t, tt.start, build(t, ntfs.BuildOptions{ClusterSize: tt.cluster, HiddenSectors: tt.start}, files...))}
			m.Boot(t, want)
		})
	}
}

var le = binary.LittleEndian

const restart = "\r\nPress Ctrl+Alt+Del to restart"

// What cannot be started is named on the screen.
func TestMessages(t *testing.T) {
	const start = 2048
	boot, want := stub(t, 300_000, start, "NTFS")
	dir, pointer := &winfile.Entry{Name: "bootmgr", Info: &winfile.Info{Attributes: winfile.AttrDirectory}}, file("bootmgr", boot)
	backing := func(*winfile.Info) []byte {
		return (&winfile.Reparse{Tag: winfile.TagWOF, Data: make([]byte, 88)}).Buffer()
	}
	plain := ntfs.BuildOptions{HiddenSectors: start}
	for _, tt := range []struct {
		name    string
		options ntfs.BuildOptions
		files   []*winfile.Entry
		damage  func(volume []byte)
		want    string
	}{
		{"nothing is wrong", plain, []*winfile.Entry{pointer}, nil, want},
		{"no file", plain, nil, nil, "BOOTMGR is missing"},
		{"no file among many", plain, crowd(2000), nil, "BOOTMGR is missing"},
		{"a directory", plain, []*winfile.Entry{dir}, nil, "BOOTMGR is missing"},
		{"a pointer", ntfs.BuildOptions{HiddenSectors: start, Backing: backing}, []*winfile.Entry{pointer}, nil, "BOOTMGR is compressed, encrypted or sparse"},
		{"empty", plain, []*winfile.Entry{file("bootmgr", nil)}, nil, "The file system is damaged"},
		{"too large", plain, []*winfile.Entry{file("bootmgr", make([]byte, 523_265))}, nil, "BOOTMGR is too large"},
		{"hidden sectors", ntfs.BuildOptions{HiddenSectors: start + 8}, []*winfile.Entry{pointer}, nil, "Wrong hidden sectors"},
		{"4096-byte sectors", ntfs.BuildOptions{HiddenSectors: start, SectorSize: 4096}, nil, nil, "Sectors are not of 512 bytes"},
		{"4096-byte records", ntfs.BuildOptions{HiddenSectors: start, SectorSize: 4096}, append(crowd(100), pointer), smallSectors, want},
		{"$MFT beyond the disk", plain, []*winfile.Entry{pointer}, func(v []byte) { v[0x33] = 1 }, "Disk read error"},
		{"root is no record", plain, []*winfile.Entry{pointer}, func(v []byte) { record(v, 5)[0] = 'B' }, "The file system is damaged"},
		{"root is torn", plain, []*winfile.Entry{pointer}, func(v []byte) { record(v, 5)[1022] ^= 1 }, "The file system is damaged"},
		{"no cluster size", plain, []*winfile.Entry{pointer}, func(v []byte) { v[0x0d] = 0 }, "The file system is damaged"},
		{"records of 64 KiB", plain, []*winfile.Entry{pointer}, func(v []byte) { v[0x40] = 0xf0 }, "The file system is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := build(t, tt.options, tt.files...)
			if tt.damage != nil {
				tt.damage(v)
			}
			m := reftool.Machine{Disk: disk(t, start, v)}
			if tt.want != want {
				tt.want += restart
			}
			m.Boot(t, tt.want)
		})
	}
}

// record is a record of a volume with clusters of 4096 and records of 1024 bytes.
func record(volume []byte, n int) []byte {
	return volume[int(le.Uint64(volume[0x30:]))*4096+n*1024:][:1024]
}

// smallSectors makes a volume for sectors of 4096 bytes one for sectors of 512. Its records stay as large as the old ones.
func smallSectors(v []byte) {
	le.PutUint16(v[0x0b:], 512)
	v[0x0d] *= 8
	le.PutUint64(v[0x28:], le.Uint64(v[0x28:])*8+7)
}

// Whatever is in the records, the code comes to an end: it starts bootmgr or says what is wrong.
func TestDamage(t *testing.T) {
	const start, runs = 2048, 24
	b, want := stub(t, 5000, start, "NTFS")
	good := build(t, ntfs.BuildOptions{HiddenSectors: start}, append(crowd(200), file("bootmgr", b))...)
	for i := range runs {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 3))
			v := bytes.Clone(good)
			for _, n := range []int{0, 5} {
				rec := record(v, n)
				for range 1 + r.IntN(3) {
					rec[0x14+r.IntN(0x180)] = byte(r.Uint32())
				}
			}
			m := reftool.Machine{Disk: disk(t, start, v)}
			m.Boot(t, want, restart)
		})
	}
}

// The master boot record starts the active partition or says why not.
func TestMBR(t *testing.T) {
	volume := make([]byte, 1<<20)
	copy(volume, assemble(t, "testdata/sector.asm"))
	active := mbr.Partition{Active: true, Type: mbr.TypeNTFS, Start: 63, Sectors: 2048}
	for _, tt := range []struct {
		name   string
		part   mbr.Partition
		change func(record []byte)
		want   string
	}{
		{"it starts", active, nil, "sector: dx=0080 si=07ce lba=0000003f end"},
		{"beyond the disk", mbr.Partition{Active: true, Type: mbr.TypeNTFS, Start: 1 << 30, Sectors: 2048}, nil, "Error reading the disk"},
		{"none is active", mbr.Partition{Type: mbr.TypeNTFS, Start: 63, Sectors: 2048}, nil, "No active partition"},
		{"no table", active, func(b []byte) { b[0x1be] = 0x12 }, "Invalid partition table"},
		{"no boot sector", mbr.Partition{Active: true, Type: mbr.TypeNTFS, Start: 100, Sectors: 20}, nil, "The active partition does not boot"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table := mbr.Table{BootCode: MBR()}
			table.Parts[1] = tt.part
			b, err := table.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				tt.change(b)
			}
			m := reftool.Machine{Disk: writeDisk(t, b, 63, volume)}
			m.Boot(t, tt.want)
		})
	}
}

// It makes no difference what the disk is connected to, or that another one is there.
func TestControllers(t *testing.T) {
	const start = 2048
	b, want := stub(t, 100_000, start, "NTFS")
	name := disk(t, start, build(t, ntfs.BuildOptions{HiddenSectors: start}, file("bootmgr", b)))
	for controller, args := range map[string][]string{
		"AHCI":   {"-device", "ahci,id=a", "-device", "ide-hd,bus=a.0,drive=d,bootindex=0"},
		"USB":    {"-device", "qemu-xhci", "-device", "usb-storage,drive=d,bootindex=0"},
		"virtio": {"-device", "virtio-blk,drive=d,bootindex=0"},
	} {
		t.Run(controller, func(t *testing.T) {
			t.Parallel()
			empty := filepath.Join(t.TempDir(), "empty")
			if err := os.WriteFile(empty, make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			m := reftool.Machine{Disk: empty, Args: append(args, "-drive", "if=none,id=d,snapshot=on,format=raw,file="+name)}
			m.Boot(t, want)
		})
	}
}

// It makes no difference what the disk is kept in.
func TestVHD(t *testing.T) {
	const start = 2048
	b, want := stub(t, 300_000, start, "NTFS")
	raw := disk(t, start, build(t, ntfs.BuildOptions{HiddenSectors: start}, file("bootmgr", b)))
	from, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []vhd.Type{vhd.Fixed, vhd.Dynamic} {
		name := filepath.Join(t.TempDir(), "disk.vhd")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w, err := vhd.Create(f, &vhd.Options{Type: typ, Size: int64(len(from)), ID: [16]byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteAt(from, 0); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		m := reftool.Machine{Disk: name, Format: "vpc"}
		m.Boot(t, want)
	}
}

// FAT32 volumes of mkfs.fat start, with small and large clusters, a fragmented file and a root directory of several clusters.
func TestFAT32(t *testing.T) {
	const start = 2048
	b, want := stub(t, 380_000, start, "mkfs")
	want = strings.TrimPrefix(want, wantRegisters) // what is in the registers is of no interest, and costs code
	dir := t.TempDir()
	boot, other := filepath.Join(dir, "bootmgr"), filepath.Join(dir, "other")
	for name, b := range map[string][]byte{boot: b, other: make([]byte, 5000)} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, cluster := range []int64{1, 8, 64} { // sectors
		t.Run(fmt.Sprint(cluster), func(t *testing.T) {
			t.Parallel()
			sectors := 70000 * (cluster + 1)
			table := mbr.Table{BootCode: MBR()}
			table.Parts[0] = mbr.Partition{Active: true, Type: mbr.TypeFAT32, Start: start, Sectors: uint32(sectors)}
			record, err := table.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			name := writeDisk(t, record, start, nil)
			if err := os.Truncate(name, (start+sectors)*512); err != nil {
				t.Fatal(err)
			}
			reftool.Run(t, "mkfs.fat", "-F", "32", "-s", fmt.Sprint(cluster), "-h", fmt.Sprint(start), "--offset", fmt.Sprint(start), name, fmt.Sprint(sectors/2))
			img := name + "@@1M"
			copyIn := func(from, to string) { reftool.Run(t, "mcopy", "-i", img, from, "::"+to) }
			for i := range 40 {
				copyIn(other, fmt.Sprintf("a long name, number %d", i))
			}
			for i := range 20 {
				reftool.Run(t, "mdel", "-i", img, fmt.Sprintf("::a long name, number %d", i*2))
			}
			reftool.Run(t, "mmd", "-i", img, "::bootmgr.dir")
			copyIn(boot, "bootmgr")
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			sector := make([]byte, 512)
			if _, err := f.ReadAt(sector, start*512); err != nil {
				t.Fatal(err)
			}
			if err := PutFAT32(sector); err != nil {
				t.Fatal(err)
			}
			if err := at(f, start*512, sector); err != nil {
				t.Fatal(err)
			}
			m := reftool.Machine{Disk: name}
			m.Boot(t, want)
			reftool.Run(t, "mdel", "-i", img, "::bootmgr")
			m.Boot(t, "BOOTMGR is missing")
		})
	}
}

// Code goes into nothing but a volume of its kind, and leaves the fields alone.
func TestPut(t *testing.T) {
	fields := bytes.Repeat([]byte{0xa5}, 8192)
	copy(fields[3:], "NTFS    ")
	if err := PutFAT32(fields); err == nil {
		t.Error("FAT32 code in an NTFS volume")
	}
	if err := PutNTFS(fields[:512]); err == nil {
		t.Error("NTFS code in one sector")
	}
	got := bytes.Clone(fields)
	if err := PutNTFS(got); err != nil {
		t.Fatal(err)
	}
	if want := append(append([]byte(ntfsCode[:3]), fields[3:0x54]...), ntfsCode[0x54:]...); !bytes.Equal(got, want) {
		t.Error("NTFS: fields or code are wrong")
	}
	copy(fields[0x52:], "FAT32   ")
	if err := PutNTFS(append([]byte("abcMSDOS5.0"), make([]byte, 8192)...)); err == nil {
		t.Error("NTFS code in another volume")
	}
	got = bytes.Clone(fields[:512])
	if err := PutFAT32(got); err != nil {
		t.Fatal(err)
	}
	if want := append(append([]byte(fat32Code[:3]), fields[3:0x5a]...), fat32Code[0x5a:]...); !bytes.Equal(got, want) {
		t.Error("FAT32: fields or code are wrong")
	}
}
