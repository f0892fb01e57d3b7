package wof

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"husk/winfile"
)

// unhex reads hex digits, ignoring white space.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// The bytes that Microsoft's boot manager took, see the package comment.
var (
	goldenPointer = unhex(`
		17000080 5800 0000
		01000000 01000000
		02000000 00000000 0000000000000000
		da39a3ee5e6b4b0d3255bfef95601890afd80709
		0102030405060708090a0b0c0d0e0f1011121314
		8877665544332211 4433221100000000 d000000000000000`)
	goldenCompact = unhex(`17000080 1000 0000 01000000 02000000 01000000 02000000`)
)

func hash(s string) winfile.SHA1 { return winfile.SHA1(unhex(s)) }

func TestPointerGolden(t *testing.T) {
	p := Pointer{
		SHA1:       hash("da39a3ee5e6b4b0d3255bfef95601890afd80709"),
		BlobTable:  hash("0102030405060708090a0b0c0d0e0f1011121314"),
		Size:       0x1122334455667788,
		StoredSize: 0x11223344,
		Offset:     0xd0,
	}
	if got := p.Marshal(); !bytes.Equal(got, goldenPointer) {
		t.Errorf("%x\nwant %x", got, goldenPointer)
	}
	if len(goldenPointer) != PointerSize {
		t.Errorf("%d bytes", len(goldenPointer))
	}
	got, err := ParsePointer(goldenPointer)
	if err != nil || *got != p {
		t.Errorf("%+v, %v, want %+v", got, err, p)
	}
	if prov, err := ProviderOf(p.Reparse()); prov != ProviderWIM || err != nil {
		t.Errorf("provider %d, %v", prov, err)
	}
}

func TestCompactGolden(t *testing.T) {
	c := CompactInfo{XPRESS8K}
	if got := c.Marshal(); !bytes.Equal(got, goldenCompact) {
		t.Errorf("%x\nwant %x", got, goldenCompact)
	}
	if got, err := ParseCompact(goldenCompact); err != nil || *got != c {
		t.Errorf("%+v, %v", got, err)
	}
	if prov, err := ProviderOf(c.Reparse()); prov != ProviderFile || err != nil {
		t.Errorf("provider %d, %v", prov, err)
	}
	for a, want := range []string{"XPRESS4K", "LZX", "XPRESS8K", "XPRESS16K", "algorithm 4"} {
		if got := Algorithm(a).String(); got != want {
			t.Errorf("algorithm %d is %s", a, got)
		}
	}
}

// patch returns b with p at off.
func patch(b []byte, off int, p ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[off:], p)
	return b
}

func TestParseReparseErrors(t *testing.T) {
	pointer := func(b []byte) error { _, err := ParsePointer(b); return err }
	compact := func(b []byte) error { _, err := ParseCompact(b); return err }
	provider := func(b []byte) error {
		r, err := winfile.ParseReparse(b)
		if err == nil {
			_, err = ProviderOf(r)
		}
		return err
	}
	for _, tt := range []struct {
		name  string
		parse func([]byte) error
		b     []byte
		want  string
	}{
		{"empty", pointer, nil, "wof: pointer at 0x0: reparse buffer of 0 bytes, want 8 to 16384"},
		{"cut", pointer, goldenPointer[:95], "wof: pointer at 0x0: reparse data at 0x8: length 88, want at most 87"},
		{"short", pointer, patch(goldenPointer, 4, 87), "wof: pointer at 0x4: data length 87, want 88"},
		{"tag", pointer, patch(goldenPointer, 0, 3, 0, 0, 0xa0), "wof: pointer at 0x0: tag 0xa0000003, want 0x80000017"},
		{"WOF version", pointer, patch(goldenPointer, 8, 2), "wof: pointer at 0x8: WOF version 0x2, want 0x1"},
		{"provider", pointer, patch(goldenPointer, 12, 2), "wof: pointer at 0xc: provider 0x2, want 0x1"},
		{"ioctl's version", pointer, patch(goldenPointer, 16, 1), "wof: pointer at 0x10: version 0x1, want 0x2"},
		{"size", pointer, patch(goldenPointer, 0x4f, 0x80), "wof: pointer at 0x48: size 9232998554646509448, want less than 2^63"},
		{"stored size", pointer, patch(goldenPointer, 0x57, 0xff), "wof: pointer at 0x50: stored size 18374686479959077700, want less than 2^63"},
		{"offset", pointer, patch(goldenPointer, 0x5f, 0x80), "wof: pointer at 0x58: offset in the WIM 9223372036854776016, want less than 2^63"},
		{"empty", compact, nil, "wof: compact file at 0x0: reparse buffer of 0 bytes, want 8 to 16384"},
		{"algorithm", compact, patch(goldenCompact, 20, 4), "wof: compact file at 0x14: algorithm 4, want at most 3"},
		{"pointer", compact, goldenPointer, "wof: compact file at 0x4: data length 88, want 16"},
		{"no data", provider, unhex("17000080 0000 0000"), "wof: reparse point at 0x4: data length 0, want at least 8"},
		{"tag", provider, unhex("0c0000a0 0000 0000"), "wof: reparse point at 0x0: tag 0xa000000c, want 0x80000017"},
		{"version", provider, unhex("17000080 0800 0000 02000000 01000000"), "wof: reparse point at 0x8: WOF version 2, want 1"},
	} {
		err := tt.parse(tt.b)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
		if f := new(FormatError); !errors.As(err, &f) {
			t.Errorf("%s: %T, want a FormatError", tt.name, err)
		}
	}
}

func FuzzParsePointer(f *testing.F) {
	f.Add(goldenPointer)
	f.Add(goldenCompact)
	f.Add(append(bytes.Clone(goldenPointer), 0))
	f.Add(patch(goldenPointer, 0x18, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParsePointer(b); err == nil {
			got := p.Marshal()
			copy(got[6:8], b[6:8]) // reserved: ignored
			if !bytes.Equal(got, b[:PointerSize]) {
				t.Errorf("pointer %x\nagain   %x", b, got)
			}
		}
		if c, err := ParseCompact(b); err == nil {
			got := c.Marshal()
			copy(got[6:8], b[6:8])
			if !bytes.Equal(got, b[:24]) {
				t.Errorf("compact %x\nagain   %x", b, got)
			}
		}
	})
}
