package ntfs

// index is one B-tree to be written: its attributes, its entries in the order of its collation, and its shape.
type index struct {
	name    string // of the three attributes
	typ     attrType
	order   collation
	entries int
	length  func(i int) int              // bytes of entry i without a child's VCN
	append  func(b []byte, i int) []byte // entry i: header with length and flags 0, key, data, padding
	shape   *indexShape
}

// indexShape says which entries of an index stand in which node. Leaves are filled from the left; the entry that does not fit
// moves up and parts its leaf from the next. Level 0 of splits holds the numbers of these entries, level 1 the positions in level 0
// of those that moved up again, and so on; the entries of the last level are in the root. Without levels all are.
type indexShape struct {
	splits [][]int32
	blocks region // $INDEX_ALLOCATION
	bitmap region // $BITMAP, if it is not resident
}

const (
	indexFirstEntry = 0x40                                             // absolute, in a block
	lastEntrySize   = indexEntryHeader                                 // without a child
	blockCapacity   = indexBlockSize - indexFirstEntry - lastEntrySize // bytes of entries in a leaf
)

// plan shapes the tree so that the root's entries, the last one included, take at most budget bytes (at least 24).
func (s *indexShape) plan(entries int, length func(int) int, budget int) {
	s.splits = nil
	total := lastEntrySize
	for i := range entries {
		if total += length(i); total > budget {
			break
		}
	}
	if total <= budget {
		return
	}
	level := splitLevel(entries, length, blockCapacity)
	for {
		s.splits = append(s.splits, level)
		k := len(s.splits)
		up := func(i int) int { return length(s.entry(k, i)) + 8 }
		total := lastEntrySize + 8
		for i := 0; i < len(level) && total <= budget; i++ {
			total += up(i)
		}
		if total <= budget {
			return
		}
		level = splitLevel(len(level), up, blockCapacity-8)
	}
}

// splitLevel returns which of n entries move up so that those between them fit nodes. No node is left empty.
func splitLevel(n int, length func(int) int, capacity int) []int32 {
	var up []int32
	first, used := 0, 0
	for i := 0; i < n; i++ {
		if used += length(i); used <= capacity {
			continue
		}
		if i == n-1 && i-1 > first { // nothing would be left for the last node
			i--
		}
		up = append(up, int32(i))
		first, used = i+1, 0
	}
	return up
}

// entry is the number of the entry at a position of a level.
func (s *indexShape) entry(level, pos int) int {
	for level--; level >= 0; level-- {
		pos = int(s.splits[level][pos])
	}
	return pos
}

// count is the number of index blocks.
func (s *indexShape) count() int64 {
	var n int64
	for _, level := range s.splits {
		n += int64(len(level)) + 1
	}
	return n
}

// bitmapSize is the size of the $BITMAP value of so many blocks.
func bitmapSize(bits int64) int64 { return align((bits+7)/8, 8) }

// rootSize is the size of the $INDEX_ROOT value.
func (x *index) rootSize() int {
	n, k := indexRootHeader+lastEntrySize, len(x.shape.splits)
	if k == 0 {
		for i := range x.entries {
			n += x.length(i)
		}
		return n
	}
	for i := range x.shape.splits[k-1] {
		n += x.length(x.shape.entry(k, i)) + 8
	}
	return n + 8
}

// appendRoot appends the $INDEX_ROOT value.
func (x *index) appendRoot(b []byte, clusterSize int) []byte {
	at, k := len(b), len(x.shape.splits)
	b = le.AppendUint32(b, uint32(x.typ))
	b = le.AppendUint32(b, uint32(x.order))
	b = le.AppendUint32(b, indexBlockSize)
	b = append(b, byte(indexBlockSize/vcnUnit(clusterSize, indexBlockSize)), 0, 0, 0)
	b = append(b, make([]byte, indexRootHeader-16)...)
	n := x.entries
	if k > 0 {
		n = len(x.shape.splits[k-1])
	}
	b = x.appendEntries(b, k, 0, n, x.firstBlock(k-1), clusterSize)
	node := b[at+16:]
	le.PutUint32(node, indexRootHeader-16)
	le.PutUint32(node[4:], uint32(len(node)))
	le.PutUint32(node[8:], uint32(len(node)))
	if k > 0 {
		node[12] = nodeInner
	}
	return b
}

// firstBlock is the number of the first block of a level.
func (x *index) firstBlock(level int) int64 {
	var n int64
	for i := range max(level, 0) {
		n += int64(len(x.shape.splits[i])) + 1
	}
	return n
}

// appendEntries appends the entries of a level from position lo up to hi and the entry that ends the node. Above the leaves each
// has the VCN of its child, of which number child is the level's first.
func (x *index) appendEntries(b []byte, level, lo, hi int, child int64, clusterSize int) []byte {
	unit := int64(indexBlockSize / vcnUnit(clusterSize, indexBlockSize))
	for pos := lo; pos <= hi; pos++ {
		at := len(b)
		if pos < hi {
			b = x.append(b, x.shape.entry(level, pos))
		} else {
			b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, lastEntrySize, 0, 0, 0, byte(entryLast), 0, 0, 0)
		}
		if level > 0 {
			b = le.AppendUint64(b, uint64((child+int64(pos))*unit))
			le.PutUint16(b[at+8:], uint16(len(b)-at))
			b[at+12] |= byte(entrySubNode)
		}
	}
	return b
}

// write hands out the index blocks in order. The slice is valid during the call only.
func (x *index) write(clusterSize int, put func(block []byte) error) error {
	unit := int64(indexBlockSize / vcnUnit(clusterSize, indexBlockSize))
	var number int64
	buf := make([]byte, 0, indexBlockSize)
	for level, splits := range x.shape.splits {
		items := x.entries
		if level > 0 {
			items = len(x.shape.splits[level-1])
		}
		lo := 0
		for node := 0; node <= len(splits); node++ {
			hi := items
			if node < len(splits) {
				hi = int(splits[node])
			}
			b := buf[:indexFirstEntry]
			clear(b)
			b = x.appendEntries(b, level, lo, hi, x.firstBlock(level-1), clusterSize)
			lo = hi + 1
			copy(b, "INDX")
			le.PutUint16(b[4:], indexBlockUSA)
			le.PutUint16(b[6:], indexBlockSize/sectorStride+1)
			le.PutUint64(b[0x10:], uint64(number*unit))
			le.PutUint32(b[0x18:], indexFirstEntry-0x18)
			le.PutUint32(b[0x1c:], uint32(len(b)-0x18))
			le.PutUint32(b[0x20:], indexBlockSize-0x18)
			if level > 0 {
				b[0x24] = nodeInner
			}
			used := len(b)
			b = b[:indexBlockSize]
			clear(b[used:])
			protect(b, 1)
			if err := put(b); err != nil {
				return err
			}
			number++
		}
	}
	return nil
}

// appendViewEntry appends an entry of an index that is not $I30.
func appendViewEntry(b, key, data []byte) []byte {
	at := len(b)
	off := indexEntryHeader + align(len(key), 4)
	b = le.AppendUint16(b, uint16(off))
	b = le.AppendUint16(b, uint16(len(data)))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(b, uint16(viewEntrySize(len(key), len(data))))
	b = le.AppendUint16(b, uint16(len(key)))
	b = le.AppendUint32(b, 0)
	b = append(b, key...)
	b = append(b, make([]byte, at+off-len(b))...)
	b = append(b, data...)
	return append(b, make([]byte, at+viewEntrySize(len(key), len(data))-len(b))...)
}

func viewEntrySize(key, data int) int { return align(indexEntryHeader+align(key, 4)+data, 8) }
