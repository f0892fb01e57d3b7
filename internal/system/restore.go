package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"husk/internal/archive"
	"husk/internal/atomicfile"
	"husk/internal/deploy"
	"husk/internal/source"
	"husk/internal/store"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/winfile"
	"husk/wof"
)

// Options tunes Restore.
type Options struct {
	Form      Form
	Algorithm *wof.Algorithm // of compact files; nil means that of the system, or XPRESS4K
	UEFI      bool           // only UEFI starts the system: what loaders read may be pointers too. So it is if the system has it so
	Config    string         // file with a [PrepopulateList]
	Keep      []string       // files and folders of the old system, perhaps with wildcards, that the new one gets too
	Discard   bool           // files of the old system that are in no point may be lost
	To        string         // the new disk becomes this file, and the system stays as it is
	Size      int64          // of the new disk in bytes; 0 means that of the old one
	Overwrite bool           // To may be replaced
	WIMs      []string       // where the data of the system's pointer files may be
	WIMDisk   string         // where the layer with the point will be at boot, as deploy.Location takes it
	WIMPath   string
	Spool     string // folder for the image that is made before a device is written; "" means that of the store
	DryRun    bool
	Threads   int
	UI        *ui.UI

	// Decide is asked what is to become of files of users that are in no point and that Keep does not name: they are kept if it
	// says so. Without it, or if it says no, nothing is done.
	Decide func(files []*File) bool

	// Overwrites is asked before a device is written over. Without it the answer is no.
	Overwrites func(device string) bool
}

// Result tells what was done, or on a dry run would be.
type Result struct {
	DryRun    bool
	Point     string
	System    string // the disk that has the point now
	Old       string // where the old disk is; "" if there is none
	Form      Form
	DiskBytes int64
	FileBytes int64
	Pointers  Group    // files behind pointers
	Local     Group    // files with data on the disk
	Layers    []string // WIMs that the pointers need
	Back      Group    // files of Windows and programs that are as in the point again, and in no other point
	Saved     Group    // files that some other point has
	Risk      []*File  // files of users that are in no point
	Kept      Group
	BootFiles int  // boot files that the point does not have, and boot stores of the disk
	Adopted   bool // the system was of another volume and has the identity of this one now
	Elapsed   time.Duration
}

// restore is a Restore at work.
type restore struct {
	o     *Options
	r     *Result
	point *Source
	at    *target
	tree  *winfile.Tree // that the new volume gets
	back  *pointerPlan  // with Pointers
	geo   *geometry
	form  string // of the file: "vhd", "vhdx", "raw"
}

// Restore puts a system back to a point. The new disk is made beside the old one, read back, and takes its place in one step; the old one is
// kept until the next success. A device is written over, after the volume for it has been made and checked in a file.
func Restore(ctx context.Context, point, system string, o *Options) (_ *Result, err error) {
	start := time.Now()
	path, _, err := parseSystem(system)
	if err != nil {
		return nil, err
	}
	if err := finishSwap(path); err != nil {
		return nil, err
	}
	j := &restore{o: o, r: &Result{DryRun: o.DryRun, Point: point}}
	if j.point, err = openLocked(ctx, point, o); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.point.Close()) }()
	if j.at, err = openTarget(ctx, system, o.WIMs, o.UI); errors.Is(err, fs.ErrNotExist) {
		return nil, ui.Hint(err, "a new disk is made by 'husk install %s DISK', or with 'husk apply'", point)
	} else if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.at.close()) }()
	for _, step := range []func(context.Context) error{j.prepare, j.protect, j.plan, j.write} {
		if err := step(ctx); err != nil {
			return nil, tooFull(err)
		}
	}
	j.note(ctx)
	j.r.Elapsed = time.Since(start)
	return j.r, nil
}

// note has the store know what the disk is now.
func (j *restore) note(ctx context.Context) {
	if !j.o.DryRun && j.o.Form == Pointers {
		j.record(ctx)
	}
}

func (j *restore) record(ctx context.Context) {
	s := j.point.Store
	if s == nil || s.File != "" || !store.Is(s.Dir) {
		return
	}
	if err := s.AddDisk(ctx, j.r.System, j.point.Point.System, j.point.Point); err != nil {
		j.o.UI.Warn("%s: %s", s.Dir, err)
	}
}

// OpenPoint opens what a system can be restored to: an image in a WIM, which is or is not of a store that husk made.
func OpenPoint(ctx context.Context, spec string, u *ui.UI) (*Source, error) {
	dir, name := source.Split(spec)
	return openPoint(ctx, dir, name, false, u)
}

// openLocked is OpenPoint for whoever makes pointers into the store.
func openLocked(ctx context.Context, spec string, o *Options) (*Source, error) {
	dir, name := source.Split(spec)
	return openPoint(ctx, dir, name, !o.DryRun, o.UI)
}

// tooFull says what a full disk means.
func tooFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return ui.Hint(err, "the system is as it was; the new disk is made beside it and needs room there: free some, or name another place with --to=FILE")
	}
	return err
}

// prepare settles form and place.
func (j *restore) prepare(context.Context) error {
	o, at := j.o, j.at
	if at.damage != nil {
		if !o.Discard {
			return ui.Hint(fmt.Errorf("%s cannot be read: %w", at.spec(), at.damage), "its files can then not be kept; restore it all the same with --discard")
		}
		o.UI.Warn("%s cannot be read: %s", at.spec(), at.damage)
	}
	if o.Form == Same {
		o.Form = at.form
		if at.damage != nil || at.form == Plain && at.empty() {
			o.Form = Pointers
		}
	}
	o.UEFI = o.UEFI || at.uefi
	j.r.Form, j.r.System = o.Form, at.path
	j.form = formOfDisk(&at.edit.Disk)
	if o.To != "" {
		j.form, j.r.System = formOfName(&at.edit.Disk, o.To), o.To
		if at.device && j.form != "vhd" && j.form != "vhdx" {
			j.form = "raw"
		}
		if err := atomicfile.Check(o.To, o.Overwrite || o.DryRun); err != nil {
			return err
		}
		if at.edit.Uses(o.To) || j.point.Uses(o.To) {
			return ui.Usage(fmt.Errorf("%s is read from and would be replaced", o.To))
		}
	} else if j.point.Uses(at.path) {
		return ui.Usage(fmt.Errorf("%s is read from and would be replaced", at.path))
	}
	if at.device && o.To == "" && o.Size != 0 {
		return ui.Usage(errors.New("a device has the size that it has; --size goes with --to"))
	}
	var err error
	if j.geo, err = geometryOf(&at.edit.Disk, at.part, j.form, o.Size); err != nil {
		return err
	}
	j.r.DiskBytes = j.geo.size
	j.tree = j.point.Tree
	return nil
}

// empty reports whether the old volume has no files to speak of.
func (t *target) empty() bool { return t.src == nil || t.src.Tree.Totals().Files == 0 }

// protect finds what would be lost, and puts what is to be kept into the tree.
func (j *restore) protect(ctx context.Context) error {
	at, o := j.at, j.o
	if at.damage != nil || at.src == nil {
		return nil
	}
	excluded, err := archive.Exclusions(at.path, j.tree, "", o.UI)
	if err != nil {
		return err
	}
	p := o.UI.Start("compare", 0)
	files, err := differing(ctx, at.src.Tree, foldTree(j.tree), excluded, o.Threads)
	if err == nil {
		err = markSaved(ctx, files, j.point.Store, j.point.Point, o.Threads)
	}
	p.Done()
	if err != nil {
		return err
	}
	var keep []*File
	for _, f := range files {
		switch {
		case matches(f.Path, o.Keep):
			keep = append(keep, f)
		case f.Saved:
			j.r.Saved.add(f)
		case f.User:
			j.r.Risk = append(j.r.Risk, f)
		default:
			j.r.Back.add(f)
		}
	}
	if len(j.r.Risk) > 0 && !o.Discard && !o.DryRun && o.To == "" {
		if o.Decide == nil || !o.Decide(j.r.Risk) {
			return ui.Hint(fmt.Errorf("%s: %w: %d of them", at.spec(), errUndecided, len(j.r.Risk)),
				"name what the new disk is to have with --keep=PATTERN, add a point of the system first, or let them go with --discard")
		}
		keep = append(keep, j.r.Risk...)
		j.r.Risk = nil
	}
	k := newKeeper(at.src.Tree, j.tree, j.point.Store)
	for _, f := range keep {
		if err := k.keep(f.Path); err != nil {
			return err
		}
	}
	if j.r.BootFiles, err = k.keepBoot(); err != nil {
		return err
	}
	j.r.Kept = k.kept
	if here, ok := identityOf(&at.edit.Disk, at.part); ok {
		if j.r.Adopted, err = adopt(j.tree, here, driveOf(at.src.Tree)); err != nil {
			return err
		}
	}
	return nil
}

// plan decides which files become pointers.
func (j *restore) plan(context.Context) error {
	if j.o.Form != Pointers {
		return nil
	}
	known := slices.Clone(j.point.Layers)
	if len(known) == 0 {
		known = []source.Layer{{Path: j.point.Path, WIM: j.point.WIM}}
	}
	p := &placer{overlay: j.at.overlay, known: known, spec: j.o.WIMDisk, path: j.o.WIMPath}
	if s := j.point.Store; s != nil && s.File == "" {
		p.boot = s.Boot()
	}
	var err error
	if j.back, err = planPointers(j.point, p, j.o, time.Now()); err != nil {
		return err
	}
	j.r.Layers = j.back.layers
	return nil
}

// count tells how many files are where.
func (j *restore) count() {
	seen := make(map[*winfile.Info]bool)
	for _, e := range j.tree.All() {
		i := e.Info
		if i.Data == nil || i.Links > 1 && seen[i] {
			continue
		}
		seen[i] = true
		t := &j.r.Local
		if j.back != nil && j.back.plan.Pointer(i) != nil {
			t = &j.r.Pointers
		}
		t.Files++
		t.Bytes += i.Size()
	}
}

// build are the options of the new volume. done is to be called when it is written.
func (j *restore) build(ctx context.Context, target string) (_ *ntfs.Layout, done func(), err error) {
	done = func() {}
	label, serial, cluster, boot, err := j.at.volumeFacts()
	if err != nil {
		return nil, done, err
	}
	d := &j.at.edit.Disk
	b := &ntfs.BuildOptions{
		Size: j.geo.length, SectorSize: d.SectorSize, ClusterSize: cluster, HiddenSectors: uint32(min(j.geo.offset/int64(d.SectorSize), 1<<32-1)), Label: label,
		Serial: serial, Time: winfile.FiletimeOf(time.Now()), Workers: j.o.Threads, BootSector: boot,
	}
	const pointerLog = 2 << 20 // where it would be the largest thing
	switch j.o.Form {
	case Pointers:
		b.Backing, b.LogSize = j.back.plan.Backing, pointerLog
	case Compact:
		alg := j.at.alg
		if j.o.Algorithm != nil {
			alg = *j.o.Algorithm
		}
		s := *j.point.Source
		s.Tree = j.tree
		_, finish, err := deploy.MakeCompact(ctx, &s, target, b, &deploy.Options{
			Compact: &deploy.Compact{Algorithm: alg, Config: j.o.Config, UEFI: j.o.UEFI}, DryRun: j.o.DryRun, Threads: j.o.Threads, UI: j.o.UI,
		})
		if finish != nil {
			done = finish
		}
		if err != nil {
			return nil, done, err
		}
	}
	var bar *ui.Progress
	b.Progress = func(n int64) { bar.Add(n) }
	l, err := ntfs.NewLayout(j.tree, b)
	if err != nil {
		return nil, done, ui.Hint(err, "a larger --size may help, or --mode=wimboot")
	}
	if j.o.DryRun {
		return l, done, nil
	}
	bar = j.o.UI.Start("write the disk", l.DataBytes())
	finish := done
	return l, func() { bar.Done(); finish() }, nil
}

// write makes the new disk and swaps.
func (j *restore) write(ctx context.Context) error {
	j.count()
	switch {
	case j.o.To != "":
		return j.writeFile(ctx, j.o.To, j.o.Overwrite, nil)
	case j.at.device:
		return j.writeDevice(ctx)
	}
	return j.writeFile(ctx, j.at.path+newMark, true, func() error {
		if err := j.at.close(); err != nil { // Windows renames no open file
			return err
		}
		j.r.Old = j.at.path + oldMark
		return swap(j.at.path)
	})
}

// writeFile makes a disk in a file, reads it back and then calls ready.
func (j *restore) writeFile(ctx context.Context, name string, replace bool, ready func() error) error {
	layout, done, err := j.build(ctx, name)
	defer done()
	if err != nil || j.o.DryRun {
		return err
	}
	f, err := atomicfile.Create(name, replace)
	if err != nil {
		return err
	}
	defer f.Abort()
	old := &j.at.edit.Disk
	w, err := newContainer(f, j.form, old, j.geo.size, j.o.Form == Pointers)
	if err != nil {
		return err
	}
	if err := copyRange(ctx, w, old, 0, j.geo.offset); err != nil {
		return err
	}
	if j.geo.table == nil {
		err = copyRange(ctx, w, old, j.at.part.Offset+j.at.part.Size, old.Size())
	} else {
		err = j.geo.table(w)
	}
	if err != nil {
		return err
	}
	if err := layout.Write(ctx, offsetWriter{w, j.geo.offset}); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := verifyDisk(ctx, f.Name(), j.number(), j.tree, j.o); err != nil {
		return fmt.Errorf("%s: the disk just written does not read back: %w", name, err)
	}
	if err := f.Commit(); err != nil {
		return err
	}
	if ready != nil {
		if err := ready(); err != nil {
			return err
		}
	}
	st, err := os.Stat(j.r.System)
	if err != nil {
		return err
	}
	j.r.FileBytes = st.Size()
	return nil
}

// number is that of the partition in the new disk, 0 for the only one.
func (j *restore) number() int { return j.at.number }
