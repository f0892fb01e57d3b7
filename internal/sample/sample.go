package sample

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"husk/winfile"
)

// Options says what to lay out. The zero value is the small made-up x64 system.
type Options struct {
	Arch     string // "x64" or "x86"; empty means x64
	Wine     string // folder with unpacked libwine packages of both architectures; empty: made-up programs
	Programs int    // at most so many programs for System32 and for SysWOW64; 0 means all there are

	// Extremes adds what few systems have and folders of many hosts cannot hold: a name with an unpaired surrogate, names
	// of 255 units, a named stream of 100 KB, streams on a directory, extended attributes, a 64-byte object id, a file with
	// 1500 names.
	Extremes bool
}

// Tree lays out a system. With Options.Wine the files there must stay until the tree's blobs are read.
func Tree(o Options) (*winfile.Tree, error) {
	if o.Arch == "" {
		o.Arch = "x64"
	}
	if o.Arch != "x64" && o.Arch != "x86" {
		return nil, fmt.Errorf("sample: architecture %q, want x64 or x86", o.Arch)
	}
	src, err := newPrograms(o)
	if err != nil {
		return nil, err
	}
	b := newBuilder()
	s := &system{builder: b, programs: src, arch: o.Arch}
	if err := s.build(); err != nil {
		return nil, err
	}
	if o.Extremes {
		s.extremes()
	}
	return b.finish(), nil
}

// seed is a number that depends on parts alone.
func seed(parts ...string) [32]byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return [32]byte(h.Sum(nil))
}

// random is a source of numbers that depend on parts alone.
type random struct{ src *rand.ChaCha8 }

func newRandom(parts ...string) random { return random{rand.NewChaCha8(seed(parts...))} }

// n returns a number in [0, limit).
func (r random) n(limit int) int { return int(r.src.Uint64() % uint64(limit)) }

func (r random) bytes(n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.src.Uint64())
	}
	return b[:n]
}

// guidOf returns a made-up GUID in braces.
func guidOf(parts ...string) string {
	h := seed(parts...)
	return fmt.Sprintf("{%08X-%04X-%04X-%04X-%012X}", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
