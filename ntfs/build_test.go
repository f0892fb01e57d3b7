package ntfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// buildImage writes a volume to a new file.
func buildImage(t testing.TB, tr *winfile.Tree, o *BuildOptions) (string, *Layout) {
	t.Helper()
	l, err := NewLayout(tr, o)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "volume.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(l.Size()); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name, l
}

// geometries are pairs of sector and cluster size.
var geometries = [][2]int{{512, 512}, {512, 1024}, {512, 2048}, {512, 4096}, {512, 8192}, {512, 16384}, {512, 32768}, {512, 65536}, {4096, 4096}, {4096, 8192}, {4096, 65536}}

func TestBuildEverything(t *testing.T) {
	tr := newTreeMaker(1).fullTree(600)
	for _, g := range geometries {
		t.Run(fmt.Sprintf("%d-%d", g[0], g[1]), func(t *testing.T) {
			for _, backing := range []func(*winfile.Info) []byte{nil, backEven} {
				name, l := buildImage(t, tr, &BuildOptions{SectorSize: g[0], ClusterSize: g[1], Label: "数据", Time: 0x01d9f6d3e5b3a1c7, Backing: backing})
				if notes := l.Notes(); len(notes) != 0 {
					t.Errorf("notes %v", notes)
				}
				if l.FreeBytes() != 0 || l.MinSize() != l.Size() {
					t.Errorf("%d bytes free, size %d, least %d", l.FreeBytes(), l.Size(), l.MinSize())
				}
				checkVolume(t, name).compareTree(tr, backing, nil)
			}
		})
	}
}

// mount mounts a volume with ntfs-3g for the length of the test, or of unmount.
func mount(t testing.TB, name, options string) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	reftool.Look(t, "umount")
	reftool.Run(t, "ntfs-3g", "-o", options, name, dir)
	mounted := true
	unmount = func() {
		if mounted {
			mounted = false
			reftool.Run(t, "umount", dir)
		}
	}
	t.Cleanup(unmount)
	return dir, unmount
}

// Every Linux tool that reads NTFS accepts the volume, ntfs-3g reads every plain file equal, and can change the volume.
func TestOtherReaders(t *testing.T) {
	tr := newTreeMaker(2).fullTree(3000)
	for _, g := range geometries {
		t.Run(fmt.Sprintf("%d-%d", g[0], g[1]), func(t *testing.T) {
			name, l := buildImage(t, tr, &BuildOptions{Size: 256 << 20, SectorSize: g[0], ClusterSize: g[1], Label: "husk", Backing: backEven})
			if l.UsedBytes()+l.FreeBytes() > l.Size() || l.FreeBytes() < 1<<20 {
				t.Errorf("%d used and %d free of %d", l.UsedBytes(), l.FreeBytes(), l.Size())
			}
			reftool.Run(t, "ntfsfix", "-n", name)
			if out := reftool.Run(t, "ntfsresize", "-i", "-f", name); strings.Contains(out, "ERROR") {
				t.Error(out)
			}
			if out := reftool.Run(t, "ntfsinfo", "-m", "-f", name); !strings.Contains(out, fmt.Sprintf("Cluster Size: %d", g[1])) || !strings.Contains(out, "Volume Name: husk") {
				t.Error(out)
			}
			dir, unmount := mount(t, name, "ro,streams_interface=windows")
			compareMounted(t, tr, dir)
			unmount()
		})
	}
}

// compareMounted reads all plain data through a mounted volume.
func compareMounted(t *testing.T, tr *winfile.Tree, dir string) {
	t.Helper()
	for path, e := range tr.All() {
		if strings.Contains(path, "\xed") { // Linux has no such names
			continue
		}
		read := func(suffix string, b *winfile.Blob) {
			want, err := b.ReadAll(1 << 30)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, path) + suffix)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s%s: %d bytes, %v, want %d", path, suffix, len(got), err, len(want))
			}
		}
		i := e.Info
		switch {
		case i.Attributes&winfile.AttrReparse != 0 || i.Data != nil && i.Data.Size%2 == 0:
			continue
		case i.IsDir():
			have, err := os.ReadDir(filepath.Join(dir, path))
			if err != nil || len(have) != len(e.Children) && path != "." {
				t.Errorf("%s: %d names, %v, want %d", path, len(have), err, len(e.Children))
			}
		default:
			read("", i.Data)
		}
		for _, s := range i.Streams {
			read(":"+s.Name, s.Data)
		}
	}
}

var errNever = errors.New("never")
