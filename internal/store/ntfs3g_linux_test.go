package store

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"husk/internal/deploy"
	"husk/internal/disk"
	"husk/internal/reftool"
	"husk/wof"
)

// mounted lets change work on a volume through ntfs-3g.
func mounted(t *testing.T, volume string, change func(dir string)) {
	t.Helper()
	dir := t.TempDir()
	var out bytes.Buffer
	cmd := exec.Command(reftool.Look(t, "ntfs-3g"), "-o", "no_detach", volume, dir)
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
	change(dir)
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ntfs-3g: %v\n%s", err, out.Bytes())
	}
}

// TestPointAfterNTFS3G: a volume of pointer files is changed by a driver that nobody here wrote, as Windows Update would; the point has
// what changed, costs only that, and the point before is as it was.
func TestPointAfterNTFS3G(t *testing.T) {
	if os.Geteuid() != 0 {
		reftool.Skip(t, "only root can mount")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		reftool.Skip(t, "no FUSE here")
	}
	ctx := context.Background()
	x64 := systemFolder(t, "x64")
	s := newStore(t)
	add(t, s, x64, AddOptions{System: "x64", Name: "before"})
	p, err := s.Point("x64")
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Source(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	raw, volume := filepath.Join(t.TempDir(), "disk.img"), filepath.Join(t.TempDir(), "volume.img")
	made, err := deploy.Make(ctx, in, raw, &deploy.Options{
		UI: quiet(), Format: deploy.Raw, Size: 128 << 20, Wimboot: &deploy.Wimboot{Location: wof.NewMBRLocation(0x1a2b3c4d, 1<<20, `\wimboot\wimboot.wim`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	part, err := d.NTFS()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(d.Section(part))
	if err == nil {
		err = os.WriteFile(volume, b, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Close()

	before := copyDir(t, x64)
	change := func(dir string) {
		t.Helper()
		for name, text := range map[string]string{"Windows/win.ini": "patched", "Windows/System32/new.dll": strings.Repeat("new ", 5000)} {
			path := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(filepath.Join(dir, "Windows", "System32", "notepad.exe")); err != nil {
			t.Fatal(err)
		}
	}
	mounted(t, volume, change)

	r := add(t, s, volume, AddOptions{System: "x64", Name: "after"})
	backed := made.Plan.Total(wof.Backed).Files
	if r.NewBlobs < 2 || r.NewBlobs > 4 || r.Pointers < backed-2 {
		t.Errorf("%d new contents and %d of %d pointers, want the two that changed", r.NewBlobs, r.Pointers, backed)
	}
	after, err := s.Point("x64@after")
	if err != nil {
		t.Fatal(err)
	}
	if in, err = s.Source(ctx, after); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Windows/win.ini": "patched", "Windows/System32/new.dll": strings.Repeat("new ", 5000)} {
		e := in.Tree.Lookup(name)
		if e == nil {
			t.Errorf("%s is not in the point", name)
			continue
		}
		if got, err := e.Info.Data.ReadAll(1 << 20); err != nil || string(got) != want {
			t.Errorf("%s: %v, %d bytes, want %d", name, err, len(got), len(want))
		}
	}
	if in.Tree.Lookup("Windows/System32/notepad.exe") != nil {
		t.Error("what was removed is in the point")
	}
	samePoint(t, s, "x64@before", before)
	mustCheck(t, s)
}
