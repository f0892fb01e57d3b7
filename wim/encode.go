package wim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"husk/winfile"
)

// plan is a tree made ready for writing: checked, sorted and counted.
type plan struct {
	root  *planEntry
	files map[*winfile.Info]*planFile
	order []*planFile // files in the order of their first names
	info  ImageInfo   // the counts
}

// planEntry is a name.
type planEntry struct {
	entry  *winfile.Entry
	parent *planEntry
	name   []uint16
	file   *planFile
	kids   []*planEntry
	at     int // offset in the metadata
}

// planFile is a file, whatever the number of its names.
type planFile struct {
	info    *winfile.Info
	first   *planEntry
	names   int
	group   uint64        // of hard links; 0 until it is used
	reparse *winfile.Blob // data of a reparse point; nil if empty
}

// path names p in messages.
func (p *planEntry) path() string {
	if p.parent == nil {
		return `\`
	}
	var parts []string
	for ; p.parent != nil; p = p.parent {
		parts = append(parts, p.entry.Name)
	}
	slices.Reverse(parts)
	return `\` + strings.Join(parts, `\`)
}

// newPlan checks everything that metadata cannot express.
func newPlan(t *winfile.Tree) (*plan, error) {
	p := &plan{files: make(map[*winfile.Info]*planFile)}
	if t == nil || t.Root == nil || t.Root.Info == nil || !t.Root.Info.IsDir() {
		return nil, errors.New("wim: the root is not a directory")
	}
	p.root = &planEntry{entry: t.Root}
	if err := p.add(p.root, 0); err != nil {
		return nil, err
	}
	for _, f := range p.order {
		var size int64
		for b := range f.blobs() {
			size += b.Size
		}
		p.info.TotalBytes += size * int64(f.names)
		p.info.HardLinkBytes += size * int64(f.names-1)
	}
	return p, nil
}

// count gives info the counts.
func (p *plan) count(info *ImageInfo) {
	info.Dirs, info.Files = p.info.Dirs, p.info.Files
	info.TotalBytes, info.HardLinkBytes = p.info.TotalBytes, p.info.HardLinkBytes
}

func (p *plan) add(e *planEntry, depth int) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("wim: %s: %w", e.path(), fmt.Errorf(format, args...))
	}
	info := e.entry.Info
	if info == nil {
		return fail("no file behind the name")
	}
	if depth > maxDepth {
		return fmt.Errorf("wim: more than %d directories inside each other", maxDepth)
	}
	f := p.files[info]
	if f == nil {
		f = &planFile{info: info, first: e}
		if err := f.check(); err != nil {
			return fail("%w", err)
		}
		p.files[info] = f
		p.order = append(p.order, f)
	}
	e.file = f
	f.names++
	if !info.IsDir() {
		p.info.Files++
		if len(e.entry.Children) > 0 {
			return fail("%d children of what is not a directory", len(e.entry.Children))
		}
		return nil
	}
	p.info.Dirs++
	if f.names > 1 {
		return fail("a directory with two names")
	}
	return p.addKids(e, depth)
}

func (p *plan) addKids(e *planEntry, depth int) error {
	if len(e.entry.Children) == 0 {
		return nil
	}
	kids := make([]planEntry, len(e.entry.Children))
	e.kids = make([]*planEntry, len(kids))
	for i, c := range e.entry.Children {
		kids[i] = planEntry{entry: c, parent: e, name: winfile.UTF16FromName(c.Name)}
		k := &kids[i]
		e.kids[i] = k
		if why := badName(c.Name); why != "" {
			return fmt.Errorf("wim: %s: %s", k.path(), why)
		}
		if !winfile.ValidName(c.Name) || !winfile.ValidName(c.ShortName) {
			return fmt.Errorf("wim: %q: the name is not WTF-8", k.path())
		}
		if n := len(k.name) + len(c.ShortName); n > maxName/2 || len(c.ShortName) > 0 && badName(c.ShortName) != "" {
			return fmt.Errorf("wim: %s: names of %d and %d units cannot be stored", k.path(), len(k.name), len(c.ShortName))
		}
	}
	slices.SortFunc(e.kids, func(a, b *planEntry) int { return winfile.CompareFold(a.name, b.name) })
	for i, k := range e.kids {
		if i > 0 && slices.Equal(k.name, e.kids[i-1].name) {
			return fmt.Errorf("wim: %s: two files with this name", k.path())
		}
		if err := p.add(k, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// check looks for what a file cannot have.
func (f *planFile) check() error {
	i := f.info
	reparse := i.Attributes&winfile.AttrReparse != 0
	switch {
	case reparse != (i.Reparse != nil):
		return fmt.Errorf("attributes %s and reparse point %t", i.Attributes, i.Reparse != nil)
	case i.Attributes&winfile.AttrEncrypted != 0 && (i.Data != nil || len(i.Streams) > 0):
		return errors.New("encrypted, but its data is not a raw export")
	case i.Attributes&winfile.AttrEncrypted == 0 && i.Extra != nil && i.Extra.EFS != nil:
		return errors.New("raw export of an encrypted file, but it is not encrypted")
	case i.Attributes&winfile.AttrDirectory != 0 && i.Data != nil:
		return errors.New("a directory with data")
	case len(i.Streams) > 65533:
		return fmt.Errorf("%d named streams, want at most 65533", len(i.Streams))
	case reparse && len(i.Reparse.Data) > maxReparse:
		return fmt.Errorf("reparse data of %d bytes, want at most %d", len(i.Reparse.Data), maxReparse)
	}
	for _, s := range i.Streams {
		if n := len(winfile.UTF16FromName(s.Name)); n == 0 || n > maxName/2 || !winfile.ValidName(s.Name) {
			return fmt.Errorf("stream name %q cannot be stored", s.Name)
		}
	}
	if reparse && i.Attributes&winfile.AttrEncrypted == 0 {
		f.reparse = winfile.NewBlob(i.Reparse.Data)
	}
	return nil
}

// blobs yields the contents of the file that are stored.
func (f *planFile) blobs() func(func(*winfile.Blob) bool) {
	return func(yield func(*winfile.Blob) bool) {
		if f.reparse != nil && !yield(f.reparse) {
			return
		}
		f.info.Blobs()(yield)
	}
}

// encoder makes a metadata resource. The SHA-1 of every blob must be known.
type encoder struct {
	b        []byte
	refs     map[winfile.SHA1]uint32 // names that refer to each blob
	groups   uint64
	security map[string]uint32
	shared   map[*byte]uint32 // descriptors by their memory, which spares most look-ups
	sds      [][]byte
}

// metadata encodes p and counts the references to each blob.
func (p *plan) metadata() ([]byte, map[winfile.SHA1]uint32, error) {
	e := &encoder{refs: make(map[winfile.SHA1]uint32), security: make(map[string]uint32), shared: make(map[*byte]uint32)}
	for _, f := range p.order {
		e.descriptor(f.info.Security)
	}
	if err := e.securityData(); err != nil {
		return nil, nil, err
	}
	if err := e.entry(p.root); err != nil {
		return nil, nil, err
	}
	e.b = append(e.b, 0, 0, 0, 0, 0, 0, 0, 0)
	if err := e.list(p.root); err != nil {
		return nil, nil, err
	}
	return e.b, e.refs, nil
}

// descriptor returns the number of a security descriptor, a new one if it has none yet.
func (e *encoder) descriptor(sd []byte) uint32 {
	if len(sd) == 0 {
		return noSecurity
	}
	if id, ok := e.shared[&sd[0]]; ok && len(e.sds[id]) == len(sd) {
		return id
	}
	id, ok := e.security[string(sd)]
	if !ok {
		id = uint32(len(e.sds))
		e.sds = append(e.sds, sd)
		e.security[string(sd)] = id
	}
	e.shared[&sd[0]] = id
	return id
}

func (e *encoder) securityData() error {
	total := int64(8)
	for _, sd := range e.sds {
		total += 8 + int64(len(sd))
	}
	if total = align8(total); total > maxMetadata {
		return fmt.Errorf("wim: %d bytes of security descriptors, want at most %d", total, maxMetadata)
	}
	e.b = le.AppendUint32(e.b, uint32(total))
	e.b = le.AppendUint32(e.b, uint32(len(e.sds)))
	for _, sd := range e.sds {
		e.b = le.AppendUint64(e.b, uint64(len(sd)))
	}
	for _, sd := range e.sds {
		e.b = append(e.b, sd...)
	}
	e.pad()
	return nil
}

// pad fills up to a multiple of 8.
func (e *encoder) pad() {
	for len(e.b)%8 != 0 {
		e.b = append(e.b, 0)
	}
}

// list writes the entries of a directory, then the lists of its subdirectories.
func (e *encoder) list(dir *planEntry) error {
	le.PutUint64(e.b[dir.at+0x10:], uint64(len(e.b)))
	for _, k := range dir.kids {
		if err := e.entry(k); err != nil {
			return err
		}
	}
	e.b = append(e.b, 0, 0, 0, 0, 0, 0, 0, 0)
	if len(e.b) > maxMetadata {
		return fmt.Errorf("wim: more than %d bytes of metadata", maxMetadata)
	}
	for _, k := range dir.kids {
		if k.file.info.IsDir() {
			if err := e.list(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry writes a directory entry and its extra streams.
func (e *encoder) entry(p *planEntry) error {
	f, i := p.file, p.file.info
	main, streams := f.streams()
	for _, s := range streams {
		e.count(s.hash)
	}
	e.count(main)
	p.at = len(e.b)
	e.b = append(e.b, make([]byte, dentrySize)...)
	d := e.b[p.at:]
	le.PutUint32(d[0x08:], uint32(i.Attributes))
	le.PutUint32(d[0x0c:], e.descriptor(i.Security))
	le.PutUint64(d[0x28:], uint64(i.Created))
	le.PutUint64(d[0x30:], uint64(i.Accessed))
	le.PutUint64(d[0x38:], uint64(i.Written))
	copy(d[0x40:], main[:])
	if i.Extra != nil {
		le.PutUint32(d[0x54:], i.Extra.Unknown)
	}
	switch {
	case i.Reparse != nil:
		le.PutUint32(d[0x58:], i.Reparse.Tag)
		le.PutUint16(d[0x5c:], i.Reparse.Reserved)
		if i.Reparse.NotFixed {
			le.PutUint16(d[0x5e:], reparseNotFixed)
		}
	case f.names > 1:
		if f.group == 0 {
			e.groups++
			f.group = e.groups
		}
		le.PutUint64(d[0x58:], f.group)
	}
	le.PutUint16(d[0x60:], uint16(len(streams)))
	short := winfile.UTF16FromName(p.entry.ShortName)
	le.PutUint16(d[0x62:], uint16(2*len(short)))
	le.PutUint16(d[0x64:], uint16(2*len(p.name)))
	e.name(p.name)
	e.name(short)
	e.pad()
	if err := e.items(i.Extra); err != nil {
		return fmt.Errorf("wim: %s: %w", p.path(), err)
	}
	le.PutUint64(e.b[p.at:], uint64(len(e.b)-p.at))
	for _, s := range streams {
		e.stream(s)
	}
	return nil
}

func (e *encoder) count(h winfile.SHA1) {
	if h != (winfile.SHA1{}) {
		e.refs[h]++
	}
}

// name writes UTF-16 units and a NUL, nothing for an empty name.
func (e *encoder) name(u []uint16) {
	if len(u) == 0 {
		return
	}
	for _, c := range u {
		e.b = le.AppendUint16(e.b, c)
	}
	e.b = append(e.b, 0, 0)
}

func (e *encoder) stream(s rawStream) {
	at := len(e.b)
	e.b = append(e.b, make([]byte, streamSize)...)
	copy(e.b[at+0x10:], s.hash[:])
	u := winfile.UTF16FromName(s.name)
	le.PutUint16(e.b[at+0x24:], uint16(2*len(u)))
	e.name(u)
	e.pad()
	le.PutUint64(e.b[at:], uint64(len(e.b)-at))
}

// streams places the streams of a file as DISM 10.0.20348 does: a single unnamed one in the entry itself, otherwise all
// behind it, reparse data first, then the unnamed data, then the named.
func (f *planFile) streams() (main winfile.SHA1, extras []rawStream) {
	i := f.info
	hash := func(b *winfile.Blob) winfile.SHA1 {
		if b == nil {
			return winfile.SHA1{}
		}
		return b.SHA1
	}
	if i.Attributes&winfile.AttrEncrypted != 0 {
		if i.Extra != nil {
			main = hash(i.Extra.EFS)
		}
		return main, nil
	}
	if i.Reparse != nil {
		extras = append(extras, rawStream{"", hash(f.reparse)})
	}
	if i.Attributes&winfile.AttrDirectory == 0 {
		if len(extras) == 0 && len(i.Streams) == 0 {
			return hash(i.Data), nil
		}
		extras = append(extras, rawStream{"", hash(i.Data)})
	}
	for _, s := range i.Streams {
		extras = append(extras, rawStream{s.Name, hash(s.Data)})
	}
	if len(extras) == 1 && extras[0].name == "" {
		return extras[0].hash, nil
	}
	return main, extras
}

// items writes the tagged items.
func (e *encoder) items(x *winfile.Extra) error {
	if x == nil {
		return nil
	}
	if n := len(x.ObjectID); n != 0 && n != 16 && n != 64 {
		return fmt.Errorf("object id of %d bytes, want 16 or 64", n)
	}
	if len(x.ObjectID) > 0 {
		e.item(tagObjectID, x.ObjectID)
	}
	if len(x.EAs) > 0 {
		var b []byte
		for _, ea := range x.EAs {
			if len(ea.Name) > 255 || len(ea.Value) > 65535 {
				return fmt.Errorf("extended attribute %q of %d bytes, want at most 65535", ea.Name, len(ea.Value))
			}
			b = le.AppendUint16(b, uint16(len(ea.Value)))
			b = append(b, byte(len(ea.Name)), ea.Flags)
			b = append(b, ea.Name...)
			b = append(b, 0)
			b = append(b, ea.Value...)
		}
		e.item(tagEAs, b)
	}
	if x.Unix != nil {
		var b []byte
		for _, n := range []uint32{x.Unix.UID, x.Unix.GID, x.Unix.Mode, x.Unix.Rdev} {
			b = le.AppendUint32(b, n)
		}
		e.item(tagUnix, b)
	}
	for _, i := range x.Items {
		e.item(i.Tag, i.Data)
	}
	return nil
}

func (e *encoder) item(tag uint32, data []byte) {
	e.b = le.AppendUint32(e.b, tag)
	e.b = le.AppendUint32(e.b, uint32(len(data)))
	e.b = append(e.b, data...)
	e.pad()
}
