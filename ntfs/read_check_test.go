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

// corruptions are changes of a sound volume: what is to be found, and what else follows from it.
var corruptions = []struct {
	name string
	want Code
	also []Code
	do   func(e *editor)
}{
	{"used cluster marked free", "bitmap-free", nil, func(e *editor) { e.at(recBitmap, typeData, "", 0)[0] &^= 1 }},
	{"free cluster marked used", "bitmap-leaked", nil, func(e *editor) { e.at(recBitmap, typeData, "", (e.v.Clusters-2)/8)[0] |= 1 << ((e.v.Clusters - 2) % 8) }},
	{"bits beyond the end clear", "bitmap-tail", nil, func(e *editor) { e.at(recBitmap, typeData, "", align((e.v.Clusters+7)/8, 8)-1)[0] = 0 }},
	{"record in use marked free", "mft-bitmap-free", nil, func(e *editor) { e.at(recMFT, typeBitmap, "", 8)[0] &^= 2 }},
	{"free record marked used", "mft-bitmap-leaked", nil, func(e *editor) { e.at(recMFT, typeBitmap, "", 4)[0] |= 2 }},
	{"mirror", "mirror-differs", nil, func(e *editor) { e.at(recMFTMirr, typeData, "", 1024)[0x100]++ }},
	{"boot signature", "boot-signature", nil, func(e *editor) { e.b[510], e.b[len(e.b)-2] = 0, 0 }},
	{"boot copy", "boot-copy", nil, func(e *editor) { e.b[len(e.b)-100]++ }},
	{"upcase of ASCII", "upcase-ascii", []Code{"index-order", "upcase-checksum"}, func(e *editor) { e.at(recUpCase, typeData, "", 2*'a')[0] = 'a' }},
	{"upcase checksum", "upcase-checksum", nil, func(e *editor) { e.at(recUpCase, typeData, "", 2*0xe9)[0]++ }},
	{"attribute definitions", "attrdef", nil, func(e *editor) { e.at(recAttrDef, typeData, "", 0x80)[0] = 0x30 }},
	{"empty log", "log-damaged", nil, func(e *editor) { clear(e.at(recLogFile, typeData, "", 0)[:8192]) }},
	{"dirty", "volume-dirty", nil, func(e *editor) {
		e.attr(recVolume, typeVolumeInformation, 0, func(a attribute) { a.value()[10] |= 1 })
	}},
	{"bad cluster file", "bad-clusters", nil, func(e *editor) { e.attr(recBadClus, typeData, 1, func(a attribute) { put64(a[0x30:], 4096) }) }},
	{"system file name", "system-name", []Code{"entry-name", "entry-missing"}, func(e *editor) { e.attr(recUpCase, typeFileName, 0, func(a attribute) { a.value()[fileNameSize+2]++ }) }},
	{"bytes in use", "record-used", nil, func(e *editor) {
		e.record(e.find("ea"), func(r fileRecord) { le.PutUint32(r[0x18:], r.used()+8) })
	}},
	{"record number", "record-number", nil, func(e *editor) { e.record(e.find("ea"), func(r fileRecord) { r[0x2c]++ }) }},
	{"next instance", "record-instance", nil, func(e *editor) { e.record(e.find("ea"), func(r fileRecord) { r[0x28] = 0 }) }},
	{"torn record", "record-unreadable", nil, func(e *editor) { e.inStream(e.v.mft, e.find("ea")*1024)[1023]++ }},
	{"link count", "link-count", nil, func(e *editor) { e.record(e.find("folder/a"), func(r fileRecord) { r[0x12]++ }) }},
	{"instance twice", "attribute-instance", nil, func(e *editor) { e.attr(e.find("folder/a"), typeData, 0, func(a attribute) { a[0xe] = 0 }) }},
	{"attribute order", "attribute-order", []Code{"entry-stale", "attribute-size", "bits-stored", "flag-directory", "security-id", "standard-information"}, func(e *editor) { e.attr(e.find("folder/a"), typeData, 0, func(a attribute) { a[0] = 0x10 }) }},
	{"attribute length", "attribute-chain", nil, func(e *editor) { e.attr(e.find("folder/a"), typeData, 0, func(a attribute) { a[4] += 4 }) }},
	{"name not indexed", "attribute-indexed", nil, func(e *editor) { e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a[0x16] = 0 }) }},
	{"directory flag", "flag-directory", []Code{"entry-directory-bit", "name-directory-bit"}, func(e *editor) {
		e.record(e.find("folder/a"), func(r fileRecord) { r[0x16] |= byte(recordDirectory) })
	}},
	{"reparse bit", "bits-contents", []Code{"entry-stale"}, func(e *editor) {
		e.attr(e.find("pointer"), typeStandardInformation, 0, func(a attribute) { a.value()[0x21] &^= 4 })
	}},
	{"highest cluster", "runs-damaged", []Code{"bitmap-leaked"}, func(e *editor) { e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0x18]++ }) }},
	{"size over allocated", "runs-damaged", []Code{"bitmap-leaked", "entry-stale"}, func(e *editor) { e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0x32]++ }) }},
	{"valid over size", "runs-sizes", nil, func(e *editor) { e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0x38]++ }) }},
	{"allocated", "runs-allocated", []Code{"entry-stale"}, func(e *editor) { e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0x2a]++ }) }},
	{"run off the volume", "runs-damaged", []Code{"bitmap-leaked"}, func(e *editor) {
		e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { copy(a.mappingPairs(), []byte{0x41, 2, 0xff, 0xff, 0xff, 0x7f, 0}) })
	}},
	{"cross-link", "cross-link", []Code{"bitmap-leaked"}, func(e *editor) {
		var pairs []byte
		e.attr(e.find("many/entry-00899-xx"), typeData, 0, func(a attribute) { pairs = appendRuns(nil, run{1, 2}) })
		e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { copy(a.mappingPairs(), pairs) })
	}},
	{"hole in a plain file", "runs-hole", []Code{"bitmap-leaked"}, func(e *editor) {
		e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { copy(a.mappingPairs(), []byte{1, 2, 0}) })
	}},
	{"list entry", "list-damaged", []Code{"bitmap-leaked"}, func(e *editor) {
		e.at(e.find("links/linked"), typeAttributeList, "", 0)[0x18]++
	}},
	{"extension base", "list-damaged", []Code{"extension-orphan", "bitmap-leaked"}, func(e *editor) {
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
	{"name changed in its record", "entry-name", []Code{"entry-missing"}, func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[fileNameSize]++ })
	}},
	{"parent sequence", "entry-orphan", nil, func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[6]++ })
	}},
	{"moved under its own child", "directory-unreachable", []Code{"entry-name", "entry-missing"}, func(e *editor) {
		e.attr(e.find("folder"), typeFileName, 0, func(a attribute) { put64(a.value(), int64(makeRef(uint64(e.find("empty")), 1))) })
		e.attr(e.find("empty"), typeFileName, 0, func(a attribute) { put64(a.value(), int64(makeRef(uint64(e.find("folder")), 1))) })
	}},
	{"namespace", "name-pair", []Code{"entry-name", "entry-missing"}, func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[0x41] = nameWin32 })
	}},
	{"slash in a name", "name-illegal", []Code{"entry-name", "entry-missing"}, func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[fileNameSize] = '/' })
	}},
	{"entry to another sequence", "entry-sequence", nil, func(e *editor) { e.rootEntry(e.find("folder"), func(x nodeEntry) { x[6]++ }) }},
	{"entry to a free record", "entry-dangling", []Code{"entry-missing"}, func(e *editor) { e.rootEntry(e.find("folder"), func(x nodeEntry) { put64(x, 1<<48|40) }) }},
	{"entry with an old size", "entry-stale", nil, func(e *editor) { e.rootEntry(e.find("folder"), func(x nodeEntry) { x.key()[0x30]++ }) }},
	{"entry without its directory bit", "entry-directory-bit", nil, func(e *editor) {
		e.index(e.find("many"), "$I30", 0, func(b []byte) { x, _ := firstEntries(b[0x18:]); x.key()[0x3b] = 0x10 })
	}},
	{"entries out of order", "index-order", nil, func(e *editor) {
		e.index(e.find("many"), "$I30", 0, func(b []byte) {
			x, y := firstEntries(b[0x18:])
			a, c := bytes.Clone(x), bytes.Clone(y)
			copy(b[0x18+int(le.Uint32(b[0x18:])):], append(c, a...))
		})
	}},
	{"block number", "index-block", nil, func(e *editor) { e.index(e.find("many"), "$I30", 0, func(b []byte) { b[0x10]++ }) }},
	{"loop in an index", "index-loop", []Code{"index-order"}, func(e *editor) {
		e.attr(e.find("many"), typeIndexRoot, 0, func(a attribute) {
			list, err := nodeEntries(a.value()[16:])
			if err != nil || len(list) < 2 {
				e.t.Fatal(len(list), err)
			}
			put64(list[0][len(list[0])-8:], list[1].subNode())
		})
	}},
	{"entry length", "index-node", nil, func(e *editor) { e.rootEntry(e.find("folder"), func(x nodeEntry) { x[8] += 8 }) }},
	{"collation", "index-root", nil, func(e *editor) { e.attr(e.find("folder"), typeIndexRoot, 0, func(a attribute) { a.value()[4]++ }) }},
	{"root allocation", "index-root", []Code{"index-node"}, func(e *editor) { e.attr(e.find("folder"), typeIndexRoot, 0, func(a attribute) { a.value()[0x18]++ }) }},
	{"index block free", "index-bitmap-free", nil, func(e *editor) { e.attr(e.find("many"), typeBitmap, 0, func(a attribute) { a.value()[0] &^= 1 }) }},
	{"index block surplus", "index-bitmap-leaked", nil, func(e *editor) { e.attr(e.find("many"), typeBitmap, 0, func(a attribute) { a.value()[7] |= 128 }) }},
	{"unknown security id", "security-id", nil, func(e *editor) {
		e.attr(e.find("folder/a"), typeStandardInformation, 0, func(a attribute) { a.value()[0x36]++ })
	}},
	{"descriptor", "security-entry", []Code{"security-copy"}, func(e *editor) { e.at(recSecure, typeData, "$SDS", 0)[0x20]++ }},
	{"copy of a descriptor", "security-copy", nil, func(e *editor) { e.at(recSecure, typeData, "$SDS", sdsBlock)[0x20]++ }},
	{"security index", "security-index", nil, func(e *editor) {
		e.index(recSecure, "$SII", 0, func(b []byte) { x, _ := firstEntries(b[0x18:]); x[0x14]++ })
	}},
	{"reparse index", "reparse-index-dangling", []Code{"reparse-index-missing"}, func(e *editor) {
		e.rootEntry(e.find("$Extend/$Reparse"), func(x nodeEntry) { x.key()[0]++ })
	}},
	{"object id index", "object-index-dangling", []Code{"object-index-missing"}, func(e *editor) {
		e.rootEntry(e.find("$Extend/$ObjId"), func(x nodeEntry) { x.key()[0]++ })
	}},
	{"object id", "object-index-missing", []Code{"object-index-dangling"}, func(e *editor) { e.attr(e.find("object id"), typeObjectID, 0, func(a attribute) { a.value()[0]++ }) }},
	{"extended attributes", "ea-sizes", []Code{"entry-stale"}, func(e *editor) { e.attr(e.find("ea"), typeEAInformation, 0, func(a attribute) { a.value()[0]++ }) }},
	{"name of an attribute that has none", "attribute-name", nil, func(e *editor) {
		e.attr(e.find("folder/a"), typeStandardInformation, 0, func(a attribute) { a[9], a[0xa] = 1, residentHeader })
	}},
	{"index without a name", "attribute-name", []Code{"index-missing"}, func(e *editor) {
		e.attr(e.find("$Extend/$Reparse"), typeIndexRoot, 0, func(a attribute) { a[9] = 0 })
	}},
	{"name inside the value", "attribute-name", []Code{"index-missing"}, func(e *editor) {
		e.attr(e.find("$Extend/$Reparse"), typeIndexRoot, 0, func(a attribute) { a[0xa] = byte(a.valueOffset()) - 2 })
	}},
	{"name inside the header of a sparse stream", "attribute-name", []Code{"entry-stale", "flag-directory"}, func(e *editor) {
		e.attr(e.find("folder/中文"), typeData, 0, func(a attribute) { a[9], a[0xa] = 2, nonResidentHeader })
	}},
	{"normal bit", "bits-stored", []Code{"entry-stale"}, func(e *editor) {
		e.attr(e.find("folder/a"), typeStandardInformation, 0, func(a attribute) { a.value()[0x20] |= byte(winfile.AttrNormal) })
	}},
	{"directory bit of Win32", "bits-stored", nil, func(e *editor) {
		e.attr(e.find("folder"), typeFileName, 0, func(a attribute) { a.value()[0x38] |= byte(winfile.AttrDirectory) })
	}},
	{"view index bit", "bits-stored", nil, func(e *editor) {
		e.attr(e.find("$Extend/$Reparse"), typeStandardInformation, 0, func(a attribute) { a.value()[0x23] = 0 })
	}},
	{"view index bit of a file", "bits-stored", nil, func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[0x3b] |= 0x20 })
	}},
	{"sparse bit without a sparse stream", "bits-sparse", []Code{"entry-stale"}, func(e *editor) {
		e.attr(e.find("folder/a"), typeStandardInformation, 0, func(a attribute) { a.value()[0x21] |= 2 })
	}},
	{"sparse stream without its bit", "bits-contents", []Code{"entry-stale"}, func(e *editor) {
		e.attr(e.find("folder/中文"), typeStandardInformation, 0, func(a attribute) { a.value()[0x21] &^= 2 })
	}},
	{"encrypted stream without its bit", "bits-contents", nil, func(e *editor) {
		e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0xd] |= 0x40 })
	}},
	{"directory bit of $FILE_NAME", "name-directory-bit", nil, func(e *editor) {
		e.attr(e.find("folder"), typeFileName, 0, func(a attribute) { a.value()[0x3b] = 0 })
	}},
	{"size of a sparse stream", "sparse-unit", nil, func(e *editor) {
		e.attr(e.find("folder/中文"), typeData, 0, func(a attribute) {
			a[0x18] = 17
			put64(a[0x28:], 18*4096)
			copy(a.mappingPairs(), []byte{1, 18, 0})
		})
	}},
	{"total of a sparse stream", "runs-total", []Code{"entry-stale"}, func(e *editor) {
		e.attr(e.find("folder/中文"), typeData, 0, func(a attribute) { put64(a[0x40:], 4096) })
	}},
	{"tag in an index entry", "entry-tag", nil, func(e *editor) {
		n := e.find("folder")
		e.attr(n, typeIndexRoot, 0, func(a attribute) {
			list, err := nodeEntries(a.value()[16:])
			if err != nil {
				e.t.Fatal(err)
			}
			list[2].key()[0x3c]++
		})
	}},
	{"length of a key", "index-entry", nil, func(e *editor) { e.rootEntry(e.find("folder"), func(x nodeEntry) { x[0xa] += 2 }) }},
	{"$Secure without its view flag", "system-flags", []Code{"bits-stored", "flag-view"}, func(e *editor) {
		e.record(recSecure, func(r fileRecord) { r[0x16] &^= byte(recordView) })
	}},
	{"$Extend without its directory flag", "system-flags", []Code{"flag-directory", "name-directory-bit"}, func(e *editor) {
		e.record(recExtend, func(r fileRecord) { r[0x16] &^= byte(recordDirectory) })
	}},
	{"child of $Extend without its flag", "extend-flag", nil, func(e *editor) {
		e.record(recObjID, func(r fileRecord) { r[0x16] &^= byte(recordExtend) })
	}},
	{"$Bitmap in its record", "bitmap-form", []Code{"entry-stale", "bitmap-free"}, func(e *editor) { e.attr(recBitmap, typeData, 0, makeResident) }},
	{"$MFT:$BITMAP in its record", "mft-bitmap-form", []Code{"mft-bitmap-free", "bitmap-leaked"}, func(e *editor) { e.attr(recMFT, typeBitmap, 0, makeResident) }},
	{"reserved record", "system-reserved", []Code{"mft-bitmap-leaked"}, func(e *editor) {
		e.record(recReserved+1, func(r fileRecord) { r[0x16] = 0 })
	}},
	{"default limits of $Quota", "quota-defaults", nil, func(e *editor) {
		e.attr(recQuota, typeIndexRoot, 1, func(a attribute) { a.value()[indexRootHeader+indexEntryHeader]++ })
	}},
	{"boot sector", "boot-sector", nil, func(e *editor) { e.b[3]++ }},
	{"$Boot too short", "boot-file", []Code{"entry-stale"}, func(e *editor) {
		e.attr(recBoot, typeData, 0, func(a attribute) { setSize(a, 4096) })
	}},
	{"chkdsk underway", "volume-chkdsk", nil, func(e *editor) {
		e.attr(recVolume, typeVolumeInformation, 0, func(a attribute) { a.value()[11] |= 0x40 })
	}},
	{"log to be resized", "volume-flags", nil, func(e *editor) {
		e.attr(recVolume, typeVolumeInformation, 0, func(a attribute) { a.value()[10] |= 2 })
	}},
	{"NTFS 3.0", "volume-version", nil, func(e *editor) {
		e.attr(recVolume, typeVolumeInformation, 0, func(a attribute) { a.value()[9] = 0 })
	}},
	{"log in use", "log-unclean", nil, func(e *editor) { e.restart(0, e.logSize()) }},
	{"log of another size", "log-size", nil, func(e *editor) { e.restart(noClient, 4096) }},
	{"mirror elsewhere", "mirror-place", nil, func(e *editor) {
		e.b[0x38]++
		copy(e.b[len(e.b)-512:], e.b[:512])
	}},
	{"short mirror", "mirror-size", []Code{"entry-stale"}, func(e *editor) {
		e.attr(recMFTMirr, typeData, 0, func(a attribute) { setSize(a, 3*1024) })
	}},
	{"short upcase", "upcase-size", []Code{"entry-stale"}, func(e *editor) {
		e.attr(recUpCase, typeData, 0, func(a attribute) { setSize(a, upcaseSize-2) })
	}},
	{"another upcase", "upcase-other", nil, func(e *editor) {
		table := e.at(recUpCase, typeData, "", 0)[:upcaseSize]
		table[2*0xe9]++
		e.attr(recUpCase, typeData, 1, func(a attribute) { le.PutUint64(a.value()[8:], upcaseCRC(table)) })
	}},
	{"bad cluster", "bad-clusters-marked", nil, func(e *editor) {
		last := e.v.Clusters - 2
		e.attr(recBadClus, typeData, 1, func(a attribute) {
			copy(a.mappingPairs(), appendRuns(nil, run{hole, last + 1}, run{LCN(last), 1}))
		})
		e.use(last, 1)
	}},
	{"no $AttrDef", "system-missing", []Code{"entry-dangling", "bitmap-leaked", "mft-bitmap-leaked", "attrdef"}, func(e *editor) {
		e.record(recAttrDef, func(r fileRecord) { r[0x16] = 0 })
	}},
	{"sequence of a system file", "system-sequence", []Code{"entry-sequence"}, func(e *editor) {
		e.record(recUpCase, func(r fileRecord) { r[0x10]-- })
	}},
	{"system file in a folder", "system-parent", []Code{"entry-name", "entry-missing"}, func(e *editor) {
		e.attr(recUpCase, typeFileName, 0, func(a attribute) { put64(a.value(), int64(makeRef(uint64(e.find("folder")), 1))) })
	}},
	{"bytes in use beyond the record", "record-header", nil, func(e *editor) {
		e.record(e.find("ea"), func(r fileRecord) { r[0x19] = 0xff })
	}},
	{"free record", "record-free", nil, func(e *editor) { e.inStream(e.v.mft, 40*1024)[0] = 'X' }},
	{"record size", "record-size", nil, func(e *editor) { e.record(e.find("ea"), func(r fileRecord) { r[0x1d] = 2 }) }},
	{"no sequence number", "record-sequence", []Code{"entry-sequence"}, func(e *editor) {
		e.record(e.find("ea"), func(r fileRecord) { r[0x10] = 0 })
	}},
	{"first attribute", "record-first", nil, func(e *editor) {
		e.record(e.find("ea"), func(r fileRecord) {
			copy(r[r.firstAttr()+8:], r[r.firstAttr():r.used()])
			r[0x14] += 8
			le.PutUint32(r[0x18:], r.used()+8)
		})
	}},
	{"record flags", "record-flags", nil, func(e *editor) { e.record(e.find("ea"), func(r fileRecord) { r[0x16] |= 0x10 }) }},
	{"unknown attribute", "attribute-type", []Code{"ea-sizes", "entry-stale"}, func(e *editor) {
		e.attr(e.find("ea"), typeEA, 0, func(a attribute) { a[0] = 0xf0 })
	}},
	{"form of an attribute", "attribute-form", nil, func(e *editor) { e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[8] = 2 }) }},
	{"length of a value", "attribute-size", []Code{"entry-stale"}, func(e *editor) {
		e.attr(e.find("ea"), typeEAInformation, 0, func(a attribute) { a[0x10] = 4 })
	}},
	{"place of a value", "attribute-layout", []Code{"entry-stale"}, func(e *editor) {
		e.attr(e.find("folder/a"), typeData, 0, func(a attribute) {
			a[0x14] += 4
			a[0x10] -= 4
		})
	}},
	{"order of a list", "list-order", nil, func(e *editor) {
		b := e.at(e.find("links/linked"), typeAttributeList, "", 0)
		first := bytes.Clone(b[:0x20])
		copy(b, b[0x20:0x40])
		copy(b[0x20:], first)
	}},
	{"entry missing from a list", "list-incomplete", []Code{"link-count", "entry-name"}, func(e *editor) {
		n := e.find("links/linked")
		b := e.at(n, typeAttributeList, "", 0)
		copy(b[0x20:0x1000-0x20], b[0x40:])
		e.attr(n, typeAttributeList, 0, func(a attribute) { setSize(a, a.dataSize()-0x20) })
	}},
	{"links of an extension", "extension-links", nil, func(e *editor) {
		e.record(e.extension(e.find("links/linked")), func(r fileRecord) { r[0x12]++ })
	}},
	{"$STANDARD_INFORMATION of 60 bytes", "standard-information", nil, func(e *editor) {
		e.attr(e.find("folder/b"), typeStandardInformation, 0, func(a attribute) { a[0x10] = 60 })
		e.insert(e.find("folder/b"), residentAttr(typeSecurityDescriptor, "", 0, sampleSecurity(1)))
	}},
	{"unit of a plain stream", "runs-unit", nil, func(e *editor) { e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { a[0x22] = 4 }) }},
	{"stream without a start", "runs-extent", []Code{"flag-directory", "bitmap-leaked", "entry-stale"}, func(e *editor) {
		e.attr(e.find("folder/b"), typeData, 0, func(a attribute) {
			put64(a[0x10:], 1)
			put64(a[0x18:], 2)
		})
	}},
	{"clusters behind a hole", "compressed-unit", []Code{"wof-data", "entry-stale"}, func(e *editor) {
		n, first := e.find("folder/中文"), e.v.Clusters-100
		e.attr(n, typeStandardInformation, 0, func(a attribute) { a.value()[0x21] ^= 8 | 2 })
		e.attr(n, typeData, 0, func(a attribute) {
			le.PutUint16(a[0xc:], attrFlagCompressed)
			put64(a[0x40:], 15*4096)
			a[0x22] = 4
			copy(a.mappingPairs(), appendRuns(nil, run{hole, 17}, run{LCN(first), 15}))
		})
		e.use(first, 15)
	}},
	{"length of a name", "name-damaged", nil, func(e *editor) {
		e.attr(e.find("folder/a"), typeFileName, 0, func(a attribute) { a.value()[0x40] = 200 })
	}},
	{"name that Windows refuses", "name-characters", nil, func(e *editor) { e.rename(e.find("folder/a"), 0, '?', nameWin32DOS) }},
	{"unknown namespace", "name-namespace", nil, func(e *editor) { e.rename(e.find("folder/a"), 0, 'a', 4) }},
	{"no name", "name-missing", []Code{"link-count", "entry-name"}, func(e *editor) { e.remove(e.find("folder/a"), typeFileName) }},
	{"second name of a folder", "name-second", []Code{"entry-missing"}, func(e *editor) {
		n := e.find("empty")
		e.insert(n, e.copyOf(n, typeFileName))
		e.record(n, func(r fileRecord) { r[0x12] = 2 })
	}},
	{"header of an index block", "index-block-header", nil, func(e *editor) {
		e.index(e.find("many"), "$I30", 0, func(b []byte) { copy(b[0x20:0x24], b[0x1c:0x20]) })
	}},
	{"deep index", "index-depth", []Code{"index-loop"}, func(e *editor) {
		n := e.find("many")
		for i := range maxIndexDepth + 1 {
			e.index(n, "$I30", i, func(b []byte) {
				node := b[0x18:]
				first := le.Uint32(node)
				le.PutUint32(node[4:], first+0x18)
				node[12] = nodeInner
				last := node[first:][:0x18]
				clear(last)
				last[8], last[12] = 0x18, byte(entrySubNode|entryLast)
				put64(last[0x10:], int64(i)+1)
			})
		}
	}},
	{"size of an index bitmap", "index-bitmap-size", nil, func(e *editor) { e.attr(e.find("many"), typeBitmap, 0, func(a attribute) { a[0x10] = 7 }) }},
	{"index in another file's clusters", "index-skipped", []Code{"cross-link", "bitmap-leaked"}, func(e *editor) {
		_, list, err := e.v.baseAttrs(e.find("many"))
		if err != nil {
			e.t.Fatal(err)
		}
		s, err := e.v.openStream(list, findAttr(list, typeIndexAllocation, "$I30"))
		if err != nil {
			e.t.Fatal(err)
		}
		e.attr(e.find("folder/b"), typeData, 0, func(a attribute) { copy(a.mappingPairs(), appendRuns(nil, run{s.extents[0].LCN, 2})) })
	}},
	{"names that differ in case", "name-case", nil, func(e *editor) {
		a, b := e.find("folder/a"), e.find("folder/b")
		e.rename(a, 0, 'A', nameWin32DOS)
		e.rename(b, 1, 'a', nameWin32DOS)
	}},
	{"parent in an entry", "entry-parent", nil, func(e *editor) {
		e.rootEntry(e.find("folder"), func(x nodeEntry) { put64(x.key(), int64(makeRef(uint64(e.find("empty")), 1))) })
	}},
	{"length of a descriptor", "security-stream", nil, func(e *editor) { e.at(recSecure, typeData, "$SDS", 0)[0x12] = 0xff }},
	{"length of $SDS", "security-size", nil, func(e *editor) { e.attr(recSecure, typeData, 0, func(a attribute) { setSize(a, a.dataSize()+16) }) }},
	{"revision of a descriptor", "security-descriptor", []Code{"security-index"}, func(e *editor) {
		for _, off := range []int64{0, sdsBlock} {
			b := e.at(recSecure, typeData, "$SDS", off)
			b[sdsHeaderSize] = 9
			le.PutUint32(b, securityHash(b[sdsHeaderSize:le.Uint32(b[0x10:])]))
		}
	}},
	{"entry missing from $SII", "security-index-missing", nil, func(e *editor) {
		e.index(recSecure, "$SII", 0, func(b []byte) {
			node := b[0x18:]
			x, _ := firstEntries(node)
			size := uint32(len(x))
			copy(node[le.Uint32(node):], node[le.Uint32(node)+size:])
			le.PutUint32(node[4:], le.Uint32(node[4:])-size)
		})
	}},
	{"no security", "security-none", nil, func(e *editor) {
		e.attr(e.find("folder/a"), typeStandardInformation, 0, func(a attribute) { clear(a.value()[0x34:0x38]) })
	}},
	{"length of a reparse point", "reparse-damaged", nil, func(e *editor) {
		e.attr(e.find("pointer"), typeReparsePoint, 0, func(a attribute) { a.value()[4] = 0xff })
	}},
	{"end of a reparse point", "reparse-length", nil, func(e *editor) {
		e.attr(e.find("pointer"), typeReparsePoint, 0, func(a attribute) { a.value()[4]-- })
	}},
	{"mount point on a file", "reparse-kind", []Code{"entry-tag", "reparse-index-missing", "reparse-index-dangling"}, func(e *editor) {
		e.attr(e.find("pointer"), typeReparsePoint, 0, func(a attribute) { le.PutUint32(a.value(), winfile.TagMountPoint) })
	}},
	{"provider of a pointer", "wof-pointer", nil, func(e *editor) {
		e.attr(e.find("folder/中文"), typeReparsePoint, 0, func(a attribute) { a.value()[12] = 9 })
	}},
	{"pointer with data", "wof-data", []Code{"entry-stale"}, func(e *editor) {
		first := e.v.Clusters - 100
		e.attr(e.find("folder/中文"), typeData, 0, func(a attribute) {
			put64(a[0x40:], 4096)
			copy(a.mappingPairs(), appendRuns(nil, run{hole, 31}, run{LCN(first), 1}))
		})
		e.use(first, 1)
	}},
	{"compact file without chunks", "wof-chunks", nil, func(e *editor) {
		e.attr(e.find("folder/中文"), typeReparsePoint, 0, func(a attribute) {
			a[0x10] = 8 + wofFileSize
			v := a.value()
			v[4], v[12], v[16], v[20] = wofFileSize, wofProviderFile, 1, 0
		})
	}},
	{"object id of two files", "object-twice", nil, func(e *editor) { e.insert(e.find("folder/a"), e.copyOf(e.find("object id"), typeObjectID)) }},
	{"quota of another version", "quota-entry", nil, func(e *editor) {
		e.attr(recQuota, typeIndexRoot, 1, func(a attribute) { a.value()[indexRootHeader+0x14]++ })
	}},
}

// makeResident turns a plain attribute into a resident one of 32 bytes.
func makeResident(a attribute) {
	a[8] = 0
	clear(a[0x10:])
	le.PutUint32(a[0x10:], 32)
	le.PutUint16(a[0x14:], residentHeader)
}

// setSize sets the size and the valid size.
func setSize(a attribute, n int64) {
	put64(a[0x30:], n)
	put64(a[0x38:], n)
}

// remove takes the first attribute of a type out of a record.
func (e *editor) remove(n int64, typ attrType) {
	e.attr(n, typ, 0, func(a attribute) { a[0] = 0xff }) // to be found again
	e.record(n, func(r fileRecord) {
		for off := int(r.firstAttr()); ; off += int(le.Uint32(r[off+4:])) {
			if r[off] != 0xff {
				continue
			}
			size := int(le.Uint32(r[off+4:]))
			copy(r[off:], r[off+size:r.used()])
			le.PutUint32(r[0x18:], r.used()-uint32(size))
			return
		}
	})
}

// insert puts an attribute into a record behind those of lower types.
func (e *editor) insert(n int64, a attribute) {
	a = bytes.Clone(a)
	e.record(n, func(r fileRecord) {
		list, err := r.appendAttrs(nil, n)
		if err != nil {
			e.t.Fatal(err)
		}
		at := int(r.used()) - 8
		for _, b := range list {
			if b.typ() > a.typ() {
				at = b.off
				break
			}
		}
		le.PutUint16(a[0xe:], r.nextInstance())
		le.PutUint16(r[0x28:], r.nextInstance()+1)
		copy(r[at+len(a):], r[at:r.used()])
		copy(r[at:], a)
		le.PutUint32(r[0x18:], r.used()+uint32(len(a)))
	})
}

// copyOf is the first attribute of a type.
func (e *editor) copyOf(n int64, typ attrType) (a attribute) {
	e.attr(n, typ, 0, func(b attribute) { a = bytes.Clone(b) })
	return a
}

// rename gives a file in "folder" another name of one character, in its record and in the index.
func (e *editor) rename(n int64, entry int, name byte, namespace byte) {
	e.attr(n, typeFileName, 0, func(a attribute) { a.value()[fileNameSize], a.value()[0x41] = name, namespace })
	e.attr(e.find("folder"), typeIndexRoot, 0, func(a attribute) {
		list, err := nodeEntries(a.value()[16:])
		if err != nil {
			e.t.Fatal(err)
		}
		list[entry].key()[fileNameSize], list[entry].key()[0x41] = name, namespace
	})
}

// use marks clusters in $Bitmap.
func (e *editor) use(first, clusters int64) {
	markBits(e.at(recBitmap, typeData, "", 0), first, first+clusters)
}

// extension is the first record that continues another.
func (e *editor) extension(n int64) int64 {
	_, list, err := e.v.baseAttrs(n)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, a := range list {
		if a.holder != n {
			return a.holder
		}
	}
	e.t.Fatalf("record %d has no extension", n)
	return 0
}

// restart writes a restart page into the log: of a volume that is in use or not, and of a log of size bytes.
func (e *editor) restart(client uint16, size int64) {
	page := e.at(recLogFile, typeData, "", 0)[:logPageSize]
	clear(page)
	copy(page, "RSTR")
	const usa, area = 0x1e, 0x30
	le.PutUint16(page[4:], usa)
	le.PutUint16(page[6:], logPageSize/sectorStride+1)
	le.PutUint32(page[0x10:], logPageSize)
	le.PutUint32(page[0x14:], logPageSize)
	le.PutUint16(page[restartAreaOffset:], area)
	le.PutUint16(page[0x1a:], 1)
	le.PutUint16(page[0x1c:], 1)
	le.PutUint16(page[area+restartInUse:], client)
	put64(page[area+0x18:], size)
	protect(page, 1)
}

// logSize is the size of $LogFile.
func (e *editor) logSize() int64 {
	s, err := e.v.openNamed(recLogFile, typeData, "")
	if err != nil {
		e.t.Fatal(err)
	}
	return s.size
}

// soundVolume has what corruptions change.
func soundVolume(t testing.TB) []byte {
	return sampleVolume(t, 1000, &BuildOptions{Size: 24 << 20, Backing: func(info *winfile.Info) []byte {
		if info.Size() != 70000 {
			return nil
		}
		return pointerTo(info)
	}})
}

func TestCheckFindsCorruption(t *testing.T) {
	sound := soundVolume(t)
	for _, p := range problemsOf(t, openBytes(t, sound)) {
		t.Errorf("before: %v", p)
	}
	for _, tt := range corruptions {
		t.Run(tt.name, func(t *testing.T) {
			e := newEditor(t, sound)
			tt.do(e)
			found := make(map[Code]bool)
			problems := problemsOf(t, openBytes(t, e.b))
			for _, p := range problems {
				found[p.Code] = true
				if p.Code != tt.want && !slices.Contains(tt.also, p.Code) {
					t.Errorf("%v", p)
				}
			}
			for _, code := range append(tt.also, tt.want) {
				if !found[code] {
					t.Errorf("found %v, want a %s", problems, code)
				}
			}
		})
	}
}

func TestCheckKeepsErrorsAmongNotices(t *testing.T) {
	c := newCheck(context.Background(), openBytes(t, sampleVolume(t, 10, nil)), nil)
	for i := range int64(maxProblems + 3) {
		c.report("entry-stale", ofRecord(i), "stale", "")
	}
	c.report("runs-sizes", ofRecord(1), "wrong", "")
	list := c.result.Problems
	if n := len(list); n != maxProblems+1 || list[n-1].Severity != SeverityError {
		t.Errorf("%d problems, the last %v", n, list[n-1])
	}
	if n := c.result.Counts["entry-stale"]; n != maxProblems+3 {
		t.Errorf("%d counted, want %d", n, maxProblems+3)
	}
}

// TestEveryCodeIsFound holds that each rule has a corruption that shows it.
func TestEveryCodeIsFound(t *testing.T) {
	shown := map[Code]bool{
		"too-many":      true, // TestCheckKeepsErrorsAmongNotices
		"extent-header": true, // TestExtentHeaders
	}
	for _, tt := range corruptions {
		for _, code := range append(tt.also, tt.want) {
			shown[code] = true
		}
	}
	for _, r := range Codes() {
		if !shown[r.Code] {
			t.Errorf("no corruption shows %s", r.Code)
		}
		delete(shown, r.Code)
		if r.Means == "" || r.Code == "" {
			t.Errorf("rule %+v", r)
		}
	}
	for code := range shown {
		t.Errorf("%s is no rule", code)
	}
}

func TestExtentHeaders(t *testing.T) {
	c := newCheck(context.Background(), openBytes(t, sampleVolume(t, 10, nil)), nil)
	extent := func(vcn VCN, unit byte) fileAttr {
		a := make(attribute, nonResidentHeader)
		le.PutUint32(a, uint32(typeData))
		a[8], a[0x22] = 1, unit
		put64(a[0x10:], int64(vcn))
		return fileAttr{a, 0x38, 70}
	}
	c.extentRecords(70, extent(0, 4), []fileAttr{extent(16, 0), extent(32, 4)})
	if got := c.result.Counts; len(got) != 1 || got["extent-header"] != 1 {
		t.Errorf("found %v, want one extent-header", got)
	}
}
