package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// deltaFiles are the sample files, some changed and some new, small and large.
func deltaFiles() map[string][]byte {
	files := maps.Clone(sampleFiles())
	delete(files, "big/mixed")
	files["new/small.txt"] = []byte("new")
	files["new/large.bin"] = noise(77, 3<<20)
	files["Windows/System32/MixedCase.DLL"] = prose(78, 50000)
	return files
}

// writeDelta writes an image of files without what base has.
func writeDelta(t *testing.T, base *Reader, files map[string][]byte) *memFile {
	t.Helper()
	return write(t, WriterOptions{Have: base.Has}, files)
}

func TestDelta(t *testing.T) {
	base := write(t, WriterOptions{Codec: LZX}, sampleFiles())
	files := deltaFiles()
	delta := writeDelta(t, base.reader(t), files)
	r := delta.reader(t)
	if n := len(r.Blobs()); n != 3 {
		t.Errorf("%d blobs in the delta, want the 3 new ones", n)
	}
	if _, err := r.Images()[0].Tree(); !errors.Is(err, ErrMissing) {
		t.Errorf("tree without the base: %v, want %v", err, ErrMissing)
	}
	b := base.reader(t)
	r.Reference(b, b, r)
	checkFiles(t, r.Images()[0], files)
	verifyClean(t, r)

	for _, e := range mustTree(t, r.Images()[0]).All() {
		if blob := e.Info.Data; blob != nil {
			checkHeld(t, r, b, blob)
		}
	}
	other := write(t, WriterOptions{}, map[string][]byte{"x": []byte("other file")}).reader(t)
	if _, err := r.OpenBlob(other.Blobs()[0]); err == nil {
		t.Error("a blob of a file that is no reference was opened")
	}
}

// checkHeld reads a blob of r or its reference base in all ways that the methods of r have.
func checkHeld(t *testing.T, r, base *Reader, blob *winfile.Blob) {
	t.Helper()
	var bulk bytes.Buffer
	err := r.ReadBlobs(context.Background(), []*winfile.Blob{blob}, 2, func(_ *winfile.Blob, _ int64, p []byte) error {
		_, err := bulk.Write(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	at, err := r.BlobReaderAt(blob)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := io.ReadAll(io.NewSectionReader(at, 0, blob.Size)); err != nil || !bytes.Equal(p, bulk.Bytes()) {
		t.Errorf("blob %s: %d bytes by ReadAt, %v; want %d", blob.SHA1, len(p), err, bulk.Len())
	}
	holder := r
	if _, ok := r.Lookup(blob.SHA1); !ok {
		holder = base
	}
	info, ok := holder.Lookup(blob.SHA1)
	if !ok {
		t.Fatalf("nobody has blob %s", blob.SHA1)
	}
	if n, compressed := r.StoredSize(blob); n != info.StoredSize || compressed != info.Compressed {
		t.Errorf("blob %s takes %d bytes, compressed %t; want %d, %t", blob.SHA1, n, compressed, info.StoredSize, info.Compressed)
	}
	raw, ok := r.RawBlob(blob)
	if ok != (holder == r && info.Compressed) { // the base has another codec
		t.Errorf("blob %s: raw %t", blob.SHA1, ok)
	}
	if ok && raw.Size != info.StoredSize {
		t.Errorf("blob %s: %d raw bytes, want %d", blob.SHA1, raw.Size, info.StoredSize)
	}
}

// TestRawOfReference takes stored bytes out of a reference of the same form.
func TestRawOfReference(t *testing.T) {
	base := write(t, WriterOptions{}, sampleFiles()).reader(t)
	r := writeDelta(t, base, deltaFiles()).reader(t)
	r.Reference(base)
	mustTree(t, r.Images()[0])
	want := base.Blob(winfile.SHA1(sha1.Sum(prose(6, 70000))))
	raw, ok := r.RawBlob(want)
	if !ok {
		t.Fatal("no raw blob")
	}
	b, err := raw.ReadAll(1 << 20)
	info, _ := base.Lookup(want.SHA1)
	stored := make([]byte, info.StoredSize)
	if _, rerr := base.r.ReadAt(stored, info.Offset); err != nil || rerr != nil || !bytes.Equal(b, stored) {
		t.Errorf("%d raw bytes, %v, %v; want %d", len(b), err, rerr, len(stored))
	}
}

// TestWimlibAppliesOurDelta has wimlib apply a delta of husk with its base, and fail without.
func TestWimlibAppliesOurDelta(t *testing.T) {
	base := write(t, WriterOptions{}, sampleFiles())
	files := deltaFiles()
	deltaName, baseName := save(t, writeDelta(t, base.reader(t), files)), save(t, base)
	out := filepath.Join(t.TempDir(), "out")
	reftool.Run(t, "wimlib-imagex", "apply", deltaName, "1", out, "--ref="+baseName)
	checkFolder(t, out, files)
	if msg, err := reftool.Try(t, "wimlib-imagex", "apply", deltaName, "1", out+"2"); err == nil {
		t.Errorf("wimlib applied a delta without its base: %s", msg)
	}
}

// TestReadsDeltaOfWimlib reads deltas that wimlib made, of a base of husk, too, and makes one of a base of wimlib.
func TestReadsDeltaOfWimlib(t *testing.T) {
	first, files := sampleFiles(), deltaFiles()
	dir := t.TempDir()
	theirs := filepath.Join(dir, "base.wim")
	reftool.Run(t, "wimlib-imagex", "capture", writeFolder(t, first), theirs)
	for _, baseName := range []string{theirs, save(t, write(t, WriterOptions{Codec: LZX}, first))} {
		deltaName := filepath.Join(t.TempDir(), "delta.wim")
		reftool.Run(t, "wimlib-imagex", "capture", writeFolder(t, files), deltaName, "--delta-from="+baseName)
		r, base := openTest(t, deltaName), openTest(t, baseName)
		if n := len(r.Blobs()); n != 3 {
			t.Errorf("%d blobs in wimlib's delta, want 3", n)
		}
		r.Reference(base)
		checkFiles(t, r.Images()[0], files)
		verifyClean(t, r)
	}
	base := openTest(t, theirs)
	r := writeDelta(t, base, files).reader(t)
	r.Reference(base)
	checkFiles(t, r.Images()[0], files)
}
