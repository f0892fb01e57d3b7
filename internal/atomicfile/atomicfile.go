// Package atomicfile writes a new file beside the one it will replace: until Commit the old one is untouched, and whatever ends
// the program before leaves at most a temporary file behind.
package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"husk/internal/directio"
)

// File is a file being written under a temporary name.
type File struct {
	*directio.File
	target string
	done   bool
}

// Create starts a file that will be called target. Its folder must exist.
func Create(target string) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(target), filepath.Base(target)+".tmp-*")
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o644); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return &File{File: directio.New(f), target: target}, nil
}

// Commit syncs the file, gives it its name and syncs the folder. What had the name before is replaced in one step.
func (f *File) Commit() error {
	if err := errors.Join(f.Sync(), f.File.Close()); err != nil {
		f.done = true
		return errors.Join(fmt.Errorf("%s: %w", f.target, err), os.Remove(f.Name()))
	}
	f.done = true
	if err := os.Rename(f.Name(), f.target); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(f.target))
}

// Abort removes the temporary file; after Commit it does nothing, so it can be deferred.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	f.File.Close()
	os.Remove(f.Name())
}

// syncDir makes a rename last. Systems that cannot sync a folder have no need to.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !cannotSyncDirs {
		return err
	}
	return nil
}
