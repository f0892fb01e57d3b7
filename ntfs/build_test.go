package ntfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// buildImage writes a volume to a new file.
func buildImage(t testing.TB, tr *winfile.Tree, o *BuildOptions) (string, *Layout) {
	t.Helper()
	l, err := NewLayout(tr, o)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "volume.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(l.Size()); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name, l
}

// geometries are pairs of sector and cluster size.
var geometries = [][2]int{{512, 512}, {512, 1024}, {512, 2048}, {512, 4096}, {512, 8192}, {512, 16384}, {512, 32768}, {512, 65536}, {512, 2 << 20}, {4096, 4096}, {4096, 8192}, {4096, 65536}, {4096, 1 << 20}}

func TestBuildEverything(t *testing.T) {
	tr := newTreeMaker(1).fullTree(600)
	for i, g := range geometries {
		t.Run(fmt.Sprintf("%d-%d", g[0], g[1]), func(t *testing.T) {
			var backing func(*winfile.Info) []byte
			if i%2 == 0 {
				backing = backEven
			}
			name, l := buildImage(t, tr, &BuildOptions{SectorSize: g[0], ClusterSize: g[1], Label: "数据", Time: 0x01d9f6d3e5b3a1c7, Backing: backing})
			if notes := l.Notes(); len(notes) != 0 {
				t.Errorf("notes %v", notes)
			}
			if l.FreeBytes() != 0 || l.MinSize() != l.Size() {
				t.Errorf("%d bytes free, size %d, least %d", l.FreeBytes(), l.Size(), l.MinSize())
			}
			checkImage(t, name).compareTree(tr, backing, nil)
		})
	}
}

// mount mounts a volume with ntfs-3g for the length of the test, or of unmount.
func mount(t testing.TB, name, options string) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	reftool.Look(t, "umount")
	reftool.Run(t, "ntfs-3g", "-o", options, name, dir)
	mounted := true
	unmount = func() {
		if mounted {
			mounted = false
			reftool.Run(t, "umount", dir)
		}
	}
	t.Cleanup(unmount)
	return dir, unmount
}

// Every Linux tool that reads NTFS accepts the volume, ntfs-3g reads every plain file equal, and can change the volume.
func TestOtherReaders(t *testing.T) {
	tr := newTreeMaker(2).fullTree(600)
	for _, g := range [][2]int{{512, 512}, {512, 2048}, {512, 4096}, {512, 65536}, {4096, 4096}, {4096, 16384}} {
		t.Run(fmt.Sprintf("%d-%d", g[0], g[1]), func(t *testing.T) {
			name, l := buildImage(t, tr, &BuildOptions{Size: 64 << 20, SectorSize: g[0], ClusterSize: g[1], Label: "husk", Backing: backEven, LogAtEnd: g[1] == 4096})
			if l.UsedBytes()+l.FreeBytes() > l.Size() || l.FreeBytes() < 1<<20 {
				t.Errorf("%d used and %d free of %d", l.UsedBytes(), l.FreeBytes(), l.Size())
			}
			reftool.Run(t, "ntfsfix", "-n", name)
			if out := reftool.Run(t, "ntfsresize", "-i", "-f", name); strings.Contains(out, "ERROR") {
				t.Error(out)
			}
			if out := reftool.Run(t, "ntfsinfo", "-m", "-f", name); !strings.Contains(out, fmt.Sprintf("Cluster Size: %d", g[1])) || !strings.Contains(out, "Volume Name: husk") {
				t.Error(out)
			}
			dir, unmount := mount(t, name, "ro,streams_interface=windows")
			compareMounted(t, tr, dir)
			unmount()
		})
	}
}

// compareMounted reads all plain data through a mounted volume.
func compareMounted(t *testing.T, tr *winfile.Tree, dir string) {
	t.Helper()
	for path, e := range tr.All() {
		if strings.Contains(path, "\xed") { // Linux has no such names
			continue
		}
		read := func(suffix string, b *winfile.Blob) {
			want, err := b.ReadAll(1 << 30)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, path) + suffix)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s%s: %d bytes, %v, want %d", path, suffix, len(got), err, len(want))
			}
		}
		i := e.Info
		switch {
		case i.Attributes&winfile.AttrReparse != 0 || i.Data != nil && i.Data.Size%2 == 0:
			continue
		case i.IsDir():
			have, err := os.ReadDir(filepath.Join(dir, path))
			if err != nil || len(have) != len(e.Children) && path != "." {
				t.Errorf("%s: %d names, %v, want %d", path, len(have), err, len(e.Children))
			}
		default:
			read("", i.Data)
		}
		for _, s := range i.Streams {
			read(":"+s.Name, s.Data)
		}
	}
}

// The parsers of libfsntfs, sleuthkit and 7-Zip list every name and read contents.
func TestOtherParsers(t *testing.T) {
	tr := newTreeMaker(4).fullTree(600)
	for dir, name := range map[string]string{"streams": "long", "points": "large"} { // more than libfsntfs 20200921 reads
		d := tr.Lookup(dir)
		d.Children = slices.DeleteFunc(d.Children, func(e *winfile.Entry) bool { return e.Name == name })
	}
	name, l := buildImage(t, tr, &BuildOptions{Size: 64 << 20})
	t.Run("fsntfsinfo", func(t *testing.T) {
		out := reftool.Run(t, "fsntfsinfo", "-H", name)
		paths := make(map[string]bool)
		for line := range strings.Lines(out) {
			paths[strings.TrimSuffix(line, "\n")] = true
		}
		for path := range tr.All() {
			if p := "\\" + strings.ReplaceAll(path, "/", "\\"); path != "." && !strings.ContainsAny(path, "😀") && !strings.Contains(path, "\xed") && !paths[p] {
				t.Errorf("%q is missing", p)
			}
		}
	})
	t.Run("sleuthkit", func(t *testing.T) {
		out := reftool.Run(t, "fls", "-r", "-p", name)
		if n := strings.Count(out, "many/a file with a long name"); n != 600 {
			t.Errorf("%d names in the directory, want 600", n)
		}
		big := tr.Lookup("sizes/size65537").Info
		record := l.files[recordOf(l, big)].record
		if out := reftool.Run(t, "istat", name, fmt.Sprint(record)); !strings.Contains(out, "Name: size65537") || !strings.Contains(out, "size: 65537") {
			t.Error(out)
		}
		want, err := big.Data.ReadAll(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if got := reftool.Run(t, "icat", name, fmt.Sprint(record)); got != string(want) {
			t.Errorf("icat gives %d bytes that differ", len(got))
		}
	})
	t.Run("7z", func(t *testing.T) {
		if out := reftool.Run(t, "7z", "t", name); !strings.Contains(out, "Everything is Ok") {
			t.Error(out)
		}
	})
	t.Run("ntfssecaudit", func(t *testing.T) {
		out, _ := reftool.Try(t, "ntfssecaudit", "-a", name)
		if !strings.Contains(out, "0 errors in $SDH") || !strings.Contains(out, "All keys are present in all lists") {
			t.Error(out[max(0, len(out)-1000):])
		}
	})
}

// recordOf is the number of a file in Layout.files.
func recordOf(l *Layout, info *winfile.Info) int {
	return slices.IndexFunc(l.files, func(f file) bool { return f.info == info })
}

// The trees take insertions and deletions by another driver: they are balanced, in order and rightly linked.
func TestNTFS3GChangesTheVolume(t *testing.T) {
	tr := newTreeMaker(5).fullTree(3000)
	for _, g := range [][2]int{{512, 4096}, {512, 512}, {4096, 65536}} {
		t.Run(fmt.Sprintf("%d-%d", g[0], g[1]), func(t *testing.T) {
			name, _ := buildImage(t, tr, &BuildOptions{Size: 96 << 20, SectorSize: g[0], ClusterSize: g[1]})
			dir, unmount := mount(t, name, "streams_interface=windows")
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Error(err)
				}
			}
			for i := range 500 {
				check(os.WriteFile(fmt.Sprintf("%s/many/a file with a long name %d.new", dir, i*6), make([]byte, i*10), 0o644))
				check(os.Remove(fmt.Sprintf("%s/many/a file with a long name %d.txt", dir, i*6+1)))
			}
			check(os.Remove(dir + "/points/point 7"))
			check(os.RemoveAll(dir + "/streams"))
			check(os.Rename(dir+"/links/links a", dir+"/moved"))
			check(os.WriteFile(dir+"/sizes/size4097", make([]byte, 100000), 0o644))
			check(os.Mkdir(dir+"/new directory", 0o755))
			have, err := os.ReadDir(dir + "/many")
			if err != nil || len(have) != 3000 {
				t.Errorf("%d names, %v, want 3000", len(have), err)
			}
			unmount()
			if out := reftool.Run(t, "ntfsresize", "-i", "-f", name); strings.Contains(out, "ERROR") {
				t.Error(out)
			}
			dir, unmount = mount(t, name, "ro")
			if have, err := os.ReadDir(dir + "/many"); err != nil || len(have) != 3000 {
				t.Errorf("%d names, %v, want 3000", len(have), err)
			}
			unmount()
		})
	}
}

func TestPointersAsOthersSeeThem(t *testing.T) {
	reftool.Look(t, "getfattr")
	m := newTreeMaker(6)
	e := m.file("pointer.dll", 100000)
	tr := &winfile.Tree{Root: m.dir("", e)}
	name, l := buildImage(t, tr, &BuildOptions{Backing: pointerTo})
	if l.Pointers() != 1 || l.DataBytes() != 0 {
		t.Errorf("%d pointers, %d bytes to read", l.Pointers(), l.DataBytes())
	}
	out := reftool.Run(t, "ntfsinfo", "-F", "/pointer.dll", "-v", name)
	for _, want := range []string{"SPARSE_FILE REPARSE_POINT", "Reparse tag:\t\t 0x80000017", "Data size:\t\t 100000", "Compressed size:\t 0 "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	got := reftool.Run(t, "ntfscat", "-a", "0xC0", name, "/pointer.dll")
	if want := pointerTo(e.Info); got != string(want) {
		t.Errorf("reparse point %x, want %x", got, want)
	}
}

func TestRandomTrees(t *testing.T) {
	for seed := range uint64(20) {
		m := newTreeMaker(seed)
		tr := m.randomTree(1 + m.IntN(400))
		g := geometries[m.IntN(len(geometries))]
		var backing func(*winfile.Info) []byte
		if m.IntN(2) == 0 {
			backing = backEven
		}
		o := &BuildOptions{SectorSize: g[0], ClusterSize: g[1], Size: int64(m.IntN(2)) << 25, LogAtEnd: m.IntN(2) == 0, Backing: backing}
		name, l := buildImage(t, tr, o)
		checkImage(t, name).compareTree(tr, backing, droppedShortNames(l))
		if t.Failed() {
			t.Fatalf("seed %d, geometry %v, notes %v", seed, g, l.Notes())
		}
	}
}

// droppedShortNames are the paths whose short names the notes say are left out.
func droppedShortNames(l *Layout) map[string]bool {
	dropped := make(map[string]bool)
	for _, n := range l.Notes() {
		if strings.HasPrefix(n.What, "short name") {
			dropped["/"+n.Path+" short"] = true
		}
	}
	return dropped
}

func TestSameTreeSameBytes(t *testing.T) {
	var first []byte
	for range 2 {
		name, l := buildImage(t, newTreeMaker(7).fullTree(100), &BuildOptions{Serial: 7, Label: "x", Workers: 4})
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		again := &memoryVolume{b: make([]byte, l.Size())}
		if err := l.Write(context.Background(), again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.b, b) {
			t.Error("a second Write gives other bytes")
		}
		if first != nil && !bytes.Equal(first, b) {
			t.Error("the same tree gives other bytes")
		}
		first = b
	}
}

// memoryVolume is a volume in memory that may fail.
type memoryVolume struct {
	b      []byte
	failAt int64 // offset that cannot be written, if not 0
}

func (m *memoryVolume) WriteAt(p []byte, off int64) (int, error) {
	if m.failAt != 0 && off <= m.failAt && m.failAt < off+int64(len(p)) {
		return 0, errFull
	}
	return copy(m.b[off:], p), nil
}

var errFull = errors.New("no space left")

func TestErrorsOfTrees(t *testing.T) {
	m := newTreeMaker(8)
	root := func(children ...*winfile.Entry) *winfile.Tree {
		return &winfile.Tree{Root: m.dir("", m.dir("sub", children...))}
	}
	with := func(change func(*winfile.Info)) *winfile.Tree {
		e := m.file("file", 10)
		change(e.Info)
		return root(e)
	}
	for want, tr := range map[string]*winfile.Tree{
		"the root of the tree is not a directory":    {Root: m.file("", 1)},
		`"sub/": not a name`:                         root(m.file("", 1)),
		`"sub/..": not a name`:                       root(m.file("..", 1)),
		`"sub/.": not a name`:                        root(m.dir(".")),
		`"sub/a/b": name with a slash`:               root(m.file("a/b", 1)),
		`"sub/a\x00": name with a slash or a NUL`:    root(m.file("a\x00", 1)),
		`"sub/\xff": name is not valid`:              root(m.file("\xff", 1)),
		`name of 256 UTF-16 units`:                   root(m.file(strings.Repeat("中", 256), 1)),
		`"sub/twice": two entries`:                   root(m.file("twice", 1), m.file("other", 2), m.file("twice", 3)),
		`"$mft": the name is that of a system`:       {Root: m.dir("", m.file("$mft", 1))},
		`"$Extend": the name is that of a system`:    {Root: m.dir("", m.dir("$Extend"))},
		`"sub/file": file with children`:             root(&winfile.Entry{Name: "file", Info: m.info(0), Children: []*winfile.Entry{m.file("x", 1)}}),
		`"sub/file": entry without a file`:           root(&winfile.Entry{Name: "file"}),
		`"sub/file": encrypted file: unsupported`:    with(func(i *winfile.Info) { i.Attributes |= winfile.AttrEncrypted }),
		`"sub/file": security descriptor of 3 bytes`: with(func(i *winfile.Info) { i.Security = []byte{1, 2, 3} }),
		`"sub/file": object id of 15 bytes`:          with(func(i *winfile.Info) { i.Extra = &winfile.Extra{ObjectID: make([]byte, 15)} }),
		`"sub/file": stream name "a:b"`:              with(func(i *winfile.Info) { i.Streams = []winfile.Stream{{Name: "a:b"}} }),
		`"sub/file": two streams are named "A"`:      with(func(i *winfile.Info) { i.Streams = []winfile.Stream{{Name: "a"}, {Name: "A"}} }),
		`"sub/file": content of -1 bytes`:            with(func(i *winfile.Info) { i.Data = &winfile.Blob{Size: -1} }),
		`"sub/file": no content to read its 9 bytes`: with(func(i *winfile.Info) { i.Data = &winfile.Blob{Size: 9} }),
		`"sub/file": reparse point of 16393 bytes`:   with(func(i *winfile.Info) { i.Reparse = &winfile.Reparse{Data: make([]byte, 16385)} }),
		`"sub/file": extended attributes of 65548 `: with(func(i *winfile.Info) {
			i.Extra = &winfile.Extra{EAs: []winfile.EA{{Name: "aa", Value: make([]byte, 65535)}}}
		}),
		`"sub/file": attribute list of`:                with(func(i *winfile.Info) { i.Streams = manyStreams(9000) }),
		`"sub/directory": directory with unnamed data`: root(&winfile.Entry{Name: "directory", Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1, Data: m.blob(1)}}),
		`"sub/file": data of 35184372088832 bytes`:     with(func(i *winfile.Info) { i.Data = &winfile.Blob{Size: 1 << 45} }),
		`"sub/again": directory with several names`:    sameDirectoryTwice(m),
	} {
		_, err := NewLayout(tr, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if strings.Contains(want, "unsupported") && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v does not wrap ErrUnsupported", err)
		}
	}
}

func manyStreams(n int) []winfile.Stream {
	s := make([]winfile.Stream, n)
	for i := range s {
		s[i].Name = fmt.Sprint(i)
	}
	return s
}

func sameDirectoryTwice(m *treeMaker) *winfile.Tree {
	d := m.dir("once")
	d.Info.Links = 2
	return &winfile.Tree{Root: m.dir("", m.dir("sub", d, &winfile.Entry{Name: "again", Info: d.Info}))}
}

func TestErrorsOfOptions(t *testing.T) {
	tr := newTreeMaker(9).fullTree(10)
	for want, o := range map[string]*BuildOptions{
		"sector size 1024":             {SectorSize: 1024},
		"cluster size 3000":            {ClusterSize: 3000},
		"cluster size 2048, want":      {SectorSize: 4096, ClusterSize: 2048},
		"cluster size 4194304":         {ClusterSize: 4 << 20},
		"log size 4096":                {LogSize: 4096},
		"volume size -1":               {Size: -1},
		"boot code of 8193 bytes":      {BootSector: make([]byte, 8193)},
		"label":                        {Label: strings.Repeat("x", 33)},
		"the volume is too small":      {Size: 1 << 20},
		"clusters, want at most":       {Size: 1 << 43, ClusterSize: 512},
		"pointer: reparse buffer of 3": {Backing: func(*winfile.Info) []byte { return []byte{1, 2, 3} }},
	} {
		if _, err := NewLayout(tr, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	l, err := NewLayout(tr, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewLayout(tr, &BuildOptions{Size: l.MinSize()}); err != nil {
		t.Errorf("the least size is refused: %v", err)
	}
	_, err = NewLayout(tr, &BuildOptions{Size: l.MinSize() - 512})
	if !errors.Is(err, ErrTooSmall) || !strings.Contains(err.Error(), fmt.Sprintf("%d bytes are needed and %d available", l.MinSize(), l.MinSize()-512)) {
		t.Errorf("less than the least size: %v", err)
	}
}

func TestNotes(t *testing.T) {
	m := newTreeMaker(10)
	id := m.bytes(16)
	a, b, secret := m.file("a", 1), m.file("b", 1), m.file("secret", 4)
	a.Info.Extra, b.Info.Extra = &winfile.Extra{ObjectID: id}, &winfile.Extra{ObjectID: id}
	secret.Info.Attributes |= winfile.AttrEncrypted
	bad, taken, first, linked := m.file("a long name", 1), m.file("another long name", 1), m.file("FIRST~1", 1), m.file("linked name", 1)
	bad.ShortName, taken.ShortName, linked.ShortName = "NOT SHORT", "FIRST~1", "LINKED~1"
	linked.Info.Links = 2
	second := &winfile.Entry{Name: "linked again", ShortName: "LINKED~2", Info: linked.Info}
	colon := m.file("co:lon", 1)
	tr := &winfile.Tree{Root: m.dir("", m.dir("sub", a, b, secret, bad, taken, first, linked, second, colon))}
	name, l := buildImage(t, tr, &BuildOptions{SkipUnsupported: true})
	var got []string
	for _, n := range l.Notes() {
		got = append(got, n.Path+": "+n.What)
	}
	want := []string{
		fmt.Sprintf("sub/b: object id %x is left out: another file has it", id),
		"sub/secret: left out: encrypted file",
		`sub/a long name: short name "NOT SHORT" is left out: not an 8.3 name`,
		`sub/linked again: short name "LINKED~2" is left out: another link of the file has one`,
		"sub/co:lon: Windows cannot open this name",
		"sub/another long name: short name is left out: another name in the directory is the same",
	}
	if !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	b.Info.Extra = nil
	dropped := droppedShortNames(l)
	dropped["/sub/secret"] = true
	checkImage(t, name).compareTree(tr, nil, dropped)
}

// lying delivers other than it promises.
type lying struct {
	deliver func(d winfile.Deliver, b *winfile.Blob) error
}

func (*lying) OpenBlob(*winfile.Blob) (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

func (l *lying) ReadBlobs(_ context.Context, blobs []*winfile.Blob, _ int, d winfile.Deliver) error {
	for _, b := range blobs {
		if err := l.deliver(d, b); err != nil {
			return err
		}
	}
	return nil
}

func TestErrorsOfWrite(t *testing.T) {
	m := newTreeMaker(11)
	for what, deliver := range map[string]func(d winfile.Deliver, b *winfile.Blob) error{
		"nothing":   func(winfile.Deliver, *winfile.Blob) error { return nil },
		"too short": func(d winfile.Deliver, b *winfile.Blob) error { return d(b, 0, make([]byte, b.Size-1)) },
		"too long":  func(d winfile.Deliver, b *winfile.Blob) error { return d(b, 0, make([]byte, b.Size+1)) },
		"a gap":     func(d winfile.Deliver, b *winfile.Blob) error { return d(b, 1, make([]byte, b.Size-1)) },
		"an error":  func(winfile.Deliver, *winfile.Blob) error { return errFull },
	} {
		for _, size := range []int64{10, 5000} {
			e := m.file("file", 1)
			e.Info.Data = &winfile.Blob{Size: size, Content: &lying{deliver}}
			l, err := NewLayout(&winfile.Tree{Root: m.dir("", e)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Write(context.Background(), &memoryVolume{b: make([]byte, l.Size())}); err == nil {
				t.Errorf("%s of %d bytes is accepted", what, size)
			}
		}
	}
	tr := &winfile.Tree{Root: m.dir("", m.sizes(), m.names())}
	l, err := NewLayout(tr, nil)
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(1); off < l.Size(); off += l.Size() / 20 {
		v := &memoryVolume{b: make([]byte, l.Size()), failAt: off}
		if err := l.Write(context.Background(), v); err != nil && !errors.Is(err, errFull) {
			t.Errorf("failure at %#x: %v", off, err)
		}
	}
	v := &memoryVolume{b: make([]byte, l.Size()), failAt: l.offsetOf(l.region.data.lcn) + 5}
	if err := l.Write(context.Background(), v); !errors.Is(err, errFull) {
		t.Errorf("failure in the data: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Write(ctx, &memoryVolume{b: make([]byte, l.Size())}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func (l *Layout) offsetOf(lcn LCN) int64 { return int64(lcn) * int64(l.geometry.clusterSize) }

func TestBootCode(t *testing.T) {
	m := newTreeMaker(12)
	code := m.bytes(bootSize)
	o := &BuildOptions{BootSector: code, HiddenSectors: 2048, Serial: 0x1122334455667788}
	name, l := buildImage(t, &winfile.Tree{Root: m.dir("")}, o)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b[:3], code[:3]) || !bytes.Equal(b[0x54:0x1fe], code[0x54:0x1fe]) || !bytes.Equal(b[0x200:bootSize], code[0x200:]) {
		t.Error("boot code differs")
	}
	if le.Uint32(b[0x1c:]) != 2048 || le.Uint64(b[0x48:]) != o.Serial || le.Uint64(b[0x28:]) != uint64(l.Size()/512-1) {
		t.Errorf("fields %x", b[:0x54])
	}
	checkImage(t, name)
	reftool.Run(t, "ntfsfix", "-n", name)
}

// A large volume with few files takes few bytes: zeros are not written.
func TestSparseWrites(t *testing.T) {
	m := newTreeMaker(13)
	l, err := NewLayout(m.fullTree(100), &BuildOptions{Size: 8 << 30, LogSize: minLogSize, Backing: pointerTo})
	if err != nil {
		t.Fatal(err)
	}
	var c countingVolume
	if err := l.Write(context.Background(), &c); err != nil {
		t.Fatal(err)
	}
	if limit := l.UsedBytes() - l.region.bitmap.size + 64<<10; c.bytes > limit {
		t.Errorf("wrote %d bytes, want at most %d", c.bytes, limit)
	}
}

type countingVolume struct {
	mu            sync.Mutex
	bytes, writes int64
}

func (c *countingVolume) WriteAt(p []byte, _ int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += int64(len(p))
	c.writes++
	return len(p), nil
}

func TestHugeDirectory(t *testing.T) {
	m := newTreeMaker(14)
	d := m.dir("huge")
	for i := range 20000 {
		d.Children = append(d.Children, &winfile.Entry{Name: fmt.Sprintf("%x is the name of file %d", i*7919%20000, i), Info: m.info(0)})
	}
	tr := &winfile.Tree{Root: m.dir("", d)}
	name, l := buildImage(t, tr, nil)
	if n := len(l.dirs[2].shape.splits); n < 2 {
		t.Errorf("a tree of %d levels below the root, want more", n)
	}
	checkImage(t, name).compareTree(tr, nil, nil)
	dir, _ := mount(t, name, "ro")
	have, err := os.ReadDir(dir + "/huge")
	if err != nil || len(have) != 20000 {
		t.Errorf("%d names, %v, want 20000", len(have), err)
	}
	for i := 0; i < 20000; i += 501 {
		if _, err := os.Lstat(dir + "/huge/" + d.Children[i].Name); err != nil {
			t.Error(err)
		}
	}
}

// Every count of entries around the points where nodes and levels fill up gives a sound tree.
func TestDirectorySizes(t *testing.T) {
	m := newTreeMaker(15)
	root := m.dir("")
	for n := 0; n < 120; n++ {
		d := m.dir(fmt.Sprintf("d%d", n))
		for i := range n {
			d.Children = append(d.Children, &winfile.Entry{Name: fmt.Sprintf("%03d%s", i, strings.Repeat("x", n*13%252)), Info: m.info(0)})
		}
		root.Children = append(root.Children, d)
	}
	tr := &winfile.Tree{Root: root}
	name, _ := buildImage(t, tr, nil)
	checkImage(t, name).compareTree(tr, nil, nil)
}

// Pieces of neighbouring contents come from several goroutines in any order, and all arrive.
func TestGather(t *testing.T) {
	m := newTreeMaker(16)
	const cluster = 512
	for round := range 6 {
		type piece struct {
			off   int64
			p     []byte
			slack int64
		}
		var want []byte
		var pieces []piece
		for range 300 {
			n := 1 + m.IntN(1<<(1+m.IntN(18)))
			p := m.bytes(n)
			slack := align(n, cluster) - n
			off := int64(len(want))
			want = append(append(want, p...), make([]byte, slack)...)
			for len(p) > 0 { // contents come in several pieces
				k := min(len(p), 1+m.IntN(200000))
				s := int64(0)
				if k == len(p) {
					s = int64(slack)
				}
				pieces = append(pieces, piece{off, p[:k], s})
				off, p = off+int64(k), p[k:]
			}
		}
		if round%2 == 1 { // far from ascending: windows are written in parts
			m.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		}
		const start = 12345
		v := &memoryVolume{b: make([]byte, start+len(want))}
		g := newGather(v, start, int64(len(want)))
		g.limit = 2 + round
		next := make(chan piece)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for p := range next {
					if err := g.put(start+p.off, p.p, p.slack); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for _, p := range pieces {
			next <- p
		}
		close(next)
		wg.Wait()
		if len(g.windows) != 0 || len(g.open) != 0 {
			t.Errorf("%d windows are left, %d with memory", len(g.windows), len(g.open))
		}
		if err := g.flush(); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(v.b[start:], want) {
			t.Errorf("round %d: bytes differ", round)
		}
	}
}

// The sizes of a large volume: its $Bitmap alone is larger than all else.
func TestLargeVolume(t *testing.T) {
	m := newTreeMaker(17)
	e := m.file("file", 100000)
	name, l := buildImage(t, &winfile.Tree{Root: m.dir("", e)}, &BuildOptions{Size: 1 << 40, LogSize: minLogSize})
	if l.region.bitmap.size != 1<<40/4096/8 {
		t.Errorf("$Bitmap of %d bytes", l.region.bitmap.size)
	}
	reftool.Run(t, "ntfsfix", "-n", name)
	dir, _ := mount(t, name, "ro")
	want, err := e.Info.Data.ReadAll(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dir + "/file"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// What wimlib does not capture, ntfs-3g shows in extended attributes of its own.
func TestExtendedAttributesAsNTFS3GSeesThem(t *testing.T) {
	reftool.Look(t, "getfattr")
	m := newTreeMaker(18)
	tr := &winfile.Tree{Root: m.dir("", m.extras(), m.names())}
	name, _ := buildImage(t, tr, nil)
	dir, _ := mount(t, name, "ro")
	get := func(attr, path string) string {
		return reftool.Run(t, "getfattr", "--only-values", "--absolute-names", "-h", "-n", "system.ntfs_"+attr, dir+"/"+path)
	}
	for _, path := range []string{"extras/ea", "extras/large ea", "extras/object directory"} {
		if got, want := get("ea", path), string(appendEAs(nil, tr.Lookup(path).Info.Extra.EAs)); got != want {
			t.Errorf("%s: %d bytes of extended attributes that differ from %d", path, len(got), len(want))
		}
	}
	for path, want := range map[string]string{"Names and more names": "NAMESA~1", "Names and more names/Program Files": "PROGRA~1", "Names and more names/新建 文本文档.txt": "新建文~1.TXT"} {
		if got := get("dos_name", path); strings.TrimRight(got, "\x00") != want {
			t.Errorf("%s: short name %q, want %q", path, got, want)
		}
	}
	info := tr.Lookup("extras/ea").Info
	var times []byte
	for _, f := range []winfile.Filetime{info.Created, info.Written, info.Accessed, info.Changed} {
		times = le.AppendUint64(times, uint64(f))
	}
	if got := get("times", "extras/ea"); got != string(times) {
		t.Errorf("times %x, want %x", got, times)
	}
}
