package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/imagex"
	"husk/internal/mount"
	"husk/internal/ui"
)

// asImagex runs the program as wimlib-imagex if it is called by one of its names.
func asImagex(name string, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int, ok bool) {
	command, ok := imagex.Persona(name)
	if !ok {
		return 0, false
	}
	debug.SetGCPercent(gcPercent)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	return imagex.Main(ctx, imagexEnv(stdin, stdout, stderr), command, args), true
}

func imagexEnv(stdin io.Reader, stdout, stderr io.Writer) *imagex.Env {
	e := &imagex.Env{Stdin: stdin, Stdout: stdout, Stderr: stderr, Husk: version()}
	if mount.Supported {
		a := &app{ui: ui.New(stdin, io.Discard, stderr, "en")}
		a.ui.Quiet = true
		e.Mount = func(ctx context.Context, m *imagex.MountRequest) error {
			f := &mountFlags{
				refs: m.Refs, streams: m.Streams, lang: "en", staging: m.Staging, foreground: m.Debug, allowOther: m.AllowOther, rw: m.Writable, unix: m.Unix,
			}
			return f.run(ctx, a, m.WIM+":"+strconv.Itoa(m.Image), m.Dir)
		}
		e.Unmount = unmountImage
	}
	return e
}

// unmountImage unmounts as wimunmount does: without --commit, changes are dropped.
func unmountImage(_ context.Context, u *imagex.UnmountRequest) error {
	o := &mount.CommitOptions{Check: u.Check, Rebuild: u.Rebuild, NewImage: u.NewImage, Force: u.Force}
	if err := endChanges(u.Dir, u.Commit, !u.Commit, o); err != nil {
		return err
	}
	return mount.Unmount(u.Dir, u.Lazy || u.Force)
}

func newImagex(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "imagex COMMAND …",
		Short: a.ui.T("Act as wimlib-imagex: its commands, options, output and exit codes"),
		Long: a.ui.T(`For scripts that were written for wimlib-imagex. A link to husk that is called wimlib-imagex, wimapply, wimcapture and so on acts
so too. 'husk imagex --help' lists the commands.`),
		Example: `  husk imagex capture /mnt/windows win.wim "Windows 7" --compress=LZX
  husk imagex apply win.wim 1 /dev/sdb1
  ln -s husk wimlib-imagex`,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			env := imagexEnv(c.InOrStdin(), a.ui.Raw(), c.ErrOrStderr())
			if code := imagex.Main(c.Context(), env, "", args); code != 0 {
				return exitStatus(code)
			}
			return nil
		},
	}
}
