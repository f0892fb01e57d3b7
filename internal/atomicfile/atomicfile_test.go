package atomicfile

import (
	"errors"
	"io/fs"
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
	f, err := Create(target, true)
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
	if f, err = Create(target, true); err != nil {
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
	if _, err := Create(filepath.Join(dir, "no", "x"), true); err == nil {
		t.Error("a file in a missing folder was made")
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file, link, dangling := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "dangling")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	links := os.Symlink("file", link) == nil && os.Symlink("nothing", dangling) == nil
	for _, tt := range []struct {
		target        string
		free, replace bool // Check's answer
		link          bool
	}{
		{target: ""},
		{target: dir},
		{target: dir + string(filepath.Separator)},
		{target: os.DevNull},
		{target: filepath.Join(dir, "no", "x")},
		{target: filepath.Join(file, "x")},
		{target: filepath.Join(dir, "new"), free: true, replace: true},
		{target: file, replace: true},
		{target: link, replace: true, link: true},
		{target: dangling, link: true},
	} {
		if tt.link && !links {
			continue
		}
		if err := Check(tt.target, false); (err == nil) != tt.free {
			t.Errorf("Check(%q, false): %v", tt.target, err)
		}
		if err := Check(tt.target, true); (err == nil) != tt.replace {
			t.Errorf("Check(%q, true): %v", tt.target, err)
		}
	}
	if _, err := os.Stat("/dev"); err == nil {
		for _, name := range []string{"/dev/no-such-disk", "/dev/disk/by-id/no-such-disk", "/dev/../dev/no-such-disk"} {
			if err := Check(name, true); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := Check(file, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v, want fs.ErrExist", err)
	}
}

// TestLinkStays: the file that a link leads to is replaced, not the link.
func TestLinkStays(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Skip(err)
	}
	f, err := Create(link, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || len(b) > 0 {
		t.Errorf("%q, %v, want the new file", b, err)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", st, err)
	}
}

// TestMadeMeanwhile: who may not replace does not replace what came after Create either.
func TestMadeMeanwhile(t *testing.T) {
	target := filepath.Join(t.TempDir(), "x")
	f, err := Create(target, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v, want fs.ErrExist", err)
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "other" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestLeftovers: the temporary files of killed runs go, one that is being written stays, and so does what only looks alike.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "x[1]")
	for _, n := range []string{".tmp-123", ".tmp-mine", ".tmp-", ".tmp-99999999999"} {
		if err := os.WriteFile(target+n, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, err := Create(target, true)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Create(target, true)
	if err != nil {
		t.Fatal(err)
	}
	second.Abort()
	if err := first.Commit(); err != nil {
		t.Error(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 4 {
		t.Errorf("%v, %v, want the new file and three that are not husk's", names, err)
	}
}
