package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/describe"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/winfile"
)

func newList(a *app) *cobra.Command {
	var long, recursive bool
	var wims []string
	c := &cobra.Command{
		Use:   "ls FILE[:IMAGE] [PATH]",
		Short: a.ui.T("List a folder inside a WIM image, volume, VHD or disk image"),
		Example: `  husk ls wimboot.wim:1 /Windows
  husk ls -l x64/win7.vhd /Windows/System32/drivers
  husk ls -R --json wimboot.wim:2 /Users`,
		Args: args(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			o := &source.Options{WIMs: wims, Warn: a.ui.Warn, Raw: len(wims) == 0}
			if !recursive {
				o.Paths = []string{pathArg(args)}
			}
			s, err := source.Open(c.Context(), args[0], o)
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
			if !top.Info.IsDir() {
				return a.listEntry(w, name, top, long)
			}
			if recursive {
				for path, e := range (&winfile.Tree{Root: top}).All() {
					if path == "." {
						continue
					}
					if err := a.listEntry(w, path, e, long); err != nil {
						return err
					}
				}
				return nil
			}
			for _, e := range top.Children {
				if err := a.listEntry(w, e.Name, e, long); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&long, "long", "l", false, a.ui.T("show attributes, links, size and time of last write"))
	c.Flags().BoolVarP(&recursive, "recursive", "R", false, a.ui.T("list everything below too"))
	c.Flags().StringArrayVar(&wims, "wim", nil, a.ui.T("resolve pointer files through this WIM `file`"))
	return c
}

// pathArg is the PATH of FILE PATH, or the root.
func pathArg(args []string) string {
	if len(args) > 1 {
		return args[1]
	}
	return "/"
}

func lookup(s *source.Source, path string) (*winfile.Entry, string, error) {
	e := s.Tree.Lookup(path)
	if e == nil {
		return nil, "", fmt.Errorf("%s: no file or folder %s", s.Path, path)
	}
	return e, path, nil
}

// listEntry prints one line: as JSON, long or the name alone.
func (a *app) listEntry(w io.Writer, path string, e *winfile.Entry, long bool) error {
	i := e.Info
	if a.ui.JSON {
		a.ui.Line(entryJSON(path, e))
		return nil
	}
	if !long {
		_, err := fmt.Fprintln(w, printable(path))
		return err
	}
	tail := linkTail(i)
	if e.ShortName != "" {
		tail += "  (" + e.ShortName + ")"
	}
	_, err := fmt.Fprintf(w, "%s %3d %13d  %s  %s%s\n", i.Attributes, i.Links, i.Size(), i.Written.Time().Format(time.DateTime), printable(path), printable(tail))
	return err
}

type jsonEntry struct {
	Path       string       `json:"path"`
	Type       string       `json:"type"`
	Size       int64        `json:"size"`
	Attributes string       `json:"attributes"`
	Created    time.Time    `json:"created"`
	Written    time.Time    `json:"written"`
	Accessed   time.Time    `json:"accessed"`
	Links      int32        `json:"links"`
	ShortName  string       `json:"shortName,omitempty"`
	SHA1       string       `json:"sha1,omitempty"`
	ReparseTag string       `json:"reparseTag,omitempty"`
	Streams    []jsonStream `json:"streams,omitempty"`
}

type jsonStream struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

func entryJSON(path string, e *winfile.Entry) jsonEntry {
	i := e.Info
	j := jsonEntry{
		Path: path, Type: "file", Size: i.Size(), Attributes: i.Attributes.String(), Created: i.Created.Time(),
		Written: i.Written.Time(), Accessed: i.Accessed.Time(), Links: i.Links, ShortName: e.ShortName,
	}
	if i.Attributes&winfile.AttrDirectory != 0 {
		j.Type = "directory"
	}
	if i.Reparse != nil {
		j.ReparseTag = fmt.Sprintf("%#x", i.Reparse.Tag)
	}
	if i.Data != nil && i.Data.SHA1 != (winfile.SHA1{}) {
		j.SHA1 = i.Data.SHA1.String()
	}
	for _, s := range i.Streams {
		n := int64(0)
		if s.Data != nil {
			n = s.Data.Size
		}
		j.Streams = append(j.Streams, jsonStream{s.Name, n})
	}
	return j
}

// tagName names the reparse tags that Windows systems have.
func tagName(tag uint32) string { return describe.TagName(tag) }

func newCat(a *app) *cobra.Command {
	var wims []string
	var stream string
	c := &cobra.Command{
		Use:   "cat FILE[:IMAGE] PATH[:STREAM]",
		Short: a.ui.T("Write the content of a file inside a WIM image, volume, VHD or disk image"),
		Long: a.ui.T(`Pointer files are read through their WIM, which is looked for at its recorded path under each folder above FILE, or given
with --wim.`),
		Example: `  husk cat wimboot.wim:1 /Windows/System32/WimBootCompress.ini
  husk cat x64/win7.vhd /Windows/notepad.exe > notepad.exe
  husk cat wimboot.wim:1 /Users/Public/setup.exe:Zone.Identifier`,
		Args: args(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			paths := []string{args[1]}
			if path, _, ok := cutStream(args[1]); ok {
				paths = append(paths, path)
			}
			s, err := source.Open(c.Context(), args[0], &source.Options{WIMs: wims, Warn: a.ui.Warn, Paths: paths})
			if err != nil {
				return err
			}
			defer s.Close()
			e, name, err := lookup(s, args[1])
			if path, of, ok := cutStream(args[1]); err != nil && stream == "" && ok {
				if f, n, lookErr := lookup(s, path); lookErr == nil {
					e, name, stream, err = f, n, of, nil
				}
			}
			if err != nil {
				return err
			}
			b, err := streamOf(e, name, stream)
			if err != nil || b == nil {
				return err
			}
			r, err := b.Content.OpenBlob(b)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", s.Path, name, err)
			}
			defer r.Close()
			if _, err := io.Copy(a.ui.Raw(), contextReader{c.Context(), r}); err != nil {
				return fmt.Errorf("%s: %s: %w", s.Path, name, err)
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&wims, "wim", nil, a.ui.T("resolve pointer files through this WIM `file`"))
	c.Flags().StringVar(&stream, "stream", "", a.ui.T("read this named stream instead of the file's data"))
	return c
}

// contextReader ends when the context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// cutStream parts PATH:STREAM; a type :$DATA at the end says nothing.
func cutStream(s string) (path, stream string, ok bool) {
	if n := len(s) - len(":$DATA"); n > 0 && strings.EqualFold(s[n:], ":$DATA") {
		s = s[:n]
	}
	i := strings.LastIndexByte(s, ':')
	if i < strings.LastIndexAny(s, `/\`) {
		return s, "", false
	}
	return s[:max(i, 0)], s[i+1:], i > 0
}

// streamOf finds the blob that cat is to write; nil is an empty stream.
func streamOf(e *winfile.Entry, name, stream string) (*winfile.Blob, error) {
	if stream == "" {
		if e.Info.IsDir() {
			return nil, ui.Hint(fmt.Errorf("%s is a folder", name), "'husk ls' lists folders")
		}
		if x := e.Info.Extra; x != nil && x.EFS != nil {
			return nil, fmt.Errorf("%s is encrypted: %w", name, errors.ErrUnsupported)
		}
		return e.Info.Data, nil
	}
	for _, s := range e.Info.Streams {
		if winfile.EqualFold(s.Name, stream) {
			return s.Data, nil
		}
	}
	return nil, fmt.Errorf("%s has no stream %q", name, stream)
}
