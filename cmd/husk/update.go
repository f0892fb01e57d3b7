package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/ui"
	"husk/internal/wimedit"
	"husk/wim"
)

// maxCommands is how many bytes of commands are read.
const maxCommands = 64 << 20

func newUpdate(a *app) *cobra.Command {
	f := &wimFlags{}
	var config string
	var rebuild bool
	c := &cobra.Command{
		Use:   "update WIM[:IMAGE] [COMMAND…]",
		Short: a.ui.T("Add, delete and rename files in an image of a WIM"),
		Long: a.ui.T(`Each COMMAND is one of these, in quotes; without any, they are read from the standard input, one in each line:

  add [--no-replace] SOURCE PATH          a file or folder, which is merged with one that is there
  delete [--force] [--recursive] PATH
  rename OLD NEW

Names with spaces stand in quotes of their own. All commands are done, or none: the image is what it was until all new files are stored,
whatever interrupts the command.`),
		Example: `  husk update boot.wim:2 'add drivers /Windows/Temp/drivers' 'delete --recursive /Windows/Logs'
  husk update install.wim:1 < commands.txt`,
		Args: args(1, 65536),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(a)
			if err != nil {
				return err
			}
			text := strings.Join(args[1:], "\n")
			if len(args) == 1 {
				in, _, _ := a.ui.Streams()
				b, err := io.ReadAll(io.LimitReader(in, maxCommands+1))
				if err != nil {
					return err
				}
				if len(b) > maxCommands {
					return fmt.Errorf("more than %d bytes of commands", maxCommands)
				}
				text = string(b)
			}
			commands, err := wim.ParseUpdate(text)
			if err != nil {
				return ui.Usage(err)
			}
			if rebuild {
				if err := a.mayMove(wimedit.FileOf(args[0]), o); err != nil {
					return err
				}
			}
			r, err := wimedit.Update(c.Context(), args[0], commands, config, rebuild, o)
			if err != nil {
				return err
			}
			return a.edited(wimedit.FileOf(args[0]), r)
		},
	}
	f.check(a, c.Flags())
	f.noCheck(a, c.Flags())
	f.dryRun(a, c.Flags())
	c.Flags().StringVar(&config, "config", "", a.ui.T("capture configuration `file` that says what added folders leave out"))
	c.Flags().BoolVar(&rebuild, "rebuild", false, a.ui.T("write the WIM anew without what no image needs"))
	return c
}
