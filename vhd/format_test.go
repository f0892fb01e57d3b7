package vhd

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

func TestDiskSizes(t *testing.T) {
	for v, want := range map[any]int{footer{}: 512, header{}: 1024, locator{}: 24} {
		if got := binary.Size(v); got != want {
			t.Errorf("%T is %d bytes, want %d", v, got, want)
		}
	}
}

// TestFooterChecksum holds the checksums of footers that Windows wrote, computed once from its files.
func TestFooterChecksum(t *testing.T) {
	for size, want := range map[int64]uint32{64 << 20: 0xfffff8de, 3 << 30: 0xfffff77d, 127 << 30: 0xfffff4fc} {
		var m memFile
		w, err := Create(&m, &Options{Size: size})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, at := range []int64{0, m.size - footerSize} {
			var b [4]byte
			m.ReadAt(b[:], at+footerChecksumAt)
			if got := binary.BigEndian.Uint32(b[:]); got != want {
				t.Errorf("%d bytes, footer at %#x: checksum %#08x, want %#08x", size, at, got, want)
			}
		}
	}
}

// TestGolden holds every byte of the structures of an empty disk.
func TestGolden(t *testing.T) {
	var m memFile
	id := [16]byte{0: 0x11, 5: 0x22, 15: 0x33}
	w, err := Create(&m, &Options{Size: 3 << 20, ID: id, Time: time.Date(2009, 10, 22, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// The checksums were computed by another program.
	footer := "636f6e6563746978" + "00000002" + "00010000" + "0000000000000200" + "12725d00" +
		"77696e20" + "000a0000" + "5769326b" + "0000000000300000" + "0000000000300000" + "005a0411" + "00000003" +
		"fffff7af" + "11000000002200000000000000000033" + "00" + strings.Repeat("00", 427)
	header := "6378737061727365" + "ffffffffffffffff" + "0000000000001000" + "00010000" + "00000002" + "00200000" +
		"fffff46b" + strings.Repeat("00", 1024-0x28)
	want := footer + header + strings.Repeat("00", 0x1000-0x600) + strings.Repeat("ff", 512) + footer
	if got := hex.EncodeToString(m.bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTimestamp(t *testing.T) {
	for _, tt := range []struct {
		at   time.Time
		want uint32
		ok   bool
	}{
		{time.Time{}, 0, true},
		{epoch, 0, true},
		{epoch.Add(-time.Second), 0, false},
		{epoch.Add((1<<32 - 1) * time.Second), 1<<32 - 1, true},
		{epoch.Add((1 << 32) * time.Second), 0, false},
	} {
		if got, err := timestamp(tt.at); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%v: %d, %v", tt.at, got, err)
		}
	}
}
