package wimedit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"husk/internal/atomicfile"
	"husk/internal/ui"
	"husk/wim"
)

// Split writes a WIM as parts of at most size bytes, the first of which is called first. None of them has its name before all are
// complete.
func Split(ctx context.Context, name, first string, size int64, o *Options) (_ *Result, err error) {
	start := time.Now()
	r, closeAll, err := Open(name, o.Refs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	parts, err := wim.PlanSplit(r, size)
	if err != nil {
		return nil, err
	}
	res := &Result{DryRun: o.DryRun, Images: names(r.Images()), Parts: len(parts)}
	var targets []string
	var total int64
	for n := range parts {
		targets = append(targets, wim.PartName(first, n+1))
		if err := atomicfile.Check(targets[n], o.Overwrite); err != nil {
			return nil, err
		}
		total += blobBytes(parts[n].Blobs)
	}
	if o.DryRun {
		return res, nil
	}
	var files []*atomicfile.File
	defer func() {
		for _, f := range files {
			f.Abort()
		}
	}()
	p := o.UI.Start("split", total)
	so := &wim.SplitOptions{Workers: o.Threads, Integrity: o.Check, Progress: func(done int64) { p.Set(done, total) }}
	err = wim.Split(ctx, r, parts, func(part int) (wim.WriteTarget, error) {
		f, err := atomicfile.Create(targets[part-1], o.Overwrite)
		if err == nil {
			files = append(files, f)
		}
		return f, err
	}, func(int) error { return nil }, so)
	p.Done()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := f.Commit(); err != nil {
			return nil, err
		}
	}
	return res, res.finish(start, targets...)
}

// Join writes the parts of a split WIM as one file. One part, the first, is enough if the others are beside it.
func Join(ctx context.Context, target string, parts []string, o *Options) (_ *Result, err error) {
	start := time.Now()
	var r *wim.Reader
	if len(parts) == 1 {
		r, err = wim.OpenParts(parts[0])
	} else {
		r, err = wim.OpenSet(parts...)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if _, of := r.Part(); of == 1 {
		return nil, ui.Usage(fmt.Errorf("%s is not a part of a split WIM", parts[0]))
	}
	_, of := r.Part()
	res := &Result{DryRun: o.DryRun, Images: names(r.Images()), Parts: of}
	if err := atomicfile.Check(target, o.Overwrite || o.DryRun); err != nil {
		return nil, err
	}
	if o.DryRun {
		return res, nil
	}
	f, err := atomicfile.Create(target, o.Overwrite)
	if err != nil {
		return nil, err
	}
	defer f.Abort()
	wo, err := o.writerOptions(r)
	if err != nil {
		return nil, err
	}
	total := plainBytes(r.Images())
	p := o.UI.Start("join", total)
	wo.Progress = func(done int64) { p.Set(done, total) }
	stats, err := wim.Rebuild(ctx, f, r, wo)
	p.Done()
	if err != nil {
		return nil, err
	}
	res.Stats = *stats
	if err := f.Commit(); err != nil {
		return nil, err
	}
	return res, res.finish(start, target)
}
