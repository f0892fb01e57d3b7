package wof

import (
	"fmt"
	"io/fs"
	"time"

	"husk/winfile"
)

const (
	volumeInfo    = "System Volume Information"
	overlayFile   = "WimOverlay.dat"
	overlayBackup = "WimOverlay.backup"

	// OverlayPath is where a volume has its WimOverlay.dat.
	OverlayPath = volumeInfo + "/" + overlayFile

	// OverlayBackupPath is where it has a copy of it, which Windows expects to be the same.
	OverlayBackupPath = volumeInfo + "/" + overlayBackup
)

// ReadOverlay reads a volume's WimOverlay.dat. It returns [fs.ErrNotExist] if there is none.
func ReadOverlay(tree *winfile.Tree) (*Overlay, error) {
	e := tree.Lookup(OverlayPath)
	if e == nil {
		return nil, &fs.PathError{Op: "open", Path: OverlayPath, Err: fs.ErrNotExist}
	}
	if r := intrinsic(e.Info); r == Directory || r == ReparsePoint || r == Encrypted {
		return nil, fmt.Errorf("wof: %s: not an ordinary file: %v", OverlayPath, r)
	}
	b, err := e.Info.Data.ReadAll(MaxOverlay)
	if err != nil {
		return nil, fmt.Errorf("wof: %s: %w", OverlayPath, err)
	}
	return ParseOverlay(b)
}

// AddOverlay puts a WimOverlay.dat with content b, and the WimOverlay.backup that Windows expects to be the same, into a tree.
// Files of these names that are there are replaced; the folder, which only SYSTEM may open, is made if missing. t becomes all
// times of what is new.
func AddOverlay(tree *winfile.Tree, b []byte, t time.Time) error {
	if _, err := ParseOverlay(b); err != nil {
		return err
	}
	now := winfile.FiletimeOf(t)
	dir := tree.Root.Child(volumeInfo)
	if dir == nil {
		dir = &winfile.Entry{Name: volumeInfo, Info: newInfo(
			winfile.AttrDirectory|winfile.AttrHidden|winfile.AttrSystem, systemOnlyFolder(), now)}
		tree.Root.Children = append(tree.Root.Children, dir)
	}
	if !dir.Info.IsDir() {
		return fmt.Errorf("wof: %s of the tree is not a folder", volumeInfo)
	}
	for _, name := range []string{overlayFile, overlayBackup} {
		e := dir.Child(name)
		if e == nil {
			e = &winfile.Entry{Name: name}
			dir.Children = append(dir.Children, e)
		} else if e.Info.IsDir() {
			return fmt.Errorf("wof: %s of the tree is a folder", name)
		} else {
			e.Info.Links-- // its other names keep what they have
		}
		e.Info = newInfo(winfile.AttrArchive, systemOnlyFile(), now)
		e.Info.Data = winfile.NewBlob(b)
	}
	return nil
}

func newInfo(a winfile.Attributes, security []byte, t winfile.Filetime) *winfile.Info {
	return &winfile.Info{
		Attributes: a,
		Created:    t,
		Written:    t,
		Accessed:   t,
		Changed:    t,
		Links:      1,
		Security:   security,
	}
}

// Security descriptors, [MS-DTYP] 2.4.
const (
	daclPresent       = 0x0004
	daclAutoInherited = 0x0400
	daclProtected     = 0x1000
	selfRelative      = 0x8000

	objectInherit    = 0x01
	containerInherit = 0x02
	inherited        = 0x10

	fileAllAccess = 0x001f01ff
)

// systemOnlyFolder is O:SYG:SYD:P(A;OICI;FA;;;SY).
func systemOnlyFolder() []byte {
	return systemOnly(selfRelative|daclPresent|daclProtected, objectInherit|containerInherit)
}

// systemOnlyFile is what a file in such a folder inherits: O:SYG:SYD:AI(A;ID;FA;;;SY).
func systemOnlyFile() []byte {
	return systemOnly(selfRelative|daclPresent|daclAutoInherited, inherited)
}

// systemOnly returns a self-relative descriptor: header of 20 bytes, access list of one entry, owner and group SYSTEM.
func systemOnly(control uint16, aceFlags byte) []byte {
	system := []byte{1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0} // S-1-5-18
	const (
		header = 20
		acl    = 8
	)
	ace := 8 + len(system)
	b := make([]byte, header+acl+8, header+acl+ace+2*len(system))
	b[0] = 1 // revision
	le.PutUint16(b[2:], control)
	le.PutUint32(b[4:], uint32(header+acl+ace))             // owner
	le.PutUint32(b[8:], uint32(header+acl+ace+len(system))) // group
	le.PutUint32(b[16:], header)                            // DACL
	b[header] = 2                                           // ACL_REVISION
	le.PutUint16(b[header+2:], uint16(acl+ace))             // size
	le.PutUint16(b[header+4:], 1)                           // entries
	b[header+acl+1] = aceFlags                              // type 0: ACCESS_ALLOWED_ACE
	le.PutUint16(b[header+acl+2:], uint16(ace))
	le.PutUint32(b[header+acl+4:], fileAllAccess)
	return append(append(append(b, system...), system...), system...)
}
