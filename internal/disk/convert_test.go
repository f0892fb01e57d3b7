package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/gpt"
	"husk/internal/reftool"
	"husk/internal/ui"
	"husk/vhd"
	"husk/vhdx"
)

// TestConvert makes every form of every form.
func TestConvert(t *testing.T) {
	dir := t.TempDir()
	model := content(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("start.img"), model)
	last := at("start.img")
	ctx := context.Background()
	for _, step := range []struct {
		name, format string
		o            NewOptions
	}{
		{"a.vhdx", "VHDX dynamic", NewOptions{}},
		{"b.vhd", "VHD dynamic", NewOptions{}},
		{"c.vhd", "VHD fixed", NewOptions{Fixed: true}},
		{"d.vhdx", "VHDX fixed", NewOptions{Fixed: true, BlockSize: 2 << 20}},
		{"e", "raw", NewOptions{Form: "raw"}},
		{"f.vhd", "VHD dynamic", NewOptions{BlockSize: 512 << 10}},
	} {
		var progress int64
		step.o.Progress = func(n int64) { progress += n }
		if err := Convert(ctx, last, at(step.name), &step.o); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if progress != size {
			t.Errorf("%s: progress to %d of %d", step.name, progress, size)
		}
		last = at(step.name)
		checkContent(t, last, step.format, model)
	}
	reftool.Run(t, "qemu-img", "compare", "-f", "vhdx", "-F", "vpc", at("d.vhdx"), at("f.vhd"))
	if err := Convert(ctx, last, at("a.vhdx"), &NewOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if err := Convert(stopped, last, at("z.vhdx"), &NewOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	for _, bad := range []struct {
		name string
		o    NewOptions
		want string
	}{
		{"z.img", NewOptions{Fixed: true}, "has no blocks"},
		{"z.vhd", NewOptions{Form: "vmdk"}, "want raw, vhd or vhdx"},
		{"z.vhd", NewOptions{SectorSize: 4096}, "sectors of 512"},
		{"z.vhdx", NewOptions{BlockSize: 5}, "block size 5"},
		{"z.unknown", NewOptions{}, "does not show"},
	} {
		if err := Convert(ctx, last, at(bad.name), &bad.o); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s %+v: %v, want an error with %q", bad.name, bad.o, err, bad.want)
		}
	}
	list, err := filepath.Glob(at("z*"))
	if err != nil || len(list) > 0 {
		t.Errorf("failures left %q", list)
	}
}

// TestResize changes sizes of all forms, and cuts nothing off.
func TestResize(t *testing.T) {
	dir := t.TempDir()
	model := content(t)
	model[size-1] = 0
	img := write(t, filepath.Join(dir, "x.img"), model)
	for _, name := range []string{"x.img", "a.vhd", "b.vhdx"} {
		path := filepath.Join(dir, name)
		if path != img {
			if err := Convert(context.Background(), img, path, &NewOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, to := range []int64{size + 1<<20, 35 << 20, size} {
			if err := Resize(path, to); err != nil {
				t.Fatalf("%s to %d: %v", name, to, err)
			}
			d, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 35<<20)
			if _, err := d.ReadAt(got, 0); d.Size() != to || err != nil && to > int64(len(got)) || !bytes.Equal(got, model[:len(got)]) {
				t.Errorf("%s to %d: %d bytes, %v, equal %t", name, to, d.Size(), err, bytes.Equal(got, model[:len(got)]))
			}
			d.Close()
		}
		if err := Resize(path, 20<<20); err == nil || !strings.Contains(err.Error(), "partition 2 ends") {
			t.Errorf("%s: %v", name, err)
		}
	}
	blank := filepath.Join(dir, "blank.vhdx")
	if err := Create(blank, 64<<20, &NewOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Resize(blank, 32<<20); err != nil {
		t.Error(err)
	}
	odd := write(t, filepath.Join(dir, "odd.img"), bytes.Repeat([]byte{1}, 4<<20))
	if err := Resize(odd, 1<<20); err == nil || !strings.Contains(err.Error(), "has data at 0x100000") {
		t.Errorf("data cut off: %v", err)
	}
}

// TestCompact drops blocks of zeros; children still know their parent.
func TestCompact(t *testing.T) {
	chains(t, func(t *testing.T, base, child, format string, model []byte) {
		e, err := OpenEdit(base)
		if err != nil {
			t.Fatal(err)
		}
		// Blocks 10 to 30 MiB come into being, then hold zeros.
		for at := int64(10 << 20); at < 30<<20; at += 1 << 20 {
			e.WriteAt([]byte{1}, at)
			e.WriteAt([]byte{0}, at)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(format, "VHDX") { // the child that knows the changed parent
			if err := CreateChild(child, base, &NewOptions{Overwrite: true}); err != nil {
				t.Fatal(err)
			}
		}
		before, after, err := Compact(context.Background(), base, nil, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(base); err != nil || st.Size() != after || after > before-15<<20 {
			t.Errorf("from %d to %d bytes, %v", before, after, err)
		}
		checkContent(t, base, strings.Replace(format, "differencing", "dynamic", 1), model)
		checkContent(t, child, format, model)
		if _, _, err := Compact(context.Background(), child, nil, t.Logf); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a child: %v", err)
		}
	})
}

// TestMerge makes children of children by their paths, and merges them one after the other.
func TestMerge(t *testing.T) {
	chains(t, func(t *testing.T, base, child, format string, model []byte) {
		grand := filepath.Join(filepath.Dir(filepath.Dir(child)), "grand"+filepath.Ext(child))
		if err := CreateChild(grand, child, &NewOptions{}); err != nil {
			t.Fatal(err)
		}
		e, err := OpenEdit(grand)
		if err != nil {
			t.Fatal(err)
		}
		copy(model[33<<20:], "grandchild")
		if _, err := e.WriteAt([]byte("grandchild"), 33<<20); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		checkContent(t, grand, format, model)
		if p, err := Merge(grand); err != nil || p != child {
			t.Fatalf("%s, %v", p, err)
		}
		checkContent(t, child, format, model)
		if err := os.Remove(grand); err != nil {
			t.Fatal(err)
		}
		if p, err := Merge(child); err != nil || p != base {
			t.Fatalf("%s, %v", p, err)
		}
		checkContent(t, base, strings.Replace(format, "differencing", "dynamic", 1), model)
		if _, err := Merge(base); err == nil || !strings.Contains(err.Error(), "has no parent") {
			t.Errorf("%v", err)
		}
	})
}

func TestCreateChildErrors(t *testing.T) {
	dir := t.TempDir()
	img := write(t, filepath.Join(dir, "x.img"), content(t))
	v := makeVHD(t, filepath.Join(dir, "x.vhd"), vhd.Options{Size: size}, nil)
	x := makeVHDX(t, filepath.Join(dir, "x.vhdx"), vhdx.Options{Size: size}, nil)
	makeVHD(t, filepath.Join(dir, "y.vhd"), vhd.Options{Size: size}, nil)
	for _, tt := range [][3]string{{"c.vhd", img, "a raw disk as parent"}, {"c.vhdx", v, "a child of a VHD is a VHD"}, {"c.vhd", x, "a child of a VHDX is a VHDX"}, {"y.vhd", v, "exist"}} {
		if err := CreateChild(filepath.Join(dir, tt[0]), tt[1], &NewOptions{}); err == nil || !strings.Contains(err.Error(), tt[2]) {
			t.Errorf("%v: %v", tt, err)
		}
	}
}

// TestGPT4K reads a partition table of sectors of 4 KiB from a VHDX.
func TestGPT4K(t *testing.T) {
	table := func(sector int) []byte {
		b := make([]byte, size)
		for i := range 128 {
			copy(b[2*sector+128*i:], make([]byte, 128))
		}
		e := b[2*sector:]
		copy(e, "\xa2\xa0\xd0\xeb\xe5\xb9\x33\x44\x87\xc0\x68\xb6\xb7\x26\x99\xc7")
		e[16] = 1
		binary.LittleEndian.PutUint64(e[32:], uint64(1<<20/sector))
		binary.LittleEndian.PutUint64(e[40:], uint64(9<<20/sector-1))
		gptHeader(b[sector:], e[:128*128], uint64(size/sector))
		b[510], b[511] = 0x55, 0xaa
		b[446+4] = 0xee
		binary.LittleEndian.PutUint32(b[446+8:], 1)
		binary.LittleEndian.PutUint32(b[446+12:], uint32(size/sector-1))
		return b
	}
	name := makeVHDX(t, filepath.Join(t.TempDir(), "x.vhdx"), vhdx.Options{Size: size, LogicalSector: 4096}, table(4096))
	d, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Scheme != GPT || len(d.Partitions) != 1 || d.Partitions[0].Offset != 1<<20 || d.Partitions[0].Size != 8<<20 || d.SectorSize != 4096 {
		t.Errorf("%v, %+v", d.Scheme, d.Partitions)
	}
	if _, err := gpt.Read(bytes.NewReader(table(4096)), size); err != nil {
		t.Error(err)
	}
}

// gptHeader writes the first header for an array of entries.
func gptHeader(b, entries []byte, sectors uint64) {
	le := binary.LittleEndian
	copy(b, "EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00")
	le.PutUint64(b[24:], 1)
	le.PutUint64(b[32:], sectors-1)
	le.PutUint64(b[40:], 6)
	le.PutUint64(b[48:], sectors-6)
	b[56] = 7
	le.PutUint64(b[72:], 2)
	le.PutUint32(b[80:], 128)
	le.PutUint32(b[84:], 128)
	le.PutUint32(b[88:], crc32.ChecksumIEEE(entries))
	le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:92]))
}

// TestNotOverParents holds that no disk is replaced by one that is made from it or on it: --yes means files that nobody needs.
func TestNotOverParents(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, ext := range []string{".vhd", ".vhdx"} {
		base, child, grandchild := path("base"+ext), path("child"+ext), path("grandchild"+ext)
		if err := Create(base, size, &NewOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, c := range [][2]string{{child, base}, {grandchild, child}} {
			if err := CreateChild(c[0], c[1], &NewOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		before, err := os.ReadFile(base)
		if err != nil {
			t.Fatal(err)
		}
		o := &NewOptions{Overwrite: true}
		for name, err := range map[string]error{
			"on itself":         CreateChild(base, base, o),
			"on a grandchild":   CreateChild(base, grandchild, o),
			"from a child":      Convert(t.Context(), child, base, o),
			"from a grandchild": Convert(t.Context(), grandchild, base, o),
		} {
			if !errors.Is(err, ui.ErrUsage) {
				t.Errorf("%s %s: %v, want ui.ErrUsage", ext, name, err)
			}
		}
		if after, err := os.ReadFile(base); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the parent was changed, %v", ext, err)
		}
	}
	if _, err := OpenAny(dir); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
	if err := Create(path("x.img"), 1000, &NewOptions{}); !errors.Is(err, ui.ErrUsage) {
		t.Errorf("an image of 1000 bytes: %v", err)
	}
}
