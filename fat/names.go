package fat

import (
	"fmt"
	"strings"

	"husk/winfile"
)

// shortChar reports whether c may be in a short name on the disk.
func shortChar(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'()-@^_`{}~", c) >= 0
}

// checkName refuses what no long name may be.
func checkName(name string) error {
	if name == "" || !winfile.ValidName(name) {
		return fmt.Errorf("name %q is not valid", name)
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || strings.IndexByte(`"*/:<>?\|`, c) >= 0 {
			return fmt.Errorf("name %q: %q is not allowed on FAT", name, c)
		}
	}
	if c := name[len(name)-1]; c == '.' || c == ' ' {
		return fmt.Errorf("name %q ends with a dot or a space", name)
	}
	if n := len(winfile.UTF16FromName(name)); n > maxName {
		return fmt.Errorf("name of %d UTF-16 units, want at most %d", n, maxName)
	}
	return nil
}

// shortName is a name as its entry has it.
type shortName struct {
	name [11]byte
	bits uint8 // case
}

// short returns name without a long one beside it, if it has the form 8.3 and base and extension each are in one case.
func short(name string) (s shortName, ok bool) {
	base, ext, dot := strings.Cut(name, ".")
	if len(base) < 1 || len(base) > 8 || len(ext) > 3 || dot && ext == "" {
		return s, false
	}
	copy(s.name[:], "           ")
	for _, part := range []struct {
		text string
		at   int
		bit  uint8
	}{{base, 0, caseBase}, {ext, 8, caseExt}} {
		upper := strings.ToUpper(part.text)
		if upper != part.text {
			if strings.ToLower(part.text) != part.text {
				return s, false
			}
			s.bits |= part.bit
		}
		for i := range len(part.text) { // not of upper: ToUpper makes an S of ſ
			if c := part.text[i]; !shortChar(c) && (c < 'a' || c > 'z') {
				return s, false
			}
		}
		copy(s.name[part.at:], upper)
	}
	return s, true
}

// aliases makes the short names of one directory.
type aliases struct {
	taken map[[11]byte]bool
	last  map[string]int // of base and extension: the number that was used last
}

// alias makes a short name for a long one, as "LONGNA~1.TXT".
func (a *aliases) alias(name string) shortName {
	clean := func(s string, most int) string {
		var b strings.Builder
		for _, r := range strings.ToUpper(s) {
			switch {
			case r == ' ' || r == '.':
				continue
			case r > '~' || !shortChar(byte(r)):
				r = '_'
			}
			if b.Len() == most {
				break
			}
			b.WriteByte(byte(r))
		}
		return b.String()
	}
	base, ext := strings.TrimLeft(name, ". "), ""
	if i := strings.LastIndexByte(base, '.'); i >= 0 {
		base, ext = base[:i], base[i+1:]
	}
	base, ext = clean(base, 8), clean(ext, 3)
	for n := a.last[base+"."+ext] + 1; ; n++ {
		tail := fmt.Sprintf("~%d", n)
		var s shortName
		copy(s.name[:], "           ")
		k := copy(s.name[:8], base[:min(len(base), 8-len(tail))])
		copy(s.name[k:8], tail)
		copy(s.name[8:], ext)
		if !a.taken[s.name] {
			a.taken[s.name] = true
			a.last[base+"."+ext] = n
			return s
		}
	}
}

// checksum ties a long name to its short one.
func checksum(name [11]byte) uint8 {
	var sum uint8
	for _, c := range name {
		sum = sum<<7 | sum>>1
		sum += c
	}
	return sum
}

// appendLong appends the entries of a long name.
func appendLong(b []byte, name string, sum uint8) []byte {
	u := winfile.UTF16FromName(name)
	parts := (len(u) + longUnits - 1) / longUnits
	if len(u)%longUnits != 0 {
		u = append(u, 0)
	}
	for len(u)%longUnits != 0 {
		u = append(u, 0xffff)
	}
	for i := parts; i > 0; i-- {
		p := u[(i-1)*longUnits:]
		e := longEntry{
			Order: uint8(i), Attributes: attrLong, Checksum: sum,
			First: [5]uint16(p), Middle: [6]uint16(p[5:]), Last: [2]uint16(p[11:]),
		}
		if i == parts {
			e.Order |= lastPart
		}
		b = append(b, make([]byte, entrySize)...)
		put(b[len(b)-entrySize:], &e)
	}
	return b
}
