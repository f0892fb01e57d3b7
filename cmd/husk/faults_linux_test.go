//go:build !386 && !arm && !mips && !mipsle

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"husk/internal/faultfs"
	"husk/internal/sample"
	"husk/internal/tree"
)

var faults = flag.Int("faults", 6, "at how many operations of each command TestIOErrors lets the disk fail")

// failures are the ways in which a disk fails.
var failures = []struct {
	name string
	faultfs.Fault
}{
	{"one change", faultfs.Fault{Ops: faultfs.Changes, Torn: true}},
	{"the disk is gone", faultfs.Fault{Ops: faultfs.Changes, Stays: true, Torn: true}},
	{"the disk is full", faultfs.Fault{Ops: faultfs.Grows, Stays: true, Torn: true, Errno: syscall.ENOSPC}},
	{"one read", faultfs.Fault{Ops: faultfs.Read}},
	{"the disk is gone while it is read", faultfs.Fault{Ops: faultfs.Read | faultfs.Changes, Stays: true}},
}

// faulty is a command on a disk that fails.
type faulty struct {
	name  string
	start func(t *testing.T, dir string)             // makes what it begins with, without faults
	args  func(dir string) []string                  // of the command
	check func(t *testing.T, below string, new bool) // that what is there is sound and old or new; or that it is the new
	store bool                                       // there is a store from the beginning
}

// TestIOErrors lets the disk fail under the commands that change systems and stores: once, or from then on for good, when it is read, written,
// synced, or names are changed, or no room is left. The store then is sound, each system is as it was or as it is to be, file by file, and
// once the disk works again the same command gets to its end.
func TestIOErrors(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many commands")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	f := newFaultFixture(t)
	for _, c := range f.commands() {
		t.Run(c.name, func(t *testing.T) { c.run(t, rand.New(rand.NewPCG(seed, 0)), *faults) })
	}
}

func (c *faulty) run(t *testing.T, rnd *rand.Rand, points int) {
	template, below := t.TempDir(), t.TempDir()
	c.start(t, template)
	disk := faultfs.Mount(t, below)
	fresh := func() {
		t.Helper()
		emptyFolder(t, below)
		if err := os.CopyFS(below, os.DirFS(template)); err != nil {
			t.Fatal(err)
		}
	}
	finished := func(what string) {
		t.Helper()
		c.check(t, below, true)
		noLeftovers(t, below)
		if c.store {
			soundStore(t, filepath.Join(below, "st"))
		}
		if t.Failed() {
			t.Fatalf("%s", what)
		}
	}
	fresh()
	disk.Set(faultfs.Fault{})
	if status, out := husk(t, c.args(disk.Dir)...); status != 0 {
		t.Fatalf("without a fault: %d\n%s", status, out)
	}
	counts := make([]int, len(failures))
	for i, f := range failures {
		if counts[i] = disk.Count(f.Ops); counts[i] == 0 {
			t.Fatalf("%s: there is nothing that could fail", f.name)
		}
	}
	finished("without a fault")
	first, failed, went := rnd.IntN(len(failures)), 0, 0
	for n := range points {
		i := (first + n) % len(failures)
		fault := failures[i].Fault
		fault.At = 1 + (n*counts[i]+rnd.IntN(counts[i]))/points
		what := fmt.Sprintf("%s at %d of %d", failures[i].name, fault.At, counts[i])
		fresh()
		disk.Set(fault)
		status, out := husk(t, c.args(disk.Dir)...)
		hit := disk.Failed() > 0
		disk.Set(faultfs.Fault{})
		if hit {
			failed++
		}
		if status == 0 && !strings.Contains(out, "warning: ") { // a warning may be of a disk that is to be changed by the next
			went++
			finished(what + ": the command succeeded all the same\n" + out)
			continue
		}
		if !hit {
			t.Fatalf("%s: nothing failed, but status %d\n%s", what, status, out)
		}
		why := func(text string) bool { return strings.Contains(out, text) }
		// The check of what was made tells of a record that it could not read as it tells of one that is damaged.
		if !slices.ContainsFunc([]string{"input/output error", "no space left on device", "does not read back", ".vhd: record "}, why) && status != exitRefused {
			t.Errorf("%s: the error does not say why\n%s", what, out)
		}
		c.check(t, below, false)
		if c.store {
			soundStore(t, filepath.Join(below, "st"))
		}
		if t.Failed() {
			t.Fatalf("%s: status %d\n%s", what, status, out)
		}
		again, said := husk(t, c.args(disk.Dir)...)
		done := func(text string) bool { return strings.Contains(said, text) }
		if again != 0 && !slices.ContainsFunc([]string{"is a husk already", "exists", "there is a point x64@may already"}, done) {
			t.Fatalf("%s: status %d\n%srepeated: status %d\n%s", what, status, out, again, said)
		}
		finished(fmt.Sprintf("%s: status %d\n%srepeated:\n%s", what, status, out, said))
	}
	t.Logf("%d faults, which %d commands survived; of %d reads and %d changes", failed, went, counts[4]-counts[0], counts[0])
	if failed*2 < points {
		t.Errorf("%d of %d faults happened", failed, points)
	}
}

func emptyFolder(t *testing.T, dir string) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := os.RemoveAll(filepath.Join(dir, n.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

func noLeftovers(t *testing.T, dir string) {
	t.Helper()
	for _, pattern := range []string{"*.husk-convert", "*.husk.wim*", "*.husk-journal", "*.tmp-*", "*.new"} {
		for _, folder := range []string{"", "st", "store", "st/x64"} {
			left, err := filepath.Glob(filepath.Join(dir, folder, pattern))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		}
	}
}

func soundStore(t *testing.T, dir string) {
	t.Helper()
	if status, out := husk(t, "store", "check", dir); status != 0 {
		t.Errorf("store check: %d\n%s", status, out)
	}
}

// faultFixture are the systems that the commands are tried on.
type faultFixture struct {
	dir string // pc.vhd, an installed system; st, a store with its points and a disk that has grown
}

func newFaultFixture(t *testing.T) *faultFixture {
	t.Helper()
	f := &faultFixture{t.TempDir()}
	at := func(name string) string { return filepath.Join(f.dir, name) }
	must := func(args ...string) {
		t.Helper()
		if status, out := husk(t, args...); status != 0 {
			t.Fatalf("%q: %d\n%s", args, status, out)
		}
	}
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(at(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	system, err := sample.Tree(sample.Options{Arch: "x64", Programs: 12})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.ApplyFolder(context.Background(), system, at("x64"), nil); err != nil {
		t.Fatal(err)
	}
	must("reg", "set", at("x64"), "SOFTWARE", `Microsoft\Windows NT\CurrentVersion`, "CurrentBuild", "19045")
	must("capture", at("x64"), at("plain.wim"))
	must("install", at("plain.wim")+":1", at("pc.vhd"), "--firmware=bios", "--size=200M")
	noise := make([]byte, 300<<10)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	write("patch.dll", noise)
	write("notepad.exe", []byte("a patched notepad"))
	write("more.dll", append(noise[:len(noise)/2:len(noise)/2], "and more"...))
	disk := at("st/x64/win.vhd")
	if err := os.MkdirAll(filepath.Dir(disk), 0o700); err != nil {
		t.Fatal(err)
	}
	must("store", "init", at("st"))
	must("point", "add", at("st"), "x64", at("x64"), "--name=before")
	must("apply", at("st")+":x64@before", disk, "--wimboot", "--size=200M", `--wim-path=\st\wimboot.wim`, "--wim-disk=mbr:1a2b3c4d:1048576")
	must("fs", "put", "--yes", disk, at("patch.dll"), at("notepad.exe"), "/Windows/System32")
	must("point", "add", at("st"), "x64", disk, "--name=after")
	must("fs", "put", "--yes", disk, at("more.dll"), "/Windows/System32")
	return f
}

// converts are the forms of husk convert, of work.vhd.
func (f *faultFixture) converts() []*faulty {
	before := filepath.Join(f.dir, "pc.vhd")
	where := []string{`--wim-path=\store\wimboot.wim`, "--wim-disk=mbr:1a2b3c4d:1048576"}
	start := func(t *testing.T, dir string) {
		copyFile(t, before, filepath.Join(dir, "pc.vhd"))
		copyFile(t, before, filepath.Join(dir, "work.vhd"))
	}
	inPlace := func(t *testing.T, below string, _ bool) { allThere(t, below, "work.vhd") }
	return []*faulty{
		{name: "convert to a VHD", start: start,
			args: func(dir string) []string {
				return append([]string{"convert", filepath.Join(dir, "work.vhd"), filepath.Join(dir, "store/win.vhd")}, where...)
			},
			check: func(t *testing.T, below string, new bool) {
				if !sameFiles(t, before, filepath.Join(below, "work.vhd")) {
					t.Error("the old system was changed")
				}
				if _, err := os.Stat(filepath.Join(below, "store/win.vhd")); err == nil || new {
					allThere(t, below, "store/win.vhd")
				}
			}},
		{name: "convert in place, the WIM on the volume", start: start, check: inPlace,
			args: func(dir string) []string { return []string{"convert", filepath.Join(dir, "work.vhd"), "--yes"} }},
		{name: "convert in place, the WIM elsewhere", start: start, check: inPlace,
			args: func(dir string) []string {
				return append([]string{"convert", filepath.Join(dir, "work.vhd"), "--store=" + filepath.Join(dir, "store"), "--yes"}, where...)
			}},
	}
}

// commands are those with systems of a store, and all others.
func (f *faultFixture) commands() []*faulty {
	start := func(t *testing.T, dir string) {
		if err := os.CopyFS(filepath.Join(dir, "st"), os.DirFS(filepath.Join(f.dir, "st"))); err != nil {
			t.Fatal(err)
		}
	}
	const disk = "st/x64/win.vhd"
	grown := filepath.Join(f.dir, disk)
	same := func(t *testing.T, is, want string) bool {
		t.Helper()
		status, out := husk(t, "diff", is, want, "--exit-code", "--wim="+filepath.Join(f.dir, "st/wimboot.wim"))
		if status != 0 {
			t.Logf("%s", out)
		}
		return status == 0
	}
	// system checks the disk. A change that waits to be finished counts as finished.
	system := func(t *testing.T, below string, want ...string) {
		t.Helper()
		is := filepath.Join(below, disk)
		for _, command := range []string{"check", "verify"} {
			if status, out := husk(t, command, is); status != 0 {
				t.Errorf("%s: %d\n%s", command, status, out)
			}
		}
		if !slices.ContainsFunc(want, func(w string) bool { return same(t, is, w) }) {
			t.Errorf("the system is none of %q", want)
		}
	}
	store := func(t *testing.T, below string, points ...string) {
		t.Helper()
		for _, p := range points {
			if status, out := husk(t, "diff", filepath.Join(f.dir, "st")+":x64@"+p, filepath.Join(below, "st")+":x64@"+p, "--exit-code", "--all-times"); status != 0 {
				t.Errorf("x64@%s: %d\n%s", p, status, out)
			}
		}
	}
	slimmed := func(t *testing.T, below string, _ bool) {
		system(t, below, grown)
		store(t, below, "before", "after")
	}
	in := func(args ...string) func(string) []string {
		return func(dir string) []string {
			a := slices.Clone(args)
			for i := range a {
				a[i] = strings.ReplaceAll(a[i], "DIR", dir)
			}
			return a
		}
	}
	list := f.converts()
	return append(list,
		&faulty{name: "slim", start: start, store: true, args: in("slim", "DIR/"+disk), check: slimmed},
		&faulty{name: "slim by a rebuild", start: start, store: true, args: in("slim", "DIR/"+disk, "--rebuild"), check: slimmed},
		&faulty{name: "restore", start: start, store: true, args: in("restore", "DIR/st:x64@before", "DIR/"+disk, "--discard"),
			check: func(t *testing.T, below string, new bool) {
				old := filepath.Join(f.dir, "st") + ":x64@before"
				if new {
					system(t, below, old)
				} else {
					system(t, below, old, grown)
				}
			}},
		&faulty{name: "point add", start: start, store: true, args: in("point", "add", "DIR/st", "x64", "DIR/"+disk, "--name=may"),
			check: func(t *testing.T, below string, new bool) {
				slimmed(t, below, new)
				if new && !same(t, filepath.Join(below, "st")+":x64@may", grown) {
					t.Error("the new point is not the system")
				}
			}},
		&faulty{name: "merge", start: start, store: true, args: in("store", "merge", "DIR/st"), check: slimmed},
		&faulty{name: "merge and repoint", start: start, store: true, args: in("store", "merge", "DIR/st", "--repoint"), check: slimmed},
		&faulty{name: "prune", start: start, store: true, args: in("prune", "DIR/st", "--keep-last=1", "--yes"),
			check: func(t *testing.T, below string, _ bool) {
				system(t, below, grown)
				store(t, below, "after")
			}},
	)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sameFiles(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}
