package imagex

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"husk/capconf"
	"husk/internal/source"
	"husk/internal/tree"
	"husk/winfile"
)

// iniPath is where Windows keeps the capture configuration of its own image.
const iniPath = "Windows/System32/WimBootCompress.ini"

// maxLinks bounds how many links are followed one inside the other with --dereference, as Linux does.
const maxLinks = 40

// scanning is how folders of the host are read.
type scanning struct {
	dereference, unix, noACLs, strictACLs, rpfix bool
	conf                                         *capconf.Config
	own                                          string // file that is never captured: the WIM itself; "" if none
}

// config reads --config, or the built-in list. text is that of the file.
func (k *call) config(name string) (conf *capconf.Config, text []byte, err error) {
	if name == "" {
		return capconf.Default(), nil, nil
	}
	text, err = os.ReadFile(name)
	if err != nil {
		return nil, nil, fail(codeReadConfig, "Can't open %q: %w", name, err)
	}
	conf, err = source.ParseConfig(name, text, func(format string, args ...any) { k.warn(format, args...) })
	return conf, text, coded(err, codeConfig)
}

// scanTree makes the entry of a file or directory of the host, with all that is below it. path is where it will be in the image.
func (k *call) scanTree(name, path string, s *scanning) (*winfile.Entry, error) {
	st, err := os.Stat(name)
	if err != nil && s.dereference || err != nil && !isLink(name) {
		return nil, fail(codeStat, "%q: Can't read metadata: %w", name, err)
	}
	opts := &tree.ScanOptions{Unix: s.unix, Normal: true, RPFix: s.rpfix}
	var e *winfile.Entry
	if err == nil && st.IsDir() && (path == "/" || s.dereference || !isLink(name)) {
		if e, err = k.scanFolder(name, path, s, opts); err != nil {
			return nil, err
		}
	} else {
		file := name
		if s.dereference {
			if file, err = filepath.EvalSymlinks(name); err != nil {
				return nil, fail(codeStat, "%q: %w", name, err)
			}
		}
		var report *tree.ScanReport
		if e, report, err = tree.ScanFile(file, opts); err != nil {
			return nil, coded(fmt.Errorf("%q: %w", name, err), codeStat)
		}
		k.closers = append(k.closers, report)
	}
	if s.noACLs {
		for _, c := range (&winfile.Tree{Root: e}).All() {
			c.Info.Security = nil
		}
	}
	return e, nil
}

func (k *call) scanFolder(name, path string, s *scanning, opts *tree.ScanOptions) (*winfile.Entry, error) {
	opts.Exclude = func(p string, _ bool) bool {
		if s.own != "" && sameFile(filepath.Join(name, filepath.FromSlash(p)), s.own) {
			return true
		}
		full := strings.TrimPrefix(cleanPath(path+"/"+p), "/")
		if s.conf == nil || !s.conf.Excluded(full) {
			return false
		}
		k.say("Excluding %q from capture\n", filepath.Join(name, filepath.FromSlash(p)))
		return true
	}
	t, report, err := tree.ScanFolder(k.ctx, name, opts)
	if report != nil {
		k.closers = append(k.closers, report)
	}
	if err != nil {
		return nil, coded(fmt.Errorf("%s: %w", name, err), codeStat)
	}
	for _, w := range report.Warnings.List {
		k.warn("%s: %v", filepath.Join(name, filepath.FromSlash(w.Path)), w.Err)
	}
	if s.dereference {
		if err := k.follow(t.Root, name, path, s, 0); err != nil {
			return nil, err
		}
		recount(t)
	}
	return t.Root, nil
}

// follow puts what links of the host lead to in their place. dir is the folder that e was made from.
func (k *call) follow(e *winfile.Entry, dir, path string, s *scanning, depth int) error {
	if depth > maxLinks {
		return fail(codeStat, "%q: too many links inside each other", dir)
	}
	for i, c := range e.Children {
		name := filepath.Join(dir, c.Name)
		switch {
		case c.Info.IsDir():
			if err := k.follow(c, name, path+"/"+c.Name, s, depth); err != nil {
				return err
			}
		case c.Info.Reparse != nil && isLink(name):
			real, err := filepath.EvalSymlinks(name)
			if err != nil {
				return fail(codeStat, "%q: Can't read metadata: %w", name, err)
			}
			if abs, err := filepath.Abs(name); err == nil && strings.HasPrefix(abs, real+string(filepath.Separator)) {
				return fail(codeStat, "%q leads to a folder that it is in", name)
			}
			st, err := os.Stat(real)
			if err != nil {
				return fail(codeStat, "%q: %w", name, err)
			}
			var n *winfile.Entry
			if st.IsDir() {
				inner := *s
				opts := &tree.ScanOptions{Unix: s.unix, Normal: true}
				inner.dereference = false
				if n, err = k.scanFolder(real, path+"/"+c.Name, &inner, opts); err == nil {
					err = k.follow(n, real, path+"/"+c.Name, s, depth+1)
				}
			} else {
				n, err = k.scanTree(real, path+"/"+c.Name, s)
			}
			if err != nil {
				return err
			}
			n.Name = c.Name
			e.Children[i] = n
		}
	}
	return nil
}

func isLink(name string) bool {
	st, err := os.Lstat(name)
	return err == nil && st.Mode()&fs.ModeSymlink != 0
}

// scanVolume reads the NTFS volume in a file or on a block device.
func (k *call) scanVolume(name string, s *scanning) (*winfile.Entry, error) {
	k.say("Capturing WIM image from NTFS filesystem on %q\n", name)
	v, err := source.Open(k.ctx, name, &source.Options{Raw: true, Warn: k.warn})
	if err != nil {
		return nil, fail(codeNTFS, "%q: %w", name, err)
	}
	k.closers = append(k.closers, v)
	if v.Kind != source.Volume {
		return nil, fail(codeNTFS, "%q is not an NTFS volume", name)
	}
	t, _ := tree.Filter(v.Tree, func(path string, _ bool) bool { return s.conf != nil && s.conf.Excluded(path) })
	if s.noACLs {
		for _, e := range t.All() {
			e.Info.Security = nil
		}
	}
	return t.Root, nil
}

// insert puts an entry at a path of a tree, over what is there: a directory is merged with a directory, a file replaces a file unless
// keep is set. Directories that are missing on the way are made.
func insert(root *winfile.Entry, path string, e *winfile.Entry, keep bool) error {
	names := splitPath(path)
	if len(names) == 0 {
		if !e.Info.IsDir() {
			return fail(codeNotDir, "%s is a file and cannot be the root of an image", e.Name)
		}
		empty := len(root.Children) == 0
		if empty {
			root.Info = e.Info
		}
		return merge(root, e, keep)
	}
	dir, fold := root, foldCase()
	for _, name := range names[:len(names)-1] {
		next := child(dir, name, fold)
		if next == nil {
			next = newDirectory(name)
			dir.Children = append(dir.Children, next)
		}
		if !next.Info.IsDir() {
			return fail(codeNotDir, "%s in the image is not a directory", name)
		}
		dir = next
	}
	e.Name = names[len(names)-1]
	return put(dir, e, keep)
}

// put adds an entry to a directory.
func put(dir, e *winfile.Entry, keep bool) error {
	old := child(dir, e.Name, foldCase())
	switch {
	case old == nil:
		dir.Children = append(dir.Children, e)
		return nil
	case old.Info.IsDir() && e.Info.IsDir():
		return merge(old, e, keep)
	case old.Info.IsDir():
		return fail(codeIsDir, "%s in the image is a directory, and a file cannot replace it", e.Name)
	case e.Info.IsDir():
		return fail(codeNotDir, "%s in the image is a file, and a directory cannot replace it", e.Name)
	case keep:
		return fail(codeOverlay, "%s is in the image already", e.Name)
	}
	old.Info = e.Info
	return nil
}

func merge(dir, e *winfile.Entry, keep bool) error {
	for _, c := range e.Children {
		if err := put(dir, c, keep); err != nil {
			return err
		}
	}
	return nil
}

// isMissing reports whether nothing has a name.
func isMissing(name string) bool {
	_, err := os.Stat(name)
	return errors.Is(err, fs.ErrNotExist)
}
