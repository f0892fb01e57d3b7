package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"husk/guid"
	"husk/internal/reftool"
	"husk/wof"
)

const testPath = `\wimboot\wimboot.wim`

// diskImage makes a sparse image of 64 MiB.
func diskImage(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 64<<20); err != nil {
		t.Fatal(err)
	}
	return name
}

// markNTFS gives a partition the OEM id by which volumes are known.
func markNTFS(t *testing.T, name string, off int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("\xeb\x52\x90NTFS    "), off); err != nil {
		t.Fatal(err)
	}
}

func TestLocationOfMBRDisk(t *testing.T) {
	name := diskImage(t)
	cmd := exec.Command(reftool.Look(t, "sfdisk"), "-q", name)
	cmd.Stdin = strings.NewReader("label: dos\nlabel-id: 0x1a2b3c4d\nstart=2048, size=20480, type=c\nstart=22528, size=40960, type=7\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	markNTFS(t, name, 22528*512)
	want := wof.NewMBRLocation(0x1a2b3c4d, 22528*512, testPath)
	for _, spec := range []string{name, name + ":2", "mbr:1a2b3c4d:11534336", "MBR:0x1A2B3C4D:0xb00000"} {
		if got, err := Location(spec, testPath, ""); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", spec, got, err, want)
		}
	}
	if got, err := Location(name+":1", testPath, ""); err != nil || got != wof.NewMBRLocation(0x1a2b3c4d, 1<<20, testPath) {
		t.Errorf("partition 1: %v, %v", got, err)
	}
	if _, err := Location(name+":3", testPath, ""); err == nil || !strings.Contains(err.Error(), "partitions 1 (type 0c, 10 MiB), 2 (type 07, 20 MiB)") {
		t.Errorf("partition 3: %v, want an error that lists the partitions", err)
	}
}

func TestLocationOfGPTDisk(t *testing.T) {
	name := diskImage(t)
	const disk, part = "01020304-0506-0708-090a-0b0c0d0e0f10", "11121314-1516-1718-191a-1b1c1d1e1f20"
	reftool.Run(t, "sgdisk", "-o", "-U", disk, "-n", "1:2048:+16M", "-t", "1:0700", "-u", "1:"+part, name)
	markNTFS(t, name, 1<<20)
	d, err := guid.Parse(disk)
	if err != nil {
		t.Fatal(err)
	}
	p, err := guid.Parse(part)
	if err != nil {
		t.Fatal(err)
	}
	want := wof.NewGPTLocation(d, p, testPath)
	for _, spec := range []string{name, name + ":1", "gpt:" + disk + ":" + part, "gpt:{" + disk + "}:{" + part + "}"} {
		if got, err := Location(spec, testPath, ""); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", spec, got, err, want)
		}
	}
}

func TestLocationRefuses(t *testing.T) {
	unsigned := diskImage(t)
	cmd := exec.Command(reftool.Look(t, "sfdisk"), "-q", unsigned)
	cmd.Stdin = strings.NewReader("label: dos\nlabel-id: 0\nstart=2048, size=20480, type=7\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	markNTFS(t, unsigned, 1<<20)
	bare := diskImage(t)
	markNTFS(t, bare, 0)
	for _, tt := range []struct{ name, spec, path, want string }{
		{"no signature", unsigned, testPath, "no signature"},
		{"bare volume", bare, testPath, "no disk identity"},
		{"empty disk", diskImage(t), testPath, "neither an NTFS nor a FAT volume nor a partitioned disk"},
		{"missing file", "nothing.img", testPath, "nothing.img"},
		{"relative path", "mbr:1:512", `wimboot\a.wim`, "path of a file"},
		{"folder", "mbr:1:512", `\wimboot\`, "path of a file"},
		{"doubled slash", "mbr:1:512", `\\server\a.wim`, "path of a file"},
		{"zero signature", "mbr:0:512", testPath, "not zero"},
		{"odd offset", "mbr:1:513", testPath, "multiple of 512"},
		{"no offset", "mbr:1", testPath, "multiple of 512"},
		{"bad GUID", "gpt:1:2", testPath, "guid"},
	} {
		if l, err := Location(tt.spec, tt.path, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v, want an error with %q", tt.name, l, err, tt.want)
		}
	}
}

func TestBootPathForms(t *testing.T) {
	for in, want := range map[string]string{`\a.wim`: `\a.wim`, `/wimboot/a.wim`: `\wimboot\a.wim`, `C:\wimboot\a.wim`: `\wimboot\a.wim`} {
		if got, err := bootPath(in); err != nil || got != want {
			t.Errorf("bootPath(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}
