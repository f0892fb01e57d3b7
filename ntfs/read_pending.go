package ntfs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"husk/winfile"
)

// The log file service writes records one after the other into pages, round and round:
//
//	page 0, 1        restart pages: the newer one tells where the log ends and where its client restarts
//	page 2, 3        copies of the last page (32 of them in version 2.0)
//	then             record pages "RCRD", a record may go on in the next page
//
// A log sequence number is the place of its record in 8 bytes, with the number of rounds above it. The client's restart record
// ("checkpoint") names four tables that the log holds too: attributes that are open, their names, pages that may be dirty, and
// transactions. Recovery does again what happened to dirty pages, and takes back what no transaction committed.
//
// Sources: the linux-ntfs documentation of $LogFile; structures and operation codes of ntfs-3g and Linux fs/ntfs3, as facts.
const (
	logRecordHeader  = 0x30
	logClientHeader  = 0x20 // NTFS' own part, without the clusters that follow it
	logClientRecord  = 1
	logClientRestart = 2
	restartTable     = 0x18     // header of the tables
	openEntry32      = 0x2c     // bytes of an open attribute, restart version 0
	openEntry64      = 0x28     // version 1
	maxLogFile       = 1 << 32  // bytes
	maxLogRecord     = 16 << 20 // bytes
	maxLogChanges    = 1 << 20
)

// logOperations are Microsoft's names by code.
var logOperations = [...]string{
	"Noop", "CompensationLogRecord", "InitializeFileRecordSegment", "DeallocateFileRecordSegment", "WriteEndOfFileRecordSegment",
	"CreateAttribute", "DeleteAttribute", "UpdateResidentValue", "UpdateNonresidentValue", "UpdateMappingPairs", "DeleteDirtyClusters",
	"SetNewAttributeSizes", "AddIndexEntryRoot", "DeleteIndexEntryRoot", "AddIndexEntryAllocation", "DeleteIndexEntryAllocation",
	"WriteEndOfIndexBuffer", "SetIndexEntryVcnRoot", "SetIndexEntryVcnAllocation", "UpdateFileNameRoot", "UpdateFileNameAllocation",
	"SetBitsInNonresidentBitMap", "ClearBitsInNonresidentBitMap", "HotFix", "EndTopLevelAction", "PrepareTransaction", "CommitTransaction",
	"ForgetTransaction", "OpenNonresidentAttribute", "OpenAttributeTableDump", "AttributeNamesDump", "DirtyPageTableDump",
	"TransactionTableDump", "UpdateRecordDataRoot", "UpdateRecordDataAllocation",
}

// Operations that are told apart.
const (
	opCompensation     = 0x01
	opInitializeRecord = 0x02
	opDeallocateRecord = 0x03
	opCreateAttribute  = 0x05
	opHotFix           = 0x17
	opCommit           = 0x1a
	opForget           = 0x1b
	opOpenAttribute    = 0x1c
	opTransactions     = 0x20
)

// LogChange is a change that $LogFile has and that has not reached the volume.
type LogChange struct {
	LSN         uint64 // log sequence number: its place in the log
	Transaction uint32
	Operation   string // Microsoft's name, "UpdateResidentValue"
	Record      int64  // MFT record that changes, or one of whose attributes does; -1 if the log does not tell
	Attribute   string // "$DATA \"name\""; empty if the record as a whole changes
	Offset      int64  // of the first byte that changes: in the record if that holds the attribute, else in its content
	Length      int    // bytes that the operation takes
	Committed   bool   // its transaction is complete; recovery takes back what is not
	Reached     bool   // the volume shows it already, and it is to be taken back
}

func (c LogChange) String() string {
	s := fmt.Sprintf("%s of record %d", c.Operation, c.Record)
	if c.Record < 0 {
		s = c.Operation + " of an unknown record"
	}
	if c.Attribute != "" {
		s += ": " + c.Attribute
	}
	if !c.Committed {
		s += ", to be taken back"
	}
	return s
}

// PendingLog tells what a driver would change on the volume before it uses it, in the order of the log: operations of $LogFile that
// the records and index blocks which they change do not show yet, and those that it takes back because their transaction did not
// get to its end. Bitmaps and other streams do not tell what they show, so changes of them are listed if the log takes their place
// for dirty. It is empty if the log is clean. Nothing is changed. On an error it returns what it found before.
func (v *Volume) PendingLog() ([]LogChange, error) {
	s, err := v.openNamed(recLogFile, typeData, "")
	if err != nil {
		return nil, err
	}
	state, page, err := s.logState()
	if err != nil || state == LogClean {
		return nil, err
	}
	l, err := v.openLog(s, page)
	if err != nil {
		return nil, err
	}
	err = l.analyze()
	return slices.DeleteFunc(l.changes, func(c LogChange) bool { return c.Reached && c.Committed }), err
}

// logFile is a log being read.
type logFile struct {
	v         *Volume
	s         *stream
	size      int64 // bytes that the log uses
	pageSize  int64
	dataOff   int64 // of the first record in a page
	firstPage int64 // byte offset
	seqBits   uint
	restart   uint64 // LSN of the client's restart record

	page   []byte           // the one read last, fixups undone
	pageAt int64            // -1 if there is none
	copies map[int64][]byte // of pages, by the place that they are for

	open       map[uint32]openAttribute // by offset in the table of open attributes
	dirty      map[uint32][]dirtyPage   // by the same
	checkpoint uint64
	pending    map[uint32][]int // changes by transaction that is not complete
	changes    []LogChange
}

// openAttribute is an attribute that the log refers to by number.
type openAttribute struct {
	ref  fileRef
	typ  attrType
	name string
}

type dirtyPage struct {
	vcn, clusters int64
	oldest        uint64
}

// logRecord is one record, all of its pages together.
type logRecord struct {
	lsn         uint64
	typ         uint32
	transaction uint32
	data        []byte // the client's
}

// openLog reads the restart area of a restart page whose fixups are undone.
func (v *Volume) openLog(s *stream, page []byte) (*logFile, error) {
	fail := func(off int, format string, args ...any) (*logFile, error) {
		return nil, formatError("restart page of $LogFile", off, format, args...)
	}
	off := int(le.Uint16(page[restartAreaOffset:]))
	area := page[off:]
	l := &logFile{
		v: v, s: s, pageAt: -1, pageSize: int64(le.Uint32(page[0x14:])), size: int64(le.Uint64(area[0x18:])), seqBits: uint(le.Uint32(area[0x10:])),
		dataOff: int64(le.Uint16(area[0x26:])), open: make(map[uint32]openAttribute), dirty: make(map[uint32][]dirtyPage), pending: make(map[uint32][]int),
	}
	if l.pageSize < sectorStride || l.pageSize > 65536 || l.pageSize&(l.pageSize-1) != 0 {
		return fail(0x14, "log pages of %d bytes, want a power of two from %d to 65536", l.pageSize, sectorStride)
	}
	if l.size < 0 || l.size > min(s.size, maxLogFile) || l.size%l.pageSize != 0 {
		return fail(off+0x18, "log of %d bytes in a file of %d", l.size, s.size)
	}
	if l.dataOff < 0x30 || l.dataOff%8 != 0 || l.dataOff > l.pageSize-logRecordHeader {
		return fail(off+0x26, "records at %#x of pages of %#x bytes", l.dataOff, l.pageSize)
	}
	if l.seqBits < 5 || l.seqBits > 60 || l.size > 8<<(64-l.seqBits) {
		return fail(off+0x10, "%d bits of sequence number for a log of %d bytes", l.seqBits, l.size)
	}
	l.firstPage = 4 * l.pageSize
	if le.Uint16(page[0x1c:]) >= 2 {
		l.firstPage = 0x22 * l.pageSize
	}
	clients, inUse := int(le.Uint16(area[0x16:])), int(le.Uint16(area[restartInUse:]))
	at := clients + inUse*0xa0
	if clients%8 != 0 || at > len(area)-0xa0 {
		return fail(off+0x16, "client %d at %#x of %#x bytes", inUse, at, len(area))
	}
	l.restart = le.Uint64(area[at+8:])
	l.loadCopies()
	return l, nil
}

// offset is the place of a record in the log.
func (l *logFile) offset(lsn uint64) int64 { return int64(lsn << l.seqBits >> l.seqBits << 3) }

// lsnAt is the sequence number of a record at off, in the same round as before or the next.
func (l *logFile) lsnAt(before uint64, off int64, wrapped bool) uint64 {
	seq := before >> (64 - l.seqBits)
	if wrapped {
		seq++
	}
	return seq<<(64-l.seqBits) | uint64(off>>3)
}

// load reads the page at off of the log, or its copy if that is newer.
func (l *logFile) load(off int64) ([]byte, error) {
	if off == l.pageAt {
		return l.page, nil
	}
	best, err := l.readPage(off)
	if c := l.copies[off]; c != nil && (err != nil || le.Uint64(c[0x20:]) > le.Uint64(best[0x20:])) {
		best, err = c, nil
	}
	if err != nil {
		return nil, err
	}
	l.page, l.pageAt = best, off
	return best, nil
}

// loadCopies reads the copies of the pages that were written last. Damaged ones do not count.
func (l *logFile) loadCopies() {
	l.copies = make(map[int64][]byte)
	for at := 2 * l.pageSize; at < l.firstPage; at += l.pageSize {
		c, err := l.readPage(at)
		if err != nil {
			continue
		}
		off := int64(le.Uint64(c[8:]))
		if old := l.copies[off]; old == nil || le.Uint64(c[0x20:]) > le.Uint64(old[0x20:]) {
			l.copies[off] = c
		}
	}
}

func (l *logFile) readPage(off int64) ([]byte, error) {
	if off > l.size-l.pageSize {
		return nil, &FormatError{"log page", off, fmt.Errorf("the log has %d bytes", l.size)}
	}
	b := make([]byte, l.pageSize)
	if _, err := l.s.ReadAt(b, off); err != nil && err != io.EOF {
		return nil, err
	}
	if err := unprotect(b, "RCRD"); err != nil {
		return nil, &FormatError{"log page", off, err}
	}
	return b, nil
}

// next is the page behind the one at off; wrapped tells that it is the first one again.
func (l *logFile) next(off int64) (int64, bool) {
	if off += l.pageSize; off > l.size-l.pageSize {
		return l.firstPage, true
	}
	return off, false
}

// errLogEnd tells that there is no record: the log ends before it.
var errLogEnd = errors.New("no such record in the log")

// read returns a record and the sequence number of the one behind it.
func (l *logFile) read(lsn uint64) (r logRecord, next uint64, err error) {
	off := l.offset(lsn)
	page := off &^ (l.pageSize - 1)
	in := off - page
	if page < l.firstPage || in < l.dataOff || in > l.pageSize-logRecordHeader {
		return r, 0, fmt.Errorf("%w: LSN %#x is at %#x", errLogEnd, lsn, off)
	}
	b, err := l.load(page)
	if err != nil {
		return r, 0, err
	}
	h := b[in:]
	if got := le.Uint64(h); got != lsn {
		return r, 0, fmt.Errorf("%w: LSN %#x at %#x is %#x", errLogEnd, lsn, off, got)
	}
	r = logRecord{lsn: lsn, typ: le.Uint32(h[0x20:]), transaction: le.Uint32(h[0x24:])}
	left := int64(le.Uint32(h[0x18:]))
	if left > min(maxLogRecord, l.size) {
		return r, 0, &FormatError{"log record", off + 0x18, fmt.Errorf("%d bytes, want at most %d", left, min(maxLogRecord, l.size))}
	}
	wrapped := false
	for in += logRecordHeader; ; {
		n := min(left, l.pageSize-in)
		r.data = append(r.data, b[in:in+n]...)
		left -= n
		in = align(in+n, 8)
		if left == 0 {
			break
		}
		var again bool
		if page, again = l.next(page); again {
			wrapped = true
		}
		if b, err = l.load(page); err != nil {
			return r, 0, err
		}
		in = l.dataOff
	}
	if in > l.pageSize-logRecordHeader {
		var again bool
		if page, again = l.next(page); again {
			wrapped = true
		}
		in = l.dataOff
	}
	return r, l.lsnAt(lsn, page+in, wrapped), nil
}

// logOp is the client's part of a record, whose header read checked.
type logOp struct {
	redo, undo    uint16
	target        uint16
	recordOffset  uint16
	attrOffset    uint16
	clusterOffset uint16 // in 512 bytes
	vcn           int64
	data          []byte // of the redo
	undoData      []byte
}

func (r *logRecord) op() (o logOp, err error) {
	b := r.data
	if len(b) < logClientHeader {
		return o, formatError("log record", 0, "%d bytes at LSN %#x, want at least %d", len(b), r.lsn, logClientHeader)
	}
	o = logOp{
		redo: le.Uint16(b), undo: le.Uint16(b[2:]), target: le.Uint16(b[0xc:]), recordOffset: le.Uint16(b[0x10:]), attrOffset: le.Uint16(b[0x12:]),
		clusterOffset: le.Uint16(b[0x14:]), vcn: int64(le.Uint64(b[0x18:])),
	}
	part := func(at int) ([]byte, error) {
		off, n := int(le.Uint16(b[at:])), int(le.Uint16(b[at+2:]))
		if n > 0 && (off < logClientHeader || off > len(b)-n) {
			return nil, formatError("log record", at, "%d bytes at %#x of %d at LSN %#x", n, off, len(b), r.lsn)
		}
		if n == 0 {
			return nil, nil
		}
		return b[off : off+n], nil
	}
	if o.data, err = part(4); err == nil {
		o.undoData, err = part(8)
	}
	return o, err
}

// table returns a table that the log holds at an LSN, nil if there is none. Tables may be longer than their record can say.
func (l *logFile) table(lsn uint64) ([]byte, error) {
	if lsn == 0 {
		return nil, nil
	}
	r, _, err := l.read(lsn)
	if err != nil {
		return nil, err
	}
	if len(r.data) < logClientHeader {
		return nil, formatError("log record", 0, "%d bytes at LSN %#x, want at least %d", len(r.data), lsn, logClientHeader)
	}
	off := int(le.Uint16(r.data[4:]))
	if off > len(r.data) {
		return nil, formatError("log record", 4, "table at %#x of %d bytes at LSN %#x", off, len(r.data), lsn)
	}
	return r.data[off:], nil
}

// entries cuts a table and calls fn with the entries in use and their offsets.
func entries(b []byte, least int, fn func(off uint32, e []byte)) error {
	if len(b) == 0 {
		return nil
	}
	if len(b) < restartTable {
		return fmt.Errorf("table of %d bytes, want at least %d", len(b), restartTable)
	}
	size, n := int(le.Uint16(b)), int(le.Uint16(b[2:]))
	if size < least || int64(size)*int64(n) > int64(len(b)-restartTable) {
		return fmt.Errorf("table of %d entries of %d bytes, want at least %d each, in %d bytes", n, size, least, len(b))
	}
	for i := range n {
		off := restartTable + i*size
		if e := b[off : off+size]; le.Uint32(e) == 0xffffffff {
			fn(uint32(off), e)
		}
	}
	return nil
}

// parseOpen reads an entry of the table of open attributes, of which there are two forms.
func parseOpen(e []byte) openAttribute {
	if len(e) >= openEntry32 {
		return openAttribute{ref: fileRef(le.Uint64(e[8:])), typ: attrType(le.Uint32(e[0x1c:]))}
	}
	return openAttribute{ref: fileRef(le.Uint64(e[0x10:])), typ: attrType(le.Uint32(e[8:]))}
}

// start reads the checkpoint and its tables, and returns the LSN from which on there may be something to do.
func (l *logFile) start() (uint64, error) {
	r, _, err := l.read(l.restart)
	if err != nil {
		return 0, err
	}
	b := r.data
	if r.typ != logClientRestart || len(b) < 0x30 {
		return 0, formatError("log record", 0, "type %d of %d bytes at LSN %#x, want a restart record", r.typ, len(b), r.lsn)
	}
	l.checkpoint = le.Uint64(b[8:])
	open, err := l.table(le.Uint64(b[0x10:]))
	if err == nil {
		err = entries(open, openEntry64, func(off uint32, e []byte) { l.open[off] = parseOpen(e) })
	}
	var names, dirty, transactions []byte
	if err == nil {
		names, err = l.table(le.Uint64(b[0x18:]))
	}
	if err == nil {
		l.names(names)
		dirty, err = l.table(le.Uint64(b[0x20:]))
	}
	if err == nil {
		transactions, err = l.table(le.Uint64(b[0x28:]))
	}
	if err != nil {
		return 0, err
	}
	from := l.checkpoint
	err = entries(dirty, 0x20, func(_ uint32, e []byte) {
		target, clusters := le.Uint32(e[4:]), int64(le.Uint32(e[0xc:]))
		p := dirtyPage{int64(le.Uint64(e[0x10:])), max(clusters, 1), le.Uint64(e[0x18:])}
		if le.Uint32(b) == 0 && len(e) >= 0x24 { // version 0: four bytes further
			p.vcn, p.oldest = int64(le.Uint64(e[0x14:])), le.Uint64(e[0x1c:])
		}
		l.dirty[target] = append(l.dirty[target], p)
		if p.oldest != 0 {
			from = min(from, p.oldest)
		}
	})
	if err == nil {
		err = entries(transactions, 0x20, func(_ uint32, e []byte) {
			if first := le.Uint64(e[8:]); first != 0 {
				from = min(from, first)
			}
		})
	}
	return from, err
}

// names gives the open attributes their names: offset in the table u16, bytes u16, name. Some have a zero unit behind it.
func (l *logFile) names(b []byte) {
	for len(b) >= 4 {
		off, n := uint32(le.Uint16(b)), int(le.Uint16(b[2:]))
		a, ok := l.open[off]
		if off == 0 {
			if _, ok := l.open[uint32(n)]; !ok {
				return
			}
			b = b[2:]
			continue
		}
		if n > len(b)-4 {
			return
		}
		if ok {
			a.name = winfile.NameFromUTF16LE(b[4 : 4+n])
			l.open[off] = a
		}
		b = b[4+n:]
	}
}

// analyze goes through the log from the oldest dirty page to its end.
func (l *logFile) analyze() error {
	lsn, err := l.start()
	if err != nil {
		return err
	}
	for first, round := lsn, int64(0); ; {
		r, next, err := l.read(lsn)
		if errors.Is(err, errLogEnd) || isPageError(err) && lsn > l.restart {
			return nil // what was written last is torn: recovery ends there too
		}
		if err != nil {
			return err
		}
		if r.typ == logClientRecord {
			if err := l.take(&r); err != nil {
				return err
			}
		}
		if len(l.changes) >= maxLogChanges {
			return fmt.Errorf("ntfs: $LogFile: more than %d changes", maxLogChanges)
		}
		if round += int64(len(r.data)) + logRecordHeader; round > l.size || next <= first {
			return nil
		}
		lsn = next
	}
}

// isPageError reports whether a log page cannot be read for what it holds.
func isPageError(err error) bool {
	var f *FormatError
	return errors.As(err, &f) && f.What == "log page"
}

// take takes one record.
func (l *logFile) take(r *logRecord) error {
	o, err := r.op()
	if err != nil {
		return err
	}
	switch {
	case o.redo == opOpenAttribute:
		if len(o.data) >= openEntry64 {
			a := parseOpen(o.data)
			a.name = winfile.NameFromUTF16LE(o.undoData)
			l.open[uint32(o.target)] = a
		}
	case o.redo == opCommit, o.redo == opForget:
		for _, i := range l.pending[r.transaction] {
			l.changes[i].Committed = true
		}
		delete(l.pending, r.transaction)
	case o.redo <= opCompensation, o.redo >= opHotFix && o.redo <= opTransactions:
		// nothing is changed
	default:
		l.change(r, &o)
	}
	return nil
}

// change notes what an operation changes, unless that shows on the volume.
func (l *logFile) change(r *logRecord, o *logOp) {
	c := LogChange{LSN: r.lsn, Transaction: r.transaction, Operation: fmt.Sprintf("operation %#x", o.redo), Record: -1, Length: len(o.data)}
	c.Reached = r.lsn < l.checkpoint && !l.isDirty(o, r.lsn)
	if int(o.redo) < len(logOperations) {
		c.Operation = logOperations[o.redo]
	}
	a, known := l.open[uint32(o.target)]
	cs := int64(l.v.ClusterSize)
	at := int64(o.clusterOffset) * sectorStride
	if o.vcn >= 0 && o.vcn <= l.v.Clusters {
		at += o.vcn * cs
	}
	switch {
	case known && a.ref.record() == recMFT && a.typ == typeData:
		c.Record = at / int64(l.v.RecordSize)
		c.Offset = int64(o.recordOffset) + int64(o.attrOffset)
		record, err := l.v.readRecord(c.Record)
		if err != nil {
			record = nil
		} else if le.Uint64(record[8:]) >= r.lsn {
			c.Reached = true
		}
		c.Attribute = attributeAt(record, c.Record, o)
	case known:
		c.Record, c.Offset = int64(a.ref.record()), at+int64(o.recordOffset)+int64(o.attrOffset)
		if c.Attribute = a.typ.String(); a.name != "" {
			c.Attribute += fmt.Sprintf(" %q", a.name)
		}
		if a.typ == typeIndexAllocation && l.v.blockHas(a, at, r.lsn) {
			c.Reached = true
		}
	}
	l.pending[r.transaction] = append(l.pending[r.transaction], len(l.changes))
	l.changes = append(l.changes, c)
}

// isDirty reports whether the page that an operation before the checkpoint changed was dirty at the checkpoint.
func (l *logFile) isDirty(o *logOp, lsn uint64) bool {
	return slices.ContainsFunc(l.dirty[uint32(o.target)], func(p dirtyPage) bool {
		return o.vcn >= p.vcn && o.vcn-p.vcn < p.clusters && lsn >= p.oldest
	})
}

// attributeAt names the attribute of a record that an operation changes.
func attributeAt(r fileRecord, n int64, o *logOp) string {
	switch {
	case o.redo == opInitializeRecord, o.redo == opDeallocateRecord:
		return ""
	case o.redo == opCreateAttribute && len(o.data) >= 4:
		return attrType(le.Uint32(o.data)).String()
	case r == nil:
		return ""
	}
	list, _ := r.appendAttrs(nil, n)
	for _, a := range list {
		if a.off == int(o.recordOffset) {
			return strings.TrimPrefix(a.String(), recordName(n)+": ")
		}
	}
	return ""
}

// blockHas reports whether the index block at off of an open attribute shows what the log did at lsn.
func (v *Volume) blockHas(a openAttribute, off int64, lsn uint64) bool {
	_, list, err := v.baseAttrs(int64(a.ref.record()))
	if err != nil {
		return false
	}
	i := findAttr(list, typeIndexAllocation, a.name)
	if i < 0 {
		return false
	}
	s, err := v.openStream(list, i)
	if err != nil {
		return false
	}
	var b [16]byte
	_, err = s.ReadAt(b[:], off)
	return err == nil && string(b[:4]) == "INDX" && le.Uint64(b[8:]) >= lsn
}
