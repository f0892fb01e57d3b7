package install

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// badDisk is a disk in memory that forgets one byte after it was written.
type badDisk struct {
	b       []byte
	forgets int64 // negative: none
}

func (d *badDisk) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, d.b[off:])
	if d.forgets >= off && d.forgets < off+int64(n) {
		p[d.forgets-off] ^= 1
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
func (d *badDisk) WriteAt(p []byte, off int64) (int, error) { return copy(d.b[off:], p), nil }
func (d *badDisk) Sync() error                              { return nil }
func (d *badDisk) Close() error                             { return nil }

// TestReadBack: every byte that was written is read back, also what was written twice and what was made zero, and what is stale in
// the spans is zero then.
func TestReadBack(t *testing.T) {
	const size = 8 * mib
	start := func() (*device, *badDisk) {
		disk := &badDisk{b: bytes.Repeat([]byte{0xee}, size), forgets: -1}
		d := &device{path: "disk", size: size, f: disk}
		if err := d.begin(); err != nil {
			t.Fatal(err)
		}
		for _, w := range []struct {
			off int64
			n   int
		}{{3 * mib, 5000}, {2 * mib, 100}, {2*mib + 50, 100}, {4 * mib, mib}} {
			if _, err := d.WriteAt(bytes.Repeat([]byte{byte(w.n)}, w.n), w.off); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.clear(context.Background(), []span{{3 * mib, 4*mib + 10}, {0, mib}, {2 * mib, 2*mib + 4096}, {2*mib + 1, 2*mib + 4096}}); err != nil {
			t.Fatal(err)
		}
		return d, disk
	}
	d, disk := start()
	if err := d.verify(context.Background(), func(int64) {}); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int]byte{0: 0, mib - 1: 0, mib: 0xee, 2*mib - 1: 0xee, 2 * mib: 100, 2*mib + 149: 100, 2*mib + 150: 0, 2*mib + 4095: 0,
		2*mib + 4096: 0xee, 3*mib + 4999: 5000 & 0xff, 3*mib + 5000: 0, 4*mib - 1: 0, 5 * mib: 0xee} {
		if disk.b[at] != want {
			t.Errorf("byte %#x is %#x, want %#x", at, disk.b[at], want)
		}
	}
	for _, at := range []int64{5, 2*mib + 60, 2*mib + 149, 3*mib + 1, 3*mib + 6000, 5*mib - 1} {
		d, disk := start()
		disk.forgets = at
		if err := d.verify(context.Background(), func(int64) {}); err == nil || !strings.Contains(err.Error(), "do not read back") {
			t.Errorf("byte %#x: %v", at, err)
		}
	}
	if _, err := d.WriteAt(make([]byte, 2), size-1); err == nil {
		t.Error("a write past the end")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.verify(ctx, func(int64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestGaps(t *testing.T) {
	written := []extent{{10, 10, 0}, {30, 10, 0}, {40, 5, 0}}
	for _, tt := range []struct {
		spans, want []span
	}{
		{[]span{{0, 50}}, []span{{0, 10}, {20, 30}, {45, 50}}},
		{[]span{{12, 15}}, nil},
		{[]span{{35, 60}, {0, 11}}, []span{{0, 10}, {45, 60}}},
		{[]span{{0, 5}, {3, 8}, {4, 6}}, []span{{0, 5}, {5, 8}}},
		{nil, nil},
	} {
		if got := gaps(slices.Clone(tt.spans), written); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.spans, got, tt.want)
		}
	}
}
