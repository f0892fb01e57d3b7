package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"husk/internal/filelock"
)

// tempDir is a folder beside the target for what is on the way into it. What is killed leaves it, and the next one of the same target
// removes it.
type tempDir struct {
	name string
	lock *os.File // tells others that it is in use
}

const (
	tempMark = ".systems-tmp-" // between the name of the target and digits
	lockName = "lock"
)

func newTempDir(target string) (*tempDir, error) {
	removeLeftovers(target)
	dir, base := filepath.Split(target)
	if dir == "" {
		dir = "."
	}
	name, err := os.MkdirTemp(dir, base+tempMark+"*")
	if err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(name, lockName))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(name))
	}
	_, _ = filelock.Lock(f) // where the file system has no locks, leftovers stay
	return &tempDir{name, f}, nil
}

func (d *tempDir) remove() error { return errors.Join(d.lock.Close(), os.RemoveAll(d.name)) }

// removeLeftovers removes the folders of installs that did not live to do it.
func removeLeftovers(target string) {
	dir, base := filepath.Split(target)
	if dir == "" {
		dir = "."
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return // whatever is wrong with the folder, making one there will tell
	}
	for _, n := range names {
		if !n.IsDir() || !strings.HasPrefix(n.Name(), base+tempMark) {
			continue
		}
		name := filepath.Join(dir, n.Name())
		f, err := os.OpenFile(filepath.Join(name, lockName), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		_, locked := filelock.Lock(f)
		f.Close()
		if locked == nil {
			_ = os.RemoveAll(name)
		}
	}
}
