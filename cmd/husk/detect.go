package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/convert"
	"husk/internal/host"
	"husk/internal/ui"
)

func newDetect(a *app) *cobra.Command {
	var o convert.DetectOptions
	c := &cobra.Command{
		Use:   "detect [PATH...]",
		Short: a.ui.T("Find installed Windows systems on disks and in disk images"),
		Long: a.ui.T(`PATH is a disk, an image of one (VHD, VHDX, qcow2, raw), a WIM, or a folder with such files; without one, all disks of this machine and
the images in the current folder are looked at. Told is what each system says of itself, what its volume has free, whether it can be
changed (BitLocker, hibernation, a volume that was not dismounted), and what starts it. Nothing is written.`),
		Example: `  husk detect
  husk detect win7.vhd /mnt/images --json`,
		Args: args(0, 10000),
		RunE: func(c *cobra.Command, paths []string) error {
			start := time.Now()
			o.Warn = a.ui.Warn
			d, err := convert.Detect(c.Context(), paths, &o)
			if err != nil {
				return err
			}
			if a.ui.JSON {
				a.ui.Line(struct {
					*convert.Detection
					Seconds float64 `json:"seconds"`
				}{d, time.Since(start).Seconds()})
				return nil
			}
			a.tellDetection(d)
			if len(d.Disks) == 0 && len(d.WIMs) == 0 {
				return ui.Hint(errors.New("no disk and no disk image was found"), "name one: husk detect PATH")
			}
			return nil
		},
	}
	c.Flags().BoolVar(&o.Quick, "quick", false, a.ui.T("do not count files"))
	return c
}

func (a *app) tellDetection(d *convert.Detection) {
	t := a.ui.T
	firmware := map[host.Firmware]string{host.BIOS: "BIOS", host.UEFI: "UEFI"}[d.Machine.Firmware]
	if firmware != "" {
		a.ui.Say("This machine was started by %s.", firmware)
	}
	var disks, volumes [][]string
	for _, k := range d.Disks {
		disks = append(disks, []string{k.Path, ui.Size(k.Size), k.Format, k.Scheme, diskTraits(a, k.Host)})
		if k.Problem != "" {
			a.ui.Warn("%s", k.Problem)
		}
		for _, v := range k.Volumes {
			free, system := "", ""
			if v.FileSystem == "NTFS" {
				free = ui.Size(v.Free)
			}
			if v.System != nil {
				system = v.System.Title
			}
			volumes = append(volumes, []string{v.Spec, v.FileSystem, printable(v.Label), ui.Size(v.Size), free, system, volumeState(a, &v)})
			if v.Problem != "" {
				a.ui.Warn("%s: %s", v.Spec, v.Problem)
			}
		}
	}
	if len(disks) > 0 {
		a.ui.Table([]string{t("disk"), t("size"), t("form"), t("partition table"), ""}, []ui.Align{ui.Left, ui.Right}, disks)
	}
	if len(volumes) > 0 {
		a.ui.Table([]string{t("volume"), t("file system"), t("label"), t("size"), t("free"), t("Windows"), ""},
			[]ui.Align{ui.Left, ui.Left, ui.Left, ui.Right, ui.Right}, volumes)
	}
	for _, v := range d.Systems() {
		a.tellSystem(v)
	}
	var wims [][]string
	for _, w := range d.WIMs {
		if w.Problem != "" {
			a.ui.Warn("%s", w.Problem)
			continue
		}
		wims = append(wims, []string{w.Path, ui.Size(w.Size), printable(strings.Join(w.Images, ", "))})
	}
	if len(wims) > 0 {
		a.ui.Table([]string{"WIM", t("size"), t("images")}, []ui.Align{ui.Left, ui.Right}, wims)
	}
	a.ui.Say("Windows systems found: %d", len(d.Systems()))
}

// diskTraits is what a physical disk is like, in a few words.
func diskTraits(a *app, h *host.Disk) string {
	if h == nil {
		return ""
	}
	var w []string
	if h.Model != "" {
		w = append(w, printable(h.Model))
	}
	for _, trait := range []struct {
		has  bool
		word string
	}{{h.Rotational, "hard disk"}, {h.Removable, "removable"}, {h.ReadOnly, "read-only"}, {h.System, "this system's"}} {
		if trait.has {
			w = append(w, a.ui.T(trait.word))
		}
	}
	return strings.Join(w, ", ")
}

// volumeState is what stands in the way of changing a volume, and what it starts.
func volumeState(a *app, v *convert.Volume) string {
	var w []string
	for _, state := range []struct {
		is   bool
		word string
	}{{v.FileSystem == "BitLocker", "encrypted"}, {v.Hibernated, "hibernated"}, {v.Dirty, "to be checked"}, {v.Unclean, "not dismounted"}} {
		if state.is {
			w = append(w, a.ui.T(state.word))
		}
	}
	for _, b := range v.Boot {
		w = append(w, a.ui.T("boot store for %s", strings.ToUpper(string(b.Firmware))))
	}
	return strings.Join(w, ", ")
}

func (a *app) tellSystem(v *convert.Volume) {
	t, s := a.ui.T, v.System
	rows := [][]string{
		{t("system"), printable(s.Title)}, {t("volume"), v.Spec}, {t("version"), s.Version}, {t("edition"), printable(s.Edition)},
		{t("languages"), printable(strings.Join(s.Languages, ", "))},
	}
	overlay := t("none: it does not read pointer files")
	switch {
	case s.Overlay != "":
		overlay = s.Overlay
	case s.Pointers:
		overlay = "wof.sys"
	}
	rows = append(rows, []string{t("overlay driver"), overlay})
	if len(s.Updates) > 0 {
		rows = append(rows, []string{t("updates that matter"), strings.Join(s.Updates, ", ")})
	}
	if f := s.Files; f != nil {
		rows = append(rows, []string{t("plain files"), count(f.Plain, f.PlainBytes)}, []string{t("pointer files"), count(f.Pointers, f.PointerBytes)},
			[]string{t("compact files"), count(f.Compact, f.CompactBytes)})
	}
	a.ui.Say("")
	a.ui.List(rows)
}

func count(files int, bytes int64) string { return strconv.Itoa(files) + " (" + ui.Size(bytes) + ")" }
