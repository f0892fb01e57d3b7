package lzx

import (
	"crypto/sha1"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"husk/internal/reftool"
)

// TestWimlib expands what wimlib-imagex compressed: every blob's SHA-1 must be the blob table's, for several chunk sizes
// and each of wimlib's parsers. The chunks are then compressed again, which must not make them much bigger, and put into
// the WIM: wimlib and 7-Zip must find their SHA-1 too.
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
		wimlibLevel string
		chunk       string
		chunkSize   int
		level       Level
	}{
		{"50", "32K", 1 << 15, Default}, {"20", "32K", 1 << 15, Fast}, {"100", "32K", 1 << 15, Best},
		{"50", "64K", 1 << 16, Default}, {"20", "1M", 1 << 20, Fast}, {"50", "2M", 1 << 21, Default},
	} {
		if underRace && tt.level != Fast {
			continue
		}
		t.Run(tt.wimlibLevel+"/"+tt.chunk, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "test.wim")
			reftool.Run(t, "wimlib-imagex", "capture", dir, file, "--compress=LZX:"+tt.wimlibLevel, "--chunk-size="+tt.chunk)
			wim, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := NewCompressor(tt.chunkSize, tt.level)
			blobs, theirs, ours := 0, 0, 0
			for _, r := range compressedResources(t, wim) {
				blobs++
				plain := r.expand(t, tt.chunkSize)
				if got := sha1.Sum(plain); got != r.sha1 {
					t.Errorf("blob at %#x: SHA-1 %x, want %x", r.offset, got, r.sha1)
				}
				stored := compressResource(c, plain, tt.chunkSize)
				theirs += len(r.stored)
				ours += len(stored)
				if len(stored) < len(plain) { // else it would have to be stored raw
					putResource(wim, r, stored, len(wim))
					wim = append(wim, stored...)
				}
			}
			if blobs < 6 {
				t.Errorf("%d compressed blobs, want at least 6", blobs)
			}
			if tt.level != Fast && float64(ours) > 1.01*float64(theirs) {
				t.Errorf("compressed again: %d bytes, want at most 1.01 times wimlib's %d", ours, theirs)
			}
			if err := os.WriteFile(file, wim, 0o666); err != nil {
				t.Fatal(err)
			}
			reftool.Run(t, "wimlib-imagex", "verify", file)
			if reftool.Have("7z") && tt.chunkSize == minWindow {
				reftool.Run(t, "7z", "t", file)
			}
		})
	}
}

// compressResource returns a chunk table and chunks.
func compressResource(c *Compressor, plain []byte, chunkSize int) []byte {
	var table, chunks []byte
	for i := 0; i < len(plain); i += chunkSize {
		chunk := plain[i:min(i+chunkSize, len(plain))]
		if i > 0 {
			table = le.AppendUint32(table, uint32(len(chunks)))
		}
		buf := make([]byte, len(chunk))
		if n := c.Compress(buf, chunk); n > 0 {
			chunk = buf[:n]
		}
		chunks = append(chunks, chunk...)
	}
	return append(table, chunks...)
}

// putResource makes the blob table's entry for r tell of stored at an offset.
func putResource(wim []byte, r resource, stored []byte, offset int) {
	entry := wim[r.entry:]
	le.PutUint64(entry, uint64(len(stored))|uint64(entry[7])<<56)
	le.PutUint64(entry[8:], uint64(offset))
}

// A resource is a compressed blob of a WIM.
type resource struct {
	entry  int // where the blob table's entry is
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
	for entry := offset; entry < offset+stored; entry += 50 {
		stored, offset, size, flags := header(wim[entry:])
		if flags&4 != 0 {
			r := resource{entry, offset, wim[offset:][:stored], size, [20]byte(wim[entry+30:])}
			resources = append(resources, r)
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

// expand returns the plain bytes.
func (r *resource) expand(t *testing.T, chunkSize int) (blob []byte) {
	t.Helper()
	for i, chunk := range r.chunks(chunkSize) {
		plain := make([]byte, min(chunkSize, r.size-i*chunkSize))
		if len(chunk) == len(plain) {
			copy(plain, chunk)
		} else if err := Decompress(plain, chunk, chunkSize); err != nil {
			t.Fatalf("blob at %#x, chunk %d: %v", r.offset, i, err)
		}
		blob = append(blob, plain...)
	}
	return blob
}
