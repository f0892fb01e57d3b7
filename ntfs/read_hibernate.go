package ntfs

import (
	"fmt"
	"io"
)

// hibernateFile is where Windows saves its memory: in the root of the volume that it boots from.
const hibernateFile = "hiberfil.sys"

// Hibernated reports whether a Windows on the volume saved its memory to hiberfil.sys and is to go on from there, be it after
// hibernation or, with fast startup, after a shutdown. It then keeps parts of the volume in that memory, and whatever is written to the
// volume meanwhile is lost or worse. The header's first four bytes tell: "hibr" while there is such an image, "rstr" while it is
// being read, "wake" after it was, in either case of letters. Zeros, or no such file, are no hibernation; "wake" counts as one because a
// driver that was not asked to dismount the volume may still rely on it.
func (v *Volume) Hibernated() (bool, error) {
	n, ok, err := v.Lookup(hibernateFile)
	if err != nil || !ok {
		return false, err
	}
	_, list, err := v.baseAttrs(n)
	if err != nil {
		return false, err
	}
	i := findAttr(list, typeData, "")
	if i < 0 {
		return false, nil
	}
	s, err := v.openStream(list, i)
	if err == nil {
		err = s.readable()
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", hibernateFile, err)
	}
	var magic [4]byte
	if _, err := s.ReadAt(magic[:], 0); err != nil && err != io.EOF {
		return false, fmt.Errorf("%s: %w", hibernateFile, err)
	}
	switch string(magic[:]) {
	case "hibr", "HIBR", "rstr", "RSTR", "wake", "WAKE":
		return true, nil
	}
	return false, nil
}
