package reshape

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"husk/internal/source"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/winfile"
)

// ToPlain turns pointer and compact files of a volume back into plain ones. That there is room for all of them is made sure of first.
func ToPlain(ctx context.Context, spec string, o *Options) (*Result, error) {
	s, err := open(ctx, spec, o)
	if err != nil {
		return nil, err
	}
	return s.finish(s.toPlain(ctx))
}

func (s *session) toPlain(ctx context.Context) error {
	var todo []file
	for _, f := range s.files() {
		if _, special := s.raw[f.info]; special {
			todo = append(todo, f)
		} else if f.info.Reparse == nil {
			add(&s.result.Already, f.info)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	if err := s.src.Resolve(treeOf(todo), &source.Options{WIMs: s.o.WIMs, Warn: s.o.UI.Warn}); err != nil {
		return err
	}
	todo = slices.DeleteFunc(todo, func(f file) bool { return f.info.Data == nil })
	slices.SortStableFunc(todo, func(x, y file) int { return cmp.Compare(x.info.Data.Order, y.info.Data.Order) })
	if err := s.checkRoom(todo); err != nil {
		return err
	}
	total := int64(0)
	for _, f := range todo {
		total += f.info.Size()
	}
	p := s.o.UI.Start("write", total)
	defer p.Done()
	return batches(todo, func(list []file) error {
		contents := make(map[*winfile.Blob]*winfile.Blob)
		switch large := list[0].info.Size() >= largeFile; {
		case s.o.DryRun:
		case large:
			contents[list[0].info.Data] = list[0].info.Data
			defer p.Add(list[0].info.Size())
		default:
			var mu sync.Mutex
			err := readWhole(ctx, list, s.workers(), p, func(b *winfile.Blob, content []byte) {
				mu.Lock()
				contents[b] = winfile.NewBlob(slices.Clone(content))
				mu.Unlock()
			})
			if err != nil {
				return err
			}
		}
		for _, f := range list {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.setPlain(f, contents[f.info.Data]); err != nil {
				return err
			}
		}
		return s.commit()
	})
}

func (s *session) setPlain(f file, content *winfile.Blob) error {
	freed := s.onDisk(f.info)
	done, err := s.change(f.path, func(e *ntfs.Editor) error { return e.SetPlain(f.path, content) })
	if done {
		add(&s.result.Changed, f.info)
		s.result.Read += f.info.Size()
		s.result.Freed += freed - s.clusters(f.info.Size())
	}
	return err
}

// checkRoom makes sure that each file finds room when it is its turn: what compact files before it took is free by then.
func (s *session) checkRoom(todo []file) error {
	free, err := s.src.NTFS.FreeBytes()
	if err != nil {
		return fmt.Errorf("%s: %w", s.src.Path, err)
	}
	used, most := int64(0), int64(0)
	for _, f := range todo {
		n := s.clusters(f.info.Size())
		most = max(most, used+n)
		used += n - s.onDisk(f.info)
	}
	if most > free {
		return ui.Hint(fmt.Errorf("%s: %w: the plain files need %s and %s are free", s.src.Path, ntfs.ErrFull, ui.Size(most), ui.Size(free)),
			"name fewer files, or make a larger disk: husk disk resize")
	}
	return nil
}
