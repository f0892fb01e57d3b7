package mbr

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
)

// TestGolden holds every byte of the record of a 64 MiB disk.
func TestGolden(t *testing.T) {
	table, err := New(0x12345678, 64<<20, 512)
	if err != nil {
		t.Fatal(err)
	}
	table.BootCode = []byte{0x33, 0xc0}
	b, err := table.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 512)
	want[0], want[1] = 0x33, 0xc0
	copy(want[0x1b8:], "\x78\x56\x34\x12\x00\x00"+
		"\x80\x20\x21\x00\x07\x28\x20\x08\x00\x08\x00\x00\x00\xf8\x01\x00") // cylinder 8, head 40, sector 32
	want[510], want[511] = 0x55, 0xaa
	if !bytes.Equal(b, want) {
		t.Errorf("got\n%x\nwant\n%x", b, want)
	}
	again, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if p := again.Parts[0]; again.Signature != 0x12345678 || !p.Active || p.Type != TypeNTFS || p.Start != 2048 || p.Sectors != 63*2048 {
		t.Errorf("%+v", again)
	}
}

func TestCHS(t *testing.T) {
	for lba, want := range map[uint64]CHS{
		0: {0, 1, 0}, 62: {0, 63, 0}, 63: {1, 1, 0}, 2048: {0x20, 0x21, 0}, 16065: {0, 1, 1},
		16065 * 256: {0, 0x41, 0}, 16065*1024 - 1: {0xfe, 0xff, 0xff}, 16065 * 1024: chsBeyond, 1<<33 - 2: chsBeyond,
	} {
		if got := chs(lba); got != want {
			t.Errorf("sector %d: %x, want %x", lba, got, want)
		}
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		size           int64
		sector         int
		start, sectors uint32 // 0: refused
	}{
		{2 << 20, 512, 2048, 2048},
		{2<<20 - 1, 512, 0, 0},
		{-1, 512, 0, 0},
		{1 << 30, 520, 0, 0},
		{3<<20 + 512, 512, 2048, 4096},
		{1 << 40, 512, 2048, 1<<31 - 2048},
		{3 << 40, 512, 2048, 1<<32 - 2*2048}, // the table ends at 2 TiB
		{1 << 30, 4096, 256, 1<<18 - 256},
		{1 << 50, 4096, 256, 1<<32 - 2*256},
	} {
		table, err := New(1, tt.size, tt.sector)
		if (err == nil) != (tt.start > 0) {
			t.Errorf("%d bytes: %v", tt.size, err)
		}
		if err != nil {
			continue
		}
		if p := table.Parts[0]; p.Start != tt.start || p.Sectors != tt.sectors {
			t.Errorf("%d bytes: %+v", tt.size, p)
		}
		if err := table.Check(tt.size / int64(tt.sector)); err != nil {
			t.Errorf("%d bytes: %v", tt.size, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	good, err := (&Table{Signature: 7}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(b []byte) []byte
		want   string
	}{
		{"short", func(b []byte) []byte { return b[:511] }, "mbr: boot record at 0x0: 511 bytes, want 512"},
		{"nothing", func(b []byte) []byte { return nil }, "0 bytes"},
		{"magic", func(b []byte) []byte { b[511] = 0; return b }, "mbr: boot record at 0x1fe: magic 0x0055, want 0xaa55"},
		{"boot sector of a file system", func(b []byte) []byte { b[0x1de] = 'N'; return b }, "mbr: partition 3 at 0x1de: status 0x4e, want 0x00 or 0x80"},
	} {
		_, err := Parse(tt.change(bytes.Clone(good)))
		var fe *FormatError
		if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.As(err, &fe) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := Parse(good); err != nil {
		t.Errorf("empty table: %v", err)
	}
	if _, err := (&Table{BootCode: make([]byte, 441)}).Marshal(); err == nil {
		t.Error("boot code over the signature")
	}
}

func TestCheck(t *testing.T) {
	p := func(active bool, start, sectors uint32) Partition {
		return Partition{Active: active, Type: TypeNTFS, Start: start, Sectors: sectors}
	}
	for _, tt := range []struct {
		name  string
		parts [4]Partition
		want  string
	}{
		{"none", [4]Partition{}, ""},
		{"side by side, any order", [4]Partition{p(true, 100, 50), p(false, 1, 99), {}, p(false, 150, 50)}, ""},
		{"out of the disk", [4]Partition{p(true, 100, 101)}, "mbr: partition 1 at 0x1be: sectors 100 to 200, want them in the disk of 200"},
		{"wraps", [4]Partition{p(true, 1<<32-1, 1<<32-1)}, "sectors 4294967295 to 8589934589"},
		{"on the table", [4]Partition{p(true, 0, 10)}, "first sector 0"},
		{"overlap", [4]Partition{p(true, 100, 50), {}, p(false, 149, 2)}, "partition 3 at 0x1de: sectors 149 to 150 overlap partition 1, which has 100 to 149"},
		{"inside", [4]Partition{p(true, 100, 50), p(false, 120, 2)}, "partition 2"},
		{"two active", [4]Partition{p(true, 100, 50), p(true, 150, 2)}, "2 are active"},
		{"protective", [4]Partition{{Type: TypeProtective, Start: 1, Sectors: 1<<32 - 1}}, ""},
	} {
		err := (&Table{Parts: tt.parts}).Check(200)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// chain makes a disk of 64 sectors with an extended partition from 10 to 50 and the given records in it.
func chain(t *testing.T, records map[int][2]Partition) (*Table, *bytes.Reader) {
	t.Helper()
	disk := make([]byte, 64*512)
	table := &Table{Parts: [4]Partition{{Type: TypeNTFS, Start: 1, Sectors: 9}, {Type: TypeExtended, Start: 10, Sectors: 40}}}
	for at, parts := range records {
		b, err := (&Table{Parts: [4]Partition{parts[0], parts[1]}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		copy(disk[at*512:], b)
	}
	return table, bytes.NewReader(disk)
}

func TestLogical(t *testing.T) {
	part := func(start, sectors uint32) Partition {
		return Partition{Type: TypeNTFS, Start: start, Sectors: sectors}
	}
	link := func(start uint32) Partition { return Partition{Type: TypeExtended, Start: start, Sectors: 5} }
	for _, tt := range []struct {
		name    string
		records map[int][2]Partition
		want    []uint32 // Start
		err     string
	}{
		{"two", map[int][2]Partition{10: {part(1, 4), link(10)}, 20: {part(2, 28)}}, []uint32{11, 22}, ""},
		{"first is empty", map[int][2]Partition{10: {{}, link(10)}, 20: {part(1, 2)}}, []uint32{21}, ""},
		{"to itself", map[int][2]Partition{10: {part(1, 4), link(0)}}, []uint32{11}, "mbr: logical partition 6 at 0x1400: the chain"},
		{"loop", map[int][2]Partition{10: {part(1, 4), link(10)}, 20: {part(1, 4), link(0)}}, []uint32{11, 21}, "comes back"},
		{"no record", map[int][2]Partition{10: {part(1, 4), link(10)}}, []uint32{11}, "mbr: boot record at 0x29fe: magic 0x0000"},
		{"link out", map[int][2]Partition{10: {part(1, 4), link(40)}}, []uint32{11}, "next record at sector 50, want it before 50"},
		{"partition out", map[int][2]Partition{10: {part(1, 40)}}, nil, "sectors 11 to 50, want them in the extended partition's 10 to 49"},
		{"partition wraps", map[int][2]Partition{10: {part(1<<32-1, 1<<32-1)}}, nil, "want them in"},
		{"two links", map[int][2]Partition{10: {link(10), link(20)}}, nil, "two links"},
	} {
		table, disk := chain(t, tt.records)
		list, err := table.Logical(disk, 512)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
		var got []uint32
		for _, p := range list {
			got = append(got, p.Start)
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func writeImage(t *testing.T, size int64, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFdiskReadsOurs(t *testing.T) {
	reftool.Look(t, "sfdisk")
	reftool.Look(t, "fdisk")
	for _, size := range []int64{2 << 20, 64<<20 + 512, 20 << 30} {
		table, err := New(0xcafe0123, size, 512)
		if err != nil {
			t.Fatal(err)
		}
		b, err := table.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		name := writeImage(t, size, b)
		out := reftool.Run(t, "sfdisk", "-d", name)
		sectors := size/(1<<20)*2048 - 2048
		for _, want := range []string{"label: dos", "label-id: 0xcafe0123", fmt.Sprintf("start=        2048, size=%12d, type=7, bootable", sectors)} {
			if !strings.Contains(out, want) {
				t.Errorf("want %q in\n%s", want, out)
			}
		}
		if out := reftool.Run(t, "sfdisk", "-V", name); !strings.Contains(out, "No errors detected") {
			t.Errorf("%s", out)
		}
		if out := reftool.Run(t, "fdisk", "-l", name); !strings.Contains(out, "HPFS/NTFS/exFAT") || strings.Contains(out, "does not") {
			t.Errorf("%s", out)
		}
	}
}

// TestOursReadsSfdisk reads primary and logical partitions that sfdisk made, and writes the table back unchanged.
func TestOursReadsSfdisk(t *testing.T) {
	reftool.Look(t, "sfdisk")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(`label: dos
label-id: 0x12345678
start=2048, size=2048, type=7, bootable
start=4096, size=8192, type=5
start=5120, size=1024, type=7
start=8192, size=1024, type=c
`), 0o666); err != nil {
		t.Fatal(err)
	}
	name := writeImage(t, 8<<20, nil)
	reftool.Run(t, "sh", "-c", `sfdisk -q "$0" <"$1"`, name, script)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sector := make([]byte, 512)
	if _, err := io.ReadFull(f, sector); err != nil {
		t.Fatal(err)
	}
	table, err := Parse(sector)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Check(16384); err != nil {
		t.Error(err)
	}
	list, err := table.Logical(f, 512)
	if err != nil {
		t.Fatal(err)
	}
	p, q := table.Parts[0], table.Parts[1]
	if table.Signature != 0x12345678 || !p.Active || p.Type != 7 || p.Start != 2048 || p.Sectors != 2048 || !q.Extended() ||
		len(list) != 2 || list[0].Start != 5120 || list[0].Sectors != 1024 || list[1].Start != 8192 || list[1].Type != TypeFAT32 {
		t.Errorf("%+v, logical %+v", table.Parts, list)
	}
	if p.First != chs(2048) || p.Last != chs(4095) {
		t.Errorf("CHS %x to %x, want %x to %x", p.First, p.Last, chs(2048), chs(4095))
	}
	if b, err := table.Marshal(); err != nil || !bytes.Equal(b, sector) {
		t.Errorf("%v; written back:\n%x\nwant\n%x", err, b, sector)
	}
	if table.Protective() {
		t.Error("taken for a GPT")
	}
}

func FuzzParse(f *testing.F) {
	table, err := New(0x12345678, 64<<20, 512)
	if err != nil {
		f.Fatal(err)
	}
	b, err := table.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	table.Parts[1] = Partition{Type: TypeExtended, Start: 1, Sectors: 3}
	b, err = table.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(b, b...))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := Parse(b)
		if err != nil {
			return
		}
		table.Check(int64(len(b) / 512))
		table.Protective()
		for _, p := range table.Parts {
			if p.Used() && p.First == (CHS{}) && p.Last == (CHS{}) {
				return // Marshal improves those
			}
		}
		if list, _ := table.Logical(bytes.NewReader(b), 512); len(list) > len(b)/512*4 {
			t.Errorf("%d logical partitions in %d bytes", len(list), len(b))
		}
		out, err := table.Marshal()
		if err != nil || !bytes.Equal(out, b[:Size]) {
			t.Fatalf("%v; got\n%x\nwant\n%x", err, out, b[:Size])
		}
	})
}
