package ntfs

import (
	"crypto/sha1"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"husk/winfile"
)

// editModel makes random changes with an editor and knows what comes of them.
type editModel struct {
	*rand.Rand
	want  map[string]*editState
	paths []string // of want, sorted
	made  int
}

func newEditModel(seed uint64, want map[string]*editState) *editModel {
	m := &editModel{Rand: rand.New(rand.NewPCG(seed, 2)), want: want}
	m.sort()
	return m
}

func (m *editModel) sort() { m.paths = slices.Sorted(maps.Keys(m.want)) }

// cloneStates copies states; files with several names stay one file.
func cloneStates(want map[string]*editState) map[string]*editState {
	c := make(map[string]*editState, len(want))
	seen := make(map[*editState]*editState)
	for p, s := range want {
		if seen[s] == nil {
			x := *s
			seen[s] = &x
		}
		c[p] = seen[s]
	}
	return c
}

func (m *editModel) content() string {
	n := m.IntN(1 << m.IntN(16))
	if m.IntN(8) == 0 {
		n = m.IntN(200000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.Uint32() >> 3)
	}
	return string(b)
}

func blobOf(s string) *winfile.Blob { return winfile.NewBlob([]byte(s)) }

// pick is a random path whose state satisfies ok, "" if some tries find none.
func (m *editModel) pick(ok func(p string, s *editState) bool) string {
	for range 50 {
		p := m.paths[m.IntN(len(m.paths))]
		if s := m.want[p]; p != "." && ok(p, s) {
			return p
		}
	}
	return ""
}

func isWOF(s *editState) bool { return wofProvider([]byte(s.reparse)) != 0 }

// withoutCompact drops the stream of compact files from the streams of a state.
func withoutCompact(streams string) string {
	var kept string
	for s := range strings.SplitAfterSeq(streams, ";") {
		if !strings.HasPrefix(s, compactStream+" ") {
			kept += s
		}
	}
	return kept
}

// step makes one change.
func (m *editModel) step(t testing.TB, e *Editor) {
	t.Helper()
	file := func(_ string, s *editState) bool { return !s.dir && (s.reparse == "" || isWOF(s)) }
	check := func(what, p string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s %q: %v", what, p, err)
		}
	}
	switch op := m.IntN(12); {
	case op < 2:
		p := m.pick(func(p string, s *editState) bool { return file(p, s) && s.data != "" })
		if p == "" {
			return
		}
		s := m.want[p]
		n := len(s.data)
		if isWOF(s) {
			fmt.Sscan(s.data, &n)
		}
		buf := pointerOf(n, wofWIM)
		check("pointer", p, e.SetPointer(p, buf))
		s.data, s.reparse, s.streams = fmt.Sprint(n), string(buf), withoutCompact(s.streams)
	case op < 3:
		p := m.pick(func(p string, s *editState) bool { return file(p, s) && s.data != "" })
		if p == "" {
			return
		}
		s := m.want[p]
		n := len(s.data)
		if isWOF(s) {
			fmt.Sscan(s.data, &n)
		}
		buf := pointerOf(n, wofFile)
		c := m.content() + "x"
		check("compact", p, e.SetCompact(p, buf, blobOf(c)))
		s.data, s.reparse = fmt.Sprint(n), string(buf)
		s.streams = sortStreams(withoutCompact(s.streams) + fmt.Sprintf("%s %x;", compactStream, sha1.Sum([]byte(c))))
	case op < 4:
		p := m.pick(func(_ string, s *editState) bool { return isWOF(s) })
		if p == "" {
			return
		}
		s := m.want[p]
		c := m.content()
		check("plain", p, e.SetPlain(p, blobOf(c)))
		s.data, s.reparse, s.streams = c, "", withoutCompact(s.streams)
	case op < 6:
		p := m.pick(file)
		if p == "" {
			return
		}
		s := m.want[p]
		c := m.content()
		check("replace", p, e.Replace(p, blobOf(c)))
		s.data, s.reparse, s.streams = c, "", withoutCompact(s.streams)
	case op < 9:
		m.add(t, e)
	default:
		p := m.pick(func(p string, s *editState) bool {
			return !s.dir || !slices.ContainsFunc(m.paths, func(q string) bool { return strings.HasPrefix(q, p+"/") })
		})
		if p == "" {
			return
		}
		check("remove", p, e.Remove(p))
		delete(m.want, p)
		m.sort()
	}
}

// sortStreams puts the streams of a state into the order of their names.
func sortStreams(s string) string {
	parts := strings.SplitAfter(strings.TrimSuffix(s, ";"), ";")
	parts[len(parts)-1] += ";"
	slices.SortFunc(parts, func(a, b string) int {
		x, _, _ := strings.Cut(a, " ")
		y, _, _ := strings.Cut(b, " ")
		return winfile.CompareFold(winfile.UTF16FromName(x), winfile.UTF16FromName(y))
	})
	return strings.Join(parts, "")
}

// add makes a new file or directory.
func (m *editModel) add(t testing.TB, e *Editor) {
	t.Helper()
	dir := m.pick(func(p string, s *editState) bool { return s.dir && s.reparse == "" })
	if m.IntN(10) == 0 {
		dir = ""
	}
	m.made++
	p := strings.TrimPrefix(path.Join(dir, fmt.Sprintf("new %s %d", strings.Repeat("新n", 1+m.IntN(12)), m.made)), "./")
	if m.IntN(4) == 0 {
		p = strings.TrimPrefix(path.Join(dir, fmt.Sprintf("N%d.txt", m.made)), "./")
	}
	s := &editState{}
	info := &winfile.Info{Attributes: winfile.AttrArchive, Links: 1}
	switch m.IntN(8) {
	case 0:
		s.dir, info.Attributes = true, winfile.AttrDirectory
	case 1:
		info.Reparse = &winfile.Reparse{Tag: winfile.TagLXSymlink, Data: []byte("\x02\x00\x00\x00/usr")}
		info.Attributes |= winfile.AttrReparse
		s.reparse = string(info.Reparse.Buffer())
	case 2:
		for i := range 1 + m.IntN(12) {
			c := m.content()
			info.Streams = append(info.Streams, winfile.Stream{Name: fmt.Sprintf("stream %02d", i), Data: blobOf(c)})
			s.streams += fmt.Sprintf("stream %02d %x;", i, sha1.Sum([]byte(c)))
		}
	case 3:
		id := make([]byte, 16)
		for i := range id {
			id[i] = byte(m.Uint32())
		}
		info.Extra = &winfile.Extra{ObjectID: id, EAs: []winfile.EA{{Name: "NAME", Value: []byte("value")}}}
	}
	if m.IntN(3) == 0 {
		info.Security = sampleSecurity(1000 + m.IntN(300))
	}
	if !s.dir {
		s.data = m.content()
		info.Data = blobOf(s.data)
	}
	if err := e.Add(p, info); err != nil {
		t.Fatalf("add %q: %v", p, err)
	}
	m.want[p] = s
	m.sort()
}

// TestEditRandom makes random changes to volumes of every geometry, and compares with the model after each commit.
func TestEditRandom(t *testing.T) {
	for i, g := range geometries {
		t.Run(fmt.Sprintf("%d-%d", g[0], g[1]), func(t *testing.T) {
			t.Parallel()
			files, steps := 400, 200
			if g[1] > 64<<10 { // each file outside its record takes a cluster
				files, steps = 20, 15
			}
			d := builtDevice(t, sampleTree(files), &BuildOptions{Size: max(48<<20, int64(g[1])*200), SectorSize: g[0], ClusterSize: g[1]})
			j := &memoryJournal{}
			e, err := OpenEditor(d, d.size(), j, &EditOptions{Transaction: 1 << (10 + 2*i%16)})
			if err != nil {
				t.Fatal(err)
			}
			m := newEditModel(uint64(i), readState(t, openDevice(t, d)))
			for range 4 {
				for range steps {
					m.step(t, e)
				}
				if err := e.Commit(); err != nil {
					t.Fatal(err)
				}
				if len(j.b) > 0 {
					t.Error("the journal is not empty")
				}
				wantState(t, d, m.want, anyProblem)
				if t.Failed() {
					return
				}
			}
		})
	}
}
