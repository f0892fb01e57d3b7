package wof

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"husk/winfile"
)

type fakeBlobs map[winfile.SHA1]*winfile.Blob

func (f fakeBlobs) Blob(h winfile.SHA1) (*winfile.Blob, bool) {
	b, ok := f[h]
	return b, ok
}

// husked returns what a volume reader makes of pointer files: reparse point, sparse attribute, a hole for data.
func husked(tree *winfile.Tree, plan *Plan, holes bool) {
	done := make(map[*winfile.Info]bool)
	buffers := make(map[*winfile.Info][]byte)
	for _, e := range tree.All() {
		buffers[e.Info] = plan.Backing(e.Info)
	}
	for _, e := range tree.All() {
		b := buffers[e.Info]
		if b == nil || done[e.Info] {
			continue
		}
		done[e.Info] = true
		var err error
		if e.Info.Reparse, err = winfile.ParseReparse(b); err != nil {
			panic(err)
		}
		e.Info.Attributes |= winfile.AttrReparse | winfile.AttrSparse
		if holes {
			e.Info.Data = winfile.NewBlob(make([]byte, e.Info.Data.Size))
		} else {
			e.Info.Data = nil
		}
	}
}

func overlayWith(t *testing.T, ids int) *Overlay {
	var o Overlay
	for i := range ids {
		add(t, &o, WIMOther, 1, wimGUID, NewMBRLocation(1, 1<<20, fmt.Sprintf(`\wimboot\%d.wim`, i)), uint64(i))
	}
	return &o
}

func TestResolve(t *testing.T) {
	for _, holes := range []bool{true, false} {
		linked := plainInfo("linked twice")
		linked.Links = 2
		stream := plainInfo("data")
		stream.Streams = []winfile.Stream{{Name: "s", Data: winfile.NewBlob([]byte("stream"))}}
		hidden := plainInfo("hidden")
		hidden.Attributes = winfile.AttrHidden | winfile.AttrSystem
		junction := &winfile.Info{Attributes: winfile.AttrDirectory | winfile.AttrReparse, Links: 1,
			Reparse: &winfile.Reparse{Tag: winfile.TagMountPoint, Data: []byte("target")}}
		sparse := plainInfo("sparse")
		sparse.Attributes |= winfile.AttrSparse
		tree := makeTree(file{"a/1", linked}, file{"b/2", linked}, file{"c", stream}, file{"d", hidden}, file{"j", junction},
			file{"plain", plainInfo("plain")}, file{"Boot/BCD", plainInfo("BCD")}, file{"s", sparse})
		w := wimOf(tree)
		blobs := make(fakeBlobs)
		before := make(map[string]winfile.Info)
		for path, e := range tree.All() {
			before[path] = *e.Info
			if e.Info.Data != nil {
				blobs[e.Info.Data.SHA1] = e.Info.Data
			}
		}
		delete(w, plainInfo("plain").Data.SHA1)
		plan := decide(t, tree, &RuleOptions{Config: config(t, `\Boot\*`)}, w)
		husked(tree, plan, holes)
		if linked.Reparse == nil || hidden.Attributes&winfile.AttrReparse == 0 {
			t.Fatal("no pointer files made")
		}
		opened := 0
		result, err := Resolve(tree, overlayWith(t, 4), func(id uint64) (BlobSource, error) {
			opened++
			if id != 3 {
				t.Errorf("data source %d opened", id)
			}
			return blobs, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if opened != 1 || result.Files != 3 || result.Bytes != 12+4+6 || result.Sources[3] != 3 || result.Compact.Files != 0 {
			t.Errorf("%d opened, %+v", opened, result)
		}
		for path, e := range tree.All() {
			if got, want := fmt.Sprintf("%+v", *e.Info), fmt.Sprintf("%+v", before[path]); got != want {
				t.Errorf("%s is %s, was %s", path, got, want)
			}
		}
	}
}

func TestResolveFailures(t *testing.T) {
	pointer := func(s string, id uint64, change func(*Pointer)) *winfile.Info {
		b := winfile.NewBlob([]byte(s))
		p := &Pointer{DataSourceID: id, SHA1: b.SHA1, Size: b.Size, StoredSize: b.Size}
		if change != nil {
			change(p)
		}
		return &winfile.Info{Attributes: winfile.AttrArchive | winfile.AttrReparse | winfile.AttrSparse, Links: 1, Reparse: p.Reparse(),
			Data: winfile.NewBlob(make([]byte, len(s)))}
	}
	good := winfile.NewBlob([]byte("good"))
	shown := winfile.NewBlob([]byte("size"))
	lying := *shown
	lying.Size = 5
	blobs := fakeBlobs{good.SHA1: good, shown.SHA1: &lying}
	compact := &winfile.Info{Attributes: winfile.AttrReparse, Links: 2, Reparse: (&CompactInfo{LZX}).Reparse()}
	broken := pointer("good", 0, nil)
	broken.Reparse.Data = broken.Reparse.Data[:80]
	version := pointer("good", 0, nil)
	version.Reparse.Data = patch(version.Reparse.Data, 0, 9)
	provider := pointer("good", 0, nil)
	provider.Reparse.Data = patch(provider.Reparse.Data, 4, 9)
	folder := pointer("good", 0, nil)
	folder.Attributes |= winfile.AttrDirectory
	linked := pointer("missing", 0, nil)
	linked.Links = 2
	const missing = "1fb9f5a8a2a1ae0c2c6c8c3b2a7b6a4b0d9a8c1e" // any 40 digits

	for _, tt := range []struct {
		name  string
		files []file
		want  string // "" is no error; * stands for a SHA-1
	}{
		{"good", []file{{"f", pointer("good", 0, nil)}}, ""},
		{"not in the WIM", []file{{"d/f", linked}, {"g", linked}}, `wof: d/f: content * is not in the WIM of data source 0 (\wimboot\0.wim)`},
		{"size in the WIM", []file{{"f", pointer("size", 0, nil)}}, "wof: f: content * has 5 bytes in the WIM, and 4 by the pointer"},
		{"size of the stream", []file{{"f", pointer("good", 0, func(p *Pointer) { p.Size = 9 })}}, "wof: f: data stream of 4 bytes, pointer to 9"},
		{"unknown id", []file{{"f", pointer("good", 7, nil)}, {"g", pointer("good", 7, nil)}, {"h", pointer("good", 7, nil)}},
			"wof: f and 2 more: data source 7: no such data source in System Volume Information/WimOverlay.dat"},
		{"WIM missing", []file{{"f", pointer("good", 1, nil)}, {"g", pointer("good", 0, nil)}, {"h", pointer("good", 1, nil)}},
			`wof: f and 1 more: data source 1 (\wimboot\1.wim): open: file does not exist`},
		{"broken", []file{{"f", broken}}, "wof: f: pointer at 0x4: data length 80, want 88"},
		{"WOF version", []file{{"f", version}}, "wof: f: reparse point at 0x8: WOF version 9, want 1"},
		{"provider", []file{{"f", provider}}, "wof: f: pointer at 0xc: provider 0x9, want 0x1"},
		{"folder", []file{{"f", folder}}, "wof: f: a directory with the reparse point of a pointer file"},
		{"compact", []file{{"f", compact}, {"g", compact}}, "wof: f: compact file of 0 bytes without WofCompressedData"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := makeTree(tt.files...)
			result, err := Resolve(tree, overlayWith(t, 2), func(id uint64) (BlobSource, error) {
				if id == 1 {
					return nil, &fs.PathError{Op: "open", Err: fs.ErrNotExist}
				}
				return blobs, nil
			})
			got := fmt.Sprint(err)
			if i := strings.Index(got, "content "); i >= 0 {
				got = got[:i+8] + "*" + got[i+8+len(missing):]
			}
			got = strings.Replace(got, "open : ", "open: ", 1)
			if want := tt.want; want == "" && err != nil || want != "" && got != want {
				t.Errorf("%v, want %s", got, want)
			}
			if (len(result.Failures) == 1) != (tt.want != "") {
				t.Errorf("%d failures", len(result.Failures))
			}
			for _, f := range result.Failures {
				if e := tree.Lookup(f.Path); e.Info.Reparse == nil || e.Info.Attributes&winfile.AttrReparse == 0 {
					t.Errorf("%s failed and was changed", f.Path)
				}
			}
			if tt.name == "WIM missing" && (result.Files != 1 || !errors.Is(err, fs.ErrNotExist)) {
				t.Errorf("%d resolved, %v", result.Files, err)
			}
		})
	}

	var many []file
	for i := range 13 {
		many = append(many, file{fmt.Sprint(i), pointer("missing", 0, nil)})
	}
	result, err := Resolve(makeTree(many...), overlayWith(t, 1), func(uint64) (BlobSource, error) { return blobs, nil })
	if len(result.Failures) != 13 || !strings.HasSuffix(fmt.Sprint(err), "\nwof: 3 more files") {
		t.Errorf("%d failures, %v", len(result.Failures), err)
	}
	_, err = Resolve(makeTree(many[0]), nil, nil)
	if want := "wof: 0: data source 0: the volume has no System Volume Information/WimOverlay.dat"; fmt.Sprint(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestAddAndReadOverlay(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	old := plainInfo("old")
	old.Links = 2
	folder := &winfile.Info{Attributes: winfile.AttrDirectory | winfile.AttrHidden, Security: []byte("own")}
	for name, tree := range map[string]*winfile.Tree{
		"nothing there": makeTree(file{"f", plainInfo("x")}),
		"folder there":  makeTree(file{"SYSTEM VOLUME INFORMATION", folder}),
		"file there":    makeTree(file{"System Volume Information/wimoverlay.DAT", old}, file{"other", old}),
	} {
		if _, err := ReadOverlay(tree); name != "file there" && !errors.Is(err, fs.ErrNotExist) || err == nil {
			t.Errorf("%s: %v before", name, err)
		}
		if err := AddOverlay(tree, goldenTwo, now); err != nil {
			t.Fatal(err)
		}
		if err := AddOverlay(tree, goldenMBR, now); err != nil { // again, with another content
			t.Fatal(err)
		}
		o, err := ReadOverlay(tree)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.Marshal(); err != nil || !bytes.Equal(got, goldenMBR) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
		dir := tree.Lookup("System Volume Information")
		if len(dir.Children) != 2 {
			t.Errorf("%s: %d files", name, len(dir.Children))
		}
		for _, path := range []string{"WimOverlay.dat", "WimOverlay.backup"} {
			i := dir.Child(path).Info
			b, err := i.Data.ReadAll(1000)
			if err != nil || !bytes.Equal(b, goldenMBR) {
				t.Errorf("%s: %s is %x, %v", name, path, b, err)
			}
			if i.Links != 1 || i.Attributes != winfile.AttrArchive || i.Written != winfile.FiletimeOf(now) || i.Created != i.Written {
				t.Errorf("%s: %s is %+v", name, path, i)
			}
			if !bytes.Equal(i.Security, goldenFileSD) {
				t.Errorf("%s: security %x", path, i.Security)
			}
		}
		if name == "nothing there" {
			if i := dir.Info; i.Attributes != winfile.AttrDirectory|winfile.AttrHidden|winfile.AttrSystem ||
				!bytes.Equal(i.Security, goldenFolderSD) || i.Changed != winfile.FiletimeOf(now) {
				t.Errorf("folder %+v", i)
			}
		}
	}
	if string(folder.Security) != "own" || old.Links != 1 || old.Data.Size != 3 {
		t.Errorf("what was there: %+v, %+v", folder, old)
	}
}

// O:SYG:SYD:P(A;OICI;FA;;;SY) and O:SYG:SYD:AI(A;ID;FA;;;SY), [MS-DTYP] 2.4.6 by hand.
var (
	goldenFolderSD = unhex(`01 00 0490 30000000 3c000000 00000000 14000000
		02 00 1c00 0100 0000  00 03 1400 ff011f00 010100000000000512000000
		010100000000000512000000 010100000000000512000000`)
	goldenFileSD = unhex(`01 00 0484 30000000 3c000000 00000000 14000000
		02 00 1c00 0100 0000  00 10 1400 ff011f00 010100000000000512000000
		010100000000000512000000 010100000000000512000000`)
)

func TestOverlayInTreeErrors(t *testing.T) {
	now := time.Unix(0, 0)
	if err := AddOverlay(makeTree(), []byte("rubbish"), now); err == nil {
		t.Error("rubbish added")
	}
	if err := AddOverlay(makeTree(file{"System Volume Information", plainInfo("x")}), goldenMBR, now); err == nil {
		t.Error("added below a file")
	}
	if err := AddOverlay(makeTree(file{"System Volume Information/WimOverlay.dat/x", plainInfo("x")}), goldenMBR, now); err == nil {
		t.Error("replaced a folder")
	}
	for name, i := range map[string]*winfile.Info{
		"folder":     {Attributes: winfile.AttrDirectory},
		"empty":      {},
		"rubbish":    plainInfo("rubbish"),
		"too large":  {Data: &winfile.Blob{Size: MaxOverlay + 1}},
		"no content": {Data: &winfile.Blob{Size: 100}},
	} {
		if _, err := ReadOverlay(makeTree(file{OverlayPath, i})); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
