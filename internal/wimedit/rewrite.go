package wimedit

import (
	"context"
	"errors"
	"io"
	"time"

	"husk/internal/atomicfile"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/wim"
)

// Optimize writes a WIM anew without what no image needs, in the form that o asks for.
func Optimize(ctx context.Context, name string, pipable bool, o *Options) (_ *Result, err error) {
	start := time.Now()
	e, err := openEdit(name)
	if err != nil {
		return nil, err
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, e.Close())
		}
	}()
	res := &Result{DryRun: o.DryRun, Images: names(e.old.Images()), Before: e.size}
	wo, err := o.writerOptions(e.old)
	if err != nil || o.DryRun {
		return res, err
	}
	err = e.rewrite(ctx, o, "optimize", func(f *atomicfile.File, p *ui.Progress) error {
		total := plainBytes(e.old.Images())
		wo.Progress = func(done int64) { p.Set(done, total) }
		var stats *wim.Stats
		var err error
		if pipable {
			wo.Integrity, wo.Solid = o.Check, false
			stats, err = wim.RebuildPipe(ctx, io.NewOffsetWriter(f, 0), e.old, wo)
		} else {
			stats, err = rebuild(ctx, f, e.old, wo, o.NoCheck)
		}
		if stats != nil {
			res.Stats = *stats
		}
		return err
	})
	closed = e.unlock == nil
	if err != nil {
		return nil, err
	}
	return res, res.finish(start, name)
}

func rebuild(ctx context.Context, f wim.WriteTarget, r *wim.Reader, wo *wim.WriterOptions, noCheck bool) (*wim.Stats, error) {
	wo.NoIntegrity = noCheck
	return wim.Rebuild(ctx, f, r, wo)
}

// Delete takes an image out of a WIM. With rebuild the file is then written anew, without what only that image needed.
func Delete(ctx context.Context, name, selector string, compact bool, o *Options) (_ *Result, err error) {
	start := time.Now()
	e, err := openEdit(name)
	if err != nil {
		return nil, err
	}
	images, err := deleted(e.old, name, selector)
	res := &Result{DryRun: o.DryRun, Images: names(images), Before: e.size}
	if err != nil || o.DryRun {
		return res, errors.Join(err, e.Close())
	}
	wo := &wim.WriterOptions{Workers: o.Threads, Integrity: o.Check, NoIntegrity: o.NoCheck}
	_, err = e.change(wo, func(w *wim.Writer) error {
		for n := len(images) - 1; n >= 0; n-- {
			if err := w.DeleteImage(images[n].Index); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, e.Close()); err != nil {
		return nil, err
	}
	if compact {
		again, err := Optimize(ctx, name, false, o)
		if err != nil {
			return nil, err
		}
		res.Stats = again.Stats
	}
	return res, res.finish(start, name)
}

func deleted(r *wim.Reader, name, selector string) ([]*wim.Image, error) {
	if selector == "all" {
		return r.Images(), nil
	}
	i, err := source.FindImage(r, name, selector)
	if err != nil {
		return nil, err
	}
	return []*wim.Image{i}, nil
}
