package reshape

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/internal/find"
	"husk/internal/inplace"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/ntfs"
	"husk/winfile"
	"husk/wof"
)

// Options is what all changes of form share.
type Options struct {
	Paths   []string // files, and folders with all below them, perhaps with wildcards; none means the whole volume
	WIMs    []string // where the data of pointer files may be
	DryRun  bool     // write nothing
	Threads int
	UI      *ui.UI
}

// Result tells what was done, or on a dry run would be.
type Result struct {
	DryRun   bool
	Changed  wof.Total                // files that have a new form, and the bytes of their contents
	Already  wof.Total                // files that had it before
	Plain    []wof.PlainFile          // files that stay as they are
	Reasons  map[wof.Reason]wof.Total // of those
	Read     int64                    // bytes of contents
	Freed    int64                    // bytes of clusters; negative if more are in use now
	Failed   []error                  // files that could not be changed, the first of them
	Failures int
	Elapsed  time.Duration
}

const maxFailed = 100

func (r *Result) fail(err error) {
	if r.Failures++; len(r.Failed) < maxFailed {
		r.Failed = append(r.Failed, err)
	}
}

func (r *Result) stays(p wof.PlainFile) {
	r.Plain = append(r.Plain, p)
	t := r.Reasons[p.Reason]
	t.Files++
	t.Bytes += p.Info.Size()
	r.Reasons[p.Reason] = t
}

func add(t *wof.Total, i *winfile.Info) {
	t.Files++
	t.Bytes += i.Size()
}

// session is a volume at work.
type session struct {
	o      *Options
	vol    *inplace.Volume                // nil on a dry run
	src    *source.Source                 // with pointer and compact files as they lie on the volume, until resolved
	raw    map[*winfile.Info]winfile.Info // files of WOF as they lie there
	picked map[*winfile.Info]bool         // nil: all
	result *Result
	start  time.Time
}

// open opens the volume that spec names.
func open(ctx context.Context, spec string, o *Options) (_ *session, err error) {
	s := &session{
		o: o, start: time.Now(), raw: make(map[*winfile.Info]winfile.Info),
		result: &Result{DryRun: o.DryRun, Reasons: make(map[wof.Reason]wof.Total)},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.openVolume(ctx, spec); err != nil {
		return nil, err
	}
	for _, e := range s.src.Tree.All() {
		if p := e.Info.Reparse; p != nil && p.Tag == winfile.TagWOF {
			s.raw[e.Info] = *e.Info
		}
	}
	return s, s.pick(o.Paths)
}

func (s *session) openVolume(ctx context.Context, spec string) error {
	path, number, err := splitVolume(spec)
	if err != nil {
		return err
	}
	so := &source.Options{Raw: true, WIMs: s.o.WIMs, Warn: s.o.UI.Warn}
	if s.o.DryRun {
		if s.src, err = source.Open(ctx, spec, so); err != nil {
			return err
		}
		if s.src.NTFS == nil {
			return errNotVolume(path)
		}
		return inplace.Usable(path, s.src.NTFS)
	}
	if s.vol, err = inplace.Open(path, number); err != nil {
		return err
	}
	s.src, err = source.FromDisk(ctx, &s.vol.Disk.Disk, s.vol.Part, so)
	return err
}

// splitVolume parts DISK[:PARTITION]; number is 0 without one.
func splitVolume(spec string) (path string, number int, err error) {
	path, selector := source.Split(spec)
	if source.IsWIM(path) || source.IsDisc(path) {
		return "", 0, errNotVolume(path)
	}
	if selector != "" {
		if number, err = strconv.Atoi(selector); err != nil || number < 1 {
			return "", 0, ui.Usage(fmt.Errorf("%s:%s: want a partition number after the colon", path, selector))
		}
	}
	return path, number, nil
}

func errNotVolume(path string) error {
	return ui.Hint(fmt.Errorf("%s is not a disk with an NTFS volume: only such can be changed in place", path), "'husk info %s' tells what it is", path)
}

func (s *session) close() error {
	var errs []error
	if s.src != nil {
		errs = append(errs, s.src.Close())
	}
	if s.vol != nil {
		errs = append(errs, s.vol.Close())
	}
	return errors.Join(errs...)
}

// finish commits what is left, also after an error that ended the work, and closes the volume.
func (s *session) finish(err error) (*Result, error) {
	if s.vol != nil {
		err = errors.Join(err, s.commit())
	}
	err = errors.Join(err, s.close())
	s.result.Elapsed = time.Since(s.start)
	if errors.Is(err, ntfs.ErrFull) {
		err = ui.Hint(err, "what was done so far is kept; make room, or name fewer files")
	}
	return s.result, err
}

func (s *session) commit() error {
	if s.vol == nil {
		return nil
	}
	if err := s.vol.Editor.Commit(); err != nil {
		return fmt.Errorf("%s: %w", s.src.Path, err)
	}
	return nil
}

// change does one file in the editor. Only what ends the work is an error.
func (s *session) change(path string, do func(e *ntfs.Editor) error) (done bool, _ error) {
	if strings.ContainsRune(path, '\\') { // other systems allow it in names; here it would part the path
		s.result.fail(fmt.Errorf("%s: a name with a backslash", path))
		return false, nil
	}
	if s.o.DryRun {
		return true, nil
	}
	err := do(s.vol.Editor)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ntfs.ErrFull):
		return false, fmt.Errorf("%s: %w", s.src.Path, err)
	}
	s.result.fail(err)
	return false, nil
}

// pick finds the files that the paths name.
func (s *session) pick(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	s.picked = make(map[*winfile.Info]bool)
	for _, p := range paths {
		found := find.Glob(s.src.Tree, p)
		if len(found) == 0 {
			return fmt.Errorf("%s: no file or folder %s", s.src.Path, p)
		}
		for _, f := range found {
			for _, e := range (&winfile.Tree{Root: f.Entry}).All() {
				s.picked[e.Info] = true
			}
		}
	}
	return nil
}

// file is a file with one of its names.
type file struct {
	path string
	info *winfile.Info
}

// files lists the files that are picked, each once.
func (s *session) files() []file {
	var list []file
	seen := make(map[*winfile.Info]bool)
	for path, e := range s.src.Tree.All() {
		i := e.Info
		if i.IsDir() || s.picked != nil && !s.picked[i] {
			continue
		}
		if i.Links > 1 {
			if seen[i] {
				continue
			}
			seen[i] = true
		}
		list = append(list, file{path, i})
	}
	return list
}

// treeOf is a tree of these files alone, in its root and by their paths.
func treeOf(list []file) *winfile.Tree {
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	for _, f := range list {
		root.Children = append(root.Children, &winfile.Entry{Name: f.path, Info: f.info})
	}
	return &winfile.Tree{Root: root}
}

// resolveAll gives what can have it its content: rules look into the registry and into a file of the system, whatever form those have.
func (s *session) resolveAll() {
	if len(s.raw) > 0 {
		_ = s.src.Resolve(s.src.Tree, &source.Options{WIMs: s.o.WIMs}) // what cannot be resolved stays as it is
	}
}

// restore makes pointer files what they are again.
func (s *session) restore() {
	for i, raw := range s.raw {
		if isPointer(&raw) {
			*i = raw
		}
	}
}

func isPointer(raw *winfile.Info) bool {
	p, err := wof.ProviderOf(raw.Reparse)
	return err == nil && p == wof.ProviderWIM
}

// build is that of the Windows on the volume, 0 if it has none or does not tell.
func (s *session) build() int {
	facts, err := winsys.Read(s.src.Tree)
	if err != nil {
		s.o.UI.Warn("%s: %s", s.src.Path, err)
	}
	if facts == nil {
		return 0
	}
	return facts.Build
}

// onDisk is what the content of a file takes on the volume, in bytes of clusters.
func (s *session) onDisk(i *winfile.Info) int64 {
	b := i.Data
	if raw, ok := s.raw[i]; ok {
		b = compactStream(&raw)
	}
	if b == nil {
		return 0
	}
	extents, err := s.src.NTFS.Extents(b)
	if err != nil {
		return 0
	}
	n := int64(0)
	for _, x := range extents {
		if x.LCN >= 0 {
			n += x.Clusters
		}
	}
	return n * s.cluster()
}

// compactStream is the stream of a compact file, nil of another.
func compactStream(raw *winfile.Info) *winfile.Blob {
	for _, st := range raw.Streams {
		if winfile.EqualFold(st.Name, wof.CompactStream) {
			return st.Data
		}
	}
	return nil
}

func (s *session) cluster() int64 { return int64(s.src.NTFS.ClusterSize) }

// clusters is the room that so many bytes take.
func (s *session) clusters(n int64) int64 { return (n + s.cluster() - 1) / s.cluster() * s.cluster() }

func (s *session) workers() int {
	if s.o.Threads > 0 {
		return s.o.Threads
	}
	return runtime.GOMAXPROCS(0)
}

const (
	batchBytes = 64 << 20 // of contents that are in memory at once
	largeFile  = 8 << 20  // contents from here on go by themselves, piece by piece
)

// batches cuts a list into parts whose contents fit into memory together; large ones are alone.
func batches(list []file, yield func([]file) error) error {
	large := func(f file) bool { return f.info.Size() >= largeFile }
	for len(list) > 0 {
		n := slices.IndexFunc(list, large)
		if n < 0 {
			n = len(list)
		}
		if err := parts(list[:n], n, batchBytes, yield); err != nil {
			return err
		}
		if list = list[n:]; len(list) == 0 {
			break
		}
		if err := yield(list[:1]); err != nil {
			return err
		}
		list = list[1:]
	}
	return nil
}

// parts cuts a list into parts of at most so many files, and so many bytes unless one alone has more.
func parts(list []file, most int, size int64, yield func([]file) error) error {
	from, n := 0, int64(0)
	for k, f := range list {
		if k > from && (k-from >= most || n+f.info.Size() > size) {
			if err := yield(list[from:k]); err != nil {
				return err
			}
			from, n = k, 0
		}
		n += f.info.Size()
	}
	if from < len(list) {
		return yield(list[from:])
	}
	return nil
}
