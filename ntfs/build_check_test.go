package ntfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"testing"

	"husk/winfile"
)

// volumeCheck is a check of a volume that shares nothing with the builder but format.go: it reads every record, follows every run list, walks
// every index and compares all facts that stand in two places.
type volumeCheck struct {
	t       testing.TB
	img     []byte
	g       geometry
	records []fileRecord // fixups undone; nil if not in use
	attrs   map[uint64][]checkedAttr
	owner   []int32           // record that owns a cluster, or -1
	sds     map[uint32][]byte // by security id
	births  map[string]string // by object id: birth volume, birth object, domain
}

type checkedAttr struct {
	attribute
	name   string
	record uint64 // that it stands in
	runs   []run
}

func checkImage(t testing.TB, name string) *volumeCheck {
	t.Helper()
	img, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c := &volumeCheck{t: t, img: img, attrs: make(map[uint64][]checkedAttr), sds: make(map[uint32][]byte), births: make(map[string]string)}
	c.checkBoot()
	c.readRecords()
	for n := range c.records {
		c.checkRecord(uint64(n))
	}
	c.gatherLists()
	c.checkClusters()
	c.checkSecure()
	for n, r := range c.records {
		if r != nil && r.base() == 0 {
			c.checkFile(uint64(n))
		}
	}
	c.checkNames()
	c.checkViews()
	c.checkSystem()
	return c
}

func (c *volumeCheck) errorf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf(format, args...)
}

func (c *volumeCheck) checkBoot() {
	var b bootSector
	if _, err := binary.Decode(c.img, le, &b); err != nil {
		c.t.Fatal(err)
	}
	g, err := b.geometry()
	if err != nil {
		c.t.Fatal(err)
	}
	c.g = g
	if b.Signature != [2]byte{0x55, 0xaa} {
		c.errorf("boot signature %x", b.Signature)
	}
	if want := int64(len(c.img)/g.sectorSize) - 1; g.sectors != want {
		c.errorf("%d sectors, want %d", g.sectors, want)
	}
	last := g.sectors * int64(g.sectorSize)
	if !bytes.Equal(c.img[last:last+512], c.img[:512]) {
		c.errorf("the last sector is no copy of the first")
	}
	c.owner = make([]int32, g.clusters)
	for i := range c.owner {
		c.owner[i] = -1
	}
}

// readRecords reads the $MFT through the runs in its first record.
func (c *volumeCheck) readRecords() {
	off := int64(c.g.mft) * int64(c.g.clusterSize)
	first := fileRecord(bytes.Clone(c.img[off : off+int64(c.g.recordSize)]))
	if err := unprotect(first, "FILE"); err != nil {
		c.t.Fatal(err)
	}
	var data, bitmap []byte
	for _, a := range c.parse(0, first) {
		switch {
		case a.typ() == typeData:
			data = c.value(a)
		case a.typ() == typeBitmap:
			bitmap = c.value(a)
			if !a.nonResident() {
				c.errorf("$MFT:$BITMAP is resident")
			}
		}
	}
	n := len(data) / c.g.recordSize
	c.records = make([]fileRecord, n)
	if len(bitmap)%8 != 0 || len(bitmap)*8 < n {
		c.errorf("$MFT:$BITMAP of %d bytes for %d records", len(bitmap), n)
	}
	for i := range len(bitmap) * 8 {
		set := bitmap[i/8]>>(i%8)&1 == 1
		if i >= n {
			if set {
				c.errorf("record bit %d is set, and there are %d records", i, n)
			}
			continue
		}
		r := fileRecord(data[i*c.g.recordSize : (i+1)*c.g.recordSize])
		if err := unprotect(r, "FILE"); err != nil {
			c.errorf("record %d: %v", i, err)
			continue
		}
		if set != (r.flags()&recordInUse != 0) {
			c.errorf("record %d: bit %t, flags %#x", i, set, r.flags())
		}
		if set {
			c.records[i] = r
		} else if r.sequence() == 0 || le.Uint32(r[0x2c:]) != uint32(i) || r.used() != uint32(r.firstAttr())+8 {
			c.errorf("free record %d: sequence %d, number %d, used %d", i, r.sequence(), le.Uint32(r[0x2c:]), r.used())
		}
	}
	mirror := c.img[int64(c.g.mirror)*int64(c.g.clusterSize):]
	want := c.img[off:]
	if size := max(4*c.g.recordSize, c.g.clusterSize); !bytes.Equal(mirror[:size], want[:size]) {
		c.errorf("$MFTMirr differs from $MFT")
	}
}

// parse splits a record into attributes and checks each by itself.
func (c *volumeCheck) parse(n uint64, r fileRecord) []checkedAttr {
	var list []checkedAttr
	off := int(r.firstAttr())
	for {
		if off+8 > len(r) {
			c.t.Fatalf("record %d: attributes run out at %#x", n, off)
		}
		a := attribute(r[off:])
		if a.typ() == typeEnd {
			break
		}
		size := int(a.length())
		if size%8 != 0 || size < residentHeader || off+size > len(r) {
			c.t.Fatalf("record %d: %v at %#x of %d bytes", n, a.typ(), off, size)
		}
		a = a[:size:size]
		x := checkedAttr{attribute: a, record: n}
		if k := a.nameLength(); k > 0 {
			x.name = winfile.NameFromUTF16LE(a[a.nameOffset() : int(a.nameOffset())+2*k])
		}
		if a.nonResident() {
			x.runs = c.checkNonResident(n, x)
		} else if int(a.valueOffset())%8 != 0 || int(a.valueOffset())+int(a.valueLength()) > size {
			c.errorf("record %d: %v: value of %d at %d in %d", n, a.typ(), a.valueLength(), a.valueOffset(), size)
		}
		if indexed := !a.nonResident() && a[0x16] == 1; indexed != (a.typ() == typeFileName) {
			c.errorf("record %d: %v: indexed is %t", n, a.typ(), indexed)
		}
		if len(list) > 0 {
			p := list[len(list)-1]
			before := p.typ() < a.typ() || p.typ() == a.typ() && (a.typ() == typeFileName || winfile.CompareFold(winfile.UTF16FromName(p.name), winfile.UTF16FromName(x.name)) < 0)
			if !before {
				c.errorf("record %d: %v %q after %v %q", n, a.typ(), x.name, p.typ(), p.name)
			}
		}
		for _, p := range list {
			if p.instance() == a.instance() {
				c.errorf("record %d: instance %d twice", n, a.instance())
			}
		}
		if a.instance() >= r.nextInstance() {
			c.errorf("record %d: instance %d, next is %d", n, a.instance(), r.nextInstance())
		}
		list = append(list, x)
		off += size
	}
	if int(r.used()) != off+8 || r.used()%8 != 0 || int(r.allocated()) != len(r) || le.Uint32(r[0x2c:]) != uint32(n) {
		c.errorf("record %d: used %d, want %d; allocated %d; number %d", n, r.used(), off+8, r.allocated(), le.Uint32(r[0x2c:]))
	}
	return list
}

func (c *volumeCheck) checkNonResident(n uint64, x checkedAttr) []run {
	a, cs := x.attribute, int64(c.g.clusterSize)
	clusters := int64(a.highestVCN()) + 1
	if a.lowestVCN() != 0 || a.runsOffset()%8 != 0 {
		c.errorf("record %d: %v: lowest VCN %d, runs at %d", n, a.typ(), a.lowestVCN(), a.runsOffset())
	}
	runs, err := decodeRuns(nil, a[a.runsOffset():], clusters, c.g.clusters)
	if err != nil {
		c.t.Fatalf("record %d: %v: %v", n, a.typ(), err)
	}
	if a.allocatedSize() != clusters*cs || a.dataSize() > a.allocatedSize() || a.initializedSize() > a.dataSize() {
		c.errorf("record %d: %v: %d clusters, allocated %d, size %d, initialized %d", n, a.typ(), clusters, a.allocatedSize(), a.dataSize(), a.initializedSize())
	}
	var real int64
	for _, r := range runs {
		if r.lcn != hole {
			real += r.clusters
		}
	}
	sparse := a.flags()&attrFlagSparse != 0
	switch {
	case sparse && (a.totalAllocated() != real*cs || a.allocatedSize()%max(min(16*cs, 64<<10), cs) != 0):
		c.errorf("record %d: sparse %v: allocated %d, total %d, real %d", n, a.typ(), a.allocatedSize(), a.totalAllocated(), real*cs)
	case sparse && cs <= 4096 && a.compressionUnit() != 4:
		c.errorf("record %d: sparse %v: unit %d", n, a.typ(), a.compressionUnit())
	case !sparse && a.compressionUnit() != 0:
		c.errorf("record %d: %v: unit %d", n, a.typ(), a.compressionUnit())
	case !sparse && real != clusters && x.name != "$Bad":
		c.errorf("record %d: %v has holes and is not sparse", n, a.typ())
	}
	return runs
}

func (c *volumeCheck) checkRecord(n uint64) {
	r := c.records[n]
	if r == nil {
		return
	}
	want := uint16(1)
	if n > 0 && n < 16 {
		want = uint16(n)
	}
	if r.sequence() != want {
		c.errorf("record %d: sequence %d, want %d", n, r.sequence(), want)
	}
	list := c.parse(n, r)
	c.attrs[n] = list
	for _, a := range list {
		for _, run := range a.runs {
			if run.lcn == hole {
				continue
			}
			for i := range run.clusters {
				if o := &c.owner[int64(run.lcn)+i]; *o >= 0 {
					c.t.Fatalf("cluster %d belongs to records %d and %d", int64(run.lcn)+i, *o, n)
				} else {
					*o = int32(n)
				}
			}
		}
	}
}

// value is the whole value of an attribute.
func (c *volumeCheck) value(a checkedAttr) []byte {
	if !a.nonResident() {
		return a.attribute[a.valueOffset() : int(a.valueOffset())+int(a.valueLength())]
	}
	if a.name == "$Bad" {
		return nil
	}
	var b []byte
	for _, r := range a.runs {
		n := r.clusters * int64(c.g.clusterSize)
		if r.lcn == hole {
			b = append(b, make([]byte, n)...)
		} else {
			off := int64(r.lcn) * int64(c.g.clusterSize)
			b = append(b, c.img[off:off+n]...)
		}
	}
	if tail := b[a.dataSize():]; len(bytes.Trim(tail, "\x00")) > 0 && a.flags() == 0 {
		c.errorf("record %d: %v: the slack is not zero", a.record, a.typ())
	}
	return b[:a.dataSize()]
}

// gatherLists moves the attributes of extension records to their base, by way of the attribute list.
func (c *volumeCheck) gatherLists() {
	listed := make(map[uint64]bool)
	for n, r := range c.records {
		if r == nil || r.base() != 0 {
			continue
		}
		all := c.attrs[uint64(n)]
		i := slices.IndexFunc(all, func(a checkedAttr) bool { return a.typ() == typeAttributeList })
		if i < 0 {
			continue
		}
		b := c.value(all[i])
		var got []checkedAttr
		total := len(all) - 1
		for len(b) > 0 {
			size := int(le.Uint16(b[4:]))
			typ, ref, instance := attrType(le.Uint32(b)), fileRef(le.Uint64(b[0x10:])), le.Uint16(b[0x18:])
			name := winfile.NameFromUTF16LE(b[0x1a : 0x1a+2*int(b[6])])
			b = b[size:]
			if k := len(got); k > 0 && (got[k-1].typ() > typ || got[k-1].typ() == typ && typ != typeFileName && winfile.CompareFold(winfile.UTF16FromName(got[k-1].name), winfile.UTF16FromName(name)) >= 0) {
				c.errorf("record %d: attribute list is not sorted at %v %q", n, typ, name)
			}
			from := c.records[ref.record()]
			if from == nil || from.sequence() != ref.sequence() {
				c.t.Fatalf("record %d: attribute list names record %d", n, ref.record())
			}
			if ref.record() != uint64(n) {
				if want := makeRef(uint64(n), r.sequence()); from.base() != want || from.links() != 0 {
					c.errorf("record %d: base %#x, want %#x; %d links", ref.record(), from.base(), want, from.links())
				}
				if !listed[ref.record()] {
					listed[ref.record()] = true
					total += len(c.attrs[ref.record()])
				}
			}
			j := slices.IndexFunc(c.attrs[ref.record()], func(a checkedAttr) bool { return a.instance() == instance })
			if j < 0 {
				c.t.Fatalf("record %d: attribute list names instance %d of record %d", n, instance, ref.record())
			}
			a := c.attrs[ref.record()][j]
			if a.typ() != typ || a.name != name {
				c.errorf("record %d: attribute list says %v %q, it is %v %q", n, typ, name, a.typ(), a.name)
			}
			got = append(got, a)
		}
		if len(got) != total {
			c.errorf("record %d: attribute list of %d, and there are %d attributes", n, len(got), total)
		}
		c.attrs[uint64(n)] = got
	}
	for n, r := range c.records {
		if r != nil && r.base() != 0 && !listed[uint64(n)] {
			c.errorf("record %d is an orphan of %#x", n, r.base())
		}
	}
}

func (c *volumeCheck) find(n uint64, t attrType, name string) (checkedAttr, bool) {
	for _, a := range c.attrs[n] {
		if a.typ() == t && a.name == name {
			return a, true
		}
	}
	return checkedAttr{}, false
}

func (c *volumeCheck) checkClusters() {
	a, ok := c.find(recBitmap, typeData, "")
	if !ok || !a.nonResident() {
		c.t.Fatal("$Bitmap has no non-resident data")
	}
	bits := c.value(a)
	if int64(len(bits)) != align((c.g.clusters+7)/8, 8) {
		c.errorf("$Bitmap of %d bytes for %d clusters", len(bits), c.g.clusters)
	}
	wrong := 0
	for i := range int64(len(bits)) * 8 {
		set := bits[i/8]>>(i%8)&1 == 1
		if want := i >= c.g.clusters || c.owner[i] >= 0; set != want {
			if wrong++; wrong < 5 {
				c.errorf("bit %d of $Bitmap is %t, want %t", i, set, want)
			}
		}
	}
}

// walkedEntry is one entry met on the way through an index.
type walkedEntry struct{ raw, key []byte }

// walkIndex returns the entries of an index in order and checks its nodes.
func (c *volumeCheck) walkIndex(n uint64, name string) (entries []walkedEntry, order collation) {
	root, ok := c.find(n, typeIndexRoot, name)
	if !ok {
		c.t.Fatalf("record %d has no index %q", n, name)
	}
	v := c.value(root)
	order = collation(le.Uint32(v[4:]))
	unit := vcnUnit(c.g.clusterSize, indexBlockSize)
	if le.Uint32(v[8:]) != indexBlockSize || int(v[12]) != indexBlockSize/unit {
		c.errorf("record %d: index %q: block size %d, unit %d", n, name, le.Uint32(v[8:]), v[12])
	}
	var blocks, bitmap []byte
	alloc, large := c.find(n, typeIndexAllocation, name)
	if large {
		blocks = c.value(alloc)
		b, ok := c.find(n, typeBitmap, name)
		if !ok {
			c.t.Fatalf("record %d: index %q has no bitmap", n, name)
		}
		bitmap = c.value(b)
		if len(bitmap)%8 != 0 || len(bitmap) == 0 {
			c.errorf("record %d: index %q: bitmap of %d bytes", n, name, len(bitmap))
		}
	}
	if (v[16+12]&1 == 1) != large {
		c.errorf("record %d: index %q: root flags %d, blocks %t", n, name, v[16+12], large)
	}
	seen := make(map[int]bool)
	var walk func(node []byte, isRoot bool, depth int)
	walk = func(node []byte, isRoot bool, depth int) {
		first, used, allocated := int(le.Uint32(node)), int(le.Uint32(node[4:])), int(le.Uint32(node[8:]))
		if used != len(node) && isRoot || isRoot && used != allocated || used > len(node) || !isRoot && allocated != len(node) {
			c.errorf("record %d: index %q: node of %d: used %d, allocated %d", n, name, len(node), used, allocated)
		}
		inner, keys := node[12]&1 == 1, 0
		for off := first; ; {
			e := node[off:used]
			size, flags := int(le.Uint16(e[8:])), le.Uint16(e[12:])
			if size%8 != 0 || size < 16 || size > len(e) {
				c.t.Fatalf("record %d: index %q: entry of %d bytes in %d", n, name, size, len(e))
			}
			if (flags&entrySubNode != 0) != inner {
				c.errorf("record %d: index %q: entry flags %d in a node with flags %d", n, name, flags, node[12])
			}
			if inner {
				vcn := int(le.Uint64(e[size-8:]))
				at := vcn * unit
				if at%indexBlockSize != 0 || at+indexBlockSize > len(blocks) || seen[at] || depth > 8 {
					c.t.Fatalf("record %d: index %q: child at %d of %d", n, name, at, len(blocks))
				}
				seen[at] = true
				block := bytes.Clone(blocks[at : at+indexBlockSize])
				if err := unprotect(block, "INDX"); err != nil {
					c.t.Fatalf("record %d: index %q: block at %d: %v", n, name, at, err)
				}
				if int(le.Uint64(block[0x10:])) != vcn {
					c.errorf("record %d: index %q: block %d says it is %d", n, name, vcn, le.Uint64(block[0x10:]))
				}
				walk(block[0x18:], false, depth+1)
			}
			if flags&entryLast != 0 {
				if off+size != used {
					c.errorf("record %d: index %q: last entry ends at %d of %d", n, name, off+size, used)
				}
				break
			}
			keys++
			k := walkedEntry{e[:size], e[16 : 16+int(le.Uint16(e[10:]))]}
			if len(entries) > 0 && compareKeys(order, entries[len(entries)-1].key, k.key) >= 0 {
				c.errorf("record %d: index %q: key %x after %x", n, name, k.key, entries[len(entries)-1].key)
			}
			entries = append(entries, k)
			off += size
		}
		if keys == 0 && !isRoot {
			c.errorf("record %d: index %q: node without keys", n, name)
		}
	}
	walk(v[16:], true, 0)
	for i := range len(bitmap) * 8 {
		if set := bitmap[i/8]>>(i%8)&1 == 1; set != seen[i*indexBlockSize] {
			c.errorf("record %d: index %q: bit %d is %t", n, name, i, set)
		}
	}
	if len(blocks) != len(seen)*indexBlockSize {
		c.errorf("record %d: index %q: %d bytes of blocks, %d reached", n, name, len(blocks), len(seen))
	}
	return entries, order
}

func compareKeys(order collation, a, b []byte) int {
	if order != collateFileName {
		return compareViewKeys(order, a, b)
	}
	return winfile.CompareFold(winfile.UTF16FromName(nameOfKey(a)), winfile.UTF16FromName(nameOfKey(b)))
}

func nameOfKey(b []byte) string { return winfile.NameFromUTF16LE(b[0x42 : 0x42+2*int(b[0x40])]) }

// checkFile compares what one file says about itself.
func (c *volumeCheck) checkFile(n uint64) {
	r := c.records[n]
	attributes, _ := c.stdInfo(n)
	_, isDir := c.find(n, typeIndexRoot, "$I30")
	if (r.flags()&recordDirectory != 0) != isDir {
		c.errorf("record %d: flags %#x, directory %t", n, r.flags(), isDir)
	}
	names, dos, win := 0, 0, 0
	data, hasData := c.find(n, typeData, "")
	rp, isReparse := c.find(n, typeReparsePoint, "")
	if isDir && hasData || !isDir && !hasData && n != recSecure && (n < recQuota || n >= firstUserRecord) {
		c.errorf("record %d: directory %t, data %t", n, isDir, hasData)
	}
	if isReparse != (attributes&winfile.AttrReparse != 0) {
		c.errorf("record %d: attributes %v, reparse point %t", n, attributes, isReparse)
	}
	sparse := hasData && data.flags()&attrFlagSparse != 0
	if sparse != (attributes&winfile.AttrSparse != 0) {
		c.errorf("record %d: attributes %v, sparse %t", n, attributes, sparse)
	}
	for _, a := range c.attrs[n] {
		if a.typ() != typeFileName {
			continue
		}
		names++
		v := c.value(a)
		fa := winfile.Attributes(le.Uint32(v[0x38:]))
		if (fa&fileNameDirectory != 0) != isDir || n >= firstUserRecord && fa&^fileNameDirectory != attributes {
			c.errorf("record %d: attributes %#x in the name, %#x in the file, directory %t", n, fa, attributes, isDir)
		}
		var allocated, size int64
		switch {
		case !hasData:
		case !data.nonResident():
			size = int64(data.valueLength())
			allocated = align(size, 8)
		case sparse:
			allocated, size = data.totalAllocated(), data.dataSize()
		default:
			allocated, size = data.allocatedSize(), data.dataSize()
		}
		if int64(le.Uint64(v[0x28:])) != allocated || int64(le.Uint64(v[0x30:])) != size {
			c.errorf("record %d: name says %d of %d bytes, want %d of %d", n, le.Uint64(v[0x30:]), le.Uint64(v[0x28:]), size, allocated)
		}
		if isReparse && le.Uint32(v[0x3c:]) != le.Uint32(c.value(rp)) {
			c.errorf("record %d: tag %#x in the name", n, le.Uint32(v[0x3c:]))
		}
		switch space := v[0x41]; space {
		case nameWin32:
			win++
		case nameDOS:
			dos++
		case nameWin32DOS:
			win, dos = win+1, dos+1
			if n >= firstUserRecord && !legal83(nameOfKey(v)) {
				c.errorf("record %d: %q is in the DOS namespace", n, nameOfKey(v))
			}
		}
	}
	if win != dos || dos > 1 {
		c.errorf("record %d: %d Windows and %d DOS names", n, win, dos)
	}
	if int(r.links()) != names {
		c.errorf("record %d: %d links, %d names", n, r.links(), names)
	}
	if ea, ok := c.find(n, typeEA, ""); ok {
		info, _ := c.find(n, typeEAInformation, "")
		if size := int(le.Uint32(c.value(info)[4:])); size != len(c.value(ea)) {
			c.errorf("record %d: extended attributes of %d bytes, said to be %d", n, len(c.value(ea)), size)
		}
	}
}

func (c *volumeCheck) stdInfo(n uint64) (winfile.Attributes, []byte) {
	a, ok := c.find(n, typeStandardInformation, "")
	if !ok {
		c.t.Fatalf("record %d has no $STANDARD_INFORMATION", n)
	}
	v := c.value(a)
	switch len(v) {
	case stdInfoSizeV1:
		if _, ok := c.find(n, typeSecurityDescriptor, ""); !ok {
			c.errorf("record %d has no security descriptor", n)
		}
	case stdInfoSize:
		if c.sds[le.Uint32(v[0x34:])] == nil {
			c.errorf("record %d: security id %#x is not in $SDS", n, le.Uint32(v[0x34:]))
		}
	default:
		c.errorf("record %d: $STANDARD_INFORMATION of %d bytes", n, len(v))
	}
	return winfile.Attributes(le.Uint32(v[0x20:])), v
}

// checkNames compares every $I30 with the $FILE_NAMEs of the records, both ways.
func (c *volumeCheck) checkNames() {
	inRecords := make(map[string]int) // reference and $FILE_NAME
	for n, r := range c.records {
		if r == nil || r.base() != 0 {
			continue
		}
		for _, a := range c.attrs[uint64(n)] {
			if a.typ() == typeFileName {
				inRecords[fmt.Sprintf("%x %x", uint64(makeRef(uint64(n), r.sequence())), c.value(a))]++
			}
		}
	}
	for n, r := range c.records {
		if r == nil || r.flags()&recordDirectory == 0 {
			continue
		}
		entries, order := c.walkIndex(uint64(n), "$I30")
		if order != collateFileName {
			c.errorf("record %d: $I30 has collation %#x", n, order)
		}
		for _, e := range entries {
			if parent := fileRef(le.Uint64(e.key)); parent != makeRef(uint64(n), r.sequence()) {
				c.errorf("record %d: entry %q has parent %#x", n, nameOfKey(e.key), parent)
			}
			k := fmt.Sprintf("%x %x", le.Uint64(e.raw), e.key)
			if inRecords[k]--; inRecords[k] != 0 {
				c.errorf("record %d: entry %q of record %d is not the record's", n, nameOfKey(e.key), fileRef(le.Uint64(e.raw)).record())
			}
			delete(inRecords, k)
		}
	}
	for k := range inRecords {
		c.errorf("name %s is in no directory", k)
	}
}

// checkSecure walks $SDS and compares both copies and both indexes.
func (c *volumeCheck) checkSecure() {
	a, ok := c.find(recSecure, typeData, "$SDS")
	if !ok {
		c.t.Fatal("$Secure has no $SDS")
	}
	b := c.value(a)
	headers := make(map[uint32]string)
	for off := 0; off+sdsBlock < len(b); {
		id := le.Uint32(b[off+4:])
		if id == 0 { // the rest of the block is unused
			off = off/(2*sdsBlock)*2*sdsBlock + 2*sdsBlock
			continue
		}
		size := int(le.Uint32(b[off+16:]))
		e := b[off : off+size]
		if int(le.Uint64(e[8:])) != off || le.Uint32(e) != securityHash(e[20:]) || off/sdsBlock%2 != 0 || (off+size-1)/sdsBlock != off/sdsBlock {
			c.errorf("$SDS entry %#x at %#x: offset %#x, hash %#x, %d bytes", id, off, le.Uint64(e[8:]), le.Uint32(e), size)
		}
		if !bytes.Equal(e, b[off+sdsBlock:off+sdsBlock+size]) {
			c.errorf("$SDS entry %#x differs from its mirror", id)
		}
		c.sds[id] = e[20:]
		headers[id] = string(e[:20])
		off += align(size, 16)
		if off+sdsBlock > len(b)+15 {
			c.errorf("$SDS ends at %#x, entries at %#x", len(b), off)
		}
	}
	for _, name := range []string{"$SII", "$SDH"} {
		entries, order := c.walkIndex(recSecure, name)
		if len(entries) != len(headers) {
			c.errorf("%s has %d entries, $SDS %d", name, len(entries), len(headers))
		}
		for _, e := range entries {
			id := le.Uint32(e.key)
			if order == collateSecurityHash {
				id = le.Uint32(e.key[4:])
			}
			at := int(le.Uint16(e.raw))
			if h := headers[id]; h != string(e.raw[at:at+int(le.Uint16(e.raw[2:]))]) || order == collateSecurityHash && le.Uint32(e.key) != le.Uint32([]byte(h)) {
				c.errorf("%s entry %#x differs from $SDS", name, id)
			}
		}
	}
}

// checkViews compares $R and $O with the records.
func (c *volumeCheck) checkViews() {
	tags, ids := make(map[string]bool), make(map[string]bool)
	for n, r := range c.records {
		if r == nil || r.base() != 0 {
			continue
		}
		ref := le.AppendUint64(nil, uint64(makeRef(uint64(n), r.sequence())))
		if a, ok := c.find(uint64(n), typeReparsePoint, ""); ok {
			tags[string(c.value(a)[:4])+string(ref)] = true
		}
		if a, ok := c.find(uint64(n), typeObjectID, ""); ok {
			ids[string(c.value(a))+string(ref)] = true
		}
	}
	entries, _ := c.walkIndex(recReparse, "$R")
	for _, e := range entries {
		if !tags[string(e.key)] {
			c.errorf("$R has %x", e.key)
		}
	}
	if len(entries) != len(tags) {
		c.errorf("$R has %d entries, there are %d reparse points", len(entries), len(tags))
	}
	entries, _ = c.walkIndex(recObjID, "$O")
	for _, e := range entries {
		if !ids[string(e.key)+string(e.raw[0x20:0x28])] {
			c.errorf("$O has %x", e.raw)
		}
		c.births[string(e.key)] = string(e.raw[0x28 : 0x20+0x38])
	}
	if len(entries) != len(ids) {
		c.errorf("$O has %d entries, there are %d object ids", len(entries), len(ids))
	}
	c.walkIndex(recQuota, "$O")
	c.walkIndex(recQuota, "$Q")
}

func (c *volumeCheck) checkSystem() {
	names := map[uint64]string{0: "$MFT", 1: "$MFTMirr", 2: "$LogFile", 3: "$Volume", 4: "$AttrDef", 5: ".", 6: "$Bitmap", 7: "$Boot",
		8: "$BadClus", 9: "$Secure", 10: "$UpCase", 11: "$Extend", 24: "$Quota", 25: "$ObjId", 26: "$Reparse"}
	for n, want := range names {
		if a, ok := c.find(n, typeFileName, ""); !ok || nameOfKey(c.value(a)) != want {
			c.errorf("record %d is not %s", n, want)
		}
	}
	for n, want := range map[uint64]uint16{9: 9, 11: 3, 24: 13, 25: 13, 26: 13, 5: 3, 0: 1} {
		if got := c.records[n].flags(); got != want {
			c.errorf("record %d has flags %d, want %d", n, got, want)
		}
	}
	log, _ := c.find(recLogFile, typeData, "")
	if b := c.value(log); len(bytes.Trim(b, "\xff")) != 0 || len(b) < minLogSize || len(b)%logPageSize != 0 || len(log.runs) != 1 {
		c.errorf("$LogFile of %d bytes is not empty", len(b))
	}
	bad, _ := c.find(recBadClus, typeData, "$Bad")
	if bad.dataSize() != c.g.clusters*int64(c.g.clusterSize) || bad.initializedSize() != 0 {
		c.errorf("$Bad of %d bytes", bad.dataSize())
	}
	boot, _ := c.find(recBoot, typeData, "")
	if boot.runs[0].lcn != 0 || boot.dataSize() != bootSize {
		c.errorf("$Boot at %v", boot.runs)
	}
	up, _ := c.find(recUpCase, typeData, "")
	if len(c.value(up)) != upcaseSize {
		c.errorf("$UpCase of %d bytes", up.dataSize())
	}
	info, _ := c.find(recVolume, typeVolumeInformation, "")
	if v := c.value(info); !bytes.Equal(v, []byte{0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0}) {
		c.errorf("$VOLUME_INFORMATION %x", v)
	}
}

// compareTree compares the volume with the tree it was made of. Names and metadata must be there exactly; pointers says which buffer a
// file's data was replaced by.
func (c *volumeCheck) compareTree(tr *winfile.Tree, pointers func(*winfile.Info) []byte, dropped map[string]bool) {
	type dirEntry struct {
		ref   fileRef
		name  string
		short string
	}
	list := func(n uint64) []dirEntry {
		entries, _ := c.walkIndex(n, "$I30")
		short := make(map[uint64]string)
		for _, e := range entries {
			if e.key[0x41] == nameDOS {
				short[le.Uint64(e.raw)] = nameOfKey(e.key)
			}
		}
		var all []dirEntry
		for _, e := range entries {
			d := dirEntry{ref: fileRef(le.Uint64(e.raw)), name: nameOfKey(e.key)}
			if e.key[0x41] == nameWin32 {
				d.short = short[le.Uint64(e.raw)]
			}
			if e.key[0x41] != nameDOS && (d.ref.record() >= firstUserRecord) {
				all = append(all, d)
			}
		}
		return all
	}
	files := make(map[*winfile.Info]fileRef)
	var walk func(path string, n uint64, e *winfile.Entry)
	walk = func(path string, n uint64, e *winfile.Entry) {
		c.compareInfo(path, n, e.Info, pointers)
		if e.Info.Attributes&winfile.AttrDirectory == 0 {
			return
		}
		have := list(n)
		byName := make(map[string]dirEntry)
		for _, d := range have {
			byName[d.name] = d
		}
		want := 0
		for _, ch := range e.Children {
			p := path + "/" + ch.Name
			if dropped[p] {
				continue
			}
			want++
			d, ok := byName[ch.Name]
			if !ok {
				c.errorf("%q is missing", p)
				continue
			}
			if d.short != ch.ShortName && !dropped[p+" short"] {
				c.errorf("%q: short name %q, want %q", p, d.short, ch.ShortName)
			}
			if ref, ok := files[ch.Info]; ok && ch.Info.Links > 1 {
				if ref != d.ref {
					c.errorf("%q is another file than its link", p)
				}
				continue
			}
			files[ch.Info] = d.ref
			walk(p, d.ref.record(), ch)
		}
		if len(have) != want {
			c.errorf("%q has %d names, want %d", path, len(have), want)
		}
	}
	walk("", recRoot, tr.Root)
}

func (c *volumeCheck) compareInfo(path string, n uint64, info *winfile.Info, pointers func(*winfile.Info) []byte) {
	attributes, si := c.stdInfo(n)
	want := info.Attributes &^ (winfile.AttrDirectory | winfile.AttrNormal | winfile.AttrSparse | winfile.AttrEncrypted)
	if info.Attributes&winfile.AttrDirectory == 0 {
		want &^= winfile.AttrCompressed
	}
	var pointer []byte
	if pointers != nil && info.Data != nil && info.Reparse == nil {
		pointer = pointers(info)
	}
	if pointer != nil {
		want |= winfile.AttrSparse | winfile.AttrReparse
	}
	if attributes != want {
		c.errorf("%q: attributes %v, want %v", path, attributes, want)
	}
	changed := info.Changed
	if changed == 0 {
		changed = info.Written
	}
	for i, f := range []winfile.Filetime{info.Created, info.Written, changed, info.Accessed} {
		if got := winfile.Filetime(le.Uint64(si[8*i:])); got != f {
			c.errorf("%q: time %d is %#x, want %#x", path, i, got, f)
		}
	}
	if sd := c.sds[le.Uint32(si[0x34:])]; info.Security != nil && !bytes.Equal(sd, info.Security) {
		c.errorf("%q: security descriptor %x, want %x", path, sd, info.Security)
	}
	streams := make(map[string]checkedAttr)
	for _, a := range c.attrs[n] {
		if a.typ() == typeData {
			streams[a.name] = a
		}
	}
	compare := func(name string, b *winfile.Blob) {
		a, ok := streams[name]
		delete(streams, name)
		if !ok {
			c.errorf("%q: stream %q is missing", path, name)
			return
		}
		if pointer != nil && name == "" {
			if a.dataSize() != b.Size || a.totalAllocated() != 0 || a.flags() != attrFlagSparse {
				c.errorf("%q: pointer of %d bytes, %d allocated, flags %#x", path, a.dataSize(), a.totalAllocated(), a.flags())
			}
			return
		}
		plain, err := b.ReadAll(1 << 30)
		if err != nil {
			c.t.Fatal(err)
		}
		if !bytes.Equal(c.value(a), plain) {
			c.errorf("%q: stream %q: content differs", path, name)
		}
	}
	if info.Attributes&winfile.AttrDirectory == 0 {
		compare("", info.Data)
	}
	for _, s := range info.Streams {
		compare(s.Name, s.Data)
	}
	for name := range streams {
		c.errorf("%q has a stream %q", path, name)
	}
	var reparse, id, eas []byte
	if info.Reparse != nil {
		reparse = info.Reparse.Buffer()
	}
	if pointer != nil {
		reparse = pointer
	}
	if info.Extra != nil {
		id = info.Extra.ObjectID
		for _, ea := range info.Extra.EAs {
			size := (8 + len(ea.Name) + 1 + len(ea.Value) + 3) / 4 * 4
			entry := make([]byte, size)
			le.PutUint32(entry, uint32(size))
			entry[4], entry[5] = ea.Flags, byte(len(ea.Name))
			le.PutUint16(entry[6:], uint16(len(ea.Value)))
			copy(entry[8:], ea.Name+"\x00"+string(ea.Value))
			eas = append(eas, entry...)
		}
	}
	for t, want := range map[attrType][]byte{typeReparsePoint: reparse, typeObjectID: id, typeEA: eas} {
		var got []byte
		if a, ok := c.find(n, t, ""); ok {
			got = c.value(a)
		}
		if t == typeObjectID && got != nil {
			got = append(bytes.Clone(got), c.births[string(got)]...)
			want = append(bytes.Clone(want), make([]byte, 64-len(want))...)
		}
		if !bytes.Equal(got, want) {
			c.errorf("%q: %v is %x, want %x", path, t, got, want)
		}
	}
}
