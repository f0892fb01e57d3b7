package sample

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// Well-known and made-up accounts.
const (
	sidEveryone         = "S-1-1-0"
	sidCreatorOwner     = "S-1-3-0"
	sidSystem           = "S-1-5-18"
	sidAuthenticated    = "S-1-5-11"
	sidAdministrators   = "S-1-5-32-544"
	sidUsers            = "S-1-5-32-545"
	sidTrustedInstaller = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
	sidZhang            = "S-1-5-21-1004336348-1177238915-682003330-1000"
)

// Rights of files and folders, [MS-DTYP] 2.4.3.
const (
	fullAccess  = 0x1f01ff
	modify      = 0x1301bf
	readExecute = 0x1200a9
	listFolder  = 0x1
	appendData  = 0x4
	genericAll  = 0x10000000
	genericRead = 0xa0000000 // generic read and execute
)

// Flags of an ACE, [MS-DTYP] 2.4.4.1.
const (
	objectInherit    = 0x1
	containerInherit = 0x2
	inheritOnly      = 0x8
	inherited        = 0x10
	inheritAll       = objectInherit | containerInherit
)

// Control bits of a descriptor, [MS-DTYP] 2.4.6.
const (
	daclPresent       = 0x4
	daclAutoInherited = 0x400
	daclProtected     = 0x1000
	selfRelative      = 0x8000
)

// ace is an access control entry: allow, or deny.
type ace struct {
	deny  bool
	flags byte
	mask  uint32
	sid   string
}

// The descriptors of a Windows 7 system volume.
var (
	sdRoot = descriptor(sidTrustedInstaller, sidTrustedInstaller, daclProtected|daclAutoInherited,
		ace{false, inheritAll, fullAccess, sidAdministrators}, ace{false, inheritAll, fullAccess, sidSystem},
		ace{false, inheritAll, readExecute, sidUsers}, ace{false, containerInherit | objectInherit | inheritOnly, 0xe0010000, sidAuthenticated},
		ace{false, 0, appendData, sidAuthenticated})
	sdWindows = descriptor(sidTrustedInstaller, sidTrustedInstaller, daclProtected|daclAutoInherited,
		ace{false, 0, fullAccess, sidTrustedInstaller}, ace{false, containerInherit | inheritOnly, genericAll, sidTrustedInstaller},
		ace{false, 0, modify, sidSystem}, ace{false, inheritAll | inheritOnly, genericAll, sidSystem},
		ace{false, 0, modify, sidAdministrators}, ace{false, inheritAll | inheritOnly, genericAll, sidAdministrators},
		ace{false, 0, readExecute, sidUsers}, ace{false, inheritAll | inheritOnly, genericRead, sidUsers},
		ace{false, inheritAll | inheritOnly, genericAll, sidCreatorOwner})
	sdSystemFile = descriptor(sidTrustedInstaller, sidTrustedInstaller, daclProtected|daclAutoInherited,
		ace{false, 0, fullAccess, sidTrustedInstaller}, ace{false, 0, readExecute, sidAdministrators},
		ace{false, 0, readExecute, sidSystem}, ace{false, 0, readExecute, sidUsers})
	sdComponent = descriptor(sidTrustedInstaller, sidTrustedInstaller, daclAutoInherited,
		ace{false, inheritAll | inherited, readExecute, sidSystem}, ace{false, inheritAll | inherited, readExecute, sidAdministrators},
		ace{false, inheritAll | inherited, readExecute, sidUsers}, ace{false, inheritAll | inherited, fullAccess, sidTrustedInstaller})
	sdSystemOnly = descriptor(sidAdministrators, sidSystem, daclProtected,
		ace{false, inheritAll, fullAccess, sidSystem}, ace{false, inheritAll, fullAccess, sidAdministrators})
	sdProgramData = descriptor(sidSystem, sidSystem, daclProtected|daclAutoInherited,
		ace{false, inheritAll, fullAccess, sidSystem}, ace{false, inheritAll, fullAccess, sidAdministrators},
		ace{false, inheritAll | inheritOnly, genericAll, sidCreatorOwner}, ace{false, inheritAll, readExecute, sidUsers},
		ace{false, containerInherit, 0x116, sidUsers})
	sdProfile = descriptor(sidSystem, sidSystem, daclProtected|daclAutoInherited,
		ace{false, inheritAll, fullAccess, sidSystem}, ace{false, inheritAll, fullAccess, sidAdministrators},
		ace{false, inheritAll, fullAccess, sidZhang})
	sdOwned = descriptor(sidZhang, sidZhang[:strings.LastIndexByte(sidZhang, '-')]+"-513", daclAutoInherited,
		ace{false, inherited, fullAccess, sidSystem}, ace{false, inherited, fullAccess, sidAdministrators},
		ace{false, inherited, fullAccess, sidZhang})
	sdPublic = descriptor(sidAdministrators, sidSystem, daclProtected|daclAutoInherited,
		ace{false, inheritAll, fullAccess, sidSystem}, ace{false, inheritAll, fullAccess, sidAdministrators},
		ace{false, inheritAll, readExecute, sidUsers}, ace{false, inheritAll, readExecute, sidEveryone})
	sdJunction = descriptor(sidSystem, sidSystem, daclProtected|daclAutoInherited,
		ace{true, 0, listFolder, sidEveryone}, ace{false, 0, readExecute, sidEveryone},
		ace{false, 0, fullAccess, sidSystem}, ace{false, 0, fullAccess, sidAdministrators})
	sdNoDACL = descriptor(sidAdministrators, sidAdministrators, 0)
)

// descriptor returns a self-relative SECURITY_DESCRIPTOR: header of 20 bytes, DACL, owner, group. Without entries there is no
// DACL.
func descriptor(owner, group string, control uint16, entries ...ace) []byte {
	const headerSize = 20
	var acl []byte
	if len(entries) > 0 {
		control |= daclPresent
		acl = make([]byte, 8)
		acl[0] = 2 // ACL_REVISION
		for _, e := range entries {
			acl = e.append(acl)
		}
		binary.LittleEndian.PutUint16(acl[2:], uint16(len(acl)))
		binary.LittleEndian.PutUint16(acl[4:], uint16(len(entries)))
	}
	o, g := sid(owner), sid(group)
	b := make([]byte, headerSize, headerSize+len(acl)+len(o)+len(g))
	b[0] = 1
	binary.LittleEndian.PutUint16(b[2:], control|selfRelative)
	binary.LittleEndian.PutUint32(b[4:], uint32(headerSize+len(acl)))
	binary.LittleEndian.PutUint32(b[8:], uint32(headerSize+len(acl)+len(o)))
	if acl != nil {
		binary.LittleEndian.PutUint32(b[16:], headerSize)
	}
	return append(append(append(b, acl...), o...), g...)
}

func (e ace) append(b []byte) []byte {
	s := sid(e.sid)
	kind := byte(0) // ACCESS_ALLOWED_ACE_TYPE
	if e.deny {
		kind = 1
	}
	b = append(b, kind, e.flags)
	b = binary.LittleEndian.AppendUint16(b, uint16(8+len(s)))
	b = binary.LittleEndian.AppendUint32(b, e.mask)
	return append(b, s...)
}

// sid returns the binary form of "S-1-…", [MS-DTYP] 2.4.2.2.
func sid(s string) []byte {
	parts := strings.Split(s, "-")[2:]
	b := []byte{1, byte(len(parts) - 1)}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			panic("sample: internal error: SID " + s)
		}
		if i == 0 {
			b = binary.BigEndian.AppendUint16(b, 0)
			b = binary.BigEndian.AppendUint32(b, uint32(n))
			continue
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return b
}
