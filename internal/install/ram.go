package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"husk/bcd"
	"husk/internal/ramdisk"
	"husk/internal/ui"
	"husk/winfile"
)

// RAMOptions says which systems also start in memory, from an image of their own in the root of the disk, and how.
type RAMOptions struct {
	Systems []int  // 1-based, in the order of the images
	Grub    string // grub4dos' grldr, which loads the images; grldr.mbr is taken from beside it. "" means that the boot manager loads them
	Manager bool   // the boot manager loads them also where grub4dos does: EXPERIMENTAL
	Free    int64  // bytes that a running system can write; 0 means ramdisk.DefaultFree
	Memory  int64  // of the machine in bytes, which they must fit; 0 means unknown
}

// RAM is the image of a system that starts in memory.
type RAM struct {
	System  int      `json:"system"` // 1-based
	Title   string   `json:"title"`
	Path    string   `json:"path"`    // on the disk
	Bytes   int64    `json:"bytes"`   // of the file; in a dry run about
	Drivers []string `json:"drivers"` // for disks in memory that the system has

	file   string // while it is not on the disk yet
	result *ramdisk.Result
}

const (
	grldrPath    = `\grldr`
	grldrMBRPath = `\grldr.mbr`
	menuPath     = "menu.lst"
	maxGrub      = 8 << 20   // bytes of grub4dos
	maxGrubMBR   = 512 << 10 // bytes of what the boot manager loads to 7C00h
)

// planRAM looks whether the systems that shall start in memory could, and names their images.
func (b *builder) planRAM() error {
	o := &b.o.RAM
	if len(o.Systems) == 0 {
		return nil
	}
	if o.Grub != "" && b.plan.firmware == UEFI {
		return ui.Hint(errors.New("grub4dos starts with a BIOS only"), "use --firmware=bios or both, or leave out --grub4dos: the boot manager loads the image then")
	}
	if o.Grub == "" {
		o.Manager = true
	}
	if o.Manager {
		b.o.UI.Warn("EXPERIMENTAL: boot managers load images into memory; whether Windows goes on from there is not known")
	}
	if o.Grub != "" {
		if _, _, err := readGrub(o.Grub); err != nil {
			return err
		}
	}
	names := make(map[string]bool)
	for _, n := range o.Systems {
		if n < 1 || n > len(b.r.Systems) {
			return ui.Usage(fmt.Errorf("--ram=%d, want the number of an image, from 1 to %d", n, len(b.r.Systems)))
		}
		s := b.r.Systems[n-1]
		drivers, err := ramdisk.Check(s.source.Tree, o.Grub != "", o.Manager)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Image, err)
		}
		r := &RAM{System: n, Title: s.Title + " in RAM"}
		for _, d := range drivers {
			r.Drivers = append(r.Drivers, d.Name)
			if d.Ready() && !d.Device {
				b.o.UI.Warn("the driver %s has no device below Enum\\ROOT: if Windows stops with 0x7B, install it again with its own installer", d.Name)
			}
		}
		name := shortName(s.facts.Build)
		for _, more := range []string{"", "-" + strings.ToLower(architectures[s.facts.Arch]), fmt.Sprintf("-%d", n)} {
			if !names[name+more] {
				name += more
				break
			}
		}
		if names[name] {
			return ui.Usage(fmt.Errorf("--ram=%d is given twice", n))
		}
		names[name] = true
		r.Path = `\` + name + ".ram"
		b.r.RAM = append(b.r.RAM, r)
	}
	return nil
}

// makeRAM makes the images in the temporary folder, from the VHDs there, and returns the bytes of all of them. A dry run, without VHDs,
// says about how large they will be.
func (b *builder) makeRAM(ctx context.Context) (total int64, err error) {
	for _, r := range b.r.RAM {
		s := b.r.Systems[r.System-1]
		if b.o.DryRun {
			r.Bytes = s.Plan.estimate(b.o.RAM.Free)
			r.result = &ramdisk.Result{Windows: s.facts, Title: s.Title, Offset: firstPart}
			total += r.Bytes
			continue
		}
		if r.file, err = b.tempFile(r.Path); err != nil {
			return 0, err
		}
		r.result, err = ramdisk.Make(ctx, s.file, r.file, &ramdisk.Options{
			Free: b.o.RAM.Free, Memory: b.o.RAM.Memory, BootManager: b.o.RAM.Grub == "", UEFI: b.plan.firmware == UEFI, WIMs: b.wims.paths(),
			Overwrite: true, Threads: b.o.Threads, UI: b.o.UI,
		})
		if err != nil {
			return 0, err
		}
		r.result.Title = s.Title
		r.Bytes = r.result.FileBytes
		total += r.Bytes
	}
	return total, nil
}

// addGrub puts grub4dos and its menu beside the boot manager.
func (b *builder) addGrub(t *winfile.Tree) error {
	grldr, mbr, err := readGrub(b.o.RAM.Grub)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if len(b.r.RAM) == 1 {
		text.WriteString("timeout 0\n") // the choice was made in the boot manager's menu
	} else {
		text.WriteString("timeout 10\n")
	}
	text.WriteString("default 0\n")
	for _, r := range b.r.RAM {
		text.WriteString("\n" + r.result.MenuEntry(r.Path))
	}
	for name, data := range map[string][]byte{grldrPath: grldr, grldrMBRPath: mbr, menuPath: text.Bytes()} {
		if data == nil {
			continue
		}
		if err := place(t, strings.Trim(name, `\`), newFile(data)); err != nil {
			return err
		}
	}
	return nil
}

// readGrub reads grub4dos' loader and, if it is there, the one that the boot manager starts instead of it.
func readGrub(name string) (grldr, mbr []byte, err error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		name = filepath.Join(name, "grldr")
	}
	if grldr, err = readSmall(name, maxGrub); err != nil {
		return nil, nil, ui.Hint(err, "grldr is in the archive of grub4dos")
	}
	if len(grldr) == 0 {
		return nil, nil, fmt.Errorf("%s is empty, want grub4dos' grldr", name)
	}
	mbr, err = readSmall(filepath.Join(filepath.Dir(name), "grldr.mbr"), maxGrubMBR)
	if errors.Is(err, os.ErrNotExist) {
		return grldr, nil, nil
	}
	return grldr, mbr, err
}

// readSmall reads a file of at most so many bytes.
func readSmall(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s: more than %d bytes", name, most)
	}
	return b, nil
}

// addRAMEntries adds to a boot store what starts the images: grub4dos, which has a menu of its own if there are several, and entries by
// which the boot manager loads them.
func (b *builder) addRAMEntries(store *bcd.Store, m menu) error {
	if len(b.r.RAM) == 0 {
		return nil
	}
	o := b.o.RAM
	if o.Grub != "" && !m.efi {
		title := "RAM (grub4dos)"
		if len(b.r.RAM) == 1 {
			title = b.r.RAM[0].Title
		}
		path := grldrPath
		if _, mbr, err := readGrub(o.Grub); err != nil {
			return err
		} else if mbr != nil {
			path = grldrMBRPath
		}
		if _, err := ramdisk.AddGrub(store, title, bcd.Device{Where: bcd.Boot{}}, path); err != nil {
			return err
		}
	}
	if o.Grub != "" && m.efi && !o.Manager {
		b.o.UI.Warn("grub4dos starts with a BIOS only: the RAM entry is not in the UEFI menu")
	}
	if !o.Manager {
		return nil
	}
	for _, r := range b.r.RAM {
		if m.efi && b.r.Systems[r.System-1].facts.Arch != b.boot.facts.Arch {
			continue
		}
		if _, err := r.result.AddRAMDisk(store, b.mainDevice().Where, r.Path, m.efi); err != nil {
			return err
		}
	}
	return nil
}
