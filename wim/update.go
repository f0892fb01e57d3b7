package wim

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"husk/winfile"
)

// splitPath cuts a path inside an image into names. Either slash separates; the root has none.
func splitPath(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
}

// pathError is an error about a path inside an image.
func pathError(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }

// place finds the directory that a path is in and the name there. Directories that are not there are made from sample, unless
// it is nil.
func place(t *winfile.Tree, path string, sample *winfile.Info) (dir *winfile.Entry, name string, err error) {
	names := splitPath(path)
	if len(names) == 0 {
		return nil, "", errors.New("is the root directory")
	}
	dir = t.Root
	for _, n := range names[:len(names)-1] {
		next := dir.Child(n)
		if next == nil {
			if sample == nil {
				return nil, "", fs.ErrNotExist
			}
			if why := badName(n); why != "" {
				return nil, "", errors.New(why)
			}
			next = &winfile.Entry{Name: n, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1,
				Created: sample.Created, Written: sample.Written, Accessed: sample.Accessed}}
			dir.Children = append(dir.Children, next)
		}
		if !next.Info.IsDir() {
			return nil, "", fmt.Errorf("%s is not a directory", n)
		}
		dir = next
	}
	return dir, names[len(names)-1], nil
}

// unlink says goodbye to the names of a subtree.
func unlink(e *winfile.Entry) {
	for _, c := range (&winfile.Tree{Root: e}).All() {
		c.Info.Links--
	}
}

// AddTree puts src, the root of another tree or any entry of it, into t under path; its own name does not matter. Directories on
// the way that are not there are made. What is a directory on both sides is merged, and stays as t has it; other files are
// replaced, or refused with fs.ErrExist if replace is false. A directory and another kind of file never replace each other. The
// entries of src become part of t. It is the command "add" of wimlib-imagex update.
func AddTree(t *winfile.Tree, path string, src *winfile.Entry, replace bool) error {
	if len(splitPath(path)) == 0 {
		if !src.Info.IsDir() {
			return pathError("add", path, errors.New("is the root directory, and what is added is not a directory"))
		}
		return merge(t.Root, src, `\`, replace)
	}
	dir, name, err := place(t, path, src.Info)
	if err != nil {
		return pathError("add", path, err)
	}
	if why := badName(name); why != "" {
		return pathError("add", path, errors.New(why))
	}
	c := *src
	c.Name = name
	if name != src.Name {
		c.ShortName = ""
	}
	return attach(dir, &c, path, replace)
}

// merge adds the children of the directory src to dir.
func merge(dir, src *winfile.Entry, path string, replace bool) error {
	for _, c := range src.Children {
		if err := attach(dir, c, path+`\`+c.Name, replace); err != nil {
			return err
		}
	}
	return nil
}

func attach(dir, e *winfile.Entry, path string, replace bool) error {
	old := dir.Child(e.Name)
	switch {
	case old == nil:
		dir.Children = append(dir.Children, e)
		return nil
	case old.Info.IsDir() && e.Info.IsDir():
		return merge(old, e, path, replace)
	case old.Info.IsDir():
		return pathError("add", path, errors.New("is a directory, and what is added is not"))
	case e.Info.IsDir():
		return pathError("add", path, errors.New("is not a directory, and what is added is one"))
	case !replace:
		return pathError("add", path, fs.ErrExist)
	}
	unlink(old)
	dir.Children[slices.Index(dir.Children, old)] = e
	return nil
}

// DeletePath takes a file out of t, or with recursive a directory and all in it. With force a path that does not exist is no
// error. The root directory is emptied and stays. It is the command "delete" of wimlib-imagex update.
func DeletePath(t *winfile.Tree, path string, recursive, force bool) error {
	e := t.Lookup(path)
	switch {
	case e == nil && force:
		return nil
	case e == nil:
		return pathError("delete", path, fs.ErrNotExist)
	case e.Info.IsDir() && !recursive:
		return pathError("delete", path, errors.New("is a directory"))
	case e == t.Root:
		for _, c := range e.Children {
			unlink(c)
		}
		e.Children = nil
		return nil
	}
	dir, _, err := place(t, path, nil)
	if err != nil {
		return pathError("delete", path, err)
	}
	unlink(e)
	dir.Children = slices.DeleteFunc(dir.Children, func(c *winfile.Entry) bool { return c == e })
	return nil
}

// RenamePath moves a file or directory of t as rename(2) does: a file replaces a file, and a directory an empty directory. It is
// the command "rename" of wimlib-imagex update.
func RenamePath(t *winfile.Tree, from, to string) error {
	fail := func(err error) error { return pathError("rename", from, err) }
	e := t.Lookup(from)
	switch {
	case e == nil:
		return fail(fs.ErrNotExist)
	case e == t.Root:
		return fail(errors.New("is the root directory"))
	}
	oldDir, _, err := place(t, from, nil)
	if err != nil {
		return fail(err)
	}
	newDir, name, err := place(t, to, nil)
	if err != nil {
		return pathError("rename", to, err)
	}
	if why := badName(name); why != "" {
		return pathError("rename", to, errors.New(why))
	}
	for _, c := range (&winfile.Tree{Root: e}).All() {
		if c == newDir {
			return fail(errors.New("cannot be moved into itself"))
		}
	}
	if old := newDir.Child(name); old != nil && old != e {
		switch {
		case old.Info.IsDir() && !e.Info.IsDir():
			return pathError("rename", to, errors.New("is a directory"))
		case !old.Info.IsDir() && e.Info.IsDir():
			return pathError("rename", to, errors.New("is not a directory"))
		case len(old.Children) > 0:
			return pathError("rename", to, errors.New("is a directory that is not empty"))
		}
		unlink(old)
		newDir.Children = slices.DeleteFunc(newDir.Children, func(c *winfile.Entry) bool { return c == old })
	}
	oldDir.Children = slices.DeleteFunc(oldDir.Children, func(c *winfile.Entry) bool { return c == e })
	if e.Name != name {
		e.Name, e.ShortName = name, ""
	}
	newDir.Children = append(newDir.Children, e)
	return nil
}

// Reuse gives the files of t the contents that template has, where nothing tells that they changed: the same path in the same
// case, the same times of creation and last writing, no earlier time of last access, and streams of the same names and sizes.
// Such contents have a SHA-1 already, so that a Writer whose file has them does not read them. It returns how many files it
// found. It is the option --update-of of wimlib-imagex.
func Reuse(t, template *winfile.Tree) int {
	n := 0
	done := make(map[*winfile.Info]bool)
	var walk func(e, old *winfile.Entry)
	walk = func(e, old *winfile.Entry) {
		if !done[e.Info] {
			done[e.Info] = true
			if reuse(e.Info, old.Info) {
				n++
			}
		}
		byName := make(map[string]*winfile.Entry, len(old.Children))
		for _, c := range old.Children {
			byName[c.Name] = c
		}
		for _, c := range e.Children {
			if o := byName[c.Name]; o != nil {
				walk(c, o)
			}
		}
	}
	walk(t.Root, template.Root)
	return n
}

// reuse gives i the contents of old if they are the same as far as one can tell without reading.
func reuse(i, old *winfile.Info) bool {
	const kinds = winfile.AttrDirectory | winfile.AttrReparse | winfile.AttrEncrypted
	if i.Attributes&kinds != old.Attributes&kinds || i.Created != old.Created || i.Written != old.Written || i.Accessed < old.Accessed {
		return false
	}
	fits := func(b, o *winfile.Blob) bool { return (b == nil) == (o == nil) && (b == nil || b.Size == o.Size) }
	if !fits(i.Data, old.Data) {
		return false
	}
	found := make([]*winfile.Blob, len(i.Streams))
	for n, s := range i.Streams {
		at := slices.IndexFunc(old.Streams, func(o winfile.Stream) bool { return o.Name == s.Name })
		if at < 0 || !fits(s.Data, old.Streams[at].Data) {
			return false
		}
		found[n] = old.Streams[at].Data
	}
	if x := i.Extra; x != nil && x.EFS != nil {
		if old.Extra == nil || !fits(x.EFS, old.Extra.EFS) {
			return false
		}
		x.EFS = old.Extra.EFS
	}
	i.Data = old.Data
	for n := range found {
		i.Streams[n].Data = found[n]
	}
	return i.Data != nil || len(found) > 0
}

// An UpdateCommand is a line of the language of wimlib-imagex update.
type UpdateCommand struct {
	Op           string   // "add", "delete" or "rename"
	Source, Path string   // add: file or folder of the host, and path in the image; others: Path only
	To           string   // rename
	Options      []string // without their dashes: "force", "recursive", "no-replace", "unix-data" …
}

// Has reports whether the command has an option.
func (c *UpdateCommand) Has(option string) bool { return slices.Contains(c.Options, option) }

// updateOptions are the options that each command may have.
var updateOptions = map[string][]string{
	"add":    {"dereference", "unix-data", "no-acls", "strict-acls", "no-replace", "verbose", "config"},
	"delete": {"force", "recursive"},
	"rename": {},
}

// ParseUpdate reads commands, one in each line: add [OPTION…] SOURCE PATH, delete [OPTION…] PATH, rename PATH PATH. Words with
// spaces stand in single or double quotes; empty lines, and those that start with #, do not count.
func ParseUpdate(text string) ([]UpdateCommand, error) {
	var list []UpdateCommand
	for n, line := range strings.Split(text, "\n") {
		words, err := splitWords(line)
		if err == nil && len(words) > 0 {
			var c UpdateCommand
			if c, err = newUpdateCommand(words); err == nil {
				list = append(list, c)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return list, nil
}

// splitWords cuts a line at white space, but not inside quotes.
func splitWords(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r\n\v\f")
		if line == "" || len(words) == 0 && line[0] == '#' {
			return words, nil
		}
		if q := line[0]; q == '"' || q == '\'' {
			end := strings.IndexByte(line[1:], q)
			if end < 0 {
				return nil, fmt.Errorf("the quote %c is not closed", q)
			}
			words = append(words, line[1:1+end])
			line = line[end+2:]
			continue
		}
		end := strings.IndexAny(line, " \t\r\n\v\f")
		if end < 0 {
			end = len(line)
		}
		words = append(words, line[:end])
		line = line[end:]
	}
}

func newUpdateCommand(words []string) (UpdateCommand, error) {
	c := UpdateCommand{Op: words[0]}
	allowed, ok := updateOptions[c.Op]
	if !ok {
		return c, fmt.Errorf("unknown command %q, want add, delete or rename", c.Op)
	}
	words = words[1:]
	for len(words) > 0 && strings.HasPrefix(words[0], "--") && len(words[0]) > 2 {
		option := words[0][2:]
		if name, _, _ := strings.Cut(option, "="); !slices.Contains(allowed, name) {
			return c, fmt.Errorf("%s has no option --%s", c.Op, option)
		}
		c.Options = append(c.Options, option)
		words = words[1:]
	}
	want := 2
	if c.Op == "delete" {
		want = 1
	}
	if len(words) != want {
		return c, fmt.Errorf("%s has %d paths, want %d", c.Op, len(words), want)
	}
	switch c.Op {
	case "add":
		c.Source, c.Path = words[0], words[1]
	case "delete":
		c.Path = words[0]
	case "rename":
		c.Path, c.To = words[0], words[1]
	}
	return c, nil
}
