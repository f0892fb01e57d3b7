package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/guid"
	"husk/internal/disk"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

func newInfo(a *app) *cobra.Command {
	var xml bool
	c := &cobra.Command{
		Use:   "info FILE [IMAGE]",
		Short: a.ui.T("Tell what a WIM, ISO image, VHD, disk image or volume holds"),
		Example: `  husk info wimboot/wimboot.wim
  husk info wimboot/x64/win7.vhd
  husk info win.iso
  husk info --xml wimboot/wimboot.wim`,
		Args: args(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			path, image := source.Split(args[0])
			if len(args) > 1 {
				image = args[1]
			}
			if st, err := os.Stat(path); err != nil {
				return err
			} else if st.IsDir() {
				return fmt.Errorf("%s is a folder; info is for WIMs and disks", path)
			}
			if !source.IsWIM(path) {
				if source.IsDisc(path) {
					return a.discInfo(path, image, xml)
				}
				if xml || image != "" {
					return ui.Usage(fmt.Errorf("%s is no WIM: it has no images and no XML", path))
				}
				return a.diskInfo(c, path)
			}
			r, err := wim.Open(path)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			defer r.Close()
			return a.readWIMInfo(path, image, r, xml)
		},
	}
	c.Flags().BoolVar(&xml, "xml", false, a.ui.T("print the XML data of the WIM as it is"))
	return c
}

// readWIMInfo tells of a WIM or one of its images, or prints its XML.
func (a *app) readWIMInfo(path, image string, r *wim.Reader, xml bool) error {
	for _, p := range r.Problems() {
		a.ui.Warn("%s: %s", path, p)
	}
	if xml {
		if a.ui.JSON {
			a.ui.Line(map[string]any{"file": path, "type": "wim", "xml": r.XML()})
			return nil
		}
		_, err := fmt.Fprintln(a.ui.Raw(), r.XML())
		return err
	}
	images := r.Images()
	if image != "" {
		i, err := source.FindImage(r, path, image)
		if err != nil {
			return err
		}
		images = []*wim.Image{i}
	}
	return a.wimInfo(path, r, images)
}

type jsonImage struct {
	Index int `json:"index"`
	wim.ImageInfo
}

// wimInfo tells of a WIM and its images.
func (a *app) wimInfo(path string, r *wim.Reader, images []*wim.Image) error {
	part, parts := r.Part()
	if a.ui.JSON {
		list := make([]jsonImage, len(images))
		for i, img := range images {
			list[i] = jsonImage{img.Index, img.Info()}
		}
		a.ui.Line(map[string]any{
			"file": path, "type": "wim", "bytes": r.Size(), "guid": r.GUID().String(), "compression": r.Codec().String(), "chunkSize": r.ChunkSize(),
			"version": r.Version(), "part": part, "parts": parts, "bootIndex": r.BootIndex(), "integrity": r.HasIntegrity(),
			"blobs": len(r.Blobs()), "images": list,
		})
		return nil
	}
	t := a.ui.T
	integrity := t("none")
	if r.HasIntegrity() {
		integrity = t("present")
	}
	boot := t("none")
	if r.BootIndex() > 0 {
		boot = strconv.Itoa(r.BootIndex())
	}
	a.fields([][2]string{
		{t("file"), path}, {t("size"), ui.Size(r.Size())}, {t("GUID"), r.GUID().String()},
		{t("compression"), compression(r)}, {t("part"), fmt.Sprintf("%d/%d", part, parts)},
		{t("contents"), strconv.Itoa(len(r.Blobs()))}, {t("boot image"), boot}, {t("integrity table"), integrity},
	})
	var rows [][]string
	for _, img := range images {
		i := img.Info()
		mark := ""
		if i.WIMBoot {
			mark = "WIMBoot"
		}
		rows = append(rows, []string{
			strconv.Itoa(img.Index), i.Name, strconv.FormatInt(i.Files, 10), strconv.FormatInt(i.Dirs, 10),
			ui.Size(i.TotalBytes - i.HardLinkBytes), i.Created.Local().Format(time.DateTime), mark, windowsName(i.Windows), i.Description,
		})
	}
	a.ui.Table([]string{t("image"), t("name"), t("files"), t("folders"), t("size"), t("created"), "", t("Windows"), t("description")},
		[]ui.Align{ui.Right, ui.Left, ui.Right, ui.Right, ui.Right}, rows)
	return nil
}

func compression(r *wim.Reader) string {
	if r.ChunkSize() == 0 {
		return r.Codec().String()
	}
	return fmt.Sprintf("%s, %s", r.Codec(), ui.Size(int64(r.ChunkSize())))
}

// windowsName says which Windows an image is, as far as its XML tells.
func windowsName(w *wim.WindowsInfo) string {
	if w == nil {
		return ""
	}
	arch := map[int]string{0: "x86", 5: "arm", 6: "ia64", 9: "x64", 12: "arm64"}[w.Arch]
	return strings.TrimSpace(fmt.Sprintf("%s %d.%d.%d %s", arch, w.Major, w.Minor, w.Build, w.EditionID))
}

func (a *app) fields(list [][2]string) {
	rows := make([][]string, len(list))
	for i, f := range list {
		rows[i] = f[:]
	}
	a.ui.List(rows)
}

// diskInfo tells of a disk, its partitions, and what its volumes point to.
func (a *app) diskInfo(c *cobra.Command, path string) error {
	d, err := disk.Open(path)
	if err != nil { // a disk without anything on it still has a form and a size
		empty, openErr := disk.OpenAny(path)
		if openErr != nil {
			return err
		}
		if empty.Container() == nil {
			return errors.Join(err, empty.Close())
		}
		a.ui.Warn("%s", err)
		d = empty
	}
	defer d.Close()
	volumes := make([]*volumeInfo, len(d.Partitions))
	for i := range d.Partitions {
		if p := &d.Partitions[i]; p.NTFS {
			if volumes[i], err = readVolume(c, d, p); err != nil {
				a.ui.Warn("%s: partition %d: %s", path, p.Number, err)
			}
		}
	}
	id := ""
	switch d.Scheme {
	case disk.MBR:
		id = fmt.Sprintf("%08x", d.Signature)
	case disk.GPT:
		id = d.GUID.String()
	}
	if a.ui.JSON {
		return a.diskJSON(d, id, volumes)
	}
	t := a.ui.T
	fields := [][2]string{{t("file"), path}, {t("form"), d.Format}, {t("size"), ui.Size(d.Size())}}
	if v := d.Container(); v != nil {
		fields = append(fields, [2]string{t("size of the file"), ui.Size(v.FileSize)})
		if v.Creator != "" {
			fields = append(fields, [2]string{t("creator"), v.Creator})
		}
		if v.Parent != "" {
			fields = append(fields, [2]string{t("parent disk"), v.Parent})
		}
		for _, n := range v.Notes {
			a.ui.Warn("%s: %s", path, n)
		}
	}
	fields = append(fields, [2]string{t("partition table"), d.Scheme.String()})
	if id != "" {
		fields = append(fields, [2]string{t("disk identity"), id})
	}
	a.fields(fields)
	var rows [][]string
	for i, p := range d.Partitions {
		row := []string{strconv.Itoa(p.Number), strconv.FormatInt(p.Offset, 10), ui.Size(p.Size), p.Type, "", "", "", "", ""}
		if v := volumes[i]; v != nil {
			row[4], row[5], row[6] = v.label, strconv.Itoa(v.totals.Names), strconv.Itoa(v.pointers)
			row[7], row[8] = ui.Size(v.pointerBytes), strconv.Itoa(v.compact)
		}
		rows = append(rows, row)
	}
	a.ui.Table([]string{t("partition"), t("offset"), t("size"), t("type"), t("label"), t("files"), t("pointers"), t("size behind them"), t("compact files")},
		[]ui.Align{ui.Right, ui.Right, ui.Right, ui.Left, ui.Left, ui.Right, ui.Right, ui.Right, ui.Right}, rows)
	for _, v := range volumes {
		if v == nil || v.overlay == nil {
			continue
		}
		for _, e := range v.overlay.Entries() {
			a.ui.Say("Data source %d: %s, WIM %s, image %d", e.DataSourceID, e.Location, e.GUID, e.ImageIndex)
		}
	}
	return nil
}

func (a *app) diskJSON(d *disk.Disk, id string, volumes []*volumeInfo) error {
	var parts []map[string]any
	for i, p := range d.Partitions {
		m := map[string]any{"number": p.Number, "offset": p.Offset, "bytes": p.Size, "type": p.Type, "active": p.Active}
		if p.GUID != (guid.GUID{}) {
			m["guid"], m["name"] = p.GUID.String(), p.Name
		}
		if v := volumes[i]; v != nil {
			m["label"], m["names"], m["dirs"], m["pointers"], m["pointerBytes"] = v.label, v.totals.Names, v.totals.Dirs, v.pointers, v.pointerBytes
			m["compact"] = v.compact
			if v.overlay != nil {
				var sources []map[string]any
				for _, e := range v.overlay.Entries() {
					sources = append(sources, map[string]any{"id": e.DataSourceID, "guid": e.GUID.String(), "image": e.ImageIndex,
						"path": e.Location.Path, "location": e.Location.String()})
				}
				m["dataSources"] = sources
			}
		}
		parts = append(parts, m)
	}
	line := map[string]any{"file": d.Path, "type": "disk", "format": d.Format, "bytes": d.Size(), "scheme": d.Scheme.String(), "id": id, "partitions": parts}
	if v := d.Container(); v != nil {
		line["fileBytes"] = v.FileSize
	}
	a.ui.Line(line)
	return nil
}

// volumeInfo is what info tells of an NTFS volume.
type volumeInfo struct {
	label        string
	totals       winfile.Totals
	pointers     int
	pointerBytes int64
	compact      int
	overlay      *wof.Overlay
}

func readVolume(c *cobra.Command, d *disk.Disk, p *disk.Partition) (*volumeInfo, error) {
	v, err := ntfs.NewReader(d.Section(p), p.Size)
	if err != nil {
		return nil, err
	}
	t, err := v.Tree(c.Context())
	if err != nil {
		return nil, err
	}
	i := &volumeInfo{label: v.Label, totals: t.Totals()}
	seen := make(map[*winfile.Info]struct{})
	for _, e := range t.All() {
		if e.Info.Reparse == nil || e.Info.Reparse.Tag != winfile.TagWOF {
			continue
		}
		if _, ok := seen[e.Info]; ok {
			continue
		}
		seen[e.Info] = struct{}{}
		if provider, err := wof.ProviderOf(e.Info.Reparse); err == nil && provider == wof.ProviderFile {
			i.compact++
			continue
		}
		i.pointers++
		i.pointerBytes += e.Info.Size()
	}
	i.overlay, err = wof.ReadOverlay(t)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return i, err
}
