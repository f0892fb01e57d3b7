package ntfs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"husk/winfile"
)

// sampleTree has all that the builder can write.
func sampleTree(many int) *winfile.Tree {
	dir := func(name string, children ...*winfile.Entry) *winfile.Entry {
		return &winfile.Entry{Name: name, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1, Security: sampleSecurity(0), Created: 1, Written: 2, Accessed: 3, Changed: 4}, Children: children}
	}
	file := func(name string, n int) *winfile.Entry {
		content := []byte(strings.Repeat(name, n/len(name)+1))[:n]
		return &winfile.Entry{Name: name, Info: &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Security: sampleSecurity(n % 40), Written: winfile.Filetime(n), Data: winfile.NewBlob(content)}}
	}
	list := dir("many")
	for i := range many {
		list.Children = append(list.Children, file(fmt.Sprintf("entry-%05d-%s", i, strings.Repeat("x", i%23)), i%900))
	}
	linked := file("linked", 9000)
	links := dir("links", linked)
	for i := range 30 {
		links.Children = append(links.Children, &winfile.Entry{Name: fmt.Sprintf("a hard link with a long name %d", i), Info: linked.Info})
	}
	linked.Info.Links = 31
	streams := file("streams", 100)
	for i := range 30 {
		streams.Info.Streams = append(streams.Info.Streams, winfile.Stream{Name: fmt.Sprintf("s%02d", i), Data: winfile.NewBlob(make([]byte, i*40))})
	}
	short := file("A long name.text", 5)
	short.ShortName = "ALONGN~1.TEX"
	pointer := file("pointer", 0)
	pointer.Info.Attributes |= winfile.AttrReparse
	pointer.Info.Reparse = &winfile.Reparse{Tag: 0xA000001D, Data: []byte("\x02\x00\x00\x00/usr")}
	junction := dir("junction")
	junction.Info.Attributes |= winfile.AttrReparse
	junction.Info.Reparse = &winfile.Reparse{Tag: winfile.TagMountPoint, Data: make([]byte, 12)}
	id := file("object id", 7)
	id.Info.Extra = &winfile.Extra{ObjectID: bytes.Repeat([]byte{7}, 64)}
	ea := file("ea", 7)
	ea.Info.Extra = &winfile.Extra{EAs: []winfile.EA{{Name: "LXUID", Value: []byte("1234")}, {Flags: 0x80, Name: "B"}}}
	root := dir("", dir("empty"), dir("folder", file("a", 700), file("b", 5000), file("中文", 70000)), ea, id, junction, links, list, pointer, short, streams)
	return &winfile.Tree{Root: root}
}

func sampleSecurity(n int) []byte {
	b := []byte{1, 0, 4, 0x80, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	return append(b, 1, 1, 0, 0, 0, 0, 0, 5, byte(n), 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0)
}

// sampleVolume is a volume of the sample tree in memory.
func sampleVolume(t testing.TB, many int, o *BuildOptions) []byte {
	t.Helper()
	name, _ := buildImage(t, sampleTree(many), o)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openBytes(t testing.TB, b []byte) *Volume {
	t.Helper()
	v, err := NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func problemsOf(t testing.TB, v *Volume) []Problem {
	t.Helper()
	problems, err := v.Check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return problems
}

func TestReadWhatTheBuilderWrites(t *testing.T) {
	for _, o := range []*BuildOptions{nil, {SectorSize: 4096}, {ClusterSize: 512}, {ClusterSize: 65536}, {Size: 64 << 20, Label: "x"}} {
		v := openBytes(t, sampleVolume(t, 700, o))
		for _, p := range problemsOf(t, v) {
			t.Errorf("%+v: %v", o, p)
		}
		tree, err := v.Tree(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range v.Warnings() {
			t.Errorf("warning: %s", w)
		}
		want := sampleTree(700)
		if g, w := tree.Totals(), want.Totals(); g != w {
			t.Errorf("%+v: %+v, want %+v", o, g, w)
		}
	}
}

// editor changes a volume as no driver would.
type editor struct {
	t testing.TB
	b []byte
	v *Volume
}

func newEditor(t testing.TB, b []byte) *editor {
	b = bytes.Clone(b)
	return &editor{t, b, openBytes(t, b)}
}

// find is the record of a path.
func (e *editor) find(path string) int64 {
	n, ok, err := e.v.Lookup(path)
	if err != nil || !ok {
		e.t.Fatalf("%s: %t, %v", path, ok, err)
	}
	return n
}

// at is the image from offset off of a stream on.
func (e *editor) at(n int64, typ attrType, name string, off int64) []byte {
	s, err := e.v.openNamed(n, typ, name)
	if err != nil {
		e.t.Fatal(err)
	}
	return e.inStream(s, off)
}

func (e *editor) inStream(s *stream, off int64) []byte {
	for _, x := range s.extents {
		cs := int64(e.v.ClusterSize)
		if in := off - int64(x.VCN)*cs; in >= 0 && in < x.Clusters*cs {
			return e.b[int64(x.LCN)*cs+in:]
		}
	}
	e.t.Fatalf("%s has no offset %d", s.name, off)
	return nil
}

// block changes a protected block.
func (e *editor) block(b []byte, magic string, change func([]byte)) {
	if err := unprotect(b, magic); err != nil {
		e.t.Fatal(err)
	}
	change(b)
	protect(b, 77)
}

// record changes a record, and its copy in $MFTMirr.
func (e *editor) record(n int64, change func(fileRecord)) {
	rs := e.v.RecordSize
	b := e.inStream(e.v.mft, n*int64(rs))[:rs]
	e.block(b, "FILE", func(b []byte) { change(fileRecord(b)) })
	if n < 4 {
		copy(e.at(recMFTMirr, typeData, "", n*int64(rs)), b)
	}
}

// attr changes the n-th attribute of a type in a record.
func (e *editor) attr(n int64, typ attrType, which int, change func(attribute)) {
	e.record(n, func(r fileRecord) {
		list, err := r.appendAttrs(nil, n)
		if err != nil {
			e.t.Fatal(err)
		}
		for _, a := range list {
			if a.typ() == typ {
				if which--; which < 0 {
					change(a.attribute)
					return
				}
			}
		}
		e.t.Fatalf("record %d has no %v", n, typ)
	})
}

// index changes an index block.
func (e *editor) index(n int64, name string, block int, change func([]byte)) {
	_, list, err := e.v.baseAttrs(n)
	if err != nil {
		e.t.Fatal(err)
	}
	x, err := e.v.openIndex(n, list, name)
	if err != nil {
		e.t.Fatal(err)
	}
	e.block(e.inStream(x.blocks, int64(block*x.blockSize))[:x.blockSize], "INDX", change)
}

// firstEntry is the first entry of a node that starts at b, and the second.
func firstEntries(b []byte) (nodeEntry, nodeEntry) {
	list, err := nodeEntries(b)
	if err != nil {
		panic(err)
	}
	return list[0], list[1]
}

// rootEntries calls change with the first entries of a small index.
func (e *editor) rootEntry(n int64, change func(nodeEntry)) {
	e.attr(n, typeIndexRoot, 0, func(a attribute) {
		list, err := nodeEntries(a.value()[16:])
		if err != nil {
			e.t.Fatal(err)
		}
		change(list[0])
	})
}

func put64(b []byte, v int64) { le.PutUint64(b, uint64(v)) }

var corruptions = []struct {
	name string
	want ProblemKind
	do   func(e *editor)
}{
	{"used cluster marked free", ProblemBitmap, func(e *editor) { e.at(recBitmap, typeData, "", 0)[0] &^= 1 }},
	{"free cluster marked used", ProblemBitmap, func(e *editor) { e.at(recBitmap, typeData, "", (e.v.Clusters-2)/8)[0] |= 1 << ((e.v.Clusters - 2) % 8) }},
	{"bits beyond the end clear", ProblemBitmap, func(e *editor) { e.at(recBitmap, typeData, "", align((e.v.Clusters+7)/8, 8)-1)[0] = 0 }},
	{"record in use marked free", ProblemMFTBitmap, func(e *editor) { e.at(recMFT, typeBitmap, "", 8)[0] &^= 2 }},
	{"free record marked used", ProblemMFTBitmap, func(e *editor) { e.at(recMFT, typeBitmap, "", 4)[0] |= 2 }},
	{"mirror", ProblemMirror, func(e *editor) { e.at(recMFTMirr, typeData, "", 1024)[0x100]++ }},
	{"boot signature", ProblemBoot, func(e *editor) { e.b[510], e.b[len(e.b)-2] = 0, 0 }},
	{"boot copy", ProblemBoot, func(e *editor) { e.b[len(e.b)-100]++ }},
	{"upcase of ASCII", ProblemUpCase, func(e *editor) { e.at(recUpCase, typeData, "", 2*'a')[0] = 'a' }},
	{"upcase checksum", ProblemUpCase, func(e *editor) { e.at(recUpCase, typeData, "", 2*0xe9)[0]++ }},
	{"attribute definitions", ProblemAttrDef, func(e *editor) { e.at(recAttrDef, typeData, "", 0x80)[0] = 0x30 }},
	{"empty log", ProblemLog, func(e *editor) { clear(e.at(recLogFile, typeData, "", 0)[:8192]) }},
	{"dirty", ProblemVolume, func(e *editor) {
		e.attr(recVolume, typeVolumeInformation, 0, func(a attribute) { a.value()[10] |= 1 })
	}},
	{"bad cluster file", ProblemSystemFile, func(e *editor) { e.attr(recBadClus, typeData, 1, func(a attribute) { put64(a[0x30:], 4096) }) }},
	{"system file name", ProblemSystemFile, func(e *editor) { e.attr(recUpCase, typeFileName, 0, func(a attribute) { a.value()[fileNameSize+2]++ }) }},
	{"bytes in use", ProblemRecord, func(e *editor) {
		e.record(e.find("ea"), func(r fileRecord) { le.PutUint32(r[0x18:], r.used()+8) })
	}},
	{"record number", ProblemRecord, func(e *editor) { e.record(e.find("ea"), func(r fileRecord) { r[0x2c]++ }) }},
	{"next instance", ProblemRecord, func(e *editor) { e.record(e.find("ea"), func(r fileRecord) { r[0x28] = 0 }) }},
	{"torn record", ProblemRecord, func(e *editor) { e.inStream(e.v.mft, e.find("ea")*1024)[1023]++ }},
	{"link count", ProblemLinks, func(e *editor) { e.record(e.find("folder/a"), func(r fileRecord) { r[0x12]++ }) }},
	{"instance twice", ProblemAttribute, func(e *editor) { e.attr(e.find("folder/a"), typeData, 0, func(a attribute) { a[0xe] = 0 }) }},
	{"attribute order", ProblemAttribute, func(e *editor) { e.attr(e.find("folder/a"), typeData, 0, func(a attribute) { a[0] = 0x10 }) }},
	{"attribute length", ProblemAttribute, func(e *editor) { e.attr(e.find("folder/a"), typeData, 0, func(a attribute) { a[4] += 4 }) }},
	{"name not indexed", ProblemAttribute, func(e *editor) { e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a[0x16] = 0 }) }},
	{"directory flag", ProblemFlags, func(e *editor) {
		e.record(e.find("folder/a"), func(r fileRecord) { r[0x16] |= byte(recordDirectory) })
	}},
	{"reparse bit", ProblemFlags, func(e *editor) {
		e.attr(e.find("pointer"), typeStandardInformation, 0, func(a attribute) { a.value()[0x21] &^= 4 })
	}},
	{"highest cluster", ProblemRuns, func(e *editor) { e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0x18]++ }) }},
	{"size over allocated", ProblemRuns, func(e *editor) { e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0x32]++ }) }},
	{"valid over size", ProblemRuns, func(e *editor) { e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0x38]++ }) }},
	{"allocated", ProblemRuns, func(e *editor) { e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0x2a]++ }) }},
	{"run off the volume", ProblemRuns, func(e *editor) {
		e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { copy(a.mappingPairs(), []byte{0x41, 2, 0xff, 0xff, 0xff, 0x7f, 0}) })
	}},
	{"cross-link", ProblemCrossLink, func(e *editor) {
		var pairs []byte
		e.attr(e.find("many/entry-00899-xx"), typeData, 0, func(a attribute) { pairs = appendRuns(nil, run{1, 2}) })
		e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { copy(a.mappingPairs(), pairs) })
	}},
	{"hole in a plain file", ProblemRuns, func(e *editor) {
		e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { copy(a.mappingPairs(), []byte{1, 2, 0}) })
	}},
	{"list entry", ProblemList, func(e *editor) {
		e.at(e.find("links/linked"), typeAttributeList, "", 0)[0x18]++
	}},
	{"extension base", ProblemList, func(e *editor) {
		_, list, err := e.v.baseAttrs(e.find("links/linked"))
		if err != nil {
			e.t.Fatal(err)
		}
		for _, a := range list {
			if a.holder != e.find("links/linked") {
				e.record(a.holder, func(r fileRecord) { r[0x20]++ })
				return
			}
		}
	}},
	{"name changed in its record", ProblemMissingEntry, func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[fileNameSize]++ })
	}},
	{"parent sequence", ProblemMissingEntry, func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[6]++ })
	}},
	{"moved under its own child", ProblemUnreachable, func(e *editor) {
		e.attr(e.find("folder"), typeFileName, 0, func(a attribute) { put64(a.value(), int64(makeRef(uint64(e.find("empty")), 1))) })
		e.attr(e.find("empty"), typeFileName, 0, func(a attribute) { put64(a.value(), int64(makeRef(uint64(e.find("folder")), 1))) })
	}},
	{"namespace", ProblemName, func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[0x41] = nameWin32 })
	}},
	{"slash in a name", ProblemName, func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[fileNameSize] = '/' })
	}},
	{"entry to another sequence", ProblemDanglingEntry, func(e *editor) { e.rootEntry(e.find("folder"), func(x nodeEntry) { x[6]++ }) }},
	{"entry to a free record", ProblemDanglingEntry, func(e *editor) { e.rootEntry(e.find("folder"), func(x nodeEntry) { put64(x, 1<<48|40) }) }},
	{"entry with an old size", ProblemStaleEntry, func(e *editor) { e.rootEntry(e.find("folder"), func(x nodeEntry) { x.key()[0x30]++ }) }},
	{"entry without its directory bit", ProblemFlags, func(e *editor) {
		e.index(e.find("many"), "$I30", 0, func(b []byte) { x, _ := firstEntries(b[0x18:]); x.key()[0x3b] = 0x10 })
	}},
	{"entries out of order", ProblemIndexOrder, func(e *editor) {
		e.index(e.find("many"), "$I30", 0, func(b []byte) {
			x, y := firstEntries(b[0x18:])
			a, c := bytes.Clone(x), bytes.Clone(y)
			copy(b[0x18+int(le.Uint32(b[0x18:])):], append(c, a...))
		})
	}},
	{"block number", ProblemIndex, func(e *editor) { e.index(e.find("many"), "$I30", 0, func(b []byte) { b[0x10]++ }) }},
	{"loop in an index", ProblemIndex, func(e *editor) {
		e.attr(e.find("many"), typeIndexRoot, 0, func(a attribute) {
			list, err := nodeEntries(a.value()[16:])
			if err != nil || len(list) < 2 {
				e.t.Fatal(len(list), err)
			}
			put64(list[0][len(list[0])-8:], list[1].subNode())
		})
	}},
	{"entry length", ProblemIndex, func(e *editor) { e.rootEntry(e.find("folder"), func(x nodeEntry) { x[8] += 8 }) }},
	{"collation", ProblemIndex, func(e *editor) { e.attr(e.find("folder"), typeIndexRoot, 0, func(a attribute) { a.value()[4]++ }) }},
	{"root allocation", ProblemIndex, func(e *editor) { e.attr(e.find("folder"), typeIndexRoot, 0, func(a attribute) { a.value()[0x18]++ }) }},
	{"index block free", ProblemIndexBitmap, func(e *editor) { e.attr(e.find("many"), typeBitmap, 0, func(a attribute) { a.value()[0] &^= 1 }) }},
	{"index block surplus", ProblemIndexBitmap, func(e *editor) { e.attr(e.find("many"), typeBitmap, 0, func(a attribute) { a.value()[7] |= 128 }) }},
	{"unknown security id", ProblemSecurity, func(e *editor) {
		e.attr(e.find("folder/a"), typeStandardInformation, 0, func(a attribute) { a.value()[0x36]++ })
	}},
	{"descriptor", ProblemSecurity, func(e *editor) { e.at(recSecure, typeData, "$SDS", 0)[0x20]++ }},
	{"copy of a descriptor", ProblemSecurity, func(e *editor) { e.at(recSecure, typeData, "$SDS", sdsBlock)[0x20]++ }},
	{"security index", ProblemSecurity, func(e *editor) {
		e.index(recSecure, "$SII", 0, func(b []byte) { x, _ := firstEntries(b[0x18:]); x[0x14]++ })
	}},
	{"reparse index", ProblemReparse, func(e *editor) {
		e.rootEntry(e.find("$Extend/$Reparse"), func(x nodeEntry) { x.key()[0]++ })
	}},
	{"object id index", ProblemObjectID, func(e *editor) {
		e.rootEntry(e.find("$Extend/$ObjId"), func(x nodeEntry) { x.key()[0]++ })
	}},
	{"object id", ProblemObjectID, func(e *editor) { e.attr(e.find("object id"), typeObjectID, 0, func(a attribute) { a.value()[0]++ }) }},
	{"extended attributes", ProblemAttribute, func(e *editor) { e.attr(e.find("ea"), typeEAInformation, 0, func(a attribute) { a.value()[0]++ }) }},
}

func TestCheckFindsCorruption(t *testing.T) {
	sound := sampleVolume(t, 1000, &BuildOptions{Size: 24 << 20})
	for _, tt := range corruptions {
		t.Run(tt.name, func(t *testing.T) {
			e := newEditor(t, sound)
			tt.do(e)
			v := openBytes(t, e.b)
			problems := problemsOf(t, v)
			for _, p := range problems {
				if p.Kind == tt.want {
					return
				}
			}
			t.Errorf("found %v, want a %s", problems, tt.want)
		})
	}
}

// finerCorruptions are those of which a kind says too little: the text is part of the one problem that tells.
var finerCorruptions = []struct {
	name string
	want ProblemKind
	text string
	do   func(e *editor)
}{
	{"name of an attribute that has none", ProblemAttribute, "want none", func(e *editor) {
		e.attr(e.find("folder/a"), typeStandardInformation, 0, func(a attribute) { a[9], a[0xa] = 1, residentHeader })
	}},
	{"index without a name", ProblemAttribute, "has no name", func(e *editor) {
		e.attr(e.find("$Extend/$Reparse"), typeIndexRoot, 0, func(a attribute) { a[9] = 0 })
	}},
	{"name inside the value", ProblemAttribute, "want it between the header", func(e *editor) {
		e.attr(e.find("$Extend/$Reparse"), typeIndexRoot, 0, func(a attribute) { a[0xa] = byte(a.valueOffset()) - 2 })
	}},
	{"name inside the header of a sparse stream", ProblemAttribute, "want it between the header", func(e *editor) {
		e.attr(e.find("folder/中文"), typeData, 0, func(a attribute) { a[9], a[0xa] = 2, nonResidentHeader })
	}},
	{"normal bit", ProblemFlags, "not for disks", func(e *editor) {
		e.attr(e.find("folder/a"), typeStandardInformation, 0, func(a attribute) { a.value()[0x20] |= byte(winfile.AttrNormal) })
	}},
	{"directory bit of Win32", ProblemFlags, "$FILE_NAME has attribute bits 0x10", func(e *editor) {
		e.attr(e.find("folder"), typeFileName, 0, func(a attribute) { a.value()[0x38] |= byte(winfile.AttrDirectory) })
	}},
	{"view index bit", ProblemFlags, "bit of view indexes false", func(e *editor) {
		e.attr(e.find("$Extend/$Reparse"), typeStandardInformation, 0, func(a attribute) { a.value()[0x23] = 0 })
	}},
	{"view index bit of a file", ProblemFlags, "bit of view indexes true", func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[0x3b] |= 0x20 })
	}},
	{"sparse bit without a sparse stream", ProblemFlags, "without a sparse stream", func(e *editor) {
		e.attr(e.find("folder/a"), typeStandardInformation, 0, func(a attribute) { a.value()[0x21] |= 2 })
	}},
	{"sparse stream without its bit", ProblemFlags, "attribute bit 0x200 is false", func(e *editor) {
		e.attr(e.find("folder/中文"), typeStandardInformation, 0, func(a attribute) { a.value()[0x21] &^= 2 })
	}},
	{"encrypted stream without its bit", ProblemFlags, "attribute bit 0x4000 is false", func(e *editor) {
		e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0xd] |= 0x40 })
	}},
	{"directory bit of $FILE_NAME", ProblemFlags, "directory bit of $FILE_NAME is false", func(e *editor) {
		e.attr(e.find("folder"), typeFileName, 0, func(a attribute) { a.value()[0x3b] = 0 })
	}},
	{"size of a sparse stream", ProblemSparseUnit, "18 clusters, want a multiple of 16", func(e *editor) {
		e.attr(e.find("folder/中文"), typeData, 0, func(a attribute) {
			a[0x18] = 17
			put64(a[0x28:], 18*4096)
			copy(a.mappingPairs(), []byte{1, 18, 0})
		})
	}},
	{"total of a sparse stream", ProblemRuns, "total allocated size 4096, the runs have 0", func(e *editor) {
		e.attr(e.find("folder/中文"), typeData, 0, func(a attribute) { put64(a[0x40:], 4096) })
	}},
	{"tag in an index entry", ProblemReparse, "reparse tag 0x80000018", func(e *editor) {
		n := e.find("folder")
		e.attr(n, typeIndexRoot, 0, func(a attribute) {
			list, err := nodeEntries(a.value()[16:])
			if err != nil {
				e.t.Fatal(err)
			}
			list[2].key()[0x3c]++
		})
	}},
	{"length of a key", ProblemIndex, "key of 70 bytes, want 68", func(e *editor) { e.rootEntry(e.find("folder"), func(x nodeEntry) { x[0xa] += 2 }) }},
	{"$Secure without its view flag", ProblemSystemFile, "record flags 0x1, want 0x9", func(e *editor) {
		e.record(recSecure, func(r fileRecord) { r[0x16] &^= byte(recordView) })
	}},
	{"$Extend without its directory flag", ProblemSystemFile, "record flags 0x1, want 0x3", func(e *editor) {
		e.record(recExtend, func(r fileRecord) { r[0x16] &^= byte(recordDirectory) })
	}},
	{"child of $Extend without its flag", ProblemSystemFile, "$ObjId has record flags 0x9", func(e *editor) {
		e.record(recObjID, func(r fileRecord) { r[0x16] &^= byte(recordExtend) })
	}},
	{"$Bitmap in its record", ProblemBitmap, "is resident", func(e *editor) { e.attr(recBitmap, typeData, 0, makeResident) }},
	{"$MFT:$BITMAP in its record", ProblemMFTBitmap, "is resident", func(e *editor) { e.attr(recMFT, typeBitmap, 0, makeResident) }},
	{"reserved record", ProblemSystemFile, "want it reserved", func(e *editor) {
		e.record(recReserved+1, func(r fileRecord) { r[0x16] = 0 })
	}},
	{"default limits of $Quota", ProblemSystemFile, "no default limits", func(e *editor) {
		e.attr(recQuota, typeIndexRoot, 1, func(a attribute) { a.value()[indexRootHeader+indexEntryHeader]++ })
	}},
}

// makeResident turns a plain attribute into a resident one of 32 bytes.
func makeResident(a attribute) {
	a[8] = 0
	clear(a[0x10:])
	le.PutUint32(a[0x10:], 32)
	le.PutUint16(a[0x14:], residentHeader)
}

// TestCheckTellsWhatIsWrong takes mistakes that other tools for NTFS pass over, and chkdsk does not.
func TestCheckTellsWhatIsWrong(t *testing.T) {
	sound := sampleVolume(t, 10, &BuildOptions{Size: 24 << 20, Backing: func(info *winfile.Info) []byte {
		if info.Size() != 70000 {
			return nil
		}
		return pointerTo(info)
	}})
	for _, p := range problemsOf(t, openBytes(t, sound)) {
		t.Errorf("before: %v", p)
	}
	for _, tt := range finerCorruptions {
		t.Run(tt.name, func(t *testing.T) {
			e := newEditor(t, sound)
			tt.do(e)
			problems := problemsOf(t, openBytes(t, e.b))
			if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Kind == tt.want && strings.Contains(p.Text, tt.text) }) {
				t.Errorf("found %v, want a %s with %q", problems, tt.want, tt.text)
			}
		})
	}
}

func TestCheckKeepsErrorsAmongNotes(t *testing.T) {
	e := newEditor(t, sampleVolume(t, 10, nil))
	c := &checkState{v: e.v}
	for i := range int64(maxProblems + 3) {
		c.report(SeverityNote, ProblemStaleEntry, i, "stale")
	}
	c.report(SeverityError, ProblemRuns, 1, "wrong")
	if n := len(c.problems); n != maxProblems+1 || c.problems[n-1].Severity != SeverityError {
		t.Errorf("%d problems, the last %v", n, c.problems[n-1])
	}
}
