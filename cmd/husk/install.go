package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/install"
	"husk/internal/ui"
	"husk/wof"
)

type installFlags struct {
	mode, firmware, format, size, vhdSize, compact string
	ramFree, memory                                string
	wimboot, dryRun, explain                       bool
	o                                              install.Options
}

func newInstall(a *app) *cobra.Command {
	f := &installFlags{}
	c := &cobra.Command{
		Use:   "install IMAGE... TARGET",
		Short: a.ui.T("Make a disk that starts Windows from an image"),
		Long: a.ui.T(`IMAGE is WIM:IMAGE, STORE:POINT, or any other source with a Windows in it; TARGET is a new disk image, whose form its name tells (.vhd,
.vhdx, anything else is raw), or a disk of the machine, such as /dev/sdb, all of which is overwritten: it must not be in use, what is on it
is shown first, and everything is read back. The disk gets partitions, the boot files that the image brings, a boot store, boot code of
husk's own on BIOS, and identities that no other disk has. With --wimboot several systems go onto one disk: their WIM at
\wimboot\wimboot.wim, or all WIMs and layers that they need under their names there, each system as pointer files in a VHD of its own
beside them, and a menu of them all.
--ram=N adds an image of system N that starts in memory, and an entry for it: by grub4dos, if --grub4dos names its grldr, else by the
boot manager itself, which is EXPERIMENTAL.`),
		Example: `  husk install install.wim:1 win11.vhdx --firmware=uefi
  husk install wimboot.wim:1 wimboot.wim:2 usb.img --wimboot --size=64G --locale=zh-CN
  husk install D/wimboot:seven@clean D/wimboot:ten@latest usb.img --wimboot
  husk install wimboot.wim:1 wimboot.wim:2 /dev/sdb --wimboot --ram=1 --grub4dos=grub4dos/grldr
  husk install install.wim:1 /dev/nvme1n1 --recovery
  husk install backup.wim:1 pc.img --firmware=bios --explain --dry-run`,
		Args: args(2, 1000),
		RunE: func(c *cobra.Command, given []string) error { return f.run(c, a, given) },
	}
	t, flags := a.ui.T, c.Flags()
	flags.StringVar(&f.mode, "mode", "plain", t("`form` of the systems: plain, wimboot (pointer files in VHDs) or compact (compressed as Compact OS does)"))
	flags.BoolVar(&f.wimboot, "wimboot", false, t("the same as --mode=wimboot"))
	flags.StringVar(&f.compact, "algorithm", "xpress8k", t("`algorithm` of --mode=compact: xpress4k, xpress8k, xpress16k or lzx"))
	flags.StringVar(&f.firmware, "firmware", "auto", t("`firmware` that will start the disk: bios, uefi, both or auto (what the image has boot files for)"))
	flags.StringVar(&f.format, "disk-format", "", t("`form` of TARGET: vhd, vhdx or raw (default: as its name says)"))
	flags.StringVar(&f.size, "size", "", t("`size` of the disk, such as 64G (default: what the systems need with room to live)"))
	flags.StringVar(&f.vhdSize, "vhd-size", "", t("`size` of the VHD of each system with --mode=wimboot (default 25G)"))
	flags.StringVar(&f.o.Label, "label", "", t("`name` of the volume"))
	flags.StringVar(&f.o.Locale, "locale", "", t("`language` of the boot menu, such as zh-CN (default: that of the image)"))
	flags.StringVar(&f.o.Title, "title", "", t("`name` of the system in the menu (default: its product name)"))
	flags.Int64Var(&f.o.Timeout, "timeout", -1, t("`seconds` that the menu waits (default: 10 with several systems, else none)"))
	flags.StringVar(&f.o.Unattend, "unattend", "", t("answer `file` for the setup of the system"))
	flags.StringArrayVar(&f.o.WIMs, "wim", nil, t("where an image is a disk of pointer files, or a WIM that lacks contents: the WIM `file` with them"))
	flags.StringVar(&f.o.BootFiles, "boot-files", "", t("take the boot files from the Windows in this `source`: FILE[:IMAGE] or a folder (default: those of the newest image)"))
	flags.IntVar(&f.o.Sector, "sector-size", 0, t("`bytes` of a logical sector, 512 or 4096, of a raw image or VHDX (default 512; a disk has its own)"))
	flags.BoolVar(&f.o.NoExpand, "no-expand", false, t("with --mode=wimboot: Windows leaves its VHD as small as it is, instead of growing it to its full size at start"))
	flags.BoolVar(&f.o.Recovery, "recovery", false, t("make a partition with the recovery environment that the image brings"))
	flags.IntSliceVar(&f.o.RAM.Systems, "ram", nil, t("`number` of an image of which the disk also gets one that starts in memory, with --wimboot"))
	flags.StringVar(&f.o.RAM.Grub, "grub4dos", "", t("grub4dos' `grldr`, which loads what --ram makes; grldr.mbr is taken from beside it"))
	flags.BoolVar(&f.o.RAM.Manager, "ram-bootmgr", false, t("EXPERIMENTAL: add entries by which the boot manager loads what --ram makes, beside those of grub4dos"))
	flags.StringVar(&f.ramFree, "ram-free", "", t("`size` that a system in memory can write (default 256M)"))
	flags.StringVar(&f.memory, "memory", "", t("memory `size` of the machine, which what --ram makes must fit"))
	flags.StringVar(&f.o.Temp, "temp", "", t("`folder` for what is on the way to TARGET (default: beside a file; the system's for a disk)"))
	flags.BoolVar(&f.explain, "explain", false, t("list the files that stay plain, and why"))
	flags.BoolVar(&f.dryRun, "dry-run", false, t("tell what would be done and write nothing"))
	return c
}

func (f *installFlags) run(c *cobra.Command, a *app, given []string) error {
	o := &f.o
	var err error
	if o.Size, err = optionalSize("size", f.size); err != nil {
		return err
	}
	if o.VHDSize, err = optionalSize("vhd-size", f.vhdSize); err != nil {
		return err
	}
	if f.wimboot {
		if c.Flags().Changed("mode") && f.mode != "wimboot" {
			return ui.Usage(fmt.Errorf("--wimboot and --mode=%s: want one of them", f.mode))
		}
		f.mode = "wimboot"
	}
	if err := f.together(c); err != nil {
		return err
	}
	if o.RAM.Free, err = optionalSize("ram-free", f.ramFree); err != nil {
		return err
	}
	if o.RAM.Memory, err = optionalSize("memory", f.memory); err != nil {
		return err
	}
	switch f.mode {
	case "plain":
	case "wimboot":
		o.Wimboot = true
	case "compact":
		algorithm, err := parseAlgorithm(f.compact)
		if err != nil {
			return err
		}
		o.Compact = &algorithm
	default:
		return ui.Usage(fmt.Errorf("--mode=%s, want plain, wimboot or compact", f.mode))
	}
	switch fw := install.Firmware(strings.ToLower(f.firmware)); fw {
	case "auto":
	case install.BIOS, install.UEFI, install.Both:
		o.Firmware = fw
	default:
		return ui.Usage(fmt.Errorf("--firmware=%s, want bios, uefi, both or auto", f.firmware))
	}
	switch format := install.Format(strings.ToLower(f.format)); format {
	case "", install.FormatVHD, install.FormatVHDX, install.FormatRaw:
		o.Format = format
	default:
		return ui.Usage(fmt.Errorf("--disk-format=%s, want vhd, vhdx or raw", f.format))
	}
	o.UI, o.Overwrite, o.DryRun, o.Explain, o.Threads = a.ui, a.ui.Yes, f.dryRun, f.explain, a.threads
	r, err := install.Install(c.Context(), given[:len(given)-1], given[len(given)-1], o)
	if errors.Is(err, install.ErrNotEmpty) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err != nil {
		return refusedIf(err)
	}
	a.tellInstall(r, given[len(given)-1])
	return nil
}

// together refuses flags that mean nothing without another.
func (f *installFlags) together(c *cobra.Command) error {
	given := c.Flags().Changed
	for _, x := range []struct{ flag, mode string }{{"vhd-size", "wimboot"}, {"no-expand", "wimboot"}, {"algorithm", "compact"}, {"ram", "wimboot"}} {
		if given(x.flag) && f.mode != x.mode {
			return ui.Usage(fmt.Errorf("--%s goes with --mode=%s", x.flag, x.mode))
		}
	}
	for _, flag := range []string{"grub4dos", "ram-bootmgr", "ram-free", "memory"} {
		if given(flag) && !given("ram") {
			return ui.Usage(fmt.Errorf("--%s goes with --ram", flag))
		}
	}
	if given("timeout") && f.o.Timeout < 0 {
		return ui.Usage(fmt.Errorf("--timeout=%d, want seconds, 0 or more", f.o.Timeout))
	}
	if f.o.Recovery && f.mode == "wimboot" {
		return ui.Usage(errors.New("--recovery with --mode=wimboot: Windows has no recovery environment for systems that start from a VHD"))
	}
	if f.explain && f.mode == "plain" {
		return ui.Usage(errors.New("--explain goes with --mode=wimboot and --mode=compact: with --mode=plain all files are plain"))
	}
	return nil
}

// optionalSize reads a size that may be left out.
func optionalSize(name, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := ui.ParseSize(s)
	if err != nil {
		return 0, ui.Usage(fmt.Errorf("--%s: %w", name, err))
	}
	return n, nil
}

func (a *app) tellInstall(r *install.Result, target string) {
	if a.ui.JSON {
		a.ui.Event("install", map[string]any{
			"target": target, "dryRun": r.DryRun, "firmware": r.Firmware, "format": r.Format, "diskBytes": r.DiskBytes, "fileBytes": r.FileBytes,
			"partitions": r.Partitions, "systems": r.Systems, "ram": r.RAM, "menu": r.Menu, "bootFiles": r.BootFrom, "device": r.Device,
			"sectorSize": r.Sector, "seconds": r.Elapsed.Seconds(),
		})
		return
	}
	t := a.ui.T
	if r.Device != nil && r.DryRun {
		for _, c := range r.Device.Content {
			a.ui.Say("%s would lose: %s", target, c)
		}
	}
	var rows [][]string
	for i, p := range r.Partitions {
		used := ""
		if p.FileSystem != "" {
			used = ui.Size(p.Used)
		}
		rows = append(rows, []string{strconv.Itoa(i + 1), p.Kind, p.FileSystem, ui.Size(p.Offset), ui.Size(p.Size), used})
	}
	a.ui.Table([]string{"#", t("partition"), t("file system"), t("starts at"), t("size"), t("used")},
		[]ui.Align{ui.Right, ui.Left, ui.Left, ui.Right, ui.Right, ui.Right}, rows)
	rows = nil
	for i, s := range r.Systems {
		rows = append(rows, []string{strconv.Itoa(i + 1), s.Title, s.Image, s.Path})
	}
	for _, m := range r.RAM {
		rows = append(rows, []string{strconv.Itoa(m.System), m.Title, ui.Size(m.Bytes), m.Path})
	}
	a.ui.Table([]string{"#", t("system"), t("image"), t("path")}, []ui.Align{ui.Right, ui.Left, ui.Left, ui.Left}, rows)
	rows = nil
	for _, e := range r.Menu {
		rows = append(rows, []string{e.Store, e.Title, e.Device, e.Path})
	}
	a.ui.Table([]string{t("boot store"), t("entry"), t("device"), t("path")}, []ui.Align{ui.Left, ui.Left, ui.Left, ui.Left}, rows)
	for _, s := range r.Systems {
		a.tellPlan(s)
	}
	a.ui.Say("boot files of %s for %s", r.BootFrom, r.Firmware)
	switch {
	case r.DryRun:
		a.ui.Say("%s: a disk of %s would be made; nothing was written", target, ui.Size(r.DiskBytes))
	case r.Device != nil:
		a.ui.Say("%s: %s written and read back, %s", target, ui.Size(r.FileBytes), ui.Duration(r.Elapsed))
	default:
		a.ui.Say("%s: a disk of %s in a file of %s, %s", target, ui.Size(r.DiskBytes), ui.Size(r.FileBytes), ui.Duration(r.Elapsed))
	}
}

// tellPlan tells how many files of a system are plain, and of which this is asked, why.
func (a *app) tellPlan(s *install.System) {
	if s.Plan == nil {
		return
	}
	t := a.ui.T
	var rows [][]string
	for _, c := range s.Plan.Counts {
		what := t("plain: %s", t(c.Reason.String()))
		if c.Reason == wof.Backed {
			what = t("not plain")
		}
		rows = append(rows, []string{what, strconv.Itoa(c.Files), ui.Size(c.Bytes)})
	}
	a.ui.Table([]string{s.Title, t("files"), t("size")}, []ui.Align{ui.Left, ui.Right, ui.Right}, rows)
	rows = nil
	for _, f := range s.Plan.Plain {
		why := explanation(a, f.Reason.String(), f.Pattern)
		if f.Why != "" {
			why += ": " + t(string(f.Why))
			if f.By != "" {
				why += " (" + printable(f.By) + ")"
			}
		}
		rows = append(rows, []string{printable(f.Path), ui.Size(f.Bytes), why})
	}
	if len(rows) > 0 {
		a.ui.Table([]string{t("plain file"), t("size"), t("why")}, []ui.Align{ui.Left, ui.Right, ui.Left}, rows)
	}
}
