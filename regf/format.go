package regf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"husk/winfile"
)

var le = binary.LittleEndian

const (
	pageSize    = 4096 // of base block and bins
	sectorSize  = 512  // of logs
	binHeader   = 32
	nilCell     = 0xffffffff
	keySize     = 76    // of nk before the name
	valueSize   = 20    // of vk before the name
	secSize     = 20    // of sk before the descriptor
	segmentSize = 16344 // bytes of a value in each segment of big data
	inlineData  = 1 << 31
	maxInline   = 4

	maxName     = 255                // UTF-16 units of a key name
	maxValName  = 16383              // UTF-16 units of a value name
	maxDepth    = 512                // levels of keys in Windows' registry
	maxBins     = 1<<31 - 2*pageSize // bytes: what an offset with a sign reaches, and an int of 32 bits with the base block
	maxLeaf     = (pageSize - binHeader - 4 - 4) / 8
	maxSegments = 0xffff
)

// baseBlock is the first page of a hive or log. Whoever makes one checks that it has at least 512 bytes.
type baseBlock []byte

const (
	baseSum      = 0x1fc // checksum, of the bytes before it
	typePrimary  = 0
	typeLogOld   = 1 // "DIRT"
	typeLogNT    = 2 // the same in NT 4 and 2000
	typeLogNew   = 6 // "HvLE"
	fileNameUnit = 32
)

func (b baseBlock) valid() bool               { return string(b[:4]) == "regf" && b.sum() == le.Uint32(b[baseSum:]) }
func (b baseBlock) sequences() (a, c uint32)  { return le.Uint32(b[0x4:]), le.Uint32(b[0x8:]) }
func (b baseBlock) written() winfile.Filetime { return winfile.Filetime(le.Uint64(b[0xc:])) }
func (b baseBlock) major() uint32             { return le.Uint32(b[0x14:]) }
func (b baseBlock) minor() uint32             { return le.Uint32(b[0x18:]) }
func (b baseBlock) kind() uint32              { return le.Uint32(b[0x1c:]) }
func (b baseBlock) format() uint32            { return le.Uint32(b[0x20:]) }
func (b baseBlock) root() uint32              { return le.Uint32(b[0x24:]) }
func (b baseBlock) binsSize() uint32          { return le.Uint32(b[0x28:]) }
func (b baseBlock) seal()                     { le.PutUint32(b[baseSum:], b.sum()) }
func (b baseBlock) setSequence(n uint32)      { le.PutUint32(b[0x4:], n); le.PutUint32(b[0x8:], n) }

// fileName is the end of the path under which the hive was last loaded.
func (b baseBlock) fileName() string {
	raw := b[0x30 : 0x30+2*fileNameUnit]
	for i := 0; i < len(raw); i += 2 {
		if raw[i] == 0 && raw[i+1] == 0 {
			return winfile.NameFromUTF16LE(raw[:i])
		}
	}
	return winfile.NameFromUTF16LE(raw)
}

// sum is the checksum: the exclusive or of what is before it, never 0 or -1.
func (b baseBlock) sum() uint32 {
	var sum uint32
	for i := 0; i < baseSum; i += 4 {
		sum ^= le.Uint32(b[i:])
	}
	switch sum {
	case 0:
		return 1
	case 0xffffffff:
		return 0xfffffffe
	}
	return sum
}

// keyNode is the data of an nk cell. keyAt checked its length, so these cannot fail.
type keyNode []byte

func (n keyNode) flags() KeyFlags           { return KeyFlags(le.Uint16(n[2:])) }
func (n keyNode) written() winfile.Filetime { return winfile.Filetime(le.Uint64(n[4:])) }
func (n keyNode) access() uint32            { return le.Uint32(n[12:]) }
func (n keyNode) parent() uint32            { return le.Uint32(n[16:]) }
func (n keyNode) subkeys() uint32           { return le.Uint32(n[20:]) }
func (n keyNode) subkeyList() uint32        { return le.Uint32(n[28:]) }
func (n keyNode) values() uint32            { return le.Uint32(n[36:]) }
func (n keyNode) valueList() uint32         { return le.Uint32(n[40:]) }
func (n keyNode) security() uint32          { return le.Uint32(n[44:]) }
func (n keyNode) class() uint32             { return le.Uint32(n[48:]) }
func (n keyNode) longestSubkey() uint32     { return uint32(le.Uint16(n[52:])) }
func (n keyNode) userFlags() byte           { return n[54] }
func (n keyNode) debug() byte               { return n[55] }
func (n keyNode) longestClass() uint32      { return le.Uint32(n[56:]) }
func (n keyNode) longestValueName() uint32  { return le.Uint32(n[60:]) }
func (n keyNode) longestValue() uint32      { return le.Uint32(n[64:]) }
func (n keyNode) nameSize() int             { return int(le.Uint16(n[72:])) }
func (n keyNode) classSize() int            { return int(le.Uint16(n[74:])) }
func (n keyNode) rawName() []byte           { return n[keySize : keySize+n.nameSize()] }
func (n keyNode) name() string              { return decodeName(n.rawName(), n.flags()&latinName != 0) }

// valueNode is the data of a vk cell. valueAt checked its length.
type valueNode []byte

func (v valueNode) nameSize() int    { return int(le.Uint16(v[2:])) }
func (v valueNode) size() uint32     { return le.Uint32(v[4:]) }
func (v valueNode) data() uint32     { return le.Uint32(v[8:]) }
func (v valueNode) kind() Type       { return Type(le.Uint32(v[12:])) }
func (v valueNode) flags() uint16    { return le.Uint16(v[16:]) }
func (v valueNode) rawName() []byte  { return v[valueSize : valueSize+v.nameSize()] }
func (v valueNode) name() string     { return decodeName(v.rawName(), v.flags()&latinValueName != 0) }
func (v valueNode) inline() []byte   { return v[8 : 8+v.size()&^inlineData] }
func (v valueNode) isInline() bool   { return v.size()&inlineData != 0 }
func (v valueNode) dataSize() uint32 { return v.size() &^ inlineData }

const latinValueName = 1

// KeyFlags are the flags of a key. How the name is stored is the writer's business and not among them.
type KeyFlags uint16

const (
	KeyVolatile   KeyFlags = 0x1
	KeyMountPoint KeyFlags = 0x2
	KeyRoot       KeyFlags = 0x4 // of a hive
	KeyNoDelete   KeyFlags = 0x8
	KeySymlink    KeyFlags = 0x10 // to what the REG_LINK value SymbolicLinkValue names

	latinName KeyFlags = 0x20
)

// Type is the type of a value.
type Type uint32

const (
	None                     Type = 0  // REG_NONE
	SZ                       Type = 1  // REG_SZ: UTF-16LE and a NUL
	ExpandSZ                 Type = 2  // REG_EXPAND_SZ: the same with %VARIABLES%
	Binary                   Type = 3  // REG_BINARY
	DWord                    Type = 4  // REG_DWORD
	DWordBE                  Type = 5  // REG_DWORD_BIG_ENDIAN
	Link                     Type = 6  // REG_LINK: UTF-16LE without a NUL
	MultiSZ                  Type = 7  // REG_MULTI_SZ: strings with a NUL each, and one more NUL
	ResourceList             Type = 8  // REG_RESOURCE_LIST
	FullResourceDescriptor   Type = 9  // REG_FULL_RESOURCE_DESCRIPTOR
	ResourceRequirementsList Type = 10 // REG_RESOURCE_REQUIREMENTS_LIST
	QWord                    Type = 11 // REG_QWORD
)

var typeNames = [...]string{
	"REG_NONE", "REG_SZ", "REG_EXPAND_SZ", "REG_BINARY", "REG_DWORD", "REG_DWORD_BIG_ENDIAN", "REG_LINK", "REG_MULTI_SZ",
	"REG_RESOURCE_LIST", "REG_FULL_RESOURCE_DESCRIPTOR", "REG_RESOURCE_REQUIREMENTS_LIST", "REG_QWORD",
}

// String is Windows' name of the type, or its number in hex.
func (t Type) String() string {
	if int64(t) < int64(len(typeNames)) {
		return typeNames[t]
	}
	return "0x" + strconv.FormatUint(uint64(t), 16)
}

// ParseType reads what String writes, with or without REG_, or a number.
func ParseType(s string) (Type, error) {
	for i, name := range typeNames {
		if winfile.EqualFold(s, name) || winfile.EqualFold(s, name[len("REG_"):]) {
			return Type(i), nil
		}
	}
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("type %q, want a name such as REG_SZ or a number", s)
	}
	return Type(n), nil
}

var (
	// ErrNotHive says that the data is no hive at all.
	ErrNotHive = errors.New("not a registry hive")
	// ErrDirty says that the hive needs its logs and they cannot be had.
	ErrDirty = errors.New("the hive was not closed cleanly and its logs do not help")
)

// A FormatError reports bytes that break the hive format.
type FormatError struct {
	What string // structure being read: "base block", "key cell"
	Off  int64  // byte offset in the file
	Err  error  // found and expected
}

func (e *FormatError) Error() string { return fmt.Sprintf("regf: %s at %#x: %v", e.What, e.Off, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }

// cellError names a cell by its file offset.
func cellError(what string, off uint32, format string, args ...any) *FormatError {
	return &FormatError{what, pageSize + int64(off), fmt.Errorf(format, args...)}
}

// decodeName makes a string of a stored name.
func decodeName(b []byte, latin bool) string {
	if !latin {
		return winfile.NameFromUTF16LE(b)
	}
	for _, c := range b {
		if c >= 0x80 {
			r := make([]rune, len(b))
			for i, c := range b {
				r[i] = rune(c)
			}
			return string(r)
		}
	}
	return string(b)
}

// encodeName stores a name as Latin-1 if it fits, else as UTF-16LE.
func encodeName(name string) (stored []byte, latin bool) {
	ascii := true
	for i := range len(name) {
		ascii = ascii && name[i] < 0x80
	}
	if ascii {
		return []byte(name), true
	}
	u := winfile.UTF16FromName(name)
	for _, c := range u {
		if c > 0xff {
			return winfile.AppendUTF16LE(nil, name), false
		}
		stored = append(stored, byte(c))
	}
	return stored, true
}

// nameUnits is the length of a name in UTF-16.
func nameUnits(name string) int {
	n := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c&0xc0 == 0x80: // not the first byte of a character
		case c >= 0xf0:
			n += 2
		default:
			n++
		}
	}
	return n
}

// compareNames orders keys as subkey lists are: by upper-cased UTF-16 units. Equal names are the same to Windows.
func compareNames(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		x, y := a[i], b[i]
		if x >= 0x80 || y >= 0x80 {
			return compareUnits(a[i:], b[i:])
		}
		if 'a' <= x && x <= 'z' {
			x -= 'a' - 'A'
		}
		if 'a' <= y && y <= 'z' {
			y -= 'a' - 'A'
		}
		if x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

// compareUnits is compareNames of strings that are cut at the same character boundary.
func compareUnits(a, b string) int {
	up := winfile.UpCase()
	var abuf, bbuf [maxName]uint16
	x, y := winfile.AppendUTF16(abuf[:0], a), winfile.AppendUTF16(bbuf[:0], b)
	for i := range min(len(x), len(y)) {
		if c := int(up[x[i]]) - int(up[y[i]]); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

// nameHash is the hash of an lh list.
func nameHash(name string) uint32 {
	up := winfile.UpCase()
	var buf [maxName]uint16
	var n uint32
	for _, c := range winfile.AppendUTF16(buf[:0], name) {
		n = n*37 + uint32(up[c])
	}
	return n
}

// nameHint is the hint of an lf list: the first four characters, as far as they are Latin-1.
func nameHint(name string) (hint [4]byte) {
	for i, c := range winfile.UTF16FromName(name) {
		if i == len(hint) {
			break
		}
		if c > 0xff {
			return [4]byte{}
		}
		hint[i] = byte(c)
	}
	return hint
}
