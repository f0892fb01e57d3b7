package ntfs

import (
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// load makes random changes, as many as count, with names that collide now and then.
func load(t testing.TB, dir string, seed uint64, count int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	dirs := []string{dir}
	pick := func() string {
		return filepath.Join(dirs[r.IntN(len(dirs))], fmt.Sprintf("%s %d", strings.Repeat("näme", 1+r.IntN(12)), r.IntN(count/4)))
	}
	var files []string
	for range count {
		name := pick()
		var old string
		if len(files) > 0 {
			old = files[r.IntN(len(files))]
		}
		// Most of these may fail: the name exists, the file is gone.
		switch op := r.IntN(20); {
		case op < 9:
			if os.WriteFile(name, noise(uint64(op), r.IntN(1+1<<r.IntN(17))), 0o644) == nil {
				files = append(files, name)
			}
		case op < 10:
			if len(dirs) < 12 && os.Mkdir(name, 0o755) == nil {
				dirs = append(dirs, name)
			}
		case op < 14:
			os.Remove(old)
		case op < 16:
			if os.Rename(old, name) == nil {
				files = append(files, name)
			}
		case op < 17:
			if os.Link(old, name) == nil {
				files = append(files, name)
			}
		case op < 19:
			if f, err := os.OpenFile(old, os.O_WRONLY, 0); err == nil {
				f.WriteAt(noise(3, r.IntN(20000)), int64(r.IntN(200000)))
				f.Close()
			}
		default:
			os.Truncate(old, int64(r.IntN(300000)))
		}
	}
}

// TestReadAfterLoad lets ntfs-3g change volumes of its own and of the builder.
func TestReadAfterLoad(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T) string
	}{
		{"mkntfs", func(t *testing.T) string { return formatVolume(t, 96<<20) }},
		{"builder", func(t *testing.T) string {
			name, _ := buildImage(t, sampleTree(600), &BuildOptions{Size: 96 << 20})
			return name
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			img := tt.make(t)
			mounted(t, img, "streams_interface=xattr", func(dir string) { load(t, dir, 7, 2000) })
			v := openVolume(t, img)
			tree := readTree(t, v)
			if n := tree.Totals().Names; n < 150 {
				t.Errorf("only %d names", n)
			}
			wantSound(t, v)
			mounted(t, img, "streams_interface=xattr,ro", func(dir string) { compareWithMount(t, tree, dir) })
		})
	}
}

// TestReadFragmentedMFT fills a volume, frees every second cluster and makes records, so that the $MFT has to take them one by one.
func TestReadFragmentedMFT(t *testing.T) {
	img := formatVolume(t, 20<<20)
	mounted(t, img, "streams_interface=xattr", func(dir string) {
		n := 0
		for ; ; n++ {
			if os.WriteFile(fmt.Sprintf("%s/fill %d", dir, n), noise(uint64(n), 4096), 0o644) != nil {
				break
			}
		}
		for i := 0; i < n; i += 2 {
			if err := os.Remove(fmt.Sprintf("%s/fill %d", dir, i)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 * n {
			if os.WriteFile(fmt.Sprintf("%s/%d", dir, i), nil, 0o644) != nil {
				break
			}
		}
	})
	v := openVolume(t, img)
	_, list, err := v.baseAttrs(recMFT)
	if err != nil {
		t.Fatal(err)
	}
	if findAttr(list, typeAttributeList, "") < 0 {
		t.Errorf("the $MFT of %d extents has no attribute list", len(v.mft.extents))
	}
	tree := readTree(t, v)
	wantSound(t, v)
	mounted(t, img, "ro", func(dir string) {
		names, err := os.ReadDir(dir)
		if err != nil || len(names) != len(tree.Root.Children) {
			t.Fatalf("%d names, want %d, %v", len(tree.Root.Children), len(names), err)
		}
		for _, d := range names {
			content, err := os.ReadFile(filepath.Join(dir, d.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if e := tree.Root.Child(d.Name()); e == nil || blobSum(t, e.Info.Data) != sha1.Sum(content) {
				t.Fatalf("%s differs", d.Name())
			}
		}
	})
}

// TestReadLikeWimlib compares with what wimlib's own NTFS capture sees.
func TestReadLikeWimlib(t *testing.T) {
	img := formatVolume(t, 64<<20)
	mounted(t, img, "streams_interface=xattr", func(dir string) { fill(t, dir, 200, 50) })
	wim := filepath.Join(t.TempDir(), "captured.wim")
	reftool.Run(t, "wimlib-imagex", "capture", img, wim, "--compress=none", "--no-acls", "--config=/dev/null")
	left := make(map[string]*winfile.Entry)
	for path, e := range readTree(t, openVolume(t, img)).All() {
		left[path] = e
	}
	var e *winfile.Entry
	for line := range strings.Lines(reftool.Run(t, "wimlib-imagex", "dir", wim, "1", "--detailed")) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		if !ok {
			continue
		}
		switch key {
		case "Full Path":
			path := strings.TrimPrefix(value, "/")
			if path == "" {
				path = "."
			}
			if e = left[path]; e == nil {
				t.Errorf("wimlib has %q", path)
				e = new(winfile.Entry)
				e.Info = new(winfile.Info)
			}
			delete(left, path)
		case "Short Name":
			if e.ShortName != value {
				t.Errorf("%q: short name %q, want %q", e.Name, e.ShortName, value)
			}
		case "Attributes":
			var want uint32
			if _, err := fmt.Sscanf(value, "0x%x", &want); err != nil || uint32(e.Info.Attributes) != want {
				t.Errorf("%q: attributes %#x, want %s", e.Name, uint32(e.Info.Attributes), value)
			}
		case "Link Count":
			if fmt.Sprint(e.Info.Links) != value {
				t.Errorf("%q: %d links, want %s", e.Name, e.Info.Links, value)
			}
		}
	}
	for path := range left {
		t.Errorf("wimlib does not have %q", path)
	}
}
