// Package mbr reads and writes master boot records: the partition table in the first sector of a disk.
//
// The record has 512 bytes, integers are little-endian, and addresses count sectors of the disk:
//
//	0x000  boot code       440 bytes
//	0x1b8  disk signature  by it Windows and its boot manager know the disk; 0 means none
//	0x1bc  u16             0; 0x5a5a if the disk is write-protected
//	0x1be  partitions      four of 16 bytes: status (0x80 active), first CHS, type, last CHS, first sector, sectors
//	0x1fe  55 aa
//
// A partition of type 5 or 15 is extended: a chain of such sectors within it, each with one logical partition, whose
// first sector counts from its own record, and a link to the next, which counts from the start of the extended one.
// A partition of type 0xee covers the disk for the eyes of programs that do not know GPT.
//
// Sources: UEFI Specification 2.10, 5.2.1 "Legacy Master Boot Record"; Microsoft, Windows 2000 Resource Kit, "Disk
// Concepts and Troubleshooting", for the signature and extended partitions.
package mbr
