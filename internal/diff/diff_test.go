package diff

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/regf"
	"husk/winfile"
)

// dir is a folder of a test tree.
func dir(name string, children ...*winfile.Entry) *winfile.Entry {
	return &winfile.Entry{Name: name, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1, Created: 1}, Children: children}
}

func file(name, content string, created winfile.Filetime) *winfile.Entry {
	return &winfile.Entry{Name: name, Info: &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Created: created, Data: winfile.NewBlob([]byte(content))}}
}

func kinds(r *Result) map[string]Kind {
	m := make(map[string]Kind)
	for _, x := range r.Changes {
		m[x.Path] = x.Kind
	}
	return m
}

func TestTrees(t *testing.T) {
	before := &winfile.Tree{Root: dir("", dir("a", file("same", "1", 5), file("moved", "22", 6), file("gone", "333", 7), file("twin", "22", 8)),
		dir("old", file("x", "4444", 9)), file("meta", "5", 10), file("became", "6", 11))}
	after := &winfile.Tree{Root: dir("", dir("a", file("same", "2", 5)), dir("b", file("moved", "22", 6), file("new", "22", 99)),
		file("meta", "5", 11), dir("became", file("below", "7", 12)))}
	r, err := Trees(context.Background(), before, after, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Kind{
		"a/same": Changed, "a/gone": Removed, "a/twin": Removed, "b": Added, "b/moved": Renamed, "b/new": Added, "old": Removed, "old/x": Removed,
		"meta": Changed, "became": Changed, "became/below": Added,
	}
	if d := cmp.Diff(want, kinds(r)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Sum{Added: 3, AddedBytes: 3, Removed: 4, RemovedBytes: 9, Changed: 3, Metadata: 1, Renamed: 1, ChangedBytes: 1}, r.Sum); d != "" {
		t.Error(d)
	}
	for _, x := range r.Changes {
		if x.Kind == Renamed && x.From != "a/moved" {
			t.Errorf("renamed from %s", x.From)
		}
	}
	r, err = Trees(context.Background(), before, after, &Options{Content: true, Paths: []string{"/meta", `\A\s*`}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]Kind{"a/same": Changed}, kinds(r)); d != "" {
		t.Error(d)
	}
	if r, err = Trees(context.Background(), before, before, nil); err != nil || !r.Equal() {
		t.Errorf("%v, %v", r, err)
	}
}

// TestPointers compares contents that cannot be read and whose SHA-1 is known.
func TestPointers(t *testing.T) {
	known := func(sum byte) *winfile.Tree {
		f := file("f", "x", 1)
		f.Info.Data = &winfile.Blob{Size: 7}
		f.Info.Data.SHA1[0] = sum
		return &winfile.Tree{Root: dir("", f)}
	}
	r, err := Trees(context.Background(), known(1), known(1), nil)
	if err != nil || !r.Equal() || r.Read != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = Trees(context.Background(), known(1), known(2), nil); err != nil || r.Changed != 1 || r.Unreadable != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRegistry(t *testing.T) {
	tree := func(fill func(root *regf.Key)) *winfile.Tree {
		h, err := regf.New(5, "ROOT")
		if err != nil {
			t.Fatal(err)
		}
		fill(h.Root())
		b, err := h.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return &winfile.Tree{Root: dir("", dir("Users", dir("me", file("NTUSER.DAT", string(b), 1))), dir("x", file("SYSTEM", "no hive, and not at its place", 1)))}
	}
	set := func(k *regf.Key, path, name string, n uint32) {
		k, err := k.Create(path)
		if err == nil {
			err = k.SetDWord(name, n)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := tree(func(k *regf.Key) { set(k, `A\B`, "v", 1); set(k, "A", "gone", 2); set(k, "Old", "w", 3) })
	after := tree(func(k *regf.Key) { set(k, `a\b`, "V", 9); set(k, `New\Deep`, "w", 4) })
	var got []string
	hives, bad, err := Registry(context.Background(), before, after, func(x *RegChange) error {
		s := string(x.Kind) + " " + x.Key
		if x.Value != nil {
			s += ":" + *x.Value
		}
		got = append(got, s)
		return nil
	})
	if err != nil || hives != 1 || len(bad) > 0 {
		t.Fatalf("%d hives, %v, %v", hives, bad, err)
	}
	want := []string{`removed A:gone`, `changed a\b:V`, `removed Old`, `removed Old:w`, `added New`, `added New\Deep`, `added New\Deep:w`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
