//go:build linux

package tree

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"husk/internal/reftool"
	"husk/winfile"
)

// wimlib turns the links of a folder into the same reparse points, bit by bit.
func TestLinksAsWimlib(t *testing.T) {
	base := t.TempDir()
	dir := base + "/src"
	write(t, dir+"/sub/file", "x")
	for name, to := range map[string]string{
		"rel": "sub/file", "up": "../up", "dir": "sub", "dangling": "no/where/", "odd": "sub/./x//y", "abs": "/etc/hostname", "root": "/",
		"inside": dir + "/sub/file", "self": dir, "self-slash": dir + "/", "chinese": "中文/😀",
	} {
		if err := os.Symlink(to, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	for _, rpfix := range []bool{true, false} {
		wim, flag := base+"/x.wim", "--norpfix"
		if rpfix {
			flag = "--rpfix"
		}
		os.Remove(wim)
		reftool.Run(t, "wimlib-imagex", "capture", dir, wim, "--compress=none", flag)
		listing := reftool.Run(t, "wimlib-imagex", "dir", wim, "--detailed")
		tr, _ := mustScan(t, dir, &ScanOptions{RPFix: rpfix})
		n := 0
		for path, e := range tr.All() {
			if e.Info.Reparse == nil {
				continue
			}
			n++
			_, part, _ := strings.Cut(listing, fmt.Sprintf("Full Path           = \"/%s\"", path))
			part, _, _ = strings.Cut(part, "Full Path")
			var attrs winfile.Attributes
			var hash string
			if m := regexp.MustCompile(`Attributes +?= 0x([0-9a-f]+)`).FindStringSubmatch(part); m != nil {
				fmt.Sscanf(m[1], "%x", &attrs)
			}
			if m := regexp.MustCompile(`Hash +?= 0x([0-9a-f]{40})`).FindStringSubmatch(part); m != nil {
				hash = m[1]
			}
			if got := fmt.Sprintf("%x", sha1.Sum(e.Info.Reparse.Data)); got != hash || attrs != e.Info.Attributes {
				t.Errorf("%s: attributes %v and data %s, want %v and %s", path, e.Info.Attributes, got, attrs, hash)
			}
		}
		if n != 11 {
			t.Errorf("%d links, want 11", n)
		}
	}
}

// ntfsVolume formats a file and mounts it with ntfs-3g. The second call mounts it again.
func ntfsVolume(t *testing.T) (dir, image string, again func() string) {
	t.Helper()
	if os.Geteuid() != 0 {
		reftool.Skip(t, "only root can mount")
	}
	base := t.TempDir()
	image, dir = base+"/ntfs.img", base+"/mnt"
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(64<<20), f.Close(), os.Mkdir(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "mkntfs", "-q", "-F", "-s", "512", "-p", "0", "-H", "255", "-S", "63", image)
	mounted := false
	do := func() {
		if out, err := reftool.Try(t, "ntfs-3g", image, dir); err != nil {
			reftool.Skip(t, "cannot mount with ntfs-3g here: %v\n%s", err, out)
		}
		mounted = true
	}
	t.Cleanup(func() {
		if mounted {
			reftool.Run(t, "umount", dir)
		}
	})
	do()
	return dir, image, func() string {
		reftool.Run(t, "umount", dir)
		mounted = false
		do()
		return dir
	}
}

// On a mounted NTFS volume the metadata is the volume's own.
func TestFolderOnNTFS(t *testing.T) {
	dir, image, again := ntfsVolume(t)
	src := sampleTree(t)
	src.Lookup("plain1").ShortName = "PLAIN1~1"
	rep, err := ApplyFolder(context.Background(), src, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	lost := make(map[string]int)
	for _, l := range rep.Lost {
		lost[l.Kind] = l.Count
		if l.Kind != LostChanged {
			t.Logf("lost %d %s: %v", l.Count, l.Kind, l.List)
		}
	}
	n := src.Totals()
	// The driver sets no change time, and one name's short name only: that of the third name of link1 is lost.
	// A file without a hole is not sparse.
	if len(lost) != 3 || lost[LostChanged] != n.Dirs+n.Files || lost[LostShortName] != 1 || lost[LostAttributes] != 1 {
		t.Errorf("lost %v, want %d change times, 1 short name and 1 attribute", lost, n.Dirs+n.Files)
	}
	got, scan := mustScan(t, again(), nil)
	// plain1 has two names and a short one, which the driver keeps but no longer shows.
	if scan.Warnings.Total != 1 || !strings.Contains(scan.Warnings.Error(), "short names of 1 hard-linked") {
		t.Error(&scan.Warnings)
	}
	if out := reftool.Run(t, "ntfsinfo", "-f", "-F", "/plain1", image); !strings.Contains(out, "PLAIN1~1") {
		t.Errorf("ntfsinfo shows no short name:\n%s", out)
	}
	for _, d := range mustCompare(t, src, got, &CompareOptions{Ignore: DiffChanged}).List {
		if d.Kind == DiffShortName && (d.Path == "dir/deep/link1" || d.Path == "plain1") || d.Kind == DiffAttributes && d.Path == "shared3 sparse" {
			continue
		}
		t.Error(d)
	}
}

func TestScanNTFS(t *testing.T) {
	dir, _, again := ntfsVolume(t)
	set := func(name, attr string, v []byte) {
		t.Helper()
		if err := unix.Lsetxattr(filepath.Join(dir, name), attr, v, 0); err != nil {
			t.Fatalf("%s %s: %v", name, attr, err)
		}
	}
	for _, name := range []string{"plain", "pointer", "big stream"} {
		write(t, filepath.Join(dir, name), "content of "+name)
	}
	set("plain", "user.s", []byte("stream"))
	set("plain", "system.ntfs_dos_name", []byte("PLAIN~1"))
	set("plain", "system.ntfs_attrib", []byte{0x27, 0x20, 0, 0})
	set("big stream", "user.s", make([]byte, maxXattr))
	set("pointer", "system.ntfs_reparse_data", (&winfile.Reparse{Tag: winfile.TagWOF, Data: make([]byte, 24)}).Buffer())
	tr, rep, err := ScanFolder(context.Background(), again(), nil)
	if rep == nil {
		t.Fatal(err)
	}
	defer rep.Close()
	var p *Problems
	if !errors.As(err, &p) || p.Total != 1 || p.List[0].Path != "pointer" {
		t.Errorf("error %v, want one about the pointer file", err)
	}
	e := tr.Lookup("plain")
	if e.ShortName != "PLAIN~1" || e.Info.Attributes != 0x2027 || len(e.Info.Streams) != 1 || e.Info.Streams[0].Data.Size != 6 ||
		len(e.Info.Security) == 0 {
		t.Errorf("%+v %+v", e, e.Info)
	}
	if b := tr.Lookup("big stream").Info; len(b.Streams) != 1 || b.Streams[0].Data.Size != maxXattr || &b.Security[0] != &e.Info.Security[0] {
		t.Errorf("%+v", b)
	}
	if !slices.ContainsFunc(tr.Root.Children, func(c *winfile.Entry) bool { return c.Name == "plain" }) || tr.Lookup("pointer") != nil {
		t.Error("wrong entries")
	}
}
