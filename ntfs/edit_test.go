package ntfs

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"husk/winfile"
)

// memoryDevice is a Device in memory. Sectors that were written since base are kept apart, so that copies of one volume share it.
type memoryDevice struct {
	base    []byte
	sectors map[int64][]byte
	writes  int
	failAt  int           // the write with this number, from 1, and all later ones fail; 0 never
	trace   *[]traceEvent // what happened is added to it; may be nil
}

// traceEvent is a write to a device or its journal, or a sync of the device.
type traceEvent struct {
	kind byte // 'w' write, 's' sync, 'j' journal stored, 'c' journal cleared
	off  int64
	data []byte
}

var errCut = errors.New("power cut")

func newMemoryDevice(b []byte) *memoryDevice {
	return &memoryDevice{base: b, sectors: make(map[int64][]byte)}
}

// copy is the same volume without its faults.
func (d *memoryDevice) copy() *memoryDevice {
	return &memoryDevice{base: d.base, sectors: maps.Clone(d.sectors)}
}

func (d *memoryDevice) size() int64 { return int64(len(d.base)) }

func (d *memoryDevice) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(d.base).ReadAt(p, off)
	for s := off / sectorStride; len(d.sectors) > 0 && s*sectorStride < off+int64(n); s++ {
		if b, ok := d.sectors[s]; ok {
			if at := s*sectorStride - off; at >= 0 {
				copy(p[at:n], b)
			} else {
				copy(p[:n], b[-at:])
			}
		}
	}
	return n, err
}

func (d *memoryDevice) WriteAt(p []byte, off int64) (int, error) {
	if off%sectorStride != 0 || len(p)%sectorStride != 0 || off < 0 || off+int64(len(p)) > d.size() {
		return 0, fmt.Errorf("write of %d bytes at %#x of %d", len(p), off, d.size())
	}
	if err := d.event('w', off, p); err != nil {
		return 0, err
	}
	d.put(p, off)
	return len(p), nil
}

func (d *memoryDevice) put(p []byte, off int64) {
	for i := 0; i < len(p); i += sectorStride {
		d.sectors[(off+int64(i))/sectorStride] = bytes.Clone(p[i : i+sectorStride])
	}
}

func (d *memoryDevice) Sync() error { return d.event('s', 0, nil) }

// event counts what changes something, and fails when it is time to.
func (d *memoryDevice) event(kind byte, off int64, p []byte) error {
	if kind != 's' {
		d.writes++
	}
	if d.failAt > 0 && d.writes >= d.failAt {
		return errCut
	}
	if d.trace != nil {
		*d.trace = append(*d.trace, traceEvent{kind, off, bytes.Clone(p)})
	}
	return nil
}

// memoryJournal is a Journal in memory.
type memoryJournal struct {
	b    []byte
	d    *memoryDevice // whose events its own are; may be nil
	most int           // bytes of the largest one
}

func (j *memoryJournal) Load() ([]byte, error) { return j.b, nil }

func (j *memoryJournal) Store(b []byte) error {
	j.most = max(j.most, len(b))
	if j.d != nil {
		if err := j.d.event('j', 0, b); err != nil {
			return err
		}
	}
	j.b = bytes.Clone(b)
	return nil
}

func (j *memoryJournal) Clear() error {
	if j.d != nil {
		if err := j.d.event('c', 0, nil); err != nil {
			return err
		}
	}
	j.b = nil
	return nil
}

// editState is what the tests know of a file.
type editState struct {
	dir     bool
	data    string // of the unnamed stream; of a pointer or compact file, its size
	reparse string
	streams string
}

func (s *editState) String() string {
	return fmt.Sprintf("dir %t, data %.60q, reparse %x, streams %.200q", s.dir, s.data, s.reparse, s.streams)
}

// same reports whether two states are equal but for names.
func (s *editState) same(t *editState) bool {
	return s != nil && t != nil && s.dir == t.dir && s.data == t.data && s.reparse == t.reparse && s.streams == t.streams
}

// readState reads every file of a volume.
func readState(t testing.TB, v *Volume) map[string]*editState {
	t.Helper()
	tree, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	states := make(map[string]*editState)
	seen := make(map[*winfile.Info]*editState)
	for path, e := range tree.All() {
		s := seen[e.Info]
		if s == nil {
			s = &editState{dir: e.Info.Attributes&winfile.AttrDirectory != 0}
			seen[e.Info] = s
			if e.Info.Reparse != nil {
				s.reparse = string(e.Info.Reparse.Buffer())
			}
			if wofProvider([]byte(s.reparse)) != 0 {
				s.data = fmt.Sprint(e.Info.Size())
			} else if s.data, err = readWhole(e.Info.Data); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			for _, x := range e.Info.Streams {
				b, err := readWhole(x.Data)
				if err != nil {
					t.Fatalf("%s:%s: %v", path, x.Name, err)
				}
				s.streams += fmt.Sprintf("%s %x;", x.Name, sha1.Sum([]byte(b)))
			}
		}
		states[path] = s
	}
	return states
}

func readWhole(b *winfile.Blob) (string, error) {
	p, err := b.ReadAll(1 << 30)
	return string(p), err
}

func openDevice(t testing.TB, d *memoryDevice) *Volume {
	t.Helper()
	v, err := NewReader(d, d.size())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantState compares a volume with what it should hold, and checks it: a builder's volume has no problem at all.
func wantState(t testing.TB, d *memoryDevice, want map[string]*editState, problems func(Problem) bool) {
	t.Helper()
	v := openDevice(t, d)
	got := readState(t, v)
	for path, s := range want {
		if !s.same(got[path]) {
			t.Errorf("%s: %v, want %v", path, got[path], s)
		}
	}
	for path := range got {
		if want[path] == nil {
			t.Errorf("%s: should not be there", path)
		}
	}
	for _, w := range v.Warnings() {
		t.Errorf("warning: %s", w)
	}
	list, err := v.Check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if problems(p) && !noChunks(p) {
			t.Errorf("problem: %v", p)
		}
	}
}

func anyProblem(Problem) bool { return true }

// noChunks is the one problem that the tests make themselves: what their compact files hold is noise.
func noChunks(p Problem) bool { return p.Code == "wof-chunks" }

// builtDevice is a volume of the builder in memory.
func builtDevice(t testing.TB, tr *winfile.Tree, o *BuildOptions) *memoryDevice {
	t.Helper()
	l, err := NewLayout(tr, o)
	if err != nil {
		t.Fatal(err)
	}
	w := &memoryVolume{b: make([]byte, l.Size())}
	if err := l.Write(context.Background(), w); err != nil {
		t.Fatal(err)
	}
	return newMemoryDevice(w.b)
}

func openEdit(t testing.TB, d *memoryDevice, j Journal) *Editor {
	t.Helper()
	e, err := OpenEditor(d, d.size(), j, &EditOptions{Time: 0x01d9f6d3e5b3a1c7})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func pointerOf(size int, provider byte) []byte {
	b := pointerTo(&winfile.Info{Data: &winfile.Blob{Size: int64(size)}})
	if provider == wofFile {
		b = b[:24]
		le.PutUint16(b[4:], 16)
		b[12], b[16], b[20] = wofFile, 1, 0
	}
	return b
}

// TestEditSampleFiles makes every plain file of a volume a pointer, then a plain file again with other contents.
func TestEditSampleFiles(t *testing.T) {
	d := builtDevice(t, sampleTree(300), &BuildOptions{Size: 16 << 20})
	want := readState(t, openDevice(t, d))
	e := openEdit(t, d, &memoryJournal{})
	done := make(map[*editState]bool)
	files := func(fn func(path string, s *editState)) {
		for _, path := range slices.Sorted(maps.Keys(want)) {
			s := want[path]
			if !s.dir && !done[s] && (s.reparse == "" || wofProvider([]byte(s.reparse)) != 0) && s.data != "" {
				done[s] = true
				fn(path, s)
			}
		}
		clear(done)
	}
	files(func(path string, s *editState) {
		p := pointerOf(len(s.data), wofWIM)
		if err := e.SetPointer(path, p); err != nil {
			t.Fatal(err)
		}
		s.data, s.reparse = fmt.Sprint(len(s.data)), string(p)
	})
	if err := e.Commit(); err != nil {
		t.Fatal(err)
	}
	wantState(t, d, want, anyProblem)
	n := 0
	files(func(path string, s *editState) {
		n++
		s.data, s.reparse = strings.Repeat(path, 1+n*7%400), ""
		if err := e.SetPlain(path, winfile.NewBlob([]byte(s.data))); err != nil {
			t.Fatal(err)
		}
	})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantState(t, d, want, anyProblem)
}
