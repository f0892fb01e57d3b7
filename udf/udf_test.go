package udf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf16"

	"husk/internal/extents"
	"husk/winfile"
)

func TestDiskSizes(t *testing.T) {
	if got := binary.Size(tag{}); got != tagSize {
		t.Errorf("tag is %d bytes, want %d", got, tagSize)
	}
}

func TestCRC(t *testing.T) {
	if got := crc([]byte{0x70, 0x6a, 0x77}); got != 0x3299 { // ECMA-167 3/7.2.6
		t.Errorf("CRC %#x, want 0x3299", got)
	}
}

// --- images by hand, for what genisoimage does not write

const (
	sector    = 2048
	partStart = 300 // sector of the partition
)

// builder makes an image of sectors; those that nobody wrote are zeros, so that it may be as large as it likes.
type builder struct {
	sectors map[int64][]byte
	total   int64 // sectors
}

func (b *builder) Size() int64 { return b.total * sector }

func (b *builder) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < b.Size() {
		at, skip := off/sector, off%sector
		s := make([]byte, sector)
		copy(s, b.sectors[at])
		m := copy(p[n:], s[skip:])
		n, off = n+m, off+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// seal writes a tag over the first bytes of a descriptor.
func seal(d []byte, id uint16, location int64) []byte {
	le.PutUint16(d, id)
	le.PutUint16(d[2:], 2)
	le.PutUint16(d[8:], crc(d[tagSize:]))
	le.PutUint16(d[10:], uint16(len(d)-tagSize))
	le.PutUint32(d[12:], uint32(location))
	d[4] = 0
	var sum byte
	for _, c := range d[:tagSize] {
		sum += c
	}
	d[4] = sum
	return d
}

func long(n uint32, block uint32) []byte {
	d := make([]byte, longSize)
	le.PutUint32(d, n)
	le.PutUint32(d[4:], block)
	return d
}

func short(n uint32, block uint32) []byte { return long(n, block)[:shortSize] }

func cs0(s string) []byte {
	b := []byte{16}
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return b
}

func (b *builder) put(block int64, d []byte) {
	for i := 0; i < len(d); i += sector {
		b.sectors[partStart+block+int64(i/sector)] = d[i:min(i+sector, len(d))]
	}
}

// entry writes a file entry, or an extended one.
func (b *builder) entry(block int64, id uint16, kind byte, form uint16, size uint64, allocation []byte) {
	e := fileEntry{raw: make([]byte, 216, 216+len(allocation)), extended: id == tagExtFileEntry}
	e.raw = append(e.raw[:e.fixed()], allocation...)
	le.PutUint16(e.raw[20:], strategyDirect)
	e.raw[27] = kind
	le.PutUint16(e.raw[34:], form)
	le.PutUint64(e.raw[56:], size)
	le.PutUint64(e.raw[e.fixed()-16:], uint64(block))
	le.PutUint32(e.raw[e.fixed()-4:], uint32(len(allocation)))
	copy(e.written(), []byte{0x3c, 0x10, 0xd9, 0x07, 7, 14, 5, 5, 6, 12, 34, 56}) // one hour east
	b.put(block, seal(e.raw, id, block))
}

func fileID(name string, chars byte, block uint32) []byte {
	var id []byte
	if name != "" {
		id = cs0(name)
	}
	d := make([]byte, (fileIDSize+len(id)+3)&^3)
	d[18], d[19] = chars, byte(len(id))
	copy(d[20:], long(sector, block))
	copy(d[fileIDSize:], id)
	return seal(d, tagFileID, 0)
}

// directory writes an embedded directory.
func (b *builder) directory(block int64, ids ...[]byte) {
	d := bytes.Join(append([][]byte{fileID("", charParent|charDirectory, 1)}, ids...), nil)
	b.entry(block, tagFileEntry, typeDirectory, formEmbedded, uint64(len(d)), d)
}

// newImage has an empty partition but for a file set whose root directory is at block 1.
func newImage(total int64, partitionMap []byte) *builder {
	b := &builder{sectors: make(map[int64][]byte), total: total}
	b.sectors[16] = []byte("\x00NSR02\x01")
	anchor := make([]byte, 512)
	le.PutUint32(anchor[16:], 4*sector)
	le.PutUint32(anchor[20:], 257)
	le.PutUint32(anchor[24:], 4*sector)
	le.PutUint32(anchor[28:], 270)
	b.sectors[256] = seal(anchor, tagAnchor, 256)
	for _, at := range []int64{257, 270} {
		part := make([]byte, 512)
		le.PutUint32(part[188:], partStart)
		le.PutUint32(part[192:], uint32(total-partStart))
		b.sectors[at] = seal(part, tagPartition, at)
		logical := make([]byte, 512)
		name := cs0("TEST")
		copy(logical[84:], name)
		logical[211] = byte(len(name))
		le.PutUint32(logical[212:], sector)
		copy(logical[248:], long(sector, 0))
		le.PutUint32(logical[264:], uint32(len(partitionMap)))
		le.PutUint32(logical[268:], 1)
		copy(logical[440:], partitionMap)
		b.sectors[at+1] = seal(logical, tagLogicalVolume, at+1)
		b.sectors[at+2] = seal(make([]byte, 512), tagTerminating, at+2)
	}
	set := make([]byte, 512)
	copy(set[400:], long(sector, 1))
	b.put(0, seal(set, tagFileSet, 0))
	return b
}

var plainMap = []byte{1, 6, 1, 0, 0, 0}

func (b *builder) tree() (*Volume, *winfile.Tree, error) {
	v, err := NewReader(b, b.Size())
	if err != nil {
		return nil, nil, err
	}
	t, err := v.Tree()
	return v, t, err
}

// standard has a file of every form.
func standard() *builder {
	const gib = 1 << 30
	b := newImage(5<<30/sector, plainMap)
	b.directory(1,
		fileID("embedded", charHidden, 2), fileID("again", 0, 2), fileID("gone", charDeleted, 99), fileID("chained", 0, 3),
		fileID("large.wim", 0, 5), fileID("holes", 0, 6), fileID("dir", charDirectory, 7), fileID("link", 0, 8), fileID("..", 0, 2))
	b.entry(2, tagExtFileEntry, typeRegular, formEmbedded, 5, []byte("hello"))
	b.entry(3, tagFileEntry, typeRegular, formShort, sector+4, bytes.Join([][]byte{short(sector, 20), short(extentDescriptors<<30|sector, 4)}, nil))
	chain := make([]byte, 24)
	le.PutUint32(chain[20:], shortSize)
	b.put(4, seal(append(chain, short(4, 30)...), tagAllocation, 4))
	b.put(20, bytes.Repeat([]byte{'x'}, sector))
	b.put(30, []byte("tail"))
	const most = gib - sector
	b.entry(5, tagExtFileEntry, typeRegular, formLong, 4*most+sector+3, bytes.Join([][]byte{
		long(most, 100), long(most, 100+most/sector), long(most, 200+2*most/sector), long(most, 200+3*most/sector), long(sector+3, 40)}, nil))
	b.put(41, []byte("end"))
	b.entry(6, tagFileEntry, typeRegular, formShort, 2*sector+1, bytes.Join([][]byte{short(extentAllocated<<30|2*sector, 50), short(1, 30)}, nil))
	b.directory(7, fileID("inner 名", 0, 9))
	b.entry(8, tagFileEntry, 12 /* a symbolic link */, formEmbedded, 1, []byte{1})
	b.entry(9, tagFileEntry, typeRegular, formShort, 0, nil)
	return b
}

func TestForms(t *testing.T) {
	v, tree, err := standard().tree()
	if err != nil {
		t.Fatal(err)
	}
	if v.Label != "TEST" {
		t.Errorf("label %q", v.Label)
	}
	for path, want := range map[string]string{
		"embedded": "hello", "again": "hello", "chained": strings.Repeat("x", sector) + "tail",
		"holes": strings.Repeat("\x00", 2*sector) + "t", "dir/inner 名": "",
	} {
		e := tree.Lookup(path)
		if e == nil {
			t.Errorf("no %s", path)
			continue
		}
		if got, err := e.Info.Data.ReadAll(1 << 20); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	e := tree.Lookup("embedded")
	if e.Info != tree.Lookup("again").Info || e.Info.Links != 2 || e.Info.Attributes != winfile.AttrHidden {
		t.Errorf("links %d, attributes %s", e.Info.Links, e.Info.Attributes)
	}
	if got := e.Info.Written.Time().Format("2006-01-02T15:04:05.000000"); got != "2009-07-14T04:05:06.123456" {
		t.Errorf("written %s", got)
	}
	if tree.Lookup("gone") != nil || tree.Lookup("link") != nil {
		t.Error("a deleted file or a link is in the tree")
	}
	if got := len(v.Warnings()); got != 2 { // the link, and ".."
		t.Errorf("warnings %q", v.Warnings())
	}
	large := tree.Lookup("large.wim").Info.Data
	at, err := v.content.BlobReaderAt(large)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3)
	if _, err := at.ReadAt(p, large.Size-3); err != nil || string(p) != "end" {
		t.Errorf("end of %d bytes: %q, %v", large.Size, p, err)
	}
	if got := len(extents.Of(large)); got != 3 {
		t.Errorf("%d extents, want 3", got)
	}
}

func TestReserveSequence(t *testing.T) {
	b := standard()
	b.sectors[258] = bytes.Clone(b.sectors[258])
	b.sectors[258][300] ^= 1
	v, _, err := b.tree()
	if err != nil || len(v.Warnings()) == 0 || !strings.Contains(v.Warnings()[0], "CRC") {
		t.Errorf("%v, want the reserve sequence and a warning", err)
	}
	b.sectors[271] = b.sectors[258]
	if _, _, err := b.tree(); err == nil || !strings.Contains(err.Error(), "udf: volume descriptor sequence at 0x81008: CRC") {
		t.Errorf("both sequences damaged: %v", err)
	}
}

// What is broken is refused with its place.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		make       func(b *builder)
	}{
		{"no anchor", "anchor at 0x80000: tag identifier 0", func(b *builder) { delete(b.sectors, 256) }},
		{"no root", "file entry of the root directory", func(b *builder) { delete(b.sectors, partStart+1) }},
		{"root is a file", "want a directory", func(b *builder) { b.entry(1, tagFileEntry, typeRegular, formEmbedded, 0, nil) }},
		{"loop", "block 1 is of a directory with another name", func(b *builder) { b.directory(1, fileID("a", charDirectory, 1)) }},
		{"loop of two", "is of a directory", func(b *builder) {
			b.directory(1, fileID("a", charDirectory, 2))
			b.directory(2, fileID("b", charDirectory, 1))
		}},
		{"chain of itself", "together they are larger", func(b *builder) {
			chain := make([]byte, 24)
			le.PutUint32(chain[20:], shortSize)
			b.put(4, seal(append(chain, short(extentDescriptors<<30|sector, 4)...), tagAllocation, 4))
			b.total = 1000
		}},
		{"moved", "tag location 2, want 3", func(b *builder) { b.sectors[partStart+3] = b.sectors[partStart+2] }},
		{"CRC", "CRC", func(b *builder) { b.sectors[partStart+3][60] ^= 1 }},
		{"behind the partition", "want them in the", func(b *builder) {
			b.entry(3, tagFileEntry, typeRegular, formShort, 4, short(4, 1<<31))
		}},
		{"too few extents", "file of 2053 bytes, want at most the 2048", func(b *builder) {
			b.entry(3, tagFileEntry, typeRegular, formShort, sector+5, short(sector, 30))
		}},
		{"part of a block", "want whole blocks", func(b *builder) {
			b.entry(3, tagFileEntry, typeRegular, formShort, 9, append(short(4, 30), short(5, 31)...))
		}},
		{"embedded too large", "want at most the 5", func(b *builder) { b.entry(2, tagFileEntry, typeRegular, formEmbedded, 6, []byte("hello")) }},
		{"file as directory", "directory bit true", func(b *builder) { b.directory(1, fileID("a", charDirectory, 2)) }},
		{"huge directory", "together they are larger", func(b *builder) {
			b.entry(7, tagFileEntry, typeDirectory, formShort, 1<<40, bytes.Repeat(short(1<<30-sector, 1), 200))
		}},
		{"directory of a hole", "not recorded", func(b *builder) {
			b.entry(7, tagFileEntry, typeDirectory, formShort, sector, short(extentAllocated<<30|sector, 50))
		}},
		{"cut identifier", "want at least 38", func(b *builder) { b.entry(7, tagFileEntry, typeDirectory, formEmbedded, 4, make([]byte, 4)) }},
		{"compression of names", "name compression 0", func(b *builder) {
			id := fileID("abc", 0, 2)
			id[fileIDSize] = 0
			b.directory(1, seal(id, tagFileID, 0))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := standard()
			b.total = 5 << 30 / sector
			tt.make(b)
			_, _, err := b.tree()
			var fe *FormatError
			if !errors.As(err, &fe) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want a FormatError with %q", err, tt.want)
			}
		})
	}
	metadata := make([]byte, 64)
	copy(metadata, "\x02\x40\x00\x00\x00*UDF Metadata Partition")
	for name, b := range map[string]*builder{"metadata partition": newImage(1000, metadata), "strategy": func() *builder {
		b := standard()
		d := bytes.Clone(b.sectors[partStart+3])
		le.PutUint16(d[20:], 4096)
		b.put(3, seal(d, tagFileEntry, 3))
		return b
	}()} {
		if _, _, err := b.tree(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v, want that it is not supported", name, err)
		}
	}
}

// bytes is the whole image.
func (b *builder) bytes() []byte {
	p := make([]byte, b.Size())
	for at, s := range b.sectors {
		copy(p[at*sector:], s)
	}
	return p
}

// small is an image of few sectors.
func small() []byte {
	b := newImage(partStart+12, plainMap)
	b.directory(1, fileID("embedded", 0, 2), fileID("chained", 0, 3), fileID("dir", charDirectory, 7))
	b.entry(2, tagExtFileEntry, typeRegular, formEmbedded, 5, []byte("hello"))
	b.entry(3, tagFileEntry, typeRegular, formShort, sector+4, bytes.Join([][]byte{short(sector, 10), short(extentDescriptors<<30|sector, 4)}, nil))
	chain := make([]byte, 24)
	le.PutUint32(chain[20:], shortSize)
	b.put(4, seal(append(chain, short(4, 11)...), tagAllocation, 4))
	b.directory(7, fileID("inner", 0, 9))
	b.entry(9, tagFileEntry, typeRegular, formLong, 4, long(4, 11))
	return b.bytes()
}

// FuzzRead changes bytes of an image anywhere, and makes the tags right again so that what comes after them is reached.
func FuzzRead(f *testing.F) {
	base := small()
	f.Add(uint16(0), uint16(0), []byte{}, false)
	f.Add(uint16(partStart+3), uint16(176), []byte{0xff, 0xff, 0xff, 0x3f}, true)
	f.Add(uint16(258), uint16(264), []byte{0xff, 0xff}, true)
	f.Add(uint16(partStart+1), uint16(18+176), []byte{2, 40}, true)
	f.Add(uint16(257), uint16(188), []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, true)
	f.Fuzz(func(t *testing.T, at, off uint16, patch []byte, right bool) {
		image := bytes.Clone(base)
		s := image[int(at)%(len(image)/sector)*sector:][:sector]
		copy(s[int(off)%sector:], patch)
		if n := tagSize + int(le.Uint16(s[10:])); right && n <= sector {
			seal(s[:n], le.Uint16(s), int64(le.Uint32(s[12:])))
		}
		v, err := NewReader(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			return
		}
		tree, err := v.Tree()
		if err != nil {
			return
		}
		for path, e := range tree.All() {
			if e.Info.Size() > 1<<20 {
				continue
			}
			if _, err := e.Info.Data.ReadAll(1 << 20); err != nil {
				t.Errorf("%s was accepted and cannot be read: %v", path, err)
			}
		}
	})
}
