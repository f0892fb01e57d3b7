package regf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/winfile"
)

const prefix = `HKEY_LOCAL_MACHINE\X`

func below(path string) (string, error) {
	rest, ok := strings.CutPrefix(path+`\`, prefix+`\`)
	if !ok {
		return "", fmt.Errorf("%s is not below %s", path, prefix)
	}
	return strings.TrimSuffix(rest, `\`), nil
}

func export(t testing.TB, h *Hive) []byte {
	t.Helper()
	var b bytes.Buffer
	check(t, Export(&b, h.Root(), prefix))
	return b.Bytes()
}

func imported(t testing.TB, reg []byte) *Hive {
	t.Helper()
	h := must(New(5, "ROOT"))(t)
	must(Merge(h.Root(), must(ParseReg(reg, nil))(t), below))(t)
	return h
}

func TestExportGolden(t *testing.T) {
	h := must(New(5, "ROOT"))(t)
	k := must(h.root.Create(`A]b;\Sub`))(t)
	check(t, k.SetSZ("", "default"))
	check(t, k.SetSZ(`a "b" \c`, `C:\"x"`))
	check(t, k.SetDWord("d", 0x1a))
	check(t, k.SetBinary("e", nil))
	check(t, k.SetBinary("long", pattern(60)))
	check(t, k.SetMultiSZ("m", "a"))
	check(t, k.SetQWord("q", 1))
	check(t, k.SetSZ("lines", "a\nb"))
	check(t, k.Set("no NUL", SZ, []byte("a\x00")))
	check(t, k.Set("short", DWord, []byte{1}))
	check(t, k.Set("odd", 0xffff0010, []byte{1}))
	want := strings.ReplaceAll(`Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\X]

[HKEY_LOCAL_MACHINE\X\A]b;]

[HKEY_LOCAL_MACHINE\X\A]b;\Sub]
@="default"
"a \"b\" \\c"="C:\\\"x\""
"d"=dword:0000001a
"e"=hex:
"long"=hex:00,01,02,03,04,05,06,07,08,09,0a,0b,0c,0d,0e,0f,10,11,12,13,14,15,\
  16,17,18,19,1a,1b,1c,1d,1e,1f,20,21,22,23,24,25,26,27,28,29,2a,2b,2c,2d,2e,\
  2f,30,31,32,33,34,35,36,37,38,39,3a,3b
"m"=hex(7):61,00,00,00,00,00
"q"=hex(b):01,00,00,00,00,00,00,00
"lines"=hex(1):61,00,0a,00,62,00,00,00
"no NUL"=hex(1):61,00
"short"=hex(4):01
"odd"=hex(ffff0010):01

`, "\n", "\r\n")
	got := winfile.NameFromUTF16LE(bytes.TrimPrefix(export(t, h), []byte{0xff, 0xfe}))
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestExportImport(t *testing.T) {
	h := rich(t, 5)
	check(t, must(h.Root().Lookup("Special"))(t).Set("a\r\nname\x00 of \"three\\\nlines", SZ, SZData("x")))
	reg := export(t, h)
	got := imported(t, reg)
	if again := export(t, got); !bytes.Equal(again, reg) {
		t.Error("exports differ")
	}
	must(h.Root().Create("two\nlines"))(t)
	if err := Export(&bytes.Buffer{}, h.Root(), prefix); err == nil || !strings.Contains(err.Error(), "line end") {
		t.Errorf("key name with a line end: %v", err)
	}
}

func TestParseReg(t *testing.T) {
	reg := "\ufeff" + `Windows Registry Editor Version 5.00

; a comment
[HKEY_LOCAL_MACHINE\X\A] ; another
@=""
  "n" = dword:ff ; with a comment
"b"=hex:1,02,\
  ; between
  03,ff
"gone"=-
@=-
"two
lines"="x"
"e"=hex(2):
"t"=hex(0x7):00,00,
[-HKEY_LOCAL_MACHINE\X\Old]
[HKEY_LOCAL_MACHINE\X\A]
"n"=dword:1`
	keys := must(ParseReg([]byte(reg), nil))(t)
	v := func(line int, name string, kind Type, data string) RegValue {
		return RegValue{Line: line, Value: Value{Name: name, Type: kind, Data: []byte(data)}}
	}
	want := []RegKey{
		{Line: 4, Path: prefix + `\A`, Values: []RegValue{
			v(5, "", SZ, "\x00\x00"), v(6, "n", DWord, "\xff\x00\x00\x00"), v(7, "b", Binary, "\x01\x02\x03\xff"),
			{Line: 10, Delete: true, Value: Value{Name: "gone"}}, {Line: 11, Delete: true}, v(12, "two\nlines", SZ, "x\x00\x00\x00"),
			v(14, "e", ExpandSZ, ""), v(15, "t", MultiSZ, "\x00\x00"),
		}},
		{Line: 16, Path: prefix + `\Old`, Delete: true},
		{Line: 17, Path: prefix + `\A`, Values: []RegValue{v(18, "n", DWord, "\x01\x00\x00\x00")}},
	}
	if d := cmp.Diff(want, keys, cmp.AllowUnexported(Value{})); d != "" {
		t.Error(d)
	}
	h := must(New(5, "ROOT"))(t)
	check(t, must(h.root.Create(`old\below`))(t).SetSZ("x", "y"))
	check(t, must(h.root.Create(`a`))(t).SetSZ("GONE", "y"))
	m := must(Merge(h.root, keys, below))(t)
	if m != (Merged{KeysMade: 0, KeysDeleted: 1, ValuesSet: 7, ValuesDeleted: 2}) {
		t.Errorf("%+v", m)
	}
	if n := must(h.root.Uint("A", "n"))(t); n != 1 {
		t.Errorf("n = %d", n)
	}
	if _, err := h.root.Lookup("Old"); err == nil {
		t.Error("Old is there")
	}
	_, err := Merge(h.root, must(ParseReg([]byte("REGEDIT4\n\n[HKEY_USERS\\X]"), nil))(t), below)
	var line *RegError
	if !errors.As(err, &line) || line.Line != 3 {
		t.Errorf("a key elsewhere: %v", err)
	}
}

func TestParseREGEDIT4(t *testing.T) {
	ansi := func(b []byte) (string, error) { return strings.ReplaceAll(string(b), "\xd6\xd0", "中"), nil }
	reg := "REGEDIT4\r\n\r\n[HKEY_LOCAL_MACHINE\\X\\\xd6\xd0]\r\n\"\xd6\xd0\"=\"\xd6\xd0\"\r\n\"m\"=hex(7):d6,d0,00,61,00,00\r\n\"b\"=hex:d6,d0\r\n"
	h := must(New(5, "ROOT"))(t)
	must(Merge(h.root, must(ParseReg([]byte(reg), ansi))(t), below))(t)
	if s := must(h.root.Text("中", "中"))(t); s != "中" {
		t.Errorf("%q", s)
	}
	if l := must(h.root.Strings("中", "m"))(t); cmp.Diff(l, []string{"中", "a"}) != "" {
		t.Errorf("%q", l)
	}
	if v := must(must(h.root.Lookup("中"))(t).Value("b"))(t); string(v.Data) != "\xd6\xd0" {
		t.Errorf("%x", v.Data)
	}
	if _, err := ParseReg([]byte(reg), nil); !errors.Is(err, ErrCodePage) {
		t.Errorf("no code page: %v", err)
	}
}

func TestParseRegRefuses(t *testing.T) {
	for body, want := range map[string]string{
		"x":                      `line 3: "x"`,
		"\n\n\"a\"=\"b\"":        "line 5: a value before",
		"[a\n":                   "line 3: \"[a\", want a ]",
		"[]":                     "line 3: a key without",
		"[a] b":                  "behind ]",
		"[a]\n\"b\"":             "line 4: \"\" behind the name",
		"[a]\n\"b":               "line 4: no closing quote",
		"[a]\n@=\"C:\\x\"":       "line 4: a backslash",
		"[a]\n@=dword:123456789": "want up to 8",
		"[a]\n@=dword:x":         "want up to 8",
		"[a]\n@=hex(q):00":       "want a type",
		"[a]\n@=hex:0g":          "behind the end",
		"[a]\n@=hex:00,,01":      "behind the end",
		"[a]\n@=hex:00 01":       "behind the end",
		"[a]\n@=hex:00,\\ x\n01": "behind the end",
		"[a]\n@=text":            "want \"text\", dword:",
		"[a]\n@=text:":           "want dword",
		"[-a]\n@=\"\"":           "line 4: a value below [-a]",
	} {
		if _, err := ParseReg([]byte("REGEDIT4\n\n"+body), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", body, err, want)
		}
	}
	for _, file := range []string{"", "REGEDIT5", "\xff\xfea", "regedit4\n"} {
		if _, err := ParseReg([]byte(file), nil); err == nil {
			t.Errorf("%q was accepted", file)
		}
	}
}

func FuzzReg(f *testing.F) {
	f.Add([]byte("REGEDIT4\r\n\r\n[HKEY_LOCAL_MACHINE\\X\\a]\r\n\"b\"=hex:1,02,\\\r\n 03\r\n@=-\r\n[-HKEY_LOCAL_MACHINE\\X\\a]\r\n"))
	f.Add([]byte("Windows Registry Editor Version 5.00\n[HKEY_LOCAL_MACHINE\\X]\n\"a\\\"\"=\"\\\\\"\n\"d\"=dword:1 ; x\n@=hex(7):61,00,00,00,00,00\n"))
	f.Add([]byte("\xff\xfeR\x00E\x00G\x00E\x00D\x00I\x00T\x004\x00\n\x00[\x00"))
	f.Fuzz(func(t *testing.T, reg []byte) {
		keys, err := ParseReg(reg, nil)
		if err != nil {
			return
		}
		h := must(New(5, "ROOT"))(t)
		if _, err := Merge(h.root, keys, func(path string) (string, error) { return path, nil }); err != nil {
			return
		}
		var b bytes.Buffer
		if Export(&b, h.root, prefix) != nil {
			return // a name with a line end
		}
		again := imported(t, b.Bytes())
		if x, y := dump(t, h), dump(t, again); x != y {
			t.Errorf("exported and imported:\n%s\nwas\n%s", y, x)
		}
		if x, y := dump(t, reread(t, h)), dump(t, h); x != y {
			t.Errorf("written and read:\n%s\nwas\n%s", x, y)
		}
	})
}
