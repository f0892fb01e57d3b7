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
)

// build makes a program file of one section with imports and a version resource.
func build(imports []string, v Version) []byte {
	const (
		headerAt, optional, sectionAt = 0x80, 240, 0x400
		rva                           = 0x1000
	)
	var s []byte // the section
	pad := func(n int) {
		for len(s)%n != 0 {
			s = append(s, 0)
		}
	}
	names := importSize * (len(imports) + 1)
	s = make([]byte, names+16) // and an empty list of what is imported
	for i, name := range imports {
		le.PutUint32(s[i*importSize:], rva+uint32(names))
		le.PutUint32(s[i*importSize+16:], rva+uint32(names))
		le.PutUint32(s[i*importSize+nameAt:], uint32(rva+len(s)))
		s = append(append(s, name...), 0)
	}
	pad(16)
	resources := len(s)
	level := func(id, next uint32) {
		d := make([]byte, resourceHeader+resourceEntry)
		le.PutUint16(d[14:], 1)
		le.PutUint32(d[16:], id)
		le.PutUint32(d[20:], next)
		s = append(s, d...)
	}
	level(typeVersion, 24|subdirectory)
	level(1, 48|subdirectory)
	level(0x409, 72)
	data := make([]byte, 16)
	le.PutUint32(data, uint32(rva+len(s)+16))
	le.PutUint32(data[4:], 92)
	s = append(s, data...)
	info := make([]byte, 92)
	for i, c := range "VS_VERSION_INFO" {
		le.PutUint16(info[6+2*i:], uint16(c))
	}
	le.PutUint32(info[40:], fixedSignature)
	le.PutUint32(info[48:], uint32(v[0])<<16|uint32(v[1]))
	le.PutUint32(info[52:], uint32(v[2])<<16|uint32(v[3]))
	s = append(s, info...)
	pad(512)

	b := make([]byte, sectionAt)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], headerAt)
	h := b[headerAt:]
	copy(h, "PE\x00\x00")
	le.PutUint16(h[4:], MachineAMD64)
	le.PutUint16(h[6:], 1)
	le.PutUint16(h[20:], optional)
	o := h[24:]
	le.PutUint16(o, 0x20b)
	le.PutUint32(o[108:], 16)
	le.PutUint32(o[112+8*dirImports:], rva)
	le.PutUint32(o[112+8*dirImports+4:], uint32(names))
	le.PutUint32(o[112+8*dirResources:], uint32(rva+resources))
	le.PutUint32(o[112+8*dirResources+4:], uint32(len(s)-resources))
	t := o[optional:]
	copy(t, ".data")
	le.PutUint32(t[8:], uint32(len(s)))
	le.PutUint32(t[12:], rva)
	le.PutUint32(t[16:], uint32(len(s)))
	le.PutUint32(t[20:], sectionAt)
	le.PutUint32(t[36:], 0x40000040) // readable data
	return append(b, s...)
}

func TestRead(t *testing.T) {
	imports := []string{"ntoskrnl.exe", "HAL.dll", "Hal.dll", "ext-ms-win-ntos-x-l1-1-0.dll"}
	b := build(imports, Version{10, 0, 19041, 1})
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

func TestDigests(t *testing.T) {
	b := build(nil, Version{1})
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
	if err := os.WriteFile(own, build([]string{"ntoskrnl.exe", "HAL.dll"}, Version{6, 1}), 0o666); err != nil {
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
	f.Add(build([]string{"a.dll", "b.dll"}, Version{1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := Read(bytes.NewReader(b), int64(len(b)))
		if (info == nil) == (err == nil) {
			t.Fatalf("%v %v", info, err)
		}
	})
}
