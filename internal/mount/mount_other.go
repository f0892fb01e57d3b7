//go:build !((linux && !386 && !arm && !mips && !mipsle) || darwin)

package mount

import (
	"errors"
	"fmt"
	"io"
	"runtime"

	"husk/winfile"
)

// Supported tells whether views can be mounted here.
const Supported = false

// ErrBusy is wrapped by errors about a mount that programs still use.
var ErrBusy = errors.New("still in use")

// Options tunes Mount.
type Options struct {
	Source     string
	AllowOther bool
	Debug      io.Writer
	Warn       func(path string, err error)
}

// Server is a mounted view.
type Server struct{}

func unsupported() error {
	return fmt.Errorf("mounting on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
}

// Mount is an error that wraps errors.ErrUnsupported.
func Mount(string, *View, *Options) (*Server, error) { return nil, unsupported() }

// Wait returns at once.
func (*Server) Wait() {}

// Unmount is an error that wraps errors.ErrUnsupported.
func (*Server) Unmount() error { return unsupported() }

// Unmount is an error that wraps errors.ErrUnsupported.
func Unmount(string, bool) error { return unsupported() }

// Dead reports false.
func Dead(string) bool { return false }

// Overlay is not here.
type Overlay struct{}

// NewOverlay gives one that cannot be mounted.
func NewOverlay(*winfile.Tree, Streams, bool, string) *Overlay { return &Overlay{} }

// MountOverlay is an error that wraps errors.ErrUnsupported.
func MountOverlay(string, *Overlay, func(*winfile.Tree, *CommitOptions) error, *Options) (*Server, error) {
	return nil, unsupported()
}

// State reports false.
func State(string) (writable, changed bool) { return false, false }

// RequestCommit is an error that wraps errors.ErrUnsupported.
func RequestCommit(string, *CommitOptions) error { return unsupported() }
