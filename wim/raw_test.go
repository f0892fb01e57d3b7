package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"

	"husk/internal/reftool"
	"husk/winfile"
	"husk/wof"
)

// TestRawBlobs takes blobs as they are out of WIMs that wimlib and husk have made, and has package wof read each as the stream of a compact
// file, which it is.
func TestRawBlobs(t *testing.T) {
	files := sampleFiles()
	dir := t.TempDir()
	for name, b := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		codec     string
		chunk     int
		opts      WriterOptions
		algorithm wof.Algorithm
	}{
		{"XPRESS", 4096, WriterOptions{ChunkSize: 4096}, wof.XPRESS4K},
		{"XPRESS", 8192, WriterOptions{ChunkSize: 8192}, wof.XPRESS8K},
		{"XPRESS", 16384, WriterOptions{ChunkSize: 16384}, wof.XPRESS16K},
		{"LZX", 32768, WriterOptions{Codec: LZX}, wof.LZX},
	} {
		t.Run(fmt.Sprint("husk ", tt.algorithm), func(t *testing.T) {
			checkRaw(t, write(t, tt.opts, files).reader(t), tt.algorithm)
		})
		t.Run(fmt.Sprint("wimlib ", tt.algorithm), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "theirs.wim")
			reftool.Run(t, "wimlib-imagex", "capture", dir, name, "--compress="+tt.codec, fmt.Sprint("--chunk-size=", tt.chunk))
			r, err := Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			checkRaw(t, r, tt.algorithm)
		})
	}
	none := write(t, WriterOptions{Codec: None}, files).reader(t)
	for i := range none.blobs {
		if _, ok := none.RawBlob(&none.blobs[i]); ok {
			t.Fatal("a raw blob in an uncompressed WIM")
		}
	}
	if _, ok := none.RawBlob(winfile.NewBlob([]byte("other"))); ok {
		t.Error("a raw blob of another file")
	}
}

func checkRaw(t *testing.T, r *Reader, a wof.Algorithm) {
	t.Helper()
	var raws []*winfile.Blob
	plain := make(map[*winfile.Blob]*winfile.Blob)
	incompressible := 0
	for i := range r.blobs {
		b := &r.blobs[i]
		raw, ok := r.RawBlob(b)
		if n, compressed := r.StoredSize(b); compressed != ok || ok && n != raw.Size || !ok && n != b.Size {
			t.Errorf("blob %v is stored in %d bytes, compressed %t", b.SHA1, n, compressed)
		}
		if !ok {
			incompressible++
			continue
		}
		raws = append(raws, raw)
		plain[raw] = b
	}
	if len(raws) < 10 || incompressible == 0 {
		t.Fatalf("%d compressed blobs, %d others: the sample shall have both", len(raws), incompressible)
	}
	var mu sync.Mutex
	got := make(map[*winfile.Blob][]byte)
	err := winfile.ReadBlobs(context.Background(), raws, 3, func(b *winfile.Blob, off int64, p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if off != int64(len(got[b])) || len(p) > 1<<20 {
			return fmt.Errorf("%d bytes at %d, want them at %d", len(p), off, len(got[b]))
		}
		got[b] = append(got[b], p...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for raw, b := range plain {
		stream := got[raw]
		c, err := wof.NewCompactReader(bytes.NewReader(stream), int64(len(stream)), a, b.Size)
		if err != nil {
			t.Errorf("%v: %v", b.SHA1, err)
			continue
		}
		h := sha1.New()
		if _, err := io.Copy(h, io.NewSectionReader(c, 0, c.Size())); err != nil || winfile.SHA1(h.Sum(nil)) != b.SHA1 {
			t.Errorf("%v: content is %x, %v", b.SHA1, h.Sum(nil), err)
		}
		if b.Size > 10000 {
			continue
		}
		opened, err := raw.Content.OpenBlob(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(opened, stream); err != nil {
			t.Errorf("%v: %v", b.SHA1, err)
		}
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRawBlobsOfCutFile reads from a WIM that ends early: an error, not fewer bytes.
func TestRawBlobsOfCutFile(t *testing.T) {
	f := write(t, WriterOptions{ChunkSize: 4096}, sampleFiles())
	r := f.reader(t)
	var raws []*winfile.Blob
	for i := range r.blobs {
		if raw, ok := r.RawBlob(&r.blobs[i]); ok {
			raws = append(raws, raw)
		}
	}
	r.r = bytes.NewReader(f.b[:len(f.b)/2])
	err := winfile.ReadBlobs(context.Background(), raws, 2, func(*winfile.Blob, int64, []byte) error { return nil })
	if format := new(FormatError); err == nil || !errors.As(err, &format) {
		t.Errorf("%v, want a FormatError", err)
	}
	alien := &winfile.Blob{Size: 3, Content: raws[0].Content}
	if err := winfile.ReadBlobs(context.Background(), []*winfile.Blob{alien}, 1, nil); err == nil {
		t.Error("a blob of another file is read")
	}
}
