package main

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"husk/internal/place"
	"husk/internal/ui"
)

func newUsage(a *app) *cobra.Command {
	var depth int
	var sortBy string
	c := &cobra.Command{
		Use:   "du FILE[:IMAGE] [PATH]",
		Short: a.ui.T("Tell what folders take on the disk, and what is behind pointers or compact"),
		Long: a.ui.T(`"on disk" is the clusters that files of the folder and below have; in a WIM, what their contents take there, equal ones once. "size" is
what programs see. The rest is the part of the size that is behind pointers into a WIM, and of compact files. A file with several
names counts once, in the folder where it is met first.`),
		Example: `  husk fs du x64/win7.vhd
  husk fs du x64/win7.vhd /Windows --depth=2 --sort=pointers
  husk fs du --json wimboot.wim:1 / --depth=0`,
		Args: args(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			order, err := usageOrder(sortBy)
			if err != nil {
				return err
			}
			s, m, err := a.openRaw(c, args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			top, name, err := lookup(s, pathArg(args))
			if err != nil {
				return err
			}
			list, problems, err := m.Usage(c.Context(), name, top, depth)
			if err != nil {
				return err
			}
			for _, p := range problems {
				a.ui.Warn("%s: %s", s.Path, p)
			}
			if order != nil {
				slices.SortStableFunc(list[1:], order)
			}
			a.showUsage(list)
			return nil
		},
	}
	c.Flags().IntVarP(&depth, "depth", "d", 1, a.ui.T("show folders down to this depth; -1 shows all"))
	c.Flags().StringVar(&sortBy, "sort", "disk", a.ui.T("sort by disk, size, pointers, compact, files or name, the largest first"))
	return c
}

// usageOrder is how to sort folders; the first, which has all the others, stays.
func usageOrder(by string) (func(x, y place.Folder) int, error) {
	key := map[string]func(*place.Folder) int64{
		"disk":     func(f *place.Folder) int64 { return f.OnDisk },
		"size":     func(f *place.Folder) int64 { return f.Size },
		"pointers": func(f *place.Folder) int64 { return f.PointerBytes },
		"compact":  func(f *place.Folder) int64 { return f.CompactBytes },
		"files":    func(f *place.Folder) int64 { return int64(f.Files) },
	}[by]
	switch {
	case key != nil:
		return func(x, y place.Folder) int { return cmp.Or(cmp.Compare(key(&y), key(&x)), cmp.Compare(x.Path, y.Path)) }, nil
	case by == "name":
		return func(x, y place.Folder) int { return cmp.Compare(x.Path, y.Path) }, nil
	}
	return nil, ui.Usage(badWord("--sort", by, "disk, size, pointers, compact, files or name"))
}

type jsonUsage struct {
	Path  string `json:"path"`
	Depth int    `json:"depth"`
	place.Sums
}

func (a *app) showUsage(list []place.Folder) {
	if a.ui.JSON {
		for _, f := range list {
			a.ui.Line(jsonUsage{f.Path, f.Depth, f.Sums})
		}
		return
	}
	t := a.ui.T
	row := func(f place.Folder) []string {
		return []string{ui.Size(f.OnDisk), ui.Size(f.Size), sizeOrDash(f.PointerBytes), sizeOrDash(f.CompactBytes), strconv.Itoa(f.Files), printable(f.Path)}
	}
	var rows [][]string
	for _, f := range list[1:] {
		rows = append(rows, row(f))
	}
	a.ui.Table([]string{t("on disk"), t("size"), t("behind pointers"), t("compact"), t("files"), t("path")},
		[]ui.Align{ui.Right, ui.Right, ui.Right, ui.Right, ui.Right}, rows, row(list[0])...)
}

func sizeOrDash(n int64) string {
	if n == 0 {
		return "-"
	}
	return ui.Size(n)
}
