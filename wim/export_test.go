package wim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// export makes a WIM of images of r.
func export(t *testing.T, r *Reader, opts WriterOptions, list ...int) (*memFile, Stats) {
	t.Helper()
	f := &memFile{writes: -1}
	w, err := Create(f, &opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list {
		if err := w.ExportImage(context.Background(), r.Images()[n-1], nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return f, w.Stats()
}

// TestExport exports between all forms, from WIMs of husk and of wimlib, and has both read the result.
func TestExport(t *testing.T) {
	first, second := sampleFiles(), deltaFiles()
	theirs := filepath.Join(t.TempDir(), "theirs.wim")
	reftool.Run(t, "wimlib-imagex", "capture", writeFolder(t, first), theirs, "first", "--compress=LZX")
	reftool.Run(t, "wimlib-imagex", "append", writeFolder(t, second), theirs, "second")
	solid := filepath.Join(t.TempDir(), "solid.esd")
	reftool.Run(t, "wimlib-imagex", "export", theirs, "all", solid, "--solid")
	sources := map[string]*Reader{
		"husk XPRESS 32K": write(t, WriterOptions{}, first, second).reader(t),
		"husk none":       write(t, WriterOptions{Codec: None}, first, second).reader(t),
		"wimlib LZX":      openTest(t, theirs),
		"wimlib solid":    openTest(t, solid),
	}
	for name, r := range sources {
		for _, opts := range []WriterOptions{
			{}, {ChunkSize: 4096}, {Codec: LZX, CheckCopies: true, Integrity: true}, {Codec: None}, {Codec: LZX, Recompress: true},
		} {
			t.Run(fmt.Sprint(name, " to ", opts.Codec, opts.ChunkSize, opts.Recompress), func(t *testing.T) {
				f, stats := export(t, r, opts, 2, 1)
				o := f.reader(t)
				if same := o.codec == r.codec && o.ChunkSize() == r.ChunkSize() && !opts.Recompress && r.Version() == versionPlain; same != (stats.Copied == stats.NewBlobs) {
					t.Errorf("%d of %d blobs copied, want all: %t", stats.Copied, stats.NewBlobs, same)
				}
				if o.Images()[1].MetadataSHA1() != r.Images()[0].MetadataSHA1() {
					t.Error("the metadata changed")
				}
				checkFiles(t, o.Images()[0], second)
				checkFiles(t, o.Images()[1], first)
				verifyClean(t, o)
				if name != "wimlib LZX" {
					return
				}
				out := filepath.Join(t.TempDir(), "out")
				saved := save(t, f)
				reftool.Run(t, "wimlib-imagex", "apply", saved, "1", out)
				checkFolder(t, out, second)
			})
		}
	}
}

// TestExportedXML keeps elements that husk does not know, and changes what it is told to.
func TestExportedXML(t *testing.T) {
	name := save(t, write(t, fixed, sampleFiles(), deltaFiles()))
	reftool.Run(t, "wimlib-imagex", "info", name, "1", "--image-property", "UNKNOWN/DEEP=kept", "--boot")
	r := openTest(t, name)
	f := &memFile{writes: -1}
	w, err := Create(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	newName, none := "new <name>", ""
	if err := w.ExportImage(context.Background(), r.Images()[0], &ExportOptions{Name: &newName, Description: &none, Boot: true,
		Properties: [][2]string{{"WINDOWS/EDITIONID", "Professional"}}}); err != nil {
		t.Fatal(err)
	}
	if err := w.ExportImage(context.Background(), r.Images()[1], &ExportOptions{Name: &newName}); err == nil {
		t.Error("two images with one name")
	}
	if err := w.ExportImage(context.Background(), r.Images()[1], &ExportOptions{Properties: [][2]string{{"A B", "x"}}}); err == nil {
		t.Error("a property that XML cannot have")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	o := f.reader(t)
	info := o.Images()[0].Info()
	if len(o.Images()) != 1 || info.Name != newName || info.Description != "" || info.Windows.EditionID != "Professional" ||
		info.Properties["UNKNOWN/DEEP"] != "kept" || o.BootIndex() != 1 {
		t.Errorf("%+v, boot %d", info, o.BootIndex())
	}
	if out := reftool.Run(t, "wimlib-imagex", "info", save(t, f)); !strings.Contains(out, newName) || !strings.Contains(out, "Boot Index:     1") {
		t.Errorf("wimlib shows %s", out)
	}
}

// TestExportLacking refuses images whose blobs are not at hand, and takes them from references.
func TestExportLacking(t *testing.T) {
	base := write(t, WriterOptions{}, sampleFiles()).reader(t)
	delta := writeDelta(t, base, deltaFiles()).reader(t)
	f := &memFile{writes: -1}
	w, err := Create(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ExportImage(context.Background(), delta.Images()[0], nil); !errors.Is(err, ErrMissing) {
		t.Fatalf("%v, want %v", err, ErrMissing)
	}
	delta.Reference(base)
	if err := w.ExportImage(context.Background(), delta.Images()[0], nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkFiles(t, f.reader(t).Images()[0], deltaFiles())
	again, stats := export(t, f.reader(t), WriterOptions{Have: base.Has}, 1)
	if stats.NewBlobs != 3 {
		t.Errorf("%d blobs in a delta made by export, want 3", stats.NewBlobs)
	}
	r := again.reader(t)
	r.Reference(base)
	checkFiles(t, r.Images()[0], deltaFiles())
}

// TestCopiedDamage copies damaged blobs unless it is told to look.
func TestCopiedDamage(t *testing.T) {
	src := write(t, WriterOptions{}, sampleFiles())
	info, _ := src.reader(t).Lookup(src.reader(t).Blobs()[3].SHA1)
	src.b[info.Offset+info.StoredSize-1] ^= 1
	r := src.reader(t)
	f := &memFile{writes: -1}
	w, err := Create(f, &WriterOptions{CheckCopies: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ExportImage(context.Background(), r.Images()[0], nil); err == nil {
		t.Error("a damaged blob was copied with CheckCopies")
	}
	copied, _ := export(t, r, WriterOptions{}, 1)
	res, err := copied.reader(t).Verify(context.Background(), nil)
	if err != nil || len(res.Problems) != 1 {
		t.Errorf("%v, %v; want the one damaged blob", err, res.Problems)
	}
}

func appendTo(t *testing.T, f *memFile, opts WriterOptions, edit func(w *Writer) error) {
	t.Helper()
	w, err := Append(f, int64(len(f.b)), &opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := edit(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDeleteAndRebuild deletes an image, which loses no blob, and then leaves out what only it needed.
func TestDeleteAndRebuild(t *testing.T) {
	f := write(t, WriterOptions{Integrity: true, BootIndex: 2, ReparseFix: true}, sampleFiles(), deltaFiles())
	before := f.reader(t)
	appendTo(t, f, WriterOptions{}, func(w *Writer) error { return w.DeleteImage(1) })
	r := f.reader(t)
	if len(r.Images()) != 1 || r.BootIndex() != 1 || len(r.Blobs()) != len(before.Blobs()) {
		t.Errorf("%d images, boot %d, %d blobs; want 1, 1, %d", len(r.Images()), r.BootIndex(), len(r.Blobs()), len(before.Blobs()))
	}
	unused := 0
	for _, b := range r.Blobs() {
		info, _ := r.Lookup(b.SHA1)
		if info.RefCount == 0 {
			unused++
		}
	}
	if unused != 2 { // big/mixed and the old MixedCase.DLL
		t.Errorf("%d blobs with no reference, want 2", unused)
	}
	checkFiles(t, r.Images()[0], deltaFiles())
	verifyClean(t, r)
	reftool.Run(t, "wimlib-imagex", "verify", save(t, f))

	small := &memFile{writes: -1}
	stats, err := Rebuild(context.Background(), small, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := small.reader(t)
	if stats.Copied != stats.NewBlobs || len(o.Blobs()) != len(r.Blobs())-2 || len(small.b) >= len(f.b) {
		t.Errorf("%d of %d copied, %d blobs, %d bytes", stats.Copied, stats.NewBlobs, len(o.Blobs()), len(small.b))
	}
	if o.GUID() != r.GUID() || o.BootIndex() != 1 || !o.ReparseFix() || !o.HasIntegrity() || o.Codec() != r.Codec() {
		t.Error("the new file lost a property")
	}
	checkFiles(t, o.Images()[0], deltaFiles())
	verifyClean(t, o)
	reftool.Run(t, "wimlib-imagex", "verify", save(t, small))
}

// TestEditInPlace sets what needs no new data, and finds it again with wimlib.
func TestEditInPlace(t *testing.T) {
	f := write(t, WriterOptions{Integrity: true}, sampleFiles(), deltaFiles())
	before := f.reader(t)
	size := len(f.b)
	appendTo(t, f, WriterOptions{}, func(w *Writer) error {
		w.SetReadOnly(true)
		w.SetReparseFix(true)
		return w.SetBootIndex(2)
	})
	if len(f.b) != size {
		t.Errorf("marks in the header made the file grow from %d to %d bytes", size, len(f.b))
	}
	r := f.reader(t)
	if !r.ReadOnly() || !r.ReparseFix() || r.BootIndex() != 2 || !r.HasIntegrity() {
		t.Error("a mark is missing")
	}
	verifyClean(t, r)
	if _, err := Append(f, int64(len(f.b)), nil); err == nil {
		t.Error("a file that is marked read-only was opened for appending")
	}
	appendTo(t, f, WriterOptions{Unlock: true}, func(w *Writer) error {
		w.SetReadOnly(false)
		if err := w.SetProperty(1, "NAME", "image 2"); err == nil {
			t.Error("two images with one name")
		}
		if err := w.SetProperty(3, "NAME", "x"); err == nil {
			t.Error("an image that does not exist has a name")
		}
		if err := w.SetProperty(1, "X/Y", "text"); err != nil {
			return err
		}
		if got := w.Property(1, "X/Y"); got != "text" {
			t.Errorf("property %q", got)
		}
		return w.SetProperty(1, "NAME", "other")
	})
	r = f.reader(t)
	if r.ReadOnly() || r.Images()[0].Name() != "other" || r.BlobTableSHA1() != before.BlobTableSHA1() || r.hdr.BlobTable != before.hdr.BlobTable {
		t.Error("new text moved the blob table or was not written")
	}
	verifyClean(t, r)
	name := save(t, f)
	reftool.Run(t, "wimlib-imagex", "verify", name)
	if out := reftool.Run(t, "wimlib-imagex", "info", name, "other"); !strings.Contains(out, "other") {
		t.Errorf("wimlib shows %s", out)
	}
	reftool.Run(t, "wimlib-imagex", "append", writeFolder(t, map[string][]byte{"x": []byte("y")}), name) // wimlib goes on with it
	verifyClean(t, openTest(t, name))
	appendTo(t, f, WriterOptions{NoIntegrity: true}, func(*Writer) error { return nil })
	if r := f.reader(t); r.HasIntegrity() {
		t.Error("the integrity table is still there")
	}
	appendTo(t, f, WriterOptions{Integrity: true}, func(*Writer) error { return nil })
	if r := f.reader(t); !r.HasIntegrity() {
		t.Error("there is no integrity table")
	}
	verifyClean(t, f.reader(t))
}

// TestCrashWhileEditing stops every kind of change at every write: the old images or the new ones are there.
func TestCrashWhileEditing(t *testing.T) {
	old := write(t, WriterOptions{Integrity: true}, map[string][]byte{"a": prose(1, 5000), "b": prose(2, 100)}, map[string][]byte{"b": prose(2, 100)})
	other := write(t, WriterOptions{}, map[string][]byte{"c": prose(3, 9000), "b": prose(2, 100)}).reader(t)
	edits := map[string]func(w *Writer) error{
		"delete":   func(w *Writer) error { return w.DeleteImage(1) },
		"property": func(w *Writer) error { return w.SetProperty(1, "NAME", "renamed") },
		"boot":     func(w *Writer) error { return w.SetBootIndex(1) },
		"export": func(w *Writer) error {
			name := "exported"
			return w.ExportImage(context.Background(), other.Images()[0], &ExportOptions{Name: &name})
		},
		"replace": func(w *Writer) error {
			tree, _ := treeOf(map[string][]byte{"d": prose(4, 7000)})
			return w.ReplaceImage(context.Background(), 1, tree)
		},
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			done := false
			for n := 0; !done; n++ {
				f := &memFile{b: bytes.Clone(old.b), writes: n}
				w, err := Append(f, int64(len(f.b)), nil)
				if err == nil {
					err = edit(w)
				}
				if err == nil {
					err = w.Close()
				}
				done = err == nil
				verifyClean(t, f.reader(t))
				if n > 1000 {
					t.Fatal("it never ends")
				}
			}
		})
	}
}

// TestReplaceImage gives an image another tree made of its own files.
func TestReplaceImage(t *testing.T) {
	f := write(t, WriterOptions{}, sampleFiles(), deltaFiles())
	size := len(f.b)
	files := sampleFiles()
	delete(files, "big/noise.cab")
	appendTo(t, f, WriterOptions{}, func(w *Writer) error {
		tree := mustTree(t, f.reader(t).Images()[0])
		big := tree.Lookup("big")
		for i, c := range big.Children {
			if c.Name == "noise.cab" {
				big.Children = append(big.Children[:i], big.Children[i+1:]...)
				break
			}
		}
		big.Children = append(big.Children, &winfile.Entry{Name: "new", Info: &winfile.Info{Links: 1, Attributes: winfile.AttrArchive, Data: winfile.NewBlob([]byte("new"))}})
		return w.ReplaceImage(context.Background(), 1, tree)
	})
	files["big/new"] = []byte("new")
	r := f.reader(t)
	if len(f.b)-size > 20000 {
		t.Errorf("%d bytes more for one small file", len(f.b)-size)
	}
	checkFiles(t, r.Images()[0], files)
	checkFiles(t, r.Images()[1], deltaFiles())
	verifyClean(t, r)
	if info := r.Images()[0].Info(); info.Name != "image 1" || info.Files != int64(len(files)) || info.Modified == info.Created {
		t.Errorf("%+v", info)
	}
	out := filepath.Join(t.TempDir(), "out")
	reftool.Run(t, "wimlib-imagex", "apply", save(t, f), "1", out)
	checkFolder(t, out, files)
}
