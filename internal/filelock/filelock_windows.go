package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// Lock keeps a second writer out until unlock or the end of the program: one byte far behind the end is locked, which bars no reader.
func Lock(f *os.File) (unlock func(), err error) {
	at := &windows.Overlapped{OffsetHigh: 0x7fffffff}
	const how = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	if err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, at); err != nil {
		if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
			return nil, ErrLocked
		}
		return nil, err
	}
	return func() { _ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, at) }, nil
}
