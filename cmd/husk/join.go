package main

import (
	"github.com/spf13/cobra"

	"husk/internal/wimedit"
)

func newJoin(a *app) *cobra.Command {
	f := &wimFlags{}
	c := &cobra.Command{
		Use:   "join WIM PART…",
		Short: a.ui.T("Make one WIM of the parts of a split one"),
		Long: a.ui.T(`The first part is enough if the others are beside it, called as husk split calls them. Parts that are missing, or of another set, are an
error. What is in the parts is copied as it is stored.`),
		Example: `  husk join install.wim install.swm
  husk join install.wim /mnt/disc1/install.swm /mnt/disc2/install2.swm`,
		Args: args(2, 65536),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(a)
			if err != nil {
				return err
			}
			r, err := wimedit.Join(c.Context(), args[0], args[1:], o)
			if err != nil {
				return refusedIf(err)
			}
			return a.edited(args[0], r)
		},
	}
	f.check(a, c.Flags())
	f.dryRun(a, c.Flags())
	return c
}
