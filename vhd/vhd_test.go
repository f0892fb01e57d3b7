package vhd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// writeRandom gives w and model the same writes.
func writeRandom(t testing.TB, w *Writer, model []byte, rng *rand.Rand, writes int) {
	t.Helper()
	for range writes {
		off := rng.IntN(len(model))
		p := make([]byte, rng.IntN(min(len(model)-off, 1<<17)+1))
		if rng.IntN(3) > 0 {
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
		}
		copy(model[off:], p)
		if n, err := w.WriteAt(p, int64(off)); n != len(p) || err != nil {
			t.Fatalf("write of %d at %d: %d, %v", len(p), off, n, err)
		}
	}
}

// checkDisk compares d with model by reads of odd places and sizes, and by walking the ranges.
func checkDisk(t testing.TB, d *Reader, model []byte) {
	t.Helper()
	if d.Size() != int64(len(model)) {
		t.Fatalf("size %d, want %d", d.Size(), len(model))
	}
	got := make([]byte, len(model)+1)
	if n, err := d.ReadAt(got, 0); n != len(model) || err != io.EOF || !bytes.Equal(got[:n], model) {
		t.Fatalf("whole disk: %d bytes, %v, equal %t", n, err, bytes.Equal(got[:n], model))
	}
	for off, step := 0, 1; off < len(model); off, step = off+step*3, step*2+1 {
		p := bytes.Repeat([]byte{0xcc}, min(step, len(model)-off))
		if n, err := d.ReadAt(p, int64(off)); n != len(p) || err != nil || !bytes.Equal(p, model[off:off+n]) {
			t.Fatalf("%d bytes at %d: %d, %v", len(p), off, n, err)
		}
	}
	rest := make([]byte, len(model))
	end := int64(0)
	for {
		start, next := d.NextAllocated(end)
		if start < end || next < start || next > d.Size() || next == start && start != d.Size() {
			t.Fatalf("NextAllocated(%d) = %d, %d", end, start, next)
		}
		if start == d.Size() {
			break
		}
		copy(rest[start:next], model[start:next])
		end = next
	}
	if !bytes.Equal(rest, model) {
		t.Fatal("data outside of the allocated ranges")
	}
}

func create(t testing.TB, f File, o *Options) *Writer {
	t.Helper()
	w, err := Create(f, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func finish(t testing.TB, w *Writer) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, m *memFile) *Reader {
	t.Helper()
	d, err := NewReader(m, m.size)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRoundTrip(t *testing.T) {
	for _, size := range []int64{512, 1 << 20, 2 << 20, 5<<20 + 512, 13<<20 - 1536} {
		for _, o := range []Options{{Type: Fixed}, {}, {BlockSize: 512 << 10}} {
			t.Run(fmt.Sprintf("%d %v %d", size, o.Type, o.BlockSize), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(size), uint64(o.BlockSize)))
				var m memFile
				o.Size = size
				w := create(t, &m, &o)
				model := make([]byte, size)
				writeRandom(t, w, model, rng, 40)
				w.WriteAt([]byte{1}, size-1)
				model[size-1] = 1
				finish(t, w)
				if w.FileSize() != m.size {
					t.Errorf("FileSize %d, file has %d", w.FileSize(), m.size)
				}
				d := open(t, &m)
				checkDisk(t, d, model)
				if !IsVHD(&m, m.size) || len(d.Info().Notes) > 0 {
					t.Errorf("not recognised, or notes %q", d.Info().Notes)
				}
				if m.size%512 != 0 {
					t.Errorf("file of %d bytes", m.size)
				}
			})
		}
	}
}

func TestHoles(t *testing.T) {
	var m memFile
	const size = 20 << 20
	w := create(t, &m, &Options{Size: size})
	empty := w.FileSize()
	if _, err := w.WriteAt(make([]byte, size), 0); err != nil {
		t.Fatal(err)
	}
	if got := w.FileSize(); got != empty {
		t.Errorf("zeros took %d bytes", got-empty)
	}
	// One byte in blocks 3, 4 and 9; the write of block 4 spans into 5 with zeros only.
	for _, off := range []int64{9 << 20, 19 << 20} {
		w.WriteAt([]byte{1}, off)
	}
	p := make([]byte, 3<<20)
	p[0] = 7
	w.WriteAt(p, 7<<20)
	finish(t, w)
	d := open(t, &m)
	for _, tt := range [][3]int64{
		{-5, 6 << 20, 10 << 20}, {0, 6 << 20, 10 << 20}, {7<<20 + 3, 7<<20 + 3, 10 << 20},
		{10 << 20, 18 << 20, size}, {size - 1, size - 1, size}, {size, size, size}, {1 << 60, size, size},
	} {
		if start, end := d.NextAllocated(tt[0]); start != tt[1] || end != tt[2] {
			t.Errorf("NextAllocated(%d) = %d, %d, want %d, %d", tt[0], start, end, tt[1], tt[2])
		}
	}
	if i := d.Info(); i.Allocated != 3 || i.Blocks != 10 || i.BlockSize != 2<<20 || i.FileSize != m.size {
		t.Errorf("%+v", i)
	}
	for i, sector := range d.bat {
		if sector != absent && (int64(sector)*512+512)%4096 != 0 {
			t.Errorf("data of block %d at %#x is not aligned", i, int64(sector)*512+512)
		}
	}
	// A later write of zeros over data must count.
	w = create(t, &m, &Options{Size: size})
	w.WriteAt([]byte{1, 2, 3}, 100)
	w.WriteAt(make([]byte, 2), 100)
	finish(t, w)
	checkDisk(t, open(t, &m), append(make([]byte, 102), append([]byte{3}, make([]byte, size-103)...)...))
}

// TestConcurrent writes from several goroutines into shared blocks. With Reserve the bytes are always the same.
func TestConcurrent(t *testing.T) {
	const size = 14 << 20
	model := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < size; i += 1 + rng.IntN(4096) {
		if i/(3<<20)%2 == 0 {
			model[i] = byte(rng.Uint32())
		}
	}
	var files [2]memFile
	for i := range files {
		w := create(t, &files[i], &Options{Size: size})
		for off := int64(0); off < size; off += 2 << 20 {
			if !allZero(model[off : off+2<<20]) {
				if err := w.Reserve(off, 2<<20); err != nil {
					t.Fatal(err)
				}
			}
		}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for off := g * 100e3; off < size; off += 8 * 100e3 {
					if _, err := w.WriteAt(model[off:min(off+100e3, size)], int64(off)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		finish(t, w)
		checkDisk(t, open(t, &files[i]), model)
	}
	if !bytes.Equal(files[0].bytes(), files[1].bytes()) {
		t.Error("the same calls made different files")
	}

	// Without it the order of the blocks may differ, the content may not.
	var m memFile
	w := create(t, &m, &Options{Size: size, BlockSize: 512 << 10})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for off := g * 4096; off < size; off += 8 * 4096 {
				w.WriteAt(model[off:off+4096], int64(off))
			}
		})
	}
	wg.Wait()
	finish(t, w)
	d := open(t, &m)
	checkDisk(t, d, model)
	for range 2 { // readers share the Reader
		wg.Go(func() { checkDisk(t, d, model) })
	}
	wg.Wait()
}

func TestCreateErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts *Options
		want string
	}{
		{"no options", nil, "disk size 0"},
		{"negative", &Options{Size: -512}, "disk size -512"},
		{"odd", &Options{Size: 1000}, "want a multiple of 512"},
		{"too large", &Options{Size: MaxSize + 512}, "want 1 to 2190433320960"},
		{"full file too large", &Options{Size: MaxSize, BlockSize: 512 << 10}, "want larger blocks"},
		{"block size", &Options{Size: 1 << 20, BlockSize: 1 << 20}, "block size 1048576, want 2097152 or 524288"},
		{"type", &Options{Size: 1 << 20, Type: 7}, "disk type 7"},
		{"differencing", &Options{Size: 1 << 20, Type: Differencing}, "differencing with a parent"},
		{"creator", &Options{Size: 1 << 20, Creator: "win"}, "want 4 characters"},
		{"QEMU reads it shorter", &Options{Size: 64 << 20, Creator: "husk"}, "QEMU would read 67055616 bytes instead of 67108864"},
		{"time", &Options{Size: 1 << 20, Time: time.Unix(0, 0)}, "from 2000 to 2136"},
	} {
		if _, err := Create(new(memFile), tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	size, _ := RoundCHS(64 << 20)
	if _, err := Create(new(memFile), &Options{Size: size, Creator: "husk"}); err != nil {
		t.Errorf("size of the geometry: %v", err)
	}
	if _, err := Create(new(memFile), &Options{Size: MaxSize}); err != nil {
		t.Errorf("largest disk: %v", err)
	}
}

func TestWriterErrors(t *testing.T) {
	for _, typ := range []Type{Fixed, Dynamic} {
		var m memFile
		w := create(t, &m, &Options{Type: typ, Size: 4 << 20})
		for _, tt := range [][2]int64{{-1, 1}, {4 << 20, 1}, {4<<20 - 1, 2}, {1 << 62, 1}} {
			if _, err := w.WriteAt(make([]byte, tt[1]), tt[0]); err == nil {
				t.Errorf("%v: write of %d at %d accepted", typ, tt[1], tt[0])
			}
			if err := w.Reserve(tt[0], tt[1]); err == nil {
				t.Errorf("%v: %d bytes at %d reserved", typ, tt[1], tt[0])
			}
		}
		finish(t, w)
		if _, err := w.WriteAt([]byte{1}, 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%v: write after Close: %v", typ, err)
		}
		if err := w.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%v: second Close: %v", typ, err)
		}
	}
}

var errFull = errors.New("no space left on device")

// fullFile takes only left bytes, in the middle of a write if need be.
type fullFile struct {
	memFile
	left int
	lie  bool // writes all but says it did not
}

func (f *fullFile) WriteAt(p []byte, off int64) (int, error) {
	if len(p) <= f.left {
		f.left -= len(p)
		return f.memFile.WriteAt(p, off)
	}
	if f.lie {
		f.memFile.WriteAt(p, off)
		return 0, errFull
	}
	n, _ := f.memFile.WriteAt(p[:f.left], off)
	f.left = 0
	return n, errFull
}

// TestFull lets the disk run full at every place where that matters. No place leaves a file that looks complete.
func TestFull(t *testing.T) {
	for _, typ := range []Type{Fixed, Dynamic} {
		fill := func(f File) error {
			w := create(t, f, &Options{Type: typ, Size: 3 << 20})
			w.WriteAt([]byte("first"), 0) // its error must come again from Close
			w.WriteAt([]byte("second"), 2<<20)
			return w.Close()
		}
		whole := fullFile{left: 1 << 30}
		if err := fill(&whole); err != nil {
			t.Fatal(err)
		}
		used := 1<<30 - whole.left
		for left := range used {
			for _, lie := range []bool{false, true} {
				f := fullFile{left: left, lie: lie}
				if err := fill(&f); !errors.Is(err, errFull) {
					t.Fatalf("%v, room for %d of %d: %v", typ, left, used, err)
				}
				if _, err := NewReader(&f.memFile, f.size); err == nil {
					t.Fatalf("%v, room for %d of %d: the file is a VHD", typ, left, used)
				}
			}
		}
	}
}

// stepFile keeps only the first writes, as a crash would.
type stepFile struct {
	memFile
	writes, keep int
}

func (f *stepFile) WriteAt(p []byte, off int64) (int, error) {
	if f.writes++; f.writes > f.keep {
		return len(p), nil
	}
	return f.memFile.WriteAt(p, off)
}

func TestCrash(t *testing.T) {
	for _, typ := range []Type{Fixed, Dynamic} {
		for keep := 0; ; keep++ {
			f := stepFile{keep: keep}
			w := create(t, &f, &Options{Type: typ, Size: 7 << 20})
			for i := range 7 {
				w.WriteAt([]byte("data"), int64(i)<<20)
			}
			finish(t, w)
			_, err := NewReader(&f.memFile, f.size)
			if keep >= f.writes {
				if err != nil {
					t.Fatalf("%v: complete: %v", typ, err)
				}
				break
			}
			if err == nil {
				t.Errorf("%v: VHD after %d of %d writes", typ, keep, f.writes)
			}
		}
	}
}

// build makes a disk of 4 blocks of 4 KiB: 0 and 3 in the file, the last one cut to 512 bytes by the end of the disk.
func build(change func(f *footer, h *header, bat []uint32)) []byte {
	f := footer{
		Magic: [8]byte([]byte(footerMagic)), Features: 2, Version: version1, DataOffset: 512,
		Creator: [4]byte([]byte("win ")), CurrentSize: 3*4096 + 512, Type: Dynamic,
	}
	h := header{
		Magic: [8]byte([]byte(headerMagic)), DataOffset: noOffset, TableOffset: 1536, Version: version1,
		MaxTableEntries: 4, BlockSize: 4096,
	}
	bat := []uint32{4, absent, absent, 13}
	if change != nil {
		change(&f, &h, bat)
	}
	b := append(f.marshal(), h.marshal()...)
	table := bytes.Repeat([]byte{0xff}, 512)
	for i, e := range bat {
		binary.BigEndian.PutUint32(table[4*i:], e)
	}
	b = append(b, table...)
	for range 2 {
		b = append(b, 0xff)
		b = append(b, make([]byte, 511)...)
		for i := range 4096 {
			b = append(b, byte(i)|1)
		}
	}
	return append(b, f.marshal()...)
}

func TestDamage(t *testing.T) {
	const end = 2048 + 2*(512+4096) // where the footer is
	for _, tt := range []struct {
		name   string
		change func(f *footer, h *header, bat []uint32)
		bytes  func(b []byte) []byte
		want   string // "" if the disk is fine
		note   string
	}{
		{name: "intact"},
		{name: "footer damaged", bytes: func(b []byte) []byte { b[end] = 0; return b }, note: "the footer at 0x2c00 is damaged; its copy at 0x0 was used"},
		{name: "footer checksum", bytes: func(b []byte) []byte { b[end+200] = 1; return b }, note: "its copy"},
		{name: "footer lost", bytes: func(b []byte) []byte { return b[:end] }, note: "its copy"},
		{name: "last byte lost: Virtual PC before 2004", bytes: func(b []byte) []byte { return b[:len(b)-1] }},
		{name: "copy damaged", bytes: func(b []byte) []byte { b[9] = 1; return b }, note: "the copy of the footer at 0x0 is damaged: checksum"},
		{name: "both damaged", bytes: func(b []byte) []byte { b[9], b[end+9] = 1, 1; return b },
			want: "vhd: footer at 0x2c00: checksum 0xfffffafa, want 0xfffffaf9\nvhd: footer copy at 0x0: checksum"},
		{name: "empty", bytes: func([]byte) []byte { return nil }, want: "file size 0"},
		{name: "footer alone", bytes: func(b []byte) []byte { return b[:512] }, want: "header at 0x200, want a multiple of 512 that leaves 1024 bytes"},
		{name: "old footer alone", bytes: func(b []byte) []byte { return b[:511] }, want: "header at 0x200"},
		{name: "cut in block 3", bytes: func(b []byte) []byte { return b[:13*512+512+100] },
			want: "vhd: block table entry 3 at 0x60c: block from 0x1a00 to 0x1e00, want it to end by 0x1c64"},
		{name: "cut in the table", bytes: func(b []byte) []byte { return b[:1540] }, want: "block table of 16 bytes at 0x600"},
		{name: "version", change: func(f *footer, h *header, bat []uint32) { f.Version = 0x20000 }, want: "version 0x00020000, want 0x00010000"},
		{name: "type", change: func(f *footer, h *header, bat []uint32) { f.Type = 6 }, want: "vhd: footer at 0x2c00: disk type 6"},
		{name: "no size", change: func(f *footer, h *header, bat []uint32) { f.CurrentSize = 0 }, want: "disk size 0"},
		{name: "odd size", change: func(f *footer, h *header, bat []uint32) { f.CurrentSize++ }, want: "disk size 12801, want a multiple of 512"},
		{name: "huge size", change: func(f *footer, h *header, bat []uint32) { f.CurrentSize = 1 << 63 }, want: "want at most 2190433320960"},
		{name: "size over the table", change: func(f *footer, h *header, bat []uint32) { f.CurrentSize = 1 << 30 },
			want: "vhd: header at 0x200: block table of 4 entries, want 262144"},
		{name: "size over the file", change: func(f *footer, h *header, bat []uint32) { f.CurrentSize, h.MaxTableEntries = 1<<30, 1<<31 },
			want: "block table of 1048576 bytes at 0x600, want it in the file of 11776"},
		{name: "too many blocks", change: func(f *footer, h *header, bat []uint32) { f.CurrentSize, h.MaxTableEntries = MaxSize, 1<<31 },
			want: "block size 4096 makes 534773760 blocks, want at most 8355840"},
		{name: "fixed over the file", change: func(f *footer, h *header, bat []uint32) { f.Type = Fixed }, want: "disk size 12800, want at most the 11264 bytes before the footer"},
		{name: "fixed", change: func(f *footer, h *header, bat []uint32) { f.Type, f.CurrentSize = Fixed, end }},
		{name: "fixed, footer only at the start", bytes: func(b []byte) []byte { return b[:end] },
			change: func(f *footer, h *header, bat []uint32) { f.Type, f.CurrentSize = Fixed, end }, want: "footer copy at 0x0: the footer of a fixed disk"},
		{name: "header far", change: func(f *footer, h *header, bat []uint32) { f.DataOffset = 1 << 63 }, want: "header at 0x8000000000000000"},
		{name: "header magic", bytes: func(b []byte) []byte { b[512] = 'x'; return b }, want: `vhd: header at 0x200: magic "xxsparse", want "cxsparse"`},
		{name: "header checksum", bytes: func(b []byte) []byte { b[1500] = 1; return b }, want: "header at 0x200: checksum"},
		{name: "header version", change: func(f *footer, h *header, bat []uint32) { h.Version = 0 }, want: "header at 0x200: version"},
		{name: "block size 0", change: func(f *footer, h *header, bat []uint32) { h.BlockSize = 0 }, want: "block size 0, want a power of two"},
		{name: "block size odd", change: func(f *footer, h *header, bat []uint32) { h.BlockSize = 4095 }, want: "block size 4095"},
		{name: "block size huge", change: func(f *footer, h *header, bat []uint32) { h.BlockSize = 1 << 31 }, want: "block size 2147483648"},
		{name: "table far", change: func(f *footer, h *header, bat []uint32) { h.TableOffset = 1<<64 - 8 }, want: "block table of 16 bytes at 0xfffffffffffffff8"},
		{name: "table on the header", change: func(f *footer, h *header, bat []uint32) { h.TableOffset, f.CurrentSize = 520, 8192 }, want: "vhd: the block table at 0x208: overlaps the header"},
		{name: "block beyond the file", change: func(f *footer, h *header, bat []uint32) { bat[3] = absent - 1 }, want: "block table entry 3 at 0x60c"},
		{name: "block over the footer", change: func(f *footer, h *header, bat []uint32) { bat[0] = 14 }, want: "block from 0x1c00 to 0x2e00, want it to end by 0x2c00"},
		{name: "block on the copy", change: func(f *footer, h *header, bat []uint32) { bat[3] = 0 }, want: "overlaps the footer copy"},
		{name: "block on the table", change: func(f *footer, h *header, bat []uint32) { bat[3] = 3 }, want: "overlaps the block table"},
		{name: "blocks overlap", change: func(f *footer, h *header, bat []uint32) { bat[3] = 12 }, want: "vhd: block 3 at 0x1800: overlaps block 0, which goes from 0x800 to 0x1a00"},
		{name: "block twice", change: func(f *footer, h *header, bat []uint32) { bat[2] = 4 }, want: "vhd: block 2 at 0x800: overlaps block 0"},
		{name: "size of Virtual PC", change: func(f *footer, h *header, bat []uint32) {
			f.Creator, f.Geometry = [4]byte([]byte("vpc ")), CHS{1, 4, 6}
		},
			note: `Windows reads 12800 bytes, QEMU 12288: creator "vpc ", geometry 1/4/6`},
		{name: "suspended", change: func(f *footer, h *header, bat []uint32) { f.SavedState = 1 }, note: "suspended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := build(tt.change)
			if tt.bytes != nil {
				b = tt.bytes(b)
			}
			d, err := NewReader(bytes.NewReader(b), int64(len(b)))
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, want %q", err, tt.want)
				}
				var fe *FormatError
				if !errors.As(err, &fe) {
					t.Errorf("%T is no FormatError", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(d.Info().Notes, "; "); !strings.Contains(notes, tt.note) || tt.note == "" && notes != "" {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if d.Type() == Dynamic {
				model := make([]byte, 3*4096+512)
				for i := range 4096 {
					model[i] = byte(i) | 1
				}
				copy(model[3*4096:], model)
				checkDisk(t, d, model)
			}
		})
	}
}

// TestBitmap reads blocks of which only some sectors are in the file, as Windows writes them.
func TestBitmap(t *testing.T) {
	b := build(nil)
	b[2048] = 0b10110001 // block 0
	b[13*512] = 0        // block 3
	model := make([]byte, 3*4096+512)
	for i := range 4096 {
		if 0b10110001&(0x80>>(i/512)) != 0 {
			model[i] = byte(i) | 1
		}
	}
	d, err := NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	checkDisk(t, d, model)
	// Bits past the end of the disk do not matter.
	b[13*512] = 0x80
	for i := range 512 {
		model[3*4096+i] = byte(i) | 1
	}
	d, err = NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	checkDisk(t, d, model)
}

// TestReadError reports the place of a read that fails after the file was opened.
func TestReadError(t *testing.T) {
	b := build(nil)
	short := *bytes.NewReader(b[:3000])
	d, err := NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	d.r = &short
	p := make([]byte, 4096)
	if n, err := d.ReadAt(p, 0); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "block 0 at 0xa00") {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := d.ReadAt(p, 5000); n != 4096 || err != nil {
		t.Errorf("hole: %d, %v", n, err)
	}
	if _, err := d.ReadAt(p, -1); err == nil {
		t.Error("negative offset")
	}
}

func TestOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "磁盘.vhd")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	id := [16]byte{1, 2, 3}
	w := create(t, f, &Options{Size: 5 << 20, ID: id, Time: epoch.Add(time.Hour)})
	w.WriteAt([]byte("hello"), 4<<20)
	finish(t, w)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 5)
	if _, err := d.ReadAt(p, 4<<20); err != nil || string(p) != "hello" {
		t.Errorf("%q, %v", p, err)
	}
	i := d.Info()
	if d.UUID() != id || d.Type() != Dynamic || !i.Time.Equal(epoch.Add(time.Hour)) || i.Creator != "win " || i.HostOS != "Wi2k" || i.CreatorVersion != 0xa0000 {
		t.Errorf("%+v", i)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(name + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// emptyParent is a disk of zeros.
func emptyParent(t testing.TB, size int64) *Reader {
	var m memFile
	finish(t, create(t, &m, &Options{Size: size}))
	return open(t, &m)
}

func FuzzReader(f *testing.F) {
	f.Add(build(nil))
	f.Add(build(func(f *footer, h *header, bat []uint32) { f.Type, f.CurrentSize = Fixed, 4096 }))
	f.Add(build(func(f *footer, h *header, bat []uint32) { f.Type = Differencing }))
	f.Add(build(func(f *footer, h *header, bat []uint32) { h.BlockSize, bat[3] = 512, 8 }))
	f.Add(build(func(f *footer, h *header, bat []uint32) {
		f.Type = Differencing
		h.Locators[0] = locator{Code: [4]byte([]byte(relativeCode)), Space: 512, Length: 20, Offset: 7000}
		h.Locators[7] = locator{Code: [4]byte([]byte(absoluteCode)), Space: 512, Length: 1, Offset: 8000}
	}))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := bytes.Clone(in)
		// Few mutations keep the checksums: set them right so that the fields behind them are tested too.
		for _, s := range [][3]int{{0, footerSize, footerChecksumAt}, {headerOffset, headerSize, headerChecksumAt}, {len(b) - footerSize, footerSize, footerChecksumAt}} {
			if s[0] >= 0 && s[0]+s[1] <= len(b) && len(b)%2 == 0 {
				part := b[s[0] : s[0]+s[1]]
				binary.BigEndian.PutUint32(part[s[2]:], checksum(part, s[2]))
			}
		}
		d, err := NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if d.Type() == Differencing {
			d.parent = emptyParent(t, d.Size())
		}
		if d.Size() > 1<<30 {
			d.NextAllocated(0)
			return
		}
		var m memFile
		w := create(t, &m, &Options{Size: d.Size()})
		for start, end := d.NextAllocated(0); start < d.Size(); start, end = d.NextAllocated(end) {
			p := make([]byte, end-start) // no more than the file has
			if _, err := d.ReadAt(p, start); err != nil {
				t.Fatalf("%d bytes at %d: %v", len(p), start, err)
			}
			if _, err := w.WriteAt(p, start); err != nil {
				t.Fatal(err)
			}
		}
		finish(t, w)
		again := open(t, &m)
		for start, end := d.NextAllocated(0); start < d.Size(); start, end = d.NextAllocated(end) {
			p, q := make([]byte, end-start), make([]byte, end-start)
			d.ReadAt(p, start)
			if _, err := again.ReadAt(q, start); err != nil || !bytes.Equal(p, q) {
				t.Fatalf("%d bytes at %d differ: %v", len(p), start, err)
			}
		}
	})
}
