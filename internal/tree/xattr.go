package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"husk/winfile"
)

// Names of the extended attributes, without their name space.
const (
	xattrAttributes   = "ntfs_attrib"
	xattrSecurity     = "ntfs_acl"
	xattrSecurityNew  = "ntfs_security" // what the kernel's ntfs3 driver calls it
	xattrTimes        = "ntfs_times"
	xattrShortName    = "ntfs_dos_name"
	xattrReparse      = "ntfs_reparse_data"
	xattrReparseFixed = "ntfs_reparse_fixed"
	xattrObjectID     = "ntfs_object_id"
	xattrEAs          = "ntfs_ea"
	xattrStream       = "ntfs_stream."

	spaceSystem  = "system."
	spaceUser    = "user."
	spaceTrusted = "trusted."
)

// maxXattr is the most bytes that Linux takes as the value of one attribute, XATTR_SIZE_MAX.
const maxXattr = 65536

const maxObjectID = 64

// maxEAName is the most bytes of the name of an extended attribute of Windows.
const maxEAName = 254

// eaHeader is FILE_FULL_EA_INFORMATION, [MS-FSCC] 2.4.15: u32 offset of the next entry, u8 flags, u8 name length, u16 value
// length, the name and a NUL, the value. Entries are padded to four bytes. NTFS and ntfs-3g write an offset in the last
// entry too, the API of Windows 0.
const eaHeader = 8

// appendEAs encodes extended attributes. Names and values that do not fit the fields are an error.
func appendEAs(b []byte, eas []winfile.EA) ([]byte, error) {
	for _, ea := range eas {
		if len(ea.Name) > maxEAName || len(ea.Value) > 0xffff {
			return nil, fmt.Errorf("extended attribute %q of %d bytes, want at most 65535", ea.Name, len(ea.Value))
		}
		n := (eaHeader + len(ea.Name) + 1 + len(ea.Value) + 3) &^ 3
		end := len(b) + n
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = append(b, ea.Flags, byte(len(ea.Name)))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(ea.Value)))
		b = append(append(b, ea.Name...), 0)
		b = append(b, ea.Value...)
		b = append(b, 0, 0, 0)[:end]
	}
	return b, nil
}

// parseEAs decodes a list of extended attributes. The result does not keep b.
func parseEAs(b []byte) ([]winfile.EA, error) {
	var eas []winfile.EA
	for off := 0; off < len(b); {
		e := b[off:]
		if len(e) < eaHeader {
			return nil, fmt.Errorf("extended attribute at %#x: %d bytes, want at least %d", off, len(e), eaHeader)
		}
		name, value := int(e[5]), int(binary.LittleEndian.Uint16(e[6:]))
		size := eaHeader + name + 1 + value
		if size > len(e) {
			return nil, fmt.Errorf("extended attribute at %#x: %d bytes, want at most %d", off, size, len(e))
		}
		eas = append(eas, winfile.EA{
			Flags: e[4],
			Name:  string(e[eaHeader : eaHeader+name]),
			Value: append([]byte(nil), e[eaHeader+name+1:size]...),
		})
		next := binary.LittleEndian.Uint32(e)
		if next == 0 {
			break
		}
		if uint64(next) < uint64(size) {
			return nil, fmt.Errorf("extended attribute at %#x: next at +%#x, want at least +%#x", off, next, size)
		}
		if uint64(next) >= uint64(len(e)) {
			break
		}
		off += int(next)
	}
	return eas, nil
}

var errShortValue = errors.New("the value has the wrong size")

// setXattr puts one attribute into e. Times are returned, because whether they count depends on the file. Unknown names are
// ignored.
func setXattr(e *winfile.Entry, path, name string, v []byte, order binary.ByteOrder) (times []winfile.Filetime, err error) {
	i := e.Info
	extra := func() *winfile.Extra {
		if i.Extra == nil {
			i.Extra = new(winfile.Extra)
		}
		return i.Extra
	}
	switch name {
	case xattrAttributes:
		if len(v) != 4 {
			return nil, errShortValue
		}
		i.Attributes = winfile.Attributes(order.Uint32(v))
	case xattrSecurity, xattrSecurityNew:
		i.Security = v
	case xattrTimes:
		if len(v) < 32 {
			return nil, errShortValue
		}
		for ; len(times) < 4; v = v[8:] {
			times = append(times, winfile.Filetime(order.Uint64(v)))
		}
	case xattrShortName:
		e.ShortName = shortNameOf(string(v), path)
	case xattrReparse:
		r, err := winfile.ParseReparse(append([]byte(nil), v...))
		if err != nil {
			return nil, err
		}
		r.NotFixed = i.Reparse == nil || i.Reparse.NotFixed
		i.Reparse = r
	case xattrReparseFixed:
		if i.Reparse == nil {
			i.Reparse = new(winfile.Reparse) // until the data comes
		}
		i.Reparse.NotFixed = false
	case xattrObjectID:
		if len(v) != 16 && len(v) != maxObjectID {
			return nil, errShortValue
		}
		if len(v) == maxObjectID && strings.Trim(string(v[16:]), "\x00") == "" {
			v = v[:16] // ntfs-3g always shows 64
		}
		extra().ObjectID = append([]byte(nil), v...)
	case xattrEAs:
		eas, err := parseEAs(v)
		if err != nil {
			return nil, err
		}
		if len(eas) > 0 {
			extra().EAs = eas
		}
	default:
		if stream, ok := strings.CutPrefix(name, xattrStream); ok && stream != "" {
			i.Streams = append(i.Streams, winfile.Stream{Name: stream, Data: winfile.NewBlob(append([]byte(nil), v...))})
		}
	}
	return times, nil
}

// shortNameOf picks from the value of ntfs_dos_name the short name of path.
func shortNameOf(v, path string) string {
	if !strings.Contains(v, "\x00") {
		return v
	}
	f := strings.Split(v, "\x00")
	for ; len(f) >= 2; f = f[2:] {
		if f[1] == path {
			return f[0]
		}
	}
	return ""
}

// xattr is one attribute to write, with the kind of loss if it cannot be.
type xattr struct {
	name  string
	value []byte
	lost  string
}

// xattrsOf lists what a file system without Windows metadata needs attributes for, named streams apart. def are the attributes
// that the scan would assume; shorts is the value of ntfs_dos_name. The error is about the extended attributes of Windows; the
// list has all the others.
func xattrsOf(i *winfile.Info, def winfile.Attributes, shorts string, order binary.AppendByteOrder) (list []xattr, err error) {
	if i.Attributes != def {
		list = append(list, xattr{xattrAttributes, order.AppendUint32(nil, uint32(i.Attributes)), LostAttributes})
	}
	if i.Security != nil {
		list = append(list, xattr{xattrSecurity, i.Security, LostSecurity})
	}
	if x := i.Extra; x != nil {
		if x.ObjectID != nil {
			list = append(list, xattr{xattrObjectID, x.ObjectID, LostObjectID})
		}
		if len(x.EAs) > 0 {
			var b []byte
			if b, err = appendEAs(nil, x.EAs); err == nil {
				list = append(list, xattr{xattrEAs, b, LostEAs})
			}
		}
	}
	if shorts != "" {
		list = append(list, xattr{xattrShortName, []byte(shorts), LostShortName})
	}
	var t []byte
	for _, f := range []winfile.Filetime{i.Created, i.Written, i.Accessed, i.Changed} {
		t = order.AppendUint64(t, uint64(f))
	}
	list = append(list, xattr{xattrTimes, t, LostTimes})
	return list, err
}
