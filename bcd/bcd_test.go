package bcd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"husk/guid"
	"husk/internal/reftool"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const zeros16 = "00000000000000000000000000000000"

// golden are device elements of stores that Windows wrote.
var golden = []struct {
	name, text string
	hex        string
}{
	{"boot", "boot", zeros16 + "05000000 00000000 48000000 00000000" + strings.Repeat("00", 56)},
	{"MBR partition", "partition=mbr:743afecf:41943040",
		zeros16 + "06000000 00000000 48000000 00000000 0000800200000000 0000000000000000 00000000 01000000 cffe3a74 000000000000000000000000" + zeros16},
	{"GPT partition", "partition=gpt:20ac3077-f7cd-4c47-95d5-53fbf8b752b5:85c434af-7860-49b3-85c3-b70316081b7b",
		zeros16 + "06000000 00000000 48000000 00000000 af34c485 6078b349 85c3b703 16081b7b 00000000 00000000 7730ac20 cdf7474c 95d553fb f8b752b5" + zeros16},
	{"locate by element", "locate=custom:22000002", zeros16 + "08000000 00000000 1e000000 00000000 00000000 02000022 00000000 0000"},
	{"VHD that is searched for", `vhd=[locate]\test.vhd`, zeros16 + `08000000 00000000 aa000000 00000000 00000000 02000012 1e000000 0000
		00000000 00000000 8c000000 00000000 06000000 0000000000000000000000000000000000000000
		00000000 00000000 64000000 00000000 05000000 01000000 50000000 05000000
		08000000 00000000 30000000 00000000 01000000 00000000 00000000 5c0074006500730074002e007600680064000000
		5c0074006500730074002e007600680064000000`},
	{"VHD on a partition", `vhd=[mbr:36234da4:1048576]\test.vhd,locate=custom:12345678`,
		zeros16 + `08000000 00000000 c2000000 00000000 00000000 78563412 1e000000 0000
		00000000 00000000 a4000000 00000000 06000000 0000000000000000000000000000000000000000
		00000000 00000000 7c000000 00000000 05000000 01000000 68000000 05000000
		06000000 00000000 48000000 00000000 0000100000000000 0000000000000000 00000000 01000000 a44d2336 000000000000000000000000` + zeros16 + `
		5c0074006500730074002e007600680064000000`},
	{"RAM disk of install media", `ramdisk=[boot]\sources\boot.wim,{7619dcc8-fafe-11d9-b411-000476eba25f}`,
		`c8dc1976fefad911b411000476eba25f 00000000 01000000 a0000000 00000000 03000000 0000000000000000000000000000000000000000
		01000000 78000000 05000000 05000000 00000000 48000000 00000000` + strings.Repeat("00", 56) +
			`5c0073006f00750072006300650073005c0062006f006f0074002e00770069006d000000`},
	{"partition in a VHDX", `partition=[file=[mbr:bcc2c0a9:525336576]\123.vhdx]mbr:9e372d8e:1048576`, zeros16 + `06000000 00000000 b4000000 00000000
		0000100000000000 0000000000000000 06000000 01000000 8e2d379e 000000000000000000000000
		00000000 00000000 7c000000 00000000 05000000 01000000 68000000 05000000
		06000000 00000000 48000000 00000000 0000501f00000000 0000000000000000 00000000 01000000 a9c0c2bc 000000000000000000000000` + zeros16 + `
		5c003100320033002e0076006800640078000000`},
}

func TestDevicesOfRealStores(t *testing.T) {
	for _, tt := range golden {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.hex)
			d, err := ParseDevice(want)
			if err != nil {
				t.Fatal(err)
			}
			if _, raw := d.Where.(Raw); raw {
				t.Errorf("not understood: %v", d)
			}
			if got := d.Marshal(); !bytes.Equal(got, want) {
				t.Errorf("%x, want\n%x", got, want)
			}
			if d.String() != tt.text {
				t.Errorf("%q, want %q", d, tt.text)
			}
			if strings.Contains(tt.text, "[file=") {
				return // what Windows writes of itself has no form to be typed
			}
			typed, err := ParseDeviceText(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := typed.Marshal(); !bytes.Equal(got, want) {
				t.Errorf("typed %q:\n%x, want\n%x", tt.text, got, want)
			}
		})
	}
}

// The path that started from a VHD was 234 bytes long as an element for \wimboot\x64\win7.vhd.
func TestVHDElementSize(t *testing.T) {
	d := VHD(MBRPartition(0x1b2c3d4e, 1<<20), `\wimboot\x64\win7.vhd`, PathElement)
	if n := len(d.Marshal()); n != 234 {
		t.Errorf("%d bytes, want 234", n)
	}
}

func TestUnknownDevicesAreKept(t *testing.T) {
	padded := VHD(Boot{}, `\a.vhd`, PathElement)
	for _, b := range [][]byte{
		unhex(t, zeros16+"04000000 01000000 14000000 07000000 01020304"),
		unhex(t, zeros16+"08000000 00000000 20000000 00000000 02000000 02000012 00000000 00001234"),
		padded.Marshal(),
	} {
		d, err := ParseDevice(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Marshal(); !bytes.Equal(got, b) {
			t.Errorf("%x became %x", b, got)
		}
	}
}

func TestParseDeviceTextRefuses(t *testing.T) {
	for _, s := range []string{"", "boot=x", "partition=C:", "partition=mbr:xyz:1", "partition=mbr:12345678:-1", "partition=gpt:1:2", "vhd=C:\\a.vhd",
		`vhd=[boot]a.vhd`, `vhd=[boot]\a.vhd,x`, `ramdisk=[nowhere]\a.wim`, "locate=custom:12", "disk"} {
		if d, err := ParseDeviceText(s); err == nil {
			t.Errorf("%q became %v", s, d)
		}
	}
}

func newMenu(t testing.TB, efi bool) *Store {
	t.Helper()
	s, err := NewMenu(Menu{Release: Windows10, EFI: efi, Locale: "zh-CN", Timeout: 10})
	if err != nil {
		t.Fatal(err)
	}
	n := byte(0)
	newID := func() guid.GUID { n++; return guid.GUID{0: n, 15: 1} }
	for _, w := range []Windows{
		{Release: Windows7, X86: true, Description: "Windows 7 x86 (差分)", Device: VHD(nil, `\wimboot\x86\win7.vhd`, PathElement), DetectHAL: true},
		{Release: Windows10, EFI: efi, Description: "Windows 10", Device: Device{Where: MBRPartition(0x1b2c3d4e, 1<<20)}},
	} {
		if _, err := s.AddWindows(w, newID); err != nil {
			t.Fatal(err)
		}
	}
	if !efi {
		if _, err := s.AddBootSector("RAM", Device{Where: Boot{}}, `\grldr.mbr`, newID); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestMenu(t *testing.T) {
	for _, efi := range []bool{false, true} {
		s := newMenu(t, efi)
		b, err := s.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if problems := again.Hive().Check(); len(problems) > 0 {
			t.Errorf("hive: %v", problems)
		}
		if list, err := again.Dangling(); err != nil || len(list) > 0 {
			t.Errorf("dangling: %v %v", list, err)
		}
		entries, err := again.Entries()
		if err != nil {
			t.Fatal(err)
		}
		var titles []string
		for _, o := range entries {
			titles = append(titles, o.textOr(DescriptionElement, "?"))
		}
		want := []string{"Windows 7 x86 (差分)", "Windows 10", "RAM"}
		if efi {
			want = want[:2]
		}
		if !reflect.DeepEqual(titles, want) {
			t.Errorf("menu %q, want %q", titles, want)
		}
		if d, err := again.Default(); err != nil || d != entries[0].ID {
			t.Errorf("default %v %v", d, err)
		}
		if got := entries[1].textOr(PathElement, ""); got != `\Windows\system32\winload`+pick(efi, ".efi", ".exe") {
			t.Errorf("path %q", got)
		}
		b2, err := again.Bytes()
		if err != nil || !bytes.Equal(b[4096:], b2[4096:]) { // the base block before counts how often it was written
			t.Errorf("written again it differs: %v", err)
		}
	}
}

func TestDeleteCleansUp(t *testing.T) {
	s := newMenu(t, false)
	first, err := s.Default()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(first); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Dangling(); err != nil || len(list) > 0 {
		t.Errorf("dangling: %v %v", list, err)
	}
	if entries, err := s.Entries(); err != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	if d, err := s.Default(); err != nil || d != (guid.GUID{}) {
		t.Errorf("default %v %v, want none", d, err)
	}
	if err := s.Delete(first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want fs.ErrNotExist", err)
	}
	if err := s.SetDefault(first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want fs.ErrNotExist", err)
	}
}

func TestFormatsAreHeld(t *testing.T) {
	s := newMenu(t, false)
	o, err := s.Object(BootManagerID)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.SetText(TimeoutElement, "30"); err == nil {
		t.Error("a string in an integer element")
	}
	if err := o.SetInteger(TimeoutElement, 30); err != nil {
		t.Fatal(err)
	}
	e, err := o.Element(TimeoutElement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := e.Integer(); n != 30 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if _, err := e.Objects(); err == nil {
		t.Error("an integer as objects")
	}
	if err := o.SetText(DescriptionElement, "a\x00b"); err == nil {
		t.Error("a NUL in a string")
	}
}

func TestNamesOfElements(t *testing.T) {
	seen := map[ElementID]string{}
	for _, typ := range []ObjectType{0, BootManager, OSLoader, Resume, MemoryDiagnostic, DeviceOptions, LegacyLoader, StartupCom} {
		clear(seen)
		for _, n := range namesFor(typ) {
			if other, ok := seen[n.id]; ok {
				t.Errorf("%v: %08x is %s and %s", typ, uint32(n.id), n.name, other)
			}
			seen[n.id] = n.name
			if e, err := ParseElement(n.name, typ); err != nil || e != n.id || ElementName(e, typ) != n.name {
				t.Errorf("%v: %s is %08x, want %08x: %v", typ, n.name, uint32(e), uint32(n.id), err)
			}
		}
	}
	if e, err := ParseElement("custom:250000c2", BootManager); err != nil || e != BootMenuPolicyElement || ElementName(e, BootManager) != "custom:250000c2" {
		t.Errorf("%08x %v", uint32(e), err)
	}
	for _, bad := range []string{"", "custom:", "custom:1", "nosuchname", "250000c2x"} {
		if _, err := ParseElement(bad, OSLoader); err == nil {
			t.Errorf("%q is an element", bad)
		}
	}
}

func TestOthersReadTheStore(t *testing.T) {
	b, err := newMenu(t, false).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "BCD")
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
	xml := reftool.Run(t, "hivexml", name)
	for _, want := range []string{"{9dea862c-5cdd-4e70-acc1-f32b344d4795}", "BCD00000000", "12000004", "(差分)"} {
		if !strings.Contains(xml, want) {
			t.Errorf("hivexml does not show %q", want)
		}
	}
	out := reftool.Run(t, "reglookup", name)
	if !strings.Contains(out, "/Objects/{9dea862c-5cdd-4e70-acc1-f32b344d4795}/Elements/25000004/Element,BINARY") {
		t.Errorf("reglookup does not show the timeout:\n%s", out)
	}
}

func FuzzDevice(f *testing.F) {
	for _, tt := range golden {
		f.Add(unhex(f, tt.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDevice(b)
		if err != nil {
			return
		}
		if got := d.Marshal(); !bytes.Equal(got, b) {
			t.Fatalf("%x became %x", b, got)
		}
		typed, err := ParseDeviceText(d.String())
		if err == nil && typed.String() != d.String() {
			t.Fatalf("%q typed is %q", d, typed)
		}
	})
}

func FuzzStore(f *testing.F) {
	b, err := newMenu(f, false).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		objects, err := s.Objects()
		if err != nil {
			return
		}
		for _, o := range objects {
			elements, err := o.Elements()
			if err != nil {
				continue
			}
			for _, e := range elements {
				e.Device()
				e.Text()
				e.Object()
				e.Objects()
				e.Integer()
				e.Boolean()
				e.Integers()
			}
		}
		s.Dangling()
		s.Entries()
	})
}
