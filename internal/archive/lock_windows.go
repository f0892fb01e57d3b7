package archive

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock keeps a second writer out: one byte far behind the end is locked, which bars no reader.
func lock(f *os.File) (unlock func(), err error) {
	at := &windows.Overlapped{OffsetHigh: 0x7fffffff}
	const how = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	if err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, at); err != nil {
		if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
			return nil, errors.New("another program is writing to it")
		}
		return nil, err
	}
	return func() { _ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, at) }, nil
}
