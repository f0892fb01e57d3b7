package lzx

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"husk/internal/reftool"
)

// TestWimlib expands what wimlib-imagex compressed: every blob's SHA-1 must be the blob table's, for several chunk sizes
// and each of wimlib's parsers.
func TestWimlib(t *testing.T) {
	reftool.Look(t, "wimlib-imagex")
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, data := range samples(t) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		level     string
		chunk     string
		chunkSize int
	}{
		{"LZX:50", "32K", 1 << 15}, {"LZX:50", "64K", 1 << 16}, {"LZX:50", "128K", 1 << 17}, {"LZX:50", "1M", 1 << 20},
		{"LZX:50", "2M", 1 << 21}, {"LZX:20", "32K", 1 << 15}, {"LZX:100", "32K", 1 << 15},
	} {
		t.Run(tt.level+"/"+tt.chunk, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "test.wim")
			reftool.Run(t, "wimlib-imagex", "capture", dir, file, "--compress="+tt.level, "--chunk-size="+tt.chunk)
			wim, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			blobs := 0
			for _, r := range compressedResources(t, wim) {
				blobs++
				var blob bytes.Buffer
				for i, chunk := range r.chunks(tt.chunkSize) {
					plain := make([]byte, min(tt.chunkSize, r.size-i*tt.chunkSize))
					if len(chunk) == len(plain) {
						copy(plain, chunk)
					} else if err := Decompress(plain, chunk, tt.chunkSize); err != nil {
						t.Fatalf("blob at %#x, chunk %d: %v", r.offset, i, err)
					}
					blob.Write(plain)
				}
				if got := sha1.Sum(blob.Bytes()); got != r.sha1 {
					t.Errorf("blob at %#x: SHA-1 %x, want %x", r.offset, got, r.sha1)
				}
			}
			if blobs < 6 {
				t.Errorf("%d compressed blobs, want at least 6", blobs)
			}
		})
	}
}

// A resource is a compressed blob of a WIM.
type resource struct {
	offset int
	stored []byte
	size   int // plain bytes
	sha1   [20]byte
}

// compressedResources reads the blob table of a WIM that wimlib has just written.
func compressedResources(t *testing.T, wim []byte) (resources []resource) {
	t.Helper()
	header := func(p []byte) (stored, offset, size int, flags byte) {
		u64 := binary.LittleEndian.Uint64
		return int(u64(p) & (1<<56 - 1)), int(u64(p[8:])), int(u64(p[16:])), p[7]
	}
	stored, offset, _, _ := header(wim[0x30:])
	for table := wim[offset:][:stored]; len(table) >= 50; table = table[50:] {
		stored, offset, size, flags := header(table)
		if flags&4 != 0 {
			resources = append(resources, resource{offset, wim[offset:][:stored], size, [20]byte(table[30:])})
		}
	}
	return resources
}

// chunks cuts the stored bytes at the offsets of the chunk table.
func (r *resource) chunks(chunkSize int) (chunks [][]byte) {
	entries := (r.size+chunkSize-1)/chunkSize - 1
	data := r.stored[4*entries:]
	from := 0
	for i := range entries {
		to := int(binary.LittleEndian.Uint32(r.stored[4*i:]))
		chunks = append(chunks, data[from:to])
		from = to
	}
	return append(chunks, data[from:])
}
