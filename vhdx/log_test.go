package vhdx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/guid"
	"husk/internal/cutfile"
	"husk/internal/reftool"
)

// logChange is a descriptor to be: a sector of data, or zeros of a length.
type logChange struct {
	at   int64
	data []byte // 4096 bytes
	zero int64
}

// makeEntry builds an entry of a log.
func makeEntry(id guid.GUID, seq uint64, tail uint32, flushed, last uint64, changes ...logChange) []byte {
	h := logHeader{Magic: [4]byte([]byte(entryMagic)), Tail: tail, Sequence: seq, Descriptors: uint32(len(changes)), LogGUID: id, Flushed: flushed, Last: last}
	var descs []logDesc
	var data []byte
	for _, c := range changes {
		if c.data == nil {
			descs = append(descs, logDesc{Magic: [4]byte([]byte(zeroDesc)), Leading: uint64(c.zero), Offset: uint64(c.at), Sequence: seq})
			continue
		}
		descs = append(descs, logDesc{[4]byte([]byte(dataDesc)), [4]byte(c.data[4092:]), binary.LittleEndian.Uint64(c.data), uint64(c.at), seq})
		s := bytes.Clone(c.data)
		copy(s, dataMagic)
		binary.LittleEndian.PutUint32(s[4:], uint32(seq>>32))
		binary.LittleEndian.PutUint32(s[4092:], uint32(seq))
		data = append(data, s...)
	}
	size := roundUp(entryHeader+descSize*int64(len(descs)), logSector)
	h.Length = uint32(size + int64(len(data)))
	return seal(append(encode(int(size), h, descs), data...))
}

// soil gives a file a log that is to be replayed: entries at their places, around its end if need be.
func soil(t testing.TB, f *cutfile.File, id guid.GUID, entries map[int64][]byte) {
	t.Helper()
	r := read(t, f, nil)
	h := r.head
	n := int64(h.LogLength)
	for at, e := range entries {
		first := e[:min(int64(len(e)), n-at)]
		f.WriteAt(first, int64(h.LogOffset)+at)
		f.WriteAt(e[len(first):], int64(h.LogOffset))
	}
	h.LogGUID = id
	h.Sequence++
	f.WriteAt(h.marshal(), int64(headerAt+(1-r.which)*headerStep))
	f.Sync()
}

// dirty makes a disk of 6 blocks and a log that moves its content: a sector changed twice, zeros over data and data over
// zeros, a block added by the BAT and the end of the file, an old entry of another log, and one that is incomplete.
//
// Simple is a log that QEMU 7.2 replays as [MS-VHDX] has it: one that does not go around its end, with nothing older
// before it. QEMU does not look at tails.
func dirty(t testing.TB, simple bool) (f *cutfile.File, want []byte) {
	t.Helper()
	const size = 6 << 20
	want = make([]byte, size)
	for _, i := range []int{0, 1, 3, 4, 5} { // block 2 is not in the file
		copy(want[i<<20:], bytes.Repeat([]byte{byte(i + 1), 0x77, 0x55}, 20000))
	}
	f = create(t, Options{Size: size, BlockSize: 1 << 20}, want)
	r := read(t, f, nil)
	id := guid.New()
	sector := func(c byte) []byte { return bytes.Repeat([]byte{c, 0xee, 1, 2}, 1024) }
	at := func(off int64) int64 { return r.bat[r.payload(off>>20)].offset() + off%(1<<20) }
	bat := make([]byte, logSector)
	f.ReadAt(bat, r.batAt)
	end := f.Size()
	binary.LittleEndian.PutUint64(bat[8*r.payload(2):], uint64(place(end, statePresent)))
	start := int64(1<<20 - 3*logSector) // the log's end is inside the second entry
	if simple {
		start = 0
	}
	e := [][]byte{
		makeEntry(id, 7, 0, 0, 0, logChange{at: at(1 << 20), data: sector(0xbb)}), // applied long ago: the tail is behind it
		makeEntry(id, 8, uint32(start), uint64(end), uint64(end), logChange{at: at(0), data: sector(1)}),
		makeEntry(id, 9, uint32(start), uint64(end), uint64(end), logChange{at: at(0), data: sector(2)}, logChange{at: at(4 << 20), zero: 16384}, logChange{at: at(4<<20 + 8192), data: sector(3)}),
		makeEntry(id, 10, uint32(start), uint64(end), uint64(end+1<<20), logChange{at: r.batAt, data: bat}, logChange{at: end, data: sector(4)},
			logChange{at: at(5 << 20), data: sector(5)}, logChange{at: at(5 << 20), zero: 8192}),
	}
	cut := makeEntry(id, 11, uint32(start), 0, 0, logChange{at: at(1 << 20), data: sector(9)})
	cut[5000] ^= 1
	entries := map[int64][]byte{1 << 19: makeEntry(guid.New(), 99, 1<<19, 0, 0, logChange{at: at(1 << 20), data: sector(8)})}
	if !simple {
		entries[start-int64(len(e[0]))] = e[0]
	}
	for _, e := range [][]byte{e[1], e[2], e[3], cut} {
		entries[start] = e
		start = (start + int64(len(e))) % (1 << 20)
	}
	soil(t, f, id, entries)
	copy(want, sector(2))
	clear(want[4<<20 : 4<<20+16384])
	copy(want[4<<20+8192:], sector(3))
	copy(want[2<<20:], sector(4))
	clear(want[5<<20 : 5<<20+8192])
	return f, want
}

func TestReplay(t *testing.T) {
	f, want := dirty(t, false)
	before := f.Bytes()
	d := read(t, f, nil)
	checkDisk(t, d, want)
	if i := d.Info(); !i.LogReplayed || len(i.Notes) != 1 || i.FileSize != f.Size() {
		t.Errorf("%+v", i)
	}
	if !bytes.Equal(before, f.Bytes()) {
		t.Error("reading changed the file")
	}
}

// TestReplayInFile: the first write replays the log in the file, and a cut anywhere leaves the same content.
func TestReplayInFile(t *testing.T) {
	f, want := dirty(t, false)
	d := edit(t, f, nil)
	got := make([]byte, len(want))
	f.Hook = func() {
		c := f.Cut(nil)
		r := read(t, c, nil)
		if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("other content, %v", err)
		}
	}
	if _, err := d.WriteAt(want[:5], 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	r := read(t, f, nil)
	checkDisk(t, r, want)
	if r.Info().LogReplayed || r.head.LogGUID != (guid.GUID{}) {
		t.Error("the log is still not empty")
	}
}

// TestReplayQEMU: QEMU's replay of the same log gives the same disk.
func TestReplayQEMU(t *testing.T) {
	f, want := dirty(t, true)
	name := filepath.Join(t.TempDir(), "x.vhdx")
	if err := os.WriteFile(name, f.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	checkDisk(t, openDisk(t, name, nil), want)
	// QEMU 7.2 makes the file longer only if the new length is no multiple of 1 MiB.
	if err := os.Truncate(name, f.Size()/mib*mib+2*mib); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "qemu-img", "check", "-r", "all", "-f", "vhdx", name)
	r := openDisk(t, name, nil)
	checkDisk(t, r, want)
	if r.Info().LogReplayed {
		t.Error("QEMU did not replay the log")
	}
	raw := name + ".raw"
	reftool.Run(t, "qemu-img", "convert", "-f", "vhdx", "-O", "raw", name, raw)
	if got, err := os.ReadFile(raw); err != nil || !bytes.Equal(got, want) {
		t.Errorf("QEMU reads other bytes, %v", err)
	}
}

// TestQEMULog replays a log that QEMU wrote: its entries are still in the log of a file that it closed. With the BAT as
// it was before, and a header that names the log, the file is as a cut between the log and the BAT leaves it.
func TestQEMULog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.vhdx")
	reftool.Run(t, "qemu-img", "create", "-f", "vhdx", "-o", "block_size=1M", name, "16M")
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "qemu-io", "-f", "vhdx", "-c", "write -P 0x5a 3M 64k", name)
	now, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(bytes.NewReader(now), int64(len(now)), nil)
	if err != nil {
		t.Fatal(err)
	}
	var last logHeader
	for at := int64(r.head.LogOffset); at < int64(r.head.LogOffset)+int64(r.head.LogLength); at += logSector {
		var h logHeader
		decode(now[at:], &h)
		if string(h.Magic[:]) == entryMagic && h.Sequence > last.Sequence {
			last = h
		}
	}
	if last.Sequence == 0 {
		t.Fatal("QEMU left no entry in its log")
	}
	copy(now[r.batAt:r.batAt+r.batRoom], old[r.batAt:])
	undone, err := NewReader(bytes.NewReader(now), int64(len(now)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if start, _ := undone.NextAllocated(0); start != undone.Size() {
		t.Fatal("the old BAT has blocks")
	}
	h := r.head
	h.Sequence++
	h.LogGUID = last.LogGUID
	copy(now[headerAt+(1-r.which)*headerStep:], h.marshal())
	d, err := NewReader(bytes.NewReader(now), int64(len(now)), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 16<<20)
	copy(want[3<<20:], bytes.Repeat([]byte{0x5a}, 64<<10))
	checkDisk(t, d, want)
}

func TestBadLogs(t *testing.T) {
	id := guid.New()
	sector := make([]byte, logSector)
	for _, tt := range []struct {
		name    string
		entries map[int64][]byte
		want    string
	}{
		{"empty", nil, "no entry that belongs to the log"},
		{"another log", map[int64][]byte{0: makeEntry(guid.New(), 1, 0, 0, 0)}, "no entry that belongs to the log"},
		{"tail elsewhere", map[int64][]byte{0: makeEntry(id, 1, 4096, 0, 0)}, "no entry that belongs to the log"},
		{"lost end", map[int64][]byte{0: makeEntry(id, 1, 0, 1<<40, 0)}, "its end is lost"},
		{"endless file", map[int64][]byte{0: makeEntry(id, 1, 0, 0, 1<<60)}, "to be extended"},
		{"odd place", map[int64][]byte{0: makeEntry(id, 1, 0, 0, 0, logChange{at: 100, data: sector})}, "no entry that belongs to the log"},
		{"far place", map[int64][]byte{0: makeEntry(id, 1, 0, 0, 0, logChange{at: 1 << 60, data: sector})}, "no entry that belongs to the log"},
		{"odd zeros", map[int64][]byte{0: makeEntry(id, 1, 0, 0, 0, logChange{at: 4096, zero: 5})}, "no entry that belongs to the log"},
	} {
		f := create(t, Options{Size: 1 << 20}, nil)
		soil(t, f, id, tt.entries)
		_, err := NewReader(f, f.Size(), nil)
		var fe *FormatError
		if err == nil || !errors.As(err, &fe) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

// TestOverlappingEntries: a log made to be checksummed again and again is given up.
func TestOverlappingEntries(t *testing.T) {
	id := guid.New()
	f := create(t, Options{Size: 1 << 20}, nil)
	entries := map[int64][]byte{}
	for at := int64(0); at < mib; at += logSector {
		e := encode(logSector, logHeader{Magic: [4]byte([]byte(entryMagic)), Length: mib, Sequence: 1, LogGUID: id})
		entries[at] = e
	}
	soil(t, f, id, entries)
	if _, err := NewReader(f, f.Size(), nil); err == nil || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("%v, want an error about entries that overlap", err)
	}
}
