package wof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"husk/compress/xpress"
	"husk/winfile"
)

// mixed is text with a stretch of noise, so that some chunks are raw.
func mixed(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, 0, n+32)
	for len(b) < n {
		switch {
		case len(b)/40000%3 == 2:
			b = append(b, byte(r.Uint32()))
		default:
			b = fmt.Appendf(b, "%x lorem ipsum ", r.Uint32()%512)
		}
	}
	return b[:n]
}

var algorithms = []Algorithm{XPRESS4K, LZX, XPRESS8K, XPRESS16K}

// compactSizes are one chunk, its neighbours, and more than one piece.
func compactSizes(a Algorithm) []int {
	c := a.ChunkSize()
	return []int{1, 100, c - 1, c, c + 1, 2*c - 7, 10 * c, 3*compactPiece + 12345}
}

// TestCompactLayout takes a stream apart by the format's own rules: table of ends, then chunks, raw where they are not smaller.
func TestCompactLayout(t *testing.T) {
	plain := mixed(100_000)
	b := EncodeCompact(XPRESS8K, plain, 1)
	const chunks = 13 // of 8 KiB in 100,000
	var got []byte
	raw := 0
	start := uint32(0)
	for i := range chunks {
		end := uint32(len(b) - 4*(chunks-1))
		if i < chunks-1 {
			end = le.Uint32(b[4*i:])
		}
		stored := b[4*(chunks-1):][start:end]
		out := make([]byte, min(8192, len(plain)-8192*i))
		if len(stored) == len(out) {
			raw++
			copy(out, stored)
		} else if err := xpress.Decompress(out, stored); err != nil {
			t.Fatalf("chunk %d: %v", i, err)
		}
		got, start = append(got, out...), end
	}
	if !bytes.Equal(got, plain) {
		t.Error("the chunks give another content")
	}
	if raw == 0 || raw == chunks {
		t.Errorf("%d raw chunks: the sample shall have both kinds", raw)
	}
}

func TestCompactRoundTrip(t *testing.T) {
	for _, a := range algorithms {
		for _, n := range compactSizes(a) {
			plain := mixed(n)
			stream := EncodeCompact(a, plain, 2)
			if again := EncodeCompact(a, plain, 1); !bytes.Equal(stream, again) {
				t.Errorf("%v, %d bytes: one worker makes other bytes than two", a, n)
			}
			r, err := NewCompactReader(bytes.NewReader(stream), int64(len(stream)), a, int64(n))
			if err != nil {
				t.Fatalf("%v, %d bytes: %v", a, n, err)
			}
			if err := testReader(io.NewSectionReader(r, 0, r.Size()), plain); err != nil {
				t.Errorf("%v, %d bytes, at random: %v", a, n, err)
			}
			for _, step := range []int{1, 3, 4096, 100_000, len(stream)} {
				if step < 100 && len(stream) > 10_000 {
					continue
				}
				if got, err := expandSteps(a, stream, n, step); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%v, %d bytes in steps of %d: %d bytes, %v", a, n, step, len(got), err)
				}
			}
		}
	}
}

// testReader is iotest.TestReader, which reads byte by byte, only for what is small.
func testReader(r io.Reader, want []byte) error {
	if len(want) <= 40_000 {
		return iotest.TestReader(r, want)
	}
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("other bytes")
	}
	return err
}

// expandSteps decodes a stream that comes in steps.
func expandSteps(a Algorithm, stream []byte, size, step int) ([]byte, error) {
	s, err := newCompactShape(a, int64(size), int64(len(stream)))
	if err != nil {
		return nil, err
	}
	var x expander
	if err := x.reset(s, 2); err != nil {
		return nil, err
	}
	var got []byte
	for p := range slices.Chunk(stream, step) {
		err := x.feed(p, func(off int64, plain []byte) error {
			if off != int64(len(got)) || len(plain) > compactPiece {
				return fmt.Errorf("%d bytes at %d, want them at %d", len(plain), off, len(got))
			}
			got = append(got, plain...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return got, x.done()
}

// TestCompactEncoderPieces adds a content in pieces of all lengths.
func TestCompactEncoderPieces(t *testing.T) {
	plain := mixed(300_001)
	for _, a := range algorithms {
		want := EncodeCompact(a, plain, 1)
		for _, step := range []int{1000, 4096, 32 << 10, 70_000, 300_001} {
			e := NewCompactEncoder(a, int64(len(plain)), 2)
			got := make([]byte, e.TableSize())
			for p := range slices.Chunk(plain, step) {
				if err := e.Add(p, func(b []byte) error { got = append(got, b...); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			table, err := e.Table()
			if err != nil {
				t.Fatal(err)
			}
			if copy(got, table); !bytes.Equal(got, want) {
				t.Errorf("%v in steps of %d differs", a, step)
			}
		}
	}
	e := NewCompactEncoder(LZX, 10, 1)
	discard := func([]byte) error { return nil }
	if err := e.Add(make([]byte, 11), discard); err == nil || err.Error() != "wof: content of 10 bytes goes on after them" {
		t.Error(err)
	}
	if err := e.Add(make([]byte, 9), discard); err != nil {
		t.Error(err)
	}
	if _, err := e.Table(); err == nil || err.Error() != "wof: content ended after 9 of 10 bytes" {
		t.Error(err)
	}
	want := errors.New("full")
	if err := NewCompactEncoder(LZX, 9, 1).Add(make([]byte, 9), func([]byte) error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
}

// TestCompactWideTable reads a content of more than 4 GiB, whose table has entries of 8 bytes, through a stream that is made as it is read.
func TestCompactWideTable(t *testing.T) {
	const size = 1<<32 + 12345
	e := NewCompactEncoder(LZX, size, 1)
	chunks := int64(size+32767) / 32768
	if e.TableSize() != 8*(chunks-1) {
		t.Fatalf("table of %d bytes, want %d", e.TableSize(), 8*(chunks-1))
	}
	// Every chunk but the last is the same, so that the table is a row of multiples.
	zero := make([]byte, 32768)
	chunk := make([]byte, 32768)
	chunk = chunk[:NewCompactCompressor(LZX).Compress(chunk, zero)]
	tail := make([]byte, 12345)
	tail = tail[:NewCompactCompressor(LZX).Compress(tail, zero[:12345])]
	stored := &rowStream{table: 8 * (chunks - 1), chunk: chunk, chunks: chunks - 1, tail: tail}
	r, err := NewCompactReader(stored, stored.size(), LZX, size)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 1<<31 - 5, 1<<32 - 7, size - 10} {
		p := bytes.Repeat([]byte{1}, 10)
		if n, err := r.ReadAt(p, off); n != 10 || !bytes.Equal(p, zero[:10]) {
			t.Errorf("at %d: %d bytes, %v", off, n, err)
		}
	}
	if n, err := r.ReadAt(make([]byte, 10), size-3); n != 3 || err != io.EOF {
		t.Errorf("at the end: %d bytes, %v", n, err)
	}
	if s := shapeOf(LZX, 1<<32-1); s.width != 4 {
		t.Errorf("entries of %d bytes below 4 GiB", s.width)
	}
	if s := shapeOf(LZX, 1<<32); s.width != 8 {
		t.Errorf("entries of %d bytes from 4 GiB on", s.width)
	}
}

// rowStream is a stream of equal chunks, and another last one.
type rowStream struct {
	table, chunks int64
	chunk, tail   []byte
}

func (s *rowStream) size() int64 { return s.table + s.chunks*int64(len(s.chunk)) + int64(len(s.tail)) }

func (s *rowStream) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		switch at := off + int64(i); {
		case at < s.table:
			p[i] = byte((at/8 + 1) * int64(len(s.chunk)) >> (at % 8 * 8))
		case at-s.table < s.chunks*int64(len(s.chunk)):
			p[i] = s.chunk[(at-s.table)%int64(len(s.chunk))]
		default:
			p[i] = s.tail[at-s.table-s.chunks*int64(len(s.chunk))]
		}
	}
	return len(p), nil
}

func TestCompactErrors(t *testing.T) {
	plain := []byte(strings.Repeat("compact ", 2000)) // 16,000 bytes: 4 chunks of 4 KiB
	good := EncodeCompact(XPRESS4K, plain, 1)
	second := int64(le.Uint32(good)) // where chunk 1 starts
	for _, tt := range []struct {
		name string
		b    []byte
		a    Algorithm
		size int64
		want string
	}{
		{"algorithm", good, 4, 16000, "wof: WofCompressedData at 0x0: algorithm 4, want at most 3"},
		{"no content", good, 0, 0, "wof: WofCompressedData at 0x0: content of 0 bytes, want 1 to 1152921504606846976"},
		{"negative", good, 0, -1, "wof: WofCompressedData at 0x0: content of -1 bytes, want 1 to 1152921504606846976"},
		{"huge", good, 0, 1<<63 - 1, "content of 9223372036854775807 bytes, want 1 to 1152921504606846976"},
		{"cut", good[:14], 0, 16000, "wof: WofCompressedData at 0x0: 14 bytes for a content of 16000, want 16 to 16012 with XPRESS4K"},
		{"long", append(bytes.Clone(good), make([]byte, 16000)...), 0, 16000,
			fmt.Sprintf("wof: WofCompressedData at 0x0: %d bytes for a content of 16000, want 16 to 16012 with XPRESS4K", len(good)+16000)},
		{"empty chunk", patch(good, 0, 0, 0, 0, 0), 0, 16000, fmt.Sprintf("wof: WofCompressedData at 0x0: chunk 0 from 0 to 0, want 1 to 4096 bytes that end by %d", len(good)-12)},
		{"backwards", patch(good, 4, 1, 0, 0, 0), 0, 16000, fmt.Sprintf("wof: WofCompressedData at 0x4: chunk 1 from %d to 1, want 1 to 4096 bytes that end by %d", second, len(good)-12)},
		{"behind the end", patch(good, 8, 0xff, 0xff, 0xff, 0xff), 0, 16000, "to 4294967295, want 1 to 4096"},
		{"chunk", patch(good, 12+int(second), 0xff, 0xff, 0xff, 0xff), 0, 16000, fmt.Sprintf("wof: WofCompressedData at %#x: chunk 1: xpress: corrupt chunk", 12+second)},
	} {
		check := func(way string, err error) {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, %s: %v, want %s", tt.name, way, err, tt.want)
			}
			if f := new(FormatError); !errors.As(err, &f) {
				t.Errorf("%s, %s: %T, want a FormatError", tt.name, way, err)
			}
		}
		_, err := expandSteps(tt.a, tt.b, int(min(tt.size, 1<<30)), 1<<20)
		if tt.size <= 1<<30 {
			check("in order", err)
		}
		r, err := NewCompactReader(bytes.NewReader(tt.b), int64(len(tt.b)), tt.a, tt.size)
		if err == nil {
			_, err = io.Copy(io.Discard, io.NewSectionReader(r, 0, r.Size()))
		}
		check("at random", err)
	}
	r, err := NewCompactReader(bytes.NewReader(good[:40]), int64(len(good)), XPRESS4K, 16000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("stream ends early: %v", err)
	}
	if _, err := r.ReadAt(nil, -1); err == nil {
		t.Error("read before the start")
	}
}

// TestHostileTableIsBounded claims a content whose table would take 16 GiB: memory is only taken for entries that are right.
func TestHostileTableIsBounded(t *testing.T) {
	const size = 1 << 44
	s := shapeOf(XPRESS4K, size)
	blob := &winfile.Blob{Size: s.table + s.chunks}
	if _, err := newCompactBlob(new(compactFiles), blob, XPRESS4K, size, 5); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v, want an unsupported table", err)
	}
	s = shapeOf(XPRESS4K, 1<<34)
	s.stored = s.table + s.chunks
	var x expander
	if err := x.reset(s, 1); err != nil {
		t.Fatal(err)
	}
	if err := x.feed(make([]byte, 100), nil); err == nil || cap(x.entries) > 1000 {
		t.Errorf("%v, %d bytes of table kept", err, cap(x.entries))
	}
}

// compactFile is a file as a volume reader gives it.
func compactFile(plain []byte, a Algorithm) *winfile.Info {
	return &winfile.Info{
		Attributes: winfile.AttrArchive | winfile.AttrReparse | winfile.AttrSparse, Links: 1, ID: 77,
		Reparse: (&CompactInfo{a}).Reparse(), Data: winfile.NewBlob(make([]byte, len(plain))),
		Streams: []winfile.Stream{
			{Name: "other", Data: winfile.NewBlob([]byte("kept"))},
			{Name: "wofcompresseddata", Data: winfile.NewBlob(EncodeCompact(a, plain, 1))},
		},
	}
}

func TestResolveCompact(t *testing.T) {
	var files []file
	contents := make(map[string][]byte)
	for i, a := range algorithms {
		for _, n := range compactSizes(a) {
			name := fmt.Sprintf("%d/%d", i, n)
			contents[name] = mixed(n)
			files = append(files, file{name, compactFile(contents[name], a)})
		}
	}
	linked := compactFile([]byte("two names"), LZX)
	linked.Links = 2
	files = append(files, file{"a", linked}, file{"b", linked})
	contents["a"] = []byte("two names")
	tree := makeTree(files...)
	result, err := Resolve(tree, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if result.Compact.Files != len(contents) || result.Files != 0 {
		t.Errorf("%+v, want %d compact files", result, len(contents))
	}
	var blobs []*winfile.Blob
	want := make(map[*winfile.Blob][]byte)
	for name, content := range contents {
		i := tree.Lookup(name).Info
		if i.Attributes != winfile.AttrArchive || i.Reparse != nil || len(i.Streams) != 1 || i.Streams[0].Name != "other" {
			t.Errorf("%s is still a compact file: %+v", name, i)
		}
		if _, _, ok := Stored(i.Data); !ok {
			t.Errorf("%s: the stream is lost", name)
		}
		r, err := i.Data.Content.OpenBlob(i.Data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := testReader(r, content); err != nil {
			t.Errorf("%s, opened: %v", name, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := r.Read(make([]byte, 1)); err == nil {
			t.Error("read after Close")
		}
		at, err := i.Data.Content.(*compactFiles).BlobReaderAt(i.Data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := testReader(io.NewSectionReader(at, 0, i.Data.Size), content); err != nil {
			t.Errorf("%s, at random: %v", name, err)
		}
		blobs = append(blobs, i.Data)
		want[i.Data] = content
	}
	var mu sync.Mutex
	got := make(map[*winfile.Blob][]byte)
	err = winfile.ReadBlobs(context.Background(), blobs, 3, func(b *winfile.Blob, off int64, p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if off != int64(len(got[b])) || len(p) > 1<<20 || len(p) == 0 {
			return fmt.Errorf("%d bytes at %d, want them at %d", len(p), off, len(got[b]))
		}
		got[b] = append(got[b], p...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for b, content := range want {
		if !bytes.Equal(got[b], content) {
			t.Errorf("content of %d bytes differs", len(content))
		}
	}
	stop := errors.New("stop")
	if err := winfile.ReadBlobs(context.Background(), blobs, 2, func(*winfile.Blob, int64, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v, want the error of deliver", err)
	}
}

func TestResolveCompactFailures(t *testing.T) {
	noStream := compactFile([]byte("text"), LZX)
	noStream.Streams = nil
	folder := compactFile([]byte("text"), LZX)
	folder.Attributes |= winfile.AttrDirectory
	short := compactFile(mixed(100_000), LZX)
	short.Streams[1].Data = winfile.NewBlob([]byte("abcdefgh"))
	algorithm := compactFile([]byte("text"), LZX)
	algorithm.Reparse.Data = patch(algorithm.Reparse.Data, 12, 9)
	for want, i := range map[string]*winfile.Info{
		"wof: f: compact file of 4 bytes without WofCompressedData":                                     noStream,
		"wof: f: a directory with the reparse point of a compact file":                                  folder,
		"wof: f: WofCompressedData at 0x0: 8 bytes for a content of 100000, want 16 to 100012 with LZX": short,
		"wof: f: compact file at 0x14: algorithm 9, want at most 3":                                     algorithm,
	} {
		result, err := Resolve(makeTree(file{"f", i}), nil, nil)
		if fmt.Sprint(err) != want || len(result.Failures) != 1 || i.Reparse == nil {
			t.Errorf("%v, want %s", err, want)
		}
	}
	damaged := compactFile(mixed(100_000), LZX)
	stream, err := damaged.Streams[1].Data.ReadAll(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	damaged.Streams[1].Data = winfile.NewBlob(patch(stream, 2, 0xff))
	if _, err := Resolve(makeTree(file{"f", damaged}), nil, nil); err != nil {
		t.Fatal(err)
	}
	const want = "wof: compact file 77: wof: WofCompressedData at 0x0: chunk 0 from 0"
	if _, err := damaged.Data.ReadAll(1 << 20); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	err = winfile.ReadBlobs(context.Background(), []*winfile.Blob{damaged.Data}, 1, func(*winfile.Blob, int64, []byte) error { return nil })
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestAlgorithmOf(t *testing.T) {
	for _, a := range algorithms {
		if got, ok := AlgorithmOf(a.Codec(), int64(a.ChunkSize())); !ok || got != a {
			t.Errorf("%v with chunks of %d is %v", a.Codec(), a.ChunkSize(), got)
		}
	}
	for chunk, c := range map[int64]Codec{32 << 10: CodecXPRESS, 64 << 10: CodecLZX, 4 << 10: CodecLZX, 0: CodecNone} {
		if a, ok := AlgorithmOf(c, chunk); ok {
			t.Errorf("%v with chunks of %d is %v", c, chunk, a)
		}
	}
}

// FuzzCompact reads a stream in order and at random: both give the same bytes, or an error; and encoding them again gives a stream that is
// read back.
func FuzzCompact(f *testing.F) {
	for _, a := range algorithms {
		for _, n := range []int{1, 5000, a.ChunkSize() + 100} {
			f.Add(EncodeCompact(a, mixed(n), 1), uint32(a), uint32(n))
		}
	}
	f.Add([]byte{1, 0, 0, 0, 2, 3}, uint32(0), uint32(4097))
	f.Fuzz(func(t *testing.T, b []byte, a, size uint32) {
		size %= 1 << 18
		plain, err := expandSteps(Algorithm(a), b, int(size), 777)
		r, rerr := NewCompactReader(bytes.NewReader(b), int64(len(b)), Algorithm(a), int64(size))
		var random []byte
		if rerr == nil {
			random, rerr = io.ReadAll(io.NewSectionReader(r, 0, int64(size)))
		}
		if (err == nil) != (rerr == nil) {
			t.Fatalf("in order %v, at random %v", err, rerr)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(plain, random) || len(plain) != int(size) {
			t.Fatalf("%d bytes in order, %d at random, want %d", len(plain), len(random), size)
		}
		if len(plain) > 16<<10 && Algorithm(a) == LZX {
			return // slow, and the codec has targets of its own
		}
		again, err := expandSteps(Algorithm(a), EncodeCompact(Algorithm(a), plain, 2), len(plain), 1<<20)
		if err != nil || !bytes.Equal(again, plain) {
			t.Fatalf("encoded again: %v", err)
		}
	})
}
