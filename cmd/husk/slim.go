package main

import (
	"github.com/spf13/cobra"

	"husk/internal/system"
	"husk/internal/ui"
)

func newSlim(a *app) *cobra.Command {
	o := &system.SlimOptions{UI: a.ui}
	c := &cobra.Command{
		Use:   "slim DISK[:PARTITION]",
		Short: a.ui.T("Make a system that has grown small again: what became local goes into a new layer of its store"),
		Long: a.ui.T(`Contents that no layer has, such as those that Windows Update brought, become a new point of the store. Then the files become pointers
again, in place, and clusters without a file are dropped from the file of the disk. With --rebuild the disk is made anew as 'husk restore'
does, and the old one kept as NAME.old. The volume must not be mounted. A command that was cut off is finished by running it again.`),
		Example: `  husk slim wimboot/x64/win7.vhd --name=may -m "patches of May"
  husk slim win.vhdx --store=wimboot --rebuild
  husk slim wimboot/x64/win7.vhd --dry-run`,
		Args: args(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Threads = a.threads
			r, err := system.Slim(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			a.slimmed(args[0], r)
			return nil
		},
	}
	t, flags := a.ui.T, c.Flags()
	flags.StringVar(&o.Store, "store", "", t("`folder` of the store (default: where the layers of the system are)"))
	flags.StringVar(&o.Name, "name", "", t("name of the new point (default: its date)"))
	flags.StringVarP(&o.Note, "message", "m", "", t("a `note` on the point"))
	flags.BoolVar(&o.Rebuild, "rebuild", false, t("make the disk anew instead of changing it in place"))
	flags.StringArrayVar(&o.WIMs, "wim", nil, t("look for the data of pointer files in this WIM `file`"))
	flags.StringVar(&o.Config, "config", "", t("`file` whose [PrepopulateList] names what stays plain"))
	flags.BoolVar(&o.UEFI, "uefi", false, t("only UEFI will start the system: what boot loaders read may be pointers too (default: as the system has it)"))
	flags.BoolVar(&o.DryRun, "dry-run", false, t("tell what would be done and write nothing"))
	return c
}

func (a *app) slimmed(spec string, r *system.SlimResult) {
	if a.ui.JSON {
		a.ui.Event("result", map[string]any{
			"dryRun": r.DryRun, "system": spec, "store": r.Store, "point": r.Point, "local": r.Local, "newBlobs": r.Added.NewBlobs, "newBytes": r.Added.NewBytes,
			"layerBytes": r.Added.LayerBytes, "pointed": r.Pointed, "freed": r.FreedBytes, "before": r.Before, "after": r.After, "old": r.Old,
			"seconds": r.Elapsed.Seconds(),
		})
		return
	}
	if r.DryRun {
		a.ui.Say("%d files became local, %s. %d contents, %s, are in no layer of %s and would go into a new one. Nothing was written.",
			r.Local.Files, ui.Size(r.Local.Bytes), int(r.Added.NewBlobs), ui.Size(r.Added.NewBytes), r.Store)
		return
	}
	if r.Point != "" {
		a.ui.Say("Added %s: %d contents, %s, are new; the layer takes %s.", r.Point, int(r.Added.NewBlobs), ui.Size(r.Added.NewBytes), ui.Size(r.Added.LayerBytes))
	} else {
		a.ui.Say("The layers had every content already; no point was added.")
	}
	if r.Old != "" {
		a.ui.Say("%s was made anew with %d files behind pointers; the old disk is %s.", spec, r.Pointed.Files, r.Old)
	} else {
		a.ui.Say("%d files, %s, are pointers again.", r.Pointed.Files, ui.Size(r.Pointed.Bytes))
	}
	if r.Before > 0 {
		a.ui.Say("The file of the disk had %s and has %s now. Done in %s.", ui.Size(r.Before), ui.Size(r.After), ui.Duration(r.Elapsed))
	}
}
