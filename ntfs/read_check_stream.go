package ntfs

import (
	"bytes"
	"fmt"
	"io"
)

// readExactly reads all of p, or zeros where the stream ends.
func readExactly(s *stream, p []byte, off int64) error {
	n, err := s.ReadAt(p, off)
	if err == io.EOF {
		clear(p[n:])
		return nil
	}
	return err
}

// stream checks the run list and sizes of list[i] and notes its clusters.
func (c *checkState) stream(n int64, k *checkedRecord, list []fileAttr, i int) {
	a := list[i]
	if a.continues() {
		if j := i - 1; j < 0 || list[j].typ() != a.typ() || !list[j].nonResident() || !bytes.Equal(list[j].name(), a.name()) {
			if !k.has(factPartial) {
				c.report("runs-extent", inAttr(n, a, 0x10), fmt.Sprintf("starts at cluster %d of the stream, and nothing before it", a.lowestVCN()), "")
			}
		}
		return
	}
	unnamed := a.typ() == typeData && a.nameLength() == 0
	if !a.nonResident() {
		if unnamed {
			k.size, k.allocated = a.size(), align(a.size(), 8)
		}
		return
	}
	if unnamed {
		if k.size, k.allocated = a.dataSize(), a.allocatedSize(); a.flags()&(attrFlagMask|attrFlagSparse) != 0 && len(a.attribute) >= sparseHeader {
			k.allocated = a.totalAllocated()
		}
	}
	s, err := c.v.openStream(list, i)
	if err != nil {
		c.damaged = true
		c.unsafe[n] = true
		if k.has(factPartial) && a.highestVCN() >= 0 {
			return // the rest of it is what is not known
		}
		c.reportErr("runs-damaged", ofAttr(n, a), err)
		return
	}
	var clusters, holes int64
	for _, e := range s.extents {
		clusters += e.Clusters
		if e.LCN == hole {
			holes += e.Clusters
			continue
		}
		c.runs = append(c.runs, ownedRun{e.LCN, e.Clusters, uint32(n), uint16(a.typ())})
	}
	c.result.Clusters += clusters - holes
	c.streamSizes(n, a, clusters, holes)
	if a.flags()&(attrFlagMask|attrFlagSparse) != 0 {
		c.squeezed(n, a, s, clusters, holes)
	} else if a.compressionUnit() != 0 {
		c.report("runs-unit", inAttr(n, a, 0x22), fmt.Sprintf("compression unit %d in a plain stream", a.compressionUnit()), "0")
	}
	c.extentRecords(n, a, list[i+1:])
}

// streamSizes checks what all streams have.
func (c *checkState) streamSizes(n int64, a fileAttr, clusters, holes int64) {
	cs := int64(c.v.ClusterSize)
	if clusters > (1<<63-1)/cs || a.allocatedSize() != clusters*cs {
		c.report("runs-allocated", inAttr(n, a, 0x28), fmt.Sprintf("%d bytes allocated", a.allocatedSize()), fmt.Sprintf("those of the %d clusters of %d in its runs", clusters, cs))
	}
	if a.initializedSize() > a.dataSize() || a.dataSize() > a.allocatedSize() {
		c.report("runs-sizes", inAttr(n, a, 0x28), fmt.Sprintf("valid size %d, size %d, allocated %d", a.initializedSize(), a.dataSize(), a.allocatedSize()), "them ascending")
	}
	if holes == 0 {
		return
	}
	if a.typ() == typeIndexAllocation || a.typ() == typeBitmap {
		c.unsafe[n] = true // it may claim to be as long as it likes
	}
	if badClusters := n == recBadClus && a.nameLength() > 0; !badClusters && a.flags()&(attrFlagMask|attrFlagSparse) == 0 {
		c.report("runs-hole", ofAttr(n, a), fmt.Sprintf("%d clusters are holes in a stream that is not sparse", holes), "")
	}
}

// squeezed checks what only sparse and compressed streams have.
func (c *checkState) squeezed(n int64, a fileAttr, s *stream, clusters, holes int64) {
	if len(a.attribute) < sparseHeader {
		return // reported by form: there is no room for the run list either
	}
	if want := (clusters - holes) * int64(c.v.ClusterSize); a.totalAllocated() != want {
		severity := severityOf("runs-total")
		if holes == 0 && a.totalAllocated() == 0 {
			severity = SeverityNote // ntfs-3g does not count a compressed stream whose units are all stored as they are; chkdsk sets it right
		}
		c.reportAs(severity, "runs-total", inAttr(n, a, 0x40), fmt.Sprintf("total allocated size %d", a.totalAllocated()), fmt.Sprintf("%d, as the runs have", want))
	}
	unit := a.compressionUnit()
	compressed := a.flags()&attrFlagMask != 0
	const defaultUnit = 4
	switch {
	case compressed && unit == 0 || unit > 16:
		c.report("runs-unit", inAttr(n, a, 0x22), fmt.Sprintf("compression unit %d", unit), fmt.Sprint(defaultUnit))
		return
	case unit == 0:
		unit = defaultUnit
	}
	if c.v.ClusterSize <= 4096 && clusters%(1<<unit) != 0 {
		c.report("sparse-unit", ofAttr(n, a), fmt.Sprintf("%d clusters", clusters), fmt.Sprintf("a multiple of %d", 1<<unit))
	}
	if compressed {
		c.compressedUnits(n, a, s.extents, int64(1)<<unit)
	}
}

// compressedUnits checks that in each unit the clusters come first, then the holes.
func (c *checkState) compressedUnits(n int64, a fileAttr, extents []Extent, unit int64) {
	ended := false // a hole began in this unit
	for _, e := range extents {
		off := int64(e.VCN) % unit
		if off == 0 {
			ended = false
		}
		if e.LCN == hole {
			ended = (off+e.Clusters)%unit != 0
			continue
		}
		if ended {
			c.report("compressed-unit", ofAttr(n, a), fmt.Sprintf("cluster %d is behind a hole of its unit of %d", e.VCN, unit), "")
			return
		}
	}
}

// extentRecords checks the headers of the later extents of a.
func (c *checkState) extentRecords(n int64, a fileAttr, rest []fileAttr) {
	for _, e := range rest {
		if e.typ() != a.typ() || !bytes.Equal(e.name(), a.name()) {
			return
		}
		if !e.continues() {
			continue
		}
		if e.allocatedSize() != 0 || e.dataSize() != 0 || e.initializedSize() != 0 || e.compressionUnit() != 0 {
			c.report("extent-header", inAttr(n, e, 0x22), fmt.Sprintf("the part from cluster %d on has sizes or a compression unit", e.lowestVCN()), "zeros")
		}
	}
}
