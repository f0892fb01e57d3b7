// Package guid prints and reads GUIDs as Windows stores them: the first three fields little-endian, the last two as bytes.
// Source: [MS-DTYP] 2.3.4.
package guid

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// GUID is 16 bytes in on-disk order.
type GUID [16]byte

// String returns the 36-character form in lower case, without braces.
func (g GUID) String() string {
	return fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x", g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8:10], g[10:])
}

// Parse reads the 36-character form, with or without braces, in either case.
func Parse(s string) (GUID, error) {
	t := s
	if len(t) == 38 && t[0] == '{' && t[37] == '}' {
		t = t[1:37]
	}
	var g GUID
	if len(t) != 36 || t[8] != '-' || t[13] != '-' || t[18] != '-' || t[23] != '-' {
		return g, fmt.Errorf("guid: %q, want the form 01234567-89ab-cdef-0123-456789abcdef", s)
	}
	b, err := hex.DecodeString(t[:8] + t[9:13] + t[14:18] + t[19:23] + t[24:])
	if err != nil {
		return g, fmt.Errorf("guid: %q: %w", s, err)
	}
	for i, from := range [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
		g[i] = b[from]
	}
	return g, nil
}

// New returns a random (version 4) GUID.
func New() GUID {
	var g GUID
	rand.Read(g[:]) // never fails, see crypto/rand
	g[7] = g[7]&0x0f | 0x40
	g[8] = g[8]&0x3f | 0x80
	return g
}
