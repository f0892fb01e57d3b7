package winfile

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	surrogateMin = 0xd800
	lowSurrogate = 0xdc00
	surrogateMax = 0xdfff
)

// NameFromUTF16 converts UTF-16 units to a WTF-8 string. It never fails and [UTF16FromName] gives the same units back.
func NameFromUTF16(u []uint16) string {
	ascii := true
	for _, c := range u {
		if c >= 0x80 {
			ascii = false
			break
		}
	}
	if ascii {
		b := make([]byte, len(u))
		for i, c := range u {
			b[i] = byte(c)
		}
		return string(b)
	}
	b := make([]byte, 0, len(u)+len(u)/2)
	for i := 0; i < len(u); i++ {
		r := rune(u[i])
		if r < surrogateMin || r > surrogateMax {
			b = utf8.AppendRune(b, r)
			continue
		}
		if i+1 < len(u) {
			if d := utf16.DecodeRune(r, rune(u[i+1])); d != utf8.RuneError {
				b = utf8.AppendRune(b, d)
				i++
				continue
			}
		}
		b = append(b, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
	}
	return string(b)
}

// NameFromUTF16LE converts little-endian bytes; a last odd byte is ignored.
func NameFromUTF16LE(b []byte) string {
	var buf [256]uint16
	u := buf[:0]
	for ; len(b) >= 2; b = b[2:] {
		u = append(u, binary.LittleEndian.Uint16(b))
	}
	return NameFromUTF16(u)
}

// UTF16FromName converts a WTF-8 string to UTF-16 units. Bytes that are neither UTF-8 nor a WTF-8 surrogate become U+FFFD;
// [ValidName] tells whether there are any.
func UTF16FromName(s string) []uint16 { return AppendUTF16(make([]uint16, 0, len(s)), s) }

// AppendUTF16 appends the units of s to u.
func AppendUTF16(u []uint16, s string) []uint16 {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			u = append(u, uint16(c))
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			if c, ok := loneSurrogate(s[i:]); ok {
				u = append(u, c)
				i += 3
				continue
			}
		}
		u = utf16.AppendRune(u, r)
		i += n
	}
	return u
}

// AppendUTF16LE appends the little-endian bytes of the units of s to b.
func AppendUTF16LE(b []byte, s string) []byte {
	var buf [256]uint16
	for _, c := range AppendUTF16(buf[:0], s) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b
}

// loneSurrogate decodes the WTF-8 form of an unpaired surrogate at the start of s.
func loneSurrogate(s string) (uint16, bool) {
	if len(s) < 3 || s[0] != 0xed || s[1] < 0xa0 || s[1] > 0xbf || s[2]&0xc0 != 0x80 {
		return 0, false
	}
	return 0xd000 | uint16(s[1]&0x3f)<<6 | uint16(s[2]&0x3f), true
}

// ValidName reports whether s is well-formed WTF-8: no stray bytes, and no surrogate pair written as two halves.
func ValidName(s string) bool {
	var after uint16 // surrogate that ended just before s[i:]
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r != utf8.RuneError || n != 1 {
			i, after = i+n, 0
			continue
		}
		c, ok := loneSurrogate(s[i:])
		if !ok || c >= lowSurrogate && after != 0 && after < lowSurrogate {
			return false
		}
		i, after = i+3, c
	}
	return true
}
