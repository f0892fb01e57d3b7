package sample

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"husk/winfile"
)

// program is one file for a system folder or for Fonts.
type program struct {
	name string
	data *winfile.Blob
}

// programs are what the two systems are made of: files of the x64 and of the x86 system folder, and files that both have.
type programs struct {
	x64, x86, nls, fonts []program
	inf                  []byte
	real                 bool
}

func newPrograms(o Options) (*programs, error) {
	p := madeUp()
	if o.Wine != "" {
		var err error
		if p, err = fromWine(o.Wine); err != nil {
			return nil, fmt.Errorf("sample: %w", err)
		}
	}
	if o.Programs > 0 {
		p.x64, p.x86 = limit(p.x64, o.Programs), limit(p.x86, o.Programs)
	}
	return p, nil
}

// essential are files that a system needs to look like one, whatever the limit.
var essential = []string{"ntoskrnl.exe", "ntdll.dll", "kernel32.dll", "kernelbase.dll", "hal.dll", "winload.exe", "cmd.exe", "notepad.exe"}

// limit keeps the essential programs, drivers, and others spread over the list, n in all.
func limit(list []program, n int) []program {
	if len(list) <= n {
		return list
	}
	var first, rest []program
	for _, p := range list {
		if slices.Contains(essential, p.name) || strings.HasSuffix(p.name, ".sys") {
			first = append(first, p)
		} else {
			rest = append(rest, p)
		}
	}
	first = first[:min(len(first), n)]
	for left := n - len(first); left > 0; left-- {
		first = append(first, rest[0])
		rest = rest[max(1, len(rest)/left):]
	}
	slices.SortFunc(first, func(a, b program) int { return cmp.Compare(a.name, b.name) })
	return first
}

// fromWine finds the parts of unpacked libwine packages below root.
func fromWine(root string) (*programs, error) {
	folders := make(map[string]string) // by base name, the one with the most files
	most := make(map[string]int)
	var inf string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch base := d.Name(); {
		case !d.IsDir() && base == "wine.inf":
			inf = path
		case d.IsDir() && slices.Contains([]string{"x86_64-windows", "i386-windows", "nls", "fonts"}, base):
			list, err := os.ReadDir(path)
			if err != nil {
				return err
			}
			if len(list) > most[base] {
				most[base], folders[base] = len(list), path
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p := &programs{real: true}
	for _, part := range []struct {
		folder string
		into   *[]program
	}{{"x86_64-windows", &p.x64}, {"i386-windows", &p.x86}, {"nls", &p.nls}, {"fonts", &p.fonts}} {
		dir := folders[part.folder]
		if dir == "" {
			if part.folder == "fonts" {
				continue
			}
			return nil, fmt.Errorf("no folder %s of libwine below %s", part.folder, root)
		}
		if *part.into, err = fromFolder(dir); err != nil {
			return nil, err
		}
	}
	if inf == "" {
		return nil, fmt.Errorf("no wine.inf of libwine below %s", root)
	}
	if p.inf, err = os.ReadFile(inf); err != nil {
		return nil, err
	}
	return p, nil
}

func fromFolder(dir string) ([]program, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []program
	for _, d := range list {
		if !d.Type().IsRegular() {
			continue
		}
		blob, err := programBlob(filepath.Join(dir, d.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, program{d.Name(), blob})
	}
	return out, nil
}

// programBlob is the content of a file; of a PE file, without debug sections at its end.
func programBlob(path string) (_ *winfile.Blob, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() == 0 {
		return nil, nil
	}
	p := &cutFile{path: path}
	size := st.Size()
	head, end, err := withoutDebug(f, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if head != nil {
		p.head, size = head, end
	}
	return &winfile.Blob{Size: size, Content: p}, nil
}

// withoutDebug returns the changed start of a PE file and the length to which it can be cut when all sections behind are
// .debug_*; a nil head if there is nothing to cut. The names of such sections stand in the COFF string table. Source: Microsoft,
// "PE Format".
func withoutDebug(f io.ReaderAt, size int64) (head []byte, end int64, err error) {
	head = make([]byte, min(size, 4096))
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, 0, err
	}
	le := binary.LittleEndian
	if len(head) < 0x40 || string(head[:2]) != "MZ" {
		return nil, 0, nil
	}
	coff := int(min(le.Uint32(head[0x3c:]), 4096)) + 4
	if coff+20 > len(head) || string(head[coff-4:coff]) != "PE\x00\x00" {
		return nil, 0, nil
	}
	count, symbols := int(le.Uint16(head[coff+2:])), int64(le.Uint32(head[coff+8:]))
	stringTable := symbols + 18*int64(le.Uint32(head[coff+12:]))
	table := coff + 20 + int(le.Uint16(head[coff+16:]))
	if symbols == 0 || table+40*count > len(head) {
		return nil, 0, nil
	}
	keep := 0
	for i := range count {
		s := head[table+40*i:]
		name := string(bytes.TrimRight(s[:8], "\x00"))
		if off, ok := strings.CutPrefix(name, "/"); ok {
			var n int64
			if _, err := fmt.Sscan(off, &n); err != nil {
				return nil, 0, fmt.Errorf("section %d is named %q", i, name)
			}
			long := make([]byte, 7)
			if _, err := f.ReadAt(long, stringTable+n); err != nil {
				return nil, 0, err
			}
			if name = string(long); strings.HasPrefix(name, ".debug_") {
				continue
			}
		}
		if keep != i {
			return nil, 0, nil // a section behind the debug sections
		}
		keep++
		if start := int64(le.Uint32(s[20:])); start != 0 {
			end = max(end, start+int64(le.Uint32(s[16:])))
		}
	}
	if keep == count || end < int64(len(head)) || end > size {
		return nil, 0, nil
	}
	clear(head[table+40*keep : table+40*count])
	le.PutUint16(head[coff+2:], uint16(keep))
	clear(head[coff+8 : coff+16])  // symbol table and number of symbols
	clear(head[coff+84 : coff+88]) // optional header's checksum: none
	return head, end, nil
}

// cutFile is the content of a file with a changed start.
type cutFile struct {
	path string
	head []byte
}

func (c *cutFile) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	f, err := os.Open(c.path)
	if err != nil {
		return nil, err
	}
	n := int64(len(c.head))
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(c.head), io.NewSectionReader(f, n, b.Size-n)), f}, nil
}

// madeUp are small programs of about the texture of machine code. Sizes meet the edges of chunks, clusters and records.
func madeUp() *programs {
	names := strings.Fields(`ntoskrnl.exe ntdll.dll kernel32.dll kernelbase.dll hal.dll winload.exe cmd.exe notepad.exe advapi32.dll
		api-ms-win-core-file-l1-1-0.dll comctl32.dll comdlg32.dll crypt32.dll d3d9.dll dwrite.dll explorer.exe gdi32.dll
		iexplore.exe imm32.dll kbdus.dll mountmgr.sys msxml3.dll netio.sys ole32.dll oleaut32.dll regedit.exe rpcrt4.dll
		sechost.dll shell32.dll shlwapi.dll stdole2.tlb svchost.exe taskmgr.exe usbd.sys user32.dll version.dll win32k.sys
		winhttp.dll wininet.dll winlogon.exe wordpad.exe ws2_32.dll xpsprint.dll zipfldr.dll`)
	sizes := []int{1, 512, 700, 4095, 4096, 4097, 12345, 32767, 32768, 32769, 65536, 65537, 100001, 131072}
	p := &programs{inf: []byte(madeUpInf)}
	slices.Sort(names)
	for i, n := range names {
		size := sizes[i%len(sizes)]
		switch n {
		case "shell32.dll":
			size = 1<<20 + 300001
		case "kernel32.dll": // tells the architecture of the system: its headers must be there
			size = max(size, 1024)
		}
		p.x64 = append(p.x64, program{n, winfile.NewBlob(machineCode(size, "x64", n))})
		p.x86 = append(p.x86, program{n, winfile.NewBlob(machineCode(size*7/8+1, "x86", n))})
	}
	for _, n := range []string{"c_1252.nls", "c_936.nls", "locale.nls", "sortdefault.nls"} {
		p.nls = append(p.nls, program{n, winfile.NewBlob(machineCode(66082, "nls", n))})
	}
	for _, n := range []string{"marlett.ttf", "simsun.ttc", "tahoma.ttf", "vgaoem.fon", "vgasys.fon"} {
		p.fonts = append(p.fonts, program{n, winfile.NewBlob(machineCode(48000, "font", n))})
	}
	return p
}

const madeUpInf = `[Version]
Signature="$Windows NT$"
Class=System
Provider="Example"

[SourceDisksNames]
1=%disk%

[Strings]
disk="Example installation disk"
`

// machineCode is data that compresses about as a program does: instructions of a few kinds with varying operands, a table of
// pointers, strings.
func machineCode(size int, parts ...string) []byte {
	r := newRandom(append([]string{"code"}, parts...)...)
	opcodes := [][]byte{{0x48, 0x8b}, {0x48, 0x89}, {0xe8}, {0x0f, 0x84}, {0x55, 0x48, 0x89, 0xe5}, {0xc3, 0xcc, 0xcc, 0xcc}, {0xff, 0x15}, {0x31, 0xc0}}
	words := []string{"RtlAllocateHeap", "Nt", "Query", "Information", "File", "Key", "Registry", "\\SystemRoot\\", "Object", "%08x"}
	b := make([]byte, 64, size+64)
	copy(b, "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff")
	if machine := map[string]uint16{"x64": 0x8664, "x86": 0x14c}[parts[0]]; machine != 0 {
		b[0x3c] = byte(len(b))
		b = binary.LittleEndian.AppendUint16(append(b, "PE\x00\x00"...), machine)
	}
	for len(b) < size {
		switch r.n(8) {
		case 0:
			b = append(append(b, words[r.n(len(words))]...), 0)
		case 1:
			b = binary.LittleEndian.AppendUint64(b, 0x180000000+uint64(r.n(1<<16))*16)
		case 2:
			b = append(b, r.bytes(2+r.n(5))...)
		default:
			b = append(b, opcodes[r.n(len(opcodes))]...)
			b = binary.LittleEndian.AppendUint32(b, uint32(r.n(1<<11)))
		}
	}
	return b[:size]
}
