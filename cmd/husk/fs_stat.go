package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/describe"
	"husk/internal/place"
	"husk/internal/ui"
)

func newStat(a *app) *cobra.Command {
	var extents bool
	c := &cobra.Command{
		Use:   "stat FILE[:IMAGE] PATH...",
		Short: a.ui.T("Tell everything that is stored of a file, and where its bytes are"),
		Long: a.ui.T(`Times, attributes, all names, named streams, access rights as SDDL, reparse point, object id, extended attributes; and whether the
data is in the file's record, in clusters, compressed beside it, or in a WIM and where there.`),
		Example: `  husk fs stat x64/win7.vhd /Windows/System32/ntdll.dll
  husk fs stat --json wimboot.wim:1 /Users "/Documents and Settings"`,
		Args: args(1, 1000),
		RunE: func(c *cobra.Command, args []string) error {
			paths := args[1:]
			if len(paths) == 0 {
				paths = []string{"/"}
			}
			s, m, err := a.openRaw(c, args[0], paths...)
			if err != nil {
				return err
			}
			defer s.Close()
			for i, path := range paths {
				e, name, err := lookup(s, path)
				if err != nil {
					return err
				}
				f := describe.Of(s, m, name, e)
				if a.ui.JSON {
					a.ui.Line(f)
					continue
				}
				if i > 0 {
					fmt.Fprintln(a.ui.Raw())
				}
				a.showStat(f, extents)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&extents, "extents", false, a.ui.T("list every run of clusters"))
	return c
}

// showStat prints a description in two columns.
func (a *app) showStat(f *describe.File, extents bool) {
	t := a.ui.T
	var rows [][2]string
	add := func(name, format string, args ...any) {
		rows = append(rows, [2]string{name, printable(fmt.Sprintf(format, args...))})
	}
	add(t("path"), "%s", f.Path)
	add(t("type"), "%s", t(f.Type))
	add(t("size"), "%s", bytesWords(a, f.Size))
	var words []string
	for _, w := range f.Attributes {
		words = append(words, t(w))
	}
	add(t("attributes"), "%s (%#x)", strings.Join(words, t(", ")), f.Bits)
	for _, x := range []struct {
		name string
		time *time.Time
	}{{t("created"), f.Created}, {t("written"), f.Written}, {t("accessed"), f.Accessed}, {t("changed"), f.Changed}} {
		if x.time != nil {
			add(x.name, "%s", x.time.Format("2006-01-02 15:04:05.0000000 UTC"))
		}
	}
	if f.ShortName != "" {
		add(t("short name"), "%s", f.ShortName)
	}
	if f.ID != 0 {
		add(t("record"), "%d", f.ID)
	}
	add(t("links"), "%d", f.Links)
	for _, n := range f.Names {
		add("", "%s", n)
	}
	if f.Data != nil {
		a.dataRows(f.Data, extents, add)
	}
	for _, s := range f.Streams {
		where := t("%s on the disk", ui.Size(s.OnDisk))
		if s.Resident {
			where = t("in the record")
		}
		add(t("stream"), "%s: %s, %s", s.Name, bytesWords(a, s.Size), where)
	}
	if r := f.Reparse; r != nil {
		add(t("reparse point"), "%s", strings.TrimRight(fmt.Sprintf("%s (%s, %d B) %s", t(r.Name), r.Tag, r.Bytes, r.Detail), " "))
		if r.Target != "" {
			add(t("target"), "%s", r.Target)
		}
	}
	if f.SDDL != "" {
		add(t("security"), "%s", f.SDDL)
	} else if f.Security != "" {
		add(t("security"), "%s", f.Security)
	}
	if o := f.ObjectID; o != nil {
		add(t("object id"), "%s", o.ID)
		if o.BirthVolume != "" {
			add(t("born with"), "%s %s %s", o.BirthVolume, o.BirthObject, o.Domain)
		}
	}
	for _, ea := range f.EAs {
		add(t("extended attribute"), "%s = %s", ea.Name, ea.Value)
	}
	if u := f.Unix; u != nil {
		add("UNIX", "uid %d gid %d mode %s", u.UID, u.GID, u.Mode)
	}
	a.fields(rows)
	for _, p := range f.Problems {
		a.ui.Warn("%s: %s", f.Path, p)
	}
}

// dataRows tells where the data is.
func (a *app) dataRows(d *describe.Data, extents bool, add func(name, format string, args ...any)) {
	t := a.ui.T
	switch {
	case d.WIM != nil && d.WIM.DataSource != nil:
		path := d.WIM.Path
		if !d.WIM.Known {
			path = t("a WIM that WimOverlay.dat does not have")
		}
		add(t("data"), "%s", t("in the WIM %s, data source %d", path, *d.WIM.DataSource))
	case d.WIM != nil:
		add(t("data"), "%s", t("in the WIM %s", d.WIM.Path))
	case d.Where == place.Compact:
		add(t("data"), "%s", t("compact, %s, %s on the disk in %d fragments", d.Algorithm, ui.Size(d.OnDisk), d.Fragments))
	case d.Resident:
		add(t("data"), "%s", t("in the record"))
	case d.Where == place.Away:
		add(t("data"), "%s", t("behind a reparse point; %s on the disk", ui.Size(d.OnDisk)))
	case len(d.Extents) > 0:
		add(t("data"), "%s", t("%s on the disk in %d fragments", ui.Size(d.OnDisk), d.Fragments))
	default:
		add(t("data"), "%s", t("%s on the disk", ui.Size(d.OnDisk)))
	}
	if d.WIM != nil {
		add(t("offset"), "%d", d.WIM.Offset)
		if d.WIM.GUID != "" {
			add("GUID", "%s", d.WIM.GUID)
		}
	}
	if d.Stored > 0 {
		add(t("stored size"), "%s", bytesWords(a, d.Stored))
	}
	if d.SHA1 != "" {
		add("SHA-1", "%s", d.SHA1)
	}
	if !extents {
		return
	}
	for _, e := range d.Extents {
		lcn := strconv.FormatInt(e.LCN, 10)
		if e.LCN < 0 {
			lcn = t("hole")
		}
		add("", "VCN %d: %s + %d", e.VCN, lcn, e.Clusters)
	}
}

// bytesWords is a size for people with the exact number where that differs.
func bytesWords(a *app, n int64) string {
	if n < 1024 {
		return ui.Size(n)
	}
	return a.ui.T("%s (%d bytes)", ui.Size(n), n)
}
