package wim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// onlyWriter hides what else a buffer can do.
type onlyWriter struct{ io.Writer }

func writePipe(t testing.TB, opts WriterOptions, images ...PipeImage) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := WritePipe(context.Background(), onlyWriter{&b}, images, &opts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pipeImages(list ...map[string][]byte) (images []PipeImage) {
	for i, files := range list {
		tree, _ := treeOf(files)
		images = append(images, PipeImage{Tree: tree, Info: ImageInfo{Name: fmt.Sprint("image ", i+1)}})
	}
	return images
}

func readerOf(t testing.TB, b []byte) *Reader {
	t.Helper()
	r, err := NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readPipe reads image n front to back and compares it with files.
func readPipe(t *testing.T, r io.Reader, n int, files map[string][]byte) {
	t.Helper()
	p, err := NewPipeReader(r)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := p.Tree(n)
	if err != nil {
		t.Fatal(err)
	}
	var blobs []*winfile.Blob
	paths := make(map[string]*winfile.Blob)
	for path, e := range tree.All() {
		if e.Info.IsDir() {
			continue
		}
		paths[path] = e.Info.Data
		if b := e.Info.Data; b != nil && !slices.Contains(blobs, b) {
			blobs = append(blobs, b)
		}
	}
	got := make(map[*winfile.Blob][]byte)
	err = p.ReadBlobs(context.Background(), blobs, 0, func(b *winfile.Blob, off int64, piece []byte) error {
		if off != int64(len(got[b])) || off+int64(len(piece)) > b.Size {
			t.Errorf("%d bytes at %d of %d, want them at %d", len(piece), off, b.Size, len(got[b]))
		}
		got[b] = append(got[b], piece...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Sorted(maps.Keys(files)); !slices.Equal(slices.Sorted(maps.Keys(paths)), want) {
		t.Errorf("files %q, want %q", slices.Sorted(maps.Keys(paths)), want)
	}
	for path, want := range files {
		if b := got[paths[path]]; len(want) > 0 && !bytes.Equal(b, want) {
			t.Errorf("%s: %d bytes, want %d", path, len(b), len(want))
		}
	}
}

func TestPipable(t *testing.T) {
	first, second := sampleFiles(), deltaFiles()
	for _, opts := range []WriterOptions{{}, {Codec: LZX, Level: Fast, Workers: 3}, {Codec: None}, {ChunkSize: 4096, BootIndex: 1}} {
		t.Run(fmt.Sprint(opts.Codec, opts.ChunkSize), func(t *testing.T) {
			b := writePipe(t, opts, pipeImages(first, second)...)
			r := readerOf(t, b)
			if !r.Pipable() || r.BootIndex() != opts.BootIndex {
				t.Errorf("pipable %t, boot %d", r.Pipable(), r.BootIndex())
			}
			checkFiles(t, r.Images()[0], first)
			checkFiles(t, r.Images()[1], second)
			verifyClean(t, r)
			readPipe(t, bytes.NewReader(b), 2, second)
			name := filepath.Join(t.TempDir(), "ours.wim")
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
			reftool.Run(t, "wimlib-imagex", "verify", name)
			out := filepath.Join(t.TempDir(), "out")
			reftool.Run(t, "sh", "-c", `wimlib-imagex apply - 2 "$1" <"$2"`, "sh", out, name)
			checkFolder(t, out, second)
			for _, blob := range r.Blobs() {
				if _, ok := r.RawBlob(blob); ok {
					t.Fatal("a raw blob of a pipable WIM")
				}
			}
			if opts.Codec != LZX { // which is slow, and no other road
				testRebuildPipe(t, r)
			}
		})
	}
}

// testRebuildPipe goes from the pipable form to the other and back.
func testRebuildPipe(t *testing.T, r *Reader) {
	t.Helper()
	var again bytes.Buffer
	stats, err := RebuildPipe(context.Background(), onlyWriter{&again}, r, nil)
	if err != nil || stats.Copied != stats.NewBlobs {
		t.Fatalf("%v; %d of %d blobs copied", err, stats.Copied, stats.NewBlobs)
	}
	verifyClean(t, readerOf(t, again.Bytes()))
	f := &memFile{writes: -1}
	if stats, err = Rebuild(context.Background(), f, r, nil); err != nil || stats.Copied != 0 {
		t.Fatalf("%v; %d blobs copied into another form", err, stats.Copied)
	}
	if f.reader(t).Pipable() {
		t.Error("Rebuild made a pipable WIM")
	}
	verifyClean(t, f.reader(t))
	again.Reset()
	if _, err := RebuildPipe(context.Background(), onlyWriter{&again}, f.reader(t), nil); err != nil {
		t.Fatal(err)
	}
	checkFiles(t, readerOf(t, again.Bytes()).Images()[0], sampleFiles())
}

// TestReadsPipableOfWimlib reads what wimlib writes into a pipe.
func TestReadsPipableOfWimlib(t *testing.T) {
	files := sampleFiles()
	src := writeFolder(t, files)
	for _, codec := range []string{"none", "XPRESS", "LZX", "LZX:20"} {
		t.Run(codec, func(t *testing.T) {
			b, err := exec.Command(reftool.Look(t, "wimlib-imagex"), "capture", src, "-", "--compress="+codec).Output()
			if err != nil {
				t.Fatal(err)
			}
			readPipe(t, bytes.NewReader(b), 1, files)
			r := readerOf(t, b)
			checkFiles(t, r.Images()[0], files)
			verifyClean(t, r)
			f := &memFile{writes: -1}
			spooled, err := Spool(bytes.NewReader(b), f)
			if err != nil {
				t.Fatal(err)
			}
			checkFiles(t, spooled.Images()[0], files)
			if _, err := Append(f, int64(len(f.b)), nil); err == nil {
				t.Error("a pipable WIM was opened for appending")
			}
		})
	}
}

// TestPipedReparse gives reparse points their data when it comes.
func TestPipedReparse(t *testing.T) {
	tree, _ := treeOf(map[string][]byte{"a": []byte("a")})
	point := &winfile.Reparse{Tag: winfile.TagSymlink, Data: []byte("some target of a link")}
	tree.Root.Children = append(tree.Root.Children, &winfile.Entry{Name: "link", Info: &winfile.Info{Links: 1,
		Attributes: winfile.AttrReparse | winfile.AttrDirectory, Reparse: point}})
	b := writePipe(t, WriterOptions{}, PipeImage{Tree: tree, Info: ImageInfo{Name: "x"}})
	p, err := NewPipeReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Tree(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.ReadBlobs(context.Background(), nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	if data := got.Lookup("link").Info.Reparse.Data; !bytes.Equal(data, point.Data) {
		t.Errorf("reparse data %q, want %q", data, point.Data)
	}
}

func TestPipeFailures(t *testing.T) {
	images := func() []PipeImage { return pipeImages(map[string][]byte{"a": prose(1, 50000), "b": noise(1, 1000)}) }
	b := writePipe(t, WriterOptions{}, images()...)
	for n := 0; n < len(b); n += 211 {
		p, err := NewPipeReader(bytes.NewReader(b[:n]))
		if err == nil {
			err = p.ReadBlobs(context.Background(), nil, 0, nil)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
		if _, err := NewReader(bytes.NewReader(b[:n]), int64(n)); err == nil {
			t.Fatalf("%d of %d bytes are a WIM", n, len(b))
		}
	}
	if _, err := NewPipeReader(bytes.NewReader(write(t, WriterOptions{}, sampleFiles()).b)); err == nil {
		t.Error("a WIM that is not pipable was read from a pipe")
	}
	if _, err := Spool(bytes.NewReader(write(t, WriterOptions{}, sampleFiles()).b), &memFile{writes: -1}); err == nil {
		t.Error("a WIM that is not pipable was spooled")
	}
	if _, err := WritePipe(context.Background(), io.Discard, images(), &WriterOptions{Integrity: true}); err == nil {
		t.Error("a pipable WIM with an integrity table")
	}
	r, w := io.Pipe()
	r.CloseWithError(errCrash)
	if _, err := WritePipe(context.Background(), w, images(), nil); !errors.Is(err, errCrash) {
		t.Errorf("%v, want %v", err, errCrash)
	}
	damaged := bytes.Clone(b)
	damaged[len(damaged)/3] ^= 1
	p, err := NewPipeReader(bytes.NewReader(damaged))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := p.Tree(1)
	if err == nil {
		err = p.ReadBlobs(context.Background(), []*winfile.Blob{tree.Lookup("a").Info.Data, tree.Lookup("b").Info.Data}, 0,
			func(*winfile.Blob, int64, []byte) error { return nil })
	}
	if err == nil {
		t.Error("damage in a pipe was not found")
	}
	if _, err := p.Tree(1); err == nil {
		t.Error("the pipe went back")
	}
}

// TestPipableDamageIsFound flips the bytes that only readers of pipes look at, and some of all others.
func TestPipableDamageIsFound(t *testing.T) {
	b := writePipe(t, fixed, pipeImages(map[string][]byte{"a": prose(1, 70000), "b": noise(1, 200)})...)
	r := readerOf(t, b)
	var offsets []int64
	for i := range r.resources {
		res := &r.resources[i]
		for n := range int64(pipeHeaderSize) {
			offsets = append(offsets, res.off-pipeHeaderSize+n)
		}
		if !res.compressed {
			continue
		}
		l := r.layout(res.size)
		at := res.off
		for range l.chunks {
			offsets = append(offsets, at, at+1, at+2, at+3, at+100)
			at += pipeChunkSize + int64(le.Uint32(b[at:]))
		}
		for n := range l.table {
			offsets = append(offsets, at+n)
		}
	}
	for _, off := range offsets {
		damaged := bytes.Clone(b)
		damaged[off] ^= 0x55
		res, err := readerOf(t, damaged).Verify(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.Err() == nil {
			t.Errorf("a flipped byte at %#x was not found", off)
		}
	}
}

func FuzzPipe(f *testing.F) {
	for _, opts := range []WriterOptions{{}, {Codec: LZX}, {Codec: None}} {
		opts.GUID, opts.Time = fixed.GUID, fixed.Time
		f.Add(writePipe(f, opts, pipeImages(map[string][]byte{"a": prose(1, 500), "b": []byte("b")})...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := NewPipeReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		var blobs []*winfile.Blob
		for n := range p.Images() {
			tree, err := p.Tree(n + 1)
			if err != nil {
				return
			}
			for _, e := range tree.All() {
				if e.Info.Data != nil && len(blobs) < 1000 {
					blobs = append(blobs, e.Info.Data)
				}
			}
		}
		total := int64(0)
		err = p.ReadBlobs(context.Background(), blobs, 1, func(_ *winfile.Blob, _ int64, piece []byte) error {
			if total += int64(len(piece)); total > 1<<28 {
				return errors.New("enough")
			}
			return nil
		})
		if err != nil {
			return
		}
		if r, err := NewReader(bytes.NewReader(b), int64(len(b))); err == nil {
			for _, i := range r.Images() {
				if _, err := i.Tree(); err != nil && !errors.Is(err, ErrMissing) {
					t.Logf("read from a pipe, but not at random: %v", err) // the tables in the pipe are not looked at
				}
			}
		}
	})
}
