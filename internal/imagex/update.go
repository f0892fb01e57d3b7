package imagex

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"husk/wim"
	"husk/winfile"
)

// runUpdate is update.
func runUpdate(k *call) error {
	name := k.args[0]
	threads, err := k.threads()
	if err != nil {
		return err
	}
	commands, err := k.updateCommands()
	if err != nil {
		return err
	}
	f, r, size, err := k.editable(name)
	if err != nil {
		return err
	}
	i, err := k.oneImage(r, name, k.arg(1), len(k.args) > 1)
	if err != nil {
		return err
	}
	conf, _, err := k.config(k.value("config"))
	if err != nil {
		return err
	}
	t, err := k.tree(i)
	if err != nil {
		return err
	}
	for _, c := range commands {
		if err := k.updateOne(t, c, &scanning{conf: conf, own: name, unix: k.has("unix-data")}); err != nil {
			return err
		}
	}
	recount(t)
	o := k.integrity(&wim.WriterOptions{Workers: threads})
	if slices.ContainsFunc(commands, func(c []string) bool { return c[0] == "add" }) {
		k.using(r.Codec(), threads)
	}
	if r.Pipable() {
		images := imagesOf(r)
		images[i.Index-1] = wim.PipeImage{Tree: t, Info: i.Info()}
		return k.rewrite(name, r, images, threads)
	}
	w, err := wim.Append(f, size, o)
	if err != nil {
		return coded(fmt.Errorf("%s: %w", name, err), codeParam)
	}
	if err := w.ReplaceImage(k.ctx, i.Index, t); err != nil {
		return errors.Join(coded(err, codeRead), w.Abort())
	}
	if err := w.Close(); err != nil {
		return coded(err, codeWrite)
	}
	return k.rebuilt(name, threads)
}

// updateCommands reads what to do: --command, --wimboot-config, or lines of the standard input.
func (k *call) updateCommands() ([][]string, error) {
	var lines []string
	switch {
	case len(k.values["command"]) > 1:
		return nil, badArgument("--command may only be specified one time.  Please provide a file with commands on standard input instead.")
	case k.has("command"):
		lines = []string{k.value("command")}
	case k.has("wimboot-config"):
		return [][]string{{"add", k.value("wimboot-config"), "/" + iniPath}}, nil
	default:
		b, err := io.ReadAll(io.LimitReader(k.env.Stdin, maxText))
		if err != nil {
			return nil, coded(err, codeRead)
		}
		lines = strings.Split(string(b), "\n")
	}
	var list [][]string
	for n, line := range lines {
		words, err := splitWords(line)
		if err != nil {
			return nil, badArgument("line %d: %v", n+1, err)
		}
		if len(words) == 0 {
			continue
		}
		if _, _, err := parseUpdate(words); err != nil {
			return nil, badArgument("line %d: %v", n+1, err)
		}
		list = append(list, words)
	}
	return list, nil
}

// updateOptions are those that the commands of update take, with the number of their paths.
var updateOptions = map[string]struct {
	options []string
	paths   int
}{
	"add":    {[]string{"--dereference", "--unix-data", "--no-acls", "--noacls", "--strict-acls", "--no-replace", "--verbose"}, 2},
	"delete": {[]string{"--force", "--recursive"}, 1},
	"rename": {nil, 2},
}

// parseUpdate parts a command into options and paths.
func parseUpdate(words []string) (paths, options []string, err error) {
	c, ok := updateOptions[words[0]]
	if !ok {
		return nil, nil, fmt.Errorf("unknown command %q, want add, delete or rename", words[0])
	}
	for _, w := range words[1:] {
		switch {
		case !strings.HasPrefix(w, "--"):
			paths = append(paths, w)
		case slices.Contains(c.options, w):
			options = append(options, w)
		default:
			return nil, nil, fmt.Errorf("%s has no option %s", words[0], w)
		}
	}
	if len(paths) != c.paths {
		return nil, nil, fmt.Errorf("%s takes %d paths, not %d", words[0], c.paths, len(paths))
	}
	return paths, options, nil
}

func (k *call) updateOne(t *winfile.Tree, words []string, s *scanning) error {
	paths, options, err := parseUpdate(words)
	if err != nil {
		return badArgument("%v", err)
	}
	has := func(name string) bool { return k.has(name) || slices.Contains(options, "--"+name) }
	switch words[0] {
	case "add":
		s.dereference, s.unix = has("dereference"), has("unix-data")
		s.noACLs = has("no-acls") || slices.Contains(options, "--noacls")
		k.say("Scanning %q (loading as WIM path: %q)...\n", paths[0], cleanPath(paths[1]))
		e, err := k.scanTree(paths[0], cleanPath(paths[1]), s)
		if err != nil {
			return err
		}
		return insert(t.Root, paths[1], e, has("no-replace"))
	case "delete":
		if err := remove(t.Root, paths[0], has("recursive")); err != nil {
			var f *failure
			if has("force") && errors.As(err, &f) && f.code == codePath {
				return nil
			}
			return err
		}
		k.say("Deleted WIM path %q\n", cleanPath(paths[0]))
		return nil
	}
	if err := rename(t.Root, paths[0], paths[1]); err != nil {
		return err
	}
	k.say("Renamed WIM path %q => %q\n", cleanPath(paths[0]), cleanPath(paths[1]))
	return nil
}

// parent finds the directory that a path is in, and the last name of the path.
func parent(root *winfile.Entry, path string) (dir *winfile.Entry, name string) {
	names := splitPath(path)
	if len(names) == 0 {
		return nil, ""
	}
	return lookup(root, strings.Join(names[:len(names)-1], "/")), names[len(names)-1]
}

// remove takes an entry out of a tree.
func remove(root *winfile.Entry, path string, recursive bool) error {
	dir, name := parent(root, path)
	if name == "" {
		if !recursive {
			return fail(codeIsDir, "%q is a directory, which --recursive deletes", cleanPath(path))
		}
		root.Children = nil
		return nil
	}
	var e *winfile.Entry
	if dir != nil {
		e = child(dir, name, foldCase())
	}
	if e == nil {
		return fail(codePath, "the image has no %q", cleanPath(path))
	}
	if e.Info.IsDir() && !recursive {
		return fail(codeIsDir, "%q is a directory, which --recursive deletes", cleanPath(path))
	}
	dir.Children = slices.DeleteFunc(dir.Children, func(c *winfile.Entry) bool { return c == e })
	return nil
}

// rename moves an entry, as rename(2) does.
func rename(root *winfile.Entry, from, to string) error {
	dir, name := parent(root, from)
	newDir, newName := parent(root, to)
	var e *winfile.Entry
	if dir != nil {
		e = child(dir, name, foldCase())
	}
	if e == nil {
		return fail(codePath, "the image has no %q", cleanPath(from))
	}
	if newDir == nil {
		return fail(codePath, "the image has no directory for %q", cleanPath(to))
	}
	if !newDir.Info.IsDir() {
		return fail(codeNotDir, "what %q is to be in is not a directory", cleanPath(to))
	}
	if within(e, newDir) {
		return fail(codeOverlay, "%q cannot become part of itself", cleanPath(from))
	}
	if old := child(newDir, newName, foldCase()); old != nil && old != e {
		switch {
		case e.Info.IsDir() && !old.Info.IsDir():
			return fail(codeNotDir, "%q is not a directory, and a directory cannot replace it", cleanPath(to))
		case !e.Info.IsDir() && old.Info.IsDir():
			return fail(codeIsDir, "%q is a directory, and a file cannot replace it", cleanPath(to))
		case len(old.Children) > 0:
			return fail(codeNotEmpty, "%q is a directory that is not empty", cleanPath(to))
		}
		newDir.Children = slices.DeleteFunc(newDir.Children, func(c *winfile.Entry) bool { return c == old })
	}
	dir.Children = slices.DeleteFunc(dir.Children, func(c *winfile.Entry) bool { return c == e })
	if e.Name != newName {
		e.Name, e.ShortName = newName, ""
	}
	newDir.Children = append(newDir.Children, e)
	return nil
}

// within reports whether dir is e or below it.
func within(e, dir *winfile.Entry) bool {
	for _, c := range (&winfile.Tree{Root: e}).All() {
		if c == dir {
			return true
		}
	}
	return false
}
