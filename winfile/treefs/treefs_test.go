package treefs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"husk/winfile"
)

func newFile(data string) *winfile.Info {
	return &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Data: winfile.NewBlob([]byte(data)), Written: 132000000000000000}
}

func entry(name string, i *winfile.Info) *winfile.Entry { return &winfile.Entry{Name: name, Info: i} }

func directory(name string, kids ...*winfile.Entry) *winfile.Entry {
	return &winfile.Entry{Name: name, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}, Children: kids}
}

// link makes a link of any of the three kinds.
func link(name string, tag uint32, attr winfile.Attributes, target string) *winfile.Entry {
	var b []byte
	u := winfile.AppendUTF16LE(nil, target)
	if tag == winfile.TagLXSymlink {
		b = append([]byte{2, 0, 0, 0}, target...)
	} else {
		for _, n := range []int{0, len(u), len(u), 0} {
			b = binary.LittleEndian.AppendUint16(b, uint16(n))
		}
		if tag == winfile.TagSymlink {
			b = append(b, 1, 0, 0, 0)
		}
		b = append(b, u...)
	}
	return entry(name, &winfile.Info{Attributes: attr | winfile.AttrReparse, Links: 1, Reparse: &winfile.Reparse{Tag: tag, Data: b}})
}

func sample() *winfile.Tree {
	var many []*winfile.Entry
	for i := range 100 {
		many = append(many, entry(fmt.Sprintf("File %03d", 99-i), newFile(fmt.Sprint(i))))
	}
	many[5].ShortName = "SHORT~1"
	readOnly := newFile("ro")
	readOnly.Attributes |= winfile.AttrReadOnly
	return &winfile.Tree{Root: directory("",
		entry("b.txt", newFile("hello")), entry("A.txt", readOnly), entry("empty", &winfile.Info{Links: 1}),
		directory("Users", directory("中文", entry("x", newFile("x in users"))), directory("none")),
		directory("many", many...),
		link("Documents and Settings", winfile.TagMountPoint, winfile.AttrDirectory, `\??\C:\Users`),
		link("rel", winfile.TagSymlink, 0, `Users\中文\x`),
		link("up", winfile.TagSymlink, winfile.AttrDirectory, `.\Users\..\MANY`),
		link("lx", winfile.TagLXSymlink, 0, "/b.txt"),
		entry("cloud", &winfile.Info{Attributes: winfile.AttrDirectory | winfile.AttrReparse, Links: 1, Reparse: &winfile.Reparse{Tag: 0x9000001a}}),
		entry("elsewhere", &winfile.Info{Attributes: winfile.AttrDirectory | winfile.AttrReparse, Links: 1, Reparse: &winfile.Reparse{Tag: 0xa0000019}}),
	)}
}

func TestFS(t *testing.T) {
	if err := fstest.TestFS(New(sample()), "b.txt", "A.txt", "empty", "Users/中文/x", "many/File 042", "rel", "lx"); err != nil {
		t.Error(err)
	}
}

func TestLinksAndNames(t *testing.T) {
	tree := sample()
	tree.Root.Children = append(tree.Root.Children, entry("\xed\xa0\xbd", newFile("lone")),
		link("dangling", winfile.TagSymlink, 0, `nowhere`), link("loop", winfile.TagSymlink, 0, `loop`),
		link("volume", winfile.TagMountPoint, winfile.AttrDirectory, `\??\Volume{0}\`))
	tree.Root.Children = append(tree.Root.Children, entry("secret", &winfile.Info{Attributes: winfile.AttrEncrypted, Links: 1,
		Extra: &winfile.Extra{EFS: winfile.NewBlob([]byte("raw"))}}))
	f := New(tree)
	for path, want := range map[string]string{
		"b.txt": "hello", "B.TXT": "hello", "rel": "x in users", "lx": "hello", "Documents and Settings/中文/x": "x in users",
		"up/file 099": "0", "many/SHORT~1": "5", "many/short~1": "5", "\xed\xa0\xbd": "lone",
	} {
		if b, err := fs.ReadFile(f, path); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v; want %q", path, b, err, want)
		}
	}
	for path, want := range map[string]error{
		"nowhere": fs.ErrNotExist, "dangling": fs.ErrNotExist, "loop": fs.ErrInvalid, "b.txt/x": fs.ErrNotExist, "../b.txt": fs.ErrInvalid,
		`Users\中文`: fs.ErrInvalid, "": fs.ErrInvalid, "volume/x": fs.ErrNotExist, "/b.txt": fs.ErrInvalid,
	} {
		if _, err := f.Open(path); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", path, err, want)
		}
	}
	for path, want := range map[string]string{
		"rel": "Users/中文/x", "Documents and Settings": "C:/Users", "volume": "//?/Volume{0}/", "lx": "/b.txt", "up": "./Users/../MANY",
	} {
		if got, err := f.ReadLink(path); err != nil || got != want {
			t.Errorf("%s: link to %q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := f.Open("secret"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an encrypted file: %v", err)
	}
	if _, err := f.ReadLink("b.txt"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("ReadLink of a file: %v", err)
	}
	if i, err := f.Stat("rel"); err != nil || i.Size() != 10 || i.Sys() != tree.Lookup("Users/中文/x").Info {
		t.Errorf("Stat of a link: %v, %v", i, err)
	}
	for path, want := range map[string]fs.FileMode{
		"rel": fs.ModeSymlink | 0o777, "A.txt": 0o444, "b.txt": 0o644, "Users": fs.ModeDir | 0o755, "cloud": fs.ModeDir | 0o755, "elsewhere": fs.ModeIrregular | 0o444,
	} {
		if i, err := f.Lstat(path); err != nil || i.Mode() != want {
			t.Errorf("%s: %v, want %v", path, i, want)
		}
	}
	var walked []string
	err := fs.WalkDir(f, ".", func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() && d.Name() == "many" {
			return fs.SkipDir
		}
		walked = append(walked, path)
		return err
	})
	if err != nil || !slices.Contains(walked, "Users/中文/x") || slices.Contains(walked, "rel/x") {
		t.Errorf("walked %q, %v", walked, err)
	}
}

// randomAccess is a content that can be read from any place.
type randomAccess struct{ b []byte }

func (r randomAccess) OpenBlob(*winfile.Blob) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(r.b)), nil
}

func (r randomAccess) BlobReaderAt(*winfile.Blob) (io.ReaderAt, error) {
	return bytes.NewReader(r.b), nil
}

func TestRandomAccess(t *testing.T) {
	data := []byte("0123456789")
	tree := &winfile.Tree{Root: directory("", entry("f", &winfile.Info{Data: &winfile.Blob{Size: 10, Content: &randomAccess{data}}}))}
	f := New(tree)
	if err := fstest.TestFS(f, "f"); err != nil {
		t.Error(err)
	}
	o, err := f.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	s := o.(io.ReadSeeker)
	if n, err := s.Seek(-3, io.SeekEnd); n != 7 || err != nil {
		t.Errorf("Seek: %d, %v", n, err)
	}
	if b, err := io.ReadAll(s); string(b) != "789" || err != nil {
		t.Errorf("after Seek: %q, %v", b, err)
	}
	if _, err := s.Seek(-1, io.SeekStart); err == nil {
		t.Error("Seek before the start")
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if _, err := o.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if _, err := New(&winfile.Tree{Root: directory("", entry("f", &winfile.Info{Data: &winfile.Blob{Size: 1}}))}).Open("f"); err == nil {
		t.Error("a file without content was opened")
	}
}
