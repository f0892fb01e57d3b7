package ramdisk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"husk/bootcode"
	"husk/guid"
	"husk/internal/atomicfile"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/mbr"
	"husk/ntfs"
	"husk/vhd"
	"husk/winfile"
	"husk/wof"
)

// Options tunes Make.
type Options struct {
	Size         int64    // of the disk in bytes; 0 means what the files need and Free
	Free         int64    // bytes that the system has to write to; 0 means DefaultFree
	Memory       int64    // of the machine in bytes, which the disk must fit; 0 means unknown
	Raw          bool     // a raw image instead of a fixed VHD
	Gzip         bool     // compressed, as grub4dos reads it
	Signature    uint32   // of the disk; 0 means that of the source, or a random one
	KeepPageFile bool     // leave the settings of page file and hibernation as they are
	BootManager  bool     // the boot manager itself loads the disk, not grub4dos
	UEFI         bool     // then: UEFI's, whose loader may be a pointer
	Force        bool     // go on where the system may not start; Problems has why
	WIMs         []string // files that pointers may point into
	Overwrite    bool
	DryRun       bool
	Threads      int
	UI           *ui.UI
}

// DefaultFree is room for logs, hives and what a session writes.
const DefaultFree = 256 << 20

const (
	sectorSize     = 512
	partitionStart = 1 << 20    // bytes
	logSize        = 2 << 20    // bytes of $LogFile, Windows' own least
	maxGzip        = 1<<32 - 1  // bytes that the trailer of gzip can count
	reserved64     = 2 << 30    // bytes of memory that 64-bit Windows needs beside the disk
	reserved32     = 1 << 30    // and 32-bit Windows
	most32         = 1536 << 20 // bytes of a disk below 4 GiB, where 32-bit Windows sees it, beside what else is there
)

// Result tells what was made.
type Result struct {
	DryRun     bool
	Windows    *winsys.Facts
	Title      string   // of the system in menus: "Windows 7 Ultimate (x64)"
	Drivers    []Driver // for disks in memory
	Problems   []error  // that Force overruled
	DiskBytes  int64
	FileBytes  int64
	FreeBytes  int64 // in the volume
	Offset     int64 // of the volume on the disk
	Signature  uint32
	Pointers   int      // files that stay pointers
	Plain      int      // pointers that got their content
	Dropped    []string // files that were left out
	MemoryNeed int64    // that a machine should have
}

// Make writes the image of the system in spec, FILE[:PARTITION], to target. A target that exists is fs.ErrExist unless Overwrite.
func Make(ctx context.Context, spec, target string, o *Options) (_ *Result, err error) {
	if err := atomicfile.Check(target, o.Overwrite || o.DryRun); err != nil {
		return nil, err
	}
	raw, resolved, absent, err := openBoth(ctx, spec, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, raw.Close())
		if resolved != nil {
			err = errors.Join(err, resolved.Close())
		}
	}()
	s, err := open(raw, resolved, absent)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", raw.Path, err)
	}
	r := &Result{DryRun: o.DryRun, Windows: s.facts, Title: title(s.facts), Offset: partitionStart}
	if err := s.prepare(raw, r, o); err != nil {
		return nil, fmt.Errorf("%s: %w", raw.Path, err)
	}
	layout, table, build, err := s.layOut(raw, r, o)
	if err != nil {
		return nil, err
	}
	if err := fits(r, o); err != nil {
		return nil, err
	}
	if o.DryRun {
		return r, nil
	}
	p := o.UI.Start("write the disk", layout.DataBytes())
	build.Progress = p.Add
	err = write(ctx, target, layout, table, r, o)
	p.Done()
	return r, err
}

// openBoth opens the volume as it is, and with the contents of its pointer files, or says why those are absent.
func openBoth(ctx context.Context, spec string, o *Options) (raw, resolved *source.Source, absent, err error) {
	raw, err = source.Open(ctx, spec, &source.Options{Warn: o.UI.Warn, Raw: true})
	if err != nil {
		return nil, nil, nil, err
	}
	if raw.Kind != source.Volume {
		err := ui.Hint(fmt.Errorf("%s is not a disk", raw.Path), "make one first: husk apply %s win.vhd --wimboot", spec)
		return nil, nil, nil, errors.Join(err, raw.Close())
	}
	resolved, absent = source.Open(ctx, spec, &source.Options{WIMs: o.WIMs})
	if absent != nil {
		resolved = nil
		if len(o.WIMs) > 0 {
			return nil, nil, nil, errors.Join(absent, raw.Close())
		}
	}
	return raw, resolved, absent, nil
}

// title is what menus call a system.
func title(f *winsys.Facts) string {
	name := f.ProductName
	if name == "" {
		name = "Windows"
	}
	if arch := map[int]string{0: "x86", 9: "x64", 12: "arm64"}[f.Arch]; arch != "" {
		name += " (" + arch + ")"
	}
	return name
}

// prepare makes the tree what goes into memory, and finds what stands against it.
func (s *system) prepare(raw *source.Source, r *Result, o *Options) error {
	problem := func(err error) error {
		if err == nil || o.Force {
			if err != nil {
				r.Problems = append(r.Problems, err)
			}
			return nil
		}
		return err
	}
	r.Dropped = s.drop()
	var err, pointers error
	if r.Plain, pointers = s.keepPointers(!o.UEFI); pointers != nil {
		if err := problem(ui.Hint(pointers, "name the WIM with --wim=FILE, so that they get their content")); err != nil {
			return err
		}
	}
	if r.Drivers, err = s.findDrivers(); err != nil {
		return err
	}
	check := driverProblem(r.Drivers)
	if o.BootManager {
		check = ramdiskProblem(s.hive.Root())
	}
	if err := problem(check); err != nil {
		return err
	}
	if r.Signature, err = signature(raw, o); err != nil {
		return err
	}
	if err := s.moveLetters(identity(raw.Disk, raw.Part), mbrIdentity(r.Signature, partitionStart)); err != nil {
		return err
	}
	if !o.KeepPageFile {
		if err := s.noPaging(); err != nil {
			return err
		}
	}
	if err := s.saveHive(); err != nil {
		return err
	}
	err = s.addBootFiles(r.Title)
	if o.BootManager && errors.Is(err, fs.ErrNotExist) {
		return nil // the boot manager is running already
	}
	return problem(ui.Hint(err, "the boot manager is in \\Windows\\Boot\\PCAT of every Windows for a BIOS: put it there, or into the root of the volume"))
}

// signature is that of the disk in memory: the source's, so that drive letters stay right, unless the source is a whole disk of its own or
// the one with the WIM, which is there at the same time.
func signature(raw *source.Source, o *Options) (uint32, error) {
	var taken []uint32
	overlay, err := wof.ReadOverlay(raw.Tree)
	if err == nil {
		for _, e := range overlay.Entries() {
			if sig, _ := e.Location.MBR(); sig != 0 && e.Location.Table == wof.TableMBR {
				taken = append(taken, sig)
			}
		}
	}
	clash := func(sig uint32) bool {
		for _, t := range taken {
			if t == sig {
				return true
			}
		}
		return false
	}
	if o.Signature != 0 {
		if clash(o.Signature) {
			return 0, ui.Usage(fmt.Errorf("signature %08x is that of the disk with the WIM: Windows would take one of them offline", o.Signature))
		}
		return o.Signature, nil
	}
	if sig := raw.Disk.Signature; sig != 0 && raw.Disk.Container() != nil && !clash(sig) {
		return sig, nil
	}
	for {
		var b [4]byte
		rand.Read(b[:]) // never fails, see crypto/rand
		if sig := le.Uint32(b[:]); sig != 0 && !clash(sig) {
			return sig, nil
		}
	}
}

// layOut decides the size and the place of everything.
func (s *system) layOut(raw *source.Source, r *Result, o *Options) (*ntfs.Layout, *mbr.Table, *ntfs.BuildOptions, error) {
	build := &ntfs.BuildOptions{
		SectorSize: sectorSize, HiddenSectors: partitionStart / sectorSize, Label: raw.NTFS.Label, Serial: raw.NTFS.Serial,
		Time: winfile.FiletimeOf(time.Now()), LogSize: logSize, BootSector: bootcode.NTFS(), Workers: o.Threads,
		Backing: func(i *winfile.Info) []byte { return s.backing[i] },
	}
	size := o.Size
	if size == 0 {
		probe := *build
		least, err := ntfs.NewLayout(s.tree, &probe)
		if err != nil {
			return nil, nil, nil, err
		}
		free := o.Free
		if free == 0 {
			free = DefaultFree
		}
		size = (least.MinSize()+free+free/1000)/partitionStart*partitionStart + 3*partitionStart
	}
	size, err := vhd.RoundSize(size)
	if err != nil {
		return nil, nil, nil, err
	}
	table, err := mbr.New(r.Signature, size, sectorSize)
	if err != nil {
		return nil, nil, nil, ui.Hint(err, "a larger --size may help")
	}
	table.BootCode = bootcode.MBR()
	build.Size = int64(table.Parts[0].Sectors) * sectorSize
	layout, err := ntfs.NewLayout(s.tree, build)
	if err != nil {
		return nil, nil, nil, ui.Hint(err, "a larger --size may help")
	}
	r.DiskBytes, r.FreeBytes, r.Pointers = size, layout.FreeBytes(), layout.Pointers()
	return layout, table, build, nil
}

// fits refuses a disk that no memory, or not the machine's, holds beside Windows.
func fits(r *Result, o *Options) error {
	need := r.DiskBytes + reserved64
	if r.Windows.Arch == 0 {
		need = r.DiskBytes + reserved32
	}
	r.MemoryNeed = need
	if o.Gzip && r.DiskBytes > maxGzip-sectorSize {
		return ui.Hint(fmt.Errorf("a disk of %s, want less than 4 GiB: grub4dos takes the size of a compressed image from its trailer, which has 32 bits", ui.Size(r.DiskBytes)),
			"make it smaller with --size, or leave out --gzip")
	}
	if r.Windows.Arch == 0 && r.DiskBytes > most32 {
		if !o.Force {
			return ui.Hint(fmt.Errorf("a disk of %s for a 32-bit Windows, which sees memory below 4 GiB only: want %s at most", ui.Size(r.DiskBytes), ui.Size(most32)),
				"make it smaller with --size or --free, or use --force")
		}
		r.Problems = append(r.Problems, fmt.Errorf("a disk of %s hardly fits below 4 GiB, where a 32-bit Windows sees it", ui.Size(r.DiskBytes)))
	}
	if o.Memory > 0 && o.Memory < need {
		return ui.Hint(fmt.Errorf("a disk of %s needs a machine with %s of memory, it has %s", ui.Size(r.DiskBytes), ui.Size(need), ui.Size(o.Memory)),
			"make it smaller with --size or --free, or more of its files pointers")
	}
	return nil
}

// write writes the image beside the target and swaps.
func write(ctx context.Context, target string, layout *ntfs.Layout, table *mbr.Table, r *Result, o *Options) error {
	image := target
	if o.Gzip {
		image += ".image" // never gets this name
	}
	f, err := atomicfile.Create(image, o.Overwrite || o.Gzip)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := writeDisk(ctx, f, layout, table, r, o); err != nil {
		return err
	}
	if err := check(ctx, f, table); err != nil {
		return fmt.Errorf("%s: the disk just written does not check: %w", target, err)
	}
	out := f
	if o.Gzip {
		if out, err = atomicfile.Create(target, o.Overwrite); err != nil {
			return err
		}
		defer out.Abort()
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		if err := compress(ctx, out, io.NewSectionReader(f, 0, size), o.Threads); err != nil {
			return err
		}
	}
	if err := out.Commit(); err != nil {
		return err
	}
	st, err := os.Stat(target)
	if err != nil {
		return err
	}
	r.FileBytes = st.Size()
	return nil
}

// output is where the image is written.
type output interface {
	io.WriterAt
	Close() error
}

type rawOutput struct{ *atomicfile.File }

func (rawOutput) Close() error { return nil } // Commit does

func newOutput(f *atomicfile.File, r *Result, o *Options) (output, error) {
	if o.Raw {
		return rawOutput{f}, f.Truncate(r.DiskBytes)
	}
	return vhd.Create(f, &vhd.Options{Type: vhd.Fixed, Size: r.DiskBytes, ID: guid.New(), Time: time.Now()})
}

func writeDisk(ctx context.Context, f *atomicfile.File, layout *ntfs.Layout, table *mbr.Table, r *Result, o *Options) error {
	w, err := newOutput(f, r, o)
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
	return w.Close()
}

// check reads the new volume back and holds it to the invariants of the file system.
func check(ctx context.Context, f io.ReaderAt, table *mbr.Table) error {
	size := int64(table.Parts[0].Sectors) * sectorSize
	v, err := ntfs.NewReader(io.NewSectionReader(f, partitionStart, size), size)
	if err != nil {
		return err
	}
	problems, err := v.Check(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range problems {
		if p.Severity > ntfs.SeverityNote {
			errs = append(errs, errors.New(p.String()))
		}
	}
	return errors.Join(errs...)
}

// MenuEntry is the entry of grub4dos' menu.lst that loads an image from path, from the root of its volume, and starts it.
func (r *Result) MenuEntry(path string) string {
	path = "/" + strings.TrimLeft(strings.ReplaceAll(path, `\`, "/"), "/")
	memory := "--mem --top"
	if r.Windows.Arch == 0 {
		memory = "--mem" // below 4 GiB, where it sees it
	}
	return "title " + r.Title + " in RAM\n" +
		"find --set-root --ignore-floppies " + path + "\n" +
		"map " + memory + " " + path + " (hd0)\n" +
		"map --hook\n" +
		"root (hd0,0)\n" +
		"chainloader /bootmgr\n"
}
