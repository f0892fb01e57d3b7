package ntfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"husk/winfile"
)

// pointerTree is a tree of n files of 100,000 bytes in directories of 12, with names as long as those of Windows.
func pointerTree(n int, content winfile.Content) *winfile.Tree {
	m := newTreeMaker(1)
	root := m.dir("")
	var dir *winfile.Entry
	for i := range n {
		if i%12 == 0 {
			dir = m.dir(fmt.Sprintf("amd64_component-%d_31bf3856ad364e35", i/12))
			root.Children = append(root.Children, dir)
		}
		info := m.info(winfile.AttrArchive)
		info.Data = &winfile.Blob{Size: 100000, Order: int64(i), Content: content}
		dir.Children = append(dir.Children, &winfile.Entry{Name: fmt.Sprintf("Windows.File.%d.dll", i), Info: info})
	}
	return &winfile.Tree{Root: root}
}

func BenchmarkPointerVolume(b *testing.B) {
	const n = 100000
	tr := pointerTree(n, nil)
	b.ReportAllocs()
	for b.Loop() {
		l, err := NewLayout(tr, &BuildOptions{Backing: pointerTo})
		if err != nil {
			b.Fatal(err)
		}
		var c countingVolume
		if err := l.Write(context.Background(), &c); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(c.bytes)/n, "B/file")
		b.ReportMetric(float64(c.writes), "writes")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/file")
}

// zeros delivers zeros for every blob.
type zeros struct{}

func (*zeros) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

func (*zeros) ReadBlobs(_ context.Context, blobs []*winfile.Blob, _ int, d winfile.Deliver) error {
	p := make([]byte, 1<<20)
	for _, b := range blobs {
		for off := int64(0); off < b.Size; off += int64(len(p)) {
			if err := d(b, off, p[:min(int64(len(p)), b.Size-off)]); err != nil {
				return err
			}
		}
	}
	return nil
}

func BenchmarkPlainVolume(b *testing.B) {
	for _, size := range []int64{300, 6000, 100000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			const n = 100000
			tr := pointerTree(n, &zeros{})
			for _, e := range tr.All() {
				if e.Info.Data != nil {
					e.Info.Data.Size = size
				}
			}
			b.SetBytes(n * size)
			b.ReportAllocs()
			for b.Loop() {
				l, err := NewLayout(tr, nil)
				if err != nil {
					b.Fatal(err)
				}
				var c countingVolume
				if err := l.Write(context.Background(), &c); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(c.writes), "writes")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/file")
		})
	}
}
