package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOldFileStaysUntilCommit(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "x")
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Create(target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	check := func(want string) {
		t.Helper()
		b, err := os.ReadFile(target)
		if err != nil || string(b) != want {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
		names, err := os.ReadDir(dir)
		if err != nil || len(names) != 1 {
			t.Errorf("%v, %v, want one file", names, err)
		}
	}
	check("old")
	if f, err = Create(target); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	check("new")
	if _, err := Create(filepath.Join(dir, "no", "x")); err == nil {
		t.Error("a file in a missing folder was made")
	}
}
