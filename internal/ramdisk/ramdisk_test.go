package ramdisk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/bcd"
	"husk/internal/reftool"
	"husk/internal/sample"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/ntfs"
	"husk/winfile"
)

func loaded(t *testing.T, arch string) *system {
	t.Helper()
	tr, err := sample.Tree(sample.Options{Arch: arch, Programs: 8})
	if err != nil {
		t.Fatal(err)
	}
	s := &system{tree: tr, hivePath: "Windows/System32/config/SYSTEM"}
	if s.facts, err = winsys.Read(tr); err != nil {
		t.Fatal(err)
	}
	if s.hive, err = winsys.OpenHive(tr, s.hivePath); err != nil {
		t.Fatal(err)
	}
	return s
}

// service registers a driver in the current control set.
func service(t *testing.T, s *system, name, image string, start uint32) {
	t.Helper()
	k, err := s.hive.Root().Create(`ControlSet001\Services\` + name)
	if err == nil {
		err = k.SetDWord("Start", start)
	}
	if err == nil && image != "" {
		err = k.SetExpandSZ("ImagePath", image)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDrivers(t *testing.T) {
	for _, tt := range []struct {
		name, service, image, file string
		start                      uint32
		pointer                    bool
		want                       string // in the problem; "" for none
	}{
		{"none", "other", "", "", 0, false, "no driver for disks in memory"},
		{"SVBus by its service", "svbusx64", "", "svbusx64.sys", 0, false, ""},
		{"FiraDisk by its file", "FiraDisk", `\SystemRoot\System32\drivers\firadi64.sys`, "firadi64.sys", 0, false, ""},
		{"WinVBlock", "WinVBlock", `system32\DRIVERS\wvblk32.sys`, "wvblk32.sys", 0, false, ""},
		{"late", "svbusx64", "", "svbusx64.sys", 3, false, "Start is 3"},
		{"no file", "svbusx64", "", "", 0, false, "missing"},
		{"pointer", "svbusx64", "", "svbusx64.sys", 0, true, "pointer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := loaded(t, "x64")
			service(t, s, tt.service, tt.image, tt.start)
			if tt.file != "" {
				s.put("Windows/System32/drivers/"+tt.file, &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte("driver"))})
			}
			if tt.pointer {
				s.backing = map[*winfile.Info][]byte{s.tree.Lookup("Windows/System32/drivers/" + tt.file).Info: {1}}
			}
			list, err := s.findDrivers()
			if err != nil {
				t.Fatal(err)
			}
			err = driverProblem(list)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestLettersMove(t *testing.T) {
	s := loaded(t, "x64")
	k, err := s.hive.Root().Create("MountedDevices")
	if err != nil {
		t.Fatal(err)
	}
	old, now, other := mbrIdentity(0x11111111, 1<<20), mbrIdentity(0x22222222, 1<<20), mbrIdentity(0x33333333, 1<<20)
	for name, data := range map[string][]byte{systemDrive: other, `\DosDevices\D:`: old, `\??\Volume{x}`: old} {
		if err := k.SetBinary(name, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.moveLetters(old, now); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{systemDrive: other, `\DosDevices\D:`: now, `\??\Volume{x}`: now} {
		if v, err := k.Value(name); err != nil || string(v.Data) != string(want) {
			t.Errorf("%s: % x, %v, want % x", name, v.Data, err, want)
		}
	}
	if err := s.moveLetters(mbrIdentity(0x44444444, 1<<20), now); err != nil {
		t.Fatal(err)
	}
	if v, err := k.Value(systemDrive); err != nil || string(v.Data) != string(now) {
		t.Errorf("without a letter of its own: C: is % x, %v, want the new volume", v.Data, err)
	}
}

func TestNoPagingInAnyControlSet(t *testing.T) {
	s := loaded(t, "x86")
	if _, err := s.hive.Root().Create(`ControlSet002\Control`); err != nil {
		t.Fatal(err)
	}
	if err := s.noPaging(); err != nil {
		t.Fatal(err)
	}
	if err := s.saveHive(); err != nil {
		t.Fatal(err)
	}
	h, err := winsys.OpenHive(s.tree, s.hivePath)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"ControlSet001", "ControlSet002"} {
		list, err := h.Root().Strings(set+`\Control\Session Manager\Memory Management`, "PagingFiles")
		if err != nil || len(list) != 0 {
			t.Errorf("%s: page files %q, %v, want none", set, list, err)
		}
		if n, err := h.Root().Uint(set+`\Control\Power`, "HibernateEnabled"); err != nil || n != 0 {
			t.Errorf("%s: hibernation %d, %v, want 0", set, n, err)
		}
	}
}

func TestMenuEntryOf32BitSystemStaysLow(t *testing.T) {
	r := &Result{Windows: loaded(t, "x86").facts, Title: "Windows 7 (x86)"}
	want := "title Windows 7 (x86) in RAM\nfind --set-root --ignore-floppies /dir/a.ram\nmap --mem /dir/a.ram (hd0)\nmap --hook\nroot (hd0,0)\nchainloader /bootmgr\n"
	if got := r.MenuEntry(`\dir\a.ram`); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRAMDiskElements holds the bytes that boot managers took: ramdisk=[boot]\a.ram, options with the offset of the volume.
func TestRAMDiskElements(t *testing.T) {
	store, err := bcd.NewMenu(bcd.Menu{})
	if err != nil {
		t.Fatal(err)
	}
	r := &Result{Windows: loaded(t, "x64").facts, Title: "x", Offset: partitionStart}
	for i, want := range []bool{true, false} {
		if added, err := r.AddRAMDisk(store, bcd.Boot{}, `\a.ram`, false); err != nil || added != want {
			t.Fatalf("run %d: added %t, %v, want %t", i, added, err, want)
		}
	}
	entries, err := store.Entries()
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v, want 1", len(entries), err)
	}
	for _, id := range []bcd.ElementID{bcd.DeviceElement, bcd.OSDeviceElement} {
		e, err := entries[0].Element(id)
		if err != nil {
			t.Fatal(err)
		}
		d, err := e.Device()
		if err != nil {
			t.Fatal(err)
		}
		const fixed, name = 140, `\a.ram`
		if got := len(d.Marshal()); got != fixed+2*(len(name)+1) {
			t.Errorf("device of %d bytes, want %d", got, fixed+2*(len(name)+1))
		}
		o, err := store.Object(d.Options)
		if err != nil {
			t.Fatal(err)
		}
		off, err := o.Element(bcd.RAMDiskOffsetElement)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := off.Integer(); err != nil || n != partitionStart || o.Type != bcd.DeviceOptions {
			t.Errorf("offset %d, %v, in an object of type %v", n, err, o.Type)
		}
	}
}

func TestLimits(t *testing.T) {
	x86, x64 := loaded(t, "x86").facts, loaded(t, "x64").facts
	for _, tt := range []struct {
		name  string
		facts *winsys.Facts
		size  int64
		o     Options
		want  string
	}{
		{"4 GiB", x64, 4 << 30, Options{}, ""},
		{"4 GiB compressed", x64, 4 << 30, Options{Gzip: true}, "32 bits"},
		{"below 4 GiB with its footer", x64, 4<<30 - 512, Options{Gzip: true}, "32 bits"},
		{"just below", x64, 4<<30 - 1024, Options{Gzip: true}, ""},
		{"too much for 32 bits", x86, 2 << 30, Options{}, "below 4 GiB"},
		{"forced", x86, 2 << 30, Options{Force: true}, ""},
		{"machine", x64, 2 << 30, Options{Memory: 4<<30 - 1}, "needs a machine with 4.00 GiB"},
		{"machine that holds it", x64, 2 << 30, Options{Memory: 4 << 30}, ""},
	} {
		err := fits(&Result{Windows: tt.facts, DiskBytes: tt.size}, &tt.o)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestDropKeepsTheOverlay(t *testing.T) {
	s := loaded(t, "x64")
	for _, name := range []string{"swapfile.sys", "System Volume Information/WimOverlay.dat", "System Volume Information/{1}{2}"} {
		s.put(name, &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte("x"))})
	}
	got := strings.Join(s.drop(), " ")
	for _, gone := range []string{"pagefile.sys", "hiberfil.sys", "swapfile.sys", "System Volume Information/{1}{2}"} {
		if !strings.Contains(got, gone) || s.tree.Lookup(gone) != nil {
			t.Errorf("%s stays", gone)
		}
	}
	if s.tree.Lookup("System Volume Information/WimOverlay.dat") == nil {
		t.Error("WimOverlay.dat went")
	}
}

// TestMakeFromBareVolume makes a raw image of a system on a volume without partition table, and has the programs of ntfs-3g and
// hivex read it.
func TestMakeFromBareVolume(t *testing.T) {
	ctx := context.Background()
	s := loaded(t, "x64")
	service(t, s, "svbusx64", "", 0)
	b, err := s.hive.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	s.put(s.hivePath, &winfile.Info{Links: 1, Data: winfile.NewBlob(b)})
	s.put("Windows/System32/drivers/svbusx64.sys", &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte("driver"))})
	layout, err := ntfs.NewLayout(s.tree, &ntfs.BuildOptions{Size: 256 << 20, Label: "系统", Serial: 0x1122334455667788})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	from, target, part := filepath.Join(dir, "volume.img"), filepath.Join(dir, "ram.img"), filepath.Join(dir, "part.img")
	f, err := os.Create(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(256<<20), layout.Write(ctx, f), f.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := Make(ctx, from, target, &Options{Raw: true, Free: 8 << 20, UI: ui.New(nil, io.Discard, io.Discard, "en")})
	if err != nil {
		t.Fatal(err)
	}
	if r.FreeBytes < 8<<20 || r.DiskBytes > 64<<20 || r.Signature == 0 || len(r.Drivers) != 1 || r.FileBytes != r.DiskBytes {
		t.Errorf("disk of %d, %d free, signature %#x, drivers %v, file of %d", r.DiskBytes, r.FreeBytes, r.Signature, r.Drivers, r.FileBytes)
	}
	image, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(part, image[partitionStart:], 0o600); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "sfdisk", "-V", target)
	reftool.Run(t, "ntfsfix", "-n", part)
	if out := string(reftool.Run(t, "ntfsinfo", "-mf", part)); !strings.Contains(out, "系统") {
		t.Errorf("ntfsinfo has no label in\n%s", out)
	}
	want, err := s.tree.Lookup("Windows/Boot/PCAT/bootmgr").Info.Data.ReadAll(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if got := reftool.Run(t, "ntfscat", "-f", part, "/bootmgr"); string(got) != string(want) {
		t.Errorf("ntfscat reads %d bytes of bootmgr, want %d", len(got), len(want))
	}
	hive := filepath.Join(dir, "SYSTEM")
	if err := os.WriteFile(hive, []byte(reftool.Run(t, "ntfscat", "-f", part, "/Windows/System32/config/SYSTEM")), 0o600); err != nil {
		t.Fatal(err)
	}
	out := string(reftool.Run(t, "reglookup", "-p", "/MountedDevices", hive))
	id := ""
	for _, c := range mbrIdentity(r.Signature, partitionStart) {
		if c < 0x20 || c > 0x7e || strings.ContainsRune(`%,"\`, rune(c)) {
			id += fmt.Sprintf("%%%02X", c)
		} else {
			id += string(rune(c))
		}
	}
	if !strings.Contains(out, `C:,BINARY,`+id) {
		t.Errorf("C: is not the new volume %s in\n%s", id, out)
	}
	if _, err := Make(ctx, from, target, &Options{UI: ui.New(nil, io.Discard, io.Discard, "en")}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v, want it to spare the image that is there", err)
	}
}
