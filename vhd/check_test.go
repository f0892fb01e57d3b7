package vhd

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"testing"
)

// codesOf are the codes of what Check finds, each once, in order.
func codesOf(t testing.TB, b []byte) []string {
	t.Helper()
	list, err := Check(context.Background(), bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, p := range list {
		codes = append(codes, p.Code)
		if Codes[p.Code] == "" {
			t.Errorf("%v has a code that is not listed", p)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// checkCases are disks and what is wrong with them. Each code is there.
var checkCases = []struct {
	name string
	make func() []byte
	want []string
}{
	{"sound", func() []byte { return build(nil) }, nil},
	{"fixed", func() []byte {
		b := make([]byte, 4096)
		return append(b, (&footer{Magic: [8]byte([]byte(footerMagic)), Features: 2, Version: version1, DataOffset: noOffset, Creator: [4]byte([]byte("win ")), CurrentSize: 4096, Type: Fixed}).marshal()...)
	}, nil},
	{"fixed disk with a gap", func() []byte {
		b := make([]byte, 8192)
		return append(b, (&footer{Magic: [8]byte([]byte(footerMagic)), Features: 2, Version: version1, DataOffset: noOffset, Creator: [4]byte([]byte("win ")), CurrentSize: 4096, Type: Fixed}).marshal()...)
	}, []string{"file-size"}},
	{"footer", func() []byte { b := build(nil); b[len(b)-100]++; return b }, []string{"footer"}},
	{"both footers", func() []byte { b := build(nil); b[len(b)-100]++; b[100]++; return b }, []string{"footer"}},
	{"copy of the footer", func() []byte { b := build(nil); b[100]++; return b }, []string{"footer-copy"}},
	{"another copy", func() []byte {
		b := build(nil)
		copy(b, build(func(f *footer, _ *header, _ []uint32) { f.Timestamp = 7 })[:footerSize])
		return b
	}, []string{"footer-copy"}},
	{"footer of 511 bytes", func() []byte { b := build(nil); return b[:len(b)-1] }, []string{"footer-size"}},
	{"disk of no sectors", func() []byte { return build(func(f *footer, _ *header, _ []uint32) { f.CurrentSize = 0 }) }, []string{"footer-field"}},
	{"features", func() []byte { return build(func(f *footer, _ *header, _ []uint32) { f.Features = 0 }) }, []string{"footer-field"}},
	{"suspended", func() []byte { return build(func(f *footer, _ *header, _ []uint32) { f.SavedState = 1 }) }, []string{"suspended"}},
	{"geometry", func() []byte {
		return build(func(f *footer, _ *header, _ []uint32) {
			f.Creator, f.Geometry = [4]byte{'q', 'e', 'm', 'u'}, CHS{1, 1, 1}
		})
	}, []string{"geometry"}},
	{"header", func() []byte { b := build(nil); b[footerSize+700]++; return b }, []string{"header"}},
	{"header behind the file", func() []byte { return build(func(f *footer, _ *header, _ []uint32) { f.DataOffset = 1 << 40 }) }, []string{"header"}},
	{"next structure", func() []byte { return build(func(_ *footer, h *header, _ []uint32) { h.DataOffset = 0 }) }, []string{"header-field"}},
	{"short table", func() []byte { return build(func(_ *footer, h *header, _ []uint32) { h.MaxTableEntries = 3 }) }, []string{"bat"}},
	{"table behind the file", func() []byte { return build(func(_ *footer, h *header, _ []uint32) { h.TableOffset = 1 << 62 }) }, []string{"bat"}},
	{"block behind the file", func() []byte { return build(func(_ *footer, _ *header, bat []uint32) { bat[1] = 1000 }) }, []string{"bat-entry"}},
	{"block in another", func() []byte { return build(func(_ *footer, _ *header, bat []uint32) { bat[1] = 6 }) }, []string{"bat-entry"}},
	{"block in the table", func() []byte { return build(func(_ *footer, _ *header, bat []uint32) { bat[0] = 3 }) }, []string{"bat-entry"}},
	{"block behind the disk", func() []byte {
		return build(func(f *footer, _ *header, bat []uint32) { f.CurrentSize = 3 * 4096; bat[0], bat[3] = 13, 4 })
	}, []string{"bat-behind"}},
	{"empty block", func() []byte { b := build(nil); b[4*sectorSize] = 0; return b }, []string{"bitmap"}},
	{"no parent", func() []byte { return build(func(f *footer, _ *header, _ []uint32) { f.Type = Differencing }) }, []string{"parent-locator"}},
	{"parent behind the file", func() []byte {
		return build(func(f *footer, h *header, _ []uint32) {
			f.Type, h.ParentID = Differencing, [16]byte{1}
			h.Locators[0] = locator{Code: [4]byte([]byte("W2ku")), Length: 20, Offset: 1 << 50}
		})
	}, []string{"parent-locator"}},
}

func TestCheck(t *testing.T) {
	missing := make(map[string]bool)
	for code := range Codes {
		missing[code] = true
	}
	for _, tt := range checkCases {
		if got := codesOf(t, tt.make()); !slices.Equal(got, tt.want) {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
		for _, code := range tt.want {
			delete(missing, code)
		}
	}
	for code := range missing {
		t.Errorf("no disk shows %s", code)
	}
}

// TestCheckWhatWeWrite holds that disks of the Writer are sound.
func TestCheckWhatWeWrite(t *testing.T) {
	for _, o := range []*Options{{Size: 10 << 20}, {Size: 10 << 20, Type: Fixed}, {Size: 9<<20 + 512, BlockSize: smallBlockSize}} {
		f := new(memFile)
		w := create(t, f, o)
		for _, off := range []int64{0, 3 << 20, 8 << 20} {
			if _, err := w.WriteAt(bytes.Repeat([]byte{7}, 5000), off); err != nil {
				t.Fatal(err)
			}
		}
		finish(t, w)
		b := make([]byte, f.size)
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if got := codesOf(t, b); got != nil {
			t.Errorf("%+v: found %q", o, got)
		}
	}
}

// FuzzCheck holds that Check ends, and that what it finds sound or odd at most can be read.
func FuzzCheck(f *testing.F) {
	for _, tt := range checkCases {
		f.Add(tt.make())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := Check(context.Background(), bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return // the file ends early
		}
		bad := slices.ContainsFunc(list, func(p Problem) bool { return p.Severity == SeverityError })
		d, err := NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil && !bad {
			t.Errorf("%v is not found: %v", err, list)
		}
		if err == nil && d.Size() != int64(binary.BigEndian.Uint64(marshalOf(d)[0x30:])) {
			t.Errorf("size %d", d.Size())
		}
	})
}

func marshalOf(d *Reader) []byte { return d.footer.marshal() }
