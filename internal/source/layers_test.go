package source_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/deploy"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// layers writes a WIM and one that has only what the first lacks, with an image of two files each.
func layers(t *testing.T, base, delta string) {
	t.Helper()
	write := func(name string, have func(winfile.SHA1) bool, texts ...string) {
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w, err := wim.Create(f, &wim.WriterOptions{ChunkSize: 4096, Have: have})
		if err != nil {
			t.Fatal(err)
		}
		root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
		for i, text := range texts {
			info := &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Data: winfile.NewBlob([]byte(strings.Repeat(text+" ", 4000)))}
			root.Children = append(root.Children, &winfile.Entry{Name: string(rune('a'+i)) + ".txt", Info: info})
		}
		if err := w.AddImage(context.Background(), &winfile.Tree{Root: root}, wim.ImageInfo{Name: filepath.Base(name)}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(base, nil, "shared", "old")
	r, err := wim.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	write(delta, r.Has, "shared", "new")
}

// texts are the first words of the files of a source.
func texts(t *testing.T, spec string, o *source.Options) string {
	t.Helper()
	s, err := source.Open(context.Background(), spec, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var words []string
	for _, name := range []string{"a.txt", "b.txt"} {
		b, err := s.Tree.Lookup(name).Info.Data.ReadAll(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, strings.Fields(string(b))[0])
	}
	return strings.Join(words, " ")
}

// TestLayers reads a delta WIM and a disk that points into it and into its base, wherever those are.
func TestLayers(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	store := filepath.Join(dir, "wimboot")
	if err := os.MkdirAll(filepath.Join(store, "x64"), 0o777); err != nil {
		t.Fatal(err)
	}
	base, delta, disk := filepath.Join(store, "base.wim"), filepath.Join(store, "delta.wim"), filepath.Join(store, "x64", "d.vhd")
	layers(t, base, delta)
	if got := texts(t, delta, nil); got != "shared new" {
		t.Errorf("a delta WIM beside its base has %q", got)
	}

	s, err := source.Open(ctx, delta+":1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Uses(base) {
		t.Error("the source does not know that it reads the base")
	}
	u := ui.New(nil, io.Discard, io.Discard, "en")
	_, err = deploy.Make(ctx, s, disk, &deploy.Options{
		UI: u, Check: true, Size: 64 << 20, Wimboot: &deploy.Wimboot{Location: wof.NewMBRLocation(0x1a2b3c4d, 1<<20, `\wimboot\delta.wim`)},
	})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	raw, err := source.Open(ctx, disk, &source.Options{Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := wof.ReadOverlay(raw.Tree)
	if err != nil {
		t.Fatal(err)
	}
	paths := map[uint64]string{}
	for _, e := range overlay.Entries() {
		paths[e.DataSourceID] = e.Location.Path
	}
	for name, want := range map[string]string{"a.txt": `\wimboot\base.wim`, "b.txt": `\wimboot\delta.wim`} {
		p, err := wof.PointerOf(raw.Tree.Lookup(name).Info.Reparse)
		if err != nil {
			t.Fatal(err)
		}
		if paths[p.DataSourceID] != want {
			t.Errorf("%s points into data source %d, %s, want %s", name, p.DataSourceID, paths[p.DataSourceID], want)
		}
	}
	raw.Close()

	if got := texts(t, disk, nil); got != "shared new" {
		t.Errorf("the disk has %q", got)
	}
	// Another name, and then another place.
	if err := os.Rename(base, filepath.Join(store, "renamed.wim")); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, disk, nil); got != "shared new" {
		t.Errorf("with a WIM that was renamed the disk has %q", got)
	}
	away, second := filepath.Join(dir, "away.wim"), filepath.Join(dir, "second.wim")
	if err := os.Rename(filepath.Join(store, "renamed.wim"), away); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(delta, second); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "d.vhd")
	if err := os.Rename(disk, elsewhere); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{elsewhere, filepath.Join(dir, "second.wim")} {
		if got := texts(t, spec, &source.Options{WIMs: []string{second, away}}); got != "shared new" {
			t.Errorf("with WIMs named, %s has %q", spec, got)
		}
	}
	if _, err := source.Open(ctx, elsewhere, &source.Options{WIMs: []string{second}}); err == nil || !strings.Contains(err.Error(), "base.wim") {
		t.Errorf("with one of two WIMs: %v", err)
	}
	alone := filepath.Join(t.TempDir(), "alone.wim")
	if err := os.Rename(second, alone); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Open(ctx, alone, nil); err == nil || !strings.Contains(err.Error(), "not in the file") {
		t.Errorf("a delta WIM alone: %v", err)
	}
}
