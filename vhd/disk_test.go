package vhd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"husk/internal/cutfile"
	"husk/internal/reftool"
)

// made is a VHD with the content of model.
func made(t testing.TB, o Options, model []byte) *cutfile.File {
	t.Helper()
	f := &cutfile.File{}
	w := create(t, f, &o)
	if _, err := w.WriteAt(model, 0); err != nil {
		t.Fatal(err)
	}
	finish(t, w)
	f.Sync()
	return f
}

// childOf is an empty child of the disk in f.
func childOf(t testing.TB, f *cutfile.File, blockSize int64) *cutfile.File {
	t.Helper()
	p := readChain(t, f, nil)
	return made(t, Options{Size: p.Size(), BlockSize: blockSize, ID: [16]byte{byte(p.UUID()[0] + 1)}, Parent: &ParentLocator{
		ID: p.UUID(), Name: "parent.vhd", RelativePath: `.\parent.vhd`, AbsolutePath: `C:\disks\parent.vhd`,
	}}, nil)
}

func readChain(t testing.TB, f *cutfile.File, o *ReaderOptions) *Reader {
	t.Helper()
	d, err := NewChainReader(f, f.Size(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func isParent(f *cutfile.File, o *ReaderOptions) *ReaderOptions {
	return &ReaderOptions{Parent: func(*ParentLocator) (*Reader, error) { return NewChainReader(f, f.Size(), o) }}
}

func edit(t testing.TB, f *cutfile.File, o *ReaderOptions) *Disk {
	t.Helper()
	d, err := OpenDisk(f, f.Size(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// disks are the kinds of disks that can be changed, with random content, made for a test.
func disks(t *testing.T, size int, run func(t *testing.T, f *cutfile.File, o *ReaderOptions, model []byte)) {
	for name, do := range map[string]func(model []byte) (*cutfile.File, *ReaderOptions){
		"fixed": func(m []byte) (*cutfile.File, *ReaderOptions) {
			return made(t, Options{Size: int64(len(m)), Type: Fixed}, m), nil
		},
		"dynamic": func(m []byte) (*cutfile.File, *ReaderOptions) { return made(t, Options{Size: int64(len(m))}, m), nil },
		"small blocks": func(m []byte) (*cutfile.File, *ReaderOptions) {
			return made(t, Options{Size: int64(len(m)), BlockSize: 512 << 10}, m), nil
		},
		"sector bitmaps": func(m []byte) (*cutfile.File, *ReaderOptions) {
			f := made(t, Options{Size: int64(len(m)), BlockSize: 512 << 10}, m)
			holes(t, f, m)
			return f, nil
		},
		"differencing": func(m []byte) (*cutfile.File, *ReaderOptions) {
			base := made(t, Options{Size: int64(len(m)), ID: [16]byte{9}}, m)
			return childOf(t, base, 512<<10), isParent(base, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			model := make([]byte, size)
			rng := rand.New(rand.NewPCG(uint64(size), 1))
			for i := 600 << 10; i < min(size, 1800<<10); i++ {
				model[i] = byte(rng.Uint32())
			}
			f, o := do(model)
			f.Sync()
			run(t, f, o, model)
		})
	}
}

// holes takes sectors out of the blocks of a dynamic disk, as Windows leaves those that were not written.
func holes(t testing.TB, f *cutfile.File, model []byte) {
	r := readChain(t, f, nil)
	for i, sector := range r.bat {
		if sector == absent {
			continue
		}
		bits := bytes.Repeat([]byte{0xff}, int(r.bitmapSize))
		for s := int64(0); s < min(r.blockSize, r.size-int64(i)*r.blockSize)/sectorSize; s++ {
			if s%80 > 5 && s%80 != 40 {
				continue
			}
			bits[s/8] &^= 0x80 >> (s % 8)
			clear(model[int64(i)*r.blockSize+s*sectorSize:][:sectorSize])
		}
		f.WriteAt(bits, int64(sector)*sectorSize)
	}
}

func TestDisk(t *testing.T) {
	disks(t, 5<<20+1536, func(t *testing.T, f *cutfile.File, o *ReaderOptions, model []byte) {
		checkDisk(t, readChain(t, f, o), model)
		rng := rand.New(rand.NewPCG(1, 2))
		for range 3 {
			d := edit(t, f, o)
			for range 20 {
				off := rng.IntN(len(model))
				p := make([]byte, rng.IntN(min(len(model)-off, 1<<(8+rng.IntN(12)))+1))
				if rng.IntN(3) > 0 {
					for i := range p {
						p[i] = byte(rng.Uint32())
					}
				}
				copy(model[off:], p)
				if n, err := d.WriteAt(p, int64(off)); n != len(p) || err != nil {
					t.Fatalf("write of %d at %d: %d, %v", len(p), off, n, err)
				}
			}
			got := make([]byte, len(model))
			if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
				t.Fatalf("before the Sync: %v, equal %t", err, bytes.Equal(got, model))
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			r := readChain(t, f, o)
			checkDisk(t, r, model)
			if len(r.Info().Notes) > 0 {
				t.Errorf("notes %q", r.Info().Notes)
			}
			if _, err := d.WriteAt([]byte{1}, 0); err == nil {
				t.Error("a write after Close")
			}
		}
	})
}

// TestDiskCut cuts the power after every step of changing a disk. What is left must be valid, have what was written
// before the last Sync, and in every sector what it was then or what it was to become.
func TestDiskCut(t *testing.T) {
	disks(t, 4<<20+512, func(t *testing.T, f *cutfile.File, o *ReaderOptions, model []byte) {
		versions := [][]byte{bytes.Clone(model)} // what was synced, and after each write since
		rng := rand.New(rand.NewPCG(3, 4))
		cuts := 0
		got := make([]byte, len(model))
		f.Hook = func() {
			for _, r := range []*rand.Rand{nil, rng} {
				c := f.Cut(r)
				d, err := NewChainReader(c, c.Size(), o)
				if err != nil {
					t.Fatalf("cut %d: %v", cuts, err)
				}
				if _, err := d.ReadAt(got, 0); err != nil {
					t.Fatalf("cut %d: %v", cuts, err)
				}
				for at := 0; at < len(model); at += 512 {
					if !anyOf(got[at:at+512], versions, at) {
						t.Fatalf("cut %d: the sector at %d has never been so", cuts, at)
					}
				}
				cuts++
			}
		}
		d := edit(t, f, o)
		for range 5 {
			for range 4 {
				off := rng.IntN(len(model))
				p := make([]byte, rng.IntN(min(len(model)-off, 300000))+1)
				for i := range p {
					p[i] = byte(rng.Uint32())
				}
				copy(model[off:], p)
				versions = append(versions, bytes.Clone(model))
				if _, err := d.WriteAt(p, int64(off)); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			versions = [][]byte{bytes.Clone(model)}
		}
		f.Hook = nil
		if cuts < 50 {
			t.Errorf("only %d cuts", cuts)
		}
		checkDisk(t, readChain(t, f.Cut(rng), o), model)
	})
}

// anyOf reports whether each byte of the sector g at a place of the disk is as in one of its versions: a sector may be
// changed in part by several writes.
func anyOf(g []byte, versions [][]byte, at int) bool {
	for _, v := range versions {
		if bytes.Equal(g, v[at:at+len(g)]) {
			return true
		}
	}
	for i, c := range g {
		if !slices.ContainsFunc(versions, func(v []byte) bool { return v[at+i] == c }) {
			return false
		}
	}
	return true
}

// TestResizeCut resizes, with a cut after every step: the disk has the old size or the new one, the old content, and
// zeros behind it. Only a fixed disk may have its old footer there.
func TestResizeCut(t *testing.T) {
	disks(t, 5<<20+512, func(t *testing.T, f *cutfile.File, o *ReaderOptions, model []byte) {
		if o != nil {
			d := edit(t, f, o)
			if err := d.Resize(1 << 20); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%v, want ErrUnsupported", err)
			}
			return
		}
		rng := rand.New(rand.NewPCG(5, 6))
		buf := make([]byte, 10<<20)
		fixed := readChain(t, f, nil).Type() == Fixed
		for _, to := range []int64{7 << 20, 4<<20 + 1024, 9<<20 + 512, 1 << 20, 1<<20 + 512, 3 << 20, 300 << 20} {
			before := bytes.Clone(model)
			f.Hook = func() {
				c := f.Cut(rng)
				d, err := NewChainReader(c, c.Size(), o)
				if err != nil {
					t.Fatalf("to %d: %v", to, err)
				}
				if s := d.Size(); s != int64(len(before)) && s != to {
					t.Fatalf("size %d, want %d or %d", s, len(before), to)
				}
				got := buf[:min(to, int64(len(before)))]
				if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, before[:len(got)]) {
					t.Fatalf("to %d: other content, %v", to, err)
				}
				if d.Size() > int64(len(before)) {
					rest := buf[:min(d.Size()-int64(len(before)), 5<<20)]
					if _, err := d.ReadAt(rest, int64(len(before))); err != nil || !allZero(rest) && !(fixed && allZero(rest[min(512, len(rest)):])) {
						t.Fatalf("to %d: no zeros behind the old end, %v", to, err)
					}
				}
			}
			if fixed && to > 1<<28 {
				f.Hook = nil
				continue
			}
			d := edit(t, f, o)
			if err := d.Resize(to); err != nil {
				t.Fatal(err)
			}
			f.Hook = nil
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			model = append(model[:min(int64(len(model)), to)], make([]byte, max(0, to-int64(len(model))))...)
			r := readChain(t, f, o)
			if to > 1<<28 {
				got := make([]byte, len(before))
				if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, before) || r.Size() != to {
					t.Errorf("%d bytes, %v, equal %t", r.Size(), err, bytes.Equal(got, before))
				}
				continue
			}
			checkDisk(t, r, model)
			d = edit(t, f, o)
			for range 4 {
				off := rng.IntN(len(model))
				p := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(min(len(model)-off, 100000)))
				copy(model[off:], p)
				if _, err := d.WriteAt(p, int64(off)); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestChain makes three generations, and merges them: the last into its parent, and all into a new disk.
func TestChain(t *testing.T) {
	model := make([]byte, 3<<20)
	copy(model[100:], bytes.Repeat([]byte{0xaa, 1}, 500000))
	files := []*cutfile.File{made(t, Options{Size: 3 << 20, ID: [16]byte{9}}, model)}
	var o *ReaderOptions
	var models [][]byte
	for i := range 3 {
		c := childOf(t, files[i], 512<<10)
		o = isParent(files[i], o)
		models = append(models, bytes.Clone(model))
		d := edit(t, c, o)
		for j := range 3 {
			p := bytes.Repeat([]byte{byte(16*i+j) + 1}, 1000)
			copy(model[(i+j)<<19+500*j:], p)
			if _, err := d.WriteAt(p, int64((i+j)<<19+500*j)); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		checkDisk(t, readChain(t, c, o), model)
		files = append(files, c)
	}
	child := readChain(t, files[3], o)
	if i := child.Info(); i.Type != Differencing || i.Parent.RelativePath != `.\parent.vhd` || i.Parent.AbsolutePath != `C:\disks\parent.vhd` || i.Parent.Name != "parent.vhd" || len(i.Notes) > 0 {
		t.Errorf("%+v, %+v", i, i.Parent)
	}
	into := edit(t, files[2].Clone(), isParent(files[1], isParent(files[0], nil)))
	if err := into.Merge(child); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(model))
	if _, err := into.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
		t.Errorf("merged into the parent: %v, equal %t", err, bytes.Equal(got, model))
	}
	// Each generation alone is still what it was.
	checkDisk(t, readChain(t, files[1], isParent(files[0], nil)), models[1])
}

func TestWrongParent(t *testing.T) {
	base := made(t, Options{Size: 1 << 20, ID: [16]byte{9}}, []byte{1})
	c := childOf(t, base, 512<<10)
	r := readChain(t, c, nil)
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrNoParent) {
		t.Errorf("without parent: %v", err)
	}
	other := made(t, Options{Size: 1 << 20, ID: [16]byte{8}}, []byte{1})
	if _, err := NewChainReader(c, c.Size(), isParent(other, nil)); !errors.Is(err, ErrWrongParent) || !strings.Contains(err.Error(), "want 0900") {
		t.Errorf("another parent: %v", err)
	}
}

func TestBadLocators(t *testing.T) {
	for name, change := range map[string]func(l *locator){
		"outside":  func(l *locator) { l.Offset = 1 << 40 },
		"negative": func(l *locator) { l.Offset = 1 << 63 },
		"long":     func(l *locator) { l.Length = 1 << 30 },
		"on table": func(l *locator) { l.Offset, l.Length = 1536, 4 },
	} {
		b := build(func(f *footer, h *header, bat []uint32) {
			f.Type = Differencing
			h.Locators[3] = locator{Code: [4]byte([]byte(relativeCode)), Space: 512, Length: 20, Offset: 0}
			change(&h.Locators[3])
		})
		_, err := NewReader(bytes.NewReader(b), int64(len(b)))
		if _, ok := errors.AsType[*FormatError](err); !ok {
			t.Errorf("%s: %v, want a FormatError", name, err)
		}
	}
}

// TestGrowFalseTable grows a disk whose header claims a table that goes over its blocks.
func TestGrowFalseTable(t *testing.T) {
	f := cutfile.New(build(func(f *footer, h *header, bat []uint32) { h.MaxTableEntries = 1000 }))
	model := make([]byte, 3*4096+512)
	for i := range 4096 {
		model[i] = byte(i) | 1
	}
	copy(model[3*4096:], model)
	d := edit(t, f, nil)
	const size = 300 * 4096
	if err := d.Resize(size); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	checkDisk(t, readChain(t, f, nil), append(model, make([]byte, size-len(model))...))
}

// TestDifferencingVhdiinfo: libvhdi reads the same of a child.
func TestDifferencingVhdiinfo(t *testing.T) {
	base := made(t, Options{Size: 3 << 20, ID: [16]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}}, nil)
	name := filepath.Join(t.TempDir(), "x.vhd")
	if err := os.WriteFile(name, childOf(t, base, 2<<20).Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	out := reftool.Run(t, "vhdiinfo", name)
	for _, want := range []string{"Differential", "01234567-89ab-cdef-0000-000000000000", "parent.vhd", "3145728 bytes"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
}

// TestChainVhdimount: libvhdi reads the same through a chain of three disks as we do.
func TestChainVhdimount(t *testing.T) {
	mount := reftool.Look(t, "vhdimount")
	dir := t.TempDir()
	point := filepath.Join(dir, "point")
	if err := os.Mkdir(point, 0o777); err != nil {
		t.Fatal(err)
	}
	model := sparseModel(5 << 20)
	f, o := made(t, Options{Size: 5 << 20, ID: [16]byte{9}}, model), (*ReaderOptions)(nil)
	name := filepath.Join(dir, "0.vhd")
	for i := range 2 {
		if err := os.WriteFile(name, f.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		p := readChain(t, f, nil)
		base := filepath.Base(name)
		c := made(t, Options{Size: p.Size(), ID: [16]byte{8, byte(i)}, Parent: &ParentLocator{ID: p.UUID(), Name: base, RelativePath: `.\` + base, AbsolutePath: `C:\` + base}}, nil)
		o = isParent(f, o)
		d := edit(t, c, o)
		q := bytes.Repeat([]byte{byte(i) + 0x61}, 70000)
		copy(model[(2*i+1)<<20-500:], q)
		if _, err := d.WriteAt(q, int64((2*i+1)<<20-500)); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		f, name = c, filepath.Join(dir, string(rune('1'+i))+".vhd")
	}
	if err := os.WriteFile(name, f.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mount, name, point).CombinedOutput(); err != nil {
		reftool.Skip(t, "vhdimount: %v\n%s", err, out)
	}
	defer func() {
		if out, err := exec.Command("umount", point).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	}()
	list, err := filepath.Glob(filepath.Join(point, "vhdi*"))
	if err != nil || len(list) == 0 {
		t.Fatalf("nothing in the mount: %v", err)
	}
	got, err := os.ReadFile(list[len(list)-1])
	if err != nil || !bytes.Equal(got, model) {
		t.Errorf("libvhdi reads %d other bytes of %v, %v", len(got), list, err)
	}
	checkDisk(t, readChain(t, f, o), model)
}

// TestDiskInQEMU: QEMU reads what a Disk changed and resized; and a Disk changes what QEMU made.
func TestDiskInQEMU(t *testing.T) {
	dir := t.TempDir()
	raw, name := filepath.Join(dir, "x.raw"), filepath.Join(dir, "x.vhd")
	for _, sub := range []string{"fixed", "dynamic"} {
		model := sparseModel(9 << 20)
		if err := os.WriteFile(raw, model, 0o666); err != nil {
			t.Fatal(err)
		}
		reftool.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat="+sub+",force_size=on", raw, name)
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		d, err := OpenDisk(f, st.Size(), nil)
		if err != nil {
			t.Fatal(err)
		}
		const size = 280 << 20 // more blocks than the table had room for
		write := func(off int64) {
			t.Helper()
			p := bytes.Repeat([]byte{0x3c}, 3000)
			if n := off + int64(len(p)); n > int64(len(model)) {
				model = append(model, make([]byte, n-int64(len(model)))...)
			}
			copy(model[off:], p)
			if _, err := d.WriteAt(p, off); err != nil {
				t.Fatal(err)
			}
		}
		write(5000)
		write(7<<20 - 9)
		if err := d.Resize(size); err != nil {
			t.Fatal(err)
		}
		write(199<<20 + 77)
		write(size - 3000)
		if err := errors.Join(d.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(raw, model, 0o666); err != nil {
			t.Fatal(err)
		}
		if got := qemuSize(t, name); got != size {
			t.Errorf("%s: QEMU reads %d bytes", sub, got)
		}
		reftool.Run(t, "qemu-img", "compare", "-f", "vpc", "-F", "raw", name, raw)
	}
}

// TestCreateDifferencing holds the layout that Windows and boot managers look at.
func TestCreateDifferencing(t *testing.T) {
	f := made(t, Options{Size: 4 << 20, Parent: &ParentLocator{
		ID: [16]byte{1, 2}, Time: time.Date(2009, 10, 22, 0, 0, 0, 0, time.UTC), Name: "父.vhd", RelativePath: `.\父.vhd`, AbsolutePath: `C:\父.vhd`,
	}}, nil)
	b := f.Bytes()
	be := binary.BigEndian
	h := b[512:]
	for _, l := range []struct {
		at   int
		code string
		off  uint64
		path string
	}{{locatorsAt, "W2ku", 0x1000, `C:\父.vhd`}, {locatorsAt + 24, "W2ru", 0x2000, `.\父.vhd`}} {
		e := h[l.at:]
		n := be.Uint32(e[8:])
		if string(e[:4]) != l.code || be.Uint32(e[4:]) != 4096 || be.Uint64(e[16:]) != l.off || int(n) != 2*len([]rune(l.path)) {
			t.Errorf("locator %x, want %+v", e[:24], l)
		}
		if got := b[l.off]; got != l.path[0] {
			t.Errorf("path begins with %q", got)
		}
	}
	if be.Uint32(b[60:]) != 4 || h[40] != 1 || h[41] != 2 || be.Uint32(h[56:]) != 0x12725d00 || be.Uint16(h[64:]) != '父' || be.Uint64(h[16:]) != 0x3000 {
		t.Errorf("header %x", h[:80])
	}
	for _, bad := range []Options{
		{Size: 1 << 20, Type: Differencing},
		{Size: 1 << 20, Type: Fixed, Parent: &ParentLocator{}},
		{Size: 1 << 20, Parent: &ParentLocator{Name: strings.Repeat("x", 256)}},
		{Size: 1 << 20, Parent: &ParentLocator{AbsolutePath: strings.Repeat("x", 40000)}},
		{Size: 1 << 20, Parent: &ParentLocator{Time: time.Unix(0, 0)}},
	} {
		if _, err := Create(&cutfile.File{}, &bad); err == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
	w := create(t, &cutfile.File{}, &Options{Size: 1 << 20, Parent: &ParentLocator{}})
	if _, err := w.WriteAt([]byte{1}, 0); err == nil {
		t.Error("a Writer writes without knowing the parent")
	}
}

// TestDiskConcurrent writes, reads and syncs from several goroutines.
func TestDiskConcurrent(t *testing.T) {
	f := made(t, Options{Size: 4 << 20, BlockSize: 512 << 10}, nil)
	d := edit(t, f, nil)
	model := make([]byte, 4<<20)
	var wg sync.WaitGroup
	for i := range 8 {
		part := model[i<<19 : (i+1)<<19]
		wg.Go(func() {
			for j := range 10 {
				p := bytes.Repeat([]byte{byte(16*i + j + 1)}, 3000)
				copy(part[j*50000:], p)
				if _, err := d.WriteAt(p, int64(i<<19+j*50000)); err != nil {
					t.Error(err)
				}
				got := make([]byte, len(p))
				if _, err := d.ReadAt(got, int64(i<<19+j*50000)); err != nil || !bytes.Equal(got, p) {
					t.Errorf("block %d: %v", i, err)
				}
				if j == 5 {
					if err := d.Sync(); err != nil {
						t.Error(err)
					}
				}
				d.NextAllocated(0)
			}
		})
	}
	wg.Wait()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	checkDisk(t, readChain(t, f, nil), model)
}
