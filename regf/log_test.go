package regf

import (
	"bytes"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Vectors of .NET's tests of Marvin.
func TestMarvin32(t *testing.T) {
	const seed = 0x004fb61a001bdbcc
	for in, want := range map[string]uint64{
		"": 0x30ed35c100cd3c7d, "\xaf": 0x48e73fc77d75ddc1, "\xe7\x0f": 0xb5f6e1fc485dbff8, "\x37\xf4\x95": 0xf0b07c789b8cf7e8,
		"\x86\x42\xdc\x59": 0x7008f2e87e9cf556,
	} {
		if got := marvin32(seed, []byte(in)); got != want {
			t.Errorf("%x: %#x, want %#x", in, got, want)
		}
	}
}

// versions are three states of a hive, laid out so that the bins of each begin with those of the one before.
func versions(t testing.TB) [3][]byte {
	h := must(New(5, "ROOT"))(t)
	h.Now = stamp
	var v [3][]byte
	for i := range v {
		k := must(h.root.Create("Key"))(t)
		check(t, k.SetDWord("state", uint32(i)))
		check(t, k.SetBinary("data", bytes.Repeat([]byte{byte(i)}, 1+6000*i)))
		v[i] = must(h.Bytes())(t)
	}
	return v
}

// oldLog is a log in the old format that turns the bins of one file into those of another.
func oldLog(from, to []byte) []byte {
	log := bytes.Clone(to[:sectorSize])
	base := baseBlock(log)
	le.PutUint32(log[0x1c:], typeLogOld)
	le.PutUint64(log[0xc:], uint64(baseBlock(from).written()))
	base.seal()
	n := (len(to) - pageSize) / sectorSize
	bitmap := make([]byte, n/8)
	var pages []byte
	for i := range n {
		off := pageSize + i*sectorSize
		page := to[off : off+sectorSize]
		if off >= len(from) || !bytes.Equal(page, from[off:off+sectorSize]) {
			bitmap[i/8] |= 1 << (i % 8)
			pages = append(pages, page...)
		}
	}
	log = append(append(log, "DIRT"...), bitmap...)
	log = append(log, make([]byte, -len(log)&(sectorSize-1))...)
	return append(log, pages...)
}

// newEntry is a log entry in the new format.
func newEntry(from, to []byte, sequence uint32) []byte {
	var refs, pages []byte
	for off := pageSize; off < len(to); off += pageSize {
		page := to[off : off+pageSize]
		if off >= len(from) || !bytes.Equal(page, from[off:off+pageSize]) {
			refs = le.AppendUint32(le.AppendUint32(refs, uint32(off-pageSize)), pageSize)
			pages = append(pages, page...)
		}
	}
	e := make([]byte, entryHeader)
	copy(e, "HvLE")
	e = append(append(e, refs...), pages...)
	e = append(e, make([]byte, -len(e)&(sectorSize-1))...)
	le.PutUint32(e[4:], uint32(len(e)))
	le.PutUint32(e[12:], sequence)
	le.PutUint32(e[16:], uint32(len(to)-pageSize))
	le.PutUint32(e[20:], uint32(len(refs)/8))
	le.PutUint64(e[24:], marvin32(marvinSeed, e[entryHeader:]))
	le.PutUint64(e[32:], marvin32(marvinSeed, e[:32]))
	return e
}

// newLog is a log of entries; the first has this sequence number.
func newLog(hive []byte, sequence uint32, entries ...[]byte) []byte {
	log := bytes.Clone(hive[:sectorSize])
	base := baseBlock(log)
	base.setSequence(sequence)
	le.PutUint32(log[0x1c:], typeLogNew)
	base.seal()
	return append(log, slices.Concat(entries...)...)
}

// dirty is a file that is not closed: its sequence numbers are first and second.
func dirty(file []byte, first, second uint32) []byte {
	b := bytes.Clone(file)
	le.PutUint32(b[4:], first)
	le.PutUint32(b[8:], second)
	baseBlock(b).seal()
	return b
}

func badHeader(file []byte) []byte {
	b := bytes.Clone(file)
	b[0x30] ^= 0x55
	return b
}

func TestReplay(t *testing.T) {
	v := versions(t)
	d := dirty(v[0], 6, 5)
	e1, e2 := newEntry(v[0], v[1], 5), newEntry(v[1], v[2], 6)
	broken := bytes.Clone(e2)
	broken[len(broken)-600] ^= 1
	stale := bytes.Clone(e1)
	for _, tt := range []struct {
		name    string
		file    []byte
		logs    [][]byte
		want    []byte // bins
		clean   bool   // was not dirty
		partial bool   // logs do not help
		seq     uint32
	}{
		{"clean, a log is ignored", v[0], [][]byte{newLog(v[0], 1, newEntry(v[0], v[2], 1))}, v[0], true, false, 1},
		{"no log", d, nil, v[0], false, true, 6},
		{"empty logs", d, [][]byte{nil, {}, make([]byte, 4096)}, v[0], false, true, 6},
		{"new, one log", d, [][]byte{newLog(d, 5, e1, e2)}, v[2], false, false, 7},
		{"new, two logs", d, [][]byte{newLog(d, 5, e1), newLog(d, 6, e2)}, v[2], false, false, 7},
		{"new, two logs the other way round", d, [][]byte{newLog(d, 6, e2), newLog(d, 5, e1)}, v[2], false, false, 7},
		{"new, one entry is in the file", dirty(v[1], 7, 6), [][]byte{newLog(d, 5, e1), newLog(d, 6, e2)}, v[2], false, false, 7},
		{"new, all entries are older", dirty(v[1], 9, 8), [][]byte{newLog(d, 5, e1, e2)}, v[1], false, true, 9},
		{"new, last entry is torn", d, [][]byte{newLog(d, 5, e1, broken)}, v[1], false, false, 6},
		{"new, remnants behind the end", d, [][]byte{newLog(d, 5, e1, stale)}, v[1], false, false, 6},
		{"new, gap between the logs", d, [][]byte{newLog(d, 5, e1), newLog(d, 7, newEntry(v[1], v[2], 7))}, v[1], false, false, 6},
		{"new, bad header", badHeader(d), [][]byte{newLog(d, 5, e1, e2)}, v[2], false, false, 7},
		{"new, log not closed", d, [][]byte{dirty(newLog(d, 5, e1), 5, 4)}, v[0], false, true, 6},
		{"old", d, [][]byte{oldLog(v[0], v[1])}, v[1], false, false, 6},
		{"old, bad header", badHeader(d), [][]byte{oldLog(v[0], v[2])}, v[2], false, false, 1},
		{"old, of another time", d, [][]byte{oldLog(dirtyTime(v[0]), v[1])}, v[0], false, true, 6},
		{"old, second log", d, [][]byte{oldLog(dirtyTime(v[0]), v[1]), oldLog(v[0], v[2])}, v[2], false, false, 6},
		{"old, cut", d, [][]byte{oldLog(v[0], v[1])[:2048]}, v[0], false, true, 6},
	} {
		before := bytes.Clone(tt.file)
		h, err := Parse(tt.file, tt.logs...)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if !bytes.Equal(before, tt.file) {
			t.Errorf("%s: the file was changed", tt.name)
		}
		if !bytes.Equal(h.bins, tt.want[pageSize:]) {
			t.Errorf("%s: state %d, %d bytes", tt.name, must(h.root.Uint("Key", "state"))(t), len(h.bins))
		}
		r := h.Recovery
		if r.Dirty == tt.clean || r.Dirty && r.Complete == tt.partial {
			t.Errorf("%s: %+v", tt.name, r)
		}
		if tt.partial {
			if _, err := h.Bytes(); err == nil {
				t.Errorf("%s: was written", tt.name)
			}
			if p := h.Check(); len(p) != 1 || !strings.Contains(p[0].Text, "not closed cleanly") {
				t.Errorf("%s: %v", tt.name, p)
			}
			continue
		}
		if h.Sequence != tt.seq {
			t.Errorf("%s: sequence %d, want %d", tt.name, h.Sequence, tt.seq)
		}
		for _, p := range h.Check() {
			t.Errorf("%s: %v", tt.name, p)
		}
		reread(t, h)
	}
	if _, err := Parse(badHeader(d)); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("bad header and no log: %v", err)
	}
}

// dirtyTime is a file that was written at another time.
func dirtyTime(file []byte) []byte {
	b := bytes.Clone(file)
	b[0xc]++
	baseBlock(b).seal()
	return b
}

func TestHostileLogs(t *testing.T) {
	v := versions(t)
	d := dirty(v[0], 6, 5)
	seal := func(e []byte) []byte {
		le.PutUint64(e[24:], marvin32(marvinSeed, e[entryHeader:]))
		le.PutUint64(e[32:], marvin32(marvinSeed, e[:32]))
		return e
	}
	for name, change := range map[string]func(e []byte){
		"huge bins":   func(e []byte) { le.PutUint32(e[16:], 0x7ffff000) },
		"odd bins":    func(e []byte) { le.PutUint32(e[16:], 0x1001) },
		"no bins":     func(e []byte) { le.PutUint32(e[16:], 0) },
		"page beyond": func(e []byte) { le.PutUint32(e[entryHeader:], 0xfffff000) },
		"page length": func(e []byte) { le.PutUint32(e[entryHeader+4:], 0xfffff000) },
		"count":       func(e []byte) { le.PutUint32(e[20:], 0xffffffff) },
		"size":        func(e []byte) { le.PutUint32(e[4:], 0xfffffe00) },
	} {
		e := newEntry(v[0], v[2], 5)
		change(e)
		h, err := Parse(d, newLog(d, 5, seal(e)))
		if err != nil {
			if name != "no bins" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if h.Recovery.Complete || len(h.Recovery.Notes) == 0 || !bytes.Equal(h.bins, v[0][pageSize:]) {
			t.Errorf("%s: %+v", name, h.Recovery)
		}
	}
	o := oldLog(v[0], v[1])
	for _, size := range []uint32{0, 0x1001, 0x40000000, 0x7ffff000, 0x80000000, 0xfffff000} {
		le.PutUint32(o[0x28:], size)
		baseBlock(o).seal()
		// The bitmap of what is claimed would be there.
		if h, err := Parse(d, append(o, make([]byte, 0xfffff000/4096)...)); err == nil && h.Recovery.Complete {
			t.Errorf("old, bins of %#x: %+v", size, h.Recovery)
		}
	}
}

func TestOpenFindsLogs(t *testing.T) {
	v := versions(t)
	d := dirty(v[0], 6, 5)
	name := filepath.Join(t.TempDir(), "SYSTEM")
	check(t, os.WriteFile(name, d, 0o644))
	check(t, os.WriteFile(name+".LOG1", newLog(d, 5, newEntry(v[0], v[1], 5)), 0o644))
	check(t, os.WriteFile(strings.Replace(name, "SYSTEM", "system", 1)+".LOG2", newLog(d, 6, newEntry(v[1], v[2], 6)), 0o644))
	h := must(Open(name))(t)
	if n := must(h.Root().Uint("Key", "state"))(t); n != 2 || h.Recovery.Entries != 2 || h.Recovery.Format != "HvLE" {
		t.Errorf("state %d, %+v", n, h.Recovery)
	}
}

func FuzzOpen(f *testing.F) {
	v := versions(f)
	d := dirty(v[0], 6, 5)
	f.Add(v[2], []byte{}, []byte{})
	f.Add(d, newLog(d, 5, newEntry(v[0], v[1], 5)), newLog(d, 6, newEntry(v[1], v[2], 6)))
	f.Add(badHeader(d), oldLog(v[0], v[2]), []byte{})
	small := must(New(3, "ROOT"))(f)
	check(f, must(small.root.Create(`A\B\C`))(f).SetSZ("x", "y"))
	f.Add(must(small.Bytes())(f), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, file, log1, log2 []byte) {
		file, log1, log2 = bytes.Clone(file), bytes.Clone(log1), bytes.Clone(log2)
		for _, b := range [][]byte{file, log1, log2} { // what changes a header or an entry makes it again
			if len(b) >= sectorSize && bits.OnesCount8(b[len(b)-1])%2 == 0 {
				baseBlock(b).seal()
			}
		}
		h, err := Parse(file, log1, log2)
		if err != nil {
			return
		}
		problems := h.Check()
		n := 0
		for k, err := range h.Root().All() {
			if n++; err != nil {
				break
			}
			if _, err := k.Values(); err != nil {
				break
			}
		}
		b, err := h.Bytes()
		if err != nil {
			if len(problems) == 0 {
				t.Errorf("cannot be written, and Check finds nothing: %v", err)
			}
			return
		}
		again, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := dump(t, h), dump(t, again); a != strings.Replace(b, again.FileName, h.FileName, 1) {
			t.Errorf("not the same after writing:\n%s\n%s", a, b)
		}
		if bad := damage(again.Check()); len(bad) > 0 && len(damage(problems)) == 0 {
			t.Errorf("writing made problems: %v", bad)
		}
	})
}

// damage are the problems that are not mere notes.
func damage(p []Problem) []Problem {
	return slices.DeleteFunc(slices.Clone(p), func(p Problem) bool { return p.Note })
}
