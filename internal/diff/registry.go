package diff

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"husk/internal/winsys"
	"husk/regf"
	"husk/winfile"
)

// RegChange is what happened to one key or value.
type RegChange struct {
	Hive   string // its path in the tree
	Kind   Kind   // never Renamed
	Key    string // below the root of the hive, with backslashes; empty for the root
	Value  *string
	Before *regf.Value // nil for a key and for what was added
	After  *regf.Value
}

// HiveError is a hive that could not be compared.
type HiveError struct {
	Hive string
	Err  error
}

func (e *HiveError) Error() string { return fmt.Sprintf("%s: %v", e.Hive, e.Err) }

func (e *HiveError) Unwrap() error { return e.Err }

// hiveNames are the names of hives that Windows has.
var hiveNames = []string{"SYSTEM", "SOFTWARE", "SAM", "SECURITY", "DEFAULT", "COMPONENTS", "DRIVERS", "ELAM", "BBI", "BCD", "NTUSER.DAT",
	"USRCLASS.DAT", "SCHEMA.DAT"}

// isHive reports whether a path is one that Windows has a hive at.
func isHive(p string) bool {
	name := path.Base(p)
	if winfile.EqualFold(path.Ext(name), ".hve") {
		return true
	}
	for _, n := range hiveNames {
		if winfile.EqualFold(n, name) {
			return strings.Contains(n, ".") || winfile.EqualFold(path.Base(path.Dir(p)), "config") || n == "BCD"
		}
	}
	return false
}

// Registry compares the hives that both trees have, key by key: values, and which keys there are; not times and security. It
// yields changes as it meets them. Hives that cannot be read are returned, and do not end it; what yield returns does.
func Registry(ctx context.Context, before, after *winfile.Tree, yield func(*RegChange) error) (hives int, bad []*HiveError, _ error) {
	for p, e := range before.All() {
		if err := ctx.Err(); err != nil {
			return hives, bad, err
		}
		if e.Info.Attributes&winfile.AttrDirectory != 0 || e.Info.Data == nil || !isHive(p) {
			continue
		}
		if other := after.Lookup(p); other == nil || other.Info.Data == nil {
			continue
		}
		if same(before, after, p) {
			hives++
			continue
		}
		c := &hiveComparer{hive: p, yield: yield}
		if err := c.run(before, after); err != nil {
			return hives, bad, err
		}
		if c.bad != nil {
			bad = append(bad, &HiveError{p, c.bad})
			continue
		}
		hives++
	}
	return hives, bad, nil
}

// same reports whether a hive and its logs are known to be the same in both.
func same(before, after *winfile.Tree, p string) bool {
	for _, ext := range append([]string{""}, regf.LogNames...) {
		x, y := before.Lookup(p+ext), after.Lookup(p+ext)
		switch {
		case x == nil && y == nil:
		case x == nil || y == nil:
			return false
		case x.Info.Data == nil && y.Info.Data == nil:
		case x.Info.Data == nil || y.Info.Data == nil || x.Info.Data.SHA1 != y.Info.Data.SHA1 || x.Info.Data.SHA1 == (winfile.SHA1{}):
			return false
		}
	}
	return true
}

type hiveComparer struct {
	hive  string
	yield func(*RegChange) error
	bad   error // damage of a hive
}

func (c *hiveComparer) run(before, after *winfile.Tree) error {
	x, err := winsys.OpenHive(before, c.hive)
	if err != nil {
		c.bad = err
		return nil
	}
	y, err := winsys.OpenHive(after, c.hive)
	if err != nil {
		c.bad = err
		return nil
	}
	return c.keys(x.Root(), y.Root())
}

// keys compares two keys of one path and what is below them.
func (c *hiveComparer) keys(a, b *regf.Key) error {
	if err := c.values(a, b); err != nil || c.bad != nil {
		return err
	}
	x, y := c.subkeys(a), c.subkeys(b)
	if c.bad != nil {
		return nil
	}
	theirs := make(map[string]*regf.Key, len(y))
	for _, k := range y {
		theirs[winfile.Fold(k.Name())] = k
	}
	for _, k := range x {
		name := winfile.Fold(k.Name())
		other := theirs[name]
		delete(theirs, name)
		err := error(nil)
		if other == nil {
			err = c.whole(k, Removed)
		} else {
			err = c.keys(k, other)
		}
		if err != nil || c.bad != nil {
			return err
		}
	}
	for _, k := range y {
		if theirs[winfile.Fold(k.Name())] != k {
			continue
		}
		if err := c.whole(k, Added); err != nil || c.bad != nil {
			return err
		}
	}
	return nil
}

func (c *hiveComparer) subkeys(k *regf.Key) []*regf.Key {
	list, err := k.Subkeys()
	if err != nil {
		c.bad = err
	}
	return slices.Clone(list)
}

func (c *hiveComparer) valuesOf(k *regf.Key) []regf.Value {
	list, err := k.Values()
	if err != nil {
		c.bad = err
	}
	return list
}

// whole lists a key that only one of the hives has, its values and what is below it.
func (c *hiveComparer) whole(k *regf.Key, kind Kind) error {
	for k, err := range k.All() {
		if err != nil {
			c.bad = err
			return nil
		}
		if err := c.yield(&RegChange{Hive: c.hive, Kind: kind, Key: k.Path()}); err != nil {
			return err
		}
		for _, v := range c.valuesOf(k) {
			if err := c.value(k, kind, v); err != nil {
				return err
			}
		}
		if c.bad != nil {
			return nil
		}
	}
	return nil
}

// value is a value that only one of the hives has.
func (c *hiveComparer) value(k *regf.Key, kind Kind, v regf.Value) error {
	x := &RegChange{Hive: c.hive, Kind: kind, Key: k.Path(), Value: &v.Name}
	if kind == Added {
		x.After = &v
	} else {
		x.Before = &v
	}
	return c.yield(x)
}

func (c *hiveComparer) values(a, b *regf.Key) error {
	x, y := c.valuesOf(a), c.valuesOf(b)
	if c.bad != nil {
		return nil
	}
	theirs := make(map[string]*regf.Value, len(y))
	for i := range y {
		theirs[winfile.Fold(y[i].Name)] = &y[i]
	}
	for i := range x {
		v := &x[i]
		name := winfile.Fold(v.Name)
		w := theirs[name]
		delete(theirs, name)
		err := error(nil)
		switch {
		case w == nil:
			err = c.value(a, Removed, *v)
		case w.Type != v.Type || !bytes.Equal(w.Data, v.Data):
			err = c.yield(&RegChange{Hive: c.hive, Kind: Changed, Key: b.Path(), Value: &w.Name, Before: v, After: w})
		}
		if err != nil {
			return err
		}
	}
	for i := range y {
		if theirs[winfile.Fold(y[i].Name)] == &y[i] {
			if err := c.value(b, Added, y[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
