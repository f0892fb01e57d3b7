package vhdx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/guid"
	"husk/internal/cutfile"
	"husk/internal/reftool"
)

func TestDiskSizes(t *testing.T) {
	for v, want := range map[any]int{header{}: 80, regionHeader{}: 16, regionEntry{}: 32, metaHeader{}: 32, metaEntry{}: 32, logHeader{}: 64, logDesc{}: 32} {
		if got := binary.Size(v); got != want {
			t.Errorf("%T is %d bytes, want %d", v, got, want)
		}
	}
}

// TestGeometry holds the examples of [MS-VHDX] 2.5 on chunks and the size of the BAT.
func TestGeometry(t *testing.T) {
	for _, tt := range []struct {
		size, block, sector int64
		ratio, plain, child int64
	}{
		{1 << 20, 1 << 20, 512, 4096, 1, 4097},
		{127 << 30, 32 << 20, 512, 128, 4064 + 31, 32 * 129},
		{4 << 30, 32 << 20, 512, 128, 128, 129},
		{4<<30 + 512, 32 << 20, 512, 128, 130, 258},
		{64 << 40, 256 << 20, 4096, 128, 1<<18 + 2047, 2048 * 129},
	} {
		g := newGeometry(tt.size, tt.block, tt.sector)
		if g.ratio != tt.ratio || g.entries(false) != tt.plain || g.entries(true) != tt.child {
			t.Errorf("%+v: ratio %d, %d entries, %d with parent", tt, g.ratio, g.entries(false), g.entries(true))
		}
		for _, i := range []int64{0, 1, g.ratio - 1, g.ratio, 3 * g.ratio} {
			if g.block(g.payload(i)) != i || g.isBitmap(g.payload(i)) || !g.isBitmap(g.bitmap(i)) {
				t.Errorf("block %d: entry %d, bitmap %d", i, g.payload(i), g.bitmap(i))
			}
		}
	}
}

// damage changes a structure of a file and repairs its checksum where it has one.
type damage struct {
	name  string
	child bool
	do    func(b []byte, r *Reader)
	want  string // in the error of NewReader; "" if it is read all the same
	code  string // of Check
}

var le = binary.LittleEndian

func setHeader(b []byte, r *Reader, change func(h *header)) {
	h := r.head
	change(&h)
	copy(b[headerAt+r.which*headerStep:], h.marshal())
}

func setRegions(b []byte, r *Reader, change func(list []regionEntry) []regionEntry) {
	table := marshalRegions(change(slices.Clone(r.regions)))
	copy(b[regionAt:], table)
	copy(b[regionAt+regionStep:], table)
}

func setEntry(b []byte, r *Reader, n int64, e batEntry) { le.PutUint64(b[r.batAt+8*n:], uint64(e)) }

// item finds the table entry of an item.
func item(b []byte, r *Reader, id guid.GUID) []byte {
	for at := r.metaAt + 32; ; at += 32 {
		if guid.GUID(b[at:at+16]) == id {
			return b[at : at+32]
		}
	}
}

func itemData(b []byte, r *Reader, id guid.GUID) []byte {
	e := item(b, r, id)
	return b[r.metaAt+int64(le.Uint32(e[16:])):]
}

var damages = []damage{
	{"identifier", false, func(b []byte, r *Reader) { b[0] = 'V' }, "file identifier at 0x0: magic", "identifier"},
	{"one header", false, func(b []byte, r *Reader) { b[headerAt+headerStep+100]++ }, "", "header"},
	{"both headers", false, func(b []byte, r *Reader) { b[headerAt]++; b[headerAt+headerStep]++ }, `header 2 at 0x20000: magic`, "header"},
	{"version", false, func(b []byte, r *Reader) {
		setHeader(b, r, func(h *header) { h.Version = 2 })
		b[headerAt]++
	}, "version 2, want 1", "header"},
	{"equal sequence", false, func(b []byte, r *Reader) { setHeader(b, r, func(h *header) { h.Sequence = 1; h.FileWriteGUID[0]++ }) }, "sequence number 1", "header"},
	{"log outside", false, func(b []byte, r *Reader) { setHeader(b, r, func(h *header) { h.LogOffset = 1 << 50 }) }, "log of 1048576 bytes at", "header"},
	{"log at odd place", false, func(b []byte, r *Reader) { setHeader(b, r, func(h *header) { h.LogOffset += 512 }) }, "multiples of 1 MiB", "header"},
	{"log version", false, func(b []byte, r *Reader) { setHeader(b, r, func(h *header) { h.LogGUID[0]++; h.LogVersion = 1 }) }, "log version 1", "unsupported"},
	{"empty log", false, func(b []byte, r *Reader) { setHeader(b, r, func(h *header) { h.LogGUID[0]++ }) }, "no entry that belongs", "log"},
	{"one region table", false, func(b []byte, r *Reader) { b[regionAt+9]++ }, "", "region-table"},
	{"tables differ", false, func(b []byte, r *Reader) {
		list := slices.Clone(r.regions)
		list[0].Required = 0
		copy(b[regionAt+regionStep:], marshalRegions(list))
	}, "", "region-copy"},
	{"both region tables", false, func(b []byte, r *Reader) { b[regionAt]++; b[regionAt+regionStep]++ }, "region table 1 at 0x30000", "region-table"},
	{"unknown region", false, func(b []byte, r *Reader) {
		setRegions(b, r, func(l []regionEntry) []regionEntry {
			return append(l, regionEntry{GUID: guid.GUID{1}, Offset: 5 << 20, Length: 1 << 20, Required: 1})
		})
	}, "has to be understood", "unsupported"},
	{"region twice", false, func(b []byte, r *Reader) {
		setRegions(b, r, func(l []regionEntry) []regionEntry { return append(l, l[0]) })
	}, "a second region", "region-table"},
	{"no BAT", false, func(b []byte, r *Reader) {
		setRegions(b, r, func(l []regionEntry) []regionEntry { return l[1:] })
	}, "want a BAT and metadata", "region-table"},
	{"region outside", false, func(b []byte, r *Reader) {
		setRegions(b, r, func(l []regionEntry) []regionEntry { l[0].Offset = 1 << 62; return l })
	}, "region of 1048576 bytes at", "region-table"},
	{"regions overlap", false, func(b []byte, r *Reader) {
		setRegions(b, r, func(l []regionEntry) []regionEntry { l[0].Offset = uint64(r.head.LogOffset); return l })
	}, "overlaps", "bat-entry"},
	{"metadata magic", false, func(b []byte, r *Reader) { b[r.metaAt]++ }, "metadata table at", "metadata"},
	{"metadata count", false, func(b []byte, r *Reader) { le.PutUint16(b[r.metaAt+10:], 5000) }, "5000 items", "metadata"},
	{"unknown item", false, func(b []byte, r *Reader) { item(b, r, itemPage83)[0]++ }, "has to be understood", "unsupported"},
	{"user item", false, func(b []byte, r *Reader) { e := item(b, r, itemPage83); e[0]++; e[24] = metaUser }, "", ""},
	{"missing item", false, func(b []byte, r *Reader) { e := item(b, r, itemLogical); e[0]++; e[24] = 0 }, "want an item " + itemLogical.String(), "metadata"},
	{"item twice", false, func(b []byte, r *Reader) { copy(item(b, r, itemPhysical), itemLogical[:]) }, "a second item", "metadata"},
	{"item outside", false, func(b []byte, r *Reader) { le.PutUint32(item(b, r, itemSize)[16:], 1<<31) }, "of the region, want it behind the table", "metadata"},
	{"item in table", false, func(b []byte, r *Reader) { le.PutUint32(item(b, r, itemSize)[16:], 8) }, "of the region, want it behind the table", "metadata"},
	{"item length", false, func(b []byte, r *Reader) { le.PutUint32(item(b, r, itemSize)[20:], 4) }, "as long as it has to be", "metadata"},
	{"block size", false, func(b []byte, r *Reader) { le.PutUint32(itemData(b, r, itemParameters), 3<<20) }, "block size 3145728", "metadata"},
	{"sector size", false, func(b []byte, r *Reader) { le.PutUint32(itemData(b, r, itemLogical), 520) }, "520, want 512 or 4096", "metadata"},
	{"size zero", false, func(b []byte, r *Reader) { le.PutUint64(itemData(b, r, itemSize), 0) }, "disk size at", "metadata"},
	{"size odd", false, func(b []byte, r *Reader) { le.PutUint64(itemData(b, r, itemSize), 513) }, "disk size at", "metadata"},
	{"size huge", false, func(b []byte, r *Reader) { le.PutUint64(itemData(b, r, itemSize), 1<<63) }, "disk size at", "metadata"},
	{"BAT too short", false, func(b []byte, r *Reader) { le.PutUint64(itemData(b, r, itemSize), 1<<40) }, "BAT region of 1048576 bytes", "region-table"},
	{"block outside", false, func(b []byte, r *Reader) { setEntry(b, r, 0, place(1<<40, statePresent)) }, "BAT entry 0 at", "bat-entry"},
	{"block far outside", false, func(b []byte, r *Reader) { setEntry(b, r, 0, batEntry(1<<64-1<<20|statePresent)) }, "BAT entry 0 at", "bat-entry"},
	{"block in headers", false, func(b []byte, r *Reader) { setEntry(b, r, 0, place(0, statePresent)) }, "BAT entry 0 at", "bat-entry"},
	{"block over log", false, func(b []byte, r *Reader) { setEntry(b, r, 0, place(1<<20, statePresent)) }, "overlaps", "bat-entry"},
	{"block twice", false, func(b []byte, r *Reader) { setEntry(b, r, 1, r.bat[0]) }, "overlaps", "bat-entry"},
	{"block state", false, func(b []byte, r *Reader) { setEntry(b, r, 0, r.bat[0]-1) }, "state 5", "bat-entry"},
	{"partial without parent", false, func(b []byte, r *Reader) { setEntry(b, r, 0, r.bat[0]+1) }, "state 7", "bat-entry"},
	{"reserved bits", false, func(b []byte, r *Reader) { setEntry(b, r, 0, r.bat[0]|8) }, "", "bat-reserved"},
	{"bitmap state", true, func(b []byte, r *Reader) { setEntry(b, r, r.bitmap(0), 2) }, "sector bitmap in state 2", "bat-entry"},
	{"no bitmap", true, func(b []byte, r *Reader) { setEntry(b, r, 0, r.bat[0]+1) }, "", "bitmap"},
	{"block behind the end", true, func(b []byte, r *Reader) { setEntry(b, r, 100, place(1<<20, statePresent)) }, "", "bat-behind"},
	{"lost block", false, func(b []byte, r *Reader) { setEntry(b, r, 1, 0) }, "", "unused"},
	{"locator type", true, func(b []byte, r *Reader) { itemData(b, r, itemParent)[0]++ }, "parent locator type", "unsupported"},
	{"locator count", true, func(b []byte, r *Reader) { le.PutUint16(itemData(b, r, itemParent)[18:], 60000) }, "60000 entries", "metadata"},
	{"locator outside", true, func(b []byte, r *Reader) { le.PutUint32(itemData(b, r, itemParent)[20:], 1<<31) }, "want them in the item", "metadata"},
	{"locator short", true, func(b []byte, r *Reader) { le.PutUint32(item(b, r, itemParent)[20:], 5) }, "5 bytes, want at least 20", "metadata"},
	{"no linkage", true, func(b []byte, r *Reader) { le.PutUint16(itemData(b, r, itemParent)[18:], 0) }, "no parent_linkage", "metadata"},
	{"cut file", false, func(b []byte, r *Reader) {}, "", ""},
}

// sample is a small disk, or a child with one block.
func sample(t testing.TB, isChild bool) *cutfile.File {
	model := bytes.Repeat([]byte{1, 2, 3, 4}, 3<<18)
	f := create(t, Options{Size: 3 << 20, BlockSize: 1 << 20, DataWriteGUID: guid.GUID{9}}, model)
	if !isChild {
		return f
	}
	c := child(t, f, Options{BlockSize: 1 << 20})
	d := edit(t, c, &DiskOptions{Parent: isParent(t, f, nil)})
	if _, err := d.WriteAt([]byte{5}, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDamage(t *testing.T) {
	samples := map[bool]*cutfile.File{false: sample(t, false), true: sample(t, true)}
	for _, tt := range damages {
		f := samples[tt.child]
		b := f.Bytes()
		tt.do(b, read(t, f, nil))
		_, err := NewReader(bytes.NewReader(b), int64(len(b)), nil)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
		if fe, ok := errors.AsType[*FormatError](err); err != nil && !errors.Is(err, errors.ErrUnsupported) && (!ok || fe.What == "") {
			t.Errorf("%s: %v, want a FormatError", tt.name, err)
		}
		list, err := Check(context.Background(), bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.code == "" && len(list) > 0 || tt.code != "" && !slices.ContainsFunc(list, func(p Problem) bool { return p.Code == tt.code }) {
			t.Errorf("%s: %v, want code %q", tt.name, list, tt.code)
		}
		for _, p := range list {
			if _, ok := Codes[p.Code]; !ok || p.Found == "" || p.String() == "" {
				t.Errorf("%s: %+v", tt.name, p)
			}
			if wrong := tt.want == "" && p.Severity == SeverityError && tt.name != "no bitmap"; wrong {
				t.Errorf("%s: %v, but it is read", tt.name, p)
			}
		}
	}
}

// TestCutFile: every shorter file is refused, or lacks no block.
func TestCutFile(t *testing.T) {
	b := sample(t, false).Bytes()
	for _, n := range []int{0, 5, 8, headerAt, regionAt + 5, mib, 2*mib + 70000, 3 * mib, len(b) - mib, len(b) - 1} {
		_, err := NewReader(bytes.NewReader(b[:n]), int64(n), nil)
		if err == nil {
			t.Errorf("%d of %d bytes accepted", n, len(b))
		}
		if list, err := Check(context.Background(), bytes.NewReader(b[:n]), int64(n)); err != nil || len(list) == 0 {
			t.Errorf("%d of %d bytes: %v, %v", n, len(b), list, err)
		}
	}
}

// TestSilent: there is nothing to say about what Windows' form, QEMU and our writers leave.
func TestSilent(t *testing.T) {
	for _, c := range []bool{false, true} {
		f := sample(t, c)
		if list, err := Check(context.Background(), f, f.Size()); err != nil || len(list) > 0 {
			t.Errorf("%v, %v", list, err)
		}
	}
	f, _ := dirty(t, false)
	if list, err := Check(context.Background(), f, f.Size()); err != nil || len(list) != 1 || list[0].Code != "log-unclean" {
		t.Errorf("%v, %v", list, err)
	}
}

// TestPartial reads a differencing disk with sector bitmaps, as Windows writes them, and then completes its blocks.
func TestPartial(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		model := bytes.Repeat([]byte{7, 8, 9, 10}, 5<<18)
		base := create(t, Options{Size: 5 << 20, BlockSize: 2 << 20, LogicalSector: sector}, model)
		f := child(t, base, Options{BlockSize: 1 << 20})
		r := read(t, f, nil)
		bitmap, data := f.Size(), f.Size()+mib
		bits := make([]byte, mib)
		own := bytes.Repeat([]byte{0xd1}, mib)
		const block = 3
		off, n := r.bitmapRange(block)
		for i := range int(n) * 8 {
			if i%5 == 0 || i > 100 && i < 200 {
				bits[int(off)+i/8] |= 1 << (i % 8)
				copy(model[block<<20+i*sector:], own[:sector])
			}
		}
		f.WriteAt(bits, bitmap)
		f.WriteAt(own, data)
		set := func(n int64, e batEntry) { f.WriteAt(le.AppendUint64(nil, uint64(e)), r.batAt+8*n) }
		set(r.bitmap(block), place(bitmap, statePresent))
		set(r.payload(block), place(data, statePartial))
		set(r.payload(1), place(0, stateZero))
		clear(model[1<<20 : 2<<20])
		f.Sync()
		ro := &ReaderOptions{Parent: isParent(t, base, nil)}
		d := read(t, f, ro)
		checkDisk(t, d, model)
		if list, err := Check(context.Background(), f, f.Size()); err != nil || len(list) > 0 {
			t.Errorf("%v, %v", list, err)
		}
		merged := make([]byte, len(model))
		d.Parent().ReadAt(merged, 0)
		ranges := 0
		for at := int64(0); ; ranges++ {
			start, end, err := d.NextOwn(at)
			if err != nil {
				t.Fatal(err)
			}
			if start == d.Size() {
				break
			}
			copy(merged[start:end], model[start:end])
			at = end
		}
		if !bytes.Equal(merged, model) || ranges < 10 {
			t.Errorf("%d ranges of its own over the parent give something else", ranges)
		}
		e := edit(t, f, (*DiskOptions)(ro))
		for _, at := range []int64{block<<20 + 700, 1<<20 + 5, 4<<20 - 3} {
			p := []byte{1, 2, 3, 4, 5, 6}
			copy(model[at:], p)
			if _, err := e.WriteAt(p, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		checkDisk(t, read(t, f, ro), model)
	}
}

// TestChain reads through several parents.
func TestChain(t *testing.T) {
	model := sparseModel(4 << 20)
	f := create(t, Options{Size: 4 << 20, BlockSize: 1 << 20}, model)
	var ro *ReaderOptions
	for i := range 4 {
		c := child(t, f, Options{BlockSize: 1 << 20})
		ro = &ReaderOptions{Parent: isParent(t, f, ro)}
		d := edit(t, c, (*DiskOptions)(ro))
		p := bytes.Repeat([]byte{byte(i) + 1}, 1000)
		copy(model[i<<20+500:], p)
		if _, err := d.WriteAt(p, int64(i)<<20+500); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		f = c
	}
	checkDisk(t, read(t, f, ro), model)
}

// TestMerge merges a child into its parent, with a cut after every step: until the end the child knows its parent and
// reads as before, so that the merge can be done again.
func TestMerge(t *testing.T) {
	model := sparseModel(5 << 20)
	base := create(t, Options{Size: 5 << 20, BlockSize: 2 << 20}, model)
	c := child(t, base, Options{BlockSize: 1 << 20})
	d := edit(t, c, &DiskOptions{Parent: isParent(t, base, nil)})
	for _, at := range []int{500, 2<<20 - 3, 4 << 20} {
		copy(model[at:], "changed by the child")
		if _, err := d.WriteAt([]byte("changed by the child"), int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	into := edit(t, base, nil)
	old := into.Info().DataWriteGUID
	rng := rand.New(rand.NewPCG(1, 2))
	got := make([]byte, len(model))
	base.Hook = func() {
		cut := base.Cut(rng)
		p := read(t, cut, nil)
		if p.Info().DataWriteGUID == old {
			p = read(t, c, &ReaderOptions{Parent: isParent(t, cut, nil)})
		}
		if _, err := p.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
			t.Fatalf("other content, %v", err)
		}
	}
	if err := into.Merge(read(t, c, nil)); err != nil {
		t.Fatal(err)
	}
	base.Hook = nil
	if err := into.Close(); err != nil {
		t.Fatal(err)
	}
	r := read(t, base, nil)
	checkDisk(t, r, model)
	if r.Info().DataWriteGUID == old {
		t.Error("the merged disk has its old identity")
	}
}

// TestOursInQEMU: QEMU finds nothing wrong with what we wrote, reads it, and writes on in it.
func TestOursInQEMU(t *testing.T) {
	reftool.Look(t, "qemu-img")
	dir := t.TempDir()
	raw, name := filepath.Join(dir, "x.raw"), filepath.Join(dir, "x.vhdx")
	for _, size := range []int{1 << 20, 33<<20 - 1536} {
		model := sparseModel(size)
		if err := os.WriteFile(raw, model, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{}, {Type: Fixed, BlockSize: 4 << 20}, {BlockSize: 1 << 20}} {
			o.Size = int64(size)
			f, err := os.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			w, err := Create(f, &o)
			if err != nil {
				t.Fatal(err)
			}
			for off := 0; off < size; off += 1 << 20 {
				if _, err := w.WriteAt(model[off:min(off+1<<20, size)], int64(off)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			qemuAgrees(t, name, raw)
			// Changed by us, then by QEMU.
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			d, err := OpenDisk(f, info.Size(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, off := range []int{0, size / 2, size - 3000} {
				p := bytes.Repeat([]byte{0x5b}, 3000)
				copy(model[off:], p)
				if _, err := d.WriteAt(p, int64(off)); err != nil {
					t.Fatal(err)
				}
			}
			grown := roundUp(int64(size)+5<<20, 512)
			if err := d.Resize(grown); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(d.Close(), f.Close()); err != nil {
				t.Fatal(err)
			}
			now := append(bytes.Clone(model), make([]byte, grown-int64(size))...)
			if err := os.WriteFile(raw, now, 0o666); err != nil {
				t.Fatal(err)
			}
			qemuAgrees(t, name, raw)
			args := []string{"-f", "vhdx"}
			for _, off := range []int{512, size / 2 / 512 * 512, int(grown) - 4096} {
				args = append(args, "-c", fmt.Sprintf("write -P 0xab %d 4096", off))
				copy(now[off:], bytes.Repeat([]byte{0xab}, 4096))
			}
			reftool.Run(t, "qemu-io", append(args, name)...)
			checkDisk(t, openDisk(t, name, nil), now)
		}
	}
}

func qemuAgrees(t *testing.T, name, raw string) {
	t.Helper()
	if out := reftool.Run(t, "qemu-img", "check", "-f", "vhdx", name); !strings.Contains(out, "No errors") {
		t.Errorf("qemu-img check: %s", out)
	}
	reftool.Run(t, "qemu-img", "compare", "-f", "vhdx", "-F", "raw", name, raw)
	if list := checkFile(t, name); len(list) > 0 {
		t.Errorf("Check: %v", list)
	}
}

func checkFile(t *testing.T, name string) []Problem {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	list, err := Check(context.Background(), f, size)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestVhdiinfo compares what libvhdi says of a file with what we wrote, with and without parent.
func TestVhdiinfo(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "base.vhdx")
	f := create(t, Options{Size: 64 << 20, DataWriteGUID: mustGUID("01234567-89ab-cdef-1032-547698badcfe")}, sparseModel(3<<20))
	if err := os.WriteFile(base, f.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	if out := reftool.Run(t, "vhdiinfo", base); !strings.Contains(out, "67108864 bytes") || !strings.Contains(out, "01234567-89ab-cdef-1032-547698badcfe") {
		t.Errorf("%s", out)
	}
	kid := filepath.Join(dir, "kid.vhdx")
	if err := os.WriteFile(kid, child(t, f, Options{}).Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	out := reftool.Run(t, "vhdiinfo", kid)
	for _, want := range []string{"Differential", "01234567-89ab-cdef-1032-547698badcfe"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
}

// FuzzReader gives the reader files whose structures differ from good ones in some bytes, with checksums repaired. What
// it accepts it must read, and once copied into a new file read alike.
func FuzzReader(f *testing.F) {
	plain, kid := sample(f, false).Bytes(), sample(f, true).Bytes()
	unclean, _ := dirty(f, false)
	files := [][]byte{plain, kid, unclean.Bytes()}
	r := read(f, cutfile.New(plain), nil)
	for i := range files {
		f.Add(i, []byte{})
		for _, at := range []int64{headerAt + 8, regionAt + 24, r.metaAt + 48, r.metaAt + metaTableSize, r.batAt, int64(r.head.LogOffset) + 12} {
			f.Add(i, append(le.AppendUint32(nil, uint32(at)), 3, 0xff))
		}
	}
	f.Fuzz(func(t *testing.T, which int, patch []byte) {
		b := bytes.Clone(files[uint(which)%uint(len(files))])
		// Each 6 bytes of the patch are a place, a length and a value; places in blocks are of no use.
		for ; len(patch) >= 6; patch = patch[6:] {
			at := int(le.Uint32(patch) % (5 << 20))
			for i := range int(patch[4]%16) + 1 {
				if at+i < len(b) {
					b[at+i] ^= patch[5]
				}
			}
		}
		for i := range 2 {
			seal(b[headerAt+i*headerStep:][:headerSize])
			seal(b[regionAt+i*regionStep:][:regionSize])
		}
		size := int64(len(b))
		list, err := Check(context.Background(), bytes.NewReader(b), size)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewReader(bytes.NewReader(b), size, nil)
		if err != nil {
			if len(list) == 0 {
				t.Fatalf("%v, and Check says nothing", err)
			}
			return
		}
		end := int64(0)
		buf := make([]byte, 4096)
		for range 100 {
			start, next := d.NextAllocated(end)
			if start < end || next < start || next > d.Size() {
				t.Fatalf("NextAllocated(%d) = %d, %d", end, start, next)
			}
			if start == d.Size() {
				break
			}
			if _, err := d.ReadAt(buf, start); err != nil && err != io.EOF && d.Info().Parent == nil {
				t.Fatal(err)
			}
			end = next
		}
		if d.Size() > 16<<20 || d.Info().Parent != nil {
			return
		}
		model := make([]byte, d.Size())
		if _, err := d.ReadAt(model, 0); err != nil {
			t.Fatal(err)
		}
		c := create(t, Options{Size: d.Size(), BlockSize: 1 << 20, LogicalSector: d.SectorSize()}, model)
		checkDisk(t, read(t, c, nil), model)
	})
}
