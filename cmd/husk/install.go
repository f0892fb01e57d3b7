package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/install"
	"husk/internal/ui"
)

type installFlags struct {
	mode, firmware, format, size, vhdSize, compact string
	dryRun                                         bool
	o                                              install.Options
}

func newInstall(a *app) *cobra.Command {
	f := &installFlags{}
	c := &cobra.Command{
		Use:   "install IMAGE... TARGET",
		Short: a.ui.T("Make a disk that starts Windows from an image"),
		Long: a.ui.T(`IMAGE is WIM:IMAGE, or any other source with a Windows in it; TARGET is a new disk image, whose form its name tells (.vhd, .vhdx,
anything else is raw). The disk gets partitions, the boot files that the image brings, a boot store, boot code of husk's own on BIOS,
and identities that no other disk has. With --mode=wimboot several images of one WIM go onto one disk: the WIM at
\wimboot\wimboot.wim, each system as pointer files in a VHD of its own beside it, and a menu of them all.`),
		Example: `  husk install install.wim:1 win11.vhdx --firmware=uefi
  husk install wimboot.wim:1 wimboot.wim:2 usb.img --mode=wimboot --size=64G --locale=zh-CN
  husk install backup.wim:1 pc.img --firmware=bios --dry-run`,
		Args: args(2, 1000),
		RunE: func(c *cobra.Command, given []string) error { return f.run(c, a, given) },
	}
	t, flags := a.ui.T, c.Flags()
	flags.StringVar(&f.mode, "mode", "plain", t("`form` of the systems: plain, wimboot (pointer files in VHDs) or compact (compressed as Compact OS does)"))
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
	flags.StringVar(&f.o.BootFiles, "boot-files", "", t("take the boot files from the Windows in this `source`: FILE[:IMAGE] or a folder (default: those of the newest image)"))
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
	for flag, mode := range map[string]string{"vhd-size": "wimboot", "algorithm": "compact"} {
		if c.Flags().Changed(flag) && f.mode != mode {
			return ui.Usage(fmt.Errorf("--%s goes with --mode=%s", flag, mode))
		}
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
	o.UI, o.Overwrite, o.DryRun, o.Threads = a.ui, a.ui.Yes, f.dryRun, a.threads
	r, err := install.Install(c.Context(), given[:len(given)-1], given[len(given)-1], o)
	if err != nil {
		return refusedIf(err)
	}
	a.tellInstall(r, given[len(given)-1])
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
			"partitions": r.Partitions, "systems": r.Systems, "bootFiles": r.BootFrom, "seconds": r.Elapsed.Seconds(),
		})
		return
	}
	t := a.ui.T
	var rows [][]string
	for i, p := range r.Partitions {
		rows = append(rows, []string{strconv.Itoa(i + 1), p.Kind, ui.Size(p.Offset), ui.Size(p.Size)})
	}
	a.ui.Table([]string{"#", t("partition"), t("starts at"), t("size")}, []ui.Align{ui.Right, ui.Left, ui.Right, ui.Right}, rows)
	rows = nil
	for i, s := range r.Systems {
		rows = append(rows, []string{strconv.Itoa(i + 1), s.Title, s.Image, s.Path})
	}
	a.ui.Table([]string{"#", t("entry"), t("image"), t("VHD")}, []ui.Align{ui.Right, ui.Left, ui.Left, ui.Left}, rows)
	a.ui.Say("boot files of %s for %s", r.BootFrom, r.Firmware)
	if r.DryRun {
		a.ui.Say("%s: a disk of %s would be made; nothing was written", target, ui.Size(r.DiskBytes))
		return
	}
	a.ui.Say("%s: a disk of %s in a file of %s, %s", target, ui.Size(r.DiskBytes), ui.Size(r.FileBytes), ui.Duration(r.Elapsed))
}
