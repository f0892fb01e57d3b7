package treefs

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"husk/winfile"
)

var le = binary.LittleEndian

// Target is where a link leads.
type Target struct {
	Text     string // for people: "../a", "C:/Users", "//?/Volume{…}/"
	Path     string // with forward slashes, without drive
	Absolute bool   // Path starts at the root of the drive
}

// LinkTarget decodes the target of a symbolic link or junction. It reports false for all other files, and for links whose
// data is broken. Sources: [MS-FSCC] 2.1.2.4 and 2.1.2.5; LX_SYMLINK: u32 2, then the target in UTF-8.
func LinkTarget(i *winfile.Info) (Target, bool) {
	r := i.Reparse
	if r == nil {
		return Target{}, false
	}
	switch r.Tag {
	case winfile.TagSymlink:
		if len(r.Data) < 12 {
			return Target{}, false
		}
		name, ok := substitute(r.Data, 12)
		return newTarget(name), ok
	case winfile.TagMountPoint:
		name, ok := substitute(r.Data, 8)
		return newTarget(name), ok
	case winfile.TagLXSymlink:
		if len(r.Data) < 5 || le.Uint32(r.Data) != 2 || !utf8.Valid(r.Data[4:]) {
			return Target{}, false
		}
		return newTarget(string(r.Data[4:])), true
	}
	return Target{}, false
}

// substitute returns the substitute name of link data whose path buffer is at paths. 0x0 offset of the name u16, 0x2 its
// length u16.
func substitute(data []byte, paths int) (string, bool) {
	if len(data) < paths {
		return "", false
	}
	off, n := paths+int(le.Uint16(data)), int(le.Uint16(data[2:]))
	if n == 0 || n%2 != 0 || off+n > len(data) {
		return "", false
	}
	return winfile.NameFromUTF16LE(data[off : off+n]), true
}

func newTarget(name string) Target {
	t := Target{Text: strings.ReplaceAll(name, `\`, "/")}
	rest, nt := strings.CutPrefix(t.Text, "/??/")
	switch {
	case nt && len(rest) >= 2 && rest[1] == ':':
		t.Text, t.Path, t.Absolute = rest, rest[2:], true
	case nt:
		t.Text, t.Path, t.Absolute = "//?/"+rest, rest, true
	case len(t.Text) >= 2 && t.Text[1] == ':':
		t.Path, t.Absolute = t.Text[2:], strings.HasPrefix(t.Text[2:], "/")
	default:
		t.Path, t.Absolute = t.Text, strings.HasPrefix(t.Text, "/")
	}
	return t
}
