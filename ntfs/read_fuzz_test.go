package ntfs

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"testing"

	"husk/winfile"
)

// metadataBlocks lists the offsets of what makes a volume: boot sector, records in use, index blocks, heads of system streams.
func metadataBlocks(t testing.TB, v *Volume) []int64 {
	t.Helper()
	offsets := []int64{0}
	cs := int64(v.ClusterSize)
	add := func(s *stream, step int64, most int) {
		for off := int64(0); off < s.size && most > 0; off, most = off+step, most-1 {
			for _, x := range s.extents {
				if in := off - int64(x.VCN)*cs; x.LCN != hole && in >= 0 && in < x.Clusters*cs {
					offsets = append(offsets, int64(x.LCN)*cs+in)
				}
			}
		}
	}
	for n := range v.records {
		_, list, err := v.baseAttrs(n)
		if err != nil {
			continue
		}
		add(v.mft, n*int64(v.RecordSize)+1, 0)
		offsets = append(offsets, int64(v.recordLCN(n))*cs+n*int64(v.RecordSize)%cs)
		for i, a := range list {
			if !a.nonResident() || a.continues() || n >= firstUserFile && a.typ() == typeData {
				continue
			}
			s, err := v.openStream(list, i)
			if err != nil {
				t.Fatal(err)
			}
			add(s, int64(v.boot.indexSize), 3)
		}
	}
	return offsets
}

// patch changes bytes: for each 12 bytes of p, up to 8 bytes (the last ones) at an offset (2 bytes) from one of the blocks (2 bytes).
func patch(b []byte, blocks []int64, p []byte) {
	for ; len(p) >= 12; p = p[12:] {
		at := blocks[int(le.Uint16(p))%len(blocks)] + int64(le.Uint16(p[2:])>>4)
		n := int(p[2]&7) + 1
		if at+int64(n) <= int64(len(b)) {
			copy(b[at:at+int64(n)], p[4:])
		}
	}
}

// exercise reads all that a volume offers, and fails on what no volume may cause.
func exercise(t *testing.T, b []byte) {
	v, err := NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return
	}
	if _, err := v.Check(context.Background()); err != nil {
		t.Log(err)
	}
	v.Lookup("many/entry-00007-xxxxxxx")
	tree, err := v.Tree(context.Background())
	if err != nil {
		return
	}
	links := make(map[*winfile.Info]int32)
	small := make(map[*winfile.Blob][]byte)
	for _, e := range tree.All() {
		links[e.Info]++
		for blob := range e.Info.Blobs() {
			if links[e.Info] == 1 {
				exerciseBlob(t, v, blob)
				if p, err := blob.ReadAll(5000); err == nil {
					small[blob] = p
				}
			}
		}
	}
	// Read together they are what they are alone. There may be errors where a record claims to hold what it does not.
	v.ReadBlobs(context.Background(), slices.Collect(maps.Keys(small)), 1, func(b *winfile.Blob, off int64, p []byte) error {
		if !bytes.Equal(small[b][off:off+int64(len(p))], p) {
			t.Errorf("blob of %d bytes at cluster %d differs when read with others", b.Size, b.Order)
		}
		return nil
	})
	for info, n := range links {
		if n > info.Links {
			t.Errorf("record %d has %d names, %d links", info.ID, n, info.Links)
		}
		if (info.Reparse != nil) != (info.Attributes&winfile.AttrReparse != 0) {
			t.Errorf("record %d: reparse point and attribute bit differ", info.ID)
		}
	}
}

func exerciseBlob(t *testing.T, v *Volume, b *winfile.Blob) {
	if b.Size < 1 {
		t.Errorf("blob of %d bytes", b.Size)
	}
	if _, err := v.Extents(b); err != nil {
		return
	}
	r, err := v.OpenBlob(b)
	if err != nil {
		return
	}
	const head = 1 << 16
	if n, err := io.Copy(io.Discard, io.LimitReader(r, head)); err == nil && n != min(b.Size, head) {
		t.Errorf("%d bytes of %d", n, b.Size)
	}
	var last [2]byte
	if n, err := r.(io.ReaderAt).ReadAt(last[:], b.Size-1); err == io.EOF && n != 1 {
		t.Errorf("%d bytes at the end", n)
	}
}

func FuzzVolume(f *testing.F) {
	name, _ := buildImage(f, sampleTree(60), &BuildOptions{LogSize: minLogSize})
	sound, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	blocks := metadataBlocks(f, openBytes(f, sound))
	f.Add([]byte{})
	for i := range blocks { // something in the head of each
		f.Add([]byte{byte(i), byte(i >> 8), byte(i*7) & 0xf0, byte(i) & 3, byte(i * 11), 0xff, 0, 0x80, 0, 0, 0, 0})
	}
	f.Add([]byte{1, 0, 0x87, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		b := bytes.Clone(sound)
		patch(b, blocks, p)
		exercise(t, b)
	})
}

// FuzzRecord parses one record with whatever attributes.
func FuzzRecord(f *testing.F) {
	v := openBytes(f, sampleVolume(f, 60, &BuildOptions{LogSize: minLogSize}))
	for _, path := range []string{"ea", "folder", "folder/b", "links/linked", "streams", "junction", "object id"} {
		n, _, err := v.Lookup(path)
		if err != nil {
			f.Fatal(err)
		}
		b := make([]byte, v.RecordSize)
		if _, err := v.mft.ReadAt(b, n*int64(v.RecordSize)); err != nil {
			f.Fatal(err)
		}
		if _, err := openRecord(b, n); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := fileRecord(b)
		if len(b) < 512 || r.check(70) != nil {
			return
		}
		builder := &treeBuilder{v: v, inline: make(map[string][]byte)}
		if err := builder.record(70, r, nil); err != nil {
			t.Fatal(err)
		}
		c := newCheck(context.Background(), v, nil)
		if err := c.record(70, r, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzIndexNode cuts one node into entries.
func FuzzIndexNode(f *testing.F) {
	v := openBytes(f, sampleVolume(f, 60, &BuildOptions{LogSize: minLogSize}))
	for _, path := range []string{"folder", "many", "."} {
		n, _, err := v.Lookup(path)
		if err != nil {
			f.Fatal(err)
		}
		_, list, err := v.baseAttrs(n)
		if err != nil {
			f.Fatal(err)
		}
		x, err := v.openIndex(n, list, "$I30")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(x.root[16:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 32 {
			return
		}
		entries, err := nodeEntries(b)
		for i, e := range entries {
			if _, err := e.data(); err == nil {
				e.key()
			}
			if e.hasSubNode() {
				e.subNode()
			}
			if e.last() != (err == nil && i == len(entries)-1) && i < len(entries)-1 {
				t.Errorf("entry %d of %d is the last one", i, len(entries))
			}
		}
	})
}

// FuzzLZNT1 expands whatever. The first seed is the example of [MS-XCA] 3.3.
func FuzzLZNT1(f *testing.F) {
	f.Add(lznt1Example, uint16(142))
	f.Add([]byte{0xff, 0x3f}, uint16(5000))
	f.Fuzz(func(t *testing.T, src []byte, n uint16) {
		dst := bytes.Repeat([]byte{0xaa}, int(n))
		if err := expandLZNT1(dst, src); err != nil {
			return
		}
		again := make([]byte, n)
		if err := expandLZNT1(again, src); err != nil || !bytes.Equal(dst, again) {
			t.Errorf("what was in the output shows: %v", err)
		}
	})
}

var lznt1Example = []byte{
	0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47, 0x01, 0xa0, 0x45, 0x20, 0x44, 0x00, 0x08,
	0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20, 0x05, 0x24, 0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c,
	0x09, 0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01, 0x18, 0x90, 0x00,
}

func TestLZNT1Example(t *testing.T) {
	const want = "F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\x00"
	got := make([]byte, len(want))
	if err := expandLZNT1(got, lznt1Example); err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
