package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"husk/internal/ui"
	"husk/internal/wimedit"
)

func newSplit(a *app) *cobra.Command {
	f := &wimFlags{}
	c := &cobra.Command{
		Use:   "split WIM FIRST.swm SIZE",
		Short: a.ui.T("Split a WIM into parts of at most a size"),
		Long: a.ui.T(`The parts are called x.swm, x2.swm, x3.swm and so on. SIZE has a unit: 3900M, 1.5G. Files are not cut: one that is larger than SIZE makes
a larger part. Windows Setup and DISM read such sets. They cannot be changed; husk join makes one file of them again.`),
		Example: `  husk split install.wim install.swm 3900M`,
		Args:    args(3, 3),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(a)
			if err != nil {
				return err
			}
			size, err := ui.ParseSize(args[2])
			if err != nil || size <= 0 {
				return ui.Usage(fmt.Errorf("%s: want a size such as 3900M", args[2]))
			}
			r, err := wimedit.Split(c.Context(), args[0], args[1], size, o)
			if err != nil {
				return refusedIf(err)
			}
			return a.edited(args[1], r)
		},
	}
	f.refs(a, c.Flags())
	f.check(a, c.Flags())
	f.dryRun(a, c.Flags())
	return c
}
