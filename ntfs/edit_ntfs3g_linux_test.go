package ntfs

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// soundProblem leaves out what volumes of ntfs-3g have, see wantSound.
func soundProblem(p Problem) bool {
	return p.Severity > SeverityNote && !noChunks(p)
}

// readDevice is a device over an image, whose pages are only read where somebody looks.
func readDevice(t testing.TB, img string) *memoryDevice {
	t.Helper()
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(st.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(b) })
	return newMemoryDevice(b)
}

// writeChanges writes what has changed to the image that the device was read from.
func (d *memoryDevice) writeChanges(t testing.TB, img string) {
	t.Helper()
	f, err := os.OpenFile(img, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s, b := range d.sectors {
		if _, err := f.WriteAt(b, s*sectorStride); err != nil {
			t.Fatal(err)
		}
	}
}

// writeImage writes the device to an image.
func (d *memoryDevice) writeImage(t testing.TB, img string) {
	t.Helper()
	f, err := os.OpenFile(img, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, len(d.base))
	if _, err := d.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

// TestEditBetweenLoads edits volumes that ntfs-3g has written to, which then reads what the editor made, checks it with its tools, and
// writes heavily into it.
func TestEditBetweenLoads(t *testing.T) {
	for i, tt := range []struct {
		name string
		make func(t *testing.T) string
	}{
		{"mkntfs", func(t *testing.T) string { return formatVolume(t, 96<<20) }},
		{"mkntfs, clusters of 512 bytes", func(t *testing.T) string { return formatVolume(t, 64<<20, "-c", "512") }},
		{"mkntfs, sectors of 4096 bytes", func(t *testing.T) string { return formatVolume(t, 96<<20, "-s", "4096") }},
		{"builder", func(t *testing.T) string {
			name, _ := buildImage(t, sampleTree(600), &BuildOptions{Size: 96 << 20})
			return name
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			img := tt.make(t)
			mounted(t, img, "streams_interface=xattr,compression", func(dir string) {
				load(t, dir, uint64(i), 1500)
				squeeze(t, dir)
			})
			for round := range 2 {
				d := readDevice(t, img)
				want := readState(t, openDevice(t, d))
				m := newEditModel(uint64(i*10+round), want)
				m.made = 1000 * round
				e := openEdit(t, d, &memoryJournal{})
				for range 500 {
					m.step(t, e)
				}
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				wantState(t, d, want, soundProblem)
				d.writeChanges(t, img)
				otherToolsAgree(t, img, func(dir string) { load(t, dir, uint64(i+7), 1500) })
				v := openVolume(t, img)
				readTree(t, v)
				wantSound(t, v)
			}
		})
	}
}

// squeeze adds compressed and sparse files.
func squeeze(t *testing.T, dir string) {
	t.Helper()
	mkdir(t, dir+"/squeezed")
	setAttr(t, dir+"/squeezed", "system.ntfs_attrib_be", []byte{0, 0, 8, 0x10})
	for i := range 6 {
		put(t, fmt.Sprintf("%s/squeezed/%d", dir, i), append(make([]byte, 50000*i), noise(uint64(i), 30000)...))
		name := fmt.Sprintf("%s/sparse %d", dir, i)
		put(t, name, []byte("x"))
		if err := os.Truncate(name, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
}

// otherToolsAgree lets ntfsfix and ntfsresize judge a volume, and compares what ntfs-3g reads with what the reader does. Then it calls then,
// which may be nil, with the folder where ntfs-3g shows the volume.
func otherToolsAgree(t *testing.T, img string, then func(dir string)) {
	t.Helper()
	reftool.Run(t, "ntfsfix", "--no-action", img)
	reftool.Run(t, "ntfsresize", "--info", "--force", img)
	v := openVolume(t, img)
	tree := readTree(t, v)
	options := "streams_interface=xattr"
	if then == nil {
		options += ",ro"
	}
	mounted(t, img, options, func(dir string) {
		for path, e := range tree.All() {
			if e.Info.Reparse != nil || e.Info.IsDir() {
				if _, err := os.Lstat(filepath.Join(dir, path)); err != nil && e.Info.IsDir() {
					t.Error(err)
				}
				continue
			}
			want, err := readWhole(e.Info.Data)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != want {
				t.Errorf("%s: ntfs-3g reads %d bytes, %v, want %d", path, len(got), err, len(want))
			}
		}
		if then != nil {
			then(dir)
		}
	})
}

// TestEditAsNTFS3GSeesIt looks at a pointer, a compact file and their streams through ntfs-3g.
func TestEditAsNTFS3GSeesIt(t *testing.T) {
	img := formatVolume(t, 32<<20)
	mounted(t, img, "streams_interface=windows", func(dir string) {
		put(t, dir+"/folder/a file", noise(1, 70000))
		put(t, dir+"/folder/b file", noise(2, 50000))
		put(t, dir+"/folder/b file:stream", noise(3, 5000))
		if err := os.Link(dir+"/folder/b file", dir+"/link"); err != nil {
			t.Fatal(err)
		}
	})
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	journal := FileJournal(img + ".husk-journal")
	e, err := OpenEditor(f, 32<<20, journal, nil)
	if err != nil {
		t.Fatal(err)
	}
	pointer, compact := pointerOf(70000, wofWIM), pointerOf(50000, wofFile)
	compressed := noise(4, 30000)
	for _, err := range []error{
		e.SetPointer("folder/a file", pointer),
		e.SetCompact(`\LINK`, compact, winfile.NewBlob(compressed)),
		e.Mkdir("new"), e.Add("new/file", &winfile.Info{Data: winfile.NewBlob(noise(5, 9000))}),
		e.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(string(journal)); !os.IsNotExist(err) {
		t.Errorf("the journal is still there: %v", err)
	}
	otherToolsAgree(t, img, nil)
	mounted(t, img, "streams_interface=windows,ro", func(dir string) {
		for name, want := range map[string][]byte{"/folder/a file": pointer, "/folder/b file": compact, "/link": compact} {
			if got := getAttr(t, dir+name, "system.ntfs_reparse_data"); string(got) != string(want) {
				t.Errorf("%s: reparse data %x, want %x", name, got, want)
			}
		}
	})
	for _, args := range [][]string{{"-n", "WofCompressedData"}, {"-n", "stream"}} {
		want := string(compressed)
		if args[1] == "stream" {
			want = string(noise(3, 5000))
		}
		if got := reftool.Run(t, "ntfscat", append(args, img, "/link")...); got != want {
			t.Errorf("stream %s: %d bytes, want %d", args[1], len(got), len(want))
		}
	}
}

// TestEditCutNTFS3G is TestEditCut of a volume that ntfs-3g has filled.
func TestEditCutNTFS3G(t *testing.T) {
	img := formatVolume(t, 8<<20)
	mounted(t, img, "streams_interface=xattr,compression", func(dir string) {
		load(t, dir, 9, 120)
		squeeze(t, dir)
	})
	d := readDevice(t, img)
	cutEverywhere(t, 1, &cutCase{
		make: func(*testing.T) *memoryDevice { return d.copy() }, change: changeRandomly(8, 50), problem: soundProblem,
	})
}

// TestWimlibCapturesEdits compares what wimlib captures from an edited volume with what the reader finds.
func TestWimlibCapturesEdits(t *testing.T) {
	d := builtDevice(t, sampleTree(200), &BuildOptions{Size: 32 << 20})
	m := newEditModel(21, readState(t, openDevice(t, d)))
	e := openEdit(t, d, &memoryJournal{})
	for range 400 {
		m.step(t, e)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(t.TempDir(), "volume")
	d.writeImage(t, img)
	wim := img + ".wim"
	reftool.Run(t, "wimlib-imagex", "capture", img, wim, "--compress=none")
	got := parseWimlibDir(reftool.Run(t, "wimlib-imagex", "dir", wim, "--detailed"))
	n := 0
	for path, entry := range readTree(t, openVolume(t, img)).All() {
		have, ok := got["/"+path]
		if path == "." {
			have, ok = got["/"]
		}
		if !ok {
			t.Errorf("%q is missing", path)
		}
		if have["Short Name"] == entry.Name { // namespace 3
			have["Short Name"] = ""
		}
		for b := range entry.Info.Blobs() {
			b.SHA1 = blobSum(t, b)
		}
		want := wimlibEntry(entry)
		want["Attributes"] = fmt.Sprintf("0x%08x", uint32(entry.Info.Attributes)) // sparse ones are
		for k, v := range want {
			if pointer := entry.Info.Reparse != nil && k == "stream Unnamed data"; have[k] != v && !pointer {
				t.Errorf("%q: %s is %q, want %q", path, k, have[k], v)
			}
		}
		n++
	}
	if n != len(got) {
		t.Errorf("wimlib finds %d names, want %d", len(got), n)
	}
}
