package vhdx

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"husk/guid"
	"husk/internal/ondisk"
)

const (
	entryMagic   = "loge"
	entryHeader  = 64
	descSize     = 32
	logSector    = 4096
	dataDesc     = "desc"
	zeroDesc     = "zero"
	dataMagic    = "data"
	maxReplayLog = 256 << 20 // of a log that is not empty; Windows and QEMU write 1 MiB

	// maxLogWork bounds the bytes that are checksummed in a log, in lengths of the log: entries that overlap, which no
	// writer leaves, would make it the square of them.
	maxLogWork = 16
)

// logHeader starts an entry of the log.
type logHeader struct {
	Magic       [4]byte   // 0x00 "loge"
	Checksum    uint32    // 0x04 CRC-32C of the entry with this field zero
	Length      uint32    // 0x08 of the entry, a multiple of 4096
	Tail        uint32    // 0x0c place in the log of the oldest entry that has to be replayed with this one
	Sequence    uint64    // 0x10 one more than the entry before
	Descriptors uint32    // 0x18
	_           uint32    // 0x1c
	LogGUID     guid.GUID // 0x20 that of the header, or the entry is an old one
	Flushed     uint64    // 0x30 the file was at least that long when the entry was written
	Last        uint64    // 0x38 and is to be at least that long
}

// logDesc is one descriptor: a 4 KiB sector to write, whose first 8 and last 4 bytes it holds, or zeros.
type logDesc struct {
	Magic    [4]byte // 0x00 "desc", "zero"
	Trailing [4]byte // 0x04 zero: reserved
	Leading  uint64  // 0x08 zero: length in bytes, a multiple of 4096
	Offset   uint64  // 0x10 in the file, a multiple of 4096
	Sequence uint64  // 0x18 that of the entry
}

// logEntry is a valid entry of a log.
type logEntry struct {
	logHeader
	at int64  // in the log
	b  []byte // Length bytes
}

// overlay is a file as the replay of its log leaves it. It is made once and then only read.
type overlay struct {
	r     io.ReaderAt
	file  int64 // bytes of r
	size  int64 // bytes after the replay
	pages map[int64]page
	zeros []zeroRange // sorted, apart from each other

	changes int // so far
}

// page is 4 KiB of the file that the log gives.
type page struct {
	b   *[logSector]byte
	seq int // order among the changes
}

// zeroRange is a range of the file that the log makes zero.
type zeroRange struct {
	start, end int64
	seq        int
}

// replay reads the log and returns the file as it is meant to be. It writes nothing. h is the current header.
func replay(r io.ReaderAt, size int64, h *header) (*overlay, error) {
	at := int64(h.LogOffset)
	if int64(h.LogLength) > maxReplayLog {
		return nil, fmt.Errorf("vhdx: a log of %d bytes to replay, want at most %d: %w", h.LogLength, maxReplayLog, errors.ErrUnsupported)
	}
	b, err := ondisk.ReadAt(r, at, int64(h.LogLength), maxReplayLog)
	if err != nil {
		return nil, &FormatError{"log", at, err}
	}
	active, err := activeSequence(b, h.LogGUID)
	if err != nil {
		return nil, &FormatError{"log", at, err}
	}
	o := &overlay{r: r, file: size, size: size, pages: make(map[int64]page)}
	for i := range active {
		e := &active[i]
		if e.Flushed > uint64(size) {
			return nil, &FormatError{"log entry", at + e.at, fmt.Errorf("file of %d bytes, want the %d that it had when the entry was written: its end is lost", size, e.Flushed)}
		}
		if err := o.apply(e, at); err != nil {
			return nil, err
		}
	}
	o.zeros = newest(o.zeros)
	return o, nil
}

// activeSequence finds the run of entries that has to be replayed: of all runs whose newest entry names one of the run
// as its tail, the one with the greatest sequence number. It starts at that tail.
func activeSequence(log []byte, id guid.GUID) ([]logEntry, error) {
	n := int64(len(log))
	var best []logEntry
	work := maxLogWork * n
	for start := int64(0); start < n; {
		run, err := readRun(log, start, id, &work)
		if err != nil {
			return nil, err
		}
		next := start + logSector
		if len(run) > 0 {
			last := &run[len(run)-1]
			tail := slices.IndexFunc(run, func(e logEntry) bool { return e.at == int64(last.Tail) })
			if tail >= 0 && (best == nil || last.Sequence > best[len(best)-1].Sequence) {
				best = run[tail:]
			}
			if end := last.at + int64(last.Length); tail >= 0 && end > start {
				next = end
			}
		}
		start = next
	}
	if best == nil {
		return nil, fmt.Errorf("no entry that belongs to the log %v, want one: the header says that it is not empty", id)
	}
	return best, nil
}

// readRun collects valid entries of consecutive sequence numbers from start on, around the end of the log if need be.
func readRun(log []byte, start int64, id guid.GUID, work *int64) ([]logEntry, error) {
	n := int64(len(log))
	var run []logEntry
	for at, total := start, int64(0); total < n; {
		e := entryAt(log, at, id, work)
		if *work < 0 {
			return nil, errors.New("entries that overlap each other many times")
		}
		if e == nil || total+int64(e.Length) > n || len(run) > 0 && e.Sequence != run[len(run)-1].Sequence+1 {
			break
		}
		run = append(run, *e)
		total += int64(e.Length)
		at = (at + int64(e.Length)) % n
	}
	return run, nil
}

// entryAt returns the entry at a place of the log, or nil if there is no valid one.
func entryAt(log []byte, at int64, id guid.GUID, work *int64) *logEntry {
	if string(log[at:at+4]) != entryMagic {
		return nil
	}
	e := &logEntry{at: at}
	decode(log[at:], &e.logHeader)
	n := int64(e.Length)
	if e.LogGUID != id || e.Sequence == 0 || n == 0 || n%logSector != 0 || n > int64(len(log)) || e.Tail%logSector != 0 {
		return nil
	}
	if entryHeader+descSize*int64(e.Descriptors) > n {
		return nil
	}
	*work -= n
	if *work < 0 {
		return nil
	}
	if at+n <= int64(len(log)) {
		e.b = log[at : at+n]
	} else {
		e.b = append(slices.Clone(log[at:]), log[:at+n-int64(len(log))]...)
	}
	if checksum(e.b) != e.Checksum || !e.consistent() {
		return nil
	}
	return e
}

// consistent reports whether descriptors and data sectors of an entry are all there and carry its sequence number. The
// checksum is right, so nothing but its writer can have made them wrong.
func (e *logEntry) consistent() bool {
	data := e.dataAt()
	for i := range int(e.Descriptors) {
		d := e.desc(i)
		if d.Sequence != e.Sequence || d.Offset%logSector != 0 || d.Offset > MaxSize*2 {
			return false
		}
		switch string(d.Magic[:]) {
		case zeroDesc:
			if d.Leading%logSector != 0 || d.Leading > MaxSize*2 {
				return false
			}
		case dataDesc:
			if data+logSector > int64(len(e.b)) {
				return false
			}
			s := e.b[data:]
			high, low := binary.LittleEndian.Uint32(s[4:]), binary.LittleEndian.Uint32(s[logSector-4:])
			if string(s[:4]) != dataMagic || uint64(high)<<32|uint64(low) != e.Sequence {
				return false
			}
			data += logSector
		default:
			return false
		}
	}
	return true
}

func (e *logEntry) desc(i int) (d logDesc) {
	decode(e.b[entryHeader+descSize*i:], &d)
	return d
}

// dataAt is where the first data sector is.
func (e *logEntry) dataAt() int64 {
	return roundUp(entryHeader+descSize*int64(e.Descriptors), logSector)
}

// apply adds the changes of one entry. log is the log's place in the file.
func (o *overlay) apply(e *logEntry, log int64) error {
	if e.Last > MaxSize*2 {
		return &FormatError{"log entry", log + e.at, fmt.Errorf("file to be extended to %d bytes, want at most %d", e.Last, int64(MaxSize*2))}
	}
	o.size = max(o.size, int64(e.Last))
	data := e.dataAt()
	for i := range int(e.Descriptors) {
		d := e.desc(i)
		at := int64(d.Offset)
		o.changes++
		if string(d.Magic[:]) == zeroDesc {
			o.zeros = append(o.zeros, zeroRange{at, at + int64(d.Leading), o.changes})
			continue
		}
		b := new([logSector]byte)
		copy(b[:], e.b[data:data+logSector])
		binary.LittleEndian.PutUint64(b[:], d.Leading)
		copy(b[logSector-4:], d.Trailing[:])
		o.pages[at/logSector] = page{b, o.changes}
		o.size = max(o.size, at+logSector)
		data += logSector
	}
	return nil
}

// rangeHeap has the newest range on top.
type rangeHeap []zeroRange

func (h rangeHeap) Len() int           { return len(h) }
func (h rangeHeap) Less(i, j int) bool { return h[i].seq > h[j].seq }
func (h rangeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *rangeHeap) Push(v any)        { *h = append(*h, v.(zeroRange)) }
func (h *rangeHeap) Pop() any {
	old := *h
	v := old[len(old)-1]
	*h = old[:len(old)-1]
	return v
}

// newest cuts ranges that overlap into ones that do not, each with the order of the newest that covers it.
func newest(list []zeroRange) []zeroRange {
	var edges []int64
	for _, z := range list {
		edges = append(edges, z.start, z.end)
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	slices.SortFunc(list, func(a, b zeroRange) int { return cmp.Compare(a.start, b.start) })
	var out []zeroRange
	var open rangeHeap
	for i := 0; i+1 < len(edges); i++ {
		for len(list) > 0 && list[0].start <= edges[i] {
			heap.Push(&open, list[0])
			list = list[1:]
		}
		for len(open) > 0 && open[0].end <= edges[i] {
			heap.Pop(&open)
		}
		if len(open) > 0 {
			out = append(out, zeroRange{edges[i], edges[i+1], open[0].seq})
		}
	}
	return out
}

// ReadAt reads the file as the replay leaves it.
func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= o.size {
		return 0, io.EOF
	}
	var atEnd error
	if int64(len(p)) > o.size-off {
		p, atEnd = p[:o.size-off], io.EOF
	}
	n := int(max(0, min(int64(len(p)), o.file-off)))
	if n > 0 {
		if m, err := o.r.ReadAt(p[:n], off); m < n {
			return m, err
		}
	}
	clear(p[n:])
	end := off + int64(len(p))
	first, _ := slices.BinarySearchFunc(o.zeros, off, func(z zeroRange, off int64) int {
		if z.end <= off {
			return -1
		}
		return 1
	})
	for _, z := range o.zeros[first:] {
		if z.start >= end {
			break
		}
		clear(p[max(z.start, off)-off : min(z.end, end)-off])
	}
	if len(o.pages) == 0 {
		return len(p), atEnd
	}
	for i := off / logSector; i*logSector < end; i++ {
		pg, ok := o.pages[i]
		if !ok || o.zeroSeq(i*logSector) > pg.seq {
			continue
		}
		start := i * logSector
		copy(p[max(start, off)-off:], pg.b[max(start, off)-start:])
	}
	return len(p), atEnd
}

// zeroSeq is the order of the change that makes the byte at off zero, or 0.
func (o *overlay) zeroSeq(off int64) int {
	i, _ := slices.BinarySearchFunc(o.zeros, off, func(z zeroRange, off int64) int {
		if z.end <= off {
			return -1
		}
		return 1
	})
	if i < len(o.zeros) && o.zeros[i].start <= off {
		return o.zeros[i].seq
	}
	return 0
}

// writeTo makes the changes in the file itself, in pieces of at most 1 MiB. Doing it again does no harm. Zeros behind the
// end that the file has now are not written: there are no bytes to replace.
func (o *overlay) writeTo(f EditFile) error {
	if o.size > o.file {
		if err := f.Truncate(o.size); err != nil {
			return err
		}
	}
	for _, z := range o.zeros {
		for at := z.start; at < min(z.end, o.file); {
			n := min(mib, min(z.end, o.file)-at)
			if err := writeFull(f, make([]byte, n), at); err != nil {
				return err
			}
			at += n
		}
	}
	places := make([]int64, 0, len(o.pages))
	for i := range o.pages {
		places = append(places, i)
	}
	slices.Sort(places)
	for _, i := range places {
		pg := o.pages[i]
		if o.zeroSeq(i*logSector) > pg.seq {
			continue
		}
		if err := writeFull(f, pg.b[:], i*logSector); err != nil {
			return err
		}
	}
	return f.Sync()
}
