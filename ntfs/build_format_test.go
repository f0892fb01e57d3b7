package ntfs

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"testing"

	"husk/winfile"
)

func TestDiskSizes(t *testing.T) {
	if got := binary.Size(bootSector{}); got != bootSectorSize {
		t.Errorf("boot sector is %d bytes, want %d", got, bootSectorSize)
	}
}

// The bytes are of a volume that Windows 10 wrote.
func TestRunsOfWindows(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		runs []run
	}{
		{"11020000", []run{{0, 2}}},
		{"2140550c00", []run{{0xc55, 64}}},
		{"02ff2400", []run{{hole, 9471}}},
		{"2101540c2101d1f300", []run{{0xc54, 1}, {0x25, 1}}},
		{"011900", []run{{hole, 25}}},
		{"00", nil},
	} {
		b, err := hex.DecodeString(tt.hex)
		if err != nil {
			t.Fatal(err)
		}
		var want int64
		for _, r := range tt.runs {
			want += r.clusters
		}
		got, err := decodeRuns(nil, b, want, 9471)
		if err != nil || !slices.Equal(got, tt.runs) {
			t.Errorf("%s: %v, %v, want %v", tt.hex, got, err, tt.runs)
		}
		if enc := appendRuns(nil, tt.runs...); !bytes.HasPrefix(b, enc) {
			t.Errorf("%v: %x, want %s", tt.runs, enc, tt.hex)
		}
	}
	for _, bad := range []string{"", "11", "1102", "110200", "10020000", "01", "0180", "2101540c11010000", "2101ff7f00", "1101ff00", "910100000000000000000000"} {
		b, _ := hex.DecodeString(bad)
		if got, err := decodeRuns(nil, b, 1, 9471); err == nil {
			t.Errorf("%q accepted as %v", bad, got)
		}
	}
}

func FuzzRuns(f *testing.F) {
	for _, s := range []string{"11020000", "2101540c2101d1f300", "02ff2400", "010111010500", "88ffffffffffffff7fffffffffffffff7f00"} {
		b, _ := hex.DecodeString(s)
		f.Add(b, int64(25))
	}
	f.Fuzz(func(t *testing.T, b []byte, limit int64) {
		limit &= math.MaxInt64
		for _, want := range []int64{0, 1, 2, 26, 9471, math.MaxInt64} {
			runs, err := decodeRuns(nil, b, want, limit)
			if err != nil {
				continue
			}
			again, err := decodeRuns(nil, appendRuns(nil, runs...), want, limit)
			if err != nil || !slices.Equal(again, runs) {
				t.Fatalf("%v came back as %v, %v", runs, again, err)
			}
		}
	})
}

func TestFixups(t *testing.T) {
	b := make([]byte, 4096)
	for i := range b {
		b[i] = byte(i * 7)
	}
	copy(b, "INDX")
	le.PutUint16(b[4:], indexBlockUSA)
	le.PutUint16(b[6:], 9)
	clear(b[indexBlockUSA : indexBlockUSA+18])
	want := bytes.Clone(b)
	protect(b, 5)
	for i := 510; i < 4096; i += 512 {
		if le.Uint16(b[i:]) != 5 {
			t.Errorf("no fixup at %#x", i)
		}
	}
	torn := bytes.Clone(b)
	torn[1022]++
	if err := unprotect(torn, "INDX"); err == nil {
		t.Error("torn block accepted")
	}
	if err := unprotect(bytes.Clone(b), "FILE"); err == nil {
		t.Error("wrong magic accepted")
	}
	if err := unprotect(b, "INDX"); err != nil {
		t.Fatal(err)
	}
	copy(b[indexBlockUSA:], want[indexBlockUSA:indexBlockUSA+18])
	if !bytes.Equal(b, want) {
		t.Error("block came back differently")
	}
}

func FuzzFixups(f *testing.F) {
	b := make([]byte, 1024)
	copy(b, "FILE\x30\x00\x03\x00")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		raw := bytes.Clone(b)
		if unprotect(b, "FILE") != nil {
			return
		}
		off := int(le.Uint16(b[4:]))
		protect(b, le.Uint16(raw[off:]))
		if !bytes.Equal(b, raw) {
			t.Fatal("came back differently")
		}
	})
}

// The descriptor and its hash are entry 0x100 of a volume that Windows 10 wrote.
func TestSecurityHash(t *testing.T) {
	if got := securityHash(systemDescriptor(accessRead)); got != 0x32fec6cb {
		t.Errorf("hash %#x, want 0x32fec6cb", got)
	}
	if got := securityHash(systemDescriptor(accessWrite)); got != 0x3414c8f7 {
		t.Errorf("hash %#x, want 0x3414c8f7", got)
	}
}

func TestUpcaseCRC(t *testing.T) {
	if got := upcaseCRC(appendUint16s(nil, winfile.UpCase()[:])); got != 0xdadc7e776b1b690c {
		t.Errorf("CRC %#x, want 0xdadc7e776b1b690c", got)
	}
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		size, cluster int
		code          int8
	}{{1024, 512, 2}, {4096, 512, 8}, {1024, 1024, 1}, {1024, 4096, -10}, {4096, 4096, 1}, {4096, 8192, -12}, {4096, 65536, -12}} {
		if got := encodeUnit(tt.size, tt.cluster); got != tt.code {
			t.Errorf("%d bytes, cluster %d: %d, want %d", tt.size, tt.cluster, got, tt.code)
		}
		if got, ok := decodeUnit(tt.code, tt.cluster); !ok || got != tt.size {
			t.Errorf("code %d, cluster %d: %d, want %d", tt.code, tt.cluster, got, tt.size)
		}
	}
	for code := math.MinInt8; code <= math.MaxInt8; code++ {
		if n, ok := decodeUnit(int8(code), 2<<20); ok && (n < 512 || n > 65536) {
			t.Errorf("code %d gives %d bytes", code, n)
		}
	}
}

func TestLegal83(t *testing.T) {
	for name, want := range map[string]bool{
		"A": true, "AUTOEXEC.BAT": true, "PROGRA~1": true, "notepad.exe": true, "12345678.123": true,
		"": false, ".": false, ".x": false, "x.": false, "123456789": false, "a.1234": false, "a.b.c": false, "a b": false,
		"a+b": false, "新建文~1.TXT": true, "..": false, "a:b": false, "a.b.": false, "a\x01": false, "一二三四五六七八九": false, "😀😀😀😀": true,
	} {
		if got := legal83(name); got != want {
			t.Errorf("%q is %t, want %t", name, got, want)
		}
	}
}
