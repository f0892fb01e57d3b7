package wof

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"husk/winfile"
)

// BlobSource has the contents of one WIM.
type BlobSource interface {
	Blob(winfile.SHA1) (*winfile.Blob, bool)
}

// Resolution is what Resolve did.
type Resolution struct {
	Files    int             // pointer files that now have their content, hard links once
	Bytes    int64           // of their content
	Sources  map[uint64]int  // files by data source id
	Compact  Total           // compact files that now have their content
	Failures []*ResolveError // pointer and compact files left as they are
}

// ResolveError is a pointer or compact file that could not be resolved.
type ResolveError struct {
	Path string
	Err  error
	More int // files that failed after this one for the same reason and are not listed: their WIM cannot be had
}

func (e *ResolveError) Error() string {
	more := ""
	if e.More > 0 {
		more = fmt.Sprintf(" and %d more", e.More)
	}
	return fmt.Sprintf("wof: %s%s: %s", e.Path, more, strings.TrimPrefix(e.Err.Error(), "wof: "))
}

func (e *ResolveError) Unwrap() error { return e.Err }

const failuresInError = 10

// Resolve makes pointer and compact files look like the files that they stand for: content from the WIM or from WofCompressedData, which
// is no stream any more, no reparse point, neither of the attributes REPARSE_POINT and SPARSE. It changes the infos of the tree in place. overlay is that of the volume; nil if it has
// none. open is called once for each data source id of it that occurs.
//
// All files that can be resolved are, even if others fail; the error joins the first ten failures, and the result has all.
func Resolve(tree *winfile.Tree, overlay *Overlay, open func(id uint64) (BlobSource, error)) (*Resolution, error) {
	r := &resolver{
		overlay: overlay,
		open:    open,
		sources: make(map[uint64]*dataSource),
		done:    make(map[*winfile.Info]struct{}),
		result:  &Resolution{Sources: make(map[uint64]int)},
	}
	for path, e := range tree.All() {
		if p := e.Info.Reparse; p != nil && p.Tag == winfile.TagWOF {
			r.file(path, e.Info)
		}
	}
	var errs []error
	for i, f := range r.result.Failures {
		if i == failuresInError {
			errs = append(errs, fmt.Errorf("wof: %d more files", len(r.result.Failures)-i))
			break
		}
		errs = append(errs, f)
	}
	return r.result, errors.Join(errs...)
}

type resolver struct {
	overlay *Overlay
	open    func(id uint64) (BlobSource, error)
	sources map[uint64]*dataSource
	compact compactFiles
	done    map[*winfile.Info]struct{} // files with several names that keep their reparse point
	result  *Resolution
}

type dataSource struct {
	blobs  BlobSource
	err    error
	failed *ResolveError // of its first file, if it cannot be opened
}

// file resolves one name that has a reparse point with tag WOF.
func (r *resolver) file(path string, i *winfile.Info) {
	if i.Links > 1 {
		if _, ok := r.done[i]; ok {
			return
		}
		r.done[i] = struct{}{}
	}
	fail := func(err error) *ResolveError {
		f := &ResolveError{Path: path, Err: err}
		r.result.Failures = append(r.result.Failures, f)
		return f
	}
	provider, err := ProviderOf(i.Reparse)
	if err != nil {
		fail(err)
		return
	}
	if provider == ProviderFile {
		if err := r.expand(i); err != nil {
			fail(err)
		}
		return
	}
	p, err := PointerOf(i.Reparse)
	if err != nil {
		fail(err)
		return
	}
	s := r.source(p.DataSourceID)
	switch {
	case s.failed != nil:
		s.failed.More++
		return
	case s.err != nil:
		s.failed = fail(s.err)
		return
	}
	if err := r.replace(i, p, s.blobs); err != nil {
		fail(err)
	}
}

// replace gives i its content.
func (r *resolver) replace(i *winfile.Info, p *Pointer, blobs BlobSource) error {
	if i.Attributes&winfile.AttrDirectory != 0 {
		return errors.New("a directory with the reparse point of a pointer file")
	}
	if n := i.Size(); n != 0 && n != p.Size {
		return fmt.Errorf("data stream of %d bytes, pointer to %d", n, p.Size)
	}
	blob, ok := blobs.Blob(p.SHA1)
	if !ok {
		return fmt.Errorf("content %v is not in the WIM of data source %d (%s)", p.SHA1, p.DataSourceID, r.name(p.DataSourceID))
	}
	if blob.Size != p.Size {
		return fmt.Errorf("content %v has %d bytes in the WIM, and %d by the pointer", p.SHA1, blob.Size, p.Size)
	}
	i.Data = blob
	i.Reparse = nil
	i.Attributes &^= winfile.AttrReparse | winfile.AttrSparse
	r.result.Files++
	r.result.Bytes += blob.Size
	r.result.Sources[p.DataSourceID]++
	return nil
}

// expand gives a compact file its content.
func (r *resolver) expand(i *winfile.Info) error {
	info, err := CompactOf(i.Reparse)
	if err != nil {
		return err
	}
	if i.Attributes&winfile.AttrDirectory != 0 {
		return errors.New("a directory with the reparse point of a compact file")
	}
	at := slices.IndexFunc(i.Streams, func(s winfile.Stream) bool { return winfile.EqualFold(s.Name, CompactStream) })
	if at < 0 || i.Streams[at].Data == nil {
		return fmt.Errorf("compact file of %d bytes without %s", i.Size(), CompactStream)
	}
	stream := i.Streams[at].Data
	blob, err := newCompactBlob(&r.compact, stream, info.Algorithm, i.Size(), i.ID)
	if err != nil {
		return err
	}
	i.Data = blob
	i.Streams = slices.Delete(slices.Clone(i.Streams), at, at+1)
	if len(i.Streams) == 0 {
		i.Streams = nil
	}
	i.Reparse = nil
	i.Attributes &^= winfile.AttrReparse | winfile.AttrSparse
	r.result.Compact.Files++
	r.result.Compact.Bytes += blob.Size
	return nil
}

// source opens a WIM the first time that it is asked for.
func (r *resolver) source(id uint64) *dataSource {
	if s := r.sources[id]; s != nil {
		return s
	}
	s := new(dataSource)
	r.sources[id] = s
	if r.overlay == nil {
		s.err = fmt.Errorf("data source %d: the volume has no %s", id, OverlayPath)
		return s
	}
	if _, ok := r.overlay.Entry(id); !ok {
		s.err = fmt.Errorf("data source %d: %w in %s", id, ErrNoEntry, OverlayPath)
		return s
	}
	if s.blobs, s.err = r.open(id); s.err != nil {
		s.err = fmt.Errorf("data source %d (%s): %w", id, r.name(id), s.err)
	}
	return s
}

// name is the path of a data source's WIM.
func (r *resolver) name(id uint64) string {
	e, _ := r.overlay.Entry(id)
	return e.Location.Path
}
