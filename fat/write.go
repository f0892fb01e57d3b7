package fat

import (
	"context"
	"io"

	"husk/winfile"
)

// Write writes the volume to w, whose offset 0 is the start of the volume and which reads as zeros wherever it was never written. Contents
// are read with [winfile.ReadBlobs] and each is checked to have its size; w.WriteAt is called from several goroutines at once. The boot
// sector comes last: after an error there is no volume.
func (l *Layout) Write(ctx context.Context, w io.WriterAt) error {
	sector := int64(l.opt.SectorSize)
	table := make([]byte, 4*len(l.fat))
	for i, c := range l.fat {
		le.PutUint32(table[4*i:], c)
	}
	for i := range int64(fats) {
		if _, err := w.WriteAt(table, (l.reserved+i*l.fatSectors)*sector); err != nil {
			return err
		}
	}
	for _, d := range l.dirs {
		if len(d.entries) == 0 {
			continue
		}
		if _, err := w.WriteAt(d.entries, d.at); err != nil {
			return err
		}
	}
	err := winfile.ReadBlobs(ctx, l.blobs, 0, func(b *winfile.Blob, off int64, p []byte) error {
		if l.opt.Progress != nil {
			l.opt.Progress(int64(len(p)))
		}
		for _, at := range l.places[b] {
			if _, err := w.WriteAt(p, at+off); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, at := range []int64{backupSector, 0} {
		if err := l.writeBoot(w, at*sector); err != nil {
			return err
		}
	}
	return nil
}

// writeBoot writes FSInfo and then the boot sector, which is to be at byte offset at.
func (l *Layout) writeBoot(w io.WriterAt, at int64) error {
	sector := int64(l.opt.SectorSize)
	b := make([]byte, bootSize)
	put(b, &fsInfo{
		Lead: leadMagic, Magic: infoMagic, Trail: trailMagic,
		Free: uint32(l.clusters - l.next), Next: uint32(l.next + rootCluster),
	})
	if _, err := w.WriteAt(b, at+infoSector*sector); err != nil {
		return err
	}
	boot := bootSector{
		OEM: [8]byte([]byte("MSDOS5.0")), SectorSize: uint16(sector), ClusterSectors: uint8(l.clusterSize / sector),
		Reserved: uint16(l.reserved), FATs: fats, Media: 0xf8, SectorsPerTrack: 63, Heads: 255,
		HiddenSectors: l.opt.HiddenSectors, Sectors: uint32(l.opt.Size / sector), FATSectors: uint32(l.fatSectors),
		Root: rootCluster, FSInfo: infoSector, Backup: backupSector, Drive: 0x80, BootSignature: 0x29,
		Serial: l.opt.Serial, Label: l.label, Type: [8]byte([]byte("FAT32   ")), Signature: [2]byte{0x55, 0xaa},
	}
	if l.opt.Label == "" {
		copy(boot.Label[:], "NO NAME    ")
	}
	copy(boot.Jump[:], l.opt.BootSector)
	if len(l.opt.BootSector) > codeAt {
		copy(boot.Code[:], l.opt.BootSector[codeAt:])
	}
	put(b, &boot)
	_, err := w.WriteAt(b, at)
	return err
}
