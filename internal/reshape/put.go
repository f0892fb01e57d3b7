package reshape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"husk/internal/tree"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/winfile"
)

// PutOptions tunes Put.
type PutOptions struct {
	Recursive bool // take folders with all that is in them
	Replace   bool // files that are there get new contents
	DryRun    bool
	Stdin     io.Reader // what "-" stands for
	UI        *ui.UI
}

// PutResult tells what was put.
type PutResult struct {
	DryRun          bool
	Files, Replaced int // new files, and those that got a new content
	Dirs            int // new folders
	Bytes           int64
	Copied          int // further names of hard-linked files, which became files of their own
	NoObjectID      int // files without the object id that the host has, as another file of the volume has it
}

// source files, and where they go.
type putFile struct {
	path    string
	info    *winfile.Info
	replace bool
}

// putter gathers what is to be put before anything is written.
type putter struct {
	s       *session
	o       *PutOptions
	list    []putFile
	planned map[string]bool // paths of list, as Windows compares names
	ids     map[string]bool // object ids that files of the volume have, or will
	closers []io.Closer
	result  PutResult
}

// Put puts files and folders of the host onto a volume. Dest is a folder of it, into which they go, or the new name of the only one. What
// is there keeps its metadata and only gets new contents; what is new gets all that the host has of it. A file that is there is an
// fs.ErrExist error without Replace.
func Put(ctx context.Context, spec string, names []string, dest string, o *PutOptions) (_ *PutResult, err error) {
	s, err := open(ctx, spec, &Options{DryRun: o.DryRun, UI: o.UI})
	if err != nil {
		return nil, err
	}
	p := &putter{s: s, o: o, planned: make(map[string]bool), ids: make(map[string]bool), result: PutResult{DryRun: o.DryRun}}
	for _, e := range s.src.Tree.All() {
		p.ids[objectID(e.Info)] = true
	}
	defer func() {
		for _, c := range p.closers {
			err = errors.Join(err, c.Close())
		}
	}()
	if err = p.plan(ctx, names, dest); err == nil {
		err = p.write(ctx)
	}
	if err != nil { // what is not committed yet is not to be
		return nil, errors.Join(err, s.close())
	}
	_, err = s.finish(nil)
	return &p.result, err
}

func (p *putter) plan(ctx context.Context, names []string, dest string) error {
	dest = strings.Trim(strings.ReplaceAll(dest, `\`, "/"), "/")
	into := p.s.src.Tree.Lookup(dest)
	if into != nil && !into.Info.IsDir() {
		into = nil
	}
	if into == nil && len(names) > 1 {
		return fmt.Errorf("%s: no folder /%s, and more than one file to put there", p.s.src.Path, dest)
	}
	for _, name := range names {
		target := dest
		if into != nil {
			if name == "-" {
				return ui.Usage(fmt.Errorf("- has no name: give the path of a file, not the folder /%s", dest))
			}
			abs, err := filepath.Abs(name)
			if err != nil {
				return err
			}
			target = strings.TrimPrefix(dest+"/"+filepath.Base(abs), "/")
		}
		e, err := p.open(ctx, name)
		if err != nil {
			return err
		}
		if err := p.take(target, e); err != nil {
			return err
		}
	}
	return nil
}

// open reads what the host has of a file or folder.
func (p *putter) open(ctx context.Context, name string) (*winfile.Entry, error) {
	if name == "-" {
		return p.spool()
	}
	st, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if st.IsDir() && !p.o.Recursive {
		return nil, ui.Hint(ui.Usage(fmt.Errorf("%s is a folder", name)), "put it with all that is in it: -r")
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	dir, so := abs, &tree.ScanOptions{}
	if !st.IsDir() {
		base := filepath.Base(abs)
		dir, so.Exclude = filepath.Dir(abs), func(path string, _ bool) bool { return path != base }
	}
	t, report, err := tree.ScanFolder(ctx, dir, so)
	if report != nil {
		p.closers = append(p.closers, report)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if report.Warnings.Total > 0 {
		p.o.UI.Warn("%s: %s", name, report.Warnings.Error())
	}
	if st.IsDir() {
		return t.Root, nil
	}
	if len(t.Root.Children) != 1 {
		return nil, fmt.Errorf("%s is not a file that a volume can have", name)
	}
	return t.Root.Children[0], nil
}

// spool keeps what comes from the standard input, as its size must be known.
func (p *putter) spool() (*winfile.Entry, error) {
	f, err := os.CreateTemp("", "husk-")
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, temporary{f})
	n, err := io.Copy(f, p.o.Stdin)
	if err != nil {
		return nil, err
	}
	i := &winfile.Info{Attributes: winfile.AttrArchive, Links: 1}
	if n > 0 {
		i.Data = &winfile.Blob{Size: n, Content: scratched{f}}
	}
	return &winfile.Entry{Info: i}, nil
}

// temporary is a file that goes when it is closed.
type temporary struct{ *os.File }

func (t temporary) Close() error { return errors.Join(t.File.Close(), os.Remove(t.Name())) }

// take plans an entry and what is below it.
func (p *putter) take(target string, top *winfile.Entry) error {
	seen := make(map[*winfile.Info]bool)
	for path, e := range (&winfile.Tree{Root: top}).All() {
		at := target
		if path != "." && e != top {
			at = strings.TrimPrefix(target+"/"+path, "/")
		}
		if err := p.plan1(at, e.Info); err != nil {
			return err
		}
		if e.Info.Links > 1 && !e.Info.IsDir() {
			if seen[e.Info] {
				p.result.Copied++
			}
			seen[e.Info] = true
		}
	}
	return nil
}

// plan1 plans one file or folder.
func (p *putter) plan1(at string, i *winfile.Info) error {
	key := winfile.Fold(at)
	there := p.s.src.Tree.Lookup(at)
	f := putFile{path: at, info: i}
	switch {
	case p.planned[key] && i.IsDir():
		return nil
	case p.planned[key]:
		return fmt.Errorf("two files would be /%s", at)
	case there == nil && at == "":
		return errors.New("the root of a volume is a folder")
	case there == nil:
	case there.Info.IsDir() && i.IsDir():
		return nil
	case there.Info.Attributes&winfile.AttrDirectory != 0 || i.Attributes&winfile.AttrDirectory != 0:
		return fmt.Errorf("/%s is a folder on one side and a file on the other", at)
	case !p.o.Replace:
		return &fs.PathError{Op: "put", Path: "/" + at, Err: fs.ErrExist}
	case i.Reparse != nil || there.Info.Reparse != nil && there.Info.Reparse.Tag != winfile.TagWOF:
		return fmt.Errorf("/%s is a link and cannot be replaced: remove it first", at)
	default:
		f.replace = true
	}
	if id := objectID(i); id != "" && !f.replace {
		if p.ids[id] {
			f.info = withoutObjectID(i)
			p.result.NoObjectID++
		}
		p.ids[id] = true
	}
	p.planned[key] = true
	p.list = append(p.list, f)
	switch {
	case f.replace:
		p.result.Replaced++
	case i.Attributes&winfile.AttrDirectory != 0:
		p.result.Dirs++
	default:
		p.result.Files++
	}
	for b := range i.Blobs() {
		p.result.Bytes += b.Size
	}
	return nil
}

// objectID is the GUID by which links find a file, which only one of a volume can have; "" without one.
func objectID(i *winfile.Info) string {
	if i.Extra == nil || len(i.Extra.ObjectID) < 16 {
		return ""
	}
	return string(i.Extra.ObjectID[:16])
}

func withoutObjectID(i *winfile.Info) *winfile.Info {
	c, x := *i, *i.Extra
	x.ObjectID = nil
	c.Extra = &x
	return &c
}

func (p *putter) write(ctx context.Context) error {
	free, err := p.s.src.NTFS.FreeBytes()
	if err != nil {
		return fmt.Errorf("%s: %w", p.s.src.Path, err)
	}
	if p.result.Bytes > free {
		return ui.Hint(fmt.Errorf("%s: %w: the files have %s and %s are free", p.s.src.Path, ntfs.ErrFull, ui.Size(p.result.Bytes), ui.Size(free)),
			"make room with 'husk fs compact' or 'husk fs rm', or a larger disk with 'husk disk resize'")
	}
	if p.o.DryRun {
		return nil
	}
	bar := p.o.UI.Start("write", p.result.Bytes)
	defer bar.Done()
	e := p.s.vol.Editor
	for _, f := range p.list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.replace {
			err = e.Replace(f.path, f.info.Data)
		} else {
			err = e.Add(f.path, f.info)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.s.src.Path, err)
		}
		for b := range f.info.Blobs() {
			bar.Add(b.Size)
		}
	}
	return nil
}

// Mkdir makes folders on a volume; with parents those above them too, and folders that are there are no error.
func Mkdir(ctx context.Context, spec string, paths []string, parents bool, u *ui.UI) (made int, err error) {
	s, err := open(ctx, spec, &Options{UI: u})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	done := make(map[string]bool)
	for _, path := range paths {
		names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
		for k := range names {
			at := strings.Join(names[:k+1], "/")
			there := s.src.Tree.Lookup(at)
			last := k == len(names)-1
			switch {
			case done[winfile.Fold(at)], there != nil && there.Info.IsDir() && (parents || !last):
				continue
			case there != nil:
				return 0, &fs.PathError{Op: "mkdir", Path: "/" + at, Err: fs.ErrExist}
			case !last && !parents:
				return 0, ui.Hint(&fs.PathError{Op: "mkdir", Path: "/" + at, Err: fs.ErrNotExist}, "-p makes the folders above too")
			}
			if err := s.vol.Editor.Mkdir(at); err != nil {
				return 0, fmt.Errorf("%s: %w", s.src.Path, err)
			}
			done[winfile.Fold(at)] = true
			made++
		}
	}
	return made, s.commit()
}
