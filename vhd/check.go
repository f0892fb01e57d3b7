package vhd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
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
	SeverityError                   // content is wrong or missing, or readers refuse the file
)

func (s Severity) String() string { return [...]string{"notice", "warning", "error"}[s] }

// A Problem is one finding of Check.
type Problem struct {
	Severity Severity
	Code     string // one word for programs: "header", "bat-entry"
	What     string // the structure: "block table entry 12"
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

// maxProblems is how many problems Check tells: a damaged block table gives thousands.
const maxProblems = 1000

// Codes are the codes that Check uses, with what they mean.
var Codes = map[string]string{
	"footer":         "the footer is damaged; with its copy damaged too the file cannot be read",
	"footer-copy":    "the copy of the footer at the start is damaged, or another",
	"footer-field":   "a field of the footer has a value that it cannot have",
	"footer-size":    "the footer has 511 bytes, as Virtual PC before 2004 wrote it",
	"geometry":       "programs that look at the geometry see another size",
	"suspended":      "a virtual machine is suspended on the disk",
	"file-size":      "the file is shorter or longer than its disk",
	"header":         "the dynamic header is damaged",
	"header-field":   "a field of the dynamic header has a value that it cannot have",
	"parent-locator": "a differencing disk does not say where its parent is",
	"bat":            "the block table is too short, or leaves the file",
	"bat-entry":      "a block leaves the file, or shares bytes with something else",
	"bat-behind":     "a block behind the end of the disk",
	"bitmap":         "a block is in the file and has no sector",
}

// checker collects problems.
type checker struct {
	ctx    context.Context
	r      io.ReaderAt
	size   int64
	list   []Problem
	ranges []checkedRange
}

// checkedRange is a part of the file and what it is.
type checkedRange struct {
	start, end int64
	what       string
	at         int64 // where it says so
}

func (c *checker) add(s Severity, code, what string, off int64, found, expected string) {
	if len(c.list) < maxProblems {
		c.list = append(c.list, Problem{s, code, what, off, found, expected})
	}
}

func (c *checker) addError(s Severity, code, what string, off int64, err error) {
	found, expected, _ := strings.Cut(err.Error(), ", want ")
	c.add(s, code, what, off, found, expected)
}

// Check holds every structure of the VHD in r, of size bytes, against the format: footer and copy, header, block table, sector bitmaps,
// parent locators. It does not look at the content of blocks, nor at a parent. The error is one of reading; what is wrong with the file
// is in the list.
func Check(ctx context.Context, r io.ReaderAt, size int64) ([]Problem, error) {
	c := &checker{ctx: ctx, r: r, size: size}
	err := c.file()
	return c.list, err
}

func (c *checker) file() error {
	f, at := c.footers()
	if f == nil {
		return nil
	}
	if f.Type == Fixed {
		if want := int64(f.CurrentSize); f.check() == nil && at != want {
			s := SeverityWarning
			if at < want {
				s = SeverityError
			}
			c.add(s, "file-size", "footer", at, fmt.Sprintf("%d bytes before the footer", at), fmt.Sprintf("%d, the size of the disk", want))
		}
		return nil
	}
	if f.check() != nil {
		return nil // reported; nothing can be found from it
	}
	return c.dynamic(f, cmp.Or(at, c.size))
}

// footers finds the footer and compares it with its copy. at is 0 if only the copy can be used.
func (c *checker) footers() (f *footer, at int64) {
	var err error
	for _, n := range []int64{footerSize, oldFooterSize} {
		if c.size < n {
			continue
		}
		var e error
		if f, e = footerAt(c.r, c.size-n, n); e == nil {
			at = c.size - n
			break
		}
		err = cmp.Or(err, e)
	}
	first, copyErr := footerAt(c.r, 0, footerSize)
	switch {
	case f == nil && (copyErr != nil || first.Type == Fixed):
		c.addError(SeverityError, "footer", "footer", max(0, c.size-footerSize), cmp.Or(err, errors.New("the file is too short")))
		return nil, 0
	case f == nil:
		c.addError(SeverityWarning, "footer", "footer", max(0, c.size-footerSize), err)
		f = first
	case f.Type != Fixed && copyErr != nil:
		c.addError(SeverityWarning, "footer-copy", "footer copy", 0, copyErr)
	case f.Type != Fixed && !bytes.Equal(first.marshal(), f.marshal()):
		c.add(SeverityWarning, "footer-copy", "footer copy", 0, "not the footer", "a copy of it")
	}
	if at > 0 && c.size-at == oldFooterSize {
		c.add(SeverityNote, "footer-size", "footer", at, "511 bytes", "512")
	}
	c.footerFields(f, at)
	return f, at
}

func (c *checker) footerFields(f *footer, at int64) {
	if err := f.check(); err != nil {
		c.addError(SeverityError, "footer-field", "footer", at, err)
		return
	}
	const reservedFeature = 2
	if f.Features&reservedFeature == 0 {
		c.add(SeverityNote, "footer-field", "footer", at+8, fmt.Sprintf("features %#x", f.Features), "bit 0x2, which is always set")
	}
	if f.Type == Fixed && f.DataOffset != noOffset {
		c.add(SeverityNote, "footer-field", "footer", at+0x10, fmt.Sprintf("a header at %#x in a fixed disk", f.DataOffset), "none")
	}
	if f.SavedState != 0 {
		c.add(SeverityWarning, "suspended", "footer", at+0x54, "a virtual machine is suspended on this disk", "")
	}
	if size := int64(f.CurrentSize); !sizeCreators[string(f.Creator[:])] && !unambiguous(size, f.Geometry) {
		c.add(SeverityWarning, "geometry", "footer", at+0x38, fmt.Sprintf("%v, %d bytes, which QEMU takes as size: creator %q", f.Geometry, f.Geometry.Size(), f.Creator[:]), fmt.Sprint(size))
	}
}

// dynamic checks all but the footers of a dynamic or differencing disk. end is where blocks must end.
func (c *checker) dynamic(f *footer, end int64) error {
	at := int64(f.DataOffset)
	if !ondisk.Range(at, headerSize, c.size) || at%sectorSize != 0 {
		c.add(SeverityError, "header", "footer", 0x10, fmt.Sprintf("header at %#x", f.DataOffset), fmt.Sprintf("it at a multiple of %d in the file of %d", sectorSize, c.size))
		return nil
	}
	b, err := ondisk.ReadAt(c.r, at, headerSize, headerSize)
	if err != nil {
		return err
	}
	h, err := parseHeader(b)
	if err != nil {
		c.addError(SeverityError, "header", "header", at, err)
		return nil
	}
	c.ranges = append(c.ranges, checkedRange{0, footerSize, "the footer copy", 0}, checkedRange{at, at + headerSize, "the header", at})
	if h.DataOffset != noOffset {
		c.add(SeverityNote, "header-field", "header", at+8, fmt.Sprintf("next structure at %#x", h.DataOffset), "none")
	}
	if f.Type == Differencing {
		c.locators(h, at)
	} else if h.ParentID != [16]byte{} {
		c.add(SeverityNote, "header-field", "header", at+0x28, fmt.Sprintf("parent %x of a dynamic disk", h.ParentID), "none")
	}
	return c.table(f, h, at, end)
}

// locators checks where a differencing disk says that its parent is.
func (c *checker) locators(h *header, at int64) {
	const locators, locatorSize = 0x240, 24
	used := 0
	for i, l := range h.Locators {
		if l.Code == [4]byte{} {
			continue
		}
		off := at + locators + int64(i)*locatorSize
		if l.Offset > uint64(c.size) || !ondisk.Range(int64(l.Offset), int64(l.Length), c.size) || l.Length == 0 {
			c.add(SeverityError, "parent-locator", fmt.Sprintf("parent locator %d", i+1), off, fmt.Sprintf("%d bytes at %#x", l.Length, l.Offset), fmt.Sprintf("them in the file of %d", c.size))
			continue
		}
		used++
		c.ranges = append(c.ranges, checkedRange{int64(l.Offset), int64(l.Offset) + int64(l.Length), fmt.Sprintf("parent locator %d", i+1), off})
	}
	if h.ParentID == [16]byte{} || used == 0 {
		c.add(SeverityError, "parent-locator", "header", at+0x28, fmt.Sprintf("parent %x with %d locators", h.ParentID, used), "an id and a path")
	}
}

// table checks the block table and that blocks stand in the file once.
func (c *checker) table(f *footer, h *header, at, end int64) error {
	blockSize := int64(h.BlockSize)
	n := blockCount(int64(f.CurrentSize), blockSize)
	if n > int64(h.MaxTableEntries) || n > maxBATEntries {
		c.add(SeverityError, "bat", "header", at+0x1c, fmt.Sprintf("block table of %d entries", h.MaxTableEntries), fmt.Sprintf("%d, at most %d", n, maxBATEntries))
		n = min(n, int64(h.MaxTableEntries), maxBATEntries)
	}
	total := min(int64(h.MaxTableEntries), maxBATEntries)
	if h.TableOffset > uint64(c.size) || !ondisk.Range(int64(h.TableOffset), 4*n, c.size) {
		c.add(SeverityError, "bat", "header", at+0x10, fmt.Sprintf("block table of %d bytes at %#x", 4*n, h.TableOffset), fmt.Sprintf("it in the file of %d", c.size))
		return nil
	}
	table := int64(h.TableOffset)
	total = min(total, (c.size-table)/4)
	b, err := ondisk.ReadAt(c.r, table, 4*total, 4*maxBATEntries)
	if err != nil {
		return err
	}
	c.ranges = append(c.ranges, checkedRange{table, table + 4*n, "the block table", at + 0x10})
	for i := range total {
		sector := binary.BigEndian.Uint32(b[4*i:])
		if sector == absent {
			continue
		}
		what, off := fmt.Sprintf("block table entry %d", i), table+4*i
		if i >= n {
			c.add(SeverityNote, "bat-behind", what, off, fmt.Sprintf("a block at %#x behind the end of the disk", int64(sector)*sectorSize), "none")
			continue
		}
		start := int64(sector) * sectorSize
		// Some writers cut the last block where the disk ends.
		stop := start + bitmapSize(blockSize) + min(blockSize, int64(f.CurrentSize)-i*blockSize)
		if stop > end {
			c.add(SeverityError, "bat-entry", what, off, fmt.Sprintf("block from %#x to %#x", start, stop), fmt.Sprintf("it to end by %#x", end))
			continue
		}
		c.ranges = append(c.ranges, checkedRange{start, stop, fmt.Sprintf("block %d", i), off})
		if err := c.bitmap(what, start, blockSize); err != nil {
			return err
		}
	}
	c.overlaps()
	return nil
}

// bitmap looks for a block without any sector.
func (c *checker) bitmap(what string, start, blockSize int64) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	b, err := ondisk.ReadAt(c.r, start, bitmapSize(blockSize), maxBlockSize/sectorSize/8)
	if err != nil {
		return err
	}
	if len(bytes.Trim(b, "\x00")) == 0 {
		c.add(SeverityNote, "bitmap", what, start, "no sector of the block is marked as present", "")
	}
	return nil
}

// overlaps finds ranges of the file that are two things.
func (c *checker) overlaps() {
	slices.SortStableFunc(c.ranges, func(a, b checkedRange) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	var last checkedRange
	for _, r := range c.ranges {
		if r.start < last.end {
			c.add(SeverityError, "bat-entry", r.what, r.at, fmt.Sprintf("from %#x to %#x, and so is %s from %#x to %#x", r.start, r.end, last.what, last.start, last.end), "")
		}
		if r.end > last.end {
			last = r
		}
	}
}
