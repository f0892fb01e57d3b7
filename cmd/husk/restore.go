package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"husk/internal/system"
	"husk/internal/ui"
)

// restoreFlags are the flags of restore.
type restoreFlags struct {
	mode, algorithm, size string
	again                 bool
	o                     system.Options
}

func newRestore(a *app) *cobra.Command {
	f := &restoreFlags{}
	c := &cobra.Command{
		Use:   "restore STORE:POINT [DISK[:PARTITION]]",
		Short: a.ui.T("Put a system back to a point"),
		Long: a.ui.T(`The volume of the system is made anew beside the old disk, NAME.new, with everything around it as it is: partitions, boot code,
identities. It is read back, and takes the old one's place in one step; the old disk is NAME.old until the next success. Without DISK it
is the one that the store knows of the point's system. Files of users that are in no point are listed and asked about: --keep names those
that the new disk gets too, --yes keeps all of them, --discard none. A device is written over, after the volume was made and checked in a
file; that takes --yes or an answer.`),
		Example: `  husk restore wimboot:x64@before wimboot/x64/win7.vhd
  husk restore wimboot:latest --keep=/Users --dry-run
  husk restore wimboot.wim:2 /dev/sdb:3 --mode=compact --yes
  husk restore wimboot:x64~1 win.vhdx --to=smaller.vhdx --size=20G`,
		Args: args(1, 2),
		RunE: func(c *cobra.Command, args []string) error { return a.restore(c.Context(), f, args) },
	}
	t, flags, o := a.ui.T, c.Flags(), &f.o
	flags.StringVar(&f.mode, "mode", "", t("`form` of the files: wimboot (pointers), compact or plain (default: as the system has it)"))
	flags.StringVar(&f.algorithm, "algorithm", "", t("`algorithm` of --mode=compact: xpress4k, xpress8k, xpress16k or lzx (default: that of the system)"))
	flags.StringArrayVar(&o.Keep, "keep", nil, t("`path` of files or folders of the old system that the new one gets too, perhaps with wildcards; may be repeated"))
	flags.BoolVar(&o.Discard, "discard", false, t("files of the old system that are in no point may be lost"))
	flags.StringVar(&o.To, "to", "", t("make the new disk as this `file` and leave the system as it is"))
	flags.StringVar(&f.size, "size", "", t("`size` of the new disk (default: that of the old one)"))
	flags.StringArrayVar(&o.WIMs, "wim", nil, t("look for the data of pointer files in this WIM `file`"))
	flags.StringVar(&o.WIMDisk, "wim-disk", "", t("where the layer with the point will be at boot: mbr:SIGNATURE:OFFSET, gpt:DISK:PARTITION or a disk image (default: as the system has it)"))
	flags.StringVar(&o.WIMPath, "wim-path", "", t("`path` of that layer on its volume at boot"))
	flags.StringVar(&o.Config, "config", "", t("`file` whose [PrepopulateList] names what stays plain"))
	flags.BoolVar(&o.UEFI, "uefi", false, t("only UEFI will start the system: what boot loaders read may be pointers too (default: as the system has it)"))
	flags.StringVar(&o.Spool, "spool", "", t("`folder` for the volume that is made before a device is written (default: that of the store)"))
	flags.BoolVar(&f.again, "continue", false, t("copy the volume of a restore of a device that was cut off"))
	flags.BoolVar(&o.DryRun, "dry-run", false, t("tell what would be done and write nothing"))
	return c
}

func (a *app) restore(ctx context.Context, f *restoreFlags, args []string) error {
	o := &f.o
	o.UI, o.Threads, o.Overwrite = a.ui, a.threads, a.ui.Yes
	switch f.mode {
	case "":
	case "wimboot":
		o.Form = system.Pointers
	case "compact":
		o.Form = system.Compact
	case "plain":
		o.Form = system.Plain
	default:
		return ui.Usage(fmt.Errorf("--mode=%s, want plain, wimboot or compact", f.mode))
	}
	if f.algorithm != "" {
		alg, err := parseAlgorithm(f.algorithm)
		if err != nil {
			return err
		}
		if o.Form != system.Compact {
			return ui.Usage(errors.New("--algorithm goes with --mode=compact"))
		}
		o.Algorithm = &alg
	}
	if f.size != "" {
		n, err := ui.ParseSize(f.size)
		if err != nil || n <= 0 {
			return ui.Usage(fmt.Errorf("--size=%s: want a size such as 20G", f.size))
		}
		o.Size = n
	}
	if len(args) == 1 {
		disk, err := system.DiskOf(ctx, args[0], a.ui)
		if err != nil {
			return err
		}
		a.ui.Say("The system of %s is on %s.", args[0], disk)
		args = append(args, disk)
	}
	asked := false
	o.Decide = func(files []*system.File) bool {
		asked = true
		a.atRisk(files)
		return a.ui.Confirm("Keep these %d files on the new disk?", len(files))
	}
	o.Overwrites = func(device string) bool {
		return a.ui.Confirm("Write over %s? What is on it can then not be had back, but for what is kept.", device)
	}
	do := system.Restore
	if f.again {
		do = system.Continue
	}
	r, err := do(ctx, args[0], args[1], o)
	switch {
	case system.IsUndecided(err), system.IsNotOverwritten(err):
		if !asked && system.IsUndecided(err) {
			return err
		}
		return fmt.Errorf("%w: %w", errRefused, err)
	case err != nil:
		return refusedIf(err)
	}
	a.restored(args, r)
	return nil
}

const maxAtRisk = 20

// atRisk lists files that would be lost.
func (a *app) atRisk(files []*system.File) {
	if a.ui.JSON {
		for _, f := range files {
			a.ui.Event("at-risk", map[string]any{"file": f})
		}
		return
	}
	a.ui.Say("These files of the system are in no point of the store:")
	bytes := int64(0)
	for i, f := range files {
		bytes += f.Size
		if i < maxAtRisk {
			a.ui.Say("  %s (%s)", printable(f.Path), ui.Size(f.Size))
		}
	}
	if len(files) > maxAtRisk {
		a.ui.Say("  … and %d more", len(files)-maxAtRisk)
	}
	a.ui.Say("%d files, %s", len(files), ui.Size(bytes))
}

func (a *app) restored(args []string, r *system.Result) {
	if a.ui.JSON {
		for _, f := range r.Risk {
			a.ui.Event("at-risk", map[string]any{"file": f})
		}
		a.ui.Event("result", map[string]any{
			"dryRun": r.DryRun, "point": args[0], "system": r.System, "old": r.Old, "mode": r.Form, "diskBytes": r.DiskBytes, "fileBytes": r.FileBytes,
			"pointers": r.Pointers, "local": r.Local, "layers": r.Layers, "back": r.Back, "saved": r.Saved, "kept": r.Kept,
			"bootFiles": r.BootFiles, "adopted": r.Adopted, "atRisk": len(r.Risk), "seconds": r.Elapsed.Seconds(),
		})
		return
	}
	t := a.ui.T
	var rows [][]string
	row := func(name string, files int, bytes int64) {
		if files > 0 {
			rows = append(rows, []string{name, strconv.Itoa(files), ui.Size(bytes)})
		}
	}
	row(t("pointers into the WIM"), r.Pointers.Files, r.Pointers.Bytes)
	row(t("on the disk itself"), r.Local.Files, r.Local.Bytes)
	row(t("kept of the old system"), r.Kept.Files, r.Kept.Bytes)
	row(t("boot files of the disk, kept"), r.BootFiles, 0)
	row(t("of Windows, as in the point again"), r.Back.Files, r.Back.Bytes)
	row(t("of the old system, in another point"), r.Saved.Files, r.Saved.Bytes)
	a.ui.Table([]string{"", t("files"), t("size")}, []ui.Align{ui.Left, ui.Right, ui.Right}, rows)
	for _, l := range r.Layers {
		a.ui.Say("Layer: %s", l)
	}
	if r.DryRun {
		if len(r.Risk) > 0 {
			a.atRisk(r.Risk)
		}
		a.ui.Say("Nothing was written.")
		return
	}
	if r.Adopted {
		a.ui.Say("The system was of another disk; it knows itself as of this one now.")
	}
	a.ui.Say("%s is %s again: %s, read back, in %s.", r.System, args[0], ui.Size(r.FileBytes), ui.Duration(r.Elapsed))
	if r.Old != "" {
		a.ui.Say("The disk as it was is %s until the next restore.", r.Old)
	}
}
