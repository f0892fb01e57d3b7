package winfile

import "strings"

// Attributes are Win32 FILE_ATTRIBUTE_* bits, [MS-FSCC] 2.6.
type Attributes uint32

const (
	AttrReadOnly           Attributes = 0x1
	AttrHidden             Attributes = 0x2
	AttrSystem             Attributes = 0x4
	AttrDirectory          Attributes = 0x10
	AttrArchive            Attributes = 0x20
	AttrDevice             Attributes = 0x40
	AttrNormal             Attributes = 0x80 // only alone; never on NTFS disks
	AttrTemporary          Attributes = 0x100
	AttrSparse             Attributes = 0x200
	AttrReparse            Attributes = 0x400
	AttrCompressed         Attributes = 0x800
	AttrOffline            Attributes = 0x1000
	AttrNotIndexed         Attributes = 0x2000
	AttrEncrypted          Attributes = 0x4000
	AttrIntegrity          Attributes = 0x8000
	AttrVirtual            Attributes = 0x10000
	AttrNoScrub            Attributes = 0x20000
	AttrRecallOnOpen       Attributes = 0x40000
	AttrPinned             Attributes = 0x80000
	AttrUnpinned           Attributes = 0x100000
	AttrRecallOnDataAccess Attributes = 0x400000
)

var attributeLetters = []struct {
	bit    Attributes
	letter byte
}{
	{AttrDirectory, 'D'}, {AttrReadOnly, 'R'}, {AttrHidden, 'H'}, {AttrSystem, 'S'}, {AttrArchive, 'A'},
	{AttrCompressed, 'C'}, {AttrEncrypted, 'E'}, {AttrSparse, 'P'}, {AttrReparse, 'L'}, {AttrOffline, 'O'},
	{AttrNotIndexed, 'I'}, {AttrTemporary, 'T'},
}

// String shows the bits with the letters of attrib.exe and fsutil, a dash for each that is clear.
func (a Attributes) String() string {
	var b strings.Builder
	for _, l := range attributeLetters {
		if a&l.bit != 0 {
			b.WriteByte(l.letter)
		} else {
			b.WriteByte('-')
		}
	}
	return b.String()
}
