package system

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Marks of the files beside a system's disk.
const (
	newMark     = ".new"
	oldMark     = ".old"
	journalMark = ".husk-journal"
)

// swap puts NAME.new in the place of NAME and keeps what was there as NAME.old. NAME is always there: what is killed on the way leaves it as
// it was, or new. Where the file system has no hard links there is an instant without it; finishSwap then puts it right.
func swap(name string) error {
	old, fresh := name+oldMark, name+newMark
	if err := removeIfThere(old); err != nil {
		return err
	}
	if err := os.Link(name, old); err != nil {
		if err := os.Rename(name, old); err != nil {
			return err
		}
	}
	if err := syncDir(filepath.Dir(name)); err != nil {
		return err
	}
	if err := os.Rename(fresh, name); err != nil {
		return fmt.Errorf("%w; the new disk is %s, the old one %s", err, fresh, old)
	}
	if err := os.Rename(name+journalMark, old+journalMark); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a change that could not be finished
		return err
	}
	return syncDir(filepath.Dir(name))
}

// finishSwap puts a disk back that a swap left without its name: it was cut off where there are no hard links.
func finishSwap(name string) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(name + oldMark); err != nil {
		return nil
	}
	if err := os.Rename(name+oldMark, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// syncDir makes a rename last. Windows has no need to.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
