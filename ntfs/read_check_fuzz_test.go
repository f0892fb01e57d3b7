package ntfs

import (
	"bytes"
	"context"
	"io"
	"os"
	"runtime"
	"testing"
)

// countingReader counts what is read, so that a loop shows.
type countingReader struct {
	b []byte
	n int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(c.b)) {
		return 0, io.EOF
	}
	n := copy(p, c.b[off:])
	c.n += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// FuzzCheck changes metadata of a small volume, fixups set right where a record or block has them, so that the damage is not stopped at
// the door. Check must end without having read the volume many times over or taken much memory, count what it finds, and find the same
// the second time.
func FuzzCheck(f *testing.F) {
	name, _ := buildImage(f, sampleTree(60), &BuildOptions{LogSize: minLogSize, Backing: pointerTo})
	sound, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	v := openBytes(f, sound)
	blocks := metadataBlocks(f, v)
	f.Add([]byte{})
	for i := range blocks {
		f.Add([]byte{byte(i), byte(i >> 8), byte(i*7) & 0xf0, byte(i) & 3, byte(i * 11), 0xff, 0, 0x80, 0, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		b := bytes.Clone(sound)
		patch(b, blocks, p)
		for _, off := range blocks {
			for magic, size := range map[string]int{"FILE": v.RecordSize, "INDX": v.boot.indexSize} {
				if block := b[off:][:size]; string(block[:4]) == magic && le.Uint16(block[4:]) < sectorStride-64 && int(le.Uint16(block[6:])) == size/sectorStride+1 {
					usn := le.Uint16(block[le.Uint16(block[4:]):])
					for end := sectorStride; end <= size; end += sectorStride {
						le.PutUint16(block[end-2:], usn)
					}
				}
			}
		}
		r := &countingReader{b: b}
		v, err := NewReader(r, int64(len(b)))
		if err != nil {
			return
		}
		r.n = 0
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		found, err := v.CheckWith(context.Background(), nil)
		if err != nil {
			return
		}
		runtime.ReadMemStats(&after)
		const often, much = 40, 256 << 20
		if r.n > often*int64(len(b)) || after.TotalAlloc-before.TotalAlloc > much {
			t.Errorf("%d bytes read of a volume of %d, %d allocated", r.n, len(b), after.TotalAlloc-before.TotalAlloc)
		}
		again, err := v.CheckWith(context.Background(), nil)
		if err != nil || again.Found != found.Found {
			t.Errorf("found %v, then %v, %v", found.Found, again.Found, err)
		}
		total := 0
		for _, n := range found.Counts {
			total += n
		}
		if n := found.Found[0] + found.Found[1] + found.Found[2]; n != total {
			t.Errorf("%d by severity, %d by code", n, total)
		}
		for _, p := range found.Problems {
			if _, ok := severities[p.Code]; !ok || p.Found == "" {
				t.Errorf("%v has no rule", p)
			}
		}
	})
}
