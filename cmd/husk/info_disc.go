package main

import (
	"strconv"

	"husk/internal/source"
	"husk/internal/ui"
	"husk/wim"
)

// discInfo tells of an ISO image and the WIMs on it, or of the one WIM or image that selector names.
func (a *app) discInfo(path, selector string, xml bool) error {
	d, err := source.OpenDisc(path)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, w := range d.Warnings {
		a.ui.Warn("%s: %s", path, w)
	}
	if selector != "" || xml {
		name, image, err := d.Find(selector)
		if err != nil {
			return err
		}
		r, err := d.OpenWIM(name)
		if err != nil {
			return err
		}
		return a.readWIMInfo(path+":"+name, image, r, xml)
	}
	wims := make(map[string]*wim.Reader)
	var names []string
	for _, name := range d.WIMs() {
		r, err := d.OpenWIM(name)
		if err != nil {
			a.ui.Warn("%s", err)
			continue
		}
		wims[name], names = r, append(names, name)
	}
	totals := d.Tree.Totals()
	if a.ui.JSON {
		list := []map[string]any{}
		for _, name := range names {
			var images []jsonImage
			for _, img := range wims[name].Images() {
				images = append(images, jsonImage{img.Index, img.Info()})
			}
			list = append(list, map[string]any{"path": name, "bytes": wims[name].Size(), "images": images})
		}
		a.ui.Line(map[string]any{"file": path, "type": "iso", "format": d.Format, "label": d.Label, "bytes": d.Size,
			"names": totals.Names, "dirs": totals.Dirs, "wims": list})
		return nil
	}
	t := a.ui.T
	a.fields([][2]string{
		{t("file"), path}, {t("form"), d.Format}, {t("label"), d.Label}, {t("size"), ui.Size(d.Size)}, {t("files"), strconv.Itoa(totals.Names)},
	})
	for _, name := range names {
		if err := a.wimInfo(path+":"+name, wims[name], wims[name].Images()); err != nil {
			return err
		}
	}
	return nil
}
