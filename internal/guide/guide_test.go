package guide

import "testing"

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"detect"}, "husk detect"},
		{[]string{"convert", "/dev/sda:2", "/mnt/my data/win.vhd"}, `husk convert /dev/sda:2 "/mnt/my data/win.vhd"`},
		{[]string{"point", "add", "wimboot", "x64", "win.vhd", "-m", `五月的"补丁"`}, `husk point add wimboot x64 win.vhd -m "五月的\"补丁\""`},
		{[]string{"status", ""}, `husk status ""`},
	} {
		if got := commandLine(test.args); got != test.want {
			t.Errorf("%q: %s, want %s", test.args, got, test.want)
		}
	}
}

func TestDiskOf(t *testing.T) {
	for spec, want := range map[string]string{"/dev/sda:2": "/dev/sda", "pc.vhd": "pc.vhd", "pc.vhd:": "pc.vhd", `C:\pc.vhd`: `C:\pc.vhd`, `C:\pc.vhd:1`: `C:\pc.vhd`, "a:b": "a:b"} {
		if got := diskOf(spec); got != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2Jb\n中"); got != "a?[2Jb?中" {
		t.Errorf("%q", got)
	}
}
