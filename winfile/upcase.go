package winfile

import (
	"cmp"
	"strconv"
	"strings"
	"sync"
)

// upcaseRules is the table that Windows 7 to 11 write to $UpCase, as differences from the identity: first[-last][/step]delta,
// code points in hex, delta in decimal. The tests hold the SHA-256 of the table it makes.
const upcaseRules = `
0061-007A-32 00E0-00F6-32 00F8-00FE-32 00FF+121 0101-012F/2-1 0133-0137/2-1 013A-0148/2-1 014B-0177/2-1
017A-017E/2-1 0180+195 0183-0185/2-1 0188-1 018C-1 0192-1 0195+97 0199-1 019A+163 019E+130 01A1-01A5/2-1
01A8-1 01AD-1 01B0-1 01B4-01B6/2-1 01B9-1 01BD-1 01BF+56 01C6-2 01C9-2 01CC-2 01CE-01DC/2-1 01DD-79
01DF-01EF/2-1 01F3-2 01F5-1 01F9-021F/2-1 0223-0233/2-1 023C-1 0242-1 0247-024F/2-1 0250+10783 0251+10780
0253-210 0254-206 0256-0257-205 0259-202 025B-203 0260-205 0263-207 0268-209 0269-211 026B+10743 026F-211
0271+10749 0272-213 0275-214 027D+10727 0280-218 0283-218 0288-218 0289-69 028A-028B-217 028C-71 0292-219
0371-0373/2-1 0377-1 037B-037D+130 03AC-38 03AD-03AF-37 03B1-03C1-32 03C3-03CB-32 03CC-64 03CD-03CE-63 03D7-8
03D9-03EF/2-1 03F2+7 03F8-1 03FB-1 0430-044F-32 0450-045F-80 0461-0481/2-1 048B-04BF/2-1 04C2-04CE/2-1 04CF-15
04D1-0523/2-1 0561-0586-48 1D79+35332 1D7D+3814 1E01-1E95/2-1 1EA1-1EFF/2-1 1F00-1F07+8 1F10-1F15+8
1F20-1F27+8 1F30-1F37+8 1F40-1F45+8 1F51-1F57/2+8 1F60-1F67+8 1F70-1F71+74 1F72-1F75+86 1F76-1F77+100
1F78-1F79+128 1F7A-1F7B+112 1F7C-1F7D+126 1F80-1F87+8 1F90-1F97+8 1FA0-1FA7+8 1FB0-1FB1+8 1FB3+9 1FC3+9
1FD0-1FD1+8 1FE0-1FE1+8 1FE5+7 1FF3+9 214E-28 2170-217F-16 2184-1 24D0-24E9-26 2C30-2C5E-48 2C61-1 2C65-10795
2C66-10792 2C68-2C6C/2-1 2C73-1 2C76-1 2C81-2CE3/2-1 2D00-2D25-7264 A641-A65F/2-1 A663-A66D/2-1 A681-A697/2-1
A723-A72F/2-1 A733-A76F/2-1 A77A-A77C/2-1 A77F-A787/2-1 A78C-1 FF41-FF5A-32
`

// UpCase returns the $UpCase table of Windows 7 to 11: the upper case of each UTF-16 unit. It is shared: read only.
var UpCase = sync.OnceValue(func() *[65536]uint16 {
	var t [65536]uint16
	for i := range t {
		t[i] = uint16(i)
	}
	for rule := range strings.FieldsSeq(upcaseRules) {
		applyUpcaseRule(&t, rule)
	}
	return &t
})

// applyUpcaseRule reads "0061-007A-32", "0101-012F/2-1" or "00FF+121".
func applyUpcaseRule(t *[65536]uint16, rule string) {
	hex := func(s string) int {
		n, err := strconv.ParseUint(s, 16, 16)
		if err != nil {
			panic("winfile: internal error: upcase rule " + rule)
		}
		return int(n)
	}
	first := hex(rule[:4])
	last, step, rest := first, 1, rule[4:]
	if len(rest) > 5 && rest[0] == '-' && strings.ContainsAny(rest[5:6], "-+/") {
		last, rest = hex(rest[1:5]), rest[5:]
	}
	if after, ok := strings.CutPrefix(rest, "/2"); ok {
		step, rest = 2, after
	}
	delta, err := strconv.Atoi(rest)
	if err != nil {
		panic("winfile: internal error: upcase rule " + rule)
	}
	for c := first; c <= last; c += step {
		t[c] = uint16(c + delta)
	}
}

// CompareFold orders names as NTFS indexes do (COLLATION_FILE_NAME): by upper-cased UTF-16 units, and names that differ only
// in case by their units.
func CompareFold(a, b []uint16) int {
	up := UpCase()
	for i := range min(len(a), len(b)) {
		if c := cmp.Compare(up[a[i]], up[b[i]]); c != 0 {
			return c
		}
	}
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	for i := range a {
		if c := cmp.Compare(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

// EqualFold reports whether two names are the same to Windows, which ignores case.
func EqualFold(a, b string) bool {
	up := UpCase()
	var abuf, bbuf [256]uint16
	x, y := AppendUTF16(abuf[:0], a), AppendUTF16(bbuf[:0], b)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if up[x[i]] != up[y[i]] {
			return false
		}
	}
	return true
}

// Fold returns the upper case of a name: equal for names that are the same to Windows.
func Fold(name string) string {
	up := UpCase()
	var buf [256]uint16
	u := AppendUTF16(buf[:0], name)
	for i, c := range u {
		u[i] = up[c]
	}
	return NameFromUTF16(u)
}
