package ntfs

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"husk/winfile"
)

// TestPointersStayInTheirRecords makes pointers whose names leave less and less room. Windows has short reparse points in records only.
func TestPointersStayInTheirRecords(t *testing.T) {
	m := newTreeMaker(6)
	d := m.dir("links")
	var pointers []*winfile.Info
	for names := range 12 {
		for length := range 30 {
			e := m.file(fmt.Sprintf("%02d-%02d-%s", names, length, strings.Repeat("n", length)), 5000)
			e.Info.Links = int32(names + 1)
			d.Children = append(d.Children, e)
			for k := range names {
				d.Children = append(d.Children, &winfile.Entry{Name: fmt.Sprintf("%02d-%02d-%02d", names, length, k), Info: e.Info})
			}
			pointers = append(pointers, e.Info)
		}
	}
	name, l := buildImage(t, &winfile.Tree{Root: m.dir("", d)}, &BuildOptions{Backing: pointerTo})
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	v := openBytes(t, b)
	for _, p := range problemsOf(t, v) {
		t.Error(p)
	}
	lists := 0
	for _, info := range pointers {
		n := int64(l.files[recordOf(l, info)].record)
		_, attrs, err := v.baseAttrs(n)
		if err != nil {
			t.Fatal(err)
		}
		if findAttr(attrs, typeAttributeList, "") >= 0 {
			lists++
		}
		if i := findAttr(attrs, typeReparsePoint, ""); i < 0 || attrs[i].nonResident() {
			t.Errorf("record %d with %d names: reparse point %d is not resident", n, info.Links, i)
		}
	}
	if lists == 0 || lists == len(pointers) {
		t.Errorf("%d of %d files have attribute lists, want some", lists, len(pointers))
	}
}

// TestAttributeBitsOfTheTree gives files bits that only the volume can decide.
func TestAttributeBitsOfTheTree(t *testing.T) {
	m := newTreeMaker(7)
	file, dir := m.file("file", 5), m.dir("dir")
	file.Info.Attributes = 0x30000000 | winfile.AttrNormal | winfile.AttrSparse | winfile.AttrReparse | winfile.AttrCompressed | winfile.AttrHidden
	dir.Info.Attributes |= 0x30000000 | winfile.AttrReadOnly
	v := openBytes(t, imageOf(t, &winfile.Tree{Root: m.dir("", file, dir)}))
	for _, p := range problemsOf(t, v) {
		t.Error(p)
	}
	_, attrs, err := v.baseAttrs(recRoot)
	if err != nil {
		t.Fatal(err)
	}
	std, name := attrs[findAttr(attrs, typeStandardInformation, "")].value(), fileName(attrs[findAttr(attrs, typeFileName, "")].value())
	if got, want := name.attributes(), winfile.Attributes(le.Uint32(std[0x20:]))|fileNameDirectory; got != want {
		t.Errorf("root: attributes %#x in $FILE_NAME, want %#x", uint32(got), uint32(want))
	}
	tree, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]winfile.Attributes{"file": winfile.AttrHidden, "dir": winfile.AttrDirectory | winfile.AttrReadOnly} {
		if got := tree.Lookup(path).Info.Attributes; got != want {
			t.Errorf("%s: attributes %#x, want %#x", path, uint32(got), uint32(want))
		}
	}
}

// TestSizeOfTheMFT wants the steps in which Windows makes it.
func TestSizeOfTheMFT(t *testing.T) {
	for _, files := range []int{1, 190, 200, 1000} {
		m := newTreeMaker(8)
		root := m.dir("")
		for i := range files {
			root.Children = append(root.Children, m.file(fmt.Sprint(i), 1))
		}
		v := openBytes(t, imageOf(t, &winfile.Tree{Root: root}))
		want := int64(max(256, (firstUserRecord+files+63)/64*64))
		if v.records != want {
			t.Errorf("%d files: %d records, want %d", files, v.records, want)
		}
	}
}

func imageOf(t *testing.T, tr *winfile.Tree) []byte {
	t.Helper()
	name, _ := buildImage(t, tr, nil)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
