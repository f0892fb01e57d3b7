package ntfs

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// rank is the place of a change among those of its transaction. All changes of a rank are durable before the next starts.
type rank int

const (
	rankDirty   rank                            = iota // the dirty flag is set in the $MFT
	rankMirror                                         // and in $MFTMirr
	rankLog                                            // $LogFile is emptied
	rankUse                                            // bits of what becomes used
	rankFresh                                          // what nothing durable points to yet
	rankMFT                                            // the $MFT's own record
	rankNew                                            // base records of new files
	rankFile                                           // records of files
	rankIndex                                          // records with an index, then its blocks, from the root down
	rankFree    = rankIndex + maxIndexDepth + 2        // base records of files that are gone
	rankFreeExt = rankFree + 1                         // extension records that are free now
	rankUnuse   = rankFree + 2                         // bits of what is free now
	rankClean   = rankFree + 3                         // the dirty flag is cleared in $MFTMirr
	rankEnd     = rankFree + 4                         // and in the $MFT
	rankUnknown = rankFree + 5
)

// unit is a piece of metadata that changes as a whole: a record, an index block, a piece of a bitmap or of another stream.
type unit struct {
	at   []piece // where it is on the device: one place, but where clusters are smaller than it
	data []byte
	old  []byte // what the device has
	rank rank
	bits bool // bits that become 1 are written at rankUse, those that become 0 at rankUnuse

	saved     []byte // before the operation underway
	savedRank rank
	isTouched bool
	isNew     bool // made by the operation underway
}

// piece is a range of bytes of the device.
type piece struct{ off, n int64 }

// overlay reads the device as the transaction changes it.
type overlay struct{ e *Editor }

func (o overlay) ReadAt(p []byte, off int64) (int, error) {
	e := o.e
	if u := e.units[off]; u != nil && len(u.at) == 1 && len(u.data) == len(p) {
		return copy(p, u.data), nil
	}
	n, err := e.d.ReadAt(p, off)
	if len(e.sectors) == 0 || n == 0 {
		return n, err
	}
	for s := off / sectorStride; s*sectorStride < off+int64(n); s++ {
		b, ok := e.sectors[s]
		if !ok {
			continue
		}
		if at := s*sectorStride - off; at >= 0 {
			copy(p[at:n], b)
		} else {
			copy(p[:n], b[-at:])
		}
	}
	return n, err
}

// pieces finds n bytes of a stream on the device.
func (e *Editor) pieces(extents []Extent, off, n int64) ([]piece, error) {
	cs := int64(e.v.ClusterSize)
	var list []piece
	for _, x := range extents {
		from, to := int64(x.VCN)*cs, (int64(x.VCN)+x.Clusters)*cs
		if n == 0 || off < from || off >= to {
			continue
		}
		if x.LCN == hole {
			return nil, fmt.Errorf("cluster %d is a hole", off/cs)
		}
		take := min(n, to-off)
		at := int64(x.LCN)*cs + off - from
		if k := len(list); k > 0 && list[k-1].off+list[k-1].n == at {
			list[k-1].n += take
		} else {
			list = append(list, piece{at, take})
		}
		off, n = off+take, n-take
	}
	if n > 0 {
		return nil, fmt.Errorf("%d bytes at %#x are not mapped", n, off)
	}
	return list, nil
}

// unitAt returns the unit of n bytes at a place of a stream, which it reads unless it is there.
func (e *Editor) unitAt(extents []Extent, off, n int64) (*unit, error) {
	at, err := e.pieces(extents, off, n)
	if err != nil {
		return nil, err
	}
	if u := e.units[at[0].off]; u != nil {
		if !slices.Equal(u.at, at) {
			return nil, fmt.Errorf("%d bytes at %#x of the volume belong to two structures", n, at[0].off)
		}
		e.touch(u)
		return u, nil
	}
	old := make([]byte, 0, n)
	for _, p := range at {
		if p.off%sectorStride != 0 || p.n%sectorStride != 0 || p.off > e.size-p.n {
			return nil, fmt.Errorf("%d bytes at %#x are not in whole sectors of the volume", p.n, p.off)
		}
		for s := p.off; s < p.off+p.n; s += sectorStride {
			if _, ok := e.sectors[s/sectorStride]; ok {
				return nil, fmt.Errorf("%d bytes at %#x of the volume belong to two structures", p.n, p.off)
			}
		}
		b := old[len(old) : len(old)+int(p.n)]
		if k, err := e.d.ReadAt(b, p.off); k < len(b) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		old = old[:len(old)+len(b)]
	}
	u := &unit{at: at, old: old, data: bytes.Clone(old), rank: rankUnknown}
	e.units[at[0].off] = u
	e.bytes += len(old)
	e.eachSector(u, func(s int64, b []byte) { e.sectors[s] = b })
	u.isTouched, u.isNew = true, true
	e.touched = append(e.touched, u)
	return u, nil
}

// touch saves a unit for rollback.
func (e *Editor) touch(u *unit) {
	if u.isTouched {
		return
	}
	u.isTouched = true
	u.saved, u.savedRank = append(u.saved[:0], u.data...), u.rank
	e.touched = append(e.touched, u)
}

// eachSector yields the sectors of a unit.
func (e *Editor) eachSector(u *unit, fn func(s int64, b []byte)) {
	at := 0
	for _, p := range u.at {
		for s := p.off; s < p.off+p.n; s += sectorStride {
			fn(s/sectorStride, u.data[at:at+sectorStride])
			at += sectorStride
		}
	}
}

// put gives a unit its new bytes. What was fresh stays so, unless it is freed.
func (u *unit) put(b []byte, r rank) {
	copy(u.data, b)
	if u.rank != rankFresh && u.rank != rankNew || r >= rankFree {
		u.rank = r
	}
}

// keep ends an operation that went well.
func (e *Editor) keep() {
	for _, u := range e.touched {
		u.isTouched, u.isNew = false, false
	}
	e.touched, e.moved = e.touched[:0], false
}

// rollback undoes the operation underway.
func (e *Editor) rollback() error {
	for _, u := range e.touched {
		if u.isNew {
			delete(e.units, u.at[0].off)
			e.eachSector(u, func(s int64, _ []byte) { delete(e.sectors, s) })
			e.bytes -= len(u.data)
			continue
		}
		copy(u.data, u.saved)
		u.rank = u.savedRank
	}
	moved := e.moved
	e.keep()
	clear(e.dirs)
	e.ids = nil
	if moved {
		return e.reopenMFT()
	}
	return nil
}

// writeData writes contents to clusters that are free on the disk.
func (e *Editor) writeData(p []byte, off int64) error {
	e.written = true
	e.wrote = append(e.wrote, keptBytes{off, int64(len(p)), crc32.Checksum(p, castagnoli)})
	return writeFull(e.d, p, off)
}

// keptBytes is what the transaction has written to free clusters, or relies on: its CRC-32C.
type keptBytes struct {
	off, size int64
	sum       uint32
}

// commit writes the transaction. See [Editor].
func (e *Editor) commit() error {
	if e.written {
		if err := e.d.Sync(); err != nil {
			return err
		}
		e.written = false
	}
	changes, err := e.changes()
	if err != nil {
		return err
	}
	kept, err := e.kept(changes)
	if err != nil {
		return err
	}
	journal := appendJournal(nil, e.id, kept, changes)
	if n := len(changes) + len(kept); len(journal) > maxJournal || n > maxJournalChanges {
		return fmt.Errorf("a transaction of %d changes and %d bytes, want at most %d and %d", n, len(journal), maxJournalChanges, maxJournal)
	}
	if err := e.j.Store(journal); err != nil {
		return err
	}
	if err := e.apply(changes); err != nil {
		return err
	}
	e.logEmpty = true
	return e.j.Clear()
}

// change is one write of a transaction.
type change struct {
	rank rank
	off  int64
	data []byte // nil: size bytes of 0xff
	old  []byte // what the device has before the transaction; nil for 0xff
	size int64
}

// changes lists the writes of the transaction in their order.
func (e *Editor) changes() ([]change, error) {
	var list []change
	add := func(u *unit, r rank, data []byte) {
		at := int64(0)
		for _, p := range u.at {
			list = append(list, change{rank: r, off: p.off, data: data[at : at+p.n], old: u.old[at : at+p.n], size: p.n})
			at += p.n
		}
	}
	for _, u := range e.units {
		if bytes.Equal(u.data, u.old) {
			continue
		}
		if !u.bits {
			add(u, u.rank, u.data)
			continue
		}
		both := bytes.Clone(u.old)
		for i, b := range u.data {
			both[i] |= b
		}
		if !bytes.Equal(both, u.old) {
			add(u, rankUse, both)
		}
		if !bytes.Equal(both, u.data) {
			add(u, rankUnuse, u.data)
		}
	}
	if err := e.flagChanges(add); err != nil {
		return nil, err
	}
	if err := e.logChanges(func(c change) { list = append(list, c) }); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b change) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.off, b.off)) })
	return list, nil
}

// flagChanges adds the record of $Volume with the dirty flag set, and without it.
func (e *Editor) flagChanges(add func(*unit, rank, []byte)) error {
	r, err := e.v.readRecord(recVolume)
	if err != nil {
		return err
	}
	for i, ranks := range [][2]rank{{rankDirty, rankMirror}, {rankEnd, rankClean}} {
		b := slices.Clone(r)
		attrs, err := b.appendAttrs(nil, recVolume)
		if err != nil {
			return err
		}
		j := findAttr(attrs, typeVolumeInformation, "")
		if j < 0 || attrs[j].nonResident() || attrs[j].size() < volumeInfoSize {
			return formatError(recordName(recVolume), 0, "no $VOLUME_INFORMATION of %d bytes in its base record", volumeInfoSize)
		}
		flags := attrs[j].value()[10:]
		if ranks[0] == rankDirty {
			le.PutUint16(flags, le.Uint16(flags)|volumeDirty)
		}
		protect(b, nextUSN(b, i+1))
		for k, s := range []*stream{e.v.mft, e.mirror} {
			off := int64(recVolume) * int64(e.v.RecordSize)
			if off >= s.size {
				continue
			}
			at, err := e.pieces(s.extents, off, int64(e.v.RecordSize))
			if err != nil {
				return err
			}
			old := make([]byte, 0, len(b))
			for _, p := range at {
				old = old[:len(old)+int(p.n)]
				if _, err := e.d.ReadAt(old[len(old)-int(p.n):], p.off); err != nil && err != io.EOF {
					return err
				}
			}
			add(&unit{at: at, old: old}, ranks[k], b)
		}
	}
	return nil
}

// nextUSN is the update sequence number of a record's or block's next version but n-1.
func nextUSN(b []byte, n int) uint16 {
	usn := le.Uint16(b[le.Uint16(b[4:]):])
	for range n {
		if usn++; usn == 0 || usn == 0xffff {
			usn = 1
		}
	}
	return usn
}

// logChanges adds the filling of $LogFile, unless it is all 0xff.
func (e *Editor) logChanges(add func(change)) error {
	if e.logEmpty {
		return nil
	}
	s, err := e.v.openNamed(recLogFile, typeData, "")
	if err != nil {
		return err
	}
	if s.extents == nil || s.flags != 0 {
		return formatError(recordName(recLogFile), 0, "$LogFile is resident, compressed or sparse")
	}
	buf := make([]byte, 1<<20)
	filled := true
	for off := int64(0); off < s.size && filled; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), s.size-off)]
		if _, err := s.ReadAt(p, off); err != nil && err != io.EOF {
			return err
		}
		filled = isFilled(p, 0xff)
	}
	if filled {
		return nil
	}
	head, rest, err := e.logPieces(s)
	if err != nil {
		return err
	}
	for _, p := range head {
		old := make([]byte, p.n)
		if _, err := e.d.ReadAt(old, p.off); err != nil && err != io.EOF {
			return err
		}
		add(change{rank: rankLog, off: p.off, size: p.n, data: bytes.Repeat([]byte{0xff}, int(p.n)), old: old})
	}
	for _, p := range rest {
		add(change{rank: rankLog, off: p.off, size: p.n})
	}
	return nil
}

// logHead is where drivers write whenever they mount a volume for changes: both restart pages.
const logHead = 64 << 10

// logPieces finds the head of $LogFile and the rest of it.
func (e *Editor) logPieces(s *stream) (head, rest []piece, err error) {
	size := s.size &^ (sectorStride - 1)
	n := min(logHead, size)
	if head, err = e.pieces(s.extents, 0, n); err == nil {
		rest, err = e.pieces(s.extents, n, size-n)
	}
	return head, rest, err
}

// kept lists what must be there when the transaction is finished later: the contents that it has written, but for those with metadata in
// them, and the head of the empty log, which shows that nobody has mounted the volume.
func (e *Editor) kept(changes []change) ([]keptBytes, error) {
	var places []piece
	emptied := false
	for _, c := range changes {
		places = append(places, piece{c.off, c.size})
		emptied = emptied || c.rank == rankLog
	}
	slices.SortFunc(places, func(a, b piece) int { return cmp.Compare(a.off, b.off) })
	list := slices.DeleteFunc(slices.Clone(e.wrote), func(c keptBytes) bool {
		i, _ := slices.BinarySearchFunc(places, c.off, func(p piece, off int64) int { return cmp.Compare(p.off+p.n-1, off) })
		return i < len(places) && places[i].off < c.off+c.size
	})
	if emptied {
		return list, nil
	}
	s, err := e.v.openNamed(recLogFile, typeData, "")
	if err != nil {
		return nil, err
	}
	head, _, err := e.logPieces(s)
	for _, p := range head {
		list = append(list, keptBytes{p.off, p.n, crc32.Checksum(bytes.Repeat([]byte{0xff}, int(p.n)), castagnoli)})
	}
	return list, err
}

// apply writes changes, which are in order.
func (e *Editor) apply(list []change) error {
	var fill []byte
	for i, c := range list {
		if i > 0 && c.rank != list[i-1].rank {
			if err := e.d.Sync(); err != nil {
				return err
			}
		}
		if c.data != nil {
			if err := writeFull(e.d, c.data, c.off); err != nil {
				return err
			}
			continue
		}
		if fill == nil {
			fill = bytes.Repeat([]byte{0xff}, 1<<20)
		}
		for off := c.off; off < c.off+c.size; off += int64(len(fill)) {
			if err := writeFull(e.d, fill[:min(int64(len(fill)), c.off+c.size-off)], off); err != nil {
				return err
			}
		}
	}
	return e.d.Sync()
}

func writeFull(w io.WriterAt, p []byte, off int64) error {
	n, err := w.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}
