package gpt

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
)

func TestDiskSizes(t *testing.T) {
	for v, want := range map[any]int{header{}: headerSize, entry{}: entrySize} {
		if got := binary.Size(v); got != want {
			t.Errorf("%T is %d bytes, want %d", v, got, want)
		}
	}
}

func onDisk(t *testing.T, s string) (g [16]byte) {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		t.Fatal(s, err)
	}
	return [16]byte(b)
}

// build makes a disk of 32 sectors with one partition: entries of 512 bytes in all.
func build(sector int, change func(h *header, e *entry)) []byte {
	const sectors = 32
	disk := make([]byte, sectors*sector)
	for _, at := range []uint64{1, sectors - 1} {
		h := header{
			Magic: [8]byte([]byte(magic)), Version: version1, Size: headerSize, This: at, Other: sectors - at,
			First: 3, Last: sectors - 3, DiskGUID: [16]byte{0xd1}, Entries: 2, Count: 4, EntrySize: entrySize,
		}
		if at != 1 {
			h.Entries = at - 1
		}
		e := entry{Type: [16]byte{0xee}, GUID: [16]byte{0x99}, First: 3, Last: 7, Attributes: 1 << 63, Name: [36]uint16{'盘', 0xd800, 'x'}}
		if change != nil {
			change(&h, &e)
		}
		entries := disk[h.Entries%sectors*uint64(sector):][:512]
		binary.Encode(entries[entrySize:], le, e)
		h.EntriesCRC = crc32.ChecksumIEEE(entries)
		b := disk[at*uint64(sector):]
		binary.Encode(b, le, h)
		seal(b)
	}
	return disk
}

// seal sets the header's CRC right.
func seal(b []byte) {
	le.PutUint32(b[crcAt:], 0)
	le.PutUint32(b[crcAt:], crc32.ChecksumIEEE(b[:headerSize]))
}

func TestRead(t *testing.T) {
	const last = 31 * 512
	for _, tt := range []struct {
		name   string
		change func(h *header, e *entry)
		bytes  func(b []byte) []byte
		want   string // error
		backup string
	}{
		{name: "intact"},
		{name: "first header damaged", bytes: func(b []byte) []byte { b[512+60]++; return b }, backup: "gpt: header at 0x200: CRC-32"},
		{name: "first header lost", bytes: func(b []byte) []byte { clear(b[512:1024]); return b }, backup: "sector 1 holds no header"},
		{name: "first entries damaged", bytes: func(b []byte) []byte { b[1024]++; return b }, backup: "gpt: entries at 0x400: CRC-32"},
		{name: "backup damaged", bytes: func(b []byte) []byte { b[last]++; return b }},
		{name: "both damaged", bytes: func(b []byte) []byte { b[512+60]++; b[last+60]++; return b }, want: "\ngpt: backup header at 0x3e00: CRC-32"},
		{name: "none", bytes: func(b []byte) []byte { clear(b[512:1024]); clear(b[last:]); return b }, want: ErrNone.Error()},
		{name: "empty", bytes: func(b []byte) []byte { return nil }, want: ErrNone.Error()},
		{name: "cut", bytes: func(b []byte) []byte { return b[:1000] }, want: ErrNone.Error()},
		{name: "cut in the partition", bytes: func(b []byte) []byte { return b[:4096] }, want: "usable sectors 3 to 29, want them in the disk of 8"},
		{name: "version", change: func(h *header, e *entry) { h.Version = 0 }, want: "gpt: header at 0x200: version 0x00000000, want 0x00010000\ngpt: backup"},
		{name: "header size", change: func(h *header, e *entry) { h.Size = 513 }, want: "header size 513, want 92 to 512"},
		{name: "header small", change: func(h *header, e *entry) { h.Size = 91 }, want: "header size 91"},
		{name: "own place", change: func(h *header, e *entry) { h.This++ }, want: "says it is at sector 2, want 1"},
		{name: "entries at 0", change: func(h *header, e *entry) { h.Entries = 0 }, want: "entries at sector 0"},
		{name: "entries far", change: func(h *header, e *entry) { h.Entries = 1 << 62 }, want: "entries at sector 4611686018427387904, want 1 to 31"},
		{name: "entries over the end", change: func(h *header, e *entry) { h.Count = 128 }, want: "gpt: backup header at 0x3e00: entries from 0x3c00, 16384 bytes"},
		{name: "too many entries", change: func(h *header, e *entry) { h.Count = 1 << 31 }, want: "2147483648 entries, want at most 1024"},
		{name: "entry size", change: func(h *header, e *entry) { h.EntrySize = 129 }, want: "entry size 129"},
		{name: "entry size 0", change: func(h *header, e *entry) { h.EntrySize = 0 }, want: "entry size 0"},
		{name: "no usable sectors", change: func(h *header, e *entry) { h.First = 30 }, want: "usable sectors 30 to 29"},
		{name: "partition backwards", change: func(h *header, e *entry) { e.Last = 2 }, want: "gpt: entry 2 at 0x480: sectors 3 to 2"},
		{name: "partition out", change: func(h *header, e *entry) { e.Last = 30 }, want: "sectors 3 to 30, want them among the usable 3 to 29"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := build(512, tt.change)
			if tt.bytes != nil {
				b = tt.bytes(b)
			}
			table, err := Read(bytes.NewReader(b), int64(len(b)))
			if tt.want != "" {
				var fe *FormatError
				if err == nil || !strings.Contains(err.Error(), tt.want) || err != ErrNone && !errors.As(err, &fe) {
					t.Fatalf("%v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (table.Backup == nil) != (tt.backup == "") || table.Backup != nil && !strings.Contains(table.Backup.Error(), tt.backup) {
				t.Errorf("backup: %v, want %q", table.Backup, tt.backup)
			}
			table.Backup = nil
			want := Table{DiskGUID: [16]byte{0xd1}, SectorSize: 512, FirstUsable: 3, LastUsable: 29, Partitions: []Partition{
				{Number: 2, Type: [16]byte{0xee}, GUID: [16]byte{0x99}, First: 3, Last: 7, Attributes: 1 << 63, Name: "盘\ufffdx"}}}
			if fmt.Sprintf("%+v", *table) != fmt.Sprintf("%+v", want) {
				t.Errorf("got %+v, want %+v", *table, want)
			}
		})
	}
}

func TestSectors4096(t *testing.T) {
	b := build(4096, nil)
	for range 2 { // the second time only the backup is left
		table, err := Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if table.SectorSize != 4096 || len(table.Partitions) != 1 || (table.Backup != nil) != (b[4096] == 0) {
			t.Errorf("%+v", table)
		}
		clear(b[4096:8192])
	}
}

const (
	diskGUID = "c12a7328-0001-11d2-ba4b-00a0c93ec93b"
	partGUID = "01234567-89ab-cdef-1032-547698badcfe"
	diskHex  = "28732ac10100d211ba4b00a0c93ec93b"
	partHex  = "67452301ab89efcd1032547698badcfe"
	espHex   = "28732ac11ff8d211ba4b00a0c93ec93b"
	basicHex = "a2a0d0ebe5b9334487c068b6b72699c7"
)

// TestSgdisk reads a table that sgdisk made, its backup too.
func TestSgdisk(t *testing.T) {
	reftool.Look(t, "sgdisk")
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	const size = 16 << 20
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "sgdisk", "-U", diskGUID, "-n", "1:2048:+1M", "-t", "1:ef00", "-c", "1:EFI 系统",
		"-n", "3:8192:16383", "-t", "3:0700", "-u", "3:"+partGUID, "-A", "3:set:63", name)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"first", "backup"} {
		table, err := Read(bytes.NewReader(b), size)
		if err != nil {
			t.Fatal(err)
		}
		if table.DiskGUID != onDisk(t, diskHex) || table.SectorSize != 512 || table.FirstUsable != 34 || table.LastUsable != size/512-34 ||
			len(table.Partitions) != 2 || (table.Backup != nil) != (place == "backup") {
			t.Fatalf("%s: %+v", place, table)
		}
		p, q := table.Partitions[0], table.Partitions[1]
		if p.Number != 1 || p.Type != onDisk(t, espHex) || p.First != 2048 || p.Last != 4095 || p.Name != "EFI 系统" {
			t.Errorf("%s: %+v", place, p)
		}
		if q.Number != 3 || q.Type != onDisk(t, basicHex) || q.GUID != onDisk(t, partHex) || q.First != 8192 || q.Last != 16383 || q.Attributes != 1<<63 {
			t.Errorf("%s: %+v", place, q)
		}
		clear(b[:34*512])
	}
}

// TestFdisk4096 reads a table of 4096-byte sectors, which sgdisk makes on real disks only.
func TestFdisk4096(t *testing.T) {
	reftool.Look(t, "fdisk")
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	const size = 16 << 20
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "sh", "-c", `printf 'g\nx\ni\n`+diskGUID+`\nr\nn\n1\n256\n511\nw\n' | fdisk -b 4096 "$0"`, name)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := Read(f, size)
	if err != nil {
		t.Fatal(err)
	}
	if table.SectorSize != 4096 || table.Backup != nil || table.DiskGUID != onDisk(t, diskHex) || len(table.Partitions) != 1 ||
		table.Partitions[0].First != 256 || table.Partitions[0].Last != 511 {
		t.Errorf("%+v", table)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(build(512, nil))
	f.Add(build(512, func(h *header, e *entry) { h.Count, h.EntrySize = 2, 256 }))
	damaged := build(512, nil)
	clear(damaged[512:1024])
	f.Add(damaged)
	f.Fuzz(func(t *testing.T, in []byte) {
		b := bytes.Clone(in)
		// Few mutations keep the checksums: set them right so that the fields behind them are tested too.
		if len(b)%2 == 0 && len(b) >= 2048 {
			for _, at := range []int{512, len(b)/512*512 - 512} {
				h := b[at : at+512]
				start, n := int64(le.Uint64(h[0x48:])), int64(le.Uint32(h[0x50:]))*int64(le.Uint32(h[0x54:]))
				if start > 0 && start < int64(len(b)/512) && n >= 0 && n <= int64(len(b))-start*512 {
					le.PutUint32(h[0x58:], crc32.ChecksumIEEE(b[start*512:start*512+n]))
				}
				seal(h)
			}
		}
		table, err := Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		sectors := uint64(len(b) / table.SectorSize)
		if len(table.Partitions) > maxEntries {
			t.Errorf("%d partitions", len(table.Partitions))
		}
		for _, p := range table.Partitions {
			if p.First > p.Last || p.Last >= sectors || p.Number < 1 || p.Type == [16]byte{} {
				t.Errorf("%+v", p)
			}
		}
	})
}
