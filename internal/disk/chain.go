package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"husk/internal/ui"
	"husk/vhd"
	"husk/vhdx"
)

// maxChain is how many disks a chain of parents may have. Windows warns far earlier.
const maxChain = 64

// chain is the disks from a child on, to its parent and so on: each file once.
type chain struct {
	path   string
	files  []fs.FileInfo
	all    *[]fs.FileInfo // files and those below, which the chains of one child share
	parent string         // where the parent was found
}

// startChain begins with a child.
func startChain(path string) (*chain, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return &chain{path: path, files: []fs.FileInfo{st}, all: &[]fs.FileInfo{st}}, nil
}

// Uses reports whether path is the file of the disk or one that it is based on.
func (d *Disk) Uses(path string) bool {
	st, err := os.Stat(path)
	return err == nil && slices.ContainsFunc(*d.chain.all, func(f fs.FileInfo) bool { return os.SameFile(f, st) })
}

// Depth is the number of disks in the chain: 1 without a parent.
func (d *Disk) Depth() int { return len(*d.chain.all) }

// next is the chain with one more disk.
func (c *chain) next(path string) (*chain, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	for _, f := range c.files {
		if os.SameFile(f, st) {
			return nil, fmt.Errorf("%s is among its own parents", path)
		}
	}
	if len(c.files) >= maxChain {
		return nil, fmt.Errorf("%s: more than %d disks in a chain", path, maxChain)
	}
	*c.all = append(*c.all, st)
	return &chain{path: path, files: append(c.files[:len(c.files):len(c.files)], st), all: c.all}, nil
}

func (c *chain) vhdOptions() *vhd.ReaderOptions {
	return &vhd.ReaderOptions{Parent: func(l *vhd.ParentLocator) (*vhd.Reader, error) {
		return openParent(c, parentPaths(c.path, l.RelativePath, l.AbsolutePath, l.Name), vhd.ErrWrongParent, func(n *chain) (*vhd.Reader, error) {
			p, err := vhd.OpenChain(n.path, n.vhdOptions())
			if err == nil && p.UUID() != l.ID {
				err = errors.Join(fmt.Errorf("unique id %x, want %x: %w", p.UUID(), l.ID, vhd.ErrWrongParent), p.Close())
			}
			return p, err
		})
	}}
}

func (c *chain) vhdxOptions() *vhdx.ReaderOptions {
	return &vhdx.ReaderOptions{Parent: func(l *vhdx.ParentLocator) (*vhdx.Reader, error) {
		return openParent(c, parentPaths(c.path, l.RelativePath, l.AbsolutePath, l.VolumePath), vhdx.ErrWrongParent, func(n *chain) (*vhdx.Reader, error) {
			p, err := vhdx.Open(n.path, n.vhdxOptions())
			if err != nil {
				return nil, err
			}
			if id := p.Info().DataWriteGUID; id != l.Linkage && id != l.Linkage2 {
				return nil, errors.Join(fmt.Errorf("data write GUID %v, want %v: %w", id, l.Linkage, vhdx.ErrWrongParent), p.Close())
			}
			return p, nil
		})
	}}
}

// openParent opens the first of the places that holds the parent.
func openParent[R any](c *chain, paths []string, wrong error, open func(*chain) (R, error)) (none R, _ error) {
	var errs []error
	for _, path := range paths {
		n, err := c.next(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var r R
		if err == nil {
			if r, err = open(n); err == nil {
				c.parent = path
				return r, nil
			}
		}
		errs = append(errs, fmt.Errorf("parent %s: %w", path, err))
	}
	err := errors.Join(errs...)
	switch {
	case err == nil:
		return none, ui.Hint(fmt.Errorf("the parent of this differencing disk is not at %s", strings.Join(paths, ", nor at ")),
			"put the parent beside the differencing disk")
	case errors.Is(err, wrong):
		return none, ui.Hint(err, "use the parent that the differencing disk was made on, unchanged; with another one its files would be damaged")
	}
	return none, err
}

// parentPaths are the places where a parent may be: where the child says, relative to its own folder first, and beside
// it under the names that the child knows. The paths are those of Windows.
func parentPaths(child, relative string, others ...string) []string {
	dir := filepath.Dir(child)
	var list []string
	add := func(p string) {
		for _, have := range list {
			if have == p {
				return
			}
		}
		list = append(list, p)
	}
	if relative != "" {
		add(filepath.Join(dir, slashed(relative)))
	}
	for _, o := range others {
		if isAbs := filepath.IsAbs(o) && (runtime.GOOS == "windows" || !strings.Contains(o, `\`)); isAbs {
			add(o)
		}
	}
	for _, o := range append([]string{relative}, others...) {
		if base := o[strings.LastIndexAny(o, `\/:`)+1:]; base != "" && base != ".." {
			add(filepath.Join(dir, base))
		}
	}
	for i, p := range list {
		list[i] = anyCase(p)
	}
	return list
}

// slashed is a path of Windows in the form of this system.
func slashed(p string) string { return filepath.FromSlash(strings.ReplaceAll(p, `\`, "/")) }

// anyCase finds a file whose name is spelled in other letters, as Windows does. Without one it returns the path as it is.
func anyCase(path string) string {
	if _, err := os.Lstat(path); err == nil {
		return path
	}
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return path
	}
	for _, e := range list {
		if strings.EqualFold(e.Name(), filepath.Base(path)) {
			return filepath.Join(filepath.Dir(path), e.Name())
		}
	}
	return path
}
