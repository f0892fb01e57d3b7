package mbr

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
	Code     string // one word for programs: "range", "overlap"
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
	"record":     "the first sector is no master boot record",
	"range":      "a partition leaves the disk, or starts in the table",
	"overlap":    "two partitions have the same sectors",
	"active":     "several partitions are active: which one starts depends on the boot code",
	"logical":    "the chain of logical partitions is damaged",
	"signature":  "the disk has no signature: Windows writes one when it sees the disk",
	"alignment":  "a partition does not start at a whole MiB, as it did before Vista",
	"protective": "the partition that guards a GPT does not cover the disk",
	"hybrid":     "partitions beside the one that guards a GPT",
}

// numbered is a partition and its number.
type numbered struct {
	Partition
	number int
	at     int64 // of its entry; 0 for logical ones
}

// CheckDisk holds the table of the disk r, of size bytes in sectors of sectorSize, against the format: also logical partitions, and the
// partition that guards a GPT. The error is one of reading.
func CheckDisk(r io.ReaderAt, size int64, sectorSize int) ([]Problem, error) {
	var list []Problem
	add := func(s Severity, code, what string, off int64, format string, args ...any) {
		found, expected, _ := strings.Cut(fmt.Sprintf(format, args...), ", want ")
		list = append(list, Problem{s, code, what, off, found, expected})
	}
	b, err := ondisk.ReadAt(r, 0, Size, Size)
	if err != nil {
		return nil, err
	}
	t, err := Parse(b)
	var fe *FormatError
	if errors.As(err, &fe) {
		add(SeverityError, "record", fe.What, fe.Off, "%v", fe.Err)
		return list, nil
	}
	sectors := uint64(size) / uint64(sectorSize)
	if t.Protective() {
		t.checkProtective(sectors, add)
		return list, nil
	}
	if t.Signature == 0 {
		add(SeverityNote, "signature", "boot record", signatureAt, "signature 0")
	}
	parts := t.numbered()
	logical, err := t.Logical(r, sectorSize)
	for i, p := range logical {
		parts = append(parts, numbered{p, 5 + i, 0})
	}
	if errors.As(err, &fe) {
		add(SeverityError, "logical", fe.What, fe.Off, "%v", fe.Err)
	} else if err != nil {
		return list, err
	}
	checkParts(parts, sectors, sectorSize, add)
	return list, nil
}

type addFunc func(s Severity, code, what string, off int64, format string, args ...any)

// numbered lists the primary partitions in use.
func (t *Table) numbered() (list []numbered) {
	for i, p := range t.Parts {
		if p.Used() {
			list = append(list, numbered{p, i + 1, int64(partitionsAt + i*partitionSize)})
		}
	}
	return list
}

// checkParts compares partitions with the disk and with each other. An extended one contains the logical ones.
func checkParts(parts []numbered, sectors uint64, sectorSize int, add addFunc) {
	slices.SortStableFunc(parts, func(a, b numbered) int { return cmp.Compare(a.Start, b.Start) })
	active := 0
	var last *numbered
	for i := range parts {
		p := &parts[i]
		what := fmt.Sprintf("partition %d", p.number)
		if p.Active {
			active++
		}
		if p.Start == 0 || p.end() > sectors {
			add(SeverityError, "range", what, p.at, "sectors %d to %d, want them among 1 to %d", p.Start, p.end()-1, sectors-1)
		}
		if p.Extended() {
			continue
		}
		if last != nil && uint64(p.Start) < last.end() {
			add(SeverityError, "overlap", what, p.at, "sectors %d to %d, of which partition %d has %d to %d", p.Start, p.end()-1, last.number, last.Start, last.end()-1)
		}
		if last == nil || p.end() > last.end() {
			last = p
		}
		if int64(p.Start)*int64(sectorSize)%alignment != 0 {
			add(SeverityNote, "alignment", what, p.at, "starts at sector %d, want a multiple of %d", p.Start, alignment/sectorSize)
		}
	}
	if active > 1 {
		add(SeverityWarning, "active", "partitions", partitionsAt, "%d are active, want at most one", active)
	}
	for i := range parts { // a primary partition inside the extended one
		for j := range parts {
			if e, p := &parts[i], &parts[j]; e.Extended() && p.number <= 4 && i != j && overlap(e.Partition, p.Partition) {
				add(SeverityError, "overlap", fmt.Sprintf("partition %d", p.number), p.at, "sectors %d to %d, of which the extended partition %d has %d to %d", p.Start, p.end()-1, e.number, e.Start, e.end()-1)
			}
		}
	}
}

// checkProtective checks the partition of a disk with GPT.
func (t *Table) checkProtective(sectors uint64, add addFunc) {
	for _, p := range t.numbered() {
		what := fmt.Sprintf("partition %d", p.number)
		if p.Type != TypeProtective {
			add(SeverityNote, "hybrid", what, p.at, "type %#02x, sectors %d to %d, beside a GPT", p.Type, p.Start, p.end()-1)
			continue
		}
		if want := min(sectors-1, 1<<32-1); p.Start != 1 || uint64(p.Sectors) != want && p.Sectors != 1<<32-1 {
			add(SeverityNote, "protective", what, p.at, "sector %d and %d more, want 1 and %d", p.Start, p.Sectors, want)
		}
	}
}
