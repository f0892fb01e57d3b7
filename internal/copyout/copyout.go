// Package copyout copies picked entries of a tree to a folder of the host, with the metadata that tree.ApplyFolder keeps.
package copyout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"husk/internal/find"
	"husk/internal/tree"
	"husk/winfile"
)

// Options tunes Copy. The zero value refuses to replace anything.
type Options struct {
	Overwrite bool // files that exist are replaced, each when its new content is complete; folders that exist are kept and filled
	Workers   int
	Progress  func(bytes int64)
}

// Plan is what will be copied where.
type Plan struct {
	Tree *winfile.Tree // of what is copied
	Dir  string        // folder of the host that gets the children of the tree's root
}

// NewPlan decides what dest means, as cp does: a folder that exists gets the entries under their own names; else there must be one
// entry, which gets the name dest. The root of a source has no name: its children are copied into dest, which is made if it does
// not exist. Entries of the same name are an error.
func NewPlan(picked []find.Found, dest string) (*Plan, error) {
	if len(picked) == 0 {
		return nil, errors.New("nothing to copy")
	}
	st, err := os.Stat(dest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	isDir := err == nil && st.IsDir()
	asked := strings.HasSuffix(dest, "/") || strings.HasSuffix(dest, string(filepath.Separator))
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	add := func(e *winfile.Entry, name string) {
		c := *e
		c.Name = name
		root.Children = append(root.Children, &c)
	}
	p := &Plan{Dir: dest}
	switch {
	case len(picked) == 1 && picked[0].Entry.Name == "":
		if err == nil && !isDir {
			return nil, fmt.Errorf("%s is not a folder", dest)
		}
		for _, e := range picked[0].Entry.Children {
			add(e, e.Name)
		}
		if !isDir {
			root.Info = picked[0].Entry.Info
		}
	case isDir || asked || len(picked) > 1:
		if !isDir {
			return nil, fmt.Errorf("%s: %w: no folder to copy %d entries to", dest, fs.ErrNotExist, len(picked))
		}
		seen := make(map[string]string)
		for _, f := range picked {
			if f.Entry.Name == "" {
				return nil, errors.New("the root is copied alone")
			}
			key := winfile.Fold(f.Entry.Name)
			if other, ok := seen[key]; ok {
				return nil, fmt.Errorf("%s and %s have the same name", other, f.Path)
			}
			seen[key] = f.Path
			add(f.Entry, f.Entry.Name)
		}
	default:
		p.Dir = filepath.Dir(dest)
		if st, err := os.Stat(p.Dir); err != nil {
			return nil, err
		} else if !st.IsDir() {
			return nil, fmt.Errorf("%s is not a folder", p.Dir)
		}
		add(picked[0].Entry, filepath.Base(dest))
	}
	// A copy of the entries: links are counted anew.
	p.Tree, _ = tree.Filter(&winfile.Tree{Root: root}, nil)
	return p, nil
}

// Copy carries out a plan. An error that wraps fs.ErrExist lists what would have been replaced; nothing was written then.
func (p *Plan) Copy(ctx context.Context, o *Options) (*tree.ApplyReport, error) {
	apply := &tree.ApplyOptions{Into: true, Workers: o.Workers, Progress: o.Progress}
	if !o.Overwrite {
		return tree.ApplyFolder(ctx, p.Tree, p.Dir, apply)
	}
	if err := os.MkdirAll(p.Dir, 0o777); err != nil {
		return nil, err
	}
	if err := p.fits(); err != nil {
		return nil, err
	}
	// Beside what is there first, so that an old file stays until the new one is complete.
	temp, err := os.MkdirTemp(p.Dir, ".husk-copy-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	report, err := tree.ApplyFolder(ctx, p.Tree, temp, &tree.ApplyOptions{Workers: o.Workers, Progress: o.Progress})
	if err != nil {
		return report, err
	}
	return report, moveInto(p.Dir, temp, p.Tree.Root)
}

// fits refuses to put a file in the place of a folder or a folder in the place of a file.
func (p *Plan) fits() error {
	for path, e := range p.Tree.All() {
		name := filepath.Join(p.Dir, filepath.FromSlash(path))
		if !filepath.IsLocal(filepath.FromSlash(path)) {
			return fmt.Errorf("%q is not a name that can be made", path)
		}
		st, err := os.Lstat(name)
		if err != nil {
			continue
		}
		if st.IsDir() != e.Info.IsDir() {
			return fmt.Errorf("%s: a folder and a file do not replace each other", name)
		}
	}
	return nil
}

// moveInto renames what is in from to where it belongs; folders that exist are filled.
func moveInto(to, from string, dir *winfile.Entry) error {
	for _, e := range dir.Children {
		a, b := filepath.Join(from, e.Name), filepath.Join(to, e.Name)
		if e.Info.IsDir() {
			if st, err := os.Lstat(b); err == nil && st.IsDir() {
				if err := moveInto(b, a, e); err != nil {
					return err
				}
				continue
			}
		}
		if err := os.Rename(a, b); err != nil {
			return err
		}
	}
	return nil
}
