package bootcode

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"husk/internal/reftool"
)

// mounted calls do with a folder where ntfs-3g shows the volume, and returns when ntfs-3g has let go of it.
func mounted(t *testing.T, img string, do func(dir string)) {
	t.Helper()
	if os.Geteuid() != 0 {
		reftool.Skip(t, "only root can mount")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		reftool.Skip(t, "no FUSE here")
	}
	dir := t.TempDir()
	cmd := exec.Command(reftool.Look(t, "ntfs-3g"), "-o", "no_detach,compression", img, dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	device := func(p string) uint64 {
		st, err := os.Stat(p)
		if err != nil {
			return 0
		}
		return st.Sys().(*syscall.Stat_t).Dev
	}
	for outside := device(filepath.Dir(dir)); device(dir) == outside; time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-done:
			t.Fatalf("ntfs-3g: %v\n%s", err, out.Bytes())
		default:
		}
	}
	defer func() {
		reftool.Run(t, "fusermount", "-u", dir)
		if err := <-done; err != nil {
			t.Errorf("ntfs-3g: %v\n%s", err, out.Bytes())
		}
	}()
	do(dir)
}

// format makes an empty volume with mkntfs for a partition at sector 2048.
func format(t *testing.T, size int64, cluster int) string {
	t.Helper()
	img := filepath.Join(t.TempDir(), "volume")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, size); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "mkntfs", "-F", "-Q", "-q", "-c", fmt.Sprint(cluster), "-p", "2048", "-H", "255", "-S", "63", img)
	return img
}

// bootDisk puts our boot code into a volume and makes a disk of it.
func bootDisk(t *testing.T, img string) string {
	t.Helper()
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	if err := PutNTFS(b); err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)-512:], b[:512])
	return disk(t, 2048, b)
}

// fragment fills a volume and thins it out, so that $MFT, the root's index and then bootmgr have to take what is left.
func fragment(t *testing.T, dir string, cluster int, bootmgr []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(cluster), 2))
	var full []string
	noise := make([]byte, max(3*cluster, 2048))
	for i := 0; ; i++ {
		name := filepath.Join(dir, fmt.Sprintf("%x is file %d", r.Uint32(), i))
		if err := os.WriteFile(name, noise, 0o600); err != nil {
			break
		}
		full = append(full, name)
	}
	r.Shuffle(len(full), func(i, j int) { full[i], full[j] = full[j], full[i] })
	remove := func(n int) {
		for _, name := range full[:n] {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		full = full[n:]
	}
	remove(len(full) / 8)
	for i := range len(full) / 2 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%x is empty %d", r.Uint32(), i)), nil, 0o600); err != nil {
			break
		}
	}
	remove(1)
	name := filepath.Join(dir, "BootMGR")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	remove(len(bootmgr)/len(noise) + 100)
	if err := os.WriteFile(name, bootmgr, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A compressed bootmgr is refused.
func TestCompressed(t *testing.T) {
	img := format(t, 8<<20, 4096)
	mounted(t, img, func(dir string) {
		reftool.Run(t, "setfattr", "-h", "-n", "system.ntfs_attrib_be", "-v", "0x00000800", dir)
		if err := os.WriteFile(filepath.Join(dir, "bootmgr"), make([]byte, 300_000), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	m := reftool.Machine{Disk: bootDisk(t, img)}
	m.Boot(t, "BOOTMGR is compressed, encrypted or sparse"+restart)
}

// Clusters above 64 KiB, which the boot sector codes in another way, are read, too.
func TestLargeClusters(t *testing.T) {
	b, want := stub(t, 380_000, 2048, "NTFS")
	for _, cluster := range []int{128 << 10, 2 << 20} {
		img := format(t, int64(cluster)*64, cluster)
		mounted(t, img, func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "bootmgr"), b, 0o600); err != nil {
				t.Fatal(err)
			}
		})
		m := reftool.Machine{Disk: bootDisk(t, img)}
		m.Boot(t, want)
	}
}

var attributeList = regexp.MustCompile(`\$ATTRIBUTE_LIST`)

// Volumes of ntfs-3g start, however fragmented: $MFT, the index of the root directory, bootmgr.
func TestFragmented(t *testing.T) {
	for _, tt := range []struct {
		cluster, size, bootmgr int
		lists                  []string // files whose attributes must be spread over several records, or the test tests nothing
	}{
		{512, 12 << 20, 390_001, []string{"0", "5", "BootMGR"}},
		{4096, 40 << 20, 500_000, nil},
	} {
		t.Run(fmt.Sprintf("clusters of %d", tt.cluster), func(t *testing.T) {
			t.Parallel()
			b, want := stub(t, tt.bootmgr, 2048, "NTFS")
			img := format(t, int64(tt.size), tt.cluster)
			mounted(t, img, func(dir string) { fragment(t, dir, tt.cluster, b) })
			for _, f := range tt.lists {
				option := "-i"
				if strings.HasPrefix(f, "B") {
					option = "-F"
				}
				if info := reftool.Run(t, "ntfsinfo", option, f, img); !attributeList.MatchString(info) {
					t.Errorf("file %s has no attribute list", f)
				}
			}
			m := reftool.Machine{Disk: bootDisk(t, img)}
			m.Boot(t, want)
		})
	}
}
