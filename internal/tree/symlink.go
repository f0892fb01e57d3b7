package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"strings"

	"husk/winfile"
)

// Symbolic links of the host become IO_REPARSE_TAG_SYMLINK points, [MS-FSCC] 2.1.2.4. The data after the 8-byte header:
//
//	0x00  u16  offset of the substitute name in the names
//	0x02  u16  its length in bytes
//	0x04  u16  offset of the print name
//	0x06  u16  its length
//	0x08  u32  flags: 1 if the target is relative
//	0x0c       names, UTF-16LE
//
// An absolute target has no drive on the host; like wimlib we write C:. Both names end in a NUL that no length counts.
const (
	symlinkNames    = 0x0c
	symlinkRelative = 1
	dosDevices      = `\??\`
	anyDrive        = "C:"
)

var errLinkTooLong = errors.New("the link's target is too long for a reparse point")

// symlinkReparse makes the reparse point of a link of the host. The point counts as not fixed.
func symlinkReparse(target string) (*winfile.Reparse, error) {
	print, flags := strings.ReplaceAll(target, "/", `\`), uint32(symlinkRelative)
	subst := print
	if strings.HasPrefix(target, "/") {
		print, flags = anyDrive+print, 0
		subst = dosDevices + print
	}
	if 8+symlinkNames+2*(len(subst)+len(print)+2) > winfile.MaxReparse { // UTF-16 has no more units than UTF-8 bytes
		return nil, errLinkTooLong
	}
	s, p := winfile.AppendUTF16LE(nil, subst), winfile.AppendUTF16LE(nil, print)
	var d []byte
	d = binary.LittleEndian.AppendUint16(d, 0)
	d = binary.LittleEndian.AppendUint16(d, uint16(len(s)))
	d = binary.LittleEndian.AppendUint16(d, uint16(len(s)+2))
	d = binary.LittleEndian.AppendUint16(d, uint16(len(p)))
	d = binary.LittleEndian.AppendUint32(d, flags)
	d = append(append(d, s...), 0, 0)
	d = append(append(d, p...), 0, 0)
	return &winfile.Reparse{Tag: winfile.TagSymlink, NotFixed: true, Data: d}, nil
}

// reparseTarget reads the substitute name of a symbolic link or a junction.
func reparseTarget(r *winfile.Reparse) (target string, relative bool, err error) {
	names := symlinkNames
	switch r.Tag {
	case winfile.TagMountPoint:
		names = 8
	case winfile.TagSymlink:
	default:
		return "", false, fmt.Errorf("reparse tag %#08x has no target", r.Tag)
	}
	if len(r.Data) < names {
		return "", false, fmt.Errorf("reparse data of %d bytes, want at least %d", len(r.Data), names)
	}
	off, n := int(binary.LittleEndian.Uint16(r.Data)), int(binary.LittleEndian.Uint16(r.Data[2:]))
	if rest := len(r.Data) - names; n > rest || off > rest-n {
		return "", false, fmt.Errorf("reparse target of %d bytes at %#x, want at most %d", n, names+off, rest)
	}
	if r.Tag == winfile.TagSymlink {
		relative = binary.LittleEndian.Uint32(r.Data[8:])&symlinkRelative != 0
	}
	return winfile.NameFromUTF16LE(r.Data[names+off : names+off+n]), relative, nil
}

// hostLink returns the link of the host that symlinkReparse turns back into exactly r. Targets that were made relative to the
// image root become absolute below root.
func hostLink(r *winfile.Reparse, root string) (string, bool) {
	if r.Tag != winfile.TagSymlink || r.Reserved != 0 {
		return "", false
	}
	subst, relative, err := reparseTarget(r)
	if err != nil {
		return "", false
	}
	if !relative {
		subst = strings.TrimPrefix(subst, dosDevices+anyDrive)
	}
	link := strings.ReplaceAll(subst, `\`, "/")
	fixed := !relative && !r.NotFixed
	var back *winfile.Reparse
	switch {
	case fixed && link == "":
		back = rootReparse()
	case link == "" || strings.ContainsRune(link, 0):
		return "", false
	default:
		if back, err = symlinkReparse(link); err != nil {
			return "", false
		}
	}
	if string(back.Data) != string(r.Data) {
		return "", false
	}
	if fixed {
		link = strings.TrimSuffix(root, "/") + link
	}
	return link, true
}

// rootReparse is the point of a link to the image root itself.
func rootReparse() *winfile.Reparse {
	r := &winfile.Reparse{Tag: winfile.TagSymlink}
	setTarget(r, anyDrive)
	return r
}

// fixLink makes the point of an absolute link into the scanned folder, relative to its root; nil if it points elsewhere.
func fixLink(target string, roots []string) (*winfile.Reparse, error) {
	if !strings.HasPrefix(target, "/") {
		return nil, nil
	}
	for _, root := range roots {
		rest, ok := strings.CutPrefix(target, strings.TrimSuffix(root, "/"))
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		if clean := path.Clean(target); clean != root && !strings.HasPrefix(clean, strings.TrimSuffix(root, "/")+"/") {
			continue // leaves the root again through ".."
		}
		if rest == "" {
			return rootReparse(), nil
		}
		r, err := symlinkReparse(rest)
		if err == nil {
			r.NotFixed = false
		}
		return r, err
	}
	return nil, nil
}

// fixPoint makes the absolute target of a symbolic link or junction of Windows relative to the root that it is below, if to one
// of roots: the root is replaced by a drive, and NotFixed cleared.
func fixPoint(r *winfile.Reparse, roots []string) {
	target, relative, err := reparseTarget(r)
	rest, ok := strings.CutPrefix(target, dosDevices)
	if err != nil || relative || !ok {
		return
	}
	for _, root := range roots {
		root = strings.TrimSuffix(strings.ReplaceAll(root, "/", `\`), `\`)
		if len(rest) < len(root) || !winfile.EqualFold(rest[:len(root)], root) || len(rest) > len(root) && rest[len(root)] != '\\' {
			continue
		}
		setTarget(r, anyDrive+rest[len(root):])
		r.NotFixed = false
		return
	}
}

// retarget makes the target of a link that was made relative to the image root absolute below root, a path of Windows: it replaces
// the drive.
func retarget(r *winfile.Reparse, root string) {
	if r.NotFixed {
		return
	}
	target, relative, err := reparseTarget(r)
	rest, ok := strings.CutPrefix(target, dosDevices)
	if err != nil || relative || !ok || len(rest) < 2 || rest[1] != ':' {
		return
	}
	setTarget(r, strings.TrimSuffix(root, `\`)+rest[2:])
}

// setTarget gives an absolute symbolic link or a junction another target, unless it is too long.
func setTarget(r *winfile.Reparse, target string) {
	s, p := winfile.AppendUTF16LE(nil, dosDevices+target), winfile.AppendUTF16LE(nil, target)
	if 8+symlinkNames+len(s)+len(p)+4 > winfile.MaxReparse {
		return
	}
	var d []byte
	for _, n := range []int{0, len(s), len(s) + 2, len(p)} {
		d = binary.LittleEndian.AppendUint16(d, uint16(n))
	}
	if r.Tag == winfile.TagSymlink {
		d = binary.LittleEndian.AppendUint32(d, 0)
	}
	d = append(append(d, s...), 0, 0)
	r.Data = append(append(d, p...), 0, 0)
}

// anyLink returns a link of the host that leads where a symbolic link or junction of Windows does, as near as that can be said: the
// drive is left out, and targets that were made relative to the image root become absolute below root.
func anyLink(r *winfile.Reparse, root string) (string, bool) {
	target, relative, err := reparseTarget(r)
	if err != nil {
		return "", false
	}
	target, _ = strings.CutPrefix(target, dosDevices)
	if len(target) >= 2 && target[1] == ':' {
		target = target[2:]
	}
	link := strings.ReplaceAll(target, `\`, "/")
	if !relative && !strings.HasPrefix(link, "/") {
		link = "/" + link
	}
	if !relative && !r.NotFixed {
		link = strings.TrimSuffix(root, "/") + strings.TrimSuffix(link, "/")
	}
	return link, link != "" && !strings.ContainsRune(link, 0)
}

// LinkPoint makes the reparse point of a symbolic link of the host. An absolute target below one of roots becomes one that is relative to
// the root of the image.
func LinkPoint(target string, roots []string) (*winfile.Reparse, error) {
	if r, err := fixLink(target, roots); r != nil || err != nil {
		return r, err
	}
	return symlinkReparse(target)
}

// RelativeLink returns the target of a relative symbolic link that a link of the host can be as it is.
func RelativeLink(r *winfile.Reparse) (string, bool) {
	if _, relative, err := reparseTarget(r); err != nil || !relative {
		return "", false
	}
	return hostLink(r, "")
}
