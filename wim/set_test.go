package wim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
)

// split writes r into files of a new folder and returns the name of the first one.
func split(t *testing.T, r *Reader, size int64, opts *SplitOptions) (string, int) {
	t.Helper()
	parts, err := PlanSplit(r, size)
	if err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(t.TempDir(), "set.swm")
	var f *os.File
	err = Split(context.Background(), r, parts, func(part int) (WriteTarget, error) {
		f, err = os.Create(PartName(first, part))
		return f, err
	}, func(int) error { return f.Close() }, opts)
	if err != nil {
		t.Fatal(err)
	}
	return first, len(parts)
}

func TestSplitAndJoin(t *testing.T) {
	src := write(t, WriterOptions{Codec: LZX, Integrity: true, BootIndex: 1}, sampleFiles(), deltaFiles())
	for _, size := range []int64{1, 1 << 20, 3 << 20, 1 << 40} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			first, n := split(t, src.reader(t), size, &SplitOptions{Integrity: true})
			for i := range n {
				info, err := os.Stat(PartName(first, i+1))
				if err != nil || size > 4<<20 && info.Size() > size {
					t.Errorf("part %d: %v, %v", i+1, info, err)
				}
			}
			r, err := OpenParts(first)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			checkFiles(t, r.Images()[0], sampleFiles())
			checkFiles(t, r.Images()[1], deltaFiles())
			verifyClean(t, r)
			joined := &memFile{writes: -1}
			stats, err := Rebuild(context.Background(), joined, r, nil)
			if err != nil || stats.Copied != stats.NewBlobs {
				t.Fatalf("%v; %d of %d blobs copied", err, stats.Copied, stats.NewBlobs)
			}
			if p, of := joined.reader(t).Part(); p != 1 || of != 1 || joined.reader(t).Flags()&uint32(flagSpanned) != 0 {
				t.Errorf("joined file is part %d of %d", p, of)
			}
			verifyClean(t, joined.reader(t))
			checkFiles(t, joined.reader(t).Images()[1], deltaFiles())

			out := filepath.Join(t.TempDir(), "out")
			theirs := filepath.Join(t.TempDir(), "joined.wim")
			glob := strings.TrimSuffix(first, ".swm") + "*.swm"
			if n == 1 {
				glob = first
			}
			reftool.Run(t, "wimlib-imagex", "verify", first, "--ref="+glob)
			reftool.Run(t, "wimlib-imagex", "apply", first, "2", out, "--ref="+glob)
			checkFolder(t, out, deltaFiles())
			args := []string{"join", theirs}
			for i := range n {
				args = append(args, PartName(first, i+1))
			}
			reftool.Run(t, "wimlib-imagex", args...)
			verifyClean(t, openTest(t, theirs))
		})
	}
}

// TestReadsSplitOfWimlib reads the parts that wimlib and 7z's library make of a file.
func TestReadsSplitOfWimlib(t *testing.T) {
	name := save(t, write(t, WriterOptions{Integrity: true}, sampleFiles(), deltaFiles()))
	first := filepath.Join(t.TempDir(), "theirs.swm")
	reftool.Run(t, "wimlib-imagex", "split", name, first, "2")
	names, err := filepath.Glob(strings.TrimSuffix(first, ".swm") + "*.swm")
	if err != nil || len(names) < 3 {
		t.Fatalf("%q, %v; want several parts", names, err)
	}
	r, err := OpenSet(append(names, names[0])...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	checkFiles(t, r.Images()[1], deltaFiles())
	verifyClean(t, r)
	if err := r.CheckSet(); err != nil {
		t.Error(err)
	}
	if _, err := OpenSet(names[:len(names)-1]...); !errors.Is(err, ErrMissing) {
		t.Errorf("a part is missing: %v, want %v", err, ErrMissing)
	}
	if _, err := OpenParts(PartName(first, 2)); err == nil {
		t.Error("a set was opened by its second part")
	}
	again := filepath.Join(t.TempDir(), "again.swm")
	reftool.Run(t, "wimlib-imagex", "split", name, again, "2")
	if _, err := OpenSet(names[0], PartName(again, 2)); err == nil || !strings.Contains(err.Error(), "two sets") {
		t.Errorf("parts of two sets: %v", err)
	}
	alone := openTest(t, names[0])
	if err := alone.CheckSet(); !errors.Is(err, ErrMissing) {
		t.Errorf("a first part alone: %v", err)
	}
	if _, err := alone.Images()[0].Tree(); err == nil || !strings.Contains(err.Error(), "split WIM") {
		t.Errorf("tree of a first part alone: %v", err)
	}
	if n := len(openTest(t, names[1]).Images()); n != 0 {
		t.Errorf("%d images in the second part, want 0", n)
	}
	f, err := os.OpenFile(names[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Append(f, alone.Size(), nil); err == nil {
		t.Error("a part was opened for appending")
	}
}

// TestSolidStaysSolid splits, joins and rebuilds a solid WIM.
func TestSolidStaysSolid(t *testing.T) {
	files := map[string][]byte{"a.txt": prose(1, 300000), "b.txt": prose(2, 300000), "c.bin": noise(3, 200000), "d": []byte("d")}
	r := write(t, WriterOptions{Solid: true, SolidCodec: LZX, SolidChunkSize: 1 << 15}, files).reader(t)
	if _, _, ok := r.Solid(); !ok {
		t.Fatal("the WIM is not solid")
	}
	first, n := split(t, r, 150000, nil)
	if n < 2 {
		t.Fatalf("%d parts, want several", n)
	}
	set, err := OpenParts(first)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	checkFiles(t, set.Images()[0], files)
	verifyClean(t, set)
	f := &memFile{writes: -1}
	if _, err := Rebuild(context.Background(), f, set, nil); err != nil {
		t.Fatal(err)
	}
	joined := f.reader(t)
	if codec, chunk, ok := joined.Solid(); !ok || codec != LZX || chunk != 1<<15 {
		t.Errorf("joined: %s, %d, %t", codec, chunk, ok)
	}
	checkFiles(t, joined.Images()[0], files)
	verifyClean(t, joined)
	reftool.Run(t, "wimlib-imagex", "verify", save(t, f))
	reftool.Run(t, "wimlib-imagex", "verify", first, "--ref="+strings.TrimSuffix(first, ".swm")+"*.swm")
	appendTo(t, f, WriterOptions{}, func(w *Writer) error { return w.SetProperty(1, "NAME", "other") })
	appendTo(t, f, WriterOptions{}, func(w *Writer) error { return w.DeleteImage(1) })
	verifyClean(t, f.reader(t))
}
