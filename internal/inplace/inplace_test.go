package inplace

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"husk/ntfs"
	"husk/winfile"
)

type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// A volume on which clusters in use are marked free is refused before anything is written to it.
func TestUnsoundVolumesAreRefused(t *testing.T) {
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}, Children: []*winfile.Entry{
		{Name: "file", Info: &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Data: winfile.NewBlob(make([]byte, 1<<20))}},
	}}
	layout, err := ntfs.NewLayout(&winfile.Tree{Root: root}, &ntfs.BuildOptions{Size: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	b := make(memory, layout.Size())
	if err := layout.Write(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "volume.img")
	save := func() {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	save()
	v, err := Open(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	const cluster = 4096
	found := false
	for at := 0; at < len(b) && !found; at += cluster { // $Bitmap: the first clusters are in use, the last ones are not
		c := b[at:min(at+cluster, len(b))]
		if bytes.Equal(c[:32], bytes.Repeat([]byte{0xff}, 32)) && bytes.Contains(c, make([]byte, 32)) {
			c[20] = 0
			found = true
		}
	}
	if !found {
		t.Fatal("no bitmap in the volume")
	}
	save()
	if _, err := Open(name, 0); !errors.Is(err, ErrUnsound) || !Refused(err) {
		t.Errorf("%v, want ErrUnsound", err)
	}
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(after, b) {
		t.Errorf("the volume was changed: %v", err)
	}
}
