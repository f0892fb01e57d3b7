package udf

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/internal/reftool"
	"husk/winfile"
	"husk/winfile/treefs"
)

// disc makes a folder of files and an image of it with genisoimage, and reads the image.
func disc(t *testing.T, files map[string][]byte, args ...string) []byte {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "files")
	when := time.Date(2009, 7, 14, 4, 5, 6, 0, time.UTC)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	iso := filepath.Join(t.TempDir(), "disc.iso")
	reftool.Run(t, "genisoimage", append(append([]string{"-quiet", "-udf", "-V", "HUSKDISC", "-o", iso}, args...), dir)...)
	image, err := os.ReadFile(iso)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func samples() map[string][]byte {
	files := map[string][]byte{
		"empty": nil, "one": {1}, "sources/install.wim": bytes.Repeat([]byte("husk"), 100_000), "sources/block": make([]byte, 2048),
		"a/b/c/d/e/deep.txt": []byte("deep"), "Umlaut Ä.txt": []byte("latin"), "中文 名字.txt": []byte("wide"),
		strings.Repeat("long ", 24) + "name.txt": []byte("long"),
	}
	for i := range 300 { // a directory of many blocks
		files[fmt.Sprintf("many/file number %d.dat", i)] = fmt.Appendf(nil, "content %d", i)
	}
	return files
}

func TestGenisoimage(t *testing.T) {
	files := samples()
	image := disc(t, files, "-allow-limited-size")
	if !Is(bytes.NewReader(image), int64(len(image))) {
		t.Error("not seen as UDF")
	}
	v, err := NewReader(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	if v.Label != "HUSKDISC" || v.BlockSize != 2048 || v.Revision != 0x0102 {
		t.Errorf("label %q, block size %d, revision %#x", v.Label, v.BlockSize, v.Revision)
	}
	tree, err := v.Tree()
	if err != nil {
		t.Fatal(err)
	}
	if got := tree.Totals().Names; got != len(files) {
		t.Errorf("%d files, want %d", got, len(files))
	}
	when := winfile.FiletimeOf(time.Date(2009, 7, 14, 4, 5, 6, 0, time.UTC))
	var blobs []*winfile.Blob
	hashes := make(map[*winfile.Blob][20]byte)
	for name, want := range files {
		e := tree.Lookup(name)
		if e == nil {
			t.Errorf("no %s", name)
			continue
		}
		if got, err := e.Info.Data.ReadAll(1 << 20); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
		if e.Info.Written != when {
			t.Errorf("%s: written %v", name, e.Info.Written.Time())
		}
		if e.Info.Data != nil {
			blobs, hashes[e.Info.Data] = append(blobs, e.Info.Data), sha1.Sum(want)
		}
	}
	var n int64
	if err := winfile.ReadBlobs(context.Background(), blobs, 1, func(b *winfile.Blob, off int64, p []byte) error {
		if off == 0 && int64(len(p)) == b.Size && sha1.Sum(p) != hashes[b] {
			t.Errorf("blob of %d bytes differs", b.Size)
		}
		n += int64(len(p))
		return nil
	}); err != nil || n != tree.Totals().Bytes {
		t.Errorf("%d bytes, %v", n, err)
	}
	if f, err := treefs.New(tree).Open("sources/install.wim"); err != nil {
		t.Error(err)
	} else if _, ok := f.(io.ReaderAt); !ok {
		t.Errorf("%T does not read anywhere", f)
	}
}

// mkudffs makes empty volumes of every sector size and revision.
func TestMkudffs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.udf")
	format := func(args ...string) (*Volume, error) {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 8<<20); err != nil {
			t.Fatal(err)
		}
		reftool.Run(t, "mkudffs", append(args, path)...)
		image, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return NewReader(bytes.NewReader(image), int64(len(image)))
	}
	for _, size := range []int{512, 1024, 2048, 4096} {
		for _, revision := range []uint16{0x0102, 0x0150, 0x0200, 0x0201} {
			v, err := format("-b", fmt.Sprint(size), "-r", fmt.Sprintf("%x.%02x", revision>>8, revision&0xff), "-l", "标签")
			if err != nil {
				t.Errorf("%d, %#x: %v", size, revision, err)
				continue
			}
			if v.Label != "标签" || v.Revision != revision || v.BlockSize != size {
				t.Errorf("%d, %#x: label %q, revision %#x, block size %d", size, revision, v.Label, v.Revision, v.BlockSize)
			}
			if tree, err := v.Tree(); err != nil || !tree.Root.Info.IsDir() {
				t.Errorf("%d, %#x: %v", size, revision, err)
			}
		}
	}
	if _, err := format("-m", "cdrw", "-r", "1.50"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("sparable partition: %v, want that it is not supported", err)
	}
}

// 7z is the second reader of the same image: names and sizes.
func Test7z(t *testing.T) {
	image := disc(t, samples())
	path := filepath.Join(t.TempDir(), "disc.iso")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	listing := reftool.Run(t, "7z", "l", "-slt", "-tUdf", path)
	listing = listing[strings.Index(listing, "----------\n"):]
	want := make(map[string]string)
	name := ""
	for line := range strings.Lines(listing) {
		if p, ok := strings.CutPrefix(line, "Path = "); ok {
			name = strings.TrimSuffix(p, "\n")
		} else if s, ok := strings.CutPrefix(line, "Size = "); ok {
			want[name] = strings.TrimSuffix(s, "\n")
		}
	}
	v, err := NewReader(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := v.Tree()
	if err != nil {
		t.Fatal(err)
	}
	for p, e := range tree.All() {
		if p == "." {
			continue
		}
		got, ok := want[p]
		if size := fmt.Sprint(e.Info.Size()); !ok || !e.Info.IsDir() && got != size {
			t.Errorf("%q has %s bytes, 7z says %q", p, size, got)
		}
		delete(want, p)
	}
	if len(want) > 0 {
		t.Errorf("7z has also %v", want)
	}
}
