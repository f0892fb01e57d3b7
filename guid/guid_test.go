package guid

import "testing"

func TestForms(t *testing.T) {
	const s = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7" // Microsoft basic data, UEFI specification table 5.7
	onDisk := GUID{0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7}
	if got := onDisk.String(); got != s {
		t.Errorf("String = %s, want %s", got, s)
	}
	for _, in := range []string{s, "{" + s + "}", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"} {
		if got, err := Parse(in); err != nil || got != onDisk {
			t.Errorf("Parse(%q) = %x, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", s[1:], s + "0", "gbd0a0a2-b9e5-4433-87c0-68b6b72699c7", "ebd0a0a2+b9e5-4433-87c0-68b6b72699c7"} {
		if g, err := Parse(bad); err == nil {
			t.Errorf("Parse(%q) = %s", bad, g)
		}
	}
	a, b := New(), New()
	if a == b || a[7]>>4 != 4 || a[8]>>6 != 2 {
		t.Errorf("New gave %s and %s", a, b)
	}
}
