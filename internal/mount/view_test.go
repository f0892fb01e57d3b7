package mount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"husk/internal/sample"
	"husk/winfile"
)

// link makes a symbolic link of Windows, or a junction.
func link(tag uint32, target string, relative bool) *winfile.Info {
	names := winfile.AppendUTF16LE(nil, target)
	var d []byte
	for _, n := range []int{0, len(names), 0, len(names)} {
		d = binary.LittleEndian.AppendUint16(d, uint16(n))
	}
	if tag == winfile.TagSymlink {
		flag := uint32(0)
		if relative {
			flag = 1
		}
		d = binary.LittleEndian.AppendUint32(d, flag)
	}
	return &winfile.Info{Attributes: winfile.AttrReparse, Links: 1, Reparse: &winfile.Reparse{Tag: tag, Data: append(d, names...)}}
}

func dir(name string, children ...*winfile.Entry) *winfile.Entry {
	return &winfile.Entry{Name: name, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}, Children: children}
}

func entry(name string, i *winfile.Info) *winfile.Entry { return &winfile.Entry{Name: name, Info: i} }

func TestLinksStayInside(t *testing.T) {
	tree := &winfile.Tree{Root: dir("",
		dir("Users", dir("Public")),
		dir("a", dir("b",
			entry("drive", link(winfile.TagSymlink, `\??\C:\Users\Public`, false)),
			entry("junction", link(winfile.TagMountPoint, `\??\D:\users`, false)),
			entry("case", link(winfile.TagSymlink, `..\..\USERS\public`, true)),
			entry("sibling", link(winfile.TagSymlink, `drive`, true)),
			entry("out", link(winfile.TagSymlink, `..\..\..\..\..\etc\passwd`, true)),
			entry("rooted", link(winfile.TagSymlink, `\Users`, true)),
			entry("top", link(winfile.TagMountPoint, `\??\C:\`, false)),
			entry("missing", link(winfile.TagMountPoint, `\??\C:\no\Where`, false)),
			entry("volume", link(winfile.TagMountPoint, `\??\Volume{01020304-0506-0708-090a-0b0c0d0e0f10}\`, false)),
			entry("alias", &winfile.Info{Attributes: winfile.AttrReparse, Reparse: &winfile.Reparse{Tag: winfile.TagAppExecLink}}),
			entry("broken", &winfile.Info{Attributes: winfile.AttrReparse, Reparse: &winfile.Reparse{Tag: winfile.TagSymlink, Data: []byte{1}}}),
			entry("self", link(winfile.TagSymlink, `.`, true)),
		)),
	)}
	v := NewView(tree, StreamsXattr, false)
	b := Node{Path: "a/b", Entry: tree.Lookup("a/b")}
	for name, want := range map[string]string{
		"drive": "../../Users/Public", "junction": "../../Users", "case": "../../Users/Public", "sibling": "drive",
		"out": "../../etc/passwd", "rooted": "../../Users", "top": "../..", "missing": "../../no/Where",
		"volume": "unsupported reparse tag 0xa0000003", "alias": "unsupported reparse tag 0x8000001b",
		"broken": "unsupported reparse tag 0xa000000c", "self": ".",
	} {
		n, ok := v.Lookup(b, name)
		if !ok {
			t.Fatalf("%s is not found", name)
		}
		if got := v.Target(n); got != want || v.Kind(n) != Link || v.Size(n) != int64(len(want)) {
			t.Errorf("%s leads to %q, size %d, kind %v, want %q", name, got, v.Size(n), v.Kind(n), want)
		}
	}
}

func TestNumbersAndStreams(t *testing.T) {
	tree, err := sample.Tree(sample.Options{Extremes: true, Programs: 8})
	if err != nil {
		t.Fatal(err)
	}
	for _, streams := range []Streams{StreamsXattr, StreamsWindows, StreamsNone} {
		v := NewView(tree, streams, false)
		owner := make(map[uint64]any)
		for p, e := range tree.All() {
			n := Node{Path: p, Entry: e}
			if have := owner[v.Number(n)]; have != nil && have != any(e.Info) {
				t.Fatalf("%s has number %d of another file", p, v.Number(n))
			}
			owner[v.Number(n)] = e.Info
			for k := range e.Info.Streams {
				s := &e.Info.Streams[k]
				parent, ok := Node{Path: ".", Entry: tree.Root}, true
				if p == "." {
					continue
				}
				if at := strings.LastIndexByte(p, '/'); at >= 0 {
					parent = Node{Path: p[:at], Entry: tree.Lookup(p[:at])}
				}
				x, ok := v.Lookup(parent, e.Name+":"+s.Name)
				if ok != (streams == StreamsWindows) {
					t.Errorf("%s:%s found %t with streams %s", p, s.Name, ok, streams)
				}
				if ok {
					if x.Stream != s || owner[v.Number(x)] != nil {
						t.Errorf("%s:%s is %v, number %d", p, s.Name, x.Stream, v.Number(x))
					}
					owner[v.Number(x)] = s
				}
				value, err := v.Xattr(n, "user."+s.Name)
				switch {
				case streams != StreamsXattr:
					if !errors.Is(err, errNoXattr) {
						t.Errorf("%s: user.%s: %v", p, s.Name, err)
					}
				case s.Data != nil && s.Data.Size > maxXattrValue:
					if !errors.Is(err, errTooLarge) {
						t.Errorf("%s: user.%s of %d bytes: %v", p, s.Name, s.Data.Size, err)
					}
				default:
					want, _ := s.Data.ReadAll(maxXattrValue)
					if err != nil || !bytes.Equal(value, want) {
						t.Errorf("%s: user.%s: %d bytes, %v, want %d", p, s.Name, len(value), err, len(want))
					}
				}
			}
		}
	}
}

// With eviction, every blob still reads right wherever it is read.
func TestBlobsAreBounded(t *testing.T) {
	s := newBlobs()
	var list []*winfile.Blob
	for i := range 3 * maxOpen {
		list = append(list, winfile.NewBlob(bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 1000)))
	}
	p := make([]byte, 10)
	for round := range 2 {
		for i, b := range list {
			if n, err := s.readAt(b, p, int64(990+round)); n != 10 || err != nil || p[round] != byte(i) {
				t.Fatalf("blob %d: %d bytes, %v, %x", i, n, err, p)
			}
			if len(s.open) > maxOpen || s.order.Len() != len(s.open) {
				t.Fatalf("%d open, %d in order", len(s.open), s.order.Len())
			}
		}
	}
	if n, err := s.readAt(list[0], p, 1995); n != 5 || err != nil {
		t.Errorf("at the end: %d bytes, %v", n, err)
	}
	if n, err := s.readAt(list[0], p, 2000); n != 0 || err != nil {
		t.Errorf("behind the end: %d bytes, %v", n, err)
	}
	if _, err := s.readAt(&winfile.Blob{Size: 5}, p, 0); err == nil {
		t.Error("a blob without content was read")
	}
}
