package ntfs

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
		switch op := r.IntN(25); {
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
		case op < 20:
			os.Truncate(old, int64(r.IntN(300000)))
		case op < 22:
			loadAttr(r, old)
		case op < 23:
			if d := dirs[r.IntN(len(dirs))]; len(dirs) > 4 && d != dir { // what lies below moves along
				to := fmt.Sprintf("%s/moved %d", dir, r.IntN(count))
				if os.Rename(d, to) == nil {
					for i := range dirs {
						dirs[i] = strings.Replace(dirs[i], d, to, 1)
					}
					for i := range files {
						files[i] = strings.Replace(files[i], d+"/", to+"/", 1)
					}
				}
			}
		default:
			text := bytes.Repeat([]byte(name), r.IntN(1+200000/len(name)))
			if os.WriteFile(name, text, 0o644) == nil {
				files = append(files, name)
			}
		}
	}
}

// loadAttr sets or takes away a named stream, a descriptor or attributes.
func loadAttr(r *rand.Rand, path string) {
	if path == "" {
		return
	}
	set := func(name string, value []byte) { lxattr(syscall.SYS_LSETXATTR, path, name, value) }
	switch r.IntN(6) {
	case 0, 1, 2:
		set(fmt.Sprintf("user.s%d", r.IntN(4)), noise(4, r.IntN(1+1<<r.IntN(15))))
	case 3:
		syscall.Removexattr(path, fmt.Sprintf("user.s%d", r.IntN(4)))
	case 4:
		set("system.ntfs_acl", securityDescriptor(uint32(r.IntN(50)), 1+r.IntN(5)))
	default:
		set("system.ntfs_attrib_be", []byte{0, 0, 0, byte(1 + r.IntN(7))})
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
			t.Parallel()
			img := tt.make(t)
			mounted(t, img, "compression,streams_interface=xattr", func(dir string) {
				setAttr(t, mkdir(t, dir+"/packed"), "system.ntfs_attrib_be", []byte{0, 0, 8, 0})
				load(t, dir, 7, 2000)
				load(t, dir+"/packed", 8, 800)
			})
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
	t.Parallel()
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

// TestReadNonResidentList reads a file of so many runs that its attribute list does not fit its record.
func TestReadNonResidentList(t *testing.T) {
	t.Parallel()
	img := formatVolume(t, 32<<20, "-c", "512")
	const pieces = 9000
	mounted(t, img, "streams_interface=xattr", func(dir string) {
		var files [2]*os.File
		for i := range files {
			var err error
			if files[i], err = os.Create(fmt.Sprintf("%s/%d", dir, i)); err != nil {
				t.Fatal(err)
			}
			defer files[i].Close()
		}
		for i := range pieces {
			for k, f := range files {
				if _, err := f.WriteAt(noise(uint64(i*7919%pieces*2+k), 512), int64(i*7919%pieces)*512); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	v := openVolume(t, img)
	tree := readTree(t, v)
	lists := 0
	for k := range 2 {
		info := tree.Lookup(fmt.Sprint(k)).Info
		_, list, err := v.baseAttrs(int64(info.ID))
		if err != nil {
			t.Fatal(err)
		}
		if i := findAttr(list, typeAttributeList, ""); i >= 0 && list[i].nonResident() {
			lists++
		}
		h := sha1.New()
		for i := range pieces {
			h.Write(noise(uint64(i*2+k), 512))
		}
		if blobSum(t, info.Data) != [sha1.Size]byte(h.Sum(nil)) {
			t.Errorf("file %d differs", k)
		}
	}
	if lists == 0 {
		t.Error("no attribute list is outside its record")
	}
}

// TestReadLikeWimlib compares with what wimlib's own NTFS capture sees.
func TestReadLikeWimlib(t *testing.T) {
	t.Parallel()
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
