package install

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"time"

	"husk/bcd"
	"husk/bootcode"
	"husk/fat"
	"husk/internal/deploy"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/vhd"
	"husk/vhdx"
	"husk/winfile"
)

// layOut decides the disk.
func (b *builder) layOut(ctx context.Context) error {
	if b.o.Wimboot {
		return b.layOutSystems(ctx)
	}
	s := b.r.Systems[0]
	if b.o.Recovery {
		if err := b.findRecovery(s); err != nil {
			return fmt.Errorf("%s: %w", s.Image, err)
		}
	}
	if err := b.size(func() (int64, error) {
		layout, err := ntfs.NewLayout(s.source.Tree, &ntfs.BuildOptions{SectorSize: b.plan.sector})
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
	if b.recovery != nil {
		if err := b.moveRecovery(s.source.Tree); err != nil {
			return fmt.Errorf("%s: %w", s.Image, err)
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
	r, done, err := deploy.MakeCompact(ctx, s.source, b.scratch(), build, &deploy.Options{
		Compact: &deploy.Compact{Algorithm: *b.o.Compact, UEFI: b.plan.firmware == UEFI}, DryRun: b.o.DryRun, Threads: b.o.Threads, UI: b.o.UI,
	})
	if err != nil {
		return err
	}
	b.done = done
	s.Plan, err = newPlan(s.source.Tree, r.Plan, b.o.Explain)
	return err
}

const (
	defaultSize  = 25 << 30
	growthFactor = 3 // halves: a plain disk gets at least 1.5 times what its files need
	bootRoom     = 256 * mib
)

// size settles the size of the disk and its partitions. need is asked if neither the user nor a device gives one.
func (b *builder) size(need func() (int64, error)) error {
	p := b.plan
	if p.firmware != BIOS {
		n, err := b.bootNeed()
		if err != nil {
			return err
		}
		p.bootSize = max(espSize, n)
		if p.sector == sector4K {
			p.bootSize = max(espSize4K, n)
		}
	}
	size := b.o.Size
	switch {
	case b.device != nil:
		size = b.device.size
	case size == 0:
		n, err := need()
		if err != nil {
			return err
		}
		if n > math.MaxInt64/2 {
			return fmt.Errorf("a disk of %d bytes is too large", n)
		}
		size = n + bootRoom + p.bootSize + p.toolsSize
	}
	if size > math.MaxInt64-mib {
		return fmt.Errorf("a disk of %d bytes is too large", size)
	}
	p.size = (size + mib - 1) / mib * mib
	if most, ok := map[Format]int64{FormatVHD: vhd.MaxSize, FormatVHDX: vhdx.MaxSize}[b.r.Format]; ok && p.size > most {
		return ui.Hint(fmt.Errorf("%s: a disk of %s, want at most %s", b.target, ui.Size(p.size), ui.Size(most)), "choose a smaller --size, or --disk-format=raw")
	}
	if b.device != nil {
		p.size = size // the backup of a GPT is in its last sectors
	}
	return b.hintSize(p.divide())
}

// hintSize tells what to do about a disk that is too small.
func (b *builder) hintSize(err error) error {
	if h := (*ui.Hinted)(nil); errors.As(err, &h) {
		return err
	}
	if b.device != nil {
		return ui.Hint(err, "%s has %s: use a larger disk", b.target, ui.Size(b.device.size))
	}
	return ui.Hint(err, "a larger --size may help")
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
	if len(b.r.RAM) > 0 && b.o.RAM.Grub != "" {
		if err := b.addGrub(boot); err != nil {
			return err
		}
	}
	for _, m := range b.storePlaces() {
		if err := b.addStore(boot, m, devices); err != nil {
			return err
		}
	}
	if boot != main {
		layout, err := fat.NewLayout(boot, fat.Options{Size: p.parts[p.bootPart].Size, SectorSize: p.sector, HiddenSectors: p.hidden(p.bootPart),
			Label: "SYSTEM", Serial: randomSignature(), BootSector: bootcode.FAT32()})
		if err != nil {
			return b.hintSize(err)
		}
		p.boot = layout
		p.parts[p.bootPart].FileSystem, p.parts[p.bootPart].Used = "FAT32", layout.UsedBytes()
	}
	build := b.volume(p.mainPart, b.o.Label)
	if b.o.Compact != nil {
		if err := b.makeCompact(ctx, build); err != nil {
			return err
		}
	}
	layout, err := ntfs.NewLayout(main, build)
	if err != nil {
		return b.hintSize(err)
	}
	p.main, p.build = layout, build
	p.parts[p.mainPart].FileSystem, p.parts[p.mainPart].Used = "NTFS", layout.UsedBytes()
	if b.recovery != nil {
		return b.layOutRecovery(main)
	}
	return nil
}

// volume is a new NTFS volume for a partition.
func (b *builder) volume(part int, label string) *ntfs.BuildOptions {
	return &ntfs.BuildOptions{SectorSize: b.plan.sector, HiddenSectors: b.plan.hidden(part), Label: label, Size: b.plan.parts[part].Size,
		Serial: randomSerial(), Time: winfile.FiletimeOf(time.Now()), Workers: b.o.Threads, BootSector: bootcode.NTFS()}
}

// addUnattend puts an answer file where setup looks for it.
func addUnattend(t *winfile.Tree, windows, name string) error {
	const most = 16 * mib
	b, err := readSmall(name, most)
	if err != nil {
		return fmt.Errorf("answer file: %w", err)
	}
	return place(t, windows+"/Panther/unattend.xml", newFile(b))
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
