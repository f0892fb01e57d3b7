package driver

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/internal/sample"
	"husk/internal/tree"
	"husk/internal/winsys"
	"husk/ntfs"
	"husk/pe"
	"husk/pe/petest"
	"husk/winfile"
)

func TestUpdateDecision(t *testing.T) {
	none := pe.Version{}
	sp1 := func(n uint16) pe.Version { return pe.Version{6, 1, 7601, n} }
	installed := []Package{{"Package_for_KB3033929~31bf3856ad364e35~amd64~~6.1.1.1", stateInstalled}}
	for _, tt := range []struct {
		name       string
		kernel, ci pe.Version
		packages   []Package
		want       bool
	}{
		{"as shipped", sp1(17514), sp1(17514), nil, false},
		{"update", sp1(18741), sp1(18519), nil, true},
		{"one below", sp1(18740), sp1(18519), installed, false},
		{"ci.dll behind", sp1(18741), sp1(18518), nil, false},
		{"hotfix branch", sp1(22948), sp1(22948), nil, true},
		{"hotfix branch behind", sp1(22947), sp1(22900), nil, false},
		{"last roll-up", sp1(24545), sp1(24545), nil, true},
		{"files not at hand", none, none, installed, true},
		{"files not at hand, staged", none, none, []Package{{"Package_for_KB3033929", 0x40}}, false},
		{"files not at hand, superseded", none, none, []Package{{"Package_for_KB3033929", 0x50}}, true},
		{"kernel speaks against the store", sp1(17514), none, installed, false},
		{"nothing known", none, none, nil, false},
	} {
		u := &Update{Kernel: tt.kernel, CI: tt.ci, Packages: tt.packages}
		if got := u.decide(); got != tt.want {
			t.Errorf("%s: %t, want %t (%s)", tt.name, got, tt.want, u.missing())
		}
		if u.missing() == "" && !tt.want {
			t.Errorf("%s: no word on what is missing", tt.name)
		}
	}
	for name, want := range map[string]bool{
		"Package_for_KB3033929~31bf3856ad364e35~amd64~~6.1.1.1":         true,
		"Package_1_for_KB3033929~31bf3856ad364e35~amd64~~6.1.1.1":       true,
		"Package_for_KB3033929_SP1~31bf3856ad364e35~amd64~~6.1.1.1":     true,
		"Package_for_RollupFix~31bf3856ad364e35~amd64~~7601.24545.1.10": true,
		"Package_for_KB30339290~31bf3856ad364e35~amd64~~6.1.1.1":        true, // no such thing exists
		"Package_for_KB2949927~31bf3856ad364e35~amd64~~6.1.1.1":         false,
	} {
		if got := isContaining(name); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}

func TestScanKeepsWhatMatters(t *testing.T) {
	for name, want := range map[string]bool{
		"WINDOWS/system32/config/SYSTEM":      true,
		"Windows/System32/config/SYSTEM.LOG1": true,
		"Windows/System32/config/COMPONENTS":  false,
		"Windows/System32/drivers/wofadk.sys": true,
		"Windows/System32/shell32.dll":        false,
		"Windows/System32/ci.dll":             true,
		"Users/me/a.txt":                      false,
		"Windows/System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}/Package_for_KB3033929~1.cat": true,
	} {
		if got := !unneeded(name, false); got != want {
			t.Errorf("%s: kept %t, want %t", name, got, want)
		}
	}
	for _, name := range []string{"Windows", "Windows/System32", "Windows/System32/CatRoot"} {
		if unneeded(name, true) {
			t.Errorf("folder %s is not looked into", name)
		}
	}
}

// system is a small Windows 7 with the filter manager, as a tree.
func system(t *testing.T) *winfile.Tree {
	t.Helper()
	tr, err := sample.Tree(sample.Options{Programs: 8})
	if err != nil {
		t.Fatal(err)
	}
	tr.Root.Children = slices.DeleteFunc(tr.Root.Children, func(e *winfile.Entry) bool { return e.Name == "hiberfil.sys" })
	const hive = "Windows/System32/config/SYSTEM"
	h, err := winsys.OpenHive(tr, hive)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"ControlSet001", "ControlSet002"} {
		k, err := h.Root().Create(set + `\Services\FltMgr`)
		if err == nil {
			err = errors.Join(k.SetDWord("Start", 0), k.SetDWord("Type", 2))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	tr.Lookup(hive).Info.Data = winfile.NewBlob(b)
	return tr
}

// driverFile writes a driver with two signatures.
func driverFile(t *testing.T) (name string, content []byte) {
	t.Helper()
	b := petest.Sign(petest.Build([]string{"fltmgr.sys"}, [4]uint16{10, 0, 10240, 16384}), "SHA-1", "SHA-256")
	name = filepath.Join(t.TempDir(), "wofadk.sys")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, b
}

func add(t *testing.T, target, file string) *Plan {
	t.Helper()
	s, err := Open(context.Background(), target, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := s.Plan(file, "", t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Problems) > 0 {
		t.Fatal(p.Problems)
	}
	if err := p.Apply(); err != nil {
		t.Fatal(err)
	}
	return p
}

const volumeSize = 64 << 20

// volume is a bare NTFS volume with the system.
func volume(t *testing.T) string {
	t.Helper()
	layout, err := ntfs.NewLayout(system(t), &ntfs.BuildOptions{Size: volumeSize})
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "volume.img")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(volumeSize), layout.Write(context.Background(), f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return image
}

func TestAddToVolume(t *testing.T) {
	ctx := context.Background()
	image := volume(t)
	file, content := driverFile(t)
	p := add(t, image, file)
	if p.File != FileNew || len(p.Sets) != 2 || len(p.Changes) != 2*len(builtin()) {
		t.Errorf("file %s, %d control sets, %d values; want new, 2, %d", p.File, len(p.Sets), len(p.Changes), 2*len(builtin()))
	}
	before, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if p := add(t, image, file); !p.Nothing() {
		t.Errorf("second run: file %s, changes %v; want nothing to do", p.File, p.Changes)
	}
	after, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the second run changed the volume")
	}
	v, err := ntfs.NewReader(bytes.NewReader(after), volumeSize)
	if err != nil {
		t.Fatal(err)
	}
	problems, err := v.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.Severity > ntfs.SeverityNote {
			t.Errorf("%v", p)
		}
	}
	if out := reftool.Run(t, "ntfscat", "-f", image, "/Windows/System32/drivers/wofadk.sys"); !bytes.Equal([]byte(out), content) {
		t.Errorf("ntfscat reads %d bytes of the driver, want the %d that were put", len(out), len(content))
	}
	reftool.Run(t, "ntfsfix", "-n", image)
	hive := filepath.Join(t.TempDir(), "SYSTEM")
	if err := os.WriteFile(hive, []byte(reftool.Run(t, "ntfscat", "-f", image, "/Windows/System32/config/SYSTEM")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"ControlSet001", "ControlSet002"} {
		out := string(reftool.Run(t, "reglookup", "-p", "/"+set+"/Services/WofAdk", hive))
		for _, want := range []string{"/Start,DWORD,0x00000000", "/Type,DWORD,0x00000002", "DependOnService,MULTI_SZ,FltMgr", "Altitude,SZ,40730"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: reglookup has no %s in\n%s", set, want, out)
			}
		}
	}
}

// TestAllOrNothingInFolder takes the driver back when the hive cannot get its name.
func TestAllOrNothingInFolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := tree.ApplyFolder(context.Background(), system(t), dir, nil); err != nil {
		t.Fatal(err)
	}
	file, _ := driverFile(t)
	s, err := Open(context.Background(), dir, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := s.Plan(file, "", t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	hive := filepath.Join(dir, "Windows", "System32", "config", "SYSTEM")
	if err := errors.Join(os.Remove(hive), os.Mkdir(hive, 0o755)); err != nil { // nothing replaces a folder
		t.Fatal(err)
	}
	if err := p.Apply(); err == nil {
		t.Fatal("a folder was replaced by the hive")
	}
	if _, err := os.Stat(filepath.Join(dir, "Windows", "System32", "drivers", "wofadk.sys")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the driver is there without its service: %v", err)
	}
}

// TestPendingJournal writes nothing by a plan of a volume in the middle of a change: that is finished, and the command is to be run again.
func TestPendingJournal(t *testing.T) {
	image := volume(t)
	file, _ := driverFile(t)
	s, err := Open(context.Background(), image, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := s.Plan(file, "", t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image+".husk-journal", []byte("HUSKJRNL"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Fatalf("%v, want it to tell of the interrupted change", err)
	}
	if p := add(t, image, file); p.File != FileNew {
		t.Errorf("after it: file %s, want %s", p.File, FileNew)
	}
}
