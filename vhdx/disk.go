package vhdx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"husk/guid"
)

// A Disk reads and changes a VHDX file in place. It is safe for concurrent use.
//
// What is written to blocks that are in the file goes there at once. New blocks are put behind everything else; the BAT
// names them only once Sync has made sure that they are on the disk. So whatever is cut off, the file is valid, and has
// all that was written before the last Sync that returned.
type Disk struct {
	mu      sync.RWMutex
	f       EditFile
	img     image
	end     int64          // where the next block goes, a multiple of 1 MiB
	pending map[int64]bool // blocks that the BAT in the file does not have as they are in memory
	started bool           // the headers say that the file was changed
	merging bool           // the child that is merged has to be known as one until it is done
	closed  bool
	err     error // of the first failure; it stays
}

// DiskOptions tunes OpenDisk. It may be nil.
type DiskOptions struct {
	// Parent is as in ReaderOptions.
	Parent func(*ParentLocator) (*Reader, error)
}

// OpenDisk opens the VHDX in f, of size bytes, for reading and writing. A log that is not empty is replayed in the file
// by the first write. Who makes a disk differ from what its children know must not expect them to work any more.
func OpenDisk(f EditFile, size int64, o *DiskOptions) (*Disk, error) {
	var ro *ReaderOptions
	if o != nil {
		ro = &ReaderOptions{Parent: o.Parent}
	}
	r, err := NewReader(f, size, ro)
	if err != nil {
		return nil, err
	}
	d := &Disk{f: f, img: r.image, pending: make(map[int64]bool)}
	list, _ := d.img.fixedExtents()
	for _, e := range list {
		d.end = max(d.end, e.end)
	}
	for i, e := range d.img.bat {
		if e.inFile() {
			n := d.img.entryLength(int64(i))
			if !d.img.isBitmap(int64(i)) {
				n = d.img.blockSize // also where the file ends before
			}
			d.end = max(d.end, e.offset()+n)
		}
	}
	d.end = roundUp(d.end, mib)
	return d, nil
}

// Size is the size of the disk in bytes.
func (d *Disk) Size() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.img.geometry.size
}

// SectorSize is the logical sector size: 512 or 4096 bytes.
func (d *Disk) SectorSize() int { return int(d.img.sector) }

// Info describes the file.
func (d *Disk) Info() Info {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.img.info()
}

// ReadAt reads from the disk as io.ReaderAt says, what was written included.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.img.readAt(p, off)
}

// NextAllocated is Reader.NextAllocated.
func (d *Disk) NextAllocated(off int64) (start, end int64) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.img.nextAllocated(off)
}

// WriteAt writes to the disk as io.WriterAt says. It fails if p goes past the end of the disk; after a failure of the
// file all later calls fail. Zeros written where the disk has none of its own and no parent take no room.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := d.img.geometry.size
	if off < 0 || off > size || int64(len(p)) > size-off {
		return 0, fmt.Errorf("vhdx: write of %d bytes at %d, want it in the disk of %d", len(p), off, size)
	}
	if err := d.start(); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		i, in := (off+int64(done))/d.img.blockSize, (off+int64(done))%d.img.blockSize
		part := p[done:]
		if left := d.img.blockSize - in; int64(len(part)) > left {
			part = part[:left]
		}
		if err := d.writeBlock(part, i, in); err != nil {
			return done, d.fail(err)
		}
		done += len(part)
	}
	return done, nil
}

func (d *Disk) fail(err error) error {
	if d.err == nil {
		d.err = err
	}
	return err
}

// start makes the file ready to be changed: the log replayed, the headers with new identities. Both headers are
// written, one after the other, so that one of them is always valid.
func (d *Disk) start() error {
	switch {
	case d.err != nil:
		return d.err
	case d.closed:
		return fmt.Errorf("vhdx: disk: %w", fs.ErrClosed)
	case d.started:
		return nil
	}
	if d.img.log != nil {
		if err := d.img.log.writeTo(d.f); err != nil {
			return d.fail(err)
		}
		d.img.r, d.img.log = d.f, nil
	}
	d.img.head.LogGUID = guid.GUID{}
	d.img.head.FileWriteGUID = guid.New()
	if !d.merging {
		d.img.head.DataWriteGUID = guid.New()
	}
	if err := d.writeHeaders(); err != nil {
		return d.fail(err)
	}
	d.started = true
	return nil
}

func (d *Disk) writeHeaders() error {
	for range 2 {
		d.img.head.Sequence++
		d.img.which = 1 - d.img.which
		if err := writeFull(d.f, d.img.head.marshal(), int64(headerAt+d.img.which*headerStep)); err != nil {
			return err
		}
		if err := d.f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// writeBlock writes p at offset in of block i.
func (d *Disk) writeBlock(p []byte, i, in int64) error {
	n := d.img.payload(i)
	e := d.img.bat[n]
	switch e.state() {
	case statePresent:
	case statePartial:
		if err := d.fillIn(i, e); err != nil {
			return err
		}
	default:
		if d.readsZero(i, in, int64(len(p))) && allZero(p) {
			return nil
		}
		if err := d.allocate(i); err != nil {
			return err
		}
	}
	return writeFull(d.f, p, d.img.bat[n].offset()+in)
}

// readsZero reports whether a block that is not in the file has zeros there.
func (d *Disk) readsZero(i, in, n int64) bool {
	if d.img.locator == nil || d.img.bat[d.img.payload(i)].state() != stateNotPresent {
		return true
	}
	start, _ := d.img.nextAllocated(i*d.img.blockSize + in)
	return start >= i*d.img.blockSize+in+n
}

// allocate gives block i a place behind everything else, with the content that it has now.
func (d *Disk) allocate(i int64) error {
	// What lies behind the last block belongs to nobody, and may be what a program left that was cut off.
	if err := d.f.Truncate(d.end); err != nil {
		return err
	}
	at := d.end
	if err := d.f.Truncate(at + d.img.blockSize); err != nil {
		return err
	}
	d.end = at + d.img.blockSize
	d.img.size = d.end
	if err := d.copyIn(i, at, 0, d.img.blockSize); err != nil {
		return err
	}
	d.img.bat[d.img.payload(i)] = place(at, statePresent)
	d.pending[i] = true
	return nil
}

// copyIn copies what the disk has from offset in of block i up to end into the block's new place at, where all is zero.
func (d *Disk) copyIn(i, at, in, end int64) error {
	base := i * d.img.blockSize
	end = min(end, d.img.geometry.size-base)
	buf := make([]byte, min(mib, end-in))
	for in < end {
		start, stop := d.img.nextAllocated(base + in)
		if start >= base+end {
			return nil
		}
		in = start - base
		p := buf[:min(int64(len(buf)), min(stop-base, end)-in)]
		if err := d.img.readBlock(p, i, in); err != nil {
			return err
		}
		if err := writeFull(d.f, p, at+in); err != nil {
			return err
		}
		in += int64(len(p))
	}
	return nil
}

// fillIn makes the partially present block i complete: the sectors that are the parent's are copied to their places in
// the block, which nobody reads until the BAT says that it is fully present.
func (d *Disk) fillIn(i int64, e batEntry) error {
	base, end := i*d.img.blockSize, min(d.img.blockSize, d.img.geometry.size-i*d.img.blockSize)
	buf := make([]byte, mib)
	for in := int64(0); in < end; {
		here, n, err := d.img.run(i, in, min(end, in+mib))
		if err != nil {
			return err
		}
		if !here {
			p := buf[:n]
			if err := d.img.readParent(p, base+in); err != nil {
				return err
			}
			if err := writeFull(d.f, p, e.offset()+in); err != nil {
				return err
			}
		}
		in += n
	}
	d.img.bat[d.img.payload(i)] = place(e.offset(), statePresent)
	d.pending[i] = true
	return nil
}

// Sync makes sure that all that was written is on the disk: the blocks, and then the BAT that names them.
func (d *Disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sync()
}

func (d *Disk) sync() error {
	if d.err != nil {
		return d.err
	}
	if !d.started {
		return nil
	}
	if err := d.f.Sync(); err != nil {
		return d.fail(err)
	}
	if len(d.pending) == 0 {
		return nil
	}
	list := make([]int64, 0, len(d.pending))
	for i := range d.pending {
		list = append(list, i)
	}
	slices.Sort(list)
	for _, i := range list {
		if err := d.writeEntry(d.img.payload(i)); err != nil {
			return d.fail(err)
		}
	}
	if err := d.f.Sync(); err != nil {
		return d.fail(err)
	}
	clear(d.pending)
	return nil
}

// writeEntry writes one entry of the BAT. Its 8 bytes are in one sector, so that they are written as a whole or not.
func (d *Disk) writeEntry(n int64) error {
	return writeFull(d.f, binary.LittleEndian.AppendUint64(nil, uint64(d.img.bat[n])), d.img.batAt+8*n)
}

// Close syncs, and closes the parent if there is one. It does not close the file.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	err := d.sync()
	d.closed = true
	if d.img.parent != nil {
		err = errors.Join(err, d.img.parent.Close())
	}
	return err
}

// Resize gives the disk a new size, a multiple of the sector size. What a greater disk has more is zero; what a smaller
// one has less is lost. It says nothing to the file systems and partition tables on the disk.
func (d *Disk) Resize(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.img.geometry
	switch {
	case size <= 0 || size > MaxSize || size%old.sector != 0:
		return fmt.Errorf("vhdx: disk size %d, want a multiple of %d up to %d", size, old.sector, int64(MaxSize))
	case size == old.size:
		return nil
	}
	if newGeometry(size, old.blockSize, old.sector).entries(d.img.locator != nil) > maxBATEntries {
		return fmt.Errorf("vhdx: disk size %d in blocks of %d, want larger blocks", size, old.blockSize)
	}
	if err := d.start(); err != nil {
		return err
	}
	if err := d.sync(); err != nil {
		return err
	}
	var err error
	if size > old.size {
		err = d.grow(size)
	} else {
		err = d.shrink(size)
	}
	if err != nil {
		return d.fail(err)
	}
	return nil
}

// setSize writes the disk's size into the metadata.
func (d *Disk) setSize(size int64) error {
	if err := d.f.Sync(); err != nil {
		return err
	}
	if err := writeFull(d.f, binary.LittleEndian.AppendUint64(nil, uint64(size)), d.img.sizeAt); err != nil {
		return err
	}
	d.img.geometry.size = size
	return d.f.Sync()
}

// shrink makes the disk smaller. Its size goes first, then the entries of the BAT that are behind its end.
func (d *Disk) shrink(size int64) error {
	if err := d.setSize(size); err != nil {
		return err
	}
	m := &d.img
	first := m.clearBehind(m.bat)
	if err := writeFull(d.f, encodeBAT(m.bat[first:]), m.batAt+8*first); err != nil {
		return err
	}
	m.bat = m.bat[:m.entries(m.locator != nil)]
	return d.f.Sync()
}

// clearBehind makes the entries of blocks behind the end of the disk zero: a greater disk may have left them. It returns
// the first entry that it looked at.
func (m *image) clearBehind(bat []batEntry) (first int64) {
	first = min(m.payload(m.blocks()-1)+1, int64(len(bat)))
	for i := first; i < int64(len(bat)); i++ {
		if i != m.bitmap(m.blocks()-1) { // of blocks that are there, too
			bat[i] = 0
		}
	}
	return first
}

func encodeBAT(bat []batEntry) []byte {
	b := make([]byte, 0, 8*len(bat))
	for _, e := range bat {
		b = binary.LittleEndian.AppendUint64(b, uint64(e))
	}
	return b
}

// grow makes the disk greater: first all that its new end will show is made zero, and the BAT long enough; then its
// size is written.
func (d *Disk) grow(size int64) error {
	m := &d.img
	if err := d.clearTail(); err != nil {
		return err
	}
	to := newGeometry(size, m.blockSize, m.sector)
	n := to.entries(m.locator != nil)
	bat := append(slices.Clone(m.bat), make([]batEntry, n-int64(len(m.bat)))...)
	first := m.clearBehind(bat)
	if m.locator != nil || m.kind() == Fixed {
		if err := d.fillGrown(bat, to); err != nil {
			return err
		}
	}
	if err := d.f.Sync(); err != nil {
		return err
	}
	if 8*n <= m.batRoom {
		if err := writeFull(d.f, encodeBAT(bat[first:]), m.batAt+8*first); err != nil {
			return err
		}
	} else if err := d.moveBAT(encodeBAT(bat)); err != nil {
		return err
	}
	m.bat = bat
	return d.setSize(size)
}

// fillGrown makes the new blocks of a disk zero: present ones in a fixed disk, zero ones where a parent would else
// shine through.
func (d *Disk) fillGrown(bat []batEntry, to geometry) error {
	m := &d.img
	if err := d.f.Truncate(d.end); err != nil { // what lies there belongs to nobody
		return err
	}
	for i := m.blocks(); i < to.blocks(); i++ {
		if m.locator != nil {
			bat[to.payload(i)] = place(0, stateZero)
			continue
		}
		bat[to.payload(i)] = place(d.end, statePresent)
		d.end += m.blockSize
	}
	m.size = d.end
	return d.f.Truncate(d.end)
}

// clearTail makes the part of the last block zero that is behind the end of the disk, and whole where it was cut.
func (d *Disk) clearTail() error {
	m := &d.img
	i := m.blocks() - 1
	in := m.geometry.size - i*m.blockSize
	e := m.bat[m.payload(i)]
	if in == m.blockSize {
		return nil
	}
	if m.locator != nil && !e.inFile() {
		// A greater parent has something behind the child's end.
		if m.parent == nil {
			return fmt.Errorf("vhdx: growing a differencing disk: %w", ErrNoParent)
		}
		if start, _ := m.parent.NextAllocated(m.geometry.size); e.state() != stateNotPresent || start >= (i+1)*m.blockSize {
			return nil
		}
		if err := d.allocate(i); err != nil {
			return err
		}
		return d.sync()
	}
	if e.state() == statePartial {
		if err := d.fillIn(i, e); err != nil {
			return err
		}
		if err := d.sync(); err != nil {
			return err
		}
	}
	if !e.inFile() {
		return nil
	}
	stop := e.offset() + m.blockSize
	if n := m.owner(e.offset()+in, stop); n != "" {
		return fmt.Errorf("vhdx: growing a disk whose last block shares its end with %s, want it converted: %w", n, errors.ErrUnsupported)
	}
	if stop > m.size { // QEMU cuts the last block
		if err := d.f.Truncate(stop); err != nil {
			return err
		}
		m.size = stop
	}
	return d.zero(e.offset()+in, m.blockSize-in)
}

// owner names what has a byte of a range of the file, apart from the last block of the disk.
func (m *image) owner(start, end int64) string {
	list, names := m.fixedExtents()
	for i, e := range list {
		if e.start < end && start < e.end {
			return names[i]
		}
	}
	for i, e := range m.bat {
		if n := m.entryLength(int64(i)); e.inFile() && e.offset() < end && start < e.offset()+n {
			return fmt.Sprintf("the block of BAT entry %d", i)
		}
	}
	return ""
}

func (d *Disk) zero(at, n int64) error {
	buf := make([]byte, min(n, mib))
	for n > 0 {
		p := buf[:min(n, int64(len(buf)))]
		if err := writeFull(d.f, p, at); err != nil {
			return err
		}
		at, n = at+int64(len(p)), n-int64(len(p))
	}
	return nil
}

// moveBAT writes the BAT behind everything else and then its new place into both region tables, one after the other.
// With either the disk is the same.
func (d *Disk) moveBAT(b []byte) error {
	m := &d.img
	at, room := d.end, roundUp(int64(len(b)), mib)
	if err := d.f.Truncate(at); err != nil {
		return err
	}
	if err := d.f.Truncate(at + room); err != nil {
		return err
	}
	if err := writeFull(d.f, b, at); err != nil {
		return err
	}
	for i := range m.regions {
		if m.regions[i].GUID == regionBAT {
			m.regions[i].Offset, m.regions[i].Length = uint64(at), uint32(room)
		}
	}
	table := marshalRegions(m.regions)
	for i := range 2 {
		if err := d.f.Sync(); err != nil {
			return err
		}
		if err := writeFull(d.f, table, int64(regionAt+i*regionStep)); err != nil {
			return err
		}
	}
	m.batAt, m.batRoom, d.end, m.size = at, room, at+room, at+room
	return nil
}

// Merge writes what child has of its own into d, and syncs. If d is the parent, its content is then the child's, and the
// child of no more use. A merge that was cut off can be done again: the parent keeps its identity until all is there.
func (d *Disk) Merge(child *Reader) error {
	if child.Size() > d.Size() {
		return fmt.Errorf("vhdx: child of %d bytes, want at most the %d of the parent", child.Size(), d.Size())
	}
	d.mu.Lock()
	if d.started {
		d.mu.Unlock()
		return errors.New("vhdx: merge into a disk that was changed already, want it before")
	}
	d.merging = true
	d.mu.Unlock()
	if err := d.copyOwn(child); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.sync(); err != nil {
		return err
	}
	d.merging = false
	if !d.started { // the child has nothing of its own
		return nil
	}
	d.img.head.DataWriteGUID = guid.New()
	return d.fail(d.writeHeaders())
}

func (d *Disk) copyOwn(child *Reader) error {
	buf := make([]byte, mib)
	for at := int64(0); ; {
		start, end, err := child.NextOwn(at)
		if err != nil || start == end {
			return err
		}
		for at = start; at < end; {
			p := buf[:min(int64(len(buf)), end-at)]
			if _, err := child.ReadAt(p, at); err != nil && err != io.EOF {
				return err
			}
			if _, err := d.WriteAt(p, at); err != nil {
				return err
			}
			at += int64(len(p))
		}
	}
}
