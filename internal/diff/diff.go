// Package diff tells what happened to a system between two states of it: which files were added, removed, changed and renamed, and
// what of its registry.
//
//	tree, tree ── tree.Compare ──> differences ──> Trees: one Change for each path
//	                                                └─ removed and added with one content ──> renamed
//	hives of both ── key by key ──> Registry
//
// Contents are compared by SHA-1, which pointer files and images know, and are read only where it is not known and all else agrees.
package diff

import (
	"cmp"
	"context"
	"crypto/sha1"
	"hash"
	"math"
	"path"
	"slices"
	"strings"
	"sync"

	"husk/internal/find"
	"husk/internal/tree"
	"husk/winfile"
)

// Kind is what happened to a path.
type Kind string

const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
	Renamed Kind = "renamed" // the same content, made at the same time, under another path
)

// Options tunes Trees. The zero value compares everything but the times of access and of changes of metadata.
type Options struct {
	Paths    []string // files, and folders with all below them, perhaps with wildcards; none means all
	Content  bool     // only contents and whether files are there; no metadata
	AllTimes bool     // the times of access and of changes of metadata too
	Threads  int
	Progress func(bytes int64) // called with the bytes read since the last call, from several goroutines; may be nil
}

// Detail is one property of a file that changed, as text.
type Detail struct {
	What   string `json:"what"` // "content", "written", `stream "x"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Change is what happened to one path.
type Change struct {
	Kind    Kind     `json:"kind"`
	Path    string   `json:"path"`           // slashes
	From    string   `json:"from,omitempty"` // of what was renamed: its path before
	Type    string   `json:"type"`           // "file", "folder", "link"
	Before  int64    `json:"before"`         // bytes of the unnamed data
	After   int64    `json:"after"`
	Content bool     `json:"content"` // the contents differ, not only metadata
	Details []Detail `json:"details,omitempty"`

	a, b *winfile.Entry
}

// Sum counts changes.
type Sum struct {
	Added        int   `json:"added"`
	Removed      int   `json:"removed"`
	Changed      int   `json:"changed"`
	Metadata     int   `json:"metadata"` // of the changed, those whose content stayed
	Renamed      int   `json:"renamed"`
	AddedBytes   int64 `json:"addedBytes"` // of unnamed data; of a file with several names once
	RemovedBytes int64 `json:"removedBytes"`
	ChangedBytes int64 `json:"changedBytes"` // of the new contents
}

// Folder is the sum of the changes in a folder and below it, as far as they are not in one that is listed too.
type Folder struct {
	Path string `json:"path"`
	Sum
}

// Result is what differs between two trees.
type Result struct {
	Changes []Change // by path
	Sum
	Unreadable int   // files of which it is not known whether their content changed; they are among the changed ones
	Paths      int   // compared
	Read       int64 // bytes
}

// Equal reports whether nothing differs.
func (r *Result) Equal() bool { return len(r.Changes) == 0 }

// Trees compares two trees, the state before and the one after.
func Trees(ctx context.Context, before, after *winfile.Tree, o *Options) (*Result, error) {
	if o == nil {
		o = &Options{}
	}
	if len(o.Paths) > 0 {
		before, after = pick(before, after, o.Paths)
	}
	co := &tree.CompareOptions{Limit: math.MaxInt, Workers: o.Threads, Progress: o.Progress, DefaultSecurity: true, IgnoreAttributes: winfile.AttrNormal}
	if !o.AllTimes {
		co.Ignore = tree.DiffAccessed | tree.DiffChanged
	}
	if o.Content {
		co.Ignore = ^(tree.DiffExistence | tree.DiffType | tree.DiffReparse | tree.DiffStreams | tree.DiffContent | tree.DiffRead)
	}
	d, err := tree.Compare(ctx, before, after, co)
	if err != nil {
		return nil, err
	}
	c := &collector{a: index(before), b: index(after), byPath: make(map[string]*Change)}
	for i := range d.List {
		c.add(&d.List[i])
	}
	r := &Result{Paths: d.Paths, Read: d.Bytes, Unreadable: d.Counts[tree.DiffRead]}
	renamed, read, err := c.renames(ctx, o)
	if err != nil {
		return nil, err
	}
	r.Read += read
	for _, x := range c.byPath {
		r.Changes = append(r.Changes, *x)
	}
	for _, x := range c.removed {
		if !renamed[x] {
			r.Changes = append(r.Changes, *x)
		}
	}
	for _, x := range c.added {
		r.Changes = append(r.Changes, *x)
	}
	slices.SortFunc(r.Changes, func(x, y Change) int {
		return cmp.Or(strings.Compare(x.Path, y.Path), strings.Compare(string(x.Kind), string(y.Kind)))
	})
	r.Sum = sum(r.Changes)
	return r, nil
}

// pick cuts both trees down to what the paths name in either, and the folders above that.
func pick(a, b *winfile.Tree, patterns []string) (*winfile.Tree, *winfile.Tree) {
	want := make(map[string]bool)
	for _, t := range []*winfile.Tree{a, b} {
		for _, p := range patterns {
			for _, f := range find.Glob(t, p) {
				want[path.Join(".", strings.TrimPrefix(f.Path, "/"))] = true
			}
		}
	}
	return prune(a, want), prune(b, want)
}

func prune(t *winfile.Tree, want map[string]bool) *winfile.Tree {
	if want["."] {
		return t
	}
	above := make(map[string]bool)
	for p := range want {
		for p != "." && p != "/" {
			p = path.Dir(p)
			above[p] = true
		}
	}
	var cut func(at string, e *winfile.Entry) *winfile.Entry
	cut = func(at string, e *winfile.Entry) *winfile.Entry {
		if want[at] {
			return e
		}
		if !above[at] {
			return nil
		}
		c := *e
		c.Children = nil
		for _, child := range e.Children {
			if kept := cut(path.Join(at, child.Name), child); kept != nil {
				c.Children = append(c.Children, kept)
			}
		}
		return &c
	}
	if root := cut(".", t.Root); root != nil {
		return &winfile.Tree{Root: root}
	}
	return &winfile.Tree{Root: &winfile.Entry{Info: t.Root.Info}}
}

// index finds entries by their path. Of several that have one path the first counts, as in tree.Compare.
func index(t *winfile.Tree) map[string]*winfile.Entry {
	m := make(map[string]*winfile.Entry)
	for p, e := range t.All() {
		if m[p] == nil {
			m[p] = e
		}
	}
	return m
}

// collector makes changes of differences.
type collector struct {
	a, b           map[string]*winfile.Entry
	byPath         map[string]*Change // changed
	removed, added []*Change
}

func (c *collector) add(d *tree.Difference) {
	a, b := c.a[d.Path], c.b[d.Path]
	switch {
	case d.Kind == tree.DiffExistence && d.B == "absent":
		c.below(d.Path, a, Removed)
		return
	case d.Kind == tree.DiffExistence:
		c.below(d.Path, b, Added)
		return
	}
	x := c.byPath[d.Path]
	if x == nil {
		x = &Change{Kind: Changed, Path: d.Path, Type: typeOf(b), a: a, b: b, Before: sizeOf(a), After: sizeOf(b)}
		c.byPath[d.Path] = x
	}
	x.Details = append(x.Details, Detail{d.What, d.A, d.B})
	if d.Kind&(tree.DiffType|tree.DiffReparse|tree.DiffStreams|tree.DiffContent|tree.DiffRead) != 0 {
		x.Content = true
	}
	if d.Kind == tree.DiffType { // what is below a folder that became something else, or the other way round
		c.children(d.Path, a, Removed)
		c.children(d.Path, b, Added)
	}
}

// below lists an entry and all that is below it.
func (c *collector) below(at string, e *winfile.Entry, kind Kind) {
	if e == nil {
		return
	}
	x := &Change{Kind: kind, Path: at, Type: typeOf(e), Content: true}
	if kind == Removed {
		x.a, x.Before = e, sizeOf(e)
		c.removed = append(c.removed, x)
	} else {
		x.b, x.After = e, sizeOf(e)
		c.added = append(c.added, x)
	}
	c.children(at, e, kind)
}

func (c *collector) children(at string, e *winfile.Entry, kind Kind) {
	if e == nil {
		return
	}
	for _, child := range e.Children {
		c.below(path.Join(at, child.Name), child, kind)
	}
}

func typeOf(e *winfile.Entry) string {
	if e == nil {
		return "file"
	}
	switch find.TypeOf(e.Info) {
	case 'l':
		return "link"
	case 'd':
		return "folder"
	}
	return "file"
}

func sizeOf(e *winfile.Entry) int64 {
	if e == nil {
		return 0
	}
	return e.Info.Size()
}

// likeness is what a file keeps when it is renamed, besides its content.
type likeness struct {
	size    int64
	created winfile.Filetime
}

// renames joins removed and added files that are the same file. It reads what has to be read to know.
func (c *collector) renames(ctx context.Context, o *Options) (renamed map[*Change]bool, read int64, err error) {
	gone := make(map[likeness][]*Change)
	for _, x := range c.removed {
		if l, ok := likenessOf(x.a); ok {
			gone[l] = append(gone[l], x)
		}
	}
	var blobs []*winfile.Blob
	seen := make(map[*winfile.Blob]bool)
	unknown := func(e *winfile.Entry) {
		if b := e.Info.Data; b.SHA1 == (winfile.SHA1{}) && b.Content != nil && !seen[b] {
			seen[b] = true
			blobs = append(blobs, b)
		}
	}
	var candidates []*Change
	for _, x := range c.added {
		l, ok := likenessOf(x.b)
		if !ok || len(gone[l]) == 0 {
			continue
		}
		candidates = append(candidates, x)
		unknown(x.b)
		for _, y := range gone[l] {
			unknown(y.a)
		}
	}
	if err := Hash(ctx, blobs, o.Threads, o.Progress); err != nil {
		return nil, 0, err
	}
	for _, b := range blobs {
		read += b.Size
	}
	renamed = make(map[*Change]bool)
	for _, x := range candidates {
		l, _ := likenessOf(x.b)
		if y := match(x, gone[l], renamed); y != nil {
			renamed[y] = true
			x.Kind, x.From, x.Before, x.a, x.Content = Renamed, y.Path, y.Before, y.a, false
		}
	}
	return renamed, read, nil
}

func likenessOf(e *winfile.Entry) (likeness, bool) {
	i := e.Info
	return likeness{i.Size(), i.Created}, !i.IsDir() && i.Data != nil && i.Created != 0
}

// match picks the removed file that an added one was: of several, one of the same last name.
func match(x *Change, gone []*Change, taken map[*Change]bool) *Change {
	var best *Change
	h := x.b.Info.Data.SHA1
	for _, y := range gone {
		if taken[y] || h == (winfile.SHA1{}) || y.a.Info.Data.SHA1 != h {
			continue
		}
		if winfile.EqualFold(y.a.Name, x.b.Name) {
			return y
		}
		if best == nil {
			best = y
		}
	}
	return best
}

// Hash reads contents and notes their SHA-1.
func Hash(ctx context.Context, blobs []*winfile.Blob, workers int, progress func(int64)) error {
	var mu sync.Mutex
	running := make(map[*winfile.Blob]hash.Hash)
	return winfile.ReadBlobs(ctx, blobs, workers, func(b *winfile.Blob, off int64, p []byte) error {
		last := off+int64(len(p)) == b.Size
		mu.Lock()
		h := running[b]
		if h == nil {
			h = sha1.New()
			running[b] = h
		}
		if last {
			delete(running, b)
		}
		mu.Unlock()
		h.Write(p)
		if last {
			h.Sum(b.SHA1[:0])
		}
		if progress != nil {
			progress(int64(len(p)))
		}
		return nil
	})
}

func sum(changes []Change) Sum {
	var s Sum
	seen := make(map[*winfile.Info]bool)
	once := func(e *winfile.Entry) int64 {
		if e == nil || e.Info.Links > 1 && seen[e.Info] {
			return 0
		}
		seen[e.Info] = true
		return e.Info.Size()
	}
	for i := range changes {
		x := &changes[i]
		switch x.Kind {
		case Added:
			s.Added++
			s.AddedBytes += once(x.b)
		case Removed:
			s.Removed++
			s.RemovedBytes += once(x.a)
		case Renamed:
			s.Renamed++
		case Changed:
			s.Changed++
			if x.Content {
				s.ChangedBytes += once(x.b)
			} else {
				s.Metadata++
			}
		}
	}
	return s
}

// Folders sums up changes by the folder at a depth that they are in: 1 is below the root.
func (r *Result) Folders(depth int) []Folder {
	lists := make(map[string][]Change)
	for _, x := range r.Changes {
		dir := x.Path
		if x.Type != "folder" {
			dir = path.Dir(dir)
		}
		parts := strings.Split(dir, "/")
		if len(parts) > depth {
			parts = parts[:depth]
		}
		dir = strings.Join(parts, "/")
		lists[dir] = append(lists[dir], x)
	}
	var out []Folder
	for dir, list := range lists {
		out = append(out, Folder{dir, sum(list)})
	}
	slices.SortFunc(out, func(x, y Folder) int { return strings.Compare(x.Path, y.Path) })
	return out
}
