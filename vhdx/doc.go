// Package vhdx reads and writes virtual hard disks of the VHDX format: fixed, dynamic and differencing.
//
// All integers are little-endian. Only the first MiB has a fixed layout; everything behind it begins at a multiple of
// 1 MiB, wherever the region table and the block allocation table (BAT) say:
//
//	0x000000  file identifier   "vhdxfile", then who made it, in UTF-16
//	0x010000  header 1          4 KiB: sequence number, identities, where the log is
//	0x020000  header 2          the valid one with the greater sequence number counts
//	0x030000  region table 1    64 KiB: where the BAT and the metadata are
//	0x040000  region table 2    a copy
//	0x100000  log               a ring of entries, each a header, descriptors and 4 KiB data sectors. It is empty if
//	                            the header's log GUID is zero; else it has to be replayed before anything else is read
//	          metadata          a 64 KiB table, then the items: block size, disk size, sector sizes, parent locator
//	          BAT               one u64 per entry: a state in the low 3 bits, the place in MiB from bit 20
//	          blocks            payload blocks of 1 to 256 MiB; sector bitmap blocks of 1 MiB
//
// One chunk is 2^23 sectors: as many as one sector bitmap block has bits for (least significant first). In the BAT one
// entry for a sector bitmap follows after the entries of each chunk's payload blocks:
//
//	payload 0 … payload r-1, bitmap 0, payload r … payload 2r-1, bitmap 1, …     r = 2^23 * sector size / block size
//
// A disk without a parent has no sector bitmaps, but the places of their entries. In a differencing disk, bit 1 of a
// partially present block says that the sector is in this file, 0 that it is the parent's; blocks that are not present
// are the parent's as a whole. The parent is known by its data write GUID, which changes with its content.
//
// Writer makes a disk in one pass and leaves no header until it is complete. Disk changes an existing one: what it adds
// is written behind everything else, and an entry of the BAT, 8 bytes that no sector boundary divides, makes it valid
// once it is on the disk. So the log stays empty, and a cut at any write leaves a valid file.
//
// Sources: Microsoft, [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format"; for what writers do beyond it, files made by
// QEMU 7.2.
package vhdx
