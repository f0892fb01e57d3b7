package install

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"husk/internal/disk"
	"husk/internal/reftool"
	"husk/internal/ui"
)

// loop makes a loop device of a file that is full of noise where an old disk has its marks: at both ends, and here and there.
func loop(t *testing.T, size int64, sector int) (device, file string) {
	t.Helper()
	if os.Geteuid() != 0 {
		reftool.Skip(t, "no right to make loop devices")
	}
	file = filepath.Join(t.TempDir(), "back.img")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 2*mib)
	rand.Read(noise)
	for off := int64(0); off < size; off += 64 * mib {
		if _, err := f.WriteAt(noise[:min(int64(len(noise)), size-off)], off); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteAt(noise, size-int64(len(noise))); err != nil {
		t.Fatal(err)
	}
	out, err := reftool.Try(t, "losetup", "-f", "--show", "-b", fmt.Sprint(sector), file)
	if err != nil {
		reftool.Skip(t, "no loop devices: %s", out)
	}
	device = strings.TrimSpace(out)
	t.Cleanup(func() { reftool.Run(t, "losetup", "-d", device) })
	return device, file
}

const deviceSize = 400 * mib // the EFI system partition has 260 MiB, with sectors of 4096 bytes

// TestDevice installs onto disks with sectors of both sizes that were full of something else, and reads all of it back: partition tables and
// volumes by programs that nobody here wrote, and the firmware starts it.
func TestDevice(t *testing.T) {
	image := images(t, false, "x64") + ":1"
	for _, tt := range []struct {
		sector   int
		firmware Firmware
	}{{512, BIOS}, {512, UEFI}, {4096, Auto}} {
		t.Run(fmt.Sprintf("%d%s", tt.sector, tt.firmware), func(t *testing.T) {
			device, file := loop(t, deviceSize, tt.sector)
			o := &Options{Firmware: tt.firmware, Overwrite: true, UI: quiet(t)}
			r, err := Install(context.Background(), []string{image}, device, o)
			if err != nil {
				t.Fatal(err)
			}
			if r.DiskBytes != deviceSize || r.Sector != tt.sector || r.Device == nil || len(r.Device.Content) == 0 {
				t.Errorf("%+v %+v", r, r.Device)
			}
			if r.Firmware == UEFI {
				if out := reftool.Run(t, "sgdisk", "-v", device); !strings.Contains(out, "No problems found") {
					t.Errorf("%s", out)
				}
				esp := cut(t, file, r.Partitions[0])
				reftool.Run(t, "fsck.fat", "-n", esp)
			} else {
				reftool.Run(t, "sfdisk", "-V", device)
			}
			win := cut(t, file, r.Partitions[len(r.Partitions)-1])
			reftool.Run(t, "ntfsfix", "-n", win)
			reftool.Run(t, "ntfsinfo", "-m", win)
			_, main, _ := volumes(t, file)
			if main.Lookup("Windows/System32/ntoskrnl.exe") == nil {
				t.Error("no kernel")
			}
			m := reftool.Machine{Disk: file, UEFI: r.Firmware == UEFI, Sector: tt.sector}
			if m.UEFI {
				m.Boot(t, "uefi: partition=0000000000000001")
			} else {
				m.Boot(t, "bootmgr of the image")
			}
		})
	}
}

// cut copies a partition out of a disk.
func cut(t *testing.T, disk string, p Partition) string {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := filepath.Join(t.TempDir(), "partition")
	w, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := io.Copy(w, io.NewSectionReader(f, p.Offset, p.Size)); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestDeviceRefusals: what is in use, too small, read-only or not empty is left as it is, to the last byte.
func TestDeviceRefusals(t *testing.T) {
	image := images(t, false, "x64") + ":1"
	device, file := loop(t, 64*mib, 512)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what, want string, o Options) {
		t.Helper()
		o.UI = quiet(t)
		_, err := Install(context.Background(), []string{image}, device, &o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
		if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, before) {
			t.Fatalf("%s: the disk was changed, %v", what, err)
		}
	}
	try("not empty", "the disk is not empty: data of an unknown kind", Options{Firmware: BIOS})
	try("size", "--size", Options{Firmware: BIOS, Size: 32 << 20, Overwrite: true})
	try("format", "not of the form", Options{Firmware: BIOS, Format: FormatVHDX, Overwrite: true})
	try("sector", "sectors of 512 bytes", Options{Firmware: BIOS, Sector: 4096, Overwrite: true})
	try("too small", "", Options{Firmware: UEFI, Overwrite: true}) // the EFI system partition alone is larger
	_, err = Install(context.Background(), []string{image}, device, &Options{Firmware: BIOS, UI: quiet(t)})
	if !errors.Is(err, ErrNotEmpty) {
		t.Errorf("not empty: %v, want ErrNotEmpty", err)
	}
	_, err = Install(context.Background(), []string{image}, file, &Options{Firmware: BIOS, Overwrite: true, UI: quiet(t)})
	if err == nil || !strings.Contains(err.Error(), "is the disk of "+device) {
		t.Errorf("the file of a loop device: %v", err)
	}
	r, err := Install(context.Background(), []string{image}, device, &Options{Firmware: BIOS, DryRun: true, UI: quiet(t)})
	if err != nil || len(r.Device.Content) != 1 {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	try("after the dry run", "not empty", Options{Firmware: BIOS})

	reftool.Run(t, "blockdev", "--setro", device)
	try("read-only", "is read-only", Options{Firmware: BIOS, Overwrite: true})
	reftool.Run(t, "blockdev", "--setrw", device)

	f, err := os.OpenFile(device, os.O_RDWR|unix.O_EXCL, 0) // as what the kernel uses
	if err != nil {
		t.Fatal(err)
	}
	try("busy", "busy", Options{Firmware: BIOS, Overwrite: true})
	f.Close()

	reftool.Run(t, "mkfs.ext4", "-q", "-F", device)
	point := t.TempDir()
	if out, err := reftool.Try(t, "mount", device, point); err != nil {
		reftool.Skip(t, "no mounts: %s", out)
	}
	if before, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	_, err = Install(context.Background(), []string{image}, device, &Options{Firmware: BIOS, Overwrite: true, UI: quiet(t)})
	if err == nil || !strings.Contains(err.Error(), "is mounted on "+point) {
		t.Errorf("mounted: %v", err)
	}
	reftool.Run(t, "umount", point)
	_, err = Install(context.Background(), []string{image}, device, &Options{Firmware: BIOS, UI: quiet(t)})
	if err == nil || !strings.Contains(err.Error(), "ext2, ext3 or ext4, without partitions") {
		t.Errorf("with a file system: %v", err)
	}
}

// TestDeviceDamagedImage: contents that do not read are found before the device is touched.
func TestDeviceDamagedImage(t *testing.T) {
	device, file := loop(t, 128*mib, 512)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wimFile := images(t, false, "x64")
	b, err := os.ReadFile(wimFile)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)/2:], bytes.Repeat([]byte{0xa5}, 20000)) // contents; metadata and tables are at the end
	if err := os.WriteFile(wimFile, b, 0o600); err != nil {
		t.Fatal(err)
	}
	u := quiet(t)
	_, err = Install(context.Background(), []string{wimFile + ":1"}, device, &Options{Firmware: BIOS, Overwrite: true, UI: u})
	if err == nil || !strings.Contains(u.HintOf(err), "was not touched") {
		t.Errorf("%v, hint %q", err, u.HintOf(err))
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the disk was changed, %v", err)
	}
}

// TestDeviceSource: a disk is not overwritten that the image is on.
func TestDeviceSource(t *testing.T) {
	device, _ := loop(t, 128*mib, 512)
	image := images(t, false, "x64") + ":1"
	if _, err := Install(context.Background(), []string{image}, device, &Options{Firmware: BIOS, Overwrite: true, UI: quiet(t)}); err != nil {
		t.Fatal(err)
	}
	_, err := Install(context.Background(), []string{device}, device, &Options{Firmware: BIOS, Overwrite: true, UI: quiet(t)})
	if err == nil || !strings.Contains(err.Error(), "the source itself") {
		t.Errorf("%v", err)
	}
	_, err = Install(context.Background(), []string{image}, device, &Options{Firmware: BIOS, UI: quiet(t)})
	if err == nil || !strings.Contains(err.Error(), "partition 1: ") || !strings.Contains(err.Error(), "NTFS") {
		t.Errorf("%v", err)
	}
}

// TestDeviceAnswer: what is on the disk is shown, and a yes overwrites it.
func TestDeviceAnswer(t *testing.T) {
	device, file := loop(t, 128*mib, 512)
	image := images(t, false, "x64") + ":1"
	u := ui.New(strings.NewReader(""), io.Discard, io.Discard, "en")
	u.Yes = true
	if _, err := Install(context.Background(), []string{image}, device, &Options{Firmware: BIOS, UI: u}); err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open(file)
	if err != nil || len(d.Partitions) != 1 {
		t.Fatalf("%+v %v", d, err)
	}
	d.Close()
}
