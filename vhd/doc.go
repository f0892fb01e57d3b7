// Package vhd reads and writes virtual hard disks of the VHD format: fixed, dynamic and differencing.
//
// A VHD is a disk of 512-byte sectors in a file. All integers are big-endian. The last 512 bytes are the footer, which
// gives the size and the type. A fixed disk is the plain sectors with a footer behind them:
//
//	0        sectors   the disk, as it is
//	size     footer    512 bytes
//
// A dynamic disk stores only the blocks (2 MiB each) that were written. This is what Writer lays out:
//
//	0x0000   footer    a copy, for the case that the end of the file is lost
//	0x0200   header    1024 bytes: where the block allocation table is, how long it is, the block size
//	0x1000   BAT       one u32 per block: the sector of the block's bitmap; 0xffffffff if the block is absent
//	         blocks    each a bitmap (one bit per sector, most significant first, 0 reads as zeros; padded to
//	                   512 bytes) and the full block. The bitmap starts 512 bytes before a multiple of 4 KiB, so
//	                   that the data is aligned, as Windows 8 and later have it
//	end-512  footer
//
// A differencing disk is a dynamic one whose absent sectors are in a parent. Between header and BAT it has the paths of
// the parent, relative (which boot managers need) and absolute, in UTF-16LE; the header has the parent's unique id.
//
// Writer makes a disk in one pass. Disk changes one: a new block is put over the footer, which stands behind it before,
// and the entry of the BAT that names it is written once the block is on the disk.
//
// Readers disagree about the size of a disk: Windows takes the footer's current size; QEMU takes it only from files
// of creators it knows ("win " among them) and the product of the geometry otherwise. Create refuses to write a disk
// that the two would read differently; RoundCHS gives a size that no reader can read in two ways.
//
// Sources: Microsoft, "Virtual Hard Disk Image Format Specification" 1.0, 2006; for the size rules QEMU 7.2
// block/vpc.c; for the alignment and creator strings files made by Windows 7 and 10.
package vhd
