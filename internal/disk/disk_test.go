package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/filelock"
	"husk/internal/reftool"
	"husk/vhd"
	"husk/vhdx"
)

const size = 40 << 20

// content is a disk with an MBR of two partitions, one marked as NTFS, and bytes in some places.
func content(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, size)
	b[510], b[511] = 0x55, 0xaa
	binary.LittleEndian.PutUint32(b[440:], 0x1a2b3c4d)
	for i, p := range [][3]uint32{{2048, 20480, 7}, {22528, 40960, 0x0c}} {
		e := b[446+16*i:]
		e[4] = byte(p[2])
		binary.LittleEndian.PutUint32(e[8:], p[0])
		binary.LittleEndian.PutUint32(e[12:], p[1])
	}
	copy(b[1<<20:], "\xeb\x52\x90NTFS    ")
	for i := 5 << 20; i < 8<<20; i++ {
		b[i] = byte(i * i >> 5)
	}
	b[size-1] = 9
	return b
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

// checkContent opens a disk and compares it.
func checkContent(t testing.TB, name, format string, want []byte) {
	t.Helper()
	d, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got := make([]byte, len(want))
	if _, err := d.ReadAt(got, 0); err != nil && err != io.EOF {
		t.Fatalf("%s: %v", name, err)
	}
	if d.Format != format || d.Size() != int64(len(want)) || !bytes.Equal(got, want) {
		t.Errorf("%s: %s of %d bytes, equal %t, want %s of %d", name, d.Format, d.Size(), bytes.Equal(got, want), format, len(want))
	}
	if d.Scheme != MBR || d.Signature != 0x1a2b3c4d || len(d.Partitions) != 2 || !d.Partitions[0].NTFS || d.Partitions[1].Offset != 22528*512 {
		t.Errorf("%s: %+v", name, d.Partitions)
	}
}

// TestForms opens what qemu-img makes of one disk.
func TestForms(t *testing.T) {
	dir := t.TempDir()
	model := content(t)
	raw := write(t, filepath.Join(dir, "disk.img"), model)
	checkContent(t, raw, "raw", model)
	for _, f := range []struct{ name, format, opts, want string }{
		{"a.vhdx", "vhdx", "subformat=dynamic", "VHDX dynamic"},
		{"b.vhdx", "vhdx", "subformat=fixed", "VHDX fixed"},
		{"a.vhd", "vpc", "subformat=dynamic,force_size=on", "VHD dynamic"},
		{"b.vhd", "vpc", "subformat=fixed,force_size=on", "VHD fixed"},
		{"a.qcow2", "qcow2", "compat=1.1", "qcow2"},
		{"b.qcow2", "qcow2", "compat=0.10", "qcow2"},
		{"c.qcow2", "qcow2", "cluster_size=512", "qcow2"},
		{"d.img", "qcow2", "cluster_size=2M,lazy_refcounts=on", "qcow2"},
		{"e.qcow2", "qcow2", "extended_l2=on", "qcow2"},
	} {
		name := filepath.Join(dir, f.name)
		reftool.Run(t, "qemu-img", "convert", "-f", "raw", "-O", f.format, "-o", f.opts, raw, name)
		checkContent(t, name, f.want, model)
	}
	name := filepath.Join(dir, "z.qcow2")
	reftool.Run(t, "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, name)
	checkContent(t, name, "qcow2", model)
}

// TestQcow2Chain reads an image over another one over a raw one.
func TestQcow2Chain(t *testing.T) {
	dir := t.TempDir()
	model := content(t)
	write(t, filepath.Join(dir, "base.raw"), model)
	a, b := filepath.Join(dir, "a.qcow2"), filepath.Join(dir, "b.qcow2")
	reftool.Run(t, "qemu-img", "create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", a)
	reftool.Run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 0x61 5M 100k", a)
	reftool.Run(t, "qemu-img", "create", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", b)
	reftool.Run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 0x62 6M 4k", "-c", "write -z 7M 64k", b)
	copy(model[5<<20:], bytes.Repeat([]byte{0x61}, 100<<10))
	copy(model[6<<20:], bytes.Repeat([]byte{0x62}, 4<<10))
	clear(model[7<<20 : 7<<20+64<<10])
	checkContent(t, b, "qcow2", model)
	if err := os.Remove(filepath.Join(dir, "base.raw")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(b); err == nil || !strings.Contains(err.Error(), "base.raw") {
		t.Errorf("without its base: %v", err)
	}
}

// qcow2Header is the beginning of an image of 1 MiB with an L1 table at 64 KiB.
func qcow2Header(change func(b []byte)) []byte {
	b := make([]byte, 128<<10)
	copy(b, "QFI\xfb")
	be := binary.BigEndian
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 16)
	be.PutUint64(b[24:], 1<<20)
	be.PutUint32(b[36:], 1)
	be.PutUint64(b[40:], 64<<10)
	be.PutUint32(b[100:], 104)
	change(b)
	return b
}

func TestBadQcow2(t *testing.T) {
	dir := t.TempDir()
	be := binary.BigEndian
	write(t, filepath.Join(dir, "b.raw"), make([]byte, 1<<20))
	for name, tt := range map[string]struct {
		change func(b []byte)
		want   string
	}{
		"version":      {func(b []byte) { be.PutUint32(b[4:], 1) }, "version 1"},
		"cluster bits": {func(b []byte) { be.PutUint32(b[20:], 40) }, "clusters of 2^40"},
		"size":         {func(b []byte) { be.PutUint64(b[24:], 1<<63) }, "disk size"},
		"L1 huge":      {func(b []byte) { be.PutUint32(b[36:], 1<<31) }, "L1 table of"},
		"L1 outside":   {func(b []byte) { be.PutUint64(b[40:], 1<<63) }, "L1 table of"},
		"L1 short":     {func(b []byte) { be.PutUint64(b[24:], 1<<40) }, "want 2048 for a disk"},
		"damaged":      {func(b []byte) { b[79] = 2 }, "marked as damaged"},
		"data file":    {func(b []byte) { b[79] = 4 }, "unsupported"},
		"encrypted":    {func(b []byte) { be.PutUint32(b[32:], 1) }, "unsupported"},
		"missing base": {func(b []byte) { be.PutUint64(b[8:], 112); be.PutUint32(b[16:], 4); copy(b[112:], "none") }, "none"},
		"itself": {func(b []byte) {
			be.PutUint64(b[8:], 200)
			be.PutUint32(b[16:], 7)
			copy(b[200:], "x.qcow2")
			be.PutUint32(b[104:], 0xe2792aca)
			be.PutUint32(b[108:], 5)
			copy(b[112:], "qcow2")
		}, "among its own parents"},
		"base of no form": {func(b []byte) { be.PutUint64(b[8:], 200); be.PutUint32(b[16:], 5); copy(b[200:], "b.raw") }, "want raw or qcow2"},
		"L2 outside":      {func(b []byte) { be.PutUint64(b[64<<10:], 1<<50) }, "qcow2: data at"},
		"empty":           {func(b []byte) {}, "neither an NTFS nor a FAT volume"},
	} {
		_, err := Open(write(t, filepath.Join(dir, "x.qcow2"), qcow2Header(tt.change)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
}

// FuzzQcow2: the bounds around the library hold.
func FuzzQcow2(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(qcow2Header(func([]byte) {})[:112], []byte{0, 0, 0, 0, 0, 1, 0, 0})
	f.Add(qcow2Header(func(b []byte) { b[79] = 16 })[:112], []byte{0x40, 0, 0, 0, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, head, table []byte) {
		b := qcow2Header(func([]byte) {})
		copy(b[4:1024], head[min(4, len(head)):])
		copy(b[64<<10:], table)
		name := write(t, filepath.Join(t.TempDir(), "x.qcow2"), b)
		d, err := Open(name)
		if err != nil {
			return
		}
		defer d.Close()
		d.ReadAt(make([]byte, 100<<10), d.Size()/2)
	})
}

// makeVHDX makes a VHDX with the content of model, or a child.
func makeVHDX(t testing.TB, name string, o vhdx.Options, model []byte) string {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o.BlockSize = 1 << 20
	w, err := vhdx.Create(f, &o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteAt(model, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

func makeVHD(t testing.TB, name string, o vhd.Options, model []byte) string {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := vhd.Create(f, &o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteAt(model, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// chains makes a base and a child of it in each format, the child in a folder beside with a path as Windows writes it.
func chains(t *testing.T, run func(t *testing.T, base, child, format string, model []byte)) {
	for _, format := range []string{"VHD differencing", "VHDX differencing"} {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			model := content(t)
			kids := filepath.Join(dir, "kids")
			if err := os.Mkdir(kids, 0o777); err != nil {
				t.Fatal(err)
			}
			var base, child string
			if format == "VHD differencing" {
				base = makeVHD(t, filepath.Join(dir, "Base.vhd"), vhd.Options{Size: size, ID: [16]byte{7}}, model)
				child = makeVHD(t, filepath.Join(kids, "child.vhd"), vhd.Options{Size: size, ID: [16]byte{8}, Parent: &vhd.ParentLocator{
					ID: [16]byte{7}, Name: "base.vhd", RelativePath: `..\base.vhd`, AbsolutePath: `C:\disks\base.vhd`,
				}}, nil)
			} else {
				base = makeVHDX(t, filepath.Join(dir, "Base.vhdx"), vhdx.Options{Size: size}, model)
				d, err := vhdx.Open(base, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				child = makeVHDX(t, filepath.Join(kids, "child.vhdx"), vhdx.Options{Size: size, Parent: &vhdx.ParentLocator{
					Linkage: d.Info().DataWriteGUID, RelativePath: `..\base.vhdx`, AbsolutePath: `C:\disks\base.vhdx`,
				}}, nil)
			}
			run(t, base, child, format, model)
		})
	}
}

// TestChain opens children, whose parents are found by their relative paths in any case, and beside them.
func TestChain(t *testing.T) {
	chains(t, func(t *testing.T, base, child, format string, model []byte) {
		checkContent(t, child, format, model)
		d, err := Open(child)
		if err != nil {
			t.Fatal(err)
		}
		if p := d.Container().Parent; !strings.HasPrefix(p, `..\base.vhd`) {
			t.Errorf("parent %q", p)
		}
		d.Close()

		e, err := OpenEdit(child)
		if err != nil {
			t.Fatal(err)
		}
		part, err := e.Partition(1)
		if err != nil {
			t.Fatal(err)
		}
		p := e.Part(part)
		if _, err := p.WriteAt([]byte("changed"), 700); err != nil {
			t.Fatal(err)
		}
		copy(model[1<<20+700:], "changed")
		if _, err := p.WriteAt([]byte("xx"), p.Size()-1); err == nil {
			t.Error("a write past the end of the partition")
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		checkContent(t, child, format, model)

		beside := filepath.Join(filepath.Dir(child), filepath.Base(base))
		if err := os.Rename(base, beside); err != nil {
			t.Fatal(err)
		}
		checkContent(t, child, format, model)
		if _, err := OpenEdit(beside); err == nil || !strings.Contains(err.Error(), "is based on it") {
			t.Errorf("changing the parent: %v", err)
		}
		if err := os.Remove(beside); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(child); err == nil || !strings.Contains(err.Error(), "the parent of this differencing disk is not at") {
			t.Errorf("without parent: %v", err)
		}
		if err := os.Link(child, base); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(child); err == nil || !strings.Contains(err.Error(), "among its own parents") {
			t.Errorf("its own parent: %v", err)
		}
	})
}

// TestWrongParent: another disk in the place of the parent is not taken.
func TestWrongParent(t *testing.T) {
	chains(t, func(t *testing.T, base, child, format string, model []byte) {
		if strings.HasPrefix(format, "VHDX") {
			e, err := OpenEdit(base)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.WriteAt([]byte{1}, 3<<20); err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(child); !errors.Is(err, vhdx.ErrWrongParent) {
				t.Errorf("changed parent: %v", err)
			}
			return
		}
		makeVHD(t, base, vhd.Options{Size: size, ID: [16]byte{6}}, model)
		if _, err := Open(child); !errors.Is(err, vhd.ErrWrongParent) {
			t.Errorf("another parent: %v", err)
		}
	})
}

// TestOpenEdit changes a disk of each form, and lets nobody else change it meanwhile.
func TestOpenEdit(t *testing.T) {
	dir := t.TempDir()
	model := content(t)
	for format, name := range map[string]string{
		"raw":          write(t, filepath.Join(dir, "x.img"), model),
		"VHD dynamic":  makeVHD(t, filepath.Join(dir, "a.vhd"), vhd.Options{Size: size}, model),
		"VHD fixed":    makeVHD(t, filepath.Join(dir, "b.vhd"), vhd.Options{Size: size, Type: vhd.Fixed}, model),
		"VHDX dynamic": makeVHDX(t, filepath.Join(dir, "c.vhdx"), vhdx.Options{Size: size}, model),
		"VHDX fixed":   makeVHDX(t, filepath.Join(dir, "d.vhdx"), vhdx.Options{Size: size, Type: vhdx.Fixed}, model),
	} {
		e, err := OpenEdit(name)
		if err != nil {
			t.Fatal(err)
		}
		if e.Format != format || len(e.Partitions) != 2 {
			t.Errorf("%s: %s, %+v", name, e.Format, e.Partitions)
		}
		if _, err := OpenEdit(name); !errors.Is(err, filelock.ErrLocked) {
			t.Errorf("%s: opened twice: %v", name, err)
		}
		want := bytes.Clone(model)
		for _, at := range []int{3<<20 - 2, 30<<20 + 5} {
			copy(want[at:], "somewhere")
			if _, err := e.WriteAt([]byte("somewhere"), int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(e.Sync(), e.Close()); err != nil {
			t.Fatal(err)
		}
		checkContent(t, name, format, want)
		if e, err = OpenEdit(name); err != nil {
			t.Fatal(err)
		}
		e.Close()
	}
	q := filepath.Join(dir, "x.qcow2")
	write(t, q, qcow2Header(func([]byte) {}))
	if _, err := OpenEdit(q); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("qcow2: %v", err)
	}
	if _, err := OpenEdit(dir); err == nil {
		t.Error("a folder was opened")
	}
}

// TestLoop: a file that a loop device shows as a disk is not changed under it.
func TestLoop(t *testing.T) {
	name := write(t, filepath.Join(t.TempDir(), "x.img"), content(t))
	out, err := exec.Command(reftool.Look(t, "losetup"), "-f", "--show", name).CombinedOutput()
	if err != nil {
		reftool.Skip(t, "losetup: %v\n%s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	defer exec.Command("losetup", "-d", loop).Run()
	if _, err := OpenEdit(name); err == nil || !strings.Contains(err.Error(), "is the disk of "+loop) {
		t.Errorf("%v, want an error that names %s", err, loop)
	}
	e, err := OpenEdit(loop) // nothing is mounted
	if err != nil {
		t.Fatal(err)
	}
	if e.Size() != size || len(e.Partitions) != 2 {
		t.Errorf("%d bytes, %+v", e.Size(), e.Partitions)
	}
	if _, err := OpenEdit(loop); err == nil {
		t.Error("a device was opened twice")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSectors4K reads the partitions of disks with sectors of 4 KiB: MBR in a VHDX, GPT by sgdisk's rules.
func TestSectors4K(t *testing.T) {
	model := content(t)
	binary.LittleEndian.PutUint32(model[446+8:], 256)
	binary.LittleEndian.PutUint32(model[446+12:], 2560)
	binary.LittleEndian.PutUint32(model[462+8:], 2816)
	binary.LittleEndian.PutUint32(model[462+12:], 5120)
	name := makeVHDX(t, filepath.Join(t.TempDir(), "x.vhdx"), vhdx.Options{Size: size, LogicalSector: 4096}, model)
	checkContent(t, name, "VHDX dynamic", model)
}
