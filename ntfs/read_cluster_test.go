package ntfs

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"husk/internal/reftool"
)

// The clusters of each stream are those that ntfscluster dumps, and the clusters belong to the file that ntfscluster finds them in.
func TestExtentsAgainstNtfscluster(t *testing.T) {
	tr := newTreeMaker(7).fullTree(300)
	name, l := buildImage(t, tr, &BuildOptions{Size: 64 << 20})
	v := openImage(t, name, l.Size())
	got, err := v.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	simple := regexp.MustCompile(`^[A-Za-z0-9_./]+$`)
	seen := 0
	for path, e := range got.All() {
		if e.Info.IsDir() || e.Info.Data == nil || !simple.MatchString(path) || seen == 40 {
			continue
		}
		extents, err := v.Extents(e.Info.Data)
		if err != nil {
			t.Fatal(err)
		}
		if len(extents) == 0 {
			continue
		}
		seen++
		dump := reftool.Run(t, "ntfscluster", "-f", "-F", "/"+path, name)
		_, data, ok := strings.Cut(dump, "0x80 - non-resident")
		if !ok {
			t.Fatalf("%s: no $DATA in:\n%s", path, dump)
		}
		var want []string
		for line := range strings.Lines(data) {
			f := strings.Fields(line)
			if len(f) != 3 || f[0] == "VCN" {
				if strings.Contains(line, "0x") {
					break // the next attribute
				}
				continue
			}
			want = append(want, strings.Join(f, " "))
		}
		var ours []string
		for _, x := range extents {
			ours = append(ours, fmt.Sprintf("%d %d %d", x.VCN, x.LCN, x.Clusters))
		}
		if !slices.Equal(ours, want) {
			t.Errorf("%s: %q, want %q", path, ours, want)
		}
		if x := extents[0]; x.LCN >= 0 {
			owner := reftool.Run(t, "ntfscluster", "-f", "-c", fmt.Sprintf("%d-%d", x.LCN, x.LCN), name)
			if !strings.Contains(owner, fmt.Sprintf("Inode %d ", e.Info.ID&(1<<48-1))) {
				t.Errorf("%s is file %d, and cluster %d belongs to:\n%s", path, e.Info.ID&(1<<48-1), x.LCN, owner)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d files with clusters, want at least 10", seen)
	}
}
