package imagex

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"husk/internal/reftool"
)

// TestUnixData carries owners, modes, a FIFO, a device and extended attributes through WIMs of both programs and back, by the other one.
func TestUnixData(t *testing.T) {
	reftool.Look(t, "wimlib-imagex")
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	if err := os.Mkdir(src, 0o750); err != nil {
		t.Fatal(err)
	}
	f := filepath.Join(src, "f")
	if err := os.WriteFile(f, []byte("data"), 0o604); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(f, "user.note", []byte("an attribute"), 0); err != nil {
		reftool.Skip(t, "no extended attributes here: %v", err)
	}
	if err := unix.Mkfifo(filepath.Join(src, "pipe"), 0o620); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(f, 12, 34); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mknod(filepath.Join(src, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
			reftool.Skip(t, "devices cannot be made here: %v", err)
		}
	}
	want := statsOf(t, src)
	h, w := filepath.Join(dir, "h.wim"), filepath.Join(dir, "w.wim")
	must(t, "capture", src, h, "--unix-data")
	reftool.Run(t, "wimlib-imagex", "capture", src, w, "--unix-data")
	must(t, "apply", w, "1", filepath.Join(dir, "by-husk"), "--unix-data")
	must(t, "apply", h, "1", filepath.Join(dir, "by-both"), "--unix-data")
	reftool.Run(t, "wimlib-imagex", "apply", h, "1", filepath.Join(dir, "by-wimlib"), "--unix-data")
	for _, out := range []string{"by-husk", "by-both", "by-wimlib"} {
		if got := statsOf(t, filepath.Join(dir, out)); got != want {
			t.Errorf("%s:\n%swant\n%s", out, got, want)
		}
	}
}

func statsOf(t *testing.T, dir string) string {
	t.Helper()
	out := reftool.Run(t, "find", dir, "-printf", `%P %y %m %U:%G\n`)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for k, l := range lines {
		name, _, _ := strings.Cut(l, " ")
		buf := make([]byte, 100)
		if n, err := unix.Lgetxattr(filepath.Join(dir, name), "user.note", buf); err == nil {
			lines[k] += " " + string(buf[:n])
		}
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR {
			lines[k] += " device"
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
