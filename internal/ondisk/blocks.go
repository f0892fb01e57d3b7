package ondisk

// NextRange finds the first range at or after off of a disk of size bytes, which is in blocks. in gives the first range of block i between
// two places of the disk; an empty one means that there is none. Ranges that touch become one. Without any, start and end are both size.
func NextRange(off, size, block int64, in func(i, from, to int64) (int64, int64)) (start, end int64) {
	off = max(off, 0)
	found := false
	for i := off / block; i*block < size; i++ {
		to := min((i+1)*block, size)
		a, b := in(i, max(off, i*block), to)
		switch {
		case a >= b && found, found && a != end:
			return start, end
		case a >= b:
			continue
		case !found:
			start, found = a, true
		}
		if end = b; b < to {
			return start, end
		}
	}
	if !found {
		return size, size
	}
	return start, end
}
