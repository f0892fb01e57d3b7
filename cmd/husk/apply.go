package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/deploy"
	"husk/internal/install"
	"husk/internal/source"
	"husk/internal/store"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/wof"
)

type applyFlags struct {
	wimboot, fixed, check, dryRun, explain, uefi, reproducible, bootable bool
	wimPath, wimDisk, config, size, label, signature                     string
	compact, format, clusterSize, serial                                 string
	wims                                                                 []string
}

func newApply(a *app) *cobra.Command {
	f := &applyFlags{}
	c := &cobra.Command{
		Use:   "apply WIM [IMAGE] TARGET",
		Short: a.ui.T("Apply an image to a folder, or make a disk of it: plain, of pointer files, or of compact files"),
		Long: a.ui.T(`A TARGET that ends in .vhd, or any with --format, becomes a disk with one NTFS partition. With --wimboot, files on it are pointers into WIM wherever
they can be; files that must be there before Windows can read pointers stay plain, as the [PrepopulateList] of the image, of
--config, or a built-in list has it, and --explain tells why. The VHD records where the WIM will be at boot: its path on its
volume (--wim-path) and the disk and partition of that volume (--wim-disk).
With --compact, files are compressed as Compact OS has them, and the disk needs no WIM. Compressed chunks are taken from WIM as they are
where its compression is the same (XPRESS with chunks of 4K, 8K or 16K, or LZX with 32K), and made anew otherwise. Files that would not
take less room stay plain, and so do those that Windows writes to; those that are read before Windows' own driver runs stay plain or, with
--uefi, take a form that the boot manager and the loader of the image read.
Any other TARGET is a folder, which must be empty or not exist.`),
		Example: `  husk apply wimboot.wim 1 x64/win7.vhd --wimboot --wim-path='\wimboot\wimboot.wim' --wim-disk=mbr:1a2b3c4d:1048576
  husk apply wimboot.wim 1 x64/win7.vhd --wimboot --wim-disk=/dev/sda:2 --wim-path='\wimboot\wimboot.wim' --size=40G
  husk apply backup.wim "Windows 7" plain.vhd --size=60G --label=System
  husk apply backup.wim 1 compact.vhd --compact=lzx --uefi
  husk apply backup.wim 1 disk.img --format=raw --size=8G --cluster-size=64K --reproducible
  husk apply backup.wim 1 /mnt/folder`,
		Args: args(2, 3),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), a, args) },
	}
	t, flags := a.ui.T, c.Flags()
	flags.BoolVar(&f.wimboot, "wimboot", false, t("make eligible files pointers into the WIM"))
	flags.StringVar(&f.compact, "compact", "", t("compress files as Compact OS does, with `algorithm` xpress4k, xpress8k, xpress16k or lzx"))
	flags.StringArrayVar(&f.wims, "wim", nil, t("where the source is a disk of pointer files: the WIM `file` they point into"))
	flags.StringVar(&f.wimPath, "wim-path", "", t("`path` of the WIM on its volume at boot (default: its path now, where it lies on a partition)"))
	flags.StringVar(&f.wimDisk, "wim-disk", "", t("`disk` of the WIM at boot: mbr:SIGNATURE:OFFSET, gpt:DISK:PARTITION, or a disk image or device with :NUMBER (default: where it lies now)"))
	flags.StringVar(&f.config, "config", "", t("`file` whose [PrepopulateList] names what stays plain"))
	flags.BoolVar(&f.uefi, "uefi", false, t("only UEFI will start the disk: let what the image's own list allows be pointers; on BIOS nothing that is read before Windows' own driver may be one"))
	flags.BoolVar(&f.bootable, "bootable", false, t("change the registry of the Windows on the disk as 'husk install' does: C: is the new volume, other drive letters are forgotten, and Setup knows of the form of the files (WimBoot, Compact)"))
	flags.BoolVar(&f.explain, "explain", false, t("list the files that stay plain and why"))
	flags.StringVar(&f.size, "size", "", t("`size` of the disk, such as 40G (default 25G, or what a plain image needs)"))
	flags.BoolVar(&f.fixed, "fixed", false, t("make a fixed VHD instead of a dynamic one"))
	flags.StringVar(&f.label, "label", "", t("`name` of the volume"))
	flags.StringVar(&f.format, "format", "", t("`kind` of disk, vhd or raw (default: vhd if TARGET ends in .vhd)"))
	flags.StringVar(&f.clusterSize, "cluster-size", "", t("`size` of a cluster of the volume, 512 to 2M (default 4K)"))
	flags.StringVar(&f.serial, "serial", "", t("serial number of the volume, up to 16 `hex` digits (default: random)"))
	flags.BoolVar(&f.reproducible, "reproducible", false, t("nothing random and no time of day: the same image and options give the same bytes"))
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
	isDisk := strings.EqualFold(filepath.Ext(target), ".vhd") || f.format != ""
	if strings.EqualFold(filepath.Ext(target), ".vhdx") {
		return ui.Hint(ui.Usage(fmt.Errorf("%s: making VHDX disks: %w", target, errors.ErrUnsupported)), "give a TARGET that ends in .vhd")
	}
	if !isDisk && (f.wimboot || f.compact != "" || f.pointerFlags() || f.diskFlags()) {
		return ui.Hint(ui.Usage(fmt.Errorf("%s is a folder: all options but --dry-run are for disks", target)), "give a TARGET that ends in .vhd, or --format")
	}
	s, err := source.Open(ctx, spec, &source.Options{WIMs: f.wims, Warn: a.ui.Warn})
	if err != nil {
		return err
	}
	defer s.Close()
	if !isDisk {
		return f.toFolder(ctx, a, s, target)
	}
	if f.wimboot {
		if err := s.Pointable(); err != nil {
			return err
		}
	}
	o, err := f.options(a, s)
	if err != nil {
		return err
	}
	if f.bootable {
		if err := f.makeBootable(s, spec, o); err != nil {
			return err
		}
	}
	made := func() error { return nil }
	if f.wimboot && !f.dryRun {
		var unlock func() error
		if unlock, made, err = a.keepLayers(ctx, s, target); err != nil {
			return err
		}
		defer unlock()
	}
	r, err := deploy.Make(ctx, s, target, o)
	if err != nil {
		return refusedIf(err)
	}
	if err := made(); err != nil {
		return err
	}
	return a.applied(target, r, f.explain)
}

// makeBootable changes the registry of the system for the new disk, whose signature it knows it by.
func (f *applyFlags) makeBootable(s *source.Source, spec string, o *deploy.Options) error {
	if o.Signature == 0 {
		if f.reproducible {
			return ui.Usage(errors.New("--bootable with --reproducible: want --disk-signature, too, which the registry will have"))
		}
		for o.Signature == 0 {
			var b [4]byte
			rand.Read(b[:]) // never fails, see crypto/rand
			o.Signature = binary.LittleEndian.Uint32(b[:])
		}
	}
	form := ""
	switch {
	case o.Wimboot != nil:
		form = "WimBoot"
	case o.Compact != nil:
		form = "Compact"
	}
	return install.Bootable(s.Tree, spec, o.Signature, form)
}

// keepLayers locks the store that the source's WIM is a layer of, so that nobody removes it meanwhile. made has the store know of the disk, so
// that nobody does later.
func (a *app) keepLayers(ctx context.Context, in *source.Source, target string) (unlock, made func() error, err error) {
	none := func() error { return nil }
	dir := filepath.Dir(in.Path)
	if in.WIM == nil || in.Inside != "" || !store.Is(dir) {
		return none, none, nil
	}
	s, err := a.lockStore(ctx, dir, &store.LockOptions{})
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	} else if err != nil { // on a disc, perhaps
		a.ui.Warn("%v; the store will not know that %s needs it", err, target)
		return none, none, nil
	}
	for _, l := range in.Layers {
		if _, err := os.Stat(l.Path); err != nil {
			return nil, nil, errors.Join(err, s.Close())
		}
	}
	var from *store.Point
	for _, p := range s.Points() {
		if p.Layer.GUID() == in.WIM.GUID() && p.Image.Index == in.Image.Index {
			from = p
		}
	}
	return s.Close, func() error {
		system := ""
		if from != nil {
			system = from.System
		}
		if s.Finds(target) {
			return nil
		}
		return s.AddDisk(ctx, target, system, from)
	}, nil
}

// pointerFlags reports whether one of the flags is set that only mean something for a disk of pointers or compact files.
func (f *applyFlags) pointerFlags() bool {
	return f.wimPath != "" || f.wimDisk != "" || f.config != "" || f.explain || f.uefi
}

// diskFlags reports whether one of the flags is set that only mean something for a disk.
func (f *applyFlags) diskFlags() bool {
	return f.fixed || f.check || f.bootable || f.reproducible || f.size != "" || f.label != "" || f.signature != "" || f.clusterSize != "" || f.serial != ""
}

// options checks the flags of a disk.
func (f *applyFlags) options(a *app, s *source.Source) (*deploy.Options, error) {
	o := &deploy.Options{
		Fixed: f.fixed, Label: f.label, Overwrite: a.ui.Yes, DryRun: f.dryRun, Check: f.check, Threads: a.threads, UI: a.ui,
		Reproducible: f.reproducible,
	}
	switch strings.ToLower(f.format) {
	case "", "vhd":
	case "raw":
		if o.Format = deploy.Raw; f.fixed {
			return nil, ui.Usage(errors.New("--fixed is for VHDs"))
		}
	default:
		return nil, ui.Usage(fmt.Errorf("--format=%s: want vhd or raw", f.format))
	}
	cluster, err := positiveSize("--cluster-size", f.clusterSize)
	if err != nil {
		return nil, err
	}
	if cluster != 0 && (cluster < 512 || cluster > 2<<20 || cluster&(cluster-1) != 0) {
		return nil, ui.Usage(fmt.Errorf("--cluster-size=%s: want a power of two from 512 to 2M", f.clusterSize))
	}
	o.ClusterSize = int(cluster)
	if o.Size, err = positiveSize("--size", f.size); err != nil {
		return nil, err
	}
	if f.serial != "" {
		n, err := strconv.ParseUint(strings.ReplaceAll(strings.TrimPrefix(f.serial, "0x"), "-", ""), 16, 64)
		if err != nil || n == 0 {
			return nil, ui.Usage(fmt.Errorf("--serial=%s: want up to 16 hex digits that are not zero", f.serial))
		}
		o.Serial = n
	}
	if f.signature != "" {
		n, err := strconv.ParseUint(strings.TrimPrefix(f.signature, "0x"), 16, 32)
		if err != nil || n == 0 {
			return nil, ui.Usage(fmt.Errorf("--disk-signature=%s: want up to 8 hex digits that are not zero", f.signature))
		}
		o.Signature = uint32(n)
	}
	switch {
	case f.compact != "" && (f.wimboot || f.wimPath != "" || f.wimDisk != ""):
		return nil, ui.Usage(errors.New("--compact makes a disk that needs no WIM: --wimboot, --wim-path and --wim-disk do not go with it"))
	case f.compact != "":
		a, err := parseAlgorithm(f.compact)
		o.Compact = &deploy.Compact{Algorithm: a, Config: f.config, UEFI: f.uefi}
		return o, err
	case !f.wimboot && f.pointerFlags():
		return nil, ui.Usage(errors.New("--wim-path, --wim-disk, --config, --uefi and --explain go with --wimboot; all but the first two also with --compact"))
	case !f.wimboot:
		return o, nil
	}
	at, err := store.LocationOf(s.Path, f.wimDisk, f.wimPath)
	if err != nil {
		return nil, err
	}
	o.Wimboot = &deploy.Wimboot{Location: at, Config: f.config, UEFI: f.uefi}
	return o, nil
}

// positiveSize reads a size that is 0 only if it is not given.
func positiveSize(flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := ui.ParseSize(s)
	if err == nil && n == 0 {
		err = errors.New("0 bytes")
	}
	if err != nil {
		return 0, ui.Usage(fmt.Errorf("%s: %w", flag, err))
	}
	return n, nil
}

// parseAlgorithm reads the name of an algorithm for compact files.
func parseAlgorithm(s string) (wof.Algorithm, error) {
	for a := range wof.XPRESS16K + 1 {
		if strings.EqualFold(s, a.String()) {
			return a, nil
		}
	}
	return 0, ui.Usage(fmt.Errorf("algorithm %q, want xpress4k, xpress8k, xpress16k or lzx", s))
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
			switch {
			case reason != wof.Backed:
				what = t("plain: %s", t(reason.String()))
			case r.Compact != nil:
				what = t("compact files")
			}
			rows = append(rows, []string{what, strconv.Itoa(n.Files), ui.Size(n.Bytes)})
		}
		a.ui.Table([]string{"", t("files"), t("size")}, []ui.Align{ui.Left, ui.Right, ui.Right}, rows)
		if c := r.Compact; c != nil && !r.DryRun {
			a.ui.Say("Contents taken as they are: %d; compressed: %d; %s in all, of %s.", c.Reused.Files, c.Compressed.Files, ui.Size(c.Stored), ui.Size(c.Reused.Bytes+c.Compressed.Bytes))
		} else if c != nil {
			a.ui.Say("Contents that can be taken as they are: %d. Of the others, those that would not take less room will stay plain.", c.Reused.Files)
		}
		if explain {
			for _, p := range r.Plan.PlainFiles() {
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
		fields["plain"] = plain
		if c := r.Compact; c != nil {
			fields["compact"], fields["compactBytes"] = backed.Files, backed.Bytes
			fields["reused"], fields["compressed"], fields["storedBytes"] = c.Reused.Files, c.Compressed.Files, c.Stored
		} else {
			fields["pointers"], fields["pointerBytes"] = backed.Files, backed.Bytes
		}
		if explain {
			for _, p := range r.Plan.PlainFiles() {
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
