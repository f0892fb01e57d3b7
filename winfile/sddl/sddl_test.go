package sddl

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
)

// Texts as Windows prints them: of folders of Windows 7 and 10, services, and [MS-DTYP].
var windowsTexts = []string{
	"O:S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464G:S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464D:PAI(A;;0x1301bf;;;SY)(A;OICIIO;GA;;;SY)(A;;0x1301bf;;;BA)(A;OICIIO;GA;;;BA)(A;;0x1200a9;;;BU)(A;OICIIO;GXGR;;;BU)(A;OICIIO;GA;;;CO)(A;;0x1200a9;;;AC)(A;OICIIO;GXGR;;;AC)",
	"O:BAG:SYD:PAI(A;;LC;;;AU)(A;OICIIO;SDGXGWGR;;;AU)(A;;FA;;;SY)(A;OICIID;FA;;;BA)S:AI(AU;OICISAFA;FA;;;WD)",
	"D:(A;;CCLCSWRPWPDTLOCRRC;;;SY)(A;;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;BA)(A;;CCLCSWLOCRRC;;;IU)S:(AU;FA;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;WD)",
	"O:BAG:BAD:NO_ACCESS_CONTROL",
	"D:PARAINO_ACCESS_CONTROL",
	"D:",
	"",
	"O:SYS:(ML;OICI;NWNRNX;;;HI)",
	"D:(OA;CIIO;CR;00299570-246d-11d0-a768-00aa006e0529;bf967aba-0de6-11d0-a285-00aa003049e2;PS)(OD;;RPWP;;bf967aba-0de6-11d0-a285-00aa003049e2;AU)(OA;;CC;00299570-246d-11d0-a768-00aa006e0529;;BO)",
	"O:SYG:SYD:(XA;OICI;FA;;;AU;(@User.Title == \"PM\" && (@User.Division == \"Finance\" || @User.Division == \"Sales\")))",
	"D:(XA;;FX;;;WD;(@User.Project Any_of @Resource.Project))(XD;;FR;;;BU;(!(Member_of {SID(BA), SID(BO)})))",
	"D:(XA;;FR;;;AU;(Exists clearance && @Device.level >= 0x10 || @User.a != -5 && b < +017))",
	"S:(RA;;;;;WD;(\"Project\",TS,0x0,\"Windows\",\"SQL\"))(RA;CI;;;;WD;(\"Secrecy\",TU,0x2,3))(RA;;;;;WD;(\"n\",TI,0x0,-3,4))(RA;;;;;WD;(\"g\",TD,0x0,SID(BA)))(RA;;;;;WD;(\"o\",TX,0x0,#00ff))(RA;;;;;WD;(\"b\",TB,0x0,1))",
	"S:(SP;;;;;S-1-17-2)(TL;;WP;;;S-1-19-512-4096)(FL;TP;FR;;;WD;(@User.x == 1))(XU;SA;FR;;;WD;(x))",
	"D:(A;;FA;;;S-1-0x010000000000-5)",
	"D:(0x04;CI;;;;;#0102030405060708)",
	"D:(XA;;FA;;;WD;#00112233)",
}

func TestTextsComeBack(t *testing.T) {
	for _, text := range windowsTexts {
		sd, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := Format(sd); err != nil || got != text {
			t.Errorf("%s\nbecame %s, %v", text, got, err)
		}
	}
}

// The descriptor of [MS-DTYP] 2.5.1.4: its text, and what Windows makes of it, byte for byte (Windows puts the owner first).
func TestKnownBytes(t *testing.T) {
	sd, err := Parse("O:BAG:SYD:P(A;OICI;FA;;;SY)")
	if err != nil {
		t.Fatal(err)
	}
	want := "0100049030000000" + "40000000" + "00000000" + "14000000" + // header
		"02001c0001000000" + "00031400ff011f00" + "010100000000000512000000" + // DACL
		"01020000000000052000000020020000" + // BA
		"010100000000000512000000" // SY
	if got := hex.EncodeToString(sd); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// The conditional ACE of [MS-DTYP] 2.4.4.17.9, example 1: (Title=="VP").
func TestConditionBytes(t *testing.T) {
	sd, err := Parse(`D:(XA;;FX;;;S-1-1-0;(Title=="VP"))`)
	if err != nil {
		t.Fatal(err)
	}
	want := "61727478" + "f80a000000" + "5400690074006c006500" + "1004000000" + "56005000" + "80" + "000000"
	if got := hex.EncodeToString(sd); !strings.HasSuffix(got, want) {
		t.Errorf("%s\nwant at the end %s", got, want)
	}
}

func TestOtherSpellings(t *testing.T) {
	for text, want := range map[string]string{
		"o:baG:sy d:p( a ; oici ; fa ;;; sy )": "O:BAG:SYD:P(A;OICI;FA;;;SY)",
		"D:(A;;2032127;;;S-1-1-0)":             "D:(A;;FA;;;WD)",
		"D:(A;;RCFR;;;WD)":                     "D:(A;;FR;;;WD)",
		"O:S-1-5-32-544D:(A;;KX;;;WD)":         "O:BAD:(A;;KR;;;WD)",
		`D:(XA;;FX;;;WD;((a==1)||!(b)&&c))`:    `D:(XA;;FX;;;WD;(a == 1 || !(b) && c))`,
	} {
		sd, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := Format(sd); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
}

func TestBadTexts(t *testing.T) {
	for text, want := range map[string]string{
		"X:":                      "want one of O:, G:, D:, S:",
		"O:DA":                    "S-1-5-21-DOMAIN-512",
		"O:ZZ":                    "want a SID",
		"O:S-1-5-99999999999":     "out of range",
		"O:BAO:BA":                "O: occurs a second time",
		"D:(A;;FA;;;SY":           `want ")"`,
		"D:(Q;;FA;;;SY)":          "ACE type",
		"D:(A;QQ;FA;;;SY)":        "ACE flags",
		"D:(A;;QQ;;;SY)":          "rights",
		"D:(A;;0x1ffffffff;;;SY)": "out of range",
		"D:(A;;FA;00299570-246d-11d0-a768-00aa006e0529;;SY)": "in an ACE of type A",
		"D:(XA;;FA;;;WD;(@User.a))(":                         "ACE type",
		`D:(XA;;FA;;;WD;("x))`:                               "not closed",
		"D:(XA;;FA;;;WD;(1))":                                "want a relation",
		"D:(XA;;FA;;;WD;" + strings.Repeat("(", 5000):        "inside each other",
		"D:(XA;;FA;;;WD;(" + strings.Repeat("!", 5000):       "inside each other",
		"D:" + strings.Repeat("(A;;FA;;;SY)", 4000):          "more than 65535",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

func TestBadDescriptors(t *testing.T) {
	good, err := Parse("O:BAG:SYD:P(A;OICI;FA;;;SY)")
	if err != nil {
		t.Fatal(err)
	}
	patch := func(at int, b ...byte) []byte {
		return append(append(append([]byte{}, good[:at]...), b...), good[at+len(b):]...)
	}
	for name, tt := range map[string]struct {
		sd   []byte
		want string
	}{
		"short":      {good[:19], "want at least 20"},
		"huge":       {make([]byte, MaxSize+1), "want at most"},
		"absolute":   {patch(3, 0x10), "self-relative"},
		"owner":      {patch(4, 2), "O: at 0x2"},
		"owner far":  {patch(4, 0xff, 0xff, 0xff, 0xff), "O: at 0xffffffff"},
		"sid":        {patch(0x31, 200), "200 subauthorities"},
		"acl size":   {patch(0x16, 0xff, 0xff), "ACL of 65535 bytes"},
		"ace count":  {patch(0x18, 9), "ACE 1 of 9"},
		"ace length": {patch(0x1e, 2), "ACE 0 of 1: 2 bytes"},
		"cut":        {good[:0x45], "SID"},
	} {
		if _, err := Format(tt.sd); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// ntfssecaudit accepts a dump of a descriptor that the text made, and none with a wrong size.
func TestNtfssecauditAcceptsThem(t *testing.T) {
	for _, text := range windowsTexts[:3] {
		sd, err := Parse("O:BAG:SY" + text[strings.Index(text, "D:"):])
		if err != nil {
			t.Fatal(err)
		}
		if out := ntfssecaudit(t, sd); strings.Count(out, "No errors were found") == 0 || strings.Contains(out, "**") {
			t.Errorf("%s\n%s", text, out)
		}
	}
}

func ntfssecaudit(t *testing.T, sd []byte) string {
	var dump strings.Builder
	for off := 0; off < len(sd); off += 16 {
		line := sd[off:min(off+16, len(sd))]
		dump.WriteString(hex.EncodeToString([]byte{byte(off >> 8), byte(off)}) + " ")
		for i := 0; i < len(line); i += 4 {
			dump.WriteString(" " + hex.EncodeToString(line[i:min(i+4, len(line))]))
		}
		dump.WriteString("\n")
	}
	name := filepath.Join(t.TempDir(), "sd.hex")
	if err := os.WriteFile(name, []byte(dump.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := reftool.Try(t, "ntfssecaudit", "-vh", name)
	if err != nil {
		return out + "** " + err.Error()
	}
	return out
}

func FuzzFormat(f *testing.F) {
	for _, text := range windowsTexts {
		if sd, err := Parse(text); err == nil {
			f.Add(sd)
		}
	}
	f.Fuzz(func(t *testing.T, sd []byte) {
		text, err := Format(sd)
		if err != nil {
			return
		}
		back, err := Parse(text)
		if err != nil {
			if !strings.Contains(err.Error(), "bytes") { // values that lie on each other take more room apart
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := Format(back)
		if err != nil || again != text {
			t.Fatalf("%q\nbecame %q, %v", text, again, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, text := range windowsTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sd, err := Parse(text)
		if err != nil {
			return
		}
		shown, err := Format(sd)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		back, err := Parse(shown)
		if err != nil {
			t.Fatalf("%q shown as %q: %v", text, shown, err)
		}
		if again, err := Format(back); err != nil || again != shown {
			t.Fatalf("%q\nthen %q, %v", shown, again, err)
		}
	})
}
