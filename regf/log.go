package regf

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
)

// Recovery tells in what state a hive was found, and what its logs gave.
type Recovery struct {
	Dirty    bool     // the file alone is not the last state of the registry
	Reason   string   // why it is dirty: "sequence numbers 12 and 11"
	Complete bool     // logs were replayed to their end; the hive is as Windows would load it
	Format   string   // of the logs: "DIRT" (until Windows 8) or "HvLE"
	Entries  int      // of new logs, or 1
	Bytes    int64    // replayed
	Notes    []string // why a log was not used
}

// newLogEntry is one entry of a log in the new format.
type newLogEntry struct {
	sequence uint32
	binsSize uint32
	refs     []byte // pairs of offset and length
	pages    []byte
}

// logFile is a log with a valid base block.
type logFile struct {
	base    baseBlock
	data    []byte
	entries []newLogEntry // of the new format
}

// recoverHive returns the file with its logs replayed, or the file itself if it is clean. It never changes file.
func recoverHive(file []byte, logs [][]byte) ([]byte, Recovery, error) {
	var r Recovery
	base := baseBlock(file)
	headerBad := !base.valid()
	if a, b := base.sequences(); headerBad {
		r.Dirty, r.Reason = true, "checksum of the base block"
	} else if a != b {
		r.Dirty, r.Reason = true, fmt.Sprintf("sequence numbers %d and %d", a, b)
	}
	if !r.Dirty {
		return file, r, nil
	}
	var usable []*logFile
	for i, b := range logs {
		l, err := parseLog(b)
		if err != nil {
			r.Notes = append(r.Notes, fmt.Sprintf("log %d: %v", i+1, err))
			continue
		}
		if l != nil {
			usable = append(usable, l)
		}
	}
	out := slices.Clone(file)
	var newLogs []*logFile
	for _, l := range usable {
		if l.base.kind() == typeLogNew {
			newLogs = append(newLogs, l)
		}
	}
	var err error
	switch {
	case len(newLogs) > 0:
		out, err = replayNew(out, newLogs, headerBad, &r)
	case len(usable) > 0:
		out, err = replayOld(out, usable, headerBad, &r)
	}
	if err != nil {
		r.Complete, r.Notes = false, append(r.Notes, err.Error())
	}
	if !r.Complete && headerBad {
		if string(file[:4]) != "regf" {
			return nil, r, ErrNotHive
		}
		return nil, r, &FormatError{"base block", baseSum, fmt.Errorf("checksum %#x, want %#x; %w", le.Uint32(base[baseSum:]), base.sum(), ErrDirty)}
	}
	if !r.Complete {
		return file, r, nil
	}
	return out, r, nil
}

// parseLog checks the base block of a log. An empty log is nil.
func parseLog(b []byte) (*logFile, error) {
	if len(b) < sectorSize || allZero(b[:sectorSize]) {
		return nil, nil
	}
	l := &logFile{base: baseBlock(b[:sectorSize]), data: b}
	if !l.base.valid() {
		return nil, fmt.Errorf("base block: magic %q and checksum %#x, want regf and %#x", b[:4], le.Uint32(b[baseSum:]), l.base.sum())
	}
	if a, c := l.base.sequences(); a != c {
		return nil, fmt.Errorf("base block: sequence numbers %d and %d, want equal ones", a, c)
	}
	switch l.base.kind() {
	case typeLogOld, typeLogNT:
		return l, nil
	case typeLogNew:
		l.readEntries()
		if len(l.entries) == 0 {
			return nil, fmt.Errorf("entry at %#x: want a valid one with sequence number %d", sectorSize, le.Uint32(l.base[4:]))
		}
		return l, nil
	}
	return nil, fmt.Errorf("base block: file type %d, want 1, 2 or 6", l.base.kind())
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

const (
	entryHeader = 40
	marvinSeed  = 0x82ef4d887a4e55c5
)

// readEntries reads entries up to the first that is not one or does not follow: there the log ends, whatever stands behind.
func (l *logFile) readEntries() {
	want, _ := l.base.sequences()
	for b := l.data[sectorSize:]; ; want++ {
		e, size, ok := readEntry(b)
		if !ok || e.sequence != want {
			return
		}
		l.entries = append(l.entries, e)
		b = b[size:]
	}
}

func readEntry(b []byte) (e newLogEntry, size int, ok bool) {
	if len(b) < sectorSize || string(b[:4]) != "HvLE" {
		return e, 0, false
	}
	n, count := le.Uint32(b[4:]), le.Uint32(b[20:])
	if n < sectorSize || n%sectorSize != 0 || uint64(n) > uint64(len(b)) || uint64(count) > uint64(n-entryHeader)/8 {
		return e, 0, false
	}
	b = b[:n]
	if marvin32(marvinSeed, b[entryHeader:]) != le.Uint64(b[24:]) || marvin32(marvinSeed, b[:32]) != le.Uint64(b[32:]) {
		return e, 0, false
	}
	refs := b[entryHeader : entryHeader+8*int(count)]
	e = newLogEntry{le.Uint32(b[12:]), le.Uint32(b[16:]), refs, b[entryHeader+len(refs):]}
	var sum uint64
	for r := refs; len(r) > 0; r = r[8:] {
		sum += uint64(le.Uint32(r[4:]))
	}
	return e, int(n), sum <= uint64(len(e.pages))
}

// marvin32 is the hash of log entries, with marvinSeed.
func marvin32(seed uint64, b []byte) uint64 {
	lo, hi := uint32(seed), uint32(seed>>32)
	mix := func(v uint32) {
		lo += v
		hi ^= lo
		lo = bits.RotateLeft32(lo, 20) + hi
		hi = bits.RotateLeft32(hi, 9) ^ lo
		lo = bits.RotateLeft32(lo, 27) + hi
		hi = bits.RotateLeft32(hi, 19)
	}
	for ; len(b) >= 4; b = b[4:] {
		mix(le.Uint32(b))
	}
	last := uint32(0x80)
	for _, c := range slices.Backward(b) {
		last = last<<8 | uint32(c)
	}
	mix(last)
	mix(0)
	return uint64(lo) | uint64(hi)<<32
}

// replayNew applies the entries of new logs that follow the state of the primary file.
func replayNew(out []byte, logs []*logFile, headerBad bool, r *Recovery) ([]byte, error) {
	slices.SortStableFunc(logs, func(a, b *logFile) int { return int(int32(a.entries[0].sequence - b.entries[0].sequence)) })
	base := baseBlock(out)
	_, least := base.sequences()
	if headerBad { // the log that got furthest has the base block
		logs = logs[len(logs)-1:]
		copy(out, logs[0].base)
		least = logs[0].entries[0].sequence
	}
	var last uint32
	for _, l := range logs {
		for _, e := range l.entries {
			switch {
			case r.Entries == 0 && int32(e.sequence-least) < 0, r.Entries > 0 && int32(e.sequence-last) <= 0:
				continue // the file has it
			case r.Entries > 0 && e.sequence != last+1:
				r.Notes = append(r.Notes, fmt.Sprintf("log entries %d to %d are missing; those after them were not used", last+1, e.sequence-1))
				return finishReplay(out, last, r), nil
			}
			var err error
			if out, err = e.apply(out); err != nil {
				return nil, err
			}
			last = e.sequence
			r.Entries++
			for refs := e.refs; len(refs) > 0; refs = refs[8:] {
				r.Bytes += int64(le.Uint32(refs[4:]))
			}
		}
	}
	if r.Entries == 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("the logs end before sequence number %d", least))
		return out, nil
	}
	r.Format = "HvLE"
	return finishReplay(out, last, r), nil
}

// finishReplay makes the base block that of a clean hive.
func finishReplay(out []byte, last uint32, r *Recovery) []byte {
	base := baseBlock(out)
	base.setSequence(last + 1)
	le.PutUint32(base[0x1c:], typePrimary)
	base.seal()
	r.Complete, r.Format = true, "HvLE"
	return out
}

// apply writes the pages of an entry. Bins grow only by what the pages cover.
func (e *newLogEntry) apply(out []byte) ([]byte, error) {
	end := uint64(len(out) - pageSize)
	for refs := e.refs; len(refs) > 0; refs = refs[8:] {
		end = max(end, uint64(le.Uint32(refs))+uint64(le.Uint32(refs[4:])))
	}
	if e.binsSize%pageSize != 0 || uint64(e.binsSize) > end || e.binsSize > maxBins {
		return nil, fmt.Errorf("log entry %d: bins of %#x bytes, want pages and at most %#x", e.sequence, e.binsSize, end)
	}
	if size := pageSize + int(e.binsSize); size > len(out) {
		have := len(out)
		// Pages are in memory already; what lies between them is at most as far as offsets may reach.
		if gap := uint64(size-have) - min(uint64(len(e.pages)), uint64(size-have)); gap > 0 {
			return nil, fmt.Errorf("log entry %d: bins grow to %#x bytes, but %#x of these have no page", e.sequence, e.binsSize, gap)
		}
		out = append(out, make([]byte, size-have)...)
	}
	pages := e.pages
	for refs := e.refs; len(refs) > 0; refs = refs[8:] {
		off, n := le.Uint32(refs), le.Uint32(refs[4:])
		if uint64(off)+uint64(n) > uint64(len(out)-pageSize) {
			return nil, fmt.Errorf("log entry %d: page %#x of %#x bytes, want within bins of %#x", e.sequence, off, n, len(out)-pageSize)
		}
		copy(out[pageSize+int(off):], pages[:n])
		pages = pages[n:]
	}
	le.PutUint32(out[0x28:], e.binsSize)
	return out, nil
}

// replayOld applies the first old log that belongs to the state of the primary file.
func replayOld(out []byte, logs []*logFile, headerBad bool, r *Recovery) ([]byte, error) {
	stamp := baseBlock(out).written()
	if headerBad {
		if len(out) < pageSize+binHeader || string(out[pageSize:pageSize+4]) != "hbin" {
			r.Notes = append(r.Notes, "neither base block nor first bin tell which log belongs to them")
			return out, nil
		}
		copy(out[0xc:0x14], out[pageSize+20:pageSize+28])
		stamp = baseBlock(out).written()
	}
	for i, l := range logs {
		if l.base.written() != stamp {
			r.Notes = append(r.Notes, fmt.Sprintf("log %d is of %v, the hive of %v", i+1, l.base.written().Time(), stamp.Time()))
			continue
		}
		size := l.base.binsSize()
		bitmap := int(size / sectorSize / 8)
		b := l.data[sectorSize:]
		if size%pageSize != 0 || size == 0 || size > maxBins {
			r.Notes = append(r.Notes, fmt.Sprintf("log %d: bins of %#x bytes, want pages and at most %#x", i+1, size, maxBins))
			continue
		}
		if len(b) < 4+bitmap || string(b[:4]) != "DIRT" {
			r.Notes = append(r.Notes, fmt.Sprintf("log %d: no bitmap of %d bytes after DIRT", i+1, bitmap))
			continue
		}
		out, err := l.applyOld(out, b[4:4+bitmap], headerBad, r)
		if err != nil {
			r.Notes = append(r.Notes, fmt.Sprintf("log %d: %v", i+1, err))
			continue
		}
		return out, nil
	}
	return out, nil
}

func (l *logFile) applyOld(out []byte, bitmap []byte, headerBad bool, r *Recovery) ([]byte, error) {
	pages := 0
	for _, c := range bitmap {
		pages += bits.OnesCount8(c)
	}
	start := (sectorSize + 4 + len(bitmap) + sectorSize - 1) &^ (sectorSize - 1)
	if pages > (len(l.data)-min(start, len(l.data)))/sectorSize {
		return nil, fmt.Errorf("%d dirty pages, the file has room for %d", pages, (len(l.data)-min(start, len(l.data)))/sectorSize)
	}
	size := pageSize + int(l.base.binsSize())
	if size > len(out)+pages*sectorSize {
		return nil, fmt.Errorf("bins grow from %#x to %#x bytes by %d pages", len(out)-pageSize, l.base.binsSize(), pages)
	}
	res := append(make([]byte, 0, max(size, len(out))), out...)
	if size > len(res) {
		res = res[:size]
	}
	at := l.data[start:]
	for i, c := range bitmap {
		for ; c != 0; c &= c - 1 {
			copy(res[pageSize+sectorSize*(8*i+bits.TrailingZeros8(c)):], at[:sectorSize])
			at = at[sectorSize:]
		}
	}
	base := baseBlock(res)
	seq, _ := l.base.sequences()
	if headerBad {
		copy(base, l.base)
	} else {
		first, _ := base.sequences()
		seq = max(seq, first)
	}
	le.PutUint32(base[0x28:], l.base.binsSize())
	le.PutUint32(base[0x1c:], typePrimary)
	base.setSequence(seq)
	base.seal()
	r.Complete, r.Format, r.Entries, r.Bytes = true, "DIRT", 1, int64(pages)*sectorSize
	return res, nil
}
