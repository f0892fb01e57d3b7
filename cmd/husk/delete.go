package main

import (
	"github.com/spf13/cobra"

	"husk/internal/wimedit"
)

func newDelete(a *app) *cobra.Command {
	f := &wimFlags{}
	var rebuild bool
	c := &cobra.Command{
		Use:   "delete WIM IMAGE",
		Short: a.ui.T("Delete an image, or all, from a WIM"),
		Long: a.ui.T(`IMAGE is a number or a name, or all. Contents stay where they are, so that disks of pointer files into the other images stay right;
what only the deleted image needed is given back by --rebuild, or later by husk optimize.`),
		Example: `  husk delete wimboot.wim 3 --dry-run
  husk delete archive.wim "Windows 7 x86" --rebuild`,
		Args: args(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(a)
			if err != nil {
				return err
			}
			if rebuild {
				if err := a.mayMove(args[0], o); err != nil {
					return err
				}
			}
			r, err := wimedit.Delete(c.Context(), args[0], args[1], rebuild, o)
			if err != nil {
				return err
			}
			return a.edited(args[0], r)
		},
	}
	f.check(a, c.Flags())
	f.noCheck(a, c.Flags())
	f.dryRun(a, c.Flags())
	c.Flags().BoolVar(&rebuild, "rebuild", false, a.ui.T("write the WIM anew without what no image needs"))
	return c
}
