package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"husk/guid"
	"husk/wim"
)

// Layer is one of the WIMs that together have the blobs of an image.
type Layer struct {
	Path string
	WIM  *wim.Reader
}

// FromImage makes a source of an image of an open WIM. paths are where that WIM and those that it refers to are. All stay whoever's opened
// them; Close closes nothing.
func FromImage(i *wim.Image, r *wim.Reader, paths map[*wim.Reader]string) (*Source, error) {
	s := &Source{Kind: WIM, Path: paths[r], Image: i, WIM: r, Layers: []Layer{{paths[r], r}}}
	for _, o := range r.References() {
		s.Layers = append(s.Layers, Layer{paths[o], o})
	}
	t, err := i.Tree()
	if err != nil {
		return nil, fmt.Errorf("%s: image %d: %w", s.Path, i.Index, err)
	}
	s.Tree = t
	return s, nil
}

// CloseWith lets Close close c too.
func (s *Source) CloseWith(c io.Closer) { s.closers = append(s.closers, c) }

// imageTree decodes the image's tree. Blobs that the WIM lacks are looked for in the WIMs that the user named, and then in those beside it.
func (s *Source) imageTree(o *Options) error {
	s.Layers = []Layer{{s.Path, s.WIM}}
	t, err := s.Image.Tree()
	for _, path := range s.layerCandidates(o.WIMs) {
		if !errors.Is(err, wim.ErrMissing) {
			break
		}
		r, openErr := wim.Open(path)
		if openErr != nil {
			if slices.Contains(o.WIMs, path) {
				return fmt.Errorf("%s: %w", path, openErr) // the user's own word
			}
			continue
		}
		if r.GUID() == s.WIM.GUID() {
			r.Close()
			continue
		}
		s.closers = append(s.closers, r)
		s.WIM.Reference(r)
		s.Layers = append(s.Layers, Layer{path, r})
		t, err = s.Image.Tree()
	}
	s.Tree = t
	return err
}

// layerCandidates are the WIMs that may have what this one lacks. One on a disc has none.
func (s *Source) layerCandidates(named []string) []string {
	if s.Inside != "" {
		return named
	}
	return append(slices.Clone(named), wimsIn(filepath.Dir(s.Path))...)
}

// wimsIn lists the WIM files of a folder.
func wimsIn(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // then there are none to be had
	}
	var list []string
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); strings.EqualFold(filepath.Ext(path), ".wim") && IsWIM(path) {
			list = append(list, path)
		}
	}
	return list
}

// byGUID finds a WIM by its GUID among those that lie in folders, where it may have got another name.
func byGUID(g guid.GUID, dirs []string) (*wim.Reader, string) {
	for _, dir := range dirs {
		for _, path := range wimsIn(dir) {
			r, err := wim.Open(path)
			if err != nil {
				continue
			}
			if r.GUID() == g {
				return r, path
			}
			r.Close()
		}
	}
	return nil, ""
}
