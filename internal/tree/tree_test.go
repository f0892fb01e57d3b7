//go:build unix

package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"husk/internal/reftool"
	"husk/winfile"
)

// explained tells whether a difference after a round trip is one that the report of the apply announced.
func explained(d Difference, lost []Loss) bool {
	kinds := map[Kind][]string{
		DiffAttributes: {LostAttributes}, DiffSecurity: {LostSecurity}, DiffCreated: {LostTimes}, DiffAccessed: {LostTimes},
		DiffWritten: {LostTimes}, DiffChanged: {LostTimes, LostChanged}, DiffShortName: {LostShortName},
		DiffReparse: {LostReparse}, DiffType: {LostReparse}, DiffObjectID: {LostObjectID}, DiffEAs: {LostEAs},
		DiffStreams: {LostStream}, DiffLinks: {LostHardLink},
	}
	return slices.ContainsFunc(lost, func(l Loss) bool { return slices.Contains(kinds[d.Kind], l.Kind) })
}

func TestFolderRoundTrip(t *testing.T) {
	src := sampleTree(t)
	dir := filepath.Join(t.TempDir(), "out")
	rep, err := ApplyFolder(context.Background(), src, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range rep.Lost {
		t.Logf("lost %d %s: %v", l.Count, l.Kind, l.List)
	}
	n := src.Totals()
	if rep.Dirs != n.Dirs || rep.Files != n.Files || rep.Links != n.Names-n.Files || len(rep.Lost) == 0 && rep.Bytes != n.Bytes {
		t.Errorf("made %+v of %+v", rep, n)
	}
	got, scan := mustScan(t, dir, &ScanOptions{RPFix: true})
	if scan.Warnings.Total > 0 {
		t.Error(&scan.Warnings)
	}
	for _, d := range mustCompare(t, src, got, nil).List {
		if !explained(d, rep.Lost) {
			t.Error(d)
		}
	}
	for path, e := range src.All() {
		r := got.Lookup(path).Info.Reparse
		if len(rep.Lost) == 0 && e.Info.Reparse != nil && e.Info.Reparse.NotFixed != r.NotFixed {
			t.Errorf("%s: not fixed %v, want %v", path, r.NotFixed, e.Info.Reparse.NotFixed)
		}
	}
	if to, err := os.Readlink(filepath.Join(dir, "to inside")); err != nil || to != dir+"/dir/deep" {
		t.Errorf("link into the image leads to %q, %v", to, err)
	}
	var dense, sparse unix.Stat_t
	if err := errors.Join(unix.Stat(dir+"/shared2", &dense), unix.Stat(dir+"/sparse", &sparse)); err != nil {
		t.Fatal(err)
	}
	if sparse.Size != 5000+3<<20+3 || sparse.Blocks >= dense.Blocks {
		t.Errorf("sparse file of %d bytes has %d blocks, a plain one of %d bytes %d", sparse.Size, sparse.Blocks, dense.Size, dense.Blocks)
	}
}

// Without extended attributes everything else must arrive, and the report must name each kind of loss.
func TestFolderWithoutAttributes(t *testing.T) {
	dir := mount(t, "ramfs", "")
	src := sampleTree(t)
	rep, err := ApplyFolder(context.Background(), src, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := mustScan(t, dir, &ScanOptions{RPFix: true})
	d := mustCompare(t, src, got, nil)
	for _, x := range d.List {
		if !explained(x, rep.Lost) {
			t.Error(x)
		}
	}
	var kinds []string
	for _, l := range rep.Lost {
		kinds = append(kinds, l.Kind)
		if len(l.List) == 0 || len(l.List) > l.Count || l.List[0].Path == "" || l.List[0].Err == nil {
			t.Errorf("%s: %d lost, examples %v", l.Kind, l.Count, l.List)
		}
	}
	slices.Sort(kinds)
	want := []string{LostAttributes, LostEAs, LostStream, LostObjectID, LostReparse, LostSecurity, LostShortName, LostTimes}
	slices.Sort(want)
	if !slices.Equal(kinds, want) {
		t.Errorf("lost %q, want %q", kinds, want)
	}
	if d.Counts[DiffContent] > 0 || d.Counts[DiffExistence] > 0 || d.Counts[DiffWritten] > 0 {
		t.Errorf("lost more than metadata: %v", d.Counts)
	}
}

// mount mounts a file system that lives in memory.
func mount(t *testing.T, kind, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		reftool.Skip(t, "only root can mount")
	}
	dir := t.TempDir()
	args := []string{"-t", kind, kind, dir}
	if options != "" {
		args = append(args, "-o", options)
	}
	if out, err := reftool.Try(t, "mount", args...); err != nil {
		reftool.Skip(t, "cannot mount here: %v\n%s", err, out)
	}
	t.Cleanup(func() { reftool.Run(t, "umount", dir) })
	return dir
}

func TestTooLargeForAttributes(t *testing.T) {
	src := sampleTree(t)
	e := src.Lookup("file.txt")
	e.Info.Streams = []winfile.Stream{{Name: "big", Data: winfile.NewBlob(pattern(9, maxXattr+1))}}
	src.Lookup("hidden").Info.Extra = &winfile.Extra{
		EAs: []winfile.EA{{Name: "x", Value: make([]byte, 65535)}}, Unix: new(winfile.Unix), EFS: winfile.NewBlob([]byte("e")),
		Items: []winfile.TaggedItem{{Tag: 9}},
	}
	rep, err := ApplyFolder(context.Background(), src, filepath.Join(t.TempDir(), "out"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for kind, path := range map[string]string{
		LostStream: "file.txt:big", LostEAs: "hidden", LostUnix: "hidden", LostEFS: "hidden", LostItem: "hidden",
	} {
		if !slices.ContainsFunc(rep.Lost, func(l Loss) bool {
			return l.Kind == kind && slices.ContainsFunc(l.List, func(p Problem) bool { return p.Path == path })
		}) {
			t.Errorf("no loss of %s at %s: %v", kind, path, rep.Lost)
		}
	}
}

// A file that is edited after an apply has its new times and content, and still its other metadata.
func TestEditedAfterApply(t *testing.T) {
	src, dir := sampleTree(t), t.TempDir()
	rep, err := ApplyFolder(context.Background(), src, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Lost) > 0 {
		t.Skip("no extended attributes here")
	}
	if err := os.WriteFile(filepath.Join(dir, "file.txt"), []byte("HELLO"), 0o666); err != nil {
		t.Fatal(err)
	}
	got, _ := mustScan(t, dir, &ScanOptions{RPFix: true})
	d := mustCompare(t, src, got, nil)
	kinds := Kind(0)
	for _, x := range d.List {
		if x.Path != "file.txt" {
			t.Error(x)
		}
		kinds |= x.Kind
	}
	if want := DiffWritten | DiffChanged | DiffContent; kinds&^DiffAccessed != want {
		t.Errorf("differs in %v, want %v", kinds, want)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestScanPlainFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a/one", "1")
	write(t, dir+"/a/skip/inside", "2")
	write(t, dir+"/b", "")
	write(t, dir+"/aux.txt", "device")
	write(t, dir+"/dot.", "dot")
	write(t, dir+"/ques?", "q")
	when := time.Date(2020, 2, 3, 4, 5, 6, 123456700, time.UTC)
	if err := errors.Join(os.Link(dir+"/a/one", dir+"/hard"), os.Chtimes(dir+"/b", when, when), unix.Mkfifo(dir+"/fifo", 0o600)); err != nil {
		t.Fatal(err)
	}
	names := 0
	tr, rep, err := ScanFolder(context.Background(), dir, &ScanOptions{
		Exclude:  func(path string, isDir bool) bool { return path == "a/skip" && isDir },
		Progress: func(n int) { names = n },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer rep.Close()
	var paths []string
	for p := range tr.All() {
		paths = append(paths, p)
	}
	if want := []string{".", "a", "a/one", "aux.txt", "b", "dot.", "hard", "ques?"}; !slices.Equal(paths, want) {
		t.Errorf("scanned %q, want %q", paths, want)
	}
	if names != len(paths)-1 || rep.Excluded != 1 {
		t.Errorf("%d names, %d excluded; want %d and 1", names, rep.Excluded, len(paths)-1)
	}
	one, hard, b := tr.Lookup("a/one").Info, tr.Lookup("hard").Info, tr.Lookup("b").Info
	if one != hard || one.Links != 2 || one.Attributes != winfile.AttrArchive || tr.Lookup("a").Info.Attributes != winfile.AttrDirectory {
		t.Errorf("hard link not seen, or attributes: %+v, %+v", one, hard)
	}
	if w := winfile.FiletimeOf(when); b.Written != w || b.Accessed != w || b.Created == 0 || b.Data != nil {
		t.Errorf("%+v, want written %v", b, w)
	}
	var warned []string
	for _, w := range rep.Warnings.List {
		warned = append(warned, w.Path)
	}
	if want := []string{"aux.txt", "dot.", "fifo", "ques?"}; !slices.Equal(warned, want) {
		t.Errorf("warned of %q, want %q", rep.Warnings.List, want)
	}
	if p, err := one.Data.ReadAll(10); err != nil || string(p) != "1" {
		t.Errorf("read %q, %v", p, err)
	}
}

func TestScanBadNames(t *testing.T) {
	dir := t.TempDir()
	bad := []string{"not\xffutf8", `back\slash`, "\xed\xa0\xbd\xed\xb8\x80"}
	for _, name := range bad {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Skip("the host refuses the name itself:", err)
		}
	}
	write(t, dir+"/good", "g")
	tr, rep, err := ScanFolder(context.Background(), dir, nil)
	var p *Problems
	if !errors.As(err, &p) || p.Total != len(bad) {
		t.Fatalf("error %v, want %d problems", err, len(bad))
	}
	defer rep.Close()
	for _, name := range bad {
		if !slices.ContainsFunc(p.List, func(q Problem) bool { return q.Path == name }) {
			t.Errorf("%q is not in %v", name, err)
		}
	}
	if len(tr.Root.Children) != 1 || tr.Root.Children[0].Name != "good" {
		t.Errorf("the rest of the tree is missing: %v", tr.Root.Children)
	}
}

// Attributes are input too: a damaged one is a warning that names file and attribute, and nothing else is lost.
func TestScanDamagedAttributes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", "content")
	write(t, dir+"/d/child", "")
	for _, x := range []struct{ path, name, value string }{
		{"f", xattrAttributes, "abc"}, {"f", xattrTimes, "short"}, {"f", xattrReparse, "x"}, {"f", xattrObjectID, "1"},
		{"f", xattrEAs, "\x00\x00\x00\x00\x00\xff\xff\xff"}, {"d", xattrReparse, string((&winfile.Reparse{Tag: winfile.TagMountPoint}).Buffer())},
		{"d/child", xattrAttributes, "\x10\x04\x00\x00"},
	} {
		if err := unix.Lsetxattr(dir+"/"+x.path, spaceUser+x.name, []byte(x.value), 0); err != nil {
			t.Skip("no extended attributes here:", err)
		}
	}
	tr, rep := mustScan(t, dir, nil)
	if rep.Warnings.Total != 6 {
		t.Errorf("%v, want 6 warnings", &rep.Warnings)
	}
	if i := tr.Lookup("f").Info; i.Attributes != winfile.AttrArchive || i.Data == nil || i.Reparse != nil || i.Extra != nil {
		t.Errorf("damaged attributes left %+v", i)
	}
	if e := tr.Lookup("d"); !e.Info.IsDir() || len(e.Children) != 1 {
		t.Errorf("a reparse point on a directory with entries left %+v", e.Info)
	}
	if i := tr.Lookup("d/child").Info; i.Attributes != 0 {
		t.Errorf("a file has attributes %v", i.Attributes)
	}
}

// What happens to a file between the scan and the reading of it must be an error that names it.
func TestChangedAfterScan(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(dir string) error
		want   string
	}{
		{"shrinks", func(d string) error { return os.Truncate(d+"/sub/f", 3) }, "changed since the scan: 3 bytes, want 11"},
		{"grows", func(d string) error { return os.Truncate(d+"/sub/f", 30) }, "changed since the scan: 30 bytes, want 11"},
		{"goes away", func(d string) error { return os.Remove(d + "/sub/f") }, "no such file"},
		{"becomes a FIFO", func(d string) error {
			return errors.Join(os.Remove(d+"/sub/f"), unix.Mkfifo(d+"/sub/f", 0o600))
		}, "no longer a file"},
		{"is replaced", func(d string) error {
			return errors.Join(os.WriteFile(d+"/new", []byte("HELLO WORLD"), 0o666), os.Rename(d+"/new", d+"/sub/f"))
		}, "replaced by another file"},
		{"becomes a link out", func(d string) error {
			return errors.Join(os.WriteFile(d+"-secret", []byte("secret text"), 0o600), os.Remove(d+"/sub/f"), os.Symlink(d+"-secret", d+"/sub/f"))
		}, "escapes"},
		{"directory becomes a link out", func(d string) error {
			return errors.Join(os.Mkdir(d+"-evil", 0o777), os.WriteFile(d+"-evil/f", []byte("secret text"), 0o600),
				os.Rename(d+"/sub", d+"/old"), os.Symlink(d+"-evil", d+"/sub"))
		}, "escapes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "src")
			write(t, dir+"/sub/f", "hello world")
			tr, _ := mustScan(t, dir, nil)
			if err := tt.change(dir); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "out")
			_, err := ApplyFolder(context.Background(), tr, out, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "sub/f") {
				t.Errorf("error %v, want one with sub/f and %q", err, tt.want)
			}
			if b, err := os.ReadFile(out + "/sub/f"); err == nil && strings.Contains(string(b), "secret") {
				t.Errorf("read %q from outside", b)
			}
		})
	}
}

func TestChangedWhileRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", strings.Repeat("x", 5000))
	tr, _ := mustScan(t, dir, nil)
	for name, change := range map[string]func() error{
		"shrinks": func() error { return os.Truncate(dir+"/f", 4500) },
		"grows":   func() error { return os.Truncate(dir+"/f", 6000) },
		"is rewritten": func() error {
			return errors.Join(os.WriteFile(dir+"/f", []byte(strings.Repeat("y", 5000)), 0o666), os.Chtimes(dir+"/f", time.Now(), time.Unix(9, 0)))
		},
	} {
		if err := errors.Join(os.Truncate(dir+"/f", 5000), os.Chtimes(dir+"/f", time.Now(), time.Unix(5, 0))); err != nil {
			t.Fatal(err)
		}
		b := tr.Lookup("f").Info.Data
		r, err := b.Content.OpenBlob(b)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 4500)
		if _, err := io.ReadFull(r, p); err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, p[:500]); err == nil || !strings.Contains(err.Error(), "f: changed while being read") {
			t.Errorf("a file that %s gives %v", name, err)
		}
		r.Close()
	}
}

const unreadableVar = "HUSK_TREE_UNREADABLE"

// All files that the user may not read are reported, by one scan. Root may read everything, so it runs this as another user.
func TestUnreadableFiles(t *testing.T) {
	if dir := os.Getenv(unreadableVar); dir != "" {
		_, _, err := ScanFolder(context.Background(), dir, nil)
		fmt.Println(err)
		return
	}
	base := t.TempDir()
	dir := base + "/src"
	for _, name := range []string{"one", "two", "three"} {
		write(t, dir+"/"+name, name)
	}
	write(t, dir+"/closed/inside", "x")
	for name, mode := range map[string]os.FileMode{"one": 0, "three": 0, "closed": 0} {
		if err := os.Chmod(dir+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(dir+"/closed", 0o700) })
	var text string
	if os.Geteuid() == 0 {
		text = asNobody(t, base, "-test.run=^TestUnreadableFiles$", unreadableVar+"="+dir)
	} else {
		_, rep, err := ScanFolder(context.Background(), dir, nil)
		if text = fmt.Sprint(err); rep != nil {
			rep.Close()
		}
	}
	for _, want := range []string{"3 paths", "one: ", "three: ", "closed: ", "permission denied"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if strings.Contains(text, "two") {
		t.Errorf("readable file reported: %s", text)
	}
}

// asNobody runs a test of this program as another user.
func asNobody(t *testing.T, base, run, env string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	copied := base + "/tree.test"
	if err := os.WriteFile(copied, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := base; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text, err := runAs(65534, copied, run, env)
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return text
}

func runAs(uid uint32, exe, run, env string) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	p, err := os.StartProcess(exe, []string{exe, run}, &os.ProcAttr{
		Dir: "/", Env: append(os.Environ(), env), Files: []*os.File{nil, w, w},
		Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}},
	})
	w.Close()
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	_, werr := p.Wait()
	return string(b), errors.Join(err, werr)
}

func TestHostileNames(t *testing.T) {
	dir := winfile.AttrDirectory
	file := func(name string) *winfile.Entry {
		return &winfile.Entry{Name: name, Info: sampleInfo(1, winfile.AttrArchive)}
	}
	root := &winfile.Entry{Info: sampleInfo(0, dir), Children: []*winfile.Entry{
		file("good"), file(".."), file("."), file(""), file("../../escape"), file("/abs"), file("nul\x00"), file("twice"), file("twice"),
		file(strings.Repeat("中", 90)),
		{Name: "file with entries", Info: sampleInfo(2, winfile.AttrArchive), Children: []*winfile.Entry{file("below")}},
	}}
	base := t.TempDir()
	_, err := ApplyFolder(context.Background(), &winfile.Tree{Root: root}, base+"/out", nil)
	if err == nil {
		err = errors.New("none")
	}
	want := 8
	if strings.Contains(hostNameProblem(strings.Repeat("中", 90)), "255") {
		want = 9
	}
	if !strings.Contains(err.Error(), fmt.Sprintf("%d paths", want)) {
		t.Errorf("error %v, want %d paths", err, want)
	}
	if list, _ := os.ReadDir(base + "/out"); len(list) > 0 {
		t.Errorf("made %v before names were checked", list)
	}

	a := &applier{tree: &winfile.Tree{Root: &winfile.Entry{Info: sampleInfo(0, dir), Children: []*winfile.Entry{file("ÄB"), file("äb")}}},
		opts: new(ApplyOptions), host: applyHost{foldsCase: true}}
	if err := a.check(); err == nil || !strings.Contains(err.Error(), "the same name") {
		t.Errorf("names that differ in case on a host that ignores it: %v", err)
	}
}

// Symbolic links in the tree must not lead what is written elsewhere.
func TestLinksInTree(t *testing.T) {
	base := t.TempDir()
	write(t, base+"/victim/keep", "keep")
	to, err := symlinkReparse("../victim")
	if err != nil {
		t.Fatal(err)
	}
	link := sampleInfo(1, winfile.AttrReparse|winfile.AttrDirectory)
	link.Reparse = to
	inside := &winfile.Entry{Name: "keep", Info: sampleInfo(2, winfile.AttrArchive)}
	inside.Info.Data = winfile.NewBlob([]byte("overwritten"))
	for name, children := range map[string][]*winfile.Entry{
		"entries below a link": {{Name: "x", Info: link, Children: []*winfile.Entry{inside}}},
		"a link and a directory of one name": {{Name: "x", Info: link}, {Name: "x", Info: sampleInfo(3, winfile.AttrDirectory),
			Children: []*winfile.Entry{inside}}},
	} {
		root := &winfile.Entry{Info: sampleInfo(0, winfile.AttrDirectory), Children: children}
		if _, err := ApplyFolder(context.Background(), &winfile.Tree{Root: root}, base+"/out", nil); err == nil {
			t.Errorf("%s: applied", name)
		}
	}
	if b, err := os.ReadFile(base + "/victim/keep"); string(b) != "keep" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestApplyInto(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	write(t, dir+"/dir/mine", "mine")
	src := sampleTree(t)
	if _, err := ApplyFolder(ctx, src, dir, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a folder with entries: %v", err)
	}
	before, err := os.Stat(dir + "/dir")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(dir+"/dir", time.Now(), time.Unix(77, 0)); err != nil {
		t.Fatal(err)
	}
	rep, err := ApplyFolder(ctx, src, dir, &ApplyOptions{Into: true})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(dir + "/dir/mine"); string(b) != "mine" {
		t.Errorf("what was there: %q, %v", b, err)
	}
	if !slices.ContainsFunc(rep.Lost, func(l Loss) bool { return l.Kind == LostStream && l.List[0].Path == "dir:of a directory" }) {
		t.Errorf("the stream of a directory that was there is not reported: %v", rep.Lost)
	}
	if after, err := os.Stat(dir + "/dir"); err != nil || after.Mode() != before.Mode() {
		t.Errorf("%v, %v", after, err)
	}
	_, err = ApplyFolder(ctx, src, dir, &ApplyOptions{Into: true})
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "link2") {
		t.Errorf("into a folder that has the same files: %v", err)
	}
}

func TestApplyFullDisk(t *testing.T) {
	dir := mount(t, "tmpfs", "size=3m")
	src := sampleTree(t)
	rep, err := ApplyFolder(context.Background(), src, dir, &ApplyOptions{Workers: 1})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error %v, want no space", err)
	}
	for _, want := range []string{"shared2: ", dir, "are left there"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if rep.Dirs == 0 {
		t.Errorf("%+v", rep)
	}
}

func TestNothingToReadFrom(t *testing.T) {
	src := sampleTree(t)
	src.Lookup("file.txt").Info.Data = &winfile.Blob{Size: 4, SHA1: winfile.SHA1{1}}
	_, err := ApplyFolder(context.Background(), src, t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "file.txt") {
		t.Errorf("error %v, want one that names file.txt", err)
	}
	link := &winfile.Tree{Root: &winfile.Entry{Info: sampleInfo(1, winfile.AttrArchive)}}
	if _, err := ApplyFolder(context.Background(), link, t.TempDir(), nil); err == nil {
		t.Error("a tree whose root is a file was applied")
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	src := sampleTree(t)
	dir := t.TempDir()
	_, err := ApplyFolder(ctx, src, dir+"/out", nil)
	_, _, serr := ScanFolder(ctx, dir, nil)
	_, cerr := Compare(ctx, src, src, nil)
	for _, err := range []error{err, serr, cerr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want canceled", err)
		}
	}
}

func BenchmarkScanFolder(b *testing.B) {
	dir := b.TempDir()
	const names = 10000
	for n := range names {
		if n%100 == 0 {
			os.Mkdir(fmt.Sprintf("%s/%d", dir, n/100), 0o777)
		}
		write(b, fmt.Sprintf("%s/%d/%d", dir, n/100, n), "x")
	}
	for b.Loop() {
		_, rep, err := ScanFolder(context.Background(), dir, nil)
		if err != nil {
			b.Fatal(err)
		}
		rep.Close()
	}
	b.ReportMetric(float64(names)*float64(b.N)/b.Elapsed().Seconds(), "names/s")
}
