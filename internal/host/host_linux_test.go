package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write makes a file with a line in it.
func write(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// machine lays out /sys and /proc of a machine with a solid-state disk, a hard disk of 4096-byte sectors and a memory stick.
func machine(t *testing.T) string {
	root := t.TempDir()
	for name, content := range map[string]string{
		"block/sda/size": "1000215216", "block/sda/dev": "8:0", "block/sda/removable": "0", "block/sda/ro": "0",
		"block/sda/queue/rotational": "0", "block/sda/queue/logical_block_size": "512", "block/sda/queue/physical_block_size": "4096",
		"block/sda/device/vendor": "ATA     ", "block/sda/device/model": "SSD 860         ",
		"block/sda/sda1/partition": "1", "block/sda/sda1/start": "2048", "block/sda/sda1/size": "204800", "block/sda/sda1/dev": "8:1",
		"block/sda/sda2/partition": "2", "block/sda/sda2/start": "206848", "block/sda/sda2/size": "1000008368", "block/sda/sda2/dev": "8:2",
		"block/sdb/size": "7814037168", "block/sdb/dev": "8:16", "block/sdb/queue/rotational": "1", "block/sdb/queue/logical_block_size": "4096",
		"block/sdb/queue/physical_block_size": "4096", "block/sdb/sdb1/partition": "1", "block/sdb/sdb1/start": "2048",
		"block/sdb/sdb1/size": "7814035120", "block/sdb/sdb1/dev": "8:17",
		"block/sdc/size": "62500000", "block/sdc/dev": "8:32", "block/sdc/removable": "1",
		"block/loop0/size": "100", "block/sr0/size": "2097151", "block/zram0/size": "5", "block/cciss!c0d0/size": "8", "block/gone/dev": "9:9",
		"block/bad/size": "-4", "firmware/efi/fw_platform_size": "64",
	} {
		write(t, root, "sys/"+name, content)
	}
	write(t, root, "proc/self/mountinfo", `22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
23 22 0:5 / /dev rw - devtmpfs udev rw
24 22 0:50 / /mnt/my\040data rw,nosuid - fuseblk /dev/sdb1 rw
25 22 8:32 / /media/stick ro - vfat /dev/sdc ro
26 22 0:60 / /srv rw - nfs4 server:/srv rw
27 22 0:70 / /secret rw - ext4 /dev/mapper/x rw
broken line
`)
	return root
}

var sizes = map[string][2]int64{"/": {500 << 30, 100 << 30}, "/mnt/my data": {4 << 40, 3 << 40}, "/media/stick": {32 << 30, 30 << 30}}

func mountSpace(path string) (int64, int64, error) {
	s, ok := sizes[path]
	if !ok {
		return 0, 0, errors.New("no such mount")
	}
	return s[0], s[1], nil
}

func TestLook(t *testing.T) {
	m, err := look(machine(t), mountSpace)
	if err != nil {
		t.Fatal(err)
	}
	want := &Machine{
		Firmware: UEFI,
		Disks: []Disk{
			{Path: "/dev/cciss/c0d0", Size: 4096, Sector: 512, Physical: 512},
			{Path: "/dev/sda", Model: "ATA SSD 860", Size: 1000215216 * 512, Sector: 512, Physical: 4096, System: true, Partitions: []Partition{
				{"/dev/sda1", 1, 1 << 20, 100 << 20}, {"/dev/sda2", 2, 101 << 20, 1000008368 * 512},
			}},
			{Path: "/dev/sdb", Size: 7814037168 * 512, Sector: 4096, Physical: 4096, Rotational: true, Partitions: []Partition{
				{"/dev/sdb1", 1, 1 << 20, 7814035120 * 512},
			}},
			{Path: "/dev/sdc", Size: 32e9, Sector: 512, Physical: 512, Removable: true},
		},
		Mounts: []Mount{
			{Path: "/", Device: "/dev/sda2", Disk: "/dev/sda", Number: 2, Type: "ext4", Size: 500 << 30, Free: 100 << 30},
			{Path: "/media/stick", Device: "/dev/sdc", Disk: "/dev/sdc", Type: "vfat", Size: 32 << 30, Free: 30 << 30, ReadOnly: true},
			{Path: "/mnt/my data", Device: "/dev/sdb1", Disk: "/dev/sdb", Number: 1, Type: "fuseblk", Size: 4 << 40, Free: 3 << 40},
		},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRoomiest(t *testing.T) {
	m, err := look(machine(t), mountSpace)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		need int64
		want []string
	}{
		{"the solid-state disk is faster, though smaller", 1 << 30, []string{"/", "/mnt/my data"}},
		{"only the hard disk has room", 200 << 30, []string{"/mnt/my data"}},
		{"too much for all", 5 << 40, nil},
	} {
		var got []string
		for _, mount := range m.Roomiest(test.need) {
			got = append(got, mount.Path)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.name, diff)
		}
	}
	if got := m.MountOf("/mnt/my data/husk/new/win.vhd"); got == nil || got.Path != "/mnt/my data" || !got.NTFS() {
		t.Errorf("MountOf: %+v", got)
	}
	if got := m.MountOf("/mnt/my"); got == nil || got.Path != "/" || got.NTFS() {
		t.Errorf("MountOf: %+v", got)
	}
}

// TestBare: a container without /sys/block, a machine started by a BIOS.
func TestBare(t *testing.T) {
	root := t.TempDir()
	write(t, root, "proc/self/mountinfo", "1 0 0:1 / / rw - overlay overlay rw")
	m, err := look(root, mountSpace)
	if err != nil || m.Firmware != BIOS || len(m.Disks) != 0 || len(m.Mounts) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := look(t.TempDir(), mountSpace); err == nil {
		t.Error("no /proc: want an error")
	}
	if _, err := Look(); err != nil {
		t.Errorf("this machine: %v", err)
	}
}
