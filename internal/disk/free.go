package disk

import (
	"fmt"
	"sort"

	"husk/ntfs"
)

// span is a range of bytes of a disk.
type span struct{ start, end int64 }

// freeSpace are the clusters that no file has, in the order of the disk. Volumes that Windows has not closed cleanly give none: what they
// say is free may not be. note hears of these.
func (d *Disk) freeSpace(note func(format string, args ...any)) ([]span, error) {
	if err := d.readTable(); err != nil {
		return nil, nil // no partitions and no volume: then nothing is known to be free
	}
	var list []span
	for i := range d.Partitions {
		p := &d.Partitions[i]
		if !p.NTFS {
			continue
		}
		v, err := ntfs.NewReader(d.Section(p), p.Size)
		if err != nil {
			note("partition %d: %s", p.Number, err)
			continue
		}
		if v.Dirty || v.Log != ntfs.LogClean {
			note("partition %d was not closed cleanly: its free space is kept", p.Number)
			continue
		}
		for x, err := range v.FreeRuns() {
			if err != nil {
				return nil, fmt.Errorf("%s: partition %d: %w", d.Path, p.Number, err)
			}
			at := p.Offset + int64(x.LCN)*int64(v.ClusterSize)
			list = append(list, span{at, at + x.Clusters*int64(v.ClusterSize)})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].start < list[j].start })
	return list, nil
}

// clearSpans makes zeros of what of p, which is at off, lies in one of the spans.
func clearSpans(p []byte, off int64, spans []span) {
	end := off + int64(len(p))
	i := sort.Search(len(spans), func(i int) bool { return spans[i].end > off })
	for ; i < len(spans) && spans[i].start < end; i++ {
		clear(p[max(spans[i].start, off)-off : min(spans[i].end, end)-off])
	}
}
