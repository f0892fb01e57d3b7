package wim

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"husk/guid"
	"husk/winfile"
)

// ImageCount is the number of images that the file will have.
func (w *Writer) ImageCount() int { return len(w.images) }

// ImageInfo is what the XML data will tell about image n, 1 being the first.
func (w *Writer) ImageInfo(n int) (ImageInfo, error) {
	i, err := w.image(n)
	if err != nil {
		return ImageInfo{}, err
	}
	return imageInfo(i.xml), nil
}

func (w *Writer) image(n int) (*writerImage, error) {
	if n < 1 || n > len(w.images) {
		return nil, fmt.Errorf("wim: no image %d among %d", n, len(w.images))
	}
	return w.images[n-1], nil
}

// DeleteImage takes image n out of the file: the ones behind it move up, and if it is the one that boots, none does. Its blobs
// stay where they are, those that no other image needs with a reference count of zero: writing the WIM anew ([Rebuild]) leaves
// them out.
func (w *Writer) DeleteImage(n int) error {
	if err := w.ready(); err != nil {
		return err
	}
	if _, err := w.image(n); err != nil {
		return err
	}
	w.images = slices.Delete(w.images, n-1, n)
	switch {
	case w.boot == n:
		w.boot = 0
	case w.boot > n:
		w.boot--
	}
	w.newTable, w.newXML, w.recount = true, true, true
	return nil
}

// ReplaceImage gives image n another tree, whose blobs are written as [Writer.AddImage] says. What the XML data tells about
// the image stays, but for the counts and the time of modification.
func (w *Writer) ReplaceImage(ctx context.Context, n int, t *winfile.Tree) error {
	if err := w.ready(); err != nil {
		return err
	}
	old, err := w.image(n)
	if err != nil {
		return err
	}
	p, err := newPlan(t)
	if err != nil {
		return err
	}
	img, err := w.attempt(func() (*writerImage, error) { return w.addPlan(ctx, p) })
	if err != nil {
		return err
	}
	img.xml = old.xml
	img.xml.set("DIRCOUNT", strconv.FormatInt(p.info.Dirs, 10))
	img.xml.set("FILECOUNT", strconv.FormatInt(p.info.Files, 10))
	img.xml.set("TOTALBYTES", strconv.FormatInt(p.info.TotalBytes, 10))
	img.xml.set("HARDLINKBYTES", strconv.FormatInt(p.info.HardLinkBytes, 10))
	img.xml.setTime("LASTMODIFICATIONTIME", winfile.FiletimeOf(w.opts.Time))
	w.images[n-1] = img
	w.newTable, w.newXML, w.recount = true, true, true
	return nil
}

// SetProperty sets the text of an element of image n's XML data, which is named by its path below IMAGE: "NAME",
// "WINDOWS/EDITIONID". An empty text removes the element, but for NAME, which stays without text. All other elements stay as
// they are, those that husk does not know, too.
func (w *Writer) SetProperty(n int, path, text string) error {
	if err := w.ready(); err != nil {
		return err
	}
	i, err := w.image(n)
	if err != nil {
		return err
	}
	if err := checkProperty(path, text); err != nil {
		return err
	}
	if path != "NAME" {
		i.xml.setPath(strings.Split(path, "/"), text)
		w.newXML = true
		return nil
	}
	if text != i.xml.text("NAME") {
		if err := w.checkName(text); err != nil {
			return err
		}
		i.xml.set("NAME", text)
		w.newXML = true
	}
	return nil
}

// Property returns the text of an element of image n's XML data, "" if there is none.
func (w *Writer) Property(n int, path string) string {
	i, err := w.image(n)
	if err != nil {
		return ""
	}
	return i.xml.text(strings.Split(path, "/")...)
}

// SetBootIndex makes image n the one that boots; 0 makes none.
func (w *Writer) SetBootIndex(n int) error {
	if n < 0 || n > len(w.images) {
		return fmt.Errorf("wim: boot index %d of %d images", n, len(w.images))
	}
	w.boot = n
	return nil
}

// SetReadOnly sets or clears the mark that asks not to modify the file; see [WriterOptions.Unlock].
func (w *Writer) SetReadOnly(on bool) { w.setFlag(flagReadOnly, on) }

// SetReparseFix sets or clears RP_FIX.
func (w *Writer) SetReparseFix(on bool) {
	w.opts.ReparseFix = false
	w.setFlag(flagReparseFix, on)
}

func (w *Writer) setFlag(f headerFlags, on bool) {
	if w.hdr.Flags &^= f; on {
		w.hdr.Flags |= f
	}
}

// SetGUID changes what the file is known by.
func (w *Writer) SetGUID(g guid.GUID) { w.hdr.GUID = g }

// countAgain counts the references of all images anew if an image was taken out. What is in a file may be wrong: WIMGAPI writes
// counts that are too low.
func (w *Writer) countAgain() error {
	if !w.recount {
		return nil
	}
	for _, i := range w.images {
		if i.refs != nil {
			continue
		}
		raw, err := i.old.rawMetadata()
		if err != nil {
			return err
		}
		if i.refs, err = i.old.references(raw); err != nil {
			return err
		}
	}
	for _, e := range w.order {
		e.RefCount = 0
	}
	for _, i := range w.images {
		for h, n := range i.refs {
			if e := w.table[h]; e != nil { // a delta WIM lacks some
				e.RefCount += n
			}
		}
	}
	return nil
}
