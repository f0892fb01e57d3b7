package ntfs

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sort"
)

// crossLinks finds clusters that belong to two streams.
func (c *checkState) crossLinks() error {
	slices.SortFunc(c.runs, func(a, b ownedRun) int {
		return cmp.Or(cmp.Compare(a.lcn, b.lcn), cmp.Compare(a.record, b.record), cmp.Compare(a.typ, b.typ))
	})
	var end LCN
	var owner ownedRun
	for _, r := range c.runs {
		if r.lcn < end {
			c.unsafe[int64(r.record)], c.unsafe[int64(owner.record)] = true, true
			c.report("cross-link", spot{int64(r.record), attrType(r.typ).String(), -1},
				fmt.Sprintf("clusters %d to %d are also %v of record %d", r.lcn, min(end, r.lcn+LCN(r.clusters))-1, attrType(owner.typ), owner.record), "")
		}
		if r.lcn+LCN(r.clusters) > end {
			end, owner = r.lcn+LCN(r.clusters), r
		}
	}
	return nil
}

// bitmapPiece is how much of a bitmap is compared at once.
const bitmapPiece = 1 << 16

// clusterBitmap compares $Bitmap with the runs, which crossLinks has sorted.
func (c *checkState) clusterBitmap() error {
	v := c.v
	at := func(cluster int64) spot {
		if cluster < 0 {
			return spot{recBitmap, typeData.String(), -1}
		}
		return spot{recBitmap, typeData.String(), cluster / 8}
	}
	s, err := v.openNamed(recBitmap, typeData, "")
	if err != nil {
		c.reportErr("bitmap-form", at(-1), err)
		return nil
	}
	if s.extents == nil {
		c.report("bitmap-form", at(-1), "$Bitmap is resident", "clusters of its own, as drivers do")
	}
	need := align((v.Clusters+7)/8, 8)
	if s.size < need {
		c.report("bitmap-form", at(-1), fmt.Sprintf("%d bytes", s.size), fmt.Sprintf("at least %d for %d clusters", need, v.Clusters))
	}
	found, err := c.compareClusters(s, min(s.size, need))
	if err != nil {
		return err
	}
	for _, d := range found.list {
		switch {
		case d.first >= v.Clusters:
			c.report("bitmap-tail", at(d.first), fmt.Sprintf("bits %d to %d, behind the last cluster, are 0", d.first, d.end-1), "1")
		case d.set && c.damaged:
			// They may be those of a stream whose runs are not known: chkdsk would free them only after repairing that.
			c.reportAs(SeverityNote, "bitmap-leaked", at(d.first), fmt.Sprintf("clusters %d to %d are marked used and belong to no stream that can be read", d.first, d.end-1), "")
		case d.set:
			c.report("bitmap-leaked", at(d.first), fmt.Sprintf("clusters %d to %d are marked used and belong to no stream", d.first, d.end-1), "")
		default:
			c.report("bitmap-free", at(d.first), fmt.Sprintf("clusters %d to %d are in use by %s and marked free", d.first, d.end-1, c.ownerOf(LCN(d.first))), "")
		}
	}
	return nil
}

// compareClusters compares the first size bytes of $Bitmap.
func (c *checkState) compareClusters(s *stream, size int64) (found bitRuns, err error) {
	got, want := make([]byte, bitmapPiece), make([]byte, bitmapPiece)
	i := 0
	for off := int64(0); off < size; off += bitmapPiece {
		if err := c.ctx.Err(); err != nil {
			return found, err
		}
		got, want = got[:min(bitmapPiece, size-off)], want[:min(bitmapPiece, size-off)]
		if err := readExactly(s, got, off); err != nil {
			return found, err
		}
		first, end := off*8, (off+int64(len(got)))*8
		clear(want)
		for j := i; j < len(c.runs) && int64(c.runs[j].lcn) < end; j++ {
			r := c.runs[j]
			markBits(want, max(0, int64(r.lcn)-first), min(end, int64(r.lcn)+r.clusters)-first)
			if int64(r.lcn)+r.clusters <= end && j == i {
				i++
			}
		}
		markBits(want, max(0, c.v.Clusters-first), end-first) // beyond the last cluster
		found.compare(first, got, want)
	}
	return found, nil
}

// ownerOf names the stream that has a cluster.
func (c *checkState) ownerOf(lcn LCN) string {
	const near = 64 // runs that begin before it and overlap
	i := sort.Search(len(c.runs), func(i int) bool { return c.runs[i].lcn > lcn })
	for j := i - 1; j >= max(0, i-near); j-- {
		if r := c.runs[j]; lcn < r.lcn+LCN(r.clusters) {
			return recordName(int64(r.record)) + " " + attrType(r.typ).String()
		}
	}
	return "a stream"
}

// markBits sets the bits from first up to end.
func markBits(b []byte, first, end int64) {
	for ; first < end && first%8 != 0; first++ {
		b[first/8] |= 1 << (first % 8)
	}
	for ; first+8 <= end; first += 8 {
		b[first/8] = 0xff
	}
	for ; first < end; first++ {
		b[first/8] |= 1 << (first % 8)
	}
}

// bitRuns gathers differences of bitmaps.
type bitRuns struct {
	list []bitRun
}

// bitRun is a range of bits that are all set, or all clear, and should not be.
type bitRun struct {
	first, end int64
	set        bool
}

// compare adds the bits of got that differ from want. first is the number of the first bit.
func (d *bitRuns) compare(first int64, got, want []byte) {
	if bytes.Equal(got, want) {
		return
	}
	for i := range got {
		diff := got[i] ^ want[i]
		for j := 0; diff != 0; diff, j = diff>>1, j+1 {
			if diff&1 == 0 {
				continue
			}
			at := first + int64(i)*8 + int64(j)
			set := got[i]>>j&1 != 0
			if n := len(d.list); n > 0 && d.list[n-1].end == at && d.list[n-1].set == set {
				d.list[n-1].end++
			} else if n < maxProblems {
				d.list = append(d.list, bitRun{at, at + 1, set})
			}
		}
	}
}

// mftBitmap compares $MFT:$BITMAP with the records in use.
func (c *checkState) mftBitmap() error {
	v := c.v
	at := spot{recMFT, typeBitmap.String(), -1}
	s, err := v.openNamed(recMFT, typeBitmap, "")
	if err != nil {
		c.reportErr("mft-bitmap-form", at, err)
		return nil
	}
	if s.extents == nil {
		c.report("mft-bitmap-form", at, "$BITMAP is resident", "clusters of its own, as drivers do")
	}
	if s.size%8 != 0 || s.size*8 < v.records {
		c.report("mft-bitmap-form", at, fmt.Sprintf("%d bytes for %d records", s.size, v.records), "a multiple of 8 that holds them")
	}
	size := min(s.size, v.size/int64(v.RecordSize)/8+bitmapPiece) // what a volume of records would need
	var found bitRuns
	got, want := make([]byte, bitmapPiece), make([]byte, bitmapPiece)
	for off := int64(0); off < size; off += bitmapPiece {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		got, want = got[:min(bitmapPiece, size-off)], want[:min(bitmapPiece, size-off)]
		if err := readExactly(s, got, off); err != nil {
			return err
		}
		c.recordBits(want, got, off)
		found.compare(off*8, got, want)
	}
	for _, d := range found.list {
		at := inStream(recMFT, typeBitmap.String(), d.first/8)
		if d.set {
			c.report("mft-bitmap-leaked", at, fmt.Sprintf("records %d to %d are marked used and free", d.first, d.end-1), "")
		} else {
			c.report("mft-bitmap-free", at, fmt.Sprintf("records %d to %d are in use and marked free", d.first, d.end-1), "")
		}
	}
	return nil
}

// recordBits fills b with the bits of the records from off*8 on. Those that cannot be read stay as they are in stored.
func (c *checkState) recordBits(b, stored []byte, off int64) {
	clear(b)
	const pageBytes = filesPerPage / 8
	for i := int64(0); i < int64(len(b)); i += pageBytes { // bitmapPiece is a multiple
		p := (off + i) / pageBytes
		if p >= int64(len(c.pages)) {
			return
		}
		if c.pages[p] == nil {
			continue
		}
		for j := range c.pages[p] {
			at, bit := i+int64(j)/8, byte(1)<<(j%8)
			if at >= int64(len(b)) {
				return
			}
			switch k := &c.pages[p][j]; {
			case k.has(factBroken):
				b[at] |= stored[at] & bit
			case k.has(factInUse):
				b[at] |= bit
			}
		}
	}
}
