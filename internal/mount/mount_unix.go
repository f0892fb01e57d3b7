//go:build (linux && !386 && !arm && !mips && !mipsle) || darwin

package mount

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// longTime is how long the kernel may trust what it was told: nothing changes.
const longTime = 24 * time.Hour

// ErrBusy is wrapped by errors about a mount that programs still use.
var ErrBusy = errors.New("still in use")

// Options tunes Mount. The zero value shows the tree to the user who mounts it.
type Options struct {
	Source     string // what is mounted, for the host's list of mounts
	AllowOther bool   // show it to other users too
	Debug      io.Writer
	Warn       func(path string, err error) // hears of reads that failed; may be nil
}

// Server is a mounted view.
type Server struct {
	dir string
	f   *fuse.Server
}

// Mount shows a view read-only at dir, a folder. It returns once programs can use it.
func Mount(dir string, v *View, o *Options) (*Server, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(abs); err != nil {
		return nil, err
	} else if !st.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	s := &shown{view: v, blobs: newBlobs(), warn: o.Warn}
	if s.warn == nil {
		s.warn = func(string, error) {}
	}
	s.uid, s.gid = owner()
	root := v.Root()
	long := longTime
	opts := &gofs.Options{
		EntryTimeout: &long, AttrTimeout: &long, NegativeTimeout: &long,
		RootStableAttr: &gofs.StableAttr{Ino: v.Number(root)},
		MountOptions: fuse.MountOptions{
			Name: "husk", FsName: mountSource(o.Source), AllowOther: o.AllowOther || os.Geteuid() == 0,
			MaxWrite: maxRequest, MaxReadAhead: maxRequest, MaxBackground: 32, EnableSymlinkCaching: true, IgnoreSecurityLabels: true,
			Options: []string{"default_permissions"},
		},
	}
	if o.Debug != nil {
		opts.Debug, opts.MountOptions.Logger = true, log.New(o.Debug, "", 0)
	}
	readOnly(&opts.MountOptions)
	f, err := gofs.Mount(abs, &node{shown: s, n: root}, opts)
	if err != nil {
		return nil, fmt.Errorf("mount at %s: %w", dir, err)
	}
	return &Server{abs, f}, nil
}

// maxRequest is the largest read: what the kernel allows.
const maxRequest = 1 << 20

// mountSource is a name without what separates fields and options in lists of mounts.
func mountSource(s string) string {
	if s == "" {
		return "husk"
	}
	return strings.Map(func(r rune) rune {
		if r == ',' || r < ' ' {
			return '_'
		}
		return r
	}, s)
}

// Wait returns when the mount is gone.
func (s *Server) Wait() { s.f.Wait() }

// Unmount ends the mount; an error that wraps ErrBusy says that programs use it, and it goes on.
func (s *Server) Unmount() error {
	err := s.f.Unmount()
	if errors.Is(err, syscall.EBUSY) || err != nil && strings.Contains(err.Error(), "busy") {
		return fmt.Errorf("%s is %w", s.dir, ErrBusy)
	}
	return err
}
