package ntfs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Severity ranks problems.
type Severity int

const (
	SeverityNote    Severity = iota // healthy volumes have it too: stale sizes in an index, unused descriptors
	SeverityWarning                 // chkdsk would repair it; nothing is lost or misread
	SeverityError                   // names or contents are wrong or missing, or drivers may refuse the volume
)

func (s Severity) String() string {
	switch s {
	case SeverityNote:
		return "note"
	case SeverityWarning:
		return "warning"
	}
	return "error"
}

// ProblemKind groups problems by what is wrong.
type ProblemKind string

const (
	ProblemBoot          ProblemKind = "boot"           // boot sector, its copy, $Boot
	ProblemVolume        ProblemKind = "volume"         // $Volume, dirty flag
	ProblemLog           ProblemKind = "log"            // $LogFile
	ProblemMirror        ProblemKind = "mirror"         // $MFTMirr
	ProblemSystemFile    ProblemKind = "system-file"    // a system file is not what its number says
	ProblemRecord        ProblemKind = "record"         // record header
	ProblemAttribute     ProblemKind = "attribute"      // attribute header or value
	ProblemRuns          ProblemKind = "runs"           // run list, allocated and valid sizes
	ProblemSparseUnit    ProblemKind = "sparse-unit"    // sparse stream not in whole compression units (all of ntfs-3g's)
	ProblemList          ProblemKind = "attribute-list" // attribute list, extension records
	ProblemFlags         ProblemKind = "flags"          // file attribute bits that do not fit the attributes
	ProblemName          ProblemKind = "name"           // $FILE_NAME by itself
	ProblemLinks         ProblemKind = "links"          // link count
	ProblemIndex         ProblemKind = "index"          // structure of an index
	ProblemIndexOrder    ProblemKind = "index-order"    // keys out of order
	ProblemIndexBitmap   ProblemKind = "index-bitmap"   // bitmap of index blocks
	ProblemMissingEntry  ProblemKind = "missing-entry"  // a name that is not in its directory's index
	ProblemDanglingEntry ProblemKind = "dangling-entry" // an index entry without a file
	ProblemStaleEntry    ProblemKind = "stale-entry"    // an index entry whose copy of sizes or attributes differs
	ProblemUnreachable   ProblemKind = "unreachable"    // a directory that the root does not reach
	ProblemSecurity      ProblemKind = "security"       // $Secure, security ids
	ProblemReparse       ProblemKind = "reparse"        // reparse points against $Reparse:$R
	ProblemObjectID      ProblemKind = "object-id"      // object ids against $ObjId:$O
	ProblemCrossLink     ProblemKind = "cross-link"     // clusters of two streams
	ProblemBitmap        ProblemKind = "bitmap"         // $Bitmap against the runs
	ProblemMFTBitmap     ProblemKind = "mft-bitmap"     // $MFT:$BITMAP against the records
	ProblemUpCase        ProblemKind = "upcase"         // $UpCase
	ProblemAttrDef       ProblemKind = "attrdef"        // $AttrDef
	ProblemTooMany       ProblemKind = "too-many"       // the list was cut
)

// A Problem is one finding of [Volume.Check].
type Problem struct {
	Severity Severity
	Kind     ProblemKind
	Record   int64  // MFT record, -1 where it is the volume's
	Text     string // what was found and expected
}

func (p Problem) String() string {
	if p.Record < 0 {
		return fmt.Sprintf("%v: %s: %s", p.Severity, p.Kind, p.Text)
	}
	return fmt.Sprintf("%v: %s: record %d: %s", p.Severity, p.Kind, p.Record, p.Text)
}

// maxProblems bounds the list for each severity, so that notes do not crowd out errors: a broken volume has one per file.
const maxProblems = 5000

// Check tests what drivers rely on and chkdsk verifies: every record, attribute, run list, name, index, bitmap and descriptor, and
// that the many copies of a fact agree. It reads all metadata and no file data. The problems come in the order of records, those of
// the volume first; none means that the volume is sound. The error is for reads that failed and for ctx.
func (v *Volume) Check(ctx context.Context) ([]Problem, error) {
	c := &checkState{v: v, ctx: ctx, usedIDs: make(map[uint32]int64), extend: make(map[string]int64)}
	if err := v.scan(ctx, c.record); err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		c.listedFiles, c.extensionRecords, c.crossLinks, c.directories, c.unmatchedNames, c.reachability,
		c.boot, c.systemFiles, c.mirror, c.logFile, c.upcase, c.attrDef, c.secure, c.reparseIndex, c.objectIDs, c.quota,
		c.clusterBitmap, c.mftBitmap,
	} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Record, b.Record), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Text, b.Text))
	})
	for s, n := range c.found {
		if n > maxProblems {
			c.problems = append(c.problems, Problem{Severity(s), ProblemTooMany, -1, fmt.Sprintf("%d more of this severity", n-maxProblems)})
		}
	}
	return c.problems, nil
}

// checkState gathers what is compared later: facts by record, names, runs.
type checkState struct {
	v        *Volume
	ctx      context.Context
	problems []Problem
	found    [SeverityError + 1]int // problems by severity

	pages   []*[filesPerPage]checkedRecord
	names   []checkedName // names[0] is not used: 0 means none
	text    text
	lists   []int64 // base records with an attribute list
	runs    []ownedRun
	crossed map[int64]bool   // records with clusters that another stream has too
	extend  map[string]int64 // children of $Extend, by name
	usedIDs map[uint32]int64 // security id to the first record that has it
	reparse []reparseKey
	objects []objectKey

	attrs []fileAttr // scratch
}

// checkedRecord is what is kept of each record in use.
type checkedRecord struct {
	flags, sequence uint16
	links           uint16 // as the header has it
	inUse, listed   bool   // listed: an extension record that its base names
	state           byte   // of reachability
	firstName       uint32 // in checkState.names
	base            fileRef
	tag             uint32 // reparse tag or 0
	eaSize          uint16 // packed
	attributes      uint32 // of $STANDARD_INFORMATION
	size, allocated int64  // as index entries should have them
}

// checkedName is one $FILE_NAME.
type checkedName struct {
	parent    fileRef
	next      uint32 // of the same record
	namespace byte
	matched   bool // found in its directory's index
	name      string
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

func (c *checkState) report(s Severity, kind ProblemKind, record int64, format string, args ...any) {
	if c.found[s]++; c.found[s] > maxProblems {
		return
	}
	c.problems = append(c.problems, Problem{s, kind, record, fmt.Sprintf(format, args...)})
}

// at returns the facts of record n, nil if it was not in use.
func (c *checkState) at(n uint64) *checkedRecord {
	p := n / filesPerPage
	if p >= uint64(len(c.pages)) || c.pages[p] == nil {
		return nil
	}
	if r := &c.pages[p][n%filesPerPage]; r.inUse {
		return r
	}
	return nil
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

// path names a record by what its first name is, for messages.
func (c *checkState) nameOf(n int64) string {
	if r := c.at(uint64(n)); r != nil && r.firstName != 0 {
		return c.names[r.firstName].name
	}
	return ""
}

// inUse yields the records in use, in order.
func (c *checkState) inUse(yield func(int64, *checkedRecord) bool) {
	for p, page := range c.pages {
		if page == nil {
			continue
		}
		for i := range page {
			if r := &page[i]; r.inUse && !yield(int64(p)*filesPerPage+int64(i), r) {
				return
			}
		}
	}
}
