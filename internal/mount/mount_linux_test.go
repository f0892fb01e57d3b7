//go:build !386 && !arm && !mips && !mipsle

package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"husk/internal/reftool"
	"husk/internal/sample"
	"husk/internal/tree"
	"husk/ntfs"
	"husk/wim"
	"husk/winfile"
)

// mounted shows a tree at a new folder while do runs.
func mounted(t *testing.T, tr *winfile.Tree, streams Streams, own bool, do func(dir string, s *Server)) {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		reftool.Skip(t, "no FUSE here: %v", err)
	} else {
		f.Close()
	}
	dir := t.TempDir()
	s, err := Mount(dir, NewView(tr, streams, own), &Options{Source: "test", Warn: func(p string, err error) { t.Logf("%s: %v", p, err) }})
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			reftool.Skip(t, "mounting is not allowed here: %v", err)
		}
		t.Fatal(err)
	}
	defer func() {
		if err := Unmount(dir, true); err != nil && !strings.Contains(err.Error(), "not a mount of husk") {
			t.Error(err)
		}
		s.Wait()
	}()
	do(dir, s)
}

func sampleTree(t *testing.T, o sample.Options) *winfile.Tree {
	t.Helper()
	if o.Programs == 0 {
		o.Programs = 8
	}
	tr, err := sample.Tree(o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// asWIM writes a tree to a compressed WIM and returns that of the image.
func asWIM(t *testing.T, tr *winfile.Tree, codec wim.Codec) *winfile.Tree {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "a.wim"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := wim.Create(f, &wim.WriterOptions{Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddImage(context.Background(), tr, wim.ImageInfo{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := wim.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	out, err := r.Images()[0].Tree()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// asVolume builds an NTFS volume of a tree and returns what is read back.
func asVolume(t *testing.T, tr *winfile.Tree) *winfile.Tree {
	t.Helper()
	out, _ := volumeOf(t, tr)
	return out
}

// volumeOf is asVolume, and the file that the volume is in.
func volumeOf(t *testing.T, tr *winfile.Tree) (*winfile.Tree, string) {
	t.Helper()
	l, err := ntfs.NewLayout(tr, &ntfs.BuildOptions{Serial: 1})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "v.img"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := errors.Join(f.Truncate(l.Size()), l.Write(context.Background(), f)); err != nil {
		t.Fatal(err)
	}
	v, err := ntfs.NewReader(f, l.Size())
	if err != nil {
		t.Fatal(err)
	}
	out, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return out, f.Name()
}

// What is captured from a mount is the tree: names, links, contents, streams and all metadata.
func TestCaptureOfMountIsTheTree(t *testing.T) {
	for name, make := range map[string]func() (*winfile.Tree, bool){
		"wim":    func() (*winfile.Tree, bool) { return asWIM(t, sampleTree(t, sample.Options{}), wim.XPRESS), false },
		"volume": func() (*winfile.Tree, bool) { return asVolume(t, sampleTree(t, sample.Options{})), true },
		"blobs":  func() (*winfile.Tree, bool) { return sampleTree(t, sample.Options{Arch: "x86"}), false },
	} {
		t.Run(name, func(t *testing.T) {
			tr, own := make()
			mounted(t, tr, StreamsXattr, own, func(dir string, _ *Server) {
				got, report, err := tree.ScanFolder(context.Background(), dir, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer report.Close()
				if report.Warnings.Total > 0 {
					t.Error(report.Warnings.Error())
				}
				d, err := tree.Compare(context.Background(), tr, got, &tree.CompareOptions{ReadBoth: true})
				if err != nil {
					t.Fatal(err)
				}
				if d.Total > 0 || d.Paths < 300 {
					t.Errorf("%d differences in %d paths: %v", d.Total, d.Paths, d.List)
				}
			})
		})
	}
}

// Names of 255 units and with lone surrogates, 1500 links, streams over 64 KiB: what a capture cannot take is there all the same.
func TestExtremes(t *testing.T) {
	tr := asWIM(t, sampleTree(t, sample.Options{Extremes: true}), wim.XPRESS)
	mounted(t, tr, StreamsWindows, false, func(dir string, _ *Server) {
		files, streams := 0, 0
		for p, e := range tr.All() {
			name := filepath.Join(dir, p)
			if len(e.Name) > 255 {
				continue // no name for Linux
			}
			var st unix.Stat_t
			if err := unix.Lstat(name, &st); err != nil {
				t.Fatalf("%q: %v", p, err)
			}
			if e.Info.Attributes&winfile.AttrDirectory == 0 && int64(st.Nlink) != int64(e.Info.Links) {
				t.Errorf("%q: %d links, want %d", p, st.Nlink, e.Info.Links)
			}
			if e.Info.Reparse != nil || p == "." {
				continue
			}
			if e.Info.Data != nil {
				sameContent(t, name, e.Info.Data)
				files++
			}
			for _, s := range e.Info.Streams {
				if len(e.Name)+1+len(s.Name) <= 255 {
					sameContent(t, name+":"+s.Name, s.Data)
					streams++
				}
			}
		}
		if files < 100 || streams < 5 {
			t.Errorf("only %d files and %d streams", files, streams)
		}
	})
}

func sameContent(t *testing.T, name string, b *winfile.Blob) {
	t.Helper()
	want, err := b.ReadAll(1 << 26)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q: %d bytes, %v, want %d", name, len(got), err, len(want))
	}
}

// Names that no host has do not hide the others.
func TestHostileNames(t *testing.T) {
	root := dir("")
	for _, name := range []string{"good", "a/b", "..", ".", "", "x\x00y", strings.Repeat("n", 2000)} {
		root.Children = append(root.Children, entry(name, &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte("x"))}))
	}
	mounted(t, &winfile.Tree{Root: root}, StreamsXattr, false, func(dir string, _ *Server) {
		list, err := os.ReadDir(dir)
		if err != nil || len(list) != 1 || list[0].Name() != "good" {
			t.Errorf("%v, %v", list, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "good")); err != nil || string(b) != "x" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// Many readers at once, at any place, see what the blob has.
func TestConcurrentReadsAnywhere(t *testing.T) {
	big := make([]byte, 3<<20+123)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(big[:1<<20])
	copy(big[2<<20:], bytes.Repeat([]byte("husk "), 100000))
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	for i := range 5 {
		b := append([]byte{byte(i)}, big...)
		root.Children = append(root.Children, &winfile.Entry{Name: fmt.Sprint(i), Info: &winfile.Info{Links: 1, Data: winfile.NewBlob(b)}})
	}
	for name, tr := range map[string]*winfile.Tree{
		"xpress": asWIM(t, &winfile.Tree{Root: root}, wim.XPRESS), "volume": asVolume(t, &winfile.Tree{Root: root}), "replay": {Root: root},
	} {
		t.Run(name, func(t *testing.T) {
			mounted(t, tr, StreamsNone, false, func(dir string, _ *Server) {
				var wg sync.WaitGroup
				for k := range 8 {
					wg.Go(func() {
						i := k % 5
						f, err := os.Open(filepath.Join(dir, fmt.Sprint(i)))
						if err != nil {
							t.Error(err)
							return
						}
						defer f.Close()
						whole := append([]byte{byte(i)}, big...)
						rnd := rand.New(rand.NewPCG(uint64(k), 7))
						for range 60 {
							off := rnd.Int64N(int64(len(whole)) + 5000)
							p := make([]byte, 1+rnd.IntN(70000))
							n, err := f.ReadAt(p, off)
							want := whole[min(off, int64(len(whole))):min(off+int64(len(p)), int64(len(whole)))]
							if !bytes.Equal(p[:n], want) || err != nil && err != io.EOF || (n < len(p)) != (err == io.EOF) {
								t.Errorf("%d bytes at %d of file %d: %d bytes, %v", len(p), off, i, n, err)
								return
							}
						}
						if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, whole) {
							t.Errorf("file %d: %d bytes, %v", i, len(got), err)
						}
					})
				}
				wg.Wait()
			})
		})
	}
}

func TestNothingCanBeWritten(t *testing.T) {
	tr := sampleTree(t, sample.Options{})
	mounted(t, tr, StreamsXattr, false, func(dir string, s *Server) {
		f := filepath.Join(dir, "bootmgr")
		for what, err := range map[string]error{
			"write":  os.WriteFile(f, []byte("x"), 0o644),
			"create": os.WriteFile(filepath.Join(dir, "new"), nil, 0o644),
			"mkdir":  os.Mkdir(filepath.Join(dir, "d"), 0o755),
			"remove": os.Remove(f),
			"rename": os.Rename(f, f+"2"),
			"xattr":  unix.Setxattr(f, "user.x", []byte("1"), 0),
			"chmod":  os.Chmod(f, 0o777),
		} {
			if !errors.Is(err, syscall.EROFS) {
				t.Errorf("%s: %v, want a read-only file system", what, err)
			}
		}
		if _, err := os.Lstat(filepath.Join(dir, "no such file")); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		// While a file is open the mount stays, and says why.
		open, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := Unmount(dir, false); !errors.Is(err, ErrBusy) {
			t.Errorf("unmount with an open file: %v, want %v", err, ErrBusy)
		}
		if err := s.Unmount(); !errors.Is(err, ErrBusy) {
			t.Errorf("unmount with an open file: %v, want %v", err, ErrBusy)
		}
		open.Close()
		if err := s.Unmount(); err != nil {
			t.Error(err)
		}
	})
	if err := Unmount(t.TempDir(), false); err == nil || !strings.Contains(err.Error(), "not a mount of husk") {
		t.Errorf("unmount of a folder: %v", err)
	}
}

// A content that cannot be read is an error to who reads it, not to the mount.
func TestUnreadableContent(t *testing.T) {
	bad := &winfile.Entry{Name: "bad", Info: &winfile.Info{Links: 1, Data: &winfile.Blob{Size: 10}}}
	good := &winfile.Entry{Name: "good", Info: &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte("fine"))}}
	tr := &winfile.Tree{Root: &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}, Children: []*winfile.Entry{bad, good}}}
	mounted(t, tr, StreamsXattr, false, func(dir string, _ *Server) {
		if _, err := os.ReadFile(filepath.Join(dir, "bad")); !errors.Is(err, syscall.EIO) {
			t.Errorf("bad: %v, want an I/O error", err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "good")); err != nil || string(b) != "fine" {
			t.Errorf("good: %q, %v", b, err)
		}
	})
}

// Other programs see the same: wimlib captures a mount, getfattr reads metadata.
func TestOthersReadTheMount(t *testing.T) {
	tr := asVolume(t, sampleTree(t, sample.Options{}))
	mounted(t, tr, StreamsXattr, true, func(dir string, _ *Server) {
		out := filepath.Join(t.TempDir(), "w.wim")
		all := filepath.Join(t.TempDir(), "all.ini") // without one wimlib leaves out what Windows makes anew
		if err := os.WriteFile(all, []byte("[ExclusionList]\n\\no-such-file\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		reftool.Run(t, "wimlib-imagex", "capture", dir, out, "--compress=none", "--norpfix", "--config="+all)
		r, err := wim.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got, err := r.Images()[0].Tree()
		if err != nil {
			t.Fatal(err)
		}
		d, err := tree.Compare(context.Background(), tr, got, &tree.CompareOptions{
			// wimlib takes of a Linux folder what every Linux program sees.
			Ignore: ^(tree.DiffExistence | tree.DiffType | tree.DiffWritten | tree.DiffLinks | tree.DiffContent | tree.DiffRead),
		})
		if err != nil {
			t.Fatal(err)
		}
		if d.Total > 0 {
			t.Errorf("%d differences: %v", d.Total, d.List)
		}
		text := reftool.Run(t, "getfattr", "--absolute-names", "-e", "hex", "-n", "system.ntfs_attrib_be", filepath.Join(dir, "bootmgr"))
		if !strings.Contains(text, "system.ntfs_attrib_be=0x00000027") {
			t.Error(text)
		}
		text = reftool.Run(t, "getfattr", "--absolute-names", "-d", "-m", "-", filepath.Join(dir, "Users/张三/Downloads/安装程序.exe"))
		for _, want := range []string{"user.Zone.Identifier=0s", "user.empty=\"\"", "system.ntfs_acl=", "system.ntfs_times="} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s in\n%s", want, text)
			}
		}
	})
}

// ntfs-3g shows the same of the same volume: numbers, times, sizes, and every attribute, byte for byte.
func TestAsNTFS3G(t *testing.T) {
	tr, img := volumeOf(t, sampleTree(t, sample.Options{}))
	if os.Geteuid() != 0 {
		reftool.Skip(t, "only root can mount with ntfs-3g")
	}
	mounted(t, tr, StreamsXattr, true, func(dir string, _ *Server) {
		theirs := t.TempDir()
		reftool.Run(t, "ntfs-3g", "-o", "ro,streams_interface=xattr", img, theirs)
		defer reftool.Run(t, "fusermount", "-u", theirs)
		names, attrs := 0, 0
		for p, e := range tr.All() {
			a, b := filepath.Join(dir, p), filepath.Join(theirs, p)
			var x, y unix.Stat_t
			if err := errors.Join(unix.Lstat(a, &x), unix.Lstat(b, &y)); err != nil {
				t.Fatalf("%s: %v", p, err)
			}
			if x.Ino != y.Ino || x.Mtim != y.Mtim || x.Atim != y.Atim || x.Ctim != y.Ctim || x.Mode&unix.S_IFMT != y.Mode&unix.S_IFMT ||
				x.Mode&unix.S_IFMT == unix.S_IFREG && x.Size != y.Size {
				t.Errorf("%s: %+v\nntfs-3g %+v", p, x, y)
			}
			list := []string{"system.ntfs_attrib", "system.ntfs_attrib_be", "system.ntfs_times", "system.ntfs_times_be", "system.ntfs_crtime",
				"system.ntfs_crtime_be", "system.ntfs_acl", "system.ntfs_reparse_data", "system.ntfs_object_id", "system.ntfs_ea"}
			if e.Info.Links == 1 && e.ShortName != "" {
				list = append(list, "system.ntfs_dos_name") // ntfs-3g makes one of a name that is both, and tells none of a file with several names
			}
			for _, s := range e.Info.Streams {
				list = append(list, "user."+s.Name)
			}
			for _, name := range list {
				u, v := make([]byte, maxXattrValue), make([]byte, maxXattrValue)
				n, err := unix.Lgetxattr(a, name, u)
				m, theirErr := unix.Lgetxattr(b, name, v)
				if name == "system.ntfs_object_id" && n == 16 && m == 64 {
					m = 16 // ntfs-3g fills up with zeros
				}
				if errors.Is(err, unix.ENODATA) && (errors.Is(theirErr, unix.EOPNOTSUPP) || errors.Is(theirErr, unix.EINVAL)) {
					continue
				}
				if err != theirErr || err == nil && !bytes.Equal(u[:n], v[:m]) {
					t.Errorf("%s: %s is %x, %v\nntfs-3g has %x, %v", p, name, u[:max(n, 0)], err, v[:max(m, 0)], theirErr)
				}
				if err == nil {
					attrs++
				}
			}
			names++
		}
		if names < 300 || attrs < 2000 {
			t.Errorf("only %d names and %d attributes", names, attrs)
		}
	})
}
