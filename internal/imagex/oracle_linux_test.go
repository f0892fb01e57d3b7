package imagex

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"husk/internal/reftool"
)

// makeSource makes what the command lines of the tests work with, in dir: src, other, and text files. Times are fixed.
func makeSource(t *testing.T, dir string) {
	t.Helper()
	write := func(name, content string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("src/a.txt", "hello\n")
	write("src/b.dll", strings.Repeat("some code ", 20000))
	write("src/empty", "")
	write("src/dir/c.txt", "hello\n")
	write("src/dir/文件.txt", "unicode")
	write("src/dir/deep/er/x.log", "log")
	write("src/Case/file", "one")
	write("other/new.txt", strings.Repeat("0123456789", 5000))
	write("other/a.txt", "another")
	write("file.txt", "a file to add")
	write("exclude.ini", "[ExclusionList]\n*.log\n\\dir\\c.txt\n\\Case\n[ExclusionException]\n/Case/file\n")
	write("list.txt", "# a list\nsrc /\nother /sub/other\n\"file.txt\" '/sub/with space'\n")
	write("paths.txt", "; comment\n# another\n/dir/*.txt\n\\Case\\file\n  a.txt  \n")
	write("update.txt", "# changes\nadd file.txt /dir/added\ndelete /a.txt\nrename /b.dll /dir/renamed.dll\ndelete --recursive '/Case'\nadd other \"/new dir/o\"\n")
	for name, to := range map[string]string{
		"src/rel": "a.txt", "src/dir/up": "../a.txt", "src/outside": "/etc/passwd", "src/inside": filepath.Join(dir, "src/dir"), "src/todir": "dir",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "src/b.dll"), filepath.Join(dir, "src/dir/hard.dll")); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "src/empty"), 0); err != nil {
		t.Fatal(err)
	}
	write("src/sparse", "start")
	if err := os.Truncate(filepath.Join(dir, "src/sparse"), 300000); err != nil {
		t.Fatal(err)
	}
	when := time.Date(2011, 2, 3, 4, 5, 6, 700, time.UTC)
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		ts := []unix.Timespec{unix.NsecToTimespec(when.UnixNano()), unix.NsecToTimespec(when.UnixNano())}
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// runIn runs a program in dir and returns its exit code and outputs.
func runIn(t *testing.T, dir, stdin, program string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.Command(program, args...)
	c.Dir, c.Stdin, c.Stdout, c.Stderr = dir, strings.NewReader(stdin), &out, &errs
	c.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC"), env...)
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

var (
	// unstable is what two captures of one folder differ in, and what compressors do.
	unstable = regexp.MustCompile(`(?m)^(GUID|Size|Offset in WIM|Compressed size|Link Group ID|Creation Time|Last Modification Time|Last Access Time|Path|Solid [a-z ]*|Flags) *[:=].*\n`)
	// byTheHost is what differs by where the tests run: the link into the source's folder.
	byTheHost = regexp.MustCompile(`(?m)^Full Path           = "/inside"\n(.*\n)*?\n`)
)

// stateOf is what both programs left behind: of each WIM what wimlib says of it, and of folders what is in them.
func stateOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		name := n.Name()
		switch {
		case name == "src" || name == "other" || strings.HasSuffix(name, ".txt") || strings.HasSuffix(name, ".ini"):
		case n.IsDir():
			b.WriteString(folderState(t, dir, name))
		case strings.HasSuffix(name, "wim"):
			for _, args := range [][]string{{"info", name}, {"dir", name, "all", "--detailed"}} {
				code, out, errs := runIn(t, dir, "", "wimlib-imagex", nil, args...)
				fmt.Fprintf(&b, "== %s: %d %s\n%s", args, code, errs, byTheHost.ReplaceAllString(unstable.ReplaceAllString(out, ""), ""))
			}
		default:
			fmt.Fprintf(&b, "== %s\n", name)
		}
	}
	return b.String()
}

// folderState lists what is in a folder.
func folderState(t *testing.T, dir, name string) string {
	t.Helper()
	var b strings.Builder
	first := make(map[uint64]string)
	err := filepath.WalkDir(filepath.Join(dir, name), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, st := strings.TrimPrefix(p, dir), new(syscall.Stat_t)
		if err := syscall.Lstat(p, st); err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v", rel, d.Type())
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			fmt.Fprintf(&b, " -> %s\n", strings.ReplaceAll(to, dir, "DIR"))
			return err
		case d.Type().IsRegular():
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if _, ok := first[st.Ino]; !ok {
				first[st.Ino] = rel
			}
			fmt.Fprintf(&b, " %s %d %x", first[st.Ino], len(content), sha1.Sum(content))
			fallthrough
		case d.IsDir() && rel != "/"+name && !strings.HasPrefix(name, "x-"):
			fmt.Fprintf(&b, " %o %d.%09d", st.Mode, st.Mtim.Sec, st.Mtim.Nsec)
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// commandLines are rows of commands that both programs run, one row in one folder. "<FILE" at the end is the standard input.
var commandLines = []struct {
	name string
	rows []string
}{
	{"capture", []string{"capture src a.wim", "apply a.wim 1 out", "verify a.wim", "dir a.wim", "dir a.wim 1 --path=dir", "dir a.wim --path=/nope"}},
	{"names", []string{"capture src a.wim Name Description", "capture src b.wim /", "append other a.wim Name", "append other a.wim", "append other a.wim", "info a.wim Name", "info a.wim nope", "info a.wim 9", "dir a.wim other", "dir a.wim"}},
	{"formats", []string{"capture src a.wim --compress=none", "capture src b.wim --compress=fast", "capture src c.wim --compress=XPRESS:80 --chunk-size=8K", "capture src d.wim --compress=LZX:20 --chunk-size=64K --check", "capture src e.wim --compress=bogus", "capture src e.wim --compress=lzx:x", "capture src e.wim --chunk-size=3", "capture src e.wim --compress=xpress --chunk-size=1M", "capture src f.wim --wimboot --flags=Professional"}},
	{"properties", []string{"capture src a.wim --image-property FOO/BAR=baz --image-property=DISPLAYNAME=shown", "info a.wim 1 new description", "info a.wim 1 new", "info a.wim 1 --image-property=A/B=c", "info a.wim 1 --image-property=bad", "info a.wim 1 --boot", "info a.wim 1 --boot", "info a.wim --boot", "info a.wim --check", "info a.wim 1 x y --check", "info a.wim --nocheck"}},
	{"rpfix", []string{"capture src a.wim --norpfix", "append src a.wim two --rpfix", "apply a.wim 1 out1", "apply a.wim 2 out2", "apply a.wim 2 out3 --norpfix"}},
	{"config", []string{"capture src a.wim --config=exclude.ini", "capture src b.wim --config=nope.ini", "append src a.wim two --config exclude.ini --boot --check"}},
	{"unix", []string{"capture src a.wim --unix-data", "apply a.wim 1 out --unix-data", "apply a.wim 1 out2"}},
	{"dereference", []string{"capture other a.wim --dereference --no-acls"}},
	{"source-list", []string{"capture list.txt a.wim multi --source-list --norpfix", "apply a.wim x-out"}},
	{"append", []string{"append src a.wim", "append src a.wim --create", "append other a.wim --rebuild", "append src a.wim again --update-of=1", "append src a.wim last --update-of=-1 --unsafe-compact", "apply a.wim all out", "apply a.wim out4", "apply a.wim 7 out4"}},
	{"delta", []string{"capture src base.wim", "capture src delta.wim d --delta-from=base.wim --update-of=base.wim:1", "verify delta.wim --ref=base.wim", "apply delta.wim 1 out --ref=base.wim", "apply delta.wim 1 out2 --ref=none*.wim", "append other delta.wim --delta-from=base.wim"}},
	{"export", []string{"capture src a.wim one", "append other a.wim two --boot", "export a.wim 1 b.wim", "export a.wim 1 b.wim", "export a.wim 1 b.wim renamed text --boot", "export a.wim all c.wim --compress=XPRESS --check", "export a.wim all d.wim name", "export a.wim 5 d.wim", "export a.wim two b.wim --wimboot", "apply b.wim renamed out", "export a.wim two b.wim third --rebuild"}},
	{"pipable", []string{"capture src p.wim --pipable", "apply p.wim out", "append other p.wim two", "apply - 2 out2 <p.wim", "update p.wim 2 --command=delete␣/a.txt", "info p.wim 1 renamed --boot", "export p.wim 2 q.wim --not-pipable", "export q.wim 1 r.wim new --pipable", "delete p.wim 1", "verify p.wim", "optimize p.wim --not-pipable", "optimize q.wim --pipable", "verify q.wim", "apply - 1 out3 <file.txt", "apply - 1 out3 <q.wim", "export p.wim all -"}},
	{"solid", []string{"capture src a.wim --solid --solid-chunk-size=1M", "append other a.wim", "verify a.wim", "apply a.wim 1 out", "export a.wim 1 b.wim", "export a.wim all c.wim --compress=XPRESS", "optimize a.wim", "optimize c.wim --solid --solid-compress=LZX:20", "capture src d.wim --compress=LZMS --chunk-size=64K", "capture src e.wim --solid --solid-compress=bogus", "capture src e.wim --solid --solid-chunk-size=3", "delete a.wim 2", "verify c.wim", "optimize c.wim --compress=LZX"}},
	{"delete", []string{"capture src a.wim one", "append other a.wim two", "append other a.wim three --boot", "delete a.wim", "delete a.wim 1 --check", "delete a.wim three --soft", "verify a.wim", "delete a.wim 4", "capture src b.wim", "delete b.wim all"}},
	{"optimize", []string{"capture src a.wim --compress=none", "append other a.wim --check", "optimize a.wim", "optimize a.wim --recompress", "optimize a.wim --compress=LZX:20 --nocheck", "verify a.wim", "optimize nope.wim"}},
	{"split", []string{"capture src a.wim --compress=none", "append other a.wim", "split a.wim s.swm 0.1", "verify s.swm --ref=s*.swm", "apply s.swm 1 out --ref=s*.swm", "join j.wim s.swm s2.swm s3.swm", "join k.wim s.swm", "split a.wim s.swm x", "append other s.swm", "join l.wim nope.swm"}},
	{"extract", []string{"capture src a.wim", "extract a.wim 1 /a.txt dir/c.txt --dest-dir=out", "extract a.wim 1 dir\\deep --dest-dir=out2", "extract a.wim 1 /dir/*.txt ?.dll --dest-dir=out3", "extract a.wim 1 @paths.txt --dest-dir=x-out4", "extract a.wim 1 /dir/deep/er/x.log --preserve-dir-structure --dest-dir=x-out5", "extract a.wim 1 /nope", "extract a.wim 1 /nope* --nullglob --dest-dir=out6", "extract a.wim 1 /*.txt --no-globs", "extract a.wim 1 /A.TXT --dest-dir=out7", "extract a.wim --dest-dir=out8", "extract a.wim 1 /dir --to-stdout", "extract a.wim all", "extract a.wim 1 --ref=nothing"}},
	{"update", []string{"capture src a.wim", "update a.wim 1 <update.txt", "update a.wim --command=delete␣/nope", "update a.wim --command=delete␣--force␣/nope", "update a.wim --command=delete␣/dir", "update a.wim --command=add␣nofile␣/x", "update a.wim --command=rename␣/dir␣/dir2 --rebuild", "update a.wim --command=add␣file.txt␣/dir2", "update a.wim --command=add␣file.txt␣/todir/x", "update a.wim --command=add␣--no-replace␣file.txt␣/rel", "update a.wim --wimboot-config=exclude.ini --check", "verify a.wim", "apply a.wim x-out --norpfix"}},
	{"usage", []string{"", "bogus", "capture", "apply x", "--version", "capture --help", "capture src a.wim --bogus", "capture src", "dir nope.wim", "info exclude.ini", "info src", "verify file.txt", "capture src a.wim --threads=x", "apply a.wim", "info", "capture nosuch a.wim", "capture file.txt a.wim"}},
}

// TestLikeWimlib gives the same command lines to wimlib-imagex and to husk, and compares exit codes and what is there afterwards.
func TestLikeWimlib(t *testing.T) {
	reftool.Look(t, "wimlib-imagex")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commandLines {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			theirs, ours := filepath.Join(base, "w"), filepath.Join(base, "h") // of equal length, as links have them
			makeSource(t, theirs)
			makeSource(t, ours)
			for _, row := range c.rows {
				args := strings.Fields(row)
				stdin := ""
				if n := len(args); n > 0 && args[n-1][0] == '<' {
					b, err := os.ReadFile(filepath.Join(theirs, args[n-1][1:]))
					if err != nil {
						t.Fatal(err)
					}
					stdin, args = string(b), args[:n-1]
				}
				for k := range args {
					args[k] = strings.ReplaceAll(args[k], "␣", " ")
				}
				want, wantOut, wantErr := runIn(t, theirs, stdin, "wimlib-imagex", nil, args...)
				got, gotOut, gotErr := runIn(t, ours, stdin, self, []string{"HUSK_TEST_IMAGEX=1"}, args...)
				if got != want {
					t.Errorf("%q: exit code %d, wimlib's %d\n%s%s-- wimlib:\n%s%s", args, got, want, gotOut, gotErr, wantOut, wantErr)
				}
			}
			want, got := stateOf(t, theirs), stateOf(t, ours)
			if c.name == "update" || c.name == "source-list" { // wimlib does not count the directories that it makes on the way
				want, got = directories.ReplaceAllString(want, ""), directories.ReplaceAllString(got, "")
			}
			if got != want {
				t.Errorf("left behind, wimlib's and husk's:\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
			}
			sameOutput(t, self, theirs)
		})
	}
}

// sameOutput compares what both programs print of the WIMs that wimlib made.
func sameOutput(t *testing.T, self, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*wim"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		name = filepath.Base(name)
		for _, args := range [][]string{{"info", name}, {"info", name, "--header"}, {"info", name, "--xml"}, {"dir", name, "all"}, {"dir", name, "all", "--detailed"}, {"info", name, "1"}} {
			if name == "delta.wim" && args[0] == "dir" {
				args = append(args[:3:3], "--ref=base.wim", "--detailed")
			}
			code, want, _ := runIn(t, dir, "", "wimlib-imagex", nil, args...)
			got, out, _ := runIn(t, dir, "", self, []string{"HUSK_TEST_IMAGEX=1"}, args...)
			if args[len(args)-1] == "--detailed" { // husk numbers hard links by itself
				want, out = solidLine.ReplaceAllString(groupID.ReplaceAllString(want, ""), ""), groupID.ReplaceAllString(out, "")
			}
			if got != code || out != want {
				t.Errorf("%q: exit codes %d, %d\n%s", args, code, got, cmp.Diff(want, out))
			}
		}
	}
}

// solidLine tells where a solid resource is, which husk does not print.
var solidLine = regexp.MustCompile(`(?m)^Solid resource .*\n`)

var directories = regexp.MustCompile(`(?m)^Directory Count: .*\n`)

var groupID = regexp.MustCompile(`(?m)^Link Group ID .*\n`)
