package winfile

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

func TestUpCaseIsTheTableOfWindows(t *testing.T) {
	var b []byte
	for _, c := range UpCase() {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	sum := sha256.Sum256(b)
	const want = "41c26bc7a12bdaeb26025c93118697c7e3ef81ee048b00fe5cce2a472e0e0742"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("SHA-256 %s, want %s", got, want)
	}
}

func TestNamesRoundTrip(t *testing.T) {
	for _, u := range [][]uint16{
		{}, {'a'}, {0x4e2d, 0x6587}, {0xd83d, 0xde00}, {0xd83d}, {0xde00}, {0xde00, 0xd83d}, {0xd83d, 0xd83d, 0xde00, 0xde00},
		{0xffff, 0, 0x7f, 0x80, 0x7ff, 0x800},
	} {
		s := NameFromUTF16(u)
		if !ValidName(s) {
			t.Errorf("%x: %q is not valid", u, s)
		}
		if got := UTF16FromName(s); !slices.Equal(got, u) {
			t.Errorf("%x came back as %x", u, got)
		}
	}
	for _, s := range []string{"\xff", "a\xc0", "\xed\xa0\xbd\xed\xb8\x80", "\xed\xa0"} {
		if ValidName(s) {
			t.Errorf("%q is valid", s)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add([]byte("a\x00\x3d\xd8\x00\xde\x3d\xd8"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NameFromUTF16LE(b)
		if !ValidName(s) {
			t.Fatalf("%x gives invalid %q", b, s)
		}
		if got := AppendUTF16LE(nil, s); string(got) != string(b[:len(b)&^1]) {
			t.Fatalf("%x came back as %x", b, got)
		}
		if valid := utf8.ValidString(string(b)); valid && !ValidName(string(b)) {
			t.Fatalf("UTF-8 %q is not a valid name", b)
		}
	})
}

func TestFiletime(t *testing.T) {
	for _, tt := range []struct {
		f    Filetime
		want string
	}{
		{0, "1601-01-01T00:00:00Z"},
		{116444736000000000, "1970-01-01T00:00:00Z"},
		{0x01d9f6d3e5b3a1c7, "2023-10-04T15:03:13.6427463Z"},
		{1, "1601-01-01T00:00:00.0000001Z"},
	} {
		if got := tt.f.Time().Format(time.RFC3339Nano); got != tt.want {
			t.Errorf("%#x is %s, want %s", uint64(tt.f), got, tt.want)
		}
		if got := FiletimeOf(tt.f.Time()); got != tt.f {
			t.Errorf("%#x came back as %#x", uint64(tt.f), uint64(got))
		}
	}
	if got := FiletimeOf(time.Time{}); got != 0 {
		t.Errorf("zero time is %#x", uint64(got))
	}
}

func TestReparse(t *testing.T) {
	vendor := &Reparse{Tag: 0x42, Data: []byte("0123456789abcdefdata")}
	b := vendor.Buffer()
	if n := binary.LittleEndian.Uint16(b[4:]); n != 4 {
		t.Errorf("vendor tag: data length %d, want 4", n)
	}
	for _, r := range []*Reparse{vendor, {Tag: TagWOF, Reserved: 7, Data: []byte("x")}, {Tag: TagSymlink}} {
		got, err := ParseReparse(r.Buffer())
		if err != nil || got.Tag != r.Tag || got.Reserved != r.Reserved || string(got.Data) != string(r.Data) {
			t.Errorf("%+v came back as %+v, %v", r, got, err)
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 7), {3, 0, 0, 0xa0, 9, 0, 0, 0}, make([]byte, MaxReparse+1)} {
		if _, err := ParseReparse(bad); err == nil {
			t.Errorf("%d bytes accepted", len(bad))
		}
	}
}

func TestLookupAndWalk(t *testing.T) {
	file := &Info{Links: 2, Data: NewBlob([]byte("x"))}
	dir := &Info{Attributes: AttrDirectory, Links: 1}
	tr := &Tree{Root: &Entry{Info: &Info{Attributes: AttrDirectory, Links: 1}, Children: []*Entry{
		{Name: "Program Files", ShortName: "PROGRA~1", Info: dir, Children: []*Entry{{Name: "a", Info: file}, {Name: "A", Info: file}}},
	}}}
	for path, want := range map[string]string{`\program files\a`: "a", "PROGRA~1/A": "A", "./Program Files": "Program Files"} {
		if e := tr.Lookup(path); e == nil || e.Name != want {
			t.Errorf("Lookup(%q) = %v, want %q", path, e, want)
		}
	}
	if e := tr.Lookup("nothing/here"); e != nil {
		t.Errorf("found %q", e.Name)
	}
	var paths []string
	for p := range tr.All() {
		paths = append(paths, p)
	}
	if want := []string{".", "Program Files", "Program Files/a", "Program Files/A"}; !slices.Equal(paths, want) {
		t.Errorf("walked %q, want %q", paths, want)
	}
	if got, want := tr.Totals(), (Totals{Dirs: 2, Names: 2, Files: 1, Bytes: 1}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
}

type failing struct{ err error }

func (f failing) OpenBlob(*Blob) (io.ReadCloser, error) { return nil, f.err }

func TestReadBlobs(t *testing.T) {
	big := make([]byte, 3<<20+5)
	for i := range big {
		big[i] = byte(i * i >> 3)
	}
	blobs := []*Blob{NewBlob(big), NewBlob([]byte("small")), NewBlob(big[7:])}
	var mu sync.Mutex
	sums := make(map[*Blob][]byte)
	deliver := func(b *Blob, off int64, p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if off != int64(len(sums[b])) {
			t.Errorf("piece at %d, want %d", off, len(sums[b]))
		}
		sums[b] = append(sums[b], p...)
		return nil
	}
	if err := ReadBlobs(context.Background(), blobs, 3, deliver); err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if sha1.Sum(sums[b]) != b.SHA1 {
			t.Errorf("%d bytes came back differently", b.Size)
		}
	}
	boom := errors.New("boom")
	bad := &Blob{Size: 1, Content: failing{boom}}
	if err := ReadBlobs(context.Background(), []*Blob{blobs[0], bad}, 2, func(*Blob, int64, []byte) error { return nil }); !errors.Is(err, boom) {
		t.Errorf("error %v, want boom", err)
	}
	if err := ReadBlobs(context.Background(), blobs, 2, func(*Blob, int64, []byte) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("error %v, want boom", err)
	}
	lying := &Blob{Size: 9, Content: blobs[1].Content}
	if err := ReadBlobs(context.Background(), []*Blob{lying}, 2, func(*Blob, int64, []byte) error { return nil }); err == nil {
		t.Error("a blob shorter than its size was accepted")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ReadBlobs(ctx, blobs, 2, deliver); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}
