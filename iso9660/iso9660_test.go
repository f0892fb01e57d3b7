package iso9660

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/internal/reftool"
	"husk/winfile"
)

// disc makes an image of files with a program of genisoimage's command line.
func disc(t testing.TB, files map[string][]byte, args ...string) []byte {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "files")
	when := time.Date(2009, 7, 14, 4, 5, 6, 0, time.UTC)
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	iso := filepath.Join(t.TempDir(), "disc.iso")
	reftool.Run(t, "genisoimage", append(append([]string{"-quiet", "-V", "HUSKDISC", "-o", iso}, args...), dir)...)
	image, err := os.ReadFile(iso)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func read(image []byte) (*Volume, *winfile.Tree, error) {
	v, err := NewReader(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		return nil, nil, err
	}
	t, err := v.Tree()
	return v, t, err
}

func TestGenisoimage(t *testing.T) {
	files := map[string][]byte{
		"EMPTY": nil, "ONE.TXT": {1}, "SOURCES/INSTALL.WIM": bytes.Repeat([]byte("husk"), 100_000), "A/B/C/D/DEEP.TXT": []byte("deep"),
	}
	for i := range 200 { // a directory of many sectors
		files[fmt.Sprintf("MANY/FILE%d.DAT", i)] = fmt.Appendf(nil, "content %d", i)
	}
	wide := map[string][]byte{"中文 名字.txt": []byte("wide"), "small letters and a long name.text": []byte("long"), "no extension": []byte("n")}
	for name, data := range files {
		wide[name] = data
	}
	for _, tt := range []struct {
		name   string
		files  map[string][]byte
		args   []string
		joliet bool
	}{
		{"primary", files, nil, false}, {"joliet", wide, []string{"-J", "-input-charset=utf-8"}, true}, {"rock ridge", files, []string{"-R"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			image := disc(t, tt.files, tt.args...)
			if !Is(bytes.NewReader(image)) {
				t.Error("not seen as ISO 9660")
			}
			v, tree, err := read(image)
			if err != nil {
				t.Fatal(err)
			}
			if v.Label != "HUSKDISC" || v.Joliet != tt.joliet || v.BlockSize != 2048 {
				t.Errorf("label %q, Joliet %t, block size %d", v.Label, v.Joliet, v.BlockSize)
			}
			if got := tree.Totals().Names; got != len(tt.files) {
				t.Errorf("%d files, want %d", got, len(tt.files))
			}
			for name, want := range tt.files {
				e := tree.Lookup(name)
				if e == nil {
					t.Errorf("no %s", name)
					continue
				}
				if got, err := e.Info.Data.ReadAll(1 << 20); err != nil || !bytes.Equal(got, want) || e.Name != filepath.Base(name) {
					t.Errorf("%s: %s, %d bytes, %v, want %d", name, e.Name, len(got), err, len(want))
				}
				if got := e.Info.Written.Time().Format(time.DateTime); got != "2009-07-14 04:05:06" {
					t.Errorf("%s: written %s", name, got)
				}
			}
		})
	}
}

// --- images by hand

func rec(name string, flags byte, block, size uint32) []byte {
	r := make([]byte, (recordSize+len(name)+1)&^1)
	r[0] = byte(len(r))
	le.PutUint32(r[2:], block)
	le.PutUint32(r[10:], size)
	r[25], r[32] = flags, byte(len(name))
	copy(r[recordSize:], name)
	return r
}

// image has a root directory of records in block 18 and the letters a, b, c in the blocks 20 to 22.
func image(records ...[]byte) []byte {
	b := make([]byte, 23*sectorSize)
	d := b[firstDescriptor*sectorSize:]
	copy(d, "\x01CD001\x01")
	copy(d[labelAt:], "BY HAND                         ")
	le.PutUint16(d[blockSizeAt:], sectorSize)
	copy(d[rootAt:], rec("\x00", flagDirectory, 18, sectorSize))
	copy(b[17*sectorSize:], "\xffCD001\x01")
	copy(b[18*sectorSize:], bytes.Join(records, nil))
	for i := range 3 {
		copy(b[(20+i)*sectorSize:], bytes.Repeat([]byte{byte('a' + i)}, sectorSize))
	}
	return b
}

func standard() []byte {
	return image(rec("\x00", flagDirectory, 18, sectorSize), rec("\x01", flagDirectory, 18, sectorSize),
		rec("BIG.WIM;1", flagMore, 22, sectorSize), rec("BIG.WIM;1", flagMore, 20, sectorSize), rec("BIG.WIM;1", 0, 21, 3),
		rec("FORK;1", flagAssociated, 20, 5), rec("HID.;1", flagHidden, 20, 1), rec("DIR", flagDirectory, 19, sectorSize), rec("..", 0, 20, 1))
}

func TestMultiExtent(t *testing.T) {
	v, tree, err := read(standard())
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("c", sectorSize) + strings.Repeat("a", sectorSize) + "bbb"
	if got, err := tree.Lookup("BIG.WIM").Info.Data.ReadAll(1 << 20); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if e := tree.Root.Child("HID"); e == nil || e.Info.Attributes != winfile.AttrHidden {
		t.Errorf("hidden file %v", e)
	}
	if n := len(tree.Root.Children); n != 3 || len(v.Warnings()) != 1 {
		t.Errorf("%d entries, warnings %q", n, v.Warnings())
	}
}

// What is broken is refused with its place.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		image      []byte
	}{
		{"empty", "volume descriptor at 0x8000", nil},
		{"zeros", `identifier "\x00`, make([]byte, 40000)},
		{"loop", "block 18 is of another directory", image(rec("D", flagDirectory, 18, sectorSize))},
		{"overlap", "directories that overlap", image(rec("D", flagDirectory, 0, 16*sectorSize), rec("E", flagDirectory, 1, 15*sectorSize))},
		{"behind the end", "it may be cut short", image(rec("F", 0, 22, sectorSize+1))},
		{"far behind the end", "it may be cut short", image(rec("F", 0, 1<<32-1, 1<<32-1))},
		{"no last record", "no last record", image(rec("F", flagMore, 22, 1))},
		{"other name", "want more of F", image(rec("F", flagMore, 22, 1), rec("G", 0, 22, 1))},
		{"short record", "record of 20 bytes", image([]byte{20})},
		{"long name", "record of 34 bytes", image(append([]byte{34}, bytes.Repeat([]byte{200}, 33)...))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := read(tt.image)
			var fe *FormatError
			if !errors.As(err, &fe) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want a FormatError with %q", err, tt.want)
			}
		})
	}
	r := rec("F", 0, 20, 1)
	r[26] = 1
	if _, _, err := read(image(r)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("interleaved: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(uint16(18), uint16(0), []byte{})
	f.Add(uint16(16), uint16(rootAt+2), []byte{1, 0})
	f.Add(uint16(18), uint16(34+34+10), []byte{0xff, 0xff, 0xff, 0xff})
	f.Add(uint16(16), uint16(0), []byte{2})
	f.Fuzz(func(t *testing.T, at, off uint16, patch []byte) {
		b := standard()
		copy(b[int(at)%(len(b)/sectorSize)*sectorSize+int(off)%sectorSize:], patch)
		_, tree, err := read(b)
		if err != nil {
			return
		}
		for path, e := range tree.All() {
			if _, err := e.Info.Data.ReadAll(1 << 30); err != nil {
				t.Errorf("%s was accepted and cannot be read: %v", path, err)
			}
		}
	})
}
