package imagex

import (
	"os"
	"strings"

	globs "husk/internal/find"
	"husk/winfile"
)

// foldCase tells whether paths in images are taken in any case: on Windows, unless WIMLIB_IMAGEX_IGNORE_CASE says otherwise.
func foldCase() bool {
	switch os.Getenv("WIMLIB_IMAGEX_IGNORE_CASE") {
	case "1", "yes", "true":
		return true
	case "0", "no", "false":
		return false
	}
	return os.PathSeparator == '\\'
}

// splitPath parts a path in an image: either slash separates, those at the ends do not matter.
func splitPath(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
}

// cleanPath is a path as dir prints it.
func cleanPath(path string) string { return "/" + strings.Join(splitPath(path), "/") }

// child finds a name in a directory: exactly, else in any case if fold is set.
func child(e *winfile.Entry, name string, fold bool) *winfile.Entry {
	for _, c := range e.Children {
		if c.Name == name {
			return c
		}
	}
	if fold {
		for _, c := range e.Children {
			if winfile.EqualFold(c.Name, name) {
				return c
			}
		}
	}
	return nil
}

// lookup finds a path.
func lookup(root *winfile.Entry, path string) *winfile.Entry {
	e, fold := root, foldCase()
	for _, name := range splitPath(path) {
		if e = child(e, name, fold); e == nil {
			return nil
		}
	}
	return e
}

// found is an entry with the names that lead to it.
type found struct {
	names []string
	entry *winfile.Entry
}

// glob finds the entries that a path with wildcards means, in the order of the tree.
func glob(root *winfile.Entry, path string) []found {
	fold := foldCase()
	list := []found{{nil, root}}
	for _, pattern := range splitPath(path) {
		var next []found
		for _, f := range list {
			for _, c := range f.entry.Children {
				if matches(pattern, c.Name, fold) {
					next = append(next, found{append(f.names[:len(f.names):len(f.names)], c.Name), c})
				}
			}
		}
		list = next
	}
	return list
}

func matches(pattern, name string, fold bool) bool {
	if fold {
		return globs.Wildcard(pattern, name)
	}
	return wildcard(pattern, name)
}

// wildcard matches * and ? with case. A ? is one character.
func wildcard(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// recount sets the number of links of every file by its names in the tree.
func recount(t *winfile.Tree) {
	for _, e := range t.All() {
		e.Info.Links = 0
	}
	for _, e := range t.All() {
		e.Info.Links++
	}
}
