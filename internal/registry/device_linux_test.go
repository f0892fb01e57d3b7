package registry

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"husk/internal/reftool"
)

// A hive on the EFI system partition of a block device is changed there.
func TestSaveOnDevice(t *testing.T) {
	image, parts := uefiDisk(t, hiveFile(t, "BCD"))
	out, err := exec.Command(reftool.Look(t, "losetup"), "-f", "--show", image).CombinedOutput()
	if err != nil {
		reftool.Skip(t, "no loop device: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "-d", device).Run() })
	h := open(t, device+":1", "BCD")
	h.Touch()
	if err := h.Root().SetSZ("new", "on a device"); err != nil {
		t.Fatal(err)
	}
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	if s := must(open(t, device+":1", "BCD").Root().Text("", "new"))(t); s != "on a device" {
		t.Errorf("%q", s)
	}
	esp := filepath.Join(t.TempDir(), "esp")
	reftool.Run(t, "dd", "if="+device, "of="+esp, "bs=512", "status=none", "skip="+strconv.FormatUint(parts[0].First, 10), "count="+strconv.FormatUint(parts[0].Last-parts[0].First+1, 10))
	reftool.Run(t, "fsck.fat", "-n", esp)
	if out := reftool.Run(t, "mtype", "-i", esp, "::EFI/Microsoft/Boot/BCD"); !strings.HasPrefix(out, "regf") {
		t.Errorf("mtype shows no hive: %.20q", out)
	}
}
