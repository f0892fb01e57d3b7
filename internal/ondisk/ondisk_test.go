package ondisk

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
)

func TestReadAt(t *testing.T) {
	data := make([]byte, 5<<20)
	for i := range data {
		data[i] = byte(i >> 7)
	}
	r := bytes.NewReader(data)
	if got, err := ReadAt(r, 3, int64(len(data))-3, math.MaxInt64); err != nil || !bytes.Equal(got, data[3:]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := ReadAt(r, 0, 0, 0); err != nil || len(got) != 0 {
		t.Errorf("nothing: %d bytes, %v", len(got), err)
	}
	if _, err := ReadAt(r, 10, 1<<50, math.MaxInt64); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("huge claim: %v", err)
	}
	for _, tt := range [][3]int64{{0, 11, 10}, {-1, 1, 10}, {0, -1, 10}} {
		if _, err := ReadAt(r, tt[0], tt[1], tt[2]); err == nil {
			t.Errorf("%v accepted", tt)
		}
	}
}

func TestRange(t *testing.T) {
	for _, tt := range []struct {
		off, n, size int64
		want         bool
	}{
		{0, 10, 10, true}, {10, 0, 10, true}, {1, 10, 10, false}, {math.MaxInt64, 1, 10, false},
		{1, math.MaxInt64, math.MaxInt64, false}, {-1, 1, 10, false}, {0, -1, 10, false},
	} {
		if got := Range(tt.off, tt.n, tt.size); got != tt.want {
			t.Errorf("Range(%d, %d, %d) = %t", tt.off, tt.n, tt.size, got)
		}
	}
}
