package imagex

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/internal/source"
	"husk/internal/tree"
	"husk/ntfs"
	"husk/winfile"
	"husk/winfile/sddl"
)

// seeds is how many random trees are tried: HUSK_SEEDS sets it for long runs.
func seeds(t *testing.T, usual int) int {
	if s := os.Getenv("HUSK_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return usual
}

// randomNTFS makes a tree with what both programs carry between volumes and WIMs: names of all kinds and short ones, contents and named
// streams, attributes, times, descriptors, hard links, reparse points, object ids.
func randomNTFS(t *testing.T, r *rand.Rand) *winfile.Tree {
	t.Helper()
	var descriptors [][]byte
	for _, s := range []string{"O:BAG:SYD:(A;;FA;;;WD)", "O:SYG:SYD:PAI(A;OICI;FA;;;BA)(D;;FW;;;BU)", "O:BUG:BUD:(A;;FR;;;AU)S:(AU;SA;FA;;;WD)"} {
		sd, err := sddl.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		descriptors = append(descriptors, sd)
	}
	when := func() winfile.Filetime { return winfile.Filetime(129000000000000000 + r.Uint64N(4000000000000000)) }
	content := func(most int) *winfile.Blob {
		b := make([]byte, r.IntN(most))
		for k := range b {
			b[k] = byte(r.IntN(1 + r.IntN(255)))
		}
		return winfile.NewBlob(b)
	}
	info := func() *winfile.Info {
		i := &winfile.Info{Created: when(), Written: when(), Accessed: when(), Changed: when(), Links: 1, Security: descriptors[r.IntN(len(descriptors))]}
		i.Attributes = winfile.Attributes(r.IntN(8)) | winfile.AttrArchive*winfile.Attributes(r.IntN(2)) | winfile.AttrNotIndexed*winfile.Attributes(r.IntN(2))
		for k := range r.IntN(5) / 2 {
			i.Streams = append(i.Streams, winfile.Stream{Name: fmt.Sprintf("s%d é", k), Data: content(3000)})
		}
		if r.IntN(6) == 0 {
			id := make([]byte, 16)
			for k := range id {
				id[k] = byte(r.IntN(256))
			}
			i.Extra = &winfile.Extra{ObjectID: id}
		}
		return i
	}
	root := &winfile.Entry{Info: info()}
	root.Info.Attributes, root.Info.Streams, root.Info.Extra = winfile.AttrDirectory, nil, nil
	dirs, files := []*winfile.Entry{root}, []*winfile.Entry(nil)
	for n := range 60 {
		dir := dirs[r.IntN(len(dirs))]
		e := &winfile.Entry{Name: fmt.Sprintf("%s %d", []string{"file", "Größe", "文件", "a.b.c", "X"}[r.IntN(5)], n), Info: info()}
		if r.IntN(3) == 0 {
			e.ShortName = fmt.Sprintf("SHORT%d.%d", n, r.IntN(10))
		}
		switch r.IntN(8) {
		case 0, 1:
			e.Info.Attributes |= winfile.AttrDirectory
			dirs = append(dirs, e)
		case 2:
			point(r, e.Info)
		case 3:
			if len(files) > 0 {
				e.Info, e.ShortName = files[r.IntN(len(files))].Info, ""
				e.Info.Links++
				break
			}
			fallthrough
		default:
			e.Info.Data = content([]int{1, 100, 5000, 200000}[r.IntN(4)])
			if e.Info.Attributes&^winfile.AttrReadOnly == 0 {
				e.Info.Attributes |= winfile.AttrArchive
			}
			files = append(files, e)
		}
		dir.Children = append(dir.Children, e)
	}
	return &winfile.Tree{Root: root}
}

// point makes a file a symbolic link, a junction or a reparse point of another kind.
func point(r *rand.Rand, i *winfile.Info) {
	i.Streams, i.Extra = nil, nil
	i.Attributes |= winfile.AttrReparse
	link := func(names int, flags ...byte) []byte {
		s := winfile.AppendUTF16LE(nil, fmt.Sprintf(`\??\C:\dir\%d`, r.IntN(100)))
		p := winfile.AppendUTF16LE(nil, `C:\dir`)
		var d []byte
		for _, n := range []int{0, len(s), len(s) + 2, len(p)} {
			d = binary.LittleEndian.AppendUint16(d, uint16(n))
		}
		d = append(d, flags...)
		d = append(append(d, s...), 0, 0)
		return append(append(d, p...), 0, 0)
	}
	switch r.IntN(3) {
	case 0:
		i.Reparse = &winfile.Reparse{Tag: winfile.TagSymlink, Data: link(12, 0, 0, 0, 0)}
	case 1:
		i.Attributes |= winfile.AttrDirectory
		i.Reparse = &winfile.Reparse{Tag: winfile.TagMountPoint, Data: link(8)}
	default:
		i.Reparse = &winfile.Reparse{Tag: winfile.TagAppExecLink, Data: []byte(strings.Repeat("data ", 1+r.IntN(30)))}
	}
}

// volumeOf makes an image of an NTFS volume.
func volumeOf(t *testing.T, name string, tr *winfile.Tree) {
	t.Helper()
	l, err := ntfs.NewLayout(tr, &ntfs.BuildOptions{Size: 32 << 20, Serial: 1})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(l.Size()); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// fresh makes an empty volume by mkntfs, in a file of which every byte was in use before.
func fresh(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(strings.Repeat("\xa5", 24<<20)), 0o644); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "mkntfs", "-F", "-Q", "-q", "-L", "fresh", name)
}

func volumeTree(t *testing.T, name string) (*source.Source, *winfile.Tree) {
	t.Helper()
	s, err := source.Open(t.Context(), name, &source.Options{Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, s.Tree
}

// TestFourWays captures random volumes by husk and by wimlib, and applies both WIMs to volumes by husk and by wimlib: all four have what
// the first has, and husk's are without faults.
func TestFourWays(t *testing.T) {
	reftool.Look(t, "wimlib-imagex")
	reftool.Look(t, "mkntfs")
	for seed := range seeds(t, 3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := t.TempDir()
			first := filepath.Join(dir, "first.img")
			volumeOf(t, first, randomNTFS(t, rand.New(rand.NewPCG(uint64(seed), 5))))
			_, want := volumeTree(t, first)
			wims := map[string]string{"husk": filepath.Join(dir, "h.wim"), "wimlib": filepath.Join(dir, "w.wim")}
			must(t, "capture", first, wims["husk"], "--compress=xpress")
			reftool.Run(t, "wimlib-imagex", "capture", first, wims["wimlib"], "--compress=none")
			reftool.Run(t, "wimlib-imagex", "verify", wims["husk"])
			must(t, "verify", wims["wimlib"])
			for by, name := range wims {
				for _, to := range []string{"husk", "wimlib"} {
					img := filepath.Join(dir, by+to+".img")
					fresh(t, img)
					if to == "husk" {
						must(t, "apply", name, "1", img)
					} else {
						reftool.Run(t, "wimlib-imagex", "apply", name, "1", img)
					}
					s, got := volumeTree(t, img)
					d, err := tree.Compare(t.Context(), want, got, &tree.CompareOptions{Ignore: tree.DiffChanged, ReadBoth: true})
					if err != nil || !d.Equal() || d.Paths < 60 {
						t.Errorf("captured by %s, applied by %s: %d paths, %v, %v", by, to, d.Paths, d.List, err)
					}
					if to != "husk" {
						continue
					}
					problems, err := s.NTFS.Check(t.Context())
					if err != nil || len(problems) > 0 || s.NTFS.Label != "fresh" {
						t.Errorf("captured by %s, applied by husk: label %q, %v, %v", by, s.NTFS.Label, problems, err)
					}
					reftool.Run(t, "ntfsfix", "-n", img)
				}
			}
		})
	}
}

// TestApplyBeside applies an image to a volume that has files already.
func TestApplyBeside(t *testing.T) {
	reftool.Look(t, "mkntfs")
	dir := t.TempDir()
	src, img, name := filepath.Join(dir, "src"), filepath.Join(dir, "a.img"), filepath.Join(dir, "a.wim")
	for n, text := range map[string]string{"kept": "old", "d/changed": "new content"} {
		p := filepath.Join(src, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must(t, "capture", src, name)
	fresh(t, img)
	must(t, "apply", name, "1", img)
	if err := os.Remove(filepath.Join(src, "kept")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "d/changed"), []byte(strings.Repeat("newer ", 9000)), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "append", src, name, "two")
	must(t, "apply", name, "two", img)
	s, got := volumeTree(t, img)
	if e := got.Lookup("kept"); e == nil || e.Info.Size() != 3 {
		t.Errorf("kept: %+v", e)
	}
	if e := got.Lookup("d/changed"); e == nil || e.Info.Size() != 54000 {
		t.Errorf("changed: %+v", e)
	}
	if problems, err := s.NTFS.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	reftool.Run(t, "ntfsfix", "-n", img)
	if code, _, errs := run(t, "", "apply", name, "all", img); code != codeUnsupported {
		t.Errorf("all images to one volume: %d %s", code, errs)
	}
}
