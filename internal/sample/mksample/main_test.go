package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWritesASystem(t *testing.T) {
	target := filepath.Join(t.TempDir(), "x86")
	var out, problems bytes.Buffer
	if err := run([]string{"--arch=x86", "--programs=10", "", target}, &out, &problems); err != nil {
		t.Fatalf("%v\n%s", err, problems.String())
	}
	for _, name := range []string{"Windows/System32/ntdll.dll", "Windows/System32/config/SOFTWARE", "Users/张三/NTUSER.DAT"} {
		if _, err := os.Stat(filepath.Join(target, filepath.FromSlash(name))); err != nil {
			t.Error(err)
		}
	}
	a, err := os.Stat(filepath.Join(target, "bootmgr"))
	if err != nil {
		t.Fatal(err)
	}
	if y := a.ModTime().UTC().Year(); y != 2010 && y != 2011 {
		t.Errorf("bootmgr was written in %d, want 2010 or 2011", y)
	}
	if !strings.Contains(out.String(), " names in ") {
		t.Errorf("printed %q", out.String())
	}
	if err := run([]string{"", target}, &out, &problems); err == nil {
		t.Error("a target that holds something was accepted")
	}
	if err := run([]string{"--arch=arm64", "", filepath.Join(t.TempDir(), "x")}, &out, &problems); err == nil {
		t.Error("an unknown architecture was accepted")
	}
}
