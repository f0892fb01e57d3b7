package reshape

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"husk/internal/find"
	"husk/internal/ui"
	"husk/winfile"
)

// Removal is what is about to be removed.
type Removal struct {
	Names int   // of files
	Dirs  int   // folders
	Bytes int64 // of contents that no other name has
	Freed int64 // bytes of clusters

	s    *session
	list []string // children before their folders
}

// PlanRemove looks up what the paths name; a folder that is not empty is an error unless recursive is set. Close the result.
func PlanRemove(ctx context.Context, spec string, paths []string, recursive, dryRun bool, u *ui.UI) (_ *Removal, err error) {
	s, err := open(ctx, spec, &Options{DryRun: dryRun, UI: u})
	if err != nil {
		return nil, err
	}
	r := &Removal{s: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	names := make(map[*winfile.Info]int32)
	taken := make(map[*winfile.Entry]bool)
	for _, path := range paths {
		found := find.Glob(s.src.Tree, path)
		if len(found) == 0 {
			return nil, fmt.Errorf("%s: no file or folder %s", s.src.Path, path)
		}
		for _, f := range found {
			if len(f.Entry.Children) > 0 && !recursive {
				return nil, ui.Hint(fmt.Errorf("%s: %s is a folder that is not empty", s.src.Path, path), "remove it with all that is in it: -r")
			}
			top := strings.Trim(f.Path, "/")
			if top == "" || top == "." {
				return nil, fmt.Errorf("%s: the root of a volume cannot be removed", s.src.Path)
			}
			for below, e := range (&winfile.Tree{Root: f.Entry}).All() {
				if taken[e] {
					continue
				}
				taken[e] = true
				at := top
				if e != f.Entry {
					at = top + "/" + below
				}
				if strings.ContainsRune(at, '\\') {
					return nil, fmt.Errorf("%s: %s: a name with a backslash", s.src.Path, at)
				}
				r.list = append(r.list, at)
				r.count(e.Info, names)
			}
		}
	}
	// A folder comes before what is in it, and so is removed after it: longer paths go first.
	slices.SortStableFunc(r.list, func(x, y string) int { return strings.Count(y, "/") - strings.Count(x, "/") })
	return r, nil
}

func (r *Removal) count(i *winfile.Info, names map[*winfile.Info]int32) {
	if i.Attributes&winfile.AttrDirectory != 0 {
		r.Dirs++
		return
	}
	r.Names++
	if names[i]++; names[i] < i.Links {
		return
	}
	r.Bytes += i.Size()
	r.Freed += r.s.onDisk(i)
}

// Remove removes it all.
func (r *Removal) Remove(ctx context.Context) error {
	for _, path := range r.list {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, r.s.commit())
		}
		if err := r.s.vol.Editor.Remove(path); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", r.s.src.Path, err), r.s.commit())
		}
	}
	return r.s.commit()
}

// Close closes the disk.
func (r *Removal) Close() error { return r.s.close() }
