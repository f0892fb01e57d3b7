package pe

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/pe/petest"
)

func TestRead(t *testing.T) {
	imports := []string{"ntoskrnl.exe", "HAL.dll", "Hal.dll", "ext-ms-win-ntos-x-l1-1-0.dll"}
	b := petest.Build(imports, [4]uint16{10, 0, 19041, 1})
	info, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ntoskrnl.exe", "HAL.dll", "ext-ms-win-ntos-x-l1-1-0.dll"}; !slices.Equal(info.Imports, want) {
		t.Errorf("imports %q, want %q", info.Imports, want)
	}
	if info.Machine != MachineAMD64 || info.FileVersion.String() != "10.0.19041.1" || info.Signed {
		t.Errorf("%+v", info)
	}
	if (Version{6, 1, 7601, 18741}).Compare(Version{6, 1, 7601, 18519}) <= 0 {
		t.Error("versions are not ordered by number")
	}
	for _, bad := range [][]byte{nil, b[:10], b[:0x200], b[:len(b)-300]} {
		if _, err := Read(bytes.NewReader(bad), int64(len(bad))); !errors.Is(err, ErrFormat) {
			t.Errorf("%d bytes: %v, want ErrFormat", len(bad), err)
		}
	}
}

// TestNoVersion: what a loader needs is there even if the version resource is damaged.
func TestNoVersion(t *testing.T) {
	b := petest.Build([]string{"ntoskrnl.exe"}, [4]uint16{10})
	at := bytes.Index(b, le.AppendUint32(nil, fixedSignature))
	b[at] ^= 1
	info, err := Read(bytes.NewReader(b), int64(len(b)))
	if !errors.Is(err, ErrFormat) || info == nil || !slices.Equal(info.Imports, []string{"ntoskrnl.exe"}) {
		t.Errorf("%+v %v", info, err)
	}
}

func TestDigests(t *testing.T) {
	b := petest.Build(nil, [4]uint16{1})
	cert := make([]byte, 8)
	for _, d := range []int{0, 1} {
		cert = append(append(append(cert, spcIndirectData...), 0xa0, 0x30, 0x30), digests[d].oid...)
		cert = append(cert, make([]byte, 200)...)
	}
	le.PutUint32(b[0x80+24+112+8*dirCertificates:], uint32(len(b)))
	le.PutUint32(b[0x80+24+112+8*dirCertificates+4:], uint32(len(cert)))
	b = append(b, cert...)
	info, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil || !info.Signed || !slices.Equal(info.Digests, []string{"SHA-1", "SHA-256"}) {
		t.Errorf("%+v %v", info, err)
	}
}

// TestObjdump compares with binutils, on a file of ours and on the programs of wine if it is installed.
func TestObjdump(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.dll")
	if err := os.WriteFile(own, petest.Build([]string{"ntoskrnl.exe", "HAL.dll"}, [4]uint16{6, 1}), 0o666); err != nil {
		t.Fatal(err)
	}
	files := []string{own}
	for _, pattern := range []string{"kernel32.dll", "user32.dll", "notepad.exe"} {
		more, _ := filepath.Glob("/usr/lib/*/wine/*-windows/" + pattern)
		files = append(files, more...)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var want []string
		for line := range strings.Lines(reftool.Run(t, "objdump", "-p", name)) {
			if _, dll, ok := strings.Cut(line, "DLL Name: "); ok {
				want = append(want, strings.TrimSpace(dll))
			}
		}
		if !slices.Equal(info.Imports, want) {
			t.Errorf("%s: %q, want %q", name, info.Imports, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(petest.Build([]string{"a.dll", "b.dll"}, [4]uint16{1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := Read(bytes.NewReader(b), int64(len(b)))
		if info == nil && err == nil || err != nil && !errors.Is(err, ErrFormat) {
			t.Fatalf("%v %v", info, err)
		}
	})
}
