package ntfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"husk/internal/ondisk"
	"husk/winfile"
)

// Device is what an [Editor] changes: a partition, or an image of one. Offset 0 is the boot sector.
type Device interface {
	io.ReaderAt
	io.WriterAt
	Sync() error // returns when all that was written is durable
}

// EditOptions tunes an [Editor]. The zero value is right.
type EditOptions struct {
	Time         winfile.Filetime // of changes; 0 means now
	Transaction  int              // bytes of metadata after which a transaction is committed by itself; 0 means 12 MiB
	ReservedZone int64            // clusters behind the $MFT that contents are kept out of while there are others; 0 means 1/8 of the volume, up to 200 MB
}

// Editor changes files of a volume that nothing has mounted. Its methods change the volume in memory, and in clusters that are free;
// [Editor.Commit] makes all changes since the last one durable, or none of them:
//
//	contents     have gone to clusters that are free on the disk
//	journal      the new bytes of every changed record, index block and bitmap, and checksums of the contents. Once it is durable the
//	             changes are made, whatever happens: the next OpenEditor with this journal writes them again, unless somebody
//	             else has used the volume meanwhile
//	dirty flag   of $Volume is set, and $LogFile filled with 0xff: stale log records must not be applied to changed records
//	bitmaps      bits of what becomes used
//	fresh        records and index blocks that were free; then the $MFT's record, if it grew; then base records of new files
//	records      each file's base record switches it from old to new
//	indexes      from the root down
//	frees        base records, then extension records, then bits of what is free now
//	dirty flag   is cleared; the journal is emptied
//
// Each line is durable before the next starts. So a volume that was cut off anywhere and whose journal is lost still has each file as it
// was or as it is to be, unless the cut tore a record in two; what else is wrong with it chkdsk repairs, and the dirty flag makes
// Windows run it. Clusters and records that a transaction frees are not used again before it is durable.
//
// An Editor is not safe for concurrent use. After an error of Commit it can only be closed: opening the volume again finishes or
// drops the transaction.
type Editor struct {
	d    Device
	j    Journal
	o    EditOptions
	size int64
	id   journalID
	v    *Volume // sees the changes

	units   map[int64]*unit               // changed pieces of metadata by their first byte on the device
	sectors map[int64][]byte              // their bytes, by 512-byte sector
	held    map[int64]*[sectorStride]byte // bits of bitmaps, by sector, that the transaction has cleared
	removed map[dirName]bool              // names taken away by the transaction
	touched []*unit                       // changed by the operation underway
	written bool                          // contents were written since the last sync
	wrote   []keptBytes                   // what was written to free clusters by the transaction
	bytes   int                           // in units
	failed  error                         // of Commit

	bitmap, mftBitmap *stream
	mirror            *stream
	nextCluster       LCN   // where the search for free clusters starts
	nextRecord        int64 // where the search for free records starts
	logEmpty          bool  // $LogFile is known to be filled with 0xff
	moved             bool  // the operation underway has changed where the $MFT is
	reparseRecord     int64 // $Extend\$Reparse
	dirs              map[string]int64
	ids               map[string]uint32 // security ids by descriptor
}

// Errors of [OpenEditor] that callers may want to tell apart.
var (
	ErrDirty      = errors.New("the volume is marked dirty: let chkdsk repair it first")
	ErrLog        = errors.New("the log is not clean: start the Windows of this volume and shut it down completely")
	ErrHibernated = errors.New("the volume holds a Windows that hibernates: start it and shut it down completely")
	ErrFull       = errors.New("the volume is full")
)

const (
	defaultTransaction = 12 << 20
	maxEditRecord      = 4096
)

// OpenEditor opens the volume in the first size bytes of d for changes. If the journal holds a transaction that was committed and not
// finished, it is finished first; one that was not committed is dropped. That nobody else has the volume open is the
// caller's business. It refuses volumes that are dirty, hibernated, or whose log is not clean, versions other than 3.1, and the journal of
// another volume.
func OpenEditor(d Device, size int64, j Journal, o *EditOptions) (*Editor, error) {
	e := &Editor{d: d, j: j, size: size}
	if o != nil {
		e.o = *o
	}
	if e.o.Transaction == 0 {
		e.o.Transaction = defaultTransaction
	}
	boot, err := ondisk.ReadAt(d, 0, bootSectorSize, bootSectorSize)
	if err != nil {
		return nil, &FormatError{"boot sector", 0, err}
	}
	e.id = volumeID(boot, size)
	if err := e.replay(); err != nil {
		return nil, fmt.Errorf("ntfs: journal: %w", err)
	}
	e.reset()
	if e.v, err = NewReader(overlay{e}, size); err != nil {
		return nil, err
	}
	if err := e.refuse(); err != nil {
		return nil, fmt.Errorf("ntfs: %w", err)
	}
	if err := e.openSystem(); err != nil {
		return nil, err
	}
	return e, nil
}

// refuse reports why the volume is not to be changed.
func (e *Editor) refuse() error {
	v := e.v
	switch {
	case v.Version != "3.1":
		return fmt.Errorf("NTFS version %s, want 3.1: %w", v.Version, errors.ErrUnsupported)
	case v.Flags&(volumeDirty|volumeChkdsk) != 0:
		return ErrDirty
	case v.Log != LogClean:
		return fmt.Errorf("%w (%v)", ErrLog, v.Log)
	case v.boot.indexSize != indexBlockSize:
		return fmt.Errorf("index blocks of %d bytes, want %d: %w", v.boot.indexSize, indexBlockSize, errors.ErrUnsupported)
	case v.RecordSize > maxEditRecord || v.RecordSize < 1024:
		return fmt.Errorf("records of %d bytes, want 1024 to %d: %w", v.RecordSize, maxEditRecord, errors.ErrUnsupported)
	case v.ClusterSize < sectorStride || v.SectorSize > maxEditRecord:
		return fmt.Errorf("clusters of %d bytes: %w", v.ClusterSize, errors.ErrUnsupported)
	}
	if w := v.Warnings(); len(w) > 0 {
		return fmt.Errorf("the volume is damaged: %s", w[0])
	}
	asleep, err := v.Hibernated()
	if err == nil && asleep {
		err = ErrHibernated
	}
	return err
}

// openSystem finds the streams that every change needs.
func (e *Editor) openSystem() error {
	var err error
	if e.bitmap, err = e.openBits(recBitmap, typeData, e.v.Clusters); err != nil {
		return err
	}
	if e.mftBitmap, err = e.openBits(recMFT, typeBitmap, e.v.records); err != nil {
		return err
	}
	if e.mirror, err = e.v.openNamed(recMFTMirr, typeData, ""); err != nil {
		return err
	}
	if e.mirror.extents == nil || e.mirror.extents[0].LCN != e.v.boot.mirror {
		return formatError(recordName(recMFTMirr), 0, "$MFTMirr is not at cluster %d, where the boot sector says", e.v.boot.mirror)
	}
	if e.o.ReservedZone == 0 {
		e.o.ReservedZone = min(e.v.Clusters/8, (200<<20)/int64(e.v.ClusterSize))
	}
	last := e.v.mft.extents[len(e.v.mft.extents)-1]
	e.nextCluster = LCN(int64(last.LCN) + last.Clusters + e.o.ReservedZone)
	if int64(e.nextCluster) >= e.v.Clusters {
		e.nextCluster = 0
	}
	e.nextRecord = firstUserRecord
	e.dirs = make(map[string]int64)
	e.reparseRecord, err = e.find("$Extend/$Reparse") // 0 if there is none
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// openBits opens a bitmap of at least so many bits that is outside the records, as those of the whole volume are.
func (e *Editor) openBits(n int64, typ attrType, bits int64) (*stream, error) {
	s, err := e.v.openNamed(n, typ, "")
	if err != nil {
		return nil, err
	}
	if s.extents == nil || s.flags != 0 || s.initialized != s.size || s.size*8 < bits {
		return nil, formatError(recordName(n), 0, "%v of %d bytes, %d valid, flags %#x: want %d bits outside the record", typ, s.size, s.initialized, s.flags, bits)
	}
	for _, x := range s.extents {
		if x.LCN == hole {
			return nil, formatError(recordName(n), 0, "%v has a hole at cluster %d", typ, x.VCN)
		}
	}
	return s, nil
}

// reset forgets the transaction.
func (e *Editor) reset() {
	e.units, e.sectors, e.held = make(map[int64]*unit), make(map[int64][]byte), make(map[int64]*[sectorStride]byte)
	e.removed = make(map[dirName]bool)
	e.touched, e.wrote, e.bytes, e.written = nil, nil, 0, false
}

// now is the time of changes.
func (e *Editor) now() winfile.Filetime {
	if e.o.Time != 0 {
		return e.o.Time
	}
	return winfile.FiletimeOf(time.Now())
}

// dirName is a name in the directory of a record, in upper case.
type dirName struct {
	dir  int64
	name string
}

// errCommitFirst is for operations that need what the transaction has done to be durable.
var errCommitFirst = errors.New("the transaction has to be committed first")

// do runs one operation on the file with this path: all of it, or nothing. If the volume is full it commits, so that what the transaction
// has freed can be used, and tries again.
func (e *Editor) do(op, path string, fn func() error) error {
	if e.failed != nil {
		return fmt.Errorf("ntfs: %s %q: the editor has failed before: %w", op, path, e.failed)
	}
	err := e.try(fn)
	if (errors.Is(err, ErrFull) || err == errCommitFirst) && e.failed == nil && len(e.units) > 0 {
		if err := e.Commit(); err != nil {
			return err
		}
		err = e.try(fn)
	}
	if err != nil {
		return fmt.Errorf("ntfs: %s %q: %w", op, path, err)
	}
	if e.bytes >= e.o.Transaction {
		return e.Commit()
	}
	return nil
}

// try runs an operation and undoes it if it fails.
func (e *Editor) try(fn func() error) error {
	wrote := len(e.wrote)
	err := fn()
	if err == nil {
		e.keep()
		return nil
	}
	e.wrote = e.wrote[:wrote]
	if back := e.rollback(); back != nil {
		e.failed = back
	}
	return err
}

// Commit makes the changes durable. See [Editor].
func (e *Editor) Commit() error {
	if e.failed != nil {
		return e.failed
	}
	if len(e.units) == 0 {
		return nil
	}
	if err := e.commit(); err != nil {
		e.failed = err
		return fmt.Errorf("ntfs: commit: %w", err)
	}
	e.reset()
	return nil
}

// Close commits. The device and the journal are whoever's opened them.
func (e *Editor) Close() error { return e.Commit() }
