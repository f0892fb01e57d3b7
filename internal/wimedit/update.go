package wimedit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"husk/internal/archive"
	"husk/internal/source"
	"husk/internal/tree"
	"husk/wim"
	"husk/winfile"
)

// Update runs commands on the image that spec, FILE[:IMAGE], names. All of them are done, or none. With
// compact the file is then written anew.
func Update(ctx context.Context, spec string, commands []wim.UpdateCommand, config string, compact bool, o *Options) (_ *Result, err error) {
	start := time.Now()
	name, selector := source.Split(spec)
	res, err := updateImage(ctx, name, selector, commands, config, o)
	if err != nil || o.DryRun {
		return res, err
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

func updateImage(ctx context.Context, name, selector string, commands []wim.UpdateCommand, config string, o *Options) (_ *Result, err error) {
	e, err := openEdit(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	img, err := source.FindImage(e.old, name, selector)
	if err != nil {
		return nil, err
	}
	t, err := img.Tree()
	if err != nil && !errors.Is(err, wim.ErrMissing) { // of a delta WIM the rest can be changed all the same
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	u := &update{ctx: ctx, t: t, name: name, config: config, o: o, known: e.old.Blob}
	defer func() { err = errors.Join(err, u.close()) }()
	for n := range commands {
		if err := u.run(&commands[n]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	res := &Result{DryRun: o.DryRun, Images: []string{img.Name()}, Before: e.size}
	if o.DryRun {
		return res, nil
	}
	total := t.Totals().Bytes
	p := o.UI.Start("update", total)
	defer p.Done()
	wo := &wim.WriterOptions{Workers: o.Threads, Integrity: o.Check, NoIntegrity: o.NoCheck, Progress: func(done int64) { p.Set(done, total) }}
	wo.Have = missingIn(e.old, t)
	w, err := e.change(wo, func(w *wim.Writer) error { return w.ReplaceImage(ctx, img.Index, t) })
	if err != nil {
		return nil, err
	}
	res.Stats = w.Stats()
	return res, nil
}

// missingIn tells of the contents that a delta WIM lacks: they stay in its base. Nil if it lacks none.
func missingIn(r *wim.Reader, t *winfile.Tree) func(winfile.SHA1) bool {
	lacks := make(map[winfile.SHA1]bool)
	for _, e := range t.All() {
		for b := range e.Info.Blobs() {
			if b.Size == 0 && r.Blob(b.SHA1) == nil {
				lacks[b.SHA1] = true
			}
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return func(h winfile.SHA1) bool { return lacks[h] }
}

// update is a tree that commands change.
type update struct {
	ctx    context.Context
	t      *winfile.Tree
	name   string
	config string
	o      *Options
	known  func(winfile.SHA1) *winfile.Blob
	opened []io.Closer
}

func (u *update) run(c *wim.UpdateCommand) error {
	switch c.Op {
	case "add":
		return u.add(c)
	case "delete":
		return wim.DeletePath(u.t, c.Path, c.Has("recursive"), c.Has("force"))
	case "rename":
		return wim.RenamePath(u.t, c.Path, c.To)
	}
	return fmt.Errorf("unknown command %q", c.Op)
}

// add adds a file or folder of the host.
func (u *update) add(c *wim.UpdateCommand) error {
	st, err := os.Lstat(c.Source)
	if err != nil {
		return err
	}
	replace := !c.Has("no-replace")
	if !st.IsDir() {
		e, report, err := tree.ScanFile(c.Source, nil)
		if err != nil {
			return err
		}
		u.opened = append(u.opened, report)
		for _, w := range report.Warnings.List {
			u.o.UI.Warn("%s", w)
		}
		return wim.AddTree(u.t, c.Path, e, replace)
	}
	so := &archive.Options{Config: u.config, Dereference: c.Has("dereference"), Threads: u.o.Threads, UI: u.o.UI}
	s, _, err := archive.OpenSource(u.ctx, c.Source, u.name, u.known, so)
	if err != nil {
		return err
	}
	u.opened = append(u.opened, s)
	return wim.AddTree(u.t, c.Path, s.Tree.Root, replace)
}

func (u *update) close() error {
	var errs []error
	for _, s := range u.opened {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
