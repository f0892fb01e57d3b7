package main

import (
	"github.com/spf13/cobra"

	"husk/internal/place"
	"husk/internal/source"
)

// newFS is the group of commands that look into images, volumes, disks and folders.
func newFS(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "fs COMMAND FILE[:IMAGE] [PATH]",
		Short: a.ui.T("Look into WIM images, volumes, disks and folders, and change the files of a volume in place"),
		Long: a.ui.T(`FILE[:IMAGE] is a WIM with an image number or name, a VHD, disk image or block device with a partition number, a folder, or an ISO
image: win.iso is the disc, win.iso:1 an image of sources/install.wim on it, win.iso:boot.wim:2 one of another WIM.
PATH is inside it; either slash separates, case does not matter, and short names count. The commands that change something want a volume
that nothing has mounted; a cut at any moment leaves every file as it was or as it is to be.`),
		Example: `  husk fs ls -l wimboot.wim:1 /Windows
  husk fs stat x64/win7.vhd /Windows/notepad.exe
  husk fs du x64/win7.vhd / --depth=2
  husk fs find wimboot.wim:2 / --name='*.dll' --size=+1M
  husk fs cp wimboot.wim:1 /Users/Public/Documents out`,
		Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newList(a), newCat(a), newCopyOut(a), newTree(a), newStat(a), newFind(a), newUsage(a))
	c.AddCommand(newPut(a), newMkdir(a), newRemove(a), newCompactInPlace(a), newPlainInPlace(a), newPointerInPlace(a))
	return c
}

// openRaw opens a source with its pointer and compact files as they lie on the disk, and the map of where their bytes are.
// Of a volume only the named paths are read, if there are any.
func (a *app) openRaw(c *cobra.Command, spec string, paths ...string) (*source.Source, *place.Map, error) {
	s, err := source.Open(c.Context(), spec, &source.Options{Warn: a.ui.Warn, Raw: true, Paths: paths})
	if err != nil {
		return nil, nil, err
	}
	m, err := place.New(s)
	if err != nil {
		a.ui.Warn("%s: %s", s.Path, err)
	}
	return s, m, nil
}
