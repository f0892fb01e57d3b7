package ntfs

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/winfile"
)

// failingReads is a Device whose reads, and writes of contents, fail from time to time.
type failingReads struct {
	*memoryDevice
	left int // reads until the next fault; 0 never
}

var errRead = errors.New("read fault")

func (d *failingReads) ReadAt(p []byte, off int64) (int, error) {
	if d.left > 0 {
		if d.left--; d.left == 0 {
			return 0, errRead
		}
	}
	return d.memoryDevice.ReadAt(p, off)
}

// TestEditOperationsAreWhole lets operations fail in the middle: what they changed is undone, and the others of the transaction stay.
func TestEditOperationsAreWhole(t *testing.T) {
	for _, cluster := range []int{512, 4096} {
		d := &failingReads{memoryDevice: builtDevice(t, sampleTree(200), &BuildOptions{Size: 16 << 20, ClusterSize: cluster})}
		m := newEditModel(11, readState(t, openDevice(t, d.memoryDevice)))
		e, err := OpenEditor(d, d.size(), &memoryJournal{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		for i := range 600 {
			p := m.pick(func(_ string, s *editState) bool { return !s.dir && s.reparse == "" && s.data != "" })
			s := m.want[p]
			d.left = 1 + m.IntN(15)
			var done func()
			switch i % 4 {
			case 0:
				buf := pointerOf(len(s.data), wofWIM)
				err = e.SetPointer(p, buf)
				done = func() { s.data, s.reparse = fmt.Sprint(len(s.data)), string(buf) }
			case 1:
				c := m.content()
				err = e.Replace(p, blobOf(c))
				done = func() { s.data = c }
			case 2:
				name := fmt.Sprintf("many/new file %d", i)
				err = e.Add(name, &winfile.Info{Data: blobOf(name), Security: sampleSecurity(7000 + i)})
				done = func() { m.want[name] = &editState{data: name} }
			case 3:
				err = e.Remove(p)
				done = func() { delete(m.want, p) }
			}
			d.left = 0
			switch {
			case err == nil:
				done()
				m.sort()
			case errors.Is(err, errRead):
				failed++
			default:
				t.Fatal(err)
			}
		}
		if failed < 50 || failed > 550 {
			t.Errorf("%d operations failed", failed)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		wantState(t, d.memoryDevice, m.want, anyProblem)
	}
}

// TestEditFull fills a volume to the last cluster and empties it.
func TestEditFull(t *testing.T) {
	d := builtDevice(t, sampleTree(50), &BuildOptions{Size: 6 << 20})
	before := readState(t, openDevice(t, d))
	want := cloneStates(before)
	e := openEdit(t, d, &memoryJournal{})
	var names []string
	for size := 300000; size > 1; {
		name := fmt.Sprintf("many/fill %d", len(names))
		c := strings.Repeat("x", size)
		err := e.Add(name, &winfile.Info{Data: blobOf(c)})
		if errors.Is(err, ErrFull) {
			size /= 2
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		want[name] = &editState{data: c}
		if len(names) > 20000 {
			t.Fatal("the volume never is full")
		}
	}
	if err := e.Commit(); err != nil {
		t.Fatal(err)
	}
	wantState(t, d, want, anyProblem)
	r := rand.New(rand.NewPCG(1, 1))
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		if err := e.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantState(t, d, before, anyProblem)
}

// TestEditNoSpace makes every file of a volume without a free cluster a pointer, the largest first: what they free is there for the
// index of the others.
func TestEditNoSpace(t *testing.T) {
	d := builtDevice(t, sampleTree(400), nil)
	want := readState(t, openDevice(t, d))
	e := openEdit(t, d, &memoryJournal{})
	paths := slices.SortedFunc(maps.Keys(want), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(want[b].data), len(want[a].data)), cmp.Compare(a, b))
	})
	for _, path := range paths {
		s := want[path]
		if s.dir || s.reparse != "" || s.data == "" {
			continue
		}
		p := pointerOf(len(s.data), wofWIM)
		if err := e.SetPointer(path, p); err != nil {
			t.Fatal(err)
		}
		s.data, s.reparse = fmt.Sprint(len(s.data)), string(p)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantState(t, d, want, anyProblem)
}

// TestEditNameAgain takes a name away and gives it to another file: two transactions, so that at each cut there is one.
func TestEditNameAgain(t *testing.T) {
	d := builtDevice(t, sampleTree(30), &BuildOptions{Size: 4 << 20, LogSize: minLogSize})
	want := readState(t, openDevice(t, d))
	var events []traceEvent
	d.trace = &events
	e := openEdit(t, d, &memoryJournal{d: d})
	err := errors.Join(e.Remove("streams"), e.Replace("links/linked", nil), e.Add("Streams", &winfile.Info{Data: blobOf("new")}), e.Close())
	if err != nil {
		t.Fatal(err)
	}
	delete(want, "streams")
	want["links/linked"].data = ""
	want["Streams"] = &editState{data: "new"}
	wantState(t, d, want, anyProblem)
	stored := 0
	for _, ev := range events {
		if ev.kind == 'j' {
			stored++
		}
	}
	if stored != 2 {
		t.Errorf("%d transactions, want 2", stored)
	}
}

// TestEditLeftoverStream makes a file compact that has a stream of the name that compact files have.
func TestEditLeftoverStream(t *testing.T) {
	tr := sampleTree(3)
	info := tr.Lookup("links/linked").Info
	info.Streams = []winfile.Stream{{Name: compactStream, Data: blobOf(strings.Repeat("z", 9999))}}
	d := builtDevice(t, tr, &BuildOptions{Size: 8 << 20})
	want := readState(t, openDevice(t, d))
	e := openEdit(t, d, &memoryJournal{})
	content := strings.Repeat("0", 20000)
	if err := errors.Join(e.SetCompact("links/linked", pointerOf(9000, wofFile), blobOf(content)), e.Close()); err != nil {
		t.Fatal(err)
	}
	s := want["links/linked"]
	s.data, s.reparse = "9000", string(pointerOf(9000, wofFile))
	s.streams = fmt.Sprintf("%s %x;", compactStream, sha1.Sum([]byte(content)))
	wantState(t, d, want, anyProblem)
}

// TestEditFragmentedMFT makes the $MFT grow where only single clusters are free, so that it needs extension records.
func TestEditFragmentedMFT(t *testing.T) {
	d := builtDevice(t, sampleTree(50), &BuildOptions{Size: 12 << 20})
	want := readState(t, openDevice(t, d))
	e := openEdit(t, d, &memoryJournal{})
	n := 0
	for ; ; n++ {
		err := e.Add(fmt.Sprintf("fill %d", n), &winfile.Info{Data: winfile.NewBlob(bytes.Repeat([]byte("y"), 4096))})
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		name := fmt.Sprintf("fill %d", i)
		if i%2 == 0 {
			want[name] = &editState{data: strings.Repeat("y", 4096)}
		} else if err := e.Replace(name, nil); err != nil { // its record stays in use
			t.Fatal(err)
		} else {
			want[name] = &editState{}
		}
	}
	if err := e.Commit(); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		name := fmt.Sprintf("a new one %d", i)
		err := e.Add(name, &winfile.Info{})
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want[name] = &editState{}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantState(t, d, want, anyProblem)
	v := openDevice(t, d)
	if n := len(v.mft.extents); n < 100 {
		t.Errorf("the $MFT has %d extents", n)
	}
	_, list, err := v.baseAttrs(recMFT)
	if err != nil || findAttr(list, typeAttributeList, "") < 0 {
		t.Errorf("the $MFT has no attribute list: %v", err)
	}
}

// TestEditLargeDirectory makes the bitmap of an index leave its record, and comes back.
func TestEditLargeDirectory(t *testing.T) {
	d := builtDevice(t, sampleTree(10), &BuildOptions{Size: 96 << 20, ClusterSize: 4096})
	before := readState(t, openDevice(t, d))
	want := cloneStates(before)
	e := openEdit(t, d, &memoryJournal{})
	r := rand.New(rand.NewPCG(3, 3))
	long := strings.Repeat("a name that takes as much of an index block as a name can ", 4)
	order := r.Perm(5000)
	for _, i := range order {
		name := fmt.Sprintf("folder/%05d %s", i, long[:200])
		if err := e.Add(name, &winfile.Info{}); err != nil {
			t.Fatal(err)
		}
		want[name] = &editState{}
	}
	if err := e.Commit(); err != nil {
		t.Fatal(err)
	}
	wantState(t, d, want, anyProblem)
	v := openDevice(t, d)
	n, _, _ := v.Lookup("folder")
	_, list, err := v.baseAttrs(n)
	if err != nil {
		t.Fatal(err)
	}
	if i := findAttr(list, typeBitmap, "$I30"); i < 0 || !list[i].nonResident() {
		t.Error("the bitmap of the index is in the record")
	}
	for _, i := range order {
		if err := e.Remove(fmt.Sprintf("folder/%05d %s", i, long[:200])); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantState(t, d, before, anyProblem)
}

// TestEditRefuses opens what is not to be edited, and asks for what cannot be.
func TestEditRefuses(t *testing.T) {
	sound := builtDevice(t, sampleTree(30), &BuildOptions{Size: 4 << 20, LogSize: minLogSize})
	open := func(change func(e *Editor)) error {
		d := sound.copy()
		e := openEdit(t, d, &memoryJournal{})
		change(e)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := OpenEditor(d, d.size(), &memoryJournal{}, nil)
		return err
	}
	volumeInfo := func(fn func(v []byte)) func(*Editor) {
		return func(e *Editor) {
			f, err := e.load(recVolume)
			if err != nil {
				t.Fatal(err)
			}
			// Behind the editor's back: it would clear the flag.
			a := e.attr(f, typeVolumeInformation, "")
			fn(a.value())
			if err := e.save(f, rankFile); err != nil {
				t.Fatal(err)
			}
			for _, u := range e.units {
				writeFull(e.d, u.data, u.at[0].off)
			}
			e.reset()
		}
	}
	if err := open(volumeInfo(func(v []byte) { v[10] |= 1 })); !errors.Is(err, ErrDirty) {
		t.Errorf("dirty: %v", err)
	}
	if err := open(volumeInfo(func(v []byte) { v[8], v[9] = 3, 0 })); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("version 3.0: %v", err)
	}
	for magic, want := range map[string]error{"HIBR": ErrHibernated, "wake": ErrHibernated, "\x00\x00\x00\x00": nil} {
		err := open(func(e *Editor) {
			if err := e.Add("hiberfil.sys", &winfile.Info{Data: winfile.NewBlob([]byte(magic + strings.Repeat("x", 5000)))}); err != nil {
				t.Fatal(err)
			}
		})
		if !errors.Is(err, want) {
			t.Errorf("hiberfil.sys with %q: %v, want %v", magic, err, want)
		}
	}
	for _, log := range []struct {
		major byte
		inUse uint16
		want  error
	}{{1, 0, ErrLog}, {2, 0, ErrLog}, {1, noClient, nil}} {
		err := open(func(e *Editor) {
			s, err := e.v.openNamed(recLogFile, typeData, "")
			if err != nil {
				t.Fatal(err)
			}
			writeFull(e.d, restartPage(log.major, log.inUse), int64(s.extents[0].LCN)*int64(e.v.ClusterSize))
		})
		if !errors.Is(err, log.want) {
			t.Errorf("log %+v: %v", log, err)
		}
	}
	e := openEdit(t, sound.copy(), &memoryJournal{})
	pointer := pointerOf(7, wofWIM)
	for want, err := range map[string]error{
		"a directory":              e.SetPointer("many", pointer),
		"file does not exist":      e.SetPointer("many/none", pointer),
		"the root directory":       e.Remove("/"),
		"in $Extend":               e.SetPointer("$extend/$Quota", pointer),
		"a system file":            e.SetPointer("$LogFile", pointer),
		"not that of a pointer":    e.SetPointer("streams", pointerOf(7, wofFile)),
		"not that of a compact":    e.SetCompact("streams", pointer, winfile.NewBlob([]byte("x"))),
		"no compressed data":       e.SetCompact("streams", pointerOf(7, wofFile), nil),
		"reparse point with tag":   e.SetPointer("pointer", pointer),
		"neither a pointer":        e.SetPlain("streams", nil),
		"file already exists":      e.Add("STREAMS", &winfile.Info{}),
		"not a name":               e.Add("many/..", &winfile.Info{}),
		"that Windows cannot open": e.Add("a:b", &winfile.Info{}),
		"with a slash or a NUL":    e.Add("a\x00b", &winfile.Info{}),
		"is not a directory":       e.Add("streams/x", &winfile.Info{}),
		"directory with unnamed":   e.Add("x", &winfile.Info{Attributes: winfile.AttrDirectory, Data: blobOf("x")}),
		"encrypted file":           e.Add("x", &winfile.Info{Attributes: winfile.AttrEncrypted}),
		"entry without a file":     e.Add("x", nil),
		"security descriptor of 1": e.Add("x", &winfile.Info{Security: []byte{1}}),
		"object id of 3":           e.Add("x", &winfile.Info{Extra: &winfile.Extra{ObjectID: []byte{1, 2, 3}}}),
		"the directory has":        e.Remove("many"),
		"no content to read":       e.Replace("streams", &winfile.Blob{Size: 9}),
		"content ended after 5000": e.Replace("streams", &winfile.Blob{Size: 9000, Content: shortContent(5000)}),
		"longer than its 9000":     e.Replace("streams", &winfile.Blob{Size: 9000, Content: shortContent(9001)}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if len(e.units) > 0 {
		t.Errorf("%d changes after refusals", len(e.units))
	}
	if err := e.Add("nothing", &winfile.Info{}); err != nil || e.SetPointer("nothing", pointer) == nil {
		t.Errorf("an empty file became a pointer: %v", err)
	}
}

// shortContent has so many bytes, whatever its blob says.
type shortContent int64

func (n shortContent) OpenBlob(*winfile.Blob) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(make([]byte, n))), nil
}

// restartPage is a page of a log of this version, with a client if inUse is 0.
func restartPage(major byte, inUse uint16) []byte {
	b := bytes.Repeat([]byte{0}, logPageSize)
	copy(b, "RSTR")
	le.PutUint16(b[4:], 0x1e)
	le.PutUint16(b[6:], logPageSize/sectorStride+1)
	le.PutUint32(b[0x10:], logPageSize)
	le.PutUint32(b[0x14:], logPageSize)
	le.PutUint16(b[0x18:], 0x30)
	b[0x1c] = major
	le.PutUint64(b[0x30:], 1)
	le.PutUint16(b[0x30+restartInUse:], inUse)
	protect(b, 1)
	return b
}

// TestEditEmptiesLog replaces the records of a clean log, and leaves one alone that is empty.
func TestEditEmptiesLog(t *testing.T) {
	d := builtDevice(t, sampleTree(30), &BuildOptions{Size: 4 << 20, LogSize: minLogSize})
	s, err := openDevice(t, d).openNamed(recLogFile, typeData, "")
	if err != nil {
		t.Fatal(err)
	}
	at := int64(s.extents[0].LCN) * 4096
	d.put(restartPage(1, noClient), at)
	d.put(bytes.Repeat([]byte("RCRD"), 1024), at+s.size-4096)
	for range 2 {
		d.writes = 0
		e := openEdit(t, d, &memoryJournal{})
		if err := errors.Join(e.Replace("streams", blobOf("x")), e.Replace("streams", blobOf("y")), e.Close()); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, s.size)
		if _, err := d.ReadAt(b, at); err != nil || !isFilled(b, 0xff) {
			t.Fatal("the log is not empty", err)
		}
	}
	if d.writes > 20 {
		t.Errorf("%d writes for one file", d.writes)
	}
}

// TestEditJournalBelongs refuses journals of other volumes, and of this one when somebody has changed it since.
func TestEditJournalBelongs(t *testing.T) {
	start := builtDevice(t, sampleTree(30), &BuildOptions{Size: 4 << 20, LogSize: minLogSize, Serial: 1})
	c := cutCase{change: func(t testing.TB, e *Editor, m *editModel) {
		m.want["streams"].data = "new"
		if err := e.Replace("streams", blobOf("new")); err != nil {
			t.Fatal(err)
		}
	}, problem: anyProblem}
	events, _, _ := c.run(t, start.copy())
	var after int
	for i, ev := range events {
		if ev.kind == 'j' {
			after = i + 5
		}
	}
	d, j := cut(start, events, after, 0, nil)
	other := builtDevice(t, sampleTree(30), &BuildOptions{Size: 4 << 20, LogSize: minLogSize, Serial: 2})
	if _, err := OpenEditor(other, other.size(), &memoryJournal{b: j.b}, nil); !errors.Is(err, ErrJournal) {
		t.Errorf("another serial number: %v", err)
	}
	changed := d.copy()
	v := openDevice(t, changed)
	n, _, err := v.Lookup("streams")
	if err != nil {
		t.Fatal(err)
	}
	at := int64(v.recordLCN(n))*4096 + n*1024%4096
	b := make([]byte, 512)
	changed.ReadAt(b, at)
	b[100] ^= 1
	changed.put(b, at)
	if _, err := OpenEditor(changed, changed.size(), &memoryJournal{b: j.b}, nil); !errors.Is(err, ErrJournal) {
		t.Errorf("a volume that was changed since: %v", err)
	}
	if _, err := OpenEditor(d.copy(), d.size(), &memoryJournal{b: []byte("MZ is no journal")}, nil); err == nil || !strings.Contains(err.Error(), "not a journal") {
		t.Errorf("a file that is no journal: %v", err)
	}
	if e, err := OpenEditor(d, d.size(), j, nil); err != nil || len(j.b) > 0 {
		t.Errorf("%v, %v, %d bytes of journal left", e, err, len(j.b))
	}
}

// TestFileJournal keeps what it is given in a file that is there only meanwhile.
func TestFileJournal(t *testing.T) {
	j := FileJournal(filepath.Join(t.TempDir(), "disk.vhd.husk-journal"))
	if b, err := j.Load(); err != nil || len(b) > 0 {
		t.Fatalf("%q, %v", b, err)
	}
	for _, want := range []string{"a long transaction", "short"} {
		if err := j.Store([]byte(want)); err != nil {
			t.Fatal(err)
		}
		if b, err := j.Load(); err != nil || string(b) != want {
			t.Fatalf("%q, %v, want %q", b, err, want)
		}
	}
	for range 2 {
		if err := j.Clear(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(string(j)); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// TestEditJournalAfterMount refuses a journal once a driver has mounted the volume, though it left every sector that the transaction
// changes as it was: what the transaction wrote to free clusters may be another file's now, or was.
func TestEditJournalAfterMount(t *testing.T) {
	start := builtDevice(t, sampleTree(30), &BuildOptions{Size: 4 << 20, LogSize: minLogSize})
	contents := strings.Repeat("contents ", 3000)
	c := cutCase{change: func(t testing.TB, e *Editor, m *editModel) {
		for _, data := range []string{"the first transaction empties the log", contents} {
			m.want["streams"].data = data
			if err := errors.Join(e.Replace("streams", blobOf(data)), e.Commit()); err != nil {
				t.Fatal(err)
			}
		}
	}, problem: anyProblem}
	for _, log := range []struct {
		name  string
		start *memoryDevice
	}{{"empty log", start}, {"log with a clean restart page", start.copy()}} {
		if log.start != start {
			log.start.put(restartPage(1, noClient), logStart(t, start))
		}
		events, _, _ := c.run(t, log.start.copy())
		for i, ev := range events {
			if ev.kind != 'j' {
				continue
			}
			for _, k := range []int{i + 1, i + 4} {
				d, j := cut(log.start, events, k, 0, nil)
				if _, err := OpenEditor(d.copy(), d.size(), &memoryJournal{b: j.b}, nil); err != nil {
					t.Errorf("%s: nobody has used it: %v", log.name, err)
				}
				mounted := d.copy()
				mounted.put(bytes.Repeat([]byte("LOG "), sectorStride/4), logStart(t, d))
				if _, err := OpenEditor(mounted, d.size(), &memoryJournal{b: j.b}, nil); !errors.Is(err, ErrJournal) {
					t.Errorf("%s: another log: %v, want %v", log.name, err, ErrJournal)
				}
				for s, b := range d.sectors {
					if !bytes.HasPrefix(b, []byte("contents contents")) && !bytes.Contains(b, []byte(" contents contents ")) {
						continue
					}
					used := d.copy()
					used.put(make([]byte, sectorStride), s*sectorStride)
					if _, err := OpenEditor(used, d.size(), &memoryJournal{b: j.b}, nil); !errors.Is(err, ErrJournal) {
						t.Fatalf("%s: contents were overwritten at sector %d: %v, want %v", log.name, s, err, ErrJournal)
					}
				}
			}
		}
	}
}

// logStart is the first byte of $LogFile.
func logStart(t testing.TB, d *memoryDevice) int64 {
	t.Helper()
	v := openDevice(t, d)
	s, err := v.openNamed(recLogFile, typeData, "")
	if err != nil {
		t.Fatal(err)
	}
	return int64(s.extents[0].LCN) * int64(v.ClusterSize)
}
