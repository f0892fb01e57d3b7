package gpt

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"husk/internal/ondisk"
)

// Severity ranks problems.
type Severity int

const (
	SeverityNote    Severity = iota // allowed, if unusual
	SeverityWarning                 // readers get over it, and nothing is misread
	SeverityError                   // partitions are wrong or missing, or readers refuse the disk
)

func (s Severity) String() string { return [...]string{"notice", "warning", "error"}[s] }

// A Problem is one finding of Check.
type Problem struct {
	Severity Severity
	Code     string // one word for programs: "header", "overlap"
	What     string // the structure: "partition 2"
	Off      int64  // bytes in the disk
	Found    string
	Expected string // "" where Found says it all
}

func (p Problem) String() string {
	s := fmt.Sprintf("%v: %s: %s at %#x: %s", p.Severity, p.Code, p.What, p.Off, p.Found)
	if p.Expected != "" {
		s += ", want " + p.Expected
	}
	return s
}

// Codes are the codes that Check uses, with what they mean.
var Codes = map[string]string{
	"table":        "neither table can be used",
	"primary":      "the table at the start of the disk is damaged, the backup is not",
	"backup":       "the backup table is damaged or missing",
	"backup-place": "the backup table is not at the end of the disk, which has grown",
	"copies":       "the two tables differ",
	"usable":       "the sectors for partitions overlap a table",
	"overlap":      "two partitions have the same sectors",
	"guid-twice":   "two partitions have the same unique GUID",
	"alignment":    "a partition does not start at a whole MiB",
}

// Check holds both tables of the disk r, of size bytes, against the format and each other. A disk without any table is ErrNone.
func Check(r io.ReaderAt, size int64) ([]Problem, error) {
	var list []Problem
	add := func(s Severity, code, what string, off int64, format string, args ...any) {
		found, expected, _ := strings.Cut(fmt.Sprintf(format, args...), ", want ")
		list = append(list, Problem{s, code, what, off, found, expected})
	}
	t, err := Read(r, size)
	var fe *FormatError
	switch {
	case errors.Is(err, ErrNone):
		return nil, err
	case errors.As(err, &fe):
		add(SeverityError, "table", fe.What, fe.Off, "%v", fe.Err)
		return list, nil
	case err != nil:
		return nil, err
	}
	if t.Backup != nil {
		what, off, err := "header", int64(t.SectorSize), t.Backup
		if errors.As(err, &fe) {
			what, off, err = fe.What, fe.Off, fe.Err
		}
		add(SeverityWarning, "primary", what, off, "%v", err)
	} else {
		checkBackup(r, size, t, add)
	}
	comparePartitions(t, add)
	return list, nil
}

type addFunc func(s Severity, code, what string, off int64, format string, args ...any)

// checkBackup compares the good table t with the one at the end of the disk.
func checkBackup(r io.ReaderAt, size int64, t *Table, add addFunc) {
	sector := int64(t.SectorSize)
	b, err := ondisk.ReadAt(r, sector, sector, sector)
	if err != nil {
		return // it has just been read
	}
	h, err := parseHeader(b)
	if err != nil {
		return
	}
	last := size/sector - 1
	at := last
	if h.Other != uint64(last) {
		add(SeverityWarning, "backup-place", "header", sector+0x20, "backup table at sector %d, want %d, the last one", h.Other, last)
		if h.Other < 2 || h.Other > uint64(last) {
			return
		}
		at = int64(h.Other)
	}
	other, err := readTable(r, size, sector, at, "backup ")
	var fe *FormatError
	switch {
	case errors.As(err, &fe):
		add(SeverityWarning, "backup", fe.What, fe.Off, "%v", fe.Err)
		return
	case err != nil:
		add(SeverityWarning, "backup", "backup header", at*sector, "no header, want one")
		return
	}
	if other.DiskGUID != t.DiskGUID || other.FirstUsable != t.FirstUsable || other.LastUsable != t.LastUsable || !slices.Equal(other.Partitions, t.Partitions) {
		add(SeverityWarning, "copies", "backup header", at*sector, "another table than the one at the start, want a copy")
	}
	if end := int64(h.Entries) + (int64(h.Count)*int64(h.EntrySize)+sector-1)/sector; h.Entries > 1 && t.FirstUsable < uint64(end) || t.LastUsable >= uint64(at) {
		add(SeverityError, "usable", "header", sector+0x28, "sectors %d to %d are for partitions, want %d to %d at most", t.FirstUsable, t.LastUsable, end, at-1)
	}
}

// comparePartitions compares the partitions with each other.
func comparePartitions(t *Table, add addFunc) {
	const aligned = 1 << 20 // as Windows has placed partitions since Vista
	parts := slices.Clone(t.Partitions)
	slices.SortFunc(parts, func(a, b Partition) int { return cmp.Or(cmp.Compare(a.First, b.First), a.Number-b.Number) })
	guids := make(map[[16]byte]int)
	var last *Partition
	for i := range parts {
		p := &parts[i]
		what, off := fmt.Sprintf("partition %d", p.Number), int64(p.First)*int64(t.SectorSize)
		if last != nil && p.First <= last.Last {
			add(SeverityError, "overlap", what, off, "sectors %d to %d, of which partition %d has %d to %d", p.First, p.Last, last.Number, last.First, last.Last)
		}
		if last == nil || p.Last > last.Last {
			last = p
		}
		if n, ok := guids[p.GUID]; ok {
			add(SeverityError, "guid-twice", what, off, "unique GUID of partition %d", n)
		}
		guids[p.GUID] = p.Number
		if off%aligned != 0 {
			add(SeverityNote, "alignment", what, off, "starts at sector %d, want a multiple of %d", p.First, aligned/t.SectorSize)
		}
	}
}
