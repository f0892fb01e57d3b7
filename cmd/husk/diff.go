package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/capconf"
	"husk/internal/diff"
	"husk/internal/system"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/regf"
)

func newDiff(a *app) *cobra.Command {
	o := &diff.Options{}
	var wims []string
	var registry, long, exit, all bool
	depth := 2
	c := &cobra.Command{
		Use:   "diff BEFORE AFTER",
		Short: a.ui.T("Compare two states of a system: points, images, disks, folders"),
		Long: a.ui.T(`Each of the two is a point of a store (STORE:POINT), FILE[:IMAGE] or a folder. Files are listed that were added (+), removed (-),
changed (content: *, only metadata: .) and renamed (>), and then sums by folder. Contents are compared by SHA-1: those of pointer files
and images are not read. A file is renamed if it has the content and the creation time of one that is gone. With --registry the hives
that both have are compared, key by key. With --exit-code the exit status is 3 if anything differs.`),
		Example: `  husk diff store:x64@before store:x64@after
  husk diff store:x64@before store/x64/win7.vhd --path=/Windows/System32 --long
  husk diff win.vhd:2 wimboot.wim:3 --content --registry --json`,
		Args: args(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			o.Threads = a.threads
			so := &system.OpenOptions{WIMs: wims, UI: a.ui}
			before, err := system.Open(c.Context(), args[0], so)
			if err != nil {
				return err
			}
			defer before.Close()
			after, err := system.Open(c.Context(), args[1], so)
			if err != nil {
				return err
			}
			defer after.Close()
			if !all {
				for _, s := range []*system.Source{before, after} {
					s.Tree, _ = tree.Filter(s.Tree, func(path string, _ bool) bool { return capconf.Default().Excluded(path) })
				}
			}
			p := a.ui.Start("compare", 0)
			o.Progress = p.Add
			r, err := diff.Trees(c.Context(), before.Tree, after.Tree, o)
			p.Done()
			if err != nil {
				return err
			}
			w := newBufferedOutput(a.ui.Raw())
			a.showChanges(w, r, long)
			if err := w.Flush(); err != nil {
				return err
			}
			same := r.Equal()
			if registry {
				n, err := a.diffRegistry(c, before, after)
				if err != nil {
					return err
				}
				same = same && n == 0
			}
			a.sumChanges(args, r, depth)
			if exit && !same {
				return fmt.Errorf("%s, %s: %w", args[0], args[1], errDiffers)
			}
			return nil
		},
	}
	t, flags := a.ui.T, c.Flags()
	flags.StringArrayVar(&o.Paths, "path", nil, t("only this `path` and what is below it, perhaps with wildcards"))
	flags.BoolVar(&o.Content, "content", false, t("only contents and which files there are, no metadata"))
	flags.BoolVar(&o.AllTimes, "all-times", false, t("compare the times of access and of metadata changes too"))
	flags.BoolVar(&all, "all", false, t("compare what a capture leaves out too: page files, recycle bins, System Volume Information"))
	flags.BoolVar(&registry, "registry", false, t("compare the registry hives that both have, key by key"))
	flags.BoolVarP(&long, "long", "l", false, t("show what changed of each file"))
	flags.IntVar(&depth, "depth", depth, t("sum up folders to this depth; 0 for one sum"))
	flags.BoolVar(&exit, "exit-code", false, t("end with status 3 if anything differs"))
	flags.StringArrayVar(&wims, "wim", nil, t("look for the data of pointer files in this WIM `file`"))
	return c
}

// mark is the sign of a change in listings.
func mark(x *diff.Change) string {
	switch {
	case x.Kind == diff.Added:
		return "+"
	case x.Kind == diff.Removed:
		return "-"
	case x.Kind == diff.Renamed:
		return ">"
	case x.Content:
		return "*"
	}
	return "."
}

func (a *app) showChanges(w io.Writer, r *diff.Result, long bool) {
	for i := range r.Changes {
		x := &r.Changes[i]
		if a.ui.JSON {
			a.ui.Event("change", map[string]any{"change": x})
			continue
		}
		name := printable(x.Path)
		if x.Type == "folder" {
			name += "/"
		}
		if x.Kind == diff.Renamed {
			name = printable(x.From) + " -> " + name
		}
		size := ""
		switch {
		case x.Type != "file":
		case x.Kind == diff.Added, x.Kind == diff.Renamed:
			size = ui.Size(x.After)
		case x.Kind == diff.Removed:
			size = ui.Size(x.Before)
		case x.Before != x.After:
			size = ui.Size(x.Before) + " -> " + ui.Size(x.After)
		}
		if size != "" {
			size = "  (" + size + ")"
		}
		fmt.Fprintf(w, "%s %s%s\n", mark(x), name, size)
		if long {
			for _, d := range x.Details {
				fmt.Fprintf(w, "      %s: %s -> %s\n", printable(d.What), printable(d.Before), printable(d.After))
			}
		}
	}
}

// diffRegistry lists what differs in the hives, and returns how much that is.
func (a *app) diffRegistry(c *cobra.Command, before, after *system.Source) (int, error) {
	w := newBufferedOutput(a.ui.Raw())
	defer w.Flush()
	n := make(map[diff.Kind]int)
	hives, bad, err := diff.Registry(c.Context(), before.Tree, after.Tree, func(x *diff.RegChange) error {
		n[x.Kind]++
		if a.ui.JSON {
			a.ui.Event("registry", registryJSON(x))
			return nil
		}
		sign := map[diff.Kind]string{diff.Added: "+", diff.Removed: "-", diff.Changed: "*"}[x.Kind]
		line := sign + " [" + printable(x.Hive) + "] " + printable(strings.Trim(x.Key, `\`))
		if x.Value == nil {
			_, err := fmt.Fprintf(w, "%s\\\n", line)
			return err
		}
		text := ""
		switch {
		case x.Before == nil:
			text = valueText(x.After)
		case x.After == nil:
			text = valueText(x.Before)
		default:
			text = valueText(x.Before) + " -> " + valueText(x.After)
		}
		_, err := fmt.Fprintf(w, "%s %s = %s\n", line, shownName(*x.Value), text)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, b := range bad {
		a.ui.Warn("%s could not be compared: %s", b.Hive, b.Err)
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	if a.ui.JSON {
		a.ui.Event("registry-result", map[string]any{"hives": hives, "unreadable": len(bad), "added": n[diff.Added], "removed": n[diff.Removed], "changed": n[diff.Changed]})
	} else {
		a.ui.Say("Hives compared: %d. Keys and values added: %d, removed: %d, changed: %d.", hives, n[diff.Added], n[diff.Removed], n[diff.Changed])
	}
	return n[diff.Added] + n[diff.Removed] + n[diff.Changed] + len(bad), nil
}

func valueText(v *regf.Value) string { return v.Type.String() + " " + printable(regData(*v)) }

func registryJSON(x *diff.RegChange) map[string]any {
	m := map[string]any{"hive": x.Hive, "kind": x.Kind, "key": x.Key}
	if x.Value != nil {
		m["value"] = *x.Value
	}
	if x.Before != nil {
		j := valueJSON(x.Key, *x.Before)
		m["before"] = map[string]any{"type": j.Type, "data": j.Data}
	}
	if x.After != nil {
		j := valueJSON(x.Key, *x.After)
		m["after"] = map[string]any{"type": j.Type, "data": j.Data}
	}
	return m
}

// sumChanges prints the sums.
func (a *app) sumChanges(specs []string, r *diff.Result, depth int) {
	if a.ui.JSON {
		for _, f := range r.Folders(depth) {
			a.ui.Event("folder", map[string]any{"folder": f})
		}
		a.ui.Event("result", map[string]any{"before": specs[0], "after": specs[1], "equal": r.Equal(), "sum": r.Sum, "paths": r.Paths,
			"unreadable": r.Unreadable, "read": r.Read})
		return
	}
	if r.Equal() {
		a.ui.Say("No file differs: %d names compared, %s read.", r.Paths, ui.Size(r.Read))
		return
	}
	t := a.ui.T
	row := func(name string, s diff.Sum) []string {
		return []string{name, strconv.Itoa(s.Added), ui.Size(s.AddedBytes), strconv.Itoa(s.Removed), ui.Size(s.RemovedBytes),
			strconv.Itoa(s.Changed - s.Metadata), ui.Size(s.ChangedBytes), strconv.Itoa(s.Metadata), strconv.Itoa(s.Renamed)}
	}
	var rows [][]string
	for _, f := range r.Folders(depth) {
		rows = append(rows, row(printable(f.Path), f.Sum))
	}
	header := []string{t("folder"), t("added"), "", t("removed"), "", t("content changed"), "", t("metadata"), t("renamed")}
	align := []ui.Align{ui.Left, ui.Right, ui.Right, ui.Right, ui.Right, ui.Right, ui.Right, ui.Right, ui.Right}
	a.ui.Table(header, align, rows, row(t("together"), r.Sum)...)
	if r.Unreadable > 0 {
		a.ui.Warn("%d contents could not be read; their files count as changed", r.Unreadable)
	}
}
