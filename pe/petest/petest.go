// Package petest makes program files for tests.
package petest

import "encoding/binary"

var le = binary.LittleEndian

const (
	importSize     = 20
	nameAt         = 12
	typeVersion    = 16
	subdirectory   = 1 << 31
	resourceHeader = 16
	resourceEntry  = 8
	fixedSignature = 0xfeef04bd
	machineAMD64   = 0x8664
	dirImports     = 1
	dirResources   = 2
)

// Build makes a program file for x64 of one section, with imports and a version resource.
func Build(imports []string, version [4]uint16) []byte {
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
	le.PutUint32(info[48:], uint32(version[0])<<16|uint32(version[1]))
	le.PutUint32(info[52:], uint32(version[2])<<16|uint32(version[3]))
	s = append(s, info...)
	pad(512)

	b := make([]byte, sectionAt)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], headerAt)
	h := b[headerAt:]
	copy(h, "PE\x00\x00")
	le.PutUint16(h[4:], machineAMD64)
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
