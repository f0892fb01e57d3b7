package ntfs

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sort"

	"husk/winfile"
)

// An encrypted file is taken as a WIM has it and as BackupRead-like tools pass it on: one stream in the "EFSRPC raw data format" of
// [MS-EFSR] 2.2.3, with the key data of $EFS and the encrypted bytes of all streams. Nothing is decrypted.
//
//	0x00  file header      00 01 00 00 "ROBS" in UTF-16, 8 zero bytes
//	      stream $EFS      stream header with the name 0x1910, then a segment with the key data
//	      streams          the unnamed one, then the named: stream header with ":name:$DATA", then segments
//
// A segment is 16 bytes, for encrypted streams an encryption header, and the bytes. It holds 64 KiB of a stream; of a sparse one it
// holds one compression unit, or nothing where that is a hole. Data Unit Shift, block sizes and what the driver means by them:
// ENCRYPTED_DATA_INFO in Microsoft's winioctl.h.
const (
	efsFileHeader    = 20
	efsStreamHeader  = 28 // without the name
	efsSegmentHeader = 16
	efsDataHeader    = 32 // encryption header with one block
	efsExtended      = 16 // follows it where the stream is sparse
	efsSegment       = 64 << 10
	efsSector        = 512 // encrypted as a whole: the last one of a stream is stored in full
	efsMetadataName  = 0x1910
	maxEFSMetadata   = 256 << 10
	maxEFSExport     = 1 << 60 // so that sizes cannot overflow
	efsName          = "$EFS"
)

// efsFormatEncryption is ENCRYPTION_FORMAT_DEFAULT.
const efsFormatEncryption = 1

var (
	efsFileMagic    = []byte{0, 1, 0, 0, 'R', 0, 'O', 0, 'B', 0, 'S', 0}
	efsStreamMagic  = []byte{'N', 0, 'T', 0, 'F', 0, 'S', 0}
	efsSegmentMagic = []byte{'G', 0, 'U', 0, 'R', 0, 'E', 0}
	efsExtendMagic  = []byte{'E', 'X', 'T', 'D'}
)

// isEFS reports whether list is that of an encrypted file: one that has key data.
func isEFS(list []fileAttr) bool {
	return findAttr(list, typeLoggedUtilityStream, efsName) >= 0
}

// efsExport is the raw export of an encrypted file. It is put together while it is read.
type efsExport struct {
	name  string
	parts []efsPart // in order, without gaps
	size  int64
}

// efsPart is a header, or a number of segments of equal size.
type efsPart struct {
	off    int64 // in the export
	n      int64 // bytes of the export
	header []byte
	from   *efsStream // nil for headers
	at     int64      // place in the stream of the first segment
	each   int64      // bytes of the stream in each segment; only the last segment of a stream may have fewer
	hole   bool       // the segments have no data
}

// efsStream is a stream on its way into an export.
type efsStream struct {
	*stream
	raw       *stream // its clusters as they are, to the end of the last sector
	encrypted bool
	sparse    bool
	unit      int64 // bytes that a segment stands for, a power of two if encrypted
}

// segmentHeaders is what comes before the data of a segment.
func (s *efsStream) segmentHeaders() int64 {
	switch {
	case s.encrypted && s.sparse:
		return efsSegmentHeader + efsDataHeader + efsExtended
	case s.encrypted:
		return efsSegmentHeader + efsDataHeader
	}
	return efsSegmentHeader
}

// openEFS describes the export of the file with these attributes.
func (v *Volume) openEFS(list []fileAttr) (*efsExport, error) {
	x := &efsExport{name: v.describeFile(list) + recordName(int64(v.baseOf(list))) + ": EFS export"}
	x.header(append(slices.Clone(efsFileMagic), make([]byte, 8)...))
	i := findAttr(list, typeLoggedUtilityStream, efsName)
	if i < 0 {
		return nil, formatError(recordName(int64(v.baseOf(list))), 0, "no %v %q", typeLoggedUtilityStream, efsName)
	}
	keys, err := v.openStream(list, i)
	if err != nil {
		return nil, err
	}
	if keys.size > maxEFSMetadata {
		return nil, list[i].fail(0x10, "%d bytes of key data, want at most %d", keys.size, maxEFSMetadata)
	}
	if err := x.stream(&efsStream{stream: keys, unit: maxEFSMetadata}, []byte{efsMetadataName & 0xff, efsMetadataName >> 8}, 0); err != nil {
		return nil, err
	}
	for i, a := range list {
		if a.typ() != typeData || a.continues() {
			continue
		}
		s, err := v.openEFSStream(list, i)
		if err != nil {
			return nil, err
		}
		name := append([]byte{':', 0}, a.name()...)
		name = append(winfile.AppendUTF16LE(name, ":$DATA"), 0, 0)
		flag := uint32(1)
		if s.encrypted {
			flag = 0
		}
		if err := x.stream(s, name, flag); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// openEFSStream opens the $DATA list[i] of an encrypted file.
func (v *Volume) openEFSStream(list []fileAttr, i int) (*efsStream, error) {
	plain, err := v.openStream(list, i)
	if err != nil {
		return nil, err
	}
	s := &efsStream{stream: plain, unit: efsSegment}
	if plain.flags&attrFlagEncrypted == 0 {
		return s, plain.readable()
	}
	if plain.extents == nil && plain.size > 0 || plain.compressed() {
		return nil, list[i].fail(0xc, "encrypted, and compressed or resident: flags %#x", plain.flags)
	}
	s.encrypted, s.sparse = true, plain.flags&attrFlagSparse != 0
	if s.sparse {
		if s.unit = int64(v.ClusterSize); plain.unit <= lznt1MaxUnit {
			s.unit <<= plain.unit
		}
	}
	// The bytes on the disk end with a whole sector, those that a size leaves out included.
	end := int64(0)
	if n := len(plain.extents); n > 0 {
		last := plain.extents[n-1]
		end = int64(last.VCN) + last.Clusters
	}
	if end <= (1<<62)/int64(v.ClusterSize) {
		end *= int64(v.ClusterSize)
	}
	whole := func(n int64) int64 { return min(align(min(n, 1<<62), efsSector), max(n, end)) }
	s.raw = &stream{v: v, name: plain.name, extents: plain.extents, size: whole(plain.size), initialized: whole(plain.initialized)}
	return s, nil
}

// header adds bytes that stand in the export as they are.
func (x *efsExport) header(b []byte) {
	x.parts = append(x.parts, efsPart{off: x.size, n: int64(len(b)), header: b})
	x.size += int64(len(b))
}

// stream adds a stream header and the segments of s.
func (x *efsExport) stream(s *efsStream, name []byte, flag uint32) error {
	b := le.AppendUint32(nil, uint32(efsStreamHeader+len(name)))
	b = append(b, efsStreamMagic...)
	b = le.AppendUint32(b, flag)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(b, uint32(len(name)))
	x.header(append(b, name...))
	if s.size > maxEFSExport || x.size > maxEFSExport {
		return fmt.Errorf("ntfs: %s: %d bytes, more than an export can hold", s.name, s.size)
	}
	if !s.sparse {
		x.segments(s, 0, s.size, false)
		return nil
	}
	return x.sparseSegments(s)
}

// sparseSegments adds segments for the runs of a sparse stream. A hole covers whole units: bytes of it in the middle of one could not be
// told from encrypted zeros.
func (x *efsExport) sparseSegments(s *efsStream) error {
	cs := int64(s.v.ClusterSize)
	for i := 0; i < len(s.extents); {
		first, isHole := s.extents[i], s.extents[i].LCN == hole
		n := int64(0)
		for ; i < len(s.extents) && (s.extents[i].LCN == hole) == isHole; i++ {
			n += s.extents[i].Clusters
		}
		from, perUnit, all := int64(first.VCN), s.unit/cs, (s.size+cs-1)/cs
		if from >= all {
			break
		}
		to := min(min(from+n, all)*cs, s.size)
		if from%perUnit != 0 || to < s.size && to%s.unit != 0 {
			return fmt.Errorf("ntfs: %s: hole or run of clusters %d to %d of an encrypted stream does not fill units of %d: %w",
				s.name, from, from+n-1, perUnit, errors.ErrUnsupported)
		}
		x.segments(s, from*cs, to, isHole)
	}
	return nil
}

// segments adds the segments for the bytes from at to end of s.
func (x *efsExport) segments(s *efsStream, at, end int64, isHole bool) {
	add := func(count, each int64) {
		if count == 0 {
			return
		}
		stored := s.stored(at, each)
		if isHole {
			stored = 0
		}
		n := count * (s.segmentHeaders() + stored)
		x.parts = append(x.parts, efsPart{off: x.size, n: n, from: s, at: at, each: each, hole: isHole})
		x.size += n
		at += count * each
	}
	add((end-at)/s.unit, s.unit)
	if at < end {
		add(1, end-at)
	}
}

// stored is how many bytes stand for n bytes of the stream: whole sectors if they are encrypted.
func (s *efsStream) stored(at, n int64) int64 {
	if !s.encrypted {
		return n
	}
	return min(align(n, efsSector), s.raw.size-at)
}

// segment makes the headers of the segment for n bytes at off of the stream.
func (s *efsStream) segment(at, n int64, isHole bool) []byte {
	stored := s.stored(at, n)
	if isHole {
		stored = 0
	}
	b := make([]byte, s.segmentHeaders())
	le.PutUint32(b, uint32(int64(len(b))+stored))
	copy(b[4:], efsSegmentMagic)
	if !s.encrypted {
		return b
	}
	h := b[efsSegmentHeader:]
	le.PutUint64(h, uint64(at))
	le.PutUint32(h[8:], uint32(len(h)))
	le.PutUint32(h[0xc:], uint32(n))
	le.PutUint32(h[0x10:], uint32(min(max(s.initialized-at, 0), n)))
	shift := byte(bits.Len64(uint64(s.unit)) - 1)
	h[0x16], h[0x17] = shift, shift
	h[0x18], h[0x19] = byte(bits.Len(uint(s.v.ClusterSize))-1), efsFormatEncryption
	le.PutUint16(h[0x1a:], 1) // block
	le.PutUint32(h[0x1c:], uint32(stored))
	if s.sparse {
		e := h[efsDataHeader:]
		copy(e, efsExtendMagic)
		le.PutUint32(e[4:], efsExtended)
		le.PutUint32(e[8:], 1)
	}
	return b
}

func (x *efsExport) length() int64 { return x.size }

// ReadAt reads the export.
func (x *efsExport) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("ntfs: %s: read at negative offset %d", x.name, off)
	}
	if off >= x.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > x.size-off {
		p, end = p[:x.size-off], io.EOF
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		i := sort.Search(len(x.parts), func(i int) bool { return x.parts[i].off+x.parts[i].n > at })
		n, err := x.parts[i].readAt(p[done:], at-x.parts[i].off)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, end
}

// readAt reads at least one byte at off of the part.
func (p *efsPart) readAt(b []byte, off int64) (int, error) {
	if p.from == nil {
		return copy(b, p.header[off:]), nil
	}
	stored := p.from.stored(p.at, p.each)
	if p.hole {
		stored = 0
	}
	headers := p.from.segmentHeaders()
	i, in := off/(headers+stored), off%(headers+stored)
	at := p.at + i*p.each
	if in < headers {
		return copy(b, p.from.segment(at, p.each, p.hole)[in:]), nil
	}
	in -= headers
	src := p.from.stream
	if p.from.encrypted {
		src = p.from.raw
	}
	b = b[:min(int64(len(b)), stored-in)]
	n, err := src.ReadAt(b, at+in)
	if n == len(b) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
