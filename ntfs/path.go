package ntfs

import (
	"context"
	"slices"

	"husk/winfile"
)

// maxPathDepth bounds the way from a file up to the root: a path of Windows has at most 32767 units.
const maxPathDepth = 16384

// Paths reads a part of the tree without a scan of the MFT: the files and directories at paths, all their names with the directories
// above, and of each directory the entries in it, but not what is below those. What is there is as in the tree of [Volume.Tree];
// paths that do not exist are not in it. It costs some reads for each level of a path and each entry of a directory.
func (v *Volume) Paths(ctx context.Context, paths ...string) (*winfile.Tree, error) {
	sds, err := v.security()
	if err != nil {
		v.warn("$Secure: %v", err)
	}
	p := &pathBuilder{
		treeBuilder: treeBuilder{v: v, security: sds, inline: make(map[string][]byte)},
		files:       make(map[int64]*pathFile),
	}
	root, err := p.file(makeRefOf(recRoot))
	if err != nil {
		return nil, err
	}
	root.entries = []*winfile.Entry{{Info: root.info}}
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, ok, err := v.Lookup(path)
		if err != nil {
			return nil, err
		}
		if !ok || n != recRoot && n < firstUserFile {
			continue
		}
		f, err := p.file(makeRefOf(n))
		if err != nil {
			return nil, err
		}
		for i := range f.entries {
			if err := p.attach(f, i, 0); err != nil {
				v.warn("%v", err)
			}
		}
		if f.info.IsDir() {
			if err := p.list(ctx, f); err != nil {
				return nil, err
			}
		}
	}
	p.birthIDs()
	return &winfile.Tree{Root: root.entries[0]}, nil
}

// makeRefOf is a reference to whatever record n is now.
func makeRefOf(n int64) fileRef { return makeRef(uint64(n), 0) }

// pathBuilder makes a part of a tree.
type pathBuilder struct {
	treeBuilder
	files map[int64]*pathFile
}

// pathFile is a record that was met.
type pathFile struct {
	record   int64
	info     *winfile.Info
	entries  []*winfile.Entry // of each name that is not a DOS name
	parents  []fileRef        // of each
	attached []bool
	attrs    []fileAttr // of a directory
}

// file reads a record and makes the entries of its names. A sequence number other than 0 must be the record's.
func (p *pathBuilder) file(ref fileRef) (*pathFile, error) {
	n := int64(ref.record())
	f := p.files[n]
	if f != nil {
		return f, nil
	}
	r, list, err := p.v.baseAttrs(n)
	if err != nil {
		return nil, err
	}
	if s := ref.sequence(); s != 0 && s != r.sequence() {
		return nil, formatError(recordName(n), 0x10, "sequence number %d, want %d", r.sequence(), s)
	}
	f = &pathFile{record: n, info: &winfile.Info{ID: uint64(n)}}
	if r.flags()&recordDirectory != 0 {
		f.info.Attributes = winfile.AttrDirectory
		f.attrs = list
	}
	if err := p.describe(f.info, list); err != nil {
		p.v.warn("%v", err)
	}
	var names []treeName
	add := func(key fileName) {
		e := &winfile.Entry{Name: p.intern(key.name()), Info: f.info}
		if !legalName(e.Name) && n != recRoot {
			return
		}
		names = append(names, treeName{e, key.parent(), uint32(n)})
		f.entries, f.parents = append(f.entries, e), append(f.parents, key.parent())
	}
	for _, a := range list {
		if a.typ() != typeFileName || a.nonResident() {
			continue
		}
		if key := fileName(a.value()); key.check() == nil && key.namespace() != nameDOS {
			add(key)
		}
	}
	for _, a := range p.shortNames(list, names) {
		add(fileName(a.value()))
	}
	f.info.Links = int32(max(len(names), 1))
	f.attached = make([]bool, len(names))
	p.files[n] = f
	return f, nil
}

// attach puts a name of a file into its directory, and that into its own, up to the root.
func (p *pathBuilder) attach(f *pathFile, i, depth int) error {
	if f.record == recRoot || f.attached[i] {
		return nil
	}
	if depth > maxPathDepth {
		return formatError(recordName(f.record), 0, "more than %d directories above it", maxPathDepth)
	}
	f.attached[i] = true // before the directory: a loop ends here
	dir, err := p.file(f.parents[i])
	if err != nil {
		return err
	}
	if !dir.info.IsDir() || len(dir.entries) == 0 {
		return formatError(recordName(dir.record), 0, "not a directory, but record %d has its name in it", f.record)
	}
	if err := p.attach(dir, 0, depth+1); err != nil {
		return err
	}
	dir.entries[0].Children = append(dir.entries[0].Children, f.entries[i])
	return nil
}

// list makes all entries of a directory, in the order of its index.
func (p *pathBuilder) list(ctx context.Context, dir *pathFile) error {
	x, err := p.v.openIndex(dir.record, dir.attrs, "$I30")
	if err != nil {
		return err
	}
	var children []*winfile.Entry
	x.walk(func(e nodeEntry) {
		key := fileName(e.key())
		n := int64(e.ref().record())
		if ctx.Err() != nil || n < firstUserFile || key.check() != nil {
			return
		}
		f, err := p.file(e.ref())
		if err != nil {
			p.v.warn("%v", err)
			return
		}
		name := winfile.NameFromUTF16LE(key.name())
		i := slices.IndexFunc(f.entries, func(c *winfile.Entry) bool { return c.Name == name })
		for i >= 0 && int64(f.parents[i].record()) != dir.record {
			next := slices.IndexFunc(f.entries[i+1:], func(c *winfile.Entry) bool { return c.Name == name })
			if next < 0 {
				i = -1
				break
			}
			i += 1 + next
		}
		switch {
		case i < 0 && key.namespace() == nameDOS: // its long name has it
			return
		case i < 0:
			p.v.warn("%s: %q in the index of record %d is not among its names", recordName(n), name, dir.record)
			return
		}
		f.attached[i] = true
		children = append(children, f.entries[i])
	}, func(err error) { p.v.warn("%s: %v", x.what, err) })
	dir.entries[0].Children = children
	return ctx.Err()
}
