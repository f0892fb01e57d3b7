package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"
)

// codesOf are the codes of what Check finds, each once, in order.
func codesOf(t testing.TB, b []byte) []string {
	t.Helper()
	list, err := Check(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, p := range list {
		codes = append(codes, p.Code)
		if Codes[p.Code] == "" {
			t.Errorf("%v has a code that is not listed", p)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// twoPartitions adds a second partition to both tables of a disk of build.
func twoPartitions(second entry) []byte {
	const sector, sectors = 512, 32
	b := build(sector, nil)
	for _, at := range []int{1, sectors - 1} {
		head := b[at*sector:]
		entries := b[int(le.Uint64(head[0x48:]))*sector:][:512]
		binary.Encode(entries[2*entrySize:], le, second)
		le.PutUint32(head[0x58:], crc32.ChecksumIEEE(entries))
		seal(head)
	}
	return b
}

func TestCheck(t *testing.T) {
	const sector, sectors = 512, 32
	missing := make(map[string]bool)
	for code := range Codes {
		missing[code] = true
	}
	for _, tt := range []struct {
		name string
		disk func() []byte
		want []string // beside alignment, which small disks cannot have
	}{
		{"sound", func() []byte { return build(sector, nil) }, nil},
		{"sectors of 4096 bytes", func() []byte { return build(4096, nil) }, nil},
		{"both headers", func() []byte { b := build(sector, nil); b[sector+20]++; b[(sectors-1)*sector+20]++; return b }, []string{"table"}},
		{"header", func() []byte { b := build(sector, nil); b[sector+20]++; return b }, []string{"primary"}},
		{"entries", func() []byte { b := build(sector, nil); b[2*sector+200]++; return b }, []string{"primary"}},
		{"no first header", func() []byte { b := build(sector, nil); clear(b[sector:][:8]); return b }, []string{"primary"}},
		{"backup header", func() []byte { b := build(sector, nil); b[(sectors-1)*sector+20]++; return b }, []string{"backup"}},
		{"no backup header", func() []byte { b := build(sector, nil); clear(b[(sectors-1)*sector:]); return b }, []string{"backup"}},
		{"backup entries", func() []byte { b := build(sector, nil); b[(sectors-2)*sector+200]++; return b }, []string{"backup"}},
		{"disk that has grown", func() []byte { return append(build(sector, nil), make([]byte, 8*sector)...) }, []string{"backup-place"}},
		{"another backup", func() []byte {
			b := build(sector, nil)
			copy(b[(sectors-2)*sector:], build(sector, func(_ *header, e *entry) { e.GUID[0]++ })[(sectors-2)*sector:])
			return b
		}, []string{"copies"}},
		{"partitions where the table is", func() []byte { return build(sector, func(h *header, _ *entry) { h.First = 2 }) }, []string{"usable"}},
		{"overlap", func() []byte { return twoPartitions(entry{Type: [16]byte{1}, GUID: [16]byte{2}, First: 7, Last: 9}) }, []string{"overlap"}},
		{"inside", func() []byte { return twoPartitions(entry{Type: [16]byte{1}, GUID: [16]byte{2}, First: 4, Last: 5}) }, []string{"overlap"}},
		{"GUID of another", func() []byte { return twoPartitions(entry{Type: [16]byte{1}, GUID: [16]byte{0x99}, First: 8, Last: 9}) }, []string{"guid-twice"}},
	} {
		got := slices.DeleteFunc(codesOf(t, tt.disk()), func(c string) bool {
			delete(missing, c)
			return c == "alignment"
		})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
	}
	for code := range missing {
		t.Errorf("no disk shows %s", code)
	}
	if _, err := Check(bytes.NewReader(make([]byte, 1<<16)), 1<<16); !errors.Is(err, ErrNone) {
		t.Errorf("a disk of zeros: %v, want ErrNone", err)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(build(512, nil))
	f.Add(build(4096, nil))
	f.Add(twoPartitions(entry{Type: [16]byte{1}, GUID: [16]byte{2}, First: 7, Last: 9}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := Check(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		bad := slices.ContainsFunc(list, func(p Problem) bool { return p.Code == "table" })
		if _, err := Read(bytes.NewReader(b), int64(len(b))); (err != nil) != bad {
			t.Errorf("%v, found %v", err, list)
		}
	})
}
