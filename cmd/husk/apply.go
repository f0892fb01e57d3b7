package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/deploy"
	"husk/internal/source"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/wof"
)

type applyFlags struct {
	wimboot, fixed, check, dryRun, explain, uefi     bool
	wimPath, wimDisk, config, size, label, signature string
}

func newApply(a *app) *cobra.Command {
	f := &applyFlags{}
	c := &cobra.Command{
		Use:   "apply WIM [IMAGE] TARGET",
		Short: a.ui.T("Apply an image to a folder, or make a VHD of it, plain or of pointer files"),
		Long: a.ui.T(`A TARGET that ends in .vhd becomes a disk with one NTFS partition. With --wimboot, files on it are pointers into WIM wherever
they can be; files that must be there before Windows can read pointers stay plain, as the [PrepopulateList] of the image, of
--config, or a built-in list has it, and --explain tells why. The VHD records where the WIM will be at boot: its path on its
volume (--wim-path) and the disk and partition of that volume (--wim-disk).
Any other TARGET is a folder, which must be empty or not exist.`),
		Example: `  husk apply wimboot.wim 1 x64/win7.vhd --wimboot --wim-path='\wimboot\wimboot.wim' --wim-disk=mbr:1a2b3c4d:1048576
  husk apply wimboot.wim 1 x64/win7.vhd --wimboot --wim-disk=/dev/sda:2 --wim-path='\wimboot\wimboot.wim' --size=40G
  husk apply backup.wim "Windows 7" plain.vhd --size=60G --label=System
  husk apply backup.wim 1 /mnt/folder`,
		Args: args(2, 3),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), a, args) },
	}
	t, flags := a.ui.T, c.Flags()
	flags.BoolVar(&f.wimboot, "wimboot", false, t("make eligible files pointers into the WIM"))
	flags.StringVar(&f.wimPath, "wim-path", "", t("`path` of the WIM on its volume at boot (default: its path now, where it lies on a partition)"))
	flags.StringVar(&f.wimDisk, "wim-disk", "", t("`disk` of the WIM at boot: mbr:SIGNATURE:OFFSET, gpt:DISK:PARTITION, or a disk image or device with :NUMBER (default: where it lies now)"))
	flags.StringVar(&f.config, "config", "", t("`file` whose [PrepopulateList] names what stays plain"))
	flags.BoolVar(&f.uefi, "uefi", false, t("only UEFI will start the disk: let what the image's own list allows be pointers; on BIOS nothing that is read before Windows' own driver may be one"))
	flags.BoolVar(&f.explain, "explain", false, t("list the files that stay plain and why"))
	flags.StringVar(&f.size, "size", "", t("`size` of the disk, such as 40G (default 25G, or what a plain image needs)"))
	flags.BoolVar(&f.fixed, "fixed", false, t("make a fixed VHD instead of a dynamic one"))
	flags.StringVar(&f.label, "label", "", t("`name` of the volume"))
	flags.StringVar(&f.signature, "disk-signature", "", t("MBR signature of the disk, 8 `hex` digits (default: random)"))
	flags.BoolVar(&f.check, "check", false, t("read the new disk back and check the file system before it gets its name"))
	flags.BoolVar(&f.dryRun, "dry-run", false, t("tell what would be done and write nothing"))
	return c
}

func (f *applyFlags) run(ctx context.Context, a *app, args []string) error {
	spec, target := args[0], args[len(args)-1]
	if len(args) == 3 {
		spec += ":" + args[1]
	}
	isVHD := strings.EqualFold(filepath.Ext(target), ".vhd")
	if strings.EqualFold(filepath.Ext(target), ".vhdx") {
		return ui.Hint(ui.Usage(fmt.Errorf("%s: making VHDX disks: %w", target, errors.ErrUnsupported)), "give a TARGET that ends in .vhd")
	}
	if !isVHD && (f.wimboot || f.pointerFlags() || f.fixed || f.check || f.size != "" || f.label != "" || f.signature != "") {
		return ui.Hint(ui.Usage(fmt.Errorf("%s is a folder: all options but --dry-run are for disks", target)), "give a TARGET that ends in .vhd")
	}
	s, err := source.Open(ctx, spec, &source.Options{Warn: a.ui.Warn})
	if err != nil {
		return err
	}
	defer s.Close()
	if !isVHD {
		return f.toFolder(ctx, a, s, target)
	}
	if f.wimboot && s.Kind != source.WIM {
		return fmt.Errorf("%s is no WIM: pointers can only point into one", s.Path)
	}
	o, err := f.options(a, s)
	if err != nil {
		return err
	}
	r, err := deploy.VHD(ctx, s, target, o)
	if err != nil {
		return refusedIf(err)
	}
	return a.applied(target, r, f.explain)
}

// pointerFlags reports whether one of the flags is set that only mean something for a disk of pointers.
func (f *applyFlags) pointerFlags() bool {
	return f.wimPath != "" || f.wimDisk != "" || f.config != "" || f.explain || f.uefi
}

// options checks the flags of a disk.
func (f *applyFlags) options(a *app, s *source.Source) (*deploy.Options, error) {
	o := &deploy.Options{
		Fixed: f.fixed, Label: f.label, Overwrite: a.ui.Yes, DryRun: f.dryRun, Check: f.check, Threads: a.threads, UI: a.ui,
	}
	if f.size != "" {
		n, err := ui.ParseSize(f.size)
		if err == nil && n == 0 {
			err = errors.New("0 bytes")
		}
		if err != nil {
			return nil, ui.Usage(fmt.Errorf("--size: %w", err))
		}
		o.Size = n
	}
	if f.signature != "" {
		n, err := strconv.ParseUint(strings.TrimPrefix(f.signature, "0x"), 16, 32)
		if err != nil || n == 0 {
			return nil, ui.Usage(fmt.Errorf("--disk-signature=%s: want up to 8 hex digits that are not zero", f.signature))
		}
		o.Signature = uint32(n)
	}
	if !f.wimboot {
		if f.pointerFlags() {
			return nil, ui.Usage(fmt.Errorf("--wim-path, --wim-disk, --config, --uefi and --explain go with --wimboot"))
		}
		return o, nil
	}
	at, err := deploy.Location(f.wimDisk, f.wimPath, s.Path)
	if err != nil {
		return nil, err
	}
	o.Wimboot = &deploy.Wimboot{Location: at, Config: f.config, UEFI: f.uefi}
	return o, nil
}

// applied tells what became of a disk.
func (a *app) applied(target string, r *deploy.Result, explain bool) error {
	if a.ui.JSON {
		return a.appliedJSON(target, r, explain)
	}
	if r.DryRun {
		a.ui.Say("Would make %s: a disk of %s for %d files in %d folders. Nothing was written.", target, ui.Size(r.DiskBytes), r.Totals.Names, r.Totals.Dirs)
	} else {
		a.ui.Say("%s: a disk of %s in a file of %s, signature %s", target, ui.Size(r.DiskBytes), ui.Size(r.FileBytes), fmt.Sprintf("%08x", r.Signature))
	}
	if r.Plan != nil {
		t := a.ui.T
		var rows [][]string
		for _, reason := range wof.Reasons() {
			n := r.Plan.Total(reason)
			if n.Files == 0 || reason == wof.Directory {
				continue
			}
			what := t("pointers into the WIM")
			if reason != wof.Backed {
				what = t("plain: %s", t(reason.String()))
			}
			rows = append(rows, []string{what, strconv.Itoa(n.Files), ui.Size(n.Bytes)})
		}
		a.ui.Table([]string{"", t("files"), t("size")}, []ui.Align{ui.Left, ui.Right, ui.Right}, rows)
		if explain {
			for _, p := range r.Plan.Plain {
				a.ui.Say("%s: %s", p.Path, explanation(a, p.Reason.String(), p.Pattern.String()))
			}
		}
	}
	if !r.DryRun {
		a.ui.Say("Done in %s (%d files/s).", ui.Duration(r.Elapsed), perSecond(int64(r.Totals.Files), r.Elapsed))
	}
	return nil
}

func explanation(a *app, reason, pattern string) string {
	if pattern == "" {
		return a.ui.T(reason)
	}
	return a.ui.T(reason) + " (" + pattern + ")"
}

func (a *app) appliedJSON(target string, r *deploy.Result, explain bool) error {
	fields := map[string]any{
		"target": target, "dryRun": r.DryRun, "diskBytes": r.DiskBytes, "fileBytes": r.FileBytes, "signature": fmt.Sprintf("%08x", r.Signature),
		"files": r.Totals.Files, "names": r.Totals.Names, "dirs": r.Totals.Dirs, "bytes": r.Totals.Bytes, "seconds": r.Elapsed.Seconds(),
	}
	if r.Plan != nil {
		plain := make(map[string]any)
		for _, reason := range wof.Reasons() {
			if n := r.Plan.Total(reason); n.Files > 0 && reason != wof.Backed && reason != wof.Directory {
				plain[reasonWord(reason)] = map[string]any{"files": n.Files, "bytes": n.Bytes}
			}
		}
		backed := r.Plan.Total(wof.Backed)
		fields["pointers"], fields["pointerBytes"], fields["plain"] = backed.Files, backed.Bytes, plain
		if explain {
			for _, p := range r.Plan.Plain {
				a.ui.Event("plain", map[string]any{"path": p.Path, "reason": reasonWord(p.Reason), "pattern": p.Pattern.String()})
			}
		}
	}
	a.ui.Event("result", fields)
	return nil
}

// toFolder applies to a folder.
func (f *applyFlags) toFolder(ctx context.Context, a *app, s *source.Source, target string) error {
	totals := s.Tree.Totals()
	if f.dryRun {
		a.ui.Say("Would apply %d files in %d folders, %s, to %s. Nothing was written.", totals.Names, totals.Dirs, ui.Size(totals.Bytes), target)
		a.ui.Event("result", map[string]any{"target": target, "dryRun": true, "names": totals.Names, "dirs": totals.Dirs, "bytes": totals.Bytes})
		return nil
	}
	p := a.ui.Start("apply", totals.Bytes)
	report, err := tree.ApplyFolder(ctx, s.Tree, target, &tree.ApplyOptions{Workers: a.threads, Progress: p.Add})
	d := p.Done()
	if errors.Is(err, tree.ErrNotEmpty) {
		return ui.Hint(fmt.Errorf("%w: %w", errRefused, err), "choose a folder that is empty or does not exist")
	}
	if err != nil {
		return err
	}
	lost := lostWords(a, report)
	if a.ui.JSON {
		a.ui.Event("result", map[string]any{"target": target, "names": totals.Names, "dirs": totals.Dirs, "bytes": totals.Bytes, "notKept": lost, "seconds": d.Seconds()})
		return nil
	}
	for _, l := range lost {
		a.ui.Warn("%s", l)
	}
	a.ui.Say("Applied %d files in %d folders, %s, to %s in %s.", totals.Names, totals.Dirs, ui.Size(totals.Bytes), target, ui.Duration(d))
	return nil
}

// reasonWord is the word that stays the same from version to version.
func reasonWord(r wof.Reason) string {
	b, err := r.MarshalText()
	if err != nil {
		panic("husk: internal error: " + err.Error())
	}
	return string(b)
}

// lostWords says what the folder could not keep, one line per kind.
func lostWords(a *app, r *tree.ApplyReport) []string {
	var words []string
	for _, l := range r.Lost {
		words = append(words, a.ui.T("not kept: %s of %d files, such as %s", a.ui.T(l.Kind), l.Count, l.List[0].Error()))
	}
	return words
}
