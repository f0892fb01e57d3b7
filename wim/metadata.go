package wim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"husk/winfile"
)

// imageWhat names a part of an image in errors.
func imageWhat(index int, part string) string { return fmt.Sprintf("image %d: %s", index, part) }

// maxWarnings is how many are kept; hostile metadata could have millions.
const maxWarnings = 1000

// treeDecoder makes a tree from the plain bytes of a metadata resource.
type treeDecoder struct {
	image    *Image
	raw      []byte
	blobs    func(winfile.SHA1) *winfile.Blob
	refs     map[winfile.SHA1]uint32 // names that refer to each blob; nil if nobody wants to know
	warnings []string
	dropped  int // warnings

	security [][]byte
	used     []uint64 // a bit for each 8 bytes of raw that an entry has
	links    map[linkKey]*winfile.Info
	entries  []winfile.Entry // not yet given out, allocated many at a time
	infos    []winfile.Info

	missing      map[winfile.SHA1]*winfile.Blob
	firstMissing string // path
	reparse      map[*winfile.Blob][]*winfile.Reparse
}

// linkKey makes names one file: the group, and the content too, because some images of Microsoft reuse group numbers.
type linkKey struct {
	group     uint64
	data, efs *winfile.Blob
}

// dirPath is the path of a directory, put together only for messages.
type dirPath struct {
	parent *dirPath
	name   string
	depth  int
}

func (p *dirPath) join(name string) string {
	parts := []string{name}
	for ; p.parent != nil; p = p.parent {
		parts = append(parts, p.name)
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteByte('\\')
		b.WriteString(parts[i])
	}
	return b.String()
}

func (d *treeDecoder) warn(format string, args ...any) {
	if len(d.warnings) == maxWarnings {
		d.dropped++
		return
	}
	d.warnings = append(d.warnings, fmt.Sprintf(format, args...))
}

func (d *treeDecoder) fail(what string, off uint64, format string, args ...any) error {
	return &FormatError{d.image.what(what), int64(off), fmt.Errorf(format, args...)}
}

// tree decodes everything but the data of reparse points, which are blobs.
func (d *treeDecoder) tree() (*winfile.Tree, error) {
	d.links = make(map[linkKey]*winfile.Info)
	d.missing = make(map[winfile.SHA1]*winfile.Blob)
	d.reparse = make(map[*winfile.Blob][]*winfile.Reparse)
	d.used = make([]uint64, len(d.raw)/8/64+1)
	off, err := d.readSecurity()
	if err != nil {
		return nil, err
	}
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	if uint64(len(d.raw)) == off || uint64(len(d.raw))-off >= 8 && le.Uint64(d.raw[off:]) <= 8 {
		d.warn("no root directory")
		return &winfile.Tree{Root: root}, nil
	}
	e, next, err := d.readEntry(off, nil)
	if err != nil {
		return nil, err
	}
	if e.name != "" {
		d.warn("the root directory is named %q", e.name)
	}
	if !e.info.IsDir() {
		return nil, d.fail("root directory", off, "attributes %#x, want a directory", uint32(e.info.Attributes))
	}
	_ = next
	root.Info = e.info
	top := &dirPath{}
	if e.subdir != 0 {
		if root.Children, err = d.readDir(e.subdir, top); err != nil {
			return nil, err
		}
	}
	if d.dropped > 0 {
		d.warnings = append(d.warnings, fmt.Sprintf("and %d more", d.dropped))
	}
	return &winfile.Tree{Root: root}, nil
}

// readSecurity reads the descriptors and returns the offset behind their block.
func (d *treeDecoder) readSecurity() (uint64, error) {
	const what = "security data"
	size := uint64(len(d.raw))
	if size < 8 {
		return 0, d.fail(what, 0, "metadata of %d bytes, want at least 8", size)
	}
	total, n := uint64(le.Uint32(d.raw)), uint64(le.Uint32(d.raw[4:]))
	if total == 0 {
		total = 8
	}
	if total < 8 || align8(total) > size {
		return 0, d.fail(what, 0, "length %d, want 8 to %d", total, size)
	}
	if n > (total-8)/8 {
		return 0, d.fail(what, 4, "%d descriptors in %d bytes", n, total)
	}
	block := append([]byte(nil), d.raw[:total]...) // the tree keeps it, and must not keep raw
	d.security = make([][]byte, n)
	at := 8 + 8*n
	for i := range n {
		length := le.Uint64(block[8+8*i:])
		if length > total-at {
			return 0, d.fail(what, 8+8*i, "descriptor %d of %d bytes, want at most %d", i, length, total-at)
		}
		if length > 0 {
			d.security[i] = block[at : at+length : at+length]
		}
		at += length
	}
	return align8(total), nil
}

// readDir reads the list of entries at off.
func (d *treeDecoder) readDir(off uint64, path *dirPath) ([]*winfile.Entry, error) {
	if path.depth > maxDepth {
		return nil, d.fail("directory entries", off, "more than %d directories deep", maxDepth)
	}
	var list []*winfile.Entry
	var subdirs []uint64
	for {
		e, next, err := d.readEntry(off, path)
		if err != nil {
			return nil, err
		}
		if e == nil {
			break
		}
		if why := badName(e.name); why != "" {
			d.warn("%s: dropped: %s", path.join(e.name), why)
		} else {
			list = append(list, d.entry(e))
			subdirs = append(subdirs, e.subdir)
		}
		off = next
	}
	list, subdirs = d.dropDuplicates(list, subdirs, path)
	for i, e := range list {
		if !e.Info.IsDir() || subdirs[i] == 0 {
			continue
		}
		var err error
		if e.Children, err = d.readDir(subdirs[i], &dirPath{path, e.Name, path.depth + 1}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// badName tells why no file can have a name, "" if one can.
func badName(name string) string {
	switch {
	case name == "":
		return "it has no name"
	case name == "." || name == "..":
		return "the name is reserved"
	case strings.ContainsAny(name, "\x00/\\"):
		return "the name has a path separator or a NUL"
	}
	return ""
}

// dropDuplicates keeps the first of entries with the same name.
func (d *treeDecoder) dropDuplicates(list []*winfile.Entry, subdirs []uint64, path *dirPath) ([]*winfile.Entry, []uint64) {
	seen := make(map[string]struct{}, len(list))
	n := 0
	for i, e := range list {
		if _, ok := seen[e.Name]; ok {
			d.warn("%s: dropped: second entry with this name", path.join(e.Name))
			e.Info.Links--
			continue
		}
		seen[e.Name] = struct{}{}
		list[n], subdirs[n] = e, subdirs[i]
		n++
	}
	return list[:n], subdirs[:n]
}

// rawEntry is a directory entry on its way into the tree.
type rawEntry struct {
	name, short string
	info        *winfile.Info
	group       uint64 // of hard links
	subdir      uint64
}

// entry gives e a place in the tree, with the info of its hard links if there are others.
func (d *treeDecoder) entry(e *rawEntry) *winfile.Entry {
	info := e.info
	if e.group != 0 {
		key := linkKey{group: e.group, data: info.Data}
		if info.Extra != nil {
			key.efs = info.Extra.EFS
		}
		if first, ok := d.links[key]; ok {
			first.Links++
			info = first
		} else {
			d.links[key] = info
		}
	}
	if len(d.entries) == 0 {
		d.entries = make([]winfile.Entry, 128)
	}
	out := &d.entries[0]
	d.entries = d.entries[1:]
	*out = winfile.Entry{Name: e.name, ShortName: e.short, Info: info}
	return out
}

// readEntry reads the entry at off and its extra streams, and returns the offset of the next. At the end of a list it
// returns nil. path is nil for the root.
func (d *treeDecoder) readEntry(off uint64, path *dirPath) (*rawEntry, uint64, error) {
	const what = "directory entry"
	size := uint64(len(d.raw))
	if off%8 != 0 || off > size || size-off < 8 {
		return nil, 0, d.fail(what, off, "want a multiple of 8, and 8 bytes before the end at %#x", size)
	}
	raw := dentry(d.raw[off:])
	length := raw.length()
	if length <= 8 {
		return nil, 0, nil
	}
	if length < dentrySize || length > uint64(len(raw)) {
		return nil, 0, d.fail(what, off, "length %d, want %d to %d", length, dentrySize, len(raw))
	}
	raw = raw[:length]
	names := dentrySize
	for _, n := range []int{raw.nameSize(), raw.shortSize()} {
		if n%2 != 0 {
			return nil, 0, d.fail(what, off, "name of %d bytes, want an even number", n)
		}
		if n > 0 {
			names += n + 2
		}
	}
	// The terminator of the last name is often left out of the length where padding would follow.
	if uint64(names) > align8(length) || uint64(names)-2 > length {
		return nil, 0, d.fail(what, off, "length %d, want at least %d for the names", length, names)
	}
	e := &rawEntry{name: winfile.NameFromUTF16LE(raw[dentrySize : dentrySize+raw.nameSize()])}
	if n := raw.shortSize(); n > 0 {
		at := dentrySize
		if raw.nameSize() > 0 {
			at += raw.nameSize() + 2
		}
		if at+n > len(raw) {
			return nil, 0, d.fail(what, off, "length %d, want at least %d for the names", length, at+n)
		}
		e.short = winfile.NameFromUTF16LE(raw[at : at+n])
	}
	show := "the root directory"
	if path != nil {
		show = ""
	}
	label := func() string {
		if show == "" {
			show = path.join(e.name)
		}
		return show
	}
	if e.short != "" && badName(e.short) != "" {
		d.warn("%s: short name %q dropped: %s", label(), e.short, badName(e.short))
		e.short = ""
	}
	d.fillInfo(e, raw, label)
	if items := align8(uint64(names)); items < length {
		d.readItems(e.info, raw[items:], label)
	}
	next := off + min(align8(length), size-off)
	streams, next, err := d.readStreams(next, raw.streams())
	if err != nil {
		return nil, 0, err
	}
	if err := d.use(off, next); err != nil {
		return nil, 0, err
	}
	d.placeStreams(e.info, raw.hash(), streams, label)
	return e, next, nil
}

// use marks the bytes of an entry. No two may share any: so directories cannot loop, and memory is bounded by the size.
func (d *treeDecoder) use(from, to uint64) error {
	for i := from / 8; i < (to+7)/8; i++ {
		if d.used[i/64]&(1<<(i%64)) != 0 {
			return d.fail("directory entry", from, "bytes at %#x belong to two entries", i*8)
		}
		d.used[i/64] |= 1 << (i % 64)
	}
	return nil
}

// fillInfo takes the fixed fields.
func (d *treeDecoder) fillInfo(e *rawEntry, raw dentry, label func() string) {
	if len(d.infos) == 0 {
		d.infos = make([]winfile.Info, 128)
	}
	e.info = &d.infos[0]
	d.infos = d.infos[1:]
	i := e.info
	i.Attributes = winfile.Attributes(raw.attributes())
	i.Created, i.Written, i.Accessed = raw.created(), raw.written(), raw.accessed()
	i.Links = 1
	if id := raw.security(); id != noSecurity {
		if uint64(id) < uint64(len(d.security)) {
			i.Security = d.security[id]
		} else {
			d.warn("%s: security descriptor %d of %d dropped", label(), id, len(d.security))
		}
	}
	if i.Attributes&winfile.AttrReparse != 0 {
		i.Reparse = &winfile.Reparse{Tag: raw.reparseTag(), Reserved: raw.reparseReserved(),
			NotFixed: raw.reparseFlags()&reparseNotFixed != 0}
	} else if i.Attributes&winfile.AttrDirectory == 0 {
		e.group = raw.linkGroup()
	}
	if i.IsDir() {
		e.subdir = raw.subdir()
	}
	if n := raw.unknown(); n != 0 {
		extra(i).Unknown = n
	}
}

// extra returns i.Extra, which it makes if need be.
func extra(i *winfile.Info) *winfile.Extra {
	if i.Extra == nil {
		i.Extra = new(winfile.Extra)
	}
	return i.Extra
}

// readItems reads the tagged items. What it does not understand is kept as it is.
func (d *treeDecoder) readItems(i *winfile.Info, b []byte, label func() string) {
	for len(b) >= 8 {
		tag, n := le.Uint32(b), uint64(le.Uint32(b[4:]))
		if n > uint64(len(b)-8) {
			d.warn("%s: tagged item %#x of %d bytes dropped: %d are left", label(), tag, n, len(b)-8)
			return
		}
		if tag == 0 && n == 0 {
			b = b[8:]
			continue
		}
		data := append([]byte(nil), b[8:8+n]...)
		b = b[min(8+align8(n), uint64(len(b))):]
		x := extra(i)
		switch {
		case tag == tagObjectID && (n == 16 || n == 64) && x.ObjectID == nil:
			x.ObjectID = data
			continue
		case tag == tagUnix && n == 16 && x.Unix == nil:
			x.Unix = &winfile.Unix{UID: le.Uint32(data), GID: le.Uint32(data[4:]), Mode: le.Uint32(data[8:]), Rdev: le.Uint32(data[12:])}
			continue
		case tag == tagEAs && x.EAs == nil:
			if eas, ok := parseEAs(data); ok {
				x.EAs = eas
				continue
			}
			d.warn("%s: extended attributes of %d bytes are not understood, but kept", label(), n)
		}
		x.Items = append(x.Items, winfile.TaggedItem{Tag: tag, Data: data})
	}
}

// parseEAs splits extended attributes: value length u16, name length u8, flags u8, name, NUL, value; packed.
func parseEAs(b []byte) ([]winfile.EA, bool) {
	var eas []winfile.EA
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, false
		}
		value, name := int(le.Uint16(b)), int(b[2])
		if len(b) < 4+name+1+value || b[4+name] != 0 {
			return nil, false
		}
		eas = append(eas, winfile.EA{Flags: b[3], Name: string(b[4 : 4+name]), Value: b[5+name : 5+name+value : 5+name+value]})
		b = b[5+name+value:]
	}
	return eas, len(eas) > 0
}

// rawStream is an extra stream entry.
type rawStream struct {
	name string
	hash winfile.SHA1
}

// readStreams reads n extra stream entries from off.
func (d *treeDecoder) readStreams(off uint64, n int) ([]rawStream, uint64, error) {
	const what = "stream entry"
	var list []rawStream
	size := uint64(len(d.raw))
	for range n {
		if size-off < streamSize {
			return nil, 0, d.fail(what, off, "%d bytes left, want at least %d", size-off, streamSize)
		}
		b := d.raw[off:]
		length, name := le.Uint64(b), int(le.Uint16(b[0x24:]))
		if length < streamSize || length > uint64(len(b)) || name%2 != 0 || uint64(streamSize+name) > length {
			return nil, 0, d.fail(what, off, "length %d with a name of %d bytes, %d left", length, name, len(b))
		}
		list = append(list, rawStream{winfile.NameFromUTF16LE(b[streamSize : streamSize+name]), winfile.SHA1(b[0x10:0x24])})
		off += min(align8(length), size-off)
	}
	return list, off, nil
}

// placeStreams decides what each stream is, which is not stored: a reparse point's data comes first, then the unnamed data.
func (d *treeDecoder) placeStreams(i *winfile.Info, main winfile.SHA1, streams []rawStream, label func() string) {
	var unnamed []winfile.SHA1
	if main != (winfile.SHA1{}) {
		unnamed = append(unnamed, main)
	}
	encrypted := i.Attributes&winfile.AttrEncrypted != 0
	for _, s := range streams {
		switch {
		case s.name == "":
			unnamed = append(unnamed, s.hash)
		case !encrypted:
			i.Streams = append(i.Streams, winfile.Stream{Name: s.name, Data: d.blob(s.hash, label)})
		}
	}
	if encrypted {
		for _, h := range unnamed {
			if h != (winfile.SHA1{}) {
				extra(i).EFS = d.blob(h, label)
				break
			}
		}
		return
	}
	if i.Reparse != nil && len(unnamed) > 0 {
		if b := d.blob(unnamed[0], label); b != nil {
			d.reparse[b] = append(d.reparse[b], i.Reparse)
		}
		unnamed = unnamed[1:]
	}
	if len(unnamed) > 0 {
		b := d.blob(unnamed[0], label)
		if i.Attributes&winfile.AttrDirectory == 0 {
			i.Data = b
		} else if b != nil {
			d.warn("%s: data of a directory dropped", label())
		}
	}
}

// blob returns the blob of a hash, nil for an empty stream.
func (d *treeDecoder) blob(h winfile.SHA1, label func() string) *winfile.Blob {
	if h == (winfile.SHA1{}) {
		return nil
	}
	if d.refs != nil {
		d.refs[h]++
	}
	if b := d.blobs(h); b != nil {
		return b
	}
	b := d.missing[h]
	if b == nil {
		b = &winfile.Blob{SHA1: h, Content: missing{}}
		if len(d.missing) == 0 {
			d.firstMissing = label()
		}
		d.missing[h] = b
	}
	return b
}

// missing is the content of blobs that the file does not have.
type missing struct{}

func (missing) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	return nil, fmt.Errorf("wim: %w: %s", ErrMissing, b.SHA1)
}

func (d *treeDecoder) missingError() error {
	if len(d.missing) == 0 {
		return nil
	}
	h := d.missing
	for first := range h {
		if len(h) == 1 {
			return fmt.Errorf("wim: image %d: %w: %s of %s", d.image.Index, d.image.r.errMissing(), first, d.firstMissing)
		}
	}
	return fmt.Errorf("wim: image %d: %w: %d blobs, the first of %s", d.image.Index, d.image.r.errMissing(), len(h), d.firstMissing)
}

// readReparse reads the data of the reparse points.
func (d *treeDecoder) readReparse() error {
	var blobs []*winfile.Blob
	for b := range d.reparse {
		if b.Size == 0 {
			continue // missing
		}
		if b.Size > maxReparse {
			return d.fail("reparse data "+b.SHA1.String(), 0, "%d bytes, want at most %d", b.Size, maxReparse)
		}
		blobs = append(blobs, b)
	}
	err := d.image.r.ReadBlobs(context.Background(), blobs, 1, func(b *winfile.Blob, _ int64, p []byte) error {
		data := append([]byte(nil), p...)
		for _, r := range d.reparse[b] {
			r.Data = data
		}
		return nil
	})
	var format *FormatError
	if err != nil && !errors.As(err, &format) {
		err = fmt.Errorf("wim: image %d: reparse data: %w", d.image.Index, err)
	}
	return err
}
