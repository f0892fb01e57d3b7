// Package place tells where the bytes of files are: in the record of a file, in clusters of its volume, compressed beside it, or
// in a WIM. It looks at names, run lists and reparse points only; no content is read and no WIM behind a volume is opened.
//
//	source.Open(Raw) ──> Map ── File ──> Place     one file
//	                      │
//	                      └──── Usage ──> Folder   sums for folders: what is on the disk, what is behind pointers
package place

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"husk/guid"
	"husk/internal/source"
	"husk/ntfs"
	"husk/winfile"
	"husk/wof"
)

// Kind is where the unnamed data of a file is.
type Kind string

const (
	None    Kind = "none"    // the file has none
	Local   Kind = "local"   // on the volume, or in the folder, as it is
	WIM     Kind = "wim"     // in a WIM: that of the image, or the one that a pointer file points into
	Compact Kind = "compact" // on the volume, compressed by WOF
	Away    Kind = "away"    // behind a reparse point that husk does not follow: a cloud file, a deduplicated one
)

// CompactStream is the named stream that has the content of a compact file.
const CompactStream = "WofCompressedData"

// Place is where the unnamed data of a file is.
type Place struct {
	Kind      Kind
	Resident  bool          // in the file's record
	Extents   []ntfs.Extent // runs of clusters on the volume; of a compact file those of its compressed stream
	OnDisk    int64         // bytes of clusters that are no holes, of a resident file 0; in a WIM what the resource takes there
	Size      int64         // of the content
	Stored    int64         // compressed size in a WIM or of a compact file; 0 if not compressed or not known
	SHA1      winfile.SHA1  // where known without reading
	Backing   *Backing      // of data in a WIM
	Algorithm wof.Algorithm // of a compact file
}

// Fragments counts the runs of clusters that are not holes.
func (p *Place) Fragments() int {
	n := 0
	var next ntfs.LCN = -1
	for _, e := range p.Extents {
		if e.LCN >= 0 {
			if e.LCN != next {
				n++
			}
			next = e.LCN + ntfs.LCN(e.Clusters)
		}
	}
	return n
}

// Backing is a place in a WIM.
type Backing struct {
	Path         string    // of the WIM; as WimOverlay.dat records it for a pointer file
	DataSourceID uint64    // of a pointer file
	Pointer      bool      // a pointer file, not a file of the image
	Known        bool      // WimOverlay.dat has the data source
	GUID         guid.GUID // of the WIM
	Image        int       // its index in the WIM
	Offset       int64     // of the resource
	Solid        bool      // offset and size are those inside a solid resource
}

// Map tells the places of the files of one source, which must be opened raw.
type Map struct {
	src     *source.Source
	overlay *wof.Overlay
}

// New reads WimOverlay.dat if there is one. The map is usable even if that fails: the paths of WIMs are then not known.
func New(s *source.Source) (*Map, error) {
	m := &Map{src: s}
	if s.Kind != source.Volume {
		return m, nil
	}
	var err error
	m.overlay, err = wof.ReadOverlay(s.Tree)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return m, err
}

// KindOf tells where the unnamed data of a file is, without a look at run lists.
func (m *Map) KindOf(i *winfile.Info) Kind {
	if i.Attributes&winfile.AttrDirectory != 0 {
		return None
	}
	if i.Reparse != nil {
		if i.Reparse.Tag == winfile.TagWOF {
			switch p, err := wof.ProviderOf(i.Reparse); {
			case err != nil:
			case p == wof.ProviderWIM:
				return WIM
			case p == wof.ProviderFile:
				return Compact
			}
		}
		if i.Data == nil {
			return None
		}
		return Away
	}
	switch {
	case i.Data == nil && (i.Extra == nil || i.Extra.EFS == nil):
		return None
	case m.src.Kind == source.WIM:
		return WIM
	}
	return Local
}

// File tells where the unnamed data of a file is. The error is about a reparse point or run list that cannot be read; what is
// known is returned with it.
func (m *Map) File(i *winfile.Info) (Place, error) {
	p := Place{Kind: m.KindOf(i), Size: i.Size()}
	data := i.Data
	if data != nil {
		p.SHA1 = data.SHA1
	} else if i.Extra != nil && i.Extra.EFS != nil {
		data = i.Extra.EFS
	}
	switch {
	case p.Kind == WIM && m.src.Kind == source.WIM:
		m.inImage(&p, data)
		return p, nil
	case p.Kind == WIM:
		return p, m.behindPointer(&p, i)
	case p.Kind == Compact:
		c, err := wof.CompactOf(i.Reparse)
		if err != nil {
			return p, err
		}
		p.Algorithm = c.Algorithm
		for _, s := range i.Streams {
			if s.Name == CompactStream && s.Data != nil {
				data, p.Stored = s.Data, s.Data.Size
			}
		}
	}
	if data == nil {
		return p, nil
	}
	var err error
	p.Extents, p.OnDisk, err = m.clusters(data)
	p.Resident = m.src.Kind == source.Volume && len(p.Extents) == 0 && err == nil
	return p, err
}

// inImage is the place of a blob of an image.
func (m *Map) inImage(p *Place, b *winfile.Blob) {
	p.Backing = &Backing{Path: m.src.WIMName(), GUID: m.src.WIM.GUID(), Image: m.src.Image.Index, Known: true}
	if info, ok := m.src.WIM.Lookup(b.SHA1); ok {
		p.Backing.Offset, p.Backing.Solid = info.Offset, info.Solid
		p.OnDisk = info.StoredSize
		if info.Compressed {
			p.Stored = info.StoredSize
		}
	}
}

func (m *Map) behindPointer(p *Place, i *winfile.Info) error {
	w, err := wof.PointerOf(i.Reparse)
	if err != nil {
		return err
	}
	p.Size, p.SHA1 = w.Size, w.SHA1
	if w.StoredSize != w.Size {
		p.Stored = w.StoredSize
	}
	p.Backing = &Backing{DataSourceID: w.DataSourceID, Pointer: true, Offset: w.Offset}
	if m.overlay != nil {
		if e, ok := m.overlay.Entry(w.DataSourceID); ok {
			p.Backing.Known, p.Backing.Path, p.Backing.GUID, p.Backing.Image = true, e.Location.Path, e.GUID, int(e.ImageIndex)
		}
	}
	if i.Data != nil {
		p.Extents, p.OnDisk, err = m.clusters(i.Data)
	}
	return err
}

// clusters returns the runs of a blob of a volume and the bytes of those that are no holes. Of other sources that is its size.
func (m *Map) clusters(b *winfile.Blob) ([]ntfs.Extent, int64, error) {
	if m.src.Kind != source.Volume {
		return nil, m.stored(b), nil
	}
	list, err := m.src.NTFS.Extents(b)
	var n int64
	for _, e := range list {
		if e.LCN >= 0 {
			n += e.Clusters * int64(m.src.NTFS.ClusterSize)
		}
	}
	return list, n, err
}

// stored is what a blob takes in a WIM or folder.
func (m *Map) stored(b *winfile.Blob) int64 {
	if m.src.Kind == source.WIM {
		if info, ok := m.src.WIM.Lookup(b.SHA1); ok {
			return info.StoredSize
		}
		return 0
	}
	return b.Size
}

// Stream tells where a named stream is: resident in the record if there are neither clusters nor an error.
func (m *Map) Stream(b *winfile.Blob) (extents []ntfs.Extent, onDisk int64, err error) {
	if b == nil {
		return nil, 0, nil
	}
	return m.clusters(b)
}

// Expand gives a compact file its content, so that it can be read: the result is a copy of i. Other files are returned as they are.
func (m *Map) Expand(i *winfile.Info) (*winfile.Info, error) {
	if m.KindOf(i) != Compact {
		return i, nil
	}
	c := *i
	c.Links = 1
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}, Children: []*winfile.Entry{{Name: "file", Info: &c}}}
	_, err := wof.Resolve(&winfile.Tree{Root: root}, nil, func(id uint64) (wof.BlobSource, error) {
		return nil, fmt.Errorf("data source %d of a compact file", id)
	})
	if err != nil {
		return nil, err
	}
	if c.Reparse != nil {
		return nil, fmt.Errorf("compact file: %w", errors.ErrUnsupported)
	}
	return &c, nil
}

// ParseKind reads what --where takes.
func ParseKind(s string) (Kind, error) {
	switch k := Kind(strings.ToLower(s)); k {
	case Local, WIM, Compact, Away, None:
		return k, nil
	}
	return "", fmt.Errorf("%q, want local, wim, compact, away or none", s)
}
