// Package describe tells everything that is stored of one file, in words and for programs.
package describe

import (
	"encoding/hex"
	"fmt"
	"time"

	"husk/guid"
	"husk/internal/find"
	"husk/internal/place"
	"husk/internal/source"
	"husk/winfile"
	"husk/winfile/sddl"
	"husk/winfile/treefs"
	"husk/wof"
)

// File is what is known of one file. Empty parts are absent.
type File struct {
	Path       string     `json:"path"`
	Type       string     `json:"type"` // file, directory, link
	Size       int64      `json:"size"`
	ID         uint64     `json:"id,omitempty"` // MFT record or inode
	Attributes []string   `json:"attributes"`
	Bits       uint32     `json:"attributeBits"`
	Created    *time.Time `json:"created,omitempty"`
	Written    *time.Time `json:"written,omitempty"`
	Accessed   *time.Time `json:"accessed,omitempty"`
	Changed    *time.Time `json:"changed,omitempty"`
	ShortName  string     `json:"shortName,omitempty"`
	Links      int32      `json:"links"`
	Names      []string   `json:"names,omitempty"` // all paths of a file with several
	Data       *Data      `json:"data,omitempty"`
	Streams    []Stream   `json:"streams,omitempty"`
	SDDL       string     `json:"sddl,omitempty"`
	Security   string     `json:"security,omitempty"` // hex, of a descriptor that cannot be shown as text
	Reparse    *Reparse   `json:"reparse,omitempty"`
	ObjectID   *ObjectID  `json:"objectId,omitempty"`
	EAs        []EA       `json:"extendedAttributes,omitempty"`
	Unix       *Unix      `json:"unix,omitempty"`
	Problems   []string   `json:"problems,omitempty"` // what could not be read
}

// Data is where the unnamed data is.
type Data struct {
	Where     place.Kind `json:"where"`
	Resident  bool       `json:"resident,omitempty"`
	Fragments int        `json:"fragments,omitempty"`
	Extents   []Extent   `json:"extents,omitempty"`
	OnDisk    int64      `json:"onDisk"`
	Stored    int64      `json:"stored,omitempty"`
	Algorithm string     `json:"algorithm,omitempty"`
	SHA1      string     `json:"sha1,omitempty"`
	WIM       *WIM       `json:"wim,omitempty"`
}

// Extent is a run of clusters; LCN -1 is a hole.
type Extent struct {
	VCN      int64 `json:"vcn"`
	LCN      int64 `json:"lcn"`
	Clusters int64 `json:"clusters"`
}

// WIM is a place in a WIM.
type WIM struct {
	Path       string  `json:"path,omitempty"`
	GUID       string  `json:"guid,omitempty"`
	Image      int     `json:"image,omitempty"`
	DataSource *uint64 `json:"dataSource,omitempty"` // of a pointer file
	Known      bool    `json:"known"`                // the data source is in WimOverlay.dat
	Offset     int64   `json:"offset"`
	Solid      bool    `json:"solid,omitempty"`
}

// Stream is a named stream.
type Stream struct {
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	OnDisk   int64  `json:"onDisk"`
	Resident bool   `json:"resident,omitempty"`
	SHA1     string `json:"sha1,omitempty"`
}

// Reparse is a decoded reparse point.
type Reparse struct {
	Tag    string `json:"tag"`  // 0xa000000c
	Name   string `json:"name"` // symlink
	Target string `json:"target,omitempty"`
	Detail string `json:"detail,omitempty"` // of other tags, as far as it is known
	Bytes  int    `json:"bytes"`
}

// ObjectID is the object id of a file and what it was born with.
type ObjectID struct {
	ID          string `json:"id"`
	BirthVolume string `json:"birthVolume,omitempty"`
	BirthObject string `json:"birthObject,omitempty"`
	Domain      string `json:"domain,omitempty"`
}

// EA is an extended attribute; the value is hex.
type EA struct {
	Name  string `json:"name"`
	Flags byte   `json:"flags,omitempty"`
	Value string `json:"value"`
}

// Unix is the UNIX data of a file in a WIM.
type Unix struct {
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Mode string `json:"mode"` // octal
	Rdev uint32 `json:"rdev,omitempty"`
}

// Of describes an entry of the tree of s, which is opened raw. It walks the tree if the file has several names.
func Of(s *source.Source, m *place.Map, path string, e *winfile.Entry) *File {
	i := e.Info
	f := &File{
		Path: path, Type: typeWord(i), Size: i.Size(), Bits: uint32(i.Attributes), Attributes: AttributeWords(i.Attributes),
		Created: timeOf(i.Created), Written: timeOf(i.Written), Accessed: timeOf(i.Accessed), Changed: timeOf(i.Changed),
		ShortName: e.ShortName, Links: i.Links,
	}
	if s.Kind != source.WIM {
		f.ID = i.ID
	}
	if i.Links > 1 {
		for p, o := range s.Tree.All() {
			if o.Info == i {
				f.Names = append(f.Names, "/"+p)
			}
		}
	}
	f.data(s, m, i)
	f.streams(s, m, i)
	if len(i.Security) > 0 {
		text, err := sddl.Format(i.Security)
		if f.SDDL = text; err != nil {
			f.problem(err)
			f.Security = hex.EncodeToString(i.Security)
		}
	}
	if i.Reparse != nil {
		f.Reparse = reparseOf(i)
	}
	if i.Extra != nil {
		f.extra(i.Extra)
	}
	return f
}

func (f *File) problem(err error) {
	if err != nil {
		f.Problems = append(f.Problems, err.Error())
	}
}

func timeOf(t winfile.Filetime) *time.Time {
	if t == 0 {
		return nil
	}
	u := t.Time()
	return &u
}

func typeWord(i *winfile.Info) string {
	switch find.TypeOf(i) {
	case 'l':
		return "link"
	case 'd':
		return "directory"
	}
	return "file"
}

func (f *File) data(s *source.Source, m *place.Map, i *winfile.Info) {
	p, err := m.File(i)
	f.problem(err)
	if p.Kind == place.None {
		return
	}
	f.Size = p.Size
	d := &Data{Where: p.Kind, Resident: p.Resident, Fragments: p.Fragments(), OnDisk: p.OnDisk, Stored: p.Stored}
	for _, e := range p.Extents {
		d.Extents = append(d.Extents, Extent{int64(e.VCN), int64(e.LCN), e.Clusters})
	}
	if p.SHA1 != (winfile.SHA1{}) {
		d.SHA1 = p.SHA1.String()
	}
	if p.Kind == place.Compact {
		d.Algorithm = p.Algorithm.String()
	}
	if b := p.Backing; b != nil {
		d.WIM = &WIM{Path: b.Path, Image: b.Image, Known: b.Known, Offset: b.Offset, Solid: b.Solid}
		if b.Known {
			d.WIM.GUID = b.GUID.String()
		}
		if b.Pointer {
			d.WIM.DataSource = &b.DataSourceID
		}
	}
	f.Data = d
}

func (f *File) streams(s *source.Source, m *place.Map, i *winfile.Info) {
	for _, st := range i.Streams {
		x := Stream{Name: st.Name}
		if st.Data != nil {
			x.Size = st.Data.Size
			extents, n, err := m.Stream(st.Data)
			f.problem(err)
			x.OnDisk = n
			x.Resident = s.Kind == source.Volume && len(extents) == 0 && err == nil
			if st.Data.SHA1 != (winfile.SHA1{}) {
				x.SHA1 = st.Data.SHA1.String()
			}
		}
		f.Streams = append(f.Streams, x)
	}
}

func (f *File) extra(x *winfile.Extra) {
	if n := len(x.ObjectID); n == 16 || n == 64 {
		f.ObjectID = &ObjectID{ID: guid.GUID(x.ObjectID[:16]).String()}
		if n == 64 {
			f.ObjectID.BirthVolume = guid.GUID(x.ObjectID[16:32]).String()
			f.ObjectID.BirthObject = guid.GUID(x.ObjectID[32:48]).String()
			f.ObjectID.Domain = guid.GUID(x.ObjectID[48:64]).String()
		}
	}
	for _, ea := range x.EAs {
		f.EAs = append(f.EAs, EA{ea.Name, ea.Flags, hex.EncodeToString(ea.Value)})
	}
	if u := x.Unix; u != nil {
		f.Unix = &Unix{u.UID, u.GID, fmt.Sprintf("%o", u.Mode), u.Rdev}
	}
}

var attributeWords = []struct {
	bit  winfile.Attributes
	word string
}{
	{winfile.AttrReadOnly, "read-only"}, {winfile.AttrHidden, "hidden"}, {winfile.AttrSystem, "system"},
	{winfile.AttrDirectory, "directory"}, {winfile.AttrArchive, "archive"}, {winfile.AttrDevice, "device"},
	{winfile.AttrNormal, "normal"}, {winfile.AttrTemporary, "temporary"}, {winfile.AttrSparse, "sparse"},
	{winfile.AttrReparse, "reparse point"}, {winfile.AttrCompressed, "compressed"}, {winfile.AttrOffline, "offline"},
	{winfile.AttrNotIndexed, "not indexed"}, {winfile.AttrEncrypted, "encrypted"}, {winfile.AttrIntegrity, "integrity stream"},
	{winfile.AttrVirtual, "virtual"}, {winfile.AttrNoScrub, "no scrub"}, {winfile.AttrRecallOnOpen, "recall on open"},
	{winfile.AttrPinned, "pinned"}, {winfile.AttrUnpinned, "unpinned"}, {winfile.AttrRecallOnDataAccess, "recall on access"},
}

// AttributeWords names the bits that are set; bits without a name are hex.
func AttributeWords(a winfile.Attributes) []string {
	words := []string{}
	for _, w := range attributeWords {
		if a&w.bit != 0 {
			words = append(words, w.word)
			a &^= w.bit
		}
	}
	if a != 0 {
		words = append(words, fmt.Sprintf("%#x", uint32(a)))
	}
	return words
}

// TagName names the reparse tags that Windows systems have, [MS-FSCC] 2.1.2.1.
func TagName(tag uint32) string {
	switch tag {
	case winfile.TagMountPoint:
		return "junction"
	case winfile.TagSymlink:
		return "symlink"
	case winfile.TagWOF:
		return "WOF"
	case winfile.TagAppExecLink:
		return "app execution alias"
	case winfile.TagWIM:
		return "WIM mount"
	case winfile.TagDedup:
		return "deduplicated"
	case winfile.TagLXSymlink:
		return "WSL symlink"
	case 0x80000023:
		return "socket"
	case 0x80000024, 0x80000025, 0x80000026:
		return "WSL special file"
	}
	if tag&0xffff0fff == 0x9000001a {
		return "cloud file"
	}
	return fmt.Sprintf("reparse %#x", tag)
}

func reparseOf(i *winfile.Info) *Reparse {
	p := i.Reparse
	r := &Reparse{Tag: fmt.Sprintf("%#08x", p.Tag), Name: TagName(p.Tag), Bytes: len(p.Data)}
	if t, ok := treefs.LinkTarget(i); ok {
		r.Target = t.Text
	}
	switch p.Tag {
	case winfile.TagWOF:
		r.Detail = wofDetail(p)
	case winfile.TagAppExecLink:
		r.Detail = appExecTarget(p.Data)
	}
	return r
}

func wofDetail(p *winfile.Reparse) string {
	provider, err := wof.ProviderOf(p)
	switch {
	case err != nil:
		return err.Error()
	case provider == wof.ProviderWIM:
		return "pointer into a WIM"
	}
	return "compact file"
}

// appExecTarget is the program of an alias: u32 version 3, then strings with a NUL: package, entry point, program, kind.
func appExecTarget(b []byte) string {
	if len(b) < 4 {
		return ""
	}
	var parts []string
	b = b[4:]
	for start, n := 0, 0; n+1 < len(b) && len(parts) < 4; n += 2 {
		if b[n] == 0 && b[n+1] == 0 {
			parts = append(parts, winfile.NameFromUTF16LE(b[start:n]))
			start = n + 2
		}
	}
	if len(parts) < 3 {
		return ""
	}
	return parts[2]
}
