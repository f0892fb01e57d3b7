package place

import (
	"bytes"
	"context"
	"crypto/sha1"
	"testing"

	"husk/internal/source"
	"husk/winfile"
	"husk/wof"
)

func file(data *winfile.Blob) *winfile.Info { return &winfile.Info{Links: 1, Data: data} }

func dir(name string, children ...*winfile.Entry) *winfile.Entry {
	return &winfile.Entry{Name: name, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}, Children: children}
}

// compact is a file as it lies on a volume after 'compact /exe'.
func compact(plain []byte, a wof.Algorithm) *winfile.Info {
	hole := winfile.NewBlob(make([]byte, len(plain)))
	return &winfile.Info{
		Links: 1, Attributes: winfile.AttrSparse | winfile.AttrReparse, Data: hole, Reparse: (&wof.CompactInfo{Algorithm: a}).Reparse(),
		Streams: []winfile.Stream{{Name: CompactStream, Data: winfile.NewBlob(wof.EncodeCompact(a, plain, 1))}},
	}
}

func TestKinds(t *testing.T) {
	plain := bytes.Repeat([]byte("compact as compact can "), 5000)
	c := compact(plain, wof.LZX)
	cloud := &winfile.Info{Links: 1, Attributes: winfile.AttrReparse, Data: winfile.NewBlob([]byte("x")), Reparse: &winfile.Reparse{Tag: 0x9000101a}}
	pointer := &winfile.Info{Links: 1, Attributes: winfile.AttrReparse, Reparse: (&wof.Pointer{DataSourceID: 3, SHA1: winfile.SHA1{1}, Size: 500, StoredSize: 90, Offset: 208}).Reparse()}
	m, err := New(&source.Source{Kind: source.Folder, Tree: &winfile.Tree{Root: dir("")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		info   *winfile.Info
		kind   Kind
		size   int64
		stored int64
	}{
		"directory": {dir("d").Info, None, 0, 0},
		"empty":     {file(nil), None, 0, 0},
		"local":     {file(winfile.NewBlob([]byte("abc"))), Local, 3, 0},
		"compact":   {c, Compact, int64(len(plain)), c.Streams[0].Data.Size},
		"pointer":   {pointer, WIM, 500, 90},
		"cloud":     {cloud, Away, 1, 0},
	} {
		p, err := m.File(tt.info)
		if err != nil || p.Kind != tt.kind || p.Size != tt.size || p.Stored != tt.stored {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if p, _ := m.File(pointer); p.Backing == nil || p.Backing.Known || p.Backing.DataSourceID != 3 || p.Backing.Offset != 208 || p.SHA1 != (winfile.SHA1{1}) {
		t.Errorf("pointer: %+v", p.Backing)
	}
	x, err := m.Expand(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := x.Data.ReadAll(1 << 20); err != nil || sha1.Sum(got) != sha1.Sum(plain) {
		t.Errorf("expanded to %d bytes, %v", len(got), err)
	}
	if c.Reparse == nil {
		t.Error("Expand changed the file of the tree")
	}
	broken := *c
	broken.Streams = nil
	if _, err := m.Expand(&broken); err == nil {
		t.Error("a compact file without its stream was expanded")
	}
}

func TestUsageSums(t *testing.T) {
	linked := file(winfile.NewBlob(make([]byte, 1000)))
	linked.Links = 2
	linked.Streams = []winfile.Stream{{Name: "s", Data: winfile.NewBlob(make([]byte, 50))}, {Name: "empty"}}
	c := compact(make([]byte, 100000), wof.XPRESS4K)
	root := dir("",
		dir("a", &winfile.Entry{Name: "1", Info: linked}, dir("deep", &winfile.Entry{Name: "c", Info: c})),
		dir("b", &winfile.Entry{Name: "2", Info: linked}),
		&winfile.Entry{Name: "top", Info: file(winfile.NewBlob(make([]byte, 7)))},
	)
	m, err := New(&source.Source{Kind: source.Folder, Tree: &winfile.Tree{Root: root}})
	if err != nil {
		t.Fatal(err)
	}
	stored := c.Streams[0].Data.Size
	for depth, want := range map[int][]string{0: {"/"}, 1: {"/", "/a", "/b"}, 2: {"/", "/a", "/a/deep", "/b"}, -1: {"/", "/a", "/a/deep", "/b"}} {
		list, problems, err := m.Usage(context.Background(), "/", root, depth)
		if err != nil || len(problems) > 0 || len(list) != len(want) {
			t.Fatalf("depth %d: %+v, %v, %v", depth, list, problems, err)
		}
		for i, f := range list {
			if f.Path != want[i] {
				t.Errorf("depth %d: folder %d is %s, want %s", depth, i, f.Path, want[i])
			}
		}
		total := Sums{Files: 3, Dirs: 4, Size: 1050 + 100000 + 7, OnDisk: 1050 + stored + 7, Compact: 1, CompactBytes: 100000, CompactStored: stored}
		if list[0].Sums != total {
			t.Errorf("depth %d: %+v, want %+v", depth, list[0].Sums, total)
		}
		if depth == 1 && (list[1].Files != 2 || list[2].Files != 0) {
			t.Errorf("a linked file counts in %d and %d", list[1].Files, list[2].Files)
		}
	}
}
