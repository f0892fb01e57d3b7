package wim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// describe writes down everything that metadata keeps, one line per name.
func describe(t testing.TB, tree *winfile.Tree) []string {
	t.Helper()
	hash := func(b *winfile.Blob) string {
		if b == nil {
			return "-"
		}
		if b.SHA1 == (winfile.SHA1{}) {
			t.Error("a blob without SHA-1")
		}
		return fmt.Sprintf("%s/%d", b.SHA1, b.Size)
	}
	ids := make(map[*winfile.Info]int)
	var lines []string
	for path, e := range tree.All() {
		i := e.Info
		if _, ok := ids[i]; !ok {
			ids[i] = len(ids)
		}
		line := fmt.Sprintf("%q short %q file %d links %d attr %#x times %d %d %d sd %x data %s", path, e.ShortName, ids[i], i.Links,
			uint32(i.Attributes), i.Created, i.Written, i.Accessed, i.Security, hash(i.Data))
		if r := i.Reparse; r != nil {
			line += fmt.Sprintf(" reparse %#x %d %t %x", r.Tag, r.Reserved, r.NotFixed, r.Data)
		}
		for _, s := range i.Streams {
			line += fmt.Sprintf(" stream %q %s", s.Name, hash(s.Data))
		}
		if x := i.Extra; x != nil {
			line += fmt.Sprintf(" id %x eas %q efs %s items %x unknown %d", x.ObjectID, x.EAs, hash(x.EFS), x.Items, x.Unknown)
			if x.Unix != nil {
				line += fmt.Sprintf(" unix %+v", *x.Unix)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func sameTree(t testing.TB, got, want *winfile.Tree) {
	t.Helper()
	g, w := describe(t, got), describe(t, want)
	for i := range max(len(g), len(w)) {
		switch {
		case i >= len(g):
			t.Errorf("missing: %s", w[i])
		case i >= len(w):
			t.Errorf("too many: %s", g[i])
		case g[i] != w[i]:
			t.Errorf("got  %s\nwant %s", g[i], w[i])
		}
	}
}

// sortTree puts children in the order of writing.
func sortTree(e *winfile.Entry) {
	slices.SortFunc(e.Children, func(a, b *winfile.Entry) int {
		return winfile.CompareFold(winfile.UTF16FromName(a.Name), winfile.UTF16FromName(b.Name))
	})
	for _, c := range e.Children {
		sortTree(c)
	}
}

// selfRelative is a valid security descriptor: owner and group SYSTEM, and a DACL for everyone with one access mask.
func selfRelative(mask byte) []byte {
	system := []byte{1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0}
	everyone := []byte{1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}
	b := []byte{1, 0, 4, 0x80, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0}
	b = append(append(b, system...), system...)
	b = append(b, 2, 0, 28, 0, 1, 0, 0, 0, 0, 0, 20, 0, mask, 0, 0x12, 0)
	return append(b, everyone...)
}

func utf16le(s string) []byte { return winfile.AppendUTF16LE(nil, s) }

// symlink is the data of a relative symbolic link.
func symlink(target string) []byte {
	u := utf16le(target)
	var b []byte
	for _, n := range []int{0, len(u), len(u), len(u)} {
		b = le.AppendUint16(b, uint16(n))
	}
	b = le.AppendUint32(b, 1)
	return append(append(b, u...), u...)
}

// junction is the data of a junction.
func junction(target string) []byte {
	sub, show := utf16le(`\??\`+target), utf16le(target)
	var b []byte
	for _, n := range []int{0, len(sub), len(sub) + 2, len(show)} {
		b = le.AppendUint16(b, uint16(n))
	}
	b = append(append(b, sub...), 0, 0)
	return append(append(b, show...), 0, 0)
}

// richTree has what an NTFS volume can hold and libntfs-3g can write.
func richTree() (*winfile.Tree, *unread) {
	t, u := treeOf(map[string][]byte{
		"Program Files/Long Name Here.txt": []byte("long"), "Program Files/empty": nil, "a": []byte("lower"), "b/c/d": prose(1, 9000),
		"中文目录/文件.txt": []byte("文"), "streams": []byte("main"), "nodata": nil, "link": nil, "empty dir/x": nil,
	})
	sd := [][]byte{selfRelative(1), selfRelative(2)}
	n := winfile.Filetime(0)
	for _, e := range t.All() {
		e.Info.Security = sd[n%2]
		e.Info.Created += n * 10_000_000
		e.Info.Written += n * 7
		e.Info.Accessed += n * 3
		n++
	}
	t.Lookup("empty dir").Children = nil
	t.Lookup("Program Files").ShortName = "PROGRA~1"
	t.Lookup("Program Files/Long Name Here.txt").ShortName = "LONGNA~1.TXT"
	file := t.Lookup("b/c/d")
	file.Info.Attributes = winfile.AttrReadOnly | winfile.AttrHidden | winfile.AttrSystem | winfile.AttrNotIndexed
	file.Info.Links = 3
	t.Lookup("b").Children = append(t.Lookup("b").Children, &winfile.Entry{Name: "hard", Info: file.Info})
	t.Root.Children = append(t.Root.Children, &winfile.Entry{Name: "hard link", ShortName: "HARDLI~1", Info: file.Info})
	t.Lookup("streams").Info.Streams = []winfile.Stream{{Name: "Zone.Identifier", Data: u.add([]byte("[ZoneTransfer]"))}, {Name: "流", Data: nil}}
	t.Lookup("nodata").Info.Streams = []winfile.Stream{{Name: "only", Data: u.add(prose(5, 5000))}}
	t.Lookup("b").Info.Streams = []winfile.Stream{{Name: "of a directory", Data: u.add([]byte("x"))}}
	l := t.Lookup("link").Info
	l.Attributes |= winfile.AttrReparse
	l.Reparse = &winfile.Reparse{Tag: winfile.TagSymlink, Data: symlink(`b\c\d`), NotFixed: true}
	j := &winfile.Info{Attributes: winfile.AttrDirectory | winfile.AttrReparse | winfile.AttrHidden, Created: n, Written: n, Accessed: n, Links: 1,
		Security: sd[0], Reparse: &winfile.Reparse{Tag: winfile.TagMountPoint, Data: junction(`C:\Program Files`), NotFixed: true}}
	t.Root.Children = append(t.Root.Children, &winfile.Entry{Name: "Documents and Settings", Info: j},
		&winfile.Entry{Name: "A", Info: &winfile.Info{Attributes: winfile.AttrArchive, Created: 1, Written: 2, Accessed: 3, Links: 1,
			Security: sd[1], Data: u.add([]byte("upper"))}},
		&winfile.Entry{Name: "lone \xed\xa0\xbd surrogate", Info: &winfile.Info{Attributes: winfile.AttrArchive, Created: 1, Written: 2,
			Accessed: 3, Links: 1, Security: sd[1], Data: u.add([]byte("lone"))}})
	sortTree(t.Root)
	return t, u
}

// exoticTree has what only the format can hold, beside the rich ones.
func exoticTree() *winfile.Tree {
	t, u := richTree()
	t.Lookup("a").Info.Extra = &winfile.Extra{ObjectID: bytes.Repeat([]byte{7}, 16), Unknown: 99,
		EAs:   []winfile.EA{{Name: "$CI.CATALOGHINT", Value: []byte("hint")}, {Flags: 0x80, Name: "B", Value: []byte{}}},
		Unix:  &winfile.Unix{UID: 1, GID: 2, Mode: 0o100644, Rdev: 3},
		Items: []winfile.TaggedItem{{Tag: 0x1234, Data: []byte("unknown item")}, {Tag: 0x337dd874, Data: []byte{1, 0, 0, 0}}}}
	t.Lookup("A").Info.Extra = &winfile.Extra{ObjectID: bytes.Repeat([]byte{9}, 64)}
	e := t.Lookup("streams").Info
	e.Attributes |= winfile.AttrEncrypted
	e.Extra = &winfile.Extra{EFS: e.Data}
	e.Data, e.Streams = nil, nil
	l := t.Lookup("link").Info
	l.Reparse.Reserved, l.Reparse.NotFixed = 5, false
	l.Streams = []winfile.Stream{{Name: "s", Data: u.add([]byte("s of a link"))}}
	t.Lookup("Program Files").Info.Extra = &winfile.Extra{Items: []winfile.TaggedItem{{Tag: 77, Data: []byte{}}}}
	sortTree(t.Root)
	return t
}

func writeTree(t testing.TB, tree *winfile.Tree, opts WriterOptions) *memFile {
	t.Helper()
	f := &memFile{writes: -1}
	w, err := Create(f, &opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.AddImage(context.Background(), tree, ImageInfo{Name: "镜像 一"}), w.Close()); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestMetadataRoundTrip(t *testing.T) {
	tree := exoticTree()
	f := writeTree(t, tree, fixed)
	got := mustTree(t, f.reader(t).Images()[0])
	sameTree(t, got, tree)
	again := writeTree(t, got, fixed)
	if !bytes.Equal(f.b, again.b) {
		t.Error("what was read is written differently")
	}
	if b, err := fsReadFile(f.reader(t), "lone \xed\xa0\xbd surrogate"); err != nil || string(b) != "lone" {
		t.Errorf("unpaired surrogate: %q, %v", b, err)
	}
}

func fsReadFile(r *Reader, name string) ([]byte, error) {
	f, err := r.Images()[0].Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(f)
	return b.Bytes(), err
}

// TestMetadataThroughWimlib lets wimlib decode our metadata and encode it again.
func TestMetadataThroughWimlib(t *testing.T) {
	tree := exoticTree()
	tree.Root.Children = append(tree.Root.Children, &winfile.Entry{Name: "zz", Info: &winfile.Info{Links: 1, Attributes: winfile.AttrArchive}})
	name := save(t, writeTree(t, tree, fixed))
	before := openTest(t, name)
	reftool.Run(t, "wimlib-imagex", "update", name, "1", "--command=delete /zz")
	r := openTest(t, name)
	if r.Images()[0].MetadataSHA1() == before.Images()[0].MetadataSHA1() {
		t.Fatal("wimlib did not write the metadata")
	}
	tree.Root.Children = tree.Root.Children[:len(tree.Root.Children)-1]
	got := mustTree(t, r.Images()[0])
	sortTree(got.Root) // wimlib's upper case is newer than that of NTFS
	sameTree(t, got, tree)
	list := reftool.Run(t, "wimlib-imagex", "dir", name, "1", "--detailed")
	for _, want := range []string{"镜像 一", "PROGRA~1", "of a directory", "0xa000000c", "Documents and Settings"} {
		if !strings.Contains(list+reftool.Run(t, "wimlib-imagex", "info", name), want) {
			t.Errorf("wimlib's listing lacks %s", want)
		}
	}
	ours, theirs := before.Images()[0].Info(), r.Images()[0].Info()
	zero := ours // wimlib recounts after the update, one empty file less
	zero.Files, zero.Modified = ours.Files-1, theirs.Modified
	if !reflect.DeepEqual(zero, theirs) {
		t.Errorf("wimlib counts %+v, we %+v", theirs, ours)
	}
}

// TestMetadataThroughNTFS applies our WIM to an NTFS volume with wimlib and libntfs-3g, and captures it again.
func TestMetadataThroughNTFS(t *testing.T) {
	tree, _ := richTree()
	for _, e := range tree.All() { // libntfs-3g makes no names with unpaired surrogates
		e.Children = slices.DeleteFunc(e.Children, func(c *winfile.Entry) bool { return strings.HasPrefix(c.Name, "lone") })
	}
	dir := t.TempDir()
	volume, name := filepath.Join(dir, "volume"), filepath.Join(dir, "ours.wim")
	if err := os.WriteFile(name, writeTree(t, tree, fixed).b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(volume, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(volume, 16<<20); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "mkntfs", "-F", "-Q", "-q", volume)
	reftool.Run(t, "wimlib-imagex", "apply", name, "1", volume, "--strict-acls")
	back := filepath.Join(dir, "back.wim")
	reftool.Run(t, "wimlib-imagex", "capture", volume, back, "--compress=xpress", "--strict-acls")
	r := openTest(t, back)
	got := mustTree(t, r.Images()[0])
	sortTree(got.Root)
	for _, e := range got.All() { // NTFS keeps the order of streams to itself
		slices.SortFunc(e.Info.Streams, func(a, b winfile.Stream) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, e := range tree.All() {
		if e.Info.Reparse != nil {
			e.Info.Reparse.NotFixed = false // wimlib before 1.14.5
		}
	}
	sameTree(t, got, tree)
	verifyClean(t, r)
}

// TestStreamPlacement holds the rules that Windows Setup and DISM want: which streams an entry has, and where.
func TestStreamPlacement(t *testing.T) {
	type placed struct {
		main   string
		extras string // name:content, separated by spaces
	}
	for _, tt := range []struct {
		name                    string
		dir, reparse, encrypted bool
		data                    string
		streams                 []string
		want                    placed
	}{
		{"empty file", false, false, false, "", nil, placed{"", ""}},
		{"file", false, false, false, "d", nil, placed{"d", ""}},
		{"file with a stream", false, false, false, "d", []string{"s"}, placed{"", ":d s:s"}},
		{"empty file with a stream", false, false, false, "", []string{"s"}, placed{"", ": s:s"}},
		{"file with two streams", false, false, false, "d", []string{"s", "t"}, placed{"", ":d s:s t:t"}},
		{"empty file with two streams", false, false, false, "", []string{"t", "s"}, placed{"", ": t:t s:s"}},
		{"file link", false, true, false, "", nil, placed{"", ":r :"}},
		{"file link with data", false, true, false, "d", nil, placed{"", ":r :d"}},
		{"file link with a stream", false, true, false, "", []string{"s"}, placed{"", ":r : s:s"}},
		{"file link with data and two streams", false, true, false, "d", []string{"s", "t"}, placed{"", ":r :d s:s t:t"}},
		{"directory", true, false, false, "", nil, placed{"", ""}},
		{"directory with a stream (wimlib up to 1.14.1)", true, false, false, "", []string{"s"}, placed{"", "s:s"}},
		{"directory with two streams", true, false, false, "", []string{"s", "t"}, placed{"", "s:s t:t"}},
		{"junction (wimlib up to 1.14.1)", true, true, false, "", nil, placed{"r", ""}},
		{"junction with a stream", true, true, false, "", []string{"s"}, placed{"", ":r s:s"}},
		{"encrypted file", false, false, true, "e", nil, placed{"e", ""}},
		{"encrypted directory", true, false, true, "e", nil, placed{"e", ""}},
		{"encrypted empty file", false, false, true, "", nil, placed{"", ""}},
		{"encrypted reparse point", false, true, true, "e", nil, placed{"e", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			blob := func(s string) *winfile.Blob { return winfile.NewBlob([]byte(s)) }
			i := &winfile.Info{Links: 1}
			if tt.dir {
				i.Attributes |= winfile.AttrDirectory
			}
			if tt.reparse {
				i.Attributes |= winfile.AttrReparse
				i.Reparse = &winfile.Reparse{Tag: 0x80001234, Data: []byte("r")}
				if tt.encrypted {
					i.Reparse.Data = nil
				}
			}
			if tt.encrypted {
				i.Attributes |= winfile.AttrEncrypted
				if tt.data != "" {
					i.Extra = &winfile.Extra{EFS: blob(tt.data)}
				}
			} else {
				i.Data = blob(tt.data)
			}
			for _, s := range tt.streams {
				i.Streams = append(i.Streams, winfile.Stream{Name: s, Data: blob(s)})
			}
			f := &planFile{info: i}
			if err := f.check(); err != nil {
				t.Fatal(err)
			}
			names := map[winfile.SHA1]string{{}: ""}
			for b := range f.blobs() {
				data, err := b.ReadAll(10)
				if err != nil {
					t.Fatal(err)
				}
				names[b.SHA1] = string(data)
			}
			main, extras := f.streams()
			var list []string
			for _, s := range extras {
				list = append(list, s.name+":"+names[s.hash])
			}
			if got := (placed{names[main], strings.Join(list, " ")}); got != tt.want {
				t.Errorf("placed %q, want %q", got, tt.want)
			}
			tree := &winfile.Tree{Root: &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}}
			tree.Root.Children = []*winfile.Entry{{Name: "x", Info: i}}
			sameTree(t, mustTree(t, writeTree(t, tree, fixed).reader(t).Images()[0]), tree)
		})
	}
}

// rawImage makes metadata by hand.
type rawImage struct{ b []byte }

// list appends a list of entries and returns its offset.
func (m *rawImage) list(entries ...[]byte) uint64 {
	at := uint64(len(m.b))
	for _, e := range entries {
		m.b = append(m.b, e...)
	}
	m.b = append(m.b, 0, 0, 0, 0, 0, 0, 0, 0)
	return at
}

// rawDentry makes an entry; change may set its fields.
func rawDentry(name string, attr uint32, change func(d []byte), streams ...rawStream) []byte {
	e := &encoder{}
	e.b = make([]byte, dentrySize)
	u := winfile.UTF16FromName(name)
	le.PutUint32(e.b[8:], attr)
	le.PutUint32(e.b[0xc:], noSecurity)
	le.PutUint16(e.b[0x60:], uint16(len(streams)))
	le.PutUint16(e.b[0x64:], uint16(2*len(u)))
	e.name(u)
	e.pad()
	le.PutUint64(e.b, uint64(len(e.b)))
	if change != nil {
		change(e.b)
	}
	for _, s := range streams {
		e.stream(s)
	}
	return e.b
}

// decodeRaw decodes metadata in which every blob is known.
func decodeRaw(b []byte) (*winfile.Tree, []string, error) {
	blobs := make(map[winfile.SHA1]*winfile.Blob)
	d := &treeDecoder{image: &Image{Index: 1}, raw: b, blobs: func(h winfile.SHA1) *winfile.Blob {
		if blobs[h] == nil {
			blobs[h] = &winfile.Blob{Size: 1, SHA1: h}
		}
		return blobs[h]
	}}
	t, err := d.tree()
	return t, d.warnings, err
}

// withRoot makes metadata of a root directory and one list.
func withRoot(entries ...[]byte) []byte {
	m := &rawImage{b: []byte{8, 0, 0, 0, 0, 0, 0, 0}}
	root := rawDentry("", uint32(winfile.AttrDirectory), nil)
	m.list(root)
	at := m.list(entries...)
	le.PutUint64(m.b[8+0x10:], at)
	return m.b
}

func TestOddMetadata(t *testing.T) {
	h := func(n byte) winfile.SHA1 { return winfile.SHA1{n} }
	hashed := func(n byte, group uint64) func([]byte) {
		return func(d []byte) { d[0x40] = n; le.PutUint64(d[0x58:], group) }
	}
	for _, tt := range []struct {
		name     string
		raw      []byte
		names    string
		warnings int
		check    func(t *testing.T, tree *winfile.Tree)
	}{
		{"dropped names", withRoot(rawDentry("ok", 0, nil), rawDentry("", 0, nil), rawDentry(".", 0, nil), rawDentry("..", 0, nil),
			rawDentry("a/b", 0, nil), rawDentry(`a\b`, 0, nil), rawDentry("a\x00b", 0, nil), rawDentry("ok", 0, nil), rawDentry("OK", 0, nil)),
			"ok OK", 7, nil},
		{"group numbers used twice (Windows 7 install.wim)",
			withRoot(rawDentry("a", 0, hashed(1, 5)), rawDentry("b", 0, hashed(2, 5)), rawDentry("c", 0, hashed(1, 5)), rawDentry("d", 0, hashed(0, 5)),
				rawDentry("e", 0, hashed(0, 5)), rawDentry("f", 0, hashed(1, 0))),
			"a b c d e f", 0, func(t *testing.T, tree *winfile.Tree) {
				of := func(name string) *winfile.Info { return tree.Lookup(name).Info }
				if of("a") != of("c") || of("a") == of("b") || of("d") != of("e") || of("a") == of("f") || of("a").Links != 2 || of("b").Links != 1 {
					t.Error("wrong groups")
				}
			}},
		{"main hash and named extras (wimlib)", withRoot(rawDentry("a", 0, hashed(1, 0), rawStream{"s", h(2)}, rawStream{"", h(3)})), "a", 0,
			func(t *testing.T, tree *winfile.Tree) {
				i := tree.Lookup("a").Info
				if i.Data.SHA1 != h(1) || len(i.Streams) != 1 || i.Streams[0].Data.SHA1 != h(2) {
					t.Errorf("%+v", i)
				}
			}},
		{"named between unnamed (DISM)", withRoot(rawDentry("a", 0x400, nil, rawStream{"", h(1)}, rawStream{"s", h(2)}, rawStream{"", h(3)})), "a", 0,
			func(t *testing.T, tree *winfile.Tree) {
				if i := tree.Lookup("a").Info; i.Data.SHA1 != h(3) || len(i.Streams) != 1 || i.Reparse == nil {
					t.Errorf("%+v", i)
				}
			}},
		{"encrypted with named streams (WIMGAPI)", withRoot(rawDentry("a", 0x4000, nil, rawStream{"s", h(2)}, rawStream{"", h(0)}, rawStream{"", h(3)})), "a", 0,
			func(t *testing.T, tree *winfile.Tree) {
				if i := tree.Lookup("a").Info; i.Data != nil || len(i.Streams) != 0 || i.Extra.EFS.SHA1 != h(3) {
					t.Errorf("%+v", i)
				}
			}},
		{"directory with data", withRoot(rawDentry("a", 0x10, hashed(1, 0))), "a", 1, nil},
		{"security id too large", withRoot(rawDentry("a", 0, func(d []byte) { le.PutUint32(d[0xc:], 7) })), "a", 1, nil},
		{"no root", []byte{8, 0, 0, 0, 0, 0, 0, 0}, "", 1, nil},
		{"security length 0", append(make([]byte, 8), withRoot(rawDentry("a", 0, nil))[8:]...), "a", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree, warnings, err := decodeRaw(tt.raw)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, c := range tree.Root.Children {
				names = append(names, c.Name)
			}
			if got := strings.Join(names, " "); got != tt.names || len(warnings) != tt.warnings {
				t.Errorf("names %q, warnings %q; want %q, %d", got, warnings, tt.names, tt.warnings)
			}
			if tt.check != nil {
				tt.check(t, tree)
			}
		})
	}
}

func TestHostileMetadata(t *testing.T) {
	dirEntry := func(name string, subdir uint64) []byte {
		return rawDentry(name, uint32(winfile.AttrDirectory), func(d []byte) { le.PutUint64(d[0x10:], subdir) })
	}
	set := func(b []byte, at int, v uint64) []byte {
		b = slices.Clone(b)
		le.PutUint64(b[at:], v)
		return b
	}
	plain := withRoot(rawDentry("a", 0, nil))
	list := int(le.Uint64(plain[8+0x10:]))
	for _, tt := range []struct {
		name, want string
		raw        []byte
	}{
		{"empty", "want at least 8", nil},
		{"security longer than all", "length 1000", []byte{0xe8, 3, 0, 0, 0, 0, 0, 0}},
		{"too many descriptors", "descriptors", []byte{16, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"huge descriptor", "descriptor 0", []byte{16, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255}},
		{"root is a file", "want a directory", append([]byte{8, 0, 0, 0, 0, 0, 0, 0}, rawDentry("", 0, nil)...)},
		{"a directory in itself", "two entries", withRoot(dirEntry("a", uint64(list)))},
		{"the root again", "two entries", withRoot(dirEntry("a", 8))},
		{"subdirectory past the end", "before the end", withRoot(dirEntry("a", 1<<40))},
		{"subdirectory not aligned", "multiple of 8", withRoot(dirEntry("a", 9))},
		{"length past the end", "length 100000", set(plain, list, 100000)},
		{"length near 2^64", "length 18446744073709551608", set(plain, list, ^uint64(7))},
		{"length too small", "length 16", set(plain, list, 16)},
		{"name longer than the entry", "for the names", set(plain, list+0x60, 0x1000<<32)},
		{"odd name", "even number", set(plain, list+0x60, 3<<32)},
		{"streams that are not there", "stream entry", set(plain, list+0x60, 2<<32|60000)},
	} {
		if _, _, err := decodeRaw(tt.raw); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestDeepTrees(t *testing.T) {
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	at := root
	for range 10000 {
		next := &winfile.Entry{Name: "d", Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
		at.Children = []*winfile.Entry{next}
		at = next
	}
	tree := &winfile.Tree{Root: root}
	got := mustTree(t, writeTree(t, tree, fixed).reader(t).Images()[0])
	if n := got.Totals().Dirs; n != 10001 {
		t.Errorf("%d directories, want 10001", n)
	}
	for range 10000 {
		next := &winfile.Entry{Name: "d", Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
		at.Children = []*winfile.Entry{next}
		at = next
	}
	if _, err := newPlan(tree); err == nil {
		t.Error("20000 directories inside each other were accepted")
	}
}

func TestTreesThatCannotBeWritten(t *testing.T) {
	for name, change := range map[string]func(t *winfile.Tree){
		"slash":            func(t *winfile.Tree) { t.Root.Children[0].Name = "a/b" },
		"dots":             func(t *winfile.Tree) { t.Root.Children[0].Name = ".." },
		"no name":          func(t *winfile.Tree) { t.Root.Children[0].Name = "" },
		"not WTF-8":        func(t *winfile.Tree) { t.Root.Children[0].Name = "\xff" },
		"same name":        func(t *winfile.Tree) { t.Root.Children[0].Name = t.Root.Children[1].Name },
		"no info":          func(t *winfile.Tree) { t.Root.Children[0].Info = nil },
		"reparse mismatch": func(t *winfile.Tree) { t.Root.Children[0].Info.Attributes |= winfile.AttrReparse },
		"plain encrypted":  func(t *winfile.Tree) { t.Lookup("streams").Info.Attributes |= winfile.AttrEncrypted },
		"no content":       func(t *winfile.Tree) { t.Lookup("a").Info.Data = &winfile.Blob{Size: 5} },
		"root":             func(t *winfile.Tree) { t.Root.Info = &winfile.Info{} },
		"object id":        func(t *winfile.Tree) { t.Lookup("a").Info.Extra = &winfile.Extra{ObjectID: []byte{1}} },
	} {
		tree, _ := richTree()
		change(tree)
		f := &memFile{writes: -1}
		w, err := Create(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.AddImage(context.Background(), tree, ImageInfo{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if err := w.Close(); err != nil || len(f.reader(t).Images()) != 0 {
			t.Errorf("%s: closing: %v", name, err)
		}
	}
}

// TestMissingBlobs reads a delta WIM without its base.
func TestMissingBlobs(t *testing.T) {
	dir := writeFolder(t, map[string][]byte{"a": prose(1, 5000)})
	both := writeFolder(t, map[string][]byte{"a": prose(1, 5000), "b": prose(2, 5000)})
	base, delta := filepath.Join(t.TempDir(), "base.wim"), filepath.Join(t.TempDir(), "delta.wim")
	reftool.Run(t, "wimlib-imagex", "capture", dir, base)
	reftool.Run(t, "wimlib-imagex", "capture", both, delta, "--compress=xpress", "--delta-from="+base)
	r := openTest(t, delta)
	tree, err := r.Images()[0].Tree()
	if tree == nil || !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), `\a`) {
		t.Errorf("%v, %v; want the tree, and that a is missing", tree, err)
	}
	if _, err := fsReadFile(r, "a"); !errors.Is(err, ErrMissing) {
		t.Errorf("a: %v, want ErrMissing", err)
	}
	if b, err := fsReadFile(r, "b"); err != nil || !bytes.Equal(b, prose(2, 5000)) {
		t.Errorf("b: %d bytes, %v", len(b), err)
	}
	if res, err := r.Verify(context.Background(), nil); err != nil || !errors.Is(res.Err(), ErrMissing) {
		t.Errorf("verify: %v, %v", res, err)
	}
}
