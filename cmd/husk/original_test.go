package main

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"husk/internal/disk"
	"husk/pe/petest"
)

// Commands of the script that lives the original post: what Windows Update does to a system is done by ntfs-3g, and what comes out is
// compared by walks that share no code with husk.

// patches is "patches MONTH DIR|DISK": a month of patches is written to the system in a folder or, through ntfs-3g, to the one on a disk.
func patches(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: patches MONTH DIR|DISK")
	}
	month, err := strconv.Atoi(args[0])
	ts.Check(err)
	throughNTFS3G(ts, ts.MkAbs(args[1]), true, func(dir string) { ts.Check(patch(dir, month)) })
}

// patch replaces, adds, links and removes files as an update of Windows does, the same for every month and system.
func patch(root string, month int) error {
	system32 := filepath.Join(root, "Windows", "System32")
	entries, err := os.ReadDir(system32)
	if err != nil {
		return err
	}
	var programs []string
	for _, e := range entries {
		name := strings.ToLower(e.Name())
		if !e.IsDir() && strings.HasSuffix(name, ".dll") && !strings.HasPrefix(name, "kernel") {
			programs = append(programs, e.Name())
		}
	}
	slices.Sort(programs)
	if len(programs) < 5 {
		return fmt.Errorf("%s: %d programs", system32, len(programs))
	}
	component := filepath.Join(root, "Windows", "WinSxS", fmt.Sprintf("amd64_update_%d", month))
	if err := os.MkdirAll(component, 0o755); err != nil {
		return err
	}
	content := func(name string) []byte {
		return bytes.Repeat(fmt.Appendf(nil, "%s of month %d; ", name, month), 3000+len(name))
	}
	for i, name := range programs[:3] { // a new component, and its files in the place of the old ones
		b := append(petest.Build([]string{"kernel32.dll"}, [4]uint16{6, 1, uint16(month), uint16(i)}), content(name)...)
		if err := os.WriteFile(filepath.Join(component, name), b, 0o644); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(system32, name)); err != nil {
			return err
		}
		if err := os.Link(filepath.Join(component, name), filepath.Join(system32, name)); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(system32, programs[4])); err != nil {
		return err
	}
	letters := filepath.Join(root, "Users", "张三", "信")
	if err := os.MkdirAll(letters, 0o755); err != nil {
		return err
	}
	for i := range 40 {
		name := fmt.Sprintf("第%d封.txt", i+40*month)
		if err := os.WriteFile(filepath.Join(letters, name), content(name)[:1000*(i+1)], 0o644); err != nil {
			return err
		}
	}
	log := filepath.Join(root, "Windows", "update.log")
	if err := os.Remove(log); err != nil && !errors.Is(err, fs.ErrNotExist) { // ntfs-3g would write behind a pointer
		return err
	}
	return os.WriteFile(log, content("update.log"), 0o644)
}

// equal is "equal DIR DIR|DISK": the files in two systems have the same names and contents. The one on a disk, which must be plain, is read
// through ntfs-3g.
func equal(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: equal DIR DIR|DISK")
	}
	want, err := contents(ts.MkAbs(args[0]))
	ts.Check(err)
	throughNTFS3G(ts, ts.MkAbs(args[1]), false, func(dir string) {
		got, err := contents(dir)
		ts.Check(err)
		differ := 0
		for name, sum := range want {
			if got[name] != sum {
				differ++
				ts.Logf("%s: %q, want %q", name, got[name], sum)
			}
			delete(got, name)
		}
		for name := range got {
			differ++
			ts.Logf("%s is too much", name)
		}
		if (differ > 0) != neg {
			ts.Fatalf("%d of %d files differ", differ, len(want))
		}
		ts.Logf("%d files compared", len(want))
	})
}

// contents returns the SHA-1 of each file in a system but for those that belong to a running one or to the disk.
func contents(root string) (map[string]string, error) {
	sums := make(map[string]string)
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		switch {
		case err != nil:
			return err
		case e.IsDir() && slices.Contains([]string{"System Volume Information", "$Recycle.Bin"}, rel):
			return fs.SkipDir
		case !e.Type().IsRegular() || slices.Contains([]string{"pagefile.sys", "hiberfil.sys", "swapfile.sys"}, rel):
			return nil
		}
		b, err := os.ReadFile(name)
		sums[filepath.ToSlash(rel)] = fmt.Sprintf("%d %x", len(b), sha1.Sum(b))
		return err
	})
	return sums, err
}

// throughNTFS3G calls do with a folder: the one named or, of a disk, one where ntfs-3g shows its NTFS partition. What is then written to the
// partition gets into the disk.
func throughNTFS3G(ts *testscript.TestScript, name string, write bool, do func(dir string)) {
	if st, err := os.Stat(name); err != nil {
		ts.Check(err)
	} else if st.IsDir() {
		do(name)
		return
	}
	work, err := os.MkdirTemp(ts.Getenv("WORK"), "ntfs-3g")
	ts.Check(err)
	part, dir := filepath.Join(work, "part"), filepath.Join(work, "dir")
	ts.Check(os.Mkdir(dir, 0o755))
	before := extract(ts, name, part)

	mount := exec.Command("ntfs-3g", "-o", "no_detach,streams_interface=xattr", part, dir)
	var said bytes.Buffer
	mount.Stdout, mount.Stderr = &said, &said
	ts.Check(mount.Start())
	ended := make(chan error, 1)
	go func() { ended <- mount.Wait() }()
	for i := 0; ; i++ {
		if _, err := os.Stat(filepath.Join(dir, "Windows")); err == nil {
			break
		}
		select {
		case err := <-ended:
			ts.Fatalf("ntfs-3g: %v\n%s", err, said.Bytes())
		case <-time.After(10 * time.Millisecond):
		}
		if i == 3000 {
			ts.Fatalf("ntfs-3g shows no system\n%s", said.Bytes())
		}
	}
	func() {
		defer func() {
			if out, err := exec.Command("fusermount", "-u", dir).CombinedOutput(); err != nil {
				ts.Fatalf("fusermount: %v\n%s", err, out)
			}
			if err := <-ended; err != nil {
				ts.Fatalf("ntfs-3g: %v\n%s", err, said.Bytes())
			}
		}()
		do(dir)
	}()
	if write {
		putBack(ts, name, part, before)
	}
}

const patchBlock = 64 << 10

// extract copies the NTFS partition of a disk to a file and returns the SHA-1 of each of its blocks.
func extract(ts *testscript.TestScript, name, part string) (sums [][sha1.Size]byte) {
	d, err := disk.Open(name)
	ts.Check(err)
	defer d.Close()
	p, err := d.NTFS()
	ts.Check(err)
	f, err := os.Create(part)
	ts.Check(err)
	defer f.Close()
	ts.Check(f.Truncate(p.Size))
	zero := sha1.Sum(make([]byte, patchBlock))
	b := make([]byte, patchBlock)
	section := d.Section(p)
	for off := int64(0); off < p.Size; off += patchBlock {
		n, err := section.ReadAt(b[:min(patchBlock, p.Size-off)], off)
		if err != io.EOF {
			ts.Check(err)
		}
		sum := sha1.Sum(b[:n])
		sums = append(sums, sum)
		if sum != zero {
			_, err = f.WriteAt(b[:n], off)
			ts.Check(err)
		}
	}
	return sums
}

// putBack writes the blocks of a partition that have changed into the disk.
func putBack(ts *testscript.TestScript, name, part string, before [][sha1.Size]byte) {
	d, err := disk.OpenEdit(name)
	ts.Check(err)
	defer d.Close()
	p, err := d.NTFS()
	ts.Check(err)
	f, err := os.Open(part)
	ts.Check(err)
	defer f.Close()
	b := make([]byte, patchBlock)
	for i, sum := range before {
		off := int64(i) * patchBlock
		n, err := f.ReadAt(b[:min(patchBlock, p.Size-off)], off)
		ts.Check(err)
		if sha1.Sum(b[:n]) != sum {
			_, err = d.Part(p).WriteAt(b[:n], off)
			ts.Check(err)
		}
	}
	ts.Check(d.Sync())
}
