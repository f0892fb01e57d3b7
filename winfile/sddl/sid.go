package sddl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var le = binary.LittleEndian

const (
	sidHeader         = 8
	maxSubAuthorities = 15
)

// aliases are the two letters for SIDs that are the same everywhere, [MS-DTYP] 2.5.1.1.
var aliases = map[string]string{
	"AA": "S-1-5-32-579", "AC": "S-1-15-2-1", "AN": "S-1-5-7", "AO": "S-1-5-32-548", "AS": "S-1-18-1", "AU": "S-1-5-11",
	"BA": "S-1-5-32-544", "BG": "S-1-5-32-546", "BO": "S-1-5-32-551", "BU": "S-1-5-32-545", "CD": "S-1-5-32-574",
	"CG": "S-1-3-1", "CO": "S-1-3-0", "CY": "S-1-5-32-569", "ED": "S-1-5-9", "ER": "S-1-5-32-573", "ES": "S-1-5-32-576",
	"HA": "S-1-5-32-578", "HI": "S-1-16-12288", "IS": "S-1-5-32-568", "IU": "S-1-5-4", "LS": "S-1-5-19", "LU": "S-1-5-32-559",
	"LW": "S-1-16-4096", "ME": "S-1-16-8192", "MP": "S-1-16-8448", "MS": "S-1-5-32-577", "MU": "S-1-5-32-558",
	"NO": "S-1-5-32-556", "NS": "S-1-5-20", "NU": "S-1-5-2", "OW": "S-1-3-4", "PO": "S-1-5-32-550", "PS": "S-1-5-10",
	"PU": "S-1-5-32-547", "RA": "S-1-5-32-575", "RC": "S-1-5-12", "RD": "S-1-5-32-555", "RE": "S-1-5-32-552",
	"RM": "S-1-5-32-580", "RU": "S-1-5-32-554", "SI": "S-1-16-16384", "SO": "S-1-5-32-549", "SS": "S-1-18-2",
	"SU": "S-1-5-6", "SY": "S-1-5-18", "UD": "S-1-5-84-0-0-0-0-0", "WD": "S-1-1-0", "WR": "S-1-5-33",
}

// domainAliases are relative to a domain or machine that the text does not name; the value is the last subauthority.
var domainAliases = map[string]uint32{
	"AP": 525, "CA": 517, "CN": 522, "DA": 512, "DC": 515, "DD": 516, "DG": 514, "DU": 513, "EA": 519, "EK": 527, "KA": 526,
	"LA": 500, "LG": 501, "PA": 520, "RO": 498, "RS": 553, "SA": 518,
}

var aliasOf = func() map[string]string {
	m := make(map[string]string, len(aliases))
	for a, sid := range aliases {
		m[sid] = a
	}
	return m
}()

// sidSize is the length of the SID at the start of b.
func sidSize(b []byte) (int, error) {
	if len(b) < sidHeader {
		return 0, fmt.Errorf("SID in %d bytes, want at least %d", len(b), sidHeader)
	}
	if b[0] != 1 || b[1] > maxSubAuthorities {
		return 0, fmt.Errorf("SID of revision %d with %d subauthorities, want 1 with at most %d", b[0], b[1], maxSubAuthorities)
	}
	n := sidHeader + 4*int(b[1])
	if n > len(b) {
		return 0, fmt.Errorf("SID of %d bytes in %d", n, len(b))
	}
	return n, nil
}

// FormatSID returns the SID at the start of b as "S-1-5-…".
func FormatSID(b []byte) (string, error) {
	n, err := sidSize(b)
	if err != nil {
		return "", fmt.Errorf("sddl: %w", err)
	}
	authority := uint64(binary.BigEndian.Uint16(b[2:]))<<32 | uint64(binary.BigEndian.Uint32(b[4:]))
	s := "S-1-" + strconv.FormatUint(authority, 10)
	if authority >= 1<<32 {
		s = fmt.Sprintf("S-1-%#012x", authority)
	}
	for off := sidHeader; off < n; off += 4 {
		s += "-" + strconv.FormatUint(uint64(le.Uint32(b[off:])), 10)
	}
	return s, nil
}

// sidText is FormatSID with aliases.
func sidText(b []byte) (string, int, error) {
	n, err := sidSize(b)
	if err != nil {
		return "", 0, err
	}
	s, _ := FormatSID(b)
	if a, ok := aliasOf[s]; ok {
		return a, n, nil
	}
	return s, n, nil
}

// ParseSID reads "S-1-5-…" or an alias.
func ParseSID(s string) ([]byte, error) {
	b, err := parseSID(s)
	if err != nil {
		return nil, fmt.Errorf("sddl: %w", err)
	}
	return b, nil
}

func parseSID(s string) ([]byte, error) {
	if full, ok := aliases[strings.ToUpper(s)]; ok {
		s = full
	}
	if rid, ok := domainAliases[strings.ToUpper(s)]; ok {
		return nil, fmt.Errorf("%s stands for S-1-5-21-DOMAIN-%d of a domain that the text does not name", s, rid)
	}
	parts := strings.Split(s, "-")
	if len(parts) < 3 || !strings.EqualFold(parts[0], "S") || parts[1] != "1" || len(parts)-3 > maxSubAuthorities {
		return nil, fmt.Errorf("%q, want a SID such as S-1-5-32-544 or BA", s)
	}
	authority, err := strconv.ParseUint(parts[2], 0, 48)
	if err != nil {
		return nil, fmt.Errorf("authority of %q: %w", s, errors.Unwrap(err))
	}
	b := []byte{1, byte(len(parts) - 3)}
	b = binary.BigEndian.AppendUint16(b, uint16(authority>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(authority))
	for _, p := range parts[3:] {
		n, err := strconv.ParseUint(p, 0, 32)
		if err != nil {
			return nil, fmt.Errorf("subauthority %q of %q: %w", p, s, errors.Unwrap(err))
		}
		b = le.AppendUint32(b, uint32(n))
	}
	return b, nil
}

// leadingSID cuts a SID or alias off the start of s.
func leadingSID(s string) (sid, rest string) {
	n := 0
	if len(s) > 1 && (s[0] == 'S' || s[0] == 's') && s[1] == '-' {
		for n = 2; n < len(s) && (s[n] == '-' || s[n] >= '0' && s[n] <= '9' || s[n] == 'x' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'f'); n++ {
			// "S-1-1-0D:" must not swallow the D of the DACL.
			if n+1 < len(s) && s[n+1] == ':' {
				break
			}
		}
	} else {
		n = min(2, len(s))
	}
	return s[:n], s[n:]
}
