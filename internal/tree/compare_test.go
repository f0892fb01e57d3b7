package tree

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"husk/winfile"
)

// Each row changes one thing of the second tree. Exactly one difference of that kind must be found.
func TestCompareFindsEachDifference(t *testing.T) {
	for _, tt := range []struct {
		kind   Kind
		path   string
		change func(tr *winfile.Tree, e *winfile.Entry)
	}{
		{DiffExistence, "file.txt", func(tr *winfile.Tree, e *winfile.Entry) {
			tr.Root.Children = slices.DeleteFunc(tr.Root.Children, func(c *winfile.Entry) bool { return c == e })
		}},
		{DiffExistence, "dir", func(tr *winfile.Tree, e *winfile.Entry) {
			tr.Root.Children = slices.DeleteFunc(tr.Root.Children, func(c *winfile.Entry) bool { return c == e })
		}},
		{DiffExistence, "new", func(tr *winfile.Tree, e *winfile.Entry) {
			tr.Root.Children = append(tr.Root.Children, &winfile.Entry{Name: "new", Info: sampleInfo(9, 0)})
		}},
		{DiffExistence, "file.txt", func(tr *winfile.Tree, e *winfile.Entry) { // a second entry of the same name
			tr.Root.Children = append(tr.Root.Children, &winfile.Entry{Name: "file.txt", Info: e.Info})
		}},
		{DiffType, "empty", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Attributes = winfile.AttrDirectory }},
		{DiffType, "dir", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Attributes = winfile.AttrArchive }},
		{DiffType, "app.exe", func(_ *winfile.Tree, e *winfile.Entry) {
			e.Info.Attributes &^= winfile.AttrReparse
			e.Info.Reparse = nil
		}},
		{DiffAttributes, "file.txt", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Attributes |= winfile.AttrHidden }},
		{DiffAttributes, "dir/link2", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Attributes |= winfile.AttrPinned }},
		{DiffCreated, "file.txt", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Created++ }},
		{DiffWritten, ".", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Written++ }},
		{DiffAccessed, "dir", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Accessed++ }},
		{DiffChanged, "dir", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Changed++ }},
		{DiffSecurity, "dir", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Security = securityA }},
		{DiffSecurity, "file.txt", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Security = nil }},
		{DiffReparse, "junction", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Reparse.Data[9] ^= 1 }},
		{DiffReparse, "junction", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Reparse.Tag = winfile.TagSymlink }},
		{DiffReparse, "vendor", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Reparse.Reserved = 1 }},
		{DiffShortName, "dir", func(_ *winfile.Tree, e *winfile.Entry) { e.ShortName = "" }},
		{DiffShortName, "dir/deep/link1", func(_ *winfile.Tree, e *winfile.Entry) { e.ShortName = "OTHER" }},
		{DiffStreams, "only a stream", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Streams = nil }},
		{DiffStreams, "file.txt", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Streams = []winfile.Stream{{Name: "x"}} }},
		{DiffContent, "only a stream", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Streams[0].Data = nil }},
		{DiffContent, "only a stream", func(_ *winfile.Tree, e *winfile.Entry) {
			e.Info.Streams[0].Data = winfile.NewBlob([]byte("small and SHARED"))
		}},
		{DiffContent, "file.txt", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Data = winfile.NewBlob([]byte("hellO")) }},
		{DiffContent, "file.txt", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Data = winfile.NewBlob([]byte("hello!")) }},
		{DiffContent, "file.txt", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Data = nil }},
		{DiffContent, "empty", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Data = winfile.NewBlob([]byte("x")) }},
		{DiffContent, "file.txt", func(_ *winfile.Tree, e *winfile.Entry) {
			e.Info.Extra = &winfile.Extra{EFS: winfile.NewBlob([]byte("x"))}
		}},
		{DiffObjectID, "ids", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Extra.ObjectID = nil }},
		{DiffEAs, "ids", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Extra.EAs[0].Value[7] ^= 1 }},
		{DiffEAs, "ids", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Extra.EAs[1].Flags = 0 }},
		{DiffEAs, "ids", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Extra.EAs = e.Info.Extra.EAs[:1] }},
		{DiffUnix, "file.txt", func(_ *winfile.Tree, e *winfile.Entry) { e.Info.Extra = &winfile.Extra{Unix: new(winfile.Unix)} }},
		{DiffItems, "file.txt", func(_ *winfile.Tree, e *winfile.Entry) {
			e.Info.Extra = &winfile.Extra{Items: []winfile.TaggedItem{{Tag: 5}}}
		}},
		{DiffLinks, "plain1", func(tr *winfile.Tree, e *winfile.Entry) { // a copy instead of the second name
			i := *e.Info
			e.Info = &i
		}},
		{DiffLinks, "small2", func(tr *winfile.Tree, e *winfile.Entry) { // a second name instead of an equal file
			e.Info = tr.Lookup("small1").Info
		}},
	} {
		a, b := sampleTree(t), sampleTree(t)
		for _, tr := range []*winfile.Tree{a, b} { // equal but for the link, so that it alone differs
			*tr.Lookup("small2").Info = *tr.Lookup("small1").Info
		}
		tt.change(b, b.Lookup(tt.path))
		for _, both := range []bool{false, true} {
			d := mustCompare(t, a, b, &CompareOptions{ReadBoth: both})
			if d.Total != 1 || d.Counts[tt.kind] != 1 || d.List[0].Kind != tt.kind {
				t.Errorf("%s changed, reading %v: %d differences %q, want one of %v", tt.path, both, d.Total, d.List, tt.kind)
				continue
			}
			x := d.List[0]
			// The place of a broken link is whichever name the walk meets second.
			if x.Path != tt.path && tt.kind != DiffLinks && x.Path != "link1" || x.A == x.B || x.A == "" || x.B == "" || x.What == "" {
				t.Errorf("%s changed: %+v", tt.path, x)
			}
			if d = mustCompare(t, a, b, &CompareOptions{Ignore: tt.kind}); !d.Equal() {
				t.Errorf("%s changed, %v ignored: %q", tt.path, tt.kind, d.List)
			}
		}
	}
}

func TestKindNames(t *testing.T) {
	if got := 1 << len(kindNames); got != int(diffEnd) {
		t.Errorf("%d names, want one for each kind below %#x", len(kindNames), int(diffEnd))
	}
}

func TestCompareIgnoresAttributes(t *testing.T) {
	a, b := sampleTree(t), sampleTree(t)
	b.Lookup("file.txt").Info.Attributes |= winfile.AttrCompressed
	if d := mustCompare(t, a, b, &CompareOptions{IgnoreAttributes: winfile.AttrCompressed | winfile.AttrSparse}); !d.Equal() {
		t.Errorf("%q", d.List)
	}
}

func TestCompareTakesDefaultSecurity(t *testing.T) {
	a, b := sampleTree(t), sampleTree(t)
	a.Lookup("file.txt").Info.Security, b.Lookup("file.txt").Info.Security = nil, []byte("given by the volume")
	if d := mustCompare(t, a, b, &CompareOptions{DefaultSecurity: true}); !d.Equal() {
		t.Errorf("%q", d.List)
	}
	if d := mustCompare(t, a, b, nil); d.Counts[DiffSecurity] != 1 {
		t.Errorf("%q, want one difference in security", d.List)
	}
	a.Lookup("file.txt").Info.Security = []byte("another")
	if d := mustCompare(t, a, b, &CompareOptions{DefaultSecurity: true}); d.Counts[DiffSecurity] != 1 {
		t.Errorf("%q, want one difference in security", d.List)
	}
}

// source counts what is read of it, and may lie or fail.
type source struct {
	data  string
	err   error
	opens atomic.Int32
}

func (s *source) OpenBlob(*winfile.Blob) (io.ReadCloser, error) {
	s.opens.Add(1)
	return io.NopCloser(strings.NewReader(s.data)), s.err
}

func sourceBlob(data string, known bool, err error) (*winfile.Blob, *source) {
	s := &source{data: data, err: err}
	b := &winfile.Blob{Size: int64(len(data)), Content: s}
	if known {
		b.SHA1 = winfile.NewBlob([]byte(data)).SHA1
	}
	return b, s
}

func fileTree(blobs ...*winfile.Blob) *winfile.Tree {
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	for i, b := range blobs {
		root.Children = append(root.Children, &winfile.Entry{Name: string(rune('a' + i)), Info: &winfile.Info{Links: 1, Data: b}})
	}
	return &winfile.Tree{Root: root}
}

func TestCompareReadsOnlyWhatItMust(t *testing.T) {
	known1, s1 := sourceBlob("same", true, nil)
	known2, s2 := sourceBlob("same", true, nil)
	unknown1, s3 := sourceBlob("other", false, nil)
	unknown2, s4 := sourceBlob("other", false, nil)
	longer, s5 := sourceBlob("longer", false, nil)
	a, b := fileTree(known1, unknown1, known1, unknown1), fileTree(known2, unknown2, known2, longer)
	var n atomic.Int64
	d := mustCompare(t, a, b, &CompareOptions{Progress: func(k int64) { n.Add(k) }})
	if d.Total != 1 || d.Counts[DiffContent] != 1 || d.Bytes != 10 || n.Load() != 10 || d.Blobs != 3 {
		t.Errorf("%+v, progress %d", d, n.Load())
	}
	for i, want := range []int32{0, 0, 1, 1, 0} {
		if got := []*source{s1, s2, s3, s4, s5}[i].opens.Load(); got != want {
			t.Errorf("source %d read %d times, want %d", i, got, want)
		}
	}
	if d = mustCompare(t, a, b, &CompareOptions{ReadBoth: true}); d.Total != 1 || d.Bytes != 4+4+5+5+6 {
		t.Errorf("reading both: %+v", d)
	}
}

// Contents that cannot be read or are not what they claim are all found, not the first only.
func TestCompareReportsAllDamage(t *testing.T) {
	boom := errors.New("boom")
	var left, right []*winfile.Blob
	for i := range 20 {
		var err error
		data := strings.Repeat("x", i+1)
		if i%5 == 0 {
			err = boom
		}
		l, _ := sourceBlob(data, true, nil)
		r, s := sourceBlob(data, true, err)
		switch i {
		case 7:
			s.data = "y" + data[1:] // not what its hash says
		case 8:
			s.data = data[1:] // short
		case 9:
			r.Content = nil
		}
		left, right = append(left, l), append(right, r)
	}
	a, b := fileTree(left...), fileTree(right...)
	if d := mustCompare(t, a, b, nil); !d.Equal() {
		t.Errorf("without reading: %q", d.List)
	}
	d := mustCompare(t, a, b, &CompareOptions{ReadBoth: true})
	var paths []string
	for _, x := range d.List {
		if x.Kind == DiffRead {
			paths = append(paths, x.Path)
		}
	}
	if got := strings.Join(paths, ""); got != "afhijkp" {
		t.Errorf("damaged %q, want afhijkp: %q", got, d.List)
	}
	if d.Counts[DiffContent] != 1 || d.Total != 8 {
		t.Errorf("%v, want 7 unreadable and 1 of other content", d.Counts)
	}
}

func TestCompareCapsItsList(t *testing.T) {
	a, b := sampleTree(t), sampleTree(t)
	for _, e := range b.All() {
		e.Info.Created = 5
	}
	d := mustCompare(t, a, b, &CompareOptions{Limit: 3})
	infos := make(map[*winfile.Info]bool)
	for _, e := range b.All() {
		infos[e.Info] = true
	}
	if len(d.List) != 3 || d.Total != len(infos) || d.Counts[DiffCreated] != len(infos) {
		t.Errorf("%d of %d listed, want 3 of %d", len(d.List), d.Total, len(infos))
	}
}

func TestFilterAndSubtree(t *testing.T) {
	src := sampleTree(t)
	got, n := Filter(src, func(path string, isDir bool) bool {
		return path == "link1" || path == "dir/deep" && isDir || path == "shared1"
	})
	if n != 3 || got.Lookup("dir/deep") != nil || got.Lookup("shared1") != nil || src.Lookup("dir/deep/link1") == nil {
		t.Errorf("dropped %d", n)
	}
	if l := got.Lookup("dir/link2").Info.Links; l != 1 {
		t.Errorf("%d links, want 1", l)
	}
	if l := src.Lookup("dir/link2").Info.Links; l != 3 {
		t.Errorf("the source now has %d links, want 3", l)
	}
	sub, err := Subtree(src, `\DIR`)
	if err != nil {
		t.Fatal(err)
	}
	if sub.Root.Name != "" || sub.Root.ShortName != "" || sub.Lookup("deep/link1").Info != sub.Lookup("link2").Info {
		t.Errorf("%+v", sub.Root)
	}
	if l := sub.Lookup("link2").Info.Links; l != 2 {
		t.Errorf("%d links, want 2", l)
	}
	all, _ := Filter(src, nil)
	report(t, mustCompare(t, src, all, nil))
	for _, path := range []string{"nothing", "file.txt", "junction"} {
		if _, err := Subtree(src, path); err == nil {
			t.Errorf("a subtree of %s", path)
		}
	}
}

func TestDeepTrees(t *testing.T) {
	make := func() *winfile.Tree {
		root := &winfile.Entry{Info: sampleInfo(1, winfile.AttrDirectory)}
		for e, n := root, 0; n < 3000; n++ {
			c := &winfile.Entry{Name: "d", Info: sampleInfo(1, winfile.AttrDirectory)}
			e.Children, e = []*winfile.Entry{c}, c
		}
		return &winfile.Tree{Root: root}
	}
	d, err := Compare(context.Background(), make(), make(), nil)
	if err != nil || d.Total != 0 || d.Paths != 3001 {
		t.Errorf("%+v, %v", d, err)
	}
}
