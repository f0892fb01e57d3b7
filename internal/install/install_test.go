package install

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/bcd"
	"husk/fat"
	"husk/guid"
	"husk/internal/disk"
	"husk/internal/reftool"
	"husk/internal/sample"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/ntfs"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// quiet is a screen that keeps to itself.
func quiet(t *testing.T) *ui.UI {
	t.Helper()
	return ui.New(strings.NewReader(""), io.Discard, io.Discard, "en")
}

// biosStub is a bootmgr that tells that it runs, and ends the machine.
func biosStub(t *testing.T) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "bootmgr")
	code := "bits 16\nmov dx, 3F8h\nmov si, text\nnext: cs lodsb\nout dx, al\ntest al, al\njnz next\nmov al, 31h\nout 0F4h, al\ntext: db 13, 10, '******** bootmgr of the image', 0\n"
	if err := os.WriteFile(name+".asm", []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "nasm", "-f", "bin", "-o", name, name+".asm")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// efiStub is a boot manager that tells which partition it is on.
func efiStub(t *testing.T) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "app.efi")
	reftool.Run(t, "nasm", "-f", "bin", "-o", name, "../../fat/testdata/app.asm")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// images makes a WIM of small systems, with or without a driver for pointer files, whose boot managers are stubs.
func images(t *testing.T, driver bool, archs ...string) string {
	t.Helper()
	return imagesWith(t, driver, func(*winfile.Tree, string) {}, archs...)
}

// imagesWith is images of systems that were changed first.
func imagesWith(t *testing.T, driver bool, change func(tree *winfile.Tree, arch string), archs ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "store.wim")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := wim.Create(f, &wim.WriterOptions{ChunkSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range archs {
		tree, err := sample.Tree(sample.Options{Arch: arch, Programs: 10})
		if err != nil {
			t.Fatal(err)
		}
		info := tree.Root.Info
		for path, data := range map[string][]byte{"PCAT/bootmgr": biosStub(t), "PCAT/bootvhd.dll": []byte("vhd"), "EFI/bootmgfw.efi": efiStub(t),
			"EFI/zh-CN/bootmgfw.efi.mui": []byte("text"), "Resources/bootres.dll": []byte("resources")} {
			err := place(tree, "Windows/Boot/"+path, &winfile.Info{Attributes: winfile.AttrArchive, Created: info.Created, Written: info.Written,
				Accessed: info.Accessed, Links: 1, Data: winfile.NewBlob(data)})
			if err != nil {
				t.Fatal(err)
			}
		}
		if driver {
			addFilter(t, tree)
		}
		change(tree, arch)
		if err := w.AddImage(context.Background(), tree, wim.ImageInfo{Name: arch}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// addFilter registers the driver for pointer files in a system, as its user would have done.
func addFilter(t *testing.T, tree *winfile.Tree) {
	t.Helper()
	changeSystem(t, tree, func(k func(string) regKey) error {
		return errors.Join(k(`Services\WofAdk`).SetDWord("Type", 2), k(`Services\WofAdk`).SetDWord("Start", 0))
	})
}

// regKey is what tests do with registry keys.
type regKey interface {
	SetDWord(name string, n uint32) error
	SetSZ(name, s string) error
}

// changeSystem changes keys of the current control set.
func changeSystem(t *testing.T, tree *winfile.Tree, change func(key func(path string) regKey) error) {
	t.Helper()
	const system = "Windows/System32/config/SYSTEM"
	h, err := winsys.OpenHive(tree, system)
	if err != nil {
		t.Fatal(err)
	}
	set, err := winsys.ControlSet(h.Root())
	if err != nil {
		t.Fatal(err)
	}
	err = change(func(path string) regKey {
		k, err := h.Root().Create(set + `\` + path)
		if err != nil {
			t.Fatal(err)
		}
		return k
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	replaceData(tree.Lookup(system), b)
}

// volumes reads the partitions of a disk.
func volumes(t *testing.T, name string) (fatTree, ntfsTree *winfile.Tree, d *disk.Disk) {
	t.Helper()
	d, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	for i := range d.Partitions {
		p := &d.Partitions[i]
		section := d.Section(p)
		if p.NTFS {
			v, err := ntfs.NewReader(section, p.Size)
			if err != nil {
				t.Fatal(err)
			}
			problems, err := v.Check(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				if p.Severity > ntfs.SeverityNote {
					t.Errorf("%v", p)
				}
			}
			if ntfsTree, err = v.Tree(context.Background()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if v, err := fat.NewVolume(section, p.Size); err == nil {
			if fatTree, err = v.Tree(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if ntfsTree == nil {
		t.Fatal("no NTFS volume")
	}
	return fatTree, ntfsTree, d
}

func bootStore(t *testing.T, tree *winfile.Tree, path string) *bcd.Store {
	t.Helper()
	h, err := winsys.OpenHive(tree, path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := bcd.Of(h)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := s.Dangling(); err != nil || len(list) > 0 {
		t.Errorf("%s: %v %v", path, list, err)
	}
	return s
}

// deviceOf is the device of the only entry of a menu.
func deviceOf(t *testing.T, s *bcd.Store) string {
	t.Helper()
	entries, err := s.Entries()
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	e, err := entries[0].Element(bcd.DeviceElement)
	if err != nil {
		t.Fatal(err)
	}
	return e.Show(bcd.OSLoader)[0]
}

func TestPlain(t *testing.T) {
	image := images(t, false, "x64") + ":1"
	for _, tt := range []struct {
		firmware Firmware
		target   string
		format   string // QEMU's
	}{
		{BIOS, "disk.img", "raw"}, {BIOS, "disk.vhd", "vpc"}, {UEFI, "disk.vhdx", "vhdx"}, {Both, "disk.img", "raw"}, {Auto, "auto.vhd", "vpc"},
	} {
		t.Run(string(tt.firmware)+tt.target, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), tt.target)
			o := &Options{Firmware: tt.firmware, Size: 2 << 30, Timeout: -1, Locale: "zh-CN", UI: quiet(t)}
			r, err := Install(context.Background(), []string{image}, target, o)
			if err != nil {
				t.Fatal(err)
			}
			if tt.firmware == Auto && r.Firmware != Both {
				t.Errorf("firmware %s, want both", r.Firmware)
			}
			boot, main, d := volumes(t, target)
			if boot == nil {
				boot = main
			}
			if e := main.Lookup("Windows/System32/ntoskrnl.exe"); e == nil {
				t.Error("no kernel")
			}
			checkDrive(t, main, d, r)
			if r.Firmware != UEFI {
				device := deviceOf(t, bootStore(t, boot, "Boot/BCD"))
				if want := bcd.MBRPartition(d.Signature, r.Partitions[len(r.Partitions)-1].Offset).String(); device != want {
					t.Errorf("device %s, want %s", device, want)
				}
				m := reftool.Machine{Disk: target, Format: tt.format}
				m.Boot(t, "bootmgr of the image")
			}
			if r.Firmware != BIOS {
				device := deviceOf(t, bootStore(t, boot, "EFI/Microsoft/Boot/BCD"))
				p := d.Partitions[len(d.Partitions)-1]
				want := bcd.MBRPartition(d.Signature, p.Offset).String()
				if r.Firmware == UEFI {
					want = bcd.GPTPartition(d.GUID, p.GUID).String()
				}
				if device != want {
					t.Errorf("device %s, want %s", device, want)
				}
				if boot.Lookup("EFI/Microsoft/Boot/zh-CN/bootmgfw.efi.mui") == nil || boot.Lookup("EFI/Microsoft/Boot/Fonts/chs_boot.ttf") == nil {
					t.Error("texts or fonts of the boot manager are missing")
				}
				m := reftool.Machine{Disk: target, Format: tt.format, UEFI: true}
				m.Boot(t, "uefi: partition=0000000000000001")
			}
			if tt.format == "vhdx" {
				reftool.Run(t, "qemu-img", "check", "-f", tt.format, target)
			}
		})
	}
}

// checkDrive finds C: in the SYSTEM hive, and nothing of the machine that the image was captured on.
func checkDrive(t *testing.T, main *winfile.Tree, d *disk.Disk, r *Result) {
	t.Helper()
	h, err := winsys.OpenHive(main, "Windows/System32/config/SYSTEM")
	if err != nil {
		t.Fatal(err)
	}
	k, err := h.Root().Subkey("MountedDevices")
	if err != nil {
		t.Fatal(err)
	}
	values, err := k.Values()
	if err != nil || len(values) != 1 || values[0].Name != `\DosDevices\C:` {
		t.Fatalf("%v %v", values, err)
	}
	p := d.Partitions[len(d.Partitions)-1]
	want := identity{gpt: r.Firmware == UEFI, signature: d.Signature, offset: p.Offset, partition: p.GUID}.mountedDevice()
	if string(values[0].Data) != string(want) {
		t.Errorf("C: is %s, want %s", hex.EncodeToString(values[0].Data), hex.EncodeToString(want))
	}
}

// makeTen has a system say that it is Windows 10, of a build that is Windows 11.
func makeTen(t *testing.T, tree *winfile.Tree) {
	t.Helper()
	const software = "Windows/System32/config/SOFTWARE"
	h, err := winsys.OpenHive(tree, software)
	if err != nil {
		t.Fatal(err)
	}
	k, err := h.Root().Create(`Microsoft\Windows NT\CurrentVersion`)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(k.SetSZ("CurrentBuild", "22631"), k.SetSZ("ProductName", "Windows 10 Pro"), k.SetDWord("CurrentMajorVersionNumber", 10)); err != nil {
		t.Fatal(err)
	}
	b, err := h.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	replaceData(tree.Lookup(software), b)
}

// TestCompact makes a disk of compact files of a system that says that it is Windows 10, and reads every file back.
func TestCompact(t *testing.T) {
	tree, err := sample.Tree(sample.Options{Programs: 10})
	if err != nil {
		t.Fatal(err)
	}
	makeTen(t, tree)
	wimFile := filepath.Join(t.TempDir(), "ten.wim")
	f, err := os.Create(wimFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := wim.Create(f, &wim.WriterOptions{ChunkSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.AddImage(context.Background(), tree, wim.ImageInfo{Name: "ten"}), w.Close()); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "disk.vhd")
	algorithm := wof.XPRESS4K
	r, err := Install(context.Background(), []string{wimFile}, target, &Options{Firmware: BIOS, Size: 1 << 30, Compact: &algorithm, UI: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	if r.Systems[0].Title != "Windows 11 Pro x64" {
		t.Errorf("title %q", r.Systems[0].Title)
	}
	raw, err := source.Open(context.Background(), target, &source.Options{Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	compact := 0
	for _, e := range raw.Tree.All() {
		if p := e.Info.Reparse; p != nil && p.Tag == winfile.TagWOF {
			compact++
		}
	}
	if compact == 0 {
		t.Error("no compact files")
	}
	src, err := source.Open(context.Background(), target, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for path, e := range tree.All() {
		if e.Info.Data == nil || strings.HasPrefix(path, "Windows/System32/config/SYSTEM") || strings.HasPrefix(path, "Boot/") {
			continue
		}
		want, err := e.Info.Data.ReadAll(1 << 24)
		if err != nil {
			t.Fatal(err)
		}
		on := src.Tree.Lookup(path)
		if on == nil {
			t.Fatalf("no %s on the disk", path)
		}
		if got, err := on.Info.Data.ReadAll(1 << 24); err != nil || string(got) != string(want) {
			t.Errorf("%s: %d bytes, want %d, %v", path, len(got), len(want), err)
		}
	}
	hive, err := winsys.OpenHive(src.Tree, "Windows/System32/config/SYSTEM")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := hive.Root().Uint("Setup", "Compact"); n != 1 || err != nil {
		t.Errorf("Compact %d %v", n, err)
	}
}

func TestTablesAreSound(t *testing.T) {
	image := images(t, false, "x64") + ":1"
	for _, fw := range []Firmware{BIOS, UEFI, Both} {
		target := filepath.Join(t.TempDir(), "disk.img")
		if _, err := Install(context.Background(), []string{image}, target, &Options{Firmware: fw, Size: 2 << 30, UI: quiet(t)}); err != nil {
			t.Fatal(err)
		}
		if fw == UEFI {
			if out := reftool.Run(t, "sgdisk", "-v", target); !strings.Contains(out, "No problems found") {
				t.Errorf("%s", out)
			}
			continue
		}
		reftool.Run(t, "sfdisk", "-V", target)
	}
}

// TestPointers puts two systems of one WIM on a disk, and reads every file of both through their pointers into the WIM on the disk.
func TestPointers(t *testing.T) {
	wimFile := images(t, true, "x64", "x86")
	target := filepath.Join(t.TempDir(), "disk.img")
	o := &Options{Firmware: BIOS, Wimboot: true, VHDSize: 1 << 30, Timeout: -1, UI: quiet(t)}
	r, err := Install(context.Background(), []string{wimFile + ":1", wimFile + ":2"}, target, o)
	if err != nil {
		t.Fatal(err)
	}
	_, main, d := volumes(t, target)
	s := bootStore(t, main, "Boot/BCD")
	entries, err := s.Entries()
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	dir := t.TempDir()
	for i, want := range []string{"x64", "x86"} {
		path := `\wimboot\` + want + `\win7.vhd`
		e, err := entries[i].Element(bcd.DeviceElement)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := e.Show(bcd.OSLoader)[0], "vhd=["+strings.TrimPrefix(bcd.MBRPartition(d.Signature, 1<<20).String(), "partition=")+"]"+path; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		extract(t, main, strings.Trim(strings.ReplaceAll(path, `\`, "/"), "/"), filepath.Join(dir, want+".vhd"))
	}
	if r.Systems[0].Path != `\wimboot\x64\win7.vhd` {
		t.Errorf("%+v", r.Systems[0])
	}
	inside := filepath.Join(dir, "inside.wim")
	extract(t, main, "wimboot/wimboot.wim", inside)
	for _, arch := range []string{"x64", "x86"} {
		src, err := source.Open(context.Background(), filepath.Join(dir, arch+".vhd"), &source.Options{WIMs: []string{inside}})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		if src.Links == nil {
			t.Errorf("%s: no pointer files", arch)
		}
		var blobs []*winfile.Blob
		for _, e := range src.Tree.All() {
			if e.Info.Data != nil && !slices.Contains(blobs, e.Info.Data) {
				blobs = append(blobs, e.Info.Data)
			}
		}
		if err := winfile.ReadBlobs(context.Background(), blobs, 0, func(*winfile.Blob, int64, []byte) error { return nil }); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
		h, err := winsys.OpenHive(src.Tree, "Windows/System32/config/SYSTEM")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := h.Root().Uint("Setup", "WimBoot"); n != 1 || err != nil {
			t.Errorf("WimBoot %d %v", n, err)
		}
	}
	m := reftool.Machine{Disk: target}
	m.Boot(t, "bootmgr of the image")
	if left, err := os.ReadDir(filepath.Dir(target)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func extract(t *testing.T, tree *winfile.Tree, path, to string) {
	t.Helper()
	e := tree.Lookup(path)
	if e == nil {
		t.Fatalf("no %s", path)
	}
	r, err := e.Info.Data.Content.OpenBlob(e.Info.Data)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, r); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	wimFile := images(t, true, "x64", "x86")
	folder := t.TempDir()
	target := filepath.Join(t.TempDir(), "disk.img")
	for what, tt := range map[string]struct {
		images []string
		o      Options
		want   string
	}{
		"no Windows":       {[]string{folder}, Options{}, "no Windows"},
		"two plain":        {[]string{wimFile + ":1", wimFile + ":2"}, Options{}, "wimboot"},
		"too small":        {[]string{wimFile + ":1"}, Options{Size: 8 << 20}, ""},
		"no boot files":    {[]string{wimFile + ":1"}, Options{BootFiles: folder}, "no Windows"},
		"no such image":    {[]string{wimFile + ":9"}, Options{}, "no image"},
		"no filter":        {[]string{images(t, false, "x64") + ":1"}, Options{Wimboot: true}, "no driver for pointer files"},
		"no such unattend": {[]string{wimFile + ":1"}, Options{Unattend: filepath.Join(folder, "none.xml")}, "none.xml"},
	} {
		tt.o.UI = quiet(t)
		_, err := Install(context.Background(), tt.images, target, &tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
		if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: something was written", what)
		}
	}
	for what, tt := range map[string]struct {
		o    Options
		want string
	}{
		"title of several":  {Options{Wimboot: true, Title: "one"}, "--title"},
		"no room for VHDs":  {Options{Wimboot: true, Size: 2 << 30, VHDSize: 1 << 30}, "could be written"},
		"UEFI of another":   {Options{Wimboot: true, Firmware: UEFI, VHDSize: 1 << 30}, "UEFI firmware for x64 does not start it"},
		"no room to write":  {Options{Wimboot: true, NoExpand: true, Firmware: BIOS, Size: 1 << 30, VHDSize: 25 << 30}, "with room to write"},
		"too large":         {Options{Wimboot: true, Size: 1<<63 - 1}, "too large"},
		"VHDs too large":    {Options{Wimboot: true, VHDSize: 1 << 62}, "too large"},
		"WIM as its target": {Options{Wimboot: true, Overwrite: true}, "the source itself"},
	} {
		pointers := images(t, true, "x86", "x64")
		to := filepath.Join(t.TempDir(), "disk.img")
		if tt.o.Overwrite {
			to = pointers
		}
		tt.o.UI = quiet(t)
		if _, err := Install(context.Background(), []string{pointers + ":1", pointers + ":2"}, to, &tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
		if left, err := os.ReadDir(filepath.Dir(to)); err != nil || len(left) != count(tt.o.Overwrite) {
			t.Errorf("%s: left behind: %v %v", what, left, err)
		}
	}
	dry := Options{DryRun: true, UI: quiet(t)}
	if r, err := Install(context.Background(), []string{wimFile + ":1"}, target, &dry); err != nil || len(r.Partitions) == 0 {
		t.Errorf("dry run: %v", err)
	}
	if err := os.WriteFile(target, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Install(context.Background(), []string{wimFile + ":1"}, target, &Options{UI: quiet(t)}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v, want fs.ErrExist", err)
	}
}

// TestDryRun holds that nothing is written, in any mode: not the target, nothing beside it, and nothing into the folder for what is on
// the way.
func TestDryRun(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	winre := filepath.Join(t.TempDir(), "winre.wim")
	makeWinRE(t, winre, 1)
	data, err := os.ReadFile(winre)
	if err != nil {
		t.Fatal(err)
	}
	wimFile := imagesWith(t, true, func(tree *winfile.Tree, _ string) {
		makeTen(t, tree)
		addRAMDriver(t, tree, 0)
		if err := errors.Join(place(tree, "Windows/System32/Recovery/Winre.wim", newFile(data)),
			place(tree, "Windows/Boot/DVD/EFI/boot.sdi", newFile([]byte("sdi")))); err != nil {
			t.Fatal(err)
		}
	}, "x64")
	algorithm := wof.XPRESS8K
	for _, tt := range []struct {
		o    Options
		plan bool // of files
		menu int  // entries
	}{
		{Options{}, false, 2}, {Options{Firmware: UEFI}, false, 1}, {Options{Firmware: UEFI, Sector: 4096, Recovery: true}, false, 1},
		{Options{Wimboot: true, Explain: true}, true, 2}, {Options{Firmware: BIOS, Compact: &algorithm, Explain: true}, true, 1},
		{Options{Firmware: BIOS, Wimboot: true, Explain: true, RAM: RAMOptions{Systems: []int{1}, Grub: grub(t)}}, true, 2},
		{Options{Firmware: Both, Wimboot: true, Explain: true, RAM: RAMOptions{Systems: []int{1}}}, true, 4},
	} {
		o := tt.o
		o.DryRun, o.UI, o.Temp = true, quiet(t), temp
		r, err := Install(context.Background(), []string{wimFile + ":1"}, filepath.Join(dir, "disk.vhdx"), &o)
		if err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		for _, d := range []string{dir, temp} {
			if left, err := os.ReadDir(d); err != nil || len(left) > 0 {
				t.Errorf("%+v: %v %v", o, left, err)
			}
		}
		if len(r.Menu) != tt.menu {
			t.Errorf("%+v: menu %+v, want %d entries", o, r.Menu, tt.menu)
		}
		plan := r.Systems[0].Plan
		if (plan != nil) != tt.plan || plan != nil && (len(plan.Counts) < 2 || len(plan.Plain) == 0) {
			t.Errorf("%+v: %+v", o, plan)
		}
		for _, p := range r.Partitions {
			if p.Kind != kindMSR && (p.FileSystem == "" || p.Used <= 0 || p.Used > p.Size) {
				t.Errorf("%+v: %+v", o, p)
			}
		}
		if len(o.RAM.Systems) > 0 && (len(r.RAM) != 1 || r.RAM[0].Bytes < 256<<20) {
			t.Errorf("%+v", r.RAM)
		}
	}
}

// TestManyBootFiles: fonts and languages that do not fit into the usual partition make it larger, and its file system holds them.
func TestManyBootFiles(t *testing.T) {
	src, err := source.Open(context.Background(), images(t, false, "x64")+":1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	fonts := &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Data: &winfile.Blob{Size: 80 << 20, Content: hostFile("not read")}}
	if err := place(src.Tree, "Windows/Boot/Fonts/all.ttf", fonts); err != nil {
		t.Fatal(err)
	}
	for _, fw := range []Firmware{UEFI, Both} {
		facts, err := winsys.Read(src.Tree)
		if err != nil {
			t.Fatal(err)
		}
		sys := &System{source: src, facts: facts, ids: [2]guid.GUID{{1}, {2}}}
		b := &builder{o: &Options{Firmware: fw, Size: 4 << 30, UI: quiet(t)}, sector: sector512, r: &Result{Systems: []*System{sys}, Format: FormatRaw}}
		if err := errors.Join(b.chooseBoot(context.Background()), b.layOut(context.Background())); err != nil {
			t.Fatalf("%s: %v", fw, err)
		}
		least := int64(80 << 20)
		if fw == Both {
			least *= 2 // one for each firmware
		}
		p := b.plan.parts[0]
		if next := b.plan.parts[1]; next.Offset < p.Offset+p.Size || p.Size < max(least, espSize) {
			t.Errorf("%s: %+v", fw, b.plan.parts)
		}
	}
}

// TestBootOfTheBest: of systems of one build, those boot files are taken that start more machines, wherever they stand.
func TestBootOfTheBest(t *testing.T) {
	wimFile := images(t, true, "x86", "x64")
	target := filepath.Join(t.TempDir(), "disk.img")
	r, err := Install(context.Background(), []string{wimFile + ":1", wimFile + ":2"}, target, &Options{Wimboot: true, VHDSize: 1 << 30, UI: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	if r.BootFrom != wimFile+":2" || r.Firmware != Both {
		t.Errorf("boot files of %s for %s", r.BootFrom, r.Firmware)
	}
	boot, _, _ := volumes(t, target)
	for path, want := range map[string][]string{"Boot/BCD": {r.Systems[0].Entry, r.Systems[1].Entry}, "EFI/Microsoft/Boot/BCD": {r.Systems[1].Entry}} {
		entries, err := bootStore(t, boot, path).Entries()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, bcd.Alias(e.ID))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestNoExpand: two systems of 25 GiB are on a disk of 4 GiB, and Windows is told to leave their VHDs small.
func TestNoExpand(t *testing.T) {
	wimFile := images(t, true, "x64", "x86")
	target := filepath.Join(t.TempDir(), "disk.img")
	o := &Options{Firmware: BIOS, Wimboot: true, Size: 4 << 30, UI: quiet(t)}
	if _, err := Install(context.Background(), []string{wimFile + ":1", wimFile + ":2"}, target, o); err == nil || !strings.Contains(err.Error(), "could be written") {
		t.Errorf("%v", err)
	}
	o.NoExpand = true
	if _, err := Install(context.Background(), []string{wimFile + ":1", wimFile + ":2"}, target, o); err != nil {
		t.Fatal(err)
	}
	_, main, _ := volumes(t, target)
	vhd := filepath.Join(t.TempDir(), "win7.vhd")
	extract(t, main, "wimboot/x86/win7.vhd", vhd)
	src, err := source.Open(context.Background(), vhd, &source.Options{WIMs: []string{wimFile}})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if src.Disk.Size() < 25<<30 {
		t.Errorf("a disk of %d bytes", src.Disk.Size())
	}
	h, err := winsys.OpenHive(src.Tree, "Windows/System32/config/SYSTEM")
	if err != nil {
		t.Fatal(err)
	}
	set, err := winsys.ControlSet(h.Root())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := h.Root().Uint(set+`\Services\FsDepends\Parameters`, "VirtualDiskExpandOnMount"); n != 4 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

// TestLeftovers: what an install left that was killed goes with the next one of the same target; what is in use stays.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "disk.img")
	killed := target + tempMark + "1"
	if err := errors.Join(os.Mkdir(killed, 0o700), os.WriteFile(filepath.Join(killed, lockName), nil, 0o600),
		os.WriteFile(filepath.Join(killed, "win.vhd"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	other, err := newTempDir(filepath.Join(dir, "other.img"))
	if err != nil {
		t.Fatal(err)
	}
	mine, err := newTempDir(target)
	if err != nil {
		t.Fatal(err)
	}
	again, err := newTempDir(target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(killed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of a killed install: %v", err)
	}
	for _, d := range []*tempDir{other, mine, again} {
		if _, err := os.Stat(d.name); err != nil {
			t.Error(err)
		}
		if err := d.remove(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestHiveKeepsWhatItIs: the SYSTEM hive gets new content and nothing else; other names of it keep the old, and its logs are empty.
func TestHiveKeepsWhatItIs(t *testing.T) {
	tree, err := sample.Tree(sample.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const dir = "Windows/System32/config"
	config, system := tree.Lookup(dir), tree.Lookup(dir+"/SYSTEM")
	system.Info.Security, system.Info.Attributes = []byte("mine"), winfile.AttrArchive|winfile.AttrHidden|winfile.AttrCompressed
	system.Info.Links = 2
	old := system.Info.Data
	config.Children = append(config.Children, &winfile.Entry{Name: "linked", Info: system.Info})
	for _, log := range []string{"SYSTEM.LOG1", "system.log2"} {
		if e := tree.Lookup(dir + "/" + log); e != nil {
			e.Info.Data = winfile.NewBlob([]byte("old"))
			continue
		}
		config.Children = append(config.Children, &winfile.Entry{Name: log, Info: &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte("old"))}})
	}
	if err := personalise(tree, "Windows", identity{signature: 1, offset: 1 << 20}, "WimBoot"); err != nil {
		t.Fatal(err)
	}
	linked := tree.Lookup(dir + "/linked")
	if i := system.Info; string(i.Security) != "mine" || i.Attributes != winfile.AttrArchive|winfile.AttrHidden || i.Links != 1 || i.Data == old {
		t.Errorf("%+v", i)
	}
	if linked.Info.Data != old || linked.Info.Links != 1 || linked.Info.Attributes&winfile.AttrCompressed == 0 {
		t.Errorf("the other name: %+v", linked.Info)
	}
	for _, log := range []string{"SYSTEM.LOG1", "SYSTEM.LOG2"} {
		if e := tree.Lookup(dir + "/" + log); e == nil || e.Info.Size() != 0 {
			t.Errorf("%s: %+v", log, e)
		}
	}
}

// TestBootFilesReplace: what the image has of an earlier boot is replaced, with the security of the folder, and hidden as Windows does.
func TestBootFilesReplace(t *testing.T) {
	info := func(s string) *winfile.Info {
		return &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Security: []byte("of the file"), Data: winfile.NewBlob([]byte(s))}
	}
	tree := &winfile.Tree{Root: &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1, Security: []byte("of the root")}}}
	for path, s := range map[string]string{"Windows/Boot/PCAT/bootmgr": "new", "Windows/Boot/PCAT/memtest.exe": "test", "BOOTMGR": "old", "Boot/BCD.log1": "log"} {
		if err := place(tree, path, info(s)); err != nil {
			t.Fatal(err)
		}
	}
	linked := tree.Lookup("BOOTMGR").Info
	linked.Links = 2
	tree.Root.Children = append(tree.Root.Children, &winfile.Entry{Name: "copy", Info: linked})
	if err := addBIOS(tree, tree, "Windows"); err != nil {
		t.Fatal(err)
	}
	facts := &winsys.Facts{Folder: "Windows", Build: 19045}
	b := &builder{o: &Options{UI: quiet(t)}, r: &Result{}, plan: &plan{firmware: BIOS}, boot: &System{facts: facts}}
	if err := b.addStore(tree, menu{path: "Boot/BCD"}, nil); err != nil {
		t.Fatal(err)
	}
	const hidden = winfile.AttrHidden | winfile.AttrSystem
	e := tree.Lookup("bootmgr")
	if got, err := e.Info.Data.ReadAll(10); err != nil || string(got) != "new" || string(e.Info.Security) != "of the root" || e.Info.Attributes&hidden != hidden {
		t.Errorf("%s %v %+v", got, err, e.Info)
	}
	if linked.Links != 1 || linked.Attributes&hidden != 0 {
		t.Errorf("the other name: %+v", linked)
	}
	if dir := tree.Lookup("Boot"); dir.Info.Attributes&hidden != hidden || dir.Child("BCD.LOG1") != nil || dir.Child("BCD") == nil || dir.Child("memtest.exe") == nil {
		t.Errorf("%+v", dir)
	}
}

// TestLargeDisk: what an MBR does not reach is for UEFI.
func TestLargeDisk(t *testing.T) {
	image, target := images(t, false, "x64")+":1", filepath.Join(t.TempDir(), "disk.img")
	r, err := Install(context.Background(), []string{image}, target, &Options{Size: 3 << 40, DryRun: true, UI: quiet(t)})
	if err != nil || r.Firmware != UEFI {
		t.Errorf("%+v %v", r, err)
	}
	u := quiet(t)
	_, err = Install(context.Background(), []string{image}, target, &Options{Size: 3 << 40, Firmware: Both, DryRun: true, UI: u})
	if err == nil || u.HintOf(err) != "use --firmware=uefi" {
		t.Errorf("%v, hint %q", err, u.HintOf(err))
	}
}

func TestRelease(t *testing.T) {
	for build, want := range map[int]bcd.Release{7601: bcd.Windows7, 9200: bcd.Windows8, 9600: bcd.Windows8, 10240: bcd.Windows10, 26100: bcd.Windows10} {
		if got := (&System{facts: &winsys.Facts{Build: build}}).release(); got != want {
			t.Errorf("build %d: %v, want %v", build, got, want)
		}
	}
}

// TestPointersUEFI: the VHD of a system on a GPT disk finds its WIM by the identities of that disk.
func TestPointersUEFI(t *testing.T) {
	wimFile := images(t, true, "x64")
	target := filepath.Join(t.TempDir(), "disk.img")
	o := &Options{Firmware: UEFI, Wimboot: true, VHDSize: 1 << 30, UI: quiet(t)}
	if _, err := Install(context.Background(), []string{wimFile + ":1"}, target, o); err != nil {
		t.Fatal(err)
	}
	_, main, d := volumes(t, target)
	vhd := filepath.Join(t.TempDir(), "win.vhd")
	extract(t, main, "wimboot/x64/win7.vhd", vhd)
	src, err := source.Open(context.Background(), vhd, &source.Options{Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	b, err := src.Tree.Lookup("System Volume Information/WimOverlay.dat").Info.Data.ReadAll(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := wof.ParseOverlay(b)
	if err != nil || len(overlay.Entries()) != 1 {
		t.Fatalf("%+v %v", overlay, err)
	}
	want := wof.NewGPTLocation(d.GUID, d.Partitions[len(d.Partitions)-1].GUID, wimPath)
	if got := overlay.Entries()[0].Location; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
