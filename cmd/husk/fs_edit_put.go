package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"husk/internal/reshape"
	"husk/internal/ui"
)

func newPut(a *app) *cobra.Command {
	o := &reshape.PutOptions{UI: a.ui}
	c := &cobra.Command{
		Use:   "put DISK[:PARTITION] FILE... PATH",
		Short: a.ui.T("Copy files and folders of the host onto a volume, with their metadata"),
		Long: a.ui.T(`PATH is a folder of the volume that exists, or the new name of the one thing that is copied; FILE - is the standard input. What is
new gets the metadata that the host has of it, as 'husk fs cp' and 'husk apply' keep it there. A file that exists is replaced only with
--yes; it keeps its metadata and only gets the new contents. A file with several names becomes as many files, short names are not
kept, and folders have the time of the copy. The volume must not be mounted.`),
		Example: `  husk fs put x64/win7.vhd unattend.xml /Windows/Panther/unattend.xml
  husk fs put disk.img:2 -r drivers tools /
  echo hello | husk fs put x64/win7.vhd - /Users/Public/hello.txt --yes`,
		Args: args(3, 10000),
		RunE: func(c *cobra.Command, args []string) error {
			o.Replace, o.Stdin = a.ui.Yes, c.InOrStdin()
			dest := args[len(args)-1]
			r, err := reshape.Put(c.Context(), args[0], args[1:len(args)-1], dest, o)
			if err != nil {
				return unusableIf(refusedIf(err))
			}
			if a.ui.JSON {
				a.ui.Event("result", map[string]any{
					"target": args[0], "dryRun": r.DryRun, "files": r.Files, "replaced": r.Replaced, "dirs": r.Dirs, "bytes": r.Bytes, "linksCopied": r.Copied, "objectIDsDropped": r.NoObjectID,
				})
				return nil
			}
			if r.Copied > 0 {
				a.ui.Warn("%d further names of files with several became files of their own", r.Copied)
			}
			if r.NoObjectID > 0 {
				a.ui.Warn("%d files have an object id that another file of the volume has, and were put without it", r.NoObjectID)
			}
			if r.DryRun {
				a.ui.Say("%s: would put %d new files and %d folders, and replace %d files: %s. Nothing was written.", args[0], r.Files, r.Dirs, r.Replaced, ui.Size(r.Bytes))
			} else {
				a.ui.Say("%s: put %d new files and %d folders, and replaced %d files: %s.", args[0], r.Files, r.Dirs, r.Replaced, ui.Size(r.Bytes))
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&o.Recursive, "recursive", "r", false, a.ui.T("copy folders with all that is below them"))
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, a.ui.T("tell what would be done and write nothing"))
	return c
}

func newMkdir(a *app) *cobra.Command {
	var parents bool
	c := &cobra.Command{
		Use:     "mkdir DISK[:PARTITION] PATH...",
		Short:   a.ui.T("Make folders on a volume"),
		Example: `  husk fs mkdir -p x64/win7.vhd /Tools/bin`,
		Args:    args(2, 10000),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := reshape.Mkdir(c.Context(), args[0], args[1:], parents, a.ui)
			if err != nil {
				return unusableIf(err)
			}
			a.ui.Say("%s: made %d folders.", args[0], n)
			a.ui.Event("result", map[string]any{"target": args[0], "dirs": n})
			return nil
		},
	}
	c.Flags().BoolVarP(&parents, "parents", "p", false, a.ui.T("make the folders above too; one that is there is no error"))
	return c
}

func newRemove(a *app) *cobra.Command {
	var recursive, dryRun bool
	c := &cobra.Command{
		Use:   "rm DISK[:PARTITION] PATH...",
		Short: a.ui.T("Remove files and folders from a volume"),
		Long: a.ui.T(`PATH may have * and ?. A file with several names is there until the last of them is removed. Nothing is removed without a yes, or --yes.
The volume must not be mounted.`),
		Example: `  husk fs rm x64/win7.vhd /pagefile.sys --yes
  husk fs rm disk.img:2 -r /Windows.old '/Windows/Temp/*'`,
		Args: args(2, 10000),
		RunE: func(c *cobra.Command, args []string) (err error) {
			r, err := reshape.PlanRemove(c.Context(), args[0], args[1:], recursive, dryRun, a.ui)
			if err != nil {
				return unusableIf(err)
			}
			defer func() { err = errors.Join(err, r.Close()) }()
			if dryRun {
				a.ui.Say("%s: would remove %d files and %d folders; %s would become free. Nothing was written.", args[0], r.Names, r.Dirs, ui.Size(r.Freed))
			} else {
				if !a.ui.Confirm("Remove %d files and %d folders from %s?", r.Names, r.Dirs, args[0]) {
					return ui.Hint(fmt.Errorf("%w: nothing was removed", errRefused), "answer yes, or give --yes")
				}
				if err := r.Remove(c.Context()); err != nil {
					return err
				}
				a.ui.Say("%s: removed %d files and %d folders; %s became free.", args[0], r.Names, r.Dirs, ui.Size(r.Freed))
			}
			a.ui.Event("result", map[string]any{"target": args[0], "dryRun": dryRun, "files": r.Names, "dirs": r.Dirs, "bytes": r.Bytes, "freedBytes": r.Freed})
			return nil
		},
	}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, a.ui.T("remove folders with all that is below them"))
	c.Flags().BoolVar(&dryRun, "dry-run", false, a.ui.T("tell what would be done and write nothing"))
	return c
}
