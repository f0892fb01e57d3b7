package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"husk/internal/ui"
	"husk/internal/wimedit"
)

// wimFlags are the options of the commands that write WIMs from WIMs.
type wimFlags struct {
	o         wimedit.Options
	chunkSize string
}

// form adds the options on how the result is compressed.
func (f *wimFlags) form(a *app, flags *pflag.FlagSet) {
	t := a.ui.T
	flags.StringVar(&f.o.Compress, "compress", "", t("`codec`: none, XPRESS or LZX, with :fast or :best for another trade of speed and size (default: as it is)"))
	flags.StringVar(&f.chunkSize, "chunk-size", "", t("bytes compressed at once, 4K to 64K, LZX 32K to 2M (default: as it is)"))
	flags.BoolVar(&f.o.Recompress, "recompress", false, t("compress everything anew instead of copying what has the right form"))
	flags.BoolVar(&f.o.CheckCopies, "check-copies", false, t("compare the SHA-1 of what is copied as it is stored"))
}

func (f *wimFlags) refs(a *app, flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.o.Refs, "ref", nil, a.ui.T("read what the WIM lacks from these files: a `pattern` such as 'x*.swm'"))
}

func (f *wimFlags) check(a *app, flags *pflag.FlagSet) {
	flags.BoolVar(&f.o.Check, "check", false, a.ui.T("write an integrity table"))
}

func (f *wimFlags) noCheck(a *app, flags *pflag.FlagSet) {
	flags.BoolVar(&f.o.NoCheck, "nocheck", false, a.ui.T("write no integrity table, though there was one"))
}

func (f *wimFlags) dryRun(a *app, flags *pflag.FlagSet) {
	flags.BoolVar(&f.o.DryRun, "dry-run", false, a.ui.T("tell what would be done and write nothing"))
}

// options checks the flags.
func (f *wimFlags) options(a *app) (*wimedit.Options, error) {
	f.o.UI, f.o.Threads, f.o.Overwrite = a.ui, a.threads, a.ui.Yes
	if f.o.Check && f.o.NoCheck {
		return nil, ui.Usage(fmt.Errorf("--check and --nocheck exclude each other"))
	}
	if f.chunkSize != "" {
		n, err := ui.ParseSize(f.chunkSize)
		if err != nil || n <= 0 || n > 1<<30 {
			return nil, ui.Usage(fmt.Errorf("--chunk-size=%s: want a size such as 4K or 32K", f.chunkSize))
		}
		f.o.ChunkSize = int(n)
	}
	return &f.o, nil
}

func newExport(a *app) *cobra.Command {
	f, x := &wimFlags{}, &wimedit.Export{}
	c := &cobra.Command{
		Use:   "export SOURCE[:IMAGE] WIM [NAME [DESCRIPTION]]",
		Short: a.ui.T("Copy images from one WIM to another, new or not"),
		Long: a.ui.T(`Without IMAGE, all images are copied. A WIM that exists gets them behind its own, and keeps its codec and chunk size; what it has
already is not stored again. What is compressed in the right form is copied as it is. WIM may be - for the standard output, which gets a
pipable WIM. Of a split WIM the first part is named; the others are found beside it, or with --ref.`),
		Example: `  husk export install.wim:2 wimboot/wimboot.wim "Windows 7 x86" --wimboot
  husk export x.swm x.wim --ref='x*.swm'
  husk export new.wim delta.wim --delta-from=base.wim`,
		Args: args(2, 4),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(a)
			if err != nil {
				return err
			}
			if len(args) > 2 {
				x.Name = args[2]
			}
			if len(args) > 3 {
				x.Description = args[3]
			}
			r, err := x.Run(c.Context(), args[0], args[1], o)
			if err != nil {
				return refusedIf(err)
			}
			if args[1] == "-" {
				return nil
			}
			return a.edited(args[1], r)
		},
	}
	flags := c.Flags()
	f.form(a, flags)
	f.refs(a, flags)
	f.check(a, flags)
	f.dryRun(a, flags)
	flags.BoolVar(&x.Boot, "boot", false, a.ui.T("make the image the one that boots from a RAM disk; of several, the one that does in SOURCE"))
	flags.BoolVar(&x.Wimboot, "wimboot", false, a.ui.T("make images that pointer files can point into: XPRESS, 4 KiB chunks"))
	flags.BoolVar(&x.Pipable, "pipable", false, a.ui.T("write the form that goes through pipes, which wimlib and husk know and Windows does not"))
	flags.StringArrayVar(&x.DeltaFrom, "delta-from", nil, a.ui.T("do not store what this WIM `file` has: a delta, to be read with --ref"))
	return c
}

// edited tells what a command did to a WIM.
func (a *app) edited(path string, r *wimedit.Result) error {
	if a.ui.JSON {
		a.ui.Event("result", map[string]any{
			"wim": path, "images": r.Images, "dryRun": r.DryRun, "parts": r.Parts, "newBlobs": r.Stats.NewBlobs, "copiedBlobs": r.Stats.Copied,
			"newBytes": r.Stats.BytesNew, "storedBytes": r.Stats.BytesStored, "bytesBefore": r.Before, "wimBytes": r.After, "seconds": r.Elapsed.Seconds(),
		})
		return nil
	}
	for _, name := range r.Images {
		a.ui.Say("image %s", printable(name))
	}
	if r.DryRun {
		a.ui.Say("Nothing was written.")
		return nil
	}
	t := a.ui.T
	var rows [][]string
	row := func(name, n string, size int64) { rows = append(rows, []string{name, n, ui.Size(size)}) }
	if n := r.Stats.NewBlobs; n > 0 {
		row(t("new"), strconv.FormatInt(n, 10), r.Stats.BytesNew)
		rows = append(rows, []string{t("of it copied as it was stored"), strconv.FormatInt(r.Stats.Copied, 10), ""})
		row(t("new, compressed"), "", r.Stats.BytesStored)
	}
	if r.Before > 0 {
		row(t("the WIM before"), "", r.Before)
	}
	if r.Parts > 0 {
		row(t("parts of a split WIM"), strconv.Itoa(r.Parts), r.After)
	} else {
		row(t("the whole WIM"), "", r.After)
	}
	a.ui.Table([]string{"", t("files"), t("size")}, []ui.Align{ui.Left, ui.Right, ui.Right}, rows)
	if r.Stats.BytesNew > 0 {
		a.ui.Say("Done in %s (%s/s).", ui.Duration(r.Elapsed), ui.Size(perSecond(r.Stats.BytesNew, r.Elapsed)))
	}
	return nil
}
