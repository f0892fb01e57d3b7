package main

import (
	"fmt"
	"runtime/debug"
	"sort"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/store"
	"husk/internal/ui"
)

// newPoint is the group of commands on the points of a store.
func newPoint(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "point COMMAND STORE …",
		Short: a.ui.T("Add, list and drop the states of systems in a store"),
		Long: a.ui.T(`A point is one system at one time. Points are named as SYSTEM@NAME; SYSTEM alone or SYSTEM@latest is the newest one, SYSTEM~1 the
one before it, SYSTEM@2026-05-31 the newest that is not later than that day. SYSTEM may be left out where there is only one.`),
		Example: `  husk point add wimboot x64 wimboot/x64/win7.vhd -m "before the patches"
  husk point list wimboot
  husk point show wimboot x64~1
  husk point rename wimboot x64@2026-05-31T1800 may
  husk point drop wimboot x64@may`,
		Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPointAdd(a), newPointList(a), newPointShow(a), newPointDiff(a), newPointRename(a), newPointDrop(a), newPointUndrop(a))
	return c
}

// findPoints finds several points.
func findPoints(s *store.Store, specs []string) ([]*store.Point, error) {
	var list []*store.Point
	for _, spec := range specs {
		p, err := s.Point(spec)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// pointFields is a point for programs.
func pointFields(p *store.Point) map[string]any {
	return map[string]any{
		"point": p.String(), "system": p.System, "name": p.Name, "id": p.ID, "date": p.Date.UTC().Format(time.RFC3339), "note": p.Note, "layer": p.Layer.File, "image": p.Image.Index,
	}
}

func newPointAdd(a *app) *cobra.Command {
	o := &store.AddOptions{}
	var when string
	c := &cobra.Command{
		Use:   "add STORE SYSTEM [SOURCE]",
		Short: a.ui.T("Add the state of a system as a point"),
		Long: a.ui.T(`SOURCE is a disk, partition (DISK:NUMBER), folder or image (WIM:IMAGE). It may be left out where the store knows one disk of SYSTEM.
Of a disk of pointer files only what is not behind pointers is read. What no layer has goes into a new layer, which is written under a
temporary name, read back and renamed; the layers that are there are not touched. What is excluded is decided as by 'husk capture
--wimboot'. A SYSTEM that is new begins here.`),
		Example: `  husk point add wimboot x64 /mnt/windows -m "installed"
  husk point add wimboot x64 wimboot/x64/win7.vhd --name=may -m "patches of May"
  husk point add wimboot x64`,
		Args: args(2, 3),
	}
	noWait := addNoWait(a, c)
	flags, t := c.Flags(), a.ui.T
	flags.StringVarP(&o.Note, "message", "m", "", t("a `note` on the point"))
	flags.StringVar(&o.Name, "name", "", t("`name` of the point (default: its date)"))
	flags.StringVar(&when, "date", "", t("`date` of the point, as 2026-05-31 or 2026-05-31T18:00 (default: now)"))
	flags.StringVar(&o.Config, "config", "", t("capture configuration `file` ([ExclusionList] …)"))
	flags.StringArrayVar(&o.WIMs, "wim", nil, t("where SOURCE points into a WIM that is no layer of the store: that `file`"))
	flags.BoolVar(&o.Dereference, "dereference", false, t("where SOURCE is a disk of pointer files: read and hash what they point to instead of trusting the pointers"))
	flags.BoolVar(&o.DryRun, "dry-run", false, t("tell what would be done and write nothing"))
	c.RunE = func(c *cobra.Command, args []string) error {
		o.System, o.Threads = args[1], a.threads
		src := ""
		if len(args) == 3 {
			src = args[2]
		}
		var err error
		if o.Date, err = parseDate(when); err != nil {
			return err
		}
		debug.SetGCPercent(100) // where little is read, the trees are most of the work: a quarter of the time for half as much memory again
		return a.withStore(c.Context(), args[0], *noWait, func(s *store.Store) error {
			r, err := s.AddPoint(c.Context(), src, o)
			if err != nil {
				return err
			}
			a.added(args[0], r)
			return nil
		})
	}
	return c
}

// parseDate reads a date of this place.
func parseDate(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, ui.Usage(fmt.Errorf("--date=%s: want a date such as 2026-05-31 or 2026-05-31T18:00", s))
}

func (a *app) added(dir string, r *store.AddResult) {
	if a.ui.JSON {
		f := map[string]any{
			"store": dir, "system": r.System, "name": r.Name, "dryRun": r.DryRun, "names": r.Totals.Names, "dirs": r.Totals.Dirs, "bytes": r.Totals.Bytes, "excluded": r.Excluded,
			"pointers": r.Pointers, "newBlobs": r.NewBlobs, "newBytes": r.NewBytes, "storedBytes": r.StoredBytes, "readBytes": r.ReadBytes, "layerBytes": r.LayerBytes, "seconds": r.Elapsed.Seconds(),
		}
		if r.Point != nil {
			f["id"], f["layer"] = r.Point.ID, r.Point.Layer.File
		}
		a.ui.Event("result", f)
		return
	}
	if r.DryRun {
		a.ui.Say("Would add %s@%s: %d files, %s; at most %d contents, %s, are new. Nothing was written.", r.System, r.Name, r.Totals.Names, ui.Size(r.Totals.Bytes), r.NewBlobs, ui.Size(r.NewBytes))
		return
	}
	a.ui.Say("Added %s@%s: %d files, %s, of which %d through pointers.", r.System, r.Name, r.Totals.Names, ui.Size(r.Totals.Bytes), r.Pointers)
	a.ui.Say("%d contents, %s, are new; %s takes %s. Done in %s.", r.NewBlobs, ui.Size(r.NewBytes), r.Point.Layer.File, ui.Size(r.LayerBytes), ui.Duration(r.Elapsed))
}

func newPointList(a *app) *cobra.Command {
	var dropped bool
	c := &cobra.Command{
		Use:   "list STORE [SYSTEM]",
		Short: a.ui.T("List the points of a store"),
		Long:  a.ui.T("By system and date. With --dropped, those that were dropped and can be brought back."),
		Example: `  husk point list wimboot
  husk point list wimboot x64 --json`,
		Args: args(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := a.lookStore(args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			list := s.Points()
			if len(args) == 2 {
				if list = s.OfSystem(args[1]); len(list) == 0 {
					return ui.Hint(fmt.Errorf("%s has no system %q", args[0], args[1]), "'husk point list %s' lists all", args[0])
				}
			}
			if dropped {
				list = s.Dropped()
			}
			var rows [][]string
			for _, p := range list {
				a.ui.Event("point", pointFields(p))
				w := ""
				if info := p.Image.Info(); info.Windows != nil {
					w = info.Windows.ProductName
				}
				rows = append(rows, []string{p.String(), date(p.Date), p.Layer.File, printable(w), printable(p.Note)})
			}
			t := a.ui.T
			a.ui.Table([]string{t("point"), t("date"), t("layer"), t("system"), t("note")}, []ui.Align{ui.Left, ui.Left, ui.Left, ui.Left, ui.Left}, rows)
			a.ui.Event("result", map[string]any{"store": args[0], "points": len(list)})
			return nil
		},
	}
	c.Flags().BoolVar(&dropped, "dropped", false, a.ui.T("list the points that were dropped"))
	return c
}

func newPointShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show STORE POINT",
		Short: a.ui.T("Show all that is known of a point"),
		Long:  a.ui.T("What it is called, which Windows it is, what it takes, and which layers have its contents."),
		Example: `  husk point show wimboot x64
  husk point show wimboot x64~1 --json`,
		Args: args(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.lookStore(args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			p, err := s.Point(args[1])
			if err != nil {
				return err
			}
			z, err := s.Sizes(c.Context())
			if err != nil {
				return err
			}
			for _, size := range z.Points {
				if size.Point == p {
					return a.showPoint(s, &size)
				}
			}
			return fmt.Errorf("husk: internal error: %s has no size", p)
		},
	}
}

func (a *app) showPoint(s *store.Store, z *store.PointSize) error {
	layers, err := s.LayersOf(z.Point)
	if err != nil {
		return err
	}
	p, info := z.Point, z.Point.Image.Info()
	if a.ui.JSON {
		f := pointFields(p)
		f["files"], f["bytes"], f["all"], f["private"], f["windows"] = z.Files, z.Bytes, z.All, z.Private, info.Windows
		in := map[string]any{}
		for l, n := range layers {
			in[l.File] = n
		}
		f["layers"] = in
		a.ui.Event("result", f)
		return nil
	}
	t := a.ui.T
	rows := [][]string{{t("point"), p.String()}, {t("date"), date(p.Date)}, {t("note"), printable(p.Note)}, {"ID", p.ID}, {t("layer"), p.Layer.File + ":" + strconv.Itoa(p.Image.Index)}}
	if w := info.Windows; w != nil {
		rows = append(rows, []string{"Windows", printable(fmt.Sprintf("%s %s %d.%d.%d", w.ProductName, w.EditionID, w.Major, w.Minor, w.Build))})
	}
	rows = append(rows, []string{t("files"), strconv.Itoa(z.Files)}, []string{t("plain"), ui.Size(z.Bytes)}, []string{t("size"), ui.Size(z.All.Stored)}, []string{t("own"), ui.Size(z.Private.Stored)})
	a.ui.List(rows)
	var list [][]string
	for l, n := range layers {
		list = append(list, []string{l.File, strconv.FormatInt(n.Blobs, 10), ui.Size(n.Stored)})
	}
	sort.Slice(list, func(i, j int) bool { return list[i][0] < list[j][0] })
	a.ui.Say("")
	a.ui.Table([]string{t("layer"), t("contents"), t("size")}, []ui.Align{ui.Left, ui.Right, ui.Right}, list)
	return nil
}

func newPointDiff(a *app) *cobra.Command {
	c := newDiff(a)
	c.Use = "diff STORE BEFORE AFTER"
	c.Short = a.ui.T("Compare two points of a store")
	c.Long = a.ui.T("This is 'husk diff STORE:BEFORE STORE:AFTER', and has its options.")
	c.Example = `  husk point diff wimboot x64~1 x64
  husk point diff wimboot x64@installed x64@may --registry --json`
	c.Args = args(3, 3)
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		return run(c, []string{args[0] + ":" + args[1], args[0] + ":" + args[2]})
	}
	return c
}

func newPointRename(a *app) *cobra.Command {
	var system, note string
	c := &cobra.Command{
		Use:   "rename STORE POINT [NAME]",
		Short: a.ui.T("Give a point another name, system or note"),
		Long:  a.ui.T("Only the names in the layer change: disks that point into it go on working."),
		Example: `  husk point rename wimboot x64@2026-05-31T1800 may
  husk point rename wimboot x64@may -m "patches of May"
  husk point rename wimboot Windows-7-Ultimate installed --system=x64`,
		Args: args(2, 3),
	}
	noWait := addNoWait(a, c)
	c.Flags().StringVar(&system, "system", "", a.ui.T("make it a point of `system`"))
	c.Flags().StringVarP(&note, "message", "m", "", a.ui.T("a `note` on the point"))
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.withStore(c.Context(), args[0], *noWait, func(s *store.Store) error {
			p, err := s.Point(args[1])
			if err != nil {
				return err
			}
			name := ""
			if len(args) == 3 {
				name = args[2]
			}
			var text *string
			if c.Flags().Changed("message") {
				text = &note
			}
			id, was := p.ID, p.String()
			if err := s.Rename(p, system, name, text); err != nil {
				return err
			}
			if p, err = s.Point(id); err != nil {
				return err
			}
			a.ui.Say("%s is called %s.", was, p)
			a.ui.Event("result", pointFields(p))
			return nil
		})
	}
	return c
}

func newPointDrop(a *app) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "drop STORE POINT…",
		Short: a.ui.T("Drop points"),
		Long: a.ui.T(`The points are not listed any more. What only they had stays in the layers until 'husk prune' removes whole layers that nothing needs
or 'husk store merge' leaves it out; until then 'husk point undrop' brings them back. Disks that were made of them go on working.`),
		Example: `  husk point drop wimboot x64@may
  husk point drop wimboot x64~3 x64~4 --dry-run`,
		Args: args(2, 1000),
	}
	noWait := addNoWait(a, c)
	c.Flags().BoolVar(&dryRun, "dry-run", false, a.ui.T("tell what would be done and write nothing"))
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.withStore(c.Context(), args[0], *noWait, func(s *store.Store) error {
			points, err := findPoints(s, args[1:])
			if err != nil {
				return err
			}
			im, err := s.Impact(c.Context(), points)
			if err != nil {
				return err
			}
			if !dryRun {
				if err := s.Drop(points...); err != nil {
					return err
				}
			}
			a.impact(args[0], im, dryRun, nil)
			return nil
		})
	}
	return c
}

func newPointUndrop(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "undrop STORE POINT",
		Short:   a.ui.T("Bring a dropped point back"),
		Long:    a.ui.T("POINT is as 'husk point list --dropped' has it, or an ID."),
		Example: `  husk point undrop wimboot x64@may`,
		Args:    args(2, 2),
	}
	noWait := addNoWait(a, c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.withStore(c.Context(), args[0], *noWait, func(s *store.Store) error {
			for _, p := range s.Dropped() {
				if p.String() == args[1] || p.ID == args[1] {
					if err := s.Undrop(p); err != nil {
						return err
					}
					a.ui.Say("%s is back.", args[1])
					a.ui.Event("result", map[string]any{"store": args[0], "point": args[1]})
					return nil
				}
			}
			return ui.Hint(fmt.Errorf("%s has no dropped point %q", args[0], args[1]), "'husk point list %s --dropped' lists them", args[0])
		})
	}
	return c
}
