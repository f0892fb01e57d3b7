package ntfs

import (
	"bytes"
	"io"
	"os"
	"slices"
	"testing"

	"www.velocidex.com/golang/go-ntfs/parser"

	"husk/winfile"
)

// TestReadLikeGoNTFS compares with a reader in the same language that shares no line with ours.
func TestReadLikeGoNTFS(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T) string
	}{
		{"ntfs-3g", func(t *testing.T) string {
			img := formatVolume(t, 64<<20)
			mounted(t, img, "streams_interface=xattr", func(dir string) { fill(t, dir, 120, 100) })
			mounted(t, img, "compression", func(dir string) {
				packed := mkdir(t, dir+"/packed")
				setAttr(t, packed, "system.ntfs_attrib_be", []byte{0, 0, 8, 0})
				put(t, packed+"/words", bytes.Repeat([]byte("words and more "), 40000))
			})
			return img
		}},
		{"builder", func(t *testing.T) string {
			img, _ := buildImage(t, sampleTree(400), nil)
			return img
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			img := tt.make(t)
			tree := readTree(t, openVolume(t, img))
			f, err := os.Open(img)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			paged, err := parser.NewPagedReader(f, 1024, 10000)
			if err != nil {
				t.Fatal(err)
			}
			ctx, err := parser.GetNTFSContext(paged, 0)
			if err != nil {
				t.Fatal(err)
			}
			files := 0
			for path, e := range tree.All() {
				record, err := ctx.GetMFT(int64(e.Info.ID))
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case e.Info.IsDir():
					compareNamesWith(t, ctx, record, path, e)
				case e.Info.Reparse == nil:
					files++
					compareContentWith(t, ctx, record, path, e.Info)
				}
			}
			if files < 100 {
				t.Errorf("only %d files", files)
			}
		})
	}
}

func compareNamesWith(t *testing.T, ctx *parser.NTFSContext, record *parser.MFT_ENTRY, path string, e *winfile.Entry) {
	t.Helper()
	type name struct {
		record uint64
		name   string
	}
	var want, got []name
	for _, c := range e.Children {
		got = append(got, name{c.Info.ID, c.Name})
		if c.ShortName != "" {
			got = append(got, name{c.Info.ID, c.ShortName})
		}
	}
	for _, r := range record.Dir(ctx) {
		if n := r.File().Name(); r.MftReference() >= firstUserFile || n != "." && n[0] != '$' {
			want = append(want, name{r.MftReference(), n})
		}
	}
	order := func(a, b name) int {
		if a.name < b.name {
			return -1
		} else if a.name > b.name {
			return 1
		}
		return 0
	}
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		t.Errorf("%s: names %v, want %v", path, got, want)
	}
}

func compareContentWith(t *testing.T, ctx *parser.NTFSContext, record *parser.MFT_ENTRY, path string, info *winfile.Info) {
	t.Helper()
	for _, s := range append([]winfile.Stream{{Data: info.Data}}, info.Streams...) {
		got, err := s.Data.ReadAll(64 << 20)
		if err != nil {
			t.Fatalf("%s:%s: %v", path, s.Name, err)
		}
		r, err := parser.OpenStream(ctx, record, 128, parser.WILDCARD_STREAM_ID, s.Name)
		if err != nil {
			t.Errorf("%s:%s: %v", path, s.Name, err)
			continue
		}
		want := make([]byte, len(got))
		n, err := io.ReadFull(io.NewSectionReader(r, 0, int64(len(got))), want)
		if len(got) > 0 && err != nil || !bytes.Equal(got, want[:n]) {
			t.Errorf("%s:%s: %d bytes, %d of %d read the same way: %v", path, s.Name, len(got), n, len(want), err)
		}
	}
}
