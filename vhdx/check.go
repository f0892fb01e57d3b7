package vhdx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"husk/guid"
	"husk/internal/ondisk"
)

// Severity ranks problems.
type Severity int

const (
	SeverityNote    Severity = iota // allowed, if unusual
	SeverityWarning                 // readers get over it, and nothing is misread
	SeverityError                   // content is wrong or missing, or readers refuse the file
)

func (s Severity) String() string { return [...]string{"notice", "warning", "error"}[s] }

// A Problem is one finding of Check.
type Problem struct {
	Severity Severity
	Code     string // one word for programs: "header", "bat-entry"
	What     string // the structure: "BAT entry 12"
	Off      int64  // bytes in the file
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

// maxProblems is how many problems Check tells: a damaged BAT gives thousands.
const maxProblems = 1000

// Codes are the codes that Check uses, with what they mean.
var Codes = map[string]string{
	"identifier":   "the file does not start as a VHDX file",
	"header":       "a header is damaged; with both damaged the file cannot be read",
	"log":          "the log cannot be replayed",
	"log-unclean":  "the log holds changes: the file was not closed",
	"region-table": "a region table is damaged, or not what it has to be",
	"region-copy":  "the two region tables differ",
	"metadata":     "the metadata is damaged",
	"unsupported":  "what is needed to read the file is not known here",
	"bat-entry":    "an entry of the block allocation table cannot be, or its block shares bytes with something else",
	"bat-reserved": "an entry of the block allocation table has bits that mean nothing",
	"bat-behind":   "a block behind the end of the disk",
	"bitmap":       "a partially present block has no sector bitmap",
	"file-size":    "the file is not a whole number of MiB",
	"unused":       "bytes of the file that nothing uses",
}

// checker collects problems.
type checker struct {
	image
	list []Problem
}

func (c *checker) add(s Severity, code, what string, off int64, text string) bool {
	found, expected, _ := strings.Cut(text, ", want ")
	c.list = append(c.list, Problem{s, code, what, off, found, expected})
	return len(c.list) < maxProblems
}

// addError adds what reading reported.
func (c *checker) addError(s Severity, code string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			c.addError(s, code, e)
		}
		return
	}
	if errors.Is(err, errors.ErrUnsupported) {
		code = "unsupported"
	}
	if e, ok := errors.AsType[*FormatError](err); ok {
		c.add(s, code, e.What, e.Off, e.Err.Error())
		return
	}
	c.add(s, code, "file", 0, strings.TrimPrefix(err.Error(), "vhdx: "))
}

// Check holds every structure of the VHDX in r, of size bytes, against the format, copies included. It does not look at
// the content of blocks, nor at a parent. The error is one of reading; what is wrong with the file is in the list.
func Check(ctx context.Context, r io.ReaderAt, size int64) ([]Problem, error) {
	c := &checker{}
	c.r, c.size = r, size
	rec := &recorder{r: r}
	c.r = rec
	c.look(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if rec.err != nil {
		return nil, rec.err
	}
	return c.list, nil
}

// recorder keeps the first error of reading that is not the end of the file.
type recorder struct {
	r   io.ReaderAt
	err error
}

func (r *recorder) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.r.ReadAt(p, off)
	if err != nil && err != io.EOF && r.err == nil {
		r.err = err
	}
	return n, err
}

// look goes as far as what it finds allows.
func (c *checker) look(ctx context.Context) {
	if !IsVHDX(c.r) {
		c.add(SeverityError, "identifier", "file identifier", 0, fmt.Sprintf("no %q, want it", fileMagic))
		return
	}
	if c.size%mib != 0 {
		c.add(SeverityNote, "file-size", "file", c.size, fmt.Sprintf("%d bytes, want a multiple of 1 MiB", c.size))
	}
	if err := c.readHeaders(); err != nil {
		c.addError(SeverityError, "header", err)
		return
	}
	c.copies()
	if (c.head.LogGUID != guid.GUID{}) {
		at := int64(c.head.LogOffset)
		o, err := replay(c.r, c.size, &c.head)
		if err != nil {
			c.addError(SeverityError, "log", err)
			return
		}
		c.add(SeverityWarning, "log-unclean", "log", at, fmt.Sprintf("%d changes that are not in the file, want none", o.changes))
		c.log, c.r, c.size = o, o, o.size
	}
	if err := c.readRegions(); err != nil {
		c.addError(SeverityError, "region-table", err)
		return
	}
	if err := c.readMetadata(); err != nil {
		c.addError(SeverityError, "metadata", err)
		return
	}
	if err := c.readBAT(); err != nil {
		c.addError(SeverityError, "region-table", err)
		return
	}
	if ctx.Err() == nil {
		c.checkBlocks()
	}
}

// copies looks at both headers and both region tables.
func (c *checker) copies() {
	for i := range 2 {
		at := int64(headerAt + i*headerStep)
		b, err := ondisk.ReadAt(c.r, at, headerSize, headerSize)
		if err == nil {
			_, err = parseHeader(b)
		}
		if err != nil {
			c.add(SeverityWarning, "header", fmt.Sprintf("header %d", i+1), at, err.Error())
		}
	}
	var tables [2][]regionEntry
	for i := range 2 {
		at := int64(regionAt + i*regionStep)
		b, err := ondisk.ReadAt(c.r, at, regionSize, regionSize)
		if err == nil {
			tables[i], err = parseRegions(b)
		}
		if err != nil {
			c.add(SeverityWarning, "region-table", fmt.Sprintf("region table %d", i+1), at, err.Error())
			return
		}
	}
	if !slices.Equal(tables[0], tables[1]) {
		c.add(SeverityWarning, "region-copy", "region table 2", regionAt+regionStep, "it differs from the first, want a copy")
	}
}

// checkBlocks looks at every entry of the BAT, and at what is between blocks.
func (c *checker) checkBlocks() {
	c.walkBAT(func(entry int, err error) bool {
		return c.add(SeverityError, "bat-entry", fmt.Sprintf("BAT entry %d", entry), c.batAt+8*int64(entry), err.Error())
	})
	used, _ := c.fixedExtents()
	for i, e := range c.bat {
		n, what, at := int64(i), fmt.Sprintf("BAT entry %d", i), c.batAt+8*int64(i)
		if len(c.list) >= maxProblems {
			return
		}
		if e.reserved() {
			c.add(SeverityWarning, "bat-reserved", what, at, fmt.Sprintf("bits %#x, want 0", uint64(e)&0xffff8))
		}
		if !e.inFile() {
			continue
		}
		if c.isBitmap(n) {
			used = append(used, extent{e.offset(), e.offset() + bitmapBlock, i})
			continue
		}
		used = append(used, extent{e.offset(), e.offset() + c.blockSize, i})
		b := c.block(n)
		if b >= c.blocks() {
			c.add(SeverityWarning, "bat-behind", what, at, fmt.Sprintf("block %d, want none behind block %d", b, c.blocks()-1))
		} else if e.state() == statePartial && c.locator != nil && c.bat[c.bitmap(b)].state() != statePresent {
			c.add(SeverityError, "bitmap", what, at, fmt.Sprintf("block %d without sector bitmap, want one", b))
		}
	}
	slices.SortFunc(used, func(a, b extent) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	var lost, end int64
	for _, e := range used {
		if e.start > end {
			lost += e.start - end
		}
		end = max(end, e.end)
	}
	if end = roundUp(end, mib); c.size > end {
		lost += c.size - end
	}
	if lost >= mib {
		c.add(SeverityNote, "unused", "file", 0, fmt.Sprintf("%d bytes belong to nothing", lost))
	}
}
