package ntfs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"husk/winfile"
)

// The reader finds nothing wrong with what the builder writes, and gives the tree back: all of it.
func TestReaderGivesTheTreeBack(t *testing.T) {
	for _, g := range [][2]int{{512, 512}, {512, 4096}, {512, 65536}, {4096, 4096}} {
		t.Run(fmt.Sprintf("%d-%d", g[0], g[1]), func(t *testing.T) {
			tr := newTreeMaker(20).fullTree(600)
			name, l := buildImage(t, tr, &BuildOptions{SectorSize: g[0], ClusterSize: g[1], Label: "数据"})
			v := openImage(t, name, l.Size())
			checkReads(t, v, tr)
		})
	}
	for seed := range uint64(20) {
		m := newTreeMaker(100 + seed)
		tr := m.randomTree(300)
		name, l := buildImage(t, tr, nil)
		forgetShortNames(tr, l)
		checkReads(t, openImage(t, name, l.Size()), tr)
		if t.Failed() {
			t.Fatalf("seed %d", 100+seed)
		}
	}
}

// Pointers read back as reparse points over a hole.
func TestReaderGivesPointersBack(t *testing.T) {
	tr := newTreeMaker(21).fullTree(600)
	name, l := buildImage(t, tr, &BuildOptions{Backing: backEven})
	v := openImage(t, name, l.Size())
	checkFindsNothing(t, v)
	got, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for path, e := range tr.All() {
		if e.Info.Data == nil || e.Info.Reparse != nil || e.Info.Data.Size%2 != 0 || strings.HasPrefix(path, "Names and more names/case/") {
			continue
		}
		seen++
		have := got.Lookup(path)
		if have == nil || have.Info.Reparse == nil || !bytes.Equal(have.Info.Reparse.Buffer(), pointerTo(e.Info)) || have.Info.Size() != e.Info.Size() {
			t.Errorf("%q is no pointer", path)
		}
	}
	if seen < 100 {
		t.Errorf("%d pointers in the tree", seen)
	}
}

func openImage(t *testing.T, name string, size int64) *Volume {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	v, err := NewReader(f, size)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// checkFindsNothing lets names pass that differ in case alone: the tests' trees have some, as those of other systems do.
func checkFindsNothing(t testing.TB, v *Volume) {
	t.Helper()
	for _, p := range problemsOf(t, v) {
		if p.Code != "name-case" {
			t.Errorf("problem: %v", p)
		}
	}
}

func checkReads(t *testing.T, v *Volume, want *winfile.Tree) {
	t.Helper()
	checkFindsNothing(t, v)
	got, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	compareEntries(t, "", got.Root, want.Root)
	if g, w := got.Totals(), want.Totals(); g != w {
		t.Errorf("totals %+v, want %+v", g, w)
	}
	if w := v.Warnings(); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
}

func forgetShortNames(tr *winfile.Tree, l *Layout) {
	dropped := droppedShortNames(l)
	for path, e := range tr.All() {
		if dropped["/"+path+" short"] {
			e.ShortName = ""
		}
	}
}

func compareEntries(t *testing.T, path string, got, want *winfile.Entry) {
	t.Helper()
	if got.ShortName != want.ShortName {
		t.Errorf("%q: short name %q, want %q", path, got.ShortName, want.ShortName)
	}
	compareInfos(t, path, got.Info, want.Info)
	if len(got.Children) != len(want.Children) {
		t.Errorf("%q: %d children, want %d", path, len(got.Children), len(want.Children))
	}
	byName := make(map[string]*winfile.Entry)
	for _, c := range got.Children {
		byName[c.Name] = c
	}
	for _, c := range want.Children {
		if byName[c.Name] == nil {
			t.Errorf("%q is missing", path+"/"+c.Name)
			continue
		}
		compareEntries(t, path+"/"+c.Name, byName[c.Name], c)
	}
}

func compareInfos(t *testing.T, path string, got, want *winfile.Info) {
	t.Helper()
	a := want.Attributes &^ (winfile.AttrNormal | winfile.AttrSparse)
	if a&winfile.AttrDirectory == 0 {
		a &^= winfile.AttrCompressed
	}
	changed := want.Changed
	if changed == 0 {
		changed = want.Written
	}
	if got.Attributes != a {
		t.Errorf("%q: attributes %v, want %v", path, got.Attributes, a)
	}
	if got.Created != want.Created || got.Written != want.Written || got.Accessed != want.Accessed || got.Changed != changed || got.Links != want.Links {
		t.Errorf("%q: times or links differ: %+v, want %+v", path, got, want)
	}
	if want.Security != nil && !bytes.Equal(got.Security, want.Security) {
		t.Errorf("%q: security descriptor differs", path)
	}
	compareBlobs(t, path, got.Data, want.Data)
	if len(got.Streams) != len(want.Streams) {
		t.Errorf("%q: %d streams, want %d", path, len(got.Streams), len(want.Streams))
	}
	for _, s := range want.Streams {
		i := slices.IndexFunc(got.Streams, func(g winfile.Stream) bool { return g.Name == s.Name })
		if i < 0 {
			t.Errorf("%q: stream %q is missing", path, s.Name)
			continue
		}
		compareBlobs(t, path+":"+s.Name, got.Streams[i].Data, s.Data)
	}
	if (got.Reparse == nil) != (want.Reparse == nil) || want.Reparse != nil && !bytes.Equal(got.Reparse.Buffer(), want.Reparse.Buffer()) {
		t.Errorf("%q: reparse point %+v, want %+v", path, got.Reparse, want.Reparse)
	}
	var g, w winfile.Extra
	if got.Extra != nil {
		g = *got.Extra
	}
	if want.Extra != nil {
		w = *want.Extra
	}
	if !bytes.Equal(fullObjectID(g.ObjectID), fullObjectID(w.ObjectID)) {
		t.Errorf("%q: object id %x, want %x", path, g.ObjectID, w.ObjectID)
	}
	if !slices.EqualFunc(g.EAs, w.EAs, func(a, b winfile.EA) bool {
		return a.Flags == b.Flags && a.Name == b.Name && bytes.Equal(a.Value, b.Value)
	}) {
		t.Errorf("%q: extended attributes %+v, want %+v", path, g.EAs, w.EAs)
	}
}

// fullObjectID has the ids of its birth, zero if there are none.
func fullObjectID(id []byte) []byte {
	if id == nil {
		return nil
	}
	return append(bytes.Clone(id), make([]byte, 64-len(id))...)
}

func compareBlobs(t *testing.T, path string, got, want *winfile.Blob) {
	t.Helper()
	g, err := got.ReadAll(1 << 30)
	if err != nil {
		t.Errorf("%q: %v", path, err)
		return
	}
	w, err := want.ReadAll(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		t.Errorf("%q: content of %d bytes differs from %d", path, len(g), len(w))
	}
}
