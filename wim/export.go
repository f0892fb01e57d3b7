package wim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"husk/guid"
	"husk/winfile"
)

// ExportOptions tells what becomes different of an image. The zero value changes nothing.
type ExportOptions struct {
	Name, Description *string     // nil: the image's own
	Boot              bool        // make it the image that boots
	Properties        [][2]string // elements and texts as [Writer.SetProperty] takes them
}

// ExportImage adds an image of another WIM: its metadata, byte for byte, its XML element with all that husk does not know, and
// the blobs that are not in the file yet. Resources of the same codec and chunk size are copied as they are stored, unless
// [WriterOptions.Recompress] is set; the SHA-1 of blobs that are copied so is compared only if [WriterOptions.CheckCopies] is
// set. Blobs that the image's file lacks are read from its references. If anything fails, the file is as if ExportImage had not
// been called.
func (w *Writer) ExportImage(ctx context.Context, img *Image, opts *ExportOptions) error {
	if opts == nil {
		opts = &ExportOptions{}
	}
	if err := w.ready(); err != nil {
		return err
	}
	e, err := exportElement(img, opts)
	if err != nil {
		return err
	}
	if err := w.checkName(e.text("NAME")); err != nil {
		return err
	}
	added, err := w.attempt(func() (*writerImage, error) { return w.copyImage(ctx, img) })
	if err != nil {
		return err
	}
	added.xml = e
	w.addImage(added)
	if opts.Boot {
		w.boot = len(w.images)
	}
	return nil
}

// exportElement makes the IMAGE element of an exported image.
func exportElement(img *Image, opts *ExportOptions) (*element, error) {
	e := img.xml.clone()
	set := func(path, text string) error {
		if err := checkProperty(path, text); err != nil {
			return err
		}
		if path == "NAME" {
			e.set(path, text)
			return nil
		}
		e.setPath(strings.Split(path, "/"), text)
		return nil
	}
	var errs []error
	if opts.Name != nil {
		errs = append(errs, set("NAME", *opts.Name))
	}
	if opts.Description != nil {
		errs = append(errs, set("DESCRIPTION", *opts.Description))
	}
	for _, p := range opts.Properties {
		errs = append(errs, set(p[0], p[1]))
	}
	return e, errors.Join(errs...)
}

// copyImage copies the blobs and the metadata of an image.
func (w *Writer) copyImage(ctx context.Context, img *Image) (*writerImage, error) {
	raw, err := img.rawMetadata()
	if err != nil {
		return nil, err
	}
	refs, err := img.references(raw)
	if err != nil {
		return nil, err
	}
	var missing error
	items, err := w.blobItems(w.referenced(img, refs, &missing))
	if err := errors.Join(missing, err); err != nil {
		return nil, err
	}
	var name func(*blobItem) string
	if w.opts.Solid {
		if name, err = nameBlobs(img); err != nil {
			return nil, err
		}
	}
	if err := w.writeBlobs(ctx, items, name); err != nil {
		return nil, err
	}
	added := &writerImage{refs: refs}
	return added, w.writeMetadataOf(ctx, img, raw, added)
}

// copyMetadata copies the metadata of an image.
func (w *Writer) copyMetadata(ctx context.Context, img *Image, to *writerImage) error {
	raw, err := img.rawMetadata()
	if err != nil {
		return err
	}
	return w.writeMetadataOf(ctx, img, raw, to)
}

// writeMetadataOf writes the metadata of an image, which is raw, as it is stored if that is possible.
func (w *Writer) writeMetadataOf(ctx context.Context, img *Image, raw []byte, to *writerImage) error {
	it := &blobItem{b: winfile.NewBlob(raw), metadata: to}
	if res := &img.metadata; !w.opts.Recompress && w.sameForm(img.r) && res.solid == nil {
		it.stored = &winfile.Blob{Size: res.stored, Content: (*rawContent)(img.r), Ref: res}
		it.packed, it.b.SHA1 = res.compressed, res.hash
	}
	return w.addMetadata(ctx, it)
}

// referenced yields the blobs with the hashes of refs that the image's file or its references have, in the order of their
// hashes, and puts an error about the others into missing.
func (w *Writer) referenced(img *Image, refs map[winfile.SHA1]uint32, missing *error) iter.Seq[wantedBlob] {
	return func(yield func(wantedBlob) bool) {
		lacks := 0
		for _, h := range slices.SortedFunc(maps.Keys(refs), func(a, b winfile.SHA1) int { return slices.Compare(a[:], b[:]) }) {
			b := img.r.Blob(h)
			if b == nil {
				if !w.known(h) {
					if lacks++; lacks == 1 {
						*missing = fmt.Errorf("wim: image %d: %w: %s", img.Index, img.r.errMissing(), h)
					}
				}
				continue
			}
			if !yield(wantedBlob{b: b}) {
				return
			}
		}
		if lacks > 1 {
			*missing = fmt.Errorf("%w, and %d more", *missing, lacks-1)
		}
	}
}

// Rebuild writes a new WIM into f with all images of r, and nothing that they do not need. Options that are not set are as r
// has them: codec (with it solid or not), chunk size if the codec stays, GUID, the image that boots, integrity table, marks. What pointer files say of
// places in r is wrong for the new file even though the GUID stays.
func Rebuild(ctx context.Context, f WriteTarget, r *Reader, opts *WriterOptions) (*Stats, error) {
	o := rebuildOptions(r, opts)
	w, err := Create(f, o)
	if err != nil {
		return nil, err
	}
	w.hdr.Flags |= r.hdr.Flags & (flagReadOnly | flagReparseFix)
	w.xml = r.xml.without("IMAGE")
	if err := w.exportAll(ctx, r); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	w.boot = o.BootIndex
	err = w.Close()
	return &w.stats, err
}

// exportAll exports all images of r.
func (w *Writer) exportAll(ctx context.Context, r *Reader) error {
	for _, i := range r.images {
		if err := w.ExportImage(ctx, i, nil); err != nil {
			return err
		}
	}
	return nil
}

// keepSolid makes a file solid as r is.
func (o *WriterOptions) keepSolid(r *Reader) {
	if codec, chunk, ok := r.Solid(); ok && !o.Solid {
		o.Solid, o.SolidCodec, o.SolidChunkSize = true, codec, chunk
	}
}

func rebuildOptions(r *Reader, opts *WriterOptions) *WriterOptions {
	var o WriterOptions
	if opts != nil {
		o = *opts
	}
	if o.Codec == Auto {
		o.Codec = r.codec
		o.keepSolid(r)
	}
	if o.ChunkSize == 0 && o.Codec == r.codec {
		o.ChunkSize = r.ChunkSize()
	}
	if o.GUID == (guid.GUID{}) {
		o.GUID = r.GUID()
	}
	if o.BootIndex == 0 {
		o.BootIndex = r.BootIndex()
	}
	o.Integrity = o.Integrity || r.HasIntegrity()
	return &o
}
