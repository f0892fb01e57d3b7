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
	"husk/wim"
	"husk/winfile"
)

type mountFlags struct {
	wims, refs                               []string
	streams, lang, staging                   string
	foreground, allowOther, server, rw, unix bool
}

func newMount(a *app) *cobra.Command {
	f := &mountFlags{}
	c := &cobra.Command{
		Use:   "mount FILE[:IMAGE] DIR",
		Short: a.ui.T("Show an image, volume, VHD or disk image as a folder"),
		Long: a.ui.T(`Pointer and compact files are shown with their content. Windows metadata is in extended attributes named as ntfs-3g does
(system.ntfs_acl, system.ntfs_attrib, system.ntfs_times …), so that capturing DIR keeps it. Symbolic links and junctions lead to places
below DIR. The command returns when DIR can be used, and a process of its own serves it until 'husk unmount DIR'; with --foreground it
stays and ends at Ctrl-C. If the process is killed, DIR is unmounted.
With --rw an image of a WIM can be changed: what is written waits beside the WIM, or in --staging-dir, until 'husk unmount --commit' writes
a new version of the image behind what the WIM has, or 'husk unmount --discard' drops it.
Needs FUSE: Linux, or macOS with macFUSE.`),
		Example: `  husk mount wimboot.wim:1 /mnt
  husk mount x64/win7.vhd /mnt --streams=windows
  husk mount --rw wimboot.wim:1 /mnt
  husk unmount --commit /mnt`,
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
	flags.BoolVar(&f.rw, "rw", false, t("let the image be changed"))
	flags.StringVar(&f.staging, "staging-dir", "", t("with --rw: `folder` for what is written (default: that of the WIM)"))
	flags.BoolVar(&f.unix, "unix-data", false, t("with --rw: show UNIX owners and modes of the image, and keep them for new files"))
	flags.StringArrayVar(&f.refs, "ref", nil, t("WIM `file` that has what a delta WIM leaves out, or another part of a split one"))
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
	for _, r := range f.refs {
		list = append(list, "--ref="+r)
	}
	if f.staging != "" {
		list = append(list, "--staging-dir="+f.staging)
	}
	for flag, set := range map[string]bool{
		"--rw": f.rw, "--unix-data": f.unix, "--allow-other": f.allowOther, "--json": a.ui.JSON, "--quiet": a.ui.Quiet} {
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
	if f.rw {
		return f.serveChanges(ctx, a, spec, dir)
	}
	t, name, own, done, err := f.open(ctx, a, spec)
	if err != nil {
		return err
	}
	defer done()
	view := mount.NewView(t, mount.Streams(f.streams), own)
	return f.await(ctx, a, spec, dir, func() (*mount.Server, error) { return mount.Mount(dir, view, f.mountOptions(a, name)) })
}

// open opens what is shown read-only. own tells whether the IDs of files are their inode numbers.
func (f *mountFlags) open(ctx context.Context, a *app, spec string) (t *winfile.Tree, name string, own bool, done func(), err error) {
	if len(f.refs) > 0 {
		path, image := source.Split(spec)
		return f.openReferring(path, image)
	}
	s, err := source.Open(ctx, spec, &source.Options{WIMs: f.wims, Warn: a.ui.Warn})
	if err != nil {
		return nil, "", false, nil, err
	}
	return s.Tree, s.Path, s.Kind == source.Volume, func() { s.Close() }, nil
}

// openReferring opens an image of a WIM that has not all of its data.
func (f *mountFlags) openReferring(path, image string) (t *winfile.Tree, name string, own bool, done func(), err error) {
	var open []*wim.Reader
	done = func() {
		for _, r := range open {
			r.Close()
		}
	}
	for _, n := range append([]string{path}, f.refs...) {
		r, err := wim.Open(n)
		if err != nil {
			done()
			return nil, "", false, nil, fmt.Errorf("%s: %w", n, err)
		}
		open = append(open, r)
	}
	open[0].Reference(open[1:]...)
	i, err := source.FindImage(open[0], path, image)
	if err == nil {
		t, err = i.Tree()
	}
	if err != nil {
		done()
	}
	return t, path, false, done, err
}

func (f *mountFlags) mountOptions(a *app, name string) *mount.Options {
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	return &mount.Options{
		Source: name, AllowOther: f.allowOther, Warn: func(path string, err error) { a.ui.Warn("%s: %s", path, err) },
	}
}

// serveChanges serves an image that can be changed.
func (f *mountFlags) serveChanges(ctx context.Context, a *app, spec, dir string) (err error) {
	path, image := source.Split(spec)
	if !source.IsWIM(path) {
		return ui.Usage(fmt.Errorf("--rw is for images of WIMs, and %s is none", path))
	}
	i, err := mount.OpenImage(path, image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	staging := f.staging
	if staging == "" {
		staging = filepath.Dir(path)
	}
	staging, err = os.MkdirTemp(staging, ".husk-mount-")
	if err != nil {
		return err
	}
	if staging, err = filepath.Abs(staging); err != nil {
		return err
	}
	defer os.RemoveAll(staging)
	o := mount.NewOverlay(i.Tree, mount.Streams(f.streams), f.unix, staging)
	save := func(t *winfile.Tree, c *mount.CommitOptions) error { return i.Commit(ctx, t, c) }
	return f.await(ctx, a, spec, dir, func() (*mount.Server, error) { return mount.MountOverlay(dir, o, save, f.mountOptions(a, path)) })
}

// await mounts and stays until the mount is gone.
func (f *mountFlags) await(ctx context.Context, a *app, spec, dir string, start func() (*mount.Server, error)) error {
	guard, err := startGuard(dir)
	if err != nil {
		return err
	}
	defer guard.Close()
	debug.SetGCPercent(100) // what comes and goes here is many small requests
	m, err := start()
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
	var lazy, guard, discard bool
	var commit bool
	var o mount.CommitOptions
	c := &cobra.Command{
		Use:   "unmount DIR",
		Short: a.ui.T("End a mount of husk"),
		Long: a.ui.T(`Refused with exit status 4 while a program uses DIR. With --lazy DIR is gone at once, and what programs have open stays readable until
they close it. An image that was mounted with --rw and changed needs --commit, which writes the changes to its WIM, or --discard.`),
		Example: `  husk unmount /mnt
  husk unmount --commit --rebuild /mnt`,
		Args: args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if guard {
				return guardMount(os.Stdin, args[0])
			}
			if commit && discard {
				return ui.Usage(errors.New("--commit and --discard exclude each other"))
			}
			err := endChanges(args[0], commit, discard, &o)
			if err == nil {
				err = mount.Unmount(args[0], lazy)
			}
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
	c.Flags().BoolVar(&commit, "commit", false, a.ui.T("write the changes of an image that was mounted with --rw to its WIM"))
	c.Flags().BoolVar(&discard, "discard", false, a.ui.T("drop the changes"))
	c.Flags().BoolVar(&o.Rebuild, "rebuild", false, a.ui.T("with --commit: write the WIM anew, without what no image needs any more"))
	c.Flags().BoolVar(&o.NewImage, "new-image", false, a.ui.T("with --commit: leave the image as it was and add a new one"))
	c.Flags().BoolVar(&o.Check, "check", false, a.ui.T("with --commit: write an integrity table"))
	c.Flags().BoolVar(&o.Force, "force", false, a.ui.T("with --commit: even while programs have files open for writing"))
	c.Flags().BoolVar(&guard, "guard", false, "")
	if err := c.Flags().MarkHidden("guard"); err != nil {
		panic("husk: internal error: " + err.Error())
	}
	return c
}

// endChanges commits the changes of a mount, or refuses to lose them.
func endChanges(dir string, commit, discard bool, o *mount.CommitOptions) error {
	writable, changed := mount.State(dir)
	switch {
	case !writable || discard:
		return nil
	case commit:
		return mount.RequestCommit(dir, o)
	case changed:
		return ui.Hint(fmt.Errorf("%w: the image at %s was changed", errRefused, dir), "add --commit to write the changes to the WIM, or --discard to drop them")
	}
	return nil
}

// guardMount waits for the end of r, which comes when the server ends in whatever way, and then takes a mount away that nobody serves
// any more: every access would fail.
func guardMount(r io.Reader, dir string) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return removeDead(dir)
}
