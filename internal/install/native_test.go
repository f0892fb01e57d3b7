package install

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/internal/ui"
)

func TestNativeProblems(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    hostFacts
		want []string
	}{
		{"right", hostFacts{free: 80}, nil},
		{"sparse", hostFacts{free: 80, attributes: attrSparse}, []string{"the file is sparse"}},
		{"compressed, encrypted", hostFacts{free: 80, attributes: attrCompressed | attrEncrypted}, []string{"the file is compressed", "the file is encrypted"}},
		{"no room", hostFacts{free: 79}, []string{"it grows by"}},
		{"long path", hostFacts{free: 80, path: 261}, []string{"its path has"}},
	} {
		got := nativeProblems(tt.h, 100, 20)
		if len(got) != len(tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, got, tt.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i].format, tt.want[i]) {
				t.Errorf("%s: %q, want %q", tt.name, got[i].format, tt.want[i])
			}
		}
	}
}

// TestNativeHost makes a VHD on a small NTFS volume that ntfs-3g has mounted: it cannot grow there.
func TestNativeHost(t *testing.T) {
	volume, point := filepath.Join(t.TempDir(), "host.img"), t.TempDir()
	reftool.Run(t, "truncate", "-s", "300M", volume)
	reftool.Run(t, "mkntfs", "-q", "-F", "-Q", volume)
	if out, err := reftool.Try(t, "ntfs-3g", volume, point); err != nil {
		reftool.Skip(t, "no FUSE: %s", out)
	}
	t.Cleanup(func() { reftool.Run(t, "umount", point) })
	var said bytes.Buffer
	u := ui.New(strings.NewReader(""), io.Discard, &said, "en")
	target := filepath.Join(point, "win.vhd")
	if _, err := Install(context.Background(), []string{images(t, false, "x64") + ":1"}, target, &Options{Firmware: BIOS, Size: 2 << 30, UI: u}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "it grows by") {
		t.Errorf("%s", said.String())
	}
	if h, ok := ntfsHost(target); !ok || h.free == 0 {
		t.Errorf("%+v %v", h, ok)
	}
	if _, ok := ntfsHost(volume); ok {
		t.Errorf("%s is on no NTFS volume", volume)
	}
}

// TestNativeWindows7: a VHDX is not what Windows 7 starts from itself.
func TestNativeWindows7(t *testing.T) {
	image := images(t, false, "x64") + ":1"
	for name, want := range map[string]bool{"disk.vhdx": true, "disk.vhd": false} {
		var said bytes.Buffer
		u := ui.New(strings.NewReader(""), io.Discard, &said, "en")
		if _, err := Install(context.Background(), []string{image}, filepath.Join(t.TempDir(), name), &Options{Firmware: BIOS, Size: 1 << 30, UI: u}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(said.String(), "from a VHDX"); got != want {
			t.Errorf("%s: %s", name, said.String())
		}
	}
}
