// Command husk keeps whole Windows systems in one compressed, deduplicated WIM and makes small disks of pointer files from it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/ui"
)

// Exit statuses, as docs/commands.md lists them.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitDiffers   = 3 // verify or check found damage or differences
	exitRefused   = 4 // something stands in the way that only the user may remove
	exitInterrupt = 130
)

var (
	errDiffers = errors.New("differences or damage found")
	errRefused = errors.New("refused")
)

// exitStatus is the end of another process of husk that did the work and has said why.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	if code, ok := asImagex(os.Args[0], os.Args[1:], os.Stdin, os.Stdout, os.Stderr); ok {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program. It returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// What grows is the tree, which stays; little comes and goes. So a tighter heap costs hardly any time.
	debug.SetGCPercent(gcPercent)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A later interrupt ends the program at once, should it not heed the first; timeout(1) sends two at a time.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	u := ui.New(stdin, stdout, stderr, ui.Language(flagBeforeParsing(args, "--lang")))
	root := newRoot(u)
	u.JSON = slices.Contains(args, "--json") // known even if the command line cannot be parsed
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(u.Raw())
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = u.OutputError()
	}
	if err == nil {
		return exitOK
	}
	var status exitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	if ctx.Err() != nil {
		err = ui.Hint(errors.New(u.T("interrupted")), "what was there before is still there; run the command again")
		u.Error(err, u.HintOf(err))
		return exitInterrupt
	}
	u.Error(err, u.HintOf(err))
	switch {
	case errors.Is(err, ui.ErrUsage):
		return exitUsage
	case errors.Is(err, errDiffers):
		return exitDiffers
	case errors.Is(err, errRefused):
		return exitRefused
	}
	return exitFailed
}

const gcPercent = 25

// flagBeforeParsing finds a flag that is needed before the commands exist, because their help is in that language.
func flagBeforeParsing(args []string, name string) string {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
		if a == name && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// app is what the commands share.
type app struct {
	ui      *ui.UI
	threads int
}

func newRoot(u *ui.UI) *cobra.Command {
	a := &app{ui: u}
	root := &cobra.Command{
		Use:   "husk",
		Short: u.T("Whole Windows systems in one WIM, and small disks of pointers into it"),
		Long: u.T(`husk keeps whole Windows systems as images in one compressed WIM file, equal files stored once, and makes small VHDs from
them whose files are pointers into that WIM (WIMBoot). It works on disk images and folders alone: no driver, no mount, no
Windows tool.`),
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return ui.Hint(ui.Usage(fmt.Errorf("unknown command %q", args[0])), "'husk --help' lists the commands")
			}
			if led, err := a.guided(c.Context(), c.Flag("lang").Value.String()); led {
				return err
			}
			return c.Help()
		},
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return a.checkFlags(c) },
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&u.JSON, "json", false, u.T("print JSON lines for programs instead of text"))
	flags.BoolVarP(&u.Quiet, "quiet", "q", false, u.T("no progress and no notes"))
	flags.BoolVarP(&u.Yes, "yes", "y", false, u.T("answer yes to every question"))
	flags.String("lang", "", u.T("language of the output: en or zh-CN (default: that of the system)"))
	flags.IntVar(&a.threads, "threads", 0, u.T("work on N things at once (default: number of processors)"))
	flags.BoolP("help", "h", false, u.T("tell how the command is used"))
	root.Flags().BoolP("version", "v", false, u.T("print the version"))
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return ui.Hint(ui.Usage(err), "see 'husk %s --help'", belowRoot(c))
	})
	root.AddCommand(
		newCapture(a), newAppend(a), newInfo(a), newDir(a), newApply(a), newVerify(a), newCheck(a), newList(a), newCat(a), newFS(a), newMount(a), newUnmount(a), newReg(a), newDisk(a), newBoot(a), newDriver(a), newRAM(a), newInstall(a), newDocs(a, root), newImagex(a),
	)
	root.AddCommand(newDiff(a), newRestore(a), newStatus(a), newSlim(a))
	root.AddCommand(newStore(a), newPoint(a), newPrune(a))
	root.AddCommand(newDetect(a), newConvert(a))
	root.AddCommand(newExport(a), newOptimize(a), newDelete(a), newSplit(a), newJoin(a), newUpdate(a))
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetUsageTemplate(usageTemplate(u))
	root.SetHelpTemplate(`{{.Short}}{{if .Long}}

{{.Long}}{{end}}

{{.UsageString}}`)
	return root
}

// checkFlags checks the flags that all commands have.
func (a *app) checkFlags(c *cobra.Command) error {
	if a.threads < 0 {
		return ui.Usage(fmt.Errorf("--threads=%d: want a number above 0", a.threads))
	}
	if l := c.Flag("lang").Value.String(); l != "" && !ui.IsLanguage(l) {
		return ui.Usage(fmt.Errorf("--lang=%s: want en or zh-CN", l))
	}
	return nil
}

// usageTemplate is cobra's, translated and without what husk has no use for.
func usageTemplate(u *ui.UI) string {
	return u.T("Usage:") + `
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND …{{else}}{{.UseLine}}{{end}}{{if .HasExample}}

` + u.T("Examples:") + `
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

` + u.T("Commands:") + `{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

` + u.T("Options:") + `
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

` + u.T("Options of every command:") + `
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`
}

// args checks the number of arguments and shows the usage line if it is wrong.
func args(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			if c.HasSubCommands() && len(args) > 0 {
				return ui.Hint(ui.Usage(fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())), "see 'husk %s --help'", belowRoot(c))
			}
			n := fmt.Sprintf("%d arguments", len(args))
			if len(args) == 1 {
				n = "1 argument"
			}
			return ui.Hint(ui.Usage(fmt.Errorf("%s, want: %s %s", n, c.Parent().CommandPath(), c.Use)), "see 'husk %s --help'", belowRoot(c))
		}
		return nil
	}
}

// belowRoot is the name of a command with that of its group: "fs find".
func belowRoot(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}

func version() string {
	v := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		v = info.Main.Version
	}
	return v + " " + runtime.GOOS + "/" + runtime.GOARCH
}
