package ntfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"husk/winfile"
)

// cutCase is a volume and changes to it.
type cutCase struct {
	name    string
	make    func(t *testing.T) *memoryDevice
	change  func(t testing.TB, e *Editor, m *editModel)
	problem func(Problem) bool
}

// smallTree is a tree with something of each kind, and a directory whose index has two levels.
func smallTree() *winfile.Tree {
	return sampleTree(90)
}

func changeRandomly(seed uint64, steps int) func(testing.TB, *Editor, *editModel) {
	return func(t testing.TB, e *Editor, m *editModel) {
		m.Rand = rand.New(rand.NewPCG(seed, 3))
		for range steps {
			m.step(t, e)
		}
	}
}

var cutCases = []cutCase{
	{"one pointer", func(t *testing.T) *memoryDevice { return builtDevice(t, smallTree(), &BuildOptions{Size: 8 << 20}) },
		func(t testing.TB, e *Editor, m *editModel) {
			if err := e.SetPointer("links/linked", pointerOf(9000, wofWIM)); err != nil {
				t.Fatal(err)
			}
			s := m.want["links/linked"]
			s.data, s.reparse = "9000", string(pointerOf(9000, wofWIM))
		}, anyProblem},
	{"many changes", func(t *testing.T) *memoryDevice { return builtDevice(t, smallTree(), &BuildOptions{Size: 8 << 20}) },
		changeRandomly(5, 60), anyProblem},
	{"small clusters", func(t *testing.T) *memoryDevice {
		return builtDevice(t, smallTree(), &BuildOptions{Size: 8 << 20, ClusterSize: 512})
	}, changeRandomly(6, 40), anyProblem},
	{"large sectors", func(t *testing.T) *memoryDevice {
		return builtDevice(t, smallTree(), &BuildOptions{Size: 12 << 20, SectorSize: 4096, ClusterSize: 65536})
	}, changeRandomly(7, 40), anyProblem},
	{"a growing directory and $MFT", func(t *testing.T) *memoryDevice { return builtDevice(t, smallTree(), &BuildOptions{Size: 8 << 20}) },
		func(t testing.TB, e *Editor, m *editModel) {
			for i := range 90 {
				p := fmt.Sprintf("many/entry-%05d-and a half", i)
				if err := e.Add(p, &winfile.Info{Links: 1}); err != nil {
					t.Fatal(err)
				}
				m.want[p] = &editState{}
			}
		}, anyProblem},
	{"a deep index", func(t *testing.T) *memoryDevice {
		tr := sampleTree(3)
		for i := range 80 {
			name := fmt.Sprintf("%03d %s", i*10, strings.Repeat("x", 240))
			tr.Root.Children = append(tr.Root.Children, &winfile.Entry{Name: name, Info: &winfile.Info{Links: 1}})
		}
		return builtDevice(t, tr, &BuildOptions{Size: 8 << 20})
	}, func(t testing.TB, e *Editor, m *editModel) {
		gone := make(map[string]bool) // a name that comes back takes a second transaction
		for i := range 120 {
			p := fmt.Sprintf("%03d %s", m.IntN(80)*10+m.IntN(3), strings.Repeat("x", 240))
			var err error
			switch {
			case gone[p]:
			case m.want[p] != nil:
				err = e.Remove(p)
				delete(m.want, p)
				gone[p] = true
			default:
				err = e.Add(p, &winfile.Info{})
				m.want[p] = &editState{}
			}
			if err != nil {
				t.Fatal(i, err)
			}
		}
	}, anyProblem},
	{"an emptied directory", func(t *testing.T) *memoryDevice { return builtDevice(t, smallTree(), &BuildOptions{Size: 8 << 20}) },
		func(t testing.TB, e *Editor, m *editModel) {
			for i, p := range m.paths {
				if len(p) > 5 && p[:5] == "many/" && i%10 != 0 {
					if err := e.Remove(p); err != nil {
						t.Fatal(err)
					}
					delete(m.want, p)
				}
			}
		}, anyProblem},
}

// readable checks a volume that was cut off and not repaired: each file that was there and is to be there can be found by its path and
// reads as before or as after. Nothing in use is marked free, and the volume is marked dirty if it has any problem.
func readable(t *testing.T, d *memoryDevice, before, after map[string]*editState, problem func(Problem) bool) {
	t.Helper()
	v := openDevice(t, d)
	problems, err := v.Check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		inUse := p.Code == "bitmap-free" || p.Code == "mft-bitmap-free"
		if inUse || p.Code == "cross-link" || !v.Dirty && problem(p) && !noChunks(p) {
			t.Errorf("without the journal, dirty %t: %v", v.Dirty, p)
		}
	}
	got := readState(t, v)
	for path, s := range before {
		if after[path] == nil {
			continue
		}
		if g := got[path]; !s.same(g) && !after[path].same(g) {
			t.Errorf("%s: %v, want %v or %v", path, g, s, after[path])
		}
		if _, ok, err := v.Lookup(path); !ok || err != nil {
			t.Errorf("%s is not found in its directory: %v", path, err)
		}
	}
	for path, g := range got {
		switch {
		case before[path] == nil && after[path] == nil:
			t.Errorf("%s: %v should never be there", path, g)
		case before[path] == nil && !g.same(after[path]) || after[path] == nil && !g.same(before[path]):
			t.Errorf("%s: %v, want %v or %v", path, g, before[path], after[path])
		}
	}
}

// run makes the changes of a case and returns what it did and what the volume holds before and after.
func (c *cutCase) run(t *testing.T, d *memoryDevice) (events []traceEvent, before, after map[string]*editState) {
	t.Helper()
	before = readState(t, openDevice(t, d))
	m := newEditModel(0, cloneStates(before))
	d.trace = &events
	e := openEdit(t, d, &memoryJournal{d: d})
	c.change(t, e, m)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	d.trace = nil
	wantState(t, d, m.want, c.problem)
	return events, before, m.want
}

// cut is a volume and a journal after a power cut in events[k]: the first sectors of it are there, and of the writes since the last sync those
// that r, if not nil, leaves.
func cut(start *memoryDevice, events []traceEvent, k, sectors int, r *rand.Rand) (*memoryDevice, *memoryJournal) {
	d, j := start.copy(), &memoryJournal{}
	synced := 0
	for i, ev := range events[:k] {
		if ev.kind == 's' {
			synced = i
		}
	}
	for i, ev := range events[:k] {
		switch ev.kind {
		case 'w':
			if i < synced || r == nil || r.IntN(2) == 0 {
				d.put(ev.data, ev.off)
			}
		case 'j':
			j.b = ev.data
		case 'c':
			j.b = nil
		}
	}
	switch ev := events[k]; ev.kind {
	case 'w':
		d.put(ev.data[:min(len(ev.data), sectors*sectorStride)], ev.off)
	case 'j':
		j.b = ev.data[:len(ev.data)*sectors/8]
	}
	return d, j
}

// TestEditCut cuts changes off at every single write: of the journal, of contents, of metadata. Without the journal each file must be old
// or new; with it, all of the volume must be one or the other, whatever of the writes that were not synced is lost or torn. It takes some
// seconds, as it reads the volume a thousand times.
func TestEditCut(t *testing.T) {
	for i := range cutCases {
		t.Run(cutCases[i].name, func(t *testing.T) {
			t.Parallel()
			cutEverywhere(t, uint64(i), &cutCases[i])
		})
	}
}

// cutEverywhere is TestEditCut of one case.
func cutEverywhere(t *testing.T, seed uint64, tt *cutCase) {
	start := tt.make(t)
	events, before, after := tt.run(t, start.copy())
	r := rand.New(rand.NewPCG(seed, 4))
	committed := false
	for k, ev := range events {
		if ev.kind == 's' {
			continue
		}
		want := before
		if committed {
			want = after
		}
		lose := []*rand.Rand{nil, r}[r.IntN(2)]
		d, j := cut(start, events, k, 0, lose)
		readable(t, d, before, after, tt.problem)
		if k%3 != 0 {
			d, j = cut(start, events, k, 1+r.IntN(7), lose)
		}
		var settled []byte
		if k%7 == 0 {
			settled = readSettled(t, d, j)
		}
		repeatReplay(t, d, j, r)
		if settled != nil && !bytes.Equal(settled, readSettled(t, d, &memoryJournal{})) {
			t.Error("what was read with the journal laid over is not what replaying it makes")
		}
		wantState(t, d, want, tt.problem)
		if t.Failed() {
			t.Fatalf("cut in write %d of %d", k, len(events))
		}
		committed = committed || ev.kind == 'j'
	}
	if !committed {
		t.Error("there was no journal")
	}
}

// readSettled reads a volume with the transaction of its journal laid over.
func readSettled(t *testing.T, d *memoryDevice, j *memoryJournal) []byte {
	t.Helper()
	r, err := Settled(d, d.size(), j.b)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, d.size())
	half := len(b)/2 + 13 // not on the edge of a sector
	for _, part := range [][]byte{b[:half], b[half:]} {
		if n, err := r.ReadAt(part, int64(len(b)-cap(part))); n < len(part) {
			t.Fatal(err)
		}
	}
	return b
}

// repeatReplay opens the volume again, and cuts that off some times before it lets it end.
func repeatReplay(t *testing.T, d *memoryDevice, j *memoryJournal, r *rand.Rand) {
	t.Helper()
	for range r.IntN(3) {
		d.writes, d.failAt = 0, 1+r.IntN(60)
		j.d = d
		if _, err := OpenEditor(d, d.size(), j, nil); err != nil && !errors.Is(err, errCut) {
			t.Fatal(err)
		}
	}
	d.failAt = 0
	e, err := OpenEditor(d, d.size(), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if len(j.b) > 0 {
		t.Error("the journal is not empty")
	}
}

// TestEditFails lets each write of a change fail and goes on: an editor that has failed does nothing more, and the volume opens.
func TestEditFails(t *testing.T) {
	c := &cutCases[0]
	start := c.make(t)
	events, before, after := c.run(t, start.copy())
	for k := 1; k < len(events); k++ {
		d := start.copy()
		d.failAt = k
		j := &memoryJournal{d: d}
		e := openEdit(t, d, j)
		err := e.SetPointer("links/linked", pointerOf(9000, wofWIM))
		err = errors.Join(err, e.Close())
		if d.failAt = 0; d.writes < k {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, errCut) {
			t.Fatalf("write %d: %v, want %v", k, err, errCut)
		}
		if err := e.SetPointer("many", nil); err == nil {
			t.Fatal("an editor that has failed goes on")
		}
		want := before
		if len(j.b) > 0 {
			want = after
		}
		openEdit(t, d, j)
		wantState(t, d, want, anyProblem)
	}
}
