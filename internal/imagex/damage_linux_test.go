package imagex

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
)

// TestRecoverData damages one file's data: apply fails, and with --recover-data gives what wimlib gives of it.
func TestRecoverData(t *testing.T) {
	reftool.Look(t, "wimlib-imagex")
	for _, compress := range []string{"none", "xpress"} {
		dir := t.TempDir()
		src, name := filepath.Join(dir, "src"), filepath.Join(dir, "a.wim")
		if err := os.Mkdir(src, 0o755); err != nil {
			t.Fatal(err)
		}
		good, bad := []byte(strings.Repeat("good ", 3000)), []byte(strings.Repeat("damaged content 0123456789 ", 9000))
		for n, b := range map[string][]byte{"good": good, "bad": bad} {
			if err := os.WriteFile(filepath.Join(src, n), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		must(t, "capture", src, name, "--compress="+compress)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := 208 + len(good) + 100000 // in the larger file's data, whatever the order
		if compress != "none" {
			at = 208 + 700
		}
		b[at] ^= 0x55
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		code, _, errs := run(t, "", "apply", name, "1", filepath.Join(dir, "fails"))
		if code != codeHash && code != codeDecompress {
			t.Errorf("%s: exit code %d\n%s", compress, code, errs)
		}
		if code, _, _ := run(t, "", "verify", name); code == 0 {
			t.Errorf("%s: verified", compress)
		}
		ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
		must(t, "apply", name, "1", ours, "--recover-data")
		reftool.Run(t, "wimlib-imagex", "apply", name, "1", theirs, "--recover-data")
		for n, size := range map[string]int{"good": len(good), "bad": len(bad)} {
			x, err := os.ReadFile(filepath.Join(ours, n))
			if err != nil {
				t.Fatal(err)
			}
			y, err := os.ReadFile(filepath.Join(theirs, n))
			if err != nil {
				t.Fatal(err)
			}
			if len(x) != size || compress == "none" && !bytes.Equal(x, y) || n == "good" && !bytes.Equal(x, good) && !bytes.Equal(y, x) {
				t.Errorf("%s: %s has %d bytes, %d of them not as wimlib has them", compress, n, len(x), differing(x, y))
			}
		}
	}
}

func differing(x, y []byte) (n int) {
	for k := range min(len(x), len(y)) {
		if x[k] != y[k] {
			n++
		}
	}
	return n
}
