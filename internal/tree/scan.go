package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"husk/winfile"
)

// ScanOptions tunes ScanFolder. The zero value takes everything and leaves absolute links as they are.
type ScanOptions struct {
	Exclude  ExcludeFunc     // nil takes everything
	RPFix    bool            // make absolute links into the folder relative to its root (WIM flag RP_FIX)
	Unix     bool            // take owners, modes, devices, FIFOs and sockets, and the host's extended attributes as those of the file
	Normal   bool            // files without Windows metadata get NORMAL and the written time as that of creation, as wimlib has it
	Progress func(names int) // called after each directory with the names so far; may be nil
}

// ScanReport tells what a scan met. Close it once no blob of the tree is read any more.
type ScanReport struct {
	Excluded int      // entries that Exclude left out, what is below them not counted
	Warnings Problems // what is in the tree, but not as the folder has it, and special files, which are not
	Errors   Problems // what should be in the tree and is not

	content *folder
}

// Close ends reading of the folder: blobs of its tree can no longer be opened.
func (r *ScanReport) Close() error { return r.content.root.Close() }

// ScanFolder reads the names and metadata of a folder of the host. Files are read later, through the blobs of the tree; each
// fails if its file has been replaced or resized since. What cannot be taken is collected, and then returned as *Problems
// beside the tree of all the rest.
//
// Symbolic links become reparse points and are not followed. FIFOs, sockets and devices are left out with a warning unless Unix is set, like names
// that go away during the scan. A folder without Windows metadata gets attributes ARCHIVE for files and DIRECTORY for directories.
func ScanFolder(ctx context.Context, dir string, opts *ScanOptions) (*winfile.Tree, *ScanReport, error) {
	s, err := newScanner(dir, opts)
	if err != nil {
		return nil, nil, err
	}
	t, err := s.scan(ctx, dir)
	if err != nil {
		return nil, nil, errors.Join(err, s.root.Close())
	}
	return t, s.report, s.report.Errors.orNil()
}

// ScanFile reads the metadata of one file of the host that is no directory, as ScanFolder does with those in a folder. Its name is
// that of the file; a tree in which it has another must say so.
func ScanFile(path string, opts *ScanOptions) (*winfile.Entry, *ScanReport, error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	s, err := newScanner(dir, opts)
	if err != nil {
		return nil, nil, err
	}
	d, err := s.openDir(dir, ".")
	if err != nil {
		return nil, nil, errors.Join(err, s.root.Close())
	}
	e := s.scanName(d, name, name)
	d.close()
	s.finish()
	err = s.report.Errors.orNil()
	switch {
	case err != nil:
	case e == nil:
		if err = s.report.Warnings.orNil(); err == nil {
			err = &fs.PathError{Op: "scan", Path: path, Err: fs.ErrNotExist}
		}
	case e.Info.IsDir():
		err = &fs.PathError{Op: "scan", Path: path, Err: errors.New("is a directory")}
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.root.Close())
	}
	e.Info.Links = 1
	return e, s.report, nil
}

func newScanner(dir string, opts *ScanOptions) (*scanner, error) {
	if opts == nil {
		opts = new(ScanOptions)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &scanner{
		opts: opts, root: root, roots: rootNames(dir), links: make(map[fileKey]*winfile.Info), security: make(map[string][]byte),
		report: &ScanReport{
			Warnings: Problems{What: "scanned with differences"}, Errors: Problems{What: "not scanned"},
			content: &folder{root: root, dir: dir},
		},
	}, nil
}

// rootNames returns the absolute paths that links may know the folder by.
func rootNames(dir string) []string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil
	}
	names := []string{filepath.ToSlash(abs)}
	if real, err := filepath.EvalSymlinks(abs); err == nil && real != abs {
		names = append(names, filepath.ToSlash(real))
	}
	return names
}

// fileKind is what the host says a name is.
type fileKind int

const (
	kindFile fileKind = iota
	kindDir
	kindLink    // symbolic link of the host, or a directory entry that Windows keeps as a reparse point
	kindSpecial // FIFO, socket, device
)

// fileKey tells whether two names are one file.
type fileKey struct{ dev, ino uint64 }

// hostStat is what the host's stat knows of a file.
type hostStat struct {
	kind    fileKind
	key     fileKey
	links   uint64
	size    int64
	created winfile.Filetime
	written winfile.Filetime
	access  winfile.Filetime
	changed winfile.Filetime
	attrs   winfile.Attributes // Windows only
	unix    winfile.Unix       // UNIX only
	holes   bool               // takes less room than its size
}

// scanner is one run of ScanFolder. What depends on the system is in scan_unix.go and scan_windows.go.
type scanner struct {
	opts     *ScanOptions
	root     *os.Root
	roots    []string // absolute paths of the root
	links    map[fileKey]*winfile.Info
	security map[string][]byte // descriptors seen, so that equal ones share memory
	report   *ScanReport
	names    int
	host     scanHost
}

// pending is a directory whose entries are to be read.
type pending struct {
	path  string
	entry *winfile.Entry
}

func (s *scanner) scan(ctx context.Context, dir string) (*winfile.Tree, error) {
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	d, err := s.openDir(dir, ".")
	if err != nil {
		return nil, err
	}
	st, err := d.stat(".")
	if err == nil {
		s.describe(d, ".", ".", st, root)
	}
	d.close()
	if err != nil {
		return nil, err
	}
	root.Info.Attributes |= winfile.AttrDirectory
	root.Info.Attributes &^= winfile.AttrReparse
	root.Info.Reparse, root.ShortName = nil, ""

	for todo := []pending{{".", root}}; len(todo) > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p := todo[len(todo)-1]
		todo = s.scanDir(dir, p, todo[:len(todo)-1])
		if s.opts.Progress != nil {
			s.opts.Progress(s.names)
		}
	}
	s.finish()
	return &winfile.Tree{Root: root}, nil
}

// scanDir reads one directory and adds those below it to todo.
func (s *scanner) scanDir(dir string, p pending, todo []pending) []pending {
	d, err := s.openDir(dir, p.path)
	if err != nil {
		s.report.Errors.add(p.path, err)
		return todo
	}
	defer d.close()
	names, err := d.names()
	if err != nil {
		s.report.Errors.add(p.path, err)
		return todo
	}
	slices.Sort(names)
	first := len(todo)
	for _, name := range names {
		path := join(p.path, name)
		e := s.scanName(d, name, path)
		if e == nil {
			continue
		}
		p.entry.Children = append(p.entry.Children, e)
		s.names++
		if e.Info.IsDir() {
			todo = append(todo, pending{path, e})
		}
	}
	slices.Reverse(todo[first:])
	return todo
}

// scanName makes the entry of one name, or reports why there is none.
func (s *scanner) scanName(d *hostDir, name, path string) *winfile.Entry {
	st, err := d.stat(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			s.report.Warnings.add(path, errors.New("left out: it went away during the scan"))
		} else {
			s.report.Errors.add(path, err)
		}
		return nil
	}
	if s.opts.Exclude != nil && s.opts.Exclude(path, st.kind == kindDir || st.attrs&winfile.AttrDirectory != 0) {
		s.report.Excluded++
		return nil
	}
	if err := checkScannedName(name); err != nil {
		s.report.Errors.add(path, err)
		return nil
	}
	if why := windowsObjection(name); why != "" {
		s.report.Warnings.add(path, errors.New(why))
	}
	if st.kind == kindSpecial && !s.opts.Unix {
		s.report.Warnings.add(path, errors.New("left out: a FIFO, socket or device"))
		return nil
	}
	e := &winfile.Entry{Name: name}
	if linked := st.kind != kindDir && st.links > 1; linked {
		if e.Info = s.links[st.key]; e.Info != nil {
			e.Info.Links++
			s.describeLink(d, name, path, st, e)
			return e
		}
	}
	e.Info = &winfile.Info{Links: 1, ID: st.key.ino}
	if !s.describe(d, name, path, st, e) {
		return nil
	}
	if st.kind != kindDir && st.links > 1 {
		s.links[st.key] = e.Info
	}
	return e
}

// shareSecurity returns a descriptor equal to sd that lives in one place.
func (s *scanner) shareSecurity(sd []byte) []byte {
	if len(sd) == 0 {
		return nil
	}
	if have, ok := s.security[string(sd)]; ok {
		return have
	}
	sd = slices.Clone(sd)
	s.security[string(sd)] = sd
	return sd
}

// fileBlob is the unnamed data of a scanned file.
func (s *scanner) fileBlob(path string, st *hostStat) *winfile.Blob {
	if st.size == 0 {
		return nil
	}
	return &winfile.Blob{Size: st.size, Order: int64(st.key.ino), Content: s.report.content, Ref: path}
}

// folder is the content of scanned files: Ref is the path.
type folder struct {
	root *os.Root
	dir  string
}

// OpenBlob opens the file below the root, whatever links have been put on its path since the scan.
func (c *folder) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	path := b.Ref.(string)
	f, err := openForRead(c.root, path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
	case !fi.Mode().IsRegular():
		err = errors.New("is no longer a file")
	case fi.Size() != b.Size:
		err = fmt.Errorf("changed since the scan: %d bytes, want %d", fi.Size(), b.Size)
	case b.Order != 0 && inode(fi) != 0 && inode(fi) != uint64(b.Order):
		err = errors.New("replaced by another file since the scan")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &folderFile{f: f, path: path, left: b.Size, before: fi}, nil
}

// folderFile reads a file that must not change meanwhile.
type folderFile struct {
	f      *os.File
	path   string
	left   int64
	before fs.FileInfo
}

func (f *folderFile) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(f.left, int64(len(p)))]
	n, err := f.f.Read(p)
	f.left -= int64(n)
	switch {
	case err == io.EOF:
		return n, fmt.Errorf("%s: changed while being read: %d bytes, want %d", f.path, f.before.Size()-f.left, f.before.Size())
	case err != nil:
		return n, err
	case f.left > 0:
		return n, nil
	}
	// The last bytes are held back if the file is not what it was, since io.ReadFull drops an error that comes with them.
	after, err := f.f.Stat()
	if err == nil && (after.Size() != f.before.Size() || !after.ModTime().Equal(f.before.ModTime())) {
		err = fmt.Errorf("%s: changed while being read: %d bytes of %s, want %d of %s", f.path,
			after.Size(), after.ModTime().UTC(), f.before.Size(), f.before.ModTime().UTC())
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (f *folderFile) Close() error { return f.f.Close() }
