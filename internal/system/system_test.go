package system

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"husk/bcd"
	"husk/guid"
	"husk/internal/sample"
	"husk/internal/winsys"
	"husk/winfile"
)

func TestIsUsers(t *testing.T) {
	for path, want := range map[string]bool{
		"Users/me/letter.txt":                                   true,
		"Users/me/AppData/Local/Some Browser/Bookmarks":         true,
		"Users/me/AppData/Local/Temp/x":                         false,
		"Users/me/AppData/Local/Microsoft/Windows/UsrClass.dat": false,
		"Users/me/NTUSER.DAT":                                   false,
		"Users/me/ntuser.dat.LOG1":                              false,
		"Users/letter.txt":                                      true,
		"Photos/1.jpg":                                          true,
		"todo.txt":                                              true,
		"bootmgr":                                               false,
		"pagefile.sys":                                          false,
		"Windows/System32/x.dll":                                false,
		"WINDOWS/x":                                             false,
		"Program Files (x86)/x/y":                               false,
		"ProgramData/x":                                         false,
		"Boot/BCD":                                              false,
	} {
		if got := isUsers(path, "Windows"); got != want {
			t.Errorf("%s: %t, want %t", path, got, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		path, pattern string
		want          bool
	}{
		{"Users/me/a.txt", "/Users", true},
		{"Users/me/a.txt", `\users\me`, true},
		{"Users/me/a.txt", "*.txt", true},
		{"Users/me/a.txt", "Users/*/a.txt", true},
		{"Users/me/a.txt", "Users/m", false},
		{"Users/me/a.txt", "a.txt", false},
		{"Users2/a.txt", "Users", false},
	} {
		if got := matches(tt.path, []string{"nothing", tt.pattern}); got != tt.want {
			t.Errorf("%s by %s: %t, want %t", tt.path, tt.pattern, got, tt.want)
		}
	}
}

func TestLikeness(t *testing.T) {
	blob := func(size int64, sum byte) *winfile.Blob {
		b := &winfile.Blob{Size: size}
		b.SHA1[0] = sum
		return b
	}
	stream := func(b *winfile.Blob, written winfile.Filetime) winfile.Info {
		return winfile.Info{Written: written, Streams: []winfile.Stream{{Name: "x", Data: b}}}
	}
	for _, tt := range []struct {
		name string
		a, b winfile.Info
		want verdict
	}{
		{"empty", winfile.Info{}, winfile.Info{}, equal},
		{"known", winfile.Info{Data: blob(3, 1)}, winfile.Info{Data: blob(3, 1)}, equal},
		{"known to differ", winfile.Info{Data: blob(3, 1), Written: 5}, winfile.Info{Data: blob(3, 2), Written: 5}, differ},
		{"size", winfile.Info{Data: blob(3, 0)}, winfile.Info{Data: blob(4, 0)}, differ},
		{"time", winfile.Info{Data: blob(3, 0), Written: 5}, winfile.Info{Data: blob(3, 2), Written: 5}, equal},
		{"other time", winfile.Info{Data: blob(3, 0), Written: 5}, winfile.Info{Data: blob(3, 2), Written: 6}, unsure},
		{"no time", winfile.Info{Data: blob(3, 0)}, winfile.Info{Data: blob(3, 2)}, unsure},
		{"a stream more", winfile.Info{Streams: []winfile.Stream{{Name: "x"}}}, winfile.Info{}, differ},
		{"a stream less", winfile.Info{}, winfile.Info{Streams: []winfile.Stream{{Name: "x"}}}, equal},
		{"stream of another size", stream(blob(3, 0), 5), stream(blob(4, 0), 5), differ},
		{"stream known", stream(blob(3, 1), 5), stream(blob(3, 1), 6), equal},
		{"stream known to differ", stream(blob(3, 1), 5), stream(blob(3, 2), 5), differ},
		{"stream of the same time", stream(blob(3, 0), 5), stream(blob(3, 2), 5), equal},
		{"stream that would have to be read", stream(blob(3, 0), 5), stream(blob(3, 2), 6), differ},
		{"link", winfile.Info{Reparse: &winfile.Reparse{Tag: winfile.TagSymlink, Data: []byte{1}}}, winfile.Info{Reparse: &winfile.Reparse{Tag: winfile.TagSymlink, Data: []byte{2}}}, differ},
		{"folder", winfile.Info{Attributes: winfile.AttrDirectory}, winfile.Info{}, differ},
	} {
		if got := likeness(&tt.a, &tt.b); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestFinishSwap leaves a disk as a swap leaves it that was cut off between its two renames.
func TestFinishSwap(t *testing.T) {
	name := filepath.Join(t.TempDir(), "win.vhd")
	for mark, content := range map[string]string{oldMark: "old", newMark: "new"} {
		if err := os.WriteFile(name+mark, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := finishSwap(name); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "old" {
		t.Fatalf("%q, %v", b, err)
	}
	if err := swap(name); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{name: "new", name + oldMark: "old"} {
		if b, err := os.ReadFile(file); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
	if _, err := os.Stat(name + newMark); err == nil {
		t.Error("the new disk is still there under its first name")
	}
}

// TestAdopt puts a system with a boot store on another disk.
func TestAdopt(t *testing.T) {
	tree, err := sample.Tree(sample.Options{Arch: "x64", Programs: 12})
	if err != nil {
		t.Fatal(err)
	}
	letter := func(signature uint32, offset uint64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, signature), offset)
	}
	was := letter(0x11111111, 1<<20)
	h, name, err := systemHive(tree)
	if err != nil {
		t.Fatal(err)
	}
	k, err := h.Root().Create(mountedDevices)
	if err != nil {
		t.Fatal(err)
	}
	here := identity{where: bcd.MBRPartition(0x22222222, 2<<20), letter: letter(0x22222222, 2<<20)}
	for value, data := range map[string][]byte{systemDrive: was, `\DosDevices\D:`: here.letter, `\DosDevices\E:`: {1, 2, 3}} {
		if err := k.SetBinary(value, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := putHive(tree, h, name); err != nil {
		t.Fatal(err)
	}
	menu, err := bcd.NewMenu(bcd.Menu{Release: bcd.Windows7})
	if err != nil {
		t.Fatal(err)
	}
	id, err := menu.AddWindows(bcd.Windows{Release: bcd.Windows7, Device: bcd.Device{Where: bcd.MBRPartition(0x11111111, 1<<20)}, SystemRoot: `\Windows`, Description: "one"}, guid.New)
	if err != nil {
		t.Fatal(err)
	}
	b, err := menu.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	replaceData(tree.Lookup("Boot/BCD"), b)

	if changed, err := adopt(tree, here, letter(0x33333333, 1)); err != nil || changed {
		t.Fatalf("a system that was another disk's: %t, %v", changed, err)
	}
	if changed, err := adopt(tree, here, here.letter); err != nil || !changed {
		t.Fatalf("%t, %v", changed, err)
	}
	if got := driveOf(tree); !bytes.Equal(got, here.letter) {
		t.Errorf("C: is %x, want %x", got, here.letter)
	}
	h, _, err = systemHive(tree)
	if err != nil {
		t.Fatal(err)
	}
	if k, err = h.Root().Subkey(mountedDevices); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Value(`\DosDevices\D:`); err == nil {
		t.Error("the volume has two letters")
	}
	if _, err := k.Value(`\DosDevices\E:`); err != nil {
		t.Error("another volume has lost its letter")
	}
	if h, err = winsys.OpenHive(tree, "Boot/BCD"); err != nil {
		t.Fatal(err)
	}
	s, err := bcd.Of(h)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Object(id)
	if err != nil {
		t.Fatal(err)
	}
	elements, err := o.Elements()
	if err != nil {
		t.Fatal(err)
	}
	devices := 0
	for _, e := range elements {
		if d, err := e.Device(); err == nil {
			devices++
			if d.Where != bcd.Descriptor(here.where) {
				t.Errorf("device %v, want %v", d.Where, here.where)
			}
		}
	}
	if devices != 2 {
		t.Errorf("%d devices, want 2", devices)
	}
	if changed, err := adopt(tree, here, here.letter); err != nil || changed {
		t.Errorf("a second time: %t, %v", changed, err)
	}
}
