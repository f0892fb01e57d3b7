package ntfs

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"husk/internal/ondisk"
	"husk/winfile"
	"husk/winfile/treefs"
)

// Volume reads an NTFS volume. It is safe for concurrent use. It is an [fs.FS], and the [winfile.Content] of the blobs in its
// tree.
type Volume struct {
	Label       string // WTF-8
	Serial      uint64 // Win32 shows the low 32 bits
	SectorSize  int    // bytes
	ClusterSize int    // bytes
	RecordSize  int    // bytes of an MFT record
	Clusters    int64
	Version     string // "3.1" since Windows XP
	Flags       uint16 // of $VOLUME_INFORMATION
	Dirty       bool   // bit 0x0001 of Flags: chkdsk is to run
	Log         LogState

	r       io.ReaderAt
	size    int64
	boot    geometry
	mft     *stream
	records int64 // in the MFT
	upcase  *[65536]uint16

	security func() (map[uint32][]byte, error) // $SDS, read once
	files    func() (*treefs.FS, error)        // the tree of the fs.FS methods, read once

	mu       sync.Mutex
	warnings []string
	muted    int // warnings beyond maxWarnings
	unread   error
}

// maxWarnings bounds what a damaged volume makes us remember.
const maxWarnings = 200

// Warnings tells what was found wrong on the way: torn records, files without a folder, a log that was not replayed. Reading
// the tree adds to it.
func (v *Volume) Warnings() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := slices.Clone(v.warnings)
	if v.muted > 0 {
		w = append(w, fmt.Sprintf("%d more warnings", v.muted))
	}
	return w
}

// Unread is the first error that kept the tree from having a file, or all of one: a record that could not be read. It is among the warnings.
func (v *Volume) Unread() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unread
}

// lack notes what keeps the tree from being whole.
func (v *Volume) lack(err error) {
	v.warn("%v", err)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.unread = cmp.Or(v.unread, err)
}

func (v *Volume) warn(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case slices.Contains(v.warnings, s):
	case len(v.warnings) >= maxWarnings:
		v.muted++
	default:
		v.warnings = append(v.warnings, s)
	}
}

// NewReader opens the volume in the first size bytes of r: a partition, or an image of one. It reads the boot sector, or its copy
// in the last sector, and the system files.
func NewReader(r io.ReaderAt, size int64) (*Volume, error) {
	v := &Volume{r: r, size: size}
	if err := v.readBoot(); err != nil {
		return nil, err
	}
	if err := v.openMFT(); err != nil {
		return nil, err
	}
	if err := v.readVolumeInfo(); err != nil {
		return nil, err
	}
	v.readUpcase()
	v.readLog()
	v.security = sync.OnceValues(v.readSecurity)
	v.files = sync.OnceValues(v.readFS)
	return v, nil
}

func (v *Volume) readBoot() error {
	b, err := ondisk.ReadAt(v.r, 0, 512, 512)
	if err != nil {
		return &FormatError{"boot sector", 0, err}
	}
	g, err := v.parseBoot(b)
	if err != nil {
		g2, ok := v.backupBoot()
		if !ok {
			return err
		}
		v.warn("%v; its copy is used", err)
		g = g2
	}
	v.boot = g
	v.SectorSize, v.ClusterSize, v.RecordSize, v.Clusters = g.sectorSize, g.clusterSize, g.recordSize, g.clusters
	return nil
}

// backupBoot looks for the copy of the boot sector in the last sector, of 512 or 4096 bytes.
func (v *Volume) backupBoot() (geometry, bool) {
	for _, back := range []int64{512, 4096} {
		if v.size < back {
			continue
		}
		if b, err := ondisk.ReadAt(v.r, v.size-back, 512, 512); err == nil {
			if g, err := v.parseBoot(b); err == nil {
				return g, true
			}
		}
	}
	return geometry{}, false
}

// parseBoot decodes a boot sector. size is that of the volume in bytes.
func (v *Volume) parseBoot(b []byte) (geometry, error) {
	var s bootSector
	if _, err := binary.Decode(b, le, &s); err != nil {
		return geometry{}, &FormatError{"boot sector", 0, err}
	}
	g, err := s.geometry()
	if err != nil {
		return g, err
	}
	if g.sectors > v.size/int64(g.sectorSize) {
		return g, formatError("boot sector", 0x28, "%d sectors of %d bytes in a partition of %d bytes", g.sectors, g.sectorSize, v.size)
	}
	v.Serial = s.Serial
	return g, nil
}

// openMFT finds the runs of the $MFT, first through record 0 at the place that the boot sector names or, if that is bad, through
// its copy in $MFTMirr.
func (v *Volume) openMFT() error {
	err := v.openMFTAt(v.boot.mft)
	if err != nil {
		if v.openMFTAt(v.boot.mirror) == nil {
			v.warn("%v; the copy in $MFTMirr is used", err)
			return nil
		}
	}
	return err
}

func (v *Volume) openMFTAt(lcn LCN) error {
	b, err := ondisk.ReadAt(v.r, int64(lcn)*int64(v.ClusterSize), int64(v.RecordSize), 65536)
	if err != nil {
		return &FormatError{recordName(0), 0, err}
	}
	r, err := openRecord(b, 0)
	if err != nil {
		return &FormatError{"$MFT", int64(lcn) * int64(v.ClusterSize), err}
	}
	if !r.inUse() || r.base() != 0 {
		return formatError(recordName(0), 0x16, "record in use %t, base %v: not the $MFT", r.inUse(), r.base())
	}
	own, err := r.appendAttrs(nil, 0)
	if err != nil {
		return err
	}
	isData := func(a fileAttr) bool { return a.typ() == typeData && len(a.name()) == 0 && !a.continues() }
	i := slices.IndexFunc(own, isData)
	if i < 0 || !own[i].nonResident() {
		return formatError(recordName(0), int(r.firstAttr()), "no non-resident $DATA")
	}
	a := own[i]
	s := &stream{v: v, name: "$MFT", size: a.size(), initialized: a.initializedSize()}
	if s.extents, err = v.appendExtents(nil, a); err != nil {
		return err
	}
	v.mft = s
	if j := slices.IndexFunc(own, func(a fileAttr) bool { return a.typ() == typeAttributeList }); j >= 0 {
		if err := v.extendMFT(r, own, j, a.highestVCN()+1); err != nil {
			return err
		}
	}
	// Each cluster is at most once in it, so that the number of records is bounded by the volume.
	if n := s.allocatedClusters(); n > v.Clusters {
		return formatError(recordName(0), a.off, "$MFT of %d clusters on a volume of %d", n, v.Clusters)
	}
	last := s.extents[len(s.extents)-1]
	if (s.size-1)/int64(v.ClusterSize) >= int64(last.VCN)+last.Clusters || slices.ContainsFunc(s.extents, func(e Extent) bool { return e.LCN < 0 }) {
		return formatError(recordName(0), a.off+0x30, "$MFT of %d bytes in %d clusters, want no holes", s.size, s.allocatedClusters())
	}
	v.records = min(s.size, s.initialized) / int64(v.RecordSize)
	if v.records < recReserved {
		return formatError(recordName(0), a.off+0x30, "$MFT of %d records, want at least %d", v.records, recReserved)
	}
	return nil
}

// extendMFT adds the extents of the $MFT that its attribute list, own[i], names. Each lies in a record that the extents before it
// map. next is the first cluster still to be mapped.
func (v *Volume) extendMFT(r fileRecord, own []fileAttr, i int, next VCN) error {
	list, err := v.attributeList(own, i)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.typ() != typeData || len(e.name()) > 0 || e.lowest() == 0 {
			continue
		}
		n := int64(e.reference().record())
		v.records = int64(next) * int64(v.ClusterSize) / int64(v.RecordSize) // what can be read so far
		x, err := v.readRecord(n)
		if err != nil {
			return err
		}
		if x.base() != makeRef(0, r.sequence()) {
			return formatError(recordName(n), 0x20, "base record %v, want the $MFT", x.base())
		}
		attrs, err := x.appendAttrs(nil, n)
		if err != nil {
			return err
		}
		j := slices.IndexFunc(attrs, e.names)
		if j < 0 || attrs[j].lowestVCN() != next {
			return formatError(recordName(n), int(x.firstAttr()), "no $DATA extent of the $MFT that starts at cluster %d", next)
		}
		if v.mft.extents, err = v.appendExtents(v.mft.extents, attrs[j]); err != nil {
			return err
		}
		if next = attrs[j].highestVCN() + 1; int64(next) > v.Clusters {
			return formatError(recordName(n), attrs[j].off, "$MFT of %d clusters on a volume of %d", next, v.Clusters)
		}
	}
	return nil
}

// readRecord reads one MFT record.
func (v *Volume) readRecord(n int64) (fileRecord, error) {
	if n < 0 || n >= v.records {
		return nil, formatError(recordName(n), 0, "the MFT has %d records", v.records)
	}
	b := make([]byte, v.RecordSize)
	if _, err := v.mft.ReadAt(b, n*int64(v.RecordSize)); err != nil && err != io.EOF {
		return nil, &FormatError{recordName(n), 0, err}
	}
	return openRecord(b, n)
}

// baseAttrs reads the base record n, which must be in use, and all its attributes.
func (v *Volume) baseAttrs(n int64) (fileRecord, []fileAttr, error) {
	r, err := v.readRecord(n)
	if err != nil {
		return nil, nil, err
	}
	if !r.inUse() || r.base() != 0 {
		return r, nil, formatError(recordName(n), 0x16, "record in use %t, base %v, want a base record in use", r.inUse(), r.base())
	}
	list, err := v.fileAttrs(r, n)
	return r, list, err
}

// findAttr is the index of the first extent of an attribute, -1 if there is none.
func findAttr(list []fileAttr, typ attrType, name string) int {
	return slices.IndexFunc(list, func(a fileAttr) bool {
		return a.typ() == typ && !a.continues() && winfile.NameFromUTF16LE(a.name()) == name
	})
}

// openNamed opens a stream of a system file.
func (v *Volume) openNamed(n int64, typ attrType, name string) (*stream, error) {
	_, list, err := v.baseAttrs(n)
	if err != nil {
		return nil, err
	}
	i := findAttr(list, typ, name)
	if i < 0 {
		return nil, formatError(recordName(n), 0, "no %v %q", typ, name)
	}
	return v.openStream(list, i)
}

func (v *Volume) readVolumeInfo() error {
	_, list, err := v.baseAttrs(recVolume)
	if err != nil {
		return err
	}
	if i := findAttr(list, typeVolumeName, ""); i >= 0 && !list[i].nonResident() {
		v.Label = winfile.NameFromUTF16LE(list[i].value())
	}
	i := findAttr(list, typeVolumeInformation, "")
	if i < 0 || list[i].nonResident() || list[i].size() < volumeInfoSize {
		return formatError(recordName(recVolume), 0, "no $VOLUME_INFORMATION of 12 bytes")
	}
	b := list[i].value()
	v.Version = fmt.Sprintf("%d.%d", b[8], b[9])
	if b[8] != 1 && b[8] != 3 {
		return fmt.Errorf("ntfs: NTFS version %s: %w", v.Version, errors.ErrUnsupported)
	}
	v.Flags = le.Uint16(b[10:])
	if v.Dirty = v.Flags&volumeDirty != 0; v.Dirty {
		v.warn("the volume is marked dirty: chkdsk was to run")
	}
	return nil
}

// readUpcase takes the volume's own table. A damaged one is replaced by that of Windows 7 to 11.
func (v *Volume) readUpcase() {
	v.upcase = winfile.UpCase()
	s, err := v.openNamed(recUpCase, typeData, "")
	var b []byte
	if err == nil {
		b, err = s.readAll(upcaseSize)
	}
	if err == nil && len(b) != upcaseSize {
		err = fmt.Errorf("%d bytes, want %d", len(b), upcaseSize)
	}
	if err != nil {
		v.warn("$UpCase: %v; the table of Windows 7 to 11 is used", err)
		return
	}
	t := new([65536]uint16)
	for i := range t {
		t[i] = le.Uint16(b[2*i:])
	}
	if *t != *v.upcase {
		v.upcase = t
	}
}
