package store

import (
	"os"

	"husk/internal/atomicfile"
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

func (hostFiles) Change(name string) (changedFile, error) { return os.OpenFile(name, os.O_RDWR, 0) }

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
