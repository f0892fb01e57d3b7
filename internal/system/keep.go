package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"husk/internal/diff"
	"husk/internal/find"
	"husk/internal/store"
	"husk/internal/winsys"
	"husk/regf"
	"husk/winfile"
)

// A File is a file of the old system that the new one will not have as it is.
type File struct {
	Path  string `json:"path"`
	Size  int64  `json:"size"`
	User  bool   `json:"user"`  // it lies where people keep their own files, not where Windows and programs do
	Saved bool   `json:"saved"` // some point of the store has it

	entry *winfile.Entry
}

// Group counts files.
type Group struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (g *Group) add(f *File) {
	g.Files++
	g.Bytes += f.Size
}

// folded is a tree whose paths are looked up ignoring case.
type folded map[string]*winfile.Entry

func foldTree(t *winfile.Tree) folded {
	m := make(folded)
	for p, e := range t.All() {
		m[winfile.Fold(p)] = e
	}
	return m
}

// differing lists the files of the old system that a new tree does not have at their path with their content. What excluded names, no point
// ever has. Contents that are not known to be equal or not are read.
func differing(ctx context.Context, old *winfile.Tree, to folded, excluded func(string, bool) bool, threads int) ([]*File, error) {
	var files []*File
	windows := winsys.Folder(old)
	skip := ""
	for p, e := range old.All() {
		if skip != "" && strings.HasPrefix(p, skip) {
			continue
		}
		skip = ""
		if p == "." {
			continue
		}
		if excluded(p, e.Info.IsDir()) {
			skip = p + "/"
			continue
		}
		if e.Info.IsDir() {
			continue
		}
		files = append(files, &File{Path: p, Size: e.Info.Size(), User: isUsers(p, windows), entry: e})
	}
	return without(ctx, files, []folded{to}, threads)
}

// without drops the files that one of the trees has.
func without(ctx context.Context, files []*File, trees []folded, threads int) ([]*File, error) {
	var blobs []*winfile.Blob
	seen := make(map[*winfile.Blob]bool)
	for _, f := range files {
		for _, t := range trees {
			if other := t[winfile.Fold(f.Path)]; other != nil && likeness(f.entry.Info, other.Info) == unsure {
				for _, b := range []*winfile.Blob{f.entry.Info.Data, other.Info.Data} {
					if b.SHA1 == (winfile.SHA1{}) && b.Content != nil && !seen[b] {
						seen[b] = true
						blobs = append(blobs, b)
					}
				}
			}
		}
	}
	slices.SortStableFunc(blobs, func(a, b *winfile.Blob) int { return cmp.Compare(a.Order, b.Order) })
	if err := diff.Hash(ctx, blobs, threads, nil); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(files, func(f *File) bool {
		return slices.ContainsFunc(trees, func(t folded) bool {
			other := t[winfile.Fold(f.Path)]
			return other != nil && likeness(f.entry.Info, other.Info) == equal
		})
	}), nil
}

type verdict int

const (
	differ verdict = iota
	equal
	unsure // contents must be read
)

// likeness compares the contents of two files. Files of one size that were written at the same instant are taken to be the same, as
// backup programs do.
func likeness(a, b *winfile.Info) verdict {
	if (a.Reparse == nil) != (b.Reparse == nil) || a.IsDir() != b.IsDir() || len(a.Streams) > len(b.Streams) {
		return differ
	}
	if a.Reparse != nil {
		if a.Reparse.Tag == b.Reparse.Tag && string(a.Reparse.Data) == string(b.Reparse.Data) {
			return equal
		}
		return differ
	}
	for _, s := range a.Streams {
		i := slices.IndexFunc(b.Streams, func(o winfile.Stream) bool { return winfile.EqualFold(o.Name, s.Name) })
		if i < 0 || !sameStream(s.Data, b.Streams[i].Data, a.Written == b.Written) {
			return differ
		}
	}
	switch {
	case a.Size() != b.Size():
		return differ
	case a.Data == nil:
		return equal
	case a.Data.SHA1 != (winfile.SHA1{}) && b.Data.SHA1 != (winfile.SHA1{}):
		if a.Data.SHA1 == b.Data.SHA1 {
			return equal
		}
		return differ
	case a.Written == b.Written && a.Written != 0:
		return equal
	}
	return unsure
}

// sameStream compares the contents of two named streams. What would have to be read counts as another one, so that it is not lost.
func sameStream(a, b *winfile.Blob, sameTime bool) bool {
	switch {
	case sizeOf(a) != sizeOf(b):
		return false
	case sizeOf(a) == 0:
		return true
	case a.SHA1 != (winfile.SHA1{}) && b.SHA1 != (winfile.SHA1{}):
		return a.SHA1 == b.SHA1
	}
	return sameTime
}

func sizeOf(b *winfile.Blob) int64 {
	if b == nil {
		return 0
	}
	return b.Size
}

// markSaved finds which files some other point of the store has.
func markSaved(ctx context.Context, files []*File, s *store.Store, but *store.Point, threads int) error {
	if s == nil || len(files) == 0 {
		return nil
	}
	var trees []folded
	for _, p := range s.Points() {
		if but != nil && p.ID == but.ID && p.Layer == but.Layer && p.Image == but.Image {
			continue
		}
		src, err := s.Source(ctx, p)
		if err != nil {
			continue // what cannot be read has saved nothing
		}
		trees = append(trees, foldTree(src.Tree))
	}
	lost, err := without(ctx, slices.Clone(files), trees, threads)
	if err != nil {
		return err
	}
	left := make(map[*File]bool, len(lost))
	for _, f := range lost {
		left[f] = true
	}
	for _, f := range files {
		f.Saved = !left[f]
	}
	return nil
}

// systemFolders are the folders at the top of a volume that are Windows' and its programs'.
var systemFolders = []string{"Program Files", "Program Files (x86)", "Program Files (Arm)", "ProgramData", "Boot", "EFI", "Recovery", "PerfLogs", "$WinREAgent",
	"$SysReset", "$Windows.~BT", "$Windows.~WS", "Windows.old", "$GetCurrent", "Documents and Settings"}

// isUsers reports whether a path is where people keep their own files.
func isUsers(p, windows string) bool {
	first, rest, below := strings.Cut(p, "/")
	if !below { // a file at the top: bootmgr, pagefile.sys
		ext := path.Ext(first)
		return !winfile.EqualFold(first, "bootmgr") && !winfile.EqualFold(first, "BOOTNXT") && !winfile.EqualFold(ext, ".sys") && !winfile.EqualFold(ext, ".log")
	}
	if winfile.EqualFold(first, windows) || slices.ContainsFunc(systemFolders, func(s string) bool { return winfile.EqualFold(s, first) }) {
		return false
	}
	name := winfile.Fold(path.Base(rest))
	profile := strings.HasPrefix(name, "NTUSER.DAT") || strings.HasPrefix(name, "USRCLASS.DAT") || name == "NTUSER.INI"
	if !winfile.EqualFold(first, "Users") {
		return true
	}
	below = strings.Contains(winfile.Fold("/"+rest), "/APPDATA/LOCAL/TEMP/") || strings.Contains(winfile.Fold("/"+rest), "/APPDATA/LOCAL/MICROSOFT/WINDOWS/")
	return !profile && !below
}

// matches reports whether a path is named by one of the patterns: it or a folder above it.
func matches(p string, patterns []string) bool {
	for _, pattern := range patterns {
		pattern = strings.Trim(strings.ReplaceAll(pattern, `\`, "/"), "/")
		for at := p; at != "."; at = path.Dir(at) {
			if find.Wildcard(pattern, at) {
				return true
			}
		}
	}
	return false
}

// keeper puts files of the old system into the new tree.
type keeper struct {
	old, tree *winfile.Tree
	store     *store.Store
	infos     map[*winfile.Info]*winfile.Info
	kept      Group
}

func newKeeper(old, tree *winfile.Tree, s *store.Store) *keeper {
	return &keeper{old: old, tree: tree, store: s, infos: make(map[*winfile.Info]*winfile.Info)}
}

// keep puts one file into the tree, with all its metadata and the folders above it. A file that is there is replaced.
func (k *keeper) keep(p string) error {
	from := lookup(k.old, p)
	if from == nil {
		return fmt.Errorf("%s cannot be kept: it is not there", p)
	}
	dir, at := k.tree.Root, k.old.Root
	parts := strings.Split(p, "/")
	for _, name := range parts[:len(parts)-1] {
		if at = childOf(at, name); at == nil {
			return fmt.Errorf("%s cannot be kept: it is not there", p)
		}
		c := childOf(dir, name)
		if c == nil {
			info := *at.Info
			info.Links = 1
			c = &winfile.Entry{Name: at.Name, ShortName: at.ShortName, Info: &info}
			dir.Children = append(dir.Children, c)
		}
		if !c.Info.IsDir() {
			return fmt.Errorf("%s cannot be kept: the point has a file or link %s", p, c.Name)
		}
		dir = c
	}
	info, err := k.info(p, from.Info)
	if err != nil {
		return err
	}
	c := childOf(dir, from.Name)
	switch {
	case c == nil:
		c = &winfile.Entry{Name: from.Name, ShortName: from.ShortName}
		dir.Children = append(dir.Children, c)
	case len(c.Children) > 0:
		return fmt.Errorf("%s cannot be kept: the point has a folder of that name", p)
	default:
		c.Info.Links--
	}
	info.Links++
	c.Info = info
	return nil
}

// info is the file for the new tree: one for all names of a file. Contents whose own WIM is lost may be in another layer.
func (k *keeper) info(p string, old *winfile.Info) (*winfile.Info, error) {
	if i := k.infos[old]; i != nil {
		return i, nil
	}
	i := *old
	i.Links = 0
	if d := i.Data; d != nil && d.Content == nil {
		i.Data = nil
		if k.store != nil {
			i.Data = k.store.Blob(d.SHA1)
		}
		if i.Data == nil {
			return nil, fmt.Errorf("%s cannot be kept: the WIM that has its content is not at hand", p)
		}
	}
	k.infos[old] = &i
	k.kept.Files++
	k.kept.Bytes += i.Size()
	return &i, nil
}

// bootNames are what starts a system, beside Windows itself, from the top of its volume.
var bootNames = []string{"bootmgr", "BOOTNXT", "BOOTSECT.BAK", "Boot", "EFI"}

// keepBoot takes over the boot files of the old volume that the point does not have, and its boot stores, which belong to the disk.
func (k *keeper) keepBoot() (int, error) {
	before := k.kept
	n := 0
	for p, e := range k.old.All() {
		first, _, _ := strings.Cut(p, "/")
		if e.Info.IsDir() || !slices.ContainsFunc(bootNames, func(b string) bool { return winfile.EqualFold(b, first) }) {
			continue
		}
		menu := strings.HasPrefix(winfile.Fold(path.Base(p)), "BCD") && path.Base(path.Dir(p)) != "."
		if there := lookup(k.tree, p); there != nil && (!menu || likeness(e.Info, there.Info) == equal) {
			continue
		}
		if err := k.keep(p); err != nil {
			return n, err
		}
		if n++; menu {
			k.dropLogs(p)
		}
	}
	k.kept = before
	return n, nil
}

// dropLogs takes the logs of a hive out of the tree that the old system did not have: they belong to the point's hive.
func (k *keeper) dropLogs(hive string) {
	dir, had := lookup(k.tree, path.Dir(hive)), lookup(k.old, path.Dir(hive))
	for _, ext := range regf.LogNames {
		name := path.Base(hive) + ext
		if childOf(had, name) != nil {
			continue
		}
		dir.Children = slices.DeleteFunc(dir.Children, func(e *winfile.Entry) bool {
			if !winfile.EqualFold(e.Name, name) {
				return false
			}
			e.Info.Links--
			return true
		})
	}
}

// errUndecided says that nobody said what is to become of files that would be lost.
var errUndecided = errors.New("files of the system are in no point and would be lost")

// IsUndecided reports whether a restore was refused because files would be lost.
func IsUndecided(err error) bool { return errors.Is(err, errUndecided) }
