package gpt

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/guid"
	"husk/internal/reftool"
)

// windowsTable is a table as Windows Setup makes it.
func windowsTable(t *testing.T, size int64, sector int) *Table {
	t.Helper()
	table, err := New([16]byte{15: 1}, size, sector)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range []struct {
		Partition
		size int64
	}{
		{Partition{Type: TypeESP, Attributes: AttrNoDriveLetter, Name: "EFI system partition"}, 100 << 20},
		{Partition{Type: TypeMSR, Attributes: AttrNoDriveLetter, Name: "Microsoft reserved partition"}, 16 << 20},
		{Partition{Type: TypeBasicData, Name: "系统 😀"}, table.Free() - 400<<20},
		{Partition{Type: TypeRecovery, Attributes: AttrRequired | AttrNoDriveLetter}, 0},
	} {
		p.GUID = [16]byte{0: byte(i + 1), 15: 0xaa}
		if _, err := table.Add(p.Partition, p.size); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

// What is written is read back, from either copy.
func TestWrite(t *testing.T) {
	for _, tt := range []struct {
		size   int64
		sector int
	}{{1 << 30, 512}, {1 << 30, 4096}, {1<<30 + 512*7, 512}} {
		want := windowsTable(t, tt.size, tt.sector)
		disk := make(sparse)
		if err := want.Write(disk, tt.size); err != nil {
			t.Fatal(err)
		}
		for _, damaged := range []bool{false, true} {
			if damaged {
				disk[0][tt.sector] ^= 1
			}
			got, err := Read(disk, tt.size)
			if err != nil {
				t.Fatal(err)
			}
			if (got.Backup != nil) != damaged {
				t.Errorf("damaged %v: %v", damaged, got.Backup)
			}
			got.Backup = nil
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		}
		for _, p := range want.Partitions {
			if unit := uint64(alignment / tt.sector); p.First%unit != 0 || (p.Last+1)%unit != 0 {
				t.Errorf("partition %d: sectors %d to %d are not whole MiB", p.Number, p.First, p.Last)
			}
		}
	}
}

// sparse is a disk of which only the pieces that were written exist.
type sparse map[int64][]byte

func (s sparse) WriteAt(p []byte, off int64) (int, error) {
	s[off] = bytes.Clone(p)
	return len(p), nil
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for at, b := range s {
		if lo, hi := max(at, off), min(at+int64(len(b)), off+int64(len(p))); lo < hi {
			copy(p[lo-off:], b[lo-at:hi-at])
		}
	}
	return len(p), nil
}

// sgdisk and fdisk find nothing wrong with it, and see what we meant.
func TestWriteAsOthersSeeIt(t *testing.T) {
	const size = 1 << 30
	name := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table := windowsTable(t, size, 512)
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := table.Write(f, size); err != nil {
		t.Fatal(err)
	}
	if out := reftool.Run(t, "sgdisk", "-v", name); !strings.Contains(out, "No problems found") {
		t.Error(out)
	}
	if out := reftool.Run(t, "sfdisk", "-V", name); !strings.Contains(out, "No errors detected") {
		t.Error(out)
	}
	dump := reftool.Run(t, "sfdisk", "-d", name)
	for _, p := range table.Partitions {
		want := fmt.Sprintf("start=%12d, size=%12d, type=%s, uuid=%s", p.First, p.Last-p.First+1,
			strings.ToUpper(guid.GUID(p.Type).String()), strings.ToUpper(guid.GUID(p.GUID).String()))
		name := ""
		for _, c := range []byte(p.Name) {
			if c < 0x80 {
				name += string(c)
			} else {
				name += fmt.Sprintf(`\x%x`, c) // as sfdisk prints it
			}
		}
		if !strings.Contains(dump, want) || !strings.Contains(dump, name) {
			t.Errorf("no %q with name %q in\n%s", want, name, dump)
		}
	}
	if want := "label-id: " + strings.ToUpper(guid.GUID(table.DiskGUID).String()); !strings.Contains(dump, want) {
		t.Errorf("no %q in\n%s", want, dump)
	}
	if out := reftool.Run(t, "sgdisk", "-i", "4", name); !strings.Contains(out, "Attribute flags: 8000000000000001") {
		t.Error(out)
	}
}

// The protective partition of a disk above 2 TiB is as long as its field can say.
func TestHugeDisk(t *testing.T) {
	const size = 5 << 40
	table := windowsTable(t, size, 512)
	head, tail, err := table.Marshal(size)
	if err != nil {
		t.Fatal(err)
	}
	if n := le.Uint32(head[0x1be+12:]); n != 0xffffffff {
		t.Errorf("%#x sectors, want 0xffffffff", n)
	}
	got, err := Read(sparse{0: head, size - int64(len(tail)): tail}, size)
	if err != nil || got.Partitions[3].Last != size/512-2048-1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestErrorsOfWrite(t *testing.T) {
	good := Partition{Number: 1, Type: TypeMSR, GUID: [16]byte{1}, First: 2048, Last: 4095}
	for _, tt := range []struct {
		name   string
		change func(t *Table, size *int64)
		want   string
	}{
		{"small disk", func(_ *Table, size *int64) { *size = 1 << 20 }, "want a multiple of 512 and at least 2097152"},
		{"half a sector", func(_ *Table, size *int64) { *size += 256 }, "want a multiple of 512"},
		{"sectors", func(t *Table, _ *int64) { t.SectorSize = 520 }, "want 512 or 4096"},
		{"number", func(t *Table, _ *int64) { t.Partitions[0].Number = 129 }, "want 1 to 128"},
		{"no type", func(t *Table, _ *int64) { t.Partitions[0].Type = [16]byte{} }, "no type"},
		{"no GUID", func(t *Table, _ *int64) { t.Partitions[0].GUID = [16]byte{} }, "no GUID"},
		{"before the usable", func(t *Table, _ *int64) { t.Partitions[0].First = 33 }, "want them among the usable 34 to"},
		{"after the usable", func(t *Table, _ *int64) { t.Partitions[0].Last = 1 << 40 }, "want them among the usable 34 to"},
		{"name", func(t *Table, _ *int64) { t.Partitions[0].Name = strings.Repeat("😀", 19) }, "name of 38 UTF-16 units, want at most 36"},
		{"zero", func(t *Table, _ *int64) { t.Partitions[0].Name = "a\x00b" }, `name "a\x00b"`},
		{"numbers", func(t *Table, _ *int64) { t.Partitions = append(t.Partitions, good) }, "taken twice"},
		{"GUIDs", func(t *Table, _ *int64) { p := good; p.Number = 2; t.Partitions = append(t.Partitions, p) }, "the same GUID"},
		{"overlap", func(t *Table, _ *int64) {
			p := good
			p.Number, p.GUID = 2, [16]byte{2}
			p.First, p.Last = 4095, 5000
			t.Partitions = append(t.Partitions, p)
		}, "overlap partition 1, which has 2048 to 4095"},
	} {
		size := int64(64 << 20)
		table := &Table{SectorSize: 512, Partitions: []Partition{good}}
		tt.change(table, &size)
		if err := table.Write(make(sparse), size); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	table, err := New([16]byte{1}, 64<<20, 512)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{-1, 1 << 40} {
		if p, err := table.Add(good, size); err == nil {
			t.Errorf("%d bytes: %+v", size, p)
		}
	}
	if _, err := New([16]byte{}, 64<<20, 1024); err == nil {
		t.Error("sectors of 1024 bytes")
	}
	if _, err := New([16]byte{}, 1, 512); err == nil {
		t.Error("a disk of one byte")
	}
}

// What Marshal takes, Read gives back, from either copy.
func FuzzMarshal(f *testing.F) {
	f.Add(uint16(1), uint64(2048), uint64(4095), uint64(AttrHidden), "name 系统", true)
	f.Add(uint16(128), uint64(34), uint64(34), uint64(0), "", false)
	f.Fuzz(func(t *testing.T, number uint16, first, last, attributes uint64, name string, backup bool) {
		const size = 64 << 20
		table := &Table{SectorSize: 512, FirstUsable: 34, LastUsable: size/512 - 34, DiskGUID: [16]byte{9}, Partitions: []Partition{
			{Number: int(number), Type: TypeESP, GUID: [16]byte{1}, First: first, Last: last, Attributes: attributes, Name: name},
		}}
		head, tail, err := table.Marshal(size)
		if err != nil {
			return
		}
		if backup {
			head[512] = 0
		}
		got, err := Read(sparse{0: head, size - int64(len(tail)): tail}, size)
		if err != nil {
			t.Fatal(err)
		}
		table.Partitions[0].Name, got.Backup = string([]rune(name)), nil
		if fmt.Sprint(got) != fmt.Sprint(table) {
			t.Errorf("got  %+v\nwant %+v", got, table)
		}
	})
}
