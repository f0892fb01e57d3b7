package sddl

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"husk/guid"
)

// maxText bounds the text of one descriptor, in bytes: four hex digits stand for each byte at worst.
const maxText = 4 * MaxSize

// Parse makes the self-relative SECURITY_DESCRIPTOR that a text describes, laid out as Windows does: header, SACL, DACL, owner,
// group. Errors quote the text from where it cannot be read.
func Parse(s string) ([]byte, error) {
	if len(s) > maxText {
		return nil, fmt.Errorf("sddl: text of %d bytes, want at most %d", len(s), maxText)
	}
	p := &parser{s: s}
	sd, err := p.descriptor()
	if err != nil {
		rest := p.s
		if len(rest) > 40 {
			rest = rest[:40] + "…"
		}
		return nil, fmt.Errorf("sddl: at %d, %q: %w", len(s)-len(p.s), rest, err)
	}
	return sd, nil
}

// parser reads a text from its front; s is what is left.
type parser struct{ s string }

func (p *parser) space() { p.s = strings.TrimLeft(p.s, " \t\r\n") }

// take skips a word if it comes next.
func (p *parser) take(word string) bool {
	p.space()
	if len(p.s) < len(word) || !strings.EqualFold(p.s[:len(word)], word) {
		return false
	}
	p.s = p.s[len(word):]
	return true
}

func (p *parser) need(word string) error {
	if !p.take(word) {
		return fmt.Errorf("want %q", word)
	}
	return nil
}

// field reads up to one of the bytes in ends, which stays.
func (p *parser) field(ends string) string {
	n := strings.IndexAny(p.s, ends)
	if n < 0 {
		n = len(p.s)
	}
	f := p.s[:n]
	p.s = p.s[n:]
	return strings.TrimSpace(f)
}

func (p *parser) sid() ([]byte, error) {
	p.space()
	text, rest := leadingSID(p.s)
	b, err := parseSID(text)
	if err == nil {
		p.s = rest
	}
	return b, err
}

func (p *parser) descriptor() ([]byte, error) {
	control := uint16(selfRelative)
	var owner, group, dacl, sacl []byte
	seen := ""
	for p.space(); p.s != ""; p.space() {
		if len(p.s) < 2 || p.s[1] != ':' || !strings.ContainsAny(p.s[:1], "OGDSogds") {
			return nil, errors.New("want one of O:, G:, D:, S: and what it is")
		}
		letter := strings.ToUpper(p.s[:1])
		if strings.Contains(seen, letter) {
			return nil, fmt.Errorf("%s: occurs a second time", letter)
		}
		seen += letter
		p.s = p.s[2:]
		var err error
		switch letter {
		case "O":
			owner, err = p.sid()
		case "G":
			group, err = p.sid()
		case "D":
			control |= daclPresent
			dacl, err = p.acl(&control, daclProtected, daclInheritReq, daclInherited)
		case "S":
			control |= saclPresent
			sacl, err = p.acl(&control, saclProtected, saclInheritReq, saclInherited)
		}
		if err != nil {
			return nil, err
		}
	}
	sd := make([]byte, descriptorSize)
	sd[0] = 1
	le.PutUint16(sd[2:], control)
	for _, part := range []struct {
		at int
		b  []byte
	}{{0x0c, sacl}, {0x10, dacl}, {0x04, owner}, {0x08, group}} {
		if part.b != nil {
			le.PutUint32(sd[part.at:], uint32(len(sd)))
			sd = append(sd, part.b...)
		}
	}
	return sd, nil
}

// acl reads flags and ACEs; nil is the ACL that allows all.
func (p *parser) acl(control *uint16, prot, req, inher uint16) ([]byte, error) {
	for none := false; ; {
		switch {
		case p.take(noAccessControl):
			none = true
		case p.take("P"):
			*control |= prot
		case p.take("AR"):
			*control |= req
		case p.take("AI"):
			*control |= inher
		case none:
			return nil, nil
		default:
			return p.aces()
		}
	}
}

func (p *parser) aces() ([]byte, error) {
	acl := make([]byte, aclSize)
	acl[0] = 2
	count := 0
	for p.take("(") {
		ace, err := p.ace()
		if err != nil {
			return nil, err
		}
		if aceType(ace[0]).object() {
			acl[0] = 4
		}
		acl = append(acl, ace...)
		if count++; len(acl) > 65535 {
			return nil, fmt.Errorf("ACL of more than 65535 bytes")
		}
	}
	le.PutUint16(acl[2:], uint16(len(acl)))
	le.PutUint16(acl[4:], uint16(count))
	return acl, nil
}

func (p *parser) ace() ([]byte, error) {
	t, raw, err := parseType(p.field(";)"))
	if err != nil {
		return nil, err
	}
	var fields [4]string
	for i := range fields {
		if err := p.need(";"); err != nil {
			return nil, err
		}
		fields[i] = p.field(";)")
	}
	if err := p.need(";"); err != nil {
		return nil, err
	}
	flags, err := parseFlags(t, fields[0])
	if err != nil {
		return nil, err
	}
	ace := []byte{byte(t), flags, 0, 0}
	if raw {
		if fields[1]+fields[2]+fields[3] != "" {
			return nil, errors.New("an ACE given as bytes has nothing but flags beside them")
		}
		if err := p.need(";"); err != nil {
			return nil, err
		}
		if ace, err = p.appendHex(ace); err != nil {
			return nil, err
		}
	} else if ace, err = p.aceBody(ace, t, fields); err != nil {
		return nil, err
	}
	if len(ace) > 65535-aclSize {
		return nil, fmt.Errorf("ACE of %d bytes, want at most %d", len(ace), 65535-aclSize)
	}
	le.PutUint16(ace[2:], uint16(len(ace)))
	return ace, p.need(")")
}

// aceBody appends mask, GUIDs, SID and data.
func (p *parser) aceBody(ace []byte, t aceType, fields [4]string) ([]byte, error) {
	mask, err := parseRights(t, fields[1])
	if err != nil {
		return nil, err
	}
	ace = le.AppendUint32(ace, mask)
	var have uint32
	var guids []byte
	for i, f := range fields[2:] {
		if f == "" {
			continue
		}
		if !t.object() {
			return nil, fmt.Errorf("GUID %s in an ACE of type %s", f, aceNames[t])
		}
		g, err := guid.Parse(f)
		if err != nil {
			return nil, err
		}
		have |= 1 << i
		guids = append(guids, g[:]...)
	}
	if t.object() {
		ace = append(le.AppendUint32(ace, have), guids...)
	}
	sid, err := p.sid()
	if err != nil {
		return nil, err
	}
	ace = append(ace, sid...)
	if !t.conditional() && t != aceResource || !p.take(";") {
		return ace, nil
	}
	p.space()
	switch {
	case strings.HasPrefix(p.s, "#"):
		return p.appendHex(ace)
	case t == aceResource:
		return p.appendClaim(ace)
	}
	return p.appendCondition(ace)
}

func (p *parser) appendHex(ace []byte) ([]byte, error) {
	if err := p.need("#"); err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(p.field(";)"))
	return append(ace, b...), err
}

// parseType reads the name of an ACE type, or 0x… for one whose body comes as bytes.
func parseType(s string) (t aceType, raw bool, err error) {
	if strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X") {
		n, err := strconv.ParseUint(s[2:], 16, 8)
		if err != nil {
			return 0, false, fmt.Errorf("ACE type %q: %w", s, errors.Unwrap(err))
		}
		return aceType(n), true, nil
	}
	for t, name := range aceNames {
		if strings.EqualFold(name, s) {
			return t, false, nil
		}
	}
	return 0, false, fmt.Errorf("ACE type %q is not known", s)
}

// split cuts a field into two-letter words and adds up their bits.
func split(s string, list []word) (uint32, error) {
	var v uint32
	for rest := strings.ToUpper(s); rest != ""; {
		found := false
		for _, w := range list {
			if len(rest) >= 2 && rest[:2] == w.name {
				v, found = v|w.bits, true
				break
			}
		}
		if !found {
			return 0, fmt.Errorf("%q in %q is not known", rest[:min(2, len(rest))], s)
		}
		rest = strings.TrimLeft(rest[2:], " ")
	}
	return v, nil
}

func parseFlags(t aceType, s string) (byte, error) {
	list := aceFlags
	if t == aceAccessFilter {
		list = append(list[:len(list):len(list)], word{"TP", 0x40})
	}
	v, err := split(s, list)
	if err != nil {
		return 0, fmt.Errorf("ACE flags: %w", err)
	}
	return byte(v), nil
}

func parseRights(t aceType, s string) (uint32, error) {
	if s == "" {
		return 0, nil
	}
	if s[0] >= '0' && s[0] <= '9' {
		n, err := strconv.ParseUint(s, 0, 32)
		if err != nil {
			return 0, fmt.Errorf("rights %q: %w", s, errors.Unwrap(err))
		}
		return uint32(n), nil
	}
	list := append(append(append([]word{}, labelRights...), wholeRights...), rights...)
	list = append(list, word{"KX", 0x20019})
	v, err := split(s, list)
	if err != nil {
		return 0, fmt.Errorf("rights: %w", err)
	}
	return v, nil
}
