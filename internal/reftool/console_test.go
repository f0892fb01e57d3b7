package reftool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// menu is a menu as the boot manager draws it: each row by itself, the chosen one in inverse colours.
func menu(chosen int, entries ...string) string {
	var b strings.Builder
	b.WriteString("\x1b[0;37;40m\x1b[2J\x1b[1;31HWindows Boot Manager\x1b[3;1HChoose an operating system to start, or press TAB to select a tool:" +
		"\x1b[4;1H(Use the arrow keys to highlight your choice, then press ENTER.)")
	for i, e := range entries {
		colour := "\x1b[0;37;40m"
		if i == chosen {
			colour = "\x1b[0;30;47m"
			e += strings.Repeat(" ", 60-len(e)) + ">"
		}
		fmt.Fprintf(&b, "\x1b[%d;5H%s%s", 6+i, colour, e)
	}
	b.WriteString("\x1b[0;37;40m\x1b[10;1HTo specify an advanced option for this choice, press F8.\x1b[11;1HSeconds until the highlighted choice will be " +
		"started automatically: 30\x1b[14;1HTools:\x1b[16;5HWindows Memory Diagnostic\x1b[25;2HENTER=Choose  TAB=Menu  ESC=Cancel")
	return b.String()
}

func TestMenu(t *testing.T) {
	said := "noise\r\n" + menu(0, "Windows 7 x64", "旗舰版 x86", "RAM") + "\x1b[11;69H\x1b[K29"
	for _, piece := range []int{1, 3, len(said)} { // a stream is cut anywhere
		c := &Console{}
		for part := range slices.Chunk([]byte(said), piece) {
			c.Write(part)
		}
		m := c.Menu()
		if m == nil || !slices.Equal(m.Entries, []string{"Windows 7 x64", "旗舰版 x86", "RAM"}) || m.Chosen != "Windows 7 x64" || m.Seconds != 29 ||
			!slices.Equal(m.Tools, []string{"Windows Memory Diagnostic"}) {
			t.Errorf("%d: %+v\n%s", piece, m, strings.Join(c.Rows(), "\n"))
		}
		if c.Failure() != nil {
			t.Error("a menu is a failure")
		}
		fmt.Fprint(c, "\x1b[6;5H\x1b[0mWindows 7 x64\x1b[K\x1b[7;5H\x1b[7m旗舰版 x86\x1b[27m")
		if m := c.Menu(); m == nil || m.Chosen != "旗舰版 x86" {
			t.Errorf("the choice moved: %+v", m)
		}
	}
	if m := Show([]byte("    no choice\r\n")).Menu(); m != nil {
		t.Errorf("%+v", m)
	}
}

func TestFailure(t *testing.T) {
	c := Show([]byte("\x1b[2J\x1b[1;31HWindows Boot Manager\x1b[3;1HWindows failed to start.\x1b[9;5HFile: \\Windows\\system32\\winload.exe\x1b[11;5HStatus: 0xc000000f" +
		"\x1b[13;5HInfo: The selected entry could not be loaded.\x1b[25;1H ENTER=Continue"))
	if f := c.Failure(); f == nil || *f != (BootFailure{`\Windows\system32\winload.exe`, 0xc000000f, "The selected entry could not be loaded."}) {
		t.Errorf("%+v", f)
	}
}

func TestConsole(t *testing.T) {
	for said, want := range map[string]string{
		"ab\rc":                          "cb",
		"ab\b\bx":                        "xb",
		"a\tb":                           "a       b",
		"abc\x1b[2D\x1b[1Kz":             " zc",
		"abc\x1b[1;2H\x1b[Kx":            "ax",
		"one\x1b[2J":                     "",
		"abc\x1b[3D\x1b[2Cz":             "abz",
		"\x1b[2;1Hx\x1b[Ay":              " y",
		"\x1b[s\x1bcok\x1b[999;999H\x1b": "ok",
		"x\x1b[1;1Hab\x1b[\x00Hc":        "abHc",
		strings.Repeat("z", 81):          strings.Repeat("z", 80),
		"first" + strings.Repeat("\n", 25) + "\x1b[1;1Hmoved": "moved",
		"\x1b[" + strings.Repeat("1", 200):                    strings.Repeat("1", 137)[:80],
		"\xff\xfe€":                                           "\ufffd\ufffd€",
	} {
		if got := Show([]byte(said)).Rows()[0]; got != want {
			t.Errorf("%q shows %q, want %q", said, got, want)
		}
	}
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte(menu(1, "a", "b")))
	f.Add([]byte("\x1b[9;9H\x1b[7mx\x1b[1J\x1b[25;80Hyz\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		whole, pieces := Show(said), &Console{}
		for part := range slices.Chunk(said, 3) {
			pieces.Write(part)
		}
		if !slices.Equal(whole.Rows(), pieces.Rows()) {
			t.Errorf("in pieces it is another screen")
		}
		whole.Menu()
		whole.Failure()
	})
}
