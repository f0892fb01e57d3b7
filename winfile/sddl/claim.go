package sddl

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"husk/winfile"
)

// A resource attribute is CLAIM_SECURITY_ATTRIBUTE_RELATIVE_V1, [MS-DTYP] 2.4.10.1; offsets count from its start:
//
//	0x00  u32  offset of the name, UTF-16LE with a NUL
//	0x04  u16  type of the values    0x06  u16  reserved
//	0x08  u32  flags                 0x0c  u32  number of values
//	0x10  u32  offset of each value: i64, u64, string with a NUL; SID and octets with a u32 length before
const claimHeader = 16

const (
	claimInt    = 1
	claimUint   = 2
	claimString = 3
	claimSID    = 5
	claimBool   = 6
	claimOctets = 0x10
)

var claimNames = map[uint16]string{claimInt: "TI", claimUint: "TU", claimString: "TS", claimSID: "TD", claimBool: "TB", claimOctets: "TX"}

var errClaim = errors.New("not a resource attribute")

func at(b []byte, off uint32) ([]byte, error) {
	if uint64(off) > uint64(len(b)) {
		return nil, errClaim
	}
	return b[off:], nil
}

// terminated cuts UTF-16LE before its NUL.
func terminated(b []byte) ([]byte, error) {
	for n := 0; n+1 < len(b); n += 2 {
		if b[n] == 0 && b[n+1] == 0 {
			return b[:n], nil
		}
	}
	return nil, errClaim
}

func claimText(b []byte, off uint32) (string, error) {
	p, err := at(b, off)
	if err == nil {
		p, err = terminated(p)
	}
	if err != nil {
		return "", err
	}
	return quoted(p)
}

// formatClaim shows a resource attribute as ("name",TS,0x0,"value").
func formatClaim(b []byte) (string, error) {
	if len(b) < claimHeader {
		return "", errClaim
	}
	typ, count := le.Uint16(b[4:]), le.Uint32(b[12:])
	name, err := claimText(b, le.Uint32(b))
	if err != nil {
		return "", err
	}
	if claimNames[typ] == "" || uint64(count) > uint64(len(b)-claimHeader)/4 {
		return "", errClaim
	}
	s := fmt.Sprintf("(%s,%s,%#x", name, claimNames[typ], le.Uint32(b[8:]))
	limit := 4 * len(b) // values that lie on each other are not worth their text
	for i := range int(count) {
		v, err := formatClaimValue(b, typ, le.Uint32(b[claimHeader+4*i:]))
		if err != nil {
			return "", err
		}
		if s += "," + v; len(s) > limit {
			return "", errClaim
		}
	}
	return s + ")", nil
}

func formatClaimValue(b []byte, typ uint16, off uint32) (string, error) {
	if typ == claimString {
		return claimText(b, off)
	}
	v, err := at(b, off)
	if err != nil {
		return "", err
	}
	if typ == claimSID || typ == claimOctets {
		if len(v) < 4 || uint64(le.Uint32(v)) > uint64(len(v)-4) {
			return "", errClaim
		}
		v = v[4:][:le.Uint32(v)]
		if typ == claimOctets {
			return "#" + hex.EncodeToString(v), nil
		}
		sid, n, err := sidText(v)
		if err != nil || n != len(v) {
			return "", errClaim
		}
		return "SID(" + sid + ")", nil
	}
	if len(v) < 8 {
		return "", errClaim
	}
	if typ == claimInt {
		return strconv.FormatInt(int64(le.Uint64(v)), 10), nil
	}
	return strconv.FormatUint(le.Uint64(v), 10), nil
}

// appendClaim reads what formatClaim shows.
func (p *parser) appendClaim(ace []byte) ([]byte, error) {
	if err := p.need("("); err != nil {
		return nil, err
	}
	p.space()
	name, err := p.quotedString()
	if err != nil {
		return nil, err
	}
	if err := p.need(","); err != nil {
		return nil, err
	}
	kind := p.field(",)")
	typ := uint16(0)
	for t, n := range claimNames {
		if strings.EqualFold(n, kind) {
			typ = t
		}
	}
	if typ == 0 {
		return nil, fmt.Errorf("resource attribute of type %q, want TI, TU, TS, TD, TB or TX", kind)
	}
	if err := p.need(","); err != nil {
		return nil, err
	}
	text := p.field(",)")
	flags, err := strconv.ParseUint(text, 0, 32)
	if err != nil {
		return nil, fmt.Errorf("flags %q: %w", text, errors.Unwrap(err))
	}
	var values [][]byte
	for p.take(",") {
		v, err := p.claimValue(typ)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	if err := p.need(")"); err != nil {
		return nil, err
	}
	if strings.ContainsRune(name, 0) {
		return nil, errors.New("NUL in the name of a resource attribute")
	}
	c := make([]byte, claimHeader+4*len(values))
	le.PutUint16(c[4:], typ)
	le.PutUint32(c[8:], uint32(flags))
	le.PutUint32(c[12:], uint32(len(values)))
	add := func(place int, v []byte) {
		le.PutUint32(c[place:], uint32(len(c)))
		for c = append(c, v...); len(c)%4 != 0; {
			c = append(c, 0)
		}
	}
	add(0, append(winfile.AppendUTF16LE(nil, name), 0, 0))
	for i, v := range values {
		add(claimHeader+4*i, v)
	}
	return append(ace, c...), nil
}

func (p *parser) claimValue(typ uint16) ([]byte, error) {
	p.space()
	switch typ {
	case claimString:
		s, err := p.quotedString()
		if err == nil && strings.ContainsRune(s, 0) {
			err = errors.New("NUL in a string value")
		}
		return append(winfile.AppendUTF16LE(nil, s), 0, 0), err
	case claimSID:
		if err := p.need("SID("); err != nil {
			return nil, err
		}
		sid, err := p.sid()
		if err != nil {
			return nil, err
		}
		return append(le.AppendUint32(nil, uint32(len(sid))), sid...), p.need(")")
	case claimOctets:
		if err := p.need("#"); err != nil {
			return nil, err
		}
		b, err := hex.DecodeString(p.field(",)"))
		return append(le.AppendUint32(nil, uint32(len(b))), b...), err
	}
	text := p.field(",)")
	if typ == claimInt {
		v, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("value %q: %w", text, errors.Unwrap(err))
		}
		return le.AppendUint64(nil, uint64(v)), nil
	}
	v, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return nil, fmt.Errorf("value %q: %w", text, errors.Unwrap(err))
	}
	return le.AppendUint64(nil, v), nil
}
