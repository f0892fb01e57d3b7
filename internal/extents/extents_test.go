package extents

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestContent(t *testing.T) {
	image := []byte("0123456789abcdefghij")
	c := &Content{R: bytes.NewReader(image)}
	b := c.NewBlob([]Extent{{10, 3}, {13, 2}, {Hole, 2}, {Hole, 1}, {2, 4}, {0, 1}}, 11)
	want := "abcde\x00\x00\x00234"
	if got, err := b.ReadAll(100); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
	if got := Of(b); len(got) != 3 || got[0] != (Extent{10, 5}) {
		t.Errorf("extents %v, want neighbours joined", got)
	}
	at, err := c.BlobReaderAt(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(io.NewSectionReader(at, 0, b.Size), []byte(want)); err != nil {
		t.Error(err)
	}
	if b := c.NewBlob(nil, 0); b != nil {
		t.Errorf("blob %v of nothing", b)
	}
	short := c.NewBlob([]Extent{{18, 5}}, 5)
	if _, err := short.ReadAll(5); err == nil || !strings.Contains(err.Error(), "0x14") {
		t.Errorf("reading behind the end: %v", err)
	}
}
