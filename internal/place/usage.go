package place

import (
	"context"
	"path"

	"husk/internal/source"
	"husk/winfile"
)

// Sums counts what lies below a folder, each file once whatever the number of its names.
type Sums struct {
	Files     int   `json:"files"`
	Dirs      int   `json:"dirs"`
	Size      int64 `json:"size"`      // of all streams, as programs see them
	OnDisk    int64 `json:"onDisk"`    // bytes of clusters; in a WIM of stored resources
	InRecords int64 `json:"inRecords"` // of the size, what is in MFT records

	Pointers      int   `json:"pointers"`
	PointerBytes  int64 `json:"pointerBytes"`  // of the contents behind pointers
	PointerStored int64 `json:"pointerStored"` // what they take in the WIM

	Compact       int   `json:"compact"`
	CompactBytes  int64 `json:"compactBytes"`
	CompactStored int64 `json:"compactStored"` // what they take on the disk before rounding to clusters
}

func (s *Sums) add(o Sums) {
	s.Files += o.Files
	s.Dirs += o.Dirs
	s.Size += o.Size
	s.OnDisk += o.OnDisk
	s.InRecords += o.InRecords
	s.Pointers += o.Pointers
	s.PointerBytes += o.PointerBytes
	s.PointerStored += o.PointerStored
	s.Compact += o.Compact
	s.CompactBytes += o.CompactBytes
	s.CompactStored += o.CompactStored
}

// Folder is one folder with all that is below it.
type Folder struct {
	Path  string
	Depth int // 0 is where the count began
	Sums
}

// Usage sums up top, which is called name, and the folders below it down to a depth. Parents come before what is in them. A file
// with several names, and a blob that several files of an image have, count where they are met first. The first errors about run
// lists are returned beside the sums.
func (m *Map) Usage(ctx context.Context, name string, top *winfile.Entry, depth int) ([]Folder, []error, error) {
	u := &counter{m: m, ctx: ctx, infos: make(map[*winfile.Info]struct{}), blobs: make(map[*winfile.Blob]struct{})}
	list, err := u.folders(name, top, depth)
	return list, u.errs, err
}

type counter struct {
	m     *Map
	ctx   context.Context
	infos map[*winfile.Info]struct{} // with several names, counted already
	blobs map[*winfile.Blob]struct{} // of a WIM, counted already
	errs  []error
}

// open is a folder whose entries are being counted.
type open struct {
	entry *winfile.Entry
	index int // in the list, -1 below the depth: sums go to the folder above
	depth int
	path  string
	next  int // child
}

func (c *counter) folders(name string, top *winfile.Entry, depth int) ([]Folder, error) {
	list := []Folder{{Path: name}}
	if len(top.Children) == 0 {
		list[0].add(c.file(top.Info))
		return list, nil
	}
	list[0].add(c.file(top.Info))
	stack := []open{{entry: top, path: name}}
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if f.next == len(f.entry.Children) {
			if len(stack) > 1 {
				if up := stack[len(stack)-2].index; up != f.index {
					list[up].add(list[f.index].Sums)
				}
			}
			stack = stack[:len(stack)-1]
			continue
		}
		e := f.entry.Children[f.next]
		f.next++
		own := c.file(e.Info)
		if !e.Info.IsDir() {
			list[f.index].add(own)
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return nil, err
		}
		sub := open{entry: e, index: f.index, depth: f.depth + 1}
		if sub.depth <= depth || depth < 0 {
			sub.path, sub.index = path.Join(f.path, e.Name), len(list)
			list = append(list, Folder{Path: sub.path, Depth: sub.depth})
		}
		list[sub.index].add(own)
		stack = append(stack, sub)
	}
	return list, nil
}

// file counts one file or directory by itself; nothing if it was counted before.
func (c *counter) file(i *winfile.Info) Sums {
	if i.Links > 1 {
		if _, ok := c.infos[i]; ok {
			return Sums{}
		}
		c.infos[i] = struct{}{}
	}
	var s Sums
	if i.Attributes&winfile.AttrDirectory != 0 {
		s.Dirs = 1
	} else {
		s.Files = 1
	}
	p, err := c.m.File(i)
	c.note(err)
	s.Size = p.Size
	switch {
	case p.Kind == WIM && p.Backing != nil && p.Backing.Pointer:
		s.Pointers, s.PointerBytes, s.PointerStored = 1, p.Size, p.Size
		if p.Stored > 0 {
			s.PointerStored = p.Stored
		}
	case p.Kind == Compact:
		s.Compact, s.CompactBytes, s.CompactStored = 1, p.Size, p.Stored
	}
	if p.Resident {
		s.InRecords += p.Size
	}
	if !c.seen(i.Data) {
		s.OnDisk += p.OnDisk
	}
	for _, st := range i.Streams {
		if st.Data == nil || p.Kind == Compact && st.Name == CompactStream {
			continue
		}
		s.Size += st.Data.Size
		if c.seen(st.Data) {
			continue
		}
		extents, n, err := c.m.Stream(st.Data)
		c.note(err)
		s.OnDisk += n
		if len(extents) == 0 && c.m.src.Kind == source.Volume {
			s.InRecords += st.Data.Size
		}
	}
	return s
}

// seen reports whether a blob of a WIM was counted before.
func (c *counter) seen(b *winfile.Blob) bool {
	if b == nil || c.m.src.Kind != source.WIM {
		return false
	}
	if _, ok := c.blobs[b]; ok {
		return true
	}
	c.blobs[b] = struct{}{}
	return false
}

func (c *counter) note(err error) {
	if err != nil && len(c.errs) < 10 {
		c.errs = append(c.errs, err)
	}
}
