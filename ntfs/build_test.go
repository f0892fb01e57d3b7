package ntfs

import (
	"context"
	"os"
	"path/filepath"
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

func TestSmoke(t *testing.T) {
	dir := &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}
	tr := &winfile.Tree{Root: &winfile.Entry{Info: dir, Children: []*winfile.Entry{
		{Name: "hello.txt", Info: &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte("hello"))}},
		{Name: "big", Info: &winfile.Info{Links: 1, Data: winfile.NewBlob(make([]byte, 5000))}},
	}}}
	name, _ := buildImage(t, tr, &BuildOptions{Size: 16 << 20, Label: "husk", Serial: 0x1234567890abcdef, Time: 0x01d9f6d3e5b3a1c7})
	reftool.Run(t, "ntfsfix", "-n", name)
	t.Log(reftool.Run(t, "ntfsresize", "-i", "-f", name))
	t.Log(reftool.Run(t, "fls", "-r", name))
	t.Log(reftool.Run(t, "ntfsinfo", "-m", "-f", name))
}

func TestSmokeMount(t *testing.T) {
	dir := &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}
	tr := &winfile.Tree{Root: &winfile.Entry{Info: dir, Children: []*winfile.Entry{
		{Name: "hello.txt", Info: &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte("hello"))}},
		{Name: "big", Info: &winfile.Info{Links: 1, Data: winfile.NewBlob(make([]byte, 5000))}},
	}}}
	name, _ := buildImage(t, tr, &BuildOptions{Size: 16 << 20})
	mnt := t.TempDir()
	reftool.Run(t, "ntfs-3g", name, mnt)
	defer reftool.Run(t, "umount", mnt)
	t.Log(reftool.Run(t, "ls", "-laR", mnt))
	t.Log(reftool.Run(t, "cat", mnt+"/hello.txt"))
	if err := os.WriteFile(mnt+"/new", []byte("x"), 0o644); err != nil {
		t.Error(err)
	}
}
