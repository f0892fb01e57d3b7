package tree

import (
	"fmt"

	"husk/winfile"
)

// Filter returns t without the entries that exclude names, and how many those are, what is below them not counted. Blobs are
// shared with t, entries and infos are not; links are counted anew.
func Filter(t *winfile.Tree, exclude ExcludeFunc) (*winfile.Tree, int) {
	return copyTree(t.Root, exclude)
}

// Subtree returns the directory at path as a tree of its own, as [winfile.Tree.Lookup] finds it. Blobs are shared with t,
// entries and infos are not; links are counted anew.
func Subtree(t *winfile.Tree, path string) (*winfile.Tree, error) {
	e := t.Lookup(path)
	if e == nil {
		return nil, fmt.Errorf("%s: no such directory in the tree", path)
	}
	if !e.Info.IsDir() {
		return nil, fmt.Errorf("%s: not a directory", path)
	}
	sub, _ := copyTree(e, nil)
	sub.Root.Name, sub.Root.ShortName = "", ""
	return sub, nil
}

func copyTree(root *winfile.Entry, exclude ExcludeFunc) (*winfile.Tree, int) {
	infos := make(map[*winfile.Info]*winfile.Info)
	clone := func(e *winfile.Entry) *winfile.Entry {
		c := *e
		c.Children = nil
		if c.Info = infos[e.Info]; c.Info != nil {
			c.Info.Links++
			return &c
		}
		i := *e.Info
		i.Links = 1
		c.Info = &i
		if e.Info.Links > 1 {
			infos[e.Info] = &i
		}
		return &c
	}
	type pair struct {
		path     string
		from, to *winfile.Entry
	}
	t, dropped := &winfile.Tree{Root: clone(root)}, 0
	for todo := []pair{{".", root, t.Root}}; len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, e := range p.from.Children {
			path := join(p.path, e.Name)
			if exclude != nil && exclude(path, e.Info.Attributes&winfile.AttrDirectory != 0) {
				dropped++
				continue
			}
			c := clone(e)
			p.to.Children = append(p.to.Children, c)
			if len(e.Children) > 0 {
				todo = append(todo, pair{path, e, c})
			}
		}
	}
	return t, dropped
}
