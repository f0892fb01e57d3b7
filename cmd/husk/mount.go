package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"husk/internal/mount"
	"husk/internal/source"
	"husk/internal/ui"
)

type mountFlags struct {
	wims                           []string
	streams, lang                  string
	foreground, allowOther, server bool
}

func newMount(a *app) *cobra.Command {
	f := &mountFlags{}
	c := &cobra.Command{
		Use:   "mount FILE[:IMAGE] DIR",
		Short: a.ui.T("Show an image, volume, VHD or disk image as a folder, read-only"),
		Long: a.ui.T(`Pointer and compact files are shown with their content. Windows metadata is in extended attributes named as ntfs-3g does
(system.ntfs_acl, system.ntfs_attrib, system.ntfs_times …), so that capturing DIR keeps it. Symbolic links and junctions lead to places
below DIR. The command returns when DIR can be used, and a process of its own serves it until 'husk unmount DIR'; with --foreground it
stays and ends at Ctrl-C. If the process is killed, DIR is unmounted.
Needs FUSE: Linux, or macOS with macFUSE.`),
		Example: `  husk mount wimboot.wim:1 /mnt
  husk mount x64/win7.vhd /mnt --streams=windows
  husk unmount /mnt`,
		Args: args(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			f.lang = c.Flag("lang").Value.String()
			return f.run(c.Context(), a, args[0], args[1])
		},
	}
	t, flags := a.ui.T, c.Flags()
	flags.StringArrayVar(&f.wims, "wim", nil, t("resolve pointer files through this WIM `file`"))
	flags.StringVar(&f.streams, "streams", string(mount.StreamsXattr), t("show named streams as xattr (user.NAME), windows (FILE:NAME) or none"))
	flags.BoolVar(&f.foreground, "foreground", false, t("stay until DIR is unmounted"))
	flags.BoolVar(&f.allowOther, "allow-other", false, t("let other users see DIR too (root always does)"))
	flags.BoolVar(&f.server, "server", false, "")
	if err := flags.MarkHidden("server"); err != nil {
		panic("husk: internal error: " + err.Error())
	}
	return c
}

func (f *mountFlags) run(ctx context.Context, a *app, spec, dir string) error {
	switch mount.Streams(f.streams) {
	case mount.StreamsXattr, mount.StreamsWindows, mount.StreamsNone:
	default:
		return ui.Usage(badWord("--streams", f.streams, "xattr, windows or none"))
	}
	if !mount.Supported {
		return fmt.Errorf("mounting on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
	}
	if st, err := os.Stat(dir); err != nil {
		return err
	} else if !st.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if !f.foreground && !f.server {
		if err := inBackground(ctx, a, f.serverArgs(a, spec, dir)); err != nil {
			return err
		}
		a.mounted(spec, dir)
		return nil
	}
	return f.serve(ctx, a, spec, dir)
}

// serverArgs is the command line of the process that serves the mount.
func (f *mountFlags) serverArgs(a *app, spec, dir string) []string {
	list := []string{"mount", "--server", "--streams=" + f.streams, "--lang=" + f.lang}
	for _, w := range f.wims {
		list = append(list, "--wim="+w)
	}
	for flag, set := range map[string]bool{"--allow-other": f.allowOther, "--json": a.ui.JSON, "--quiet": a.ui.Quiet} {
		if set {
			list = append(list, flag)
		}
	}
	return append(list, "--", spec, dir)
}

// mounted says that the folder can be used.
func (a *app) mounted(spec, dir string) {
	a.ui.Say("%s is at %s; 'husk unmount %s' ends that.", spec, dir, dir)
	a.ui.Event("result", map[string]any{"source": spec, "dir": dir})
}

// serve mounts and stays until the mount is gone.
func (f *mountFlags) serve(ctx context.Context, a *app, spec, dir string) error {
	s, err := source.Open(ctx, spec, &source.Options{WIMs: f.wims, Warn: a.ui.Warn})
	if err != nil {
		return err
	}
	defer s.Close()
	name, err := filepath.Abs(s.Path)
	if err != nil {
		name = s.Path
	}
	guard, err := startGuard(dir)
	if err != nil {
		return err
	}
	defer guard.Close()
	debug.SetGCPercent(100) // what comes and goes here is many small requests
	view := mount.NewView(s.Tree, mount.Streams(f.streams), s.Kind == source.Volume)
	m, err := mount.Mount(dir, view, &mount.Options{
		Source: name, AllowOther: f.allowOther, Warn: func(path string, err error) { a.ui.Warn("%s: %s", path, err) },
	})
	if err != nil {
		return ui.Hint(err, "is FUSE there, and may you use it (/dev/fuse, fusermount3)?")
	}
	if f.server {
		if err := tellReady(); err != nil {
			return errors.Join(err, m.Unmount())
		}
	} else {
		a.mounted(spec, dir)
	}
	gone := make(chan struct{})
	go func() {
		m.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	err = m.Unmount()
	if errors.Is(err, mount.ErrBusy) {
		a.ui.Warn("%s is in use by a program, which will see errors", dir)
		err = mount.Unmount(dir, true)
	}
	return err
}

func newUnmount(a *app) *cobra.Command {
	var lazy, guard bool
	c := &cobra.Command{
		Use:   "unmount DIR",
		Short: a.ui.T("End a mount of husk"),
		Long: a.ui.T(`Refused with exit status 4 while a program uses DIR. With --lazy DIR is gone at once, and what programs have open stays readable until
they close it.`),
		Example: `  husk unmount /mnt`,
		Args:    args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if guard {
				return guardMount(os.Stdin, args[0])
			}
			err := mount.Unmount(args[0], lazy)
			if errors.Is(err, mount.ErrBusy) {
				return ui.Hint(fmt.Errorf("%w: %w", errRefused, err), "close what uses it, or add --lazy")
			}
			if err == nil {
				a.ui.Event("result", map[string]any{"dir": args[0]})
			}
			return err
		},
	}
	c.Flags().BoolVar(&lazy, "lazy", false, a.ui.T("do not wait for programs that use DIR"))
	c.Flags().BoolVar(&guard, "guard", false, "")
	if err := c.Flags().MarkHidden("guard"); err != nil {
		panic("husk: internal error: " + err.Error())
	}
	return c
}

// guardMount waits for the end of r, which comes when the server ends in whatever way, and then takes a mount away that nobody serves
// any more: every access would fail.
func guardMount(r io.Reader, dir string) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return removeDead(dir)
}
