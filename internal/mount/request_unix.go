//go:build (linux && !386 && !arm && !mips && !mipsle) || darwin

package mount

import (
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// State tells of a mount whether it can be written to, and whether it was.
func State(dir string) (writable, changed bool) {
	buf := make([]byte, 64)
	n, err := unix.Getxattr(dir, stateXattr, buf)
	return err == nil, err == nil && string(buf[:n]) == "changed"
}

// RequestCommit asks the server of the mount at dir to write the changes to the WIM, and waits until it has. Errors wrap ErrBusy if files
// are open for writing.
func RequestCommit(dir string, o *CommitOptions) error {
	v, err := json.Marshal(o)
	if err != nil {
		return err
	}
	err = unix.Setxattr(dir, commitXattr, v, 0)
	if err == nil {
		return nil
	}
	why := make([]byte, maxXattrValue)
	n, gerr := unix.Getxattr(dir, resultXattr, why)
	text := err.Error()
	if gerr == nil && n > 0 {
		text = string(why[:n])
	}
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is %w: %s", dir, ErrBusy, text)
	}
	return fmt.Errorf("commit %s: %s", dir, text)
}
