package vhdx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"husk/guid"
)

// Options describes a disk to write. Size must be given; the zero value of the rest makes a dynamic disk as Windows
// does. The same options and the same calls make the same bytes.
type Options struct {
	Type           Type  // Dynamic, Fixed; Differencing with Parent
	Size           int64 // of the disk in bytes, a multiple of the logical sector size
	BlockSize      int64 // a power of two from 1 to 256 MiB; 0 means 32 MiB, and 2 MiB with Parent, as Windows has it
	LogicalSector  int   // 512 or 4096; 0 means 512
	PhysicalSector int   // 512 or 4096; 0 means 4096
	Creator        string
	ID             guid.GUID // of the virtual disk: page 83 data
	FileWriteGUID  guid.GUID
	DataWriteGUID  guid.GUID // children will know the disk by it; New if zero

	// Parent makes a differencing disk whose content is the parent's. Linkage must be the parent's Info.DataWriteGUID,
	// and the sizes those of the parent.
	Parent *ParentLocator
}

const (
	defaultBlockSize = 32 << 20
	childBlockSize   = 2 << 20

	writerLog     = 1 * mib // places of what Writer lays out
	writerMeta    = 2 * mib
	writerBAT     = 3 * mib
	writerLogSize = mib
)

// A Writer writes a disk into a VHDX file in one pass. The file is no valid VHDX until Close has returned nil: until
// then its first MiB is empty. The log of a complete file is empty too: nothing is left to replay.
//
// WriteAt may be called from several goroutines for ranges that do not overlap. Blocks of a dynamic disk stand in the
// file in the order in which they were first needed, so where several goroutines write, and the bytes are to be the
// same each time, Reserve the used ranges in order first.
type Writer struct {
	f    File
	opts Options
	geometry

	mu     sync.Mutex
	bat    []batEntry
	end    int64 // of what has a place in the file
	err    error // of the first failure; it stays
	closed bool
}

// Create starts a disk in f, whose content it drops.
func Create(f File, opts *Options) (*Writer, error) {
	w := &Writer{f: f}
	if opts != nil {
		w.opts = *opts
	}
	o := &w.opts
	if err := o.complete(); err != nil {
		return nil, err
	}
	w.geometry = newGeometry(o.Size, o.BlockSize, int64(o.LogicalSector))
	n := w.entries(o.Parent != nil)
	if n > maxBATEntries {
		return nil, fmt.Errorf("vhdx: disk size %d in blocks of %d, want larger blocks", o.Size, o.BlockSize)
	}
	w.bat = make([]batEntry, n)
	w.end = writerBAT + roundUp(8*n, mib)
	if o.Type == Fixed {
		for i := range w.blocks() {
			w.bat[w.payload(i)] = place(w.end, statePresent)
			w.end += w.blockSize
		}
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	return w, nil
}

// complete fills in what is zero and checks the rest.
func (o *Options) complete() error {
	if o.Parent != nil && o.Type == Dynamic {
		o.Type = Differencing
	}
	if o.BlockSize == 0 {
		o.BlockSize = defaultBlockSize
		if o.Parent != nil {
			o.BlockSize = childBlockSize
		}
	}
	if o.LogicalSector == 0 {
		o.LogicalSector = 512
	}
	if o.PhysicalSector == 0 {
		o.PhysicalSector = 4096
	}
	if o.Creator == "" {
		o.Creator = "husk"
	}
	if (o.DataWriteGUID == guid.GUID{}) {
		o.DataWriteGUID = guid.New()
	}
	switch {
	case o.Type < Dynamic || o.Type > Differencing || (o.Type == Differencing) != (o.Parent != nil):
		return fmt.Errorf("vhdx: disk of type %d, want dynamic or fixed, or differencing with a parent", o.Type)
	case o.Parent != nil && o.Parent.Linkage == guid.GUID{}:
		return errors.New("vhdx: no linkage, want the parent's data write GUID")
	case o.LogicalSector != 512 && o.LogicalSector != 4096 || o.PhysicalSector != 512 && o.PhysicalSector != 4096:
		return fmt.Errorf("vhdx: sectors of %d and %d bytes, want 512 or 4096", o.LogicalSector, o.PhysicalSector)
	case o.Size <= 0 || o.Size > MaxSize || o.Size%int64(o.LogicalSector) != 0:
		return fmt.Errorf("vhdx: disk size %d, want a multiple of %d up to %d", o.Size, o.LogicalSector, int64(MaxSize))
	case o.BlockSize < minBlockSize || o.BlockSize > maxBlockSize || o.BlockSize&(o.BlockSize-1) != 0:
		return fmt.Errorf("vhdx: block size %d, want a power of two from 1 to 256 MiB", o.BlockSize)
	case len(utf16Bytes(o.Creator)) > 510:
		return fmt.Errorf("vhdx: creator of %d bytes, want at most 510", len(utf16Bytes(o.Creator)))
	}
	return nil
}

// Size is the size of the disk in bytes.
func (w *Writer) Size() int64 { return w.opts.Size }

// FileSize is the size in bytes that a Close now gives, or has given, the file.
func (w *Writer) FileSize() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end
}

// WriteAt writes to the disk as io.WriterAt says. It fails if p goes past the end of the disk, and after a failure all
// later calls fail too. Zeros written to a block that is not in the file take no room, unless the disk has a parent.
func (w *Writer) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > w.opts.Size || int64(len(p)) > w.opts.Size-off {
		return 0, fmt.Errorf("vhdx: write of %d bytes at %d, want it in the disk of %d", len(p), off, w.opts.Size)
	}
	if w.opts.Parent != nil && len(p) > 0 {
		return 0, errors.New("vhdx: write to a new differencing disk, want it through OpenDisk, which knows the parent")
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
			if err := w.write(part, start+in); err != nil {
				return done, err
			}
		}
		done += len(part)
	}
	return done, nil
}

// Reserve gives the blocks of the n bytes at off their places in the file now, in the order of the disk, where they
// have none yet.
func (w *Writer) Reserve(off, n int64) error {
	if off < 0 || n < 0 || off > w.opts.Size || n > w.opts.Size-off {
		return fmt.Errorf("vhdx: %d bytes at %d reserved, want them in the disk of %d", n, off, w.opts.Size)
	}
	for i := off / w.blockSize; n > 0 && i <= (off+n-1)/w.blockSize; i++ {
		if _, err := w.place(i, func() bool { return true }); err != nil {
			return err
		}
	}
	return nil
}

// place returns where block i is in the file. If it has no place it gets one where need says so; otherwise the result
// is 0.
func (w *Writer) place(i int64, need func() bool) (int64, error) {
	n := w.payload(i)
	w.mu.Lock()
	e, err := w.bat[n], w.state()
	w.mu.Unlock()
	if err != nil || e != 0 {
		return e.offset(), err
	}
	if !need() {
		return 0, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bat[n] == 0 {
		w.bat[n] = place(w.end, statePresent)
		w.end += w.blockSize
	}
	return w.bat[n].offset(), nil
}

// state is why the Writer takes no more calls. The caller holds the lock.
func (w *Writer) state() error {
	if w.err == nil && w.closed {
		return fmt.Errorf("vhdx: writer: %w", fs.ErrClosed)
	}
	return w.err
}

// write writes p to the file and keeps the first error.
func (w *Writer) write(p []byte, at int64) error {
	err := writeFull(w.f, p, at)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err == nil {
			w.err = err
		}
	}
	return err
}

// Close completes the VHDX; it does not close the file. It must come after all calls of WriteAt have returned. If one
// of them or Close itself failed, Close returns the error and the file is not a VHDX. Close does not sync.
func (w *Writer) Close() error {
	w.mu.Lock()
	err := w.state()
	w.closed = true
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if err = w.finish(); err != nil {
		// What was reported as failed may be in the file all the same. If even this fails there is no more to do.
		_ = w.f.Truncate(0)
	}
	return err
}

// finish writes everything but the blocks: what lies behind the first MiB, then that.
func (w *Writer) finish() error {
	table := encodeBAT(w.bat)
	table = append(table, make([]byte, roundUp(int64(len(table)), mib)-int64(len(table)))...)
	if err := w.f.Truncate(w.end); err != nil {
		return err
	}
	if err := w.write(w.opts.metadata(), writerMeta); err != nil {
		return err
	}
	if err := w.write(table, writerBAT); err != nil {
		return err
	}
	first := make([]byte, mib)
	copy(first, fileMagic)
	copy(first[8:], utf16Bytes(w.opts.Creator))
	for i := range 2 {
		h := header{
			Magic: [4]byte([]byte(headerMagic)), Sequence: uint64(1 + i),
			FileWriteGUID: w.opts.FileWriteGUID, DataWriteGUID: w.opts.DataWriteGUID,
			Version: 1, LogLength: writerLogSize, LogOffset: writerLog,
		}
		copy(first[headerAt+i*headerStep:], h.marshal())
		copy(first[regionAt+i*regionStep:], marshalRegions([]regionEntry{
			{GUID: regionBAT, Offset: writerBAT, Length: uint32(len(table)), Required: 1},
			{GUID: regionMeta, Offset: writerMeta, Length: mib, Required: 1},
		}))
	}
	return w.write(first, 0)
}

// metadata is the metadata region: the table and the items.
func (o *Options) metadata() []byte {
	params := uint32(0)
	if o.Type == Fixed {
		params = paramFixed
	}
	type item struct {
		id    guid.GUID
		flags uint32
		b     []byte
	}
	le := binary.LittleEndian
	items := []item{
		{itemParameters, metaRequired, nil},
		{itemSize, metaRequired | metaVirtual, le.AppendUint64(nil, uint64(o.Size))},
		{itemPage83, metaRequired | metaVirtual, o.ID[:]},
		{itemLogical, metaRequired | metaVirtual, le.AppendUint32(nil, uint32(o.LogicalSector))},
		{itemPhysical, metaRequired | metaVirtual, le.AppendUint32(nil, uint32(o.PhysicalSector))},
	}
	if o.Parent != nil {
		params |= paramParent
		items = append(items, item{itemParent, metaRequired, o.Parent.marshal()})
	}
	items[0].b = le.AppendUint32(le.AppendUint32(nil, uint32(o.BlockSize)), params)
	b := encode(metaTableSize, metaHeader{Magic: [8]byte([]byte(metadataMagic)), Count: uint16(len(items))})
	for i, it := range items {
		copy(b[32+32*i:], encode(32, metaEntry{GUID: it.id, Offset: uint32(len(b)), Length: uint32(len(it.b)), Flags: it.flags}))
		b = append(b, it.b...)
		b = append(b, make([]byte, roundUp(int64(len(b)), 16)-int64(len(b)))...)
	}
	return append(b, make([]byte, max(0, mib-len(b)))...)
}

// marshal is the parent locator as an item of the metadata.
func (l *ParentLocator) marshal() []byte {
	type entry struct{ key, value string }
	list := []entry{{"parent_linkage", "{" + l.Linkage.String() + "}"}}
	if (l.Linkage2 != guid.GUID{}) {
		list = append(list, entry{"parent_linkage2", "{" + l.Linkage2.String() + "}"})
	}
	for _, e := range []entry{{"relative_path", l.RelativePath}, {"volume_path", l.VolumePath}, {"absolute_win32_path", l.AbsolutePath}} {
		if e.value != "" {
			list = append(list, e)
		}
	}
	le := binary.LittleEndian
	b := le.AppendUint16(append([]byte(nil), locatorVHDX[:]...), 0)
	b = le.AppendUint16(b, uint16(len(list)))
	at := len(b) + 12*len(list)
	var text []byte
	for _, e := range list {
		key, value := utf16Bytes(e.key), utf16Bytes(e.value)
		b = le.AppendUint32(b, uint32(at+len(text)))
		b = le.AppendUint32(b, uint32(at+len(text)+len(key)))
		b = le.AppendUint16(b, uint16(len(key)))
		b = le.AppendUint16(b, uint16(len(value)))
		text = append(append(text, key...), value...)
	}
	return append(b, text...)
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
