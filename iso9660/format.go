package iso9660

import (
	"encoding/binary"
	"strings"
	"time"

	"husk/winfile"
)

var le = binary.LittleEndian

const (
	sectorSize      = 2048
	firstDescriptor = 16 // sector
	mostDescriptors = 64
	maxDepth        = 512 // directories above a file; ECMA-119 allows 8, and writers more
	maxDirectory    = 1 << 28
)

// Types of volume descriptors, ECMA-119 8.1.1.
const (
	typePrimary       = 1
	typeSupplementary = 2
	typeEnd           = 255
)

// Offsets in a primary or supplementary volume descriptor, ECMA-119 8.4 and 8.5.
const (
	labelAt     = 40 // 32 bytes
	escapesAt   = 88 // 32 bytes, supplementary only
	blockSizeAt = 128
	rootAt      = 156 // the directory record of the root
)

// record is a directory record, ECMA-119 9.1, with its name and system use.
type record []byte

const recordSize = 33 // before the name

func (r record) attributeBlocks() int64 { return int64(r[1]) }
func (r record) block() int64           { return int64(le.Uint32(r[2:])) }
func (r record) size() int64            { return int64(le.Uint32(r[10:])) }
func (r record) flags() byte            { return r[25] }
func (r record) unit() byte             { return r[26] } // of interleaved files
func (r record) gap() byte              { return r[27] }
func (r record) name() []byte           { return r[recordSize : recordSize+int(r[32])] }

// start is the block of the content: an extended attribute record comes before it.
func (r record) start() int64 { return r.block() + r.attributeBlocks() }

// Flags of a record, ECMA-119 9.1.6.
const (
	flagHidden     = 1 << 0
	flagDirectory  = 1 << 1
	flagAssociated = 1 << 2 // a second content of the file, such as a resource fork
	flagMore       = 1 << 7 // the next record has more of the file
)

// time converts the recording date, ECMA-119 9.1.5. What is no date gives 0.
func (r record) time() winfile.Filetime {
	b := r[18:25]
	if b[1] < 1 || b[1] > 12 || b[2] < 1 || b[2] > 31 || b[3] > 23 || b[4] > 59 || b[5] > 59 {
		return 0
	}
	quarters := int(int8(b[6])) // of an hour, east of Greenwich
	if quarters < -48 || quarters > 52 {
		quarters = 0
	}
	return winfile.FiletimeOf(time.Date(1900+int(b[0]), time.Month(b[1]), int(b[2]), int(b[3]), int(b[4])-15*quarters, int(b[5]), 0, time.UTC))
}

// jolietEscapes are those of UCS-2 levels 1 to 3.
var jolietEscapes = []string{"%/@", "%/C", "%/E"}

func isJoliet(d []byte) bool {
	for _, e := range jolietEscapes {
		if strings.HasPrefix(string(d[escapesAt:]), e) {
			return true
		}
	}
	return false
}

// text decodes a name or label.
func text(b []byte, joliet bool) string {
	u := make([]uint16, 0, len(b))
	if joliet {
		for ; len(b) >= 2; b = b[2:] {
			u = append(u, binary.BigEndian.Uint16(b))
		}
	} else {
		for _, c := range b { // capitals, digits and "_" by the standard; whatever else there is, is taken as Latin-1
			u = append(u, uint16(c))
		}
	}
	return winfile.NameFromUTF16(u)
}

// fileName is a name without its version and, of the primary tree, the dot of an empty extension.
func fileName(s string, joliet bool) string {
	if i := strings.LastIndexByte(s, ';'); i > 0 && strings.Trim(s[i+1:], "0123456789") == "" {
		s = s[:i]
	}
	if !joliet {
		s = strings.TrimSuffix(s, ".")
	}
	return s
}
