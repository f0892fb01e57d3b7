// Package wimedit changes WIM files as wholes: images go from one to another, are deleted and updated, files are written anew, split
// and joined.
package wimedit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"husk/internal/archive"
	"husk/internal/atomicfile"
	"husk/internal/directio"
	"husk/internal/filelock"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/wim"
	"husk/winfile"
)

// Options is what the commands share.
type Options struct {
	Compress    string   // as --compress has it; "" means as it was
	ChunkSize   int      // bytes; 0 means as it was, or the codec's usual one
	Check       bool     // write an integrity table
	NoCheck     bool     // write none, though there was one
	Refs        []string // patterns of the names of WIMs that have blobs the source lacks
	Recompress  bool
	CheckCopies bool // compare the SHA-1 of what is copied as it is stored
	Overwrite   bool // a file that exists may be replaced
	DryRun      bool
	Threads     int
	UI          *ui.UI
}

// Result tells what was done.
type Result struct {
	DryRun bool
	Images []string // names of those it was done to
	Stats  wim.Stats
	Before int64 // bytes of the file that was changed; 0 if it is new
	After  int64 // bytes of the result, of all parts together
	Parts  int   // of a split WIM

	Elapsed time.Duration
}

// writerOptions turns the words of o into a writer's. What is not said stays as r has it.
func (o *Options) writerOptions(r *wim.Reader) (*wim.WriterOptions, error) {
	w := &wim.WriterOptions{Codec: r.Codec(), ChunkSize: o.ChunkSize, Workers: o.Threads}
	codec, chunk, solid := r.Solid()
	w.Solid, w.SolidCodec, w.SolidChunkSize = solid, codec, chunk
	if o.Compress != "" {
		var err error
		if w, err = archive.WriterOptions(&archive.Options{Compress: o.Compress, ChunkSize: o.ChunkSize, Threads: o.Threads}); err != nil {
			return nil, err
		}
	}
	if w.ChunkSize == 0 && w.Codec == r.Codec() {
		w.ChunkSize = r.ChunkSize()
	}
	w.Integrity, w.NoIntegrity, w.Recompress, w.CheckCopies = o.Check || r.HasIntegrity() && !o.NoCheck, o.NoCheck, o.Recompress, o.CheckCopies
	return w, nil
}

// opened is a WIM with its references.
type opened struct {
	*wim.Reader
	refs []*wim.Reader
}

// Open opens a WIM, all parts of a split one if it is the first and the others are beside it, and gives it the WIMs that refs match.
func Open(name string, refs []string) (_ *wim.Reader, closeAll func() error, err error) {
	r, err := wim.Open(name)
	if err == nil {
		if part, of := r.Part(); of > 1 && part == 1 && len(refs) == 0 {
			err = r.Close()
			if err == nil {
				r, err = wim.OpenParts(name)
			}
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	o := &opened{Reader: r}
	if err := o.reference(refs); err != nil {
		return nil, nil, errors.Join(err, o.Close())
	}
	return r, o.Close, nil
}

// reference opens the WIMs whose names match patterns.
func (o *opened) reference(patterns []string) error {
	for _, p := range patterns {
		names, err := filepath.Glob(p)
		if err != nil {
			return ui.Usage(fmt.Errorf("--ref=%s: %w", p, err))
		}
		if len(names) == 0 {
			return fmt.Errorf("--ref=%s: no such file", p)
		}
		for _, name := range names {
			r, err := wim.Open(name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			o.refs = append(o.refs, r)
			o.Reference(r)
		}
	}
	if len(patterns) > 0 {
		return o.CheckSet()
	}
	return nil
}

// Close closes everything.
func (o *opened) Close() error {
	errs := []error{o.Reader.Close()}
	for _, r := range o.refs {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// edited is a WIM that is being changed in place.
type edited struct {
	f      *directio.File
	name   string
	size   int64
	old    *wim.Reader
	unlock func()
}

// openEdit opens a WIM for changes and keeps other writers out.
func openEdit(name string) (_ *edited, err error) {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	e := &edited{f: directio.New(file), name: name}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if e.unlock, err = filelock.Lock(file); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if e.size, err = e.f.Seek(0, io.SeekEnd); err != nil {
		return nil, err
	}
	if e.old, err = wim.NewReader(e.f, e.size); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return e, nil
}

// Close gives the file free.
func (e *edited) Close() error {
	if e.unlock != nil {
		e.unlock()
	}
	return e.f.Close()
}

// change calls edit with a Writer that changes the file, and finishes it; if anything fails, the file is as it was.
func (e *edited) change(o *wim.WriterOptions, edit func(w *wim.Writer) error) (*wim.Writer, error) {
	w, err := wim.Append(e.f, e.size, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	if err := edit(w); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", e.name, err), w.Abort())
	}
	return w, w.Close()
}

// rewrite writes the whole WIM anew in the place of the old one, which is there until the new one is complete. r is e.old, or another
// with its images.
func (e *edited) rewrite(ctx context.Context, o *Options, phase string, write func(f *atomicfile.File, p *ui.Progress) error) error {
	f, err := atomicfile.Create(e.name, true)
	if err != nil {
		return err
	}
	defer f.Abort()
	p := o.UI.Start(phase, plainBytes(e.old.Images()))
	err = write(f, p)
	p.Done()
	if err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := e.Close(); err != nil { // some systems replace no file that is open
		return err
	}
	e.unlock = nil
	return f.Commit()
}

// plainBytes is about how many plain bytes images have.
func plainBytes(images []*wim.Image) (n int64) {
	for _, i := range images {
		info := i.Info()
		n += info.TotalBytes - info.HardLinkBytes
	}
	return n
}

// blobBytes is how many plain bytes the blobs of a WIM have.
func blobBytes(blobs []*winfile.Blob) (n int64) {
	for _, b := range blobs {
		n += b.Size
	}
	return n
}

// pick finds the images that selector names: all of them for "all" or nothing.
func pick(r *wim.Reader, path, selector string) ([]*wim.Image, error) {
	if selector == "" || selector == "all" {
		return r.Images(), nil
	}
	i, err := source.FindImage(r, path, selector)
	if err != nil {
		return nil, err
	}
	return []*wim.Image{i}, nil
}

// FileOf is the file of FILE[:IMAGE].
func FileOf(spec string) string {
	path, _ := source.Split(spec)
	return path
}

// HasPointers reports whether a WIM has an image that is meant to back pointer files.
func HasPointers(name string) (bool, error) {
	r, err := wim.Open(name)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	defer r.Close()
	for _, i := range r.Images() {
		if i.Info().WIMBoot {
			return true, nil
		}
	}
	return false, nil
}

func names(images []*wim.Image) (list []string) {
	for _, i := range images {
		list = append(list, i.Name())
	}
	return list
}

func (r *Result) finish(start time.Time, files ...string) error {
	for _, name := range files {
		st, err := os.Stat(name)
		if err != nil {
			return err
		}
		r.After += st.Size()
	}
	r.Elapsed = time.Since(start)
	return nil
}
