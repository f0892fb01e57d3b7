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
	"strings"
	"sync"

	"husk/winfile"
)

// ApplyOptions tunes ApplyFolder. The zero value wants an absent or empty folder.
type ApplyOptions struct {
	Into     bool              // the folder may have entries; none of the tree's files may exist in it, directories may
	Replace  bool              // with Into: files that exist are removed, and directories that exist get the tree's metadata
	Unix     bool              // make owners, modes, devices, FIFOs and sockets, and give extended attributes to the host's file system
	Links    bool              // every symbolic link and junction becomes one of the host, even if that cannot keep all of it
	Workers  int               // blobs written at once; 0 means GOMAXPROCS
	Progress func(bytes int64) // called with the bytes read since the last call, from several goroutines; may be nil
}

// ApplyReport tells what was made and what the folder cannot hold.
type ApplyReport struct {
	Dirs  int    // directories made, the root included
	Files int    // files made, reparse points among them; each hard-linked file once
	Links int    // further names of hard-linked files
	Bytes int64  // of data and named streams
	Lost  []Loss // by kind, the most frequent first; empty if nothing was lost

	lost map[string]*Loss
	mu   sync.Mutex
}

// Loss is one kind of metadata that the host could not keep.
type Loss struct {
	Kind  string // one of the Lost constants
	Count int    // files, or streams, that lost it
	List  []Problem
}

// Kinds of loss.
const (
	LostAttributes = "attributes"
	LostSecurity   = "security descriptor"
	LostTimes      = "times"
	LostChanged    = "change time"
	LostShortName  = "short name"
	LostReparse    = "reparse point"
	LostObjectID   = "object id"
	LostEAs        = "extended attributes"
	LostStream     = "named stream"
	LostHardLink   = "hard link (made a copy)"
	LostUnix       = "UNIX owner and mode"
	LostEFS        = "encrypted data"
	LostItem       = "tagged item"
)

func (r *ApplyReport) lose(kind, path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lost[kind]
	if l == nil {
		l = &Loss{Kind: kind}
		if r.lost == nil {
			r.lost = make(map[string]*Loss)
		}
		r.lost[kind] = l
	}
	if l.Count++; len(l.List) < 10 {
		l.List = append(l.List, Problem{path, err})
	}
}

// ErrNotEmpty says that the folder to apply to has something in it.
var ErrNotEmpty = errors.New("is not empty")

// ApplyFolder makes a tree in a folder of the host. Every name is checked before anything is made; those that the host cannot
// hold, or that would overwrite something, and files without content to read are returned together as *Problems. Nothing is written outside dir and nothing that
// was there is changed or removed. If it fails later, the error says what is left in dir.
func ApplyFolder(ctx context.Context, t *winfile.Tree, dir string, opts *ApplyOptions) (*ApplyReport, error) {
	if opts == nil {
		opts = new(ApplyOptions)
	}
	a := &applier{opts: opts, tree: t, report: new(ApplyReport), jobs: make(map[*winfile.Blob]*job)}
	if err := a.open(dir); err != nil {
		return nil, err
	}
	err := a.check()
	if err == nil {
		if err = a.apply(ctx); err != nil {
			err = fmt.Errorf("apply to %s stopped; %d directories and %d complete files are left there, others may be in part: %w", dir,
				a.report.Dirs, a.report.Files, err)
		}
	}
	err = errors.Join(err, a.root.Close())
	for _, l := range a.report.lost {
		a.report.Lost = append(a.report.Lost, *l)
	}
	slices.SortFunc(a.report.Lost, func(x, y Loss) int {
		if x.Count != y.Count {
			return y.Count - x.Count
		}
		return strings.Compare(x.Kind, y.Kind)
	})
	return a.report, err
}

// applier is one run of ApplyFolder.
type applier struct {
	opts     *ApplyOptions
	tree     *winfile.Tree
	root     *os.Root
	dir      string   // absolute
	existed  bool     // dir was there and may have had entries
	replaced []string // paths of files that are in the way
	host     applyHost
	report   *ApplyReport

	dirs  []*dirJob // parents first
	links []link
	empty []target // empty named streams
	jobs  map[*winfile.Blob]*job
	blobs []*winfile.Blob
}

// dirJob is a directory to make and to describe.
type dirJob struct {
	path    string
	entry   *winfile.Entry
	files   []*winfile.Entry // what is in it and no directory; of hard-linked files the first name only
	existed bool             // keeps its metadata
}

func (d *dirJob) target(e *winfile.Entry) target {
	return target{path: join(d.path, e.Name), info: e.Info}
}

// target is where a blob goes: the unnamed data of a file, or a named stream of it.
type target struct {
	path   string
	info   *winfile.Info
	stream string
	named  bool
}

func (t target) String() string {
	if t.named {
		return t.path + ":" + t.stream
	}
	return t.path
}

// link is a further name of a file.
type link struct {
	old, new string
	info     *winfile.Info
}

// job is a blob on its way to its targets. One goroutine at a time has it.
type job struct {
	targets []target
	file    *os.File // the first target that is a file, while pieces come
	first   target
	buf     []byte // the pieces of a stream that is written at once
}

// open makes dir if it is absent, and refuses it if it has entries.
func (a *applier) open(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	err = os.Mkdir(dir, 0o777)
	a.existed = a.opts.Into && err != nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if a.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	a.dir = abs
	f, err := a.root.Open(".")
	if err == nil {
		var some []string
		if some, err = f.Readdirnames(1); err == io.EOF {
			err = nil
		}
		if err == nil && len(some) > 0 && !a.opts.Into {
			err = fmt.Errorf("%s %w: it has %q", dir, ErrNotEmpty, some[0])
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = a.probe()
	}
	if err != nil {
		return errors.Join(err, a.root.Close())
	}
	return nil
}

// check makes sure that every entry can be made under its own name, and has what it is made from.
func (a *applier) check() error {
	bad := &Problems{What: "cannot be made in " + a.dir}
	if !a.tree.Root.Info.IsDir() {
		bad.add(".", errors.New("the root is not a directory"))
	}
	for path, e := range a.tree.All() {
		if b := e.Info.Data; b != nil && b.Content == nil {
			bad.add(path, errors.New("there is nothing to read its content from"))
		}
		if len(e.Children) == 0 {
			continue
		}
		if !e.Info.IsDir() {
			bad.add(path, errors.New("has entries, but is not a directory"))
			continue
		}
		seen := make(map[string]string, len(e.Children))
		for _, c := range e.Children {
			p := join(path, c.Name)
			if err := checkTreeName(c.Name); err != nil {
				bad.add(p, err)
				continue
			}
			if why := hostNameProblem(c.Name); why != "" {
				bad.add(p, errors.New(why))
				continue
			}
			key := c.Name
			if a.host.foldsCase {
				key = winfile.Fold(key)
			}
			if other, ok := seen[key]; ok {
				bad.add(p, fmt.Errorf("the same name as %q to the host", other))
				continue
			}
			seen[key] = c.Name
			if !a.opts.Into {
				continue
			}
			if fi, err := a.root.Lstat(filepath.FromSlash(p)); err == nil && !(fi.IsDir() && c.Info.IsDir()) {
				if a.opts.Replace && !fi.IsDir() {
					a.replaced = append(a.replaced, p)
					continue
				}
				bad.add(p, fs.ErrExist)
			}
		}
	}
	return bad.orNil()
}

func (a *applier) apply(ctx context.Context) error {
	for _, p := range a.replaced {
		if err := a.root.Remove(filepath.FromSlash(p)); err != nil {
			return err
		}
	}
	if err := a.makeDirs(ctx); err != nil {
		return err
	}
	a.plan()
	if err := winfile.ReadBlobs(ctx, a.blobs, a.opts.Workers, a.deliver); err != nil {
		for _, j := range a.jobs {
			if j.file != nil {
				j.file.Close()
			}
		}
		return err
	}
	if err := a.makeRest(ctx); err != nil {
		return err
	}
	// ntfs-3g takes a short name only while a file has no other name, and a driver that has been given a reparse point no longer
	// knows the file: so links to reparse points, then metadata of files, then the other links, then metadata of directories.
	if err := a.makeLinks(ctx, true); err != nil {
		return err
	}
	if err := a.describeAll(ctx, true); err != nil {
		return err
	}
	if err := a.makeLinks(ctx, false); err != nil {
		return err
	}
	return a.describeAll(ctx, false)
}

// makeDirs makes all directories, those that are reparse points too, and lists everything else.
func (a *applier) makeDirs(ctx context.Context) error {
	for path, e := range a.tree.All() {
		if err := ctx.Err(); err != nil {
			return err
		}
		isDir := e.Info.IsDir()
		if !isDir && e.Info.Attributes&winfile.AttrDirectory == 0 {
			continue
		}
		if _, ok := a.asLink(e.Info); ok {
			continue
		}
		d := &dirJob{path: path, entry: e, existed: path == "." && a.existed && !a.opts.Replace}
		if path != "." {
			err := a.root.Mkdir(filepath.FromSlash(path), 0o777)
			there := a.opts.Into && errors.Is(err, fs.ErrExist)
			if err != nil && !there {
				return err
			}
			d.existed = there && !a.opts.Replace
		}
		if !isDir {
			a.report.Files++
			continue
		}
		a.report.Dirs++
		a.dirs = append(a.dirs, d)
	}
	first := make(map[*winfile.Info]string)
	for _, d := range a.dirs {
		for _, e := range d.entry.Children {
			if e.Info.IsDir() {
				continue
			}
			path := join(d.path, e.Name)
			if e.Info.Links > 1 {
				if old, ok := first[e.Info]; ok {
					a.links = append(a.links, link{old, path, e.Info})
					continue
				}
				first[e.Info] = path
			}
			d.files = append(d.files, e)
		}
	}
	return nil
}

// plan collects the blobs to read and where each goes.
func (a *applier) plan() {
	add := func(b *winfile.Blob, t target) {
		j := a.jobs[b]
		if j == nil {
			j = new(job)
			a.jobs[b] = j
			a.blobs = append(a.blobs, b)
		}
		j.targets = append(j.targets, t)
	}
	streams := func(t target, existed bool) {
		_, isLink := a.asLink(t.info)
		for _, s := range t.info.Streams {
			t.stream, t.named = s.Name, true
			why := streamProblem(s)
			if existed {
				why = errors.New("the directory was there before")
			}
			if isLink {
				why = errors.New("links have no streams here")
			}
			switch {
			case why != nil:
				a.report.lose(LostStream, t.String(), why)
			case s.Data == nil:
				a.empty = append(a.empty, t)
			default:
				add(s.Data, t)
			}
		}
	}
	for _, d := range a.dirs {
		streams(target{path: d.path, info: d.entry.Info}, d.existed)
		for _, e := range d.files {
			t := d.target(e)
			if e.Info.Data != nil && e.Info.Attributes&winfile.AttrDirectory == 0 {
				add(e.Info.Data, t)
			}
			streams(t, false)
		}
	}
}

// deliver takes one piece of a blob to all its targets. A blob that comes in one piece is written to each of them; of a larger
// one the first file is written and then copied.
func (a *applier) deliver(b *winfile.Blob, off int64, p []byte) error {
	j := a.jobs[b]
	last := off+int64(len(p)) == b.Size
	if a.opts.Progress != nil {
		a.opts.Progress(int64(len(p)))
	}
	if off == 0 && last {
		for _, t := range j.targets {
			if err := a.writeWhole(t, p); err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
		}
		a.count(j, b)
		return nil
	}
	if off == 0 {
		if err := a.begin(j); err != nil {
			return fmt.Errorf("%s: %w", j.first, err)
		}
	}
	if j.file != nil {
		if err := writePiece(j.file, off, p, j.first.info); err != nil {
			return fmt.Errorf("%s: %w", j.first, err)
		}
	} else {
		j.buf = append(j.buf, p...)
	}
	if last {
		if err := a.finishJob(j, b.Size); err != nil {
			return err
		}
		a.count(j, b)
	}
	return nil
}

// count notes that a job is done.
func (a *applier) count(j *job, b *winfile.Blob) {
	a.report.mu.Lock()
	defer a.report.mu.Unlock()
	a.report.Bytes += b.Size * int64(len(j.targets))
	for _, t := range j.targets {
		if !t.named {
			a.report.Files++
		}
	}
}

// begin opens the first target that takes pieces, if any.
func (a *applier) begin(j *job) (err error) {
	for _, t := range j.targets {
		if !t.named || streamsAreFiles {
			j.first = t
			j.file, err = a.create(t)
			return err
		}
	}
	return nil
}

// finishJob gives the other targets what the first one has.
func (a *applier) finishJob(j *job, size int64) error {
	f := j.file
	j.file = nil
	var err error
	if f != nil {
		if err = f.Truncate(size); err != nil {
			err = fmt.Errorf("%s: %w", j.first, err)
		}
	}
	for _, t := range j.targets {
		if err != nil || f != nil && t == j.first {
			continue
		}
		if f == nil || t.named && !streamsAreFiles {
			err = a.finishStream(t, f, j.buf, size)
		} else {
			err = a.copyTo(t, f, size)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", t, err)
		}
	}
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	j.buf = nil
	return err
}

// finishStream writes a named stream that is not a file, from buf or else from what was written to f.
func (a *applier) finishStream(t target, f *os.File, buf []byte, size int64) error {
	if f != nil {
		buf = make([]byte, size) // bounded by streamProblem
		if _, err := f.ReadAt(buf, 0); err != nil {
			return err
		}
	}
	return a.writeWhole(t, buf)
}

func (a *applier) copyTo(t target, f *os.File, size int64) (err error) {
	w, err := a.create(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if t.info.Attributes&winfile.AttrSparse == 0 {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err = io.Copy(w, io.LimitReader(f, size)) // inside the kernel where it can
		return err
	}
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(buf)) {
		buf = buf[:min(size-off, int64(len(buf)))]
		if _, err := f.ReadAt(buf, off); err != nil {
			return err
		}
		if err := writePiece(w, off, buf, t.info); err != nil {
			return err
		}
	}
	return w.Truncate(size)
}

// writeWhole writes all of a target at once.
func (a *applier) writeWhole(t target, p []byte) error {
	if t.named && !streamsAreFiles {
		return a.writeStream(t, p)
	}
	f, err := a.create(t)
	if err != nil {
		return err
	}
	err = writePiece(f, 0, p, t.info)
	if err == nil && t.info.Attributes&winfile.AttrSparse != 0 {
		err = f.Truncate(int64(len(p)))
	}
	return errors.Join(err, f.Close())
}

// zeroPage is what a sparse file need not hold on the disk.
var zeroPage [4096]byte

// writePiece writes p at off, in a sparse file without the pages that are zero.
func writePiece(f *os.File, off int64, p []byte, i *winfile.Info) error {
	if i.Attributes&winfile.AttrSparse == 0 {
		_, err := f.WriteAt(p, off)
		return err
	}
	for len(p) > 0 {
		zero, n := runOfPages(p)
		if !zero {
			if _, err := f.WriteAt(p[:n], off); err != nil {
				return err
			}
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// runOfPages tells how far p is zero, or is not, in whole pages.
func runOfPages(p []byte) (zero bool, n int) {
	for n < len(p) {
		page := p[n:min(n+len(zeroPage), len(p))]
		z := string(page) == string(zeroPage[:len(page)])
		if n > 0 && z != zero {
			break
		}
		zero = z
		n += len(page)
	}
	return zero, n
}

// makeRest makes what has no data: empty files and streams, and symbolic links.
func (a *applier) makeRest(ctx context.Context) error {
	for _, d := range a.dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range d.files {
			t := d.target(e)
			to, isLink := a.asLink(e.Info)
			var err error
			switch made, uerr := a.makeSpecial(t); {
			case made:
				err = uerr
			case isLink:
				if err = a.root.Symlink(to, filepath.FromSlash(t.path)); noLinks(err) {
					err = a.makeEmpty(t)
				}
			case e.Info.Data != nil || e.Info.Attributes&winfile.AttrDirectory != 0:
				continue
			default:
				err = a.makeEmpty(t)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", t.path, err)
			}
			a.report.Files++
		}
	}
	for _, t := range a.empty {
		if err := a.writeWhole(t, nil); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return nil
}

// noLinks tells whether err means that the host has no links of this kind.
func noLinks(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported)
}

// openFlags are those to make the file of t with: where no named stream may have made it before, it must be new, even if the
// host takes two names for one in a way that check does not know.
func openFlags(t target) int {
	flags := os.O_RDWR | os.O_CREATE
	if !t.named && len(t.info.Streams) == 0 {
		flags |= os.O_EXCL
	}
	return flags
}

// makeEmpty makes an empty file or directory.
func (a *applier) makeEmpty(t target) error {
	if t.info.Attributes&winfile.AttrDirectory != 0 {
		return a.root.Mkdir(filepath.FromSlash(t.path), 0o777)
	}
	f, err := a.create(t)
	if err != nil {
		return err
	}
	return f.Close()
}

// makeLinks makes the further names of files, of reparse points or of all others.
func (a *applier) makeLinks(ctx context.Context, reparse bool) error {
	for _, l := range a.links {
		if err := ctx.Err(); err != nil {
			return err
		}
		if (l.info.Reparse != nil) != reparse {
			continue
		}
		if err := a.makeLink(l); err != nil {
			return fmt.Errorf("%s: %w", l.new, err)
		}
	}
	return nil
}

// makeLink makes a further name of a file, or a copy where the host cannot link.
func (a *applier) makeLink(l link) error {
	err := a.root.Link(filepath.FromSlash(l.old), filepath.FromSlash(l.new))
	if err == nil {
		a.report.Links++
		return nil
	}
	if !noLinks(err) && !tooManyLinks(err) {
		return err
	}
	fi, serr := a.root.Lstat(filepath.FromSlash(l.old))
	if serr != nil || !fi.Mode().IsRegular() {
		return err
	}
	a.report.lose(LostHardLink, l.new, err)
	from, err := a.root.Open(filepath.FromSlash(l.old))
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := a.root.OpenFile(filepath.FromSlash(l.new), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// describeAll gives files, or directories, their metadata: what is below before what is above, since to change what is in a
// directory changes its times.
func (a *applier) describeAll(ctx context.Context, files bool) error {
	var shorts map[*winfile.Info]string
	if files {
		shorts = a.shortNames()
	}
	for _, j := range slices.Backward(a.dirs) {
		if err := ctx.Err(); err != nil {
			return err
		}
		d, err := openHostDir(a.root, a.dir, filepath.FromSlash(j.path))
		if err != nil {
			return err
		}
		if !files && !j.existed {
			a.describe(d, ".", j.path, j.entry, j.entry.ShortName)
		}
		for _, e := range j.files {
			if !files {
				break
			}
			short := e.ShortName
			if e.Info.Links > 1 {
				short = shorts[e.Info]
			}
			a.describe(d, e.Name, join(j.path, e.Name), e, short)
		}
		d.close()
	}
	return nil
}

// shortNames makes the value of ntfs_dos_name for each hard-linked file that has one.
func (a *applier) shortNames() map[*winfile.Info]string {
	m := make(map[*winfile.Info]string)
	for path, e := range a.tree.All() {
		if e.Info.Links > 1 && e.ShortName != "" && !e.Info.IsDir() {
			m[e.Info] += e.ShortName + "\x00" + path + "\x00"
		}
	}
	return m
}

// loseExtra reports what no folder keeps.
func (a *applier) loseExtra(path string, i *winfile.Info) {
	x := i.Extra
	if x == nil {
		return
	}
	err := errors.New("a folder has no place for it")
	if x.Unix != nil && !a.opts.Unix {
		a.report.lose(LostUnix, path, err)
	}
	if x.EFS != nil {
		a.report.lose(LostEFS, path, err)
	}
	for range x.Items {
		a.report.lose(LostItem, path, err)
	}
}
