//go:build !386 && !arm && !mips && !mipsle

package mount

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"husk/internal/reftool"
	"husk/internal/tree"
	"husk/wim"
	"husk/winfile"
)

// changeable makes a WIM of a folder and mounts its image for changes.
func changeable(t *testing.T, folder string, streams Streams, withUnix bool) (name, dir string, image *Image, s *Server) {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		reftool.Skip(t, "no FUSE here: %v", err)
	} else {
		f.Close()
	}
	tr, report, err := tree.ScanFolder(t.Context(), folder, &tree.ScanOptions{Normal: true, Unix: withUnix})
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	name = filepath.Join(t.TempDir(), "a.wim")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := wim.Create(f, &wim.WriterOptions{Codec: wim.XPRESS})
	if err == nil {
		err = w.AddImage(t.Context(), tr, wim.ImageInfo{Name: "one"})
	}
	if err == nil {
		err = w.Close()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	image, s = mountChanges(t, name, dir, streams, withUnix)
	return name, dir, image, s
}

func mountChanges(t *testing.T, name, dir string, streams Streams, withUnix bool) (*Image, *Server) {
	t.Helper()
	image, err := OpenImage(name, "1")
	if err != nil {
		t.Fatal(err)
	}
	o := NewOverlay(image.Tree, streams, withUnix, t.TempDir())
	s, err := MountOverlay(dir, o, func(tr *winfile.Tree, c *CommitOptions) error { return image.Commit(context.Background(), tr, c) }, &Options{
		Source: "test", Warn: func(p string, err error) { t.Logf("%s: %v", p, err) },
	})
	if err != nil {
		image.Close()
		if errors.Is(err, unix.EPERM) {
			reftool.Skip(t, "mounting is not allowed here: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unmount(dir, true); err != nil && !strings.Contains(err.Error(), "not a mount of husk") {
			t.Error(err)
		}
		s.Wait()
		image.Close()
	})
	return image, s
}

// unmounted ends a mount and lets its WIM go.
func unmounted(t *testing.T, dir string, image *Image, s *Server) {
	t.Helper()
	if err := Unmount(dir, false); err != nil {
		t.Fatal(err)
	}
	s.Wait()
	image.Close()
}

// randomChange does one thing to a folder: what r says. Both folders of a test get the same r.
func randomChange(dir string, r *rand.Rand) error {
	var files, dirs []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			dirs = append(dirs, p)
		default:
			files = append(files, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(files)
	slices.Sort(dirs)
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	fresh := filepath.Join(pick(dirs), fmt.Sprintf("n%d", r.IntN(60)))
	content := bytes.Repeat([]byte{byte('a' + r.IntN(26))}, r.IntN(9000))
	if len(files) == 0 {
		return os.WriteFile(fresh, content, 0o644)
	}
	file := pick(files)
	regular := func() bool {
		st, err := os.Lstat(file)
		return err == nil && st.Mode().IsRegular()
	}()
	switch r.IntN(12) {
	case 0, 1:
		return os.WriteFile(fresh, content, 0o644)
	case 2:
		return os.Mkdir(fresh, 0o755)
	case 3:
		return os.Remove(file)
	case 4:
		return os.Rename(file, fresh)
	case 5:
		if len(dirs) > 1 {
			return os.Rename(pick(dirs[1:]), fresh)
		}
	case 6:
		return os.Link(file, fresh)
	case 7:
		return os.Symlink([]string{"a/b", "../x", "nothing"}[r.IntN(3)], fresh)
	case 8:
		if len(dirs) > 1 {
			return os.RemoveAll(pick(dirs[1:]))
		}
	case 9:
		if n := r.Int64N(20000); regular {
			return os.Truncate(file, n)
		}
	case 10:
		if !regular {
			return nil
		}
		f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND*r.IntN(2), 0)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		return errors.Join(err, f.Close())
	case 11:
		if !regular {
			return nil
		}
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(content, r.Int64N(12000))
		return errors.Join(err, f.Close())
	}
	return nil
}

// listing is everything of a folder that a POSIX file system and a WIM both keep: names, contents, links, targets.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	first := make(map[uint64]string)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, st := strings.TrimPrefix(p, dir), new(syscall.Stat_t)
		if err := syscall.Lstat(p, st); err != nil {
			return err
		}
		switch {
		case d.IsDir():
			fmt.Fprintf(&b, "%s/\n", rel)
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			fmt.Fprintf(&b, "%s -> %s\n", rel, to)
			return err
		default:
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if _, ok := first[st.Ino]; !ok {
				first[st.Ino] = rel
			}
			fmt.Fprintf(&b, "%s = %s, %d links, %d bytes, %x\n", rel, first[st.Ino], st.Nlink, len(content), sha1.Sum(content))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestChangesLikeAFolder does the same to a mounted image and to a folder: calls fail alike, and both show the same; after the commit, the
// WIM has it, as wimlib finds too. The image is mounted again in between.
func TestChangesLikeAFolder(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			like := t.TempDir()
			for _, name := range []string{"a/b/c", "a/d", "e"} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(like, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(like, name), bytes.Repeat([]byte(name), 3000), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			name, dir, image, s := changeable(t, like, StreamsXattr, false)
			for round := range 3 {
				for step := range uint64(60) {
					mix := seed*1000 + uint64(round)*100 + step
					want := randomChange(like, rand.New(rand.NewPCG(mix, 1)))
					got := randomChange(dir, rand.New(rand.NewPCG(mix, 1)))
					if (want == nil) != (got == nil) || want != nil && !sameErrno(want, got) {
						t.Fatalf("step %d: %v in the mount, %v in the folder", mix, got, want)
					}
				}
				if got, want := listing(t, dir), listing(t, like); got != want {
					t.Fatalf("round %d: the mount has not what the folder has:\n%s", round, cmp.Diff(want, got))
				}
				if err := RequestCommit(dir, &CommitOptions{Check: round == 1, Rebuild: round == 2}); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "late"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
					t.Errorf("after the commit: %v", err)
				}
				unmounted(t, dir, image, s)
				out := filepath.Join(t.TempDir(), "out")
				reftool.Run(t, "wimlib-imagex", "verify", name)
				reftool.Run(t, "wimlib-imagex", "apply", name, "1", out, "--norpfix")
				if got, want := listing(t, out), listing(t, like); got != want {
					t.Fatalf("round %d: wimlib applies something else:\n%s", round, cmp.Diff(want, got))
				}
				image, s = mountChanges(t, name, dir, StreamsXattr, false)
			}
		})
	}
}

func sameErrno(a, b error) bool {
	var x, y syscall.Errno
	return errors.As(a, &x) && errors.As(b, &y) && x == y
}

// TestChangedStreams writes named streams through both interfaces, owners and devices, and finds them in the WIM.
func TestChangedStreams(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "f"), []byte("data"), 0o640); err != nil {
		t.Fatal(err)
	}
	name, dir, image, s := changeable(t, folder, StreamsWindows, true)
	f := filepath.Join(dir, "f")
	if err := os.WriteFile(f+":ads", []byte("stream"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(f + ":ADS"); err != nil || string(b) != "stream" {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.WriteFile(f+":gone", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f + ":gone"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(f, 0o604); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(f, 12, 34); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if writable, changed := State(dir); !writable || !changed {
		t.Errorf("state %t, %t", writable, changed)
	}
	open, err := os.OpenFile(f, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := RequestCommit(dir, &CommitOptions{}); !errors.Is(err, ErrBusy) {
		t.Errorf("with a file open for writing: %v", err)
	}
	open.Close()
	if err := waitFor(func() error { return RequestCommit(dir, &CommitOptions{NewImage: true}) }); err != nil {
		t.Fatal(err)
	}
	unmounted(t, dir, image, s)
	out := reftool.Run(t, "wimlib-imagex", "dir", name, "2", "--detailed")
	for _, want := range []string{"mode:0100604", "mode:010600", `Named data stream "ads"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "gone") || os.Geteuid() == 0 && !strings.Contains(out, "uid:12 gid:34") {
		t.Errorf("%s", out)
	}
	if old := reftool.Run(t, "wimlib-imagex", "dir", name, "1", "--detailed"); strings.Contains(old, "pipe") || !strings.Contains(old, "mode:0100640") {
		t.Errorf("the old image changed: %s", old)
	}

	image, s = mountChanges(t, name, dir, StreamsXattr, false)
	if err := unix.Setxattr(f, "user.named", []byte("by xattr"), 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(f, "user.named", []byte("x"), unix.XATTR_CREATE); err != unix.EEXIST {
		t.Errorf("again: %v", err)
	}
	if err := unix.Setxattr(f, "system.ntfs_attrib", []byte{6, 0, 0, 0}, 0); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(f, 0o600); !errors.Is(err, syscall.EPERM) {
		t.Errorf("chmod: %v", err)
	}
	if err := RequestCommit(dir, &CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	unmounted(t, dir, image, s)
	if out := reftool.Run(t, "wimlib-imagex", "dir", name, "1", "--detailed"); !strings.Contains(out, `stream "named"`) || !strings.Contains(out, "ATTRIBUTE_SYSTEM") {
		t.Errorf("%s", out)
	}
}

// waitFor tries again for a moment: the kernel tells of closed files when it likes.
func waitFor(do func() error) (err error) {
	for range 100 {
		if err = do(); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}
