package wim

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
)

// solidSamples are those of sampleFiles, shortened: the codec of solid files takes its time.
func solidSamples() map[string][]byte {
	files := sampleFiles()
	for name, data := range files {
		files[name] = data[:min(len(data), 140000)]
	}
	return files
}

// TestSolidIsReadByOthers writes solid resources of every codec and many chunk sizes, and files of LZMS chunks.
func TestSolidIsReadByOthers(t *testing.T) {
	files := solidSamples()
	for _, opts := range []WriterOptions{
		{Solid: true},
		{Solid: true, SolidLevel: Fast, SolidChunkSize: 1 << 17, Codec: LZX},
		{Solid: true, SolidLevel: Best, SolidChunkSize: 1 << 20, Integrity: true, Workers: 3},
		{Solid: true, SolidChunkSize: 1 << 15, Codec: LZMS, SolidUnsorted: true},
		{Solid: true, SolidCodec: LZX},
		{Solid: true, SolidCodec: LZX, SolidChunkSize: 1 << 15},
		{Solid: true, SolidCodec: XPRESS},
		{Solid: true, SolidCodec: XPRESS, SolidChunkSize: 4096, Codec: None},
		{Codec: LZMS},
		{Codec: LZMS, ChunkSize: 1 << 15, Level: Fast},
		{Codec: LZMS, ChunkSize: 1 << 22},
	} {
		t.Run(fmt.Sprint(opts.Solid, opts.SolidCodec, opts.SolidChunkSize, opts.Codec, opts.ChunkSize), func(t *testing.T) {
			f := write(t, opts, files)
			r := f.reader(t)
			checkFiles(t, r.Images()[0], files)
			verifyClean(t, r)
			name, out := save(t, f), t.TempDir()
			reftool.Run(t, "wimlib-imagex", "verify", name)
			reftool.Run(t, "wimlib-imagex", "apply", name, out)
			checkFolder(t, out, files)
			reftool.Run(t, "7z", "t", name)
		})
	}
}

// TestSolidAppend adds to solid files of husk and of wimlib, solid and not, and rebuilds the result solid and plain.
func TestSolidAppend(t *testing.T) {
	first, second, third := solidSamples(), map[string][]byte{"b/new.txt": prose(77, 300000), "b/same.txt": prose(1, 40000)},
		map[string][]byte{"c/third.dll": prose(78, 200000)}
	dir := t.TempDir()
	for name, data := range first {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	theirs := filepath.Join(t.TempDir(), "theirs.wim")
	reftool.Run(t, "wimlib-imagex", "capture", dir, theirs, "image 1", "--solid")
	b, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	for from, f := range map[string]*memFile{
		"husk": write(t, WriterOptions{Solid: true, SolidChunkSize: 1 << 17}, first), "wimlib": {b: b, writes: -1}, "plain": write(t, WriterOptions{}, first),
	} {
		t.Run(from, func(t *testing.T) {
			for i, files := range []map[string][]byte{second, third} {
				opts := WriterOptions{Solid: i == 0 || from == "plain", SolidChunkSize: 1 << 18}
				appendTo(t, f, opts, func(w *Writer) error {
					tree, _ := treeOf(files)
					return w.AddImage(t.Context(), tree, ImageInfo{Name: fmt.Sprint("image ", i+2)})
				})
			}
			r := f.reader(t)
			for i, files := range []map[string][]byte{first, second, third} {
				checkFiles(t, r.Images()[i], files)
			}
			verifyClean(t, r)
			name := save(t, f)
			reftool.Run(t, "wimlib-imagex", "verify", name)
			out := t.TempDir()
			reftool.Run(t, "wimlib-imagex", "apply", name, "3", out)
			checkFolder(t, out, third)

			for _, opts := range []WriterOptions{{Solid: true, SolidCodec: LZX}, {Codec: XPRESS}} {
				g, _ := export(t, r, opts, 1, 2, 3)
				again := g.reader(t)
				verifyClean(t, again)
				checkFiles(t, again.Images()[1], second)
				reftool.Run(t, "wimlib-imagex", "verify", save(t, g))
			}
		})
	}
}

// TestSolidOrder looks at the order of the contents: by extension, then name.
func TestSolidOrder(t *testing.T) {
	files := map[string][]byte{"z/B.txt": prose(1, 100), "a/x.DLL": prose(2, 100), "q/a.TXT": prose(3, 100), "noext": prose(4, 100), "c.dll": prose(5, 100)}
	want := bytes.Join([][]byte{files["noext"], files["c.dll"], files["a/x.DLL"], files["q/a.TXT"], files["z/B.txt"]}, nil)
	f := write(t, WriterOptions{Solid: true, SolidCodec: None}, files)
	if !bytes.Contains(f.b, want) {
		t.Error("the contents are not in the order of extensions and names")
	}
	if g := write(t, WriterOptions{Solid: true, SolidCodec: None, SolidUnsorted: true}, files); bytes.Contains(g.b, want) {
		t.Error("they are even though that was not wanted")
	}
}

func TestSolidRefusals(t *testing.T) {
	for want, opts := range map[string]WriterOptions{
		"chunk size 5000": {Solid: true, SolidChunkSize: 5000}, "chunk size 4194304": {Solid: true, SolidCodec: LZX, SolidChunkSize: 1 << 22},
		"level 9": {Solid: true, SolidLevel: 9},
	} {
		w, err := Create(&memFile{writes: -1}, &opts)
		if err == nil {
			tree, _ := treeOf(map[string][]byte{"a": prose(1, 100)})
			err = w.AddImage(t.Context(), tree, ImageInfo{Name: "a"})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
