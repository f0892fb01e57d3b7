package store

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"husk/internal/deploy"
	"husk/internal/reftool"
	"husk/wof"
)

// TestDevice: what a device points into stays while it is not there, and while another one has its name.
func TestDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		reftool.Skip(t, "no right to make loop devices")
	}
	ctx := context.Background()
	s, path := pointed(t, "d.vhd")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	disk := func(name string, point *Point) string {
		in, err := s.Source(ctx, point)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name)
		_, err = deploy.Make(ctx, in, path, &deploy.Options{
			UI: quiet(), Size: 40 << 20, Format: deploy.Raw, Wimboot: &deploy.Wimboot{Location: wof.NewMBRLocation(0x1a2b3c4d, 1<<20, `\wimboot\`+point.Layer.File)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second := disk("first", s.Dropped()[0]), disk("second", s.Points()[0])
	device, err := reftool.Try(t, "losetup", "-f")
	if err != nil {
		reftool.Skip(t, "no loop devices: %s", device)
	}
	device = device[:len(device)-1]
	if out, err := reftool.Try(t, "losetup", device, first); err != nil {
		reftool.Skip(t, "no loop devices: %s", out)
	}
	attached := true
	t.Cleanup(func() {
		if attached {
			reftool.Run(t, "losetup", "-d", device)
		}
	})
	if err := s.AddDisk(ctx, device, "x64", nil); err != nil {
		t.Fatal(err)
	}
	stays(t, s, "the device is there")
	reftool.Run(t, "losetup", "-d", device)
	attached = false
	stays(t, s, "the device is gone")
	reftool.Run(t, "losetup", device, second)
	attached = true
	stays(t, s, "another device has its name")
	if err := s.AddDisk(ctx, device, "x64", nil); err != nil {
		t.Fatal(err)
	}
	r, err := s.Sweep(ctx)
	if err != nil || len(r.Removed) != 1 {
		t.Errorf("recorded anew: %+v, %v", r, err)
	}
	mustCheck(t, s)
}
