// Package verify reads back what husk wrote: WIMs blob by blob, disks through their pointers, and either against its source.
package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"husk/internal/archive"
	"husk/internal/source"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/wim"
	"husk/winfile"
)

// Options tunes Run.
type Options struct {
	WIMs    []string // where the data of pointer files may be
	Against string   // a source to compare with; "" for none
	Config  string   // capture configuration that the capture used
	Threads int
	UI      *ui.UI
}

// Result tells what was read and what is wrong.
type Result struct {
	Problems     []string // at most maxProblems
	Count        int      // of all problems
	Totals       winfile.Totals
	Blobs        int   // of a WIM
	Bytes        int64 // read
	Pointers     int   // pointer files
	PointerBytes int64
	Compared     bool
	Elapsed      time.Duration
}

const maxProblems = 1000

func (r *Result) add(format string, args ...any) {
	r.Count++
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Run verifies what spec names. Damage is in the result; an error means that it could not be looked at.
func Run(ctx context.Context, spec string, o *Options) (*Result, error) {
	start := time.Now()
	r := &Result{}
	var err error
	if path, selector := source.Split(spec); source.IsWIM(path) && selector == "" && o.Against == "" {
		err = wimFile(ctx, path, r, o)
	} else {
		err = trees(ctx, spec, r, o)
	}
	r.Elapsed = time.Since(start)
	return r, err
}

// wimFile reads every blob of a WIM.
func wimFile(ctx context.Context, path string, r *Result, o *Options) error {
	w, err := wim.OpenParts(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer w.Close()
	p := o.UI.Start("verify", 0)
	defer p.Done()
	report, err := w.Verify(ctx, &wim.VerifyOptions{Workers: o.Threads, Progress: p.Set})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, e := range report.Problems {
		if errors.Is(e, errors.ErrUnsupported) {
			return ui.Hint(fmt.Errorf("%s cannot be checked: %w", path, e), "convert it first: wimlib-imagex export %s all new.wim --compress=LZX", path)
		}
		r.add("%s: %v", path, e)
	}
	r.Blobs, r.Bytes = report.Blobs, report.Bytes
	return nil
}

// trees reads every file of an image or disk.
func trees(ctx context.Context, spec string, r *Result, o *Options) error {
	s, err := source.Open(ctx, spec, &source.Options{WIMs: o.WIMs, Warn: o.UI.Warn})
	if err != nil {
		return err
	}
	defer s.Close()
	if s.NTFS != nil {
		problems, err := s.NTFS.Check(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Path, err)
		}
		for _, p := range problems {
			if p.Severity > ntfs.SeverityNote {
				r.add("%s: %s", s.Path, p)
			}
		}
	}
	r.Totals = s.Tree.Totals()
	if s.Links != nil {
		r.Pointers, r.PointerBytes = s.Links.Files, s.Links.Bytes
	}
	if o.Against == "" {
		return readAll(ctx, s, r, o)
	}
	return compare(ctx, s, r, o)
}

// readAll reads every blob once. Contents with a known hash are checked by who reads them.
func readAll(ctx context.Context, s *source.Source, r *Result, o *Options) error {
	seen := make(map[*winfile.Blob]struct{})
	var blobs []*winfile.Blob
	total := int64(0)
	for _, e := range s.Tree.All() {
		for b := range e.Info.Blobs() {
			if _, ok := seen[b]; !ok {
				seen[b] = struct{}{}
				blobs = append(blobs, b)
				total += b.Size
			}
		}
	}
	p := o.UI.Start("verify", total)
	defer p.Done()
	var mu sync.Mutex
	err := winfile.ReadBlobs(ctx, blobs, o.Threads, func(_ *winfile.Blob, _ int64, b []byte) error {
		p.Add(int64(len(b)))
		mu.Lock()
		r.Bytes += int64(len(b))
		mu.Unlock()
		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.add("%s: %v", s.Path, err)
	}
	return nil
}

// compare compares with the source, leaving out on both sides what a capture leaves out.
func compare(ctx context.Context, s *source.Source, r *Result, o *Options) error {
	exclude, err := archive.Exclusions(o.Against, s.Tree, o.Config, o.UI)
	if err != nil {
		return err
	}
	other, err := source.Open(ctx, o.Against, &source.Options{WIMs: o.WIMs, Warn: o.UI.Warn, Exclude: exclude, Scan: func(so *tree.ScanOptions) {
		so.RPFix = true
	}})
	if err != nil {
		return err
	}
	defer other.Close()
	for _, src := range []*source.Source{s, other} {
		src.Tree, _ = tree.Filter(src.Tree, exclude)
	}
	r.Totals = s.Tree.Totals()
	p := o.UI.Start("compare", r.Totals.Bytes+other.Tree.Totals().Bytes)
	defer p.Done()
	co := &tree.CompareOptions{
		ReadBoth: true, Limit: maxProblems, Workers: o.Threads, Progress: p.Add,
		// What an NTFS volume made from an image cannot keep (see the ntfs package).
		IgnoreAttributes: winfile.AttrCompressed | winfile.AttrNormal,
		DefaultSecurity:  true,
		Ignore:           tree.DiffChanged, // a WIM has no change times
	}
	if other.Kind == source.Folder || s.Kind == source.Folder {
		co.Ignore |= tree.DiffAccessed // reading a folder changes them
	}
	diff, err := tree.Compare(ctx, s.Tree, other.Tree, co)
	if err != nil {
		return err
	}
	r.Compared, r.Bytes = true, r.Totals.Bytes
	for _, d := range diff.List {
		r.add("%s", d)
	}
	r.Count += diff.Total - len(diff.List)
	return nil
}
