// Package fat reads FAT volumes, replaces a file in one, and makes FAT32 ones, such as the EFI system partition, in one pass.
//
// A volume counts sectors from its start; data is in clusters of one or more, numbered from 2. Integers are little-endian:
//
//	sector 0   boot sector      90 bytes of fields, then boot code; a copy is in sector 6
//	sector 1   FSInfo           how many clusters are free, and from where on; a copy is in sector 7
//	           FATs             two equal tables: for each cluster the next one of its file, 28 bits
//	           clusters         the root directory is a file like others; the boot sector says where it begins
//
// A directory is an array of 32-byte entries: name in the form 8.3, attributes, times, first cluster, size. Names of another form
// have up to 20 more entries before it, with 13 UTF-16 units each. Whether the volume is FAT32, and not FAT16, follows from the number of
// its clusters and nothing else: at least 65525.
//
// What a tree has beyond that is left out: security, named streams, extended attributes, ids. Times are taken as UTC.
//
// Sources: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03; for the two bits that keep the case of a short
// name, Windows' own volumes.
package fat
