package imagex

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

// TestMain lets the test binary be the program, for tests that need a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("HUSK_TEST_IMAGEX") != "" {
		os.Exit(Main(context.Background(), &Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Husk: "test"}, "", os.Args[1:]))
	}
	os.Exit(m.Run())
}

// run runs a command line in this process.
func run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), &Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Husk: "test"}, "", args)
	return code, out.String(), errs.String()
}

// must is run of a command line that has to succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := run(t, "", args...)
	if code != 0 {
		t.Fatalf("%q: exit code %d\n%s%s", args, code, out, errs)
	}
	return out
}

func TestPersona(t *testing.T) {
	for name, want := range map[string]string{
		"/usr/bin/wimlib-imagex": "", "wimlib-imagex.exe": "", "./wimcapture": "capture", "wimapply": "apply", "wimmountrw": "mountrw",
		"wimunmount": "unmount", "WIMINFO.EXE": "info",
	} {
		if got, ok := Persona(name); !ok || got != want {
			t.Errorf("%s: %q, %t, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"husk", "wim", "wimbogus", "imagex", "wimlib-imagex2"} {
		if got, ok := Persona(name); ok {
			t.Errorf("%s acts as %q", name, got)
		}
	}
}

func TestParse(t *testing.T) {
	c := find("extract")
	p, err := c.parse([]string{"a", "--dest-d=x", "b", "--ref", "1", "--ref=2", "--no-wild", "--", "--c", "-"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.args, "|"); got != "a|b|--c|-" {
		t.Errorf("arguments %q", got)
	}
	if p.value("dest-dir") != "x" || len(p.values["ref"]) != 2 || !p.has("no-globs") {
		t.Errorf("options %v", p.values)
	}
	for words, want := range map[string]string{
		"--bogus": "unrecognized", "--no": "ambiguous", "--check=1": "doesn't allow", "--dest-dir": "requires", "-x": "invalid option",
	} {
		if _, err := c.parse([]string{words}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", words, err, want)
		}
	}
}
