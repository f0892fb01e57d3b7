// Package install makes disks that start Windows: partitions, boot files from the image itself, boot stores, boot code, and the system,
// plain or as pointer files in VHDs beside their WIM.
package install

import (
	"context"
	"errors"
	"slices"
	"time"

	"husk/guid"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/wim"
	"husk/wof"
)

// Firmware is what will start the disk.
type Firmware string

const (
	Auto Firmware = ""     // Both if the image has boot managers for both, else what it has
	BIOS Firmware = "bios" // MBR, one NTFS partition
	UEFI Firmware = "uefi" // GPT: EFI system, Microsoft reserved, Windows
	Both Firmware = "both" // MBR: a FAT32 partition with the boot managers of both, Windows
)

// Options tunes Install.
type Options struct {
	Firmware  Firmware
	Compact   *wof.Algorithm // the system's files are compact files
	Wimboot   bool           // systems are pointer files in VHDs, beside the WIM on the disk
	Format    Format         // of the target; "" means what its name promises
	Size      int64          // of the disk in bytes; 0 means what fits. A device is used as a whole
	Sector    int            // logical sector size of the disk, 512 or 4096; 0 means the device's, else 512
	VHDSize   int64          // of each system's disk with Wimboot; 0 means deploy's default
	NoExpand  bool           // with Wimboot: the systems' VHDs do not grow to VHDSize at start; the disk needs no room for that
	Recovery  bool           // a partition with the recovery environment that the image brings
	RAM       RAMOptions     // with Wimboot: systems that also start in memory
	Temp      string         // folder for what is on the way to a device; "" means the system's
	Explain   bool           // find out why files are plain
	Label     string
	Locale    string   // of the boot menu; "" means that of the image
	Title     string   // of the only system; "" means its product name
	Timeout   int64    // seconds; -1 means 10 with several entries, else 0
	Unattend  string   // answer file to put into the system; "" means none
	WIMs      []string // WIM files to look for pointers' data and what a delta WIM lacks in, see source.Options
	BootFiles string   // source with newer boot files: FILE[:IMAGE] or folder; "" means those of the newest image
	Overwrite bool
	DryRun    bool
	Threads   int
	UI        *ui.UI
}

// System is one Windows of the disk.
type System struct {
	Image string `json:"image"`
	Title string `json:"title"`
	Path  string `json:"path,omitempty"` // of its VHD, with Wimboot
	Entry string `json:"entry"`          // its object in the boot store
	Plan  *Plan  `json:"plan,omitempty"` // of its files, where not all are plain

	source  *source.Source
	facts   *winsys.Facts
	bytes   int64        // of its VHD, in a dry run about
	file    string       // its VHD, while it is not on the disk yet
	wimPath string       // of its image's WIM on the disk, with Wimboot
	ids     [2]guid.GUID // of its loader and of what resumes it, the same in every boot store
}

// Result tells what was made.
type Result struct {
	DryRun     bool
	Firmware   Firmware
	Format     Format
	Sector     int // bytes
	DiskBytes  int64
	FileBytes  int64
	Partitions []Partition
	Systems    []*System
	RAM        []*RAM
	Menu       []Entry // of all boot stores
	BootFrom   string  // image whose boot files the disk has
	Device     *Device // that the target is, with what was on it; nil for a file
	Elapsed    time.Duration
}

// Install makes target from images. Several images need Wimboot and must be of one WIM. A target that exists is an fs.ErrExist error
// unless Overwrite is set; it is replaced only when the new disk is complete.
func Install(ctx context.Context, images []string, target string, o *Options) (_ *Result, err error) {
	start := time.Now()
	b := &builder{o: o, target: target, r: &Result{DryRun: o.DryRun, Format: o.Format}}
	defer func() { err = errors.Join(hintDamaged(err, images), b.close()) }()
	if err := b.openTarget(); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return b.open(ctx, images) },
		b.chooseBoot,
		b.layOut,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	b.r.Partitions, b.r.DiskBytes, b.r.Firmware, b.r.Sector = b.plan.parts, b.plan.size, b.plan.firmware, b.plan.sector
	if o.DryRun {
		b.r.Elapsed = time.Since(start)
		return b.r, nil
	}
	if err := b.write(ctx); err != nil {
		return nil, err
	}
	b.warnNative()
	b.r.Elapsed = time.Since(start)
	return b.r, nil
}

// hintDamaged tells what to do about contents that do not read.
func hintDamaged(err error, images []string) error {
	var h *ui.Hinted
	var w *wim.FormatError
	if errors.As(err, &h) || !errors.As(err, &w) && !errors.Is(err, wim.ErrChecksum) {
		return err
	}
	return ui.Hint(err, "the image is damaged or not complete: try 'husk verify %s'", images[0])
}

type builder struct {
	o      *Options
	target string
	r      *Result
	sector int     // of the target
	device *device // that the target is; nil for a file
	plan   *plan
	boot   *System  // whose boot files the disk gets
	temp   *tempDir // of the systems' VHDs; nil until it is needed
	done   func()   // ends the compaction; may be nil

	closers  []func() error // of sources and stores
	wims     wims           // that pointers will lead into, with Wimboot
	recovery *recovery      // environment that the disk gets; may be nil
}

func (b *builder) close() error {
	var errs []error
	for _, f := range slices.Backward(b.closers) {
		errs = append(errs, f())
	}
	if b.done != nil {
		b.done()
	}
	if b.temp != nil {
		errs = append(errs, b.temp.remove())
	}
	if b.device != nil {
		errs = append(errs, b.device.close())
	}
	return errors.Join(errs...)
}
