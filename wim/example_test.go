package wim_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"time"

	"husk/wim"
	"husk/winfile"
)

// makeWIM writes a WIM of one image with two files and returns its name.
func makeWIM(dir string) string {
	at := winfile.FiletimeOf(time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC))
	file := func(name, text string) *winfile.Entry {
		return &winfile.Entry{Name: name, Info: &winfile.Info{Attributes: winfile.AttrArchive, Written: at, Links: 1, Data: winfile.NewBlob([]byte(text))}}
	}
	folder := func(name string, children ...*winfile.Entry) *winfile.Entry {
		return &winfile.Entry{Name: name, Children: children, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Written: at, Links: 1}}
	}
	t := &winfile.Tree{Root: folder("", folder("Windows", file("win.ini", "[fonts]\r\n")), file("readme.txt", "hello\n"))}
	name := filepath.Join(dir, "example.wim")
	f, err := os.Create(name)
	if err != nil {
		log.Fatal(err)
	}
	w, err := wim.Create(f, &wim.WriterOptions{Codec: wim.LZX})
	if err != nil {
		log.Fatal(err)
	}
	if err := w.AddImage(context.Background(), t, wim.ImageInfo{Name: "first"}); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
	return name
}

func tempDir() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "wim")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { os.RemoveAll(dir) }
}

// Open a WIM and see what it has.
func ExampleOpen() {
	dir, remove := tempDir()
	defer remove()
	r, err := wim.Open(makeWIM(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	fmt.Println(r.Codec(), r.ChunkSize())
	for _, i := range r.Images() {
		fmt.Println(i.Index, i.Name(), i.Info().Files, "files")
	}
	// Output:
	// LZX 32768
	// 1 first 2 files
}

// An image is an fs.FS, so everything that walks and reads one works.
func ExampleImage() {
	dir, remove := tempDir()
	defer remove()
	r, err := wim.Open(makeWIM(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	img, err := r.Image("first")
	if err != nil {
		log.Fatal(err)
	}
	err = fs.WalkDir(img, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Println(path, info.Sys().(*winfile.Info).Attributes&winfile.AttrDirectory != 0)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	text, err := fs.ReadFile(img, "readme.txt")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", text)
	// Output:
	// . true
	// Windows true
	// Windows/win.ini false
	// readme.txt false
	// hello
}

// A tree has all metadata; contents are read in the order that suits the file.
func ExampleImage_Tree() {
	dir, remove := tempDir()
	defer remove()
	r, err := wim.Open(makeWIM(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	t, err := r.Images()[0].Tree()
	if err != nil {
		log.Fatal(err)
	}
	e := t.Lookup(`\windows\WIN.INI`)
	fmt.Println(e.Name, e.Info.Written.Time().Year(), e.Info.Data.Size)
	err = winfile.ReadBlobs(context.Background(), []*winfile.Blob{e.Info.Data}, 0, func(b *winfile.Blob, off int64, p []byte) error {
		fmt.Printf("%d %q\n", off, p)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// win.ini 2024 9
	// 0 "[fonts]\r\n"
}

// Add one more image to a file; equal contents are stored once. Until Close, the file is what it was.
func ExampleAppend() {
	dir, remove := tempDir()
	defer remove()
	f, err := os.OpenFile(makeWIM(dir), os.O_RDWR, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	old, err := wim.NewReader(f, st.Size())
	if err != nil {
		log.Fatal(err)
	}
	t, err := old.Images()[0].Tree()
	if err != nil {
		log.Fatal(err)
	}
	if err := wim.RenamePath(t, "/readme.txt", "/Windows/readme.txt"); err != nil {
		log.Fatal(err)
	}
	w, err := wim.Append(f, st.Size(), nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := w.AddImage(context.Background(), t, wim.ImageInfo{Name: "second"}); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.ImageCount(), "images,", w.Stats().NewBlobs, "new contents")
	// Output: 2 images, 0 new contents
}

// Copy an image to a new file under another name. What has the right form is not compressed again.
func ExampleWriter_ExportImage() {
	dir, remove := tempDir()
	defer remove()
	r, err := wim.Open(makeWIM(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	f, err := os.Create(filepath.Join(dir, "copy.wim"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	w, err := wim.Create(f, &wim.WriterOptions{Codec: r.Codec(), ChunkSize: r.ChunkSize()})
	if err != nil {
		log.Fatal(err)
	}
	name := "copy"
	if err := w.ExportImage(context.Background(), r.Images()[0], &wim.ExportOptions{Name: &name}); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	info, err := w.ImageInfo(1)
	fmt.Println(info.Name, w.Stats().Copied, err)
	// Output: copy 2 <nil>
}

// A delta lacks what another WIM has, and is read with it.
func ExampleReader_Reference() {
	dir, remove := tempDir()
	defer remove()
	base, err := wim.Open(makeWIM(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer base.Close()
	t, err := base.Images()[0].Tree()
	if err != nil {
		log.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "delta.wim"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	w, err := wim.Create(f, &wim.WriterOptions{Have: base.Has})
	if err != nil {
		log.Fatal(err)
	}
	if err := w.AddImage(context.Background(), t, wim.ImageInfo{Name: "delta"}); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	r, err := wim.NewReader(f, st.Size())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(r.Blobs()), "contents of its own")
	r.Reference(base)
	text, err := fs.ReadFile(r.Images()[0], "readme.txt")
	fmt.Printf("%q %v\n", text, err)
	// Output:
	// 0 contents of its own
	// "hello\n" <nil>
}

// A pipable WIM is written and read front to back.
func ExampleNewPipeReader() {
	dir, remove := tempDir()
	defer remove()
	r, err := wim.Open(makeWIM(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	var pipe bytes.Buffer
	if _, err := wim.RebuildPipe(context.Background(), &pipe, r, nil); err != nil {
		log.Fatal(err)
	}
	p, err := wim.NewPipeReader(&pipe)
	if err != nil {
		log.Fatal(err)
	}
	t, err := p.Tree(1)
	if err != nil {
		log.Fatal(err)
	}
	wanted := t.Lookup("readme.txt").Info.Data
	err = p.ReadBlobs(context.Background(), []*winfile.Blob{wanted}, 0, func(b *winfile.Blob, _ int64, text []byte) error {
		fmt.Printf("%d bytes: %q\n", b.Size, text)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: 6 bytes: "hello\n"
}
