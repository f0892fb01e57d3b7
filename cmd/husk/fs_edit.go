package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"husk/internal/deploy"
	"husk/internal/inplace"
	"husk/internal/reshape"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/wof"
)

// reshapeFlags are those that the commands share which change the form of files in place.
type reshapeFlags struct {
	wims                  []string
	config                string
	dryRun, uefi, explain bool
}

// bind adds the flags; rules are for the commands that decide which files may change.
func (f *reshapeFlags) bind(a *app, c *cobra.Command, rules bool) {
	t, flags := a.ui.T, c.Flags()
	flags.BoolVar(&f.dryRun, "dry-run", false, t("tell what would be done and write nothing"))
	flags.StringArrayVar(&f.wims, "wim", nil, t("look for the data of pointer files in this WIM `file`"))
	if rules {
		flags.StringVar(&f.config, "config", "", t("`file` whose [PrepopulateList] names what stays plain"))
		flags.BoolVar(&f.uefi, "uefi", false, t("only UEFI will start the volume: what boot loaders read may change too, as far as they can read it"))
		flags.BoolVar(&f.explain, "explain", false, t("list the files that stay plain and why"))
	}
}

func (f *reshapeFlags) options(a *app, paths []string) *reshape.Options {
	return &reshape.Options{Paths: paths, WIMs: f.wims, DryRun: f.dryRun, Threads: a.threads, UI: a.ui}
}

func newCompactInPlace(a *app) *cobra.Command {
	var f reshapeFlags
	var algorithm string
	c := &cobra.Command{
		Use:   "compact DISK[:PARTITION] [PATH...]",
		Short: a.ui.T("Compress files of a volume in place, as Compact OS does"),
		Long: a.ui.T(`All files, or those at PATH and below, become compact files and their clusters free. What stays plain is as with 'husk apply
--compact': files that would not take less room, that Windows writes to, or that are read before its driver runs. Compact files of
another algorithm get this one; pointer files stay. The volume must not be mounted. A command that was cut off is finished by
running it again.`),
		Example: `  husk fs compact x64/win10.vhdx --algorithm=lzx --uefi
  husk fs compact disk.img:2 '/Program Files' /Windows/WinSxS --algorithm=xpress8k --dry-run`,
		Args: args(1, 10000),
		RunE: func(c *cobra.Command, args []string) error {
			alg, err := parseAlgorithm(algorithm)
			if err != nil {
				return err
			}
			return a.reshape(args[0], a.ui.T("compact files"), f.explain, func() (*reshape.Result, error) {
				return reshape.ToCompact(c.Context(), args[0], &reshape.Compact{Algorithm: alg, Config: f.config, UEFI: f.uefi}, f.options(a, args[1:]))
			})
		},
	}
	c.Flags().StringVar(&algorithm, "algorithm", "xpress4k", a.ui.T("`algorithm` xpress4k, xpress8k, xpress16k or lzx"))
	f.bind(a, c, true)
	return c
}

func newPlainInPlace(a *app) *cobra.Command {
	var f reshapeFlags
	c := &cobra.Command{
		Use:   "plain DISK[:PARTITION] [PATH...]",
		Short: a.ui.T("Turn compact and pointer files of a volume back into plain ones"),
		Long: a.ui.T(`All files, or those at PATH and below, get their contents back: from the WIM that a pointer names, looked for at its recorded
path under each folder above DISK or given with --wim, or from their compressed stream. That the volume has room for all of
them is made sure of first. The volume must not be mounted. A command that was cut off is finished by running it again.`),
		Example: `  husk fs plain store/x64/win7.vhd /Windows/System32/drivers
  husk fs plain win7.vhd --wim=/backup/wimboot.wim
  husk fs plain win10.vhdx --dry-run`,
		Args: args(1, 10000),
		RunE: func(c *cobra.Command, args []string) error {
			return a.reshape(args[0], a.ui.T("plain files"), false, func() (*reshape.Result, error) {
				return reshape.ToPlain(c.Context(), args[0], f.options(a, args[1:]))
			})
		},
	}
	f.bind(a, c, false)
	return c
}

func newPointerInPlace(a *app) *cobra.Command {
	var f reshapeFlags
	var wimPath, wimDisk string
	c := &cobra.Command{
		Use:   "pointer DISK[:PARTITION] WIM[:IMAGE] [PATH...]",
		Short: a.ui.T("Turn files of a volume whose contents are in a WIM into pointers into it"),
		Long: a.ui.T(`All files, or those at PATH and below, are read and hashed. Those whose contents WIM has become pointers, and their clusters
free; WimOverlay.dat is made, or gets one WIM more. What stays plain is as with 'husk apply --wimboot': on BIOS, and where the
image's own list says so, what is read before Windows can read pointers. Pointer files stay, whatever they point into. The volume
must not be mounted. A command that was cut off is finished by running it again.`),
		Example: `  husk fs pointer x64/win7.vhd wimboot.wim:1 --wim-path='\wimboot\wimboot.wim' --wim-disk=mbr:1a2b3c4d:1048576
  husk fs pointer disk.img:2 wimboot.wim:1 /Windows --wim-path='\wimboot\wimboot.wim' --wim-disk=/dev/sda:2 --uefi --dry-run`,
		Args: args(2, 10000),
		RunE: func(c *cobra.Command, args []string) error {
			wim, _ := source.Split(args[1])
			at, err := deploy.Location(wimDisk, wimPath, wim)
			if err != nil {
				return err
			}
			return a.reshape(args[0], a.ui.T("pointers into the WIM"), f.explain, func() (*reshape.Result, error) {
				return reshape.ToPointers(c.Context(), args[0], &reshape.Pointer{WIM: args[1], Location: at, Config: f.config, UEFI: f.uefi}, f.options(a, args[2:]))
			})
		},
	}
	t, flags := a.ui.T, c.Flags()
	flags.StringVar(&wimPath, "wim-path", "", t("`path` of the WIM on its volume at boot (default: its path now, where it lies on a partition)"))
	flags.StringVar(&wimDisk, "wim-disk", "", t("`disk` of the WIM at boot: mbr:SIGNATURE:OFFSET, gpt:DISK:PARTITION, or a disk image or device with :NUMBER (default: where it lies now)"))
	f.bind(a, c, true)
	return c
}

// reshape runs a change of form and tells what became of the files.
func (a *app) reshape(disk, form string, explain bool, run func() (*reshape.Result, error)) error {
	r, err := run()
	if r != nil {
		a.reshaped(disk, form, explain, r)
	}
	if err != nil {
		if r != nil && r.Changed.Files > 0 && errors.Is(err, context.Canceled) {
			a.ui.Warn("%d files are changed already; running the command again goes on from there", r.Changed.Files)
		}
		return unusableIf(err)
	}
	if r.Failures > 0 {
		return fmt.Errorf("%s: %d files could not be changed", disk, r.Failures)
	}
	return nil
}

// unusableIf turns a volume in a state in which it is not to be changed into a refusal.
func unusableIf(err error) error {
	if inplace.Refused(err) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

func (a *app) reshaped(disk, form string, explain bool, r *reshape.Result) {
	for _, err := range r.Failed {
		a.ui.Warn("%s", err)
	}
	if explain {
		for _, p := range r.Plain {
			if a.ui.JSON {
				a.ui.Event("plain", map[string]any{"path": p.Path, "reason": reasonWord(p.Reason), "pattern": p.Pattern.String()})
				continue
			}
			a.ui.Say("%s: %s", p.Path, explanation(a, p.Reason.String(), p.Pattern.String()))
		}
	}
	if a.ui.JSON {
		plain := make(map[string]any)
		for reason, n := range r.Reasons {
			plain[reasonWord(reason)] = map[string]any{"files": n.Files, "bytes": n.Bytes}
		}
		a.ui.Event("result", map[string]any{
			"target": disk, "dryRun": r.DryRun, "changed": r.Changed.Files, "changedBytes": r.Changed.Bytes, "already": r.Already.Files,
			"plain": plain, "failed": r.Failures, "freedBytes": r.Freed, "readBytes": r.Read, "seconds": r.Elapsed.Seconds(),
		})
		return
	}
	t := a.ui.T
	rows := [][]string{{form, strconv.Itoa(r.Changed.Files), ui.Size(r.Changed.Bytes)}}
	if r.Already.Files > 0 {
		rows = append(rows, []string{t("so already"), strconv.Itoa(r.Already.Files), ui.Size(r.Already.Bytes)})
	}
	for _, reason := range wof.Reasons() {
		if n := r.Reasons[reason]; n.Files > 0 && reason != wof.Directory {
			rows = append(rows, []string{t("unchanged: %s", t(reason.String())), strconv.Itoa(n.Files), ui.Size(n.Bytes)})
		}
	}
	a.ui.Table([]string{"", t("files"), t("size")}, []ui.Align{ui.Left, ui.Right, ui.Right}, rows)
	switch {
	case r.DryRun && r.Freed >= 0:
		a.ui.Say("%s: %s would become free. Nothing was written.", disk, ui.Size(r.Freed))
	case r.DryRun:
		a.ui.Say("%s: %s more would be in use. Nothing was written.", disk, ui.Size(-r.Freed))
	case r.Freed >= 0:
		a.ui.Say("%s: %s became free, in %s (%d files/s).", disk, ui.Size(r.Freed), ui.Duration(r.Elapsed), perSecond(int64(r.Changed.Files), r.Elapsed))
	default:
		a.ui.Say("%s: %s more are in use, in %s (%d files/s).", disk, ui.Size(-r.Freed), ui.Duration(r.Elapsed), perSecond(int64(r.Changed.Files), r.Elapsed))
	}
}
