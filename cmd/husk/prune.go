package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/store"
	"husk/internal/ui"
)

func newPrune(a *app) *cobra.Command {
	k := &store.Keep{}
	var systems []string
	var dryRun bool
	c := &cobra.Command{
		Use:   "prune STORE",
		Short: a.ui.T("Drop old points by rule, and remove layers that nothing needs"),
		Long: a.ui.T(`A point stays if one of the --keep rules keeps it; each rule counts for each system by itself. Without a rule no point is dropped.
Then the layers go that neither points nor disks need: what a disk points into is never removed. --dry-run shows all of it first.
What dropped points leave behind in layers that stay, 'husk store merge' takes out.`),
		Example: `  husk prune wimboot --keep-last=3 --dry-run
  husk prune wimboot --keep-daily=7 --keep-weekly=4 --keep-monthly=12 --yes
  husk prune wimboot`,
		Args: args(1, 1),
	}
	noWait := addNoWait(a, c)
	f, t := c.Flags(), a.ui.T
	f.IntVar(&k.Last, "keep-last", 0, t("keep the newest `N`"))
	f.IntVar(&k.Hourly, "keep-hourly", 0, t("keep the newest of each of the last `N` hours that have any"))
	f.IntVar(&k.Daily, "keep-daily", 0, t("keep the newest of each of the last `N` days that have any"))
	f.IntVar(&k.Weekly, "keep-weekly", 0, t("keep the newest of each of the last `N` weeks that have any"))
	f.IntVar(&k.Monthly, "keep-monthly", 0, t("keep the newest of each of the last `N` months that have any"))
	f.IntVar(&k.Yearly, "keep-yearly", 0, t("keep the newest of each of the last `N` years that have any"))
	f.DurationVar(&k.Within, "keep-within", 0, t("keep what is not older than `TIME`, such as 720h, before the newest"))
	f.StringArrayVar(&systems, "system", nil, t("drop points of this `system` only"))
	f.BoolVar(&dryRun, "dry-run", false, t("tell what would be done and write nothing"))
	c.RunE = func(c *cobra.Command, args []string) error {
		for _, n := range []int{k.Last, k.Hourly, k.Daily, k.Weekly, k.Monthly, k.Yearly, int(k.Within)} {
			if n < 0 {
				return ui.Usage(errors.New("--keep rules want numbers that are not negative"))
			}
		}
		return a.withStore(c.Context(), args[0], *noWait, func(s *store.Store) error {
			if len(systems) == 0 {
				systems = s.SystemNames()
			}
			var drop []*store.Point
			for _, name := range systems {
				points := s.OfSystem(name)
				if len(points) == 0 {
					return ui.Hint(fmt.Errorf("%s has no system %q", args[0], name), "'husk point list %s' lists all", args[0])
				}
				if !k.Empty() {
					_, old := k.Split(points)
					drop = append(drop, old...)
				}
			}
			im, err := s.Impact(c.Context(), drop)
			if err != nil {
				return err
			}
			if dryRun {
				a.impact(args[0], im, true, nil)
				return nil
			}
			if len(drop) > 0 && !a.ui.Yes {
				a.showImpact(im)
				if !a.ui.Confirm("Drop %d points?", len(drop)) {
					return ui.Hint(fmt.Errorf("%w: nothing was dropped", errRefused), "answer yes, or give --yes; --dry-run shows what would go")
				}
			}
			if len(drop) > 0 {
				if err := s.Drop(drop...); err != nil {
					return err
				}
			}
			swept, err := s.Sweep(c.Context())
			if swept != nil {
				a.impact(args[0], im, false, swept)
			}
			return err
		})
	}
	return c
}

// impact tells what dropping points does, or would do; swept is what was removed after it, if anything was to be.
func (a *app) impact(dir string, im *store.Impact, dryRun bool, swept *store.Swept) {
	if a.ui.JSON {
		names := func(list []*store.Point) []string {
			out := []string{}
			for _, p := range list {
				out = append(out, p.String())
			}
			return out
		}
		layers := []map[string]any{}
		for i := range im.Free {
			disks := []string{}
			for _, d := range im.Free[i].Disks {
				disks = append(disks, d.Path)
			}
			layers = append(layers, map[string]any{"layer": im.Free[i].Layer.File, "bytes": im.Free[i].Bytes, "removable": im.Free[i].Removable(), "disks": disks})
		}
		f := map[string]any{"store": dir, "dryRun": dryRun, "drop": names(im.Go), "stay": names(im.Stay), "layers": layers, "shrink": im.Shrink}
		if swept != nil {
			f["removed"], f["freed"] = append([]string{}, swept.Removed...), swept.Bytes
		}
		a.ui.Event("result", f)
		return
	}
	if dryRun {
		a.showImpact(im)
		a.ui.Say("Nothing was written.")
		return
	}
	a.ui.Say("Dropped %d points; %d stay.", len(im.Go), len(im.Stay))
	if swept != nil {
		a.swept(swept)
	} else {
		for i := range im.Free {
			if f := &im.Free[i]; f.Removable() {
				a.ui.Say("%s, %s, is needed by nothing: 'husk prune %s' removes it.", f.Layer.File, ui.Size(f.Bytes), dir)
			}
		}
	}
	if im.Shrink.Stored > 0 {
		a.ui.Say("%s in other layers are of no use any more: 'husk store merge %s' leaves them out.", ui.Size(im.Shrink.Stored), dir)
	}
}

// showImpact tells what would happen.
func (a *app) showImpact(im *store.Impact) {
	t := a.ui.T
	var rows [][]string
	for _, p := range im.Stay {
		rows = append(rows, []string{p.String(), date(p.Date), t("stays"), printable(p.Note)})
	}
	for _, p := range im.Go {
		rows = append(rows, []string{p.String(), date(p.Date), t("is dropped"), printable(p.Note)})
	}
	a.ui.Table([]string{t("point"), t("date"), "", t("note")}, []ui.Align{ui.Left, ui.Left, ui.Left, ui.Left}, rows)
	for _, u := range im.Uses {
		var layers []string
		for l, n := range u.Layers {
			layers = append(layers, fmt.Sprintf("%s (%d)", l.File, n))
		}
		if len(layers) > 0 {
			a.ui.Say("%s points into %s.", u.Path, strings.Join(layers, ", "))
		}
	}
	for i := range im.Free {
		if f := &im.Free[i]; f.Removable() {
			a.ui.Say("%s, %s, would be removed.", f.Layer.File, ui.Size(f.Bytes))
		} else {
			a.keptLayer(f)
		}
	}
	if im.Shrink.Stored > 0 {
		a.ui.Say("%s in layers that stay would be of no use any more.", ui.Size(im.Shrink.Stored))
	}
}
