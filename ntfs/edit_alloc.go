package ntfs

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// chunk is the size of the pieces in which bitmaps and other streams are changed: whole sectors, in one cluster.
func (e *Editor) chunk() int64 { return int64(min(e.v.ClusterSize, 4096)) }

// mark sets or clears count bits of a bitmap from bit first on. All of them must have the other value.
func (e *Editor) mark(extents []Extent, first, count int64, set bool) error {
	per := e.chunk() * 8
	for count > 0 {
		u, err := e.unitAt(extents, first/per*e.chunk(), e.chunk())
		if err != nil {
			return err
		}
		u.bits = true
		n := min(count, per-first%per)
		for i := first % per; i < first%per+n; i++ {
			if has := u.data[i/8]>>(i%8)&1 != 0; has == set {
				return fmt.Errorf("bit %d of a bitmap is %t already: the volume is damaged", first+i-first%per, set)
			}
			u.data[i/8] ^= 1 << (i % 8)
			if !set {
				e.hold(u, i)
			}
		}
		first, count = first+n, count-n
	}
	return nil
}

// hold keeps bit i of a unit from being used again in the transaction: contents go to the disk at once, and what the transaction has
// written to a cluster that it took and gave back is not there yet.
func (e *Editor) hold(u *unit, i int64) {
	at := i / 8
	for _, p := range u.at {
		if at < p.n {
			s := (p.off + at) / sectorStride
			if e.held[s] == nil {
				e.held[s] = new([sectorStride]byte)
			}
			e.held[s][at%sectorStride] |= 1 << (i % 8)
			return
		}
		at -= p.n
	}
}

// readUsed reads a piece of a bitmap that is outside the records: bits that are set on the disk, or were at any time in the transaction.
func (e *Editor) readUsed(extents []Extent, off, n int64) ([]byte, error) {
	at, err := e.pieces(extents, off, n)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, n)
	for _, p := range at {
		dst := b[len(b) : len(b)+int(p.n)]
		if k, err := e.d.ReadAt(dst, p.off); k < len(dst) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		for i := range p.n / sectorStride {
			sector := dst[i*sectorStride : (i+1)*sectorStride]
			for j, c := range e.sectors[p.off/sectorStride+i] {
				sector[j] |= c
			}
			if held := e.held[p.off/sectorStride+i]; held != nil {
				for j, c := range held {
					sector[j] |= c
				}
			}
		}
		b = b[:len(b)+int(p.n)]
	}
	return b, nil
}

// freeBits yields the runs of clear bits from bit first up to limit, cut at pieces of the bitmap.
func (e *Editor) freeBits(extents []Extent, first, limit int64, yield func(first, count int64) bool) error {
	const piece = 64 << 10
	for off := first / 8 / sectorStride * sectorStride; off*8 < limit; off += piece {
		n := align(min(piece, (limit+7)/8-off), sectorStride)
		b, err := e.readUsed(extents, off, n)
		if err != nil {
			return err
		}
		end := min(limit-off*8, int64(len(b))*8)
		for i := max(0, first-off*8); i < end; {
			if i%8 == 0 && b[i/8] == 0xff {
				rest := bytes.TrimLeft(b[i/8:], "\xff")
				i = int64(len(b)-len(rest)) * 8
				continue
			}
			c := b[i/8] >> (i % 8)
			if ones := int64(bits.TrailingZeros8(^c)); ones > 0 {
				i += min(ones, 8-i%8)
				continue
			}
			from := i
			for i < end {
				if i%8 == 0 && b[i/8] == 0 {
					i += 8
					continue
				}
				if b[i/8]>>(i%8)&1 != 0 {
					break
				}
				i++
			}
			if i = min(i, end); !yield(off*8+from, i-from) {
				return nil
			}
		}
	}
	return nil
}

// allocate takes n free clusters: those from hint on if they are free, else a run that is long enough, else several.
func (e *Editor) allocate(n int64, hint LCN) ([]run, error) {
	if n <= 0 {
		return nil, nil
	}
	if n > e.v.Clusters {
		return nil, fmt.Errorf("%w: %d clusters are needed, it has %d", ErrFull, n, e.v.Clusters)
	}
	runs, err := e.search(n, hint)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		if err := e.mark(e.bitmap.extents, int64(r.lcn), r.clusters, true); err != nil {
			return nil, err
		}
	}
	if last := runs[len(runs)-1]; hint <= 0 {
		e.nextCluster = last.lcn + LCN(last.clusters)
	}
	return runs, nil
}

func (e *Editor) search(n int64, hint LCN) ([]run, error) {
	free := func(from, to int64, yield func(first, count int64) bool) error {
		return e.freeBits(e.bitmap.extents, from, to, yield)
	}
	if hint > 0 && int64(hint)+n <= e.v.Clusters {
		var got int64
		if err := free(int64(hint), int64(hint)+n, func(_, count int64) bool { got += count; return true }); err != nil {
			return nil, err
		}
		if got == n {
			return []run{{hint, n}}, nil
		}
	}
	var parts []run // adjacent ones merged
	var total int64
	var whole *run
	take := func(first, count int64) bool {
		if k := len(parts); k > 0 && int64(parts[k-1].lcn)+parts[k-1].clusters == first {
			parts[k-1].clusters += count
		} else {
			parts = append(parts, run{LCN(first), count})
		}
		if last := parts[len(parts)-1]; last.clusters >= n {
			whole = &run{last.lcn, n}
			return false
		}
		total += count
		return true
	}
	start := int64(e.nextCluster)
	for _, part := range [][2]int64{{start, e.v.Clusters}, {0, start}} {
		if err := free(part[0], part[1], take); err != nil {
			return nil, err
		}
		if whole != nil {
			return []run{*whole}, nil
		}
	}
	if total < n {
		return nil, fmt.Errorf("%w: %d clusters are needed, %d are free", ErrFull, n, total)
	}
	// No run is long enough. The longest ones make the fewest.
	slices.SortStableFunc(parts, func(a, b run) int { return cmp.Compare(b.clusters, a.clusters) })
	var runs []run
	for _, p := range parts {
		p.clusters = min(p.clusters, n)
		runs = append(runs, p)
		if n -= p.clusters; n == 0 {
			break
		}
	}
	slices.SortFunc(runs, func(a, b run) int { return cmp.Compare(a.lcn, b.lcn) })
	return runs, nil
}

// release frees the clusters of runs.
func (e *Editor) release(runs []run) error {
	for _, r := range runs {
		if r.lcn == hole {
			continue
		}
		if err := e.mark(e.bitmap.extents, int64(r.lcn), r.clusters, false); err != nil {
			return fmt.Errorf("clusters %d to %d: %w", r.lcn, int64(r.lcn)+r.clusters-1, err)
		}
	}
	return nil
}

// takeRecord takes a free record below limit, of those from first on, and returns its reference. ok is false if there is none.
func (e *Editor) takeRecord(first, limit int64) (ref fileRef, ok bool, err error) {
	n := int64(-1)
	if err := e.freeBits(e.mftBitmap.extents, first, min(limit, e.v.records), func(first, _ int64) bool { n = first; return false }); err != nil || n < 0 {
		return 0, false, err
	}
	sequence := uint16(1)
	r, err := e.v.readRecord(n)
	switch {
	case err == errUnusedRecord:
	case err != nil:
		return 0, false, err
	case r.inUse():
		return 0, false, fmt.Errorf("record %d is in use and marked free: the volume is damaged", n)
	default:
		sequence = max(1, r.sequence())
	}
	if err := e.mark(e.mftBitmap.extents, n, 1, true); err != nil {
		return 0, false, err
	}
	return makeRef(uint64(n), sequence), true, nil
}

// newRecord takes a free record for a file, and makes the $MFT longer if there is none.
func (e *Editor) newRecord() (fileRef, error) {
	for _, from := range []int64{e.nextRecord, firstUserRecord} {
		ref, ok, err := e.takeRecord(from, maxRecord)
		if err != nil {
			return 0, err
		}
		if ok {
			e.nextRecord = int64(ref.record()) + 1
			return ref, nil
		}
	}
	from := e.v.records
	if err := e.growMFT(); err != nil {
		return 0, fmt.Errorf("$MFT: %w", err)
	}
	ref, ok, err := e.takeRecord(from, maxRecord)
	if err == nil && !ok {
		err = fmt.Errorf("%w: no record is free", ErrFull)
	}
	e.nextRecord = int64(ref.record()) + 1
	return ref, err
}

// freeRecord gives a base record (rankFree) or an extension record (rankFreeExt) back.
func (e *Editor) freeRecord(n int64, rk rank) error {
	r, err := e.v.readRecord(n)
	if err != nil {
		return err
	}
	sequence := r.sequence() + 1
	if sequence == 0 {
		sequence = 1
	}
	b := make([]byte, e.v.RecordSize)
	putHeader(b, uint32(n), sequence, 0, 0, 0)
	finishRecord(b, firstAttrOffset(len(b)), 0)
	if err := e.putRecord(n, b, rk); err != nil {
		return err
	}
	return e.mark(e.mftBitmap.extents, n, 1, false)
}

// recordUnit is the unit of a record.
func (e *Editor) recordUnit(n int64) (*unit, error) {
	rs := int64(e.v.RecordSize)
	return e.unitAt(e.v.mft.extents, n*rs, rs)
}

// reprotect replaces the update sequence number of b, which protect has given 1, by the one after old's. old may be without fixups, or no
// block at all.
func reprotect(b, old []byte) {
	usn := uint16(1)
	if off := int(le.Uint16(old[4:])); off >= 8 && off < sectorStride-4 {
		usn = nextUSN(old, 1)
	}
	le.PutUint16(b[le.Uint16(b[4:]):], usn)
	for i := sectorStride - 2; i < len(b); i += sectorStride {
		le.PutUint16(b[i:], usn)
	}
}

// putRecord changes a record that was laid out and protected in b.
func (e *Editor) putRecord(n int64, b []byte, r rank) error {
	u, err := e.recordUnit(n)
	if err != nil {
		return err
	}
	reprotect(b, u.data)
	u.put(b, r)
	if off := n * int64(e.v.RecordSize); off < e.mirror.size {
		m, err := e.unitAt(e.mirror.extents, off, int64(e.v.RecordSize))
		if err != nil {
			return err
		}
		m.put(b, r)
	}
	return nil
}

// zero writes zeros to clusters that are free on the disk.
func (e *Editor) zero(runs []run) error {
	cs := int64(e.v.ClusterSize)
	zeros := make([]byte, 64<<10)
	for _, r := range runs {
		end := (int64(r.lcn) + r.clusters) * cs
		for off := int64(r.lcn) * cs; off < end; off += int64(len(zeros)) {
			if err := e.writeData(zeros[:min(int64(len(zeros)), end-off)], off); err != nil {
				return err
			}
		}
	}
	return nil
}

// joinRuns appends runs and merges those that meet.
func joinRuns(a, b []run) []run {
	a = slices.Clone(a)
	for _, r := range b {
		if k := len(a); k > 0 && (a[k-1].lcn != hole && a[k-1].lcn+LCN(a[k-1].clusters) == r.lcn || a[k-1].lcn == hole && r.lcn == hole) {
			a[k-1].clusters += r.clusters
		} else {
			a = append(a, r)
		}
	}
	return a
}

func extentsOf(runs []run) []Extent {
	var list []Extent
	vcn := VCN(0)
	for _, r := range runs {
		list = append(list, Extent{vcn, r.lcn, r.clusters})
		vcn += VCN(r.clusters)
	}
	return list
}
