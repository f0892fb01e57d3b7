package store

import (
	"os"
	"syscall"
)

// linksOf is how many names a file has.
func linksOf(f *os.File) (uint64, error) {
	var x syscall.ByHandleFileInformation
	if err := syscall.GetFileInformationByHandle(syscall.Handle(f.Fd()), &x); err != nil {
		return 0, err
	}
	return uint64(x.NumberOfLinks), nil
}
