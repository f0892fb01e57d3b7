package sddl

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"husk/guid"
)

// Control flags of a security descriptor, [MS-DTYP] 2.4.6.
const (
	daclPresent     = 0x0004
	saclPresent     = 0x0010
	daclInheritReq  = 0x0100
	saclInheritReq  = 0x0200
	daclInherited   = 0x0400
	saclInherited   = 0x0800
	daclProtected   = 0x1000
	saclProtected   = 0x2000
	selfRelative    = 0x8000
	descriptorSize  = 20
	aclSize         = 8
	aceHeader       = 4
	noAccessControl = "NO_ACCESS_CONTROL"

	// MaxSize is the most bytes of a descriptor that is read or made: four parts, ACLs having a u16 size.
	MaxSize = descriptorSize + 2*65536 + 2*(sidHeader+4*maxSubAuthorities)
)

type aceType byte

const (
	aceAlarm         aceType = 0x03
	aceObjectFirst   aceType = 0x05
	aceObjectLast    aceType = 0x08
	aceCallback      aceType = 0x09
	aceCallbackDeny  aceType = 0x0a
	aceCallbackObj   aceType = 0x0b
	aceCallbackAudit aceType = 0x0d
	aceLabel         aceType = 0x11
	aceResource      aceType = 0x12
	aceScopedPolicy  aceType = 0x13
	aceTrustLabel    aceType = 0x14
	aceAccessFilter  aceType = 0x15
)

// aceNames are the types that SDDL has.
var aceNames = map[aceType]string{
	0: "A", 1: "D", 2: "AU", aceAlarm: "AL", aceObjectFirst: "OA", 6: "OD", 7: "OU", aceObjectLast: "OL", aceCallback: "XA",
	aceCallbackDeny: "XD", aceCallbackObj: "ZA", aceCallbackAudit: "XU", aceLabel: "ML", aceResource: "RA", aceScopedPolicy: "SP",
	aceTrustLabel: "TL", aceAccessFilter: "FL",
}

// object reports whether the body has object flags and GUIDs.
func (t aceType) object() bool {
	return t >= aceObjectFirst && t <= aceObjectLast || t == aceCallbackObj
}

// conditional reports whether the application data is an expression.
func (t aceType) conditional() bool {
	return t >= aceCallback && t <= aceCallbackObj || t == aceCallbackAudit || t == aceAccessFilter
}

// word is a name for bits.
type word struct {
	name string
	bits uint32
}

var aceFlags = []word{{"OI", 1}, {"CI", 2}, {"NP", 4}, {"IO", 8}, {"ID", 0x10}, {"CR", 0x20}, {"SA", 0x40}, {"FA", 0x80}}

// wholeRights are names for a mask as a whole; Windows prints no sum of them.
var wholeRights = []word{
	{"FA", 0x1f01ff}, {"FR", 0x120089}, {"FW", 0x120116}, {"FX", 0x1200a0}, {"KA", 0xf003f}, {"KR", 0x20019}, {"KW", 0x20006},
}

var rights = []word{
	{"CC", 1}, {"DC", 2}, {"LC", 4}, {"SW", 8}, {"RP", 0x10}, {"WP", 0x20}, {"DT", 0x40}, {"LO", 0x80}, {"CR", 0x100},
	{"SD", 0x10000}, {"RC", 0x20000}, {"WD", 0x40000}, {"WO", 0x80000}, {"GA", 0x10000000}, {"GX", 0x20000000}, {"GW", 0x40000000},
	{"GR", 0x80000000},
}

var labelRights = []word{{"NW", 1}, {"NR", 2}, {"NX", 4}}

// words names all bits of v, in the order of list.
func words(v uint32, list []word) (string, bool) {
	var b strings.Builder
	for _, w := range list {
		if v&w.bits == w.bits {
			b.WriteString(w.name)
			v &^= w.bits
		}
	}
	return b.String(), v == 0
}

func rightsText(t aceType, mask uint32) string {
	if t == aceLabel {
		if s, ok := words(mask, labelRights); ok {
			return s
		}
		return fmt.Sprintf("%#x", mask)
	}
	for _, w := range wholeRights {
		if mask == w.bits {
			return w.name
		}
	}
	if s, ok := words(mask, rights); ok {
		return s
	}
	return fmt.Sprintf("%#x", mask)
}

// Format returns the SDDL of a self-relative SECURITY_DESCRIPTOR as Windows prints it. Errors name the part and its offset.
func Format(sd []byte) (string, error) {
	if len(sd) < descriptorSize {
		return "", fmt.Errorf("sddl: descriptor of %d bytes, want at least %d", len(sd), descriptorSize)
	}
	if len(sd) > MaxSize {
		return "", fmt.Errorf("sddl: descriptor of %d bytes, want at most %d", len(sd), MaxSize)
	}
	control := le.Uint16(sd[2:])
	if sd[0] != 1 || control&selfRelative == 0 {
		return "", fmt.Errorf("sddl: descriptor of revision %d with control %#04x, want revision 1, self-relative", sd[0], control)
	}
	var b strings.Builder
	for i, letter := range []string{"O:", "G:"} {
		off := le.Uint32(sd[4+4*i:])
		if off == 0 {
			continue
		}
		p, err := part(sd, off)
		if err != nil {
			return "", fmt.Errorf("sddl: %s %w", letter, err)
		}
		sid, _, err := sidText(p)
		if err != nil {
			return "", fmt.Errorf("sddl: %s at %#x: %w", letter, off, err)
		}
		b.WriteString(letter + sid)
	}
	for _, a := range []struct {
		letter                    string
		at                        int
		present, prot, req, inher uint16
	}{
		{"D:", 0x10, daclPresent, daclProtected, daclInheritReq, daclInherited},
		{"S:", 0x0c, saclPresent, saclProtected, saclInheritReq, saclInherited},
	} {
		if control&a.present == 0 {
			continue
		}
		b.WriteString(a.letter)
		for _, f := range []struct {
			bit  uint16
			name string
		}{{a.prot, "P"}, {a.req, "AR"}, {a.inher, "AI"}} {
			if control&f.bit != 0 {
				b.WriteString(f.name)
			}
		}
		off := le.Uint32(sd[a.at:])
		if off == 0 {
			b.WriteString(noAccessControl)
			continue
		}
		p, err := part(sd, off)
		if err == nil {
			err = formatACL(&b, p)
		}
		if err != nil {
			return "", fmt.Errorf("sddl: %s at %#x: %w", a.letter, off, err)
		}
	}
	return b.String(), nil
}

// part returns what lies behind an offset.
func part(sd []byte, off uint32) ([]byte, error) {
	if off < descriptorSize || int64(off) >= int64(len(sd)) {
		return nil, fmt.Errorf("at %#x of a descriptor of %#x bytes", off, len(sd))
	}
	return sd[off:], nil
}

func formatACL(b *strings.Builder, p []byte) error {
	if len(p) < aclSize {
		return fmt.Errorf("ACL in %d bytes, want at least %d", len(p), aclSize)
	}
	size, count := int(le.Uint16(p[2:])), int(le.Uint16(p[4:]))
	if size < aclSize || size > len(p) {
		return fmt.Errorf("ACL of %d bytes in %d", size, len(p))
	}
	p = p[aclSize:size]
	for i := range count {
		if len(p) < aceHeader {
			return fmt.Errorf("ACE %d of %d: %d bytes left", i, count, len(p))
		}
		n := int(le.Uint16(p[2:]))
		if n < aceHeader || n > len(p) {
			return fmt.Errorf("ACE %d of %d: %d bytes in %d", i, count, n, len(p))
		}
		b.WriteString(aceText(p[:n]))
		p = p[n:]
	}
	return nil
}

var errOpaque = errors.New("no SDDL for this ACE")

// aceText shows an ACE, and as bytes what is not of its type's form.
func aceText(ace []byte) string {
	t, body := aceType(ace[0]), ace[aceHeader:]
	flags := flagsText(t, ace[1])
	if s, err := knownACE(t, flags, body); err == nil {
		return s
	}
	return fmt.Sprintf("(%#02x;%s;;;;;#%s)", byte(t), flags, hex.EncodeToString(body))
}

func flagsText(t aceType, flags byte) string {
	tp := ""
	if t == aceAccessFilter && flags&0x40 != 0 {
		tp, flags = "TP", flags&^0x40
	}
	s, _ := words(uint32(flags), aceFlags)
	return s + tp
}

func knownACE(t aceType, flags string, body []byte) (string, error) {
	name, ok := aceNames[t]
	if !ok || len(body) < 4 {
		return "", errOpaque
	}
	mask, body := le.Uint32(body), body[4:]
	var guids [2]string
	if t.object() {
		if len(body) < 4 {
			return "", errOpaque
		}
		have := le.Uint32(body)
		if have > 3 {
			return "", errOpaque
		}
		body = body[4:]
		for i := range guids {
			if have&(1<<i) == 0 {
				continue
			}
			if len(body) < 16 {
				return "", errOpaque
			}
			guids[i] = guid.GUID(body[:16]).String()
			body = body[16:]
		}
	}
	sid, n, err := sidText(body)
	if err != nil {
		return "", err
	}
	body = body[n:]
	s := fmt.Sprintf("(%s;%s;%s;%s;%s;%s", name, flags, rightsText(t, mask), guids[0], guids[1], sid)
	switch {
	case t.conditional():
		x, err := formatCondition(body)
		if err != nil {
			x = "#" + hex.EncodeToString(body)
		}
		s += ";" + x
	case t == aceResource:
		x, err := formatClaim(body)
		if err != nil {
			x = "#" + hex.EncodeToString(body)
		}
		s += ";" + x
	case len(body) > 0:
		return "", errOpaque
	}
	return s + ")", nil
}
