package wim

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/cutfile"
	"husk/internal/reftool"
	"husk/winfile"
)

// propertyTree is a tree of one file.
func propertyTree(text string) *winfile.Tree {
	dir := &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}
	file := &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Data: winfile.NewBlob([]byte(text))}
	return &winfile.Tree{Root: &winfile.Entry{Info: dir, Children: []*winfile.Entry{{Name: "file.txt", Info: file}}}}
}

func propertyWIM(t *testing.T, f WriteTarget, integrity bool) {
	t.Helper()
	w, err := Create(f, &WriterOptions{Integrity: integrity})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		info := ImageInfo{Name: name, Properties: map[string]string{"HUSK/SYSTEM": "x64 & <" + name + ">", "HUSK/POINT": name}}
		if err := w.AddImage(context.Background(), propertyTree("content of "+name), info); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSetProperties(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.wim")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	propertyWIM(t, f, true)
	size := func() int64 {
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	before, err := NewReader(f, size())
	if err != nil {
		t.Fatal(err)
	}
	changes := map[int]map[string]string{2: {"NAME": "second", "HUSK/POINT": "", "HUSK/NOTE": "补丁 May\n2nd line", "FLAGS": "Ultimate"}}
	if err := SetProperties(f, size(), changes); err != nil {
		t.Fatal(err)
	}
	after, err := NewReader(f, size())
	if err != nil {
		t.Fatal(err)
	}
	if after.BlobTableSHA1() != before.BlobTableSHA1() {
		t.Error("the blob table changed")
	}
	one, two := after.Images()[0].Info(), after.Images()[1].Info()
	if want := map[string]string{"HUSK/SYSTEM": "x64 & <one>", "HUSK/POINT": "one"}; !maps.Equal(one.Properties, want) || one.Name != "one" {
		t.Errorf("image 1 is %q with %q, want %q", one.Name, one.Properties, want)
	}
	if want := map[string]string{"HUSK/SYSTEM": "x64 & <two>", "HUSK/NOTE": "补丁 May\n2nd line"}; !maps.Equal(two.Properties, want) || two.Name != "second" || two.Flags != "Ultimate" {
		t.Errorf("image 2 is %q, %q with %q, want %q", two.Name, two.Flags, two.Properties, want)
	}
	if result, err := after.Verify(context.Background(), nil); err != nil || result.Err() != nil {
		t.Error(err, result.Err())
	}
	reftool.Run(t, "wimlib-imagex", "verify", name)
	out := reftool.Run(t, "wimlib-imagex", "info", name, "2")
	for _, want := range []string{"second", "Ultimate"} {
		if !strings.Contains(out, want) {
			t.Errorf("wimlib does not show %q in\n%s", want, out)
		}
	}
	for _, bad := range []map[int]map[string]string{{3: {"NAME": "x"}}, {1: {"A//B": "x"}}, {1: {"1A": "x"}}, {1: {"A": "\x00"}}, {1: {"<A>": "x"}}} {
		if err := SetProperties(f, size(), bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

func TestSetPropertiesCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	start := cutfile.New(nil)
	propertyWIM(t, start, false)
	file := cutfile.New(start.Bytes())
	names := make(map[string]int)
	look := func() {
		for range 4 {
			cut := file.Cut(rng)
			r, err := NewReader(cut, cut.Size())
			if err != nil {
				t.Fatal(err)
			}
			names[r.Images()[0].Name()]++
		}
	}
	file.Hook = look
	if err := SetProperties(file, file.Size(), map[int]map[string]string{1: {"NAME": "new"}}); err != nil {
		t.Fatal(err)
	}
	if names["one"] == 0 || names["new"] == 0 || len(names) != 2 {
		t.Errorf("cuts left the names %v, want some of the old and some of the new", names)
	}
}
