package ntfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// TestLargeClusters builds volumes with clusters above 64 KiB, whose size the boot sector has as a power of two: other readers agree.
func TestLargeClusters(t *testing.T) {
	m := newTreeMaker(31)
	tr := &winfile.Tree{Root: m.dir("", m.dir("Windows", m.file("small", 100), m.file("one.dll", 70_000), m.file("two.dll", 3<<20)), m.file("x", 5_000))}
	for _, cs := range []int{128 << 10, 256 << 10, 1 << 20, 2 << 20} {
		t.Run(fmt.Sprint(cs), func(t *testing.T) {
			name, _ := buildImage(t, tr, &BuildOptions{Size: 512 << 20, ClusterSize: cs, Backing: backEven})
			checkSilent(t, name)
			reftool.Run(t, "ntfsfix", "-n", name)
			if out := reftool.Run(t, "ntfsinfo", "-m", "-f", name); !strings.Contains(out, fmt.Sprintf("Cluster Size: %d", cs)) {
				t.Error(out)
			}
			dir, unmount := mount(t, name, "ro")
			compareMounted(t, tr, dir)
			unmount()
		})
	}
}

// checkSilent opens a volume and holds it to the invariants of the file system.
func checkSilent(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewReader(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	checkFindsNothing(t, v)
}

// TestSizes builds volumes from 16 MiB to 16 TB, all of them in few bytes of file.
func TestSizes(t *testing.T) {
	m := newTreeMaker(32)
	tr := &winfile.Tree{Root: m.dir("", m.dir("Windows", m.file("a.dll", 70_000), m.file("b.dll", 30_000)))}
	for _, tt := range []struct {
		size            int64
		sector, cluster int
		check           bool // looking at every bit of the largest takes too long
	}{
		{16 << 20, 512, 512, true}, {20_000_000, 512, 4096, true}, {100 << 20, 4096, 4096, true}, {25 << 30, 512, 4096, true}, {2 << 40, 4096, 65536, true},
		{16_000_000_000_000, 512, 65536, true}, {16_000_000_000_000, 512, 4096, false}, {16_000_000_000_000, 4096, 4096, false},
	} {
		t.Run(fmt.Sprintf("%d-%d-%d", tt.size, tt.sector, tt.cluster), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "volume.img")
			f, err := os.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(tt.size); err != nil {
				reftool.Skip(t, "the file system has no files of %d bytes: %v", tt.size, err)
			}
			l, err := NewLayout(tr, &BuildOptions{Size: tt.size, SectorSize: tt.sector, ClusterSize: tt.cluster})
			if err != nil {
				t.Fatal(err)
			}
			count := &countingWriter{f: f}
			if err := l.Write(context.Background(), count); err != nil {
				t.Fatal(err)
			}
			if most := l.logSize(tt.size) + 4<<20; count.n.Load() > most {
				t.Errorf("%d bytes written, want at most %d", count.n.Load(), most)
			}
			if l.geometry.clusters < tt.size/int64(tt.cluster)-1 {
				t.Errorf("%d clusters", l.geometry.clusters)
			}
			if tt.check {
				checkSilent(t, name)
			}
			reftool.Run(t, "ntfsfix", "-n", name)
			if out := reftool.Run(t, "ntfsinfo", "-m", "-f", name); !strings.Contains(out, fmt.Sprintf("Volume Size in Clusters: %d", l.geometry.clusters)) {
				t.Error(out)
			}
			dir, unmount := mount(t, name, "ro")
			compareMounted(t, tr, dir)
			unmount()
		})
	}
}

// TestFilesAreContiguous reads the runs of every stream of a volume: files that boot code reads before it can follow fragments, and all
// others, are one run each; so is the $MFT, with free space behind it.
func TestFilesAreContiguous(t *testing.T) {
	tr := newTreeMaker(33).fullTree(600)
	for _, free := range []int{0, 5000} {
		name, l := buildImage(t, tr, &BuildOptions{Size: 96 << 20, FreeRecords: free})
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		v, err := NewReader(f, l.Size())
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Tree(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		outside := 0
		for path, e := range got.All() {
			for b := range e.Info.Blobs() {
				extents, err := v.Extents(b)
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				if len(extents) > 1 {
					t.Errorf("%s is in %d pieces", path, len(extents))
				}
				outside += len(extents)
			}
		}
		if outside < 100 {
			t.Errorf("%d streams outside of records", outside)
		}
		if n := len(v.mft.extents); n != 1 {
			t.Errorf("$MFT in %d pieces", n)
		}
		if end := int64(l.region.mft.lcn) + l.region.mft.clusters; end != l.used || l.FreeBytes() < 1<<20 {
			t.Errorf("$MFT ends at cluster %d of %d in use, %d bytes free", end, l.used, l.FreeBytes())
		}
		if spare := l.records - l.lastRecord; spare < int64(free) {
			t.Errorf("%d records are free, want %d", spare, free)
		}
		checkSilent(t, name)
		if free == 0 {
			continue
		}
		// ntfs-3g makes as many files as there are free records, and the $MFT does not grow.
		dir, unmount := mount(t, name, "rw")
		before := l.region.mft.size
		for i := range free - 200 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("new %d", i)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		unmount()
		if v, err = NewReader(f, l.Size()); err != nil {
			t.Fatal(err)
		}
		if v.mft.size != before {
			t.Errorf("$MFT grew from %d to %d", before, v.mft.size)
		}
	}
	for _, n := range []int{-1, maxFreeRecords + 1} {
		if _, err := NewLayout(tr, &BuildOptions{FreeRecords: n}); err == nil || !strings.Contains(err.Error(), "free records, want 0 to") {
			t.Errorf("%d free records: %v", n, err)
		}
	}
}

// countingWriter counts the bytes that are written.
type countingWriter struct {
	f *os.File
	n atomic.Int64
}

func (w *countingWriter) WriteAt(p []byte, off int64) (int, error) {
	w.n.Add(int64(len(p)))
	return w.f.WriteAt(p, off)
}
