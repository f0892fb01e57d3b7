package ntfs

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// LogState tells what $LogFile would still change on the volume.
type LogState int

const (
	LogClean   LogState = iota // nothing: the log is empty, or the volume was dismounted
	LogUnclean                 // mounted or cut off: what the log holds has not reached the volume
	LogCached                  // version 2.0: Windows 8 and later keep metadata in memory (fast startup, hibernation)
	LogDamaged                 // no restart page can be read
)

func (s LogState) String() string {
	switch s {
	case LogClean:
		return "clean"
	case LogUnclean:
		return "not clean"
	case LogCached:
		return "metadata cached by Windows"
	}
	return "damaged"
}

const (
	restartInUse      = 0x0c   // offset of the first client in use, in the restart area
	restartFlags      = 0x0e   // offset
	restartClean      = 0x0002 // volume was dismounted
	noClient          = 0xffff
	restartAreaOffset = 0x18 // offset of the restart area's offset, in the page
)

// readLog judges the two restart pages. It never replays.
func (v *Volume) readLog() {
	s, err := v.openNamed(recLogFile, typeData, "")
	if err == nil {
		v.Log, _, err = s.logState()
	}
	if err != nil {
		v.Log = LogDamaged
		v.warn("$LogFile: %v", err)
	}
	switch v.Log {
	case LogUnclean:
		v.warn("$LogFile is not clean: the last changes before the volume was cut off are not seen")
	case LogCached:
		v.warn("Windows keeps metadata of this volume in memory (fast startup or hibernation): the last changes are not seen")
	default:
		return
	}
	v.warnPending()
}

// pendingShown is how many files warnPending names.
const pendingShown = 5

// warnPending tells which files the log would change.
func (v *Volume) warnPending() {
	changes, err := v.PendingLog()
	if err != nil {
		v.warn("$LogFile: %v", err)
	}
	var records []int64
	seen := make(map[int64]struct{})
	for _, c := range changes {
		if _, ok := seen[c.Record]; !ok {
			seen[c.Record] = struct{}{}
			records = append(records, c.Record)
		}
	}
	if len(changes) == 0 {
		return
	}
	v.warn("$LogFile holds %d changes of %d records that are not seen", len(changes), len(records))
	for i, n := range records {
		if i == pendingShown {
			break
		}
		var of []string
		for _, c := range changes {
			if c.Record == n {
				of = append(of, strings.TrimSpace(c.Operation+" "+c.Attribute))
			}
		}
		slices.Sort(of)
		_, list, _ := v.baseAttrs(n)
		name := ""
		if len(list) > 0 {
			name = v.describeFile(list)
		}
		v.warn("$LogFile: %s%s: %s", name, recordName(n), strings.Join(slices.Compact(of), ", "))
	}
}

// logState judges the two restart pages and returns the one that counts, fixups undone; nil if the log is empty.
func (s *stream) logState() (LogState, []byte, error) {
	best, state := int64(-1), LogDamaged
	var newest []byte
	var why error
	for i := range int64(2) {
		page := make([]byte, logPageSize)
		if _, err := s.ReadAt(page, i*logPageSize); err != nil && err != io.EOF {
			return LogDamaged, nil, err
		}
		if i == 0 && isFilled(page, 0xff) {
			return LogClean, nil, nil
		}
		lsn, st, err := parseRestartPage(page)
		if err != nil {
			why = err
		} else if lsn > best {
			best, state, newest = lsn, st, page
		}
	}
	if best < 0 {
		return LogDamaged, nil, why
	}
	return state, newest, nil
}

func isFilled(b []byte, with byte) bool {
	for _, c := range b {
		if c != with {
			return false
		}
	}
	return true
}

// parseRestartPage returns the current LSN of one page and what it says of the volume.
func parseRestartPage(b []byte) (int64, LogState, error) {
	const what = "restart page"
	if m := string(b[:4]); m != "RSTR" && m != "CHKD" {
		return 0, 0, formatError(what, 0, "magic %q, want %q", m, "RSTR")
	}
	if err := unprotect(b, string(b[:4])); err != nil {
		return 0, 0, &FormatError{what, 0, err}
	}
	off := int(le.Uint16(b[restartAreaOffset:]))
	if off%8 != 0 || off > len(b)-0x30 {
		return 0, 0, formatError(what, restartAreaOffset, "restart area at %#x", off)
	}
	area := b[off:]
	lsn := int64(le.Uint64(area))
	if lsn < 0 {
		return 0, 0, formatError(what, off, "LSN %#x", uint64(lsn))
	}
	clean := le.Uint16(area[restartInUse:]) == noClient || le.Uint16(area[restartFlags:])&restartClean != 0
	switch major := le.Uint16(b[0x1c:]); {
	case clean:
		return lsn, LogClean, nil
	case major == 2:
		return lsn, LogCached, nil
	case major == 1:
		return lsn, LogUnclean, nil
	default:
		return 0, 0, fmt.Errorf("ntfs: log version %d", major)
	}
}
