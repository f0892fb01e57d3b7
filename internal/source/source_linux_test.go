package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/internal/tree"
	"husk/ntfs"
	"husk/winfile"
)

// smallTree has files of some sizes, a link and a named stream.
func smallTree() *winfile.Tree {
	dir := &winfile.Entry{Name: "folder", Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	for i := range 60 {
		content := bytes.Repeat([]byte{byte(i), byte(i >> 1)}, i*i*9)
		dir.Children = append(dir.Children, &winfile.Entry{Name: fmt.Sprintf("file %d", i), Info: &winfile.Info{Links: 1, Data: winfile.NewBlob(content)}})
	}
	dir.Children[7].Info.Streams = []winfile.Stream{{Name: "stream", Data: winfile.NewBlob([]byte("named"))}}
	dir.Children[8].Info.Links = 2
	dir.Children = append(dir.Children, &winfile.Entry{Name: "link", Info: dir.Children[8].Info})
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}, Children: []*winfile.Entry{dir}}
	return &winfile.Tree{Root: root}
}

// TestOpenVolumes opens the same volume in every form that a disk has.
func TestOpenVolumes(t *testing.T) {
	ctx := context.Background()
	want := smallTree()
	l, err := ntfs.NewLayout(want, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bare, raw := filepath.Join(dir, "volume"), filepath.Join(dir, "disk.raw")
	f, err := os.Create(bare)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(l.Size()); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(ctx, f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	volume, err := os.ReadFile(bare)
	if err != nil {
		t.Fatal(err)
	}
	const start = 1 << 20
	b := append(make([]byte, start), volume...)
	b = append(b, make([]byte, start-len(b)%start)...)
	b[0x1be+16+4], b[510], b[511] = 7, 0x55, 0xaa // the second of four partitions
	binary.LittleEndian.PutUint32(b[0x1be+16+8:], start/512)
	binary.LittleEndian.PutUint32(b[0x1be+16+12:], uint32(len(volume)/512))
	if err := os.WriteFile(raw, b, 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, spec string) {
		t.Helper()
		s, err := Open(ctx, spec, &Options{Warn: func(format string, args ...any) { t.Errorf(format, args...) }})
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(spec), err)
		}
		defer s.Close()
		d, err := tree.Compare(ctx, want, s.Tree, &tree.CompareOptions{Ignore: tree.DiffChanged | tree.DiffSecurity})
		if err != nil || d.Total != 0 {
			t.Errorf("%s: %d differences: %v, %v", filepath.Base(spec), d.Total, d.List, err)
		}
	}
	check(t, bare)
	check(t, raw)
	check(t, raw+":2")
	if _, err := Open(ctx, raw+":1", nil); err == nil || !strings.Contains(err.Error(), "1") {
		t.Errorf("a partition that does not exist: %v", err)
	}
	for name, args := range map[string][]string{
		"vhd": {"vpc", "-o", "subformat=dynamic,force_size=on"}, "fixed.vhd": {"vpc", "-o", "subformat=fixed,force_size=on"}, "vhdx": {"vhdx"}, "qcow2": {"qcow2"},
	} {
		t.Run(name, func(t *testing.T) {
			img := filepath.Join(dir, "disk."+name)
			reftool.Run(t, "qemu-img", append(append([]string{"convert", "-f", "raw", "-O"}, args...), raw, img)...)
			check(t, img)
			check(t, img+":2")
		})
	}
	t.Run("block device", func(t *testing.T) {
		out, err := reftool.Try(t, "losetup", "--find", "--show", "--read-only", raw)
		if err != nil {
			t.Skipf("no loop device here: %s", out)
		}
		device := strings.TrimSpace(out)
		defer reftool.Run(t, "losetup", "--detach", device)
		check(t, device)
		check(t, device+":2")
	})
}
