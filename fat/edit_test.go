package fat

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/cutfile"
	"husk/internal/reftool"
	"husk/winfile"
)

// otherVolume is a volume of mkfs.fat with a fragmented store in a folder, and files around it.
func otherVolume(t testing.TB, bits, kib int, store []byte, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	img, from := filepath.Join(dir, "volume"), filepath.Join(dir, "from")
	reftool.Run(t, "mkfs.fat", append(append([]string{"-C", "-F", fmt.Sprint(bits), "-i", "CAFE0123"}, args...), img, fmt.Sprint(kib))...)
	put := func(name string, b []byte) {
		if err := os.WriteFile(from, b, 0o600); err != nil {
			t.Fatal(err)
		}
		reftool.Run(t, "mcopy", "-o", "-i", img, from, "::"+name)
	}
	reftool.Run(t, "mmd", "-i", img, "::EFI", "::EFI/Microsoft", "::EFI/Microsoft/Boot")
	for i := range 4 {
		put(fmt.Sprintf("hole%d", i), bytes.Repeat([]byte{byte(i)}, 3000))
		put(fmt.Sprintf("EFI/file %d.bin", i), bytes.Repeat([]byte{byte(i + 10)}, 3000))
	}
	for i := range 4 {
		reftool.Run(t, "mdel", "-i", img, fmt.Sprintf("::hole%d", i))
	}
	put("EFI/Microsoft/Boot/BCD", store)
	put("last.txt", []byte("last"))
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const storePath = "EFI/Microsoft/Boot/BCD"

// contents are the files of a volume by path; one that is broken fails the test.
func contents(t testing.TB, f *cutfile.File) map[string]string {
	t.Helper()
	v, err := NewVolume(f, f.Size())
	if err != nil {
		t.Fatal(err)
	}
	tr, err := v.Tree()
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for path, e := range tr.All() {
		if e.Info.IsDir() {
			continue
		}
		var b []byte
		if e.Info.Data != nil {
			if b, err = e.Info.Data.ReadAll(1 << 30); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		files[path] = string(b)
	}
	return files
}

// fsck has fsck.fat look at a volume. After a cut it may find clusters that belong to nothing and a count that is not known, nothing else.
func fsck(t testing.TB, f *cutfile.File, cut bool) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "volume")
	if err := os.WriteFile(name, f.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if !cut {
		reftool.Run(t, "fsck.fat", "-n", name)
		return
	}
	out, err := reftool.Try(t, "fsck.fat", "-n", name)
	for line := range strings.Lines(out) {
		if l := strings.ToLower(line); strings.Contains(l, "bad") || strings.Contains(l, "shared") || strings.Contains(l, "contains a free cluster") {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

func text(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i)*seed
	}
	return b
}

var kinds = []struct {
	bits, kib int
	args      []string
}{
	{12, 1440, nil}, {16, 16384, nil}, {16, 32768, []string{"-S", "4096", "-s", "1"}}, {32, 34816, []string{"-s", "1"}}, {32, 66000 * 4, []string{"-S", "4096", "-s", "1"}},
}

// TestReplace: what Replace wrote is what we, mtools and fsck.fat find, and all else is as it was.
func TestReplace(t *testing.T) {
	for _, k := range kinds {
		t.Run(fmt.Sprint(k.bits, k.args), func(t *testing.T) {
			f := cutfile.New(otherVolume(t, k.bits, k.kib, text(20000, 3), k.args...))
			want := contents(t, f)
			for i, n := range []int{20000, 0, 1, 70001, 512, 8192} {
				content := text(n, byte(5+i))
				if err := Replace(f, f.Size(), "efi/MICROSOFT/boot/bcd", content, when); err != nil {
					t.Fatal(err)
				}
				want[storePath] = string(content)
				if got := contents(t, f); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("%d bytes: the volume has other files", n)
				}
				fsck(t, f, false)
			}
			name := filepath.Join(t.TempDir(), "volume")
			if err := os.WriteFile(name, f.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			if out := reftool.Run(t, "mdir", "-i", name, "::EFI/Microsoft/Boot"); !strings.Contains(out, "BCD") || !strings.Contains(out, "8192 2024-02-29  13:37") {
				t.Errorf("mdir says\n%s", out)
			}
			if out := reftool.Run(t, "mtype", "-i", name, "::"+storePath); out != want[storePath] {
				t.Error("mtype shows another content")
			}
		})
	}
}

// TestReplaceCut cuts the power after every write: the store is the old one or the new one, all else is there, and the change can be made again.
func TestReplaceCut(t *testing.T) {
	for _, k := range kinds[:4] {
		t.Run(fmt.Sprint(k.bits, k.args), func(t *testing.T) {
			before, after := text(20000, 3), text(30000, 7)
			f := cutfile.New(otherVolume(t, k.bits, k.kib, before, k.args...))
			old := contents(t, f)
			rng := rand.New(rand.NewPCG(1, uint64(k.bits)))
			var seen [2]int
			var left []*cutfile.File
			f.Hook = func() {
				for range 3 {
					left = append(left, f.Cut(rng))
				}
				left = append(left, f.Cut(nil))
			}
			if err := Replace(f, f.Size(), storePath, after, when); err != nil {
				t.Fatal(err)
			}
			for i, c := range left {
				got := contents(t, c)
				switch got[storePath] {
				case string(before):
					seen[0]++
				case string(after):
					seen[1]++
				default:
					t.Fatalf("cut %d of %d: neither the old nor the new store", i, len(left))
				}
				delete(got, storePath)
				for path, b := range old {
					if path != storePath && got[path] != b {
						t.Fatalf("cut %d: %s is another", i, path)
					}
				}
				if i%4 == 0 {
					fsck(t, c, true)
				}
				if err := Replace(c, c.Size(), storePath, before, when); err != nil {
					t.Fatalf("cut %d: once more: %v", i, err)
				}
				if got := contents(t, c); got[storePath] != string(before) {
					t.Fatalf("cut %d: once more: it is another", i)
				}
			}
			if seen[0] == 0 || seen[1] == 0 {
				t.Errorf("%d cuts left the old store and %d the new one, want both", seen[0], seen[1])
			}
		})
	}
}

// TestReplaceRefuses: volumes that a write could make worse, or that cannot hold the content, stay as they are.
func TestReplaceRefuses(t *testing.T) {
	whole := otherVolume(t, 16, 16384, text(20000, 3))
	v, err := NewVolume(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	tr, err := v.Tree()
	if err != nil {
		t.Fatal(err)
	}
	first := func(path string) uint32 { return tr.Lookup(path).Info.Data.Ref.(place).first }
	store, last := first(storePath), first("last.txt")
	entry := func(b []byte, copy int, c uint32) []byte { return b[v.copies[copy]+int64(c)*2:] }
	for _, tt := range []struct {
		name   string
		damage func(b []byte)
		size   int
		want   string
	}{
		{"sound", func([]byte) {}, 100, ""},
		{"differing FATs", func(b []byte) { le.PutUint16(entry(b, 1, last), 0) }, 100, "want them equal"},
		{"differing for free clusters", func(b []byte) { le.PutUint16(entry(b, 1, uint32(v.Clusters)), 0xffff) }, 100, ""},
		{"shared cluster", func(b []byte) {
			le.PutUint16(entry(b, 0, last), uint16(store))
			le.PutUint16(entry(b, 1, last), uint16(store))
		}, 100, "is there twice"},
		{"free cluster in a chain", func(b []byte) {
			le.PutUint16(entry(b, 0, store), 0)
			le.PutUint16(entry(b, 1, store), 0)
		}, 100, "cluster 0"},
		{"short chain", func(b []byte) {
			le.PutUint16(entry(b, 0, store), 0xffff)
			le.PutUint16(entry(b, 1, store), 0xffff)
		}, 100, "1 clusters"},
		{"full", func([]byte) {}, 17 << 20, ErrFull.Error()},
		{"no boot sector", func(b []byte) { b[510] = 0 }, 100, "signature"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(whole)
			tt.damage(b)
			f := cutfile.New(b)
			err := Replace(f, f.Size(), storePath, make([]byte, tt.size), when)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if !bytes.Equal(f.Bytes(), b) {
				t.Error("the volume was changed")
			}
		})
	}
	f := cutfile.New(whole)
	for _, path := range []string{"EFI", "EFI/none", ""} {
		if err := Replace(f, f.Size(), path, nil, when); !errors.Is(err, errNoFile) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// FuzzReplace: a volume that is accepted has the new content and all other files after the change.
func FuzzReplace(f *testing.F) {
	for _, bits := range []int{12, 32} {
		b := smallVolume(f, bits)
		f.Add(b, 700)
		f.Add(b[:len(b)-512], 0)
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if n < 0 || n > 1<<16 || len(b) > 1<<17 {
			return
		}
		disk := cutfile.New(b)
		read := func() (map[string]string, error) {
			v, err := NewVolume(disk, disk.Size())
			if err != nil {
				return nil, err
			}
			tr, err := v.Tree()
			if err != nil {
				return nil, err
			}
			files := make(map[string]string)
			for path, e := range tr.All() {
				if d := e.Info.Data; d != nil {
					b, err := d.ReadAll(1 << 22)
					if err != nil {
						return nil, err
					}
					files[path] += string(b)
				}
			}
			return files, nil
		}
		before, err := read()
		if err != nil || Replace(disk, disk.Size(), "A", text(n, 3), winfile.Filetime(0)) != nil {
			return
		}
		after, err := read()
		if err != nil {
			t.Fatal(err)
		}
		for path, b := range before {
			if !winfile.EqualFold(path, "A") && after[path] != b {
				t.Fatalf("%s has other content", path)
			}
		}
		if !strings.HasPrefix(after["A"]+after["a"], string(text(n, 3))) {
			t.Fatal("the file has not its content")
		}
	})
}

// smallVolume is a small volume with a file. That one of FAT32 has fewer clusters than it should is nothing that readers mind.
func smallVolume(t testing.TB, bits int) []byte {
	t.Helper()
	const clusters = 40
	boot := bootSector{SectorSize: 512, ClusterSectors: 1, Reserved: 2, FATs: 2, Media: 0xf8, Signature: [2]byte{0x55, 0xaa}}
	table, root := []byte{0xf8, 0xff, 0xff, 0x03, 0xf0, 0xff}, 4*512
	sectors := 4 + clusters
	if bits == 12 {
		boot.RootEntries, boot.FATSectors16 = 16, 1
		sectors++
	} else {
		boot.FATSectors, boot.Root, boot.FSInfo = 1, 4, 1
		table = []byte{0xf8, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0xff, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0x0f}
		root += 2 * 512
	}
	boot.Sectors16 = uint16(sectors)
	b := make([]byte, sectors*512)
	put(b, &boot)
	put(b[512:], &fsInfo{Lead: leadMagic, Magic: infoMagic, Trail: trailMagic})
	copy(b[2*512:], table)
	copy(b[3*512:], table)
	put(b[root:], &dirEntry{Name: [11]byte([]byte("A          ")), ClusterLow: 2, Size: 1000})
	if err := Replace(cutfile.New(b), int64(len(b)), "A", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	return b
}
