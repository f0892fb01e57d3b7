package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"husk/internal/reftool"
	"husk/internal/source"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/winfile"
)

// volume makes an NTFS volume and lets fill put something into it through ntfs-3g.
func volume(t *testing.T, size int64, fill func(dir string)) string {
	t.Helper()
	if os.Geteuid() != 0 {
		reftool.Skip(t, "only root can mount")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		reftool.Skip(t, "no FUSE here")
	}
	img, dir := filepath.Join(t.TempDir(), "volume.img"), t.TempDir()
	f, err := os.Create(img)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	reftool.Run(t, "mkntfs", "-F", "-Q", "-q", img)
	var out bytes.Buffer
	cmd := exec.Command(reftool.Look(t, "ntfs-3g"), "-o", "no_detach,efs_raw,compression,streams_interface=xattr", img, dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	device := func(p string) uint64 {
		st, err := os.Stat(p)
		if err != nil {
			return 0
		}
		return st.Sys().(*syscall.Stat_t).Dev
	}
	for i := 0; device(dir) == device(filepath.Dir(dir)); i++ {
		if i == 2000 {
			t.Fatalf("ntfs-3g does not mount\n%s", out.Bytes())
		}
		time.Sleep(5 * time.Millisecond)
	}
	fill(dir)
	reftool.Run(t, "fusermount", "-u", dir)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("ntfs-3g: %v\n%s", err, out.Bytes())
	}
	return img
}

func setAttr(t *testing.T, path, name string, value []byte) {
	t.Helper()
	if err := syscall.Setxattr(path, name, value, 0); err != nil {
		t.Fatalf("%s of %s: %v", name, path, err)
	}
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCaptureVolume captures what folders cannot show: encrypted files, reparse points of directories with children, and what else
// NTFS has, and finds it in the WIM.
func TestCaptureVolume(t *testing.T) {
	cloud := func(tag uint32) []byte {
		return (&winfile.Reparse{Tag: tag, Data: bytes.Repeat([]byte("D"), 40)}).Buffer()
	}
	img := volume(t, 64<<20, func(dir string) {
		for i := range 200 {
			write(t, fmt.Sprintf("%s/many/%d", dir, i), bytes.Repeat([]byte{byte(i)}, i*17))
		}
		write(t, dir+"/large", bytes.Repeat([]byte("0123456789abcdef"), 200000))
		if err := os.Truncate(write(t, dir+"/hole", []byte("start")), 8<<20); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(dir+"/large", dir+"/many/link"); err != nil {
			t.Fatal(err)
		}
		setAttr(t, write(t, dir+"/streams", []byte("main")), "user.named", []byte("stream"))
		setAttr(t, write(t, dir+"/a long name.text", nil), "system.ntfs_dos_name", []byte("ALONGN~1.TEX"))
		setAttr(t, write(t, dir+"/id", nil), "system.ntfs_object_id", bytes.Repeat([]byte{7}, 64))
		key := binary.LittleEndian.AppendUint32(nil, 400)
		key = append(key, bytes.Repeat([]byte("key!"), 99)...)
		setAttr(t, write(t, dir+"/secret", append(bytes.Repeat([]byte("?"), 1024), 24, 0)), "user.ntfs.efsinfo", key)
		write(t, dir+"/cloud/folder/file", []byte("here"))
		write(t, dir+"/cloud/away", nil)
		setAttr(t, dir+"/cloud/away", "system.ntfs_reparse_data", cloud(0x9000401a))
		setAttr(t, dir+"/cloud/folder", "system.ntfs_reparse_data", cloud(0x9000701a))
		setAttr(t, dir+"/cloud", "system.ntfs_reparse_data", cloud(0x9000601a))
	})
	wim := filepath.Join(t.TempDir(), "captured.wim")
	u := ui.New(strings.NewReader(""), io.Discard, io.Discard, "en")
	ctx := context.Background()
	r, err := Capture(ctx, img, wim, &Options{UI: u})
	if err != nil {
		t.Fatal(err)
	}
	if r.KnownBytes < 0 || r.NewBytes <= 0 {
		t.Errorf("%d bytes known, %d new", r.KnownBytes, r.NewBytes)
	}
	reftool.Run(t, "wimlib-imagex", "verify", wim)
	want, err := source.Open(ctx, img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	got, err := source.Open(ctx, wim, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	d, err := tree.Compare(ctx, want.Tree, got.Tree, &tree.CompareOptions{Ignore: tree.DiffChanged})
	if err != nil || d.Total != 0 {
		t.Errorf("%d differences: %v, %v", d.Total, d.List, err)
	}
	for _, path := range []string{"cloud/folder/file", "cloud/away", "secret", "many/link"} {
		if got.Tree.Lookup(path) == nil {
			t.Errorf("%s is not in the WIM", path)
		}
	}
	if x := got.Tree.Lookup("secret").Info.Extra; x == nil || x.EFS == nil || x.EFS.Size < 1024+400 {
		t.Errorf("secret: %+v", x)
	}
	// A second capture of the same is known as a whole.
	if r, err = Append(ctx, img, wim, &Options{Name: "again", UI: u}); err != nil || r.NewBlobs != 0 || r.KnownBytes != r.Totals.Bytes+3*40 {
		t.Errorf("again: %+v, %v", r, err)
	}
}

// TestCaptureLikeWimlib captures a volume as wimlib does, but for what wimlib leaves out: extended attributes.
func TestCaptureLikeWimlib(t *testing.T) {
	reftool.Look(t, "wimlib-imagex")
	noise := func(seed uint64, n int) []byte {
		b := make([]byte, n)
		r := rand.NewPCG(seed, 0)
		for i := range b {
			b[i] = byte(r.Uint64() >> 56)
		}
		return b
	}
	words := bytes.Repeat([]byte("words that compress and "), 30000)
	img := volume(t, 128<<20, func(dir string) {
		for _, n := range []int{0, 1, 511, 512, 600, 700, 800, 4095, 4096, 4097, 65536, 1 << 20} {
			write(t, fmt.Sprintf("%s/sizes/%d", dir, n), noise(uint64(n), n))
		}
		for i := range 500 {
			write(t, fmt.Sprintf("%s/many/entry %d %s", dir, i, strings.Repeat("x", i%40)), noise(uint64(i%50), i%50))
		}
		link := write(t, dir+"/links/a", noise(1, 9000))
		for i := range 40 {
			if err := os.Link(link, fmt.Sprintf("%s/links/a hard link with a long name %d", dir, i)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 30 {
			setAttr(t, write(t, dir+"/streams/file", []byte("main")), fmt.Sprintf("user.s%d", i), noise(uint64(i), i*100))
		}
		setAttr(t, dir+"/streams", "user.of a folder", noise(5, 5000))
		setAttr(t, write(t, dir+"/short/A rather long name.extension", nil), "system.ntfs_dos_name", []byte("ARATHE~1.EXT"))
		setAttr(t, write(t, dir+"/id", nil), "system.ntfs_object_id", noise(3, 64))
		setAttr(t, write(t, dir+"/attributes", nil), "system.ntfs_attrib_be", []byte{0, 0, 0x20, 7})
		point := (&winfile.Reparse{Tag: 0x123, Data: []byte("0123456789abcdefvendor's data")}).Buffer()
		setAttr(t, write(t, dir+"/vendor", nil), "system.ntfs_reparse_data", point)
		setAttr(t, write(t, dir+"/packed/plain", nil), "system.ntfs_attrib_be", []byte{0, 0, 0, 0x20})
		setAttr(t, dir+"/packed", "system.ntfs_attrib_be", []byte{0, 0, 8, 0})
		write(t, dir+"/packed/words", words)
		write(t, dir+"/packed/mixed", append(append(noise(1, 200000), make([]byte, 500000)...), words[:99999]...))
		for i := range int64(200) {
			f, err := os.OpenFile(dir+"/sparse", os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(noise(uint64(i), 3000), i*7919%200*65536); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		for _, n := range []string{"中文/说明", "😀💾/𠀀", strings.Repeat("W", 255), " leading", "MiXeD", "e\u0301", "same", "SAME"} {
			write(t, dir+"/names/"+n, []byte(n))
		}
	})
	dir := t.TempDir()
	none := write(t, dir+"/none.ini", []byte("[ExclusionList]\n"))
	theirs, ours := dir+"/theirs.wim", dir+"/ours.wim"
	reftool.Run(t, "wimlib-imagex", "capture", img, theirs, "--compress=none", "--config="+none)
	ctx := context.Background()
	u := ui.New(strings.NewReader(""), io.Discard, io.Discard, "en")
	if _, err := Capture(ctx, img, ours, &Options{Config: none, Compress: "none", UI: u}); err != nil {
		t.Fatal(err)
	}
	a, err := source.Open(ctx, ours, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := source.Open(ctx, theirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	d, err := tree.Compare(ctx, a.Tree, b.Tree, nil)
	if err != nil || d.Total != 0 {
		t.Errorf("%d differences: %v, %v", d.Total, d.List, err)
	}
	if n := a.Tree.Totals(); n.Names < 550 || n.Streams != 31 {
		t.Errorf("%+v", n)
	}
}
