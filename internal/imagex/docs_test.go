package imagex

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const docsFile = "../../docs/wimlib-imagex.md"

const docsHead = `# husk as wimlib-imagex

husk takes the command line of wimlib-imagex ` + Version + ` when it is called by one of that program's names (` + "`wimlib-imagex`, `wimcapture`, `wimapply`" + `
and so on: a link to husk is enough), or as ` + "`husk imagex COMMAND …`" + `. Arguments, exit codes and the lines that programs read are the same;
messages for people are husk's own.

Where it differs:

- A folder gets all of Windows' metadata that its file system can keep, as extended attributes, and a capture of that folder takes them
  back; wimlib leaves them out. A folder without them gives the image that wimlib makes of it.
- WIMs that are changed stay valid whatever interrupts the command, with ` + "`--unsafe-compact`" + ` too.
- An NTFS volume that is empty is laid out anew when an image is applied to it, with its size, name, serial number and boot code. Into one
  that is not, files go one by one, and hard links and short names are not made.
- Capture and apply know extended attributes and encrypted files of NTFS volumes where wimlib, through libntfs-3g, leaves them out;
  encrypted files are not applied to volumes.
- Paths in images are taken in their exact case on UNIX and in any case on Windows; WIMLIB_IMAGEX_IGNORE_CASE says otherwise, as with wimlib.

- Listings of solid WIMs give the offset of contents in their solid resource, but not where that resource is.
- Levels of --compress are husk's three: below 35, to 74, and from 75.

All commands take ` + "`--help`, `--version` and `--quiet`" + `. The tables below are made from what the parser knows, and a test compares them with it and
with the manual pages of the wimlib that is installed.
`

// docs is what docs/wimlib-imagex.md has to be.
func docs() string {
	var b strings.Builder
	b.WriteString(docsHead)
	for _, c := range Commands {
		fmt.Fprintf(&b, "\n## %s\n\n`wim%s %s`\n\n| option | state | |\n|---|---|---|\n", c.Name, c.Name, strings.ReplaceAll(c.Synopsis, "|", `\|`))
		for _, o := range c.Options {
			if o.Name == "help" || o.Name == "version" || o.Name == "quiet" {
				continue
			}
			word := "--" + o.Name
			if o.Arg != "" {
				word += "=" + o.Arg
			}
			note := o.Note
			if o.Alias != "" {
				note = "another name of `--" + o.Alias + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", word, o.State, note)
		}
	}
	return b.String()
}

func TestDocs(t *testing.T) {
	want := docs()
	if os.Getenv("HUSK_UPDATE_DOCS") != "" {
		if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the parser knows; 'HUSK_UPDATE_DOCS=1 go test ./internal/imagex -run TestDocs' writes it", docsFile)
	}
}

// TestManualPages: every option that the installed manual pages describe is one that the parser, and so the table, knows.
func TestManualPages(t *testing.T) {
	pages := 0
	for _, c := range Commands {
		page := "wim" + c.Name
		switch c.Name {
		case "append":
			page = "wimcapture"
		case "mountrw", "unmount":
			page = "wimmount"
		}
		text, err := manualPage(page)
		if errors.Is(err, fs.ErrNotExist) {
			continue // packages of small systems come without
		}
		if err != nil {
			t.Fatal(err)
		}
		pages++
		found := optionsOf(text, c.Name)
		if len(found) < 2 {
			t.Errorf("%s: only options %q found in the manual page", c.Name, found)
		}
		for _, o := range found {
			if c.option(o) == nil {
				t.Errorf("%s: the manual page has --%s, which is not in the table", c.Name, o)
			}
		}
	}
	if pages == 0 {
		t.Skip("no manual pages of wimlib-imagex here")
	}
}

func manualPage(name string) (string, error) {
	f, err := os.Open("/usr/share/man/man1/" + name + ".1.gz")
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(z)
	return string(b), err
}

var (
	fontChange = regexp.MustCompile(`\\f.`)
	longOption = regexp.MustCompile(`--[a-z][a-z0-9-]+`)
)

// optionsOf reads the options that a manual page describes: in its sections of options, those in the line behind .TP.
func optionsOf(text, command string) []string {
	section, found, head := "", []string(nil), false
	for line := range strings.SplitSeq(text, "\n") {
		if s, ok := strings.CutPrefix(line, ".SH "); ok {
			section = s
		}
		if line == ".TP" || strings.HasPrefix(line, ".TP ") {
			head = true
			continue
		}
		if !head {
			continue
		}
		head = false
		switch {
		case strings.HasPrefix(section, "MOUNT") && command == "unmount", strings.HasPrefix(section, "UNMOUNT") && command != "unmount":
			continue
		case !strings.HasSuffix(strings.Trim(section, `"`), "OPTIONS"):
			continue
		}
		line = strings.ReplaceAll(fontChange.ReplaceAllString(line, ""), `\-`, "-")
		for _, w := range longOption.FindAllString(line, -1) {
			if !slices.Contains(found, w[2:]) {
				found = append(found, w[2:])
			}
		}
	}
	if command == "mount" { // the page says that it is of mountrw alone
		found = slices.DeleteFunc(found, func(o string) bool { return o == "staging-dir" })
	}
	return found
}

// TestOptionsAreTaken: the parser takes every option of the table in each of its forms, and refuses those that it says.
func TestOptionsAreTaken(t *testing.T) {
	for _, c := range Commands {
		seen := make(map[string]bool)
		for _, o := range c.Options {
			if seen[o.Name] {
				t.Errorf("%s: two options --%s", c.Name, o.Name)
			}
			seen[o.Name] = true
			words := []string{"--" + o.Name}
			if o.Arg != "" {
				words = append(words, "value")
			}
			p, err := c.parse(words)
			if (err != nil) != (o.State == Refused) {
				t.Errorf("%s %q: %v, but it is said that it %s", c.Name, words, err, o.State)
			}
			if o.State == Refused && o.Note == "" {
				t.Errorf("%s --%s is refused without a reason", c.Name, o.Name)
			}
			if o.Alias != "" && (c.option(o.Alias) == nil || !p.has(o.Alias)) {
				t.Errorf("%s --%s is another name of nothing", c.Name, o.Name)
			}
		}
	}
}
