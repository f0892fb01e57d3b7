package wimedit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"husk/internal/atomicfile"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/wim"
	"husk/winfile"
)

// Export tells what export does beside Options.
type Export struct {
	Name, Description string // of one image; "" means its own
	Boot              bool   // the image boots; with several, the one that does in the source
	Wimboot           bool   // XPRESS in 4 KiB chunks, and the images are marked for pointers
	Pipable           bool
	DeltaFrom         []string // WIMs whose blobs are not stored again
}

// Run adds images of a WIM, spec being FILE[:IMAGE], to another one, in place, or to a new one. A target "-" is the standard
// output, and pipable.
func (x *Export) Run(ctx context.Context, spec, target string, o *Options) (_ *Result, err error) {
	start := time.Now()
	path, selector := source.Split(spec)
	r, closeAll, err := Open(path, o.Refs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	images, err := pick(r, path, selector)
	if err != nil {
		return nil, err
	}
	if len(images) > 1 && (x.Name != "" || x.Description != "") {
		return nil, ui.Usage(fmt.Errorf("%d images cannot all have one name", len(images)))
	}
	res := &Result{DryRun: o.DryRun, Images: names(images)}
	wo, err := o.writerOptions(r)
	if err != nil {
		return nil, err
	}
	if o.Compress == "" && wo.Codec == wim.LZMS {
		wo.Codec, wo.ChunkSize = wim.LZX, 0 // what every Windows reads
	}
	wo.Solid = false
	if x.Wimboot && o.Compress == "" {
		wo.Codec, wo.ChunkSize = wim.XPRESS, 4096
		if o.ChunkSize != 0 {
			wo.ChunkSize = o.ChunkSize
		}
	}
	if !o.Check {
		wo.Integrity = false
	}
	have, closeBases, err := bases(x.DeltaFrom)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeBases()) }()
	wo.Have = have
	total := plainBytes(images)
	_, err = os.Stat(target)
	exists := err == nil && target != "-"
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if o.DryRun {
		return res, nil
	}
	p := o.UI.Start("export", total)
	defer p.Done()
	wo.Progress = func(done int64) { p.Set(done, total) }
	switch {
	case x.Pipable || target == "-":
		err = x.pipe(ctx, r, images, target, wo, o, res)
	case exists:
		err = x.add(ctx, r, images, target, wo, o, res)
	default:
		err = x.create(ctx, r, images, target, wo, res)
	}
	if err != nil || target == "-" {
		res.Elapsed = time.Since(start)
		return res, err
	}
	return res, res.finish(start, target)
}

// bases opens the WIMs that a delta is made against.
func bases(names []string) (have func(winfile.SHA1) bool, closeAll func() error, err error) {
	var list []*wim.Reader
	closeAll = func() error {
		var errs []error
		for _, r := range list {
			errs = append(errs, r.Close())
		}
		return errors.Join(errs...)
	}
	for _, name := range names {
		r, err := wim.Open(name)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s: %w", name, err), closeAll())
		}
		list = append(list, r)
	}
	if len(list) == 0 {
		return nil, closeAll, nil
	}
	return func(h winfile.SHA1) bool {
		for _, r := range list {
			if r.Has(h) {
				return true
			}
		}
		return false
	}, closeAll, nil
}

// of is what becomes different of an image.
func (x *Export) of(r *wim.Reader, i *wim.Image, several bool) *wim.ExportOptions {
	e := &wim.ExportOptions{Boot: x.Boot && (!several || r.BootIndex() == i.Index)}
	if x.Name != "" {
		e.Name = &x.Name
	}
	if x.Description != "" {
		e.Description = &x.Description
	}
	if x.Wimboot {
		e.Properties = append(e.Properties, [2]string{"WIMBOOT", "1"})
	}
	return e
}

func (x *Export) addAll(ctx context.Context, w *wim.Writer, r *wim.Reader, images []*wim.Image) error {
	for _, i := range images {
		if err := w.ExportImage(ctx, i, x.of(r, i, len(images) > 1)); err != nil {
			return err
		}
	}
	return nil
}

func (x *Export) create(ctx context.Context, r *wim.Reader, images []*wim.Image, target string, wo *wim.WriterOptions, res *Result) error {
	f, err := atomicfile.Create(target, false)
	if err != nil {
		return err
	}
	defer f.Abort()
	wo.ReparseFix = r.ReparseFix()
	w, err := wim.Create(f, wo)
	if err != nil {
		return err
	}
	if err := x.addAll(ctx, w, r, images); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	res.Stats = w.Stats()
	return f.Commit()
}

func (x *Export) add(ctx context.Context, r *wim.Reader, images []*wim.Image, target string, wo *wim.WriterOptions, o *Options, res *Result) (err error) {
	e, err := openEdit(target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if o.Compress == "" && !x.Wimboot {
		wo.Codec, wo.ChunkSize = wim.Auto, 0
	}
	res.Before = e.size
	w, err := e.change(wo, func(w *wim.Writer) error { return x.addAll(ctx, w, r, images) })
	if err != nil {
		return err
	}
	res.Stats = w.Stats()
	return nil
}

func (x *Export) pipe(ctx context.Context, r *wim.Reader, images []*wim.Image, target string, wo *wim.WriterOptions, o *Options, res *Result) error {
	var list []wim.PipeImage
	for n, i := range images {
		list = append(list, wim.PipeImage{Image: i, Export: x.of(r, i, len(images) > 1)})
		if list[n].Export.Boot {
			wo.BootIndex = n + 1
		}
	}
	wo.ReparseFix = r.ReparseFix()
	if target == "-" {
		stats, err := wim.WritePipe(ctx, o.UI.Raw(), list, wo)
		if stats != nil {
			res.Stats = *stats
		}
		return err
	}
	f, err := atomicfile.Create(target, o.Overwrite)
	if err != nil {
		return err
	}
	defer f.Abort()
	stats, err := wim.WritePipe(ctx, io.NewOffsetWriter(f, 0), list, wo)
	if err != nil {
		return err
	}
	res.Stats = *stats
	return f.Commit()
}
