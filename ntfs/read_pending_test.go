package ntfs

import (
	"bytes"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// logBuilder writes a log as the driver does. It shares nothing with the reader but the layout.
type logBuilder struct {
	b       []byte // the whole file
	seqBits uint
	first   int // offset of the first page
	at      int // of the next record
	round   uint64
	last    uint64
	pages   map[int]bool
}

const (
	testLogPage = 4096
	testLogData = 0x40
)

func newLogBuilder(size, start int, major uint16) *logBuilder {
	l := &logBuilder{b: bytes.Repeat([]byte{0xff}, size), round: 3, pages: make(map[int]bool), first: 4 * testLogPage}
	if major >= 2 {
		l.first = 0x22 * testLogPage
	}
	l.seqBits = 67 - uint(bits.Len(uint(size)))
	l.at = l.first + start*testLogPage + testLogData
	return l
}

func (l *logBuilder) next() {
	page := l.at &^ (testLogPage - 1)
	if l.at == page { // a full page ends where the next one begins
		page -= testLogPage
	}
	if page += testLogPage; page >= len(l.b) {
		page = l.first
		l.round++
	}
	l.at = page + testLogData
}

func (l *logBuilder) touch() []byte {
	page := (l.at - testLogData) &^ (testLogPage - 1)
	if !l.pages[page] {
		l.pages[page] = true
		clear(l.b[page : page+testLogPage])
	}
	return l.b[page : page+testLogPage]
}

// add writes a record and returns its LSN.
func (l *logBuilder) add(typ, transaction uint32, data []byte) uint64 {
	if l.at%testLogPage == 0 || testLogPage-l.at%testLogPage < 0x30 {
		l.next()
	}
	lsn := l.round<<(64-l.seqBits) | uint64(l.at)>>3
	h := make([]byte, 0x30)
	le.PutUint64(h, lsn)
	le.PutUint64(h[8:], l.last)
	le.PutUint64(h[0x10:], l.last)
	le.PutUint32(h[0x18:], uint32(len(data)))
	le.PutUint32(h[0x20:], typ)
	le.PutUint32(h[0x24:], transaction)
	if l.at%testLogPage+0x30+len(data) > testLogPage {
		h[0x28] = 1 // goes on in the next page
	}
	l.last = lsn
	for rest := append(h, data...); ; {
		page := l.touch()
		n := copy(page[l.at%testLogPage:], rest)
		l.at += (n + 7) &^ 7
		rest = rest[n:]
		if len(rest) == 0 {
			le.PutUint64(page[0x20:], lsn) // last record that ends here
			le.PutUint16(page[0x18:], uint16(l.at&(testLogPage-1)))
			page[0x10] = 1
		}
		le.PutUint64(page[8:], lsn)
		if len(rest) == 0 {
			return lsn
		}
		l.next()
	}
}

// op makes the client's part of a record.
func op(redo, undo, target, recordOffset, attrOffset, clusterOffset uint16, vcn int64, redoData, undoData []byte) []byte {
	b := make([]byte, 0x28)
	for i, v := range []uint16{redo, undo, 0x28, uint16(len(redoData)), uint16(0x28 + (len(redoData)+7)&^7), uint16(len(undoData)), target, 1,
		recordOffset, attrOffset, clusterOffset} {
		le.PutUint16(b[2*i:], v)
	}
	put64(b[0x18:], vcn)
	b = append(b, redoData...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	b = append(b, undoData...)
	return append(b, make([]byte, -len(b)&7)...)
}

func openEntry(ref fileRef, typ attrType) []byte {
	e := make([]byte, 0x28)
	le.PutUint32(e, 0xffffffff)
	le.PutUint32(e[8:], uint32(typ))
	le.PutUint64(e[0x10:], uint64(ref))
	return e
}

func logTable(entries ...[]byte) []byte {
	b := make([]byte, 0x18)
	le.PutUint16(b, uint16(len(entries[0])))
	le.PutUint16(b[2:], uint16(len(entries)))
	le.PutUint16(b[4:], uint16(len(entries)))
	return append(b, slices.Concat(entries...)...)
}

// finish protects the pages and writes the restart pages. The page named by torn is only in the place for copies.
func (l *logBuilder) finish(restart uint64, major uint16, torn int) []byte {
	for page := range l.pages {
		b := l.b[page : page+testLogPage]
		copy(b, "RCRD")
		b[4], b[6], b[0x14], b[0x16] = 0x28, testLogPage/sectorStride+1, 1, 1
		if page == torn {
			c := l.b[2*testLogPage : 3*testLogPage]
			copy(c, b)
			put64(c[8:], int64(page))
			protect(c, 7)
		}
		protect(b, 7)
		if page == torn {
			b[1023]++
		}
	}
	for i := range 2 {
		b := l.b[i*testLogPage : (i+1)*testLogPage]
		clear(b)
		copy(b, "RSTR")
		b[4], b[6], b[0x18], b[0x1a], b[0x1c] = 0x1e, testLogPage/sectorStride+1, 0x30, byte(2-major), byte(major)
		le.PutUint32(b[0x10:], testLogPage)
		le.PutUint32(b[0x14:], testLogPage)
		area := b[0x30:]
		put64(area, int64(l.last))
		area[8], area[0xa], area[0xb] = 1, 0xff, 0xff
		le.PutUint32(area[0x10:], uint32(l.seqBits))
		area[0x14], area[0x16] = 0xe0, 0x40
		put64(area[0x18:], int64(len(l.b)))
		area[0x24], area[0x26] = 0x30, testLogData
		client := area[0x40:]
		put64(client, int64(restart))
		put64(client[8:], int64(restart))
		for _, off := range []int{0x10, 0x11, 0x12, 0x13} {
			client[off] = 0xff
		}
		client[0x1c] = 8
		copy(client[0x20:], "N\x00T\x00F\x00S\x00")
		protect(b, 9)
	}
	return l.b
}

// pendingVolume is a volume whose log has changes, and the ones that are to be found.
func pendingVolume(t testing.TB, start int, major uint16, tear bool) (b []byte, want []LogChange) {
	e := newEditor(t, sampleVolume(t, 400, nil))
	s, err := e.v.openNamed(recLogFile, typeData, "")
	if err != nil {
		t.Fatal(err)
	}
	log := e.inStream(s, 0)[:s.size]
	l := newLogBuilder(len(log), start, major)
	a, many, ea := e.find("folder/a"), e.find("many"), e.find("ea")
	at := func(n int64) (int64, uint16) { // VCN and 512 bytes in it
		return n * 1024 / 4096, uint16(n * 1024 % 4096 / 512)
	}
	va, ca := at(a)
	ve, ce := at(ea)
	mft := openEntry(makeRef(recMFT, 1), typeData)
	names := []byte{0x40, 0, 8, 0, '$', 0, 'I', 0, '3', 0, '0', 0, 0, 0, 0, 0}
	note := func(c LogChange, lsn uint64) { c.LSN = lsn; want = append(want, c) }
	const mftAt, indexAt, bitmapAt = 0x18, 0x40, 0x68

	old := l.add(logClientRecord, 8, op(7, 7, mftAt, 0x38, 0x18, ca, va, []byte("created."), []byte("c.......")))
	l.add(logClientRecord, 8, op(7, 7, mftAt, 0x38, 0x20, ca, va+9, []byte("clean..."), []byte("c......."))) // not on a dirty page
	l.add(logClientRecord, 8, op(opForget, opCompensation, mftAt, 0, 0, 0, 0, nil, nil))
	unfinished := l.add(logClientRecord, 0x60, op(7, 7, mftAt, 0x38, 0x18, ce, ve, []byte("on disk."), []byte("o.......")))
	table := l.add(logClientRecord, 0, op(0x1d, 0, 0, 0, 0, 0, 0, logTable(mft, openEntry(makeRef(uint64(many), 1), typeIndexAllocation)), nil))
	nameTable := l.add(logClientRecord, 0, op(0x1e, 0, 0, 0, 0, 0, 0, names, nil))
	page := make([]byte, 0x28)
	for off, v := range map[int]uint32{0: 0xffffffff, 4: mftAt, 8: 4096, 12: 1, 16: uint32(va)} {
		le.PutUint32(page[off:], v)
	}
	put64(page[0x18:], int64(old))
	dirty := l.add(logClientRecord, 0, op(0x1f, 0, 0, 0, 0, 0, 0, logTable(page), nil))
	transaction := make([]byte, 0x28)
	copy(transaction, "\xff\xff\xff\xff")
	put64(transaction[8:], int64(unfinished))
	transactions := l.add(logClientRecord, 0, op(0x20, 0, 0, 0, 0, 0, 0, logTable(transaction), nil))
	checkpoint := make([]byte, 0x40)
	le.PutUint32(checkpoint, 1)
	for i, v := range []uint64{dirty, table, nameTable, dirty, transactions} {
		le.PutUint64(checkpoint[8+8*i:], v)
	}
	for i, v := range []uint32{0x18 + 2*0x28, uint32(len(names)), 0x18 + 0x28, 0x18 + 0x28} {
		le.PutUint32(checkpoint[0x30+4*i:], v)
	}
	restart := l.add(logClientRestart, 0, checkpoint)
	note(LogChange{Transaction: 8, Operation: "UpdateResidentValue", Record: a, Attribute: "$STANDARD_INFORMATION", Offset: 0x50, Length: 8, Committed: true}, old)
	note(LogChange{Transaction: 0x60, Operation: "UpdateResidentValue", Record: ea, Attribute: "$STANDARD_INFORMATION", Offset: 0x50, Length: 8, Reached: true}, unfinished)

	n := l.add(logClientRecord, 0x18, op(9, 9, mftAt, 0x38, 0x40, ce, ve, []byte{0x11, 1, 2, 0}, []byte{0}))
	note(LogChange{Transaction: 0x18, Operation: "UpdateMappingPairs", Record: ea, Attribute: "$STANDARD_INFORMATION", Offset: 0x78, Length: 4}, n)
	n = l.add(logClientRecord, 0x30, op(5, 6, mftAt, 0x98, 0, ca, va, append([]byte{0x80, 0, 0, 0, 0x18}, make([]byte, 19)...), nil))
	note(LogChange{Transaction: 0x30, Operation: "CreateAttribute", Record: a, Attribute: "$DATA", Offset: 0x98, Length: 24, Committed: true}, n)
	n = l.add(logClientRecord, 0x30, op(0xe, 0xf, indexAt, 0x40, 0, 0, 1, make([]byte, 0x60), nil))
	note(LogChange{Transaction: 0x30, Operation: "AddIndexEntryAllocation", Record: many, Attribute: `$INDEX_ALLOCATION "$I30"`, Offset: 4096 + 0x40, Length: 0x60, Committed: true}, n)
	l.add(logClientRecord, 0x30, op(0x1c, 0, bitmapAt, 0, 0, 0, 0, openEntry(makeRef(recBitmap, recBitmap), typeData), nil))
	n = l.add(logClientRecord, 0x30, op(0x15, 0x16, bitmapAt, 0, 0, 0, 0, []byte{5, 0, 0, 0, 9, 0, 0, 0}, []byte{5, 0, 0, 0, 9, 0, 0, 0}))
	note(LogChange{Transaction: 0x30, Operation: "SetBitsInNonresidentBitMap", Record: recBitmap, Attribute: "$DATA", Length: 8, Committed: true}, n)
	for i := range 300 { // some pages more, records that go on in the next page among them
		n = l.add(logClientRecord, 0x30, op(7, 7, mftAt, 0x38, 8, ca, va, bytes.Repeat([]byte{byte(i)}, 8+i%90*8), make([]byte, 8)))
		note(LogChange{Transaction: 0x30, Operation: "UpdateResidentValue", Record: a, Attribute: "$STANDARD_INFORMATION", Offset: 0x40, Length: 8 + i%90*8, Committed: true}, n)
	}
	l.add(logClientRecord, 0x30, op(opCommit, opCompensation, mftAt, 0, 0, 0, 0, nil, nil))
	n = l.add(logClientRecord, 0x48, op(3, 2, mftAt, 0, 0, ca, va, nil, nil))
	note(LogChange{Transaction: 0x48, Operation: "DeallocateFileRecordSegment", Record: a, Attribute: ""}, n)
	torn := 0
	if tear {
		torn = (l.at - testLogData) &^ (testLogPage - 1)
	}
	copy(log, l.finish(restart, major, torn))
	return e.b, want
}

func TestPendingLog(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start int // page
		major uint16
		tear  bool
	}{
		{"version 1.1", 0, 1, false},
		{"last page in its copy", 0, 1, true},
		{"round the end of the log", -1, 1, false},
		{"version 2.0", 0, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.start < 0 {
				s, err := openBytes(t, sampleVolume(t, 400, nil)).openNamed(recLogFile, typeData, "")
				if err != nil {
					t.Fatal(err)
				}
				tt.start = int(s.size)/testLogPage - 4 - 8
			}
			b, want := pendingVolume(t, tt.start, tt.major, tt.tear)
			v := openBytes(t, b)
			got, err := v.PendingLog()
			if err != nil {
				t.Fatal(err)
			}
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("%d changes, want %d; change %d is\n%+v, want\n%+v", len(got), len(want), i, got[min(i, len(got)-1):][:1], want[min(i, len(want)-1):][:1])
				}
			}
			w := strings.Join(v.Warnings(), "\n")
			for _, part := range []string{"307 changes of 4 records", `$LogFile: "a": record`, `AddIndexEntryAllocation $INDEX_ALLOCATION "$I30"`} {
				if !strings.Contains(w, part) {
					t.Errorf("warnings %q, want %q", w, part)
				}
			}
			// What the volume shows is not pending.
			e := newEditor(t, b)
			e.record(e.find("folder/a"), func(r fileRecord) { put64(r[8:], int64(want[100].LSN)) })
			e.index(e.find("many"), "$I30", 1, func(b []byte) { put64(b[8:], int64(want[4].LSN)) })
			got, err = openBytes(t, e.b).PendingLog()
			if want := len(want) - 98; err != nil || len(got) != want { // the bitmap cannot show it
				t.Errorf("%d changes left, want %d: %v", len(got), want, err)
			}
		})
	}
}

// TestPendingLogOfOthers lets ntfsrecover read the log.
func TestPendingLogOfOthers(t *testing.T) {
	b, want := pendingVolume(t, 0, 1, false)
	img := filepath.Join(t.TempDir(), "volume")
	if err := os.WriteFile(img, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := reftool.Try(t, "ntfsrecover", "-n", "-f", "-v", img) // fails where the log wants changes
	var lsn uint64
	theirs := make(map[uint64]LogChange)
	for line := range strings.Lines(out) {
		var n uint64
		var name string
		switch f := strings.Fields(line); {
		case len(f) < 2:
		case f[0] == "this_lsn":
			lsn, _ = strconv.ParseUint(f[1], 16, 64)
		case f[0] == "redo_operation" && len(f) > 2:
			theirs[lsn] = LogChange{Operation: f[2], Record: -1}
		case f[0] == "redo_length":
			n, _ = strconv.ParseUint(f[1], 16, 16)
			c := theirs[lsn]
			c.Length = int(n)
			theirs[lsn] = c
		case f[0] == "target_vcn":
			if _, err := fmt.Sscanf(line, " target_vcn %x (inode %d)", &name, &n); err == nil {
				c := theirs[lsn]
				c.Record = int64(n)
				theirs[lsn] = c
			}
		}
	}
	missing := 0
	for _, w := range want {
		c, ok := theirs[w.LSN]
		if !ok {
			missing++ // it goes on in the next page: few of those are shown
		} else if !strings.EqualFold(c.Operation, w.Operation) || c.Length != w.Length || c.Record >= 0 && c.Record != w.Record {
			t.Errorf("%+v, ntfsrecover has %+v", w, c)
		}
	}
	if missing > len(want)/10 {
		t.Errorf("ntfsrecover does not show %d of %d changes\n%s", missing, len(want), out)
	}
}

// FuzzPendingLog changes a log: each 12 bytes of p are a place in it (4 bytes) and 8 bytes to put there, fixups kept whole.
func FuzzPendingLog(f *testing.F) {
	sound, _ := pendingVolume(f, 0, 1, false)
	v := openBytes(f, sound)
	s, err := v.openNamed(recLogFile, typeData, "")
	if err != nil {
		f.Fatal(err)
	}
	start := int64(s.extents[0].LCN) * int64(v.ClusterSize)
	f.Add([]byte{})
	for _, off := range []uint32{0x40, 0x46, 0x54, 0x56, 0x70, 0x4040, 0x4058, 0x4070, 0x4088, 0x4100, 0x4180, 0x4200, 0x4300} {
		f.Add(le.AppendUint64(le.AppendUint32(nil, off), 0x0102030405060708))
		f.Add(le.AppendUint64(le.AppendUint32(nil, off), 0xffffffffffffffff))
		f.Add(le.AppendUint64(le.AppendUint32(nil, off), 0))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		b := bytes.Clone(sound)
		log := b[start:][:s.size]
		for ; len(p) >= 12; p = p[12:] {
			off := int(le.Uint32(p)) % (len(log) - 8)
			page := log[off&^(testLogPage-1):][:testLogPage]
			magic := string(page[:4])
			fixed := (magic == "RSTR" || magic == "RCRD") && unprotect(page, magic) == nil
			copy(log[off:off+8], p[4:])
			if fixed && le.Uint16(page[4:]) <= 0x100 && le.Uint16(page[6:]) == testLogPage/sectorStride+1 {
				protect(page, 3)
			}
		}
		v, err := NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err) // the log is no reason not to read a volume
		}
		changes, _ := v.PendingLog()
		if int64(len(changes)) > s.size/(logRecordHeader+logClientHeader) {
			t.Errorf("%d changes in a log of %d bytes", len(changes), s.size)
		}
		for _, c := range changes {
			if c.Operation == "" || c.Record < -1 || c.Length < 0 || winfile.ValidName(c.String()) != true {
				t.Errorf("%+v", c)
			}
		}
	})
}
