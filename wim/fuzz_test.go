package wim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"husk/winfile"
)

// FuzzReader opens anything, reads all of it, and writes what was accepted once more.
func FuzzReader(f *testing.F) {
	tree, _ := treeOf(map[string][]byte{"a": prose(1, 5000), "dir/b": []byte("b")})
	tree.Lookup("a").Info.Streams = []winfile.Stream{{Name: "s", Data: winfile.NewBlob([]byte("stream"))}}
	for _, opts := range []WriterOptions{{ChunkSize: 4096, Integrity: true}, {Codec: None}} {
		opts.GUID, opts.Time = fixed.GUID, fixed.Time
		f.Add(writeTree(f, tree, opts).b)
	}
	solid, err := os.ReadFile("testdata/solid.wim") // two files, by wimlib
	if err != nil {
		f.Fatal(err)
	}
	f.Add(solid)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if _, err := r.Verify(context.Background(), &VerifyOptions{Workers: 1}); err != nil {
			t.Fatal(err)
		}
		for _, blob := range r.Blobs() {
			if blob.Size > 1<<24 {
				continue
			}
			if rc, err := r.OpenBlob(blob); err == nil {
				if n, err := io.Copy(io.Discard, rc); err == nil && n != blob.Size {
					t.Errorf("%d bytes of %d", n, blob.Size)
				}
				rc.Close()
			}
		}
		file := &memFile{b: bytes.Clone(b), writes: -1}
		w, err := Append(file, int64(len(b)), nil)
		if err != nil {
			return
		}
		empty, _ := treeOf(nil)
		if err := w.AddImage(context.Background(), empty, ImageInfo{}); err != nil {
			w.Abort()
			return
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		after := file.reader(t)
		if len(after.Images()) != len(r.Images())+1 || len(after.Blobs()) != len(r.Blobs()) {
			t.Errorf("%d images and %d blobs became %d and %d", len(r.Images()), len(r.Blobs()), len(after.Images()), len(after.Blobs()))
		}
	})
}

// FuzzMetadata decodes anything. What is decoded can be written, and then reads back the same.
func FuzzMetadata(f *testing.F) {
	for _, tree := range []*winfile.Tree{exoticTree()} {
		for b := range treeBlobs(tree) {
			data, err := b.ReadAll(1 << 20)
			if err != nil {
				f.Fatal(err)
			}
			b.SHA1 = winfile.NewBlob(data).SHA1
		}
		p, err := newPlan(tree)
		if err != nil {
			f.Fatal(err)
		}
		raw, _, err := p.metadata()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add(withRoot(rawDentry("a", 0x400, nil, rawStream{"", winfile.SHA1{1}}, rawStream{"s", winfile.SHA1{2}}), rawDentry("b", 0x10, nil)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tree, _, err := decodeRaw(raw)
		if err != nil {
			return
		}
		for _, e := range tree.All() {
			e.Info.Attributes &^= winfile.AttrReparse // its data is a blob, and there are none
			e.Info.Reparse = nil
		}
		p, err := newPlan(tree)
		if err != nil {
			return // such as a stream without a name
		}
		out, _, err := p.metadata()
		if err != nil {
			t.Fatal(err)
		}
		back, warnings, err := decodeRaw(out)
		warnings = slices.DeleteFunc(warnings, func(w string) bool { return strings.HasSuffix(w, "not understood, but kept") })
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%v, %q", err, warnings)
		}
		sortTree(tree.Root)
		sortTree(back.Root)
		if a, b := describe(t, tree), describe(t, back); len(a) != len(b) {
			t.Errorf("%d names became %d", len(a), len(b))
		}
		q, err := newPlan(back)
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := q.metadata(); err != nil || !bytes.Equal(again, out) {
			t.Errorf("written once more it is different: %v", err)
		}
	})
}

func treeBlobs(tree *winfile.Tree) func(func(*winfile.Blob) bool) {
	return func(yield func(*winfile.Blob) bool) {
		for _, e := range tree.All() {
			for b := range e.Info.Blobs() {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// FuzzXML parses anything. What is accepted survives a rewrite.
func FuzzXML(f *testing.F) {
	f.Add(xmlBytes(`<WIM><TOTALBYTES>1</TOTALBYTES><IMAGE INDEX="1"><NAME>名 &amp; 字</NAME><X a="b"/></IMAGE></WIM>`))
	f.Add(xmlBytes("<WIM>\r\n<!-- -->text<a><![CDATA[x]]></a></WIM>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := parseXML(b)
		if err != nil {
			return
		}
		once := encodeXML(root)
		again, err := parseXML(once)
		if err != nil {
			t.Fatalf("%v: %s", err, winfile.NameFromUTF16LE(once))
		}
		if twice := encodeXML(again); !bytes.Equal(once, twice) {
			t.Errorf("%s became %s", winfile.NameFromUTF16LE(once), winfile.NameFromUTF16LE(twice))
		}
		if list, err := root.images(1); err == nil {
			info := imageInfo(list[0])
			_ = info.element(1)
		}
	})
}

// FuzzHeader holds header checks against each other: what is accepted has a codec with a valid chunk size.
func FuzzHeader(f *testing.F) {
	f.Add(writeTree(f, mustEmpty(), fixed).b[:headerSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &Reader{r: bytes.NewReader(b), size: int64(len(b))}
		err := r.readHeader()
		var format *FormatError
		if err != nil && !errors.As(err, &format) {
			t.Errorf("%v is not a FormatError", err)
		}
		if err == nil && r.hdr.codec() != None && checkChunkSize(r.hdr.codec(), int64(r.hdr.ChunkSize)) != nil {
			t.Errorf("chunk size %d accepted", r.hdr.ChunkSize)
		}
	})
}

func mustEmpty() *winfile.Tree {
	t, _ := treeOf(nil)
	return t
}
