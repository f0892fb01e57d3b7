// Package source opens whatever a user names as FILE[:IMAGE]: a WIM image, a folder, a point of a store (STORE:POINT), an ISO image or a WIM
// image on it, or the NTFS volume of a VHD, disk image, block device or bare volume. Pointer files of a volume are resolved through the WIMs
// that its WimOverlay.dat names, so that the tree is that of the system itself.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"husk/internal/disk"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// Kind is what a source is.
type Kind int

const (
	Folder Kind = iota
	WIM
	Volume
	Optical // an ISO image with its files; an image of a WIM on it is of the kind WIM
)

// Options tunes Open. The zero value opens with pointers resolved.
type Options struct {
	WIMs    []string                           // WIM files to look for pointers' data and what a delta WIM lacks in, before the places that Open finds by itself
	Layers  []Layer                            // the same that are open already, and stay whoever's opened them; taken by their GUID
	Raw     bool                               // leave pointer files as they are: reparse points with sparse data
	Exclude func(path string, isDir bool) bool // of a folder: what not to look at, by slash path
	Scan    func(o *tree.ScanOptions)          // more settings of a folder scan; may be nil
	Paths   []string                           // of a volume: only these paths and what ntfs.Volume.Paths has beside them; nil means the whole tree
	Warn    func(format string, args ...any)   // hears of what is odd; may be nil

	Known       func(winfile.SHA1) *winfile.Blob // contents that are had elsewhere, and stand in for a WIM that is not at hand; may be nil
	Dereference bool                             // forget the SHA-1 of pointer files' contents, so that they are read
}

// Source is an open source.
type Source struct {
	Kind    Kind
	Path    string // the file or folder
	Tree    *winfile.Tree
	Image   *wim.Image  // of a WIM
	WIM     *wim.Reader // of a WIM
	Layers  []Layer     // of a WIM: itself, and those that have blobs that it lacks
	Inside  string      // path of the WIM on the disc, if it is on one
	Disc    *Disc       // of an ISO image and of a WIM on one
	Disk    *disk.Disk  // of a volume
	Part    *disk.Partition
	NTFS    *ntfs.Volume // of a volume
	Compact wof.Total    // compact files of a volume, which have their content
	Links   *Pointers    // of a volume with pointer files that were resolved; nil if it has none

	closers []io.Closer
}

// Close closes the files.
func (s *Source) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i].Close())
	}
	return errors.Join(errs...)
}

// Uses reports whether path is a file that the source is read from: its own, another part of its split WIM, one that its disk is
// based on, or a WIM that its pointer files point into.
func (s *Source) Uses(path string) bool {
	st, err := os.Stat(path)
	if err != nil || s.Kind == Folder {
		return false
	}
	files := []string{s.Path}
	if s.Links != nil {
		files = slices.AppendSeq(files, maps.Values(s.Links.Paths))
	}
	for _, l := range s.Layers {
		files = append(files, l.Path)
	}
	if s.WIM != nil && s.Inside == "" {
		for _, of := s.WIM.Part(); of > 1; of-- {
			files = append(files, wim.PartName(s.Path, of))
		}
	}
	return s.Disk != nil && s.Disk.Uses(path) || slices.ContainsFunc(files, func(f string) bool {
		own, err := os.Stat(f)
		return err == nil && os.SameFile(own, st)
	})
}

// Split parts FILE[:IMAGE]. FILE is the longest beginning that exists: files and images may have colons in their names.
func Split(spec string) (path, selector string) {
	for i := len(spec); i > 0; i = strings.LastIndexByte(spec[:i], ':') {
		if _, err := os.Stat(spec[:i]); err == nil {
			return spec[:i], strings.TrimPrefix(spec[i:], ":")
		}
	}
	return spec, ""
}

// Name is what to call an image of the source whose user gave no name: as the image is called that it comes from, or else as the
// file or folder.
func (s *Source) Name() string {
	if s.Image != nil && s.Image.Name() != "" {
		return s.Image.Name()
	}
	abs, err := filepath.Abs(s.Path)
	if err != nil {
		return s.Path
	}
	return filepath.Base(abs)
}

// OpenPoint opens STORE:POINT, a point of a store that is a folder. Package store, which knows what that is, sets it.
var OpenPoint func(ctx context.Context, dir, point string) (*Source, error)

// Open opens a source and makes its tree.
func Open(ctx context.Context, spec string, o *Options) (_ *Source, err error) {
	if o == nil {
		o = &Options{}
	}
	path, selector := Split(spec)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	s := &Source{Path: path}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	switch {
	case st.IsDir():
		s.Kind = Folder
		if selector != "" {
			if OpenPoint != nil {
				return OpenPoint(ctx, path, selector)
			}
			return nil, fmt.Errorf("%s is a folder and has no image %q", path, selector)
		}
		return s, s.openFolder(ctx, o)
	case IsWIM(path):
		s.Kind = WIM
		return s, s.openWIM(selector, o)
	case IsDisc(path):
		return s, s.openDisc(selector, o)
	default:
		s.Kind = Volume
		return s, s.openVolume(ctx, selector, o)
	}
}

// IsWIM reports whether a file starts with a WIM's magic.
func IsWIM(path string) bool {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return false // opening a pipe would wait for whoever writes to it
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [8]byte
	_, err = io.ReadFull(f, b[:])
	return err == nil && (string(b[:]) == "MSWIM\x00\x00\x00" || string(b[:]) == "WLPWM\x00\x00\x00")
}

func (s *Source) openFolder(ctx context.Context, o *Options) error {
	scan := &tree.ScanOptions{Exclude: o.Exclude}
	if o.Scan != nil {
		o.Scan(scan)
	}
	t, report, err := tree.ScanFolder(ctx, s.Path, scan)
	if report != nil {
		s.closers = append(s.closers, report)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	s.Tree = t
	if o.Warn != nil && report.Warnings.Total > 0 {
		o.Warn("%s: %s", s.Path, report.Warnings.Error())
	}
	return nil
}

func (s *Source) openWIM(selector string, o *Options) error {
	err := s.readWIM(selector, o)
	if errors.Is(err, errors.ErrUnsupported) {
		return ui.Hint(err, "convert it first: wimlib-imagex export %s all new.wim --compress=LZX", s.Path)
	}
	return err
}

func (s *Source) readWIM(selector string, o *Options) error {
	r, err := wim.OpenParts(s.Path) // of a split WIM, the parts beside the first one too
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	s.WIM = r
	s.closers = append(s.closers, r)
	return s.chooseImage(selector, o)
}

// chooseImage takes the tree of an image of the WIM.
func (s *Source) chooseImage(selector string, o *Options) (err error) {
	name := s.WIMName()
	if s.Image, err = FindImage(s.WIM, name, selector); err != nil {
		return err
	}
	if err := s.imageTree(o); err != nil {
		err = fmt.Errorf("%s: image %d: %w", name, s.Image.Index, err)
		if errors.Is(err, wim.ErrMissing) {
			err = ui.Hint(err, "name the WIMs that have the rest with --wim=FILE")
		}
		return err
	}
	if o.Warn != nil {
		for _, w := range s.Image.Warnings() {
			o.Warn("%s: image %d: %s", name, s.Image.Index, w)
		}
	}
	return nil
}

// FindImage finds an image by number or name; an empty selector means the only one.
func FindImage(r *wim.Reader, path, selector string) (*wim.Image, error) {
	images := r.Images()
	if selector == "" {
		if len(images) == 1 {
			return images[0], nil
		}
		return nil, ui.Hint(fmt.Errorf("%s has %d images and none is named", path, len(images)), "name one as %s:NUMBER; 'husk info %s' lists them", path, path)
	}
	if n, err := strconv.Atoi(selector); err == nil && n >= 1 && n <= len(images) {
		return images[n-1], nil
	}
	for _, i := range images {
		if i.Name() == selector {
			return i, nil
		}
	}
	return nil, ui.Hint(fmt.Errorf("%s has no image %q among its %d", path, selector, len(images)), "'husk info %s' lists them", path)
}

func (s *Source) openVolume(ctx context.Context, selector string, o *Options) error {
	d, err := disk.Open(s.Path)
	if err != nil {
		return err
	}
	s.Disk = d
	s.closers = append(s.closers, d)
	if selector == "" {
		s.Part, err = d.NTFS()
	} else {
		n, convErr := strconv.Atoi(selector)
		if convErr != nil {
			return fmt.Errorf("%s:%s: want a partition number after the colon", s.Path, selector)
		}
		s.Part, err = d.Partition(n)
	}
	if err != nil {
		return err
	}
	return s.readVolume(ctx, o)
}

// FromDisk makes a source of a partition of an open disk. The disk stays whoever's opened it.
func FromDisk(ctx context.Context, d *disk.Disk, p *disk.Partition, o *Options) (_ *Source, err error) {
	if o == nil {
		o = &Options{}
	}
	s := &Source{Kind: Volume, Path: d.Path, Disk: d, Part: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	return s, s.readVolume(ctx, o)
}

// readVolume makes the tree of the partition.
func (s *Source) readVolume(ctx context.Context, o *Options) error {
	v, err := ntfs.NewReader(s.Disk.Section(s.Part), s.Part.Size)
	if err != nil {
		return fmt.Errorf("%s: partition %d: %w", s.Path, s.Part.Number, err)
	}
	s.NTFS = v
	if len(o.Paths) > 0 {
		s.Tree, err = v.Paths(ctx, append(slices.Clone(o.Paths), wof.OverlayPath)...)
	} else {
		s.Tree, err = v.Tree(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: partition %d: %w", s.Path, s.Part.Number, err)
	}
	if o.Warn != nil {
		for _, w := range v.Warnings() {
			o.Warn("%s: %s", s.Path, w)
		}
		if hibernated, err := v.Hibernated(); hibernated {
			o.Warn("%s: Windows hibernates on this volume: what it keeps in memory is not seen", s.Path)
		} else if err != nil {
			o.Warn("%s: %s", s.Path, err)
		}
	}
	if o.Raw {
		return nil
	}
	return s.Resolve(s.Tree, o)
}
