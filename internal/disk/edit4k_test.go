package disk

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/gpt"
	"husk/guid"
	"husk/internal/reftool"
	"husk/vhdx"
)

// TestEditSectors4K writes into a partition of disks with sectors of 4 KiB, in a VHDX and in a raw image, in pieces that end anywhere. The
// bytes around it stay.
func TestEditSectors4K(t *testing.T) {
	const size = 64 << 20
	table, err := gpt.New(guid.New(), size, 4096)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := table.Add(gpt.Partition{Type: gpt.TypeBasicData, GUID: guid.New()}, 8<<20); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	raw := filepath.Join(dir, "disk.img")
	model := bytes.Repeat([]byte("filled "), size/7+1)[:size]
	head, tail, err := table.Marshal(size)
	if err != nil {
		t.Fatal(err)
	}
	copy(model, head)
	copy(model[size-len(tail):], tail)
	if err := os.WriteFile(raw, model, 0o600); err != nil {
		t.Fatal(err)
	}
	container := makeVHDX(t, filepath.Join(dir, "disk.vhdx"), vhdx.Options{Size: size, LogicalSector: 4096}, model)
	for _, name := range []string{raw, container} {
		e, err := OpenEdit(name)
		if err != nil {
			t.Fatal(err)
		}
		if e.SectorSize != 4096 || e.Scheme != GPT || len(e.Partitions) != 2 {
			t.Fatalf("%s: sectors of %d, %v, %+v", name, e.SectorSize, e.Scheme, e.Partitions)
		}
		p := &e.Partitions[1]
		if p.Offset != 9<<20 || p.Size != 8<<20 {
			t.Errorf("%s: %+v", name, p)
		}
		part := e.Part(p)
		for off, b := range map[int64][]byte{0: []byte("start"), 4095: []byte("across"), 1 << 20: bytes.Repeat([]byte{7}, 100_000), 8<<20 - 3: []byte("end")} {
			if _, err := part.WriteAt(b, off); err != nil {
				t.Fatal(err)
			}
			copy(model[p.Offset+off:], b)
		}
		if _, err := part.WriteAt([]byte("over"), 8<<20-3); err == nil {
			t.Errorf("%s: a write past the end of the partition", name)
		}
		if err := part.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		d, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, size)
		if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
			t.Errorf("%s: another content: %v", name, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if out := reftool.Run(t, "vhdiinfo", container); !strings.Contains(out, "64 MiB") {
		t.Errorf("vhdiinfo says\n%s", out) // QEMU reads no VHDX with such sectors
	}
}
