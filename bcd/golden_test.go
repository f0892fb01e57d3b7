package bcd

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"husk/guid"
	"husk/regf"
)

// units is s in UTF-16 with its terminator, as hex.
func units(s string) string {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = le.AppendUint16(b, u)
	}
	return fmt.Sprintf("%x", b)
}

// TestVerifiedDevices: the device elements that Windows' boot manager started systems with, field by field.
func TestVerifiedDevices(t *testing.T) {
	disk, part := guid.GUID{0xd0, 15: 0xdf}, guid.GUID{0xc0, 15: 0xcf}
	gptID, gptDisk := "c00000000000000000000000000000cf", "d00000000000000000000000000000df"
	mbrPart := "06000000 00000000 48000000 00000000" + // partition of 0x48 bytes
		"0000100000000000 0000000000000000" + // its offset
		"00000000 01000000 4e3c2b1a 000000000000000000000000" + // hard disk, MBR, signature
		zeros16
	const path = `\wimboot\x64\win7.vhd`
	for _, tt := range []struct {
		name string
		d    Device
		size int
		hex  string
	}{
		{"MBR partition", Device{Where: MBRPartition(0x1a2b3c4e, 1<<20)}, 88, zeros16 + mbrPart},
		{"GPT partition", Device{Where: GPTPartition(disk, part)}, 88,
			zeros16 + "06000000 00000000 48000000 00000000" + gptID + "00000000 00000000" + gptDisk + zeros16},
		{"file in a VHD", VHD(MBRPartition(0x1a2b3c4e, 1<<20), path, PathElement), 234, zeros16 +
			"08000000 00000000 da000000 00000000 00000000 02000012 1e000000 0000" + // locate by the element of the path
			"00000000 00000000 bc000000 00000000 06000000 0000000000000000000000000000000000000000" + // in a virtual disk
			"00000000 00000000 94000000 00000000 05000000" + // in a file
			"01000000 80000000 05000000" + mbrPart + units(path)},
		{"file", Device{Where: File{Boot{}, `\Workspace\metadeploy\boot.wim`}}, 182, zeros16 +
			"00000000 00000000 a6000000 00000000 05000000 01000000 92000000 05000000" +
			"05000000 00000000 48000000 00000000" + strings.Repeat("00", 56) + units(`\Workspace\metadeploy\boot.wim`)},
		{"recovery environment", Device{
			Options: id("e1a119f8-8d8a-11eb-865d-dd94405e5127"),
			Where: RAMDisk{GPTPartition(id("898ea410-c806-4f62-b51b-1fcc3d6e33e7"), id("358b6e5e-edad-46d0-9ad9-44024f894dbb")),
				`\Recovery\WindowsRE\Winre.wim`},
		}, 200, "f819a1e1 8a8deb11 865ddd94 405e5127 00000000 01000000 b8000000 00000000 03000000 0000000000000000000000000000000000000000" +
			"01000000 90000000 05000000 06000000 00000000 48000000 00000000 5e6e8b35 aded d046 9ad9 44024f894dbb 00000000 00000000" +
			"10a48e89 06c8 624f b51b 1fcc3d6e33e7" + zeros16 + units(`\Recovery\WindowsRE\Winre.wim`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.hex)
			if got := tt.d.Marshal(); !bytes.Equal(got, want) || len(got) != tt.size {
				t.Errorf("%d bytes\n%x, want %d\n%x", len(got), got, tt.size, want)
			}
			if back, err := ParseDevice(want); err != nil || back.String() != tt.d.String() {
				t.Errorf("%v %v, want %v", back, err, tt.d)
			}
		})
	}
}

// TestVerifiedStore: the skeleton of a store, as a hive.
func TestVerifiedStore(t *testing.T) {
	s := newMenu(t, false)
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	h, err := regf.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if h.Minor != 3 {
		t.Errorf("version 1.%d, want 1.3", h.Minor)
	}
	value := func(path, name string) regf.Value {
		t.Helper()
		k, err := h.Root().Lookup(path)
		if err != nil {
			t.Fatal(err)
		}
		v, err := k.Value(name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	manager := `Objects\{9dea862c-5cdd-4e70-acc1-f32b344d4795}\`
	first, err := s.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, name string
		kind       regf.Type
		hex        string
	}{
		{"Description", "KeyName", regf.SZ, units("BCD00000000")},
		{"Description", "System", regf.DWord, "01000000"},
		{"Description", "TreatAsSystem", regf.DWord, "01000000"},
		{manager + "Description", "Type", regf.DWord, "02001010"},
		{manager + `Elements\11000001`, "Element", regf.Binary, zeros16 + "05000000 00000000 48000000 00000000" + strings.Repeat("00", 56)},
		{manager + `Elements\12000004`, "Element", regf.SZ, units("Windows Boot Manager")},
		{manager + `Elements\12000005`, "Element", regf.SZ, units("zh-CN")},
		{manager + `Elements\23000003`, "Element", regf.SZ, units("{" + first.String() + "}")},
		{manager + `Elements\24000010`, "Element", regf.MultiSZ, units("{b2721d73-1db4-4c62-bf78-c548a880142d}") + "0000"},
		{manager + `Elements\25000004`, "Element", regf.Binary, "0a00000000000000"},
		{`Objects\{0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9}\Elements\16000020`, "Element", regf.Binary, "00"},
	} {
		if v := value(tt.path, tt.name); v.Type != tt.kind || !bytes.Equal(v.Data, unhex(t, tt.hex)) {
			t.Errorf("%s: %v %x, want %v %s", tt.path, v.Type, v.Data, tt.kind, tt.hex)
		}
	}
	list, err := h.Root().Lookup(manager + `Elements\24000001`)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := list.Value("Element"); err != nil || v.Type != regf.MultiSZ || len(v.Data) != 236 {
		t.Errorf("the menu of three: %v of %d bytes, want REG_MULTI_SZ of 236", v.Type, len(v.Data))
	}
}

// bcdbootElements are the elements that bcdboot writes, seen in the stores of more than 30 systems. What is when: the release, "bios" or "uefi",
// "x86"; all of them must be true, nothing means always. MENU, LOADER, RESUME and so on stand for ids; policies of the menu differ from
// Windows, see AddWindows.
const bcdbootElements = `
{globalsettings}       14000006 {dbgsettings} {emssettings} {badmemory}
{bootloadersettings}   14000006 {globalsettings} {hypervisorsettings}
{resumeloadersettings} 14000006 {globalsettings}
{hypervisorsettings}   250000f3 0
{hypervisorsettings}   250000f4 1
{hypervisorsettings}   250000f5 115200
{dbgsettings}          15000011 Serial       | -10
{dbgsettings}          15000013 1            | -10
{dbgsettings}          15000014 115200       | -10
{dbgsettings}          15000011 Local        | 10
{emssettings}          16000020 Yes          | 7
{emssettings}          16000020 No           | -7
{bootmgr}              11000001 boot
{bootmgr}              12000002 \EFI\Microsoft\Boot\bootmgfw.efi | uefi
{bootmgr}              12000004 Windows Boot Manager
{bootmgr}              12000005 zh-CN
{bootmgr}              14000006 {globalsettings}
{bootmgr}              1500004b 1            | 8
{bootmgr}              23000003 LOADER
{bootmgr}              23000006 RESUME
{bootmgr}              24000001 LOADER
{bootmgr}              24000010 {memdiag}
{bootmgr}              25000004 30
{memdiag}              11000001 boot
{memdiag}              12000002 \boot\memtest.exe | bios
{memdiag}              12000002 \EFI\Microsoft\Boot\memtest.efi | uefi
{memdiag}              12000004 Windows Memory Diagnostic
{memdiag}              12000005 zh-CN
{memdiag}              14000006 {globalsettings}
{memdiag}              1600000b Yes
LOADER                 11000001 DEVICE
LOADER                 12000002 \Windows\system32\winload.exe | bios
LOADER                 12000002 \Windows\system32\winload.efi | uefi
LOADER                 12000004 中文 Windows
LOADER                 12000005 zh-CN
LOADER                 14000006 {bootloadersettings}
LOADER                 16000060 Yes          | uefi -7
LOADER                 17000077 0x15000075   | -7
LOADER                 21000001 DEVICE
LOADER                 22000002 \Windows
LOADER                 23000003 RESUME
LOADER                 25000020 OptIn
LOADER                 250000c2 Legacy       | -7
RESUME                 11000001 DEVICE
RESUME                 12000002 \Windows\system32\winresume.exe | bios
RESUME                 12000002 \Windows\system32\winresume.efi | uefi
RESUME                 12000004 Windows Resume Application
RESUME                 12000005 zh-CN
RESUME                 14000006 {resumeloadersettings}
RESUME                 16000060 Yes          | uefi -7
RESUME                 17000077 0x15000075   | -7
RESUME                 21000001 DEVICE
RESUME                 22000002 \hiberfil.sys
RESUME                 25000008 Legacy       | -7
RESUME                 26000004 Yes          | 7 x86
RESUME                 26000006 No`

// TestAsBCDBoot compares every element of a new store of each release and firmware.
func TestAsBCDBoot(t *testing.T) {
	ids := []guid.GUID{{1}, {2}}
	named := strings.NewReplacer("LOADER", Alias(ids[0]), "RESUME", Alias(ids[1]), "DEVICE", "partition=mbr:1a2b3c4d:1048576")
	for release, r := range map[string]Release{"7": Windows7, "8": Windows8, "10": Windows10} {
		for _, firmware := range []string{"bios", "uefi"} {
			for _, arch := range []string{"x86", "x64"} {
				is := func(w string) bool {
					not, no := strings.CutPrefix(w, "-")
					return no != (not == release || not == firmware || not == arch)
				}
				want := make(map[string]bool)
				for line := range strings.Lines(bcdbootElements) {
					line, when, _ := strings.Cut(line, "|")
					if f := strings.Fields(line); len(f) > 0 && !slices.ContainsFunc(strings.Fields(when), func(w string) bool { return !is(w) }) {
						want[named.Replace(strings.Join(f, " "))] = true
					}
				}
				got := make(map[string]bool)
				s, err := NewMenu(Menu{Release: r, EFI: firmware == "uefi", Locale: "zh-CN", Timeout: 30})
				if err != nil {
					t.Fatal(err)
				}
				left := slices.Clone(ids)
				newID := func() guid.GUID { g := left[0]; left = left[1:]; return g }
				w := Windows{Release: r, EFI: firmware == "uefi", X86: arch == "x86", Device: Device{Where: MBRPartition(0x1a2b3c4d, 1<<20)}, Description: "中文 Windows"}
				if _, err := s.AddWindows(w, newID); err != nil {
					t.Fatal(err)
				}
				objects, err := s.Objects()
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range objects {
					elements, err := o.Elements()
					if err != nil {
						t.Fatal(err)
					}
					for _, e := range elements {
						got[strings.Join(strings.Fields(fmt.Sprintf("%s %08x %s", Alias(o.ID), uint32(e.ID), strings.Join(e.Show(o.Type), " "))), " ")] = true
					}
				}
				if !maps.Equal(got, want) {
					for k := range want {
						if !got[k] {
							t.Errorf("Windows %s, %s, %s: no %s", release, firmware, arch, k)
						}
					}
					for k := range got {
						if !want[k] {
							t.Errorf("Windows %s, %s, %s: %s is too much", release, firmware, arch, k)
						}
					}
				}
				if len(objects) != 11 {
					t.Errorf("%d objects, want 11", len(objects))
				}
			}
		}
	}
}

// TestEveryElement sets each element that has a name, in the words it is shown with, and finds it again.
func TestEveryElement(t *testing.T) {
	words := map[Format][]string{
		FormatDevice: {`vhd=[locate]\中文\win7.vhd`}, FormatString: {"旗舰版 text"}, FormatObject: {"{memdiag}"}, FormatObjects: {"{bootmgr}", "{00000001-0000-0000-0000-000000000002}"},
		FormatInteger: {"1"}, FormatBoolean: {"Yes"}, FormatIntegers: {"0x1", "0xffffffffffffffff"},
	}
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	n := byte(0)
	for typ := range typeNames {
		n++
		o, err := s.Create(guid.GUID{n}, typ)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range namesFor(typ) {
			if err := o.SetWords(name.id, words[name.id.Format()]...); err != nil {
				t.Errorf("%v: %s: %v", typ, name.name, err)
			}
		}
	}
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if s, err = Parse(b); err != nil {
		t.Fatal(err)
	}
	objects, err := s.Objects()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		elements, err := o.Elements()
		if err != nil {
			t.Fatal(err)
		}
		if len(elements) != len(namesFor(o.Type)) {
			t.Errorf("%v: %d elements, want %d", o.Type, len(elements), len(namesFor(o.Type)))
		}
		for _, e := range elements {
			shown := e.Show(o.Type)
			if strings.HasPrefix(ElementName(e.ID, o.Type), "custom:") {
				t.Errorf("%v: %08x has no name", o.Type, uint32(e.ID))
			}
			if e.ID.Format() != FormatInteger && !slices.Equal(shown, words[e.ID.Format()]) {
				t.Errorf("%v: %s is %q", o.Type, ElementName(e.ID, o.Type), shown)
			}
			if err := o.SetWords(e.ID, shown...); err != nil {
				t.Errorf("%v: %s: what is shown cannot be set: %v", o.Type, ElementName(e.ID, o.Type), err)
			}
		}
	}
}

// TestUnknownIsKept: whatever a store has that we do not know survives a change of something else.
func TestUnknownIsKept(t *testing.T) {
	s := newMenu(t, false)
	root := s.Hive().Root()
	key := func(path string) *regf.Key {
		t.Helper()
		k, err := root.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	sd := regf.AdminFull()
	sd[len(sd)-1] ^= 1
	odd := key(`Objects\{00000000-1111-2222-3333-444444444444}`)
	for _, err := range []error{
		key(`Strange\Key`).SetBinary("", []byte{1, 2, 3}),
		key(`Objects\{00000000-1111-2222-3333-444444444444}\Description`).SetDWord("Type", 0x5fffffff),
		key(`Objects\{00000000-1111-2222-3333-444444444444}\Description`).SetBinary("FirmwareVariable", bytes.Repeat([]byte{7}, 300)),
		key(`Objects\{00000000-1111-2222-3333-444444444444}\Elements\52000001`).Set("Element", regf.SZ, []byte{'x', 0, 0, 0, 0xd8}),
		key(`Objects\{00000000-1111-2222-3333-444444444444}\Elements\2f000fff`).Set("Element", regf.Type(0x7fff0001), []byte("odd")),
		key(`Objects\{00000000-1111-2222-3333-444444444444}\Elements\15000007`).Set("Element", regf.Binary, []byte{0x1e}),
		key(`Objects\{00000000-1111-2222-3333-444444444444}\Elements\250000F3`).Set("Another", regf.Binary, nil),
		odd.SetSecurity(sd),
		odd.SetClass([]byte("c\x00l\x00")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	again := func(s *Store) *Store {
		t.Helper()
		b, err := s.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		next, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	first := again(s)
	before := dump(t, first.Hive().Root())
	manager, err := first.Object(BootManagerID)
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.SetInteger(TimeoutElement, 77); err != nil {
		t.Fatal(err)
	}
	after := dump(t, again(first).Hive().Root())
	for path, v := range before {
		if after[path] != v && !strings.Contains(path, "25000004") {
			t.Errorf("%s: %q became %q", path, v, after[path])
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d keys and values, want %d", len(after), len(before))
	}
	if p := first.Hive().Check(); len(p) > 0 {
		t.Error(p)
	}
}

// dump is all that a hive holds below a key: class, security, values with their types and order.
func dump(t *testing.T, k *regf.Key) map[string]string {
	t.Helper()
	all := make(map[string]string)
	var walk func(k *regf.Key)
	walk = func(k *regf.Key) {
		class, err := k.Class()
		if err != nil {
			t.Fatal(err)
		}
		sd, err := k.Security()
		if err != nil {
			t.Fatal(err)
		}
		all[k.Path()] = fmt.Sprintf("class %q security %x", class, sd)
		values, err := k.Values()
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			all[fmt.Sprintf("%s %d %q", k.Path(), i, v.Name)] = fmt.Sprintf("%d %x", v.Type, v.Data)
		}
		keys, err := k.Subkeys()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			walk(k)
		}
	}
	walk(k)
	return all
}
