package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/internal/deploy"
	"husk/internal/filelock"
	"husk/internal/reftool"
	"husk/internal/sample"
	"husk/internal/source"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/internal/verify"
	"husk/winfile"
	"husk/wof"
)

func quiet() *ui.UI { return ui.New(strings.NewReader(""), io.Discard, io.Discard, "en") }

// systemFolder is a small Windows system in a folder.
func systemFolder(t *testing.T, arch string) string {
	t.Helper()
	tr, err := sample.Tree(sample.Options{Arch: arch, Programs: 12})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), arch)
	if _, err := tree.ApplyFolder(context.Background(), tr, dir, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newStore is an empty store that is locked.
func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Create(filepath.Join(t.TempDir(), "wimboot"), &CreateOptions{UI: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Lock(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func add(t *testing.T, s *Store, src string, o AddOptions) *AddResult {
	t.Helper()
	r, err := s.AddPoint(context.Background(), src, &o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// patch changes a few files of a folder, and makes and removes some.
func patch(t *testing.T, dir string, n int) {
	t.Helper()
	for name, text := range map[string]string{
		"Windows/System32/patched.dll": strings.Repeat("patched ", 1000*n),
		"Windows/win.ini":              "; changed " + strings.Repeat("x", n),
		"new file.txt":                 "new " + strings.Repeat("y", n),
	} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// samePoint compares a point with a folder, contents and all.
func samePoint(t *testing.T, s *Store, spec, dir string) {
	t.Helper()
	samePointBut(t, s, spec, dir, 0)
}

// samePointBut leaves some differences out.
func samePointBut(t *testing.T, s *Store, spec, dir string, ignore tree.Kind) {
	t.Helper()
	p, err := s.Point(spec)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Source(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, spec, in.Tree, dir, ignore)
}

func sameTree(t *testing.T, what string, got *winfile.Tree, dir string, ignore tree.Kind) {
	t.Helper()
	excluded := map[string]bool{"hiberfil.sys": true, "pagefile.sys": true, "System Volume Information": true, "swapfile.sys": true}
	exclude := func(path string, _ bool) bool {
		return excluded[path] || strings.HasPrefix(path, "$Recycle.Bin") || strings.HasPrefix(path, "Windows/CSC")
	}
	want, report, err := tree.ScanFolder(context.Background(), dir, &tree.ScanOptions{Exclude: exclude, RPFix: true})
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	got, _ = tree.Filter(got, exclude)
	diff, err := tree.Compare(context.Background(), got, want, &tree.CompareOptions{
		ReadBoth: true, DefaultSecurity: true, Ignore: tree.DiffChanged | tree.DiffAccessed | ignore, Limit: 5, IgnoreAttributes: winfile.AttrCompressed | winfile.AttrNormal,
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff.Total > 0 {
		t.Errorf("%s: %d differences: %v", what, diff.Total, diff.List)
	}
}

func mustCheck(t *testing.T, s *Store) *CheckResult {
	t.Helper()
	r, err := s.Check(context.Background(), &CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Problems) > 0 {
		t.Fatalf("the store has problems: %q", r.Problems)
	}
	return r
}

// copyDir makes a second folder with the same files.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	tr, report, err := tree.ScanFolder(context.Background(), from, &tree.ScanOptions{RPFix: true})
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	to := filepath.Join(t.TempDir(), "copy")
	if _, err := tree.ApplyFolder(context.Background(), tr, to, nil); err != nil {
		t.Fatal(err)
	}
	return to
}

// makeDisk makes a disk of pointer files from a point, in a folder of the store.
func makeDisk(t *testing.T, s *Store, spec, name string) string {
	t.Helper()
	p, err := s.Point(spec)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Source(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = deploy.Make(context.Background(), in, path, &deploy.Options{
		UI: quiet(), Check: true, Wimboot: &deploy.Wimboot{Location: wof.NewMBRLocation(0x1a2b3c4d, 1<<20, `\wimboot\`+p.Layer.File)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLife goes the whole way: two systems, points, disks of several layers, drop, sweep, merge, and everything compared with its folder.
func TestLife(t *testing.T) {
	ctx := context.Background()
	x64, x86 := systemFolder(t, "x64"), systemFolder(t, "x86")
	s := newStore(t)
	day := time.Date(2026, 5, 1, 12, 0, 0, 0, time.Local)
	first := add(t, s, x64, AddOptions{System: "x64", Name: "installed", Note: "第一", Date: day})
	other := add(t, s, x86, AddOptions{System: "x86", Date: day.AddDate(0, 0, 1)})
	if other.StoredBytes >= first.StoredBytes {
		t.Errorf("the second system took %d bytes, the first %d: nothing is shared", other.StoredBytes, first.StoredBytes)
	}
	before := copyDir(t, x64)
	patch(t, x64, 1)
	again := add(t, s, x64, AddOptions{System: "x64", Name: "patched", Date: day.AddDate(0, 1, 0)})
	if again.NewBlobs != 3 {
		t.Errorf("the patch took %d new contents, want 3", again.NewBlobs)
	}
	if len(s.Layers()) != 3 || len(s.Points()) != 3 {
		t.Fatalf("%d layers, %d points, want 3 and 3", len(s.Layers()), len(s.Points()))
	}
	samePoint(t, s, "x64@installed", before)
	samePoint(t, s, "x64", x64)
	samePoint(t, s, "x86@2026-05-02", x86)
	for spec, want := range map[string]string{
		"x64": "x64@patched", "x64@latest": "x64@patched", "x64~1": "x64@installed", "x64~0": "x64@patched", "patched": "x64@patched", "X64@2026-05": "x64@installed",
		"x64@2026-05-20": "x64@installed", "x64@2026-06-01": "x64@patched", "x86": "x86@" + day.AddDate(0, 0, 1).Local().Format(nameLayout), s.Points()[0].ID[:6]: "x64@installed",
	} {
		if p, err := s.Point(spec); err != nil || p.String() != want {
			t.Errorf("%q is %v, %v, want %s", spec, p, err, want)
		}
	}
	for _, spec := range []string{"", "x64~2", "x64@", "nothing", "x64@2020-01-01", "~x", "@", "ia64~0"} {
		if p, err := s.Point(spec); err == nil {
			t.Errorf("%q is %s", spec, p)
		}
	}
	mustCheck(t, s)
	reftool.Run(t, "wimlib-imagex", "verify", filepath.Join(s.Dir, "wimboot.wim"))
	reftool.Run(t, "wimlib-imagex", "verify", s.Layers()[2].Path, "--ref="+s.Layers()[0].Path, "--ref="+s.Layers()[1].Path)

	// A disk whose files point into three layers.
	disk := makeDisk(t, s, "x64", "x64/win7.vhd")
	use := s.Use(ctx, s.Disks()[0])
	if use.Err != nil || len(use.Layers) < 2 || use.System != "x64" || len(use.Foreign) > 0 {
		t.Fatalf("the disk uses %v, of system %q, %v", use.Layers, use.System, use.Err)
	}
	sameDisk(t, disk, x64)

	// A point of the disk itself costs nothing.
	nothing := add(t, s, disk, AddOptions{System: "X64", Name: "same", Date: day.AddDate(0, 2, 0)})
	if nothing.NewBlobs > 3 || nothing.Pointers == 0 { // WimOverlay.dat is not captured; a hive's log may be
		t.Errorf("a point of an unchanged disk took %d contents, with %d pointers", nothing.NewBlobs, nothing.Pointers)
	}
	samePoint(t, s, "x64@same", x64)

	// The sizes add up.
	z, err := s.Sizes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var stored int64
	for _, l := range z.Layers {
		stored += l.Needed.Stored
	}
	if stored != z.All.Stored || z.Unused.Stored != 0 || z.Systems[0].Shared != z.Systems[1].Shared || z.Systems[0].Shared.Blobs == 0 {
		t.Errorf("layers have %d needed bytes of %d, %+v unused, systems %+v", stored, z.All.Stored, z.Unused, z.Systems)
	}

	// Rename and drop; the catalogue can be lost.
	p, _ := s.Point("x64@patched")
	note := "Patch Tuesday"
	if err := s.Rename(p, "", "june", &note); err != nil {
		t.Fatal(err)
	}
	p, err = s.Point("x64@installed")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(p); err != nil {
		t.Fatal(err)
	}
	listed, err := os.ReadFile(filepath.Join(s.Dir, CatalogueName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Dir, CatalogueName)); err != nil {
		t.Fatal(err)
	}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if err := s.Rebuild(ctx); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(s.Dir, CatalogueName)); err != nil || !bytes.Equal(b, listed) {
		t.Errorf("rebuilt, %v:\n%s\nwas\n%s", err, b, listed)
	}
	if p, err = s.Point("x64@june"); err != nil || p.Note != note || !p.Date.Equal(day.AddDate(0, 1, 0)) {
		t.Fatalf("%+v, %v", p, err)
	}
	sameDisk(t, disk, x64)

	// Merge: the disk keeps the old layers alive, until it is re-pointed.
	m, err := s.Merge(ctx, &MergeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Points != 3 || len(m.Layers) != 4 || len(m.Swept.Kept) == 0 || m.New == "" {
		t.Errorf("merged %+v, swept %+v", m, m.Swept)
	}
	mustCheck(t, s)
	sameDisk(t, disk, x64)
	samePoint(t, s, "x64@june", x64)
	samePoint(t, s, "x86", x86)
	m, err = s.Merge(ctx, &MergeOptions{Repoint: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Repoint) != 1 || m.Repoint[0].Err != nil || m.Repoint[0].Files == 0 || len(s.Layers()) != 1 {
		t.Errorf("re-pointed %+v; %d layers are left", m.Repoint, len(s.Layers()))
	}
	mustCheck(t, s)
	sameDisk(t, disk, x64)
	samePoint(t, s, "x64@june", x64)
	samePoint(t, s, "x86", x86)
	reftool.Run(t, "wimlib-imagex", "verify", s.Layers()[0].Path)
	if b, err := os.ReadFile(filepath.Join(s.Dir, CatalogueName)); err != nil || strings.Contains(string(b), "wimboot.wim") {
		t.Errorf("%v: husk.toml still lists the old layer:\n%s", err, b)
	}
}

// sameDisk reads a disk through its pointers.
func sameDisk(t *testing.T, disk, dir string) {
	t.Helper()
	in, err := source.Open(context.Background(), disk, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if in.Links == nil {
		t.Fatalf("%s has no pointer files", disk)
	}
	sameTree(t, disk, in.Tree, dir, 0)
	r, err := verify.Run(context.Background(), disk, &verify.Options{UI: quiet()})
	if err != nil || len(r.Problems) > 0 {
		t.Errorf("%s: %v, %q", disk, err, r.Problems)
	}
}

func TestLock(t *testing.T) {
	s := newStore(t)
	other, err := Open(s.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = other.Lock(context.Background(), &LockOptions{NoWait: true})
	var locked *LockedError
	if !errors.As(err, &locked) || !errors.Is(err, filelock.ErrLocked) || locked.Holder == nil || locked.Holder.PID != os.Getpid() {
		t.Fatalf("the second lock: %v", err)
	}
	told := false
	done := make(chan error)
	go func() {
		done <- other.Lock(context.Background(), &LockOptions{Waiting: func(*LockedError) { told = true; s.Unlock() }})
	}()
	if err := <-done; err != nil || !told {
		t.Errorf("waited: %v, told %t", err, told)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
	defer cancel()
	if err := s.Lock(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited in vain: %v", err)
	}
}
