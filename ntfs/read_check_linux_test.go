package ntfs

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// churn makes random changes of every kind that ntfs-3g can make: files, folders, links, names, sizes, holes, streams, attributes,
// reparse points, object ids, extended attributes, short names, compressed files. Most may fail: the name exists, the file is gone,
// the volume is full.
type churn struct {
	t     testing.TB
	r     *rand.Rand
	dir   string
	dirs  []string
	files []string
	full  int // writes that found no room
}

func newChurn(t testing.TB, dir string, seed uint64) *churn {
	packed := filepath.Join(dir, fmt.Sprintf("packed %d", seed))
	if err := os.Mkdir(packed, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &churn{t: t, r: rand.New(rand.NewPCG(seed, 9)), dir: dir, dirs: []string{dir, packed}}
	c.set(packed, "system.ntfs_attrib_be", []byte{0, 0, 8, 0}) // files in it become compressed
	return c
}

// set sets an extended attribute. Not all are for all files.
func (c *churn) set(path, name string, value []byte) {
	lxattr(syscall.SYS_LSETXATTR, path, name, value)
}

func (c *churn) newName() string {
	name := fmt.Sprintf("%s %d", strings.Repeat("näme", 1+c.r.IntN(20)), c.r.IntN(2000))
	return filepath.Join(c.dirs[c.r.IntN(len(c.dirs))], name)
}

func (c *churn) file() string {
	if len(c.files) == 0 {
		return c.newName()
	}
	return c.files[c.r.IntN(len(c.files))]
}

// content is noise, text, or both, so that compressed files have units of every kind.
func (c *churn) content(n int) []byte {
	b := noise(c.r.Uint64(), n)
	if c.r.IntN(2) == 0 {
		copy(b[n/3:], bytes.Repeat([]byte("words and words "), n/16+1)[:n/2])
	}
	return b
}

func (c *churn) create(n int) {
	name := c.newName()
	if err := os.WriteFile(name, c.content(n), 0o644); err != nil {
		c.full++
		return
	}
	c.files = append(c.files, name)
}

func (c *churn) step() {
	old := c.file()
	switch c.r.IntN(24) {
	case 0, 1, 2, 3, 4, 5:
		c.create(c.r.IntN(1 + 1<<c.r.IntN(18)))
	case 6:
		if name := c.newName(); len(c.dirs) < 20 && os.Mkdir(name, 0o755) == nil {
			c.dirs = append(c.dirs, name)
		}
	case 7, 8, 9:
		os.Remove(old)
	case 10, 11:
		if name := c.newName(); os.Rename(old, name) == nil {
			c.files = append(c.files, name)
		}
	case 12, 13:
		if name := c.newName(); os.Link(old, name) == nil {
			c.files = append(c.files, name)
		}
	case 14, 15:
		if f, err := os.OpenFile(old, os.O_WRONLY, 0); err == nil {
			f.WriteAt(c.content(c.r.IntN(30000)), int64(c.r.IntN(400000)))
			f.Close()
		}
	case 16:
		os.Truncate(old, int64(c.r.IntN(500000)))
	case 17:
		c.set(old, fmt.Sprintf("user.stream %d", c.r.IntN(40)), c.content(c.r.IntN(3000)))
	case 18:
		c.set(old, "system.ntfs_attrib_be", []byte{0, 0, byte(c.r.IntN(2)) * 8, byte(c.r.IntN(8))})
	case 19:
		c.set(old, "system.ntfs_object_id", noise(c.r.Uint64(), 16))
	case 20:
		c.set(old, "system.ntfs_ea", []byte{20, 0, 0, 0, 0, 4, 3, 0, 'N', 'A', 'M', 'E', 0, 1, 2, 3, 0, 0, 0, 0})
	case 21:
		c.set(old, "system.ntfs_dos_name", fmt.Appendf(nil, "S%d.X", c.r.IntN(9999)))
	case 22:
		os.Symlink("somewhere", c.newName())
	case 23:
		c.set(old, "system.ntfs_times_be", noise(c.r.Uint64(), 8))
	}
}

// fillUp writes until the volume is full, then makes room again.
func (c *churn) fillUp() {
	for size := 1 << 21; size > 0; size /= 8 {
		for before := c.full; c.full < before+3; {
			c.create(size)
		}
	}
	for i, name := range c.files {
		if i%3 == 0 {
			os.Remove(name)
		}
	}
}

// TestCheckIsSilentUnderLoad holds that what ntfs-3g writes is sound, on its volumes and on ours, also when they run full. The codes
// that it may leave, all notices, are those of [rules] and stale copies of sizes.
func TestCheckIsSilentUnderLoad(t *testing.T) {
	made := func(args ...string) func(t *testing.T) string {
		return func(t *testing.T) string { return formatVolume(t, 40<<20, args...) }
	}
	built := func(o BuildOptions) func(t *testing.T) string {
		return func(t *testing.T) string {
			o.Size = 40 << 20
			name, _ := buildImage(t, sampleTree(300), &o)
			return name
		}
	}
	for i, tt := range []struct {
		name string
		make func(t *testing.T) string
	}{
		{"mkntfs", made()},
		{"mkntfs, clusters of 512 bytes", made("-c", "512")},
		{"mkntfs, sectors of 4096 bytes", made("-s", "4096")},
		{"builder", built(BuildOptions{})},
		{"builder, clusters of 1024 bytes", built(BuildOptions{ClusterSize: 1024})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			img := tt.make(t)
			for round := range 3 {
				mounted(t, img, "streams_interface=xattr,compression", func(dir string) {
					c := newChurn(t, dir, uint64(3*i+round))
					for range 500 {
						c.step()
					}
					if round == 1 {
						c.fillUp()
					}
					for range 200 {
						c.step()
					}
				})
				r, err := openVolume(t, img).CheckWith(context.Background(), nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range r.Problems {
					if known := []Code{"entry-stale", "sparse-unit", "extent-header", "security-none", "runs-total"}; p.Severity > SeverityNote || !slices.Contains(known, p.Code) {
						t.Errorf("round %d: %v", round, p)
					}
				}
				if r.Files < 100 {
					t.Errorf("round %d: only %d files", round, r.Files)
				}
			}
		})
	}
}
