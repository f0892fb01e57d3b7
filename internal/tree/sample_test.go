package tree

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"husk/winfile"
)

// A small tree with one of everything that a folder, with attributes to help, can hold.

const t0 winfile.Filetime = 131000000000000001 // 2016

var (
	securityA = []byte("\x01\x00\x04\x80\x14\x00\x00\x00\x24\x00\x00\x00\x00\x00\x00\x00\x34\x00\x00\x00" +
		"\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00\x20\x02\x00\x00" + "\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00\x20\x02\x00\x00" +
		"\x02\x00\x1c\x00\x01\x00\x00\x00\x00\x03\x14\x00\xff\x01\x1f\x00\x01\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00")
	securityB = bytes.Replace(securityA, []byte("\xff\x01\x1f\x00"), []byte("\xa9\x00\x12\x00"), 1)
)

// pattern is n bytes that depend on seed and do not repeat soon.
func pattern(seed, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func junction(target string) []byte {
	t := winfile.AppendUTF16LE(nil, target)
	var d []byte
	for _, n := range []int{0, len(t), len(t) + 2, 0} {
		d = binary.LittleEndian.AppendUint16(d, uint16(n))
	}
	return append(append(d, t...), 0, 0, 0, 0)
}

func sampleInfo(n int, attrs winfile.Attributes) *winfile.Info {
	f := t0 + winfile.Filetime(n)*36_000_000_007
	return &winfile.Info{Attributes: attrs, Created: f, Written: f + 1, Accessed: f + 2, Changed: f + 3, Links: 1, Security: securityA}
}

func sampleTree(t testing.TB) *winfile.Tree {
	const a, d, r = winfile.AttrArchive, winfile.AttrDirectory, winfile.AttrReparse
	n := 0
	entry := func(name string, attrs winfile.Attributes, change func(*winfile.Entry)) *winfile.Entry {
		n++
		e := &winfile.Entry{Name: name, Info: sampleInfo(n, attrs)}
		if change != nil {
			change(e)
		}
		return e
	}
	data := func(b []byte) func(*winfile.Entry) {
		return func(e *winfile.Entry) { e.Info.Data = winfile.NewBlob(b) }
	}
	shared := winfile.NewBlob(pattern(1, 2<<20+77))
	small := winfile.NewBlob([]byte("small and shared"))
	linked := sampleInfo(50, a|winfile.AttrReadOnly)
	linked.Links, linked.Data, linked.Security = 3, winfile.NewBlob([]byte("three names")), securityB
	plain := sampleInfo(51, a)
	plain.Links, plain.Data = 2, winfile.NewBlob([]byte("two names"))

	reparse := func(tag uint32, fixed bool, d []byte) func(*winfile.Entry) {
		return func(e *winfile.Entry) { e.Info.Reparse = &winfile.Reparse{Tag: tag, NotFixed: !fixed, Data: d} }
	}
	toFile, err := symlinkReparse("file.txt")
	if err != nil {
		t.Fatal(err)
	}
	outside, err := symlinkReparse("/somewhere/else")
	if err != nil {
		t.Fatal(err)
	}
	inside, err := symlinkReparse("/dir/deep")
	if err != nil {
		t.Fatal(err)
	}
	root := entry("", d|winfile.AttrSystem, nil)
	root.Children = []*winfile.Entry{
		entry("empty", a, nil),
		entry("file.txt", a, data([]byte("hello"))),
		entry("hidden", a|winfile.AttrHidden|winfile.AttrSystem, data([]byte("h"))),
		entry("long name with stream.txt", a, func(e *winfile.Entry) {
			e.ShortName = "LONGNA~1.TXT"
			e.Info.Data = winfile.NewBlob([]byte("data"))
			e.Info.Streams = []winfile.Stream{{Name: "Zone.Identifier", Data: winfile.NewBlob([]byte("[ZoneTransfer]"))}, {Name: "nothing"}}
		}),
		entry("only a stream", a, func(e *winfile.Entry) {
			e.Info.Streams = []winfile.Stream{{Name: "s", Data: small}}
		}),
		entry("shared1", a, func(e *winfile.Entry) { e.Info.Data = shared }),
		entry("shared2", a, func(e *winfile.Entry) { e.Info.Data = shared }),
		entry("shared3 sparse", a|winfile.AttrSparse, func(e *winfile.Entry) { e.Info.Data = shared }),
		entry("small1", a, func(e *winfile.Entry) { e.Info.Data = small }),
		entry("small2", a, func(e *winfile.Entry) { e.Info.Data = small }),
		entry("sparse", a|winfile.AttrSparse, data(append(append(pattern(2, 5000), make([]byte, 3<<20)...), 1, 2, 3))),
		entry("zeros", a|winfile.AttrSparse, data(make([]byte, 70000))),
		entry("ids", a, func(e *winfile.Entry) {
			e.Info.Extra = &winfile.Extra{ObjectID: []byte("0123456789abcdef"), EAs: []winfile.EA{
				{Name: "$KERNEL.PURGE.ESBCACHE", Value: pattern(3, 61)}, {Flags: 0x80, Name: "NEED", Value: []byte("v")}}}
		}),
		{Name: "link1", Info: linked},
		{Name: "plain1", Info: plain},
		entry("to file", r, func(e *winfile.Entry) { e.Info.Reparse = toFile }),
		entry("to outside", r, func(e *winfile.Entry) { e.Info.Reparse = outside }),
		entry("to inside", r|d, func(e *winfile.Entry) { inside.NotFixed = false; e.Info.Reparse = inside }),
		entry("junction", r|d, reparse(winfile.TagMountPoint, false, junction(`\??\C:\Users`))),
		entry("junction inside", r|d|winfile.AttrHidden, reparse(winfile.TagMountPoint, true, junction(`\??\X:\dir`))),
		entry("app.exe", r|a, reparse(winfile.TagAppExecLink, false, []byte("\x03\x00\x00\x00abc"))),
		entry("vendor", r|a, reparse(0x42, false, []byte("0123456789abcdefdata"))),
		entry("中文文件", a, data([]byte("Chinese"))),
		entry("half \xed\xa0\xbd of a pair", a, data([]byte("unpaired surrogate"))),
		entry("dir", d|winfile.AttrNotIndexed, func(e *winfile.Entry) {
			e.ShortName = "DIRSHORT"
			e.Info.Streams = []winfile.Stream{{Name: "of a directory", Data: winfile.NewBlob([]byte("ds"))}}
			e.Info.Security = securityB
			e.Children = []*winfile.Entry{
				entry("deep", d, func(e *winfile.Entry) {
					e.Children = []*winfile.Entry{
						{Name: "link1", ShortName: "LINK1~1", Info: linked},
						entry("empty dir", d, nil),
						{Name: "plain2", Info: plain},
					}
				}),
				{Name: "link2", Info: linked},
			}
		}),
	}
	return &winfile.Tree{Root: root}
}

// mustCompare compares and fails the test if that did not finish.
func mustCompare(t testing.TB, a, b *winfile.Tree, opts *CompareOptions) *Diff {
	t.Helper()
	d, err := Compare(context.Background(), a, b, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustScan(t testing.TB, dir string, opts *ScanOptions) (*winfile.Tree, *ScanReport) {
	t.Helper()
	tr, r, err := ScanFolder(context.Background(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return tr, r
}

func report(t testing.TB, d *Diff) {
	t.Helper()
	for _, x := range d.List {
		t.Error(x)
	}
	if n := d.Total - len(d.List); n > 0 {
		t.Error(fmt.Sprint(n, " differences more"))
	}
}
