package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/internal/source"
	"husk/internal/store"
	"husk/winfile"
	"husk/wof"
)

// TestStore puts points of a store of two layers onto a disk: both layers lie on it, and pointers lead into both.
func TestStore(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "wimboot")
	s, err := store.Create(dir, &store.CreateOptions{UI: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Lock(ctx, nil); err != nil {
		t.Fatal(err)
	}
	more := func(tree *winfile.Tree, _ string) {
		if err := place(tree, "Windows/later.txt", newFile([]byte(strings.Repeat("what came later\n", 1000)))); err != nil {
			t.Fatal(err)
		}
	}
	for i, image := range []string{images(t, true, "x64"), imagesWith(t, true, more, "x64")} {
		if _, err := s.AddPoint(ctx, image+":1", &store.AddOptions{System: "seven", Name: fmt.Sprint("p", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "disk.img")
	r, err := Install(ctx, []string{dir + ":seven@p0", dir + ":seven@p1"}, target, &Options{Firmware: BIOS, Wimboot: true, VHDSize: 1 << 30, UI: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Systems) != 2 || r.Systems[1].Path != `\wimboot\x64-2\win7.vhd` {
		t.Errorf("%+v", r.Systems[1])
	}
	_, main, _ := volumes(t, target)
	out := t.TempDir()
	for _, name := range []string{"wimboot.wim", "layer-0002.wim"} {
		extract(t, main, "wimboot/"+name, filepath.Join(out, name))
	}
	extract(t, main, "wimboot/x64-2/win7.vhd", filepath.Join(out, "win7.vhd"))
	raw, err := source.Open(ctx, filepath.Join(out, "win7.vhd"), &source.Options{Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	overlay, err := wof.ReadOverlay(raw.Tree)
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	for _, e := range overlay.Entries() {
		places = append(places, e.Location.Path)
	}
	slices.Sort(places)
	if !slices.Equal(places, []string{`\wimboot\layer-0002.wim`, `\wimboot\wimboot.wim`}) {
		t.Errorf("%q", places)
	}
	src, err := source.Open(ctx, filepath.Join(out, "win7.vhd"), &source.Options{WIMs: []string{filepath.Join(out, "wimboot.wim"), filepath.Join(out, "layer-0002.wim")}})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if b, err := src.Tree.Lookup("Windows/later.txt").Info.Data.ReadAll(1 << 20); err != nil || !strings.HasPrefix(string(b), "what came later") {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if len(src.Links.WIMs) != 2 {
		t.Errorf("pointers into %d WIMs", len(src.Links.WIMs))
	}
	if _, err := Install(ctx, []string{dir + ":seven@none"}, filepath.Join(out, "other.img"), &Options{UI: quiet(t)}); err == nil {
		t.Error("a point that is not there")
	}
}

// TestTwoWIMs: systems of two WIMs have both beside each other; WIMs of one name cannot.
func TestTwoWIMs(t *testing.T) {
	one, two := images(t, true, "x64"), images(t, true, "x86")
	target := filepath.Join(t.TempDir(), "disk.img")
	o := &Options{Firmware: BIOS, Wimboot: true, VHDSize: 1 << 30, UI: quiet(t)}
	if _, err := Install(context.Background(), []string{one + ":1", two + ":1"}, target, o); err == nil || !strings.Contains(err.Error(), `would both be \wimboot\store.wim`) {
		t.Errorf("%v", err)
	}
	other := filepath.Join(t.TempDir(), "x86.wim")
	if err := os.Rename(two, other); err != nil {
		t.Fatal(err)
	}
	if _, err := Install(context.Background(), []string{one + ":1", other + ":1"}, target, o); err != nil {
		t.Fatal(err)
	}
	_, main, _ := volumes(t, target)
	if main.Lookup("wimboot/store.wim") == nil || main.Lookup("wimboot/x86.wim") == nil {
		t.Error("a WIM is missing")
	}
	if entries, err := bootStore(t, main, "Boot/BCD").Entries(); err != nil || len(entries) != 2 {
		t.Errorf("%d %v", len(entries), err)
	}
}

// TestBadSystems: what cannot start, or is not whole, is refused, with what to do next, before anything is written.
func TestBadSystems(t *testing.T) {
	good := images(t, true, "x64")
	husk := filepath.Join(t.TempDir(), "husk.img")
	if _, err := Install(context.Background(), []string{good + ":1"}, husk, &Options{Firmware: BIOS, Wimboot: true, VHDSize: 1 << 30, UI: quiet(t)}); err != nil {
		t.Fatal(err)
	}
	_, main, _ := volumes(t, husk)
	vhd := filepath.Join(t.TempDir(), "win7.vhd")
	extract(t, main, "wimboot/x64/win7.vhd", vhd) // without its WIM
	changed := func(change func(tree *winfile.Tree)) string {
		return imagesWith(t, false, func(tree *winfile.Tree, _ string) { change(tree) }, "x64") + ":1"
	}
	const system = "Windows/System32/config/SYSTEM"
	dirty := func(tree *winfile.Tree, log []byte) {
		e := tree.Lookup(system)
		b, err := e.Info.Data.ReadAll(1 << 26)
		if err != nil {
			t.Fatal(err)
		}
		b[4]++ // the first sequence number: it was being written
		replaceData(e, b)
		for _, ext := range []string{".LOG", ".LOG1", ".LOG2"} {
			if l := tree.Lookup(system + ext); l != nil {
				replaceData(l, log)
			}
		}
	}
	damaged := images(t, false, "x64")
	b, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	for i := 300; i < len(b)/2; i += 50 {
		b[i] ^= 0x55
	}
	if err := os.WriteFile(damaged, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		image, want string
		hint        bool
	}{
		"a husk whose WIM moved": {vhd, "wimboot.wim", true},
		"no boot files":          {changed(func(tree *winfile.Tree) { drop(tree, "Windows/Boot") }), "no boot files for BIOS", true},
		"no kernel":              {changed(func(tree *winfile.Tree) { drop(tree, "Windows/System32/ntoskrnl.exe") }), "no kernel", true},
		"a kernel of junk": {changed(func(tree *winfile.Tree) {
			replaceData(tree.Lookup("Windows/System32/kernel32.dll"), []byte("junk"))
		}), "kernel32.dll", true},
		"a dirty hive":    {changed(func(tree *winfile.Tree) { dirty(tree, nil) }), "closed cleanly", true},
		"no hive":         {changed(func(tree *winfile.Tree) { drop(tree, system) }), "SYSTEM", true},
		"a damaged store": {damaged + ":1", "", true},
	} {
		dir := t.TempDir()
		u := quiet(t)
		_, err := Install(context.Background(), []string{tt.image}, filepath.Join(dir, "disk.img"), &Options{Firmware: BIOS, Size: 2 << 30, UI: u})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		} else if tt.hint && u.HintOf(err) == "" {
			t.Errorf("%s: %v: nothing to do next", what, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v %v", what, left, err)
		}
	}
}

// drop takes an entry out of a tree.
func drop(tree *winfile.Tree, path string) {
	i := strings.LastIndexByte(path, '/')
	dir := tree.Root
	if i >= 0 {
		dir = tree.Lookup(path[:i])
	}
	dir.Children = slices.DeleteFunc(dir.Children, func(e *winfile.Entry) bool { return winfile.EqualFold(e.Name, path[i+1:]) })
}
