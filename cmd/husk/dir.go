package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/source"
	"husk/winfile"
)

func newDir(a *app) *cobra.Command {
	var path string
	var detailed bool
	c := &cobra.Command{
		Use:   "dir WIM [IMAGE]",
		Short: a.ui.T("List all paths of an image, with all metadata if asked for"),
		Long:  a.ui.T("WIM may also be a VHD, disk image or folder; pointer files are then shown as they lie on the disk."),
		Example: `  husk dir wimboot.wim 1
  husk dir wimboot.wim "Windows 7 x86" --path=/Windows/System32/drivers --detailed`,
		Args: args(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			spec := args[0]
			if len(args) > 1 {
				spec += ":" + args[1]
			}
			s, err := source.Open(c.Context(), spec, &source.Options{Warn: a.ui.Warn, Raw: true})
			if err != nil {
				return err
			}
			defer s.Close()
			top, name, err := lookup(s, path)
			if err != nil {
				return err
			}
			w := newBufferedOutput(a.ui.Raw())
			defer w.Flush()
			prefix := ""
			if name != "/" {
				prefix = name
			}
			for p, e := range (&winfile.Tree{Root: top}).All() {
				full := prefix + "/" + p
				if p == "." {
					full = name
				}
				if err := a.dirEntry(w, full, e, detailed); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&path, "path", "/", a.ui.T("list this `path` and what is below it"))
	c.Flags().BoolVar(&detailed, "detailed", false, a.ui.T("show everything that is stored of each file"))
	return c
}

// dirEntry prints a path, or a block of all metadata.
func (a *app) dirEntry(w io.Writer, path string, e *winfile.Entry, detailed bool) error {
	if a.ui.JSON || !detailed {
		return a.listEntry(w, path, e, false)
	}
	i := e.Info
	t := func(f winfile.Filetime) string { return f.Time().Format(time.RFC3339Nano) }
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-12s "+format+"\n", append([]any{name}, args...)...)
	}
	if _, err := fmt.Fprintln(w, printable(path)); err != nil {
		return err
	}
	line("attributes", "%s %#x", i.Attributes, uint32(i.Attributes))
	line("created", "%s", t(i.Created))
	line("written", "%s", t(i.Written))
	line("accessed", "%s", t(i.Accessed))
	if i.Changed != 0 {
		line("changed", "%s", t(i.Changed))
	}
	if e.ShortName != "" {
		line("short name", "%s", printable(e.ShortName))
	}
	if i.Links > 1 {
		line("links", "%d", i.Links)
	}
	if i.Security != nil {
		line("security", "%d bytes %x", len(i.Security), i.Security)
	}
	if i.Reparse != nil {
		line("reparse", "%s tag %#x, %d bytes", tagName(i.Reparse.Tag), i.Reparse.Tag, len(i.Reparse.Data))
	}
	if i.Data != nil {
		line("data", "%d bytes %s", i.Data.Size, knownHash(i.Data))
	}
	for _, s := range i.Streams {
		if s.Data == nil {
			line("stream", "%s: empty", printable(s.Name))
			continue
		}
		line("stream", "%s: %d bytes %s", printable(s.Name), s.Data.Size, knownHash(s.Data))
	}
	if x := i.Extra; x != nil {
		if len(x.ObjectID) > 0 {
			line("object id", "%x", x.ObjectID)
		}
		for _, ea := range x.EAs {
			line("ea", "%s: %d bytes, flags %#x", ea.Name, len(ea.Value), ea.Flags)
		}
		if x.EFS != nil {
			line("encrypted", "%d bytes %s", x.EFS.Size, knownHash(x.EFS))
		}
		if x.Unix != nil {
			line("unix", "uid %d gid %d mode %o rdev %#x", x.Unix.UID, x.Unix.GID, x.Unix.Mode, x.Unix.Rdev)
		}
		for _, it := range x.Items {
			line("item", "tag %#x, %d bytes", it.Tag, len(it.Data))
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func knownHash(b *winfile.Blob) string {
	if b.SHA1 == (winfile.SHA1{}) {
		return ""
	}
	return b.SHA1.String()
}
