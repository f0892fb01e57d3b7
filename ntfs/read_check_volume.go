package ntfs

import (
	"bytes"
	"cmp"
	"io"
	"slices"

	"husk/internal/ondisk"
	"husk/winfile"
)

// boot checks the boot sector's copy and $Boot.
func (c *checkState) boot() error {
	v := c.v
	first, err := ondisk.ReadAt(v.r, 0, bootSectorSize, bootSectorSize)
	if err != nil {
		return err
	}
	if first[510] != 0x55 || first[511] != 0xaa {
		c.report(SeverityError, ProblemBoot, -1, "signature %x, want 55aa", first[510:512])
	}
	at := v.boot.sectors * int64(v.SectorSize)
	copied, err := ondisk.ReadAt(v.r, at, bootSectorSize, bootSectorSize)
	if err != nil || !bytes.Equal(copied, first) {
		c.report(SeverityWarning, ProblemBoot, -1, "no copy of the boot sector in the last sector, at %#x", at)
	}
	s, err := v.openNamed(recBoot, typeData, "")
	if err != nil {
		c.report(SeverityError, ProblemBoot, recBoot, "%v", err)
	} else if s.size < bootSize || len(s.extents) == 0 || s.extents[0].LCN != 0 {
		c.report(SeverityError, ProblemBoot, recBoot, "$Boot of %d bytes, extents %v, want at least %d at cluster 0", s.size, s.extents, bootSize)
	}
	return nil
}

var systemNames = []string{"$MFT", "$MFTMirr", "$LogFile", "$Volume", "$AttrDef", ".", "$Bitmap", "$Boot", "$BadClus", "$Secure", "$UpCase", "$Extend"}

// systemFiles checks what the first records must be, and finds the children of $Extend.
func (c *checkState) systemFiles() error {
	v := c.v
	for n, name := range systemNames {
		k := c.at(uint64(n))
		if k == nil || k.base != 0 {
			c.report(SeverityError, ProblemSystemFile, int64(n), "%s is not there", name)
			continue
		}
		if want := uint16(max(1, n)); k.sequence != want {
			c.report(SeverityError, ProblemSystemFile, int64(n), "%s has sequence number %d, want %d", name, k.sequence, want)
		}
		if got := c.nameOf(int64(n)); got != name && (n != recSecure || v.Version >= "3") {
			c.report(SeverityError, ProblemSystemFile, int64(n), "name %q, want %q", got, name)
		}
		for t := range c.namesOf(k) {
			if want := c.ref(recRoot); t.parent != want {
				c.report(SeverityError, ProblemSystemFile, int64(n), "%s has parent %v, want %v", name, t.parent, want)
			}
		}
	}
	c.systemKinds()
	for n, k := range c.inUse {
		if n >= firstUserFile && k.firstName != 0 && c.names[k.firstName].parent == c.ref(recExtend) {
			c.extend[c.nameOf(n)] = n
		}
	}
	if s, err := v.openNamed(recBadClus, typeData, "$Bad"); err != nil {
		c.report(SeverityError, ProblemSystemFile, recBadClus, "%v", err)
	} else if want := v.Clusters * int64(v.ClusterSize); s.size != want {
		c.report(SeverityError, ProblemSystemFile, recBadClus, "$Bad is %d bytes long, the volume %d", s.size, want)
	}
	if v.Dirty {
		c.report(SeverityWarning, ProblemVolume, recVolume, "the volume is marked dirty")
	}
	if f := v.Flags & volumeChkdsk; f != 0 {
		c.report(SeverityWarning, ProblemVolume, recVolume, "chkdsk is underway")
	}
	if v.Version != "3.1" {
		c.report(SeverityNote, ProblemVolume, recVolume, "NTFS version %s", v.Version)
	}
	return nil
}

// systemKinds checks which of the first records are directories or have view indexes, and that those in reserve are in use and have no
// name.
func (c *checkState) systemKinds() {
	const kinds = recordDirectory | recordView
	for n := range int64(len(systemNames)) {
		want := map[int64]uint16{recRoot: recordDirectory, recExtend: recordDirectory, recSecure: recordView}[n]
		if k := c.at(uint64(n)); k != nil && k.flags&kinds != want && c.v.Version >= "3" {
			c.report(SeverityError, ProblemSystemFile, n, "record flags %#x, want %#x", k.flags, want|recordInUse)
		}
	}
	for n := int64(recReserved); n < recReserved+4; n++ {
		if k := c.at(uint64(n)); k == nil {
			c.report(SeverityWarning, ProblemSystemFile, n, "not in use, want it reserved")
		} else if k.firstName != 0 && k.base == 0 {
			c.report(SeverityWarning, ProblemSystemFile, n, "has the name %q, want none", c.nameOf(n))
		}
	}
}

// mirror compares $MFTMirr with the head of the $MFT, stored bytes with stored bytes. Windows keeps four records of it.
func (c *checkState) mirror() error {
	v := c.v
	s, err := v.openNamed(recMFTMirr, typeData, "")
	if err != nil {
		c.report(SeverityError, ProblemMirror, recMFTMirr, "%v", err)
		return nil
	}
	rs := int64(v.RecordSize)
	if want := max(4*rs, int64(v.ClusterSize)); s.size != want {
		c.report(SeverityWarning, ProblemMirror, recMFTMirr, "%d bytes, want %d", s.size, want)
	}
	if len(s.extents) == 0 || s.extents[0].LCN != v.boot.mirror || v.mft.extents[0].LCN != v.boot.mft {
		c.report(SeverityError, ProblemMirror, recMFTMirr, "$MFT and $MFTMirr are not where the boot sector says")
	}
	a, b := make([]byte, rs), make([]byte, rs)
	const most = 64 // with clusters of 64 KiB
	for n := range min(s.size/rs, v.records, most) {
		if err := readBoth(a, s, b, v.mft, n*rs); err != nil {
			return err
		}
		severity := SeverityError
		if n >= 4 {
			severity = SeverityNote
		}
		if !bytes.Equal(a, b) {
			c.report(severity, ProblemMirror, recMFTMirr, "record %d differs from the $MFT's", n)
		}
	}
	return nil
}

// readBoth reads the same range of two streams.
func readBoth(a []byte, from *stream, b []byte, other *stream, off int64) error {
	if _, err := from.ReadAt(a, off); err != nil && err != io.EOF {
		return err
	}
	if _, err := other.ReadAt(b, off); err != nil && err != io.EOF {
		return err
	}
	return nil
}

func (c *checkState) logFile() error {
	switch c.v.Log {
	case LogDamaged:
		c.report(SeverityError, ProblemLog, recLogFile, "no restart page can be read")
	case LogUnclean, LogCached:
		c.report(SeverityWarning, ProblemLog, recLogFile, "%v", c.v.Log)
	}
	s, err := c.v.openNamed(recLogFile, typeData, "")
	if err == nil && s.size < minLogSize {
		c.report(SeverityWarning, ProblemLog, recLogFile, "%d bytes, want at least %d", s.size, minLogSize)
	}
	return nil
}

// upcase checks $UpCase against its own checksum and against the table of Windows 7 to 11.
func (c *checkState) upcase() error {
	s, err := c.v.openNamed(recUpCase, typeData, "")
	var b []byte
	if err == nil {
		b, err = s.readAll(upcaseSize)
	}
	if err != nil || len(b) != upcaseSize {
		c.report(SeverityError, ProblemUpCase, recUpCase, "%d bytes, want %d: %v", len(b), upcaseSize, err)
		return nil
	}
	for i := range uint16(0x80) {
		if got, want := le.Uint16(b[2*int(i):]), winfile.UpCase()[i]; got != want {
			c.report(SeverityError, ProblemUpCase, recUpCase, "upper case of %#x is %#x, want %#x", i, got, want)
		}
	}
	if c.v.upcase != winfile.UpCase() {
		c.report(SeverityNote, ProblemUpCase, recUpCase, "not the table of Windows 7 to 11")
	}
	s, err = c.v.openNamed(recUpCase, typeData, "$Info")
	if err != nil {
		return nil // Windows before 8 writes none
	}
	info, err := s.readAll(4096)
	if err != nil || len(info) < 16 || le.Uint64(info[8:]) != upcaseCRC(b) {
		c.report(SeverityError, ProblemUpCase, recUpCase, "the checksum in $Info is not that of the table")
	}
	return nil
}

// attrDef checks that $AttrDef lists the types in order.
func (c *checkState) attrDef() error {
	const entrySize, typeOffset = 0xa0, 0x80
	s, err := c.v.openNamed(recAttrDef, typeData, "")
	var b []byte
	if err == nil {
		b, err = s.readAll(64 << 10)
	}
	if err != nil {
		c.report(SeverityError, ProblemAttrDef, recAttrDef, "%v", err)
		return nil
	}
	var last attrType
	defined := make(map[attrType]bool)
	for off := 0; off+entrySize <= len(b); off += entrySize {
		t := attrType(le.Uint32(b[off+typeOffset:]))
		if t == 0 {
			break
		}
		if t <= last {
			c.report(SeverityError, ProblemAttrDef, recAttrDef, "type %#x after %#x", uint32(t), uint32(last))
		}
		last, defined[t] = t, true
	}
	for t := range attrForms {
		if !defined[t] {
			c.report(SeverityError, ProblemAttrDef, recAttrDef, "%v is not defined", t)
		}
	}
	return nil
}

// crossLinks finds clusters that belong to two streams.
func (c *checkState) crossLinks() error {
	slices.SortFunc(c.runs, func(a, b ownedRun) int { return cmp.Compare(a.lcn, b.lcn) })
	c.crossed = make(map[int64]bool)
	var end LCN
	var owner ownedRun
	for _, r := range c.runs {
		if r.lcn < end {
			c.crossed[int64(r.record)], c.crossed[int64(owner.record)] = true, true
			c.report(SeverityError, ProblemCrossLink, int64(r.record), "%v: clusters %d to %d are also %v of record %d",
				attrType(r.typ), r.lcn, min(end, r.lcn+LCN(r.clusters))-1, attrType(owner.typ), owner.record)
		}
		if r.lcn+LCN(r.clusters) > end {
			end, owner = r.lcn+LCN(r.clusters), r
		}
	}
	return nil
}

// bitmapPiece is how much of a bitmap is compared at once.
const bitmapPiece = 1 << 16

// clusterBitmap compares $Bitmap with the runs, which crossLinks has sorted.
func (c *checkState) clusterBitmap() error {
	v := c.v
	s, err := v.openNamed(recBitmap, typeData, "")
	if err != nil {
		c.report(SeverityError, ProblemBitmap, recBitmap, "%v", err)
		return nil
	}
	if s.extents == nil {
		c.report(SeverityError, ProblemBitmap, recBitmap, "$Bitmap is resident, drivers want clusters of its own")
	}
	need := align((v.Clusters+7)/8, 8)
	if s.size < need {
		c.report(SeverityError, ProblemBitmap, recBitmap, "%d bytes, want at least %d for %d clusters", s.size, need, v.Clusters)
	}
	var found bitRuns
	i := 0
	for off := int64(0); off < min(s.size, need); off += bitmapPiece {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		got := make([]byte, min(bitmapPiece, min(s.size, need)-off))
		if _, err := s.ReadAt(got, off); err != nil && err != io.EOF {
			return err
		}
		first, end := off*8, (off+int64(len(got)))*8
		want := make([]byte, len(got))
		for j := i; j < len(c.runs) && int64(c.runs[j].lcn) < end; j++ {
			r := c.runs[j]
			markBits(want, max(0, int64(r.lcn)-first), min(end, int64(r.lcn)+r.clusters)-first)
			if int64(r.lcn)+r.clusters <= end && j == i {
				i++
			}
		}
		markBits(want, max(0, v.Clusters-first), end-first) // beyond the last cluster
		found.compare(first, got, want)
	}
	for _, d := range found.list {
		if d.first >= v.Clusters {
			c.report(SeverityWarning, ProblemBitmap, recBitmap, "bits %d to %d beyond the last cluster are 0", d.first, d.end-1)
		} else if d.set {
			c.report(SeverityWarning, ProblemBitmap, recBitmap, "clusters %d to %d are marked used and belong to no stream", d.first, d.end-1)
		} else {
			c.report(SeverityError, ProblemBitmap, recBitmap, "clusters %d to %d are in use by %s and marked free", d.first, d.end-1, c.ownerOf(LCN(d.first)))
		}
	}
	return nil
}

// ownerOf names the stream that has a cluster.
func (c *checkState) ownerOf(lcn LCN) string {
	for _, r := range c.runs {
		if lcn >= r.lcn && lcn < r.lcn+LCN(r.clusters) {
			return recordName(int64(r.record)) + " " + attrType(r.typ).String()
		}
	}
	return "no stream"
}

// markBits sets the bits from first up to end.
func markBits(b []byte, first, end int64) {
	for ; first < end && first%8 != 0; first++ {
		b[first/8] |= 1 << (first % 8)
	}
	for ; first+8 <= end; first += 8 {
		b[first/8] = 0xff
	}
	for ; first < end; first++ {
		b[first/8] |= 1 << (first % 8)
	}
}

// bitRuns gathers differences of bitmaps.
type bitRuns struct {
	list []bitRun
}

// bitRun is a range of bits that are all set, or all clear, and should not be.
type bitRun struct {
	first, end int64
	set        bool
}

// compare adds the bits of got that differ from want. first is the number of the first bit.
func (d *bitRuns) compare(first int64, got, want []byte) {
	if bytes.Equal(got, want) {
		return
	}
	for i := range got {
		diff := got[i] ^ want[i]
		for j := 0; diff != 0; diff, j = diff>>1, j+1 {
			if diff&1 == 0 {
				continue
			}
			at := first + int64(i)*8 + int64(j)
			set := got[i]>>j&1 != 0
			if n := len(d.list); n > 0 && d.list[n-1].end == at && d.list[n-1].set == set {
				d.list[n-1].end++
			} else if n < maxProblems {
				d.list = append(d.list, bitRun{at, at + 1, set})
			}
		}
	}
}

// mftBitmap compares $MFT:$BITMAP with the records in use.
func (c *checkState) mftBitmap() error {
	v := c.v
	s, err := v.openNamed(recMFT, typeBitmap, "")
	if err != nil {
		c.report(SeverityError, ProblemMFTBitmap, recMFT, "%v", err)
		return nil
	}
	if s.extents == nil {
		c.report(SeverityError, ProblemMFTBitmap, recMFT, "$BITMAP is resident, drivers want clusters of its own")
	}
	if s.size%8 != 0 || s.size*8 < v.records {
		c.report(SeverityError, ProblemMFTBitmap, recMFT, "%d bytes for %d records, want a multiple of 8 that holds them", s.size, v.records)
	}
	size := min(s.size, v.size/int64(v.RecordSize)/8+bitmapPiece) // what a volume of records would need
	var found bitRuns
	for off := int64(0); off < size; off += bitmapPiece {
		got := make([]byte, min(bitmapPiece, size-off))
		if _, err := s.ReadAt(got, off); err != nil && err != io.EOF {
			return err
		}
		want := make([]byte, len(got))
		for i := range int64(len(got)) * 8 {
			if n := off*8 + i; c.at(uint64(n)) != nil {
				want[i/8] |= 1 << (i % 8)
			}
		}
		found.compare(off*8, got, want)
	}
	for _, d := range found.list {
		if d.set {
			c.report(SeverityWarning, ProblemMFTBitmap, d.first, "records up to %d are marked used and are free", d.end-1)
		} else {
			c.report(SeverityError, ProblemMFTBitmap, d.first, "records up to %d are in use and marked free", d.end-1)
		}
	}
	return nil
}
