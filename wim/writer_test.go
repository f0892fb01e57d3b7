package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"husk/guid"
	"husk/internal/reftool"
	"husk/winfile"
)

// memFile is a WriteTarget in memory that can fail.
type memFile struct {
	b      []byte
	writes int // until everything fails; negative: never
	failed bool
}

var errCrash = errors.New("crash")

func (m *memFile) step() error {
	if m.writes == 0 {
		m.failed = true
	}
	if m.failed {
		return errCrash
	}
	m.writes--
	return nil
}

func (m *memFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(p, off)
}

func (m *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := m.step(); err != nil {
		return 0, err
	}
	if n := off + int64(len(p)); n > int64(len(m.b)) {
		m.b = append(m.b, make([]byte, n-int64(len(m.b)))...)
	}
	return copy(m.b[off:], p), nil
}

func (m *memFile) Truncate(n int64) error {
	if err := m.step(); err != nil {
		return err
	}
	if n <= int64(len(m.b)) {
		m.b = m.b[:n]
	} else {
		m.b = append(m.b, make([]byte, n-int64(len(m.b)))...)
	}
	return nil
}

func (m *memFile) Sync() error { return m.step() }

func (m *memFile) reader(t testing.TB) *Reader {
	t.Helper()
	r, err := NewReader(bytes.NewReader(m.b), int64(len(m.b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// unread is a source that does not tell hashes beforehand, and counts what is read.
type unread struct {
	data  map[*winfile.Blob][]byte
	fail  map[*winfile.Blob]error
	opens atomic.Int32
}

func (u *unread) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	u.opens.Add(1)
	if err := u.fail[b]; err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(u.data[b])), nil
}

func (u *unread) add(data []byte) *winfile.Blob {
	if len(data) == 0 {
		return nil
	}
	b := &winfile.Blob{Size: int64(len(data)), Content: u}
	u.data[b] = data
	return b
}

var testTime = time.Date(2024, 2, 29, 12, 34, 56, 789000100, time.UTC)

// treeOf makes a tree of files by path.
func treeOf(files map[string][]byte) (*winfile.Tree, *unread) {
	u := &unread{data: make(map[*winfile.Blob][]byte), fail: make(map[*winfile.Blob]error)}
	at := winfile.FiletimeOf(testTime)
	newDir := func() *winfile.Info {
		return &winfile.Info{Attributes: winfile.AttrDirectory, Created: at, Written: at, Accessed: at, Links: 1}
	}
	t := &winfile.Tree{Root: &winfile.Entry{Info: newDir()}}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		dir := t.Root
		parts := strings.Split(path, "/")
		for _, p := range parts[:len(parts)-1] {
			next := dir.Child(p)
			if next == nil {
				next = &winfile.Entry{Name: p, Info: newDir()}
				dir.Children = append(dir.Children, next)
			}
			dir = next
		}
		info := &winfile.Info{Attributes: winfile.AttrArchive, Created: at, Written: at + 1, Accessed: at + 2, Links: 1, Data: u.add(files[path])}
		dir.Children = append(dir.Children, &winfile.Entry{Name: parts[len(parts)-1], Info: info})
	}
	return t, u
}

var fixed = WriterOptions{GUID: guid.GUID{1, 2, 3}, Time: testTime}

func write(t testing.TB, opts WriterOptions, images ...map[string][]byte) *memFile {
	t.Helper()
	f := &memFile{writes: -1}
	w, err := Create(f, &opts)
	if err != nil {
		t.Fatal(err)
	}
	for i, files := range images {
		tree, _ := treeOf(files)
		if err := w.AddImage(context.Background(), tree, ImageInfo{Name: fmt.Sprint("image ", i+1), Description: "描述 <&>"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

func save(t testing.TB, f *memFile) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ours.wim")
	if err := os.WriteFile(name, f.b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func checkFolder(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	got := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			got++
		}
		return err
	})
	if err != nil || got != len(files) {
		t.Errorf("%d files, %v; want %d", got, err, len(files))
	}
	for name, want := range files {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(b), err, len(want))
		}
	}
}

func verifyClean(t testing.TB, r *Reader) {
	t.Helper()
	res, err := r.Verify(context.Background(), nil)
	if err != nil || res.Err() != nil || len(res.Warnings) > 0 {
		t.Errorf("verify: %v, %v, %q", err, res.Err(), res.Warnings)
	}
}

func TestWriteIsReadByWimlib(t *testing.T) {
	files := sampleFiles()
	for _, tt := range []struct {
		name string
		opts WriterOptions
	}{
		{"xpress 32k", WriterOptions{}},
		{"xpress 4k integrity", WriterOptions{ChunkSize: 4096, Integrity: true, BootIndex: 1}},
		{"xpress 64k fast", WriterOptions{ChunkSize: 65536, Level: Fast}},
		{"none", WriterOptions{Codec: None, Integrity: true}},
		{"lzx", WriterOptions{Codec: LZX}},
		{"lzx fast 64k", WriterOptions{Codec: LZX, ChunkSize: 65536, Level: Fast}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := write(t, tt.opts, files)
			r := f.reader(t)
			checkFiles(t, r.Images()[0], files)
			verifyClean(t, r)
			name := save(t, f)
			reftool.Run(t, "wimlib-imagex", "verify", name)
			out := t.TempDir()
			reftool.Run(t, "wimlib-imagex", "apply", name, out)
			checkFolder(t, out, files)
			if xml := reftool.Run(t, "wimlib-imagex", "info", name); !strings.Contains(xml, "描述 <&>") {
				t.Errorf("info: %s", xml)
			}
			reftool.Run(t, "7z", "t", name)
			if list := reftool.Run(t, "7z", "l", name); !strings.Contains(list, "MixedCase.DLL") {
				t.Errorf("7z: %s", list)
			}
		})
	}
}

func TestSameInputSameBytes(t *testing.T) {
	files := sampleFiles()
	opts := fixed
	opts.Workers = 1
	want := write(t, opts, files)
	for _, n := range []int{2, 8} {
		opts.Workers = n
		if got := write(t, opts, files); !bytes.Equal(got.b, want.b) {
			t.Errorf("%d workers: %d bytes, which are not the %d of one worker", n, len(got.b), len(want.b))
		}
	}
}

func TestAppend(t *testing.T) {
	first, second := sampleFiles(), sampleFiles()
	delete(second, "one")
	second["new.txt"] = prose(77, 12345)
	second["big/prose.log"] = prose(78, 2<<20+123) // as large as another, but different
	dir1, dir2 := writeFolder(t, first), writeFolder(t, second)
	name := filepath.Join(t.TempDir(), "a.wim")
	reftool.Run(t, "wimlib-imagex", "capture", dir1, name, "first", "--wimboot", "--check")
	before := openTest(t, name)
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}

	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := Append(file, int64(len(old)), nil)
	if err != nil {
		t.Fatal(err)
	}
	tree, _ := treeOf(second)
	if err := w.AddImage(context.Background(), tree, ImageInfo{Name: "second"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if s := w.Stats(); s.NewBlobs != 2 || s.Duplicates == 0 {
		t.Errorf("stats %+v, want 2 new blobs", s)
	}
	r := openTest(t, name)
	if r.GUID() != before.GUID() || !r.HasIntegrity() || r.InProgress() || r.BlobTableSHA1() == before.BlobTableSHA1() {
		t.Errorf("header %+v", r.hdr)
	}
	checkFiles(t, r.Images()[0], first)
	checkFiles(t, r.Images()[1], second)
	verifyClean(t, r)
	reftool.Run(t, "wimlib-imagex", "verify", name)

	reftool.Run(t, "wimlib-imagex", "append", dir2, name, "third")
	r = openTest(t, name)
	if len(r.Images()) != 3 {
		t.Fatalf("%d images, want 3", len(r.Images()))
	}
	for i, files := range []map[string][]byte{first, second, second} {
		checkFiles(t, r.Images()[i], files)
	}
	verifyClean(t, r)

	// wimlib's reference counts after its own append are our counts and its own.
	for _, b := range r.Blobs() {
		var want uint32
		for _, i := range r.Images() {
			for _, e := range mustTree(t, i).All() {
				if e.Info.Data != nil && e.Info.Data.SHA1 == b.SHA1 {
					want++
				}
			}
		}
		if info, _ := r.Lookup(b.SHA1); info.RefCount != want {
			t.Errorf("blob %s: %d references, want %d", b.SHA1, info.RefCount, want)
		}
	}
}

func TestAppendRefusals(t *testing.T) {
	f := write(t, fixed, map[string][]byte{"a": prose(1, 5000)})
	for _, opts := range []*WriterOptions{{Codec: None}, {ChunkSize: 4096}, {BootIndex: -1}} {
		if _, err := Append(f, int64(len(f.b)), opts); err == nil {
			t.Errorf("%+v was accepted", opts)
		}
	}
	w, err := Append(f, int64(len(f.b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	tree, _ := treeOf(nil)
	if err := w.AddImage(context.Background(), tree, ImageInfo{Name: "image 1"}); err == nil {
		t.Error("a second image of the same name was accepted")
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	r := f.reader(t)
	if r.InProgress() {
		t.Error("still marked as being written")
	}
	verifyClean(t, r)
}

// TestCrashWhileAppending lets everything fail from each write on. The old images must stay, or the new one be complete.
func TestCrashWhileAppending(t *testing.T) {
	files := map[string][]byte{"a": prose(1, 5000), "b": noise(2, 300000)}
	more := map[string][]byte{"a": prose(1, 5000), "d": prose(4, 100000), "e": noise(5, 2<<20+1)}
	opts := fixed
	opts.Integrity = true
	base := write(t, opts, files)
	committed := 0
	for n := 0; ; n++ {
		f := &memFile{b: slices.Clone(base.b), writes: n}
		err := func() error {
			w, err := Append(f, int64(len(f.b)), &opts)
			if err != nil {
				return err
			}
			tree, _ := treeOf(more)
			err = w.AddImage(context.Background(), tree, ImageInfo{Name: "new"})
			return errors.Join(err, w.Close())
		}()
		r := f.reader(t)
		verifyClean(t, r)
		checkFiles(t, r.Images()[0], files)
		if len(r.Images()) == 2 {
			committed++
		}
		if err == nil {
			if len(r.Images()) != 2 {
				t.Fatal("no error, and no image")
			}
			checkFiles(t, r.Images()[1], more)
			break
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("%v, want the crash", err)
		}

		// The next writer cleans up.
		g := &memFile{b: f.b, writes: -1}
		w, err := Append(g, int64(len(g.b)), &opts)
		if err != nil {
			t.Fatal(err)
		}
		tree, _ := treeOf(map[string][]byte{"z": prose(9, 100)})
		if err := errors.Join(w.AddImage(context.Background(), tree, ImageInfo{Name: "after"}), w.Close()); err != nil {
			t.Fatal(err)
		}
		r = g.reader(t)
		if r.InProgress() {
			t.Error("still marked as being written")
		}
		verifyClean(t, r)
		checkFiles(t, r.Images()[0], files)
	}
	if committed > 3 {
		t.Errorf("the image was there after %d crashes, which should be at most that of the last sync", committed)
	}
}

// TestOneFailureRestores fails one operation only: then the file must be as it was, to the byte.
func TestOneFailureRestores(t *testing.T) {
	files := map[string][]byte{"a": prose(1, 5000)}
	base := write(t, fixed, files)
	for n := range 20 {
		f := &onceFile{memFile: memFile{b: slices.Clone(base.b), writes: -1}, at: n}
		w, err := Append(f, int64(len(f.b)), &fixed)
		if err == nil {
			tree, _ := treeOf(map[string][]byte{"b": prose(2, 5000), "c": noise(6, 2<<20+1)})
			err = w.AddImage(context.Background(), tree, ImageInfo{Name: "new"})
			if err != nil {
				err = errors.Join(err, w.Abort())
			} else {
				err = w.Close()
			}
		}
		if err == nil {
			break
		}
		if !bytes.Equal(f.b, base.b) {
			t.Errorf("operation %d failed: %d bytes are left, want the %d of before", n, len(f.b), len(base.b))
		}
	}
}

// onceFile fails the operation number at, and no other.
type onceFile struct {
	memFile
	at, n int
}

func (f *onceFile) check() error {
	f.n++
	if f.n-1 == f.at {
		return errCrash
	}
	return nil
}

func (f *onceFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check(); err != nil {
		return 0, err
	}
	return f.memFile.WriteAt(p, off)
}

func (f *onceFile) Truncate(n int64) error {
	if err := f.check(); err != nil {
		return err
	}
	return f.memFile.Truncate(n)
}

func (f *onceFile) Sync() error {
	return f.check()
}

func TestAllUnreadableFilesAreReported(t *testing.T) {
	files := sampleFiles()
	tree, u := treeOf(files)
	bad := []string{"dir/sub/deep/leaf.txt", "big/noise.cab", "Windows/System32/zeros.dat"}
	for _, path := range bad {
		u.fail[tree.Lookup(path).Info.Data] = fmt.Errorf("%s: no", path)
	}
	short := tree.Lookup("sizes/4095").Info.Data
	u.data[short] = u.data[short][:4000]
	long := tree.Lookup("big/prose.log").Info.Data
	u.data[long] = append(u.data[long], 'x')
	f := &memFile{writes: -1}
	w, err := Create(f, &fixed)
	if err != nil {
		t.Fatal(err)
	}
	err = w.AddImage(context.Background(), tree, ImageInfo{Name: "a"})
	for _, want := range append(bad, "4000 of 4095", "more than its 2097275") {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want it to tell of %s", err, want)
		}
	}
	good, _ := treeOf(map[string][]byte{"a": prose(1, 9999)})
	if err := errors.Join(w.AddImage(context.Background(), good, ImageInfo{Name: "a"}), w.Close()); err != nil {
		t.Fatal(err)
	}
	r := f.reader(t)
	checkFiles(t, r.Images()[0], map[string][]byte{"a": prose(1, 9999)})
	if n := len(r.Blobs()); n != 1 {
		t.Errorf("%d blobs, want 1", n)
	}
	verifyClean(t, r)
}

func TestCancelledAddImage(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w, err := Create(&memFile{writes: -1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tree, _ := treeOf(sampleFiles())
	if err := w.AddImage(ctx, tree, ImageInfo{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

// changing gives different bytes each time.
type changing struct{ n atomic.Uint64 }

func (c *changing) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(prose(c.n.Add(1)+5, int(b.Size)))), nil
}

func TestChangeWhileReading(t *testing.T) {
	tree, _ := treeOf(map[string][]byte{"a": prose(1, 3<<20), "b": {1}})
	tree.Lookup("b").Info.Data = &winfile.Blob{Size: 3 << 20, Content: new(changing)}
	w, err := Create(&memFile{writes: -1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = w.AddImage(context.Background(), tree, ImageInfo{})
	if err == nil || !strings.Contains(err.Error(), `\b: changed while it was being read`) {
		t.Errorf("%v, want that b changed", err)
	}
	lie, u := treeOf(map[string][]byte{"a": prose(1, 100)})
	for b := range u.data {
		b.SHA1 = sha1.Sum([]byte("x"))
	}
	if err := w.AddImage(context.Background(), lie, ImageInfo{}); !errors.Is(err, ErrChecksum) {
		t.Errorf("%v, want ErrChecksum", err)
	}
}

// TestKnownBlobsAreNotRead appends a tree of the same file to it.
func TestKnownBlobsAreNotRead(t *testing.T) {
	files := sampleFiles()
	f := write(t, fixed, files)
	tree, u := treeOf(files)
	for b, data := range u.data {
		b.SHA1 = sha1.Sum(data)
		u.fail[b] = errors.New("read")
	}
	w, err := Append(f, int64(len(f.b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.AddImage(context.Background(), tree, ImageInfo{Name: "again"}), w.Close()); err != nil {
		t.Fatal(err)
	}
	if s := w.Stats(); s.NewBlobs != 0 || s.BytesRead != 0 || u.opens.Load() != 0 {
		t.Errorf("stats %+v, %d opened; want nothing", s, u.opens.Load())
	}
	checkFiles(t, f.reader(t).Images()[1], files)
}

// TestIncompressible holds the rule that a resource is smaller than its content or not compressed.
func TestIncompressible(t *testing.T) {
	almost := noise(1, 3<<20)
	copy(almost[:4096], prose(1, 4096)) // one chunk gets smaller, which does not pay for the chunk table
	files := map[string][]byte{"almost": almost, "noise": noise(2, 4<<20+7), "small": noise(3, 5000), "prose": prose(4, 100)}
	f := write(t, WriterOptions{ChunkSize: 4096}, files)
	r := f.reader(t)
	checkFiles(t, r.Images()[0], files)
	for name, data := range files {
		info, ok := r.Lookup(sha1.Sum(data))
		if !ok || info.Compressed != (info.StoredSize < info.Size) || info.Compressed && name != "prose" {
			t.Errorf("%s: %+v", name, info)
		}
	}
	verifyClean(t, r)
	reftool.Run(t, "wimlib-imagex", "verify", save(t, f))
}
