package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"husk/internal/convert"
	"husk/internal/guide"
	"husk/internal/host"
	"husk/internal/ui"
)

type convertFlags struct {
	inPlace, disk, dryRun bool
	firmware, size        string
	o                     convert.Options
}

func newConvert(a *app) *cobra.Command {
	f := &convertFlags{}
	c := &cobra.Command{
		Use:   "convert [SYSTEM] [TARGET]",
		Short: a.ui.T("Make a husk of an installed Windows: capture, verify, rebuild as pointers, boot entry"),
		Long: a.ui.T(`SYSTEM is a disk, a partition (DISK:PARTITION) or an image of either with a Windows on it. Its files go into a WIM, which is read back;
then a TARGET that ends in .vhd becomes a VHD of pointers into the WIM, any other TARGET a disk that starts by itself, with the boot files,
the WIM and such a VHD on it. Without TARGET the files of SYSTEM itself become pointers, in place: with --store into a WIM elsewhere,
otherwise into one on the same volume. What Windows must read before it can read pointers stays plain.
Without arguments husk looks for systems, and proposes what to convert and where to; Enter accepts each proposal, --yes all. Before anything
is written it tells what will be saved. A conversion that was cut off, at whatever moment, is finished by the same command; until then the
old system starts as before.`),
		Example: `  husk convert
  husk convert /dev/sda:2 /mnt/data/husk/win10.vhd --boot=/dev/sda:1
  husk convert win7.vhd new.img --firmware=bios
  husk convert disk.img:2 --yes
  husk convert disk.img:2 --store=/mnt/data/husk --dry-run`,
		Args: args(0, 2),
		RunE: func(c *cobra.Command, given []string) error { return f.run(c, a, given) },
	}
	t, flags := a.ui.T, c.Flags()
	flags.BoolVar(&f.inPlace, "in-place", false, t("turn the files of SYSTEM itself into pointers (the default without TARGET)"))
	flags.BoolVar(&f.disk, "disk", false, t("make TARGET a disk that starts by itself, also if it ends in .vhd"))
	flags.StringVar(&f.o.Store, "store", "", t("WIM, or `folder` for it (default: beside TARGET, or on the volume of SYSTEM)"))
	flags.StringVar(&f.o.Scratch, "scratch", "", t("`folder` for the WIM until it is on the volume of SYSTEM"))
	flags.StringVar(&f.o.WIMPath, "wim-path", "", t("`path` of the WIM on its volume at boot (default: its path now, where it lies on a partition)"))
	flags.StringVar(&f.o.WIMDisk, "wim-disk", "", t("`disk` of the WIM at boot: mbr:SIGNATURE:OFFSET, gpt:DISK:PARTITION, or a disk image or device with :NUMBER (default: where it lies now)"))
	flags.StringVar(&f.o.Boot, "boot", "", t("boot `store` that gets an entry for the VHD: a file, or a disk with one"))
	flags.StringVar(&f.o.Name, "name", "", t("`name` of the system in the WIM and in menus (default: its product name)"))
	flags.StringVar(&f.firmware, "firmware", "auto", t("`firmware` that will start it: bios, uefi or auto (as now)"))
	flags.StringVar(&f.size, "size", "", t("`size` of the new disk, such as 64G"))
	flags.StringVar(&f.o.Compress, "compress", "", t("`codec` of a new WIM: XPRESS or LZX (default XPRESS)"))
	flags.BoolVar(&f.o.Restart, "restart", false, t("forget a conversion that was cut off and begin anew"))
	flags.BoolVar(&f.dryRun, "dry-run", false, t("tell what would be done and write nothing"))
	return c
}

func (f *convertFlags) run(c *cobra.Command, a *app, given []string) error {
	o := &f.o
	o.UI, o.Threads, o.DryRun = a.ui, a.threads, f.dryRun
	switch f.firmware {
	case "auto":
	case "bios", "uefi":
		o.Firmware = host.Firmware(f.firmware)
	default:
		return ui.Usage(fmt.Errorf("--firmware=%s, want bios, uefi or auto", f.firmware))
	}
	var err error
	if o.Size, err = optionalSize("size", f.size); err != nil {
		return err
	}
	switch {
	case f.inPlace && f.disk:
		return ui.Usage(errors.New("--in-place and --disk, want one of them"))
	case f.inPlace:
		o.Form = convert.InPlace
	case f.disk:
		o.Form = convert.WholeDisk
	}
	if len(given) > 0 {
		o.System = given[0]
	}
	if len(given) > 1 {
		o.Target = given[1]
		o.Replace = a.ui.Yes
	}
	if len(given) == 0 {
		d, err := convert.Detect(c.Context(), nil, &convert.DetectOptions{Quick: true, Warn: a.ui.Warn})
		if err != nil {
			return err
		}
		if err := guide.Conversion(a.ui, d, o); err != nil {
			return err
		}
	}
	p, err := convert.New(c.Context(), o)
	if err != nil {
		return convertRefused(err)
	}
	a.tellConvertPlan(p, f.dryRun)
	if f.dryRun {
		return nil
	}
	if p.Form == convert.InPlace && !a.ui.CanAsk() && !a.ui.Yes {
		return ui.Hint(fmt.Errorf("%w: %s would be changed", errRefused, p.System), "look at the plan with --dry-run, then say --yes")
	}
	if !a.ui.Accept("Go on?") {
		return fmt.Errorf("%w: nothing was written", errRefused)
	}
	r, err := p.Run(c.Context())
	if err != nil {
		return convertRefused(err)
	}
	a.tellConversion(r)
	return nil
}

// convertRefused gives what only the user can remove its exit status.
func convertRefused(err error) error {
	if convert.Refused(err) {
		return fmt.Errorf("%w: %w", errRefused, refusedIf(err))
	}
	return err
}

func (a *app) tellConvertPlan(p *convert.Plan, dryRun bool) {
	if a.ui.JSON {
		a.ui.Event("plan", map[string]any{"plan": p, "saved": p.Estimate.Saved(), "dryRun": dryRun})
		return
	}
	t, e := a.ui.T, &p.Estimate
	goal := p.Target
	switch p.Form {
	case convert.InPlace:
		goal = t("the volume itself: its files become pointers")
	case convert.VHD:
		goal = t("%s: a VHD of pointers", p.Target)
	case convert.WholeDisk:
		goal = t("%s: a disk that starts by itself", p.Target)
	}
	store := p.WIM
	switch {
	case p.Inside:
		store = t("/wimboot/wimboot.wim on the same volume, by way of %s", p.WIM)
	case p.Store != "" && p.Adds && p.Resumes == "":
		store = t("%s, a store that gets one point more", p.Store)
	case p.Store != "":
		store = t("%s, a store", p.Store)
	case p.Adds && p.Resumes == "":
		store = t("%s, which gets one image more", p.WIM)
	}
	rows := [][]string{
		{t("system"), p.System + ": " + printable(p.Windows.Title)}, {t("becomes"), goal}, {t("WIM"), store},
		{t("files"), t("%d, %s", e.Files, ui.Size(e.Used))}, {t("become pointers"), t("%d, %s", e.Pointers, ui.Size(e.PointerBytes))},
	}
	if p.Boot != "" {
		rows = append(rows, []string{t("boot store"), p.Boot})
	}
	rows = append(rows, []string{t("size of the WIM, about"), ui.Size(e.WIM)}, []string{t("size of the system then, about"), ui.Size(e.Target)})
	if saved := e.Saved(); saved >= 0 {
		rows = append(rows, []string{t("saved, about"), ui.Size(saved)})
	}
	if e.Free >= 0 {
		rows = append(rows, []string{t("free where the WIM goes"), ui.Size(e.Free)})
	}
	a.ui.List(rows)
	if p.Resumes != "" {
		a.ui.Say("A conversion that was cut off goes on.")
	}
	if dryRun {
		a.ui.Say("Nothing was written.")
	}
}

func (a *app) tellConversion(r *convert.Result) {
	if a.ui.JSON {
		a.ui.Event("result", map[string]any{
			"system": r.Plan.System, "form": r.Plan.Form, "target": r.Plan.Target, "wim": r.Plan.WIM, "inside": r.Plan.Inside, "image": r.Image,
			"wimBytes": r.WIMBytes, "pointers": r.Pointers, "plain": r.Plain, "freedBytes": r.Freed, "fileBytes": r.File, "entry": r.Entry, "seconds": r.Took,
		})
		return
	}
	switch r.Plan.Form {
	case convert.InPlace:
		a.ui.Say("%s is a husk now: %d files are pointers, %s became free.", r.Plan.System, r.Pointers, ui.Size(r.Freed))
	default:
		a.ui.Say("%s is a husk of %s: %d files are pointers, the disk has %s, the WIM %s.", r.Plan.Target, r.Plan.System, r.Pointers, ui.Size(r.File), ui.Size(r.WIMBytes))
	}
	if r.Entry != "" {
		a.ui.Say("Boot entry %s", r.Entry)
	}
	a.ui.Say("Done in %s: capture %s, verification %s, rebuilding %s, comparison %s.", ui.Duration(r.Elapsed), seconds(r.Took.Capture), seconds(r.Took.Verify),
		seconds(r.Took.Build), seconds(r.Took.Check))
}

func seconds(s float64) string { return fmt.Sprintf("%.1f s", s) }
