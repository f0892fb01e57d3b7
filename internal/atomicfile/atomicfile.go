// Package atomicfile writes a new file beside the one it will replace: until Commit the old one is untouched. What is killed
// before leaves a temporary file, which the next Create of the same name removes.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"husk/internal/directio"
	"husk/internal/filelock"
)

// File is a file being written under a temporary name.
type File struct {
	*directio.File
	target  string
	replace bool
	done    bool
}

// Check says in time what Commit would find when all work is done: target must be a name in a folder that exists, and free. With
// replace it may be a file; without, that is fs.ErrExist. Folders, devices and the like are never replaced, nor is a file
// made among the devices.
func Check(target string, replace bool) error {
	if target == "" || os.IsPathSeparator(target[len(target)-1]) {
		return fmt.Errorf("%q is not the name of a file", target)
	}
	switch st, err := os.Stat(target); {
	case err == nil && !st.Mode().IsRegular():
		return fmt.Errorf("%s is a folder or device, want a file or a new name", target)
	case err == nil && !replace:
		return fmt.Errorf("%s: %w", target, fs.ErrExist)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := os.Lstat(target); err == nil {
		return fmt.Errorf("%s is a link to nothing, want a file or a new name", target)
	}
	if inDevices(target) {
		return fmt.Errorf("%s: there is no such disk: %w", target, fs.ErrNotExist)
	}
	_, err := os.Stat(filepath.Dir(target))
	return err
}

// inDevices reports whether a new file would lie among the devices: whoever names one there means a disk, and mistyped it.
func inDevices(target string) bool {
	dir, err := filepath.Abs(filepath.Dir(target))
	if err != nil {
		return false
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	const devices, memory = "/dev", "/dev/shm" // the latter is for files
	below := func(top string) bool { return dir == top || strings.HasPrefix(dir, top+"/") }
	return below(devices) && !below(memory)
}

// Create starts a file that will be called target, on the terms of Check. A target that is a link stays one: the file that it
// leads to is replaced.
func Create(target string, replace bool) (*File, error) {
	if err := Check(target, replace); err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	removeLeftovers(target)
	f, err := createTemp(target)
	if err != nil {
		return nil, err
	}
	// The lock tells removeLeftovers that this one is in use. Where the file system has no locks, leftovers stay.
	_, _ = filelock.Lock(f)
	return &File{File: directio.New(f), target: target, replace: replace}, nil
}

// Scratch makes a temporary file beside target, for what is needed only while it is made. It loses its name at once where the system
// lets it; elsewhere whoever closes it removes it, or the next Create does.
func Scratch(target string) (*os.File, error) {
	f, err := createTemp(target)
	if err != nil {
		return nil, err
	}
	_, _ = filelock.Lock(f) // as Create does
	_ = os.Remove(f.Name())
	return f, nil
}

// TempMark stands between the name of a file and the digits that its temporary file has.
const TempMark = ".tmp-"

// createTemp is os.CreateTemp with the rights that a new file has.
func createTemp(target string) (*os.File, error) {
	for {
		f, err := os.OpenFile(target+TempMark+strconv.FormatUint(uint64(rand.Uint32()), 10), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// removeLeftovers removes the temporary files of target that nobody writes to anymore.
func removeLeftovers(target string) {
	dir := filepath.Dir(target)
	names, err := os.ReadDir(dir)
	if err != nil {
		return // whatever is wrong with the folder, making the file will tell
	}
	for _, n := range names {
		digits, ok := strings.CutPrefix(n.Name(), filepath.Base(target)+TempMark)
		if _, err := strconv.ParseUint(digits, 10, 32); !ok || err != nil || !n.Type().IsRegular() {
			continue
		}
		name := filepath.Join(dir, n.Name())
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		_, locked := filelock.Lock(f)
		f.Close()
		if locked == nil {
			_ = os.Remove(name)
		}
	}
}

// Commit syncs the file, gives it its name and syncs the folder. What had the name before is replaced in one step.
func (f *File) Commit() error {
	f.done = true
	if err := errors.Join(f.Sync(), f.File.Close()); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", f.target, err), os.Remove(f.Name()))
	}
	err := Check(f.target, f.replace) // once more: others may have made it meanwhile
	if err == nil {
		err = os.Rename(f.Name(), f.target)
	}
	if err != nil {
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
