package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/atomicfile"
	"husk/internal/system"
	"husk/internal/ui"
)

func newStatus(a *app) *cobra.Command {
	o := &system.StatusOptions{UI: a.ui}
	var svg string
	c := &cobra.Command{
		Use:   "status DISK[:PARTITION]|STORE...",
		Short: a.ui.T("Tell how systems stand to their store: what is behind pointers, what became local, what is saved"),
		Long: a.ui.T(`Of a store all its systems. For each: the files behind pointers, compact and local; what became local since the point that it was made
from, by folder, as Windows Update does with all that it replaces; the layers that its pointers need, and whether they are there; and what
is saved against an installation of plain files. Files of the system are hardly read: contents are known by SHA-1 or by size and time. The
exit status is 3 if pointers cannot be read.`),
		Example: `  husk status wimboot
  husk status wimboot/x64/win7.vhd --svg=win7.svg
  husk status disk.img:2 --point=wimboot:x64@may --depth=3 --json`,
		Args: args(1, 1000),
		RunE: func(c *cobra.Command, args []string) error {
			o.Threads = a.threads
			if svg != "" {
				if err := atomicfile.Check(svg, a.ui.Yes); err != nil {
					return refusedIf(err)
				}
			}
			var all []*system.Status
			for _, spec := range args {
				systems, err := system.Systems(spec)
				if err != nil {
					return err
				}
				for _, s := range systems {
					st, err := system.Survey(c.Context(), s, o)
					if err != nil {
						return err
					}
					all = append(all, st)
				}
			}
			broken := false
			for i, st := range all {
				if a.ui.JSON {
					a.ui.Event("system", map[string]any{"status": st})
				} else {
					if i > 0 {
						a.ui.Say("")
					}
					a.showStatus(st)
				}
				broken = broken || st.Broken()
			}
			if len(all) == 0 {
				a.ui.Say("The store knows no system.")
			}
			if svg != "" {
				if err := a.drawStatus(svg, all); err != nil {
					return refusedIf(err)
				}
			}
			if broken {
				return ui.Hint(fmt.Errorf("%w: pointers lead nowhere", errDiffers), "bring the layers back to where they were, or restore the system to a point")
			}
			return nil
		},
	}
	t, flags := a.ui.T, c.Flags()
	flags.StringVar(&o.Point, "point", "", t("compare with this `point`, STORE:POINT (default: the one that the system was made from)"))
	flags.StringArrayVar(&o.WIMs, "wim", nil, t("look for the data of pointer files in this WIM `file`"))
	flags.IntVar(&o.Depth, "depth", 2, t("sum up folders to this depth"))
	flags.StringVar(&svg, "svg", "", t("draw it as a picture into this `file`"))
	return c
}

const (
	chartWidth = 50
	maxFolders = 12
)

// statusBars are the bars of a system: a plain installation, and what it takes now.
func (a *app) statusBars(st *system.Status) []system.Bar {
	t := a.ui.T
	plain := st.Normal - st.Metadata
	return []system.Bar{
		{Label: t("all files plain"), Slices: []system.Slice{
			{Label: t("files"), Bytes: plain, Color: "#bbbbbb", Mark: '░'}, {Label: t("file table, indexes, log"), Bytes: st.Metadata, Color: "#777777", Mark: '▓'},
		}},
		{Label: t("as it is"), Slices: []system.Slice{
			{Label: t("of pointer files"), Bytes: st.Pointers.OnDisk, Color: "#4477aa", Mark: '▒'},
			{Label: t("local"), Bytes: st.Local.OnDisk - st.Passing.OnDisk, Color: "#ee6677", Mark: '█'},
			{Label: t("page files and the like"), Bytes: st.Passing.OnDisk, Color: "#ccbb44", Mark: '▄'},
			{Label: t("compact"), Bytes: st.Compact.OnDisk, Color: "#228833", Mark: '▒'},
			{Label: t("file table, indexes, log"), Bytes: st.Metadata, Color: "#777777", Mark: '▓'},
		}},
	}
}

// grownBars are the folders with the most that became local.
func (a *app) grownBars(st *system.Status) []system.Bar {
	t := a.ui.T
	var bars []system.Bar
	for i, g := range st.Grown {
		if i == maxFolders {
			break
		}
		bars = append(bars, system.Bar{Label: printable(g.Path), Slices: []system.Slice{
			{Label: t("changed since"), Bytes: g.Changed.Bytes, Color: "#ee6677", Mark: '█'}, {Label: t("new since"), Bytes: g.New.Bytes, Color: "#66ccee", Mark: '▒'},
		}})
	}
	return bars
}

func (a *app) showStatus(st *system.Status) {
	t := a.ui.T
	a.ui.Say("%s: %s", st.System, strings.TrimSpace(strings.Join([]string{st.Product, st.Version, st.Arch, st.Language}, " ")))
	var rows [][]string
	row := func(name string, s system.Share) {
		rows = append(rows, []string{name, strconv.Itoa(s.Files), ui.Size(s.Bytes), ui.Size(s.OnDisk)})
	}
	row(t("pointers into the WIM"), st.Pointers)
	row(t("compact"), st.Compact)
	row(t("local"), st.Local)
	if st.Passing.Files > 0 {
		row(t("of it page files and the like"), st.Passing)
	}
	a.ui.Table([]string{"", t("files"), t("size"), t("on disk")}, []ui.Align{ui.Left, ui.Right, ui.Right, ui.Right}, rows)
	a.bars(a.statusBars(st))
	saved := int64(0)
	if st.Normal > 0 {
		saved = st.Saved * 100 / st.Normal
	}
	a.ui.Say("In use: %s of %s; saved: %s (%d %%)", ui.Size(st.Used), ui.Size(st.Volume), ui.Size(st.Saved), saved)
	if st.DiskFile > 0 {
		a.ui.Say("The file of the disk has %s.", ui.Size(st.DiskFile))
	}
	for _, l := range st.Layers {
		name := l.Path
		if name == "" {
			name = l.Location
		}
		text := map[system.LayerState]string{
			system.LayerOK: t("in place"), system.LayerMoved: t("not where the system will look for it: %s", l.Location),
			system.LayerOther: t("MISSING: another WIM has its name"), system.LayerMissing: t("MISSING"), system.LayerLacks: t("INCOMPLETE: it lacks %d contents", l.Lost),
		}[l.State]
		a.ui.Say("Layer %s: %d files, %s; %s", printable(name), l.Files, ui.Size(l.Bytes), printable(text))
		if l.Stale > 0 {
			a.ui.Warn("%d pointers tell another place in %s than their contents have", l.Stale, name)
		}
	}
	if st.Point == "" {
		if st.Pointers.Files > 0 {
			a.ui.Say("Which point it was made from is not known; name one with --point to see what became local.")
		}
		return
	}
	a.ui.Say("Local since %s: changed files: %d, %s; new ones: %d, %s", st.Point, st.Changed.Files, ui.Size(st.Changed.Bytes), st.New.Files, ui.Size(st.New.Bytes))
	a.bars(a.grownBars(st))
}

// bars draws a chart for people.
func (a *app) bars(bars []system.Bar) {
	most := system.Longest(bars)
	var rows [][]string
	for i := range bars {
		total := int64(0)
		for _, s := range bars[i].Slices {
			total += max(0, s.Bytes)
		}
		rows = append(rows, []string{bars[i].Label, bars[i].Text(chartWidth, most), ui.Size(total)})
	}
	if len(rows) == 0 {
		return
	}
	var legend []string
	for _, b := range bars {
		for _, s := range b.Slices {
			if text := string(s.Mark) + " " + s.Label; s.Bytes > 0 && !slices.Contains(legend, text) {
				legend = append(legend, text)
			}
		}
	}
	a.ui.Table([]string{"", strings.Join(legend, "  "), ""}, []ui.Align{ui.Left, ui.Left, ui.Right}, rows)
}

// drawStatus makes the picture of all systems.
func (a *app) drawStatus(name string, all []*system.Status) error {
	t := a.ui.T
	var panels []system.Panel
	for _, st := range all {
		title := strings.TrimSpace(printable(st.System) + "  " + st.Product)
		panels = append(panels, system.Panel{Title: t("%s: saved %s", title, ui.Size(st.Saved)), Bars: a.statusBars(st)})
		if bars := a.grownBars(st); len(bars) > 0 {
			panels = append(panels, system.Panel{Title: t("Local since %s", st.Point), Bars: bars})
		}
	}
	f, err := atomicfile.Create(name, a.ui.Yes)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := system.WriteSVG(f, t("Systems and their store"), panels, ui.Size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return f.Commit()
}
