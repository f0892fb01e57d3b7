package registry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"husk/gpt"
	"husk/guid"
	"husk/internal/reftool"
	"husk/regf"
)

// uefiDisk is an image of a GPT disk with the hive in file on an EFI system partition and, under another path, on an NTFS volume.
func uefiDisk(t *testing.T, file string) (image string, parts [2]gpt.Partition) {
	t.Helper()
	dir := t.TempDir()
	image = filepath.Join(dir, "disk.img")
	const size = 60 << 20
	f := must(os.Create(image))(t)
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	table := must(gpt.New(guid.New(), size, 512))(t)
	for i, n := range []int64{36 << 20, 20 << 20} {
		p := must(table.Add(gpt.Partition{Type: [...][16]byte{gpt.TypeESP, gpt.TypeBasicData}[i], GUID: guid.New()}, n))(t)
		parts[i] = *p
		volume := filepath.Join(dir, "volume"+strconv.Itoa(i))
		if err := os.WriteFile(volume, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			reftool.Run(t, "mkfs.fat", "-F", "32", "-s", "1", volume)
			reftool.Run(t, "mmd", "-i", volume, "::EFI", "::EFI/Microsoft", "::EFI/Microsoft/Boot")
			reftool.Run(t, "mcopy", "-i", volume, file, "::EFI/Microsoft/Boot/BCD")
		} else {
			reftool.Run(t, "mkntfs", "-F", "-Q", "-q", volume)
			reftool.Run(t, "ntfscp", volume, file, "/BCD")
		}
		b := must(os.ReadFile(volume))(t)
		if _, err := f.WriteAt(b, int64(p.First)*512); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Write(f, size); err != nil {
		t.Fatal(err)
	}
	return image, parts
}

// A hive on the EFI system partition of a disk in any form is changed where it is, and so is one on the NTFS volume beside it; fsck.fat,
// mtools and hivex look at what came out.
func TestSaveOnESP(t *testing.T) {
	image, parts := uefiDisk(t, hiveFile(t, "BCD"))
	for form, args := range map[string][]string{
		"img": {"raw"}, "vhd": {"vpc", "-o", "subformat=fixed,force_size"}, "dynamic.vhd": {"vpc", "-o", "force_size"}, "vhdx": {"vhdx"},
	} {
		t.Run(form, func(t *testing.T) {
			dir := t.TempDir()
			name, back := filepath.Join(dir, "disk."+form), filepath.Join(dir, "back")
			reftool.Run(t, "qemu-img", append(append([]string{"convert", "-O"}, args...), image, name)...)
			if _, _, err := Open(context.Background(), []string{name, "BCD"}, t.Logf); err == nil || !strings.Contains(err.Error(), "2 partitions") {
				t.Errorf("of two hives: %v", err)
			}
			for _, spec := range [][]string{{name + ":1", "bcd"}, {name + ":2", "BCD"}, {name, `\EFI\Microsoft\Boot\BCD`}} {
				h := open(t, spec...)
				h.Touch()
				if err := errors.Join(h.Root().SetSZ("new", strings.Join(spec, " ")), h.Root().SetBinary("big", make([]byte, 9000))); err != nil {
					t.Fatal(err)
				}
				if err := h.CanSave(); err != nil {
					t.Fatal(err)
				}
				if err := h.Save(); err != nil {
					t.Fatal(err)
				}
				if got := must(open(t, spec...).Root().Text("", "new"))(t); got != strings.Join(spec, " ") {
					t.Errorf("%s: %q", spec, got)
				}
			}
			reftool.Run(t, "qemu-img", "convert", "-O", "raw", name, back)
			whole := must(os.ReadFile(back))(t)
			esp, bcd := filepath.Join(dir, "esp"), filepath.Join(dir, "BCD")
			if err := os.WriteFile(esp, whole[parts[0].First*512:(parts[0].Last+1)*512], 0o600); err != nil {
				t.Fatal(err)
			}
			reftool.Run(t, "fsck.fat", "-n", esp)
			reftool.Run(t, "mcopy", "-i", esp, "::EFI/Microsoft/Boot/BCD", bcd)
			if s := strings.TrimSpace(reftool.Run(t, "hivexget", bcd, `\`, "new")); s != name+` \EFI\Microsoft\Boot\BCD` {
				t.Errorf("hivexget: %q", s)
			}
			if p := must(regf.Open(bcd))(t).Check(); len(p) > 0 {
				t.Error(p)
			}
		})
	}
}

// A volume of FAT that is the whole disk, and one that is unsound.
func TestSaveOnBareFAT(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "stick.img")
	reftool.Run(t, "mkfs.fat", "-C", "-F", "16", image, "16384")
	reftool.Run(t, "mmd", "-i", image, "::Boot")
	reftool.Run(t, "mcopy", "-i", image, hiveFile(t, "BCD"), "::Boot/BCD")
	change := func() error {
		h := open(t, image, "BCD")
		h.Touch()
		if err := h.Root().SetSZ("new", "text"); err != nil {
			t.Fatal(err)
		}
		return h.Save()
	}
	if err := change(); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "fsck.fat", "-n", image)
	if got := must(open(t, image, "BCD").Root().Text("", "new"))(t); got != "text" {
		t.Errorf("%q", got)
	}
	b := must(os.ReadFile(image))(t)
	fat := int(b[0x0e])*512 + 4
	b[fat]++ // the chain of the folder, in the first FAT alone
	if err := os.WriteFile(image, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := change(); err == nil || !strings.Contains(err.Error(), "FAT 2") {
		t.Errorf("a volume with differing FATs: %v", err)
	}
}
