// Package filelock keeps two programs from writing to one file.
package filelock

import "errors"

// ErrLocked says that somebody else has the lock.
var ErrLocked = errors.New("another program is writing to it")
