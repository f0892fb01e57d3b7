package check

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/gpt"
	"husk/guid"
	"husk/internal/sample"
	"husk/internal/ui"
	"husk/mbr"
	"husk/ntfs"
)

const (
	partStart = 1 << 20
	partSize  = 30 << 20
	diskSize  = partStart + partSize + 1<<20
)

// memory is a volume while it is written.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// volume is a small system on an NTFS volume that knows its place on the disk.
func volume(t testing.TB) []byte {
	t.Helper()
	tree, err := sample.Tree(sample.Options{Arch: "x86", Programs: 12})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ntfs.NewLayout(tree, &ntfs.BuildOptions{Size: partSize, HiddenSectors: partStart / 512, Label: "System"})
	if err != nil {
		t.Fatal(err)
	}
	b := make(memory, partSize)
	if err := l.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// mbrDisk is a disk with that volume as its only partition.
func mbrDisk(t testing.TB, volume []byte) []byte {
	t.Helper()
	table := &mbr.Table{Signature: 7}
	table.Parts[0] = mbr.Partition{Active: true, Type: mbr.TypeNTFS, Start: partStart / 512, Sectors: partSize / 512}
	head, err := table.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, diskSize)
	copy(b, head)
	copy(b[partStart:], volume)
	return b
}

// gptDisk is the same with a GPT.
func gptDisk(t testing.TB, volume []byte) []byte {
	t.Helper()
	table, err := gpt.New([16]byte{1}, diskSize, 512)
	if err != nil {
		t.Fatal(err)
	}
	basic, err := guid.Parse("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Add(gpt.Partition{Type: basic, GUID: [16]byte{2}, First: partStart / 512, Last: (partStart+partSize)/512 - 1}, partSize); err != nil {
		t.Fatal(err)
	}
	b := make(memory, diskSize)
	if err := table.Write(b, diskSize); err != nil {
		t.Fatal(err)
	}
	copy(b[partStart:], volume)
	return b
}

func run(t testing.TB, b []byte, selector string) (*Result, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return Run(context.Background(), name+selector, &Options{UI: ui.New(nil, new(bytes.Buffer), new(bytes.Buffer), "en")})
}

func TestDisks(t *testing.T) {
	sound := volume(t)
	boot := func(b []byte) { clear(b[partStart:][:512]) }
	for _, tt := range []struct {
		name    string
		disk    func() []byte
		want    []string // codes
		volumes int
	}{
		{"volume alone", func() []byte { return sound }, nil, 1},
		{"volume alone, without a boot sector", func() []byte { b := bytes.Clone(sound); clear(b[:512]); return b }, []string{"ntfs:boot-sector"}, 1},
		{"MBR", func() []byte { return mbrDisk(t, sound) }, nil, 1},
		{"boot sector lost", func() []byte { b := mbrDisk(t, sound); boot(b); return b }, []string{"ntfs:boot-sector"}, 1},
		{"boot sector and copy lost", func() []byte {
			b := mbrDisk(t, sound)
			boot(b)
			clear(b[partStart+partSize-512:][:512])
			return b
		}, []string{"ntfs:volume-unreadable"}, 0},
		{"MFT lost", func() []byte {
			b := mbrDisk(t, sound)
			for i := partStart; i+4 < partStart+partSize; i += 512 {
				if string(b[i:i+4]) == "FILE" {
					b[i] = 'X'
				}
			}
			return b
		}, []string{"ntfs:volume-unreadable"}, 0},
		{"exFAT", func() []byte { b := mbrDisk(t, sound); copy(b[partStart+3:], "EXFAT   "); return b }, nil, -1},
		{"moved volume", func() []byte { b := mbrDisk(t, sound); b[partStart+0x1c] = 63; return b }, []string{"ntfs:boot-copy", "ntfs:hidden-sectors"}, 1},
		{"overlap", func() []byte {
			b := mbrDisk(t, sound)
			copy(b[0x1ce:], b[0x1be:0x1ce])
			b[0x1ce], b[0x1ce+4] = 0, 0x83
			return b
		}, []string{"mbr:overlap"}, 2},
		{"partition behind the disk", func() []byte { b := mbrDisk(t, sound); return b[:partStart+partSize-4096] }, []string{"mbr:range", "ntfs:volume-unreadable"}, 0},
		{"GPT", func() []byte { return gptDisk(t, sound) }, nil, 1},
		{"GPT header", func() []byte { b := gptDisk(t, sound); b[512+20]++; return b }, []string{"gpt:primary"}, 1},
		{"GPT backup", func() []byte { b := gptDisk(t, sound); b[diskSize-512+20]++; return b }, []string{"gpt:backup"}, 1},
		{"GPT without a guard", func() []byte { b := gptDisk(t, sound); clear(b[:512]); return b }, []string{"gpt:protective"}, 1},
		{"guard without a GPT", func() []byte {
			b := gptDisk(t, sound)
			clear(b[512:1024])
			clear(b[diskSize-512:])
			return b
		}, []string{"gpt:table"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := run(t, tt.disk(), "")
			if tt.volumes < 0 {
				if err == nil || !strings.Contains(err.Error(), "no NTFS volume") {
					t.Fatalf("%v, want no NTFS volume", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(r.Codes)); !slices.Equal(got, tt.want) {
				t.Errorf("found %q, want %q: %+v", got, tt.want, r.Findings)
			}
			if len(r.Volumes) != tt.volumes {
				t.Errorf("%d volumes checked, want %d", len(r.Volumes), tt.volumes)
			}
			total := 0
			for _, n := range r.Counts {
				total += n
			}
			if total != len(r.Findings) {
				t.Errorf("%d counted, %d findings", total, len(r.Findings))
			}
		})
	}
}

func TestWhatIsNoDisk(t *testing.T) {
	for name, b := range map[string][]byte{
		"neither an NTFS volume":  bytes.Repeat([]byte("no disk "), 1000),
		"unexpected EOF":          []byte("short"),
		"MSWIM":                   []byte("MSWIM\x00\x00\x00 and more"),
		"no partition 3":          mbrDisk(t, volume(t)),
		"want a partition number": nil,
	} {
		selector := map[string]string{"no partition 3": ":3", "want a partition number": ":x"}[name]
		_, err := run(t, b, selector)
		if name == "MSWIM" {
			name = "is a WIM"
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
	if r, err := run(t, mbrDisk(t, volume(t)), ":1"); err != nil || len(r.Volumes) != 1 {
		t.Errorf("partition 1: %+v, %v", r, err)
	}
}
