package ntfs

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkEditPointers makes every file of a volume a pointer in place, in a file that is synced as the editor asks for.
func BenchmarkEditPointers(b *testing.B) {
	const n, size = 20000, 9000
	tr := pointerTree(n, &zeros{})
	var paths []string
	for path, e := range tr.All() {
		if e.Info.Data != nil {
			e.Info.Data.Size = size
			paths = append(paths, path)
		}
	}
	l, err := NewLayout(tr, &BuildOptions{Size: 400 << 20})
	if err != nil {
		b.Fatal(err)
	}
	name := filepath.Join(b.TempDir(), "volume")
	buf := pointerOf(size, wofWIM)
	for b.Loop() {
		b.StopTimer()
		f, err := os.Create(name)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Truncate(l.Size()); err != nil {
			b.Fatal(err)
		}
		if err := l.Write(context.Background(), f); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		e, err := OpenEditor(f, l.Size(), FileJournal(name+".journal"), nil)
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range paths {
			if err := e.SetPointer(p, buf); err != nil {
				b.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		v, err := NewReader(f, l.Size())
		if err != nil {
			b.Fatal(err)
		}
		problems, err := v.Check(context.Background())
		if err != nil || len(problems) > 0 {
			b.Fatal(problems, err)
		}
		f.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/file")
}
