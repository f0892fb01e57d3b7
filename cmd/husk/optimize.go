package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"husk/internal/ui"
	"husk/internal/wimedit"
)

func newOptimize(a *app) *cobra.Command {
	f := &wimFlags{}
	var pipable bool
	c := &cobra.Command{
		Use:   "optimize WIM",
		Short: a.ui.T("Write a WIM anew without what no image needs, or in another form"),
		Long: a.ui.T(`What deleted images and replaced files left behind is gone afterwards. What keeps its form is copied as it is stored, at the speed of
the disk. The old file is there until the new one is complete. All places in the WIM change: disks of pointer files into it must be made
again, so a WIM with images for pointers is written anew only with --yes.`),
		Example: `  husk optimize wimboot.wim --yes
  husk optimize archive.wim --compress=LZX:best --recompress --check`,
		Args: args(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(a)
			if err != nil {
				return err
			}
			if err := a.mayMove(args[0], o); err != nil {
				return err
			}
			r, err := wimedit.Optimize(c.Context(), args[0], pipable, o)
			if err != nil {
				return err
			}
			return a.edited(args[0], r)
		},
	}
	f.form(a, c.Flags())
	f.check(a, c.Flags())
	f.noCheck(a, c.Flags())
	f.dryRun(a, c.Flags())
	c.Flags().BoolVar(&pipable, "pipable", false, a.ui.T("write the form that goes through pipes, which wimlib and husk know and Windows does not"))
	return c
}

// mayMove asks before the places in a WIM change that pointer files may know.
func (a *app) mayMove(path string, o *wimedit.Options) error {
	if o.DryRun {
		return nil
	}
	wimboot, err := wimedit.HasPointers(path)
	if err != nil || !wimboot {
		return err
	}
	if a.ui.Confirm("%s has images for pointer files. Disks that point into it must be made again afterwards. Write it anew?", path) {
		return nil
	}
	return ui.Hint(fmt.Errorf("%w: %s has images for pointer files, whose places would change", errRefused, path), "use --yes if no disk points into it")
}
