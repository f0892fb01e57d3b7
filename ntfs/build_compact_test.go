package ntfs

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
	"husk/wof"
)

// compactVolume builds a volume with a compact file of each algorithm and size, and one that has other streams and names too.
func compactVolume(t *testing.T, o *BuildOptions) (name string, plain, streams map[string][]byte) {
	t.Helper()
	m := newTreeMaker(41)
	plain, streams = make(map[string][]byte), make(map[string][]byte)
	backed := make(map[*winfile.Info]wof.Algorithm)
	root := m.dir("")
	for a := range wof.XPRESS16K + 1 {
		d := m.dir(a.String())
		for _, n := range []int{700, 4096, 5000, 70_000, 1_300_000} {
			content := []byte(strings.Repeat(fmt.Sprintf("%d bytes of %v; ", n, a), n/10+1))[:n]
			if n > 100_000 { // some chunks of noise, which stay raw
				copy(content[64<<10:], m.bytes(64<<10))
			}
			e := m.file(fmt.Sprint(n), 1)
			e.Info.Data = winfile.NewBlob(content)
			d.Children = append(d.Children, e)
			backed[e.Info] = a
			plain[d.Name+"/"+e.Name] = content
		}
		root.Children = append(root.Children, d)
	}
	linked := root.Children[0].Children[3]
	linked.Info.Links = 2
	linked.Info.Streams = []winfile.Stream{{Name: "Zone.Identifier", Data: m.blob(100)}, {Name: "a", Data: m.blob(9000)}}
	root.Children = append(root.Children, &winfile.Entry{Name: "second name", Info: linked.Info}, m.file("plain", 50_000))
	for path, content := range plain {
		parts := strings.Split(path, "/")
		i := root.Child(parts[0]).Child(parts[1]).Info
		streams[path] = wof.EncodeCompact(backed[i], content, 1)
	}
	o.Backing = func(i *winfile.Info) []byte {
		if a, ok := backed[i]; ok {
			return (&wof.CompactInfo{Algorithm: a}).Marshal()
		}
		return nil
	}
	o.BackingStream = func(i *winfile.Info) *winfile.Stream {
		return &winfile.Stream{Name: wof.CompactStream, Data: winfile.NewBlob(wof.EncodeCompact(backed[i], mustRead(t, i.Data), 1))}
	}
	name, l := buildImage(t, &winfile.Tree{Root: root}, o)
	if l.Pointers() != len(plain) {
		t.Errorf("%d pointers, want %d", l.Pointers(), len(plain))
	}
	return name, plain, streams
}

func mustRead(t *testing.T, b *winfile.Blob) []byte {
	t.Helper()
	p, err := b.ReadAll(1 << 24)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCompactFiles(t *testing.T) {
	for _, g := range geometries {
		t.Run(fmt.Sprintf("%d-%d", g[0], g[1]), func(t *testing.T) {
			name, plain, streams := compactVolume(t, &BuildOptions{SectorSize: g[0], ClusterSize: g[1]})
			checkSilent(t, name)
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			st, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			v, err := NewReader(f, st.Size())
			if err != nil {
				t.Fatal(err)
			}
			tr, err := v.Tree(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for path, want := range streams {
				i := tr.Lookup(path).Info
				k := slices.IndexFunc(i.Streams, func(s winfile.Stream) bool { return s.Name == wof.CompactStream })
				if k < 0 || !bytes.Equal(mustRead(t, i.Streams[k].Data), want) {
					t.Errorf("%s: its stream is number %d of %d, or differs", path, k, len(i.Streams))
				}
				if i.Attributes&(winfile.AttrReparse|winfile.AttrSparse) != winfile.AttrReparse|winfile.AttrSparse || i.Size() != int64(len(plain[path])) {
					t.Errorf("%s: attributes %#x, %d bytes", path, uint32(i.Attributes), i.Size())
				}
				// The bytes that Microsoft's boot manager takes, and which the driver writes.
				number := map[string]string{"XPRESS4K": "00", "LZX": "01", "XPRESS8K": "02", "XPRESS16K": "03"}[strings.Split(path, "/")[0]]
				if got, want := hex.EncodeToString(i.Reparse.Buffer()), "1700008010000000"+"01000000"+"02000000"+"01000000"+number+"000000"; got != want {
					t.Errorf("%s: reparse point %s, want %s", path, got, want)
				}
			}
			if _, err := wof.Resolve(tr, nil, nil); err != nil {
				t.Fatal(err)
			}
			for path, want := range plain {
				if !bytes.Equal(mustRead(t, tr.Lookup(path).Info.Data), want) {
					t.Errorf("%s differs", path)
				}
			}
			if n := len(tr.Lookup("second name").Info.Streams); n != 2 {
				t.Errorf("%d named streams, want 2", n)
			}
		})
	}
}

// TestCompactFilesElsewhere reads the streams of compact files with ntfs-3g, wimlib and sleuthkit. None of the versions at hand expands
// them: that wimlib's decoder agrees with ours is for the tests of package wim, whose resources are the same bytes.
func TestCompactFilesElsewhere(t *testing.T) {
	name, plain, streams := compactVolume(t, &BuildOptions{Size: 64 << 20})
	reftool.Run(t, "ntfsfix", "-n", name)
	if out := reftool.Run(t, "ntfsresize", "-i", "-f", name); strings.Contains(out, "ERROR") {
		t.Error(out)
	}
	t.Run("ntfs-3g", func(t *testing.T) {
		for path, want := range streams {
			if got := reftool.Run(t, "ntfscat", "-n", wof.CompactStream, name, path); got != string(want) {
				t.Errorf("%s: stream of %d bytes, want %d", path, len(got), len(want))
			}
		}
	})
	t.Run("wimlib", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "captured.wim")
		reftool.Run(t, "wimlib-imagex", "capture", name, out)
		list := reftool.Run(t, "wimlib-imagex", "dir", out, "--detailed")
		if n := strings.Count(list, `Named data stream "`+wof.CompactStream); n != len(streams)+1 { // a file has two names
			t.Errorf("%d streams, want %d", n, len(streams)+1)
		}
		for path, want := range streams {
			if !strings.Contains(list, fmt.Sprintf("0x%x", sha1.Sum(want))) {
				t.Errorf("the stream of %s is not there as it was written", path)
			}
		}
	})
	t.Run("sleuthkit", func(t *testing.T) {
		out := reftool.Run(t, "fls", "-r", "-p", name)
		for path := range plain {
			if !strings.Contains(out, path+":"+wof.CompactStream) {
				t.Errorf("fls does not list the stream of %s", path)
			}
		}
	})
}

func TestBackingStreamErrors(t *testing.T) {
	m := newTreeMaker(42)
	e := m.file("f", 5000)
	e.Info.Streams = []winfile.Stream{{Name: "WOFCOMPRESSEDDATA", Data: m.blob(1)}}
	tr := &winfile.Tree{Root: m.dir("", e)}
	for want, s := range map[string]*winfile.Stream{
		`"f": two streams are named`:    {Name: wof.CompactStream, Data: m.blob(5)},
		`"f": stream name ""`:           {Data: m.blob(5)},
		`"f": stream "x": content of 0`: {Name: "x", Data: &winfile.Blob{}},
	} {
		_, err := NewLayout(tr, &BuildOptions{
			Backing:       func(*winfile.Info) []byte { return (&wof.CompactInfo{}).Marshal() },
			BackingStream: func(*winfile.Info) *winfile.Stream { return s },
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
