// Package deploy makes disks from images: a VHD or raw disk with one NTFS partition, whose files are plain, pointers into the WIM, or
// compact files.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"husk/internal/atomicfile"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/mbr"
	"husk/ntfs"
	"husk/vhd"
	"husk/winfile"
	"husk/wof"
)

// Options tunes Make.
type Options struct {
	Format       Format
	Size         int64  // of the disk in bytes; 0 means DefaultSize or what the files need
	Fixed        bool   // a fixed VHD instead of a dynamic one
	Label        string // of the volume
	ClusterSize  int    // of the volume in bytes; 0 means 4096
	Serial       uint64 // of the volume; 0 means a random one
	Signature    uint32 // of the disk; 0 means a random one
	Reproducible bool   // what would be random or the time of day follows from the tree and the options instead
	Wimboot      *Wimboot
	Compact      *Compact // at most one of the two
	Overwrite    bool     // the target may be replaced
	DryRun       bool
	Check        bool // read the finished disk back and check its structure before it gets its name
	Threads      int
	UI           *ui.UI
}

// Format is what kind of file a disk is.
type Format int

const (
	VHD Format = iota
	Raw        // nothing but its sectors, sparse where the file system can
)

// Wimboot makes eligible files pointers into the image's WIM and the other layers that have its contents, see source.Source.Layers.
type Wimboot struct {
	Location wof.Location // of the image's WIM, as the running system will see it; the others lie to it as they do now
	Config   string       // file with a [PrepopulateList], taken alone; "" means the image's own, or the built-in list
	UEFI     bool         // only UEFI will start it: what the image's own list leaves to pointers may be one
}

// Compact makes eligible files compact files.
type Compact struct {
	Algorithm wof.Algorithm
	Config    string // as of Wimboot
	UEFI      bool   // only UEFI will start it: what loaders read may be compact files, in the form that they read
}

// DefaultSize of a disk is roomy for a system; a dynamic VHD takes only what is written.
const DefaultSize = 25 << 30

const (
	partitionStart   = 1 << 20   // bytes; the alignment of everything since Windows Vista
	pointerLogSize   = 2 << 20   // bytes of $LogFile in a disk of pointers, where it would be the largest thing: Windows' own least
	pointerBlock     = 512 << 10 // bytes of a block of its VHD: the smaller of the sizes that Windows writes wastes less at the ends
	pointerBlockMost = 1 << 40   // bytes of a disk with such blocks: their bitmaps must fit into the file beside it
	growthFactor     = 3         // halves: a plain disk gets at least 1.5 times what its files need
)

// Result tells what was made.
type Result struct {
	DryRun    bool
	DiskBytes int64 // as the system sees it
	FileBytes int64 // the file itself; of a raw disk, those that were written
	Signature uint32
	Totals    winfile.Totals
	Plan      Plan           // of a disk of pointers or compact files; nil otherwise
	Compact   *CompactResult // of a disk of compact files
	Elapsed   time.Duration
}

// Plan is what became of each file.
type Plan interface {
	Total(wof.Reason) wof.Total
	PlainFiles() []wof.PlainFile
}

// Make makes target, a disk with one NTFS partition, from a tree. A target that exists is an fs.ErrExist error unless Overwrite is set; it
// is replaced only when the new one is complete.
func Make(ctx context.Context, s *source.Source, target string, o *Options) (*Result, error) {
	start := time.Now()
	if err := atomicfile.Check(target, o.Overwrite || o.DryRun); err != nil {
		return nil, err
	}
	if s.Uses(target) {
		return nil, ui.Hint(ui.Usage(fmt.Errorf("%s is read from and would be replaced", target)), "choose another name")
	}
	r := &Result{DryRun: o.DryRun, Totals: s.Tree.Totals()}
	id, err := newIdentity(s.Tree, o, start)
	if err != nil {
		return nil, err
	}
	r.Signature = id.signature
	build := &ntfs.BuildOptions{
		SectorSize: 512, ClusterSize: o.ClusterSize, HiddenSectors: partitionStart / 512, Label: o.Label, Serial: id.serial,
		Time: winfile.FiletimeOf(id.time), Workers: o.Threads,
	}
	if o.Wimboot != nil {
		plan, err := planPointers(s, o.Wimboot, id.time, o.UI)
		if err != nil {
			return nil, err
		}
		r.Plan, build.Backing, build.LogSize = plan, plan.Backing, pointerLogSize
	}
	size, err := diskSize(s.Tree, build, o)
	if err != nil {
		return nil, err
	}
	if o.Compact != nil {
		c, err := compact(ctx, s, target, build, o)
		if err != nil {
			return nil, err
		}
		defer c.close()
		r.Plan, r.Compact, build.Backing, build.BackingStream = c.plan, &c.result, c.backing, c.stream
	}
	r.DiskBytes = size
	table, err := mbr.New(r.Signature, size, 512)
	if err != nil {
		return nil, ui.Hint(err, "a larger --size may help")
	}
	build.Size = int64(table.Parts[0].Sectors) * 512
	layout, err := ntfs.NewLayout(s.Tree, build)
	if err != nil {
		return nil, ui.Hint(err, "a larger --size may help")
	}
	if o.DryRun {
		r.Elapsed = time.Since(start)
		return r, nil
	}
	p := o.UI.Start("write the disk", layout.DataBytes())
	build.Progress = p.Add
	r.FileBytes, err = write(ctx, target, size, table, layout, id, o)
	p.Done()
	if err != nil {
		return nil, err
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

// A diskWriter writes the sectors of a new disk into its file.
type diskWriter interface {
	io.WriterAt
	Reserve(off, n int64) error // gives a range its place in the file now
	Close() error               // completes the file, which stays open
	FileSize() int64
}

// write writes the disk beside the target, checks it if asked to, and swaps. It returns the size of the file.
func write(ctx context.Context, target string, size int64, table *mbr.Table, layout *ntfs.Layout, id *identity, o *Options) (int64, error) {
	f, err := atomicfile.Create(target, o.Overwrite)
	if err != nil {
		return 0, err
	}
	defer f.Abort()
	w, err := newDisk(f, size, id, o)
	if err != nil {
		return 0, err
	}
	sector, err := table.Marshal()
	if err != nil {
		return 0, err
	}
	if _, err := w.WriteAt(sector, 0); err != nil {
		return 0, err
	}
	if o.Reproducible { // and not by which worker was first
		if err := w.Reserve(0, min(size, partitionStart+layout.UsedBytes())); err != nil {
			return 0, err
		}
	}
	if err := layout.Write(ctx, io.NewOffsetWriter(w, partitionStart)); err != nil {
		return 0, err
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	if o.Check {
		if err := check(ctx, f, table, o.Format); err != nil {
			return 0, fmt.Errorf("%s: the disk just written does not check: %w", target, err)
		}
	}
	return w.FileSize(), f.Commit()
}

// newDisk starts the file of a disk.
func newDisk(f *atomicfile.File, size int64, id *identity, o *Options) (diskWriter, error) {
	if o.Format == Raw {
		return newRawDisk(f, size)
	}
	kind := vhd.Dynamic
	if o.Fixed {
		kind = vhd.Fixed
	}
	vo := &vhd.Options{Type: kind, Size: size, ID: id.disk, Time: id.time}
	if o.Wimboot != nil && size <= pointerBlockMost {
		vo.BlockSize = pointerBlock
	}
	return vhd.Create(f, vo)
}

// check reads a new disk back and holds it to the invariants of the file system.
func check(ctx context.Context, f *atomicfile.File, table *mbr.Table, format Format) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	var d io.ReaderAt = f
	if format == VHD {
		if d, err = vhd.NewReader(f, size); err != nil {
			return err
		}
	}
	part := int64(table.Parts[0].Sectors) * 512
	v, err := ntfs.NewReader(io.NewSectionReader(d, partitionStart, part), part)
	if err != nil {
		return err
	}
	problems, err := v.Check(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range problems {
		if p.Severity > ntfs.SeverityNote { // names that differ in case alone are the source's
			errs = append(errs, errors.New(p.String()))
		}
	}
	return errors.Join(errs...)
}

// diskSize is the user's size, or one with room to live in: of a disk of compact files, for all of them to become plain.
func diskSize(t *winfile.Tree, build *ntfs.BuildOptions, o *Options) (int64, error) {
	round := vhd.RoundSize
	if o.Format == Raw {
		round = func(n int64) (int64, error) { return (n + 511) / 512 * 512, nil }
	}
	if o.Size != 0 {
		return round(o.Size)
	}
	probe := *build
	layout, err := ntfs.NewLayout(t, &probe)
	if err != nil {
		return 0, err
	}
	return round(max(DefaultSize, (layout.MinSize()+2*partitionStart)/2*growthFactor))
}

// planPointers decides which files become pointers and adds WimOverlay.dat, which names the WIMs that they point into, to the tree.
func planPointers(s *source.Source, wb *Wimboot, now time.Time, u *ui.UI) (pointerPlan, error) {
	rules, err := rulesFor(s, wb, u)
	if err != nil {
		return pointerPlan{}, err
	}
	overlay := &wof.Overlay{}
	layers, err := layersOf(s, wb.Location, overlay, u)
	if err != nil {
		return pointerPlan{}, err
	}
	b, err := overlay.Marshal()
	if err != nil {
		return pointerPlan{}, err
	}
	plan, err := rules.Decide(s.Tree, layers)
	if err != nil {
		return pointerPlan{}, err
	}
	return pointerPlan{plan}, wof.AddOverlay(s.Tree, b, now)
}

// pointerPlan is a wof.Plan that lists its files as Plan asks.
type pointerPlan struct{ *wof.Plan }

func (p pointerPlan) PlainFiles() []wof.PlainFile { return p.Plain }
