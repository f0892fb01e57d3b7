package ntfs

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"hash"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"husk/winfile"
)

// wantWarning reads the tree, which must be complete but for what the test broke, and looks for a warning.
func wantWarning(t *testing.T, e *editor, part string) *winfile.Tree {
	t.Helper()
	v := openBytes(t, e.b)
	tree, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if tree.Lookup("many/entry-00003-xxx") == nil {
		t.Error("what is sound is lost")
	}
	if w := strings.Join(v.Warnings(), "\n"); !strings.Contains(w, part) {
		t.Errorf("warnings %q, want %q", w, part)
	}
	return tree
}

func TestTreeOfDamagedVolume(t *testing.T) {
	sound := sampleVolume(t, 100, nil)
	for _, tt := range []struct {
		name, warning, lost string
		do                  func(e *editor)
	}{
		{"torn record", "torn write", "folder/a", func(e *editor) { e.inStream(e.v.mft, e.find("folder/a")*1024)[1023]++ }},
		{"attribute beyond the record", "bytes long", "folder/a", func(e *editor) {
			e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a[5] = 0xff })
		}},
		{"wrong sequence of the parent", "does not exist", "folder/a", func(e *editor) {
			e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[6]++ })
		}},
		{"parent is a file", "does not exist", "folder/a", func(e *editor) {
			e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { put64(a.value(), int64(makeRef(uint64(e.find("folder/b")), 1))) })
		}},
		{"cycle of directories", "not reached", "folder", func(e *editor) {
			e.attr(e.find("folder"), typeFileName, 0, func(a attribute) { put64(a.value(), int64(makeRef(uint64(e.find("empty")), 1))) })
			e.attr(e.find("empty"), typeFileName, 0, func(a attribute) { put64(a.value(), int64(makeRef(uint64(e.find("folder")), 1))) })
		}},
		{"directory in itself", "not reached", "folder", func(e *editor) {
			e.attr(e.find("folder"), typeFileName, 0, func(a attribute) { put64(a.value(), int64(makeRef(uint64(e.find("folder")), 1))) })
		}},
		{"name with a slash", "cannot stand in a path", "folder/a", func(e *editor) {
			e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[fileNameSize] = '/' })
		}},
		{"two dots", "cannot stand in a path", "ea", func(e *editor) {
			e.attr(e.find("ea"), typeFileName, 0, func(a attribute) { copy(a.value()[fileNameSize:], ".\x00.\x00") })
		}},
		{"attribute list with itself", "attribute list", "nothing", func(e *editor) {
			list := e.at(e.find("links/linked"), typeAttributeList, "", 0)
			le.PutUint32(list, uint32(typeAttributeList))
		}},
		{"attribute list entry of 0 bytes", "attribute list", "nothing", func(e *editor) {
			le.PutUint16(e.at(e.find("links/linked"), typeAttributeList, "", 4), 0)
		}},
		{"attribute twice in the list", "no $FILE_NAME", "nothing", func(e *editor) {
			list := e.at(e.find("links/linked"), typeAttributeList, "", 0)
			first := int(le.Uint16(list[4:]))
			second := int(le.Uint16(list[first+4:]))
			copy(list[first+second:], list[first:first+second])
		}},
		{"extension of another file", "wants base", "nothing", func(e *editor) {
			_, list, _ := e.v.baseAttrs(e.find("links/linked"))
			for _, a := range list {
				if a.holder != e.find("links/linked") {
					e.record(a.holder, func(r fileRecord) { r[0x20]++ })
					return
				}
			}
		}},
		{"security id", "not in $Secure", "nothing", func(e *editor) {
			e.attr(e.find("folder/a"), typeStandardInformation, 0, func(a attribute) { a.value()[0x36]++ })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEditor(t, sound)
			tt.do(e)
			if tree := wantWarning(t, e, tt.warning); tree.Lookup(tt.lost) != nil {
				t.Errorf("%s is still there", tt.lost)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	sound := sampleVolume(t, 100, nil)
	for _, tt := range []struct {
		name, want string
		do         func(e *editor)
	}{
		{"no volume", "OEM id", func(e *editor) { clear(e.b) }},
		{"record size", "record size", func(e *editor) { e.b[0x40] = 0x80; e.b[len(e.b)-512+0x40] = 0x80 }},
		{"sector size", "sector size", func(e *editor) { e.b[0xb] = 7; e.b[len(e.b)-512+0xb] = 7 }},
		{"longer than the partition", "sectors", func(e *editor) { e.b[0x2c] = 1; e.b[len(e.b)-512+0x2c] = 1 }},
		{"records of 4096 bytes", "record 0", func(e *editor) { e.b[0x40] = 0xf4 }},
		{"size of the $MFT", "$MFT of", func(e *editor) { e.attr(recMFT, typeData, 0, func(a attribute) { a[0x34] = 1 }) }},
		{"$MFT with a hole", "holes", func(e *editor) {
			e.attr(recMFT, typeData, 0, func(a attribute) {
				n := int64(a.highestVCN()) + 1
				copy(a.mappingPairs(), appendRuns(nil, run{e.v.boot.mft, n - 1}, run{hole, 1}))
			})
		}},
		{"$MFT larger than the volume", "$MFT of", func(e *editor) {
			e.attr(recMFT, typeData, 0, func(a attribute) {
				n := e.v.Clusters + 1
				put64(a[0x18:], n-1)
				put64(a[0x28:], n*4096)
				copy(a.mappingPairs(), appendRuns(nil, run{0, n - 1}, run{1, 1}))
			})
		}},
		{"NTFS 2.0", "version 2.0", func(e *editor) {
			e.attr(recVolume, typeVolumeInformation, 0, func(a attribute) { copy(a.value()[8:], "\x02\x00") })
		}},
		{"free $Volume", "record 3", func(e *editor) { e.record(recVolume, func(r fileRecord) { r[0x16] = 0 }) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEditor(t, sound)
			tt.do(e)
			_, err := NewReader(bytes.NewReader(e.b), int64(len(e.b)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	for _, size := range []int{0, 1, 511, 512, 4096, 20000} {
		if _, err := NewReader(bytes.NewReader(sound[:size]), int64(size)); err == nil {
			t.Errorf("%d bytes are a volume", size)
		}
	}
	if _, err := NewReader(bytes.NewReader(sound[:5000]), int64(len(sound))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut file: %v", err)
	}
}

// Copies of what a volume cannot do without.
func TestReadFromCopies(t *testing.T) {
	sound := sampleVolume(t, 100, nil)
	for name, do := range map[string]func(e *editor){
		"boot sector": func(e *editor) { clear(e.b[:512]) },
		"$MFT":        func(e *editor) { e.inStream(e.v.mft, 0)[511]++ },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEditor(t, sound)
			do(e)
			wantWarning(t, e, "is used")
		})
	}
}

func TestRootIsNeeded(t *testing.T) {
	e := newEditor(t, sampleVolume(t, 10, nil))
	e.record(recRoot, func(r fileRecord) { r[0x16] = 0 })
	if _, err := openBytes(t, e.b).Tree(context.Background()); err == nil {
		t.Error("a tree without a root")
	}
	if _, err := fs.ReadDir(openBytes(t, e.b), "."); err == nil {
		t.Error("a root directory without a root")
	}
}

// What a stream claims shows when it is opened, not when the volume is listed.
func TestStreamClaims(t *testing.T) {
	sound := sampleVolume(t, 100, nil)
	for _, tt := range []struct {
		name, want string
		do         func(a attribute)
	}{
		{"encrypted", "encrypted", func(a attribute) { a[0xd] = 0x40 }},
		{"another compression", "compression method 3", func(a attribute) { a[0xc] = 3 }},
		{"size", "bytes in 2 clusters", func(a attribute) { a[0x36] = 1 }},
		{"run list", "mapping pairs", func(a attribute) { a.mappingPairs()[0] = 0xff }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEditor(t, sound)
			e.attr(e.find("folder/b"), typeData, 0, tt.do)
			v := openBytes(t, e.b)
			tree, err := v.Tree(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			b := tree.Lookup("folder/b").Info.Data
			_, err = v.OpenBlob(b)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if unsupported := tt.name == "encrypted" || tt.name == "another compression"; errors.Is(err, errors.ErrUnsupported) != unsupported {
				t.Errorf("%v: unsupported is %t", err, !unsupported)
			}
			if tt.name == "encrypted" && !strings.Contains(err.Error(), `"b"`) {
				t.Errorf("error %v does not name the file", err)
			}
		})
	}
}

func TestExtentsAndHoles(t *testing.T) {
	e := newEditor(t, sampleVolume(t, 100, nil))
	n := e.find("folder/中文")
	var lcn LCN
	e.attr(n, typeData, 0, func(a attribute) {
		runs, err := decodeRuns(nil, a.mappingPairs(), int64(a.highestVCN())+1, e.v.Clusters)
		if err != nil {
			t.Fatal(err)
		}
		lcn = runs[0].lcn
		copy(a.mappingPairs(), appendRuns(nil, run{lcn, 2}, run{hole, int64(a.highestVCN()) - 1}))
		put64(a[0x38:], 5000) // valid size
	})
	v := openBytes(t, e.b)
	tree, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b := tree.Lookup("folder/中文").Info.Data
	x, err := v.Extents(b)
	if err != nil || len(x) != 2 || x[0] != (Extent{0, lcn, 2}) || x[1] != (Extent{2, -1, 16}) {
		t.Errorf("extents %v, %v", x, err)
	}
	got, err := b.ReadAll(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	want := []byte(strings.Repeat("中文", 70000/6+1))[:70000]
	clear(want[5000:])
	if !bytes.Equal(got, want) {
		t.Error("holes or what is beyond the valid size do not read as zeros")
	}
	at, err := v.BlobReaderAt(b)
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 9000)
	if n, err := at.ReadAt(part, 4000); n != 9000 || err != nil || !bytes.Equal(part, want[4000:13000]) {
		t.Errorf("around the end of the valid size: %d bytes, %v", n, err)
	}
	if n, err := at.ReadAt(part, 66000); n != 4000 || err != io.EOF || !isFilled(part[:n], 0) {
		t.Errorf("the end: %d bytes, %v", n, err)
	}
}

func TestReadBlobsTogether(t *testing.T) {
	for _, o := range []*BuildOptions{nil, {ClusterSize: 512}, {ClusterSize: 65536}, {SectorSize: 4096}} {
		v := openBytes(t, sampleVolume(t, 300, o))
		tree, err := v.Tree(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[*winfile.Blob]winfile.SHA1)
		var blobs []*winfile.Blob
		original := make(map[string]*winfile.Info)
		for path, e := range sampleTree(300).All() {
			original[path] = e.Info
		}
		for path, e := range tree.All() {
			if e.Info.Data != nil && e.Name != "linked" && e.Info.Links == 1 {
				want[e.Info.Data] = original[path].Data.SHA1
				blobs = append(blobs, e.Info.Data)
			}
			for i, s := range e.Info.Streams {
				if s.Data != nil {
					want[s.Data] = original[path].Streams[i].Data.SHA1
					blobs = append(blobs, s.Data)
				}
			}
		}
		var mu sync.Mutex
		got := make(map[*winfile.Blob]hash.Hash)
		err = winfile.ReadBlobs(context.Background(), blobs, 3, func(b *winfile.Blob, off int64, p []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if off == 0 {
				got[b] = sha1.New()
			}
			got[b].Write(p)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blobs {
			if h := got[b]; h == nil || winfile.SHA1(h.Sum(nil)) != want[b] {
				t.Errorf("%+v: %d bytes at cluster %d differ", o, b.Size, b.Order)
			}
		}
		if len(blobs) < 300 {
			t.Errorf("only %d blobs", len(blobs))
		}
	}
}

func TestReadBlobsFails(t *testing.T) {
	e := newEditor(t, sampleVolume(t, 100, nil))
	tree, err := e.v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	blobs := []*winfile.Blob{tree.Lookup("many/entry-00003-xxx").Info.Data, tree.Lookup("folder/a").Info.Data}
	none := func(*winfile.Blob, int64, []byte) error { return nil }
	e.inStream(e.v.mft, e.find("folder/a")*1024)[1023]++
	if err := winfile.ReadBlobs(context.Background(), blobs, 2, none); err == nil || !strings.Contains(err.Error(), "torn write") {
		t.Errorf("torn record: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := winfile.ReadBlobs(ctx, blobs[:1], 2, none); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	stranger := *blobs[0]
	stranger.Ref = nil
	if err := e.v.ReadBlobs(context.Background(), []*winfile.Blob{&stranger}, 1, none); err == nil {
		t.Error("a blob of something else was read")
	}
}

func TestLogStates(t *testing.T) {
	sound := sampleVolume(t, 10, nil)
	page := func(major, inUse, flags uint16, lsn uint64) []byte {
		b := make([]byte, logPageSize)
		copy(b, "RSTR")
		le.PutUint16(b[4:], 0x1e)
		le.PutUint16(b[6:], logPageSize/sectorStride+1)
		le.PutUint16(b[0x18:], 0x30)
		le.PutUint16(b[0x1c:], major)
		le.PutUint64(b[0x30:], lsn)
		le.PutUint16(b[0x3c:], inUse)
		le.PutUint16(b[0x3e:], flags)
		protect(b, 5)
		return b
	}
	torn := page(1, 0, 0, 9)
	torn[511]++
	for _, tt := range []struct {
		name          string
		first, second []byte
		want          LogState
	}{
		{"closed", page(1, 0xffff, 0, 4), page(1, 0xffff, 0, 3), LogClean},
		{"flag", page(1, 0, 2, 4), page(1, 0, 0, 3), LogClean},
		{"second page is newer", page(1, 0, 2, 3), page(1, 0, 0, 4), LogUnclean},
		{"Windows 8", page(2, 0, 0, 4), page(2, 0, 0, 4), LogCached},
		{"first page torn", torn, page(1, 0xffff, 0, 3), LogClean},
		{"both torn", torn, torn, LogDamaged},
		{"version 3", page(3, 0, 0, 4), page(3, 0, 0, 4), LogDamaged},
	} {
		e := newEditor(t, sound)
		log := e.at(recLogFile, typeData, "", 0)
		copy(log[copy(log, tt.first):], tt.second)
		v := openBytes(t, e.b)
		if v.Log != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, v.Log, tt.want)
		}
		if warned := len(v.Warnings()) > 0; warned != (tt.want != LogClean) {
			t.Errorf("%s: warnings %q", tt.name, v.Warnings())
		}
	}
}
