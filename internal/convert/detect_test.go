package convert

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"husk/internal/deploy"
	"husk/internal/host"
	"husk/internal/sample"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/winfile"
)

func quiet() *ui.UI { return ui.New(nil, io.Discard, io.Discard, "en") }

// makeDisk makes a raw disk with a small system on it, of a build that is not 0.
func makeDisk(t *testing.T, name string, build int) {
	t.Helper()
	system, err := sample.Tree(sample.Options{Arch: "x64", Programs: 12})
	if err != nil {
		t.Fatal(err)
	}
	if build != 0 {
		setBuild(t, system, build)
	}
	s := &source.Source{Kind: source.Folder, Path: t.TempDir(), Tree: system}
	if _, err := deploy.Make(context.Background(), s, name, &deploy.Options{Format: deploy.Raw, Size: 100 << 20, UI: quiet()}); err != nil {
		t.Fatal(err)
	}
}

func setBuild(t *testing.T, system *winfile.Tree, build int) {
	t.Helper()
	const path = "Windows/System32/config/SOFTWARE"
	h, err := winsys.OpenHive(system, path)
	if err != nil {
		t.Fatal(err)
	}
	k, err := h.Root().Lookup(`Microsoft\Windows NT\CurrentVersion`)
	if err == nil {
		err = k.SetSZ("CurrentBuild", strconv.Itoa(build))
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	system.Lookup(path).Info.Data = winfile.NewBlob(b)
}

func TestDetect(t *testing.T) {
	dir := t.TempDir()
	makeDisk(t, filepath.Join(dir, "old.img"), 0)
	makeDisk(t, filepath.Join(dir, "new.img"), 22631)
	makeDisk(t, filepath.Join(dir, "locked.img"), 19045)
	f, err := os.OpenFile(filepath.Join(dir, "locked.img"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(bitLocker), 1<<20+oemName); err != nil {
		t.Fatal(err)
	}
	f.Close()
	d, err := Detect(context.Background(), []string{dir}, &DetectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]Disk)
	for _, k := range d.Disks {
		byName[filepath.Base(k.Path)] = k
	}
	old, recent, locked := byName["old.img"], byName["new.img"], byName["locked.img"]
	if len(old.Volumes) != 1 || len(recent.Volumes) != 1 || len(locked.Volumes) != 1 {
		t.Fatalf("volumes: %+v", d.Disks)
	}
	if s := old.Volumes[0].System; s == nil || s.Pointers || s.Title != "Windows 7 Ultimate x64" || s.Version != "6.1.7601 SP1" || s.Files == nil || s.Files.Plain < 200 {
		t.Errorf("Windows 7: %+v", s)
	}
	if s := recent.Volumes[0].System; s == nil || !s.Pointers || s.Build != 22631 {
		t.Errorf("Windows 11: %+v", s)
	}
	if v := locked.Volumes[0]; v.FileSystem != "BitLocker" || v.System != nil {
		t.Errorf("BitLocker: %+v", v)
	}
	if got := d.Systems(); len(got) != 2 {
		t.Errorf("%d systems, want 2", len(got))
	}
	_, err = New(context.Background(), &Options{System: filepath.Join(dir, "locked.img:1"), UI: quiet()})
	if !Refused(err) || !strings.Contains(err.Error(), "BitLocker") {
		t.Errorf("converting an encrypted volume: %v", err)
	}
	_, err = New(context.Background(), &Options{System: filepath.Join(dir, "old.img"), UI: quiet()})
	if !Refused(err) || !strings.Contains(err.Error(), "no driver") {
		t.Errorf("converting Windows 7 without a driver: %v", err)
	}
}

// TestHibernated: a plan in place is refused where Windows keeps parts of the volume in memory, one for a new disk is not.
func TestHibernated(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "pc.img")
	makeDisk(t, name, 19045) // the sample has a hiberfil.sys that says so
	_, err := New(context.Background(), &Options{System: name, UI: quiet()})
	if !Refused(err) || !strings.Contains(err.Error(), "hibernated") {
		t.Errorf("in place: %v", err)
	}
	p, err := New(context.Background(), &Options{System: name, Target: filepath.Join(dir, "new.img"), UI: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if e := p.Estimate; e.Pointers < 100 || e.WIM <= 0 || e.WIM > e.Used || e.Target <= 0 {
		t.Errorf("estimate %+v", e)
	}
	if p.Form != WholeDisk || p.Adds || p.Inside {
		t.Errorf("plan %+v", p)
	}
}

func TestPropose(t *testing.T) {
	windows := func() *System { return &System{Title: "Windows 10 Pro x64", Build: 19045, Arch: "x64", Pointers: true} }
	disk := &host.Disk{Path: "/dev/sda"}
	empty := t.TempDir()
	d := &Detection{
		Machine: &host.Machine{
			Disks: []host.Disk{*disk, {Path: "/dev/sdb", Rotational: true}},
			Mounts: []host.Mount{
				{Path: "/mnt/slow", Disk: "/dev/sdb", Number: 1, Type: "ntfs3", Free: 900 << 30}, {Path: empty, Disk: "/dev/sda", Number: 3, Type: "ntfs3", Free: 90 << 30},
				{Path: "/home", Disk: "/dev/sda", Number: 4, Type: "ext4", Free: 500 << 30},
			},
		},
		Disks: []Disk{
			{Path: "/dev/sda", Scheme: "GPT", Host: disk, Volumes: []Volume{
				{Spec: "/dev/sda:1", Boot: []Boot{{"EFI/Microsoft/Boot/BCD", host.UEFI}}}, {Spec: "/dev/sda:2", Number: 2, Size: 100 << 30, Free: 40 << 30, System: windows()},
			}},
			{Path: filepath.Join(empty, "vm.vhd"), Scheme: "MBR", Volumes: []Volume{{Spec: "vm.vhd:1", System: windows()}}},
			{Path: "husk.vhd", Volumes: []Volume{{Spec: "husk.vhd:1", System: &System{Pointers: true, Files: &Forms{Pointers: 9}}}, {Spec: "old.vhd:1", System: &System{}}}},
		},
	}
	got := Propose(d)
	if len(got) != 2 {
		t.Fatalf("%d choices, want 2: %+v", len(got), got)
	}
	if k := got[0]; k.Target != filepath.Join(empty, "wimboot", "x64", "win10.vhd") || k.Store != filepath.Join(empty, "wimboot") || k.Boot != "/dev/sda:1" {
		t.Errorf("on a disk: %+v", k)
	}
	if k := got[1]; k.Target != filepath.Join(empty, "vm-husk.vhdx") || k.Boot != "" {
		t.Errorf("in a file: %+v", k)
	}
}

// TestJournal: what was cut off within a line never was, another conversion is refused, and a second process waits outside.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pc.img"+journalMark)
	a := job{System: "/a:1", Form: InPlace, WIM: "/w"}
	n, err := openJournal(path, a, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(path, a, false); err == nil {
		t.Error("two processes have the journal")
	}
	for _, s := range []step{stepCapture, stepCaptured} {
		if err := n.add(note{Step: s, Name: "旧"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := openJournal(path, a, false)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		lines := strings.Count(string(whole[:cut]), "\n")
		if got := len(n.notes); got != max(0, lines-1) {
			t.Errorf("cut at %d: %d notes, want %d", cut, got, max(0, lines-1))
		}
		if err := n.add(note{Step: stepDone}); err != nil {
			t.Fatal(err)
		}
		n.close()
		if r, err := readJournal(path); err != nil || r.notes[len(r.notes)-1].Step != stepDone {
			t.Errorf("cut at %d: read %+v, %v", cut, r, err)
		}
	}
	if _, err := openJournal(path, job{System: "/b:1", Form: InPlace, WIM: "/w"}, false); !Refused(err) {
		t.Errorf("another conversion: %v", err)
	}
	if n, err = openJournal(path, job{System: "/b:1", Form: InPlace, WIM: "/w"}, true); err != nil || len(n.notes) != 0 {
		t.Fatalf("restart: %v", err)
	}
	if err := n.remove(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := os.WriteFile(path, []byte("no journal\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(path, a, false); err == nil {
		t.Error("any file is taken for a journal")
	}
}
