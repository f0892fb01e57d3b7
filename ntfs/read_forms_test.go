package ntfs

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"husk/winfile"
)

// TestClusterSizes decodes all codes of cluster sizes: sectors, and powers of two above 0x80.
func TestClusterSizes(t *testing.T) {
	for _, sector := range []int{256, 512, 1024, 2048, 4096} {
		for shift := range 14 {
			codes := []uint8{uint8(256 - shift)}
			if shift <= 7 {
				codes = append(codes, 1<<shift)
			}
			for _, code := range codes {
				if shift == 0 && code == 0 {
					continue
				}
				s := bootSector{OEM: bootOEM, SectorSize: uint16(sector), SectorsPerCluster: code, Sectors: 1 << 40, MFT: 4, MFTMirr: 2, RecordSize: -10, IndexSize: -12}
				g, err := s.geometry()
				if want := sector << shift; want > 2<<20 {
					if err == nil {
						t.Errorf("%d sectors of %d (%#x) are a cluster of %d bytes", 1<<shift, sector, code, g.clusterSize)
					}
				} else if err != nil || g.clusterSize != want || g.clusters != 1<<40>>shift {
					t.Errorf("code %#x of sectors of %d: clusters of %d, want %d; %v", code, sector, g.clusterSize, want, err)
				}
			}
		}
	}
}

// TestLargeRecords reads records of 4 KiB, with sectors of 4096 bytes as they come and of 512 as format /L makes them.
func TestLargeRecords(t *testing.T) {
	native := sampleVolume(t, 300, &BuildOptions{SectorSize: 4096})
	small := bytes.Clone(native)
	for _, boot := range [][]byte{small[:512], small[len(small)-4096:][:512]} {
		le.PutUint16(boot[0xb:], 512)
		boot[0xd] *= 8
		le.PutUint64(boot[0x28:], le.Uint64(boot[0x28:])*8)
	}
	for i, b := range [][]byte{native, small} {
		v := openBytes(t, b)
		if v.RecordSize != 4096 || v.SectorSize != []int{4096, 512}[i] {
			t.Errorf("records of %d, sectors of %d", v.RecordSize, v.SectorSize)
		}
		tree, err := v.Tree(context.Background())
		if err != nil || len(v.Warnings()) > 0 {
			t.Fatal(err, v.Warnings())
		}
		for path, e := range sampleTree(300).All() {
			got := tree.Lookup(path)
			if got == nil {
				t.Errorf("%s is lost", path)
				continue
			}
			want, err := e.Info.Data.ReadAll(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			if have, err := got.Info.Data.ReadAll(1 << 20); err != nil || !bytes.Equal(have, want) {
				t.Errorf("%s: %d bytes, want %d; %v", path, len(have), len(want), err)
			}
		}
	}
}

// TestCaseSensitiveFolder reads names that differ in case only, in folders of any size.
func TestCaseSensitiveFolder(t *testing.T) {
	tree := sampleTree(0)
	dir := &winfile.Entry{Name: "Linux", Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	want := make(map[string]string)
	for i := range 300 {
		for bits := range 4 {
			name := []byte(fmt.Sprintf("ab-%03d", i))
			for k := range 2 {
				if bits>>k&1 != 0 {
					name[k] -= 'a' - 'A'
				}
			}
			want[string(name)] = string(name) + " is its own"
			dir.Children = append(dir.Children, &winfile.Entry{Name: string(name), Info: &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte(want[string(name)]))}})
		}
	}
	tree.Root.Children = append(tree.Root.Children, dir)
	v := openBytes(t, builtVolume(t, tree, nil))
	got, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	byRecord := make(map[int64]string)
	for _, e := range got.Lookup("Linux").Children {
		byRecord[int64(e.Info.ID)] = e.Name
		if b, err := e.Info.Data.ReadAll(100); err != nil || string(b) != want[e.Name] {
			t.Errorf("%s: %q, %v", e.Name, b, err)
		}
	}
	if len(byRecord) != len(want) {
		t.Errorf("%d files, want %d", len(byRecord), len(want))
	}
	for name := range want {
		if n, ok, err := v.Lookup("linux/" + name); err != nil || !ok || byRecord[n] != name {
			t.Errorf("%s: found %q, %t, %v", name, byRecord[n], ok, err)
		}
	}
	lower := openBytes(t, sampleVolume(t, 200, nil)) // and where there is one only, case does not count
	if n, ok, err := lower.Lookup("MANY/ENTRY-00150-XXXXXXXXXXXX"); err != nil || !ok || n < firstUserFile {
		t.Errorf("record %d, %t, %v", n, ok, err)
	}
	if _, ok, err := lower.Lookup("many/entry-00150-y"); ok || err != nil {
		t.Errorf("what does not exist: %t, %v", ok, err)
	}
}

// TestDirtyVolume warns, and reads on.
func TestDirtyVolume(t *testing.T) {
	e := newEditor(t, sampleVolume(t, 10, nil))
	e.attr(recVolume, typeVolumeInformation, 0, func(a attribute) { a.value()[10] |= byte(volumeDirty) })
	v := openBytes(t, e.b)
	if tree, err := v.Tree(context.Background()); err != nil || tree.Lookup("folder/a") == nil {
		t.Errorf("%v", err)
	}
	if w := strings.Join(v.Warnings(), "\n"); !v.Dirty || !strings.Contains(w, "marked dirty") {
		t.Errorf("dirty %t, warnings %q", v.Dirty, w)
	}
}

// FuzzBoot decodes whatever boot sector there is.
func FuzzBoot(f *testing.F) {
	sound := sampleVolume(f, 5, &BuildOptions{LogSize: minLogSize})
	f.Add(sound[:512])
	f.Add(sampleVolume(f, 5, &BuildOptions{SectorSize: 4096, LogSize: minLogSize})[:512])
	f.Add(make([]byte, 512))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 512 {
			return
		}
		v := &Volume{size: 1 << 45}
		g, err := v.parseBoot(b)
		if err != nil {
			return
		}
		if g.clusters < 1 || g.clusterSize < g.sectorSize || g.clusterSize > 2<<20 || g.recordSize < 512 || g.recordSize > 65536 ||
			int64(g.mft) >= g.clusters || int64(g.mirror) >= g.clusters || g.sectors*int64(g.sectorSize) > v.size {
			t.Errorf("%+v", g)
		}
		image := bytes.Clone(sound)
		copy(image, b)
		exercise(t, image)
	})
}

// FuzzAttributeList splits whatever attribute list.
func FuzzAttributeList(f *testing.F) {
	v := openBytes(f, sampleVolume(f, 60, &BuildOptions{LogSize: minLogSize}))
	n, _, err := v.Lookup("links/linked")
	if err != nil {
		f.Fatal(err)
	}
	r, err := v.readRecord(n)
	if err != nil {
		f.Fatal(err)
	}
	own, err := r.appendAttrs(nil, n)
	if err != nil {
		f.Fatal(err)
	}
	s, err := v.openStream(own, findAttr(own, typeAttributeList, ""))
	if err != nil {
		f.Fatal(err)
	}
	seed, err := s.readAll(maxListSize)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(bytes.Repeat(seed, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseAttributeList(b, n)
		if err != nil {
			return
		}
		sum := 0
		for _, e := range list {
			sum += len(e)
			e.name()
		}
		if sum != len(b) {
			t.Errorf("entries of %d bytes, want %d", sum, len(b))
		}
		all, _ := v.resolveList(r, n, own, list)
		if len(all) > len(list) {
			t.Errorf("%d attributes of a list of %d", len(all), len(list))
		}
	})
}

// FuzzSDS cuts whatever security stream.
func FuzzSDS(f *testing.F) {
	v := openBytes(f, sampleVolume(f, 60, &BuildOptions{LogSize: minLogSize}))
	s, err := v.openNamed(recSecure, typeData, "$SDS")
	if err != nil {
		f.Fatal(err)
	}
	b := make([]byte, 4096)
	if _, err := s.ReadAt(b, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		last := int64(-1)
		splitSDS(b, 0, func(off int64, e sdsEntry) {
			if off <= last || off%16 != 0 || off+int64(len(e)) > int64(len(b)) {
				t.Errorf("entry of %d bytes at %d behind %d", len(e), off, last)
			}
			last = off
			e.hash()
			e.id()
			e.offset()
			e.descriptor()
		})
	})
}

// FuzzEAs splits whatever extended attributes.
func FuzzEAs(f *testing.F) {
	f.Add(append([]byte{0x14, 0, 0, 0, 0, 5, 4, 0}, "LXUID\x00\x01\x02\x03\x04\x00\x00"...))
	f.Add([]byte{0, 0, 0, 0, 0x80, 1, 0, 0, 'A', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		eas, err := parseEAs(b)
		if err == nil && len(b) > 0 && len(eas) == 0 {
			t.Errorf("nothing in %d bytes", len(b))
		}
	})
}
