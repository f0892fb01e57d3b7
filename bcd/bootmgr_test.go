package bcd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/bcd"
	"husk/bootcode"
	"husk/fat"
	"husk/gpt"
	"husk/guid"
	"husk/internal/reftool"
	"husk/mbr"
	"husk/ntfs"
	"husk/winfile"
)

// The menu that these tests have boot managers show. The second entry has no loader.
var titles = []string{"Windows 7 x64", "旗舰版 x86"}

const (
	missingRoot = `\Missing`
	sectorSize  = 512
	firstSector = 2048
	volumeSize  = 64 << 20
)

// bootDisk is the image of a disk with boot files and a store made by us: MBR and NTFS for a BIOS, GPT and FAT32 for UEFI. Files are by
// slash path; the store is added.
func bootDisk(t *testing.T, efi bool, files map[string][]byte) string {
	t.Helper()
	diskID, partID := guid.GUID{1}, guid.GUID{2}
	device := bcd.Device{Where: bcd.MBRPartition(0x6b737568, firstSector*sectorSize)}
	path := "Boot/BCD"
	if efi {
		device = bcd.Device{Where: bcd.GPTPartition(diskID, partID)}
		path = "EFI/Microsoft/Boot/BCD"
	}
	files[path] = menuStore(t, efi, device)
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory}}
	for path, b := range files {
		dir := root
		for names := strings.Split(path, "/"); ; names = names[1:] {
			e := dir.Child(names[0])
			if e == nil {
				e = &winfile.Entry{Name: names[0], Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
				dir.Children = append(dir.Children, e)
			}
			if dir = e; len(names) == 1 {
				e.Info = &winfile.Info{Data: winfile.NewBlob(b), Links: 1}
				break
			}
		}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = firstSector*sectorSize + volumeSize + 1<<20
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	var layout interface {
		Write(context.Context, io.WriterAt) error
	}
	tree := &winfile.Tree{Root: root}
	if efi {
		table, tableErr := gpt.New(diskID, size, sectorSize)
		if tableErr == nil {
			_, tableErr = table.Add(gpt.Partition{Type: gpt.TypeESP, GUID: partID}, volumeSize)
		}
		if tableErr == nil {
			tableErr = table.Write(f, size)
		}
		if tableErr != nil {
			t.Fatal(tableErr)
		}
		layout, err = fat.NewLayout(tree, fat.Options{Size: volumeSize, HiddenSectors: firstSector})
	} else {
		table := mbr.Table{Signature: 0x6b737568, BootCode: bootcode.MBR()}
		table.Parts[0] = mbr.Partition{Active: true, Type: mbr.TypeNTFS, Start: firstSector, Sectors: volumeSize / sectorSize}
		b, tableErr := table.Marshal()
		if tableErr == nil {
			_, tableErr = f.WriteAt(b, 0)
		}
		if tableErr != nil {
			t.Fatal(tableErr)
		}
		layout, err = ntfs.NewLayout(tree, &ntfs.BuildOptions{Size: volumeSize, HiddenSectors: firstSector, BootSector: bootcode.NTFS(), LogSize: 256 << 10})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Write(t.Context(), io.NewOffsetWriter(f, firstSector*sectorSize)); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// menuStore is a store whose menu the boot manager also shows on COM1.
func menuStore(t *testing.T, efi bool, device bcd.Device) []byte {
	t.Helper()
	s, err := bcd.NewMenu(bcd.Menu{Release: bcd.Windows7, EFI: efi, Timeout: 90})
	if err != nil {
		t.Fatal(err)
	}
	for i, title := range titles {
		w := bcd.Windows{Release: bcd.Windows7, EFI: efi, Device: device, Description: title}
		if i == 1 {
			w.SystemRoot = missingRoot
		}
		if _, err := s.AddWindows(w, nil); err != nil {
			t.Fatal(err)
		}
	}
	manager, err := s.Object(bcd.BootManagerID)
	if err == nil {
		err = errors.Join(s.SetEMS(1, 115200), manager.SetBoolean(bcd.BootEMSElement, true))
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// chooseSecond starts a machine, reads the menu of its boot manager, and starts the second entry, whose loader is not there.
func chooseSecond(t *testing.T, m reftool.Machine) {
	t.Helper()
	m.Screen = true
	var c *reftool.Console
	var failure *reftool.BootFailure
	step := 0
	done := m.Talk(t, func(said []byte) (string, bool) {
		c = reftool.Show(said)
		menu := c.Menu()
		switch {
		case step == 0 && menu != nil && slices.Equal(menu.Entries, titles) && menu.Chosen == titles[0]:
			step++
			return "\x1b[B", false
		case step == 1 && menu != nil && menu.Chosen == titles[1]:
			step++
			return "\r", false
		}
		failure = c.Failure()
		return "", failure != nil
	})
	if !done || step < 2 {
		t.Fatalf("after %d steps the boot manager shows\n%s", step, strings.Join(c.Rows(), "\n"))
	}
	if failure.Status != 0xc000000f || !strings.HasPrefix(strings.ToLower(failure.File), strings.ToLower(missingRoot)+`\system32\winload`) {
		t.Errorf("it fails with %#x for %q", failure.Status, failure.File)
	}
}

// TestBootManagerStub is TestBootManager with a program of ours that talks as the boot manager does.
func TestBootManagerStub(t *testing.T) {
	dir := t.TempDir()
	menu := func(chosen int) string {
		var b strings.Builder
		b.WriteString("\x1b[0;37;40m\x1b[2J\x1b[1;31HWindows Boot Manager\x1b[3;1HChoose an operating system to start:")
		for i, title := range titles {
			fmt.Fprintf(&b, "\x1b[%d;5H\x1b[%sm%s\x1b[0;37;40m", 6+i, map[bool]string{true: "0;30;47", false: "0;37;40"}[i == chosen], title)
		}
		return b.String() + "\x1b[9;1HSeconds until the highlighted choice will be started automatically: 90"
	}
	args := []string{"-f", "bin", "-o", filepath.Join(dir, "bootmgr")}
	for name, text := range map[string]string{
		"MENU": menu(0), "MOVED": menu(1),
		"FAILED": "\x1b[2J\x1b[1;31HWindows Boot Manager\x1b[6;5HFile: " + missingRoot + `\system32\winload.exe` + "\x1b[8;5HStatus: 0xc000000f",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-D"+name+"='"+filepath.Join(dir, name)+"'")
	}
	reftool.Run(t, "nasm", append(args, "testdata/ems.asm")...)
	b, err := os.ReadFile(filepath.Join(dir, "bootmgr"))
	if err != nil {
		t.Fatal(err)
	}
	chooseSecond(t, reftool.Machine{Disk: bootDisk(t, false, map[string][]byte{"bootmgr": b})})
	bootDisk(t, true, map[string][]byte{"EFI/Boot/bootx64.efi": b}) // the disk for UEFI can be made, too
}

// TestBootManager has Windows' own boot managers show our stores, read over the serial port: HUSK_BOOTFILES names a folder with files of
// the user's Windows: bootmgr and bootvhd.dll for a BIOS, bootmgfw.efi for UEFI. There is nothing of the kind that could be had otherwise,
// so without the variable the test is skipped.
func TestBootManager(t *testing.T) {
	dir := os.Getenv("HUSK_BOOTFILES")
	if dir == "" {
		t.Skip("HUSK_BOOTFILES names no folder with boot files of Windows")
	}
	// take finds the files of dir, in whatever case: from name to path.
	take := func(t *testing.T, want map[string]string) map[string][]byte {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		files := make(map[string][]byte)
		for _, e := range list {
			if path, ok := want[strings.ToLower(e.Name())]; ok && !e.IsDir() {
				if files[path], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
					t.Fatal(err)
				}
			}
		}
		return files
	}
	for name, tt := range map[string]struct {
		efi    bool
		loader string
		files  map[string]string
	}{
		"BIOS": {false, "bootmgr", map[string]string{"bootmgr": "bootmgr", "bootvhd.dll": "Boot/bootvhd.dll", "memtest.exe": "Windows/system32/winload.exe"}},
		"UEFI": {true, "EFI/Boot/bootx64.efi", map[string]string{"bootmgfw.efi": "EFI/Boot/bootx64.efi", "memtest.efi": "Windows/system32/winload.efi"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := take(t, tt.files)
			if files[tt.loader] == nil {
				t.Skipf("%s: %v: no boot manager for it", dir, fs.ErrNotExist)
			}
			chooseSecond(t, reftool.Machine{Disk: bootDisk(t, tt.efi, files), UEFI: tt.efi, Args: []string{"-m", "1024"}})
		})
	}
}
