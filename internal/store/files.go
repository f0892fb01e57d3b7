package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"husk/internal/atomicfile"
	"husk/internal/ui"
	"husk/wim"
)

// files is what a store changes the disk through. Tests make it fail.
type files interface {
	Create(target string, replace bool) (newFile, error)
	Change(name string) (changedFile, error)
	Remove(name string) error
}

// newFile is a file that gets its name when it is complete.
type newFile interface {
	wim.WriteTarget
	Commit() error
	Abort()
	Name() string
}

// changedFile is a file that is changed in place.
type changedFile interface {
	wim.WriteTarget
	Close() error
}

type hostFiles struct{}

func (hostFiles) Create(target string, replace bool) (newFile, error) {
	return atomicfile.Create(target, replace)
}

// Change refuses a layer that another store has too: there its points would be renamed or dropped as well.
func (hostFiles) Change(name string) (changedFile, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	if dir := filepath.Dir(real); Is(dir) && !sameFile(dir, filepath.Dir(name)) {
		return nil, ui.Hint(fmt.Errorf("it is a layer of %s too, which would change with it", dir), "change it there, or put a copy of the file in the place of the link")
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	n, err := linksOf(f)
	if err == nil && n > 1 {
		err = ui.Hint(fmt.Errorf("the file has %d names, and would change under all of them", n), "put a copy of the file in the place of the link")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Remove need not last: what comes back is removed again.
func (hostFiles) Remove(name string) error { return os.Remove(name) }

// sameFile reports whether two names are those of one file.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
