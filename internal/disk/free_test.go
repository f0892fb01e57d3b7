package disk

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/mbr"
	"husk/ntfs"
	"husk/winfile"
)

// volumeDisk makes a disk of 64 MiB with a volume that holds content, and noise in all its free clusters. Windows has not closed it if it
// is dirty.
func volumeDisk(t *testing.T, name string, content []byte, dirty bool) {
	t.Helper()
	const size, partition = 64 << 20, 1 << 20
	table, err := mbr.New(1, size, 512)
	if err != nil {
		t.Fatal(err)
	}
	sector, err := table.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}, Children: []*winfile.Entry{
		{Name: "file", Info: &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Data: winfile.NewBlob(content)}},
	}}
	layout, err := ntfs.NewLayout(&winfile.Tree{Root: root}, &ntfs.BuildOptions{Size: int64(table.Parts[0].Sectors) * 512, HiddenSectors: partition / 512})
	if err != nil {
		t.Fatal(err)
	}
	b := make(memory, size)
	copy(b, sector)
	if err := layout.Write(context.Background(), b[partition:]); err != nil {
		t.Fatal(err)
	}
	v, err := ntfs.NewReader(bytes.NewReader(b[partition:]), layout.Size())
	if err != nil {
		t.Fatal(err)
	}
	for x, err := range v.FreeRuns() {
		if err != nil {
			t.Fatal(err)
		}
		at := partition + int64(x.LCN)*int64(v.ClusterSize)
		copy(b[at:at+x.Clusters*int64(v.ClusterSize)], bytes.Repeat([]byte("deleted "), int(x.Clusters)*v.ClusterSize/8))
	}
	if dirty {
		soil(t, b)
	}
	raw := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(raw, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Convert(context.Background(), raw, name, &NewOptions{BlockSize: 2 << 20}); err != nil {
		t.Fatal(err)
	}
}

type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// soil marks the volume as one that Windows has not closed: the flag in $VOLUME_INFORMATION of record 3.
func soil(t *testing.T, b []byte) {
	t.Helper()
	found := 0
	for at := 0; at+1024 <= len(b); at += 1024 {
		rec := b[at : at+1024]
		if string(rec[:4]) != "FILE" {
			continue
		}
		if i := bytes.Index(rec, []byte{0x70, 0, 0, 0, 0x28, 0, 0, 0}); i >= 0 { // the attribute; its value is at 0x18: version at 8, flags at 10
			rec[i+0x18+10] |= 1
			found++
		}
	}
	if found == 0 {
		t.Fatal("no $VOLUME_INFORMATION")
	}
}

// Compact drops what the volume has as free, unless the volume was not closed cleanly.
func TestCompactDropsFreeClusters(t *testing.T) {
	content := bytes.Repeat([]byte("kept"), 1<<18)
	for _, ext := range []string{"vhd", "vhdx"} {
		for _, dirty := range []bool{false, true} {
			t.Run(fmt.Sprint(ext, dirty), func(t *testing.T) {
				name := filepath.Join(t.TempDir(), "disk."+ext)
				volumeDisk(t, name, content, dirty)
				var notes []string
				before, after, err := Compact(context.Background(), name, nil, func(f string, args ...any) { notes = append(notes, fmt.Sprintf(f, args...)) })
				if err != nil {
					t.Fatal(err)
				}
				if dropped := after < before-30<<20; dropped == dirty {
					t.Errorf("from %d to %d bytes", before, after)
				}
				if told := strings.Contains(strings.Join(notes, ""), "not closed cleanly"); told != dirty {
					t.Errorf("notes %q", notes)
				}
				if st, err := os.Stat(name); err != nil || st.Size() != after {
					t.Errorf("file of %v bytes, want %d", st.Size(), after)
				}
				d, err := Open(name)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				p, err := d.NTFS()
				if err != nil {
					t.Fatal(err)
				}
				v, err := ntfs.NewReader(d.Section(p), p.Size)
				if err != nil {
					t.Fatal(err)
				}
				tree, err := v.Tree(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if got, err := tree.Lookup("file").Info.Data.ReadAll(1 << 24); err != nil || !bytes.Equal(got, content) {
					t.Errorf("the file changed: %v", err)
				}
			})
		}
	}
}
