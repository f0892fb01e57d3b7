// Package install makes disks that start Windows: partitions, boot files from the image itself, boot stores, boot code, and the system,
// plain or as pointer files in VHDs beside their WIM.
package install

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"husk/bcd"
	"husk/bootcode"
	"husk/fat"
	"husk/guid"
	"husk/internal/atomicfile"
	"husk/internal/deploy"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/ntfs"
	"husk/winfile"
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
	Size      int64          // of the disk in bytes; 0 means what fits
	VHDSize   int64          // of each system's disk with Wimboot; 0 means deploy's default
	Label     string
	Locale    string // of the boot menu; "" means that of the image
	Title     string // of the only system; "" means its product name
	Timeout   int64  // seconds; -1 means 10 with several entries, else 0
	Unattend  string // answer file to put into the system; "" means none
	BootFiles string // source with newer boot files: FILE[:IMAGE] or folder; "" means those of the newest image
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

	source *source.Source
	facts  *winsys.Facts
	file   string       // its VHD, while it is not on the disk yet
	ids    [2]guid.GUID // of its loader and of what resumes it, the same in every boot store
}

// Result tells what was made.
type Result struct {
	DryRun     bool
	Firmware   Firmware
	Format     Format
	DiskBytes  int64
	FileBytes  int64
	Partitions []Partition
	Systems    []*System
	BootFrom   string // image whose boot files the disk has
	Elapsed    time.Duration
}

// Install makes target from images. Several images need Wimboot and must be of one WIM. A target that exists is an fs.ErrExist error
// unless Overwrite is set; it is replaced only when the new disk is complete.
func Install(ctx context.Context, images []string, target string, o *Options) (_ *Result, err error) {
	start := time.Now()
	if err := atomicfile.Check(target, o.Overwrite || o.DryRun); err != nil {
		return nil, err
	}
	b := &builder{o: o, target: target, r: &Result{DryRun: o.DryRun, Format: o.Format}}
	defer func() { err = errors.Join(err, b.close()) }()
	if b.r.Format == "" {
		b.r.Format = FormatOf(target)
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
	b.r.Partitions, b.r.DiskBytes, b.r.Firmware = b.plan.parts, b.plan.size, b.plan.firmware
	if o.DryRun {
		b.r.Elapsed = time.Since(start)
		return b.r, nil
	}
	if err := b.write(ctx); err != nil {
		return nil, err
	}
	st, err := os.Stat(target)
	if err != nil {
		return nil, err
	}
	b.r.FileBytes, b.r.Elapsed = st.Size(), time.Since(start)
	return b.r, nil
}

type builder struct {
	o       *Options
	target  string
	r       *Result
	plan    *plan
	boot    *System        // whose boot files the disk gets
	bootSrc *source.Source // of BootFiles; may be nil
	temp    *tempDir       // of the systems' VHDs; nil until it is needed
	done    func()         // ends the compaction; may be nil
}

func (b *builder) close() error {
	var errs []error
	for _, s := range b.r.Systems {
		errs = append(errs, s.source.Close())
	}
	if b.bootSrc != nil {
		errs = append(errs, b.bootSrc.Close())
	}
	if b.done != nil {
		b.done()
	}
	if b.temp != nil {
		errs = append(errs, b.temp.remove())
	}
	return errors.Join(errs...)
}

// open opens the images and reads what they say of themselves.
func (b *builder) open(ctx context.Context, images []string) error {
	if len(images) > 1 && !b.o.Wimboot {
		return ui.Usage(errors.New("several systems on one disk need --mode=wimboot: each gets a VHD of its own"))
	}
	for _, image := range images {
		s, err := source.Open(ctx, image, &source.Options{Warn: b.o.UI.Warn})
		if err != nil {
			return err
		}
		sys := &System{Image: image, source: s, ids: [2]guid.GUID{guid.New(), guid.New()}}
		b.r.Systems = append(b.r.Systems, sys)
		if sameFile(s.Path, b.target) {
			return fmt.Errorf("%s is the source itself, want another target", b.target)
		}
		if sys.facts, err = winsys.Read(s.Tree); err != nil {
			return fmt.Errorf("%s: %w", image, err)
		}
		if sys.facts == nil {
			return noWindows(image, s)
		}
		if sys.facts.Arch < 0 {
			return fmt.Errorf("%s: the architecture of the Windows in it is not known", image)
		}
		if s.Inside != "" && b.o.Wimboot {
			return s.Pointable()
		}
		if b.o.Wimboot && (s.Kind != source.WIM || s.Path != b.r.Systems[0].source.Path) {
			return ui.Usage(fmt.Errorf("%s: with --mode=wimboot all systems must be images of one WIM", image))
		}
		sys.Title = sys.title()
	}
	if b.o.Title != "" {
		if len(b.r.Systems) > 1 {
			return ui.Usage(errors.New("--title with several systems, want one: each has the name of its product"))
		}
		b.r.Systems[0].Title = b.o.Title
	}
	return nil
}

// noWindows is the error of a source without a system. That of a disc is in its WIM.
func noWindows(image string, s *source.Source) error {
	err := fmt.Errorf("%s: there is no Windows in it", image)
	if s.Kind == source.Optical && len(s.Disc.WIMs()) > 0 {
		return ui.Hint(err, "name an image of its WIM as %s:NUMBER; 'husk info %s' lists them", s.Path, s.Path)
	}
	return ui.Hint(err, "to make a disk of any folder, use 'husk apply'")
}

// sameFile reports whether two names lead to one file.
func sameFile(a, b string) bool {
	s, err := os.Stat(a)
	if err != nil {
		return false
	}
	t, err := os.Stat(b)
	return err == nil && os.SameFile(s, t)
}

const archX64 = 9 // of most UEFI firmware

var architectures = map[int]string{0: "x86", archX64: "x64", 12: "ARM64"}

// title is what the menu calls a system.
func (s *System) title() string {
	name := s.facts.ProductName
	const windows11 = 22000 // its registry still says 10
	if s.facts.Build >= windows11 {
		name = strings.Replace(name, "Windows 10", "Windows 11", 1)
	}
	if name == "" {
		name = s.source.Name()
	}
	if arch := architectures[s.facts.Arch]; arch != "" && !strings.Contains(name, arch) {
		name += " " + arch
	}
	return name
}

// release is the generation of a system's boot files.
func (s *System) release() bcd.Release {
	switch {
	case s.facts.Build >= 10240:
		return bcd.Windows10
	case s.facts.Build >= 9200:
		return bcd.Windows8
	}
	return bcd.Windows7
}

// chooseBoot decides whose boot files the disk gets, and which firmware it is for.
func (b *builder) chooseBoot(ctx context.Context) error {
	b.boot = slices.MaxFunc(b.r.Systems, b.compareBoot)
	if b.o.BootFiles != "" {
		src, err := source.Open(ctx, b.o.BootFiles, &source.Options{Warn: b.o.UI.Warn})
		if err != nil {
			return err
		}
		b.bootSrc = src
		if sameFile(src.Path, b.target) {
			return fmt.Errorf("%s is the source of the boot files, want another target", b.target)
		}
		facts, err := winsys.Read(src.Tree)
		if facts == nil {
			return errors.Join(fmt.Errorf("%s: no Windows to take boot files from", b.o.BootFiles), err)
		}
		b.boot = &System{Image: b.o.BootFiles, source: src, facts: facts}
	}
	b.r.BootFrom = b.boot.Image
	tree, windows := b.boot.source.Tree, b.boot.facts.Folder
	bios, efi := hasBIOS(tree, windows), hasEFI(tree, windows) && removable[b.boot.facts.Arch] != ""
	fw := b.o.Firmware
	if fw == Auto {
		switch {
		case bios && efi:
			fw = Both
		case efi:
			fw = UEFI
		default:
			fw = BIOS
		}
	}
	missing := func(what string) error {
		return ui.Hint(fmt.Errorf(`%s: no boot files for %s (\%s\Boot)`, b.boot.Image, what, windows),
			"take them from another image with --boot-files, or choose another --firmware")
	}
	if !bios && fw != UEFI {
		return missing("BIOS")
	}
	if !efi && fw != BIOS {
		return missing("UEFI")
	}
	b.plan = &plan{format: b.r.Format, firmware: fw, signature: randomSignature(), disk: guid.New(), system: guid.New()}
	return nil
}

// compareBoot is positive if the boot files of s suit better than those of t: first what serves the firmware that is asked for, then what is
// newer, then what serves more machines.
func (b *builder) compareBoot(s, t *System) int {
	rank := func(s *System) []int {
		bios, efi := hasBIOS(s.source.Tree, s.facts.Folder), hasEFI(s.source.Tree, s.facts.Folder) && removable[s.facts.Arch] != ""
		serves := bios || efi
		switch b.o.Firmware {
		case BIOS:
			serves = bios
		case UEFI:
			serves = efi
		case Both:
			serves = bios && efi
		}
		return []int{count(serves), s.facts.Build, count(efi), count(bios), count(s.facts.Arch == archX64)}
	}
	return slices.Compare(rank(s), rank(t))
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// menu is one boot store and where it belongs.
type menu struct {
	path string
	efi  bool
	main bool // on the partition with Windows, else on the one before
}

// firmwares are the stores that the firmware needs.
func (b *builder) storePlaces() []menu {
	bios := menu{"Boot/BCD", false, b.plan.firmware == BIOS}
	efi := menu{"EFI/Microsoft/Boot/BCD", true, false}
	switch b.plan.firmware {
	case BIOS:
		return []menu{bios}
	case UEFI:
		return []menu{efi}
	}
	return []menu{bios, efi}
}

// layOut decides the disk.
func (b *builder) layOut(ctx context.Context) error {
	if b.o.Wimboot {
		return b.layOutSystems(ctx)
	}
	s := b.r.Systems[0]
	if err := b.size(func() (int64, error) {
		layout, err := ntfs.NewLayout(s.source.Tree, &ntfs.BuildOptions{SectorSize: sectorSize})
		if err != nil {
			return 0, err
		}
		return max(defaultSize, layout.MinSize()/2*growthFactor), nil
	}); err != nil {
		return err
	}
	form := ""
	if b.o.Compact != nil {
		form = "Compact"
	}
	if err := personalise(s.source.Tree, s.facts.Folder, b.plan.identity(), form); err != nil {
		return fmt.Errorf("%s: %w", s.Image, err)
	}
	if b.o.Unattend != "" {
		if err := addUnattend(s.source.Tree, s.facts.Folder, b.o.Unattend); err != nil {
			return err
		}
	}
	return b.finish(ctx, s.source.Tree, []bcd.Device{b.mainDevice()})
}

// makeCompact has the files of the only system become compact files.
func (b *builder) makeCompact(ctx context.Context, build *ntfs.BuildOptions) error {
	s := b.r.Systems[0]
	const compactOS = 10240 // the first build that reads compact files: Windows 10
	if s.facts.Build < compactOS {
		return ui.Hint(fmt.Errorf("%s: Windows of build %d does not read compact files", s.Image, s.facts.Build), "use --mode=plain")
	}
	var err error
	_, b.done, err = deploy.MakeCompact(ctx, s.source, b.target, build, &deploy.Options{
		Compact: &deploy.Compact{Algorithm: *b.o.Compact, UEFI: b.plan.firmware == UEFI}, DryRun: b.o.DryRun, Threads: b.o.Threads, UI: b.o.UI,
	})
	return err
}

const (
	defaultSize  = 25 << 30
	growthFactor = 3 // halves: a plain disk gets at least 1.5 times what its files need
	bootRoom     = 256 * mib
)

// size settles the size of the disk and its partitions. need is asked if the user gave none.
func (b *builder) size(need func() (int64, error)) error {
	p := b.plan
	if p.firmware != BIOS {
		n, err := b.bootNeed()
		if err != nil {
			return err
		}
		p.bootSize = max(espSize, n)
	}
	size := b.o.Size
	if size == 0 {
		n, err := need()
		if err != nil {
			return err
		}
		size = n + bootRoom + p.bootSize
	}
	if size > math.MaxInt64-mib {
		return fmt.Errorf("a disk of %d bytes is too large", size)
	}
	p.size = (size + mib - 1) / mib * mib
	if err := p.divide(); err != nil {
		return ui.Hint(err, "a larger --size may help")
	}
	return nil
}

// bootNeed is the size of a partition for the boot files, in bytes: they come from the image, and with every language and font they are many.
func (b *builder) bootNeed() (int64, error) {
	const cluster = 4096 // the largest that a FAT file system of this size has
	t := emptyTree(b.boot.source.Tree)
	if err := b.addBootFiles(t); err != nil {
		return 0, err
	}
	n := int64(4 * mib) // stores, reserved sectors, folders
	for _, e := range t.All() {
		n += cluster
		if e.Info.Data != nil {
			n += (e.Info.Data.Size + cluster - 1) / cluster * cluster
		}
	}
	return (n + n/8 + mib - 1) / mib * mib, nil // and the tables
}

// addBootFiles puts the boot files of the disk into a tree.
func (b *builder) addBootFiles(t *winfile.Tree) error {
	from, windows := b.boot.source.Tree, b.boot.facts.Folder
	for _, m := range b.storePlaces() {
		var err error
		if m.efi {
			err = addEFI(t, from, windows, b.boot.facts.Arch)
		} else {
			err = addBIOS(t, from, windows)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", b.boot.Image, err)
		}
	}
	return nil
}

// mainDevice is the partition with Windows, or with the VHDs, in a boot store.
func (b *builder) mainDevice() bcd.Device {
	p := b.plan
	if p.firmware == UEFI {
		return bcd.Device{Where: bcd.GPTPartition(p.disk, p.system)}
	}
	return bcd.Device{Where: bcd.MBRPartition(p.signature, p.parts[p.mainPart].Offset)}
}

// finish adds boot files and stores to the trees of the partitions and lays these out. devices are the places of the systems.
func (b *builder) finish(ctx context.Context, main *winfile.Tree, devices []bcd.Device) error {
	p := b.plan
	boot := main
	if p.mainPart != 0 {
		boot = emptyTree(main)
	}
	if err := b.addBootFiles(boot); err != nil {
		return err
	}
	for _, m := range b.storePlaces() {
		if err := b.addStore(boot, m, devices); err != nil {
			return err
		}
	}
	if boot != main {
		o := fat.Options{Size: p.parts[0].Size, SectorSize: sectorSize, HiddenSectors: uint32(p.parts[0].Offset / sectorSize),
			Label: "SYSTEM", Serial: randomSignature(), BootSector: bootcode.FAT32()}
		layout, err := fat.NewLayout(boot, o)
		if err != nil {
			return err
		}
		p.boot = layout
	}
	part := p.parts[p.mainPart]
	build := &ntfs.BuildOptions{SectorSize: sectorSize, HiddenSectors: uint32(part.Offset / sectorSize), Label: b.o.Label,
		Size: part.Size, Serial: randomSerial(), Time: winfile.FiletimeOf(time.Now()), Workers: b.o.Threads, BootSector: bootcode.NTFS()}
	if b.o.Compact != nil {
		if err := b.makeCompact(ctx, build); err != nil {
			return err
		}
	}
	layout, err := ntfs.NewLayout(main, build)
	if err != nil {
		return ui.Hint(err, "a larger --size may help")
	}
	p.main, p.build = layout, build
	return nil
}

// newIDs gives the ids of the system one after the other.
func (s *System) newIDs() func() guid.GUID {
	ids := s.ids[:]
	return func() guid.GUID {
		id := ids[0]
		ids = ids[1:]
		return id
	}
}

// addStore puts a boot store into a tree.
func (b *builder) addStore(t *winfile.Tree, m menu, devices []bcd.Device) error {
	locale := b.o.Locale
	if locale == "" {
		locale = b.boot.facts.DefaultLanguage
	}
	timeout := b.o.Timeout
	if timeout < 0 {
		timeout = 0
		if len(devices) > 1 {
			timeout = 10
		}
	}
	store, err := bcd.NewMenu(bcd.Menu{Release: b.boot.release(), EFI: m.efi, Locale: locale, Timeout: uint64(timeout)})
	if err != nil {
		return err
	}
	for i, s := range b.r.Systems {
		if m.efi && s.facts.Arch != b.boot.facts.Arch {
			if b.plan.firmware == UEFI {
				return ui.Hint(fmt.Errorf("%s: UEFI firmware for %s does not start it", s.Title, architectures[b.boot.facts.Arch]),
					"leave it out, or use --firmware=both and start it by BIOS")
			}
			b.o.UI.Warn("%s: UEFI firmware for %s does not start it; it is in the BIOS menu only", s.Title, architectures[b.boot.facts.Arch])
			continue
		}
		id, err := store.AddWindows(bcd.Windows{Release: s.release(), EFI: m.efi, X86: s.facts.Arch == 0, Device: devices[i],
			SystemRoot: `\` + s.facts.Folder, Description: s.Title, DetectHAL: s.release() == bcd.Windows7}, s.newIDs())
		if err != nil {
			return err
		}
		s.Entry = bcd.Alias(id)
	}
	file, err := store.Bytes()
	if err != nil {
		return err
	}
	for _, ext := range []string{".LOG", ".LOG1", ".LOG2"} { // of a store that the image was captured with
		dir, err := folder(t, filepath.ToSlash(filepath.Dir(m.path)), t.Root.Info)
		if err != nil {
			return err
		}
		for i, e := range dir.Children {
			if winfile.EqualFold(e.Name, "BCD"+ext) {
				e.Info.Links--
				dir.Children = append(dir.Children[:i:i], dir.Children[i+1:]...)
				break
			}
		}
	}
	now := winfile.FiletimeOf(time.Now())
	return place(t, m.path, &winfile.Info{Attributes: winfile.AttrArchive | winfile.AttrHidden | winfile.AttrSystem, Created: now, Written: now,
		Accessed: now, Changed: now, Links: 1, Data: winfile.NewBlob(file)})
}

// addUnattend puts an answer file where setup looks for it.
func addUnattend(t *winfile.Tree, windows, name string) error {
	const most = 16 * mib
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if st.Size() > most {
		return fmt.Errorf("%s: answer file of %d bytes, want at most %d", name, st.Size(), most)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	now := winfile.FiletimeOf(time.Now())
	return place(t, windows+"/Panther/unattend.xml", &winfile.Info{Attributes: winfile.AttrArchive, Created: now, Written: now, Accessed: now,
		Changed: now, Links: 1, Data: winfile.NewBlob(b)})
}

// write writes the disk beside the target and swaps.
func (b *builder) write(ctx context.Context) error {
	f, err := atomicfile.Create(b.target, b.o.Overwrite)
	if err != nil {
		return err
	}
	defer f.Abort()
	p := b.o.UI.Start("write the disk", b.plan.main.DataBytes())
	b.plan.build.Progress = p.Add
	err = b.plan.write(ctx, f)
	p.Done()
	if err != nil {
		return err
	}
	return f.Commit()
}

func randomSignature() uint32 {
	for {
		var b [4]byte
		rand.Read(b[:]) // never fails, see crypto/rand
		if n := le.Uint32(b[:]); n != 0 {
			return n
		}
	}
}

func randomSerial() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return le.Uint64(b[:])
}
