package ntfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// Severity ranks problems by what chkdsk does about them.
type Severity int

const (
	SeverityNote    Severity = iota // notice: chkdsk passes it or tidies it up unasked; healthy volumes have it too
	SeverityWarning                 // chkdsk repairs it, and nothing is lost or misread until then
	SeverityError                   // chkdsk repairs it at a loss, or names and contents are wrong or missing, or drivers refuse the volume
)

func (s Severity) String() string {
	switch s {
	case SeverityNote:
		return "notice"
	case SeverityWarning:
		return "warning"
	}
	return "error"
}

// A Code says in one word what is wrong, for programs: it does not change from one version to the next. [Codes] lists them.
type Code string

// A Problem is one finding of [Volume.Check].
type Problem struct {
	Severity  Severity
	Code      Code
	Record    int64  // MFT record, -1 where it is the volume's
	Attribute string // `$DATA "name"`, in which the finding is; "" where it is the record's or the volume's
	Offset    int64  // bytes from the start of the volume, of the record, or of the attribute's content; -1 if there is no one spot
	Found     string
	Expected  string // "" where Found says it all
}

func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %s: ", p.Severity, p.Code)
	if w := p.Where(); w != "" {
		b.WriteString(w + ": ")
	}
	b.WriteString(p.Message())
	return b.String()
}

// Where names the place: "record 70: $DATA at 0x18".
func (p Problem) Where() string {
	var parts []string
	if p.Record >= 0 {
		parts = append(parts, recordName(p.Record))
	}
	if p.Attribute != "" {
		parts = append(parts, p.Attribute)
	}
	s := strings.Join(parts, ": ")
	if p.Offset >= 0 {
		s = strings.TrimSpace(fmt.Sprintf("%s at %#x", s, p.Offset))
	}
	return s
}

// Message is what was found and expected.
func (p Problem) Message() string {
	if p.Expected == "" {
		return p.Found
	}
	return p.Found + ", want " + p.Expected
}

// CheckOptions tunes [Volume.CheckWith]. The zero value finds what Check finds.
type CheckOptions struct {
	Limit    int                     // problems kept of each severity, so that notices do not crowd out errors; 0 means 5000, less than 0 all
	Progress func(done, total int64) // bytes of metadata; may be nil
}

// maxProblems is the default limit: a broken volume has one for each file.
const maxProblems = 5000

// Checked is what [Volume.CheckWith] found.
type Checked struct {
	Problems    []Problem    // in the order of records, those of the volume first
	Counts      map[Code]int // of all, those beyond the limit too
	Found       [3]int       // of all, by severity
	Files       int64        // with system files
	Directories int64
	Clusters    int64 // in use by streams
}

// Check tests what drivers rely on and chkdsk verifies: every record, attribute, run list, name, index, bitmap and descriptor, and
// that the many copies of a fact agree. It reads all metadata and, of file data, only the chunk tables of compact files. None means
// that the volume is sound. The error is for reads that failed and for ctx.
func (v *Volume) Check(ctx context.Context) ([]Problem, error) {
	r, err := v.CheckWith(ctx, nil)
	if err != nil {
		return nil, err
	}
	for s, n := range r.Found {
		if n > maxProblems {
			r.Problems = append(r.Problems, Problem{Severity(s), "too-many", -1, "", -1, fmt.Sprintf("%d more of this severity", n-maxProblems), ""})
		}
	}
	return r.Problems, nil
}

// CheckWith is [Volume.Check] with options. It takes about 130 bytes of memory for each file and directory.
func (v *Volume) CheckWith(ctx context.Context, o *CheckOptions) (*Checked, error) {
	c := newCheck(ctx, v, o)
	if err := v.scan(ctx, c.record); err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		c.listedFiles, c.extensionRecords, c.crossLinks, c.systemFiles, c.directories, c.unmatchedNames, c.reachability,
		c.bootSector, c.mirror, c.logFile, c.upcase, c.attrDef, c.secure, c.reparseIndex, c.objectIDs, c.quota,
		c.clusterBitmap, c.mftBitmap, c.brokenRecords,
	} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
	r := &c.result
	slices.SortStableFunc(r.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Record, b.Record), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Attribute, b.Attribute), cmp.Compare(a.Offset, b.Offset))
	})
	return r, nil
}

// checkState gathers what is compared later: facts by record, names, runs.
type checkState struct {
	v      *Volume
	ctx    context.Context
	opt    CheckOptions
	result Checked

	pages   []*[filesPerPage]checkedRecord
	names   []checkedName // names[0] is not used: 0 means none
	seed    maphash.Seed
	lists   []int64 // base records with an attribute list
	broken  []brokenRecord
	runs    []ownedRun
	unsafe  map[int64]bool   // records with indexes in clusters that are not their own, or none
	extend  map[string]int64 // children of $Extend, by name
	usedIDs map[uint32]int64 // security id to the first record that has it
	reparse []reparseKey
	objects []objectKey
	damaged bool // something could not be read, so that what it has may seem to be nobody's

	attrs  []fileAttr // scratch
	walker indexWalk  // scratch
	buf    []byte     // scratch: a record
}

func newCheck(ctx context.Context, v *Volume, o *CheckOptions) *checkState {
	c := &checkState{
		v: v, ctx: ctx, names: make([]checkedName, 1), seed: maphash.MakeSeed(), unsafe: make(map[int64]bool), extend: make(map[string]int64),
		usedIDs: make(map[uint32]int64), result: Checked{Counts: make(map[Code]int)}, buf: make([]byte, v.RecordSize),
	}
	if o != nil {
		c.opt = *o
	}
	if c.opt.Limit == 0 {
		c.opt.Limit = maxProblems
	}
	return c
}

// checkedRecord is what is kept of each record in use.
type checkedRecord struct {
	flags, sequence uint16
	links           uint16 // as the header has it
	facts           recordFacts
	state           byte   // of reachability
	firstName       uint32 // in checkState.names
	eaSize          uint16 // packed
	base            fileRef
	tag             uint32 // reparse tag or 0
	attributes      uint32 // of $STANDARD_INFORMATION
	size, allocated int64  // as index entries should have them
}

// recordFacts are bits of checkedRecord.
type recordFacts byte

const (
	factInUse     recordFacts = 1 << iota
	factListed                // an extension record that its base names
	factBroken                // the record cannot be read
	factPartial               // not all attributes are known: what is missing says nothing
	factLostIndex             // not all entries of the $I30 are known
	factCaseful               // case-sensitive directory
	factDirectory             // has an $I30, whatever the flags say
)

func (k *checkedRecord) has(f recordFacts) bool { return k.facts&f != 0 }

// checkedName is one $FILE_NAME. The name itself is a hash: what is compared is long, what is shown is little.
type checkedName struct {
	parent    fileRef
	hash      uint64
	next      uint32 // of the same record
	namespace byte
	matched   bool // found in its directory's index
}

type reparseKey struct {
	tag uint32
	ref fileRef
}

type objectKey struct {
	id  [16]byte
	ref fileRef
}

// ownedRun is a run of clusters and the stream it belongs to.
type ownedRun struct {
	lcn      LCN
	clusters int64
	record   uint32
	typ      uint16
}

// brokenRecord is a record that cannot be read.
type brokenRecord struct {
	n   int64
	err error
}

// spot is where a finding is.
type spot struct {
	record int64
	attr   string
	off    int64
}

func onVolume(off int64) spot                     { return spot{-1, "", off} }
func inRecord(n int64, off int) spot              { return spot{n, "", int64(off)} }
func ofRecord(n int64) spot                       { return spot{n, "", -1} }
func inStream(n int64, name string, o int64) spot { return spot{n, name, o} }

// inAttr is a place in record n or, where a is in an extension record, that one.
func inAttr(n int64, a fileAttr, off int) spot {
	s := attrLabel(a.typ(), nameOf(a))
	if a.holder != n {
		s += " in " + recordName(a.holder)
	}
	return spot{n, s, int64(a.off + off)}
}

// ofAttr is a stream as a whole.
func ofAttr(n int64, a fileAttr) spot { return spot{n, attrLabel(a.typ(), nameOf(a)), -1} }

func attrLabel(t attrType, name string) string {
	if name == "" {
		return t.String()
	}
	return fmt.Sprintf("%v %q", t, name)
}

// report notes a problem with the severity of its code. expected may be "".
func (c *checkState) report(code Code, at spot, found, expected string) {
	c.reportAs(severityOf(code), code, at, found, expected)
}

func (c *checkState) reportAs(s Severity, code Code, at spot, found, expected string) {
	r := &c.result
	r.Counts[code]++
	if r.Found[s]++; r.Found[s] > c.opt.Limit && c.opt.Limit > 0 {
		return
	}
	r.Problems = append(r.Problems, Problem{s, code, at.record, at.attr, at.off, found, expected})
}

// reportErr notes an error of the reader, which says itself where it is.
func (c *checkState) reportErr(code Code, at spot, err error) {
	var fe *FormatError
	if at.off < 0 && errors.As(err, &fe) && (fe.What == recordName(at.record) || strings.HasPrefix(fe.What, recordName(at.record)+": ")) {
		at.off, err = fe.Off, fe.Err
	}
	found, expected := strings.TrimPrefix(err.Error(), "ntfs: "), ""
	if i := strings.LastIndex(found, ", want "); i >= 0 {
		found, expected = found[:i], found[i+len(", want "):]
	}
	c.report(code, at, found, expected)
}

// progress tells how far one of the two passes over the records is.
func (c *checkState) progress(pass int, n int64) {
	if c.opt.Progress != nil && n%4096 == 0 {
		size := int64(c.v.RecordSize)
		c.opt.Progress((int64(pass)*c.v.records+n)*size, 2*c.v.records*size)
	}
}

// at returns the facts of record n, nil if it was not in use.
func (c *checkState) at(n uint64) *checkedRecord {
	if r := c.page(n); r != nil && r.has(factInUse) {
		return r
	}
	return nil
}

// page returns the place of record n, nil if there is none.
func (c *checkState) page(n uint64) *checkedRecord {
	p := n / filesPerPage
	if p >= uint64(len(c.pages)) || c.pages[p] == nil {
		return nil
	}
	return &c.pages[p][n%filesPerPage]
}

// isBroken reports whether nothing is known of record n because it cannot be read.
func (c *checkState) isBroken(n uint64) bool {
	r := c.page(n)
	return r != nil && r.has(factBroken)
}

func (c *checkState) add(n int64) *checkedRecord {
	p := int(n / filesPerPage)
	if p >= len(c.pages) {
		c.pages = append(c.pages, make([]*[filesPerPage]checkedRecord, p+1-len(c.pages))...)
	}
	if c.pages[p] == nil {
		c.pages[p] = new([filesPerPage]checkedRecord)
	}
	return &c.pages[p][n%filesPerPage]
}

// ref is the reference of record n as it should be stored.
func (c *checkState) ref(n int64) fileRef {
	if r := c.at(uint64(n)); r != nil {
		return makeRef(uint64(n), r.sequence)
	}
	return 0
}

// inUse yields the records in use, in order.
func (c *checkState) inUse(yield func(int64, *checkedRecord) bool) {
	for p, page := range c.pages {
		if page == nil {
			continue
		}
		for i := range page {
			if r := &page[i]; r.has(factInUse) && !yield(int64(p)*filesPerPage+int64(i), r) {
				return
			}
		}
	}
}

// readAttrs reads the attributes of base record n into scratch memory: they are valid until the next call.
func (c *checkState) readAttrs(n int64) ([]fileAttr, error) {
	c.buf = c.buf[:c.v.RecordSize]
	if err := readExactly(c.v.mft, c.buf, n*int64(c.v.RecordSize)); err != nil {
		return nil, &FormatError{recordName(n), 0, err}
	}
	r, err := openRecord(c.buf, n)
	if err != nil {
		return nil, err
	}
	if c.attrs, err = r.appendAttrs(c.attrs[:0], n); err != nil {
		return c.attrs, err
	}
	if slices.ContainsFunc(c.attrs, func(a fileAttr) bool { return a.typ() == typeAttributeList }) {
		return c.v.fileAttrs(r, n)
	}
	return c.attrs, nil
}
