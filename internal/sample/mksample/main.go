// Command mksample writes a sample Windows system to a folder, with the NTFS metadata where husk keeps it on the host's file
// system.
//
//	mksample [--arch=x64|x86] [--programs=N] SOURCE TARGET
//
// SOURCE is a folder of unpacked libwine packages of both architectures, or "" for made-up programs. TARGET must be empty or
// absent. What the file system cannot hold is told and left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"husk/internal/sample"
	"husk/internal/tree"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "mksample:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("mksample", flag.ContinueOnError)
	flags.SetOutput(stderr)
	arch := flags.String("arch", "x64", "x64 or x86")
	programs := flags.Int("programs", 0, "take at most this many programs for each system folder; 0 takes all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return errors.New("want SOURCE TARGET")
	}
	t, err := sample.Tree(sample.Options{Arch: *arch, Wine: flags.Arg(0), Programs: *programs})
	if err != nil {
		return err
	}
	report, err := tree.ApplyFolder(context.Background(), t, flags.Arg(1), nil)
	if err != nil {
		return err
	}
	for _, l := range report.Lost {
		fmt.Fprintf(stderr, "mksample: warning: the file system of %s does not keep %s (%d files)\n", flags.Arg(1), l.Kind, l.Count)
	}
	n := t.Totals()
	_, err = fmt.Fprintf(stdout, "%s: %d names in %d folders, %d files, %.1f MB\n", flags.Arg(1), n.Names, n.Dirs, n.Files, float64(n.Bytes)/1e6)
	return err
}
