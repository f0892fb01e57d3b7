package fat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// describe lists names, attributes, times and contents of a tree.
func describe(t testing.TB, tr *winfile.Tree) string {
	t.Helper()
	var b strings.Builder
	for path, e := range tr.All() {
		if e == tr.Root {
			continue
		}
		written, _ := dosTime(e.Info.Written)
		created, tens := dosTime(e.Info.Created)
		fmt.Fprintf(&b, "%s %v %#x %#x.%d", path, e.Info.Attributes&attrStored, written, created, tens)
		if e.Info.Data != nil {
			p, err := e.Info.Data.ReadAll(1 << 30)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			fmt.Fprintf(&b, " %x", p)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func readTree(t testing.TB, name string) (*Volume, *winfile.Tree) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVolume(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	tr, err := v.Tree()
	if err != nil {
		t.Fatal(err)
	}
	return v, tr
}

// What we write we read back.
func TestRoundTrip(t *testing.T) {
	want := esp()
	v, got := readTree(t, build(t, want, Options{Size: 260 << 20, SectorSize: 4096, HiddenSectors: 99, Serial: 7, Label: "A B"}))
	if v.Bits != 32 || v.SectorSize != 4096 || v.ClusterSize != 4096 || v.HiddenSectors != 99 || v.Serial != 7 || v.Label != "A B" {
		t.Errorf("%+v", v)
	}
	if g, w := describe(t, got), describe(t, want); g != w {
		t.Errorf("got\n%.2000s\nwant\n%.2000s", g, w)
	}
}

// Volumes of mkfs.fat and mtools of all three kinds, with deleted and fragmented files.
func TestOtherVolumes(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		bits, kib int
		args      []string
	}{
		{12, 1440, nil}, {12, 8192, nil}, {16, 32768, nil}, {16, 65536, []string{"-S", "1024"}}, {32, 65536, []string{"-R", "9"}},
	} {
		img := filepath.Join(t.TempDir(), "volume")
		args := append([]string{"-C", "-F", fmt.Sprint(tt.bits), "-i", "CAFE0123", "-n", "HUSK"}, tt.args...)
		reftool.Run(t, "mkfs.fat", append(args, img, fmt.Sprint(tt.kib))...)
		want := make(map[string][]byte)
		put := func(name string, b []byte) {
			from := filepath.Join(dir, "from")
			if err := os.WriteFile(from, b, 0o600); err != nil {
				t.Fatal(err)
			}
			reftool.Run(t, "mcopy", "-i", img, from, "::"+name)
			want[name] = b
		}
		reftool.Run(t, "mmd", "-i", img, "::folder", "::folder/another folder")
		for i := range 30 {
			put(fmt.Sprintf("folder/another folder/文件 number %d.text", i), bytes.Repeat([]byte{byte(i)}, 1000+i*300))
		}
		for i := range 15 {
			name := fmt.Sprintf("folder/another folder/文件 number %d.text", i*2)
			reftool.Run(t, "mdel", "-i", img, "::"+name)
			delete(want, name)
		}
		put("fragmented.bin", bytes.Repeat([]byte("fragmented"), 15000))
		put("UPPER.TXT", []byte("u"))
		put("lower.txt", nil)

		v, tr := readTree(t, img)
		if v.Bits != tt.bits || v.Serial != 0xcafe0123 || v.Label != "HUSK" {
			t.Errorf("FAT%d: %+v", tt.bits, v)
		}
		have := 0
		for path, e := range tr.All() {
			if e.Info.IsDir() {
				continue
			}
			have++
			var got []byte
			if e.Info.Data != nil {
				var err error
				if got, err = e.Info.Data.ReadAll(1 << 20); err != nil {
					t.Error(err)
				}
			}
			if b, ok := want[path]; !ok || !bytes.Equal(b, got) {
				t.Errorf("FAT%d: %s: %d bytes, want %d (%v)", tt.bits, path, len(got), len(b), ok)
			}
		}
		if have != len(want) {
			t.Errorf("FAT%d: %d files, want %d", tt.bits, have, len(want))
		}
	}
}

// small makes a FAT12 volume of 24 sectors: a file of three clusters, a directory with a file of a long name.
func small() []byte {
	b := make([]byte, 24*512)
	put(b, &bootSector{
		Jump: [3]byte{0xeb, 0x3c, 0x90}, SectorSize: 512, ClusterSectors: 1, Reserved: 1, FATs: 1, RootEntries: 16, Sectors16: 24, Media: 0xf8, FATSectors16: 1,
		Signature: [2]byte{0x55, 0xaa},
	})
	fat := b[512:]
	for i, n := range []uint32{0xff8, 0xfff, 3, 5, 0xfff, 0xfff, 0xfff} { // 2 -> 3 -> 5, 4, 6
		old := le.Uint16(fat[i*3/2:])
		if i%2 == 0 {
			le.PutUint16(fat[i*3/2:], old&0xf000|uint16(n))
		} else {
			le.PutUint16(fat[i*3/2:], old&0xf|uint16(n)<<4)
		}
	}
	root := b[1024:]
	put(root, &dirEntry{Name: [11]byte([]byte("LABEL      ")), Attributes: attrLabel})
	put(root[32:], &dirEntry{Name: [11]byte([]byte("FILE    BIN")), Case: caseExt, Attributes: 0x21, ClusterLow: 2, Size: 1300, Written: 0x58be6cbd})
	put(root[64:], &dirEntry{Name: [11]byte([]byte("\xe5OLD       ")), ClusterLow: 9})
	put(root[96:], &dirEntry{Name: [11]byte([]byte("DIR        ")), Attributes: 0x10, ClusterLow: 4})
	data := b[1536:]
	for i := range 512 {
		data[i], data[512+i], data[3*512+i] = 'a', 'b', 'c'
	}
	sub := data[2*512:][:0:512]
	name := [11]byte([]byte("ALONGN~1   "))
	sub = append(sub, make([]byte, 64)...)
	put(sub, &dirEntry{Name: [11]byte([]byte(".          ")), Attributes: 0x10, ClusterLow: 4})
	put(sub[32:], &dirEntry{Name: [11]byte([]byte("..         ")), Attributes: 0x10})
	sub = appendLong(sub, "a long name, 长", checksum(name))
	sub = append(sub, make([]byte, 32)...)
	put(sub[len(sub)-32:], &dirEntry{Name: name, ClusterLow: 6, Size: 1})
	data[4*512] = 'x'
	return b
}

func readSmall(b []byte) (*winfile.Tree, error) {
	v, err := NewVolume(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	tr, err := v.Tree()
	if err != nil {
		return nil, err
	}
	for _, e := range tr.All() {
		if e.Info.Data != nil {
			if _, err := e.Info.Data.ReadAll(1 << 20); err != nil {
				return tr, err
			}
		}
	}
	return tr, nil
}

func TestSmall(t *testing.T) {
	tr, err := readSmall(small())
	if err != nil {
		t.Fatal(err)
	}
	want := "FILE.bin " + (winfile.AttrReadOnly | winfile.AttrArchive).String() + " 0x58be6cbd 0x210000.0 " +
		strings.Repeat("61", 512) + strings.Repeat("62", 512) + strings.Repeat("63", 276) + "\n" +
		"DIR " + winfile.AttrDirectory.String() + " 0x210000 0x210000.0\n" +
		"DIR/a long name, 长 " + winfile.Attributes(0).String() + " 0x210000 0x210000.0 78\n"
	if got := describe(t, tr); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDamage(t *testing.T) {
	const fat, root, data = 512, 1024, 1536
	for _, tt := range []struct {
		name   string
		change func(b []byte)
		want   string
	}{
		{"signature", func(b []byte) { b[0x1fe] = 0 }, "boot sector at 0x1fe: signature 00aa, want 55aa"},
		{"sector size", func(b []byte) { b[0x0c] = 3 }, "at 0xb: sector size 768"},
		{"cluster", func(b []byte) { b[0x0d] = 3 }, "at 0xd: 3 sectors per cluster"},
		{"reserved", func(b []byte) { b[0x0e] = 0 }, "no reserved sectors"},
		{"FATs", func(b []byte) { b[0x10] = 0 }, "no FAT"},
		{"sectors", func(b []byte) { b[0x13] = 25 }, "25 sectors of 512 bytes, want them in the 12288 bytes"},
		{"no clusters", func(b []byte) { b[0x11] = 0; b[0x12] = 8 }, "clusters, want 1 to"},
		{"active FAT", func(b []byte) { b[0x16] = 0; b[0x24] = 1; b[0x28] = 0x81 }, "FAT 1 is the active one of 1"},
		{"no FAT32 root", func(b []byte) { b[0x16] = 0; b[0x24] = 1 }, "chain of / at 0x200: cluster 0, want 2 to 22"},
		{"short FAT", func(b []byte) { b[0x16] = 0; b[0x24] = 0 }, "a FAT of 0 entries, want 24"},
		{"loop of a directory", func(b []byte) { le.PutUint16(b[fat+6:], 0xf004); fill(b[data+1024:]) }, "chain of /DIR at 0x206: it comes back to where it was"},
		{"short chain", func(b []byte) { b[root+32+0x1c] = 0xff; b[root+32+0x1d] = 0xff }, "it ends 63999 bytes before the file does"},
		{"free cluster", func(b []byte) { b[fat+3] = 0; b[fat+4] &= 0xf0 }, "chain of /FILE.bin at 0x200: cluster 0, want 2 to 22"},
		{"far cluster", func(b []byte) { b[root+32+0x1a] = 200 }, "cluster 200, want 2 to 22"},
		{"two of a directory", func(b []byte) { copy(b[root+128:], b[root+96:root+128]); b[root+128] = 'X' }, "another directory begins there, too"},
		{"slash", func(b []byte) { b[root+32] = '/' }, `name "/ILE.bin", which no file can have`},
	} {
		b := small()
		tt.change(b)
		_, err := readSmall(b)
		var format *FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	b := small()
	for n := 0; n < len(b); n += 256 {
		if _, err := readSmall(b[:n]); err == nil {
			t.Errorf("%d of %d bytes are a volume", n, len(b))
		}
	}
}

// fill makes entries that do not end.
func fill(b []byte) {
	for i := range 16 {
		b[i*32] = 0xe5
	}
}

// pages is memory that starts as zeros.
type pages map[int64]*[4096]byte

// locked lets several goroutines write.
type locked struct {
	sync.Mutex
	m pages
}

func (l *locked) WriteAt(p []byte, off int64) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.m.writeAt(p, off)
}

func (m pages) writeAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		at := off + int64(n)
		if m[at/4096] == nil {
			m[at/4096] = new([4096]byte)
		}
		n += copy(m[at/4096][at%4096:], p[n:])
	}
	return len(p), nil
}

func (m pages) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		at := off + int64(n)
		page := m[at/4096]
		if page == nil {
			page = new([4096]byte)
		}
		n += copy(p[n:], page[at%4096:])
	}
	return len(p), nil
}

// FuzzVolume: what can be read and has names that we write is the same after we wrote it.
func FuzzVolume(f *testing.F) {
	f.Add(small())
	wide := small()
	wide[0x16], wide[0x24], wide[0x2c] = 0, 1, 4 // FAT32 with the root in cluster 4
	f.Add(wide)
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := readSmall(b)
		if err != nil || len(b) > 1<<20 {
			return
		}
		const size = 40 << 20
		l, err := NewLayout(tr, Options{Size: size})
		if err != nil {
			return
		}
		m := pages{}
		if err := l.Write(context.Background(), &locked{m: m}); err != nil {
			t.Fatal(err)
		}
		v, err := NewVolume(m, size)
		if err != nil {
			t.Fatal(err)
		}
		again, err := v.Tree()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := describe(t, again), describe(t, tr); got != want {
			t.Errorf("got\n%.2000s\nwant\n%.2000s", got, want)
		}
	})
}
