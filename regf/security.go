package regf

import "fmt"

// AdminFull is a security descriptor that lets administrators and the system do everything, as boot stores and new hives have it:
// owner administrators, group SYSTEM.
func AdminFull() []byte {
	return []byte{
		1, 0, 0x04, 0x80, 0x48, 0, 0, 0, 0x58, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, // self-relative, with a DACL
		2, 0, 0x34, 0, 2, 0, 0, 0, // DACL of two entries
		0, 0, 0x18, 0, 0x3f, 0, 0x0f, 0, 1, 2, 0, 0, 0, 0, 0, 5, 0x20, 0, 0, 0, 0x20, 2, 0, 0, // S-1-5-32-544
		0, 0, 0x14, 0, 0x3f, 0, 0x0f, 0, 1, 1, 0, 0, 0, 0, 0, 5, 0x12, 0, 0, 0, // S-1-5-18
		1, 2, 0, 0, 0, 0, 0, 5, 0x20, 0, 0, 0, 0x20, 2, 0, 0, // owner S-1-5-32-544
		1, 1, 0, 0, 0, 0, 0, 5, 0x12, 0, 0, 0, // group S-1-5-18
	}
}

// checkDescriptor checks the frame of a self-relative security descriptor, [MS-DTYP] 2.4.6: SIDs and lists lie within it.
func checkDescriptor(sd []byte) error {
	const header, control, hasSACL, hasDACL, selfRelative = 20, 2, 0x10, 0x4, 0x8000
	if len(sd) < header || sd[0] != 1 {
		return fmt.Errorf("security descriptor of %d bytes, want at least %d and revision 1", len(sd), header)
	}
	flags := le.Uint16(sd[control:])
	if flags&selfRelative == 0 {
		return fmt.Errorf("security descriptor with control %#x, want one that is self-relative", flags)
	}
	for _, p := range []struct {
		what     string
		at       int
		present  bool
		sizeFrom func(b []byte) int
	}{
		{"owner", 4, true, sidSize}, {"group", 8, true, sidSize},
		{"SACL", 12, flags&hasSACL != 0, aclSize}, {"DACL", 16, flags&hasDACL != 0, aclSize},
	} {
		off := le.Uint32(sd[p.at:])
		if off == 0 || !p.present {
			continue
		}
		if off < header || uint64(off)+8 > uint64(len(sd)) || p.sizeFrom(sd[off:]) > len(sd)-int(off) {
			return fmt.Errorf("security descriptor of %d bytes: %s at %#x does not lie within it", len(sd), p.what, off)
		}
	}
	return nil
}

func sidSize(b []byte) int { return 8 + 4*int(b[1]) }
func aclSize(b []byte) int { return int(le.Uint16(b[2:])) }
