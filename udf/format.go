package udf

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"husk/winfile"
)

var le = binary.LittleEndian

// Places and limits.
const (
	recognitionAt   = 32768 // byte offset of the volume recognition sequence
	recognitionMost = 64    // structures of the sequence that are looked at
	anchorSector    = 256
	sequenceMost    = 1024 // sectors of a volume descriptor sequence that are read: writers use 16
	maxDepth        = 512  // directories above a file: a path has at most 1023 bytes (UDF 2.01, 2.)
	maxDirectory    = 1 << 28
	extentMask      = 1<<30 - 1 // the other two bits of an extent's length are its type
)

// Tag identifiers, ECMA-167 3/7.2.1 and 4/7.2.1.
const (
	tagPrimaryVolume = 1
	tagAnchor        = 2
	tagVolumePointer = 3
	tagPartition     = 5
	tagLogicalVolume = 6
	tagTerminating   = 8
	tagFileSet       = 256
	tagFileID        = 257
	tagAllocation    = 258
	tagFileEntry     = 261
	tagExtAttributes = 262
	tagExtFileEntry  = 266
)

const tagSize = 16

// tag starts descriptors, ECMA-167 3/7.2.
type tag struct {
	ID        uint16 // 0x00
	Version   uint16 // 0x02 2 or 3
	Checksum  byte   // 0x04 sum of the other 15 bytes
	_         byte   // 0x05
	Serial    uint16 // 0x06
	CRC       uint16 // 0x08 of CRCLength bytes after the tag
	CRCLength uint16 // 0x0a
	Location  uint32 // 0x0c sector, or block in the partition
}

// checkTag decodes the tag of a descriptor and checks all but its location. The error has the offset in b of what is wrong.
func checkTag(b []byte, want ...uint16) (t tag, off int64, err error) {
	if len(b) < tagSize {
		return t, 0, fmt.Errorf("%d bytes, want a tag of %d", len(b), tagSize)
	}
	t = tag{
		ID: le.Uint16(b), Version: le.Uint16(b[2:]), Checksum: b[4], Serial: le.Uint16(b[6:]),
		CRC: le.Uint16(b[8:]), CRCLength: le.Uint16(b[10:]), Location: le.Uint32(b[12:]),
	}
	var sum byte
	for i, c := range b[:tagSize] {
		if i != 4 {
			sum += c
		}
	}
	known := len(want) == 0
	for _, id := range want {
		known = known || id == t.ID
	}
	switch {
	case !known:
		return t, 0, fmt.Errorf("tag identifier %d, want %v", t.ID, want)
	case sum != t.Checksum:
		return t, 4, fmt.Errorf("tag checksum %#x, want %#x", t.Checksum, sum)
	case t.Version != 2 && t.Version != 3:
		return t, 2, fmt.Errorf("descriptor version %d, want 2 or 3", t.Version)
	case int(t.CRCLength) > len(b)-tagSize:
		return t, 10, fmt.Errorf("CRC of %d bytes, want at most %d", t.CRCLength, len(b)-tagSize)
	}
	if got := crc(b[tagSize : tagSize+int(t.CRCLength)]); got != t.CRC {
		return t, 8, fmt.Errorf("CRC %#04x, want %#04x", t.CRC, got)
	}
	return t, 0, nil
}

// crc is that of ECMA-167 3/7.2.6: x^16 + x^12 + x^5 + 1, from zero, most significant bit first.
func crc(b []byte) uint16 {
	var c uint16
	for _, x := range b {
		c = c<<8 ^ crcTable[byte(c>>8)^x]
	}
	return c
}

var crcTable = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

// address is a block of one of the volume's partitions: lb_addr, ECMA-167 4/7.1.
type address struct {
	block     uint32
	partition uint16 // index of the partition map
}

func getAddress(b []byte) address { return address{le.Uint32(b), le.Uint16(b[4:])} }

// Types of extents, ECMA-167 4/14.14.1.1.
const (
	extentRecorded    = 0
	extentAllocated   = 1 // but not recorded: zeros, as all that is not recorded
	extentDescriptors = 3 // more allocation descriptors
)

// extent is an allocation descriptor, ECMA-167 4/14.14.
type extent struct {
	kind byte
	len  uint32 // bytes
	at   address
}

const (
	shortSize = 8
	longSize  = 16
)

// getLong decodes a long allocation descriptor.
func getLong(b []byte) extent {
	n := le.Uint32(b)
	return extent{byte(n >> 30), n & extentMask, getAddress(b[4:])}
}

// getShort decodes a short allocation descriptor; its partition is that of the file entry.
func getShort(b []byte, partition uint16) extent {
	n := le.Uint32(b)
	return extent{byte(n >> 30), n & extentMask, address{le.Uint32(b[4:]), partition}}
}

// File types of an ICB tag, ECMA-167 4/14.6.6.
const (
	typeDirectory = 4
	typeRegular   = 5
	typeRealTime  = 249 // UDF 2.2.6.1
)

// Forms of allocation descriptors in the flags of an ICB tag, ECMA-167 4/14.6.8.
const (
	formShort    = 0
	formLong     = 1
	formEmbedded = 3
)

const strategyDirect = 4 // one file entry for each file, UDF 2.3.5.1

// fileEntry is a file entry or an extended one, with the fields of both at one place.
type fileEntry struct {
	raw      []byte // from its tag to its last allocation descriptor
	extended bool
}

// fixed is the size of the fields before the extended attributes.
func (e *fileEntry) fixed() int {
	if e.extended {
		return 216
	}
	return 176
}
func (e *fileEntry) strategy() uint16    { return le.Uint16(e.raw[20:]) }
func (e *fileEntry) fileType() byte      { return e.raw[27] }
func (e *fileEntry) form() uint16        { return le.Uint16(e.raw[34:]) & 7 }
func (e *fileEntry) size() uint64        { return le.Uint64(e.raw[56:]) }
func (e *fileEntry) accessed() []byte    { return e.raw[72+e.shift():] }
func (e *fileEntry) written() []byte     { return e.raw[84+e.shift():] }
func (e *fileEntry) uniqueID() uint64    { return le.Uint64(e.raw[e.fixed()-16:]) }
func (e *fileEntry) attributeLen() int64 { return int64(le.Uint32(e.raw[e.fixed()-8:])) }
func (e *fileEntry) allocLen() int64     { return int64(le.Uint32(e.raw[e.fixed()-4:])) }
func (e *fileEntry) attributes() []byte {
	return e.raw[e.fixed() : e.fixed()+int(e.attributeLen())]
}
func (e *fileEntry) allocation() []byte {
	start := e.fixed() + int(e.attributeLen())
	return e.raw[start : start+int(e.allocLen())]
}

// shift is by how much an extended entry's times are later: it has the object size too.
func (e *fileEntry) shift() int {
	if e.extended {
		return 8
	}
	return 0
}

// hasStreams reports whether there is a directory of named streams.
func (e *fileEntry) hasStreams() bool { return e.extended && le.Uint32(e.raw[152:])&extentMask != 0 }

// changed is when the entry itself was changed.
func (e *fileEntry) changed() []byte {
	if e.extended {
		return e.raw[116:]
	}
	return e.raw[96:]
}

// created is the time of creation: a field of extended entries, an extended attribute (ECMA-167 4/14.10.5) of others, else nil.
func (e *fileEntry) created() []byte {
	if e.extended {
		return e.raw[104:]
	}
	a := e.attributes()
	if _, _, err := checkTag(a, tagExtAttributes); err != nil {
		return nil
	}
	for a = a[min(len(a), 24):]; len(a) >= 12; {
		n := int64(le.Uint32(a[8:]))
		if n < 12 || n > int64(len(a)) {
			return nil
		}
		const fileTimes, creationExists = 5, 1
		if le.Uint32(a) == fileTimes && n >= 20+12 && le.Uint32(a[16:])&creationExists != 0 {
			return a[20:]
		}
		a = a[n:]
	}
	return nil
}

// Characteristics of a file identifier, ECMA-167 4/14.4.3.
const (
	charHidden    = 1 << 0
	charDirectory = 1 << 1
	charDeleted   = 1 << 2
	charParent    = 1 << 3
	charMetadata  = 1 << 4 // of a stream directory
)

const fileIDSize = 38 // before implementation use and name

// filetime converts a timestamp, ECMA-167 1/7.3. What is no date gives 0.
func filetime(b []byte) winfile.Filetime {
	if b == nil {
		return 0
	}
	kind := le.Uint16(b)
	minutes := int(int16(kind<<4) >> 4)
	const local, notKnown = 1, -2047
	if kind>>12 != local || minutes == notKnown || minutes < -1440 || minutes > 1440 {
		minutes = 0
	}
	year, month, day := int(int16(le.Uint16(b[2:]))), time.Month(b[4]), int(b[5])
	if month < 1 || month > 12 || day < 1 || day > 31 || b[6] > 23 || b[7] > 59 || b[8] > 60 || b[9] > 99 || b[10] > 99 || b[11] > 99 {
		return 0
	}
	micro := (int(b[9])*100+int(b[10]))*100 + int(b[11])
	return winfile.FiletimeOf(time.Date(year, month, day, int(b[6]), int(b[7])-minutes, int(b[8]), micro*1000, time.UTC))
}

// unicode decodes OSTA compressed Unicode, UDF 2.1.1.
func unicode(b []byte) (string, error) {
	if len(b) == 0 {
		return "", nil
	}
	var u []uint16
	switch id := b[0]; id {
	case 8, 254:
		for _, c := range b[1:] {
			u = append(u, uint16(c))
		}
	case 16, 255:
		if len(b)%2 == 0 {
			return "", fmt.Errorf("name of %d bytes, want pairs", len(b)-1)
		}
		for i := 1; i < len(b); i += 2 {
			u = append(u, binary.BigEndian.Uint16(b[i:]))
		}
	default:
		return "", fmt.Errorf("name compression %d, want 8 or 16", id)
	}
	return winfile.NameFromUTF16(u), nil
}

// dstring decodes a field whose last byte is the length of what it holds, UDF 2.1.3. What cannot be decoded gives "".
func dstring(b []byte) string {
	n := int(b[len(b)-1])
	if n > len(b)-1 {
		return ""
	}
	s, err := unicode(b[:n])
	if err != nil {
		return ""
	}
	return strings.TrimRight(s, "\x00 ")
}
