package wof

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"husk/guid"
	"husk/winfile"
)

var (
	wimGUID  = guid.GUID(unhex("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"))
	wim2GUID = guid.GUID(unhex("b0b1b2b3b4b5b6b7b8b9babbbcbdbebf"))
	diskGUID = guid.GUID(unhex("d0d1d2d3d4d5d6d7d8d9dadbdcdddedf"))
	partGUID = guid.GUID(unhex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"))
)

const wimPath = `\wimboot\wimboot.wim`

// path of 20 characters and a terminator: location of 104 + 42 = 0x92 bytes.
const goldenPath = `5c00 7700 6900 6d00 6200 6f00 6f00 7400 5c00 7700 6900 6d00 6200 6f00 6f00 7400 2e00 7700 6900 6d00 0000`

// The bytes that Microsoft's boot manager took, see the package comment.
var (
	goldenGPT = unhex(`
		576f4366 01000000 28000000 01000000 0100000000000000
		0000000000000000 40000000 92000000 00000000 01000000 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf
		00000000 00000000 92000000 00000000 05000000 01000000 7e000000 05000000
		06000000 00000000 48000000 00000000
		c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 00000000 00000000 d0d1d2d3d4d5d6d7d8d9dadbdcdddedf
		00000000000000000000000000000000` + goldenPath)
	goldenMBR = unhex(`
		576f4366 01000000 28000000 01000000 0100000000000000
		0000000000000000 40000000 92000000 00000000 01000000 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf
		00000000 00000000 92000000 00000000 05000000 01000000 7e000000 05000000
		06000000 00000000 48000000 00000000
		0000100000000000 0000000000000000 00000000 01000000 78563412 000000000000000000000000
		00000000000000000000000000000000` + goldenPath)
	goldenTwo = unhex(`
		576f4366 01000000 28000000 02000000 0200000000000000
		0000000000000000 68000000 92000000 00000000 01000000 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf
		0100000000000000 fa000000 6e000000 01000000 03000000 b0b1b2b3b4b5b6b7b8b9babbbcbdbebf
		00000000 00000000 92000000 00000000 05000000 01000000 7e000000 05000000
		06000000 00000000 48000000 00000000
		c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 00000000 00000000 d0d1d2d3d4d5d6d7d8d9dadbdcdddedf
		00000000000000000000000000000000` + goldenPath + `
		00000000 00000000 6e000000 00000000 05000000 01000000 5a000000 05000000
		06000000 00000000 48000000 00000000
		0000100000000000 0000000000000000 00000000 01000000 78563412 000000000000000000000000
		00000000000000000000000000000000 5c00 2d4e 0000`)
	goldenNone = unhex(`576f4366 01000000 28000000 00000000 0700000000000000`)
)

func gptLocation() Location { return NewGPTLocation(diskGUID, partGUID, wimPath) }
func mbrLocation() Location { return NewMBRLocation(0x12345678, 1<<20, wimPath) }

func add(t *testing.T, o *Overlay, typ WIMType, index uint32, g guid.GUID, l Location, want uint64) {
	t.Helper()
	if id, err := o.Add(typ, index, g, l); id != want || err != nil {
		t.Fatalf("id %d, %v, want %d", id, err, want)
	}
}

func TestOverlayGolden(t *testing.T) {
	var gpt, mbr, two Overlay
	add(t, &gpt, WIMOther, 1, wimGUID, gptLocation(), 0)
	add(t, &mbr, WIMOther, 1, wimGUID, mbrLocation(), 0)
	add(t, &two, WIMOther, 1, wimGUID, gptLocation(), 0)
	add(t, &two, WIMOS, 3, wim2GUID, NewMBRLocation(0x12345678, 1<<20, `\中`), 1)
	for _, tt := range []struct {
		name string
		o    *Overlay
		want []byte
	}{{"GPT", &gpt, goldenGPT}, {"MBR", &mbr, goldenMBR}, {"two", &two, goldenTwo}, {"none", &Overlay{next: 7}, goldenNone}} {
		got, err := tt.o.Marshal()
		if err != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %v\n%x\nwant\n%x", tt.name, err, got, tt.want)
		}
		back, err := ParseOverlay(tt.want)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if !slices.Equal(back.Entries(), tt.o.Entries()) || back.NextID() != tt.o.NextID() {
			t.Errorf("%s: %+v, next %d", tt.name, back.Entries(), back.NextID())
		}
	}
}

func TestLocation(t *testing.T) {
	if s, off := mbrLocation().MBR(); s != 0x12345678 || off != 1<<20 {
		t.Errorf("%#x, %d", s, off)
	}
	if d, p := gptLocation().GPT(); d != diskGUID || p != partGUID {
		t.Errorf("%v, %v", d, p)
	}
	for l, want := range map[Location]string{
		mbrLocation(): `\wimboot\wimboot.wim on MBR disk 12345678, partition at byte 1048576`,
		gptLocation(): `\wimboot\wimboot.wim on GPT disk d3d2d1d0-d5d4-d7d6-d8d9-dadbdcdddedf, partition c3c2c1c0-c5c4-c7c6-c8c9-cacbcccdcecf`,
	} {
		if l.String() != want {
			t.Errorf("%v, want %s", l, want)
		}
	}
}

func TestOverlayEdits(t *testing.T) {
	var o Overlay
	gpt, mbr := gptLocation(), mbrLocation()
	add(t, &o, WIMOther, 1, wimGUID, gpt, 0)
	add(t, &o, WIMOther, 1, wimGUID, mbr, 1)
	add(t, &o, WIMOther, 1, wim2GUID, gpt, 2) // another WIM came to the same place
	upper := gpt
	upper.Path = strings.ToUpper(upper.Path)
	add(t, &o, WIMOS, 5, wimGUID, upper, 0)
	add(t, &o, WIMOther, 1, wimGUID, mbr, 1)
	if err := o.Remove(2); err != nil {
		t.Fatal(err)
	}
	add(t, &o, WIMOther, 1, wim2GUID, gpt, 3) // 2 is not used again
	if err := o.Remove(2); !errors.Is(err, ErrNoEntry) {
		t.Errorf("removed twice: %v", err)
	}
	moved := NewMBRLocation(0xcafef00d, 1<<30, `\store\longer name\base.wim`)
	if err := o.Repoint(0, wim2GUID, moved); err != nil {
		t.Fatal(err)
	}
	if err := o.Repoint(9, wimGUID, moved); !errors.Is(err, ErrNoEntry) {
		t.Errorf("unknown: %v", err)
	}
	b, err := o.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseOverlay(b)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{0, WIMOther, 1, wim2GUID, moved},
		{1, WIMOther, 1, wimGUID, mbr},
		{3, WIMOther, 1, wim2GUID, gpt},
	}
	if got := back.Entries(); !slices.Equal(got, want) || back.NextID() != 4 {
		t.Errorf("%+v, next %d", got, back.NextID())
	}
	if e, ok := back.Entry(3); !ok || e != want[2] {
		t.Errorf("%+v, %t", e, ok)
	}
	if _, ok := back.Entry(2); ok {
		t.Error("found the removed one")
	}
	full := Overlay{next: 1<<64 - 1}
	if _, err := full.Add(WIMOther, 1, wimGUID, gpt); err == nil {
		t.Error("added without an id")
	}
}

func TestBadLocations(t *testing.T) {
	var o Overlay
	for path, want := range map[string]string{
		``:                                 `wof: path "", want one that starts with \`,
		`\`:                                `wof: path "\\", want one that starts with \`,
		`C:\x.wim`:                         `wof: path "C:\\x.wim", want one that starts with \`,
		`\a/b`:                             `wof: path "\\a/b", want neither slash nor NUL`,
		"\\a\x00":                          `wof: path "\\a\x00", want neither slash nor NUL`,
		"\\a\xff":                          `wof: path "\\a\xff" is not UTF-8`,
		`\` + strings.Repeat("a", maxPath): `wof: path of 32768 characters, want less than 32767`,
	} {
		if _, err := o.Add(WIMOther, 1, wimGUID, NewMBRLocation(1, 1, path)); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if err := o.Repoint(0, wimGUID, NewMBRLocation(1, 1, path)); err == nil || err.Error() != want {
			t.Errorf("repoint: %v, want %s", err, want)
		}
	}
	if _, err := o.Add(WIMOther, 1, wimGUID, Location{Table: 2, Path: `\a`}); err == nil {
		t.Error("table type 2 accepted")
	}
}

func TestOverlayUnknownBytesSurvive(t *testing.T) {
	b := slices.Concat(goldenTwo, []byte("tail")) // after the last location
	b = slices.Insert(b, 0xfa, 9, 9, 9, 9, 9, 9)  // after the first
	b = slices.Insert(b, 0x68, 8, 8)              // before it
	b[24+8] += 2                                  // location offsets
	le.PutUint32(b[24+40+8:], le.Uint32(b[24+40+8:])+8)
	b[24+0x10], b[24+0x14] = 0x77, 0x66          // WIM type and index
	copy(b[0x68+2+0x92+6+0x38:], "paddings")     // second half of an MBR partition id
	copy(b[0x68+2+0x92+6+0x4c:], "twelve bytes") // and of its disk id
	o, err := ParseOverlay(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := o.Marshal(); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%v\n%x\nwant\n%x", err, got, b)
	}
	add(t, o, WIMOther, 1, wim2GUID, gptLocation(), 2)
	got, err := o.Marshal()
	if err != nil || !bytes.HasSuffix(got, []byte("tail")) || !bytes.Contains(got, []byte("paddings")) {
		t.Errorf("after Add: %v\n%x", err, got)
	}
	if o, err = ParseOverlay(got); err != nil || len(o.Entries()) != 3 {
		t.Errorf("after Add: %v", err)
	}
}

func TestParseOverlayErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "header at 0x0: file of 0 bytes, want 24 to 1048576"},
		{"cut header", goldenGPT[:23], "header at 0x0: file of 23 bytes, want 24 to 1048576"},
		{"too large", make([]byte, MaxOverlay+1), "header at 0x0: file of 1048577 bytes, want 24 to 1048576"},
		{"magic", patch(goldenGPT, 0, 'w'), "header at 0x0: magic 0x66436f77, want 0x66436f57"},
		{"version", patch(goldenGPT, 4, 2), "header at 0x4: version 0x2, want 0x1"},
		{"entry size", patch(goldenGPT, 8, 0x30), "header at 0x8: entry size 0x30, want 0x28"},
		{"count", patch(goldenGPT, 12, 0xff, 0xff, 0xff, 0xff), "header at 0xc: 4294967295 entries, want at most 4 in 210 bytes"},
		{"id not below next", patch(goldenGPT, 0x18, 1), "entry 0 at 0x18: data source id 1, want one below 1 that no other entry has"},
		{"id twice", patch(goldenTwo, 0x40, 0), "entry 1 at 0x40: data source id 0, want one below 2 that no other entry has"},
		{"odd offset", patch(goldenGPT, 0x20, 0x41), "entry 0 at 0x20: location offset 0x41, want an even one from 0x40 to 0xd2"},
		{"offset in entries", patch(goldenGPT, 0x20, 0x3e), "entry 0 at 0x20: location offset 0x3e, want an even one from 0x40 to 0xd2"},
		{"offset outside", patch(goldenGPT, 0x20, 0xfe, 0xff, 0xff, 0xff), "entry 0 at 0x20: location offset 0xfffffffe, want an even one from 0x40 to 0xd2"},
		{"locations overlap", patch(goldenTwo, 0x48, 0xf8), "entry 1 at 0x48: location offset 0xf8, want an even one from 0xfa to 0x168"},
		{"length", patch(goldenGPT, 0x24, 0x94), "entry 0 at 0x24: location length 148, want an even one from 110 to 146"},
		{"odd length", patch(goldenGPT, 0x24, 0x91), "entry 0 at 0x24: location length 145, want an even one from 110 to 146"},
		{"short", patch(goldenGPT, 0x24, 0x68), "entry 0 at 0x24: location length 104, want an even one from 110 to 146"},
		{"cut", goldenGPT[:len(goldenGPT)-2], "entry 0 at 0x24: location length 146, want an even one from 110 to 144"},
		{"own length", patch(goldenGPT, 0x48, 0x90), "location 0 at 0x48: length 0x90, want 0x92"},
		{"file length", patch(goldenGPT, 0x58, 0x80), "location 0 at 0x58: file length 0x80, want 0x7e"},
		{"device type", patch(goldenGPT, 0x60, 8), "location 0 at 0x60: partition device type 0x8, want 0x6"},
		{"unknown field", patch(goldenGPT, 0x40, 1), "location 0 at 0x40: field 0x1, want 0x0"},
		{"last zeros", patch(goldenGPT, 0xa7, 1), "location 0 at 0xa4: field 0x1000000, want 0x0"},
		{"table type", patch(goldenGPT, 0x84, 2), "location 0 at 0x84: partition table type 2, want 0 (GPT) or 1 (MBR)"},
		{"path not absolute", patch(goldenGPT, 0xa8, 'c'), `location 0 at 0xa8: path "cwimboot\\wimboot.wim", want one that starts with \`},
		{"NUL in path", patch(goldenGPT, 0xaa, 0), `location 0 at 0xa8: path "\\\x00imboot\\wimboot.wim", want neither slash nor NUL`},
		{"no NUL", patch(goldenGPT, 0xd0, 'x'), "location 0 at 0xd0: path without NUL at its end"},
	} {
		_, err := ParseOverlay(tt.b)
		if want := "wof: WimOverlay.dat " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", tt.name, err, want)
		}
		if f := new(FormatError); !errors.As(err, &f) {
			t.Errorf("%s: %T, want a FormatError", tt.name, err)
		}
	}
	for cut := range goldenTwo { // no prefix is a file
		if _, err := ParseOverlay(goldenTwo[:cut]); err == nil {
			t.Errorf("cut at %#x accepted", cut)
		}
	}
}

func TestOverlayTooLarge(t *testing.T) {
	var o Overlay
	for i := range 20 {
		add(t, &o, WIMOther, 1, wimGUID, NewMBRLocation(1, 1, fmt.Sprintf(`\%d%s`, i, strings.Repeat("x", 32000))), uint64(i))
	}
	if _, err := o.Marshal(); err == nil {
		t.Error("more than MaxOverlay bytes written")
	}
}

func FuzzParseOverlay(f *testing.F) {
	for _, b := range [][]byte{goldenGPT, goldenMBR, goldenTwo, goldenNone} {
		f.Add(b)
	}
	f.Add(slices.Concat(goldenMBR, []byte("tail")))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOverlay(b)
		if err != nil {
			if f := new(FormatError); !errors.As(err, &f) {
				t.Fatalf("%T, want a FormatError", err)
			}
			return
		}
		if got, err := o.Marshal(); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%v\n%x\nagain\n%x", err, b, got)
		}
		for _, e := range o.Entries() {
			if !winfile.ValidName(e.Location.Path) {
				t.Errorf("path %q", e.Location.Path)
			}
			if e.Location.String() == "" {
				t.Error("location without text")
			}
			if err := o.Repoint(e.DataSourceID, e.GUID, e.Location); err != nil {
				t.Error(err)
			}
		}
		if _, err := o.Add(WIMOther, 1, wimGUID, gptLocation()); err != nil && o.NextID() != 1<<64-1 {
			t.Error(err)
		}
		got, err := o.Marshal()
		if err != nil {
			return // grown over the limit
		}
		if _, err := ParseOverlay(got); err != nil {
			t.Errorf("after Add: %v", err)
		}
	})
}
