package vhd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"
	"unicode/utf16"
)

// A File is what a Writer writes to; *os.File is one. Bytes that were never written must read as zeros, also when
// writes go past the end.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// Options describes a disk to write. Size must be given; the zero value of the rest makes a dynamic disk that every
// Windows since 7 and QEMU read. The same options and the same calls make the same bytes.
type Options struct {
	Type           Type      // Dynamic or Fixed; 0 means Dynamic, or Differencing with Parent
	Size           int64     // of the disk in bytes, a multiple of 512; see RoundSize
	BlockSize      int64     // of a dynamic disk: 2 MiB or 512 KiB, the sizes that Windows writes; 0 means 2 MiB
	ID             [16]byte  // unique id, in the order in which it is spelled
	Time           time.Time // of creation; the zero value is written as 2000-01-01 00:00 UTC
	Creator        string    // 4 characters; "" means "win "
	CreatorVersion uint32    // 0 means 0x000a0000, Windows 10

	// Parent makes a differencing disk whose content is the parent's. Its ID must be the parent's unique id, and Size the
	// size of the parent.
	Parent *ParentLocator
}

const (
	defaultBlockSize = 2 << 20
	smallBlockSize   = 512 << 10
	tableOffset      = 0x1000 // of the BAT: its data is aligned too
	dataAlign        = 4096
)

// A Writer writes a disk into a VHD file. The file is no valid VHD until Close has returned nil: until then it has no
// header, and a fixed disk no footer.
//
// WriteAt may be called from several goroutines for ranges that do not overlap. Blocks of a dynamic disk stand in the
// file in the order in which they were first needed, so where several goroutines write, and the bytes are to be the
// same each time, Reserve the used ranges in order first.
type Writer struct {
	f    File
	opts Options
	tail footer

	blockSize  int64
	bitmapSize int64
	tableAt    int64
	head       header // of a dynamic or differencing disk
	locators   []chunk

	mu     sync.Mutex
	bat    []uint32
	end    int64 // of what has a place in the file; the footer goes there
	err    error // of the first failure; it stays
	closed bool
}

// Create starts a disk in f, whose content it drops. It fails on a size that Windows and QEMU would read differently:
// one that is not the product of its geometry, with a creator other than "win " and the few that QEMU knows.
func Create(f File, opts *Options) (*Writer, error) {
	w := &Writer{f: f}
	if opts != nil {
		w.opts = *opts
	}
	if err := w.opts.complete(); err != nil {
		return nil, err
	}
	stamp, err := timestamp(w.opts.Time)
	if err != nil {
		return nil, err
	}
	o := &w.opts
	w.tail = footer{
		Magic:          [8]byte([]byte(footerMagic)),
		Features:       2,
		Version:        version1,
		DataOffset:     noOffset,
		Timestamp:      stamp,
		Creator:        [4]byte([]byte(o.Creator)),
		CreatorVersion: o.CreatorVersion,
		HostOS:         [4]byte{'W', 'i', '2', 'k'},
		OriginalSize:   uint64(o.Size),
		CurrentSize:    uint64(o.Size),
		Geometry:       Geometry(o.Size),
		Type:           o.Type,
		ID:             o.ID,
	}
	if o.Type != Fixed {
		w.tail.DataOffset = headerOffset
		if err := w.layOut(); err != nil {
			return nil, err
		}
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	return w, nil
}

// complete fills in what is zero and checks the rest.
func (o *Options) complete() error {
	if o.Type == 0 {
		o.Type = Dynamic
		if o.Parent != nil {
			o.Type = Differencing
		}
	}
	if o.BlockSize == 0 {
		o.BlockSize = defaultBlockSize
	}
	if o.Creator == "" {
		o.Creator = "win "
	}
	if o.CreatorVersion == 0 {
		o.CreatorVersion = 0x000a0000
	}
	switch {
	case o.Type < Fixed || o.Type > Differencing || (o.Type == Differencing) != (o.Parent != nil):
		return fmt.Errorf("vhd: disk %v, want fixed or dynamic, or differencing with a parent", o.Type)
	case o.Size%sectorSize != 0:
		return fmt.Errorf("vhd: disk size %d, want a multiple of %d", o.Size, sectorSize)
	case o.BlockSize != defaultBlockSize && o.BlockSize != smallBlockSize:
		return fmt.Errorf("vhd: block size %d, want %d or %d", o.BlockSize, defaultBlockSize, smallBlockSize)
	case len(o.Creator) != 4:
		return fmt.Errorf("vhd: creator %q, want 4 characters", o.Creator)
	}
	if err := checkSize(o.Size); err != nil {
		return err
	}
	if g := Geometry(o.Size); !sizeCreators[o.Creator] && !unambiguous(o.Size, g) {
		return fmt.Errorf("vhd: with creator %q QEMU would read %d bytes instead of %d, from the geometry %v", o.Creator, g.Size(), o.Size, g)
	}
	return nil
}

// layOut prepares an empty block table. It fails if the file of a full disk would be too large for its addresses.
func (w *Writer) layOut() error {
	w.blockSize = w.opts.BlockSize
	w.bitmapSize = bitmapSize(w.blockSize)
	w.bat = make([]uint32, blockCount(w.opts.Size, w.blockSize))
	for i := range w.bat {
		w.bat[i] = absent
	}
	w.head = header{
		Magic:           [8]byte([]byte(headerMagic)),
		DataOffset:      noOffset,
		Version:         version1,
		MaxTableEntries: uint32(len(w.bat)),
		BlockSize:       uint32(w.blockSize),
	}
	w.tableAt = tableOffset
	if err := w.placeLocators(); err != nil {
		return err
	}
	w.head.TableOffset = uint64(w.tableAt)
	w.end = w.tableAt + roundUp(4*int64(len(w.bat)), sectorSize)
	stride := roundUp(w.bitmapSize, dataAlign) + w.blockSize
	if full := w.end + dataAlign + int64(len(w.bat))*stride; full/sectorSize >= absent {
		return fmt.Errorf("vhd: disk size %d with blocks of %d, want larger blocks: the file would go over %d", w.opts.Size, w.blockSize, int64(absent)*sectorSize)
	}
	return nil
}

// placeLocators puts what the header says of the parent before the BAT, each path into space of its own.
func (w *Writer) placeLocators() error {
	p := w.opts.Parent
	if p == nil {
		return nil
	}
	stamp, err := timestamp(p.Time)
	if err != nil {
		return err
	}
	h := &w.head
	h.ParentID, h.ParentTimestamp = p.ID, stamp
	if name := utf16.Encode([]rune(p.Name)); len(name) < len(h.ParentName) {
		copy(h.ParentName[:], name)
	} else {
		return fmt.Errorf("vhd: parent name of %d UTF-16 units, want at most %d", len(name), len(h.ParentName)-1)
	}
	i := 0
	for _, l := range []struct{ code, path string }{{absoluteCode, p.AbsolutePath}, {relativeCode, p.RelativePath}} {
		if l.path == "" {
			continue
		}
		var b []byte
		for _, u := range utf16.Encode([]rune(l.path)) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		if len(b) > maxPath {
			return fmt.Errorf("vhd: parent path of %d bytes, want at most %d", len(b), maxPath)
		}
		space := roundUp(int64(len(b)), dataAlign)
		h.Locators[i] = locator{Code: [4]byte([]byte(l.code)), Space: uint32(space), Length: uint32(len(b)), Offset: uint64(w.tableAt)}
		w.locators = append(w.locators, chunk{append(b, make([]byte, space-int64(len(b)))...), w.tableAt})
		w.tableAt += space
		i++
	}
	return nil
}

// Size is the size of the disk in bytes.
func (w *Writer) Size() int64 { return w.opts.Size }

// FileSize is the size in bytes that a Close now gives, or has given, the file.
func (w *Writer) FileSize() int64 {
	if w.opts.Type == Fixed {
		return w.opts.Size + footerSize
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end + footerSize
}

// WriteAt writes to the disk as io.WriterAt says. It fails if p goes past the end of the disk, and after a failure all
// later calls fail too. Zeros written to a block that is not in the file take no room. The data goes straight to the
// file: whole blocks in one write, nothing is read back, and larger calls are faster.
func (w *Writer) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > w.opts.Size || int64(len(p)) > w.opts.Size-off {
		return 0, fmt.Errorf("vhd: write of %d bytes at %d, want it in the disk of %d", len(p), off, w.opts.Size)
	}
	switch {
	case w.opts.Type == Fixed:
		if err := w.state(); err != nil {
			return 0, err
		}
		return w.write(p, off)
	case w.opts.Parent != nil && len(p) > 0:
		return 0, errors.New("vhd: write to a new differencing disk, want it through OpenDisk, which knows the parent")
	}
	done := 0
	for done < len(p) {
		i, in := (off+int64(done))/w.blockSize, (off+int64(done))%w.blockSize
		part := p[done:]
		if left := w.blockSize - in; int64(len(part)) > left {
			part = part[:left]
		}
		start, err := w.place(i, func() bool { return !allZero(part) })
		if err != nil {
			return done, err
		}
		if start != 0 {
			if n, err := w.write(part, start+in); err != nil {
				return done + n, err
			}
		}
		done += len(part)
	}
	return done, nil
}

// Reserve gives the blocks of the n bytes at off their places in the file now, in the order of the disk, where they
// have none yet. On a fixed disk it does nothing.
func (w *Writer) Reserve(off, n int64) error {
	if off < 0 || n < 0 || off > w.opts.Size || n > w.opts.Size-off {
		return fmt.Errorf("vhd: %d bytes at %d reserved, want them in the disk of %d", n, off, w.opts.Size)
	}
	if w.opts.Type == Fixed || n == 0 {
		return w.state()
	}
	for i := off / w.blockSize; i <= (off+n-1)/w.blockSize; i++ {
		if _, err := w.place(i, func() bool { return true }); err != nil {
			return err
		}
	}
	return nil
}

// state is why the Writer takes no more calls.
func (w *Writer) state() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stateLocked()
}

func (w *Writer) stateLocked() error {
	if w.err == nil && w.closed {
		return fmt.Errorf("vhd: writer: %w", fs.ErrClosed)
	}
	return w.err
}

// place returns where the data of block i goes in the file. If the block has no place it gets one where need says so;
// otherwise the result is 0.
func (w *Writer) place(i int64, need func() bool) (int64, error) {
	w.mu.Lock()
	sector, err := w.bat[i], w.stateLocked()
	w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if sector == absent {
		if !need() {
			return 0, nil
		}
		return w.allocate(i)
	}
	return int64(sector)*sectorSize + w.bitmapSize, nil
}

// allocate is place for a block that has to get one, unless another goroutine was faster.
func (w *Writer) allocate(i int64) (int64, error) {
	w.mu.Lock()
	if sector := w.bat[i]; sector != absent {
		w.mu.Unlock()
		return int64(sector)*sectorSize + w.bitmapSize, nil
	}
	data := roundUp(w.end+w.bitmapSize, dataAlign)
	w.bat[i] = uint32((data - w.bitmapSize) / sectorSize) // layOut made sure that it fits
	w.end = data + w.blockSize
	w.mu.Unlock()
	// All sectors count as written: QEMU and Windows treat blocks of other writers so, and the file's holes are zeros.
	_, err := w.write(bytes.Repeat([]byte{0xff}, int(w.bitmapSize)), data-w.bitmapSize)
	return data, err
}

// write writes p to the file and keeps the first error.
func (w *Writer) write(p []byte, at int64) (int, error) {
	n, err := w.f.WriteAt(p, at)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err == nil {
			w.err = err
		}
	}
	return n, err
}

// Close completes the VHD; it does not close the file. It must come after all calls of WriteAt have returned. If one
// of them or Close itself failed, Close returns the error and the file is not a VHD. Close does not sync: who renames
// the file over another one should do that before.
func (w *Writer) Close() error {
	w.mu.Lock()
	err := w.stateLocked()
	w.closed = true
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if w.opts.Type == Fixed {
		err = w.writeAll(chunk{w.tail.marshal(), w.opts.Size})
	} else {
		err = w.finishDynamic()
	}
	if err != nil {
		// What was reported as failed may be in the file all the same. If even this fails there is no more to do.
		_ = w.f.Truncate(0)
	}
	return err
}

// chunk is bytes and their place in the file.
type chunk struct {
	b  []byte
	at int64
}

func (w *Writer) writeAll(list ...chunk) error {
	for _, c := range list {
		if _, err := w.write(c.b, c.at); err != nil {
			return err
		}
	}
	return nil
}

// finishDynamic writes the BAT, the footer, and in one last write what makes them a disk: the copy and the header.
func (w *Writer) finishDynamic() error {
	table := bytes.Repeat([]byte{0xff}, int(roundUp(4*int64(len(w.bat)), sectorSize)))
	for i, sector := range w.bat {
		binary.BigEndian.PutUint32(table[4*i:], sector)
	}
	tail := w.tail.marshal()
	list := append(w.locators, chunk{table, w.tableAt}, chunk{tail, w.end})
	return w.writeAll(append(list, chunk{append(tail, w.head.marshal()...), 0})...)
}

var zeros [64 << 10]byte

func allZero(p []byte) bool {
	for len(p) > len(zeros) {
		if !bytes.Equal(p[:len(zeros)], zeros[:]) {
			return false
		}
		p = p[len(zeros):]
	}
	return bytes.Equal(p, zeros[:len(p)])
}
