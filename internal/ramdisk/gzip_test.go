package ramdisk

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// sparse is n bytes like those of a disk: zeros, text, noise.
func sparse(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for at := 0; at < n; at += 1 + r.IntN(300_000) {
		part := b[at:min(n, at+r.IntN(40_000))]
		for i := range part {
			part[i] = "The quick brown fox\x00"[i%20] + byte(r.IntN(2))
		}
	}
	return b
}

func TestGzip(t *testing.T) {
	for _, n := range []int{0, 1, window, piece - 1, piece, piece + 1, 5*piece + 12345} {
		plain := sparse(n)
		var out bytes.Buffer
		if err := compress(context.Background(), &out, bytes.NewReader(plain), 3); err != nil {
			t.Fatal(err)
		}
		if got := le.Uint32(out.Bytes()[out.Len()-4:]); int(got) != n {
			t.Errorf("%d bytes: the trailer says %d", n, got)
		}
		z, err := gzip.NewReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false) // grub4dos reads one member
		got, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %d come back, %v", n, len(got), err)
		}
		if out.Len() != 0 {
			t.Errorf("%d bytes: %d behind the member", n, out.Len())
		}
	}
}

type failing struct{ left int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestGzipErrors(t *testing.T) {
	noise := make([]byte, 4*piece)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for _, left := range []int{0, 10, piece, 3 * piece} {
		if err := compress(context.Background(), &failing{left}, bytes.NewReader(noise), 2); !errors.Is(err, errFull) {
			t.Errorf("%d bytes fit: %v, want %v", left, err, errFull)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := compress(ctx, io.Discard, bytes.NewReader(noise), 2); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want it canceled", err)
	}
}
