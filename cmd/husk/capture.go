package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"husk/internal/archive"
	"husk/internal/ui"
)

// captureFlags are the options that capture and append share, spelled as wimlib-imagex has them.
type captureFlags struct {
	wimboot, check, rpfix, norpfix, dryRun, dereference bool
	compress, chunkSize, config, flags                  string
	solid, noSolidSort                                  bool
	solidCompress, solidChunkSize                       string
	properties                                          []string
	wims                                                []string
}

func (f *captureFlags) add(a *app, flags *pflag.FlagSet) {
	t := a.ui.T
	flags.BoolVar(&f.wimboot, "wimboot", false, t("make an image that pointer files can point into: XPRESS, 4 KiB chunks, exclusions of the image's own WimBootCompress.ini"))
	flags.BoolVar(&f.solid, "solid", false, t("put the contents into solid resources: smaller, but slow to read a single file from, and no pointer file can use them"))
	flags.StringVar(&f.solidCompress, "solid-compress", "", t("`codec` of solid resources, as --compress has it (default LZMS)"))
	flags.StringVar(&f.solidChunkSize, "solid-chunk-size", "", t("bytes of solid resources compressed at once (default 64M; LZX 2M, XPRESS 64K)"))
	flags.BoolVar(&f.noSolidSort, "no-solid-sort", false, t("do not sort solid contents by extension and name"))
	flags.BoolVar(&f.check, "check", false, t("write an integrity table"))
	flags.StringVar(&f.config, "config", "", t("capture configuration `file` ([ExclusionList] …); with --wimboot it becomes the image's WimBootCompress.ini"))
	flags.StringVar(&f.flags, "flags", "", t("edition `id` for the image's FLAGS, such as Professional"))
	flags.StringArrayVar(&f.properties, "image-property", nil, t("set an element of the image's XML, as `NAME=VALUE`"))
	flags.BoolVar(&f.rpfix, "rpfix", false, t("make absolute links into the captured folder relative to the image (default for folders)"))
	flags.BoolVar(&f.norpfix, "norpfix", false, t("store absolute links as they are"))
	flags.BoolVar(&f.dryRun, "dry-run", false, t("tell what would be done and write nothing"))
	flags.StringArrayVar(&f.wims, "wim", nil, t("where SOURCE is a disk of pointer files: the WIM `file` they point into"))
	flags.BoolVar(&f.dereference, "dereference", false, t("where SOURCE is a disk of pointer files: read and hash what they point to instead of trusting the pointers"))
}

// options checks the flags.
func (f *captureFlags) options(a *app, args []string) (*archive.Options, error) {
	o := &archive.Options{
		Wimboot: f.wimboot, Check: f.check, Config: f.config, DryRun: f.dryRun, Overwrite: a.ui.Yes, Threads: a.threads,
		WIMs: f.wims, Dereference: f.dereference, UI: a.ui, Compress: f.compress, Flags: f.flags, RPFix: f.rpfix, NoRPFix: f.norpfix,
	}
	if f.rpfix && f.norpfix {
		return nil, ui.Usage(fmt.Errorf("--rpfix and --norpfix exclude each other"))
	}
	o.Solid, o.SolidCompress, o.NoSolidSort = f.solid, f.solidCompress, f.noSolidSort
	for _, size := range []struct {
		name, text string
		n          *int
	}{{"chunk-size", f.chunkSize, &o.ChunkSize}, {"solid-chunk-size", f.solidChunkSize, &o.SolidChunkSize}} {
		if size.text == "" {
			continue
		}
		n, err := ui.ParseSize(size.text)
		if err != nil || n <= 0 || n > 1<<30 {
			return nil, ui.Usage(fmt.Errorf("--%s=%s: want a size such as 4K or 32K", size.name, size.text))
		}
		*size.n = int(n)
	}
	for _, p := range f.properties {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, ui.Usage(fmt.Errorf("--image-property=%s: want NAME=VALUE", p))
		}
		o.Properties = append(o.Properties, [2]string{name, value})
	}
	if len(args) > 2 {
		o.Name = args[2]
	}
	if len(args) > 3 {
		o.Description = args[3]
	}
	return o, nil
}

func newCapture(a *app) *cobra.Command {
	f := &captureFlags{}
	c := &cobra.Command{
		Use:   "capture SOURCE WIM [NAME [DESCRIPTION]]",
		Short: a.ui.T("Capture a folder, volume, VHD or image into a new WIM"),
		Long: a.ui.T(`SOURCE is a folder, or FILE[:IMAGE]: a VHD, disk image or block device with an NTFS volume, or an image of another WIM. The
WIM appears under its name only when it is complete; one that exists is replaced only with --yes.`),
		Example: `  husk capture /mnt/windows wimboot/wimboot.wim "Windows 7 x64" --wimboot
  husk capture old.vhd backup.wim --compress=XPRESS:best --chunk-size=32K --check
  husk capture /mnt/windows small.esd --solid`,
		Args: args(2, 4),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(a, args)
			if err != nil {
				return err
			}
			r, err := archive.Capture(c.Context(), args[0], args[1], o)
			if err != nil {
				return refusedIf(err)
			}
			return a.captured(args[1], r)
		},
	}
	f.add(a, c.Flags())
	c.Flags().StringVar(&f.compress, "compress", "", a.ui.T("`codec`: none, XPRESS, LZX or LZMS, with :fast, :best or a number such as :20, :50, :100 for another trade of speed and size (default XPRESS)"))
	c.Flags().StringVar(&f.chunkSize, "chunk-size", "", a.ui.T("bytes compressed at once, 4K to 64K, LZX 32K to 2M, LZMS 32K to 1G (default 32K, LZMS 128K; 4K with --wimboot and XPRESS)"))
	return c
}

func newAppend(a *app) *cobra.Command {
	f := &captureFlags{}
	c := &cobra.Command{
		Use:   "append SOURCE WIM [NAME [DESCRIPTION]]",
		Short: a.ui.T("Add one more image to a WIM; equal files are stored once"),
		Long: a.ui.T(`The images that are in the WIM stay as they are, whatever interrupts the command. Codec and chunk size are those of the WIM.
Disks whose pointer files are in use point into the WIM by place: add to it only while none of them runs.`),
		Example: `  husk append /mnt/windows-x86 wimboot/wimboot.wim "Windows 7 x86" --wimboot`,
		Args:    args(2, 4),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(a, args)
			if err != nil {
				return err
			}
			r, err := archive.Append(c.Context(), args[0], args[1], o)
			if err != nil {
				return refusedIf(err)
			}
			return a.captured(args[1], r)
		},
	}
	f.add(a, c.Flags())
	return c
}

// captured tells what capture and append did.
func (a *app) captured(path string, r *archive.Result) error {
	if a.ui.JSON {
		a.ui.Event("result", map[string]any{
			"wim": path, "image": r.Image, "name": r.Name, "dryRun": r.DryRun, "dirs": r.Totals.Dirs, "names": r.Totals.Names,
			"files": r.Totals.Files, "bytes": r.Totals.Bytes, "excluded": r.Excluded, "newBlobs": r.NewBlobs, "newBytes": r.NewBytes,
			"storedBytes": r.StoredBytes, "knownBlobs": r.KnownBlobs, "knownBytes": r.KnownBytes, "wimBytes": r.WIMBytes,
			"seconds": r.Elapsed.Seconds(),
		})
		return nil
	}
	t := a.ui.T
	if r.DryRun {
		a.ui.Say("Would capture %d files in %d folders, %s, as image %d (%s) of %s. Nothing was written.",
			r.Totals.Names, r.Totals.Dirs, ui.Size(r.Totals.Bytes), r.Image, r.Name, path)
		return nil
	}
	a.ui.Say("Image %d (%s) of %s", r.Image, r.Name, path)
	rows := [][]string{
		{t("captured"), strconv.Itoa(r.Totals.Names), ui.Size(r.Totals.Bytes)},
		{t("of it already stored"), strconv.FormatInt(r.KnownBlobs, 10), ui.Size(r.KnownBytes)},
		{t("new"), strconv.FormatInt(r.NewBlobs, 10), ui.Size(r.NewBytes)},
		{t("new, compressed"), "", ui.Size(r.StoredBytes)},
		{t("the whole WIM"), "", ui.Size(r.WIMBytes)},
	}
	a.ui.Table([]string{"", t("files"), t("size")}, []ui.Align{ui.Left, ui.Right, ui.Right}, rows)
	a.ui.Say("Done in %s (%s/s).", ui.Duration(r.Elapsed), ui.Size(perSecond(r.Totals.Bytes, r.Elapsed)))
	return nil
}
