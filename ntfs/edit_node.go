package ntfs

import "slices"

// split divides a node: the entry that moves up, and those on both sides of it. Where entries come in ascending order the left part
// stays full.
func (x *editIndex) split(node *indexNode) (up nodeEntry, left, right []nodeEntry, err error) {
	list := node.entries
	if len(list) < 4 {
		return nil, nil, nil, x.bad("%d entries fill a block", len(list)-1)
	}
	last := list[len(list)-1]
	m := len(list) - 3
	if node.pos < len(list)-2 || last.hasSubNode() {
		half := entriesSize(list) / 2
		m = 0
		for size := 0; m < len(list)-3; m++ {
			if size += len(list[m]); size > half {
				break
			}
		}
		m = max(1, m)
	}
	up = list[m]
	end := endEntry()
	if last.hasSubNode() {
		end = withChild(end, up.subNode())
	}
	left = append(slices.Clone(list[:m]), end)
	return up, left, list[m+1:], nil
}

// endEntry ends a leaf.
func endEntry() nodeEntry {
	b := make([]byte, indexEntryHeader)
	b[8], b[0xc] = indexEntryHeader, byte(entryLast)
	return b
}

// withChild returns an entry with this child.
func withChild(e nodeEntry, vcn int64) nodeEntry {
	b := slices.Clone(e)
	if !e.hasSubNode() {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
		b[0xc] |= byte(entrySubNode)
		le.PutUint16(b[8:], uint16(len(b)))
	}
	le.PutUint64(b[len(b)-8:], uint64(vcn))
	return b
}

// withoutChild returns an entry as a leaf has it.
func withoutChild(e nodeEntry) nodeEntry {
	b := slices.Clone(e)
	if e.hasSubNode() {
		b = b[:len(b)-8]
		b[0xc] &^= byte(entrySubNode)
		le.PutUint16(b[8:], uint16(len(b)))
	}
	return b
}

func entriesSize(list []nodeEntry) int {
	n := 0
	for _, e := range list {
		n += len(e)
	}
	return n
}

// putBlockHeader fills the header of the block b, which ends with its last entry.
func putBlockHeader(b []byte, vcn int64, inner bool) {
	copy(b, "INDX")
	le.PutUint16(b[4:], indexBlockUSA)
	le.PutUint16(b[6:], indexBlockSize/sectorStride+1)
	le.PutUint64(b[0x10:], uint64(vcn))
	le.PutUint32(b[0x18:], indexFirstEntry-0x18)
	le.PutUint32(b[0x1c:], uint32(len(b)-0x18))
	le.PutUint32(b[0x20:], indexBlockSize-0x18)
	if inner {
		b[0x24] = nodeInner
	}
}
