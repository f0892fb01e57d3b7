package fat

import (
	"encoding/binary"
	"fmt"

	"husk/winfile"
)

var le = binary.LittleEndian

// bootSector is sector 0. Comments give on-disk offsets.
type bootSector struct {
	Jump            [3]byte   // 0x00
	OEM             [8]byte   // 0x03 "MSDOS5.0"
	SectorSize      uint16    // 0x0b
	ClusterSectors  uint8     // 0x0d a power of two
	Reserved        uint16    // 0x0e sectors before the first FAT
	FATs            uint8     // 0x10 2
	RootEntries     uint16    // 0x11 0
	Sectors16       uint16    // 0x13 0
	Media           uint8     // 0x15 f8
	FATSectors16    uint16    // 0x16 0
	SectorsPerTrack uint16    // 0x18
	Heads           uint16    // 0x1a
	HiddenSectors   uint32    // 0x1c LBA of the partition; boot code relies on it
	Sectors         uint32    // 0x20
	FATSectors      uint32    // 0x24 of one FAT
	ExtFlags        uint16    // 0x28 0: the FATs are equal
	Version         uint16    // 0x2a 0
	Root            uint32    // 0x2c first cluster of the root directory
	FSInfo          uint16    // 0x30 1
	Backup          uint16    // 0x32 6
	_               [12]byte  // 0x34
	Drive           uint8     // 0x40 80
	_               uint8     // 0x41
	BootSignature   uint8     // 0x42 29: the next three are there
	Serial          uint32    // 0x43
	Label           [11]byte  // 0x47
	Type            [8]byte   // 0x52 "FAT32   "
	Code            [420]byte // 0x5a
	Signature       [2]byte   // 0x1fe 55 aa
}

// fsInfo is sector 1.
type fsInfo struct {
	Lead  uint32    // 0x000 "RRaA"
	_     [480]byte // 0x004
	Magic uint32    // 0x1e4 "rrAa"
	Free  uint32    // 0x1e8 clusters
	Next  uint32    // 0x1ec cluster to look from
	_     [12]byte  // 0x1f0
	Trail uint32    // 0x1fc 55 aa in its upper half
}

// dirEntry is a name in a directory.
type dirEntry struct {
	Name        [11]byte // 0x00 8 and 3, upper case, padded with spaces
	Attributes  uint8    // 0x0b
	Case        uint8    // 0x0c caseBase, caseExt
	CreatedTens uint8    // 0x0d 10 ms, 0 to 199
	Created     uint32   // 0x0e time in the lower half, date in the upper
	Accessed    uint16   // 0x12 date
	ClusterHigh uint16   // 0x14
	Written     uint32   // 0x16
	ClusterLow  uint16   // 0x1a
	Size        uint32   // 0x1c 0 for directories
}

// longEntry is 13 units of a long name. The entries of a name stand in reverse order before its short one.
type longEntry struct {
	Order      uint8     // 0x00 1-based; the last part, which is the first entry, has lastPart
	First      [5]uint16 // 0x01
	Attributes uint8     // 0x0b 0f
	Type       uint8     // 0x0c 0
	Checksum   uint8     // 0x0d of the short name
	Middle     [6]uint16 // 0x0e
	_          uint16    // 0x1a
	Last       [2]uint16 // 0x1c
}

const (
	bootSize     = 512
	entrySize    = 32
	fieldsAt     = 0x03
	codeAt       = 0x5a
	infoSector   = 1
	backupSector = 6
	leastSectors = 32 // reserved
	fats         = 2

	leadMagic  = 0x41615252
	infoMagic  = 0x61417272
	trailMagic = 0xaa550000

	endOfChain   = 0x0fffffff
	mediaEntry   = 0x0ffffff8
	rootCluster  = 2
	leastCluster = 65525      // clusters that make a volume FAT32
	mostClusters = 0x0ffffff5 // and those that its numbers reach

	attrLabel  = 0x08
	attrLong   = 0x0f
	attrStored = winfile.AttrReadOnly | winfile.AttrHidden | winfile.AttrSystem | winfile.AttrDirectory | winfile.AttrArchive
	caseBase   = 0x08 // the base is in lower case
	caseExt    = 0x10
	lastPart   = 0x40
	longUnits  = 13

	maxName      = 255 // UTF-16 units
	maxDirectory = 65536 * entrySize
)

// put encodes v, whose size is fixed, at the start of b.
func put(b []byte, v any) {
	if _, err := binary.Encode(b, le, v); err != nil {
		panic("fat: internal error: " + err.Error())
	}
}

// dosTime is t as date and time of FAT, and the 10 ms that its two seconds lack. What FAT cannot say becomes the first or last time that
// it can.
func dosTime(t winfile.Filetime) (stamp uint32, tens uint8) {
	c := t.Time().UTC()
	switch {
	case c.Year() < 1980:
		return 1<<5<<16 | 1<<16, 0
	case c.Year() > 2107:
		return 0xff9fbf7d, 199
	}
	date := uint32(c.Year()-1980)<<9 | uint32(c.Month())<<5 | uint32(c.Day())
	clock := uint32(c.Hour())<<11 | uint32(c.Minute())<<5 | uint32(c.Second()/2)
	return date<<16 | clock, uint8(c.Second()%2*100 + c.Nanosecond()/1e7)
}

// labelBytes is a volume label as the disk has it.
func labelBytes(s string) (b [11]byte, err error) {
	copy(b[:], "           ")
	for i, c := range []byte(s) {
		if i == len(b) || !shortChar(c) && c != ' ' || i == 0 && c == ' ' {
			return b, fmt.Errorf("label %q, want up to %d capitals, digits and signs of a short name", s, len(b))
		}
		b[i] = c
	}
	return b, nil
}
