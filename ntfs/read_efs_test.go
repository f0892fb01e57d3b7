package ntfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"husk/winfile"
)

// rawStream is a stream of an export, put together again.
type rawStream struct {
	name        string
	encrypted   bool
	data        []byte // as stored; holes as zeros
	size, valid int64
	holes       int
	sparse      bool
}

// parseExport reads an export as [MS-EFSR] 2.2.3 describes it, and shares nothing with the code that makes one.
func parseExport(b []byte) ([]rawStream, error) {
	take := func(n int) []byte {
		if n > len(b) {
			n = len(b)
		}
		p := b[:n]
		b = b[n:]
		return append(p[:n:n], make([]byte, 64)...)
	}
	if h := take(20); string(h[:20]) != "\x00\x01\x00\x00R\x00O\x00B\x00S\x00"+strings.Repeat("\x00", 8) {
		return nil, fmt.Errorf("file header %x", h[:20])
	}
	var list []rawStream
	for len(b) > 0 {
		length := int(le.Uint32(take(4)))
		h := take(length - 4)
		if string(h[:8]) == "N\x00T\x00F\x00S\x00" {
			name := h[24 : length-4]
			if int(le.Uint32(h[20:])) != len(name) || !isFilled(h[12:20], 0) {
				return nil, fmt.Errorf("stream header %x", h[:24])
			}
			s := rawStream{name: winfile.NameFromUTF16LE(name), encrypted: le.Uint32(h[8:]) == 0 && len(list) > 0}
			if len(list) == 0 && string(name) != "\x10\x19" || len(list) > 0 && !bytes.HasSuffix(name, []byte{0, 0}) {
				return nil, fmt.Errorf("stream name %x", name)
			}
			s.name = strings.TrimSuffix(s.name, "\x00")
			list = append(list, s)
			continue
		}
		if string(h[:8]) != "G\x00U\x00R\x00E\x00" || len(list) == 0 || !isFilled(h[8:12], 0) {
			return nil, fmt.Errorf("segment header %x", h[:12])
		}
		s := &list[len(list)-1]
		data := h[12 : length-4]
		n, valid := int64(len(data)), int64(len(data))
		if s.encrypted {
			e := data
			head := int(le.Uint32(e[8:]))
			n, valid = int64(le.Uint32(e[12:])), int64(le.Uint32(e[16:]))
			data = data[head:]
			unit := 1 << e[22]
			if int64(le.Uint64(e)) != s.size || e[22] != e[23] || le.Uint16(e[20:]) != 0 || e[25] != 1 || le.Uint16(e[26:]) != 1 ||
				int(le.Uint32(e[28:])) != len(data) || len(data) > unit || 1<<e[24] > 2<<20 {
				return nil, fmt.Errorf("encryption header %x at %d of the stream, %d bytes of data", e[:32], s.size, len(data))
			}
			if head > 32 {
				if head != 48 || string(e[32:48]) != "EXTD\x10\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00" {
					return nil, fmt.Errorf("extended header %x", e[32:48])
				}
				s.sparse = true
			}
			if len(data) == 0 {
				s.holes++
				data = make([]byte, n)
			}
		}
		s.data = append(s.data, data...)
		s.size += n
		s.valid += valid
	}
	return list, nil
}

// TestExportsOfMadeUpFiles exports what ntfs-3g does not make: sparse and half valid streams, plain ones beside encrypted ones.
func TestExportsOfMadeUpFiles(t *testing.T) {
	v := openBytes(t, sampleVolume(t, 60, nil))
	cs := int64(v.ClusterSize)
	data := func(name string, flags uint16, size, valid int64, runs ...run) []byte {
		clusters := int64(0)
		for _, r := range runs {
			clusters += r.clusters
		}
		u := winfile.AppendUTF16LE(nil, name)
		at := align(72+len(u), 8)
		pairs := appendRuns(nil, runs...)
		a := make([]byte, align(at+len(pairs), 8))
		le.PutUint32(a, uint32(typeData))
		le.PutUint32(a[4:], uint32(len(a)))
		a[8], a[9], a[10] = 1, byte(len(u)/2), 72
		le.PutUint16(a[0xc:], flags)
		put64(a[0x18:], clusters-1)
		le.PutUint16(a[0x20:], uint16(at))
		if flags&attrFlagSparse != 0 {
			a[0x22] = 4
		}
		for off, n := range map[int]int64{0x28: clusters * cs, 0x30: size, 0x38: valid} {
			put64(a[off:], n)
		}
		copy(a[72:], u)
		copy(a[at:], pairs)
		return a
	}
	resident := func(typ attrType, name string, value []byte) []byte {
		u := winfile.AppendUTF16LE(nil, name)
		at := align(24+len(u), 8)
		a := make([]byte, align(at+len(value), 8))
		le.PutUint32(a, uint32(typ))
		le.PutUint32(a[4:], uint32(len(a)))
		a[9], a[10] = byte(len(u)/2), 24
		le.PutUint32(a[0x10:], uint32(len(value)))
		le.PutUint16(a[0x14:], uint16(at))
		copy(a[24:], u)
		copy(a[at:], value)
		return a
	}
	keys := resident(typeLoggedUtilityStream, efsName, []byte("keys"))
	export := func(attrs ...[]byte) (*efsExport, error) {
		var list []fileAttr
		for _, a := range append(attrs, keys) {
			f := fileAttr{attribute(a), 0, 70}
			if err := f.check(); err != nil {
				t.Fatal(err)
			}
			list = append(list, f)
		}
		return v.openEFS(list)
	}
	const enc = attrFlagEncrypted
	x, err := export(
		data("", enc|attrFlagSparse, 5*16*cs-100, 4*16*cs+700, run{100, 16}, run{hole, 32}, run{200, 20}, run{300, 12}),
		resident(typeData, "plain", []byte("plain data")),
		data("half", enc, 200000, 70000, run{400, 49}),
	)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(x, 0, x.length()))
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseExport(b)
	if err != nil || len(list) != 4 {
		t.Fatalf("%d streams, %v", len(list), err)
	}
	sparse, plain, half := list[1], list[2], list[3]
	if !sparse.sparse || sparse.holes != 2 || sparse.size != 5*16*cs-100 || sparse.valid != 4*16*cs+700 {
		t.Errorf("sparse stream: %d holes, %d bytes, %d valid", sparse.holes, sparse.size, sparse.valid)
	}
	want := make([]byte, 5*16*cs)
	for _, c := range []struct{ vcn, lcn, n int64 }{{0, 100, 16}, {48, 200, 20}} {
		if _, err := v.r.ReadAt(want[c.vcn*cs:][:c.n*cs], c.lcn*cs); err != nil {
			t.Fatal(err)
		}
	}
	clear(want[4*16*cs+1024:]) // the sector in which the valid data ends counts
	if !bytes.Equal(sparse.data, want[:len(sparse.data)]) || len(sparse.data) != 5*16*int(cs) {
		t.Errorf("sparse stream: %d bytes differ from those of the clusters", len(sparse.data))
	}
	if plain.encrypted || plain.name != ":plain:$DATA" || string(plain.data) != "plain data" {
		t.Errorf("plain stream: %+v", plain)
	}
	if half.name != ":half:$DATA" || half.size != 200000 || half.valid != 70000 || half.sparse {
		t.Errorf("half valid stream: %d bytes, %d valid", half.size, half.valid)
	}
	for _, tt := range []struct {
		name, want string
		unsuported bool
		attr       []byte
	}{
		{"hole in a unit", "does not fill units of 16", true, data("", enc|attrFlagSparse, 32*cs, 32*cs, run{100, 8}, run{hole, 24})},
		{"encrypted and compressed", "compressed or resident", false, data("", enc|attrFlagCompressed, 16*cs, 16*cs, run{100, 16})},
		{"size", "clusters of", false, data("", enc, 1<<50, 1<<50, run{100, 16})},
		{"more than an export holds", "more than an export", false, data("", enc|attrFlagSparse, 1<<61, 1<<61, run{hole, 1 << 61 / cs})},
	} {
		_, err := export(tt.attr)
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, errors.ErrUnsupported) != tt.unsuported {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	// As many holes as a size claims take no memory.
	if x, err = export(data("", enc|attrFlagSparse, 1<<55, 0, run{hole, 1 << 55 / cs})); err != nil || len(x.parts) > 8 {
		t.Errorf("%d parts, %v", len(x.parts), err)
	}
	if n, err := x.ReadAt(make([]byte, 100), x.length()-50); n != 50 || err != io.EOF {
		t.Errorf("the end: %d bytes, %v", n, err)
	}
}

// FuzzExport exports one record with whatever attributes.
func FuzzExport(f *testing.F) {
	v := openBytes(f, sampleVolume(f, 60, &BuildOptions{LogSize: minLogSize}))
	for _, flags := range []uint16{0, attrFlagEncrypted, attrFlagEncrypted | attrFlagSparse} {
		n, _, err := v.Lookup("folder/b")
		if err != nil {
			f.Fatal(err)
		}
		r, list, err := v.baseAttrs(n)
		if err != nil {
			f.Fatal(err)
		}
		i := findAttr(list, typeData, "")
		le.PutUint16(list[i].attribute[0xc:], flags)
		end := list[i].off + len(list[i].attribute)
		b := append(r[:end:end], 0, 1, 0, 0, 0x28, 0, 0, 0, 0, 4, 0x18, 0, 0, 0, 9, 0, 4, 0, 0, 0, 0x20, 0, 0, 0, '$', 0, 'E', 0, 'F', 0, 'S', 0, 1, 2, 3, 4, 0, 0, 0, 0)
		le.PutUint32(b[0x18:], uint32(len(b)+8))
		f.Add([]byte(append(b, append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, len(r)-len(b)-4)...)...)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := fileRecord(b)
		if len(b) < 512 || r.check(70) != nil {
			return
		}
		list, err := r.appendAttrs(nil, 70)
		if err != nil || !isEFS(list) {
			return
		}
		x, err := v.openEFS(list)
		if err != nil {
			return
		}
		if x.size < efsFileHeader {
			t.Errorf("export of %d bytes", x.size)
		}
		whole := make([]byte, min(x.size, 1<<18))
		if n, err := x.ReadAt(whole, 0); err != nil {
			return
		} else if int64(n) == x.size {
			if _, err := parseExport(whole); err != nil {
				t.Error(err)
			}
		}
		for off := int64(0); off < int64(len(whole)); off += 4099 {
			p := make([]byte, min(4099, int64(len(whole))-off))
			if _, err := x.ReadAt(p, off); err != nil || !bytes.Equal(p, whole[off:off+int64(len(p))]) {
				t.Fatalf("at %d of %d: %v", off, x.size, err)
			}
		}
	})
}
