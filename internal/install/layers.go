package install

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"husk/internal/deploy"
	"husk/internal/source"
	"husk/internal/store"
	"husk/internal/ui"
	"husk/winfile"
	"husk/wof"
)

// openImage opens what a user names: a point of a store, or any source. It is closed with the builder.
func (b *builder) openImage(ctx context.Context, spec string) (*source.Source, error) {
	dir, point := source.Split(spec)
	var (
		src *source.Source
		err error
	)
	if store.Is(dir) {
		var s *store.Store
		if s, err = store.Open(dir, &store.OpenOptions{UI: b.o.UI}); err != nil {
			return nil, err
		}
		b.closers = append(b.closers, s.Close)
		p, err := s.Point(point)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		if src, err = s.Source(ctx, p); err != nil {
			return nil, fmt.Errorf("%s: %w", spec, err)
		}
	} else if src, err = source.Open(ctx, spec, &source.Options{WIMs: b.o.WIMs, Warn: b.o.UI.Warn}); err != nil {
		return nil, err
	}
	b.closers = append(b.closers, src.Close)
	return src, b.apart(src)
}

// wims are the WIMs that a disk of pointer systems needs, by their paths, and the paths that they get on the disk.
type wims map[string]string

// planWIMs finds the WIMs that have contents of the systems. One WIM of all of them is called wimboot.wim; several keep their names, and lie to
// each other as they do.
func (b *builder) planWIMs() (wims, error) {
	w := make(wims)
	only := true
	for _, s := range b.r.Systems {
		s.wimPath = vhdDir + filepath.Base(s.source.Path)
		for _, l := range neededLayers(s.source) {
			at, err := deploy.Beside(wof.Location{Path: s.wimPath}, s.source.Path, l)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Image, err)
			}
			name, err := filepath.Abs(l)
			if err != nil {
				return nil, err
			}
			if has, ok := w[name]; ok && has != at.Path {
				return nil, fmt.Errorf("%s would be %s and %s on the disk: want all WIMs in one folder", l, has, at.Path)
			}
			w[name] = at.Path
			only = only && l == s.source.Path
		}
	}
	if len(w) == 1 && only {
		for l := range w {
			w[l] = wimPath
		}
		for _, s := range b.r.Systems {
			s.wimPath = wimPath
		}
	}
	names := make(map[string]string)
	for _, l := range slices.Sorted(maps.Keys(w)) {
		key := winfile.Fold(w[l])
		if other, ok := names[key]; ok {
			return nil, ui.Hint(fmt.Errorf("%s and %s would both be %s on the disk", other, l, w[l]), "rename one of them")
		}
		names[key] = l
	}
	return w, nil
}

// neededLayers are the paths of the WIMs that pointers of a system will lead into: for each content the first that has it. Without any, the
// image's own.
func neededLayers(s *source.Source) []string {
	used := make([]bool, len(s.Layers))
	for _, e := range s.Tree.All() {
		if e.Info.Data == nil {
			continue
		}
		for i, l := range s.Layers {
			if _, ok := l.WIM.Lookup(e.Info.Data.SHA1); ok {
				used[i] = true
				break
			}
		}
	}
	var list []string
	for i, l := range s.Layers {
		if used[i] {
			list = append(list, l.Path)
		}
	}
	if len(list) == 0 {
		list = append(list, s.Path)
	}
	return list
}

// size is what the WIMs take in bytes.
func (w wims) size() (total int64, err error) {
	for l := range w {
		st, err := os.Stat(l)
		if err != nil {
			return 0, err
		}
		total += st.Size()
	}
	return total, nil
}

func (w wims) paths() []string { return slices.Sorted(maps.Keys(w)) }
