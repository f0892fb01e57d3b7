package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"husk/internal/reftool"
	"husk/winfile"
)

func TestDiskSizes(t *testing.T) {
	for v, want := range map[any]int{header{}: headerSize, resourceHeader{}: resourceHeaderSize, blobEntry{}: blobEntrySize} {
		if got := binary.Size(v); got != want {
			t.Errorf("%T is %d bytes, want %d", v, got, want)
		}
	}
}

// noise is n bytes that do not compress.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := 0; i+8 <= n; i += 8 {
		le.PutUint64(b[i:], r.Uint64())
	}
	return b
}

// prose is n bytes that compress as text does.
func prose(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, 0, n+64)
	for len(b) < n {
		b = append(b, []string{"the line ", "a line ", "some line ", "every line "}[r.IntN(4)]...)
		b = strconv.AppendInt(b, r.Int64N(1000), 10)
		b = append(b, " of chapter "...)
		b = append(strconv.AppendInt(b, r.Int64N(1<<20), 16), '\r', '\n')
	}
	return b[:n:n]
}

// sampleFiles are the contents of a folder with every size that matters around chunks and pieces.
func sampleFiles() map[string][]byte {
	files := map[string][]byte{
		"empty.txt":                          {},
		"one":                                {'x'},
		"dir/sub/deep/leaf.txt":              []byte("leaf"),
		"中文/文件 一.txt":                        []byte("内容"),
		"dir/emoji 😀.bin":                    noise(1, 100),
		"big/prose.log":                      prose(2, 2<<20+123),
		"big/noise.cab":                      noise(3, 2<<20+1),
		"big/mixed":                          append(noise(4, 2<<20), prose(5, 100000)...),
		"dir/same-1":                         prose(6, 70000),
		"dir/same-2":                         prose(6, 70000),
		"Windows/System32/zeros.dat":         make([]byte, 100000),
		"Windows/System32/MixedCase.DLL":     prose(7, 40000),
		"Windows/System32/drivers/null.sys":  prose(8, 4096),
		"Windows/System32/drivers/null2.sys": prose(9, 4097),
	}
	for i, n := range []int{15, 16, 4095, 8191, 8192, 8193, 32768, 32769, 65536, 65537, 1 << 20, 1<<20 + 1} {
		files[fmt.Sprintf("sizes/%d", n)] = prose(uint64(100+i), n)
	}
	return files
}

// writeFolder makes files in a new folder.
func writeFolder(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openTest(t testing.TB, name string) *Reader {
	t.Helper()
	r, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func mustTree(t testing.TB, i *Image) *winfile.Tree {
	t.Helper()
	tree, err := i.Tree()
	if err != nil {
		t.Fatal(err)
	}
	if w := i.Warnings(); len(w) > 0 {
		t.Errorf("image %d: warnings %q", i.Index, w)
	}
	return tree
}

// checkFiles compares the files of an image with what they should hold, by ReadFile and in bulk.
func checkFiles(t testing.TB, i *Image, files map[string][]byte) {
	t.Helper()
	got := make(map[string]bool)
	var blobs []*winfile.Blob
	for path, e := range mustTree(t, i).All() {
		if e.Info.Attributes&winfile.AttrDirectory != 0 {
			continue
		}
		got[path] = true
		if e.Info.Data != nil && !slices.Contains(blobs, e.Info.Data) {
			blobs = append(blobs, e.Info.Data)
		}
	}
	if want := slices.Sorted(maps.Keys(files)); !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
		t.Errorf("files %q, want %q", slices.Sorted(maps.Keys(got)), want)
	}
	for name, want := range files {
		data, err := fs.ReadFile(i, name)
		if err != nil || !bytes.Equal(data, want) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(data), err, len(want))
		}
	}
	var mu sync.Mutex
	bulk := make(map[winfile.SHA1][]byte)
	err := winfile.ReadBlobs(context.Background(), blobs, 4, func(b *winfile.Blob, off int64, p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if len(p) > 1<<20 || off != int64(len(bulk[b.SHA1])) {
			t.Errorf("%s: piece of %d bytes at %d, want it at %d", b.SHA1, len(p), off, len(bulk[b.SHA1]))
		}
		bulk[b.SHA1] = append(bulk[b.SHA1], p...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if len(want) > 0 && !bytes.Equal(bulk[sha1.Sum(want)], want) {
			t.Errorf("%s: read in bulk: %d bytes, want %d", name, len(bulk[sha1.Sum(want)]), len(want))
		}
	}
}

func TestReadsWimlib(t *testing.T) {
	files := sampleFiles()
	dir := writeFolder(t, files)
	for _, tt := range []struct {
		name  string
		args  []string
		codec Codec
		chunk int
	}{
		{"none", []string{"--compress=none"}, None, 0},
		{"xpress", []string{"--compress=xpress", "--check"}, XPRESS, 32768},
		{"xpress 4k", []string{"--compress=xpress", "--chunk-size=4K"}, XPRESS, 4096},
		{"xpress 64k", []string{"--compress=xpress", "--chunk-size=64K"}, XPRESS, 65536},
		{"lzx", []string{"--compress=lzx"}, LZX, 32768},
		{"lzx 2m", []string{"--compress=lzx", "--chunk-size=2M"}, LZX, 2 << 20},
		{"lzms", []string{"--compress=lzms", "--chunk-size=32K"}, LZMS, 32768},
		{"solid", []string{"--compress=lzx", "--solid"}, LZX, 32768},
		{"solid lzx", []string{"--compress=xpress", "--solid", "--solid-compress=lzx", "--solid-chunk-size=32K"}, XPRESS, 32768},
		{"solid xpress", []string{"--compress=none", "--solid", "--solid-compress=xpress", "--solid-chunk-size=4K"}, None, 0},
		{"wimboot", []string{"--wimboot"}, XPRESS, 4096},
		{"unix data", []string{"--compress=xpress", "--unix-data"}, XPRESS, 32768},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "a.wim")
			reftool.Run(t, "wimlib-imagex", append([]string{"capture", dir, name, "名字", "描述 & <more>"}, tt.args...)...)
			r := openTest(t, name)
			if r.Codec() != tt.codec || r.ChunkSize() != tt.chunk {
				t.Errorf("%s, chunks of %d; want %s, %d", r.Codec(), r.ChunkSize(), tt.codec, tt.chunk)
			}
			if len(r.Images()) != 1 {
				t.Fatalf("%d images, want 1", len(r.Images()))
			}
			i := r.Images()[0]
			info := i.Info()
			if info.Name != "名字" || info.Description != "描述 & <more>" || info.WIMBoot != (tt.name == "wimboot") {
				t.Errorf("info %+v", info)
			}
			checkFiles(t, i, files)
			if sub, err := fs.Sub(i, "dir"); err != nil { // the others are too large for one-byte reads
				t.Error(err)
			} else if err := fstest.TestFS(sub, "sub/deep/leaf.txt", "emoji 😀.bin"); err != nil {
				t.Error(err)
			}
			res, err := r.Verify(context.Background(), nil)
			if err != nil || res.Err() != nil || len(res.Warnings) != 0 {
				t.Errorf("verify: %v, %+v", err, res)
			}
			if want := strings.Contains(strings.Join(tt.args, " "), "--check"); r.HasIntegrity() != want {
				t.Errorf("integrity table: %t, want %t", r.HasIntegrity(), want)
			}
			if tt.name == "unix data" {
				x := mustTree(t, i).Lookup("one").Info.Extra
				if x == nil || x.Unix == nil || x.Unix.Mode != 0o100644 {
					t.Errorf("UNIX data %+v", x)
				}
			}
		})
	}
}

func TestBlobReaderAt(t *testing.T) {
	for _, args := range [][]string{
		{"--compress=xpress", "--chunk-size=4K"},
		{"--solid", "--solid-compress=lzx", "--solid-chunk-size=64K"},
	} {
		t.Run(args[0], func(t *testing.T) { testBlobReaderAt(t, args) })
	}
}

func testBlobReaderAt(t *testing.T, args []string) {
	files := sampleFiles()
	dir := writeFolder(t, files)
	name := filepath.Join(t.TempDir(), "a.wim")
	reftool.Run(t, "wimlib-imagex", append([]string{"capture", dir, name}, args...)...)
	r := openTest(t, name)
	rnd := rand.New(rand.NewPCG(1, 1))
	for path, data := range files {
		if len(data) == 0 {
			continue
		}
		at, err := r.BlobReaderAt(r.Blob(sha1.Sum(data)))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			off := rnd.Int64N(int64(len(data)))
			p := make([]byte, rnd.IntN(200000)+1)
			n, err := at.ReadAt(p, off)
			want := data[off:min(int64(len(data)), off+int64(len(p)))]
			if !bytes.Equal(p[:n], want) || (err != nil) != (n < len(p)) || err != nil && err != io.EOF {
				t.Fatalf("%s: %d bytes at %d: got %d, %v", path, len(p), off, n, err)
			}
		}
		f, err := r.OpenBlob(r.Blob(sha1.Sum(data)))
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(f, data); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		f.Close()
	}
}

// TestDamageIsFound flips a byte of each blob's stored bytes in turn.
func TestDamageIsFound(t *testing.T) {
	files := map[string][]byte{"a": prose(1, 100000), "b": noise(2, 5000), "c": prose(3, 3<<19), "d": []byte("small")}
	dir := writeFolder(t, files)
	name := filepath.Join(t.TempDir(), "a.wim")
	reftool.Run(t, "wimlib-imagex", "capture", dir, name, "--compress=xpress", "--chunk-size=4K", "--check")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range files {
		r, err := NewReader(bytes.NewReader(good), int64(len(good)))
		if err != nil {
			t.Fatal(err)
		}
		info, _ := r.Lookup(sha1.Sum(data))
		bad := slices.Clone(good)
		bad[info.Offset+info.StoredSize-info.StoredSize/3-1] ^= 0x10
		if r, err = NewReader(bytes.NewReader(bad), int64(len(bad))); err != nil {
			t.Fatal(err)
		}
		hash := info.Hash.String()
		if _, err := fs.ReadFile(r.Images()[0], path); err == nil || !strings.Contains(err.Error(), hash) {
			t.Errorf("%s: read: %v, want the hash", path, err)
		}
		err = r.ReadBlobs(context.Background(), r.Blobs(), 2, func(*winfile.Blob, int64, []byte) error { return nil })
		var format *FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), hash) {
			t.Errorf("%s: bulk: %v, want a FormatError with the hash", path, err)
		}
		res, err := r.Verify(context.Background(), nil)
		if err != nil || len(res.Problems) != 2 || res.Blobs != len(files)-1 {
			t.Errorf("%s: verify: %v, %+v; want the blob and the integrity table", path, err, res)
		}
		if path == "b" && !errors.Is(res.Err(), ErrChecksum) {
			t.Errorf("%s: verify: %v, want ErrChecksum", path, res.Err())
		}
	}
	for _, n := range []int{0, 100, 207, 208, 1000, len(good) / 2, len(good) - 1} {
		if _, err := NewReader(bytes.NewReader(good[:n]), int64(n)); err == nil {
			t.Errorf("a file cut to %d bytes was accepted", n)
		}
	}
}

// TestSolidDamage changes solid resources and the blob table's entries for them, a blob in two resources, two
// that overlap, a chunk table that does not fit.
func TestSolidDamage(t *testing.T) {
	files := map[string][]byte{"a": prose(1, 100000), "b": prose(2, 50000), "c": noise(3, 70000), "d": prose(4, 200000)}
	dir := writeFolder(t, files)
	name := filepath.Join(t.TempDir(), "a.wim")
	reftool.Run(t, "wimlib-imagex", "capture", dir, name, "--solid", "--solid-compress=lzx", "--solid-chunk-size=64K")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	open := func(b []byte) (*Reader, error) { return NewReader(bytes.NewReader(b), int64(len(b))) }
	r, err := open(good)
	if err != nil {
		t.Fatal(err)
	}
	verifyClean(t, r)
	solid := r.Blob(sha1.Sum(files["a"])).Ref.(*resource).solid
	table := int(r.hdr.BlobTable.Offset)
	entry := func(b []byte, solidOnes bool) []byte { // the first blob, or resource, of the run
		for off := table; ; off += blobEntrySize {
			if e := getBlobEntry(b[off:]); e.Resource.flags()&resSolid != 0 && (e.Resource.Original == solidOriginal) == solidOnes {
				return b[off:]
			}
		}
	}
	for what, tt := range map[string]struct {
		change func(b []byte)
		bad    int // blobs that are lost or wrong
	}{
		"chunk size":        {func(b []byte) { le.PutUint32(b[solid.off+8:], 3000) }, 4},
		"codec":             {func(b []byte) { b[solid.off+12] = 9 }, 4},
		"plain size":        {func(b []byte) { le.PutUint64(b[solid.off:], 1<<40) }, 4},
		"chunk table":       {func(b []byte) { b[solid.off+solidHeaderSize]++ }, 4},
		"resource outside":  {func(b []byte) { le.PutUint64(entry(b, true)[8:], 1<<40) }, 4},
		"offset far":        {func(b []byte) { le.PutUint64(entry(b, false)[8:], 1<<40) }, 1},
		"over the end":      {func(b []byte) { le.PutUint64(entry(b, false)[8:], uint64(solid.size-1)) }, 1},
		"stored byte":       {func(b []byte) { b[solid.chunks[0]+200] ^= 0x40 }, 1},
		"no resource entry": {func(b []byte) { entry(b, true)[0x10+4] = 0 }, 4},
	} {
		t.Run(what, func(t *testing.T) {
			bad := slices.Clone(good)
			tt.change(bad)
			r, err := open(bad)
			if err != nil {
				t.Fatal(err)
			}
			res, err := r.Verify(context.Background(), nil)
			if err != nil || res.Err() == nil || len(files)-res.Blobs < tt.bad {
				t.Errorf("%v, %d of %d blobs are good: %v", err, res.Blobs, len(files), res.Problems)
			}
			for path, data := range files {
				if got, err := fs.ReadFile(r.Images()[0], path); err == nil && !bytes.Equal(got, data) {
					t.Errorf("%s: wrong bytes and no error", path)
				}
			}
		})
	}
}

func TestReadBlobsStopsAtErrors(t *testing.T) {
	files := map[string][]byte{"a": prose(1, 10<<20), "b": prose(2, 100), "c": prose(3, 100000)}
	dir := writeFolder(t, files)
	name := filepath.Join(t.TempDir(), "a.wim")
	reftool.Run(t, "wimlib-imagex", "capture", dir, name, "--compress=xpress")
	r := openTest(t, name)
	boom := errors.New("boom")
	for path, data := range files {
		bad := r.Blob(sha1.Sum(data))
		err := r.ReadBlobs(context.Background(), r.Blobs(), 3, func(b *winfile.Blob, _ int64, _ []byte) error {
			if b == bad {
				return boom
			}
			return nil
		})
		if err != boom {
			t.Errorf("%s: %v, want boom", path, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.ReadBlobs(ctx, r.Blobs(), 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

func BenchmarkReadBlobs(b *testing.B) {
	files := map[string][]byte{"big": prose(1, 64<<20)}
	for i := range 500 {
		files[fmt.Sprint(i)] = prose(uint64(i), 20000)
	}
	dir := writeFolder(b, files)
	name := filepath.Join(b.TempDir(), "a.wim")
	reftool.Run(b, "wimlib-imagex", "capture", dir, name, "--wimboot")
	r := openTest(b, name)
	var total int64
	for _, blob := range r.Blobs() {
		total += blob.Size
	}
	b.SetBytes(total)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.ReadBlobs(context.Background(), r.Blobs(), 0, func(*winfile.Blob, int64, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
