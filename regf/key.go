package regf

import (
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"husk/winfile"
)

// Key is a key of a hive. What is below it is read when it is first asked for.
type Key struct {
	Flags     KeyFlags
	Written   winfile.Filetime
	Access    uint32 // access bits and, in layered hives, how the key hides those of lower layers
	UserFlags byte   // virtualisation control and WOW64 flags
	Debug     byte

	hive   *Hive
	parent *Key
	node   keyNode // as read; nil if the key was made here
	off    uint32
	depth  int
	name   string

	class    []byte
	ownClass bool // class is set, whatever node says
	security []byte
	keys     []*Key
	keyErr   error
	values   []Value
	valErr   error

	keysRead, valuesRead, unsorted bool

	keyIndex   map[string]*Key // by folded name; made for keys with many subkeys
	valueIndex map[string]int
}

// indexFrom is how many subkeys or values make an index worth while.
const indexFrom = 24

// Value is a value of a key. Data belongs to the hive: read only.
type Value struct {
	Name string // empty: the default value
	Type Type
	Data []byte

	flags uint16 // without that for the form of the name
}

// Name is the name of the key. The root has one too, which means nothing.
func (k *Key) Name() string { return k.name }

// Parent is the key above; nil for the root.
func (k *Key) Parent() *Key { return k.parent }

// Hive is the hive of the key.
func (k *Key) Hive() *Hive { return k.hive }

// Path is the path from the root, with backslashes; empty for the root.
func (k *Key) Path() string {
	var parts []string
	for ; k.parent != nil; k = k.parent {
		parts = append(parts, k.name)
	}
	slices.Reverse(parts)
	return strings.Join(parts, `\`)
}

// Subkeys returns the keys below in the order of the registry. The slice is the key's own and good until the next change.
func (k *Key) Subkeys() ([]*Key, error) {
	if err := k.readKeys(); err != nil {
		return nil, err
	}
	if k.unsorted {
		slices.SortStableFunc(k.keys, func(a, b *Key) int { return compareNames(a.name, b.name) })
		k.unsorted = false
	}
	return k.keys, nil
}

func (k *Key) readKeys() error {
	if k.keysRead {
		return k.keyErr
	}
	k.keysRead = true
	if k.node != nil {
		k.keys, k.keyErr = k.hive.subkeysOf(k)
		if k.keyErr != nil {
			k.keys = nil
		}
		k.unsorted = !slices.IsSortedFunc(k.keys, func(a, b *Key) int { return compareNames(a.name, b.name) })
	}
	return k.keyErr
}

// Values returns the values in the order of the file. The slice is the key's own and good until the next change.
func (k *Key) Values() ([]Value, error) {
	if !k.valuesRead {
		k.valuesRead = true
		if k.node != nil {
			k.values, k.valErr = k.hive.valuesOf(k.node)
			if k.valErr != nil {
				k.values = nil
			}
		}
	}
	return k.values, k.valErr
}

// Subkey finds a key directly below. One that is not there is fs.ErrNotExist.
func (k *Key) Subkey(name string) (*Key, error) {
	if err := k.readKeys(); err != nil {
		return nil, err
	}
	if c := k.find(name); c != nil {
		return c, nil
	}
	return nil, &fs.PathError{Op: "key", Path: join(k.Path(), name), Err: fs.ErrNotExist}
}

// find is Subkey once the keys are read; nil if there is none. Of names that are there twice it finds the first.
func (k *Key) find(name string) *Key {
	if len(k.keys) < indexFrom {
		for _, c := range k.keys {
			if compareNames(c.name, name) == 0 {
				return c
			}
		}
		return nil
	}
	if k.keyIndex == nil {
		if !k.unsorted {
			i, ok := slices.BinarySearchFunc(k.keys, name, func(c *Key, name string) int { return compareNames(c.name, name) })
			if ok {
				return k.keys[i]
			}
			return nil
		}
		k.keyIndex = make(map[string]*Key, len(k.keys))
		for _, c := range slices.Backward(k.keys) {
			k.keyIndex[winfile.Fold(c.name)] = c
		}
	}
	return k.keyIndex[winfile.Fold(name)]
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + `\` + name
}

// Lookup finds a key by its path below k, with backslashes. An empty path is k.
func (k *Key) Lookup(path string) (*Key, error) {
	for part := range parts(path) {
		c, err := k.Subkey(part)
		if err != nil {
			return nil, err
		}
		k = c
	}
	return k, nil
}

// parts yields the names of a path; backslashes at its ends are nothing.
func parts(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		path = strings.Trim(path, `\`)
		if path == "" {
			return
		}
		strings.SplitSeq(path, `\`)(yield)
	}
}

// Create returns the key at a path below k and makes what of it is not there, with the security of the key above.
func (k *Key) Create(path string) (*Key, error) {
	for part := range parts(path) {
		if err := k.readKeys(); err != nil {
			return nil, err
		}
		c := k.find(part)
		if c == nil {
			var err error
			if c, err = k.add(part); err != nil {
				return nil, err
			}
		}
		k = c
	}
	return k, nil
}

// add makes a key below k, where there is none of that name.
func (k *Key) add(name string) (*Key, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("key %q: %w", join(k.Path(), name), err)
	}
	if k.depth == maxDepth {
		return nil, fmt.Errorf("key %q: more than %d levels of keys", join(k.Path(), name), maxDepth)
	}
	sd, err := k.Security()
	if err != nil {
		return nil, err
	}
	c := &Key{hive: k.hive, parent: k, name: name, depth: k.depth + 1, keysRead: true, valuesRead: true, Written: k.hive.Now}
	c.security = sd
	k.touch()
	switch {
	case k.keyIndex != nil:
		k.keyIndex[winfile.Fold(name)] = c
		k.keys, k.unsorted = append(k.keys, c), true
	case len(k.keys) < indexFrom || compareNames(k.keys[len(k.keys)-1].name, name) < 0 && !k.unsorted:
		k.unsorted = k.unsorted || len(k.keys) > 0 && compareNames(k.keys[len(k.keys)-1].name, name) > 0
		k.keys = append(k.keys, c)
	default:
		k.keys, k.unsorted = append(k.keys, c), true
	}
	return c, nil
}

// checkName refuses names that the registry cannot hold.
func checkName(name string) error {
	switch n := nameUnits(name); {
	case n == 0 || n > maxName:
		return fmt.Errorf("a name of %d characters, want 1 to %d", n, maxName)
	case strings.Contains(name, `\`):
		return fmt.Errorf("a backslash in a name")
	case !winfile.ValidName(name):
		return fmt.Errorf("a name that is not valid text")
	}
	return nil
}

// touch marks k as changed now.
func (k *Key) touch() {
	if now := k.hive.Now; now != 0 {
		k.Written, k.hive.Written = now, now
	}
}

// Delete removes the key directly below that has this name, and all below it. One that is not there is fs.ErrNotExist.
func (k *Key) Delete(name string) error {
	c, err := k.Subkey(name)
	if err != nil {
		return err
	}
	i := slices.Index(k.keys, c)
	k.keys = slices.Delete(k.keys, i, i+1)
	k.keyIndex = nil
	k.touch()
	return nil
}

// Rename gives the key another name, which no other key beside it may have.
func (k *Key) Rename(name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("key %q: %w", name, err)
	}
	if p := k.parent; p != nil {
		if err := p.readKeys(); err != nil {
			return err
		}
		if other := p.find(name); other != nil && other != k {
			return &fs.PathError{Op: "key", Path: join(p.Path(), name), Err: fs.ErrExist}
		}
		p.unsorted, p.keyIndex = true, nil
		p.touch()
	}
	k.name = name
	return nil
}

// Value finds a value by its name; the empty name is the default value. One that is not there is fs.ErrNotExist.
func (k *Key) Value(name string) (Value, error) {
	if _, err := k.Values(); err != nil {
		return Value{}, err
	}
	if i := k.valueAt(name); i >= 0 {
		return k.values[i], nil
	}
	if name == "" {
		name = "(default)"
	}
	return Value{}, &fs.PathError{Op: "value", Path: join(k.Path(), name), Err: fs.ErrNotExist}
}

// valueAt is the place of a value among those that are read; -1 if there is none.
func (k *Key) valueAt(name string) int {
	if len(k.values) < indexFrom {
		return slices.IndexFunc(k.values, func(v Value) bool { return compareNames(v.Name, name) == 0 })
	}
	if k.valueIndex == nil {
		k.valueIndex = make(map[string]int, len(k.values))
		for i, v := range slices.Backward(k.values) {
			k.valueIndex[winfile.Fold(v.Name)] = i
		}
	}
	if i, ok := k.valueIndex[winfile.Fold(name)]; ok {
		return i
	}
	return -1
}

// Set makes or replaces a value. data is kept, not copied. A value that is replaced keeps its place and its name as it is written.
func (k *Key) Set(name string, t Type, data []byte) error {
	if n := nameUnits(name); n > maxValName || !winfile.ValidName(name) {
		return fmt.Errorf("value of %q: a name of %d characters, want valid text of at most %d", k.Path(), n, maxValName)
	}
	if len(data) > maxSegments*segmentSize {
		return fmt.Errorf("value %q of %q: %d bytes, want at most %d", name, k.Path(), len(data), maxSegments*segmentSize)
	}
	if _, err := k.Values(); err != nil {
		return err
	}
	k.touch()
	if i := k.valueAt(name); i >= 0 {
		k.values[i].Type, k.values[i].Data, k.values[i].flags = t, data, 0
		return nil
	}
	k.values = append(k.values, Value{Name: name, Type: t, Data: data})
	if k.valueIndex != nil {
		k.valueIndex[winfile.Fold(name)] = len(k.values) - 1
	}
	return nil
}

// DeleteValue removes a value. One that is not there is fs.ErrNotExist.
func (k *Key) DeleteValue(name string) error {
	if _, err := k.Value(name); err != nil {
		return err
	}
	i := k.valueAt(name)
	k.values = slices.Delete(k.values, i, i+1)
	k.valueIndex = nil
	k.touch()
	return nil
}

// Class is the class name as it is stored: UTF-16LE without a NUL as a rule. Most keys have none.
func (k *Key) Class() ([]byte, error) {
	if k.ownClass || k.node == nil || k.node.classSize() == 0 || k.node.class() == nilCell {
		return k.class, nil
	}
	n := k.node.classSize()
	b, err := k.hive.take("class name", k.node.class())
	if err != nil {
		return nil, err
	}
	if n > len(b) {
		return nil, cellError("class name", k.node.class(), "%d bytes, the cell has room for %d", n, len(b))
	}
	k.class, k.ownClass = b[:n:n], true
	return k.class, nil
}

// SetClass sets the class name, at most 65535 bytes.
func (k *Key) SetClass(class []byte) error {
	if len(class) > 0xffff {
		return fmt.Errorf("key %q: class name of %d bytes, want at most 65535", k.Path(), len(class))
	}
	k.class, k.ownClass = class, true
	k.touch()
	return nil
}

// Security is the self-relative security descriptor: read only. Keys of one descriptor share it.
func (k *Key) Security() ([]byte, error) {
	if k.security != nil || k.node == nil {
		return k.security, nil
	}
	sd, err := k.hive.securityAt(k.node.security())
	k.security = sd
	return sd, err
}

// SetSecurity sets the self-relative security descriptor. It is kept, not copied.
func (k *Key) SetSecurity(sd []byte) error {
	if err := checkDescriptor(sd); err != nil {
		return fmt.Errorf("key %q: %w", k.Path(), err)
	}
	k.security = sd
	k.touch()
	return nil
}

// All yields the key and all below it, parents first, in the order of the registry. It ends after the first error, which it yields
// with the key that could not be read.
func (k *Key) All() iter.Seq2[*Key, error] {
	return func(yield func(*Key, error) bool) { k.walk(yield) }
}

func (k *Key) walk(yield func(*Key, error) bool) bool {
	if !yield(k, nil) {
		return false
	}
	keys, err := k.Subkeys()
	if err != nil {
		yield(k, err)
		return false
	}
	for _, c := range keys {
		if !c.walk(yield) {
			return false
		}
	}
	return true
}
