package ntfs

import (
	"fmt"
)

// Fields of the reparse data of pointer and compact files. Source: [MS-FSCC] 2.1.2.9 has the tag alone; the layout is that which the
// boot manager takes (see the wof package).
const (
	wofVersion      = 1
	wofProviderWIM  = 1
	wofProviderFile = 2
	wofWIMSize      = 88
	wofFileSize     = 16
	wofStream       = "WofCompressedData"
)

// wofChunk is the plain size of a chunk by the algorithm of a compact file: XPRESS4K, LZX, XPRESS8K, XPRESS16K.
var wofChunk = [...]int64{4096, 32768, 8192, 16384}

// wof checks a pointer or compact file: its reparse data (of list[at]), that it has no data of its own, and the chunk table.
func (c *checkState) wof(n int64, list []fileAttr, at int, data []byte) {
	bad := func(code Code, where spot, expected, format string, args ...any) {
		c.report(code, where, fmt.Sprintf(format, args...), expected)
	}
	where := ofAttr(n, list[at])
	if len(data) < 16 {
		bad("wof-pointer", where, fmt.Sprintf("%d or %d", wofFileSize, wofWIMSize), "%d bytes of data", len(data))
		return
	}
	provider, word := le.Uint32(data[4:]), le.Uint32(data[12:])
	size, version := wofFileSize, uint32(1)
	if provider == wofProviderWIM {
		size, version = wofWIMSize, 2
	}
	switch {
	case le.Uint32(data) != wofVersion || provider != wofProviderWIM && provider != wofProviderFile:
		bad("wof-pointer", where, "version 1, provider 1 or 2", "version %d, provider %d", le.Uint32(data), provider)
		return
	case len(data) != size || le.Uint32(data[8:]) != version:
		bad("wof-pointer", where, fmt.Sprintf("%d, %d", size, version), "%d bytes of data of provider %d, version %d", len(data), provider, le.Uint32(data[8:]))
		return
	case provider == wofProviderFile && int64(word) >= int64(len(wofChunk)):
		bad("wof-pointer", where, "0 to 3", "algorithm %d", word)
		return
	}
	i := findAttr(list, typeData, "")
	if i < 0 {
		return // reported by kind
	}
	plain := list[i].size()
	s, err := c.v.openStream(list, i)
	if err != nil {
		return // reported by stream
	}
	if own := s.allocatedClusters(); own > 0 || s.extents == nil && plain > 0 {
		bad("wof-data", ofAttr(n, list[i]), "a hole", "%d clusters, %d bytes, resident %t", own, plain, s.extents == nil)
	}
	if provider == wofProviderFile && plain > 0 {
		if err := c.wofChunks(list, plain, wofChunk[word]); err != nil {
			c.reportErr("wof-chunks", inStream(n, attrLabel(typeData, wofStream), -1), err)
		}
	}
}

// wofChunks checks the chunk table of a compact file: the end of each chunk but the last, 4 bytes, or 8 if the file has 4 GiB or more,
// counted from the end of the table; as in a WIM. No chunk is longer than what it holds.
func (c *checkState) wofChunks(list []fileAttr, plain, chunk int64) error {
	i := findAttr(list, typeData, wofStream)
	if i < 0 {
		return fmt.Errorf("no stream with the chunks of %d bytes", plain)
	}
	s, err := c.v.openStream(list, i)
	if err != nil {
		return nil // reported by stream
	}
	if err := s.readable(); err != nil {
		return err
	}
	entry := int64(4)
	if plain > 1<<32-1 {
		entry = 8
	}
	count := (plain-1)/chunk + 1
	table := (count - 1) * entry
	if s.size <= table {
		return fmt.Errorf("%d bytes, want more than the %d of its table", s.size, table)
	}
	stored := s.size - table
	var last int64
	check := func(i, end, most int64) error {
		if end <= last || end-last > most {
			return fmt.Errorf("chunk %d from %#x to %#x, want 1 to %d bytes", i, last, end, most)
		}
		last = end
		return nil
	}
	buf := make([]byte, min(table, 64<<10))
	for off := int64(0); off < table; off += int64(len(buf)) {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		buf = buf[:min(int64(len(buf)), table-off)]
		if err := readExactly(s, buf, off); err != nil {
			return err
		}
		for j := int64(0); j < int64(len(buf)); j += entry {
			end := int64(le.Uint32(buf[j:]))
			if entry == 8 {
				end = int64(le.Uint64(buf[j:]))
			}
			if err := check((off+j)/entry, end, chunk); err != nil {
				return err
			}
		}
	}
	return check(count-1, stored, plain-(count-1)*chunk)
}
