package mounted

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestIn gives in a system whose folder is the mount point of the second partition of a disk.
func TestIn(t *testing.T) {
	root := t.TempDir()
	point := filepath.Join(root, "my disk")
	file := filepath.Join(point, "wimboot", "wimboot.wim")
	for _, d := range []string{filepath.Dir(file), filepath.Join(root, "sys/dev/block"), filepath.Join(root, "sys/devices/nvme0n1/nvme0n1p2")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		t.Fatal(err)
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	node := filepath.Join(root, "sys/devices/nvme0n1/nvme0n1p2")
	if err := os.Symlink(node, filepath.Join(root, "sys/dev/block", dev)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(node, "partition"), []byte("2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mountinfo := filepath.Join(root, "mountinfo")
	write := func(lines ...string) {
		if err := os.WriteFile(mountinfo, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	line := func(root, point string) string {
		return "36 35 " + dev + " " + root + " " + strings.ReplaceAll(point, " ", `\040`) + " rw,noatime - fuseblk /dev/x rw"
	}

	write("1 0 0:1 / / rw - proc proc rw", line("/", "/"), line("/", point))
	at, err := in(file, mountinfo, filepath.Join(root, "sys"))
	if want := (Place{"/dev/nvme0n1:2", "/wimboot/wimboot.wim"}); err != nil || at != want {
		t.Errorf("%v, %v, want %v", at, err, want)
	}
	write(line("/inner", point)) // a bind mount of a folder
	at, err = in(file, mountinfo, filepath.Join(root, "sys"))
	if want := "/inner/wimboot/wimboot.wim"; err != nil || at.Path != want {
		t.Errorf("bind mount: %v, %v, want %s", at, err, want)
	}
	write(line("/", "/elsewhere"))
	if at, err := in(file, mountinfo, filepath.Join(root, "sys")); err == nil {
		t.Errorf("no mount has it: %v", at)
	}
	if err := os.Remove(filepath.Join(node, "partition")); err != nil {
		t.Fatal(err)
	}
	write(line("/", point))
	if at, err := in(file, mountinfo, filepath.Join(root, "sys")); err == nil || !strings.Contains(err.Error(), "nvme0n1p2 is no partition") {
		t.Errorf("a whole disk: %v, %v", at, err)
	}
}

// TestUsersOf gives usersOf a system with a disk of three partitions: one mounted, one mounted by FUSE, one part of a RAID.
func TestUsersOf(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("sys/devices/sda/dev", "8:0\n")
	for i := range 4 {
		p := fmt.Sprintf("sys/devices/sda/sda%d/", i+1)
		write(p+"dev", fmt.Sprintf("8:%d\n", i+1))
		write(p+"partition", fmt.Sprintf("%d\n", i+1))
	}
	write("sys/devices/sda/sda3/holders/md0", "")
	write("sys/devices/sdb/dev", "8:16\n")
	write("proc/self/mountinfo", "36 35 8:1 / /boot rw - ext4 /dev/sda1 rw\n37 35 0:50 / /my\\040disk rw - fuseblk /dev/sda2 rw\n38 35 0:2 / /proc rw - proc proc rw\n")
	write("proc/swaps", "Filename Type Size Used Priority\n/dev/sda4 partition 100 0 -2\n")
	for dev, node := range map[string]string{"8:0": "sda", "8:16": "sdb", "8:3": "sda/sda3"} {
		link := filepath.Join(root, "sys/dev/block", dev)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(root, "sys/devices", node), link); err != nil {
			t.Fatal(err)
		}
	}
	for dev, want := range map[string]string{
		"8:0":  "sda1 is mounted on /boot; sda2 is mounted on /my disk; sda3 is part of md0; sda4 is swap space",
		"8:16": "", "8:3": "sda3 is part of md0",
	} {
		got, err := usersOf(dev, filepath.Join(root, "proc"), filepath.Join(root, "sys"))
		if err != nil || strings.Join(got, "; ") != want {
			t.Errorf("%s: %q, %v, want %q", dev, got, err, want)
		}
	}
	image := filepath.Join(root, "disk.img")
	write("disk.img", "")
	write("sys/block/loop7/loop/backing_file", image+"\n")
	write("sys/block/loop8/loop/backing_file", "/elsewhere\n")
	write("sys/block/loop9/loop/backing_file", "/dev/sdb\n")
	if got, err := usersOf("8:16", filepath.Join(root, "proc"), filepath.Join(root, "sys")); err != nil || strings.Join(got, "; ") != "sdb is the disk of /dev/loop9" {
		t.Errorf("sdb: %q, %v", got, err)
	}
	write("sys/devices/sda/ro", "1\n")
	write("sys/devices/sda/device/model", "SSD 850  \n")
	write("sys/devices/sda/device/vendor", "ATA\n")
	for dev, want := range map[string]Device{
		"8:0": {Name: "sda", Disk: "sda", ReadOnly: true, Model: "ATA SSD 850"}, "8:3": {Name: "sda3", Disk: "sda", Partition: 3, ReadOnly: true, Model: "ATA SSD 850"},
		"8:16": {Name: "sdb", Disk: "sdb"},
	} {
		if got, err := lookAt(dev, filepath.Join(root, "sys")); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", dev, got, err, want)
		}
	}
	if got, err := loops(image, filepath.Join(root, "sys")); err != nil || len(got) != 1 || got[0] != "/dev/loop7" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestIsDevice: a device goes by many names.
func TestIsDevice(t *testing.T) {
	dir := t.TempDir()
	node, link, file := filepath.Join(dir, "node"), filepath.Join(dir, "by-id"), filepath.Join(dir, "file")
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(8, 2))); err != nil {
		t.Skipf("no right to make nodes: %v", err)
	}
	if err := errors.Join(os.Symlink("node", link), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]bool{
		node: true, link: true, node + ":1": true, link + ":2": true, file: false, file + ":1": false, "tmpfs": false, "node": false, ":": false, "": false,
		filepath.Join(dir, "none"): false,
	} {
		if got := isDevice(source, "8:2"); got != want {
			t.Errorf("%q: %v, want %v", source, got, want)
		}
	}
	if isDevice(node, "8:3") {
		t.Error("another number")
	}
}
