package ntfs

import (
	"bytes"
	"fmt"

	"husk/internal/ondisk"
	"husk/winfile"
)

// bootSector checks the boot sector, its copy and $Boot.
func (c *checkState) bootSector() error {
	v := c.v
	first, err := ondisk.ReadAt(v.r, 0, bootSectorSize, bootSectorSize)
	if err != nil {
		return err
	}
	if _, err := v.parseBoot(first); err != nil {
		c.reportErr("boot-sector", onVolume(-1), err)
		return nil
	}
	if first[510] != 0x55 || first[511] != 0xaa {
		c.report("boot-signature", onVolume(510), fmt.Sprintf("signature %x", first[510:512]), "55aa")
	}
	at := v.boot.sectors * int64(v.SectorSize)
	copied, err := ondisk.ReadAt(v.r, at, bootSectorSize, bootSectorSize)
	if err != nil || !bytes.Equal(copied, first) {
		c.report("boot-copy", onVolume(at), "no copy of the boot sector in the last sector", "")
	}
	s, err := v.openNamed(recBoot, typeData, "")
	if err != nil {
		c.reportErr("boot-file", ofRecord(recBoot), err)
	} else if s.size < bootSize || len(s.extents) == 0 || s.extents[0].LCN != 0 {
		c.report("boot-file", spot{recBoot, typeData.String(), -1}, fmt.Sprintf("%d bytes, extents %v", s.size, s.extents), fmt.Sprintf("at least %d at cluster 0", bootSize))
	}
	return nil
}

var systemNames = []string{"$MFT", "$MFTMirr", "$LogFile", "$Volume", "$AttrDef", ".", "$Bitmap", "$Boot", "$BadClus", "$Secure", "$UpCase", "$Extend"}

// systemFiles checks what the first records must be, and finds the children of $Extend.
func (c *checkState) systemFiles() error {
	v := c.v
	for n, name := range systemNames {
		k := c.at(uint64(n))
		if c.isBroken(uint64(n)) {
			continue
		}
		if k == nil || k.base != 0 {
			c.report("system-missing", ofRecord(int64(n)), name+" is not there", "")
			continue
		}
		if want := uint16(max(1, n)); k.sequence != want {
			c.report("system-sequence", inRecord(int64(n), 0x10), fmt.Sprintf("%s has sequence number %d", name, k.sequence), fmt.Sprint(want))
		}
		if k.has(factPartial) {
			continue
		}
		if got := c.nameOf(int64(n), nil); got != name && (n != recSecure || v.Version >= "3") {
			c.report("system-name", ofRecord(int64(n)), fmt.Sprintf("name %q", got), fmt.Sprintf("%q", name))
		}
		for t := range c.namesOf(k) {
			if t.parent.record() != recRoot {
				c.report("system-parent", ofRecord(int64(n)), fmt.Sprintf("%s has parent %v", name, t.parent), c.ref(recRoot).String())
			}
		}
	}
	c.systemKinds()
	c.extendChildren()
	c.badClusters()
	if v.Dirty {
		c.report("volume-dirty", ofRecord(recVolume), "the volume is marked dirty", "")
	}
	if f := v.Flags & volumeChkdsk; f != 0 {
		c.report("volume-chkdsk", ofRecord(recVolume), "chkdsk is underway", "")
	}
	const pending = 0x003e // resize the log, upgrade, mounted by NT 4, delete the journal, repair object ids
	if f := v.Flags & pending; f != 0 {
		c.report("volume-flags", ofRecord(recVolume), fmt.Sprintf("volume flags %#x", f), "")
	}
	if v.Version != "3.1" {
		c.report("volume-version", ofRecord(recVolume), "NTFS version "+v.Version, "3.1")
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
			c.report("system-flags", inRecord(n, 0x16), fmt.Sprintf("record flags %#x", k.flags), fmt.Sprintf("%#x", want|recordInUse))
		}
	}
	for n := int64(recReserved); n < recReserved+4; n++ {
		if k := c.at(uint64(n)); k == nil && !c.isBroken(uint64(n)) {
			c.report("system-reserved", ofRecord(n), "not in use", "it reserved")
		} else if k != nil && k.firstName != 0 && k.base == 0 {
			c.report("system-reserved", ofRecord(n), fmt.Sprintf("has the name %q", c.nameOf(n, nil)), "none")
		}
	}
}

// extendChildren finds the files in $Extend, which have a flag of their own. Only those that this package uses must have it: Windows
// does not set it for all.
func (c *checkState) extendChildren() {
	for n, k := range c.inUse {
		if n < firstUserFile || k.firstName == 0 || c.names[k.firstName].parent.record() != recExtend {
			continue
		}
		name := c.nameOf(n, nil)
		c.extend[name] = n
		if known := name == "$Quota" || name == "$ObjId" || name == "$Reparse"; known && k.flags&recordExtend == 0 {
			c.report("extend-flag", inRecord(n, 0x16), fmt.Sprintf("%s has record flags %#x", name, k.flags), fmt.Sprintf("%#x with them", recordExtend))
		}
	}
}

// badClusters checks $BadClus: a hole as long as the volume, with clusters where the disk is bad.
func (c *checkState) badClusters() {
	at := spot{recBadClus, attrLabel(typeData, "$Bad"), -1}
	s, err := c.v.openNamed(recBadClus, typeData, "$Bad")
	if err != nil {
		c.reportErr("bad-clusters", at, err)
		return
	}
	var clusters int64
	for _, e := range s.extents {
		clusters += e.Clusters
	}
	if want := c.v.Clusters * int64(c.v.ClusterSize); s.size != want || clusters != c.v.Clusters {
		c.report("bad-clusters", at, fmt.Sprintf("%d bytes, %d clusters", s.size, clusters), fmt.Sprintf("%d, %d", want, c.v.Clusters))
	}
	if n := s.allocatedClusters(); n > 0 {
		c.report("bad-clusters-marked", at, fmt.Sprintf("%d clusters", n), "")
	}
}

// mirror compares $MFTMirr with the head of the $MFT, stored bytes with stored bytes. Windows keeps four records of it.
func (c *checkState) mirror() error {
	v := c.v
	at := func(off int64) spot { return spot{recMFTMirr, typeData.String(), off} }
	s, err := v.openNamed(recMFTMirr, typeData, "")
	if err != nil {
		c.reportErr("mirror-place", at(-1), err)
		return nil
	}
	rs := int64(v.RecordSize)
	if want := max(4*rs, int64(v.ClusterSize)); s.size != want {
		c.report("mirror-size", at(-1), fmt.Sprintf("%d bytes", s.size), fmt.Sprint(want))
	}
	if len(s.extents) == 0 || s.extents[0].LCN != v.boot.mirror || v.mft.extents[0].LCN != v.boot.mft {
		c.report("mirror-place", at(-1), "$MFT or $MFTMirr is elsewhere", fmt.Sprintf("clusters %d and %d, as the boot sector says", v.boot.mft, v.boot.mirror))
	}
	a, b := make([]byte, rs), make([]byte, rs)
	const most = 64 // with clusters of 64 KiB
	for n := range min(s.size/rs, v.records, most) {
		if err := readExactly(s, a, n*rs); err != nil {
			return err
		}
		if err := readExactly(v.mft, b, n*rs); err != nil {
			return err
		}
		severity := severityOf("mirror-differs")
		if n >= 4 {
			severity = SeverityNote // Windows writes four and lets the others grow old
		}
		if !bytes.Equal(a, b) {
			c.reportAs(severity, "mirror-differs", at(n*rs), fmt.Sprintf("record %d differs from the $MFT's", n), "")
		}
	}
	return nil
}

// logFile judges $LogFile without replaying it.
func (c *checkState) logFile() error {
	at := spot{recLogFile, typeData.String(), -1}
	switch c.v.Log {
	case LogDamaged:
		c.report("log-damaged", at, "no restart page can be read", "")
	case LogUnclean, LogCached:
		c.report("log-unclean", at, c.v.Log.String(), "clean")
	}
	s, err := c.v.openNamed(recLogFile, typeData, "")
	if err != nil {
		return nil // it is damaged
	}
	if s.size < minLogSize {
		c.report("log-size", at, fmt.Sprintf("%d bytes", s.size), fmt.Sprintf("at least %d", minLogSize))
	}
	const areaSize = 0x18 // offset of the log's size in the restart area
	page := make([]byte, logPageSize)
	if err := readExactly(s, page, 0); err != nil {
		return err
	}
	if _, _, err := parseRestartPage(page); err != nil {
		return nil // empty, or reported above
	}
	area := page[le.Uint16(page[restartAreaOffset:]):]
	if size := int64(le.Uint64(area[areaSize:])); size != s.size {
		c.report("log-size", at, fmt.Sprintf("%d bytes", s.size), fmt.Sprintf("%d, as the restart page says", size))
	}
	return nil
}

// upcase checks $UpCase against its own checksum and against the table of Windows 7 to 11.
func (c *checkState) upcase() error {
	at := spot{recUpCase, typeData.String(), -1}
	s, err := c.v.openNamed(recUpCase, typeData, "")
	var b []byte
	if err == nil {
		b, err = s.readAll(upcaseSize)
	}
	if err != nil {
		c.reportErr("upcase-size", at, err)
		return nil
	}
	if len(b) != upcaseSize {
		c.report("upcase-size", at, fmt.Sprintf("%d bytes", len(b)), fmt.Sprint(upcaseSize))
		return nil
	}
	for i := range uint16(0x80) {
		if got, want := le.Uint16(b[2*int(i):]), winfile.UpCase()[i]; got != want {
			c.report("upcase-ascii", inStream(recUpCase, at.attr, 2*int64(i)), fmt.Sprintf("upper case of %#x is %#x", i, got), fmt.Sprintf("%#x", want))
		}
	}
	if s, err = c.v.openNamed(recUpCase, typeData, "$Info"); err == nil { // Windows before 8 writes none
		info, err := s.readAll(4096)
		if err != nil || len(info) < 16 || le.Uint64(info[8:]) != upcaseCRC(b) {
			c.report("upcase-checksum", inStream(recUpCase, attrLabel(typeData, "$Info"), 8), "the checksum is not that of the table", fmt.Sprintf("%#x", upcaseCRC(b)))
			return nil
		}
	}
	if c.v.upcase != winfile.UpCase() {
		c.report("upcase-other", at, "not the table of Windows 7 to 11", "")
	}
	return nil
}

// attrDef checks that $AttrDef lists the types in order, by their names.
func (c *checkState) attrDef() error {
	const entrySize, typeOffset = 0xa0, 0x80
	s, err := c.v.openNamed(recAttrDef, typeData, "")
	var b []byte
	if err == nil {
		b, err = s.readAll(64 << 10)
	}
	at := func(off int) spot { return spot{recAttrDef, typeData.String(), int64(off)} }
	if err != nil {
		c.reportErr("attrdef", at(-1), err)
		return nil
	}
	var last attrType
	defined := make(map[attrType]bool)
	for off := 0; off+entrySize <= len(b); off += entrySize {
		t := attrType(le.Uint32(b[off+typeOffset:]))
		if t == 0 {
			break
		}
		name, _, _ := bytes.Cut(b[off:off+typeOffset], []byte{0, 0, 0})
		if len(name)%2 != 0 {
			name = append(bytes.Clone(name), 0)
		}
		want := attrTypeNames[t]
		switch got := winfile.NameFromUTF16LE(name); {
		case t <= last:
			c.report("attrdef", at(off+typeOffset), fmt.Sprintf("type %#x after %#x", uint32(t), uint32(last)), "")
		case want != "" && got != want && c.v.Version >= "3":
			c.report("attrdef", at(off), fmt.Sprintf("type %#x has the name %q", uint32(t), got), fmt.Sprintf("%q", want))
		}
		last, defined[t] = max(t, last), true
	}
	for t := range attrForms {
		if !defined[t] && c.v.Version >= "3" {
			c.report("attrdef", at(-1), fmt.Sprintf("%v is not defined", t), "")
		}
	}
	return nil
}
