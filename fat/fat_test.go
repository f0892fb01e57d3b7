package fat

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
	"strings"
	"testing"
	"time"

	"husk/internal/reftool"
	"husk/winfile"
)

func TestDiskSizes(t *testing.T) {
	for v, want := range map[any]int{bootSector{}: bootSize, fsInfo{}: 512, dirEntry{}: entrySize, longEntry{}: entrySize} {
		if got := binary.Size(v); got != want {
			t.Errorf("%T is %d bytes, want %d", v, got, want)
		}
	}
}

var when = winfile.FiletimeOf(time.Date(2024, 2, 29, 13, 37, 59, 250e6, time.UTC))

func file(name string, data []byte) *winfile.Entry {
	return &winfile.Entry{Name: name, Info: &winfile.Info{
		Attributes: winfile.AttrArchive, Data: winfile.NewBlob(data), Created: when, Written: when, Accessed: when, Links: 1,
	}}
}

func folder(name string, children ...*winfile.Entry) *winfile.Entry {
	return &winfile.Entry{Name: name, Children: children, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Created: when, Written: when, Accessed: when}}
}

func tree(children ...*winfile.Entry) *winfile.Tree {
	return &winfile.Tree{Root: folder("", children...)}
}

// build makes the volume and has fsck.fat look at it.
func build(t *testing.T, tr *winfile.Tree, o Options) string {
	t.Helper()
	l, err := NewLayout(tr, o)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "volume")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(l.Size()); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	out := reftool.Run(t, "fsck.fat", "-n", "-v", name)
	if want := fmt.Sprintf("%d/%d clusters", l.next, l.clusters); !strings.Contains(out, want) {
		t.Errorf("fsck.fat does not count %q:\n%s", want, out)
	}
	return name
}

// compare has 7z unpack the volume and compares names, contents and times.
func compare(t *testing.T, name string, tr *winfile.Tree) {
	t.Helper()
	dir := t.TempDir()
	reftool.Run(t, "7z", "x", "-tfat", "-o"+dir, name)
	want := 0
	for path, e := range tr.All() {
		if e == tr.Root {
			continue
		}
		want++
		host := filepath.Join(dir, path)
		st, err := os.Lstat(host)
		if err != nil {
			t.Error(err)
			continue
		}
		if st.IsDir() != e.Info.IsDir() {
			t.Errorf("%s: folder %v, want %v", path, st.IsDir(), e.Info.IsDir())
		}
		if st.IsDir() {
			continue
		}
		got, err := os.ReadFile(host)
		if err != nil {
			t.Error(err)
		}
		var data []byte
		if e.Info.Data != nil {
			if data, err = e.Info.Data.ReadAll(1 << 30); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes that differ from the %d", path, len(got), len(data))
		}
	}
	have := 0
	filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if p != dir {
			have++
		}
		return err
	})
	if have != want {
		t.Errorf("%d names, want %d", have, want)
	}
}

func esp() *winfile.Tree {
	hidden := file("BCD", make([]byte, 32768))
	hidden.Info.Attributes |= winfile.AttrHidden | winfile.AttrSystem | winfile.AttrReadOnly
	return tree(
		folder("EFI",
			folder("Boot", file("bootx64.efi", []byte("boot"))),
			folder("Microsoft", folder("Boot",
				file("bootmgfw.efi", bytes.Repeat([]byte("0123456789abcdef"), 100_000)), hidden,
				folder("zh-CN", file("bootmgfw.efi.mui", make([]byte, 511)), file("memtest.efi.mui", make([]byte, 512))),
				folder("Fonts", file("chs_boot.ttf", make([]byte, 513)), file("中文 字体 with a long name.ttf", []byte("x"))),
			))),
		file("bootmgr", []byte("x")), file("empty", nil), folder("none"),
	)
}

func TestESP(t *testing.T) {
	for _, o := range []Options{
		{Size: 100 << 20, HiddenSectors: 2048, Label: "SYSTEM", Serial: 0x1234abcd},
		{Size: 260 << 20, SectorSize: 4096},
		{Size: 300 << 20},
		{Size: 36<<20 + 512},
		{Size: 5 << 30, ClusterSize: 32768},
	} {
		tr := esp()
		name := build(t, tr, o)
		compare(t, name, tr)
	}
	name := build(t, esp(), Options{Size: 100 << 20, HiddenSectors: 2048, Label: "SYSTEM", Serial: 0x1234abcd})
	out := reftool.Run(t, "minfo", "-i", name)
	for _, want := range []string{"hidden sectors: 2048", "serial number: 1234ABCD", `disk label="SYSTEM     "`, "cluster size: 1 sectors"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := reftool.Run(t, "mattrib", "-i", name, "::EFI/Microsoft/Boot/BCD"); !strings.Contains(out, "A  SHR") {
		t.Error(out)
	}
	out = reftool.Run(t, "mdir", "-i", name, "::EFI/Microsoft/Boot/Fonts")
	for _, want := range []string{"chs_boot ttf       513 2024-02-29  13:37", "____WI~1 TTF         1 2024-02-29  13:37  中文 字体 with a long name.ttf"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := reftool.Run(t, "mdir", "-a", "-i", name, "::"); !strings.Contains(out, "Volume in drive : is SYSTEM") || !strings.Contains(out, "Volume Serial Number is 1234-ABCD") {
		t.Error(out)
	}
}

// Trees of any names are what 7z unpacks.
func TestRandomTrees(t *testing.T) {
	letters := []rune("aAbBzZ019_-~ .+,;=[]!#éß中文😀ſKİ")
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 5))
		var grow func(name string, depth int) *winfile.Entry
		grow = func(name string, depth int) *winfile.Entry {
			d := folder(name)
			seen := map[string]bool{}
			for range r.IntN(40 - 8*depth) {
				n := make([]rune, 1+r.IntN(12))
				if r.IntN(20) == 0 {
					n = make([]rune, 100+r.IntN(20))
				}
				for i := range n {
					n[i] = letters[r.IntN(len(letters))]
				}
				name := string(n)
				if len(name) > 240 || checkName(name) != nil || seen[winfile.Fold(name)] || strings.HasPrefix(name, " ") {
					continue
				}
				seen[winfile.Fold(name)] = true
				if depth < 3 && r.IntN(6) == 0 {
					d.Children = append(d.Children, grow(name, depth+1))
					continue
				}
				b := make([]byte, r.IntN(3)*r.IntN(9000))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				d.Children = append(d.Children, file(name, b))
			}
			return d
		}
		tr := &winfile.Tree{Root: grow("", 0)}
		compare(t, build(t, tr, Options{Size: 64 << 20}), tr)
	}
}

// Many names that begin alike have short names of their own, in time.
func TestManyAlike(t *testing.T) {
	d := folder("alike")
	for i := range 16000 {
		d.Children = append(d.Children, file(fmt.Sprintf("the same start %d.text", i), nil))
	}
	name := build(t, tree(d), Options{Size: 64 << 20})
	if out := reftool.Run(t, "mdir", "-b", "-i", name, "::alike"); strings.Count(out, "\n") != 16000 {
		t.Errorf("%d names, want 16000", strings.Count(out, "\n"))
	}
}

func TestShortNames(t *testing.T) {
	for name, want := range map[string]string{
		"BOOTMGR": "BOOTMGR    0", "bootmgr": "BOOTMGR    8", "bootx64.efi": "BOOTX64 EFI24", "bootx64.EFI": "BOOTX64 EFI8", "A.b": "A       B  16",
		"Boot": "", "bootmgfw.efi.mui": "", "a.": "", ".a": "", "a b": "", "ninechars": "", "a.long": "", "ſ": "", "é": "", "a+b": "",
	} {
		s, ok := short(name)
		got := ""
		if ok {
			got = fmt.Sprintf("%s%d", s.name, s.bits)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	names := aliases{map[[11]byte]bool{[11]byte([]byte("PROGRA~1   ")): true}, map[string]int{}}
	for _, tt := range [][2]string{
		{"Program Files", "PROGRA~2   "}, {"Program Files (x86)", "PROGRA~3   "}, {"a.b.c.text", "ABC~1   TEX"}, {"中文", "__~1       "},
		{"...x", "X~1        "}, {"+", "_~1        "}, {". .", "~1         "},
	} {
		if s := names.alias(tt[0]); string(s.name[:]) != tt[1] {
			t.Errorf("%q: %q, want %q", tt[0], s.name, tt[1])
		}
	}
}

func TestTimes(t *testing.T) {
	for _, tt := range []struct {
		time  time.Time
		stamp uint32
		tens  uint8
	}{
		{time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), 0x00210000, 0},
		{time.Date(1979, 12, 31, 23, 59, 59, 0, time.UTC), 0x00210000, 0},
		{time.Date(2024, 2, 29, 13, 37, 59, 250e6, time.UTC), (44<<9|2<<5|29)<<16 | 13<<11 | 37<<5 | 29, 125},
		{time.Date(2107, 12, 31, 23, 59, 59, 999e6, time.UTC), 0xff9fbf7d, 199},
		{time.Date(2108, 1, 1, 0, 0, 0, 0, time.UTC), 0xff9fbf7d, 199},
	} {
		if stamp, tens := dosTime(winfile.FiletimeOf(tt.time)); stamp != tt.stamp || tens != tt.tens {
			t.Errorf("%v: %#x %d, want %#x %d", tt.time, stamp, tens, tt.stamp, tt.tens)
		}
	}
	if stamp, _ := dosTime(0); stamp != 0x00210000 {
		t.Errorf("no time: %#x", stamp)
	}
}

// One blob may be the content of several files, and boot code is taken over around the fields.
func TestSharedAndBoot(t *testing.T) {
	one, two := file("one", make([]byte, 5000)), file("two", nil)
	two.Info.Data = one.Info.Data
	tr := tree(one, two)
	code := bytes.Repeat([]byte{0xa5}, 512)
	copy(code, []byte{0xeb, 0x59, 0x90})
	name := build(t, tr, Options{Size: 64 << 20, BootSector: code})
	compare(t, name, tr)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, backupSector * 512} {
		s := b[at:]
		if s[1] != 0x59 || s[3] != 'M' || s[codeAt-1] == 0xa5 || s[codeAt] != 0xa5 || s[0x1fd] != 0xa5 || s[0x1fe] != 0x55 {
			t.Errorf("boot sector at %#x: %x", at, s[:512])
		}
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) OpenBlob(*winfile.Blob) (io.ReadCloser, error) { return nil, errBroken }
func (broken) WriteAt(p []byte, off int64) (int, error)      { return 0, errBroken }

func TestErrors(t *testing.T) {
	link := file("link", nil)
	link.Info.Attributes |= winfile.AttrReparse
	secret := file("secret", nil)
	secret.Info.Attributes |= winfile.AttrEncrypted
	large := file("large", []byte("x"))
	large.Info.Data = &winfile.Blob{Size: 1 << 32}
	good := Options{Size: 64 << 20}
	for _, tt := range []struct {
		tree *winfile.Tree
		o    Options
		want string
	}{
		{tree(), Options{Size: 32 << 20}, "clusters of 512 bytes, want 65525 to"},
		{tree(), Options{}, "want 65525 to"},
		{tree(), Options{Size: -512}, "fat: volume of -512 bytes"},
		{tree(), Options{Size: 64<<20 + 1}, "want at most 2^32 sectors"},
		{tree(), Options{Size: 4 << 40}, "want at most 2^32 sectors"},
		{tree(), Options{Size: 100 << 20, SectorSize: 4096}, "clusters of 4096 bytes, want 65525 to"},
		{tree(), Options{Size: 64 << 20, SectorSize: 1024}, "sector size 1024"},
		{tree(), Options{Size: 64 << 20, ClusterSize: 1536}, "cluster size 1536"},
		{tree(), Options{Size: 64 << 20, ClusterSize: 65536}, "cluster size 65536"},
		{tree(), Options{Size: 64 << 20, Label: "lower"}, `label "lower"`},
		{tree(), Options{Size: 64 << 20, Label: "TWELVE CHARS"}, `label "TWELVE CHARS"`},
		{tree(), Options{Size: 64 << 20, BootSector: make([]byte, 513)}, "boot sector of 513 bytes"},
		{tree(folder("a", link)), good, "/a/link: FAT has no reparse points"},
		{tree(secret), good, "/secret: FAT has no encrypted files"},
		{tree(large), good, "/large: file of 4294967296 bytes"},
		{tree(file("a:b", nil)), good, "':' is not allowed"},
		{tree(file("a.", nil)), good, "ends with a dot"},
		{tree(file(strings.Repeat("x", 256), nil)), good, "name of 256 UTF-16 units"},
		{tree(file("name", nil), file("NAME", nil)), good, "two such names"},
		{tree(file("too large", make([]byte, 65<<20))), good, "the tree takes more than the"},
	} {
		if _, err := NewLayout(tt.tree, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	l, err := NewLayout(tree(file("a", nil)), good)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Write(context.Background(), broken{}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	bad := file("a", []byte("x"))
	bad.Info.Data.Content = broken{}
	if l, err = NewLayout(tree(bad), good); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(context.Background(), discard{}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

type discard struct{}

func (discard) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }
