package ntfs

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"husk/winfile"
)

// BuildOptions tunes a new volume. The zero value makes the smallest volume that holds the tree, with 512-byte sectors and 4 KiB
// clusters.
type BuildOptions struct {
	Size          int64            // bytes of the volume, which are those of the partition; 0 means the least possible
	SectorSize    int              // 512 or 4096, the disk's; 0 means 512
	ClusterSize   int              // SectorSize to 2 MiB, a power of two; 0 means 4096. Windows before 10 reads up to 64 KiB
	HiddenSectors uint32           // LBA of the partition: BIOS boot code relies on it
	Label         string           // at most 32 UTF-16 units
	Serial        uint64           // volume serial number
	Time          winfile.Filetime // of the system files; 0 means that of the root directory's last write
	LogSize       int64            // $LogFile: at least 256 KiB; 0 means 2 MiB, or 1/200 of the volume if that is more, up to 64 MiB

	// FreeRecords is how many records the $MFT has ready for new files, beyond what its usual steps leave free. Without any it grows into the
	// free space behind it, of which it is the first neighbour, and stays in one piece while that lasts.
	FreeRecords int

	// LogAtEnd puts $LogFile into the last clusters. The last sector of a volume is a copy of the boot sector, so a dynamic virtual
	// disk has its last block in any case: a log that fits there is free. A partition that may have to shrink is better off without.
	LogAtEnd bool

	// BootSector is boot code for $Boot, up to 8 KiB, starting with the boot sector, whose fields at 0x03 to 0x53 are replaced.
	// Nil means code that says that the volume does not boot.
	BootSector []byte

	// Backing is asked once for each file with data and without a reparse point. If it returns a REPARSE_DATA_BUFFER, the file
	// becomes a pointer: it has this reparse point, and its unnamed data is a hole of its size and is not read. The result is
	// kept until Write ends. Nil makes no file a pointer.
	Backing func(*winfile.Info) []byte

	// BackingStream is asked once for each file that Backing made a pointer. What it returns, if anything, becomes one more named stream of
	// the file: a compact file has its content in one. May be nil.
	BackingStream func(*winfile.Info) *winfile.Stream

	// SkipUnsupported leaves out what the builder cannot make, with a note, instead of failing: encrypted files.
	SkipUnsupported bool

	Workers  int               // for reading contents; 0 means GOMAXPROCS
	Progress func(bytes int64) // called with the length of each piece of content read, from several goroutines at once
}

// A Note is something about a file that the volume does not have as the tree has it.
type Note struct {
	Path string // slash-separated
	What string
}

// Layout is a volume of which every byte but the contents of files is decided. It takes well under 1 KiB of memory per file, and
// keeps the tree.
type Layout struct {
	opt      BuildOptions
	geometry geometry // sectors and clusters are those of the boot sector's fields
	lcnBytes int      // a cluster number takes at most so many bytes in mapping pairs

	files      []file // system files first
	links      []link // each directory's together, in the order of its index
	dirs       []directory
	places     []place
	security   *securitySet
	reparse    []int32                // files with reparse points, in the order of $R
	objects    []int32                // files with object ids, in the order of $O
	pointers   []byte                 // reparse buffers of pointer files
	streams    []winfile.Stream       // that BackingStream added
	label      []uint16               //
	systems    [firstUserRecord]int32 // file of each system record, or none
	rootExt    uint32                 // first extension record of the root directory, if it has any
	records    int64                  // length of the $MFT in records
	lastRecord int64                  // those from firstUserRecord up to this one are in use
	used       int64                  // clusters in use: the first ones of the volume
	minSize    int64                  // bytes

	contents  []content // in the order of reading
	byBlob    map[*winfile.Blob]int32
	copies    []copyOf
	resident  int64 // bytes of contents in records
	dataBytes int64 // bytes of contents to read

	spills []spill // values of attributes other than $DATA that are outside the records
	region regions
	views  [viewCount]indexShape
	notes  []Note
	attrs  []attr // scratch
}

const none = -1

// maxCluster is the largest cluster that the boot sector can tell, in bytes.
const maxCluster = 2 << 20

// region is some clusters in a row and the bytes that they hold.
type region struct {
	lcn      LCN
	clusters int64
	size     int64
}

// regions of the system files.
type regions struct {
	boot, mirror, upcase, attrDef, bitmap, mftBitmap, sds, log, data, mft region
}

// The indexes that are not $I30.
const (
	viewSDH = iota
	viewSII
	viewQuotaO
	viewQuotaQ
	viewObjects
	viewReparse
	viewCount
)

// NewLayout decides the layout of a volume that holds the tree. It refuses what NTFS cannot hold, with the path in the error. What
// needs no refusing is changed and noted ([Layout.Notes]): object ids that are not unique, short names that are not valid or
// not unique. The attribute bits for sparse and, on files, compressed data are dropped, as all data is stored plainly.
func NewLayout(t *winfile.Tree, o *BuildOptions) (*Layout, error) {
	l := &Layout{security: newSecuritySet(), byBlob: make(map[*winfile.Blob]int32)}
	if o != nil {
		l.opt = *o
	}
	if err := l.checkOptions(); err != nil {
		return nil, fmt.Errorf("ntfs: %w", err)
	}
	for _, step := range []func() error{
		func() error { return l.takeTree(t) },
		l.placeAttributes,
		l.placeClusters,
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("ntfs: %w", err)
		}
	}
	return l, nil
}

func (l *Layout) checkOptions() error {
	o := &l.opt
	if o.SectorSize == 0 {
		o.SectorSize = 512
	}
	if o.SectorSize != 512 && o.SectorSize != 4096 {
		return fmt.Errorf("sector size %d, want 512 or 4096", o.SectorSize)
	}
	if o.ClusterSize == 0 {
		o.ClusterSize = 4096
	}
	if o.ClusterSize < o.SectorSize || o.ClusterSize > maxCluster || bits.OnesCount(uint(o.ClusterSize)) != 1 {
		return fmt.Errorf("cluster size %d, want a power of two from %d to %d", o.ClusterSize, o.SectorSize, maxCluster)
	}
	if o.LogSize != 0 && (o.LogSize < minLogSize || o.LogSize >= math.MaxUint32) {
		return fmt.Errorf("log size %d, want at least %d and less than 4 GiB", o.LogSize, minLogSize)
	}
	if len(o.BootSector) > bootSize {
		return fmt.Errorf("boot code of %d bytes, want at most %d", len(o.BootSector), bootSize)
	}
	if o.FreeRecords < 0 || o.FreeRecords > maxFreeRecords {
		return fmt.Errorf("%d free records, want 0 to %d", o.FreeRecords, maxFreeRecords)
	}
	if o.Size < 0 {
		return fmt.Errorf("volume size %d is negative", o.Size)
	}
	l.label = winfile.UTF16FromName(o.Label)
	if len(l.label) > maxLabel || !winfile.ValidName(o.Label) {
		return fmt.Errorf("label %q, want at most %d UTF-16 units", o.Label, maxLabel)
	}
	l.geometry = geometry{sectorSize: o.SectorSize, clusterSize: o.ClusterSize, recordSize: 1024, indexSize: indexBlockSize}
	if o.SectorSize > l.geometry.recordSize {
		l.geometry.recordSize = o.SectorSize
	}
	return nil
}

// logSize is the size of $LogFile on a volume of so many bytes.
func (l *Layout) logSize(volume int64) int64 {
	n := l.opt.LogSize
	if n == 0 {
		n = min(max(2<<20, volume/200), 64<<20)
	}
	return align(n, max(logPageSize, int64(l.geometry.clusterSize)))
}

// clustersFor is the number of clusters that hold so many bytes.
func (l *Layout) clustersFor(bytes int64) int64 {
	cs := int64(l.geometry.clusterSize)
	return bytes/cs + min(bytes%cs, 1)
}

// The $MFT has at least so many records, as Windows makes it, and a size in bytes that is a multiple of mftStep: room for the first
// files that Windows adds.
const (
	leastRecords   = 256
	maxFreeRecords = 1 << 28
	mftStep        = 64 << 10
)

// placeClusters fixes the size of the volume and gives each stream its clusters. The volume is filled from its start without gaps:
// system files, directories, contents in the order of reading, and the $MFT last, so that it can grow into the free space.
func (l *Layout) placeClusters() error {
	r, cs := &l.region, int64(l.geometry.clusterSize)
	r.boot.size = bootSize
	r.mirror.size = max(4*int64(l.geometry.recordSize), cs)
	r.upcase.size = upcaseSize
	r.attrDef.size = attrDefSize
	r.sds.size = l.security.size
	r.mft.size = align(max(l.records+int64(l.opt.FreeRecords), leastRecords)*int64(l.geometry.recordSize), max(cs, mftStep))
	l.records = r.mft.size / int64(l.geometry.recordSize)
	r.mftBitmap.size = bitmapSize(l.records)

	head := []*region{&r.boot, &r.mirror, &r.upcase, &r.attrDef, &r.mftBitmap, &r.sds}
	for i := range l.views {
		head = append(head, &l.views[i].blocks, &l.views[i].bitmap)
	}
	for i := range l.dirs {
		head = append(head, &l.dirs[i].shape.blocks, &l.dirs[i].shape.bitmap)
	}
	data, err := l.sortContents()
	if err != nil {
		return err
	}
	r.data.size = data * cs
	fixed := data + l.clustersFor(r.mft.size)
	for _, h := range head {
		h.clusters = l.clustersFor(h.size)
		fixed += h.clusters
	}
	for i := range l.spills {
		fixed += l.clustersFor(l.spills[i].size)
	}
	if err := l.fixSize(fixed); err != nil {
		return err
	}

	next := LCN(0)
	take := func(h *region) {
		h.lcn, h.clusters = next, l.clustersFor(h.size)
		next += LCN(h.clusters)
	}
	for _, h := range head {
		take(h)
	}
	take(&r.bitmap)
	if l.opt.LogAtEnd {
		r.log.clusters = l.clustersFor(r.log.size)
		r.log.lcn = LCN(l.geometry.clusters - r.log.clusters)
	} else {
		take(&r.log)
	}
	for i := range l.spills {
		s := &l.spills[i]
		l.places[s.place].at = int64(next)
		next += LCN(l.clustersFor(s.size))
	}
	take(&r.data)
	l.placeContents(r.data.lcn)
	take(&r.mft)
	l.used = int64(next)
	l.geometry.mft, l.geometry.mirror = r.mft.lcn, r.mirror.lcn
	return nil
}

// fixSize decides the number of clusters, and with it the sizes of $Bitmap and $LogFile. All else takes fixed clusters.
func (l *Layout) fixSize(fixed int64) error {
	cs, ss := int64(l.geometry.clusterSize), int64(l.geometry.sectorSize)
	need := func(clusters int64) int64 {
		if fixed > maxClusters {
			return fixed
		}
		return fixed + l.clustersFor(bitmapSize(clusters)) + l.clustersFor(l.logSize(clusters*cs))
	}
	least := need(fixed)
	for need(least) > least {
		least = need(least)
	}
	if least > maxClusters {
		return fmt.Errorf("the tree needs %d clusters of %d bytes, want at most %d: take larger clusters", least, cs, int64(maxClusters))
	}
	l.minSize = least*cs + ss // and the copy of the boot sector
	size := l.opt.Size
	if size == 0 {
		size = l.minSize
	}
	l.geometry.sectors = size/ss - 1
	l.geometry.clusters = l.geometry.sectors / (cs / ss)
	if l.geometry.clusters > maxClusters {
		return fmt.Errorf("a volume of %d bytes has %d clusters, want at most %d: take larger clusters", size, l.geometry.clusters, int64(maxClusters))
	}
	if n := need(l.geometry.clusters); n > l.geometry.clusters {
		return fmt.Errorf("%w: %d bytes are needed and %d available", ErrTooSmall, max(l.minSize, n*cs+ss), size)
	}
	l.region.bitmap.size = bitmapSize(l.geometry.clusters)
	l.region.log.size = l.logSize(l.geometry.clusters * cs)
	return nil
}

// ErrTooSmall is wrapped by the error of a volume size that does not hold the tree.
var ErrTooSmall = errors.New("the volume is too small")

// Size is the size of the volume in bytes: as in the options, or the least possible.
func (l *Layout) Size() int64 {
	if l.opt.Size != 0 {
		return l.opt.Size
	}
	return l.minSize
}

// MinSize is the size in bytes of the smallest volume that holds the tree with these options.
func (l *Layout) MinSize() int64 { return l.minSize }

// UsedBytes is the number of bytes in clusters that are in use.
func (l *Layout) UsedBytes() int64 {
	used := l.used
	if l.opt.LogAtEnd {
		used += l.region.log.clusters
	}
	return used * int64(l.geometry.clusterSize)
}

// FreeBytes is the number of bytes in clusters that are not.
func (l *Layout) FreeBytes() int64 {
	return l.geometry.clusters*int64(l.geometry.clusterSize) - l.UsedBytes()
}

// DataBytes is the number of bytes of content that Write will read.
func (l *Layout) DataBytes() int64 { return l.dataBytes }

// Pointers is the number of files that [BuildOptions.Backing] made pointers.
func (l *Layout) Pointers() int {
	n := 0
	for i := range l.files {
		if l.files[i].pointer >= 0 {
			n++
		}
	}
	return n
}

// Notes tells what the volume does not have as the tree has it.
func (l *Layout) Notes() []Note { return l.notes }
