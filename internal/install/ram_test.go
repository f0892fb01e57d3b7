package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/bcd"
	"husk/internal/reftool"
	"husk/internal/source"
	"husk/internal/winsys"
	"husk/wim"
	"husk/winfile"
)

// addRAMDriver puts SVBus into a system and registers it.
func addRAMDriver(t *testing.T, tree *winfile.Tree, start uint32) {
	t.Helper()
	if err := place(tree, "Windows/System32/drivers/svbusx64.sys", newFile([]byte("a driver"))); err != nil {
		t.Fatal(err)
	}
	changeSystem(t, tree, func(k func(string) regKey) error {
		return errors.Join(k(`Services\svbus`).SetSZ("ImagePath", `System32\drivers\svbusx64.sys`), k(`Services\svbus`).SetDWord("Type", 1),
			k(`Services\svbus`).SetDWord("Start", start), k(`Services\ramdisk`).SetDWord("Start", 0), k(`Services\ramdisk`).SetDWord("Type", 1))
	})
}

// ramImages makes a WIM with two systems of pointer files, x64 and x86, the first with drivers for disks in memory.
func ramImages(t *testing.T, start uint32) string {
	t.Helper()
	return imagesWith(t, true, func(tree *winfile.Tree, arch string) {
		if arch == "x64" {
			addRAMDriver(t, tree, start)
		}
	}, "x64", "x86")
}

// grub puts a stand-in for grub4dos into a folder.
func grub(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, s := range map[string]string{"grldr": "the loader", "grldr.mbr": "what bootmgr starts"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "grldr")
}

func titles(t *testing.T, s *bcd.Store) (list []string) {
	t.Helper()
	entries, err := s.Entries()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path, err := e.Element(bcd.PathElement)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e.Description()+" "+path.Show(e.Type)[0])
	}
	return list
}

// TestThreeEntries lays a disk out as the original post has it: two systems and their WIM, one of them also in memory, and one menu with
// three entries.
func TestThreeEntries(t *testing.T) {
	wimFile := ramImages(t, 0)
	target := filepath.Join(t.TempDir(), "disk.img")
	o := &Options{Firmware: BIOS, Wimboot: true, VHDSize: 1 << 30, Timeout: -1, Explain: true, UI: quiet(t),
		RAM: RAMOptions{Systems: []int{1}, Grub: grub(t), Free: 32 << 20}}
	r, err := Install(context.Background(), []string{wimFile + ":1", wimFile + ":2"}, target, o)
	if err != nil {
		t.Fatal(err)
	}
	_, main, d := volumes(t, target)
	want := []string{`Windows 7 Ultimate x64 \Windows\system32\winload.exe`, `Windows 7 Ultimate x86 \Windows\system32\winload.exe`, `Windows 7 Ultimate x64 in RAM \grldr.mbr`}
	got := titles(t, bootStore(t, main, "Boot/BCD"))
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("menu %q, want %q", got, want)
	}
	if len(r.Menu) != 3 || r.Menu[2].Device != "boot" || r.Menu[2].Path != `\grldr.mbr` {
		t.Errorf("%+v", r.Menu)
	}
	for path, want := range map[string]string{"grldr": "the loader", "grldr.mbr": "what bootmgr starts"} {
		if b, err := main.Lookup(path).Info.Data.ReadAll(100); err != nil || string(b) != want {
			t.Errorf("%s: %s %v", path, b, err)
		}
	}
	b, err := main.Lookup("menu.lst").Info.Data.ReadAll(1000)
	if err != nil || !strings.Contains(string(b), "map --mem --top /win7.ram (hd0)\n") || !strings.HasPrefix(string(b), "timeout 0\ndefault 0\n") {
		t.Errorf("%s %v", b, err)
	}
	for _, path := range []string{"bootmgr", "Boot/BCD", "wimboot/wimboot.wim", "wimboot/x64/win7.vhd", "wimboot/x86/win7.vhd", "win7.ram"} {
		if main.Lookup(path) == nil {
			t.Errorf("no %s", path)
		}
	}

	// The image in memory is a disk of its own that starts, whose pointers lead into the WIM on the disk.
	dir := t.TempDir()
	ram, inside := filepath.Join(dir, "win7.vhd"), filepath.Join(dir, "inside.wim")
	extract(t, main, "win7.ram", ram)
	extract(t, main, "wimboot/wimboot.wim", inside)
	src, err := source.Open(context.Background(), ram, &source.Options{WIMs: []string{inside}})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if src.Links == nil || src.Disk.Signature == d.Signature {
		t.Errorf("links %v, signature %08x", src.Links, src.Disk.Signature)
	}
	e := src.Tree.Lookup("Windows/System32/drivers/svbusx64.sys")
	if b, err := e.Info.Data.ReadAll(100); err != nil || string(b) != "a driver" {
		t.Errorf("%s %v", b, err)
	}
	m := reftool.Machine{Disk: ram, Format: "vpc"}
	m.Boot(t, "bootmgr of the image")

	// Why files are plain.
	plan := r.Systems[0].Plan
	var driver *PlainFile
	for i := range plan.Plain {
		if plan.Plain[i].Path == "Windows/System32/drivers/svbusx64.sys" {
			driver = &plan.Plain[i]
		}
	}
	if driver == nil || driver.Why != "boot-start driver" || driver.By != "svbus" {
		t.Errorf("%+v", driver)
	}
}

// TestRAMWithoutGrub: the boot managers of both kinds of firmware load the image.
func TestRAMWithoutGrub(t *testing.T) {
	wimFile := ramImages(t, 0)
	target := filepath.Join(t.TempDir(), "disk.img")
	o := &Options{Firmware: Both, Wimboot: true, VHDSize: 1 << 30, Timeout: -1, UI: quiet(t), RAM: RAMOptions{Systems: []int{1}, Free: 32 << 20}}
	if _, err := Install(context.Background(), []string{wimFile + ":1", wimFile + ":2"}, target, o); err != nil {
		t.Fatal(err)
	}
	boot, main, d := volumes(t, target)
	if main.Lookup("win7.ram") == nil || boot.Lookup("grldr") != nil {
		t.Error("no image, or a grldr")
	}
	for path, n := range map[string]int{"Boot/BCD": 3, "EFI/Microsoft/Boot/BCD": 2} {
		entries, err := bootStore(t, boot, path).Entries()
		if err != nil || len(entries) != n {
			t.Fatalf("%s: %d entries, want %d, %v", path, len(entries), n, err)
		}
		e, err := entries[n-1].Element(bcd.DeviceElement)
		if err != nil {
			t.Fatal(err)
		}
		device, err := e.Device()
		if err != nil {
			t.Fatal(err)
		}
		if want := (bcd.RAMDisk{On: bcd.MBRPartition(d.Signature, d.Partitions[1].Offset), Path: `\win7.ram`}); device.Where != want {
			t.Errorf("%s: %v, want %v", path, device.Where, want)
		}
	}
}

func TestRAMRefusals(t *testing.T) {
	good, late := ramImages(t, 0), ramImages(t, 3)
	for what, tt := range map[string]struct {
		wim  string
		o    Options
		want string
	}{
		"driver starts late":   {late, Options{RAM: RAMOptions{Systems: []int{1}, Grub: grub(t)}}, "starts too late"},
		"no driver":            {good, Options{RAM: RAMOptions{Systems: []int{2}, Grub: grub(t)}}, "no driver for disks in memory"},
		"no ramdisk service":   {good, Options{RAM: RAMOptions{Systems: []int{2}}}, "no service ramdisk"},
		"no such image":        {good, Options{RAM: RAMOptions{Systems: []int{3}, Grub: grub(t)}}, "--ram=3"},
		"twice":                {good, Options{RAM: RAMOptions{Systems: []int{1, 1, 1, 1}, Grub: grub(t)}}, "given twice"},
		"grub4dos with UEFI":   {good, Options{Firmware: UEFI, RAM: RAMOptions{Systems: []int{1}, Grub: grub(t)}}, "BIOS only"},
		"no grldr":             {good, Options{RAM: RAMOptions{Systems: []int{1}, Grub: filepath.Join(t.TempDir(), "grldr")}}, "grldr"},
		"does not fit machine": {good, Options{RAM: RAMOptions{Systems: []int{1}, Grub: grub(t), Memory: 1 << 30}}, "needs a machine"},
	} {
		dir := t.TempDir()
		tt.o.Wimboot, tt.o.VHDSize, tt.o.UI = true, 1<<30, quiet(t)
		_, err := Install(context.Background(), []string{tt.wim + ":1", tt.wim + ":2"}, filepath.Join(dir, "disk.img"), &tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v %v", what, left, err)
		}
	}
}

// TestRecovery makes disks with a recovery partition, and finds the entry in the store and the system's record of it.
func TestRecovery(t *testing.T) {
	winre := filepath.Join(t.TempDir(), "winre.wim")
	makeWinRE(t, winre, 1)
	data, err := os.ReadFile(winre)
	if err != nil {
		t.Fatal(err)
	}
	image := imagesWith(t, false, func(tree *winfile.Tree, _ string) {
		makeTen(t, tree)
		if err := errors.Join(place(tree, "Windows/System32/Recovery/Winre.wim", newFile(data)),
			place(tree, "Windows/Boot/DVD/PCAT/boot.sdi", newFile([]byte("sdi")))); err != nil {
			t.Fatal(err)
		}
	}, "x64") + ":1"
	for _, fw := range []Firmware{BIOS, UEFI, Both} {
		t.Run(string(fw), func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "disk.img")
			r, err := Install(context.Background(), []string{image}, target, &Options{Firmware: fw, Size: 2 << 30, Recovery: true, UI: quiet(t)})
			if err != nil {
				t.Fatal(err)
			}
			last := r.Partitions[len(r.Partitions)-1]
			if last.Kind != kindRecovery || last.Size < recoveryMin {
				t.Fatalf("%+v", last)
			}
			number := len(r.Partitions)
			if fw == UEFI {
				out := reftool.Run(t, "sgdisk", "-i", "4", target)
				if !strings.Contains(out, "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC") || !strings.Contains(out, "Attribute flags: 8000000000000001") {
					t.Errorf("%s", out)
				}
			} else if out := reftool.Run(t, "sfdisk", "-d", target); !strings.Contains(out, "type=27") {
				t.Errorf("%s", out)
			}
			tools := treeOf(t, target, number)
			if b, err := tools.Lookup("Recovery/WindowsRE/Winre.wim").Info.Data.ReadAll(1 << 20); err != nil || string(b) != string(data) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if tools.Lookup("Recovery/WindowsRE/boot.sdi") == nil {
				t.Error("no boot.sdi")
			}
			main := treeOf(t, target, number-1)
			if main.Lookup("Windows/System32/Recovery/Winre.wim") != nil {
				t.Error("Winre.wim is twice on the disk")
			}
			boot := main
			if fw != BIOS {
				boot, _, _ = volumes(t, target)
			}
			xml, err := main.Lookup("Windows/System32/Recovery/ReAgent.xml").Info.Data.ReadAll(1 << 16)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"Boot/BCD", "EFI/Microsoft/Boot/BCD"} {
				if boot.Lookup(path) != nil {
					checkRecoveryEntry(t, bootStore(t, boot, path), string(xml), last, fw)
				}
			}
		})
	}
	for what, tt := range map[string]struct {
		change func(*winfile.Tree)
		want   string
	}{
		"none": {func(*winfile.Tree) {}, "Winre.wim"},
		"no WIM": {func(t *winfile.Tree) {
			_ = place(t, "Windows/System32/Recovery/Winre.wim", newFile(make([]byte, 1000)))
		}, "no WIM"},
		"not startet": {func(tree *winfile.Tree) {
			makeWinRE(t, winre, 0)
			b, _ := os.ReadFile(winre)
			_ = place(tree, "Windows/System32/Recovery/Winre.wim", newFile(b))
		}, "marked"},
		"no SDI": {func(t *winfile.Tree) { _ = place(t, "Windows/System32/Recovery/Winre.wim", newFile(data)) }, "boot.sdi"},
	} {
		bad := imagesWith(t, false, func(tree *winfile.Tree, _ string) { tt.change(tree) }, "x64") + ":1"
		target := filepath.Join(t.TempDir(), "disk.img")
		_, err := Install(context.Background(), []string{bad}, target, &Options{Firmware: BIOS, Recovery: true, UI: quiet(t)})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
		if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was written", what)
		}
	}
}

// checkRecoveryEntry finds the environment's entry by the system's, and by the id in ReAgent.xml.
func checkRecoveryEntry(t *testing.T, s *bcd.Store, xml string, p Partition, fw Firmware) {
	t.Helper()
	entries, err := s.Entries()
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	e, err := entries[0].Element(recoverySequence)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := e.Objects()
	if err != nil || len(ids) != 1 || !strings.Contains(xml, `<WinreBCD id="{`+ids[0].String()+`}"/>`) {
		t.Fatalf("%v %v in\n%s", ids, err, xml)
	}
	o, err := s.Object(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	d, err := o.Element(bcd.DeviceElement)
	if err != nil {
		t.Fatal(err)
	}
	device, err := d.Device()
	if err != nil {
		t.Fatal(err)
	}
	ram, ok := device.Where.(bcd.RAMDisk)
	if !ok || ram.Path != `\Recovery\WindowsRE\Winre.wim` {
		t.Fatalf("%v", device)
	}
	options, err := s.Object(device.Options)
	if err != nil {
		t.Fatal(err)
	}
	if sdi, err := options.Element(bcd.SDIDeviceElement); err != nil || sdi.Show(options.Type)[0] != (bcd.Device{Where: ram.On}).String() {
		t.Errorf("%v %v", sdi, err)
	}
	part := ram.On.(bcd.Partition)
	if fw != UEFI && part.ID[0] == 0 && le.Uint64(part.ID[:8]) != uint64(p.Offset) {
		t.Errorf("%v, want the partition at %d", part, p.Offset)
	}
}

func makeWinRE(t *testing.T, name string, boot int) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := wim.Create(f, &wim.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tree := emptyTree(&winfile.Tree{Root: &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}})
	if err := errors.Join(w.AddImage(context.Background(), tree, wim.ImageInfo{Name: "WinRE"}), w.Close()); err != nil {
		t.Fatal(err)
	}
	if boot == 0 {
		return
	}
	if _, err := f.WriteAt([]byte{byte(boot)}, 0x78); err != nil {
		t.Fatal(err)
	}
}

// treeOf reads the NTFS volume of a partition.
func treeOf(t *testing.T, disk string, number int) *winfile.Tree {
	t.Helper()
	src, err := source.Open(context.Background(), disk+":"+string(rune('0'+number)), &source.Options{Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src.Tree
}

// TestRead checks that test systems say what the tests want of them.
func TestTen(t *testing.T) {
	image := imagesWith(t, false, func(tree *winfile.Tree, _ string) { makeTen(t, tree) }, "x64") + ":1"
	src, err := source.Open(context.Background(), image, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if f, err := winsys.Read(src.Tree); err != nil || f.Build != 22631 {
		t.Errorf("%+v %v", f, err)
	}
}
