package main

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/find"
	"husk/internal/place"
	"husk/internal/ui"
	"husk/winfile"
)

type findFlags struct{ name, kind, size, newer, older, attr, where, sha1 string }

func newFind(a *app) *cobra.Command {
	var f findFlags
	var long bool
	c := &cobra.Command{
		Use:   "find FILE[:IMAGE] [PATH]",
		Short: a.ui.T("Find files by name, size, time, attributes, place or content"),
		Long: a.ui.T(`All conditions must hold. Content is read only for --sha1, and only of files that pass the other conditions and whose SHA-1 neither the
WIM nor the pointer has. The exit status is 0 even if nothing is found, 1 if something could not be read.`),
		Example: `  husk fs find wimboot.wim:1 / --name='*.dll' --size=+1M
  husk fs find x64/win7.vhd /Windows --where=local --type=f -l
  husk fs find x64/win7.vhd / --newer=2026-11-01 --attr=H-S
  husk fs find --json wimboot.wim:2 / --sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709`,
		Args: args(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			q, err := f.query(time.Now())
			if err != nil {
				return ui.Usage(err)
			}
			s, m, err := a.openRaw(c, args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			top, name, err := lookup(s, pathArg(args))
			if err != nil {
				return err
			}
			w := newBufferedOutput(a.ui.Raw())
			defer w.Flush()
			unread := 0
			for p, e := range (&winfile.Tree{Root: top}).All() {
				if err := c.Context().Err(); err != nil {
					return err
				}
				full := path.Join("/", strings.ReplaceAll(name, `\`, "/"), p)
				ok, err := q.Match(m, e)
				if err != nil {
					a.ui.Warn("%s: %s", full, err)
					unread++
					continue
				}
				if !ok {
					continue
				}
				if err := a.listEntry(w, full, e, long); err != nil {
					return err
				}
			}
			if unread > 0 {
				return errors.New(a.ui.T("%d files could not be read", unread))
			}
			return nil
		},
	}
	t, flags := a.ui.T, c.Flags()
	flags.StringVar(&f.name, "name", "", t("`wildcard` of * and ? for the name; case does not matter"))
	flags.StringVar(&f.kind, "type", "", t("f for files, d for folders, l for symbolic links and junctions"))
	flags.StringVar(&f.size, "size", "", t("`size`: +1M more than, -1M less than, 1M exactly"))
	flags.StringVar(&f.newer, "newer", "", t("written after this `time`: 2026-11-01, 2026-11-01T12:00:00Z, or an age such as 7d or 12h"))
	flags.StringVar(&f.older, "older", "", t("written before this `time`"))
	flags.StringVar(&f.attr, "attr", "", t("`letters` of attributes as ls -l shows them: HS both set, H-R the one and not the other"))
	flags.StringVar(&f.where, "where", "", t("`place` of the data: local, wim, compact, away (cloud) or none"))
	flags.StringVar(&f.sha1, "sha1", "", t("`digest` of the data"))
	flags.BoolVarP(&long, "long", "l", false, t("show attributes, links, size and time of last write"))
	return c
}

// query reads the flags.
func (f *findFlags) query(now time.Time) (*find.Query, error) {
	q := &find.Query{Name: f.name, Max: -1}
	read := func(flag, value string, parse func(string) error) error {
		if value == "" {
			return nil
		}
		if err := parse(value); err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
		return nil
	}
	moment := func(to *time.Time) func(string) error {
		return func(s string) (err error) {
			*to, err = find.ParseTime(s, now)
			return err
		}
	}
	return q, errors.Join(
		read("type", f.kind, func(s string) error {
			if len(s) != 1 || !strings.Contains("fdl", s) {
				return fmt.Errorf("%q, want f, d or l", s)
			}
			q.Type = s[0]
			return nil
		}),
		read("size", f.size, q.ParseSize),
		read("newer", f.newer, moment(&q.Newer)),
		read("older", f.older, moment(&q.Older)),
		read("attr", f.attr, q.ParseAttributes),
		read("where", f.where, func(s string) (err error) {
			q.Where, err = place.ParseKind(s)
			return err
		}),
		read("sha1", f.sha1, func(s string) (err error) {
			q.SHA1, err = find.ParseSHA1(s)
			return err
		}),
	)
}

func badWord(flag, got, want string) error { return fmt.Errorf("%s=%s, want %s", flag, got, want) }
