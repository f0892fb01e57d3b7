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
	"testing"

	"husk/internal/reftool"
	"husk/mbr"
	"husk/ntfs"
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
	return file, fmt.Sprintf("bootmgr: cs=00002000 edx=00000080 registers=00000000 segments=00000000 sp=00007c00 hidden=%08x sector=00000200 oem=%08x sum=%08x end",
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
		{65536, 523_264, 3000, 2048, "bootmgr"}, // all the memory there is
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
var _ = bytes.Equal
