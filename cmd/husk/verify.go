package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"husk/internal/ui"
	"husk/internal/verify"
)

func newVerify(a *app) *cobra.Command {
	o := &verify.Options{UI: a.ui}
	c := &cobra.Command{
		Use:   "verify FILE[:IMAGE]",
		Short: a.ui.T("Check a WIM, or a disk and every file on it, through its pointers; or compare it with its source"),
		Long: a.ui.T(`A WIM: every blob is read and its SHA-1 compared, the integrity table too if there is one. A disk: the structure of its NTFS
volume is checked, and every file is read, pointer files through the WIM they point into. With --against every file is
compared with a folder, image or disk: data, named streams, attributes, times, security, hard links, short names, reparse
points, object ids and extended attributes. The exit status is 3 if anything is damaged or different.`),
		Example: `  husk verify wimboot/wimboot.wim
  husk verify wimboot/x64/win7.vhd --against=wimboot/wimboot.wim:1
  husk verify x64/win7.vhd --wim=/backup/wimboot.wim --against=/mnt/windows`,
		Args: args(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Threads = a.threads
			r, err := verify.Run(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			return a.verified(args[0], r)
		},
	}
	c.Flags().StringArrayVar(&o.WIMs, "wim", nil, a.ui.T("look for the data of pointer files in this WIM `file`"))
	c.Flags().StringVar(&o.Against, "against", "", a.ui.T("compare with this `source`: a folder, or FILE[:IMAGE]"))
	c.Flags().StringVar(&o.Config, "config", "", a.ui.T("capture configuration `file` that the capture used: what it excludes is not compared"))
	return c
}

const maxShown = 50

func (a *app) verified(spec string, r *verify.Result) error {
	if a.ui.JSON {
		for _, p := range r.Problems {
			a.ui.Event("problem", map[string]any{"message": p})
		}
		a.ui.Event("result", map[string]any{
			"file": spec, "ok": len(r.Problems) == 0, "problems": r.Count, "names": r.Totals.Names, "dirs": r.Totals.Dirs, "bytes": r.Bytes,
			"pointers": r.Pointers, "pointerBytes": r.PointerBytes, "blobs": r.Blobs, "compared": r.Compared, "seconds": r.Elapsed.Seconds(),
		})
	} else {
		a.showVerified(spec, r)
	}
	if len(r.Problems) > 0 {
		return fmt.Errorf("%s: %w", spec, errDiffers)
	}
	return nil
}

func (a *app) showVerified(spec string, r *verify.Result) {
	for i, p := range r.Problems {
		if i == maxShown {
			a.ui.Say("… and %d more", r.Count-maxShown)
			break
		}
		a.ui.Say("%s", p)
	}
	t := a.ui.T
	var rows [][]string
	row := func(name string, files int, bytes int64) {
		rows = append(rows, []string{name, strconv.Itoa(files), ui.Size(bytes)})
	}
	if r.Blobs > 0 {
		row(t("contents read and hashed"), r.Blobs, r.Bytes)
	} else {
		row(t("files read"), r.Totals.Files, r.Bytes)
		row(t("of them through pointers"), r.Pointers, r.PointerBytes)
	}
	a.ui.Table([]string{"", t("files"), t("size")}, []ui.Align{ui.Left, ui.Right, ui.Right}, rows)
	switch {
	case r.Count > 0:
		a.ui.Say("%d problems found in %s.", r.Count, ui.Duration(r.Elapsed))
	case r.Compared:
		a.ui.Say("Everything is as in the source: %d names in %d folders compared in %s.", r.Totals.Names, r.Totals.Dirs, ui.Duration(r.Elapsed))
	default:
		a.ui.Say("No damage found in %s (%s/s).", ui.Duration(r.Elapsed), ui.Size(perSecond(r.Bytes, r.Elapsed)))
	}
}
