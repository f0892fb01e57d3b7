package codectest

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"husk/internal/reftool"
)

var le = binary.LittleEndian

// A Wimlib is a WIM to be made by wimlib-imagex, and what its chunks are expanded and compressed again with.
type Wimlib struct {
	Compress     string // LZX or XPRESS, a colon and a level from 1 to 100, which chooses wimlib's parser
	ChunkSize    int
	Compressor   Compressor // nil if the chunks are not to be compressed again
	Decompressor Decompressor
	AsSmall      bool // what is compressed again must be at most 1.01 times wimlib's size
}

// TestWimlib puts samples in WIMs and expands what wimlib-imagex compressed: every blob's SHA-1 must be the blob table's. The
// chunks are then compressed again and put into the WIM: wimlib, and 7-Zip for chunks of 32 KiB, must find their SHA-1 too.
func TestWimlib(t *testing.T, samples map[string][]byte, wims []Wimlib) {
	reftool.Look(t, "wimlib-imagex")
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, data := range samples {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range wims {
		t.Run(fmt.Sprint(w.Compress, "/", w.ChunkSize), func(t *testing.T) { w.test(t, dir) })
	}
}

func (w *Wimlib) test(t *testing.T, dir string) {
	file := filepath.Join(t.TempDir(), "test.wim")
	reftool.Run(t, "wimlib-imagex", "capture", dir, file, "--compress="+w.Compress, fmt.Sprint("--chunk-size=", w.ChunkSize))
	wim, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blobs, theirs, ours := 0, 0, 0
	for _, r := range compressedResources(wim) {
		blobs++
		plain := w.expand(t, r)
		if got := sha1.Sum(plain); got != r.sha1 {
			t.Errorf("blob at %#x: SHA-1 %x, want %x", r.offset, got, r.sha1)
		}
		if w.Compressor == nil {
			continue
		}
		stored := w.compress(plain)
		theirs += len(r.stored)
		ours += len(stored)
		if len(stored) < len(plain) { // else it would have to be stored raw
			r.move(wim, len(stored), len(wim))
			wim = append(wim, stored...)
		}
	}
	if blobs < 6 {
		t.Errorf("%d compressed blobs, want at least 6", blobs)
	}
	if w.Compressor == nil {
		return
	}
	if w.AsSmall && float64(ours) > 1.01*float64(theirs) {
		t.Errorf("compressed again: %d bytes, want at most 1.01 times wimlib's %d", ours, theirs)
	}
	if err := os.WriteFile(file, wim, 0o666); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "wimlib-imagex", "verify", file)
	if reftool.Have("7z") && w.ChunkSize == 1<<15 {
		reftool.Run(t, "7z", "t", file)
	}
}

// expand returns the plain bytes of r.
func (w *Wimlib) expand(t *testing.T, r resource) (blob []byte) {
	t.Helper()
	for i, chunk := range r.chunks(w.ChunkSize) {
		plain := make([]byte, min(w.ChunkSize, r.size-i*w.ChunkSize))
		if len(chunk) == len(plain) {
			copy(plain, chunk)
		} else if err := w.Decompressor.Decompress(plain, chunk); err != nil {
			t.Fatalf("blob at %#x, chunk %d: %v", r.offset, i, err)
		}
		blob = append(blob, plain...)
	}
	return blob
}

// compress returns a chunk table and chunks.
func (w *Wimlib) compress(plain []byte) []byte {
	var table, chunks []byte
	for i := 0; i < len(plain); i += w.ChunkSize {
		chunk := plain[i:min(i+w.ChunkSize, len(plain))]
		if i > 0 {
			table = le.AppendUint32(table, uint32(len(chunks)))
		}
		buf := make([]byte, len(chunk))
		if n := w.Compressor.Compress(buf, chunk); n > 0 {
			chunk = buf[:n]
		}
		chunks = append(chunks, chunk...)
	}
	return append(table, chunks...)
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
func compressedResources(wim []byte) (resources []resource) {
	header := func(p []byte) (stored, offset, size int, flags byte) {
		return int(le.Uint64(p) & (1<<56 - 1)), int(le.Uint64(p[8:])), int(le.Uint64(p[16:])), p[7]
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
		to := int(le.Uint32(r.stored[4*i:]))
		chunks = append(chunks, data[from:to])
		from = to
	}
	return append(chunks, data[from:])
}

// move makes the blob table's entry tell of other stored bytes.
func (r *resource) move(wim []byte, stored, offset int) {
	entry := wim[r.entry:]
	le.PutUint64(entry, uint64(stored)|uint64(entry[7])<<56)
	le.PutUint64(entry[8:], uint64(offset))
}
