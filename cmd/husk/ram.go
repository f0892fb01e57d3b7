package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/bcd"
	"husk/internal/atomicfile"
	"husk/internal/ramdisk"
	"husk/internal/registry"
	"husk/internal/ui"
)

// ramFlags are the flags of husk ram.
type ramFlags struct {
	ramdisk.Options
	size, free, memory, signature string
	format                        string
	path, menu                    string
	store, grldr, device          string
}

func newRAM(a *app) *cobra.Command {
	f := &ramFlags{}
	c := &cobra.Command{
		Use:   "ram TARGET [IMAGE]",
		Short: a.ui.T("Make a small disk image of a system, which grub4dos loads into memory and starts there"),
		Long: a.ui.T(`TARGET is FILE[:PARTITION] of a disk with a Windows, best one of pointer files made by 'husk apply --wimboot'. IMAGE (default:
TARGET's name with .ram) is a fixed VHD or raw disk as small as the files allow, laid out anew: pointer files stay pointers, those that are
read before the overlay driver get their content, page file and hibernation are left out and switched off. It brings boot code, the boot
manager and a boot store of its own. TARGET is not changed. What changes while the system runs in memory is lost at power-off; the WIM
stays on its physical disk, which must be there.
The system needs a driver for disks in memory that starts at boot: SVBus, FiraDisk or WinVBlock. The entry for grub4dos' menu.lst is
printed, or added to the file of --menu; --store=BCD adds an entry that starts grub4dos (grldr.mbr) to a boot store.
--bootmgr is EXPERIMENTAL: instead of grub4dos the boot manager of the store loads the image. Boot managers do; whether a Windows kernel
goes on from there is not known.`),
		Example: `  husk ram x64/win7.vhd win7.ram --menu=/mnt/usb/menu.lst --store=/mnt/usb/Boot/BCD
  husk ram x64/win7.vhd --memory=8G --gzip
  husk ram x64/win10.vhd win10.ram --bootmgr --store=Boot/BCD --path=/win10.ram`,
		Args: args(1, 2),
		RunE: func(c *cobra.Command, given []string) error { return a.ram(c, f, given) },
	}
	a.ramFlags(c, f)
	return c
}

func (a *app) ramFlags(c *cobra.Command, f *ramFlags) {
	flags, t := c.Flags(), a.ui.T
	flags.StringVar(&f.format, "format", "vhd", t("`form` of the image: vhd (fixed) or raw"))
	flags.StringVar(&f.size, "size", "", t("`size` of the disk (default: what the files need, and --free)"))
	flags.StringVar(&f.free, "free", "256M", t("`size` that the running system can write"))
	flags.StringVar(&f.memory, "memory", "", t("memory `size` of the machine, which the disk must fit"))
	flags.BoolVar(&f.Gzip, "gzip", false, t("compress the image; grub4dos expands it as it loads it"))
	flags.StringVar(&f.signature, "signature", "", t("disk signature in `hex` (default: that of TARGET, where it is free)"))
	flags.BoolVar(&f.KeepPageFile, "keep-page-file", false, t("leave the settings of page file and hibernation as they are"))
	flags.StringArrayVar(&f.WIMs, "wim", nil, t("a WIM `file` that pointer files point into, if it is not found by itself"))
	flags.StringVar(&f.path, "path", "", t("`path` of the image on its volume (default: in the root, by its name)"))
	flags.StringVar(&f.menu, "menu", "", t("add the entry to this menu.lst `file`"))
	flags.StringVar(&f.store, "store", "", t("add an entry to this boot `store` (BCD)"))
	flags.StringVar(&f.grldr, "grldr", `\grldr.mbr`, t("`path` of grub4dos' loader for the entry of --store"))
	flags.StringVar(&f.device, "device", "boot", t("`device` with grub4dos' loader, or with --bootmgr the image: boot or a partition, as in 'husk boot'"))
	flags.BoolVar(&f.BootManager, "bootmgr", false, t("EXPERIMENTAL: the boot manager of --store loads the image, without grub4dos"))
	flags.BoolVar(&f.UEFI, "uefi", false, t("with --bootmgr: the store is for UEFI firmware"))
	flags.BoolVar(&f.Force, "force", false, t("go on although the system may not start"))
	flags.BoolVar(&f.DryRun, "dry-run", false, t("only tell what would be done"))
}

// options reads the flags that have a form of their own.
func (f *ramFlags) options(a *app) error {
	for _, s := range []struct {
		name, text string
		into       *int64
	}{{"size", f.size, &f.Size}, {"free", f.free, &f.Free}, {"memory", f.memory, &f.Memory}} {
		if s.text == "" {
			continue
		}
		n, err := ui.ParseSize(s.text)
		if err != nil || n <= 0 {
			return ui.Usage(fmt.Errorf("--%s=%s, want a size such as 900M", s.name, s.text))
		}
		*s.into = n
	}
	if f.signature != "" {
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(f.signature), "0x"), 16, 32)
		if err != nil || n == 0 {
			return ui.Usage(fmt.Errorf("--signature=%s, want up to 8 hex digits that are not zero", f.signature))
		}
		f.Signature = uint32(n)
	}
	switch f.format {
	case "vhd":
	case "raw":
		f.Raw = true
	default:
		return ui.Usage(fmt.Errorf("--format=%s, want vhd or raw", f.format))
	}
	switch {
	case f.BootManager && (f.Raw || f.Gzip):
		return ui.Usage(errors.New("--bootmgr loads a fixed VHD that is not compressed"))
	case f.BootManager && f.store == "":
		return ui.Usage(errors.New("--bootmgr, want the boot store with --store=BCD"))
	case f.BootManager && f.menu != "":
		return ui.Usage(errors.New("--menu is for grub4dos, --bootmgr does without"))
	case f.UEFI && !f.BootManager:
		return ui.Hint(ui.Usage(errors.New("--uefi without --bootmgr")), "grub4dos for UEFI needs an EFI system partition in the image, which this one has not")
	case strings.ContainsAny(f.path, " \t\r\n"):
		return ui.Usage(fmt.Errorf("--path=%q, want one without spaces: grub4dos ends words at them", f.path))
	}
	f.Overwrite, f.Threads, f.UI = a.ui.Yes, a.threads, a.ui
	return nil
}

func (a *app) ram(c *cobra.Command, f *ramFlags, given []string) error {
	if err := f.options(a); err != nil {
		return err
	}
	target := ""
	if len(given) > 1 {
		target = given[1]
	} else {
		file := given[0]
		if i := strings.LastIndexByte(file, ':'); i > 0 {
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
				file = file[:i]
			}
		}
		target = strings.TrimSuffix(file, filepath.Ext(file)) + ".ram"
	}
	if f.path == "" {
		f.path = "/" + filepath.Base(target)
		if strings.ContainsAny(f.path, " \t\r\n") {
			return ui.Hint(ui.Usage(fmt.Errorf("%q: grub4dos ends words at spaces", target)), "choose another name, or say with --path where the image will be")
		}
	}
	change, finish, err := a.openRAMStore(c, f)
	if err != nil {
		return err
	}
	defer finish()
	r, err := ramdisk.Make(c.Context(), given[0], target, &f.Options)
	if err != nil {
		return refusedIf(err)
	}
	for _, p := range r.Problems {
		a.ui.Warn("%s", p)
	}
	if f.BootManager {
		a.ui.Warn("EXPERIMENTAL: boot managers load this image; whether Windows goes on from it is not known")
	}
	a.tellRAM(r, target, f)
	if change != nil {
		if err := change(r); err != nil {
			return err
		}
	}
	if f.BootManager {
		return nil
	}
	return a.ramMenu(r, f)
}

// openRAMStore opens the store in time, so that what is wrong with it is known before the image is made. change adds the entry.
func (a *app) openRAMStore(c *cobra.Command, f *ramFlags) (change func(*ramdisk.Result) error, finish func(), err error) {
	if f.store == "" {
		return nil, func() {}, nil
	}
	device, err := bcd.ParseDeviceText(f.device)
	if err != nil {
		return nil, nil, ui.Usage(fmt.Errorf("--device: %w", err))
	}
	h, _, err := registry.Open(c.Context(), storeArgs([]string{f.store}), a.ui.Warn)
	if err != nil {
		return nil, nil, err
	}
	finish = func() { h.Close() }
	s, err := bcd.Of(h.Hive)
	if err == nil {
		err = h.CanSave()
	}
	if err != nil {
		finish()
		return nil, nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	return func(r *ramdisk.Result) error {
		h.Touch()
		var added bool
		if f.BootManager {
			path := `\` + strings.TrimLeft(strings.ReplaceAll(f.path, "/", `\`), `\`)
			added, err = r.AddRAMDisk(s, device.Where, path, f.UEFI)
		} else {
			added, err = ramdisk.AddGrub(s, "grub4dos: "+r.Title+" in RAM", device, f.grldr)
		}
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", h.Name, err)
		case !added:
			a.ui.Say("%s has the entry already", h.Name)
			return nil
		case f.DryRun:
			a.ui.Say("%s would get an entry", h.Name)
			return nil
		}
		if err := h.Save(); err != nil {
			return err
		}
		a.ui.Say("%s has a new entry", h.Name)
		return nil
	}, finish, nil
}

func (a *app) tellRAM(r *ramdisk.Result, target string, f *ramFlags) {
	var names []string
	for _, d := range r.Drivers {
		names = append(names, fmt.Sprintf("%s (%s)", d.Name, d.Service))
		if d.Ready() && !d.Device {
			a.ui.Warn("the driver %s has no device below Enum\\ROOT: if Windows stops with 0x7B, install it again with its own installer", d.Name)
		}
	}
	if a.ui.JSON {
		m := map[string]any{
			"target": target, "dryRun": r.DryRun, "system": r.Title, "diskBytes": r.DiskBytes, "freeBytes": r.FreeBytes, "memoryBytes": r.MemoryNeed,
			"signature": fmt.Sprintf("%08x", r.Signature), "offset": r.Offset, "pointers": r.Pointers, "plain": r.Plain, "dropped": r.Dropped,
			"drivers": names, "path": f.path, "experimental": f.BootManager,
		}
		if !r.DryRun {
			m["fileBytes"] = r.FileBytes
		}
		if !f.BootManager {
			m["menu"] = r.MenuEntry(f.path)
		}
		a.ui.Event("result", m)
		return
	}
	t := a.ui.T
	rows := [][]string{
		{t("system"), r.Title},
		{t("disk"), t("%s, %s free", ui.Size(r.DiskBytes), ui.Size(r.FreeBytes))},
		{t("memory"), t("at least %s", ui.Size(r.MemoryNeed))},
		{t("signature"), fmt.Sprintf("%08x", r.Signature)},
		{t("pointers"), t("%d; %d made plain", r.Pointers, r.Plain)},
	}
	if len(names) > 0 {
		rows = append(rows, []string{t("driver"), strings.Join(names, ", ")})
	}
	if len(r.Dropped) > 0 {
		rows = append(rows, []string{t("left out"), printable(strings.Join(r.Dropped, ", "))})
	}
	if !r.DryRun {
		rows = append(rows, []string{t("file"), fmt.Sprintf("%s, %s", target, ui.Size(r.FileBytes))})
	}
	a.ui.List(rows)
	if r.DryRun {
		a.ui.Say("Nothing is written: --dry-run")
	}
}

// maxMenu bounds a menu.lst, in bytes.
const maxMenu = 1 << 20

// ramMenu prints the entry for grub4dos, or adds it to its menu.
func (a *app) ramMenu(r *ramdisk.Result, f *ramFlags) error {
	entry := r.MenuEntry(f.path)
	if f.menu == "" || f.DryRun {
		if !a.ui.JSON {
			fmt.Fprintf(a.ui.Raw(), "\n%s", entry)
		}
		return nil
	}
	old, err := readFile(f.menu, maxMenu)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := string(old)
	if strings.Contains(strings.ReplaceAll(text, "\r\n", "\n"), entry) {
		a.ui.Say("%s has the entry already", f.menu)
		return nil
	}
	if text != "" {
		text = strings.TrimRight(text, "\r\n") + "\n\n"
	}
	w, err := atomicfile.Create(f.menu, true)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write([]byte(text + entry)); err != nil {
		return err
	}
	if err := w.Commit(); err != nil {
		return err
	}
	a.ui.Say("%s has a new entry", f.menu)
	return nil
}
