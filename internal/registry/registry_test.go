package registry

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/internal/source"
	"husk/regf"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func hiveFile(t *testing.T, name string) string {
	t.Helper()
	h := must(regf.New(5, "ROOT"))(t)
	k := must(h.Root().Create(`ControlSet003\Services`))(t)
	if err := errors.Join(k.SetSZ("x", "y"), must(h.Root().Create("Select"))(t).SetDWord("Current", 3)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, must(h.Bytes())(t), 0o640); err != nil {
		t.Fatal(err)
	}
	return file
}

func open(t *testing.T, args ...string) *Hive {
	t.Helper()
	h, rest, err := Open(context.Background(), args, t.Logf)
	if err != nil || len(rest) > 0 {
		t.Fatal(rest, err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func TestPaths(t *testing.T) {
	h := open(t, hiveFile(t, "System"))
	for in, want := range map[string]string{
		``: ``, `\Select\`: `Select`, `currentcontrolset`: `ControlSet003`, `CurrentControlSet\Services`: `ControlSet003\Services`,
		`HKLM\system\CurrentControlSet\Services`: `ControlSet003\Services`, `HKEY_LOCAL_MACHINE\SYSTEM`: ``,
		`CurrentControlSetX`: `CurrentControlSetX`, `HKLM\SOFTWARE\x`: `HKLM\SOFTWARE\x`,
	} {
		if got := h.Path(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if got, err := h.Relative(`HKLM\SYSTEM\Select`, `hkey_local_machine\system\`); got != "Select" || err != nil {
		t.Error(got, err)
	}
	for _, name := range []string{`HKLM\SYSTEMS`, `HKLM`, `SYSTEM\Select`, `HKCU\SYSTEM`} {
		if got, err := h.Relative(name, h.Prefix()); err == nil {
			t.Errorf("%s is %q", name, got)
		}
	}
	for name, want := range map[string]string{
		"NTUSER.DAT": "HKEY_CURRENT_USER", "UsrClass.dat": `HKEY_CURRENT_USER\Software\Classes`, "DEFAULT": `HKEY_USERS\.DEFAULT`,
		"bcd": `HKEY_LOCAL_MACHINE\BCD00000000`, "Drivers": `HKEY_LOCAL_MACHINE\DRIVERS`,
	} {
		if got := open(t, hiveFile(t, name)).Prefix(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestPlace(t *testing.T) {
	h := open(t, hiveFile(t, "SYSTEM"))
	for in, want := range map[string]string{`New\Key`: `New\Key`, `hklm\system\CurrentControlSet\New`: `ControlSet003\New`, ``: ``} {
		if got, err := h.Place(in); got != want || err != nil {
			t.Errorf("%s: %s %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{`HKLM\SOFTWARE\x`, `HKCU\Environment`, `HKEY_USERS`, `HKLM`} {
		if got, err := h.Place(in); err == nil {
			t.Errorf("%s would be made as %q", in, got)
		}
	}
	must(h.Root().Create("HKLM"))(t)
	if got, err := h.Place(`HKLM\x`); got != `HKLM\x` || err != nil {
		t.Errorf("below a key that is called so: %s %v", got, err)
	}
}

// TestCannotSave: what Save would refuse in the end is refused before anything is said to be changed.
func TestCannotSave(t *testing.T) {
	for _, s := range []*source.Source{{Kind: source.Optical, Path: "disc.iso"}, {Kind: source.WIM, Path: "a.wim"}} {
		h := &Hive{Hive: must(regf.New(3, "ROOT"))(t), source: s, path: "BCD"}
		if h.CanSave() == nil || h.Save() == nil {
			t.Errorf("%s would be changed", s.Path)
		}
	}
}

func TestSaveKeepsMode(t *testing.T) {
	file := hiveFile(t, "SYSTEM")
	h := open(t, file)
	h.Touch()
	if err := h.Root().SetSZ("new", "value"); err != nil {
		t.Fatal(err)
	}
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	st := must(os.Stat(file))(t)
	if st.Mode().Perm() != 0o640 && os.PathSeparator == '/' {
		t.Errorf("mode %v", st.Mode())
	}
	if s := must(open(t, file).Root().Text("", "new"))(t); s != "value" {
		t.Errorf("%q", s)
	}
	if err := h.SaveAs(file, false); err == nil {
		t.Error("a file was replaced")
	}
}

func TestDirtyIsNotSaved(t *testing.T) {
	file := hiveFile(t, "SYSTEM")
	b := must(os.ReadFile(file))(t)
	b[4], b[0x1fc] = b[4]+2, b[0x1fc]^(b[4]^(b[4]+2)) // the first sequence number; the checksum is an exclusive or
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	h := open(t, file)
	if err := h.CanSave(); !errors.Is(err, regf.ErrDirty) {
		t.Error(err)
	}
	if err := h.Save(); !errors.Is(err, regf.ErrDirty) {
		t.Error(err)
	}
}

func TestOnlyHives(t *testing.T) {
	out := onlyHives(`Users\Someone/ntuser.dat`)
	for path, want := range map[string]bool{
		"Windows": false, "Windows/System32": false, "Windows/System32/config": false, "Windows/System32/config/SYSTEM.LOG1": false,
		"Users/someone/NTUSER.DAT": false, "Users/someone/ntuser.dat.LOG1": false, "Boot/BCD": false,
		"Windows/SysWOW64": true, "Windows/System32/drivers": true, "Users/other": true,
	} {
		if got := out(path, filepath.Ext(path) == "" && !strings.Contains(path, "BCD")); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}

// A hive on a volume that mkntfs made and ntfs-3g filled is replaced in place; ntfsfix and ntfscat find the volume sound, and hivex
// reads the hive.
func TestSaveInVolume(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "v.img")
	f := must(os.Create(image))(t)
	if err := errors.Join(f.Truncate(16<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "mkntfs", "-F", "-Q", "-q", image)
	reftool.Run(t, "ntfscp", image, hiveFile(t, "SYSTEM"), "/SYSTEM")
	h := open(t, image, "system")
	h.Touch()
	big := bytes.Repeat([]byte("0123456789"), 50_000)
	if err := errors.Join(h.Root().SetBinary("big", big), h.Root().SetSZ("s", "text")); err != nil {
		t.Fatal(err)
	}
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "ntfsfix", "-n", image)
	copied := filepath.Join(dir, "copy")
	if err := os.WriteFile(copied, []byte(reftool.Run(t, "ntfscat", image, "/SYSTEM")), 0o644); err != nil {
		t.Fatal(err)
	}
	got := must(regf.Open(copied))(t)
	if v := must(got.Root().Value("big"))(t); !bytes.Equal(v.Data, big) {
		t.Errorf("%d bytes, want %d", len(v.Data), len(big))
	}
	if s := strings.TrimSpace(reftool.Run(t, "hivexget", copied, `\`, "s")); s != "text" {
		t.Errorf("%q", s)
	}
	if p := got.Check(); len(p) > 0 {
		t.Error(p)
	}
	if s := must(open(t, image, "SYSTEM").Root().Text("", "s"))(t); s != "text" {
		t.Errorf("%q", s)
	}
}
