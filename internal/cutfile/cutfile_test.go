package cutfile

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

func TestFile(t *testing.T) {
	f := New([]byte("hello"))
	calls := 0
	f.Hook = func() { calls++ }
	if _, err := f.WriteAt(bytes.Repeat([]byte{1}, 5000), 3); err != nil {
		t.Fatal(err)
	}
	if got := f.Bytes(); len(got) != 5003 || string(got[:3]) != "hel" || got[3] != 1 || got[5002] != 1 {
		t.Errorf("%d bytes, %q", len(got), got[:4])
	}
	if err := f.Truncate(4); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(10); err != nil {
		t.Fatal(err)
	}
	if got := string(f.Bytes()); got != "hel\x01\x00\x00\x00\x00\x00\x00" || calls != 3 {
		t.Errorf("%q after %d calls", got, calls)
	}
	if n, err := f.ReadAt(make([]byte, 9), 5); n != 5 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

// TestCut: sectors are lost one by one, but nothing that was synced.
func TestCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	f := New(bytes.Repeat([]byte{1}, 4*sectorSize))
	f.WriteAt(bytes.Repeat([]byte{2}, 2*sectorSize), sectorSize)
	seen := map[string]bool{}
	for range 100 {
		b := f.Cut(rng).Bytes()
		var s []byte
		for i := 0; i < len(b); i += sectorSize {
			s = append(s, '0'+b[i])
		}
		seen[string(s)] = true
	}
	if len(seen) != 4 || !seen["1111"] || !seen["1211"] || !seen["1121"] || !seen["1221"] {
		t.Errorf("cuts leave %v", seen)
	}
	if got := f.Cut(nil).Bytes(); !bytes.Equal(got, f.Bytes()) {
		t.Error("a cut that loses nothing has other bytes")
	}
	f.Sync()
	if got := f.Cut(rng).Bytes(); !bytes.Equal(got, f.Bytes()) {
		t.Error("a cut loses what was synced")
	}
}
