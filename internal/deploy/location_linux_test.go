package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMountedIn gives mountedIn a system whose folder is the mount point of the second partition of a disk.
func TestMountedIn(t *testing.T) {
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
	at, err := mountedIn(file, mountinfo, filepath.Join(root, "sys"))
	if want := (mounted{"/dev/nvme0n1:2", "/wimboot/wimboot.wim"}); err != nil || at != want {
		t.Errorf("%v, %v, want %v", at, err, want)
	}
	write(line("/inner", point)) // a bind mount of a folder
	at, err = mountedIn(file, mountinfo, filepath.Join(root, "sys"))
	if want := "/inner/wimboot/wimboot.wim"; err != nil || at.path != want {
		t.Errorf("bind mount: %v, %v, want %s", at, err, want)
	}
	write(line("/", "/elsewhere"))
	if at, err := mountedIn(file, mountinfo, filepath.Join(root, "sys")); err == nil {
		t.Errorf("no mount has it: %v", at)
	}
	if err := os.Remove(filepath.Join(node, "partition")); err != nil {
		t.Fatal(err)
	}
	write(line("/", point))
	if at, err := mountedIn(file, mountinfo, filepath.Join(root, "sys")); err == nil || !strings.Contains(err.Error(), "nvme0n1p2 is no partition") {
		t.Errorf("a whole disk: %v, %v", at, err)
	}
}
