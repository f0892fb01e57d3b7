package capconf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"husk/winfile"
)

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

const everything = `; what Windows 10 ships is like this
# and so are comments
[ExclusionList]
\pagefile.sys
  "\Program Files\a b"
/Users//*/Temp/
'quoted'
'half
C:\System Volume Information
*.tmp
文件?.txt

[ExclusionException]
\Users\keep\Temp\x
[PinningFolderList]
a\b is not read here
[PrepopulateList]
\Boot\*
[CompressionExclusionList]
ntoskrnl.exe
[compressionfolderlist]
\Windows\Installer
`

func TestParse(t *testing.T) {
	for name, text := range map[string][]byte{
		"UTF-8":               []byte(everything),
		"UTF-8 BOM":           append([]byte("\xef\xbb\xbf"), everything...),
		"UTF-16LE BOM":        append([]byte("\xff\xfe"), utf16le(everything)...),
		"UTF-16LE without":    utf16le(everything),
		"CRLF":                []byte(strings.ReplaceAll(everything, "\n", "\r\n")),
		"code page 936 in ;":  []byte("; \xce\xc4\xbc\xfe" + everything[1:]),
		"no newline at end":   []byte(strings.TrimSuffix(everything, "\n")),
		"spaces round a line": []byte(strings.ReplaceAll(everything, "\n", " \t\n")),
	} {
		t.Run(name, func(t *testing.T) {
			c, warnings, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range []struct {
				section string
				list    []Pattern
				want    []string
			}{
				{"ExclusionList", c.Exclusion, []string{`4 \pagefile.sys`, `5 \Program Files\a b`, `6 \Users\*\Temp`, `7 quoted`,
					`8 'half`, `9 \System Volume Information`, `10 *.tmp`, `11 文件?.txt`}},
				{"ExclusionException", c.ExclusionException, []string{`14 \Users\keep\Temp\x`}},
				{"PrepopulateList", c.Prepopulate, []string{`18 \Boot\*`}},
				{"CompressionExclusionList", c.CompressionExclusion, []string{`20 ntoskrnl.exe`}},
				{"CompressionFolderList", c.CompressionFolder, []string{`22 \Windows\Installer`}},
			} {
				var got []string
				for _, p := range l.list {
					got = append(got, fmt.Sprint(p.Line(), " ", p))
				}
				if !slices.Equal(got, l.want) {
					t.Errorf("%s: %q, want %q", l.section, got, l.want)
				}
			}
			want := []string{
				`line 9: drive letter of "C:\\System Volume Information" ignored: patterns start at the root of the image`,
				`line 15: section [PinningFolderList] is not known and skipped`,
			}
			if got := fmt.Sprint(warnings); got != fmt.Sprint(want) {
				t.Errorf("warnings %v, want %v", got, want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"relative path", "[ExclusionList]\nok\na\\b\n", `capconf: line 3: pattern "a\\b" has a folder, want a slash at its start`},
		{"relative path, slash", "[ExclusionList]\na/b\n", `capconf: line 2: pattern "a/b" has a folder, want a slash at its start`},
		{"drive without slash", "[ExclusionList]\nc:name\n", `capconf: line 2: pattern "c:name", want a slash after the drive letter`},
		{"drive alone", "[ExclusionList]\nc:\n", `capconf: line 2: pattern "c:", want a slash after the drive letter`},
		{"drive root", "[ExclusionList]\nc:\\\n", `capconf: line 2: pattern names nothing below the root`},
		{"root", "[ExclusionList]\n\\\n", `capconf: line 2: pattern names nothing below the root`},
		{"empty quotes", "[ExclusionList]\n\"\"\n", `capconf: line 2: pattern names nothing below the root`},
		{"open quote", "[ExclusionList]\n\"a\n", `capconf: line 2: pattern "a, want a quote at its end`},
		{"lone quote", "[ExclusionList]\n\"\n", `capconf: line 2: pattern ", want a quote at its end`},
		{"before sections", "\n\nname\n", `capconf: line 3: pattern "name" before the first section`},
		{"open section", "[ExclusionList\n", `capconf: line 1: section "[ExclusionList", want [name]`},
		{"section without name", "[ ]\n", `capconf: line 1: section "[ ]", want [name]`},
		{"NUL", "[ExclusionList]\na\x00b\n", `capconf: line 2: pattern "a\x00b" has a NUL character`},
		{"code page 936", "[ExclusionList]\n\\\xce\xc4\n", `capconf: line 2: text "\\\xce\xc4" is not UTF-8; save the file as UTF-8 or Unicode`},
		{"big-endian", "\xfe\xff\x00[", `capconf: text is big-endian UTF-16, want UTF-8 or little-endian UTF-16`},
		{"odd UTF-16", "\xff\xfe[\x00a", `capconf: text is UTF-16 with half a character at its end`},
		{"too large", strings.Repeat(";", MaxSize+1), `capconf: 65537 bytes, want at most 65536`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Parse([]byte(tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if s := new(SyntaxError); !errors.As(err, &s) {
				t.Errorf("%T, want a SyntaxError", err)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		match   string // separated by spaces
		not     string
	}{
		{`\a`, `a A a/b a\b /a a/ a/b/c ./a`, `. b b/a aa a.b`},
		{`\a\b`, `a/b a//b a/b/c A/B`, `a b/a b a/c a/bb`},
		{`x`, `x a/x x/a a/x/b X`, `xx a/xx .`},
		{`\*`, `a a/b`, `. /`},
		{`*`, `a a/b`, `.`},
		{`\a\*\c`, `a/b/c a/b/c/d a/x/C`, `a/c a/b/b/c a/b`},
		{`*.tmp`, `x.tmp a/.TMP x.tmp/y`, `tmp x.tmp.y`},
		{`*.*`, `a.b .`[:3], `a`},
		{`a?c`, `abc a中c aéc a𐐷c b/aBC`, `ac abbc a/c`},
		{`?`, `a é 中 𐐷`, `aa 中中`},
		{`*?`, `a ab é`, `.`},
		{`??`, `ab 中𐐷`, `a 中 𐐷 abc`},
		{`*a*b*`, `ab xaxbx aab`, `ba a b`},
		{`*?é`, `xé ééé`, `é éx`},
		{`ÉTÉ`, `été x/Été`, `ete`},
		{`\Пример\*.ТХТ`, `пример/а.тхт`, `пример/а.txt`},
		{`[a]`, `[a] [A]`, `a`},
	} {
		p, _, err := NewPattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		m := NewMatcher([]Pattern{p})
		for path := range strings.FieldsSeq(tt.match) {
			if m.Match(path) != 0 {
				t.Errorf("%s does not match %s", tt.pattern, path)
			}
		}
		for path := range strings.FieldsSeq(tt.not) {
			if m.Match(path) != -1 {
				t.Errorf("%s matches %s", tt.pattern, path)
			}
		}
	}
}

func TestMatchTellsTheFirst(t *testing.T) {
	m := NewMatcher(MustPatterns("a*\nab\n\\x\\ab\nab\n\\x\n\\X\n*"))
	for path, want := range map[string]int{"ab": 0, "x/ab": 0, "x/y": 4, "b": 6, ".": -1, "q/r": 6} {
		if got := m.Match(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := NewMatcher(nil).Match("a"); got != -1 {
		t.Errorf("no patterns: %d", got)
	}
	if got := NewMatcher([]Pattern{{}}).Match("a"); got != -1 {
		t.Errorf("zero pattern: %d", got)
	}
}

func TestExcluded(t *testing.T) {
	c := &Config{
		Exclusion:          MustPatterns("\\a\n*.log\n\\w\\*"),
		ExclusionException: MustPatterns("\\a\\b\\keep\nsetup.log\n\\w\\t*\\x"),
	}
	for path, want := range map[string]bool{
		".": false, "a": false, "a/b": false, "a/b/keep": false, "a/b/keep/x": false, "a/b/other": true, "a/c": true,
		"x.log": true, "q/setup.log": false, "w": false, "w/t1": false, "w/t1/x": false, "w/t1/y": true, "w/y": true, "other": false,
	} {
		if got := c.Excluded(path); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}

func TestDefault(t *testing.T) {
	c := Default()
	for path, want := range map[string]bool{
		"pagefile.sys": true, "hiberfil.sys": true, "swapfile.sys": true, "$NTFS.LOG": true, "$recycle.bin/S-1-5-18": true,
		"RECYCLER": true, "System Volume Information/WimOverlay.dat": true, "Windows/CSC/v2.0.6": true,
		"Windows/pagefile.sys": false, "Windows": false, ".": false,
	} {
		if got := c.Excluded(path); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}

// slowMatch is the definition of a match, written as plainly as can be.
func slowMatch(pattern, path string) bool {
	pattern = winfile.Fold(pattern)
	names := strings.FieldsFunc(winfile.Fold(path), slash)
	names = slices.DeleteFunc(names, func(s string) bool { return s == "." })
	if !strings.HasPrefix(pattern, `\`) {
		return slices.ContainsFunc(names, func(name string) bool { return slowGlob(runes(pattern), runes(name)) })
	}
	globs := strings.Split(pattern[1:], `\`)
	if len(names) < len(globs) {
		return false
	}
	for i, g := range globs {
		if !slowGlob(runes(g), runes(names[i])) {
			return false
		}
	}
	return true
}

// runes splits WTF-8, a lone surrogate being a character.
func runes(s string) (list []rune) {
	for u := winfile.UTF16FromName(s); len(u) > 0; {
		if r := utf16.DecodeRune(rune(u[0]), rune(u[min(1, len(u)-1)])); r != '\ufffd' {
			list, u = append(list, r), u[2:]
		} else {
			list, u = append(list, rune(u[0])), u[1:]
		}
	}
	return list
}

// slowGlob fills the table of which prefix of the pattern matches which prefix of the name.
func slowGlob(glob, name []rune) bool {
	row := make([]bool, len(name)+1)
	row[0] = true
	for _, g := range glob {
		next := make([]bool, len(name)+1)
		next[0] = row[0] && g == '*'
		for i, c := range name {
			if g == '*' {
				next[i+1] = next[i] || row[i+1]
			} else {
				next[i+1] = row[i] && (g == '?' || g == c)
			}
		}
		row = next
	}
	return row[len(name)]
}

// words returns all words over the letters of at most n letters.
func words(letters []string, n int) []string {
	all := []string{""}
	for from := 0; n > 0; n-- {
		to := len(all)
		for _, w := range all[from:to] {
			for _, l := range letters {
				all = append(all, w+l)
			}
		}
		from = to
	}
	return all
}

func TestGlobExhaustively(t *testing.T) {
	names := words([]string{"A", "É"}, 5)
	for _, glob := range words([]string{"A", "É", "*", "?"}, 5) {
		for _, name := range names {
			if got, want := globMatch(glob, []byte(name)), slowGlob([]rune(glob), []rune(name)); got != want {
				t.Fatalf("%s, %s: %t", glob, name, got)
			}
		}
	}
}

func checkAgainstSlow(t *testing.T, patterns []Pattern, path string) {
	t.Helper()
	want := slices.IndexFunc(patterns, func(p Pattern) bool { return slowMatch(p.String(), path) })
	if got := NewMatcher(patterns).Match(path); got != want {
		t.Errorf("patterns %q, path %q: %d, want %d", patterns, path, got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything), "Users/keep/Temp/x")
	f.Add(utf16le(everything), "a/x.tmp/文件1.TXT")
	f.Add([]byte("[PrepopulateList]\n*a*?b*\n\\*\\?\\a*\n\\a\\*\nx\n?\xed\xa0\x80*\n"), "a/\U00010437/b\xed\xb0\x80/axb")
	f.Add([]byte("[ExclusionList]\r\n'\\x'\r\n*.*\r\n"), `\x\.\y.`)
	f.Fuzz(func(t *testing.T, b []byte, path string) {
		c, _, err := Parse(b)
		if err != nil {
			if s := new(SyntaxError); !errors.As(err, &s) {
				t.Fatalf("%T, want a SyntaxError", err)
			}
			return
		}
		if len(b) > 2000 || len(path) > 500 {
			return // the slow one is slow
		}
		all := slices.Concat(c.Exclusion, c.ExclusionException, c.Prepopulate, c.CompressionExclusion, c.CompressionFolder)
		checkAgainstSlow(t, all, path)
		if c.Excluded(path) && !slices.ContainsFunc(c.Exclusion, func(p Pattern) bool { return slowMatch(p.String(), path) }) {
			t.Errorf("%q excluded by nothing", path)
		}
		for _, p := range all { // what a pattern prints is a pattern
			q, hint, err := NewPattern(`"` + p.String() + `"`)
			if err != nil || hint != "" && p.Anchored() || q.String() != p.String() {
				t.Errorf("%q again: %q, %q, %v", p, q, hint, err)
			}
		}
	})
}

// bootLike has the shape of a list that keeps the boot files of an old Windows plain: 60 patterns.
func bootLike() []Pattern {
	var b strings.Builder
	b.WriteString("*winload.*\n*winresume.*\n*bootres.dll*\nwof.sys\n")
	for i := range 40 {
		fmt.Fprintf(&b, "\\Windows\\System32\\file%d.dll\n", i)
	}
	for i := range 12 {
		fmt.Fprintf(&b, "\\Windows\\System32\\k%d*.dll\n", i)
	}
	b.WriteString("\\Boot\\*\n\\EFI\\*\n\\bootmgr\n\\Windows\\System32\\drivers\\*.sys\n")
	return MustPatterns(b.String())
}

func paths(n int) []string {
	list := make([]string, n)
	for i := range list {
		switch i % 3 {
		case 0:
			list[i] = fmt.Sprintf("Windows/WinSxS/amd64_microsoft-windows-component-%d_31bf3856ad364e35_6.1.7601.17514_none_%016x/file%d.dll", i, i*7919, i)
		case 1:
			list[i] = fmt.Sprintf("Windows/System32/component%d.dll", i)
		case 2:
			list[i] = fmt.Sprintf("Program Files/Common Files/Vendor %d/zh-CN/资源%d.mui", i%97, i)
		}
	}
	return list
}

func TestManyPathsAgainstSlow(t *testing.T) {
	patterns := bootLike()
	for _, p := range append(paths(300), "Windows/System32/drivers/acpi.sys", "windows/system32/K3x.DLL", "boot/BCD", "x/winload.efi") {
		checkAgainstSlow(t, patterns, p)
	}
}

func BenchmarkMatch(b *testing.B) {
	m := NewMatcher(bootLike())
	list := paths(25000)
	for b.Loop() {
		for _, p := range list {
			m.Match(p)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/path")
}
