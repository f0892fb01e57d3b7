//go:build unix

package store

import (
	"os"
	"syscall"
)

// linksOf is how many names a file has.
func linksOf(f *os.File) (uint64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if x, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint64(x.Nlink), nil
	}
	return 1, nil
}
