package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"husk/internal/copyout"
	"husk/internal/find"
	"husk/internal/source"
	"husk/internal/ui"
)

func newCopyOut(a *app) *cobra.Command {
	var wims []string
	c := &cobra.Command{
		Use:   "cp FILE[:IMAGE] PATH... DEST",
		Short: a.ui.T("Copy files and folders out to the host, with their metadata"),
		Long: a.ui.T(`PATH may have * and ?. A folder is copied with all that is below it. DEST is a folder that exists, or the new name of the one thing that
is copied; PATH / copies what is in the root into DEST. Metadata is kept as 'husk apply' to a folder does. Nothing that exists is
replaced without --yes.`),
		Example: `  husk fs cp wimboot.wim:1 /Windows/notepad.exe notepad.exe
  husk fs cp x64/win7.vhd '/Windows/System32/*.nls' /Users/Public out
  husk fs cp wimboot.wim:2 / everything`,
		Args: args(3, 10000),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := source.Open(c.Context(), args[0], &source.Options{WIMs: wims, Warn: a.ui.Warn})
			if err != nil {
				return err
			}
			defer s.Close()
			dest := args[len(args)-1]
			var picked []find.Found
			for _, path := range args[1 : len(args)-1] {
				found := find.Glob(s.Tree, path)
				if len(found) == 0 {
					return fmt.Errorf("%s: no file or folder %s", s.Path, path)
				}
				picked = append(picked, found...)
			}
			plan, err := copyout.NewPlan(picked, dest)
			if err != nil {
				return err
			}
			totals := plan.Tree.Totals()
			p := a.ui.Start("copy", totals.Bytes)
			report, err := plan.Copy(c.Context(), &copyout.Options{Overwrite: a.ui.Yes, Workers: a.threads, Progress: p.Add})
			d := p.Done()
			if err != nil {
				return refusedIf(err)
			}
			lost := lostWords(a, report)
			if a.ui.JSON {
				a.ui.Event("result", map[string]any{
					"target": dest, "files": report.Files, "links": report.Links, "dirs": totals.Dirs - 1, "bytes": report.Bytes, "notKept": lost, "seconds": d.Seconds(),
				})
				return nil
			}
			for _, l := range lost {
				a.ui.Warn("%s", l)
			}
			a.ui.Say("Copied %d files and %d folders, %s, to %s.", totals.Names, totals.Dirs-1, ui.Size(report.Bytes), dest)
			return nil
		},
	}
	c.Flags().StringArrayVar(&wims, "wim", nil, a.ui.T("resolve pointer files through this WIM `file`"))
	return c
}
