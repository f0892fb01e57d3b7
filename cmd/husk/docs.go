package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newDocs prints docs/commands.md from the commands themselves, so that the two cannot differ.
func newDocs(a *app, root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "docs",
		Short:  "Print the command reference as Markdown",
		Hidden: true,
		Args:   args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return writeDocs(a.ui.Raw(), root)
		},
	}
}

func writeDocs(w io.Writer, root *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Commands\n\nMade from the program by `go run ./cmd/husk docs`; do not edit.\n\n%s\n\n", root.Long)
	b.WriteString("A `FILE[:IMAGE]` argument is a WIM with an image number or name, a VHD, disk image or block device with a partition\n" +
		"number, an ISO image, or a folder; the part after the colon may be left out where there is only one.\n\n" +
		"Of an ISO image, `win.iso` is the disc with its files, `win.iso:IMAGE` an image of `sources/install.wim` or `install.esd` on it,\n" +
		"and `win.iso:boot.wim:IMAGE` or `win.iso:x64/sources/install.esd:IMAGE` one of another WIM, by its path or its name in `sources`.\n\n")
	b.WriteString("## Exit status\n\n| status | meaning |\n|---|---|\n")
	for _, s := range [][2]string{
		{"0", "done"}, {"1", "failed; what was there before is still there"}, {"2", "the command line was wrong"},
		{"3", "`verify` or `check` found damage or differences"}, {"4", "refused: a target exists, or `--yes` is needed"}, {"130", "interrupted"},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", s[0], s[1])
	}
	b.WriteString("\n## Options of every command\n\n")
	writeFlags(&b, root.PersistentFlags())
	writeCommands(&b, root)
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

// writeCommands writes the commands below one, groups with what is in them.
func writeCommands(b *strings.Builder, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		fmt.Fprintf(b, "## %s\n\n%s.\n\n", c.CommandPath(), c.Short)
		if top, _, err := c.Root().Find([]string{c.Name()}); err == nil && top != c && top.Use == c.Use && top.Long == c.Long && top.Short == c.Short {
			fmt.Fprintf(b, "The same as `%s`.\n\n", top.CommandPath())
			continue
		}
		fmt.Fprintf(b, "    %s %s\n\n", parent.CommandPath(), c.Use)
		if c.Long != "" {
			fmt.Fprintf(b, "%s\n\n", c.Long)
		}
		writeFlags(b, c.LocalNonPersistentFlags())
		fmt.Fprintf(b, "Example:\n\n```\n%s\n```\n\n", c.Example)
		writeCommands(b, c)
	}
}

func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	first := true
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if first {
			b.WriteString("| option | meaning |\n|---|---|\n")
			first = false
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind, _ := pflag.UnquoteUsage(f); kind != "" {
			name += "=" + strings.ToUpper(kind)
		}
		_, usage := pflag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", name, strings.ReplaceAll(usage, "|", "\\|"))
	})
	if !first {
		b.WriteString("\n")
	}
}
