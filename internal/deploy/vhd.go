// Package deploy makes disks from images: a VHD with one NTFS partition, whose files are plain or pointers into the WIM.
package deploy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"husk/guid"
	"husk/internal/atomicfile"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/mbr"
	"husk/ntfs"
	"husk/vhd"
	"husk/winfile"
	"husk/wof"
)

// Options tunes VHD.
type Options struct {
	Size      int64  // of the disk in bytes; 0 means DefaultSize or what the files need
	Fixed     bool   // a fixed VHD instead of a dynamic one
	Label     string // of the volume
	Signature uint32 // of the disk; 0 means a random one
	Wimboot   *Wimboot
	Overwrite bool // the target may be replaced
	DryRun    bool
	Check     bool // read the finished disk back and check its structure before it gets its name
	Threads   int
	UI        *ui.UI
}

// Wimboot makes eligible files pointers into the image's WIM.
type Wimboot struct {
	Location wof.Location // of the WIM, as the running system will see it
	Config   string       // file with a [PrepopulateList], taken alone; "" means the image's own, or the built-in list
	UEFI     bool         // only UEFI will start it: what the image's own list leaves to pointers may be one
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
	FileBytes int64 // the VHD itself
	Signature uint32
	Totals    winfile.Totals
	Plan      *wof.Plan // of a disk of pointers
	Elapsed   time.Duration
}

// VHD makes target from an image of a WIM. A target that exists is an fs.ErrExist error unless Overwrite is set; it is replaced
// only when the new one is complete.
func VHD(ctx context.Context, s *source.Source, target string, o *Options) (*Result, error) {
	start := time.Now()
	if err := atomicfile.Check(target, o.Overwrite || o.DryRun); err != nil {
		return nil, err
	}
	r := &Result{DryRun: o.DryRun, Totals: s.Tree.Totals(), Signature: o.Signature}
	if r.Signature == 0 {
		r.Signature = randomSignature()
	}
	build := &ntfs.BuildOptions{
		SectorSize: 512, HiddenSectors: partitionStart / 512, Label: o.Label, Serial: randomSerial(),
		Time: winfile.FiletimeOf(start), Workers: o.Threads,
	}
	if o.Wimboot != nil {
		plan, err := planPointers(s, o.Wimboot, o.UI)
		if err != nil {
			return nil, err
		}
		r.Plan, build.Backing, build.LogSize = plan, plan.Backing, pointerLogSize
	}
	size, err := diskSize(s.Tree, build, o)
	if err != nil {
		return nil, err
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
	err = write(ctx, target, size, table, layout, o)
	p.Done()
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(target)
	if err != nil {
		return nil, err
	}
	r.FileBytes, r.Elapsed = st.Size(), time.Since(start)
	return r, nil
}

// write writes the disk beside the target, checks it if asked to, and swaps.
func write(ctx context.Context, target string, size int64, table *mbr.Table, layout *ntfs.Layout, o *Options) error {
	f, err := atomicfile.Create(target, o.Overwrite)
	if err != nil {
		return err
	}
	defer f.Abort()
	kind := vhd.Dynamic
	if o.Fixed {
		kind = vhd.Fixed
	}
	vo := &vhd.Options{Type: kind, Size: size, ID: guid.New(), Time: time.Now()}
	if o.Wimboot != nil && size <= pointerBlockMost {
		vo.BlockSize = pointerBlock
	}
	w, err := vhd.Create(f, vo)
	if err != nil {
		return err
	}
	sector, err := table.Marshal()
	if err != nil {
		return err
	}
	if _, err := w.WriteAt(sector, 0); err != nil {
		return err
	}
	if err := layout.Write(ctx, io.NewOffsetWriter(w, partitionStart)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if o.Check {
		if err := check(ctx, f, table); err != nil {
			return fmt.Errorf("%s: the disk just written does not check: %w", target, err)
		}
	}
	return f.Commit()
}

// check reads a new disk back and holds it to the invariants of the file system.
func check(ctx context.Context, f *atomicfile.File, table *mbr.Table) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	d, err := vhd.NewReader(f, size)
	if err != nil {
		return err
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

// diskSize is the user's size, or one with room to live in.
func diskSize(t *winfile.Tree, build *ntfs.BuildOptions, o *Options) (int64, error) {
	if o.Size != 0 {
		return vhd.RoundSize(o.Size)
	}
	probe := *build
	layout, err := ntfs.NewLayout(t, &probe)
	if err != nil {
		return 0, err
	}
	return vhd.RoundSize(max(DefaultSize, (layout.MinSize()+2*partitionStart)/2*growthFactor))
}

// planPointers decides which files become pointers and adds WimOverlay.dat, which names the WIM, to the tree.
func planPointers(s *source.Source, wb *Wimboot, u *ui.UI) (*wof.Plan, error) {
	if err := checkFormat(s.WIM, s.Path); err != nil {
		return nil, err
	}
	rules, err := rulesFor(s, wb, u)
	if err != nil {
		return nil, err
	}
	overlay := &wof.Overlay{}
	id, err := overlay.Add(wof.WIMOther, uint32(s.Image.Index), s.WIM.GUID(), wb.Location)
	if err != nil {
		return nil, err
	}
	b, err := overlay.Marshal()
	if err != nil {
		return nil, err
	}
	plan, err := rules.Decide(s.Tree, newBacking(s.WIM, id))
	if err != nil {
		return nil, err
	}
	return plan, wof.AddOverlay(s.Tree, b, time.Now())
}

func randomSignature() uint32 {
	var b [4]byte
	for {
		rand.Read(b[:]) // never fails, see crypto/rand
		if s := binary.LittleEndian.Uint32(b[:]); s != 0 {
			return s
		}
	}
}

func randomSerial() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}
