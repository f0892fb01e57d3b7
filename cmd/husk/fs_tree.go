package main

import (
	"bufio"
	"fmt"

	"github.com/spf13/cobra"

	"husk/internal/ui"
	"husk/winfile"
	"husk/winfile/treefs"
)

func newTree(a *app) *cobra.Command {
	o := treeOptions{}
	c := &cobra.Command{
		Use:   "tree FILE[:IMAGE] [PATH]",
		Short: a.ui.T("Draw a folder and what is below it"),
		Example: `  husk fs tree wimboot.wim:1 /Windows/System32/config
  husk fs tree x64/win7.vhd / --depth=2 --size --dirs`,
		Args: args(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			s, _, err := a.openRaw(c, args[0])
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
			d := &drawer{a: a, w: w, o: o}
			if a.ui.JSON {
				return a.treeJSON(d, top, name, 0)
			}
			fmt.Fprintln(w, printable(name)+d.sizeOf(top))
			if err := d.draw(top, "", 1); err != nil {
				return err
			}
			_, err = fmt.Fprintln(w, a.ui.T("%d folders, %d files, %s", d.dirs, d.files, ui.Size(d.bytes)))
			return err
		},
	}
	t, flags := a.ui.T, c.Flags()
	flags.IntVarP(&o.depth, "depth", "d", -1, t("draw down to this depth; -1 draws all"))
	flags.BoolVarP(&o.sizes, "size", "s", false, t("show the size of files, and of folders with all below them"))
	flags.BoolVar(&o.dirs, "dirs", false, t("draw folders only"))
	return c
}

type treeOptions struct {
	depth       int
	sizes, dirs bool
}

// drawer draws a tree.
type drawer struct {
	a *app
	w *bufio.Writer
	o treeOptions

	dirs, files int
	bytes       int64
}

// maxDrawn bounds the depth of drawing: a damaged source may have no end.
const maxDrawn = 1000

func (d *drawer) draw(e *winfile.Entry, indent string, depth int) error {
	if d.o.depth >= 0 && depth > d.o.depth {
		return nil
	}
	if depth > maxDrawn {
		return fmt.Errorf("folders more than %d deep", maxDrawn)
	}
	list := d.children(e)
	for i, c := range list {
		branch, below := "├── ", "│   "
		if i == len(list)-1 {
			branch, below = "└── ", "    "
		}
		d.count(c)
		if _, err := fmt.Fprintln(d.w, indent+branch+printable(c.Name)+d.sizeOf(c)+linkTail(c.Info)); err != nil {
			return err
		}
		if err := d.draw(c, indent+below, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *drawer) children(e *winfile.Entry) []*winfile.Entry {
	if !d.o.dirs {
		return e.Children
	}
	var list []*winfile.Entry
	for _, c := range e.Children {
		if c.Info.IsDir() {
			list = append(list, c)
		}
	}
	return list
}

func (d *drawer) count(e *winfile.Entry) {
	if e.Info.IsDir() {
		d.dirs++
		return
	}
	d.files++
	d.bytes += e.Info.Size()
}

// sizeOf is the size of a file, or of all names below a folder.
func (d *drawer) sizeOf(e *winfile.Entry) string {
	if !d.o.sizes {
		return ""
	}
	n := e.Info.Size()
	for _, c := range (&winfile.Tree{Root: e}).All() {
		if c != e {
			n += c.Info.Size()
		}
	}
	return "  (" + ui.Size(n) + ")"
}

// linkTail shows where a link leads, or that a file has another reparse point.
func linkTail(i *winfile.Info) string {
	if i.Reparse == nil {
		return ""
	}
	if t, ok := treefs.LinkTarget(i); ok {
		return printable(" -> " + t.Text)
	}
	return "  [" + tagName(i.Reparse.Tag) + "]"
}

// treeJSON prints each entry as ls does, with its depth.
func (a *app) treeJSON(d *drawer, e *winfile.Entry, path string, depth int) error {
	type line struct {
		Depth int `json:"depth"`
		jsonEntry
	}
	a.ui.Line(line{depth, entryJSON(path, e)})
	if depth >= maxDrawn || d.o.depth >= 0 && depth >= d.o.depth {
		return nil
	}
	for _, c := range d.children(e) {
		sub := path + "/" + c.Name
		if path == "/" {
			sub = "/" + c.Name
		}
		if err := a.treeJSON(d, c, sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}
