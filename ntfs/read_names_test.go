package ntfs

import (
	"context"
	"errors"
	"testing"

	"husk/winfile"
)

// pairVolume has a file with a long and a short name and more links, some in the same folder.
func pairVolume(t *testing.T) []byte {
	t.Helper()
	f := &winfile.Info{Links: 3, Data: winfile.NewBlob([]byte("content"))}
	tr := sampleTree(3)
	tr.Root.Children = append(tr.Root.Children,
		&winfile.Entry{Name: "long name of a file", ShortName: "LONGNA~1", Info: f},
		&winfile.Entry{Name: "other link", Info: f},
		&winfile.Entry{Name: "third link", Info: f})
	l, err := NewLayout(tr, &BuildOptions{Size: 4 << 20, LogSize: minLogSize})
	if err != nil {
		t.Fatal(err)
	}
	w := &memoryVolume{b: make([]byte, l.Size())}
	if err := l.Write(context.Background(), w); err != nil {
		t.Fatal(err)
	}
	return w.b
}

// setNamespace changes the namespace of a name in the root, in its record and in the index.
func (e *editor) setNamespace(name string, namespace byte) {
	e.t.Helper()
	n := e.find(name)
	_, list, err := e.v.baseAttrs(n)
	if err != nil {
		e.t.Fatal(err)
	}
	which := 0
	for _, a := range list {
		if a.typ() != typeFileName {
			continue
		}
		if winfile.NameFromUTF16LE(fileName(a.value()).name()) == name {
			e.attr(n, typeFileName, which, func(a attribute) { a.value()[0x41] = namespace })
		}
		which++
	}
	found := false
	change := func(x nodeEntry) {
		if !x.last() && winfile.NameFromUTF16LE(fileName(x.key()).name()) == name {
			x.key()[0x41], found = namespace, true
		}
	}
	e.attr(recRoot, typeIndexRoot, 0, func(a attribute) {
		entries, _ := nodeEntries(a.value()[16:])
		for _, x := range entries {
			change(x)
		}
	})
	for i := 0; !found; i++ {
		e.index(recRoot, "$I30", i, func(b []byte) {
			entries, _ := nodeEntries(b[0x18:])
			for _, x := range entries {
				change(x)
			}
		})
	}
}

// TestShortNameAlone finds a file by its short name where no long one is left.
func TestShortNameAlone(t *testing.T) {
	e := newEditor(t, pairVolume(t))
	for _, name := range []string{"long name of a file", "other link", "third link"} {
		n := e.find(name)
		_, list, err := e.v.baseAttrs(n)
		if err != nil {
			t.Fatal(err)
		}
		which := 0
		for _, a := range list {
			if a.typ() == typeFileName {
				if winfile.NameFromUTF16LE(fileName(a.value()).name()) == name {
					e.attr(n, typeFileName, which, func(a attribute) { put64(a.value(), int64(makeRef(uint64(e.find("empty")), 1))) })
				}
				which++
			}
		}
	}
	v := openBytes(t, e.b)
	tree, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	part, err := v.Paths(context.Background(), "/")
	if err != nil {
		t.Fatal(err)
	}
	for what, tr := range map[string]*winfile.Tree{"tree": tree, "paths": part} {
		if f := tr.Lookup("LONGNA~1"); f == nil || f.Info.Size() != 7 {
			t.Errorf("%s: the file with a short name alone: %v", what, f)
		}
	}
}

// TestCheckNamePairs grades what is left of pairs of names.
func TestCheckNamePairs(t *testing.T) {
	for _, tt := range []struct {
		name     string
		change   func(*editor)
		severity Severity
		pair     bool
	}{
		{"as built", func(*editor) {}, 0, false},
		{"long name without a short one", func(e *editor) { e.setNamespace("LONGNA~1", namePOSIX) }, SeverityNote, true},
		{"two long names, one short", func(e *editor) { e.setNamespace("other link", nameWin32) }, SeverityNote, true},
		{"short name without a long one", func(e *editor) { e.setNamespace("long name of a file", namePOSIX) }, SeverityWarning, true},
		{"two short names", func(e *editor) { e.setNamespace("other link", nameDOS) }, SeverityWarning, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEditor(t, pairVolume(t))
			tt.change(e)
			found := false
			for _, p := range problemsOf(t, openBytes(t, e.b)) {
				if p.Code != "name-pair" {
					if p.Code != "name-characters" { // the links are no 8.3 names
						t.Errorf("%v", p)
					}
					continue
				}
				if found = true; p.Severity != tt.severity {
					t.Errorf("%v, want severity %v", p, tt.severity)
				}
			}
			if found != tt.pair {
				t.Errorf("name-pair is reported: %t", found)
			}
		})
	}
}

// TestEditRemovesOneLink takes one of two long names in a folder away: the other stays, whoever's the short name is.
func TestEditRemovesOneLink(t *testing.T) {
	for _, gone := range []string{"LONGNA~1", "other link", "long name of a file"} {
		e := newEditor(t, pairVolume(t))
		e.setNamespace("other link", nameWin32)
		e.setNamespace("third link", nameWin32)
		d := newMemoryDevice(e.b)
		x := openEdit(t, d, &memoryJournal{})
		if err := errors.Join(x.Remove(gone), x.Close()); err != nil {
			t.Fatal(err)
		}
		v := openDevice(t, d)
		for _, name := range []string{"LONGNA~1", "other link", "long name of a file", "third link"} {
			if _, ok, err := v.Lookup(name); err != nil || ok == (name == gone) {
				t.Errorf("%s was removed: %s is there: %t, %v", gone, name, ok, err)
			}
		}
	}
}
