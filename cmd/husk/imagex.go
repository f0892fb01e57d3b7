package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/imagex"
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
	return &imagex.Env{Stdin: stdin, Stdout: stdout, Stderr: stderr, Husk: version()}
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
