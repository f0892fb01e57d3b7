package winsys

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/internal/reftool"
	"husk/internal/sample"
	"husk/internal/tree"
	"husk/regf"
	"husk/wim"
	"husk/winfile"
)

func system(t *testing.T, arch string) *winfile.Tree {
	t.Helper()
	tr, err := sample.Tree(sample.Options{Arch: arch, Programs: 8})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestFacts(t *testing.T) {
	for arch, code := range map[string]int{"x64": 9, "x86": 0} {
		f, err := Read(system(t, arch))
		if err != nil {
			t.Fatal(err)
		}
		drivers := f.BootDrivers
		f.BootDrivers = nil
		want := &Facts{
			Folder: "Windows", Arch: code, ProductName: "Windows 7 Ultimate", EditionID: "Ultimate", InstallationType: "Client",
			Major: 6, Minor: 1, Build: 7601, Branch: "win7sp1_rtm", ControlSet: "ControlSet001", ServicePack: 1, SPBuild: 1130,
			ProductType: "WinNT", ProductSuite: "Terminal Server", HAL: "acpiapic_mp", Languages: []string{"zh-CN"}, DefaultLanguage: "zh-CN",
		}
		if d := cmp.Diff(want, f); d != "" {
			t.Errorf("%s: %s", arch, d)
		}
		if len(drivers) == 0 {
			t.Errorf("%s: no boot drivers", arch)
		}
		for _, d := range drivers {
			if !strings.HasPrefix(d.Image, "system32/drivers/") {
				t.Errorf("%s: %+v", arch, d)
			}
		}
	}
}

// What we say of a system is what wimlib says of the same folder.
func TestDescribeAsWimlib(t *testing.T) {
	dir := t.TempDir()
	tr := system(t, "x64")
	src := filepath.Join(dir, "src")
	if _, err := tree.ApplyFolder(context.Background(), tr, src, nil); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "w.wim")
	reftool.Run(t, "wimlib-imagex", "capture", src, file, "--compress=none", "--no-acls")
	r, err := wim.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	want := r.Images()[0].Info()
	got := wim.ImageInfo{}
	if err := Describe(&got, tr); err != nil {
		t.Fatal(err)
	}
	got.Windows.Branch = "" // wimlib does not write it
	if d := cmp.Diff(want.Windows, got.Windows); d != "" {
		t.Error(d)
	}
	if got.Flags != want.Flags || got.DisplayName != want.DisplayName || got.DisplayDescription != want.DisplayDescription {
		t.Errorf("flags %q, %q, %q, want %q, %q, %q", got.Flags, got.DisplayName, got.DisplayDescription, want.Flags, want.DisplayName, want.DisplayDescription)
	}
	set := wim.ImageInfo{Flags: "Professional", DisplayName: "mine"}
	if err := Describe(&set, tr); err != nil || set.Flags != "Professional" || set.DisplayName != "mine" {
		t.Errorf("%+v, %v", set, err)
	}
}

// put replaces the hive at a path.
func put(t *testing.T, tr *winfile.Tree, path string, change func(h *regf.Hive)) {
	t.Helper()
	h, err := OpenHive(tr, path)
	if err != nil {
		t.Fatal(err)
	}
	change(h)
	b, err := h.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	tr.Lookup(path).Info.Data = winfile.NewBlob(b)
}

func TestFactsOfNewerWindows(t *testing.T) {
	tr := system(t, "x64")
	put(t, tr, "Windows/System32/config/SOFTWARE", func(h *regf.Hive) {
		k, err := h.Root().Lookup(`Microsoft\Windows NT\CurrentVersion`)
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range map[string]uint32{"CurrentMajorVersionNumber": 10, "CurrentMinorVersionNumber": 0, "UBR": 3570} {
			if err := k.SetDWord(name, n); err != nil {
				t.Fatal(err)
			}
		}
		for name, s := range map[string]string{"CurrentVersion": "6.3", "CurrentBuild": "22631", "DisplayVersion": "23H2", "BuildBranch": "ni_release"} {
			if err := k.SetSZ(name, s); err != nil {
				t.Fatal(err)
			}
		}
	})
	put(t, tr, "Windows/System32/config/SYSTEM", func(h *regf.Hive) {
		sel, err := h.Root().Lookup("Select")
		if err != nil {
			t.Fatal(err)
		}
		if err := sel.SetDWord("Current", 2); err != nil {
			t.Fatal(err)
		}
		s, err := h.Root().Create(`ControlSet002\Services\disk`)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.SetDWord("Start", 0), s.SetDWord("Type", 1), s.SetSZ("Group", "SCSI Class")); err != nil {
			t.Fatal(err)
		}
	})
	f, err := Read(tr)
	if err != nil {
		t.Fatal(err)
	}
	if f.Major != 10 || f.Minor != 0 || f.Build != 22631 || f.UBR != 3570 || f.Branch != "ni_release" || f.ControlSet != "ControlSet002" || f.WIM().SPBuild != 3570 {
		t.Errorf("%+v", f)
	}
	if d := cmp.Diff(f.BootDrivers, []Driver{{"disk", "SCSI Class", "System32/drivers/disk.sys"}}); d != "" {
		t.Error(d)
	}
}

func TestFactsOfDamagedSystems(t *testing.T) {
	tr := system(t, "x64")
	tr.Lookup("Windows/System32/config/SOFTWARE").Info.Data = winfile.NewBlob([]byte("no hive"))
	tr.Lookup("Windows/System32/kernel32.dll").Info.Data = winfile.NewBlob(make([]byte, 100))
	f, err := Read(tr)
	if !errors.Is(err, regf.ErrNotHive) || !strings.Contains(err.Error(), "kernel32.dll") || f.ServicePack != 1 || f.Arch != -1 {
		t.Errorf("%+v, %v", f, err)
	}
	i := wim.ImageInfo{}
	if err := Describe(&i, tr); err == nil || i.Windows != nil {
		t.Errorf("%+v, %v", i, err)
	}
	if f, err := Read(&winfile.Tree{Root: &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory}}}); f != nil || err != nil {
		t.Errorf("an empty tree: %+v, %v", f, err)
	}
}

func TestOpenHiveReplaysLogs(t *testing.T) {
	tr := system(t, "x86")
	path, err := HivePath(tr, "software")
	if err != nil || path != "Windows/System32/config/SOFTWARE" {
		t.Fatal(path, err)
	}
	b, err := readAll(tr, path)
	if err != nil {
		t.Fatal(err)
	}
	b = append([]byte(nil), b...)
	b[4]++ // opened and not closed; the checksum is of no matter then
	tr.Lookup(path).Info.Data = winfile.NewBlob(b)
	if _, err := OpenHive(tr, path); !errors.Is(err, regf.ErrDirty) {
		t.Errorf("bad base block, empty logs: %v", err)
	}
	// An old log that has the base block and no page.
	log := append([]byte(nil), b[:512]...)
	binary.LittleEndian.PutUint32(log[0x1c:], 1)
	log[4]--
	var sum uint32
	for i := 0; i < 508; i += 4 {
		sum ^= binary.LittleEndian.Uint32(log[i:])
	}
	binary.LittleEndian.PutUint32(log[508:], sum)
	log = append(append(log, "DIRT"...), make([]byte, len(b)/4096+512)...)
	tr.Lookup(path + ".LOG1").Info.Data = winfile.NewBlob(log)
	h, err := OpenHive(tr, path)
	if err != nil || !h.Recovery.Complete || h.Recovery.Format != "DIRT" {
		t.Fatalf("%+v, %v", h, err)
	}
	if _, err := HivePath(tr, "COMPONENTS"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a hive that is not there: %v", err)
	}
	if path, err := HivePath(tr, "bcd"); path != "Boot/BCD" || err != nil {
		t.Error(path, err)
	}
	if path, err := HivePath(tr, `\Users\Default\NTUSER.DAT`); path != "Users/Default/NTUSER.DAT" || err != nil {
		t.Error(path, err)
	}
}

func TestImagePath(t *testing.T) {
	for in, want := range map[string]string{
		``: ``, `system32\drivers\a.sys`: `system32/drivers/a.sys`, `\SystemRoot\System32\drivers\a.sys`: `System32/drivers/a.sys`,
		`\??\C:\Windows\x\a.sys`: `x/a.sys`, `%SystemRoot%\a.sys`: `a.sys`, `"C:\WINDOWS\a.sys"`: `a.sys`,
	} {
		if got := ImagePath(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for id, want := range map[uint32]string{0x409: "en-US", 0x804: "zh-CN", 0xffff: "0xffff"} {
		if got := languageTag(id); got != want {
			t.Errorf("%#x: %s, want %s", id, got, want)
		}
	}
}
