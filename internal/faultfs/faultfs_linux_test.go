//go:build !386 && !arm && !mips && !mipsle

package faultfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFaults holds that what is asked for fails, when it is to fail, and only then.
func TestFaults(t *testing.T) {
	below := t.TempDir()
	d := Mount(t, below)
	name := func(s string) string { return filepath.Join(d.Dir, s) }
	text := strings.Repeat("text", 4096)
	if err := os.WriteFile(name("a"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name("a"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read := func() error { _, err := f.ReadAt(make([]byte, 512), 0); return err }
	write := func() error { _, err := f.WriteAt([]byte("12345678"), 512); return err }
	link := func() error { return errors.Join(os.Link(name("a"), name("b")), os.Remove(name("b"))) }
	rename := func() error { return errors.Join(os.Rename(name("a"), name("c")), os.Rename(name("c"), name("a"))) }
	syncFolder := func() error {
		f, err := os.Open(d.Dir)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	}
	all := []func() error{read, write, f.Sync, func() error { return f.Truncate(int64(len(text))) }, link, rename, syncFolder}
	for i, op := range []Op{Read, Write, Sync, Truncate, Create, Rename, Sync} {
		d.Set(Fault{Ops: op, At: 1})
		if err := all[i](); !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d: %v, want EIO", i, err)
		}
		if err := all[i](); err != nil {
			t.Errorf("operation %d repeated: %v", i, err)
		}
		d.Set(Fault{Ops: op, At: 2, Stays: true})
		for range 3 {
			err = all[i]()
		}
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d at last: %v, want EIO", i, err)
		}
		if err := read(); !errors.Is(err, syscall.EIO) {
			t.Errorf("reading from what is gone: %v, want EIO", err)
		}
		if _, err := os.Stat(name("a")); !errors.Is(err, syscall.EIO) {
			t.Errorf("looking at what is gone: %v, want EIO", err)
		}
		d.Set(Fault{})
		if err := os.Remove(name("b")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		if _, err := os.Stat(name("c")); err == nil {
			if err := os.Rename(name("c"), name("a")); err != nil {
				t.Error(err)
			}
		}
	}
	d.Set(Fault{Ops: Grows, At: 1, Stays: true, Errno: syscall.ENOSPC, Torn: true})
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing to a full disk: %v", err)
	}
	if err := read(); err != nil {
		t.Errorf("reading from a full disk: %v", err)
	}
	if d.Failed() != 1 || d.Count(Read) != 1 || d.Count(Changes) != 1 {
		t.Errorf("%d operations failed of %d reads and %d changes, want 1 of 1 and 1", d.Failed(), d.Count(Read), d.Count(Changes))
	}
	d.Set(Fault{})
	if err := os.WriteFile(name("a"), []byte("new"), 0o600); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(below, "a")); err != nil || string(b) != "new" {
		t.Errorf("%q, %v below", b, err)
	}
}
