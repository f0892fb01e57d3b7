package ntfs

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"husk/internal/reftool"
)

// The free runs are exactly the clear bits, on volumes of all cluster sizes; ntfsinfo counts as many free clusters.
func TestFreeRuns(t *testing.T) {
	for _, o := range []*BuildOptions{nil, {Size: 64 << 20}, {Size: 64<<20 + 512*13, ClusterSize: 512}, {Size: 64 << 20, ClusterSize: 65536, LogAtEnd: true}} {
		b := sampleVolume(t, 100, o)
		v := openBytes(t, b)
		s, err := v.openNamed(recBitmap, typeData, "")
		if err != nil {
			t.Fatal(err)
		}
		bitmap := make([]byte, s.length())
		if _, err := s.ReadAt(bitmap, 0); err != nil {
			t.Fatal(err)
		}
		free, before := int64(0), LCN(-1)
		marked := make([]bool, v.Clusters)
		for x, err := range v.FreeRuns() {
			if err != nil {
				t.Fatal(err)
			}
			if x.LCN <= before || x.Clusters < 1 || int64(x.LCN)+x.Clusters > v.Clusters {
				t.Fatalf("run %+v after %d of %d clusters", x, before, v.Clusters)
			}
			before = x.LCN + LCN(x.Clusters) // a used cluster must follow
			free += x.Clusters
			for i := range x.Clusters {
				marked[int64(x.LCN)+i] = true
			}
		}
		for i, m := range marked {
			if used := bitmap[i/8]>>(i%8)&1 != 0; used == m {
				t.Fatalf("cluster %d of %d: used %t, in a free run %t", i, v.Clusters, used, m)
			}
		}
		if n, err := v.FreeBytes(); err != nil || n != free*int64(v.ClusterSize) {
			t.Errorf("%d bytes are free, %v, want %d clusters", n, err, free)
		}
		name := filepath.Join(t.TempDir(), "volume")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if !reftool.Have("ntfsinfo") {
			continue
		}
		out := reftool.Run(t, "ntfsinfo", "-m", "-f", name)
		m := regexp.MustCompile(`Free Clusters: (\d+)`).FindStringSubmatch(out)
		if m == nil || m[1] != strconv.FormatInt(free, 10) {
			t.Errorf("%d free clusters, and ntfsinfo says %q", free, m)
		}
	}
}
