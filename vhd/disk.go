package vhd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"husk/internal/ondisk"
)

// An EditFile is what a Disk reads and changes; *os.File is one.
type EditFile interface {
	File
	io.ReaderAt
	Sync() error
}

// A Disk reads and changes a VHD file in place. It is safe for concurrent use.
//
// What is written to sectors that are in the file goes there at once. For a new block the footer is first written where
// it will be, then the block over the old one; the BAT names the block only once Sync has made sure that it is on the
// disk. The same goes for bits of sector bitmaps. So whatever is cut off, the file is valid, and has all that was
// written before the last Sync that returned: entries of the BAT and bitmaps do not cross the sectors of a disk.
//
// Nothing in a VHD tells its children that it was changed: do not change a disk that has some.
type Disk struct {
	mu      sync.RWMutex
	f       EditFile
	r       *Reader
	end     int64        // where the footer is, or is to be, and the next block goes
	pending map[int]what // blocks that are not in the file as they are in memory
	closed  bool
	err     error // of the first failure; it stays
}

// what is left to write of a block.
type what int

const (
	newBlock what = iota + 1 // its entry of the BAT
	allBits                  // its bitmap, all set
)

// OpenDisk opens the VHD in f, of size bytes, for reading and writing. o may be nil.
func OpenDisk(f EditFile, size int64, o *ReaderOptions) (*Disk, error) {
	r, err := NewChainReader(f, size, o)
	if err != nil {
		return nil, err
	}
	d := &Disk{f: f, r: r, pending: make(map[int]what)}
	_, place, err := findFooter(f, size)
	if err != nil {
		return nil, err
	}
	d.end = place.off
	if place.off == 0 { // the one at the end is damaged or lost: it may be anywhere behind the blocks
		d.end = roundUp(size, sectorSize)
	}
	if r.footer.Type != Fixed {
		d.end = max(d.end, r.blocksEnd())
	}
	return d, nil
}

// blocksEnd is where everything but the footer ends. The last block counts in full, also where the file cuts it.
func (d *Reader) blocksEnd() int64 {
	end := int64(d.header.TableOffset) + d.tableRoom()
	if end > d.info.FileSize { // a claim that the file does not bear out
		end = int64(d.header.TableOffset) + 4*int64(len(d.bat))
	}
	for _, e := range d.used {
		end = max(end, e.end)
	}
	for _, sector := range d.bat {
		if sector != absent {
			end = max(end, int64(sector)*sectorSize+d.bitmapSize+d.blockSize)
		}
	}
	return roundUp(end, sectorSize)
}

// Size is the size of the disk in bytes.
func (d *Disk) Size() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.r.size
}

// Info describes the file as it was when it was opened, but for its size.
func (d *Disk) Info() Info {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.r.Info()
}

// ReadAt reads from the disk as io.ReaderAt says, what was written included.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.r.ReadAt(p, off)
}

// NextAllocated is Reader.NextAllocated.
func (d *Disk) NextAllocated(off int64) (start, end int64) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.r.NextAllocated(off)
}

// WriteAt writes to the disk as io.WriterAt says. It fails if p goes past the end of the disk; after a failure of the
// file all later calls fail. Zeros written where the disk has none of its own and no parent take no room.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off < 0 || off > d.r.size || int64(len(p)) > d.r.size-off {
		return 0, fmt.Errorf("vhd: write of %d bytes at %d, want it in the disk of %d", len(p), off, d.r.size)
	}
	if err := d.state(); err != nil {
		return 0, err
	}
	if d.r.footer.Type == Fixed {
		return len(p), d.keep(d.write(p, off))
	}
	done := 0
	for done < len(p) {
		pos := off + int64(done)
		part := p[done:]
		if left := d.r.blockSize - pos%d.r.blockSize; int64(len(part)) > left {
			part = part[:left]
		}
		if err := d.writeBlock(part, int(pos/d.r.blockSize), pos%d.r.blockSize); err != nil {
			return done, d.keep(err)
		}
		done += len(part)
	}
	return done, nil
}

// state is why the Disk takes no more calls.
func (d *Disk) state() error {
	if d.err == nil && d.closed {
		return fmt.Errorf("vhd: disk: %w", fs.ErrClosed)
	}
	return d.err
}

// keep keeps the first error.
func (d *Disk) keep(err error) error {
	if d.err == nil {
		d.err = err
	}
	return err
}

func (d *Disk) write(p []byte, at int64) error {
	n, err := d.f.WriteAt(p, at)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// writeBlock writes p at offset in of block i.
func (d *Disk) writeBlock(p []byte, i int, in int64) error {
	if d.r.bat[i] == absent {
		if start, _ := d.r.NextAllocated(int64(i)*d.r.blockSize + in); start >= int64(i)*d.r.blockSize+in+int64(len(p)) && allZero(p) {
			return nil
		}
		if err := d.allocate(i); err != nil {
			return err
		}
	} else if err := d.fillIn(i); err != nil {
		return err
	}
	return d.write(p, d.dataAt(i)+in)
}

func (d *Disk) dataAt(i int) int64 { return int64(d.r.bat[i])*sectorSize + d.r.bitmapSize }

// allocate gives block i a place at the end of the file, with the content that it has now.
func (d *Disk) allocate(i int) error {
	r := d.r
	data := roundUp(d.end+r.bitmapSize, dataAlign)
	next := data + r.blockSize
	if next/sectorSize >= absent {
		return fmt.Errorf("vhd: a new block at %#x, want the file to end below %#x", data, int64(absent)*sectorSize)
	}
	if err := d.write(r.footer.marshal(), next); err != nil {
		return err
	}
	if err := d.write(make([]byte, footerSize), d.end); err != nil {
		return err
	}
	d.end = next
	bits := make([]byte, r.bitmapSize)
	for i := range bits {
		bits[i] = 0xff
	}
	if err := d.write(bits, data-r.bitmapSize); err != nil {
		return err
	}
	if err := d.copyIn(i, data); err != nil {
		return err
	}
	r.bat[i] = uint32((data - r.bitmapSize) / sectorSize)
	r.full[i/32].Or(1 << (i % 32))
	r.info.Allocated++
	d.pending[i] = newBlock
	return nil
}

// copyIn copies what block i reads as to its new place, where all is zero.
func (d *Disk) copyIn(i int, data int64) error {
	base := int64(i) * d.r.blockSize
	end := min(base+d.r.blockSize, d.r.size)
	buf := make([]byte, min(d.r.blockSize, 1<<20))
	for at := base; ; {
		start, stop := d.r.NextAllocated(at)
		if start >= end {
			return nil
		}
		p := buf[:min(int64(len(buf)), min(stop, end)-start)]
		if err := d.r.readBelow(p, start); err != nil {
			return err
		}
		if err := d.write(p, data+start-base); err != nil {
			return err
		}
		at = start + int64(len(p))
	}
}

// fillIn makes block i, which is in the file, complete: sectors that are the parent's, or zero, are written to their
// places in the block, which nobody reads until the bitmap says so.
func (d *Disk) fillIn(i int) error {
	bitmap, err := d.r.bitmap(i)
	if bitmap == nil || err != nil {
		return err
	}
	base := int64(i) * d.r.blockSize
	sectors := min(d.r.blockSize, d.r.size-base) / sectorSize
	for s := int64(0); s < sectors; {
		n := int64(0)
		for s+n < sectors && n < 2048 && !bit(bitmap, s+n) {
			n++
		}
		if n > 0 {
			p := make([]byte, n*sectorSize)
			if err := d.r.readBelow(p, base+s*sectorSize); err != nil {
				return err
			}
			if err := d.write(p, d.dataAt(i)+s*sectorSize); err != nil {
				return err
			}
		}
		s += max(n, 1)
	}
	d.r.full[i/32].Or(1 << (i % 32))
	if d.pending[i] == 0 {
		d.pending[i] = allBits
	}
	return nil
}

// Sync makes sure that all that was written is on the disk: the blocks, and then what names them.
func (d *Disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sync()
}

func (d *Disk) sync() error {
	if d.err != nil {
		return d.err
	}
	if err := d.f.Sync(); err != nil {
		return d.keep(err)
	}
	if len(d.pending) == 0 {
		return nil
	}
	list := make([]int, 0, len(d.pending))
	for i := range d.pending {
		list = append(list, i)
	}
	slices.Sort(list)
	for _, i := range list {
		if err := d.settle(i); err != nil {
			return d.keep(err)
		}
	}
	if err := d.f.Sync(); err != nil {
		return d.keep(err)
	}
	clear(d.pending)
	return nil
}

// settle writes what makes the content of block i valid.
func (d *Disk) settle(i int) error {
	if d.pending[i] == newBlock {
		return d.write(binary.BigEndian.AppendUint32(nil, d.r.bat[i]), int64(d.r.header.TableOffset)+4*int64(i))
	}
	at := int64(d.r.bat[i]) * sectorSize
	bits, err := ondisk.ReadAt(d.f, at, d.r.bitmapSize, maxBlockSize/sectorSize/8)
	if err != nil {
		return err
	}
	sectors := min(d.r.blockSize, d.r.size-int64(i)*d.r.blockSize) / sectorSize
	for s := range sectors {
		bits[s/8] |= 0x80 >> (s % 8)
	}
	return d.write(bits, at)
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
	if d.r.parent != nil {
		err = errors.Join(err, d.r.parent.Close())
	}
	return err
}

// Resize gives the disk a new size, a multiple of 512. What a greater disk has more is zero; what a smaller one has less
// is lost. It says nothing to the file systems and partition tables on the disk. A differencing disk has the size of its
// parent: resizing one is an error that wraps errors.ErrUnsupported.
func (d *Disk) Resize(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.canResize(size); err != nil || size == d.r.size {
		return err
	}
	if err := d.sync(); err != nil {
		return err
	}
	switch {
	case d.r.footer.Type == Fixed:
		return d.keep(d.resizeFixed(size))
	case size > d.r.size:
		return d.keep(d.grow(size))
	}
	return d.keep(d.shrink(size))
}

func (d *Disk) canResize(size int64) error {
	if err := d.state(); err != nil {
		return err
	}
	if err := checkSize(size); err != nil {
		return err
	}
	f := d.r.footer
	creator := string(f.Creator[:])
	switch g := Geometry(size); {
	case size%sectorSize != 0:
		return fmt.Errorf("vhd: disk size %d, want a multiple of %d", size, sectorSize)
	case f.Type == Differencing:
		return fmt.Errorf("vhd: resizing a differencing disk, want it merged: %w", errors.ErrUnsupported)
	case !sizeCreators[creator] && !unambiguous(size, g):
		return fmt.Errorf("vhd: with creator %q QEMU would read %d bytes instead of %d, from the geometry %v", creator, g.Size(), size, g)
	case f.Type == Dynamic && blockCount(size, d.r.blockSize) > maxBATEntries:
		return fmt.Errorf("vhd: disk size %d in blocks of %d, want larger blocks", size, d.r.blockSize)
	}
	return nil
}

// setSize writes the footer with a new size: first at the end, where it counts, then the copy.
func (d *Disk) setSize(size int64) error {
	f := d.r.footer
	f.CurrentSize, f.Geometry = uint64(size), Geometry(size)
	d.r.size, d.r.info.Size, d.r.info.Geometry = size, size, f.Geometry
	if err := d.f.Sync(); err != nil {
		return err
	}
	if err := d.write(f.marshal(), d.end); err != nil {
		return err
	}
	if f.Type == Fixed {
		return d.f.Sync()
	}
	if err := d.f.Sync(); err != nil {
		return err
	}
	if err := d.write(f.marshal(), 0); err != nil {
		return err
	}
	return d.f.Sync()
}

// resizeFixed moves the footer. A fixed disk has only one: the old one stays until the new one is on the disk. A cut in
// between leaves the new size with the old footer in what is new, or the old size without what is to be lost.
func (d *Disk) resizeFixed(size int64) error {
	oldSize, oldEnd := d.r.size, d.end
	if gap := min(oldEnd, size) - oldSize; gap > 0 { // bytes between the disk and its footer
		if err := d.zero(oldSize, gap); err != nil {
			return err
		}
	}
	d.end = size
	if err := d.setSize(size); err != nil {
		return err
	}
	var err error
	if size > oldEnd {
		err = d.zero(oldEnd, min(footerSize, size-oldEnd))
	} else {
		err = d.f.Truncate(size + footerSize)
	}
	if err != nil {
		return err
	}
	return d.f.Sync()
}

func (d *Disk) zero(at, n int64) error {
	buf := make([]byte, min(n, 1<<20))
	for n > 0 {
		p := buf[:min(n, int64(len(buf)))]
		if err := d.write(p, at); err != nil {
			return err
		}
		at, n = at+int64(len(p)), n-int64(len(p))
	}
	return nil
}

// shrink makes the disk smaller, then forgets the blocks behind its end.
func (d *Disk) shrink(size int64) error {
	r := d.r
	if err := d.setSize(size); err != nil {
		return err
	}
	n := int(blockCount(size, r.blockSize))
	for _, sector := range r.bat[n:] {
		if sector != absent {
			r.info.Allocated--
		}
	}
	if err := d.write(absentEntries(len(r.bat)-n), int64(r.header.TableOffset)+4*int64(n)); err != nil {
		return err
	}
	r.bat, r.info.Blocks = r.bat[:n], int64(n)
	return d.f.Sync()
}

func absentEntries(n int) []byte {
	b := make([]byte, 4*n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// grow makes the disk greater: first its last block whole and zero behind the end, then the BAT long enough, then the
// size.
func (d *Disk) grow(size int64) error {
	r := d.r
	if err := d.clearTail(); err != nil {
		return err
	}
	n := int(blockCount(size, r.blockSize))
	more := absentEntries(n - len(r.bat))
	if at := int64(r.header.TableOffset); 4*int64(n) <= r.tableRoom() && r.free(at+4*int64(len(r.bat)), at+4*int64(n)) {
		// Entries behind the end of the disk may be left from a greater one.
		if err := d.write(more, int64(r.header.TableOffset)+4*int64(len(r.bat))); err != nil {
			return err
		}
	} else if err := d.moveTable(more); err != nil {
		return err
	}
	r.header.MaxTableEntries = max(r.header.MaxTableEntries, uint32(n))
	if err := d.f.Sync(); err != nil {
		return err
	}
	// The first sector of the header has all that changes, so that it is written as a whole or not.
	if err := d.write(r.header.marshal()[:sectorSize], int64(r.footer.DataOffset)); err != nil {
		return err
	}
	for range n - len(r.bat) {
		r.bat = append(r.bat, absent)
	}
	full := make([]atomic.Uint32, (n+31)/32)
	for i := range r.full {
		full[i].Store(r.full[i].Load())
	}
	r.full, r.info.Blocks = full, int64(n)
	return d.setSize(size)
}

// tableRoom is how many bytes the BAT has, with the padding of its last sector.
func (d *Reader) tableRoom() int64 {
	return roundUp(int64(d.header.TableOffset)+4*int64(d.header.MaxTableEntries), sectorSize) - int64(d.header.TableOffset)
}

// free reports whether nothing in the file has bytes of a range. A header may claim more room for the BAT than there is.
func (d *Reader) free(start, end int64) bool {
	for _, e := range d.used {
		if e.start < end && start < e.end {
			return false
		}
	}
	for _, sector := range d.bat {
		if at := int64(sector) * sectorSize; sector != absent && at < end && start < at+d.bitmapSize+d.blockSize {
			return false
		}
	}
	return true
}

// clearTail makes the part of the last block zero that is behind the end of the disk.
func (d *Disk) clearTail() error {
	r := d.r
	i := len(r.bat) - 1
	in := r.size - int64(i)*r.blockSize
	if in == r.blockSize || r.bat[i] == absent {
		return nil
	}
	if err := d.fillIn(i); err != nil {
		return err
	}
	start, stop := d.dataAt(i)+in, d.dataAt(i)+r.blockSize
	for j, sector := range r.bat[:i] {
		if at := int64(sector) * sectorSize; sector != absent && at < stop && start < at+r.bitmapSize+r.blockSize {
			return fmt.Errorf("vhd: growing a disk whose last block shares its end with block %d, want it converted: %w", j, errors.ErrUnsupported)
		}
	}
	// Some writers cut the block where the disk ends: then the footer is in the way. OpenDisk put end behind it.
	if err := d.write(r.footer.marshal(), d.end); err != nil {
		return err
	}
	if err := d.zero(start, stop-start); err != nil {
		return err
	}
	delete(d.pending, i)
	at := int64(r.bat[i]) * sectorSize
	bits := absentEntries(int(r.bitmapSize / 4))
	if err := d.f.Sync(); err != nil {
		return err
	}
	return d.write(bits, at)
}

// moveTable writes the BAT with more entries behind everything else. The header names it later.
func (d *Disk) moveTable(more []byte) error {
	r := d.r
	b := make([]byte, 0, 4*len(r.bat)+len(more))
	for _, sector := range r.bat {
		b = binary.BigEndian.AppendUint32(b, sector)
	}
	b = append(b, more...)
	for len(b)%sectorSize != 0 {
		b = append(b, 0xff)
	}
	at := roundUp(d.end, dataAlign)
	next := at + int64(len(b))
	if err := d.write(r.footer.marshal(), next); err != nil {
		return err
	}
	if err := d.write(make([]byte, footerSize), d.end); err != nil {
		return err
	}
	if err := d.write(b, at); err != nil {
		return err
	}
	r.header.TableOffset, d.end = uint64(at), next
	return nil
}

// Merge writes what child has of its own into d, and syncs. If d is the parent, its content is then the child's, and the
// child of no more use. A merge that was cut off can be done again.
func (d *Disk) Merge(child *Reader) error {
	if child.Size() > d.Size() {
		return fmt.Errorf("vhd: child of %d bytes, want at most the %d of the parent", child.Size(), d.Size())
	}
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		start, end, err := child.NextOwn(at)
		if err != nil {
			return err
		}
		if start == end {
			return d.Sync()
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
