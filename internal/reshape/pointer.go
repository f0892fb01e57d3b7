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
	if err := deploy.CheckFormat(w.WIM, w.Path); err != nil {
		return nil, err
	}
	s, err := open(ctx, spec, o)
	if err != nil {
		return nil, err
	}
	return s.finish(s.toPointers(ctx, w, p))
}

func (s *session) toPointers(ctx context.Context, w *source.Source, p *Pointer) error {
	overlay, err := wof.ReadOverlay(s.src.Tree)
	if errors.Is(err, fs.ErrNotExist) {
		overlay, err = &wof.Overlay{}, nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.src.Path, err)
	}
	before := len(overlay.Entries())
	id, err := overlay.Add(wof.WIMOther, uint32(w.Image.Index), w.WIM.GUID(), p.Location)
	if err != nil {
		return err
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
	todo, err := s.candidates(w, rules)
	if err != nil || len(todo) == 0 {
		return err
	}
	if len(overlay.Entries()) > before {
		if err := s.writeOverlay(overlay); err != nil {
			return err
		}
	}
	return s.point(ctx, todo, rules, deploy.NewBacking(w.WIM, id))
}

// noContents is a WIM with nothing in it.
type noContents struct{}

func (noContents) Lookup(winfile.SHA1) (wof.Resource, bool) { return wof.Resource{}, false }

// candidates are the files that the rules allow to be pointers and whose contents may be in the WIM: it has some of their sizes.
func (s *session) candidates(w *source.Source, rules *wof.Rules) ([]file, error) {
	sizes := make(map[int64]bool)
	for _, b := range w.WIM.Blobs() {
		sizes[b.Size] = true
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
