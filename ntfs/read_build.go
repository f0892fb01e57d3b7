package ntfs

import (
	"slices"

	"husk/winfile"
)

// build puts the names into their directories.
func (b *treeBuilder) build() (*winfile.Tree, error) {
	root := b.fileAt(recRoot)
	if root == nil || root.entry == nil || !root.info.IsDir() {
		return nil, formatError(recordName(recRoot), 0, "not a directory: the volume has no root")
	}
	byParent := b.group()
	hidden := b.attach(root, byParent)
	b.reportLost(hidden)
	return &winfile.Tree{Root: root.entry}, nil
}

// parentOf is the directory that a name lies in, nil if its reference leads to none.
func (b *treeBuilder) parentOf(t *treeName) *treeFile {
	p := b.fileAt(t.parent.record())
	if p == nil || p.sequence != t.parent.sequence() || p.info.Attributes&winfile.AttrDirectory == 0 || p.entry == nil {
		return nil
	}
	return p
}

// group sorts the names by parent: those of one directory follow each other, in the order of its index. Names without a parent are left
// out.
func (b *treeBuilder) group() []treeName {
	kept := make([]treeName, 0, len(b.names))
	for _, t := range b.names {
		if b.parentOf(&t) != nil {
			kept = append(kept, t)
		}
	}
	slices.SortFunc(kept, func(x, y treeName) int {
		if x.parent.record() != y.parent.record() {
			if x.parent.record() < y.parent.record() {
				return -1
			}
			return 1
		}
		return compareStrings(b.v.upcase, x.entry.Name, y.entry.Name)
	})
	return kept
}

// attach gives children to every directory that the root reaches, and marks what it reached. It returns how many names lie in junctions and
// links, which the tree cannot hold.
func (b *treeBuilder) attach(root *treeFile, byParent []treeName) (hidden int) {
	slots := make([]*winfile.Entry, 0, len(byParent))
	queue := []uint64{recRoot}
	root.reached = true
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		dir := b.fileAt(n)
		i, _ := slices.BinarySearchFunc(byParent, n, func(t treeName, n uint64) int {
			switch p := t.parent.record(); {
			case p < n:
				return -1
			case p > n:
				return 1
			}
			return 0
		})
		first := len(slots)
		for ; i < len(byParent) && byParent[i].parent.record() == n; i++ {
			t := byParent[i]
			f := b.fileAt(uint64(t.child))
			f.reached = true
			if f.entry != nil {
				queue = append(queue, uint64(t.child))
			}
			if n == recRoot && t.child < firstUserFile {
				continue
			}
			slots = append(slots, t.entry)
		}
		switch children := slots[first:len(slots):len(slots)]; {
		case len(children) == 0:
		case dir.info.IsDir():
			dir.entry.Children = children
		default:
			hidden += len(children)
		}
	}
	return hidden
}

// firstUserFile is the first record that may be an ordinary file: 12 to 15 are reserved and 16 to 23 hold extents of the $MFT.
const firstUserFile = 24

// reportLost warns of names that the root does not reach.
func (b *treeBuilder) reportLost(hidden int) {
	if hidden > 0 {
		b.v.warn("%d names lie in junctions or links to directories: left out", hidden)
	}
	for i := range b.names {
		t := &b.names[i]
		f := b.fileAt(uint64(t.child))
		switch {
		case b.parentOf(t) == nil:
			b.v.warn("record %d %q: its directory %v does not exist", t.child, t.entry.Name, t.parent)
		case !b.parentOf(t).reached:
			b.v.warn("record %d %q: its directory %v is not reached from the root", t.child, t.entry.Name, t.parent)
		default:
			continue
		}
		f.info.Links--
	}
}
