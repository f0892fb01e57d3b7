package reshape

import (
	"cmp"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"husk/internal/deploy"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// Pointer says which files become pointers, and into what.
type Pointer struct {
	WIM      string       // FILE[:IMAGE]
	Location wof.Location // of the WIM, as the running system will see it
	Config   string       // file with a [PrepopulateList], taken alone; "" means the volume's own, or the built-in list
	UEFI     bool         // only UEFI starts the volume: what its own list leaves to pointers may be one
}

// Layer is one of several WIMs that files may be pointed into.
type Layer struct {
	WIM      *wim.Reader
	Path     string
	Image    int          // one that the files are of, or 1
	Location wof.Location // as the running system will see it
}

// ToPointers makes those files of a volume pointer files whose contents are in the WIM, as reading and hashing them tells. Pointer files
// stay as they are, whatever they point into.
func ToPointers(ctx context.Context, spec string, p *Pointer, o *Options) (*Result, error) {
	w, err := source.Open(ctx, p.WIM, &source.Options{Warn: o.UI.Warn})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if err := w.Pointable(); err != nil {
		return nil, err
	}
	return ToLayers(ctx, spec, []Layer{{w.WIM, w.Path, w.Image.Index, p.Location}}, p, o)
}

// ToLayers is ToPointers into several WIMs: a file points into the first that has its content. WIM and Location of p are not used.
func ToLayers(ctx context.Context, spec string, layers []Layer, p *Pointer, o *Options) (*Result, error) {
	for _, l := range layers {
		if err := deploy.CheckFormat(l.WIM, l.Path); err != nil {
			return nil, err
		}
	}
	s, err := open(ctx, spec, o)
	if err != nil {
		return nil, err
	}
	return s.finish(s.toPointers(ctx, layers, p))
}

// backings gives the resources of several WIMs to wof.
type backings []wof.Source

func (b backings) Lookup(h winfile.SHA1) (wof.Resource, bool) {
	for _, s := range b {
		if r, ok := s.Lookup(h); ok {
			return r, true
		}
	}
	return wof.Resource{}, false
}

func (s *session) toPointers(ctx context.Context, layers []Layer, p *Pointer) error {
	overlay, err := wof.ReadOverlay(s.src.Tree)
	if errors.Is(err, fs.ErrNotExist) {
		overlay, err = &wof.Overlay{}, nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.src.Path, err)
	}
	before := len(overlay.Entries())
	var backing backings
	for _, l := range layers {
		id, err := overlay.Add(wof.WIMOther, uint32(l.Image), l.WIM.GUID(), l.Location)
		if err != nil {
			return err
		}
		backing = append(backing, deploy.NewBacking(l.WIM, id))
	}
	s.resolveAll()
	conf, err := deploy.ReadConfig(p.Config, s.o.UI)
	if err != nil {
		return err
	}
	ro := &wof.RuleOptions{BIOS: !p.UEFI, Config: conf, Build: s.build()}
	if conf == nil {
		ro.Early = deploy.Early(s.src.Tree, s.o.UI)
	}
	rules, err := wof.NewRules(s.src.Tree, ro)
	if err != nil {
		return ui.Hint(err, "give a configuration with --config=FILE")
	}
	s.restore()
	todo, err := s.candidates(layers, rules)
	if err != nil || len(todo) == 0 {
		return err
	}
	if len(overlay.Entries()) > before {
		if err := s.writeOverlay(overlay); err != nil {
			return err
		}
	}
	return s.point(ctx, todo, rules, backing)
}

// noContents is a WIM with nothing in it.
type noContents struct{}

func (noContents) Lookup(winfile.SHA1) (wof.Resource, bool) { return wof.Resource{}, false }

// candidates are the files that the rules allow to be pointers and whose contents may be in a WIM: it has some of their sizes.
func (s *session) candidates(layers []Layer, rules *wof.Rules) ([]file, error) {
	sizes := make(map[int64]bool)
	for _, l := range layers {
		for _, b := range l.WIM.Blobs() {
			sizes[b.Size] = true
		}
	}
	plan, err := rules.Decide(s.src.Tree, noContents{})
	if err != nil {
		return nil, err
	}
	verdict := make(map[*winfile.Info]wof.PlainFile)
	for _, p := range plan.Plain {
		verdict[p.Info] = p
	}
	var todo []file
	for _, f := range s.files() {
		raw, special := s.raw[f.info]
		v, ok := verdict[f.info]
		switch {
		case special && isPointer(&raw):
			add(&s.result.Already, f.info)
		case !ok:
		case v.Reason == wof.NotInWIM && sizes[f.info.Size()]:
			todo = append(todo, f)
		default:
			s.result.stays(v)
		}
	}
	return todo, nil
}

// point hashes the contents of the files and makes pointers of those that the WIM has.
func (s *session) point(ctx context.Context, todo []file, rules *wof.Rules, backing wof.Source) error {
	slices.SortStableFunc(todo, func(x, y file) int { return cmp.Compare(x.info.Data.Order, y.info.Data.Order) })
	total := int64(0)
	for _, f := range todo {
		total += f.info.Size()
	}
	p := s.o.UI.Start("read and hash", total)
	defer p.Done()
	return parts(todo, hashFiles, hashBytes, func(list []file) error {
		if err := s.hash(ctx, list, p); err != nil {
			return err
		}
		plan, err := rules.Decide(treeOf(list), backing)
		if err != nil {
			return err
		}
		for _, v := range plan.Plain {
			s.result.stays(v)
		}
		for _, f := range list {
			buffer := plan.Backing(f.info)
			if buffer == nil {
				continue
			}
			freed := s.onDisk(f.info)
			done, err := s.change(f.path, func(e *ntfs.Editor) error { return e.SetPointer(f.path, buffer) })
			if err != nil {
				return err
			}
			if done {
				add(&s.result.Changed, f.info)
				s.result.Freed += freed
			}
		}
		return s.commit()
	})
}

// What is hashed between two commits at most: what a command that is cut off does again.
const (
	hashFiles = 4096
	hashBytes = 512 << 20
)

// hash reads contents and notes their SHA-1.
func (s *session) hash(ctx context.Context, list []file, p *ui.Progress) error {
	var mu sync.Mutex
	running := make(map[*winfile.Blob]hash.Hash)
	return winfile.ReadBlobs(ctx, blobsOf(list), s.workers(), func(b *winfile.Blob, off int64, piece []byte) error {
		last := off+int64(len(piece)) == b.Size
		p.Add(int64(len(piece)))
		mu.Lock()
		s.result.Read += int64(len(piece))
		h := running[b]
		if h == nil {
			h = sha1.New()
			running[b] = h
		}
		if last {
			delete(running, b)
		}
		mu.Unlock()
		h.Write(piece)
		if last {
			b.SHA1 = winfile.SHA1(h.Sum(nil))
		}
		return nil
	})
}

// writeOverlay puts WimOverlay.dat and its copy onto the volume, before any pointer that needs them.
func (s *session) writeOverlay(o *wof.Overlay) error {
	b, err := o.Marshal()
	if err != nil || s.o.DryRun {
		return err
	}
	made := &winfile.Tree{Root: &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}}
	if err := wof.AddOverlay(made, b, time.Now()); err != nil {
		return err
	}
	for name, e := range made.All() {
		if name == "." {
			continue
		}
		there := s.src.Tree.Lookup(name)
		switch {
		case there == nil:
			err = s.vol.Editor.Add(name, e.Info)
		case there.Info.IsDir() != e.Info.IsDir():
			err = fmt.Errorf("%s: not what Windows has of that name", path.Clean(name))
		case !e.Info.IsDir():
			err = s.vol.Editor.Replace(name, e.Info.Data)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.src.Path, err)
		}
	}
	return s.commit()
}
