// Package pe reads of Windows program files (Portable Executable) what matters for starting an offline system: for which machine a
// file is, which libraries it imports, which version it has and how it is signed.
//
//	0x00  "MZ" …, offset of the PE header u32 at 0x3c
//	      "PE\0\0", COFF header (machine, sections, …), optional header with data directories, section headers
//	      sections: code, data, import tables, resources
//	      certificates at the end, which are not in a section
//
// Sources: Microsoft, "PE Format" (learn.microsoft.com/windows/win32/debug/pe-format); "VS_VERSIONINFO structure".
package pe

import (
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
)

var le = binary.LittleEndian

// Machines of files.
const (
	MachineI386  = 0x14c
	MachineAMD64 = 0x8664
	MachineARM64 = 0xaa64
)

// Info is what Read finds in a file.
type Info struct {
	Machine     uint16
	Imports     []string // libraries, as spelled in the file, without duplicates
	FileVersion Version  // from the version resource; zero if there is none
	Signed      bool     // has a certificate table
	Digests     []string // of its signatures, such as "SHA-1" and "SHA-256"
}

// Version is four numbers: 10.0.19041.1.
type Version [4]uint16

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d.%d", v[0], v[1], v[2], v[3]) }

// Compare orders versions.
func (v Version) Compare(w Version) int { return slices.Compare(v[:], w[:]) }

// Limits on what a file may claim.
const (
	maxImports  = 4096
	maxLibrary  = 256 // bytes of a name
	maxTable    = 1 << 20
	maxResource = 4096 // entries of one level
)

// ErrFormat is wrapped by errors of files that are no program files, or damaged ones.
var ErrFormat = errors.New("pe: not a program file")

// Read reads a file of size bytes. A file whose version or signature cannot be read gives the rest of what it says beside the error.
func Read(r io.ReaderAt, size int64) (info *Info, err error) {
	f, err := pe.NewFile(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer f.Close()
	p := &file{r: r, size: size, f: f}
	info = &Info{Machine: f.Machine}
	if info.Imports, err = p.imports(); err != nil {
		return nil, fmt.Errorf("%w: imports: %w", ErrFormat, err)
	}
	if info.FileVersion, err = p.version(); err != nil {
		return info, fmt.Errorf("%w: version resource: %w", ErrFormat, err)
	}
	if err := p.certificates(info); err != nil {
		return info, fmt.Errorf("%w: certificates: %w", ErrFormat, err)
	}
	return info, nil
}

type file struct {
	r    io.ReaderAt
	size int64
	f    *pe.File
}

// directory returns an entry of the data directory: address and size, zero if it is not there.
func (p *file) directory(n int) (address, size uint32) {
	var d []pe.DataDirectory
	switch o := p.f.OptionalHeader.(type) {
	case *pe.OptionalHeader32:
		d = o.DataDirectory[:min(len(o.DataDirectory), int(o.NumberOfRvaAndSizes))]
	case *pe.OptionalHeader64:
		d = o.DataDirectory[:min(len(o.DataDirectory), int(o.NumberOfRvaAndSizes))]
	}
	if n >= len(d) {
		return 0, 0
	}
	return d[n].VirtualAddress, d[n].Size
}

// at reads up to n bytes at an address of the loaded program; fewer if the section ends.
func (p *file) at(address uint32, n int) ([]byte, error) {
	for _, s := range p.f.Sections {
		if address < s.VirtualAddress || address-s.VirtualAddress >= s.Size {
			continue
		}
		in := address - s.VirtualAddress
		n = min(n, int(min(int64(s.Size-in), p.size)))
		b := make([]byte, n)
		got, err := p.r.ReadAt(b, int64(s.Offset)+int64(in))
		if got < n && (err == nil || err == io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if got == n {
			err = nil
		}
		return b, err
	}
	return nil, fmt.Errorf("address %#x is in no section", address)
}

// text reads a string that ends with a NUL.
func (p *file) text(address uint32) (string, error) {
	b, err := p.at(address, maxLibrary)
	if err != nil {
		return "", err
	}
	s, _, ok := strings.Cut(string(b), "\x00")
	if !ok {
		return "", fmt.Errorf("name at %#x has no end in %d bytes", address, len(b))
	}
	return s, nil
}

// Entries of the data directory.
const (
	dirImports      = 1
	dirResources    = 2
	dirCertificates = 4
)

const importSize = 20 // of a descriptor; the name is at nameAt
const nameAt = 12

func (p *file) imports() ([]string, error) {
	address, size := p.directory(dirImports)
	if address == 0 || size == 0 {
		return nil, nil
	}
	b, err := p.at(address, maxImports*importSize)
	if err != nil {
		return nil, err
	}
	var list []string
	for ; len(b) >= importSize; b = b[importSize:] {
		name := le.Uint32(b[nameAt:])
		if name == 0 {
			return list, nil
		}
		s, err := p.text(name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(list, func(o string) bool { return strings.EqualFold(o, s) }) {
			list = append(list, s)
		}
	}
	return nil, fmt.Errorf("table at %#x has no end", address)
}

const (
	typeVersion      = 16
	subdirectory     = 1 << 31
	resourceHeader   = 16
	resourceEntry    = 8
	fixedSignature   = 0xfeef04bd
	fixedVersionSize = 52
)

// version reads the fixed part of the version resource: the first of its type, whatever its name and language.
func (p *file) version() (v Version, err error) {
	address, size := p.directory(dirResources)
	if address == 0 || size == 0 {
		return v, nil
	}
	at, found, err := p.resource(address, 0, typeVersion)
	for level := 1; err == nil && found && level < 3 && at&subdirectory != 0; level++ {
		at, found, err = p.resource(address, at&^subdirectory, -1)
	}
	if err != nil || !found || at&subdirectory != 0 {
		return v, err
	}
	entry, err := p.at(address+at, 16)
	if err != nil || len(entry) < 16 {
		return v, fmt.Errorf("data entry at %#x: %w", at, err)
	}
	data, err := p.at(le.Uint32(entry), int(min(le.Uint32(entry[4:]), maxTable)))
	if err != nil {
		return v, err
	}
	return parseVersion(data)
}

// resource finds an entry of a resource directory by its number; -1 is the first one.
func (p *file) resource(root, at uint32, number int) (value uint32, found bool, err error) {
	b, err := p.at(root+at, resourceHeader+maxResource*resourceEntry)
	if err != nil {
		return 0, false, err
	}
	if len(b) < resourceHeader {
		return 0, false, fmt.Errorf("directory at %#x is cut off", at)
	}
	n := int(le.Uint16(b[12:])) + int(le.Uint16(b[14:]))
	b = b[resourceHeader:]
	if n > len(b)/resourceEntry {
		return 0, false, fmt.Errorf("directory at %#x has %d entries, want at most %d", at, n, len(b)/resourceEntry)
	}
	for i := range n {
		e := b[i*resourceEntry:]
		if number < 0 || le.Uint32(e) == uint32(number) {
			return le.Uint32(e[4:]), true, nil
		}
	}
	return 0, false, nil
}

// parseVersion reads VS_VERSIONINFO: length, length of the value, type, key, padding to 4, VS_FIXEDFILEINFO.
func parseVersion(b []byte) (v Version, err error) {
	key := utf16.Encode([]rune("VS_VERSION_INFO\x00"))
	at := 6 + 2*len(key)
	at = (at + 3) &^ 3
	if len(b) < at+fixedVersionSize || le.Uint32(b[at:]) != fixedSignature {
		return v, fmt.Errorf("%d bytes without the fixed part's signature", len(b))
	}
	high, low := le.Uint32(b[at+8:]), le.Uint32(b[at+12:])
	return Version{uint16(high >> 16), uint16(high), uint16(low >> 16), uint16(low)}, nil
}

// Object identifiers of digests, as DER has them.
var digests = []struct {
	name string
	oid  []byte
}{
	{"SHA-1", []byte{0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a}},
	{"SHA-256", []byte{0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01}},
	{"SHA-384", []byte{0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02}},
	{"SHA-512", []byte{0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03}},
}

// spcIndirectData is the object identifier of what an Authenticode signature signs; the digest of the file follows it.
var spcIndirectData = []byte{0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04}

// certificates tells how the file is signed: the digest algorithm follows each place where a signature says what it signs, the
// second signature of a file with two being nested in the first.
func (p *file) certificates(info *Info) error {
	offset, size := p.directory(dirCertificates) // a place in the file, unlike all others
	if offset == 0 || size == 0 {
		return nil
	}
	if int64(offset) > p.size || int64(size) > p.size-int64(offset) || size > 16*maxTable {
		return fmt.Errorf("%d bytes at %#x of a file of %d", size, offset, p.size)
	}
	b := make([]byte, size)
	if n, err := p.r.ReadAt(b, int64(offset)); n < len(b) {
		return err
	}
	info.Signed = true
	const near = 160 // bytes in which the digest's identifier follows
	for rest := string(b); ; {
		i := strings.Index(rest, string(spcIndirectData))
		if i < 0 {
			return nil
		}
		rest = rest[i+len(spcIndirectData):]
		window := rest[:min(near, len(rest))]
		first, name := len(window), ""
		for _, d := range digests {
			if at := strings.Index(window, string(d.oid)); at >= 0 && at < first {
				first, name = at, d.name
			}
		}
		if name != "" && !slices.Contains(info.Digests, name) {
			info.Digests = append(info.Digests, name)
		}
	}
}
