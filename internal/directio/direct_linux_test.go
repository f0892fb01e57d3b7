package directio

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestErrorsNameTheFile holds that a write that fails, on a full disk for instance, tells of the file and not of a handle.
func TestErrorsNameTheFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := openDirect(f)
	if d == nil {
		t.Skip("this file system has no O_DIRECT")
	}
	if err := d.f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt(bytes.Repeat([]byte{1}, pageSize), 0); err == nil || !strings.Contains(err.Error(), f.Name()) {
		t.Errorf("%v, want an error that names %s", err, f.Name())
	}
}
