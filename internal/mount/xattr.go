package mount

import (
	"encoding/binary"
	"errors"
	"slices"

	"husk/winfile"
)

// Limits of Linux for one attribute: XATTR_NAME_MAX and XATTR_SIZE_MAX.
const (
	maxXattrName  = 255
	maxXattrValue = 65536
)

// spaceUser starts the attributes that are named streams.
const spaceUser = "user."

var (
	errNoXattr  = errors.New("no such attribute")
	errTooLarge = errors.New("larger than an extended attribute can be")
)

// systemXattrs are the attributes with metadata, in the order of listings. A value is nil if the file does not have it.
var systemXattrs = []struct {
	name  string
	value func(v *View, n Node) []byte
}{
	{"system.ntfs_attrib", func(_ *View, n Node) []byte {
		return binary.NativeEndian.AppendUint32(nil, uint32(n.Entry.Info.Attributes))
	}},
	{"system.ntfs_attrib_be", func(_ *View, n Node) []byte {
		return binary.BigEndian.AppendUint32(nil, uint32(n.Entry.Info.Attributes))
	}},
	{"system.ntfs_times", func(_ *View, n Node) []byte { return times(n.Entry.Info, binary.NativeEndian) }},
	{"system.ntfs_times_be", func(_ *View, n Node) []byte { return times(n.Entry.Info, binary.BigEndian) }},
	{"system.ntfs_crtime", func(_ *View, n Node) []byte { return times(n.Entry.Info, binary.NativeEndian)[:8] }},
	{"system.ntfs_crtime_be", func(_ *View, n Node) []byte { return times(n.Entry.Info, binary.BigEndian)[:8] }},
	{"system.ntfs_acl", func(_ *View, n Node) []byte { return n.Entry.Info.Security }},
	{"system.ntfs_reparse_data", func(_ *View, n Node) []byte {
		if r := n.Entry.Info.Reparse; r != nil {
			return r.Buffer()
		}
		return nil
	}},
	{"system.ntfs_object_id", func(_ *View, n Node) []byte {
		if x := n.Entry.Info.Extra; x != nil {
			return x.ObjectID
		}
		return nil
	}},
	{"system.ntfs_dos_name", (*View).dosName},
	{"system.ntfs_ea", func(_ *View, n Node) []byte {
		if x := n.Entry.Info.Extra; x != nil {
			return encodeEAs(x.EAs)
		}
		return nil
	}},
}

func times(i *winfile.Info, order binary.AppendByteOrder) []byte {
	b := make([]byte, 0, 32)
	for _, f := range []winfile.Filetime{i.Created, i.Written, i.Accessed, i.Changed} {
		b = order.AppendUint64(b, uint64(f))
	}
	return b
}

// dosName is the short name; of a file with several names all of them with their paths.
func (v *View) dosName(n Node) []byte {
	if n.Entry.Info.Links > 1 && !n.Entry.Info.IsDir() {
		return v.shorts[n.Entry.Info]
	}
	if n.Entry.ShortName == "" {
		return nil
	}
	return []byte(n.Entry.ShortName)
}

// encodeEAs makes a FILE_FULL_EA_INFORMATION list: u32 offset of the next, u8 flags, u8 name length, u16 value length, name, NUL,
// value, padding to four bytes. What does not fit the fields is left out.
func encodeEAs(eas []winfile.EA) []byte {
	var b []byte
	for _, ea := range eas {
		if len(ea.Name) > 254 || len(ea.Value) > 0xffff {
			continue
		}
		n := (8 + len(ea.Name) + 1 + len(ea.Value) + 3) &^ 3
		end := len(b) + n
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = append(b, ea.Flags, byte(len(ea.Name)))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(ea.Value)))
		b = append(append(b, ea.Name...), 0)
		b = append(append(b, ea.Value...), 0, 0, 0)[:end]
	}
	return b
}

// XattrNames lists the extended attributes of a node.
func (v *View) XattrNames(n Node) []string {
	if n.Stream != nil {
		return nil
	}
	var list []string
	if v.streams == StreamsXattr {
		for _, s := range n.Entry.Info.Streams {
			if name := spaceUser + s.Name; len(name) <= maxXattrName {
				list = append(list, name)
			}
		}
	}
	for _, x := range systemXattrs {
		if x.value(v, n) != nil {
			list = append(list, x.name)
		}
	}
	return list
}

// Xattr returns the value of an attribute. The caller must not change it.
func (v *View) Xattr(n Node, name string) ([]byte, error) {
	if n.Stream != nil {
		return nil, errNoXattr
	}
	if i := slices.IndexFunc(n.Entry.Info.Streams, func(s winfile.Stream) bool { return spaceUser+s.Name == name }); i >= 0 && v.streams == StreamsXattr {
		b := n.Entry.Info.Streams[i].Data
		if b == nil {
			return []byte{}, nil
		}
		if b.Size > maxXattrValue {
			return nil, errTooLarge
		}
		return b.ReadAll(maxXattrValue)
	}
	for _, x := range systemXattrs {
		if x.name == name {
			if b := x.value(v, n); b != nil {
				if len(b) > maxXattrValue {
					return nil, errTooLarge
				}
				return b, nil
			}
		}
	}
	return nil, errNoXattr
}
