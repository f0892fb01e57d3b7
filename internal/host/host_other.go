//go:build !linux && !windows

package host

import (
	"errors"
	"fmt"
	"runtime"
)

// Look reads what the machine has: here nothing, as an error says.
func Look() (*Machine, error) {
	return &Machine{}, fmt.Errorf("listing the physical disks of %s: %w; disk images and folders can be named", runtime.GOOS, errors.ErrUnsupported)
}
