// Package check holds disks to the invariants of their formats: the container (VHD, VHDX), the partition table and every NTFS volume in
// it. It reads structures, not the content of files, so it takes a small part of the time that reading the disk would.
package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/gpt"
	"husk/internal/disk"
	"husk/internal/mounted"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/mbr"
	"husk/ntfs"
	"husk/vhd"
	"husk/vhdx"
)

// Options tunes Run.
type Options struct {
	All bool // keep every finding; otherwise the first few thousand of each severity
	UI  *ui.UI
}

// Severity ranks findings; its numbers are those of all formats.
type Severity int

const (
	Notice Severity = iota
	Warning
	Error
)

func (s Severity) String() string { return [...]string{"notice", "warning", "error"}[s] }

// A Finding is something wrong in one structure.
type Finding struct {
	Severity  Severity
	Format    string // "vhd", "vhdx", "mbr", "gpt", "ntfs"
	Code      string
	Partition int    // of an NTFS volume; 0 for a bare one and for what is the disk's
	Record    int64  // of an NTFS volume; -1 for what is not a record's
	Attribute string // of a record
	Offset    int64  // bytes, in what Where names; -1 if there is no one place
	Where     string
	Found     string
	Expected  string
}

// Message is what was found and expected.
func (f *Finding) Message() string {
	if f.Expected == "" {
		return f.Found
	}
	return f.Found + ", want " + f.Expected
}

// Result is what was found on one disk.
type Result struct {
	Format   string // "VHD dynamic", "raw"
	Findings []Finding
	Counts   [Error + 1]int // of all findings, by severity
	Codes    map[string]int // of all findings
	Volumes  []Volume
	Elapsed  time.Duration
}

// Volume is one NTFS volume that was checked.
type Volume struct {
	Partition          int // 0: the whole disk
	Label              string
	Size               int64 // bytes
	Files, Directories int64
}

// Bad reports whether there is more than notices.
func (r *Result) Bad() bool { return r.Counts[Error]+r.Counts[Warning] > 0 }

func (r *Result) add(f Finding) {
	r.Findings = append(r.Findings, f)
	r.count(f.Severity, f.Format+":"+f.Code, 1)
}

func (r *Result) count(s Severity, code string, n int) {
	r.Counts[s] += n
	r.Codes[code] += n
}

// fail makes an error of reading a structure a finding.
func (r *Result) fail(format, code, where string, off int64, err error) {
	found, expected, _ := strings.Cut(err.Error(), ", want ")
	r.add(Finding{Error, format, code, 0, -1, "", off, where, found, expected})
}

// checker checks one disk.
type checker struct {
	Result
	o    *Options
	path string
	r    io.ReaderAt // the disk, without its container
	disk *disk.Disk  // nil if its container is damaged
	size int64
}

// Run checks what spec names: DISK[:PARTITION]. Damage is in the result, also where it is so great that nothing can be read; an error
// means that it is no disk, or could not be read at all.
func Run(ctx context.Context, spec string, o *Options) (*Result, error) {
	start := time.Now()
	path, selector := source.Split(spec)
	number := 0
	if selector != "" {
		n, err := strconv.Atoi(selector)
		if err != nil || n < 1 {
			return nil, ui.Usage(fmt.Errorf("%s:%s: want a partition number after the colon", path, selector))
		}
		number = n
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		return nil, ui.Hint(fmt.Errorf("%s is a folder, want a disk", path), "'husk verify %s --against=SOURCE' compares folders", path)
	case source.IsWIM(path):
		return nil, ui.Hint(fmt.Errorf("%s is a WIM, want a disk", path), "'husk verify %s' checks a WIM", path)
	case source.IsDisc(path):
		return nil, ui.Hint(fmt.Errorf("%s is an ISO image, want a disk", path), "'husk verify %s' reads all that is on it", path)
	case st.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0:
		return nil, fmt.Errorf("%s is a pipe, want a disk", path)
	}
	c := &checker{o: o, path: path, Result: Result{Codes: make(map[string]int)}}
	c.warnInUse(st.Mode())
	if err := c.run(ctx, number); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	slices.SortStableFunc(c.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	c.Elapsed = time.Since(start)
	return &c.Result, nil
}

// warnInUse says that what changes while it is read looks damaged.
func (c *checker) warnInUse(mode os.FileMode) {
	var users []string
	if mode&os.ModeDevice != 0 {
		users, _ = mounted.Users(c.path) // who cannot tell, does not warn
	} else {
		users, _ = mounted.Loops(c.path)
	}
	if len(users) > 0 {
		c.o.UI.Warn("%s is in use (%s): what changes now may look like damage", c.path, strings.Join(users, ", "))
	}
}

func (c *checker) run(ctx context.Context, number int) error {
	f, err := os.Open(c.path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd) // also right for block devices, which Stat gives no size for
	if err != nil {
		return err
	}
	closer, err := c.container(ctx, f, size)
	if err != nil {
		return err
	}
	if closer != nil {
		defer closer.Close()
	}
	if c.r == nil {
		return nil // the container cannot be read, which is a finding
	}
	parts, err := c.table()
	if err != nil {
		return err
	}
	if number > 0 {
		i := slices.IndexFunc(parts, func(p partition) bool { return p.number == number })
		if i < 0 && len(parts) == 1 && parts[0].number == 0 && number == 1 {
			i = 0 // a bare volume
		}
		if i < 0 {
			return fmt.Errorf("no partition %d", number)
		}
		parts = parts[i : i+1]
	}
	for _, p := range parts {
		if err := c.volume(ctx, p, number > 0); err != nil {
			return err
		}
	}
	if len(c.Volumes) == 0 && !c.Bad() {
		return errors.New("no NTFS volume")
	}
	return nil
}

// container checks a VHD or VHDX, and opens the disk in it if that is possible.
func (c *checker) container(ctx context.Context, f *os.File, size int64) (io.Closer, error) {
	ext := filepath.Ext(c.path)
	format, fatal := "", false
	add := func(s Severity, code, what string, off int64, found, expected string) {
		fatal = fatal || s == Error
		c.add(Finding{s, format, code, 0, -1, "", off, what, found, expected})
	}
	switch {
	case vhdx.IsVHDX(f) || strings.EqualFold(ext, ".vhdx"):
		format, c.Format = "vhdx", "VHDX"
		list, err := vhdx.Check(ctx, f, size)
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			add(Severity(p.Severity), p.Code, p.What, p.Off, p.Found, p.Expected)
		}
	case vhd.IsVHD(f, size) || strings.EqualFold(ext, ".vhd"):
		format, c.Format = "vhd", "VHD"
		list, err := vhd.Check(ctx, f, size)
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			add(Severity(p.Severity), p.Code, p.What, p.Off, p.Found, p.Expected)
		}
	}
	d, err := disk.OpenAny(c.path)
	if err == nil {
		c.Format, c.disk = d.Format, d
		c.r, c.size = d.Section(&disk.Partition{Size: d.Size()}), d.Size()
		return d, nil
	}
	// A parent that is missing does not keep what is in the child from being read.
	switch format {
	case "":
		c.Format, c.r, c.size = "raw", f, size
	case "vhd":
		if v, e := vhd.NewReader(f, size); e == nil {
			c.r, c.size = v, v.Size()
		}
	case "vhdx":
		if v, e := vhdx.NewReader(f, size, nil); e == nil {
			c.r, c.size = v, v.Size()
		}
	}
	if c.r == nil && !fatal {
		return nil, err // not for damage: the parent of a differencing disk is missing, say
	}
	return nil, nil
}

// partition is where a volume may be.
type partition struct {
	number    int   // 0: the whole disk
	off, size int64 // bytes
	ntfs      bool  // by its type it should be one
}

// table checks the partition table and lists the partitions, also those that a table with mistakes has.
func (c *checker) table() ([]partition, error) {
	whole := []partition{{0, 0, c.size, true}}
	if isNTFS(c.r, 0) {
		return whole, nil
	}
	b := make([]byte, mbr.Size)
	if n, err := c.r.ReadAt(b, 0); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("partition table: %w", err)
	}
	sector := 512
	list, gptErr := gpt.Check(c.r, c.size)
	hasGPT := !errors.Is(gptErr, gpt.ErrNone)
	if hasGPT && gptErr != nil {
		return nil, gptErr
	}
	var parts []partition
	if t, err := gpt.Read(c.r, c.size); err == nil {
		sector = t.SectorSize
		for _, p := range t.Partitions {
			ss := int64(t.SectorSize)
			parts = append(parts, partition{p.Number, int64(p.First) * ss, int64(p.Last-p.First+1) * ss, false})
		}
	}
	t, err := mbr.Parse(b)
	if err != nil && !hasGPT {
		// A volume whose boot sector is lost still has the copy.
		if _, e := ntfs.NewReader(c.r, c.size); e == nil {
			return whole, nil
		}
		if c.Format == "raw" {
			return nil, fmt.Errorf("neither an NTFS volume nor a partitioned disk: %w", err)
		}
	}
	mbrList, err := mbr.CheckDisk(c.r, c.size, sector)
	if err != nil {
		return nil, err
	}
	guard := t != nil && t.Protective()
	if hasGPT && !guard {
		c.add(Finding{Error, "gpt", "protective", 0, -1, "", 0, "boot record", "no partition of type 0xee", "one that guards the GPT"})
	}
	if guard && !hasGPT {
		c.add(Finding{Error, "gpt", "table", 0, -1, "", int64(sector), "header", "no GPT, and a partition that guards one", ""})
	}
	if guard || !hasGPT {
		for _, p := range mbrList {
			c.add(Finding{Severity(p.Severity), "mbr", p.Code, 0, -1, "", p.Off, p.What, p.Found, p.Expected})
		}
	}
	for _, p := range list {
		c.add(Finding{Severity(p.Severity), "gpt", p.Code, 0, -1, "", p.Off, p.What, p.Found, p.Expected})
	}
	if t == nil || guard {
		return parts, nil
	}
	return append(parts, c.mbrPartitions(t, int64(sector))...), nil
}

func (c *checker) mbrPartitions(t *mbr.Table, sector int64) []partition {
	var parts []partition
	add := func(number int, p mbr.Partition) {
		if off := int64(p.Start) * sector; off < c.size {
			parts = append(parts, partition{number, off, min(int64(p.Sectors)*sector, c.size-off), p.Type == mbr.TypeNTFS || p.Type == mbr.TypeRecovery})
		}
	}
	for i, p := range t.Parts {
		if p.Used() && !p.Extended() {
			add(i+1, p)
		}
	}
	logical, _ := t.Logical(c.r, int(sector)) // what is wrong there was found above
	for i, p := range logical {
		add(5+i, p)
	}
	return parts
}

// isNTFS looks for the OEM id of an NTFS boot sector.
func isNTFS(r io.ReaderAt, off int64) bool {
	var b [8]byte
	n, _ := r.ReadAt(b[:], off+3)
	return n == len(b) && string(b[:]) == "NTFS    "
}

// otherVolume reports whether r starts with the boot sector of another file system that Windows knows: partition type 7 is that of exFAT
// too.
func otherVolume(r io.ReaderAt) bool {
	var b [512]byte
	if n, _ := r.ReadAt(b[:], 0); n < len(b) {
		return false
	}
	switch oem := string(b[3:11]); {
	case oem == "EXFAT   ", oem == "-FVE-FS-", strings.HasPrefix(oem, "ReFS\x00"): // the second is BitLocker's
		return true
	}
	return string(b[0x52:0x57]) == "FAT32" || string(b[0x36:0x39]) == "FAT"
}

// volume checks the NTFS volume of one partition. What is no NTFS is left alone, unless the user named it.
func (c *checker) volume(ctx context.Context, p partition, named bool) error {
	r := io.NewSectionReader(c.r, p.off, p.size)
	if c.disk != nil {
		r = c.disk.Section(&disk.Partition{Offset: p.off, Size: p.size})
	}
	plain := isNTFS(r, 0)
	if !named && otherVolume(r) {
		return nil // at its end may still be the copy of an old NTFS boot sector
	}
	v, err := ntfs.NewReader(r, p.size)
	if err != nil {
		if plain || p.ntfs || named {
			c.unreadable(p, err)
		}
		return nil
	}
	if hidden, err := hiddenSectors(r); err == nil && plain && p.number > 0 {
		if want := uint32(p.off / int64(v.SectorSize)); hidden != want {
			c.add(Finding{Notice, "ntfs", "hidden-sectors", p.number, -1, "", 0x1c, "boot sector",
				fmt.Sprintf("%d sectors before the volume", hidden), fmt.Sprintf("%d, or BIOS boot code looks in the wrong place", want)})
		}
	}
	progress := c.o.UI.Start("check", 0)
	defer progress.Done()
	limit := 0
	if c.o.All {
		limit = -1
	}
	found, err := v.CheckWith(ctx, &ntfs.CheckOptions{Limit: limit, Progress: progress.Set})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		c.unreadable(p, err)
		return nil
	}
	c.Volumes = append(c.Volumes, Volume{p.number, v.Label, p.size, found.Files, found.Directories})
	for _, q := range found.Problems {
		c.Findings = append(c.Findings, Finding{Severity(q.Severity), "ntfs", string(q.Code), p.number, q.Record, q.Attribute, q.Offset, q.Where(), q.Found, q.Expected})
	}
	for s, n := range found.Found {
		c.Counts[s] += n
	}
	for code, n := range found.Counts {
		c.Codes["ntfs:"+string(code)] += n
	}
	return nil
}

// unreadable notes a volume that cannot be opened.
func (c *checker) unreadable(p partition, err error) {
	off := int64(-1)
	where, text := "volume", err
	var fe *ntfs.FormatError
	if errors.As(err, &fe) {
		where, off, text = fe.What, fe.Off, fe.Err
	}
	c.fail("ntfs", "volume-unreadable", where, off, text)
	c.Findings[len(c.Findings)-1].Partition = p.number
}

func hiddenSectors(r io.ReaderAt) (uint32, error) {
	var b [4]byte
	_, err := r.ReadAt(b[:], 0x1c)
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24, err
}
