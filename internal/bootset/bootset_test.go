package bootset

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"husk/internal/sample"
	"husk/pe/petest"
	"husk/regf"
	"husk/winfile"
)

// put makes a file in a tree, and the folders above it.
func put(t *testing.T, tree *winfile.Tree, name string, data []byte) {
	t.Helper()
	dir := tree.Root
	parts := strings.Split(name, "/")
	for i, part := range parts {
		e := dir.Child(part)
		if e == nil {
			e = &winfile.Entry{Name: part, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
			if i == len(parts)-1 {
				e.Info.Attributes = winfile.AttrArchive
			}
			dir.Children = append(dir.Children, e)
		}
		if i == len(parts)-1 {
			e.Info.Data = winfile.NewBlob(data)
		}
		dir = e
	}
}

func system(t *testing.T, drivers map[string]string) []byte {
	t.Helper()
	h, err := regf.New(5, "ROOT")
	if err != nil {
		t.Fatal(err)
	}
	set := func(path, name string, err func(*regf.Key) error) {
		k, e := h.Root().Create(path)
		if e == nil {
			e = err(k)
		}
		if e != nil {
			t.Fatal(path, name, e)
		}
	}
	set("Select", "Current", func(k *regf.Key) error { return k.SetDWord("Current", 1) })
	for name, image := range drivers {
		path := `ControlSet001\Services\` + name
		set(path, "Start", func(k *regf.Key) error { return k.SetDWord("Start", 0) })
		set(path, "Type", func(k *regf.Key) error { return k.SetDWord("Type", 1) })
		if image != "" {
			set(path, "ImagePath", func(k *regf.Key) error { return k.SetExpandSZ("ImagePath", image) })
		}
	}
	demand := `ControlSet001\Services\later`
	set(demand, "Start", func(k *regf.Key) error { return k.SetDWord("Start", 3) })
	set(demand, "Type", func(k *regf.Key) error { return k.SetDWord("Type", 1) })
	pages := `ControlSet001\Control\Nls\CodePage`
	for name, value := range map[string]string{"ACP": "936", "936": "c_936.nls", "OEMCP": "437", "437": "c_437.nls", "OEMHAL": "vgaoem.fon"} {
		set(pages, name, func(k *regf.Key) error { return k.SetSZ(name, value) })
	}
	b, err := h.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFind(t *testing.T) {
	tree := &winfile.Tree{Root: &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}}
	damaged := petest.Build([]string{"helper.sys"}, [4]uint16{1})
	damaged[bytes.Index(damaged, []byte{0xbd, 0x04, 0xef, 0xfe})] = 0 // of the version resource
	program := func(imports ...string) []byte { return petest.Build(imports, [4]uint16{6, 1, 7601, 1}) }
	for name, data := range map[string][]byte{
		"Windows/System32/kernel32.dll":          program("ntdll.dll"),
		"Windows/System32/ntdll.dll":             program(),
		"Windows/System32/ntoskrnl.exe":          program("HAL.dll", "PSHED.dll", "ext-ms-win-ntos-ks-l1-1-0.dll"),
		"Windows/System32/hal.dll":               program("ntoskrnl.exe", "kdcom.dll"),
		"Windows/System32/kdcom.dll":             program("ntoskrnl.exe"),
		"Windows/System32/pshed.dll":             program("deep.dll"),
		"Windows/System32/deep.dll":              program("..\\evil.dll"),
		"Windows/System32/drivers/disk.sys":      program("CLASSPNP.SYS", "ntoskrnl.exe"),
		"Windows/System32/drivers/classpnp.sys":  program("ntoskrnl.exe"),
		"Windows/System32/drivers/later.sys":     program("notneeded.sys"),
		"Windows/System32/drivers/notneeded.sys": program(),
		"Windows/odd/vendor.sys":                 damaged,
		"Windows/odd/helper.sys":                 program(),
		"Windows/System32/winload.exe":           []byte("not a program that can be read"),
		"Windows/System32/zh-CN/winload.exe.mui": program(),
		"Windows/System32/zh-CN/notepad.exe.mui": program(),
		"Windows/System32/Boot/winresume.efi":    program(),
		"Windows/System32/c_936.nls":             []byte("936"),
		"Windows/System32/c_437.nls":             []byte("437"),
		"Windows/System32/c_10000.nls":           []byte("mac"),
		"Windows/Fonts/vgaoem.fon":               []byte("font"),
		"Windows/System32/config/SOFTWARE":       system(t, nil),
		"Windows/System32/config/SYSTEM":         system(t, map[string]string{"disk": "", "vendor": `\SystemRoot\odd\vendor.sys`, "gone": `system32\DRIVERS\gone.sys`}),
		"Windows/System32/config/SYSTEM.LOG1":    []byte("log"),
		"Windows/System32/config/NTUSER":         []byte("no"),
	} {
		put(t, tree, name, data)
	}
	set, err := Find(tree)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(`
		Windows/Fonts/vgaoem.fon
		Windows/System32/Boot/winresume.efi
		Windows/System32/c_437.nls
		Windows/System32/c_936.nls
		Windows/System32/config/SYSTEM
		Windows/System32/config/SYSTEM.LOG1
		Windows/System32/deep.dll
		Windows/System32/drivers/classpnp.sys
		Windows/System32/drivers/disk.sys
		Windows/System32/hal.dll
		Windows/System32/kdcom.dll
		Windows/System32/ntoskrnl.exe
		Windows/System32/pshed.dll
		Windows/System32/winload.exe
		Windows/System32/zh-CN/winload.exe.mui
		Windows/odd/helper.sys
		Windows/odd/vendor.sys`)
	if got := set.Paths(); !slices.Equal(got, want) {
		t.Errorf("%q, want\n%q", got, want)
	}
	for _, f := range set.Files {
		switch f.Path {
		case "Windows/System32/deep.dll":
			if f.Why != Import || f.By != "Windows/System32/pshed.dll" {
				t.Errorf("%+v", f)
			}
		case "Windows/odd/vendor.sys":
			if f.Why != Driver || f.By != "vendor" {
				t.Errorf("%+v", f)
			}
		}
	}
	var missing []string
	for _, m := range set.Missing {
		missing = append(missing, m.Name)
	}
	slices.Sort(missing)
	if want := []string{`..\evil.dll`, "ext-ms-win-ntos-ks-l1-1-0.dll", "system32/DRIVERS/gone.sys"}; !slices.Equal(missing, want) {
		t.Errorf("missing %q, want %q", missing, want)
	}
}

func TestFindInSample(t *testing.T) {
	tree, err := sample.Tree(sample.Options{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := Find(tree)
	if err != nil || len(set.Files) < 5 {
		t.Errorf("%d files, %v", len(set.Files), err)
	}
	empty := &winfile.Tree{Root: &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}}
	if set, err := Find(empty); err != nil || len(set.Files) != 0 {
		t.Errorf("no system: %v %v", set, err)
	}
}
