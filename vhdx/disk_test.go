package vhdx

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"husk/guid"
	"husk/internal/cutfile"
)

func create(t testing.TB, o Options, model []byte) *cutfile.File {
	t.Helper()
	f := &cutfile.File{}
	w, err := Create(f, &o)
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off < len(model); off += 1 << 20 {
		if _, err := w.WriteAt(model[off:min(off+1<<20, len(model))], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.FileSize() != f.Size() {
		t.Errorf("FileSize %d, file has %d", w.FileSize(), f.Size())
	}
	f.Sync()
	return f
}

func read(t testing.TB, f *cutfile.File, o *ReaderOptions) *Reader {
	t.Helper()
	d, err := NewReader(f, f.Size(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func edit(t testing.TB, f *cutfile.File, o *DiskOptions) *Disk {
	t.Helper()
	d, err := OpenDisk(f, f.Size(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// isParent gives a child the parent in f.
func isParent(t testing.TB, f *cutfile.File, o *ReaderOptions) func(*ParentLocator) (*Reader, error) {
	return func(*ParentLocator) (*Reader, error) { return NewReader(f, f.Size(), o) }
}

// child makes an empty child of the disk in f.
func child(t testing.TB, f *cutfile.File, o Options) *cutfile.File {
	t.Helper()
	info := read(t, f, nil).Info()
	o.Size, o.LogicalSector = info.Size, info.LogicalSector
	o.Parent = &ParentLocator{Linkage: info.DataWriteGUID, RelativePath: `.\parent.vhdx`}
	return create(t, o, nil)
}

func TestRoundTrip(t *testing.T) {
	for _, size := range []int64{4096, 1 << 20, 5<<20 + 4096} {
		for _, o := range []Options{{}, {Type: Fixed, BlockSize: 2 << 20}, {BlockSize: 1 << 20}, {BlockSize: 1 << 20, LogicalSector: 4096}} {
			t.Run(fmt.Sprintf("%d %v %d", size, o.Type, o.BlockSize), func(t *testing.T) {
				o.Size = size
				model := sparseModel(int(size))
				f := create(t, o, model)
				d := read(t, f, nil)
				checkDisk(t, d, model)
				if i := d.Info(); i.Type != o.Type || len(i.Notes) > 0 || i.Creator != "husk" || d.SectorSize() != max(o.LogicalSector, 512) {
					t.Errorf("%+v", i)
				}
			})
		}
	}
}

// TestDisk writes at random into disks of all kinds, and compares with a model, also after opening again.
func TestDisk(t *testing.T) {
	for _, o := range []Options{{BlockSize: 1 << 20}, {BlockSize: 2 << 20, LogicalSector: 4096}, {Type: Fixed, BlockSize: 1 << 20}, {Type: Differencing, BlockSize: 1 << 20}} {
		t.Run(fmt.Sprint(o.Type, o.LogicalSector), func(t *testing.T) {
			o.Size = 9<<20 + 8192
			model := sparseModel(int(o.Size))
			var f *cutfile.File
			var ro *ReaderOptions
			if o.Type == Differencing {
				base := create(t, Options{Size: o.Size, BlockSize: 4 << 20}, model)
				f = child(t, base, Options{BlockSize: o.BlockSize})
				ro = &ReaderOptions{Parent: isParent(t, base, nil)}
			} else {
				f = create(t, o, model)
			}
			checkDisk(t, read(t, f, ro), model)
			rng := rand.New(rand.NewPCG(1, uint64(o.Type)))
			for range 3 {
				d := edit(t, f, (*DiskOptions)(ro))
				before := d.Info().DataWriteGUID
				for range 20 {
					writeRandom(t, d, model, rng)
				}
				got := make([]byte, len(model))
				if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
					t.Fatalf("before the Sync: %v, equal %t", err, bytes.Equal(got, model))
				}
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				r := read(t, f, ro)
				checkDisk(t, r, model)
				if r.Info().DataWriteGUID == before {
					t.Error("the data write GUID did not change")
				}
			}
		})
	}
}

// writeRandom gives d and model the same write, of zeros or noise.
func writeRandom(t testing.TB, d interface {
	WriteAt(p []byte, off int64) (int, error)
}, model []byte, rng *rand.Rand) {
	t.Helper()
	off := rng.IntN(len(model))
	p := make([]byte, rng.IntN(min(len(model)-off, 1<<(8+rng.IntN(13)))+1))
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

// TestCut cuts the power after every step of changing a disk. What is left must be valid, have what was written before
// the last Sync, and in every sector what it was then or what it was to become.
func TestCut(t *testing.T) {
	for _, kind := range []Type{Dynamic, Fixed, Differencing} {
		t.Run(kind.String(), func(t *testing.T) {
			o := Options{Type: kind, Size: 6<<20 + 512, BlockSize: 1 << 20}
			model := make([]byte, o.Size)
			copy(model[1<<20:], sparseModel(2<<20))
			var f *cutfile.File
			var ro *ReaderOptions
			if kind == Differencing {
				base := create(t, Options{Size: o.Size, BlockSize: 2 << 20}, model)
				f = child(t, base, Options{BlockSize: o.BlockSize})
				ro = &ReaderOptions{Parent: isParent(t, base, nil)}
			} else {
				f = create(t, o, model)
			}
			versions := [][]byte{bytes.Clone(model)} // what was synced, and after each write since
			rng := rand.New(rand.NewPCG(3, 4))
			cuts := 0
			got := make([]byte, len(model))
			f.Hook = func() {
				for _, r := range []*rand.Rand{nil, rng, rng} {
					c := f.Cut(r)
					d, err := NewReader(c, c.Size(), ro)
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
			d := edit(t, f, (*DiskOptions)(ro))
			for range 6 {
				for range 4 {
					off := rng.IntN(len(model))
					p := sparseModel(rng.IntN(min(len(model)-off, 300000)) + 1)
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
			if cuts < 100 {
				t.Errorf("only %d cuts", cuts)
			}
			checkDisk(t, read(t, f.Cut(rng), ro), model)
		})
	}
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
// zeros behind it.
func TestResizeCut(t *testing.T) {
	for _, kind := range []Type{Dynamic, Fixed, Differencing} {
		t.Run(kind.String(), func(t *testing.T) {
			size := int64(5<<20 + 512)
			model := sparseModel(int(size))
			var f *cutfile.File
			var ro *ReaderOptions
			if kind == Differencing {
				bigger := sparseModel(int(size) + 3<<20) // a parent that has something behind the end of the child
				copy(bigger, model)
				base := create(t, Options{Size: int64(len(bigger)), BlockSize: 2 << 20}, bigger)
				f = create(t, Options{Size: size, BlockSize: 1 << 20, Parent: &ParentLocator{Linkage: read(t, base, nil).Info().DataWriteGUID}}, nil)
				ro = &ReaderOptions{Parent: isParent(t, base, nil)}
			} else {
				f = create(t, Options{Type: kind, Size: size, BlockSize: 1 << 20}, model)
			}
			rng := rand.New(rand.NewPCG(5, 6))
			buf := make([]byte, 10<<20)
			for _, to := range []int64{7 << 20, 4<<20 + 1024, 9<<20 + 512, 1 << 20, 3 << 20, 300 << 30} {
				before := bytes.Clone(model)
				f.Hook = func() {
					c := f.Cut(rng)
					d, err := NewReader(c, c.Size(), ro)
					if err != nil {
						t.Fatalf("to %d: %v", to, err)
					}
					if s := d.Size(); s != int64(len(before)) && s != to {
						t.Fatalf("size %d, want %d or %d", s, len(before), to)
					}
					got := buf[:min(d.Size(), int64(len(before)))]
					if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, before[:len(got)]) {
						t.Fatalf("to %d: other content, %v", to, err)
					}
					if d.Size() > int64(len(before)) {
						rest := buf[:min(d.Size()-int64(len(before)), 5<<20)]
						if _, err := d.ReadAt(rest, int64(len(before))); err != nil || !allZero(rest) {
							t.Fatalf("to %d: no zeros behind the old end, %v", to, err)
						}
					}
				}
				if kind == Fixed && to > 1<<30 {
					continue
				}
				d := edit(t, f, (*DiskOptions)(ro))
				if err := d.Resize(to); err != nil {
					t.Fatal(err)
				}
				f.Hook = nil
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				if r := read(t, f, ro); r.Size() != to {
					t.Fatalf("size %d, want %d", r.Size(), to)
				}
				if to > 1<<30 {
					continue
				}
				model = append(model[:min(int64(len(model)), to)], make([]byte, max(0, to-int64(len(model))))...)
				checkDisk(t, read(t, f, ro), model)
				// Something behind the middle, so that there is more to forget.
				d = edit(t, f, (*DiskOptions)(ro))
				for range 4 {
					writeRandom(t, d, model, rng)
				}
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestMoveBAT grows a disk beyond what its BAT has room for.
func TestMoveBAT(t *testing.T) {
	model := sparseModel(3 << 20)
	f := create(t, Options{Size: 3 << 20, BlockSize: 1 << 20}, model)
	d := edit(t, f, nil)
	const size = 200 << 30 // 200 Ki blocks of 1 MiB; 1 MiB has room for 128 Ki entries
	if err := d.Resize(size); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt([]byte{7}, size-1); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	r := read(t, f, nil)
	got := make([]byte, 3<<20)
	if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
		t.Errorf("content: %v, equal %t", err, bytes.Equal(got, model))
	}
	var b [2]byte
	if _, err := r.ReadAt(b[:], size-2); err != nil || b != [2]byte{0, 7} {
		t.Errorf("end: %v, %v", b, err)
	}
}

func TestWrongParent(t *testing.T) {
	base := create(t, Options{Size: 2 << 20}, sparseModel(2<<20))
	c := child(t, base, Options{})
	if _, err := NewReader(c, c.Size(), nil); err != nil {
		t.Fatal(err)
	}
	r := read(t, c, nil)
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrNoParent) {
		t.Errorf("without parent: %v", err)
	}
	d := edit(t, base, nil)
	if _, err := d.WriteAt([]byte{1}, 5); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := NewReader(c, c.Size(), &ReaderOptions{Parent: isParent(t, base, nil)}); !errors.Is(err, ErrWrongParent) {
		t.Errorf("changed parent: %v", err)
	}
}

func TestCreateErrors(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{}, "disk size 0"},
		{Options{Size: 513}, "multiple of 512"},
		{Options{Size: 512, LogicalSector: 4096}, "multiple of 4096"},
		{Options{Size: MaxSize + 512}, "multiple of 512 up to"},
		{Options{Size: 512, BlockSize: 3 << 20}, "power of two"},
		{Options{Size: MaxSize, BlockSize: 1 << 20}, "larger blocks"},
		{Options{Size: 512, LogicalSector: 520}, "sectors of 520"},
		{Options{Size: 512, Type: Differencing}, "with a parent"},
		{Options{Size: 512, Type: Fixed, Parent: &ParentLocator{Linkage: guid.New()}}, "with a parent"},
		{Options{Size: 512, Parent: &ParentLocator{}}, "linkage"},
		{Options{Size: 512, Creator: strings.Repeat("x", 300)}, "creator"},
	} {
		if _, err := Create(&cutfile.File{}, &tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want an error with %q", tt.o, err, tt.want)
		}
	}
}

// TestConcurrent writes, reads and syncs from several goroutines.
func TestConcurrent(t *testing.T) {
	f := create(t, Options{Size: 8 << 20, BlockSize: 1 << 20}, nil)
	d := edit(t, f, nil)
	model := make([]byte, 8<<20)
	var wg sync.WaitGroup
	for i := range 8 {
		part := model[i<<20 : (i+1)<<20]
		wg.Go(func() {
			for j := range 10 {
				p := bytes.Repeat([]byte{byte(16*i + j + 1)}, 3000)
				copy(part[j*50000:], p)
				if _, err := d.WriteAt(p, int64(i<<20+j*50000)); err != nil {
					t.Error(err)
				}
				got := make([]byte, len(p))
				if _, err := d.ReadAt(got, int64(i<<20+j*50000)); err != nil || !bytes.Equal(got, p) {
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
	checkDisk(t, read(t, f, nil), model)
}
