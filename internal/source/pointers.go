package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"husk/guid"
	"husk/internal/ui"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// Pointers tells how the pointer files of a volume were resolved.
type Pointers struct {
	Files   int
	Bytes   int64
	Overlay *wof.Overlay
	WIMs    map[uint64]*wim.Reader // by data source id; only those that pointers name
	Paths   map[uint64]string      // where they were found
}

// wimBlobs gives the blobs of one WIM to wof.
type wimBlobs struct{ r *wim.Reader }

func (w wimBlobs) Blob(h winfile.SHA1) (*winfile.Blob, bool) {
	b := w.r.Blob(h)
	return b, b != nil
}

// Resolve replaces the pointer files of a tree by what they point to, and compact files by their contents: all that can be, even if
// others fail. The tree is s.Tree, or one that has some of its infos.
func (s *Source) Resolve(t *winfile.Tree, o *Options) error {
	overlay, err := wof.ReadOverlay(s.Tree)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	pointers := pointersOf(t, o)
	p := &Pointers{Overlay: overlay, WIMs: make(map[uint64]*wim.Reader), Paths: make(map[uint64]string)}
	res, err := wof.Resolve(t, overlay, func(id uint64) (wof.BlobSource, error) {
		r, path, err := s.openBacking(overlay, id, o)
		if err != nil {
			return knownInstead(t, id, o, err)
		}
		p.WIMs[id], p.Paths[id] = r, path
		return wimBlobs{r}, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	forgetHashes(pointers)
	s.Compact = res.Compact
	if res.Files > 0 {
		p.Files, p.Bytes = res.Files, res.Bytes
		s.Links = p
	}
	return nil
}

// pointersOf lists the pointer files of the tree, if they are to be dereferenced.
func pointersOf(t *winfile.Tree, o *Options) []*winfile.Info {
	if !o.Dereference {
		return nil
	}
	var list []*winfile.Info
	for _, e := range t.All() {
		if p := e.Info.Reparse; p != nil && p.Tag == winfile.TagWOF {
			list = append(list, e.Info)
		}
	}
	return list
}

// forgetHashes makes whoever takes the contents of files read and hash them: what their pointers say of them is only a claim.
func forgetHashes(files []*winfile.Info) {
	once := make(map[*winfile.Blob]*winfile.Blob)
	for _, i := range files {
		b := i.Data
		if i.Reparse != nil || b == nil || b.SHA1 == (winfile.SHA1{}) {
			continue
		}
		if once[b] == nil {
			c := *b
			c.SHA1 = winfile.SHA1{}
			once[b] = &c
			once[&c] = &c // a file with several names is listed as often
		}
		i.Data = once[b]
	}
}

// knownBlobs gives the blobs that are known anyway to wof.
type knownBlobs func(winfile.SHA1) *winfile.Blob

func (k knownBlobs) Blob(h winfile.SHA1) (*winfile.Blob, bool) {
	b := k(h)
	return b, b != nil
}

// knownInstead does without the WIM of a data source, which cannot be had because of err, if all that its pointers name is known.
func knownInstead(t *winfile.Tree, id uint64, o *Options, err error) (wof.BlobSource, error) {
	if o.Known == nil || !errors.Is(err, errNotAtHand) {
		return nil, err
	}
	files, missing := 0, 0
	for _, e := range t.All() {
		if e.Info.Reparse == nil || e.Info.Reparse.Tag != winfile.TagWOF {
			continue
		}
		p, badPointer := wof.PointerOf(e.Info.Reparse)
		if badPointer != nil || p.DataSourceID != id {
			continue
		}
		files++
		if o.Known(p.SHA1) == nil {
			missing++
		}
	}
	if missing > 0 {
		return nil, fmt.Errorf("%w; %d of the %d files that point into it are not known without it", err, missing, files)
	}
	return knownBlobs(o.Known), nil
}

var errNotAtHand = errors.New("is not at hand")

// openBacking finds the WIM that a data source id stands for: among those that the user named, or at the recorded path under
// one of the folders above the disk, as a store has it.
func (s *Source) openBacking(overlay *wof.Overlay, id uint64, o *Options) (*wim.Reader, string, error) {
	entry, ok := overlay.Entry(id)
	if !ok {
		return nil, "", fmt.Errorf("WimOverlay.dat has no data source %d", id)
	}
	for _, l := range o.Layers {
		if l.WIM.GUID() == entry.GUID {
			return l.WIM, l.Path, nil
		}
	}
	var tried []string
	for i, path := range s.candidates(entry.Location.Path, o.WIMs) {
		if _, err := os.Stat(path); err != nil {
			if i < len(o.WIMs) {
				return nil, "", err // the user's own word
			}
			continue
		}
		r, err := wim.Open(path)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		if r.GUID() == entry.GUID {
			s.closers = append(s.closers, r)
			return r, path, nil
		}
		tried = append(tried, fmt.Sprintf("%s has GUID %s", path, guid.GUID(r.GUID())))
		r.Close()
	}
	if r := s.onVolume(context.Background(), entry.Location.Path, entry.GUID); r != nil {
		return r, s.Path + ":" + entry.Location.Path, nil
	}
	if r, path := byGUID(entry.GUID, s.foldersFor(entry.Location.Path)); r != nil {
		s.closers = append(s.closers, r)
		return r, path, nil
	}
	err := fmt.Errorf("data source %d, %s with GUID %s, %w", id, entry.Location.Path, entry.GUID, errNotAtHand)
	if len(tried) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.Join(tried, "; "))
	}
	return nil, "", ui.Hint(err, "name the WIM with --wim=FILE")
}

// candidates lists where the WIM with a recorded path may be.
func (s *Source) candidates(recorded string, named []string) []string {
	list := append([]string(nil), named...)
	rel := filepath.FromSlash(strings.TrimLeft(strings.ReplaceAll(recorded, `\`, "/"), "/"))
	if !filepath.IsLocal(rel) {
		return list
	}
	dir, err := filepath.Abs(filepath.Dir(s.Path))
	if err != nil {
		return list
	}
	for {
		list = append(list, filepath.Join(dir, rel))
		parent := filepath.Dir(dir)
		if parent == dir {
			return list
		}
		dir = parent
	}
}

// foldersFor lists the folders in which candidates lie, and those in which a store has its layers if it has another name here than at boot:
// that of the disk and the one above it.
func (s *Source) foldersFor(recorded string) []string {
	var dirs []string
	if dir, err := filepath.Abs(filepath.Dir(s.Path)); err == nil {
		for range 2 {
			dirs = append(dirs, dir)
			dir = filepath.Dir(dir)
		}
	}
	for _, c := range s.candidates(recorded, nil) {
		if dir := filepath.Dir(c); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
