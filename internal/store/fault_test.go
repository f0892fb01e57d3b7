package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/internal/atomicfile"
	"husk/winfile"
)

var errFault = errors.New("input/output error made by the test")

// faultyFiles fails at one operation on the disk, or dies there: then nothing happens any more, as after kill -9.
type faultyFiles struct {
	at     int  // the number of the operation that fails
	dies   bool // and all after it do
	half   bool // a write that fails has written its first half
	count  int
	failed bool
	halved bool
}

// step counts an operation.
func (f *faultyFiles) step() error {
	if f.failed && f.dies {
		return errFault
	}
	f.count++
	if f.count == f.at {
		f.failed = true
		return errFault
	}
	return nil
}

func (f *faultyFiles) dead() bool { return f.failed && f.dies }

func (f *faultyFiles) Create(target string, replace bool) (newFile, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	n, err := atomicfile.Create(target, replace)
	if err != nil {
		return nil, err
	}
	return &faultyFile{n, n, f}, nil
}

func (f *faultyFiles) Change(name string) (changedFile, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	n, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &faultyFile{target: n, files: f}, nil
}

func (f *faultyFiles) Remove(name string) error {
	if err := f.step(); err != nil {
		return err
	}
	return os.Remove(name)
}

// faultyFile is a file on such a disk.
type faultyFile struct {
	target interface {
		changedFile
		Seek(int64, int) (int64, error)
		Name() string
	}
	made  *atomicfile.File // nil for a file that is changed in place
	files *faultyFiles
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) { return f.target.ReadAt(p, off) }
func (f *faultyFile) Seek(offset int64, whence int) (int64, error) {
	return f.target.Seek(offset, whence)
}
func (f *faultyFile) Name() string { return f.target.Name() }
func (f *faultyFile) Close() error { return f.target.Close() }

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.files.step(); err != nil {
		n := 0
		if f.files.half && !f.files.halved {
			f.files.halved = true
			n, _ = f.target.WriteAt(p[:len(p)/2], off)
		}
		return n, err
	}
	return f.target.WriteAt(p, off)
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.files.step(); err != nil {
		return err
	}
	return f.target.Truncate(size)
}

func (f *faultyFile) Sync() error {
	if err := f.files.step(); err != nil {
		return err
	}
	return nil // the page cache is all that a test of processes that die needs
}

func (f *faultyFile) Commit() error {
	if err := f.files.step(); err != nil {
		return err
	}
	return f.made.Commit()
}

func (f *faultyFile) Abort() {
	if f.files.dead() {
		f.target.Close() // as the end of the process does
		return
	}
	f.made.Abort()
}

// tinySystem is a folder of a few files, so that a test can do hundreds of points of it.
func tinySystem(t *testing.T, dir string, version int) {
	t.Helper()
	for i := range 6 {
		name := filepath.Join(dir, "Windows", fmt.Sprintf("file%d.txt", i))
		text := strings.Repeat(fmt.Sprintf("content %d ", i), 1000)
		if i < version {
			text = strings.Repeat(fmt.Sprintf("version %d of %d ", version, i), 900)
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// faultStore is a store with three points of a tiny system, and a disk of the second.
func faultStore(t *testing.T) (dir, src string) {
	t.Helper()
	s := newStore(t)
	src = filepath.Join(t.TempDir(), "src")
	for v := range 3 {
		tinySystem(t, src, v)
		add(t, s, src, AddOptions{System: "x64", Name: fmt.Sprint("v", v)})
	}
	makeDisk(t, s, "x64@v1", "x64/tiny.vhd")
	tinySystem(t, src, 4)
	if err := s.Unlock(); err != nil {
		t.Fatal(err)
	}
	return s.Dir, src
}

// copyStore copies the files of a store.
func copyStore(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "wimboot")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// digests are the contents of the points of a store, all of which are read and compared with their SHA-1. Its disk finds what it points to.
func digests(t *testing.T, dir string) map[string]winfile.SHA1 {
	t.Helper()
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if r := mustCheck(t, s); r.Disks != 1 || strings.Contains(strings.Join(r.Notes, " "), "no layer of this store") { // all that it points to is there
		t.Errorf("%d disks, %q", r.Disks, r.Notes)
	}
	m := make(map[string]winfile.SHA1)
	for _, p := range s.Points() {
		m[p.String()] = p.Image.MetadataSHA1()
	}
	return m
}

// TestFaults lets every operation on the disk fail, and the process die at each, in every command that changes a store. The store then is as
// before or as after, all of it verifies, the disk of pointers reads, and the command can be repeated.
func TestFaults(t *testing.T) {
	ctx := context.Background()
	start, src := faultStore(t)
	before := digests(t, start)
	for _, c := range []struct {
		name  string
		do    func(s *Store) error
		after []string
	}{
		{"add", func(s *Store) error {
			if p := s.find("x64@v4"); p != nil {
				return nil
			}
			_, err := s.AddPoint(ctx, src, &AddOptions{System: "x64", Name: "v4"})
			return err
		}, []string{"x64@v0", "x64@v1", "x64@v2", "x64@v4"}},
		{"rename", func(s *Store) error {
			p := s.find("x64@v1")
			if p == nil {
				return nil
			}
			return s.Rename(p, "", "renamed", nil)
		}, []string{"x64@renamed", "x64@v0", "x64@v2"}},
		{"prune", func(s *Store) error {
			_, drop := (&Keep{Last: 1}).Split(s.Points())
			if err := s.Drop(drop...); err != nil {
				return err
			}
			_, err := s.Sweep(ctx)
			return err
		}, []string{"x64@v2"}},
		{"merge", func(s *Store) error {
			_, err := s.Merge(ctx, &MergeOptions{})
			return err
		}, []string{"x64@v0", "x64@v1", "x64@v2"}},
		{"merge and repoint", func(s *Store) error {
			r, err := s.Merge(ctx, &MergeOptions{Repoint: true})
			if r != nil {
				for _, d := range r.Repoint {
					err = errors.Join(err, d.Err)
				}
			}
			return err
		}, []string{"x64@v0", "x64@v1", "x64@v2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps := 0
			for _, mode := range []faultyFiles{{}, {dies: true, half: true}} {
				for n := 1; ; n++ {
					dir := copyStore(t, start)
					f := mode
					f.at = n
					failed := change(t, dir, &f, c.do)
					if !f.failed {
						if failed != nil {
							t.Fatal(failed)
						}
						break
					}
					steps++
					what := fmt.Sprintf("operation %d, %+v", n, mode)
					if failed == nil && !strings.Contains(c.name, "prune") {
						t.Errorf("%s: no error", what)
					}
					for name, sum := range digests(t, dir) {
						if old, ok := before[name]; ok && old != sum {
							t.Errorf("%s: %s is another", what, name)
						}
						if !slices.Contains(c.after, name) && before[name] == (winfile.SHA1{}) {
							t.Errorf("%s: there is a point %s", what, name)
						}
					}
					if err := change(t, dir, hostFiles{}, c.do); err != nil {
						t.Errorf("%s: repeated: %v", what, err)
					}
					names := []string{}
					for name := range digests(t, dir) {
						names = append(names, name)
					}
					slices.Sort(names)
					if !slices.Equal(names, c.after) {
						t.Errorf("%s: repeated, the points are %q, want %q", what, names, c.after)
					}
					leftovers(t, dir, what)
					if t.Failed() {
						t.FailNow()
					}
				}
			}
			if steps < 16 {
				t.Errorf("%d operations failed, want more: the test does not reach them", steps)
			}
		})
	}
}

// change runs a command on the store.
func change(t *testing.T, dir string, f files, do func(*Store) error) error {
	t.Helper()
	s, err := Open(dir, &OpenOptions{UI: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	s.files = f
	if err := s.Lock(context.Background(), &LockOptions{NoWait: true}); err != nil {
		t.Fatal(err)
	}
	err = do(s)
	if closed := s.Close(); closed != nil {
		t.Error(closed)
	}
	return err
}

// readDisk reads the disk of pointers through its layers.
func readDisk(t *testing.T, dir, what string) {
	t.Helper()
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	disk := filepath.Join(dir, "x64", "tiny.vhd")
	u := s.Use(context.Background(), &Disk{Path: disk})
	if u.Err != nil || len(u.Foreign) > 0 || len(u.Holder) == 0 {
		t.Fatalf("%s: the disk points into %v and elsewhere %v, %v", what, u.Layers, u.Foreign, u.Err)
	}
	for h, l := range u.Holder {
		if _, ok := l.WIM.Lookup(h); !ok {
			t.Errorf("%s: %s has no %s, which the disk points to", what, l.File, h)
		}
	}
}

// leftovers finds what nothing cleans up.
func leftovers(t *testing.T, dir, what string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+atomicfile.TempMark+"*"))
	if err != nil || len(names) > 0 {
		t.Errorf("%s: %q are left over, %v", what, names, err)
	}
}
