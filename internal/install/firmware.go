package install

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"husk/guid"
	"husk/internal/ui"
	"husk/internal/winsys"
)

// firstBuild4K is the first build that starts from disks with logical sectors of 4096 bytes: Windows 8. Source: Microsoft's support policy
// for 4K sector hard drives.
const firstBuild4K = 9200

// chooseBoot decides whose boot files the disk gets, and which firmware it is for.
func (b *builder) chooseBoot(ctx context.Context) error {
	b.boot = slices.MaxFunc(b.r.Systems, b.compareBoot)
	if b.o.BootFiles != "" {
		src, err := b.openImage(ctx, b.o.BootFiles)
		if err != nil {
			return err
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
	if b.sector == sector4K && (fw == BIOS || fw == Both) {
		return ui.Hint(fmt.Errorf("%s: sectors of 4096 bytes, which a BIOS does not start from", b.target), "use --firmware=uefi")
	}
	if fw == Auto {
		switch {
		case efi && (b.sector == sector4K || b.o.Size > mostMBR || b.device != nil && b.device.size > mostMBR):
			fw = UEFI
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
	if b.sector == sector4K && fw != UEFI {
		return missing("UEFI, the only firmware that starts disks with sectors of 4096 bytes,")
	}
	if b.sector == sector4K {
		for _, s := range b.r.Systems {
			if s.facts.Build < firstBuild4K {
				b.o.UI.Warn("%s: Windows 7 does not start from disks with sectors of 4096 bytes, want Windows 8 or later", s.Image)
			}
		}
	}
	b.plan = &plan{format: b.r.Format, sector: b.sector, firmware: fw, signature: randomSignature(), disk: guid.New(), system: guid.New(), tools: guid.New()}
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
